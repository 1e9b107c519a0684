//! Runs a stack's steps against the cloud so that a kill at any instant leaks nothing and doubles nothing.
//!
//! Must not name any SDK or resource, parse arguments, or print: it knows [`Erased`] resources and says [`Event`]s.

pub mod decide;
pub mod down;
pub mod plan;
pub mod status;
pub mod up;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::report::Event;
use crate::report::event::{Action, Outcome};
use crate::resource::{Class, Cx, Erased, Result, class, is_stranger};
use crate::state::{Phase, Record, State, StateError};

/// How long after an interrupted call the last look for what it may have made is: lists may lag behind a create.
const SECOND_LOOK: Duration = Duration::from_secs(3);
/// How many steps of a kind run at once, and how many of all are read at once.
const AT_ONCE: usize = 32;
/// How often one run tries a create whose answers keep getting lost.
const CREATE_ATTEMPTS: u32 = 3;
/// How often one run tries an update whose answers keep getting lost.
const CHANGE_ATTEMPTS: u32 = 3;
/// How long a deleted resource may stay visible. Terraform allows a function 10 minutes and a domain one.
const GONE_DEADLINE: Duration = Duration::from_mins(10);
/// Between the first two looks at a resource that is being deleted; then twice as long each time.
const GONE_PAUSE: Duration = Duration::from_millis(250);
/// The longest of those pauses.
const GONE_LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Makes a recorded resource from its kind and desired state; an unknown kind or another shape is an error.
pub type Revive<C> = fn(kind: &str, desired: &Value) -> Result<Rc<dyn Erased<C>>>;

/// Makes a resource of every record, so that one that was edited by hand is refused before anything begins.
///
/// # Errors
/// A record cannot be understood, has a text of another shape, or is of the same resource as another; its step is named.
pub fn check<C>(state: &State, revive: Revive<C>) -> Result<()> {
    let mut steps = HashMap::new();
    for record in &state.steps {
        let unusable = || format!("the record of step {} cannot be used", record.step);
        let resource = revived(revive, record)?;
        let mut same = resource
            .checked_ids(record.output.as_ref())
            .with_context(unusable)?;
        // What is not made yet has no id, and its inputs tell it from others.
        same.push(record.desired.to_string());
        for same in same {
            if let Some(other) = steps.insert((&record.kind, same), &record.step)
                && *other != record.step
            {
                return Err(anyhow::anyhow!("step {other} is of the same {}", record.kind))
                    .with_context(unusable);
            }
        }
    }
    Ok(())
}

fn revived<C>(revive: Revive<C>, record: &Record) -> Result<Rc<dyn Erased<C>>> {
    revive(&record.kind, &record.desired)
        .with_context(|| format!("the record of step {} cannot be used", record.step))
}

/// Where the state is kept. Returns only once it would survive a crash.
pub trait Store {
    /// Replaces what is kept.
    fn save(&mut self, state: &State) -> Result<()>;
}

/// What `up` and `down` work with.
pub struct Engine<'a, C> {
    /// Where the calls go.
    pub cloud: Rc<C>,
    /// How a record becomes a resource again.
    pub revive: Revive<C>,
    /// What is on record; always what was last saved, or about to be.
    pub state: &'a mut State,
    /// Where it is kept.
    pub store: &'a mut dyn Store,
    /// Who is told.
    pub report: &'a mut dyn FnMut(Event),
    /// Becomes true when nothing new may begin.
    pub stop: watch::Receiver<bool>,
    /// Whether another run may be writing the state by now: nothing new may begin.
    pub lost: bool,
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct RunResult {
    /// The steps that failed, in the order in which they did.
    pub failed: Vec<(String, anyhow::Error)>,
    /// The steps that did not begin for that, and the step that held each back.
    pub held_back: Vec<(String, String)>,
    /// The steps that are as they should be, and of which what an update left stays for as long as somebody else uses it.
    /// They are done, and stay on record as retiring.
    pub left: Vec<(String, anyhow::Error)>,
    /// Whether something was left undone because the run was stopped.
    pub interrupted: bool,
    /// Whether it was stopped because another run may be writing the state.
    pub lost: bool,
    /// Steps that changed something in AWS.
    pub changed: usize,
}

impl RunResult {
    /// Whether everything is as it should be.
    pub fn is_done(&self) -> bool {
        self.failed.is_empty() && self.held_back.is_empty() && !self.interrupted
    }

