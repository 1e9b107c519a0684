//! What to do with one step, from what is on record, what is wanted and whether it is there.
//!
//! Pure: no I/O, no async.

use serde_json::Value;

use crate::state::{Phase, Record};

/// What to do with a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing of it exists.
    Create,
    /// An interrupted run may have made it: find it, else create it.
    Resume,
    /// An interrupted run may have deleted it: finish that, then create it.
    FinishDelete,
    /// It is as it should be.
    Keep,
    /// Change these fields in place.
    Update(Vec<String>),
    /// These fields differ and AWS cannot change them in place.
    Refuse(Vec<String>),
}

/// Decides. `fixed` are the fields AWS cannot change in place; `present` is whether a resource that is on record as made
/// was seen in AWS.
pub fn decide(record: Option<&Record>, desired: &Value, fixed: &[&str], present: bool) -> Decision {
    let Some(record) = record else {
        return Decision::Create;
    };
    match record.phase {
        Phase::Creating => Decision::Resume,
        Phase::Deleting => Decision::FinishDelete,
        // Somebody else deleted it.
        Phase::Ready | Phase::Updating if !present => Decision::Create,
        Phase::Ready | Phase::Updating => {
            let changed = changed_fields(&record.desired, desired);
            let refused: Vec<String> = changed
                .iter()
                .filter(|field| fixed.contains(&field.as_str()))
                .cloned()
                .collect();
            if !refused.is_empty() {
                Decision::Refuse(refused)
            } else if changed.is_empty() && record.phase == Phase::Ready {
                Decision::Keep
            } else {
                // An interrupted update may have arrived: even with nothing changed it has to be settled.
                Decision::Update(changed)
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(phase: Phase) -> Record {
        Record {
            step: "pool".into(),
            phase,
            kind: "user-pool".into(),
            needs: Vec::new(),
            desired: json!({"name": "a", "tier": "LITE"}),
            output: None,
        }
    }

    #[test]
    fn every_phase_has_its_decision() {
        let same = json!({"name": "a", "tier": "LITE"});
        let tier = json!({"name": "a", "tier": "PLUS"});
        let name = json!({"name": "b", "tier": "PLUS"});
        let fixed = ["name"];
        let update = Decision::Update(vec!["tier".into()]);
        let refuse = Decision::Refuse(vec!["name".into()]);
        for (phase, desired, present, expected) in [
            (None, &same, false, Decision::Create),
            (Some(Phase::Creating), &same, true, Decision::Resume),
            (Some(Phase::Creating), &name, false, Decision::Resume),
            (Some(Phase::Deleting), &same, true, Decision::FinishDelete),
            (Some(Phase::Deleting), &same, false, Decision::FinishDelete),
            (Some(Phase::Ready), &same, true, Decision::Keep),
            (Some(Phase::Ready), &same, false, Decision::Create),
            (Some(Phase::Ready), &name, false, Decision::Create),
            (Some(Phase::Ready), &tier, true, update),
            (Some(Phase::Ready), &name, true, refuse),
            (Some(Phase::Updating), &same, true, Decision::Update(Vec::new())),
            (Some(Phase::Updating), &same, false, Decision::Create),
        ] {
            let record = phase.map(record);
            assert_eq!(
                decide(record.as_ref(), desired, &fixed, present),
                expected,
                "{phase:?} {desired} {present}"
            );
        }
    }

    #[test]
    fn a_field_that_only_one_side_has_is_a_change() {
        assert_eq!(
            changed_fields(&json!({"a": 1, "b": 2}), &json!({"b": 2, "c": null})),
            ["a", "c"]
        );
    }
}
