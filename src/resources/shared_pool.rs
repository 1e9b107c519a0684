//! A user pool that somebody else made, and in which this stack has resource servers and clients.
//!
//! Must not change it, nor delete it: all that is here is read.

use anyhow::Context;
use aws_sdk_cognitoidentityprovider::types::{IssuerConfigurationType, UserPoolTierType, UserPoolType};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::ids::{self, PoolId};
use crate::resource::{Cx, Kind, Published, Resource, Result, Updated};

/// What the stack uses of the pool, as it was last read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedPool {
    /// The pool's id.
    pub pool: PoolId,
    /// The pool's ARN.
    pub arn: String,
    /// The prefix of the token endpoint's host name; empty if the pool has none.
    pub prefix: String,
    /// The pool's own domain name; empty if it has none.
    pub domain: String,
    /// `ORIGINAL`, or what else the issuer of its tokens is; `None` if the service does not return it.
    pub issuer: Option<String>,
    /// `LITE`, `ESSENTIALS` or `PLUS`.
    pub tier: String,
}

/// What dependents need of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The pool's id.
    pub id: PoolId,
    /// The pool's ARN.
    pub arn: String,
}

impl Published for Output {
    fn placeholder(mark: &str) -> Self {
        Self {
            id: mark.into(),
            arn: mark.to_owned(),
        }
    }
}

/// The pool of this id as it is now; `None` if there is none.
///
/// # Errors
/// The call is refused.
pub async fn look_up(cx: &Cx<Aws>, id: &PoolId) -> Result<Option<SharedPool>> {
    let answer = cx.user_pool(id.as_str()).await?;
    let Some(answer) = answer.as_ref() else {
        return Ok(None);
    };
    let pool = answer
        .user_pool()
        .context("cognito-idp:DescribeUserPool answered no pool")?;
    SharedPool::of(id, pool).map(Some)
}

impl SharedPool {
    fn of(id: &PoolId, pool: &UserPoolType) -> Result<Self> {
        let issuer = pool
            .issuer_configuration()
            .and_then(IssuerConfigurationType::r#type);
        Ok(Self {
            pool: id.clone(),
            arn: pool
                .arn()
                .context("Cognito answered a pool without an ARN")?
                .to_owned(),
            prefix: pool.domain().unwrap_or_default().to_owned(),
            domain: pool.custom_domain().unwrap_or_default().to_owned(),
            issuer: issuer.map(|issuer| issuer.as_str().to_owned()),
            tier: pool
                .user_pool_tier()
                .map_or("ESSENTIALS", UserPoolTierType::as_str)
                .to_owned(),
        })
    }

    fn output(&self) -> Output {
        Output {
            id: self.pool.clone(),
            arn: self.arn.clone(),
        }
    }
}

impl Resource for SharedPool {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static Kind = &Kind {
        shapes: &[
            ("desired.pool", ids::POOL),
            ("output.id", ids::POOL),
            ("output.arn", ids::ARN),
        ],
        fixed: &["pool"],
        gone_at_once: true,
        ..Kind::new("shared-user-pool")
    };

    fn id(&self, out: &Output) -> String {
        out.id.to_string()
    }

    fn known_output(&self) -> Option<Output> {
        Some(self.output())
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        Ok(look_up(cx, &self.pool).await?.map(|pool| pool.output()))
    }

    /// Puts it on record.
    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let found = self.find(cx).await?;
        found.with_context(|| format!("user pool {} is not there", self.pool))
    }

    async fn read(&self, cx: &Cx<Aws>, _: &Output) -> Result<Option<Self>> {
        look_up(cx, &self.pool).await
    }

    /// The record takes over what the pool's owner changed.
    async fn update(&self, _: &Cx<Aws>, _: &Self, _: Output) -> Result<Updated<Output>> {
        Ok(self.output().into())
    }

    /// Takes it off the record.
    async fn delete(&self, _: &Cx<Aws>, _: &Output) -> Result<()> {
        Ok(())
    }
}
