//! The clients of the AWS services, configured like those of every AWS tool, and the identity of the credentials.
//!
//! Must not make a call that concerns a stack.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sts::config::SharedCredentialsProvider;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use secrecy::{ExposeSecret, SecretString};

use super::access;
use super::call_log::CallLog;
use super::clock::ServerClock;
use super::ec2::Ec2;
use super::errors::call_error;
use super::fenced::{ATTEMPT_TIMEOUT, Attempts, fenced};
use super::http::{self, READ_DEADLINE, ReadsGiveUp, ThrottlesArePaced};
use super::ids::ClientId;
use super::pace::{Paces, Rights};
use super::shared::Survey;
use super::signed::{SSM, Signed, WAFV2};
use crate::error::Failure;
use crate::lease::Fence;
use crate::oauth::is_loopback;

/// The sandbox's region if none is given.
pub const SANDBOX_REGION: &str = "us-east-1";

/// The secret access key that goes with the sandbox's token: the sandbox does not check signatures.
pub const SANDBOX_SECRET: &str = "sandbox";

/// How often the SDK tries a call that may be repeated if AWS answers 5xx or not at all. With random pauses, up to one
/// second at first and up to twenty in the end, this takes about a minute.
const ATTEMPTS: u32 = 10;

/// How long connecting may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the first call is tried: nothing is lost if it fails.
const IDENTIFY_ATTEMPTS: u32 = 4;

/// What the command line says about how to reach AWS.
#[derive(Clone, Default)]
pub struct Access {
    /// `--region`; `None`: the usual AWS sources.
    pub region: Option<String>,
    /// `--profile`; `None`: the usual AWS sources.
    pub profile: Option<String>,
    /// `--endpoint-url`, or the sandbox; `None`: the usual AWS sources.
    pub endpoint: Option<String>,
    /// The access key id that the sandbox accepts; `None`: the usual AWS sources.
    pub sandbox: Option<SecretString>,
}

/// Who the credentials belong to and where they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// 12 digits.
    pub account: String,
    /// `aws`, `aws-cn`, ….
    pub partition: String,
    /// The region.
    pub region: String,
    /// Where the calls go instead of AWS; `None` on AWS.
    pub endpoint: Option<String>,
}

/// Who the credentials belong to, by name.
pub struct Caller {
    pub identity: Identity,
    /// Of a user, or of a session of a role.
    pub arn: String,
}

/// One client for each service, and where in AWS they are.
pub struct Aws {
    /// `aws`, `aws-cn`, …: for the ARNs that AWS does not return.
    pub partition: String,
    /// The region.
    pub region: String,
    /// 12 digits: for those ARNs as well.
    pub account: String,
    /// API Gateway, REST APIs.
    pub apigateway: aws_sdk_apigateway::Client,
    /// Cognito user pools.
    pub cognito: aws_sdk_cognitoidentityprovider::Client,
    /// EC2, for the network interfaces of functions.
    pub ec2: Ec2,
    /// IAM.
    pub iam: aws_sdk_iam::Client,
    /// Lambda.
    pub lambda: aws_sdk_lambda::Client,
    /// CloudWatch Logs.
    pub logs: aws_sdk_cloudwatchlogs::Client,
    /// Secrets Manager, for a client's secret that is kept there.
    pub secretsmanager: aws_sdk_secretsmanager::Client,
    /// Systems Manager, for a client's secret that is kept in a parameter.
    pub ssm: Signed,
    /// STS, for a role that a secret is handed out with.
    pub sts: aws_sdk_sts::Client,
    /// AWS WAF, for the web ACL of a stage.
    pub wafv2: Signed,
    /// The pace of the operations that AWS has refused for their rate.
    pub paces: Rc<Paces>,
    /// The secrets of the clients that this run has created, by client id, so that they need not be read.
    pub new_secrets: Rc<RefCell<HashMap<ClientId, SecretString>>>,
    /// The managed policies that this run has detached, as role and ARN: IAM may still list them for a while.
    pub detached: Rc<RefCell<HashSet<(String, String)>>>,
    /// What API Gateway has said of the certificates that domains of the stack let clients in with: the domain and its words.
    pub truststore_warnings: Rc<RefCell<BTreeSet<(String, String)>>>,
    /// Whether a deletion fails where it would have to wait for minutes.
    pub no_wait: Cell<bool>,
    /// What one survey has read so far; `None` outside of a survey.
    pub survey: Option<Survey>,
    /// Is called with what a call waits for that does not belong to a step, as a fragment that reads after "waiting
    /// for".
    pub waits: Rc<dyn Fn(&str)>,
}

