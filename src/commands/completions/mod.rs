//! `completions`: the scripts of the shells, and what they ask while a user types.
//!
//! The scripts call this program again, with `PROVISION_COMPLETE` set and the line up to the cursor. Must not call AWS, write
//! anything to a disk, or print an error: whoever presses Tab has not asked for a command to be run.

mod known;
mod line;
mod shells;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};

use clap::builder::{Str, ValueHint};
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches, ValueEnum};
use clap_complete::CompletionCandidate;
use clap_complete::engine::{ArgValueCandidates, complete};
use reqwest::Method;

use self::known::Known;
use self::line::Line;
use super::operations::METHODS;
use super::ui::Ui;
use crate::cli::{Cli, Global, Shell};

/// Set by the scripts: the shell that asks.
const ASKS: &str = "PROVISION_COMPLETE";

/// The places that a secret can be read from or written to.
const PLACES: [&str; 4] = ["file:", "env:", "secretsmanager:", "ssm:"];

/// Prints the script of a shell.
pub(super) fn run(shell: Shell, ui: &Ui) {
    ui.bytes(shells::script(shell).as_bytes());
}

/// Prints what the last word of the line can be, if a script of a shell asks that. Returns the exit code then.
pub(super) fn answer() -> Option<u8> {
    let shell = env::var_os(ASKS)?;
    let shell = Shell::from_str(shell.to_str()?, false).ok()?;
    let mut arguments = env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned());
    let line = arguments.next()?;
    let line = Line::read(
        &line,
        shells::syntax(shell, &arguments.next().unwrap_or_default()),
    );
    let shown = shells::shown(shell, &line, &candidates(&line));
    // Nobody reads why the shell did not take it.
    drop(io::stdout().write_all(shown.as_bytes()));
    Some(0)
}

/// What the last word can be, by what the words before it say.
fn candidates(line: &Line) -> Vec<CompletionCandidate> {
    let before = &line.words[..line.words.len() - 1];
    let typed = Cli::command()
        .ignore_errors(true)
        .try_get_matches_from(before)
        .ok();
    let global = typed
        .as_ref()
        .and_then(|typed| Global::from_arg_matches(typed).ok());
    let known = global.map(|global| Known::read(&global)).unwrap_or_default();
    let method = typed.as_ref().and_then(method);
    let words = line.words.iter().map(OsString::from).collect();
    let last = line.words.len() - 1;
    let folder = env::current_dir().ok();
    let mut command = with_names(Cli::command(), &known, method);
    let mut found = complete(&mut command, words, last, folder.as_deref()).unwrap_or_default();
    found.retain(|found| {
        let value = found.get_value().to_str();
        value.is_some_and(|value| !value.contains(char::is_control))
    });
    // Options are many, and everyone knows how to ask for them.
    let is_option = |found: &CompletionCandidate| found.get_value().to_string_lossy().starts_with('-');
    if line.last().is_empty() && !found.iter().all(is_option) {
        found.retain(|found| !is_option(found));
    }
    found
}

/// The method of `call`, if it was typed.
fn method(typed: &ArgMatches) -> Option<&Method> {
    let call = typed.subcommand_matches("call")?;
    call.try_get_one("method").ok().flatten()
}

/// The command line with the names that its values can have.
fn with_names(command: Command, known: &Known, method: Option<&Method>) -> Command {
    command
        .mut_args(|arg| with_values(arg, known, method))
        .mut_subcommands(|command| with_names(command, known, method))
}

fn with_values(arg: Arg, known: &Known, method: Option<&Method>) -> Arg {
    let name = arg.get_value_names().and_then(<[_]>::first).map(Str::as_str);
    let values: Vec<(String, String)> = match (arg.get_id().as_str(), name) {
        // A client of others.
        ("yes_break", _) => return arg,
        ("stack", _) => plain(&known.stacks),
        ("env", _) => plain(&known.environments),
        (_, Some("CLIENT")) => plain(&known.clients),
        (_, Some("FUNCTION")) => plain(&known.functions),
        (_, Some("STEP")) => plain(&known.steps),
        (_, Some("STEP=ID")) => plain(known.steps.iter().map(|step| format!("{step}="))),
        (_, Some("SCOPE")) => known.scopes.clone().into_iter().collect(),
        (_, Some("METHOD")) => plain(METHODS.into_iter().filter(|method| known.has_method(method))),
        (_, Some("PATH")) => known.paths(method.map(Method::as_str)),
        (_, Some("SOURCE" | "[CLIENT=]SOURCE")) => plain(PLACES),
        (_, Some("DEST")) => plain(PLACES.into_iter().filter(|place| *place != "env:")),
        (_, Some("LOCATION" | "FOLDER")) => return arg.value_hint(ValueHint::DirPath),
        _ => return arg,
    };
    arg.add(ArgValueCandidates::new(move || {
        let candidate = |(value, help): &(String, String)| {
            let help = Some(help).filter(|help| !help.is_empty());
            CompletionCandidate::new(value).help(help.map(Into::into))
        };
        values.iter().map(candidate).collect()
    }))
}

/// Names that need no explanation.
fn plain(names: impl IntoIterator<Item = impl ToString>) -> Vec<(String, String)> {
    (names.into_iter())
        .map(|name| (name.to_string(), String::new()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arguments whose value is not chosen from names that are known here.
    fn without_values(command: &Command, found: &mut Vec<String>) {
        for arg in command
            .get_arguments()
            .filter(|arg| arg.get_action().takes_values())
        {
            let is_known = arg.get::<ArgValueCandidates>().is_some()
                || !arg.get_possible_values().is_empty()
                || arg.get_value_hint() != ValueHint::Unknown;
            if !is_known && !found.contains(&arg.to_string()) {
                found.push(arg.to_string());
            }
        }
        for command in command.get_subcommands() {
            without_values(command, found);
        }
    }

    #[test]
    fn every_value_that_has_a_name_is_completed() {
        let mut found = Vec::new();
        let mut command = with_names(Cli::command(), &Known::default(), None);
        command.build();
        without_values(&command, &mut found);
        for name in [
            "CLIENT", "FUNCTION", "STEP", "SCOPE", "METHOD", "LOCATION", "FOLDER", "FILE",
        ] {
            let left: Vec<_> = (found.iter())
                .filter(|arg| arg.contains(&format!("<{name}>")) || arg.contains(&format!("[{name}]")))
                .filter(|arg| !arg.starts_with("--yes-break"))
                .collect();
            assert!(left.is_empty(), "{left:?} of {found:?}");
        }
        assert!(found.iter().any(|arg| arg.starts_with("--region")), "{found:?}");
    }
}
