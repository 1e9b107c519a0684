//! What was seen in AWS, and how it differs from what is recorded.
//!
//! Pure: no I/O, no async.

use std::collections::HashMap;

use serde_json::Value;

use crate::resource::{Erased, Stranger};
use crate::state::{Record, State};

/// What a look at one recorded step showed.
#[derive(Clone, Debug, PartialEq)]
pub enum Live {
    /// It is there, in the terms of its desired state.
    Present(Value),
    /// It is not there.
    Missing,
    /// Somebody else's is there in its place, or in place of what it lives in.
    NotOurs(Stranger),
    /// A call that would make or delete it was interrupted, so that it was not looked at.
    Unfinished,
}

/// What was seen of every recorded step, by its name.
pub type Lives = HashMap<String, Live>;

/// The needs that a recorded step lives in.
pub(super) fn homes<'a, C>(
    resource: &dyn Erased<C>,
    record: &'a Record,
    state: &'a State,
) -> impl Iterator<Item = &'a str> + use<'a, C> {
    let kinds = [resource.dies_with(), resource.holds()];
    (record.needs.iter()).map(String::as_str).filter(move |need| {
        state
            .record(need)
            .is_some_and(|need| kinds.contains(&Some(&need.kind)))
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
    /// The fields in which what is live differs from what is recorded, sorted.
    pub fields: Vec<String>,
    /// The fields that AWS did not answer, so that they were not compared, sorted.
    pub not_compared: Vec<String>,
}

/// Compares what is live with what is recorded.
pub fn drift(recorded: &Value, live: &Value) -> Drift {
    let (not_compared, fields) = changed_fields(recorded, live)
        .into_iter()
        .partition(|field| is_unseen(&recorded[field], &live[field]));
    Drift { fields, not_compared }
}
