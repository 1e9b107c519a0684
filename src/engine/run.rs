//! The one loop that creates, changes, retires and deletes.
//!
//! The loop decides on a step as soon as all that it waits for is done. The step begins once that and its own intent
//! are durable, and is reported as done once its result is durable.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::calls::{Call, Found};
use super::decide::{Wanted, decide, with_keys_of};
use super::ledger::Entry;
use super::live::{Live, Observed, drift};
use super::options::Options;
use super::schedule::{Room, Schedule};
use super::{Engine, RunResult, chain, millis};
use crate::graph::{Outputs, Step};
use crate::report::Event;
use crate::report::event::{Operation, Outcome};
use crate::resource::{Cx, Erased, Result, in_the_way};
use crate::state::{Phase, Record, StateError};

/// How many intents go into one write. More mean fewer writes of a large state; fewer leave a killed run less to look
/// for.
const AHEAD: usize = 32;

/// How long a result that no step waits for may stay unwritten. Until it is written it is not reported, and a run after
/// a kill has to look for it.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// What a run keeps from one drive to the next.
pub(super) struct Run<'e, 'a, C: 'static> {
    pub engine: &'e mut Engine<'a, C>,
    pub options: &'e Options,
    /// What was read of each step before the run began.
    pub observed: Observed,
    /// The outputs of the steps that are done.
    pub outputs: Outputs,
    /// From then on, no call of an earlier run is under way.
    pub began: Instant,
    /// The steps whose resource cannot exist, not even in another copy of the state.
    pub looked_for: HashSet<String>,
    pub result: RunResult,
}

/// One step of a drive.
pub(super) struct Task<'s, C> {
    pub step: String,
    pub goal: Goal<'s, C>,
    /// The places of the tasks that it waits for.
    pub waits: Vec<usize>,
}

/// What a task ends in.
pub(super) enum Goal<'s, C> {
    /// The resource is as declared.
    Declared(&'s Step<C>),
    /// What updates left of the resource is deleted.
    Retired(&'s Step<C>),
    /// It is gone.
    Removed,
}

impl<C> Clone for Goal<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Goal<'_, C> {}

/// Why a step does not begin.
pub(super) enum NotBegun {
    /// The step failed before.
    Failed(anyhow::Error),
    /// This other step holds it back.
    HeldBack(String),
}

/// A call that is decided on.
struct PlannedCall<C> {
    call: Call<C>,
    /// The record before the intent.
    before: Option<Record>,
    intended: bool,
    /// Whether the intent is durable.
    ready: bool,
}

struct Finished<C> {
    place: usize,
    call: Call<C>,
    began: Instant,
    found: Result<Option<Found>>,
}

/// What ended a wait.
enum Next<C> {
    Written(Vec<Entry>, Result<()>),
    Note(Event),
    Finished(Box<Finished<C>>),
    Stop,
    Due,
}

/// One run of the loop.
struct Drive<'r, 'e, 'a, 's, C: 'static> {
    run: &'r mut Run<'e, 'a, C>,
    tasks: Vec<Task<'s, C>>,
    places: HashMap<String, usize>,
    schedule: Schedule,
    planned: BTreeMap<usize, PlannedCall<C>>,
    /// Steps whose resource was found, and is being changed to what is declared.
    adopted: HashSet<usize>,
    /// No call is ever dropped: what it does in the cloud has to be recorded.
    calls: FuturesUnordered<LocalBoxFuture<'static, Finished<C>>>,
    notes: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    /// Whether the stop was reported. It may come while another event is handled.
    stop_told: bool,
}

