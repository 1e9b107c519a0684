//! Proof that the live stage lets in whom it should and nobody else: it knocks at every route, with and without tokens.
//!
//! Must not know AWS, the state or the engine, nor print; a token goes into a request and nowhere else.

mod paths;
mod token;

use std::cell::RefCell;
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
use crate::error::Failure;
use crate::untrusted::{excerpt, printable};

/// Probes that run side by side, and tokens that are fetched: the default rates of both ends are well above.
pub const AT_ONCE: usize = 32;

/// How long a stage may need to answer everywhere as it was deployed. AWS has no figure; a new stage takes 20 to 30 seconds.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// The same after a stage moved to another deployment: up to two minutes pass until AWS no longer serves the earlier one.
pub const MOVED_DEADLINE: Duration = Duration::from_mins(3);

/// As much of a key set as is read, in bytes; Cognito's has two keys of less than 500.
const KEYS_LIMIT: usize = 64 * 1024;

/// The longest pause between two attempts, in seconds.
const LONGEST_PAUSE: u64 = 5;

/// How long an answer may take that is asked for right before the deadline.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// The live stage, and what it should be.
#[derive(Clone, Debug)]
pub struct Stage {
    /// `api_url` + `/user` is the route `/user`.
    pub api_url: String,
    /// The `iss` of the tokens.
    pub issuer: String,
    /// The issuer's key set.
    pub jwks_url: String,
    /// Its routes.
    pub routes: Vec<Route>,
    /// By name.
    pub clients: BTreeMap<String, Client>,
}

/// A route as it should be.
#[derive(Clone, Debug)]
pub struct Route {
    /// Such as `GET`, or `ANY`, which is probed as one of the verbs that it stands for.
    pub verb: String,
    /// Such as `/orders/{id}`.
    pub path: String,
    /// Full scopes; any one of them admits.
    pub scopes: BTreeSet<String>,
}

impl Route {
    fn name(&self) -> String {
        format!("{} {}", self.verb, self.path)
    }

    fn admits(&self, client: &Client) -> bool {
        !self.scopes.is_disjoint(&client.scopes)
    }
}

/// A client as it should be.
#[derive(Clone, Debug)]
pub struct Client {
    /// The OAuth `client_id`.
    pub client_id: String,
    /// Full scopes: all that it can have.
    pub scopes: BTreeSet<String>,
    /// How long its access tokens are good for.
    pub access_token_seconds: i64,
}

/// Every client's token by the client's name, or why there is none. A client that is not among them has a secret that cannot
/// be read: nothing of it is judged.
pub type Tokens = BTreeMap<String, Result<SecretString, String>>;

/// What a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A client's token: signature, issuer, use, client, scopes, lifetime.
    Token,
    /// A path that no route answers.
    NoRoute,
    /// A route without a token.
    NoToken,
    /// A route with a token that its issuer did not sign: asked where the token of a client is not to be had.
    WrongToken,
    /// A route with the token of a client that holds none of its scopes.
    ForeignToken,
    /// A route with the token of a client that holds one of its scopes.
    RightToken,
    /// A method that the stage serves, is not a route of the stack and asks for no token. It is not called.
    OpenMethod,
}

/// One probe and its result. Safe to print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What was asked.
    pub check: Check,
    /// The route's name, or the verb and path that is none; `None` for a token.
    pub route: Option<String>,
    /// Whose token it was; `None` without one.
    pub client: Option<String>,
    /// What the right answer looks like.
    pub expected: String,
    /// The last answer, in the same form.
    pub got: String,
    /// Whether `got` is what was expected.
    pub ok: bool,
    /// What mostly makes API Gateway answer so by itself; `None` where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likely: Option<&'static str>,
}

/// How long wrong answers may be ones that are not right yet, for all probes together.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a refusal of another kind than expected, a failure or no answer.
    pub refused: Duration,
    /// For an answer that let the probe in: each attempt may reach the function.
    pub admitted: Duration,
}

/// An answer, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Right(String),
    /// It got in where it should not.
    Admitted(String),
    /// Wrong otherwise.
    Wrong(String),
}

