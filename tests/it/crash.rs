//! The real binary against the real emulator, killed, cut off, throttled and interrupted: nothing leaks, nothing doubles.
//!
//! `cargo test` takes samples; `cargo test -- --ignored` goes through every call.

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::support::proxy::{Act, Moment, Request};
use crate::support::world::CODE;
use crate::support::{self, World, after};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The writing calls of an undisturbed `up`, and of a `down`.
const UP_WRITES: usize = 17;
const DOWN_WRITES: usize = 7;

/// Runs to its end without interference.
pub(crate) fn run(world: &World, args: &[&str], story: &str) {
    world.proxy.rule(|_, _| Act::Pass);
    let run = world.run(args);
    assert_eq!(run.code, 0, "{story}: {args:?}: {}{}", run.stdout, run.stderr);
    world.proxy.take();
}

fn kill_at(world: &World, args: &[&str], at: usize, moment: Moment, story: &str) {
    let is_killed = world.kill_at(args, at, moment, Request::is_write);
    assert!(is_killed, "{story}: it was not killed");
}

pub(crate) fn check_whole(world: &World, story: &str) {
    world.emulator.assert_whole(story);
    run(world, &["status"], story);
    let state = world.state();
    let in_aws = state
        .steps()
        .iter()
        .filter(|record| record["kind"] != "network-interfaces");
    assert_eq!(in_aws.count(), 15, "{story}");
}

pub(crate) fn check_nothing(world: &World, story: &str) {
    world.emulator.assert_nothing(story);
    assert!(!world.has_state(), "{story}");
}

/// `up` is killed; the next `up` continues, or `down` deletes.
fn up_killed(world: &World, at: usize, moment: Moment, up_next: bool) {
    let story = format!("up killed {moment:?} its write {at}, then up: {up_next}");
    kill_at(world, &["up", "--no-verify"], at, moment, &story);
    if up_next {
        run(world, &["up", "--no-verify"], &story);
        check_whole(world, &story);
    }
    run(world, &["down", "--yes"], &story);
    check_nothing(world, &story);
}

/// `down` is killed; the next `down` continues, or `up` creates everything again.
fn down_killed(world: &World, at: usize, moment: Moment, up_next: bool) {
    let story = format!("down killed {moment:?} its write {at}, then up: {up_next}");
    run(world, &["up", "--no-verify"], &story);
    kill_at(world, &["down", "--yes"], at, moment, &story);
    if up_next {
        run(world, &["up", "--no-verify"], &story);
        check_whole(world, &story);
    }
    run(world, &["down", "--yes"], &story);
    check_nothing(world, &story);
}

/// The answer to one writing call does not arrive; the same run succeeds.
fn answer_lost(world: &World, args: &[&str], at: usize, loss: &Act) {
    let story = format!("{args:?} without the answer to its write {at}: {loss:?}");
    let writes = AtomicUsize::new(0);
    let loss = loss.clone();
    world.proxy.rule(move |request, now| {
        let lost = request.is_write() && now == Moment::After && writes.fetch_add(1, Ordering::SeqCst) == at;
        if lost { loss.clone() } else { Act::Pass }
    });
    let ended = world.run(args);
    assert_eq!(ended.code, 0, "{story}: {}", ended.stderr);
    world.proxy.take();
    if args[0] == "up" {
        check_whole(world, &story);
        run(world, &["down", "--yes"], &story);
    }
    check_nothing(world, &story);
}

fn cut() -> Act {
    Act::Cut
}

fn error_500() -> Act {
    Act::Answer(500, vec![("content-type", "application/json")], "{}".to_owned())
}

