//! `down`: deletes everything that is on record.
//!
//! Must not need the configuration: the state file says what there is.

use std::io;

use super::session::{self, Session};
use super::talk::Talk;
use super::up::{ended, failure};
use crate::cli::{Down, Global};
use crate::engine::{self, Engine, RunResult};
use crate::error::Failure;
use crate::report::Event;
use crate::resources;
use crate::state::State;

/// Runs it.
pub async fn run(global: &Global, args: &Down, talk: &Talk) -> Result<(), Failure> {
    let stack = session::stack_name(global)?;
    let mut file = session::state_file(global, &stack);
    let Some(state) = session::load_state(&file)? else {
        return nothing(talk, &stack).map_err(Failure::from);
    };
    confirm(&state, args, talk)?;
    let session = Session::open(global, Some(&state.region), talk).await?;
    let _lock = session::lock(global, &stack, "down")?;
    let Some(mut state) = session::load_state(&file)? else {
        return nothing(talk, &stack).map_err(Failure::from);
    };
    session.check(&state)?;
    let stop = session::stop_signal()?;
    let mut told = Ok(());
    let mut report = |event: Event| {
        if told.is_ok() {
            told = talk.event(&event);
        }
    };
    let mut engine = Engine {
        cloud: session.aws.clone(),
        revive: resources::revive,
        state: &mut state,
        store: &mut file,
        report: &mut report,
        stop,
    };
    let result = engine::down::down(&mut engine).await.map_err(session::unusable)?;
    if result.is_done() {
        // Every step was seen to be gone before it went off the record.
        file.remove()?;
    }
    report(ended(&result, None));
    told?;
    if result.is_done() {
        Ok(())
    } else {
        Err(failure(result, "down --yes"))
    }
}

fn nothing(talk: &Talk, stack: &str) -> io::Result<()> {
    talk.say(&format!(
        "nothing is on record of stack {stack}: nothing to delete"
    ));
    if talk.is_json() {
        talk.event(&Event::Started {
            command: "down",
            stack: stack.to_owned(),
            steps: Vec::new(),
        })?;
        talk.event(&ended(&RunResult::default(), None))?;
    }
    Ok(())
}

fn confirm(state: &State, args: &Down, talk: &Talk) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    let question = format!(
        "Delete stack {} with {} steps in account {}, region {}{}?",
        state.stack,
        state.steps.len(),
        state.account,
        state.region,
        state
            .endpoint
            .as_ref()
            .map(|endpoint| format!(", at {endpoint}"))
            .unwrap_or_default()
    );
    match talk.ask(&question) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::usage("not confirmed: nothing was deleted")),
        None => Err(
            Failure::usage("there is no terminal to ask on: nothing was deleted")
                .hinted("pass --yes to delete without a question"),
        ),
    }
}
