//! A state in S3 that several runs share: killed, cut off, raced for, moved, lost and recovered.
//!
//! `cargo test` takes samples; `cargo test -- --ignored` goes through every write.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::crash::{check_nothing, check_whole, run};
use crate::support::proxy::{Act, Moment, Request};
use crate::support::{Place, Run, World};

/// The address of the sample's state.
const OBJECT: &str = "/team-state/provision/user-api.json";

fn is_put(request: &Request) -> bool {
    request.method == "PUT" && request.path.starts_with(OBJECT)
}

fn is_get(request: &Request) -> bool {
    request.method == "GET" && request.path.starts_with(OBJECT)
}

#[test]
fn a_machine_with_nothing_but_the_bucket_goes_on_with_the_stack() {
    let world = World::in_s3();
    world.run(&["up"]).ok();
    let requests = world.proxy.take();
    let puts = requests.iter().filter(|request| is_put(request)).count();
    assert!(puts <= 14, "{puts} PUTs");
    assert!(!world.path("state/user-api.json").exists());
    // Another folder of another user, with the same credentials.
    let elsewhere = Place::new();
    let there = |args: &[&str]| -> Run {
        let mut command = world.command(args);
        command.current_dir(elsewhere.path());
        command.output().unwrap().into()
    };
    there(&["status"]).ok();
    let gets = world
        .proxy
        .take()
        .iter()
        .filter(|request| is_get(request))
        .count();
    assert_eq!(gets, 1, "status reads the state once");
    there(&["plan", "--check"]).ok();
    assert!(there(&["token", "app"]).ok().stdout.starts_with("ey"));
    there(&["up"]).ok();
    there(&["down", "--yes"]).ok();
    check_nothing(&world, "down from an empty folder");
}

/// Kills the run at write `at`, the state's own included, and goes on.
fn killed(world: &World, args: &[&str], at: usize, moment: Moment, next: &[&str]) -> bool {
    let story = format!("{args:?} killed {moment:?} write {at}, then {next:?}");
    if args[0] == "down" {
        run(world, &["up", "--no-verify"], &story);
    }
    let is_killed = world.kill_at(args, at, moment, Request::is_write);
    run(world, next, &story);
    if next[0] == "up" {
        check_whole(world, &story);
        run(world, &["down", "--yes"], &story);
    }
    check_nothing(world, &story);
    is_killed
}

const UP: &[&str] = &["up", "--no-verify"];
const DOWN: &[&str] = &["down", "--yes"];

#[test]
fn runs_that_are_killed_leave_nothing_behind_and_the_next_waits_for_nobody() {
    let world = World::in_s3();
    for (args, at, moment, next) in [
        (UP, 0, Moment::After, UP),
        (UP, 5, Moment::Before, DOWN),
        (UP, 12, Moment::After, UP),
        (UP, 20, Moment::After, DOWN),
        (DOWN, 3, Moment::After, DOWN),
        (DOWN, 7, Moment::Before, UP),
    ] {
        assert!(killed(&world, args, at, moment, next), "{args:?} has write {at}");
    }
}

#[test]
#[ignore = "every write of up and down, the state's included: minutes"]
fn runs_that_are_killed_at_every_write() {
    let world = World::in_s3();
    let mut kills = 0;
    for (args, moment, next) in [
        (UP, Moment::Before, UP),
        (UP, Moment::After, DOWN),
        (DOWN, Moment::Before, DOWN),
        (DOWN, Moment::After, UP),
    ] {
        let mut at = 0;
        while killed(&world, args, at, moment, next) {
            at += 1;
            kills += 1;
        }
    }
    println!("{kills} kills");
    assert!(kills > 60, "{kills}");
}

fn s3_error(status: u16, code: &str) -> Act {
    Act::Answer(
        status,
        vec![("content-type", "application/xml")],
        format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"),
    )
}

/// One fault at PUT number `at` of the state; whether there was one.
fn with_fault(world: &World, args: &[&str], at: usize, moment: Moment, fault: &Act) -> bool {
    let story = format!("{args:?} with {fault:?} {moment:?} PUT {at}");
    let puts = AtomicUsize::new(0);
    let fault = fault.clone();
    world.proxy.rule(move |request, now| {
        let is_meant = now == moment && is_put(request) && puts.fetch_add(1, Ordering::SeqCst) == at;
        if is_meant { fault.clone() } else { Act::Pass }
    });
    let ended = world.run(args);
    assert_eq!(ended.code, 0, "{story}: {}{}", ended.stdout, ended.stderr);
    let seen = world
        .proxy
        .take()
        .iter()
        .filter(|request| is_put(request))
        .count();
    world.proxy.rule(|_, _| Act::Pass);
    if args[0] == "up" {
        check_whole(world, &story);
    } else {
        check_nothing(world, &story);
    }
    seen > at
}