impl<'e, 'a, C: 'static> Run<'e, 'a, C> {
    pub(super) fn new(engine: &'e mut Engine<'a, C>, options: &'e Options, observed: Observed) -> Self {
        Self {
            engine,
            options,
            observed,
            outputs: Outputs::new(),
            began: Instant::now(),
            looked_for: HashSet::new(),
            result: RunResult::default(),
        }
    }

    /// Runs every task to its goal. What fails is in the result.
    pub(super) async fn drive(&mut self, tasks: Vec<Task<'_, C>>) {
        self.drive_without(tasks, Vec::new()).await;
    }

    /// The same, but these steps do not begin; some of them may be among the tasks.
    pub(super) async fn drive_without(
        &mut self,
        tasks: Vec<Task<'_, C>>,
        not_begun: Vec<(String, NotBegun)>,
    ) {
        let waits: Vec<Vec<usize>> = tasks.iter().map(|task| task.waits.clone()).collect();
        let mut drive = Drive {
            places: (tasks.iter().enumerate())
                .map(|(place, task)| (task.step.clone(), place))
                .collect(),
            run: self,
            tasks,
            schedule: Schedule::new(&waits),
            planned: BTreeMap::new(),
            adopted: HashSet::new(),
            calls: FuturesUnordered::new(),
            notes: mpsc::unbounded_channel(),
            stop_told: false,
        };
        for (step, why) in not_begun {
            match why {
                NotBegun::Failed(error) => drive.fail(&step, error),
                NotBegun::HeldBack(because) => drive.hold_back(&step, because),
            }
        }
        drive.run().await;
    }
}

