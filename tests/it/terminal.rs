//! What is painted on a terminal, and that nothing of it stays there.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Place;
use crate::support::proxy::{Act, Moment, Proxy};

/// Runs a command on a terminal of its own, presses keys when it shows a text, and prints all that the terminal got.
const TERMINAL: &str = r#"
import fcntl, json, os, pty, struct, sys, termios
rows, columns, keys = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.execv(sys.argv[4], sys.argv[4:])
out, seen = b"", 0
while True:
    try:
        part = os.read(terminal, 65536)
    except OSError:
        part = b""
    if not part:
        break
    out += part
    while keys and (at := out.find(keys[0][0].encode(), seen)) >= 0:
        seen = at + len(keys[0][0])
        os.write(terminal, keys.pop(0)[1].encode())
sys.stdout.buffer.write(out)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

const ROWS: usize = 24;
const COLUMNS: usize = 100;
const CTRL_C: &str = "\u{3}";

/// What a terminal got, and the exit code.
struct Shown {
    code: i32,
    bytes: String,
}

fn on_terminal(command: &Command, settings: &[(&str, &str)], keys: &[(&str, &str)]) -> Shown {
    let keys: Value = keys.iter().map(|(seen, key)| json!([seen, key])).collect();
    let mut terminal = Command::new("python3");
    terminal
        .args(["-c", TERMINAL, &ROWS.to_string(), &COLUMNS.to_string()])
        .arg(keys.to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    terminal.env("TERM", "xterm-256color").env_remove("CI");
    terminal.envs(settings.iter().copied());
    let output = terminal.output().unwrap();
    let shown = Shown {
        code: output.status.code().unwrap_or(-1),
        bytes: String::from_utf8(output.stdout).unwrap(),
    };
    assert!(!shown.bytes.contains("\u{1b}[?25l"), "the cursor is never hidden");
    shown
}

impl Shown {
    fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.bytes);
        self
    }

    fn is_painted(&self) -> bool {
        self.bytes.contains('\u{1b}')
    }

    /// The rows that are left on the terminal, as a terminal without an upper edge has them.
    fn left(&self) -> Vec<String> {
        let mut rows = vec![Vec::new()];
        let (mut row, mut column) = (0, 0);
        let mut bytes = self.bytes.chars();
        while let Some(next) = bytes.next() {
            match next {
                '\r' => column = 0,
                '\n' => row += 1,
                '\u{1b}' => {
                    let sequence: String = bytes.by_ref().take(1).collect();
                    assert_eq!(sequence, "[", "{:?}", self.bytes);
                    let mut number = String::new();
                    match bytes.by_ref().find(|c| {
                        let is_digit = c.is_ascii_digit();
                        if is_digit {
                            number.push(*c);
                        }
                        !is_digit
                    }) {
                        Some('A') => row -= number.parse::<usize>().unwrap(),
                        Some('J') => {
                            rows.truncate(row + 1);
                            rows[row].truncate(column);
                        }
                        other => panic!("{other:?} in {:?}", self.bytes),
                    }
                }
                shown => {
                    if column == COLUMNS {
                        (row, column) = (row + 1, 0);
                    }
                    rows.resize_with(rows.len().max(row + 1), Vec::new);
                    let width = rows[row].len().max(column + 1);
                    rows[row].resize(width, ' ');
                    rows[row][column] = shown;
                    column += 1;
                }
            }
            rows.resize_with(rows.len().max(row + 1), Vec::new);
        }
        rows.iter().map(|row| row.iter().collect()).collect()
    }

    fn assert_clean(&self) {
        let left = self.left();
        let is_painted = |row: &&String| {
            [
                "[=",
                "[>",
                "[ ",
                "creating  ",
                "deleting  ",
                "signing in",
                "probing",
            ]
            .iter()
            .any(|part| row.contains(part))
        };
        assert_eq!(left.iter().find(is_painted), None, "{left:#?}");
        assert_eq!(left.last().map(String::as_str), Some(""), "{left:#?}");
    }
}

/// An emulator behind a proxy that answers one operation late.
fn slow(operation: &'static str) -> (Place, Proxy) {
    let place = Place::new();
    let proxy = Proxy::start(&place.emulator());
    proxy.rule(move |request, moment| {
        if moment == Moment::Before && request.operation() == operation {
            sleep(Duration::from_secs(4));
        }
        Act::Pass
    });
    (place, proxy)
}

#[test]
fn a_terminal_shows_the_steps_and_keeps_only_the_lines() {
    let place = Place::new();
    let endpoint = place.emulator();
    let up = on_terminal(&place.at(&endpoint, &["up"]), &[], &[]).code(0);
    assert!(up.bytes.contains(" of 15 steps"), "{}", up.bytes);
    up.assert_clean();
    let left = up.left();
    let created = left.iter().filter(|row| row.starts_with("created   "));
    assert_eq!(created.count(), 15, "{left:#?}");
    // The same lines as in a pipe, where nothing is painted.
    for (args, settings) in [
        (&["down", "--yes"][..], &[("CI", "1")][..]),
        (&["up"], &[("TERM", "dumb")]),
        (&["down", "--yes", "-q"], &[]),
        (&["up", "--json"], &[]),
    ] {
        let shown = on_terminal(&place.at(&endpoint, args), settings, &[]).code(0);
        assert!(!shown.is_painted(), "{args:?}: {}", shown.bytes);
    }
    let piped = place.run_at(&endpoint, &["down", "--yes"]).ok();
    assert!(
        !piped.stderr.contains('\u{1b}') && !piped.stderr.contains("[="),
        "{}",
        piped.stderr
    );
}