fn faults() -> Vec<(Moment, Act)> {
    vec![
        (Moment::Before, Act::Cut),
        (Moment::After, Act::Cut),
        (Moment::After, s3_error(500, "InternalError")),
        (Moment::Before, s3_error(503, "SlowDown")),
        (Moment::Before, s3_error(409, "ConditionalRequestConflict")),
        (Moment::Before, s3_error(412, "PreconditionFailed")),
        (Moment::After, s3_error(412, "PreconditionFailed")),
        (Moment::Before, s3_error(404, "NoSuchKey")),
    ]
}

#[test]
fn whatever_s3_answers_once_a_run_goes_on() {
    let world = World::in_s3();
    for (at, (moment, fault)) in faults().into_iter().enumerate() {
        let at = at % 5;
        assert!(with_fault(&world, UP, at, moment, &fault), "up has PUT {at}");
        world.proxy.take();
        with_fault(&world, DOWN, at, moment, &fault);
    }
}

#[test]
#[ignore = "every fault at every PUT: minutes"]
fn whatever_s3_answers_to_any_put_a_run_goes_on() {
    let world = World::in_s3();
    for (moment, fault) in faults() {
        let mut at = 0;
        loop {
            let up = with_fault(&world, UP, at, moment, &fault);
            let down = with_fault(&world, DOWN, at, moment, &fault);
            if !up && !down {
                break;
            }
            at += 1;
        }
        assert!(at > 4, "{fault:?}: {at} PUTs");
    }
}

