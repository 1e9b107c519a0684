//! The prefix domain of a user pool: where its token endpoint answers.
//!
//! Must not take a prefix that is another pool's.

use std::time::Duration;

use anyhow::bail;
use aws_sdk_cognitoidentityprovider::types::{DomainDescriptionType, DomainStatusType};
use serde::{Deserialize, Serialize};

use crate::aws::wait::{once, unless_gone};
use crate::aws::{Aws, ids};
use crate::resource::{Class, Cx, Resource, Result, Shape, Stranger};

/// AWS says up to one minute for a prefix domain.
const ACTIVE_DEADLINE: Duration = Duration::from_mins(3);

/// A prefix domain. Prefixes are unique in the region, across all accounts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolDomain {
    /// The pool's id.
    pub pool: String,
    /// 1 to 63 characters; without `aws`, `amazon` and `cognito`.
    pub prefix: String,
}

/// Nothing that the prefix does not say.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {}

/// Who has a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The AWS account, where Cognito says it.
    pub account: Option<String>,
    /// The user pool's id.
    pub pool: String,
}

/// Whether a prefix can be had in the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Nobody has it, or its deletion is under way.
    Free,
    /// This pool has it.
    Taken(Holder),
    /// Cognito answers "not found" instead of an empty description: probably another account has it. Unverified.
    Hidden,
}

/// Who has this prefix in the region.
pub async fn look_up(cx: &Cx<Aws>, prefix: &str) -> Result<Prefix> {
    let describe = || cx.cloud().cognito.describe_user_pool_domain().domain(prefix).send();
    let Some(answer) = unless_gone(cx.call("cognito-idp:DescribeUserPoolDomain", describe).await)? else {
        return Ok(Prefix::Hidden);
    };
    let domain = answer.domain_description;
    let domain = domain
        .filter(|domain| !matches!(domain.status(), None | Some(&DomainStatusType::Deleting)));
    Ok(domain.map_or(Prefix::Free, |domain| {
        Prefix::Taken(Holder {
            account: domain.aws_account_id,
            pool: domain.user_pool_id.unwrap_or_default(),
        })
    }))
}

impl PoolDomain {
    /// Cognito answers an unknown domain with an empty description, not with an error.
    async fn describe(&self, cx: &Cx<Aws>) -> Result<Option<DomainDescriptionType>> {
        let describe = || cx.cloud().cognito.describe_user_pool_domain().domain(&self.prefix).send();
        let answer = unless_gone(cx.call("cognito-idp:DescribeUserPoolDomain", describe).await)?;
        Ok(answer.and_then(|answer| answer.domain_description).filter(|domain| domain.status().is_some()))
    }

    async fn is_the_pools(&self, cx: &Cx<Aws>) -> Result<bool> {
        let domain = self.describe(cx).await?;
        Ok(domain.is_some_and(|domain| {
            domain.user_pool_id() == Some(&self.pool) && domain.status() != Some(&DomainStatusType::Deleting)
        }))
    }

