use aws_sdk_lambda::Client as Sdk;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};

use super::*;
use crate::aws::test_support::{
    always, ec2, ec2_and_lambda, ec2_ok, ec2_refused, failed, lambda, ok, on, refused,
};
use crate::resource::Class;

const UUID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

fn desired() -> NetworkInterfaces {
    NetworkInterfaces {
        function: "orders_1a2b3c4d_user".to_owned(),
        subnets: set(&["subnet-0a", "subnet-0b"]),
        security_groups: set(&["sg-0a"]),
    }
}

fn item(id: &str, description: &str, subnet: &str, group: &str) -> String {
    format!(
        "<item><networkInterfaceId>{id}</networkInterfaceId><subnetId>{subnet}</subnetId><description>{description}</description>\
         <groupSet><item><groupId>{group}</groupId></item></groupSet></item>"
    )
}

/// An interface of the function in its network.
fn ours(id: &str) -> String {
    item(
        id,
        &format!("AWS Lambda VPC ENI-orders_1a2b3c4d_user-{UUID}"),
        "subnet-0a",
        "sg-0a",
    )
}

fn one() -> HttpResponse {
    ec2_ok(&ours("eni-1"), None)
}

fn none() -> HttpResponse {
    ec2_ok("", None)
}

#[tokio::test(start_paused = true)]
async fn where_there_are_none_one_look_is_enough_and_nothing_else_calls_anybody() {
    let (cx, wire) = ec2([none()]);
    desired().create(&cx).await.unwrap();
    assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), Some(desired()));
    let before = NetworkInterfaces {
        subnets: set(&["subnet-0c"]),
        ..desired()
    };
    desired().update(&cx, &before, NoOutput {}).await.unwrap();
    desired().delete(&cx, &NoOutput {}).await.unwrap();
    assert_eq!(wire.sent().len(), 1);
    assert_eq!(cx.waits(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn they_are_waited_for_until_the_last_is_gone_and_that_is_told() {
    let both = ours("eni-1") + &ours("eni-2");
    let (cx, wire) = ec2([ec2_ok(&both, None), one(), none()]);
    desired().delete(&cx, &NoOutput {}).await.unwrap();
    assert_eq!(wire.sent().len(), 3);
    let words = |ids: &str| {
        format!(
            "Lambda to delete the network interfaces of function orders_1a2b3c4d_user ({ids}), which takes up to 35 minutes; its \
             role keeps its rights until then"
        )
    };
    assert_eq!(cx.waits(), [words("eni-1, eni-2"), words("eni-1")]);
}

#[tokio::test(start_paused = true)]
async fn those_of_a_network_that_it_has_left_and_those_that_it_shares_are_waited_for_and_no_others() {
    let name = |function: &str| format!("AWS Lambda VPC ENI-{function}-{UUID}");
    for (item, is_waited_for) in [
        (
            item("eni-1", &name("orders_1a2b3c4d_user"), "subnet-9", "sg-9"),
            true,
        ),
        (item("eni-1", &name("another"), "subnet-0b", "sg-0a"), true),
        (item("eni-1", &name("another"), "subnet-0b", "sg-9"), false),
        (item("eni-1", &name("another"), "subnet-9", "sg-0a"), false),
        (
            item(
                "eni-1",
                "AWS Lambda VPC ENI-orders_1a2b3c4d_user",
                "subnet-9",
                "sg-9",
            ),
            true,
        ),
        // Another function, whose name begins like this one's.
        (
            item("eni-1", &name("orders_1a2b3c4d_user-2"), "subnet-9", "sg-9"),
            false,
        ),
        // Not Lambda's.
        (item("eni-1", "AWS Lambda VPC ENI", "subnet-0a", "sg-0a"), false),
        (item("eni-1", "ours", "subnet-0a", "sg-0a"), false),
    ] {
        let answers = if is_waited_for {
            vec![ec2_ok(&item, None), none()]
        } else {
            vec![ec2_ok(&item, None)]
        };
        let (cx, wire) = ec2(answers);
        desired().delete(&cx, &NoOutput {}).await.unwrap();
        assert_eq!(cx.waits().len(), usize::from(is_waited_for), "{item}");
        wire.sent();
    }
}

#[tokio::test(start_paused = true)]
async fn every_page_is_looked_at() {
    let (cx, wire) = ec2([ec2_ok("", Some("2")), one(), none()]);
    desired().delete(&cx, &NoOutput {}).await.unwrap();
    assert!(wire.sent()[1].body.ends_with("&NextToken=2"));
}

#[tokio::test(start_paused = true)]
async fn without_waiting_it_fails_at_once_and_says_what_is_left() {
    let (cx, _) = ec2([one()]);
    cx.cloud().no_wait.set(true);
    let began = Instant::now();
    let (_, text) = failed(desired().delete(&cx, &NoOutput {}).await);
    assert!(
        text.contains("of function orders_1a2b3c4d_user yet (eni-1)") && text.contains("--no-wait"),
        "{text}"
    );
    assert_eq!(began.elapsed(), Duration::ZERO);
    let (cx, _) = ec2([none()]);
    cx.cloud().no_wait.set(true);
    desired().delete(&cx, &NoOutput {}).await.unwrap();
}

/// A page of the functions of the region.
fn functions(subnet: &str, group: &str) -> Value {
    let network = json!({"SubnetIds": [subnet], "SecurityGroupIds": [group], "VpcId": "vpc-0a"});
    let none = json!({"SubnetIds": [], "SecurityGroupIds": [], "VpcId": ""});
    json!({"Functions": [
        {"FunctionName": "another", "VpcConfig": network},
        {"FunctionName": "outside"},
        {"FunctionName": "left", "VpcConfig": none},
        // A list may still show the deleted one.
        {"FunctionName": "orders_1a2b3c4d_user", "VpcConfig": {"SubnetIds": ["subnet-0a"], "SecurityGroupIds": ["sg-0a"]}},
    ]})
}

#[tokio::test(start_paused = true)]
async fn what_never_goes_fails_after_the_deadline_and_names_it() {
    let list = always!(Sdk::list_functions, ok(functions("subnet-0a", "sg-9")));
    let (cx, _) = ec2_and_lambda((0..400).map(|_| one()), [list]);
    let began = Instant::now();
    let (_, text) = failed(desired().delete(&cx, &NoOutput {}).await);
    assert!(text.contains("in 45 minutes: eni-1"), "{text}");
    assert_eq!(began.elapsed().as_secs() / 60, 45);
}

#[tokio::test(start_paused = true)]
async fn what_another_function_uses_stays_with_it_after_five_minutes() {
    let list = on!(Sdk::list_functions, ok(functions("subnet-0a", "sg-0a")));
    let (cx, _) = ec2_and_lambda((0..100).map(|_| one()), [list]);
    let began = Instant::now();
    desired().delete(&cx, &NoOutput {}).await.unwrap();
    assert_eq!(began.elapsed().as_secs() / 60, 5);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_denied_is_told_and_the_rights_stay() {
    let (cx, _) = ec2([ec2_refused(
        403,
        "UnauthorizedOperation",
        "You are not authorized to perform this operation.",
    )]);
    let (class, text) = failed(desired().delete(&cx, &NoOutput {}).await);
    assert_eq!(class, Some(Class::Denied));
    assert!(text.contains("ec2:DescribeNetworkInterfaces"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_record_is_found_where_there_is_the_function() {
    let gone = || refused(404, "ResourceNotFoundException", "Function not found");
    let cx = lambda([
        on!(Sdk::get_function, ok(json!({}))),
        on!(Sdk::get_function, gone()),
    ]);
    assert!(desired().find(&cx).await.unwrap().is_some());
    assert!(desired().find(&cx).await.unwrap().is_none());
}
