use aws_sdk_lambda::Client as Sdk;
use aws_smithy_mocks::Rule;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};

use super::*;
use crate::aws::test_support::{failed, lambda, ok, on, refused};

const SOURCE: &str = "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3/dev/*";
const SID: &str = "user-api_1a2b3c4d_legacy";

fn desired() -> BackendPermission {
    BackendPermission {
        function: "legacy".to_owned(),
        qualifier: "live".to_owned(),
        statement: SID.to_owned(),
        source_arn: SOURCE.to_owned(),
        source_account: "111122223333".to_owned(),
    }
}

/// A statement as AWS writes it.
fn statement(sid: &str, source: &str) -> Value {
    json!({
        "Sid": sid, "Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": "arn:aws:lambda:eu-central-1:111122223333:function:legacy:live",
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": "111122223333"}, "ArnLike": {"AWS:SourceArn": source},
        },
    })
}

fn policy(statements: &[Value], revision: &'static str) -> Rule {
    let policy = json!({"Version": "2012-10-17", "Id": "default", "Statement": statements}).to_string();
    on!(
        Sdk::get_policy,
        |i| { assert_eq!((i.function_name(), i.qualifier()), (Some("legacy"), Some("live"))) },
        ok(json!({"Policy": policy.clone(), "RevisionId": revision}))
    )
}

fn no_policy() -> Rule {
    on!(
        Sdk::get_policy,
        refused(
            404,
            "ResourceNotFoundException",
            "The resource you requested does not exist."
        )
    )
}

fn is_there() -> Rule {
    on!(
        Sdk::get_function_configuration,
        |i| { assert_eq!((i.function_name(), i.qualifier()), (Some("legacy"), Some("live"))) },
        ok(json!({"FunctionName": "legacy", "Version": "7"}))
    )
}

fn add(revision: Option<&'static str>, answer: impl Fn() -> HttpResponse + Send + Sync + 'static) -> Rule {
    on!(
        Sdk::add_permission,
        |i| {
            assert_eq!((i.function_name(), i.qualifier()), (Some("legacy"), Some("live")));
            assert_eq!(i.revision_id(), revision);
            assert_eq!(i.statement_id(), Some(SID));
            assert_eq!(i.action(), Some("lambda:InvokeFunction"));
            assert_eq!(i.principal(), Some("apigateway.amazonaws.com"));
            assert_eq!(i.source_arn(), Some(SOURCE));
            assert_eq!(i.source_account(), Some("111122223333"));
        },
        answer()
    )
}

fn added() -> HttpResponse {
    ok(json!({"Statement": "{}"}))
}

fn race() -> HttpResponse {
    refused(
        412,
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest \
         Revision Id",
    )
}

#[tokio::test(start_paused = true)]
async fn the_first_statement_of_a_policy_names_no_revision() {
    let cx = lambda([no_policy(), is_there(), add(None, added)]);
    desired().create(&cx).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_someone_else_adds_meanwhile_is_not_lost() {
    let cx = lambda([
        policy(&[statement("theirs", "arn:x")], "r1"),
        add(Some("r1"), race),
        policy(
            &[statement("theirs", "arn:x"), statement("also-theirs", "arn:y")],
            "r2",
        ),
        add(Some("r2"), added),
    ]);
    desired().create(&cx).await.unwrap();
    assert_eq!(cx.waits().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_function_or_an_alias_that_is_not_there_is_told_at_once() {
    let why = "Cannot find alias arn: arn:aws:lambda:eu-central-1:111122223333:function:legacy:live";
    let gone = || refused(404, "ResourceNotFoundException", why);
    let cx = lambda([
        on!(Sdk::get_policy, gone()),
        on!(Sdk::get_function_configuration, gone()),
    ]);
    let began = tokio::time::Instant::now();
    let (_, text) = failed(desired().create(&cx).await);
    assert!(text.contains(why), "{text}");
    assert_eq!(began.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_policy_and_a_denial_are_told_in_lambdas_words() {
    for (code, status, message) in [
        (
            "PolicyLengthExceededException",
            400,
            "The final policy size (20520) is bigger than the limit (20480).",
        ),
        (
            "AccessDeniedException",
            403,
            "User: u is not authorized to perform: lambda:AddPermission with an explicit deny",
        ),
    ] {
        let cx = lambda([
            policy(&[], "r1"),
            add(Some("r1"), move || refused(status, code, message)),
        ]);
        let (_, text) = failed(desired().create(&cx).await);
        assert!(text.contains(message), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_exists_is_told_as_taken_so_that_it_is_found() {
    let taken = || {
        refused(
            409,
            "ResourceConflictException",
            "The statement id (user-api_1a2b3c4d_legacy) provided already exists. Please provide a new statement id, or \
             remove the existing statement.",
        )
    };
    let cx = lambda([
        policy(&[statement(SID, SOURCE)], "r1"),
        add(Some("r1"), taken),
        policy(&[statement(SID, SOURCE)], "r1"),
    ]);
    let (class, _) = failed(desired().create(&cx).await);
    assert_eq!(class, Some(Class::Taken));
    assert!(desired().find(&cx).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn it_is_read_among_others_and_another_grant_is_drift() {
    let others = [statement("theirs", "arn:x"), statement(SID, SOURCE)];
    let mut anybody = statement(SID, SOURCE);
    anybody["Principal"] = json!("*");
    let cx = lambda([
        policy(&others, "r1"),
        policy(&others[..1], "r1"),
        no_policy(),
        policy(&[anybody], "r1"),
    ]);
    let out = NoOutput {};
    assert_eq!(desired().read(&cx, &out).await.unwrap(), Some(desired()));
    assert_eq!(desired().read(&cx, &out).await.unwrap(), None);
    assert_eq!(desired().read(&cx, &out).await.unwrap(), None);
    let open = desired().read(&cx, &out).await.unwrap().unwrap();
    assert_eq!((open.source_arn.as_str(), open.source_account.as_str()), ("", ""));
}

#[tokio::test(start_paused = true)]
async fn only_the_statement_is_removed_and_what_is_gone_is_removed() {
    let remove = |revision: &'static str, answer: fn() -> HttpResponse| {
        on!(
            Sdk::remove_permission,
            |i| {
                assert_eq!((i.function_name(), i.qualifier()), (Some("legacy"), Some("live")));
                assert_eq!((i.statement_id(), i.revision_id()), (Some(SID), Some(revision)));
            },
            answer()
        )
    };
    let gone = || {
        refused(
            404,
            "ResourceNotFoundException",
            "Statement user-api_1a2b3c4d_legacy is not found in resource policy.",
        )
    };
    let cx = lambda([
        policy(&[statement(SID, SOURCE)], "r1"),
        remove("r1", race),
        policy(&[statement(SID, SOURCE)], "r2"),
        remove("r2", || ok(json!({}))),
        policy(&[], "r3"),
        remove("r3", gone),
        no_policy(),
    ]);
    for _ in 0..3 {
        desired().delete(&cx, &NoOutput {}).await.unwrap();
    }
}
