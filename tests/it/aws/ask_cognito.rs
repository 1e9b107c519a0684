//! The questions to Cognito.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_sdk_cognitoidentityprovider::types::{
    DomainStatusType, ExplicitAuthFlowsType, OAuthFlowType, ResourceServerScopeType, UserPoolTierType,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use provision::oauth::{OAuthCode, TokenError};
use secrecy::{ExposeSecret, SecretString};

use super::hour::{self, Hour};
use super::questions::{Answer, after_refusals, answer, code, list, shown, within};

const MINUTE: Duration = Duration::from_mins(1);

/// A user pool of the questions', with a resource server `q` that has the scopes `a` and `b`, and a domain.
pub(super) struct Pool {
    pub id: String,
    pub arn: String,
    /// The domain's prefix.
    pub prefix: String,
    /// Seconds from the answer to CreateUserPoolDomain until the domain was ACTIVE, and until its token endpoint answered.
    active: f64,
    answered: f64,
    /// How often DNS did not know the host.
    unknown_host: u32,
}

/// An app client: its id and its secret.
pub(super) type Client = (String, SecretString);

/// The pool that most questions use, made for the first of them.
pub(super) async fn pool(hour: &Hour) -> Result<&Pool> {
    hour.pool
        .get_or_try_init(|| Box::pin(new_pool(hour, "q", None)))
        .await
}

async fn new_pool(hour: &Hour, name: &str, tier: Option<UserPoolTierType>) -> Result<Pool> {
    let name = format!("{}-{name}", hour.stack);
    let create = hour
        .cognito
        .create_user_pool()
        .pool_name(&name)
        .set_user_pool_tier(tier);
    let made = create
        .set_user_pool_tags(Some(hour.tags().into_iter().collect()))
        .send()
        .await?;
    let made = made.user_pool.context("Cognito describes the pool")?;
    let (id, arn) = (
        made.id.context("it has an id")?,
        made.arn.context("it has an ARN")?,
    );
    let mut scopes = Vec::new();
    for scope in ["a", "b"] {
        let scope = ResourceServerScopeType::builder().scope_name(scope);
        scopes.push(scope.scope_description("of the questions").build()?);
    }
    let server = hour
        .cognito
        .create_resource_server()
        .user_pool_id(&id)
        .identifier("q")
        .name("q");
    server.set_scopes(Some(scopes)).send().await?;
    // A new scope may not be known at once.
    let named = async || Ok(client(hour, &id, &["q/a"]).await.ok());
    let named = hour.until(MINUTE, named).await?;
    let ((client, secret), _) = named.context("a client could not name the scope for a minute")?;
    hour.cognito
        .create_user_pool_domain()
        .user_pool_id(&id)
        .domain(&name)
        .send()
        .await?;
    let made = Instant::now();
    let status = async || {
        let status = domain_status(hour, &name).await?;
        Ok((status == Some(DomainStatusType::Active)).then_some(()))
    };
    let active = hour.until(5 * MINUTE, status).await?;
    let (_, active) = active.context("the domain was not ACTIVE after 5 minutes")?;
    let mut unknown_host = 0;
    let asked = async || match hour.token(&name, (&client, &secret), &[]).await? {
        Err(TokenError::NoSuchHost { .. }) => {
            unknown_host += 1;
            Ok(None)
        }
        Ok(_) | Err(TokenError::OAuth { .. }) => Ok(Some(())),
        Err(_) => Ok(None),
    };
    let answered = hour.until(10 * MINUTE, asked).await?;
    answered.context("the token endpoint did not answer within 10 minutes")?;
    Ok(Pool {
        id,
        arn,
        prefix: name,
        active,
        answered: made.elapsed().as_secs_f64(),
        unknown_host,
    })
}

async fn domain_status(hour: &Hour, prefix: &str) -> Result<Option<DomainStatusType>> {
    let answer = hour
        .cognito
        .describe_user_pool_domain()
        .domain(prefix)
        .send()
        .await?;
    Ok(answer.domain_description.and_then(|domain| domain.status))
}

