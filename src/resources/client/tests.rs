use std::time::Duration;

use aws_sdk_cognitoidentityprovider::Client as Sdk;
use aws_sdk_cognitoidentityprovider::operation::update_user_pool_client::UpdateUserPoolClientInput;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::aws::test_support::{
    World, always, attempts, cognito, cognito_wire, differing, failed, ok, on, refused, with,
};

const SECRET: &str = "s3cr3ts3cr3ts3cr3ts3cr3t";

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn desired() -> Client {
    Client {
        pool: "eu-central-1_ours".into(),
        name: "user-api-reader".to_owned(),
        mark: String::new(),
        scopes: set(&["user-api/read", "user-api/write"]),
        flows: set(&["client_credentials"]),
        explicit_auth_flows: set(&["ALLOW_REFRESH_TOKEN_AUTH"]),
        access_token_seconds: 3600,
        refresh_token_days: 30,
        token_revocation: true,
        prevent_user_existence_errors: "ENABLED".to_owned(),
    }
}

fn out() -> Output {
    Output {
        client_id: "c1".into(),
    }
}

fn live() -> Value {
    json!({"UserPoolClient": {
        "UserPoolId": "eu-central-1_ours", "ClientId": "c1", "ClientName": "user-api-reader",
        "ClientSecret": SECRET, "AllowedOAuthFlows": ["client_credentials"],
        "AllowedOAuthFlowsUserPoolClient": true, "AllowedOAuthScopes": ["user-api/write", "user-api/read"],
        "ExplicitAuthFlows": ["ALLOW_REFRESH_TOKEN_AUTH"], "EnableTokenRevocation": true,
        "PreventUserExistenceErrors": "ENABLED", "AuthSessionValidity": 3,
        "AccessTokenValidity": 3600, "IdTokenValidity": 3600, "RefreshTokenValidity": 30,
        "TokenValidityUnits": {"AccessToken": "seconds", "IdToken": "seconds", "RefreshToken": "days"},
    }})
}

async fn read(live: Value) -> Client {
    let cx = cognito([on!(Sdk::describe_user_pool_client, ok(live.clone()))]);
    desired().read(&cx, &out()).await.unwrap().unwrap()
}

fn unknown_scope() -> World {
    cognito([always!(
        Sdk::create_user_pool_client,
        refused(
            400,
            "ScopeDoesNotExistException",
            "Invalid scope requested: user-api/read"
        )
    )])
}

#[tokio::test(start_paused = true)]
async fn it_is_found_behind_an_empty_page_that_is_not_the_last() {
    let others =
        json!({"UserPoolClients": [{"ClientId": "c0", "ClientName": "user-api-reader-2"}], "NextToken": "2"});
    let empty = json!({"UserPoolClients": [], "NextToken": "3"});
    let ours = json!({"UserPoolClients": [{"ClientId": "c1", "ClientName": "user-api-reader"}]});
    let cx = cognito([
        on!(
            Sdk::list_user_pool_clients,
            |i| { assert_eq!(i.next_token(), None) },
            ok(others.clone())
        ),
        on!(
            Sdk::list_user_pool_clients,
            |i| { assert_eq!(i.next_token(), Some("2")) },
            ok(empty.clone())
        ),
        on!(
            Sdk::list_user_pool_clients,
            |i| { assert_eq!(i.next_token(), Some("3")) },
            ok(ours.clone())
        ),
    ]);
    assert_eq!(desired().find(&cx).await.unwrap().unwrap().client_id, "c1");
}

