//! What has moved since a plan was saved.
//!
//! Pure: it compares, and must not know how either side came about.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::bound::{Bound, EDGES, Fields, Place, Recorded, Seen};
use super::values::FIELD;

/// The fields of a function that its code decides.
const CODE: [&str; 2] = ["code_sha256", "code_size"];

/// What makes this run another one than the plan is for, a line each.
pub(crate) fn misplaced(then: &Place, now: &Place) -> Vec<String> {
    let said = |value: &Option<String>, none: &str| value.clone().unwrap_or_else(|| none.to_owned());
    let states = |place: &Place| said(&place.states, "a folder");
    let both = [
        (
            "the plan was made by version",
            then.provision.clone(),
            now.provision.clone(),
        ),
        ("the plan is of stack", then.stack.clone(), now.stack.clone()),
        (
            "the plan is of environment",
            said(&then.environment, "none"),
            said(&now.environment, "none"),
        ),
        (
            "the plan is of account",
            then.account.clone(),
            now.account.clone(),
        ),
        ("the plan is of region", then.region.clone(), now.region.clone()),
        (
            "the plan is of endpoint",
            said(&then.endpoint, "AWS"),
            said(&now.endpoint, "AWS"),
        ),
        ("the plan is of a state in", states(then), states(now)),
    ];
    let differ = both.into_iter().filter(|(_, then, now)| then != now);
    differ
        .map(|(what, then, now)| format!("{what} {then}; this run has {now}"))
        .collect()
}

/// What decides what `up` does and is not as it was, a line each.
pub(crate) fn moved(then: &Bound, now: &Bound) -> Vec<String> {
    let mut moved = misplaced(&then.place, &now.place);
    let state = state(then.state.as_ref(), now.state.as_ref());
    // What is on AWS follows from the run that has changed the state.
    let is_same_state = state.is_none();
    moved.extend(state);
    declared(then, now, &mut moved);
    if is_same_state {
        live(then, now, &mut moved);
        for one in now.goes_along.difference(&then.goes_along) {
            moved.push(format!(
                "{one} is of others and would go as well, and was not there when the plan was made"
            ));
        }
    }
    moved
}

/// What has moved in the state.
pub(crate) fn state(then: Option<&Recorded>, now: Option<&Recorded>) -> Option<String> {
    let begun = |now: &Recorded, done: &str| {
        if now.unfinished {
            "a run has begun since the plan and has not finished".to_owned()
        } else {
            format!("a run has {done} since the plan")
        }
    };
    match (then, now) {
        (None, Some(now)) => Some(format!(
            "the stack had no state and has one with serial {}: {}",
            now.serial,
            begun(now, "made the stack")
        )),
        (Some(_), None) => Some(
            "the stack has no state any more: it was deleted since the plan, or its state is elsewhere"
                .to_owned(),
        ),
        (Some(then), Some(now)) if then.owner != now.owner => Some(format!(
            "the state is of owner {} and was of owner {}: the stack was deleted and made again since the plan",
            now.owner, then.owner
        )),
        (Some(then), Some(now)) if then.serial != now.serial => Some(format!(
            "the state went from serial {} to {}: {}",
            then.serial,
            now.serial,
            begun(now, "changed the stack")
        )),
        (Some(then), Some(now)) if then != now => Some(format!(
            "the state has another content and still serial {}: it was edited or restored since the plan",
            now.serial
        )),
        (None, None) | (Some(_), Some(_)) => None,
    }
}

/// The configuration no longer has this step.
pub(crate) fn not_configured(step: &str) -> String {
    format!("{} is not configured any more", name(step))
}

/// `function:orders` as `function orders`.
fn name(step: &str) -> String {
    step.replacen(':', " ", 1)
}

fn names<'a, T>(then: &'a BTreeMap<String, T>, now: &'a BTreeMap<String, T>) -> BTreeSet<&'a String> {
    then.keys().chain(now.keys()).collect()
}