/// A new client that may have these scopes.
pub(super) async fn client(hour: &Hour, pool: &str, scopes: &[&str]) -> Result<Client> {
    let create = hour
        .cognito
        .create_user_pool_client()
        .user_pool_id(pool)
        .client_name("questions")
        .generate_secret(true)
        .allowed_o_auth_flows_user_pool_client(true)
        .allowed_o_auth_flows(OAuthFlowType::ClientCredentials)
        .explicit_auth_flows(ExplicitAuthFlowsType::AllowRefreshTokenAuth)
        .set_allowed_o_auth_scopes(Some(scopes.iter().map(|&scope| scope.to_owned()).collect()));
    let made = create
        .send()
        .await?
        .user_pool_client
        .context("Cognito describes the client")?;
    let secret = made.client_secret.context("it has a secret")?;
    hour.hide(&secret, "SECRET");
    Ok((made.client_id.context("it has an id")?, secret.into()))
}

/// A token for these scopes, once there is one.
pub(super) async fn token(
    hour: &Hour,
    prefix: &str,
    (id, secret): &Client,
    scopes: &[&str],
) -> Result<SecretString> {
    let ask = async || Ok(hour.token(prefix, (id, secret), scopes).await?.ok());
    let token = hour.until(2 * MINUTE, ask).await?.context("no token came")?;
    Ok(token.0.access_token)
}

/// Adds a second secret: its id and the secret.
async fn second_secret(hour: &Hour, pool: &str, client: &str) -> Result<Client> {
    let add = hour
        .cognito
        .add_user_pool_client_secret()
        .user_pool_id(pool)
        .client_id(client);
    let added = add
        .send()
        .await?
        .client_secret_descriptor
        .context("Cognito describes it")?;
    let secret = added.client_secret_value.context("it is answered once")?;
    hour.hide(&secret, "SECRET");
    Ok((added.client_secret_id.context("it has an id")?, secret.into()))
}

/// The ids of a client's secrets and when they were made, in the order of the answer.
async fn secrets(hour: &Hour, pool: &str, client: &str) -> Result<Vec<(String, Option<f64>)>> {
    let list = hour
        .cognito
        .list_user_pool_client_secrets()
        .user_pool_id(pool)
        .client_id(client);
    let listed = list.send().await?;
    let secrets = listed.client_secrets().iter().map(|secret| {
        let made = secret
            .client_secret_create_date()
            .map(aws_sdk_cognitoidentityprovider::primitives::DateTime::as_secs_f64);
        (secret.client_secret_id().unwrap_or_default().to_owned(), made)
    });
    Ok(secrets.collect())
}

async fn delete_secret(hour: &Hour, pool: &str, client: &str, secret: &str) -> Result<()> {
    let delete = hour
        .cognito
        .delete_user_pool_client_secret()
        .user_pool_id(pool)
        .client_id(client);
    delete.client_secret_id(secret).send().await?;
    Ok(())
}

/// Which of two secrets DescribeUserPoolClient answers.
async fn described(hour: &Hour, pool: &str, client: &str, old: &str, new: &str) -> Result<&'static str> {
    let answer = hour
        .cognito
        .describe_user_pool_client()
        .user_pool_id(pool)
        .client_id(client);
    let live = answer
        .send()
        .await?
        .user_pool_client
        .context("Cognito describes the client")?;
    Ok(match live.client_secret() {
        None => "none",
        Some(secret) if secret == old => "the old one",
        Some(secret) if secret == new => "the new one",
        Some(_) => "another one",
    })
}

pub(super) async fn secret_described(hour: &Hour) -> Result<Answer> {
    let pool = &pool(hour).await?.id;
    let (id, old) = client(hour, pool, &["q/a"]).await?;
    let first = secrets(hour, pool, &id)
        .await?
        .pop()
        .context("a client has one secret")?
        .0;
    let (_, new) = second_secret(hour, pool, &id).await?;
    let (old, new) = (old.expose_secret(), new.expose_secret());
    let two = described(hour, pool, &id, old, new).await?;
    delete_secret(hour, pool, &id, &first).await?;
    let one = described(hour, pool, &id, old, new).await?;
    let agrees = two != "another one" && ["the new one", "none"].contains(&one);
    Ok(answer(
        format!("with two: {two}; after the first was deleted: {one}"),
        agrees,
    ))
}

