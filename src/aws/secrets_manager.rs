//! A secret of AWS Secrets Manager that the user or Cognito names: a client's secret is written to it, or read from it.
//!
//! Must not create or delete one, nor keep its value.

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};

use super::wait::unless_gone;
use super::{Aws, client_secrets};
use crate::resource::{CallError, Cx, Result};

/// Fails unless a secret with this name (or ARN) exists and is not being deleted.
///
/// # Errors
/// It does not exist, it is marked for deletion, or the call is refused.
pub async fn check(cx: &Cx<Aws>, name: &str) -> Result<()> {
    let describe = || cx.cloud().secretsmanager.describe_secret().secret_id(name).send();
    let answer = unless_gone(cx.call("secretsmanager:DescribeSecret", describe).await)?;
    let secret = answer.with_context(|| not_there(cx, name))?;
    if secret.deleted_date().is_some() {
        bail!("secret {name} of secrets manager is marked for deletion");
    }
    Ok(())
}

fn not_there(cx: &Cx<Aws>, name: &str) -> String {
    format!(
        "secrets manager has no secret {name} in region {}",
        cx.cloud().region
    )
}

/// The client's secret in the current version of the secret of this name (or ARN).
///
/// # Errors
/// It does not exist, has no client's secret in it, or the call is refused.
pub async fn get(cx: &Cx<Aws>, name: &str) -> Result<SecretString> {
    let get = || {
        cx.cloud()
            .secretsmanager
            .get_secret_value()
            .secret_id(name)
            .send()
    };
    let answer = unless_gone(cx.call("secretsmanager:GetSecretValue", get).await)?;
    let answer = answer.with_context(|| not_there(cx, name))?;
    let text = SecretString::from(answer.secret_string.unwrap_or_default());
    client_secrets::in_text(text.expose_secret()).with_context(|| {
        format!(
            "secret {name} of secrets manager has no client's secret in it: expected one line of printable characters, \
             or a JSON object with clientSecretValue"
        )
    })
}

