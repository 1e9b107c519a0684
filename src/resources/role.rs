//! The IAM role that a function runs as.
//!
//! Must not have permissions: those are in the role policy.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aws::tags::{self, Tags};
use crate::aws::wait::{once, unless_gone};
use crate::aws::{Aws, ids, policy};
use crate::resource::{CallError, Class, Cx, InTheWay, Kind, Published, Resource, Result, Stranger, Updated};

/// An IAM role. Names are unique in the account, whatever their case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// 1 to 64 characters.
    pub name: String,
    /// `/`, or `/…/`. It is in the ARN; calls take the name alone.
    pub path: String,
    /// Who may assume it, in normal form.
    pub trust: Value,
    /// The ARN of the policy that limits what the role may do, whatever its policies grant; empty: no limit.
    pub permissions_boundary: String,
    /// The stack's tags, including the owner.
    pub tags: Tags,
}

/// What dependents and calls need of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The role's ARN.
    pub arn: String,
    /// `AROA…`. Another role with the same name has another id.
    pub id: String,
}

impl Published for Output {
    fn placeholder(mark: &str) -> Self {
        Self {
            arn: mark.to_owned(),
            id: mark.to_owned(),
        }
    }
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
        // IAM ignores the case of names: this role belongs to another step.
        Err(Stranger {
            what: format!("IAM role {}, which IAM takes for {},", role.role_name, self.name),
        })
    }

    /// The policies that someone else attached to or put into the role, and the command that removes the first of them.
    async fn foreign_policies(&self, cx: &Cx<Aws>, refusal: &CallError) -> Result<Option<InTheWay>> {
        let iam = &cx.cloud().iam;
        let attached = || iam.list_attached_role_policies().role_name(&self.name).send();
        let attached = unless_gone(cx.call("iam:ListAttachedRolePolicies", attached).await)?;
        let attached = attached
            .and_then(|answer| answer.attached_policies)
            .unwrap_or_default();
        let inline = || iam.list_role_policies().role_name(&self.name).send();
        let inline = unless_gone(cx.call("iam:ListRolePolicies", inline).await)?;
        // IAM may still list our policy after it was deleted.
        let inline = inline.map(|answer| answer.policy_names).unwrap_or_default();
        let inline: Vec<_> = (inline.iter())
            .filter(|name| !policy::OURS.contains(&name.as_str()))
            .collect();
        let detached = cx.cloud().detached.borrow();
        let is_ours = |arn: &str| detached.contains(&(self.name.clone(), arn.to_owned()));
        let arns = attached.iter().filter_map(|policy| policy.policy_arn());
        let arns: Vec<_> = arns.filter(|arn| !is_ours(arn)).collect();
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

fn boundary_of(role: &aws_sdk_iam::types::Role) -> String {
    let boundary = role.permissions_boundary();
    let arn = boundary.and_then(|boundary| boundary.permissions_boundary_arn());
    arn.unwrap_or_default().to_owned()
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
    const KIND: &'static Kind = &Kind {
        shapes: &[
            ("desired.name", ids::ROLE),
            ("desired.path", ids::ROLE_PATH),
            ("desired.permissions_boundary", ids::ARN_OR_NONE),
            ("output.arn", ids::ARN),
            ("output.id", ids::UNIQUE),
        ],
        fixed: &["name", "path"],
        ignores_case: true,
        gone_at_once: true,
        ..Kind::new("role")
    };

    fn id(&self, _: &Output) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let Some(role) = self.get(cx).await? else {
            return Ok(None);
        };
        self.check(&role)?;
        // For a role that was created a moment ago, IAM may return the id in place of the ARN (Terraform waits for
        // this).
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
        let boundary = (!self.permissions_boundary.is_empty()).then(|| self.permissions_boundary.clone());
        let path = (self.path != "/").then(|| self.path.clone());
        let create = || {
            cx.cloud()
                .iam
                .create_role()
                .role_name(&self.name)
                .set_path(path.clone())
                .set_permissions_boundary(boundary.clone())
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
            path: role.path.clone(),
            trust: policy::parse(trust)?,
            permissions_boundary: boundary_of(&role),
            tags: tags::managed_in_any_case(&self.tags, pairs(&role)),
        }))
    }

    /// A boundary that goes grants rights, and goes at once. One that comes, or is another one, can take rights away from a
    /// function that still needs them: `retire` sets it, once the function is changed.
    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Updated<Output>> {
        let iam = &cx.cloud().iam;
        if self.permissions_boundary.is_empty() && !before.permissions_boundary.is_empty() {
            let delete = || {
                iam.delete_role_permissions_boundary()
                    .role_name(&self.name)
                    .send()
            };
            unless_gone(cx.call("iam:DeleteRolePermissionsBoundary", delete).await)?;
        }
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
        // Removes first: IAM ignores the case of keys, so removing `TEAM` later would remove the new `team`.
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
        Ok(Updated {
            output: out,
            retires: !self.permissions_boundary.is_empty()
                && self.permissions_boundary != before.permissions_boundary,
        })
    }

    async fn retire(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        if self.permissions_boundary.is_empty() {
            return Ok(());
        }
        let put = || {
            cx.cloud()
                .iam
                .put_role_permissions_boundary()
                .role_name(&self.name)
                .permissions_boundary(&self.permissions_boundary)
                .send()
        };
        cx.call("iam:PutRolePermissionsBoundary", put).await?;
        Ok(())
    }

    async fn check_owner(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let Some(role) = self.get(cx).await? else {
            return Ok(());
        };
        self.check(&role)?;
        if role.role_id == out.id {
            return Ok(());
        }
        // It has our tag: a run with another copy of the state created it, or someone copied the tag.
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
                // IAM may not have noticed yet that our policy is gone. Waiting does not help with the policies of
                // others.
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
