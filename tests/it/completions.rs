//! What shells complete, in the shells themselves, and the man pages.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::Place;

/// Starts a shell on a terminal of its own, types the lines one after the other, and prints what the terminal got. `show`
/// in a line prints its arguments between `words:` and `:end`.
const TERMINAL: &str = r#"
import json, os, pty, sys
lines = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
out, seen, marker = b"", 0, b"ready"
while True:
    try:
        part = os.read(terminal, 65536)
    except OSError:
        part = b""
    if not part:
        break
    out += part
    at = out.find(marker, seen)
    if at >= 0:
        seen, marker = at + len(marker), b":end"
        os.write(terminal, ((lines.pop(0) if lines else "exit") + "\n").encode())
sys.stdout.buffer.write(out)
"#;

/// A client whose name is two words, a scope and steps with colons, a path with a variable.
const FILE: &str = r#"
[stack]
name = "shop"
[resource_servers."https://api.example.com".scopes]
read = "Read orders"
"write:all" = "Change orders"
[clients.app]
scopes = ["https://api.example.com/read"]
[clients."b c"]
scopes = ["https://api.example.com/read"]
[functions.orders]
source = "code"
runtime = "nodejs22.x"
handler = "index.handler"
[routes]
"GET /orders/{id}" = { function = "orders", scopes = ["https://api.example.com/read"] }
"GET /status" = { function = "orders", scopes = ["https://api.example.com/read"] }
"POST /orders" = { function = "orders", scopes = ["https://api.example.com/write:all"] }
[env.production.clients.batch]
scopes = ["https://api.example.com/read"]
[env."pr-*"]
"#;

/// What is typed before Tab, and the words that the shell then runs the command with. Each has one completion.
const TYPED: [(&str, &[&str]); 15] = [
    ("show recov", &["recover"]),
    ("show token ap", &["token", "app"]),
    ("show token b", &["token", "b c"]),
    ("show token 'b", &["token", "b c"]),
    ("show logs \"or", &["logs", "orders"]),
    ("show call PO", &["call", "POST"]),
    ("show call GET /o", &["call", "GET", "/orders/"]),
    ("show call GET /s", &["call", "GET", "/status"]),
    (
        "show up --replace route:PO",
        &["up", "--replace", "route:POST /orders"],
    ),
    (
        "show up --replace 'route:PO",
        &["up", "--replace", "route:POST /orders"],
    ),
    (
        "show token --scope https://api.example.com/w",
        &["token", "--scope", "https://api.example.com/write:all"],
    ),
    (
        "show recover --pick client:a",
        &["recover", "--pick", "client:app="],
    ),
    ("show status --config=pro", &["status", "--config=provision.toml"]),
    ("show status --color=al", &["status", "--color=always"]),
    (
        "show --env production token bat",
        &["--env", "production", "token", "batch"],
    ),
];

/// A folder with a configuration, and without anything else.
fn place() -> Place {
    let place = Place::new();
    fs_err::write(place.path().join("provision.toml"), FILE).unwrap();
    fs_err::create_dir(place.path().join("code")).unwrap();
    fs_err::write(place.path().join("code/index.mjs"), "").unwrap();
    place
}

/// Whether a shell is there; otherwise says that its test is left out.
#[expect(clippy::print_stderr, reason = "nothing else tells that a test did nothing")]
fn is_installed(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .stdout(Stdio::null())
        .status();
    let is_installed = found.unwrap().success();
    if !is_installed {
        eprintln!("left out: {program} is not installed");
    }
    is_installed
}

/// Writes the script that this shell gets, and returns where it is.
fn script(place: &Place, shell: &str, name: &str) -> PathBuf {
    let path = place.path().join(name);
    fs_err::write(&path, place.run(&["completions", shell]).ok().stdout).unwrap();
    path
}

