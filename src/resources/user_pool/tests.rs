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
        id: "eu-central-1_ours".into(),
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
        on!(
            Sdk::list_user_pools,
            |i| { assert_eq!(i.next_token(), None) },
            ok(first.clone())
        ),
        on!(
            Sdk::list_user_pools,
            |i| { assert_eq!(i.next_token(), Some("t2")) },
            ok(second.clone())
        ),
        on!(Sdk::describe_user_pool, ok(live("strangers", &strangers_tags()))),
        on!(
            Sdk::describe_user_pool,
            refused(400, "ResourceNotFoundException", "no such pool")
        ),
        on!(
            Sdk::describe_user_pool,
            ok(live("eu-central-1_ours", &our_tags()))
        ),
    ]);
    let found = desired().find(&cx).await.unwrap().unwrap();
    assert_eq!(
        (found.id.as_str(), found.arn.as_str()),
        ("eu-central-1_ours", ARN)
    );
}

#[tokio::test(start_paused = true)]
async fn a_pool_of_our_name_and_anothers_owner_is_not_found() {
    let cx = cognito([
        on!(
            Sdk::list_user_pools,
            ok(json!({"UserPools": [{"Id": "x", "Name": "user-api"}]}))
        ),
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
            assert!(
                i.admin_create_user_config()
                    .unwrap()
                    .allow_admin_create_user_only()
            );
            assert_eq!(
                i.issuer_configuration().unwrap().r#type(),
                Some(&IssuerType::Original)
            );
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
    for answer in [
        live("eu-central-1_ours", &our_tags()),
        live("eu-central-1_ours", &our_tags_and_more()),
    ] {
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
    assert_eq!(
        live,
        UserPool {
            issuer: None,
            ..desired()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn each_foreign_edit_is_told_as_the_field_it_is_in() {
    for (field, at, edit) in [
        ("name", "/Name", json!("theirs")),
        (
            "admin_create_user_only",
            "/AdminCreateUserConfig/AllowAdminCreateUserOnly",
            json!(false),
        ),
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
    let cx = cognito([
        on!(Sdk::describe_user_pool, gone()),
        on!(
            Sdk::delete_user_pool,
            |i| { assert_eq!(i.user_pool_id(), Some("eu-central-1_ours")) },
            gone()
        ),
    ]);
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
            on!(
                Sdk::delete_user_pool,
                refused(400, "InvalidParameterException", reason)
            ),
            on!(Sdk::describe_user_pool, ok(pool.clone())),
        ]);
        let error = desired().delete(&cx, &out()).await.unwrap_err();
        let command =
            "aws cognito-idp delete-user-pool-domain --user-pool-id eu-central-1_ours --domain theirs";
        assert_eq!(in_the_way(&error).expect("it is named").command, command);
        let (class, text) = failed::<()>(Err(error));
        assert_eq!(class, Some(Class::Refused));
        assert!(
            text.contains(reason) && text.contains("the domain theirs"),
            "{text}"
        );
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
        assert!(
            is_stranger(&read) && is_stranger(&deleted),
            "{read:#} {deleted:#}"
        );
        assert!(
            read.to_string().contains("user pool eu-central-1_ours"),
            "{read:#}"
        );
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
    let mut pool = with(
        kept(),
        json!({
            "Id": "eu-central-1_ours", "Arn": ARN, "Name": "user-api", "Status": "Enabled", "Domain": "d",
            "CreationDate": 1.0, "LastModifiedDate": 2.0, "EstimatedNumberOfUsers": 7,
            "SchemaAttributes": [{"Name": "sub", "AttributeDataType": "String"}],
            "UsernameAttributes": ["email"], "UsernameConfiguration": {"CaseSensitive": false},
            "SmsVerificationMessage": "{####}", "EmailVerificationMessage": "code {####}",
            "EmailVerificationSubject": "your code", "EmailConfigurationFailure": "none",
        }),
    );
    pool["AdminCreateUserConfig"]["UnusedAccountValidityDays"] = json!(5);
    pool["UserPoolTags"]["aws:servicecatalog:portfolio"] = json!("p");
    json!({"UserPool": pool})
}

fn described() -> (String, Value) {
    (
        "DescribeUserPool".to_owned(),
        json!({"UserPoolId": "eu-central-1_ours"}),
    )
}

/// The whole of the crowded pool but for these fields.
fn updated(fields: Value) -> (String, Value) {
    let all = with(
        kept(),
        json!({"UserPoolId": "eu-central-1_ours", "PoolName": "user-api"}),
    );
    ("UpdateUserPool".to_owned(), with(all, fields))
}

#[allow(clippy::needless_pass_by_value)] // reads better around `json!`
fn tagged(tags: Value) -> (String, Value) {
    (
        "TagResource".to_owned(),
        json!({"ResourceArn": ARN, "Tags": tags}),
    )
}

fn untagged(key: &str) -> (String, Value) {
    (
        "UntagResource".to_owned(),
        json!({"ResourceArn": ARN, "TagKeys": [key]}),
    )
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
        (
            UserPool {
                name: "renamed".to_owned(),
                ..d()
            },
            json!({"PoolName": "renamed"}),
        ),
        (
            UserPool {
                tier: "PLUS".to_owned(),
                ..d()
            },
            json!({"UserPoolTier": "PLUS"}),
        ),
        (
            UserPool {
                deletion_protection: true,
                ..d()
            },
            json!({"DeletionProtection": "ACTIVE"}),
        ),
        (
            UserPool {
                issuer: Some("UPDATED".to_owned()),
                ..d()
            },
            json!({"IssuerConfiguration": {"Type": "UPDATED"}}),
        ),
        (
            UserPool {
                admin_create_user_only: false,
                ..d()
            },
            json!({"AdminCreateUserConfig": {
                "AllowAdminCreateUserOnly": false,
                "InviteMessageTemplate": {"EmailMessage": "{username} {####}", "EmailSubject": "welcome"},
            }}),
        ),
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
    let gone = refused(
        400,
        "ResourceNotFoundException",
        "User pool eu-central-1_ours does not exist.",
    );
    let (cx, wire) = cognito_wire([ok(crowded()), gone]);
    desired().unprotect(&cx, &out()).await.unwrap();
    desired().unprotect(&cx, &out()).await.unwrap();
    assert_eq!(wire.sent(), [described(), described()]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_was_protected_meanwhile_is_not_deleted_and_the_reason_is_told() {
    let reason = "The user pool cannot be deleted because deletion protection is activated.";
    let cx = cognito([
        on!(
            Sdk::delete_user_pool,
            refused(400, "InvalidParameterException", reason)
        ),
        on!(
            Sdk::describe_user_pool,
            ok(live("eu-central-1_ours", &our_tags()))
        ),
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
        let older = [
            "SmsVerificationMessage",
            "EmailVerificationMessage",
            "EmailVerificationSubject",
        ]
        .contains(&name);
        assert!(
            older || request.get(name).is_some(),
            "{name} is not among what is kept"
        );
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
    let before = UserPool {
        issuer: None,
        ..desired()
    };
    desired().update(&cx, &before, out()).await.unwrap();
    assert_eq!(wire.sent(), [described(), updated(json!({}))]);
}

#[tokio::test(start_paused = true)]
async fn tags_alone_are_set_and_taken_away_without_an_update() {
    let (cx, wire) = cognito_wire([done(), done(), done(), done()]);
    tagged_pool("team", "a")
        .update(&cx, &desired(), out())
        .await
        .unwrap();
    desired()
        .update(&cx, &tagged_pool("team", "a"), out())
        .await
        .unwrap();
    tagged_pool("squad", "b")
        .update(&cx, &tagged_pool("team", "a"), out())
        .await
        .unwrap();
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
    let now = UserPool {
        tier: "PLUS".to_owned(),
        ..tagged_pool("squad", "b")
    };
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
    let now = UserPool {
        name: "renamed".to_owned(),
        ..desired()
    };
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
    UserPool {
        name: "renamed".to_owned(),
        ..desired()
    }
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
    for (option, kept) in [
        ("CONFIRM_WITH_LINK", link),
        ("CONFIRM_WITH_CODE", code.clone()),
        ("", code),
    ] {
        let option = if option.is_empty() {
            json!({})
        } else {
            json!({"DefaultEmailOption": option})
        };
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
        pool["VerificationMessageTemplate"]
            .as_object_mut()
            .unwrap()
            .remove("EmailMessage");
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
        (
            "InvalidSmsRoleTrustRelationshipException",
            "Role does not have a trust relationship",
        ),
        (
            "InvalidSmsRoleAccessPolicyException",
            "Role does not have permission to publish with SNS",
        ),
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
            let class = if code == "AccessDeniedException" {
                Class::Denied
            } else {
                Class::Refused
            };
            for result in [updated, unprotected] {
                let (is, text) = failed(result);
                assert_eq!(is, Some(class));
                assert!(
                    text.contains(&format!("iam:PassRole on the role {role},")),
                    "{text}"
                );
                assert!(
                    text.contains("user pool eu-central-1_ours") && text.contains(reason),
                    "{text}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_update_itself_does_not_blame_the_sms_role() {
    let reason = "User: u is not authorized to perform: cognito-idp:UpdateUserPool on resource: r";
    let refusal = || refused(400, "AccessDeniedException", reason);
    let mut without = crowded();
    without["UserPool"]
        .as_object_mut()
        .unwrap()
        .remove("SmsConfiguration");
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
    assert_eq!(
        wire.sent()[1],
        updated(json!({"PoolName": "renamed", "SmsConfiguration": sms}))
    );
}

#[tokio::test(start_paused = true)]
async fn what_another_changed_meanwhile_is_not_undone() {
    let mut meanwhile = crowded();
    meanwhile["UserPool"]["MfaConfiguration"] = json!("ON");
    let concurrent = refused(
        400,
        "ConcurrentModificationException",
        "another change is under way",
    );
    let (cx, wire) = cognito_wire([ok(crowded()), concurrent, ok(meanwhile), done()]);
    let now = UserPool {
        tier: "PLUS".to_owned(),
        ..desired()
    };
    now.update(&cx, &desired(), out()).await.unwrap();
    let second = updated(json!({"UserPoolTier": "PLUS", "MfaConfiguration": "ON"}));
    assert_eq!(wire.sent()[2..], [described(), second]);
    assert!(
        cx.waits()[0].contains("ConcurrentModificationException"),
        "{:?}",
        cx.waits()
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_under_way_for_ever_ends_with_the_reason() {
    let began = tokio::time::Instant::now();
    let concurrent = || {
        refused(
            400,
            "ConcurrentModificationException",
            "another change is under way",
        )
    };
    // After 1, 2, 3, 4 and from then on 5 seconds, for two minutes.
    let cx = cognito((0..27).flat_map(|_| {
        [
            on!(Sdk::describe_user_pool, ok(crowded())),
            on!(Sdk::update_user_pool, concurrent()),
        ]
    }));
    let now = UserPool {
        tier: "PLUS".to_owned(),
        ..desired()
    };
    let (class, text) = failed(now.update(&cx, &desired(), out()).await);
    assert_eq!(class, Some(Class::NotReady));
    assert!(text.contains("another change is under way"), "{text}");
    assert!(began.elapsed() < std::time::Duration::from_mins(3));
}

#[tokio::test(start_paused = true)]
async fn a_refused_update_is_an_error_at_once() {
    for code in [
        "TierChangeNotAllowedException",
        "FeatureUnavailableInTierException",
        "UserImportInProgressException",
        "UserPoolTaggingException",
        "InvalidParameterException",
    ] {
        let (cx, wire) = cognito_wire([ok(crowded()), refused(400, code, "the reason")]);
        let now = UserPool {
            tier: "LITE".to_owned(),
            ..desired()
        };
        let (class, text) = failed(now.update(&cx, &desired(), out()).await);
        assert_eq!((class, wire.sent().len()), (Some(Class::Refused), 2));
        assert!(text.contains(code) && text.contains("the reason"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_of_what_is_gone_is_an_error_that_says_so() {
    let gone = || {
        refused(
            400,
            "ResourceNotFoundException",
            "User pool eu-central-1_ours does not exist.",
        )
    };
    let now = UserPool {
        tier: "PLUS".to_owned(),
        ..desired()
    };
    let (cx, _) = cognito_wire([gone(), ok(crowded()), gone(), gone()]);
    let (_, text) = failed(now.update(&cx, &desired(), out()).await);
    assert!(
        text.contains("user pool eu-central-1_ours is not there any more"),
        "{text}"
    );
    assert_eq!(
        failed(now.update(&cx, &desired(), out()).await).0,
        Some(Class::Gone)
    );
    assert_eq!(
        failed(tagged_pool("a", "b").update(&cx, &desired(), out()).await).0,
        Some(Class::Gone)
    );
}

#[tokio::test(start_paused = true)]
async fn days_that_are_not_set_are_not_sent() {
    let (cx, wire) = cognito_wire([ok(live("eu-central-1_ours", &our_tags()))]);
    desired().create(&cx).await.unwrap();
    assert_eq!(
        wire.sent()[0].1["AdminCreateUserConfig"],
        json!({"AllowAdminCreateUserOnly": true})
    );
}
