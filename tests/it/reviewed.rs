//! Plans that were saved and reviewed: `up --plan` does exactly what they show, or says what has moved and changes nothing.

use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::crash::{check_nothing, check_whole};
use crate::support::proxy::{Act, Moment, Request};
use crate::support::world::{CODE, Recorded};
use crate::support::{Emulator, Place, Run, World};

const FILE: &str = r#"[stack]
name = "orders"

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
memory_mb = 128
environment = { TABLE = "tulips77", KEY = { from_env = "ORDERS_KEY" } }

[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }

[env.staging.functions.orders]
memory_mb = 512
"#;

/// What the plan of most tests changes: an update, a deletion and a right.
fn changed() -> String {
    FILE.replace("[clients.leaving]\nscopes = [\"orders/write\"]\n", "")
        .replace(
            "memory_mb = 128",
            "memory_mb = 256\nmanaged_policies = [\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]",
        )
        .replace("tulips77", "tulips78")
}

const KEY: &str = "crocus55";

/// Runs `args` with the variable that the file names.
fn run_with(world: &World, key: &str, args: &[&str]) -> Run {
    world
        .command(args)
        .env("ORDERS_KEY", key)
        .output()
        .unwrap()
        .into()
}

fn run(world: &World, args: &[&str]) -> Run {
    run_with(world, KEY, args)
}

fn plan_file(world: &World) -> String {
    fs_err::read_to_string(world.path("plan.json")).unwrap()
}

const SAVE: &[&str] = &["plan", "--out", "plan.json"];
const UP: &[&str] = &["up", "--plan", "plan.json", "--no-verify"];

/// Fails unless the run is refused with these words and has changed nothing.
fn is_refused(world: &World, run: &Run, code: i32, said: &str) {
    assert_eq!(run.code, code, "{said}: {}", run.stderr);
    assert!(run.stderr.contains(said), "{said:?} is not in {}", run.stderr);
    assert!(run.stderr.contains("hint: "), "{}", run.stderr);
    assert_eq!(world.writes(), ["GetCallerIdentity"; 0], "{said}");
}

/// A file of these lines that `plan --out` could have written.
fn sealed(text: &str) -> String {
    let end = "\"\n  }\n}\n";
    let (before, _) = text.strip_suffix(end).unwrap().rsplit_once('"').unwrap();
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{before}\"")));
    format!("{before}\"{digest}{end}")
}

#[test]
fn a_reviewed_plan_is_done_exactly_and_only_once() {
    let world = World::of(FILE, CODE);
    let said = run(&world, SAVE).ok();
    assert!(
        said.stderr
            .contains("saved; to do it, run `provision up --plan plan.json`"),
        "{}",
        said.stderr
    );
    let mode = world.path("plan.json").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        !world.path("state/orders.json").exists(),
        "the plan changes nothing"
    );
    world.proxy.take();
    run(&world, &["up", "--plan", "plan.json"]).ok();
    run(&world, &["plan", "--check"]).ok();
    assert!(world.writes().len() > 15);

    // An unchanged stack: nothing is to be done, and nothing is done.
    run(&world, &[SAVE, &["--check"]].concat()).ok();
    let done = run(&world, UP).ok();
    assert!(
        done.stderr.contains("nothing changed: 16 steps"),
        "{}",
        done.stderr
    );
    assert_eq!(world.writes(), [""; 0]);

    run(&world, &[SAVE, &["--replace", "client:leaving"]].concat()).ok();
    world.file(&changed());
    world.proxy.take();
    is_refused(
        &world,
        &run(&world, UP),
        3,
        "client leaving is not configured any more",
    );
    let shown = run(&world, &[SAVE, &["--check", "--json"]].concat())
        .code(3)
        .json();
    let saved: Value = serde_json::from_str(&plan_file(&world)).unwrap();
    for key in ["format", "stack", "account", "region", "rights", "foreign"] {
        assert_eq!(saved[key], shown[key], "{key}");
    }
    let actions = |plan: &Value| -> Vec<(Value, Value)> {
        let steps = plan["steps"].as_array().unwrap().iter();
        steps
            .map(|step| (step["step"].clone(), step["action"].clone()))
            .collect()
    };
    assert_eq!(actions(&saved), actions(&shown));
    run(&world, UP).ok();
    run(&world, &["plan", "--check"]).ok();
    let writes = world.writes();
    for call in ["DeleteUserPoolClient", "AttachRolePolicy"] {
        assert_eq!(
            writes.iter().filter(|write| *write == call).count(),
            1,
            "{call} in {writes:?}"
        );
    }

    is_refused(&world, &run(&world, UP), 3, "the state went from serial");
    run(&world, &["down", "--yes"]).ok();
    world.proxy.take();
    is_refused(&world, &run(&world, UP), 3, "the stack has no state any more");
}

