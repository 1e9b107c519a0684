//! Proves that the live stage accepts whom it should and nobody else: requests every route, with and without tokens.
//!
//! Must not know AWS, the state or the engine, and must not print. A token goes into a request and nowhere else.

pub mod dns;
pub mod front;
pub mod hello;
mod paths;
mod token;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use jsonwebtoken::jwk::JwkSet;
use reqwest::{Client as Http, Method};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::api;
use crate::error::{Failure, on_one_line};
use crate::pause::Pauses;
use crate::untrusted::{excerpt, printable};

/// How many probes run, or tokens are fetched, at the same time. The default rates of AWS are well above.
pub const AT_ONCE: usize = 32;

/// How long a stage may take until it serves everywhere what was deployed. AWS gives no figure; a new stage takes 20 to
/// 30 seconds.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// The same after a stage moved to another deployment: AWS serves the earlier one for up to two minutes.
pub const MOVED_DEADLINE: Duration = Duration::from_mins(3);

/// The longest key set that is read, in bytes; Cognito's has two keys of less than 500.
const KEYS_LIMIT: usize = 64 * 1024;

/// How long the answer to a request right before the deadline may take.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// The live stage, as it should be.
#[derive(Clone, Debug)]
pub struct Stage {
    /// `api_url` + `/user` is the route `/user`. Empty if there are no routes: then only tokens are checked.
    pub api_url: String,
    /// The claim `iss` of the tokens.
    pub issuer: String,
    /// Where the issuer publishes its key set.
    pub jwks_url: String,
    pub routes: Vec<Route>,
    /// By name.
    pub clients: BTreeMap<String, Client>,
}

#[derive(Clone, Debug)]
pub struct Route {
    /// Such as `GET`, or `ANY`, which is requested with one of its verbs.
    pub verb: String,
    /// Such as `/orders/{id}`.
    pub path: String,
    /// Full scopes; a token needs one of them.
    pub scopes: BTreeSet<String>,
    /// Whether something answers it that the stack did not make.
    pub is_backend: bool,
}

impl Route {
    fn name(&self) -> String {
        format!("{} {}", self.verb, self.path)
    }

    fn accepts(&self, client: &Client) -> bool {
        !self.scopes.is_disjoint(&client.scopes)
    }
}

#[derive(Clone, Debug)]
pub struct Client {
    /// The OAuth `client_id`.
    pub client_id: String,
    /// All full scopes that its tokens can have.
    pub scopes: BTreeSet<String>,
    /// How long its access tokens are valid.
    pub access_token_seconds: i64,
}

/// The token of every client by the client's name, or why there is no token. A client whose secret cannot be read is not in
/// it, and is not checked.
pub type Tokens = BTreeMap<String, Result<SecretString, String>>;

/// What a probe checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A client's token: signature, issuer, use, client, scopes, lifetime.
    Token,
    /// A path that is not a route.
    NoRoute,
    /// A route without a token.
    NoToken,
    /// A route with a token that its issuer did not sign. It stands in for the token of a client whose secret cannot be
    /// read, and for those of the clients of others.
    WrongToken,
    /// A route with the token of a client that has none of its scopes.
    ForeignToken,
    /// A route with the token of a client that has one of its scopes.
    RightToken,
    /// A method that the stage serves without a token, and that is not a route of the stack. It is not called.
    OpenMethod,
    /// The record in DNS of the API's own domain.
    Dns,
    /// The certificate of the domain, and that it leads to the API.
    Domain,
    /// A client without a certificate, where the domain asks for one.
    NoCertificate,
    /// A version of TLS that the domain does not take.
    OldTls,
    /// The host name of AWS, where the API must not answer.
    DefaultEndpoint,
}

/// The result of one probe. Safe to print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What was checked.
    pub check: Check,
    /// The route, such as `GET /user`, or the verb and path that is not a route; `None` for a token.
    pub route: Option<String>,
    /// The client whose token it was; `None` without a token.
    pub client: Option<String>,
    /// The right answer.
    pub expected: String,
    /// The last answer, in the form of `expected`.
    pub got: String,
    /// Whether the answer was right.
    pub ok: bool,
    /// The usual cause of an answer that came from API Gateway itself; `None` for other answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likely: Option<&'static str>,
}

