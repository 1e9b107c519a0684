//! A confidential app client of a user pool, for the client-credentials grant and nothing else.
//!
//! Must not keep its secret: AWS answers it with every description, and it is dropped there.

use std::collections::BTreeSet;

use anyhow::Context;
use aws_sdk_cognitoidentityprovider::config::Config;
use aws_sdk_cognitoidentityprovider::types::{
    ExplicitAuthFlowsType, OAuthFlowType, PreventUserExistenceErrorTypes, TimeUnitsType, TokenValidityUnitsType,
    UserPoolClientType,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::clients::OnlyThrottles;
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Resource, Result};

/// An app client. Its name is not unique in the pool; the pool being ours makes it ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// The pool's id.
    pub pool: String,
    /// 1 to 128 characters.
    pub name: String,
    /// Full scopes, `<identifier>/<scope>`; at most 50.
    pub scopes: BTreeSet<String>,
    /// The only grants: `client_credentials`.
    pub flows: BTreeSet<String>,
    /// What else it may do. AWS's own default lets users sign in; `ALLOW_REFRESH_TOKEN_AUTH` alone is the least that it
    /// takes.
    pub explicit_auth_flows: BTreeSet<String>,
    /// Seconds; 5 minutes to one day.
    pub access_token_seconds: i32,
    /// Days.
    pub refresh_token_days: i32,
    /// Whether refresh tokens can be revoked.
    pub token_revocation: bool,
    /// `ENABLED`: errors do not tell whether a user exists.
    pub prevent_user_existence_errors: String,
}

/// What Cognito answered, without the secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {
    /// The OAuth `client_id`.
    pub client_id: String,
}

/// The client's secret, read from Cognito now.
///
/// # Errors
/// The client is gone or has no secret, or the call is refused.
pub async fn secret(cx: &Cx<Aws>, pool: &str, client_id: &str) -> Result<SecretString> {
    let client = describe(cx, pool, client_id)
        .await?
        .with_context(|| format!("client {client_id} is not in user pool {pool} any more"))?;
    let secret = client.client_secret.with_context(|| format!("client {client_id} has no secret"))?;
    Ok(SecretString::from(secret))
}

async fn describe(cx: &Cx<Aws>, pool: &str, client_id: &str) -> Result<Option<UserPoolClientType>> {
    let describe =
        || cx.cloud().cognito.describe_user_pool_client().user_pool_id(pool).client_id(client_id).send();
    let answer = unless_gone(cx.call("cognito-idp:DescribeUserPoolClient", describe).await)?;
    answer
        .map(|answer| answer.user_pool_client.context("cognito-idp:DescribeUserPoolClient answered no client"))
        .transpose()
}

/// The validity in seconds, whatever unit it is in; AWS leaves out units that were never set.
fn seconds(value: Option<i32>, unit: Option<&TimeUnitsType>, default: &TimeUnitsType) -> i32 {
    let factor = match unit.unwrap_or(default) {
        TimeUnitsType::Days => 24 * 60 * 60,
        TimeUnitsType::Hours => 60 * 60,
        TimeUnitsType::Minutes => 60,
        _ => 1,
    };
    value.unwrap_or_default().saturating_mul(factor)
}

