use aws_sdk_cloudwatchlogs::Client as Sdk;
use aws_smithy_mocks::Rule;
use serde_json::json;

use super::*;
use crate::aws::test_support::{failed, logs, ok, on, our_tags, our_tags_and_more, refused, strangers_tags};
use crate::resource::{Class, is_stranger};

const NAME: &str = "/aws/lambda/user-api";
const ARN: &str = "arn:aws:logs:eu-central-1:111122223333:log-group:/aws/lambda/user-api";

fn desired() -> LogGroup {
    LogGroup {
        name: NAME.to_owned(),
        retention_days: Some(14),
        tags: Some(our_tags()),
    }
}

/// What `read` gives: the tags are not read.
fn live(retention_days: Option<i32>) -> LogGroup {
    LogGroup {
        retention_days,
        tags: None,
        ..desired()
    }
}

/// Two pages, whose first holds a group that begins with our name.
fn described() -> [Rule; 2] {
    let first = json!({"logGroups": [{"logGroupName": "/aws/lambda/user-api-2", "retentionInDays": 1}], "nextToken": "2"});
    let second =
        json!({"logGroups": [{"logGroupName": NAME, "arn": format!("{ARN}:*"), "retentionInDays": 14}]});
    [
        on!(
            Sdk::describe_log_groups,
            |i| { assert_eq!(i.next_token(), None) },
            ok(first.clone())
        ),
        on!(
            Sdk::describe_log_groups,
            |i| { assert_eq!(i.next_token(), Some("2")) },
            ok(second.clone())
        ),
    ]
}

fn tagged(tags: &Tags) -> Rule {
    let answer = json!({"tags": tags});
    on!(
        Sdk::list_tags_for_resource,
        |i| { assert_eq!(i.resource_arn(), Some(ARN)) },
        ok(answer.clone())
    )
}

fn absent() -> Rule {
    on!(
        Sdk::list_tags_for_resource,
        refused(
            400,
            "ResourceNotFoundException",
            "The specified log group does not exist."
        )
    )
}

fn put_retention() -> Rule {
    on!(
        Sdk::put_retention_policy,
        |i| {
            assert_eq!(
                (i.log_group_name(), i.retention_in_days()),
                (Some(NAME), Some(14))
            );
        },
        ok(json!({}))
    )
}