#[test]
fn no_plan_that_leaves_this_machine_has_a_value_of_an_environment_or_a_hash_of_one() {
    let world = World::of(FILE, CODE);
    run(&world, &["up", "--no-verify"]).ok();
    world.file(&changed());
    run(&world, SAVE).ok();
    let comment = run(&world, &["plan", "--markdown"]).ok().stdout;
    let file = plan_file(&world);
    let recorded = world.state();
    let client = world
        .emulator
        .cognito("DescribeUserPoolClient", &recorded.client("client:billing"));
    let secret = client["UserPoolClient"]["ClientSecret"].as_str().unwrap();
    assert!(secret.len() > 20);
    let live = world
        .emulator
        .get("lambda", &recorded.function("function:orders"));
    let values = &live["Configuration"]["Environment"]["Variables"];
    assert_eq!(values["KEY"], KEY, "the values are where they belong");
    let fingerprints = recorded.step("function:orders")["desired"]["environment"].clone();
    let mut forbidden = vec![secret, "tulips77", "tulips78", KEY];
    forbidden.extend(
        fingerprints
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_str),
    );
    assert_eq!(forbidden.len(), 6);
    let base64: Vec<String> = forbidden
        .iter()
        .map(|text| URL_SAFE_NO_PAD.encode(text))
        .collect();
    for text in forbidden.iter().copied().chain(base64.iter().map(String::as_str)) {
        assert!(!file.contains(text), "{text} is in the file");
        assert!(!comment.contains(text), "{text} is in the comment");
    }
    assert!(file.contains("(new value)") && comment.contains("environment.TABLE: (old value) → (new value)"));
    // The same values have another digest in the next plan, and it is slow to compute.
    let digest = |text: &str| serde_json::from_str::<Value>(text).unwrap()["bound"]["environments"].clone();
    run(&world, SAVE).ok();
    let again = digest(&plan_file(&world));
    assert_ne!(digest(&file)["functions"], again["functions"]);
    assert_eq!(again["slow"]["rounds"], 600_000);
}

type Move = fn(&World, &Emulator, &Recorded);