/// Types every line of [`TYPED`] with Tab at its end in an interactive shell.
fn check_typed(place: &Place, shell: &[&str], settings: &[(&str, &Path)]) {
    let lines: Vec<String> = TYPED.iter().map(|(typed, _)| format!("{typed}\t")).collect();
    let folder = Path::new(env!("CARGO_BIN_EXE_provision")).parent().unwrap();
    let mut path = folder.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let output = Command::new("python3")
        .args(["-c", TERMINAL, &json!(lines).to_string()])
        .args(shell)
        .current_dir(place.path())
        .env("PATH", path)
        .env("HOME", place.path())
        .env("TERM", "dumb")
        .env_remove("PROVISION_ENV")
        .env_remove("PROVISION_STATE")
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let got: Vec<&str> = (shown.split("words:").skip(1))
        .map(|rest| rest.split(":end").next().unwrap())
        .collect();
    let expected: Vec<String> = (TYPED.iter())
        .map(|(_, words)| format!("<{}>", words.join("><")))
        .collect();
    assert_eq!(got, expected, "{shown}");
}

#[test]
fn bash_completes_what_is_typed() {
    let place = place();
    script(&place, "bash", "script");
    let rc = place.path().join("rc");
    let text = "PS1='> '\n. ./script\nshow() { printf 'words:'; printf '<%s>' \"$@\"; echo :end; }\n\
                complete -F _provision show\necho ready\n";
    fs_err::write(&rc, text).unwrap();
    let rc = rc.to_str().unwrap();
    check_typed(&place, &["bash", "--noprofile", "--rcfile", rc, "-i"], &[]);
}

#[test]
fn zsh_completes_what_is_typed() {
    if !is_installed("zsh") {
        return;
    }
    let place = place();
    // As a package installs it: a function that is read once it is called.
    let functions = place.path().join("functions");
    fs_err::create_dir(&functions).unwrap();
    script(&place, "zsh", "functions/_provision");
    let rc = "PS1='> '\nunsetopt zle_bracketed_paste\nfpath=($PWD/functions $fpath)\nautoload -U compinit\ncompinit -u -D\n\
              show() { printf 'words:'; printf '<%s>' \"$@\"; echo :end; }\ncompdef _provision show\necho ready\n";
    fs_err::write(place.path().join(".zshrc"), rc).unwrap();
    check_typed(&place, &["zsh", "-d", "-i"], &[("ZDOTDIR", place.path())]);
}

#[test]
fn fish_completes_what_is_typed() {
    if !is_installed("fish") {
        return;
    }
    let place = place();
    let config = place.path().join("config");
    fs_err::create_dir_all(config.join("fish/completions")).unwrap();
    script(&place, "fish", "config/fish/completions/provision.fish");
    let text = "function fish_prompt; echo '> '; end\nfunction show; printf 'words:'; printf '<%s>' $argv; echo :end; end\n\
                complete --command show --wraps provision\necho ready\n";
    fs_err::write(config.join("fish/config.fish"), text).unwrap();
    let data = place.path().join("data");
    check_typed(
        &place,
        &["fish", "-i"],
        &[("XDG_CONFIG_HOME", &config), ("XDG_DATA_HOME", &data)],
    );
}

#[test]
fn each_script_is_one_that_its_shell_accepts() {
    let place = place();
    for (shell, program, check) in [
        ("bash", "bash", &["-n"][..]),
        ("zsh", "zsh", &["-n"]),
        ("fish", "fish", &["--no-execute"]),
        ("powershell", "pwsh", &["-NoProfile", "-File"]),
    ] {
        let script = script(&place, shell, &format!("{shell}.ps1"));
        if is_installed(program) {
            let output = Command::new(program).args(check).arg(script).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && stderr.is_empty(), "{shell}: {stderr}");
        }
    }
    place.run(&["completions", "tcsh"]).code(2);
}

/// What fish would get; it gets every value as it is.
fn completed(place: &Place, line: &str) -> Vec<String> {
    let run = place.command(&[line]).env("PROVISION_COMPLETE", "fish").output();
    let run = crate::support::Run::from(run.unwrap()).ok();
    assert_eq!(run.stderr, "", "{line}");
    let values = run.stdout.lines().map(|line| line.split('\t').next().unwrap());
    values.map(str::to_owned).collect()
}

