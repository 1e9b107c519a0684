use std::mem::ManuallyDrop;

use aws_sdk_apigateway::Client as Sdk;
use aws_smithy_mocks::Rule;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::aws::test_support::{
    always, apigateway, differing, failed, ok, on, our_tags, our_tags_and_more, refused, response,
    strangers_tags, with,
};
use crate::resource::{in_the_way, is_stranger};

const NAME: &str = "api.example.com";
const CERTIFICATE: &str = "arn:aws:acm:eu-central-1:111122223333:certificate/1";
const OTHER: &str = "arn:aws:acm:eu-central-1:111122223333:certificate/2";
const TARGET: &str = "d-a1b2.execute-api.eu-central-1.amazonaws.com";
const ENHANCED: &str = "SecurityPolicy_TLS13_1_3_2025_09";

fn desired() -> DomainName {
    DomainName {
        name: NAME.to_owned(),
        certificate: CERTIFICATE.to_owned(),
        ownership_certificate: String::new(),
        security_policy: "TLS_1_2".to_owned(),
        truststore: String::new(),
        truststore_version: String::new(),
        tags: our_tags(),
        trouble: None,
    }
}

fn mutual() -> DomainName {
    DomainName {
        truststore: "s3://bucket/clients.pem".to_owned(),
        truststore_version: "v1".to_owned(),
        ownership_certificate: OTHER.to_owned(),
        ..desired()
    }
}

fn out() -> Output {
    Output {
        target: TARGET.to_owned(),
        zone: "Z1".to_owned(),
    }
}

/// As AWS answers it.
fn answer(tags: &Tags) -> Value {
    json!({
        "domainName": NAME, "regionalCertificateArn": CERTIFICATE, "regionalDomainName": TARGET,
        "regionalHostedZoneId": "Z1", "endpointConfiguration": {"types": ["REGIONAL"], "ipAddressType": "ipv4"},
        "securityPolicy": "TLS_1_2", "domainNameStatus": "AVAILABLE", "routingMode": "BASE_PATH_MAPPING_ONLY",
        "tags": tags,
    })
}

fn live() -> HttpResponse {
    ok(answer(&our_tags_and_more()))
}

fn in_state(status: &str) -> HttpResponse {
    ok(with(
        answer(&our_tags()),
        json!({"domainNameStatus": status, "domainNameStatusMessage": "AWS's reason"}),
    ))
}

fn gone() -> HttpResponse {
    refused(
        404,
        "NotFoundException",
        "Invalid domain name identifier specified",
    )
}

fn get(answer: impl Fn() -> HttpResponse + Send + Sync + 'static) -> Rule {
    on!(
        Sdk::get_domain_name,
        |i| { assert_eq!(i.domain_name(), Some(NAME)) },
        answer()
    )
}

fn create(answer: impl Fn() -> HttpResponse + Send + Sync + 'static) -> Rule {
    on!(
        Sdk::create_domain_name,
        |i| {
            assert_eq!(i.domain_name(), Some(NAME));
            assert_eq!(i.regional_certificate_arn(), Some(CERTIFICATE));
            assert_eq!(
                i.endpoint_configuration().unwrap().types(),
                [EndpointType::Regional]
            );
            assert_eq!(i.security_policy(), Some(&SecurityPolicy::Tls12));
            assert_eq!(i.endpoint_access_mode(), None);
            assert_eq!(i.mutual_tls_authentication(), None);
            assert_eq!(i.ownership_verification_certificate_arn(), None);
            assert_eq!(i.tags(), Some(&tags::map(&our_tags())));
        },
        answer()
    )
}

fn no_mappings() -> Rule {
    on!(
        Sdk::get_base_path_mappings,
        |i| { assert_eq!(i.domain_name(), Some(NAME)) },
        ok(json!({}))
    )
}

#[tokio::test(start_paused = true)]
async fn it_is_created_regional_with_its_owner_and_told_where_dns_points() {
    let cx = apigateway([create(live), get(live)]);
    let made = desired().create(&cx).await.unwrap();
    assert_eq!((made.target.as_str(), made.zone.as_str()), (TARGET, "Z1"));
    assert!(cx.waits().is_empty());
}

