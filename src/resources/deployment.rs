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

#[cfg(test)]
mod tests {
    use aws_sdk_apigateway::Client as Sdk;
    use aws_smithy_mocks::Rule;
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::test_support::{apigateway, attempts, failed, ok, on, refused};
    use crate::resource::Class;

    fn desired() -> Deployment {
        Deployment {
            api: "a1b2c3".to_owned(),
            description: "hash-2".to_owned(),
        }
    }

    fn out(id: &str) -> Output {
        Output { id: id.to_owned() }
    }

    fn live(id: &str, description: &str) -> Value {
        json!({"id": id, "description": description, "createdDate": 1_700_000_000})
    }

    /// Two pages, the second with these.
    fn listed(second: &[Value]) -> [Rule; 2] {
        let first = json!({"item": [live("d1", "hash-1")], "position": "2"});
        let second = json!({"item": second});
        [
            on!(Sdk::get_deployments, |i| { assert_eq!(i.position(), None) }, ok(first.clone())),
            on!(Sdk::get_deployments, |i| { assert_eq!(i.position(), Some("2")) }, ok(second.clone())),
        ]
    }

    fn create() -> Rule {
        on!(
            Sdk::create_deployment,
            |i| {
                assert_eq!((i.rest_api_id(), i.description()), (Some("a1b2c3"), Some("hash-2")));
                assert_eq!(i.stage_name(), None);
            },
            ok(live("d2", "hash-2"))
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
        let gone = || refused(404, "NotFoundException", "Invalid Deployment identifier specified d2");
        let cx = apigateway(listed(&[]).into_iter().chain([
            on!(Sdk::get_deployments, gone()),
            on!(Sdk::get_deployment, gone()),
            on!(Sdk::delete_deployment, |i| { assert_eq!((i.rest_api_id(), i.deployment_id()), (Some("a1b2c3"), Some("d2"))) }, gone()),
        ]));
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert!(desired().find(&cx).await.unwrap().is_none(), "its API is gone too");
        assert_eq!(desired().read(&cx, &out("d2")).await.unwrap(), None);
        desired().delete(&cx, &out("d2")).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_found_by_its_description_on_the_second_page() {
        let cx = apigateway(listed(&[live("d0", "hash-0"), live("d2", "hash-2")]));
        assert_eq!(desired().find(&cx).await.unwrap().unwrap().id, "d2");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_created_without_touching_a_stage_and_reads_as_itself() {
        let cx = apigateway([create(), on!(Sdk::get_deployment, ok(live("d2", "hash-2")))]);
        let made = desired().create(&cx).await.unwrap();
        assert_eq!(made.id, "d2");
        assert_eq!(desired().read(&cx, &made).await.unwrap(), Some(desired()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_makes_another_and_leaves_the_one_that_is_served() {
        let before = Deployment {
            description: "hash-1".to_owned(),
            ..desired()
        };
        let cx = apigateway(listed(&[]).into_iter().chain([create()]));
        assert_eq!(desired().update(&cx, &before, out("d1")).await.unwrap().id, "d2");
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_uses_what_an_interrupted_one_made() {
        let before = Deployment {
            description: "hash-1".to_owned(),
            ..desired()
        };
        let cx = apigateway(listed(&[live("d2", "hash-2")]));
        assert_eq!(desired().update(&cx, &before, out("d1")).await.unwrap().id, "d2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_create_that_may_have_been_executed_is_not_repeated() {
        for (status, code) in [(500, "InternalFailure"), (503, "ServiceUnavailableException")] {
            let create = attempts!(
                Sdk::create_deployment,
                refused(status, code, "boom"),
                ok(live("d2", "hash-2"))
            );
            let cx = apigateway([create.clone()]);
            let (class, text) = failed(desired().create(&cx).await);
            assert_eq!((class, create.num_calls()), (Some(Class::Ambiguous), 1), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_create_is_repeated() {
        let create = attempts!(
            Sdk::create_deployment,
            refused(429, "TooManyRequestsException", "Rate exceeded"),
            ok(live("d2", "hash-2"))
        );
        let cx = apigateway([create.clone()]);
        assert_eq!(desired().create(&cx).await.unwrap().id, "d2");
        assert_eq!(create.num_calls(), 2);
    }
}
