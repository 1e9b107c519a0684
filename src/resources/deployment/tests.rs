use aws_sdk_apigateway::Client as Sdk;
use aws_smithy_mocks::Rule;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};

use super::*;
use crate::aws::test_support::{apigateway, attempts, failed, ok, on, refused};
use crate::resource::in_the_way;

fn desired() -> Deployment {
    Deployment {
        api: "a1b2c3".into(),
        description: "provision 2".to_owned(),
        open_methods: BTreeSet::new(),
    }
}

fn out(id: &str) -> Output {
    Output { id: id.into() }
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
    Deployment {
        open_methods,
        ..desired()
    }
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
    assert_eq!(
        desired()
            .update(&cx, &opened(&["GET /user"]), out("d1"))
            .await
            .unwrap()
            .output
            .id,
        "d2"
    );
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
    let updated = desired().update(&cx, &before, out("d1")).await.unwrap();
    assert_eq!((updated.output.id.as_str(), updated.retires), ("d2", true));
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
            let patch = replace("/description", OUT_OF_USE);
            assert_eq!(
                (i.deployment_id(), i.patch_operations()),
                (Some("d1"), &[patch][..])
            );
        },
        ok(live("d1", OUT_OF_USE))
    );
    let cx = apigateway([mark].into_iter().chain(listed(&[])).chain([create()]));
    let updated = desired().update(&cx, &before, out("d1")).await.unwrap();
    assert_eq!((updated.output.id.as_str(), updated.retires), ("d2", true));
    assert!(OUT_OF_USE.starts_with(OURS), "or it would not be retired");
}

#[tokio::test(start_paused = true)]
async fn an_update_uses_what_an_interrupted_one_made() {
    let before = Deployment {
        description: "provision 1".to_owned(),
        ..desired()
    };
    let cx = apigateway(listed(&[live("d2", "provision 2")]));
    let updated = desired().update(&cx, &before, out("d1")).await.unwrap();
    assert_eq!((updated.output.id.as_str(), updated.retires), ("d2", true));
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
    let others = [
        refusal(),
        stages(json!({"item": [ours, theirs]})),
        deleted("d0", || ok(json!({}))),
    ];
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
        let stages = stages
            .iter()
            .map(|stage| json!({"stageName": stage, "deploymentId": deployment}));
        let answer = json!({"item": stages.collect::<Vec<_>>()});
        on!(Sdk::get_stages, ok(answer.clone()))
    };
    let others = [
        refusal(),
        serving(&["a", "b"], "d1"),
        refusal(),
        serving(&["c"], "d0"),
    ];
    let cx = apigateway(listed(&[live("d0", "provision 0")]).into_iter().chain(others));
    let error = desired().retire(&cx, &out("d2")).await.unwrap_err();
    let told = in_the_way(&error).unwrap();
    for (stage, deployment) in [("a", "d1"), ("b", "d1"), ("c", "d0")] {
        assert!(
            told.what.contains(&format!("deployment {deployment} of")),
            "{}",
            told.what
        );
        assert!(
            told.what.contains(&format!("stage {stage}, which")),
            "{}",
            told.what
        );
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
