//! The quotas of the account that a stack uses, if one read returns them.
//!
//! Must not change anything.

use anyhow::Context;
use aws_sdk_iam::types::SummaryKeyType;
use aws_sdk_lambda::types::AccountLimit;

use super::clients::Aws;
use super::pages::Pages;
use super::wait::once;
use crate::resource::{Cx, Result};

/// A quota, and how much of it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How much is in use.
    pub used: i64,
    /// The most that is allowed.
    pub limit: i64,
}

impl Quota {
    /// Whether this much more would exceed it.
    pub fn is_exceeded_by(self, more: i64) -> bool {
        self.used.saturating_add(more) > self.limit
    }
}

/// IAM roles of the account.
///
/// # Errors
/// The call failed, or its answer does not have them.
pub async fn roles(cx: &Cx<Aws>) -> Result<Quota> {
    let asked = cx.cloud().iam.get_account_summary().send();
    let answer = once("iam:GetAccountSummary", Box::pin(asked)).await?;
    let figure = |key: SummaryKeyType| answer.summary_map()?.get(&key).map(|&figure| i64::from(figure));
    let quota = || {
        Some(Quota {
            used: figure(SummaryKeyType::Roles)?,
            limit: figure(SummaryKeyType::RolesQuota)?,
        })
    };
    quota().context("iam:GetAccountSummary: it answered no number of roles")
}

/// Bytes of all zips of the account's Lambda functions in the region.
///
/// # Errors
/// The call failed, or its answer does not have them.
pub async fn code_storage(cx: &Cx<Aws>) -> Result<Quota> {
    let asked = cx.cloud().lambda.get_account_settings().send();
    let answer = once("lambda:GetAccountSettings", Box::pin(asked)).await?;
    let quota = || {
        Some(Quota {
            used: answer.account_usage()?.total_code_size(),
            // The SDK turns a missing number into 0.
            limit: Some(answer.account_limit()?.total_code_size()).filter(|limit| *limit > 0)?,
        })
    };
    quota().context("lambda:GetAccountSettings: it answered no code size")
}

/// Invocations at once that no function of the region has reserved; those that are in use are not known.
///
/// # Errors
/// The call failed, or its answer does not have the number.
pub async fn unreserved_concurrency(cx: &Cx<Aws>) -> Result<i64> {
    let asked = cx.cloud().lambda.get_account_settings().send();
    let answer = once("lambda:GetAccountSettings", Box::pin(asked)).await?;
    let unreserved = answer
        .account_limit()
        .and_then(AccountLimit::unreserved_concurrent_executions);
    let unreserved = unreserved.map(i64::from);
    unreserved.context("lambda:GetAccountSettings: it answered no unreserved concurrency")
}

/// Invocations at once that functions have reserved, of all that the region allows.
///
/// # Errors
/// As [`unreserved_concurrency`].
pub async fn concurrency(cx: &Cx<Aws>) -> Result<Quota> {
    let asked = cx.cloud().lambda.get_account_settings().send();
    let answer = once("lambda:GetAccountSettings", Box::pin(asked)).await?;
    let quota = || {
        let limits = answer.account_limit()?;
        let limit = i64::from(Some(limits.concurrent_executions()).filter(|limit| *limit > 0)?);
        let unreserved = limits.unreserved_concurrent_executions().map_or(limit, i64::from);
        Some(Quota {
            used: limit - unreserved,
            limit,
        })
    };
    quota().context("lambda:GetAccountSettings: it answered no concurrency")
}

/// How many REST APIs the region has.
///
/// # Errors
/// A call failed.
pub async fn rest_apis(cx: &Cx<Aws>) -> Result<usize> {
    let mut number = 0;
    let mut pages = Pages::of("apigateway:GetRestApis");
    loop {
        let list = cx.cloud().apigateway.get_rest_apis().limit(500);
        let asked = list.set_position(pages.token()).send();
        let page = once("apigateway:GetRestApis", Box::pin(asked)).await?;
        number += page.items().len();
        if !pages.turn(page.position)? {
            return Ok(number);
        }
    }
}