#[test]
fn names_are_those_of_the_configuration_and_on_record() {
    let place = place();
    let check = |line: &str, expected: &[&str]| assert_eq!(completed(&place, line), expected, "{line}");
    check("provision token ", &["app", "b c"]);
    check("provision secret rotate begin ", &["app", "b c"]);
    check("provision --stack ", &["shop"]);
    check("provision up --env ", &["production"]);
    check(
        "provision --env production client sheet ",
        &["app", "b c", "batch"],
    );
    check("provision call ", &["GET", "POST"]);
    check("provision call get ", &["/orders/", "/status"]);
    check("provision call POST ", &["/orders"]);
    check("provision call ANY ", &["/orders", "/orders/", "/status"]);
    check("provision client ", &["list", "sheet", "help"]);
    check("provision client sheet --format ", &["markdown", "html"]);
    check(
        "provision token --scope https://api.example.com/r",
        &["https://api.example.com/read"],
    );
    check("provision logs --access --client a", &["app"]);
    check("provision secret show --to s", &["secretsmanager:", "ssm:"]);
    // A client of others.
    check("provision up --yes-break ", &[]);
    assert!(completed(&place, "provision up --replace ").contains(&"function:orders".to_owned()));
    assert!(completed(&place, "provision status --").contains(&"--sandbox".to_owned()));

    // What is only on record: of a stack without a configuration, and of an environment that a pattern names.
    let record = |step: &str| {
        let kind = step.split(':').next();
        json!({"step": step, "phase": "ready", "kind": kind, "needs": [], "desired": {}, "output": {}})
    };
    fs_err::create_dir(place.path().join("state")).unwrap();
    for stack in ["old", "shop-pr-7"] {
        let state = json!({
            "format": 3, "stack": stack, "account": "000000000000", "region": "eu-west-1", "partition": "aws",
            "endpoint": null, "owner": "1a2b3c4d", "serial": 1,
            "steps": [record("client:gone"), record("function:f"), record("route:PUT /x"), record("stage")],
        });
        fs_err::write(
            place.path().join(format!("state/{stack}.json")),
            state.to_string(),
        )
        .unwrap();
    }
    fs_err::write(place.path().join("state/No Stack.json"), "{}").unwrap();
    fs_err::write(place.path().join("state/broken.json"), "{").unwrap();
    check("provision --stack ", &["broken", "old", "shop", "shop-pr-7"]);
    check("provision --env ", &["pr-7", "production"]);
    check("provision --stack old token ", &["app", "b c", "gone"]);
    check("provision --env pr-7 token ", &["app", "b c", "gone"]);
    check("provision --stack broken token ", &["app", "b c"]);
    check("provision --stack old call PUT ", &["/x"]);
    check("provision --stack old up --replace st", &["stage"]);
    check("provision --state elsewhere --stack ", &["shop"]);
    check("provision --state elsewhere --stack old token ", &["app", "b c"]);

    // A file that is not finished.
    let half = FILE.replace("[routes]", "[functions.more]\nruntime = \n[routes");
    fs_err::write(place.path().join("provision.toml"), half).unwrap();
    check("provision token ", &["app", "b c"]);
    check("provision logs ", &["more", "orders"]);
    // The sample, and no file.
    fs_err::remove_file(place.path().join("provision.toml")).unwrap();
    check("provision token ", &["app"]);
    check("provision --config none.toml token a", &[]);
}

