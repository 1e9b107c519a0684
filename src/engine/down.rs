//! Deletes what is on record, in reverse order.
//!
//! Must not ask the configuration or the declared stack: the state file alone says what there is.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use anyhow::Context;
use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::Value;
use tokio::time::Instant;

use super::live::{Lives, homes};
use super::plan::Wish;
use super::run::{Goal, NotBegun, Run, Task};
use super::schedule::AT_ONCE;
use super::{Engine, Revive, RunResult};
use crate::report::Event;
use crate::report::event::StepName;
use crate::resource::{Cx, Erased, Result, is_stranger};
use crate::state::{Record, State};

/// The recorded steps that are protected from deletion now, whatever is on record of that, and why each is not deleted;
/// with one read, side by side, of each that can be. What an interrupted run may have made is looked for once.
///
/// # Errors
/// A record cannot be understood, or a read failed; the step is named.
pub async fn protected<C: 'static>(
    cloud: &Rc<C>,
    revive: Revive<C>,
    state: &State,
) -> Result<Vec<(String, String)>> {
    let looks = state.steps.iter().map(|record| async move {
        let why = why_kept(cloud, revive, record).await;
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

async fn why_kept<C: 'static>(cloud: &Rc<C>, revive: Revive<C>, record: &Record) -> Result<Option<String>> {
    let resource = revive(&record.kind, &record.desired)?;
    let Some(field) = resource.protection() else {
        return Ok(None);
    };
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

/// Why what is protected by `field` is not deleted.
pub(super) fn kept<C>(resource: &dyn Erased<C>, output: &Value, field: &str) -> Result<String> {
    let id = resource.id(output)?;
    Ok(format!("AWS does not delete {id} while its {field} is on"))
}

/// Deletes everything on record; with `unprotect` also what is protected from it. The caller says [`Event::Ended`].
///
/// # Errors
/// The record cannot be understood, before anything is asked of AWS. What fails later is in the result.
pub async fn down<C: 'static>(engine: &mut Engine<'_, C>, unprotect: bool) -> Result<RunResult> {
    super::check(engine.ledger.state, engine.revive)?;
    let records = &engine.ledger.state.steps;
    let all: HashSet<String> = records.iter().map(|record| record.step.clone()).collect();
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
    let wish = Wish {
        unprotect,
        ..Wish::default()
    };
    let mut run = Run::new(engine, &wish, Lives::new());
    remove(&mut run, &all).await?;
    Ok(run.result)
}

/// Deletes these steps: each once all that depend on it are gone. What dies with another of them is not deleted by
/// itself. What is a stranger's, or lives in a stranger's, is left alone, and nothing waits for it.
pub(super) async fn remove<C: 'static>(run: &mut Run<'_, '_, C>, going: &HashSet<String>) -> Result<()> {
    run.began = Instant::now();
    let children = run.engine.children(going)?;
    let mut not_ours = not_ours(run.engine, going, &children).await;
    let state = &*run.engine.ledger.state;
    let going: Vec<&Record> = (state.steps.iter().rev())
        .filter(|record| going.contains(&record.step))
        .collect();
    let mut tasks: Vec<Task<'_, C>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut passed_over = Vec::new();
    for record in &going {
        let resource = run.engine.revive(record)?;
        let mut homes = homes(&*resource, record, state);
        let because = if not_ours.contains_key(&record.step) {
            Some(record.step.as_str())
        } else {
            homes.find(|home| not_ours.contains_key(*home))
        };
        if let Some(because) = because {
            passed_over.push((record.step.clone(), because.to_owned()));
        }
        // A stranger's needs nothing of ours.
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
    // What depends on it, or on what dies with it, is deleted before.
    for record in &going {
        let Some(place) = places.get(record.step.as_str()) else {
            continue;
        };
        for need in &record.needs {
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

/// Which of the steps that are to go, and of what they live in, are somebody else's, or could not be read; with one read,
/// side by side, of each that has a call of its own.
async fn not_ours<C: 'static>(
    engine: &Engine<'_, C>,
    going: &HashSet<String>,
    children: &HashMap<String, String>,
) -> HashMap<String, anyhow::Error> {
    let state = &*engine.ledger.state;
    let mut asked: HashSet<&str> = HashSet::new();
    for record in state.steps.iter().filter(|record| going.contains(&record.step)) {
        let resource = engine.revive(record).expect("`children` revived it");
        // What dies with another one goes whoever's it is.
        if !children.contains_key(&record.step) {
            asked.insert(&record.step);
        }
        asked.extend(homes(&*resource, record, state));
    }
    let reads = (state.steps.iter())
        .filter(|record| asked.contains(record.step.as_str()))
        .filter_map(|record| Some((record, record.output.clone()?)))
        .map(|(record, output)| {
            async move {
                let resource = engine.revive(record)?;
                let cx = Cx::new(engine.cloud.clone(), Rc::new(|_| ()));
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
