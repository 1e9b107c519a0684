//! The secrets of a Cognito app client: it may have two at a time, so that one can be replaced without an outage.
//!
//! Must not keep a value: Cognito returns the value of a new secret once, and the caller hands it out.

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
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Aws;
use super::ids::{ClientId, PoolId};
use super::pages::Pages;
use super::wait::unless_gone;
use crate::resource::{Class, Cx, Result};

/// One of a client's secrets, without its value, which Cognito does not list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// `<client id>--<time of creation>`, which is not secret.
    pub id: String,
    /// When it was created; `None` if Cognito does not return it.
    pub created: Option<Timestamp>,
}

/// A secret that was created a moment ago.
pub struct Added {
    /// As in [`Listed`].
    pub id: String,
    /// The value, which Cognito does not return again.
    pub value: SecretString,
}

/// Where a client's secret can be read.
pub enum Kept {
    /// In the client's description. After a rotation AWS does not say whether that is the old one or the new one.
    Told(SecretString),
    /// In the secret of Secrets Manager with this ARN, which Cognito publishes and rotates itself.
    Published(String),
    /// Cognito returned neither.
    Untold,
}

/// Where the secret of a client can be read; `None` if the client is gone.
///
/// # Errors
/// The call is refused, or its answer has no client.
pub async fn kept(cx: &Cx<Aws>, pool: &PoolId, client_id: &ClientId) -> Result<Option<Kept>> {
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
        // If the body is not such a document, the SDK reports it.
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
pub async fn list(cx: &Cx<Aws>, pool: &PoolId, client_id: &ClientId) -> Result<Vec<Listed>> {
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

/// Creates one more secret, whose value Cognito chooses. A call that may have been executed is not repeated, neither by
/// the SDK nor here: the value of the secret that it created would be lost.
///
/// # Errors
/// The call is refused (`LimitExceededException`: there are two already), or its answer is lost or has no value. Then
/// there may be a secret whose value is not known.
pub async fn add(cx: &Cx<Aws>, pool: &PoolId, client_id: &ClientId) -> Result<Added> {
    let secret = add_one(cx, pool, client_id, None).await?;
    let (id, value) = secret
        .and_then(|secret| secret.client_secret_id.zip(secret.client_secret_value))
        .context("cognito-idp:AddUserPoolClientSecret answered no secret")?;
    Ok(Added {
        id,
        value: SecretString::from(value),
    })
}

/// Whether Cognito takes this as a client's secret: the pattern of its API.
pub fn can_be_one(value: &SecretString) -> bool {
    let value = value.expose_secret();
    (24..=64).contains(&value.len())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_+".contains(c))
}

/// Creates one more secret with this value, and returns its id. Not repeated, as [`add`].
///
/// # Errors
/// As [`add`]. After a lost answer the client may have the secret.
pub async fn adopt(
    cx: &Cx<Aws>,
    pool: &PoolId,
    client_id: &ClientId,
    value: &SecretString,
) -> Result<String> {
    let secret = add_one(cx, pool, client_id, Some(value)).await?;
    secret
        .and_then(|secret| secret.client_secret_id)
        .context("cognito-idp:AddUserPoolClientSecret answered no secret")
}

async fn add_one(
    cx: &Cx<Aws>,
    pool: &PoolId,
    client_id: &ClientId,
    value: Option<&SecretString>,
) -> Result<Option<ClientSecretDescriptorType>> {
    let text = value.map(ExposeSecret::expose_secret);
    let add = || {
        cx.cloud()
            .cognito
            .add_user_pool_client_secret()
            .user_pool_id(pool)
            .client_id(client_id)
            .set_client_secret(text.map(str::to_owned))
            .customize()
            .config_override(Config::builder().retry_config(RetryConfig::disabled()))
            .send()
    };
    let answer = cx.call("cognito-idp:AddUserPoolClientSecret", add).await;
    let answer = answer.map_err(|mut error| {
        // A service that refuses a value may repeat it.
        if let Some(text) = text {
            error.message = error.message.replace(text, "[the secret]");
        }
        error
    })?;
    Ok(answer.client_secret_descriptor)
}

/// Deletes one secret; succeeds if it is already gone. Cognito refuses to delete the last one. If the answer is lost,
/// or AWS refuses a call that it may have executed before, the list shows whether it is gone.
///
/// # Errors
/// The call is refused, and the secret is still listed or the list cannot be read.
pub async fn delete(cx: &Cx<Aws>, pool: &PoolId, client_id: &ClientId, id: &str) -> Result<()> {
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
mod tests;