#[tokio::test(start_paused = true)]
async fn a_group_that_begins_with_our_name_is_not_ours() {
    let other = || ok(json!({"logGroups": [{"logGroupName": "/aws/lambda/user-api-2"}]}));
    let cx = logs([absent(), on!(Sdk::describe_log_groups, other())]);
    assert!(desired().find(&cx).await.unwrap().is_none());
    assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn ours_is_found() {
    let cx = logs([tagged(&our_tags_and_more())]);
    assert!(desired().find(&cx).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_group_of_another_owner_is_a_strangers_and_is_left_alone() {
    for theirs in [strangers_tags(), Tags::new()] {
        let cx = logs([tagged(&theirs), tagged(&theirs), tagged(&theirs)]);
        for error in [
            desired().find(&cx).await.unwrap_err(),
            desired()
                .update(&cx, &live(Some(30)), NoOutput {})
                .await
                .unwrap_err(),
            desired().check_owner(&cx, &NoOutput {}).await.unwrap_err(),
        ] {
            assert!(
                is_stranger(&error) && error.to_string().contains(NAME),
                "{error:#}"
            );
        }
    }
    let cx = logs([tagged(&our_tags()), absent()]);
    desired().check_owner(&cx, &NoOutput {}).await.unwrap();
    desired().check_owner(&cx, &NoOutput {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_is_created_with_its_owner_and_never_keeps_events_for_ever() {
    let cx = logs([
        on!(
            Sdk::create_log_group,
            |i| {
                assert_eq!(i.log_group_name(), Some(NAME));
                assert_eq!(i.tags(), Some(&tags::map(&our_tags())));
            },
            ok(json!({}))
        ),
        // Its own creation may not be visible everywhere yet.
        on!(
            Sdk::put_retention_policy,
            refused(400, "ResourceNotFoundException", "no such group")
        ),
        put_retention(),
    ]);
    desired().create(&cx).await.unwrap();
    assert_eq!(cx.waits().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_is_told_as_taken() {
    let cx = logs([on!(
        Sdk::create_log_group,
        refused(
            400,
            "ResourceAlreadyExistsException",
            "The specified log group already exists"
        )
    )]);
    assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Taken));
}

#[tokio::test(start_paused = true)]
async fn what_aws_answers_is_no_drift() {
    let cx = logs(described());
    assert_eq!(
        desired().read(&cx, &NoOutput {}).await.unwrap(),
        Some(live(Some(14)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_that_keeps_events_for_ever_is_drift() {
    let cx = logs([on!(
        Sdk::describe_log_groups,
        ok(json!({"logGroups": [{"logGroupName": NAME}]}))
    )]);
    assert_eq!(
        desired().read(&cx, &NoOutput {}).await.unwrap(),
        Some(live(Some(0)))
    );
}

#[tokio::test(start_paused = true)]
async fn the_missing_is_deleted_and_a_busy_one_is_waited_for() {
    let cx = logs([
        on!(
            Sdk::delete_log_group,
            refused(400, "OperationAbortedException", "please try again")
        ),
        on!(
            Sdk::delete_log_group,
            |i| { assert_eq!(i.log_group_name(), Some(NAME)) },
            refused(400, "ResourceNotFoundException", "no such group")
        ),
    ]);
    desired().delete(&cx, &NoOutput {}).await.unwrap();
    assert_eq!(cx.waits().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retention_that_the_account_imposes_is_not_compared() {
    let group = json!({"logGroupName": NAME, "retentionInDays": 365, "retentionPolicyName": "account-wide"});
    let cx = logs([on!(
        Sdk::describe_log_groups,
        ok(json!({"logGroups": [group.clone()]}))
    )]);
    assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), Some(live(None)));
}

fn tag(expected: Tags) -> Rule {
    on!(
        Sdk::tag_resource,
        |i| {
            assert_eq!(
                (i.resource_arn(), i.tags()),
                (Some(ARN), Some(&tags::map(&expected)))
            );
        },
        ok(json!({}))
    )
}

fn untag(expected: &'static str) -> Rule {
    on!(
        Sdk::untag_resource,
        |i| {
            assert_eq!(
                (i.resource_arn(), i.tag_keys()),
                (Some(ARN), &[expected.to_owned()][..])
            );
        },
        ok(json!({}))
    )
}

#[tokio::test(start_paused = true)]
async fn the_retention_changes_alone_also_where_the_live_one_is_unknown() {
    for retention_days in [Some(0), Some(30), None] {
        let before = LogGroup {
            retention_days,
            ..desired()
        };
        desired()
            .update(
                &logs([tagged(&our_tags()), put_retention()]),
                &before,
                NoOutput {},
            )
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn only_our_tags_change() {
    let mut before = our_tags();
    before.insert(tags::STACK.to_owned(), "renamed".to_owned());
    before.insert("team".to_owned(), "a".to_owned());
    let stack = Tags::from([(tags::STACK.to_owned(), "user-api".to_owned())]);
    let cx = logs([tagged(&before), tag(stack), untag("team")]);
    let before = LogGroup {
        tags: Some(before),
        ..desired()
    };
    desired().update(&cx, &before, NoOutput {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tags_that_were_not_read_are_looked_at_and_others_stay() {
    let mut bent = our_tags_and_more();
    bent.remove(tags::STACK);
    let stack = Tags::from([(tags::STACK.to_owned(), "user-api".to_owned())]);
    let cx = logs([tagged(&bent), tag(stack)]);
    desired().update(&cx, &live(Some(14)), NoOutput {}).await.unwrap();
    let cx = logs([tagged(&our_tags_and_more())]);
    desired().update(&cx, &live(Some(14)), NoOutput {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_calls_nobody() {
    desired()
        .update(&logs([]), &desired(), NoOutput {})
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_gone_is_told() {
    let cx = logs([absent()]);
    let (_, text) = failed(desired().update(&cx, &live(Some(14)), NoOutput {}).await);
    assert_eq!(text, format!("log group {NAME} is not there any more"));
    let gone = || {
        on!(
            Sdk::put_retention_policy,
            refused(
                400,
                "ResourceNotFoundException",
                "The specified log group does not exist."
            )
        )
    };
    let calls = [tagged(&our_tags())].into_iter().chain((0..60).map(|_| gone()));
    let cx = std::mem::ManuallyDrop::new(logs(calls));
    let (_, text) = failed(desired().update(&cx, &live(Some(30)), NoOutput {}).await);
    assert!(text.contains("does not exist"), "{text}");
}
