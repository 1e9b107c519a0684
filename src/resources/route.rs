//! A method of a path, who may call it, and the function that answers it.
//!
//! Must not create a method without scopes: API Gateway would then require an ID token, which no client has.

use std::collections::BTreeSet;

use anyhow::anyhow;
use aws_sdk_apigateway::operation::get_method::GetMethodOutput;
use aws_sdk_apigateway::types::{IntegrationType, Op, PatchOperation, Resource as Path};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::aws::Aws;
use crate::aws::ids::{self, ApiId, AuthorizerId, PathId};
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Kind, Published, Resource, Result, Updated};

/// The type of a method that has a Cognito authorizer.
const AUTHORIZATION: &str = "COGNITO_USER_POOLS";

/// A method with a Cognito authorizer, and its AWS_PROXY integration. A verb is unique on its path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The REST API's id.
    pub api: ApiId,
    /// The path's id.
    pub path: PathId,
    /// Such as `GET`, or `ANY`.
    pub verb: String,
    /// The authorizer's id.
    pub authorizer: AuthorizerId,
    /// Full scopes. A token needs one of them.
    pub scopes: BTreeSet<String>,
    /// The integration's URI, which names the function.
    pub uri: String,
    /// Whether callers also need an API key, which only someone else sets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub api_key_required: bool,
}

/// What the deployment is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// SHA-256, in base64url, over the digest before and all that the route consists of. Every change makes another digest,
    /// also a change back to what was: what others did in between may have been deployed.
    pub digest: String,
}

impl Published for Output {
    fn placeholder(mark: &str) -> Self {
        Self {
            digest: mark.to_owned(),
        }
    }
}

impl Route {
    /// The output of a route that has no record. The digest is random, because no earlier one is known.
    fn first_output(&self) -> Result<Output> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
        Ok(self.next_output(&Output {
            digest: URL_SAFE_NO_PAD.encode(random),
        }))
    }

    fn next_output(&self, out: &Output) -> Output {
        let mut hash = Sha256::new_with_prefix(&out.digest);
        hash.update(serde_json::to_vec(self).expect("a route is plain JSON"));
        Output {
            digest: URL_SAFE_NO_PAD.encode(hash.finalize()),
        }
    }

    async fn get(&self, cx: &Cx<Aws>) -> Result<Option<GetMethodOutput>> {
        let get = || {
            cx.cloud()
                .apigateway
                .get_method()
                .rest_api_id(&self.api)
                .resource_id(&self.path)
                .http_method(&self.verb)
                .send()
        };
        Ok(unless_gone(cx.call("apigateway:GetMethod", get).await)?)
    }

    /// Puts the integration. That replaces an earlier one with all that others set on it.
    async fn put_integration(&self, cx: &Cx<Aws>) -> Result<()> {
        let put = || {
            cx.cloud()
                .apigateway
                .put_integration()
                .rest_api_id(&self.api)
                .resource_id(&self.path)
                .http_method(&self.verb)
                .r#type(IntegrationType::AwsProxy)
                // API Gateway always calls Lambda with POST.
                .integration_http_method("POST")
                .uri(&self.uri)
                .send()
        };
        cx.call("apigateway:PutIntegration", put).await?;
        Ok(())
    }

    async fn update_uri(&self, cx: &Cx<Aws>) -> Result<()> {
        let update = || {
            cx.cloud()
                .apigateway
                .update_integration()
                .rest_api_id(&self.api)
                .resource_id(&self.path)
                .http_method(&self.verb)
                .patch_operations(patch(Op::Replace, "/uri", &self.uri))
                .send()
        };
        cx.call("apigateway:UpdateIntegration", update).await?;
        Ok(())
    }
}

/// As `get` would answer it.
fn method(path: Path, verb: &str) -> Option<GetMethodOutput> {
    let live = path.resource_methods?.remove(verb)?;
    let method = GetMethodOutput::builder()
        .set_authorization_type(live.authorization_type)
        .set_authorizer_id(live.authorizer_id)
        .set_authorization_scopes(live.authorization_scopes)
        .set_api_key_required(live.api_key_required)
        .set_method_integration(live.method_integration);
    Some(method.build())
}

