//! Deletes what a run made, and counts what is left.
//!
//! Must not delete anything whose name does not begin with the name of a run that this folder knows.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_sdk_cognitoidentityprovider::types::DeletionProtectionType;

use super::hour::{Hour, NAMES};

/// Something in AWS that a run made.
#[derive(Clone, Debug)]
pub(super) enum Thing {
    Function(String),
    Api { id: String, name: String },
    Pool { id: String, name: String },
    Role(String),
    LogGroup(String),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(name) => write!(f, "function {name}"),
            Self::Api { id, name } => write!(f, "REST API {name} ({id})"),
            Self::Pool { id, name } => write!(f, "user pool {name} ({id})"),
            Self::Role(name) => write!(f, "role {name}"),
            Self::LogGroup(name) => write!(f, "log group {name}"),
        }
    }
}

impl Thing {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Function(_) => "functions",
            Self::Api { .. } => "REST APIs",
            Self::Pool { .. } => "user pools",
            Self::Role(_) => "roles",
            Self::LogGroup(_) => "log groups",
        }
    }

    /// Whether it is of the run of this stack; the names of all that a run makes begin with the stack's.
    fn is_of(&self, stack: &str) -> bool {
        let name = match self {
            Self::LogGroup(name) => name.trim_start_matches("/aws/lambda/"),
            Self::Function(name) | Self::Role(name) | Self::Api { name, .. } | Self::Pool { name, .. } => {
                name
            }
        };
        name.starts_with(stack)
    }
}

/// Everything of any run in the account and region, in the order in which it can be deleted.
async fn all(hour: &Hour) -> Result<Vec<Thing>> {
    let mut things = Vec::new();
    let mut functions = hour.lambda.list_functions().into_paginator().items().send();
    while let Some(function) = functions.try_next().await? {
        things.extend(function.function_name.map(Thing::Function));
    }
    let mut apis = hour
        .apigateway
        .get_rest_apis()
        .limit(500)
        .into_paginator()
        .items()
        .send();
    while let Some(api) = apis.try_next().await? {
        let tag = api
            .tags()
            .and_then(|tags| tags.get(provision::aws::tags::STACK))
            .cloned();
        let name = tag.filter(|tag| tag.starts_with(NAMES)).or(api.name);
        if let (Some(id), Some(name)) = (api.id, name) {
            things.push(Thing::Api { id, name });
        }
    }
    let mut pools = hour
        .cognito
        .list_user_pools()
        .max_results(60)
        .into_paginator()
        .items()
        .send();
    while let Some(pool) = pools.try_next().await? {
        if let (Some(id), Some(name)) = (pool.id, pool.name) {
            things.push(Thing::Pool { id, name });
        }
    }
    let mut roles = hour.iam.list_roles().into_paginator().items().send();
    while let Some(role) = roles.try_next().await? {
        things.push(Thing::Role(role.role_name));
    }
    let groups = hour.logs.describe_log_groups();
    let mut groups = groups
        .log_group_name_prefix(format!("/aws/lambda/{NAMES}"))
        .into_paginator()
        .items()
        .send();
    while let Some(group) = groups.try_next().await? {
        things.extend(group.log_group_name.map(Thing::LogGroup));
    }
    things.retain(|thing| thing.is_of(NAMES));
    Ok(things)
}

/// What there is of the run of this stack.
pub(super) async fn left(hour: &Hour, stack: &str) -> Result<Vec<Thing>> {
    let mut things = all(hour).await?;
    things.retain(|thing| thing.is_of(stack));
    Ok(things)
}

/// What there is of runs that this folder does not know: another machine's, or of a folder that was deleted.
pub(super) async fn others(hour: &Hour) -> Result<Vec<Thing>> {
    let runs = hour.runs()?;
    let mut things = all(hour).await?;
    things.retain(|thing| !runs.iter().any(|run| thing.is_of(run)));
    Ok(things)
}

async fn delete(hour: &Hour, thing: &Thing) -> Result<()> {
    match thing {
        Thing::Function(name) => {
            hour.lambda.delete_function().function_name(name).send().await?;
        }
        Thing::Api { id, .. } => {
            hour.apigateway.delete_rest_api().rest_api_id(id).send().await?;
        }
        Thing::Pool { id, .. } => {
            let pool = hour
                .cognito
                .describe_user_pool()
                .user_pool_id(id)
                .send()
                .await?
                .user_pool;
            let pool = pool.context("Cognito describes the pool")?;
            if pool.deletion_protection() == Some(&DeletionProtectionType::Active) {
                let update = hour.cognito.update_user_pool().user_pool_id(id);
                update
                    .deletion_protection(DeletionProtectionType::Inactive)
                    .send()
                    .await?;
            }
            if let Some(domain) = pool.domain() {
                hour.cognito
                    .delete_user_pool_domain()
                    .user_pool_id(id)
                    .domain(domain)
                    .send()
                    .await?;
            }
            hour.cognito.delete_user_pool().user_pool_id(id).send().await?;
        }
        Thing::Role(name) => {
            let policies = hour.iam.list_role_policies().role_name(name).send().await?;
            for policy in policies.policy_names() {
                hour.iam
                    .delete_role_policy()
                    .role_name(name)
                    .policy_name(policy)
                    .send()
                    .await?;
            }
            hour.iam.delete_role().role_name(name).send().await?;
        }
        Thing::LogGroup(name) => {
            hour.logs.delete_log_group().log_group_name(name).send().await?;
        }
    }
    Ok(())
}

/// Deletes everything of the run of this stack: first `down`, by the state; then what is left, by name.
///
/// # Errors
/// Something is left after ten minutes or more, all of which is named.
pub(super) async fn clear(hour: &Hour, stack: &str) -> Result<()> {
    let run = hour.down(stack)?;
    if run.code != 0 {
        hour.tell("`down` failed: what it has left is deleted by name");
    }
    // A list may still lack what was made a moment ago, and AWS deletes one REST API in 30 seconds.
    let (tries, pause, looks) = if hour.is_sandbox() {
        (20, Duration::from_millis(100), 1)
    } else {
        (60, Duration::from_secs(10), 2)
    };
    let (mut empty, mut last) = (0, "it could not be looked for".to_owned());
    for _ in 0..tries {
        match left(hour, stack).await {
            Ok(things) if things.is_empty() => {
                empty += 1;
                if empty == looks {
                    return hour.forget(stack);
                }
            }
            Ok(things) => {
                empty = 0;
                last = things
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ");
                for thing in things {
                    hour.tell(&format!("deleting {thing}"));
                    if let Err(error) = delete(hour, &thing).await {
                        hour.tell(&format!("not yet: {error:#}"));
                    }
                }
            }
            Err(error) => hour.tell(&format!("not yet: {error:#}")),
        }
        tokio::time::sleep(pause).await;
    }
    bail!("these are left, delete them by hand: {last}");
}