/// How the SDK repeats calls by itself.
pub(crate) fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS)
}

/// How long a call may take that sends no code.
pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(Duration::from_mins(5))
        .build()
}

/// The SDK's configuration for all clients. Makes no call to AWS (an assumed role or SSO may).
///
/// # Errors
/// No region is configured, or the region, the endpoint or the profile cannot be used.
pub async fn load(access: &Access) -> Result<SdkConfig, Failure> {
    if let Some(endpoint) = &access.endpoint {
        access::check_endpoint(endpoint, "--endpoint-url")?;
    }
    if let Some(profile) = &access.profile {
        access::check_profile(profile).await?;
    }
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .retry_config(retries())
        .timeout_config(timeouts());
    if let Some(region) = &access.region {
        loader = loader.region(Region::new(region.clone()));
    } else if access.sandbox.is_some() {
        loader = loader.region(Region::new(SANDBOX_REGION));
    } else {
        match access::region_beside_an_empty_one() {
            None => {}
            Some(Ok(region)) => loader = loader.region(Region::new(region)),
            Some(Err(())) => {
                let of_profile = ProfileFileRegionProvider::builder();
                loader = loader.region(match &access.profile {
                    Some(profile) => of_profile.profile_name(profile).build(),
                    None => of_profile.build(),
                });
            }
        }
    }
    if let Some(profile) = &access.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &access.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(key) = &access.sandbox {
        let key = key.expose_secret();
        let credentials = aws_sdk_sts::config::Credentials::new(key, SANDBOX_SECRET, None, None, "sandbox");
        loader = loader.credentials_provider(credentials);
    }
    loader = loader.http_client(http::client(ProxyConfig::from_env()));
    let config = loader.load().await;
    let Some(region) = config.region() else {
        return Err(Failure::usage("no AWS region is configured")
            .hinted("pass --region, or set AWS_REGION, or `region` in the profile")
            .hinted("or try it without AWS: `provision up --sandbox`"));
    };
    access::check_region(region.as_ref())?;
    let endpoint = access::endpoint(&config)?;
    let credentials = match &access.profile {
        // The SDK would prefer keys in the environment to a profile that was named.
        Some(profile) if access.sandbox.is_none() => Some(SharedCredentialsProvider::new(
            access::credentials(profile, &config),
        )),
        _ => config.credentials_provider(),
    };
    let mut builder = config.into_builder();
    if endpoint.as_deref().is_some_and(is_loopback) {
        // A proxy does not reach this machine's loopback, and must not see what is sent there.
        builder.set_http_client(Some(http::client(ProxyConfig::disabled())));
    }
    builder
        .set_endpoint_url(endpoint)
        .set_credentials_provider(credentials);
    Ok(builder.build())
}

/// Asks STS whose credentials these are: the first call of every command.
///
/// # Errors
/// There are no credentials, AWS does not accept them, or the partition's host names are not known.
pub async fn identify(config: &SdkConfig, log: Option<&CallLog>) -> Result<Identity, Failure> {
    Ok(caller(config, log, None).await?.identity)
}

