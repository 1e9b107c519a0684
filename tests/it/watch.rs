//! `up --watch`: what is saved is live, and nothing else happens unasked.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::support::proxy::{Act, Moment, Request};
use crate::support::{Run, World, get};

const FILE: &str = r#"
[stack]
name = "orders"

[resource_servers.orders.scopes]
read = "Read orders"

[clients.billing]
scopes = ["orders/read"]

[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
memory_mb = 128

[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"#;

/// Runs a command on a terminal of its own: what comes on stdin is typed, and what is shown goes to stdout.
const TERMINAL: &str = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";

/// Code that answers with this text, and writes it to its log.
fn code(text: &str) -> String {
    format!(
        "export const handler = async () => {{ console.log('wrote {text}'); return {{ statusCode: 200, body: '{text}' }}; }};"
    )
}

/// A stack that is up, with the code of [`code`] for `first`.
fn up() -> World {
    let world = World::of(FILE, &code("first"));
    world.run(&["up"]).ok();
    world
}

/// What a process has printed until now, and whether it can print more.
#[derive(Default)]
pub(crate) struct Printed {
    text: Mutex<(String, bool)>,
    more: Condvar,
}

impl Printed {
    fn collect(from: impl Read + Send + 'static) -> Arc<Self> {
        let printed = Arc::new(Self::default());
        let kept = printed.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            loop {
                // A question ends without a new line.
                let read = from.fill_buf().map(<[u8]>::to_vec).unwrap_or_default();
                from.consume(read.len());
                let mut text = kept.text.lock().unwrap();
                text.0.push_str(&String::from_utf8_lossy(&read));
                text.1 = read.is_empty();
                kept.more.notify_all();
                if text.1 {
                    return;
                }
            }
        });
        printed
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().0.clone()
    }

    /// Waits until this is printed `times` times.
    pub(crate) fn wait(&self, wanted: &str, times: usize) {
        let mut text = self.text.lock().unwrap();
        while text.0.matches(wanted).count() < times {
            assert!(!text.1, "{wanted:?} × {times} is not in:\n{}", text.0);
            text = self.more.wait(text).unwrap();
        }
    }
}

/// A running `up --watch`.
pub(crate) struct Watching {
    child: Child,
    stdin: Option<ChildStdin>,
    pub(crate) out: Arc<Printed>,
    pub(crate) err: Arc<Printed>,
}

impl Watching {
    /// From the moment on at which it watches.
    fn start(world: &World, options: &[&str]) -> Self {
        let watching = Self::spawn(world.command(&[&["up", "--watch", "--no-verify"], options].concat()));
        watching.err.wait("press Ctrl-C to end", 1);
        watching
    }

    /// The same on a terminal, whose output is all in `out`.
    fn on_terminal(world: &World) -> Self {
        let command = world.command(&["up", "--watch", "--no-verify"]);
        let mut terminal = Command::new("python3");
        terminal
            .args(["-c", TERMINAL])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(command.get_current_dir().unwrap());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => terminal.env(name, value),
                None => terminal.env_remove(name),
            };
        }
        terminal.env("TERM", "dumb");
        let watching = Self::spawn(terminal);
        watching.out.wait("press Ctrl-C to end", 1);
        watching
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            out: Printed::collect(child.stdout.take().unwrap()),
            err: Printed::collect(child.stderr.take().unwrap()),
            child,
        }
    }

    fn type_in(&mut self, keys: &str) {
        self.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for the end.
    fn ended(&mut self) -> Run {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        // The rest of what it has printed.
        for printed in [&self.out, &self.err] {
            let mut text = printed.text.lock().unwrap();
            while !text.1 {
                text = printed.more.wait(text).unwrap();
            }
        }
        Run {
            code,
            stdout: self.out.text(),
            stderr: self.err.text(),
        }
    }

    /// Ends it with a Ctrl-C.
    pub(crate) fn end(mut self) -> Run {
        self.signal("INT");
        self.ended().ok()
    }
}

