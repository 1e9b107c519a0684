//! The names that a user can type: those of the configuration, and those on record in a folder.
//!
//! Must not call AWS, write anything to a disk, or fail: what cannot be read has no names.

use std::collections::{BTreeMap, BTreeSet};

use super::super::configuration;
use super::super::invocation::Invocation;
use crate::aws::Identity;
use crate::cli::Global;
use crate::config::{Config, Names, SAMPLE, check_stack};
use crate::location::Location;
use crate::package::Package;
use crate::stack::{self, Named, SEPARATOR};
use crate::state::StateFile;

/// Names, each kind in the order in which it is shown.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub stacks: BTreeSet<String>,
    pub environments: BTreeSet<String>,
    pub clients: BTreeSet<String>,
    pub functions: BTreeSet<String>,
    pub steps: BTreeSet<String>,
    /// Full scopes, with what each is described as.
    pub scopes: BTreeMap<String, String>,
    /// As in the file: `GET /user`.
    routes: BTreeSet<String>,
}

impl Known {
    /// What is known where these options say.
    pub(super) fn read(global: &Global) -> Self {
        let Ok(invocation) = Invocation::resolve(global) else {
            return Self::default();
        };
        let names = match configuration::text(&invocation) {
            Ok(text) => Names::of(text.as_deref().unwrap_or(SAMPLE), invocation.env.as_deref()),
            Err(_) => Names::default(),
        };
        let config = configuration::read(&invocation);
        let mut known = Self {
            steps: config.map(|config| steps(&config)).unwrap_or_default(),
            ..Self::default()
        };
        known.add_states(&invocation, names.stack.as_deref());
        known.environments = (names
            .environments(known.stacks.iter().map(String::as_str))
            .into_iter())
        .map(str::to_owned)
        .collect();
        known.stacks.extend(names.stack);
        known.clients.extend(names.clients);
        known.functions.extend(names.functions);
        known.routes.extend(names.routes);
        known.scopes = names.scopes;
        known
    }

    /// Adds the stacks that have a state in the folder of the states, and what the one that is meant has on record.
    fn add_states(&mut self, invocation: &Invocation, configured: Option<&str>) {
        let folder = match configuration::place(invocation) {
            Ok(place) => match place.location {
                Location::Folder(folder) => folder,
                Location::S3(_) => return,
            },
            Err(_) => invocation.folder(),
        };
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            let name = entry.file_name();
            let stack = name.to_str().and_then(|name| name.strip_suffix(".json"));
            self.stacks.extend(
                stack
                    .filter(|stack| check_stack(stack).is_ok())
                    .map(str::to_owned),
            );
        }
        let meant = invocation.stack.as_deref().or(configured);
        let Some(meant) = meant.filter(|meant| self.stacks.contains(*meant)) else {
            return;
        };
        let Ok(Some(state)) = StateFile::new(&folder, meant).load() else {
            return;
        };
        for record in state.steps {
            for (kind, names) in [
                ("client:", &mut self.clients),
                ("function:", &mut self.functions),
                ("route:", &mut self.routes),
            ] {
                names.extend(record.step.strip_prefix(kind).map(str::to_owned));
            }
            self.steps.insert(record.step);
        }
    }

    /// Whether a route answers this method.
    pub(super) fn has_method(&self, method: &str) -> bool {
        self.routes().any(|(verb, _)| verb == method || verb == "ANY")
    }

    /// The paths of the routes that answer `method`, each up to its first variable, with their methods.
    pub(super) fn paths(&self, method: Option<&str>) -> Vec<(String, String)> {
        let mut paths: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for (verb, path) in self.routes() {
            if verb == "ANY" || method.is_none_or(|method| method == verb) {
                let fixed = path.split('{').next().unwrap_or_default();
                paths.entry(fixed.to_owned()).or_default().insert(verb);
            }
        }
        let joined = |verbs: BTreeSet<&str>| verbs.into_iter().collect::<Vec<_>>().join(", ");
        paths
            .into_iter()
            .map(|(path, verbs)| (path, joined(verbs)))
            .collect()
    }

    fn routes(&self) -> impl Iterator<Item = (&str, &str)> {
        let routes = self.routes.iter().filter_map(|route| route.split_once(' '));
        routes.filter(|(_, path)| path.starts_with('/'))
    }
}

/// The steps that the configuration declares. Their names need neither code nor an account.
fn steps(config: &Config) -> BTreeSet<String> {
    // What is known of it is asked from AWS.
    if config.user_pool.shared.is_some() {
        return BTreeSet::new();
    }
    let identity = Identity {
        account: "000000000000".to_owned(),
        partition: "aws".to_owned(),
        region: config.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
        endpoint: None,
    };
    let no_code = |name: &String| {
        let package = Package {
            zip: Vec::new(),
            sha256: String::new(),
            left_out: Vec::new(),
        };
        (name.clone(), package)
    };
    let packages = config.functions.keys().map(no_code).collect();
    let named = Named {
        roles: &BTreeMap::new(),
        shared_pool: None,
        makes_domain: true,
    };
    let stack = stack::stack(config, &identity, "00000000", SEPARATOR, &packages, &named);
    stack.steps().iter().map(|step| step.name.clone()).collect()
}
