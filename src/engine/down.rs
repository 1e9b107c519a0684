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

use super::status::homes;
use super::{AT_ONCE, Engine, Next, Revive, RunResult, Running, chain, unmake};
use crate::report::Event;
use crate::report::event::{Action, StepName};
use crate::resource::{Cx, Erased, Result, is_stranger};
use crate::state::{Phase, Record, State};

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
    super::check(engine.state, engine.revive)?;
    let all: HashSet<String> = engine
        .state
        .steps
        .iter()
        .map(|record| record.step.clone())
        .collect();
    engine.tell(Event::Started {
        command: "down",
        stack: engine.state.stack.clone(),
        steps: engine
            .state
            .steps
            .iter()
            .rev()
            .map(|record| StepName {
                step: record.step.clone(),
                kind: record.kind.clone(),
                needs: record.needs.clone(),
            })
            .collect(),
    });
    remove(engine, &all, unprotect).await
}

/// Deletes these steps: each once all that depend on it are gone. What dies with another of them is not deleted by
/// itself.
pub(super) async fn remove<C: 'static>(
    engine: &mut Engine<'_, C>,
    going: &HashSet<String>,
    unprotect: bool,
) -> Result<RunResult> {
    let children = engine.children(going)?;
    let blockers = blockers(engine, going, &children);
    let mut waiting: Vec<String> = engine
        .state
        .steps
        .iter()
        .rev()
        .filter(|record| going.contains(&record.step) && !children.contains_key(&record.step))
        .map(|record| record.step.clone())
        .collect();
    let mut left: HashSet<String> = waiting.iter().cloned().collect();
    let mut running = Running::new();
    let mut result = RunResult::default();
    let began = Instant::now();
    let not_ours = not_ours(engine, going, &children).await;
    let passed = pass_over(engine, &mut result, going, &not_ours, &mut left);
    waiting.retain(|step| !passed.contains(step));
    for (step, error) in not_ours {
        // What is a stranger's needs nothing of ours.
        if is_stranger(&error) {
            left.remove(&step);
        }
        waiting.retain(|other| *other != step);
        if going.contains(&step) {
            fail(engine, &mut result, step, error);
        }
    }
    loop {
        if !engine.stopping() {
            let mut still = Vec::new();
            for step in waiting {
                let is_blocked = blockers[&step].iter().any(|blocker| left.contains(blocker));
                if is_blocked || engine.stopping() {
                    still.push(step);
                    continue;
                }
                let record = engine.state.record(&step).expect("what is left is on record");
                let output = record.output.clone();
                let resource = engine.revive(record).expect("`children` revived it");
                if !running.has_room(resource.kind(), resource.lane().as_ref()) {
                    still.push(step);
                    continue;
                }
                if let Err(error) = engine.intend(&step, Phase::Deleting, Action::Delete) {
                    fail(engine, &mut result, step, error);
                    continue;
                }
                running.begin(
                    &engine.cloud.clone(),
                    &step,
                    resource,
                    |resource, cx| async move { unmake(&*resource, &cx, output, began, unprotect).await },
                );
            }
            waiting = still;
        }
        if running.calls.is_empty() {
            break;
        }
        match running.next(&mut engine.stop).await {
            Next::Note(note) => engine.tell(note),
            Next::Stop => engine.tell(Event::Stopping {
                running: running.calls.len(),
            }),
            Next::Finished(finished) => {
                let gone = match finished.brought {
                    Ok(_) => engine.record_gone(&finished.step, &children, finished.began),
                    Err(error) => Err(error),
                };
                match gone {
                    Ok(()) => {
                        result.changed += 1;
                        left.remove(&finished.step);
                    }
                    Err(error) => fail(engine, &mut result, finished.step, error),
                }
            }
        }
    }
    result.interrupted = engine.stopping() && !waiting.is_empty();
    if !result.interrupted {
        for step in waiting {
            let because = blockers[&step].iter().find(|blocker| left.contains(*blocker));
            let because = because
                .expect("a step that waits has a blocker that is left")
                .clone();
            engine.tell(Event::HeldBack {
                step: step.clone(),
                because: because.clone(),
            });
            result.held_back.push((step, because));
        }
    }
    Ok(result)
}

/// Which of the steps that are to go, and of what they live in, are somebody else's, or could not be read; with one read,
/// side by side, of each that has a call of its own.
async fn not_ours<C: 'static>(
    engine: &Engine<'_, C>,
    going: &HashSet<String>,
    children: &HashMap<String, String>,
) -> HashMap<String, anyhow::Error> {
    let state = &*engine.state;
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

/// Leaves alone what lives in something that is not ours.
fn pass_over<C: 'static>(
    engine: &mut Engine<'_, C>,
    result: &mut RunResult,
    going: &HashSet<String>,
    not_ours: &HashMap<String, anyhow::Error>,
    left: &mut HashSet<String>,
) -> HashSet<String> {
    let mut passed = Vec::new();
    for record in engine
        .state
        .steps
        .iter()
        .rev()
        .filter(|record| going.contains(&record.step))
    {
        let resource = engine.revive(record).expect("`children` revived it");
        let home = homes(&*resource, record, engine.state).find(|home| not_ours.contains_key(*home));
        if let Some(home) = home {
            passed.push((record.step.clone(), home.to_owned()));
        }
    }
    for (step, because) in passed.clone() {
        if is_stranger(&not_ours[&because]) {
            left.remove(&step);
        }
        engine.tell(Event::HeldBack {
            step: step.clone(),
            because: because.clone(),
        });
        result.held_back.push((step, because));
    }
    passed.into_iter().map(|(step, _)| step).collect()
}

/// What must be deleted before each step: what depends on it, or on what dies with it, and does not die by itself.
fn blockers<C: 'static>(
    engine: &Engine<'_, C>,
    going: &HashSet<String>,
    children: &HashMap<String, String>,
) -> HashMap<String, Vec<String>> {
    let mut blockers: HashMap<String, Vec<String>> =
        going.iter().map(|step| (step.clone(), Vec::new())).collect();
    for record in engine
        .state
        .steps
        .iter()
        .filter(|record| going.contains(&record.step))
    {
        if children.contains_key(&record.step) {
            continue;
        }
        for need in &record.needs {
            let own_call = children.get(need).unwrap_or(need);
            if let Some(list) = blockers.get_mut(own_call)
                && *own_call != record.step
            {
                list.push(record.step.clone());
            }
        }
    }
    blockers
}

fn fail<C: 'static>(engine: &mut Engine<'_, C>, result: &mut RunResult, step: String, error: anyhow::Error) {
    engine.tell(Event::StepFailed {
        step: step.clone(),
        error: chain(&error),
    });
    result.failed.push((step, error));
}
