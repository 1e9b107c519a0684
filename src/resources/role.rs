//! The IAM role that a function runs as.
//!
//! Must not carry permissions: those are a role policy's.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aws::tags::{self, Tags};
use crate::aws::wait::{once, unless_gone};
use crate::aws::{Aws, ids, policy};
use crate::resource::{CallError, Class, Cx, InTheWay, Resource, Result, Shape, Stranger};

/// An IAM role. Names are unique in the account, whatever their case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The role's ARN.
    pub arn: String,
    /// `AROA…`: another one under the same name is another role.
    pub id: String,
}

impl Role {
    async fn get(&self, cx: &Cx<Aws>) -> Result<Option<aws_sdk_iam::types::Role>> {
        let answer = cx.role(&self.name).await?;
        let answer = answer.as_ref().as_ref();
        answer
            .map(|answer| answer.role.clone().context("iam:GetRole answered no role"))
            .transpose()
    }

    fn check(&self, role: &aws_sdk_iam::types::Role) -> Result<(), Stranger> {
        tags::check(&self.tags, pairs(role), || format!("IAM role {}", role.role_name))?;
        if role.role_name == self.name {
            return Ok(());
        }
        // IAM finds a role whatever the case of its name: this one is another step's.
        Err(Stranger {
            what: format!("IAM role {}, which IAM takes for {},", role.role_name, self.name),
        })
    }

    /// What somebody else attached or put into the role, and the command that takes the first of it away.
    async fn foreign_policies(&self, cx: &Cx<Aws>, refusal: &CallError) -> Result<Option<InTheWay>> {
        let iam = &cx.cloud().iam;
        let attached = || iam.list_attached_role_policies().role_name(&self.name).send();
        let attached = unless_gone(cx.call("iam:ListAttachedRolePolicies", attached).await)?;
        let attached = attached
            .and_then(|answer| answer.attached_policies)
            .unwrap_or_default();
        let inline = || iam.list_role_policies().role_name(&self.name).send();
        let inline = unless_gone(cx.call("iam:ListRolePolicies", inline).await)?;
        // Ours may still be shown after it was deleted.
        let inline = inline.map(|answer| answer.policy_names).unwrap_or_default();
        let inline: Vec<_> = inline.iter().filter(|name| *name != policy::LOGS).collect();
        let arns: Vec<_> = attached.iter().filter_map(|policy| policy.policy_arn()).collect();
        let command = match (arns.first(), inline.first()) {
            (Some(arn), _) => {
                format!(
                    "aws iam detach-role-policy --role-name {} --policy-arn {arn}",
                    self.name
                )
            }
            (None, Some(policy)) => {
                format!(
                    "aws iam delete-role-policy --role-name {} --policy-name {policy}",
                    self.name
                )
            }
            (None, None) => return Ok(None),
        };
        let names: Vec<&str> = arns
            .into_iter()
            .chain(inline.into_iter().map(String::as_str))
            .collect();
        Ok(Some(InTheWay {
            what: format!(
                "IAM does not delete role {} while it has policies that this stack did not make: {}",
                self.name,
                names.join(", ")
            ),
            command,
            refusal: refusal.clone(),
        }))
    }
}

fn pairs(role: &aws_sdk_iam::types::Role) -> impl Iterator<Item = (&str, &str)> {
    role.tags().iter().map(|tag| (tag.key(), tag.value()))
}

fn sdk_tags(tags: &Tags) -> Result<Vec<aws_sdk_iam::types::Tag>> {
    tags.iter()
        .map(|(key, value)| Ok(aws_sdk_iam::types::Tag::builder().key(key).value(value).build()?))
        .collect()
}

impl Resource for Role {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "role";
    const SHAPES: &'static [(&'static str, Shape)] = &[
        ("desired.name", ids::ROLE),
        ("output.arn", ids::ARN),
        ("output.id", ids::UNIQUE),
    ];
    const FIXED: &'static [&'static str] = &["name"];
    const IGNORES_CASE: bool = true;
    const GONE_AT_ONCE: bool = true;

    fn id(&self, _: &Output) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let Some(role) = self.get(cx).await? else {
            return Ok(None);
        };
        self.check(&role)?;
        // A role that was made a moment ago may be answered with its id in place of its ARN (Terraform waits for this).
        let arn = cx
            .wait_for(
                "IAM to know the role's ARN",
                std::time::Duration::from_mins(2),
                || async {
                    let role = self.get(cx).await?;
                    Ok(role.map(|role| role.arn).filter(|arn| arn.starts_with("arn:")))
                },
            )
            .await?;
        Ok(Some(Output {
            arn,
            id: role.role_id,
        }))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let tags = sdk_tags(&self.tags)?;
        let create = || {
            cx.cloud()
                .iam
                .create_role()
                .role_name(&self.name)
                .assume_role_policy_document(self.trust.to_string())
                .set_tags(Some(tags.clone()))
                .send()
        };
        let role = cx
            .call("iam:CreateRole", create)
            .await?
            .role
            .context("iam:CreateRole answered no role")?;
        Ok(Output {
            arn: role.arn,
            id: role.role_id,
        })
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let Some(role) = self.get(cx).await? else {
            return Ok(None);
        };
        self.check(&role)?;
        if role.role_id != out.id {
            return Ok(None);
        }
        let trust = role.assume_role_policy_document().unwrap_or_default();
        Ok(Some(Self {
            name: self.name.clone(),
            trust: policy::parse(trust)?,
            tags: tags::managed_in_any_case(&self.tags, pairs(&role)),
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Output> {
        let iam = &cx.cloud().iam;
        if self.trust != before.trust {
            let document = self.trust.to_string();
            let update = || {
                iam.update_assume_role_policy()
                    .role_name(&self.name)
                    .policy_document(&document)
                    .send()
            };
            cx.call("iam:UpdateAssumeRolePolicy", update).await?;
        }
        // First what goes: IAM takes `team` for `TEAM`, so that later it would take away what was just set.
        let removed = tags::removed(&before.tags, &self.tags);
        if !removed.is_empty() {
            let untag = || {
                iam.untag_role()
                    .role_name(&self.name)
                    .set_tag_keys(Some(removed.clone()))
                    .send()
            };
            cx.call("iam:UntagRole", untag).await?;
        }
        let changed = sdk_tags(&tags::changed(&before.tags, &self.tags))?;
        if !changed.is_empty() {
            let tag = || {
                iam.tag_role()
                    .role_name(&self.name)
                    .set_tags(Some(changed.clone()))
                    .send()
            };
            cx.call("iam:TagRole", tag).await?;
        }
        Ok(out)
    }

    async fn check_owner(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let Some(role) = self.get(cx).await? else {
            return Ok(());
        };
        self.check(&role)?;
        if role.role_id == out.id {
            return Ok(());
        }
        // It has our tag: another copy of the state made it, or somebody who copied the tag.
        Err(Stranger {
            what: format!(
                "IAM role {} with the id {}, and {} is on record,",
                self.name, role.role_id, out.id
            ),
        }
        .into())
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        cx.repeat("iam:DeleteRole", || async {
            let delete = cx.cloud().iam.delete_role().role_name(&self.name).send();
            match unless_gone(once("iam:DeleteRole", delete).await) {
                Ok(_) => Ok(()),
                // IAM may not know yet that our policy is gone; for what others attached it is of no use to wait.
                Err(error) if error.class == Class::NotReady => {
                    match self.foreign_policies(cx, &error).await? {
                        Some(foreign) => Err(foreign.into()),
                        None => Err(error.into()),
                    }
                }
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests;
