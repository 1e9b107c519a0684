//! The shape of the state file.
//!
//! Must not read or write anything.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The format that this program writes, and the newest it reads. 2 and 3: records have fields that the format before lacks.
pub const FORMAT: u32 = 3;

/// Everything on record of one stack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// [`FORMAT`] at the time of writing.
    pub format: u32,
    /// The stack's name.
    pub stack: String,
    /// The AWS account, 12 digits.
    pub account: String,
    /// The AWS region.
    pub region: String,
    /// The AWS partition: `aws`, `aws-cn`, ….
    pub partition: String,
    /// Where the calls go instead of AWS; `None` on AWS.
    pub endpoint: Option<String>,
    /// 8 random hex characters, in every tag and default name: what tells our resources from a stranger's.
    pub owner: String,
    /// Counts the writes.
    pub serial: u64,
    /// The location that this state is being moved to: until that is finished, nobody may use it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_to: Option<String>,
    /// Every step that has, or may have, something in AWS; each after all that it needs.
    pub steps: Vec<Record>,
}

/// One step on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The step's name.
    pub step: String,
    /// How far it got.
    pub phase: Phase,
    /// The kind of resource.
    pub kind: String,
    /// The steps whose outputs went into it. One that is not on record was deleted, to be made again.
    pub needs: Vec<String>,
    /// The inputs it was, or was to be, made with.
    pub desired: Value,
    /// What AWS answered; `None` until it has.
    pub output: Option<Value>,
}

/// How far a step got. Written before the call that the phase names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It may or may not exist.
    Creating,
    /// It exists as `desired` says.
    Ready,
    /// It exists, as `desired` says, as a later configuration wanted it, or as somebody else made it. The fields of `desired`
    /// that are maps have the keys of both configurations.
    Updating,
    /// It exists as `desired` says, and something that it had before is still to be taken away.
    Retiring,
    /// It may or may not exist any more.
    Deleting,
}

impl State {
    /// What keeps this from being a state of `stack` that this program wrote; it reads after "the state file".
    pub(super) fn problem(&self, stack: &str) -> Option<String> {
        if self.stack != stack {
            return Some(format!("is of stack {:?}, expected {stack:?}", self.stack));
        }
        let all = |text: &str, allowed: fn(char) -> bool| !text.is_empty() && text.chars().all(allowed);
        let digits = |text: &str| all(text, |c| c.is_ascii_digit());
        let words = |text: &str| all(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        for (field, text, holds) in [
            (
                "account",
                &self.account,
                self.account.len() == 12 && digits(&self.account),
            ),
            ("region", &self.region, words(&self.region)),
            ("partition", &self.partition, words(&self.partition)),
            ("owner", &self.owner, self.owner.len() == 8 && words(&self.owner)),
        ] {
            if !holds {
                return Some(format!("has an invalid {field}: {text:?}"));
            }
        }
        let mut names = HashSet::new();
        if let Some(twice) = self
            .steps
            .iter()
            .find(|record| !names.insert(record.step.as_str()))
        {
            return Some(format!("has step {:?} twice", twice.step));
        }
        self.circle()
            .map(|step| format!("has a circle: step {step:?} needs itself"))
    }

    /// A step that needs itself, by whatever detour. What is needed and not on record was deleted, and comes before all.
    fn circle(&self) -> Option<&str> {
        let mut left: Vec<&Record> = self.steps.iter().collect();
        loop {
            let names: HashSet<&str> = left.iter().map(|record| record.step.as_str()).collect();
            let waits = |record: &&Record| record.needs.iter().any(|need| names.contains(need.as_str()));
            let waiting: Vec<&Record> = left.iter().copied().filter(waits).collect();
            if waiting.len() == left.len() {
                return left.first().map(|record| record.step.as_str());
            }
            left = waiting;
        }
    }

    /// The record of this step.
    pub fn record(&self, step: &str) -> Option<&Record> {
        // From the end: mostly it was put there a moment ago.
        self.steps.iter().rfind(|record| record.step == step)
    }

    /// The record of this step, to change.
    pub fn record_mut(&mut self, step: &str) -> Option<&mut Record> {
        self.steps.iter_mut().rfind(|record| record.step == step)
    }
}
