//! The sandbox itself: started once, found again, restarted on its port, stopped, and refused with a reason.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use crate::support::proxy::Proxy;
use crate::support::{self, Emulator, Place, Run, get};
use serde_json::{Value, json};

fn record(place: &Place) -> Value {
    serde_json::from_str(&fs_err::read_to_string(place.path().join("state/sandbox/server.json")).unwrap())
        .unwrap()
}

/// Whether this process runs; a zombie does not.
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
    let emulator = Emulator::new(place.emulator());
    let up = place.run_at(&emulator.endpoint, &["up", "--no-verify"]).ok();
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
    let authorization = |kind: &str| emulator.patch(&method, &[("replace", "/authorizationType", kind)]);

    authorization("NONE");
    assert_eq!(answer(), 401, "nothing was deployed");
    let name = json!({"stageName": stage["name"]});
    let deployment = emulator.write("apigateway", "POST", &format!("{api}/deployments"), &name);
    let summary = &deployment["apiSummary"]["/user"]["GET"];
    assert_eq!(summary["authorizationType"], "NONE");
    authorization("COGNITO_USER_POOLS");
    assert_eq!(answer(), 200, "the open one was deployed");

    place.run(&["sandbox", "stop"]).ok();
    place.emulator();
    assert_eq!(answer(), 200);
    let ours = stage["deployment"].as_str().unwrap();
    let stage = format!("{api}/stages/{}", stage["name"].as_str().unwrap());
    emulator.patch(&stage, &[("replace", "/deploymentId", ours)]);
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
        stderr.starts_with("error: node not found on the PATH; the sandbox needs it\nhint: install Node.js"),
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
            .env("PIP_RETRIES", "0")
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
        thread::yield_now();
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
    let endpoint = place.emulator();
    let up_and_down = [&["up", "-q"][..], &["call", "GET", "/user"], &["down", "--yes"]];
    let sandbox = up_and_down.map(|args| place.command(&[args, &["--sandbox"]].concat()));
    // As for every other endpoint on this machine.
    let loopback = up_and_down.map(|args| place.at(&endpoint, args));
    for mut command in sandbox.into_iter().chain(loopback) {
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
        Run::from(command.output().unwrap()).ok();
    }
}

