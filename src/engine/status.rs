//! Reads what is on record: what exists, what is missing, and what differs.
//!
//! Must not change anything, neither in AWS nor on record.

use std::rc::Rc;

use anyhow::Context;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;

use super::live::{Live, Observed, drift, homes};
use super::schedule::AT_ONCE;
use super::{kind, revived};
use crate::resource::{Cx, Kinds, Result, stranger};
use crate::state::{Phase, Record, State};

/// One line of `status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The step.
    pub step: String,
    /// The kind of resource.
    pub kind: String,
    /// Its id; `None` while AWS has not returned one.
    pub id: Option<String>,
    /// How it stands.
    pub state: StepState,
    /// The fields whose live value differs from the recorded one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drifted: Vec<Drifted>,
    /// The fields that AWS does not return, so they cannot be compared with the record.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<String>,
}

/// A field that someone else changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drifted {
    /// Its name.
    pub field: String,
    /// What is recorded.
    pub recorded: Value,
    /// What is there.
    pub live: Value,
}

/// How a recorded step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// As recorded.
    Ok,
    /// Not there.
    Missing,
    /// It exists, but not as recorded.
    Drifted,
    /// Someone else's is in its place.
    #[serde(rename = "not_ours")]
    NotOurs,
    /// A call was interrupted; `up` or `down` finishes it.
    Unfinished,
}

/// Reads every recorded step, in parallel.
///
/// # Errors
/// A record cannot be used, or a read failed. The error names the step.
pub async fn survey<C: 'static>(cloud: &Rc<C>, kinds: Kinds<C>, state: &State) -> Result<Observed> {
    survey_of(cloud, kinds, state, |_| true).await
}

/// As [`survey`], but of the steps that are as they should be only those that `is_read` chooses; the others are taken to be as
/// they are on record. For a caller that knows that.
///
/// # Errors
/// As [`survey`].
pub async fn survey_of<C: 'static>(
    cloud: &Rc<C>,
    kinds: Kinds<C>,
    state: &State,
    is_read: impl Fn(&Record) -> bool,
) -> Result<Observed> {
    let is_known =
        |record: &Record| record.phase == Phase::Ready && record.output.is_some() && !is_read(record);
    let (known, unknown): (Vec<&Record>, Vec<&Record>) =
        state.steps.iter().partition(|record| is_known(record));
    let mut observed: Observed = known
        .into_iter()
        .map(|record| (record.step.clone(), Live::Present(record.desired.clone())))
        .collect();
    let reads = unknown.into_iter().map(|record| {
        let cx = Cx::new(cloud.clone(), Rc::new(|_| ()));
        async move { (&record.step, read_step(&cx, kinds, record).await) }
    });
    let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
    while let Some(read) = reads.next().await {
        let (step, live) = read;
        observed.insert(
            step.clone(),
            live.with_context(|| format!("cannot read step {step}"))?,
        );
    }
    // What is inside a resource of someone else is not ours either, whatever was read of it.
    for record in &state.steps {
        let theirs = homes(kind(kinds, record)?, record, state).find_map(|home| match observed.get(home) {
            Some(Live::NotOurs(stranger)) => Some(stranger.clone()),
            _ => None,
        });
        if let Some(stranger) = theirs {
            observed.insert(record.step.clone(), Live::NotOurs(stranger));
        }
    }
    Ok(observed)
}

async fn read_step<C: 'static>(cx: &Cx<C>, kinds: Kinds<C>, record: &Record) -> Result<Live> {
    match read_live(cx, kinds, record).await {
        Err(error) => stranger(&error).cloned().map(Live::NotOurs).ok_or(error),
        live => live,
    }
}

async fn read_live<C: 'static>(cx: &Cx<C>, kinds: Kinds<C>, record: &Record) -> Result<Live> {
    match (record.phase, &record.output) {
        // An interrupted update is repeated, so only whether the resource exists counts.
        (Phase::Ready | Phase::Updating | Phase::Retiring, Some(output)) => {
            let live = revived(kinds, record)?.read(cx, output).await?;
            Ok(live.map_or(Live::Missing, Live::Present))
        }
        // A run has to know about deletion protection before it continues the deletion that was begun.
        (Phase::Deleting, Some(output)) => {
            let resource = revived(kinds, record)?;
            let live = if resource.kind().protection.is_some() {
                resource.read(cx, output).await?
            } else {
                resource.check_owner(cx, output).await?;
                None
            };
            Ok(live.map_or(Live::Unfinished, Live::Present))
        }
        _ => Ok(Live::Unfinished),
    }
}

/// The state of every recorded step, in the order of the state file.
///
/// # Errors
/// As [`survey`].
pub async fn status<C: 'static>(cloud: &Rc<C>, kinds: Kinds<C>, state: &State) -> Result<Vec<Line>> {
    let observed = survey(cloud, kinds, state).await?;
    let mut lines = Vec::new();
    for record in &state.steps {
        let mut drifted = Vec::new();
        let mut not_compared = Vec::new();
        let step_state = match &observed[&record.step] {
            Live::Missing => StepState::Missing,
            Live::NotOurs(_) => StepState::NotOurs,
            Live::Unfinished => StepState::Unfinished,
            Live::Present(_) if record.phase != Phase::Ready => StepState::Unfinished,
            Live::Present(live) => {
                let drift = drift(&record.desired, live);
                not_compared = drift.not_compared;
                drifted = (drift.fields.into_iter())
                    .map(|field| Drifted {
                        recorded: record.desired[&field].clone(),
                        live: live[&field].clone(),
                        field,
                    })
                    .collect();
                if drifted.is_empty() {
                    StepState::Ok
                } else {
                    StepState::Drifted
                }
            }
        };
        let id = match &record.output {
            Some(output) => Some(revived(kinds, record)?.id(output)?),
            None => None,
        };
        lines.push(Line {
            step: record.step.clone(),
            kind: record.kind.clone(),
            id,
            state: step_state,
            drifted,
            not_compared,
        });
    }
    Ok(lines)
}
