//! The one role that API Gateway writes access logs with, for all APIs of an account in a region.
//!
//! Must not change a role that is set already, nor take one away: others use it too, and AWS cannot unset it.

use anyhow::Context;
use aws_sdk_iam::types::{Role, Tag};
use serde_json::json;

use super::clients::Aws;
use super::patches::replace;
use super::wait::unless_gone;
use crate::resource::{Class, Cx, Result};

/// The role that is made where there is none; one for all regions of the account.
pub const ROLE: &str = "provision-api-gateway-logs";

/// The tag of a role that this program made, and its value.
const TAG: (&str, &str) = ("provision:purpose", "api-gateway-logs");

/// The ARN of AWS's policy for such a role.
pub fn policy(partition: &str) -> String {
    format!("arn:{partition}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs")
}

/// The ARN of the role that is set; `None` if there is none, so that no API can write access logs.
///
/// # Errors
/// The call failed; so for all that follow.
pub async fn current(cx: &Cx<Aws>) -> Result<Option<String>> {
    let get = || cx.cloud().apigateway.get_account().send();
    let account = cx.call("apigateway:GetAccount", get).await?;
    Ok(account.cloudwatch_role_arn.filter(|arn| !arn.is_empty()))
}

/// The ARN of [`ROLE`], which is made unless a run before has made it.
///
/// # Errors
/// Someone else has made a role of this name.
pub async fn role(cx: &Cx<Aws>) -> Result<String> {
    let role = match find(cx).await? {
        Some(role) => role,
        None => create(cx).await?,
    };
    let policy = policy(&cx.cloud().partition);
    let attach = || {
        cx.cloud()
            .iam
            .attach_role_policy()
            .role_name(ROLE)
            .policy_arn(&policy)
            .send()
    };
    cx.call("iam:AttachRolePolicy", attach).await?;
    Ok(role.arn)
}

/// Sets the role. Returns the one that is set then: the last of several who do this at once wins.
pub async fn set(cx: &Cx<Aws>, role: &str) -> Result<Option<String>> {
    let patch = replace("/cloudwatchRoleArn", role);
    let update = || {
        cx.cloud()
            .apigateway
            .update_account()
            .patch_operations(patch.clone())
            .send()
    };
    let account = cx.call("apigateway:UpdateAccount", update).await?;
    Ok(account.cloudwatch_role_arn)
}

async fn find(cx: &Cx<Aws>) -> Result<Option<Role>> {
    let get = || cx.cloud().iam.get_role().role_name(ROLE).send();
    let Some(answer) = unless_gone(cx.call("iam:GetRole", get).await)? else {
        return Ok(None);
    };
    let role = answer.role.context("iam:GetRole answered no role")?;
    let is_ours = role.tags().iter().any(|tag| (tag.key(), tag.value()) == TAG);
    anyhow::ensure!(
        is_ours,
        "IAM role {ROLE} exists and does not have the tag {} = {}: it is left as it is",
        TAG.0,
        TAG.1
    );
    Ok(Some(role))
}

