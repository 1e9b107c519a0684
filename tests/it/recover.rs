//! A stack whose state is lost, and found again by what AWS has.
//!
//! `cargo test` takes samples; `cargo test -- --ignored` loses the state after every write.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::crash::{check_nothing, check_whole, run};
use crate::support::World;
use crate::support::proxy::{Act, Moment, Request};
use crate::team::signal;

const UP: &[&str] = &["up", "--no-verify"];
const DOWN: &[&str] = &["down", "--yes"];
const RECOVER: &[&str] = &["recover"];

/// The sample with more of what can change.
const CHANGED: &str = r#"
[stack]
name = "user-api"
tags = { team = "payments" }

[resource_servers.OauthResourceServer.scopes]
"user.read" = "read a user"
"user.delete" = "user delete scope"

[clients.app]
scopes = ["OauthResourceServer/user.read", "OauthResourceServer/user.delete"]

[functions.user]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
memory_mb = 256
log_retention_days = 14
environment = { TABLE = "users" }

[api]
name = "UserAPI"
description = "changed"
stage = "prod"

[routes]
"GET /user" = { function = "user", scopes = ["OauthResourceServer/user.delete"] }
"#;

/// What `plan` would do, by what it does to each step that does not stay as it is.
fn planned(world: &World, story: &str) -> Vec<(String, String)> {
    let run = world.run(&["plan", "--json"]);
    assert_eq!(run.code, 0, "{story}: {}", run.stderr);
    let plan = run.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (plan["steps"].as_array().unwrap().iter())
        .filter(|step| step["action"] != "unchanged")
        .map(|step| (text(&step["action"]), text(&step["step"])))
        .collect()
}

/// Loses the state, recovers it, and looks at the plan: it creates what was not there, and changes nothing else but what an
/// interrupted run had not finished, and the deployment, as nobody knows whether the API is what was deployed last.
fn lost_and_recovered(world: &World, story: &str) {
    world.lose_state();
    let recovered = world.run(&["recover", "--json"]);
    if recovered.code != 0 {
        // A call that was under way at the kill may have deleted the last thing.
        world
            .emulator
            .assert_nothing(&format!("{story}: {}", recovered.stderr));
        return;
    }
    let recovered = recovered.json();
    assert_eq!(recovered["not_declared"], json!([]), "{story}");
    assert_eq!(recovered["not_ours"], json!([]), "{story}");
    let absent = recovered["absent"].as_array().unwrap().iter();
    let needs_absent = recovered["needs_absent"].as_array().unwrap().iter();
    let absent: Vec<&Value> = absent.chain(needs_absent.map(|pair| &pair["step"])).collect();
    for (action, step) in planned(world, story) {
        let is_absent = absent.iter().any(|name| **name == *step);
        let is_expected = match &*action {
            "create" => is_absent,
            "update" | "replace" => {
                !is_absent && ["deployment", "stage", "log-group:user", "route:GET /user"].contains(&&*step)
            }
            _ => false,
        };
        assert!(is_expected, "{story}: {action} {step}, absent: {absent:?}");
    }
}

/// `args` killed at write `at`, the state lost, recovered, and both ways out tried. Whether there is such a write.
fn killed_and_lost(world: &World, args: &[&str], at: usize, moment: Moment) -> bool {
    let story = format!("{args:?} killed {moment:?} {at}, and its state lost");
    if args[0] == "down" {
        run(world, UP, &story);
    }
    let is_killed = world.kill_at(args, at, moment, Request::is_write);
    lost_and_recovered(world, &story);
    if at.is_multiple_of(2) || args[0] == "down" {
        run(world, UP, &story);
        check_whole(world, &story);
        world.assert_settled(&story);
    }
    run(world, DOWN, &story);
    check_nothing(world, &story);
    is_killed
}

