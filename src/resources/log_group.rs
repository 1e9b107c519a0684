//! The CloudWatch log group of a function, made by us so that `down` owns it.
//!
//! Must not read or write log events.

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::tags::{self, Tags};
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Resource, Result, Stranger};

/// A log group. Names are unique in the account and region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogGroup {
    /// `/aws/lambda/<function>`.
    pub name: String,
    /// One of the numbers of days that AWS allows. What is live is `None` where a policy of the whole account overrides it.
    pub retention_days: Option<i32>,
    /// Including the owner. What is live is `None`: reading them takes a call of its own.
    pub tags: Option<Tags>,
}

/// Nothing that the name does not say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {}

impl LogGroup {
    /// The prefix also fits other groups (`/aws/lambda/a` and `/aws/lambda/ab`), hence the exact comparison.
    async fn describe(&self, cx: &Cx<Aws>) -> Result<Option<aws_sdk_cloudwatchlogs::types::LogGroup>> {
        let mut position = None;
        loop {
            let describe = || {
                cx.cloud()
                    .logs
                    .describe_log_groups()
                    .log_group_name_prefix(&self.name)
                    .set_next_token(position.clone())
                    .send()
            };
            let page = cx.call("logs:DescribeLogGroups", describe).await?;
            if let Some(group) =
                page.log_groups().iter().find(|group| group.log_group_name() == Some(&self.name))
            {
                return Ok(Some(group.clone()));
            }
            position = page.next_token;
            if position.is_none() {
                return Ok(None);
            }
        }
    }

    fn tags(&self) -> Result<&Tags> {
        self.tags.as_ref().context("a log group that is to be made has tags")
    }

    async fn put_retention(&self, cx: &Cx<Aws>) -> Result<()> {
        let put = || {
            cx.cloud()
                .logs
                .put_retention_policy()
                .log_group_name(&self.name)
                .set_retention_in_days(self.retention_days)
                .send()
        };
        cx.call("logs:PutRetentionPolicy", put).await?;
        Ok(())
    }
}

