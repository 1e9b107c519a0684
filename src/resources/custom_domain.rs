//! The domain name of the user's own at which a user pool issues tokens, beside the prefix of AWS's name.
//!
//! Must not take over a name that another pool has.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use aws_sdk_cognitoidentityprovider::types::{
    CustomDomainConfigType, DomainDescriptionType, DomainStatusType,
};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::ids::{self, PoolId};
use crate::aws::wait::unless_gone;
use crate::resource::{Class, Cx, Kind, Published, Resource, Result, Stranger, Updated};

/// The longest wait for CloudFront, which serves the domain. AWS says 5 minutes, and up to an hour for a certificate.
const ACTIVE_DEADLINE: Duration = Duration::from_hours(1);

/// A custom domain. A pool has at most one, beside its prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomDomain {
    /// The pool's id.
    pub pool: PoolId,
    /// In lower case.
    pub name: String,
    /// The ARN of a certificate of ACM in us-east-1.
    pub certificate: String,
}

/// Where the record in DNS has to point.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// CloudFront's host name for the domain.
    pub target: String,
}

impl Published for Output {
    fn placeholder(mark: &str) -> Self {
        Self {
            target: mark.to_owned(),
        }
    }
}

fn output(live: &DomainDescriptionType) -> Result<Output> {
    let target = live.cloud_front_distribution();
    let target = target.context("Cognito answered no host name of CloudFront for the domain")?;
    Ok(Output {
        target: target.to_owned(),
    })
}

impl CustomDomain {
    /// For an unknown domain Cognito returns an empty description, not an error.
    async fn describe(&self, cx: &Cx<Aws>) -> Result<Option<DomainDescriptionType>> {
        let describe = || {
            cx.cloud()
                .cognito
                .describe_user_pool_domain()
                .domain(&self.name)
                .send()
        };
        let answer = unless_gone(cx.call("cognito-idp:DescribeUserPoolDomain", describe).await)?;
        Ok(answer
            .and_then(|answer| answer.domain_description)
            .filter(|domain| domain.status().is_some()))
    }

    fn is_ours(&self, live: &DomainDescriptionType) -> bool {
        live.user_pool_id() == Some(self.pool.as_str())
    }

    fn settings(&self) -> Result<CustomDomainConfigType> {
        let settings = CustomDomainConfigType::builder();
        Ok(settings.certificate_arn(&self.certificate).build()?)
    }

    async fn active(&self, cx: &Cx<Aws>) -> Result<Output> {
        let what = format!(
            "CloudFront to serve {}, which takes minutes, and up to an hour for a certificate",
            self.name
        );
        cx.wait_for(&what, ACTIVE_DEADLINE, || async {
            let Some(live) = self.describe(cx).await? else {
                return Ok(None);
            };
            match live.status() {
                Some(DomainStatusType::Active) => output(&live).map(Some),
                Some(DomainStatusType::Failed) => bail!("Cognito could not set up the domain {}", self.name),
                _ => Ok(None),
            }
        })
        .await
    }
}

impl Resource for CustomDomain {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static Kind = &Kind {
        shapes: &[
            ("desired.pool", ids::POOL),
            ("desired.name", ids::DOMAIN),
            ("output.target", ids::DOMAIN),
        ],
        fixed: &["pool", "name"],
        holds: Some("user-pool"),
        ..Kind::new("custom-domain")
    };

    fn id(&self, _: &Output) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let Some(live) = self.describe(cx).await? else {
            return Ok(None);
        };
        if !self.is_ours(&live) {
            let what = format!("the domain {} of another user pool", self.name);
            return Err(Stranger { what }.into());
        }
        if live.status() == Some(&DomainStatusType::Deleting) {
            // An interrupted deletion, which AWS finishes.
            let gone = || async { Ok(self.describe(cx).await?.is_none().then_some(())) };
            cx.wait_for("the domain's deletion to end", ACTIVE_DEADLINE, gone)
                .await?;
            return Ok(None);
        }
        // So that one that failed can be deleted.
        if live.status() == Some(&DomainStatusType::Failed) {
            return output(&live).map(Some);
        }
        self.active(cx).await.map(Some)
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let settings = self.settings()?;
        let create = || {
            cx.cloud()
                .cognito
                .create_user_pool_domain()
                .domain(&self.name)
                .user_pool_id(&self.pool)
                .custom_domain_config(settings.clone())
                .send()
        };
        match cx.call("cognito-idp:CreateUserPoolDomain", create).await {
            Ok(_) => self.active(cx).await,
            Err(error) if error.message.contains("not a valid subdomain") => {
                let (_, parent) = self.name.split_once('.').unwrap_or_default();
                Err(anyhow!(error).context(format!(
                    "Cognito takes the name only if {parent} has a record of type A in DNS, whatever it leads to: make one, then \
                     run `provision up` again"
                )))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn read(&self, cx: &Cx<Aws>, _: &Output) -> Result<Option<Self>> {
        let live = self.describe(cx).await?.filter(|live| self.is_ours(live));
        Ok(live.map(|live| {
            let settings = live.custom_domain_config();
            let certificate = settings.map(CustomDomainConfigType::certificate_arn);
            Self {
                certificate: certificate.unwrap_or_default().to_owned(),
                ..self.clone()
            }
        }))
    }

    /// Waits also if nothing differs: an interrupted update may have begun what is still under way.
    async fn update(&self, cx: &Cx<Aws>, before: &Self, _: Output) -> Result<Updated<Output>> {
        if self.certificate != before.certificate {
            let settings = self.settings()?;
            let update = || {
                cx.cloud()
                    .cognito
                    .update_user_pool_domain()
                    .domain(&self.name)
                    .user_pool_id(&self.pool)
                    .custom_domain_config(settings.clone())
                    .send()
            };
            cx.call("cognito-idp:UpdateUserPoolDomain", update).await?;
        }
        Ok(self.active(cx).await?.into())
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete = || {
            cx.cloud()
                .cognito
                .delete_user_pool_domain()
                .domain(&self.name)
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
