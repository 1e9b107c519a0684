//! A confidential app client of a user pool, for the client-credentials grant and nothing else.
//!
//! Must not keep its secret: AWS answers it with every description, and it is dropped there.

use std::collections::BTreeSet;

use anyhow::Context;
use aws_sdk_cognitoidentityprovider::config::Config;
use aws_sdk_cognitoidentityprovider::config::retry::RetryConfig;
use aws_sdk_cognitoidentityprovider::operation::update_user_pool_client::builders::UpdateUserPoolClientFluentBuilder;
use aws_sdk_cognitoidentityprovider::types::{
    ExplicitAuthFlowsType, FeatureType, OAuthFlowType, PreventUserExistenceErrorTypes, RefreshTokenRotationType,
    TimeUnitsType, TokenValidityUnitsType, UserPoolClientType,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::aws::client_secrets::{self, Kept};
use crate::aws::pages::Pages;
use crate::aws::wait::{once, unless_gone};
use crate::aws::{Aws, ids, secrets_manager};
use crate::resource::{Class, Cx, Resource, Result, Shape, class};

/// AWS's limit of scopes of a client.
const MOST_SCOPES: usize = 50;

/// An app client. Its name is not unique in the pool; the pool being ours makes it ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The OAuth `client_id`.
    pub client_id: String,
}

/// Cognito does not answer the secret of this client, nor where it is.
#[derive(Debug, thiserror::Error)]
#[error("client {0} has no secret that cognito tells")]
pub struct Untold(String);

/// The client's secret: as Cognito answered when this run made the client, or else read from there now, or from where
/// Cognito publishes it.
///
/// # Errors
/// The client is gone or has no secret, a call is refused, or [`Untold`].
pub async fn secret(cx: &Cx<Aws>, pool: &str, client_id: &str) -> Result<SecretString> {
    if let Some(secret) = new_secret(cx, client_id) {
        return Ok(secret);
    }
    let kept = client_secrets::kept(cx, pool, client_id).await?;
    match kept.with_context(|| not_there(pool, client_id))? {
        Kept::Told(secret) => Ok(secret),
        Kept::Published(arn) => secrets_manager::get(cx, &arn)
            .await
            .with_context(|| format!("cognito keeps it in secret {arn} of secrets manager")),
        Kept::Untold => Err(Untold(client_id.to_owned()).into()),
    }
}

/// The secret of a client that this run made.
pub fn new_secret(cx: &Cx<Aws>, client_id: &str) -> Option<SecretString> {
    cx.cloud().new_secrets.borrow().get(client_id).cloned()
}

/// The scopes that a client's tokens may have, whatever grant it gets them with; none of a client that is gone.
///
/// # Errors
/// The call is refused.
pub async fn scopes(cx: &Cx<Aws>, pool: &str, client_id: &str) -> Result<BTreeSet<String>> {
    let client = describe(cx, pool, client_id).await?;
    Ok(client.map(|client| client.allowed_o_auth_scopes().iter().cloned().collect()).unwrap_or_default())
}