    /// Adds what came after.
    fn add(&mut self, later: RunResult) {
        self.failed.extend(later.failed);
        self.held_back.extend(later.held_back);
        self.left.extend(later.left);
        self.interrupted |= later.interrupted;
        self.changed += later.changed;
    }
}

/// What a finished call brought.
enum Brought {
    /// A new resource.
    Made(Value),
    /// What was there already, made by an interrupted run or by somebody else.
    Found { output: Value, live: Value },
    /// What was looked for is not there.
    Missing,
    /// A resource that was changed, and whether something of what it was before is to be retired.
    Changed { output: Value, retires: bool },
    /// What an update left is taken away.
    Retired,
    /// It is gone.
    Gone,
}

struct Finished<C> {
    step: String,
    resource: Rc<dyn Erased<C>>,
    began: Instant,
    brought: Result<Brought>,
}

/// The calls that are under way. None is ever dropped: what it does in AWS has to be recorded.
struct Running<C> {
    calls: FuturesUnordered<LocalBoxFuture<'static, Finished<C>>>,
    lanes: HashSet<String>,
    /// How many of each kind.
    kinds: HashMap<&'static str, usize>,
    notes: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    /// Whether the wish to stop was passed on; it may come while another event is looked at.
    stop_told: bool,
}

/// What the wait for running calls ended with.
enum Next<C> {
    Finished(Finished<C>),
    Note(Event),
    Stop,
}

impl<C: 'static> Running<C> {
    fn new() -> Self {
        Self {
            calls: FuturesUnordered::new(),
            lanes: HashSet::new(),
            kinds: HashMap::new(),
            notes: mpsc::unbounded_channel(),
            stop_told: false,
        }
    }

    /// Whether a step of this kind, in this lane, may begin. AWS's rates are lower than what a thousand calls at once would
    /// ask for; and what waits for the rate of one kind must not hold up another.
    fn has_room(&self, kind: &str, lane: Option<&String>) -> bool {
        self.kinds.get(kind).is_none_or(|count| *count < AT_ONCE)
            && lane.is_none_or(|lane| !self.lanes.contains(lane))
    }

    fn begin<F>(
        &mut self,
        cloud: &Rc<C>,
        step: &str,
        resource: Rc<dyn Erased<C>>,
        call: impl FnOnce(Rc<dyn Erased<C>>, Cx<C>) -> F,
    ) where
        F: Future<Output = Result<Brought>> + 'static,
    {
        if let Some(lane) = resource.lane() {
            self.lanes.insert(lane);
        }
        *self.kinds.entry(resource.kind()).or_default() += 1;
        let cx = cx(cloud, step, self.notes.0.clone());
        let call = call(resource.clone(), cx);
        let step = step.to_owned();
        let began = Instant::now();
        self.calls.push(Box::pin(async move {
            Finished {
                step,
                resource,
                began,
                brought: call.await,
            }
        }));
    }

    /// Waits for the next thing to happen. Must not be called with nothing under way.
    async fn next(&mut self, stop: &mut watch::Receiver<bool>) -> Next<C> {
        tokio::select! {
            biased;
            Some(note) = self.notes.1.recv() => Next::Note(note),
            Some(finished) = self.calls.next() => {
                if let Some(lane) = finished.resource.lane() {
                    self.lanes.remove(&lane);
                }
                *self.kinds.get_mut(finished.resource.kind()).expect("it was counted when it began") -= 1;
                Next::Finished(finished)
            }
            Ok(_) = stop.wait_for(|stop| *stop), if !self.stop_told => {
                self.stop_told = true;
                Next::Stop
            }
            else => unreachable!("a call is under way, or its sender is alive"),
        }
    }
}

fn cx<C>(cloud: &Rc<C>, step: &str, notes: mpsc::UnboundedSender<Event>) -> Cx<C> {
    let step = step.to_owned();
    Cx::new(
        cloud.clone(),
        Rc::new(move |what| {
            // The run that would have listened is over: nobody is left to tell.
            drop(notes.send(Event::Waiting {
                step: step.clone(),
                what: what.to_owned(),
            }));
        }),
    )
}

impl<C: 'static> Engine<'_, C> {
    fn stopping(&self) -> bool {
        self.lost || *self.stop.borrow()
    }

    fn tell(&mut self, event: Event) {
        (self.report)(event);
    }

    /// Writes the state as it is now. What follows may rely on it having arrived.
    fn save(&mut self) -> Result<()> {
        self.state.serial += 1;
        let saved = self.store.save(self.state);
        if let Err(error) = &saved {
            let cause = error.chain().filter_map(|cause| cause.downcast_ref());
            self.lost |= cause
                .into_iter()
                .any(|cause| matches!(cause, StateError::Lost { .. }));
        }
        saved
    }

