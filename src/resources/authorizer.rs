//! The authorizer that checks a bearer token against a user pool.
//!
//! Must not set an identity validation expression: it is matched against `aud`, which Cognito's access tokens lack.

use std::collections::BTreeSet;

use anyhow::Context;
use aws_sdk_apigateway::config::Config;
use aws_sdk_apigateway::config::retry::RetryConfig;
use aws_sdk_apigateway::operation::get_authorizer::GetAuthorizerOutput;
use aws_sdk_apigateway::types::{AuthorizerType, Op};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::aws::Aws;
use crate::aws::ids::{self, ApiId, AuthorizerId};
use crate::aws::patches::patch;
use crate::aws::wait::unless_gone;
use crate::resource::{Class, Cx, Kind, Published, Resource, Result, Updated};

/// A COGNITO_USER_POOLS authorizer. Names are unique in the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorizer {
    /// The REST API's id.
    pub api: ApiId,
    /// For people.
    pub name: String,
    /// The pools whose tokens are accepted.
    pub pool_arns: BTreeSet<String>,
    /// Where the token is: `method.request.header.Authorization`.
    pub identity_source: String,
    /// How long API Gateway may reuse its decision on a token. We set 0: it is not documented that API Gateway checks
    /// the scopes of another route for a cached decision.
    pub result_ttl_seconds: i32,
    /// The type of an authorizer that someone else created and that is not for Cognito; `None` in ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_type: Option<String>,
    /// What someone else set `aud` to match; `None` in ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<String>,
}

/// The TTL that API Gateway uses, and leaves out of its answers, if none was sent.
const DEFAULT_TTL_SECONDS: i32 = 300;

/// What dependents and calls need of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The authorizer's id.
    pub id: AuthorizerId,
    /// SHA-256, in base64url, over all that the authorizer consists of and, once it was changed, the digest before. Every
    /// change makes another digest, also a change back to what was: what others did in between may have been deployed.
    pub digest: String,
}

impl Published for Output {
    fn placeholder(mark: &str) -> Self {
        Self {
            id: mark.into(),
            digest: mark.to_owned(),
        }
    }
}

impl Authorizer {
    fn output(&self, id: AuthorizerId) -> Output {
        let authorizer = serde_json::to_vec(self).expect("an authorizer is plain JSON");
        Output {
            id,
            digest: URL_SAFE_NO_PAD.encode(Sha256::digest(authorizer)),
        }
    }

    fn next_output(&self, out: Output) -> Output {
        let Output { id, digest } = self.output(out.id);
        Output {
            id,
            digest: URL_SAFE_NO_PAD.encode(Sha256::digest(out.digest + &digest)),
        }
    }

    async fn get(&self, cx: &Cx<Aws>, id: &AuthorizerId) -> Result<Option<GetAuthorizerOutput>> {
        let get = || {
            cx.cloud()
                .apigateway
                .get_authorizer()
                .rest_api_id(&self.api)
                .authorizer_id(id)
                .send()
        };
        Ok(unless_gone(cx.call("apigateway:GetAuthorizer", get).await)?)
    }

    async fn api_is_gone(&self, cx: &Cx<Aws>) -> Result<bool> {
        let get = || cx.cloud().apigateway.get_rest_api().rest_api_id(&self.api).send();
        Ok(unless_gone(cx.call("apigateway:GetRestApi", get).await)?.is_none())
    }
}

impl Resource for Authorizer {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static Kind = &Kind {
        shapes: &[
            ("desired.api", ids::API),
            ("desired.pool_arns", ids::ARN),
            ("output.id", ids::API),
        ],
        fixed: &["api", "other_type", "validation"],
        dies_with: Some("rest-api"),
        shares_names: true,
        ..Kind::new("authorizer")
    };

    fn lane(&self) -> Option<String> {
        Some(format!("rest-api {}", self.api))
    }

