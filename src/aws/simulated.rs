//! What IAM says that a user or a role may do, without doing it.
//!
//! Must not call what is asked about.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType};

use super::clients::Aws;
use super::pages::Pages;
use super::wait::once;
use crate::resource::{Cx, Result};

/// Actions on the same resources, under the same conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    pub actions: Vec<String>,
    /// ARNs without wildcards; none for actions that take none.
    pub resources: Vec<String>,
    /// The condition keys of the request, each with its values.
    pub context: BTreeMap<String, Vec<String>>,
}

/// Whose policies count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The account's root user, who may do everything that the organization allows.
    Root,
    /// The ARN of a user or of a role.
    Named(String),
    /// Neither, such as a federated user: IAM cannot tell.
    Other,
}

/// Whose policies count for the session with this ARN. The ARN of a session lacks the path of its role, so IAM is asked for it.
///
/// # Errors
/// The call failed.
pub async fn principal(cx: &Cx<Aws>, arn: &str) -> Result<Principal> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, _, service, _, _, name] = parts[..] else {
        return Ok(Principal::Other);
    };
    if name == "root" {
        return Ok(Principal::Root);
    }
    if service == "iam" && name.starts_with("user/") {
        return Ok(Principal::Named(arn.to_owned()));
    }
    let session = name.strip_prefix("assumed-role/").filter(|_| service == "sts");
    let Some((role, _)) = session.and_then(|session| session.split_once('/')) else {
        return Ok(Principal::Other);
    };
    let asked = cx.cloud().iam.get_role().role_name(role).send();
    let answer = once("iam:GetRole", Box::pin(asked)).await?;
    let role = answer.role.context("iam:GetRole answered no role")?;
    Ok(Principal::Named(role.arn))
}

/// The actions of `need` that the policies of `principal` do not allow.
///
/// # Errors
/// The call failed.
pub async fn denied(cx: &Cx<Aws>, principal: &str, need: &Need) -> Result<BTreeSet<String>> {
    let context = need.context.iter().map(|(key, values)| {
        let kind = match values.len() {
            1 => ContextKeyTypeEnum::String,
            _ => ContextKeyTypeEnum::StringList,
        };
        let entry = ContextEntry::builder().context_key_name(key);
        entry
            .context_key_type(kind)
            .set_context_key_values(Some(values.clone()))
            .build()
    });
    let context: Vec<ContextEntry> = context.collect();
    let mut denied = BTreeSet::new();
    let mut pages = Pages::of("iam:SimulatePrincipalPolicy");
    loop {
        let ask = || {
            let ask = cx.cloud().iam.simulate_principal_policy();
            ask.policy_source_arn(principal)
                .set_action_names(Some(need.actions.clone()))
                .set_resource_arns((!need.resources.is_empty()).then(|| need.resources.clone()))
                .set_context_entries((!context.is_empty()).then(|| context.clone()))
                .max_items(1000)
                .set_marker(pages.token())
                .send()
        };
        let page = cx.call("iam:SimulatePrincipalPolicy", ask).await?;
        let results = page.evaluation_results.unwrap_or_default();
        denied.extend(
            results
                .iter()
                .filter(|result| !is_allowed(result))
                .map(|result| result.eval_action_name.clone()),
        );
        if !pages.turn(page.marker.filter(|_| page.is_truncated))? {
            return Ok(denied);
        }
    }
}

fn is_allowed(result: &EvaluationResult) -> bool {
    let is = |decision: &PolicyEvaluationDecisionType| *decision == PolicyEvaluationDecisionType::Allowed;
    let each = result.resource_specific_results();
    is(&result.eval_decision) && each.iter().all(|result| is(&result.eval_resource_decision))
}

#[cfg(test)]
mod tests {
    use aws_sdk_iam::Client as Iam;
    use aws_smithy_mocks::Rule;

    use super::*;
    use crate::aws::test_support::{always, failed, iam, iam_ok, iam_refused, on};
    use crate::resource::Class;

    const ROLE: &str = "arn:aws:iam::111122223333:role/team/deployer";

