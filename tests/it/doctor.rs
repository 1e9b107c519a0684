//! `doctor`: what it finds, each thing broken once, that one broken thing hides no other, and that nothing is changed.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use crate::support::proxy::{Act, Moment, Request};
use crate::support::{Place, Run, World};
use serde_json::{Value, json};

/// No server listens here.
const NOWHERE: &str = "http://127.0.0.1:1";

const FILE: &str = include_str!("../../provision.toml");

/// What each check has found: its status, and what and the remedy as one text.
fn found(run: &Run) -> BTreeMap<String, (String, String)> {
    let document: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.stderr));
    assert_eq!(document["format"], 1);
    let checks = document["checks"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pair = |check: &Value| {
        let said = format!("{} → {}", text(&check["what"]), text(&check["remedy"]));
        (text(&check["check"]), (text(&check["status"]), said))
    };
    checks.iter().map(pair).collect()
}

/// The checks with this status.
fn with<'a>(found: &'a BTreeMap<String, (String, String)>, status: &str) -> Vec<&'a str> {
    let these = found.iter().filter(|(_, (own, _))| own == status);
    these.map(|(check, _)| check.as_str()).collect()
}

fn world() -> World {
    World::of(FILE, "export const handler = async () => ({ statusCode: 200 });")
}

/// All files below the folder but the emulator's, with what is in them.
fn files(world: &World) -> Vec<String> {
    let texts = world.place.texts("");
    let own = texts
        .into_iter()
        .filter(|(path, _)| !path.to_string_lossy().contains("/sandbox/"));
    own.map(|(path, text)| format!("{}: {text}", path.display()))
        .collect()
}

#[test]
fn a_machine_and_an_account_that_are_as_they_have_to_be_are_ok_and_stay_as_they_are() {
    let world = world();
    let before = files(&world);
    let run = world.run(&["doctor", "--json"]).ok();
    let all = found(&run);
    assert_eq!(with(&all, "mend"), [""; 0], "{all:?}");
    for check in [
        "python",
        "node",
        "emulator",
        "sandbox",
        "configuration",
        "region",
        "credentials",
        "account",
        "clock",
        "state",
        "lock",
        "rights",
        "IAM roles",
        "Lambda code",
        "concurrency",
        "REST APIs",
        "user pools",
        "clients",
        "resources",
    ] {
        assert!(all.contains_key(check), "{check}: {all:?}");
    }
    assert!(
        all["credentials"]
            .1
            .contains("the environment (AWS_ACCESS_KEY_ID)"),
        "{all:?}"
    );
    assert!(
        all["region"]
            .1
            .contains("eu-west-1, enabled for the account, from AWS_REGION"),
        "{all:?}"
    );
    assert!(all["state"].1.contains("none yet of stack user-api"), "{all:?}");
    let token = fs_err::read_to_string(world.path("state/sandbox/token")).unwrap();
    for text in [&run.stdout, &run.stderr] {
        assert!(!text.contains(&token), "{text}");
    }
    let changed = |request: &Request| request.is_write() && request.operation() != "SimulatePrincipalPolicy";
    let requests = world.proxy.take();
    assert!(!requests.iter().any(changed), "{requests:?}");
    assert_eq!(files(&world), before);

    world.run(&["up", "--no-verify"]).ok();
    let all = found(&world.run(&["doctor", "--json"]).ok());
    let owner = world.state().owner().to_owned();
    assert!(all["state"].1.contains(&format!("owner {owner}, ")), "{all:?}");
    // For people, each check has a line.
    let table = world.run(&["doctor"]).ok().stdout;
    let lines = table.lines().filter(|line| !line.starts_with(' '));
    assert_eq!(lines.count(), all.len(), "{table}");
}

#[test]
fn without_a_configuration_only_the_machine_and_the_account_are_checked() {
    let world = World::new();
    let all = found(&world.run(&["doctor", "--json"]).ok());
    for check in ["state", "lock", "rights", "clients", "resources", "access logs"] {
        assert!(!all.contains_key(check), "{check}: {all:?}");
    }
    assert!(all.contains_key("account") && all.contains_key("IAM roles"));
    assert!(
        all["configuration"]
            .1
            .contains("only the machine and the account"),
        "{all:?}"
    );
    // A stack that is named is checked.
    let all = found(&world.run(&["doctor", "--json", "--stack", "orders"]).ok());
    assert!(
        all["state"].1.contains("none yet of stack orders") && all.contains_key("rights"),
        "{all:?}"
    );
}

