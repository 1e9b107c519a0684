//! The secrets of a Cognito app client: it may have two at a time, so that one is exchanged without an outage.
//!
//! Must not keep a value: Cognito tells that of a new secret once, and whoever asked for it hands it out.

use anyhow::Context;
use aws_sdk_cognitoidentityprovider::config::Config;
use aws_sdk_cognitoidentityprovider::config::retry::RetryConfig;
use aws_sdk_cognitoidentityprovider::types::ClientSecretDescriptorType;
use jiff::{Timestamp, Unit};
use secrecy::SecretString;

use super::Aws;
use super::pages::Pages;
use super::wait::unless_gone;
use crate::resource::{Cx, Result};

/// One of a client's secrets, without its value: Cognito lists none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// `<client id>--<time of creation>`, which is no secret.
    pub id: String,
    /// When it was made; AWS's model does not promise it.
    pub created: Option<Timestamp>,
}

/// A secret that was just made.
pub struct Added {
    /// As in [`Listed`].
    pub id: String,
    /// What Cognito does not tell again.
    pub value: SecretString,
}

/// All secrets of a client; none if the client is gone.
///
/// # Errors
/// The call is refused, or a secret has no id.
pub async fn list(cx: &Cx<Aws>, pool: &str, client_id: &str) -> Result<Vec<Listed>> {
    let mut secrets = Vec::new();
    let mut pages = Pages::of("cognito-idp:ListUserPoolClientSecrets");
    loop {
        let list = || {
            cx.cloud()
                .cognito
                .list_user_pool_client_secrets()
                .user_pool_id(pool)
                .client_id(client_id)
                .set_next_token(pages.token())
                .send()
        };
        let answer = cx.call("cognito-idp:ListUserPoolClientSecrets", list).await;
        let Some(page) = unless_gone(answer)? else {
            return Ok(secrets);
        };
        for secret in page.client_secrets() {
            secrets.push(listed(secret)?);
        }
        if !pages.turn(page.next_token)? {
            return Ok(secrets);
        }
    }
}

fn listed(secret: &ClientSecretDescriptorType) -> Result<Listed> {
    let id = secret
        .client_secret_id()
        .context("cognito-idp:ListUserPoolClientSecrets answered no secret id")?;
    let created = secret.client_secret_create_date().and_then(|date| {
        let nanos = i32::try_from(date.subsec_nanos()).ok()?;
        // On the wire it is a fraction, which is exact to the millisecond only.
        Timestamp::new(date.secs(), nanos)
            .ok()?
            .round(Unit::Millisecond)
            .ok()
    });
    Ok(Listed {
        id: id.to_owned(),
        created,
    })
}

/// Makes one more secret, whose value Cognito chooses. Neither the SDK nor this repeats a call that may have been executed:
/// the value of what it made would be lost.
///
/// # Errors
/// The call is refused (`LimitExceededException`: there are two already), or its answer is lost or has no value: then
/// there may be a secret that nobody knows.
pub async fn add(cx: &Cx<Aws>, pool: &str, client_id: &str) -> Result<Added> {
    let add = || {
        cx.cloud()
            .cognito
            .add_user_pool_client_secret()
            .user_pool_id(pool)
            .client_id(client_id)
            .customize()
            .config_override(Config::builder().retry_config(RetryConfig::disabled()))
            .send()
    };
    let answer = cx.call("cognito-idp:AddUserPoolClientSecret", add).await?;
    let secret = answer.client_secret_descriptor;
    let (id, value) = secret
        .and_then(|secret| secret.client_secret_id.zip(secret.client_secret_value))
        .context("cognito-idp:AddUserPoolClientSecret answered no secret")?;
    Ok(Added {
        id,
        value: SecretString::from(value),
    })
}

