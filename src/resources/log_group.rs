//! The CloudWatch log group of a function, made by us so that `down` owns it.
//!
//! Must not read or write log events.

use anyhow::Context;
use aws_sdk_cloudwatchlogs::operation::list_tags_for_resource::ListTagsForResourceOutput;
use serde::{Deserialize, Serialize};

use crate::aws::pages::Pages;
use crate::aws::tags::{self, Tags};
use crate::aws::wait::unless_gone;
use crate::aws::{Aws, ids};
use crate::resource::{CallError, Cx, Resource, Result, Shape};

/// A log group. Names are unique in the account and region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
pub struct Output {}

impl LogGroup {
    /// The prefix also fits other groups (`/aws/lambda/a` and `/aws/lambda/ab`), hence the exact comparison.
    async fn describe(&self, cx: &Cx<Aws>) -> Result<Option<aws_sdk_cloudwatchlogs::types::LogGroup>> {
        let mut pages = Pages::of("logs:DescribeLogGroups");
        loop {
            let describe = || {
                cx.cloud()
                    .logs
                    .describe_log_groups()
                    .log_group_name_prefix(&self.name)
                    .set_next_token(pages.token())
                    .send()
            };
            let page = cx.call("logs:DescribeLogGroups", describe).await?;
            if let Some(group) = page
                .log_groups()
                .iter()
                .find(|group| group.log_group_name() == Some(&self.name))
            {
                return Ok(Some(group.clone()));
            }
            if !pages.turn(page.next_token)? {
                return Ok(None);
            }
        }
    }

    /// As the calls about tags take it: without the `:*` that DescribeLogGroups answers.
    fn arn(&self, cx: &Cx<Aws>) -> String {
        let Aws {
            partition,
            region,
            account,
            ..
        } = cx.cloud();
        format!("arn:{partition}:logs:{region}:{account}:log-group:{}", self.name)
    }

    async fn live_tags(&self, cx: &Cx<Aws>) -> Result<Option<ListTagsForResourceOutput>, CallError> {
        let arn = self.arn(cx);
        let list = || cx.cloud().logs.list_tags_for_resource().resource_arn(&arn).send();
        unless_gone(cx.call("logs:ListTagsForResource", list).await)
    }

    fn check(&self, live: &ListTagsForResourceOutput) -> Result<()> {
        let what = || format!("log group {}", self.name);
        Ok(tags::check(self.tags()?, tags::pairs(live.tags()), what)?)
    }

    /// A tag that only an earlier configuration had goes where `before` names it, and stays where it does not: it could
    /// as well be somebody else's.
    async fn update_tags(
        &self,
        cx: &Cx<Aws>,
        before: &Self,
        live: &ListTagsForResourceOutput,
    ) -> Result<()> {
        let Some(ours) = self.tags.as_ref().filter(|_| self.tags != before.tags) else {
            return Ok(());
        };
        let arn = &self.arn(cx);
        let (set, removed) = if let Some(before) = &before.tags {
            (tags::changed(before, ours), tags::removed(before, ours))
        } else {
            let live = tags::managed(ours, tags::pairs(live.tags()));
            (tags::changed(&live, ours), Vec::new())
        };
        if !set.is_empty() {
            let tag = || {
                cx.cloud()
                    .logs
                    .tag_resource()
                    .resource_arn(arn)
                    .set_tags(Some(tags::map(&set)))
                    .send()
            };
            cx.call("logs:TagResource", tag).await?;
        }
        if !removed.is_empty() {
            let untag = || {
                cx.cloud()
                    .logs
                    .untag_resource()
                    .resource_arn(arn)
                    .set_tag_keys(Some(removed.clone()))
                    .send()
            };
            cx.call("logs:UntagResource", untag).await?;
        }
        Ok(())
    }

