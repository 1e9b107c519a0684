//! Proves that the API's own domain is closed as it should be: its certificate, old versions of TLS, clients without a
//! certificate, and the host name of AWS.
//!
//! Must not send a token: what is asked here is refused before one counts.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client as Http, Method};
use tokio::time::Instant;

use super::dns::{self, Addresses};
use super::hello::{OFFERED, Said, Version, offer};
use super::{Check, Probe, Route, paths};
use crate::api;
use crate::error::on_one_line;
use crate::pause::Pauses;

/// The domain, as it should be.
pub struct Front {
    /// The domain name.
    pub name: String,
    /// Such as `https://api.example.com/orders`.
    pub url: String,
    /// AWS's host name that the record in DNS has to lead to; `None` if somebody else made the domain.
    pub target: Option<String>,
    /// The oldest version that is taken; `None`: it is not this stack's to say.
    pub oldest: Option<Version>,
    /// Whether clients need a certificate.
    pub is_mutual: bool,
    /// The URL at AWS's own host name, if the API must not answer there.
    pub closed_url: Option<String>,
}

/// A verb and a path that are not a route.
pub struct Nowhere {
    pub verb: Method,
    pub path: String,
}

impl Nowhere {
    /// Of these routes. If they answer everything, a path that one of them refuses without a token.
    pub fn of(routes: &[Route]) -> Self {
        let (verb, path) = paths::nowhere(routes).unwrap_or(("GET", "/".to_owned()));
        let verb = verb.parse().expect("it is a verb of HTTP");
        Self { verb, path }
    }
}

/// All probes of the domain. `http` resolves its name to `found`. What may take effect only with the deployment is asked for
/// again until `patience` has passed.
pub async fn prove(
    http: &Http,
    front: &Front,
    found: &Addresses,
    nowhere: &Nowhere,
    patience: Duration,
) -> Vec<Probe> {
    let mut probes = vec![dns::probe(&front.name, front.target.as_deref(), found)];
    let began = Instant::now();
    let again = |since: Instant| patience.saturating_sub(since.elapsed());
    if let [address, ..] = found.reachable() {
        probes.push(until_ok(again, began, async || domain(http, front, nowhere).await).await);
        let is_older = |version: &Version| front.oldest.is_some_and(|oldest| *version < oldest);
        for version in OFFERED.into_iter().filter(is_older) {
            let ask = async || old(*address, front, version).await;
            probes.push(until_ok(again, began, ask).await);
        }
    }
    if let Some(url) = &front.closed_url {
        probes.push(until_ok(again, began, async || closed(http, url, nowhere).await).await);
    }
    probes
}

async fn until_ok(left: impl Fn(Instant) -> Duration, began: Instant, ask: impl AsyncFn() -> Probe) -> Probe {
    let mut pauses = Pauses::growing();
    loop {
        let probe = ask().await;
        let left = left(began);
        if probe.ok || left.is_zero() {
            return probe;
        }
        pauses.wait(left).await;
    }
}

fn probe(check: Check, route: &str, expected: String, got: String, ok: bool) -> Probe {
    Probe {
        check,
        route: Some(route.to_owned()),
        client: None,
        expected,
        got,
        ok,
        likely: None,
    }
}

/// What a request without a token came to: a status with the gateway's message, or why there was no answer.
async fn ask(http: &Http, url: &str, nowhere: &Nowhere) -> Result<String, String> {
    let request = api::Request {
        method: nowhere.verb.clone(),
        url: &format!("{url}{}", nowhere.path),
        token: None,
        headers: &[],
        body: None,
    };
    let mut answer = match api::call(http, request).await {
        Ok(answer) => answer,
        Err(failure) => return Err(failure.error.as_ref().map(on_one_line).unwrap_or_default()),
    };
    let body = answer.beginning().await.unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = body["message"].as_str().unwrap_or(answer.reason);
    Ok(crate::untrusted::printable(&format!(
        "{} {message}",
        answer.status
    )))
}

/// What the API says of a path that is not a route, and of a route.
const OF_THE_API: [&str; 2] = ["403 Missing Authentication Token", "401 Unauthorized"];

/// The certificate of the domain and its mapping; or that nobody without a certificate gets that far.
async fn domain(http: &Http, front: &Front, nowhere: &Nowhere) -> Probe {
    let answer = ask(http, &front.url, nowhere).await;
    if front.is_mutual {
        let expected = "no answer without a client certificate".to_owned();
        let (got, ok) = match answer {
            // What API Gateway says where the handshake itself was let through.
            Ok(answer) if answer == "403 Forbidden" => (answer, true),
            Ok(answer) => (answer, false),
            Err(why) => {
                let is_ours = is_about_their_certificate(&why);
                (why, !is_ours)
            }
        };
        return Probe {
            likely: (!ok).then_some("mutual TLS is off, or somebody else serves the name"),
            ..probe(Check::NoCertificate, &front.name, expected, got, ok)
        };
    }
    let expected = "an answer of the API, with a certificate for the name".to_owned();
    let (got, ok) = match answer {
        Ok(answer) => {
            let ok = OF_THE_API.contains(&answer.as_str());
            (answer, ok)
        }
        Err(why) => (why, false),
    };
    Probe {
        likely: (!ok && got.starts_with("403 Forbidden"))
            .then_some("no mapping of the domain leads to the stage: run `provision status`"),
        ..probe(Check::Domain, &front.name, expected, got, ok)
    }
}

/// Whether the answer was refused on this side, for the certificate of the server.
fn is_about_their_certificate(why: &str) -> bool {
    ["invalid peer certificate", "UnknownIssuer", "NotValidForName"]
        .iter()
        .any(|text| why.contains(text))
}

async fn old(address: SocketAddr, front: &Front, version: Version) -> Probe {
    let expected = format!("{} is refused", version.name());
    let (got, ok) = match offer(address, &front.name, version).await {
        Ok(Said::Refuses) => (expected.clone(), true),
        Ok(Said::Takes) => (format!("{} is taken", version.name()), false),
        Err(why) => (why, false),
    };
    Probe {
        likely: (!ok && got.ends_with("is taken")).then_some(
            "API Gateway makes the handshake with the policy of the API: name one of the newer policies in minimum_tls",
        ),
        ..probe(Check::OldTls, &front.name, expected, got, ok)
    }
}

async fn closed(http: &Http, url: &str, nowhere: &Nowhere) -> Probe {
    let expected = "403 Forbidden";
    let (got, ok) = match ask(http, url, nowhere).await {
        Ok(answer) => {
            let ok = answer == expected;
            (answer, ok)
        }
        Err(why) => (why, false),
    };
    Probe {
        likely: (!ok).then_some("the default endpoint closes with the next deployment: run `provision up`"),
        ..probe(Check::DefaultEndpoint, url, expected.to_owned(), got, ok)
    }
}

#[cfg(test)]
mod tests;
