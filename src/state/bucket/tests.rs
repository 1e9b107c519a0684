//! Against answers as S3 documents them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_sdk_s3::config::{BehaviorVersion, Credentials};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

use super::*;
use crate::resource::{CallError, Class};

const ACCOUNT: &str = "123456789012";
const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";

/// Status, the region that is named, and the body.
type Reply = (u16, &'static str, String);

/// What S3 answers to each request, in turn, and what was asked.
#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<(VecDeque<Reply>, Vec<Asked>)>>);

#[derive(Clone, Debug)]
struct Asked {
    /// Method, host and path with the query.
    what: String,
    owner: Option<String>,
    body: String,
}

impl HttpConnector for Fake {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut shared = self.0.lock().unwrap();
        let body = request.body().bytes().unwrap_or_default();
        shared.1.push(Asked {
            what: format!("{} {}", request.method(), request.uri()),
            owner: (request.headers().get("x-amz-expected-bucket-owner")).map(str::to_owned),
            body: String::from_utf8_lossy(body).into_owned(),
        });
        let Some((status, region, body)) = shared.0.pop_front() else {
            return HttpConnectorFuture::ready(Err(ConnectorError::other("no more answers".into(), None)));
        };
        let mut answer = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
        if !region.is_empty() {
            answer.headers_mut().insert("x-amz-bucket-region", region);
        }
        HttpConnectorFuture::ready(Ok(answer))
    }
}

impl Fake {
    fn of(replies: impl IntoIterator<Item = Reply>) -> Self {
        let fake = Self::default();
        fake.0.lock().unwrap().0.extend(replies);
        fake
    }

    fn bucket(&self, region: &str, kms_key: Option<&str>) -> Bucket {
        let fake = self.clone();
        let builder = Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(region.to_owned()))
            .credentials_provider(Credentials::for_tests())
            .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(fake.clone())));
        Bucket::new(builder, "team-state", (region, "aws", ACCOUNT), kms_key)
    }

    /// What was asked; nothing of it, but the creation, without the account that the bucket must be of.
    fn asked(&self) -> Vec<Asked> {
        let asked = self.0.lock().unwrap().1.clone();
        for request in asked.iter().filter(|request| !is_creation(request)) {
            assert_eq!(request.owner.as_deref(), Some(ACCOUNT), "{}", request.what);
        }
        asked
    }
}

fn is_creation(request: &Asked) -> bool {
    request.what.starts_with("PUT ") && !request.what.contains('?')
}

fn ok(body: &str) -> Reply {
    (200, "", body.to_owned())
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    (status, "", body)
}

fn refusal(error: &anyhow::Error) -> &CallError {
    error.downcast_ref().expect("it is S3's refusal")
}

/// The answers to [`Bucket::lacks`] of a bucket that lacks nothing, in the order of [`Safeguard::ALL`].
fn safe() -> [Reply; 6] {
    [
        ok(
            "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>\
            <IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>\
            <RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>",
        ),
        ok(
            "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>",
        ),
        ok("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"),
        encryption("<SSEAlgorithm>AES256</SSEAlgorithm>"),
        ok(
            r#"{"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}"#,
        ),
        ok(
            "<LifecycleConfiguration><Rule><ID>x</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
            <NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration></Rule>\
            </LifecycleConfiguration>",
        ),
    ]
}

fn encryption(default: &str) -> Reply {
    ok(&format!(
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>{default}\
         </ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
    ))
}

async fn lacks(replies: [Reply; 6], kms_key: Option<&str>) -> Vec<Safeguard> {
    let fake = Fake::of(replies);
    let lacks = fake.bucket("eu-west-1", kms_key).lacks().await.unwrap();
    fake.asked();
    lacks
}

#[tokio::test]
async fn a_bucket_is_found_in_whatever_region_it_is() {
    for (replies, expected) in [
        (vec![ok("")], true),
        (vec![(404, "", String::new())], false),
        (vec![(301, "us-west-2", String::new()), ok("")], true),
        (vec![(400, "us-west-2", String::new()), ok("")], true),
    ] {
        let hops = replies.len();
        let fake = Fake::of(replies);
        assert_eq!(fake.bucket("eu-west-1", None).exists().await.unwrap(), expected);
        let asked = fake.asked();
        assert_eq!(asked.len(), hops);
        assert!(hops == 1 || asked[1].what.contains("us-west-2"), "{asked:?}");
    }
}

