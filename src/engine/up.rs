//! Makes the stack: every step as soon as all that it needs is done.
//!
//! Must not delete what the stack still has, except where a step is to be made anew.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::decide::{Decision, Wanted, decide, drift, with_keys_of};
use super::down::remove;
use super::plan::{Change, Plan, Wish};
use super::status::{Live, Lives};
use super::{
    Brought, Engine, Finished, Next, RunResult, Running, chain, change, known, look, make, meet, millis,
    unmake,
};
use crate::graph::{Outputs, Stack, Step};
use crate::report::Event;
use crate::report::event::{Action, Outcome, StepName};
use crate::resource::{Erased, Result, in_the_way};
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
    super::check(engine.state, engine.revive)?;
    let began = Instant::now();
    // Nothing can be there that carries an owner which was drawn a moment ago.
    let is_new = engine.state.serial == 0;
    let looked_for = if is_new {
        (0..stack.steps().len()).collect()
    } else {
        HashSet::new()
    };
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
    let first = first_to_go(engine, plan)?;
    let mut result = remove(engine, &first, wish.unprotect).await?;
    if !result.is_done() {
        return Ok(result);
    }
    // Nothing on record needs them any more.
    let left = plan.with(Change::Leave).map(|planned| planned.step.as_str());
    engine.leave(&left.collect())?;
    let places: HashMap<&str, usize> = stack
        .steps()
        .iter()
        .enumerate()
        .map(|(place, step)| (step.name.as_str(), place))
        .collect();
    let mut dependents = vec![Vec::new(); stack.steps().len()];
    for (place, step) in stack.steps().iter().enumerate() {
        for need in &step.needs {
            dependents[places[need.as_str()]].push(place);
        }
    }
    let missing: Vec<usize> = stack.steps().iter().map(|step| step.needs.len()).collect();
    let mut up = Up {
        engine,
        stack,
        wish,
        lives,
        outputs: Outputs::new(),
        places,
        dependents,
        followers: HashMap::new(),
        began,
        looked_for,
        missing_soon: missing.clone(),
        missing,
        ready: BTreeMap::new(),
        unsaved: Vec::new(),
        ended: HashSet::new(),
        adopted: HashSet::new(),
        running: Running::new(),
        result: RunResult::default(),
    };
    up.run().await;
    if up.result.is_done() {
        up.retire(true).await;
    }
    if up.result.is_done() {
        let left = plan.with(Change::Delete).map(|planned| planned.step.clone());
        let left = left
            .filter(|step| up.engine.state.record(step).is_some())
            .collect();
        let removed = remove(up.engine, &left, wish.unprotect).await?;
        up.result.add(removed);
    }
    if up.result.is_done() {
        up.retire(false).await;
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

/// How many intents are written at once, and how many results wait for the next write: enough that the file is not
/// rewritten for every step of a large stack, and few enough that a killed run has little to look for.
const WINDOW: usize = 32;

/// How long a result waits for a write that something else needs: what is not written is neither told nor known to a run
/// that comes after a kill.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

struct Up<'e, 'a, 's, C> {
    engine: &'e mut Engine<'a, C>,
    stack: &'s Stack<C>,
    wish: &'s Wish,
    /// What was seen of each step when the run began.
    lives: Lives,
    outputs: Outputs,
    /// By name: the place in the stack.
    places: HashMap<&'s str, usize>,
    /// By place: the steps that need it.
    dependents: Vec<Vec<usize>>,
    /// By place: the steps that are to change only after it.
    followers: HashMap<usize, Vec<usize>>,
    /// When no call of an earlier run was under way any more.
    began: Instant,
    /// The steps of which no other copy of the state can know one that is there.
    looked_for: HashSet<usize>,
    /// By place: how many of its needs are not published.
    missing: Vec<usize>,
    /// By place: the same without those that wait only for the next write.
    missing_soon: Vec<usize>,
    /// What can begin, by place.
    ready: BTreeMap<usize, Ready<C>>,
    /// Results that are not durable yet, and so not published.
    unsaved: Vec<Unsaved<C>>,
    /// Steps that ended, in any way.
    ended: HashSet<usize>,
    /// Steps whose resource was there already and is being brought to what is declared.
    adopted: HashSet<usize>,
    running: Running<C>,
    result: RunResult,
}