impl<C: 'static> Drive<'_, '_, '_, '_, C> {
    async fn run(&mut self) {
        loop {
            if !self.run.engine.stopping() {
                while let Some(place) = self.schedule.next_open() {
                    self.decide(place);
                }
                self.write_if_awaited();
                while let Some(place) = self.schedule.begin() {
                    self.begin(place);
                }
            }
            self.write_if_due();
            if self.calls.is_empty() && !self.run.engine.ledger.is_writing() {
                break;
            }
            self.next().await;
        }
        if !self.schedule.is_over() {
            self.run.result.interrupted = true;
            for place in self.planned.keys().copied().collect::<Vec<usize>>() {
                self.withdraw(place);
            }
            if self.run.engine.ledger.unwritten_since().is_some() {
                self.run.engine.ledger.write();
                // If this write fails, the records that stay cause a search that finds nothing, and no more.
                drop(self.run.engine.ledger.written().await);
            }
        }
    }

    /// Waits for one event and handles it.
    async fn next(&mut self) {
        let engine = &mut *self.run.engine;
        let now = Instant::now();
        let gathered = engine.ledger.gathers_until().filter(|until| now < *until);
        let due = gathered.or_else(|| Some(engine.ledger.unwritten_since()? + WRITTEN_WITHIN));
        let is_writing = engine.ledger.is_writing();
        let is_calling = !self.calls.is_empty();
        let next = tokio::select! {
            biased;
            (entries, written) = engine.ledger.written() => Next::Written(entries, written),
            Some(note) = self.notes.1.recv() => Next::Note(note),
            Some(finished) = self.calls.next(), if is_calling => Next::Finished(Box::new(finished)),
            Ok(_) = engine.stop.wait_for(|stop| *stop), if !self.stop_told && is_calling => Next::Stop,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && !is_writing => Next::Due,
            else => unreachable!("a call or a write is under way"),
        };
        match next {
            Next::Written(entries, written) => self.settle_written(entries, written),
            Next::Note(note) => self.run.engine.tell(note),
            Next::Finished(finished) => self.settle(*finished),
            Next::Stop => {
                self.stop_told = true;
                let running = self.calls.len();
                self.run.engine.tell(Event::Stopping { running });
            }
            // What is due is written before the next wait.
            Next::Due => {}
        }
    }

    /// Writes the results that the next steps wait for, together with their own intents. A step with nothing to write
    /// is ready at once.
    fn write_if_awaited(&mut self) {
        let ledger = &self.run.engine.ledger;
        let gathers =
            (ledger.gathers_until()).is_some_and(|until| Instant::now() < until && !self.calls.is_empty());
        if ledger.is_writing() || gathers {
            return;
        }
        let planned = &self.planned;
        let is_create = |place: usize| planned[&place].call.operation == Operation::Create;
        let intended = self.schedule.intend(AHEAD, is_create);
        if intended.is_empty() {
            return;
        }
        for place in &intended {
            self.intend(*place);
        }
        if self.run.engine.ledger.is_durable() {
            for place in intended {
                self.ready(place);
            }
            return;
        }
        for place in intended {
            self.run.engine.ledger.note(Entry {
                step: self.tasks[place].step.clone(),
                told: Vec::new(),
                unwritten: Some("nothing was asked of AWS for this step".to_owned()),
            });
        }
        self.run.engine.ledger.write();
    }

    /// Writes the results that no step waits for, once they are due or nothing else is left to do.
    fn write_if_due(&mut self) {
        let ledger = &mut self.run.engine.ledger;
        let Some(since) = ledger.unwritten_since() else {
            return;
        };
        let is_due = self.calls.is_empty() || Instant::now() >= since + WRITTEN_WITHIN;
        if is_due && !ledger.is_writing() {
            ledger.write();
        }
    }

    /// Records the intent of a step.
    fn intend(&mut self, place: usize) {
        let task = &self.tasks[place];
        let planned = self
            .planned
            .get_mut(&place)
            .expect("what is intended was planned");
        planned.intended = true;
        let ledger = &mut self.run.engine.ledger;
        let desired = planned.call.resource.desired();
        let phase = match (planned.call.operation, task.goal) {
            (Operation::Create, Goal::Declared(step)) => {
                put_record(&mut ledger.state.steps, &self.places, place, step, desired);
                ledger.touch();
                return;
            }
            (Operation::Update, _) => Phase::Updating,
            (Operation::Delete, _) => Phase::Deleting,
            // The record already says that it began.
            _ => return,
        };
        let record = ledger.state.record_mut(&task.step).expect("it is on record");
        if record.phase == Phase::Deleting {
            return;
        }
        record.phase = phase;
        if phase == Phase::Updating {
            record.desired = with_keys_of(&record.desired, &desired);
        }
        ledger.touch();
    }

    /// The intent of a step is durable. If the step was held back during the write, its intent was withdrawn.
    fn ready(&mut self, place: usize) {
        match self.planned.get_mut(&place) {
            Some(planned) => planned.ready = true,
            None => self.run.engine.ledger.touch(),
        }
        self.schedule.ready(place);
    }

    /// Withdraws the intent of a step that does not begin.
    fn withdraw(&mut self, place: usize) {
        let Some(planned) = self.planned.remove(&place).filter(|planned| planned.intended) else {
            return;
        };
        let step = &self.tasks[place].step;
        let ledger = &mut self.run.engine.ledger;
        match planned.before {
            Some(before) => *ledger.state.record_mut(step).expect("it is on record") = before,
            None => ledger.state.steps.retain(|record| record.step != *step),
        }
        if planned.ready {
            ledger.touch();
        }
    }

    fn begin(&mut self, place: usize) {
        let planned = self.planned.remove(&place).expect("what begins was planned");
        let call = planned.call;
        let step = self.tasks[place].step.clone();
        self.run.engine.tell(Event::StepStarted {
            step: step.clone(),
            action: call.operation,
        });
        let cx = cx(&self.run.engine.cloud, &step, self.notes.0.clone());
        // What has a unique name is found or refused when it is made, however late another one arrives.
        let late_until = self
            .run
            .engine
            .late_until
            .filter(|_| call.resource.kind().shares_names);
        let ended = late_until.map_or(self.run.began, |late| late.max(self.run.began));
        let unprotect = self.run.options.unprotect;
        let began = Instant::now();
        self.calls.push(Box::pin(async move {
            let found = call.run(&cx, ended, unprotect).await;
            Finished {
                place,
                call,
                began,
                found,
            }
        }));
    }

    /// Decides on a step that no longer waits for anything.
    fn decide(&mut self, place: usize) {
        let decided = match self.tasks[place].goal {
            Goal::Declared(step) => self.decide_declared(place, step),
            Goal::Retired(step) => step.resource(&self.run.outputs).map(|resource| {
                let output = self.run.outputs.get(&step.name).cloned();
                Some(Call::new(Operation::Retire, resource, output))
            }),
            Goal::Removed => {
                let record = self.record(place).expect("what is removed is on record");
                let output = record.output.clone();
                let resource = self.run.engine.revive(record);
                resource.map(|resource| Some(Call::new(Operation::Delete, resource, output)))
            }
        };
        match decided {
            Ok(None) => {}
            Err(error) => self.fail_at(place, error),
            Ok(Some(call)) => {
                let room = Room {
                    kind: call.resource.kind().name,
                    lane: call.resource.lane(),
                };
                self.schedule.plan(place, room);
                let planned = PlannedCall {
                    call,
                    before: self.record(place).cloned(),
                    intended: false,
                    ready: false,
                };
                self.planned.insert(place, planned);
            }
        }
    }

    /// `None`: there is no call to make, or not yet.
    fn decide_declared(&mut self, place: usize, step: &Step<C>) -> Result<Option<Call<C>>> {
        let resource = step.resource(&self.run.outputs)?;
        let desired = resource.desired();
        let record = self.record(place);
        let live = self.run.observed.get(&step.name);
        let wanted = Wanted::new(&desired, step, self.run.options);
        let decision = decide(record, live, wanted);
        if matches!(decision.operation, Operation::Update | Operation::Replace) {
            let unpublished = (step.follows.iter()).find(|other| !self.run.outputs.contains_key(*other));
            if let Some(before) = unpublished {
                let before = self.places[before];
                if !self.schedule.wait(place, before) {
                    self.hold_back(&step.name, self.tasks[before].step.clone());
                }
                return Ok(None);
            }
        }
        let output = record.and_then(|record| record.output.clone());
        let is_new = !self.run.looked_for.contains(&step.name);
        let call = Call::new(decision.operation, resource.clone(), output);
        Ok(Some(match decision.operation {
            Operation::Create => Call {
                looks: is_new && step.kind.shares_names,
                may_retire: is_new,
                ..call
            },
            Operation::Update => {
                anyhow::ensure!(call.output.is_some(), "a step on record as ready has no output");
                Call {
                    before: decision.before,
                    may_retire: record.is_some_and(|record| record.phase == Phase::Retiring),
                    ..call
                }
            }
            // As it was recorded.
            Operation::Resume => Call {
                resource: self.revived(place)?,
                ..call
            },
            Operation::Replace => Call {
                operation: Operation::Delete,
                resource: self.revived(place)?,
                looks: true,
                ..call
            },
            Operation::Unchanged => {
                let output = call.output.context("a step on record as ready has no output")?;
                self.keep(place, step, &*resource, output);
                return Ok(None);
            }
            _ => match live {
                Some(Live::NotOurs(stranger)) => return Err(stranger.clone().into()),
                _ => bail!(decision.why.unwrap_or_default()),
            },
        }))
    }

    fn record(&self, place: usize) -> Option<&Record> {
        self.run.engine.ledger.state.record(&self.tasks[place].step)
    }

    fn revived(&self, place: usize) -> Result<Rc<dyn Erased<C>>> {
        let record = self.record(place).expect("it is on record");
        self.run.engine.revive(record)
    }

    /// Keeps a step that is as declared. What someone else already changed to that is recorded.
    fn keep(&mut self, place: usize, step: &Step<C>, resource: &dyn Erased<C>, output: Value) {
        let finished = Event::StepFinished {
            step: step.name.clone(),
            outcome: Outcome::Unchanged,
            with: None,
            id: resource.id(&output).ok(),
            millis: 0,
        };
        let desired = resource.desired();
        let ledger = &mut self.run.engine.ledger;
        let record = ledger
            .state
            .record_mut(&step.name)
            .expect("a kept step is on record");
        if record.desired == desired && record.needs == step.needs {
            self.run.engine.tell(finished);
        } else {
            record.desired = desired;
            record.needs.clone_from(&step.needs);
            ledger.note(Entry {
                step: step.name.clone(),
                told: vec![finished],
                unwritten: None,
            });
        }
        self.run.outputs.insert(step.name.clone(), output);
        self.schedule.done(place);
    }

    /// Records the result of a call.
    fn settle(&mut self, finished: Finished<C>) {
        let Finished {
            place,
            call,
            began,
            found,
        } = finished;
        self.schedule.free(place);
        let found = match found {
            Ok(found) => found,
            Err(error) if call.operation == Operation::Retire && in_the_way(&error).is_some() => {
                return self.keep_left(place, &call, error, began);
            }
            Err(error) => return self.fail_at(place, error),
        };
        match (call.operation, found) {
            (Operation::Delete, _) => self.record_gone(place, began),
            // The interrupted call created nothing, so the step starts over.
            (_, None) => {
                let step = &self.tasks[place].step;
                self.run
                    .engine
                    .ledger
                    .state
                    .steps
                    .retain(|record| record.step != *step);
                self.run.engine.ledger.touch();
                self.start_over(place);
            }
            (
                _,
                Some(Found {
                    output,
                    live: Some(live),
                    ..
                }),
            ) => {
                let desired = call.resource.desired();
                let is_wanted = drift(&desired, &live).fields.is_empty();
                if is_wanted && !self.differs(place, &desired) {
                    self.record_done(place, &call, output, Phase::Ready, Outcome::Adopted, began);
                } else {
                    self.adopt(place, desired, output, live);
                }
            }
            (operation, Some(found)) => {
                let outcome = match operation {
                    Operation::Create => Outcome::Created,
                    Operation::Retire => Outcome::Retired,
                    _ if self.adopted.remove(&place) => Outcome::Adopted,
                    _ => Outcome::Updated,
                };
                let phase = if found.retires {
                    Phase::Retiring
                } else {
                    Phase::Ready
                };
                self.record_done(place, &call, found.output, phase, outcome, began);
            }
        }
    }

    /// Records a step as done; that is reported once it is durable.
    fn record_done(
        &mut self,
        place: usize,
        call: &Call<C>,
        output: Value,
        phase: Phase,
        outcome: Outcome,
        began: Instant,
    ) {
        let task = &self.tasks[place];
        let ledger = &mut self.run.engine.ledger;
        let record = ledger
            .state
            .record_mut(&task.step)
            .expect("a begun step is on record");
        record.phase = phase;
        record.desired = call.resource.desired();
        record.output = Some(output.clone());
        if let Goal::Declared(step) = task.goal {
            record.needs.clone_from(&step.needs);
        }
        let id = call.resource.id(&output).ok();
        let done = match outcome {
            Outcome::Created => Some("created"),
            Outcome::Adopted => Some("adopted"),
            Outcome::Updated => Some("updated"),
            _ => None,
        };
        ledger.note(Entry {
            step: task.step.clone(),
            unwritten: (id.as_ref().zip(done))
                .map(|(id, done)| format!("{id} was {done}, which is not on record")),
            told: vec![Event::StepFinished {
                step: task.step.clone(),
                outcome,
                with: None,
                id,
                millis: millis(began),
            }],
        });
        self.run.result.changed += 1;
        self.run.outputs.insert(task.step.clone(), output);
        self.schedule.done(place);
    }

    /// Records a resource that was found and is not as declared, and continues as after an interrupted update. Its
    /// output is not used, nor its record ready, before the resource is as declared.
    fn adopt(&mut self, place: usize, desired: Value, output: Value, live: Value) {
        let task = &self.tasks[place];
        let ledger = &mut self.run.engine.ledger;
        let record = ledger
            .state
            .record_mut(&task.step)
            .expect("a begun step is on record");
        record.phase = Phase::Updating;
        record.desired = desired;
        record.output = Some(output);
        if let Goal::Declared(step) = task.goal {
            record.needs.clone_from(&step.needs);
        }
        ledger.touch();
        self.run.observed.insert(task.step.clone(), Live::Present(live));
        self.adopted.insert(place);
        self.schedule.reopen(place);
    }

    fn differs(&self, place: usize, recorded: &Value) -> bool {
        let Goal::Declared(step) = self.tasks[place].goal else {
            return false;
        };
        (step.resource(&self.run.outputs)).is_ok_and(|resource| resource.desired() != *recorded)
    }

    /// Removes the record of a deleted step, and the records of all that AWS deleted with it.
    fn record_gone(&mut self, place: usize, began: Instant) {
        let step = self.tasks[place].step.clone();
        let (own, along) = match self.run.engine.take_off_record(&step) {
            Ok(taken) => taken,
            Err(error) => return self.fail_at(place, error),
        };
        let finished = |step: &str, outcome, with: Option<&str>, id, millis| Event::StepFinished {
            step: step.to_owned(),
            outcome,
            with: with.map(str::to_owned),
            id,
            millis,
        };
        let mut told = vec![finished(&step, Outcome::Deleted, None, own, millis(began))];
        for child in &along {
            told.push(finished(child, Outcome::Gone, Some(&step), None, 0));
            self.run.observed.remove(child);
        }
        self.run.engine.ledger.note(Entry {
            step,
            told,
            unwritten: Some("it is deleted, and still on record".to_owned()),
        });
        match self.tasks[place].goal {
            Goal::Removed => {
                self.run.result.changed += 1;
                self.schedule.done(place);
            }
            Goal::Declared(_) | Goal::Retired(_) => self.start_over(place),
        }
    }

    /// The resource does not exist, and is created next.
    fn start_over(&mut self, place: usize) {
        let step = &self.tasks[place].step;
        // A list may still show the deleted one.
        self.run.looked_for.insert(step.clone());
        self.run.observed.remove(step);
        self.adopted.remove(&place);
        self.schedule.reopen(place);
    }

    /// Reports what is durable; what could not be written has failed.
    fn settle_written(&mut self, entries: Vec<Entry>, written: Result<()>) {
        let Err(error) = written else {
            for entry in entries {
                match self.places.get(&entry.step) {
                    Some(place) if entry.told.is_empty() => self.ready(*place),
                    _ => entry
                        .told
                        .into_iter()
                        .for_each(|event| self.run.engine.tell(event)),
                }
            }
            return;
        };
        self.run.engine.lost |= (error.chain())
            .filter_map(|cause| cause.downcast_ref())
            .any(|cause| matches!(cause, StateError::Lost { .. }));
        let causes = chain(&error);
        for entry in entries {
            let error = because(&causes);
            let error = match entry.unwritten {
                Some(unwritten) => error.context(unwritten),
                None => error,
            };
            self.fail(&entry.step, error);
        }
    }

    fn fail_at(&mut self, place: usize, error: anyhow::Error) {
        let step = self.tasks[place].step.clone();
        self.fail(&step, error);
    }

    fn fail(&mut self, step: &str, error: anyhow::Error) {
        let place = self.places.get(step).copied();
        // One failed write can fail a step twice: with its result, and with the intent of its next call.
        if place.is_some_and(|place| self.schedule.has_failed(place)) {
            return;
        }
        let engine = &mut *self.run.engine;
        engine.tell(Event::StepFailed {
            step: step.to_owned(),
            error: chain(&error),
        });
        self.run.result.failed.push((step.to_owned(), error));
        self.end(place);
    }

    fn hold_back(&mut self, step: &str, because: String) {
        self.run.engine.tell(Event::HeldBack {
            step: step.to_owned(),
            because: because.clone(),
        });
        self.run.result.held_back.push((step.to_owned(), because));
        self.end(self.places.get(step).copied());
    }

    /// Ends a step that is not done, and reports the steps that it holds back.
    fn end(&mut self, place: Option<usize>) {
        let Some(place) = place else { return };
        self.withdraw(place);
        for (waiting, because) in self.schedule.fail(place) {
            let step = self.tasks[waiting].step.clone();
            self.hold_back(&step, self.tasks[because].step.clone());
        }
    }

    /// What an update left stays, because someone else uses it. The step stays on record as retiring, so a later run
    /// tries again.
    fn keep_left(&mut self, place: usize, call: &Call<C>, error: anyhow::Error, began: Instant) {
        let step = self.tasks[place].step.clone();
        self.run.engine.tell(Event::StepFinished {
            step: step.clone(),
            outcome: Outcome::Kept,
            with: None,
            id: call
                .output
                .as_ref()
                .and_then(|output| call.resource.id(output).ok()),
            millis: millis(began),
        });
        self.run.result.left.push((step, error));
        self.schedule.done(place);
    }
}