pub(super) async fn secret_dates(hour: &Hour) -> Result<Answer> {
    let pool = &pool(hour).await?.id;
    let (id, _) = client(hour, pool, &["q/a"]).await?;
    let first = secrets(hour, pool, &id).await?;
    second_secret(hour, pool, &id).await?;
    let both = secrets(hour, pool, &id).await?;
    let [(one, Some(made)), (_, Some(made_later))] = &both[..] else {
        return Ok(answer(
            format!("{} secrets, not all of which have a date", both.len()),
            false,
        ));
    };
    let order = if *one == first[0].0 {
        "the old one first"
    } else {
        "the new one first"
    };
    let distinct = (made - made_later).abs() > f64::EPSILON;
    Ok(answer(format!("{order}; the dates differ: {distinct}"), distinct))
}

pub(super) async fn secret_accepted(hour: &Hour) -> Result<Answer> {
    let pool = pool(hour).await?;
    let (id, secret) = client(hour, &pool.id, &["q/a"]).await?;
    token(hour, &pool.prefix, &(id.clone(), secret), &[]).await?;
    let (_, new) = second_secret(hour, &pool.id, &id).await?;
    let ask = async || Ok(hour.token(&pool.prefix, (&id, &new), &[]).await?.ok().map(drop));
    let Some((_, seconds)) = hour.until(3 * MINUTE, ask).await? else {
        return Ok(answer("not within 3 minutes", false));
    };
    let mut refused = 0;
    for _ in 0..5 {
        refused += u32::from(hour.token(&pool.prefix, (&id, &new), &[]).await?.is_err());
    }
    Ok(within(
        format!("then refused {refused} of 5 times"),
        seconds,
        180.0,
    ))
}

