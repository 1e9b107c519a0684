//! The API Gateway REST API that authorizer, paths, routes and stage belong to.
//!
//! Must not create what is in it.

use anyhow::Context;
use aws_sdk_apigateway::config::Config;
use aws_sdk_apigateway::config::retry::RetryConfig;
use aws_sdk_apigateway::types::{EndpointConfiguration, EndpointType};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::ids::{self, ApiId, PathId};
use crate::aws::pages::Pages;
use crate::aws::patches::replace;
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
}

impl Published for Output {
    fn placeholder(mark: &str) -> Self {
        Self {
            id: mark.into(),
            root: mark.into(),
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
        let create = || {
            cx.cloud()
                .apigateway
                .create_rest_api()
                .name(&self.name)
                .description(&self.description)
                .endpoint_configuration(endpoint.clone())
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
            tags: tags::managed(&self.tags, tags::pairs(api.tags())),
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Updated<Output>> {
        let patches: Vec<_> = [
            ("/name", &self.name, &before.name),
            ("/description", &self.description, &before.description),
            ("/endpointConfiguration/types/0", &self.endpoint, &before.endpoint),
        ]
        .into_iter()
        .filter(|(_, after, before)| after != before)
        .map(|(path, after, _)| replace(path, after))
        .collect();
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
        Ok(out.into())
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
