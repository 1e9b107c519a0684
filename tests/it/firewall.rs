//! A web ACL of others on the stage: put on, changed, taken off, and what someone else does to it.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::changes::{plan, writes};
use crate::support::World;
use crate::support::proxy::{Act, Moment, Request};
use crate::support::world::CODE;

const BARE: &str = r#"
[stack]
name = "orders"
[resource_servers.orders.scopes]
read = "Read orders"
[clients.billing]
scopes = ["orders/read"]
[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
[api]
"#;

fn behind(acl: &str) -> String {
    format!("{BARE}firewall = \"{acl}\"\n")
}

fn stage_arn(world: &World) -> String {
    let state = world.state();
    let stage = state.desired("stage", "name").to_owned();
    format!("arn:aws:apigateway:eu-west-1::{}/stages/{stage}", state.api())
}

/// The web ACL on this stage.
fn on(world: &World, stage: &str) -> Value {
    let answer = world
        .emulator
        .waf("GetWebACLForResource", &json!({"ResourceArn": stage}));
    answer["WebACL"]["ARN"].clone()
}

fn put_on(world: &World, stage: &str, acl: &str) {
    let body = json!({"ResourceArn": stage, "WebACLArn": acl});
    world.emulator.waf("AssociateWebACL", &body);
}

fn not_ok(world: &World) -> Vec<String> {
    let status = world.run(&["status", "--json"]).code(3).json();
    let lines = status["resources"].as_array().unwrap().clone();
    let lines = lines.iter().filter(|line| line["state"] != "ok");
    let told = lines.map(|line| {
        let [step, state] = ["step", "state"].map(|field| line[field].as_str().unwrap());
        format!(
            "{step} {state} {}",
            line["drifted"][0]["field"].as_str().unwrap_or_default()
        )
    });
    told.collect()
}

#[test]
fn it_is_put_on_changed_put_back_and_taken_off() {
    let world = World::new();
    let [first, second, theirs] = ["first", "second", "theirs"].map(|name| world.emulator.web_acl(name));
    fs_err::create_dir(world.path("lambda")).unwrap();
    world.code(CODE);
    world.file(&behind(&first));
    // A new stage, as AWS WAF answers about it.
    let asked = AtomicUsize::new(0);
    world.proxy.rule(move |request, now| {
        let is_early = now == Moment::Before
            && request.operation() == "AssociateWebACL"
            && asked.fetch_add(1, Ordering::SeqCst) < 2;
        if is_early {
            let kind = vec![("x-amzn-errortype", "WAFUnavailableEntityException")];
            let text = r#"{"message":"AWS WAF couldn't retrieve the resource that you requested. Retry your request."}"#;
            return Act::Answer(400, kind, text.to_owned());
        }
        Act::Pass
    });
    let up = world.run(&["up"]).ok();
    assert!(
        up.stderr
            .contains("for wafv2:AssociateWebACL to be accepted (WAFUnavailableEntityException"),
        "{}",
        up.stderr
    );
    world.proxy.rule(|_, _| Act::Pass);
    world.assert_settled("put on");
    let stage = stage_arn(&world);
    assert_eq!(on(&world, &stage), first);
    world.proxy.take();

    world.file(&behind(&second));
    assert_eq!(plan(&world), ["update firewall: acl"]);
    world.run(&["up", "--no-verify"]).ok();
    assert_eq!(writes(&world), ["AssociateWebACL"]);
    world.assert_settled("changed");
    assert_eq!(on(&world, &stage), second);

    put_on(&world, &stage, &theirs);
    assert_eq!(not_ok(&world), ["firewall drifted acl"]);
    world.run(&["plan", "--check", "--no-repair"]).ok();
    world.run(&["up", "--no-verify"]).ok();
    assert_eq!(on(&world, &stage), second);
    world
        .emulator
        .waf("DisassociateWebACL", &json!({"ResourceArn": stage}));
    assert_eq!(not_ok(&world), ["firewall missing "]);
    world.run(&["up", "--no-verify"]).ok();
    assert_eq!(on(&world, &stage), second);
    world.assert_settled("put back");

    // The old stage loses it before it is deleted.
    world.file(&format!("{}stage = \"live\"\n", behind(&second)));
    world.proxy.take();
    world.run(&["up", "--no-verify", "--yes"]).ok();
    let operations = world.writes();
    let position = |is_it: &dyn Fn(&str) -> bool| operations.iter().position(|one| is_it(one)).unwrap();
    let taken_off = position(&|one| one == "DisassociateWebACL");
    assert!(taken_off < position(&|one| one.starts_with("DELETE ") && one.ends_with("/stages/prod")));
    assert_eq!(on(&world, &stage), Value::Null);
    let stage = stage_arn(&world);
    assert_eq!(on(&world, &stage), second);
    world.assert_settled("another stage");

    world.file(&format!("{BARE}stage = \"live\"\n"));
    assert_eq!(plan(&world), ["delete firewall"]);
    world.run(&["up", "--no-verify", "--yes"]).ok();
    assert_eq!(on(&world, &stage), Value::Null);
    world.assert_settled("taken off");

    // What someone else has put there meanwhile stays.
    world.file(&format!("{}stage = \"live\"\n", behind(&second)));
    world.run(&["up", "--no-verify"]).ok();
    put_on(&world, &stage, &theirs);
    world.file(&format!("{BARE}stage = \"live\"\n"));
    world.run(&["up", "--no-verify", "--yes"]).ok();
    assert_eq!(on(&world, &stage), theirs);
    world.assert_settled("theirs");
    // And is not replaced.
    world.file(&format!("{}stage = \"live\"\n", behind(&first)));
    let refused = world.run(&["up", "--no-verify"]).code(1).stderr;
    assert!(
        refused.contains(&theirs) && refused.contains("is not of this stack: it is left as it is"),
        "{refused}"
    );
    assert_eq!(on(&world, &stage), theirs);
    world
        .emulator
        .waf("DisassociateWebACL", &json!({"ResourceArn": stage}));
    world.run(&["up", "--no-verify"]).ok();
    world.proxy.take();
    world.run(&["down", "--yes"]).ok();
    let operations = world.writes();
    let position = |is_it: &dyn Fn(&str) -> bool| operations.iter().position(|one| is_it(one)).unwrap();
    let taken_off = position(&|one| one == "DisassociateWebACL");
    assert!(taken_off < position(&|one| one.starts_with("DELETE /restapis/")));
    world.emulator.assert_nothing("after down");
}

#[test]
fn a_web_acl_of_another_region_or_account_is_refused_before_anything_is_made() {
    let world = World::of(
        &behind("arn:aws:wafv2:us-east-1:000000000000:regional/webacl/shop/1234abcd"),
        CODE,
    );
    let refused = world.run(&["up"]).code(2).stderr;
    assert!(
        refused.contains("provision.toml:15:12: [api]: firewall: expected region eu-west-1, where the stack is, got us-east-1"),
        "{refused}"
    );
    world.file(&behind(
        "arn:aws:wafv2:eu-west-1:111111111111:regional/webacl/shop/1234abcd",
    ));
    let refused = world.run(&["up"]).code(2).stderr;
    assert!(
        refused.contains("[api]: firewall: expected a web ACL of account 000000000000, region eu-west-1"),
        "{refused}"
    );
    assert_eq!(world.writes(), Vec::<String>::new());
}

/// A stack that logs requests and is behind a web ACL.
struct Killing {
    world: World,
    acl: String,
}

impl Killing {
    fn new() -> Self {
        let world = World::of(BARE, CODE);
        let acl = world.emulator.web_acl("shop");
        world.emulator.let_apis_log();
        world.file(&format!("{}tracing = true\naccess_logs = {{}}\n", behind(&acl)));
        Self { world, acl }
    }

    fn writes(&self, args: &[&str]) -> usize {
        self.world.proxy.take();
        self.world.run(args).ok();
        self.world.writes().len()
    }

    /// A run is killed, and `down`, or `up` and then `down`, ends it: then nothing is left.
    fn killed(&self, args: &[&str], at: usize, moment: Moment, up_next: bool) {
        let story = format!("{args:?} killed {moment:?} its write {at}, then up: {up_next}");
        let world = &self.world;
        assert!(world.kill_at(args, at, moment, Request::is_write), "{story}");
        if up_next {
            let up = world.run(&["up", "--no-verify", "--yes"]);
            assert_eq!(up.code, 0, "{story}: {}", up.stderr);
            world.assert_settled(&story);
            assert_eq!(on(world, &stage_arn(world)), self.acl, "{story}");
        }
        let down = world.run(&["down", "--yes"]);
        assert_eq!(down.code, 0, "{story}: {}", down.stderr);
        world.emulator.assert_nothing(&story);
        assert!(!world.has_state(), "{story}");
    }

    fn all(&self, choose: impl Fn(usize) -> bool) {
        let up = self.writes(&["up", "--no-verify"]);
        let down = self.writes(&["down", "--yes"]);
        assert!(up > 20 && down > 6, "{up} {down}");
        for at in (0..up).filter(|at| choose(*at)) {
            for moment in [Moment::Before, Moment::After] {
                self.killed(&["up", "--no-verify"], at, moment, at % 2 == 0);
            }
        }
        for at in (0..down).filter(|at| choose(*at)) {
            for moment in [Moment::Before, Moment::After] {
                self.world.run(&["up", "--no-verify"]).ok();
                self.killed(&["down", "--yes"], at, moment, at % 2 == 0);
            }
        }
    }
}

#[test]
fn killed_at_a_sample_of_its_calls_nothing_is_left() {
    Killing::new().all(|at| at % 8 == 1);
}

#[test]
#[ignore = "every call: some minutes"]
fn killed_at_every_call_nothing_is_left() {
    Killing::new().all(|_| true);
}

#[test]
fn killed_at_each_call_of_a_change_either_web_acl_is_known_as_ours() {
    let killing = Killing::new();
    let world = &killing.world;
    let other = world.emulator.web_acl("other");
    for moment in [Moment::Before, Moment::After] {
        world.file(&behind(&killing.acl));
        world.run(&["up", "--no-verify", "--yes"]).ok();
        world.file(&behind(&other));
        assert!(world.kill_at(&["up", "--no-verify"], 0, moment, Request::is_write));
        let stage = stage_arn(world);
        world.file(BARE);
        world.run(&["up", "--no-verify", "--yes"]).ok();
        assert_eq!(on(world, &stage), Value::Null, "{moment:?}");
        world.assert_settled("without a firewall");
    }
    world.down();
}

#[test]
fn a_lost_state_with_logs_and_a_firewall_is_recovered() {
    let killing = Killing::new();
    let world = &killing.world;
    world.run(&["up", "--no-verify"]).ok();
    world.lose_state();
    world.run(&["recover"]).ok();
    world.proxy.take();
    // What a deployment has is not known after a recovery.
    world.run(&["up", "--no-verify"]).ok();
    let operations = writes(world);
    let again = ["AssociateWebACL", "CreateLogGroup"];
    assert!(
        operations.iter().all(|one| !again.contains(&one.as_str())),
        "{operations:?}"
    );
    world.assert_settled("recovered");
    let steps: Vec<String> = (world.state().steps().iter())
        .map(|record| record["step"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        ["firewall", "access-log-group"]
            .iter()
            .all(|step| steps.iter().any(|found| found == step)),
        "{steps:?}"
    );
    world.down();
}
