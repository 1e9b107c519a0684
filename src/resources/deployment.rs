//! A deployment: the snapshot of a REST API that a stage serves.
//!
//! Must not name a stage: that would create or repoint it on the side.

use anyhow::Context;
use aws_sdk_apigateway::config::Config;
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::clients::OnlyThrottles;
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Resource, Result};

/// A snapshot of the API as it is when the deployment is made. Nothing about it is unique but the id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// The REST API's id.
    pub api: String,
    /// A hash of all that the snapshot holds: it tells this deployment from others, and when another one is due.
    pub description: String,
}

/// What API Gateway answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {
    /// The deployment's id.
    pub id: String,
}

impl Resource for Deployment {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "deployment";
    const FIXED: &'static [&'static str] = &["api"];
    const DIES_WITH: Option<&'static str> = Some("rest-api");

    fn lane(&self) -> Option<String> {
        Some(format!("rest-api {}", self.api))
    }

    fn id(&self, out: &Output) -> String {
        out.id.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let mut position = None;
        loop {
            let list = || {
                cx.cloud()
                    .apigateway
                    .get_deployments()
                    .rest_api_id(&self.api)
                    .limit(500)
                    .set_position(position.clone())
                    .send()
            };
            let Some(page) = unless_gone(cx.call("apigateway:GetDeployments", list).await)? else {
                return Ok(None);
            };
            let ours =
                page.items().iter().find(|deployment| deployment.description() == Some(&self.description));
            if let Some(id) = ours.and_then(|deployment| deployment.id()) {
                return Ok(Some(Output { id: id.to_owned() }));
            }
            position = page.position;
            if position.is_none() {
                return Ok(None);
            }
        }
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let create = || {
            cx.cloud()
                .apigateway
                .create_deployment()
                .rest_api_id(&self.api)
                .description(&self.description)
                .customize()
                .config_override(Config::builder().retry_classifier(OnlyThrottles))
                .send()
        };
        let deployment = cx.call("apigateway:CreateDeployment", create).await?;
        Ok(Output {
            id: deployment.id.context("apigateway:CreateDeployment answered no id")?,
        })
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let get =
            || cx.cloud().apigateway.get_deployment().rest_api_id(&self.api).deployment_id(&out.id).send();
        let Some(live) = unless_gone(cx.call("apigateway:GetDeployment", get).await)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            api: self.api.clone(),
            description: live.description().unwrap_or_default().to_owned(),
        }))
    }

    /// A snapshot cannot change: another one is made, and the stage deletes this one once it has moved on.
    async fn update(&self, cx: &Cx<Aws>, _: &Self, _: Output) -> Result<Output> {
        match self.find(cx).await? {
            Some(out) => Ok(out),
            None => self.create(cx).await,
        }
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete =
            || cx.cloud().apigateway.delete_deployment().rest_api_id(&self.api).deployment_id(&out.id).send();
        unless_gone(cx.call("apigateway:DeleteDeployment", delete).await)?;
        Ok(())
    }
}
