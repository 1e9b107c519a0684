//! A managed policy that is attached to a function's role.
//!
//! Must not touch the role or the policy itself.

use serde::{Deserialize, Serialize};

use crate::aws::wait::unless_gone;
use crate::aws::{Aws, ids};
use crate::resource::{Cx, Kind, NoOutput, Resource, Result};

/// An attachment. To attach a policy again changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleAttachment {
    /// The role's name.
    pub role: String,
    /// The policy's ARN, of the account or of AWS.
    pub policy_arn: String,
}

impl Resource for RoleAttachment {
    type Cloud = Aws;
    type Output = NoOutput;
    const KIND: &'static Kind = &Kind {
        shapes: &[("desired.role", ids::ROLE), ("desired.policy_arn", ids::ARN)],
        fixed: &["role", "policy_arn"],
        holds: Some("role"),
        gone_at_once: true,
        ..Kind::new("role-attachment")
    };

    fn id(&self, _: &NoOutput) -> String {
        self.policy_arn.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<NoOutput>> {
        Ok(self.read(cx, &NoOutput {}).await?.map(|_| NoOutput {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<NoOutput> {
        let attach = || {
            cx.cloud()
                .iam
                .attach_role_policy()
                .role_name(&self.role)
                .policy_arn(&self.policy_arn)
                .send()
        };
        cx.call("iam:AttachRolePolicy", attach).await?;
        Ok(NoOutput {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<Option<Self>> {
        let attached = cx.attached_policies(&self.role).await?;
        Ok(attached.contains(&self.policy_arn).then(|| self.clone()))
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        let detach = || {
            cx.cloud()
                .iam
                .detach_role_policy()
                .role_name(&self.role)
                .policy_arn(&self.policy_arn)
                .send()
        };
        unless_gone(cx.call("iam:DetachRolePolicy", detach).await)?;
        let detached = (self.role.clone(), self.policy_arn.clone());
        cx.cloud().detached.borrow_mut().insert(detached);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_iam::Client as Sdk;
    use aws_smithy_mocks::Rule;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

    use super::*;
    use crate::aws::test_support::{failed, iam, iam_ok, iam_refused, on};
    use crate::resource::Class;

    const ARN: &str = "arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess";
    const NO_ROLE: &str = "The role with name user-api_1a2b3c4d_user cannot be found.";

    fn desired() -> RoleAttachment {
        RoleAttachment {
            role: "user-api_1a2b3c4d_user".to_owned(),
            policy_arn: ARN.to_owned(),
        }
    }

    fn listed(arn: &str, marker: &str) -> HttpResponse {
        let result = format!(
            "<AttachedPolicies><member><PolicyName>x</PolicyName><PolicyArn>{arn}</PolicyArn></member></AttachedPolicies>\
             {marker}"
        );
        iam_ok("ListAttachedRolePolicies", &result)
    }

    fn no_role() -> HttpResponse {
        iam_refused(404, "NoSuchEntity", NO_ROLE)
    }

    fn attach(answer: fn() -> HttpResponse) -> Rule {
        on!(
            Sdk::attach_role_policy,
            |i| {
                let sent = (i.role_name(), i.policy_arn());
                assert_eq!(sent, (Some("user-api_1a2b3c4d_user"), Some(ARN)));
            },
            answer()
        )
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_found_on_whatever_page_it_is_and_only_if_it_is_listed() {
        let other = "arn:aws:iam::111122223333:policy/other";
        let more = "<IsTruncated>true</IsTruncated><Marker>m</Marker>";
        let cx = iam([
            on!(Sdk::list_attached_role_policies, listed(other, more)),
            on!(Sdk::list_attached_role_policies, listed(ARN, "")),
            on!(Sdk::list_attached_role_policies, listed(other, "")),
            on!(Sdk::list_attached_role_policies, no_role()),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_some());
        assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), None);
        assert!(desired().find(&cx).await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_attached_once_the_role_is_visible() {
        let cx = iam([attach(no_role), attach(|| iam_ok("AttachRolePolicy", ""))]);
        desired().create(&cx).await.unwrap();
        assert_eq!(cx.waits().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_is_not_there_and_a_full_role_are_told_at_once_in_iams_words() {
        const ABSENT: &str = "Policy arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess does not exist or is not attachable.";
        const FULL: &str = "Cannot exceed quota for PoliciesPerRole: 10";
        let cx = iam([
            attach(|| iam_refused(404, "NoSuchEntity", ABSENT)),
            attach(|| iam_refused(409, "LimitExceeded", FULL)),
        ]);
        for words in [ABSENT, FULL] {
            let (class, text) = failed(desired().create(&cx).await);
            assert_eq!(class, Some(Class::Refused));
            assert!(text.contains(words), "{text}");
        }
        assert!(cx.waits().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_detached_and_what_is_detached_already_counts_as_that() {
        let gone = || {
            let message = format!("Policy {ARN} was not found.");
            iam_refused(404, "NoSuchEntity", &message)
        };
        let cx = iam([
            on!(
                Sdk::detach_role_policy,
                |i| {
                    let sent = (i.role_name(), i.policy_arn());
                    assert_eq!(sent, (Some("user-api_1a2b3c4d_user"), Some(ARN)));
                },
                iam_ok("DetachRolePolicy", "")
            ),
            on!(Sdk::detach_role_policy, gone()),
        ]);
        desired().delete(&cx, &NoOutput {}).await.unwrap();
        desired().delete(&cx, &NoOutput {}).await.unwrap();
        assert_eq!(cx.cloud().detached.borrow().len(), 1);
    }
}