impl Resource for Client {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "client";
    const FIXED: &'static [&'static str] = &[
        "pool",
        "name",
        "scopes",
        "flows",
        "explicit_auth_flows",
        "access_token_seconds",
        "refresh_token_days",
        "token_revocation",
        "prevent_user_existence_errors",
    ];
    const DIES_WITH: Option<&'static str> = Some("user-pool");

    fn id(&self, out: &Output) -> String {
        out.client_id.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let mut position = None;
        loop {
            let list = || {
                cx.cloud()
                    .cognito
                    .list_user_pool_clients()
                    .user_pool_id(&self.pool)
                    .max_results(60)
                    .set_next_token(position.clone())
                    .send()
            };
            let Some(page) = unless_gone(cx.call("cognito-idp:ListUserPoolClients", list).await)? else {
                return Ok(None);
            };
            let ours = page.user_pool_clients().iter().find(|client| client.client_name() == Some(&self.name));
            if let Some(id) = ours.and_then(|client| client.client_id()) {
                return Ok(Some(Output { client_id: id.to_owned() }));
            }
            // A page may be empty and yet not be the last.
            position = page.next_token;
            if position.is_none() {
                return Ok(None);
            }
        }
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        // Without units AWS reads hours and days.
        let units = TokenValidityUnitsType::builder()
            .access_token(TimeUnitsType::Seconds)
            .id_token(TimeUnitsType::Seconds)
            .refresh_token(TimeUnitsType::Days)
            .build();
        let flows: Vec<_> = self.flows.iter().map(|flow| OAuthFlowType::from(flow.as_str())).collect();
        let explicit: Vec<_> =
            self.explicit_auth_flows.iter().map(|flow| ExplicitAuthFlowsType::from(flow.as_str())).collect();
        let existence = PreventUserExistenceErrorTypes::from(self.prevent_user_existence_errors.as_str());
        let create = || {
            cx.cloud()
                .cognito
                .create_user_pool_client()
                .user_pool_id(&self.pool)
                .client_name(&self.name)
                .generate_secret(true)
                .allowed_o_auth_flows_user_pool_client(true)
                .set_allowed_o_auth_flows(Some(flows.clone()))
                .set_allowed_o_auth_scopes(Some(self.scopes.iter().cloned().collect()))
                .set_explicit_auth_flows(Some(explicit.clone()))
                .token_validity_units(units.clone())
                .access_token_validity(self.access_token_seconds)
                .id_token_validity(self.access_token_seconds)
                .refresh_token_validity(self.refresh_token_days)
                .enable_token_revocation(self.token_revocation)
                .prevent_user_existence_errors(existence.clone())
                .customize()
                .config_override(Config::builder().retry_classifier(OnlyThrottles))
                .send()
        };
        let answer = cx.call("cognito-idp:CreateUserPoolClient", create).await?;
        let client_id = answer.user_pool_client.and_then(|client| client.client_id);
        Ok(Output {
            client_id: client_id.context("cognito-idp:CreateUserPoolClient answered no client id")?,
        })
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let Some(client) = describe(cx, &self.pool, &out.client_id).await? else {
            return Ok(None);
        };
        let units = client.token_validity_units();
        let access = units.and_then(TokenValidityUnitsType::access_token);
        let refresh = units.and_then(TokenValidityUnitsType::refresh_token);
        let flows = client.allowed_o_auth_flows().iter().map(|flow| flow.as_str().to_owned());
        Ok(Some(Self {
            pool: self.pool.clone(),
            name: client.client_name().unwrap_or_default().to_owned(),
            scopes: client.allowed_o_auth_scopes().iter().cloned().collect(),
            // Flows that are listed but switched off do nothing.
            flows: flows.filter(|_| client.allowed_o_auth_flows_user_pool_client() == Some(true)).collect(),
            explicit_auth_flows: client
                .explicit_auth_flows()
                .iter()
                .map(|flow| flow.as_str().to_owned())
                .collect(),
            access_token_seconds: seconds(client.access_token_validity(), access, &TimeUnitsType::Hours),
            refresh_token_days: seconds(Some(client.refresh_token_validity()), refresh, &TimeUnitsType::Days)
                / (24 * 60 * 60),
            token_revocation: client.enable_token_revocation().unwrap_or_default(),
            prevent_user_existence_errors: client
                .prevent_user_existence_errors()
                .map_or("LEGACY", PreventUserExistenceErrorTypes::as_str)
                .to_owned(),
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete = || {
            cx.cloud()
                .cognito
                .delete_user_pool_client()
                .user_pool_id(&self.pool)
                .client_id(&out.client_id)
                .send()
        };
        unless_gone(cx.call("cognito-idp:DeleteUserPoolClient", delete).await)?;
        Ok(())
    }
}