#[test]
fn a_completion_does_nothing_else() {
    let place = place();
    let aws = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", aws.local_addr().unwrap());
    let before: Vec<PathBuf> = place.texts(".").into_iter().map(|(path, _)| path).collect();
    let s3 = FILE.replace(
        "name = \"shop\"",
        "name = \"shop\"\nstate = \"s3://team-state/x\"",
    );
    fs_err::write(place.path().join("provision.toml"), s3).unwrap();
    for line in [
        "",
        "provision",
        "provision ",
        "provision \"",
        "provision up --replace ",
        "provision --sandbox up --replace ",
        "provision --state s3://team-state/x token ",
        "provision --state ftp://x token ",
        "provision --stack ../x token ",
        "provision --stack",
        "provision --help token ",
        "provision token a b c ",
        "provision nonsense token ",
        "provision --config code token ",
        "provision --config /dev/tty token ",
        "provision call 'GET\u{7}' /",
        "provision token -- ",
        "provision state init ",
    ] {
        for shell in ["bash", "zsh", "fish", "powershell"] {
            for location in ["state", "ftp://x", "s3://team-state/x"] {
                let run = place
                    .at(&url, &[line, " :="])
                    .env("PROVISION_COMPLETE", shell)
                    .env("PROVISION_STATE", location)
                    .output();
                let run = crate::support::Run::from(run.unwrap()).ok();
                assert_eq!(run.stderr, "", "{shell}: {line}");
            }
        }
    }
    aws.set_nonblocking(true).unwrap();
    let called = aws.accept();
    assert!(called.is_err(), "AWS was called: {called:?}");
    let after: Vec<PathBuf> = place.texts(".").into_iter().map(|(path, _)| path).collect();
    assert_eq!(after, before);
    assert!(!place.path().join("state").exists());

    // A name that would steer a terminal, or be another line of the answer.
    let steers = FILE.replace(
        "[clients.app]",
        "[clients.\"a\\u001b[2J\"]\nscopes = []\n[clients.\"a\\nb\"]",
    );
    fs_err::write(place.path().join("provision.toml"), steers).unwrap();
    assert_eq!(completed(&place, "provision token "), ["b c"]);
    // What is no shell, and an empty variable, change nothing.
    for shell in ["", "tcsh"] {
        let run = place.command(&["-V"]).env("PROVISION_COMPLETE", shell).output();
        let run = crate::support::Run::from(run.unwrap()).ok();
        assert!(run.stdout.starts_with("provision "), "{}", run.stdout);
    }
}

#[test]
fn every_command_has_a_man_page_that_can_be_read() {
    let place = Place::new();
    let run = place.run(&["man", "--out", "a/man"]).ok();
    let folder = place.path().join("a/man");
    let mut pages: Vec<String> = (fs_err::read_dir(&folder).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    assert_eq!(run.stderr, format!("{} man pages: a/man\n", pages.len()));
    for page in ["provision.1", "provision-up.1", "provision-secret-rotate-begin.1"] {
        assert!(pages.contains(&page.to_owned()), "{pages:?}");
    }
    for command in completed(&place, "provision ") {
        let page = format!("provision-{command}.1");
        assert_eq!(pages.contains(&page), command != "help", "{command}: {pages:?}");
    }
    // A second time over the first.
    place.run(&["man", "--out", "a/man", "-q"]).ok();
    place.run(&["man"]).code(2);
    place.run(&["man", "--out", "a/man/provision.1"]).code(1);

    for (program, arguments) in [
        ("mandoc", &["-T", "lint", "-W", "error"][..]),
        ("groff", &["-man", "-T", "utf8", "-z", "-ww"]),
    ] {
        if is_installed(program) {
            let mut check = Command::new(program);
            check.args(arguments).args(&pages).current_dir(&folder);
            let output = check.output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(output.status.success() && said.is_empty(), "{program}: {said}");
        }
    }
    if is_installed("man") {
        let page = Command::new("man")
            .args(["-l", "provision-up.1"])
            .env("MANWIDTH", "100")
            .env("LC_ALL", "C.UTF-8")
            .current_dir(&folder)
            .output()
            .unwrap();
        let page = String::from_utf8_lossy(&page.stdout);
        for words in [
            "provision-up - Make the stack match",
            "--replace <STEP>",
            "PROVISION_STATE",
        ] {
            assert!(page.contains(words), "{page}");
        }
    }
}
