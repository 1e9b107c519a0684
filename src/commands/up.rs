//! `up`: makes the stack what the configuration says, or goes on where an interrupted run stopped.
//!
//! Must not begin before everything that can be checked without AWS is checked, nor delete anything unasked where there
//! is somebody to ask.

use std::rc::Rc;
use std::time::Duration;

use anyhow::anyhow;

use super::backends;
use super::confirm;
use super::domains;
use super::engine_run;
use super::foreign::{self, Extent};
use super::holders;
use super::invocation::Invocation;
use super::open::{self, Declared};
use super::outputs::complete;
use super::plan::saved::Saved;
use super::plan::{self, Facts};
use super::preflight;
use super::recover;
use super::rights;
use super::secret_source::Sources;
use super::timeline;
use super::try_call;
use super::ui::{READING, Ui};
use super::verify;
use crate::aws::Identity;
use crate::cli::Up;
use crate::config::Config;
use crate::engine::plan::Plan;
use crate::engine::{self, status};
use crate::error::{Failure, Kind};
use crate::foreign::Foreign;
use crate::report::event::{Ended, Operation};
use crate::report::{Clock, Event, TimedEvent};
use crate::resources;
use crate::state::{State, Store};

/// Runs it, and draws it if that is wanted.
pub(super) async fn run(invocation: &Invocation, args: &Up, ui: &Rc<Ui>) -> Result<(), Failure> {
    let Some(file) = &args.timeline else {
        return up(invocation, args, None, ui).await.map(drop);
    };
    timeline::check(file)?;
    ui.record_timeline();
    let done = up(invocation, args, None, ui).await.map(drop);
    let written = timeline::write(file, ui);
    // Why the run failed matters more than why its picture could not be written.
    done.and(written)
}

/// Returns what it made, with the state as it is then. With `agreed` it asks nothing, and does exactly that.
///
/// # Errors
/// Of kind [`Kind::Differs`] if what it would do is not what was agreed; nothing was changed then.
pub(super) async fn up(
    invocation: &Invocation,
    args: &Up,
    agreed: Option<&Plan>,
    ui: &Rc<Ui>,
) -> Result<Declared, Failure> {
    let saved = args.plan.as_deref().map(Saved::read).transpose()?;
    let check = |config: &Config, identity: &Identity| match &saved {
        Some(saved) => saved.refuse_elsewhere(invocation, config, identity),
        None => Ok(()),
    };
    let (mut declared, store) = Box::pin(Declared::open_locked(invocation, "up", check, ui)).await?;
    let work = apply(
        invocation,
        args,
        (saved.as_ref(), agreed),
        &mut declared,
        &*store,
        ui,
    );
    Box::pin(open::kept(&*store, ui, work)).await?;
    Ok(declared)
}

