use aws_sdk_cognitoidentityprovider::Client as Sdk;
use aws_smithy_mocks::Rule;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};

use super::*;
use crate::aws::test_support::{always, cognito, failed, ok, on, refused};
use crate::resource::is_stranger;

fn desired() -> PoolDomain {
    PoolDomain {
        pool: "eu-central-1_ours".into(),
        prefix: "user-api-1a2b3c4d".to_owned(),
    }
}

fn live(pool: &str, status: &str) -> Value {
    json!({"DomainDescription": {"Domain": "user-api-1a2b3c4d", "UserPoolId": pool, "Status": status}})
}

#[tokio::test(start_paused = true)]
async fn a_prefix_that_cognito_does_not_show_is_not_called_free() {
    let holder = Holder {
        account: Some("999988887777".to_owned()),
        pool: "p9".into(),
    };
    let taken = json!({"DomainDescription": {
        "Domain": "orders", "UserPoolId": "p9", "AWSAccountId": "999988887777", "Status": "ACTIVE",
    }});
    let cx = cognito([
        on!(
            Sdk::describe_user_pool_domain,
            ok(json!({"DomainDescription": {}}))
        ),
        on!(Sdk::describe_user_pool_domain, ok(taken.clone())),
        on!(
            Sdk::describe_user_pool_domain,
            refused(400, "ResourceNotFoundException", "Domain does not exist.")
        ),
    ]);
    for expected in [Prefix::Free, Prefix::Taken(holder), Prefix::Hidden] {
        assert_eq!(look_up(&cx, "orders").await.unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_prefix_is_answered_with_an_empty_description() {
    let empty = || ok(json!({"DomainDescription": {}}));
    let cx = cognito([
        on!(Sdk::describe_user_pool_domain, empty()),
        on!(Sdk::describe_user_pool_domain, empty()),
    ]);
    assert!(desired().find(&cx).await.unwrap().is_none());
    assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_prefix_of_another_pool_is_a_strangers() {
    let strangers = || ok(live("eu-central-1_other", "ACTIVE"));
    let cx = cognito([
        on!(Sdk::describe_user_pool_domain, strangers()),
        on!(Sdk::describe_user_pool_domain, strangers()),
    ]);
    let error = desired().find(&cx).await.unwrap_err();
    assert!(
        is_stranger(&error) && error.to_string().contains("user-api-1a2b3c4d"),
        "{error:#}"
    );
    assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_taken_prefix_is_told_as_taken_so_that_a_look_decides() {
    let taken = "Domain already associated with another user pool.";
    let cx = cognito([on!(
        Sdk::create_user_pool_domain,
        refused(400, "InvalidParameterException", taken)
    )]);
    assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Taken));
}

#[tokio::test(start_paused = true)]
async fn it_is_waited_for_until_it_is_active() {
    let cx = cognito([
        on!(
            Sdk::create_user_pool_domain,
            |i| {
                assert_eq!(i.domain(), Some("user-api-1a2b3c4d"));
                assert_eq!(i.user_pool_id(), Some("eu-central-1_ours"));
            },
            ok(json!({}))
        ),
        on!(
            Sdk::describe_user_pool_domain,
            ok(json!({"DomainDescription": {}}))
        ),
        on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "CREATING"))
        ),
        on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "ACTIVE"))
        ),
    ]);
    desired().create(&cx).await.unwrap();
    assert_eq!(cx.waits(), ["the domain to become ACTIVE"; 2]);
}

#[tokio::test(start_paused = true)]
async fn what_an_interrupted_run_left_creating_is_waited_for_when_it_is_found() {
    let cx = cognito([
        on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "CREATING"))
        ),
        on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "CREATING"))
        ),
        on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "ACTIVE"))
        ),
    ]);
    assert!(desired().find(&cx).await.unwrap().is_some());
    assert_eq!(cx.waits().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_interrupted_run_left_deleting_is_not_found_but_waited_for_until_it_is_gone() {
    let cx = cognito([
        on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "DELETING"))
        ),
        on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "DELETING"))
        ),
        on!(
            Sdk::describe_user_pool_domain,
            ok(json!({"DomainDescription": {}}))
        ),
    ]);
    assert!(desired().find(&cx).await.unwrap().is_none());
    assert_eq!(cx.waits(), ["the domain's deletion to end"]);
}

#[tokio::test(start_paused = true)]
async fn a_domain_that_never_becomes_active_is_given_up() {
    let began = tokio::time::Instant::now();
    let cx = cognito([always!(
        Sdk::describe_user_pool_domain,
        ok(live("eu-central-1_ours", "CREATING"))
    )]);
    let (_, text) = failed(desired().find(&cx).await);
    assert!(text.contains("the domain to become ACTIVE"), "{text}");
    assert!(began.elapsed() < ACTIVE_DEADLINE + Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_failed_domain_is_an_error_at_once() {
    let cx = cognito([
        on!(Sdk::create_user_pool_domain, ok(json!({}))),
        on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "FAILED"))
        ),
    ]);
    desired().create(&cx).await.unwrap_err();
    assert!(cx.waits().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_aws_answers_is_no_drift() {
    let cx = cognito([on!(
        Sdk::describe_user_pool_domain,
        ok(live("eu-central-1_ours", "ACTIVE"))
    )]);
    assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), Some(desired()));
}

