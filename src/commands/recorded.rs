//! A state as its resources see it: whether a command may begin with it, and what is on record of each kind.
//!
//! Must not ask AWS.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::aws::tags::{OWNER, STACK};
use crate::resource::Resource;
use crate::state::{Record, State};
use crate::{engine, resources, stack};

/// The fields that name something by an ARN.
const ARNS: [&str; 6] = [
    "arn",
    "role",
    "pool_arns",
    "source_arn",
    "uri",
    "access_log_destination",
];

/// Refuses a state with a record that somebody edited, or that is of another stack: what it names is deleted, changed, and
/// given secrets and code.
///
/// # Errors
/// The first such record; its step is named.
pub(super) fn check(state: &State) -> Result<()> {
    engine::check(state, resources::KINDS)?;
    for record in &state.steps {
        let tags = &record.desired["tags"];
        for (tag, expected) in [(OWNER, &state.owner), (STACK, &state.stack)] {
            if let Some(other) = tags[tag].as_str().filter(|value| value != expected) {
                bail!(
                    "the record of step {} cannot be used: it is of {tag} {other:?}, expected {expected:?}",
                    record.step
                );
            }
        }
        // A route may call a function of another account.
        let is_route = record.kind == resources::Route::NAME;
        if let Some(arn) = arns(record).find(|arn| !is_here(state, arn, is_route)) {
            bail!(
                "the record of step {} cannot be used: {arn:?} is not in account {}, region {}",
                record.step,
                state.account,
                state.region
            );
        }
    }
    Ok(())
}

/// What is on record of one step.
pub(super) struct Entry<R: Resource> {
    /// The step's name.
    pub step: String,
    /// As it was last wanted.
    pub desired: R,
    /// What AWS answered; `None` until it has.
    pub output: Option<R::Output>,
}

/// Reads what is on record of one kind, as the type of that kind.
pub(super) trait ByKind {
    /// Every step of the kind.
    ///
    /// # Errors
    /// A record is of another shape, which [`check`] has ruled out.
    fn all<R: Resource>(&self) -> Result<Vec<Entry<R>>>;

    /// The step of a kind that a stack has one of; `None` if it is not on record.
    ///
    /// # Errors
    /// As [`ByKind::all`].
    fn one<R: Resource>(&self) -> Result<Option<Entry<R>>> {
        Ok(self.all()?.into_iter().next())
    }
}

impl ByKind for State {
    fn all<R: Resource>(&self) -> Result<Vec<Entry<R>>> {
        let entry = |record: &Record| {
            let output = record.output.as_ref().map(R::Output::deserialize);
            anyhow::Ok(Entry {
                step: record.step.clone(),
                desired: R::deserialize(&record.desired)?,
                output: output.transpose()?,
            })
        };
        let records = self.steps.iter().filter(|record| record.kind == R::NAME);
        records
            .map(|record| {
                entry(record)
                    .with_context(|| format!("the record of step {} is of another shape", record.step))
            })
            .collect()
    }
}

/// What stands around the owner in the names of this stack. They stay as they are on record, as a new name is another role,
/// function and log group; earlier versions had a `-`.
pub(super) fn separator(state: &State) -> char {
    let earlier = stack::unique(&state.stack, '-', &state.owner, "");
    let is_earlier = |record: &Record| {
        let name = record.desired["name"].as_str().unwrap_or_default();
        let folders = ["/aws/lambda/", "/aws/apigateway/"];
        let in_folder = folders.iter().find_map(|folder| name.strip_prefix(folder));
        let name = in_folder.unwrap_or(name);
        name.starts_with(&earlier)
    };
    if state.steps.iter().any(is_earlier) {
        '-'
    } else {
        stack::SEPARATOR
    }
}

fn arns(record: &Record) -> impl Iterator<Item = &str> {
    let values = [Some(&record.desired), record.output.as_ref()]
        .into_iter()
        .flatten();
    let fields = values.flat_map(|value| ARNS.map(|field| &value[field]));
    let texts = fields.flat_map(|field| {
        field
            .as_array()
            .map_or(std::slice::from_ref(field), Vec::as_slice)
    });
    texts
        .filter_map(Value::as_str)
        .filter(|text| text.starts_with("arn:"))
}

/// Whether all ARNs in this text, as one may be a part of another, are of the state's place. Of a route the functions may be
/// of any account.
fn is_here(state: &State, text: &str, is_route: bool) -> bool {
    text.match_indices("arn:").all(|(at, _)| {
        let parts: Vec<&str> = text[at..].splitn(6, ':').collect();
        let [_, partition, _, region, account, _] = parts[..] else {
            return false;
        };
        // IAM has no region. What invokes a function for API Gateway has `lambda` for an account.
        partition == state.partition
            && ["", &state.region].contains(&region)
            && ([state.account.as_str(), "lambda"].contains(&account) || is_route)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::upgrade::upgrade;

    fn state(text: &str) -> State {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn names_on_record_stay_as_they_are() {
        let earlier = include_str!("../../tests/it/support/state.json");
        assert_eq!(separator(&state(earlier)), '-');
        let mut now = state(&earlier.replace("orders-a9c7bee1-", "orders_a9c7bee1_"));
        assert_eq!(separator(&now), '_');
        upgrade(&mut now);
        check(&now).unwrap();
        // One of them is enough, whichever is left.
        let mut state = state(earlier);
        state.steps.retain(|record| record.kind == "log-group");
        assert_eq!(separator(&state), '-');
        state.steps.clear();
        assert_eq!(separator(&state), '_');
    }
}
