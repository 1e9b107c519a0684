use std::rc::Rc;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};

use super::*;
use crate::aws::test_support::{
    SignedRequest, SignedWire, World, apigateway, failed, ok, on, refused, wafv2,
};
use crate::resource::{Class, is_stranger};

const OURS: &str = "arn:aws:wafv2:eu-central-1:111122223333:regional/webacl/shop/1234abcd";
const EARLIER: &str = "arn:aws:wafv2:eu-central-1:111122223333:regional/webacl/old/1234abcd";
const THEIRS: &str = "arn:aws:wafv2:eu-central-1:111122223333:regional/webacl/theirs/1234abcd";
const STAGE: &str = "arn:aws:apigateway:eu-central-1::/restapis/a1b2c3/stages/prod";

fn with(arn: &str) -> Firewall {
    Firewall {
        api: "a1b2c3".into(),
        stage: "prod".to_owned(),
        acl: acl(arn),
    }
}

fn on_stage(arn: &str) -> HttpResponse {
    ok(json!({"WebACL": {"Name": "shop", "Id": "1234abcd", "ARN": arn, "Rules": []}}))
}

/// As AWS answers where there is none.
fn none() -> HttpResponse {
    ok(json!({}))
}

fn done() -> HttpResponse {
    ok(json!({}))
}

fn nonexistent() -> HttpResponse {
    refused(
        400,
        "WAFNonexistentItemException",
        "AWS WAF couldn\u{2019}t perform the operation because your resource doesn\u{2019}t exist.",
    )
}

fn unavailable() -> HttpResponse {
    refused(
        400,
        "WAFUnavailableEntityException",
        "AWS WAF couldn\u{2019}t retrieve the resource that you requested. Retry your request.",
    )
}

fn operations(wire: &SignedWire) -> Vec<String> {
    let name = |request: &SignedRequest| {
        let target = request.target.strip_prefix("AWSWAF_20190729.").unwrap();
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body["ResourceArn"], STAGE);
        match body["WebACLArn"].as_str() {
            Some(acl) => format!("{target} {acl}"),
            None => target.to_owned(),
        }
    };
    wire.sent().iter().map(name).collect()
}

const GET: &str = "GetWebACLForResource";
const TAKE_OFF: &str = "DisassociateWebACL";

fn put_on(acl: &str) -> String {
    format!("AssociateWebACL {acl}")
}

#[tokio::test(start_paused = true)]
async fn it_is_put_on_where_there_is_none() {
    for absent in [none(), nonexistent()] {
        let (cx, wire) = wafv2([absent, done()]);
        with(OURS).create(&cx).await.unwrap();
        assert_eq!(operations(&wire), [GET.to_owned(), put_on(OURS)]);
    }
    // The answer to the first attempt was lost.
    let (cx, wire) = wafv2([on_stage(OURS)]);
    with(OURS).create(&cx).await.unwrap();
    assert_eq!(operations(&wire), [GET]);
}

#[tokio::test(start_paused = true)]
async fn one_that_someone_else_has_put_on_is_not_replaced_by_a_create() {
    let (cx, wire) = wafv2([on_stage(THEIRS), on_stage(THEIRS)]);
    for error in [
        with(OURS).create(&cx).await.unwrap_err(),
        with(OURS).find(&cx).await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            is_stranger(&error) && text.contains(THEIRS) && text.contains("stage prod"),
            "{text}"
        );
    }
    assert_eq!(operations(&wire), [GET, GET]);
}

#[tokio::test(start_paused = true)]
async fn it_is_found_and_read_and_another_one_is_drift() {
    let (cx, _) = wafv2([
        none(),
        on_stage(OURS),
        none(),
        nonexistent(),
        on_stage(OURS),
        on_stage(THEIRS),
    ]);
    assert!(with(OURS).find(&cx).await.unwrap().is_none());
    assert!(with(OURS).find(&cx).await.unwrap().is_some());
    for expected in [None, None, Some(with(OURS)), Some(with(THEIRS))] {
        assert_eq!(with(OURS).read(&cx, &NoOutput {}).await.unwrap(), expected);
    }
}

