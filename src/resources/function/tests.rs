use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use aws_sdk_lambda::Client as Sdk;
use aws_sdk_lambda::operation::update_function_code::UpdateFunctionCodeInput;
use aws_sdk_lambda::operation::update_function_configuration::builders::UpdateFunctionConfigurationInputBuilder;
use aws_sdk_lambda::types::{LogFormat, TracingConfig, TracingMode, VpcConfig};
use aws_smithy_mocks::Rule;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::aws::test_support::{
    always, differing, failed, iam, iam_ok, iam_refused, lambda, ok, on, our_tags, our_tags_and_more,
    refused, slow_lambda, strangers_tags,
};
use crate::resource::{class, is_stranger};

const ARN: &str = "arn:aws:lambda:eu-central-1:111122223333:function:user-api-1a2b3c4d-user";
const UNASSUMABLE: &str = "The role defined for the function cannot be assumed by Lambda.";

fn desired() -> Function {
    Function {
        name: "user-api-1a2b3c4d-user".to_owned(),
        role: "arn:aws:iam::111122223333:role/r".to_owned(),
        role_id: Some("AROA1".to_owned()),
        rights: String::new(),
        runtime: "nodejs22.x".to_owned(),
        handler: "index.handler".to_owned(),
        architecture: "arm64".to_owned(),
        memory_mb: 128,
        timeout_seconds: 3,
        code_sha256: "aGFzaA==".to_owned(),
        code_size: 2,
        environment: Some(BTreeMap::new()),
        description: String::new(),
        ephemeral_storage_mb: STORAGE_MB,
        tracing: false,
        log_format: "text".to_owned(),
        layers: Vec::new(),
        kms_key: String::new(),
        reserved_concurrency: None.into(),
        vpc: Vpc::default(),
        tags: our_tags(),
        code: Code(Rc::new(b"PK".to_vec())),
        variables: Variables::default(),
    }
}

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/k";

