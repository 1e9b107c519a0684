//! What functions may do: granted before a function is changed, taken away after it, and told beforehand.

use std::path::Path;
use std::process::Command;

use crate::support::enforced::{self, Enforced};
use crate::support::proxy::{Act, Moment, Request};
use crate::support::world::CODE;
use crate::support::{Place, Run, World};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

const BEFORE: &str = r#"
[stack]
name = "orders"
[resource_servers.orders.scopes]
read = "Read orders"
[clients.app]
scopes = ["orders/read"]
[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
memory_mb = 128
policy = { Effect = "Allow", Action = ["dynamodb:GetItem", "dynamodb:Query"], Resource = "arn:aws:dynamodb:*:*:table/orders" }
managed_policies = ["arn:aws:iam::aws:policy/AmazonSQSFullAccess"]
[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"#;

const TABLE: &str = "arn:aws:dynamodb:*:*:table/orders";
const SQS: &str = "arn:aws:iam::aws:policy/AmazonSQSFullAccess";
const SNS: &str = "arn:aws:iam::aws:policy/AmazonSNSFullAccess";
const BOUNDARY: &str = "arn:aws:iam::aws:policy/PowerUserAccess";

/// Other rights, and another function.
fn after() -> String {
    BEFORE
        .replace("\"dynamodb:Query\"", "\"dynamodb:PutItem\"")
        .replace(SQS, SNS)
        .replace("memory_mb = 128", "memory_mb = 256")
        .replace(
            "[resource_servers",
            &format!("permissions_boundary = \"{BOUNDARY}\"\n[resource_servers"),
        )
}

fn encoded(document: &Value) -> String {
    utf8_percent_encode(&document.to_string(), NON_ALPHANUMERIC).to_string()
}

/// The text of an element of IAM's answer, as often as it is there.
fn elements(answer: &str, name: &str) -> Vec<String> {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    let parts = answer.split(&start).skip(1);
    let texts = parts.filter_map(|part| part.split(&end).next());
    texts.map(str::to_owned).collect()
}

/// What the role of the function has: actions of its own policy, managed policies, boundary.
fn has(world: &World) -> (Vec<String>, Vec<String>, Vec<String>) {
    let role = world.state().desired("role:orders", "name").to_owned();
    let ask = |action: &str, more: &str| {
        world
            .emulator
            .iam(&format!("Action={action}&RoleName={role}{more}"))
    };
    let own = ask("GetRolePolicy", "&PolicyName=policy");
    let own = &elements(&own, "PolicyDocument")[0];
    let own = percent_encoding::percent_decode_str(own)
        .decode_utf8()
        .unwrap()
        .replace("&quot;", "\"");
    let own: Value = serde_json::from_str(&own).unwrap();
    let actions = own["Statement"]["Action"].as_array().unwrap().iter();
    let actions = actions
        .map(|action| action.as_str().unwrap().to_owned())
        .collect();
    let attached = elements(&ask("ListAttachedRolePolicies", ""), "PolicyArn");
    let boundary = elements(&ask("GetRole", ""), "PermissionsBoundaryArn");
    (actions, attached, boundary)
}

fn is_before(world: &World, story: &str) {
    let actions = ["dynamodb:GetItem", "dynamodb:Query"].map(str::to_owned).to_vec();
    assert_eq!(has(world), (actions, vec![SQS.to_owned()], Vec::new()), "{story}");
}

fn is_after(world: &World, story: &str) {
    let actions = ["dynamodb:GetItem", "dynamodb:PutItem"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(
        has(world),
        (actions, vec![SNS.to_owned()], vec![BOUNDARY.to_owned()]),
        "{story}"
    );
}

/// The operations that change rights or the function, in their order.
fn order(requests: &[Request]) -> Vec<String> {
    let operations = requests
        .iter()
        .filter(|request| request.is_write())
        .map(Request::operation);
    let named = operations.map(|operation| {
        let is_function = operation.ends_with("/configuration");
        if is_function {
            "function".to_owned()
        } else {
            operation
        }
    });
    named.collect()
}

#[test]
fn rights_come_before_the_function_changes_go_after_it_and_are_told_before() {
    let world = World::of(BEFORE, CODE);
    world.run(&["up", "--no-verify"]).ok();
    is_before(&world, "made");
    world.assert_settled("made");
    world.file(&after());
    let plan = world.run(&["plan", "--json"]).ok().json();
    let own =
        |action: &str| json!({"step": "function-policy:orders", "actions": [action], "resource": TABLE});
    let attachment = |name: &str| format!("role-attachment:orders:aws:policy/{name}");
    assert_eq!(
        plan["rights"],
        json!({
            "granted": [
                own("dynamodb:PutItem"),
                {"step": attachment("AmazonSNSFullAccess"), "policy": SNS},
            ],
            "denied": [
                {"step": "role:orders", "boundary": BOUNDARY},
                own("dynamodb:Query"),
                {"step": attachment("AmazonSQSFullAccess"), "policy": SQS},
            ],
        })
    );
    let text = world.run(&["plan"]).ok().stdout;
    let granted =
        format!("rights that this plan grants:\n  + function-policy:orders: dynamodb:PutItem on {TABLE}\n");
    assert!(text.contains(&granted), "{text}");
    world.proxy.take();
    let up = world.run(&["up", "--no-verify", "--json", "--yes"]).ok();
    let events = up.events();
    assert_eq!(events[0]["event"], "rights", "{}", events[0]);
    assert_eq!(events[0]["rights"], plan["rights"]);

    let order = order(&world.proxy.take());
    let function = order.iter().position(|one| one == "function").unwrap();
    let (mut granted, mut taken) = (order[..function].to_vec(), order[function + 1..].to_vec());
    granted.sort();
    taken.sort();
    assert_eq!(granted, ["AttachRolePolicy", "PutRolePolicy"], "{order:?}");
    assert_eq!(
        taken,
        ["DetachRolePolicy", "PutRolePermissionsBoundary", "PutRolePolicy"],
        "{order:?}"
    );
    is_after(&world, "changed");
    world.assert_settled("changed");

    world.file(BEFORE);
    world.run(&["up", "--no-verify", "--yes"]).ok();
    is_before(&world, "changed back");
    // All keys removed.
    let bare: Vec<&str> = BEFORE.lines().filter(|line| !line.contains("polic")).collect();
    world.file(&bare.join("\n"));
    world.proxy.take();
    world.run(&["up", "--no-verify", "--yes"]).ok();
    assert_eq!(
        order_of_three(&world),
        ["function", "DeleteRolePolicy", "DetachRolePolicy"]
    );
    world.assert_settled("without");
    world.down();
}

/// The writes, those after the first sorted.
fn order_of_three(world: &World) -> Vec<String> {
    let mut order = order(&world.proxy.take());
    order[1..].sort();
    order
}

#[test]
fn a_change_of_rights_that_is_killed_anywhere_is_finished_by_the_next_run() {
    let world = World::of(BEFORE, CODE);
    world.run(&["up", "--no-verify"]).ok();
    for at in 0.. {
        let mut is_over = false;
        for moment in [Moment::Before, Moment::After] {
            let story = format!("killed {moment:?} write {at}");
            world.file(&after());
            is_over = !world.kill_at(&["up", "--no-verify", "--yes"], at, moment, Request::is_write);
            world.run(&["up", "--no-verify", "--yes"]).ok();
            is_after(&world, &story);
            world.assert_settled(&story);
            world.file(BEFORE);
            // On the way back as well.
            world.kill_at(&["up", "--no-verify", "--yes"], at, moment, Request::is_write);
            world.run(&["up", "--no-verify", "--yes"]).ok();
            is_before(&world, &story);
        }
        if is_over {
            assert!(at >= 5, "it has that many writes: {at}");
            break;
        }
    }
    world.down();
}

#[test]
fn an_up_and_a_down_that_are_killed_at_a_right_leave_nothing() {
    let about_rights = |request: &Request| {
        [
            "PutRolePolicy",
            "AttachRolePolicy",
            "DetachRolePolicy",
            "DeleteRolePolicy",
            "DeleteRole",
        ]
        .contains(&&*request.operation())
    };
    let world = World::of(&after(), CODE);
    for (args, calls) in [(["up", "--no-verify"], 3), (["down", "--yes"], 4)] {
        for at in 0..calls {
            for moment in [Moment::Before, Moment::After] {
                if args[0] == "down" {
                    world.run(&["up", "--no-verify"]).ok();
                }
                assert!(world.kill_at(&args, at, moment, about_rights), "{args:?} {at}");
                world.down();
            }
        }
    }
}

#[test]
fn somebody_elses_change_of_our_policies_is_told_and_mended_and_their_own_stay() {
    let world = World::of(BEFORE, CODE);
    world.run(&["up", "--no-verify"]).ok();
    let role = world.state().desired("role:orders", "name").to_owned();
    let iam = |action: &str, more: &str| {
        world
            .emulator
            .iam(&format!("Action={action}&RoleName={role}&{more}"))
    };
    let theirs =
        json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}});
    iam("DetachRolePolicy", &format!("PolicyArn={SQS}"));
    iam(
        "PutRolePolicy",
        &format!("PolicyName=policy&PolicyDocument={}", encoded(&theirs)),
    );
    iam(
        "PutRolePolicy",
        &format!("PolicyName=theirs&PolicyDocument={}", encoded(&theirs)),
    );
    iam("AttachRolePolicy", &format!("PolicyArn={SNS}"));

    let status = world.run(&["status", "--json"]).code(3).json();
    let states: Vec<(&str, &str)> = (status["resources"].as_array().unwrap().iter())
        .filter(|line| line["state"] != "ok")
        .map(|line| (line["step"].as_str().unwrap(), line["state"].as_str().unwrap()))
        .collect();
    let attachment = "role-attachment:orders:aws:policy/AmazonSQSFullAccess";
    assert_eq!(
        states,
        [("function-policy:orders", "drifted"), (attachment, "missing")]
    );
    let foreign: Vec<&str> = (status["foreign"].as_array().unwrap().iter())
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(foreign, ["theirs", SNS]);
    let text = world.run(&["status"]).code(3).stdout;
    assert!(text.contains("IAM does not delete the role"), "{text}");

    world.run(&["up", "--no-verify"]).ok();
    let (actions, mut attached, _) = has(&world);
    attached.sort();
    assert_eq!(actions, ["dynamodb:GetItem", "dynamodb:Query"]);
    assert_eq!(attached, [SNS, SQS]);
    let status = world.run(&["status", "--json"]).code(3).json();
    let foreign: Vec<&Value> = (status["foreign"].as_array().unwrap().iter())
        .map(|one| &one["id"])
        .collect();
    assert_eq!(foreign, ["theirs", SNS], "what is the stack's own is not foreign");

    let down = world.run(&["down", "--yes"]).code(1).stderr;
    let told = down
        .find("foreign   managed policy")
        .unwrap_or_else(|| panic!("{down}"));
    assert!(
        told < down.find("deleted ").unwrap(),
        "it is told before anything is deleted: {down}"
    );
    let command = format!("aws iam detach-role-policy --role-name {role} --policy-arn {SNS}");
    assert!(down.contains(&command), "{down}");
    let refusal = down.lines().find(|line| line.starts_with("failed ")).unwrap();
    assert!(refusal.contains(SNS) && !refusal.contains(SQS), "{refusal}");
    iam("DetachRolePolicy", &format!("PolicyArn={SNS}"));
    iam("DeleteRolePolicy", "PolicyName=theirs");
    world.down();
}