/// The same with the ARN; `clock` is told the time of every answer, also of a refusal.
///
/// # Errors
/// As [`identify`].
pub async fn caller(
    config: &SdkConfig,
    log: Option<&CallLog>,
    clock: Option<&ServerClock>,
) -> Result<Caller, Failure> {
    // A wrong endpoint or a missing network is reported soon.
    let retries = RetryConfig::standard().with_max_attempts(IDENTIFY_ATTEMPTS);
    let mut sts = aws_sdk_sts::config::Builder::from(config)
        .retry_config(retries)
        .interceptor(ReadsGiveUp);
    let timeouts = config.timeout_config().map(TimeoutConfig::to_builder);
    sts = sts.timeout_config(
        timeouts
            .unwrap_or_default()
            .operation_timeout(READ_DEADLINE)
            .build(),
    );
    if let Some(log) = log {
        sts = sts.interceptor(log.clone());
    }
    if let Some(clock) = clock {
        sts = sts.interceptor(clock.clone());
    }
    let answer = aws_sdk_sts::Client::from_conf(sts.build())
        .get_caller_identity()
        .send()
        .await;
    let answer = answer.map_err(|error| {
        let call = call_error("sts:GetCallerIdentity", &error);
        anyhow::Error::new(call).context("cannot find out whose credentials these are")
    })?;
    let arn = answer.arn().context("sts:GetCallerIdentity answered no ARN")?;
    let partition = arn
        .split(':')
        .nth(1)
        .context("sts:GetCallerIdentity answered no ARN")?;
    if !super::hosts::is_known_partition(partition) {
        return Err(Failure::usage(format!(
            "the host name of Cognito's token endpoint in partition {partition} is not known to this program"
        ))
        .hinted(access::KNOWN_REGIONS));
    }
    let region = config.region().context("no region is configured")?.to_string();
    let endpoint = config
        .endpoint_url()
        .map(|url| url.trim_end_matches('/').to_owned());
    let identity = Identity {
        account: answer
            .account()
            .context("sts:GetCallerIdentity answered no account")?
            .to_owned(),
        partition: partition.to_owned(),
        region,
        endpoint,
    };
    Ok(Caller {
        identity,
        arn: arn.to_owned(),
    })
}

impl Aws {
    /// The clients; every attempt of a call is reported to `log`, and held back by `fence`.
    pub fn new(config: &SdkConfig, identity: &Identity, log: Option<&CallLog>, fence: &Fence) -> Self {
        let http = config.http_client().map(|client| fenced(client, fence.clone()));
        macro_rules! client {
            ($sdk:ident) => {{
                let mut builder = $sdk::config::Builder::from(config)
                    .retry_classifier(ThrottlesArePaced)
                    .interceptor(ReadsGiveUp)
                    .interceptor(Attempts);
                builder.set_http_client(http.clone());
                if let Some(log) = log {
                    builder = builder.interceptor(log.clone());
                }
                $sdk::Client::from_conf(builder.build())
            }};
        }
        Self {
            partition: identity.partition.clone(),
            region: identity.region.clone(),
            account: identity.account.clone(),
            apigateway: client!(aws_sdk_apigateway),
            cognito: client!(aws_sdk_cognitoidentityprovider),
            ec2: Ec2::new(config, http.clone(), log),
            iam: client!(aws_sdk_iam),
            lambda: client!(aws_sdk_lambda),
            logs: client!(aws_sdk_cloudwatchlogs),
            secretsmanager: client!(aws_sdk_secretsmanager),
            ssm: Signed::new(SSM, config, http.clone(), log),
            sts: client!(aws_sdk_sts),
            wafv2: Signed::new(WAFV2, config, http.clone(), log),
            paces: Rc::new(Paces::new(Rights::new(identity.endpoint.is_none()))),
            new_secrets: Rc::default(),
            detached: Rc::default(),
            truststore_warnings: Rc::default(),
            no_wait: Cell::new(false),
            survey: None,
            waits: Rc::new(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn denied_calls_are_repeated_at_aws_and_not_at_an_endpoint_which_has_rights_at_once() {
        let config = SdkConfig::builder().behavior_version(BehaviorVersion::v2026_01_12());
        let config = config.build();
        for (endpoint, seconds) in [(None, 60), (Some("http://127.0.0.1:4566"), 0)] {
            let identity = Identity {
                account: "111122223333".to_owned(),
                partition: "aws".to_owned(),
                region: "eu-central-1".to_owned(),
                endpoint: endpoint.map(str::to_owned),
            };
            let (left, _) = Aws::new(&config, &identity, None, &Fence::open())
                .paces
                .rights
                .left();
            assert_eq!(left, Duration::from_secs(seconds), "{endpoint:?}");
        }
    }
}
