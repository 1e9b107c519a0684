//! `outputs`, and what a stack is used by: its URLs and ids, as far as they are on record.
//!
//! Must not ask AWS.

mod formats;
mod front;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

pub(super) use self::front::Front;
use self::front::{DnsRecord, custom_domain, dns, front, route53};
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
        Some(OutputsFormat::Route53) if outputs.dns.is_empty() => {
            return Err(Failure::usage(format!(
                "stack {stack} has made no domain, so it needs no record in DNS"
            )));
        }
        Some(OutputsFormat::Route53) => ui.data(&route53(&outputs.dns)),
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
    #[serde(skip_serializing_if = "<[DnsRecord]>::is_empty")]
    dns: &'a [DnsRecord],
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
            dns: &outputs.dns,
            to_be_run: &outputs.to_be_run,
        }
    }
}

/// The outputs of a stack that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outputs {
    /// The URL of the API, under its own domain if it has one: `api_url` + `/user` is the route `/user`. `None`: the stack has no
    /// API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    /// The OAuth token endpoint, under the pool's own domain if it has one.
    pub token_url: String,
    /// The one that this program sends secrets to. Of a pool of the stack it is at AWS's own host name, which cannot come to be
    /// somebody else's.
    #[serde(skip)]
    pub secrets_url: String,
    /// The `iss` of the tokens.
    pub issuer: String,
    /// The user pool's id.
    pub user_pool_id: PoolId,
    /// The AWS region.
    pub region: String,
    /// The pool's own domain name, if the token endpoint is under it.
    #[serde(skip)]
    pub own_domain: Option<String>,
    /// The stage's URL at AWS's own host name, or that of the emulator. `None`: the stack has no API.
    #[serde(skip)]
    pub stage_url: Option<String>,
    /// Whether an emulator has the stack.
    #[serde(skip)]
    pub is_local: bool,
    /// The API's domain on AWS; an emulator has its one address.
    #[serde(skip)]
    pub front: Option<Front>,
    /// By the client's name.
    pub clients: BTreeMap<String, ClientOutputs>,
    /// The records to be made in DNS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<DnsRecord>,
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

    /// The URL of the API, for others.
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

    /// The URL at which this program calls the API: AWS's own host name, which needs no record in DNS, unless the API does not
    /// answer there.
    pub(super) fn called(&self) -> Option<&str> {
        let front = self.front.as_ref().filter(|front| front.is_default_closed);
        front
            .map(|front| front.url.as_str())
            .or(self.stage_url.as_deref())
    }

    /// For people: a line for each.
    pub(super) fn lines(&self) -> String {
        let texts = self.texts().map(|(name, value)| format!("{name}: {value}"));
        let clients = self.clients.iter();
        let clients = clients.map(|(name, client)| format!("clients.{name}.client_id: {}", client.client_id));
        let dns = (self.dns.iter()).map(|record| {
            format!(
                "dns.{}: {} {} (or an alias in hosted zone {})",
                record.name, record.kind, record.target, record.hosted_zone_id
            )
        });
        texts.chain(clients).chain(dns).collect::<Vec<_>>().join("\n")
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
    let stage_url = match &api {
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
    let secrets_url = match &state.endpoint {
        None => format!("https://{host}/oauth2/token"),
        // The emulator's paths (DESIGN.md): it serves every host at its one address.
        Some(endpoint) => format!("{endpoint}/oauth2/token"),
    };
    let own_name = custom_domain(state)?.filter(|_| state.endpoint.is_none());
    let token_url = own_name.map(|name| format!("https://{name}/oauth2/token"));
    let front = front(state)?.filter(|_| state.endpoint.is_none());
    let own = front.as_ref().map(|front| front.url.clone());
    Ok(Some(Outputs {
        api_url: own.or_else(|| stage_url.clone()),
        stage_url,
        is_local: state.endpoint.is_some(),
        front,
        dns: dns(state)?,
        token_url: token_url.unwrap_or_else(|| secrets_url.clone()),
        secrets_url,
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
    let api = outputs.stage_url.iter();
    let api = api.map(|url| (url, format!("execute-api.{region}.amazonaws.com")));
    for (url, domain) in api.chain([(&outputs.secrets_url, hosts::token_domain(region))]) {
        let is_expected = match (&state.endpoint, &outputs.own_domain) {
            (Some(endpoint), _) => hosts::is_same(url, endpoint),
            // Whether it is the pool's, Cognito is asked before a secret goes there.
            (None, Some(own)) if *url == outputs.secrets_url => {
                hosts::is_same(url, &format!("https://{own}"))
            }
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
pub(super) mod tests {
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

    pub(crate) fn with_domain(endpoint: Option<&str>, closed: bool) -> State {
        let mut state = state(endpoint);
        let record = |step: &str, kind: &str, desired: Value, output: Value| -> crate::state::Record {
            let record = serde_json::json!({
                "step": step, "phase": "ready", "kind": kind, "desired": desired, "output": output, "needs": [],
            });
            serde_json::from_value(record).unwrap()
        };
        let domain = serde_json::json!({
            "name": "api.example.com", "certificate": "arn:aws:acm:eu-west-1:123456789012:certificate/1",
            "ownership_certificate": "", "security_policy": "TLS_1_2", "truststore": "", "truststore_version": "", "tags": {},
        });
        let target = serde_json::json!({"target": "d-a1.execute-api.eu-west-1.amazonaws.com", "zone": "Z1"});
        let mapping =
            serde_json::json!({"domain": "api.example.com", "base_path": "v1", "api": "a1", "stage": "prod"});
        state
            .steps
            .push(record("domain-name", "domain-name", domain, target));
        let mapped = record(
            "base-path-mapping",
            "base-path-mapping",
            mapping,
            serde_json::json!({}),
        );
        state.steps.push(mapped);
        state.record_mut("rest-api").unwrap().desired["default_endpoint_closed"] = closed.into();
        state
    }

    #[test]
    fn under_its_own_name_the_api_is_told_and_called_only_where_it_is_closed_elsewhere() {
        let at_aws = "https://a1.execute-api.eu-west-1.amazonaws.com/prod";
        let own = "https://api.example.com/v1";
        for (closed, called) in [(false, at_aws), (true, own)] {
            let outputs = complete(&with_domain(None, closed)).unwrap();
            assert_eq!(outputs.api_url.as_deref(), Some(own));
            assert_eq!(outputs.called(), Some(called));
        }
        let there = complete(&with_domain(Some("http://127.0.0.1:4566"), true)).unwrap();
        assert_eq!(
            (there.api_url.as_deref(), there.called()),
            (
                Some("http://127.0.0.1:4566/restapis/a1/prod/_user_request_"),
                Some("http://127.0.0.1:4566/restapis/a1/prod/_user_request_")
            )
        );
    }

    #[test]
    fn under_the_pools_own_name_tokens_are_told_and_secrets_go_to_awss() {
        let mut state = state(None);
        let record = serde_json::json!({
            "step": "custom-domain", "phase": "ready", "kind": "custom-domain", "needs": [],
            "desired": {
                "pool": "eu-west-1_abc", "name": "auth.example.com", "certificate": "arn:aws:acm:us-east-1:123456789012:certificate/1",
            },
            "output": {"target": "d1.cloudfront.net"},
        });
        state.steps.push(serde_json::from_value(record).unwrap());
        let outputs = complete(&state).unwrap();
        assert_eq!(outputs.token_url, "https://auth.example.com/oauth2/token");
        assert_eq!(
            outputs.secrets_url,
            "https://user-api-1a2b3c4d.auth.eu-west-1.amazoncognito.com/oauth2/token"
        );
        assert_eq!(outputs.dns[0].hosted_zone_id, "Z2FDTNDATAQYW2");
    }

    #[test]
    fn each_record_in_dns_is_told_and_makes_an_alias() {
        let outputs = complete(&with_domain(None, false)).unwrap();
        let line = "dns.api.example.com: CNAME d-a1.execute-api.eu-west-1.amazonaws.com (or an alias in hosted zone Z1)";
        assert!(outputs.lines().ends_with(line), "{}", outputs.lines());
        let batch: Value = serde_json::from_str(&route53(&outputs.dns)).unwrap();
        let alias = serde_json::json!({
            "HostedZoneId": "Z1", "DNSName": "d-a1.execute-api.eu-west-1.amazonaws.com", "EvaluateTargetHealth": false,
        });
        let set = serde_json::json!({"Name": "api.example.com", "Type": "A", "AliasTarget": alias});
        assert_eq!(
            batch,
            serde_json::json!({"Changes": [{"Action": "UPSERT", "ResourceRecordSet": set}]})
        );
        assert_eq!(complete(&state(None)).unwrap().dns, []);
    }

    /// With the pool of somebody else in place of the stack's own.
    fn shared(prefix: &str, domain: &str, endpoint: Option<&str>) -> State {
        let mut state = state(endpoint);
        (state.steps).retain(|record| !["user-pool", "pool-domain"].contains(&record.kind.as_str()));
        let arn = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_abc";
        let record = serde_json::json!({
            "step": "shared-user-pool", "phase": "ready", "kind": "shared-user-pool", "needs": [],
            "desired": {
                "pool": "eu-west-1_abc", "arn": arn, "prefix": prefix, "domain": domain, "issuer": "ORIGINAL",
                "tier": "ESSENTIALS",
            },
            "output": {"id": "eu-west-1_abc", "arn": arn},
        });
        state.steps.push(serde_json::from_value(record).unwrap());
        state
    }

    #[test]
    fn in_a_shared_pool_secrets_go_to_a_name_of_awss_if_it_has_one() {
        let prefix = "https://company.auth.eu-west-1.amazoncognito.com/oauth2/token";
        for (state, url, own) in [
            (shared("company", "", None), prefix, None),
            (shared("company", "auth.example.com", None), prefix, None),
            (
                shared("", "auth.example.com", None),
                "https://auth.example.com/oauth2/token",
                Some("auth.example.com"),
            ),
            (
                shared("", "auth.example.com", Some("http://127.0.0.1:4566")),
                "http://127.0.0.1:4566/oauth2/token",
                None,
            ),
        ] {
            let outputs = complete(&state).unwrap();
            assert_eq!(
                (outputs.secrets_url.as_str(), outputs.own_domain.as_deref()),
                (url, own)
            );
            assert_eq!(outputs.user_pool_id, "eu-west-1_abc");
        }
        // A state that someone edited leads to no other port or path.
        for domain in [
            "auth.example.com:444",
            "u:p@auth.example.com",
            "auth.example.com/x?",
        ] {
            let complete = complete(&shared("", domain, None));
            let url = complete.map(|outputs| outputs.secrets_url);
            assert!(
                url.is_err()
                    || url
                        .as_ref()
                        .is_ok_and(|url| url.starts_with(&format!("https://{domain}/")))
            );
        }
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
