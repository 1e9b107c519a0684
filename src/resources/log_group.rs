//! The CloudWatch log group of a function, made by us so that `down` owns it.
//!
//! Must not read or write log events.

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
    /// One of the numbers of days that AWS allows.
    pub retention_days: i32,
    /// Including the owner. Not compared with what is live: reading them takes a call of its own.
    pub tags: Tags,
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

    async fn put_retention(&self, cx: &Cx<Aws>) -> Result<()> {
        let put = || {
            cx.cloud()
                .logs
                .put_retention_policy()
                .log_group_name(&self.name)
                .retention_in_days(self.retention_days)
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
        if !tags::are_ours(&self.tags, tags::pairs(answer.tags())) {
            return Err(Stranger { what: format!("log group {}", self.name) }.into());
        }
        // The interrupted run may not have come to the second call.
        self.put_retention(cx).await?;
        Ok(Some(Output {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let create = || {
            cx.cloud()
                .logs
                .create_log_group()
                .log_group_name(&self.name)
                .set_tags(Some(tags::map(&self.tags)))
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
            retention_days: if overridden { self.retention_days } else { live },
            tags: self.tags.clone(),
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        let delete = || cx.cloud().logs.delete_log_group().log_group_name(&self.name).send();
        unless_gone(cx.call("logs:DeleteLogGroup", delete).await)?;
        Ok(())
    }
}
