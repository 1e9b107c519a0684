//! The statement in the policy of a function that someone else made, which lets one stage of one API invoke it.
//!
//! Must not change anything of the function but this statement.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::aws::wait::{once, unless_gone};
use crate::aws::{Aws, ids, policy};
use crate::resource::{Class, Cx, Kind, NoOutput, Resource, Result};

/// One statement. Each version and alias has a policy of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendPermission {
    /// The function's name. The function is of the account and region of the API.
    pub function: String,
    /// The version or the alias; empty: the function itself.
    pub qualifier: String,
    /// Has the stack's owner in it, so nobody else has it by chance.
    pub statement: String,
    /// The caller that is allowed: `arn:<partition>:execute-api:<region>:<account>:<api>/<stage>/*`.
    pub source_arn: String,
    /// The account of the API. Without it, an API with the same id in another account could invoke the function.
    pub source_account: String,
}

/// A policy, and its revision: a change that names the revision is refused if someone else was faster.
struct Policy {
    text: String,
    revision: Option<String>,
}

impl BackendPermission {
    fn qualifier(&self) -> Option<String> {
        (!self.qualifier.is_empty()).then(|| self.qualifier.clone())
    }

    /// `None`: the function has no policy, or there is no such function.
    async fn policy(&self, cx: &Cx<Aws>) -> Result<Option<Policy>> {
        let get = || {
            cx.cloud()
                .lambda
                .get_policy()
                .function_name(&self.function)
                .set_qualifier(self.qualifier())
                .send()
        };
        let answer = unless_gone(cx.call("lambda:GetPolicy", get).await)?;
        Ok(answer.and_then(|answer| {
            Some(Policy {
                text: answer.policy?,
                revision: answer.revision_id,
            })
        }))
    }
}

/// Why this function, version or alias is not there, in Lambda's words; `None`: it is there.
///
/// # Errors
/// The call failed.
pub async fn absence(cx: &Cx<Aws>, function: &str, qualifier: Option<&str>) -> Result<Option<String>> {
    let get = || {
        cx.cloud()
            .lambda
            .get_function_configuration()
            .function_name(function)
            .set_qualifier(qualifier.map(str::to_owned))
            .send()
    };
    match cx.call("lambda:GetFunctionConfiguration", get).await {
        Ok(_) => Ok(None),
        Err(error) if error.class == Class::Gone => Ok(Some(error.message)),
        Err(error) => Err(error.into()),
    }
}

impl Resource for BackendPermission {
    type Cloud = Aws;
    type Output = NoOutput;
    const KIND: &'static Kind = &Kind {
        shapes: &[
            ("desired.function", ids::NAME),
            ("desired.statement", ids::NAME),
            ("desired.source_arn", ids::ARN),
            ("desired.source_account", ids::ACCOUNT),
        ],
        fixed: &[
            "function",
            "qualifier",
            "statement",
            "source_arn",
            "source_account",
        ],
        ..Kind::new("backend-permission")
    };

    /// AWS loses statements that are added to one function in parallel.
    fn lane(&self) -> Option<String> {
        Some(format!("permissions of {}", self.function))
    }

    fn id(&self, _: &NoOutput) -> String {
        self.statement.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<NoOutput>> {
        Ok(self.read(cx, &NoOutput {}).await?.map(|_| NoOutput {}))
    }

    /// Names the revision of the policy, so that a statement which someone else adds meanwhile is not lost.
    async fn create(&self, cx: &Cx<Aws>) -> Result<NoOutput> {
        let add = || async {
            let policy = self.policy(cx).await?;
            // Lambda's answer to the addition would be waited for, as that to a new function's.
            if policy.is_none()
                && let Some(why) = absence(cx, &self.function, self.qualifier().as_deref()).await?
            {
                bail!("{why}");
            }
            let add = cx
                .cloud()
                .lambda
                .add_permission()
                .function_name(&self.function)
                .set_qualifier(self.qualifier())
                .set_revision_id(policy.and_then(|policy| policy.revision))
                .statement_id(&self.statement)
                .action("lambda:InvokeFunction")
                .principal("apigateway.amazonaws.com")
                .source_arn(&self.source_arn)
                .source_account(&self.source_account)
                .send();
            Ok(once("lambda:AddPermission", add).await?)
        };
        cx.repeat("lambda:AddPermission", add).await?;
        Ok(NoOutput {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<Option<Self>> {
        let Some(policy) = self.policy(cx).await? else {
            return Ok(None);
        };
        let granted = policy::granted(&policy.text, &self.statement)
            .with_context(|| format!("the policy of function {} cannot be read", self.function))?;
        // If someone else changed the statement into another grant, its source is read as empty, which is drift.
        Ok(granted.map(|grant| Self {
            source_arn: grant.source_arn,
            source_account: grant.source_account,
            ..self.clone()
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        let remove = || async {
            let Some(policy) = self.policy(cx).await? else {
                return Ok(());
            };
            let remove = cx
                .cloud()
                .lambda
                .remove_permission()
                .function_name(&self.function)
                .set_qualifier(self.qualifier())
                .set_revision_id(policy.revision)
                .statement_id(&self.statement)
                .send();
            unless_gone(once("lambda:RemovePermission", remove).await)?;
            Ok(())
        };
        cx.repeat("lambda:RemovePermission", remove).await
    }
}

#[cfg(test)]
mod tests;