/// What is changed, how, and back, and what is said of it.
const MOVES: &[(&str, Move, Move)] = &[
    (
        "function orders is configured otherwise than when the plan was made: memory_mb",
        |world, _, _| world.file(&changed().replace("memory_mb = 256", "memory_mb = 257")),
        |world, _, _| world.file(&changed()),
    ),
    (
        "function orders: its code has changed since the plan",
        |world, _, _| world.code(&format!("{CODE} ")),
        |world, _, _| world.code(CODE),
    ),
    (
        "function orders: the value of an environment variable has changed since the plan",
        |world, _, _| world.file(&changed().replace("tulips78", "tulips79")),
        |world, _, _| world.file(&changed()),
    ),
    (
        "function orders: its environment has other variables than when the plan was made",
        |world, _, _| world.file(&changed().replace("TABLE =", "TABLES =")),
        |world, _, _| world.file(&changed()),
    ),
    (
        "client more is configured now and was not when the plan was made",
        |world, _, _| {
            world.file(&format!(
                "{}[clients.more]\nscopes = [\"orders/read\"]\n",
                changed()
            ));
        },
        |world, _, _| world.file(&changed()),
    ),
    (
        "client billing is not configured any more",
        |world, _, _| world.file(&changed().replace("[clients.billing]\nscopes = [\"orders/read\"]\n", "")),
        |world, _, _| world.file(&changed()),
    ),
    (
        "client billing is configured otherwise than when the plan was made: secret_from",
        |world, _, _| {
            let more = "[clients.billing]\nsecret_from = \"ssm:/orders\"";
            world.file(&changed().replace("[clients.billing]", more));
        },
        |world, _, _| world.file(&changed()),
    ),
    (
        "client billing was changed on AWS since the plan: scopes",
        |_, emulator, recorded| scopes(emulator, recorded, &["orders/read", "orders/write"]),
        |_, emulator, recorded| scopes(emulator, recorded, &["orders/read"]),
    ),
    (
        "function orders was changed on AWS since the plan: environment",
        |_, emulator, recorded| variables(emulator, recorded, "somebody's"),
        |_, emulator, recorded| variables(emulator, recorded, "tulips77"),
    ),
    (
        "log-group orders was changed on AWS since the plan: retention_days",
        |_, emulator, recorded| retention(emulator, recorded, 30),
        |_, emulator, recorded| retention(emulator, recorded, 14),
    ),
    (
        "the state has another content and still serial",
        |world, _, _| edit_state(world, "\"Read orders\"", "\"Read order\""),
        |world, _, _| edit_state(world, "\"Read order\"", "\"Read orders\""),
    ),
];

fn scopes(emulator: &Emulator, recorded: &Recorded, scopes: &[&str]) {
    let mut client =
        emulator.cognito("DescribeUserPoolClient", &recorded.client("client:billing"))["UserPoolClient"]
            .clone();
    for key in ["ClientSecret", "CreationDate", "LastModifiedDate"] {
        client.as_object_mut().unwrap().remove(key);
    }
    client["AllowedOAuthScopes"] = json!(scopes);
    emulator.cognito("UpdateUserPoolClient", &client);
}

fn variables(emulator: &Emulator, recorded: &Recorded, table: &str) {
    let path = format!("{}/configuration", recorded.function("function:orders"));
    let variables = json!({"Environment": {"Variables": {"TABLE": table, "KEY": KEY}}});
    emulator.write("lambda", "PUT", &path, &variables);
}

fn retention(emulator: &Emulator, recorded: &Recorded, days: i32) {
    let name = recorded.desired("log-group:orders", "name");
    let body = json!({"logGroupName": name, "retentionInDays": days});
    emulator.json("Logs_20140328.PutRetentionPolicy", &body);
}

