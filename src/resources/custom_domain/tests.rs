use aws_sdk_cognitoidentityprovider::Client as Sdk;
use aws_smithy_mocks::Rule;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::aws::test_support::{always, cognito, failed, ok, on, refused};
use crate::resource::is_stranger;

const NAME: &str = "auth.example.com";
const CERTIFICATE: &str = "arn:aws:acm:us-east-1:111122223333:certificate/1";
const OTHER: &str = "arn:aws:acm:us-east-1:111122223333:certificate/2";
const TARGET: &str = "d111abcdef8.cloudfront.net";

fn desired() -> CustomDomain {
    CustomDomain {
        pool: "eu-central-1_abc".into(),
        name: NAME.to_owned(),
        certificate: CERTIFICATE.to_owned(),
    }
}

fn out() -> Output {
    Output {
        target: TARGET.to_owned(),
    }
}

fn live(pool: &str, status: &str, certificate: &str) -> HttpResponse {
    ok(json!({"DomainDescription": {
        "UserPoolId": pool, "AWSAccountId": "111122223333", "Domain": NAME, "Status": status, "S3Bucket": "aws-cognito",
        "CloudFrontDistribution": TARGET, "Version": "1", "CustomDomainConfig": {"CertificateArn": certificate},
    }}))
}

fn ours(status: &'static str) -> Rule {
    describe(move || live("eu-central-1_abc", status, CERTIFICATE))
}

fn describe(answer: impl Fn() -> HttpResponse + Send + Sync + 'static) -> Rule {
    on!(
        Sdk::describe_user_pool_domain,
        |i| { assert_eq!(i.domain(), Some(NAME)) },
        answer()
    )
}

fn nothing() -> HttpResponse {
    ok(json!({"DomainDescription": {}}))
}

fn create(answer: impl Fn() -> HttpResponse + Send + Sync + 'static) -> Rule {
    on!(
        Sdk::create_user_pool_domain,
        |i| {
            assert_eq!(
                (i.domain(), i.user_pool_id()),
                (Some(NAME), Some("eu-central-1_abc"))
            );
            assert_eq!(i.custom_domain_config().unwrap().certificate_arn(), CERTIFICATE);
        },
        answer()
    )
}

fn created() -> HttpResponse {
    ok(json!({"CloudFrontDomain": TARGET}))
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_cloudfront_and_says_so() {
    let cx = cognito([
        create(created),
        ours("CREATING"),
        ours("CREATING"),
        ours("ACTIVE"),
    ]);
    assert_eq!(desired().create(&cx).await.unwrap().target, TARGET);
    let words =
        "CloudFront to serve auth.example.com, which takes minutes, and up to an hour for a certificate";
    assert_eq!(cx.waits(), [words; 2]);
}

#[tokio::test(start_paused = true)]
async fn an_hour_is_enough() {
    let began = Instant::now();
    let cx = cognito([
        create(created),
        always!(
            Sdk::describe_user_pool_domain,
            live("eu-central-1_abc", "CREATING", CERTIFICATE)
        ),
    ]);
    let error = desired().create(&cx).await.unwrap_err();
    assert!(error.to_string().contains("waited 3600 seconds"), "{error}");
    assert!((3600..3700).contains(&began.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_does_not_resolve_is_told_with_what_to_do() {
    let words = "Custom domain is not a valid subdomain: Was not able to resolve the root domain, please ensure an A record \
                 exists for the root domain.";
    let cx = cognito([create(move || refused(400, "InvalidParameterException", words))]);
    let (class, told) = failed(desired().create(&cx).await);
    assert_eq!(class, Some(Class::Taken));
    assert!(
        told.starts_with("Cognito takes the name only if example.com has a record of type A in DNS")
            && told.contains(words),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_ours_only_with_our_pool() {
    let words = "One or more of the CNAMEs you provided are already associated with a different resource";
    let cx = cognito([
        create(move || refused(400, "InvalidParameterException", words)),
        ours("ACTIVE"),
        ours("ACTIVE"),
        describe(|| live("eu-central-1_zzz", "ACTIVE", CERTIFICATE)),
        describe(nothing),
    ]);
    let (class, told) = failed(desired().create(&cx).await);
    assert_eq!(class, Some(Class::Taken));
    assert!(told.contains(words), "{told}");
    assert!(
        desired().find(&cx).await.unwrap().is_some(),
        "the answer was lost"
    );
    assert!(is_stranger(&desired().find(&cx).await.unwrap_err()));
    assert!(desired().find(&cx).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn one_that_failed_is_told_and_can_be_deleted() {
    let cx = cognito([create(created), ours("FAILED"), ours("FAILED")]);
    let error = desired().create(&cx).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Cognito could not set up the domain auth.example.com"
    );
    assert!(desired().find(&cx).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_deletion_is_waited_for() {
    let cx = cognito([ours("DELETING"), ours("DELETING"), describe(nothing)]);
    assert!(desired().find(&cx).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn another_certificate_is_drift_and_changed_in_place() {
    let cx = cognito([
        describe(|| live("eu-central-1_abc", "ACTIVE", OTHER)),
        on!(
            Sdk::update_user_pool_domain,
            |i| {
                assert_eq!(
                    (i.domain(), i.user_pool_id()),
                    (Some(NAME), Some("eu-central-1_abc"))
                );
                assert_eq!(i.custom_domain_config().unwrap().certificate_arn(), CERTIFICATE);
            },
            created()
        ),
        ours("UPDATING"),
        ours("ACTIVE"),
    ]);
    let before = desired().read(&cx, &out()).await.unwrap().unwrap();
    assert_eq!(before.certificate, OTHER);
    desired().update(&cx, &before, out()).await.unwrap();
    assert_eq!(cx.waits().len(), 1);
    // An interrupted update is waited for, and not repeated.
    let cx = cognito([ours("UPDATING"), ours("ACTIVE")]);
    desired().update(&cx, &desired(), out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_another_pool_it_reads_as_none() {
    let cx = cognito([
        describe(|| live("eu-central-1_zzz", "ACTIVE", CERTIFICATE)),
        describe(nothing),
    ]);
    for _ in 0..2 {
        assert!(desired().read(&cx, &out()).await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_of_what_is_gone_succeeds() {
    let delete = |answer: fn() -> HttpResponse| {
        on!(
            Sdk::delete_user_pool_domain,
            |i| {
                assert_eq!(
                    (i.domain(), i.user_pool_id()),
                    (Some(NAME), Some("eu-central-1_abc"))
                );
            },
            answer()
        )
    };
    let gone = || {
        refused(
            400,
            "InvalidParameterException",
            "No such domain or user pool exists.",
        )
    };
    let cx = cognito([
        delete(|| ok(json!({}))),
        delete(gone),
        describe(nothing),
        delete(gone),
        ours("ACTIVE"),
    ]);
    desired().delete(&cx, &out()).await.unwrap();
    desired().delete(&cx, &out()).await.unwrap();
    assert_eq!(
        failed(desired().delete(&cx, &out()).await).0,
        Some(Class::Refused)
    );
}