#[test]
fn a_stack_whose_state_is_lost_is_recovered_and_not_made_twice() {
    let world = World::new();
    run(&world, UP, "before the loss");
    let before = world.state();
    world.lose_state();
    let refused = world.run(UP).code(2);
    assert!(refused.stderr.contains("provision recover"), "{}", refused.stderr);
    world.proxy.take();
    let recovered = world.run(&["recover", "--json"]).ok().json();
    assert_eq!(world.writes(), Vec::<String>::new(), "it changes nothing");
    assert_eq!(recovered["owner"], before.owner());
    assert_eq!(recovered["absent"], json!([]));
    assert_eq!(recovered["not_declared"], json!([]));
    let names = |recorded: &[Value]| -> Vec<String> {
        recorded
            .iter()
            .map(|step| step["step"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(world.state().steps()), names(before.steps()));
    world.run(&["recover"]).code(2);
    // Nobody knows whether the API is what was deployed last, so it is deployed once more, and nothing else.
    let redeploys = ["deployment", "stage"].map(|step| ("update".to_owned(), step.to_owned()));
    assert_eq!(planned(&world, "after the recovery"), redeploys);
    run(&world, UP, "after the recovery");
    check_whole(&world, "after the recovery");
    world.assert_settled("after the recovery");
    world.lose_state();
    run(&world, &["recover"], "again");
    run(&world, DOWN, "after the second recovery");
    check_nothing(&world, "after the second recovery");
}

#[test]
fn a_stack_that_was_half_made_or_half_deleted_is_recovered_as_it_is() {
    let world = World::new();
    for (args, at) in [(UP, 3), (UP, 8), (UP, 14), (DOWN, 2), (DOWN, 5)] {
        assert!(
            killed_and_lost(&world, args, at, Moment::After),
            "{args:?} has write {at}"
        );
    }
}

#[test]
#[ignore = "the state lost after a kill at every write: minutes"]
fn whenever_the_state_is_lost_it_is_recovered() {
    let world = World::new();
    let mut losses = 0;
    for args in [UP, DOWN] {
        for moment in [Moment::Before, Moment::After] {
            let mut at = 0;
            while killed_and_lost(&world, args, at, moment) {
                at += 1;
                losses += 1;
            }
        }
    }
    println!("{losses} losses");
    assert!(losses > 40, "{losses}");
}

#[test]
fn what_was_updated_is_recovered_as_it_is_now() {
    let world = World::of(CHANGED, crate::support::world::CODE);
    fs_err::rename(world.path("provision.toml"), world.path("changed.toml")).unwrap();
    run(&world, UP, "the sample");
    fs_err::rename(world.path("changed.toml"), world.path("provision.toml")).unwrap();
    run(&world, UP, "changed");
    let before = world.portrait();
    lost_and_recovered(&world, "after an update");
    let plan = planned(&world, "after an update");
    assert_eq!(plan.len(), 2, "{plan:?}");
    run(&world, UP, "after an update");
    assert_eq!(world.portrait(), before);
    run(&world, DOWN, "after an update");
    check_nothing(&world, "after an update");
}

/// Kills `recover` at each of its requests in turn; the next one ends the same.
fn recover_killed(world: &World, every: usize) -> usize {
    run(world, UP, "before the loss");
    world.lose_state();
    run(world, RECOVER, "undisturbed");
    let names = |world: &World| -> Vec<(String, String)> {
        let text = |step: &Value, key: &str| step[key].as_str().unwrap().to_owned();
        let state = world.state();
        let steps = state.steps().iter();
        steps
            .map(|step| (text(step, "step"), text(step, "phase")))
            .collect()
    };
    let undisturbed = names(world);
    let mut kills = 0;
    for moment in [Moment::Before, Moment::After] {
        for at in (0..).step_by(every) {
            let story = format!("recover killed {moment:?} request {at}");
            world.lose_state();
            if !world.kill_at(RECOVER, at, moment, |_| true) {
                break;
            }
            kills += 1;
            // It may have been the answer to its last request.
            if !world.has_state() {
                run(world, RECOVER, &story);
            }
            assert_eq!(names(world), undisturbed, "{story}");
        }
    }
    run(world, UP, "after the last");
    check_whole(world, "after the last");
    world.down();
    kills
}

#[test]
fn a_recovery_that_is_killed_is_repeated() {
    assert!(recover_killed(&World::new(), 9) > 3);
    assert!(recover_killed(&World::in_s3(), 9) > 3);
}

#[test]
#[ignore = "a kill at every request of recover: minutes"]
fn a_recovery_that_is_killed_anywhere_is_repeated() {
    let kills = [World::new(), World::in_s3()].map(|world| recover_killed(&world, 1));
    println!("{kills:?} kills");
    assert!(kills.iter().all(|kills| *kills > 40), "{kills:?}");
}

#[test]
fn of_two_clients_of_one_name_the_right_one_is_asked_for() {
    let world = World::new();
    run(&world, UP, "before the loss");
    let state = world.state();
    let (pool, ours) = (
        state.output("user-pool", "id"),
        state.output("client:app", "client_id"),
    );
    let twin = world.emulator.cognito(
        "CreateUserPoolClient",
        &json!({"UserPoolId": pool, "ClientName": "app", "GenerateSecret": true}),
    );
    let twin = twin["UserPoolClient"]["ClientId"].as_str().unwrap();
    world.lose_state();
    let refused = world.run(RECOVER).code(2).stderr;
    for expected in ["client:app", ours, twin, "--pick STEP=ID"] {
        assert!(refused.contains(expected), "{refused}");
    }
    assert!(!world.has_state());
    world.run(&["recover", "--pick", "client:none=x"]).code(2);
    run(
        &world,
        &["recover", "--pick", &format!("client:app={ours}")],
        "picked",
    );
    assert_eq!(world.state().output("client:app", "client_id"), ours);
    world.emulator.cognito(
        "DeleteUserPoolClient",
        &json!({"UserPoolId": pool, "ClientId": twin}),
    );
    world.down();
}

#[test]
fn of_two_owners_the_right_one_is_asked_for() {
    let world = World::new();
    run(&world, UP, "before the loss");
    let owner = world.state().owner().to_owned();
    let tags = json!({"provision:stack": "user-api", "provision:owner": "0f0f0f0f"});
    let other = world.emulator.cognito(
        "CreateUserPool",
        &json!({"PoolName": "user-api", "UserPoolTags": tags}),
    );
    world.lose_state();
    let refused = world.run(RECOVER).code(2).stderr;
    for expected in [&owner, "0f0f0f0f: 1 resources, since 20", "--owner"] {
        assert!(refused.contains(expected), "{refused}");
    }
    world.run(&["recover", "--owner", "12345678"]).code(2);
    run(&world, &["recover", "--owner", &owner], "named");
    assert_eq!(world.state().owner(), owner);
    world
        .emulator
        .cognito("DeleteUserPool", &json!({"UserPoolId": other["UserPool"]["Id"]}));
    world.down();
}

#[test]
fn what_a_run_left_that_lost_its_lease_is_named_by_the_one_that_took_over() {
    let world = World::in_s3();
    // A run that stands still when all that has no unique name is on record; its lease is ended.
    let (reached, is_reached) = std::sync::mpsc::channel();
    let reached = std::sync::Mutex::new(Some(reached));
    world.proxy.rule(move |request, now| {
        let is_meant = now == Moment::After && request.operation() == "CreateUserPoolClient";
        if is_meant && let Some(reached) = reached.lock().unwrap().take() {
            reached.send(()).unwrap();
        }
        Act::Pass
    });
    let mut command = world.command(UP);
    let mut first = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    is_reached.recv_timeout(Duration::from_mins(5)).unwrap();
    signal(&first, "-STOP");
    // Not with `run`, which waits until nothing is under way: what stands still may have begun to send.
    world.run(&["state", "unlock", "--yes"]).ok();
    let tags = json!({"provision:stack": "user-api", "provision:owner": world.state().owner()});
    let late = world.emulator.cognito(
        "CreateUserPool",
        &json!({"PoolName": "user-api", "UserPoolTags": tags}),
    );
    let id = late["UserPool"]["Id"].as_str().unwrap();
    let next = world.run(UP);
    // With its own pool on record the run cannot tell that this one is not needed: it names it, and deletes nothing.
    let text = format!("{}{}", next.stdout, next.stderr);
    assert!(text.contains(id), "{}: {text}", next.code);
    first.kill().unwrap();
    first.wait().unwrap();
    world
        .emulator
        .cognito("DeleteUserPool", &json!({"UserPoolId": id}));
    run(&world, UP, "again");
    world.down();
}
