//! The Cognito user pool: the issuer of the tokens.
//!
//! Must not let anybody sign up: the stack's only principals are app clients.

use anyhow::Context;
use aws_sdk_cognitoidentityprovider::config::Config;
use aws_sdk_cognitoidentityprovider::config::retry::RetryConfig;
use aws_sdk_cognitoidentityprovider::config::http::HttpRequest;
use aws_sdk_cognitoidentityprovider::operation::describe_user_pool::DescribeUserPoolOutput;
use aws_sdk_cognitoidentityprovider::operation::update_user_pool::builders::UpdateUserPoolFluentBuilder;
use aws_sdk_cognitoidentityprovider::types::{
    AccountRecoverySettingType, AdminCreateUserConfigType, DefaultEmailOptionType, DeletionProtectionType,
    EmailConfigurationType, EumsSmsConfigurationType, IssuerConfigurationType, IssuerType, KeyConfigurationType,
    LambdaConfigType, SmsConfigurationType, UserPoolMfaType, UserPoolPolicyType, UserPoolTierType, UserPoolType,
    VerificationMessageTemplateType,
};
use serde::{Deserialize, Serialize};

use crate::aws::pages::Pages;
use crate::aws::tags::{self, Tags};
use crate::aws::wait::{once, unless_gone};
use crate::aws::{Aws, ids};
use crate::resource::{CallError, Class, Cx, InTheWay, Resource, Result, Shape, Stranger};

/// A user pool. Its name is not unique; the owner in its tags tells it from others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserPool {
    /// 1 to 128 characters.
    pub name: String,
    /// Only an administrator may create users. AWS's own default is that anybody may sign up.
    pub admin_create_user_only: bool,
    /// `ORIGINAL`: the issuer is `https://cognito-idp.<region>.amazonaws.com/<pool>`, which the authorizer of a REST API
    /// is known to accept. `None` is read from a service that does not answer it.
    pub issuer: Option<String>,
    /// `LITE`, `ESSENTIALS` or `PLUS`.
    pub tier: String,
    /// Whether Cognito refuses to delete it.
    pub deletion_protection: bool,
    /// Including the owner.
    pub tags: Tags,
}

/// What Cognito answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// `<region>_<random>`.
    pub id: String,
    /// The pool's ARN.
    pub arn: String,
}

impl UserPool {
    async fn describe(&self, cx: &Cx<Aws>, id: &str) -> Result<Option<UserPoolType>> {
        let answer = cx.user_pool(id).await?;
        let pool = |answer: &DescribeUserPoolOutput| answer.user_pool().cloned();
        (answer.as_ref().as_ref())
            .map(|answer| pool(answer).context("cognito-idp:DescribeUserPool answered no pool"))
            .transpose()
    }

    fn check(&self, out: &Output, live: &UserPoolType) -> Result<(), Stranger> {
        tags::check(&self.tags, tags::pairs(live.user_pool_tags()), || format!("user pool {}", out.id))
    }

    /// The domain that keeps Cognito from deleting the pool.
    async fn foreign_domain(
        &self,
        cx: &Cx<Aws>,
        out: &Output,
        refusal: &CallError,
    ) -> Result<Option<InTheWay>> {
        let pool = self.describe(cx, &out.id).await?;
        let domain = pool.and_then(|pool| pool.domain.or(pool.custom_domain));
        Ok(domain.map(|domain| InTheWay {
            what: format!(
                "Cognito does not delete user pool {} while it has the domain {domain}, which this stack did not make",
                out.id
            ),
            command: format!("aws cognito-idp delete-user-pool-domain --user-pool-id {} --domain {domain}", out.id),
            refusal: refusal.clone(),
        }))
    }

    /// Sets in a live pool what differs from `before`.
    fn change(&self, before: &Self, live: &mut UserPoolType) {
        if self.name != before.name {
            live.name = Some(self.name.clone());
        }
        if self.admin_create_user_only != before.admin_create_user_only {
            live.admin_create_user_config
                .get_or_insert_with(|| AdminCreateUserConfigType::builder().build())
                .allow_admin_create_user_only = self.admin_create_user_only;
        }
        if self.issuer.is_some() && self.issuer != before.issuer {
            live.issuer_configuration = self.issuer_configuration();
        }
        if self.tier != before.tier {
            live.user_pool_tier = Some(UserPoolTierType::from(self.tier.as_str()));
        }
        if self.deletion_protection != before.deletion_protection {
            live.deletion_protection = Some(protection(self.deletion_protection));
        }
        let tags = live.user_pool_tags.get_or_insert_default();
        tags.extend(tags::changed(&before.tags, &self.tags));
        for key in tags::removed(&before.tags, &self.tags) {
            tags.remove(&key);
        }
    }

