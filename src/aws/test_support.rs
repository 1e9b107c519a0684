//! A cloud for tests of one resource: the real SDK client, with AWS's own answers on the wire.
//!
//! Must not imitate AWS: a test says which calls it expects, in which order, and what each is answered.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_iam::config::retry::RetryPartition;
use aws_sdk_lambda::config::{AsyncSleep, Credentials, SharedAsyncSleep, SharedCredentialsProvider, Sleep};
use aws_smithy_mocks::{Rule, RuleMode, mock_client};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use super::clients::{Aws, retries, timeouts};
use super::ec2::Ec2;
use super::http::{ReadsGiveUp, ThrottlesArePaced};
use super::signed::{SSM, Signed, WAFV2};
use super::tags::{self, Tags};
use crate::resource::{Class, Cx, Resource, class};

/// The context of a step. Its calls have to be exactly those that the test lists.
pub struct World {
    cx: Cx<Aws>,
    waits: Rc<RefCell<Vec<String>>>,
    rules: Vec<Rule>,
}

impl World {
    fn new(aws: Aws, rules: Vec<Rule>) -> Self {
        let waits = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&waits);
        let waiting = move |what: &str| told.borrow_mut().push(what.to_owned());
        Self {
            cx: Cx::new(Rc::new(aws), Rc::new(waiting)),
            waits,
            rules,
        }
    }

    /// What the step said it was waiting for, once a pause.
    pub fn waits(&self) -> Vec<String> {
        self.waits.borrow().clone()
    }
}

impl Deref for World {
    type Target = Cx<Aws>;

    fn deref(&self) -> &Cx<Aws> {
        &self.cx
    }
}

impl Drop for World {
    /// An unexpected call panics by itself; one that was expected and not made has to be noticed here.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for (position, rule) in self.rules.iter().enumerate() {
            assert!(
                rule.num_calls() > 0,
                "expected call number {} was not made",
                position + 1
            );
        }
    }
}