    fn id(&self, out: &Output) -> String {
        out.id.to_string()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        // An API has at most 10 authorizers, a page 500.
        let list = || {
            cx.cloud()
                .apigateway
                .get_authorizers()
                .rest_api_id(&self.api)
                .limit(500)
                .send()
        };
        let Some(page) = unless_gone(cx.call("apigateway:GetAuthorizers", list).await)? else {
            return Ok(None);
        };
        let ours = page
            .items()
            .iter()
            .find(|authorizer| authorizer.name() == Some(&self.name));
        Ok(ours
            .and_then(|authorizer| authorizer.id())
            .map(|id| self.output(id.into())))
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
                .authorizer_result_ttl_in_seconds(self.result_ttl_seconds)
                .customize()
                // AWS's errors show that names are unique; its documents do not say it.
                .config_override(Config::builder().retry_config(RetryConfig::disabled()))
                .send()
        };
        let authorizer = match cx.call("apigateway:CreateAuthorizer", create).await {
            Ok(authorizer) => authorizer,
            // API Gateway gives the same answer to concurrent calls and, for ever, on an API that is gone.
            Err(error) if error.class == Class::NotReady && self.api_is_gone(cx).await? => {
                return Err(
                    anyhow::Error::new(error).context(format!("REST API {} is not there any more", self.api))
                );
            }
            Err(error) => return Err(error.into()),
        };
        Ok(self.output(
            authorizer
                .id
                .context("apigateway:CreateAuthorizer answered no id")?
                .into(),
        ))
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let live = match cx.surveyed_authorizer(&self.api, &out.id).await {
            Some(surveyed) => surveyed?,
            None => self.get(cx, &out.id).await?,
        };
        let Some(live) = live else {
            return Ok(None);
        };
        Ok(Some(Self {
            api: self.api.clone(),
            name: live.name().unwrap_or_default().to_owned(),
            pool_arns: live.provider_arns().iter().cloned().collect(),
            identity_source: live.identity_source().unwrap_or_default().to_owned(),
            result_ttl_seconds: live
                .authorizer_result_ttl_in_seconds()
                .unwrap_or(DEFAULT_TTL_SECONDS),
            other_type: live
                .r#type()
                .filter(|live| **live != AuthorizerType::CognitoUserPools)
                .map(|live| live.as_str().to_owned()),
            validation: live
                .identity_validation_expression()
                .filter(|expression| !expression.is_empty())
                .map(ToOwned::to_owned),
        }))
    }

    fn output_after_update(&self, out: Output) -> Option<Output> {
        Some(self.next_output(out))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Updated<Output>> {
        let (ttl, ttl_before) = (
            self.result_ttl_seconds.to_string(),
            before.result_ttl_seconds.to_string(),
        );
        let replaced = [
            ("/name", &self.name, &before.name),
            ("/identitySource", &self.identity_source, &before.identity_source),
            ("/authorizerResultTtlInSeconds", &ttl, &ttl_before),
        ]
        .into_iter()
        .filter(|(_, after, before)| after != before)
        .map(|(path, after, _)| (Op::Replace, path, after));
        // First add, then remove: the list must never be empty.
        let added = self
            .pool_arns
            .difference(&before.pool_arns)
            .map(|arn| (Op::Add, "/providerARNs", arn));
        let removed = before
            .pool_arns
            .difference(&self.pool_arns)
            .map(|arn| (Op::Remove, "/providerARNs", arn));
        let patches: Vec<_> = replaced
            .chain(added)
            .chain(removed)
            .map(|(op, path, value)| patch(op, path, value))
            .collect();
        if patches.is_empty() {
            return Ok(self.next_output(out).into());
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
        Ok(self.next_output(out).into())
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete = || {
            cx.cloud()
                .apigateway
                .delete_authorizer()
                .rest_api_id(&self.api)
                .authorizer_id(&out.id)
                .send()
        };
        unless_gone(cx.call("apigateway:DeleteAuthorizer", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