    /// Records that a call is about to begin, durably.
    fn record_intent(&mut self, step: &str, phase: Phase) -> Result<()> {
        let record = self
            .state
            .record_mut(step)
            .expect("an intent is of a step on record");
        record.phase = phase;
        self.save().context("nothing was asked of AWS for this step")
    }

    /// The same, and tells that it begins.
    fn intend(&mut self, step: &str, phase: Phase, action: Action) -> Result<()> {
        self.record_intent(step, phase)?;
        self.tell(Event::StepStarted {
            step: step.to_owned(),
            action,
        });
        Ok(())
    }

    fn revive(&self, record: &Record) -> Result<Rc<dyn Erased<C>>> {
        revived(self.revive, record)
    }

    /// Which recorded steps go together with another one when all of `going` are deleted: child to parent.
    fn children(&self, going: &HashSet<String>) -> Result<HashMap<String, String>> {
        let kinds: HashMap<&str, &str> = self
            .state
            .steps
            .iter()
            .map(|record| (record.step.as_str(), record.kind.as_str()))
            .collect();
        let mut children = HashMap::new();
        for record in self
            .state
            .steps
            .iter()
            .filter(|record| going.contains(&record.step))
        {
            let Some(parent_kind) = self.revive(record)?.dies_with() else {
                continue;
            };
            let parent = record
                .needs
                .iter()
                .find(|need| going.contains(*need) && kinds.get(need.as_str()) == Some(&parent_kind));
            if let Some(parent) = parent {
                children.insert(record.step.clone(), parent.clone());
            }
        }
        Ok(children)
    }

    /// Takes the records of these steps off the state, durably, and leaves what they are of as it is.
    fn leave(&mut self, steps: &HashSet<&str>) -> Result<()> {
        let is_left = |record: &Record| steps.contains(record.step.as_str());
        let left: Vec<Record> = self
            .state
            .steps
            .extract_if(.., |record| is_left(record))
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        self.save()?;
        for record in left {
            let id = (record.output.as_ref()).and_then(|output| self.revive(&record).ok()?.id(output).ok());
            self.tell(Event::StepFinished {
                step: record.step,
                outcome: Outcome::Left,
                with: None,
                id,
                millis: 0,
            });
        }
        Ok(())
    }

    /// Takes the record of a step that is gone, and of all that went with it, off the state, durably.
    fn record_gone(&mut self, step: &str, children: &HashMap<String, String>, began: Instant) -> Result<()> {
        let gone_with = |record: &Record| children.get(&record.step).is_some_and(|parent| parent == step);
        let along: Vec<String> = self
            .state
            .steps
            .iter()
            .filter(|record| gone_with(record))
            .map(|record| record.step.clone())
            .collect();
        let own = self.state.record(step).cloned();
        self.state
            .steps
            .retain(|record| record.step != step && !gone_with(record));
        self.save().context("it is deleted, and still on record")?;
        let id = own.and_then(|record| {
            let output = record.output.as_ref()?;
            self.revive(&record).ok()?.id(output).ok()
        });
        self.tell(Event::StepFinished {
            step: step.to_owned(),
            outcome: Outcome::Deleted,
            with: None,
            id,
            millis: millis(began),
        });
        for child in along {
            self.tell(Event::StepFinished {
                step: child,
                outcome: Outcome::Gone,
                with: Some(step.to_owned()),
                id: None,
                millis: 0,
            });
        }
        Ok(())
    }
}

fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).expect("a run takes less than half a billion years")
}

/// The message and its causes, each on its own.
pub fn chain(error: &anyhow::Error) -> Vec<String> {
    error.chain().map(ToString::to_string).collect()
}

/// Looks for what a call that ended by `ended` may have made: until [`SECOND_LOOK`] after it, as a list may lag behind a
/// create. All that one killed run left has one pause in common.
async fn look<C>(resource: &dyn Erased<C>, cx: &Cx<C>, ended: Instant) -> Result<Option<Value>> {
    let last = ended + SECOND_LOOK;
    let is_last = Instant::now() >= last;
    let found = resource.find(cx).await?;
    if found.is_some() || is_last {
        return Ok(found);
    }
    cx.waiting("a second look at what the interrupted call may have made");
    tokio::time::sleep_until(last).await;
    resource.find(cx).await
}

