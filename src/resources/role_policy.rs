//! What a function's role permits: an inline policy.
//!
//! Must not touch the role itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aws::wait::unless_gone;
use crate::aws::{Aws, policy};
use crate::resource::{Cx, Resource, Result};

/// An inline policy of a role. Putting it again replaces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolePolicy {
    /// The role's name.
    pub role: String,
    /// Unique in the role.
    pub name: String,
    /// In normal form.
    pub document: Value,
}

/// Nothing that the name does not say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {}

impl Resource for RolePolicy {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "role-policy";
    const FIXED: &'static [&'static str] = &["role", "name", "document"];

    fn id(&self, _: &Output) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        Ok(self.read(cx, &Output {}).await?.map(|_| Output {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let put = || {
            cx.cloud()
                .iam
                .put_role_policy()
                .role_name(&self.role)
                .policy_name(&self.name)
                .policy_document(self.document.to_string())
                .send()
        };
        cx.call("iam:PutRolePolicy", put).await?;
        Ok(Output {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &Output) -> Result<Option<Self>> {
        let get = || cx.cloud().iam.get_role_policy().role_name(&self.role).policy_name(&self.name).send();
        let Some(answer) = unless_gone(cx.call("iam:GetRolePolicy", get).await)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            role: self.role.clone(),
            name: self.name.clone(),
            document: policy::parse(answer.policy_document())?,
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        let delete = || cx.cloud().iam.delete_role_policy().role_name(&self.role).policy_name(&self.name).send();
        unless_gone(cx.call("iam:DeleteRolePolicy", delete).await)?;
        Ok(())
    }
}
