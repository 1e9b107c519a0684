//! A confidential app client of a user pool, for the client-credentials grant and nothing else.
//!
//! Must not keep its secret: AWS returns it with every description, and it is dropped there.

use std::collections::BTreeSet;

use anyhow::Context;
use aws_sdk_cognitoidentityprovider::config::Config;
use aws_sdk_cognitoidentityprovider::config::retry::RetryConfig;
use aws_sdk_cognitoidentityprovider::operation::update_user_pool_client::builders::UpdateUserPoolClientFluentBuilder;
use aws_sdk_cognitoidentityprovider::types::{
    ExplicitAuthFlowsType, FeatureType, OAuthFlowType, PreventUserExistenceErrorTypes,
    RefreshTokenRotationType, TimeUnitsType, TokenValidityUnitsType, UserPoolClientType,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::aws::client_secrets::{self, Kept};
use crate::aws::ids::{self, ClientId, PoolId};
use crate::aws::pages::Pages;
use crate::aws::wait::{once, unless_gone};
use crate::aws::{Aws, secrets_manager};
use crate::resource::{Class, Cx, Kind, Published, Resource, Result, Stranger, Updated, class};

/// AWS's limit of scopes of a client.
const MOST_SCOPES: usize = 50;

/// An app client. Its name is not unique in the pool. The pool being ours makes it ours; in a shared pool its mark does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The pool's id.
    pub pool: PoolId,
    /// 1 to 128 characters, with the mark.
    pub name: String,
    /// What the name in Cognito ends with, in a pool of others: the stack and its owner. Empty in the stack's own pool.
    pub mark: String,
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

/// What dependents and calls need of it; without the secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The OAuth `client_id`.
    pub client_id: ClientId,
}

impl Published for Output {
    fn placeholder(mark: &str) -> Self {
        Self {
            client_id: mark.into(),
        }
    }
}

/// Cognito does not return the secret of this client, nor where it is.
#[derive(Debug, thiserror::Error)]
#[error("client {0} has no secret that cognito tells")]
pub struct Untold(String);

/// The client's secret: as Cognito returned it when this run created the client, or else read from Cognito now, or from
/// where Cognito publishes it.
///
/// # Errors
/// The client is gone or has no secret, a call is refused, or [`Untold`].
pub async fn secret(cx: &Cx<Aws>, pool: &PoolId, client_id: &ClientId) -> Result<SecretString> {
    if let Some(secret) = new_secret(cx, client_id) {
        return Ok(secret);
    }
    let kept = client_secrets::kept(cx, pool, client_id).await?;
    match kept.with_context(|| not_there(pool, client_id))? {
        Kept::Told(secret) => Ok(secret),
        Kept::Published(arn) => secrets_manager::get(cx, &arn)
            .await
            .with_context(|| format!("cognito keeps it in secret {arn} of secrets manager")),
        Kept::Untold => Err(Untold(client_id.to_string()).into()),
    }
}

/// The secret of a client that this run created.
pub fn new_secret(cx: &Cx<Aws>, client_id: &ClientId) -> Option<SecretString> {
    cx.cloud().new_secrets.borrow().get(client_id).cloned()
}

/// The scopes that a client's tokens may have, whatever grant it gets them with; none of a client that is gone.
///
/// # Errors
/// The call is refused.
pub async fn scopes(cx: &Cx<Aws>, pool: &PoolId, client_id: &ClientId) -> Result<BTreeSet<String>> {
    let client = describe(cx, pool, client_id).await?;
    Ok(client
        .map(|client| client.allowed_o_auth_scopes().iter().cloned().collect())
        .unwrap_or_default())
}

fn not_there(pool: &PoolId, client_id: &ClientId) -> String {
    format!("client {client_id} is not in user pool {pool} any more")
}

