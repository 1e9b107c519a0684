//! Makes the stack: every step as soon as all that it needs is done.
//!
//! Must not delete what the stack still has, except where a step is to be made anew.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use anyhow::anyhow;
use serde_json::Value;
use tokio::time::Instant;

use super::decide::{Decision, Wanted, decide};
use super::plan::{Change, Plan, Wish};
use super::status::{Live, Lives};
use super::{Brought, Engine, Finished, Next, RunResult, Running, chain, look, make, millis, unmake};
use crate::graph::{Outputs, Stack};
use crate::report::Event;
use crate::report::event::{Action, Outcome, StepName};
use crate::resource::{Cx, Erased, Result};
use crate::state::{Phase, Record};

/// Creates, resumes, changes or keeps every step of `stack`, then takes away what nothing uses any more: the recorded
/// steps that the stack no longer has, and what updates left. The caller says [`Event::Ended`].
///
/// `lives` and `plan` are of the state as it is now.
///
/// # Errors
/// The record cannot be understood, before anything is asked of AWS. What fails later is in the result.
pub async fn up<C: 'static>(
    engine: &mut Engine<'_, C>,
    stack: &Stack<C>,
    lives: Lives,
    plan: &Plan,
    wish: &Wish,
) -> Result<RunResult> {
    engine.check()?;
    let recorded = (engine.state.steps.iter()).map(|record| (record.step.as_str(), &record.needs));
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
        stack: engine.state.stack.clone(),
        steps,
    });
    let mut result = remove(engine, first_to_go(engine, plan)?).await?;
    if !result.is_done() {
        return Ok(result);
    }
    let mut up = Up {
        engine,
        stack,
        wish,
        lives,
        outputs: Outputs::new(),
        waiting: (0..stack.steps().len()).collect(),
        running: Running::new(),
        result: RunResult::default(),
    };
    up.run().await;
    if up.result.is_done() {
        let left = plan.with(Change::Delete).map(|planned| planned.step.clone());
        let left = left
            .filter(|step| up.engine.state.record(step).is_some())
            .collect();
        let removed = remove(up.engine, left).await?;
        up.result.add(removed);
    }
    if up.result.is_done() {
        up.retire().await;
    }
    result.add(up.result);
    Ok(result)
}

/// What is deleted before anything is made or changed: what is not live until it is deployed, and would stand in the way
/// of a deployment without it or of a sibling; and what keeps AWS from deleting something that is made anew.
fn first_to_go<C: 'static>(engine: &Engine<'_, C>, plan: &Plan) -> Result<HashSet<String>> {
    let going: HashSet<&str> = plan
        .with(Change::Delete)
        .map(|planned| planned.step.as_str())
        .collect();
    let replaced: HashMap<&str, &str> = plan
        .with(Change::Replace)
        .map(|planned| (planned.step.as_str(), planned.kind.as_str()))
        .collect();
    let mut first = HashSet::new();
    for record in &engine.state.steps {
        let resource = engine.revive(record)?;
        let goes = going.contains(record.step.as_str()) && resource.removed_first();
        let holds = |need: &String| {
            replaced
                .get(need.as_str())
                .copied()
                .is_some_and(|kind| Some(kind) == resource.holds())
        };
        if goes || record.needs.iter().any(holds) {
            first.insert(record.step.clone());
        }
    }
    Ok(first)
}

async fn remove<C: 'static>(engine: &mut Engine<'_, C>, steps: HashSet<String>) -> Result<RunResult> {
    super::down::remove(engine, &steps).await
}

struct Up<'e, 'a, 's, C> {
    engine: &'e mut Engine<'a, C>,
    stack: &'s Stack<C>,
    wish: &'s Wish,
    /// What was seen of each step when the run began.
    lives: Lives,
    outputs: Outputs,
    /// Indexes of the steps that are neither running, done, failed nor held back.
    waiting: Vec<usize>,
    running: Running<C>,
    result: RunResult,
}

impl<C: 'static> Up<'_, '_, '_, C> {
    async fn run(&mut self) {
        loop {
            if !self.engine.stopping() {
                self.begin_what_can();
            }
            if self.running.calls.is_empty() {
                break;
            }
            match self.running.next(&mut self.engine.stop).await {
                Next::Finished(finished) => self.settle(finished),
                Next::Note(note) => self.engine.tell(note),
                Next::Stop => self.engine.tell(Event::Stopping {
                    running: self.running.calls.len(),
                }),
            }
        }
        self.result.interrupted = self.engine.stopping() && !self.waiting.is_empty();
    }

