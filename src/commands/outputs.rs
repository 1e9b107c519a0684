//! What a stack is used by: its URLs and ids, as far as they are on record.
//!
//! Must not ask AWS.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::aws::hosts;
use crate::state::{Record, State};

/// The outputs of a stack that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outputs {
    /// The stage's invoke URL: `api_url` + `/user` is the route `/user`.
    pub api_url: String,
    /// The OAuth token endpoint.
    pub token_url: String,
    /// The `iss` of the tokens.
    pub issuer: String,
    /// The user pool's id.
    pub user_pool_id: String,
    /// The AWS region.
    pub region: String,
    /// By the client's name.
    pub clients: BTreeMap<String, ClientOutputs>,
}

/// The outputs of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientOutputs {
    /// The OAuth `client_id`.
    pub client_id: String,
}

/// The outputs of what is on record; `None` while any of them is not.
pub fn outputs(state: &State) -> Option<Outputs> {
    let of_kind = |kind: &'static str| state.steps.iter().filter(move |record| record.kind == kind);
    let one = |kind| of_kind(kind).next();
    let pool = output(one("user-pool")?, "id")?;
    let api = output(one("rest-api")?, "id")?;
    let prefix = text(&one("pool-domain")?.desired, "prefix")?;
    let stage = text(&one("stage")?.desired, "name")?;
    let region = &state.region;
    let mut clients = BTreeMap::new();
    for record in of_kind("client") {
        let name = text(&record.desired, "name")?;
        let client_id = output(record, "client_id")?;
        clients.insert(name, ClientOutputs { client_id });
    }
    let (api_url, token_url) = match &state.endpoint {
        None => (
            hosts::api_url(&api, region, &stage),
            hosts::token_url(&prefix, region),
        ),
        // The emulator's paths (DESIGN.md): it serves every host at its one address.
        Some(endpoint) => (
            format!("{endpoint}/restapis/{api}/{stage}/_user_request_"),
            format!("{endpoint}/oauth2/token"),
        ),
    };
    Some(Outputs {
        api_url,
        token_url,
        issuer: hosts::issuer(&pool, region),
        user_pool_id: pool,
        region: region.clone(),
        clients,
    })
}

/// The outputs, or why there are none yet. Secrets and tokens go to their URLs, so both are at the expected hosts.
pub fn complete(state: &State) -> anyhow::Result<Outputs> {
    let outputs = outputs(state).with_context(|| format!("stack {} is not complete yet", state.stack))?;
    let region = &state.region;
    for (url, domain) in [
        (&outputs.api_url, format!("execute-api.{region}.amazonaws.com")),
        (&outputs.token_url, hosts::token_domain(region)),
    ] {
        let is_expected = match &state.endpoint {
            None => hosts::is_below(url, &domain),
            Some(endpoint) => hosts::is_same(url, endpoint),
        };
        ensure!(
            is_expected,
            "{url:?} is not a URL of this stack: nothing is sent to it"
        );
    }
    Ok(outputs)
}

fn output(record: &Record, field: &str) -> Option<String> {
    text(record.output.as_ref()?, field)
}

fn text(value: &Value, field: &str) -> Option<String> {
    value[field].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::{FORMAT, Phase};

    fn state(endpoint: Option<&str>) -> State {
        let record = |kind: &str, desired: Value, output: Value| Record {
            step: kind.to_owned(),
            phase: Phase::Ready,
            kind: kind.to_owned(),
            needs: Vec::new(),
            desired,
            output: Some(output),
        };
        State {
            format: FORMAT,
            stack: "user-api".to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            partition: "aws".to_owned(),
            endpoint: endpoint.map(str::to_owned),
            owner: "1a2b3c4d".to_owned(),
            serial: 1,
            steps: vec![
                record("user-pool", json!({}), json!({"id": "eu-west-1_abc"})),
                record("pool-domain", json!({"prefix": "user-api-1a2b3c4d"}), json!({})),
                record("client", json!({"name": "app"}), json!({"client_id": "c1"})),
                record("rest-api", json!({}), json!({"id": "a1"})),
                record("stage", json!({"name": "prod"}), json!({})),
            ],
        }
    }

    #[test]
    fn on_aws_the_urls_are_awss() {
        let outputs = outputs(&state(None)).unwrap();
        assert_eq!(
            outputs.api_url,
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
        assert_eq!(outputs.clients["app"].client_id, "c1");
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
            outputs.api_url,
            "https://a1.execute-api.us-gov-west-1.amazonaws.com/prod"
        );
    }

    #[test]
    fn elsewhere_they_are_the_endpoints() {
        let outputs = outputs(&state(Some("http://127.0.0.1:4566"))).unwrap();
        assert_eq!(
            outputs.api_url,
            "http://127.0.0.1:4566/restapis/a1/prod/_user_request_"
        );
        assert_eq!(outputs.token_url, "http://127.0.0.1:4566/oauth2/token");
    }

    #[test]
    fn without_a_stage_there_are_none() {
        let mut state = state(None);
        state.steps.pop();
        assert_eq!(outputs(&state), None);
        state.steps.truncate(2);
        assert_eq!(outputs(&state), None);
    }
}
