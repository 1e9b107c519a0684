//! The bucket that states are kept in: what makes it safe, and what one that exists lacks.
//!
//! Must not change anything of a bucket that exists without being asked to.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, Region};
use aws_sdk_s3::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketLocationConstraint, BucketVersioningStatus,
    CreateBucketConfiguration, ExpirationStatus, LifecycleRule, LifecycleRuleFilter,
    NoncurrentVersionExpiration, ObjectOwnership, OwnershipControls, OwnershipControlsRule,
    PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, VersioningConfiguration,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};

use super::s3::other_region;
use crate::aws::errors::call_error;
use crate::resource::Result;

/// How long an earlier version of a state is kept.
const NONCURRENT_DAYS: i32 = 90;
/// The name of our statement and of our rule in what a bucket may have besides.
const OURS: &str = "provision-state";

/// A bucket for states.
pub struct Bucket {
    builder: Builder,
    client: Client,
    name: String,
    region: String,
    partition: String,
    /// The account that it must be of.
    account: String,
    /// The key to encrypt with, where it is not S3's own.
    kms_key: Option<String>,
}

/// One thing that makes a bucket safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safeguard {
    /// An overwritten state can be restored.
    Versioning,
    /// No policy or ACL opens it to the public.
    NoPublicAccess,
    /// ACLs are off.
    OwnerEnforced,
    /// With the key that was asked for.
    Encryption,
    /// Nothing is answered without TLS.
    TlsOnly,
    /// Old versions do not stay for ever.
    Lifecycle,
}

impl Safeguard {
    /// All, in the order in which they are set.
    pub const ALL: [Self; 6] = [
        Self::NoPublicAccess,
        Self::OwnerEnforced,
        Self::Versioning,
        Self::Encryption,
        Self::TlsOnly,
        Self::Lifecycle,
    ];

    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Versioning => "versioning",
            Self::NoPublicAccess => "no public access",
            Self::OwnerEnforced => "ACLs disabled (owner enforced)",
            Self::Encryption => "encryption",
            Self::TlsOnly => "a policy that denies requests without TLS",
            Self::Lifecycle => "a lifecycle rule that expires old versions",
        }
    }
}

impl Bucket {
    /// Makes no call. `builder`: S3's configuration, in `region`, which is the one to make it in.
    pub fn new(
        builder: Builder,
        name: &str,
        (region, partition, account): (&str, &str, &str),
        kms_key: Option<&str>,
    ) -> Self {
        Self {
            client: Client::from_conf(builder.clone().build()),
            builder,
            name: name.to_owned(),
            region: region.to_owned(),
            partition: partition.to_owned(),
            account: account.to_owned(),
            kms_key: kms_key.map(str::to_owned),
        }
    }

    /// Whether it exists and is of this account.
    ///
    /// # Errors
    /// It is someone else's, or S3 does not answer.
    pub async fn exists(&mut self) -> Result<bool> {
        let head = || {
            let head = self.client.head_bucket().bucket(&self.name);
            head.expected_bucket_owner(&self.account).send()
        };
        let mut answer = head().await;
        if let Some(region) = answer.as_ref().err().and_then(other_region) {
            self.client = Client::from_conf(self.builder.clone().region(Region::new(region)).build());
            let head = self.client.head_bucket().bucket(&self.name);
            answer = head.expected_bucket_owner(&self.account).send().await;
        }
        match answer {
            Ok(_) => Ok(true),
            // The answer to HEAD has no body, and so no code.
            Err(error) if status(&error) == Some(404) => Ok(false),
            Err(error) => Err(call_error("s3:HeadBucket", &error).into()),
        }
    }

