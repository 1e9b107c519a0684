//! Reads what is on record: what is there, what is not, and what differs.
//!
//! Must not change anything, neither in AWS nor on record.

use std::rc::Rc;

use anyhow::Context;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;

use super::Revive;
use super::live::{Live, Lives, drift, homes};
use super::schedule::AT_ONCE;
use crate::resource::{Cx, Result, stranger};
use crate::state::{Phase, Record, State};

/// One line of `status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The step.
    pub step: String,
    /// The kind of resource.
    pub kind: String,
    /// Its id, once AWS has answered one.
    pub id: Option<String>,
    /// How it stands.
    pub state: StepState,
    /// The fields in which what is live differs from what is recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drifted: Vec<Drifted>,
    /// The fields that AWS does not answer, so that nobody knows whether they are as recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<String>,
}

/// A field that somebody else changed.
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
    /// There, but not as recorded.
    Drifted,
    /// Somebody else's is in its place.
    #[serde(rename = "not_ours")]
    NotOurs,
    /// A call was interrupted; `up` or `down` finishes it.
    Unfinished,
}

/// Reads every step that is on record as made, side by side.
///
/// # Errors
/// A record cannot be understood, or a read failed; the step is named.
pub async fn survey<C: 'static>(cloud: &Rc<C>, revive: Revive<C>, state: &State) -> Result<Lives> {
    let reads = state.steps.iter().map(|record| {
        let cx = Cx::new(cloud.clone(), Rc::new(|_| ()));
        async move { (&record.step, look(&cx, revive, record).await) }
    });
    let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
    let mut lives = Lives::new();
    while let Some(read) = reads.next().await {
        let (step, live) = read;
        lives.insert(
            step.clone(),
            live.with_context(|| format!("cannot read step {step}"))?,
        );
    }
    // What lives in a stranger's resource is not ours either, whatever was read of it.
    for record in &state.steps {
        let theirs = homes(&*revive(&record.kind, &record.desired)?, record, state).find_map(|home| {
            match lives.get(home) {
                Some(Live::NotOurs(stranger)) => Some(stranger.clone()),
                _ => None,
            }
        });
        if let Some(stranger) = theirs {
            lives.insert(record.step.clone(), Live::NotOurs(stranger));
        }
    }
    Ok(lives)
}

async fn look<C: 'static>(cx: &Cx<C>, revive: Revive<C>, record: &Record) -> Result<Live> {
    match seen(cx, revive, record).await {
        Err(error) => stranger(&error).cloned().map(Live::NotOurs).ok_or(error),
        live => live,
    }
}

async fn seen<C: 'static>(cx: &Cx<C>, revive: Revive<C>, record: &Record) -> Result<Live> {
    match (record.phase, &record.output) {
        // What an interrupted update left is settled by repeating it, so its being there is what counts.
        (Phase::Ready | Phase::Updating | Phase::Retiring, Some(output)) => {
            let live = revive(&record.kind, &record.desired)?.read(cx, output).await?;
            Ok(live.map_or(Live::Missing, Live::Present))
        }
        // Whether it is protected from the deletion that was begun is to be known before a run goes on.
        (Phase::Deleting, Some(output)) => {
            let resource = revive(&record.kind, &record.desired)?;
            let live = if resource.protection().is_some() {
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

/// How every recorded step stands, in the order of the state file.
///
/// # Errors
/// As [`survey`].
pub async fn status<C: 'static>(cloud: &Rc<C>, revive: Revive<C>, state: &State) -> Result<Vec<Line>> {
    let lives = survey(cloud, revive, state).await?;
    let mut lines = Vec::new();
    for record in &state.steps {
        let mut drifted = Vec::new();
        let mut not_compared = Vec::new();
        let step_state = match &lives[&record.step] {
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
            Some(output) => Some(revive(&record.kind, &record.desired)?.id(output)?),
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
