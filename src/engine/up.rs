//! Creates and changes the stack: every step as soon as all that it needs is done.
//!
//! Must not delete a step that the stack still has, except to replace it.

use std::collections::{HashMap, HashSet};

use super::down::remove;
use super::ledger::Entry;
use super::live::Observed;
use super::options::Options;
use super::plan::Plan;
use super::run::{Goal, Run, Task};
use super::{Engine, RunResult};
use crate::graph::{Stack, Step};
use crate::report::Event;
use crate::report::event::{Operation, Outcome, StepName};
use crate::resource::Result;
use crate::state::Phase;

/// Creates, resumes, updates, replaces or keeps every step of `stack`. Then it deletes what nothing uses any more: the
/// recorded steps that the stack no longer has, and what updates left. The caller reports [`Event::Ended`].
///
/// `observed` and `plan` must be of the current state.
///
/// # Errors
/// A record cannot be used; then no call was made. What fails later is in the result.
pub async fn up<C: 'static>(
    engine: &mut Engine<'_, C>,
    stack: &Stack<C>,
    observed: Observed,
    plan: &Plan,
    options: &Options,
) -> Result<RunResult> {
    super::check(engine.ledger.state, engine.kinds)?;
    tell_started(engine, stack, plan);
    let first = first_to_go(engine, plan)?;
    let mut run = Run::new(engine, options, observed);
    // The owner of a new state was drawn a moment ago, so nothing can exist that has it.
    if run.engine.ledger.state.serial == 0 {
        run.looked_for = stack.steps().iter().map(|step| step.name.clone()).collect();
    }
    remove(&mut run, &first).await?;
    if run.result.is_done() {
        // No recorded step needs them any more.
        leave(&mut run, plan).await;
    }
    if run.result.is_done() {
        run.drive(declared(stack)).await;
    }
    if run.result.is_done() {
        retire(&mut run, stack, true).await;
    }
    if run.result.is_done() {
        let left = plan.with(Operation::Delete).map(|planned| planned.step.clone());
        let left = left.filter(|step| run.engine.ledger.state.record(step).is_some());
        let left: HashSet<String> = left.collect();
        remove(&mut run, &left).await?;
    }
    if run.result.is_done() {
        retire(&mut run, stack, false).await;
    }
    Ok(run.result)
}

fn tell_started<C: 'static>(engine: &mut Engine<'_, C>, stack: &Stack<C>, plan: &Plan) {
    let recorded = (engine.ledger.state.steps.iter()).map(|record| (record.step.as_str(), &record.needs));
    let declared = (stack.steps().iter()).map(|step| (step.name.as_str(), &step.needs));
    let needs: HashMap<&str, &Vec<String>> = recorded.chain(declared).collect();
    let steps = (plan.steps.iter())
        .map(|planned| StepName {
            step: planned.step.clone(),
            kind: planned.kind.clone(),
            needs: (needs.get(planned.step.as_str()).copied().cloned()).unwrap_or_default(),
        })
        .collect();
    engine.tell(Event::Started {
        command: "up",
        stack: engine.ledger.state.stack.clone(),
        steps,
    });
}

/// What is deleted before anything is created or changed: what is not live until it is deployed, because it would be in
/// the next deployment or in the way of a sibling; and what keeps AWS from deleting something that is replaced.
fn first_to_go<C: 'static>(engine: &Engine<'_, C>, plan: &Plan) -> Result<HashSet<String>> {
    let going: HashSet<&str> = plan
        .with(Operation::Delete)
        .map(|planned| planned.step.as_str())
        .collect();
    let replaced: HashMap<&str, &str> = plan
        .with(Operation::Replace)
        .map(|planned| (planned.step.as_str(), planned.kind.as_str()))
        .collect();
    let mut first = HashSet::new();
    for record in &engine.ledger.state.steps {
        let kind = engine.kind(record)?;
        let goes = going.contains(record.step.as_str()) && kind.removed_first;
        let holds = |need: &String| {
            let need = replaced.get(need.as_str()).copied();
            need.is_some() && need == kind.holds
        };
        if goes || record.needs.iter().any(holds) {
            first.insert(record.step.clone());
        }
    }
    Ok(first)
}

/// Removes the records of the steps that the plan leaves, and does not touch the resources.
async fn leave<C: 'static>(run: &mut Run<'_, '_, C>, plan: &Plan) {
    for planned in plan.with(Operation::Leave) {
        let Some(record) = run.engine.ledger.state.record(&planned.step) else {
            continue;
        };
        let id = run.engine.id(record);
        let steps = &mut run.engine.ledger.state.steps;
        steps.retain(|record| record.step != planned.step);
        run.engine.ledger.note(Entry {
            step: planned.step.clone(),
            told: vec![Event::StepFinished {
                step: planned.step.clone(),
                outcome: Outcome::Left,
                with: None,
                id,
                millis: 0,
            }],
            unwritten: None,
        });
    }
    run.drive(Vec::new()).await;
}

/// A task for every step of the stack.
fn declared<C: 'static>(stack: &Stack<C>) -> Vec<Task<'_, C>> {
    let places: HashMap<&str, usize> = (stack.steps().iter().enumerate())
        .map(|(place, step)| (step.name.as_str(), place))
        .collect();
    let steps = stack.steps().iter();
    steps
        .map(|step| Task {
            step: step.name.clone(),
            goal: Goal::Declared(step),
            waits: step.needs.iter().map(|need| places[need.as_str()]).collect(),
        })
        .collect()
}

/// Deletes what updates left of earlier states, once nothing uses it any more: for the kinds that retire first, or for
/// the others.
async fn retire<C: 'static>(run: &mut Run<'_, '_, C>, stack: &Stack<C>, first: bool) {
    let state = &run.engine.ledger.state;
    let retiring: HashSet<&str> = (state.steps.iter())
        .filter(|record| record.phase == Phase::Retiring)
        .map(|record| record.step.as_str())
        .collect();
    let is_its_turn =
        |step: &&Step<C>| retiring.contains(step.name.as_str()) && step.kind.retires_first == first;
    let steps = stack.steps().iter().filter(is_its_turn);
    let tasks = steps
        .map(|step| Task {
            step: step.name.clone(),
            goal: Goal::Retired(step),
            waits: Vec::new(),
        })
        .collect();
    run.drive(tasks).await;
}
