//! The line that API Gateway writes for every request: its form, what it says, and sums of many.
//!
//! Must not know where lines are kept, nor do I/O. A line has what callers chose: what is shown of it must be made safe.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// The form of a line. What a caller chooses freely is not in it: a path, a user agent, a token, or the `requestId`, which a caller
/// may set. API Gateway does not escape in every case, so such a text could end a string and forge the fields after it.
/// Numbers are in quotes, because a value that is absent is a `-`.
pub(crate) const FORMAT: &str = concat!(
    r#"{"id":"$context.extendedRequestId","time":"$context.requestTimeEpoch","ip":"$context.identity.sourceIp","#,
    r#""client":"$context.authorizer.claims.client_id","method":"$context.httpMethod","route":"$context.resourcePath","#,
    r#""status":"$context.status","latency":"$context.responseLatency","backend_status":"$context.integration.status","#,
    r#""backend_latency":"$context.integrationLatency","auth_error":"$context.authorizer.error","#,
    r#""error":"$context.error.responseType","waf":"$context.wafResponseCode"}"#,
);

/// What is absent in a line.
const ABSENT: &str = "-";

/// A line as it is written.
#[derive(Deserialize)]
struct Written {
    id: String,
    time: String,
    ip: String,
    client: String,
    method: String,
    route: String,
    status: String,
    latency: String,
    backend_status: String,
    backend_latency: String,
    auth_error: String,
    error: String,
    waf: String,
}

/// A request, as its line says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Request {
    /// API Gateway's own id of the request, which no caller chooses.
    pub id: String,
    /// In milliseconds since 1970; `None` if the line does not say it.
    #[serde(skip)]
    pub time: Option<i64>,
    /// Where it came from.
    pub ip: String,
    /// The id of the client whose token was accepted; `None` if none was.
    pub client_id: Option<String>,
    pub method: String,
    /// As it is declared, with its variables; `None` if no route has the path.
    pub route: Option<String>,
    /// Of the answer that the caller got.
    pub status: Option<u16>,
    /// From the request to the answer.
    pub latency_ms: Option<u32>,
    /// Of the function or the back end; `None` if the request did not reach it.
    pub backend_status: Option<u16>,
    pub backend_latency_ms: Option<u32>,
    /// Why API Gateway itself refused the request or failed; `None` if it did not.
    pub reason: Option<String>,
    /// What the firewall decided, if there is one.
    pub firewall: Option<String>,
}

impl Request {
    /// `None` if this is not a line of [`FORMAT`].
    pub(crate) fn read(line: &str) -> Option<Self> {
        let line: Written = serde_json::from_str(line).ok()?;
        let text = |text: String| Some(text).filter(|text| !text.is_empty() && text != ABSENT);
        let reason = match (text(line.error), text(line.auth_error)) {
            (Some(error), Some(why)) => Some(format!("{error}: {why}")),
            (error, why) => error.or(why),
        };
        Some(Self {
            id: line.id,
            time: line.time.parse().ok(),
            ip: line.ip,
            client_id: text(line.client),
            method: line.method,
            route: text(line.route),
            status: line.status.parse().ok(),
            latency_ms: line.latency.parse().ok(),
            backend_status: line.backend_status.parse().ok(),
            backend_latency_ms: line.backend_latency.parse().ok(),
            reason,
            firewall: text(line.waf),
        })
    }
}

/// Which requests are meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Those of the client with this id.
    pub client_id: Option<String>,
    /// Those with an answer from the first to the second status.
    pub status: Option<(u16, u16)>,
}

impl Filter {
    pub(crate) fn takes(&self, request: &Request) -> bool {
        let is_of_client = self
            .client_id
            .as_ref()
            .is_none_or(|id| request.client_id.as_ref() == Some(id));
        is_of_client
            && self.status.is_none_or(|(first, last)| {
                request
                    .status
                    .is_some_and(|status| (first..=last).contains(&status))
            })
    }
}

/// The names of clients, by their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients(pub HashMap<String, String>);

impl Clients {
    /// The client's name; the id of one that is not on record, and `-` where no token was accepted.
    pub(crate) fn name<'a>(&'a self, request: &'a Request) -> &'a str {
        let Some(id) = &request.client_id else {
            return ABSENT;
        };
        self.0.get(id).unwrap_or(id)
    }
}

/// The sum of the requests of one client to one route.
#[derive(Debug, Default)]
struct Sum {
    requests: u64,
    refused: u64,
    failed: u64,
    /// In milliseconds.
    latencies: Vec<u32>,
}

/// A row of the sums.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// Its name; `-` if no token was accepted.
    pub client: String,
    /// `GET /user`.
    pub route: String,
    pub requests: u64,
    /// Those with a status of 400 to 499.
    pub refused: u64,
    /// Those with a status of 500 or more.
    pub failed: u64,
    /// The latency that half of the requests did not exceed, in milliseconds.
    pub p50_ms: Option<u32>,
    /// The latency that 95 of 100 requests did not exceed, in milliseconds.
    pub p95_ms: Option<u32>,
}

/// Sums of requests by client and route.
#[derive(Debug, Default)]
pub(crate) struct Stats(BTreeMap<(String, String), Sum>);

impl Stats {
    pub(crate) fn add(&mut self, request: &Request, clients: &Clients) {
        let sum = self
            .0
            .entry((clients.name(request).to_owned(), route(request)))
            .or_default();
        sum.requests += 1;
        match request.status {
            Some(400..=499) => sum.refused += 1,
            Some(500..) => sum.failed += 1,
            _ => {}
        }
        sum.latencies.extend(request.latency_ms);
    }

    /// By client, then by route.
    pub(crate) fn rows(self) -> Vec<Row> {
        let rows = self.0.into_iter().map(|((client, route), mut sum)| {
            sum.latencies.sort_unstable();
            Row {
                client,
                route,
                requests: sum.requests,
                refused: sum.refused,
                failed: sum.failed,
                p50_ms: percentile(&sum.latencies, 50),
                p95_ms: percentile(&sum.latencies, 95),
            }
        });
        rows.collect()
    }
}

/// `GET /user`, or `GET -` if no route has the path.
pub(crate) fn route(request: &Request) -> String {
    let route = request.route.as_deref().unwrap_or(ABSENT);
    format!("{} {route}", request.method)
}

/// The smallest of these that `percent` of 100 do not exceed; they are sorted.
fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    let place = (sorted.len() * percent).div_ceil(100).checked_sub(1)?;
    sorted.get(place).copied()
}

#[cfg(test)]
mod tests;
