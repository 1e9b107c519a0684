//! `recover`: puts a stack on record again whose state is lost.
//!
//! Must not change anything in AWS, nor guess where several could be meant.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context;
use serde_json::json;

use super::document::document;
use super::invocation::Invocation;
use super::open::{self, Declared};
use super::recorded::ByKind;
use super::ui::Ui;
use crate::aws::Aws;
use crate::aws::owned::{self, Owned};
use crate::cli;
use crate::engine::recover::{Recovered, recover};
use crate::error::Failure;
use crate::resource::{Cx, Result};
use crate::resources::{self, SharedPool};
use crate::state::{State, Store};
use crate::untrusted::printable;

/// Runs it.
pub(super) async fn run(
    invocation: &Invocation,
    args: &cli::Recover,
    ui: &std::rc::Rc<Ui>,
) -> Result<(), Failure> {
    let (declared, store) = Declared::open_locked(invocation, "recover", |_, _| Ok(()), ui).await?;
    let work = put_on_record(args, declared, &*store, ui);
    Box::pin(open::kept(&*store, ui, work)).await
}

async fn put_on_record(
    args: &cli::Recover,
    mut declared: Declared,
    store: &dyn Store,
    ui: &std::rc::Rc<Ui>,
) -> Result<(), Failure> {
    let stack_name = declared.state.stack.clone();
    if declared.state.serial > 0 {
        return Err(
            Failure::usage(format!("stack {stack_name} has a state; nothing was recovered"))
                .hinted("see it with `provision status`"),
        );
    }
    let cx = declared.session.cx(ui);
    let pool = declared.shared_pool.pool.as_ref();
    let all = Box::pin(all(&cx, &stack_name, pool))
        .await
        .context("cannot look for what the stack has made")?;
    declared.state.owner = owner(&all, args.owner.as_deref(), &stack_name)?;
    let picks: HashMap<String, String> = args.picks.iter().cloned().collect();
    let stack = declared.stack();
    if let Some(unknown) = (picks.keys()).find(|step| stack.steps().iter().all(|known| known.name != **step))
    {
        return Err(Failure::usage(format!(
            "the configuration has no step {}",
            printable(unknown)
        )));
    }
    let aws = declared.session.aws.clone();
    let state = &mut declared.state;
    let recovered = recover(&aws, resources::KINDS, &stack, &picks, state).await?;
    refuse_undecided(&recovered)?;
    if state.steps.is_empty() {
        return Err(Failure::usage(format!(
            "nothing of stack {stack_name} with owner {} was found; nothing was recorded",
            state.owner
        )));
    }
    let extra = not_on_record(&all, state)?;
    state.serial = 1;
    store.commit(state).await.map_err(open::state_failure)?;
    tell(state, &recovered, &extra, ui)
}

/// Warns of what carries the stack's owner and is not on record: after a run that took over the lease of another one, whose last
/// requests may have had an effect that nobody looked for.
pub(super) async fn warn_of_unrecorded(cx: &Cx<Aws>, state: &State, ui: &Ui) -> Result<(), Failure> {
    let pool = state.one::<SharedPool>()?.map(|pool| pool.desired);
    let all = match Box::pin(all(cx, &state.stack, pool.as_ref())).await {
        Ok(all) => all,
        Err(error) => {
            ui.warn(&format!(
                "cannot look for what the run before may have made that is not on record: {error:#}"
            ));
            return Ok(());
        }
    };
    for one in not_on_record(&all, state)? {
        ui.warn(&format!(
            "{} {} has this stack's owner and is not on record: the run before may have made it; delete it if nothing needs it",
            one.kind,
            printable(&one.id)
        ));
    }
    Ok(())
}

/// All that stacks of this name have made, whoever their owners are.
async fn all(cx: &Cx<Aws>, stack: &str, shared_pool: Option<&SharedPool>) -> Result<Vec<Owned>> {
    let (apis, pools, functions, groups, roles, shared) = tokio::try_join!(
        owned::apis(cx, stack),
        owned::pools(cx, stack, stack),
        owned::functions(cx, stack),
        owned::log_groups(cx, stack),
        owned::roles(cx, stack),
        async {
            match shared_pool {
                Some(pool) => owned::in_pool(cx, stack, pool.pool.as_str()).await,
                None => Ok(Vec::new()),
            }
        },
    )?;
    let mut all = [apis, pools, functions, groups, roles, shared].concat();
    all.sort();
    Ok(all)
}

