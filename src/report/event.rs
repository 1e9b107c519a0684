//! All that the engine can say, and when it said it.
//!
//! Must not know who listens.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;
use tokio::time::Instant;

use crate::foreign::Foreign;
use crate::rights::Rights;

/// Says when an event happened. Listeners need no clock of their own, and all of them see the same times.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// The run begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The event, which happened now.
    pub fn stamp(self, event: Event) -> TimedEvent {
        let at = self.elapsed();
        TimedEvent { at, event }
    }

    /// Since the run began.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// An event and its time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimedEvent {
    /// Since the run began; zero for what was found before that.
    #[serde(rename = "at_millis", serialize_with = "millis")]
    pub at: Duration,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

fn millis<S: Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(at.as_millis())
}

/// Something that happened in `up` or `down`.
///
/// The first is always [`Event::Started`] with every step, but for [`Event::Rights`] and an [`Event::Foreign`] of each thing that
/// others have put into the stack, which come before it; the last is always [`Event::Ended`], and no event comes after
/// it. Every step that began ends in exactly one `StepFinished` or `StepFailed`, unless the process is killed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Others have put this into what is ours; a `down` takes it along.
    Foreign(Foreign),
    /// What the run newly grants and denies.
    Rights { rights: Rights },
    /// The run began.
    Started {
        /// `up` or `down`.
        command: &'static str,
        /// The stack's name.
        stack: String,
        /// Every step that the run looks at.
        steps: Vec<StepName>,
    },
    /// A step began to change something in AWS.
    StepStarted {
        /// The step.
        step: String,
        /// What it does.
        action: Operation,
    },
    /// A running step waits for AWS.
    Waiting {
        /// The step.
        step: String,
        /// Reads after "waiting for".
        what: String,
    },
    /// A step is done, durably.
    StepFinished {
        /// The step.
        step: String,
        /// How.
        outcome: Outcome,
        /// The step whose deletion took this one along, where that is how it went.
        #[serde(skip_serializing_if = "Option::is_none")]
        with: Option<String>,
        /// The resource's id, where there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Milliseconds since it began; 0 where nothing had to be done.
        millis: u64,
    },
    /// A step failed; its siblings go on.
    StepFailed {
        /// The step.
        step: String,
        /// The message and its causes.
        error: Vec<String>,
    },
    /// A step did not begin.
    HeldBack {
        /// The step.
        step: String,
        /// The step that failed or did not begin.
        because: String,
    },
    /// Ctrl-C or SIGTERM: nothing new begins, and so many steps are still running.
    Stopping {
        /// Steps that are still running.
        running: usize,
    },
    /// The run is over.
    Ended {
        /// How.
        result: Ended,
        /// Steps that changed something in AWS.
        changed: usize,
        /// The stack's outputs, after an `up` that is done; else null.
        outputs: Value,
    },
}

/// One step in [`Event::Started`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepName {
    /// The step's name.
    pub step: String,
    /// The kind of resource.
    pub kind: String,
    /// The steps that must be done before it is made, and that are deleted after it.
    pub needs: Vec<String>,
}

/// What is, or would be, done with a step. A plan has no `Resume` and no `Retire`, a run only what makes calls: both are in
/// between where an interrupted run left something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Makes it.
    Create,
    /// Looks for what an interrupted run may have made.
    Resume,
    /// Changes it in place.
    Update,
    /// Deletes it, then makes it.
    Replace,
    /// Takes away what an update left of an earlier state.
    Retire,
    /// Deletes it.
    Delete,
    /// Leaves it in AWS with what others have put into it, and takes it off the record.
    Leave,
    /// Nothing.
    Unchanged,
    /// Nothing, and with it nothing of the whole plan: AWS cannot change it in place, and replacing it has a price; or it
    /// would be deleted and is protected from that.
    Refused,
    /// Nothing: somebody else's is in its place. Nothing of the whole plan, where the step is declared.
    NotOurs,
}

/// How a step ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Made.
    Created,
    /// It was there already, made by an interrupted call or by somebody else; now it is as declared, and on record.
    Adopted,
    /// Changed in place.
    Updated,
    /// What an update left of an earlier state is taken away.
    Retired,
    /// It is as declared, and what an update left of an earlier state stays, as somebody else uses it.
    Kept,
    /// As it should be; no call was made to change it.
    Unchanged,
    /// Left in AWS with what others have put into it, and off the record.
    Left,
    /// Deleted, and seen to be gone.
    Deleted,
    /// Gone with the deletion of another step.
    Gone,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Everything is as it should be.
    Done,
    /// At least one step failed.
    Failed,
    /// Stopped before everything was begun.
    Interrupted,
}
