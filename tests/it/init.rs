//! A new project: what `init` writes works as printed, and nothing that exists is changed.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::world::CODE;
use crate::support::{Place, Run, World};

/// No server listens here: `init` calls none.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Runs what a shell makes of this line in `folder`, with the settings of `command`.
fn shell(command: &Command, folder: &Path, line: &str) -> Run {
    let binary = Path::new(env!("CARGO_BIN_EXE_provision")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(folder).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.env("PATH", format!("{}:{path}", binary.display()));
    shell.output().unwrap().into()
}

/// The commands that `init` prints at its end.
fn next(run: &Run) -> Vec<String> {
    let lines = run.stderr.lines().filter_map(|line| line.strip_prefix("  `"));
    lines.map(|line| line.trim_end_matches('`').to_owned()).collect()
}

/// Every file below `folder` with its text.
fn files(folder: &Path) -> BTreeSet<(PathBuf, String)> {
    let mut found = BTreeSet::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            // What it leads to is elsewhere, or around it.
            let to = fs_err::read_link(&path).unwrap();
            found.insert((path.clone(), to.display().to_string()));
        } else if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert((path.clone(), fs_err::read_to_string(&path).unwrap()));
        }
    }
    found
}

fn assert_same_document(one: &Value, other: &Value) {
    assert_eq!(one["paths"], other["paths"]);
    let scopes = |document: &Value| {
        document["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]["scopes"].clone()
    };
    assert_eq!(scopes(one), scopes(other));
    assert_eq!(one["info"]["title"], other["info"]["title"]);
    assert_eq!(one["info"]["description"], other["info"]["description"]);
}

#[test]
fn the_printed_commands_work_in_the_sandbox_from_an_empty_folder() {
    let place = Place::new();
    let init = place.run(&["init", "my orders"]).ok();
    assert_eq!(
        init.stdout,
        "my orders/hello/index.mjs\nmy orders/provision.toml\n"
    );
    let next = next(&init);
    assert_eq!(
        next,
        [
            "cd 'my orders'",
            "provision up --sandbox",
            "provision call GET /hello --sandbox",
            "provision down --sandbox --yes",
            "provision up",
        ]
    );
    let folder = place.path().join("my orders");
    // It stops the emulator at the end.
    let project = Place::in_folder(&folder);
    let run = |line: &str| shell(&project.command(&[]), &folder, line);
    run("provision plan --sandbox").ok();
    run(&next[1]).ok();
    let call = run(&next[2]).ok();
    assert_eq!(call.json()["message"], "GET /hello works");
    assert!(call.json()["client_id"].is_string());
    run("provision status --sandbox").ok();
    run("provision verify --call --sandbox").ok();
    run(&next[3]).ok();
}

#[test]
fn every_language_is_planned_and_answers() {
    let world = World::new();
    for (language, status) in [("node", 200), ("python", 200), ("rust", 503), ("none", 0)] {
        let init = world
            .run(&["init", language, "--name", "orders", "--language", language])
            .ok();
        let folder = world.path(language);
        let command = world.command(&[]);
        // The emulator of the world is where AWS is.
        let run = |line: &str| shell(&command, &folder, &line.replace(" --sandbox", ""));
        run("provision plan").ok();
        let next = next(&init);
        assert_eq!(next[0], format!("cd {language}"));
        let first = next
            .iter()
            .position(|line| line.starts_with("provision up"))
            .unwrap();
        assert_eq!(next[1..first].len(), usize::from(language == "rust"), "{next:?}");
        run(&next[first]).ok();
        let call = run(&next[first + 1]);
        if status == 0 {
            assert!(next[first + 1].starts_with("provision token app"), "{next:?}");
            call.ok();
        } else {
            let call = call.code(i32::from(status != 200));
            assert!(call.stdout.contains("\"message\""), "{}", call.stdout);
            let says = if status == 200 {
                "GET /hello works"
            } else {
                "the function is not built"
            };
            assert!(call.stdout.contains(says), "{}", call.stdout);
        }
        run("provision plan --check").ok();
        run(&next[first + 2]).ok();
    }
    let bootstrap = world.path("rust/hello/build/bootstrap");
    assert_eq!(
        fs_err::metadata(bootstrap).unwrap().permissions().mode() & 0o111,
        0o111
    );
    world.emulator.assert_nothing("after every language");
}

#[test]
fn nothing_that_exists_is_changed_and_each_is_named() {
    let place = Place::new();
    let path = |name: &str| place.path().join(name);
    let refused = |args: &[&str], names: &[&str]| {
        let before = files(place.path());
        let run = place.run_at(NOWHERE, &[&["init"], args].concat()).code(2);
        for name in names {
            assert!(
                run.stderr
                    .contains(&format!("{name} exists already; not overwritten")),
                "{}",
                run.stderr
            );
        }
        assert_eq!(
            run.stderr.matches("exists already").count(),
            names.len(),
            "{}",
            run.stderr
        );
        assert_eq!(files(place.path()), before, "nothing is written");
    };
    for folder in ["file", "code", "link", "both"] {
        fs_err::create_dir_all(path(folder)).unwrap();
    }
    fs_err::write(path("file/provision.toml"), "mine").unwrap();
    refused(&["file"], &["file/provision.toml"]);
    fs_err::create_dir_all(path("code/hello/deep")).unwrap();
    fs_err::write(path("code/hello/deep/other.py"), "mine").unwrap();
    refused(&["code"], &["code/hello"]);
    symlink("nowhere", path("link/provision.toml")).unwrap();
    symlink("..", path("link/hello")).unwrap();
    let run = place.run(&["init", "link"]).code(2);
    assert_eq!(run.stderr.matches("exists already").count(), 2, "{}", run.stderr);
    fs_err::create_dir(path("both/hello")).unwrap();
    fs_err::write(path("both/hello/index.mjs"), "mine").unwrap();
    fs_err::write(path("both/provision.toml"), "mine").unwrap();
    refused(&["both"], &["both/hello/index.mjs", "both/provision.toml"]);
    // A project that is complete is not written again either, though nothing would change.
    place.run(&["init", "done", "-q"]).ok();
    let before = files(&path("done"));
    let run = place.run(&["init", "done"]).code(2);
    assert_eq!(run.stderr.matches("exists already").count(), 2, "{}", run.stderr);
    assert_eq!(files(&path("done")), before);
    // Another language would leave the code of both.
    fs_err::remove_file(path("done/provision.toml")).unwrap();
    refused(&["done", "--language", "python"], &["done/hello"]);
    refused(&["done/hello/index.mjs"], &[]);
}

#[test]
fn after_a_kill_the_same_command_goes_on() {
    let place = Place::new();
    place
        .run(&["init", "whole", "--name", "orders", "--language", "rust", "-q"])
        .ok();
    let whole = files(&place.path().join("whole"));
    let written: Vec<PathBuf> = [
        "hello/Cargo.toml",
        "hello/src/main.rs",
        "hello/.cargo/config.toml",
        "hello/build/bootstrap",
    ]
    .map(PathBuf::from)
    .to_vec();
    // A run that was killed after so many files, in the middle of the next one.
    for number in 0..=written.len() {
        let folder = place.path().join(number.to_string());
        for name in &written[..number] {
            fs_err::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs_err::copy(place.path().join("whole").join(name), folder.join(name)).unwrap();
        }
        let next = written
            .get(number)
            .cloned()
            .unwrap_or_else(|| "provision.toml".into());
        let beside = folder.join(&next);
        fs_err::create_dir_all(beside.parent().unwrap()).unwrap();
        let name = format!(".{}.a1B2c3.tmp", next.file_name().unwrap().to_str().unwrap());
        fs_err::write(beside.with_file_name(name), "half").unwrap();
        place
            .run(&[
                "init",
                &number.to_string(),
                "--name",
                "orders",
                "--language",
                "rust",
                "-q",
            ])
            .ok();
        let found: BTreeSet<(PathBuf, String)> = (files(&folder).into_iter())
            .map(|(path, text)| {
                (
                    place
                        .path()
                        .join("whole")
                        .join(path.strip_prefix(&folder).unwrap()),
                    text,
                )
            })
            .collect();
        assert_eq!(found, whole, "killed after {number}");
    }
}

#[test]
fn what_is_typed_is_checked_before_anything_is_written() {
    let place = Place::new();
    fs_err::write(
        place.path().join("broken.json"),
        "{\"openapi\": \"3.1.0\", \"paths\": {}}",
    )
    .unwrap();
    for (args, words) in [
        (&["p", "--name", "Orders"][..], "2 to 30 lower-case letters"),
        (&["p", "--name", "my-aws-api"], "must not contain \"aws\""),
        (&["42"], "hint: name the stack with --name NAME"),
        (&["pets", "--region", "Europe"], "a region such as \"eu-west-1\""),
        (
            &["p", "--language", "cobol"],
            "possible values: node, python, rust, none",
        ),
        (
            &["p", "--env", "production"],
            "expected neither --config nor --env",
        ),
        (
            &["p", "--config", "a.toml"],
            "expected neither --config nor --env",
        ),
        (
            &["pets", "--openapi", "none.json"],
            "the OpenAPI document cannot be read",
        ),
        (&["pets", "--openapi", "."], "is a folder"),
        (
            &["pets", "--openapi", "broken.json"],
            "no operation of it can be carried over",
        ),
    ] {
        let run = place.run_at(NOWHERE, &[&["init"], args].concat()).code(2);
        assert!(run.stderr.contains(words), "{args:?}: {}", run.stderr);
    }
    let names: Vec<_> = fs_err::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["broken.json"], "nothing is written");
    let json = place
        .run(&["init", "p", "--json", "--language", "python"])
        .code(2);
    assert!(
        json.stdout.is_empty() && json.stderr.contains("--name NAME"),
        "{}",
        json.stderr
    );
    let json = place
        .run(&["init", "p", "--json", "--language", "python", "--stack", "pets"])
        .ok()
        .json();
    assert_eq!(json["stack"], "pets");
    assert_eq!(json["files"], json!(["hello/main.py", "provision.toml"]));
    assert_eq!(json["not_carried_over"], json!([]));
    assert_eq!(json["next"][0], "cd p");
}

