use std::time::Duration;

use aws_sdk_iam::Client as Sdk;
use aws_smithy_mocks::Rule;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::aws::test_support::{
    attempts, differing, failed, iam, iam_ok, iam_refused, on, our_tags, our_tags_and_more, strangers_tags,
};
use crate::resource::{in_the_way, is_stranger};

const ARN: &str = "arn:aws:iam::111122223333:role/user-api-1a2b3c4d-user";

fn trust() -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["lambda.amazonaws.com"]},
    }]})
}

fn desired() -> Role {
    Role {
        name: "user-api-1a2b3c4d-user".to_owned(),
        path: "/".to_owned(),
        trust: policy::normal(trust()),
        permissions_boundary: String::new(),
        tags: our_tags(),
    }
}

fn out() -> Output {
    Output {
        arn: ARN.to_owned(),
        id: "AROA1".to_owned(),
    }
}

const BOUNDARY: &str = "arn:aws:iam::111122223333:policy/boundary";

fn bounded(arn: &str) -> Role {
    Role {
        permissions_boundary: arn.to_owned(),
        ..desired()
    }
}

/// As IAM answers it: the trust percent-encoded, in IAM's own layout.
fn live(operation: &str, arn: &str, tags: &Tags) -> HttpResponse {
    role(operation, arn, &trust(), tags)
}

fn role(operation: &str, arn: &str, trust: &Value, tags: &Tags) -> HttpResponse {
    let trust = utf8_percent_encode(&trust.to_string(), NON_ALPHANUMERIC).to_string();
    let tags: Vec<String> = tags
        .iter()
        .map(|(key, value)| format!("<member><Key>{key}</Key><Value>{value}</Value></member>"))
        .collect();
    let tags = tags.concat();
    let role = format!(
        "<Role><Path>/</Path><RoleName>user-api-1a2b3c4d-user</RoleName><RoleId>AROA1</RoleId><Arn>{arn}</Arn>\
         <CreateDate>2026-11-22T10:00:00Z</CreateDate><AssumeRolePolicyDocument>{trust}</AssumeRolePolicyDocument>\
         <MaxSessionDuration>3600</MaxSessionDuration><Tags>{tags}</Tags></Role>"
    );
    iam_ok(operation, &role)
}

fn gone() -> HttpResponse {
    iam_refused(
        404,
        "NoSuchEntity",
        "The role with name user-api-1a2b3c4d-user cannot be found.",
    )
}