/// A step whose needs are published and for which something is to be done.
struct Ready<C> {
    resource: Rc<dyn Erased<C>>,
    lane: Option<String>,
    work: Work,
    /// Whether its intent is durable.
    intended: bool,
}

enum Work {
    Create,
    /// Look for what an interrupted run may have made.
    Resume,
    Update {
        before: Value,
        output: Value,
        is_retiring: bool,
    },
    /// With the recorded output, if any.
    Delete(Option<Value>),
}

/// The result of a step.
struct Unsaved<C> {
    place: usize,
    resource: Rc<dyn Erased<C>>,
    lane: Option<String>,
    output: Value,
    outcome: Outcome,
    millis: u64,
    since: Instant,
    /// Whether another step could begin once it is published.
    unblocks: bool,
}

impl<C> Unsaved<C> {
    /// When it has to be written, whoever else needs a write.
    fn due(&self) -> Instant {
        self.since + WRITTEN_WITHIN
    }

    /// What is in AWS and the state does not know, if it is not written.
    fn not_on_record(&self) -> Option<String> {
        let done = match self.outcome {
            Outcome::Created => "created",
            Outcome::Adopted => "adopted",
            Outcome::Updated => "updated",
            Outcome::Retired
            | Outcome::Kept
            | Outcome::Unchanged
            | Outcome::Left
            | Outcome::Deleted
            | Outcome::Gone => {
                return None;
            }
        };
        let id = self.resource.id(&self.output).ok()?;
        Some(format!("{id} was {done}, which is not on record"))
    }
}

impl<C: 'static> Up<'_, '_, '_, C> {
    async fn run(&mut self) {
        // Before the first of them is published, which begins others.
        let roots: Vec<usize> = (0..self.missing.len())
            .filter(|place| self.missing[*place] == 0)
            .collect();
        for place in roots {
            self.prepare(place);
        }
        loop {
            self.begin_what_can();
            if self.running.calls.is_empty() {
                break;
            }
            let next = self.running.next(&mut self.engine.stop);
            let next = match self.unsaved.first() {
                None => next.await,
                Some(unsaved) => match timeout_at(unsaved.due(), next).await {
                    Ok(next) => next,
                    Err(_) => continue,
                },
            };
            match next {
                Next::Finished(finished) => self.settle(finished),
                Next::Note(note) => self.engine.tell(note),
                Next::Stop => self.engine.tell(Event::Stopping {
                    running: self.running.calls.len(),
                }),
            }
        }
        if self.engine.stopping() && self.ended.len() < self.stack.steps().len() {
            self.result.interrupted = true;
            self.withdraw();
        }
    }

    /// Writes what has to be durable, publishes it, and begins every step that can, until none is left that could.
    fn begin_what_can(&mut self) {
        loop {
            while !self.engine.stopping() && self.begin_next() {}
            let is_urgent = |unsaved: &Unsaved<C>| {
                let lane_is_busy = unsaved
                    .lane
                    .as_ref()
                    .is_some_and(|lane| self.running.lanes.contains(lane));
                // What it unblocks is mostly in its lane, and would wait there.
                unsaved.unblocks && !lane_is_busy
            };
            let is_due = self.running.calls.is_empty()
                || self.unsaved.len() >= WINDOW
                || (self.unsaved.first()).is_some_and(|unsaved| unsaved.due() <= Instant::now())
                || self.unsaved.iter().any(is_urgent);
            if self.unsaved.is_empty() || !is_due {
                return;
            }
            // What could not be made durable has failed.
            drop(self.save());
        }
    }