#[tokio::test(start_paused = true)]
async fn with_mutual_tls_the_certificates_go_along_and_a_newer_policy_has_its_mode() {
    let check = on!(
        Sdk::create_domain_name,
        |i| {
            let mutual = i.mutual_tls_authentication().unwrap();
            assert_eq!(mutual.truststore_uri(), Some("s3://bucket/clients.pem"));
            assert_eq!(mutual.truststore_version(), Some("v1"));
            assert_eq!(i.ownership_verification_certificate_arn(), Some(OTHER));
        },
        live()
    );
    mutual().create(&apigateway([check, get(live)])).await.unwrap();
    let check = on!(
        Sdk::create_domain_name,
        |i| {
            assert_eq!(i.security_policy().unwrap().as_str(), ENHANCED);
            assert_eq!(i.endpoint_access_mode(), Some(&EndpointAccessMode::Basic));
        },
        live()
    );
    let newer = DomainName {
        security_policy: ENHANCED.to_owned(),
        ..desired()
    };
    newer.create(&apigateway([check, get(live)])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_waits_until_api_gateway_has_set_it_up_and_says_so() {
    let cx = apigateway([
        create(live),
        get(|| in_state("PENDING")),
        get(|| in_state("UPDATING")),
        get(live),
    ]);
    desired().create(&cx).await.unwrap();
    assert_eq!(
        cx.waits(),
        ["API Gateway to set up the domain api.example.com"; 2]
    );
}

#[tokio::test(start_paused = true)]
async fn a_domain_that_is_stuck_is_told_in_awss_words_and_is_drift() {
    for state in [
        "FAILED",
        "PENDING_OWNERSHIP_VERIFICATION",
        "PENDING_CERTIFICATE_REIMPORT",
    ] {
        let cx = apigateway([
            create(live),
            get(move || in_state(state)),
            get(move || in_state(state)),
            get(move || in_state(state)),
        ]);
        let error = desired().create(&cx).await.unwrap_err();
        let words = format!("domain {NAME} does not work: {state}: AWS's reason");
        assert_eq!(error.to_string(), words);
        let read = desired().read(&cx, &out()).await.unwrap().unwrap();
        assert_eq!(read.trouble, Some(format!("{state}: AWS's reason")));
        assert_ne!(read, desired());
        // So that it can be deleted.
        assert!(desired().find(&cx).await.unwrap().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_ours_only_with_our_owner() {
    let taken = || {
        refused(
            400,
            "BadRequestException",
            "The domain name you provided already exists.",
        )
    };
    let cx = apigateway([
        create(taken),
        get(live),
        get(|| ok(answer(&strangers_tags()))),
        get(|| ok(with(answer(&our_tags()), json!({"tags": null})))),
        get(gone),
    ]);
    assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Taken));
    assert!(
        desired().find(&cx).await.unwrap().is_some(),
        "the answer was lost"
    );
    for _ in 0..2 {
        assert!(is_stranger(&desired().find(&cx).await.unwrap_err()));
    }
    assert!(desired().find(&cx).await.unwrap().is_none(), "of another account");
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_answer_is_lost_meets_itself() {
    let cx = apigateway([crate::aws::test_support::attempts!(
        Sdk::create_domain_name,
        response(503, String::new()),
        refused(
            400,
            "BadRequestException",
            "The domain name you provided already exists."
        )
    )]);
    assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Taken));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_aws_does_not_take_is_told_in_its_words() {
    let words = "The certificate provided must be owned by the account creating the domain.";
    let cx = apigateway([create(move || refused(400, "BadRequestException", words))]);
    let (class, told) = failed(desired().create(&cx).await);
    assert_eq!(class, Some(Class::Refused));
    assert!(told.contains(words), "{told}");
}

#[tokio::test(start_paused = true)]
async fn the_owner_of_a_domain_is_told_whoever_it_is() {
    let cx = apigateway([
        get(gone),
        get(live),
        get(|| ok(answer(&strangers_tags()))),
        get(|| ok(answer(&Tags::new()))),
    ]);
    for expected in [None, Some("1a2b3c4d"), Some("ffffffff"), Some("")] {
        assert_eq!(owner(&cx, NAME).await.unwrap().as_deref(), expected);
    }
}

fn patched(expected: &'static [(&'static str, &'static str)]) -> Rule {
    on!(
        Sdk::update_domain_name,
        |i| {
            assert_eq!(i.domain_name(), Some(NAME));
            let patches = expected.iter().map(|(path, value)| replace(path, value));
            assert_eq!(i.patch_operations(), patches.collect::<Vec<_>>());
        },
        live()
    )
}

#[tokio::test(start_paused = true)]
async fn all_that_changes_goes_in_one_call() {
    const URI: &str = "/mutualTlsAuthentication/truststoreUri";
    const VERSION: &str = "/mutualTlsAuthentication/truststoreVersion";
    const OWNERSHIP: &str = "/ownershipVerificationCertificateArn";
    let newer = DomainName {
        security_policy: ENHANCED.to_owned(),
        ..desired()
    };
    let other = DomainName {
        certificate: OTHER.to_owned(),
        ..desired()
    };
    let other_version = DomainName {
        truststore_version: "v2".to_owned(),
        ..mutual()
    };
    let other_truststore = DomainName {
        truststore: "s3://bucket/more.pem".to_owned(),
        ..mutual()
    };
    let no_version = DomainName {
        truststore_version: String::new(),
        ..mutual()
    };
    for (before, after, patches) in [
        (desired(), other, &[("/regionalCertificateArn", OTHER)][..]),
        (
            desired(),
            newer.clone(),
            &[("/securityPolicy", ENHANCED), ("/endpointAccessMode", "BASIC")],
        ),
        (
            newer,
            desired(),
            &[("/securityPolicy", "TLS_1_2"), ("/endpointAccessMode", "")],
        ),
        (
            desired(),
            mutual(),
            &[
                (OWNERSHIP, OTHER),
                (URI, "s3://bucket/clients.pem"),
                (VERSION, "v1"),
            ],
        ),
        (mutual(), desired(), &[(OWNERSHIP, ""), (URI, "")]),
        (mutual(), other_version, &[(VERSION, "v2")]),
        (mutual(), no_version, &[(VERSION, "")]),
        (
            mutual(),
            other_truststore,
            &[(URI, "s3://bucket/more.pem"), (VERSION, "v1")],
        ),
    ] {
        let cx = apigateway([patched(patches), get(live)]);
        after.update(&cx, &before, out()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_waits_for_what_an_interrupted_one_began() {
    let cx = apigateway([get(|| in_state("UPDATING")), get(live)]);
    desired().update(&cx, &desired(), out()).await.unwrap();
    assert_eq!(cx.waits().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_under_way_is_waited_for_and_so_is_the_rate() {
    let before = DomainName {
        certificate: OTHER.to_owned(),
        ..desired()
    };
    let busy = || refused(409, "ConflictException", "There is already an update in progress");
    let many = || refused(429, "TooManyRequestsException", "Too Many Requests");
    for (refusal, code) in [
        (busy as fn() -> HttpResponse, "ConflictException"),
        (many, "TooManyRequestsException"),
    ] {
        let began = Instant::now();
        let cx = apigateway([always!(Sdk::update_domain_name, refusal())]);
        let (_, told) = failed(desired().update(&cx, &before, out()).await);
        assert!(told.contains(code), "{told}");
        assert!(cx.waits().iter().all(|wait| wait.contains(code)));
        assert!((1800..1900).contains(&began.elapsed().as_secs()), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_is_drift_of_that_field_alone() {
    for (field, other) in [
        ("certificate", json!({"regionalCertificateArn": OTHER})),
        ("security_policy", json!({"securityPolicy": "TLS_1_0"})),
        (
            "ownership_certificate",
            json!({"ownershipVerificationCertificateArn": OTHER}),
        ),
        (
            "truststore",
            json!({"mutualTlsAuthentication": {"truststoreUri": "s3://bucket/theirs.pem", "truststoreVersion": "v"}}),
        ),
    ] {
        let other = other.clone();
        let cx = apigateway([get(move || ok(with(answer(&our_tags()), other.clone())))]);
        let read = desired().read(&cx, &out()).await.unwrap().unwrap();
        assert_eq!(differing(&read, &desired()), [field]);
    }
    let theirs = json!({
        "mutualTlsAuthentication": {"truststoreUri": "s3://bucket/clients.pem", "truststoreVersion": "v9"},
        "ownershipVerificationCertificateArn": OTHER,
    });
    let cx = apigateway([get(move || ok(with(answer(&our_tags()), theirs.clone())))]);
    let read = mutual().read(&cx, &out()).await.unwrap().unwrap();
    assert_eq!(differing(&read, &mutual()), ["truststore_version"]);
}

#[tokio::test(start_paused = true)]
async fn the_domain_of_a_stranger_is_neither_read_nor_passes_the_check() {
    let theirs = || ok(answer(&strangers_tags()));
    let cx = apigateway([get(theirs), get(theirs)]);
    assert!(is_stranger(&desired().read(&cx, &out()).await.unwrap_err()));
    assert!(is_stranger(
        &desired().check_owner(&cx, &out()).await.unwrap_err()
    ));
}

#[tokio::test(start_paused = true)]
async fn it_is_deleted_once_nobody_uses_it() {
    let cx = apigateway([
        no_mappings(),
        on!(
            Sdk::delete_domain_name,
            |i| { assert_eq!(i.domain_name(), Some(NAME)) },
            response(202, String::new())
        ),
        on!(Sdk::get_base_path_mappings, gone()),
        on!(Sdk::delete_domain_name, gone()),
    ]);
    desired().delete(&cx, &out()).await.unwrap();
    desired().delete(&cx, &out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_mappings_of_others_on_any_page_it_is_not_deleted() {
    let theirs = json!({"basePath": "(none)", "restApiId": "zzz", "stage": "prod"});
    let more = json!({"basePath": "shop", "restApiId": "yyy", "stage": "prod"});
    let cx = apigateway([
        on!(
            Sdk::get_base_path_mappings,
            |i| { assert_eq!(i.position(), None) },
            ok(json!({"item": [theirs.clone()], "position": "p2"}))
        ),
        on!(
            Sdk::get_base_path_mappings,
            |i| { assert_eq!(i.position(), Some("p2")) },
            ok(json!({"item": [more.clone()]}))
        ),
    ]);
    let error = desired().delete(&cx, &out()).await.unwrap_err();
    let foreign = in_the_way(&error).unwrap();
    assert_eq!(
        foreign.what,
        "domain api.example.com is not deleted while it has mappings that this stack did not make, which AWS would delete with \
         it: / (API zzz), /shop (API yyy)"
    );
    assert_eq!(
        foreign.command,
        "aws apigateway delete-base-path-mapping --domain-name api.example.com --base-path '(none)'"
    );
}

#[tokio::test(start_paused = true)]
async fn a_deletion_waits_for_the_rate_for_half_an_hour() {
    let began = Instant::now();
    let look_and_try = |_| {
        let many = || refused(429, "TooManyRequestsException", "Too Many Requests");
        [no_mappings(), on!(Sdk::delete_domain_name, many())]
    };
    // How often it tries is not said here.
    let cx = ManuallyDrop::new(apigateway((0..1000).flat_map(look_and_try)));
    let (class, _) = failed(desired().delete(&cx, &out()).await);
    assert_eq!(class, Some(Class::Throttle));
    assert!((1800..1900).contains(&began.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_mapping_that_comes_while_a_deletion_waits_for_the_rate_keeps_the_domain() {
    let theirs = json!({"basePath": "late", "restApiId": "zzz", "stage": "prod"});
    let cx = apigateway([
        no_mappings(),
        on!(
            Sdk::delete_domain_name,
            refused(429, "TooManyRequestsException", "Too Many Requests")
        ),
        on!(Sdk::get_base_path_mappings, ok(json!({"item": [theirs.clone()]}))),
    ]);
    let error = desired().delete(&cx, &out()).await.unwrap_err();
    assert!(in_the_way(&error).unwrap().what.ends_with(": /late (API zzz)"));
}

#[tokio::test(start_paused = true)]
async fn what_api_gateway_says_of_the_certificates_is_kept_with_the_domain_once() {
    const SAID: &str = "Certificate 2 in the truststore has expired.";
    let warned = || {
        let mutual = json!({
            "truststoreUri": "s3://bucket/clients.pem", "truststoreVersion": "v1", "truststoreWarnings": [SAID],
        });
        let changed =
            json!({"mutualTlsAuthentication": mutual, "ownershipVerificationCertificateArn": OTHER});
        ok(with(answer(&our_tags()), changed))
    };
    let cx = apigateway([get(warned), get(warned), get(live)]);
    for _ in 0..2 {
        assert_eq!(mutual().read(&cx, &out()).await.unwrap().unwrap(), mutual());
    }
    desired().read(&cx, &out()).await.unwrap();
    let kept = cx.cloud().truststore_warnings.take();
    assert_eq!(
        kept.into_iter().collect::<Vec<_>>(),
        [(NAME.to_owned(), SAID.to_owned())]
    );
}
