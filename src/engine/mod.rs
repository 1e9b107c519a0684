//! Runs the steps of a stack so that a kill at any instant leaks nothing and creates nothing twice.
//!
//! Must not name any SDK or resource, parse arguments, or print: it works with [`Erased`] resources and reports
//! [`Event`]s.

mod calls;
pub mod decide;
pub mod down;
pub mod ledger;
pub mod live;
pub mod options;
pub mod plan;
pub mod recover;
mod run;
pub mod schedule;
pub mod status;
pub mod up;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use anyhow::Context;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::ledger::Ledger;
use crate::report::{Clock, Event, TimedEvent};
use crate::resource::{Erased, Kind, Kinds, Result};
use crate::state::{Record, State};

/// Checks every record, so that one that was edited by hand is refused before anything begins.
///
/// # Errors
/// A record cannot be used, has a text of another shape, or is of the same resource as another record. The error names
/// the step.
pub fn check<C>(state: &State, kinds: Kinds<C>) -> Result<()> {
    let mut steps = HashMap::new();
    for record in &state.steps {
        let unusable = || format!("the record of step {} cannot be used", record.step);
        let resource = revived(kinds, record)?;
        let mut same = resource
            .checked_ids(record.output.as_ref())
            .with_context(unusable)?;
        // What does not exist yet has no id; its fields tell it from others.
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

fn revived<C>(kinds: Kinds<C>, record: &Record) -> Result<Rc<dyn Erased<C>>> {
    kinds
        .revive(&record.kind, &record.desired)
        .with_context(|| format!("the record of step {} cannot be used", record.step))
}

fn kind<C>(kinds: Kinds<C>, record: &Record) -> Result<&'static Kind> {
    kinds.kind(&record.kind).with_context(|| {
        format!(
            "the record of step {} cannot be used: no kind of resource is called {}",
            record.step, record.kind
        )
    })
}

/// Which recorded steps AWS deletes with another one if all of `going` are deleted: child to parent.
fn children<C>(kinds: Kinds<C>, state: &State, going: &HashSet<String>) -> Result<HashMap<String, String>> {
    let mut children = HashMap::new();
    for record in state.steps.iter().filter(|record| going.contains(&record.step)) {
        let kind = kind(kinds, record)?;
        let is_going = |need: &&String| going.contains(*need) && dies_with(state, kind, need);
        if let Some(parent) = record.needs.iter().find(is_going) {
            children.insert(record.step.clone(), parent.clone());
        }
    }
    Ok(children)
}

fn dies_with(state: &State, kind: &Kind, need: &str) -> bool {
    let need = state.record(need);
    need.is_some_and(|need| kind.dies_with == Some(&need.kind))
}

/// Why a resource whose protection is on is not deleted.
fn kept<C>(resource: &dyn Erased<C>, output: &Value, field: &str) -> Result<String> {
    let id = resource.id(output)?;
    Ok(format!("AWS does not delete {id} while its {field} is on"))
}

/// What `up` and `down` share.
pub struct Engine<'a, C: 'static> {
    /// The cloud that the calls go to.
    pub cloud: Rc<C>,
    /// The kinds that a record can be of.
    pub kinds: Kinds<C>,
    /// What is on record, and where it is kept.
    pub ledger: Ledger<'a>,
    /// Is called with every event.
    pub report: &'a mut dyn FnMut(TimedEvent),
    /// Measures the time since the run began.
    pub clock: Clock,
    /// Becomes true when nothing new may begin.
    pub stop: watch::Receiver<bool>,
    /// Whether another run may be writing the state by now. Then nothing new may begin.
    pub lost: bool,
    /// Until when requests of an earlier run may still have an effect, if that run was cut off: what it may have made under a
    /// name that is not unique is not called absent before.
    pub late_until: Option<Instant>,
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct RunResult {
    /// The steps that failed, in the order in which they did.
    pub failed: Vec<(String, anyhow::Error)>,
    /// The steps that did not begin because of that, each with the step that held it back.
    pub held_back: Vec<(String, String)>,
    /// The steps that are done, but what an update left of them stays while someone else uses it. They stay on record
    /// as retiring.
    pub left: Vec<(String, anyhow::Error)>,
    /// Whether something was left undone because the run was stopped.
    pub interrupted: bool,
    /// Whether it was stopped because another run may be writing the state.
    pub lost: bool,
    /// How many steps changed something in AWS.
    pub changed: usize,
}

impl RunResult {
    /// Whether nothing failed and nothing was left undone.
    pub fn is_done(&self) -> bool {
        self.failed.is_empty() && self.held_back.is_empty() && !self.interrupted
    }
}

impl<C: 'static> Engine<'_, C> {
    fn stopping(&self) -> bool {
        self.lost || *self.stop.borrow()
    }

    fn tell(&mut self, event: Event) {
        (self.report)(self.clock.stamp(event));
    }

    fn revive(&self, record: &Record) -> Result<Rc<dyn Erased<C>>> {
        revived(self.kinds, record)
    }

    fn kind(&self, record: &Record) -> Result<&'static Kind> {
        kind(self.kinds, record)
    }

    /// Whether this recorded step is of a kind with [`Kind::outlives_users`].
    fn outlives_users(&self, step: &str) -> bool {
        let record = self.ledger.state.record(step);
        record.is_some_and(|record| self.kind(record).is_ok_and(|kind| kind.outlives_users))
    }

    /// Removes the records of a deleted step and of all that AWS deleted with it. Returns the step's id, and the names
    /// of the others.
    fn take_off_record(&mut self, step: &str) -> Result<(Option<String>, Vec<String>)> {
        let mut along = Vec::new();
        for record in &self.ledger.state.steps {
            if record.needs.iter().any(|need| need == step)
                && dies_with(self.ledger.state, self.kind(record)?, step)
            {
                along.push(record.step.clone());
            }
        }
        let own = self.ledger.state.record(step).and_then(|record| self.id(record));
        let steps = &mut self.ledger.state.steps;
        steps.retain(|record| record.step != step && !along.contains(&record.step));
        Ok((own, along))
    }

    /// The id or name to look for in the AWS console.
    fn id(&self, record: &Record) -> Option<String> {
        let output = record.output.as_ref()?;
        self.revive(record).ok()?.id(output).ok()
    }
}

fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).expect("a run takes less than half a billion years")
}

/// The messages of an error and of its causes, outermost first.
pub fn chain(error: &anyhow::Error) -> Vec<String> {
    error.chain().map(ToString::to_string).collect()
}
