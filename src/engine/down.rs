//! Deletes what is on record, in reverse order.
//!
//! Must not ask the configuration or the declared stack: the state file alone says what there is.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use anyhow::Context;
use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::Instant;

use super::live::{Observed, homes};
use super::options::Options;
use super::run::{Goal, NotBegun, Run, Task};
use super::schedule::AT_ONCE;
use super::{Engine, RunResult, children, kept, kind, revived};
use crate::report::Event;
use crate::report::event::StepName;
use crate::resource::{Cx, Kinds, Result, is_stranger};
use crate::state::{Record, State};

/// The recorded steps that are live with deletion protection, whatever their records say, and why each is not deleted.
/// Reads every step of a kind that has protection, in parallel. What an interrupted run may have created is looked for
/// once.
///
/// # Errors
/// A record cannot be used, or a read failed. The error names the step.
pub async fn protected<C: 'static>(
    cloud: &Rc<C>,
    kinds: Kinds<C>,
    state: &State,
) -> Result<Vec<(String, String)>> {
    let looks = state.steps.iter().map(|record| async move {
        let why = why_kept(cloud, kinds, record).await;
        why.with_context(|| {
            format!(
                "cannot read whether step {} is protected from deletion",
                record.step
            )
        })
        .map(|why| Some((record.step.clone(), why?)))
    });
    Ok(try_join_all(looks).await?.into_iter().flatten().collect())
}

async fn why_kept<C: 'static>(cloud: &Rc<C>, kinds: Kinds<C>, record: &Record) -> Result<Option<String>> {
    let Some(field) = kind(kinds, record)?.protection else {
        return Ok(None);
    };
    let resource = revived(kinds, record)?;
    let cx = Cx::new(cloud.clone(), Rc::new(|_| ()));
    let found = match &record.output {
        Some(output) => Some(output.clone()),
        None => match resource.find(&cx).await {
            // Not ours, so it is not deleted either.
            Err(error) if is_stranger(&error) => None,
            found => found?,
        },
    };
    let Some(output) = found else {
        return Ok(None);
    };
    let live = match resource.read(&cx, &output).await {
        Err(error) if is_stranger(&error) => None,
        live => live?,
    };
    let is_on = live.is_some_and(|live| live[field] == true);
    is_on.then(|| kept(&*resource, &output, field)).transpose()
}

/// The steps that are not deleted, as their resource, or one that it is inside, belongs to someone else or could not be
/// read: why, by the step's name.
pub type NotOurs = HashMap<String, anyhow::Error>;

/// Which of all steps on record are not deleted. Reads each that has a call of its own, in parallel.
///
/// # Errors
/// A record cannot be used; then no call was made.
pub async fn not_ours<C: 'static>(cloud: &Rc<C>, kinds: Kinds<C>, state: &State) -> Result<NotOurs> {
    super::check(state, kinds)?;
    let all = steps(state);
    let children = children(kinds, state, &all)?;
    Ok(read_owners((cloud, kinds, state), &all, &children).await)
}

fn steps(state: &State) -> HashSet<String> {
    state.steps.iter().map(|record| record.step.clone()).collect()
}

/// Deletes everything on record but what is `not_ours`; with `unprotect` also what has deletion protection. The caller
/// reports [`Event::Ended`].
///
/// # Errors
/// A record cannot be used; then no call was made. What fails later is in the result.
pub async fn down<C: 'static>(
    engine: &mut Engine<'_, C>,
    not_ours: NotOurs,
    unprotect: bool,
) -> Result<RunResult> {
    super::check(engine.ledger.state, engine.kinds)?;
    let records = &engine.ledger.state.steps;
    let all = steps(engine.ledger.state);
    let steps = (records.iter().rev())
        .map(|record| StepName {
            step: record.step.clone(),
            kind: record.kind.clone(),
            needs: record.needs.clone(),
        })
        .collect();
    engine.tell(Event::Started {
        command: "down",
        stack: engine.ledger.state.stack.clone(),
        steps,
    });
    let options = Options {
        unprotect,
        ..Options::default()
    };
    let mut run = Run::new(engine, &options, Observed::new());
    let children = children(run.engine.kinds, run.engine.ledger.state, &all)?;
    remove_but(&mut run, &all, &children, not_ours).await?;
    Ok(run.result)
}

