//! `token`: an access token from the client-credentials grant.
//!
//! Must not keep the client's secret, nor print it.

use std::rc::Rc;

use anyhow::anyhow;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::follow_up::quoted;
use super::invocation::Invocation;
use super::open::{Loaded, Recorded, Session};
use super::outputs::{Outputs, complete};
use super::secret_source::{self, Sources};
use super::ui::Ui;
use crate::aws::Aws;
use crate::aws::ids::{ClientId, PoolId};
use crate::aws::wait::told_if_slow;
use crate::cli::{self, SecretSource};
use crate::error::Failure;
use crate::oauth::{self, Patience, Token, TokenError, TokenRequest};
use crate::resource::{self, CallError, Class, Cx};
use crate::resources::{client, shared_pool};
use crate::state::State;

/// Runs it.
pub(super) async fn run(invocation: &Invocation, args: &cli::Token, ui: &Rc<Ui>) -> Result<(), Failure> {
    let (stack, sources) = Sources::read(invocation)?;
    let loaded = Loaded::load(invocation, &stack, ui).await?;
    let outputs = stack_outputs(&loaded.state)?;
    let name = choose(&outputs, args.client.as_deref())?;
    let source = args.secret_from.as_ref().or_else(|| sources.of(&name));
    let Recorded { session, .. } = loaded.open(ui).await?;
    let http = oauth::http_client(&outputs.secrets_url)?;
    let token = fetch(&session, &http, &outputs, &name, source, &args.scopes, ui).await?;
    let missing = missing_scopes(&token, &args.scopes)?;
    if !missing.is_empty() {
        ui.warn(&format!("the token lacks requested scopes: {}; Cognito leaves out a scope that its resource server no longer has",
            missing.join(", ")
        ));
    }
    if ui.is_json() {
        let claims = token.claims()?;
        let document = json!({
            "access_token": token.access_token.expose_secret(),
            "expires_in": token.expires_in,
            "scope": claims.get("scope"),
            "claims": claims,
        });
        ui.data(&serde_json::to_string_pretty(&document)?);
    } else {
        ui.data(token.access_token.expose_secret());
    }
    Ok(())
}

/// The scopes that were asked for and did not come: AWS's pages differ on whether such a request is refused.
fn missing_scopes<'a>(token: &Token, asked: &'a [String]) -> Result<Vec<&'a str>, Failure> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let claims = token.claims()?;
    let granted = claims
        .get("scope")
        .and_then(|scope| scope.as_str())
        .unwrap_or_default();
    let granted: Vec<&str> = granted.split(' ').collect();
    Ok(asked
        .iter()
        .map(String::as_str)
        .filter(|scope| !granted.contains(scope))
        .collect())
}

/// The outputs that a token needs; a hint where the stack is not complete.
pub(super) fn stack_outputs(state: &State) -> Result<Outputs, Failure> {
    complete(state).map_err(|error| Failure::from(error).hinted("run `provision up`"))
}

/// The client that is meant.
pub(super) fn choose(outputs: &Outputs, client: Option<&str>) -> Result<String, Failure> {
    let names: Vec<&str> = outputs.clients.keys().map(String::as_str).collect();
    pick("client", &names, client)
}

/// The name that is meant: the given one, or the only one.
pub(super) fn pick(noun: &str, names: &[&str], given: Option<&str>) -> Result<String, Failure> {
    let there = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    match given {
        Some(name) if names.contains(&name) => Ok(name.to_owned()),
        Some(name) => {
            Err(Failure::usage(format!("{noun} {name} not found"))
                .hinted(format!("available {noun}s: {there}")))
        }
        None if names.len() == 1 => Ok(names[0].to_owned()),
        None => Err(Failure::usage(format!(
            "the stack has {} {noun}s; name one: {there}",
            names.len()
        ))),
    }
}

/// A fresh token of this client, whose secret is read now, from `source` or from Cognito, unless this run made the client.
pub(super) async fn fetch(
    session: &Session,
    http: &reqwest::Client,
    outputs: &Outputs,
    name: &str,
    source: Option<&SecretSource>,
    scopes: &[String],
    ui: &Rc<Ui>,
) -> Result<Token, Failure> {
    let client_id = &outputs.clients[name].client_id;
    let cx = session.cx(ui);
    let say = |line: &str| ui.progress(line);
    if let Some(domain) = &outputs.own_domain {
        let pool = shared_pool::look_up(&cx, &outputs.user_pool_id).await?;
        if pool.is_none_or(|pool| pool.domain != *domain) {
            return Err(Failure::from(anyhow!(
                "{domain} is on record as the domain of user pool {}, and Cognito does not say so: no secret is sent there",
                outputs.user_pool_id
            ))
            .hinted("run `provision plan` to see what the pool's owner changed"));
        }
    }
    let mut known = None;
    let asked = oauth::until_ready(Patience::READY, &say, async || {
        let secret = match known.take() {
            Some(secret) => secret,
            None => read_secret(&cx, &outputs.user_pool_id, client_id, source)
                .await
                .map_err(TokenError::NoSecret)?,
        };
        let request = TokenRequest {
            token_url: &outputs.secrets_url,
            client_id: client_id.as_str(),
            client_secret: &secret,
            scopes,
        };
        let answer = oauth::token(http, &request).await;
        // Right after a rotation the place may yet come to have another one.
        if !answer.as_ref().is_err_and(TokenError::is_invalid_client) {
            known = Some(secret);
        }
        answer
    });
    let token = told_if_slow(asked, || say("waiting for the token endpoint")).await;
    token.map_err(|error| without_token(error, name, source))
}