#[tokio::test(start_paused = true)]
async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
    let cx = iam([
        on!(Sdk::get_role, gone()),
        on!(Sdk::get_role, gone()),
        on!(
            Sdk::delete_role,
            |i| { assert_eq!(i.role_name(), Some("user-api-1a2b3c4d-user")) },
            gone()
        ),
    ]);
    assert!(desired().find(&cx).await.unwrap().is_none());
    assert_eq!(desired().read(&cx, &out()).await.unwrap(), None);
    desired().delete(&cx, &out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_role_of_another_owner_is_a_strangers() {
    let cx = iam([on!(Sdk::get_role, live("GetRole", ARN, &strangers_tags()))]);
    let error = desired().find(&cx).await.unwrap_err();
    assert!(
        is_stranger(&error) && error.to_string().contains("IAM role user-api-1a2b3c4d-user"),
        "{error:#}"
    );
}

#[tokio::test(start_paused = true)]
async fn ours_is_found_once_iam_knows_its_arn() {
    let cx = iam([
        on!(Sdk::get_role, live("GetRole", "AROA1", &our_tags())),
        on!(Sdk::get_role, live("GetRole", "AROA1", &our_tags())),
        on!(Sdk::get_role, live("GetRole", ARN, &our_tags())),
    ]);
    let found = desired().find(&cx).await.unwrap().unwrap();
    assert_eq!((found.arn.as_str(), found.id.as_str()), (ARN, "AROA1"));
    assert_eq!(cx.waits(), ["IAM to know the role's ARN"]);
}

#[tokio::test(start_paused = true)]
async fn it_is_created_with_its_trust_and_its_owner() {
    let cx = iam([on!(
        Sdk::create_role,
        |i| {
            let sent: Value = serde_json::from_str(i.assume_role_policy_document().unwrap()).unwrap();
            assert_eq!(sent, policy::normal(trust()));
            let tags: Tags = i
                .tags()
                .iter()
                .map(|t| (t.key().to_owned(), t.value().to_owned()))
                .collect();
            assert_eq!(tags, our_tags());
        },
        live("CreateRole", ARN, &our_tags())
    )]);
    let made = desired().create(&cx).await.unwrap();
    assert_eq!((made.arn.as_str(), made.id.as_str()), (ARN, "AROA1"));
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_is_told_as_taken() {
    let cx = iam([on!(
        Sdk::create_role,
        iam_refused(
            409,
            "EntityAlreadyExists",
            "Role with name user-api-1a2b3c4d-user already exists."
        )
    )]);
    let (class, text) = failed(desired().create(&cx).await);
    assert_eq!(class, Some(Class::Taken));
    assert!(text.contains("user-api-1a2b3c4d-user"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_iam_answers_is_no_drift() {
    let cx = iam([on!(Sdk::get_role, live("GetRole", ARN, &our_tags_and_more()))]);
    assert_eq!(desired().read(&cx, &out()).await.unwrap(), Some(desired()));
}

#[tokio::test(start_paused = true)]
async fn another_role_under_the_same_name_is_not_ours() {
    let cx = iam([on!(Sdk::get_role, live("GetRole", ARN, &our_tags()))]);
    let before = Output {
        id: "AROA0".to_owned(),
        ..out()
    };
    assert_eq!(desired().read(&cx, &before).await.unwrap(), None);
}

fn named(name: &str, id: &str, tags: &Tags) -> Rule {
    let tags: Vec<String> = (tags.iter())
        .map(|(key, value)| format!("<member><Key>{key}</Key><Value>{value}</Value></member>"))
        .collect();
    let role = format!(
        "<Role><Path>/</Path><RoleName>{name}</RoleName><RoleId>{id}</RoleId><Arn>{ARN}</Arn>\
         <CreateDate>2026-11-22T10:00:00Z</CreateDate><AssumeRolePolicyDocument>%7B%7D</AssumeRolePolicyDocument>\
         <Tags>{}</Tags></Role>",
        tags.concat()
    );
    on!(Sdk::get_role, iam_ok("GetRole", &role))
}

#[tokio::test(start_paused = true)]
async fn a_role_that_lost_our_tag_or_is_another_one_is_never_changed_or_deleted() {
    const NAME: &str = "user-api-1a2b3c4d-user";
    for tags in [strangers_tags(), Tags::new()] {
        let cx = iam([named(NAME, "AROA1", &tags), named(NAME, "AROA1", &tags)]);
        let read = desired().read(&cx, &out()).await.unwrap_err();
        let deleted = desired().check_owner(&cx, &out()).await.unwrap_err();
        assert!(
            is_stranger(&read) && is_stranger(&deleted),
            "{read:#} {deleted:#}"
        );
    }
    let cx = iam([
        named(NAME, "AROA2", &our_tags()),
        named(NAME, "AROA1", &our_tags()),
    ]);
    let error = desired().check_owner(&cx, &out()).await.unwrap_err();
    assert!(
        is_stranger(&error) && error.to_string().contains("AROA2"),
        "{error:#}"
    );
    desired().check_owner(&cx, &out()).await.unwrap();
    desired()
        .check_owner(&iam([on!(Sdk::get_role, gone())]), &out())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_role_whose_name_differs_in_case_is_another_steps() {
    let cx = iam([named("user-api-1a2b3c4d-USER", "AROA1", &our_tags())]);
    let error = desired().find(&cx).await.unwrap_err();
    assert!(
        is_stranger(&error) && error.to_string().contains("user-api-1a2b3c4d-USER"),
        "{error:#}"
    );
}

fn attached(members: &'static str) -> Rule {
    let answer = format!("<AttachedPolicies>{members}</AttachedPolicies><IsTruncated>false</IsTruncated>");
    on!(
        Sdk::list_attached_role_policies,
        iam_ok("ListAttachedRolePolicies", &answer)
    )
}

fn inline(members: &'static str) -> Rule {
    let answer = format!("<PolicyNames>{members}</PolicyNames><IsTruncated>false</IsTruncated>");
    on!(Sdk::list_role_policies, iam_ok("ListRolePolicies", &answer))
}

#[tokio::test(start_paused = true)]
async fn policies_of_others_are_named_at_once_with_the_command_that_takes_them_away() {
    const ADMIN: &str = "<member><PolicyName>AdministratorAccess</PolicyName>\
         <PolicyArn>arn:aws:iam::aws:policy/AdministratorAccess</PolicyArn></member>";
    for (arns, names, command) in [
        (
            ADMIN,
            "<member>logs</member>",
            "aws iam detach-role-policy --role-name user-api-1a2b3c4d-user --policy-arn \
             arn:aws:iam::aws:policy/AdministratorAccess",
        ),
        (
            "",
            "<member>theirs</member>",
            "aws iam delete-role-policy --role-name user-api-1a2b3c4d-user --policy-name theirs",
        ),
    ] {
        let began = Instant::now();
        let cx = iam([
            on!(
                Sdk::delete_role,
                iam_refused(409, "DeleteConflict", "must detach all policies first.")
            ),
            attached(arns),
            inline(names),
        ]);
        let error = desired().delete(&cx, &out()).await.unwrap_err();
        assert_eq!(in_the_way(&error).expect("it is named").command, command);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_waits_until_the_policies_are_gone() {
    let conflict = || {
        iam_refused(
            409,
            "DeleteConflict",
            "Cannot delete entity, must delete policies first.",
        )
    };
    // Ours is still shown, though it was deleted.
    let cx = iam([
        on!(Sdk::delete_role, conflict()),
        attached(""),
        inline("<member>logs</member>"),
        on!(Sdk::delete_role, conflict()),
        attached(""),
        inline(""),
        on!(Sdk::delete_role, iam_ok("DeleteRole", "")),
    ]);
    desired().delete(&cx, &out()).await.unwrap();
    assert_eq!(cx.waits().len(), 2);
    assert!(
        cx.waits()[0].contains("must delete policies first"),
        "{:?}",
        cx.waits()
    );
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_conflicts_for_ever_ends_with_the_reason() {
    let began = Instant::now();
    let rounds = (0..60).flat_map(|_| {
        let conflict = || {
            iam_refused(
                409,
                "DeleteConflict",
                "Cannot delete entity, must delete policies first.",
            )
        };
        [on!(Sdk::delete_role, conflict()), attached(""), inline("")]
    });
    let unending = std::mem::ManuallyDrop::new(iam(rounds));
    let cx: &Cx<Aws> = &unending;
    let (_, text) = failed(desired().delete(cx, &out()).await);
    assert!(text.contains("must delete policies first"), "{text}");
    assert!(began.elapsed() < Duration::from_mins(3));
}

#[tokio::test(start_paused = true)]
async fn iams_own_word_for_a_throttle_is_repeated() {
    let create = attempts!(
        Sdk::create_role,
        iam_refused(400, "Throttling", "Rate exceeded"),
        live("CreateRole", ARN, &our_tags())
    );
    let cx = iam([create.clone()]);
    desired().create(&cx).await.unwrap();
    assert_eq!((create.num_calls(), cx.waits().len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn each_foreign_edit_is_told_as_the_field_it_is_in() {
    let theirs = json!({"Version": "2012-10-17", "Statement": []});
    for (field, trust, tags) in [
        ("trust", theirs, our_tags()),
        ("tags", trust(), tagged(tags::STACK, "renamed").tags),
    ] {
        let cx = iam([on!(Sdk::get_role, role("GetRole", ARN, &trust, &tags))]);
        let live = desired().read(&cx, &out()).await.unwrap().unwrap();
        assert_eq!(differing(&desired(), &live), [field]);
    }
}

fn tagged(key: &str, value: &str) -> Role {
    let mut role = desired();
    role.tags.insert(key.to_owned(), value.to_owned());
    role
}

#[tokio::test(start_paused = true)]
async fn a_trust_that_differs_is_replaced_once_its_principal_is_known() {
    let unknown = || {
        iam_refused(
            400,
            "MalformedPolicyDocument",
            "Invalid principal in policy: \"SERVICE\":\"x\"",
        )
    };
    let cx = iam([
        on!(Sdk::update_assume_role_policy, unknown()),
        on!(
            Sdk::update_assume_role_policy,
            |i| {
                let sent: Value = serde_json::from_str(i.policy_document().unwrap()).unwrap();
                assert_eq!(sent, policy::normal(trust()));
                assert_eq!(i.role_name(), Some("user-api-1a2b3c4d-user"));
            },
            iam_ok("UpdateAssumeRolePolicy", "")
        ),
    ]);
    let before = Role {
        trust: json!({"Version": "2012-10-17", "Statement": []}),
        ..desired()
    };
    desired().update(&cx, &before, out()).await.unwrap();
    assert_eq!(cx.waits().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_the_tags_that_differ_are_set_and_those_that_go_are_taken_away() {
    let set = |value: &'static str| {
        on!(
            Sdk::tag_role,
            |i| {
                let tags: Vec<_> = i.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
                assert_eq!(tags, [("team", value)]);
                assert_eq!(i.role_name(), Some("user-api-1a2b3c4d-user"));
            },
            iam_ok("TagRole", "")
        )
    };
    let cx = iam([
        set("a"),
        set("b"),
        on!(
            Sdk::untag_role,
            |i| {
                assert_eq!(i.tag_keys(), ["team"]);
                assert_eq!(i.role_name(), Some("user-api-1a2b3c4d-user"));
            },
            iam_ok("UntagRole", "")
        ),
    ]);
    tagged("team", "a").update(&cx, &desired(), out()).await.unwrap();
    tagged("team", "b")
        .update(&cx, &tagged("team", "a"), out())
        .await
        .unwrap();
    desired().update(&cx, &tagged("team", "b"), out()).await.unwrap();
    desired().update(&cx, &desired(), out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_that_changes_only_in_case_is_taken_away_before_it_is_set() {
    let cx = iam([
        // As IAM answers a key that was set once more in another case.
        on!(Sdk::get_role, live("GetRole", ARN, &tagged("team", "a").tags)),
        on!(
            Sdk::untag_role,
            |i| { assert_eq!(i.tag_keys(), ["team"]) },
            iam_ok("UntagRole", "")
        ),
        on!(
            Sdk::tag_role,
            |i| {
                let tags: Vec<_> = i.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
                assert_eq!(tags, [("TEAM", "a")]);
            },
            iam_ok("TagRole", "")
        ),
    ]);
    let wanted = tagged("TEAM", "a");
    let before = wanted.read(&cx, &out()).await.unwrap().unwrap();
    assert_eq!(before, tagged("team", "a"));
    wanted.update(&cx, &before, out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_update_of_what_is_gone_is_an_error_that_says_so() {
    let cx = iam([
        on!(Sdk::update_assume_role_policy, gone()),
        on!(Sdk::tag_role, gone()),
        on!(Sdk::untag_role, gone()),
    ]);
    for (now, before) in [
        (
            desired(),
            Role {
                trust: json!({}),
                ..desired()
            },
        ),
        (tagged("team", "a"), desired()),
        (desired(), tagged("team", "a")),
    ] {
        let (class, text) = failed(now.update(&cx, &before, out()).await);
        assert_eq!(class, Some(Class::Gone));
        assert!(text.contains("user-api-1a2b3c4d-user cannot be found"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_trust_that_iam_refuses_is_an_error_at_once() {
    for code in ["MalformedPolicyDocument", "LimitExceeded", "UnmodifiableEntity"] {
        let cx = iam([on!(
            Sdk::update_assume_role_policy,
            iam_refused(400, code, "the reason")
        )]);
        let before = Role {
            trust: json!({}),
            ..desired()
        };
        let (class, text) = failed(desired().update(&cx, &before, out()).await);
        assert_eq!(class, Some(Class::Refused));
        assert!(text.contains(code) && text.contains("the reason"), "{text}");
    }
}

/// A role on a path, with a boundary.
fn narrowed(operation: &str) -> HttpResponse {
    let trust = utf8_percent_encode(&trust().to_string(), NON_ALPHANUMERIC).to_string();
    let tags: Vec<String> = (our_tags().iter())
        .map(|(key, value)| format!("<member><Key>{key}</Key><Value>{value}</Value></member>"))
        .collect();
    let role = format!(
        "<Role><Path>/service/</Path><RoleName>user-api-1a2b3c4d-user</RoleName><RoleId>AROA1</RoleId><Arn>{ARN}</Arn>\
         <CreateDate>2026-11-22T10:00:00Z</CreateDate><AssumeRolePolicyDocument>{trust}</AssumeRolePolicyDocument>\
         <PermissionsBoundary><PermissionsBoundaryType>Policy</PermissionsBoundaryType>\
         <PermissionsBoundaryArn>{BOUNDARY}</PermissionsBoundaryArn></PermissionsBoundary><Tags>{}</Tags></Role>",
        tags.concat()
    );
    iam_ok(operation, &role)
}

#[tokio::test(start_paused = true)]
async fn it_is_made_on_its_path_and_with_its_boundary_and_read_so() {
    let wanted = Role {
        path: "/service/".to_owned(),
        ..bounded(BOUNDARY)
    };
    let cx = iam([
        on!(
            Sdk::create_role,
            |i| {
                let sent = (i.path(), i.permissions_boundary());
                assert_eq!(sent, (Some("/service/"), Some(BOUNDARY)));
            },
            narrowed("CreateRole")
        ),
        on!(Sdk::get_role, narrowed("GetRole")),
    ]);
    wanted.create(&cx).await.unwrap();
    let live = wanted.read(&cx, &out()).await.unwrap().unwrap();
    assert_eq!(live, wanted);
    assert_eq!(differing(&desired(), &live), ["path", "permissions_boundary"]);
    assert!(Role::KIND.fixed.contains(&"path"));
}

#[tokio::test(start_paused = true)]
async fn a_boundary_goes_at_once_and_comes_once_the_function_is_changed() {
    const OTHER: &str = "arn:aws:iam::aws:policy/PowerUserAccess";
    let put = |arn: &'static str| {
        on!(
            Sdk::put_role_permissions_boundary,
            |i| {
                let sent = (i.role_name(), i.permissions_boundary());
                assert_eq!(sent, (Some("user-api-1a2b3c4d-user"), Some(arn)));
            },
            iam_ok("PutRolePermissionsBoundary", "")
        )
    };
    let cx = iam([
        put(BOUNDARY),
        put(OTHER),
        on!(
            Sdk::delete_role_permissions_boundary,
            |i| { assert_eq!(i.role_name(), Some("user-api-1a2b3c4d-user")) },
            iam_ok("DeleteRolePermissionsBoundary", "")
        ),
        // Somebody else was faster.
        on!(
            Sdk::delete_role_permissions_boundary,
            iam_refused(
                404,
                "NoSuchEntity",
                "Role user-api-1a2b3c4d-user has no permissions boundary"
            )
        ),
    ]);
    for (before, after) in [("", BOUNDARY), (BOUNDARY, OTHER)] {
        let updated = bounded(after).update(&cx, &bounded(before), out()).await.unwrap();
        assert!(updated.retires, "nothing is sent before");
        bounded(after).retire(&cx, &out()).await.unwrap();
    }
    for _ in 0..2 {
        let updated = bounded("").update(&cx, &bounded(OTHER), out()).await.unwrap();
        assert!(!updated.retires);
    }
    bounded("").retire(&cx, &out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_boundary_that_is_not_there_is_told_at_once_in_iams_words() {
    const ABSENT: &str =
        "Scope ARN: arn:aws:iam::111122223333:policy/boundary does not exist or is not attachable.";
    let absent = || iam_refused(404, "NoSuchEntity", ABSENT);
    let cx = iam([
        on!(Sdk::create_role, absent()),
        on!(Sdk::put_role_permissions_boundary, absent()),
    ]);
    for (class, text) in [
        failed(bounded(BOUNDARY).create(&cx).await),
        failed(bounded(BOUNDARY).retire(&cx, &out()).await),
    ] {
        assert_eq!(class, Some(Class::Refused));
        assert!(text.contains(ABSENT), "{text}");
    }
    assert!(cx.waits().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_this_run_detached_is_not_taken_for_somebody_elses() {
    const READ: &str =
        "<member><PolicyName>Read</PolicyName><PolicyArn>arn:aws:iam::aws:policy/Read</PolicyArn></member>";
    let cx = iam([
        on!(
            Sdk::delete_role,
            iam_refused(
                409,
                "DeleteConflict",
                "Cannot delete entity, must detach all policies first."
            )
        ),
        attached(READ),
        inline("<member>logs</member><member>policy</member>"),
        on!(Sdk::delete_role, iam_ok("DeleteRole", "")),
    ]);
    let detached = (desired().name, "arn:aws:iam::aws:policy/Read".to_owned());
    cx.cloud().detached.borrow_mut().insert(detached);
    desired().delete(&cx, &out()).await.unwrap();
    assert_eq!(cx.waits().len(), 1);
}
