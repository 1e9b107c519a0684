//! The statement in a function's policy that lets one stage of one API invoke it, and nobody else.
//!
//! Must not touch other statements of that policy.

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::aws::wait::unless_gone;
use crate::aws::{Aws, ids, policy};
use crate::resource::{Cx, Kind, NoOutput, Resource, Result};

/// One statement. `AddPermission` on an id that exists is refused even when nothing differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// The function's name.
    pub function: String,
    /// Unique in the function's policy.
    pub statement: String,
    /// The caller that is allowed: `arn:<partition>:execute-api:<region>:<account>:<api>/<stage>/*`.
    pub source_arn: String,
    /// The account of the API. Without it, an API with the same id in another account could invoke the function.
    pub source_account: String,
}

impl Resource for Permission {
    type Cloud = Aws;
    type Output = NoOutput;
    const KIND: &'static Kind = &Kind {
        shapes: &[
            ("desired.function", ids::NAME),
            ("desired.statement", ids::NAME),
            ("desired.source_arn", ids::ARN),
            ("desired.source_account", ids::ACCOUNT),
        ],
        fixed: &["function", "statement", "source_arn", "source_account"],
        dies_with: Some("function"),
        ..Kind::new("permission")
    };

    /// AWS loses statements that are added to one function in parallel.
    fn lane(&self) -> Option<String> {
        Some(format!("permissions of {}", self.function))
    }

    fn id(&self, _: &NoOutput) -> String {
        self.statement.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<NoOutput>> {
        Ok(self.read(cx, &NoOutput {}).await?.map(|_| NoOutput {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<NoOutput> {
        let add = || {
            cx.cloud()
                .lambda
                .add_permission()
                .function_name(&self.function)
                .statement_id(&self.statement)
                .action("lambda:InvokeFunction")
                .principal("apigateway.amazonaws.com")
                .source_arn(&self.source_arn)
                .source_account(&self.source_account)
                .send()
        };
        cx.call("lambda:AddPermission", add).await?;
        Ok(NoOutput {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<Option<Self>> {
        let answer = cx.function_policy(&self.function).await?;
        let Some(policy) = answer.as_ref() else {
            return Ok(None);
        };
        let granted = policy::granted(policy, &self.statement)
            .with_context(|| format!("the policy of function {} cannot be read", self.function))?;
        // If someone else changed the statement into another grant, its source is read as empty, which is drift.
        Ok(granted.map(|grant| Self {
            function: self.function.clone(),
            statement: self.statement.clone(),
            source_arn: grant.source_arn,
            source_account: grant.source_account,
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        let remove = || {
            cx.cloud()
                .lambda
                .remove_permission()
                .function_name(&self.function)
                .statement_id(&self.statement)
                .send()
        };
        unless_gone(cx.call("lambda:RemovePermission", remove).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_lambda::Client as Sdk;
    use aws_smithy_mocks::Rule;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::test_support::{always, failed, lambda, ok, on, refused};
    use crate::resource::Class;

    const SOURCE: &str = "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3/dev/*";

    fn desired() -> Permission {
        Permission {
            function: "user-api-1a2b3c4d-user".to_owned(),
            statement: "api".to_owned(),
            source_arn: SOURCE.to_owned(),
            source_account: "111122223333".to_owned(),
        }
    }

    /// A statement as AWS writes it, however it was given.
    fn statement(sid: &str, source: &str) -> Value {
        json!({
            "Sid": sid, "Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"},
            "Action": "lambda:InvokeFunction",
            "Resource": "arn:aws:lambda:eu-central-1:111122223333:function:user-api-1a2b3c4d-user",
            "Condition": {
                "StringEquals": {"AWS:SourceAccount": "111122223333"}, "ArnLike": {"AWS:SourceArn": source},
            },
        })
    }

    /// The policy is JSON in a JSON string.
    fn policy(statements: &[Value]) -> HttpResponse {
        let policy = json!({"Version": "2012-10-17", "Id": "default", "Statement": statements});
        ok(json!({"Policy": policy.to_string(), "RevisionId": "1"}))
    }

    fn read(statements: Vec<Value>) -> Rule {
        on!(Sdk::get_policy, policy(&statements))
    }

    fn add() -> Rule {
        on!(
            Sdk::add_permission,
            |i| {
                assert_eq!(i.statement_id(), Some("api"));
                assert_eq!(i.action(), Some("lambda:InvokeFunction"));
                assert_eq!(i.principal(), Some("apigateway.amazonaws.com"));
                assert_eq!(i.source_arn(), Some(SOURCE));
                assert_eq!(i.source_account(), Some("111122223333"));
            },
            ok(json!({"Statement": "{}"}))
        )
    }

    fn gone() -> HttpResponse {
        refused(
            404,
            "ResourceNotFoundException",
            "The resource you requested does not exist.",
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
        let cx = lambda([
            on!(Sdk::get_policy, gone()),
            on!(Sdk::get_policy, gone()),
            on!(
                Sdk::remove_permission,
                |i| {
                    assert_eq!(
                        (i.function_name(), i.statement_id()),
                        (Some("user-api-1a2b3c4d-user"), Some("api"))
                    );
                },
                gone()
            ),
            read(vec![statement("somebody-elses", SOURCE)]),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), None);
        desired().delete(&cx, &NoOutput {}).await.unwrap();
        assert!(
            desired().find(&cx).await.unwrap().is_none(),
            "another statement is none of ours"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_found_among_others_and_what_aws_wrote_is_no_drift() {
        let statements = vec![statement("somebody-elses", "arn:x"), statement("api", SOURCE)];
        let cx = lambda([read(statements.clone()), read(statements)]);
        assert!(desired().find(&cx).await.unwrap().is_some());
        assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), Some(desired()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_grant_to_others_is_drift() {
        let mut anybody = statement("api", SOURCE);
        anybody["Principal"] = json!("*");
        let mut others_too = statement("api", SOURCE);
        others_too["Principal"]["AWS"] = json!("arn:aws:iam::999999999999:root");
        let mut anything = statement("api", SOURCE);
        anything["Action"] = json!("lambda:*");
        let mut any_account = statement("api", SOURCE);
        any_account["Condition"]["StringEquals"].take();
        for loose in [
            anybody,
            others_too,
            anything,
            any_account,
            statement("api", "arn:aws:execute-api:*"),
        ] {
            let cx = lambda([read(vec![loose.clone()]), read(vec![loose.clone()])]);
            assert!(desired().find(&cx).await.unwrap().is_some(), "{loose}");
            assert_ne!(
                desired().read(&cx, &NoOutput {}).await.unwrap(),
                Some(desired()),
                "{loose}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_granted_to_one_api_of_one_account_once_the_function_is_visible() {
        let cx = lambda([on!(Sdk::add_permission, gone()), add()]);
        desired().create(&cx).await.unwrap();
        assert_eq!(cx.waits().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_that_never_shows_up_is_an_error_after_two_minutes() {
        let began = tokio::time::Instant::now();
        let cx = lambda([always!(Sdk::add_permission, gone())]);
        let (class, text) = failed(desired().create(&cx).await);
        assert_eq!(class, Some(Class::NotReady), "{text}");
        assert_eq!(began.elapsed().as_secs() / 60, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_id_that_exists_is_told_as_taken_also_when_nothing_differs() {
        let cx = lambda([on!(
            Sdk::add_permission,
            refused(
                409,
                "ResourceConflictException",
                "The statement id (api) provided already exists."
            )
        )]);
        let (class, text) = failed(desired().create(&cx).await);
        assert_eq!(class, Some(Class::Taken));
        assert!(text.contains("(api)"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_changed_is_drift_of_that_field_alone() {
        let other = "arn:aws:execute-api:eu-central-1:111122223333:other/dev/*";
        let mut account = statement("api", SOURCE);
        account["Condition"]["StringEquals"]["AWS:SourceAccount"] = json!("999999999999");
        for (statement, expected) in [
            (
                statement("api", other),
                Permission {
                    source_arn: other.to_owned(),
                    ..desired()
                },
            ),
            (
                account,
                Permission {
                    source_account: "999999999999".to_owned(),
                    ..desired()
                },
            ),
        ] {
            let cx = lambda([read(vec![statement.clone()])]);
            assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), Some(expected));
        }
    }
}