/// The clients of one process share a budget of retries; a test that spends it must not fail another.
fn own_budget() -> RetryPartition {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    RetryPartition::new(format!("test {}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

macro_rules! mocked {
    ($sdk:ident, $rules:expr) => {
        mock_client!($sdk, RuleMode::Sequential, $rules, |config| config
            .retry_config(retries())
            .retry_classifier(ThrottlesArePaced)
            .interceptor(ReadsGiveUp)
            .retry_partition(own_budget()))
    };
}

fn no_calls() -> Aws {
    let none: [&Rule; 0] = [];
    Aws {
        partition: "aws".to_owned(),
        region: "eu-central-1".to_owned(),
        account: "111122223333".to_owned(),
        apigateway: mocked!(aws_sdk_apigateway, none),
        cognito: mocked!(aws_sdk_cognitoidentityprovider, none),
        ec2: SignedWire::new([]).ec2(),
        iam: mocked!(aws_sdk_iam, none),
        lambda: mocked!(aws_sdk_lambda, none),
        logs: mocked!(aws_sdk_cloudwatchlogs, none),
        secretsmanager: mocked!(aws_sdk_secretsmanager, none),
        ssm: SignedWire::new([]).ssm(),
        sts: SignedWire::new([]).sts(),
        wafv2: SignedWire::new([]).wafv2(),
        paces: Rc::default(),
        new_secrets: Rc::default(),
        detached: Rc::default(),
        truststore_warnings: Rc::default(),
        no_wait: Cell::new(false),
        survey: None,
        waits: Rc::new(|_| ()),
    }
}

macro_rules! worlds {
    ($($(#[$doc:meta])* $service:ident: $sdk:ident),+ $(,)?) => {$(
        $(#[$doc])*
        pub fn $service(rules: impl IntoIterator<Item = Rule>) -> World {
            let rules: Vec<Rule> = rules.into_iter().collect();
            let mut aws = no_calls();
            aws.$service = mocked!($sdk, &rules);
            World::new(aws, rules)
        }
    )+};
}

worlds! {
    /// These calls to API Gateway, in this order, and no other.
    apigateway: aws_sdk_apigateway,
    /// These calls to Cognito, in this order, and no other.
    cognito: aws_sdk_cognitoidentityprovider,
    /// These calls to IAM, in this order, and no other.
    iam: aws_sdk_iam,
    /// These calls to Lambda, in this order, and no other.
    lambda: aws_sdk_lambda,
    /// These calls to CloudWatch Logs, in this order, and no other.
    logs: aws_sdk_cloudwatchlogs,
    /// These calls to Secrets Manager, in this order, and no other.
    secretsmanager: aws_sdk_secretsmanager,
}

/// Accepts every request and never answers, so that it is not known whether it was executed.
#[derive(Clone, Debug)]
struct Cut {
    requests: Arc<AtomicUsize>,
    error: fn() -> ConnectorError,
}

impl HttpConnector for Cut {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        self.requests.fetch_add(1, Ordering::SeqCst);
        HttpConnectorFuture::ready(Err((self.error)()))
    }
}

/// A cloud in which every request ends in `error`, and the number of those requests.
pub fn cut_off(error: fn() -> ConnectorError) -> (World, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let cut = Cut {
        requests: Arc::clone(&requests),
        error,
    };
    macro_rules! client {
        ($sdk:ident) => {{
            let connector = SharedHttpConnector::new(cut.clone());
            let config = $sdk::config::Builder::new()
                .with_test_defaults_v2()
                .retry_config(retries())
                .retry_classifier(ThrottlesArePaced)
                .interceptor(ReadsGiveUp)
                .retry_partition(own_budget())
                .http_client(http_client_fn(move |_, _| connector.clone()));
            $sdk::Client::from_conf(config.build())
        }};
    }
    let aws = Aws {
        partition: "aws".to_owned(),
        region: "eu-central-1".to_owned(),
        account: "111122223333".to_owned(),
        apigateway: client!(aws_sdk_apigateway),
        cognito: client!(aws_sdk_cognitoidentityprovider),
        ec2: no_calls().ec2,
        iam: client!(aws_sdk_iam),
        lambda: client!(aws_sdk_lambda),
        logs: client!(aws_sdk_cloudwatchlogs),
        secretsmanager: client!(aws_sdk_secretsmanager),
        ssm: no_calls().ssm,
        sts: no_calls().sts,
        wafv2: no_calls().wafv2,
        paces: Rc::default(),
        new_secrets: Rc::default(),
        detached: Rc::default(),
        truststore_warnings: Rc::default(),
        no_wait: Cell::new(false),
        survey: None,
        waits: Rc::new(|_| ()),
    };
    (World::new(aws, Vec::new()), requests)
}

/// Answers every request after a while.
#[derive(Clone, Debug)]
struct Slow {
    requests: Arc<AtomicUsize>,
    takes: Duration,
    answer: fn() -> HttpResponse,
}

impl HttpConnector for Slow {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let Self { takes, answer, .. } = *self;
        HttpConnectorFuture::new(async move {
            tokio::time::sleep(takes).await;
            Ok(answer())
        })
    }
}

/// The SDK's timeouts on the clock of the test.
#[derive(Debug)]
struct TestClock;

impl AsyncSleep for TestClock {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(tokio::time::sleep(duration))
    }
}

/// A Lambda whose answers all take this long, with the timeouts of the real clients, and the number of requests.
pub fn slow_lambda(takes: Duration, answer: fn() -> HttpResponse) -> (World, Arc<AtomicUsize>) {
    let slow = Slow {
        requests: Arc::default(),
        takes,
        answer,
    };
    let requests = slow.requests.clone();
    let connector = SharedHttpConnector::new(slow);
    let config = aws_sdk_lambda::config::Builder::new()
        .with_test_defaults_v2()
        .sleep_impl(SharedAsyncSleep::new(TestClock))
        .timeout_config(timeouts())
        .retry_config(retries())
        .retry_classifier(ThrottlesArePaced)
        .retry_partition(own_budget())
        .http_client(http_client_fn(move |_, _| connector.clone()));
    let aws = Aws {
        lambda: aws_sdk_lambda::Client::from_conf(config.build()),
        ..no_calls()
    };
    (World::new(aws, Vec::new()), requests)
}

/// Answers in turn, and keeps what was sent.
#[derive(Clone, Debug)]
pub struct Wire {
    answers: Arc<Mutex<VecDeque<HttpResponse>>>,
    sent: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Wire {
    /// The name of each operation and its whole request, as they went over the wire.
    pub fn sent(&self) -> Vec<(String, Value)> {
        assert!(
            self.answers.lock().unwrap().is_empty(),
            "an expected call was not made"
        );
        self.sent.lock().unwrap().clone()
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap();
        let operation = target.rsplit('.').next().unwrap().to_owned();
        let body = request.body().bytes().unwrap();
        assert_eq!(
            request.headers().get("content-length"),
            Some(body.len().to_string().as_str())
        );
        let body = serde_json::from_slice(body).unwrap();
        self.sent.lock().unwrap().push((operation, body));
        let answer = self.answers.lock().unwrap().pop_front();
        HttpConnectorFuture::ready(Ok(answer.expect("a call more than there are answers")))
    }
}

/// A Cognito that gives these answers in turn, and what was sent to it: for requests that must have all live settings.
pub fn cognito_wire(answers: impl IntoIterator<Item = HttpResponse>) -> (World, Wire) {
    let wire = Wire {
        answers: Arc::new(Mutex::new(answers.into_iter().collect())),
        sent: Arc::default(),
    };
    let connector = SharedHttpConnector::new(wire.clone());
    let config = aws_sdk_cognitoidentityprovider::config::Builder::new()
        .with_test_defaults_v2()
        .retry_config(retries())
        .retry_classifier(ThrottlesArePaced)
        .interceptor(ReadsGiveUp)
        .retry_partition(own_budget())
        .http_client(http_client_fn(move |_, _| connector.clone()));
    let aws = Aws {
        cognito: aws_sdk_cognitoidentityprovider::Client::from_conf(config.build()),
        ..no_calls()
    };
    (World::new(aws, Vec::new()), wire)
}

/// A request, as it went over the wire.
#[derive(Clone, Debug)]
pub struct SignedRequest {
    pub url: String,
    pub authorization: String,
    pub content_type: String,
    /// `X-Amz-Target`; empty in the query protocol.
    pub target: String,
    pub body: String,
}

/// The answers of a service in turn, and what was sent.
#[derive(Clone, Debug)]
pub struct SignedWire {
    answers: Arc<Mutex<VecDeque<HttpResponse>>>,
    sent: Arc<Mutex<Vec<SignedRequest>>>,
}

impl SignedWire {
    pub fn new(answers: impl IntoIterator<Item = HttpResponse>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            sent: Arc::default(),
        }
    }

    /// All requests; every answer must have been given.
    pub fn sent(&self) -> Vec<SignedRequest> {
        assert!(
            self.answers.lock().unwrap().is_empty(),
            "an expected call never came"
        );
        self.sent.lock().unwrap().clone()
    }

    /// The settings of a client that is answered so.
    pub fn settings(&self) -> (aws_config::SdkConfig, SharedHttpClient) {
        let connector = SharedHttpConnector::new(self.clone());
        let config = aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
            .region(aws_config::Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
            .retry_config(retries())
            .build();
        (config, http_client_fn(move |_, _| connector.clone()))
    }

    fn wafv2(&self) -> Signed {
        let (config, http) = self.settings();
        Signed::new(WAFV2, &config, Some(http), None)
    }

    fn ec2(&self) -> Ec2 {
        let (config, http) = self.settings();
        Ec2::new(&config, Some(http), None)
    }

    fn ssm(&self) -> Signed {
        let (config, http) = self.settings();
        Signed::new(SSM, &config, Some(http), None)
    }

    fn sts(&self) -> aws_sdk_sts::Client {
        let (config, http) = self.settings();
        let config = aws_sdk_sts::config::Builder::from(&config)
            .retry_classifier(ThrottlesArePaced)
            .http_client(http);
        aws_sdk_sts::Client::from_conf(config.build())
    }
}

impl HttpConnector for SignedWire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let header = |name| request.headers().get(name).unwrap_or_default().to_owned();
        self.sent.lock().unwrap().push(SignedRequest {
            url: request.uri().to_owned(),
            authorization: header("authorization"),
            content_type: header("content-type"),
            target: header("x-amz-target"),
            body: String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap(),
        });
        let answer = self.answers.lock().unwrap().pop_front();
        HttpConnectorFuture::ready(Ok(answer.expect("a call more than there are answers")))
    }
}

/// A Systems Manager that gives these answers in turn.
pub fn ssm(answers: impl IntoIterator<Item = HttpResponse>) -> (World, SignedWire) {
    let wire = SignedWire::new(answers);
    let aws = Aws {
        ssm: wire.ssm(),
        ..no_calls()
    };
    (World::new(aws, Vec::new()), wire)
}

/// An STS that gives these answers in turn.
pub fn sts(answers: impl IntoIterator<Item = HttpResponse>) -> (World, SignedWire) {
    let wire = SignedWire::new(answers);
    let aws = Aws {
        sts: wire.sts(),
        ..no_calls()
    };
    (World::new(aws, Vec::new()), wire)
}

/// An EC2 that gives these answers in turn, and a Lambda that is called so.
pub fn ec2_and_lambda(
    answers: impl IntoIterator<Item = HttpResponse>,
    rules: impl IntoIterator<Item = Rule>,
) -> (World, SignedWire) {
    let rules: Vec<Rule> = rules.into_iter().collect();
    let wire = SignedWire::new(answers);
    let aws = Aws {
        ec2: wire.ec2(),
        lambda: mocked!(aws_sdk_lambda, &rules),
        ..no_calls()
    };
    (World::new(aws, rules), wire)
}

/// An EC2 that gives these answers in turn.
pub fn ec2(answers: impl IntoIterator<Item = HttpResponse>) -> (World, SignedWire) {
    ec2_and_lambda(answers, [])
}

/// An AWS WAF that gives these answers in turn.
pub fn wafv2(answers: impl IntoIterator<Item = HttpResponse>) -> (World, SignedWire) {
    let wire = SignedWire::new(answers);
    let aws = Aws {
        wafv2: wire.wafv2(),
        ..no_calls()
    };
    (World::new(aws, Vec::new()), wire)
}

/// A page of network interfaces.
pub fn ec2_ok(items: &str, next: Option<&str>) -> HttpResponse {
    let next = next.map(|token| format!("<nextToken>{token}</nextToken>"));
    response(
        200,
        format!(
            "<DescribeNetworkInterfacesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>\
             <networkInterfaceSet>{items}</networkInterfaceSet>{}</DescribeNetworkInterfacesResponse>",
            next.unwrap_or_default()
        ),
    )
}

/// The refusal of EC2.
pub fn ec2_refused(status: u16, code: &str, message: &str) -> HttpResponse {
    response(
        status,
        format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>r-1</RequestID>\
             </Response>"
        ),
    )
}