    #[tokio::test(start_paused = true)]
    async fn the_role_of_a_session_is_asked_for_and_others_are_known() {
        let described = format!(
            "<Role><Path>/team/</Path><RoleName>deployer</RoleName><RoleId>AROAX</RoleId><Arn>{ROLE}</Arn>\
             <CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>"
        );
        let cx = iam([on!(
            Iam::get_role,
            |i| { assert_eq!(i.role_name(), Some("deployer")) },
            iam_ok("GetRole", &described)
        )]);
        let session = "arn:aws:sts::111122223333:assumed-role/deployer/me";
        assert_eq!(
            principal(&cx, session).await.unwrap(),
            Principal::Named(ROLE.to_owned())
        );

        let cx = iam([]);
        let user = "arn:aws:iam::111122223333:user/team/ann";
        for (arn, expected) in [
            ("arn:aws:iam::111122223333:root", Principal::Root),
            (user, Principal::Named(user.to_owned())),
            ("arn:aws:sts::111122223333:federated-user/ann", Principal::Other),
            (
                "arn:aws:sts::111122223333:assumed-role/deployer",
                Principal::Other,
            ),
            ("nonsense", Principal::Other),
        ] {
            assert_eq!(principal(&cx, arn).await.unwrap(), expected, "{arn}");
        }
        for (status, code, class) in [
            (403, "AccessDenied", Class::Denied),
            (404, "NoSuchEntity", Class::Gone),
        ] {
            let cx = iam([on!(Iam::get_role, iam_refused(status, code, "no"))]);
            let (found, text) = failed(principal(&cx, session).await);
            assert_eq!(found, Some(class), "{text}");
        }
    }

    fn need() -> Need {
        Need {
            actions: ["iam:CreateRole", "iam:GetRole"].map(str::to_owned).into(),
            resources: vec!["arn:aws:iam::111122223333:role/orders_00000000_x".to_owned()],
            context: [("iam:PermissionsBoundary".to_owned(), vec!["arn:b".to_owned()])].into(),
        }
    }

    fn result(action: &str, decision: &str, of_resource: &str) -> String {
        format!(
            "<member><EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision>\
             <ResourceSpecificResults><member><EvalResourceName>x</EvalResourceName>\
             <EvalResourceDecision>{of_resource}</EvalResourceDecision></member></ResourceSpecificResults></member>"
        )
    }

    fn page(results: &str, more: &'static str) -> Rule {
        let end = match more {
            "" => "<IsTruncated>false</IsTruncated>".to_owned(),
            marker => format!("<IsTruncated>true</IsTruncated><Marker>{marker}</Marker>"),
        };
        let answer = format!("<EvaluationResults>{results}</EvaluationResults>{end}");
        on!(
            Iam::simulate_principal_policy,
            |i| {
                assert_eq!(i.policy_source_arn(), Some(ROLE));
                assert_eq!(i.action_names(), ["iam:CreateRole", "iam:GetRole"]);
                assert_eq!(i.resource_arns(), need().resources);
                let entry = &i.context_entries()[0];
                assert_eq!(entry.context_key_name(), Some("iam:PermissionsBoundary"));
                assert_eq!(entry.context_key_values(), ["arn:b"]);
            },
            iam_ok("SimulatePrincipalPolicy", &answer)
        )
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_allowed_on_every_resource_is_denied_also_on_a_later_page() {
        let allowed = result("iam:GetRole", "allowed", "allowed");
        let cx = iam([page(&allowed, "")]);
        assert!(denied(&cx, ROLE, &need()).await.unwrap().is_empty());
        for (decision, of_resource) in [
            ("implicitDeny", "implicitDeny"),
            ("explicitDeny", "explicitDeny"),
            ("allowed", "implicitDeny"),
        ] {
            let bad = result("iam:CreateRole", decision, of_resource);
            let cx = iam([page(&allowed, "next"), page(&bad, "")]);
            let found = denied(&cx, ROLE, &need()).await.unwrap();
            assert_eq!(found, ["iam:CreateRole".to_owned()].into(), "{decision}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_has_its_class() {
        for (status, code, class) in [
            (403, "AccessDenied", Class::Denied),
            (404, "NoSuchEntity", Class::Gone),
            (400, "InvalidInput", Class::Refused),
            (400, "PolicyEvaluation", Class::Refused),
        ] {
            let cx = iam([always!(
                Iam::simulate_principal_policy,
                iam_refused(status, code, "no")
            )]);
            let (found, text) = failed(denied(&cx, ROLE, &need()).await);
            assert_eq!(found, Some(class), "{text}");
            assert!(text.contains("iam:SimulatePrincipalPolicy"), "{text}");
        }
    }
}
