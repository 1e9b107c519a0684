//! Brings the records of an earlier format to today's shape, right after the state is loaded.
//!
//! Must not ask AWS, nor write the state: the next run that writes it writes today's format.

use serde_json::{Value, json};

use crate::resource::Resource as _;
use crate::resources::function::{Reserved, STORAGE_MB, Vpc};
use crate::resources::{Authorizer, Client, Function, ResourceServer, RestApi, Role, Route, Stage};
use crate::state::{FORMAT, Record, State};

/// A field that the desired state of a kind got later.
struct Added {
    /// The first format that has it.
    since: u32,
    kind: &'static str,
    field: &'static str,
    /// What the resource of this record had before the field existed.
    value: fn(&State, &Record) -> Value,
}

/// Every field that was added after format 1. CONTRIBUTING.md has the rule.
const ADDED: &[Added] = &[
    Added {
        since: 2,
        kind: Authorizer::NAME,
        field: "result_ttl_seconds",
        // What API Gateway takes where none is sent.
        value: |_, _| json!(300),
    },
    Added {
        since: 2,
        kind: Function::NAME,
        field: "role_id",
        value: |state, record| json!(id_of_role(state, record)),
    },
    // Every route called a function of the stack, with nothing else set.
    Added {
        since: 3,
        kind: Route::NAME,
        field: "integration",
        value: |_, _| json!("AWS_PROXY"),
    },
    Added {
        since: 3,
        kind: Route::NAME,
        field: "integration_verb",
        value: |_, _| json!("POST"),
    },
    Added {
        since: 3,
        kind: Route::NAME,
        field: "request_parameters",
        value: |_, _| json!({}),
    },
    Added {
        since: 3,
        kind: Route::NAME,
        field: "mappings",
        value: |_, _| json!({}),
    },
    Added {
        since: 3,
        kind: Route::NAME,
        field: "timeout_millis",
        // What API Gateway takes where none is sent.
        value: |_, _| json!(29_000),
    },
    Added {
        since: 3,
        kind: Route::NAME,
        field: "vpc_link",
        value: |_, _| json!(""),
    },
    Added {
        since: 3,
        kind: Route::NAME,
        field: "target",
        value: |_, _| json!(""),
    },
    // Every stack had a pool of its own.
    Added {
        since: 3,
        kind: Client::NAME,
        field: "mark",
        value: |_, _| json!(""),
    },
    Added {
        since: 3,
        kind: ResourceServer::NAME,
        field: "mark",
        value: |_, _| json!(""),
    },
    Added {
        since: 3,
        kind: Role::NAME,
        field: "path",
        value: |_, _| json!("/"),
    },
    Added {
        since: 3,
        kind: Role::NAME,
        field: "permissions_boundary",
        value: |_, _| json!(""),
    },
    Added {
        since: 3,
        kind: Function::NAME,
        field: "rights",
        value: |_, _| json!(""),
    },
    Added {
        since: 3,
        kind: RestApi::NAME,
        field: "default_endpoint_closed",
        value: |_, _| json!(false),
    },
    Added {
        since: 3,
        kind: RestApi::NAME,
        field: "security_policy",
        value: |_, _| json!(""),
    },
    // What Lambda has where nothing is sent.
    Added {
        since: 3,
        kind: Function::NAME,
        field: "description",
        value: |_, _| json!(""),
    },
    Added {
        since: 3,
        kind: Function::NAME,
        field: "ephemeral_storage_mb",
        value: |_, _| json!(STORAGE_MB),
    },
    Added {
        since: 3,
        kind: Function::NAME,
        field: "tracing",
        value: |_, _| json!(false),
    },
    Added {
        since: 3,
        kind: Function::NAME,
        field: "log_format",
        value: |_, _| json!("text"),
    },
    Added {
        since: 3,
        kind: Function::NAME,
        field: "layers",
        value: |_, _| json!([]),
    },
    Added {
        since: 3,
        kind: Function::NAME,
        field: "kms_key",
        value: |_, _| json!(""),
    },
    Added {
        since: 3,
        kind: Function::NAME,
        field: "reserved_concurrency",
        value: |_, _| json!(Reserved::from(None)),
    },
    Added {
        since: 3,
        kind: Function::NAME,
        field: "vpc",
        value: |_, _| json!(Vpc::default()),
    },
    Added {
        since: 3,
        kind: Stage::NAME,
        field: "access_log_destination",
        value: |_, _| json!(""),
    },
    Added {
        since: 3,
        kind: Stage::NAME,
        field: "access_log_format",
        value: |_, _| json!(""),
    },
    Added {
        since: 3,
        kind: Stage::NAME,
        field: "metrics",
        value: |_, _| json!(false),
    },
    Added {
        since: 3,
        kind: Stage::NAME,
        field: "tracing",
        value: |_, _| json!(false),
    },
];

