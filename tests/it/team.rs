//! A state in S3 that several runs share: killed, cut off, raced for and moved.
//!
//! `cargo test` takes samples; `cargo test -- --ignored` goes through every write.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    println!("{} kills", killed_at_every_write(&World::in_s3()));
}

#[test]
#[ignore = "needs PROVISION_MOTO, another S3; minutes"]
fn runs_that_are_killed_at_every_write_with_another_s3() {
    println!("{} kills", killed_at_every_write(&World::in_other_s3()));
}

fn killed_at_every_write(world: &World) -> usize {
    let mut kills = 0;
    for (args, moment, next) in [
        (UP, Moment::Before, UP),
        (UP, Moment::After, DOWN),
        (DOWN, Moment::Before, DOWN),
        (DOWN, Moment::After, UP),
    ] {
        let mut at = 0;
        while killed(world, args, at, moment, next) {
            at += 1;
            kills += 1;
        }
    }
    assert!(kills > 60, "{kills}");
    kills
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
    println!("{} faults", every_fault_at_every_put(&World::in_s3()));
}

#[test]
#[ignore = "needs PROVISION_MOTO, another S3; minutes"]
fn whatever_another_s3_answers_to_any_put_a_run_goes_on() {
    println!("{} faults", every_fault_at_every_put(&World::in_other_s3()));
}

fn every_fault_at_every_put(world: &World) -> usize {
    let mut counted = 0;
    for (moment, fault) in faults() {
        let mut at = 0;
        loop {
            let up = with_fault(world, UP, at, moment, &fault);
            let down = with_fault(world, DOWN, at, moment, &fault);
            counted += usize::from(up) + usize::from(down);
            if !up && !down {
                break;
            }
            at += 1;
        }
        assert!(at > 4, "{fault:?}: {at} PUTs");
    }
    counted
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

/// Many runs at once on one stack; of each call it is known whose it is.
struct Race<'a> {
    world: &'a World,
    runs: Vec<Child>,
    seen: Arc<Mutex<Seen>>,
}

/// What came by, in the proxy's order.
#[derive(Default)]
struct Seen {
    /// The run that wrote the state last.
    writer: Option<usize>,
    /// Who was killed: its last bytes may arrive whenever.
    killed: BTreeSet<usize>,
    /// AWS calls that change something, by run.
    writes: BTreeMap<usize, usize>,
    /// Calls that change something while another run was the last to write the state.
    unfenced: Vec<String>,
}

impl<'a> Race<'a> {
    /// `at` is told before each call that changes something: whose it is, and the how manyth of that run.
    fn new(world: &'a World, at: impl Fn(usize, usize) + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = seen.clone();
        world.proxy.rule(move |request, now| {
            let Some(run) = run_of(request) else {
                return Act::Pass;
            };
            let mut seen = shared.lock().unwrap();
            if is_put(request) {
                if now == Moment::After && request.status == 200 {
                    seen.writer = Some(run);
                }
            } else if now == Moment::Before && request.is_write() {
                if seen.writer != Some(run) && !seen.killed.contains(&run) {
                    let call = format!("run {run}: {}, after {:?}", request.operation(), seen.writer);
                    seen.unfenced.push(call);
                }
                let count = seen.writes.entry(run).or_default();
                *count += 1;
                let count = *count;
                drop(seen);
                at(run, count);
            }
            Act::Pass
        });
        Self {
            world,
            runs: Vec::new(),
            seen,
        }
    }

    fn start(&mut self, args: &[&str]) {
        let run = self.runs.len();
        let mut command = self.world.command(args);
        command.env("AWS_SDK_UA_APP_ID", format!("{RUN}{run}"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.runs.push(command.spawn().unwrap());
    }

    fn kill(&mut self, run: usize) {
        self.seen.lock().unwrap().killed.insert(run);
        self.runs[run].kill().unwrap();
    }

    /// Waits for all, and says how they ended and how many of their calls changed something; a run that was killed has no
    /// code.
    fn end(self) -> (Vec<Run>, usize) {
        let ended = (self.runs.into_iter()).map(|run| run.wait_with_output().unwrap().into());
        let ended: Vec<Run> = ended.collect();
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.unfenced, Vec::<String>::new());
        (ended, seen.writes.values().sum())
    }
}

/// What the SDK puts before the run's number into the header that says who calls.
const RUN: &str = "run-";

fn run_of(request: &Request) -> Option<usize> {
    let (_, agent) =
        (request.headers.iter()).find(|(name, _)| name == "x-amz-user-agent" || name == "user-agent")?;
    let number = agent.split_once(&format!("app/{RUN}"))?.1;
    number.split(' ').next()?.parse().ok()
}

/// Numbers that look random and are the same in every run of the test.
fn numbers(seed: u64) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(seed), |last| {
        Some(
            last.wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407),
        )
    })
    .skip(1)
    .map(|number| usize::try_from(number >> 40).unwrap())
}

