use std::time::Duration;

use aws_sdk_apigateway::Client as Sdk;
use aws_smithy_mocks::Rule;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::aws::test_support::{apigateway, failed, ok, on, refused};
use crate::resource::Class;

const BUSY: &str = "Unable to complete operation due to concurrent modification. Please try again later.";

fn with(pools: &[&str]) -> Authorizer {
    Authorizer {
        api: "a1b2c3".into(),
        name: "pool".to_owned(),
        pool_arns: pools.iter().map(|&arn| arn.to_owned()).collect(),
        identity_source: "method.request.header.Authorization".to_owned(),
        result_ttl_seconds: 0,
        other_type: None,
        validation: None,
    }
}

fn out() -> Output {
    with(&["arn:a"]).output("z1".into())
}

fn live() -> Value {
    json!({
        "id": "z1", "name": "pool", "type": "COGNITO_USER_POOLS", "providerARNs": ["arn:b", "arn:a"],
        "authType": "cognito_user_pools", "identitySource": "method.request.header.Authorization",
        "authorizerResultTtlInSeconds": 0,
    })
}

#[tokio::test(start_paused = true)]
async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
    let gone = || {
        refused(
            404,
            "NotFoundException",
            "Invalid Authorizer identifier specified",
        )
    };
    let cx = apigateway([
        on!(
            Sdk::get_authorizers,
            ok(json!({"item": [{"id": "z0", "name": "other"}]}))
        ),
        on!(Sdk::get_authorizers, gone()),
        on!(Sdk::get_authorizer, gone()),
        on!(
            Sdk::delete_authorizer,
            |i| { assert_eq!((i.rest_api_id(), i.authorizer_id()), (Some("a1b2c3"), Some("z1"))) },
            gone()
        ),
    ]);
    assert!(with(&["arn:a"]).find(&cx).await.unwrap().is_none());
    assert!(
        with(&["arn:a"]).find(&cx).await.unwrap().is_none(),
        "its API is gone too"
    );
    assert_eq!(with(&["arn:a"]).read(&cx, &out()).await.unwrap(), None);
    with(&["arn:a"]).delete(&cx, &out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_is_found_and_the_order_of_its_pools_is_no_drift() {
    let cx = apigateway([
        on!(
            Sdk::get_authorizers,
            ok(json!({"item": [{"id": "z0", "name": "other"}, live()]}))
        ),
        on!(Sdk::get_authorizer, ok(live())),
    ]);
    let desired = with(&["arn:a", "arn:b"]);
    assert_eq!(desired.find(&cx).await.unwrap().unwrap().id, "z1");
    assert_eq!(desired.read(&cx, &out()).await.unwrap(), Some(desired));
}

#[tokio::test(start_paused = true)]
async fn it_is_created_without_an_expression_that_no_access_token_could_match() {
    let cx = apigateway([on!(
        Sdk::create_authorizer,
        |i| {
            assert_eq!(i.r#type(), Some(&AuthorizerType::CognitoUserPools));
            assert_eq!(i.provider_arns(), ["arn:a", "arn:b"]);
            assert_eq!(i.identity_source(), Some("method.request.header.Authorization"));
            assert_eq!(i.identity_validation_expression(), None);
            assert_eq!(i.authorizer_result_ttl_in_seconds(), Some(0));
        },
        ok(live())
    )]);
    assert_eq!(with(&["arn:b", "arn:a"]).create(&cx).await.unwrap().id, "z1");
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_is_told_as_taken() {
    let text = "Authorizer name must be unique. Authorizer pool already exists in this RestApi.";
    let cx = apigateway([on!(
        Sdk::create_authorizer,
        refused(409, "ConflictException", text)
    )]);
    assert_eq!(failed(with(&["arn:a"]).create(&cx).await).0, Some(Class::Taken));
}

#[tokio::test(start_paused = true)]
async fn a_concurrent_change_is_waited_out() {
    let cx = apigateway([
        on!(Sdk::create_authorizer, refused(409, "ConflictException", BUSY)),
        on!(Sdk::create_authorizer, ok(live())),
    ]);
    with(&["arn:a"]).create(&cx).await.unwrap();
    assert_eq!(cx.waits().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn try_again_later_for_ever_comes_to_an_end_that_names_an_api_that_is_gone() {
    for (api, words) in [
        (
            refused as fn(u16, &str, &str) -> _,
            "REST API a1b2c3 is not there any more",
        ),
        (|_: u16, _: &str, _: &str| ok(json!({"id": "a1b2c3"})), BUSY),
    ] {
        let began = Instant::now();
        // At once, after 1, 2, 3 and 4 seconds, and then every 5 until two minutes are over.
        let busy = aws_smithy_mocks::mock!(Sdk::create_authorizer)
            .sequence()
            .http_response(|| refused(409, "ConflictException", BUSY))
            .times(27)
            .build();
        let cx = apigateway([
            busy,
            on!(
                Sdk::get_rest_api,
                api(404, "NotFoundException", "Invalid API identifier")
            ),
        ]);
        let (class, text) = failed(with(&["arn:a"]).create(&cx).await);
        assert_eq!(class, Some(Class::NotReady));
        assert!(text.contains(BUSY) && text.contains(words), "{text}");
        assert!(began.elapsed() < Duration::from_mins(3), "{:?}", began.elapsed());
    }
}

/// Expects exactly these patches.
fn patched(expected: &'static [(&'static str, &'static str, &'static str)]) -> Rule {
    on!(
        Sdk::update_authorizer,
        |i| {
            assert_eq!((i.rest_api_id(), i.authorizer_id()), (Some("a1b2c3"), Some("z1")));
            let patches: Vec<_> = i
                .patch_operations()
                .iter()
                .map(|patch| {
                    (
                        patch.op().unwrap().as_str(),
                        patch.path().unwrap(),
                        patch.value().unwrap(),
                    )
                })
                .collect();
            assert_eq!(patches, expected);
        },
        ok(live())
    )
}

#[tokio::test(start_paused = true)]
async fn each_field_changes_alone_and_pools_are_added_before_any_is_removed() {
    let desired = with(&["arn:b", "arn:c"]);
    for (before, expected) in [
        (
            Authorizer {
                name: "old".to_owned(),
                ..desired.clone()
            },
            patched(&[("replace", "/name", "pool")]),
        ),
        (
            Authorizer {
                identity_source: "method.request.header.X".to_owned(),
                ..desired.clone()
            },
            patched(&[(
                "replace",
                "/identitySource",
                "method.request.header.Authorization",
            )]),
        ),
        (
            Authorizer {
                result_ttl_seconds: 300,
                ..desired.clone()
            },
            patched(&[("replace", "/authorizerResultTtlInSeconds", "0")]),
        ),
        (
            with(&["arn:a", "arn:b"]),
            patched(&[
                ("add", "/providerARNs", "arn:c"),
                ("remove", "/providerARNs", "arn:a"),
            ]),
        ),
    ] {
        let out = before.output("z1".into());
        let old = out.digest.clone();
        let told = desired.output_after_update(out.clone()).unwrap();
        let after = desired
            .update(&apigateway([expected]), &before, out)
            .await
            .unwrap()
            .output;
        assert_eq!(
            (&after.id, &after.digest),
            (&told.id, &told.digest),
            "the plan tells what will be"
        );
        assert_eq!(after.id, "z1");
        assert_ne!(after.digest, old, "another authorizer wants another deployment");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_calls_nobody() {
    let after = with(&["arn:a"])
        .update(&apigateway([]), &with(&["arn:a"]), out())
        .await
        .unwrap()
        .output;
    // It settles an interrupted one, which may have changed it back from what is deployed.
    assert_ne!(after.digest, out().digest);
}

#[tokio::test(start_paused = true)]
async fn an_update_waits_for_another_one_and_tells_of_an_authorizer_that_is_gone() {
    let cx = apigateway([
        on!(Sdk::update_authorizer, refused(409, "ConflictException", BUSY)),
        on!(
            Sdk::update_authorizer,
            refused(
                404,
                "NotFoundException",
                "Invalid Authorizer identifier specified"
            )
        ),
    ]);
    let (class, text) = failed(with(&["arn:b"]).update(&cx, &with(&["arn:a"]), out()).await);
    assert_eq!((class, cx.waits().len()), (Some(Class::Gone), 1));
    assert!(text.contains("Invalid Authorizer identifier"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn one_of_another_type_or_with_an_expression_is_found_and_is_to_be_replaced() {
    let mut lets_all_in = live();
    lets_all_in["type"] = json!("TOKEN");
    let mut lets_none_in = live();
    lets_none_in["identityValidationExpression"] = json!("x");
    for (theirs, field) in [(lets_all_in, "other_type"), (lets_none_in, "validation")] {
        let listed = json!({"item": [theirs.clone()]});
        let cx = apigateway([
            on!(Sdk::get_authorizers, ok(listed.clone())),
            on!(Sdk::get_authorizer, ok(theirs.clone())),
        ]);
        let desired = with(&["arn:a", "arn:b"]);
        let found = desired.find(&cx).await.unwrap().unwrap();
        let live = desired.read(&cx, &found).await.unwrap().unwrap();
        assert!(live != desired && json!(live)[field].is_string(), "{live:?}");
        assert!(Authorizer::KIND.fixed.contains(&field));
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_is_drift_of_that_field_alone() {
    let desired = with(&["arn:a", "arn:b"]);
    for (pointer, other, expected) in [
        (
            "/name",
            json!("x"),
            Authorizer {
                name: "x".to_owned(),
                ..desired.clone()
            },
        ),
        ("/providerARNs", json!(["arn:x"]), with(&["arn:x"])),
        (
            "/identitySource",
            json!("x"),
            Authorizer {
                identity_source: "x".to_owned(),
                ..desired.clone()
            },
        ),
        (
            "/authorizerResultTtlInSeconds",
            json!(60),
            Authorizer {
                result_ttl_seconds: 60,
                ..desired.clone()
            },
        ),
        // What AWS answers of one that was made without.
        (
            "/authorizerResultTtlInSeconds",
            Value::Null,
            Authorizer {
                result_ttl_seconds: 300,
                ..desired.clone()
            },
        ),
    ] {
        let mut bent = live();
        *bent.pointer_mut(pointer).unwrap() = other;
        let cx = apigateway([on!(Sdk::get_authorizer, ok(bent.clone()))]);
        assert_eq!(
            desired.read(&cx, &out()).await.unwrap(),
            Some(expected),
            "{pointer}"
        );
    }
}