#[tokio::test(start_paused = true)]
async fn the_missing_is_deleted_in_either_of_cognitos_words() {
    let cx = cognito([
        on!(
            Sdk::delete_user_pool_domain,
            |i| {
                assert_eq!(
                    (i.domain(), i.user_pool_id()),
                    (Some("user-api-1a2b3c4d"), Some("eu-central-1_ours"))
                );
            },
            refused(400, "ResourceNotFoundException", "no pool")
        ),
        on!(
            Sdk::delete_user_pool_domain,
            refused(
                400,
                "InvalidParameterException",
                "No such domain or user pool exists."
            )
        ),
        on!(
            Sdk::describe_user_pool_domain,
            ok(json!({"DomainDescription": {}}))
        ),
    ]);
    desired().delete(&cx, &NoOutput {}).await.unwrap();
    desired().delete(&cx, &NoOutput {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_deletion_of_what_is_there_is_an_error() {
    let cx = cognito([
        on!(
            Sdk::delete_user_pool_domain,
            refused(400, "InvalidParameterException", "the domain is being updated")
        ),
        on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "ACTIVE"))
        ),
    ]);
    let (class, text) = failed(desired().delete(&cx, &NoOutput {}).await);
    assert_eq!(class, Some(Class::Refused));
    assert!(text.contains("the domain is being updated"), "{text}");
}

fn another_domain() -> HttpResponse {
    refused(
        400,
        "InvalidParameterException",
        "User pool already has a domain configured.",
    )
}

fn described(prefix: &'static str, answer: Value) -> Rule {
    on!(
        Sdk::describe_user_pool_domain,
        |i| { assert_eq!(i.domain(), Some(prefix)) },
        ok(answer.clone())
    )
}

fn pool_with(prefix: &'static str) -> Rule {
    on!(
        Sdk::describe_user_pool,
        |i| { assert_eq!(i.user_pool_id(), Some("eu-central-1_ours")) },
        ok(json!({"UserPool": {"Domain": prefix}}))
    )
}

#[tokio::test(start_paused = true)]
async fn a_domain_that_is_still_being_deleted_is_waited_out() {
    let cx = cognito([
        // Another prefix, then this one, each on its way out.
        on!(Sdk::create_user_pool_domain, another_domain()),
        described("user-api-1a2b3c4d", json!({"DomainDescription": {}})),
        pool_with("other"),
        described("other", live("eu-central-1_ours", "DELETING")),
        on!(Sdk::create_user_pool_domain, another_domain()),
        described("user-api-1a2b3c4d", live("eu-central-1_ours", "DELETING")),
        pool_with("user-api-1a2b3c4d"),
        on!(Sdk::create_user_pool_domain, ok(json!({}))),
        on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "ACTIVE"))
        ),
    ]);
    desired().create(&cx).await.unwrap();
    assert_eq!(cx.waits().len(), 2);
    assert!(
        cx.waits()[0].contains("already has a domain configured"),
        "{:?}",
        cx.waits()
    );
}

#[tokio::test(start_paused = true)]
async fn another_domain_of_the_pool_is_named_at_once_with_what_to_do() {
    let cx = cognito([
        on!(Sdk::create_user_pool_domain, another_domain()),
        described("user-api-1a2b3c4d", json!({"DomainDescription": {}})),
        pool_with("other"),
        described("other", live("eu-central-1_ours", "ACTIVE")),
    ]);
    let (class, text) = failed(desired().create(&cx).await);
    assert_eq!((class, cx.waits().len()), (None, 0));
    for words in [
        "user pool eu-central-1_ours has the domain other already",
        "domain_prefix = \"other\"",
        "delete-user-pool-domain --user-pool-id eu-central-1_ours --domain other",
    ] {
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_domain_that_stays_and_that_nobody_names_is_not_waited_out_for_ever() {
    let began = tokio::time::Instant::now();
    let cx = cognito((0..27).flat_map(|_| {
        let create = on!(Sdk::create_user_pool_domain, another_domain());
        let pool = on!(Sdk::describe_user_pool, ok(json!({"UserPool": {}})));
        [
            create,
            described("user-api-1a2b3c4d", json!({"DomainDescription": {}})),
            pool,
        ]
    }));
    let (class, text) = failed(desired().create(&cx).await);
    assert_eq!(class, Some(Class::NotReady));
    assert!(text.contains("already has a domain configured"), "{text}");
    assert!(began.elapsed() < Duration::from_mins(3));
}

#[tokio::test(start_paused = true)]
async fn one_that_a_lost_answer_left_behind_is_taken_for_what_it_is() {
    let cx = cognito([
        on!(Sdk::create_user_pool_domain, another_domain()),
        on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "CREATING"))
        ),
        on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "ACTIVE"))
        ),
    ]);
    desired().create(&cx).await.unwrap();
    assert!(cx.waits().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_being_deleted_is_still_seen_so_that_its_deletion_is_waited_for() {
    let cx = cognito([on!(
        Sdk::describe_user_pool_domain,
        ok(live("eu-central-1_ours", "DELETING"))
    )]);
    assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), Some(desired()));
}