/// `None` if there is no integration, or one of another type.
fn uri(live: &GetMethodOutput) -> Option<&str> {
    live.method_integration()
        .filter(|integration| integration.r#type() == Some(&IntegrationType::AwsProxy))
        .filter(|integration| integration.http_method() == Some("POST"))
        .and_then(|integration| integration.uri())
}

fn patch(op: Op, path: &str, value: &str) -> PatchOperation {
    PatchOperation::builder().op(op).path(path).value(value).build()
}

impl Resource for Route {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static Kind = &Kind {
        shapes: &[
            ("desired.api", ids::API),
            ("desired.path", ids::API),
            ("desired.verb", ids::VERB),
            ("desired.authorizer", ids::API),
            ("desired.uri", ids::ARN),
        ],
        fixed: &["api", "path", "verb"],
        holds: Some("authorizer"),
        dies_with: Some("rest-api"),
        removed_first: true,
        ..Kind::new("route")
    };

    fn lane(&self) -> Option<String> {
        Some(format!("rest-api {}", self.api))
    }

    fn id(&self, _: &Output) -> String {
        format!("{}/{}", self.path, self.verb)
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        match self.get(cx).await? {
            Some(_) => self.first_output().map(Some),
            None => Ok(None),
        }
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let put = || {
            cx.cloud()
                .apigateway
                .put_method()
                .rest_api_id(&self.api)
                .resource_id(&self.path)
                .http_method(&self.verb)
                .authorization_type(AUTHORIZATION)
                .authorizer_id(&self.authorizer)
                .set_authorization_scopes(Some(self.scopes.iter().cloned().collect()))
                .send()
        };
        cx.call("apigateway:PutMethod", put).await?;
        self.put_integration(cx).await?;
        self.first_output()
    }

    async fn read(&self, cx: &Cx<Aws>, _: &Output) -> Result<Option<Self>> {
        let live = match cx.surveyed_path(&self.api, &self.path).await {
            Some(surveyed) => surveyed?.and_then(|path| method(path, &self.verb)),
            None => self.get(cx).await?,
        };
        let Some(live) = live else {
            return Ok(None);
        };
        // If someone opened the method to everyone, its authorizer is read as empty, which is drift.
        let guarded = live.authorization_type() == Some(AUTHORIZATION);
        Ok(Some(Self {
            api: self.api.clone(),
            path: self.path.clone(),
            verb: self.verb.clone(),
            authorizer: live
                .authorizer_id()
                .filter(|_| guarded)
                .unwrap_or_default()
                .into(),
            scopes: live.authorization_scopes().iter().cloned().collect(),
            uri: uri(&live).unwrap_or_default().to_owned(),
            api_key_required: live.api_key_required().unwrap_or_default(),
        }))
    }

    fn is_open(&self) -> bool {
        self.authorizer.as_str().is_empty()
    }

    fn output_after_update(&self, out: Output) -> Option<Output> {
        Some(self.next_output(&out))
    }

    /// Sets the authorizer before the integration, so that the function is never open.
    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Updated<Output>> {
        let mut patches = Vec::new();
        if before.authorizer.as_str().is_empty() {
            patches.push(patch(Op::Replace, "/authorizationType", AUTHORIZATION));
        }
        if self.authorizer != before.authorizer {
            patches.push(patch(Op::Replace, "/authorizerId", self.authorizer.as_str()));
        }
        // The list cannot be replaced; adding first keeps the method from ever being without a scope.
        patches.extend(
            self.scopes
                .difference(&before.scopes)
                .map(|s| patch(Op::Add, "/authorizationScopes", s)),
        );
        patches.extend(
            before
                .scopes
                .difference(&self.scopes)
                .map(|s| patch(Op::Remove, "/authorizationScopes", s)),
        );
        if self.api_key_required != before.api_key_required {
            patches.push(patch(
                Op::Replace,
                "/apiKeyRequired",
                &self.api_key_required.to_string(),
            ));
        }
        if !patches.is_empty() {
            let update = || {
                cx.cloud()
                    .apigateway
                    .update_method()
                    .rest_api_id(&self.api)
                    .resource_id(&self.path)
                    .http_method(&self.verb)
                    .set_patch_operations(Some(patches.clone()))
                    .send()
            };
            cx.call("apigateway:UpdateMethod", update).await?;
        }
        if self.uri != before.uri {
            if before.uri.is_empty() {
                self.put_integration(cx).await?;
            } else {
                self.update_uri(cx).await?;
            }
        }
        Ok(self.next_output(&out).into())
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        let delete = || {
            cx.cloud()
                .apigateway
                .delete_method()
                .rest_api_id(&self.api)
                .resource_id(&self.path)
                .http_method(&self.verb)
                .send()
        };
        unless_gone(cx.call("apigateway:DeleteMethod", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
