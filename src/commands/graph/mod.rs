//! `graph`: the configured stack as a picture.
//!
//! Must not ask AWS, nor read a state: it shows what the file says, on any machine.

mod svg;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::configuration;
use super::invocation::Invocation;
use super::ui::Ui;
use crate::aws::Identity;
use crate::aws::clients::SANDBOX_REGION;
use crate::aws::ids::PoolId;
use crate::cli::{self, GraphFormat};
use crate::config::{Answerer, Backend, Config};
use crate::error::Failure;
use crate::package::Package;
use crate::report::event::StepName;
use crate::resources::SharedPool;
use crate::stack::{self, Named, SEPARATOR};

/// Runs it.
pub(super) fn run(invocation: &Invocation, args: &cli::Graph, ui: &Ui) -> Result<(), Failure> {
    let config = configuration::read(invocation)?;
    let graph = Graph::of(&config)?;
    if ui.is_json() {
        ui.data(&serde_json::to_string_pretty(&graph)?);
        return Ok(());
    }
    let picture = match args.format {
        GraphFormat::Svg => svg::draw(&graph),
        GraphFormat::Dot => text::dot(&graph),
        GraphFormat::Mermaid => text::mermaid(&graph),
    };
    ui.data(picture.trim_end());
    Ok(())
}

/// What there is to see.
#[derive(Debug, Serialize)]
struct Graph {
    format: u32,
    stack: String,
    /// In an order in which they can be made.
    steps: Vec<StepName>,
    clients: Vec<Client>,
    routes: Vec<Route>,
}

/// Who may call something.
#[derive(Debug, Serialize)]
struct Client {
    name: String,
    /// Full scopes.
    scopes: BTreeSet<String>,
}

/// What can be called: by a client that has one of the scopes.
#[derive(Debug, Serialize)]
struct Route {
    /// Verb and path.
    name: String,
    scopes: BTreeSet<String>,
    /// A function of the stack, or a back end.
    answered_by: String,
    /// The clients that are let in, with the scopes that let them in.
    clients: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn of(config: &Config) -> anyhow::Result<Self> {
        let clients: Vec<Client> = (config.clients.iter())
            .map(|(name, client)| Client {
                name: name.clone(),
                scopes: client.scopes.clone(),
            })
            .collect();
        let let_in = |scopes: &BTreeSet<String>| {
            let clients = clients.iter().map(|client| {
                let shared = client.scopes.intersection(scopes).cloned().collect();
                (client.name.clone(), shared)
            });
            clients
                .filter(|(_, shared): &(_, BTreeSet<String>)| !shared.is_empty())
                .collect()
        };
        let routes = (config.routes.iter()).map(|route| Route {
            name: format!("{} {}", route.verb, route.path),
            scopes: route.scopes.clone(),
            answered_by: match &route.answerer {
                Answerer::Function(name) | Answerer::Backend(name) => name.clone(),
            },
            clients: let_in(&route.scopes),
        });
        Ok(Self {
            format: 1,
            stack: config.stack.clone(),
            steps: steps(config)?,
            routes: routes.collect(),
            clients,
        })
    }

    /// Every scope that a client has or a route wants.
    fn scopes(&self) -> BTreeSet<&str> {
        let clients = self.clients.iter().flat_map(|client| &client.scopes);
        let routes = self.routes.iter().flat_map(|route| &route.scopes);
        clients.chain(routes).map(String::as_str).collect()
    }

    /// What answers the routes.
    fn answerers(&self) -> BTreeSet<&str> {
        self.routes
            .iter()
            .map(|route| route.answered_by.as_str())
            .collect()
    }
}

/// The steps and what each needs. What only AWS knows changes neither, so anything stands for it.
fn steps(config: &Config) -> anyhow::Result<Vec<StepName>> {
    let mut backends = config.backends.values();
    let account = backends.find_map(|backend| match backend {
        // Most likely the stack's own, as a back end of another account has no step.
        Backend::Lambda(function) => Some(function.account.clone()),
        Backend::Url(_) => None,
    });
    let identity = Identity {
        account: account.unwrap_or_else(|| "0".repeat(12)),
        partition: "aws".to_owned(),
        region: config.region.clone().unwrap_or_else(|| SANDBOX_REGION.to_owned()),
        endpoint: None,
    };
    let mut packages = BTreeMap::new();
    for name in config.functions.keys() {
        packages.insert(name.clone(), Package::from_files(&[])?);
    }
    let shared_pool = config.user_pool.shared.as_ref().map(|_| SharedPool {
        pool: PoolId::from("pool".to_owned()),
        arn: String::new(),
        prefix: String::new(),
        domain: String::new(),
        issuer: None,
        tier: String::new(),
    });
    let named = Named {
        roles: &BTreeMap::new(),
        shared_pool: shared_pool.as_ref(),
        makes_domain: true,
    };
    let stack = stack::stack(config, &identity, "", SEPARATOR, &packages, &named);
    Ok((stack.steps().iter())
        .map(|step| StepName {
            step: step.name.clone(),
            kind: step.kind.name.to_owned(),
            needs: step.needs.clone(),
        })
        .collect())
}