impl Drop for Watching {
    /// A test that fails leaves no watch behind.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn signal(process: u32, name: &str) {
    let kill = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status();
    assert!(kill.unwrap().success());
}

/// What the function answers that is live, asked of Lambda.
fn live(world: &World) -> String {
    let functions = world.emulator.get("lambda", "/2015-03-31/functions");
    let name = functions["Functions"][0]["FunctionName"].as_str().unwrap();
    let path = format!("/2015-03-31/functions/{name}/invocations");
    let answer = world.emulator.write("lambda", "POST", &path, &json!({}));
    answer["body"].as_str().unwrap_or_default().to_owned()
}

/// The memory of the function that is live.
fn memory(world: &World) -> Value {
    let function = world
        .emulator
        .get("lambda", &world.state().function("function:orders"));
    function["Configuration"]["MemorySize"].clone()
}

/// The calls to AWS since the last time, without those for the logs.
fn calls(world: &World) -> Vec<String> {
    let function = world.state().desired("function:orders", "name").to_owned();
    let calls = world.proxy.take();
    let calls = calls
        .iter()
        .filter(|call| call.is_aws() && call.service() != "logs");
    calls
        .map(|call| call.operation().replace(&function, "orders"))
        .collect()
}

fn is_upload(request: &Request) -> bool {
    request.method == "PUT" && request.path.ends_with("/code")
}

#[test]
fn an_edit_is_live_and_what_it_logs_is_shown() {
    let world = up();
    let watching = Watching::start(&world, &[]);
    calls(&world);
    world.code(&code("second"));
    watching.err.wait("live      orders: ", 1);
    let mut calls = calls(&world);
    // It is asked for until it is updated.
    calls.dedup();
    assert_eq!(
        calls,
        [
            "GET /2015-03-31/functions/orders",
            "PUT /2015-03-31/functions/orders/code",
            "GET /2015-03-31/functions/orders",
        ],
        "nothing but the function is read"
    );
    let token = world.run(&["token"]).ok().stdout;
    let (status, body) = get(
        &format!("{}/orders", world.state().stage_url(&world.emulator)),
        Some(token.trim()),
    );
    assert_eq!((status, body.as_str()), (200, "second"));
    watching.out.wait("wrote second", 1);
    let run = watching.end();
    let line = run
        .stdout
        .lines()
        .find(|line| line.contains("wrote second"))
        .unwrap();
    assert!(line.starts_with("orders 20"), "{line}");
    world.assert_settled("after a watch");
}

#[test]
fn what_is_logged_does_not_steer_the_terminal() {
    let world = up();
    let watching = Watching::start(&world, &[]);
    world.code(&code("\\x1b[2Jred"));
    watching.err.wait("live ", 1);
    live(&world);
    watching.out.wait("wrote \\u{1b}[2Jred", 1);
    assert!(!watching.end().stdout.contains('\u{1b}'));
}

#[test]
fn code_that_cannot_be_used_is_told_and_changes_nothing() {
    let world = up();
    let watching = Watching::start(&world, &[]);
    let path = world.path("lambda/index.mjs");
    calls(&world);
    world.code("");
    watching
        .err
        .wait("index.mjs, which has handler index.handler, is empty", 1);
    fs_err::rename(&path, world.path("lambda/other.mjs")).unwrap();
    watching.err.wait("handler index.handler not found", 1);
    fs_err::remove_dir_all(world.path("lambda")).unwrap();
    watching.err.wait("lambda does not exist", 1);
    assert!(calls(&world).is_empty());
    assert_eq!(live(&world), "first");
    fs_err::create_dir(world.path("lambda")).unwrap();
    world.code(&code("again"));
    watching.err.wait("live      orders: ", 1);
    assert_eq!(live(&world), "again");
    watching.end();
}

