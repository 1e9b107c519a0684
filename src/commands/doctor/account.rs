//! The settings of AWS, whose credentials they are, and what depends on them.
//!
//! Must not show a credential.

use std::rc::Rc;
use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_credential_types::credential_feature::AwsCredentialFeature as Feature;
use aws_sdk_sts::config::ProvideCredentials;
use jiff::SignedDuration;

use super::super::hints::ENABLE_LOGS;
use super::super::invocation::{Invocation, Target};
use super::super::open::{self, Connection, Session};
use super::super::ui::Ui;
use super::report::Finding;
use super::{Known, LIMIT, late, limited, place, quotas, rights};
use crate::aws::account_logs;
use crate::aws::clients::{Access, Caller, caller, load};
use crate::aws::clock::ServerClock;
use crate::error::Failure;

/// From which difference a clock has to be set: AWS refuses five minutes, and a lease in S3 is shorter.
const CLOCK: SignedDuration = SignedDuration::from_secs(60);
/// From when credentials that end are told: an `up` may take as long.
const SOON: SignedDuration = SignedDuration::from_mins(15);

pub(super) async fn check(invocation: &Invocation, known: &Known, ui: &Rc<Ui>) -> Vec<Finding> {
    let config = match settings(invocation, known).await {
        Ok(config) => config,
        Err(failure) => {
            let mut findings = vec![Finding::failed("region", failure)];
            findings.extend(place::check(invocation, known, None, ui).await.1);
            return findings;
        }
    };
    let clock = ServerClock::default();
    let log = ui.call_log();
    let (credentials, called) = tokio::join!(
        limited("credentials", credentials(&config, invocation)),
        tokio::time::timeout(LIMIT, Box::pin(caller(&config, log.as_ref(), Some(&clock))))
    );
    let region = config.region().map(ToString::to_string).unwrap_or_default();
    let of_region = source_of_region(invocation, known);
    let caller = match called {
        Ok(Ok(caller)) => caller,
        failed => {
            let account = match failed {
                Ok(Err(failure)) => Finding::failed("account", failure)
                    .or_remedy("check the network, and the proxy or the endpoint if there is one"),
                _ => Finding::mend(
                    "account",
                    late("account").what,
                    "check the network, and the proxy if there is one",
                ),
            };
            let region = Finding::ok("region", format!("{region}, {of_region}"));
            let mut findings = vec![region, credentials, account];
            findings.extend(clock.ahead().map(set));
            findings.extend(place::check(invocation, known, None, ui).await.1);
            return findings;
        }
    };
    // AWS answers in a region only to accounts that have it enabled.
    let region = Finding::ok(
        "region",
        format!("{region}, enabled for the account, {of_region}"),
    );
    let account = account(&caller, known);
    let mut findings = vec![region, credentials, account];
    findings.extend(clock.ahead().map(set));
    let connection = Connection::of(config.clone(), caller.identity.clone());
    let session = open::impatient(Connection::of(config, caller.identity.clone()), ui);
    let ((mut of_state, rights), quotas, logs) = tokio::join!(
        async {
            let (state, findings) = place::check(invocation, known, Some(&connection), ui).await;
            let rights = match known.stack {
                Some(_) => Some(rights::check(&session, &caller, known, invocation, state, ui).await),
                None => None,
            };
            (findings, rights)
        },
        quotas::check(&session, known, ui),
        logs(&session, known, ui),
    );
    of_state.extend(rights);
    findings.extend(of_state.into_iter().chain(quotas).chain(logs));
    findings
}

/// The same settings as those of a run.
async fn settings(invocation: &Invocation, known: &Known) -> Result<SdkConfig, Failure> {
    let Target::Aws { endpoint_url } = &invocation.target else {
        unreachable!("the sandbox is checked without an account");
    };
    let configured = known.config.as_ref().and_then(|config| config.region.clone());
    let access = Access {
        region: invocation.region.clone().or(configured),
        profile: invocation.profile.clone(),
        endpoint: endpoint_url.clone(),
        sandbox: None,
    };
    load(&access).await
}

fn source_of_region(invocation: &Invocation, known: &Known) -> &'static str {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if invocation.region.is_some() {
        "from --region"
    } else if known
        .config
        .as_ref()
        .is_some_and(|config| config.region.is_some())
    {
        "from the configuration"
    } else if is_set("AWS_REGION") {
        "from AWS_REGION"
    } else if is_set("AWS_DEFAULT_REGION") {
        "from AWS_DEFAULT_REGION"
    } else {
        "from the profile or the machine"
    }
}

async fn credentials(config: &SdkConfig, invocation: &Invocation) -> Finding {
    const CHECK: &str = "credentials";
    let Some(provider) = config.credentials_provider() else {
        return Finding::mend(
            CHECK,
            "there are none",
            "sign in (`aws sso login`), or set AWS_PROFILE or --profile",
        );
    };
    let found = match provider.provide_credentials().await {
        Ok(found) => found,
        Err(error) => {
            let failure = Failure::from(anyhow::Error::new(error));
            return Finding::failed(CHECK, failure)
                .or_remedy("sign in (`aws sso login`), or set AWS_PROFILE or --profile");
        }
    };
    let features = found.get_property::<Vec<Feature>>().cloned().unwrap_or_default();
    let profile = (invocation.profile.clone())
        .or_else(|| std::env::var("AWS_PROFILE").ok())
        .unwrap_or_else(|| "default".to_owned());
    let source = source(&features, &profile);
    let left = found
        .expiry()
        .map(|end| match end.duration_since(SystemTime::now()) {
            Ok(left) => SignedDuration::try_from(left).unwrap_or(SignedDuration::MAX),
            Err(_) => SignedDuration::ZERO,
        });
    match left {
        None => Finding::ok(CHECK, source),
        Some(left) if left.is_zero() => Finding::mend(
            CHECK,
            format!("{source}; they have expired"),
            "sign in again (`aws sso login`)",
        ),
        Some(left) if left < SOON => Finding::note(
            CHECK,
            format!("{source}; they end in {} minutes", left.as_mins()),
            "if the SDK cannot renew them, sign in again before a long run",
        ),
        Some(left) => Finding::ok(CHECK, format!("{source}; for {} more minutes", left.as_mins())),
    }
}