/// Inserts a record without output in the order of the places.
fn put_record(
    records: &mut Vec<Record>,
    places: &HashMap<String, usize>,
    place: usize,
    step: &Step<impl Sized>,
    desired: Value,
) {
    let record = Record {
        step: step.name.clone(),
        phase: Phase::Creating,
        kind: step.kind.name.to_owned(),
        needs: step.needs.clone(),
        desired,
        output: None,
    };
    records.retain(|record| record.step != step.name);
    let is_earlier = |record: &Record| places.get(&record.step).is_some_and(|other| *other < place);
    // From the end, because steps are mostly recorded in their order.
    let at = records.iter().rposition(is_earlier).map_or(0, |last| last + 1);
    records.insert(at, record);
}

fn cx<C>(cloud: &Rc<C>, step: &str, notes: mpsc::UnboundedSender<Event>) -> Cx<C> {
    let step = step.to_owned();
    Cx::new(
        cloud.clone(),
        Rc::new(move |what| {
            // The run that would have reported it is over.
            drop(notes.send(Event::Waiting {
                step: step.clone(),
                what: what.to_owned(),
            }));
        }),
    )
}

/// An error of these messages, each the cause of the one before.
fn because(causes: &[String]) -> anyhow::Error {
    let (last, others) = causes.split_last().expect("an error has a message");
    others.iter().rev().fold(anyhow!(last.clone()), |error, message| {
        error.context(message.clone())
    })
}