/// As the sample, with every optional setting of its function.
const SETTINGS: &str = r#"
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
environment = { TABLE = "a" }
description = "Takes orders"
ephemeral_storage_mb = 1024
tracing = true
log_format = "json"
layers = ["arn:aws:lambda:eu-west-1:000000000000:layer:otel:1"]
kms_key = "arn:aws:kms:eu-west-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"
reserved_concurrency = 20
vpc = { subnets = ["subnet-0a1b2c3d"], security_groups = ["sg-0a1b2c3d"] }
[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"#;

/// The writing calls of its `up`: concurrency is reserved by one of its own.
const SETTINGS_UP_WRITES: usize = UP_WRITES + 1;

fn with_settings() -> World {
    let world = World::of(SETTINGS, CODE);
    world.emulator.layer("otel");
    world
}

#[test]
fn a_function_with_every_setting_is_killed_at_a_sample_of_its_calls() {
    let world = with_settings();
    for (at, moment, up_next) in [
        (5, Moment::After, false),
        (SETTINGS_UP_WRITES - 3, Moment::After, true),
        (SETTINGS_UP_WRITES - 1, Moment::Before, true),
    ] {
        up_killed(&world, at, moment, up_next);
    }
    down_killed(&world, 2, Moment::After, true);
    down_killed(&world, 4, Moment::After, false);
}

#[test]
#[ignore = "every call: some minutes"]
fn a_function_with_every_setting_is_killed_at_every_call() {
    let world = with_settings();
    for moment in [Moment::Before, Moment::After] {
        for up_next in [true, false] {
            for at in 0..SETTINGS_UP_WRITES {
                up_killed(&world, at, moment, up_next);
            }
            for at in 0..DOWN_WRITES {
                down_killed(&world, at, moment, up_next);
            }
        }
    }
}

/// Two files of one stack, with every kind of change between them.
const BEFORE: &str = r#"
[stack]
name = "orders"
tags = { team = "payments" }
[resource_servers.orders.scopes]
read = "Read orders"
write = "Write orders"
[clients.billing]
scopes = ["orders/read"]
[clients.leaving]
scopes = ["orders/write"]
[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
environment = { TABLE = "a" }
layers = ["arn:aws:lambda:eu-west-1:000000000000:layer:otel:1"]
log_format = "json"
reserved_concurrency = 5
[functions.leaving]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
vpc = { subnets = ["subnet-0a1b2c3d"], security_groups = ["sg-0a1b2c3d"] }
[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"GET /orders/{id}" = { function = "leaving", scopes = ["orders/read"] }
"#;
const AFTER: &str = r#"
[stack]
name = "orders"
tags = { team = "sales", env = "live" }
[user_pool]
domain_prefix = "our-orders"
[resource_servers.orders.scopes]
view = "View orders"
write = "Write orders"
[clients.billing]
scopes = ["orders/view"]
[clients.coming]
scopes = ["orders/write"]
[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
memory_mb = 256
environment = { TABLE = "b" }
description = "Takes orders"
ephemeral_storage_mb = 1024
tracing = true
kms_key = "arn:aws:kms:eu-west-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"
vpc = { subnets = ["subnet-0a1b2c3d"], security_groups = ["sg-0a1b2c3d"] }
[api]
stage = "live"
throttle = { rate = 10, burst = 20 }
[routes]
"GET /orders" = { function = "orders", scopes = ["orders/view", "orders/write"] }
"GET /orders/{name}" = { function = "orders", scopes = ["orders/view"] }
"#;

fn becomes(world: &World, file: &str, story: &str) {
    world.file(file);
    run(world, &["up"], story);
    run(world, &["status"], story);
    run(world, &["plan", "--check"], story);
}

/// That stack, up, and what its changes are compared with.
struct Changes {
    world: World,
    /// The live resources of each file.
    before: Value,
    after: Value,
    /// How many writing calls the change takes.
    writes: usize,
}

impl Changes {
    fn new() -> Self {
        let world = World::of(BEFORE, CODE);
        world.emulator.layer("otel");
        becomes(&world, BEFORE, "at first");
        let before = world.portrait();
        let writes = Arc::new(AtomicUsize::new(0));
        let counter = writes.clone();
        world.proxy.rule(move |request, now| {
            counter.fetch_add(
                usize::from(request.is_write() && now == Moment::Before),
                Ordering::SeqCst,
            );
            Act::Pass
        });
        world.file(AFTER);
        world.run(&["up"]).ok();
        let writes = writes.load(Ordering::SeqCst);
        assert!(writes >= 30, "{writes} writes change something of everything");
        Self {
            after: world.portrait(),
            world,
            before,
            writes,
        }
    }

    /// The change is killed; then `up` continues it or goes back, or `down` deletes the stack.
    fn killed(&self, at: usize, moment: Moment, then: &str) {
        let story = format!("the change killed {moment:?} its write {at}, then {then}");
        let world = &self.world;
        becomes(world, BEFORE, &story);
        world.file(AFTER);
        kill_at(world, &["up"], at, moment, &story);
        match then {
            "on" => {
                becomes(world, AFTER, &story);
                assert_eq!(world.portrait(), self.after, "{story}");
            }
            "back" => {
                becomes(world, BEFORE, &story);
                assert_eq!(world.portrait(), self.before, "{story}");
            }
            _ => {
                run(world, &["down", "--yes"], &story);
                world.emulator.assert_nothing(&story);
            }
        }
    }
}

/// A stack whose scopes, servers, clients and routes all change, while the same clients may call the same routes.
const SCOPES: &str = r#"
[stack]
name = "orders"
[resource_servers.orders.scopes]
read = "Read orders"
write = "Write orders"
audit = "Audit orders"
[resource_servers.stock.scopes]
list = "List the stock"
[clients.billing]
scopes = ["orders/read"]
[clients.shop]
scopes = ["orders/write", "stock/list"]
[clients.auditor]
scopes = ["orders/audit"]
[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"GET /sales" = { function = "orders", scopes = ["orders/write"] }
"GET /stock" = { function = "orders", scopes = ["stock/list"] }
"GET /audit" = { function = "orders", scopes = ["orders/audit", "orders/read"] }
"#;
const OTHER_SCOPES: &str = r#"
[stack]
name = "orders"
[resource_servers.orders.scopes]
view = "View orders"
audit = "Audit orders"
[resource_servers.goods.scopes]
list = "List the goods"
[clients.billing]
scopes = ["orders/view"]
[clients.shop]
scopes = ["orders/view", "goods/list"]
[clients.auditor]
scopes = ["orders/audit"]
[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
[routes]
"GET /orders" = { function = "orders", scopes = ["orders/view"] }
"GET /sales" = { function = "orders", scopes = ["orders/view"] }
"GET /stock" = { function = "orders", scopes = ["goods/list"] }
"GET /audit" = { function = "orders", scopes = ["orders/audit", "orders/view"] }
"#;

/// Which client may call which path, and the scopes that the path accepts in one file and in the other.
const ALLOWED: &[(&str, &str, &[&str], &[&str])] = &[
    ("billing", "/orders", &["orders/read"], &["orders/view"]),
    ("shop", "/sales", &["orders/write"], &["orders/view"]),
    ("shop", "/stock", &["stock/list"], &["goods/list"]),
    (
        "auditor",
        "/audit",
        &["orders/audit", "orders/read"],
        &["orders/audit", "orders/view"],
    ),
    (
        "billing",
        "/audit",
        &["orders/audit", "orders/read"],
        &["orders/audit", "orders/view"],
    ),
];

/// The clients of that stack. They call it all the time, and not through the proxy.
struct Callers {
    endpoint: String,
    api_url: String,
    /// Name, id and secret.
    clients: Vec<[String; 3]>,
    /// The client, the scopes and the token: one token for every set of scopes that the client has had.
    earlier: Vec<(String, Vec<String>, String)>,
    calls: usize,
    wrong: Vec<String>,
}

impl Callers {
    fn new(world: &World) -> Self {
        let state = world.state();
        let clients = state.steps().iter().filter(|record| record["kind"] == "client");
        let clients = clients.map(|record| {
            let id = json!({
                "UserPoolId": record["desired"]["pool"],
                "ClientId": record["output"]["client_id"],
            });
            let live = &world.emulator.cognito("DescribeUserPoolClient", &id)["UserPoolClient"];
            ["ClientName", "ClientId", "ClientSecret"].map(|field| live[field].as_str().unwrap().to_owned())
        });
        Self {
            api_url: state.stage_url(&world.emulator),
            endpoint: world.emulator.endpoint.clone(),
            clients: clients.collect(),
            earlier: Vec::new(),
            calls: 0,
            wrong: Vec::new(),
        }
    }

    /// A new token of this client and the scopes that are in it.
    fn token(&self, id: &str, secret: &str) -> Option<(Vec<String>, String)> {
        let answer = support::post_form(
            &format!("{}/oauth2/token", self.endpoint),
            (id, secret),
            "grant_type=client_credentials",
        );
        let token = serde_json::from_str::<Value>(&answer).ok()?["access_token"]
            .as_str()?
            .to_owned();
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        let scopes = claims["scope"].as_str()?.split(' ').map(str::to_owned).collect();
        Some((scopes, token))
    }

    /// Calls with a new token every path that its client may call by both files, and with every earlier token every path
    /// that accepts its scopes by both files.
    fn call_all(&mut self, when: &str) {
        for [name, id, secret] in self.clients.clone() {
            let Some((scopes, token)) = self.token(&id, &secret) else {
                self.wrong.push(format!("{when}: {name} gets no token"));
                continue;
            };
            let mut tokens = vec![(true, scopes.clone(), token.clone())];
            let earlier = self.earlier.iter().filter(|(client, ..)| *client == name);
            tokens.extend(earlier.map(|(_, scopes, token)| (false, scopes.clone(), token.clone())));
            if !tokens[1..].iter().any(|(_, known, _)| *known == scopes) {
                self.earlier.push((name.clone(), scopes, token));
            }
            for (is_fresh, scopes, token) in tokens {
                let admits =
                    |admitting: &[&str]| scopes.iter().any(|scope| admitting.contains(&scope.as_str()));
                let pairs = ALLOWED.iter().filter(|(client, _, one, other)| {
                    *client == name && (is_fresh || (admits(one) && admits(other)))
                });
                for (_, path, ..) in pairs {
                    let (status, body) = support::get(&format!("{}{path}", self.api_url), Some(&token));
                    self.calls += 1;
                    if status != 200 {
                        let age = if is_fresh { "a fresh" } else { "an earlier" };
                        self.wrong.push(format!(
                            "{when}: {name} {path} with {age} token of {scopes:?}: {status} {body}"
                        ));
                    }
                }
            }
        }
    }
}

/// The stack and its callers, which all call after every write of an `up`.
struct Calling {
    world: World,
    callers: Arc<Mutex<Callers>>,
}

impl Calling {
    fn new() -> Self {
        let world = World::of(SCOPES, CODE);
        run(&world, &["up", "--no-verify"], "at first");
        let callers = Arc::new(Mutex::new(Callers::new(&world)));
        callers.lock().unwrap().call_all("at first");
        Self { world, callers }
    }

    /// The writes, in their order.
    fn becomes(&self, file: &str, story: &str) -> Vec<String> {
        self.world.file(file);
        let (callers, story_told) = (self.callers.clone(), story.to_owned());
        self.world.proxy.rule(move |request, now| {
            if now == Moment::After && request.is_write() {
                let when = format!("{story_told}, after {}", request.operation());
                callers.lock().unwrap().call_all(&when);
            }
            Act::Pass
        });
        let up = self.world.run(&["up", "--no-verify"]);
        assert_eq!(up.code, 0, "{story}: {}", up.stderr);
        let requests = self.world.proxy.take();
        let writes = requests
            .iter()
            .filter(|request| request.is_write() && request.service() != "sts");
        let writes = writes.map(Request::operation).collect();
        self.world.proxy.rule(|_, _| Act::Pass);
        self.world.assert_settled(story);
        self.world.proxy.take();
        writes
    }

    /// A change that is killed, and what comes next.
    fn killed(&self, at: usize, then: &str) {
        let story = format!(
            "killed after its write {at}, then {}",
            if then == SCOPES { "back" } else { "on" }
        );
        self.world.file(OTHER_SCOPES);
        kill_at(&self.world, &["up", "--no-verify"], at, Moment::After, &story);
        self.callers.lock().unwrap().call_all(&story);
        self.becomes(then, &story);
        self.becomes(SCOPES, &story);
    }

    fn assert_nobody_was_locked_out(&self) {
        let callers = self.callers.lock().unwrap();
        assert!(
            callers.wrong.is_empty(),
            "{} of {} calls: {:#?}",
            callers.wrong.len(),
            callers.calls,
            callers.wrong
        );
    }
}

#[test]
fn a_change_of_scopes_locks_nobody_out_there_and_back() {
    let calling = Calling::new();
    for (file, story) in [(OTHER_SCOPES, "there"), (SCOPES, "back")] {
        let writes = calling.becomes(file, story);
        assert!(writes.len() >= 14, "{writes:?}");
        let last = |operation: &str| writes.iter().rposition(|write| write == operation);
        let (contracted, deleted) = (last("UpdateUserPoolClient"), last("DeleteResourceServer"));
        assert!(
            contracted < deleted,
            "a client asks for no scope that is gone: {writes:?}"
        );
    }
    assert!(calling.callers.lock().unwrap().calls > 200);
    calling.assert_nobody_was_locked_out();
}

#[test]
fn a_killed_change_of_scopes_locks_nobody_out_on_the_way_on_or_back() {
    let calling = Calling::new();
    for (at, then) in [(3, SCOPES), (8, OTHER_SCOPES), (11, SCOPES)] {
        calling.killed(at, then);
    }
    calling.assert_nobody_was_locked_out();
}

#[test]
#[ignore = "minutes: a kill at every write, on and back"]
fn a_change_of_scopes_killed_anywhere_locks_nobody_out() {
    let calling = Calling::new();
    let writes = calling.becomes(OTHER_SCOPES, "there").len();
    calling.becomes(SCOPES, "back");
    for at in 0..writes {
        for then in [SCOPES, OTHER_SCOPES] {
            calling.killed(at, then);
        }
    }
    calling.assert_nobody_was_locked_out();
}

#[test]
fn a_change_killed_at_a_sample_of_its_calls() {
    let changes = Changes::new();
    for (at, moment, then) in [
        (1, Moment::After, "on"),
        (9, Moment::After, "back"),
        (17, Moment::Before, "on"),
        (changes.writes - 3, Moment::After, "back"),
        (changes.writes - 1, Moment::After, "on"),
        (20, Moment::After, "down"),
    ] {
        changes.killed(at, moment, then);
    }
}

#[test]
#[ignore = "every call: some minutes"]
fn a_change_killed_at_every_call() {
    let changes = Changes::new();
    for at in 0..changes.writes {
        changes.killed(at, Moment::After, "on");
        changes.killed(at, Moment::After, "back");
        match at % 4 {
            0 => changes.killed(at, Moment::Before, "on"),
            2 => changes.killed(at, Moment::After, "down"),
            _ => {}
        }
    }
}

#[test]
fn up_killed_at_a_sample_of_its_calls() {
    let world = World::new();
    for (at, moment, up_next) in [
        (0, Moment::After, true),
        (3, Moment::After, true),
        (5, Moment::Before, true),
        (9, Moment::After, false),
        (12, Moment::After, true),
        (16, Moment::After, true),
    ] {
        up_killed(&world, at, moment, up_next);
    }
}

#[test]
fn down_killed_at_a_sample_of_its_calls() {
    let world = World::new();
    for (at, moment, up_next) in [
        (0, Moment::After, false),
        (3, Moment::After, true),
        (6, Moment::Before, false),
    ] {
        down_killed(&world, at, moment, up_next);
    }
}

#[test]
fn a_sample_of_lost_answers_is_settled_in_the_same_run() {
    let world = World::new();
    for (at, loss) in [(2, cut()), (6, error_500()), (14, cut())] {
        answer_lost(&world, &["up", "--no-verify"], at, &loss);
    }
    run(&world, &["up", "--no-verify"], "before down");
    answer_lost(&world, &["down", "--yes"], 2, &cut());
}

#[test]
#[ignore = "every call: some minutes"]
fn up_killed_at_every_call() {
    let world = World::new();
    for at in 0..UP_WRITES {
        for moment in [Moment::Before, Moment::After] {
            for up_next in [true, false] {
                up_killed(&world, at, moment, up_next);
            }
        }
    }
}

#[test]
#[ignore = "every call: some minutes"]
fn down_killed_at_every_call() {
    let world = World::new();
    for at in 0..DOWN_WRITES {
        for moment in [Moment::Before, Moment::After] {
            for up_next in [true, false] {
                down_killed(&world, at, moment, up_next);
            }
        }
    }
}

#[test]
#[ignore = "every call: some minutes"]
fn every_lost_answer_is_settled_in_the_same_run() {
    let world = World::new();
    for loss in [cut(), error_500()] {
        for at in 0..UP_WRITES {
            answer_lost(&world, &["up", "--no-verify"], at, &loss);
        }
        for at in 0..DOWN_WRITES {
            run(&world, &["up", "--no-verify"], "before down");
            answer_lost(&world, &["down", "--yes"], at, &loss);
        }
    }
}

/// The answer of each service that refuses a call for its rate.
fn throttled(request: &Request) -> Act {
    let json = vec![("content-type", "application/x-amz-json-1.1")];
    let xml = |code: &str| {
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>Rate exceeded</Message></Error>\
             <RequestId>r</RequestId></ErrorResponse>"
        );
        Act::Answer(400, vec![("content-type", "text/xml")], body)
    };
    match request.service() {
        "iam" | "sts" => xml("Throttling"),
        "logs" => Act::Answer(
            400,
            json,
            r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#.to_owned(),
        ),
        "cognito-idp" => Act::Answer(
            400,
            json,
            r#"{"__type":"TooManyRequestsException","message":"Rate exceeded"}"#.to_owned(),
        ),
        _ => Act::Answer(
            429,
            vec![
                ("content-type", "application/json"),
                ("x-amzn-errortype", "TooManyRequestsException"),
            ],
            r#"{"message":"Too Many Requests"}"#.to_owned(),
        ),
    }
}

#[test]
fn with_three_of_ten_calls_throttled_up_and_down_end_right() {
    let world = World::new();
    let storm = || {
        let calls = AtomicUsize::new(0);
        move |request: &Request, now| {
            // 3, 7 and 0 of every ten, in the order in which they come.
            let refused =
                now == Moment::Before && [3, 7, 0].contains(&(calls.fetch_add(1, Ordering::SeqCst) % 10));
            if refused { throttled(request) } else { Act::Pass }
        }
    };
    for args in [&["up", "--no-verify"][..], &["down", "--yes"]] {
        world.proxy.rule(storm());
        world.run(args).ok();
        let refused = world
            .proxy
            .take()
            .iter()
            .filter(|request| request.status == 0)
            .count();
        assert!(refused >= 4, "the storm was real: {refused} calls were refused");
        if args[0] == "up" {
            check_whole(&world, "in a storm");
        }
    }
    check_nothing(&world, "in a storm");
}

#[test]
fn ten_seconds_of_errors_are_outlasted() {
    let world = World::new();
    for args in [&["up", "--no-verify"][..], &["down", "--yes"]] {
        let began = Mutex::new(None);
        world.proxy.rule(move |request, now| {
            if request.service() == "sts" || now == Moment::After {
                return Act::Pass;
            }
            let began = *began.lock().unwrap().get_or_insert_with(Instant::now);
            if began.elapsed().as_secs() < 10 {
                error_500()
            } else {
                Act::Pass
            }
        });
        world.run(args).ok();
        world.proxy.take();
        if args[0] == "up" {
            check_whole(&world, "after a burst of errors");
        }
    }
    check_nothing(&world, "after a burst of errors");
}

#[test]
fn a_denied_call_is_named_its_siblings_finish_and_up_goes_on() {
    let world = World::new();
    world.proxy.rule(|request, now| {
        if now == Moment::Before && request.operation() == "CreateRole" {
            let body = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: u is not \
                        authorized to perform: iam:CreateRole</Message></Error><RequestId>r-1</RequestId></ErrorResponse>";
            let headers = vec![("content-type", "text/xml"), ("x-amzn-requestid", "r-1")];
            return Act::Answer(403, headers, body.to_owned());
        }
        Act::Pass
    });
    let stderr = world.run(&["up", "--no-verify"]).code(1).stderr;
    for words in [
        "error: step role:user failed; held back: role-policy:user, function:user, permission:user",
        "caused by: iam:CreateRole: AccessDenied: User: u is not authorized to perform: iam:CreateRole (request id r-1)",
        "hint: the credentials lack the permission that AWS names above",
        "hint: if a policy was attached in the last minutes, run the same command again: AWS needs time to apply it",
        "hint: run `provision up` again: it goes on where this run stopped",
    ] {
        assert!(stderr.contains(words), "{words:?} is not in {stderr}");
    }
    // An emulator has rights at once.
    assert!(!stderr.contains("new permissions to take effect"), "{stderr}");
    let requests = world.proxy.take();
    let denied = requests
        .iter()
        .filter(|request| request.operation() == "CreateRole");
    assert_eq!(denied.count(), 1);
    let census = world.emulator.census();
    assert_eq!(
        (census["stages"], census["clients"], census.get("functions")),
        (1, 1, None),
        "siblings finished"
    );
    run(&world, &["up", "--no-verify"], "after the permission was given");
    check_whole(&world, "after the permission was given");
}

#[test]
fn expired_credentials_stop_the_run_and_the_next_goes_on() {
    let world = World::new();
    let writes = AtomicUsize::new(0);
    world.proxy.rule(move |request, now| {
        let late = now == Moment::Before && request.is_write() && writes.fetch_add(1, Ordering::SeqCst) >= 6;
        if !late {
            return Act::Pass;
        }
        match request.service() {
            "iam" => {
                let body = "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>The security token \
                            included in the request is expired</Message></Error></ErrorResponse>";
                Act::Answer(403, vec![("content-type", "text/xml")], body.to_owned())
            }
            _ => Act::Answer(
                403,
                vec![("content-type", "application/json"), ("x-amzn-errortype", "ExpiredTokenException")],
                r#"{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}"#
                    .to_owned(),
            ),
        }
    });
    let stderr = world.run(&["up", "--no-verify"]).code(1).stderr;
    assert!(
        stderr.contains("hint: sign in again (`aws sso login`), then run the same command"),
        "{stderr}"
    );
    world.proxy.take();
    run(&world, &["up", "--no-verify"], "with new credentials");
    check_whole(&world, "with new credentials");
}

/// Sends the signals while the proxy holds the first writing call.
fn interrupted(signals: &[&str]) -> (World, Option<i32>, String) {
    let world = World::new();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let (held, tell) = (Mutex::new(held), Mutex::new(tell));
    let first = AtomicUsize::new(0);
    world.proxy.rule(move |request, now| {
        if request.operation() == "CreateUserPool"
            && now == Moment::After
            && first.fetch_add(1, Ordering::SeqCst) == 0
        {
            tell.lock().unwrap().send(()).unwrap();
            // Until the test lets go, or is over.
            held.lock().unwrap().recv().unwrap_or_default();
        }
        Act::Pass
    });
    let mut up = world.command(&["up", "--no-verify"]);
    up.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = up.spawn().unwrap();
    told.recv().unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    for &signal in signals {
        Command::new("kill")
            .args([signal, &*child.id().to_string()])
            .status()
            .unwrap();
        // The first one is answered; the second ends the process.
        while !said.contains("stopping:") {
            use std::io::BufRead;
            assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
        }
    }
    if signals.len() == 1 {
        release.send(()).unwrap();
    }
    let code = child.wait().unwrap().code();
    drop(release);
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    world.proxy.take();
    (world, code, said)
}

#[test]
fn one_ctrl_c_or_sigterm_finishes_running_calls_and_begins_nothing_new() {
    for signal in ["-INT", "-TERM"] {
        let (world, code, said) = interrupted(&[signal]);
        assert_eq!(code, Some(130), "{said}");
        assert!(said.contains("created   user-pool"), "{said}");
        assert!(said.contains("hint: run `provision up` again"), "{said}");
        let state = world.state();
        let steps = state.steps();
        assert!(
            steps.iter().all(|record| record["phase"] == "ready"),
            "what was running is on record as done"
        );
        assert!(steps.iter().any(|record| record["step"] == "user-pool"));
        assert!(
            !steps.iter().any(|record| record["step"] == "pool-domain"),
            "what it leads to was not begun"
        );
        run(&world, &["up", "--no-verify"], "after an interruption");
        check_whole(&world, "after an interruption");
    }
}

#[test]
fn the_second_ctrl_c_leaves_at_once_and_is_as_safe_as_a_kill() {
    let (world, code, said) = interrupted(&["-INT", "-INT"]);
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(
        world.state().step("user-pool")["phase"],
        "creating",
        "its intent is on record, its answer is not"
    );
    run(&world, &["up", "--no-verify"], "after leaving at once");
    check_whole(&world, "after leaving at once");
    run(&world, &["down", "--yes"], "after leaving at once");
    check_nothing(&world, "after leaving at once");
}

#[test]
fn what_someone_else_deleted_is_told_and_created_again_and_down_passes_over_it() {
    let world = World::new();
    let name = || format!("user-api_{}_user", world.state().owner());
    let pool = || {
        let state = world.state();
        let mut domain = state.pool();
        domain["Domain"] = format!("user-api-{}", state.owner()).into();
        world.emulator.cognito("DeleteUserPoolDomain", &domain);
        world.emulator.cognito("DeleteUserPool", &state.pool());
    };
    let api = || world.emulator.delete("apigateway", &world.state().api());
    let function = || {
        world
            .emulator
            .delete("lambda", &format!("/2015-03-31/functions/{}", name()));
    };
    let group = || {
        let group = format!("/aws/lambda/{}", name());
        world
            .emulator
            .json("Logs_20140328.DeleteLogGroup", &json!({"logGroupName": group}));
    };
    let role = || {
        world.emulator.iam(&format!(
            "Action=DeleteRolePolicy&RoleName={}&PolicyName=logs",
            name()
        ));
        world
            .emulator
            .iam(&format!("Action=DeleteRole&RoleName={}", name()));
    };
    let everything = || {
        pool();
        api();
        function();
        group();
        role();
    };
    let deletions: [(&str, usize, &dyn Fn()); 6] = [
        ("the pool", 4, &pool),
        ("the API", 6, &api),
        ("the function", 2, &function),
        ("the log group", 1, &group),
        ("the role", 2, &role),
        ("everything", 15, &everything),
    ];
    for (what, missing, delete) in deletions {
        run(&world, &["up", "--no-verify"], what);
        delete();
        let stdout = world.run(&["status"]).code(3).stdout;
        assert_eq!(stdout.matches("missing").count(), missing, "{what}: {stdout}");
        run(&world, &["up", "--no-verify"], what);
        world.emulator.assert_whole(what);
        if what != "the pool" {
            // The emulator does not know that a patch adds to and removes from an authorizer's list of pools (AWS does,
            // see the mocks of `resources/authorizer.rs`), so there the authorizer stays as it was.
            run(&world, &["status"], what);
        }
        delete();
        run(&world, &["down", "--yes"], what);
        check_nothing(&world, what);
    }
}

#[test]
fn what_aws_accepts_later_is_waited_for_and_told() {
    let world = World::new();
    let refused: Mutex<Vec<String>> = Mutex::default();
    world.proxy.rule(move |request, now| {
        let json =
            |code: &'static str| vec![("content-type", "application/json"), ("x-amzn-errortype", code)];
        let (status, code, message) = match request.operation().as_str() {
            "CreateResourceServer" => (400, "ConcurrentModificationException", "try again"),
            "CreateUserPoolClient" => (400, "ScopeDoesNotExistException", "invalid scope"),
            "PutRetentionPolicy" => (
                400,
                "OperationAbortedException",
                "another operation is in progress",
            ),
            "POST /2015-03-31/functions" => (
                400,
                "InvalidParameterValueException",
                "The role defined for the function cannot be assumed by Lambda.",
            ),
            operation if operation.ends_with("/authorizers") && request.method == "POST" => (
                409,
                "ConflictException",
                "Unable to complete operation due to concurrent modification. Please try again later.",
            ),
            _ => return Act::Pass,
        };
        let mut refused = refused.lock().unwrap();
        // Twice each.
        let before = refused.iter().filter(|before| *before == code).count();
        if now == Moment::After || before == 2 {
            return Act::Pass;
        }
        refused.push(code.to_owned());
        let body = json!({"__type": code, "message": message});
        Act::Answer(status, json(code), body.to_string())
    });
    let stderr = world.run(&["up", "--no-verify"]).ok().stderr;
    for words in [
        "waiting   function:user: for lambda:CreateFunction to be accepted (InvalidParameterValueException: The role",
        "waiting   authorizer: for apigateway:CreateAuthorizer to be accepted (ConflictException: Unable",
        "waiting   client:app: for cognito-idp:CreateUserPoolClient to be accepted (ScopeDoesNotExist",
        "waiting   resource-server:OauthResourceServer: for cognito-idp:CreateResourceServer to be accepted (Concurrent",
        "waiting   log-group:user: for logs:PutRetentionPolicy to be accepted (OperationAborted",
    ] {
        assert!(stderr.contains(words), "{words:?} is not in {stderr}");
    }
    world.proxy.take();
    check_whole(&world, "after everything was accepted");
}

#[test]
fn what_cannot_be_recorded_is_not_asked_of_aws() {
    let world = World::new();
    // A file may have a block or two, as on a disk that is almost full: enough for the lock, too little for the state.
    let up = world.command(&["up", "--no-verify"]);
    let output = after("trap '' XFSZ; ulimit -f 2", &up).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("caused by: nothing was asked of AWS for this step\n"),
        "{stderr}"
    );
    assert!(
        stderr.contains("caused by: cannot write the state file\n"),
        "{stderr}"
    );
    assert!(stderr.contains("File too large"), "{stderr}");
    let writes = world.proxy.take();
    let writes = writes.iter().filter(|request| request.is_write()).count();
    assert_eq!(writes, 0);
    check_nothing(&world, "without a record");
    let left: Vec<_> = fs_err::read_dir(world.path("state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().contains(".json"))
        .collect();
    assert_eq!(left, [] as [std::ffi::OsString; 0]);
    run(&world, &["up", "--no-verify"], "with a record");
    check_whole(&world, "with a record");
}

/// `meddle` changes the state folder in the middle of an `up`, which must say `word`.
fn taken_over(meddle: impl Fn(&std::path::Path) + Send + Sync + 'static, word: &str) {
    let world = World::new();
    let folder = world.path("state");
    let writes = AtomicUsize::new(0);
    world.proxy.rule(move |request, now| {
        let is_third =
            request.is_write() && now == Moment::Before && writes.fetch_add(1, Ordering::SeqCst) == 2;
        if is_third {
            meddle(&folder);
        }
        Act::Pass
    });
    let stderr = world.run(&["up", "--no-verify"]).code(4).stderr;
    assert!(stderr.contains("this run has lost its lock: "), "{stderr}");
    assert!(stderr.contains(word), "{stderr}");
    assert!(stderr.contains(", which is not on record"), "{stderr}");
    let state = world.state();
    let steps = state.steps();
    let census = world.emulator.census();
    assert!(!census.contains_key("stages"), "it went on: {census:?}");
    for line in stderr
        .lines()
        .filter(|line| line.contains(", which is not on record"))
    {
        let step = line
            .strip_prefix("failed    ")
            .map(|rest| rest.split(": ").next().unwrap());
        let is_recorded = |record: &Value| step == record["step"].as_str() && !record["output"].is_null();
        assert!(!steps.iter().any(is_recorded), "{line}");
    }
}

#[test]
fn a_run_whose_lock_file_was_deleted_stops_with_4() {
    let delete = |folder: &std::path::Path| fs_err::remove_file(folder.join("user-api.lock")).unwrap();
    taken_over(delete, "user-api.lock was deleted or replaced");
}

#[test]
fn a_run_whose_state_file_someone_else_replaced_stops_with_4_and_leaves_it() {
    taken_over(
        |folder| {
            let path = folder.join("user-api.json");
            let text = fs_err::read_to_string(&path).unwrap();
            let mut state: Value = serde_json::from_str(&text).unwrap();
            state["serial"] = 1000.into();
            fs_err::write(path, state.to_string()).unwrap();
        },
        "got 1000",
    );
}

#[test]
fn while_up_runs_another_up_or_down_ends_at_once_and_says_who_has_the_lock() {
    let world = World::new();
    let seconds: Arc<Mutex<Vec<Output>>> = Arc::default();
    let others: Vec<Mutex<Command>> = [&["up", "--no-verify"][..], &["down", "--yes"]]
        .into_iter()
        .map(|args| Mutex::new(world.command(args)))
        .collect();
    let (kept, once) = (seconds.clone(), AtomicUsize::new(0));
    world.proxy.rule(move |request, now| {
        if request.operation() == "CreateUserPool"
            && now == Moment::Before
            && once.fetch_add(1, Ordering::SeqCst) == 0
        {
            for other in &others {
                let output = other.lock().unwrap().output().unwrap();
                kept.lock().unwrap().push(output);
            }
        }
        Act::Pass
    });
    let mut up = world.command(&["up", "--no-verify"]);
    up.stdout(Stdio::null()).stderr(Stdio::null());
    let mut up = up.spawn().unwrap();
    let process = up.id();
    assert!(up.wait().unwrap().success());
    world.proxy.take();
    let seconds = seconds.lock().unwrap().clone();
    assert_eq!(seconds.len(), 2);
    for output in seconds {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{stderr}");
        let words = format!("error: the state is locked by `up`, process {process} on ");
        assert!(stderr.starts_with(&words), "{stderr}");
    }
    check_whole(&world, "after a quarrel");
}

#[test]
fn a_quota_is_told_at_once() {
    let world = World::new();
    world.proxy.rule(|request, now| {
        if now == Moment::Before && request.operation() == "CreateUserPool" {
            let body = r#"{"__type":"LimitExceededException","message":"Account has too many user pools"}"#;
            return Act::Answer(
                400,
                vec![("content-type", "application/x-amz-json-1.1")],
                body.to_owned(),
            );
        }
        Act::Pass
    });
    let stderr = world.run(&["up", "--no-verify"]).code(1).stderr;
    let words =
        "caused by: cognito-idp:CreateUserPool: LimitExceededException: Account has too many user pools\n";
    assert!(stderr.contains(words), "{stderr}");
    let asked = world
        .proxy
        .take()
        .iter()
        .filter(|request| request.operation() == "CreateUserPool")
        .count();
    assert_eq!(asked, 1, "asking again would not help");
}