/// Knocks at every route of `stage`: without a token, with the token of every client that has no scope of it and, with
/// `call`, at those of verb GET with the token of every client that has one; and once where there is no route. Where a client
/// is not among the `tokens`, every route is asked with a token that nobody signed instead of that client's.
///
/// What needs no token is asked while the `tokens` are fetched. The deadlines of `patience` hold from the beginning for
/// what needs no token, and for all others from when there are tokens, however many probes there are. `tell` gets one line for each kind of wrong answer that is
/// waited on.
pub async fn verify(
    http: &Http,
    stage: &Stage,
    tokens: impl Future<Output = Tokens>,
    call: bool,
    patience: Patience,
    tell: &dyn Fn(&str),
) -> Vec<Probe> {
    let told = RefCell::new(BTreeSet::new());
    let waits = |why: &str| {
        if told.borrow_mut().insert(why.to_owned()) {
            tell(&format!("waiting for the stage: {why}"));
        }
    };
    let run = async |knocks: Vec<(usize, Knock<'_>)>, tokens: &Tokens| {
        let start = Instant::now();
        let knocking = (knocks.iter()).map(async |(place, knock)| {
            (
                *place,
                knock.run(http, stage, tokens, patience, start, &waits).await,
            )
        });
        let knocking = futures_util::stream::iter(knocking).buffer_unordered(AT_ONCE);
        knocking.collect::<Vec<_>>().await
    };
    let (with_token, without): (Vec<_>, Vec<_>) =
        (knocks(stage, call).into_iter().enumerate()).partition(|(_, knock)| knock.waits_for_tokens());
    let none = Tokens::new();
    let (keys, mut knocked, (tokens, others)) = tokio::join!(
        keys(http, stage, patience.refused, tell),
        run(without, &none),
        async {
            let tokens = tokens.await;
            let unread = stage.clients.keys().any(|client| !tokens.contains_key(client));
            let asked = with_token.into_iter().filter(|(_, knock)| match knock.client {
                Some(client) => tokens.contains_key(client),
                None => unread,
            });
            let knocked = run(asked.collect(), &tokens).await;
            (tokens, knocked)
        }
    );
    knocked.extend(others);
    knocked.sort_by_key(|(place, _)| *place);
    let mut probes = check_tokens(stage, &tokens, &keys);
    probes.extend(knocked.into_iter().map(|(_, probe)| probe));
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

/// The issuer's public keys; none are asked for where there is no token to check.
async fn keys(http: &Http, stage: &Stage, deadline: Duration, tell: &dyn Fn(&str)) -> Result<JwkSet, String> {
    if stage.clients.is_empty() {
        return Ok(JwkSet { keys: Vec::new() });
    }
    let url = &stage.jwks_url;
    let start = Instant::now();
    let mut pause = 1;
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
        tokio::time::sleep(left.min(Duration::from_secs(pause))).await;
        pause = LONGEST_PAUSE.min(pause + 1);
    }
}

async fn fetch_keys(http: &Http, url: &str) -> Result<JwkSet, String> {
    let broken = |error: reqwest::Error| chain(&error.without_url().into());
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
    serde_json::from_slice(&body).map_err(|_| format!("no key set: {}", excerpt(&body)))
}

/// One knock at one door.
struct Knock<'a> {
    check: Check,
    /// As people name it.
    route: String,
    verb: &'a str,
    path: String,
    /// Whose token is sent.
    client: Option<&'a str>,
    /// The token that is sent in place of a client's.
    token: Option<SecretString>,
}