/// The fields that differ.
fn different<'a>(then: &'a Fields, now: &'a Fields) -> Vec<&'a str> {
    let all = names(then, now).into_iter();
    all.filter(|field| then.get(*field) != now.get(*field))
        .map(String::as_str)
        .collect()
}

fn declared(then: &Bound, now: &Bound, moved: &mut Vec<String>) {
    // It follows from what else is configured, and is told where nothing else is.
    let mut edges = Vec::new();
    let values = |bound: &Bound, step: &str| {
        let environment = bound.environments.functions.get(step);
        environment.and_then(|environment| environment.declared.clone())
    };
    for step in names(&then.declared, &now.declared) {
        let name = name(step);
        let (planned, wanted) = match (then.declared.get(step), now.declared.get(step)) {
            (Some(planned), Some(wanted)) => (planned, wanted),
            (None, _) => {
                moved.push(format!(
                    "{name} is configured now and was not when the plan was made"
                ));
                continue;
            }
            (_, None) => {
                moved.push(not_configured(step));
                continue;
            }
        };
        let fields = different(planned, wanted);
        if fields.iter().any(|field| CODE.contains(field)) {
            moved.push(format!("{name}: its code has changed since the plan"));
        }
        if fields.contains(&FIELD) {
            moved.push(format!(
                "{name}: its environment has other variables than when the plan was made"
            ));
        } else if values(then, step) != values(now, step) {
            moved.push(format!(
                "{name}: the value of an environment variable has changed since the plan"
            ));
        }
        let others = fields
            .into_iter()
            .filter(|field| *field != FIELD && !CODE.contains(field));
        let others: Vec<&str> = others.collect();
        if others == [EDGES] {
            edges.push(format!(
                "{name} waits for other steps than when the plan was made"
            ));
        } else if !others.is_empty() {
            moved.push(format!(
                "{name} is configured otherwise than when the plan was made: {}",
                others.join(", ")
            ));
        }
    }
    if moved.is_empty() {
        moved.extend(edges);
    }
}

fn live(then: &Bound, now: &Bound, moved: &mut Vec<String>) {
    let values = |bound: &Bound, step: &str| {
        let environment = bound.environments.functions.get(step);
        environment.and_then(|environment| environment.live.clone())
    };
    for step in names(&then.live, &now.live) {
        let name = name(step);
        match (then.live.get(step), now.live.get(step)) {
            (Some(Seen::Present(before)), Some(Seen::Present(after))) => {
                let mut fields = different(before, after);
                if values(then, step) != values(now, step) && !fields.contains(&FIELD) {
                    fields.push(FIELD);
                }
                if !fields.is_empty() {
                    moved.push(format!(
                        "{name} was changed on AWS since the plan: {}",
                        fields.join(", ")
                    ));
                }
            }
            (before, after) if before == after => {}
            (_, Some(Seen::Missing)) => moved.push(format!("{name} was deleted on AWS since the plan")),
            (_, Some(Seen::NotOurs)) => {
                moved.push(format!(
                    "{name} is not this stack's on AWS any more since the plan"
                ));
            }
            (_, _) => moved.push(format!("{name} is on AWS and was not when the plan was made")),
        }
    }
}

/// What else makes the steps of two plans differ, a line each: nothing that is known to change a plan.
pub(crate) fn different_steps(then: &[Value], now: &[Value]) -> Vec<String> {
    let by_name = |steps: &[Value]| -> BTreeMap<String, Value> {
        let named = steps
            .iter()
            .map(|step| (step["step"].as_str().unwrap_or_default().to_owned(), step.clone()));
        named.collect()
    };
    let (then, now) = (by_name(then), by_name(now));
    let action = |step: Option<&Value>| {
        step.and_then(|step| step["action"].as_str())
            .unwrap_or("absent")
            .to_owned()
    };
    let different = names(&then, &now).into_iter().filter_map(|step| {
        let (before, after) = (then.get(step), now.get(step));
        (before != after).then(|| {
            format!(
                "{} is planned otherwise: {} in the plan, {} now",
                name(step),
                action(before),
                action(after)
            )
        })
    });
    different.collect()
}

#[cfg(test)]
mod tests;
