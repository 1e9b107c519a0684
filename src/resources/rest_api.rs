//! The API Gateway REST API that authorizer, paths, routes and stage belong to.
//!
//! Must not create what is in it.

use anyhow::Context;
use aws_sdk_apigateway::config::Config;
use aws_sdk_apigateway::config::retry::RetryConfig;
use aws_sdk_apigateway::types::{EndpointAccessMode, EndpointConfiguration, EndpointType, SecurityPolicy};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::aws::Aws;
use crate::aws::ids::{self, ApiId, PathId};
use crate::aws::pages::Pages;
use crate::aws::patches::{is_enhanced, replace, security_policy};
use crate::aws::tags::{self, Tags};
use crate::aws::wait::unless_gone;
use crate::resource::{Class, Cx, InTheWay, Kind, Published, Resource, Result, Updated};

/// A REST API with a Regional endpoint. Its name is not unique; the owner in its tags tells it from others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestApi {
    /// For people.
    pub name: String,
    /// For people; AWS refuses an empty one.
    pub description: String,
    /// `REGIONAL`. AWS's own default is `EDGE`.
    pub endpoint: String,
    /// Whether it no longer answers at AWS's own host name.
    pub default_endpoint_closed: bool,
    /// The policy of the TLS handshake, also at domains that lead to it, if it is one of the newer ones. Empty: AWS's default.
    pub security_policy: String,
    /// The stack's tags, including the owner.
    pub tags: Tags,
}

/// What dependents and calls need of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The API's id, the first label of its host name.
    pub id: ApiId,
    /// The id of the path `/`.
    pub root: PathId,
    /// Empty until something was changed that takes effect only with the next deployment. From then on every change makes another
    /// one: SHA-256, in base64url, over the one before and the API.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
}

impl Published for Output {
    fn placeholder(mark: &str) -> Self {
        Self {
            id: mark.into(),
            root: mark.into(),
            revision: mark.to_owned(),
        }
    }
}

/// A policy that AWS chose by itself is read as none.
fn normal(policy: Option<&SecurityPolicy>) -> String {
    let policy = policy.map(SecurityPolicy::as_str);
    policy
        .filter(|policy| is_enhanced(policy))
        .unwrap_or_default()
        .to_owned()
}

impl RestApi {
    /// Whether it has a setting that takes effect only with the next deployment.
    fn is_special(&self) -> bool {
        self.default_endpoint_closed || !self.security_policy.is_empty()
    }

    fn next_output(&self, out: Output, is_special: bool) -> Output {
        if !is_special && out.revision.is_empty() {
            return out;
        }
        let mut hash = Sha256::new_with_prefix(&out.revision);
        hash.update(serde_json::to_vec(self).expect("an API is plain JSON"));
        Output {
            revision: URL_SAFE_NO_PAD.encode(hash.finalize()),
            ..out
        }
    }
}

impl Resource for RestApi {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static Kind = &Kind {
        shapes: &[("output.id", ids::API), ("output.root", ids::API)],
        loses: Some("its URL"),
        shares_names: true,
        ..Kind::new("rest-api")
    };

