use aws_sdk_cognitoidentityprovider::Client as Sdk;
use aws_smithy_runtime_api::client::result::ConnectorError;
use secrecy::ExposeSecret;
use serde_json::json;
use std::sync::atomic::Ordering;

use super::*;
use crate::aws::test_support::{always, attempts, cognito, cut_off, failed, ok, on, refused};
use crate::resource::Class;

const VALUE: &str = "1example2example3example4example5example6example";

fn descriptor(id: &str, date: f64) -> serde_json::Value {
    json!({"ClientSecretId": id, "ClientSecretCreateDate": date})
}

#[tokio::test]
async fn all_pages_are_listed_with_their_dates() {
    let cx = cognito([
        on!(
            Sdk::list_user_pool_client_secrets,
            |i| {
                assert_eq!((i.user_pool_id(), i.client_id()), (Some("p"), Some("c1")));
                assert_eq!(i.next_token(), None);
            },
            ok(json!({"ClientSecrets": [descriptor("c1--1", 1_763_715_000.123)], "NextToken": "2"}))
        ),
        on!(
            Sdk::list_user_pool_client_secrets,
            |i| { assert_eq!(i.next_token(), Some("2")) },
            ok(json!({"ClientSecrets": [{"ClientSecretId": "c1--2"}]}))
        ),
    ]);
    let secrets = list(&cx, &"p".into(), &"c1".into()).await.unwrap();
    assert_eq!(
        secrets,
        [
            Listed {
                id: "c1--1".to_owned(),
                created: Some("2025-11-21T08:50:00.123Z".parse().unwrap())
            },
            Listed {
                id: "c1--2".to_owned(),
                created: None
            },
        ]
    );
}

#[tokio::test]
async fn a_client_that_is_gone_has_none_and_its_secrets_are_deleted() {
    let gone = || {
        refused(
            400,
            "ResourceNotFoundException",
            "User pool client c1 does not exist.",
        )
    };
    let cx = cognito([on!(Sdk::list_user_pool_client_secrets, gone())]);
    assert_eq!(list(&cx, &"p".into(), &"c1".into()).await.unwrap(), []);
    let cx = cognito([on!(
        Sdk::delete_user_pool_client_secret,
        |i| {
            assert_eq!((i.user_pool_id(), i.client_id()), (Some("p"), Some("c1")));
            assert_eq!(i.client_secret_id(), Some("c1--1"));
        },
        gone()
    )]);
    delete(&cx, &"p".into(), &"c1".into(), "c1--1").await.unwrap();
}

#[tokio::test]
async fn each_answer_of_cognito_says_where_the_secret_is() {
    let arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret/cognito-c1";
    let answer = |members: serde_json::Value| ok(json!({ "UserPoolClient": members }));
    let cx = cognito([
        on!(
            Sdk::describe_user_pool_client,
            answer(json!({"ClientId": "c1", "ClientSecret": VALUE}))
        ),
        on!(
            Sdk::describe_user_pool_client,
            |i| { assert_eq!((i.user_pool_id(), i.client_id()), (Some("p"), Some("c1"))) },
            answer(json!({"ClientId": "c1", "ClientSecretArn": arn}))
        ),
        on!(Sdk::describe_user_pool_client, answer(json!({"ClientId": "c1"}))),
        on!(
            Sdk::describe_user_pool_client,
            refused(400, "ResourceNotFoundException", "gone")
        ),
    ]);
    let kept = async || kept(&cx, &"p".into(), &"c1".into()).await.unwrap();
    let Some(Kept::Told(told)) = kept().await else {
        panic!("it is told")
    };
    assert_eq!(told.expose_secret(), VALUE);
    let Some(Kept::Published(published)) = kept().await else {
        panic!("it is published")
    };
    assert_eq!(published, arn);
    assert!(matches!(kept().await, Some(Kept::Untold)));
    assert!(kept().await.is_none());
}