async fn describe(cx: &Cx<Aws>, pool: &PoolId, client_id: &ClientId) -> Result<Option<UserPoolClientType>> {
    let describe = || {
        cx.cloud()
            .cognito
            .describe_user_pool_client()
            .user_pool_id(pool)
            .client_id(client_id)
            .send()
    };
    let answer = unless_gone(cx.call("cognito-idp:DescribeUserPoolClient", describe).await)?;
    answer
        .map(|answer| {
            answer
                .user_pool_client
                .context("cognito-idp:DescribeUserPoolClient answered no client")
        })
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

impl Client {
    /// The name in Cognito.
    pub fn full_name(&self) -> String {
        format!("{}{}", self.name, self.mark)
    }

    /// The name without the mark.
    fn own_name<'a>(&self, client_id: &ClientId, live: &'a UserPoolClientType) -> Result<&'a str, Stranger> {
        let name = live.client_name().unwrap_or_default();
        name.strip_suffix(&self.mark).ok_or_else(|| Stranger {
            what: format!("client {client_id} of user pool {}, called {name:?},", self.pool),
        })
    }

    fn sdk_flows(&self) -> Vec<OAuthFlowType> {
        self.flows
            .iter()
            .map(|flow| OAuthFlowType::from(flow.as_str()))
            .collect()
    }

    fn sdk_explicit_auth_flows(&self) -> Vec<ExplicitAuthFlowsType> {
        self.explicit_auth_flows
            .iter()
            .map(|flow| ExplicitAuthFlowsType::from(flow.as_str()))
            .collect()
    }

    /// The same with the scopes of `before` as well, as far as AWS's limit allows.
    fn with_scopes_of(&self, before: &Self) -> Self {
        let mut both = self.clone();
        let room = MOST_SCOPES.saturating_sub(self.scopes.len());
        both.scopes
            .extend(before.scopes.difference(&self.scopes).take(room).cloned());
        both
    }

    /// Changes the live client and keeps all else of it.
    async fn edit(&self, cx: &Cx<Aws>, out: &Output, edit: impl Fn(&mut UserPoolClientType)) -> Result<()> {
        cx.repeat("cognito-idp:UpdateUserPoolClient", || async {
            let live = describe(cx, &self.pool, &out.client_id).await?;
            let mut live = live.with_context(|| not_there(&self.pool, &out.client_id))?;
            drop(live.client_secret.take());
            self.own_name(&out.client_id, &live)?;
            edit(&mut live);
            let update = cx.cloud().cognito.update_user_pool_client();
            let update = all_of(live, update.user_pool_id(&self.pool).client_id(&out.client_id));
            // The answer holds the secret: it ends here.
            drop(once("cognito-idp:UpdateUserPoolClient", update.send()).await?);
            Ok(())
        })
        .await
    }

    /// Sets in a live client what differs from `before`.
    fn change(&self, before: &Self, live: &mut UserPoolClientType) {
        // Without units AWS reads hours and days.
        let units = live
            .token_validity_units
            .get_or_insert_with(|| TokenValidityUnitsType::builder().build());
        units.access_token.get_or_insert(TimeUnitsType::Hours);
        units.id_token.get_or_insert(TimeUnitsType::Hours);
        units.refresh_token.get_or_insert(TimeUnitsType::Days);
        if self.access_token_seconds != before.access_token_seconds {
            units.access_token = Some(TimeUnitsType::Seconds);
            live.access_token_validity = Some(self.access_token_seconds);
            // As `create` makes it: this client gets no ID token, and its lifetime is the other's.
            units.id_token = Some(TimeUnitsType::Seconds);
            live.id_token_validity = Some(self.access_token_seconds);
        }
        if self.refresh_token_days != before.refresh_token_days {
            units.refresh_token = Some(TimeUnitsType::Days);
            live.refresh_token_validity = self.refresh_token_days;
        }
        if self.name != before.name {
            live.client_name = Some(self.full_name());
        }
        if self.scopes != before.scopes {
            live.allowed_o_auth_scopes = Some(self.scopes.iter().cloned().collect());
        }
        if self.flows != before.flows {
            live.allowed_o_auth_flows = Some(self.sdk_flows());
            live.allowed_o_auth_flows_user_pool_client = Some(true);
        }
        if self.explicit_auth_flows != before.explicit_auth_flows {
            live.explicit_auth_flows = Some(self.sdk_explicit_auth_flows());
            if rotates(live) && self.explicit_auth_flows.contains("ALLOW_REFRESH_TOKEN_AUTH") {
                // Cognito refuses one beside the other.
                let off = RefreshTokenRotationType::builder().feature(FeatureType::Disabled);
                live.refresh_token_rotation = off.build().ok();
            }
        }
        if self.token_revocation != before.token_revocation {
            live.enable_token_revocation = Some(self.token_revocation);
        }
        if self.prevent_user_existence_errors != before.prevent_user_existence_errors {
            live.prevent_user_existence_errors = Some(self.prevent_user_existence_errors.as_str().into());
        }
    }
}