/// How long after the start a wrong answer is asked for again, for all probes together.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For an unexpected refusal, a failure, or no answer.
    pub refused: Duration,
    /// For an answer that accepted the request: each attempt may reach the function.
    pub admitted: Duration,
}

/// An answer, compared with the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Right(String),
    /// The stage accepted the request, and should not have.
    Admitted(String),
    /// Any other wrong answer.
    Wrong(String),
}

/// Requests every route of `stage`: without a token, and with the token of every client that has none of the route's scopes.
/// With `call`, also routes of verb GET, and those of a back end that take GET, with the token of every client that has one of
/// the scopes. Also requests one path
/// that is not a route. If a client is not in `tokens`, or there is none, every route is also requested with a token that its
/// issuer did not sign.
///
/// Probes that need no token run while the `tokens` are fetched. The deadlines of `patience` begin at the start for them, and
/// for all others when the tokens are there. `tell` gets one line for each kind of wrong answer that is asked for again.
/// `count` gets the number of probes that are done, and of all.
pub async fn verify(
    http: &Http,
    stage: &Stage,
    tokens: impl Future<Output = Tokens>,
    call: bool,
    patience: Patience,
    tell: &dyn Fn(&str),
    count: &dyn Fn(usize, usize),
) -> Vec<Probe> {
    let told = RefCell::new(BTreeSet::new());
    let waits = |why: &str| {
        if told.borrow_mut().insert(why.to_owned()) {
            tell(&format!("waiting for the stage: {why}"));
        }
    };
    let planned = planned(stage, call);
    let (done, all) = (Cell::new(0), Cell::new(planned.len()));
    let run = async |probes: Vec<(usize, Planned<'_>)>, tokens: &Tokens| {
        let start = Instant::now();
        let running = (probes.iter()).map(async |(place, probe)| {
            let result = probe.run(http, stage, tokens, patience, start, &waits).await;
            done.set(done.get() + 1);
            count(done.get(), all.get());
            (*place, result)
        });
        let running = futures_util::stream::iter(running).buffer_unordered(AT_ONCE);
        running.collect::<Vec<_>>().await
    };
    let (with_token, without): (Vec<_>, Vec<_>) =
        (planned.into_iter().enumerate()).partition(|(_, probe)| probe.waits_for_tokens());
    let with_token_count = with_token.len();
    let none = Tokens::new();
    let (keys, mut results, (tokens, others)) = tokio::join!(
        keys(http, stage, patience.refused, tell),
        run(without, &none),
        async {
            let tokens = tokens.await;
            let unread =
                stage.clients.is_empty() || stage.clients.keys().any(|client| !tokens.contains_key(client));
            let asked = with_token.into_iter().filter(|(_, probe)| match probe.client {
                Some(client) => tokens.contains_key(client),
                None => unread,
            });
            let asked: Vec<_> = asked.collect();
            all.set(all.get() - with_token_count + asked.len());
            let results = run(asked, &tokens).await;
            (tokens, results)
        }
    );
    results.extend(others);
    results.sort_by_key(|(place, _)| *place);
    let mut probes = check_tokens(stage, &tokens, &keys);
    probes.extend(results.into_iter().map(|(_, probe)| probe));
    probes
}

fn check_tokens(stage: &Stage, tokens: &Tokens, keys: &Result<JwkSet, String>) -> Vec<Probe> {
    let probe = |(name, client): (&String, &Client)| {
        let expected = token::Expected {
            issuer: &stage.issuer,
            client_id: &client.client_id,
            scopes: &client.scopes,
            lifetime: client.access_token_seconds,
        };
        let checked = match (tokens.get(name)?, keys) {
            (Err(why), _) => Err(format!("no token: {why}")),
            (Ok(_), Err(why)) => Err(format!("a token that cannot be checked: {why}")),
            (Ok(token), Ok(keys)) => token::check(token, keys, &expected),
        };
        Some(Probe {
            check: Check::Token,
            route: None,
            client: Some(name.clone()),
            expected: "a valid token".to_owned(),
            ok: checked.is_ok(),
            likely: None,
            got: checked.err().unwrap_or_else(|| "a valid token".to_owned()),
        })
    };
    stage.clients.iter().filter_map(probe).collect()
}

