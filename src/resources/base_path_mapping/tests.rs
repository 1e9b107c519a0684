use aws_sdk_apigateway::Client as Sdk;
use aws_smithy_mocks::Rule;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::aws::test_support::{always, apigateway, attempts, failed, ok, on, refused};
use crate::resource::{Class, is_stranger};

fn desired() -> BasePathMapping {
    BasePathMapping {
        domain: "api.example.com".to_owned(),
        base_path: "orders".to_owned(),
        api: "a1b2c3".into(),
        stage: "prod".to_owned(),
    }
}

fn at_the_root() -> BasePathMapping {
    BasePathMapping {
        base_path: String::new(),
        ..desired()
    }
}

fn live(api: &str, stage: &str) -> HttpResponse {
    ok(json!({"basePath": "orders", "restApiId": api, "stage": stage}))
}

fn gone() -> HttpResponse {
    refused(
        404,
        "NotFoundException",
        "Invalid base path mapping identifier specified",
    )
}

fn get(answer: impl Fn() -> HttpResponse + Send + Sync + 'static) -> Rule {
    on!(
        Sdk::get_base_path_mapping,
        |i| {
            assert_eq!(
                (i.domain_name(), i.base_path()),
                (Some("api.example.com"), Some("orders"))
            );
        },
        answer()
    )
}

#[tokio::test(start_paused = true)]
async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
    let cx = apigateway([
        get(gone),
        get(gone),
        on!(
            Sdk::delete_base_path_mapping,
            |i| {
                assert_eq!(
                    (i.domain_name(), i.base_path()),
                    (Some("api.example.com"), Some("orders"))
                );
            },
            gone()
        ),
    ]);
    assert!(desired().find(&cx).await.unwrap().is_none());
    assert!(desired().read(&cx, &NoOutput {}).await.unwrap().is_none());
    desired().delete(&cx, &NoOutput {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_path_of_another_api_is_a_strangers_and_neither_found_nor_read() {
    let theirs = || live("zzz", "prod");
    let cx = apigateway([get(theirs), get(theirs), get(theirs)]);
    assert!(is_stranger(&desired().find(&cx).await.unwrap_err()));
    let error = desired().read(&cx, &NoOutput {}).await.unwrap_err();
    assert!(is_stranger(&error));
    assert_eq!(
        error.to_string(),
        "the mapping of api.example.com/orders to API zzz exists and is not of this stack: it is left as it is"
    );
    assert!(is_stranger(
        &desired().check_owner(&cx, &NoOutput {}).await.unwrap_err()
    ));
}

#[tokio::test(start_paused = true)]
async fn the_root_has_a_name_of_its_own_and_is_created_without_a_path() {
    let cx = apigateway([
        on!(
            Sdk::get_base_path_mapping,
            |i| { assert_eq!(i.base_path(), Some("(none)")) },
            gone()
        ),
        on!(
            Sdk::create_base_path_mapping,
            |i| {
                assert_eq!((i.domain_name(), i.base_path()), (Some("api.example.com"), None));
                assert_eq!((i.rest_api_id(), i.stage()), (Some("a1b2c3"), Some("prod")));
            },
            ok(json!({"basePath": "(none)", "restApiId": "a1b2c3", "stage": "prod"}))
        ),
        on!(
            Sdk::delete_base_path_mapping,
            |i| { assert_eq!(i.base_path(), Some("(none)")) },
            ok(json!({}))
        ),
    ]);
    assert!(at_the_root().find(&cx).await.unwrap().is_none());
    at_the_root().create(&cx).await.unwrap();
    at_the_root().delete(&cx, &NoOutput {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_stage_of_our_api_is_drift_and_changed_in_place() {
    let cx = apigateway([
        get(|| live("a1b2c3", "dev")),
        on!(
            Sdk::update_base_path_mapping,
            |i| {
                assert_eq!(
                    (i.domain_name(), i.base_path()),
                    (Some("api.example.com"), Some("orders"))
                );
                assert_eq!(i.patch_operations(), [replace("/stage", "prod")]);
            },
            live("a1b2c3", "prod")
        ),
    ]);
    let before = desired().read(&cx, &NoOutput {}).await.unwrap().unwrap();
    assert_eq!(before.stage, "dev");
    desired().update(&cx, &before, NoOutput {}).await.unwrap();
    desired()
        .update(&apigateway([]), &desired(), NoOutput {})
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_taken_has_its_own_class() {
    for message in [
        "Base path already exists for this domain name",
        "Only one base path mapping is allowed if the base path is empty.",
    ] {
        let cx = apigateway([on!(
            Sdk::create_base_path_mapping,
            refused(409, "ConflictException", message)
        )]);
        let (class, told) = failed(desired().create(&cx).await);
        assert_eq!(class, Some(Class::Taken));
        assert!(told.contains(message), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_and_a_stage_that_are_not_visible_yet_are_waited_for_half_a_minute() {
    let unseen = |what: &str| {
        refused(
            400,
            "BadRequestException",
            &format!("Invalid {what} identifier specified"),
        )
    };
    let cx = apigateway([
        on!(Sdk::create_base_path_mapping, unseen("REST API")),
        on!(Sdk::create_base_path_mapping, unseen("stage")),
        on!(Sdk::create_base_path_mapping, live("a1b2c3", "prod")),
    ]);
    desired().create(&cx).await.unwrap();
    assert_eq!(cx.waits().len(), 2);

    let began = Instant::now();
    let cx = apigateway([always!(Sdk::create_base_path_mapping, unseen("REST API"))]);
    let (class, _) = failed(desired().create(&cx).await);
    assert_eq!(class, Some(Class::NotReady));
    assert!((30..40).contains(&began.elapsed().as_secs()));

    let wrong = || refused(400, "BadRequestException", "Invalid base path");
    let cx = apigateway([on!(Sdk::create_base_path_mapping, wrong())]);
    assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Refused));
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_answer_is_lost_meets_itself() {
    let cx = apigateway([attempts!(
        Sdk::create_base_path_mapping,
        crate::aws::test_support::response(503, String::new()),
        refused(
            409,
            "ConflictException",
            "Base path already exists for this domain name"
        )
    )]);
    assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Taken));
}
