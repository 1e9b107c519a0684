//! Reads what is on record: what is there, what is not, and what differs.
//!
//! Must not change anything, neither in AWS nor on record.

use std::collections::HashMap;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use serde_json::Value;

use super::Revive;
use super::decide::changed_fields;
use crate::resource::{Cx, Result};
use crate::state::{Phase, State};

/// What a look at one recorded step showed.
#[derive(Clone, Debug, PartialEq)]
pub enum Live {
    /// It is there, in the terms of its desired state.
    Present(Value),
    /// It is not there.
    Missing,
    /// A call that would make, change or delete it was interrupted.
    Unfinished,
}

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
    pub drifted: Vec<String>,
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
    /// A call was interrupted; `up` or `down` finishes it.
    Unfinished,
}

/// Reads every step that is on record as made, all at once. A read that fails is that step's result.
pub async fn survey<C: 'static>(
    cloud: &Rc<C>,
    revive: Revive<C>,
    state: &State,
) -> HashMap<String, Result<Live>> {
    let mut reads = FuturesUnordered::new();
    for record in &state.steps {
        let cx = Cx::new(cloud.clone(), Rc::new(|_| ()));
        reads.push(async move {
            let live = match (record.phase, &record.output) {
                // What an interrupted update left is settled by repeating it, so its being there is what counts.
                (Phase::Ready | Phase::Updating, Some(output)) => match revive(&record.kind, &record.desired)
                {
                    Ok(resource) => resource.read(&cx, output).await,
                    Err(error) => Err(error),
                }
                .map(|live| live.map_or(Live::Missing, Live::Present)),
                _ => Ok(Live::Unfinished),
            };
            (record.step.clone(), live)
        });
    }
    let mut lives = HashMap::new();
    while let Some((step, live)) = reads.next().await {
        lives.insert(step, live);
    }
    lives
}

/// How every recorded step stands, in the order of the state file.
pub async fn status<C: 'static>(cloud: &Rc<C>, revive: Revive<C>, state: &State) -> Result<Vec<Line>> {
    let mut lives = survey(cloud, revive, state).await;
    let mut lines = Vec::new();
    for record in &state.steps {
        let live = lives
            .remove(&record.step)
            .expect("the survey covers every record");
        let live = live.map_err(|error| error.context(format!("cannot read step {}", record.step)))?;
        let mut drifted = Vec::new();
        let step_state = match live {
            Live::Missing => StepState::Missing,
            Live::Unfinished => StepState::Unfinished,
            Live::Present(_) if record.phase != Phase::Ready => StepState::Unfinished,
            Live::Present(live) => {
                drifted = changed_fields(&record.desired, &live);
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
        });
    }
    Ok(lines)
}
