//! Runs a stack's steps against the cloud so that a kill at any instant leaks nothing and doubles nothing.
//!
//! Must not name any SDK or resource, parse arguments, or print: it knows [`Erased`] resources and says [`Event`]s.

mod calls;
pub mod decide;
pub mod down;
pub mod ledger;
pub mod live;
pub mod plan;
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

pub use self::ledger::{Ledger, Store};
use crate::report::{Clock, Event, TimedEvent};
use crate::resource::{Erased, Result};
use crate::state::{Record, State};

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

/// What `up` and `down` work with.
pub struct Engine<'a, C> {
    /// Where the calls go.
    pub cloud: Rc<C>,
    /// How a record becomes a resource again.
    pub revive: Revive<C>,
    /// What is on record, and where it is kept.
    pub ledger: Ledger<'a>,
    /// Who is told.
    pub report: &'a mut dyn FnMut(TimedEvent),
    /// Since when the run is under way.
    pub clock: Clock,
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
}

impl<C: 'static> Engine<'_, C> {
    fn stopping(&self) -> bool {
        self.lost || *self.stop.borrow()
    }

    fn tell(&mut self, event: Event) {
        (self.report)(self.clock.stamp(event));
    }

    fn revive(&self, record: &Record) -> Result<Rc<dyn Erased<C>>> {
        revived(self.revive, record)
    }

    /// Which recorded steps go together with another one when all of `going` are deleted: child to parent.
    fn children(&self, going: &HashSet<String>) -> Result<HashMap<String, String>> {
        let mut children = HashMap::new();
        for record in (self.ledger.state.steps.iter()).filter(|record| going.contains(&record.step)) {
            let resource = self.revive(record)?;
            let is_going = |need: &&String| going.contains(*need) && self.dies_with(&*resource, need);
            if let Some(parent) = record.needs.iter().find(is_going) {
                children.insert(record.step.clone(), parent.clone());
            }
        }
        Ok(children)
    }

    fn dies_with(&self, resource: &dyn Erased<C>, need: &str) -> bool {
        let need = self.ledger.state.record(need);
        need.is_some_and(|need| resource.dies_with() == Some(&need.kind))
    }

    /// Takes the record of a step that is gone, and of all that went with it, off the state: its id, and their names.
    fn take_off_record(&mut self, step: &str) -> Result<(Option<String>, Vec<String>)> {
        let mut along = Vec::new();
        for record in &self.ledger.state.steps {
            if record.needs.iter().any(|need| need == step) && self.dies_with(&*self.revive(record)?, step) {
                along.push(record.step.clone());
            }
        }
        let own = self.ledger.state.record(step).and_then(|record| self.id(record));
        let steps = &mut self.ledger.state.steps;
        steps.retain(|record| record.step != step && !along.contains(&record.step));
        Ok((own, along))
    }

    /// What a person would look for in the AWS console.
    fn id(&self, record: &Record) -> Option<String> {
        let output = record.output.as_ref()?;
        self.revive(record).ok()?.id(output).ok()
    }
}

fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).expect("a run takes less than half a billion years")
}

/// The message and its causes, each on its own.
pub fn chain(error: &anyhow::Error) -> Vec<String> {
    error.chain().map(ToString::to_string).collect()
}
