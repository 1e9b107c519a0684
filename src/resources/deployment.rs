//! A deployment: the snapshot of a REST API that a stage serves.
//!
//! Must not name a stage: that would create or repoint it on the side.

use std::collections::BTreeSet;

use anyhow::Context;
use aws_sdk_apigateway::config::Config;
use aws_sdk_apigateway::config::retry::RetryConfig;
use aws_sdk_apigateway::operation::get_deployment::GetDeploymentOutput;
use aws_sdk_apigateway::types::{Deployment as Live, Op, PatchOperation, Stage};
use serde::{Deserialize, Serialize};

use crate::aws::pages::Pages;
use crate::aws::wait::unless_gone;
use crate::aws::{Aws, ids};
use crate::resource::{CallError, Class, Cx, InTheWay, Resource, Result, Shape};

/// What the description of every deployment of ours begins with: anybody may make others in our API.
const OURS: &str = "provision ";
/// The description of one of ours that was found with another's.
const OUT_OF_USE: &str = "provision out of use";
/// The authorization of a method that asks for a token of a user pool.
const GUARDED: &str = "COGNITO_USER_POOLS";

/// A snapshot of the API as it is when the deployment is made. Nothing about it is unique but the id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The REST API's id.
    pub api: String,
    /// `provision ` and a hash of all that the snapshot holds: it tells this deployment from others, and when another one is due.
    pub description: String,
    /// The methods in the snapshot that ask for no token of a user pool, as `GET /user`; others' too. Wanted: none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub open_methods: BTreeSet<String>,
}

/// What API Gateway answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The deployment's id.
    pub id: String,
}

/// As far as AWS tells: a snapshot holds what cannot be seen otherwise.
fn open_methods(live: &GetDeploymentOutput) -> BTreeSet<String> {
    let methods = live.api_summary().into_iter().flatten().flat_map(|(path, verbs)| {
        verbs.iter().map(move |(verb, method)| (format!("{verb} {path}"), method.authorization_type()))
    });
    methods.filter(|(_, kind)| kind.is_some_and(|kind| kind != GUARDED)).map(|(name, _)| name).collect()
}

impl Deployment {
    /// All of the API's, others' too; none where it is gone.
    async fn list(&self, cx: &Cx<Aws>) -> Result<Vec<Live>> {
        let mut all = Vec::new();
        let mut pages = Pages::of("apigateway:GetDeployments");
        loop {
            let list = || {
                cx.cloud()
                    .apigateway
                    .get_deployments()
                    .rest_api_id(&self.api)
                    .limit(500)
                    .set_position(pages.token())
                    .send()
            };
            let Some(page) = unless_gone(cx.call("apigateway:GetDeployments", list).await)? else {
                return Ok(all);
            };
            all.extend(page.items.unwrap_or_default());
            if !pages.turn(page.position)? {
                return Ok(all);
            }
        }
    }

    /// The stages that keep API Gateway from deleting a deployment which ours does not serve any more.
    async fn foreign_stages(
        &self,
        cx: &Cx<Aws>,
        old: &Output,
        refusal: &CallError,
    ) -> Result<Vec<InTheWay>> {
        let list =
            || cx.cloud().apigateway.get_stages().rest_api_id(&self.api).deployment_id(&old.id).send();
        let stages = unless_gone(cx.call("apigateway:GetStages", list).await)?;
        let stages = stages.and_then(|answer| answer.item).unwrap_or_default();
        let serves = |stage: &&Stage| stage.deployment_id() == Some(&old.id);
        let names = stages.iter().filter(serves).filter_map(Stage::stage_name);
        let in_the_way = names.map(|stage| InTheWay {
            what: format!(
                "API Gateway does not delete deployment {} of REST API {}, which is out of use, while stage {stage}, which this \
                 stack did not make, serves it",
                old.id, self.api
            ),
            command: format!("aws apigateway delete-stage --rest-api-id {} --stage-name {stage}", self.api),
            refusal: refusal.clone(),
        });
        Ok(in_the_way.collect())
    }

    /// Makes one of ours known as such again, after another hand described it otherwise, so that it is retired.
    async fn mark(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let patch = PatchOperation::builder().op(Op::Replace).path("/description").value(OUT_OF_USE).build();
        let update = || {
            cx.cloud()
                .apigateway
                .update_deployment()
                .rest_api_id(&self.api)
                .deployment_id(&out.id)
                .patch_operations(patch.clone())
                .send()
        };
        unless_gone(cx.call("apigateway:UpdateDeployment", update).await)?;
        Ok(())
    }
}

