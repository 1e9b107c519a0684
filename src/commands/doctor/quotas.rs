//! How much room the account has, where a read tells; what only the Service Quotas console tells is named by its default.
//!
//! Must not say that a quota is full which may have been raised.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::super::open::Session;
use super::super::ui::Ui;
use super::report::Finding;
use super::{Known, limited};
use crate::aws::quotas::{self, Quota};
use crate::config::Config;
use crate::resource::Result;

/// What AWS allows unless it was raised: <https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html> and
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/limits.html>.
const REST_APIS: usize = 600;
const RESOURCES: usize = 300;
const USER_POOLS: usize = 1_000;
const CLIENTS: usize = 1_000;

const RAISE: &str = "raise the quota (AWS Service Quotas), or delete what you no longer need";
const RIGHTS: &str = "`provision policy doctor` prints the rights that doctor needs";

pub(super) async fn check(session: &Session, known: &Known, ui: &Rc<Ui>) -> Vec<Finding> {
    let cx = session.cx(ui);
    let (roles, code, concurrency, apis, pools) = tokio::join!(
        limited("IAM roles", async {
            read("IAM roles", "", quotas::roles(&cx).await)
        }),
        limited("Lambda code", async {
            read("Lambda code", " bytes", quotas::code_storage(&cx).await)
        }),
        limited("concurrency", async {
            read("concurrency", " reserved", quotas::concurrency(&cx).await)
        }),
        limited("REST APIs", async {
            counted("REST APIs", quotas::rest_apis(&cx).await, REST_APIS)
        }),
        limited("user pools", async {
            counted("user pools", quotas::user_pools(&cx).await, USER_POOLS)
        }),
    );
    let mut findings = vec![roles, code, concurrency, apis, pools];
    if let Some(config) = &known.config {
        findings.push(counted("clients", Ok(config.clients.len()), CLIENTS));
        findings.push(counted("resources", Ok(resources(config)), RESOURCES));
    }
    findings
}

fn read(check: &'static str, unit: &str, quota: Result<Quota>) -> Finding {
    match quota {
        Ok(quota) => {
            let Quota { used, limit } = quota;
            let what = format!("{used} of {limit}{unit}");
            if used >= limit {
                Finding::mend(check, format!("{what}: full"), RAISE)
            } else if is_nearly(used, limit) {
                Finding::note(check, format!("{what}: nearly full"), RAISE)
            } else {
                Finding::ok(check, what)
            }
        }
        Err(error) => Finding::unknown(check, error, RIGHTS),
    }
}

/// Of a number whose limit no read tells.
fn counted(check: &'static str, number: Result<usize>, default: usize) -> Finding {
    let number = match number {
        Ok(number) => number,
        Err(error) => return Finding::unknown(check, error, RIGHTS),
    };
    let what = format!("{number}; AWS allows {default} unless that was raised");
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    if is_nearly(count(number), count(default)) {
        Finding::note(check, what, "look in AWS Service Quotas whether there is room")
    } else {
        Finding::ok(check, what)
    }
}

/// From nine tenths on.
fn is_nearly(used: i64, limit: i64) -> bool {
    used.saturating_mul(10) >= limit.saturating_mul(9)
}

/// The resources of the REST API: each path and all above it, with the root.
fn resources(config: &Config) -> usize {
    let mut paths = BTreeSet::from([String::new()]);
    for route in &config.routes {
        let mut path = String::new();
        for part in route.path.split('/').filter(|part| !part.is_empty()) {
            path = format!("{path}/{part}");
            paths.insert(path.clone());
        }
    }
    paths.len()
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn a_quota_is_told_when_it_is_nearly_full() {
        let quota = |used, limit| read("x", "", Ok(Quota { used, limit })).status;
        assert_eq!(quota(0, 1000), Status::Ok);
        assert_eq!(quota(899, 1000), Status::Ok);
        assert_eq!(quota(900, 1000), Status::Note);
        assert_eq!(quota(1000, 1000), Status::Mend);
        assert_eq!(read("x", "", Err(anyhow::anyhow!("no"))).status, Status::Note);
        // A default that may have been raised is never full.
        assert_eq!(counted("x", Ok(700), REST_APIS).status, Status::Note);
        assert_eq!(counted("x", Ok(1), REST_APIS).status, Status::Ok);
        assert_eq!(counted("x", Err(anyhow::anyhow!("no")), 1).status, Status::Note);
    }

    #[test]
    fn the_resources_of_an_api_are_its_paths_and_those_above_them() {
        assert_eq!(resources(&Config::sample()), 2);
    }
}