async fn apply(
    invocation: &Invocation,
    args: &Up,
    (saved, agreed): (Option<&Saved>, Option<&Plan>),
    declared: &mut Declared,
    store: &dyn Store,
    ui: &Rc<Ui>,
) -> Result<(), Failure> {
    declared.refuse(invocation)?;
    let stack = declared.stack();
    // As a plan of a stack has it that is not there yet.
    let reviewed = saved.map(|saved| (saved, declared.stack_of(plan::OWNER)));
    let changes = saved.map_or(&args.changes, Saved::changes);
    let Declared {
        config,
        packages,
        state,
        session,
        shared_pool,
        ..
    } = declared;
    let (config, session) = (&*config, &*session);
    if state.steps.is_empty() {
        if let Some(saved) = saved {
            saved.refuse_state(state)?;
        }
        let pool = shared_pool.pool.as_ref();
        preflight::check(session, config, packages, pool, state.serial == 0, ui).await?;
    }
    plan::warn(&stack, config, ui);
    backends::warn(config, &session.identity, ui);
    if let Some(saved) = saved {
        saved.refuse_gone(&stack)?;
    }
    let mut wish = plan::wish(changes, &stack)?;
    let aws = session.aws_for_a_survey();
    let reading = async {
        tokio::try_join!(
            status::survey(&aws, resources::KINDS, state),
            foreign::look(&aws, state, Extent::All)
        )
    };
    let (lives, foreign) = ui.show_wait(READING, reading).await?;
    domains::warn(&session.aws, ui);
    wish.occupied = foreign::occupied(state, &foreign)?;
    let plan = engine::plan::plan(&stack, state, &lives, resources::KINDS, &wish).map_err(open::unusable)?;
    if agreed.is_some_and(|agreed| *agreed != plan) {
        let error = anyhow!("something has changed since the plan was shown; nothing was changed");
        return Err(Failure::new(Kind::Differs, error));
    }
    let rights = rights::changed(&plan, state, &lives);
    if let Some((saved, stack)) = &reviewed {
        let facts = Facts {
            invocation,
            config,
            identity: &session.identity,
            stack,
            state,
            observed: &lives,
            plan: &plan,
            foreign: &foreign,
            changes,
        };
        saved.refuse_moved(&facts, &wish, &rights)?;
    }
    plan::refuse(&plan)?;
    foreign::refuse(&plan, &foreign, changes.allow_foreign)?;
    backends::refuse_absent(&aws, config, &plan).await?;
    holders::refuse(&aws, state, &plan, &changes.breaking).await?;
    if !state.steps.is_empty() {
        preflight::check_log_role(session, config, &lives).await?;
    }
    if !plan.is_empty() && agreed.is_none() {
        let text = if ui.is_live() {
            plan::text::summary(&plan)
        } else {
            plan::text::text(&plan, false)
        };
        ui.progress(text.trim_end());
    }
    if !rights.is_empty() {
        ui.event(&TimedEvent {
            at: Duration::ZERO,
            event: Event::Rights { rights },
        });
    }
    foreign::tell(&foreign, ui);
    if saved.is_none() && agreed.is_none() {
        confirm(&plan, state, &foreign, args, ui)?;
    }
    let deadline = verify::deadline(state);
    let clock = Clock::start();
    let result = engine_run::run(invocation, session, state, store, ui, clock, async |engine| {
        engine::up::up(engine, &stack, lives, &plan, &wish).await
    })
    .await?;
    let proof = if result.is_done() && result.changed > 0 && !args.no_verify {
        verify::after_up(session, state, &Sources::configured(config), deadline, ui).await
    } else {
        Ok(())
    };
    let (how, outputs) = match &proof {
        Ok(()) if result.is_done() => (Ended::Done, Some(complete(state)?)),
        Ok(()) => (engine_run::how(&result), None),
        Err(failure) if failure.kind == Kind::Interrupted => (Ended::Interrupted, None),
        Err(_) => (Ended::Failed, None),
    };
    engine_run::warn(&result, ui);
    domains::warn(&session.aws, ui);
    if store.late_until().is_some() {
        recover::warn_of_unrecorded(&session.cx(ui), state, ui).await?;
    }
    ui.event(&clock.stamp(engine_run::ended(how, &result, outputs.as_ref())));
    proof?;
    let Some(outputs) = outputs else {
        return Err(engine_run::failure(result, "up"));
    };
    if !ui.is_json() {
        ui.data(&outputs.lines());
        for command in &outputs.to_be_run {
            ui.hint(&format!(
                "a back end is a function of another account, whose owner has to run `{command}`"
            ));
        }
    }
    if let Some(call) = try_call::suggestion(config, invocation) {
        ui.progress(&format!("try: `{call}`"));
    }
    Ok(())
}

/// Asks, where there is somebody to ask, before anything is deleted.
fn confirm(plan: &Plan, state: &State, foreign: &[Foreign], args: &Up, ui: &Ui) -> Result<(), Failure> {
    let count = |change| plan.with(change).count();
    let (deleted, replaced) = (count(Operation::Delete), count(Operation::Replace));
    if args.yes || deleted + replaced == 0 || !Ui::can_confirm() {
        return Ok(());
    }
    let question = format!(
        "Delete {deleted} and replace {replaced} of the steps of stack {}{} in account {}, region {}?",
        state.stack,
        foreign::and_with_them(foreign::goes_along(plan, foreign).len()),
        state.account,
        state.region
    );
    confirm::confirm(
        ui,
        &question,
        "nothing was changed",
        "pass --yes to change without a question",
    )
}