#[tokio::test(start_paused = true)]
async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
    let gone = || {
        refused(
            400,
            "ResourceNotFoundException",
            "User pool client c1 does not exist.",
        )
    };
    let cx = cognito([
        on!(Sdk::list_user_pool_clients, ok(json!({"UserPoolClients": []}))),
        on!(Sdk::list_user_pool_clients, gone()),
        on!(Sdk::describe_user_pool_client, gone()),
        on!(
            Sdk::delete_user_pool_client,
            |i| {
                assert_eq!(
                    (i.user_pool_id(), i.client_id()),
                    (Some("eu-central-1_ours"), Some("c1"))
                );
            },
            gone()
        ),
    ]);
    assert!(desired().find(&cx).await.unwrap().is_none());
    assert!(
        desired().find(&cx).await.unwrap().is_none(),
        "its pool is gone too"
    );
    assert_eq!(desired().read(&cx, &out()).await.unwrap(), None);
    desired().delete(&cx, &out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_created_can_do_nothing_but_client_credentials() {
    let cx = cognito([on!(
        Sdk::create_user_pool_client,
        |i| {
            assert_eq!(i.user_pool_id(), Some("eu-central-1_ours"));
            assert_eq!(i.generate_secret(), Some(true));
            assert_eq!(i.allowed_o_auth_flows_user_pool_client(), Some(true));
            assert_eq!(i.allowed_o_auth_flows(), [OAuthFlowType::ClientCredentials]);
            assert_eq!(i.allowed_o_auth_scopes(), ["user-api/read", "user-api/write"]);
            assert_eq!(
                i.explicit_auth_flows(),
                [ExplicitAuthFlowsType::AllowRefreshTokenAuth]
            );
            let units = i.token_validity_units().unwrap();
            assert_eq!(units.access_token(), Some(&TimeUnitsType::Seconds));
            assert_eq!(units.id_token(), Some(&TimeUnitsType::Seconds));
            assert_eq!(units.refresh_token(), Some(&TimeUnitsType::Days));
            assert_eq!(
                (i.access_token_validity(), i.id_token_validity()),
                (Some(3600), Some(3600))
            );
            assert_eq!(i.refresh_token_validity(), Some(30));
            assert_eq!(i.enable_token_revocation(), Some(true));
            let existence = i.prevent_user_existence_errors();
            assert_eq!(existence, Some(&PreventUserExistenceErrorTypes::Enabled));
            assert!(i.callback_urls().is_empty() && i.supported_identity_providers().is_empty());
        },
        ok(live())
    )]);
    assert_eq!(desired().create(&cx).await.unwrap().client_id, "c1");
}

#[tokio::test(start_paused = true)]
async fn the_secret_is_in_nothing_that_is_recorded_or_printed() {
    let answer = live();
    assert!(
        answer.to_string().contains(SECRET),
        "else this test proves nothing"
    );
    let cx = cognito([
        on!(Sdk::create_user_pool_client, ok(live())),
        on!(Sdk::describe_user_pool_client, ok(live())),
    ]);
    let made = desired().create(&cx).await.unwrap();
    let read = desired().read(&cx, &made).await.unwrap().unwrap();
    // The new client's is at hand.
    let secret = secret(&cx, &"eu-central-1_ours".into(), &"c1".into())
        .await
        .unwrap();
    assert_eq!(secret.expose_secret(), SECRET);
    for text in [
        serde_json::to_string(&made).unwrap(),
        format!("{made:?}"),
        serde_json::to_string(&read).unwrap(),
        format!("{read:?}"),
        format!("{secret:?}"),
    ] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_secret_of_a_client_of_another_run_is_asked_for() {
    let cx = cognito([on!(Sdk::describe_user_pool_client, ok(live()))]);
    let secret = secret(&cx, &"eu-central-1_ours".into(), &"c1".into())
        .await
        .unwrap();
    assert_eq!(secret.expose_secret(), SECRET);
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_secret_is_told() {
    let mut public = live();
    public["UserPoolClient"]["ClientSecret"].take();
    let cx = cognito([
        on!(Sdk::describe_user_pool_client, ok(public.clone())),
        on!(
            Sdk::describe_user_pool_client,
            refused(400, "ResourceNotFoundException", "gone")
        ),
    ]);
    assert!(
        failed(secret(&cx, &"p".into(), &"c1".into()).await)
            .1
            .contains("has no secret")
    );
    assert!(
        failed(secret(&cx, &"p".into(), &"c1".into()).await)
            .1
            .contains("not in user pool p any more")
    );
}

#[tokio::test(start_paused = true)]
async fn what_aws_answers_is_no_drift_in_whatever_unit() {
    assert_eq!(read(live()).await, desired());
    let mut hours = live();
    hours["UserPoolClient"]["AccessTokenValidity"] = json!(1);
    hours["UserPoolClient"]["TokenValidityUnits"]["AccessToken"] = json!("hours");
    hours["UserPoolClient"]["RefreshTokenValidity"] = json!(720);
    hours["UserPoolClient"]["TokenValidityUnits"]["RefreshToken"] = json!("hours");
    assert_eq!(read(hours).await, desired());
    // Without units AWS means hours and days.
    let mut bare = live();
    bare["UserPoolClient"]["AccessTokenValidity"] = json!(1);
    bare["UserPoolClient"]["TokenValidityUnits"].take();
    assert_eq!(read(bare).await, desired());
    let mut minutes = live();
    minutes["UserPoolClient"]["AccessTokenValidity"] = json!(60);
    minutes["UserPoolClient"]["TokenValidityUnits"]["AccessToken"] = json!("minutes");
    assert_eq!(read(minutes).await, desired());
}

#[tokio::test(start_paused = true)]
async fn each_foreign_edit_is_told_as_the_field_it_is_in() {
    for (field, member, edit) in [
        ("name", "ClientName", json!("theirs")),
        ("scopes", "AllowedOAuthScopes", json!(["user-api/read"])),
        ("scopes", "AllowedOAuthScopes", Value::Null),
        (
            "flows",
            "AllowedOAuthFlows",
            json!(["client_credentials", "code"]),
        ),
        ("flows", "AllowedOAuthFlowsUserPoolClient", json!(false)),
        (
            "explicit_auth_flows",
            "ExplicitAuthFlows",
            json!(["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_PASSWORD_AUTH"]),
        ),
        ("access_token_seconds", "AccessTokenValidity", json!(86400)),
        ("refresh_token_days", "RefreshTokenValidity", json!(31)),
        ("token_revocation", "EnableTokenRevocation", json!(false)),
        (
            "prevent_user_existence_errors",
            "PreventUserExistenceErrors",
            json!("LEGACY"),
        ),
        (
            "prevent_user_existence_errors",
            "PreventUserExistenceErrors",
            Value::Null,
        ),
    ] {
        let mut changed = live();
        changed["UserPoolClient"][member] = edit;
        assert_eq!(differing(&desired(), &read(changed).await), [field]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_not_visible_yet_is_waited_for() {
    let cx = cognito([
        on!(
            Sdk::create_user_pool_client,
            refused(400, "ScopeDoesNotExistException", "Invalid scope")
        ),
        on!(Sdk::create_user_pool_client, ok(live())),
    ]);
    desired().create(&cx).await.unwrap();
    assert!(
        cx.waits()[0].contains("ScopeDoesNotExistException"),
        "{:?}",
        cx.waits()
    );
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_never_shows_up_is_an_error_after_some_seconds() {
    let began = Instant::now();
    let cx = unknown_scope();
    let (_, text) = failed(desired().create(&cx).await);
    assert!(text.contains("Invalid scope requested: user-api/read"), "{text}");
    let waited = began.elapsed();
    assert!(
        waited >= Duration::from_secs(20) && waited <= Duration::from_secs(26),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_create_that_may_have_been_executed_is_not_repeated() {
    let create = attempts!(
        Sdk::create_user_pool_client,
        refused(500, "InternalErrorException", "boom"),
        ok(live())
    );
    let cx = cognito([create.clone()]);
    let (class, text) = failed(desired().create(&cx).await);
    assert_eq!((class, create.num_calls()), (Some(Class::Ambiguous), 1), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_create_is_repeated() {
    let create = attempts!(
        Sdk::create_user_pool_client,
        refused(400, "TooManyRequestsException", "Rate exceeded"),
        ok(live())
    );
    let cx = cognito([create.clone()]);
    assert_eq!(desired().create(&cx).await.unwrap().client_id, "c1");
    assert_eq!(create.num_calls(), 2);
}

/// All that UpdateUserPoolClient takes beside the name, as it is answered and as it is sent.
fn kept() -> Value {
    json!({
        "RefreshTokenValidity": 30, "AccessTokenValidity": 3600, "IdTokenValidity": 15,
        "TokenValidityUnits": {"AccessToken": "seconds", "IdToken": "minutes", "RefreshToken": "days"},
        "ReadAttributes": ["email"], "WriteAttributes": ["name"],
        "ExplicitAuthFlows": ["ALLOW_REFRESH_TOKEN_AUTH"],
        "SupportedIdentityProviders": ["COGNITO"], "CallbackURLs": ["https://them.example/in"],
        "LogoutURLs": ["https://them.example/out"], "DefaultRedirectURI": "https://them.example/in",
        "AllowedOAuthFlows": ["client_credentials"], "AllowedOAuthScopes": ["user-api/write", "user-api/read"],
        "AllowedOAuthFlowsUserPoolClient": true,
        "AnalyticsConfiguration": {
            "ApplicationArn": "arn:aws:mobiletargeting:eu-central-1:111122223333:apps/a", "UserDataShared": true,
        },
        "PreventUserExistenceErrors": "ENABLED", "EnableTokenRevocation": true,
        "EnablePropagateAdditionalUserContextData": true, "AuthSessionValidity": 7,
        "RefreshTokenRotation": {"Feature": "DISABLED", "RetryGracePeriodSeconds": 10},
    })
}

/// A client on which others have set all that can be set.
fn crowded() -> Value {
    let more = json!({
        "UserPoolId": "eu-central-1_ours", "ClientId": "c1", "ClientName": "user-api-reader",
        "ClientSecret": SECRET, "CreationDate": 1.0, "LastModifiedDate": 2.0,
    });
    json!({"UserPoolClient": with(kept(), more)})
}

fn described() -> (String, Value) {
    let request = json!({"UserPoolId": "eu-central-1_ours", "ClientId": "c1"});
    ("DescribeUserPoolClient".to_owned(), request)
}

/// The whole of the crowded client but for these fields.
fn updated(fields: Value) -> (String, Value) {
    let ids = json!({"UserPoolId": "eu-central-1_ours", "ClientId": "c1", "ClientName": "user-api-reader"});
    ("UpdateUserPoolClient".to_owned(), with(with(kept(), ids), fields))
}

fn renamed() -> Client {
    Client {
        name: "renamed".to_owned(),
        ..desired()
    }
}

#[tokio::test(start_paused = true)]
async fn each_field_is_changed_alone_and_all_that_others_set_is_kept() {
    let d = desired;
    let units = json!({"AccessToken": "seconds", "IdToken": "seconds", "RefreshToken": "days"});
    for (before, now, fields) in [
        (d(), renamed(), json!({"ClientName": "renamed"})),
        (
            Client {
                scopes: set(&["user-api/read"]),
                ..d()
            },
            d(),
            json!({"AllowedOAuthScopes": ["user-api/read", "user-api/write"]}),
        ),
        (
            d(),
            Client {
                access_token_seconds: 300,
                ..d()
            },
            json!({"AccessTokenValidity": 300, "IdTokenValidity": 300, "TokenValidityUnits": units}),
        ),
        (
            d(),
            Client {
                refresh_token_days: 1,
                ..d()
            },
            json!({"RefreshTokenValidity": 1}),
        ),
        (
            d(),
            Client {
                token_revocation: false,
                ..d()
            },
            json!({"EnableTokenRevocation": false}),
        ),
        (
            d(),
            Client {
                explicit_auth_flows: set(&["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"]),
                ..d()
            },
            json!({"ExplicitAuthFlows": ["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"]}),
        ),
        (
            d(),
            Client {
                prevent_user_existence_errors: "LEGACY".to_owned(),
                ..d()
            },
            json!({"PreventUserExistenceErrors": "LEGACY"}),
        ),
        (
            d(),
            Client {
                flows: set(&["implicit"]),
                ..d()
            },
            json!({"AllowedOAuthFlows": ["implicit"]}),
        ),
    ] {
        let (cx, wire) = cognito_wire([ok(crowded()), ok(crowded())]);
        now.update(&cx, &before, out()).await.unwrap();
        assert_eq!(wire.sent(), [described(), updated(fields)]);
    }
}

/// The client after someone else has switched on the rotation of refresh tokens, for which the flow that excludes it went.
fn rotating(flows: Value) -> Value {
    let rotation = json!({"RefreshTokenRotation": {"Feature": "ENABLED", "RetryGracePeriodSeconds": 10}});
    let mut rotating = crowded();
    rotating["UserPoolClient"] = with(with(rotating["UserPoolClient"].take(), rotation), flows);
    rotating
}

/// As Cognito judges an update: without flows it takes its defaults, one of which is the excluded one.
fn rotation_beside_the_flow_is_refused(input: &UpdateUserPoolClientInput) {
    let excluded = ExplicitAuthFlowsType::AllowRefreshTokenAuth;
    let has_the_flow = input
        .explicit_auth_flows
        .as_ref()
        .is_none_or(|flows| flows.contains(&excluded));
    let rotates = input
        .refresh_token_rotation()
        .is_some_and(|rotation| *rotation.feature() == FeatureType::Enabled);
    assert!(
        !(has_the_flow && rotates),
        "InvalidParameterException: ALLOW_REFRESH_TOKEN_AUTH and rotation"
    );
}

#[tokio::test(start_paused = true)]
async fn refresh_token_rotation_of_others_ends_where_the_flow_that_excludes_it_is_set_again() {
    for flows in [
        json!({"ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH"]}),
        json!({"ExplicitAuthFlows": null}),
    ] {
        let live = rotating(flows);
        let (cx, wire) = cognito_wire([ok(live.clone()), ok(live), ok(crowded())]);
        let before = desired().read(&cx, &out()).await.unwrap().unwrap();
        assert_eq!(differing(&desired(), &before), ["explicit_auth_flows"]);
        desired().update(&cx, &before, out()).await.unwrap();
        assert_eq!(
            wire.sent()[2],
            updated(json!({"RefreshTokenRotation": {"Feature": "DISABLED"}}))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn refresh_token_rotation_of_others_stays_where_the_flows_do() {
    for flows in [
        json!({"ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH"]}),
        json!({"ExplicitAuthFlows": null}),
    ] {
        let before = read(rotating(flows.clone())).await;
        // As with --no-repair, and while scopes are taken away.
        let now = Client {
            name: "renamed".to_owned(),
            ..before.clone()
        };
        let live = rotating(flows);
        let answer = || ok(live.clone());
        let (cx, wire) = cognito_wire([answer(), answer(), answer(), answer()]);
        now.update(&cx, &before, out()).await.unwrap();
        now.retire(&cx, &out()).await.unwrap();
        for (_, request) in [&wire.sent()[1], &wire.sent()[3]] {
            let rotation = json!({"Feature": "ENABLED", "RetryGracePeriodSeconds": 10});
            assert_eq!(request["RefreshTokenRotation"], rotation);
            assert_eq!(request["ExplicitAuthFlows"], json!(before.explicit_auth_flows));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_update_of_a_rotating_client_is_one_that_cognito_refuses() {
    for flows in [
        json!({"ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH"]}),
        json!({"ExplicitAuthFlows": null}),
    ] {
        let before = read(rotating(flows.clone())).await;
        for now in [
            desired(),
            renamed(),
            Client {
                name: "renamed".to_owned(),
                ..before.clone()
            },
        ] {
            let describe = rotating(flows.clone());
            let cx = cognito([
                on!(Sdk::describe_user_pool_client, ok(describe.clone())),
                on!(
                    Sdk::update_user_pool_client,
                    |i| { rotation_beside_the_flow_is_refused(i) },
                    ok(crowded())
                ),
            ]);
            now.update(&cx, &before, out()).await.unwrap();
        }
    }
}

/// An SDK that knows more than this file would have it reset.
#[test]
fn all_that_an_update_takes_is_kept() {
    let (_, request) = updated(json!({}));
    for member in UpdateUserPoolClientInput::SCHEMA.members() {
        let name = member.member_name().unwrap();
        assert!(request.get(name).is_some(), "{name} is not among what is kept");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_differs_there_is_no_call() {
    let (cx, wire) = cognito_wire([]);
    desired().update(&cx, &desired(), out()).await.unwrap();
    assert_eq!(wire.sent(), []);
}

#[tokio::test(start_paused = true)]
async fn grants_that_were_switched_off_are_switched_on_again() {
    let mut off = crowded();
    off["UserPoolClient"]["AllowedOAuthFlowsUserPoolClient"] = json!(false);
    let (cx, wire) = cognito_wire([ok(off.clone()), ok(off), ok(crowded())]);
    let before = desired().read(&cx, &out()).await.unwrap().unwrap();
    desired().update(&cx, &before, out()).await.unwrap();
    assert_eq!(wire.sent()[2], updated(json!({})));
}

#[tokio::test(start_paused = true)]
async fn validities_without_units_keep_their_meaning() {
    let mut bare = crowded();
    let client = bare["UserPoolClient"].as_object_mut().unwrap();
    client.remove("TokenValidityUnits");
    client.extend([
        ("AccessTokenValidity".to_owned(), json!(2)),
        ("IdTokenValidity".to_owned(), json!(3)),
    ]);
    let units = json!({"AccessToken": "hours", "IdToken": "hours", "RefreshToken": "days"});
    let kept = json!({"AccessTokenValidity": 2, "IdTokenValidity": 3, "TokenValidityUnits": units});
    let (cx, wire) = cognito_wire([ok(bare), ok(crowded())]);
    let before = Client {
        access_token_seconds: 7200,
        ..desired()
    };
    let now = Client {
        access_token_seconds: 7200,
        ..renamed()
    };
    now.update(&cx, &before, out()).await.unwrap();
    assert_eq!(
        wire.sent()[1],
        updated(with(kept, json!({"ClientName": "renamed"})))
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_interrupted_create_left_is_found_by_its_name_and_brought_up_to_date() {
    let listed = json!({"UserPoolClients": [{"ClientId": "c1", "ClientName": "user-api-reader"}]});
    let (cx, wire) = cognito_wire([ok(listed), ok(crowded()), ok(crowded()), ok(crowded())]);
    let now = Client {
        scopes: set(&["user-api/read"]),
        ..desired()
    };
    let found = now.find(&cx).await.unwrap().unwrap();
    let before = now.read(&cx, &found).await.unwrap().unwrap();
    let found = now.update(&cx, &before, found).await.unwrap().output;
    now.retire(&cx, &found).await.unwrap();
    assert_eq!(
        wire.sent()[3],
        updated(json!({"AllowedOAuthScopes": ["user-api/read"]}))
    );
}

#[tokio::test(start_paused = true)]
async fn the_secret_in_an_updates_answers_ends_there() {
    let (cx, wire) = cognito_wire([ok(crowded()), ok(crowded())]);
    let after = renamed().update(&cx, &desired(), out()).await.unwrap().output;
    assert!(!serde_json::to_string(&after).unwrap().contains(SECRET));
    assert!(!format!("{after:?} {:?} {:?}", wire.sent(), cx.waits()).contains(SECRET));
}

#[tokio::test(start_paused = true)]
async fn what_another_changed_meanwhile_is_not_undone() {
    let mut meanwhile = crowded();
    meanwhile["UserPoolClient"]["AuthSessionValidity"] = json!(15);
    let concurrent = refused(
        400,
        "ConcurrentModificationException",
        "another change is under way",
    );
    let (cx, wire) = cognito_wire([ok(crowded()), concurrent, ok(meanwhile), ok(crowded())]);
    renamed().update(&cx, &desired(), out()).await.unwrap();
    let second = updated(json!({"ClientName": "renamed", "AuthSessionValidity": 15}));
    assert_eq!(wire.sent()[2..], [described(), second]);
    assert!(
        cx.waits()[0].contains("ConcurrentModificationException"),
        "{:?}",
        cx.waits()
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_scope_that_is_not_visible_yet_is_waited_for_and_one_that_never_is_ends_with_the_reason() {
    let now = Client {
        scopes: set(&["user-api/new"]),
        ..desired()
    };
    let unknown = || {
        refused(
            400,
            "ScopeDoesNotExistException",
            "Invalid scope requested: user-api/new",
        )
    };
    let (cx, wire) = cognito_wire([ok(crowded()), unknown(), ok(crowded()), ok(crowded())]);
    now.update(&cx, &desired(), out()).await.unwrap();
    assert_eq!((wire.sent().len(), cx.waits().len()), (4, 1));

    let began = Instant::now();
    let cx = cognito((0..7).flat_map(|_| {
        let describe = on!(Sdk::describe_user_pool_client, ok(crowded()));
        [describe, on!(Sdk::update_user_pool_client, unknown())]
    }));
    let before = Client {
        scopes: set(&[]),
        ..desired()
    };
    let (class, text) = failed(now.update(&cx, &before, out()).await);
    assert_eq!(class, Some(Class::NotReady));
    assert!(text.contains("Invalid scope requested: user-api/new"), "{text}");
    assert!(began.elapsed() <= Duration::from_secs(26));
}

#[tokio::test(start_paused = true)]
async fn scopes_that_go_stay_beside_those_that_come_until_they_are_retired() {
    let (cx, wire) = cognito_wire([ok(crowded()), ok(crowded()), ok(crowded()), ok(crowded())]);
    let now = Client {
        scopes: set(&["user-api/read", "user-api/view"]),
        ..desired()
    };
    let after = now.update(&cx, &desired(), out()).await.unwrap();
    assert!(after.retires);
    let out = after.output;
    now.retire(&cx, &out).await.unwrap();
    let both = json!({"AllowedOAuthScopes": ["user-api/read", "user-api/view", "user-api/write"]});
    let own = json!({"AllowedOAuthScopes": ["user-api/read", "user-api/view"]});
    assert_eq!(
        wire.sent(),
        [described(), updated(both), described(), updated(own)]
    );
    // A run that goes on finds both, and has nothing to write but the end.
    let (cx, wire) = cognito_wire([]);
    let before = now.with_scopes_of(&desired());
    let after = now.update(&cx, &before, out).await.unwrap();
    assert!(after.retires);
    let after = now.update(&cx, &now, after.output).await.unwrap();
    assert!(!after.retires);
    assert_eq!(wire.sent(), []);
}

#[test]
fn no_more_scopes_are_kept_than_aws_allows() {
    let many = |word: &str, count: usize| (0..count).map(|n| format!("user-api/{word}{n}")).collect();
    let before = Client {
        scopes: many("old", 50),
        ..desired()
    };
    let now = Client {
        scopes: many("new", 30),
        ..desired()
    };
    let both = now.with_scopes_of(&before).scopes;
    assert_eq!((both.len(), both.is_superset(&now.scopes)), (50, true));
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_goes_and_is_gone_already_is_not_in_the_way() {
    let now = Client {
        scopes: set(&["user-api/view"]),
        ..desired()
    };
    let unknown = || {
        refused(
            400,
            "ScopeDoesNotExistException",
            "Invalid scope requested: user-api/read",
        )
    };
    let waits = (0..7).flat_map(|_| [ok(crowded()), unknown()]);
    let (cx, wire) = cognito_wire(waits.chain([ok(crowded()), ok(crowded())]).collect::<Vec<_>>());
    now.update(&cx, &desired(), out()).await.unwrap();
    assert_eq!(
        *wire.sent().last().unwrap(),
        updated(json!({"AllowedOAuthScopes": ["user-api/view"]}))
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_update_is_an_error_at_once() {
    for code in [
        "InvalidOAuthFlowException",
        "InvalidParameterException",
        "FeatureUnavailableInTierException",
    ] {
        let (cx, wire) = cognito_wire([ok(crowded()), refused(400, code, "the reason")]);
        let (class, text) = failed(renamed().update(&cx, &desired(), out()).await);
        assert_eq!((class, wire.sent().len()), (Some(Class::Refused), 2));
        assert!(
            text.contains(code) && text.contains("the reason") && !text.contains(SECRET),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_of_what_is_gone_is_an_error_that_says_so() {
    let gone = || {
        refused(
            400,
            "ResourceNotFoundException",
            "User pool client c1 does not exist.",
        )
    };
    let (cx, _) = cognito_wire([gone(), ok(crowded()), gone()]);
    let (_, text) = failed(renamed().update(&cx, &desired(), out()).await);
    assert!(
        text.contains("client c1 is not in user pool eu-central-1_ours any more"),
        "{text}"
    );
    assert_eq!(
        failed(renamed().update(&cx, &desired(), out()).await).0,
        Some(Class::Gone)
    );
}

const MARK: &str = " stack=orders owner=1a2b3c4d";

fn marked() -> Client {
    Client {
        mark: MARK.to_owned(),
        ..desired()
    }
}

fn called(name: &str) -> HttpResponse {
    let mut live = live();
    live["UserPoolClient"]["ClientName"] = json!(name);
    ok(live)
}

#[tokio::test(start_paused = true)]
async fn in_a_pool_of_others_its_name_in_cognito_has_the_mark_and_only_that_name_is_it() {
    let (cx, wire) = cognito_wire([called(&format!("user-api-reader{MARK}"))]);
    marked().create(&cx).await.unwrap();
    assert_eq!(wire.sent()[0].1["ClientName"], format!("user-api-reader{MARK}"));
    let names = [
        "user-api-reader".to_owned(),
        format!("user-api-reader{MARK} "),
        format!("User-api-reader{MARK}"),
        format!("x user-api-reader{MARK}"),
        "user-api-reader stack=orders owner=1a2b3c4e".to_owned(),
    ];
    let clients: Vec<Value> = (names.iter())
        .map(|name| json!({"ClientId": "theirs", "ClientName": name}))
        .collect();
    let (cx, _) = cognito_wire([ok(json!({"UserPoolClients": clients}))]);
    assert!(marked().find(&cx).await.unwrap().is_none());
    let ours = json!({"ClientId": "c1", "ClientName": format!("user-api-reader{MARK}")});
    let all = [clients, vec![ours]].concat();
    let (cx, _) = cognito_wire([ok(json!({"UserPoolClients": all}))]);
    assert_eq!(marked().find(&cx).await.unwrap().unwrap().client_id, "c1");
}

#[tokio::test(start_paused = true)]
async fn what_lost_the_mark_is_neither_read_nor_changed_nor_deleted() {
    for name in [
        "user-api-reader",
        "user-api-reader stack=orders owner=00000000",
        "",
    ] {
        let (cx, wire) = cognito_wire([called(name), called(name), called(name)]);
        let before = Client {
            access_token_seconds: 600,
            ..marked()
        };
        for error in [
            marked().read(&cx, &out()).await.unwrap_err(),
            marked().update(&cx, &before, out()).await.unwrap_err(),
            marked().check_owner(&cx, &out()).await.unwrap_err(),
        ] {
            assert!(crate::resource::is_stranger(&error), "{error:#}");
            assert!(
                error
                    .to_string()
                    .contains("client c1 of user pool eu-central-1_ours"),
                "{error:#}"
            );
            assert!(!format!("{error:#}").contains(SECRET));
        }
        let sent: Vec<String> = wire.sent().into_iter().map(|(operation, _)| operation).collect();
        assert_eq!(sent, ["DescribeUserPoolClient"; 3]);
    }
    // With the mark a name that somebody changed is drift, and what is gone is nobody's.
    let gone = refused(
        400,
        "ResourceNotFoundException",
        "User pool client c1 does not exist.",
    );
    let (cx, _) = cognito_wire([
        called(&format!("other{MARK}")),
        called(&format!("other{MARK}")),
        gone,
    ]);
    let live = marked().read(&cx, &out()).await.unwrap().unwrap();
    assert_eq!(differing(&marked(), &live), ["name"]);
    marked().check_owner(&cx, &out()).await.unwrap();
    marked().check_owner(&cx, &out()).await.unwrap();
    // In the stack's own pool no call is made for it.
    let (cx, wire) = cognito_wire([]);
    desired().check_owner(&cx, &out()).await.unwrap();
    assert_eq!(wire.sent(), []);
}
