//! The CloudWatch log group of a function or a stage. We create it, so that `down` can delete it.
//!
//! Must not read or write log events.

use anyhow::Context;
use aws_sdk_cloudwatchlogs::operation::list_tags_for_resource::ListTagsForResourceOutput;
use serde::{Deserialize, Serialize};

use crate::aws::pages::Pages;
use crate::aws::tags::{self, Tags};
use crate::aws::wait::unless_gone;
use crate::aws::{Aws, ids};
use crate::resource::{CallError, Cx, Kind, NoOutput, Resource, Result, Updated};

/// A log group. Names are unique in the account and region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogGroup {
    /// `/aws/lambda/<function>`, or `/aws/apigateway/…`.
    pub name: String,
    /// One of the numbers of days that AWS allows. The live value is `None` if a policy of the whole account overrides
    /// it.
    pub retention_days: Option<i32>,
    /// The stack's tags, including the owner. The live value is `None`: reading them takes a call of its own.
    pub tags: Option<Tags>,
}

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

    /// In the form that calls about tags need: without the `:*` that DescribeLogGroups returns.
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

    /// Removes a tag that only an earlier configuration had if `before` has it. If not, the tag stays, because it could
    /// be someone else's.
    async fn update_tags(&self, cx: &Cx<Aws>, before: &Self, live: &ListTagsForResourceOutput) -> Result<()> {
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
    type Output = NoOutput;
    const KIND: &'static Kind = &Kind {
        shapes: &[("desired.name", ids::LOG_GROUP)],
        fixed: &["name"],
        // What has not ended yet would make it again, or write in vain.
        outlives_users: true,
        gone_at_once: true,
        ..Kind::new("log-group")
    };

    fn id(&self, _: &NoOutput) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<NoOutput>> {
        let Some(answer) = self.live_tags(cx).await? else {
            return Ok(None);
        };
        self.check(&answer)?;
        Ok(Some(NoOutput {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<NoOutput> {
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
        Ok(NoOutput {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<Option<Self>> {
        let Some(group) = self.describe(cx).await? else {
            return Ok(None);
        };
        // A retention policy of the whole account overrides ours, so setting ours again changes nothing.
        let overridden = group.retention_policy_name().is_some();
        let live = group.retention_in_days().unwrap_or_default();
        Ok(Some(Self {
            name: self.name.clone(),
            retention_days: (!overridden).then_some(live),
            tags: None,
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: NoOutput) -> Result<Updated<NoOutput>> {
        if self == before {
            return Ok(out.into());
        }
        let live = self.live_tags(cx).await?;
        let live = live.with_context(|| format!("log group {} is not there any more", self.name))?;
        self.check(&live)?;
        if self.retention_days.is_some() && self.retention_days != before.retention_days {
            self.put_retention(cx).await?;
        }
        self.update_tags(cx, before, &live).await?;
        Ok(out.into())
    }

    async fn check_owner(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        match self.live_tags(cx).await? {
            Some(live) => self.check(&live),
            None => Ok(()),
        }
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
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
mod tests;