    fn issuer_configuration(&self) -> Option<IssuerConfigurationType> {
        let issuer = IssuerType::from(self.issuer.as_deref()?);
        Some(IssuerConfigurationType::builder().r#type(issuer).build())
    }
}

/// All of a live pool that UpdateUserPool takes: what it is not told, it resets.
fn all_of(live: UserPoolType, update: UpdateUserPoolFluentBuilder) -> UpdateUserPoolFluentBuilder {
    let template = verification_message_template(&live);
    let policies = filled(live.policies, &UserPoolPolicyType::builder().build());
    let password = policies.as_ref().and_then(UserPoolPolicyType::password_policy);
    let mut admin = live.admin_create_user_config;
    if let Some(admin) = &mut admin
        && password.is_some_and(|password| password.temporary_password_validity_days != 0)
    {
        // Cognito may answer both and refuses the older one then.
        admin.unused_account_validity_days = 0;
    }
    // AWS's own tags are answered and may not be sent.
    let tags = live.user_pool_tags.unwrap_or_default().into_iter().filter(|(key, _)| !key.starts_with("aws:"));
    update
        .set_pool_name(live.name)
        .set_policies(policies)
        .set_deletion_protection(live.deletion_protection)
        .set_lambda_config(filled(live.lambda_config, &LambdaConfigType::builder().build()))
        .set_auto_verified_attributes(filled(live.auto_verified_attributes, &Vec::new()))
        .set_verification_message_template(template)
        .set_sms_authentication_message(live.sms_authentication_message)
        .set_user_attribute_update_settings(live.user_attribute_update_settings.filter(
            |settings| !settings.attributes_require_verification_before_update().is_empty(),
        ))
        .set_mfa_configuration(live.mfa_configuration)
        .set_device_configuration(live.device_configuration)
        .set_email_configuration(filled(live.email_configuration, &EmailConfigurationType::builder().build()))
        .set_sms_configuration(live.sms_configuration.filter(|sms| !sms.sns_caller_arn.is_empty() || sms.eums_sms.is_some()))
        .set_user_pool_tags(Some(tags.collect()))
        .set_admin_create_user_config(admin)
        .set_user_pool_add_ons(live.user_pool_add_ons)
        .set_account_recovery_setting(filled(
            live.account_recovery_setting,
            &AccountRecoverySettingType::builder().build(),
        ))
        .set_user_pool_tier(live.user_pool_tier)
        .set_key_configuration(filled(live.key_configuration, &KeyConfigurationType::builder().build()))
        .set_issuer_configuration(filled(
            live.issuer_configuration,
            &IssuerConfigurationType::builder().build(),
        ))
        .set_acr_configuration(live.acr_configuration.filter(|levels| !levels.is_empty()))
}

/// The three older fields in their newer place: Cognito answers both and takes one of them. It also refuses the message
/// with a code beside the message with a link: then only the message that users get is kept.
fn verification_message_template(live: &UserPoolType) -> Option<VerificationMessageTemplateType> {
    let empty = VerificationMessageTemplateType::builder().build();
    let mut template = live.verification_message_template.clone().unwrap_or_else(|| empty.clone());
    template.sms_message = template.sms_message.or_else(|| live.sms_verification_message.clone());
    template.email_message = template.email_message.or_else(|| live.email_verification_message.clone());
    template.email_subject = template.email_subject.or_else(|| live.email_verification_subject.clone());
    if template.email_message.is_some() && template.email_message_by_link.is_some() {
        if template.default_email_option == Some(DefaultEmailOptionType::ConfirmWithLink) {
            template.email_message = None;
            template.email_subject = None;
        } else {
            template.email_message_by_link = None;
            template.email_subject_by_link = None;
        }
    }
    filled(Some(template), &empty)
}

fn filled<T: PartialEq>(block: Option<T>, empty: &T) -> Option<T> {
    block.filter(|block| block != empty)
}

/// Takes out what the SDK writes for a field that is not set and that Cognito refuses: `UnusedAccountValidityDays`, where
/// `TemporaryPasswordValidityDays` has taken its place, and `SnsCallerArn`, where `EumsSms` has.
fn leave_out_unset(request: &mut HttpRequest) {
    let body = request.body().bytes().map(serde_json::from_slice::<serde_json::Value>);
    let Some(Ok(mut body)) = body else { return };
    let mut is_changed = false;
    for (block, field, unset) in [
        ("AdminCreateUserConfig", "UnusedAccountValidityDays", serde_json::json!(0)),
        ("SmsConfiguration", "SnsCallerArn", serde_json::json!("")),
    ] {
        if let Some(block) = body.get_mut(block).and_then(serde_json::Value::as_object_mut)
            && block.get(field) == Some(&unset)
        {
            block.remove(field);
            is_changed = true;
        }
    }
    if is_changed {
        let body = body.to_string();
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = body.into();
    }
}

fn protection(on: bool) -> DeletionProtectionType {
    if on { DeletionProtectionType::Active } else { DeletionProtectionType::Inactive }
}

fn is_protected(pool: &UserPoolType) -> bool {
    pool.deletion_protection() == Some(&DeletionProtectionType::Active)
}

/// Makes a pool that was described a moment ago what `pool` is.
async fn put(cx: &Cx<Aws>, id: &str, pool: UserPoolType) -> Result<()> {
    let sms_role = pool.sms_configuration().and_then(sms_role).map(str::to_owned);
    let update = all_of(pool, cx.cloud().cognito.update_user_pool().user_pool_id(id));
    let sent = update.customize().mutate_request(leave_out_unset).send();
    match (once("cognito-idp:UpdateUserPool", sent).await, sms_role) {
        (Err(error), Some(role)) if is_about_the_sms_role(&error) => Err(anyhow::Error::new(error).context(format!(
            "an update of user pool {id} must send back its SMS configuration, which someone else set: that needs the \
             permission iam:PassRole on the role {role}, and a role that Cognito accepts"
        ))),
        (answer, _) => answer.map(drop).map_err(Into::into),
    }
}

/// The role with which Cognito sends text messages.
fn sms_role(sms: &SmsConfigurationType) -> Option<&str> {
    let sns = Some(sms.sns_caller_arn()).filter(|role| !role.is_empty());
    sns.or_else(|| sms.eums_sms().map(EumsSmsConfigurationType::caller_arn))
}

/// Whether Cognito refused an update of a pool that has such a role because of the role. A refusal that names an action of
/// Cognito's own has another reason.
fn is_about_the_sms_role(error: &CallError) -> bool {
    match error.class {
        Class::Denied => !error.message.contains("to perform: cognito-idp:"),
        _ => error.code.as_deref().is_some_and(|code| code.starts_with("InvalidSmsRole")),
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
    const SHAPES: &'static [(&'static str, Shape)] = &[
        ("output.id", ids::POOL),
        ("output.arn", ids::ARN),
    ];
    const LOSES: Option<&'static str> = Some("its users, and every client's client_id and secret");
    const PROTECTION: Option<&'static str> = Some("deletion_protection");
    const SHARES_NAMES: bool = true;