/// An object with these fields added or set.
pub fn with(mut object: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else {
        panic!("expected an object, got {fields}");
    };
    object.as_object_mut().unwrap().extend(fields);
    object
}

/// The names of the fields in which two of one kind differ.
pub fn differing<R: Resource>(one: &R, other: &R) -> Vec<String> {
    let (Value::Object(one), Value::Object(other)) = (json!(one), json!(other)) else {
        panic!("a resource is an object");
    };
    let names = one.keys().filter(|name| one[*name] != other[*name]);
    names.cloned().collect()
}

/// One expected call and its answer: `on!(Sdk::get_thing, |input| { assert… }, json(…))`; the check may be left out.
macro_rules! on {
    ($operation:expr, |$input:ident| $check:block, $answer:expr) => {
        aws_smithy_mocks::mock!($operation)
            .match_requests(move |$input| {
                $check;
                true
            })
            .then_http_response(move || $answer)
    };
    ($operation:expr, $answer:expr) => {
        aws_smithy_mocks::mock!($operation).then_http_response(move || $answer)
    };
}
pub(crate) use on;

/// One expected call whose attempts, the SDK's own repetitions included, are answered in turn.
macro_rules! attempts {
    ($operation:expr, $($answer:expr),+ $(,)?) => {
        aws_smithy_mocks::mock!($operation).sequence()$(.http_response(move || $answer))+.build()
    };
}
pub(crate) use attempts;