fn not_there(pool: &str, client_id: &str) -> String {
    format!("client {client_id} is not in user pool {pool} any more")
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

impl Client {
    fn sdk_flows(&self) -> Vec<OAuthFlowType> {
        self.flows.iter().map(|flow| OAuthFlowType::from(flow.as_str())).collect()
    }

    fn sdk_explicit_auth_flows(&self) -> Vec<ExplicitAuthFlowsType> {
        self.explicit_auth_flows.iter().map(|flow| ExplicitAuthFlowsType::from(flow.as_str())).collect()
    }

    /// The same with the scopes of `before` as well, as far as AWS's limit allows.
    fn with_scopes_of(&self, before: &Self) -> Self {
        let mut both = self.clone();
        let room = MOST_SCOPES.saturating_sub(self.scopes.len());
        both.scopes.extend(before.scopes.difference(&self.scopes).take(room).cloned());
        both
    }

    /// Changes the live client and keeps all else of it.
    async fn edit(&self, cx: &Cx<Aws>, out: &Output, edit: impl Fn(&mut UserPoolClientType)) -> Result<()> {
        cx.repeat("cognito-idp:UpdateUserPoolClient", || async {
            let live = describe(cx, &self.pool, &out.client_id).await?;
            let mut live = live.with_context(|| not_there(&self.pool, &out.client_id))?;
            drop(live.client_secret.take());
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
        let units = live.token_validity_units.get_or_insert_with(|| TokenValidityUnitsType::builder().build());
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
            live.client_name = Some(self.name.clone());
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
    live.refresh_token_rotation().is_some_and(|rotation| *rotation.feature() == FeatureType::Enabled)
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

impl Resource for Client {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "client";
    const SHAPES: &'static [(&'static str, Shape)] = &[
        ("desired.pool", ids::POOL),
        ("output.client_id", ids::CLIENT),
    ];
    const FIXED: &'static [&'static str] = &["pool"];
    const LOSES: Option<&'static str> = Some("its client_id and secret");
    const DIES_WITH: Option<&'static str> = Some("user-pool");
    const SHARES_NAMES: bool = true;
    const RETIRES_FIRST: bool = true;

    fn id(&self, out: &Output) -> String {
        out.client_id.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
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
                return Ok(None);
            };
            let ours = page.user_pool_clients().iter().find(|client| client.client_name() == Some(&self.name));
            if let Some(id) = ours.and_then(|client| client.client_id()) {
                return Ok(Some(Output { client_id: id.to_owned() }));
            }
            // A page may be empty and yet not be the last.
            if !pages.turn(page.next_token)? {
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
        let existence = PreventUserExistenceErrorTypes::from(self.prevent_user_existence_errors.as_str());
        let create = || {
            cx.cloud()
                .cognito
                .create_user_pool_client()
                .user_pool_id(&self.pool)
                .client_name(&self.name)
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
        let client = answer.user_pool_client.context("cognito-idp:CreateUserPoolClient answered no client")?;
        let client_id = client.client_id.context("cognito-idp:CreateUserPoolClient answered no client id")?;
        if let Some(secret) = client.client_secret {
            cx.cloud().new_secrets.borrow_mut().insert(client_id.clone(), SecretString::from(secret));
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

    /// Adds scopes and keeps those that go, so that its tokens are good for the routes as they are deployed now and as they
    /// will be: `retire` takes those away once the stage has moved.
    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Output> {
        let both = self.with_scopes_of(before);
        if both == *before {
            return Ok(out);
        }
        match both.edit(cx, &out, |live| both.change(before, live)).await {
            // One of the scopes that go may be gone already, and would be in the way for ever.
            Err(error) if class(&error) == Some(Class::NotReady) && both != *self => {
                self.edit(cx, &out, |live| self.change(before, live)).await?;
            }
            done => done?,
        }
        Ok(out)
    }

    fn retires(&self, before: &Self) -> bool {
        !before.scopes.is_subset(&self.scopes)
    }

    async fn retire(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let scopes: Vec<String> = self.scopes.iter().cloned().collect();
        self.edit(cx, out, |live| live.allowed_o_auth_scopes = Some(scopes.clone())).await
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
mod tests {
    use std::time::Duration;

    use aws_sdk_cognitoidentityprovider::Client as Sdk;
    use aws_sdk_cognitoidentityprovider::operation::update_user_pool_client::UpdateUserPoolClientInput;
    use secrecy::ExposeSecret;
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;
    use crate::aws::test_support::{
        World, always, attempts, cognito, cognito_wire, differing, failed, ok, on, refused, with,
    };

    const SECRET: &str = "s3cr3ts3cr3ts3cr3ts3cr3t";

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn desired() -> Client {
        Client {
            pool: "eu-central-1_ours".to_owned(),
            name: "user-api-reader".to_owned(),
            scopes: set(&["user-api/read", "user-api/write"]),
            flows: set(&["client_credentials"]),
            explicit_auth_flows: set(&["ALLOW_REFRESH_TOKEN_AUTH"]),
            access_token_seconds: 3600,
            refresh_token_days: 30,
            token_revocation: true,
            prevent_user_existence_errors: "ENABLED".to_owned(),
        }
    }

    fn out() -> Output {
        Output {
            client_id: "c1".to_owned(),
        }
    }

    fn live() -> Value {
        json!({"UserPoolClient": {
            "UserPoolId": "eu-central-1_ours", "ClientId": "c1", "ClientName": "user-api-reader",
            "ClientSecret": SECRET, "AllowedOAuthFlows": ["client_credentials"],
            "AllowedOAuthFlowsUserPoolClient": true, "AllowedOAuthScopes": ["user-api/write", "user-api/read"],
            "ExplicitAuthFlows": ["ALLOW_REFRESH_TOKEN_AUTH"], "EnableTokenRevocation": true,
            "PreventUserExistenceErrors": "ENABLED", "AuthSessionValidity": 3,
            "AccessTokenValidity": 3600, "IdTokenValidity": 3600, "RefreshTokenValidity": 30,
            "TokenValidityUnits": {"AccessToken": "seconds", "IdToken": "seconds", "RefreshToken": "days"},
        }})
    }

    async fn read(live: Value) -> Client {
        let cx = cognito([on!(Sdk::describe_user_pool_client, ok(live.clone()))]);
        desired().read(&cx, &out()).await.unwrap().unwrap()
    }

    fn unknown_scope() -> World {
        cognito([always!(
            Sdk::create_user_pool_client,
            refused(400, "ScopeDoesNotExistException", "Invalid scope requested: user-api/read")
        )])
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_found_behind_an_empty_page_that_is_not_the_last() {
        let others = json!({"UserPoolClients": [{"ClientId": "c0", "ClientName": "user-api-reader-2"}], "NextToken": "2"});
        let empty = json!({"UserPoolClients": [], "NextToken": "3"});
        let ours = json!({"UserPoolClients": [{"ClientId": "c1", "ClientName": "user-api-reader"}]});
        let cx = cognito([
            on!(Sdk::list_user_pool_clients, |i| { assert_eq!(i.next_token(), None) }, ok(others.clone())),
            on!(Sdk::list_user_pool_clients, |i| { assert_eq!(i.next_token(), Some("2")) }, ok(empty.clone())),
            on!(Sdk::list_user_pool_clients, |i| { assert_eq!(i.next_token(), Some("3")) }, ok(ours.clone())),
        ]);
        assert_eq!(desired().find(&cx).await.unwrap().unwrap().client_id, "c1");
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
        let gone = || refused(400, "ResourceNotFoundException", "User pool client c1 does not exist.");
        let cx = cognito([
            on!(Sdk::list_user_pool_clients, ok(json!({"UserPoolClients": []}))),
            on!(Sdk::list_user_pool_clients, gone()),
            on!(Sdk::describe_user_pool_client, gone()),
            on!(Sdk::delete_user_pool_client, |i| { assert_eq!((i.user_pool_id(), i.client_id()), (Some("eu-central-1_ours"), Some("c1"))) }, gone()),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert!(desired().find(&cx).await.unwrap().is_none(), "its pool is gone too");
        assert_eq!(desired().read(&cx, &out()).await.unwrap(), None);
        desired().delete(&cx, &out()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_created_can_do_nothing_but_client_credentials() {
        let cx = cognito([on!(
            Sdk::create_user_pool_client,
            |i| {
                assert_eq!(i.user_pool_id(), Some("eu-central-1_ours"));
                assert_eq!(i.generate_secret(), Some(true));
                assert_eq!(i.allowed_o_auth_flows_user_pool_client(), Some(true));
                assert_eq!(i.allowed_o_auth_flows(), [OAuthFlowType::ClientCredentials]);
                assert_eq!(i.allowed_o_auth_scopes(), ["user-api/read", "user-api/write"]);
                assert_eq!(i.explicit_auth_flows(), [ExplicitAuthFlowsType::AllowRefreshTokenAuth]);
                let units = i.token_validity_units().unwrap();
                assert_eq!(units.access_token(), Some(&TimeUnitsType::Seconds));
                assert_eq!(units.id_token(), Some(&TimeUnitsType::Seconds));
                assert_eq!(units.refresh_token(), Some(&TimeUnitsType::Days));
                assert_eq!((i.access_token_validity(), i.id_token_validity()), (Some(3600), Some(3600)));
                assert_eq!(i.refresh_token_validity(), Some(30));
                assert_eq!(i.enable_token_revocation(), Some(true));
                let existence = i.prevent_user_existence_errors();
                assert_eq!(existence, Some(&PreventUserExistenceErrorTypes::Enabled));
                assert!(i.callback_urls().is_empty() && i.supported_identity_providers().is_empty());
            },
            ok(live())
        )]);
        assert_eq!(desired().create(&cx).await.unwrap().client_id, "c1");
    }

    #[tokio::test(start_paused = true)]
    async fn the_secret_is_in_nothing_that_is_recorded_or_printed() {
        let answer = live();
        assert!(answer.to_string().contains(SECRET), "else this test proves nothing");
        let cx = cognito([
            on!(Sdk::create_user_pool_client, ok(live())),
            on!(Sdk::describe_user_pool_client, ok(live())),
        ]);
        let made = desired().create(&cx).await.unwrap();
        let read = desired().read(&cx, &made).await.unwrap().unwrap();
        // The new client's is at hand.
        let secret = secret(&cx, "eu-central-1_ours", "c1").await.unwrap();
        assert_eq!(secret.expose_secret(), SECRET);
        for text in [
            serde_json::to_string(&made).unwrap(),
            format!("{made:?}"),
            serde_json::to_string(&read).unwrap(),
            format!("{read:?}"),
            format!("{secret:?}"),
        ] {
            assert!(!text.contains(SECRET), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_secret_of_a_client_of_another_run_is_asked_for() {
        let cx = cognito([on!(Sdk::describe_user_pool_client, ok(live()))]);
        let secret = secret(&cx, "eu-central-1_ours", "c1").await.unwrap();
        assert_eq!(secret.expose_secret(), SECRET);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_without_a_secret_is_told() {
        let mut public = live();
        public["UserPoolClient"]["ClientSecret"].take();
        let cx = cognito([
            on!(Sdk::describe_user_pool_client, ok(public.clone())),
            on!(Sdk::describe_user_pool_client, refused(400, "ResourceNotFoundException", "gone")),
        ]);
        assert!(failed(secret(&cx, "p", "c1").await).1.contains("has no secret"));
        assert!(failed(secret(&cx, "p", "c1").await).1.contains("not in user pool p any more"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_aws_answers_is_no_drift_in_whatever_unit() {
        assert_eq!(read(live()).await, desired());
        let mut hours = live();
        hours["UserPoolClient"]["AccessTokenValidity"] = json!(1);
        hours["UserPoolClient"]["TokenValidityUnits"]["AccessToken"] = json!("hours");
        hours["UserPoolClient"]["RefreshTokenValidity"] = json!(720);
        hours["UserPoolClient"]["TokenValidityUnits"]["RefreshToken"] = json!("hours");
        assert_eq!(read(hours).await, desired());
        // Without units AWS means hours and days.
        let mut bare = live();
        bare["UserPoolClient"]["AccessTokenValidity"] = json!(1);
        bare["UserPoolClient"]["TokenValidityUnits"].take();
        assert_eq!(read(bare).await, desired());
        let mut minutes = live();
        minutes["UserPoolClient"]["AccessTokenValidity"] = json!(60);
        minutes["UserPoolClient"]["TokenValidityUnits"]["AccessToken"] = json!("minutes");
        assert_eq!(read(minutes).await, desired());
    }

    #[tokio::test(start_paused = true)]
    async fn each_foreign_edit_is_told_as_the_field_it_is_in() {
        for (field, member, edit) in [
            ("name", "ClientName", json!("theirs")),
            ("scopes", "AllowedOAuthScopes", json!(["user-api/read"])),
            ("scopes", "AllowedOAuthScopes", Value::Null),
            ("flows", "AllowedOAuthFlows", json!(["client_credentials", "code"])),
            ("flows", "AllowedOAuthFlowsUserPoolClient", json!(false)),
            (
                "explicit_auth_flows",
                "ExplicitAuthFlows",
                json!(["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_PASSWORD_AUTH"]),
            ),
            ("access_token_seconds", "AccessTokenValidity", json!(86400)),
            ("refresh_token_days", "RefreshTokenValidity", json!(31)),
            ("token_revocation", "EnableTokenRevocation", json!(false)),
            ("prevent_user_existence_errors", "PreventUserExistenceErrors", json!("LEGACY")),
            ("prevent_user_existence_errors", "PreventUserExistenceErrors", Value::Null),
        ] {
            let mut changed = live();
            changed["UserPoolClient"][member] = edit;
            assert_eq!(differing(&desired(), &read(changed).await), [field]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_scope_that_is_not_visible_yet_is_waited_for() {
        let cx = cognito([
            on!(Sdk::create_user_pool_client, refused(400, "ScopeDoesNotExistException", "Invalid scope")),
            on!(Sdk::create_user_pool_client, ok(live())),
        ]);
        desired().create(&cx).await.unwrap();
        assert!(cx.waits()[0].contains("ScopeDoesNotExistException"), "{:?}", cx.waits());
    }

    #[tokio::test(start_paused = true)]
    async fn a_scope_that_never_shows_up_is_an_error_after_some_seconds() {
        let began = Instant::now();
        let cx = unknown_scope();
        let (_, text) = failed(desired().create(&cx).await);
        assert!(text.contains("Invalid scope requested: user-api/read"), "{text}");
        let waited = began.elapsed();
        assert!(waited >= Duration::from_secs(20) && waited <= Duration::from_secs(26), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_create_that_may_have_been_executed_is_not_repeated() {
        let create = attempts!(
            Sdk::create_user_pool_client,
            refused(500, "InternalErrorException", "boom"),
            ok(live())
        );
        let cx = cognito([create.clone()]);
        let (class, text) = failed(desired().create(&cx).await);
        assert_eq!((class, create.num_calls()), (Some(Class::Ambiguous), 1), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_create_is_repeated() {
        let create = attempts!(
            Sdk::create_user_pool_client,
            refused(400, "TooManyRequestsException", "Rate exceeded"),
            ok(live())
        );
        let cx = cognito([create.clone()]);
        assert_eq!(desired().create(&cx).await.unwrap().client_id, "c1");
        assert_eq!(create.num_calls(), 2);
    }

    /// All that UpdateUserPoolClient takes beside the name, as it is answered and as it is sent.
    fn kept() -> Value {
        json!({
            "RefreshTokenValidity": 30, "AccessTokenValidity": 3600, "IdTokenValidity": 15,
            "TokenValidityUnits": {"AccessToken": "seconds", "IdToken": "minutes", "RefreshToken": "days"},
            "ReadAttributes": ["email"], "WriteAttributes": ["name"],
            "ExplicitAuthFlows": ["ALLOW_REFRESH_TOKEN_AUTH"],
            "SupportedIdentityProviders": ["COGNITO"], "CallbackURLs": ["https://them.example/in"],
            "LogoutURLs": ["https://them.example/out"], "DefaultRedirectURI": "https://them.example/in",
            "AllowedOAuthFlows": ["client_credentials"], "AllowedOAuthScopes": ["user-api/write", "user-api/read"],
            "AllowedOAuthFlowsUserPoolClient": true,
            "AnalyticsConfiguration": {
                "ApplicationArn": "arn:aws:mobiletargeting:eu-central-1:111122223333:apps/a", "UserDataShared": true,
            },
            "PreventUserExistenceErrors": "ENABLED", "EnableTokenRevocation": true,
            "EnablePropagateAdditionalUserContextData": true, "AuthSessionValidity": 7,
            "RefreshTokenRotation": {"Feature": "DISABLED", "RetryGracePeriodSeconds": 10},
        })
    }

    /// A client on which others have set all that can be set.
    fn crowded() -> Value {
        let more = json!({
            "UserPoolId": "eu-central-1_ours", "ClientId": "c1", "ClientName": "user-api-reader",
            "ClientSecret": SECRET, "CreationDate": 1.0, "LastModifiedDate": 2.0,
        });
        json!({"UserPoolClient": with(kept(), more)})
    }

    fn described() -> (String, Value) {
        let request = json!({"UserPoolId": "eu-central-1_ours", "ClientId": "c1"});
        ("DescribeUserPoolClient".to_owned(), request)
    }

    /// The whole of the crowded client but for these fields.
    fn updated(fields: Value) -> (String, Value) {
        let ids =
            json!({"UserPoolId": "eu-central-1_ours", "ClientId": "c1", "ClientName": "user-api-reader"});
        ("UpdateUserPoolClient".to_owned(), with(with(kept(), ids), fields))
    }

    fn renamed() -> Client {
        Client { name: "renamed".to_owned(), ..desired() }
    }

    #[tokio::test(start_paused = true)]
    async fn each_field_is_changed_alone_and_all_that_others_set_is_kept() {
        let d = desired;
        let units = json!({"AccessToken": "seconds", "IdToken": "seconds", "RefreshToken": "days"});
        for (before, now, fields) in [
            (d(), renamed(), json!({"ClientName": "renamed"})),
            (
                Client { scopes: set(&["user-api/read"]), ..d() },
                d(),
                json!({"AllowedOAuthScopes": ["user-api/read", "user-api/write"]}),
            ),
            (
                d(),
                Client { access_token_seconds: 300, ..d() },
                json!({"AccessTokenValidity": 300, "IdTokenValidity": 300, "TokenValidityUnits": units}),
            ),
            (d(), Client { refresh_token_days: 1, ..d() }, json!({"RefreshTokenValidity": 1})),
            (d(), Client { token_revocation: false, ..d() }, json!({"EnableTokenRevocation": false})),
            (
                d(),
                Client { explicit_auth_flows: set(&["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"]), ..d() },
                json!({"ExplicitAuthFlows": ["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"]}),
            ),
            (
                d(),
                Client { prevent_user_existence_errors: "LEGACY".to_owned(), ..d() },
                json!({"PreventUserExistenceErrors": "LEGACY"}),
            ),
            (d(), Client { flows: set(&["implicit"]), ..d() }, json!({"AllowedOAuthFlows": ["implicit"]})),
        ] {
            let (cx, wire) = cognito_wire([ok(crowded()), ok(crowded())]);
            now.update(&cx, &before, out()).await.unwrap();
            assert_eq!(wire.sent(), [described(), updated(fields)]);
        }
    }

    /// The client after someone else has switched on the rotation of refresh tokens, for which the flow that excludes it went.
    fn rotating(flows: Value) -> Value {
        let rotation = json!({"RefreshTokenRotation": {"Feature": "ENABLED", "RetryGracePeriodSeconds": 10}});
        let mut rotating = crowded();
        rotating["UserPoolClient"] = with(with(rotating["UserPoolClient"].take(), rotation), flows);
        rotating
    }

    /// As Cognito judges an update: without flows it takes its defaults, one of which is the excluded one.
    fn rotation_beside_the_flow_is_refused(input: &UpdateUserPoolClientInput) {
        let excluded = ExplicitAuthFlowsType::AllowRefreshTokenAuth;
        let has_the_flow = input.explicit_auth_flows.as_ref().is_none_or(|flows| flows.contains(&excluded));
        let rotates = input.refresh_token_rotation().is_some_and(|rotation| *rotation.feature() == FeatureType::Enabled);
        assert!(!(has_the_flow && rotates), "InvalidParameterException: ALLOW_REFRESH_TOKEN_AUTH and rotation");
    }

    #[tokio::test(start_paused = true)]
    async fn refresh_token_rotation_of_others_ends_where_the_flow_that_excludes_it_is_set_again() {
        for flows in [json!({"ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH"]}), json!({"ExplicitAuthFlows": null})] {
            let live = rotating(flows);
            let (cx, wire) = cognito_wire([ok(live.clone()), ok(live), ok(crowded())]);
            let before = desired().read(&cx, &out()).await.unwrap().unwrap();
            assert_eq!(differing(&desired(), &before), ["explicit_auth_flows"]);
            desired().update(&cx, &before, out()).await.unwrap();
            assert_eq!(wire.sent()[2], updated(json!({"RefreshTokenRotation": {"Feature": "DISABLED"}})));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refresh_token_rotation_of_others_stays_where_the_flows_do() {
        for flows in [json!({"ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH"]}), json!({"ExplicitAuthFlows": null})] {
            let before = read(rotating(flows.clone())).await;
            // As with --no-repair, and while scopes are taken away.
            let now = Client { name: "renamed".to_owned(), ..before.clone() };
            let live = rotating(flows);
            let answer = || ok(live.clone());
            let (cx, wire) = cognito_wire([answer(), answer(), answer(), answer()]);
            now.update(&cx, &before, out()).await.unwrap();
            now.retire(&cx, &out()).await.unwrap();
            for (_, request) in [&wire.sent()[1], &wire.sent()[3]] {
                let rotation = json!({"Feature": "ENABLED", "RetryGracePeriodSeconds": 10});
                assert_eq!(request["RefreshTokenRotation"], rotation);
                assert_eq!(request["ExplicitAuthFlows"], json!(before.explicit_auth_flows));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_update_of_a_rotating_client_is_one_that_cognito_refuses() {
        for flows in [json!({"ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH"]}), json!({"ExplicitAuthFlows": null})] {
            let before = read(rotating(flows.clone())).await;
            for now in [desired(), renamed(), Client { name: "renamed".to_owned(), ..before.clone() }] {
                let describe = rotating(flows.clone());
                let cx = cognito([
                    on!(Sdk::describe_user_pool_client, ok(describe.clone())),
                    on!(Sdk::update_user_pool_client, |i| { rotation_beside_the_flow_is_refused(i) }, ok(crowded())),
                ]);
                now.update(&cx, &before, out()).await.unwrap();
            }
        }
    }

    /// An SDK that knows more than this file would have it reset.
    #[test]
    fn all_that_an_update_takes_is_kept() {
        let (_, request) = updated(json!({}));
        for member in UpdateUserPoolClientInput::SCHEMA.members() {
            let name = member.member_name().unwrap();
            assert!(request.get(name).is_some(), "{name} is not among what is kept");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_differs_there_is_no_call() {
        let (cx, wire) = cognito_wire([]);
        desired().update(&cx, &desired(), out()).await.unwrap();
        assert_eq!(wire.sent(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn grants_that_were_switched_off_are_switched_on_again() {
        let mut off = crowded();
        off["UserPoolClient"]["AllowedOAuthFlowsUserPoolClient"] = json!(false);
        let (cx, wire) = cognito_wire([ok(off.clone()), ok(off), ok(crowded())]);
        let before = desired().read(&cx, &out()).await.unwrap().unwrap();
        desired().update(&cx, &before, out()).await.unwrap();
        assert_eq!(wire.sent()[2], updated(json!({})));
    }

    #[tokio::test(start_paused = true)]
    async fn validities_without_units_keep_their_meaning() {
        let mut bare = crowded();
        let client = bare["UserPoolClient"].as_object_mut().unwrap();
        client.remove("TokenValidityUnits");
        client.extend([("AccessTokenValidity".to_owned(), json!(2)), ("IdTokenValidity".to_owned(), json!(3))]);
        let units = json!({"AccessToken": "hours", "IdToken": "hours", "RefreshToken": "days"});
        let kept = json!({"AccessTokenValidity": 2, "IdTokenValidity": 3, "TokenValidityUnits": units});
        let (cx, wire) = cognito_wire([ok(bare), ok(crowded())]);
        let before = Client { access_token_seconds: 7200, ..desired() };
        let now = Client { access_token_seconds: 7200, ..renamed() };
        now.update(&cx, &before, out()).await.unwrap();
        assert_eq!(wire.sent()[1], updated(with(kept, json!({"ClientName": "renamed"}))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_interrupted_create_left_is_found_by_its_name_and_brought_up_to_date() {
        let listed = json!({"UserPoolClients": [{"ClientId": "c1", "ClientName": "user-api-reader"}]});
        let (cx, wire) = cognito_wire([ok(listed), ok(crowded()), ok(crowded()), ok(crowded())]);
        let now = Client { scopes: set(&["user-api/read"]), ..desired() };
        let found = now.find(&cx).await.unwrap().unwrap();
        let before = now.read(&cx, &found).await.unwrap().unwrap();
        let found = now.update(&cx, &before, found).await.unwrap();
        now.retire(&cx, &found).await.unwrap();
        assert_eq!(wire.sent()[3], updated(json!({"AllowedOAuthScopes": ["user-api/read"]})));
    }

    #[tokio::test(start_paused = true)]
    async fn the_secret_in_an_updates_answers_ends_there() {
        let (cx, wire) = cognito_wire([ok(crowded()), ok(crowded())]);
        let after = renamed().update(&cx, &desired(), out()).await.unwrap();
        assert!(!serde_json::to_string(&after).unwrap().contains(SECRET));
        assert!(!format!("{after:?} {:?} {:?}", wire.sent(), cx.waits()).contains(SECRET));
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_changed_meanwhile_is_not_undone() {
        let mut meanwhile = crowded();
        meanwhile["UserPoolClient"]["AuthSessionValidity"] = json!(15);
        let concurrent = refused(400, "ConcurrentModificationException", "another change is under way");
        let (cx, wire) = cognito_wire([ok(crowded()), concurrent, ok(meanwhile), ok(crowded())]);
        renamed().update(&cx, &desired(), out()).await.unwrap();
        let second = updated(json!({"ClientName": "renamed", "AuthSessionValidity": 15}));
        assert_eq!(wire.sent()[2..], [described(), second]);
        assert!(cx.waits()[0].contains("ConcurrentModificationException"), "{:?}", cx.waits());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_scope_that_is_not_visible_yet_is_waited_for_and_one_that_never_is_ends_with_the_reason() {
        let now = Client { scopes: set(&["user-api/new"]), ..desired() };
        let unknown = || refused(400, "ScopeDoesNotExistException", "Invalid scope requested: user-api/new");
        let (cx, wire) = cognito_wire([ok(crowded()), unknown(), ok(crowded()), ok(crowded())]);
        now.update(&cx, &desired(), out()).await.unwrap();
        assert_eq!((wire.sent().len(), cx.waits().len()), (4, 1));

        let began = Instant::now();
        let cx = cognito((0..7).flat_map(|_| {
            let describe = on!(Sdk::describe_user_pool_client, ok(crowded()));
            [describe, on!(Sdk::update_user_pool_client, unknown())]
        }));
        let before = Client { scopes: set(&[]), ..desired() };
        let (class, text) = failed(now.update(&cx, &before, out()).await);
        assert_eq!(class, Some(Class::NotReady));
        assert!(text.contains("Invalid scope requested: user-api/new"), "{text}");
        assert!(began.elapsed() <= Duration::from_secs(26));
    }

    #[tokio::test(start_paused = true)]
    async fn scopes_that_go_stay_beside_those_that_come_until_they_are_retired() {
        let (cx, wire) = cognito_wire([ok(crowded()), ok(crowded()), ok(crowded()), ok(crowded())]);
        let now = Client { scopes: set(&["user-api/read", "user-api/view"]), ..desired() };
        assert!(now.retires(&desired()));
        let out = now.update(&cx, &desired(), out()).await.unwrap();
        now.retire(&cx, &out).await.unwrap();
        let both = json!({"AllowedOAuthScopes": ["user-api/read", "user-api/view", "user-api/write"]});
        let own = json!({"AllowedOAuthScopes": ["user-api/read", "user-api/view"]});
        assert_eq!(wire.sent(), [described(), updated(both), described(), updated(own)]);
        // A run that goes on finds both, and has nothing to write but the end.
        let (cx, wire) = cognito_wire([]);
        now.update(&cx, &now.with_scopes_of(&desired()), out).await.unwrap();
        assert_eq!(wire.sent(), []);
        assert!(now.retires(&now.with_scopes_of(&desired())) && !now.retires(&now));
    }

    #[test]
    fn no_more_scopes_are_kept_than_aws_allows() {
        let many = |word: &str, count: usize| (0..count).map(|n| format!("user-api/{word}{n}")).collect();
        let before = Client { scopes: many("old", 50), ..desired() };
        let now = Client { scopes: many("new", 30), ..desired() };
        let both = now.with_scopes_of(&before).scopes;
        assert_eq!((both.len(), both.is_superset(&now.scopes)), (50, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_scope_that_goes_and_is_gone_already_is_not_in_the_way() {
        let now = Client { scopes: set(&["user-api/view"]), ..desired() };
        let unknown = || refused(400, "ScopeDoesNotExistException", "Invalid scope requested: user-api/read");
        let waits = (0..7).flat_map(|_| [ok(crowded()), unknown()]);
        let (cx, wire) = cognito_wire(waits.chain([ok(crowded()), ok(crowded())]).collect::<Vec<_>>());
        now.update(&cx, &desired(), out()).await.unwrap();
        assert_eq!(*wire.sent().last().unwrap(), updated(json!({"AllowedOAuthScopes": ["user-api/view"]})));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_update_is_an_error_at_once() {
        for code in ["InvalidOAuthFlowException", "InvalidParameterException", "FeatureUnavailableInTierException"] {
            let (cx, wire) = cognito_wire([ok(crowded()), refused(400, code, "the reason")]);
            let (class, text) = failed(renamed().update(&cx, &desired(), out()).await);
            assert_eq!((class, wire.sent().len()), (Some(Class::Refused), 2));
            assert!(text.contains(code) && text.contains("the reason") && !text.contains(SECRET), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_of_what_is_gone_is_an_error_that_says_so() {
        let gone = || refused(400, "ResourceNotFoundException", "User pool client c1 does not exist.");
        let (cx, _) = cognito_wire([gone(), ok(crowded()), gone()]);
        let (_, text) = failed(renamed().update(&cx, &desired(), out()).await);
        assert!(text.contains("client c1 is not in user pool eu-central-1_ours any more"), "{text}");
        assert_eq!(failed(renamed().update(&cx, &desired(), out()).await).0, Some(Class::Gone));
    }
}