    fn id(&self, out: &Output) -> String {
        out.id.to_string()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let mut pages = Pages::of("apigateway:GetRestApis");
        loop {
            let list = || {
                cx.cloud()
                    .apigateway
                    .get_rest_apis()
                    .limit(500)
                    .set_position(pages.token())
                    .send()
            };
            let page = cx.call("apigateway:GetRestApis", list).await?;
            for api in page.items() {
                if api.name() == Some(&self.name) && tags::are_ours(&self.tags, tags::pairs(api.tags())) {
                    let id = api
                        .id()
                        .context("apigateway:GetRestApis answered an API without an id")?;
                    let root = api
                        .root_resource_id()
                        .context("the REST API has no root resource")?;
                    return Ok(Some(Output {
                        id: id.into(),
                        root: root.into(),
                        revision: String::new(),
                    }));
                }
            }
            if !pages.turn(page.position)? {
                return Ok(None);
            }
        }
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let endpoint = EndpointConfiguration::builder()
            .types(EndpointType::from(self.endpoint.as_str()))
            .build();
        let policy = Some(&self.security_policy).filter(|policy| !policy.is_empty());
        let create = || {
            cx.cloud()
                .apigateway
                .create_rest_api()
                .name(&self.name)
                .description(&self.description)
                .endpoint_configuration(endpoint.clone())
                .set_disable_execute_api_endpoint(self.default_endpoint_closed.then_some(true))
                .set_security_policy(policy.map(|policy| policy.as_str().into()))
                .set_endpoint_access_mode(policy.map(|_| EndpointAccessMode::Basic))
                .set_tags(Some(tags::map(&self.tags)))
                .customize()
                .config_override(Config::builder().retry_config(RetryConfig::disabled()))
                .send()
        };
        let api = cx.call("apigateway:CreateRestApi", create).await?;
        Ok(Output {
            id: api.id.context("apigateway:CreateRestApi answered no id")?.into(),
            root: api
                .root_resource_id
                .context("apigateway:CreateRestApi answered no root resource")?
                .into(),
            revision: String::new(),
        })
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let get = || cx.cloud().apigateway.get_rest_api().rest_api_id(&out.id).send();
        let Some(api) = unless_gone(cx.call("apigateway:GetRestApi", get).await)? else {
            return Ok(None);
        };
        tags::check(&self.tags, tags::pairs(api.tags()), || {
            format!("REST API {}", out.id)
        })?;
        let endpoint = api
            .endpoint_configuration()
            .and_then(|endpoint| endpoint.types().first());
        Ok(Some(Self {
            name: api.name().unwrap_or_default().to_owned(),
            description: api.description().unwrap_or_default().to_owned(),
            endpoint: endpoint.map_or("EDGE", EndpointType::as_str).to_owned(),
            default_endpoint_closed: api.disable_execute_api_endpoint(),
            security_policy: normal(api.security_policy()),
            tags: tags::managed(&self.tags, tags::pairs(api.tags())),
        }))
    }

    fn output_after_update(&self, out: Output) -> Option<Output> {
        Some(self.next_output(out, self.is_special()))
    }

    /// Each update of an API that is or was special counts, also one that finds nothing to do: an interrupted one may have done it.
    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Updated<Output>> {
        let mut patches: Vec<_> = [
            ("/name", &self.name, &before.name),
            ("/description", &self.description, &before.description),
            ("/endpointConfiguration/types/0", &self.endpoint, &before.endpoint),
        ]
        .into_iter()
        .filter(|(_, after, before)| after != before)
        .map(|(path, after, _)| replace(path, after))
        .collect();
        if self.default_endpoint_closed != before.default_endpoint_closed {
            let closed = self.default_endpoint_closed.to_string();
            patches.push(replace("/disableExecuteApiEndpoint", &closed));
        }
        let or_default = |policy: &str| if policy.is_empty() { "TLS_1_0" } else { policy }.to_owned();
        patches.extend(security_policy(
            &or_default(&before.security_policy),
            &or_default(&self.security_policy),
        ));
        if !patches.is_empty() {
            let update = || {
                cx.cloud()
                    .apigateway
                    .update_rest_api()
                    .rest_api_id(&out.id)
                    .set_patch_operations(Some(patches.clone()))
                    .send()
            };
            cx.call("apigateway:UpdateRestApi", update).await?;
        }
        tags::change_in_apigateway(cx, &format!("/restapis/{}", out.id), &before.tags, &self.tags).await?;
        let is_special = self.is_special() || before.is_special();
        Ok(self.next_output(out, is_special).into())
    }

    async fn check_owner(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        self.read(cx, out).await.map(drop)
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete = || {
            cx.cloud()
                .apigateway
                .delete_rest_api()
                .rest_api_id(&out.id)
                .send()
        };
        match unless_gone(cx.call("apigateway:DeleteRestApi", delete).await) {
            Ok(_) => Ok(()),
            // AWS names the domains in its message.
            Err(refusal) if refusal.class == Class::Refused && refusal.message.contains("base path mapping") => {
                Err(InTheWay {
                    what: format!(
                        "API Gateway does not delete REST API {} while custom domains, which this stack did not make, point to it",
                        out.id
                    ),
                    command: "aws apigateway delete-base-path-mapping --domain-name DOMAIN --base-path PATH".to_owned(),
                    refusal,
                }
                .into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
