//! The Cognito user pool: the issuer of the tokens.
//!
//! Must not allow users to sign up: only app clients get tokens.

use anyhow::Context;
use aws_sdk_cognitoidentityprovider::config::Config;
use aws_sdk_cognitoidentityprovider::config::http::HttpRequest;
use aws_sdk_cognitoidentityprovider::config::retry::RetryConfig;
use aws_sdk_cognitoidentityprovider::operation::describe_user_pool::DescribeUserPoolOutput;
use aws_sdk_cognitoidentityprovider::operation::update_user_pool::builders::UpdateUserPoolFluentBuilder;
use aws_sdk_cognitoidentityprovider::types::{
    AccountRecoverySettingType, AdminCreateUserConfigType, DefaultEmailOptionType, DeletionProtectionType,
    EmailConfigurationType, EumsSmsConfigurationType, IssuerConfigurationType, IssuerType,
    KeyConfigurationType, LambdaConfigType, SmsConfigurationType, UserPoolMfaType, UserPoolPolicyType,
    UserPoolTierType, UserPoolType, VerificationMessageTemplateType,
};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::ids::{self, PoolId};
use crate::aws::pages::Pages;
use crate::aws::tags::{self, Tags};
use crate::aws::wait::{once, unless_gone};
use crate::resource::{CallError, Class, Cx, InTheWay, Kind, Published, Resource, Result, Stranger, Updated};

/// A user pool. Its name is not unique; the owner in its tags tells it from others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserPool {
    /// 1 to 128 characters.
    pub name: String,
    /// Only an administrator may create users. AWS's own default is that everyone may sign up.
    pub admin_create_user_only: bool,
    /// `ORIGINAL`: the issuer is `https://cognito-idp.<region>.amazonaws.com/<pool>`, which the authorizer of a REST
    /// API accepts. The live value is `None` if the service does not return it.
    pub issuer: Option<String>,
    /// `LITE`, `ESSENTIALS` or `PLUS`.
    pub tier: String,
    /// Whether Cognito refuses to delete it.
    pub deletion_protection: bool,
    /// The stack's tags, including the owner.
    pub tags: Tags,
}

/// What dependents and calls need of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// `<region>_<random>`.
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

impl UserPool {
    async fn describe(&self, cx: &Cx<Aws>, id: &PoolId) -> Result<Option<UserPoolType>> {
        let answer = cx.user_pool(id.as_str()).await?;
        let pool = |answer: &DescribeUserPoolOutput| answer.user_pool().cloned();
        (answer.as_ref().as_ref())
            .map(|answer| pool(answer).context("cognito-idp:DescribeUserPool answered no pool"))
            .transpose()
    }

