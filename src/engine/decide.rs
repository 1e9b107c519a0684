//! What to do with one step, from what is on record, what is wanted and whether it is there.
//!
//! Pure: no I/O, no async.

use serde_json::Value;

use super::status::Live;
use crate::resource::Stranger;
use crate::state::{Phase, Record};

/// What to do with a step.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// Nothing of it exists.
    Create,
    /// An interrupted run may have made it: find it, else create it.
    Resume,
    /// It is as it should be.
    Keep,
    /// Change it in place from `before`, which differs in these fields.
    Update {
        /// What is live, as far as it is to be changed.
        before: Value,
        /// The fields that differ.
        fields: Vec<String>,
    },
    /// Delete it, then create it.
    Replace(Because),
    /// These fields differ and AWS cannot change them in place, and to make it anew would lose what nobody gave up.
    Refuse(Vec<String>),
    /// Leave it as it is: somebody else's is in its place.
    NotOurs(Stranger),
}

/// Why a step is to be deleted and made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// AWS cannot change these fields in place.
    Fixed(Vec<String>),
    /// The user named it.
    Named,
    /// An interrupted run began to delete it.
    Interrupted,
}

/// What is wanted of a step.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its inputs.
    pub desired: &'a Value,
    /// The fields AWS cannot change in place.
    pub fixed: &'a [&'a str],
    /// Whether something is lost for good where it is deleted.
    pub loses: bool,
    /// Whether the user asked for it to be made anew.
    pub named: bool,
    /// Whether what others changed is changed back.
    pub repair: bool,
}

/// Decides. `live` is what was seen in AWS of a step that is on record as made.
pub fn decide(record: Option<&Record>, live: Option<&Live>, wanted: Wanted<'_>) -> Decision {
    let Some(record) = record else {
        return Decision::Create;
    };
    let live = match (record.phase, live) {
        (Phase::Creating, _) => return Decision::Resume,
        (_, Some(Live::NotOurs(stranger))) => return Decision::NotOurs(stranger.clone()),
        (Phase::Deleting, _) => return Decision::Replace(Because::Interrupted),
        (Phase::Ready | Phase::Updating | Phase::Retiring, Some(Live::Present(live))) => live,
        // Somebody else deleted it.
        (Phase::Ready | Phase::Updating | Phase::Retiring, Some(Live::Missing | Live::Unfinished) | None) => {
            return Decision::Create;
        }
    };
    if wanted.named {
        return Decision::Replace(Because::Named);
    }
    let before = before(record, live, wanted);
    let fields = changed_fields(&before, wanted.desired);
    let fixed: Vec<String> = fields
        .iter()
        .filter(|field| wanted.fixed.contains(&field.as_str()))
        .cloned()
        .collect();
    match (fixed.is_empty(), wanted.loses) {
        (false, true) => Decision::Refuse(fixed),
        (false, false) => Decision::Replace(Because::Fixed(fixed)),
        // An interrupted update may have arrived: even with nothing changed it has to be settled.
        (true, _) if fields.is_empty() && record.phase != Phase::Updating => Decision::Keep,
        (true, _) => Decision::Update { before, fields },
    }
}