    /// Begins every step whose needs are done, until a whole pass begins none.
    fn begin_what_can(&mut self) {
        loop {
            let mut moved = false;
            for index in std::mem::take(&mut self.waiting) {
                let step = &self.stack.steps()[index];
                let missing = step.needs.iter().find(|need| !self.outputs.contains_key(*need));
                let began = match missing {
                    Some(need) => self.is_held_back(&step.name, need),
                    None => self.begin(index),
                };
                if began {
                    moved = true;
                } else {
                    self.waiting.push(index);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Whether the step cannot begin in this run, since one that must be done before failed or was held back.
    fn is_held_back(&mut self, step: &str, before: &str) -> bool {
        let held = self.result.failed.iter().any(|(name, _)| name == before)
            || self.result.held_back.iter().any(|(name, _)| name == before);
        if held {
            self.result.held_back.push((step.to_owned(), before.to_owned()));
            self.engine.tell(Event::HeldBack {
                step: step.to_owned(),
                because: before.to_owned(),
            });
        }
        held
    }

    /// Begins the step's next call, or settles it without one. `false`: its lane is busy, or it follows another.
    fn begin(&mut self, index: usize) -> bool {
        let step = &self.stack.steps()[index];
        let resource = match step.resource(&self.outputs) {
            Ok(resource) => resource,
            Err(error) => {
                self.fail(&step.name, error);
                return true;
            }
        };
        if !self.running.lane_is_free(&*resource) {
            return false;
        }
        let desired = resource.desired();
        let record = self.engine.state.record(&step.name).cloned();
        let wanted = Wanted {
            desired: &desired,
            fixed: resource.fixed(),
            loses: resource.loses().is_some(),
            named: self.wish.replace.contains(&step.name),
            repair: self.wish.repair,
        };
        let decision = decide(record.as_ref(), self.lives.get(&step.name), wanted);
        let changes = matches!(decision, Decision::Update { .. } | Decision::Replace(_));
        if changes
            && let Some(before) = step
                .follows
                .iter()
                .find(|other| !self.outputs.contains_key(*other))
        {
            return self.is_held_back(&step.name, before);
        }
        let cloud = self.engine.cloud.clone();
        match decision {
            Decision::Create => {
                self.put_record(index, desired);
                if let Err(error) = self.engine.intend(&step.name, Phase::Creating, Action::Create) {
                    self.fail(&step.name, error);
                    return true;
                }
                self.running
                    .begin(&cloud, &step.name, resource, |resource, cx| async move {
                        make(&*resource, &cx).await
                    });
            }
            Decision::Resume => {
                let record = record.expect("a resumed step is on record");
                self.begin_recorded(&record, Action::Resume, |resource, cx| async move {
                    Ok(Brought::Found(look(&*resource, &cx).await?))
                });
            }
            Decision::Replace(_) => {
                let record = record.expect("a replaced step is on record");
                if record.phase != Phase::Deleting
                    && let Err(error) = self.engine.record_intent(&step.name, Phase::Deleting)
                {
                    self.fail(&step.name, error);
                    return true;
                }
                let output = record.output.clone();
                self.begin_recorded(&record, Action::Delete, |resource, cx| async move {
                    unmake(&*resource, &cx, output).await
                });
            }
            Decision::Keep => self.keep(index, &*resource, record.expect("a kept step is on record")),
            Decision::Update { before, .. } => {
                let record = record.expect("an updated step is on record");
                let Some(output) = record.output else {
                    self.fail(&step.name, anyhow!("a step on record as ready has no output"));
                    return true;
                };
                if let Err(error) = self.engine.intend(&step.name, Phase::Updating, Action::Update) {
                    self.fail(&step.name, error);
                    return true;
                }
                self.running
                    .begin(&cloud, &step.name, resource, |resource, cx| async move {
                        let output = resource.update(&cx, &before, &output).await?;
                        let retires = record.phase == Phase::Retiring || resource.retires(&before)?;
                        Ok(Brought::Changed { output, retires })
                    });
            }
            Decision::Refuse(fields) => self.fail(
                &step.name,
                anyhow!(
                    "AWS cannot change {} of this {} in place, and a new one loses {}",
                    fields.join(", "),
                    resource.kind(),
                    resource.loses().expect("only what loses something is refused")
                ),
            ),
        }
        true
    }

    /// Publishes what is as it should be; puts on record what somebody else had already done.
    fn keep(&mut self, index: usize, resource: &dyn Erased<C>, record: Record) {
        let step = &self.stack.steps()[index];
        let Some(output) = record.output else {
            self.fail(&step.name, anyhow!("a step on record as ready has no output"));
            return;
        };
        let desired = resource.desired();
        if record.desired != desired || record.needs != step.needs {
            let record = self
                .engine
                .state
                .record_mut(&step.name)
                .expect("a kept step is on record");
            record.desired = desired;
            record.needs.clone_from(&step.needs);
            if let Err(error) = self.engine.save() {
                self.fail(&step.name, error);
                return;
            }
        }
        self.finish(index, resource, output, Outcome::Unchanged, 0);
    }

    /// Takes away what updates left of earlier states, now that all that used it has moved.
    async fn retire(&mut self) {
        let retiring: HashSet<&str> = (self.engine.state.steps.iter())
            .filter(|record| record.phase == Phase::Retiring)
            .map(|record| record.step.as_str())
            .collect();
        let mut waiting: Vec<usize> = (0..self.stack.steps().len())
            .filter(|index| retiring.contains(self.stack.steps()[*index].name.as_str()))
            .collect();
        loop {
            if !self.engine.stopping() {
                waiting.retain(|index| !self.begin_retiring(*index));
            }
            if self.running.calls.is_empty() {
                break;
            }
            match self.running.next(&mut self.engine.stop).await {
                Next::Finished(finished) => self.settle_retired(finished),
                Next::Note(note) => self.engine.tell(note),
                Next::Stop => self.engine.tell(Event::Stopping {
                    running: self.running.calls.len(),
                }),
            }
        }
        self.result.interrupted = self.engine.stopping() && !waiting.is_empty();
    }

    /// `false`: its lane is busy.
    fn begin_retiring(&mut self, index: usize) -> bool {
        let step = &self.stack.steps()[index];
        let resource = match step.resource(&self.outputs) {
            Ok(resource) => resource,
            Err(error) => {
                self.fail(&step.name, error);
                return true;
            }
        };
        if !self.running.lane_is_free(&*resource) {
            return false;
        }
        let output = self.outputs[&step.name].clone();
        self.engine.tell(Event::StepStarted {
            step: step.name.clone(),
            action: Action::Retire,
        });
        let cloud = self.engine.cloud.clone();
        self.running
            .begin(&cloud, &step.name, resource, |resource, cx| async move {
                resource.retire(&cx, &output).await?;
                Ok(Brought::Retired)
            });
        true
    }

    /// Records that it is done, durably.
    fn settle_retired(&mut self, finished: Finished<C>) {
        let step = finished.step;
        let retired = finished.brought.and_then(|_| {
            let record = self
                .engine
                .state
                .record_mut(&step)
                .expect("a declared step is on record");
            record.phase = Phase::Ready;
            self.engine.save()
        });
        match retired {
            Ok(()) => {
                self.result.changed += 1;
                self.engine.tell(Event::StepFinished {
                    id: finished.resource.id(&self.outputs[&step]).ok(),
                    step,
                    outcome: Outcome::Retired,
                    with: None,
                    millis: millis(finished.began),
                });
            }
            Err(error) => self.fail(&step, error),
        }
    }

    /// Begins a call that settles what an interrupted run intended, with the inputs that it recorded.
    fn begin_recorded<F>(
        &mut self,
        record: &Record,
        action: Action,
        call: impl FnOnce(Rc<dyn Erased<C>>, Cx<C>) -> F,
    ) where
        F: Future<Output = Result<Brought>> + 'static,
    {
        match self.engine.revive(record) {
            Ok(recorded) => {
                self.engine.tell(Event::StepStarted {
                    step: record.step.clone(),
                    action,
                });
                self.running
                    .begin(&self.engine.cloud, &record.step, recorded, call);
            }
            Err(error) => self.fail(&record.step, error),
        }
    }

    /// Puts a record without output for this step where the file's order wants it.
    fn put_record(&mut self, index: usize, desired: Value) {
        let step = &self.stack.steps()[index];
        let record = Record {
            step: step.name.clone(),
            phase: Phase::Creating,
            kind: step.kind.to_owned(),
            needs: step.needs.clone(),
            desired,
            output: None,
        };
        let state = &mut *self.engine.state;
        state.steps.retain(|record| record.step != step.name);
        let after = |name: &str| {
            self.stack.steps()[index + 1..]
                .iter()
                .any(|step| step.name == name)
        };
        let at = state
            .steps
            .iter()
            .position(|record| after(&record.step))
            .unwrap_or(state.steps.len());
        state.steps.insert(at, record);
    }

    /// Records what a call brought, durably, then publishes it.
    fn settle(&mut self, finished: Finished<C>) {
        let Finished {
            step,
            resource,
            began,
            brought,
        } = finished;
        let index = self
            .stack
            .steps()
            .iter()
            .position(|declared| declared.name == step)
            .expect("only declared steps are begun");
        let brought = match brought {
            Ok(brought) => brought,
            Err(error) => {
                self.fail(&step, error);
                return;
            }
        };
        let mut phase = Phase::Ready;
        let made = match brought {
            Brought::Made {
                output,
                adopted: false,
            } => Some((output, Outcome::Created)),
            Brought::Made {
                output,
                adopted: true,
            }
            | Brought::Found(Some(output)) => Some((output, Outcome::Adopted)),
            Brought::Changed { output, retires } => {
                phase = if retires { Phase::Retiring } else { Phase::Ready };
                Some((output, Outcome::Updated))
            }
            Brought::Found(None) => {
                self.engine.state.steps.retain(|record| record.step != step);
                None
            }
            Brought::Retired => unreachable!("nothing is retired before every step is done"),
            Brought::Gone => {
                if let Err(error) = self.forget_deleted(&step, began) {
                    self.fail(&step, error);
                    return;
                }
                None
            }
        };
        let Some((output, outcome)) = made else {
            // Nothing of it is left, so it starts over.
            self.lives.remove(&step);
            self.waiting.push(index);
            self.waiting.sort_unstable();
            return;
        };
        self.result.changed += 1;
        let record = self
            .engine
            .state
            .record_mut(&step)
            .expect("a begun step is on record");
        record.phase = phase;
        record.desired = resource.desired();
        record.needs.clone_from(&self.stack.steps()[index].needs);
        record.output = Some(output.clone());
        if let Err(error) = self.engine.save() {
            self.fail(&step, error);
            return;
        }
        if outcome == Outcome::Adopted && self.differs(index, &*resource) {
            // What was found is what the interrupted run wanted; what is wanted now is decided on that.
            self.lives.insert(step, Live::Present(resource.desired()));
            self.waiting.push(index);
            self.waiting.sort_unstable();
            return;
        }
        self.finish(index, &*resource, output, outcome, millis(began));
    }

    fn differs(&self, index: usize, recorded: &dyn Erased<C>) -> bool {
        self.stack.steps()[index]
            .resource(&self.outputs)
            .is_ok_and(|resource| resource.desired() != recorded.desired())
    }

    fn forget_deleted(&mut self, step: &str, began: Instant) -> Result<()> {
        let recorded: HashSet<String> = self
            .engine
            .state
            .steps
            .iter()
            .map(|record| record.step.clone())
            .collect();
        let children = self.engine.children(&recorded)?;
        for (child, parent) in &children {
            if parent == step {
                self.lives.remove(child);
            }
        }
        self.engine.record_gone(step, &children, began)
    }

    fn finish(
        &mut self,
        index: usize,
        resource: &dyn Erased<C>,
        output: Value,
        outcome: Outcome,
        millis: u64,
    ) {
        let step = &self.stack.steps()[index].name;
        self.engine.tell(Event::StepFinished {
            step: step.clone(),
            outcome,
            with: None,
            id: resource.id(&output).ok(),
            millis,
        });
        self.outputs.insert(step.clone(), output);
    }

    fn fail(&mut self, step: &str, error: anyhow::Error) {
        self.engine.tell(Event::StepFailed {
            step: step.to_owned(),
            error: chain(&error),
        });
        self.result.failed.push((step.to_owned(), error));
    }
}