/// The issuer's public keys; they are not fetched if there is no client.
async fn keys(http: &Http, stage: &Stage, deadline: Duration, tell: &dyn Fn(&str)) -> Result<JwkSet, String> {
    if stage.clients.is_empty() {
        return Ok(JwkSet { keys: Vec::new() });
    }
    let url = &stage.jwks_url;
    let start = Instant::now();
    let mut pauses = Pauses::growing();
    loop {
        let why = match fetch_keys(http, url).await {
            Ok(keys) => return Ok(keys),
            Err(why) => format!("the issuer's keys at {}: {why}", printable(url)),
        };
        let left = deadline.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(why);
        }
        tell(&format!("waiting for {why}"));
        pauses.wait(left).await;
    }
}

async fn fetch_keys(http: &Http, url: &str) -> Result<JwkSet, String> {
    let broken = |error: reqwest::Error| on_one_line(&error.without_url().into());
    let mut answer = http.get(url).send().await.map_err(broken)?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("status {}", status.as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > KEYS_LIMIT {
            return Err(format!("a key set larger than {} KiB", KEYS_LIMIT / 1024));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|_| format!("expected a key set, got {}", excerpt(&body)))
}

/// A probe that is still to run.
struct Planned<'a> {
    check: Check,
    /// The route's name in the result.
    route: String,
    verb: &'a str,
    path: String,
    /// The client whose token is sent.
    client: Option<&'a str>,
    /// A token that is sent although it is of no client.
    token: Option<SecretString>,
}

fn planned(stage: &Stage, call: bool) -> Vec<Planned<'_>> {
    let mut planned = Vec::new();
    for route in &stage.routes {
        let Some(verb) = paths::verb(route, &stage.routes) else {
            continue;
        };
        let of_route = |check, client| Planned {
            check,
            route: route.name(),
            verb,
            path: paths::filled(&route.path),
            client,
            token: None,
        };
        planned.push(of_route(Check::NoToken, None));
        planned.push(Planned {
            token: Some(token::made_up(&stage.issuer, &route.scopes)),
            ..of_route(Check::WrongToken, None)
        });
        for (name, client) in &stage.clients {
            if !route.accepts(client) {
                planned.push(of_route(Check::ForeignToken, Some(name)));
            } else if call && verb == "GET" && (route.verb == verb || route.is_backend) {
                planned.push(of_route(Check::RightToken, Some(name)));
            }
        }
    }
    if let Some((verb, path)) = paths::nowhere(&stage.routes).filter(|_| !stage.routes.is_empty()) {
        planned.push(Planned {
            check: Check::NoRoute,
            route: format!("{verb} {path}"),
            verb,
            path,
            client: None,
            token: None,
        });
    }
    planned
}