/// What an update starts from: what is live in every field that is to be changed, and what is wanted in all others.
fn before(record: &Record, live: &Value, wanted: Wanted<'_>) -> Value {
    let desired = wanted.desired;
    let (Value::Object(lives), Value::Object(desireds)) = (live, desired) else {
        return live.clone();
    };
    let names = lives.keys().chain(desireds.keys());
    let fields = names.filter_map(|name| {
        let recorded = &record.desired[name];
        let settled = record.phase != Phase::Updating;
        let value = if settled && !wanted.repair && *recorded == desired[name] {
            desireds.get(name)?
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

/// What an interrupted update may have left of a field that AWS does not answer: of a map any of the keys on record, each
/// with a value that is not wanted, as no tag and no fingerprint is `?`.
fn unknown(recorded: &Value) -> Value {
    match recorded {
        Value::Object(keys) => keys.keys().map(|key| (key.clone(), Value::from("?"))).collect(),
        _ => Value::Null,
    }
}

/// What is on record while it is being changed to `wanted`: as it was, with every key of `wanted` in the fields that are maps.
/// A resource reads only the keys that are on record, such as its tags', so that a later run sees those that an interrupted
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

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    fn wanted(desired: &Value) -> Wanted<'_> {
        Wanted {
            desired,
            fixed: &["name"],
            loses: false,
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
        let update = |names: &[&str]| Decision::Update {
            before: same.clone(),
            fields: fields(names),
        };
        let replace = |names: &[&str]| Decision::Replace(Because::Fixed(fields(names)));
        for (phase, desired, live, expected) in [
            (None, &same, None, Decision::Create),
            (
                Some(Phase::Creating),
                &same,
                Some(&Live::Unfinished),
                Decision::Resume,
            ),
            (Some(Phase::Creating), &name, None, Decision::Resume),
            (
                Some(Phase::Deleting),
                &same,
                Some(&Live::Unfinished),
                Decision::Replace(Because::Interrupted),
            ),
            (Some(Phase::Ready), &same, Some(&present), Decision::Keep),
            (Some(Phase::Ready), &same, Some(&Live::Missing), Decision::Create),
            (Some(Phase::Ready), &name, Some(&Live::Missing), Decision::Create),
            (Some(Phase::Ready), &tier, Some(&present), update(&["tier"])),
            (Some(Phase::Ready), &name, Some(&present), replace(&["name"])),
            (Some(Phase::Updating), &same, Some(&present), update(&[])),
            (
                Some(Phase::Updating),
                &same,
                Some(&Live::Missing),
                Decision::Create,
            ),
            (Some(Phase::Retiring), &same, Some(&present), Decision::Keep),
            (Some(Phase::Retiring), &tier, Some(&present), update(&["tier"])),
            (
                Some(Phase::Retiring),
                &same,
                Some(&Live::Missing),
                Decision::Create,
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
    fn what_would_be_lost_is_replaced_only_when_it_is_named() {
        let record = record(Phase::Ready, json!({"name": "a"}));
        let live = Live::Present(record.desired.clone());
        let desired = json!({"name": "b"});
        let costly = Wanted {
            loses: true,
            ..wanted(&desired)
        };
        assert_eq!(
            decide(Some(&record), Some(&live), costly),
            Decision::Refuse(fields(&["name"]))
        );
        let named = Wanted {
            named: true,
            ..costly
        };
        assert_eq!(
            decide(Some(&record), Some(&live), named),
            Decision::Replace(Because::Named)
        );
    }

    #[test]
    fn drift_is_repaired_unless_it_is_to_be_left_and_a_changed_field_starts_from_what_is_live() {
        let record = record(Phase::Ready, json!({"tier": "LITE", "size": 1}));
        let live = Live::Present(json!({"tier": "PLUS", "size": 5}));
        let desired = json!({"tier": "LITE", "size": 2});
        let repairing = wanted(&desired);
        assert_eq!(
            decide(Some(&record), Some(&live), repairing),
            Decision::Update {
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
            Decision::Update {
                before: json!({"tier": "LITE", "size": 5}),
                fields: fields(&["size"])
            }
        );
        let unchanged = Wanted {
            desired: &record.desired,
            ..leaving
        };
        assert_eq!(decide(Some(&record), Some(&live), unchanged), Decision::Keep);
        // A field that is left out where there is nothing in it.
        let live = Live::Present(json!({"tier": "LITE", "size": 1, "open": ["a"]}));
        assert_eq!(decide(Some(&record), Some(&live), unchanged), Decision::Keep);
    }

    #[test]
    fn a_field_that_aws_does_not_answer_is_as_recorded_until_an_update_was_interrupted() {
        let live = Live::Present(json!({"tags": null}));
        let desired = json!({"tags": {"a": "b"}});
        let ready = record(Phase::Ready, desired.clone());
        assert_eq!(
            decide(Some(&ready), Some(&live), wanted(&desired)),
            Decision::Keep
        );
        let updating = record(Phase::Updating, desired.clone());
        assert_eq!(
            decide(Some(&updating), Some(&live), wanted(&desired)),
            Decision::Update {
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