/// Deletes one secret; succeeds if it is already gone. Cognito refuses to delete the last one.
///
/// # Errors
/// The call is refused.
pub async fn delete(cx: &Cx<Aws>, pool: &str, client_id: &str, id: &str) -> Result<()> {
    let delete = || {
        cx.cloud()
            .cognito
            .delete_user_pool_client_secret()
            .user_pool_id(pool)
            .client_id(client_id)
            .client_secret_id(id)
            .send()
    };
    unless_gone(cx.call("cognito-idp:DeleteUserPoolClientSecret", delete).await)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_sdk_cognitoidentityprovider::Client as Sdk;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use secrecy::ExposeSecret;
    use serde_json::json;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::aws::test_support::{always, attempts, cognito, cut_off, failed, ok, on, refused};
    use crate::resource::Class;

    const VALUE: &str = "1example2example3example4example5example6example";

    fn descriptor(id: &str, date: f64) -> serde_json::Value {
        json!({"ClientSecretId": id, "ClientSecretCreateDate": date})
    }

    #[tokio::test]
    async fn all_pages_are_listed_with_their_dates() {
        let cx = cognito([
            on!(
                Sdk::list_user_pool_client_secrets,
                |i| {
                    assert_eq!((i.user_pool_id(), i.client_id()), (Some("p"), Some("c1")));
                    assert_eq!(i.next_token(), None);
                },
                ok(json!({"ClientSecrets": [descriptor("c1--1", 1_763_715_000.123)], "NextToken": "2"}))
            ),
            on!(
                Sdk::list_user_pool_client_secrets,
                |i| { assert_eq!(i.next_token(), Some("2")) },
                ok(json!({"ClientSecrets": [{"ClientSecretId": "c1--2"}]}))
            ),
        ]);
        let secrets = list(&cx, "p", "c1").await.unwrap();
        assert_eq!(
            secrets,
            [
                Listed {
                    id: "c1--1".to_owned(),
                    created: Some("2025-11-21T08:50:00.123Z".parse().unwrap())
                },
                Listed {
                    id: "c1--2".to_owned(),
                    created: None
                },
            ]
        );
    }

    #[tokio::test]
    async fn a_client_that_is_gone_has_none_and_its_secrets_are_deleted() {
        let gone = || {
            refused(
                400,
                "ResourceNotFoundException",
                "User pool client c1 does not exist.",
            )
        };
        let cx = cognito([on!(Sdk::list_user_pool_client_secrets, gone())]);
        assert_eq!(list(&cx, "p", "c1").await.unwrap(), []);
        let cx = cognito([on!(
            Sdk::delete_user_pool_client_secret,
            |i| {
                assert_eq!((i.user_pool_id(), i.client_id()), (Some("p"), Some("c1")));
                assert_eq!(i.client_secret_id(), Some("c1--1"));
            },
            gone()
        )]);
        delete(&cx, "p", "c1", "c1--1").await.unwrap();
    }

    #[tokio::test]
    async fn cognito_chooses_the_value_of_a_new_one() {
        let mut secret = descriptor("c1--2", 1_763_715_000.0);
        secret["ClientSecretValue"] = json!(VALUE);
        let cx = cognito([on!(
            Sdk::add_user_pool_client_secret,
            |i| {
                assert_eq!((i.user_pool_id(), i.client_id()), (Some("p"), Some("c1")));
                assert_eq!(i.client_secret(), None);
            },
            ok(json!({"ClientSecretDescriptor": secret.clone()}))
        )]);
        let added = add(&cx, "p", "c1").await.unwrap();
        assert_eq!(added.id, "c1--2");
        assert_eq!(added.value.expose_secret(), VALUE);
    }

    #[tokio::test]
    async fn an_answer_without_a_value_is_no_success() {
        let cx = cognito([on!(
            Sdk::add_user_pool_client_secret,
            ok(json!({"ClientSecretDescriptor": descriptor("c1--2", 1.0)}))
        )]);
        let error = add(&cx, "p", "c1").await.err().unwrap();
        assert!(error.to_string().contains("answered no secret"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_third_is_a_refusal_and_no_matter_of_rate() {
        let cx = cognito([always!(
            Sdk::add_user_pool_client_secret,
            refused(
                400,
                "LimitExceededException",
                "Maximum number of client secrets exceeded."
            )
        )]);
        let (class, text) = failed(add(&cx, "p", "c1").await.map(|_| ()));
        assert_eq!(class, Some(Class::Refused));
        assert!(text.contains("LimitExceededException"), "{text}");
        assert_eq!(cx.waits(), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_made_is_not_made_again() {
        let cx = cognito([attempts!(
            Sdk::add_user_pool_client_secret,
            refused(500, "InternalServerException", "try again")
        )]);
        let (class, _) = failed(add(&cx, "p", "c1").await.map(|_| ()));
        assert_eq!(class, Some(Class::Ambiguous));

        let (cx, requests) = cut_off(|| ConnectorError::timeout("no answer".into()));
        let (class, _) = failed(add(&cx, "p", "c1").await.map(|_| ()));
        assert_eq!(class, Some(Class::Ambiguous));
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_throttled_is_made_later() {
        let mut secret = descriptor("c1--2", 1.0);
        secret["ClientSecretValue"] = json!(VALUE);
        let cx = cognito([attempts!(
            Sdk::add_user_pool_client_secret,
            refused(400, "TooManyRequestsException", "Rate exceeded"),
            ok(json!({"ClientSecretDescriptor": secret.clone()}))
        )]);
        assert_eq!(add(&cx, "p", "c1").await.unwrap().id, "c1--2");
    }
}