const TRUST: &str = "lambda.amazonaws.com";
const ARN: &str = "arn:aws:iam::000000000000:role/made-elsewhere";

/// Makes a role that this stack does not own.
fn make_role(world: &World, name: &str, service: &str) {
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}},
    ]});
    let trust = encoded(&trust);
    world.emulator.iam(&format!(
        "Action=CreateRole&RoleName={name}&AssumeRolePolicyDocument={trust}"
    ));
}

/// Runs as this role.
fn as_role(arn: &str) -> String {
    let bare: Vec<&str> = BEFORE.lines().filter(|line| !line.contains("polic")).collect();
    bare.join("\n")
        .replace("memory_mb", &format!("role = \"{arn}\"\nmemory_mb"))
}

#[test]
fn a_role_that_somebody_else_made_is_used_and_not_touched() {
    let bare: Vec<&str> = BEFORE.lines().filter(|line| !line.contains("polic")).collect();
    let world = World::of(&bare.join("\n"), CODE);
    let run = |args: &[&str]| world.run(args);
    run(&["up", "--no-verify"]).ok();
    make_role(&world, "made-elsewhere", TRUST);
    world.file(&as_role(ARN));
    world.proxy.take();
    let plan = run(&["plan", "--json"]).ok().json();
    assert_eq!(
        plan["rights"]["granted"][0],
        json!({"step": "function:orders", "role": ARN})
    );
    run(&["up", "--no-verify", "--yes"]).ok();
    assert_eq!(
        order(&world.proxy.take()),
        ["function", "DeleteRolePolicy", "DeleteRole"],
        "the function is changed in place, and its own role goes after it"
    );
    world.assert_settled("with another role");
    let names: Vec<String> = (world.state().steps().iter())
        .map(|record| record["step"].as_str().unwrap().to_owned())
        .collect();
    assert!(!names.iter().any(|name| name.starts_with("role")), "{names:?}");
    assert_eq!(world.state().desired("function:orders", "role"), ARN);

    // Another role under the same name: Lambda's grant belongs to the one before.
    world.emulator.iam("Action=DeleteRole&RoleName=made-elsewhere");
    let gone = run(&["plan"]).code(2).stderr;
    assert!(
        gone.contains(&format!("function orders: role {ARN} not found")),
        "{gone}"
    );
    let status = run(&["status"]).code(3).stderr;
    assert!(status.contains("not found"), "{status}");
    make_role(&world, "made-elsewhere", TRUST);
    let status = run(&["status", "--json"]).code(3).json();
    let drifted: Vec<&Value> = (status["resources"].as_array().unwrap().iter())
        .filter(|line| line["state"] != "ok")
        .collect();
    assert_eq!(drifted.len(), 1, "{drifted:?}");
    assert_eq!(drifted[0]["drifted"][0]["field"], "role_id");
    world.proxy.take();
    run(&["up", "--no-verify", "--yes"]).ok();
    let operations: Vec<String> = world.proxy.take().iter().map(Request::operation).collect();
    assert!(
        operations.iter().any(|one| one == "POST /2015-03-31/functions"),
        "{operations:?}"
    );
    world.assert_settled("with the role that was made again");

    // And back to a role of its own.
    world.file(BEFORE);
    run(&["up", "--no-verify", "--yes"]).ok();
    is_before(&world, "its own role again");
    world.assert_settled("its own role again");
    world.file(&as_role(ARN));
    run(&["up", "--no-verify", "--yes"]).ok();
    run(&["down", "--yes"]).ok();
    let role = world.emulator.iam("Action=GetRole&RoleName=made-elsewhere");
    assert!(role.contains(ARN), "{role}");
    world.emulator.iam("Action=DeleteRole&RoleName=made-elsewhere");
    world.emulator.assert_nothing("after down");
}