fn knocks(stage: &Stage, call: bool) -> Vec<Knock<'_>> {
    let mut knocks = Vec::new();
    for route in &stage.routes {
        let Some(verb) = paths::verb(route, &stage.routes) else {
            continue;
        };
        let knock = |check, client| Knock {
            check,
            route: route.name(),
            verb,
            path: paths::filled(&route.path),
            client,
            token: None,
        };
        knocks.push(knock(Check::NoToken, None));
        knocks.push(Knock {
            token: Some(token::made_up(&stage.issuer, &route.scopes)),
            ..knock(Check::WrongToken, None)
        });
        for (name, client) in &stage.clients {
            if !route.admits(client) {
                knocks.push(knock(Check::ForeignToken, Some(name)));
            } else if call && route.verb == "GET" {
                knocks.push(knock(Check::RightToken, Some(name)));
            }
        }
    }
    if let Some((verb, path)) = paths::nowhere(&stage.routes) {
        knocks.push(Knock {
            check: Check::NoRoute,
            route: format!("{verb} {path}"),
            verb,
            path,
            client: None,
            token: None,
        });
    }
    knocks
}

impl Knock<'_> {
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
            Check::RightToken => "an answer of the function, not 401 or 403",
            Check::OpenMethod => "no such method",
        }
    }

    /// Asks again until the answer is right or is wrong too long after `start`; once where that has passed already, and
    /// not at all where no answer could come in time.
    async fn until_right(
        &self,
        patience: Patience,
        start: Instant,
        waits: &dyn Fn(&str),
        mut attempt: impl AsyncFnMut() -> Answer,
    ) -> Answer {
        let end = start + patience.refused.max(patience.admitted) + LAST_ANSWER;
        let mut pause = 1;
        loop {
            if Instant::now() >= end {
                return Answer::Wrong("nothing, because the other probes took all the time".to_owned());
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
            tokio::time::sleep(left.min(Duration::from_secs(pause))).await;
            pause = LONGEST_PAUSE.min(pause + 1);
        }
    }

    async fn attempt(&self, http: &Http, stage: &Stage, token: Option<&SecretString>) -> Answer {
        let Ok(method) = Method::from_bytes(self.verb.as_bytes()) else {
            return Answer::Wrong(format!("{} is no method", printable(self.verb)));
        };
        let request = api::Request {
            method,
            url: &format!("{}{}", stage.api_url, self.path),
            token,
            headers: &[],
            body: None,
        };
        let wrong = |failure: &Failure| Answer::Wrong(failure.error.as_ref().map_or_else(String::new, chain));
        match api::call(http, request).await {
            Ok(mut response) => match response.beginning().await {
                Ok(body) => self.judge(response.status, &body),
                Err(failure) => wrong(&failure),
            },
            Err(failure) => wrong(&failure),
        }
    }

    /// A function may answer 401 as well: only the gateway's own words tell that it was not asked.
    fn judge(&self, status: u16, body: &[u8]) -> Answer {
        let message = message(body);
        let got = match &message {
            Some(message) => format!("{status} {message}"),
            None => status.to_string(),
        };
        let right = match self.check {
            // A function that is gone, broken or throttled was not reached, or has not answered.
            Check::RightToken => match status {
                401 | 403 => false,
                429 | 500..=504 => message.is_none(),
                _ => true,
            },
            // An answer to HEAD has no body.
            _ if self.verb == "HEAD" => self.expected().starts_with(&format!("{status} ")),
            _ => got == self.expected(),
        };
        // What the gateway answers without a function: refused, throttled, or nothing to hand the request to.
        let gateways = matches!(status, 403 | 429 | 500 | 503) || (status == 401 && message.is_some());
        match (right, self.check) {
            (true, _) => Answer::Right(got),
            (false, Check::RightToken) => Answer::Wrong(got),
            (false, _) if gateways => Answer::Wrong(got),
            (false, _) => Answer::Admitted(got),
        }
    }
}

/// What mostly makes the gateway answer so by itself. AWS documents the statuses and few of the words.
fn likely(got: &str) -> Option<&'static str> {
    let (status, message) = got.split_once(' ')?;
    Some(match (status, message) {
        ("403", "Missing Authentication Token") => "the route is not deployed",
        ("403", _) => "an API key, a resource policy or a firewall that someone added",
        ("429", _) => "the throttle or the quota of the stage, of a usage plan or of the account",
        ("500", _) => "the function, or the API's permission to invoke it, is gone",
        ("502", _) => "the function fails, or does not answer as API Gateway expects",
        ("503", _) => "API Gateway or Lambda is not available",
        ("504", _) => "the function takes longer than API Gateway waits",
        _ => return None,
    })
}