/// Deletes these steps, each once all that depend on it are gone. A step that AWS deletes with another of them gets no
/// call of its own. What belongs to someone else, or is inside something that does, is not touched, and nothing waits
/// for it.
pub(super) async fn remove<C: 'static>(run: &mut Run<'_, '_, C>, going: &HashSet<String>) -> Result<()> {
    let engine = &*run.engine;
    let children = children(engine.kinds, engine.ledger.state, going)?;
    let recorded = (&engine.cloud, engine.kinds, &*engine.ledger.state);
    let not_ours = read_owners(recorded, going, &children).await;
    remove_but(run, going, &children, not_ours).await
}

async fn remove_but<C: 'static>(
    run: &mut Run<'_, '_, C>,
    going: &HashSet<String>,
    children: &HashMap<String, String>,
    mut not_ours: NotOurs,
) -> Result<()> {
    run.began = Instant::now();
    let state = &*run.engine.ledger.state;
    let going: Vec<&Record> = (state.steps.iter().rev())
        .filter(|record| going.contains(&record.step))
        .collect();
    let mut tasks: Vec<Task<'_, C>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut passed_over = Vec::new();
    for record in &going {
        let mut homes = homes(run.engine.kind(record)?, record, state);
        let because = if not_ours.contains_key(&record.step) {
            Some(record.step.as_str())
        } else {
            homes.find(|home| not_ours.contains_key(*home))
        };
        if let Some(because) = because {
            passed_over.push((record.step.clone(), because.to_owned()));
        }
        // What belongs to someone else does not use anything of ours.
        let is_theirs = because.is_some_and(|because| is_stranger(&not_ours[because]));
        if !is_theirs && !children.contains_key(&record.step) {
            places.insert(&record.step, tasks.len());
            tasks.push(Task {
                step: record.step.clone(),
                goal: Goal::Removed,
                waits: Vec::new(),
            });
        }
    }
    // What depends on a step, or on something that AWS deletes with the step, is deleted before the step. What AWS deletes
    // with another step delays only what has to outlive it.
    for record in &going {
        let own_call = children.get(&record.step).unwrap_or(&record.step);
        let Some(place) = places.get(own_call.as_str()) else {
            continue;
        };
        let is_child = children.contains_key(&record.step);
        for need in &record.needs {
            if is_child && !run.engine.outlives_users(need) {
                continue;
            }
            let own_call = children.get(need).unwrap_or(need);
            if let Some(need) = places.get(own_call.as_str())
                && need != place
            {
                tasks[*need].waits.push(*place);
            }
        }
    }
    let ended = (passed_over.into_iter())
        .map(|(step, because)| match not_ours.remove(&step) {
            Some(error) => (step, NotBegun::Failed(error)),
            None => (step, NotBegun::HeldBack(because)),
        })
        .collect();
    run.drive_without(tasks, ended).await;
    Ok(())
}

/// Which of the steps that are deleted, and of the resources that they are inside, belong to someone else or could not
/// be read. Reads each that has a call of its own, in parallel.
async fn read_owners<C: 'static>(
    (cloud, kinds, state): (&Rc<C>, Kinds<C>, &State),
    going: &HashSet<String>,
    children: &HashMap<String, String>,
) -> NotOurs {
    let mut asked: HashSet<&str> = HashSet::new();
    for record in state.steps.iter().filter(|record| going.contains(&record.step)) {
        // What AWS deletes with another resource is deleted whoever owns it.
        if !children.contains_key(&record.step) {
            asked.insert(&record.step);
        }
        let kind = kind(kinds, record).expect("`children` looked it up");
        asked.extend(homes(kind, record, state));
    }
    let reads = (state.steps.iter())
        .filter(|record| asked.contains(record.step.as_str()))
        .filter_map(|record| Some((record, record.output.clone()?)))
        .map(|(record, output)| {
            async move {
                let resource = revived(kinds, record)?;
                let cx = Cx::new(cloud.clone(), Rc::new(|_| ()));
                resource.check_owner(&cx, &output).await
            }
            .map(|read| (record.step.clone(), read))
        });
    let reads = stream::iter(reads).buffer_unordered(AT_ONCE);
    reads
        .filter_map(async |(step, read)| Some((step, read.err()?)))
        .collect()
        .await
}