#[test]
fn a_role_that_cannot_be_used_is_refused_before_anything_is_made() {
    let world = World::of(BEFORE, CODE);
    make_role(&world, "for-servers", "ec2.amazonaws.com");
    for (arn, why) in [
        (
            "arn:aws:iam::000000000000:role/nowhere",
            "function orders: role arn:aws:iam::000000000000:role/nowhere not found",
        ),
        (
            "arn:aws:iam::000000000000:role/service/for-servers",
            "not found; the role of this name is arn:aws:iam::000000000000:role/for-servers",
        ),
        (
            "arn:aws:iam::000000000000:role/for-servers",
            "does not allow lambda.amazonaws.com to assume it",
        ),
        (
            "arn:aws:iam::111122223333:role/for-servers",
            "function orders: role: expected an ARN of account 000000000000 in partition aws",
        ),
        (
            "arn:aws-cn:iam::000000000000:role/for-servers",
            "function orders: role: expected an ARN of account 000000000000 in partition aws",
        ),
    ] {
        world.file(&as_role(arn));
        for command in ["plan", "up"] {
            let refused = world.run(&[command]).code(2).stderr;
            assert!(refused.contains(why), "{arn}: {refused}");
        }
        assert_eq!(world.writes(), Vec::<String>::new());
    }
    let elsewhere = BEFORE.replace("iam::aws:policy/AmazonSQS", "iam::111122223333:policy/AmazonSQS");
    world.file(&elsewhere);
    let refused = world.run(&["up"]).code(2).stderr;
    assert!(
        refused.contains("function orders: managed_policies: expected an ARN of account"),
        "{refused}"
    );
    let calls: Vec<String> = world.proxy.take().iter().map(Request::operation).collect();
    assert_eq!(calls, ["GetCallerIdentity"]);
    world.emulator.iam("Action=DeleteRole&RoleName=for-servers");
    world.emulator.assert_nothing("nothing was made");
}