#[tokio::test]
async fn a_bucket_of_another_account_is_an_error() {
    let fake = Fake::of([(403, "", String::new())]);
    let error = fake.bucket("eu-west-1", None).exists().await.unwrap_err();
    assert_eq!(refusal(&error).class, Class::Denied, "{error:#}");
}

#[tokio::test]
async fn a_bucket_is_created_in_its_region_which_one_region_must_not_name() {
    for (region, constraint) in [
        (
            "eu-west-1",
            Some("<LocationConstraint>eu-west-1</LocationConstraint>"),
        ),
        ("us-east-1", None),
    ] {
        let fake = Fake::of([ok("")]);
        fake.bucket(region, None).create().await.unwrap();
        let body = &fake.asked()[0].body;
        match constraint {
            Some(constraint) => assert!(body.contains(constraint), "{body}"),
            None => assert_eq!(body, ""),
        }
    }
}

#[tokio::test]
async fn a_bucket_that_is_ours_already_is_no_error_and_every_other_refusal_is() {
    let ours = error(
        409,
        "BucketAlreadyOwnedByYou",
        "Your previous request to create the named bucket succeeded and you already own it.",
    );
    Fake::of([ours]).bucket("eu-west-1", None).create().await.unwrap();
    for (status, code, message) in [
        (
            409,
            "BucketAlreadyExists",
            "The requested bucket name is not available.",
        ),
        (
            400,
            "IllegalLocationConstraintException",
            "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.",
        ),
        (400, "InvalidBucketName", "The specified bucket is not valid."),
        (
            400,
            "TooManyBuckets",
            "You have attempted to create more buckets than allowed.",
        ),
        (403, "AccessDenied", "Access Denied"),
    ] {
        let fake = Fake::of([error(status, code, message)]);
        let error = fake.bucket("eu-west-1", None).create().await.unwrap_err();
        assert_eq!(refusal(&error).code.as_deref(), Some(code));
        assert!(format!("{error:#}").contains(message), "{error:#}");
    }
}

#[tokio::test]
async fn what_a_bucket_lacks_is_named_one_by_one() {
    assert_eq!(lacks(safe(), None).await, []);
    let nothing = [
        error(
            404,
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
        ),
        error(
            404,
            "OwnershipControlsNotFoundError",
            "The bucket ownership controls were not found",
        ),
        ok("<VersioningConfiguration/>"),
        error(
            404,
            "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found",
        ),
        error(404, "NoSuchBucketPolicy", "The bucket policy does not exist"),
        error(
            404,
            "NoSuchLifecycleConfiguration",
            "The lifecycle configuration does not exist",
        ),
    ];
    assert_eq!(lacks(nothing.clone(), None).await, Safeguard::ALL);
    for (at, safeguard) in Safeguard::ALL.into_iter().enumerate() {
        let mut replies = safe();
        replies[at] = nothing[at].clone();
        assert_eq!(lacks(replies, None).await, [safeguard]);
    }
}

#[tokio::test]
async fn half_a_safeguard_is_none() {
    let with = |safeguard: Safeguard, change: &dyn Fn(&str) -> String| {
        let mut replies = safe();
        let at = Safeguard::ALL
            .iter()
            .position(|other| *other == safeguard)
            .unwrap();
        replies[at].2 = change(&replies[at].2);
        assert_ne!(replies[at], safe()[at]);
        (safeguard, replies)
    };
    for (safeguard, replies) in [
        with(Safeguard::NoPublicAccess, &|xml| xml.replacen("true", "false", 1)),
        with(Safeguard::OwnerEnforced, &|xml| {
            xml.replace("BucketOwnerEnforced", "ObjectWriter")
        }),
        with(Safeguard::Versioning, &|xml| xml.replace("Enabled", "Suspended")),
        with(Safeguard::TlsOnly, &|policy| {
            policy.replace("\"Deny\"", "\"Allow\"")
        }),
        with(Safeguard::TlsOnly, &|policy| {
            policy.replace("s3:*", "s3:GetObject")
        }),
        with(Safeguard::TlsOnly, &|policy| {
            policy.replace("\"Principal\": \"*\"", "\"Principal\": {\"AWS\": \"1\"}")
        }),
        with(Safeguard::Lifecycle, &|xml| xml.replace("Enabled", "Disabled")),
    ] {
        assert_eq!(lacks(replies, None).await, [safeguard]);
    }
    let with_key = |key: &str| {
        let mut replies = safe();
        replies[3] = encryption(&format!(
            "<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>{key}</KMSMasterKeyID>"
        ));
        replies
    };
    assert_eq!(lacks(with_key("another"), None).await, []);
    assert_eq!(lacks(with_key(KEY), Some(KEY)).await, []);
    assert_eq!(
        lacks(with_key("another"), Some(KEY)).await,
        [Safeguard::Encryption]
    );
    assert_eq!(lacks(safe(), Some(KEY)).await, [Safeguard::Encryption]);
}