    /// Begins the first step that is ready and for which there is room; `false` if there is none.
    fn begin_next(&mut self) -> bool {
        // Hundreds that follow each other may wait for the same room: one look will do for them.
        let mut full = None;
        let found = self.ready.iter().find(|&(_, ready)| {
            let room = (ready.resource.kind(), ready.lane.as_ref());
            if full == Some(room) {
                return false;
            }
            let is_free = self.running.has_room(room.0, room.1);
            if !is_free {
                full = Some(room);
            }
            is_free
        });
        let Some((&place, ready)) = found else {
            return false;
        };
        if !ready.intended {
            // Whatever has to be made next is intended along with it, in the same write.
            let others = self
                .ready
                .iter()
                .filter(|(_, ready)| matches!(ready.work, Work::Create) && !ready.intended);
            let mut intended: Vec<usize> = others.map(|(place, _)| *place).take(WINDOW).collect();
            if !intended.contains(&place) {
                intended.push(place);
            }
            for place in &intended {
                self.intend(*place);
            }
            match self.save() {
                Ok(()) => {
                    for place in intended {
                        let ready = self.ready.get_mut(&place);
                        ready.expect("only its beginning ends its being ready").intended = true;
                    }
                }
                Err(causes) => {
                    for place in intended {
                        self.ready.remove(&place);
                        self.fail(
                            place,
                            because(&causes).context("nothing was asked of AWS for this step"),
                        );
                    }
                    return true;
                }
            }
        }
        let ready = self.ready.remove(&place).expect("just found");
        self.begin(place, ready);
        true
    }

    /// Puts on record, not yet durably, what is about to be done.
    fn intend(&mut self, place: usize) {
        let ready = &self.ready[&place];
        let phase = match ready.work {
            Work::Create => {
                let desired = ready.resource.desired();
                self.put_record(place, desired);
                return;
            }
            Work::Resume => return,
            Work::Update { .. } => Phase::Updating,
            Work::Delete(_) => Phase::Deleting,
        };
        let desired = ready.resource.desired();
        let name = &self.stack.steps()[place].name;
        let record = self.engine.state.record_mut(name).expect("it is on record");
        record.phase = phase;
        if phase == Phase::Updating {
            record.desired = with_keys_of(&record.desired, &desired);
        }
    }

    /// Takes back the intents of what does not begin any more.
    fn withdraw(&mut self) {
        let withdrawn: HashSet<&str> = (self.ready.iter())
            .filter(|(_, ready)| ready.intended && matches!(ready.work, Work::Create))
            .map(|(place, _)| self.stack.steps()[*place].name.as_str())
            .collect();
        if withdrawn.is_empty() {
            return;
        }
        self.engine
            .state
            .steps
            .retain(|record| !withdrawn.contains(record.step.as_str()));
        // Left on record they would only be looked for in vain.
        drop(self.engine.save());
    }

    fn begin(&mut self, place: usize, ready: Ready<C>) {
        let step = &self.stack.steps()[place].name;
        let action = match ready.work {
            Work::Create => Action::Create,
            Work::Resume => Action::Resume,
            Work::Update { .. } => Action::Update,
            Work::Delete(_) => Action::Delete,
        };
        self.engine.tell(Event::StepStarted {
            step: step.clone(),
            action,
        });
        let cloud = self.engine.cloud.clone();
        let work = ready.work;
        let (began, unprotect) = (self.began, self.wish.unprotect);
        let looks = ready.resource.shares_names() && !self.looked_for.contains(&place);
        self.running
            .begin(&cloud, step, ready.resource, |resource, cx| async move {
                match work {
                    Work::Create => match if looks {
                        known(&*resource, &cx).await?
                    } else {
                        None
                    } {
                        Some(known) => Ok(known),
                        None => make(&*resource, &cx).await,
                    },
                    Work::Resume => match look(&*resource, &cx, began).await? {
                        Some(output) => meet(&*resource, &cx, output).await,
                        None => Ok(Brought::Missing),
                    },
                    Work::Delete(output) => {
                        if let Some(output) = &output {
                            resource.check_owner(&cx, output).await?;
                        }
                        unmake(&*resource, &cx, output, began, unprotect).await
                    }
                    Work::Update {
                        before,
                        output,
                        is_retiring,
                    } => {
                        let output = change(&*resource, &cx, &before, &output).await?;
                        let retires = is_retiring || resource.retires(&before)?;
                        Ok(Brought::Changed { output, retires })
                    }
                }
            });
    }