#[test]
fn a_function_that_may_do_everything_is_warned_of() {
    let world = World::of(BEFORE, CODE);
    let all = "{ Effect = \"Allow\", Action = \"*\", Resource = \"*\" }";
    let start = BEFORE.find("policy = {").unwrap() + "policy = ".len();
    let end = start + BEFORE[start..].find('\n').unwrap();
    let everything = BEFORE.replace(&BEFORE[start..end], all);
    for (file, is_warned) in [
        (BEFORE.to_owned(), false),
        (everything, true),
        (BEFORE.replace("AmazonSQSFullAccess", "AdministratorAccess"), true),
    ] {
        world.file(&file);
        let said = world.run(&["plan"]).ok().stderr;
        let warning = "function orders: its policy allows every action on every resource";
        assert_eq!(said.contains(warning), is_warned, "{said}");
    }
}

#[test]
fn a_policy_that_iam_refuses_is_told_in_its_words() {
    const WORDS: &str = "Cannot exceed quota for PoliciesPerRole: 10";
    let world = World::of(BEFORE, CODE);
    world.proxy.rule(|request, now| {
        if now == Moment::Before && request.operation() == "AttachRolePolicy" {
            let text = format!("<ErrorResponse><Error><Code>LimitExceeded</Code><Message>{WORDS}</Message></Error></ErrorResponse>");
            return Act::Answer(409, vec![("content-type", "text/xml")], text);
        }
        Act::Pass
    });
    let up = world.run(&["up", "--no-verify"]).code(1).stderr;
    assert!(up.contains(WORDS), "{up}");
    assert!(
        up.contains("held back function:orders"),
        "a function is not made without its rights: {up}"
    );
    world.proxy.rule(|_, _| Act::Pass);
    world.run(&["up", "--no-verify"]).ok();
    is_before(&world, "in the next run");
    world.down();
}

