//! `outputs`, and what a stack is used by: its URLs and ids, as far as they are on record.
//!
//! Must not ask AWS.

mod formats;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::backends;
use super::configuration;
use super::document::document;
use super::invocation::Invocation;
use super::open::Loaded;
use super::recorded::{ByKind, Entry};
use super::ui::Ui;
use crate::aws::hosts;
use crate::aws::ids::{ClientId, PoolId};
use crate::cli::{self, OutputsFormat};
use crate::error::Failure;
use crate::resources::{Client, PoolDomain, RestApi, SharedPool, Stage, UserPool};
use crate::state::{Phase, State};

/// Runs it.
pub(super) async fn run(invocation: &Invocation, args: &cli::Outputs, ui: &Ui) -> Result<(), Failure> {
    let format = match (args.format, ui.is_json()) {
        (None | Some(OutputsFormat::Json), true) => Some(OutputsFormat::Json),
        (Some(_), true) => return Err(Failure::usage("--json cannot be used with another --format")),
        (format, false) => format,
    };
    let stack = configuration::stack_name(invocation)?;
    let Loaded { state, .. } = Loaded::load(invocation, &stack, ui).await?;
    let outputs = for_others(&state, ui)?;
    match format {
        None => ui.data(&outputs.lines()),
        Some(OutputsFormat::Json) => ui.json_data(&document(&state, &Content::of(&outputs))?),
        Some(OutputsFormat::Env) => ui.data(&formats::env(&outputs)?),
        Some(OutputsFormat::Tfvars) => ui.data(&formats::tfvars(&outputs)),
    }
    Ok(())
}

/// The outputs beside what every document begins with, which has the region.
#[derive(Serialize)]
struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_url: Option<&'a str>,
    token_url: &'a str,
    issuer: &'a str,
    user_pool_id: &'a PoolId,
    clients: &'a BTreeMap<String, ClientOutputs>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    to_be_run: &'a [String],
}

impl<'a> Content<'a> {
    fn of(outputs: &'a Outputs) -> Self {
        Self {
            api_url: outputs.api_url.as_deref(),
            token_url: &outputs.token_url,
            issuer: &outputs.issuer,
            user_pool_id: &outputs.user_pool_id,
            clients: &outputs.clients,
            to_be_run: &outputs.to_be_run,
        }
    }
}

/// The outputs of a stack that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outputs {
    /// The stage's invoke URL: `api_url` + `/user` is the route `/user`. `None`: the stack has no API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    /// The OAuth token endpoint.
    pub token_url: String,
    /// The `iss` of the tokens.
    pub issuer: String,
    /// The user pool's id.
    pub user_pool_id: PoolId,
    /// The AWS region.
    pub region: String,
    /// The pool's own domain name, if the token endpoint is under it.
    #[serde(skip)]
    pub own_domain: Option<String>,
    /// By the client's name.
    pub clients: BTreeMap<String, ClientOutputs>,
    /// The commands with which the owners of back ends in other accounts let the API invoke their functions. Whether they
    /// were run is not known here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to_be_run: Vec<String>,
}

impl Outputs {
    /// Those that are a text, by name.
    fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let api = self.api_url.iter().map(|url| ("api_url", url.as_str()));
        api.chain([
            ("token_url", self.token_url.as_str()),
            ("issuer", &self.issuer),
            ("user_pool_id", self.user_pool_id.as_str()),
            ("region", &self.region),
        ])
    }

    /// The URL of the API.
    ///
    /// # Errors
    /// The stack has none.
    pub(super) fn api(&self, stack: &str) -> Result<&str, Failure> {
        let api = self.api_url.as_deref();
        api.ok_or_else(|| {
            Failure::usage(format!(
                "stack {stack} has no API, as its configuration has no routes"
            ))
        })
    }

    /// For people: a line for each.
    pub(super) fn lines(&self) -> String {
        let texts = self.texts().map(|(name, value)| format!("{name}: {value}"));
        let clients = self.clients.iter();
        let clients = clients.map(|(name, client)| format!("clients.{name}.client_id: {}", client.client_id));
        texts.chain(clients).collect::<Vec<_>>().join("\n")
    }
}

