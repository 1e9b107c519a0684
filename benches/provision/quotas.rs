//! AWS's published rates, as token buckets: what it would refuse, and how long it makes a number of calls take.

use std::collections::HashMap;
use std::time::Instant;

/// Calls a second, and calls at once after a rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) a_second: f64,
    pub(crate) burst: f64,
}

impl Rate {
    const fn new(a_second: f64, burst: f64) -> Self {
        Self { a_second, burst }
    }

    /// How long so many calls take at least.
    pub(crate) fn seconds(self, calls: f64) -> f64 {
        ((calls - self.burst) / self.a_second).max(0.0)
    }
}

/// All of API Gateway together.
pub(crate) const API_GATEWAY: Rate = Rate::new(10.0, 40.0);
pub(crate) const CREATE_RESOURCE: Rate = Rate::new(5.0, 5.0);
/// One operation on one user pool.
pub(crate) const POOL_OPERATION: Rate = Rate::new(5.0, 5.0);
const COGNITO_CATEGORY: Rate = Rate::new(15.0, 15.0);
const LAMBDA: Rate = Rate::new(15.0, 15.0);

/// The buckets that have been drawn from.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    /// Tokens left, and when that was so.
    buckets: HashMap<String, (f64, Instant)>,
}

impl Quotas {
    /// Whether AWS would execute this call now. A refused call takes nothing from any bucket.
    pub(crate) fn admit(&mut self, service: &str, operation: &str, pool: &str) -> bool {
        let now = Instant::now();
        let needed: Vec<(String, Rate)> = limits(service, operation, pool);
        let mut left = Vec::new();
        for (key, rate) in &needed {
            let (tokens, at) = *self.buckets.get(key).unwrap_or(&(rate.burst, now));
            let tokens = (now - at)
                .as_secs_f64()
                .mul_add(rate.a_second, tokens)
                .min(rate.burst);
            if tokens < 1.0 {
                return false;
            }
            left.push(tokens - 1.0);
        }
        for ((key, _), tokens) in needed.into_iter().zip(left) {
            self.buckets.insert(key, (tokens, now));
        }
        true
    }
}

fn limits(service: &str, operation: &str, pool: &str) -> Vec<(String, Rate)> {
    let mut limits = Vec::new();
    let mut limit = |key: String, rate| limits.push((key, rate));
    match service {
        "apigateway" => {
            limit("apigateway".to_owned(), API_GATEWAY);
            let own = match operation {
                "CreateRestApi" => Rate::new(1.0 / 3.0, 1.0),
                "DeleteRestApi" => Rate::new(1.0 / 30.0, 1.0),
                "CreateResource" | "DeleteResource" => CREATE_RESOURCE,
                "GetResources" => Rate::new(2.5, 5.0),
                "CreateDeployment" => Rate::new(0.2, 1.0),
                "PutRestApi" => Rate::new(1.0, 1.0),
                _ => return limits,
            };
            limit(operation.to_owned(), own);
        }
        "cognito-idp" => {
            limit(category(operation).to_owned(), COGNITO_CATEGORY);
            if !pool.is_empty() {
                limit(format!("{operation} {pool}"), POOL_OPERATION);
            }
        }
        "lambda" if operation != "GetFunction" => limit("lambda".to_owned(), LAMBDA),
        // The others publish no rate.
        _ => {}
    }
    limits
}

/// Cognito's categories of operations on user pools.
fn category(operation: &str) -> &'static str {
    let read = ["Describe", "List", "Get"]
        .iter()
        .any(|verb| operation.starts_with(verb));
    let of = |reads, updates| if read { reads } else { updates };
    if operation.contains("Client") {
        of("UserPoolClientRead", "UserPoolClientUpdate")
    } else if operation.contains("ResourceServer") || operation.contains("Domain") {
        of("UserPoolResourceRead", "UserPoolResourceUpdate")
    } else {
        of("UserPoolRead", "UserPoolUpdate")
    }
}