/// Where credentials came from, in the words of the documents.
fn source(features: &[Feature], profile: &str) -> String {
    let has = |feature: &Feature| features.contains(feature);
    let of_profile = |what: &str| format!("{what} of profile {profile:?}");
    if has(&Feature::CredentialsProfileSso) || has(&Feature::CredentialsSso) {
        of_profile("the SSO session")
    } else if has(&Feature::CredentialsProfileProcess) || has(&Feature::CredentialsProcess) {
        of_profile("the credential process")
    } else if has(&Feature::CredentialsEnvVars) {
        "the environment (AWS_ACCESS_KEY_ID)".to_owned()
    } else if has(&Feature::CredentialsStsAssumeRoleWebId)
        || has(&Feature::CredentialsEnvVarsStsWebIdToken)
        || has(&Feature::CredentialsProfileStsWebIdToken)
    {
        "a role with a web identity (AWS_WEB_IDENTITY_TOKEN_FILE)".to_owned()
    } else if has(&Feature::CredentialsStsAssumeRole) {
        of_profile("the role")
    } else if has(&Feature::CredentialsHttp) {
        "the container".to_owned()
    } else if has(&Feature::CredentialsImds) {
        "the instance's metadata".to_owned()
    } else if has(&Feature::CredentialsProfile) {
        of_profile("the keys")
    } else {
        "found by the AWS SDK".to_owned()
    }
}

fn account(caller: &Caller, known: &Known) -> Finding {
    const CHECK: &str = "account";
    let here = &caller.identity.account;
    let what = match &caller.identity.endpoint {
        Some(endpoint) => format!("{here}, {}, at {endpoint}", caller.arn),
        None => format!("{here}, {}", caller.arn),
    };
    match &known.account {
        Some(account) if account != here => Finding::mend(
            CHECK,
            format!("{what}; the environment belongs to account {account}"),
            format!("use credentials of account {account}, such as with --profile"),
        ),
        _ => Finding::ok(CHECK, what),
    }
}

/// The clock of this machine, which was `ahead` of AWS's.
fn set(ahead: SignedDuration) -> Finding {
    const CHECK: &str = "clock";
    let seconds = ahead.abs().as_secs();
    if ahead.abs() < CLOCK {
        return Finding::ok(CHECK, "within a minute of AWS's");
    }
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    Finding::mend(
        CHECK,
        format!("{seconds} seconds {side} AWS's"),
        "set the clock of this machine (NTP); AWS refuses requests from 5 minutes on",
    )
}

/// The account's role for access logs, where the stack logs.
async fn logs(session: &Session, known: &Known, ui: &Rc<Ui>) -> Option<Finding> {
    const CHECK: &str = "access logs";
    let config = known.config.as_ref()?;
    config.api.access_log_days?;
    let cx = session.cx(ui);
    let work = async {
        match account_logs::current(&cx).await {
            Ok(Some(role)) => Finding::ok(CHECK, format!("API Gateway writes them with {role}")),
            Ok(None) => Finding::mend(CHECK, "API Gateway has no role to write them with", ENABLE_LOGS),
            Err(error) => Finding::unknown(
                CHECK,
                error,
                "`provision policy doctor` prints the rights that doctor needs",
            ),
        }
    };
    Some(limited(CHECK, work).await)
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn a_clock_may_be_off_by_less_than_a_minute() {
        for (seconds, status, words) in [
            (0, Status::Ok, "within a minute"),
            (-59, Status::Ok, "within a minute"),
            (60, Status::Mend, "60 seconds ahead of AWS's"),
            (-400, Status::Mend, "400 seconds behind AWS's"),
        ] {
            let finding = set(SignedDuration::from_secs(seconds));
            assert_eq!(finding.status, status, "{seconds}");
            assert!(finding.what.contains(words), "{}", finding.what);
        }
    }

    #[test]
    fn the_source_of_credentials_is_told_and_the_most_telling_one_counts() {
        for (features, expected) in [
            (
                vec![Feature::CredentialsEnvVars],
                "the environment (AWS_ACCESS_KEY_ID)",
            ),
            (
                vec![Feature::CredentialsSso, Feature::CredentialsProfile],
                "the SSO session of profile \"dev\"",
            ),
            (vec![Feature::CredentialsProfile], "the keys of profile \"dev\""),
            (
                vec![Feature::CredentialsStsAssumeRole],
                "the role of profile \"dev\"",
            ),
            (
                vec![Feature::CredentialsProfile, Feature::CredentialsProcess],
                "the credential process of profile \"dev\"",
            ),
            (vec![Feature::CredentialsImds], "the instance's metadata"),
            (vec![Feature::CredentialsHttp], "the container"),
            (vec![], "found by the AWS SDK"),
        ] {
            assert_eq!(source(&features, "dev"), expected);
        }
    }
}