/// The whole answer to this request, to which only the end of the head is added.
fn ask(endpoint: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap();
    let request = format!("{request}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn signed(key: &str, service: &str) -> String {
    let scope = format!("{key}/20260101/us-east-1/{service}/aws4_request");
    format!("authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0")
}

#[test]
fn only_requests_with_the_token_reach_the_emulators_aws() {
    let place = Place::new();
    let endpoint = place.emulator();
    let outputs = place.run(&["up", "--sandbox", "--json"]).ok();
    let outputs = outputs.events().pop().unwrap()["outputs"].take();
    let path = |url: &str| {
        outputs[url]
            .as_str()
            .unwrap()
            .strip_prefix(&endpoint)
            .unwrap()
            .to_owned()
    };
    let pool = outputs["user_pool_id"].as_str().unwrap();
    let host = format!("host: {}", endpoint.strip_prefix("http://").unwrap());
    let target = "x-amz-target: AWSCognitoIdentityProviderService.ListUserPools";
    let token = support::token(&endpoint);

    // Another user of this machine, who can also write what looks like a call that is let in.
    let pools = |path: &str, key: &str| {
        format!(
            "GET {path} HTTP/1.1\r\n{host}\r\n{target}\r\n{}",
            signed(key, "cognito-idp")
        )
    };
    let mut refused = vec![
        pools("/", "nobody"),
        pools("/", "123456789012"),
        pools("/", ""),
        pools("/x/.well-known/jwks.json", "nobody"),
        pools("/restapis/x/prod/_user_request_%0A", "nobody"),
        pools("/restapis/x/prod/_user_request_x/", "nobody"),
        pools("/restapis//prod/_user_request_/", "nobody"),
        pools("/oauth2/token", "nobody"),
    ];
    for request in [
        "GET /2015-03-31/functions",
        "POST /2015-03-31/functions/x/invocations",
        "GET /restapis",
        "GET /restapis/x/prod/_user_request_/@connections/y",
        "GET /?Action=ListRoles&Version=2010-05-08",
        "GET /_ministack/health",
        "POST /_ministack/reset",
        "POST /_ministack/config",
        "OPTIONS /",
    ] {
        refused.push(format!("{request} HTTP/1.1\r\n{host}"));
    }
    // A web page that got hold of the token is refused nevertheless.
    refused.extend([
        format!("{}\r\norigin: http://web.example", pools("/", &token)),
        format!("{}\r\norigin: {endpoint}", pools("/", &token)),
        pools("/", &token).replace(&host, "host: web.example"),
        pools("/", &token).replace(&host, "host: x.execute-api.localhost"),
        format!("GET {}/user HTTP/1.1\r\nhost: web.example", path("api_url")),
        format!("GET {}/user HTTP/1.1\r\n{host}\r\norigin: null", path("api_url")),
    ]);
    for request in refused {
        let answer = ask(&endpoint, &request);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{request}\n\n{answer}");
        assert!(
            !answer.to_lowercase().contains("access-control"),
            "{request}\n\n{answer}"
        );
    }
    let answer = ask(&endpoint, &pools("/", &token));
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains(pool),
        "{answer}"
    );
    assert!(!answer.to_lowercase().contains("access-control"), "{answer}");

    // What AWS asks for no AWS credentials; never another service, whatever the headers say.
    for (request, status, word) in [
        (format!("GET {}/user", path("api_url")), 401, "Unauthorized"),
        (
            format!("POST {}", path("token_url")),
            400,
            "unsupported_grant_type",
        ),
        (format!("GET /{pool}/.well-known/jwks.json"), 200, "RSA"),
        (
            format!("GET /{pool}/.well-known/openid-configuration"),
            200,
            "jwks_uri",
        ),
    ] {
        for disguise in [
            host.clone(),
            format!("{host}\r\n{target}\r\n{}", signed("nobody", "cognito-idp")),
        ] {
            let answer = ask(&endpoint, &format!("{request} HTTP/1.1\r\n{disguise}"));
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(word),
                "{request}\n\n{answer}"
            );
            assert!(
                !answer.to_lowercase().contains("access-control"),
                "{request}\n\n{answer}"
            );
        }
    }
    place.run(&["status", "--sandbox"]).ok();
    place.run(&["verify", "--sandbox"]).ok();

    let mode = |file: &str| {
        let metadata = fs_err::metadata(place.path().join("state/sandbox").join(file)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode("token"), mode("")), (0o600, 0o700));
}

#[test]
fn what_status_prints_lets_other_tools_in_and_says_so_to_those_without_it() {
    let place = Place::new();
    let endpoint = place.emulator();
    place.run(&["up", "--sandbox", "-q"]).ok();
    let printed = place
        .run(&["sandbox", "status", "--region", "us-east-1"])
        .ok()
        .stdout;
    let variables: Vec<(&str, &str)> = (printed.lines())
        .filter_map(|line| line.split_once('='))
        .collect();
    let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "AWS_ENDPOINT_URL",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_REGION"
        ]
    );
    assert_eq!(variables[0].1, endpoint);
    let json = place.run(&["sandbox", "status", "--json"]).ok().json();
    for (name, value) in &variables {
        assert_eq!(json["environment"][name], *value);
    }
    let status = |key: Option<&str>| {
        let mut command = place.command(&["status", "--state", "state/sandbox"]);
        command.envs(variables.iter().copied());
        if let Some(key) = key {
            command.env("AWS_ACCESS_KEY_ID", key);
        }
        Run::from(command.output().unwrap())
    };
    status(None).ok();
    let run = status(Some("nobody")).code(1);
    assert!(
        run.stderr.contains("run `provision sandbox status` to see it"),
        "{}",
        run.stderr
    );
    // Only `status` shows it.
    let start = place.run(&["sandbox", "start", "--json"]).ok();
    assert!(!start.stdout.contains(variables[1].1), "{}", start.stdout);
}

#[test]
fn a_function_may_call_the_sandbox_as_it_may_call_aws() {
    let place = Place::new();
    fs_err::create_dir(place.path().join("code")).unwrap();
    let code = r"export const handler = async () => {
        const { AWS_ENDPOINT_URL: url, AWS_ACCESS_KEY_ID: key } = process.env;
        const scope = `${key}/20260101/us-east-1/lambda/aws4_request`;
        const authorization = `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host, Signature=0`;
        const answer = await fetch(`${url}/2015-03-31/functions`, { headers: { authorization } });
        return { statusCode: answer.status, body: await answer.text() };
    };";
    fs_err::write(place.path().join("code/index.mjs"), code).unwrap();
    let configuration = r#"