/// The same call with the same answer, as often as it is made.
macro_rules! always {
    ($operation:expr, $answer:expr) => {
        aws_smithy_mocks::mock!($operation)
            .sequence()
            .http_response(move || $answer)
            .repeatedly()
            .build()
    };
}
pub(crate) use always;

/// An answer without headers.
pub fn response(status: u16, body: String) -> HttpResponse {
    HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body))
}

/// The success of a JSON service.
#[allow(clippy::needless_pass_by_value)] // reads better around `json!`
pub fn ok(body: Value) -> HttpResponse {
    response(200, body.to_string())
}

/// The refusal of a JSON service.
pub fn refused(status: u16, code: &str, message: &str) -> HttpResponse {
    let body = json!({"__type": code, "message": message});
    let mut response = response(status, body.to_string());
    response.headers_mut().insert("x-amzn-errortype", code.to_owned());
    response
}

/// The success of an IAM operation; `result` is what its `…Result` element holds.
pub fn iam_ok(operation: &str, result: &str) -> HttpResponse {
    response(
        200,
        format!(
            "<{operation}Response xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><{operation}Result>{result}\
             </{operation}Result><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{operation}Response>"
        ),
    )
}

/// The refusal of an IAM operation.
pub fn iam_refused(status: u16, code: &str, message: &str) -> HttpResponse {
    response(
        status,
        format!(
            "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
        ),
    )
}

