//! What the binary prints and its exit codes: help, refused input, resources of others in the way.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::proxy::{Act, Moment};
use crate::support::{self, Place, Run, World};
use serde_json::{Value, json};

/// No server listens here: a call to it is a call too early.
const NOWHERE: &str = "http://127.0.0.1:1";

fn state(endpoint: &str) -> Value {
    json!({
        "format": 1, "stack": "user-api", "account": "000000000000", "region": "eu-west-1", "partition": "aws",
        "endpoint": endpoint, "owner": "1a2b3c4d", "serial": 1, "steps": [],
    })
}

fn write_state(place: &Place, text: &str) {
    fs_err::create_dir_all(place.path().join("state")).unwrap();
    fs_err::write(place.path().join("state/user-api.json"), text).unwrap();
}

fn read_state(place: &Place) -> String {
    fs_err::read_to_string(place.path().join("state/user-api.json")).unwrap()
}

/// For snapshots.
fn said(run: &Run) -> String {
    run.stderr.clone()
}

#[test]
fn help_says_what_there_is() {
    let place = Place::new();
    insta::assert_snapshot!("help", place.run(&["--help"]).ok().stdout);
    insta::assert_snapshot!("help_call", place.run(&["call", "--help"]).ok().stdout);
    assert_eq!(
        place.run(&["-V"]).ok().stdout,
        concat!("provision ", env!("CARGO_PKG_VERSION"), "\n")
    );
    // A test's binary is not a release, so it does not know its commit.
    let build = format!(
        "provision {}\ncommit: unknown\nbuild: debug, {} {}",
        env!("CARGO_PKG_VERSION"),
        env::consts::ARCH,
        env::consts::OS
    );
    for long in [&["--version", "-v"][..], &["-v", "--version"], &["--version"]] {
        let stdout = place.run(long).ok().stdout;
        assert!(
            stdout.starts_with(&build) && stdout.contains("\nstate format: "),
            "{stdout}"
        );
    }
    place.run(&["frobnicate"]).code(2);
    place.run(&["up", "--sandbox", "--endpoint-url", NOWHERE]).code(2);
    assert!(
        !place.path().join("state").exists(),
        "nothing of this writes anything"
    );
}

#[test]
fn a_name_that_aws_would_refuse_is_refused_before_any_call() {
    let place = Place::new();
    for (name, words) in [
        ("User", "2 to 30 lower-case letters"),
        ("u", "2 to 30 lower-case letters"),
        ("my-cognito-api", "must not contain \"cognito\""),
        ("a-name-of-more-than-thirty-characters", "2 to 30"),
        ("../user-api", "2 to 30"),
    ] {
        for command in ["up", "status", "down", "token", "logs"] {
            // Such a stack may be on record, under a domain prefix of its own.
            if name == "my-cognito-api" && !["up", "status"].contains(&command) {
                continue;
            }
            let run = place.run_at(NOWHERE, &[command, "--stack", name]).code(2);
            assert!(
                run.stderr.starts_with("error: stack") && run.stderr.contains(words),
                "{}",
                run.stderr
            );
        }
    }
    assert!(!place.path().join("state").exists());
}

