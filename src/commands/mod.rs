//! The commands: the only place where configuration, AWS, engine, state and report are wired together.
//!
//! Must not decide anything that the engine decides.

mod account;
mod backends;
mod call;
mod client;
mod completions;
mod config;
mod configuration;
mod confirm;
mod doctor;
mod document;
mod domains;
mod down;
mod engine_run;
mod follow_up;
mod foreign;
mod graph;
mod hand_out;
mod hints;
mod holders;
mod init;
mod invocation;
mod logs;
mod man;
mod open;
mod openapi;
mod operations;
mod outputs;
mod plan;
mod policy;
mod preflight;
mod recorded;
mod recover;
mod rights;
mod roles;
mod rotation;
mod sandbox;
mod schema;
mod secret;
mod secret_source;
mod shared_pool;
mod state;
mod status;
mod stop;
mod table;
mod timeline;
mod token;
mod try_call;
mod ui;
mod up;
pub mod upgrade;
mod verify;
mod watch;

use std::rc::Rc;
use std::{io, panic};

use clap::Parser;

use self::invocation::Invocation;
use crate::cli::{Cli, Color, Command};
use crate::error::{Failure, Kind};
use crate::report::terminal;
use ui::Ui;

/// Secrets are in memory, so no core dump may have it, nor another process of the user read it. Where the system does not
/// grant that, the run goes on as it would have.
fn close_memory() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Core)
    };
    let _ = setrlimit(Resource::Core, limit);
    // A program that takes the dumps does not ask for the limit.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Neither a Ctrl-C nor a panic leaves anything painted on the terminal.
fn leave_terminal_clean() {
    // Without it a Ctrl-C leaves a line behind, and nothing worse.
    drop(stop::clean_up());
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        terminal::close();
        print(info);
    }));
}

/// Does what was typed and returns the exit code.
pub async fn main() -> u8 {
    close_memory();
    if let Some(code) = completions::answer() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap prints each where it belongs.
            let code = u8::try_from(error.exit_code()).unwrap_or(Kind::Usage.exit_code());
            return match error.print() {
                Err(error) if code == 0 && error.kind() != io::ErrorKind::BrokenPipe => {
                    Kind::Failed.exit_code()
                }
                _ => code,
            };
        }
    };
    match cli.global.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let ui = Rc::new(Ui::new(&cli.global));
    if ui.is_live() {
        leave_terminal_clean();
    }
    let done = Box::pin(run(&cli, &ui)).await;
    // Why a command failed matters more than that stdout did not take all of it.
    let delivered = || match ui.stdout_result() {
        Err(error) if !error.reader_left => Err(Failure::from(error)),
        _ => Ok(()),
    };
    match done.and_then(|()| delivered()) {
        Ok(()) => 0,
        Err(mut failure) => {
            hints::add(&mut failure);
            ui.failure(&failure);
            failure.kind.exit_code()
        }
    }
}

async fn run(cli: &Cli, ui: &Rc<Ui>) -> Result<(), Failure> {
    let mut invocation = Invocation::resolve(&cli.global)?;
    invocation.plan = match &cli.command {
        Command::Plan(args) => args.out.clone(),
        Command::Up(args) => args.plan.clone(),
        _ => None,
    };
    let invocation = &invocation;
    match &cli.command {
        Command::Init(args) => init::run(invocation, args, ui),
        Command::Plan(args) => Box::pin(plan::run(invocation, args, ui)).await,
        Command::Up(args) if args.watch => Box::pin(watch::run(invocation, args, ui)).await,
        Command::Up(args) => Box::pin(up::run(invocation, args, ui)).await,
        Command::Status => Box::pin(status::run(invocation, ui)).await,
        Command::Verify(args) => verify::run(invocation, args, ui).await,
        Command::Token(args) => token::run(invocation, args, ui).await,
        Command::Call(args) => call::run(invocation, args, ui).await,
        Command::Logs(args) => logs::run(invocation, args, ui).await,
        Command::Outputs(args) => outputs::run(invocation, args, ui).await,
        Command::Client(args) => client::run(invocation, &args.action, ui).await,
        Command::Openapi(args) => openapi::run(invocation, args, ui).await,
        Command::Graph(args) => graph::run(invocation, args, ui),
        Command::Down(args) => down::run(invocation, args, ui).await,
        Command::Secret(args) => secret::run(invocation, &args.action, ui).await,
        Command::Policy(args) => policy::run(invocation, args, ui).await,
        Command::Config => config::run(invocation, ui),
        Command::Schema(args) => schema::run(args, ui),
        Command::State(args) => state::run(invocation, &args.action, ui).await,
        Command::Recover(args) => recover::run(invocation, args, ui).await,
        Command::Account(args) => account::run(invocation, &args.setting, ui).await,
        Command::Doctor => doctor::run(invocation, ui).await,
        Command::Sandbox(args) => sandbox::run(invocation, &args.action, ui).await,
        Command::Completions(args) => {
            completions::run(args.shell, ui);
            Ok(())
        }
        Command::Man(args) => man::run(&args.out, ui),
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::{Command, Stdio};

    use crate::report::live::{Display, Frame};

    /// Set in the process that is to panic.
    const PANICS: &str = "PROVISION_TEST_PANICS";
    /// Runs a command on a terminal of its own.
    const TERMINAL: &str = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";

    #[tokio::test]
    async fn a_panic_takes_what_is_painted_away_before_it_is_told() {
        if env::var_os(PANICS).is_some() {
            super::leave_terminal_clean();
            let display = Display::default();
            display.paint(Frame {
                lines: vec!["creating a role".to_owned()],
                done: Some((1, 3)),
                words: "1 of 3".to_owned(),
            });
            panic!("as the test wants");
        }
        let this = "commands::tests::a_panic_takes_what_is_painted_away_before_it_is_told";
        let run = Command::new("python3")
            .args(["-c", TERMINAL])
            .arg(env::current_exe().unwrap())
            .args([this, "--exact", "--nocapture"])
            .env(PANICS, "yes")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&run.stdout);
        assert_eq!(run.status.code(), Some(101), "{shown}");
        let painted = shown.rfind("1 of 3").expect("it is painted");
        let erased = painted + shown[painted..].find("\u{1b}[2A\u{1b}[J").expect("it is erased");
        let told = shown.find("as the test wants").expect("the panic is told");
        assert!(erased < told, "{shown:?}");
        assert!(!shown[told..].contains('\u{1b}'), "{shown:?}");
    }
}