/// What the gateway's own answers are: `{"message": "…"}` and nothing else.
fn message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let fields = body.as_object().filter(|fields| fields.len() == 1)?;
    let message = fields.get("message").or_else(|| fields.get("Message"))?;
    Some(excerpt(message.as_str()?.as_bytes()))
}

/// An error and its causes on one line.
fn chain(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    printable(&causes.join(": "))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use wiremock::matchers::{header_exists, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::oauth::http_client;

    fn knock(check: Check, verb: &str) -> Knock<'_> {
        Knock {
            check,
            route: format!("{verb} /user"),
            verb,
            path: "/user".to_owned(),
            client: None,
            token: None,
        }
    }

    #[test]
    fn only_the_gateways_own_words_are_a_refusal() {
        let unauthorized = r#"{"message":"Unauthorized"}"#;
        let missing = r#"{"message":"Missing Authentication Token"}"#;
        let right = |got: &str| Answer::Right(got.to_owned());
        let wrong = |got: &str| Answer::Wrong(got.to_owned());
        let admitted = |got: &str| Answer::Admitted(got.to_owned());
        for (check, verb, status, body, expected) in [
            (
                Check::NoToken,
                "GET",
                401,
                unauthorized,
                right("401 Unauthorized"),
            ),
            (
                Check::ForeignToken,
                "POST",
                401,
                unauthorized,
                right("401 Unauthorized"),
            ),
            (
                Check::NoRoute,
                "GET",
                403,
                missing,
                right("403 Missing Authentication Token"),
            ),
            (Check::RightToken, "GET", 404, "{}", right("404")),
            // The function's own words.
            (Check::RightToken, "GET", 500, "{}", right("500")),
            (
                Check::RightToken,
                "GET",
                503,
                r#"{"message":"busy","code":1}"#,
                right("503"),
            ),
            (
                Check::RightToken,
                "GET",
                404,
                r#"{"message":"none"}"#,
                right("404 none"),
            ),
            // The gateway's.
            (
                Check::RightToken,
                "GET",
                500,
                r#"{"message": "Internal server error"}"#,
                wrong("500 Internal server error"),
            ),
            (
                Check::RightToken,
                "GET",
                502,
                r#"{"message": "Internal server error"}"#,
                wrong("502 Internal server error"),
            ),
            (
                Check::RightToken,
                "GET",
                504,
                r#"{"message": "Endpoint request timed out"}"#,
                wrong("504 Endpoint request timed out"),
            ),
            (
                Check::RightToken,
                "GET",
                429,
                r#"{"message":"Too Many Requests"}"#,
                wrong("429 Too Many Requests"),
            ),
            (
                Check::RightToken,
                "GET",
                403,
                r#"{"message":"Forbidden"}"#,
                wrong("403 Forbidden"),
            ),
            (
                Check::RightToken,
                "GET",
                401,
                unauthorized,
                wrong("401 Unauthorized"),
            ),
            (
                Check::RightToken,
                "GET",
                403,
                missing,
                wrong("403 Missing Authentication Token"),
            ),
            // The function's own 401, which says that it was asked.
            (Check::NoToken, "GET", 401, "no", admitted("401")),
            (
                Check::NoToken,
                "GET",
                401,
                r#"{"message":"Unauthorized","code":1}"#,
                admitted("401"),
            ),
            (Check::NoToken, "GET", 200, "{}", admitted("200")),
            (
                Check::NoToken,
                "GET",
                502,
                r#"{"message":"Internal server error"}"#,
                admitted("502 Internal server error"),
            ),
            (Check::NoRoute, "GET", 200, "{}", admitted("200")),
            (
                Check::NoRoute,
                "GET",
                401,
                unauthorized,
                wrong("401 Unauthorized"),
            ),
            // Not deployed yet, throttled, an expired token.
            (
                Check::NoToken,
                "GET",
                403,
                missing,
                wrong("403 Missing Authentication Token"),
            ),
            (
                Check::NoToken,
                "GET",
                429,
                r#"{"message":"Too Many Requests"}"#,
                wrong("429 Too Many Requests"),
            ),
            (
                Check::ForeignToken,
                "GET",
                401,
                r#"{"message":"The incoming token has expired"}"#,
                wrong("401 The incoming token has expired"),
            ),
            (Check::NoToken, "HEAD", 401, "", right("401")),
            (Check::NoToken, "HEAD", 200, "", admitted("200")),
        ] {
            let judged = knock(check, verb).judge(status, body.as_bytes());
            assert_eq!(judged, expected, "{check:?} {verb} {status} {body}");
        }
    }

    #[test]
    fn the_gateways_own_errors_have_a_likely_cause() {
        for (got, cause) in [
            ("500 Internal server error", Some("permission to invoke it")),
            ("502 Internal server error", Some("the function fails")),
            (
                "504 Endpoint request timed out",
                Some("longer than API Gateway waits"),
            ),
            ("429 Limit Exceeded", Some("throttle")),
            ("403 Forbidden", Some("an API key")),
            ("403 Missing Authentication Token", Some("not deployed")),
            ("401 Unauthorized", None),
            ("500", None),
            ("200", None),
        ] {
            let found = likely(got);
            assert_eq!(found.is_some(), cause.is_some(), "{got}");
            assert!(
                found.unwrap_or_default().contains(cause.unwrap_or_default()),
                "{got}"
            );
        }
    }

    /// The attempts until the last answer, and the seconds that they took.
    async fn asked(answers: &[Answer]) -> (Answer, usize, u64) {
        let start = Instant::now();
        let attempts = Cell::new(0);
        let patience = Patience {
            refused: Duration::from_mins(1),
            admitted: Duration::from_secs(10),
        };
        let attempt = async || {
            let attempt = attempts.replace(attempts.get() + 1);
            answers[attempt.min(answers.len() - 1)].clone()
        };
        let last = knock(Check::NoToken, "GET")
            .until_right(patience, start, &|_| {}, attempt)
            .await;
        (last, attempts.get(), start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_answer_is_asked_for_again_for_as_long_as_its_kind_may_last() {
        let right = Answer::Right("401 Unauthorized".to_owned());
        let wrong = Answer::Wrong("403 Forbidden".to_owned());
        let open = Answer::Admitted("200".to_owned());
        assert_eq!(asked(std::slice::from_ref(&right)).await, (right.clone(), 1, 0));
        assert_eq!(
            asked(&[wrong.clone(), wrong.clone(), right.clone()]).await,
            (right.clone(), 3, 3)
        );
        assert_eq!(asked(&[open.clone(), right.clone()]).await, (right, 2, 1));
        // 1 + 2 + 3 + 4 + 5 × 10 s, and 1 + 2 + 3 + 4 s: the last attempt is at the deadline.
        assert_eq!(asked(std::slice::from_ref(&wrong)).await, (wrong, 15, 60));
        assert_eq!(asked(std::slice::from_ref(&open)).await, (open, 5, 10));
    }

    /// A method that was open is closed, and AWS still serves the earlier deployment.
    #[tokio::test(start_paused = true)]
    async fn a_door_that_the_earlier_deployment_leaves_open_is_waited_for_and_one_that_stays_open_is_told() {
        for (closes, expected, seconds) in [(115, "401 Unauthorized", 115), (u64::MAX, "200", 180)] {
            let patience = Patience {
                refused: MOVED_DEADLINE,
                admitted: MOVED_DEADLINE,
            };
            let start = Instant::now();
            let attempt = async || {
                if start.elapsed().as_secs() < closes {
                    Answer::Admitted("200".to_owned())
                } else {
                    Answer::Right("401 Unauthorized".to_owned())
                }
            };
            let last = knock(Check::NoToken, "GET")
                .until_right(patience, start, &|_| {}, attempt)
                .await;
            let (Answer::Right(got) | Answer::Admitted(got) | Answer::Wrong(got)) = last;
            assert_eq!((got.as_str(), start.elapsed().as_secs()), (expected, seconds));
        }
    }

    /// 12 routes, 5 clients and the stage gone: 60 probes with a token, in rounds of 32.
    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_one_for_all_probes() {
        let patience = Patience {
            refused: Duration::from_mins(1),
            admitted: Duration::from_secs(10),
        };
        // As `verify` does it; answers that are wrong at once, and ones that never come.
        for (answers, asked, seconds) in [(true, 60, 60), (false, 32, 70)] {
            let start = Instant::now();
            let attempts = Cell::new(0);
            let knocking = (0..60).map(async |_| {
                let begun = Cell::new(false);
                let attempt = async || {
                    attempts.set(attempts.get() + usize::from(!begun.replace(true)));
                    if !answers {
                        std::future::pending::<()>().await;
                    }
                    Answer::Wrong("403 Forbidden".to_owned())
                };
                knock(Check::RightToken, "GET")
                    .until_right(patience, start, &|_| {}, attempt)
                    .await
            });
            let knocked: Vec<Answer> = futures_util::stream::iter(knocking)
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            assert!(knocked.iter().all(|answer| matches!(answer, Answer::Wrong(_))));
            assert_eq!((attempts.get(), start.elapsed().as_secs()), (asked, seconds));
        }
    }

    #[tokio::test]
    async fn every_route_is_knocked_at_by_all_who_must_not_get_in() {
        let server = MockServer::start().await;
        let answer = |status, message: &str| {
            ResponseTemplate::new(status).set_body_json(serde_json::json!({ "message": message }))
        };
        // Open to whoever has any token at all.
        Mock::given(method("POST"))
            .and(path("/orders"))
            .and(header_exists("authorization"))
            .respond_with(ResponseTemplate::new(201))
            .mount(&server)
            .await;
        for route in ["/orders", "/orders/provision-verify"] {
            Mock::given(path(route))
                .respond_with(answer(401, "Unauthorized"))
                .mount(&server)
                .await;
        }
        Mock::given(path("/provision-verify"))
            .respond_with(answer(403, "Missing Authentication Token"))
            .mount(&server)
            .await;
        // Its function is gone.
        Mock::given(path("/gone"))
            .and(header_exists("authorization"))
            .respond_with(answer(500, "Internal server error"))
            .mount(&server)
            .await;
        Mock::given(path("/gone"))
            .respond_with(answer(401, "Unauthorized"))
            .mount(&server)
            .await;
        let scopes = |scopes: &[&str]| scopes.iter().map(|&scope| scope.to_owned()).collect();
        let route = |verb: &str, path: &str, needs: &[&str]| Route {
            verb: verb.to_owned(),
            path: path.to_owned(),
            scopes: scopes(needs),
        };
        let client = |has: &[&str]| Client {
            client_id: "c".to_owned(),
            scopes: scopes(has),
            access_token_seconds: 3600,
        };
        let stage = Stage {
            api_url: server.uri(),
            issuer: "https://issuer".to_owned(),
            jwks_url: format!("{}/jwks", server.uri()),
            routes: vec![
                route("POST", "/orders", &["o/write"]),
                route("ANY", "/orders/{id}", &["o/read", "o/write"]),
                route("GET", "/gone", &["o/read", "p/read"]),
            ],
            clients: [
                ("reader".to_owned(), client(&["o/read"])),
                ("stranger".to_owned(), client(&["p/read"])),
            ]
            .into(),
        };
        let tokens: Tokens = [
            ("reader".to_owned(), Ok("aa.bb.cc".to_owned().into())),
            ("stranger".to_owned(), Err("refused".to_owned())),
        ]
        .into();
        let none = Patience {
            refused: Duration::ZERO,
            admitted: Duration::ZERO,
        };
        let http = http_client(&server.uri()).unwrap();
        let probes = verify(&http, &stage, async { tokens }, true, none, &|_| {}).await;
        let lines: Vec<String> = probes
            .iter()
            .map(|probe| {
                let who = probe.client.as_deref().unwrap_or("-");
                let route = probe.route.as_deref().unwrap_or("-");
                format!("{:?} {route} {who} {} {}", probe.check, probe.got, probe.ok)
            })
            .collect();
        assert_eq!(
            lines,
            [
                "Token - reader a token that cannot be checked: the issuer's keys at URL/jwks: status 404 false"
                    .replace("URL", &server.uri()),
                "Token - stranger no token: refused false".to_owned(),
                "NoToken POST /orders - 401 Unauthorized true".to_owned(),
                "ForeignToken POST /orders reader 201 false".to_owned(),
                "ForeignToken POST /orders stranger nothing, because there is no token false".to_owned(),
                "NoToken ANY /orders/{id} - 401 Unauthorized true".to_owned(),
                "ForeignToken ANY /orders/{id} stranger nothing, because there is no token false".to_owned(),
                "NoToken GET /gone - 401 Unauthorized true".to_owned(),
                "RightToken GET /gone reader 500 Internal server error false".to_owned(),
                "RightToken GET /gone stranger nothing, because there is no token false".to_owned(),
                "NoRoute GET /provision-verify - 403 Missing Authentication Token true".to_owned(),
            ]
        );
        let likely: Vec<_> = probes.iter().filter_map(|probe| probe.likely).collect();
        assert_eq!(
            likely,
            ["the function, or the API's permission to invoke it, is gone"]
        );
        let printed = format!("{probes:?}{}", serde_json::to_string(&probes).unwrap());
        assert!(!printed.contains("aa.bb.cc"));
    }

    #[tokio::test]
    async fn where_a_secret_cannot_be_read_a_token_that_nobody_signed_is_tried_instead() {
        let server = MockServer::start().await;
        let answer = |status: u16, message: &str| {
            ResponseTemplate::new(status).set_body_json(serde_json::json!({ "message": message }))
        };
        // Lets in whoever has any token.
        Mock::given(path("/open"))
            .and(header_exists("authorization"))
            .respond_with(ResponseTemplate::new(200))
            .mount(&server)
            .await;
        Mock::given(path("/provision-verify"))
            .respond_with(answer(403, "Missing Authentication Token"))
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .respond_with(answer(401, "Unauthorized"))
            .mount(&server)
            .await;
        let route = |path: &str| Route {
            verb: "GET".to_owned(),
            path: path.to_owned(),
            scopes: ["o/read".to_owned()].into(),
        };
        let client = || Client {
            client_id: "c".to_owned(),
            scopes: ["p/read".to_owned()].into(),
            access_token_seconds: 3600,
        };
        let stage = Stage {
            api_url: server.uri(),
            issuer: "https://issuer".to_owned(),
            jwks_url: format!("{}/jwks", server.uri()),
            routes: vec![route("/orders"), route("/open")],
            clients: [("known".to_owned(), client()), ("untold".to_owned(), client())].into(),
        };
        let tokens: Tokens = [("known".to_owned(), Err("refused".to_owned()))].into();
        let none = Patience {
            refused: Duration::ZERO,
            admitted: Duration::ZERO,
        };
        let http = http_client(&server.uri()).unwrap();
        let probes = verify(&http, &stage, async { tokens }, true, none, &|_| {}).await;
        let lines: Vec<String> = (probes.iter())
            .map(|probe| {
                let who = probe.client.as_deref().unwrap_or("-");
                let route = probe.route.as_deref().unwrap_or("-");
                format!("{:?} {route} {who} {} {}", probe.check, probe.got, probe.ok)
            })
            .collect();
        assert_eq!(
            lines,
            [
                "Token - known no token: refused false",
                "NoToken GET /orders - 401 Unauthorized true",
                "WrongToken GET /orders - 401 Unauthorized true",
                "ForeignToken GET /orders known nothing, because there is no token false",
                "NoToken GET /open - 401 Unauthorized true",
                "WrongToken GET /open - 200 false",
                "ForeignToken GET /open known nothing, because there is no token false",
                "NoRoute GET /provision-verify - 403 Missing Authentication Token true",
            ]
        );
    }
}