#[test]
fn a_timeline_is_not_written_over_a_file_that_is_not_an_svg_and_that_is_said_first() {
    let place = Place::new();
    let notes = place.path().join("notes.txt");
    fs_err::write(&notes, "mine").unwrap();
    let run = place.run_at(NOWHERE, &["up", "--timeline", "notes.txt"]).code(2);
    assert!(
        run.stderr
            .contains("notes.txt exists and is not an SVG; not overwritten"),
        "{}",
        run.stderr
    );
    assert_eq!(fs_err::read_to_string(&notes).unwrap(), "mine");
    let run = place.run_at(NOWHERE, &["up", "--timeline", "no/up.svg"]).code(2);
    assert!(
        run.stderr.contains("folder no of the timeline not found"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_failed_run_has_its_timeline_too_and_it_may_be_replaced() {
    let world = World::new();
    let proxy = &world.proxy;
    proxy.rule(|request, moment| {
        if moment == Moment::Before && request.operation() == "CreateUserPool" {
            let error = r#"{"__type":"InvalidParameterException","message":"no"}"#;
            return Act::Answer(400, vec![], error.to_owned());
        }
        Act::Pass
    });
    let up = || world.run(&["up", "--timeline", "up.svg"]);
    let picture = || fs_err::read_to_string(world.path("up.svg")).unwrap();
    up().code(1);
    assert!(picture().contains("1 failed"), "{}", picture());
    proxy.rule(|_, _| Act::Pass);
    up().ok();
    assert!(!picture().contains("1 failed"), "{}", picture());
    assert!(picture().contains("<title>user-pool: "), "{}", picture());
}

#[test]
fn without_region_or_credentials_nothing_is_written() {
    let place = Place::new();
    let run = place.run(&["up"]).code(2);
    insta::assert_snapshot!("no_region", said(&run));
    let run = place.run(&["up", "--region", "eu-west-1"]).code(1);
    assert!(
        run.stderr
            .starts_with("error: cannot find out whose credentials these are\n"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("hint: sign in (`aws sso login`)"),
        "{}",
        run.stderr
    );
    assert!(!place.path().join("state").exists());
}

#[test]
fn without_a_state_there_is_nothing_to_show_call_or_delete() {
    let place = Place::new();
    for args in [&["status"][..], &["token"], &["call", "GET", "/user"], &["logs"]] {
        let run = place.run_at(NOWHERE, args).code(2);
        assert_eq!(
            run.stderr,
            "error: stack user-api has no state\nhint: run `provision up` first\n\
             hint: or name where its state is with --state\n"
        );
    }
    let run = place.run_at(NOWHERE, &["down"]).ok();
    assert_eq!(run.stderr, "stack user-api has no state; nothing to delete\n");
    let run = place.run_at(NOWHERE, &["down", "--yes", "--json"]).ok();
    assert_eq!(run.events().last().unwrap()["result"], "done");
}

#[test]
fn a_state_that_cannot_be_used_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let whole = serde_json::to_string_pretty(&state(NOWHERE)).unwrap();
    let mut newer = state(NOWHERE);
    let known = provision::state::FORMAT;
    newer["format"] = json!(known + 1);
    newer["anything"] = json!("else");
    let mut half = state(NOWHERE);
    half["steps"] = json!([{"step": "user-pool", "phase": "sleeping"}]);
    for (text, words) in [
        (&whole[..whole.len() / 2], "does not parse at line 6"),
        ("", "does not parse at line 1"),
        ("[]", "does not parse"),
        (
            &newer.to_string(),
            &*format!(
                "has format {}; this version of provision reads up to {known}",
                known + 1
            ),
        ),
        (&half.to_string(), "does not parse"),
    ] {
        write_state(&place, text);
        for args in [&["up"][..], &["status"], &["token"], &["down", "--yes"]] {
            let run = place.run_at(NOWHERE, args).code(2);
            assert!(run.stderr.contains(words), "{words:?} is not in {}", run.stderr);
            assert!(run.stderr.contains("state/user-api.json"), "{}", run.stderr);
            assert_eq!(read_state(&place), text);
        }
    }
}

#[test]
fn a_record_that_was_edited_by_hand_is_refused_before_anything_is_asked_to_change() {
    let world = World::new();
    let pool = json!({"name": "user-api", "admin_create_user_only": true, "issuer": "ORIGINAL", "tags": {}});
    for (kind, desired, words) in [
        ("teapot", pool.clone(), "no kind of resource is called teapot"),
        (
            "user-pool",
            json!({"name": 1}),
            "the recorded user-pool is of another shape",
        ),
    ] {
        let mut edited = state(&world.proxy.endpoint);
        edited["steps"] = json!([{
            "step": "user-pool", "phase": "ready", "kind": kind, "needs": [], "desired": desired,
            "output": {"id": "eu-west-1_a", "arn": "a"},
        }]);
        let text = edited.to_string();
        write_state(&world.place, &text);
        for args in [&["up"][..], &["down", "--yes"]] {
            let run = world.run(args).code(2);
            assert!(
                run.stderr
                    .starts_with("error: the record of step user-pool cannot be used"),
                "{}",
                run.stderr
            );
            assert!(run.stderr.contains(words), "{}", run.stderr);
            assert_eq!(read_state(&world.place), text);
        }
    }
}

#[test]
fn a_state_of_another_place_is_refused() {
    let world = World::new();
    for (field, value) in [
        ("account", json!("123456789012")),
        ("region", json!("us-west-2")),
        ("endpoint", Value::Null),
    ] {
        let mut elsewhere = state(&world.proxy.endpoint);
        elsewhere[field] = value;
        let text = elsewhere.to_string();
        write_state(&world.place, &text);
        // Without --region `down` goes where the record says.
        for args in [
            &["up"][..],
            &["status"],
            &["down", "--yes", "--region", "eu-west-1"],
        ] {
            let run = world.run(args).code(2);
            let words = format!("error: stack user-api is on record in {field} ");
            assert!(run.stderr.starts_with(&words), "{}", run.stderr);
            assert!(
                run.stderr
                    .contains("hint: or give this stack another name with --stack")
            );
            assert_eq!(read_state(&world.place), text);
        }
    }
}

#[test]
fn what_the_stack_does_not_have_is_refused_with_what_it_has() {
    let world = World::new();
    world.run(&["up", "-q"]).ok();
    for (args, words) in [
        (
            &["token", "billing"][..],
            "error: client billing not found\nhint: available clients: app\n",
        ),
        (
            &["call", "GET", "/user", "--client", "billing"],
            "error: client billing not found\nhint: available clients: app\n",
        ),
        (
            &["logs", "orders"],
            "error: function orders not found\nhint: available functions: user\n",
        ),
        (
            &["logs", "--since", "soon"],
            "error: invalid value 'soon' for '--since <TIME>': expected a duration such as 30s, 10m, 2h or 1d\n",
        ),
        (
            &["call", "GET", "user"],
            "error: invalid value 'user' for '<PATH>': expected a path that begins with `/`, such as /user\n",
        ),
        (
            &["call", "GET", "/user", "-d", "@nothing"],
            "error: failed to open file `nothing`",
        ),
        (
            &["call", "GET", "/user", "-H", "nothing"],
            "error: invalid value for '--header <NAME: VALUE>': it has no colon; expected `Name: value`\n",
        ),
        (
            &["call", "G T", "/user"],
            "error: invalid value 'G T' for '<METHOD>': expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\n",
        ),
    ] {
        let run = world.run(args).code(2);
        assert!(run.stderr.starts_with(words), "{words:?} is not {:?}", run.stderr);
    }
    let run = world.run(&["token", "--scope", "a/b"]).code(1);
    assert!(run.stderr.contains("invalid_scope"), "{}", run.stderr);
    assert_eq!(run.stdout, "");
    let run = world.run(&["up", "-q"]).ok();
    assert_eq!(run.stderr, "", "-q says nothing");
    let run = world.run(&["up", "--json"]).ok();
    assert_eq!(run.events().last().unwrap()["outputs"]["region"], "eu-west-1");
    assert!(run.events().iter().all(|event| event["outcome"] != "created"));
}

#[cfg(unix)]
#[test]
fn the_state_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.run(&["up", "-q"]).ok();
    let mode = fs_err::metadata(world.path("state/user-api.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let lock = fs_err::metadata(world.path("state/user-api.lock")).unwrap();
    assert_eq!(lock.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_pipe_or_a_link_where_a_file_belongs_is_refused_at_once() {
    let place = Place::new();
    let path = |name: &str| place.path().join(name);
    fs_err::create_dir(path("state")).unwrap();
    let pipe = |name: &str| {
        let made = Command::new("mkfifo").arg(path(name)).status();
        assert!(made.unwrap().success());
    };
    pipe("piped.toml");
    pipe("state/piped.json");
    pipe("run.svg");
    let text = state("http://127.0.0.1:1").to_string();
    fs_err::write(path("elsewhere"), &text).unwrap();
    std::os::unix::fs::symlink("../elsewhere", path("state/linked.json")).unwrap();
    std::os::unix::fs::symlink("elsewhere", path("linked.svg")).unwrap();
    for (args, words) in [
        (
            &["plan", "--config", "piped.toml"][..],
            "error: the configuration cannot be read\ncaused by: piped.toml is a pipe, a socket or a device; \
             expected a regular file\n",
        ),
        (
            &["status", "--stack", "piped"],
            "error: the state file cannot be used\ncaused by: state/piped.json is a pipe, a socket or a device; \
             expected a regular file\n",
        ),
        (
            &["down", "--yes", "--stack", "linked"],
            "error: the state file cannot be used\ncaused by: state/linked.json is a symbolic link; expected a \
             regular file\n",
        ),
        (
            &["up", "--timeline", "run.svg"],
            "error: the timeline cannot be written\ncaused by: run.svg is a pipe, a socket or a device; expected a \
             regular file\n",
        ),
        (
            &["up", "--timeline", "linked.svg"],
            "error: the timeline cannot be written\ncaused by: linked.svg is a symbolic link; expected a regular file\n",
        ),
    ] {
        let run = place.run_at("http://127.0.0.1:1", args).code(2);
        assert!(run.stderr.starts_with(words), "{args:?}: {}", run.stderr);
    }
    assert_eq!(fs_err::read_to_string(path("elsewhere")).unwrap(), text);
}

#[test]
fn code_in_the_folder_of_everything_is_packed_without_what_is_not_code() {
    const CODE: &[u8] = b"export const handler = async () => ({ statusCode: 200 });";
    // It keeps its clients' secrets in state/sandbox.
    let world = World::new();
    let config = r#"
[stack]
name = "user-api"
[resource_servers.users.scopes]
read = "Read users"
[clients.app]
scopes = ["users/read"]
[functions.user]
source = "."
runtime = "nodejs22.x"
handler = "index.handler"
[routes]
"GET /user" = { function = "user", scopes = ["users/read"] }
"#;
    for (name, text) in [
        ("provision.toml", config.as_bytes()),
        ("index.mjs", CODE),
        (".env", b"KEY=value"),
        ("app.secret", b"secret"),
        (".provisionignore", b"*.svg\n"),
    ] {
        fs_err::write(world.path(name), text).unwrap();
    }
    let up = world.run(&["up", "--timeline", "run.svg"]).ok();
    let left_out =
        "function user: not in its zip: .env, .provisionignore, app.secret, provision.toml, state/\n";
    assert_eq!(up.stderr.matches(left_out).count(), 1, "{}", up.stderr);
    let emulator = &world.emulator;
    let functions = emulator.get("lambda", "/2015-03-31/functions");
    let expected = provision::package::Package::from_files(&[("index.mjs", CODE)]).unwrap();
    assert_eq!(functions["Functions"][0]["CodeSha256"], expected.sha256);
    // Neither what the run recorded nor its picture is a change of the code.
    let check = world.run(&["plan", "--check"]).ok();
    let left_out = "provision.toml, run.svg and 1 more\n";
    assert!(check.stderr.contains(left_out), "{}", check.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_crash_leaves_no_core_dump_with_the_secrets() {
    use std::os::unix::process::ExitStatusExt;
    let place = Place::new();
    // It answers nothing, so the run waits for it.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let up = place.at(&endpoint, &["up"]);
    let mut child = support::after("ulimit -S -c \"$(ulimit -H -c)\"", &up)
        .spawn()
        .unwrap();
    let _connection = silent.accept().unwrap();
    let limits = fs_err::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    assert_eq!(core.unwrap().split_whitespace().nth(4), Some("0"), "{core:?}");
    let abort = ["-ABRT".to_owned(), child.id().to_string()];
    assert!(Command::new("kill").args(abort).status().unwrap().success());
    assert!(!child.wait().unwrap().core_dumped());
}

#[test]
fn the_second_run_at_once_ends_with_4_and_says_who_is_in_the_way() {
    let world = World::new();
    fs_err::create_dir_all(world.path("state")).unwrap();
    let lock = fs_err::File::create(world.path("state/user-api.lock")).unwrap();
    lock.file().lock().unwrap();
    let holder = json!({"command": "up", "host": "there", "process": 42, "since": "2026-11-23T00:00:00Z"});
    fs_err::write(lock.path(), holder.to_string()).unwrap();
    write_state(&world.place, &state(&world.proxy.endpoint).to_string());
    for args in [&["up"][..], &["down", "--yes"]] {
        let run = world.run(args).code(4);
        let words = "error: the state is locked by `up`, process 42 on there, since 2026-11-23T00:00:00Z (state/user-api.lock)\n";
        assert!(run.stderr.starts_with(words), "{}", run.stderr);
    }
    // Reading needs no lock.
    world.run(&["status"]).code(3);
    drop(lock);
    world.run(&["up", "-q"]).ok();
}

#[test]
fn what_is_a_strangers_is_named_and_left_as_it_is() {
    let world = World::new();
    write_state(&world.place, &state(&world.proxy.endpoint).to_string());
    let emulator = &world.emulator;
    // Under the names that this owner's stack will want: a role without tags, and the prefix for another pool.
    emulator.iam("Action=CreateRole&RoleName=user-api_1a2b3c4d_user&AssumeRolePolicyDocument=%7B%7D");
    let pool = emulator.cognito("CreateUserPool", &json!({"PoolName": "user-api"}));
    let pool = pool["UserPool"]["Id"].as_str().unwrap();
    emulator.cognito(
        "CreateUserPoolDomain",
        &json!({"UserPoolId": pool, "Domain": "user-api-1a2b3c4d"}),
    );

    let up = world.run(&["up", "--json"]).code(1);
    let failed: Vec<Value> = up
        .events()
        .into_iter()
        .filter(|event| event["event"] == "step_failed")
        .collect();
    let errors: Vec<String> = failed.iter().map(|event| event["error"].to_string()).collect();
    assert_eq!(failed.len(), 2, "{errors:?}");
    assert!(
        errors
            .iter()
            .any(|error| error.contains("IAM role user-api_1a2b3c4d_user exists")),
        "{errors:?}"
    );
    assert!(
        errors
            .iter()
            .any(|error| error.contains("the domain prefix user-api-1a2b3c4d")),
        "{errors:?}"
    );
    assert!(
        up.stderr
            .contains("held back: role-policy:user, function:user, permission:user"),
        "{}",
        up.stderr
    );
    assert!(
        up.stderr.contains("hint: run `provision up` again"),
        "{}",
        up.stderr
    );
    assert_eq!(up.events().last().unwrap()["result"], "failed");

    world.run(&["down", "--yes"]).ok();
    let left = emulator.cognito("DescribeUserPoolDomain", &json!({"Domain": "user-api-1a2b3c4d"}));
    assert_eq!(
        left["DomainDescription"]["UserPoolId"], pool,
        "the stranger's domain is still there"
    );
    let roles = emulator.iam("Action=ListRoles");
    assert!(
        roles.contains("user-api_1a2b3c4d_user"),
        "the stranger's role is still there"
    );
    let pools = emulator.cognito("ListUserPools", &json!({"MaxResults": 60}));
    assert_eq!(
        pools["UserPools"].as_array().unwrap().len(),
        1,
        "ours is gone, the stranger's is not"
    );
}

fn states(status: &Value) -> Vec<(String, String)> {
    let lines = status["resources"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines
        .map(|line| (text(&line["step"]), text(&line["state"])))
        .collect()
}

#[test]
fn what_lost_our_owner_since_it_was_made_is_never_changed_or_deleted() {
    let world = World::new();
    world.run(&["up", "-q"]).ok();
    let emulator = &world.emulator;
    let function = world.state().step("function:user").clone();
    let name = function["desired"]["name"].as_str().unwrap();
    let group = format!("arn:aws:logs:eu-west-1:000000000000:log-group:/aws/lambda/{name}");
    let tag = |owner: &str| {
        let tags = format!("Tags.member.1.Key=provision%3Aowner&Tags.member.1.Value={owner}");
        emulator.iam(&format!("Action=TagRole&RoleName={name}&{tags}"));
        let tags = json!({ "provision:owner": owner });
        let path = format!("/2017-03-31/tags/{}", function["output"]["arn"].as_str().unwrap());
        emulator.write("lambda", "POST", &path, &json!({ "Tags": tags }));
        emulator.json(
            "Logs_20140328.TagResource",
            &json!({"resourceArn": group, "tags": tags}),
        );
    };
    tag("ffffffff");
    let path = format!("/2015-03-31/functions/{name}");
    emulator.write(
        "lambda",
        "PUT",
        &format!("{path}/configuration"),
        &json!({"MemorySize": 256}),
    );

    let status = world.run(&["status", "--json"]).code(3).json();
    let theirs: Vec<_> = states(&status)
        .into_iter()
        .filter(|(_, state)| state == "not_ours")
        .collect();
    let steps: Vec<&str> = theirs.iter().map(|(step, _)| step.as_str()).collect();
    assert_eq!(
        steps,
        [
            "role:user",
            "role-policy:user",
            "function:user",
            "permission:user"
        ]
    );
    for args in [&["plan"][..], &["up"]] {
        let refused = world.run(args).code(2);
        for named in [
            format!("IAM role {name} exists"),
            format!("Lambda function {name} exists"),
        ] {
            assert!(refused.stderr.contains(&named), "{}", refused.stderr);
        }
        assert!(
            refused.stderr.contains("hint: if it is this stack's"),
            "{}",
            refused.stderr
        );
    }

    let down = world.run(&["down", "--yes"]).code(1);
    for named in [
        format!("IAM role {name} exists"),
        format!("Lambda function {name} exists"),
        format!("log group /aws/lambda/{name} exists"),
    ] {
        assert!(down.stderr.contains(&named), "{}", down.stderr);
    }
    assert!(
        down.stderr.contains("hint: otherwise delete state/user-api.json"),
        "{}",
        down.stderr
    );
    assert!(
        !down.stderr.contains("goes on where this run stopped"),
        "{}",
        down.stderr
    );
    let live = emulator.get("lambda", &path);
    assert_eq!(live["Configuration"]["MemorySize"], 256, "nobody changed it back");
    let policy = emulator.iam(&format!("Action=GetRolePolicy&RoleName={name}&PolicyName=logs"));
    assert!(policy.contains("<PolicyDocument>"), "{policy}");
    let groups = emulator.json("Logs_20140328.DescribeLogGroups", &json!({}));
    assert_eq!(groups["logGroups"].as_array().unwrap().len(), 1, "{groups}");
    let pools = emulator.cognito("ListUserPools", &json!({"MaxResults": 60}));
    assert_eq!(pools["UserPools"], json!([]), "ours is gone");
    assert_eq!(
        emulator.get("apigateway", "/restapis")["item"],
        json!([]),
        "ours is gone"
    );

    // The tags had only been lost.
    let state: Value = serde_json::from_str(&read_state(&world.place)).unwrap();
    tag(state["owner"].as_str().unwrap());
    world.down();
}

#[test]
fn a_pool_that_was_edited_into_the_state_keeps_its_users() {
    let world = World::new();
    world.run(&["up", "-q"]).ok();
    let emulator = &world.emulator;
    let theirs = emulator.cognito("CreateUserPool", &json!({"PoolName": "theirs"}));
    let theirs = theirs["UserPool"]["Id"].as_str().unwrap();
    let ours = world.state().step("user-pool").clone();
    let ours = ours["output"]["id"].as_str().unwrap();
    let whole = read_state(&world.place);
    write_state(&world.place, &whole.replace(ours, theirs));

    let down = world.run(&["down", "--yes"]).code(1);
    assert!(
        down.stderr.contains(&format!("user pool {theirs} exists")),
        "{}",
        down.stderr
    );
    emulator.cognito("DescribeUserPool", &json!({"UserPoolId": theirs}));
    write_state(&world.place, &whole);
    world.run(&["down", "--yes"]).ok();
    let pools = emulator.cognito("ListUserPools", &json!({"MaxResults": 60}));
    assert_eq!(
        pools["UserPools"].as_array().unwrap().len(),
        1,
        "theirs alone is left"
    );
}

#[test]
fn an_older_copy_of_the_state_creates_nothing_twice() {
    let world = World::new();
    world.run(&["up", "-q"]).ok();
    let emulator = &world.emulator;
    let whole: Value = serde_json::from_str(&read_state(&world.place)).unwrap();
    for known in [0, 3, 8] {
        let mut older = whole.clone();
        older["steps"].as_array_mut().unwrap().truncate(known);
        write_state(&world.place, &older.to_string());
        world.run(&["up", "-q"]).ok();
        emulator.assert_whole(&format!("after an up that knew {known} steps"));
        let now: Value = serde_json::from_str(&read_state(&world.place)).unwrap();
        // Another deployment may have taken the place of the first: what that one holds is not on record.
        for step in ["user-pool", "client:app", "rest-api", "authorizer"] {
            let id = |state: &Value| {
                let steps = state["steps"].as_array().unwrap();
                steps.iter().find(|record| record["step"] == step).unwrap()["output"].clone()
            };
            assert_eq!(id(&now), id(&whole), "{step}");
        }
    }
    world.down();
}

#[test]
fn a_function_renamed_in_case_alone_is_refused_before_any_change() {
    let world = World::new();
    let file = |name: &str| {
        let text = format!(
            "[stack]\nname = \"user-api\"\n[resource_servers.api.scopes]\nread = \"read\"\n[functions.{name}]\nsource = \"code\"\nruntime = \"nodejs22.x\"\n\
             handler = \"index.handler\"\n[routes]\n\"GET /user\" = {{ function = \"{name}\", scopes = [\"api/read\"] }}\n"
        );
        fs_err::write(world.path("provision.toml"), text).unwrap();
    };
    fs_err::create_dir_all(world.path("code")).unwrap();
    fs_err::write(
        world.path("code/index.mjs"),
        "export const handler = async () => ({statusCode: 200})",
    )
    .unwrap();
    file("stock");
    world.run(&["up", "-q", "--no-verify"]).ok();
    let before = read_state(&world.place);
    file("STOCK");
    for args in [&["plan"][..], &["up", "--yes"]] {
        let refused = world.run(args).code(2);
        assert!(
            refused
                .stderr
                .contains("role:STOCK: its name differs from the name of role:stock"),
            "{}",
            refused.stderr
        );
        assert!(
            refused.stderr.contains("hint: take role:stock out"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(read_state(&world.place), before, "nothing was begun");
    world.run(&["down", "--yes"]).ok();
}

#[test]
fn what_others_put_in_the_way_of_a_deletion_is_named_at_once_with_the_command_that_resolves_it() {
    let world = World::new();
    world.run(&["up", "-q"]).ok();
    let emulator = &world.emulator;
    let role = world.state().step("role:user").clone();
    let role = role["desired"]["name"].as_str().unwrap();
    let arn = "arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FAdministratorAccess";
    emulator.iam(&format!(
        "Action=AttachRolePolicy&RoleName={role}&PolicyArn={arn}"
    ));
    let began = std::time::Instant::now();
    let down = world.run(&["down", "--yes"]).code(1);
    assert!(
        began.elapsed() < Duration::from_mins(1),
        "it does not wait for what does not go by itself"
    );
    let command = format!(
        "aws iam detach-role-policy --role-name {role} --policy-arn arn:aws:iam::aws:policy/AdministratorAccess"
    );
    let hint = format!("hint: if it may go, run `{command}`, then `provision down --yes` again");
    assert!(down.stderr.contains(&hint), "{}", down.stderr);
    assert!(
        !down.stderr.contains("goes on where this run stopped"),
        "{}",
        down.stderr
    );
    assert_eq!(
        emulator.get("apigateway", "/restapis")["item"],
        json!([]),
        "all the rest is gone"
    );
    emulator.iam(&format!(
        "Action=DetachRolePolicy&RoleName={role}&PolicyArn={arn}"
    ));
    world.down();
}

#[test]
fn status_shows_what_is_missing_and_up_creates_it_again() {
    let world = World::new();
    world.run(&["up", "-q"]).ok();
    let status = world.run(&["status", "--json"]).ok().json();
    let pool = &status["outputs"]["user_pool_id"];
    let client = &status["outputs"]["clients"]["app"]["client_id"];
    let emulator = &world.emulator;
    emulator.cognito(
        "DeleteUserPoolClient",
        &json!({"UserPoolId": pool, "ClientId": client}),
    );

    let run = world.run(&["status"]).code(3);
    assert!(
        run.stdout
            .lines()
            .any(|line| line.starts_with("client:app") && line.ends_with("missing")),
        "{}",
        run.stdout
    );
    let run = world.run(&["up"]).ok();
    assert!(run.stderr.contains("created   client:app"), "{}", run.stderr);
    assert!(
        run.stderr.contains("done: 1 changed, 14 unchanged"),
        "{}",
        run.stderr
    );
    world.run(&["status"]).ok();
    world.run(&["call", "GET", "/user"]).ok();
}

#[test]
fn a_partition_whose_token_host_is_not_known_is_refused() {
    let world = World::new();
    let proxy = &world.proxy;
    proxy.rule(|_, now| {
        let body = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
                    <Arn>arn:aws-cn:iam::123456789012:user/u</Arn><UserId>U</UserId><Account>123456789012</Account>\
                    </GetCallerIdentityResult></GetCallerIdentityResponse>";
        if now == Moment::Before {
            Act::Answer(200, vec![("content-type", "text/xml")], body.to_owned())
        } else {
            Act::Pass
        }
    });
    let run = world.run(&["up"]).code(2);
    assert!(
        run.stderr
            .starts_with("error: the host name of Cognito's token endpoint in partition aws-cn"),
        "{}",
        run.stderr
    );
    assert_eq!(proxy.take().len(), 1, "nothing else was asked");
    assert!(!world.path("state/user-api.json").exists());
}

#[test]
fn a_region_whose_token_host_is_not_known_is_refused_before_any_call() {
    let world = World::new();
    let proxy = &world.proxy;
    for region in ["cn-north-1", "eusc-de-east-1"] {
        let run = world.run(&["up", "--region", region]).code(2);
        let error = format!(
            "error: the host name of Cognito's token endpoint in region {region} is not known to this program\n\
             hint: use a region of the aws partition or of GovCloud\n"
        );
        assert_eq!(run.stderr, error);
    }
    assert_eq!(proxy.take().len(), 0, "nothing was asked");
}

#[test]
fn logs_are_followed_until_ctrl_c() {
    let world = World::new();
    world.run(&["up", "-q"]).ok();
    world.run(&["call", "GET", "/user"]).ok();
    let mut follow = world
        .command(&["logs", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let id = follow.id().to_string();
    let mut lines = BufReader::new(follow.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    // So that an event which never comes fails the test instead of stopping it for ever.
    let guard = Guard(follow);
    let (over, watched) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if watched.recv_timeout(Duration::from_mins(2)).is_ok() {
            Some(guard)
        } else {
            None
        }
    });
    let mut calls = Vec::new();
    calls.push(lines.find(|line| line.contains("request_id")).unwrap());
    world.run(&["call", "GET", "/user"]).ok();
    calls.push(lines.find(|line| line.contains("request_id")).unwrap());
    assert_ne!(calls[0], calls[1], "each event is printed once");
    Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert_eq!(lines.filter(|line| line.contains("request_id")).count(), 0);
    over.send(()).unwrap();
    assert!(watchdog.join().unwrap().unwrap().0.wait().unwrap().success());
}

/// Ends the process when the test ends.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.kill());
    }
}

/// The exit code and stderr of a run whose stdout has no reader, or is a full disk.
fn printing_to(world: &World, args: &[&str], reader_left: bool) -> (i32, String) {
    let stdout = if reader_left {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    } else {
        Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
    };
    let run: Run = (world.command(args).stdout(stdout).output().unwrap()).into();
    (run.code, run.stderr)
}

#[test]
fn an_exit_code_tells_the_truth_whatever_stdout_takes() {
    let world = World::new();
    let proxy = &world.proxy;
    world.run(&["up"]).ok();
    proxy.rule(|request, _| match request.operation().as_str() {
        "FilterLogEvents" => {
            let events = r#"{"events":[{"eventId":"1","timestamp":1,"message":"m"}]}"#;
            Act::Answer(200, vec![], events.to_owned())
        }
        _ => Act::Pass,
    });
    for args in [
        &["--help"][..],
        &["up"],
        &["up", "--json"],
        &["plan"],
        &["status"],
        &["status", "--json"],
        &["verify"],
        &["token"],
        &["token", "--json"],
        &["call", "GET", "/user"],
        &["logs"],
        &["logs", "--follow"],
        &["secret", "rotate", "status"],
        &["policy"],
        &["outputs"],
        &["client", "list"],
        &["client", "sheet"],
        &["openapi"],
    ] {
        let (code, said) = printing_to(&world, args, true);
        assert_eq!(code, 0, "{args:?}: {said}");
        let (code, said) = printing_to(&world, args, false);
        assert_eq!(code, 1, "{args:?}: {said}");
        assert!(
            args == ["--help"] || said.contains("stdout cannot be written: No space left"),
            "{args:?}: {said}"
        );
    }
    // A secret that nobody got is not a success.
    let (code, said) = printing_to(&world, &["secret", "show", "--yes"], true);
    assert_eq!(code, 1, "{said}");

    let emulator = &world.emulator;
    let groups = emulator.json("Logs_20140328.DescribeLogGroups", &json!({}));
    let group = groups["logGroups"][0]["logGroupName"].as_str().unwrap();
    emulator.json("Logs_20140328.DeleteLogGroup", &json!({"logGroupName": group}));
    proxy.rule(|request, moment| {
        let refused = r#"{"__type":"InvalidParameterException","message":"no such luck"}"#;
        match request.operation().as_str() {
            "CreateLogGroup" if moment == Moment::Before => Act::Answer(400, vec![], refused.to_owned()),
            _ if request.path.contains("/_user_request_/nowhere") => {
                Act::Answer(404, vec![], "nothing here".to_owned())
            }
            _ if request.path.contains("/_user_request_") => Act::Answer(200, vec![], "open".to_owned()),
            _ => Act::Pass,
        }
    });
    for reader_left in [true, false] {
        let (code, said) = printing_to(&world, &["verify"], reader_left);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("the live API is not as it should be"), "{said}");
    }
    for reader_left in [true, false] {
        for (args, expected, words) in [
            (&["status"][..], 3, "provision plan"),
            (&["status", "--json"], 3, "provision plan"),
            (&["plan", "--check"], 3, ""),
            (&["up", "--json"], 1, "no such luck"),
            (&["call", "GET", "/nowhere"], 1, "answered 404"),
        ] {
            let (code, said) = printing_to(&world, args, reader_left);
            assert_eq!(code, expected, "{args:?}: {said}");
            assert!(said.contains(words), "{args:?}: {said}");
        }
    }
}

#[test]
fn a_connection_that_breaks_is_not_taken_for_a_reader_that_left() {
    let world = World::new();
    let proxy = &world.proxy;
    world.run(&["up"]).ok();
    proxy.rule(|request, _| {
        if request.path.contains("/_user_request_") {
            return Act::Cut;
        }
        Act::Pass
    });
    fs_err::write(world.path("body"), vec![b'x'; 8 << 20]).unwrap();
    for _ in 0..10 {
        let run = world.run(&["call", "POST", "/user", "-d", "@body"]);
        assert!(run.code(1).stderr.contains("no answer to POST"));
    }
}

/// Fails unless the error is one line without details of the SDK.
fn is_refused(run: Run, words: &str) {
    let run = run.code(2);
    assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    assert!(run.stderr.contains(words), "{words:?} is not in {}", run.stderr);
    let lines = run.stderr.lines().filter(|line| !line.starts_with("hint: "));
    assert_eq!(lines.count(), 1, "{}", run.stderr);
    assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
}

#[test]
fn an_endpoint_that_cannot_be_used_is_refused_in_one_line() {
    let place = Place::new();
    for endpoint in [
        "",
        "x",
        "http://",
        "//host",
        "file:///etc/passwd",
        "ftp://127.0.0.1",
        "http://127.0.0.1:1?a",
        "http://user:hunter2@127.0.0.1:1",
        "http://hunter2@127.0.0.1:1",
    ] {
        let typed = place.run_at(NOWHERE, &["plan", "--endpoint-url", endpoint]);
        is_refused(typed, "for --endpoint-url: ");
        let set = place.run_at(endpoint, &["plan"]);
        is_refused(set, "for AWS_ENDPOINT_URL: ");
        let of_one = place
            .at(NOWHERE, &["plan"])
            .env("AWS_ENDPOINT_URL_LAMBDA", endpoint)
            .output()
            .unwrap();
        is_refused(of_one.into(), "for AWS_ENDPOINT_URL_LAMBDA: ");
    }
    assert!(!place.path().join("state").exists());
}

#[test]
fn a_service_that_is_elsewhere_than_the_others_is_refused() {
    let place = Place::new();
    let with = |general: Option<&str>, variable: &str, value: &str, args: &[&str]| -> Run {
        let mut command = place.at(NOWHERE, args);
        if general.is_none() {
            command.env_remove("AWS_ENDPOINT_URL");
        }
        command.env(variable, value).output().unwrap().into()
    };
    for service in [
        "STS",
        "IAM",
        "LAMBDA",
        "CLOUDWATCH_LOGS",
        "COGNITO_IDENTITY_PROVIDER",
        "API_GATEWAY",
        "SECRETS_MANAGER",
        "SSM",
    ] {
        let variable = format!("AWS_ENDPOINT_URL_{service}");
        let elsewhere = "http://127.0.0.1:2";
        for general in [Some(NOWHERE), None] {
            let run = with(general, &variable, elsewhere, &["plan"]);
            assert!(
                run.stderr.contains(&format!("hint: unset {variable}")),
                "{}",
                run.stderr
            );
            is_refused(run, "expected one endpoint for all services");
        }
        // The same place, or one that was typed, which goes before: the call is made, to no server.
        with(Some(NOWHERE), &variable, "http://127.0.0.1:1/", &["plan"]).code(1);
        let typed = ["plan", "--endpoint-url", NOWHERE];
        with(None, &variable, elsewhere, &typed).code(1);
    }
    // The same in a profile.
    let config = "[default]\nservices = mine\nregion = eu-west-1\n[services mine]\niam =\n  endpoint_url = http://127.0.0.1:2\n";
    fs_err::write(place.path().join("no-config"), config).unwrap();
    let plan = |ignore: &str| -> Run {
        let mut command = place.at(NOWHERE, &["plan"]);
        command.env_remove("AWS_ENDPOINT_URL");
        command.env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", ignore);
        command.output().unwrap().into()
    };
    is_refused(plan("false"), "IAM is at http://127.0.0.1:2 and STS at AWS");
}

#[test]
fn an_invalid_region_is_refused_and_an_empty_variable_is_unset() {
    let place = Place::new();
    for region in ["", "eu west 1", "../..", "eu-west-1.evil.example/", "EU-WEST-1"] {
        let words = format!("invalid region {region:?}: expected a region such as eu-west-1");
        is_refused(place.run_at(NOWHERE, &["plan", "--region", region]), &words);
        if !region.is_empty() {
            let set = place.at(NOWHERE, &["plan"]).env("AWS_REGION", region).output();
            is_refused(set.unwrap().into(), &words);
        }
    }
    let empty = |default: &str| -> Run {
        let mut command = place.at(NOWHERE, &["plan"]);
        command.env("AWS_REGION", "").env("AWS_DEFAULT_REGION", default);
        command.output().unwrap().into()
    };
    is_refused(empty(""), "no AWS region is configured");
    is_refused(empty("../.."), "invalid region \"../..\"");
    fs_err::write(place.path().join("no-config"), "[default]\nregion = of/profile\n").unwrap();
    is_refused(empty(""), "invalid region \"of/profile\"");
}

#[test]
fn a_profile_that_was_asked_for_goes_before_keys_in_the_environment() {
    let world = World::new();
    let run = world.run(&["policy", "--profile", "other"]);
    is_refused(run, "profile \"other\" does not exist");
    // The emulator answers only who has its token for a key.
    let token = fs_err::read_to_string(world.path("state/sandbox/token")).unwrap();
    let config = format!(
        "[profile other]\naws_access_key_id = {token}\naws_secret_access_key = x\n\
         [profile process]\ncredential_process = printf '{{\"Version\":1,\"AccessKeyId\":\"{token}\",\"SecretAccessKey\":\"x\"}}'\n\
         [profile empty]\nregion = eu-west-1\n"
    );
    fs_err::write(world.path("no-config"), config).unwrap();
    for (args, code) in [
        (&["policy"][..], 1),
        (&["policy", "--profile", "other"], 0),
        (&["policy", "--profile", "process"], 0),
    ] {
        let mut command = world.command(args);
        let run: Run = command
            .env("AWS_ACCESS_KEY_ID", "another")
            .output()
            .unwrap()
            .into();
        assert_eq!(run.code, code, "{args:?}: {}", run.stderr);
    }
    let run = world.run(&["policy", "--profile", "empty"]).code(1);
    assert!(
        run.stderr.contains("whose credentials these are"),
        "{}",
        run.stderr
    );
    is_refused(
        world.run(&["policy", "--profile", ""]),
        "profile \"\" does not exist",
    );
}

#[test]
fn what_was_typed_and_means_nothing_is_refused() {
    let place = Place::new();
    for since in ["99999999999999d", "40000d"] {
        let run = place.run_at(NOWHERE, &["logs", "--since", since]).code(2);
        let words = format!("error: invalid value '{since}' for '--since <TIME>': expected a duration");
        assert!(run.stderr.starts_with(&words), "{}", run.stderr);
    }
    for scope in ["", " ", "a b"] {
        for args in [&["token"][..], &["call", "GET", "/user"]] {
            let run = place
                .run_at(NOWHERE, &[args, &["--scope", scope]].concat())
                .code(2);
            assert!(run.stderr.contains("--scope"), "{}", run.stderr);
        }
    }
}

#[test]
fn a_stack_of_an_earlier_version_keeps_its_names() {
    let world = World::new();
    // As far as an `up` of that version came.
    let mut earlier = state(&world.proxy.endpoint);
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole",
        },
    });
    earlier["steps"] = json!([{
        "step": "role:user", "phase": "creating", "kind": "role", "needs": [], "output": null,
        "desired": {
            "name": "user-api-1a2b3c4d-user", "trust": trust,
            "tags": {"provision:owner": "1a2b3c4d", "provision:stack": "user-api"},
        },
    }]);
    write_state(&world.place, &earlier.to_string());
    world.run(&["up"]).ok();
    let text = read_state(&world.place);
    assert!(text.contains("\"/aws/lambda/user-api-1a2b3c4d-user\""), "{text}");
    assert!(!text.contains("1a2b3c4d_"), "{text}");
    world.run(&["plan", "--check"]).ok();
    let policy = world.run(&["policy"]).ok().stdout;
    assert!(policy.contains(":role/user-api-1a2b3c4d-*"), "{policy}");
    // One that is new has names that no other stack's begins as.
    world.run(&["up", "--stack", "user"]).ok();
    let text = fs_err::read_to_string(world.path("state/user.json")).unwrap();
    let owner = serde_json::from_str::<Value>(&text).unwrap()["owner"].clone();
    let name = format!("\"user_{}_user\"", owner.as_str().unwrap());
    assert!(text.contains(&name), "{name} is not in {text}");
}
