//! The statement in a function's policy that lets one stage of one API invoke it, and nobody else.
//!
//! Must not touch other statements of that policy.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aws::Aws;
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Resource, Result};

/// One statement. `AddPermission` on an id that exists is refused even when nothing differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Permission {
    /// The function's name.
    pub function: String,
    /// Unique in the function's policy.
    pub statement: String,
    /// What may invoke: `arn:<partition>:execute-api:<region>:<account>:<api>/<stage>/*`.
    pub source_arn: String,
    /// The account that the API is in: without it another account's API of the same id could invoke.
    pub source_account: String,
}

/// Nothing that the name does not say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {}

impl Permission {
    async fn remove(&self, cx: &Cx<Aws>) -> Result<()> {
        let remove = || {
            cx.cloud()
                .lambda
                .remove_permission()
                .function_name(&self.function)
                .statement_id(&self.statement)
                .send()
        };
        unless_gone(cx.call("lambda:RemovePermission", remove).await)?;
        Ok(())
    }
}

impl Resource for Permission {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "permission";
    const FIXED: &'static [&'static str] = &["function", "statement"];
    const DIES_WITH: Option<&'static str> = Some("function");

    /// AWS loses statements that are added to one function side by side.
    fn lane(&self) -> Option<String> {
        Some(format!("permissions of {}", self.function))
    }

    fn id(&self, _: &Output) -> String {
        self.statement.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        Ok(self.read(cx, &Output {}).await?.filter(|live| live == self).map(|_| Output {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let add = || {
            cx.cloud()
                .lambda
                .add_permission()
                .function_name(&self.function)
                .statement_id(&self.statement)
                .action("lambda:InvokeFunction")
                .principal("apigateway.amazonaws.com")
                .source_arn(&self.source_arn)
                .source_account(&self.source_account)
                .send()
        };
        cx.call("lambda:AddPermission", add).await?;
        Ok(Output {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &Output) -> Result<Option<Self>> {
        let get = || cx.cloud().lambda.get_policy().function_name(&self.function).send();
        let Some(answer) = unless_gone(cx.call("lambda:GetPolicy", get).await)? else {
            return Ok(None);
        };
        let policy: Value = serde_json::from_str(answer.policy().unwrap_or_default())
            .with_context(|| format!("the policy of function {} is not JSON", self.function))?;
        let statements = policy["Statement"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(statement) = statements.iter().find(|statement| statement["Sid"] == self.statement.as_str()) else {
            return Ok(None);
        };
        // A statement that somebody else turned into another grant is drift, told by an empty source.
        let as_ours = statement["Effect"] == "Allow"
            && statement["Action"] == "lambda:InvokeFunction"
            && statement["Principal"]["Service"] == "apigateway.amazonaws.com";
        let source_arn = &statement["Condition"]["ArnLike"]["AWS:SourceArn"];
        let source_account = &statement["Condition"]["StringEquals"]["AWS:SourceAccount"];
        let text = |value: &Value| value.as_str().filter(|_| as_ours).unwrap_or_default().to_owned();
        Ok(Some(Self {
            function: self.function.clone(),
            statement: self.statement.clone(),
            source_arn: text(source_arn),
            source_account: text(source_account),
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, _: &Self, _: Output) -> Result<Output> {
        self.remove(cx).await?;
        self.create(cx).await
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        self.remove(cx).await
    }
}
