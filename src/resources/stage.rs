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
    /// The limits of all its methods together.
    pub throttle: Throttle,
    /// Including the owner.
    pub tags: Tags,
}

/// Limits on requests; `None`: the account's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Throttle {
    /// Requests a second, over time.
    pub rate: Option<f64>,
    /// Requests at once.
    pub burst: Option<i32>,
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
            throttle: Throttle::default(),
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

#[cfg(test)]
mod tests {
    use aws_sdk_apigateway::Client as Sdk;
    use aws_smithy_mocks::Rule;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{apigateway, failed, ok, on, our_tags, our_tags_and_more, refused};
    use crate::resource::Class;

    fn with(deployment: &str) -> Stage {
        Stage {
            api: "a1b2c3".to_owned(),
            name: "dev".to_owned(),
            deployment: deployment.to_owned(),
            tags: our_tags(),
        }
    }

    fn live(deployment: &str) -> HttpResponse {
        ok(json!({
            "stageName": "dev", "deploymentId": deployment, "tags": our_tags_and_more(), "cacheClusterEnabled": false,
            "cacheClusterStatus": "NOT_AVAILABLE", "methodSettings": {}, "tracingEnabled": false,
        }))
    }

    fn repointed() -> Rule {
        on!(
            Sdk::update_stage,
            |i| {
                assert_eq!(i.stage_name(), Some("dev"));
                let [patch] = i.patch_operations() else {
                    panic!("one patch, not {:?}", i.patch_operations());
                };
                assert_eq!(patch.op(), Some(&Op::Replace));
                assert_eq!((patch.path(), patch.value()), (Some("/deploymentId"), Some("d2")));
            },
            live("d2")
        )
    }

    fn old_deleted(answer: fn() -> HttpResponse) -> Rule {
        on!(
            Sdk::delete_deployment,
            |i| { assert_eq!(i.deployment_id(), Some("d1")) },
            answer()
        )
    }

    fn gone() -> HttpResponse {
        refused(404, "NotFoundException", "Invalid stage identifier specified")
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
        let cx = apigateway([
            on!(Sdk::get_stage, gone()),
            on!(Sdk::get_stage, gone()),
            on!(Sdk::delete_stage, |i| { assert_eq!((i.rest_api_id(), i.stage_name()), (Some("a1b2c3"), Some("dev"))) }, gone()),
        ]);
        assert!(with("d1").find(&cx).await.unwrap().is_none());
        assert_eq!(with("d1").read(&cx, &Output {}).await.unwrap(), None);
        with("d1").delete(&cx, &Output {}).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_found_and_what_aws_answers_is_no_drift() {
        let cx = apigateway([on!(Sdk::get_stage, live("d1")), on!(Sdk::get_stage, live("d1"))]);
        assert!(with("d1").find(&cx).await.unwrap().is_some());
        assert_eq!(with("d1").read(&cx, &Output {}).await.unwrap(), Some(with("d1")));
    }

    #[tokio::test(start_paused = true)]
    async fn another_deployment_is_drift() {
        let cx = apigateway([on!(Sdk::get_stage, live("d9"))]);
        assert_eq!(with("d1").read(&cx, &Output {}).await.unwrap(), Some(with("d9")));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_created_with_its_owner_once_the_deployment_is_visible() {
        let cx = apigateway([
            on!(Sdk::create_stage, refused(404, "NotFoundException", "Invalid Deployment identifier specified")),
            on!(
                Sdk::create_stage,
                |i| {
                    assert_eq!((i.stage_name(), i.deployment_id()), (Some("dev"), Some("d1")));
                    assert_eq!(i.tags(), Some(&tags::map(&our_tags())));
                },
                live("d1")
            ),
        ]);
        with("d1").create(&cx).await.unwrap();
        assert_eq!(cx.waits().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_taken_name_is_told_as_taken() {
        let cx = apigateway([on!(
            Sdk::create_stage,
            refused(409, "ConflictException", "Stage already exists")
        )]);
        assert_eq!(failed(with("d1").create(&cx).await).0, Some(Class::Taken));
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_moves_on_and_only_then_deletes_the_old_deployment() {
        let cx = apigateway([repointed(), old_deleted(|| ok(json!({})))]);
        with("d2").update(&cx, &with("d1"), Output {}).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeated_update_finds_the_old_deployment_gone_and_is_done() {
        let cx = apigateway([repointed(), old_deleted(gone)]);
        with("d2").update(&cx, &with("d1"), Output {}).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_that_changes_nothing_calls_nobody() {
        let cx = apigateway([]);
        with("d1").update(&cx, &with("d1"), Output {}).await.unwrap();
    }
}
