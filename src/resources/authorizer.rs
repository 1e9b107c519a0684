//! The authorizer that checks a bearer token against a user pool.
//!
//! Must not set an identity validation expression: it is matched against `aud`, which Cognito's access tokens lack.

use std::collections::BTreeSet;

use anyhow::Context;
use aws_sdk_apigateway::config::Config;
use aws_sdk_apigateway::types::{AuthorizerType, Op, PatchOperation};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::clients::OnlyThrottles;
use crate::aws::wait::unless_gone;
use crate::resource::{Class, Cx, Resource, Result};

/// A COGNITO_USER_POOLS authorizer. Names are unique in the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Authorizer {
    /// The REST API's id.
    pub api: String,
    /// For people.
    pub name: String,
    /// Whose tokens are let in.
    pub pool_arns: BTreeSet<String>,
    /// Where the token is: `method.request.header.Authorization`.
    pub identity_source: String,
}

/// What API Gateway answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {
    /// The authorizer's id.
    pub id: String,
}

impl Authorizer {
    async fn api_is_gone(&self, cx: &Cx<Aws>) -> Result<bool> {
        let get = || cx.cloud().apigateway.get_rest_api().rest_api_id(&self.api).send();
        Ok(unless_gone(cx.call("apigateway:GetRestApi", get).await)?.is_none())
    }
}

impl Resource for Authorizer {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "authorizer";
    const FIXED: &'static [&'static str] = &["api", "name", "identity_source"];
    const DIES_WITH: Option<&'static str> = Some("rest-api");

    fn lane(&self) -> Option<String> {
        Some(format!("rest-api {}", self.api))
    }

    fn id(&self, out: &Output) -> String {
        out.id.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        // An API has at most 10 authorizers, a page 500.
        let list = || cx.cloud().apigateway.get_authorizers().rest_api_id(&self.api).limit(500).send();
        let Some(page) = unless_gone(cx.call("apigateway:GetAuthorizers", list).await)? else {
            return Ok(None);
        };
        let ours = page.items().iter().find(|authorizer| authorizer.name() == Some(&self.name));
        Ok(ours.and_then(|authorizer| authorizer.id()).map(|id| Output { id: id.to_owned() }))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let create = || {
            cx.cloud()
                .apigateway
                .create_authorizer()
                .rest_api_id(&self.api)
                .name(&self.name)
                .r#type(AuthorizerType::CognitoUserPools)
                .set_provider_arns(Some(self.pool_arns.iter().cloned().collect()))
                .identity_source(&self.identity_source)
                .customize()
                // That names are unique is seen in AWS's errors, not in its documents.
                .config_override(Config::builder().retry_classifier(OnlyThrottles))
                .send()
        };
        let authorizer = match cx.call("apigateway:CreateAuthorizer", create).await {
            Ok(authorizer) => authorizer,
            // What API Gateway answers to concurrent calls is also what it answers, for ever, on an API that is gone.
            Err(error) if error.class == Class::NotReady && self.api_is_gone(cx).await? => {
                return Err(anyhow::Error::new(error).context(format!("REST API {} is not there any more", self.api)));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Output {
            id: authorizer.id.context("apigateway:CreateAuthorizer answered no id")?,
        })
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let get =
            || cx.cloud().apigateway.get_authorizer().rest_api_id(&self.api).authorizer_id(&out.id).send();
        let Some(live) = unless_gone(cx.call("apigateway:GetAuthorizer", get).await)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            api: self.api.clone(),
            name: live.name().unwrap_or_default().to_owned(),
            pool_arns: live.provider_arns().iter().cloned().collect(),
            identity_source: live.identity_source().unwrap_or_default().to_owned(),
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Output> {
        // First add, then remove: the list must never be empty.
        let added = self.pool_arns.difference(&before.pool_arns).map(|arn| (Op::Add, arn));
        let removed = before.pool_arns.difference(&self.pool_arns).map(|arn| (Op::Remove, arn));
        let patches: Vec<_> = added
            .chain(removed)
            .map(|(op, arn)| PatchOperation::builder().op(op).path("/providerARNs").value(arn).build())
            .collect();
        if patches.is_empty() {
            return Ok(out);
        }
        let update = || {
            cx.cloud()
                .apigateway
                .update_authorizer()
                .rest_api_id(&self.api)
                .authorizer_id(&out.id)
                .set_patch_operations(Some(patches.clone()))
                .send()
        };
        cx.call("apigateway:UpdateAuthorizer", update).await?;
        Ok(out)
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete =
            || cx.cloud().apigateway.delete_authorizer().rest_api_id(&self.api).authorizer_id(&out.id).send();
        unless_gone(cx.call("apigateway:DeleteAuthorizer", delete).await)?;
        Ok(())
    }
}
