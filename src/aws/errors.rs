//! What a failed AWS call means, from its operation, code and message.
//!
//! Must not decide what to do about it.

use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::resource::{CallError, Class};

/// The SDK's error as a [`CallError`]. `operation` is `service:Operation`.
pub fn call_error<E>(operation: &str, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (code, message, status, request_id) = match error {
        SdkError::ServiceError(service) => {
            let meta = service.err().meta();
            (
                meta.code().map(str::to_owned),
                (meta.message()).map_or_else(
                    || format!("the service gave no reason (status {})", service.raw().status()),
                    str::to_owned,
                ),
                Some(service.raw().status().as_u16()),
                meta.extra("aws_request_id").map(str::to_owned),
            )
        }
        SdkError::ResponseError(response) => {
            (None, chain(error), Some(response.raw().status().as_u16()), None)
        }
        _ => (None, chain(error), None, None),
    };
    let answer = error.raw_response();
    let retry_after = answer.and_then(retry_after);
    let message = match answer.and_then(clock_difference) {
        Some(difference) if is_signature_refusal(code.as_deref()) => format!("{message} ({difference})"),
        _ => message,
    };
    let class = match error {
        // An exceeded quota has the same code, but no time after which the call would be accepted.
        SdkError::ServiceError(_)
            if code.as_deref() == Some("LimitExceededException")
                && operation.starts_with("apigateway:")
                && retry_after.is_some() =>
        {
            Class::Throttle
        }
        SdkError::ServiceError(_) => {
            classify(operation, code.as_deref().unwrap_or_default(), &message, status)
        }
        // Nothing was sent: the request could not be built, or there were no credentials to sign it with.
        SdkError::ConstructionFailure(_) => Class::Refused,
        SdkError::DispatchFailure(failure) if failure.is_user() => Class::Refused,
        // A failure to find credentials arrives here as well; nothing was sent then.
        SdkError::DispatchFailure(_) if message.contains("redential") => Class::Credentials,
        _ => Class::Ambiguous,
    };
    CallError {
        operation: operation.to_owned(),
        code,
        message,
        request_id,
        class,
        retry_after,
    }
}

/// Whether AWS refused the signature: nothing was executed.
pub fn is_signature_refusal(code: Option<&str>) -> bool {
    matches!(
        code,
        Some(
            "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed" | "RequestExpired"
        )
    )
}

/// What `Retry-After` asks for. AWS sends seconds; a date is ignored.
fn retry_after(answer: &HttpResponse) -> Option<Duration> {
    let seconds = answer.headers().get("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// How far this machine's clock is from AWS's; `None` if no signature fails for that (AWS allows 5 minutes).
fn clock_difference(answer: &HttpResponse) -> Option<String> {
    let theirs = DateTime::from_str(answer.headers().get("date")?, Format::HttpDate).ok()?;
    let ours = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?
        .as_secs();
    let difference = theirs.secs().checked_sub(i64::try_from(ours).ok()?)?;
    let side = if difference > 0 { "behind" } else { "ahead of" };
    let seconds = difference.unsigned_abs();
    (seconds > 4 * 60).then(|| {
        format!(
            "the clock of this machine is {} min {} s {side} the clock of AWS",
            seconds / 60,
            seconds % 60
        )
    })
}

/// As [`call_error`], for a call with values that must not be shown. Some of Lambda's messages repeat what was sent,
/// escaped or cut so that no search finds it. So nothing of the service's message is kept.
pub fn call_error_of_values<E>(operation: &str, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let mut call = call_error(operation, error);
    if matches!(error, SdkError::ServiceError(_) | SdkError::ResponseError(_)) {
        call.message = known_phrase(&call.message).to_owned();
    }
    call
}

/// Known phrases of Lambda for calls with values, and what to do about each.
const KNOWN_PHRASES: [&str; 17] = [
    "The role defined for the function cannot be assumed by Lambda.",
    "cannot be assumed by Lambda",
    "The provided execution role does not have permissions to call CreateNetworkInterface on EC2",
    "The provided execution role does not have permissions to call PutTraceSegments on XRAY",
    "The provided execution role does not have permissions",
    "EC2 Error Code: InvalidSubnetID.NotFound",
    "EC2 Error Code: InvalidGroup.NotFound",
    "Cannot reference more than 5 layers",
    "is not authorized to perform: lambda:GetLayerVersion",
    "KMS key is invalid for CreateGrant",
    "exceeded the 4KB limit",
    "Could not unzip uploaded file",
    "Unzipped size must be smaller than",
    "Function already exist",
    "is not authorized to perform: iam:PassRole",
    "is not authorized to perform: lambda:CreateFunction",
    "is not authorized to perform: lambda:UpdateFunctionConfiguration",
];

/// Keeps only the known phrase of a message, because the message may repeat a value.
pub fn known_phrase(message: &str) -> &'static str {
    // Its ARN is between the two.
    if message.contains("Layer version") && message.contains("does not exist") {
        return "a layer version does not exist";
    }
    let known = KNOWN_PHRASES.into_iter().find(|phrase| message.contains(phrase));
    known.unwrap_or("message withheld, as it may repeat an environment value")
}

/// The error and its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.extend([": ", &error.to_string()]);
        cause = error.source();
    }
    text
}