[stack]
name = "calls"

[resource_servers.calls.scopes]
read = "Read"

[clients.app]
scopes = ["calls/read"]

[functions.calls]
source = "code"
runtime = "nodejs22.x"
handler = "index.handler"

[routes]
"GET /functions" = { function = "calls", scopes = ["calls/read"] }
"#;
    fs_err::write(place.path().join("provision.toml"), configuration).unwrap();
    place.run(&["up", "--sandbox", "-q"]).ok();
    let run = place.run(&["call", "GET", "/functions", "--sandbox"]).ok();
    assert_eq!(run.json()["Functions"].as_array().unwrap().len(), 1);
}

#[test]
fn an_emulator_without_a_token_is_started_again_and_keeps_its_content() {
    let place = Place::new();
    let endpoint = place.emulator();
    place.run(&["up", "--sandbox", "-q"]).ok();
    let before = record(&place)["process"].clone();
    let file = place.path().join("state/sandbox/token");
    let token = fs_err::read_to_string(&file).unwrap();
    // As an earlier version left it.
    fs_err::remove_file(&file).unwrap();
    place.run(&["sandbox", "status"]).code(3);
    place.run(&["status", "--sandbox"]).ok();
    assert_ne!(record(&place)["process"], before);
    assert_ne!(fs_err::read_to_string(&file).unwrap(), token);
    assert_eq!(place.emulator(), endpoint);
    place.run(&["down", "--sandbox", "--yes"]).ok();
    let emulator = Emulator::of_the_sandbox(endpoint);
    emulator.assert_nothing("after down");
}

/// A program in place of Python, which ends in place of the emulator once the file `taken` exists.
fn pretended_python(place: &Place, import: i32) -> PathBuf {
    let python = place.path().join("python");
    let folder = place.path().display();
    let script = format!(
        r#"#!/bin/sh
for last; do :; done
case "$*" in
*version_info*) echo 3 12 ;;
*"-m venv"*) mkdir -p "$last/bin" && cp "$0" "$last/bin/python" ;;
*"-m pip"*) ;;
*"import cryptography"*) exit {import} ;;
*)
    echo "$GATEWAY_PORT" > '{folder}/port.new' && mv '{folder}/port.new' '{folder}/port'
    until [ -e '{folder}/taken' ]; do sleep 0.1; done
    exit 1
    ;;
esac
"#
    );
    fs_err::write(&python, script).unwrap();
    fs_err::set_permissions(&python, Permissions::from_mode(0o755)).unwrap();
    python
}