fn edit_state(world: &World, from: &str, to: &str) {
    let file = world.state_file().unwrap();
    let text = fs_err::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    fs_err::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn whatever_has_moved_since_the_plan_is_named_and_nothing_is_changed() {
    let world = World::of(FILE, CODE);
    run(&world, &["up", "--no-verify"]).ok();
    world.file(&changed());
    run(&world, SAVE).ok();
    world.proxy.take();
    let recorded = world.state();
    for (said, there, back) in MOVES {
        there(&world, &world.emulator, &recorded);
        let refused = run(&world, UP);
        is_refused(&world, &refused, 3, said);
        assert!(
            refused
                .stderr
                .contains("hint: run `provision plan --out plan.json` again, look at it, then run"),
            "{}",
            refused.stderr
        );
        // Nothing else is named.
        assert_eq!(refused.stderr.lines().count(), 3, "{}", refused.stderr);
        back(&world, &world.emulator, &recorded);
    }
    let refused = run_with(&world, "crocus56", UP);
    is_refused(
        &world,
        &refused,
        3,
        "function orders: the value of an environment variable has changed",
    );
    for (args, said) in [
        (
            &["--env", "staging"][..],
            "the plan is of environment none; this run has staging",
        ),
        (
            &["--stack", "shop"],
            "the plan is of stack orders; this run has shop",
        ),
        (
            &["--region", "eu-west-2"],
            "the plan is of region eu-west-1; this run has eu-west-2",
        ),
        (
            &["--state", "s3://nobody/x"],
            "the plan is of a state in a folder; this run has s3://nobody/x",
        ),
        (&["--state", "elsewhere"], "the stack has no state any more"),
    ] {
        let refused = run(&world, &[UP, args].concat());
        is_refused(&world, &refused, 3, said);
    }
    let whole = plan_file(&world);
    let newer = whole.replace(env!("CARGO_PKG_VERSION"), "99.0.0");
    assert_ne!(newer, whole);
    let unprotected = whole.replace("\"unprotect\": false", "\"unprotect\": true");
    assert_ne!(unprotected, whole);
    let shown = run(&world, &["plan", "--json"]).ok().stdout;
    for (text, code, said) in [
        (
            sealed(&newer),
            3,
            "the plan was made by version 99.0.0; this run has",
        ),
        (
            sealed(&whole.replace(
                "\"memory_mb\",\n          \"before\": 128",
                "\"memory_mb\",\n          \"before\": 129",
            )),
            3,
            "function orders is planned otherwise",
        ),
        (unprotected, 2, "it was changed after `plan --out` wrote it"),
        (
            whole.replace("\"memory_mb\"", "\"memory_nb\""),
            2,
            "it was changed after `plan --out` wrote it",
        ),
        (
            whole.trim_end().to_owned(),
            2,
            "it was changed after `plan --out` wrote it",
        ),
        (
            whole[..whole.len() / 2].to_owned(),
            2,
            "it is not a plan, or not a whole one: it does not parse at line",
        ),
        (
            whole.replacen(
                "\"bound\": {\n    \"format\": 1",
                "\"bound\": {\n    \"format\": 2",
                1,
            ),
            2,
            "it has format 2; this version of provision reads 1",
        ),
        (shown, 2, "it is not a plan that `plan --out` wrote"),
        (FILE.to_owned(), 2, "it does not parse at line 1"),
        ("{}".to_owned(), 2, "it is not a plan that `plan --out` wrote"),
        (String::new(), 2, "it does not parse at line 1"),
    ] {
        fs_err::write(world.path("plan.json"), text).unwrap();
        let refused = run(&world, UP);
        is_refused(&world, &refused, code, said);
        assert!(!refused.stderr.contains("tulips"), "{}", refused.stderr);
    }
    fs_err::remove_file(world.path("plan.json")).unwrap();
    is_refused(&world, &run(&world, UP), 2, "the plan plan.json cannot be used: ");
    fs_err::write(world.path("plan.json"), &whole).unwrap();
    world.proxy.rule(|request, moment| {
        if request.operation() == "GetCallerIdentity" && moment == Moment::Before {
            return Act::Answer(200, vec![("content-type", "text/xml")], IDENTITY.to_owned());
        }
        Act::Pass
    });
    let refused = run(&world, UP);
    is_refused(
        &world,
        &refused,
        3,
        "the plan is of account 000000000000; this run has 999999999999",
    );
    world.proxy.rule(|_, _| Act::Pass);

    // All that was refused has changed nothing: the plan still fits.
    run(&world, UP).ok();
    run(&world, &["plan", "--check"]).ok();
    // What another run did in between.
    run(&world, SAVE).ok();
    world.file(FILE);
    run(&world, &["up", "--no-verify", "--yes"]).ok();
    world.file(&changed());
    world.proxy.take();
    is_refused(
        &world,
        &run(&world, UP),
        3,
        ": a run has changed the stack since the plan",
    );
    run(&world, &["down", "--yes"]).ok();
    world.emulator.assert_nothing("after all of it");
}

const IDENTITY: &str = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
    <GetCallerIdentityResult><Arn>arn:aws:iam::999999999999:user/u</Arn><UserId>u</UserId>\
    <Account>999999999999</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";

#[test]
fn a_plan_says_what_of_others_goes_and_no_more_goes() {
    let world = World::of(FILE, CODE);
    run(&world, &["up", "--no-verify"]).ok();
    run(&world, &[SAVE, &["--replace", "user-pool"]].concat()).ok();
    let client = json!({"UserPoolId": world.state().output("user-pool", "id"), "ClientName": "theirs"});
    world.emulator.cognito("CreateUserPoolClient", &client);
    world.proxy.take();
    is_refused(&world, &run(&world, UP), 3, " is of others and would go as well");
    // A plan that shows it is the consent.
    let plan = [
        SAVE,
        &["--replace", "user-pool", "--yes-break", "theirs", "--markdown"],
    ]
    .concat();
    let comment = run(&world, &plan).ok().stdout;
    assert!(
        comment.contains("**Deleted with them, and of others** (1)\n\n- `client theirs in user-pool`"),
        "{comment}"
    );
    run(&world, UP).ok();
    run(&world, &["status"]).ok();
    run(&world, &["down", "--yes"]).ok();
    world.emulator.assert_nothing("after down");
}

#[test]
fn what_is_protected_stays_and_what_a_plan_may_do_is_in_the_plan() {
    let protected = format!("{FILE}\n[user_pool]\ndeletion_protection = true\n");
    let world = World::of(&protected, CODE);
    run(&world, &["up", "--no-verify"]).ok();
    world.proxy.take();
    let replace = [SAVE, &["--replace", "user-pool"]].concat();
    let refused = run(&world, &replace).code(2);
    assert!(
        refused.stderr.contains("hint: pass --unprotect"),
        "{}",
        refused.stderr
    );
    assert!(!world.path("plan.json").exists(), "what is refused is not saved");
    run(&world, &[&replace[..], &["--unprotect"]].concat()).ok();
    for flag in [
        &["--replace", "stage"][..],
        &["--no-repair"],
        &["--unprotect"],
        &["--allow-foreign"],
        &["--yes-break", "all"],
        &["--read-clients"],
    ] {
        let run = run(&world, &[UP, flag].concat()).code(2);
        assert!(run.stderr.contains("cannot be used with"), "{}", run.stderr);
    }
    assert_eq!(world.writes(), [""; 0]);
    run(&world, UP).ok();
    assert!(world.writes().contains(&"DeleteUserPool".to_owned()));
    run(&world, &["down", "--yes", "--unprotect"]).ok();
}

#[test]
fn a_plan_in_the_folder_of_the_code_is_not_a_part_of_the_code() {
    let world = World::of(&FILE.replace("\"lambda\"", "\".\""), CODE);
    run(&world, SAVE).ok();
    run(&world, UP).ok();
    run(&world, &[SAVE, &["--check"]].concat()).ok();
}

#[test]
fn a_file_that_is_not_a_plan_is_not_written_over_and_that_is_said_first() {
    let place = Place::new();
    let nowhere = |args: &[&str]| place.run_at("http://127.0.0.1:1", args).code(2).stderr;
    fs_err::write(place.path().join("notes.json"), "{\"mine\": true}").unwrap();
    std::os::unix::fs::symlink("notes.json", place.path().join("link.json")).unwrap();
    for (file, said) in [
        (
            "notes.json",
            "notes.json exists and is not a saved plan; not overwritten",
        ),
        (
            "link.json",
            "link.json is a symbolic link; expected a regular file",
        ),
        (".", ". is a folder; expected a regular file"),
        ("no/plan.json", "folder no of the plan not found"),
    ] {
        let stderr = nowhere(&["plan", "--out", file]);
        assert!(stderr.contains(said), "{stderr}");
    }
    assert_eq!(
        fs_err::read_to_string(place.path().join("notes.json")).unwrap(),
        "{\"mine\": true}"
    );
    let stderr = nowhere(&["plan", "--markdown", "--json"]);
    assert!(stderr.contains("cannot be used with"), "{stderr}");
    let entries = std::fs::read_dir(place.path()).unwrap();
    let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["link.json", "notes.json"]);
}

