use std::collections::HashMap;

use aws_sdk_apigateway::Client as Sdk;
use aws_smithy_mocks::Rule;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};

use super::*;
use crate::aws::test_support::{apigateway, failed, ok, on, our_tags, our_tags_and_more, refused};
use crate::resource::{Class, is_stranger};

fn with(deployment: &str) -> Stage {
    Stage {
        api: "a1b2c3".into(),
        name: "dev".to_owned(),
        deployment: deployment.into(),
        throttle: Throttle::default(),
        access_log_destination: String::new(),
        access_log_format: String::new(),
        metrics: false,
        tracing: false,
        tags: our_tags(),
    }
}

fn limited(rate: Option<f64>, burst: Option<i32>) -> Stage {
    Stage {
        throttle: Throttle { rate, burst },
        ..with("d1")
    }
}

fn answer(deployment: &str) -> Value {
    json!({
        "stageName": "dev", "deploymentId": deployment, "tags": our_tags_and_more(), "cacheClusterEnabled": false,
        "cacheClusterStatus": "NOT_AVAILABLE", "methodSettings": {}, "tracingEnabled": false,
    })
}

fn live(deployment: &str) -> HttpResponse {
    ok(answer(deployment))
}

/// With the block that AWS makes of one setting.
fn live_with_limits(rate: f64, burst: i32) -> HttpResponse {
    let mut stage = answer("d1");
    stage["methodSettings"]["*/*"] = json!({
        "metricsEnabled": false, "loggingLevel": "INFO", "dataTraceEnabled": false, "throttlingBurstLimit": burst,
        "throttlingRateLimit": rate, "cachingEnabled": false, "cacheTtlInSeconds": 300,
        "requireAuthorizationForCacheControl": true,
    });
    ok(stage)
}