/// In each round runs begin at once; when one of them has made so many calls, one is killed. Then everybody tries again.
fn races(rounds: usize, at_once: usize, seed: u64) -> String {
    let world = World::in_s3();
    let mut random = numbers(seed);
    let (mut kills, mut refused, mut writes) = (0, 0, 0);
    for round in 0..rounds {
        for args in [UP, DOWN] {
            let story = format!("{at_once} runs, seed {seed}, round {round}, {args:?}");
            let (at, victim) = (random.next().unwrap() % 16 + 1, random.next().unwrap() % at_once);
            let (reached, is_reached) = std::sync::mpsc::channel();
            let mut race = Race::new(&world, move |_, count| {
                if count == at {
                    // Nobody listens any more once one has been killed.
                    reached.send(()).ok();
                }
            });
            for _ in 0..at_once {
                race.start(args);
            }
            // A `down` with nothing to delete makes no call.
            if is_reached.recv_timeout(Duration::from_secs(20)).is_ok() {
                race.kill(victim);
                kills += 1;
            }
            let (ended, wrote) = race.end();
            writes += wrote;
            for run in &ended {
                assert!(
                    matches!(run.code, 0 | 4 | -1),
                    "{story}: {}: {}",
                    run.code,
                    run.stderr
                );
            }
            refused += ended.iter().filter(|run| run.code == 4).count();
            run(&world, args, &story);
            if args[0] == "up" {
                check_whole(&world, &story);
            } else {
                check_nothing(&world, &story);
            }
        }
    }
    let counts = format!("{at_once} at once: {kills} killed, {refused} refused, {writes} writes");
    assert!(kills >= rounds && refused >= rounds, "{counts}");
    counts
}

#[test]
fn two_runs_at_once_of_which_one_is_killed_never_both_write() {
    races(2, 2, 1);
}

#[test]
#[ignore = "many races: minutes"]
fn two_runs_at_once_many_times_never_both_write() {
    println!("{}", races(25, 2, 2));
}

#[test]
#[ignore = "many races: minutes"]
fn ten_runs_at_once_many_times_never_two_write() {
    println!("{}", races(10, 10, 3));
}

/// A run stands still at its write `at` until its lease is over by S3's clock and another run has the stack; then it continues.
pub(crate) fn stopped_past_its_lease(at: usize) {
    let story = format!("stopped at write {at}");
    let world = World::in_s3();
    let (reached, is_reached) = std::sync::mpsc::channel();
    let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
    let goes_on = Mutex::new(goes_on);
    let mut race = Race::new(&world, move |run, count| {
        if (run, count) == (0, at) {
            reached.send(()).unwrap();
            goes_on.lock().unwrap().recv().unwrap();
        }
    });
    race.start(UP);
    is_reached.recv_timeout(Duration::from_mins(5)).unwrap();
    signal(&race.runs[0], "-STOP");
    go_on.send(()).unwrap();
    let mut refused = 0;
    loop {
        race.start(UP);
        let output = race.runs.pop().unwrap().wait_with_output().unwrap();
        let ended: Run = output.into();
        match ended.code {
            0 => break,
            4 => refused += 1,
            code => panic!("{story}: {code}: {}", ended.stderr),
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(refused > 10, "{story}: taken over after {refused} refusals");
    check_whole(&world, &story);
    signal(&race.runs[0], "-CONT");
    let (ended, _) = race.end();
    assert_eq!(ended[0].code, 4, "{story}: {}", ended[0].stderr);
    assert!(ended[0].stderr.contains("rescue"), "{story}: {}", ended[0].stderr);
    check_whole(&world, &story);
    world.assert_settled(&story);
    world.down();
}

pub(crate) fn signal(child: &Child, name: &str) {
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
    let reached = Mutex::new(reached);
    let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
    let goes_on = Mutex::new(goes_on);
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