#[tokio::test]
async fn what_may_not_be_read_is_not_called_lacking() {
    for at in 0..Safeguard::ALL.len() {
        for (status, code) in [(403, "AccessDenied"), (404, "NoSuchBucket")] {
            let mut replies = safe();
            replies[at] = error(status, code, "");
            let fake = Fake::of(replies);
            let error = fake.bucket("eu-west-1", None).lacks().await.unwrap_err();
            assert_eq!(refusal(&error).code.as_deref(), Some(code));
        }
    }
}

#[tokio::test]
async fn what_others_have_set_is_kept() {
    let theirs = r#"{"Version": "2012-10-17", "Statement": {"Sid": "theirs", "Effect": "Allow"}}"#;
    let fake = Fake::of([ok(theirs), ok("")]);
    let bucket = fake.bucket("eu-west-1", None);
    bucket.set(Safeguard::TlsOnly).await.unwrap();
    let policy: Value = serde_json::from_str(&fake.asked()[1].body).unwrap();
    assert_eq!(policy["Statement"][0]["Sid"], "theirs");
    assert!(denies_without_tls(&policy["Statement"][1]), "{policy}");
    assert_eq!(
        policy["Statement"][1]["Resource"],
        json!(["arn:aws:s3:::team-state", "arn:aws:s3:::team-state/*"])
    );

    let rules = "<LifecycleConfiguration><Rule><ID>theirs</ID><Status>Enabled</Status>\
                 <Filter><Prefix>logs/</Prefix></Filter></Rule></LifecycleConfiguration>";
    let fake = Fake::of([ok(rules), ok("")]);
    let bucket = fake.bucket("eu-west-1", None);
    bucket.set(Safeguard::Lifecycle).await.unwrap();
    let body = &fake.asked()[1].body;
    assert!(
        body.contains("<ID>theirs</ID>") && body.contains("<ID>provision-state</ID>"),
        "{body}"
    );
}

#[tokio::test]
async fn what_is_set_satisfies_what_is_read_and_a_refusal_is_an_error() {
    for kms_key in [None, Some(KEY)] {
        for safeguard in Safeguard::ALL {
            let reads_first = matches!(safeguard, Safeguard::TlsOnly | Safeguard::Lifecycle);
            let absent = match safeguard {
                Safeguard::TlsOnly => error(404, "NoSuchBucketPolicy", ""),
                _ => error(404, "NoSuchLifecycleConfiguration", ""),
            };
            let fake = Fake::of(reads_first.then(|| absent.clone()).into_iter().chain([ok("")]));
            fake.bucket("eu-west-1", kms_key).set(safeguard).await.unwrap();
            let body = fake.asked().pop().unwrap().body;
            let read = Fake::of([ok(&body)]);
            assert!(
                read.bucket("eu-west-1", kms_key).has(safeguard).await.unwrap(),
                "{safeguard:?}: {body}"
            );
            for (status, code) in [(403, "AccessDenied"), (409, "OperationAborted")] {
                let refused = error(status, code, "");
                let fake = Fake::of(reads_first.then(|| absent.clone()).into_iter().chain([refused]));
                let error = fake
                    .bucket("eu-west-1", kms_key)
                    .set(safeguard)
                    .await
                    .unwrap_err();
                assert_eq!(refusal(&error).code.as_deref(), Some(code), "{safeguard:?}");
            }
        }
    }
}
