//! The Cognito user pool: the issuer of the tokens.
//!
//! Must not let anybody sign up: the stack's only principals are app clients.

use anyhow::Context;
use aws_sdk_cognitoidentityprovider::config::Config;
use aws_sdk_cognitoidentityprovider::types::{
    AdminCreateUserConfigType, IssuerConfigurationType, IssuerType, UserPoolMfaType, UserPoolType,
};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::clients::OnlyThrottles;
use crate::aws::tags::{self, Tags};
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Resource, Result};

/// A user pool. Its name is not unique; the owner in its tags tells it from others.
///
/// All of it is fixed: UpdateUserPool resets what it is not told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserPool {
    /// 1 to 128 characters.
    pub name: String,
    /// Only an administrator may create users. AWS's own default is that anybody may sign up.
    pub admin_create_user_only: bool,
    /// `ORIGINAL`: the issuer is `https://cognito-idp.<region>.amazonaws.com/<pool>`, which the authorizer of a REST API
    /// is known to accept.
    pub issuer: String,
    /// Including the owner.
    pub tags: Tags,
}

/// What Cognito answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {
    /// `<region>_<random>`.
    pub id: String,
    /// The pool's ARN.
    pub arn: String,
}

impl UserPool {
    async fn describe(&self, cx: &Cx<Aws>, id: &str) -> Result<Option<UserPoolType>> {
        let describe = || cx.cloud().cognito.describe_user_pool().user_pool_id(id).send();
        let answer = unless_gone(cx.call("cognito-idp:DescribeUserPool", describe).await)?;
        answer
            .map(|answer| answer.user_pool.context("cognito-idp:DescribeUserPool answered no pool"))
            .transpose()
    }
}

fn output(pool: UserPoolType) -> Result<Output> {
    Ok(Output {
        id: pool.id.context("Cognito answered a pool without an id")?,
        arn: pool.arn.context("Cognito answered a pool without an ARN")?,
    })
}

impl Resource for UserPool {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "user-pool";
    const FIXED: &'static [&'static str] = &["name", "admin_create_user_only", "issuer", "tags"];

    fn id(&self, out: &Output) -> String {
        out.id.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let mut position = None;
        loop {
            // The list has no tags and knows no filter; 60 is the most that one page holds.
            let list = || {
                cx.cloud().cognito.list_user_pools().max_results(60).set_next_token(position.clone()).send()
            };
            let page = cx.call("cognito-idp:ListUserPools", list).await?;
            for listed in page.user_pools().iter().filter(|pool| pool.name() == Some(&self.name)) {
                let Some(pool) = self.describe(cx, listed.id().unwrap_or_default()).await? else {
                    continue;
                };
                if tags::are_ours(&self.tags, tags::pairs(pool.user_pool_tags())) {
                    return output(pool).map(Some);
                }
            }
            position = page.next_token;
            if position.is_none() {
                return Ok(None);
            }
        }
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let admin = AdminCreateUserConfigType::builder()
            .allow_admin_create_user_only(self.admin_create_user_only)
            .build();
        let issuer =
            IssuerConfigurationType::builder().r#type(IssuerType::from(self.issuer.as_str())).build();
        let create = || {
            cx.cloud()
                .cognito
                .create_user_pool()
                .pool_name(&self.name)
                .admin_create_user_config(admin.clone())
                .issuer_configuration(issuer.clone())
                .mfa_configuration(UserPoolMfaType::Off)
                .set_user_pool_tags(Some(tags::map(&self.tags)))
                .customize()
                .config_override(Config::builder().retry_classifier(OnlyThrottles))
                .send()
        };
        let answer = cx.call("cognito-idp:CreateUserPool", create).await?;
        output(answer.user_pool.context("cognito-idp:CreateUserPool answered no pool")?)
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let Some(pool) = self.describe(cx, &out.id).await? else {
            return Ok(None);
        };
        let admin = pool.admin_create_user_config();
        // A service that does not answer the issuer's type has only the original one.
        let issuer = pool.issuer_configuration().and_then(IssuerConfigurationType::r#type);
        Ok(Some(Self {
            name: pool.name().unwrap_or_default().to_owned(),
            admin_create_user_only: admin.is_some_and(AdminCreateUserConfigType::allow_admin_create_user_only),
            issuer: issuer.map_or("ORIGINAL", IssuerType::as_str).to_owned(),
            tags: tags::managed(&self.tags, tags::pairs(pool.user_pool_tags())),
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete = || cx.cloud().cognito.delete_user_pool().user_pool_id(&out.id).send();
        unless_gone(cx.call("cognito-idp:DeleteUserPool", delete).await)?;
        Ok(())
    }
}
