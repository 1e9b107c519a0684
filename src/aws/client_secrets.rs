//! The secrets of a Cognito app client: it may have two at a time, so that one is exchanged without an outage.
//!
//! Must not keep a value: Cognito tells that of a new secret once, and whoever asked for it hands it out.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use aws_sdk_cognitoidentityprovider::config::Config;
use aws_sdk_cognitoidentityprovider::config::retry::RetryConfig;
use aws_sdk_cognitoidentityprovider::types::ClientSecretDescriptorType;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use jiff::{Timestamp, Unit};
use secrecy::SecretString;
use serde::Deserialize;

use super::Aws;
use super::pages::Pages;
use super::wait::unless_gone;
use crate::resource::{Class, Cx, Result};

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

/// Where a client's secret can be read.
pub enum Kept {
    /// In what Cognito answered. After a rotation AWS does not say whether that is the old one or the new one.
    Told(SecretString),
    /// In the secret of Secrets Manager with this ARN, which Cognito publishes and rotates itself.
    Published(String),
    /// Cognito answered neither.
    Untold,
}

/// Where the secret of a client can be read; `None` if the client is gone.
///
/// # Errors
/// The call is refused, or its answer has no client.
pub async fn kept(cx: &Cx<Aws>, pool: &str, client_id: &str) -> Result<Option<Kept>> {
    let published = Published::default();
    let describe = || {
        cx.cloud()
            .cognito
            .describe_user_pool_client()
            .user_pool_id(pool)
            .client_id(client_id)
            .customize()
            .interceptor(published.clone())
            .send()
    };
    let answer = cx.call("cognito-idp:DescribeUserPoolClient", describe).await;
    let Some(answer) = unless_gone(answer)? else {
        return Ok(None);
    };
    let client = answer
        .user_pool_client
        .context("cognito-idp:DescribeUserPoolClient answered no client")?;
    let arn = published.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(Some(match (client.client_secret, arn) {
        (_, Some(arn)) => Kept::Published(arn),
        (Some(secret), None) => Kept::Told(SecretString::from(secret)),
        (None, None) => Kept::Untold,
    }))
}

/// Finds `ClientSecretArn` in the answer, a member that this version of the SDK does not know.
#[derive(Clone, Debug, Default)]
struct Published(Arc<Mutex<Option<String>>>);

impl Intercept for Published {
    fn name(&self) -> &'static str {
        "Published"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        struct Client {
            client_secret_arn: Option<String>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        struct Answer {
            user_pool_client: Client,
        }
        let body = context.response().body().bytes().unwrap_or_default();
        // What is not such a document is the SDK's to judge.
        let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answer.user_pool_client.client_secret_arn;
        Ok(())
    }
}

/// The client's secret in a text: the text without the end of its line, or `clientSecretValue` of the JSON object that
/// Cognito publishes in Secrets Manager. `None` if the text is neither.
pub fn in_text(text: &str) -> Option<SecretString> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        client_secret_value: String,
    }
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let secret = if line.trim_start().starts_with('{') {
        serde_json::from_str::<Document>(line).ok()?.client_secret_value
    } else {
        line.to_owned()
    };
    let is_secret = !secret.is_empty() && secret.chars().all(|c| c.is_ascii_graphic());
    is_secret.then(|| SecretString::from(secret))
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