impl Resource for Deployment {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "deployment";
    const SHAPES: &'static [(&'static str, Shape)] = &[
        ("desired.api", ids::API),
        ("output.id", ids::API),
    ];
    const FIXED: &'static [&'static str] = &["api"];
    const DIES_WITH: Option<&'static str> = Some("rest-api");
    const SHARES_NAMES: bool = true;

    fn lane(&self) -> Option<String> {
        Some(format!("rest-api {}", self.api))
    }

    fn id(&self, out: &Output) -> String {
        out.id.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let all = self.list(cx).await?;
        let ours = all
            .into_iter()
            .find(|live| live.description() == Some(&self.description));
        Ok(ours.and_then(|live| live.id).map(|id| Output { id }))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let create = || {
            cx.cloud()
                .apigateway
                .create_deployment()
                .rest_api_id(&self.api)
                .description(&self.description)
                .customize()
                .config_override(Config::builder().retry_config(RetryConfig::disabled()))
                .send()
        };
        let deployment = cx.call("apigateway:CreateDeployment", create).await?;
        Ok(Output {
            id: deployment
                .id
                .context("apigateway:CreateDeployment answered no id")?,
        })
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let get = || {
            cx.cloud()
                .apigateway
                .get_deployment()
                .rest_api_id(&self.api)
                .deployment_id(&out.id)
                .embed("apisummary")
                .send()
        };
        let Some(live) = unless_gone(cx.call("apigateway:GetDeployment", get).await)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            api: self.api.clone(),
            description: live.description().unwrap_or_default().to_owned(),
            open_methods: open_methods(&live),
        }))
    }

    /// Another one is made.
    fn output_after_update(&self, _: Output) -> Option<Output> {
        None
    }

    /// A snapshot cannot change: another one is made, and this one goes once the stage has moved on.
    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Output> {
        if !before.description.starts_with(OURS) {
            self.mark(cx, &out).await?;
        }
        // The one that is found may be the open one itself. What a killed run made beside it goes when this retires.
        let found = if before.open_methods.is_empty() { self.find(cx).await? } else { None };
        match found {
            Some(out) => Ok(out),
            None => self.create(cx).await,
        }
    }

    fn retires(&self, _: &Self) -> bool {
        true
    }

    /// Deletes all of ours but this one, so that what killed runs left goes as well.
    async fn retire(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let mut in_the_way = Vec::new();
        for live in self.list(cx).await? {
            let ours = live
                .description()
                .is_some_and(|description| description.starts_with(OURS));
            if let Some(id) = live.id.filter(|id| ours && *id != out.id) {
                let old = Output { id };
                let Err(error) = self.delete(cx, &old).await else {
                    continue;
                };
                let refusal = error.downcast_ref().filter(|error: &&CallError| error.class == Class::Refused);
                let foreign = match refusal {
                    Some(refusal) => self.foreign_stages(cx, &old, refusal).await?,
                    None => Vec::new(),
                };
                if foreign.is_empty() {
                    return Err(error.context(format!(
                        "deployment {} of REST API {}, which is out of use, stays",
                        old.id, self.api
                    )));
                }
                // The others go all the same.
                in_the_way.extend(foreign);
            }
        }
        let all = in_the_way.into_iter().reduce(|one, other| InTheWay {
            what: format!("{}; {}", one.what, other.what),
            command: format!("{} && {}", one.command, other.command),
            ..one
        });
        all.map_or(Ok(()), |foreign| Err(foreign.into()))
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete = || {
            cx.cloud()
                .apigateway
                .delete_deployment()
                .rest_api_id(&self.api)
                .deployment_id(&out.id)
                .send()
        };
        unless_gone(cx.call("apigateway:DeleteDeployment", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_apigateway::Client as Sdk;
    use aws_smithy_mocks::Rule;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::test_support::{apigateway, attempts, failed, ok, on, refused};
    use crate::resource::in_the_way;

    fn desired() -> Deployment {
        Deployment {
            api: "a1b2c3".to_owned(),
            description: "provision 2".to_owned(),
            open_methods: BTreeSet::new(),
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
        let first = json!({"item": [live("d1", "provision 1")], "position": "2"});
        let second = json!({"item": second});
        [
            on!(
                Sdk::get_deployments,
                |i| { assert_eq!(i.position(), None) },
                ok(first.clone())
            ),
            on!(
                Sdk::get_deployments,
                |i| { assert_eq!(i.position(), Some("2")) },
                ok(second.clone())
            ),
        ]
    }

    fn create() -> Rule {
        on!(
            Sdk::create_deployment,
            |i| {
                assert_eq!(
                    (i.rest_api_id(), i.description()),
                    (Some("a1b2c3"), Some("provision 2"))
                );
                assert_eq!(i.stage_name(), None);
            },
            ok(live("d2", "provision 2"))
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
        let gone = || {
            refused(
                404,
                "NotFoundException",
                "Invalid Deployment identifier specified d2",
            )
        };
        let cx = apigateway(listed(&[]).into_iter().chain([
            on!(Sdk::get_deployments, gone()),
            on!(Sdk::get_deployment, gone()),
            on!(
                Sdk::delete_deployment,
                |i| { assert_eq!((i.rest_api_id(), i.deployment_id()), (Some("a1b2c3"), Some("d2"))) },
                gone()
            ),
        ]));
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert!(
            desired().find(&cx).await.unwrap().is_none(),
            "its API is gone too"
        );
        assert_eq!(desired().read(&cx, &out("d2")).await.unwrap(), None);
        desired().delete(&cx, &out("d2")).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_found_by_its_description_on_the_second_page() {
        let cx = apigateway(listed(&[live("d0", "provision 0"), live("d2", "provision 2")]));
        assert_eq!(desired().find(&cx).await.unwrap().unwrap().id, "d2");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_created_without_touching_a_stage_and_reads_as_itself() {
        let cx = apigateway([create(), on!(Sdk::get_deployment, ok(live("d2", "provision 2")))]);
        let made = desired().create(&cx).await.unwrap();
        assert_eq!(made.id, "d2");
        assert_eq!(desired().read(&cx, &made).await.unwrap(), Some(desired()));
    }

    fn opened(methods: &[&str]) -> Deployment {
        let open_methods = methods.iter().map(|&method| method.to_owned()).collect();
        Deployment { open_methods, ..desired() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_method_of_the_snapshot_that_asks_for_no_token_is_drift() {
        let kind = |kind: &str| json!({"authorizationType": kind, "apiKeyRequired": false});
        let mut deployed = live("d2", "provision 2");
        deployed["apiSummary"] = json!({
            "/user": {"GET": kind("COGNITO_USER_POOLS"), "POST": kind("NONE")},
            "/admin": {"ANY": kind("AWS_IAM"), "GET": {"apiKeyRequired": true}},
        });
        let cx = apigateway([on!(
            Sdk::get_deployment,
            |i| { assert_eq!(i.embed(), ["apisummary"]) },
            ok(deployed.clone())
        )]);
        let read = desired().read(&cx, &out("d2")).await.unwrap();
        assert_eq!(read, Some(opened(&["ANY /admin", "POST /user"])));
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_snapshot_is_replaced_also_by_one_of_the_same_description() {
        let cx = apigateway([create()]);
        assert_eq!(desired().update(&cx, &opened(&["GET /user"]), out("d1")).await.unwrap().id, "d2");
    }

    #[test]
    fn a_record_without_open_methods_is_as_one_that_has_none() {
        let earlier = json!({"api": "a1b2c3", "description": "provision 2"});
        assert_eq!(serde_json::to_value(desired()).unwrap(), earlier);
        assert_eq!(serde_json::from_value::<Deployment>(earlier).unwrap(), desired());
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_makes_another_and_leaves_the_one_that_is_served() {
        let before = Deployment {
            description: "provision 1".to_owned(),
            ..desired()
        };
        let cx = apigateway(listed(&[]).into_iter().chain([create()]));
        assert_eq!(desired().update(&cx, &before, out("d1")).await.unwrap().id, "d2");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_another_hand_described_is_made_ours_again_before_it_is_replaced() {
        let before = Deployment {
            description: "theirs".to_owned(),
            ..desired()
        };
        let mark = on!(
            Sdk::update_deployment,
            |i| {
                let patch = PatchOperation::builder().op(Op::Replace).path("/description").value(OUT_OF_USE);
                assert_eq!((i.deployment_id(), i.patch_operations()), (Some("d1"), &[patch.build()][..]));
            },
            ok(live("d1", OUT_OF_USE))
        );
        let cx = apigateway([mark].into_iter().chain(listed(&[])).chain([create()]));
        assert_eq!(desired().update(&cx, &before, out("d1")).await.unwrap().id, "d2");
        assert!(OUT_OF_USE.starts_with(OURS), "or it would not be retired");
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_uses_what_an_interrupted_one_made() {
        let before = Deployment {
            description: "provision 1".to_owned(),
            ..desired()
        };
        let cx = apigateway(listed(&[live("d2", "provision 2")]));
        assert_eq!(desired().update(&cx, &before, out("d1")).await.unwrap().id, "d2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_create_that_may_have_been_executed_is_not_repeated() {
        for (status, code) in [(500, "InternalFailure"), (503, "ServiceUnavailableException")] {
            let create = attempts!(
                Sdk::create_deployment,
                refused(status, code, "boom"),
                ok(live("d2", "provision 2"))
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
            ok(live("d2", "provision 2"))
        );
        let cx = apigateway([create.clone()]);
        assert_eq!(desired().create(&cx).await.unwrap().id, "d2");
        assert_eq!(create.num_calls(), 2);
    }

    fn deleted(id: &'static str, answer: fn() -> HttpResponse) -> Rule {
        on!(
            Sdk::delete_deployment,
            |i| { assert_eq!((i.rest_api_id(), i.deployment_id()), (Some("a1b2c3"), Some(id))) },
            answer()
        )
    }

    #[tokio::test(start_paused = true)]
    async fn all_of_ours_but_the_one_that_is_served_retire_and_others_stay() {
        let anonymous = json!({"id": "d4", "createdDate": 1_700_000_000});
        let left = [
            live("d0", "provision 0"),
            live("d2", "provision 2"),
            live("d3", "by hand"),
            anonymous,
        ];
        let gone = || {
            refused(
                404,
                "NotFoundException",
                "Invalid Deployment identifier specified d0",
            )
        };
        let cx = apigateway(
            listed(&left)
                .into_iter()
                .chain([deleted("d1", || ok(json!({}))), deleted("d0", gone)]),
        );
        assert!(desired().retires(&desired()));
        desired().retire(&cx, &out("d2")).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_deployment_that_another_stage_serves_is_told_by_its_id() {
        let text = "Active stages pointing to this deployment must be moved or deleted";
        let stages = |stages: Value| {
            on!(
                Sdk::get_stages,
                |i| { assert_eq!((i.rest_api_id(), i.deployment_id()), (Some("a1b2c3"), Some("d1"))) },
                ok(stages.clone())
            )
        };
        let refusal = || on!(Sdk::delete_deployment, refused(400, "BadRequestException", text));
        let ours = json!({"stageName": "prod", "deploymentId": "d2"});
        let theirs = json!({"stageName": "beta", "deploymentId": "d1"});
        // The others go all the same.
        let others = [refusal(), stages(json!({"item": [ours, theirs]})), deleted("d0", || ok(json!({})))];
        let cx = apigateway(listed(&[live("d0", "provision 0")]).into_iter().chain(others));
        let error = desired().retire(&cx, &out("d2")).await.unwrap_err();
        assert_eq!(
            in_the_way(&error).expect("it is named").command,
            "aws apigateway delete-stage --rest-api-id a1b2c3 --stage-name beta"
        );
        let nobodys = apigateway(listed(&[]).into_iter().chain([refusal(), stages(json!({}))]));
        for error in [error, desired().retire(&nobodys, &out("d2")).await.unwrap_err()] {
            let (class, told) = failed::<()>(Err(error));
            assert_eq!(class, Some(Class::Refused));
            assert!(
                told.contains("deployment d1 of REST API a1b2c3") && told.contains(text),
                "{told}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_stage_that_serves_an_old_deployment_is_told() {
        let text = "Active stages pointing to this deployment must be moved or deleted";
        let refusal = || on!(Sdk::delete_deployment, refused(400, "BadRequestException", text));
        let serving = |stages: &[&str], deployment: &str| {
            let stages = stages.iter().map(|stage| json!({"stageName": stage, "deploymentId": deployment}));
            let answer = json!({"item": stages.collect::<Vec<_>>()});
            on!(Sdk::get_stages, ok(answer.clone()))
        };
        let others = [refusal(), serving(&["a", "b"], "d1"), refusal(), serving(&["c"], "d0")];
        let cx = apigateway(listed(&[live("d0", "provision 0")]).into_iter().chain(others));
        let error = desired().retire(&cx, &out("d2")).await.unwrap_err();
        let told = in_the_way(&error).unwrap();
        for (stage, deployment) in [("a", "d1"), ("b", "d1"), ("c", "d0")] {
            assert!(told.what.contains(&format!("deployment {deployment} of")), "{}", told.what);
            assert!(told.what.contains(&format!("stage {stage}, which")), "{}", told.what);
        }
        let delete = |stage| format!("aws apigateway delete-stage --rest-api-id a1b2c3 --stage-name {stage}");
        assert_eq!(told.command, [delete("a"), delete("b"), delete("c")].join(" && "));
    }

    #[tokio::test(start_paused = true)]
    async fn another_description_is_drift() {
        let cx = apigateway([on!(Sdk::get_deployment, ok(live("d2", "by hand")))]);
        let expected = Deployment {
            description: "by hand".to_owned(),
            ..desired()
        };
        assert_eq!(desired().read(&cx, &out("d2")).await.unwrap(), Some(expected));
    }

    #[test]
    fn only_aws_knows_the_id_of_the_next_one() {
        assert!(desired().output_after_update(out("d1")).is_none());
    }
}