    /// Decides on a step whose needs are published.
    fn prepare(&mut self, place: usize) {
        let step = &self.stack.steps()[place];
        let resource = match step.resource(&self.outputs) {
            Ok(resource) => resource,
            Err(error) => return self.fail(place, error),
        };
        let desired = resource.desired();
        let record = self.engine.state.record(&step.name);
        let wanted = Wanted {
            desired: &desired,
            fixed: resource.fixed(),
            loses: resource.loses().is_some(),
            named: self.wish.replace.contains(&step.name),
            repair: self.wish.repair,
        };
        let decision = decide(record, self.lives.get(&step.name), wanted);
        if matches!(decision, Decision::Update { .. } | Decision::Replace(_)) {
            let unpublished = step
                .follows
                .iter()
                .find(|other| !self.outputs.contains_key(*other));
            if let Some(before) = unpublished {
                let before = self.places[before.as_str()];
                if self.ended.contains(&before) {
                    self.hold_back(place, before);
                } else {
                    self.followers.entry(before).or_default().push(place);
                }
                return;
            }
        }
        let recorded = match (&decision, record) {
            (Decision::Resume | Decision::Replace(_), Some(record)) => match self.engine.revive(record) {
                Ok(recorded) => Some(recorded),
                Err(error) => return self.fail(place, error),
            },
            _ => None,
        };
        let output = record.and_then(|record| record.output.clone());
        let is_retiring = record.is_some_and(|record| record.phase == Phase::Retiring);
        let is_intended = record.is_some_and(|record| record.phase == Phase::Deleting);
        let work = match (decision, output) {
            (Decision::Create, _) => Work::Create,
            (Decision::Resume, _) => Work::Resume,
            (Decision::Replace(_), output) => Work::Delete(output),
            (Decision::Update { before, .. }, Some(output)) => Work::Update {
                before,
                output,
                is_retiring,
            },
            (Decision::Keep, Some(output)) => return self.keep(place, resource, output),
            (Decision::Keep | Decision::Update { .. }, None) => {
                return self.fail(place, anyhow!("a step on record as ready has no output"));
            }
            (Decision::NotOurs(stranger), _) => return self.fail(place, stranger.into()),
            (Decision::Refuse(fields), _) => {
                let error = anyhow!(
                    "AWS cannot change {} of this {} in place, and a new one loses {}",
                    fields.join(", "),
                    resource.kind(),
                    resource.loses().expect("only what loses something is refused")
                );
                return self.fail(place, error);
            }
        };
        let resource = recorded.unwrap_or(resource);
        let ready = Ready {
            lane: resource.lane(),
            resource,
            intended: is_intended || matches!(work, Work::Resume),
            work,
        };
        self.ready.insert(place, ready);
    }

    /// What is as it should be; puts on record what somebody else had already done.
    fn keep(&mut self, place: usize, resource: Rc<dyn Erased<C>>, output: Value) {
        let step = &self.stack.steps()[place];
        let desired = resource.desired();
        let record = self
            .engine
            .state
            .record_mut(&step.name)
            .expect("a kept step is on record");
        let unsaved = Unsaved {
            place,
            lane: None,
            resource,
            output,
            outcome: Outcome::Unchanged,
            millis: 0,
            since: Instant::now(),
            unblocks: true,
        };
        if record.desired == desired && record.needs == step.needs {
            self.publish(unsaved);
        } else {
            record.desired = desired;
            record.needs.clone_from(&step.needs);
            self.wait_for_save(unsaved);
        }
    }

    fn wait_for_save(&mut self, mut unsaved: Unsaved<C>) {
        unsaved.unblocks = self.followers.contains_key(&unsaved.place);
        for dependent in &self.dependents[unsaved.place] {
            self.missing_soon[*dependent] -= 1;
            unsaved.unblocks |= self.missing_soon[*dependent] == 0;
        }
        self.unsaved.push(unsaved);
    }