#[test]
fn a_stranger_who_takes_the_port_before_the_emulator_is_told_nothing() {
    let place = Place::new();
    let mut up = place.command(&["up", "--sandbox", "-q"]);
    let mut up = up
        .env("PROVISION_PYTHON", pretended_python(&place, 0))
        .env("PROVISION_CACHE_DIR", place.path().join("cache"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let port = place.path().join("port");
    while !port.exists() {
        assert_eq!(
            up.try_wait().unwrap(),
            None,
            "it has started what it takes for the emulator"
        );
        thread::yield_now();
    }
    let port = fs_err::read_to_string(port).unwrap();
    let stranger = TcpListener::bind(format!("127.0.0.1:{}", port.trim())).unwrap();
    let (tell, heard) = channel();
    thread::spawn(move || {
        for mut client in stranger.incoming().flatten() {
            let mut request = vec![0; 16 * 1024];
            let length = client.read(&mut request).unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            drop(client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"));
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    let first = heard.recv().unwrap();
    fs_err::write(place.path().join("taken"), "").unwrap();
    let run = Run::from(up.wait_with_output().unwrap()).code(1);
    assert!(
        run.stderr.contains("the emulator ended at once"),
        "{}",
        run.stderr
    );
    let second = fs_err::read_to_string(place.path().join("port")).unwrap();
    assert_ne!(second, port, "another free port is tried");
    let token = fs_err::read_to_string(place.path().join("state/sandbox/token")).unwrap();
    for request in std::iter::once(first).chain(heard.try_iter()) {
        assert!(request.starts_with("GET /_provision/proof "), "{request}");
        assert!(!request.contains(&token), "{request}");
    }
}

#[test]
fn another_sandboxs_proof_does_not_do() {
    let place = Place::new();
    let proxy = Proxy::start(&place.emulator());
    place.run(&["sandbox", "status"]).ok();
    let mut record = record(&place);
    let port: u16 = proxy.endpoint.rsplit(':').next().unwrap().parse().unwrap();
    record["port"] = port.into();
    fs_err::write(place.path().join("state/sandbox/server.json"), record.to_string()).unwrap();
    place.run(&["sandbox", "status"]).code(3);
    assert_eq!(proxy.take().len(), 1);
}

#[test]
fn nothing_is_imported_from_the_working_folder() {
    let place = Place::new();
    let sandbox = place.path().join("state/sandbox");
    fs_err::create_dir_all(&sandbox).unwrap();
    fs_err::create_dir(place.path().join("pip")).unwrap();
    let imported = place.path().join("imported");
    let code = format!(
        "open({:?}, 'w')\nraise SystemExit('imported')",
        imported.display().to_string()
    );
    for module in ["secrets.py", "hmac.py", "hypercorn.py"] {
        fs_err::write(sandbox.join(module), &code).unwrap();
    }
    for module in ["venv.py", "sysconfig.py", "pip/__init__.py", "pip/__main__.py"] {
        fs_err::write(place.path().join(module), &code).unwrap();
    }
    place.emulator();
    let configuration = place.path().join(".config/pip/pip.conf");
    fs_err::create_dir_all(configuration.parent().unwrap()).unwrap();
    // The index that the user has chosen. Nobody serves it, so that the installation fails at once.
    let index =
        "[global]\nindex-url = http://127.0.0.1:1/\nextra-index-url = http://127.0.0.1:1/\nretries = 0\n";
    fs_err::write(configuration, index).unwrap();
    let written = place.path().join("written");
    let mut install = place.command(&["sandbox", "start", "--state", "other"]);
    let mut sources: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    sources.retain(|name| name.to_string_lossy().starts_with("PIP_"));
    for name in sources {
        install.env_remove(name);
    }
    let run = install
        .env("HOME", place.path())
        .env_remove("XDG_CONFIG_HOME")
        .env("PROVISION_CACHE_DIR", place.path().join("cache"))
        .env("PYTHONPATH", place.path())
        .env("PIP_LOG", &written)
        .env("PIP_PYTHON", "/bin/false")
        .output()
        .unwrap();
    let run = Run::from(run).code(1);
    assert!(
        run.stderr
            .contains("error: cannot install the emulator\ncaused by: "),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("No matching distribution"), "{}", run.stderr);
    assert!(!imported.exists() && !written.exists());
}

#[test]
fn an_environment_without_the_emulator_is_not_complete() {
    let place = Place::new();
    for _ in 0..2 {
        let run = place
            .command(&["sandbox", "start"])
            .env("PROVISION_PYTHON", pretended_python(&place, 1))
            .env("PROVISION_CACHE_DIR", place.path().join("cache"))
            .output()
            .unwrap();
        let run = Run::from(run).code(1);
        assert!(run.stderr.contains("installing the sandbox"), "{}", run.stderr);
        assert!(
            run.stderr
                .contains("error: cannot import the emulator that pip has installed"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn the_target_of_a_symbolic_link_keeps_its_mode() {
    let place = Place::new();
    let target = place.path().join("shared");
    fs_err::create_dir(&target).unwrap();
    fs_err::create_dir(place.path().join("state")).unwrap();
    symlink(&target, place.path().join("state/sandbox")).unwrap();
    let mode = |mode| fs_err::set_permissions(&target, Permissions::from_mode(mode)).unwrap();
    mode(0o755);
    let run = place.run(&["sandbox", "start"]).code(2);
    assert!(
        run.stderr
            .starts_with("error: cannot keep the sandbox in state/sandbox: it is a symbolic link to "),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("hint: run `chmod 700 "), "{}", run.stderr);
    assert_eq!(
        fs_err::metadata(&target).unwrap().permissions().mode() & 0o777,
        0o755
    );
    mode(0o700);
    place.emulator();
}