/// How many user pools the region has.
///
/// # Errors
/// A call failed.
pub async fn user_pools(cx: &Cx<Aws>) -> Result<usize> {
    let mut number = 0;
    let mut pages = Pages::of("cognito-idp:ListUserPools");
    loop {
        let list = cx.cloud().cognito.list_user_pools().max_results(60);
        let asked = list.set_next_token(pages.token()).send();
        let page = once("cognito-idp:ListUserPools", Box::pin(asked)).await?;
        number += page.user_pools().len();
        if !pages.turn(page.next_token)? {
            return Ok(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_apigateway::Client as Apigateway;
    use aws_sdk_cognitoidentityprovider::Client as Cognito;
    use aws_sdk_iam::Client as Iam;
    use aws_sdk_lambda::Client as Lambda;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{
        always, apigateway, cognito, failed, iam, iam_ok, iam_refused, lambda, ok, on, refused,
    };
    use crate::resource::Class;

    fn summary(entries: &[(&str, i32)]) -> HttpResponse {
        let entry =
            |(key, value): &(&str, i32)| format!("<entry><key>{key}</key><value>{value}</value></entry>");
        let entries: String = entries.iter().map(entry).collect();
        iam_ok(
            "GetAccountSummary",
            &format!("<SummaryMap>{entries}</SummaryMap>"),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn what_aws_answers_is_read() {
        let cx = iam([on!(
            Iam::get_account_summary,
            summary(&[("Users", 5), ("Roles", 998), ("RolesQuota", 1000)])
        )]);
        let quota = roles(&cx).await.unwrap();
        assert_eq!(
            quota,
            Quota {
                used: 998,
                limit: 1000
            }
        );
        assert!(!quota.is_exceeded_by(2));
        assert!(quota.is_exceeded_by(3));

        let answer = json!({
            "AccountLimit": {"TotalCodeSize": 80_530_636_800_i64, "CodeSizeZipped": 52_428_800},
            "AccountUsage": {"TotalCodeSize": 80_530_636_000_i64, "FunctionCount": 7},
        });
        let cx = lambda([on!(Lambda::get_account_settings, ok(answer.clone()))]);
        let quota = code_storage(&cx).await.unwrap();
        assert!(
            !quota.is_exceeded_by(800) && quota.is_exceeded_by(801),
            "{quota:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_unreserved_concurrency_is_read_and_its_lack_names_the_action() {
        let answer =
            json!({"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900}});
        let cx = lambda([on!(Lambda::get_account_settings, ok(answer.clone()))]);
        assert_eq!(unreserved_concurrency(&cx).await.unwrap(), 900);
        let answer = json!({"AccountLimit": {"ConcurrentExecutions": 1000}});
        let cx = lambda([on!(Lambda::get_account_settings, ok(answer.clone()))]);
        let (_, text) = failed(unreserved_concurrency(&cx).await);
        assert!(text.contains("lambda:GetAccountSettings"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_concurrency_is_what_is_reserved_of_all() {
        for (limits, expected) in [
            (
                json!({"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900}),
                Some((100, 1000)),
            ),
            (json!({"ConcurrentExecutions": 10}), Some((0, 10))),
            (json!({}), None),
        ] {
            let answer = json!({ "AccountLimit": limits });
            let cx = lambda([on!(Lambda::get_account_settings, ok(answer.clone()))]);
            let found = concurrency(&cx).await.ok().map(|quota| (quota.used, quota.limit));
            assert_eq!(found, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lists_are_counted_to_their_last_page() {
        let api = || json!({"id": "a", "name": "a"});
        let cx = apigateway([
            on!(
                Apigateway::get_rest_apis,
                ok(json!({"item": [api(), api()], "position": "next"}))
            ),
            on!(
                Apigateway::get_rest_apis,
                |i| { assert_eq!(i.position(), Some("next")) },
                ok(json!({"item": [api()]}))
            ),
        ]);
        assert_eq!(rest_apis(&cx).await.unwrap(), 3);
        let pool = || json!({"Id": "eu-west-1_a", "Name": "a"});
        let cx = cognito([
            on!(
                Cognito::list_user_pools,
                ok(json!({"UserPools": [pool()], "NextToken": "next"}))
            ),
            on!(
                Cognito::list_user_pools,
                |i| { assert_eq!(i.next_token(), Some("next")) },
                ok(json!({"UserPools": [pool(), pool()]}))
            ),
        ]);
        assert_eq!(user_pools(&cx).await.unwrap(), 3);
        for (status, code, class) in [
            (403, "AccessDeniedException", Class::Denied),
            (429, "TooManyRequestsException", Class::Throttle),
        ] {
            let cx = apigateway([always!(Apigateway::get_rest_apis, refused(status, code, "no"))]);
            let (found, text) = failed(rest_apis(&cx).await);
            assert_eq!(found, Some(class), "{text}");
            let cx = cognito([always!(Cognito::list_user_pools, refused(400, code, "no"))]);
            let (found, text) = failed(user_pools(&cx).await);
            assert_eq!(found, Some(class), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_them_names_the_action() {
        for entries in [&[][..], &[("Roles", 1)], &[("RolesQuota", 1)]] {
            let cx = iam([on!(Iam::get_account_summary, summary(entries))]);
            let (_, text) = failed(roles(&cx).await);
            assert!(text.contains("iam:GetAccountSummary"), "{text}");
        }
        for answer in [
            json!({}),
            json!({"AccountLimit": {"TotalCodeSize": 1}}),
            json!({"AccountLimit": {}, "AccountUsage": {"TotalCodeSize": 1}}),
        ] {
            let cx = lambda([on!(Lambda::get_account_settings, ok(answer.clone()))]);
            let (_, text) = failed(code_storage(&cx).await);
            assert!(text.contains("lambda:GetAccountSettings"), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_names_the_action_and_is_not_waited_out() {
        for (status, code, class) in [
            (403, "AccessDeniedException", Class::Denied),
            (404, "UnknownOperationException", Class::Refused),
            (429, "TooManyRequestsException", Class::Throttle),
            (500, "ServiceException", Class::Ambiguous),
        ] {
            let cx = lambda([always!(Lambda::get_account_settings, refused(status, code, "no"))]);
            let (found, text) = failed(code_storage(&cx).await);
            assert_eq!(found, Some(class), "{text}");
            assert!(
                text.contains("lambda:GetAccountSettings") && text.contains(code),
                "{text}"
            );
            assert_eq!(cx.waits(), [""; 0]);
        }
        let cx = iam([on!(
            Iam::get_account_summary,
            iam_refused(403, "AccessDenied", "no")
        )]);
        let (found, text) = failed(roles(&cx).await);
        assert_eq!(found, Some(Class::Denied), "{text}");
        assert!(text.contains("iam:GetAccountSummary: AccessDenied"), "{text}");
    }
}