async fn create(cx: &Cx<Aws>) -> Result<Role> {
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "apigateway.amazonaws.com"},
    }]});
    let tag = Tag::builder().key(TAG.0).value(TAG.1).build()?;
    let create = || {
        cx.cloud()
            .iam
            .create_role()
            .role_name(ROLE)
            .description("Lets API Gateway write access logs, for all APIs of the account")
            .assume_role_policy_document(trust.to_string())
            .tags(tag.clone())
            .send()
    };
    match cx.call("iam:CreateRole", create).await {
        Ok(answer) => answer.role.context("iam:CreateRole answered no role"),
        // The answer to a first attempt was lost, or another run does the same.
        Err(error) if error.class == Class::Taken => {
            let found = find(cx).await?;
            found.with_context(|| format!("IAM says that role {ROLE} exists, and does not show it"))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_apigateway::Client as Apigateway;
    use aws_sdk_iam::Client as Iam;
    use aws_smithy_mocks::Rule;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

    use super::*;
    use crate::aws::test_support::{World, apigateway, failed, iam, iam_ok, iam_refused, ok, on, refused};

    const ARN: &str = "arn:aws:iam::111122223333:role/provision-api-gateway-logs";

    fn described(tags: &str) -> String {
        format!(
            "<Role><Path>/</Path><RoleName>{ROLE}</RoleName><RoleId>AROAX</RoleId><Arn>{ARN}</Arn>\
             <CreateDate>2026-01-01T00:00:00Z</CreateDate><Tags>{tags}</Tags></Role>"
        )
    }

    const OURS: &str = "<member><Key>provision:purpose</Key><Value>api-gateway-logs</Value></member>";
    const THEIRS: &str = "<member><Key>team</Key><Value>a</Value></member>";

    fn got(tags: &'static str) -> Rule {
        on!(Iam::get_role, iam_ok("GetRole", &described(tags)))
    }

    fn none() -> Rule {
        on!(Iam::get_role, iam_refused(404, "NoSuchEntity", "no such role"))
    }

    fn created(answer: fn() -> HttpResponse) -> Rule {
        on!(
            Iam::create_role,
            |i| {
                assert_eq!(i.role_name(), Some(ROLE));
                let trust: serde_json::Value =
                    serde_json::from_str(i.assume_role_policy_document().unwrap()).unwrap();
                assert_eq!(
                    trust["Statement"][0]["Principal"],
                    json!({"Service": "apigateway.amazonaws.com"})
                );
                let tags: Vec<_> = i.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
                assert_eq!(tags, [TAG]);
            },
            answer()
        )
    }

    fn attached() -> Rule {
        on!(
            Iam::attach_role_policy,
            |i| {
                let policy = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs";
                assert_eq!((i.role_name(), i.policy_arn()), (Some(ROLE), Some(policy)));
            },
            iam_ok("AttachRolePolicy", "")
        )
    }

    fn is_taken() -> HttpResponse {
        iam_refused(
            409,
            "EntityAlreadyExists",
            "Role with name provision-api-gateway-logs already exists.",
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_role_is_made_once_and_its_making_is_finished() {
        let made = || created(|| iam_ok("CreateRole", &described(OURS)));
        for rules in [
            vec![none(), made(), attached()],
            // A run before was killed before or after it attached the policy.
            vec![got(OURS), attached()],
            // A lost answer, or another run.
            vec![none(), created(is_taken), got(OURS), attached()],
        ] {
            assert_eq!(role(&iam(rules)).await.unwrap(), ARN);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_of_its_name_that_someone_else_made_is_left_as_it_is() {
        for rules in [
            vec![got(THEIRS)],
            vec![got("")],
            vec![none(), created(is_taken), got(THEIRS)],
        ] {
            let (_, text) = failed(role(&iam(rules)).await);
            assert!(
                text.contains("exists and does not have the tag provision:purpose"),
                "{text}"
            );
        }
    }

    fn account(role: &serde_json::Value) -> HttpResponse {
        ok(json!({
            "cloudwatchRoleArn": role, "throttleSettings": {"burstLimit": 5000, "rateLimit": 10000.0},
            "features": ["UsagePlans"], "apiKeyVersion": "4",
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_set_is_read() {
        for (answer, expected) in [(json!(ARN), Some(ARN)), (json!(null), None), (json!(""), None)] {
            let cx = apigateway([on!(Apigateway::get_account, account(&answer))]);
            assert_eq!(current(&cx).await.unwrap().as_deref(), expected);
        }
    }

    fn update(answer: fn() -> HttpResponse) -> Rule {
        on!(
            Apigateway::update_account,
            |i| { assert_eq!(i.patch_operations(), [replace("/cloudwatchRoleArn", ARN)]) },
            answer()
        )
    }

    fn waits(cx: &World) -> usize {
        cx.waits().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_api_gateway_cannot_use_yet_is_waited_for() {
        let cx = apigateway([
            update(|| {
                refused(
                    400,
                    "BadRequestException",
                    "The role ARN does not have required permissions configured. Please grant trust permission for API \
                     Gateway and add the required role policy.",
                )
            }),
            update(|| {
                refused(
                    400,
                    "BadRequestException",
                    "API Gateway could not successfully write to CloudWatch Logs using the ARN specified",
                )
            }),
            update(|| account(&json!(ARN))),
        ]);
        assert_eq!(set(&cx, ARN).await.unwrap().as_deref(), Some(ARN));
        assert_eq!(waits(&cx), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn another_refusal_is_final() {
        let cx = apigateway([update(|| {
            refused(400, "BadRequestException", "Invalid ARN specified")
        })]);
        let (class, text) = failed(set(&cx, ARN).await);
        assert_eq!(class, Some(Class::Refused), "{text}");
        assert_eq!(waits(&cx), 0);
    }
}