/// In a survey, of a stage that says that it has this web ACL.
fn survey(said: Option<&str>) -> (World, Cx<Aws>) {
    let stage = json!({"stageName": "prod", "deploymentId": "d1", "webAclArn": said});
    let world = apigateway([on!(
        aws_sdk_apigateway::Client::get_stages,
        ok(json!({"item": [stage.clone()]}))
    )]);
    let cx = Cx::new(Rc::new(world.cloud().for_a_survey()), Rc::new(|_| ()));
    (world, cx)
}

#[tokio::test(start_paused = true)]
async fn what_the_stage_says_is_enough_if_it_is_ours() {
    // A call of AWS WAF would fail the test: there is no answer for it.
    let (_world, cx) = survey(Some(OURS));
    let read = with(OURS).read(&cx, &NoOutput {}).await.unwrap();
    assert_eq!(read, Some(with(OURS)));
}

#[tokio::test(start_paused = true)]
async fn an_update_puts_another_one_on_and_nothing_on_that_is_there() {
    let (cx, wire) = wafv2([done()]);
    with(OURS).update(&cx, &with(THEIRS), NoOutput {}).await.unwrap();
    with(OURS).update(&cx, &with(OURS), NoOutput {}).await.unwrap();
    assert_eq!(operations(&wire), [put_on(OURS)]);
}

#[tokio::test(start_paused = true)]
async fn only_one_that_this_stack_has_put_on_is_taken_off() {
    let mut interrupted = with(EARLIER);
    interrupted.acl.extend(acl(OURS));
    for (resource, answers, expected) in [
        (with(OURS), vec![on_stage(OURS), done()], &[GET, TAKE_OFF][..]),
        (with(OURS), vec![on_stage(OURS), nonexistent()], &[GET, TAKE_OFF]),
        (with(OURS), vec![on_stage(THEIRS)], &[GET]),
        (with(OURS), vec![none()], &[GET]),
        (with(OURS), vec![nonexistent()], &[GET]),
        // An update was interrupted before or after its call.
        (
            interrupted.clone(),
            vec![on_stage(EARLIER), done()],
            &[GET, TAKE_OFF],
        ),
        (
            interrupted.clone(),
            vec![on_stage(OURS), done()],
            &[GET, TAKE_OFF],
        ),
        (interrupted, vec![on_stage(THEIRS)], &[GET]),
    ] {
        let (cx, wire) = wafv2(answers);
        resource.delete(&cx, &NoOutput {}).await.unwrap();
        assert_eq!(operations(&wire), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_aws_waf_does_not_know_yet_is_waited_for() {
    let answers = std::iter::once(none())
        .chain((0..5).map(|_| unavailable()))
        .chain([nonexistent(), done()]);
    let (cx, wire) = wafv2(answers);
    with(OURS).create(&cx).await.unwrap();
    assert_eq!(wire.sent().len(), 8);
    assert_eq!(cx.waits().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_web_acl_that_does_not_exist_and_any_other_refusal_is_told() {
    let began = tokio::time::Instant::now();
    let (cx, _) = wafv2(std::iter::once(none()).chain((0..20).map(|_| nonexistent())));
    let (class, text) = failed(with(OURS).create(&cx).await);
    assert_eq!(class, Some(Class::NotReady), "{text}");
    assert!(text.contains("WAFNonexistentItemException"), "{text}");
    assert!(began.elapsed().as_secs() < 60, "not for as long as a stage");
    for code in [
        "WAFInvalidParameterException",
        "WAFInvalidOperationException",
        "WAFLimitsExceededException",
    ] {
        let (cx, _) = wafv2([none(), refused(400, code, "no")]);
        assert_eq!(
            failed(with(OURS).create(&cx).await).0,
            Some(Class::Refused),
            "{code}"
        );
    }
}
