//! What to do about an AWS call that failed, whichever command made it.
//!
//! Must not know what the call was for.

use crate::aws::errors::is_signature_refusal;
use crate::error::Failure;
use crate::oauth::NO_CERTIFICATES;
use crate::resource::{CallError, Class};

/// The first call of every command: whose credentials are these?
const IDENTIFY: &str = "sts:GetCallerIdentity";

/// Puts what helps with the failed call before the hints of the command.
pub(super) fn add(failure: &mut Failure) {
    let chain = failure.error.iter().flat_map(anyhow::Error::chain);
    let call = chain
        .into_iter()
        .find_map(|cause| cause.downcast_ref::<CallError>());
    let mut hints = call.map(for_call).unwrap_or_default();
    let mut said = failure.error.iter().flat_map(anyhow::Error::chain);
    if said.any(|cause| cause.to_string() == NO_CERTIFICATES) {
        hints.push(
            "install the package `ca-certificates`, or set SSL_CERT_FILE to the file with your certificates",
        );
    }
    failure.hints.splice(0..0, hints.into_iter().map(str::to_owned));
}

fn for_call(call: &CallError) -> Vec<&'static str> {
    let is_first = call.operation == IDENTIFY;
    match (call.class, call.operation.as_str()) {
        (Class::Credentials, _) | (Class::Denied, IDENTIFY) => {
            for_credentials(call.code.as_deref(), is_first)
        }
        (Class::Denied, "secretsmanager:GetSecretValue") => vec![
            "the credentials need secretsmanager:GetSecretValue on that secret, and the use of its key where that is one of \
             your own; `provision policy` prints the former for what secret_from names",
        ],
        (Class::Denied, "secretsmanager:DescribeSecret" | "secretsmanager:PutSecretValue") => vec![
            "the credentials (with --to-role: the role) need secretsmanager:DescribeSecret and secretsmanager:PutSecretValue on \
             that secret; `provision policy secret` with the same --to prints them",
        ],
        (Class::Denied, "ssm:ListTagsForResource" | "ssm:PutParameter") => vec![
            "the credentials (with --to-role: the role) need ssm:GetParameter, ssm:ListTagsForResource, ssm:PutParameter and \
             ssm:AddTagsToResource on that parameter; `provision policy secret` with the same --to prints them",
        ],
        (Class::Denied, "ssm:GetParameter") => vec![
            "the credentials (with --to-role: the role) need ssm:GetParameter on that parameter; `provision policy` prints it for \
             what secret_from names, and `provision policy secret` with --to for what is written",
        ],
        (Class::Denied, "sts:AssumeRole") => vec![
            "the role must be there and its trust policy must name these credentials, which need sts:AssumeRole on it; \
             `provision policy secret` with the same --to-role prints that",
        ],
        (Class::Refused, "apigateway:UpdateStage")
            if call.message.contains("CloudWatch Logs role ARN must be set") =>
        {
            vec![ENABLE_LOGS]
        }
        (Class::Denied, _) => vec![
            "the credentials lack the permission that AWS names above: `provision policy` prints all that an operator needs",
            "if a policy was attached in the last minutes, run the same command again: AWS needs time to apply it",
        ],
        _ => Vec::new(),
    }
}

/// What to do about credentials that AWS does not accept.
fn for_credentials(code: Option<&str>, is_first: bool) -> Vec<&'static str> {
    if is_signature_refusal(code) {
        return vec!["set the clock of this machine; AWS allows 5 minutes of difference"];
    }
    let is_unknown = matches!(code, Some("InvalidClientTokenId" | "UnrecognizedClientException"));
    match (is_first, is_unknown) {
        (true, false) => vec![SIGN_IN, SANDBOX],
        (true, true) => vec![
            "if the credentials are right: enable the region for the account, as some are disabled by default",
            SIGN_IN,
            SANDBOX,
        ],
        (false, false) => vec![SIGN_IN_AGAIN],
        (false, true) => vec![
            SIGN_IN_AGAIN,
            "or enable the region for the account, if it is one of those that are disabled by default",
        ],
    }
}

/// What to do where no API of the region can write access logs.
pub(super) const ENABLE_LOGS: &str = "run `provision account logs enable`, once for the account and region";

const SIGN_IN: &str = "sign in (`aws sso login`), or set AWS_PROFILE or --profile";
const SANDBOX: &str = "or try it without AWS: `provision up --sandbox`";
const SIGN_IN_AGAIN: &str = "sign in again (`aws sso login`), then run the same command";
