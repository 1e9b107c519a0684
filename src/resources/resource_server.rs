//! A resource server of a user pool: an identifier and the custom scopes under it.
//!
//! Must not say who may ask for those scopes.

use std::collections::BTreeMap;

use anyhow::Context;
use aws_sdk_cognitoidentityprovider::types::ResourceServerScopeType;
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Resource, Result};

/// A resource server. Identifiers are unique in the pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceServer {
    /// The pool's id.
    pub pool: String,
    /// The first half of a full scope: `<identifier>/<scope>`.
    pub identifier: String,
    /// For people.
    pub name: String,
    /// Scope name to description; at most 100.
    pub scopes: BTreeMap<String, String>,
}

/// Nothing that the identifier does not say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {}

impl Resource for ResourceServer {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "resource-server";
    const FIXED: &'static [&'static str] = &["pool", "identifier", "name", "scopes"];
    const DIES_WITH: Option<&'static str> = Some("user-pool");

    fn id(&self, _: &Output) -> String {
        self.identifier.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        Ok(self.read(cx, &Output {}).await?.map(|_| Output {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let scopes = self
            .scopes
            .iter()
            .map(|(name, description)| {
                ResourceServerScopeType::builder().scope_name(name).scope_description(description).build()
            })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let create = || {
            cx.cloud()
                .cognito
                .create_resource_server()
                .user_pool_id(&self.pool)
                .identifier(&self.identifier)
                .name(&self.name)
                .set_scopes(Some(scopes.clone()))
                .send()
        };
        cx.call("cognito-idp:CreateResourceServer", create).await?;
        Ok(Output {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &Output) -> Result<Option<Self>> {
        let describe = || {
            cx.cloud()
                .cognito
                .describe_resource_server()
                .user_pool_id(&self.pool)
                .identifier(&self.identifier)
                .send()
        };
        let Some(answer) = unless_gone(cx.call("cognito-idp:DescribeResourceServer", describe).await)? else {
            return Ok(None);
        };
        let server =
            answer.resource_server.context("cognito-idp:DescribeResourceServer answered no resource server")?;
        Ok(Some(Self {
            pool: self.pool.clone(),
            identifier: self.identifier.clone(),
            name: server.name().unwrap_or_default().to_owned(),
            scopes: server
                .scopes()
                .iter()
                .map(|scope| (scope.scope_name().to_owned(), scope.scope_description().to_owned()))
                .collect(),
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        let delete = || {
            cx.cloud()
                .cognito
                .delete_resource_server()
                .user_pool_id(&self.pool)
                .identifier(&self.identifier)
                .send()
        };
        unless_gone(cx.call("cognito-idp:DeleteResourceServer", delete).await)?;
        Ok(())
    }
}