/// The class of a service's answer.
fn classify(operation: &str, code: &str, message: &str, status: Option<u16>) -> Class {
    let (_, name) = operation.split_once(':').unwrap_or(("", operation));
    let makes = ["Create", "Put", "Add", "Attach", "Associate"]
        .iter()
        .any(|verb| name.starts_with(verb));
    match code {
        "TooManyRequestsException"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "SlowDown" => Class::Throttle,

        "AccessDenied" | "AccessDeniedException" | "AuthorizationError" | "UnauthorizedOperation" => {
            Class::Denied
        }
        "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "RequestTimeTooSkewed"
        | "IncompleteSignature"
        | "AuthFailure"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => Class::Credentials,

        // A managed policy or a boundary that the user names.
        "NoSuchEntity" if message.contains("is not attachable") => Class::Refused,
        // What a new resource needs was created a moment ago, and may not be visible everywhere yet.
        "NoSuchEntity" | "ResourceNotFoundException" | "NotFoundException" | "WAFNonexistentItemException"
            if makes =>
        {
            Class::NotReady
        }
        "NoSuchEntity"
        | "ResourceNotFoundException"
        | "NotFoundException"
        | "ParameterNotFound"
        | "WAFNonexistentItemException" => {
            Class::Gone
        }

        "ConcurrentModificationException"
        | "ConcurrentModification"
        | "OperationAbortedException"
        | "DeleteConflict"
        | "TooManyUpdates"
        // AWS WAF does not know the stage yet.
        | "WAFUnavailableEntityException"
        | "ScopeDoesNotExistException" => Class::NotReady,
        // Someone else changed a function's policy since it was read.
        "PreconditionFailedException" if operation.starts_with("lambda:") => Class::NotReady,
        "MalformedPolicyDocument" if message.contains("Invalid principal") => Class::NotReady,
        // CreateAuthorizer also returns this, for ever, on an API that is gone.
        "ConflictException" if message.contains("try again later") => Class::NotReady,
        // Lambda's other conflicts quote names that users choose: only its whole phrases count.
        "ResourceConflictException"
            if ["in progress for resource", "following state: Pending"]
                .iter()
                .any(|phrase| message.contains(phrase)) =>
        {
            Class::NotReady
        }
        "InvalidParameterValueException" if is_role_propagation(message) => Class::NotReady,
        "BadRequestException" if is_log_role_propagation(message) => Class::NotReady,

        "ConflictException" if message.contains("update in progress") => Class::NotReady,
        // API Gateway has no code of its own for a name that exists, nor for an API or a stage that it does not see yet.
        "BadRequestException" if name == "CreateDomainName" && message.contains("already exists") => {
            Class::Taken
        }
        "BadRequestException"
            if name == "CreateBasePathMapping" && message.contains("identifier specified") =>
        {
            Class::NotReady
        }

        "EntityAlreadyExists"
        | "ResourceAlreadyExistsException"
        | "ResourceConflictException"
        | "ParameterAlreadyExists"
        | "ConflictException" => Class::Taken,
        // The domain that the pool has may be about to be deleted.
        "InvalidParameterException"
            if name == "CreateUserPoolDomain" && message.contains("already has a domain") =>
        {
            Class::NotReady
        }
        // Cognito has no code for a name in use; a search then shows whether it is.
        "InvalidParameterException" if ["CreateUserPoolDomain", "CreateResourceServer"].contains(&name) => {
            Class::Taken
        }

        // The answer to a HEAD has no body, and so no code.
        "" if status == Some(403) => Class::Denied,
        _ if status.is_some_and(|status| status >= 500) => Class::Ambiguous,
        _ => Class::Refused,
    }
}

/// Lambda's refusals of a role that IAM has not spread yet (Terraform retries the same texts).
fn is_role_propagation(message: &str) -> bool {
    message.contains("cannot be assumed by Lambda")
        || message.contains("The provided execution role does not have permissions")
        || message.contains("KMS key is invalid for CreateGrant")
}

/// API Gateway's refusals of a role for logs that IAM has not spread yet (Terraform retries the same texts).
fn is_log_role_propagation(message: &str) -> bool {
    message.contains("The role ARN does not have required permissions")
        || message.contains("could not successfully write to CloudWatch Logs using the ARN specified")
}

#[cfg(test)]
mod tests;