/// Expects exactly these replacements.
fn patched(expected: &'static [(&'static str, &'static str)]) -> Rule {
    on!(
        Sdk::update_stage,
        |i| {
            assert_eq!((i.rest_api_id(), i.stage_name()), (Some("a1b2c3"), Some("dev")));
            let expected: Vec<_> = expected
                .iter()
                .map(|(path, value)| replace(path, value))
                .collect();
            assert_eq!(i.patch_operations(), expected);
        },
        live("d2")
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
        on!(
            Sdk::delete_stage,
            |i| { assert_eq!((i.rest_api_id(), i.stage_name()), (Some("a1b2c3"), Some("dev"))) },
            gone()
        ),
    ]);
    assert!(with("d1").find(&cx).await.unwrap().is_none());
    assert_eq!(with("d1").read(&cx, &NoOutput {}).await.unwrap(), None);
    with("d1").delete(&cx, &NoOutput {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_is_found_and_what_aws_answers_is_no_drift() {
    let cx = apigateway([on!(Sdk::get_stage, live("d1")), on!(Sdk::get_stage, live("d1"))]);
    assert!(with("d1").find(&cx).await.unwrap().is_some());
    assert_eq!(
        with("d1").read(&cx, &NoOutput {}).await.unwrap(),
        Some(with("d1"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_stage_of_our_name_that_somebody_else_made_is_not_ours() {
    let mut theirs = answer("d1");
    theirs["tags"] = json!({});
    let get = |theirs: Value| on!(Sdk::get_stage, ok(theirs.clone()));
    let cx = apigateway([get(theirs.clone()), get(theirs.clone()), get(theirs)]);
    for error in [
        with("d1").find(&cx).await.unwrap_err(),
        with("d1").read(&cx, &NoOutput {}).await.unwrap_err(),
        with("d1").check_owner(&cx, &NoOutput {}).await.unwrap_err(),
    ] {
        assert!(
            is_stranger(&error) && error.to_string().contains("stage dev"),
            "{error:#}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn another_deployment_is_drift() {
    let cx = apigateway([on!(Sdk::get_stage, live("d9"))]);
    assert_eq!(
        with("d1").read(&cx, &NoOutput {}).await.unwrap(),
        Some(with("d9"))
    );
}

#[tokio::test(start_paused = true)]
async fn it_is_created_with_its_owner_once_the_deployment_is_visible() {
    let cx = apigateway([
        on!(
            Sdk::create_stage,
            refused(
                404,
                "NotFoundException",
                "Invalid Deployment identifier specified"
            )
        ),
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
async fn a_stage_that_somebody_else_made_in_our_api_is_a_strangers() {
    let mut theirs = answer("d1");
    theirs["tags"] = json!({});
    let cx = apigateway([on!(Sdk::get_stage, ok(theirs.clone()))]);
    let error = with("d1").find(&cx).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(
        is_stranger(&error) && text.contains("stage dev of REST API a1b2c3"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn its_limits_are_set_by_a_second_call_which_an_update_makes_up_for() {
    const BOTH: &[(&str, &str)] = &[
        ("/*/*/throttling/rateLimit", "12.5"),
        ("/*/*/throttling/burstLimit", "20"),
    ];
    let desired = limited(Some(12.5), Some(20));
    desired
        .create(&apigateway([on!(Sdk::create_stage, live("d1")), patched(BOTH)]))
        .await
        .unwrap();
    let cx = apigateway([on!(Sdk::get_stage, live("d1")), patched(BOTH)]);
    let half = desired.read(&cx, &NoOutput {}).await.unwrap().unwrap();
    desired.update(&cx, &half, NoOutput {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_field_changes_alone() {
    for (before, desired, expected) in [
        (with("d1"), with("d2"), patched(&[("/deploymentId", "d2")])),
        (
            limited(Some(10.0), Some(20)),
            limited(Some(100.0), Some(20)),
            patched(&[("/*/*/throttling/rateLimit", "100")]),
        ),
        (
            limited(Some(10.0), Some(20)),
            limited(Some(10.0), Some(5)),
            patched(&[("/*/*/throttling/burstLimit", "5")]),
        ),
        (
            limited(Some(10.0), Some(20)),
            limited(None, None),
            patched(&[
                ("/*/*/throttling/rateLimit", "-1"),
                ("/*/*/throttling/burstLimit", "-1"),
            ]),
        ),
    ] {
        desired
            .update(&apigateway([expected]), &before, NoOutput {})
            .await
            .unwrap();
    }
}

const GROUP: &str =
    "arn:aws:logs:eu-central-1:111122223333:log-group:/aws/apigateway/user-api_1a2b3c4d_access";

fn logging() -> Stage {
    Stage {
        access_log_destination: GROUP.to_owned(),
        access_log_format: "$context.extendedRequestId".to_owned(),
        ..with("d1")
    }
}

fn watched(metrics: bool, tracing: bool) -> Stage {
    Stage {
        metrics,
        tracing,
        ..with("d1")
    }
}

#[tokio::test(start_paused = true)]
async fn logs_metrics_and_traces_change_alone_and_logs_are_removed_whole() {
    let other_form = || Stage {
        access_log_format: "theirs".to_owned(),
        ..logging()
    };
    for (before, desired, expected) in [
        (
            with("d1"),
            logging(),
            patched(&[
                ("/accessLogSettings/destinationArn", GROUP),
                ("/accessLogSettings/format", "$context.extendedRequestId"),
            ]),
        ),
        (
            other_form(),
            logging(),
            patched(&[("/accessLogSettings/format", "$context.extendedRequestId")]),
        ),
        (
            watched(false, true),
            watched(true, false),
            patched(&[("/*/*/metrics/enabled", "true"), ("/tracingEnabled", "false")]),
        ),
        (
            watched(true, false),
            watched(false, true),
            patched(&[("/*/*/metrics/enabled", "false"), ("/tracingEnabled", "true")]),
        ),
    ] {
        desired
            .update(&apigateway([expected]), &before, NoOutput {})
            .await
            .unwrap();
    }
    for before in [logging(), other_form()] {
        let cx = apigateway([on!(
            Sdk::update_stage,
            |i| { assert_eq!(i.patch_operations(), [remove("/accessLogSettings")]) },
            live("d1")
        )]);
        with("d1").update(&cx, &before, NoOutput {}).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_a_create_cannot_set_is_set_by_one_call_after_it() {
    let desired = Stage {
        metrics: true,
        tracing: true,
        ..logging()
    };
    let cx = apigateway([
        on!(
            Sdk::create_stage,
            |i| { assert_eq!(i.tracing_enabled(), Some(true)) },
            live("d1")
        ),
        patched(&[
            ("/accessLogSettings/destinationArn", GROUP),
            ("/accessLogSettings/format", "$context.extendedRequestId"),
            ("/*/*/metrics/enabled", "true"),
        ]),
    ]);
    desired.create(&cx).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_logs_measures_or_traces_is_drift() {
    let mut theirs = answer("d1");
    theirs["accessLogSettings"] = json!({"destinationArn": format!("{GROUP}:*"), "format": "theirs"});
    theirs["methodSettings"]["*/*"] = json!({
        "metricsEnabled": true, "throttlingBurstLimit": 5000, "throttlingRateLimit": 10000.0,
    });
    theirs["tracingEnabled"] = json!(true);
    let get = |stage: Value| apigateway([on!(Sdk::get_stage, ok(stage.clone()))]);
    let read = with("d1")
        .read(&get(theirs.clone()), &NoOutput {})
        .await
        .unwrap()
        .unwrap();
    let expected = Stage {
        access_log_format: "theirs".to_owned(),
        metrics: true,
        tracing: true,
        ..logging()
    };
    assert_eq!(read, expected, "AWS may answer the group's ARN with a `:*`");
    theirs["accessLogSettings"] = json!({});
    theirs["tracingEnabled"] = json!(false);
    theirs["methodSettings"] = json!({});
    let read = with("d1").read(&get(theirs), &NoOutput {}).await.unwrap();
    assert_eq!(read, Some(with("d1")));
}

#[tokio::test(start_paused = true)]
async fn logs_without_a_role_of_the_account_are_refused_in_awss_words() {
    let cx = apigateway([on!(
        Sdk::update_stage,
        refused(
            400,
            "BadRequestException",
            "CloudWatch Logs role ARN must be set in account settings to enable logging"
        )
    )]);
    let (class, text) = failed(logging().update(&cx, &with("d1"), NoOutput {}).await);
    assert_eq!(class, Some(Class::Refused));
    assert!(text.contains("CloudWatch Logs role ARN must be set"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_role_of_the_account_that_was_made_a_moment_ago_is_waited_for() {
    let spreading = || {
        refused(
            400,
            "BadRequestException",
            "API Gateway could not successfully write to CloudWatch Logs using the ARN specified",
        )
    };
    let cx = apigateway([
        on!(Sdk::update_stage, spreading()),
        on!(Sdk::update_stage, spreading()),
        on!(Sdk::update_stage, live("d1")),
    ]);
    logging().update(&cx, &with("d1"), NoOutput {}).await.unwrap();
    assert_eq!(cx.waits().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_call_changes_limits_and_deployment_at_once() {
    let cx = apigateway([patched(&[
        ("/*/*/throttling/rateLimit", "-1"),
        ("/deploymentId", "d2"),
    ])]);
    with("d2")
        .update(&cx, &limited(Some(10.0), None), NoOutput {})
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_our_tags_change() {
    const ARN: &str = "arn:aws:apigateway:eu-central-1::/restapis/a1b2c3/stages/dev";
    let mut before = our_tags();
    before.insert(tags::STACK.to_owned(), "renamed".to_owned());
    before.insert("team".to_owned(), "a".to_owned());
    let cx = apigateway([
        on!(
            Sdk::tag_resource,
            |i| {
                let stack = HashMap::from([(tags::STACK.to_owned(), "user-api".to_owned())]);
                assert_eq!((i.resource_arn(), i.tags()), (Some(ARN), Some(&stack)));
            },
            ok(json!({}))
        ),
        on!(
            Sdk::untag_resource,
            |i| {
                assert_eq!(
                    (i.resource_arn(), i.tag_keys()),
                    (Some(ARN), &["team".to_owned()][..])
                );
            },
            ok(json!({}))
        ),
    ]);
    let before = Stage {
        tags: before,
        ..with("d1")
    };
    with("d1").update(&cx, &before, NoOutput {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn limits_that_somebody_changed_are_drift_of_those_alone() {
    for (rate, burst, expected) in [
        (10.0, 20, limited(Some(10.0), Some(20))),
        (11.0, 20, limited(Some(11.0), Some(20))),
        (10.0, 21, limited(Some(10.0), Some(21))),
        (0.0, 20, limited(Some(0.0), Some(20))),
        (-1.0, -1, limited(None, None)),
        (10_000.0, 5_000, limited(Some(10_000.0), Some(5_000))),
    ] {
        let cx = apigateway([on!(Sdk::get_stage, live_with_limits(rate, burst))]);
        let read = limited(Some(10.0), Some(20))
            .read(&cx, &NoOutput {})
            .await
            .unwrap();
        assert_eq!(read, Some(expected));
    }
    let cx = apigateway([on!(Sdk::get_stage, live("d1"))]);
    let read = limited(Some(10.0), Some(20))
        .read(&cx, &NoOutput {})
        .await
        .unwrap();
    assert_eq!(read, Some(with("d1")), "no limits at all");
}

#[tokio::test(start_paused = true)]
async fn limits_that_aws_filled_in_are_none_where_none_are_wanted() {
    for (rate, burst, expected) in [
        (10_000.0, 5_000, limited(None, None)),
        (10_000.0, 7, limited(None, Some(7))),
        (7.0, 5_000, limited(Some(7.0), None)),
        (-1.0, -1, limited(None, None)),
    ] {
        let cx = apigateway([on!(Sdk::get_stage, live_with_limits(rate, burst))]);
        assert_eq!(with("d1").read(&cx, &NoOutput {}).await.unwrap(), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_calls_nobody() {
    with("d1")
        .update(&apigateway([]), &with("d1"), NoOutput {})
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_is_gone_is_told() {
    let cx = apigateway([on!(Sdk::update_stage, gone())]);
    let (class, text) = failed(with("d2").update(&cx, &with("d1"), NoOutput {}).await);
    assert_eq!(class, Some(Class::Gone));
    assert!(text.contains("Invalid stage identifier"), "{text}");
}
