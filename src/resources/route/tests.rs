use std::rc::Rc;

use aws_sdk_apigateway::Client as Sdk;
use aws_smithy_mocks::Rule;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};

use super::*;
use crate::aws::test_support::{apigateway, differing, failed, ok, on, refused};
use crate::resource::Class;

const URI: &str = "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/arn:f/invocations";

fn with(scopes: &[&str]) -> Route {
    Route {
        api: "a1b2c3".into(),
        path: "r1".into(),
        verb: "GET".to_owned(),
        authorizer: "z1".into(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        integration: "AWS_PROXY".to_owned(),
        uri: URI.to_owned(),
        integration_verb: "POST".to_owned(),
        request_parameters: BTreeMap::new(),
        mappings: BTreeMap::new(),
        timeout_millis: 29_000,
        vpc_link: String::new(),
        target: String::new(),
        insecure_tls: false,
        api_key_required: false,
    }
}

const URL: &str = "https://shop.example.com/v2/shop/{id}";
const TARGET: &str = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/shop/1";

/// The same route, answered by a URL behind a load balancer.
fn of_url() -> Route {
    Route {
        integration: "HTTP_PROXY".to_owned(),
        uri: URL.to_owned(),
        integration_verb: "GET".to_owned(),
        request_parameters: [("method.request.path.id".to_owned(), true)].into(),
        mappings: [
            ("integration.request.header.Authorization", "'none'"),
            (
                "integration.request.header.X-Client-Id",
                "context.authorizer.claims.client_id",
            ),
            ("integration.request.path.id", "method.request.path.id"),
        ]
        .map(|(to, from)| (to.to_owned(), from.to_owned()))
        .into(),
        timeout_millis: 5_000,
        vpc_link: "l1".to_owned(),
        target: TARGET.to_owned(),
        ..desired()
    }
}

fn desired() -> Route {
    with(&["user-api/read", "user-api/write"])
}

fn out() -> Output {
    Output {
        digest: "before".to_owned(),
    }
}

fn live() -> Value {
    json!({
        "httpMethod": "GET", "authorizationType": "COGNITO_USER_POOLS", "authorizerId": "z1",
        "apiKeyRequired": false, "authorizationScopes": ["user-api/write", "user-api/read"],
        "methodIntegration": {
            "type": "AWS_PROXY", "httpMethod": "POST", "uri": URI, "passthroughBehavior": "WHEN_NO_MATCH",
            "timeoutInMillis": 29000, "cacheNamespace": "r1", "cacheKeyParameters": [],
        },
    })
}

/// What AWS answers of [`of_url`].
fn live_of_url() -> Value {
    let mut live = live();
    live["requestParameters"] = json!({"method.request.path.id": true});
    live["methodIntegration"] = json!({
        "type": "HTTP_PROXY", "httpMethod": "GET", "uri": URL, "connectionType": "VPC_LINK", "connectionId": "l1",
        "integrationTarget": TARGET, "requestParameters": of_url().mappings, "passthroughBehavior": "WHEN_NO_MATCH",
        "timeoutInMillis": 5000, "cacheNamespace": "r1", "cacheKeyParameters": [],
    });
    live
}

fn put_url() -> Rule {
    on!(
        Sdk::put_integration,
        |i| {
            assert_eq!(i.r#type(), Some(&IntegrationType::HttpProxy));
            assert_eq!((i.integration_http_method(), i.uri()), (Some("GET"), Some(URL)));
            let mappings = i.request_parameters().unwrap();
            assert_eq!(
                mappings.clone().into_iter().collect::<BTreeMap<_, _>>(),
                of_url().mappings
            );
            assert_eq!(i.timeout_in_millis(), Some(5_000));
            assert_eq!(i.connection_type(), Some(&ConnectionType::VpcLink));
            assert_eq!(
                (i.connection_id(), i.integration_target()),
                (Some("l1"), Some(TARGET))
            );
        },
        ok(json!({}))
    )
}

fn put_integration() -> Rule {
    on!(
        Sdk::put_integration,
        |i| {
            assert_eq!((i.resource_id(), i.http_method()), (Some("r1"), Some("GET")));
            assert_eq!(i.r#type(), Some(&IntegrationType::AwsProxy));
            assert_eq!(i.integration_http_method(), Some("POST"));
            assert_eq!(i.uri(), Some(URI));
            assert_eq!(i.request_parameters(), None);
            assert_eq!((i.connection_type(), i.connection_id()), (None, None));
        },
        ok(json!({}))
    )
}

/// Expects exactly these patches of the method.
fn patched(expected: &'static [(&'static str, &'static str, &'static str)]) -> Rule {
    on!(
        Sdk::update_method,
        |i| {
            let patches: Vec<_> = i
                .patch_operations()
                .iter()
                .map(|patch| {
                    (
                        patch.op().unwrap().as_str(),
                        patch.path().unwrap(),
                        patch.value().unwrap_or_default(),
                    )
                })
                .collect();
            assert_eq!(patches, expected);
        },
        ok(live())
    )
}

fn gone() -> HttpResponse {
    refused(404, "NotFoundException", "Invalid Method identifier specified")
}

async fn read(live: Value) -> Route {
    let cx = apigateway([on!(Sdk::get_method, ok(live.clone()))]);
    desired().read(&cx, &out()).await.unwrap().unwrap()
}

/// Names the fields in which what is read differs from this route.
async fn drift(of: &Route, live: Value) -> Vec<String> {
    differing(of, &read(live).await)
}

#[tokio::test(start_paused = true)]
async fn in_a_survey_all_routes_of_an_api_are_read_with_one_call_and_as_they_are_one_by_one() {
    let methods = json!({"GET": live(), "POST": {"httpMethod": "POST", "authorizationType": "NONE"}});
    let page = json!({"item": [{"id": "r1", "pathPart": "a", "resourceMethods": methods}]});
    let world = apigateway([on!(
        Sdk::get_resources,
        |i| {
            assert_eq!(
                (i.rest_api_id(), i.embed()),
                (Some("a1b2c3"), &["methods".to_owned()][..])
            );
        },
        ok(page.clone())
    )]);
    let cx = Cx::new(Rc::new(world.cloud().for_a_survey()), Rc::new(|_| ()));
    let open = Route {
        verb: "POST".to_owned(),
        ..desired()
    };
    let missing = Route {
        verb: "PUT".to_owned(),
        ..desired()
    };
    let elsewhere = Route {
        path: "r2".into(),
        ..desired()
    };
    let out = out();
    assert_eq!(desired().read(&cx, &out).await.unwrap(), Some(desired()));
    let open = open.read(&cx, &out).await.unwrap().unwrap();
    assert_eq!((open.authorizer.as_str(), open.scopes.len()), ("", 0));
    assert_eq!(missing.read(&cx, &out).await.unwrap(), None);
    assert_eq!(elsewhere.read(&cx, &out).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
    let cx = apigateway([
        on!(Sdk::get_method, gone()),
        on!(Sdk::get_method, gone()),
        on!(
            Sdk::delete_method,
            |i| { assert_eq!((i.resource_id(), i.http_method()), (Some("r1"), Some("GET"))) },
            gone()
        ),
    ]);
    assert!(desired().find(&cx).await.unwrap().is_none());
    assert_eq!(desired().read(&cx, &out()).await.unwrap(), None);
    desired().delete(&cx, &out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_open_method_is_found_left_as_it_is_and_guarded_before_the_function_is_put_behind_it() {
    let open = || ok(json!({"httpMethod": "GET", "authorizationType": "NONE", "apiKeyRequired": false}));
    let cx = apigateway([
        on!(Sdk::get_method, open()),
        on!(Sdk::get_method, open()),
        patched(&[
            ("replace", "/authorizationType", "COGNITO_USER_POOLS"),
            ("replace", "/authorizerId", "z1"),
            ("add", "/authorizationScopes", "user-api/read"),
            ("add", "/authorizationScopes", "user-api/write"),
        ]),
        put_integration(),
    ]);
    let found = desired().find(&cx).await.unwrap().unwrap();
    let live = desired().read(&cx, &found).await.unwrap().unwrap();
    desired().update(&cx, &live, found).await.unwrap();
}

#[test]
fn the_record_of_a_route_and_its_digest_do_not_name_an_api_key_that_nobody_demanded() {
    let record = serde_json::to_value(desired()).unwrap();
    assert_eq!(record.get("api_key_required"), None);
    assert_eq!(serde_json::from_value::<Route>(record).unwrap(), desired());
}

#[tokio::test(start_paused = true)]
async fn it_is_created_closed_to_all_but_tokens_with_a_scope() {
    let cx = apigateway([
        on!(
            Sdk::put_method,
            |i| {
                assert_eq!((i.resource_id(), i.http_method()), (Some("r1"), Some("GET")));
                assert_eq!(i.authorization_type(), Some("COGNITO_USER_POOLS"));
                assert_eq!(i.authorizer_id(), Some("z1"));
                assert_eq!(i.authorization_scopes(), ["user-api/read", "user-api/write"]);
            },
            ok(live())
        ),
        put_integration(),
    ]);
    desired().create(&cx).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_method_that_exists_is_told_as_taken_and_not_overwritten() {
    let text = "Method already exists for this resource";
    let cx = apigateway([on!(Sdk::put_method, refused(409, "ConflictException", text))]);
    let (class, told) = failed(desired().create(&cx).await);
    assert_eq!(class, Some(Class::Taken));
    assert!(told.contains(text), "{told}");
}

#[tokio::test(start_paused = true)]
async fn the_order_of_its_scopes_is_no_drift() {
    assert_eq!(read(live()).await, desired());
}

#[tokio::test(start_paused = true)]
async fn a_method_that_was_opened_or_bent_is_drift_of_that_field_alone() {
    let unguarded = || Route {
        authorizer: "".into(),
        ..desired()
    };
    let bent_to = |uri: &str| Route {
        uri: uri.to_owned(),
        ..desired()
    };
    for (pointer, other, expected) in [
        ("/authorizationType", json!("NONE"), unguarded()),
        (
            "/authorizerId",
            json!("z9"),
            Route {
                authorizer: "z9".into(),
                ..desired()
            },
        ),
        ("/authorizationScopes", json!([]), with(&[])),
        (
            "/apiKeyRequired",
            json!(true),
            Route {
                api_key_required: true,
                ..desired()
            },
        ),
        ("/methodIntegration/uri", json!("arn:other"), bent_to("arn:other")),
    ] {
        let mut bent = live();
        *bent.pointer_mut(pointer).unwrap() = other;
        assert_eq!(read(bent).await, expected, "{pointer}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_field_of_an_integration_that_was_bent_is_drift_of_that_field_alone() {
    assert_eq!(drift(&of_url(), live_of_url()).await, [""; 0]);
    let header = "/methodIntegration/requestParameters/integration.request.header.X-Client-Id";
    for (pointer, other, field) in [
        ("/methodIntegration/type", json!("HTTP"), "integration"),
        ("/methodIntegration/httpMethod", json!("POST"), "integration_verb"),
        ("/methodIntegration/uri", json!("https://evil.example"), "uri"),
        (header, json!("'admin'"), "mappings"),
        ("/methodIntegration/timeoutInMillis", json!(50), "timeout_millis"),
        ("/methodIntegration/connectionId", json!("l2"), "vpc_link"),
        ("/methodIntegration/connectionType", json!("INTERNET"), "vpc_link"),
        ("/methodIntegration/integrationTarget", json!("arn:x"), "target"),
        ("/requestParameters", json!({}), "request_parameters"),
    ] {
        let mut bent = live_of_url();
        *bent.pointer_mut(pointer).unwrap() = other;
        assert_eq!(drift(&of_url(), bent).await, [field], "{pointer}");
    }
    let mut bent = live_of_url();
    bent["methodIntegration"]["tlsConfig"] = json!({"insecureSkipVerification": true});
    assert!(read(bent).await.insecure_tls);
}

#[tokio::test(start_paused = true)]
async fn what_an_import_leaves_out_is_the_default() {
    let mut imported = live();
    let integration = imported["methodIntegration"].as_object_mut().unwrap();
    integration.remove("timeoutInMillis");
    assert_eq!(read(imported).await, desired());
    let mut whole = live();
    whole["methodIntegration"]["connectionType"] = json!("INTERNET");
    assert_eq!(read(whole).await, desired());
}

#[tokio::test(start_paused = true)]
async fn a_method_without_an_integration_is_not_as_wanted() {
    let mut bare = live();
    bare["methodIntegration"] = json!(null);
    assert_eq!(
        drift(&desired(), bare).await,
        ["integration", "uri", "integration_verb"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_mapped_is_declared_before_it_is_mapped_and_taken_away_after() {
    let to_url = apigateway([
        patched(&[("add", "/requestParameters/method.request.path.id", "true")]),
        put_url(),
    ]);
    of_url().update(&to_url, &desired(), out()).await.unwrap();
    let to_function = apigateway([
        put_integration(),
        patched(&[("remove", "/requestParameters/method.request.path.id", "")]),
    ]);
    desired().update(&to_function, &of_url(), out()).await.unwrap();
    let optional = Route {
        request_parameters: [("method.request.path.id".to_owned(), false)].into(),
        ..of_url()
    };
    let required = apigateway([patched(&[(
        "replace",
        "/requestParameters/method.request.path.id",
        "true",
    )])]);
    of_url().update(&required, &optional, out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_of_any_field_of_an_integration_puts_it_whole() {
    for before in [
        Route {
            mappings: BTreeMap::new(),
            ..of_url()
        },
        Route {
            timeout_millis: 29_000,
            ..of_url()
        },
        Route {
            vpc_link: String::new(),
            ..of_url()
        },
        Route {
            target: String::new(),
            ..of_url()
        },
        Route {
            insecure_tls: true,
            ..of_url()
        },
        Route {
            integration_verb: "ANY".to_owned(),
            ..of_url()
        },
    ] {
        of_url()
            .update(&apigateway([put_url()]), &before, out())
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_of_an_integration_are_told_in_api_gateways_words() {
    for message in [
        "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression          parameter specified: method.request.path.id]",
        "IntegrationTarget is required for VpcLinkV2 l1",
    ] {
        let cx = apigateway([on!(
            Sdk::put_integration,
            refused(400, "BadRequestException", message)
        )]);
        let before = Route {
            timeout_millis: 50,
            ..of_url()
        };
        let (class, text) = failed(of_url().update(&cx, &before, out()).await);
        assert_eq!(class, Some(Class::Refused));
        assert!(text.contains(message), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_to_a_url_is_created_with_its_variables_declared() {
    let cx = apigateway([
        on!(
            Sdk::put_method,
            |i| {
                assert_eq!(i.authorizer_id(), Some("z1"));
                assert!(i.request_parameters().unwrap()["method.request.path.id"]);
            },
            ok(live())
        ),
        put_url(),
    ]);
    of_url().create(&cx).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_field_of_the_method_changes_alone_and_scopes_are_added_before_any_is_removed() {
    for (before, expected) in [
        (
            Route {
                authorizer: "z0".into(),
                ..desired()
            },
            patched(&[("replace", "/authorizerId", "z1")]),
        ),
        (
            Route {
                authorizer: "".into(),
                ..desired()
            },
            patched(&[
                ("replace", "/authorizationType", "COGNITO_USER_POOLS"),
                ("replace", "/authorizerId", "z1"),
            ]),
        ),
        (
            with(&["user-api/read", "user-api/admin"]),
            patched(&[
                ("add", "/authorizationScopes", "user-api/write"),
                ("remove", "/authorizationScopes", "user-api/admin"),
            ]),
        ),
        (
            Route {
                api_key_required: true,
                ..desired()
            },
            patched(&[("replace", "/apiKeyRequired", "false")]),
        ),
    ] {
        let told = desired().output_after_update(out()).unwrap();
        let after = desired()
            .update(&apigateway([expected]), &before, out())
            .await
            .unwrap()
            .output;
        assert_eq!(after.digest, told.digest, "the plan tells what will be");
        assert_ne!(
            after.digest,
            out().digest,
            "another route wants another deployment"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_two_changes_have_the_same_digest_not_even_a_change_back() {
    let new = || apigateway([on!(Sdk::put_method, ok(live())), put_integration()]);
    let first = desired().create(&new()).await.unwrap();
    let put_again = desired().create(&new()).await.unwrap();
    let found = apigateway([on!(Sdk::get_method, ok(live()))]);
    let found = desired().find(&found).await.unwrap().unwrap();
    let other = with(&["user-api/read"]);
    let changed = other.output_after_update(first.clone()).unwrap();
    let back = desired().output_after_update(changed.clone()).unwrap();
    let nothing = apigateway([]);
    let settled = desired()
        .update(&nothing, &desired(), back.clone())
        .await
        .unwrap()
        .output;
    let digests = [first, put_again, found, changed, back, settled].map(|out| out.digest);
    assert_eq!(BTreeSet::from(digests).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_asks_for_no_token_of_ours_is_open() {
    let mut open = live();
    open["authorizationType"] = json!("NONE");
    assert!(read(open).await.is_open());
    assert!(!read(live()).await.is_open());
}

#[tokio::test(start_paused = true)]
async fn another_function_changes_nothing_else_of_the_integration() {
    let before = Route {
        uri: "arn:old".to_owned(),
        ..desired()
    };
    let cx = apigateway([on!(
        Sdk::update_integration,
        |i| {
            assert_eq!((i.resource_id(), i.http_method()), (Some("r1"), Some("GET")));
            assert_eq!(i.patch_operations(), [replace("/uri", URI)]);
        },
        ok(json!({}))
    )]);
    desired().update(&cx, &before, out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_integration_that_is_missing_or_of_another_type_is_put() {
    for before in [
        Route {
            uri: String::new(),
            ..desired()
        },
        Route {
            integration: "MOCK".to_owned(),
            ..desired()
        },
    ] {
        desired()
            .update(&apigateway([put_integration()]), &before, out())
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_calls_nobody() {
    desired()
        .update(&apigateway([]), &desired(), out())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_method_that_is_gone_is_told() {
    let scopes = with(&["user-api/read"]);
    let uri = Route {
        uri: "arn:old".to_owned(),
        ..desired()
    };
    for (before, call) in [
        (scopes, on!(Sdk::update_method, gone())),
        (uri, on!(Sdk::update_integration, gone())),
    ] {
        let (class, text) = failed(desired().update(&apigateway([call]), &before, out()).await);
        assert_eq!(class, Some(Class::Gone));
        assert!(text.contains("Invalid Method identifier"), "{text}");
    }
}