#[test]
fn what_openapi_prints_comes_back_as_the_same_stack() {
    let world = World::of(
        r#"
[stack]
name = "orders"
[resource_servers.orders.scopes]
read = "Read orders"
write = "Write orders"
[resource_servers."https://example.com/files".scopes]
all = "All files"
[clients."the app"]
scopes = ["orders/read", "https://example.com/files/all"]
[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
[api]
name = "The \"orders\""
description = "All orders"
[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read", "orders/write"] }
"POST /orders" = { function = "orders", scopes = ["orders/write"] }
"GET /orders/{id}" = { function = "orders", scopes = ["orders/read"] }
"ANY /files/{rest+}" = { function = "orders", scopes = ["https://example.com/files/all"] }
"ANY /" = { function = "orders", scopes = ["orders/read"] }
"GET /" = { function = "orders", scopes = ["orders/write"] }
"#,
        CODE,
    );
    world.run(&["up"]).ok();
    let first = world.run(&["openapi"]).ok().stdout;
    fs_err::write(world.path("api.json"), &first).unwrap();
    let init = world
        .run(&[
            "init",
            "copy",
            "--openapi",
            "api.json",
            "--language",
            "python",
            "--json",
        ])
        .ok()
        .json();
    assert_eq!(
        init["not_carried_over"],
        json!([
            "servers[0]: not carried over; a function answers",
            "components.schemas: not carried over; API Gateway does not check requests against them",
        ])
    );
    let text = fs_err::read_to_string(world.path("copy/provision.toml")).unwrap();
    assert!(text.contains("\"ANY /files/{rest+}\""), "{text}");
    let command = world.command(&[]);
    let run = |line: &str| shell(&command, &world.path("copy"), line);
    run("provision plan").ok();
    run("provision up").ok();
    let second = run("provision openapi").ok();
    assert_same_document(&serde_json::from_str(&first).unwrap(), &second.json());
    let call = run("provision call PUT /files/a/b").ok();
    assert_eq!(call.json()["message"], "PUT /files/a/b works");
    run("provision down --yes").ok();
    world.run(&["down", "--yes"]).ok();
    world.emulator.assert_nothing("after both");
}

#[test]
fn the_back_end_of_a_document_answers_behind_the_gateway() {
    let world = World::new();
    let service = crate::support::Service::start();
    let document = json!({
        "openapi": "3.0.3",
        "info": {"title": "Pets", "version": "1"},
        "servers": [{"url": service.url}],
        "paths": {"/pets/{id}": {"get": {"security": [{"auth": ["pets:read"]}]}}, "/open": {"get": {}}},
        "components": {"securitySchemes": {"auth": {"type": "oauth2", "flows": {"clientCredentials": {
            "tokenUrl": "https://auth.example.com/token", "scopes": {"pets:read": "Read pets"},
        }}}}},
    });
    fs_err::write(world.path("pets.json"), document.to_string()).unwrap();
    let init = world.run(&["init", "pets", "--openapi", "pets.json"]).ok();
    assert_eq!(init.stdout, "pets/provision.toml\n");
    for line in [
        "warning: scope \"pets:read\": called \"pets/pets:read\" here",
        "warning: GET /open: open to everyone in the document; here it needs the scope \"pets/call\"",
    ] {
        assert!(init.stderr.contains(line), "{}", init.stderr);
    }
    // Told with -q as well.
    let quiet = world.run(&["init", "quiet", "--openapi", "pets.json", "-q"]).ok();
    assert_eq!(quiet.stderr.lines().count(), 2, "{}", quiet.stderr);
    let command = world.command(&[]);
    let run = |line: &str| shell(&command, &world.path("pets"), line);
    run("provision plan").ok();
    run("provision up").ok();
    run("provision call GET /pets/7").ok();
    run("provision down --yes").ok();
}