/// `up --plan` of a new stack is killed. The plan does not fit any more, and another one does.
fn killed(world: &World, at: usize, moment: Moment) {
    let story = format!("up --plan killed {moment:?} its write {at}");
    world.run(SAVE).ok();
    assert!(world.kill_at(UP, at, moment, Request::is_write), "{story}");
    let refused = world.run(UP);
    is_refused(
        world,
        &refused,
        3,
        "a run has begun since the plan and has not finished",
    );
    assert!(
        refused
            .stderr
            .contains("the stack had no state and has one with serial"),
        "{}",
        refused.stderr
    );
    world.run(SAVE).ok();
    world.run(UP).ok();
    check_whole(world, &story);
    world.run(&["down", "--yes"]).ok();
    check_nothing(world, &story);
}

#[test]
fn a_run_of_a_plan_that_is_killed_needs_another_plan() {
    let world = World::new();
    for (at, moment) in [(0, Moment::After), (5, Moment::Before), (16, Moment::Before)] {
        killed(&world, at, moment);
    }
}

#[test]
#[ignore = "every call: some minutes"]
fn a_run_of_a_plan_that_is_killed_at_every_call_needs_another_plan() {
    let world = World::new();
    for moment in [Moment::Before, Moment::After] {
        // Killed after its last write the run has nothing left but to say so.
        for at in 0..16 {
            killed(&world, at, moment);
        }
    }
}