pub(super) async fn secret_refused(hour: &Hour) -> Result<Answer> {
    let pool = pool(hour).await?;
    let (id, old) = client(hour, &pool.id, &["q/a"]).await?;
    let first = secrets(hour, &pool.id, &id)
        .await?
        .pop()
        .context("a client has one secret")?
        .0;
    let (_, new) = second_secret(hour, &pool.id, &id).await?;
    token(hour, &pool.prefix, &(id.clone(), new), &[]).await?;
    delete_secret(hour, &pool.id, &id, &first).await?;
    let ask = async || {
        let refused = hour.token(&pool.prefix, (&id, &old), &[]).await?.is_err();
        // Each success costs a token.
        if !refused && !hour.is_sandbox() {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        Ok(refused.then_some(()))
    };
    match hour.until(5 * MINUTE, ask).await? {
        Some((_, seconds)) => Ok(within("refused".to_owned(), seconds, 150.0)),
        None => Ok(answer("still accepted", false)),
    }
}

pub(super) async fn client_accepted(hour: &Hour) -> Result<Answer> {
    let pool = pool(hour).await?;
    let (id, secret) = client(hour, &pool.id, &["q/a"]).await?;
    let mut said = String::new();
    let ask = async || match hour.token(&pool.prefix, (&id, &secret), &[]).await? {
        Ok(_) => Ok(Some(())),
        Err(error) => {
            said = error.to_string();
            Ok(None)
        }
    };
    match hour.until(2 * MINUTE, ask).await? {
        Some((_, seconds)) if said.is_empty() => Ok(within("at once".to_owned(), seconds, 30.0)),
        Some((_, seconds)) => Ok(within(format!("before that: {said}"), seconds, 30.0)),
        None => Ok(answer(format!("not within 2 minutes: {said}"), false)),
    }
}

pub(super) async fn domain_answers(hour: &Hour) -> Result<Answer> {
    let pool = pool(hour).await?;
    Ok(within(
        format!(
            "ACTIVE after {:.1} s; DNS did not know the host {} times",
            pool.active, pool.unknown_host
        ),
        pool.answered,
        300.0,
    ))
}

pub(super) async fn free_prefix(hour: &Hour) -> Result<Answer> {
    let prefix = format!("{}-free", hour.stack);
    let answered = hour
        .cognito
        .describe_user_pool_domain()
        .domain(prefix)
        .send()
        .await;
    Ok(match answered {
        Ok(domain) => {
            let status = domain.domain_description.and_then(|domain| domain.status);
            answer(
                format!(
                    "a description, {}",
                    shown(status.as_ref().map(DomainStatusType::as_str), "status")
                ),
                status.is_none(),
            )
        }
        Err(error) => answer(code(&error), false),
    })
}

/// Words of which some are surely taken by others.
const COMMON: [&str; 4] = ["login", "demo", "test", "example"];

pub(super) async fn foreign_prefix(hour: &Hour) -> Result<Answer> {
    for prefix in COMMON {
        // One each: the deletion of a domain takes a while, and a pool has one.
        let pool = new_bare_pool(hour, &format!("foreign-{prefix}")).await?;
        let described = hour
            .cognito
            .describe_user_pool_domain()
            .domain(prefix)
            .send()
            .await;
        let described = match described {
            Ok(domain) => {
                let domain = domain.domain_description.and_then(|domain| domain.status);
                domain.map_or("an empty description".to_owned(), |status| {
                    format!("the status {status:?}")
                })
            }
            Err(error) => code(&error),
        };
        let claim = hour
            .cognito
            .create_user_pool_domain()
            .user_pool_id(&pool)
            .domain(prefix);
        match claim.send().await {
            // It was free: nobody's answer to learn from.
            Ok(_) => drop_domain(hour, &pool, prefix).await?,
            Err(error) => {
                let said = error.message().unwrap_or_default().to_owned();
                if !said.contains("already") {
                    continue;
                }
                let agrees = described.starts_with("ResourceNotFound") || described.starts_with("the");
                return Ok(answer(
                    format!("{described}; claiming it is refused with {said:?}"),
                    agrees,
                ));
            }
        }
    }
    bail!("none of these is taken: {}", COMMON.join(", "))
}

async fn new_bare_pool(hour: &Hour, name: &str) -> Result<String> {
    let create = hour
        .cognito
        .create_user_pool()
        .pool_name(format!("{}-{name}", hour.stack));
    let made = create
        .set_user_pool_tags(Some(hour.tags().into_iter().collect()))
        .send()
        .await?;
    made.user_pool
        .and_then(|pool| pool.id)
        .context("Cognito answers the pool's id")
}

async fn drop_domain(hour: &Hour, pool: &str, prefix: &str) -> Result<()> {
    let delete = hour.cognito.delete_user_pool_domain().user_pool_id(pool);
    delete.domain(prefix).send().await?;
    Ok(())
}

pub(super) async fn prefix_reuse(hour: &Hour) -> Result<Answer> {
    let pool = new_bare_pool(hour, "reuse").await?;
    let prefix = &format!("{}-reuse", hour.stack);
    let create = || {
        let create = hour.cognito.create_user_pool_domain().user_pool_id(&pool);
        create.domain(prefix).send()
    };
    create().await?;
    let status =
        async || Ok((domain_status(hour, prefix).await? == Some(DomainStatusType::Active)).then_some(()));
    hour.until(5 * MINUTE, status)
        .await?
        .context("the domain was not ACTIVE after 5 minutes")?;
    drop_domain(hour, &pool, prefix).await?;
    let mut said = Vec::new();
    let again = async || match create().await {
        Ok(_) => Ok(Some(())),
        Err(error) => {
            said.push(code(&error));
            Ok(None)
        }
    };
    let again = hour.until(5 * MINUTE, again).await?;
    said.dedup();
    Ok(match again {
        Some((_, seconds)) => within(after_refusals(&said), seconds, 120.0),
        None => answer(format!("not within 5 minutes: {}", said.join("; ")), false),
    })
}

async fn live_flows(hour: &Hour, pool: &str, client: &str) -> Result<Vec<String>> {
    let describe = hour.cognito.describe_user_pool_client().user_pool_id(pool);
    let live = describe.client_id(client).send().await?.user_pool_client;
    let live = live.context("Cognito describes the client")?;
    Ok((live.explicit_auth_flows().iter())
        .map(|flow| flow.as_str().to_owned())
        .collect())
}

pub(super) async fn empty_flows(hour: &Hour) -> Result<Answer> {
    let pool = &pool(hour).await?.id;
    let create = hour.cognito.create_user_pool_client().user_pool_id(pool);
    let create = create
        .client_name("questions")
        .set_explicit_auth_flows(Some(Vec::new()));
    let made = match create.send().await {
        Ok(made) => made
            .user_pool_client
            .and_then(|client| client.client_id)
            .context("it has an id")?,
        Err(error) => return Ok(answer(format!("refused: {}", code(&error)), true)),
    };
    let flows = live_flows(hour, pool, &made).await?;
    // Whatever it is, the code sends one flow.
    Ok(answer(format!("the client then has {}", list(&flows)), true))
}

pub(super) async fn kept_flows(hour: &Hour) -> Result<Answer> {
    let pool = &pool(hour).await?.id;
    let (id, _) = client(hour, pool, &["q/a"]).await?;
    let flows = live_flows(hour, pool, &id).await?;
    let agrees = flows == ["ALLOW_REFRESH_TOKEN_AUTH"];
    Ok(answer(list(&flows), agrees))
}

pub(super) async fn issuer(hour: &Hour) -> Result<Answer> {
    let pool = pool(hour).await?;
    let live = hour
        .cognito
        .describe_user_pool()
        .user_pool_id(&pool.id)
        .send()
        .await?;
    let live = live.user_pool.context("Cognito describes the pool")?;
    let default = live
        .issuer_configuration()
        .map(|issuer| issuer.r#type().map_or("unknown", |kind| kind.as_str()));
    let default = shown(default, "issuer type");
    let made = client(hour, &pool.id, &["q/a"]).await?;
    let ask = async || Ok(hour.token(&pool.prefix, (&made.0, &made.1), &[]).await?.ok());
    let (token, _) = hour.until(MINUTE, ask).await?.context("no token came")?;
    let found = token.claims()?["iss"].as_str().unwrap_or_default().to_owned();
    let expected = provision::aws::hosts::issuer(&pool.id, &hour.identity.region);
    // In the stack it is set; the story has proved there that tokens have it.
    Ok(answer(
        format!("a pool made without it says {default}, and its tokens have {found}"),
        found == expected,
    ))
}

pub(super) async fn claims(hour: &Hour) -> Result<Answer> {
    let pool = pool(hour).await?;
    let made = client(hour, &pool.id, &["q/a"]).await?;
    let ask = async || Ok(hour.token(&pool.prefix, (&made.0, &made.1), &[]).await?.ok());
    let (token, _) = hour.until(MINUTE, ask).await?.context("no token came")?;
    let claims = token.claims()?;
    let names: Vec<String> = claims.keys().cloned().collect();
    let agrees = claims.get("token_use").is_some_and(|claim| claim == "access")
        && claims.get("client_id").is_some_and(|claim| *claim == *made.0)
        && !claims.contains_key("aud");
    Ok(answer(
        format!("{}; it expires after {} s", list(&names), token.expires_in),
        agrees,
    ))
}

pub(super) async fn lite_tier(hour: &Hour) -> Result<Answer> {
    let pool = new_pool(hour, "lite", Some(UserPoolTierType::Lite)).await?;
    let made = client(hour, &pool.id, &["q/a"]).await?;
    let token = token(hour, &pool.prefix, &made, &["q/a"]).await;
    Ok(match token {
        Ok(_) => answer("a token comes", true),
        Err(error) => answer(format!("{error:#}"), false),
    })
}

pub(super) async fn foreign_scope(hour: &Hour) -> Result<Answer> {
    let pool = pool(hour).await?;
    let made = client(hour, &pool.id, &["q/a"]).await?;
    token(hour, &pool.prefix, &made, &["q/a"]).await?;
    let asked = hour
        .token(&pool.prefix, (&made.0, &made.1), &["q/a", "q/b"])
        .await?;
    Ok(match asked {
        Ok(token) => {
            let scope = token.claims()?["scope"].as_str().unwrap_or_default().to_owned();
            answer(
                format!("a token with the scope {scope:?}"),
                !scope.contains("q/b"),
            )
        }
        Err(TokenError::OAuth { code, .. }) => {
            answer(format!("refused with {code}"), code == OAuthCode::InvalidScope)
        }
        Err(error) => answer(error.to_string(), false),
    })
}

pub(super) async fn wrong_secret(hour: &Hour) -> Result<Answer> {
    let pool = pool(hour).await?;
    let (id, _) = client(hour, &pool.id, &["q/a"]).await?;
    let wrong = SecretString::from("0".repeat(51));
    let asked = hour.token(&pool.prefix, (&id, &wrong), &[]).await?;
    Ok(match asked {
        Ok(_) => answer("a token", false),
        Err(TokenError::OAuth { code, description }) => answer(
            format!("{code}, {}", shown(description.as_deref(), "description")),
            code == OAuthCode::InvalidClient,
        ),
        Err(error) => answer(error.to_string(), false),
    })
}

pub(super) async fn same_server(hour: &Hour) -> Result<Answer> {
    let pool = &pool(hour).await?.id;
    let create = hour.cognito.create_resource_server().user_pool_id(pool);
    Ok(match create.identifier("q").name("q").send().await {
        Ok(_) => answer("accepted", false),
        Err(error) => {
            let call = provision::aws::errors::call_error("cognito-idp:CreateResourceServer", &error);
            answer(
                format!("{}; in class {:?}", code(&error), call.class),
                call.class == provision::resource::Class::Taken,
            )
        }
    })
}

pub(super) async fn scope_lag(hour: &Hour) -> Result<Answer> {
    let pool = &pool(hour).await?.id;
    let scope = ResourceServerScopeType::builder()
        .scope_name("c")
        .scope_description("of the questions")
        .build()?;
    let server = hour
        .cognito
        .create_resource_server()
        .user_pool_id(pool)
        .identifier("late");
    server.name("late").scopes(scope).send().await?;
    let ask = async || Ok(client(hour, pool, &["late/c"]).await.ok());
    Ok(match hour.until(MINUTE, ask).await? {
        Some((_, seconds)) => within("accepted".to_owned(), seconds, 20.0),
        None => answer("not within a minute", false),
    })
}

pub(super) async fn pool_tags(hour: &Hour) -> Result<Answer> {
    let pool = new_bare_pool(hour, "tags").await?;
    hour.cognito.update_user_pool().user_pool_id(&pool).send().await?;
    let live = hour
        .cognito
        .describe_user_pool()
        .user_pool_id(&pool)
        .send()
        .await?;
    let live = live.user_pool.context("Cognito describes the pool")?;
    let kept = live.user_pool_tags().map_or(0, std::collections::HashMap::len);
    Ok(answer(format!("{kept} of 2 tags are left"), kept == 2))
}

pub(super) async fn lists(hour: &Hour) -> Result<Answer> {
    let pool = new_bare_pool(hour, "lag").await?;
    let listed = async || {
        let mut pools = hour
            .cognito
            .list_user_pools()
            .max_results(60)
            .into_paginator()
            .items()
            .send();
        while let Some(found) = pools.try_next().await? {
            if found.id() == Some(&pool) {
                return Ok(Some(()));
            }
        }
        Ok(None)
    };
    let pools = hour.until(MINUTE, listed).await?;
    let create = hour.cognito.create_user_pool_client().user_pool_id(&pool);
    create.client_name("questions").send().await?;
    let listed = async || {
        let list = hour.cognito.list_user_pool_clients().user_pool_id(&pool);
        let found = list.max_results(60).send().await?;
        Ok((!found.user_pool_clients().is_empty()).then_some(()))
    };
    let clients = hour.until(MINUTE, listed).await?;
    hour::check()?;
    let (Some((_, pools)), Some((_, clients))) = (pools, clients) else {
        return Ok(answer("not within a minute", false));
    };
    Ok(within(
        format!("pools {pools:.1} s, clients {clients:.1} s"),
        pools.max(clients),
        3.0,
    ))
}
