//! The Cognito user pool: the issuer of the tokens.
//!
//! Must not let anybody sign up: the stack's only principals are app clients.

use anyhow::Context;
use aws_sdk_cognitoidentityprovider::config::Config;
use aws_sdk_cognitoidentityprovider::types::{
    AdminCreateUserConfigType, DeletionProtectionType, IssuerConfigurationType, IssuerType, UserPoolMfaType,
    UserPoolTierType, UserPoolType,
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
    /// `LITE`, `ESSENTIALS` or `PLUS`.
    pub tier: String,
    /// Whether Cognito refuses to delete it.
    pub deletion_protection: bool,
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

fn protection(on: bool) -> DeletionProtectionType {
    if on { DeletionProtectionType::Active } else { DeletionProtectionType::Inactive }
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
    const FIXED: &'static [&'static str] = &["name", "admin_create_user_only", "issuer", "tier", "deletion_protection", "tags"];
    const LOSES: Option<&'static str> = Some("its users, and every client's client_id and secret");

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
                .user_pool_tier(UserPoolTierType::from(self.tier.as_str()))
                .deletion_protection(protection(self.deletion_protection))
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
            tier: pool.user_pool_tier().map_or("ESSENTIALS", UserPoolTierType::as_str).to_owned(),
            deletion_protection: pool.deletion_protection() == Some(&DeletionProtectionType::Active),
            tags: tags::managed(&self.tags, tags::pairs(pool.user_pool_tags())),
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete = || cx.cloud().cognito.delete_user_pool().user_pool_id(&out.id).send();
        unless_gone(cx.call("cognito-idp:DeleteUserPool", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cognitoidentityprovider::Client as Sdk;
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::test_support::{
        attempts, cognito, failed, ok, on, our_tags, our_tags_and_more, refused, strangers_tags,
    };
    use crate::resource::Class;

    const ARN: &str = "arn:aws:cognito-idp:eu-central-1:111122223333:userpool/eu-central-1_ours";

    fn desired() -> UserPool {
        UserPool {
            name: "user-api".to_owned(),
            admin_create_user_only: true,
            issuer: "ORIGINAL".to_owned(),
            tags: our_tags(),
        }
    }

    fn out() -> Output {
        Output {
            id: "eu-central-1_ours".to_owned(),
            arn: ARN.to_owned(),
        }
    }

    fn live(id: &str, tags: &Tags) -> Value {
        json!({"UserPool": {
            "Id": id, "Arn": ARN, "Name": "user-api", "UserPoolTags": tags, "UserPoolTier": "ESSENTIALS",
            "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": true, "UnusedAccountValidityDays": 7},
            "IssuerConfiguration": {"Type": "ORIGINAL"}, "MfaConfiguration": "OFF",
        }})
    }

    #[tokio::test(start_paused = true)]
    async fn ours_is_found_by_its_owner_behind_another_of_the_same_name_and_on_another_page() {
        let first = json!({"UserPools": [{"Id": "other", "Name": "other"}], "NextToken": "t2"});
        let second = json!({"UserPools": [
            {"Id": "strangers", "Name": "user-api"},
            {"Id": "just-deleted", "Name": "user-api"},
            {"Id": "eu-central-1_ours", "Name": "user-api"},
        ]});
        let cx = cognito([
            on!(Sdk::list_user_pools, |i| { assert_eq!(i.next_token(), None) }, ok(first.clone())),
            on!(Sdk::list_user_pools, |i| { assert_eq!(i.next_token(), Some("t2")) }, ok(second.clone())),
            on!(Sdk::describe_user_pool, ok(live("strangers", &strangers_tags()))),
            on!(Sdk::describe_user_pool, refused(400, "ResourceNotFoundException", "no such pool")),
            on!(Sdk::describe_user_pool, ok(live("eu-central-1_ours", &our_tags()))),
        ]);
        let found = desired().find(&cx).await.unwrap().unwrap();
        assert_eq!((found.id.as_str(), found.arn.as_str()), ("eu-central-1_ours", ARN));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_of_our_name_and_anothers_owner_is_not_found() {
        let cx = cognito([
            on!(Sdk::list_user_pools, ok(json!({"UserPools": [{"Id": "x", "Name": "user-api"}]}))),
            on!(Sdk::describe_user_pool, ok(live("x", &strangers_tags()))),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_can_sign_up_to_what_is_created() {
        let cx = cognito([on!(
            Sdk::create_user_pool,
            |i| {
                assert_eq!(i.pool_name(), Some("user-api"));
                assert!(i.admin_create_user_config().unwrap().allow_admin_create_user_only());
                assert_eq!(i.issuer_configuration().unwrap().r#type(), Some(&IssuerType::Original));
                assert_eq!(i.mfa_configuration(), Some(&UserPoolMfaType::Off));
                assert_eq!(i.user_pool_tags(), Some(&tags::map(&our_tags())));
            },
            ok(live("eu-central-1_ours", &our_tags()))
        )]);
        let made = desired().create(&cx).await.unwrap();
        assert_eq!((made.id.as_str(), made.arn.as_str()), ("eu-central-1_ours", ARN));
    }

    #[tokio::test(start_paused = true)]
    async fn what_aws_answers_is_no_drift() {
        let mut without_issuer = live("eu-central-1_ours", &our_tags_and_more());
        without_issuer["UserPool"]["IssuerConfiguration"].take();
        for answer in [live("eu-central-1_ours", &our_tags()), without_issuer] {
            let cx = cognito([on!(Sdk::describe_user_pool, ok(answer.clone()))]);
            assert_eq!(desired().read(&cx, &out()).await.unwrap(), Some(desired()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_opened_to_everybody_is_drift() {
        let mut open = live("eu-central-1_ours", &our_tags());
        open["UserPool"]["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"] = json!(false);
        let cx = cognito([on!(Sdk::describe_user_pool, ok(open.clone()))]);
        let live = desired().read(&cx, &out()).await.unwrap().unwrap();
        assert!(!live.admin_create_user_only);
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_reads_as_none_and_is_deleted() {
        let gone = || refused(400, "ResourceNotFoundException", "User pool does not exist.");
        let cx = cognito([on!(Sdk::describe_user_pool, gone()), on!(Sdk::delete_user_pool, |i| { assert_eq!(i.user_pool_id(), Some("eu-central-1_ours")) }, gone())]);
        assert_eq!(desired().read(&cx, &out()).await.unwrap(), None);
        desired().delete(&cx, &out()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_still_has_a_domain_is_not_deleted_and_the_reason_is_told() {
        let reason = "User pool cannot be deleted. It has a domain configured that should be deleted first.";
        let cx = cognito([on!(
            Sdk::delete_user_pool,
            refused(400, "InvalidParameterException", reason)
        )]);
        let (class, text) = failed(desired().delete(&cx, &out()).await);
        assert_eq!(class, Some(Class::Refused));
        assert!(text.contains(reason), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_create_that_may_have_been_executed_is_not_repeated() {
        let create = attempts!(
            Sdk::create_user_pool,
            refused(500, "InternalErrorException", "boom"),
            ok(live("eu-central-1_ours", &our_tags()))
        );
        let cx = cognito([create.clone()]);
        let (class, text) = failed(desired().create(&cx).await);
        assert_eq!((class, create.num_calls()), (Some(Class::Ambiguous), 1), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_create_is_repeated() {
        let create = attempts!(
            Sdk::create_user_pool,
            refused(400, "TooManyRequestsException", "Rate exceeded"),
            ok(live("eu-central-1_ours", &our_tags()))
        );
        let cx = cognito([create.clone()]);
        assert_eq!(desired().create(&cx).await.unwrap().id, "eu-central-1_ours");
        assert_eq!(create.num_calls(), 2);
    }
}
