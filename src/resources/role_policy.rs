//! An inline policy of a function's role: what the function may do.
//!
//! Must not touch the role itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aws::wait::unless_gone;
use crate::aws::{Aws, ids, policy};
use crate::resource::{CallError, Cx, Kind, NoOutput, Resource, Result, Updated};

/// An inline policy of a role. Putting it again replaces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolePolicy {
    /// The role's name.
    pub role: String,
    /// Unique in the role.
    pub name: String,
    /// In normal form.
    pub document: Value,
}

impl RolePolicy {
    async fn put(&self, cx: &Cx<Aws>, document: &Value) -> Result<(), CallError> {
        let put = || {
            cx.cloud()
                .iam
                .put_role_policy()
                .role_name(&self.role)
                .policy_name(&self.name)
                .policy_document(document.to_string())
                .send()
        };
        cx.call("iam:PutRolePolicy", put).await?;
        Ok(())
    }
}

impl Resource for RolePolicy {
    type Cloud = Aws;
    type Output = NoOutput;
    const KIND: &'static Kind = &Kind {
        shapes: &[("desired.role", ids::ROLE), ("desired.name", ids::ROLE)],
        fixed: &["role", "name"],
        holds: Some("role"),
        gone_at_once: true,
        ..Kind::new("role-policy")
    };

    fn id(&self, _: &NoOutput) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<NoOutput>> {
        Ok(self.read(cx, &NoOutput {}).await?.map(|_| NoOutput {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<NoOutput> {
        self.put(cx, &self.document).await?;
        Ok(NoOutput {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<Option<Self>> {
        let get = || {
            cx.cloud()
                .iam
                .get_role_policy()
                .role_name(&self.role)
                .policy_name(&self.name)
                .send()
        };
        let Some(answer) = unless_gone(cx.call("iam:GetRolePolicy", get).await)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            role: self.role.clone(),
            name: self.name.clone(),
            document: policy::parse(answer.policy_document())?,
        }))
    }

    /// Grants what is new, and keeps what goes: the function may need it until it is changed itself. `retire` takes it away.
    /// Where IAM has no room for both, the document is replaced in one step.
    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: NoOutput) -> Result<Updated<NoOutput>> {
        if self.document == before.document {
            return Ok(out.into());
        }
        let widened = policy::widened(&before.document, &self.document);
        let mut retires = widened != self.document;
        if widened != before.document {
            match self.put(cx, &widened).await {
                Err(error) if retires && error.code.as_deref() == Some("LimitExceeded") => {
                    self.put(cx, &self.document).await?;
                    retires = false;
                }
                put => put?,
            }
        }
        Ok(Updated { output: out, retires })
    }

    async fn retire(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        Ok(self.put(cx, &self.document).await?)
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        let delete = || {
            cx.cloud()
                .iam
                .delete_role_policy()
                .role_name(&self.role)
                .policy_name(&self.name)
                .send()
        };
        unless_gone(cx.call("iam:DeleteRolePolicy", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_iam::Client as Sdk;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{always, differing, failed, iam, iam_ok, iam_refused, on};
    use crate::resource::Class;

    const GROUP: &str =
        "arn:aws:logs:eu-central-1:111122223333:log-group:/aws/lambda/user-api-1a2b3c4d-user:*";

    fn desired() -> RolePolicy {
        RolePolicy {
            role: "user-api-1a2b3c4d-user".to_owned(),
            name: "logs".to_owned(),
            document: policy::normal(json!({"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": GROUP,
            }]})),
        }
    }

    /// The same permissions in another layout than ours, percent-encoded, or others.
    fn live(actions: &[&str]) -> HttpResponse {
        let document = json!({"Statement": {"Resource": [GROUP], "Action": actions, "Effect": "Allow"}, "Version": "2012-10-17"});
        let document = utf8_percent_encode(&document.to_string(), NON_ALPHANUMERIC).to_string();
        let result = format!(
            "<RoleName>user-api-1a2b3c4d-user</RoleName><PolicyName>logs</PolicyName>\
             <PolicyDocument>{document}</PolicyDocument>"
        );
        iam_ok("GetRolePolicy", &result)
    }

    fn gone() -> HttpResponse {
        iam_refused(
            404,
            "NoSuchEntity",
            "The role policy with name logs cannot be found.",
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
        let cx = iam([
            on!(Sdk::get_role_policy, gone()),
            on!(Sdk::get_role_policy, gone()),
            on!(
                Sdk::delete_role_policy,
                |i| {
                    assert_eq!(
                        (i.role_name(), i.policy_name()),
                        (Some("user-api-1a2b3c4d-user"), Some("logs"))
                    );
                },
                gone()
            ),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), None);
        desired().delete(&cx, &NoOutput {}).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_found_and_iams_own_layout_is_no_drift() {
        let ours = || live(&["logs:PutLogEvents", "logs:CreateLogStream"]);
        let cx = iam([
            on!(Sdk::get_role_policy, ours()),
            on!(Sdk::get_role_policy, ours()),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_some());
        assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), Some(desired()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_foreign_edit_of_the_document_is_told() {
        let edited = || live(&["logs:CreateLogStream", "logs:PutLogEvents", "s3:*"]);
        let cx = iam([on!(Sdk::get_role_policy, edited())]);
        let live = desired().read(&cx, &NoOutput {}).await.unwrap().unwrap();
        assert_eq!(differing(&desired(), &live), ["document"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_that_differs_is_put_as_a_whole_and_one_that_does_not_is_left() {
        let cx = iam([on!(
            Sdk::put_role_policy,
            |i| {
                let sent: Value = serde_json::from_str(i.policy_document().unwrap()).unwrap();
                assert_eq!(sent, desired().document);
                assert_eq!(
                    (i.role_name(), i.policy_name()),
                    (Some("user-api-1a2b3c4d-user"), Some("logs"))
                );
            },
            iam_ok("PutRolePolicy", "")
        )]);
        let before = RolePolicy {
            document: json!({"Version": "2012-10-17", "Statement": []}),
            ..desired()
        };
        desired().update(&cx, &before, NoOutput {}).await.unwrap();
        desired().update(&cx, &desired(), NoOutput {}).await.unwrap();
    }

    fn allows(actions: &[&str]) -> RolePolicy {
        let all = actions
            .iter()
            .map(|action| json!({"Effect": "Allow", "Action": action, "Resource": "*"}));
        let all: Vec<Value> = all.collect();
        RolePolicy {
            document: policy::normal(json!({"Version": "2012-10-17", "Statement": all})),
            ..desired()
        }
    }

    fn puts(document: Value, answer: HttpResponse) -> aws_smithy_mocks::Rule {
        let answer = std::sync::Mutex::new(Some(answer));
        aws_smithy_mocks::mock!(Sdk::put_role_policy)
            .match_requests(move |i| {
                serde_json::from_str::<Value>(i.policy_document().unwrap()).unwrap() == document
            })
            .then_http_response(move || answer.lock().unwrap().take().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_document_no_longer_grants_stays_until_it_is_retired() {
        let ok = || iam_ok("PutRolePolicy", "");
        let (before, after) = (allows(&["a", "b"]), allows(&["b", "c"]));
        let both = policy::widened(&before.document, &after.document);
        let cx = iam([
            puts(both.clone(), ok()),
            puts(after.document.clone(), ok()),
            puts(after.document.clone(), ok()),
        ]);
        assert!(after.update(&cx, &before, NoOutput {}).await.unwrap().retires);
        // The next run, after a kill: nothing is put again.
        let killed = RolePolicy {
            document: both,
            ..desired()
        };
        assert!(after.update(&cx, &killed, NoOutput {}).await.unwrap().retires);
        after.retire(&cx, &NoOutput {}).await.unwrap();
        // More is granted in one step.
        let less = allows(&["b"]);
        assert!(!after.update(&cx, &less, NoOutput {}).await.unwrap().retires);
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_no_room_for_both_it_is_replaced_in_one_step() {
        const FULL: &str = "Maximum policy size of 10240 bytes exceeded for role user-api-1a2b3c4d-user";
        let (before, after) = (allows(&["a"]), allows(&["b"]));
        let both = policy::widened(&before.document, &after.document);
        let full = || iam_refused(409, "LimitExceeded", FULL);
        let cx = iam([
            puts(both.clone(), full()),
            puts(after.document.clone(), iam_ok("PutRolePolicy", "")),
            puts(both, full()),
            puts(after.document.clone(), full()),
        ]);
        assert!(!after.update(&cx, &before, NoOutput {}).await.unwrap().retires);
        let (class, text) = failed(after.update(&cx, &before, NoOutput {}).await);
        assert_eq!(class, Some(Class::Refused));
        assert!(text.contains(FULL), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_that_iam_refuses_and_a_role_that_is_gone_are_told() {
        let cx = iam([
            on!(
                Sdk::put_role_policy,
                iam_refused(400, "MalformedPolicyDocument", "Syntax errors in policy.")
            ),
            always!(
                Sdk::put_role_policy,
                iam_refused(404, "NoSuchEntity", "The role cannot be found.")
            ),
        ]);
        let before = RolePolicy {
            document: json!({}),
            ..desired()
        };
        let (class, text) = failed(desired().update(&cx, &before, NoOutput {}).await);
        assert_eq!(class, Some(Class::Refused));
        assert!(text.contains("Syntax errors in policy."), "{text}");
        let began = tokio::time::Instant::now();
        let (_, text) = failed(desired().update(&cx, &before, NoOutput {}).await);
        assert!(text.contains("The role cannot be found."), "{text}");
        assert_eq!(began.elapsed().as_secs() / 60, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_put_once_the_role_is_visible() {
        let cx = iam([
            on!(
                Sdk::put_role_policy,
                iam_refused(404, "NoSuchEntity", "The role cannot be found.")
            ),
            on!(
                Sdk::put_role_policy,
                |i| {
                    let sent: Value = serde_json::from_str(i.policy_document().unwrap()).unwrap();
                    assert_eq!(sent, desired().document);
                    assert_eq!(
                        (i.role_name(), i.policy_name()),
                        (Some("user-api-1a2b3c4d-user"), Some("logs"))
                    );
                },
                iam_ok("PutRolePolicy", "")
            ),
        ]);
        desired().create(&cx).await.unwrap();
        assert_eq!(cx.waits().len(), 1);
    }
}
