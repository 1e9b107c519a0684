//! Commands that messages suggest, run as they are printed.

use std::path::Path;
use std::process::Command;

use crate::support::world::CODE;
use crate::support::{Recorded, Run, World};

const CONFIG: &str = r#"
[stack]
name = "orders"
[resource_servers.orders.scopes]
read = "Read orders"
write = "Write orders"
[clients.batch]
scopes = ["orders/write"]
[clients."the app"]
scopes = ["orders/read"]
[functions.orders]
source = "."
runtime = "nodejs22.x"
handler = "index.handler"
[routes]
"POST /orders" = { function = "orders", scopes = ["orders/write"] }
"ANY /billing/{proxy+}" = { function = "orders", scopes = ["orders/read"] }
"#;

/// What every command of the test has to name, or it would be about another stack.
const OPTIONS: [&str; 6] = [
    "--stack",
    "bills",
    "--config",
    "it's here/a b.toml",
    "--state",
    "my state",
];

impl World {
    fn with_options(&self, args: &[&str]) -> Run {
        self.run(&[args, &OPTIONS].concat())
    }

    /// Runs what a shell makes of this line.
    fn shell(&self, line: &str) -> Run {
        let binary = Path::new(env!("CARGO_BIN_EXE_provision")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", line])
            .current_dir(self.place.path())
            .stdin(std::process::Stdio::null());
        for (name, value) in self.command(&[]).get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.env("PATH", format!("{}:{path}", binary.display()));
        shell.output().unwrap().into()
    }
}

/// The commands of this program that a text suggests.
fn suggested(text: &str) -> Vec<&str> {
    let parts = text.split('`').skip(1).step_by(2);
    parts.filter(|part| part.starts_with("provision ")).collect()
}

/// The one that begins with these words.
fn one<'a>(text: &'a str, words: &str) -> &'a str {
    let fitting: Vec<&str> = (suggested(text).into_iter())
        .filter(|command| command.starts_with(words))
        .collect();
    assert_eq!(fitting.len(), 1, "{words:?} in {text}");
    fitting[0]
}

#[test]
fn every_command_that_is_suggested_works_as_printed() {
    let world = World::new();
    let folder = world.path("it's here");
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join("index.mjs"), CODE).unwrap();
    fs_err::write(folder.join("a b.toml"), CONFIG).unwrap();

    let status = world.with_options(&["status"]).code(2);
    let up = one(&status.stderr, "provision up");
    assert_eq!(
        up,
        r"provision up --stack bills --config 'it'\''s here/a b.toml' --state 'my state'"
    );
    let up = world.shell(up).ok();
    let call = one(&up.stderr, "provision call");
    assert!(
        call.starts_with("provision call GET /billing/1 --client 'the app' --stack bills "),
        "{call}"
    );
    world.shell(call).ok();

    let status = world
        .with_options(&["secret", "rotate", "status", "the app"])
        .ok();
    let begin = one(&status.stderr, "provision secret rotate begin");
    let begun = world.shell(begin).ok();
    assert_eq!(begun.stdout.lines().count(), 1, "the new secret and nothing else");
    // Without a terminal nobody can be asked.
    let finish = one(&begun.stderr, "provision secret rotate finish");
    let status = world
        .with_options(&["secret", "rotate", "status", "the app"])
        .ok();
    let again = one(&status.stderr, "provision secret rotate begin");
    world.shell(again).ok();
    assert!(world.shell(finish).code(2).stderr.contains("hint: pass --yes"));
    world.shell(&format!("{finish} --yes")).ok();

    let state = fs_err::read_to_string(world.path("my state/bills.json")).unwrap();
    let api = Recorded(serde_json::from_str(&state).unwrap()).api();
    world
        .emulator
        .patch(&api, &[("replace", "/description", "changed")]);
    let status = world.with_options(&["status"]).code(3);
    let plan = world.shell(one(&status.stderr, "provision plan")).ok();
    assert!(plan.stdout.contains("rest-api"), "{}", plan.stdout);
    world.shell(one(&status.stderr, "provision up")).ok();
    world.with_options(&["status"]).ok();
    world.with_options(&["down", "--yes"]).ok();
}
