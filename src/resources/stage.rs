//! The stage under which a deployment is served.
//!
//! Must not decide when another deployment is due.

use aws_sdk_apigateway::types::{Op, PatchOperation};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::tags::{self, Tags};
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Resource, Result};

/// A stage. Names are unique in the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The REST API's id.
    pub api: String,
    /// 1 to 128 characters; the last part of the API's URL.
    pub name: String,
    /// The id of the deployment that it serves.
    pub deployment: String,
    /// Including the owner.
    pub tags: Tags,
}

/// Nothing that the name does not say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {}

impl Resource for Stage {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "stage";
    const FIXED: &'static [&'static str] = &["api", "name", "tags"];
    const DIES_WITH: Option<&'static str> = Some("rest-api");

    fn lane(&self) -> Option<String> {
        Some(format!("rest-api {}", self.api))
    }

    fn id(&self, _: &Output) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        Ok(self.read(cx, &Output {}).await?.map(|_| Output {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let create = || {
            cx.cloud()
                .apigateway
                .create_stage()
                .rest_api_id(&self.api)
                .stage_name(&self.name)
                .deployment_id(&self.deployment)
                .set_tags(Some(tags::map(&self.tags)))
                .send()
        };
        cx.call("apigateway:CreateStage", create).await?;
        Ok(Output {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &Output) -> Result<Option<Self>> {
        let get = || cx.cloud().apigateway.get_stage().rest_api_id(&self.api).stage_name(&self.name).send();
        let Some(live) = unless_gone(cx.call("apigateway:GetStage", get).await)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            api: self.api.clone(),
            name: self.name.clone(),
            deployment: live.deployment_id().unwrap_or_default().to_owned(),
            tags: tags::managed(&self.tags, tags::pairs(live.tags())),
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Output> {
        if self.deployment == before.deployment {
            return Ok(out);
        }
        let patch =
            PatchOperation::builder().op(Op::Replace).path("/deploymentId").value(&self.deployment).build();
        let update = || {
            cx.cloud()
                .apigateway
                .update_stage()
                .rest_api_id(&self.api)
                .stage_name(&self.name)
                .patch_operations(patch.clone())
                .send()
        };
        cx.call("apigateway:UpdateStage", update).await?;
        // Nothing serves the old one any more; a deployment cannot be deleted while a stage points at it.
        let delete = || {
            cx.cloud()
                .apigateway
                .delete_deployment()
                .rest_api_id(&self.api)
                .deployment_id(&before.deployment)
                .send()
        };
        unless_gone(cx.call("apigateway:DeleteDeployment", delete).await)?;
        Ok(out)
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        let delete = || cx.cloud().apigateway.delete_stage().rest_api_id(&self.api).stage_name(&self.name).send();
        unless_gone(cx.call("apigateway:DeleteStage", delete).await)?;
        Ok(())
    }
}