/// The id of the role on record that a function needs; empty where that role was deleted and is not made again yet.
fn id_of_role<'a>(state: &'a State, function: &Record) -> &'a str {
    let needs = function.needs.iter().filter_map(|need| state.record(need));
    let role = needs
        .filter(|need| need.kind == Role::NAME)
        .find_map(|role| role.output.as_ref());
    role.and_then(|output| output["id"].as_str()).unwrap_or_default()
}

/// Gives every record the fields that its format does not have yet.
pub fn upgrade(state: &mut State) {
    for added in ADDED.iter().filter(|added| added.since > state.format) {
        for place in 0..state.steps.len() {
            let record = &state.steps[place];
            if record.kind != added.kind {
                continue;
            }
            let value = (added.value)(state, record);
            if let Value::Object(desired) = &mut state.steps[place].desired {
                desired.entry(added.field).or_insert(value);
            }
        }
    }
    state.format = FORMAT;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::KINDS;

    /// Written by the last version of each earlier format.
    const EARLIER: [&str; 2] = [
        include_str!("../../tests/it/support/format-1.json"),
        include_str!("../../tests/it/support/format-2.json"),
    ];

    fn read(text: &str) -> State {
        serde_json::from_str(text).unwrap()
    }

    fn upgraded(text: &str) -> State {
        let mut state = read(text);
        upgrade(&mut state);
        state
    }

    #[test]
    fn every_record_of_an_earlier_format_is_of_todays_shape_once_it_is_loaded() {
        for (format, text) in (1..).zip(EARLIER) {
            assert_eq!(read(text).format, format);
            let state = upgraded(text);
            assert_eq!(state.format, FORMAT);
            assert_eq!(state.steps.len(), 23);
            for record in &state.steps {
                let resource = KINDS.revive(&record.kind, &record.desired).unwrap();
                assert_eq!(
                    resource.desired(),
                    record.desired,
                    "format {format}, {}",
                    record.step
                );
                resource.checked_ids(record.output.as_ref()).unwrap();
            }
        }
    }

    #[test]
    fn each_field_of_format_2_has_the_value_of_before() {
        let [first, _] = EARLIER;
        let (before, state) = (read(first), upgraded(first));
        assert_eq!(
            state.record("authorizer").unwrap().desired["result_ttl_seconds"],
            300
        );
        for name in ["orders", "other"] {
            let role = before.record(&format!("role:{name}")).unwrap().output.clone();
            let function = state.record(&format!("function:{name}")).unwrap();
            assert_eq!(function.desired["role_id"], role.unwrap()["id"]);
        }
    }

    #[test]
    fn nothing_but_the_added_fields_changes() {
        for text in EARLIER {
            let before = read(text);
            let state = upgraded(text);
            for (record, earlier) in state.steps.iter().zip(&before.steps) {
                let mut record = record.clone();
                let added = ADDED.iter().filter(|added| added.since > before.format);
                for added in added.filter(|added| added.kind == record.kind) {
                    let desired = record.desired.as_object_mut().unwrap();
                    desired.remove(added.field).unwrap();
                }
                assert_eq!(&record, earlier);
            }
        }
    }

    #[test]
    fn a_record_of_todays_format_that_lacks_a_field_stays_as_it_is() {
        for text in EARLIER {
            let mut state = read(text);
            state.format = FORMAT;
            let before = state.clone();
            upgrade(&mut state);
            assert_eq!(state, before);
        }
    }
}
