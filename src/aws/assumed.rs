//! The credentials of an IAM role that the user names, which may be of another account.
//!
//! Must not keep the credentials, nor show them.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use aws_sdk_sts::config::Credentials;

use super::Aws;
use crate::resource::{Cx, Result};

/// How long the credentials are valid, in seconds: the shortest time that AWS allows.
const SECONDS: i32 = 15 * 60;

/// The longest name of a session.
const LONGEST: usize = 64;

/// The role's credentials, for a few minutes. `session` is who uses them, as the log of the role's account shows it:
/// letters, digits and `-`.
///
/// # Errors
/// The role is not there, or does not let these credentials in.
pub async fn credentials(cx: &Cx<Aws>, role: &str, session: &str) -> Result<Credentials> {
    let session: String = session.chars().take(LONGEST).collect();
    let assume = || {
        cx.cloud()
            .sts
            .assume_role()
            .role_arn(role)
            .role_session_name(&session)
            .duration_seconds(SECONDS)
            .send()
    };
    let answer = cx.call("sts:AssumeRole", assume).await;
    let answer = answer.with_context(|| format!("cannot use role {role}"))?;
    let made = answer
        .credentials
        .with_context(|| format!("sts:AssumeRole answered no credentials of role {role}"))?;
    let seconds = u64::try_from(made.expiration.secs()).unwrap_or_default();
    let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let (key, secret) = (made.access_key_id, made.secret_access_key);
    Ok(Credentials::new(
        key,
        secret,
        Some(made.session_token),
        Some(expiry),
        "role",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::test_support::{failed, iam_ok, iam_refused, sts};
    use crate::resource::Class;

    const ROLE: &str = "arn:aws:iam::444455556666:role/secrets";

    #[tokio::test(start_paused = true)]
    async fn a_role_is_used_for_a_quarter_of_an_hour_under_the_name_of_the_stack() {
        let made = "<Credentials><AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>hidden</SecretAccessKey>\
                    <SessionToken>token</SessionToken><Expiration>2026-11-28T05:00:00Z</Expiration></Credentials>";
        let (cx, wire) = sts([iam_ok("AssumeRole", made)]);
        let made = credentials(&cx, ROLE, &format!("provision-{}", "x".repeat(64)))
            .await
            .unwrap();
        assert_eq!(
            (
                made.access_key_id(),
                made.secret_access_key(),
                made.session_token()
            ),
            ("ASIAEXAMPLE", "hidden", Some("token"))
        );
        assert!(made.expiry().is_some());
        assert!(!format!("{made:?}").contains("hidden"));
        let body = wire.sent().remove(0).body;
        for part in [
            "Action=AssumeRole",
            "RoleArn=arn%3Aaws%3Aiam%3A%3A444455556666%3Arole%2Fsecrets",
            "DurationSeconds=900",
            &format!("RoleSessionName=provision-{}", "x".repeat(54)),
        ] {
            assert!(body.split('&').any(|field| field == part), "{part}: {body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_names_the_role() {
        for (status, code, class) in [
            (403, "AccessDenied", Class::Denied),
            (403, "ExpiredToken", Class::Credentials),
            (403, "RegionDisabledException", Class::Refused),
            (400, "ValidationError", Class::Refused),
        ] {
            let (cx, _) = sts([iam_refused(status, code, "as told")]);
            let (found, text) = failed(credentials(&cx, ROLE, "provision-orders").await);
            assert_eq!(found, Some(class), "{code}");
            let told = format!("cannot use role {ROLE}: sts:AssumeRole: {code}: as told");
            assert!(text.starts_with(&told), "{text}");
        }
        let (cx, _) = sts([iam_ok("AssumeRole", "")]);
        let (_, text) = failed(credentials(&cx, ROLE, "provision-orders").await);
        assert_eq!(
            text,
            format!("sts:AssumeRole answered no credentials of role {ROLE}")
        );
    }
}
