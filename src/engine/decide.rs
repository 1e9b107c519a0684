//! Decides what to do with one step, from its record, what is declared and what is live.
//!
//! Pure: no I/O, no async.

use serde_json::Value;

use super::live::{Live, changed_fields, is_unseen};
use super::options::Options;
use crate::graph::Step;
use crate::report::event::Operation;
use crate::resource::Kind;
use crate::state::{Phase, Record};

/// What to do with a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// [`Operation::Create`], `Resume`, `Unchanged`, `Update`, `Replace`, `Refused` or `NotOurs`.
    pub operation: Operation,
    /// The fields that an update changes.
    pub fields: Vec<String>,
    /// What an update starts from: the live value of every field that it may change, the wanted value of the others.
    pub before: Value,
    /// The reason, if the fields do not show it.
    pub why: Option<String>,
}

impl Decision {
    fn new(operation: Operation, why: Option<String>) -> Self {
        Self {
            operation,
            fields: Vec::new(),
            before: Value::Null,
            why,
        }
    }
}

/// What is declared of a step, with the options that concern it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The resource's fields as they are declared.
    pub desired: &'a Value,
    /// The kind of resource.
    pub kind: &'static Kind,
    /// Whether the user asked to replace it.
    pub named: bool,
    /// Whether what others changed is changed back.
    pub repair: bool,
}

impl<'a> Wanted<'a> {
    /// Of a step that is declared with this desired state.
    pub fn new<C>(desired: &'a Value, step: &Step<C>, options: &Options) -> Self {
        Self {
            desired,
            kind: step.kind,
            named: options.replace.contains(&step.name),
            repair: options.repair,
        }
    }
}

/// Decides. `live` is what was read of a recorded step; `None` means that it was not read.
pub fn decide(record: Option<&Record>, live: Option<&Live>, wanted: Wanted<'_>) -> Decision {
    let decision = |operation| Decision::new(operation, None);
    let replace = |why: &str| Decision::new(Operation::Replace, Some(why.to_owned()));
    let Some(record) = record else {
        return decision(Operation::Create);
    };
    let live = match (record.phase, live) {
        (Phase::Creating, _) => return decision(Operation::Resume),
        (_, Some(Live::NotOurs(stranger))) => {
            return Decision::new(Operation::NotOurs, Some(stranger.to_string()));
        }
        (Phase::Deleting, _) if wanted.kind.only_waits => return decision(Operation::Create),
        (Phase::Deleting, _) => return replace("an interrupted run began to delete it"),
        (Phase::Ready | Phase::Updating | Phase::Retiring, Some(Live::Present(live))) => live,
        // Someone else deleted it.
        (Phase::Ready | Phase::Updating | Phase::Retiring, Some(Live::Missing | Live::Unfinished) | None) => {
            return decision(Operation::Create);
        }
    };
    if wanted.named {
        return replace("--replace names it");
    }
    let before = before(record, live, wanted);
    let fields = changed_fields(&before, wanted.desired);
    let goes_along = |field: &str| {
        let mut with = wanted.kind.changed_with.iter();
        with.any(|(fixed, other)| *fixed == field && fields.iter().any(|field| field == other))
    };
    let is_fixed = |field: &&String| wanted.kind.fixed.contains(&field.as_str()) && !goes_along(field);
    let fixed: Vec<&str> = fields.iter().filter(is_fixed).map(String::as_str).collect();
    if !fixed.is_empty() {
        let cannot = format!("AWS cannot change {} in place", fixed.join(", "));
        return match wanted.kind.loses {
            None => replace(&cannot),
            Some(lost) => Decision::new(
                Operation::Refused,
                Some(format!("{cannot}, and a new {} loses {lost}", wanted.kind.name)),
            ),
        };
    }
    // AWS may have executed an interrupted update: it is repeated even if nothing differs.
    if fields.is_empty() && record.phase != Phase::Updating {
        return decision(Operation::Unchanged);
    }
    Decision {
        operation: Operation::Update,
        why: fields.is_empty().then(|| "an update was interrupted".to_owned()),
        fields,
        before,
    }
}

/// What an update starts from: the live value in every field that it may change, the wanted value in all others.
fn before(record: &Record, live: &Value, wanted: Wanted<'_>) -> Value {
    let desired = wanted.desired;
    let (Value::Object(live_fields), Value::Object(desired_fields)) = (live, desired) else {
        return live.clone();
    };
    let names = live_fields.keys().chain(desired_fields.keys());
    let fields = names.filter_map(|name| {
        let recorded = &record.desired[name];
        let settled = record.phase != Phase::Updating;
        let value = if settled && !wanted.repair && *recorded == desired[name] {
            desired_fields.get(name)?
        } else if settled && is_unseen(recorded, &live[name]) {
            recorded
        } else if is_unseen(recorded, &live[name]) {
            return Some((name.clone(), unknown(recorded)));
        } else {
            &live[name]
        };
        Some((name.clone(), value.clone()))
    });
    Value::Object(fields.collect())
}