/// Whether every use of a refresh token makes a new one, which `ALLOW_REFRESH_TOKEN_AUTH` excludes.
fn rotates(live: &UserPoolClientType) -> bool {
    live.refresh_token_rotation()
        .is_some_and(|rotation| *rotation.feature() == FeatureType::Enabled)
}

/// All of a live client that UpdateUserPoolClient takes: what it is not told, it resets.
fn all_of(
    live: UserPoolClientType,
    update: UpdateUserPoolClientFluentBuilder,
) -> UpdateUserPoolClientFluentBuilder {
    // Where nothing is sent Cognito takes its default flows, one of which the rotation excludes.
    let no_flows = rotates(&live).then(Vec::new);
    update
        .set_client_name(live.client_name)
        .refresh_token_validity(live.refresh_token_validity)
        .set_access_token_validity(live.access_token_validity)
        .set_id_token_validity(live.id_token_validity)
        .set_token_validity_units(live.token_validity_units)
        .set_read_attributes(live.read_attributes)
        .set_write_attributes(live.write_attributes)
        .set_explicit_auth_flows(live.explicit_auth_flows.or(no_flows))
        .set_supported_identity_providers(live.supported_identity_providers)
        .set_callback_urls(live.callback_urls)
        .set_logout_urls(live.logout_urls)
        .set_default_redirect_uri(live.default_redirect_uri)
        .set_allowed_o_auth_flows(live.allowed_o_auth_flows)
        .set_allowed_o_auth_scopes(live.allowed_o_auth_scopes)
        .set_allowed_o_auth_flows_user_pool_client(live.allowed_o_auth_flows_user_pool_client)
        .set_analytics_configuration(live.analytics_configuration)
        .set_prevent_user_existence_errors(live.prevent_user_existence_errors)
        .set_enable_token_revocation(live.enable_token_revocation)
        .set_enable_propagate_additional_user_context_data(live.enable_propagate_additional_user_context_data)
        .set_auth_session_validity(live.auth_session_validity)
        .set_refresh_token_rotation(live.refresh_token_rotation)
}

impl Client {
    /// The clients of our name in our pool, at most so many.
    async fn of_our_name(&self, cx: &Cx<Aws>, most: usize) -> Result<Vec<Output>> {
        let mut found = Vec::new();
        let name = self.full_name();
        let mut pages = Pages::of("cognito-idp:ListUserPoolClients");
        loop {
            let list = || {
                cx.cloud()
                    .cognito
                    .list_user_pool_clients()
                    .user_pool_id(&self.pool)
                    .max_results(60)
                    .set_next_token(pages.token())
                    .send()
            };
            let Some(page) = unless_gone(cx.call("cognito-idp:ListUserPoolClients", list).await)? else {
                return Ok(found);
            };
            let ours = (page.user_pool_clients().iter())
                .filter(|client| client.client_name() == Some(&name))
                .filter_map(|client| client.client_id());
            found.extend(ours.map(|id| Output { client_id: id.into() }));
            found.truncate(most);
            // A page may be empty and yet not be the last.
            if found.len() == most || !pages.turn(page.next_token)? {
                return Ok(found);
            }
        }
    }
}

impl Resource for Client {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static Kind = &Kind {
        shapes: &[("desired.pool", ids::POOL), ("output.client_id", ids::CLIENT)],
        fixed: &["pool"],
        loses: Some("its client_id and secret"),
        dies_with: Some("user-pool"),
        shares_names: true,
        retires_first: true,
        ..Kind::new("client")
    };

    fn id(&self, out: &Output) -> String {
        out.client_id.to_string()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        Ok(self.of_our_name(cx, 1).await?.pop())
    }