    /// Makes it, with S3's defaults. One that this account has already is left as it is.
    ///
    /// # Errors
    /// The name is someone else's, or S3 refuses it.
    pub async fn create(&self) -> Result<()> {
        // S3 refuses the name of this one region as a constraint, and demands that of every other.
        let location = (self.region != "us-east-1").then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(self.region.as_str()))
                .build()
        });
        let create = self.client.create_bucket().bucket(&self.name);
        let create = create
            .object_ownership(ObjectOwnership::BucketOwnerEnforced)
            .set_create_bucket_configuration(location);
        match create.send().await {
            Err(error) if error.code() != Some("BucketAlreadyOwnedByYou") => {
                Err(call_error("s3:CreateBucket", &error).into())
            }
            _ => Ok(()),
        }
    }

    /// What it lacks.
    ///
    /// # Errors
    /// S3 does not answer.
    pub async fn lacks(&self) -> Result<Vec<Safeguard>> {
        let mut lacks = Vec::new();
        for safeguard in Safeguard::ALL {
            if !self.has(safeguard).await? {
                lacks.push(safeguard);
            }
        }
        Ok(lacks)
    }

    async fn has(&self, safeguard: Safeguard) -> Result<bool> {
        macro_rules! read {
            ($operation:literal, $call:ident) => {{
                let call = self.client.$call().bucket(&self.name);
                match call.expected_bucket_owner(&self.account).send().await {
                    Ok(answer) => answer,
                    // `NoSuchPublicAccessBlockConfiguration`, `NoSuchBucketPolicy` and so on: nothing is set.
                    Err(error) if status(&error) == Some(404) && error.code() != Some("NoSuchBucket") => {
                        return Ok(false);
                    }
                    Err(error) => return Err(call_error($operation, &error).into()),
                }
            }};
        }
        Ok(match safeguard {
            Safeguard::Versioning => {
                let answer = read!("s3:GetBucketVersioning", get_bucket_versioning);
                answer.status() == Some(&BucketVersioningStatus::Enabled)
            }
            Safeguard::NoPublicAccess => {
                let answer = read!("s3:GetPublicAccessBlock", get_public_access_block);
                answer.public_access_block_configuration().is_some_and(|block| {
                    [
                        block.block_public_acls(),
                        block.ignore_public_acls(),
                        block.block_public_policy(),
                        block.restrict_public_buckets(),
                    ] == [Some(true); 4]
                })
            }
            Safeguard::OwnerEnforced => {
                let answer = read!("s3:GetBucketOwnershipControls", get_bucket_ownership_controls);
                let rules = answer.ownership_controls().map(OwnershipControls::rules);
                rules
                    .unwrap_or_default()
                    .iter()
                    .any(|rule| rule.object_ownership() == &ObjectOwnership::BucketOwnerEnforced)
            }
            Safeguard::Encryption => {
                let answer = read!("s3:GetBucketEncryption", get_bucket_encryption);
                let rules = answer.server_side_encryption_configuration();
                rules.is_some_and(|rules| {
                    rules.rules().iter().any(|rule| {
                        rule.apply_server_side_encryption_by_default()
                            .is_some_and(|default| {
                                self.kms_key.is_none()
                                    || default.kms_master_key_id() == self.kms_key.as_deref()
                            })
                    })
                })
            }
            Safeguard::TlsOnly => {
                let answer = read!("s3:GetBucketPolicy", get_bucket_policy);
                let policy: Value =
                    serde_json::from_str(answer.policy().unwrap_or_default()).unwrap_or_default();
                statements(&policy).iter().any(denies_without_tls)
            }
            Safeguard::Lifecycle => {
                let answer = read!("s3:GetLifecycleConfiguration", get_bucket_lifecycle_configuration);
                answer.rules().iter().any(|rule| {
                    rule.status() == &ExpirationStatus::Enabled
                        && rule.noncurrent_version_expiration().is_some()
                })
            }
        })
    }

    /// Sets it, and keeps what the bucket's policy and lifecycle have besides.
    ///
    /// # Errors
    /// S3 refuses it.
    pub async fn set(&self, safeguard: Safeguard) -> Result<()> {
        macro_rules! put {
            ($operation:literal, $call:expr) => {
                $call
                    .bucket(&self.name)
                    .expected_bucket_owner(&self.account)
                    .send()
                    .await
                    .map(drop)
                    .map_err(|error| call_error($operation, &error))?
            };
        }
        let s3 = &self.client;
        match safeguard {
            Safeguard::Versioning => {
                let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
                put!(
                    "s3:PutBucketVersioning",
                    s3.put_bucket_versioning()
                        .versioning_configuration(enabled.build())
                );
            }
            Safeguard::NoPublicAccess => {
                let block = PublicAccessBlockConfiguration::builder()
                    .block_public_acls(true)
                    .ignore_public_acls(true)
                    .block_public_policy(true)
                    .restrict_public_buckets(true);
                put!(
                    "s3:PutPublicAccessBlock",
                    s3.put_public_access_block()
                        .public_access_block_configuration(block.build())
                );
            }
            Safeguard::OwnerEnforced => {
                let rule =
                    OwnershipControlsRule::builder().object_ownership(ObjectOwnership::BucketOwnerEnforced);
                let controls = OwnershipControls::builder().rules(complete(rule.build()));
                put!(
                    "s3:PutBucketOwnershipControls",
                    s3.put_bucket_ownership_controls()
                        .ownership_controls(complete(controls.build()))
                );
            }
            Safeguard::Encryption => {
                let default = match &self.kms_key {
                    Some(key) => ServerSideEncryptionByDefault::builder()
                        .sse_algorithm(ServerSideEncryption::AwsKms)
                        .kms_master_key_id(key),
                    None => {
                        ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256)
                    }
                };
                let rule = ServerSideEncryptionRule::builder()
                    .apply_server_side_encryption_by_default(complete(default.build()))
                    .bucket_key_enabled(true);
                let rules = ServerSideEncryptionConfiguration::builder().rules(rule.build());
                put!(
                    "s3:PutBucketEncryption",
                    s3.put_bucket_encryption()
                        .server_side_encryption_configuration(complete(rules.build()))
                );
            }
            Safeguard::TlsOnly => self.deny_without_tls().await?,
            Safeguard::Lifecycle => self.expire_old_versions().await?,
        }
        Ok(())
    }

    async fn deny_without_tls(&self) -> Result<()> {
        let read = self.client.get_bucket_policy().bucket(&self.name);
        let mut policy: Value = match read.expected_bucket_owner(&self.account).send().await {
            Ok(answer) => serde_json::from_str(answer.policy().unwrap_or_default())?,
            Err(error) if error.code() == Some("NoSuchBucketPolicy") => {
                json!({"Version": "2012-10-17", "Statement": []})
            }
            Err(error) => return Err(call_error("s3:GetBucketPolicy", &error).into()),
        };
        let arn = format!("arn:{}:s3:::{}", self.partition, self.name);
        let mut all = statements(&policy);
        all.push(json!({
            "Sid": OURS,
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, format!("{arn}/*")],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }));
        policy["Statement"] = Value::Array(all);
        let put = self.client.put_bucket_policy().bucket(&self.name);
        put.policy(policy.to_string())
            .expected_bucket_owner(&self.account)
            .send()
            .await
            .map_err(|error| call_error("s3:PutBucketPolicy", &error))?;
        Ok(())
    }

    async fn expire_old_versions(&self) -> Result<()> {
        let read = self
            .client
            .get_bucket_lifecycle_configuration()
            .bucket(&self.name);
        let mut rules = match read.expected_bucket_owner(&self.account).send().await {
            Ok(answer) => answer.rules.unwrap_or_default(),
            Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Vec::new(),
            Err(error) => return Err(call_error("s3:GetLifecycleConfiguration", &error).into()),
        };
        let expiration = NoncurrentVersionExpiration::builder().noncurrent_days(NONCURRENT_DAYS);
        let rule = LifecycleRule::builder()
            .id(OURS)
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix("").build())
            .noncurrent_version_expiration(expiration.build());
        rules.push(complete(rule.build()));
        let rules = BucketLifecycleConfiguration::builder()
            .set_rules(Some(rules))
            .build();
        let put = self
            .client
            .put_bucket_lifecycle_configuration()
            .bucket(&self.name);
        put.lifecycle_configuration(complete(rules))
            .expected_bucket_owner(&self.account)
            .send()
            .await
            .map_err(|error| call_error("s3:PutLifecycleConfiguration", &error))?;
        Ok(())
    }
}

fn complete<T>(built: std::result::Result<T, BuildError>) -> T {
    built.expect("every required field is set above")
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// A policy may have one statement that is not in a list.
fn statements(policy: &Value) -> Vec<Value> {
    match &policy["Statement"] {
        Value::Array(all) => all.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

fn denies_without_tls(statement: &Value) -> bool {
    let everyone = [json!("*"), json!({"AWS": "*"})];
    let everything = [json!("s3:*"), json!("*"), json!(["s3:*"])];
    let without = &statement["Condition"]["Bool"]["aws:SecureTransport"];
    statement["Effect"] == "Deny"
        && everyone.contains(&statement["Principal"])
        && everything.contains(&statement["Action"])
        && [json!("false"), json!(false), json!(["false"])].contains(without)
}

#[cfg(test)]
mod tests;