impl Resource for LogGroup {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "log-group";
    const FIXED: &'static [&'static str] = &["name", "retention_days", "tags"];

    fn id(&self, _: &Output) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let Some(group) = self.describe(cx).await? else {
            return Ok(None);
        };
        // ListTagsForResource takes the ARN without the `:*` that `arn` ends with.
        let arn = group.arn().unwrap_or_default().trim_end_matches(":*");
        let list = || cx.cloud().logs.list_tags_for_resource().resource_arn(arn).send();
        let Some(answer) = unless_gone(cx.call("logs:ListTagsForResource", list).await)? else {
            return Ok(None);
        };
        if !tags::are_ours(self.tags()?, tags::pairs(answer.tags())) {
            return Err(Stranger { what: format!("log group {}", self.name) }.into());
        }
        // The interrupted run may not have come to the second call.
        self.put_retention(cx).await?;
        Ok(Some(Output {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let tags = tags::map(self.tags()?);
        let create = || {
            cx.cloud()
                .logs
                .create_log_group()
                .log_group_name(&self.name)
                .set_tags(Some(tags.clone()))
                .send()
        };
        cx.call("logs:CreateLogGroup", create).await?;
        self.put_retention(cx).await?;
        Ok(Output {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &Output) -> Result<Option<Self>> {
        let Some(group) = self.describe(cx).await? else {
            return Ok(None);
        };
        // A retention policy of the whole account overrides ours, and putting ours again changes nothing.
        let overridden = group.retention_policy_name().is_some();
        let live = group.retention_in_days().unwrap_or_default();
        Ok(Some(Self {
            name: self.name.clone(),
            retention_days: (!overridden).then_some(live),
            tags: None,
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        let delete = || cx.cloud().logs.delete_log_group().log_group_name(&self.name).send();
        unless_gone(cx.call("logs:DeleteLogGroup", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudwatchlogs::Client as Sdk;
    use aws_smithy_mocks::Rule;
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{
        failed, logs, ok, on, our_tags, our_tags_and_more, refused, strangers_tags,
    };
    use crate::resource::{Class, is_stranger};

    const NAME: &str = "/aws/lambda/user-api";
    const ARN: &str = "arn:aws:logs:eu-central-1:111122223333:log-group:/aws/lambda/user-api";

    fn desired() -> LogGroup {
        LogGroup {
            name: NAME.to_owned(),
            retention_days: 14,
            tags: our_tags(),
        }
    }

    /// Two pages, whose first holds a group that begins with our name.
    fn described() -> [Rule; 2] {
        let first = json!({"logGroups": [{"logGroupName": "/aws/lambda/user-api-2", "retentionInDays": 1}], "nextToken": "2"});
        let second = json!({"logGroups": [{"logGroupName": NAME, "arn": format!("{ARN}:*"), "retentionInDays": 14}]});
        [
            on!(Sdk::describe_log_groups, |i| { assert_eq!(i.next_token(), None) }, ok(first.clone())),
            on!(Sdk::describe_log_groups, |i| { assert_eq!(i.next_token(), Some("2")) }, ok(second.clone())),
        ]
    }

    fn tagged(tags: &Tags) -> Rule {
        let answer = json!({"tags": tags});
        on!(
            Sdk::list_tags_for_resource,
            |i| { assert_eq!(i.resource_arn(), Some(ARN)) },
            ok(answer.clone())
        )
    }

    fn put_retention() -> Rule {
        on!(
            Sdk::put_retention_policy,
            |i| { assert_eq!((i.log_group_name(), i.retention_in_days()), (Some(NAME), Some(14))) },
            ok(json!({}))
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_begins_with_our_name_is_not_ours() {
        let other = || ok(json!({"logGroups": [{"logGroupName": "/aws/lambda/user-api-2"}]}));
        let cx = logs([
            on!(Sdk::describe_log_groups, other()),
            on!(Sdk::describe_log_groups, other()),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert_eq!(desired().read(&cx, &Output {}).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn ours_is_found_and_gets_the_retention_that_an_interrupted_run_owes_it() {
        let cx = logs(described().into_iter().chain([tagged(&our_tags_and_more()), put_retention()]));
        assert!(desired().find(&cx).await.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_of_another_owner_is_a_strangers_and_is_left_alone() {
        let cx = logs(described().into_iter().chain([tagged(&strangers_tags())]));
        let error = desired().find(&cx).await.unwrap_err();
        assert!(is_stranger(&error) && error.to_string().contains(NAME), "{error:#}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_created_with_its_owner_and_never_keeps_events_for_ever() {
        let cx = logs([
            on!(
                Sdk::create_log_group,
                |i| {
                    assert_eq!(i.log_group_name(), Some(NAME));
                    assert_eq!(i.tags(), Some(&tags::map(&our_tags())));
                },
                ok(json!({}))
            ),
            // Its own creation may not be visible everywhere yet.
            on!(Sdk::put_retention_policy, refused(400, "ResourceNotFoundException", "no such group")),
            put_retention(),
        ]);
        desired().create(&cx).await.unwrap();
        assert_eq!(cx.waits().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_taken_name_is_told_as_taken() {
        let cx = logs([on!(
            Sdk::create_log_group,
            refused(400, "ResourceAlreadyExistsException", "The specified log group already exists")
        )]);
        assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Taken));
    }

    #[tokio::test(start_paused = true)]
    async fn what_aws_answers_is_no_drift() {
        let cx = logs(described());
        assert_eq!(desired().read(&cx, &Output {}).await.unwrap(), Some(desired()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_keeps_events_for_ever_is_drift() {
        let cx = logs([on!(
            Sdk::describe_log_groups,
            ok(json!({"logGroups": [{"logGroupName": NAME}]}))
        )]);
        assert_ne!(desired().read(&cx, &Output {}).await.unwrap(), Some(desired()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_deleted_and_a_busy_one_is_waited_for() {
        let cx = logs([
            on!(Sdk::delete_log_group, refused(400, "OperationAbortedException", "please try again")),
            on!(Sdk::delete_log_group, |i| { assert_eq!(i.log_group_name(), Some(NAME)) }, refused(400, "ResourceNotFoundException", "no such group")),
        ]);
        desired().delete(&cx, &Output {}).await.unwrap();
        assert_eq!(cx.waits().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retention_that_the_account_imposes_is_no_drift() {
        let group = json!({"logGroupName": NAME, "retentionInDays": 365, "retentionPolicyName": "account-wide"});
        let cx = logs([on!(
            Sdk::describe_log_groups,
            ok(json!({"logGroups": [group.clone()]}))
        )]);
        assert_eq!(desired().read(&cx, &Output {}).await.unwrap(), Some(desired()));
    }
}
