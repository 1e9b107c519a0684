use std::collections::HashMap;

use aws_sdk_apigateway::Client as Sdk;
use aws_smithy_mocks::Rule;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::json;

use super::*;
use crate::aws::test_support::{
    always, apigateway, attempts, failed, ok, on, our_tags, our_tags_and_more, refused, strangers_tags,
};
use crate::resource::{Class, in_the_way, is_stranger};

fn desired() -> RestApi {
    RestApi {
        name: "user-api".to_owned(),
        description: "made by provision".to_owned(),
        endpoint: "REGIONAL".to_owned(),
        default_endpoint_closed: false,
        security_policy: String::new(),
        tags: our_tags(),
    }
}

fn closed() -> RestApi {
    RestApi {
        default_endpoint_closed: true,
        ..desired()
    }
}

const ENHANCED: &str = "SecurityPolicy_TLS13_1_3_2025_09";

fn enhanced() -> RestApi {
    RestApi {
        security_policy: ENHANCED.to_owned(),
        ..desired()
    }
}

fn out() -> Output {
    Output {
        id: "a1b2c3".into(),
        root: "r0".into(),
        revision: String::new(),
    }
}

fn live(id: &str, tags: &Tags) -> serde_json::Value {
    json!({
        "id": id, "name": "user-api", "description": "made by provision", "rootResourceId": "r0", "tags": tags,
        "endpointConfiguration": {"types": ["REGIONAL"], "ipAddressType": "ipv4"}, "apiKeySource": "HEADER",
        "disableExecuteApiEndpoint": false, "securityPolicy": "TLS_1_0",
    })
}

#[tokio::test(start_paused = true)]
async fn an_api_of_our_name_and_anothers_owner_is_not_found() {
    let items = json!({"item": [live("x", &strangers_tags()), {"id": "y", "name": "user-api"}]});
    let cx = apigateway([on!(Sdk::get_rest_apis, ok(items.clone()))]);
    assert!(desired().find(&cx).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn ours_is_found_on_the_second_page() {
    let first = json!({"item": [live("x", &strangers_tags())], "position": "p2"});
    let second = json!({"item": [live("a1b2c3", &our_tags_and_more())]});
    let cx = apigateway([
        on!(
            Sdk::get_rest_apis,
            |i| { assert_eq!(i.position(), None) },
            ok(first.clone())
        ),
        on!(
            Sdk::get_rest_apis,
            |i| { assert_eq!(i.position(), Some("p2")) },
            ok(second.clone())
        ),
    ]);
    let found = desired().find(&cx).await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.root.as_str()), ("a1b2c3", "r0"));
}

#[tokio::test(start_paused = true)]
async fn it_is_created_regional_and_with_its_owner() {
    let check = on!(
        Sdk::create_rest_api,
        |i| {
            assert_eq!(
                i.endpoint_configuration().unwrap().types(),
                [EndpointType::Regional]
            );
            assert_eq!(i.tags(), Some(&tags::map(&our_tags())));
        },
        ok(live("a1b2c3", &our_tags()))
    );
    let made = desired().create(&apigateway([check])).await.unwrap();
    assert_eq!((made.id.as_str(), made.root.as_str()), ("a1b2c3", "r0"));
}