#[test]
fn a_broken_file_is_told_and_code_is_still_updated() {
    let world = up();
    let watching = Watching::start(&world, &[]);
    calls(&world);
    world.file(&FILE.replace("memory_mb = 128", "memory_mb = "));
    watching.err.wait("provision.toml has a problem", 1);
    world.file(&FILE.replace("memory_mb = 128", "memory_mb = 1"));
    watching.err.wait("memory_mb", 1);
    assert!(calls(&world).is_empty());
    world.code(&code("second"));
    watching.err.wait("live      orders: ", 1);
    assert_eq!(live(&world), "second");
    world.file(FILE);
    watching.err.wait("plan: nothing to do", 1);
    watching.end();
}

#[test]
fn without_a_terminal_other_changes_are_told_and_left() {
    let world = up();
    let watching = Watching::start(&world, &[]);
    world.file(&FILE.replace("128", "256"));
    watching.err.wait("memory_mb: 128 → 256", 1);
    watching.err.wait("no terminal to ask on; nothing was changed", 1);
    assert_eq!(memory(&world), 128);
    world.code(&code("second"));
    watching.err.wait("live      orders: ", 1);
    assert_eq!((memory(&world), live(&world)), (json!(128), "second".to_owned()));
    watching.end();
}

#[test]
fn with_yes_other_changes_are_made() {
    let world = up();
    let watching = Watching::start(&world, &["--yes", "--json"]);
    world.file(&FILE.replace("128", "256"));
    watching.err.wait("done: 1 changed", 1);
    assert_eq!(memory(&world), 256);
    world.code(&code("second"));
    watching.out.wait(r#""event":"live""#, 1);
    let run = watching.end();
    let events: Vec<Value> = run.events();
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!(
        (of("watching"), of("ended"), of("live"), of("not_applied")),
        (1, 3, 1, 0),
        "{}",
        run.stdout
    );
    world.run(&["plan", "--check"]).ok();
}

#[test]
fn on_a_terminal_other_changes_are_asked_about() {
    let world = up();
    let mut watching = Watching::on_terminal(&world);
    let question = "Apply this to stack orders in account 000000000000, region eu-west-1? [y/N]";
    world.file(&FILE.replace("128", "256"));
    watching.out.wait(question, 1);
    watching.type_in("n\n");
    watching.out.wait("cancelled; nothing was changed", 1);
    assert_eq!(memory(&world), 128);
    // While a question stands, code is live as ever, and the question is asked again.
    world.file(&FILE.replace("128", "512"));
    watching.out.wait(question, 2);
    world.code(&code("second"));
    watching.out.wait("the question is void", 1);
    watching.out.wait("live      orders: ", 1);
    watching.out.wait(question, 3);
    assert_eq!((memory(&world), live(&world)), (json!(128), "second".to_owned()));
    watching.type_in("y\n");
    watching.out.wait("done: 1 changed", 2);
    assert_eq!(memory(&world), 512);
    world.file(FILE);
    watching.out.wait(question, 4);
    watching.type_in("\u{3}");
    let run = watching.ended();
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert_eq!(memory(&world), 512);
}

#[test]
fn saves_of_every_kind_are_seen() {
    let world = up();
    let watching = Watching::start(&world, &[]);
    let folder = world.path("lambda");
    let mut seen = 0;
    let mut saved = |what: &str| {
        seen += 1;
        watching.err.wait("live      orders: ", seen);
        assert_eq!(live(&world), what);
    };
    // As editors save: another file takes the name.
    fs_err::write(folder.join(".index.swp"), code("renamed")).unwrap();
    fs_err::rename(folder.join(".index.swp"), folder.join("index.mjs")).unwrap();
    saved("renamed");
    // As builds do: another folder takes the name.
    fs_err::create_dir(world.path("built")).unwrap();
    fs_err::write(world.path("built/index.mjs"), code("built")).unwrap();
    fs_err::remove_dir_all(&folder).unwrap();
    fs_err::rename(world.path("built"), &folder).unwrap();
    saved("built");
    // In a folder that was made later.
    fs_err::create_dir_all(folder.join("lib/deep")).unwrap();
    fs_err::write(folder.join("lib/deep/text.mjs"), "export default 'deep';").unwrap();
    saved("built");
    fs_err::write(
        folder.join("index.mjs"),
        "import body from './lib/deep/text.mjs'; export const handler = async () => ({ statusCode: 200, body });",
    )
    .unwrap();
    saved("deep");
    fs_err::write(folder.join("lib/deep/text.mjs"), "export default 'deeper';").unwrap();
    saved("deeper");
    // What is not packed does not count.
    calls(&world);
    fs_err::write(folder.join(".env"), "A=1").unwrap();
    fs_err::write(folder.join(".provisionignore"), "*.md\n").unwrap();
    fs_err::write(folder.join("notes.md"), "notes").unwrap();
    fs_err::write(folder.join("lib/deep/text.mjs"), "export default 'last';").unwrap();
    saved("last");
    assert_eq!(
        calls(&world)
            .iter()
            .filter(|call| call.starts_with("PUT"))
            .count(),
        1
    );
    watching.end();
    world.assert_settled("after saves");
}

#[test]
fn a_burst_of_saves_ends_with_the_last() {
    let world = up();
    let watching = Watching::start(&world, &[]);
    for number in 0..20 {
        world.code(&code(&format!("save {number}")));
    }
    while live(&world) != "save 19" {
        thread::yield_now();
    }
    let run = watching.end();
    assert!(run.stderr.matches("live ").count() < 20, "{}", run.stderr);
    world.assert_settled("after a burst");
}

#[test]
fn ctrl_c_leaves_no_lock_and_no_file_behind() {
    let world = up();
    let before: Vec<_> = world
        .place
        .texts("state")
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    let run = Watching::start(&world, &[]).end();
    assert!(run.stderr.contains("the watch has ended"), "{}", run.stderr);
    let after: Vec<_> = world
        .place
        .texts("state")
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert_eq!(before, after);
    world.run(&["up"]).ok();
}

/// Saves new code, and acts on the process of the watch at a moment of the upload.
fn at_upload(
    world: &World,
    watching: &Watching,
    moment: Moment,
    act: impl Fn(u32) -> Act + Send + Sync + 'static,
) {
    let process = watching.child.id();
    let is_done = AtomicBool::new(false);
    world.proxy.rule(move |request, now| {
        if now == moment && is_upload(request) && !is_done.swap(true, Ordering::SeqCst) {
            act(process)
        } else {
            Act::Pass
        }
    });
    world.code(&code("second"));
}

#[test]
fn ctrl_c_waits_for_the_update_that_runs() {
    let world = up();
    let mut watching = Watching::start(&world, &[]);
    let err = watching.err.clone();
    at_upload(&world, &watching, Moment::Before, move |process| {
        signal(process, "INT");
        err.wait("press Ctrl-C again to leave at once", 1);
        Act::Pass
    });
    let run = watching.ended().ok();
    assert!(run.stderr.contains("live      orders: "), "{}", run.stderr);
    assert_eq!(live(&world), "second");
    world.assert_settled("after a Ctrl-C");
}

#[test]
fn after_a_kill_in_an_update_the_next_up_repairs() {
    for moment in [Moment::Before, Moment::After] {
        let world = up();
        let mut watching = Watching::start(&world, &[]);
        at_upload(&world, &watching, moment, |process| {
            signal(process, "KILL");
            Act::Cut
        });
        assert_eq!(watching.ended().code, -1);
        world.proxy.rule(|_, _| Act::Pass);
        assert_eq!(world.run(&["status"]).code, 3, "{moment:?}");
        world.run(&["up"]).ok();
        assert_eq!(live(&world), "second");
        world.assert_settled("after a kill");
        world.down();
    }
}

#[test]
fn a_failed_update_is_told_and_the_next_save_repairs_it() {
    let world = up();
    let watching = Watching::start(&world, &[]);
    at_upload(&world, &watching, Moment::Before, |_| {
        let headers = vec![("x-amzn-errortype", "InvalidParameterValueException")];
        Act::Answer(
            400,
            headers,
            r#"{"message":"Unzipped size is too large"}"#.to_owned(),
        )
    });
    watching.err.wait("step function:orders failed", 1);
    assert_eq!(live(&world), "first");
    world.code(&code("third"));
    watching.err.wait("done: 1 changed", 1);
    assert_eq!(live(&world), "third");
    assert!(!watching.end().stderr.contains("another run"));
}

#[test]
fn another_run_in_between_is_noticed() {
    let world = up();
    let watching = Watching::start(&world, &[]);
    fs_err::write(world.path("other.toml"), FILE.replace("128", "256")).unwrap();
    world.run(&["up", "--no-verify", "--config", "other.toml"]).ok();
    world.code(&code("second"));
    watching.err.wait("another run has changed the stack since", 1);
    watching.err.wait("no terminal to ask on; nothing was changed", 1);
    assert_eq!((memory(&world), live(&world)), (json!(256), "first".to_owned()));
    let run = watching.end();
    assert!(run.stderr.contains("memory_mb: 256 → 128"), "{}", run.stderr);
    let mut watching = Watching::start(&world, &["--yes"]);
    assert_eq!((memory(&world), live(&world)), (json!(128), "second".to_owned()));
    world.run(&["down", "--yes"]).ok();
    world.code(&code("third"));
    watching.err.wait("another run has deleted stack orders", 1);
    watching.ended().code(1);
}

#[test]
fn while_another_run_has_the_lock_an_update_waits() {
    let world = up();
    let watching = Watching::start(&world, &[]);
    let lock = fs_err::File::options()
        .write(true)
        .open(world.path("state/orders.lock"))
        .unwrap();
    lock.file().lock().unwrap();
    world.code(&code("second"));
    watching.err.wait("the state is locked by", 1);
    assert_eq!(live(&world), "first");
    lock.file().unlock().unwrap();
    watching.err.wait("live      orders: ", 1);
    assert_eq!(live(&world), "second");
    assert_eq!(watching.end().stderr.matches("the state is locked by").count(), 1);
}

#[test]
fn a_state_in_s3_is_leased_for_an_update_only() {
    let mut world = World::in_s3();
    world.location = Some("s3://team-state/provision");
    fs_err::create_dir(world.path("lambda")).unwrap();
    world.code(&code("first"));
    world.file(FILE);
    let watching = Watching::start(&world, &[]);
    let free = |story: &str| {
        let shown = world.run(&["state", "show"]).ok().stdout;
        assert!(!shown.contains("lease:"), "{story}: {shown}");
    };
    free("before a save");
    world.code(&code("second"));
    watching.err.wait("live      orders: ", 1);
    assert_eq!(live(&world), "second");
    free("after a save");
    world.run(&["up", "--no-verify"]).ok();
    world.code(&code("third"));
    watching.err.wait("live      orders: ", 2);
    watching.end();
}

#[test]
fn values_of_the_environment_are_never_printed() {
    let file = format!("{FILE}\n[functions.orders.environment]\nKEY = \"geheim-1\"\n");
    let world = World::of(&file, &code("first"));
    let watching = Watching::start(&world, &["--yes", "--json"]);
    world.code(&code("second"));
    watching.out.wait(r#""event":"live""#, 1);
    world.file(&file.replace("geheim-1", "geheim-2"));
    watching.err.wait("done: 1 changed", 2);
    world.file(&file.replace("geheim-1", "geheim-3\nKEY"));
    watching.out.wait(r#""event":"not_applied""#, 1);
    let run = watching.end();
    assert!(
        !run.stdout.contains("geheim") && !run.stderr.contains("geheim"),
        "{}{}",
        run.stdout,
        run.stderr
    );
}
