//! The IAM role that a function runs as.
//!
//! Must not carry permissions: those are a role policy's.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aws::tags::{self, Tags};
use crate::aws::wait::unless_gone;
use crate::aws::{Aws, policy};
use crate::resource::{Cx, Resource, Result, Stranger};

/// An IAM role. Names are unique in the account, whatever their case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// 1 to 64 characters.
    pub name: String,
    /// Who may assume it, in normal form.
    pub trust: Value,
    /// Including the owner.
    pub tags: Tags,
}

/// What IAM answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {
    /// The role's ARN.
    pub arn: String,
    /// `AROA…`: another one under the same name is another role.
    pub id: String,
}

impl Role {
    async fn get(&self, cx: &Cx<Aws>) -> Result<Option<aws_sdk_iam::types::Role>> {
        let get = || cx.cloud().iam.get_role().role_name(&self.name).send();
        let answer = unless_gone(cx.call("iam:GetRole", get).await)?;
        answer.map(|answer| answer.role.context("iam:GetRole answered no role")).transpose()
    }
}

fn pairs(role: &aws_sdk_iam::types::Role) -> impl Iterator<Item = (&str, &str)> {
    role.tags().iter().map(|tag| (tag.key(), tag.value()))
}

impl Resource for Role {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "role";
    const FIXED: &'static [&'static str] = &["name", "trust", "tags"];

    fn id(&self, _: &Output) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let Some(role) = self.get(cx).await? else {
            return Ok(None);
        };
        if !tags::are_ours(&self.tags, pairs(&role)) {
            return Err(Stranger { what: format!("IAM role {}", self.name) }.into());
        }
        // A role that was made a moment ago may be answered with its id in place of its ARN (Terraform waits for this).
        let arn = cx
            .wait_for("IAM to know the role's ARN", std::time::Duration::from_mins(2), || async {
                let role = self.get(cx).await?;
                Ok(role.map(|role| role.arn).filter(|arn| arn.starts_with("arn:")))
            })
            .await?;
        Ok(Some(Output { arn, id: role.role_id }))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let tags = self
            .tags
            .iter()
            .map(|(key, value)| aws_sdk_iam::types::Tag::builder().key(key).value(value).build())
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let create = || {
            cx.cloud()
                .iam
                .create_role()
                .role_name(&self.name)
                .assume_role_policy_document(self.trust.to_string())
                .set_tags(Some(tags.clone()))
                .send()
        };
        let role = cx.call("iam:CreateRole", create).await?.role.context("iam:CreateRole answered no role")?;
        Ok(Output { arn: role.arn, id: role.role_id })
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let Some(role) = self.get(cx).await?.filter(|role| role.role_id == out.id) else {
            return Ok(None);
        };
        let trust = role.assume_role_policy_document().unwrap_or_default();
        Ok(Some(Self {
            name: self.name.clone(),
            trust: policy::parse(trust)?,
            tags: tags::managed(&self.tags, pairs(&role)),
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        let delete = || cx.cloud().iam.delete_role().role_name(&self.name).send();
        unless_gone(cx.call("iam:DeleteRole", delete).await)?;
        Ok(())
    }
}