#[test]
fn a_text_is_the_secret_or_what_cognito_publishes() {
    let published = json!({"userPoolId": "p", "userPoolClientId": "c1", "clientSecretValue": VALUE});
    for text in [
        VALUE.to_owned(),
        format!("{VALUE}\n"),
        format!("{VALUE}\r\n"),
        published.to_string(),
    ] {
        assert_eq!(in_text(&text).unwrap().expose_secret(), VALUE);
    }
    for text in [
        String::new(),
        "\n".to_owned(),
        format!("{VALUE}\n\n"),
        format!("{VALUE} x"),
        "\u{1b}[2J".to_owned(),
        r#"{"clientSecret": "x"}"#.to_owned(),
        r#"{"clientSecretValue": ""}"#.to_owned(),
        format!("{{{VALUE}"),
    ] {
        assert!(in_text(&text).is_none(), "{text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_whose_answer_is_lost_is_looked_up() {
    let lost = || refused(500, "InternalServerException", "try again");
    let last = || {
        refused(
            400,
            "InvalidParameterException",
            "The last secret cannot be deleted.",
        )
    };
    let left = |id: &str| ok(json!({"ClientSecrets": [descriptor(id, 1.0)]}));
    // Lost ten times, or repeated by the SDK and then refused, as one secret is left.
    for answer in [
        attempts!(
            Sdk::delete_user_pool_client_secret,
            lost(),
            lost(),
            lost(),
            lost(),
            lost(),
            lost(),
            lost(),
            lost(),
            lost(),
            lost()
        ),
        attempts!(Sdk::delete_user_pool_client_secret, lost(), last()),
    ] {
        let cx = cognito([answer, on!(Sdk::list_user_pool_client_secrets, left("c1--2"))]);
        delete(&cx, &"p".into(), &"c1".into(), "c1--1").await.unwrap();
    }
    // It is still there, or the list cannot be read: the deletion's own error.
    for listed in [
        on!(Sdk::list_user_pool_client_secrets, left("c1--1")),
        on!(
            Sdk::list_user_pool_client_secrets,
            refused(400, "AccessDeniedException", "no list")
        ),
    ] {
        let cx = cognito([on!(Sdk::delete_user_pool_client_secret, last()), listed]);
        let (class, text) = failed(delete(&cx, &"p".into(), &"c1".into(), "c1--1").await);
        assert_eq!(class, Some(Class::Refused));
        assert!(text.contains("The last secret cannot be deleted."), "{text}");
    }
    // What was refused for want of the right is not looked up.
    let cx = cognito([on!(
        Sdk::delete_user_pool_client_secret,
        refused(400, "AccessDeniedException", "no right")
    )]);
    assert_eq!(
        failed(delete(&cx, &"p".into(), &"c1".into(), "c1--1").await).0,
        Some(Class::Denied)
    );
}

#[tokio::test]
async fn cognito_chooses_the_value_of_a_new_one() {
    let mut secret = descriptor("c1--2", 1_763_715_000.0);
    secret["ClientSecretValue"] = json!(VALUE);
    let cx = cognito([on!(
        Sdk::add_user_pool_client_secret,
        |i| {
            assert_eq!((i.user_pool_id(), i.client_id()), (Some("p"), Some("c1")));
            assert_eq!(i.client_secret(), None);
        },
        ok(json!({"ClientSecretDescriptor": secret.clone()}))
    )]);
    let added = add(&cx, &"p".into(), &"c1".into()).await.unwrap();
    assert_eq!(added.id, "c1--2");
    assert_eq!(added.value.expose_secret(), VALUE);
}

#[tokio::test]
async fn a_value_that_is_given_is_sent_and_need_not_come_back() {
    let cx = cognito([on!(
        Sdk::add_user_pool_client_secret,
        |i| { assert_eq!(i.client_secret(), Some(VALUE)) },
        ok(json!({"ClientSecretDescriptor": descriptor("c1--2", 1.0)}))
    )]);
    let id = adopt(&cx, &"p".into(), &"c1".into(), &VALUE.into())
        .await
        .unwrap();
    assert_eq!(id, "c1--2");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_refused_is_not_repeated_and_one_that_may_be_there_is_not_sent_again() {
    let cx = cognito([attempts!(
        Sdk::add_user_pool_client_secret,
        refused(
            400,
            "InvalidParameterException",
            &format!("Value '{VALUE}' at 'clientSecret' failed")
        )
    )]);
    let (class, text) = failed(adopt(&cx, &"p".into(), &"c1".into(), &VALUE.into()).await);
    assert_eq!(class, Some(Class::Refused));
    assert!(text.contains("Value '[the secret]' at"), "{text}");

    let (cx, requests) = cut_off(|| ConnectorError::timeout("no answer".into()));
    let (class, _) = failed(adopt(&cx, &"p".into(), &"c1".into(), &VALUE.into()).await);
    assert_eq!(class, Some(Class::Ambiguous));
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[test]
fn what_cognito_takes_as_a_secret_is_known() {
    for (text, expected) in [
        (VALUE.to_owned(), true),
        ("a_+1".repeat(6), true),
        ("a".repeat(64), true),
        ("a".repeat(23), false),
        ("a".repeat(65), false),
        ("a-b".repeat(10), false),
        ("é".repeat(20), false),
    ] {
        assert_eq!(can_be_one(&text.as_str().into()), expected, "{text}");
    }
}

#[tokio::test]
async fn an_answer_without_a_value_is_no_success() {
    let cx = cognito([on!(
        Sdk::add_user_pool_client_secret,
        ok(json!({"ClientSecretDescriptor": descriptor("c1--2", 1.0)}))
    )]);
    let error = add(&cx, &"p".into(), &"c1".into()).await.err().unwrap();
    assert!(error.to_string().contains("answered no secret"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_third_is_a_refusal_and_no_matter_of_rate() {
    let cx = cognito([always!(
        Sdk::add_user_pool_client_secret,
        refused(
            400,
            "LimitExceededException",
            "Maximum number of client secrets exceeded."
        )
    )]);
    let (class, text) = failed(add(&cx, &"p".into(), &"c1".into()).await.map(|_| ()));
    assert_eq!(class, Some(Class::Refused));
    assert!(text.contains("LimitExceededException"), "{text}");
    assert_eq!(cx.waits(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_made_is_not_made_again() {
    let cx = cognito([attempts!(
        Sdk::add_user_pool_client_secret,
        refused(500, "InternalServerException", "try again")
    )]);
    let (class, _) = failed(add(&cx, &"p".into(), &"c1".into()).await.map(|_| ()));
    assert_eq!(class, Some(Class::Ambiguous));

    let (cx, requests) = cut_off(|| ConnectorError::timeout("no answer".into()));
    let (class, _) = failed(add(&cx, &"p".into(), &"c1".into()).await.map(|_| ()));
    assert_eq!(class, Some(Class::Ambiguous));
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_throttled_is_made_later() {
    let mut secret = descriptor("c1--2", 1.0);
    secret["ClientSecretValue"] = json!(VALUE);
    let cx = cognito([attempts!(
        Sdk::add_user_pool_client_secret,
        refused(400, "TooManyRequestsException", "Rate exceeded"),
        ok(json!({"ClientSecretDescriptor": secret.clone()}))
    )]);
    assert_eq!(add(&cx, &"p".into(), &"c1".into()).await.unwrap().id, "c1--2");
}
