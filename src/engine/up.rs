//! Makes the stack: every step as soon as all that it needs is done.
//!
//! Must not delete what the stack still has, except to finish a deletion that an earlier run began.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use anyhow::{Context, anyhow};
use serde_json::Value;
use tokio::time::Instant;

use super::decide::{Decision, decide};
use super::status::{Live, survey};
use super::{Brought, Engine, Finished, Next, RunResult, Running, chain, look, make, millis, unmake};
use crate::graph::{Outputs, Stack};
use crate::report::Event;
use crate::report::event::{Action, Outcome, StepName};
use crate::resource::{Cx, Erased, Result};
use crate::state::{Phase, Record};

/// Creates, resumes or keeps every step of `stack`, then removes the recorded steps that it no longer has. The caller
/// says [`Event::Ended`].
///
/// # Errors
/// The record cannot be understood, before anything is asked of AWS. What fails later is in the result.
pub async fn up<C: 'static>(engine: &mut Engine<'_, C>, stack: &Stack<C>) -> Result<RunResult> {
    engine.check()?;
    engine.tell(Event::Started {
        command: "up",
        stack: engine.state.stack.clone(),
        steps: stack
            .steps()
            .iter()
            .map(|step| StepName {
                step: step.name.clone(),
                kind: step.kind.to_owned(),
            })
            .collect(),
    });
    let lives = survey(&engine.cloud, engine.revive, engine.state).await;
    let mut up = Up {
        engine,
        stack,
        lives,
        outputs: Outputs::new(),
        waiting: (0..stack.steps().len()).collect(),
        running: Running::new(),
        result: RunResult::default(),
    };
    up.run().await;
    let Up { mut result, .. } = up;
    if result.is_done() {
        let declared: HashSet<&str> = stack.steps().iter().map(|step| step.name.as_str()).collect();
        let removed: HashSet<String> = engine
            .state
            .steps
            .iter()
            .filter(|record| !declared.contains(record.step.as_str()))
            .map(|record| record.step.clone())
            .collect();
        let removal = super::down::remove(engine, &removed).await?;
        result.changed += removal.changed;
        result.failed.extend(removal.failed);
        result.held_back.extend(removal.held_back);
        result.interrupted = removal.interrupted;
    }
    Ok(result)
}

struct Up<'e, 'a, 's, C> {
    engine: &'e mut Engine<'a, C>,
    stack: &'s Stack<C>,
    /// What was seen of each step when the run began.
    lives: HashMap<String, Result<Live>>,
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
                    Some(need) if self.failed_or_held(need) => {
                        let event = Event::HeldBack {
                            step: step.name.clone(),
                            because: need.clone(),
                        };
                        self.result.held_back.push((step.name.clone(), need.clone()));
                        self.engine.tell(event);
                        true
                    }
                    Some(_) => false,
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

    fn failed_or_held(&self, step: &str) -> bool {
        self.result.failed.iter().any(|(name, _)| name == step)
            || self.result.held_back.iter().any(|(name, _)| name == step)
    }

    /// Begins the step's next call, or settles it without one. `false`: its lane is busy.
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
        let present = match self.lives.get(&step.name) {
            Some(Ok(live)) => matches!(live, Live::Present(_)),
            None => false,
            Some(Err(_)) => {
                let error = self
                    .lives
                    .remove(&step.name)
                    .expect("just seen")
                    .expect_err("just seen");
                self.fail(&step.name, error.context("cannot read it"));
                return true;
            }
        };
        let desired = resource.desired();
        let record = self.engine.state.record(&step.name).cloned();
        let cloud = self.engine.cloud.clone();
        match decide(record.as_ref(), &desired, resource.fixed(), present) {
            Decision::Create => {
                self.put_record(index, desired);
                if let Err(error) = self.engine.intend(&step.name, Phase::Creating, Action::Create) {
                    self.fail(&step.name, error);
                    return true;
                }
                self.running.begin(&cloud, &step.name, resource, |resource, cx| async move {
                    make(&*resource, &cx).await
                });
            }
            Decision::Resume => {
                let record = record.expect("a resumed step is on record");
                self.begin_recorded(&record, Action::Resume, |resource, cx| async move {
                    Ok(Brought::Found(look(&*resource, &cx).await?))
                });
            }
            Decision::FinishDelete => {
                let record = record.expect("a deleted step is on record");
                let output = record.output.clone();
                self.begin_recorded(&record, Action::Delete, |resource, cx| async move {
                    unmake(&*resource, &cx, output).await
                });
            }
            Decision::Keep => {
                let output = record.and_then(|record| record.output);
                let output = output.context("a step on record as ready has no output");
                match output {
                    Ok(output) => self.finish(index, &*resource, output, Outcome::Unchanged, 0),
                    Err(error) => self.fail(&step.name, error),
                }
            }
            Decision::Update(_) => {
                let record = record.expect("an updated step is on record");
                let Some(output) = record.output else {
                    self.fail(&step.name, anyhow!("a step on record as ready has no output"));
                    return true;
                };
                if let Err(error) = self.engine.intend(&step.name, Phase::Updating, Action::Update) {
                    self.fail(&step.name, error);
                    return true;
                }
                self.running.begin(&cloud, &step.name, resource, |resource, cx| async move {
                    Ok(Brought::Changed(resource.update(&cx, &record.desired, &output).await?))
                });
            }
            Decision::Refuse(fields) => self.fail(
                &step.name,
                anyhow!(
                    "AWS cannot change {} of this {} in place; `provision down`, then `provision up` makes it anew",
                    fields.join(", "),
                    resource.kind()
                ),
            ),
        }
        true
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
            Brought::Changed(output) => Some((output, Outcome::Updated)),
            Brought::Found(None) => {
                self.engine.state.steps.retain(|record| record.step != step);
                None
            }
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
        record.phase = Phase::Ready;
        record.desired = resource.desired();
        record.needs.clone_from(&self.stack.steps()[index].needs);
        record.output = Some(output.clone());
        if let Err(error) = self.engine.save() {
            self.fail(&step, error);
            return;
        }
        if outcome == Outcome::Adopted && self.differs(index, &*resource) {
            // What was found is what the interrupted run wanted; what is wanted now is decided on that.
            self.lives.insert(step, Ok(Live::Present(resource.desired())));
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
