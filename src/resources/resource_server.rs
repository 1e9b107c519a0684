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

#[cfg(test)]
mod tests {
    use aws_sdk_cognitoidentityprovider::Client as Sdk;
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{cognito, failed, ok, on, refused};
    use crate::resource::Class;

    fn desired() -> ResourceServer {
        ResourceServer {
            pool: "eu-central-1_ours".to_owned(),
            identifier: "user-api".to_owned(),
            name: "User API".to_owned(),
            scopes: BTreeMap::from([
                ("read".to_owned(), "Read users".to_owned()),
                ("write".to_owned(), "Write users".to_owned()),
            ]),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
        let gone = || refused(400, "ResourceNotFoundException", "Resource server does not exist.");
        let cx = cognito([
            on!(Sdk::describe_resource_server, gone()),
            on!(Sdk::describe_resource_server, gone()),
            on!(Sdk::delete_resource_server, |i| { assert_eq!((i.user_pool_id(), i.identifier()), (Some("eu-central-1_ours"), Some("user-api"))) }, gone()),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert_eq!(desired().read(&cx, &Output {}).await.unwrap(), None);
        desired().delete(&cx, &Output {}).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_found_and_the_order_of_its_scopes_is_no_drift() {
        let live = json!({"ResourceServer": {
            "UserPoolId": "eu-central-1_ours", "Identifier": "user-api", "Name": "User API",
            "Scopes": [
                {"ScopeName": "write", "ScopeDescription": "Write users"},
                {"ScopeName": "read", "ScopeDescription": "Read users"},
            ],
        }});
        let again = live.clone();
        let cx = cognito([
            on!(Sdk::describe_resource_server, ok(live.clone())),
            on!(Sdk::describe_resource_server, ok(again.clone())),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_some());
        assert_eq!(desired().read(&cx, &Output {}).await.unwrap(), Some(desired()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_created_with_its_scopes() {
        let cx = cognito([on!(
            Sdk::create_resource_server,
            |i| {
                assert_eq!(i.identifier(), Some("user-api"));
                let scopes: Vec<_> = i.scopes().iter().map(|s| (s.scope_name(), s.scope_description())).collect();
                assert_eq!(scopes, [("read", "Read users"), ("write", "Write users")]);
            },
            ok(json!({"ResourceServer": {}}))
        )]);
        desired().create(&cx).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_of_the_same_identifier_is_told_as_taken() {
        let cx = cognito([on!(
            Sdk::create_resource_server,
            refused(400, "InvalidParameterException", "user-api already exists in user pool")
        )]);
        assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Taken));
    }
}
