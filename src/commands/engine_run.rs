//! A run of the engine: its state, its store, its listener and its stop signal put together.
//!
//! Must not decide what the run does.

use anyhow::anyhow;
use serde_json::Value;

use super::invocation::Invocation;
use super::open::{self, Session};
use super::outputs::Outputs;
use super::stop::stop_signal;
use super::ui::Ui;
use crate::aws::Aws;
use crate::engine::{Engine, Ledger, RunResult};
use crate::error::{Failure, Kind};
use crate::files::{self, Replacement};
use crate::report::event::Ended;
use crate::report::{Clock, Event};
use crate::resource::{InTheWay, Result, in_the_way, is_stranger};
use crate::resources;
use crate::state::{State, StateError, Store};

/// Lets the engine do `work` on `state`, which is kept by `store`, and tells its events. What a run brought that may not write
/// the state any more goes into a file of its own.
pub(super) async fn run(
    invocation: &Invocation,
    session: &Session,
    state: &mut State,
    store: &dyn Store,
    ui: &Ui,
    clock: Clock,
    work: impl AsyncFnOnce(&mut Engine<'_, Aws>) -> Result<RunResult>,
) -> Result<RunResult, Failure> {
    let mut engine = Engine {
        cloud: session.aws.clone(),
        kinds: resources::KINDS,
        ledger: Ledger::new(state, store),
        report: &mut |event| ui.event(&event),
        clock,
        stop: stop_signal()?,
        lost: false,
        late_until: store.late_until(),
    };
    let work = ui.show_run(clock, work(&mut engine)).await;
    let mut result = work.map_err(open::unusable)?;
    result.lost = engine.lost;
    if !result.lost
        && let Some((_, first)) = result.failed.first_mut()
        && let Err(lost @ StateError::Lost { .. }) = store.check().await
    {
        // No write found it: the fence held back the calls.
        result.lost = true;
        *first = std::mem::replace(first, anyhow!("")).context(lost);
    }
    if result.lost {
        rescue(invocation, engine.ledger.state, ui);
    }
    Ok(result)
}

/// Writes down what this run knows. The run that has the state now looks for what this one began; the file is for people.
fn rescue(invocation: &Invocation, state: &State, ui: &Ui) {
    let folder = invocation.folder();
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let file = folder.join(format!(
        "{}.rescue-{now}-{}.json",
        state.stack,
        std::process::id()
    ));
    let written = files::make_folder(&folder).and_then(|()| {
        let text = serde_json::to_vec_pretty(state)?;
        Replacement::write(&file, &text, 0o600)?.persist(&file)
    });
    match written {
        Ok(()) => ui.warn(&format!(
            "what this run made is not in the state, which is not this run's any more; it is in {}",
            file.display()
        )),
        Err(error) => ui.warn(&format!(
            "what this run made could not be written to {}: {error}",
            file.display()
        )),
    }
}

/// How a run ended.
pub(super) fn how(result: &RunResult) -> Ended {
    if result.is_done() {
        Ended::Done
    } else if result.interrupted && result.failed.is_empty() {
        Ended::Interrupted
    } else {
        Ended::Failed
    }
}

/// The last event of a run.
pub(super) fn ended(how: Ended, result: &RunResult, outputs: Option<&Outputs>) -> Event {
    Event::Ended {
        result: how,
        changed: result.changed,
        outputs: serde_json::to_value(outputs).unwrap_or(Value::Null),
    }
}

/// Warns of what stays because others use it: of each, what uses it and what to do.
pub(super) fn warn(result: &RunResult, ui: &Ui) {
    for (step, error) in &result.left {
        let foreign = in_the_way(error).expect("only what is in the way keeps what an update left");
        ui.warn(&format!(
            "step {step} is done, and what is out of use stays: {error:#}"
        ));
        ui.hint(&if_it_may_go(foreign, "up"));
    }
}

fn if_it_may_go(foreign: &InTheWay, command: &str) -> String {
    format!(
        "if it may go, run `{}`, then `provision {command}` again",
        foreign.command
    )
}

/// Why a run is not done, and how to go on.
pub(super) fn failure(result: RunResult, command: &str) -> Failure {
    let lost = result.lost;
    let held: Vec<&str> = result.held_back.iter().map(|(step, _)| step.as_str()).collect();
    let resume = format!("run `provision {command}` again: it goes on where this run stopped");
    let failed = || result.failed.iter();
    // To run it again is of no use before that.
    let commands: Vec<String> = failed()
        .filter_map(|(_, error)| in_the_way(error))
        .map(|foreign| if_it_may_go(foreign, command))
        .collect();
    let is_settled_elsewhere = failed().next().is_some()
        && failed().all(|(_, error)| in_the_way(error).is_some() || is_stranger(error) && command != "up");
    let others: Vec<&str> = failed().skip(1).map(|(step, _)| step.as_str()).collect();
    let mut also = String::new();
    if !others.is_empty() {
        also = format!("; also failed: {}", others.join(", "));
    }
    if !held.is_empty() {
        also = format!("{also}; held back: {}", held.join(", "));
    }
    let Some((step, error)) = result.failed.into_iter().next() else {
        let message = if result.interrupted {
            anyhow!("interrupted; what was running is done and on record")
        } else {
            anyhow!("not everything could begin{also}")
        };
        let kind = if result.interrupted {
            Kind::Interrupted
        } else {
            Kind::Failed
        };
        return Failure::new(kind, message).hinted(resume);
    };
    let error = error.context(format!("step {step} failed{also}"));
    if lost {
        return Failure::new(Kind::Locked, error)
            .hinted("what is said above to be not on record is in AWS: look for it by its id")
            .hinted(format!("once no other run is under way, {resume}"));
    }
    let failure = commands.into_iter().fold(Failure::from(error), Failure::hinted);
    if is_settled_elsewhere {
        failure
    } else {
        failure.hinted(resume)
    }
}