    /// Makes the state durable and publishes what waited for it; else the error and its causes.
    fn save(&mut self) -> Result<(), Vec<String>> {
        let saved = self.engine.save();
        let unsaved = std::mem::take(&mut self.unsaved);
        if let Err(error) = saved {
            let causes = chain(&error);
            for unsaved in unsaved {
                let mut error = because(&causes);
                if let Some(what) = unsaved.not_on_record() {
                    error = error.context(what);
                }
                self.fail(unsaved.place, error);
            }
            return Err(causes);
        }
        for unsaved in unsaved {
            for dependent in &self.dependents[unsaved.place] {
                self.missing_soon[*dependent] += 1;
            }
            self.publish(unsaved);
        }
        Ok(())
    }

    /// Tells that it is done, and lets the steps that need it, and those that follow it, know its output.
    fn publish(&mut self, unsaved: Unsaved<C>) {
        let place = unsaved.place;
        self.engine.tell(Event::StepFinished {
            step: self.stack.steps()[place].name.clone(),
            outcome: unsaved.outcome,
            with: None,
            id: unsaved.resource.id(&unsaved.output).ok(),
            millis: unsaved.millis,
        });
        self.outputs
            .insert(self.stack.steps()[place].name.clone(), unsaved.output);
        self.ended.insert(place);
        let dependents = self.dependents[place].clone();
        for dependent in dependents {
            self.missing[dependent] -= 1;
            self.missing_soon[dependent] -= 1;
            if self.missing[dependent] == 0 && !self.ended.contains(&dependent) {
                self.prepare(dependent);
            }
        }
        for follower in self.followers.remove(&place).unwrap_or_default() {
            self.prepare(follower);
        }
    }

    /// Holds back all that wait for this step.
    fn hold_back_dependents(&mut self, place: usize) {
        let mut waiting = self.dependents[place].clone();
        waiting.extend(self.followers.remove(&place).unwrap_or_default());
        for dependent in waiting {
            if !self.ended.contains(&dependent) {
                self.hold_back(dependent, place);
            }
        }
    }

    fn hold_back(&mut self, place: usize, because: usize) {
        let name = |place: usize| self.stack.steps()[place].name.clone();
        let (step, because) = (name(place), name(because));
        self.ended.insert(place);
        self.result.held_back.push((step.clone(), because.clone()));
        self.engine.tell(Event::HeldBack { step, because });
        self.hold_back_dependents(place);
    }

