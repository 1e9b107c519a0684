//! `down`: deletes everything that is on record.
//!
//! Must not need the configuration: the state file says what there is.

use super::configuration;
use super::confirm;
use super::engine_run;
use super::foreign::{self, Extent};
use super::holders;
use super::invocation::Invocation;
use super::open::{self, Loaded, Recorded};
use super::plan::{self, UNPROTECT};
use super::ui::{READING, Ui};
use crate::cli::Down;
use crate::engine::{self, RunResult};
use crate::error::Failure;
use crate::foreign::Foreign;
use crate::report::event::Ended;
use crate::report::{Clock, Event};
use crate::resource::is_stranger;
use crate::resources;
use crate::state::{State, Store};

/// What a run ends with that nobody agreed to.
const NOTHING: &str = "nothing was deleted";
/// How to agree beforehand.
const YES: &str = "pass --yes to delete without a question";

/// Runs it.
pub(super) async fn run(invocation: &Invocation, args: &Down, ui: &Ui) -> Result<(), Failure> {
    let stack = configuration::stack_name(invocation)?;
    let Some(loaded) = Loaded::find(invocation, &stack, ui).await? else {
        nothing(ui, &stack);
        return Ok(());
    };
    if !args.yes && !Ui::can_confirm() {
        return Err(confirm::unasked(NOTHING, YES));
    }
    let address = loaded.address();
    let (loaded, store) = loaded.lock("down", ui).await?;
    let work = async {
        let Some(loaded) = loaded else {
            nothing(ui, &stack);
            return Ok(());
        };
        delete(invocation, args, loaded.open(ui).await?, &address, &*store, ui).await
    };
    Box::pin(open::kept(&*store, ui, work)).await
}

async fn delete(
    invocation: &Invocation,
    args: &Down,
    recorded: Recorded,
    address: &str,
    store: &dyn Store,
    ui: &Ui,
) -> Result<(), Failure> {
    let Recorded { mut state, session } = recorded;
    let aws = session.aws_for_a_survey();
    let reading = async {
        tokio::try_join!(
            async {
                if args.unprotect {
                    return Ok(Vec::new());
                }
                engine::down::protected(&aws, resources::KINDS, &state).await
            },
            foreign::look(&aws, &state, Extent::GoesAlong),
            engine::down::not_ours(&aws, resources::KINDS, &state)
        )
    };
    let (protected, foreign, mut not_ours) = ui.show_wait(READING, reading).await?;
    refuse_protected(&protected)?;
    holders::refuse_down(&aws, &state, &args.breaking).await?;
    foreign::refuse_shared_domain(&foreign, &not_ours)?;
    foreign::tell(&foreign, ui);
    if !args.yes {
        confirm(&state, &foreign, ui)?;
        // The answer may have come much later.
        not_ours = engine::down::not_ours(&session.aws, resources::KINDS, &state).await?;
    }
    session.aws.no_wait.set(args.no_wait);
    let clock = Clock::start();
    let result = engine_run::run(
        invocation,
        &session,
        &mut state,
        store,
        ui,
        clock,
        async |engine| engine::down::down(engine, not_ours, args.unprotect).await,
    )
    .await?;
    if result.is_done() {
        // Every step was seen to be gone before it went off the record.
        store.remove().await.map_err(open::state_failure)?;
    }
    ui.event(&clock.stamp(engine_run::ended(engine_run::how(&result), &result, None)));
    if result.is_done() {
        Ok(())
    } else {
        let command = if args.unprotect {
            "down --yes --unprotect"
        } else {
            "down --yes"
        };
        let strangers: Vec<bool> = (result.failed.iter())
            .map(|(_, error)| is_stranger(error))
            .collect();
        let mut failure = engine_run::failure(result, command);
        if strangers.contains(&true) {
            failure = failure.hinted(format!(
                "{}, then run `provision {command}` again",
                plan::NOT_OURS
            ));
        }
        if strangers.iter().all(|stranger| *stranger) && !strangers.is_empty() {
            failure = failure.hinted(format!(
                "otherwise delete {address}: everything else of this stack is deleted"
            ));
        }
        Err(failure)
    }
}

/// Before anything is deleted: a stack without its clients and its API would be all that is left.
fn refuse_protected(protected: &[(String, String)]) -> Result<(), Failure> {
    if protected.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = (protected.iter())
        .map(|(step, why)| format!("{step}: {why}: nothing was deleted"))
        .collect();
    let failure = Failure::all_of(reasons);
    Err(UNPROTECT.into_iter().fold(failure, Failure::hinted))
}

fn nothing(ui: &Ui, stack: &str) {
    ui.progress(&format!("stack {stack} has no state; nothing to delete"));
    if ui.is_json() {
        let clock = Clock::start();
        ui.event(&clock.stamp(Event::Started {
            command: "down",
            stack: stack.to_owned(),
            steps: Vec::new(),
        }));
        ui.event(&clock.stamp(engine_run::ended(Ended::Done, &RunResult::default(), None)));
    }
}

fn confirm(state: &State, foreign: &[Foreign], ui: &Ui) -> Result<(), Failure> {
    let question = format!(
        "Delete stack {} with {} steps{} in account {}, region {}{}?",
        state.stack,
        state.steps.len(),
        foreign::and_with_them(foreign.iter().filter(|one| !foreign::blocks(one)).count()),
        state.account,
        state.region,
        state
            .endpoint
            .as_ref()
            .map(|endpoint| format!(", at {endpoint}"))
            .unwrap_or_default()
    );
    confirm::confirm(ui, &question, NOTHING, YES)
}
