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

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{cognito_wire, differing, failed, ok, refused};
    use crate::resource::Class;

    const ARN: &str = "arn:aws:cognito-idp:eu-central-1:1:userpool/eu-central-1_theirs";

    fn desired() -> SharedPool {
        SharedPool {
            pool: "eu-central-1_theirs".into(),
            arn: ARN.to_owned(),
            prefix: "company".to_owned(),
            domain: String::new(),
            issuer: Some("ORIGINAL".to_owned()),
            tier: "ESSENTIALS".to_owned(),
        }
    }

    fn live(fields: &serde_json::Value) -> HttpResponse {
        let mut pool = json!({
            "Id": "eu-central-1_theirs", "Arn": ARN, "Domain": "company", "UserPoolTier": "ESSENTIALS",
            "IssuerConfiguration": {"Type": "ORIGINAL"},
        });
        let fields = fields.as_object().unwrap().clone();
        pool.as_object_mut().unwrap().extend(fields);
        ok(json!({ "UserPool": pool }))
    }

    fn output() -> Output {
        desired().output()
    }

    /// Every call there is on it.
    #[tokio::test(start_paused = true)]
    async fn it_is_read_and_never_changed() {
        let (cx, wire) = cognito_wire([live(&json!({})), live(&json!({})), live(&json!({}))]);
        assert_eq!(desired().create(&cx).await.unwrap().arn, ARN);
        assert_eq!(
            desired().find(&cx).await.unwrap().unwrap().id,
            "eu-central-1_theirs"
        );
        assert_eq!(desired().read(&cx, &output()).await.unwrap(), Some(desired()));
        let moved = SharedPool {
            prefix: "other".to_owned(),
            ..desired()
        };
        desired().update(&cx, &moved, output()).await.unwrap();
        desired().delete(&cx, &output()).await.unwrap();
        let sent: Vec<String> = wire.sent().into_iter().map(|(operation, _)| operation).collect();
        assert_eq!(sent, ["DescribeUserPool"; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_its_owner_changes_is_told_as_the_field_it_is_in() {
        for (field, fields) in [
            ("prefix", json!({"Domain": "other"})),
            ("domain", json!({"CustomDomain": "auth.example.com"})),
            ("issuer", json!({"IssuerConfiguration": {"Type": "UPDATED"}})),
            ("tier", json!({"UserPoolTier": "PLUS"})),
        ] {
            let (cx, _) = cognito_wire([live(&fields)]);
            let read = desired().read(&cx, &output()).await.unwrap().unwrap();
            assert_eq!(differing(&desired(), &read), [field]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_gone_is_not_made_again() {
        let gone = || {
            refused(
                400,
                "ResourceNotFoundException",
                "User pool eu-central-1_theirs does not exist.",
            )
        };
        let (cx, wire) = cognito_wire([gone(), gone(), gone()]);
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert_eq!(desired().read(&cx, &output()).await.unwrap(), None);
        let error = desired().create(&cx).await.unwrap_err().to_string();
        assert_eq!(error, "user pool eu-central-1_theirs is not there");
        assert_eq!(wire.sent().len(), 3);
        let denied = refused(400, "AccessDeniedException", "not authorized");
        let (cx, _) = cognito_wire([denied]);
        assert_eq!(failed(desired().find(&cx).await).0, Some(Class::Denied));
    }
}