    fn check(&self, out: &Output, live: &UserPoolType) -> Result<(), Stranger> {
        tags::check(&self.tags, tags::pairs(live.user_pool_tags()), || {
            format!("user pool {}", out.id)
        })
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

    /// Sets in a live pool the fields that differ from `before`.
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

/// Every setting of a live pool that UpdateUserPool takes: it resets what is left out.
fn all_of(live: UserPoolType, update: UpdateUserPoolFluentBuilder) -> UpdateUserPoolFluentBuilder {
    let template = verification_message_template(&live);
    let policies = filled(live.policies, &UserPoolPolicyType::builder().build());
    let password = policies.as_ref().and_then(UserPoolPolicyType::password_policy);
    let mut admin = live.admin_create_user_config;
    if let Some(admin) = &mut admin
        && password.is_some_and(|password| password.temporary_password_validity_days != 0)
    {
        // Cognito may return both, and then refuses the older one.
        admin.unused_account_validity_days = 0;
    }
    // Cognito returns AWS's own tags, and refuses them in a request.
    let tags = live
        .user_pool_tags
        .unwrap_or_default()
        .into_iter()
        .filter(|(key, _)| !key.starts_with("aws:"));
    update
        .set_pool_name(live.name)
        .set_policies(policies)
        .set_deletion_protection(live.deletion_protection)
        .set_lambda_config(filled(live.lambda_config, &LambdaConfigType::builder().build()))
        .set_auto_verified_attributes(filled(live.auto_verified_attributes, &Vec::new()))
        .set_verification_message_template(template)
        .set_sms_authentication_message(live.sms_authentication_message)
        .set_user_attribute_update_settings(live.user_attribute_update_settings.filter(|settings| {
            !settings
                .attributes_require_verification_before_update()
                .is_empty()
        }))
        .set_mfa_configuration(live.mfa_configuration)
        .set_device_configuration(live.device_configuration)
        .set_email_configuration(filled(
            live.email_configuration,
            &EmailConfigurationType::builder().build(),
        ))
        .set_sms_configuration(
            live.sms_configuration
                .filter(|sms| !sms.sns_caller_arn.is_empty() || sms.eums_sms.is_some()),
        )
        .set_user_pool_tags(Some(tags.collect()))
        .set_admin_create_user_config(admin)
        .set_user_pool_add_ons(live.user_pool_add_ons)
        .set_account_recovery_setting(filled(
            live.account_recovery_setting,
            &AccountRecoverySettingType::builder().build(),
        ))
        .set_user_pool_tier(live.user_pool_tier)
        .set_key_configuration(filled(
            live.key_configuration,
            &KeyConfigurationType::builder().build(),
        ))
        .set_issuer_configuration(filled(
            live.issuer_configuration,
            &IssuerConfigurationType::builder().build(),
        ))
        .set_acr_configuration(live.acr_configuration.filter(|levels| !levels.is_empty()))
}

/// Moves the three older fields to their newer place: Cognito returns both and takes only one. It also refuses the
/// message with a code together with the message with a link; then only the one that users get is kept.
fn verification_message_template(live: &UserPoolType) -> Option<VerificationMessageTemplateType> {
    let empty = VerificationMessageTemplateType::builder().build();
    let mut template = live
        .verification_message_template
        .clone()
        .unwrap_or_else(|| empty.clone());
    template.sms_message = template
        .sms_message
        .or_else(|| live.sms_verification_message.clone());
    template.email_message = template
        .email_message
        .or_else(|| live.email_verification_message.clone());
    template.email_subject = template
        .email_subject
        .or_else(|| live.email_verification_subject.clone());
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

/// Removes two fields that the SDK writes although they are not set, and that Cognito refuses:
/// `UnusedAccountValidityDays`, replaced by `TemporaryPasswordValidityDays`, and `SnsCallerArn`, replaced by `EumsSms`.
fn leave_out_unset(request: &mut HttpRequest) {
    let body = request
        .body()
        .bytes()
        .map(serde_json::from_slice::<serde_json::Value>);
    let Some(Ok(mut body)) = body else { return };
    let mut is_changed = false;
    for (block, field, unset) in [
        (
            "AdminCreateUserConfig",
            "UnusedAccountValidityDays",
            serde_json::json!(0),
        ),
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
        request
            .headers_mut()
            .insert("content-length", body.len().to_string());
        *request.body_mut() = body.into();
    }
}

fn protection(on: bool) -> DeletionProtectionType {
    if on {
        DeletionProtectionType::Active
    } else {
        DeletionProtectionType::Inactive
    }
}

fn is_protected(pool: &UserPoolType) -> bool {
    pool.deletion_protection() == Some(&DeletionProtectionType::Active)
}

/// Sends all settings of a pool that was read a moment ago.
async fn put(cx: &Cx<Aws>, id: &PoolId, pool: UserPoolType) -> Result<()> {
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

/// The role that Cognito uses to send text messages.
fn sms_role(sms: &SmsConfigurationType) -> Option<&str> {
    let sns = Some(sms.sns_caller_arn()).filter(|role| !role.is_empty());
    sns.or_else(|| sms.eums_sms().map(EumsSmsConfigurationType::caller_arn))
}

/// Whether Cognito refused an update because of that role. A refusal that names an action of Cognito has another
/// reason.
fn is_about_the_sms_role(error: &CallError) -> bool {
    match error.class {
        Class::Denied => !error.message.contains("to perform: cognito-idp:"),
        _ => error
            .code
            .as_deref()
            .is_some_and(|code| code.starts_with("InvalidSmsRole")),
    }
}

fn output(pool: UserPoolType) -> Result<Output> {
    Ok(Output {
        id: pool.id.context("Cognito answered a pool without an id")?.into(),
        arn: pool.arn.context("Cognito answered a pool without an ARN")?,
    })
}

impl Resource for UserPool {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static Kind = &Kind {
        shapes: &[("output.id", ids::POOL), ("output.arn", ids::ARN)],
        loses: Some("its users, and every client's client_id and secret"),
        protection: Some("deletion_protection"),
        shares_names: true,
        ..Kind::new("user-pool")
    };

    fn id(&self, out: &Output) -> String {
        out.id.to_string()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let mut pages = Pages::of("cognito-idp:ListUserPools");
        loop {
            // The list has no tags and no filter; a page has at most 60.
            let list = || {
                cx.cloud()
                    .cognito
                    .list_user_pools()
                    .max_results(60)
                    .set_next_token(pages.token())
                    .send()
            };
            let page = cx.call("cognito-idp:ListUserPools", list).await?;
            for listed in page
                .user_pools()
                .iter()
                .filter(|pool| pool.name() == Some(&self.name))
            {
                let Some(pool) = self.describe(cx, &listed.id().unwrap_or_default().into()).await? else {
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
        output(
            answer
                .user_pool
                .context("cognito-idp:CreateUserPool answered no pool")?,
        )
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let Some(pool) = self.describe(cx, &out.id).await? else {
            return Ok(None);
        };
        self.check(out, &pool)?;
        let admin = pool.admin_create_user_config();
        let issuer = pool
            .issuer_configuration()
            .and_then(IssuerConfigurationType::r#type);
        Ok(Some(Self {
            name: pool.name().unwrap_or_default().to_owned(),
            admin_create_user_only: admin
                .is_some_and(AdminCreateUserConfigType::allow_admin_create_user_only),
            issuer: issuer.map(|issuer| issuer.as_str().to_owned()),
            tier: pool
                .user_pool_tier()
                .map_or("ESSENTIALS", UserPoolTierType::as_str)
                .to_owned(),
            deletion_protection: is_protected(&pool),
            tags: tags::managed(&self.tags, tags::pairs(pool.user_pool_tags())),
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Updated<Output>> {
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
            let tag = || {
                cognito
                    .tag_resource()
                    .resource_arn(&out.arn)
                    .set_tags(Some(tags::map(&changed)))
                    .send()
            };
            cx.call("cognito-idp:TagResource", tag).await?;
        }
        // It is not documented whether an update with fewer tags removes the others.
        if !removed.is_empty() {
            let untag = || {
                cognito
                    .untag_resource()
                    .resource_arn(&out.arn)
                    .set_tag_keys(Some(removed.clone()))
                    .send()
            };
            cx.call("cognito-idp:UntagResource", untag).await?;
        }
        Ok(out.into())
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
            Err(error) if error.class == Class::Refused => {
                match self.foreign_domain(cx, out, &error).await? {
                    Some(foreign) => Err(foreign.into()),
                    None => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
