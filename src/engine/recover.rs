//! Puts on record again what a stack has whose record is lost: for every declared step at once what a resumed run does for one.
//!
//! Must not change anything in AWS.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use anyhow::Context;
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};

use super::schedule::AT_ONCE;
use crate::graph::{Outputs, Stack, Step};
use crate::resource::{Cx, Erased, Kinds, Result, stranger};
use crate::state::{Phase, Record, State};

/// What a recovery showed of each declared step, in the order of the stack.
#[derive(Debug, Default, PartialEq)]
pub struct Recovered {
    /// Not there.
    pub absent: Vec<String>,
    /// Not looked for, as it cannot be there without the other, which is not.
    pub needs_absent: Vec<(String, String)>,
    /// Somebody else's is there in its place.
    pub not_ours: Vec<(String, String)>,
    /// Several could be it: their ids.
    pub undecided: Vec<(String, Vec<String>)>,
}

/// Looks for every step of `stack`, and puts what is there on record in `state`, which has none. `picks` decides which is
/// meant where several could be: the id by the step's name.
///
/// # Errors
/// A look failed; the step is named.
pub async fn recover<C: 'static>(
    cloud: &Rc<C>,
    kinds: Kinds<C>,
    stack: &Stack<C>,
    picks: &HashMap<String, String>,
    state: &mut State,
) -> Result<Recovered> {
    let mut recovered = Recovered::default();
    let mut outputs = Outputs::new();
    let mut lost: HashSet<&str> = HashSet::new();
    let mut left: Vec<&Step<C>> = stack.steps().iter().collect();
    while !left.is_empty() {
        let is_settled = |need: &String| outputs.contains_key(need) || lost.contains(need.as_str());
        let (ready, later): (Vec<&Step<C>>, _) =
            left.iter().partition(|step| step.needs.iter().all(is_settled));
        left = later;
        let mut looks = Vec::new();
        for step in ready {
            match step.needs.iter().find(|need| lost.contains(need.as_str())) {
                Some(need) => {
                    recovered.needs_absent.push((step.name.clone(), need.clone()));
                    lost.insert(&step.name);
                }
                None => looks.push((step, step.resource(&outputs)?)),
            }
        }
        let looks = looks.into_iter().map(|(step, resource)| async move {
            let cx = Cx::new(cloud.clone(), Rc::new(|_| ()));
            let found = look(&*resource, kinds, &cx, picks.get(&step.name)).await;
            (step, found)
        });
        let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        while let Some((step, found)) = looks.next().await {
            match found {
                Ok(Found::One {
                    desired,
                    output,
                    phase,
                }) => {
                    outputs.insert(step.name.clone(), output.clone());
                    state.steps.push(Record {
                        step: step.name.clone(),
                        phase,
                        kind: step.kind.name.to_owned(),
                        needs: step.needs.clone(),
                        desired,
                        output: Some(output),
                    });
                    continue;
                }
                Ok(Found::None) => recovered.absent.push(step.name.clone()),
                Ok(Found::Several(ids)) => recovered.undecided.push((step.name.clone(), ids)),
                Err(error) => match stranger(&error) {
                    Some(theirs) => recovered.not_ours.push((step.name.clone(), theirs.to_string())),
                    None => return Err(error).with_context(|| format!("cannot look for step {}", step.name)),
                },
            }
            lost.insert(&step.name);
        }
    }
    let places: HashMap<&str, usize> = (stack.steps().iter().enumerate())
        .map(|(place, step)| (step.name.as_str(), place))
        .collect();
    state.steps.sort_by_key(|record| places[record.step.as_str()]);
    recovered.absent.sort_by_key(|step| places[step.as_str()]);
    recovered
        .needs_absent
        .sort_by_key(|(step, _)| places[step.as_str()]);
    Ok(recovered)
}

enum Found {
    None,
    One {
        desired: Value,
        output: Value,
        phase: Phase,
    },
    Several(Vec<String>),
}

async fn look<C: 'static>(
    resource: &dyn Erased<C>,
    kinds: Kinds<C>,
    cx: &Cx<C>,
    pick: Option<&String>,
) -> Result<Found> {
    let mut there = Vec::new();
    for output in resource.find_lost(cx).await? {
        let id = resource.id(&output)?;
        // A list may show one that is gone.
        if pick.is_none_or(|pick| *pick == id)
            && let Some(live) = resource.read(cx, &output).await?
        {
            there.push((id, live, output));
        }
    }
    Ok(match there.len() {
        0 => Found::None,
        1 => {
            let (_, live, output) = there.remove(0);
            let desired = seen(live, &resource.desired());
            let recorded = kinds.revive(resource.kind().name, &desired);
            let is_whole = recorded.is_ok_and(|recorded| recorded.checked_ids(Some(&output)).is_ok());
            // What an interrupted run left half made has fields that no record may have; the next run finishes it.
            let (desired, phase) = if is_whole {
                (desired, Phase::Ready)
            } else {
                (resource.desired(), Phase::Updating)
            };
            Found::One {
                desired,
                output,
                phase,
            }
        }
        _ => Found::Several(there.into_iter().map(|(id, ..)| id).collect()),
    })
}

/// What is live, where AWS answers it; what it does not answer is taken to be as it is wanted.
fn seen(live: Value, wanted: &Value) -> Value {
    match live {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| match &wanted[&name] {
                    wanted if value.is_null() => (name, wanted.clone()),
                    _ => (name, value),
                })
                .collect::<Map<_, _>>(),
        ),
        other => other,
    }
}