/// The outputs of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ClientOutputs {
    /// The OAuth `client_id`.
    pub client_id: ClientId,
}

/// The outputs of what is on record; `None` while any of them is not.
///
/// # Errors
/// A record is of another shape.
pub(super) fn outputs(state: &State) -> Result<Option<Outputs>> {
    let region = &state.region;
    let Some(Issuing {
        pool,
        host,
        own_domain,
    }) = issuing(state)?
    else {
        return Ok(None);
    };
    let api = state.one::<RestApi>()?;
    let api_url = match &api {
        None => None,
        Some(api) => {
            let stage = state.one::<Stage>()?.filter(|stage| stage.output.is_some());
            let (Some(api), Some(stage)) = (&api.output, stage) else {
                return Ok(None);
            };
            let (api, stage) = (&api.id, stage.desired.name);
            Some(match &state.endpoint {
                None => hosts::api_url(api.as_str(), region, &stage),
                Some(endpoint) => format!("{endpoint}/restapis/{api}/{stage}/_user_request_"),
            })
        }
    };
    let mut clients = BTreeMap::new();
    for Entry { desired, output, .. } in state.all::<Client>()? {
        let Some(output) = output else { return Ok(None) };
        let client_id = output.client_id;
        clients.insert(desired.name, ClientOutputs { client_id });
    }
    Ok(Some(Outputs {
        api_url,
        token_url: match &state.endpoint {
            None => format!("https://{host}/oauth2/token"),
            // The emulator's paths (DESIGN.md): it serves every host at its one address.
            Some(endpoint) => format!("{endpoint}/oauth2/token"),
        },
        issuer: hosts::issuer(pool.as_str(), region),
        user_pool_id: pool,
        region: region.clone(),
        own_domain: own_domain.filter(|_| state.endpoint.is_none()),
        clients,
        to_be_run: backends::commands(&backends::grants(state)?),
    }))
}

/// The pool that issues the tokens.
struct Issuing {
    pool: PoolId,
    /// The host of its token endpoint.
    host: String,
    /// The host as well, if it is a domain name of the pool's owner.
    own_domain: Option<String>,
}

/// As it is on record; `None` while it is not.
fn issuing(state: &State) -> Result<Option<Issuing>> {
    let of_aws = |pool, prefix: &str| Issuing {
        pool,
        host: format!("{prefix}.{}", hosts::token_domain(&state.region)),
        own_domain: None,
    };
    if let Some(pool) = state.one::<SharedPool>()? {
        let SharedPool { prefix, domain, .. } = pool.desired;
        // A name of AWS's cannot come to be somebody else's.
        return Ok(pool.output.map(|pool| match prefix.as_str() {
            "" => Issuing {
                pool: pool.id,
                host: domain.clone(),
                own_domain: Some(domain),
            },
            prefix => of_aws(pool.id, prefix),
        }));
    }
    let pool = state.one::<UserPool>()?.and_then(|pool| pool.output);
    let domain = state.one::<PoolDomain>()?;
    let domain = domain.filter(|domain| domain.output.is_some());
    let both = pool.zip(domain);
    Ok(both.map(|(pool, domain)| of_aws(pool.id, &domain.desired.prefix)))
}