/// Reads what was found, which need not be as it would have been made: somebody else may have made or changed it.
async fn meet<C>(resource: &dyn Erased<C>, cx: &Cx<C>, output: Value) -> Result<Brought> {
    let mut live = resource.read(cx, &output).await?;
    if live.is_none() {
        cx.waiting("a second look at what was found");
        tokio::time::sleep(SECOND_LOOK).await;
        live = resource.read(cx, &output).await?;
    }
    let live = live.with_context(|| {
        let id = resource.id(&output).unwrap_or_default();
        format!("{} {id} was found, but cannot be read", resource.kind())
    })?;
    Ok(Brought::Found { output, live })
}

/// Looks for one that another copy of the state knows of, in whatever condition it is.
async fn known<C>(resource: &dyn Erased<C>, cx: &Cx<C>) -> Result<Option<Brought>> {
    let Some(output) = resource.find(cx).await? else {
        return Ok(None);
    };
    // A list may show one that is gone.
    let live = resource.read(cx, &output).await?;
    Ok(live.map(|live| Brought::Found { output, live }))
}

/// Creates it, exactly once, whatever happens to the answers.
async fn make<C>(resource: &dyn Erased<C>, cx: &Cx<C>) -> Result<Brought> {
    let mut attempt = 1;
    loop {
        let error = match resource.create(cx).await {
            Ok(output) => return Ok(Brought::Made(output)),
            Err(error) => error,
        };
        let found = match class(&error) {
            // The answer was lost, not necessarily the request.
            Some(Class::Ambiguous) => look(resource, cx, Instant::now()).await,
            // Ours, if an attempt whose answer was lost had made it, or a run with another copy of the state.
            Some(Class::Taken) => resource.find(cx).await,
            _ => return Err(error),
        };
        match found {
            Ok(Some(output)) => return meet(resource, cx, output).await,
            Ok(None) if class(&error) == Some(Class::Ambiguous) && attempt < CREATE_ATTEMPTS => attempt += 1,
            Ok(None) => return Err(error),
            Err(found) if is_stranger(&found) => return Err(found.context(error.to_string())),
            Err(found) => return Err(found.context(format!("{error}; and looking for what it made failed"))),
        }
    }
}

/// Changes it in place; once more where the answer was lost, as an update may be repeated.
async fn change<C>(resource: &dyn Erased<C>, cx: &Cx<C>, before: &Value, output: &Value) -> Result<Value> {
    for _ in 1..CHANGE_ATTEMPTS {
        match resource.update(cx, before, output).await {
            Err(error) if class(&error) == Some(Class::Ambiguous) => {
                cx.waiting("a second look at what the interrupted call may have changed");
                tokio::time::sleep(SECOND_LOOK).await;
            }
            settled => return settled,
        }
    }
    resource.update(cx, before, output).await
}

/// Deletes it and waits until it is seen to be gone. Without an output it first looks whether a run that ended by `ended`
/// made it at all; with one, whether it is ours has been checked. With
/// `unprotect` its protection from deletion is switched off, at the last moment: nothing else of the run can fail between.
async fn unmake<C>(
    resource: &dyn Erased<C>,
    cx: &Cx<C>,
    output: Option<Value>,
    ended: Instant,
    unprotect: bool,
) -> Result<Brought> {
    let output = match output {
        Some(output) => output,
        None => match look(resource, cx, ended).await {
            Ok(Some(output)) => output,
            Ok(None) => return Ok(Brought::Gone),
            // Somebody else's has the name, so ours was never made.
            Err(error) if is_stranger(&error) => return Ok(Brought::Gone),
            Err(error) => return Err(error),
        },
    };
    if unprotect {
        resource.unprotect(cx, &output).await?;
    }
    resource.delete(cx, &output).await?;
    if resource.gone_at_once() {
        return Ok(Brought::Gone);
    }
    let deadline = Instant::now() + GONE_DEADLINE;
    let mut pause = GONE_PAUSE;
    loop {
        match resource.read(cx, &output).await {
            Ok(None) => return Ok(Brought::Gone),
            // Ours is gone, and somebody else has made another one.
            Err(error) if is_stranger(&error) => return Ok(Brought::Gone),
            Ok(Some(_)) => {}
            Err(error) => return Err(error),
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "it was deleted but is still there after {} seconds",
            GONE_DEADLINE.as_secs()
        );
        cx.waiting("AWS to finish the deletion");
        tokio::time::sleep(pause).await;
        pause = GONE_LONGEST_PAUSE.min(2 * pause);
    }
}
