//! A method of a path, who may call it, and the function or the URL that answers it.
//!
//! Must not create a method without scopes: API Gateway would then require an ID token, which no client has.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use aws_sdk_apigateway::operation::get_method::GetMethodOutput;
use aws_sdk_apigateway::types::{
    ConnectionType, Integration, IntegrationType, Op, PatchOperation, Resource as Path, TlsConfig,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::aws::Aws;
use crate::aws::ids::{self, ApiId, AuthorizerId, PathId};
use crate::aws::patches::{patch, replace};
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Kind, Published, Resource, Result, Updated};

/// The type of a method that has a Cognito authorizer.
const AUTHORIZATION: &str = "COGNITO_USER_POOLS";

/// What API Gateway takes where no time is sent, in milliseconds.
const DEFAULT_TIMEOUT: i32 = 29_000;

/// A method with a Cognito authorizer, and its integration. A verb is unique on its path.
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
    /// The type of the integration: `AWS_PROXY` for a function, `HTTP_PROXY` for a URL.
    pub integration: String,
    /// The integration's URI: it names the function, or it is the URL, in which `{name}` is a parameter of the integration.
    pub uri: String,
    /// The verb that the function or the URL is called with; `ANY` is that of the caller.
    pub integration_verb: String,
    /// The parameters of the method that `mappings` may name, and whether they are required.
    pub request_parameters: BTreeMap<String, bool>,
    /// What the integration's request has, and where that comes from: `integration.request.path.id` and
    /// `method.request.path.id`.
    pub mappings: BTreeMap<String, String>,
    /// How long API Gateway waits for the answer.
    pub timeout_millis: i32,
    /// The id of the VPC link that leads to the URL. Empty: API Gateway calls it over the internet.
    pub vpc_link: String,
    /// The ARN of what a VPC link V2 leads to. Empty: nothing, or that of a VPC link V1.
    pub target: String,
    /// Whether any certificate of the URL is accepted, which only someone else sets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_tls: bool,
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
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let link = some(&self.vpc_link);
        let mappings = (self.mappings.iter()).map(|(to, from)| (to.clone(), from.clone()));
        let put = || {
            cx.cloud()
                .apigateway
                .put_integration()
                .rest_api_id(&self.api)
                .resource_id(&self.path)
                .http_method(&self.verb)
                .r#type(self.integration.as_str().into())
                .integration_http_method(&self.integration_verb)
                .uri(&self.uri)
                .set_request_parameters((!self.mappings.is_empty()).then(|| mappings.clone().collect()))
                .set_timeout_in_millis(
                    (self.timeout_millis != DEFAULT_TIMEOUT).then_some(self.timeout_millis),
                )
                .set_connection_type(link.as_ref().map(|_| ConnectionType::VpcLink))
                .set_connection_id(link.clone())
                .set_integration_target(some(&self.target))
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
                .patch_operations(replace("/uri", &self.uri))
                .send()
        };
        cx.call("apigateway:UpdateIntegration", update).await?;
        Ok(())
    }

    async fn update_method(&self, cx: &Cx<Aws>, patches: Vec<PatchOperation>) -> Result<()> {
        if patches.is_empty() {
            return Ok(());
        }
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
        Ok(())
    }

    /// What the integration consists of beside its URI.
    fn beside_uri(&self) -> impl PartialEq + '_ {
        (
            (
                &self.integration,
                &self.integration_verb,
                &self.mappings,
                self.timeout_millis,
            ),
            (&self.vpc_link, &self.target, self.insecure_tls),
        )
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
        .set_request_parameters(live.request_parameters)
        .set_method_integration(live.method_integration);
    Some(method.build())
}

/// The path of a declared parameter in a patch of the method.
fn parameter(name: &str) -> String {
    format!("/requestParameters/{name}")
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
            ("desired.uri", ids::INTEGRATION_URI),
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
        let parameters = (self.request_parameters.iter()).map(|(name, required)| (name.clone(), *required));
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
                .set_request_parameters(
                    (!self.request_parameters.is_empty()).then(|| parameters.clone().collect()),
                )
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
        // An interrupted creation may have left a method without an integration.
        let integration = live
            .method_integration
            .clone()
            .unwrap_or_else(|| Integration::builder().build());
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        // An imported integration has no connection type, which means the internet.
        let is_linked = integration.connection_type() == Some(&ConnectionType::VpcLink);
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
            integration: text(integration.r#type().map(IntegrationType::as_str)),
            uri: text(integration.uri()),
            integration_verb: text(integration.http_method()),
            request_parameters: (live.request_parameters().into_iter().flatten())
                .map(|(name, required)| (name.clone(), *required))
                .collect(),
            mappings: (integration.request_parameters().into_iter().flatten())
                .map(|(to, from)| (to.clone(), from.clone()))
                .collect(),
            timeout_millis: match integration.timeout_in_millis() {
                0 => DEFAULT_TIMEOUT,
                millis => millis,
            },
            vpc_link: text(integration.connection_id().filter(|_| is_linked)),
            target: text(integration.integration_target()),
            insecure_tls: (integration.tls_config()).is_some_and(TlsConfig::insecure_skip_verification),
            api_key_required: live.api_key_required().unwrap_or_default(),
        }))
    }

    fn is_open(&self) -> bool {
        self.authorizer.as_str().is_empty()
    }

    fn output_after_update(&self, out: Output) -> Option<Output> {
        Some(self.next_output(&out))
    }

    /// Sets the authorizer before the integration, so that the function is never open. A mapping names declared parameters
    /// only, so those are declared before the integration is put, and taken away after it.
    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Updated<Output>> {
        let mut patches = Vec::new();
        if before.authorizer.as_str().is_empty() {
            patches.push(replace("/authorizationType", AUTHORIZATION));
        }
        if self.authorizer != before.authorizer {
            patches.push(replace("/authorizerId", self.authorizer.as_str()));
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
            patches.push(replace("/apiKeyRequired", &self.api_key_required.to_string()));
        }
        let declared = self.request_parameters.iter().filter_map(|(name, required)| {
            let op = match before.request_parameters.get(name) {
                Some(is) if is == required => return None,
                Some(_) => Op::Replace,
                None => Op::Add,
            };
            Some(patch(op, &parameter(name), &required.to_string()))
        });
        patches.extend(declared);
        self.update_method(cx, patches).await?;
        if self.beside_uri() != before.beside_uri() || (self.uri != before.uri && before.uri.is_empty()) {
            self.put_integration(cx).await?;
        } else if self.uri != before.uri {
            self.update_uri(cx).await?;
        }
        let undeclared = (before.request_parameters.keys())
            .filter(|name| !self.request_parameters.contains_key(*name))
            .map(|name| {
                PatchOperation::builder()
                    .op(Op::Remove)
                    .path(parameter(name))
                    .build()
            });
        self.update_method(cx, undeclared.collect()).await?;
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
