//! Who called what: the stage's access logs, the role that the account needs for them, and `logs --access`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::proxy::{Act, Moment, Request};
use crate::support::world::CODE;
use crate::support::{Emulator, World};

const BARE: &str = r#"
[stack]
name = "orders"
[resource_servers.orders.scopes]
read = "Read orders"
[clients.billing]
scopes = ["orders/read"]
[clients.shipping]
scopes = ["orders/read"]
[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
[routes]
"GET /orders/{id}" = { function = "orders", scopes = ["orders/read"] }
"#;

fn logging() -> String {
    format!("{BARE}[api.access_logs]\nretention_days = 14\n")
}

const ROLE: &str = "arn:aws:iam::000000000000:role/provision-api-gateway-logs";

fn set_role(emulator: &Emulator) -> Value {
    emulator.get("apigateway", "/account")["cloudwatchRoleArn"].clone()
}

/// As AWS answers where no role is set, where the emulator takes everything.
fn refuse_logs(request: &Request, now: Moment) -> Act {
    let is_set =
        request.method == "PATCH" && String::from_utf8_lossy(&request.body).contains("accessLogSettings");
    if now == Moment::Before && is_set {
        let text =
            r#"{"message":"CloudWatch Logs role ARN must be set in account settings to enable logging"}"#;
        return Act::Answer(
            400,
            vec![("x-amzn-errortype", "BadRequestException")],
            text.to_owned(),
        );
    }
    Act::Pass
}

#[test]
fn without_a_role_of_the_account_nothing_is_changed_and_the_remedy_works() {
    let world = World::of(&logging(), CODE);
    let refused = world.run(&["up"]).code(2).stderr;
    let words = "[api] has access_logs, and API Gateway has no role to write logs with in account 000000000000, region eu-west-1";
    assert!(
        refused.contains(&format!("{words}; nothing was created")),
        "{refused}"
    );
    assert!(
        refused.contains("hint: run `provision account logs enable`"),
        "{refused}"
    );
    let told = |world: &World| {
        let planned = world.run(&["plan"]).code(2);
        assert!(planned.stdout.contains("access-log-group"), "{}", planned.stdout);
        assert!(planned.stderr.contains(words), "{}", planned.stderr);
        let remedy = "hint: run `provision account logs enable`";
        assert!(planned.stderr.contains(remedy), "{}", planned.stderr);
    };
    told(&world);
    assert_eq!(world.writes(), Vec::<String>::new());
    world.emulator.assert_nothing("after a refusal");

    // Of a stack that is up already.
    world.file(BARE);
    world.run(&["up"]).ok();
    world.file(&logging());
    world.proxy.take();
    let refused = world.run(&["up"]).code(2).stderr;
    assert!(
        refused.contains(&format!("{words}; nothing was changed")),
        "{refused}"
    );
    told(&world);
    assert_eq!(world.writes(), Vec::<String>::new());

    let shown = world.run(&["account", "logs"]).code(3);
    assert_eq!(shown.stdout, "role: none\n");
    assert!(
        shown.stderr.contains("run `provision account logs enable`"),
        "{}",
        shown.stderr
    );
    // Without a terminal nobody can be asked.
    let unasked = world.run(&["account", "logs", "enable"]).code(2).stderr;
    assert!(unasked.contains("hint: pass --yes"), "{unasked}");
    assert_eq!(world.writes(), Vec::<String>::new());
    let enabled = world.run(&["account", "logs", "enable", "--yes"]).ok();
    assert_eq!(enabled.stdout, format!("role: {ROLE}\n"));
    assert!(
        enabled.stderr.contains("stay when stacks are deleted"),
        "{}",
        enabled.stderr
    );
    assert_eq!(
        world.writes(),
        ["CreateRole", "AttachRolePolicy", "PATCH /account"]
    );
    assert_eq!(set_role(&world.emulator), ROLE);
    let again = world.run(&["account", "logs", "enable"]).ok();
    assert!(again.stderr.contains("nothing was changed"), "{}", again.stderr);
    let shown = world.run(&["account", "logs", "--json"]).ok().json();
    assert_eq!(
        (&shown["log_role"], &shown["region"]),
        (&json!(ROLE), &json!("eu-west-1"))
    );
    assert_eq!(world.writes(), Vec::<String>::new());

    world.run(&["plan"]).ok();
    world.run(&["up"]).ok();
    world.assert_settled("with access logs");
    world.run(&["down", "--yes"]).ok();
    assert_eq!(set_role(&world.emulator), ROLE, "it is not the stack's");
    let census = world.emulator.census();
    assert_eq!(census.into_iter().collect::<Vec<_>>(), [("roles", 1)]);
}

#[test]
fn a_role_that_goes_away_behind_the_check_is_told_in_awss_words_with_the_remedy() {
    let world = World::of(&logging(), CODE);
    world.emulator.let_apis_log();
    world.proxy.rule(refuse_logs);
    let failed = world.run(&["up", "--no-verify"]).code(1).stderr;
    assert!(
        failed.contains("CloudWatch Logs role ARN must be set"),
        "{failed}"
    );
    assert!(
        failed.contains("hint: run `provision account logs enable`"),
        "{failed}"
    );
    world.proxy.rule(|_, _| Act::Pass);
    world.run(&["up", "--no-verify"]).ok();
    world.assert_settled("after the remedy");
    // A stage that logs is not asked about again.
    world.proxy.take();
    world.run(&["up", "--no-verify"]).ok();
    let asked = world.proxy.take();
    assert!(asked.iter().all(|request| request.operation() != "GET /account"));
    world.down();
}

#[test]
fn enabling_is_finished_after_a_kill_anywhere_and_changes_nothing_of_others() {
    let world = World::of(BARE, CODE);
    let enable = ["account", "logs", "enable", "--yes"];
    let clear = || {
        let role = "RoleName=provision-api-gateway-logs";
        let policy =
            "arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2Fservice-role%2FAmazonAPIGatewayPushToCloudWatchLogs";
        world
            .emulator
            .iam(&format!("Action=DetachRolePolicy&{role}&PolicyArn={policy}"));
        world.emulator.iam(&format!("Action=DeleteRole&{role}"));
        world
            .emulator
            .patch("/account", &[("remove", "/cloudwatchRoleArn", "")]);
    };
    for at in 0..3 {
        for moment in [Moment::Before, Moment::After] {
            assert!(
                world.kill_at(&enable, at, moment, Request::is_write),
                "{at} {moment:?}"
            );
            world.run(&enable).ok();
            assert_eq!(set_role(&world.emulator), ROLE, "{at} {moment:?}");
            assert_eq!(world.emulator.census()["roles"], 1);
            clear();
        }
    }

    // Someone else is faster: theirs counts.
    let theirs = "arn:aws:iam::000000000000:role/theirs";
    let emulator = Emulator::new(world.emulator.endpoint.clone());
    world.proxy.rule(move |request, now| {
        if now == Moment::After && request.operation() == "AttachRolePolicy" {
            emulator.patch("/account", &[("replace", "/cloudwatchRoleArn", theirs)]);
        }
        Act::Pass
    });
    let run = world.run(&enable).ok();
    assert_eq!(run.stdout, format!("role: {theirs}\n"));
    assert!(run.stderr.contains("that one counts"), "{}", run.stderr);
    assert_eq!(set_role(&world.emulator), theirs);
    clear();
    world.proxy.rule(|_, _| Act::Pass);

    // A role of the name that someone else made.
    let role = "Action=CreateRole&RoleName=provision-api-gateway-logs&AssumeRolePolicyDocument=%7B%7D";
    world.emulator.iam(role);
    world.proxy.take();
    let refused = world.run(&enable).code(1).stderr;
    assert!(refused.contains("it is left as it is"), "{refused}");
    assert_eq!(world.writes(), Vec::<String>::new());
    assert_eq!(set_role(&world.emulator), Value::Null);
}

#[test]
fn the_group_is_there_before_the_stage_logs_and_until_the_api_is_gone() {
    let world = World::of(&logging(), CODE);
    world.emulator.let_apis_log();
    world.run(&["up", "--no-verify"]).ok();
    let group = world.state().desired("access-log-group", "name").to_owned();
    let name = group.as_bytes().to_vec();
    let position = |requests: &[Request], is_it: &dyn Fn(&Request) -> bool| {
        let found = requests
            .iter()
            .position(|request| request.is_write() && is_it(request));
        found.expect("it was called")
    };
    let names_it = |request: &Request| {
        request.operation().ends_with("LogGroup") && request.body.windows(name.len()).any(|part| part == name)
    };
    let up = world.proxy.take();
    let logs = position(&up, &|request| {
        String::from_utf8_lossy(&request.body).contains("accessLogSettings")
    });
    assert!(position(&up, &names_it) < logs);
    // The API's deletion takes its time, in which nothing must take the group away.
    let [is_gone, is_early] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let (gone, early, group) = (is_gone.clone(), is_early.clone(), name.clone());
    world.proxy.rule(move |request, now| {
        let is_api = request.method == "DELETE" && request.path.starts_with("/restapis/");
        let is_group = request.operation() == "DeleteLogGroup"
            && request.body.windows(group.len()).any(|part| part == group);
        match now {
            Moment::Before if is_api => thread::sleep(Duration::from_secs(1)),
            Moment::After if is_api => gone.store(true, Ordering::SeqCst),
            Moment::Before if is_group && !gone.load(Ordering::SeqCst) => early.store(true, Ordering::SeqCst),
            _ => (),
        }
        Act::Pass
    });
    world.run(&["down", "--yes"]).ok();
    assert!(is_gone.load(Ordering::SeqCst) && !is_early.load(Ordering::SeqCst));
    let down = world.proxy.take();
    let api = position(&down, &|request| {
        request.method == "DELETE" && request.path.starts_with("/restapis/")
    });
    assert!(api < position(&down, &names_it), "the stage logs until then");
    world.emulator.assert_nothing("after down");
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Writes lines as API Gateway would.
fn write_lines(world: &World, lines: &[String]) {
    let group = world.state().desired("access-log-group", "name").to_owned();
    let stream = json!({"logGroupName": group, "logStreamName": "s"});
    world.emulator.json("Logs_20140328.CreateLogStream", &stream);
    let events: Vec<Value> = (lines.iter())
        .map(|line| json!({"timestamp": now() - 1000, "message": line}))
        .collect();
    let put = json!({"logGroupName": group, "logStreamName": "s", "logEvents": events});
    world.emulator.json("Logs_20140328.PutLogEvents", &put);
}

fn line(client: &str, other: &Value) -> String {
    let mut line = json!({
        "id": "fKVfGHXMoAMFz6w=", "time": "1795426898456", "ip": "192.0.2.7", "client": client, "method": "GET",
        "route": "/orders/{id}", "status": "200", "latency": "31", "backend_status": "200", "backend_latency": "28",
        "auth_error": "-", "error": "-", "waf": "-",
    });
    for (name, value) in other.as_object().unwrap() {
        line[name] = value.clone();
    }
    line.to_string()
}

#[test]
fn requests_are_shown_by_client_and_route_and_what_a_caller_chose_steers_nothing() {
    let world = World::of(&logging(), CODE);
    let none = world.run(&["logs", "--access"]).code(2).stderr;
    assert!(none.contains("has no state"), "{none}");
    world.file(BARE);
    world.run(&["up", "--no-verify"]).ok();
    let none = world.run(&["logs", "--access"]).code(2).stderr;
    assert!(none.contains("stack orders does not log requests"), "{none}");
    world.emulator.let_apis_log();
    world.file(&logging());
    world.run(&["up", "--no-verify"]).ok();
    let client = |name: &str| {
        world
            .state()
            .output(&format!("client:{name}"), "client_id")
            .to_owned()
    };
    let (billing, shipping) = (client("billing"), client("shipping"));
    let refused = json!({
        "status": "401", "latency": "3", "backend_status": "-", "backend_latency": "-", "error": "UNAUTHORIZED",
        "auth_error": "\u{1b}[2Jexpired",
    });
    write_lines(
        &world,
        &[
            line(&billing, &json!({})),
            line(&billing, &json!({"status": "502", "latency": "29000"})),
            line(
                &shipping,
                &json!({"method": "DELETE\u{202e}", "status": "403", "route": "-"}),
            ),
            line("-", &refused),
            line("somebody", &json!({})),
            "not JSON \u{1b}[31m".to_owned(),
        ],
    );
    let shown = world.run(&["logs", "--access"]).ok();
    insta::assert_snapshot!("access_table", shown.stdout);
    assert!(
        shown.stderr.contains("1 lines are not in the form"),
        "{}",
        shown.stderr
    );
    assert!(!shown.stdout.contains(['\u{1b}', '\u{202e}']));

    let lines = |args: &[&str]| {
        let run = world.run(&[&["logs", "--access", "--json"], args].concat()).ok();
        assert!(!run.stdout.contains(['\u{1b}', '\u{202e}']), "{}", run.stdout);
        run.events()
    };
    let all = lines(&[]);
    assert_eq!(all.len(), 5);
    assert_eq!(
        all[0],
        json!({
            "id": "fKVfGHXMoAMFz6w=", "time": "2026-11-23T09:41:38.456Z", "ip": "192.0.2.7", "client": "billing",
            "client_id": billing, "method": "GET", "route": "/orders/{id}", "status": 200, "latency_ms": 31,
            "backend_status": 200, "backend_latency_ms": 28, "reason": null, "firewall": null,
        })
    );
    assert_eq!(
        (&all[3]["client"], &all[3]["status"]),
        (&Value::Null, &json!(401))
    );
    assert_eq!(lines(&["--client", "billing"]).len(), 2);
    assert_eq!(lines(&["--status", "4xx"]).len(), 2);
    assert_eq!(lines(&["--client", "billing", "--status", "502"]).len(), 1);
    assert_eq!(lines(&["--since", "1s"]).len(), 0);
    let unknown = world
        .run(&["logs", "--access", "--client", "nobody"])
        .code(2)
        .stderr;
    assert!(unknown.contains("client nobody not found"), "{unknown}");
    for together in [
        &["logs", "--client", "billing"][..],
        &["logs", "--stats"],
        &["logs", "--access", "orders"],
        &["logs", "--access", "--stats", "-f"],
    ] {
        world.run(together).code(2);
    }

    let sums = world.run(&["logs", "--access", "--stats"]).ok().stdout;
    insta::assert_snapshot!("access_stats", sums);
    let sums = world.run(&["logs", "--access", "--stats", "--json"]).ok().json();
    assert_eq!(
        (sums["unread"].clone(), sums["rows"].as_array().unwrap().len()),
        (json!(1), 4)
    );
    world.down();
}

/// The figure is in docs/performance.md; a test has no limit on time.
#[test]
fn ten_thousand_lines_are_summed() {
    let world = World::of(&logging(), CODE);
    world.emulator.let_apis_log();
    world.run(&["up", "--no-verify"]).ok();
    let billing = world.state().output("client:billing", "client_id").to_owned();
    let lines: Vec<String> = (0..10_000)
        .map(|number| line(&billing, &json!({"latency": (number % 100 + 1).to_string()})))
        .collect();
    for part in lines.chunks(1000) {
        write_lines(&world, part);
    }
    let began = Instant::now();
    let sums = world.run(&["logs", "--access", "--stats", "--json"]).ok().json();
    eprintln!("10,000 lines: {} ms", began.elapsed().as_millis());
    let row = json!({
        "client": "billing", "route": "GET /orders/{id}", "requests": 10_000, "refused": 0, "failed": 0, "p50_ms": 50,
        "p95_ms": 95,
    });
    assert_eq!(sums["rows"], json!([row]));
    world.down();
}
