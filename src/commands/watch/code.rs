//! The fast path of a watch: new code of functions, with nothing else read than these functions.
//!
//! Must not trust the record if another run may have changed the stack, nor update anything but code.

use super::super::engine_run;
use super::super::open;
use super::super::outputs::complete;
use super::super::plan::wish;
use super::{Version, Watch};
use crate::engine;
use crate::engine::plan::Plan;
use crate::engine::status::survey_of;
use crate::error::Failure;
use crate::package::Package;
use crate::report::Clock;
use crate::report::event::{Ended, Operation};
use crate::resource::Resource as _;
use crate::resources::{self, Function};
use crate::state::{Phase, Record, State, Store};

/// The command that holds the lock meanwhile.
const COMMAND: &str = "up --watch";

/// What became of an update.
pub(super) enum Update {
    /// The code of these functions is live.
    Live(Vec<String>),
    /// More than code differs, or may differ.
    Other,
    /// Another run has deleted the stack.
    Gone,
}

/// Whether a plan only updates the code of functions, as this run changed it.
pub(super) fn is_all_of(plan: &Plan) -> bool {
    plan.steps.iter().all(|planned| match planned.action {
        Operation::Unchanged => true,
        Operation::Update => {
            let mut fields = planned.fields.iter();
            let is_code = |name: &str| name == "code_sha256" || name == "code_size";
            planned.kind == Function::NAME && fields.all(|field| is_code(&field.field) && !field.drifted)
        }
        _ => false,
    })
}

/// Updates the functions whose recorded code is not the one that was packed. Every other step is taken to be as it is on record:
/// the watch has made or read it, and the version of the state says that no run came after that.
pub(super) async fn update(watch: &mut Watch<'_>) -> Result<Update, Failure> {
    let (store, state) = watch.declared.lock_again(COMMAND, watch.ui).await?;
    let ui = watch.ui.clone();
    let work = update_locked(watch, state, &*store);
    Box::pin(open::kept(&*store, &ui, work)).await
}

async fn update_locked(
    watch: &mut Watch<'_>,
    state: Option<State>,
    store: &dyn Store,
) -> Result<Update, Failure> {
    let Some(state) = state else {
        return Ok(Update::Gone);
    };
    if watch.known.is_before(&state) || !watch.known.is_done {
        return Ok(Update::Other);
    }
    let Watch {
        invocation,
        args,
        ui,
        declared,
        known,
        ..
    } = watch;
    declared.session.check(&state)?;
    declared.state = state;
    let stack = declared.stack();
    let has_new_code = |record: &Record| is_other(record, |name| declared.packages.get(name));
    let observed = survey_of(
        &declared.session.aws,
        resources::KINDS,
        &declared.state,
        has_new_code,
    )
    .await?;
    let options = wish(&args.changes, &stack)?;
    let plan = engine::plan::plan(&stack, &declared.state, &observed, resources::KINDS, &options);
    let plan = plan.map_err(open::unusable)?;
    if !is_all_of(&plan) {
        return Ok(Update::Other);
    }
    let functions: Vec<String> = (plan.with(Operation::Update))
        .filter_map(|planned| planned.step.split_once(':'))
        .map(|(_, name)| name.to_owned())
        .collect();
    if functions.is_empty() {
        return Ok(Update::Live(functions));
    }
    let clock = Clock::start();
    let result = engine_run::run(
        invocation,
        &declared.session,
        &mut declared.state,
        store,
        ui,
        clock,
        async |engine| engine::up::up(engine, &stack, observed, &plan, &options).await,
    )
    .await?;
    // After a Ctrl-C, the steps that nothing was to be done for may not have been looked at.
    let is_live = |name: &String| {
        let record = declared.state.record(&format!("function:{name}"));
        record.is_some_and(|record| record.phase == Phase::Ready && !has_new_code(record))
    };
    let is_done = result.failed.is_empty() && functions.iter().all(is_live);
    *known = Version::of(&declared.state, is_done);
    engine_run::warn(&result, ui);
    let how = if is_done {
        Ended::Done
    } else {
        engine_run::how(&result)
    };
    let outputs = (is_done).then(|| complete(&declared.state)).transpose()?;
    ui.event(&clock.stamp(engine_run::ended(how, &result, outputs.as_ref())));
    if is_done {
        Ok(Update::Live(functions))
    } else {
        Err(engine_run::failure(result, "up"))
    }
}

/// Whether the recorded code of a function is not what was packed.
fn is_other<'a>(record: &Record, package: impl Fn(&str) -> Option<&'a Package>) -> bool {
    let name = record.step.split_once(':').map(|(_, name)| name);
    let package = name.filter(|_| record.kind == Function::NAME).and_then(package);
    package.is_some_and(|package| record.desired["code_sha256"] != package.sha256)
}
