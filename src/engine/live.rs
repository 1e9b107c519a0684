//! What was read from AWS, and how it differs from the record.
//!
//! Pure: no I/O, no async.

use std::collections::HashMap;

use serde_json::Value;

use crate::resource::{Kind, Stranger};
use crate::state::{Record, State};

/// What was read of one recorded step.
#[derive(Clone, Debug, PartialEq)]
pub enum Live {
    /// It exists; its live fields, in the form of its desired state.
    Present(Value),
    /// It does not exist.
    Missing,
    /// A resource of someone else is in its place, or in place of the resource that it is inside.
    NotOurs(Stranger),
    /// A call that creates or deletes it was interrupted, so it was not read.
    Unfinished,
}

/// What was read of every recorded step, by the step's name.
pub type Observed = HashMap<String, Live>;

/// The needs that a recorded step is inside.
pub(super) fn homes<'a>(
    kind: &'static Kind,
    record: &'a Record,
    state: &'a State,
) -> impl Iterator<Item = &'a str> {
    (record.needs.iter()).map(String::as_str).filter(|need| {
        let need = state.record(need);
        need.is_some_and(|need| kind.lives_in(&need.kind))
    })
}

/// Whether the live value could not be read, so that it cannot be compared.
pub fn is_unseen(recorded: &Value, live: &Value) -> bool {
    live.is_null() && !recorded.is_null()
}

/// The names of the top-level fields in which two JSON objects differ, sorted.
pub fn changed_fields(before: &Value, after: &Value) -> Vec<String> {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return Vec::new();
    };
    let mut names: Vec<String> = before
        .keys()
        .chain(after.keys())
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The drift of one recorded step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drift {
    /// The fields whose live value differs from the recorded one, sorted.
    pub fields: Vec<String>,
    /// The fields that AWS did not return, so they were not compared; sorted.
    pub not_compared: Vec<String>,
}

/// Compares what is live with what is recorded.
pub fn drift(recorded: &Value, live: &Value) -> Drift {
    let (not_compared, fields) = changed_fields(recorded, live)
        .into_iter()
        .partition(|field| is_unseen(&recorded[field], &live[field]));
    Drift { fields, not_compared }
}