#[test]
fn where_half_of_it_fails_the_other_half_is_told() {
    let world = world();
    // Nobody answers, and the state is broken.
    fs_err::write(world.path("state/user-api.json"), "{").unwrap();
    let run = world.place.run_at(NOWHERE, &["doctor", "--json"]).code(3);
    let all = found(&run);
    assert_eq!(with(&all, "mend"), ["account", "state"], "{all:?}");
    assert_eq!(all["configuration"].0, "ok");
    assert_eq!(all["credentials"].0, "ok");
    fs_err::remove_file(world.path("state/user-api.json")).unwrap();

    // An invalid file hides only what depends on it.
    world.file("[stack]\nname = 1\n");
    let all = found(&world.run(&["doctor", "--json"]).code(3));
    assert_eq!(with(&all, "mend"), ["configuration"], "{all:?}");
    assert!(all["configuration"].1.contains("provision plan"), "{all:?}");
    assert_eq!(all["account"].0, "ok");
    world.file(FILE);

    // Some calls are refused, and one is not answered as AWS does.
    world.proxy.rule(|request, moment| {
        let denied = || {
            let kind = vec![("x-amzn-errortype", "AccessDeniedException")];
            Act::Answer(403, kind, json!({"Message": "not for you"}).to_string())
        };
        match (moment, request.operation().as_str()) {
            (Moment::Before, "ListUserPools" | "GET /restapis") => denied(),
            (Moment::Before, operation) if operation.contains("/account-settings") => denied(),
            _ => Act::Pass,
        }
    });
    let all = found(&world.run(&["doctor", "--json"]).ok());
    for check in ["Lambda code", "concurrency", "REST APIs", "user pools"] {
        let (status, said) = &all[check];
        assert!(
            status == "note" && said.contains("not known: ") && said.contains("policy doctor"),
            "{check}: {said}"
        );
    }
    assert_eq!(all["IAM roles"].0, "ok");
    assert_eq!(all["state"].0, "ok");
}

/// An answer of STS with this date.
fn identity(date: &'static str) -> Act {
    let body = "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::000000000000:assumed-role/dev/me</Arn>\
                <Account>000000000000</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
    Act::Answer(
        200,
        vec![("content-type", "text/xml"), ("date", date)],
        body.to_owned(),
    )
}

#[test]
fn a_clock_that_is_off_and_an_account_of_others_are_to_be_mended() {
    let world = world();
    world
        .proxy
        .rule(|request, moment| match (moment, request.operation().as_str()) {
            (Moment::Before, "GetCallerIdentity") => identity("Sat, 28 Nov 2020 10:00:00 GMT"),
            _ => Act::Pass,
        });
    let all = found(&world.run(&["doctor", "--json"]).code(3));
    let (status, said) = &all["clock"];
    assert!(
        status == "mend" && said.contains("seconds ahead of AWS's") && said.contains("NTP"),
        "{said}"
    );
    // The role is not there, so what it may do is not known.
    assert_eq!(all["rights"].0, "note", "{all:?}");
    assert_eq!(with(&all, "mend"), ["clock"], "{all:?}");

    // A refusal tells the time as well.
    world.proxy.rule(|request, moment| match (moment, request.operation().as_str()) {
        (Moment::Before, "GetCallerIdentity") => {
            let body = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>Signature expired: now</Message></Error></ErrorResponse>";
            let date = ("date", "Wed, 28 Nov 2096 10:00:00 GMT");
            Act::Answer(403, vec![("content-type", "text/xml"), date], body.to_owned())
        }
        _ => Act::Pass,
    });
    let all = found(&world.run(&["doctor", "--json"]).code(3));
    assert!(all["clock"].1.contains("behind AWS's"), "{all:?}");
    assert!(all["account"].1.contains("set the clock"), "{all:?}");
    world.proxy.rule(|_, _| Act::Pass);

    world.file(&format!("{FILE}\n[env.live]\naccount = \"123456789012\"\n"));
    let all = found(&world.run(&["doctor", "--json", "--env", "live"]).code(3));
    assert_eq!(with(&all, "mend"), ["account"], "{all:?}");
    assert!(
        all["account"].1.contains("belongs to account 123456789012"),
        "{all:?}"
    );
}

#[test]
fn what_iam_does_not_allow_is_named_and_the_rest_of_the_policy_is_asked_about() {
    let world = world();
    world.proxy.rule(|request, moment| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        match (moment, request.operation().as_str()) {
            (Moment::Before, "GetCallerIdentity") => {
                let act = identity("Sat, 28 Nov 2020 10:00:00 GMT");
                let Act::Answer(status, headers, body) = act else { unreachable!() };
                Act::Answer(status, headers, body.replace("sts::000000000000:assumed-role/dev/me", "iam::000000000000:user/dev"))
            }
            (Moment::Before, "SimulatePrincipalPolicy") => {
                assert!(body.contains("PolicySourceArn=arn%3Aaws%3Aiam%3A%3A000000000000%3Auser%2Fdev"), "{body}");
                assert!(!body.contains("%3F%3F"), "no wildcard: {body}");
                let actions = body.split('&').filter(|pair| pair.starts_with("ActionNames."));
                let actions = actions.map(|pair| pair.split_once('=').unwrap().1.replace("%3A", ":"));
                let results = actions.map(|action| {
                    let decision = if action == "lambda:CreateFunction" { "implicitDeny" } else { "allowed" };
                    format!("<member><EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision></member>")
                });
                let results: String = results.collect();
                let body = format!(
                    "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><EvaluationResults>{results}</EvaluationResults>\
                     <IsTruncated>false</IsTruncated></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
                );
                Act::Answer(200, vec![("content-type", "text/xml")], body)
            }
            _ => Act::Pass,
        }
    });
    let all = found(&world.run(&["doctor", "--json"]).code(3));
    let (status, said) = &all["rights"];
    assert!(
        status == "mend"
            && said.contains("actions are not allowed: lambda:CreateFunction → `provision policy`"),
        "{said}"
    );
    let asked = world.proxy.take();
    let asked = asked
        .iter()
        .filter(|request| request.operation() == "SimulatePrincipalPolicy");
    assert!(asked.count() > 10);
}