    fn id(&self, out: &Output) -> String {
        out.id.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let mut pages = Pages::of("cognito-idp:ListUserPools");
        loop {
            // The list has no tags and knows no filter; 60 is the most that one page holds.
            let list = || {
                cx.cloud().cognito.list_user_pools().max_results(60).set_next_token(pages.token()).send()
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
            if !pages.turn(page.next_token)? {
                return Ok(None);
            }
        }
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let admin = AdminCreateUserConfigType::builder()
            .allow_admin_create_user_only(self.admin_create_user_only)
            .build();
        let create = || {
            cx.cloud()
                .cognito
                .create_user_pool()
                .pool_name(&self.name)
                .admin_create_user_config(admin.clone())
                .set_issuer_configuration(self.issuer_configuration())
                .mfa_configuration(UserPoolMfaType::Off)
                .user_pool_tier(UserPoolTierType::from(self.tier.as_str()))
                .deletion_protection(protection(self.deletion_protection))
                .set_user_pool_tags(Some(tags::map(&self.tags)))
                .customize()
                .config_override(Config::builder().retry_config(RetryConfig::disabled()))
                .mutate_request(leave_out_unset)
                .send()
        };
        let answer = cx.call("cognito-idp:CreateUserPool", create).await?;
        output(answer.user_pool.context("cognito-idp:CreateUserPool answered no pool")?)
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let Some(pool) = self.describe(cx, &out.id).await? else {
            return Ok(None);
        };
        self.check(out, &pool)?;
        let admin = pool.admin_create_user_config();
        let issuer = pool.issuer_configuration().and_then(IssuerConfigurationType::r#type);
        Ok(Some(Self {
            name: pool.name().unwrap_or_default().to_owned(),
            admin_create_user_only: admin.is_some_and(AdminCreateUserConfigType::allow_admin_create_user_only),
            issuer: issuer.map(|issuer| issuer.as_str().to_owned()),
            tier: pool.user_pool_tier().map_or("ESSENTIALS", UserPoolTierType::as_str).to_owned(),
            deletion_protection: is_protected(&pool),
            tags: tags::managed(&self.tags, tags::pairs(pool.user_pool_tags())),
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Output> {
        let cognito = &cx.cloud().cognito;
        let changed = tags::changed(&before.tags, &self.tags);
        let removed = tags::removed(&before.tags, &self.tags);
        let with_our_tags = Self {
            tags: self.tags.clone(),
            ..before.clone()
        };
        if with_our_tags != *self {
            cx.repeat("cognito-idp:UpdateUserPool", || async {
                let live = self.describe(cx, &out.id).await?;
                let mut live = live.with_context(|| format!("user pool {} is not there any more", out.id))?;
                self.change(before, &mut live);
                put(cx, &out.id, live).await
            })
            .await?;
        } else if !changed.is_empty() {
            let tag =
                || cognito.tag_resource().resource_arn(&out.arn).set_tags(Some(tags::map(&changed))).send();
            cx.call("cognito-idp:TagResource", tag).await?;
        }
        // Nothing says whether an update with fewer tags takes the others away.
        if !removed.is_empty() {
            let untag = || {
                cognito.untag_resource().resource_arn(&out.arn).set_tag_keys(Some(removed.clone())).send()
            };
            cx.call("cognito-idp:UntagResource", untag).await?;
        }
        Ok(out)
    }

    async fn unprotect(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        cx.repeat("cognito-idp:UpdateUserPool", || async {
            let Some(mut live) = self.describe(cx, &out.id).await? else {
                return Ok(());
            };
            if !is_protected(&live) {
                return Ok(());
            }
            live.deletion_protection = Some(protection(false));
            put(cx, &out.id, live).await
        })
        .await
    }

    async fn check_owner(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        match self.describe(cx, &out.id).await? {
            Some(pool) => Ok(self.check(out, &pool)?),
            None => Ok(()),
        }
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete = || cx.cloud().cognito.delete_user_pool().user_pool_id(&out.id).send();
        match unless_gone(cx.call("cognito-idp:DeleteUserPool", delete).await) {
            Ok(_) => Ok(()),
            Err(error) if error.class == Class::Refused => match self.foreign_domain(cx, out, &error).await? {
                Some(foreign) => Err(foreign.into()),
                None => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cognitoidentityprovider::Client as Sdk;
    use aws_sdk_cognitoidentityprovider::operation::update_user_pool::UpdateUserPoolInput;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::test_support::{
        attempts, cognito, cognito_wire, differing, failed, ok, on, our_tags, our_tags_and_more, refused,
        strangers_tags, with,
    };
    use crate::resource::{in_the_way, is_stranger};

    const ARN: &str = "arn:aws:cognito-idp:eu-central-1:111122223333:userpool/eu-central-1_ours";

    fn desired() -> UserPool {
        UserPool {
            name: "user-api".to_owned(),
            admin_create_user_only: true,
            issuer: Some("ORIGINAL".to_owned()),
            tier: "ESSENTIALS".to_owned(),
            deletion_protection: false,
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
            "DeletionProtection": "INACTIVE",
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
        for answer in [live("eu-central-1_ours", &our_tags()), live("eu-central-1_ours", &our_tags_and_more())] {
            let cx = cognito([on!(Sdk::describe_user_pool, ok(answer.clone()))]);
            assert_eq!(desired().read(&cx, &out()).await.unwrap(), Some(desired()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_is_not_answered_is_unknown() {
        let mut answer = live("eu-central-1_ours", &our_tags());
        answer["UserPool"]["IssuerConfiguration"].take();
        let cx = cognito([on!(Sdk::describe_user_pool, ok(answer.clone()))]);
        let live = desired().read(&cx, &out()).await.unwrap().unwrap();
        assert_eq!(live, UserPool { issuer: None, ..desired() });
    }

    #[tokio::test(start_paused = true)]
    async fn each_foreign_edit_is_told_as_the_field_it_is_in() {
        for (field, at, edit) in [
            ("name", "/Name", json!("theirs")),
            ("admin_create_user_only", "/AdminCreateUserConfig/AllowAdminCreateUserOnly", json!(false)),
            ("issuer", "/IssuerConfiguration/Type", json!("UPDATED")),
            ("tier", "/UserPoolTier", json!("PLUS")),
            ("deletion_protection", "/DeletionProtection", json!("ACTIVE")),
            ("tags", "/UserPoolTags/provision:stack", json!("renamed")),
        ] {
            let mut answer = live("eu-central-1_ours", &our_tags());
            *answer["UserPool"].pointer_mut(at).unwrap() = edit;
            let cx = cognito([on!(Sdk::describe_user_pool, ok(answer.clone()))]);
            let live = desired().read(&cx, &out()).await.unwrap().unwrap();
            assert_eq!(differing(&desired(), &live), [field]);
        }
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
        for key in ["Domain", "CustomDomain"] {
            let mut pool = live("eu-central-1_ours", &our_tags());
            pool["UserPool"][key] = json!("theirs");
            let cx = cognito([
                on!(Sdk::delete_user_pool, refused(400, "InvalidParameterException", reason)),
                on!(Sdk::describe_user_pool, ok(pool.clone())),
            ]);
            let error = desired().delete(&cx, &out()).await.unwrap_err();
            let command = "aws cognito-idp delete-user-pool-domain --user-pool-id eu-central-1_ours --domain theirs";
            assert_eq!(in_the_way(&error).expect("it is named").command, command);
            let (class, text) = failed::<()>(Err(error));
            assert_eq!(class, Some(Class::Refused));
            assert!(text.contains(reason) && text.contains("the domain theirs"), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_without_our_tag_is_a_strangers_whatever_the_record_says() {
        for tags in [strangers_tags(), Tags::new()] {
            let answer = live("eu-central-1_ours", &tags);
            let describe = |answer: Value| on!(Sdk::describe_user_pool, ok(answer.clone()));
            let cx = cognito([describe(answer.clone()), describe(answer)]);
            let read = desired().read(&cx, &out()).await.unwrap_err();
            let deleted = desired().check_owner(&cx, &out()).await.unwrap_err();
            assert!(is_stranger(&read) && is_stranger(&deleted), "{read:#} {deleted:#}");
            assert!(read.to_string().contains("user pool eu-central-1_ours"), "{read:#}");
        }
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

    /// All that UpdateUserPool takes beside the name, none of it ours alone, as it is answered and as it is sent.
    fn kept() -> Value {
        json!({
            "Policies": {
                "PasswordPolicy": {
                    "MinimumLength": 12, "RequireUppercase": true, "RequireLowercase": false, "RequireNumbers": true,
                    "RequireSymbols": false, "PasswordHistorySize": 3, "TemporaryPasswordValidityDays": 5,
                },
                "SignInPolicy": {"AllowedFirstAuthFactors": ["PASSWORD", "EMAIL_OTP"]},
            },
            "DeletionProtection": "INACTIVE",
            "LambdaConfig": {
                "PreSignUp": "arn:aws:lambda:eu-central-1:111122223333:function:theirs",
                "PreTokenGenerationConfig": {
                    "LambdaVersion": "V3_0",
                    "LambdaArn": "arn:aws:lambda:eu-central-1:111122223333:function:theirs",
                },
            },
            "AutoVerifiedAttributes": ["email"],
            "VerificationMessageTemplate": {
                "SmsMessage": "{####}", "EmailMessage": "code {####}", "EmailSubject": "your code",
                "DefaultEmailOption": "CONFIRM_WITH_CODE",
            },
            "SmsAuthenticationMessage": "sign in with {####}",
            "UserAttributeUpdateSettings": {"AttributesRequireVerificationBeforeUpdate": ["email"]},
            "MfaConfiguration": "OPTIONAL",
            "DeviceConfiguration": {"ChallengeRequiredOnNewDevice": true, "DeviceOnlyRememberedOnUserPrompt": false},
            "EmailConfiguration": {
                "SourceArn": "arn:aws:ses:eu-central-1:111122223333:identity/them@example.com",
                "EmailSendingAccount": "DEVELOPER",
            },
            "SmsConfiguration": {"SnsCallerArn": "arn:aws:iam::111122223333:role/sms", "ExternalId": "e"},
            "UserPoolTags": our_tags_and_more(),
            "AdminCreateUserConfig": {
                "AllowAdminCreateUserOnly": true,
                "InviteMessageTemplate": {"EmailMessage": "{username} {####}", "EmailSubject": "welcome"},
            },
            "UserPoolAddOns": {"AdvancedSecurityMode": "AUDIT"},
            "AccountRecoverySetting": {"RecoveryMechanisms": [{"Priority": 1, "Name": "verified_email"}]},
            "UserPoolTier": "ESSENTIALS",
            "KeyConfiguration": {"KeyType": "AWS_OWNED_KEY"},
            "IssuerConfiguration": {"Type": "ORIGINAL"},
            "AcrConfiguration": {"MFA": {"AcrValue": "urn:theirs:mfa"}},
        })
    }

    /// A pool on which others have set all that can be set.
    fn crowded() -> Value {
        let mut pool = with(kept(), json!({
            "Id": "eu-central-1_ours", "Arn": ARN, "Name": "user-api", "Status": "Enabled", "Domain": "d",
            "CreationDate": 1.0, "LastModifiedDate": 2.0, "EstimatedNumberOfUsers": 7,
            "SchemaAttributes": [{"Name": "sub", "AttributeDataType": "String"}],
            "UsernameAttributes": ["email"], "UsernameConfiguration": {"CaseSensitive": false},
            "SmsVerificationMessage": "{####}", "EmailVerificationMessage": "code {####}",
            "EmailVerificationSubject": "your code", "EmailConfigurationFailure": "none",
        }));
        pool["AdminCreateUserConfig"]["UnusedAccountValidityDays"] = json!(5);
        pool["UserPoolTags"]["aws:servicecatalog:portfolio"] = json!("p");
        json!({"UserPool": pool})
    }

    fn described() -> (String, Value) {
        ("DescribeUserPool".to_owned(), json!({"UserPoolId": "eu-central-1_ours"}))
    }

    /// The whole of the crowded pool but for these fields.
    fn updated(fields: Value) -> (String, Value) {
        let all = with(kept(), json!({"UserPoolId": "eu-central-1_ours", "PoolName": "user-api"}));
        ("UpdateUserPool".to_owned(), with(all, fields))
    }

    #[allow(clippy::needless_pass_by_value)] // reads better around `json!`
    fn tagged(tags: Value) -> (String, Value) {
        ("TagResource".to_owned(), json!({"ResourceArn": ARN, "Tags": tags}))
    }

    fn untagged(key: &str) -> (String, Value) {
        ("UntagResource".to_owned(), json!({"ResourceArn": ARN, "TagKeys": [key]}))
    }

    fn done() -> HttpResponse {
        ok(json!({}))
    }

    fn tagged_pool(key: &str, value: &str) -> UserPool {
        let mut pool = desired();
        pool.tags.insert(key.to_owned(), value.to_owned());
        pool
    }

    #[tokio::test(start_paused = true)]
    async fn each_field_is_changed_alone_and_all_that_others_set_is_kept() {
        let d = desired;
        for (now, fields) in [
            (UserPool { name: "renamed".to_owned(), ..d() }, json!({"PoolName": "renamed"})),
            (UserPool { tier: "PLUS".to_owned(), ..d() }, json!({"UserPoolTier": "PLUS"})),
            (UserPool { deletion_protection: true, ..d() }, json!({"DeletionProtection": "ACTIVE"})),
            (UserPool { issuer: Some("UPDATED".to_owned()), ..d() }, json!({"IssuerConfiguration": {"Type": "UPDATED"}})),
            (UserPool { admin_create_user_only: false, ..d() }, json!({"AdminCreateUserConfig": {
                "AllowAdminCreateUserOnly": false,
                "InviteMessageTemplate": {"EmailMessage": "{username} {####}", "EmailSubject": "welcome"},
            }})),
        ] {
            let (cx, wire) = cognito_wire([ok(crowded()), done()]);
            now.update(&cx, &desired(), out()).await.unwrap();
            assert_eq!(wire.sent(), [described(), updated(fields)]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn its_protection_is_switched_off_alone_and_all_that_others_set_is_kept() {
        let mut answer = crowded();
        answer["UserPool"]["DeletionProtection"] = json!("ACTIVE");
        let busy = refused(400, "ConcurrentModificationException", "busy");
        let (cx, wire) = cognito_wire([ok(answer.clone()), busy, ok(answer), done()]);
        desired().unprotect(&cx, &out()).await.unwrap();
        let updated = || updated(json!({"DeletionProtection": "INACTIVE"}));
        assert_eq!(wire.sent(), [described(), updated(), described(), updated()]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_protected_or_gone_is_not_updated_to_be_deleted() {
        let gone = refused(400, "ResourceNotFoundException", "User pool eu-central-1_ours does not exist.");
        let (cx, wire) = cognito_wire([ok(crowded()), gone]);
        desired().unprotect(&cx, &out()).await.unwrap();
        desired().unprotect(&cx, &out()).await.unwrap();
        assert_eq!(wire.sent(), [described(), described()]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_was_protected_meanwhile_is_not_deleted_and_the_reason_is_told() {
        let reason = "The user pool cannot be deleted because deletion protection is activated.";
        let cx = cognito([
            on!(Sdk::delete_user_pool, refused(400, "InvalidParameterException", reason)),
            on!(Sdk::describe_user_pool, ok(live("eu-central-1_ours", &our_tags()))),
        ]);
        let (class, text) = failed(desired().delete(&cx, &out()).await);
        assert_eq!(class, Some(Class::Refused));
        assert!(text.contains(reason), "{text}");
    }

    /// An SDK that knows more than this file would have it reset.
    #[test]
    fn all_that_an_update_takes_is_kept() {
        let (_, request) = updated(json!({}));
        for member in UpdateUserPoolInput::SCHEMA.members() {
            let name = member.member_name().unwrap();
            let older = ["SmsVerificationMessage", "EmailVerificationMessage", "EmailVerificationSubject"].contains(&name);
            assert!(older || request.get(name).is_some(), "{name} is not among what is kept");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_differs_there_is_no_call() {
        let (cx, wire) = cognito_wire([]);
        desired().update(&cx, &desired(), out()).await.unwrap();
        assert_eq!(wire.sent(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_is_unknown_is_set() {
        let mut answer = crowded();
        answer["UserPool"]["IssuerConfiguration"].take();
        let (cx, wire) = cognito_wire([ok(answer), done()]);
        let before = UserPool { issuer: None, ..desired() };
        desired().update(&cx, &before, out()).await.unwrap();
        assert_eq!(wire.sent(), [described(), updated(json!({}))]);
    }

    #[tokio::test(start_paused = true)]
    async fn tags_alone_are_set_and_taken_away_without_an_update() {
        let (cx, wire) = cognito_wire([done(), done(), done(), done()]);
        tagged_pool("team", "a").update(&cx, &desired(), out()).await.unwrap();
        desired().update(&cx, &tagged_pool("team", "a"), out()).await.unwrap();
        tagged_pool("squad", "b").update(&cx, &tagged_pool("team", "a"), out()).await.unwrap();
        let sent = [
            tagged(json!({"team": "a"})),
            untagged("team"),
            tagged(json!({"squad": "b"})),
            untagged("team"),
        ];
        assert_eq!(wire.sent(), sent);
    }

    #[tokio::test(start_paused = true)]
    async fn tags_beside_another_field_go_with_it_and_those_that_go_are_also_taken_away() {
        let mut answer = crowded();
        answer["UserPool"]["UserPoolTags"]["team"] = json!("a");
        let (cx, wire) = cognito_wire([ok(answer), done(), done()]);
        let now = UserPool { tier: "PLUS".to_owned(), ..tagged_pool("squad", "b") };
        now.update(&cx, &tagged_pool("team", "a"), out()).await.unwrap();
        let tags = with(json!(our_tags_and_more()), json!({"squad": "b"}));
        let update = updated(json!({"UserPoolTier": "PLUS", "UserPoolTags": tags}));
        assert_eq!(wire.sent(), [described(), update, untagged("team")]);
    }

    #[tokio::test(start_paused = true)]
    async fn older_fields_are_kept_where_no_newer_one_has_taken_their_place_and_empty_blocks_are_left_out() {
        let answer = json!({"UserPool": {
            "Id": "eu-central-1_ours", "Arn": ARN, "Name": "user-api", "UserPoolTags": {},
            "Policies": {"PasswordPolicy": {"MinimumLength": 8}}, "LambdaConfig": {}, "AutoVerifiedAttributes": [],
            "UserAttributeUpdateSettings": {"AttributesRequireVerificationBeforeUpdate": []},
            "EmailConfiguration": {}, "SmsConfiguration": {}, "AccountRecoverySetting": {}, "KeyConfiguration": {},
            "IssuerConfiguration": {}, "AcrConfiguration": {},
            "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": true, "UnusedAccountValidityDays": 9},
            "VerificationMessageTemplate": {"DefaultEmailOption": "CONFIRM_WITH_LINK", "EmailSubject": "newer"},
            "SmsVerificationMessage": "{####}", "EmailVerificationMessage": "code {####}",
            "EmailVerificationSubject": "older",
        }});
        let (cx, wire) = cognito_wire([ok(answer), done()]);
        let now = UserPool { name: "renamed".to_owned(), ..desired() };
        now.update(&cx, &desired(), out()).await.unwrap();
        let request = json!({
            "UserPoolId": "eu-central-1_ours", "PoolName": "renamed", "UserPoolTags": {},
            // The SDK writes what is not set; a zero of these days means the default.
            "Policies": {"PasswordPolicy": {
                "MinimumLength": 8, "RequireUppercase": false, "RequireLowercase": false, "RequireNumbers": false,
                "RequireSymbols": false, "TemporaryPasswordValidityDays": 0,
            }},
            "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": true, "UnusedAccountValidityDays": 9},
            "VerificationMessageTemplate": {
                "DefaultEmailOption": "CONFIRM_WITH_LINK", "SmsMessage": "{####}", "EmailMessage": "code {####}",
                "EmailSubject": "newer",
            },
        });
        assert_eq!(wire.sent()[1], ("UpdateUserPool".to_owned(), request));
    }

    fn renamed() -> UserPool {
        UserPool { name: "renamed".to_owned(), ..desired() }
    }

    /// As Cognito answers an update with both messages.
    fn one_message_only(input: &UpdateUserPoolInput) {
        let template = input.verification_message_template().unwrap();
        assert!(
            template.email_message().is_none() || template.email_message_by_link().is_none(),
            "InvalidParameterException: EmailMessage and EmailMessageByLink"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_message_with_a_code_and_one_with_a_link_the_one_that_users_get_is_kept() {
        let both = json!({
            "SmsMessage": "{####}", "EmailMessage": "code {####}", "EmailSubject": "your code",
            "EmailMessageByLink": "{##click##}", "EmailSubjectByLink": "your link",
        });
        let code = json!({"EmailMessage": "code {####}", "EmailSubject": "your code"});
        let link = json!({"EmailMessageByLink": "{##click##}", "EmailSubjectByLink": "your link"});
        for (option, kept) in [("CONFIRM_WITH_LINK", link), ("CONFIRM_WITH_CODE", code.clone()), ("", code)] {
            let option = if option.is_empty() { json!({}) } else { json!({"DefaultEmailOption": option}) };
            let mut answer = crowded();
            answer["UserPool"]["VerificationMessageTemplate"] = with(both.clone(), option.clone());
            let kept = with(with(json!({"SmsMessage": "{####}"}), kept), option);
            let (cx, wire) = cognito_wire([ok(answer.clone()), done()]);
            renamed().update(&cx, &desired(), out()).await.unwrap();
            let update = updated(json!({"PoolName": "renamed", "VerificationMessageTemplate": kept}));
            assert_eq!(wire.sent()[1], update);

            // And while the protection is switched off. The older fields are not taken for the other message.
            let pool = &mut answer["UserPool"];
            pool["DeletionProtection"] = json!("ACTIVE");
            pool["VerificationMessageTemplate"].as_object_mut().unwrap().remove("EmailMessage");
            let cx = cognito([
                on!(Sdk::describe_user_pool, ok(answer.clone())),
                on!(Sdk::update_user_pool, |i| { one_message_only(i) }, done()),
            ]);
            desired().unprotect(&cx, &out()).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_someones_sms_role_names_the_role_and_the_permission() {
        let role = "arn:aws:iam::111122223333:role/sms";
        let denied = "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: iam:PassRole on resource: \
                      arn:aws:iam::111122223333:role/sms because no identity-based policy allows the iam:PassRole action";
        for (code, reason) in [
            ("AccessDeniedException", denied),
            ("AccessDeniedException", "the service gave no action"),
            ("InvalidSmsRoleTrustRelationshipException", "Role does not have a trust relationship"),
            ("InvalidSmsRoleAccessPolicyException", "Role does not have permission to publish with SNS"),
        ] {
            for eums in [false, true] {
                let mut answer = crowded();
                answer["UserPool"]["DeletionProtection"] = json!("ACTIVE");
                if eums {
                    answer["UserPool"]["SmsConfiguration"] = json!({"EumsSms": {"CallerArn": role}});
                }
                let answers = || [ok(answer.clone()), refused(400, code, reason)];
                let (cx, wire) = cognito_wire(answers().into_iter().chain(answers()));
                let updated = renamed().update(&cx, &desired(), out()).await.map(drop);
                let unprotected = desired().unprotect(&cx, &out()).await;
                assert_eq!(wire.sent().len(), 4, "neither is repeated");
                let class = if code == "AccessDeniedException" { Class::Denied } else { Class::Refused };
                for result in [updated, unprotected] {
                    let (is, text) = failed(result);
                    assert_eq!(is, Some(class));
                    assert!(text.contains(&format!("iam:PassRole on the role {role},")), "{text}");
                    assert!(text.contains("user pool eu-central-1_ours") && text.contains(reason), "{text}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_the_update_itself_does_not_blame_the_sms_role() {
        let reason = "User: u is not authorized to perform: cognito-idp:UpdateUserPool on resource: r";
        let refusal = || refused(400, "AccessDeniedException", reason);
        let mut without = crowded();
        without["UserPool"].as_object_mut().unwrap().remove("SmsConfiguration");
        let other = refused(400, "AccessDeniedException", "no reason");
        let (cx, _) = cognito_wire([ok(crowded()), refusal(), ok(without), other]);
        for reason in [reason, "no reason"] {
            let (class, text) = failed(renamed().update(&cx, &desired(), out()).await);
            assert_eq!(class, Some(Class::Denied));
            assert!(text.contains(reason) && !text.contains("SMS"), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn text_messages_of_the_newer_service_are_kept_without_an_empty_role() {
        let sms = json!({"EumsSms": {"CallerArn": "arn:aws:iam::111122223333:role/sms"}});
        let mut answer = crowded();
        answer["UserPool"]["SmsConfiguration"] = sms.clone();
        let (cx, wire) = cognito_wire([ok(answer), done()]);
        renamed().update(&cx, &desired(), out()).await.unwrap();
        assert_eq!(wire.sent()[1], updated(json!({"PoolName": "renamed", "SmsConfiguration": sms})));
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_changed_meanwhile_is_not_undone() {
        let mut meanwhile = crowded();
        meanwhile["UserPool"]["MfaConfiguration"] = json!("ON");
        let concurrent = refused(400, "ConcurrentModificationException", "another change is under way");
        let (cx, wire) = cognito_wire([ok(crowded()), concurrent, ok(meanwhile), done()]);
        let now = UserPool { tier: "PLUS".to_owned(), ..desired() };
        now.update(&cx, &desired(), out()).await.unwrap();
        let second = updated(json!({"UserPoolTier": "PLUS", "MfaConfiguration": "ON"}));
        assert_eq!(wire.sent()[2..], [described(), second]);
        assert!(cx.waits()[0].contains("ConcurrentModificationException"), "{:?}", cx.waits());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_is_under_way_for_ever_ends_with_the_reason() {
        let began = tokio::time::Instant::now();
        let concurrent = || refused(400, "ConcurrentModificationException", "another change is under way");
        // After 1, 2, 3, 4 and from then on 5 seconds, for two minutes.
        let cx = cognito((0..27).flat_map(|_| {
            [on!(Sdk::describe_user_pool, ok(crowded())), on!(Sdk::update_user_pool, concurrent())]
        }));
        let now = UserPool { tier: "PLUS".to_owned(), ..desired() };
        let (class, text) = failed(now.update(&cx, &desired(), out()).await);
        assert_eq!(class, Some(Class::NotReady));
        assert!(text.contains("another change is under way"), "{text}");
        assert!(began.elapsed() < std::time::Duration::from_mins(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_update_is_an_error_at_once() {
        for code in [
            "TierChangeNotAllowedException", "FeatureUnavailableInTierException", "UserImportInProgressException",
            "UserPoolTaggingException", "InvalidParameterException",
        ] {
            let (cx, wire) = cognito_wire([ok(crowded()), refused(400, code, "the reason")]);
            let now = UserPool { tier: "LITE".to_owned(), ..desired() };
            let (class, text) = failed(now.update(&cx, &desired(), out()).await);
            assert_eq!((class, wire.sent().len()), (Some(Class::Refused), 2));
            assert!(text.contains(code) && text.contains("the reason"), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_of_what_is_gone_is_an_error_that_says_so() {
        let gone = || refused(400, "ResourceNotFoundException", "User pool eu-central-1_ours does not exist.");
        let now = UserPool { tier: "PLUS".to_owned(), ..desired() };
        let (cx, _) = cognito_wire([gone(), ok(crowded()), gone(), gone()]);
        let (_, text) = failed(now.update(&cx, &desired(), out()).await);
        assert!(text.contains("user pool eu-central-1_ours is not there any more"), "{text}");
        assert_eq!(failed(now.update(&cx, &desired(), out()).await).0, Some(Class::Gone));
        assert_eq!(failed(tagged_pool("a", "b").update(&cx, &desired(), out()).await).0, Some(Class::Gone));
    }

    #[tokio::test(start_paused = true)]
    async fn days_that_are_not_set_are_not_sent() {
        let (cx, wire) = cognito_wire([ok(live("eu-central-1_ours", &our_tags()))]);
        desired().create(&cx).await.unwrap();
        assert_eq!(wire.sent()[0].1["AdminCreateUserConfig"], json!({"AllowAdminCreateUserOnly": true}));
    }
}