fn layer(version: usize) -> String {
    format!("arn:aws:lambda:eu-central-1:111122223333:layer:otel:{version}")
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

/// With every optional setting.
fn with_settings() -> Function {
    Function {
        description: "Orders".to_owned(),
        ephemeral_storage_mb: 1024,
        tracing: true,
        log_format: "json".to_owned(),
        layers: vec![layer(2), layer(1)],
        kms_key: KEY.to_owned(),
        reserved_concurrency: Some(20).into(),
        vpc: Vpc {
            subnets: ids(&["subnet-0a", "subnet-0b"]),
            security_groups: ids(&["sg-0a"]),
        },
        ..desired()
    }
}

/// Lambda's answer about [`with_settings`].
fn live_with_settings() -> Value {
    let mut answer = live("Active", &our_tags());
    let configuration = answer["Configuration"].as_object_mut().unwrap();
    let settings = json!({
        "Description": "Orders", "EphemeralStorage": {"Size": 1024}, "TracingConfig": {"Mode": "Active"}, "KMSKeyArn": KEY,
        "LoggingConfig": {
            "LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO",
            "LogGroup": "/aws/lambda/user-api-1a2b3c4d-user",
        },
        "Layers": [{"Arn": layer(2), "CodeSize": 5}, {"Arn": layer(1), "CodeSize": 7}],
        // In an order of Lambda's own.
        "VpcConfig": {
            "SubnetIds": ["subnet-0b", "subnet-0a"], "SecurityGroupIds": ["sg-0a"], "VpcId": "vpc-0a",
            "Ipv6AllowedForDualStack": false,
        },
    });
    configuration.extend(settings.as_object().unwrap().clone());
    answer["Concurrency"] = json!({"ReservedConcurrentExecutions": 20});
    answer
}

fn with_environment(variables: &[(&str, &str)]) -> Function {
    let function = desired();
    let fingerprints = variables
        .iter()
        .map(|&(name, value)| (name.to_owned(), fingerprint(&function.name, name, value)));
    let values = variables
        .iter()
        .map(|&(name, value)| (name.to_owned(), SecretString::from(value)));
    Function {
        environment: Some(fingerprints.collect()),
        variables: Variables(Rc::new(values.collect())),
        ..function
    }
}

fn out() -> Output {
    Output { arn: ARN.to_owned() }
}

fn live(state: &str, tags: &Tags) -> Value {
    json!({
        "Configuration": {
            "FunctionName": "user-api-1a2b3c4d-user", "FunctionArn": ARN, "Runtime": "nodejs22.x",
            "Role": "arn:aws:iam::111122223333:role/r", "Handler": "index.handler", "CodeSize": 2,
            "Description": "", "Timeout": 3, "MemorySize": 128, "CodeSha256": "aGFzaA==", "Version": "$LATEST",
            "TracingConfig": {"Mode": "PassThrough"}, "RevisionId": "r", "State": state,
            "StateReason": "the reason of AWS", "PackageType": "Zip", "Architectures": ["arm64"],
            "EphemeralStorage": {"Size": 512}, "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        },
        "Code": {"RepositoryType": "S3", "Location": "https://example.com"},
        "Tags": tags,
    })
}

fn get(state: &str) -> Rule {
    let answer = live(state, &our_tags());
    on!(Sdk::get_function, ok(answer.clone()))
}

fn refuse_create(message: &'static str) -> Rule {
    on!(
        Sdk::create_function,
        refused(400, "InvalidParameterValueException", message)
    )
}

fn gone() -> HttpResponse {
    refused(
        404,
        "ResourceNotFoundException",
        "Function not found: user-api-1a2b3c4d-user",
    )
}

#[test]
fn the_runtimes_that_the_sdk_lists_are_known() {
    assert!(is_known_runtime("nodejs22.x") && is_known_runtime("provided.al2023"));
    assert!(!is_known_runtime("nodejs99.x") && !is_known_runtime("nodejs22"));
}

#[tokio::test(start_paused = true)]
async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
    let cx = lambda([
        on!(Sdk::get_function, gone()),
        on!(Sdk::get_function, gone()),
        on!(
            Sdk::delete_function,
            |i| { assert_eq!(i.function_name(), Some("user-api-1a2b3c4d-user")) },
            gone()
        ),
    ]);
    assert!(desired().find(&cx).await.unwrap().is_none());
    assert_eq!(desired().read(&cx, &out()).await.unwrap(), None);
    desired().delete(&cx, &out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_function_of_another_owner_is_a_strangers() {
    let strangers = live("Active", &strangers_tags());
    let cx = lambda([on!(Sdk::get_function, ok(strangers.clone()))]);
    let error = desired().find(&cx).await.unwrap_err();
    assert!(
        is_stranger(&error) && error.to_string().contains("user-api-1a2b3c4d-user"),
        "{error:#}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_function_that_a_stranger_made_again_is_neither_read_as_drift_nor_deleted() {
    for tags in [strangers_tags(), Tags::new()] {
        let answer = live("Active", &tags);
        let get = |answer: Value| on!(Sdk::get_function, ok(answer.clone()));
        let cx = lambda([get(answer.clone()), get(answer)]);
        let read = desired().read(&cx, &out()).await.unwrap_err();
        let deleted = desired().check_owner(&cx, &out()).await.unwrap_err();
        assert!(
            is_stranger(&read) && is_stranger(&deleted),
            "{read:#} {deleted:#}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn tags_that_may_not_be_read_make_nobody_a_stranger() {
    let mut answer = live("Active", &Tags::new());
    answer.as_object_mut().unwrap().remove("Tags");
    answer["TagsError"] = json!({"ErrorCode": "AccessDeniedException", "Message": "not authorized"});
    let get = |answer: Value| on!(Sdk::get_function, ok(answer.clone()));
    let cx = lambda([get(answer.clone()), get(answer.clone()), get(answer)]);
    for error in [
        desired().find(&cx).await.unwrap_err(),
        desired().read(&cx, &out()).await.unwrap_err(),
        desired().check_owner(&cx, &out()).await.unwrap_err(),
    ] {
        assert!(!is_stranger(&error), "{error:#}");
        assert_eq!(class(&error), Some(Class::Denied), "{error:#}");
        assert!(format!("{error:#}").contains("lambda:ListTags"), "{error:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_interrupted_run_left_pending_is_waited_for_when_it_is_found() {
    let cx = lambda([get("Pending"), get("Pending"), get("Active")]);
    assert_eq!(desired().find(&cx).await.unwrap().unwrap().arn, ARN);
    assert_eq!(cx.waits(), ["the function to become Active"]);
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_not_assumable_yet_is_waited_for_and_told() {
    let cx = lambda([
        refuse_create(UNASSUMABLE),
        refuse_create(UNASSUMABLE),
        refuse_create(UNASSUMABLE),
        on!(
            Sdk::create_function,
            |i| {
                assert_eq!(i.function_name(), Some("user-api-1a2b3c4d-user"));
                assert_eq!(i.role(), Some("arn:aws:iam::111122223333:role/r"));
                assert_eq!(i.runtime().unwrap().as_str(), "nodejs22.x");
                assert_eq!(i.handler(), Some("index.handler"));
                assert_eq!(i.architectures(), [Architecture::Arm64]);
                assert_eq!((i.memory_size(), i.timeout()), (Some(128), Some(3)));
                assert_eq!(i.code().unwrap().zip_file().unwrap().as_ref(), b"PK");
                let variables = HashMap::from([("A".to_owned(), "1".to_owned())]);
                assert_eq!(i.environment().unwrap().variables(), Some(&variables));
                assert_eq!(i.tags(), Some(&tags::map(&our_tags())));
            },
            ok(live("Pending", &our_tags())["Configuration"].clone())
        ),
        get("Pending"),
        get("Active"),
    ]);
    assert_eq!(
        with_environment(&[("A", "1")]).create(&cx).await.unwrap().arn,
        ARN
    );
    let waits = cx.waits();
    assert_eq!(waits.len(), 4, "{waits:?}");
    assert!(
        waits[0].contains("lambda:CreateFunction") && waits[0].contains(UNASSUMABLE),
        "{waits:?}"
    );
    assert_eq!(waits[3], "the function to become Active");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_never_becomes_assumable_ends_with_lambdas_reason() {
    let began = Instant::now();
    let cx = lambda([always!(
        Sdk::create_function,
        refused(400, "InvalidParameterValueException", UNASSUMABLE)
    )]);
    let (_, text) = failed(desired().create(&cx).await);
    assert!(text.contains(UNASSUMABLE), "{text}");
    assert!(began.elapsed() <= Duration::from_mins(11));
}

#[tokio::test(start_paused = true)]
async fn while_roles_spread_one_function_asks_for_all() {
    let began = Instant::now();
    let create = always!(
        Sdk::create_function,
        if began.elapsed() < Duration::from_secs(4) {
            refused(400, "InvalidParameterValueException", UNASSUMABLE)
        } else {
            ok(live("Active", &our_tags())["Configuration"].clone())
        }
    );
    let cx = lambda([create.clone()]);
    let functions: Vec<Function> = (0..32).map(|_| desired()).collect();
    let made = futures_util::future::join_all(functions.iter().map(|function| function.create(&cx))).await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    // The one that asks needs 100 tries; all others one before and one after.
    assert!(
        create.num_calls() < 100 + 3 * 32,
        "{} requests",
        create.num_calls()
    );
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

fn of_size(bytes: usize) -> Function {
    Function {
        code: Code(Rc::new(vec![0; bytes])),
        ..desired()
    }
}

fn active() -> HttpResponse {
    ok(live("Active", &our_tags())["Configuration"].clone())
}

#[tokio::test(start_paused = true)]
async fn an_upload_may_take_as_long_as_2_mbit_a_second_need() {
    // 50 MiB, a third more in base64.
    let needs = Duration::from_secs(50 * 1024 * 1024 * 8 * 4 / 3 / 2_000_000);
    let (cx, requests) = slow_lambda(needs, active);
    assert_eq!(of_size(50 * 1024 * 1024).create(&cx).await.unwrap().arn, ARN);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn uploads_that_do_not_fit_the_line_go_one_after_the_other() {
    let began = Instant::now();
    let (cx, requests) = slow_lambda(Duration::from_secs(30), active);
    let functions = [
        of_size(6 << 20),
        of_size(6 << 20),
        of_size(1 << 20),
        of_size(1 << 20),
    ];
    let made = futures_util::future::join_all(functions.iter().map(|function| function.create(&cx))).await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    assert_eq!(requests.load(Ordering::SeqCst), 4);
    assert_eq!(began.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_lost_upload_is_not_repeated_without_a_word() {
    for size in [2, 9 << 20] {
        let began = Instant::now();
        let (cx, requests) = slow_lambda(Duration::from_hours(10), active);
        let (class, text) = failed(of_size(size).create(&cx).await);
        assert_eq!(class, Some(Class::Ambiguous), "{text}");
        assert_eq!(requests.load(Ordering::SeqCst), 1);
        assert_eq!(
            began.elapsed().as_secs(),
            Uploads::attempt_timeout(size).as_secs()
        );
        let before = Function {
            code_sha256: "b2xk".to_owned(),
            ..desired()
        };
        let (class, text) = failed(of_size(size).update(&cx, &before, out()).await);
        assert_eq!(
            (class, requests.load(Ordering::SeqCst)),
            (Some(Class::Ambiguous), 2),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_function_that_lambda_does_not_show_is_waited_for_two_minutes() {
    let began = Instant::now();
    let cx = lambda([
        on!(
            Sdk::create_function,
            ok(live("Pending", &our_tags())["Configuration"].clone())
        ),
        always!(Sdk::get_function, gone()),
    ]);
    let text = format!("{:#}", desired().create(&cx).await.unwrap_err());
    assert!(text.contains("does not show it 120 seconds later"), "{text}");
    assert_eq!(began.elapsed().as_secs() / 60, 2);
}

#[tokio::test(start_paused = true)]
async fn another_wrong_parameter_fails_at_once() {
    let cx = lambda([refuse_create(
        "Could not unzip uploaded file. Please check your file, then try again.",
    )]);
    assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Refused));
    assert!(cx.waits().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_value_of_the_environment_is_told_whatever_lambda_repeats() {
    let function = with_environment(&[("A", "hunter2-\"quoted\"\nline"), ("B", "1"), ("C", "hunter2")]);
    let messages = [
        "Lambda was unable to configure your environment variables because the environment variables you have provided \
         exceeded the 4KB limit. String measured: {\"A\":\"hunter2-\\\"quoted\\\"\\nline\",\"B\":\"1\",\"C\":\"hunter2\"}",
        "1 validation error detected: Value '{A=hunter2-\"quoted\"\nline, B=1, C=hunter2}' at 'environment.variables' \
         failed to satisfy constraint",
        "the handler xhunter2y is not known; at most 128 MB, not 1",
        // Escaped for HTML, a URL and JSON, and cut.
        "hunter2-&quot;quoted&quot; hunter2-%22quoted%22 \\u0068unter2 hunte...",
    ];
    let tells = |text: &str| {
        ["hunte", "unter2", "quoted"]
            .iter()
            .any(|part| text.contains(part))
    };
    for message in messages {
        let cx = lambda([refuse_create(message)]);
        let (class, text) = failed(function.create(&cx).await);
        assert_eq!(class, Some(Class::Refused));
        assert!(!tells(&text), "{text}");
        assert!(text.contains("InvalidParameterValueException"), "{text}");
        assert!(cx.waits().is_empty());
        let cx = lambda([on!(
            Sdk::update_function_configuration,
            refused(400, "InvalidParameterValueException", message)
        )]);
        let update = function
            .update(&cx, &desired(), Output { arn: ARN.to_owned() })
            .await;
        let (_, text) = failed(update);
        assert!(!tells(&text), "{text}");

        // While it waits, for a role or for another call to end.
        let role: &str = format!("{UNASSUMABLE} {message}").leak();
        let busy: &str = format!("An update is in progress for resource: a. {message}").leak();
        for (code, waits_for) in [
            ("InvalidParameterValueException", role),
            ("ResourceConflictException", busy),
            ("TooManyRequestsException", busy),
        ] {
            let cx = lambda([
                on!(Sdk::create_function, refused(400, code, waits_for)),
                refuse_create(message),
            ]);
            let (_, text) = failed(function.create(&cx).await);
            assert_eq!(cx.waits().len(), 1, "{text}");
            assert!(!tells(&cx.waits()[0]), "{:?}", cx.waits());
            assert!(cx.waits()[0].contains(code), "{:?}", cx.waits());
        }

        // In what it says of the function later.
        let mut answer = live("Failed", &our_tags());
        answer["Configuration"]["StateReason"] = json!(message);
        answer["Configuration"]["StateReasonCode"] = json!("InternalError");
        let cx = lambda([
            on!(Sdk::create_function, ok(json!({}))),
            on!(Sdk::get_function, ok(answer.clone())),
        ]);
        let (_, text) = failed(function.create(&cx).await);
        assert!(!tells(&text) && text.contains("InternalError"), "{text}");
        let mut answer = live("Active", &our_tags());
        answer["Configuration"]["LastUpdateStatus"] = json!("Failed");
        answer["Configuration"]["LastUpdateStatusReason"] = json!(message);
        answer["Configuration"]["LastUpdateStatusReasonCode"] = json!("InvalidZipFileException");
        let cx = lambda([
            on!(Sdk::update_function_configuration, ok(json!({}))),
            on!(Sdk::get_function, ok(answer.clone())),
        ]);
        let update = function
            .update(&cx, &desired(), Output { arn: ARN.to_owned() })
            .await;
        let (_, text) = failed(update);
        assert!(
            !tells(&text) && text.contains("InvalidZipFileException"),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_is_told_as_taken() {
    let cx = lambda([on!(
        Sdk::create_function,
        refused(
            409,
            "ResourceConflictException",
            "Function already exist: user-api-1a2b3c4d-user"
        )
    )]);
    let (class, text) = failed(desired().create(&cx).await);
    assert_eq!(class, Some(Class::Taken));
    assert!(text.contains("user-api-1a2b3c4d-user"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_function_is_an_error_with_the_reason() {
    let cx = lambda([
        on!(Sdk::create_function, ok(json!({}))),
        get("Pending"),
        get("Failed"),
    ]);
    let (_, text) = failed(desired().create(&cx).await);
    assert!(text.contains("the reason of AWS"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_aws_answers_is_no_drift() {
    let answer = live("Active", &our_tags_and_more());
    let cx = lambda([on!(Sdk::get_function, ok(answer.clone()))]);
    assert_eq!(desired().read(&cx, &out()).await.unwrap(), Some(desired()));
}

/// What `read` makes of AWS's answer with this value at this place.
async fn read_with(pointer: &str, value: Value) -> Function {
    let mut answer = live("Active", &our_tags());
    answer["Configuration"]["Environment"] = json!({"Variables": {}});
    *answer.pointer_mut(pointer).unwrap() = value;
    let cx = lambda([on!(Sdk::get_function, ok(answer.clone()))]);
    desired().read(&cx, &out()).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_is_drift_of_that_field_alone() {
    let admin = "arn:aws:iam::111122223333:role/admin";
    let with = |change: fn(&mut Function)| {
        let mut function = desired();
        change(&mut function);
        function
    };
    let debug = with_environment(&[("DEBUG", "1")]).environment;
    for (pointer, other, expected) in [
        (
            "/Configuration/Role",
            json!(admin),
            Function {
                role: admin.to_owned(),
                ..desired()
            },
        ),
        (
            "/Configuration/Runtime",
            json!("nodejs20.x"),
            with(|f| f.runtime = "nodejs20.x".to_owned()),
        ),
        (
            "/Configuration/Handler",
            json!("other.handler"),
            with(|f| f.handler = "other.handler".to_owned()),
        ),
        (
            "/Configuration/Architectures",
            json!(["x86_64"]),
            with(|f| f.architecture = "x86_64".to_owned()),
        ),
        (
            "/Configuration/MemorySize",
            json!(256),
            with(|f| f.memory_mb = 256),
        ),
        (
            "/Configuration/Timeout",
            json!(900),
            with(|f| f.timeout_seconds = 900),
        ),
        (
            "/Configuration/CodeSha256",
            json!("b3RoZXI="),
            with(|f| f.code_sha256 = "b3RoZXI=".to_owned()),
        ),
        ("/Configuration/CodeSize", json!(3), with(|f| f.code_size = 3)),
        (
            "/Configuration/Environment/Variables",
            json!({"DEBUG": "1"}),
            Function {
                environment: debug,
                ..desired()
            },
        ),
        (
            "/Tags/provision:stack",
            json!("x"),
            with(|f| drop(f.tags.insert(tags::STACK.to_owned(), "x".to_owned()))),
        ),
    ] {
        assert_eq!(read_with(pointer, other).await, expected, "{pointer}");
        assert_ne!(expected, desired(), "{pointer}");
    }
}

/// What a survey reads of a function whose role IAM answers so.
async fn surveyed(role: fn() -> HttpResponse) -> Function {
    let answer = live("Active", &our_tags());
    let lambda = lambda([on!(Sdk::get_function, ok(answer.clone()))]);
    let iam = iam([on!(
        aws_sdk_iam::Client::get_role,
        |i| { assert_eq!(i.role_name(), Some("r")) },
        role()
    )]);
    let mut aws = lambda.cloud().for_a_survey();
    aws.iam = iam.cloud().iam.clone();
    let cx = Cx::new(Rc::new(aws), Rc::new(|_| ()));
    desired().read(&cx, &out()).await.unwrap().unwrap()
}

fn role(id: &str) -> HttpResponse {
    iam_ok(
        "GetRole",
        &format!(
            "<Role><Path>/</Path><RoleName>r</RoleName><RoleId>{id}</RoleId><Arn>arn:aws:iam::111122223333:role/r</Arn>\
             <CreateDate>2026-11-22T10:00:00Z</CreateDate></Role>"
        ),
    )
}

#[tokio::test(start_paused = true)]
async fn another_role_under_the_name_of_its_own_is_drift_and_the_function_is_made_again() {
    assert_eq!(surveyed(|| role("AROA1")).await, desired());
    let other: fn() -> HttpResponse = || role("AROA2");
    let gone: fn() -> HttpResponse =
        || iam_refused(404, "NoSuchEntity", "The role with name r cannot be found.");
    for (answer, told) in [(other, Some("")), (gone, None)] {
        let live = surveyed(answer).await;
        assert_eq!(live.role_id.as_deref(), told);
        assert_eq!(differing(&live, &desired()), ["role_id"]);
    }
    assert!(Function::KIND.fixed.contains(&"role_id"));
}

#[tokio::test(start_paused = true)]
async fn variables_that_lambda_may_not_decrypt_are_not_compared() {
    let denied = json!({"Error": {"ErrorCode": "AccessDeniedException", "Message": "kms:Decrypt"}});
    let expected = Function {
        environment: None,
        ..desired()
    };
    assert_eq!(read_with("/Configuration/Environment", denied).await, expected);
}

#[test]
fn no_value_of_the_environment_is_recorded_or_printed() {
    let function = with_environment(&[("DATABASE_URL", "a-value-that-nobody-sees")]);
    for text in [serde_json::to_string(&function).unwrap(), format!("{function:?}")] {
        assert!(text.contains("DATABASE_URL"), "{text}");
        assert!(!text.contains("nobody-sees"), "{text}");
    }
    assert_ne!(
        function.environment,
        with_environment(&[("DATABASE_URL", "another")]).environment
    );
}

#[tokio::test(start_paused = true)]
async fn settings_are_read_in_their_normal_form() {
    let answer = live_with_settings();
    let cx = lambda([on!(Sdk::get_function, ok(answer.clone()))]);
    assert_eq!(
        with_settings().read(&cx, &out()).await.unwrap(),
        Some(with_settings())
    );
    // What Lambda answers for a function that has left its network and whose settings were put back.
    let mut answer = live("Active", &our_tags());
    answer["Configuration"]["VpcConfig"] =
        json!({"SubnetIds": [], "SecurityGroupIds": [], "VpcId": "", "Ipv6AllowedForDualStack": false});
    answer["Configuration"]["Layers"] = json!([]);
    answer["Configuration"]["LoggingConfig"] =
        json!({"LogFormat": "Text", "LogGroup": "/aws/lambda/user-api-1a2b3c4d-user"});
    answer["Concurrency"] = json!({});
    let cx = lambda([on!(Sdk::get_function, ok(answer.clone()))]);
    assert_eq!(desired().read(&cx, &out()).await.unwrap(), Some(desired()));
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_somebody_made_or_took_away_is_drift_of_that_field_alone() {
    let (with, without) = (live_with_settings(), live("Active", &our_tags()));
    for (place, member, field) in [
        ("/Configuration", "Description", "description"),
        ("/Configuration", "EphemeralStorage", "ephemeral_storage_mb"),
        ("/Configuration", "TracingConfig", "tracing"),
        ("/Configuration", "LoggingConfig", "log_format"),
        ("/Configuration", "Layers", "layers"),
        ("/Configuration", "KMSKeyArn", "kms_key"),
        ("/Configuration", "VpcConfig", "vpc"),
        ("", "Concurrency", "reserved_concurrency"),
    ] {
        for (recorded, mut answer, others) in [
            (desired(), without.clone(), &with),
            (with_settings(), with.clone(), &without),
        ] {
            let there = answer.pointer_mut(place).unwrap().as_object_mut().unwrap();
            match others.pointer(place).unwrap().get(member) {
                Some(value) => drop(there.insert(member.to_owned(), value.clone())),
                None => drop(there.remove(member)),
            }
            let cx = lambda([on!(Sdk::get_function, ok(answer.clone()))]);
            let live = recorded.read(&cx, &out()).await.unwrap().unwrap();
            assert_eq!(differing(&recorded, &live), [field]);
            // None is null, which would not be compared.
            assert_ne!(json!(live)[field], Value::Null, "{field}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_is_created_with_its_settings_and_reserves_once_it_is_active() {
    let cx = lambda([
        on!(
            Sdk::create_function,
            |i| {
                let logging = i.logging_config().unwrap();
                assert_eq!(i.description(), Some("Orders"));
                assert_eq!(i.ephemeral_storage().unwrap().size(), 1024);
                assert_eq!(i.tracing_config().unwrap().mode(), Some(&TracingMode::Active));
                assert_eq!(
                    (logging.log_format(), logging.log_group()),
                    (Some(&LogFormat::Json), None)
                );
                assert_eq!(i.layers(), [layer(2), layer(1)]);
                assert_eq!(i.kms_key_arn(), Some(KEY));
                assert_eq!(i.vpc_config().unwrap().subnet_ids(), ["subnet-0a", "subnet-0b"]);
                assert_eq!(i.vpc_config().unwrap().security_group_ids(), ["sg-0a"]);
            },
            ok(live("Pending", &our_tags())["Configuration"].clone())
        ),
        get("Pending"),
        get("Active"),
        reserves(20),
    ]);
    assert_eq!(with_settings().create(&cx).await.unwrap().arn, ARN);
    // Without settings none is sent: a sample's request stays as it is.
    let cx = lambda([on!(
        Sdk::create_function,
        |i| {
            assert_eq!((i.description(), i.kms_key_arn()), (None, None));
            assert_eq!((i.ephemeral_storage(), i.tracing_config()), (None, None));
            assert_eq!((i.logging_config(), i.vpc_config()), (None, None));
            assert!(i.layers().is_empty());
        },
        active()
    )]);
    desired().create(&cx).await.unwrap();
}

fn reserves(number: i32) -> Rule {
    on!(
        Sdk::put_function_concurrency,
        |i| {
            let expected = (Some("user-api-1a2b3c4d-user"), Some(number));
            assert_eq!((i.function_name(), i.reserved_concurrent_executions()), expected);
        },
        ok(json!({"ReservedConcurrentExecutions": number}))
    )
}

#[tokio::test(start_paused = true)]
async fn reserved_concurrency_changes_last_and_is_taken_back() {
    let before = Function {
        memory_mb: 256,
        code_sha256: "b2xk".to_owned(),
        reserved_concurrency: Some(20).into(),
        ..desired()
    };
    let off = Function {
        reserved_concurrency: Some(0).into(),
        ..desired()
    };
    let cx = lambda([
        configured(|b| b.memory_size(128)),
        updated("Successful"),
        uploaded("arm64"),
        updated("Successful"),
        reserves(0),
    ]);
    off.update(&cx, &before, out()).await.unwrap();
    let cx = lambda([on!(
        Sdk::delete_function_concurrency,
        |i| { assert_eq!(i.function_name(), Some("user-api-1a2b3c4d-user")) },
        ok(json!({}))
    )]);
    desired().update(&cx, &off, out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn more_concurrency_than_lambda_lets_reserve_is_refused_in_its_words() {
    let words = "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its \
                 minimum value of [100].";
    let refuse = || {
        on!(
            Sdk::put_function_concurrency,
            refused(400, "InvalidParameterValueException", words)
        )
    };
    let cx = lambda([refuse()]);
    let function = Function {
        // Its values keep nothing back of a call that has none.
        reserved_concurrency: Some(950).into(),
        ..with_environment(&[("A", "1")])
    };
    let before = with_environment(&[("A", "1")]);
    let (class, text) = failed(function.update(&cx, &before, out()).await);
    assert_eq!(class, Some(Class::Refused));
    assert!(text.contains(words), "{text}");
    assert!(cx.waits().is_empty());
}

#[tokio::test(start_paused = true)]
async fn rights_that_the_role_got_a_moment_ago_are_waited_for_and_what_does_not_exist_is_not() {
    for words in [
        "The provided execution role does not have permissions to call CreateNetworkInterface on EC2",
        "The provided execution role does not have permissions to call PutTraceSegments on XRAY",
    ] {
        for function in [with_settings(), with_environment(&[("A", "1")])] {
            let cx = lambda([refuse_create(words), on!(Sdk::create_function, active())]);
            let plain = Function {
                reserved_concurrency: None.into(),
                ..function
            };
            plain.create(&cx).await.unwrap();
            assert!(cx.waits()[0].contains(words), "{:?}", cx.waits());
        }
    }
    for (words, known) in [
        (
            "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. EC2 Error Message: The subnet ID \
             'subnet-0a' does not exist",
            "EC2 Error Code: InvalidSubnetID.NotFound",
        ),
        (
            "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. EC2 Error Message: The security \
             group 'sg-0a' does not exist",
            "EC2 Error Code: InvalidGroup.NotFound",
        ),
        (
            "Layer version arn:aws:lambda:eu-central-1:111122223333:layer:otel:2 does not exist.",
            "a layer version does not exist",
        ),
        (
            "Cannot reference more than 5 layers.",
            "Cannot reference more than 5 layers",
        ),
    ] {
        let cx = lambda([refuse_create(words), refuse_create(words)]);
        let (class, text) = failed(with_settings().create(&cx).await);
        assert_eq!(class, Some(Class::Refused));
        assert!(text.contains(words), "{text}");
        // With an environment Lambda's message may have its values.
        let (_, text) = failed(with_environment(&[("A", "subnet")]).create(&cx).await);
        assert!(text.contains(known) && !text.contains("subnet"), "{text}");
        assert!(cx.waits().is_empty());
    }
}

/// Lambda's answer before the format of the log changes: with a group of someone else.
fn logs_to(group: &'static str) -> Rule {
    let mut answer = live("Active", &our_tags());
    answer["Configuration"]["LoggingConfig"] = json!({"LogFormat": "Text", "LogGroup": group});
    on!(Sdk::get_function, ok(answer.clone()))
}

fn logging(format: LogFormat) -> LoggingConfig {
    LoggingConfig::builder()
        .log_format(format)
        .log_group("/theirs")
        .build()
}

#[tokio::test(start_paused = true)]
async fn each_setting_is_made_alone_and_taken_back_alone() {
    let (with, without) = (with_settings, desired);
    for (set, cleared, make, clear) in [
        (
            Function {
                description: with().description,
                ..without()
            },
            without(),
            configured(|b| b.description("Orders")),
            configured(|b| b.description("")),
        ),
        (
            Function {
                ephemeral_storage_mb: 1024,
                ..without()
            },
            without(),
            configured(|b| b.ephemeral_storage(settings::storage(1024))),
            configured(|b| b.ephemeral_storage(settings::storage(512))),
        ),
        (
            Function {
                tracing: true,
                ..without()
            },
            without(),
            configured(|b| b.tracing_config(TracingConfig::builder().mode(TracingMode::Active).build())),
            configured(|b| b.tracing_config(TracingConfig::builder().mode(TracingMode::PassThrough).build())),
        ),
        (
            Function {
                layers: with().layers,
                ..without()
            },
            without(),
            configured(|b| b.set_layers(Some(vec![layer(2), layer(1)]))),
            configured(|b| b.set_layers(Some(Vec::new()))),
        ),
        (
            // The same layers in another order are another setting.
            Function {
                layers: vec![layer(1), layer(2)],
                ..without()
            },
            Function {
                layers: with().layers,
                ..without()
            },
            configured(|b| b.set_layers(Some(vec![layer(1), layer(2)]))),
            configured(|b| b.set_layers(Some(vec![layer(2), layer(1)]))),
        ),
        (
            Function {
                kms_key: KEY.to_owned(),
                ..without()
            },
            without(),
            configured(|b| b.kms_key_arn(KEY)),
            configured(|b| b.kms_key_arn("")),
        ),
        (
            Function {
                vpc: with().vpc,
                ..without()
            },
            without(),
            configured(|b| {
                b.vpc_config(
                    VpcConfig::builder()
                        .subnet_ids("subnet-0a")
                        .subnet_ids("subnet-0b")
                        .security_group_ids("sg-0a")
                        .build(),
                )
            }),
            // Not left out, or Lambda would keep the network.
            configured(|b| {
                b.vpc_config(
                    VpcConfig::builder()
                        .set_subnet_ids(Some(Vec::new()))
                        .set_security_group_ids(Some(Vec::new()))
                        .build(),
                )
            }),
        ),
    ] {
        let cx = lambda([make, updated("Successful")]);
        set.update(&cx, &cleared, out()).await.unwrap();
        let cx = lambda([clear, updated("Successful")]);
        cleared.update(&cx, &set, out()).await.unwrap();
    }
    let json = Function {
        log_format: "json".to_owned(),
        ..desired()
    };
    let cx = lambda([
        logs_to("/theirs"),
        configured(|b| b.logging_config(logging(LogFormat::Json))),
        updated("Successful"),
    ]);
    json.update(&cx, &desired(), out()).await.unwrap();
    let cx = lambda([
        logs_to("/theirs"),
        configured(|b| b.logging_config(logging(LogFormat::Text))),
        updated("Successful"),
    ]);
    desired().update(&cx, &json, out()).await.unwrap();
}

fn variables() -> Environment {
    let variables = HashMap::from([("A".to_owned(), "1".to_owned())]);
    Environment::builder().set_variables(Some(variables)).build()
}

#[tokio::test(start_paused = true)]
async fn another_key_gets_the_environment_again_to_encrypt_it() {
    let before = with_environment(&[("A", "1")]);
    let with_key = Function {
        kms_key: KEY.to_owned(),
        ..before.clone()
    };
    let cx = lambda([
        configured(|b| b.kms_key_arn(KEY).environment(variables())),
        updated("Successful"),
    ]);
    with_key.update(&cx, &before, out()).await.unwrap();
    let cx = lambda([
        configured(|b| b.kms_key_arn("").environment(variables())),
        updated("Successful"),
    ]);
    before.update(&cx, &with_key, out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn layers_that_stay_are_not_sent_again_as_their_versions_may_have_been_deleted() {
    let before = Function {
        memory_mb: 256,
        ..with_settings()
    };
    let cx = lambda([configured(|b| b.memory_size(128)), updated("Successful")]);
    with_settings().update(&cx, &before, out()).await.unwrap();
}

/// The whole request, so that a member too many is seen as well.
fn configured(
    changes: fn(UpdateFunctionConfigurationInputBuilder) -> UpdateFunctionConfigurationInputBuilder,
) -> Rule {
    on!(
        Sdk::update_function_configuration,
        |i| {
            let expected =
                UpdateFunctionConfigurationInput::builder().function_name("user-api-1a2b3c4d-user");
            assert_eq!(*i, changes(expected).build().unwrap());
        },
        ok(json!({"LastUpdateStatus": "InProgress"}))
    )
}

fn uploaded(architecture: &'static str) -> Rule {
    on!(
        Sdk::update_function_code,
        |i| {
            let expected = UpdateFunctionCodeInput::builder()
                .function_name("user-api-1a2b3c4d-user")
                .zip_file(Blob::new("PK"))
                .architectures(Architecture::from(architecture));
            assert_eq!(*i, expected.build().unwrap());
        },
        ok(json!({"LastUpdateStatus": "InProgress"}))
    )
}

fn updated(status: &'static str) -> Rule {
    let mut answer = live("Active", &our_tags());
    answer["Configuration"]["LastUpdateStatus"] = json!(status);
    answer["Configuration"]["LastUpdateStatusReason"] = json!("the reason of AWS");
    on!(Sdk::get_function, ok(answer.clone()))
}

#[tokio::test(start_paused = true)]
async fn each_field_of_the_configuration_changes_alone() {
    for (before, expected) in [
        (
            Function {
                role: "arn:old".to_owned(),
                ..desired()
            },
            configured(|b| b.role("arn:aws:iam::111122223333:role/r")),
        ),
        (
            Function {
                runtime: "nodejs20.x".to_owned(),
                ..desired()
            },
            configured(|b| b.runtime(Runtime::from("nodejs22.x"))),
        ),
        (
            Function {
                handler: "old".to_owned(),
                ..desired()
            },
            configured(|b| b.handler("index.handler")),
        ),
        (
            Function {
                memory_mb: 256,
                ..desired()
            },
            configured(|b| b.memory_size(128)),
        ),
        (
            Function {
                timeout_seconds: 900,
                ..desired()
            },
            configured(|b| b.timeout(3)),
        ),
        // Its environments are to end: an update that changes nothing.
        (
            Function {
                rights: "sha256:other".to_owned(),
                ..desired()
            },
            configured(|b| b.timeout(3)),
        ),
        (
            Function {
                rights: "sha256:other".to_owned(),
                memory_mb: 256,
                ..desired()
            },
            configured(|b| b.memory_size(128)),
        ),
        (
            with_environment(&[("OLD", "1")]),
            configured(|b| b.environment(Environment::builder().set_variables(Some(HashMap::new())).build())),
        ),
    ] {
        let cx = lambda([expected, updated("Successful")]);
        desired().update(&cx, &before, out()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn variables_are_replaced_as_a_whole_also_where_the_live_ones_are_unknown() {
    let desired = with_environment(&[("A", "1"), ("B", "2")]);
    let unknown = Function {
        environment: None,
        ..desired.clone()
    };
    for before in [with_environment(&[("A", "1")]), unknown] {
        let cx = lambda([
            configured(|b| {
                let variables =
                    [("A", "1"), ("B", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
                b.environment(
                    Environment::builder()
                        .set_variables(Some(variables.into()))
                        .build(),
                )
            }),
            updated("Successful"),
        ]);
        desired.update(&cx, &before, out()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn code_is_uploaded_with_its_architecture_when_either_differs() {
    for before in [
        Function {
            code_sha256: "b2xk".to_owned(),
            ..desired()
        },
        Function {
            code_size: 3,
            ..desired()
        },
        Function {
            architecture: "x86_64".to_owned(),
            ..desired()
        },
    ] {
        let cx = lambda([uploaded("arm64"), updated("InProgress"), updated("Successful")]);
        desired().update(&cx, &before, out()).await.unwrap();
        assert_eq!(cx.waits(), ["the function's update to be Successful"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_code_waits_until_the_configuration_is_updated() {
    let before = Function {
        memory_mb: 256,
        code_sha256: "b2xk".to_owned(),
        ..desired()
    };
    let cx = lambda([
        configured(|b| b.memory_size(128)),
        updated("InProgress"),
        updated("Successful"),
        uploaded("arm64"),
        updated("Successful"),
    ]);
    let updated = desired().update(&cx, &before, out()).await.unwrap();
    assert_eq!(updated.output.arn, ARN);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_lambda_takes_back_is_an_error_with_the_reason() {
    let before = Function {
        memory_mb: 256,
        code_sha256: "b2xk".to_owned(),
        ..desired()
    };
    let cx = lambda([configured(|b| b.memory_size(128)), updated("Failed")]);
    let (_, text) = failed(desired().update(&cx, &before, out()).await);
    assert!(text.contains("the reason of AWS"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_update_waits_for_another_one_and_for_its_role() {
    let refuse = |status: u16, code: &'static str, message: &'static str| {
        on!(Sdk::update_function_configuration, refused(status, code, message))
    };
    let before = Function {
        memory_mb: 256,
        ..desired()
    };
    let busy = "The operation cannot be performed at this time. An update is in progress for resource: f";
    let cx = lambda([
        refuse(409, "ResourceConflictException", busy),
        refuse(400, "InvalidParameterValueException", UNASSUMABLE),
        configured(|b| b.memory_size(128)),
        updated("Successful"),
    ]);
    desired().update(&cx, &before, out()).await.unwrap();
    let waits = cx.waits();
    assert!(
        waits[0].contains(busy) && waits[1].contains(UNASSUMABLE),
        "{waits:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_function_that_is_gone_is_told_wherever_the_update_notices() {
    let memory = Function {
        memory_mb: 256,
        ..desired()
    };
    let code = Function {
        code_size: 3,
        ..desired()
    };
    let tags = Function {
        tags: Tags::new(),
        ..desired()
    };
    for (before, call) in [
        (memory.clone(), on!(Sdk::update_function_configuration, gone())),
        (code, on!(Sdk::update_function_code, gone())),
        (tags, on!(Sdk::tag_resource, gone())),
    ] {
        let (class, text) = failed(desired().update(&lambda([call]), &before, out()).await);
        assert_eq!(class, Some(Class::Gone));
        assert!(
            text.contains("Function not found: user-api-1a2b3c4d-user"),
            "{text}"
        );
    }
    let cx = lambda([configured(|b| b.memory_size(128)), on!(Sdk::get_function, gone())]);
    let (_, text) = failed(desired().update(&cx, &memory, out()).await);
    assert_eq!(text, "function user-api-1a2b3c4d-user is not there any more");
}

#[tokio::test(start_paused = true)]
async fn only_our_tags_change() {
    let mut before = our_tags();
    before.insert(tags::STACK.to_owned(), "renamed".to_owned());
    before.insert("team".to_owned(), "a".to_owned());
    let cx = lambda([
        on!(
            Sdk::tag_resource,
            |i| {
                let stack = HashMap::from([(tags::STACK.to_owned(), "user-api".to_owned())]);
                assert_eq!((i.resource(), i.tags()), (Some(ARN), Some(&stack)));
            },
            ok(json!({}))
        ),
        on!(
            Sdk::untag_resource,
            |i| {
                assert_eq!(
                    (i.resource(), i.tag_keys()),
                    (Some(ARN), &["team".to_owned()][..])
                );
            },
            ok(json!({}))
        ),
    ]);
    let before = Function {
        tags: before,
        ..desired()
    };
    desired().update(&cx, &before, out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_calls_nobody() {
    desired().update(&lambda([]), &desired(), out()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_state_file_does_not_hold_is_never_sent_as_empty() {
    let record = serde_json::to_value(with_environment(&[("A", "1")])).unwrap();
    let revived: Function = serde_json::from_value(record).unwrap();
    let code = Function {
        code_size: 3,
        ..revived.clone()
    };
    let environment = Function {
        environment: Some(BTreeMap::new()),
        ..revived.clone()
    };
    for (before, words) in [
        (code, "the code of function"),
        (environment, "the values of the environment"),
    ] {
        let (_, text) = failed(revived.update(&lambda([]), &before, out()).await);
        assert!(
            text.contains(words) && text.contains("user-api-1a2b3c4d-user"),
            "{text}"
        );
    }
    let (_, text) = failed(revived.create(&lambda([])).await);
    assert!(text.contains("not at hand"), "{text}");
}