    fn tags(&self) -> Result<&Tags> {
        self.tags
            .as_ref()
            .context("a log group that is to be made has tags")
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
    const SHAPES: &'static [(&'static str, Shape)] = &[
        ("desired.name", ids::LOG_GROUP),
    ];
    const FIXED: &'static [&'static str] = &["name"];
    const GONE_AT_ONCE: bool = true;

    fn id(&self, _: &Output) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let Some(answer) = self.live_tags(cx).await? else {
            return Ok(None);
        };
        self.check(&answer)?;
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

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Output> {
        if self == before {
            return Ok(out);
        }
        let live = self.live_tags(cx).await?;
        let live = live.with_context(|| format!("log group {} is not there any more", self.name))?;
        self.check(&live)?;
        if self.retention_days.is_some() && self.retention_days != before.retention_days {
            self.put_retention(cx).await?;
        }
        self.update_tags(cx, before, &live).await?;
        Ok(out)
    }

    async fn check_owner(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        match self.live_tags(cx).await? {
            Some(live) => self.check(&live),
            None => Ok(()),
        }
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        let delete = || {
            cx.cloud()
                .logs
                .delete_log_group()
                .log_group_name(&self.name)
                .send()
        };
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
            retention_days: Some(14),
            tags: Some(our_tags()),
        }
    }

    /// What `read` gives: the tags are not read.
    fn live(retention_days: Option<i32>) -> LogGroup {
        LogGroup {
            retention_days,
            tags: None,
            ..desired()
        }
    }

    /// Two pages, whose first holds a group that begins with our name.
    fn described() -> [Rule; 2] {
        let first = json!({"logGroups": [{"logGroupName": "/aws/lambda/user-api-2", "retentionInDays": 1}], "nextToken": "2"});
        let second =
            json!({"logGroups": [{"logGroupName": NAME, "arn": format!("{ARN}:*"), "retentionInDays": 14}]});
        [
            on!(
                Sdk::describe_log_groups,
                |i| { assert_eq!(i.next_token(), None) },
                ok(first.clone())
            ),
            on!(
                Sdk::describe_log_groups,
                |i| { assert_eq!(i.next_token(), Some("2")) },
                ok(second.clone())
            ),
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

    fn absent() -> Rule {
        on!(
            Sdk::list_tags_for_resource,
            refused(400, "ResourceNotFoundException", "The specified log group does not exist.")
        )
    }

    fn put_retention() -> Rule {
        on!(
            Sdk::put_retention_policy,
            |i| {
                assert_eq!(
                    (i.log_group_name(), i.retention_in_days()),
                    (Some(NAME), Some(14))
                );
            },
            ok(json!({}))
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_begins_with_our_name_is_not_ours() {
        let other = || ok(json!({"logGroups": [{"logGroupName": "/aws/lambda/user-api-2"}]}));
        let cx = logs([absent(), on!(Sdk::describe_log_groups, other())]);
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert_eq!(desired().read(&cx, &Output {}).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn ours_is_found() {
        let cx = logs([tagged(&our_tags_and_more())]);
        assert!(desired().find(&cx).await.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_of_another_owner_is_a_strangers_and_is_left_alone() {
        for theirs in [strangers_tags(), Tags::new()] {
            let cx = logs([tagged(&theirs), tagged(&theirs), tagged(&theirs)]);
            for error in [
                desired().find(&cx).await.unwrap_err(),
                desired().update(&cx, &live(Some(30)), Output {}).await.unwrap_err(),
                desired().check_owner(&cx, &Output {}).await.unwrap_err(),
            ] {
                assert!(
                    is_stranger(&error) && error.to_string().contains(NAME),
                    "{error:#}"
                );
            }
        }
        let cx = logs([tagged(&our_tags()), absent()]);
        desired().check_owner(&cx, &Output {}).await.unwrap();
        desired().check_owner(&cx, &Output {}).await.unwrap();
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
            on!(
                Sdk::put_retention_policy,
                refused(400, "ResourceNotFoundException", "no such group")
            ),
            put_retention(),
        ]);
        desired().create(&cx).await.unwrap();
        assert_eq!(cx.waits().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_taken_name_is_told_as_taken() {
        let cx = logs([on!(
            Sdk::create_log_group,
            refused(
                400,
                "ResourceAlreadyExistsException",
                "The specified log group already exists"
            )
        )]);
        assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Taken));
    }

    #[tokio::test(start_paused = true)]
    async fn what_aws_answers_is_no_drift() {
        let cx = logs(described());
        assert_eq!(
            desired().read(&cx, &Output {}).await.unwrap(),
            Some(live(Some(14)))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_keeps_events_for_ever_is_drift() {
        let cx = logs([on!(
            Sdk::describe_log_groups,
            ok(json!({"logGroups": [{"logGroupName": NAME}]}))
        )]);
        assert_eq!(
            desired().read(&cx, &Output {}).await.unwrap(),
            Some(live(Some(0)))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_deleted_and_a_busy_one_is_waited_for() {
        let cx = logs([
            on!(
                Sdk::delete_log_group,
                refused(400, "OperationAbortedException", "please try again")
            ),
            on!(
                Sdk::delete_log_group,
                |i| { assert_eq!(i.log_group_name(), Some(NAME)) },
                refused(400, "ResourceNotFoundException", "no such group")
            ),
        ]);
        desired().delete(&cx, &Output {}).await.unwrap();
        assert_eq!(cx.waits().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retention_that_the_account_imposes_is_not_compared() {
        let group =
            json!({"logGroupName": NAME, "retentionInDays": 365, "retentionPolicyName": "account-wide"});
        let cx = logs([on!(
            Sdk::describe_log_groups,
            ok(json!({"logGroups": [group.clone()]}))
        )]);
        assert_eq!(desired().read(&cx, &Output {}).await.unwrap(), Some(live(None)));
    }

    fn tag(expected: Tags) -> Rule {
        on!(
            Sdk::tag_resource,
            |i| {
                assert_eq!(
                    (i.resource_arn(), i.tags()),
                    (Some(ARN), Some(&tags::map(&expected)))
                );
            },
            ok(json!({}))
        )
    }

    fn untag(expected: &'static str) -> Rule {
        on!(
            Sdk::untag_resource,
            |i| {
                assert_eq!(
                    (i.resource_arn(), i.tag_keys()),
                    (Some(ARN), &[expected.to_owned()][..])
                );
            },
            ok(json!({}))
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_retention_changes_alone_also_where_the_live_one_is_unknown() {
        for retention_days in [Some(0), Some(30), None] {
            let before = LogGroup {
                retention_days,
                ..desired()
            };
            desired()
                .update(&logs([tagged(&our_tags()), put_retention()]), &before, Output {})
                .await
                .unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_our_tags_change() {
        let mut before = our_tags();
        before.insert(tags::STACK.to_owned(), "renamed".to_owned());
        before.insert("team".to_owned(), "a".to_owned());
        let stack = Tags::from([(tags::STACK.to_owned(), "user-api".to_owned())]);
        let cx = logs([tagged(&before), tag(stack), untag("team")]);
        let before = LogGroup {
            tags: Some(before),
            ..desired()
        };
        desired().update(&cx, &before, Output {}).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn tags_that_were_not_read_are_looked_at_and_others_stay() {
        let mut bent = our_tags_and_more();
        bent.remove(tags::STACK);
        let stack = Tags::from([(tags::STACK.to_owned(), "user-api".to_owned())]);
        let cx = logs([tagged(&bent), tag(stack)]);
        desired().update(&cx, &live(Some(14)), Output {}).await.unwrap();
        let cx = logs([tagged(&our_tags_and_more())]);
        desired().update(&cx, &live(Some(14)), Output {}).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_that_changes_nothing_calls_nobody() {
        desired().update(&logs([]), &desired(), Output {}).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_is_gone_is_told() {
        let cx = logs([absent()]);
        let (_, text) = failed(desired().update(&cx, &live(Some(14)), Output {}).await);
        assert_eq!(text, format!("log group {NAME} is not there any more"));
        let gone = || {
            on!(
                Sdk::put_retention_policy,
                refused(
                    400,
                    "ResourceNotFoundException",
                    "The specified log group does not exist."
                )
            )
        };
        let calls = [tagged(&our_tags())].into_iter().chain((0..60).map(|_| gone()));
        let cx = std::mem::ManuallyDrop::new(logs(calls));
        let (_, text) = failed(desired().update(&cx, &live(Some(30)), Output {}).await);
        assert!(text.contains("does not exist"), "{text}");
    }
}