#[test]
fn who_holds_the_state_is_told_and_not_disturbed() {
    let world = world();
    world.run(&["up", "--no-verify"]).ok();
    let path = world.path("state/user-api.lock");
    let file = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    file.file().lock().unwrap();
    let holder = json!({"command": "up", "host": "build-7", "process": std::process::id(), "since": "2026-11-28T10:00:00Z"});
    fs_err::write(&path, holder.to_string()).unwrap();
    let all = found(&world.run(&["doctor", "--json"]).ok());
    if std::path::Path::new("/proc/locks").exists() {
        assert!(
            all["lock"].0 == "note" && all["lock"].1.contains("held by `up`"),
            "{all:?}"
        );
        assert!(
            all["lock"].1.contains("on build-7, since 2026-11-28T10:00:00Z"),
            "{all:?}"
        );
        drop(file);
        let all = found(&world.run(&["doctor", "--json"]).ok());
        assert_eq!(all["lock"].0, "ok", "{all:?}");
    }
}

#[test]
fn a_state_in_a_bucket_is_looked_at_and_a_bucket_that_is_not_there_is_to_be_mended() {
    let world = World::in_s3();
    fs_err::create_dir(world.path("lambda")).unwrap();
    world.code("export const handler = async () => ({ statusCode: 200 });");
    world.file(FILE);
    let all = found(&world.run(&["doctor", "--json"]).ok());
    assert!(
        all["state"].1.contains("s3://") && all["state"].1.contains("none yet"),
        "{all:?}"
    );
    assert_eq!(all["lease"], ("ok".to_owned(), "no run has it → ".to_owned()));
    world.run(&["up", "--no-verify"]).ok();
    let all = found(&world.run(&["doctor", "--json"]).ok());
    assert!(all["state"].1.contains("15 steps"), "{all:?}");
    let run = world
        .run(&["doctor", "--json", "--state", "s3://not-there-at-all/x"])
        .code(3);
    let all = found(&run);
    assert_eq!(all["state"].0, "mend", "{all:?}");
    assert_eq!(all["account"].0, "ok", "{all:?}");
}

#[test]
fn the_account_needs_a_role_where_the_stack_logs_requests() {
    let world = world();
    let logs = format!("{FILE}\n[api.access_logs]\nretention_days = 14\n");
    world.file(&logs);
    let all = found(&world.run(&["doctor", "--json"]).code(3));
    assert_eq!(with(&all, "mend"), ["access logs"], "{all:?}");
    assert!(all["access logs"].1.contains("account logs enable"), "{all:?}");
    world.emulator.let_apis_log();
    assert_eq!(
        found(&world.run(&["doctor", "--json"]).ok())["access logs"].0,
        "ok"
    );
}

#[test]
fn for_the_sandbox_only_what_it_needs_is_checked() {
    let place = Place::new();
    let all = found(&place.run(&["doctor", "--sandbox", "--json"]).ok());
    assert_eq!(
        all.keys().collect::<Vec<_>>(),
        ["emulator", "node", "python", "sandbox"],
        "{all:?}"
    );
    assert!(!place.path().join("state").exists(), "nothing was made");

    // Without Node.js the sandbox does not start; who does not use it only has to know.
    let path = place.path().join("bin");
    fs_err::create_dir(&path).unwrap();
    let python = path.join("python3");
    fs_err::write(&python, "#!/bin/sh\necho 3 8\n").unwrap();
    fs_err::set_permissions(&python, Permissions::from_mode(0o700)).unwrap();
    let run = |args: &[&str]| -> Run {
        let mut command = place.at(NOWHERE, args);
        command.env("PATH", &path).env_remove("PROVISION_PYTHON");
        command.output().unwrap().into()
    };
    let all = found(&run(&["doctor", "--sandbox", "--json"]).code(3));
    assert_eq!(with(&all, "mend"), ["node", "python"], "{all:?}");
    assert!(all["node"].1.contains("install Node.js 18"), "{all:?}");
    assert!(
        all["python"].1.contains("expected Python 3.10 or newer, got 3.8"),
        "{all:?}"
    );
    let all = found(&run(&["doctor", "--json"]).code(3));
    assert_eq!(with(&all, "mend"), ["account"], "{all:?}");
    assert!(all["node"].1.contains("(only for --sandbox)"), "{all:?}");
}