/// What an interrupted update may have left in a field that AWS does not return. For a map: any of the recorded keys,
/// each with the value `?`, which is never wanted because no tag and no fingerprint is `?`.
fn unknown(recorded: &Value) -> Value {
    match recorded {
        Value::Object(keys) => keys.keys().map(|key| (key.clone(), Value::from("?"))).collect(),
        _ => Value::Null,
    }
}

/// The record while the resource is changed to `wanted`: unchanged, but with every key of `wanted` in the fields that
/// are maps. A resource reads only the recorded keys of its tags, so a later run also reads those that an interrupted
/// change may have set.
pub fn with_keys_of(recorded: &Value, wanted: &Value) -> Value {
    let (Value::Object(recorded), Value::Object(wanted)) = (recorded, wanted) else {
        return recorded.clone();
    };
    let fields = recorded.iter().map(|(name, value)| {
        let mut value = value.clone();
        if let (Value::Object(keys), Some(Value::Object(wanted))) = (&mut value, wanted.get(name)) {
            for (key, value) in wanted {
                keys.entry(key).or_insert_with(|| value.clone());
            }
        }
        (name.clone(), value)
    });
    Value::Object(fields.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::live::{Drift, drift};
    use super::*;

    fn record(phase: Phase, desired: Value) -> Record {
        Record {
            step: "pool".into(),
            phase,
            kind: "user-pool".into(),
            needs: Vec::new(),
            desired,
            output: None,
        }
    }

    const POOL: Kind = Kind {
        fixed: &["name"],
        ..Kind::new("user-pool")
    };

    fn wanted(desired: &Value) -> Wanted<'_> {
        Wanted {
            desired,
            kind: &POOL,
            named: false,
            repair: true,
        }
    }

    fn fields(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn every_phase_has_its_decision() {
        let same = json!({"name": "a", "tier": "LITE"});
        let tier = json!({"name": "a", "tier": "PLUS"});
        let name = json!({"name": "b", "tier": "PLUS"});
        let present = Live::Present(same.clone());
        let plain = |operation| Decision::new(operation, None);
        let update = |names: &[&str], why: Option<&str>| Decision {
            operation: Operation::Update,
            before: same.clone(),
            fields: fields(names),
            why: why.map(str::to_owned),
        };
        let replace = |why: &str| Decision::new(Operation::Replace, Some(why.to_owned()));
        for (phase, desired, live, expected) in [
            (None, &same, None, plain(Operation::Create)),
            (
                Some(Phase::Creating),
                &same,
                Some(&Live::Unfinished),
                plain(Operation::Resume),
            ),
            (Some(Phase::Creating), &name, None, plain(Operation::Resume)),
            (
                Some(Phase::Deleting),
                &same,
                Some(&Live::Unfinished),
                replace("an interrupted run began to delete it"),
            ),
            (
                Some(Phase::Ready),
                &same,
                Some(&present),
                plain(Operation::Unchanged),
            ),
            (
                Some(Phase::Ready),
                &same,
                Some(&Live::Missing),
                plain(Operation::Create),
            ),
            (
                Some(Phase::Ready),
                &name,
                Some(&Live::Missing),
                plain(Operation::Create),
            ),
            (Some(Phase::Ready), &tier, Some(&present), update(&["tier"], None)),
            (
                Some(Phase::Ready),
                &name,
                Some(&present),
                replace("AWS cannot change name in place"),
            ),
            (
                Some(Phase::Updating),
                &same,
                Some(&present),
                update(&[], Some("an update was interrupted")),
            ),
            (
                Some(Phase::Updating),
                &same,
                Some(&Live::Missing),
                plain(Operation::Create),
            ),
            (
                Some(Phase::Retiring),
                &same,
                Some(&present),
                plain(Operation::Unchanged),
            ),
            (
                Some(Phase::Retiring),
                &tier,
                Some(&present),
                update(&["tier"], None),
            ),
            (
                Some(Phase::Retiring),
                &same,
                Some(&Live::Missing),
                plain(Operation::Create),
            ),
        ] {
            let record = phase.map(|phase| record(phase, same.clone()));
            assert_eq!(
                decide(record.as_ref(), live, wanted(desired)),
                expected,
                "{phase:?} {desired} {live:?}"
            );
        }
    }

    #[test]
    fn a_wait_that_was_interrupted_is_not_gone_on_with_where_the_step_is_wanted_again() {
        let record = record(Phase::Deleting, json!({"name": "a"}));
        let wanted = Wanted {
            kind: &Kind {
                only_waits: true,
                ..POOL
            },
            ..wanted(&record.desired)
        };
        let decision = decide(Some(&record), Some(&Live::Unfinished), wanted);
        assert_eq!(decision.operation, Operation::Create);
    }

    #[test]
    fn what_would_be_lost_is_replaced_only_when_it_is_named() {
        let record = record(Phase::Ready, json!({"name": "a"}));
        let live = Live::Present(record.desired.clone());
        let desired = json!({"name": "b"});
        let costly = Wanted {
            kind: &Kind {
                loses: Some("its users"),
                ..POOL
            },
            ..wanted(&desired)
        };
        assert_eq!(
            decide(Some(&record), Some(&live), costly),
            Decision::new(
                Operation::Refused,
                Some("AWS cannot change name in place, and a new user-pool loses its users".to_owned())
            )
        );
        let named = Wanted {
            named: true,
            ..costly
        };
        assert_eq!(
            decide(Some(&record), Some(&live), named),
            Decision::new(Operation::Replace, Some("--replace names it".to_owned()))
        );
    }

    #[test]
    fn a_fixed_field_that_goes_with_another_one_is_changed_in_place_with_it_and_only_with_it() {
        const FUNCTION: Kind = Kind {
            fixed: &["role_id"],
            changed_with: &[("role_id", "role")],
            ..Kind::new("function")
        };
        let before = json!({"role": "a", "role_id": "1"});
        let record = record(Phase::Ready, before.clone());
        let live = Live::Present(before);
        for (desired, operation) in [
            (json!({"role": "b", "role_id": "2"}), Operation::Update),
            (json!({"role": "a", "role_id": "2"}), Operation::Replace),
        ] {
            let wanted = Wanted {
                kind: &FUNCTION,
                ..wanted(&desired)
            };
            assert_eq!(decide(Some(&record), Some(&live), wanted).operation, operation);
        }
    }

    #[test]
    fn drift_is_repaired_unless_it_is_to_be_left_and_a_changed_field_starts_from_what_is_live() {
        let record = record(Phase::Ready, json!({"tier": "LITE", "size": 1}));
        let live = Live::Present(json!({"tier": "PLUS", "size": 5}));
        let desired = json!({"tier": "LITE", "size": 2});
        let repairing = wanted(&desired);
        assert_eq!(
            decide(Some(&record), Some(&live), repairing),
            Decision {
                operation: Operation::Update,
                why: None,
                before: json!({"tier": "PLUS", "size": 5}),
                fields: fields(&["size", "tier"])
            }
        );
        let leaving = Wanted {
            repair: false,
            ..repairing
        };
        assert_eq!(
            decide(Some(&record), Some(&live), leaving),
            Decision {
                operation: Operation::Update,
                why: None,
                before: json!({"tier": "LITE", "size": 5}),
                fields: fields(&["size"])
            }
        );
        let unchanged = Wanted {
            desired: &record.desired,
            ..leaving
        };
        assert_eq!(
            decide(Some(&record), Some(&live), unchanged).operation,
            Operation::Unchanged
        );
        // A field that is left out where there is nothing in it.
        let live = Live::Present(json!({"tier": "LITE", "size": 1, "open": ["a"]}));
        assert_eq!(
            decide(Some(&record), Some(&live), unchanged).operation,
            Operation::Unchanged
        );
    }

    #[test]
    fn a_field_that_aws_does_not_answer_is_as_recorded_until_an_update_was_interrupted() {
        let live = Live::Present(json!({"tags": null}));
        let desired = json!({"tags": {"a": "b"}});
        let ready = record(Phase::Ready, desired.clone());
        assert_eq!(
            decide(Some(&ready), Some(&live), wanted(&desired)).operation,
            Operation::Unchanged
        );
        let updating = record(Phase::Updating, desired.clone());
        assert_eq!(
            decide(Some(&updating), Some(&live), wanted(&desired)),
            Decision {
                operation: Operation::Update,
                why: None,
                before: json!({"tags": {"a": "?"}}),
                fields: fields(&["tags"])
            }
        );
        assert_eq!(
            drift(&desired, &json!({"tags": null})),
            Drift {
                fields: Vec::new(),
                not_compared: fields(&["tags"])
            }
        );
    }

    #[test]
    fn while_it_is_changed_the_keys_of_both_are_on_record() {
        let recorded = json!({"tags": {"a": "1", "b": "1"}, "size": 1, "map": null});
        let wanted = json!({"tags": {"b": "2", "c": "2"}, "size": 2, "map": {"x": 1}});
        assert_eq!(
            with_keys_of(&recorded, &wanted),
            json!({"tags": {"a": "1", "b": "1", "c": "2"}, "size": 1, "map": null})
        );
    }

    #[test]
    fn a_field_that_only_one_side_has_is_a_change() {
        assert_eq!(
            changed_fields(&json!({"a": 1, "b": 2}), &json!({"b": 2, "c": null})),
            ["a", "c"]
        );
    }
}