impl Planned<'_> {
    fn waits_for_tokens(&self) -> bool {
        self.client.is_some() || self.check == Check::WrongToken
    }

    async fn run(
        &self,
        http: &Http,
        stage: &Stage,
        tokens: &Tokens,
        patience: Patience,
        start: Instant,
        waits: &dyn Fn(&str),
    ) -> Probe {
        let token = self.client.map(|client| tokens.get(client));
        let last = match token {
            Some(None | Some(Err(_))) => Answer::Wrong("nothing, because there is no token".to_owned()),
            None => {
                self.until_right(patience, start, waits, async || {
                    self.attempt(http, stage, self.token.as_ref()).await
                })
                .await
            }
            Some(Some(Ok(token))) => {
                self.until_right(patience, start, waits, async || {
                    self.attempt(http, stage, Some(token)).await
                })
                .await
            }
        };
        let ok = matches!(last, Answer::Right(_));
        let (Answer::Right(got) | Answer::Admitted(got) | Answer::Wrong(got)) = last;
        Probe {
            check: self.check,
            route: Some(self.route.clone()),
            client: self.client.map(str::to_owned),
            expected: self.expected().to_owned(),
            likely: if ok { None } else { likely(&got) },
            got,
            ok,
        }
    }

    fn expected(&self) -> &'static str {
        match self.check {
            Check::Token => "a valid token",
            Check::NoRoute => "403 Missing Authentication Token",
            Check::NoToken | Check::WrongToken | Check::ForeignToken => "401 Unauthorized",
            Check::RightToken => "an answer of the function or back end, not 401 or 403",
            Check::OpenMethod => "no such method",
            Check::Dns | Check::Domain | Check::NoCertificate | Check::OldTls | Check::DefaultEndpoint => {
                unreachable!("it is not planned by route")
            }
        }
    }

    /// Asks again until the answer is right, or the deadline of a wrong answer has passed. Asks at least once, unless an
    /// answer could not arrive in time.
    async fn until_right(
        &self,
        patience: Patience,
        start: Instant,
        waits: &dyn Fn(&str),
        mut attempt: impl AsyncFnMut() -> Answer,
    ) -> Answer {
        let end = start + patience.refused.max(patience.admitted) + LAST_ANSWER;
        let mut pauses = Pauses::growing();
        loop {
            if Instant::now() >= end {
                return Answer::Wrong("nothing, because the other probes took all of the time".to_owned());
            }
            let Ok(answer) = timeout_at(end, attempt()).await else {
                return Answer::Wrong("no answer in time".to_owned());
            };
            let (got, patience) = match &answer {
                Answer::Right(_) => return answer,
                Answer::Admitted(got) => (got, patience.admitted),
                Answer::Wrong(got) => (got, patience.refused),
            };
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                return answer;
            }
            waits(&format!("expected {}, got {got}", self.expected()));
            pauses.wait(left).await;
        }
    }

    async fn attempt(&self, http: &Http, stage: &Stage, token: Option<&SecretString>) -> Answer {
        let Ok(method) = Method::from_bytes(self.verb.as_bytes()) else {
            return Answer::Wrong(format!("{} is not a method", printable(self.verb)));
        };
        let request = api::Request {
            method,
            url: &format!("{}{}", stage.api_url, self.path),
            token,
            headers: &[],
            body: None,
        };
        let wrong =
            |failure: &Failure| Answer::Wrong(failure.error.as_ref().map_or_else(String::new, on_one_line));
        match api::call(http, request).await {
            Ok(mut response) => match response.beginning().await {
                Ok(body) => self.judge(response.status, &body),
                Err(failure) => wrong(&failure),
            },
            Err(failure) => wrong(&failure),
        }
    }

    /// A function may answer 401 as well: only the gateway's own message shows that the function was not invoked.
    fn judge(&self, status: u16, body: &[u8]) -> Answer {
        let message = message(body);
        let got = match &message {
            Some(message) => format!("{status} {message}"),
            None => status.to_string(),
        };
        let right = match self.check {
            // The function was not reached, or did not answer: it is gone, broken or throttled.
            Check::RightToken => match status {
                401 | 403 => false,
                429 | 500..=504 => message.is_none(),
                _ => true,
            },
            // An answer to HEAD has no body.
            _ if self.verb == "HEAD" => self.expected().starts_with(&format!("{status} ")),
            _ => got == self.expected(),
        };
        // The gateway answers these without the function: refused, throttled, or no function to invoke.
        let gateways = matches!(status, 403 | 429 | 500 | 503) || (status == 401 && message.is_some());
        match (right, self.check) {
            (true, _) => Answer::Right(got),
            (false, Check::RightToken) => Answer::Wrong(got),
            (false, _) if gateways => Answer::Wrong(got),
            (false, _) => Answer::Admitted(got),
        }
    }
}

/// The usual cause of an answer of the gateway itself. AWS documents the statuses, and few of the messages.
fn likely(got: &str) -> Option<&'static str> {
    let (status, message) = got.split_once(' ')?;
    Some(match (status, message) {
        ("403", "Missing Authentication Token") => "the route is not deployed",
        ("403", _) => "an API key, a resource policy or a firewall that someone added",
        ("429", _) => "the throttle or the quota of the stage, of a usage plan or of the account",
        ("500", _) => "the function, or the API's permission to invoke it, is gone",
        ("502", _) => "the function fails, or does not answer as API Gateway expects",
        ("503", _) => "API Gateway or Lambda is not available",
        ("504", _) => "the function or back end takes longer than API Gateway waits, or cannot be reached",
        _ => return None,
    })
}

/// The message of the gateway's own answer, which is `{"message": "…"}` and nothing else.
fn message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let fields = body.as_object().filter(|fields| fields.len() == 1)?;
    let message = fields.get("message").or_else(|| fields.get("Message"))?;
    Some(excerpt(message.as_str()?.as_bytes()))
}

#[cfg(test)]
mod tests;