#[tokio::test(start_paused = true)]
async fn what_aws_answers_is_no_drift() {
    let cx = apigateway([on!(Sdk::get_rest_api, ok(live("a1b2c3", &our_tags_and_more())))]);
    assert_eq!(desired().read(&cx, &out()).await.unwrap(), Some(desired()));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_not_answered_is_the_default_and_drift() {
    let cx = apigateway([on!(
        Sdk::get_rest_api,
        ok(json!({"id": "a1b2c3", "name": "user-api", "tags": our_tags()}))
    )]);
    assert_eq!(
        desired().read(&cx, &out()).await.unwrap().unwrap().endpoint,
        "EDGE"
    );
}

#[tokio::test(start_paused = true)]
async fn an_api_without_our_tag_is_a_strangers_whatever_the_record_says() {
    for tags in [strangers_tags(), Tags::new()] {
        let get = |tags: Tags| on!(Sdk::get_rest_api, ok(live("a1b2c3", &tags)));
        let cx = apigateway([get(tags.clone()), get(tags)]);
        let read = desired().read(&cx, &out()).await.unwrap_err();
        let deleted = desired().check_owner(&cx, &out()).await.unwrap_err();
        assert!(
            is_stranger(&read) && is_stranger(&deleted),
            "{read:#} {deleted:#}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_missing_reads_as_none_and_is_deleted() {
    let gone = || {
        refused(
            404,
            "NotFoundException",
            "Invalid API identifier specified 1:a1b2c3",
        )
    };
    let cx = apigateway([
        on!(Sdk::get_rest_api, gone()),
        on!(
            Sdk::delete_rest_api,
            |i| { assert_eq!(i.rest_api_id(), Some("a1b2c3")) },
            gone()
        ),
    ]);
    assert_eq!(desired().read(&cx, &out()).await.unwrap(), None);
    desired().delete(&cx, &out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_create_that_may_have_been_executed_is_not_repeated() {
    let create = attempts!(
        Sdk::create_rest_api,
        refused(500, "InternalFailure", "boom"),
        ok(live("a1b2c3", &our_tags()))
    );
    let cx = apigateway([create.clone()]);
    let (class, text) = failed(desired().create(&cx).await);
    assert_eq!((class, create.num_calls()), (Some(Class::Ambiguous), 1), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_create_is_repeated() {
    let create = attempts!(
        Sdk::create_rest_api,
        refused(429, "TooManyRequestsException", "Rate exceeded"),
        refused(429, "TooManyRequestsException", "Rate exceeded"),
        ok(live("a1b2c3", &our_tags()))
    );
    let cx = apigateway([create.clone()]);
    assert_eq!(desired().create(&cx).await.unwrap().id, "a1b2c3");
    assert_eq!(create.num_calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_changes_nothing_is_repeated_whatever_failed() {
    let get = attempts!(
        Sdk::get_rest_api,
        refused(500, "InternalFailure", "boom"),
        refused(503, "ServiceUnavailableException", "busy"),
        ok(live("a1b2c3", &our_tags()))
    );
    let cx = apigateway([get.clone()]);
    assert_eq!(desired().read(&cx, &out()).await.unwrap(), Some(desired()));
    assert_eq!(get.num_calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_outlasts_the_slowest_rate_of_aws_whatever_the_sdks_jitter() {
    // One DeleteRestApi in 30 seconds, and another stack of the account is torn down as well.
    for _ in 0..50 {
        let began = tokio::time::Instant::now();
        let cx = apigateway([always!(
            Sdk::delete_rest_api,
            if began.elapsed() < std::time::Duration::from_mins(1) {
                refused(429, "TooManyRequestsException", "Too Many Requests")
            } else {
                ok(json!({}))
            }
        )]);
        desired().delete(&cx, &out()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_is_never_kept_ends_with_that_error() {
    let began = tokio::time::Instant::now();
    let cx = apigateway([always!(
        Sdk::delete_rest_api,
        refused(429, "TooManyRequestsException", "Too Many Requests")
    )]);
    let (class, text) = failed(desired().delete(&cx, &out()).await);
    assert_eq!(class, Some(Class::Throttle), "{text}");
    let minutes = began.elapsed().as_secs() / 60;
    assert_eq!(minutes, 20, "{:?}", began.elapsed());
    assert!(cx.waits()[0].contains("Too Many Requests"), "{:?}", cx.waits());
}

fn after(seconds: &'static str, mut answer: HttpResponse) -> HttpResponse {
    answer.headers_mut().insert("retry-after", seconds);
    answer
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_final_unless_aws_says_when_to_come_again() {
    let full = || {
        refused(
            429,
            "LimitExceededException",
            "Maximum number of REST APIs has been reached.",
        )
    };
    let create = attempts!(Sdk::create_rest_api, full(), ok(live("a1b2c3", &our_tags())));
    let cx = apigateway([create.clone()]);
    let (class, text) = failed(desired().create(&cx).await);
    assert_eq!((class, create.num_calls()), (Some(Class::Refused), 1), "{text}");

    let began = tokio::time::Instant::now();
    let cx = apigateway([attempts!(
        Sdk::create_rest_api,
        after("7", full()),
        ok(live("a1b2c3", &our_tags()))
    )]);
    assert_eq!(desired().create(&cx).await.unwrap().id, "a1b2c3");
    assert_eq!(began.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_comes_again_when_aws_says() {
    let began = tokio::time::Instant::now();
    let busy = || refused(429, "TooManyRequestsException", "Too Many Requests");
    let cx = apigateway([attempts!(
        Sdk::delete_rest_api,
        after("31", busy()),
        after("29", busy()),
        ok(json!({}))
    )]);
    desired().delete(&cx, &out()).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_signature_that_is_refused_is_made_again_once_and_the_clock_is_named() {
    let late = || {
        let mut answer = refused(
            403,
            "InvalidSignatureException",
            "Signature expired: 20261125T000000Z is now earlier than 20261125T001000Z",
        );
        let date = std::time::SystemTime::now() + std::time::Duration::from_secs(15 * 60 + 30);
        let date = aws_smithy_types::DateTime::from(date);
        let date = date.fmt(aws_smithy_types::date_time::Format::HttpDate).unwrap();
        answer.headers_mut().insert("date", date);
        answer
    };
    // The create itself, which is not repeated by the SDK.
    let create = attempts!(Sdk::create_rest_api, late(), ok(live("a1b2c3", &our_tags())));
    let cx = apigateway([create.clone()]);
    assert_eq!(desired().create(&cx).await.unwrap().id, "a1b2c3");
    assert_eq!(create.num_calls(), 2);

    let create = always!(Sdk::create_rest_api, late());
    let cx = apigateway([create.clone()]);
    let (class, text) = failed(desired().create(&cx).await);
    assert_eq!(
        (class, create.num_calls()),
        (Some(Class::Credentials), 2),
        "{text}"
    );
    let clock = "the clock of this machine is 15 min ";
    assert!(
        text.contains(clock) && text.contains(" s behind the clock of AWS"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_domain_that_points_to_it_is_named_at_once_with_the_way_out() {
    let cx = apigateway([on!(
        Sdk::delete_rest_api,
        refused(
            400,
            "BadRequestException",
            "Deleting RestApi a1b2c3 failed. Please remove all base path mappings related to the RestApi in your \
             domains: api.example.com.",
        )
    )]);
    let error = desired().delete(&cx, &out()).await.unwrap_err();
    let way = in_the_way(&error).expect("it says what is in the way");
    assert!(way.command.contains("delete-base-path-mapping"), "{error:#}");
    assert!(format!("{error:#}").contains("api.example.com"), "{error:#}");
    // Another refusal is none of that.
    let cx = apigateway([on!(
        Sdk::delete_rest_api,
        refused(400, "BadRequestException", "no")
    )]);
    let error = desired().delete(&cx, &out()).await.unwrap_err();
    assert!(in_the_way(&error).is_none());
}

fn patched(path: &'static str, value: &'static str) -> Rule {
    on!(
        Sdk::update_rest_api,
        |i| {
            assert_eq!(i.rest_api_id(), Some("a1b2c3"));
            let patch = replace(path, value);
            assert_eq!(i.patch_operations(), [patch]);
        },
        ok(live("a1b2c3", &our_tags()))
    )
}

#[tokio::test(start_paused = true)]
async fn each_field_changes_alone() {
    for (before, expected) in [
        (
            RestApi {
                name: "old".to_owned(),
                ..desired()
            },
            patched("/name", "user-api"),
        ),
        (
            RestApi {
                description: String::new(),
                ..desired()
            },
            patched("/description", "made by provision"),
        ),
        (
            RestApi {
                endpoint: "EDGE".to_owned(),
                ..desired()
            },
            patched("/endpointConfiguration/types/0", "REGIONAL"),
        ),
    ] {
        let after = desired()
            .update(&apigateway([expected]), &before, out())
            .await
            .unwrap()
            .output;
        assert_eq!((after.id.as_str(), after.root.as_str()), ("a1b2c3", "r0"));
    }
}

#[tokio::test(start_paused = true)]
async fn only_our_tags_change() {
    const ARN: &str = "arn:aws:apigateway:eu-central-1::/restapis/a1b2c3";
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
    desired()
        .update(
            &cx,
            &RestApi {
                tags: before,
                ..desired()
            },
            out(),
        )
        .await
        .unwrap();
}

fn all_patched(expected: &'static [(&'static str, &'static str)]) -> Rule {
    on!(
        Sdk::update_rest_api,
        |i| {
            let patches = expected.iter().map(|(path, value)| replace(path, value));
            assert_eq!(i.patch_operations(), patches.collect::<Vec<_>>());
        },
        ok(live("a1b2c3", &our_tags()))
    )
}

#[tokio::test(start_paused = true)]
async fn what_takes_effect_with_the_next_deployment_makes_another_revision_each_time() {
    let mut out = out();
    let mut seen = vec![String::new()];
    for (before, after, patches) in [
        (desired(), closed(), &[("/disableExecuteApiEndpoint", "true")][..]),
        (closed(), desired(), &[("/disableExecuteApiEndpoint", "false")]),
        (
            desired(),
            enhanced(),
            &[("/securityPolicy", ENHANCED), ("/endpointAccessMode", "BASIC")],
        ),
        (
            enhanced(),
            desired(),
            &[("/securityPolicy", "TLS_1_0"), ("/endpointAccessMode", "")],
        ),
    ] {
        let cx = apigateway([all_patched(patches)]);
        out = after.update(&cx, &before, out).await.unwrap().output;
        assert!(!seen.contains(&out.revision), "{patches:?}");
        seen.push(out.revision.clone());
    }
    // An interrupted update that has patched already.
    let again = closed()
        .update(&apigateway([]), &closed(), out.clone())
        .await
        .unwrap();
    assert_eq!(
        again.output.revision,
        closed().output_after_update(out).unwrap().revision,
        "a plan knows it"
    );
    assert!(!seen.contains(&again.output.revision));
}

#[tokio::test(start_paused = true)]
async fn a_plain_api_has_no_revision_whatever_else_changes() {
    let before = RestApi {
        name: "old".to_owned(),
        ..desired()
    };
    let cx = apigateway([patched("/name", "user-api")]);
    let updated = desired().update(&cx, &before, out()).await.unwrap();
    assert_eq!(updated.output.revision, "");
    assert_eq!(json!(updated.output), json!({"id": "a1b2c3", "root": "r0"}));
}

#[tokio::test(start_paused = true)]
async fn a_new_api_is_created_closed_and_with_its_policy() {
    let check = on!(
        Sdk::create_rest_api,
        |i| {
            assert_eq!(i.disable_execute_api_endpoint(), Some(true));
            assert_eq!(i.security_policy().unwrap().as_str(), ENHANCED);
            assert_eq!(i.endpoint_access_mode(), Some(&EndpointAccessMode::Basic));
        },
        ok(live("a1b2c3", &our_tags()))
    );
    let api = RestApi {
        security_policy: ENHANCED.to_owned(),
        ..closed()
    };
    api.create(&apigateway([check])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_calls_nobody() {
    desired()
        .update(&apigateway([]), &desired(), out())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_gone_is_told() {
    let before = RestApi {
        name: "old".to_owned(),
        ..desired()
    };
    let gone = refused as fn(u16, &str, &str) -> _;
    let text = "Invalid API identifier specified 1:a1b2c3";
    let cx = apigateway([on!(Sdk::update_rest_api, gone(404, "NotFoundException", text))]);
    let (class, told) = failed(desired().update(&cx, &before, out()).await);
    assert_eq!(class, Some(Class::Gone));
    assert!(told.contains(text), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_is_drift_of_that_field_alone() {
    let mut tags = our_tags();
    tags.insert(tags::STACK.to_owned(), "x".to_owned());
    for (pointer, other, expected) in [
        (
            "/name",
            json!("x"),
            RestApi {
                name: "x".to_owned(),
                ..desired()
            },
        ),
        (
            "/description",
            json!("x"),
            RestApi {
                description: "x".to_owned(),
                ..desired()
            },
        ),
        (
            "/endpointConfiguration/types",
            json!(["EDGE"]),
            RestApi {
                endpoint: "EDGE".to_owned(),
                ..desired()
            },
        ),
        ("/tags/provision:stack", json!("x"), RestApi { tags, ..desired() }),
        ("/disableExecuteApiEndpoint", json!(true), closed()),
        ("/securityPolicy", json!(ENHANCED), enhanced()),
    ] {
        let mut bent = live("a1b2c3", &our_tags());
        *bent.pointer_mut(pointer).unwrap() = other;
        let cx = apigateway([on!(Sdk::get_rest_api, ok(bent.clone()))]);
        assert_eq!(
            desired().read(&cx, &out()).await.unwrap(),
            Some(expected),
            "{pointer}"
        );
    }
}
