//! The API Gateway REST API that everything under it hangs on.
//!
//! Must not make what is under it.

use anyhow::Context;
use aws_sdk_apigateway::config::Config;
use aws_sdk_apigateway::types::{EndpointConfiguration, EndpointType};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::clients::OnlyThrottles;
use crate::aws::tags::{self, Tags};
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Resource, Result};

/// A REST API with a Regional endpoint. Its name is not unique; the owner in its tags tells it from others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestApi {
    /// For people.
    pub name: String,
    /// For people; AWS refuses an empty one.
    pub description: String,
    /// `REGIONAL`. AWS's own default is `EDGE`.
    pub endpoint: String,
    /// Including the owner.
    pub tags: Tags,
}

/// What API Gateway answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {
    /// The API's id, the first label of its host name.
    pub id: String,
    /// The id of the path `/`.
    pub root: String,
}

impl Resource for RestApi {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "rest-api";
    const FIXED: &'static [&'static str] = &["name", "description", "endpoint", "tags"];

    fn id(&self, out: &Output) -> String {
        out.id.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let mut position = None;
        loop {
            let list = || {
                cx.cloud().apigateway.get_rest_apis().limit(500).set_position(position.clone()).send()
            };
            let page = cx.call("apigateway:GetRestApis", list).await?;
            for api in page.items() {
                if api.name() == Some(&self.name) && tags::are_ours(&self.tags, tags::pairs(api.tags())) {
                    let id = api.id().context("apigateway:GetRestApis answered an API without an id")?;
                    let root = api.root_resource_id().context("the REST API has no root resource")?;
                    return Ok(Some(Output {
                        id: id.to_owned(),
                        root: root.to_owned(),
                    }));
                }
            }
            position = page.position;
            if position.is_none() {
                return Ok(None);
            }
        }
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let endpoint =
            EndpointConfiguration::builder().types(EndpointType::from(self.endpoint.as_str())).build();
        let create = || {
            cx.cloud()
                .apigateway
                .create_rest_api()
                .name(&self.name)
                .description(&self.description)
                .endpoint_configuration(endpoint.clone())
                .set_tags(Some(tags::map(&self.tags)))
                .customize()
                .config_override(Config::builder().retry_classifier(OnlyThrottles))
                .send()
        };
        let api = cx.call("apigateway:CreateRestApi", create).await?;
        Ok(Output {
            id: api.id.context("apigateway:CreateRestApi answered no id")?,
            root: api.root_resource_id.context("apigateway:CreateRestApi answered no root resource")?,
        })
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let get = || cx.cloud().apigateway.get_rest_api().rest_api_id(&out.id).send();
        let Some(api) = unless_gone(cx.call("apigateway:GetRestApi", get).await)? else {
            return Ok(None);
        };
        let endpoint = api.endpoint_configuration().and_then(|endpoint| endpoint.types().first());
        Ok(Some(Self {
            name: api.name().unwrap_or_default().to_owned(),
            description: api.description().unwrap_or_default().to_owned(),
            endpoint: endpoint.map_or("EDGE", EndpointType::as_str).to_owned(),
            tags: tags::managed(&self.tags, tags::pairs(api.tags())),
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete = || cx.cloud().apigateway.delete_rest_api().rest_api_id(&out.id).send();
        unless_gone(cx.call("apigateway:DeleteRestApi", delete).await)?;
        Ok(())
    }
}