    /// A pool may have several clients of one name.
    async fn find_lost(&self, cx: &Cx<Aws>) -> Result<Vec<Output>> {
        self.of_our_name(cx, usize::MAX).await
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        // Without units AWS reads hours and days.
        let units = TokenValidityUnitsType::builder()
            .access_token(TimeUnitsType::Seconds)
            .id_token(TimeUnitsType::Seconds)
            .refresh_token(TimeUnitsType::Days)
            .build();
        let existence = PreventUserExistenceErrorTypes::from(self.prevent_user_existence_errors.as_str());
        let create = || {
            cx.cloud()
                .cognito
                .create_user_pool_client()
                .user_pool_id(&self.pool)
                .client_name(self.full_name())
                .generate_secret(true)
                .allowed_o_auth_flows_user_pool_client(true)
                .set_allowed_o_auth_flows(Some(self.sdk_flows()))
                .set_allowed_o_auth_scopes(Some(self.scopes.iter().cloned().collect()))
                .set_explicit_auth_flows(Some(self.sdk_explicit_auth_flows()))
                .token_validity_units(units.clone())
                .access_token_validity(self.access_token_seconds)
                .id_token_validity(self.access_token_seconds)
                .refresh_token_validity(self.refresh_token_days)
                .enable_token_revocation(self.token_revocation)
                .prevent_user_existence_errors(existence.clone())
                .customize()
                .config_override(Config::builder().retry_config(RetryConfig::disabled()))
                .send()
        };
        let answer = cx.call("cognito-idp:CreateUserPoolClient", create).await?;
        let client = answer
            .user_pool_client
            .context("cognito-idp:CreateUserPoolClient answered no client")?;
        let client_id = ClientId::from(
            client
                .client_id
                .context("cognito-idp:CreateUserPoolClient answered no client id")?,
        );
        if let Some(secret) = client.client_secret {
            cx.cloud()
                .new_secrets
                .borrow_mut()
                .insert(client_id.clone(), SecretString::from(secret));
        }
        Ok(Output { client_id })
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let Some(client) = describe(cx, &self.pool, &out.client_id).await? else {
            return Ok(None);
        };
        let units = client.token_validity_units();
        let access = units.and_then(TokenValidityUnitsType::access_token);
        let refresh = units.and_then(TokenValidityUnitsType::refresh_token);
        let flows = client
            .allowed_o_auth_flows()
            .iter()
            .map(|flow| flow.as_str().to_owned());
        Ok(Some(Self {
            pool: self.pool.clone(),
            name: self.own_name(&out.client_id, &client)?.to_owned(),
            mark: self.mark.clone(),
            scopes: client.allowed_o_auth_scopes().iter().cloned().collect(),
            // Flows that are listed but switched off do nothing.
            flows: flows
                .filter(|_| client.allowed_o_auth_flows_user_pool_client() == Some(true))
                .collect(),
            explicit_auth_flows: client
                .explicit_auth_flows()
                .iter()
                .map(|flow| flow.as_str().to_owned())
                .collect(),
            access_token_seconds: seconds(client.access_token_validity(), access, &TimeUnitsType::Hours),
            refresh_token_days: seconds(
                Some(client.refresh_token_validity()),
                refresh,
                &TimeUnitsType::Days,
            ) / (24 * 60 * 60),
            token_revocation: client.enable_token_revocation().unwrap_or_default(),
            prevent_user_existence_errors: client
                .prevent_user_existence_errors()
                .map_or("LEGACY", PreventUserExistenceErrorTypes::as_str)
                .to_owned(),
        }))
    }

    /// Adds scopes, and keeps those that are removed, so that its tokens are valid for the routes that are deployed now
    /// and for those that will be. `retire` removes them once the stage has moved.
    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Updated<Output>> {
        let both = self.with_scopes_of(before);
        let updated = Updated {
            output: out,
            retires: !before.scopes.is_subset(&self.scopes),
        };
        if both == *before {
            return Ok(updated);
        }
        let out = &updated.output;
        match both.edit(cx, out, |live| both.change(before, live)).await {
            // One of the removed scopes may no longer exist, and Cognito would refuse it for ever.
            Err(error) if class(&error) == Some(Class::NotReady) && both != *self => {
                self.edit(cx, out, |live| self.change(before, live)).await?;
            }
            done => done?,
        }
        Ok(updated)
    }

    async fn retire(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let scopes: Vec<String> = self.scopes.iter().cloned().collect();
        self.edit(cx, out, |live| live.allowed_o_auth_scopes = Some(scopes.clone()))
            .await
    }

    async fn check_owner(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        if self.mark.is_empty() {
            return Ok(());
        }
        let live = describe(cx, &self.pool, &out.client_id).await?;
        live.map_or(Ok(()), |live| {
            Ok(self.own_name(&out.client_id, &live).map(drop)?)
        })
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

#[cfg(test)]
mod tests;
