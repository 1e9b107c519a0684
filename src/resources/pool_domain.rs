//! The prefix domain of a user pool: where its token endpoint answers.
//!
//! Must not take over a prefix that another pool has.

use std::time::Duration;

use anyhow::bail;
use aws_sdk_cognitoidentityprovider::types::{DomainDescriptionType, DomainStatusType};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::ids::{self, PoolId};
use crate::aws::wait::{once, unless_gone};
use crate::resource::{Class, Cx, Kind, NoOutput, Resource, Result, Stranger};

/// The longest wait for a prefix domain. AWS says that it takes up to one minute.
const ACTIVE_DEADLINE: Duration = Duration::from_mins(3);

/// A prefix domain. Prefixes are unique in the region, across all accounts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolDomain {
    /// The pool's id.
    pub pool: PoolId,
    /// 1 to 63 characters; without `aws`, `amazon` and `cognito`.
    pub prefix: String,
}

/// The user pool that has a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The AWS account; `None` if Cognito does not return it.
    pub account: Option<String>,
    /// The user pool's id.
    pub pool: PoolId,
}

/// Whether a prefix is free in the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// It is free, or its deletion is under way.
    Free,
    /// This pool has it.
    Taken(Holder),
    /// Cognito answers "not found" instead of an empty description: probably another account has it. Unverified.
    Hidden,
}

/// Returns who has this prefix in the region.
pub async fn look_up(cx: &Cx<Aws>, prefix: &str) -> Result<Prefix> {
    let describe = || {
        cx.cloud()
            .cognito
            .describe_user_pool_domain()
            .domain(prefix)
            .send()
    };
    let Some(answer) = unless_gone(cx.call("cognito-idp:DescribeUserPoolDomain", describe).await)? else {
        return Ok(Prefix::Hidden);
    };
    let domain = answer.domain_description;
    let domain = domain.filter(|domain| !matches!(domain.status(), None | Some(&DomainStatusType::Deleting)));
    Ok(domain.map_or(Prefix::Free, |domain| {
        Prefix::Taken(Holder {
            account: domain.aws_account_id,
            pool: domain.user_pool_id.unwrap_or_default().into(),
        })
    }))
}

impl PoolDomain {
    /// For an unknown domain Cognito returns an empty description, not an error.
    async fn describe(&self, cx: &Cx<Aws>) -> Result<Option<DomainDescriptionType>> {
        let describe = || {
            cx.cloud()
                .cognito
                .describe_user_pool_domain()
                .domain(&self.prefix)
                .send()
        };
        let answer = unless_gone(cx.call("cognito-idp:DescribeUserPoolDomain", describe).await)?;
        Ok(answer
            .and_then(|answer| answer.domain_description)
            .filter(|domain| domain.status().is_some()))
    }

    async fn is_the_pools(&self, cx: &Cx<Aws>) -> Result<bool> {
        let domain = self.describe(cx).await?;
        Ok(domain.is_some_and(|domain| {
            domain.user_pool_id() == Some(self.pool.as_str())
                && domain.status() != Some(&DomainStatusType::Deleting)
        }))
    }

    /// Another prefix that the pool has and keeps.
    async fn other_of_the_pool(&self, cx: &Cx<Aws>) -> Result<Option<String>> {
        let describe = || {
            cx.cloud()
                .cognito
                .describe_user_pool()
                .user_pool_id(&self.pool)
                .send()
        };
        let answer = cx.call("cognito-idp:DescribeUserPool", describe).await?;
        let prefix = answer
            .user_pool
            .and_then(|pool| pool.domain)
            .filter(|prefix| *prefix != self.prefix);
        let Some(prefix) = prefix else {
            return Ok(None);
        };
        let other = Self {
            pool: self.pool.clone(),
            prefix,
        };
        Ok(other.is_the_pools(cx).await?.then_some(other.prefix))
    }

    async fn wait_until_active(&self, cx: &Cx<Aws>) -> Result<NoOutput> {
        cx.wait_for("the domain to become ACTIVE", ACTIVE_DEADLINE, || async {
            match self.describe(cx).await?.and_then(|domain| domain.status) {
                Some(DomainStatusType::Active) => Ok(Some(NoOutput {})),
                Some(DomainStatusType::Failed) => bail!("Cognito could not set the domain up"),
                _ => Ok(None),
            }
        })
        .await
    }
}

impl Resource for PoolDomain {
    type Cloud = Aws;
    type Output = NoOutput;
    const KIND: &'static Kind = &Kind {
        shapes: &[("desired.pool", ids::POOL), ("desired.prefix", ids::PREFIX)],
        fixed: &["pool", "prefix"],
        holds: Some("user-pool"),
        ..Kind::new("pool-domain")
    };

    fn id(&self, _: &NoOutput) -> String {
        self.prefix.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<NoOutput>> {
        let is_ours = |domain: &DomainDescriptionType| domain.user_pool_id() == Some(self.pool.as_str());
        match self.describe(cx).await? {
            None => Ok(None),
            // An interrupted deletion, which AWS finishes.
            Some(domain) if is_ours(&domain) && domain.status() == Some(&DomainStatusType::Deleting) => {
                let gone = || async { Ok(self.describe(cx).await?.is_none().then_some(())) };
                cx.wait_for("the domain's deletion to end", ACTIVE_DEADLINE, gone)
                    .await?;
                Ok(None)
            }
            Some(domain) if is_ours(&domain) => self.wait_until_active(cx).await.map(Some),
            Some(_) => Err(Stranger {
                what: format!("the domain prefix {} of another user pool", self.prefix),
            }
            .into()),
        }
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<NoOutput> {
        let create = || {
            cx.cloud()
                .cognito
                .create_user_pool_domain()
                .domain(&self.prefix)
                .user_pool_id(&self.pool)
                .send()
        };
        cx.repeat("cognito-idp:CreateUserPoolDomain", || async {
            match once("cognito-idp:CreateUserPoolDomain", create()).await {
                Ok(_) => Ok(()),
                // The pool already has a domain. If that one is being deleted, wait. It may be this one, created by a
                // call whose answer was lost. Any other one stays.
                Err(error) if error.class == Class::NotReady => {
                    if self.is_the_pools(cx).await? {
                        return Ok(());
                    }
                    if let Some(prefix) = self.other_of_the_pool(cx).await? {
                        bail!(
                            "user pool {pool} has the domain {prefix} already, which this stack did not make: keep it with \
                             `domain_prefix = \"{prefix}\"` in [user_pool], or delete it with `aws cognito-idp \
                             delete-user-pool-domain --user-pool-id {pool} --domain {prefix}` and run `provision up` again",
                            pool = self.pool
                        );
                    }
                    Err(error.into())
                }
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        self.wait_until_active(cx).await
    }

    async fn read(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<Option<Self>> {
        let domain = self.describe(cx).await?;
        Ok(domain
            .filter(|domain| domain.user_pool_id() == Some(self.pool.as_str()))
            .map(|_| self.clone()))
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &NoOutput) -> Result<()> {
        let delete = || {
            cx.cloud()
                .cognito
                .delete_user_pool_domain()
                .domain(&self.prefix)
                .user_pool_id(&self.pool)
                .send()
        };
        match unless_gone(cx.call("cognito-idp:DeleteUserPoolDomain", delete).await) {
            Ok(_) => Ok(()),
            // Cognito refuses a domain that does not exist, or no longer exists, as an invalid parameter.
            Err(error) if error.class == Class::Refused && self.read(cx, out).await?.is_none() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