#[test]
fn ctrl_c_leaves_the_terminal_clean_and_the_run_resumable() {
    let (place, proxy) = slow("CreateUserPool");
    let running = "creating  user-pool";
    let once = on_terminal(&place.at(&proxy.endpoint, &["up"]), &[], &[(running, CTRL_C)]).code(130);
    once.assert_clean();
    let mut said = String::new();
    for row in once.left() {
        writeln!(said, "{row}").unwrap();
    }
    assert!(said.contains("stopping: "), "{said}");
    assert!(
        said.contains("created   user-pool"),
        "a running call is not dropped: {said}"
    );
    place.run_at(&proxy.endpoint, &["down", "--yes"]).ok();
    let keys = [(running, CTRL_C), ("stopping: ", CTRL_C)];
    let twice = on_terminal(&place.at(&proxy.endpoint, &["up"]), &[], &keys).code(130);
    twice.assert_clean();
    assert!(!twice.bytes.contains("created   user-pool"), "{}", twice.bytes);
    place.run_at(&proxy.endpoint, &["up"]).ok();
}

#[test]
fn a_wait_of_more_than_a_second_is_shown_and_ctrl_c_ends_it() {
    let (place, proxy) = slow("GetCallerIdentity");
    let keys = [("signing in to AWS", CTRL_C)];
    let plan = on_terminal(&place.at(&proxy.endpoint, &["plan"]), &[], &keys).code(130);
    plan.assert_clean();
    let plan = on_terminal(&place.at(&proxy.endpoint, &["plan"]), &[], &[]).code(0);
    assert!(plan.bytes.contains("signing in to AWS"), "{}", plan.bytes);
    plan.assert_clean();
}

#[test]
fn a_deletion_and_probes_are_shown_while_they_are_under_way() {
    let place = Place::new();
    let proxy = Proxy::start(&place.emulator());
    place.run_at(&proxy.endpoint, &["up", "--no-verify"]).ok();
    proxy.rule(|request, moment| {
        let is_probe = moment == Moment::Before && request.path.contains("_user_request_");
        if is_probe || moment == Moment::Before && request.operation() == "DeleteUserPool" {
            sleep(Duration::from_secs(4));
        }
        Act::Pass
    });
    for (args, shown) in [
        (&["verify"][..], "probing the API"),
        (&["down", "--yes"], "deleting  user-pool"),
    ] {
        let run = on_terminal(&place.at(&proxy.endpoint, args), &[], &[]).code(0);
        assert!(run.bytes.contains(shown), "{args:?}: {}", run.bytes);
        run.assert_clean();
    }
}

#[test]
fn init_asks_for_what_was_not_typed_and_again_after_a_wrong_answer() {
    let place = Place::new();
    let keys = [
        ("name of the stack? [pets] ", "Pets\r"),
        ("name of the stack? [pets] ", "pet-shop\r"),
        (
            "language of its function (node, python, rust, none)? [node] ",
            "cobol\r",
        ),
        (
            "language of its function (node, python, rust, none)? [node] ",
            "python\r",
        ),
        ("AWS region? [as for the AWS CLI] ", "eu-west-3\r"),
    ];
    let init = on_terminal(&place.command(&["init", "pets"]), &[], &keys).code(0);
    for text in [
        "2 to 30 lower-case letters",
        "expected node, python, rust or none, got \"cobol\"",
        "stack pet-shop: 2 files written",
    ] {
        assert!(init.bytes.contains(text), "{}", init.bytes);
    }
    let file = fs_err::read_to_string(place.path().join("pets/provision.toml")).unwrap();
    assert!(
        file.contains("name = \"pet-shop\"\nregion = \"eu-west-3\""),
        "{file}"
    );
    assert!(place.path().join("pets/hello/main.py").exists());

    // Enter takes the defaults, and --yes asks nothing.
    let enter = [
        ("[defaults] ", "\r"),
        ("[node] ", "\r"),
        ("[as for the AWS CLI] ", "\r"),
    ];
    on_terminal(&place.command(&["init", "defaults"]), &[], &enter).code(0);
    on_terminal(
        &place.command(&["init", "other", "--name", "defaults", "--yes"]),
        &[],
        &[],
    )
    .code(0);
    let file =
        |folder: &str| fs_err::read_to_string(place.path().join(folder).join("provision.toml")).unwrap();
    assert_eq!(file("defaults"), file("other"));

    let left = [("[left] ", "\u{4}")];
    let cancelled = on_terminal(&place.command(&["init", "left"]), &[], &left).code(2);
    assert!(
        cancelled.bytes.contains("cancelled; nothing was written"),
        "{}",
        cancelled.bytes
    );
    assert!(!place.path().join("left").exists());
}