/// Puts `value`, as it is, into the secret as its current version. With the same `token`, 32 to 64 characters, a
/// repeated call creates no second version.
///
/// # Errors
/// The call is refused, or its answer is lost: then the value may be stored.
pub async fn put(cx: &Cx<Aws>, name: &str, token: &str, value: &SecretString) -> Result<(), CallError> {
    let put = || {
        cx.cloud()
            .secretsmanager
            .put_secret_value()
            .secret_id(name)
            .client_request_token(token)
            .secret_string(value.expose_secret())
            .send()
    };
    let answer = cx.call("secretsmanager:PutSecretValue", put).await;
    answer.map(drop).map_err(|mut error| {
        // A service that refuses a value may repeat it.
        error.message = error.message.replace(value.expose_secret(), "[the secret]");
        error
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_secretsmanager::Client as Sdk;
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{attempts, failed, ok, on, refused, secretsmanager};
    use crate::resource::Class;

    const VALUE: &str = "1example2example3example4example5example6example";
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[tokio::test]
    async fn what_is_there_will_do() {
        let cx = secretsmanager([on!(
            Sdk::describe_secret,
            |i| { assert_eq!(i.secret_id(), Some("orders/app")) },
            ok(json!({"Name": "orders/app"}))
        )]);
        check(&cx, "orders/app").await.unwrap();
    }

    #[tokio::test]
    async fn what_is_missing_or_on_its_way_out_is_told() {
        let missing = refused_as("ResourceNotFoundException");
        let cx = secretsmanager([on!(Sdk::describe_secret, missing())]);
        let (_, text) = failed(check(&cx, "orders/app").await);
        assert_eq!(
            text,
            "secrets manager has no secret orders/app in region eu-central-1"
        );
        let cx = secretsmanager([on!(
            Sdk::describe_secret,
            ok(json!({"DeletedDate": 1_763_715_000}))
        )]);
        let (_, text) = failed(check(&cx, "orders/app").await);
        assert_eq!(
            text,
            "secret orders/app of secrets manager is marked for deletion"
        );
        let denied = refused_as("AccessDeniedException");
        let cx = secretsmanager([on!(Sdk::describe_secret, denied())]);
        assert_eq!(failed(check(&cx, "orders/app").await).0, Some(Class::Denied));
    }

    #[tokio::test]
    async fn what_is_in_it_is_read_bare_or_as_cognito_publishes_it() {
        let published = json!({"userPoolId": "p", "userPoolClientId": "c1", "clientSecretValue": VALUE});
        for text in [VALUE.to_owned(), published.to_string()] {
            let cx = secretsmanager([on!(
                Sdk::get_secret_value,
                |i| { assert_eq!(i.secret_id(), Some("orders/app")) },
                ok(json!({"Name": "orders/app", "SecretString": text}))
            )]);
            assert_eq!(get(&cx, "orders/app").await.unwrap().expose_secret(), VALUE);
        }
        for nothing in [
            json!({"SecretBinary": "AAAA"}),
            json!({"SecretString": format!("a b {VALUE}")}),
        ] {
            let cx = secretsmanager([on!(Sdk::get_secret_value, ok(nothing.clone()))]);
            let text = failed(get(&cx, "orders/app").await).1;
            assert!(
                text.starts_with(
                    "secret orders/app of secrets manager has no client's secret in it: expected one line"
                ),
                "{text}"
            );
            assert!(!text.contains(VALUE), "{text}");
        }
    }

    #[tokio::test]
    async fn what_keeps_it_from_being_read_is_told() {
        let cx = secretsmanager([on!(
            Sdk::get_secret_value,
            refused_as("ResourceNotFoundException")()
        )]);
        let (class, text) = failed(get(&cx, "orders/app").await);
        assert_eq!(
            (class, text.as_str()),
            (
                None,
                "secrets manager has no secret orders/app in region eu-central-1"
            )
        );
        for (code, expected) in [
            ("AccessDeniedException", Class::Denied),
            // Of its key.
            ("DecryptionFailure", Class::Refused),
            // It is marked for deletion.
            ("InvalidRequestException", Class::Refused),
            ("InvalidParameterException", Class::Refused),
        ] {
            let cx = secretsmanager([on!(Sdk::get_secret_value, refused_as(code)())]);
            let (class, text) = failed(get(&cx, "orders/app").await);
            assert_eq!(class, Some(expected), "{code}");
            assert!(text.contains(code), "{text}");
        }
        let cx = secretsmanager([attempts!(
            Sdk::get_secret_value,
            refused(500, "InternalServiceError", "try again"),
            ok(json!({"SecretString": VALUE}))
        )]);
        get(&cx, "orders/app").await.unwrap();
    }

    fn refused_as(
        code: &'static str,
    ) -> impl Fn() -> aws_smithy_runtime_api::client::orchestrator::HttpResponse {
        move || refused(400, code, "as told")
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_put_as_it_is_and_repeated_under_one_token() {
        let cx = secretsmanager([aws_smithy_mocks::mock!(Sdk::put_secret_value)
            .match_requests(|i| {
                assert_eq!(i.secret_id(), Some("orders/app"));
                assert_eq!(i.secret_string(), Some(VALUE));
                assert_eq!(i.client_request_token(), Some(TOKEN));
                true
            })
            .sequence()
            .http_response(|| refused(500, "InternalServiceError", "try again"))
            .http_response(|| ok(json!({"Name": "orders/app"})))
            .build()]);
        put(&cx, "orders/app", TOKEN, &VALUE.into()).await.unwrap();
    }

    #[tokio::test]
    async fn a_refusal_does_not_repeat_the_value() {
        let cx = secretsmanager([attempts!(
            Sdk::put_secret_value,
            refused(
                400,
                "ValidationException",
                &format!("Value '{VALUE}' at 'secretString' failed")
            )
        )]);
        let error = put(&cx, "orders/app", TOKEN, &VALUE.into()).await.unwrap_err();
        assert_eq!(error.message, "Value '[the secret]' at 'secretString' failed");
    }
}