/// The outputs, or why there are none yet. Secrets and tokens go to their URLs, so both are at the expected hosts.
pub(super) fn complete(state: &State) -> Result<Outputs> {
    let outputs = outputs(state)?.with_context(|| format!("stack {} is not complete yet", state.stack))?;
    let region = &state.region;
    let api = outputs.api_url.iter();
    let api = api.map(|url| (url, format!("execute-api.{region}.amazonaws.com")));
    for (url, domain) in api.chain([(&outputs.token_url, hosts::token_domain(region))]) {
        let is_expected = match (&state.endpoint, &outputs.own_domain) {
            (Some(endpoint), _) => hosts::is_same(url, endpoint),
            // Whether it is the pool's, Cognito is asked before a secret goes there.
            (None, Some(own)) if *url == outputs.token_url => hosts::is_same(url, &format!("https://{own}")),
            (None, _) => hosts::is_below(url, &domain),
        };
        ensure!(
            is_expected,
            "{url:?} is not a URL of this stack: nothing is sent to it"
        );
    }
    Ok(outputs)
}

/// The same, for programs and people outside. Warns of a run that did not finish: what it did last may not be live.
pub(super) fn for_others(state: &State, ui: &Ui) -> Result<Outputs, Failure> {
    let outputs = complete(state).map_err(|error| Failure::from(error).hinted("run `provision up`"))?;
    if let Some(record) = state.steps.iter().find(|record| record.phase != Phase::Ready) {
        ui.warn(&format!(
            "step {} is unfinished: not all of this may be live",
            record.step
        ));
        ui.hint("run `provision up`");
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Of the sample, with ids that say what they are of.
    fn state(endpoint: Option<&str>) -> State {
        let text = include_str!("../../tests/it/support/state.json");
        let mut state: State = serde_json::from_str(text).unwrap();
        super::super::upgrade::upgrade(&mut state);
        state.region = "eu-west-1".to_owned();
        state.endpoint = endpoint.map(str::to_owned);
        let mut set =
            |step: &str, part: fn(&mut crate::state::Record) -> &mut Value, field: &str, value: &str| {
                part(state.record_mut(step).unwrap())[field] = value.into();
            };
        for (step, field, value) in [("user-pool", "id", "eu-west-1_abc"), ("rest-api", "id", "a1")] {
            set(step, |record| record.output.as_mut().unwrap(), field, value);
        }
        set(
            "pool-domain",
            |record| &mut record.desired,
            "prefix",
            "user-api-1a2b3c4d",
        );
        state
    }

    #[test]
    fn on_aws_the_urls_are_awss() {
        let outputs = outputs(&state(None)).unwrap().unwrap();
        assert_eq!(
            outputs.api_url.unwrap(),
            "https://a1.execute-api.eu-west-1.amazonaws.com/prod"
        );
        assert_eq!(
            outputs.token_url,
            "https://user-api-1a2b3c4d.auth.eu-west-1.amazoncognito.com/oauth2/token"
        );
        assert_eq!(
            outputs.issuer,
            "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc"
        );
        assert_eq!(outputs.clients["billing"].client_id, "CEGjODU33iM5vbexwSZ2jMQQMl");
    }

    #[test]
    fn in_govcloud_secrets_go_to_its_token_host() {
        let mut state = state(None);
        state.region = "us-gov-west-1".to_owned();
        let outputs = complete(&state).unwrap();
        assert_eq!(
            outputs.token_url,
            "https://user-api-1a2b3c4d.auth-fips.us-gov-west-1.amazoncognito.com/oauth2/token"
        );
        assert_eq!(
            outputs.api_url.unwrap(),
            "https://a1.execute-api.us-gov-west-1.amazonaws.com/prod"
        );
    }

    #[test]
    fn elsewhere_they_are_the_endpoints() {
        let outputs = outputs(&state(Some("http://127.0.0.1:4566"))).unwrap().unwrap();
        assert_eq!(
            outputs.api_url.unwrap(),
            "http://127.0.0.1:4566/restapis/a1/prod/_user_request_"
        );
        assert_eq!(outputs.token_url, "http://127.0.0.1:4566/oauth2/token");
    }

    #[test]
    fn without_a_stage_there_are_none() {
        let mut state = state(None);
        state.steps.retain(|record| record.kind != "stage");
        assert_eq!(outputs(&state).unwrap(), None);
        state.steps.truncate(2);
        assert_eq!(outputs(&state).unwrap(), None);
    }
}