    /// Takes away what updates left of earlier states, now that all that used it has moved: of the kinds that retire first,
    /// or of the others.
    async fn retire(&mut self, first: bool) {
        let retiring: HashSet<&str> = (self.engine.state.steps.iter())
            .filter(|record| record.phase == Phase::Retiring)
            .map(|record| record.step.as_str())
            .collect();
        let is_first = |step: &Step<C>| step.resource(&self.outputs).is_ok_and(|it| it.retires_first());
        let mut waiting: Vec<usize> = (self.stack.steps().iter().enumerate())
            .filter(|(_, step)| retiring.contains(step.name.as_str()) && is_first(step) == first)
            .map(|(index, _)| index)
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
                self.fail(index, error);
                return true;
            }
        };
        if !self.running.has_room(resource.kind(), resource.lane().as_ref()) {
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
            // It stays on record as retiring, so that a later run tries again.
            Err(error) if in_the_way(&error).is_some() => {
                self.engine.tell(Event::StepFinished {
                    id: finished.resource.id(&self.outputs[&step]).ok(),
                    step: step.clone(),
                    outcome: Outcome::Kept,
                    with: None,
                    millis: millis(finished.began),
                });
                self.result.left.push((step, error));
            }
            Err(error) => self.fail(self.places[step.as_str()], error),
        }
    }

    /// Puts a record without output for this step where the file's order wants it.
    fn put_record(&mut self, place: usize, desired: Value) {
        let step = &self.stack.steps()[place];
        let record = Record {
            step: step.name.clone(),
            phase: Phase::Creating,
            kind: step.kind.to_owned(),
            needs: step.needs.clone(),
            desired,
            output: None,
        };
        let records = &mut self.engine.state.steps;
        records.retain(|record| record.step != step.name);
        let is_earlier = |record: &Record| {
            let other = self.places.get(record.step.as_str());
            other.is_some_and(|other| *other < place)
        };
        // From the end: steps are mostly put on record in their order.
        let at = records.iter().rposition(is_earlier).map_or(0, |last| last + 1);
        records.insert(at, record);
    }

    /// Records what a call brought. It is published with the next write.
    fn settle(&mut self, finished: Finished<C>) {
        let Finished {
            step,
            resource,
            began,
            brought,
        } = finished;
        let place = self.places[step.as_str()];
        let desired = resource.desired();
        let (output, outcome, phase) = match brought {
            Err(error) => return self.fail(place, error),
            Ok(Brought::Made(output)) => {
                // A run with another copy of the state may have left one that this one takes the place of.
                let may_follow = !self.looked_for.contains(&place);
                let retires = may_follow && resource.retires(&desired).unwrap_or_default();
                let phase = if retires { Phase::Retiring } else { Phase::Ready };
                (output, Outcome::Created, phase)
            }
            Ok(Brought::Found { output, live }) => {
                let is_wanted = drift(&desired, &live).fields.is_empty();
                if !is_wanted || self.differs(place, &desired) {
                    return self.adopt(place, desired, output, live);
                }
                (output, Outcome::Adopted, Phase::Ready)
            }
            Ok(Brought::Changed { output, retires }) => {
                let outcome = if self.adopted.remove(&place) {
                    Outcome::Adopted
                } else {
                    Outcome::Updated
                };
                let phase = if retires { Phase::Retiring } else { Phase::Ready };
                (output, outcome, phase)
            }
            // Nothing of it is left, so it starts over.
            Ok(Brought::Missing) => {
                self.looked_for.insert(place);
                self.engine.state.steps.retain(|record| record.step != step);
                self.lives.remove(&step);
                return self.prepare(place);
            }
            Ok(Brought::Gone) => {
                // A list may go on showing the one that was deleted.
                self.looked_for.insert(place);
                self.lives.remove(&step);
                self.adopted.remove(&place);
                return match self.forget_deleted(&step, began) {
                    Ok(()) => self.prepare(place),
                    Err(error) => self.fail(place, error),
                };
            }
            Ok(Brought::Retired) => unreachable!("nothing is retired before every step is done"),
        };
        self.result.changed += 1;
        let record = self
            .engine
            .state
            .record_mut(&step)
            .expect("a begun step is on record");
        record.phase = phase;
        record.desired = desired;
        record.needs.clone_from(&self.stack.steps()[place].needs);
        record.output = Some(output.clone());
        self.wait_for_save(Unsaved {
            place,
            lane: resource.lane(),
            resource,
            output,
            outcome,
            millis: millis(began),
            since: Instant::now(),
            unblocks: false,
        });
    }

    /// Puts on record what was found and is not as it is declared, and goes on as after an interrupted update: it is not
    /// published, nor on record as ready, before it is.
    fn adopt(&mut self, place: usize, desired: Value, output: Value, live: Value) {
        let step = &self.stack.steps()[place];
        let record = self.engine.state.record_mut(&step.name);
        let record = record.expect("a begun step is on record");
        record.phase = Phase::Updating;
        record.desired = desired;
        record.needs.clone_from(&step.needs);
        record.output = Some(output);
        self.lives.insert(step.name.clone(), Live::Present(live));
        self.adopted.insert(place);
        self.prepare(place);
    }

    fn differs(&self, place: usize, recorded: &Value) -> bool {
        self.stack.steps()[place]
            .resource(&self.outputs)
            .is_ok_and(|resource| resource.desired() != *recorded)
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

    fn fail(&mut self, place: usize, error: anyhow::Error) {
        let step = self.stack.steps()[place].name.clone();
        self.engine.tell(Event::StepFailed {
            step: step.clone(),
            error: chain(&error),
        });
        self.result.failed.push((step, error));
        self.ended.insert(place);
        self.hold_back_dependents(place);
    }
}

/// An error of these messages, each the cause of the one before.
fn because(causes: &[String]) -> anyhow::Error {
    let (last, others) = causes.split_last().expect("an error has a message");
    others.iter().rev().fold(anyhow!(last.clone()), |error, message| {
        error.context(message.clone())
    })
}
