//! The sandbox's own life: started once, found again, restarted where it was, stopped, and refused with a reason.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Hand, Place, get};

fn record(place: &Place) -> Value {
    serde_json::from_str(&fs_err::read_to_string(place.path().join("state/sandbox/server.json")).unwrap())
        .unwrap()
}

/// Whether this process runs; one that has ended and was not waited for does not.
fn is_running(process: &Value) -> bool {
    let ps = Command::new("ps")
        .args(["-o", "stat=", "-p", &process.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8(ps.stdout).unwrap();
    !matches!(state.trim().chars().next(), None | Some('Z'))
}

#[test]
fn it_is_started_once_keeps_its_port_and_its_content_and_is_stopped() {
    let place = Place::new();
    place.run(&["sandbox", "status"]).code(3);
    let endpoint = place.emulator();
    let process = record(&place)["process"].clone();
    assert_eq!(place.emulator(), endpoint);
    assert_eq!(
        record(&place)["process"],
        process,
        "the second start finds the first"
    );
    let status = place.run(&["sandbox", "status", "--json"]).ok().json();
    assert_eq!(status["endpoint"], endpoint.as_str());

    place.run(&["up", "--sandbox", "-q"]).ok();
    assert!(place.run(&["sandbox", "stop"]).ok().stderr.contains("is stopped"));
    assert!(
        place
            .run(&["sandbox", "stop"])
            .ok()
            .stderr
            .contains("was not running")
    );
    place.run(&["sandbox", "status"]).code(3);
    assert_eq!(place.emulator(), endpoint);
    assert_ne!(record(&place)["process"], process);
    place.run(&["status", "--sandbox"]).ok();
    place.run(&["call", "GET", "/user", "--sandbox"]).ok();

    let port: u16 = endpoint.rsplit(':').next().unwrap().parse().unwrap();
    let other = if port == u16::MAX { port - 1 } else { port + 1 };
    let run = place
        .run(&["sandbox", "start", "--port", &other.to_string()])
        .code(2);
    assert!(
        run.stderr.contains("hint: run `provision sandbox stop` first"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_stage_serves_the_snapshot_that_its_deployment_took_also_after_a_restart() {
    let place = Place::new();
    let hand = Hand {
        endpoint: place.emulator(),
        region: "eu-west-1",
    };
    let up = place.run_at(&hand.endpoint, &["up", "--no-verify"]).ok();
    let mut lines = up.stdout.lines();
    let url = lines.find_map(|line| line.strip_prefix("api_url: ")).unwrap();
    let answer = || get(&format!("{url}/user"), None).0;
    let state = fs_err::read_to_string(place.path().join("state/user-api.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    let desired = |step: &str| {
        let mut steps = state["steps"].as_array().unwrap().iter();
        steps.find(|record| record["step"] == step).unwrap()["desired"].clone()
    };
    let (route, stage) = (desired("route:GET /user"), desired("stage"));
    let api = format!("/restapis/{}", route["api"].as_str().unwrap());
    let method = format!("{api}/resources/{}/methods/GET", route["path"].as_str().unwrap());
    let authorization = |kind: &str| hand.patch(&method, &[("replace", "/authorizationType", kind)]);

    authorization("NONE");
    assert_eq!(answer(), 401, "nothing was deployed");
    let name = json!({"stageName": stage["name"]});
    let deployment = hand.write("apigateway", "POST", &format!("{api}/deployments"), &name);
    let summary = &deployment["apiSummary"]["/user"]["GET"];
    assert_eq!(summary["authorizationType"], "NONE");
    authorization("COGNITO_USER_POOLS");
    assert_eq!(answer(), 200, "the open one was deployed");

    place.run(&["sandbox", "stop"]).ok();
    place.emulator();
    assert_eq!(answer(), 200);
    let ours = stage["deployment"].as_str().unwrap();
    let stage = format!("{api}/stages/{}", stage["name"].as_str().unwrap());
    hand.patch(&stage, &[("replace", "/deploymentId", ours)]);
    assert_eq!(answer(), 401);
}

#[test]
fn two_starts_at_once_start_one() {
    let place = Place::new();
    let children: Vec<_> = (0..3)
        .map(|_| place.command(&["sandbox", "start", "-q"]))
        .collect();
    let children: Vec<_> = children
        .into_iter()
        .map(|mut command| command.stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    let outputs: Vec<_> = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    for output in &outputs {
        assert!(output.status.success());
        assert_eq!(output.stdout, outputs[0].stdout, "all say the same endpoint");
    }
}

#[test]
fn a_port_in_use_is_told() {
    let place = Place::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let run = place
        .run(&["sandbox", "start", "--port", &port.to_string()])
        .code(1);
    let words = format!("error: port {port} of 127.0.0.1 is in use by another program\nhint: ");
    assert!(run.stderr.starts_with(&words), "{}", run.stderr);
}

#[test]
fn a_missing_python_or_node_is_told_with_what_to_do() {
    let place = Place::new();
    let cache = place.path().join("cache");
    let mut start = place.command(&["sandbox", "start"]);
    let run = start
        .env("PROVISION_CACHE_DIR", &cache)
        .env("PROVISION_PYTHON", "no-such-python")
        .output()
        .unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(
        stderr.starts_with("error: cannot run no-such-python\n"),
        "{stderr}"
    );
    assert!(stderr.contains("hint: install Python 3.10 or newer"), "{stderr}");
    let run = place
        .command(&["sandbox", "start"])
        .env("PATH", place.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(
        stderr.starts_with("error: node is not on the PATH; the sandbox needs it\nhint: install Node.js"),
        "{stderr}"
    );
}

#[test]
fn an_installation_that_was_cut_off_or_fails_is_not_used() {
    let place = Place::new();
    let cache = place.path().join("cache");
    let start = || {
        place
            .command(&["sandbox", "start"])
            .env("PROVISION_CACHE_DIR", &cache)
            // An index that nobody serves, so that the installation fails at once.
            .env("PIP_INDEX_URL", "http://127.0.0.1:1/")
            .env("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:1/")
            .env("PIP_FIND_LINKS", "")
            .env("PIP_NO_CACHE_DIR", "1")
            .env("PIP_RETRIES", "0")
            .env("PIP_CONFIG_FILE", "/dev/null")
            .output()
            .unwrap()
    };
    for _ in 0..2 {
        let stderr = String::from_utf8(start().stderr).unwrap();
        assert!(
            stderr.contains("installing the sandbox"),
            "the half of the first time is not taken for whole: {stderr}"
        );
        assert!(
            stderr.contains("error: cannot install the emulator\ncaused by: "),
            "{stderr}"
        );
        assert!(
            stderr.contains("hint: pip must reach a package index"),
            "{stderr}"
        );
    }
}

#[test]
fn nothing_of_the_users_environment_reaches_the_emulator() {
    let place = Place::new();
    let modules = place.path().join("modules");
    fs_err::create_dir(&modules).unwrap();
    fs_err::write(
        modules.join("hypercorn.py"),
        "raise SystemExit('not the one of the sandbox')",
    )
    .unwrap();
    let output = place
        .command(&["sandbox", "start"])
        // It would answer in HTTPS, ask for signatures, or import another server.
        .envs([("USE_SSL", "1"), ("AUTH", "true"), ("LOG_LEVEL", "nothing")])
        .env("PYTHONPATH", &modules)
        .envs([
            ("MY_TOKEN", "a-secret-of-mine"),
            ("AWS_SECRET_ACCESS_KEY", "a-secret-of-mine"),
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let process = record(&place)["process"].to_string();
    // The functions get all that the emulator has. Only Linux lets another process look.
    if let Ok(environment) = fs_err::read(format!("/proc/{process}/environ")) {
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(environment.contains("BIND_HOST=127.0.0.1\0"), "{environment}");
        for name in ["a-secret-of-mine", "PYTHONPATH", "USE_SSL", "AUTH"] {
            assert!(!environment.contains(name), "{name} is in {environment}");
        }
    }
}

#[test]
fn an_emulator_that_a_killed_run_did_not_record_is_found() {
    let place = Place::new();
    let endpoint = place.emulator();
    let before = record(&place);
    let mut unrecorded = before.clone();
    unrecorded["process"] = Value::Null;
    let file = place.path().join("state/sandbox/server.json");
    fs_err::write(&file, unrecorded.to_string()).unwrap();
    assert_eq!(place.emulator(), endpoint);
    place.run(&["sandbox", "status"]).ok();
    assert!(place.run(&["sandbox", "stop"]).ok().stderr.contains("is stopped"));
    assert!(!is_running(&before["process"]));
}

#[test]
fn a_killed_emulator_is_started_again_where_it_was_or_says_who_is_in_the_way() {
    let place = Place::new();
    let endpoint = place.emulator();
    let process = record(&place)["process"].clone();
    let killed = Command::new("kill")
        .args(["-KILL", &process.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    while is_running(&process) {
        std::thread::yield_now();
    }
    place.run(&["sandbox", "status"]).code(3);
    assert_eq!(place.emulator(), endpoint);
    place.run(&["sandbox", "stop"]).ok();

    let address = endpoint.strip_prefix("http://").unwrap();
    let stranger = TcpListener::bind(address).unwrap();
    let run = place.run(&["sandbox", "start"]).code(1);
    let port = address.rsplit(':').next().unwrap();
    assert!(
        run.stderr.starts_with(&format!(
            "error: port {port} of 127.0.0.1 is in use by another program\n"
        )),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("hint: stop that program"), "{}", run.stderr);
    assert!(
        run.stderr.contains("provision sandbox start --port PORT"),
        "{}",
        run.stderr
    );
    drop(stranger);
    assert_eq!(place.emulator(), endpoint);
}

#[test]
fn a_process_that_is_not_the_emulator_is_left_alone() {
    let place = Place::new();
    let folder = place.path().join("state/sandbox");
    fs_err::create_dir_all(&folder).unwrap();
    let folder = fs_err::canonicalize(folder).unwrap();
    // What a recorded number may have become: another program, or the emulator of a folder below this one.
    for argument in ["no-emulator".into(), folder.join("other")] {
        let mut stranger = Command::new("sh")
            .args(["-c", "read -r line # ministack.app", "sh"])
            .arg(argument)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let record = json!({"port": 1, "process": stranger.id()});
        fs_err::write(folder.join("server.json"), record.to_string()).unwrap();
        let run = place.run(&["sandbox", "stop"]).ok();
        assert!(run.stderr.contains("was not running"), "{}", run.stderr);
        assert_eq!(stranger.try_wait().unwrap(), None, "it still runs");
        drop(stranger.stdin.take());
        stranger.wait().unwrap();
    }
}

#[test]
fn a_node_that_does_not_run_is_told() {
    let place = Place::new();
    let shim = place.path().join("node");
    fs_err::write(
        &shim,
        "#!/bin/sh\necho 'no version of node is set' >&2\nexit 126\n",
    )
    .unwrap();
    fs_err::set_permissions(&shim, Permissions::from_mode(0o755)).unwrap();
    let run = place
        .command(&["sandbox", "start"])
        .env("PATH", place.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(stderr.contains("no version of node is set"), "{stderr}");
    assert!(stderr.contains("hint: install Node.js"), "{stderr}");
    assert_eq!(run.status.code(), Some(1));
}

#[test]
fn a_proxy_for_the_world_outside_is_not_asked_for_the_sandbox() {
    let place = Place::new();
    for args in [
        &["up", "--sandbox", "-q"][..],
        &["call", "GET", "/user", "--sandbox"],
        &["down", "--sandbox", "--yes"],
    ] {
        let mut command = place.command(args);
        for name in [
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
        ] {
            // Nobody listens there.
            command.env(name, "http://127.0.0.1:1");
        }
        support::Run::from(command.output().unwrap()).ok();
    }
}