/// Deletes one secret; succeeds if it is already gone. Cognito refuses to delete the last one. Where the answer is lost,
/// or AWS refuses what it may have executed before, a look at the list decides.
///
/// # Errors
/// The call is refused, and the secret is still listed or the list cannot be read.
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
    let deleted = cx.call("cognito-idp:DeleteUserPoolClientSecret", delete).await;
    let Err(error) = unless_gone(deleted) else {
        return Ok(());
    };
    if matches!(error.class, Class::Ambiguous | Class::Refused)
        && let Ok(secrets) = list(cx, pool, client_id).await
        && secrets.iter().all(|secret| secret.id != id)
    {
        return Ok(());
    }
    Err(error.into())
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
    async fn each_answer_of_cognito_says_where_the_secret_is() {
        let arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret/cognito-c1";
        let answer = |members: serde_json::Value| ok(json!({ "UserPoolClient": members }));
        let cx = cognito([
            on!(
                Sdk::describe_user_pool_client,
                answer(json!({"ClientId": "c1", "ClientSecret": VALUE}))
            ),
            on!(
                Sdk::describe_user_pool_client,
                |i| { assert_eq!((i.user_pool_id(), i.client_id()), (Some("p"), Some("c1"))) },
                answer(json!({"ClientId": "c1", "ClientSecretArn": arn}))
            ),
            on!(Sdk::describe_user_pool_client, answer(json!({"ClientId": "c1"}))),
            on!(
                Sdk::describe_user_pool_client,
                refused(400, "ResourceNotFoundException", "gone")
            ),
        ]);
        let kept = async || kept(&cx, "p", "c1").await.unwrap();
        let Some(Kept::Told(told)) = kept().await else {
            panic!("it is told")
        };
        assert_eq!(told.expose_secret(), VALUE);
        let Some(Kept::Published(published)) = kept().await else {
            panic!("it is published")
        };
        assert_eq!(published, arn);
        assert!(matches!(kept().await, Some(Kept::Untold)));
        assert!(kept().await.is_none());
    }

    #[test]
    fn a_text_is_the_secret_or_what_cognito_publishes() {
        let published = json!({"userPoolId": "p", "userPoolClientId": "c1", "clientSecretValue": VALUE});
        for text in [
            VALUE.to_owned(),
            format!("{VALUE}\n"),
            format!("{VALUE}\r\n"),
            published.to_string(),
        ] {
            assert_eq!(in_text(&text).unwrap().expose_secret(), VALUE);
        }
        for text in [
            String::new(),
            "\n".to_owned(),
            format!("{VALUE}\n\n"),
            format!("{VALUE} x"),
            "\u{1b}[2J".to_owned(),
            r#"{"clientSecret": "x"}"#.to_owned(),
            r#"{"clientSecretValue": ""}"#.to_owned(),
            format!("{{{VALUE}"),
        ] {
            assert!(in_text(&text).is_none(), "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_whose_answer_is_lost_is_looked_up() {
        let lost = || refused(500, "InternalServerException", "try again");
        let last = || {
            refused(
                400,
                "InvalidParameterException",
                "The last secret cannot be deleted.",
            )
        };
        let left = |id: &str| ok(json!({"ClientSecrets": [descriptor(id, 1.0)]}));
        // Lost ten times, or repeated by the SDK and then refused, as one secret is left.
        for answer in [
            attempts!(
                Sdk::delete_user_pool_client_secret,
                lost(),
                lost(),
                lost(),
                lost(),
                lost(),
                lost(),
                lost(),
                lost(),
                lost(),
                lost()
            ),
            attempts!(Sdk::delete_user_pool_client_secret, lost(), last()),
        ] {
            let cx = cognito([answer, on!(Sdk::list_user_pool_client_secrets, left("c1--2"))]);
            delete(&cx, "p", "c1", "c1--1").await.unwrap();
        }
        // It is still there, or the list cannot be read: the deletion's own error.
        for listed in [
            on!(Sdk::list_user_pool_client_secrets, left("c1--1")),
            on!(
                Sdk::list_user_pool_client_secrets,
                refused(400, "AccessDeniedException", "no list")
            ),
        ] {
            let cx = cognito([on!(Sdk::delete_user_pool_client_secret, last()), listed]);
            let (class, text) = failed(delete(&cx, "p", "c1", "c1--1").await);
            assert_eq!(class, Some(Class::Refused));
            assert!(text.contains("The last secret cannot be deleted."), "{text}");
        }
        // What was refused for want of the right is not looked up.
        let cx = cognito([on!(
            Sdk::delete_user_pool_client_secret,
            refused(400, "AccessDeniedException", "no right")
        )]);
        assert_eq!(
            failed(delete(&cx, "p", "c1", "c1--1").await).0,
            Some(Class::Denied)
        );
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