/// The owner that was asked for, or the only one that there is.
fn owner(all: &[Owned], asked: Option<&str>, stack: &str) -> Result<String, Failure> {
    let mut owners: BTreeMap<&str, Vec<&Owned>> = BTreeMap::new();
    for one in all {
        owners.entry(&one.owner).or_default().push(one);
    }
    let list = || {
        let lines = owners.iter().map(|(owner, things)| {
            let since = things.iter().filter_map(|one| one.created).min();
            let since = since.map_or(String::new(), |since| format!(", since {since}"));
            format!("{owner}: {} resources{since}", things.len())
        });
        lines.collect::<Vec<_>>()
    };
    if let Some(asked) = asked {
        if owners.contains_key(asked) {
            return Ok(asked.to_owned());
        }
        let mut failure = Failure::usage(format!(
            "owner {} has nothing of stack {stack} here",
            printable(asked)
        ));
        failure.details = list();
        return Err(failure);
    }
    match owners.len() {
        0 => Err(Failure::usage(format!(
            "nothing of stack {stack} was found in this account and region"
        ))
        .hinted("if it never was here, run `provision up`")),
        1 => Ok(owners.keys().next().expect("there is one").to_string()),
        _ => {
            let mut failure = Failure::usage(format!("stack {stack} was made here by several owners"));
            failure.details = list();
            Err(failure.hinted("name the one that is meant with --owner"))
        }
    }
}

fn refuse_undecided(recovered: &Recovered) -> Result<(), Failure> {
    if recovered.undecided.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::usage("several resources could be a step's; nothing was recorded");
    failure.details = (recovered.undecided.iter())
        .map(|(step, ids)| format!("{step}: {}", ids.join(", ")))
        .collect();
    Err(failure.hinted("say which one is meant with --pick STEP=ID"))
}

/// What carries the owner and is in no step of the file.
fn not_on_record<'a>(all: &'a [Owned], state: &State) -> Result<Vec<&'a Owned>> {
    let mut known = BTreeSet::new();
    for record in &state.steps {
        if let Some(output) = &record.output {
            let resource = resources::KINDS.revive(&record.kind, &record.desired)?;
            known.insert((record.kind.clone(), resource.id(output)?));
        }
    }
    let is_extra =
        |one: &&Owned| one.owner == state.owner && !known.contains(&(one.kind.to_owned(), one.id.clone()));
    Ok(all.iter().filter(is_extra).collect())
}

fn tell(state: &State, recovered: &Recovered, extra: &[&Owned], ui: &Ui) -> Result<(), Failure> {
    if ui.is_json() {
        let on_record: Vec<&String> = state.steps.iter().map(|record| &record.step).collect();
        let pairs = |pairs: &[(String, String)], name: &str| {
            let object = |(step, other): &(String, String)| json!({"step": step, name: other});
            pairs.iter().map(object).collect::<Vec<_>>()
        };
        let extra: Vec<_> = (extra.iter())
            .map(|one| json!({"kind": one.kind, "id": one.id}))
            .collect();
        let content = json!({
            "owner": state.owner, "on_record": on_record, "absent": recovered.absent,
            "needs_absent": pairs(&recovered.needs_absent, "needs"),
            "not_ours": pairs(&recovered.not_ours, "what"), "not_declared": extra,
        });
        ui.data(&document(state, &content)?);
        return Ok(());
    }
    ui.data(&format!("owner: {}", state.owner));
    for record in &state.steps {
        ui.data(&format!("on record: {}", record.step));
    }
    for step in &recovered.absent {
        ui.data(&format!("declared and not there: {step}"));
    }
    for (step, need) in &recovered.needs_absent {
        ui.data(&format!("declared and not there: {step} (it needs {need})"));
    }
    for (step, what) in &recovered.not_ours {
        ui.data(&format!("someone else's is in its place: {step} ({what})"));
    }
    for one in extra {
        ui.data(&format!(
            "not declared and not on record: {} {}",
            one.kind,
            printable(&one.id)
        ));
    }
    ui.progress("run `provision plan` to see what differs from the configuration");
    Ok(())
}