#[test]
fn a_plan_of_an_environment_is_done_on_another_machine_with_the_state_in_a_bucket() {
    let world = World::in_s3();
    let machine = || {
        let place = Place::new();
        fs_err::create_dir(place.path().join("lambda")).unwrap();
        fs_err::write(place.path().join("lambda/index.mjs"), CODE).unwrap();
        fs_err::write(place.path().join("provision.toml"), FILE).unwrap();
        place
    };
    let (review, deploy) = (machine(), machine());
    let on = |place: &Place, args: &[&str]| -> Run {
        let mut command = world.command(&[args, &["--env", "staging"]].concat());
        command.current_dir(place.path()).env("ORDERS_KEY", KEY);
        command.output().unwrap().into()
    };
    for said in ["plan: 16 to create", "plan: nothing to do"] {
        let plan = on(&review, SAVE).ok();
        assert!(plan.stdout.contains(said), "{}", plan.stdout);
        fs_err::copy(review.path().join("plan.json"), deploy.path().join("plan.json")).unwrap();
        on(&deploy, UP).ok();
        world.proxy.take();
    }
    let refused = run(
        &world,
        &["up", "--plan", deploy.path().join("plan.json").to_str().unwrap()],
    )
    .code(3);
    assert!(
        refused
            .stderr
            .contains("the plan is of environment staging; this run has none"),
        "{}",
        refused.stderr
    );
    on(&deploy, &["down", "--yes"]).ok();
    world.emulator.assert_nothing("after down");
}

#[test]
fn a_plan_of_the_sandbox_is_done_there() {
    let place = Place::new();
    place.run(&[SAVE, &["--sandbox"]].concat()).ok();
    place.run(&[UP, &["--sandbox"]].concat()).ok();
    place.run(&["plan", "--check", "--sandbox"]).ok();
    let refused = place.run_at(
        "http://127.0.0.1:1",
        &[UP, &["--endpoint-url", "http://127.0.0.1:1"]].concat(),
    );
    assert_ne!(refused.code, 0);
    place.run(&["down", "--yes", "--sandbox"]).ok();
}