fn start(world: &World, args: &[&str]) -> Child {
    let mut command = world.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn of_ten_runs_at_once_one_has_the_lease_and_the_others_end_with_4() {
    let world = World::in_s3();
    let runs: Vec<Child> = (0..10).map(|_| start(&world, UP)).collect();
    let ended: Vec<Run> = runs
        .into_iter()
        .map(|run| run.wait_with_output().unwrap().into())
        .collect();
    assert!(ended.iter().any(|run| run.code == 0));
    for run in &ended {
        assert!(matches!(run.code, 0 | 4), "{}: {}", run.code, run.stderr);
        if run.code == 4 {
            assert!(run.stderr.contains("locked by `up`, process"), "{}", run.stderr);
        }
    }
    check_whole(&world, "ten runs at once");
    world.down();
}

fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// A run is stopped in the middle; its lease is ended, another run makes the stack, and then the first one continues.
#[test]
fn a_run_that_stood_still_while_another_took_over_begins_nothing_more() {
    let world = World::in_s3();
    // Stopped while it waits for an answer, so that nothing is half sent.
    let (reached, is_reached) = std::sync::mpsc::channel();
    let reached = std::sync::Mutex::new(reached);
    let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
    let goes_on = std::sync::Mutex::new(goes_on);
    let calls = AtomicUsize::new(0);
    world.proxy.rule(move |request, now| {
        let is_meant = now == Moment::After
            && request.is_write()
            && !is_put(request)
            && calls.fetch_add(1, Ordering::SeqCst) == 6;
        if is_meant {
            reached.lock().unwrap().send(()).unwrap();
            goes_on.lock().unwrap().recv().unwrap();
        }
        Act::Pass
    });
    let first = start(&world, UP);
    is_reached.recv_timeout(Duration::from_mins(5)).unwrap();
    signal(&first, "-STOP");
    let refused = world.run(UP).code(4);
    assert!(
        refused.stderr.contains("locked by `up`, process"),
        "{}",
        refused.stderr
    );
    world.run(&["state", "unlock", "--yes"]).ok();
    go_on.send(()).unwrap();
    // The next run does not know that the first one's answers are there, and waits for late requests; it is not awaited here.
    let second = start(&world, &["state", "show"]).wait_with_output().unwrap();
    assert!(second.status.success());
    signal(&first, "-CONT");
    let first: Run = first.wait_with_output().unwrap().into();
    assert_eq!(first.code, 4, "{}", first.stderr);
    assert!(
        first.stderr.contains("was changed or deleted by something else"),
        "{}",
        first.stderr
    );
    assert!(first.stderr.contains("rescue"), "{}", first.stderr);
    let rescued = world.place.texts("state").into_iter().any(|(path, text)| {
        path.to_string_lossy().contains("user-api.rescue-") && text.contains("\"steps\"")
    });
    assert!(rescued, "what it made is in a file");
}

#[test]
fn a_state_moves_between_a_folder_and_s3_and_is_never_in_two_places() {
    let mut world = World::in_s3();
    let s3 = world.location;
    world.location = None;
    run(&world, UP, "into a folder");
    let owner = world.state().owner().to_owned();
    // Killed before and after each write to S3.
    for moment in [Moment::Before, Moment::After] {
        for at in 0..4 {
            world.kill_at(&["state", "move", s3.unwrap()], at, moment, is_put);
            // Whichever of the two can be used is whole.
            let here = world.run(&["status"]).code == 0;
            world.location = s3;
            let there = world.run(&["status"]).code == 0;
            world.location = None;
            assert!(!(here && there), "{moment:?} {at}: two truths");
            run(&world, &["state", "move", s3.unwrap()], "finished");
            world.location = s3;
            world.assert_settled("moved");
            run(&world, &["state", "move", "state"], "back");
            world.location = None;
            assert_eq!(world.state().owner(), owner);
        }
    }
    run(&world, &["state", "move", s3.unwrap()], "to S3");
    assert!(world.state_file().is_none());
    world.location = s3;
    assert_eq!(world.state().owner(), owner);
    world.assert_settled("in S3");
    world.down();
}

#[test]
fn a_stack_whose_state_is_lost_is_recovered_and_not_made_twice() {
    let world = World::new();
    run(&world, UP, "before the loss");
    let before = world.state();
    let lose = || fs_err::remove_file(world.state_file().unwrap()).unwrap();
    lose();
    let refused = world.run(UP).code(2);
    assert!(refused.stderr.contains("provision recover"), "{}", refused.stderr);
    world.proxy.take();
    let recovered = world.run(&["recover", "--json"]).ok().json();
    assert_eq!(world.writes(), Vec::<String>::new(), "it changes nothing");
    assert_eq!(recovered["owner"], before.owner());
    assert_eq!(recovered["absent"], serde_json::json!([]));
    assert_eq!(recovered["not_declared"], serde_json::json!([]));
    let names = |recorded: &[Value]| -> Vec<String> {
        recorded
            .iter()
            .map(|step| step["step"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(world.state().steps()), names(before.steps()));
    world.run(&["recover"]).code(2);
    // Nobody knows whether the API is what was deployed last, so it is deployed once more, and nothing else.
    let plan = world.run(&["plan", "--json"]).ok().json();
    let changed: Vec<&str> = (plan["steps"].as_array().unwrap().iter())
        .filter(|step| step["action"] != "unchanged")
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(changed, ["deployment", "stage"], "{plan}");
    run(&world, UP, "after the recovery");
    check_whole(&world, "after the recovery");
    world.assert_settled("after the recovery");
    lose();
    run(&world, &["recover"], "again");
    run(&world, DOWN, "after the second recovery");
    check_nothing(&world, "after the second recovery");
}

#[test]
fn a_stack_that_was_half_made_or_half_deleted_is_recovered_as_it_is() {
    let world = World::new();
    let lose = || {
        if let Some(file) = world.state_file() {
            fs_err::remove_file(file).unwrap();
        }
    };
    for (args, at) in [(UP, 3), (UP, 8), (UP, 14), (DOWN, 2), (DOWN, 5)] {
        let story = format!("{args:?} killed at {at}, and its state lost");
        if args[0] == "down" {
            run(&world, UP, &story);
        }
        world.kill_at(args, at, Moment::After, Request::is_write);
        lose();
        // A call that was under way at the kill may have deleted the last thing.
        if world.run(&["recover"]).code != 0 {
            world.emulator.assert_nothing(&story);
        }
        run(&world, UP, &story);
        check_whole(&world, &story);
        run(&world, DOWN, &story);
        check_nothing(&world, &story);
    }
}

#[test]
fn a_record_that_goes_with_a_runner_is_warned_of_unless_its_place_was_named() {
    let world = World::new();
    for (args, is_warned) in [
        (&["up", "--no-verify"][..], true),
        (&["up", "--state", "state"], false),
    ] {
        let run: Run = world.command(args).env("CI", "true").output().unwrap().into();
        let stderr = run.ok().stderr;
        assert_eq!(
            stderr.contains("warning: the state is kept in a folder of this machine"),
            is_warned,
            "{stderr}"
        );
    }
}
