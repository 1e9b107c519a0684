//! The prefix domain of a user pool: where its token endpoint answers.
//!
//! Must not take a prefix that is another pool's.

use std::time::Duration;

use anyhow::bail;
use aws_sdk_cognitoidentityprovider::types::{DomainDescriptionType, DomainStatusType};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::wait::unless_gone;
use crate::resource::{Class, Cx, Resource, Result, Stranger};

/// AWS says up to one minute for a prefix domain.
const ACTIVE_DEADLINE: Duration = Duration::from_mins(3);

/// A prefix domain. Prefixes are unique in the region, across all accounts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolDomain {
    /// The pool's id.
    pub pool: String,
    /// 1 to 63 characters; without `aws`, `amazon` and `cognito`.
    pub prefix: String,
}

/// Nothing that the prefix does not say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {}

impl PoolDomain {
    /// Cognito answers an unknown domain with an empty description, not with an error.
    async fn describe(&self, cx: &Cx<Aws>) -> Result<Option<DomainDescriptionType>> {
        let describe = || cx.cloud().cognito.describe_user_pool_domain().domain(&self.prefix).send();
        let answer = unless_gone(cx.call("cognito-idp:DescribeUserPoolDomain", describe).await)?;
        Ok(answer.and_then(|answer| answer.domain_description).filter(|domain| domain.status().is_some()))
    }

    async fn wait_until_active(&self, cx: &Cx<Aws>) -> Result<Output> {
        cx.wait_for("the domain to become ACTIVE", ACTIVE_DEADLINE, || async {
            match self.describe(cx).await?.and_then(|domain| domain.status) {
                Some(DomainStatusType::Active) => Ok(Some(Output {})),
                Some(DomainStatusType::Failed) => bail!("Cognito could not set the domain up"),
                _ => Ok(None),
            }
        })
        .await
    }
}

impl Resource for PoolDomain {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "pool-domain";
    const FIXED: &'static [&'static str] = &["pool", "prefix"];

    fn id(&self, _: &Output) -> String {
        self.prefix.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        match self.describe(cx).await? {
            None => Ok(None),
            Some(domain) if domain.user_pool_id() == Some(&self.pool) => {
                self.wait_until_active(cx).await.map(Some)
            }
            Some(_) => Err(Stranger {
                what: format!("the domain prefix {} of another user pool", self.prefix),
            }
            .into()),
        }
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let create = || {
            cx.cloud().cognito.create_user_pool_domain().domain(&self.prefix).user_pool_id(&self.pool).send()
        };
        cx.call("cognito-idp:CreateUserPoolDomain", create).await?;
        self.wait_until_active(cx).await
    }

    async fn read(&self, cx: &Cx<Aws>, _: &Output) -> Result<Option<Self>> {
        let domain = self.describe(cx).await?;
        Ok(domain.filter(|domain| domain.user_pool_id() == Some(&self.pool)).map(|_| self.clone()))
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete = || {
            cx.cloud().cognito.delete_user_pool_domain().domain(&self.prefix).user_pool_id(&self.pool).send()
        };
        match unless_gone(cx.call("cognito-idp:DeleteUserPoolDomain", delete).await) {
            Ok(_) => Ok(()),
            // Cognito refuses a domain that is not there, or not there any more, as an invalid parameter.
            Err(error) if error.class == Class::Refused && self.read(cx, out).await?.is_none() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