async fn read_secret(
    cx: &Cx<Aws>,
    pool: &PoolId,
    client_id: &ClientId,
    source: Option<&SecretSource>,
) -> resource::Result<SecretString> {
    match (client::new_secret(cx, client_id), source) {
        (Some(secret), _) => Ok(secret),
        (None, Some(source)) => secret_source::read(cx, source).await,
        (None, None) => client::secret(cx, pool, client_id).await,
    }
}

/// Why there is no token of this client, and what helps.
fn without_token(error: TokenError, name: &str, source: Option<&SecretSource>) -> Failure {
    match (error, source) {
        (TokenError::NoSecret(error), _) => unreadable(error, name, source),
        (error, None) if error.is_invalid_client() => Failure::from(error).hinted(format!(
            "after a rotation AWS may answer a secret that is no longer valid; {}",
            other_source(name)
        )),
        (error, Some(source)) if error.is_invalid_client() => {
            Failure::from(error).hinted(format!("put the valid secret of client {name} into {source}"))
        }
        (error, _) => error.into(),
    }
}

/// Why the secret of this client cannot be read, and what helps.
pub(super) fn unreadable(error: anyhow::Error, name: &str, source: Option<&SecretSource>) -> Failure {
    let call = error.chain().find_map(|cause| cause.downcast_ref::<CallError>());
    let is_denied = call.is_some_and(|call| call.class == Class::Denied);
    let untold = error.is::<client::Untold>();
    let failure = Failure::from(error.context(format!("cannot read the secret of client {name}")));
    match source {
        None if untold => failure.hinted(other_source(name)),
        Some(SecretSource::Place(place)) if !is_denied => {
            let to = quoted(place.to_string().as_ref());
            let client = quoted(name.as_ref());
            failure.hinted(format!(
                "to put it there, run `provision secret show {client} --to {to}`"
            ))
        }
        _ => failure,
    }
}

fn other_source(name: &str) -> String {
    format!(
        "name where the valid one is, with --secret-from file:PATH, env:NAME, secretsmanager:NAME or ssm:/PATH, or with \
         secret_from = \"secretsmanager:NAME\" in [clients.{name}]"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_that_did_not_come_is_named() {
        use base64::Engine as _;
        let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(r#"{"scope":"orders/read users/read"}"#);
        let token = Token {
            access_token: format!("eyJh.{payload}.c2ln").into(),
            expires_in: 3600,
        };
        let asked = |scopes: &[&str]| scopes.iter().map(|&scope| scope.to_owned()).collect::<Vec<_>>();
        assert!(
            missing_scopes(&token, &asked(&["users/read"]))
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            missing_scopes(&token, &asked(&["orders/rea", "orders/read", "users/write"])).unwrap(),
            ["orders/rea", "users/write"]
        );
        assert!(missing_scopes(&token, &[]).unwrap().is_empty());
    }

    #[test]
    fn a_refused_secret_says_what_to_do() {
        let refused = || TokenError::OAuth {
            code: oauth::OAuthCode::InvalidClient,
            description: None,
        };
        let hints = without_token(refused(), "app", None).hints;
        assert_eq!(
            hints,
            [
                "after a rotation AWS may answer a secret that is no longer valid; name where the valid one is, with \
                 --secret-from file:PATH, env:NAME, secretsmanager:NAME or ssm:/PATH, or with secret_from = \"secretsmanager:NAME\" in \
                 [clients.app]"
            ]
        );
        let source = "secretsmanager:orders/app".parse().unwrap();
        assert_eq!(
            without_token(refused(), "app", Some(&source)).hints,
            ["put the valid secret of client app into secretsmanager:orders/app"]
        );
        let busy = TokenError::Throttled { status: 429 };
        assert!(without_token(busy, "app", None).hints.is_empty());
    }

    #[test]
    fn the_only_one_need_not_be_named() {
        assert_eq!(pick("client", &["app"], None).unwrap(), "app");
        assert_eq!(pick("client", &["app", "other"], Some("other")).unwrap(), "other");
    }

    #[test]
    fn an_unknown_one_is_told_which_there_are() {
        let failure = pick("client", &["app", "other"], Some("billing")).unwrap_err();
        assert_eq!(failure.kind.exit_code(), 2);
        assert_eq!(failure.error.unwrap().to_string(), "client billing not found");
        assert_eq!(failure.hints, ["available clients: app, other"]);
        let several = pick("client", &["app", "other"], None).unwrap_err();
        assert_eq!(
            several.error.unwrap().to_string(),
            "the stack has 2 clients; name one: app, other"
        );
        assert!(pick("client", &[], None).is_err());
    }
}