    /// Another prefix that the pool has and keeps.
    async fn other_of_the_pool(&self, cx: &Cx<Aws>) -> Result<Option<String>> {
        let describe = || cx.cloud().cognito.describe_user_pool().user_pool_id(&self.pool).send();
        let answer = cx.call("cognito-idp:DescribeUserPool", describe).await?;
        let prefix = answer.user_pool.and_then(|pool| pool.domain).filter(|prefix| *prefix != self.prefix);
        let Some(prefix) = prefix else {
            return Ok(None);
        };
        let other = Self {
            pool: self.pool.clone(),
            prefix,
        };
        Ok(other.is_the_pools(cx).await?.then_some(other.prefix))
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
    const SHAPES: &'static [(&'static str, Shape)] = &[
        ("desired.pool", ids::POOL),
        ("desired.prefix", ids::PREFIX),
    ];
    const FIXED: &'static [&'static str] = &["pool", "prefix"];
    const HOLDS: Option<&'static str> = Some("user-pool");

    fn id(&self, _: &Output) -> String {
        self.prefix.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let is_ours = |domain: &DomainDescriptionType| domain.user_pool_id() == Some(&self.pool);
        match self.describe(cx).await? {
            None => Ok(None),
            // An interrupted deletion, which goes on without us.
            Some(domain) if is_ours(&domain) && domain.status() == Some(&DomainStatusType::Deleting) => {
                let gone = || async { Ok(self.describe(cx).await?.is_none().then_some(())) };
                cx.wait_for("the domain's deletion to end", ACTIVE_DEADLINE, gone).await?;
                Ok(None)
            }
            Some(domain) if is_ours(&domain) => {
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
        cx.repeat("cognito-idp:CreateUserPoolDomain", || async {
            match once("cognito-idp:CreateUserPoolDomain", create()).await {
                Ok(_) => Ok(()),
                // The pool has a domain already. One that is still being deleted makes room; this one may be it, made by a
                // call whose answer was lost; any other stays.
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

#[cfg(test)]
mod tests {
    use aws_sdk_cognitoidentityprovider::Client as Sdk;
    use aws_smithy_mocks::Rule;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::test_support::{always, cognito, failed, ok, on, refused};
    use crate::resource::is_stranger;

    fn desired() -> PoolDomain {
        PoolDomain {
            pool: "eu-central-1_ours".to_owned(),
            prefix: "user-api-1a2b3c4d".to_owned(),
        }
    }

    fn live(pool: &str, status: &str) -> Value {
        json!({"DomainDescription": {"Domain": "user-api-1a2b3c4d", "UserPoolId": pool, "Status": status}})
    }

    #[tokio::test(start_paused = true)]
    async fn a_prefix_that_cognito_does_not_show_is_not_called_free() {
        let holder = Holder {
            account: Some("999988887777".to_owned()),
            pool: "p9".to_owned(),
        };
        let taken = json!({"DomainDescription": {
            "Domain": "orders", "UserPoolId": "p9", "AWSAccountId": "999988887777", "Status": "ACTIVE",
        }});
        let cx = cognito([
            on!(Sdk::describe_user_pool_domain, ok(json!({"DomainDescription": {}}))),
            on!(Sdk::describe_user_pool_domain, ok(taken.clone())),
            on!(
                Sdk::describe_user_pool_domain,
                refused(400, "ResourceNotFoundException", "Domain does not exist.")
            ),
        ]);
        for expected in [Prefix::Free, Prefix::Taken(holder), Prefix::Hidden] {
            assert_eq!(look_up(&cx, "orders").await.unwrap(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_prefix_is_answered_with_an_empty_description() {
        let empty = || ok(json!({"DomainDescription": {}}));
        let cx = cognito([
            on!(Sdk::describe_user_pool_domain, empty()),
            on!(Sdk::describe_user_pool_domain, empty()),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert_eq!(desired().read(&cx, &Output {}).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_prefix_of_another_pool_is_a_strangers() {
        let strangers = || ok(live("eu-central-1_other", "ACTIVE"));
        let cx = cognito([
            on!(Sdk::describe_user_pool_domain, strangers()),
            on!(Sdk::describe_user_pool_domain, strangers()),
        ]);
        let error = desired().find(&cx).await.unwrap_err();
        assert!(is_stranger(&error) && error.to_string().contains("user-api-1a2b3c4d"), "{error:#}");
        assert_eq!(desired().read(&cx, &Output {}).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_taken_prefix_is_told_as_taken_so_that_a_look_decides() {
        let taken = "Domain already associated with another user pool.";
        let cx = cognito([on!(
            Sdk::create_user_pool_domain,
            refused(400, "InvalidParameterException", taken)
        )]);
        assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Taken));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_waited_for_until_it_is_active() {
        let cx = cognito([
            on!(
                Sdk::create_user_pool_domain,
                |i| {
                    assert_eq!(i.domain(), Some("user-api-1a2b3c4d"));
                    assert_eq!(i.user_pool_id(), Some("eu-central-1_ours"));
                },
                ok(json!({}))
            ),
            on!(Sdk::describe_user_pool_domain, ok(json!({"DomainDescription": {}}))),
            on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "CREATING"))),
            on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "ACTIVE"))),
        ]);
        desired().create(&cx).await.unwrap();
        assert_eq!(cx.waits(), ["the domain to become ACTIVE"; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_interrupted_run_left_creating_is_waited_for_when_it_is_found() {
        let cx = cognito([
            on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "CREATING"))),
            on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "CREATING"))),
            on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "ACTIVE"))),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_some());
        assert_eq!(cx.waits().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_interrupted_run_left_deleting_is_not_found_but_waited_for_until_it_is_gone() {
        let cx = cognito([
            on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "DELETING"))),
            on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "DELETING"))),
            on!(Sdk::describe_user_pool_domain, ok(json!({"DomainDescription": {}}))),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert_eq!(cx.waits(), ["the domain's deletion to end"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_domain_that_never_becomes_active_is_given_up() {
        let began = tokio::time::Instant::now();
        let cx = cognito([always!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "CREATING"))
        )]);
        let (_, text) = failed(desired().find(&cx).await);
        assert!(text.contains("the domain to become ACTIVE"), "{text}");
        assert!(began.elapsed() < ACTIVE_DEADLINE + Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_domain_is_an_error_at_once() {
        let cx = cognito([
            on!(Sdk::create_user_pool_domain, ok(json!({}))),
            on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "FAILED"))),
        ]);
        desired().create(&cx).await.unwrap_err();
        assert!(cx.waits().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_aws_answers_is_no_drift() {
        let cx = cognito([on!(
            Sdk::describe_user_pool_domain,
            ok(live("eu-central-1_ours", "ACTIVE"))
        )]);
        assert_eq!(desired().read(&cx, &Output {}).await.unwrap(), Some(desired()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_deleted_in_either_of_cognitos_words() {
        let cx = cognito([
            on!(Sdk::delete_user_pool_domain, |i| { assert_eq!((i.domain(), i.user_pool_id()), (Some("user-api-1a2b3c4d"), Some("eu-central-1_ours"))) }, refused(400, "ResourceNotFoundException", "no pool")),
            on!(
                Sdk::delete_user_pool_domain,
                refused(400, "InvalidParameterException", "No such domain or user pool exists.")
            ),
            on!(Sdk::describe_user_pool_domain, ok(json!({"DomainDescription": {}}))),
        ]);
        desired().delete(&cx, &Output {}).await.unwrap();
        desired().delete(&cx, &Output {}).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_deletion_of_what_is_there_is_an_error() {
        let cx = cognito([
            on!(
                Sdk::delete_user_pool_domain,
                refused(400, "InvalidParameterException", "the domain is being updated")
            ),
            on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "ACTIVE"))),
        ]);
        let (class, text) = failed(desired().delete(&cx, &Output {}).await);
        assert_eq!(class, Some(Class::Refused));
        assert!(text.contains("the domain is being updated"), "{text}");
    }

    fn another_domain() -> HttpResponse {
        refused(400, "InvalidParameterException", "User pool already has a domain configured.")
    }

    fn described(prefix: &'static str, answer: Value) -> Rule {
        on!(
            Sdk::describe_user_pool_domain,
            |i| { assert_eq!(i.domain(), Some(prefix)) },
            ok(answer.clone())
        )
    }

    fn pool_with(prefix: &'static str) -> Rule {
        on!(
            Sdk::describe_user_pool,
            |i| { assert_eq!(i.user_pool_id(), Some("eu-central-1_ours")) },
            ok(json!({"UserPool": {"Domain": prefix}}))
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_domain_that_is_still_being_deleted_is_waited_out() {
        let cx = cognito([
            // Another prefix, then this one, each on its way out.
            on!(Sdk::create_user_pool_domain, another_domain()),
            described("user-api-1a2b3c4d", json!({"DomainDescription": {}})),
            pool_with("other"),
            described("other", live("eu-central-1_ours", "DELETING")),
            on!(Sdk::create_user_pool_domain, another_domain()),
            described("user-api-1a2b3c4d", live("eu-central-1_ours", "DELETING")),
            pool_with("user-api-1a2b3c4d"),
            on!(Sdk::create_user_pool_domain, ok(json!({}))),
            on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "ACTIVE"))),
        ]);
        desired().create(&cx).await.unwrap();
        assert_eq!(cx.waits().len(), 2);
        assert!(cx.waits()[0].contains("already has a domain configured"), "{:?}", cx.waits());
    }

    #[tokio::test(start_paused = true)]
    async fn another_domain_of_the_pool_is_named_at_once_with_what_to_do() {
        let cx = cognito([
            on!(Sdk::create_user_pool_domain, another_domain()),
            described("user-api-1a2b3c4d", json!({"DomainDescription": {}})),
            pool_with("other"),
            described("other", live("eu-central-1_ours", "ACTIVE")),
        ]);
        let (class, text) = failed(desired().create(&cx).await);
        assert_eq!((class, cx.waits().len()), (None, 0));
        for words in [
            "user pool eu-central-1_ours has the domain other already",
            "domain_prefix = \"other\"",
            "delete-user-pool-domain --user-pool-id eu-central-1_ours --domain other",
        ] {
            assert!(text.contains(words), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_domain_that_stays_and_that_nobody_names_is_not_waited_out_for_ever() {
        let began = tokio::time::Instant::now();
        let cx = cognito((0..27).flat_map(|_| {
            let create = on!(Sdk::create_user_pool_domain, another_domain());
            let pool = on!(Sdk::describe_user_pool, ok(json!({"UserPool": {}})));
            [create, described("user-api-1a2b3c4d", json!({"DomainDescription": {}})), pool]
        }));
        let (class, text) = failed(desired().create(&cx).await);
        assert_eq!(class, Some(Class::NotReady));
        assert!(text.contains("already has a domain configured"), "{text}");
        assert!(began.elapsed() < Duration::from_mins(3));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_a_lost_answer_left_behind_is_taken_for_what_it_is() {
        let cx = cognito([
            on!(Sdk::create_user_pool_domain, another_domain()),
            on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "CREATING"))),
            on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "ACTIVE"))),
        ]);
        desired().create(&cx).await.unwrap();
        assert!(cx.waits().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_being_deleted_is_still_seen_so_that_its_deletion_is_waited_for() {
        let cx = cognito([on!(Sdk::describe_user_pool_domain, ok(live("eu-central-1_ours", "DELETING")))]);
        assert_eq!(desired().read(&cx, &Output {}).await.unwrap(), Some(desired()));
    }
}