/// Makes the table of the sample with one item.
const MAKE_TABLE: &str = "
import sys
import botocore.session
client = botocore.session.get_session().create_client(
    'dynamodb', region_name='eu-west-1', endpoint_url=sys.argv[1],
    aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3])
client.create_table(
    TableName='orders', BillingMode='PAY_PER_REQUEST',
    AttributeDefinitions=[{'AttributeName': 'id', 'AttributeType': 'S'}],
    KeySchema=[{'AttributeName': 'id', 'KeyType': 'HASH'}])
client.put_item(TableName='orders', Item={'id': {'S': '7'}, 'total': {'N': '42'}})
";

#[test]
fn the_sample_reads_a_table_with_its_policy_and_not_without_it() {
    let place = Place::new();
    let emulator = Enforced::start(&place);
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/dynamodb");
    fs_err::create_dir(place.path().join("lambda")).unwrap();
    for file in ["provision.toml", "orders.policy.json", "lambda/index.js"] {
        fs_err::copy(sample.join(file), place.path().join(file)).unwrap();
    }
    let made = Command::new(&emulator.python)
        .args([
            "-c",
            MAKE_TABLE,
            &emulator.endpoint,
            enforced::KEY,
            enforced::SECRET,
        ])
        .env_remove("http_proxy")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let run = |args: &[&str]| -> Run {
        let mut command = place.at(&emulator.endpoint, args);
        command
            .env("AWS_ACCESS_KEY_ID", enforced::KEY)
            .env("AWS_SECRET_ACCESS_KEY", enforced::SECRET);
        command.output().unwrap().into()
    };
    let plan = run(&["plan"]).ok().stdout;
    let right = "  + function-policy:orders: dynamodb:GetItem on arn:aws:dynamodb:*:*:table/orders\n";
    assert!(plan.contains(right), "{plan}");
    run(&["up"]).ok();
    let answer = run(&["call", "GET", "/orders/7"]).ok();
    assert_eq!(answer.stdout.trim(), r#"{"id":"7","total":42}"#);

    let file = fs_err::read_to_string(sample.join("provision.toml")).unwrap();
    let without = file.replace("policy = \"orders.policy.json\"\n", "");
    fs_err::write(place.path().join("provision.toml"), without).unwrap();
    run(&["up", "--yes"]).ok();
    run(&["call", "GET", "/orders/7"]).code(1);
    let logs = run(&["logs"]).ok().stdout;
    assert!(
        logs.contains("not authorized to perform: dynamodb:GetItem"),
        "{logs}"
    );
    run(&["down", "--yes"]).ok();
}