/// Recorded answers of AWS, written by `cargo test --test it aws::` (see `docs/first-hour.md`).
#[path = "../../tests/it/aws/replay.rs"]
pub mod replay;

/// The tags of the stack under test.
pub fn our_tags() -> Tags {
    tags::tags("user-api", "1a2b3c4d")
}

/// The tags of a stack of the same name and another owner.
pub fn strangers_tags() -> Tags {
    tags::tags("user-api", "ffffffff")
}

/// Our tags, and one that someone else added.
pub fn our_tags_and_more() -> Tags {
    let mut tags = our_tags();
    tags.insert("cost-centre".to_owned(), "42".to_owned());
    tags
}

/// What the failed call in this chain means.
pub fn failed<T: std::fmt::Debug>(result: crate::resource::Result<T>) -> (Option<Class>, String) {
    let error = result.unwrap_err();
    (class(&error), format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use aws_sdk_iam::Client as Sdk;

    use super::*;

    #[tokio::test]
    async fn a_recorded_answer_is_what_a_mock_answers() {
        // A line of aws-calls.jsonl.
        let call = json!({
            "service": "IAM", "operation": "GetRole", "millis": 31,
            "request": {"method": "POST", "path": "/", "body": "Action=GetRole&Version=2010-05-08&RoleName=r"},
            "answer": {
                "status": 404, "x-amzn-errortype": null, "retry-after": null,
                "body": "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type>\
                         <Code>NoSuchEntity</Code><Message>not found</Message></Error><RequestId>r</RequestId></ErrorResponse>",
            },
        });
        let cx = iam([on!(Sdk::get_role, replay::answer(&call).unwrap())]);
        let get = || cx.cloud().iam.get_role().role_name("r").send();
        let error = cx.call("iam:GetRole", get).await.unwrap_err();
        assert_eq!(
            (error.class, error.code.as_deref()),
            (Class::Gone, Some("NoSuchEntity"))
        );
    }

    #[tokio::test]
    #[should_panic(expected = "no rules matched or all rules were exhausted")]
    async fn a_call_that_the_test_does_not_list_fails_it() {
        let cx = lambda([]);
        drop(cx.cloud().iam.get_role().role_name("r").send().await);
    }

    #[tokio::test]
    #[should_panic(expected = "expected call number 2 was not made")]
    async fn a_call_that_the_test_lists_in_vain_fails_it() {
        let gone = || iam_refused(404, "NoSuchEntity", "no such role");
        let cx = iam([on!(Sdk::get_role, gone()), on!(Sdk::get_role, gone())]);
        cx.cloud().iam.get_role().role_name("r").send().await.unwrap_err();
    }

    #[tokio::test]
    #[should_panic(expected = "left: Some(\"r\")")]
    async fn a_request_that_the_test_expects_otherwise_fails_it() {
        let check = on!(
            Sdk::get_role,
            |i| { assert_eq!(i.role_name(), Some("s")) },
            iam_ok("GetRole", "")
        );
        let cx = iam([check]);
        cx.cloud().iam.get_role().role_name("r").send().await.unwrap_err();
    }
}
