//! A plan for the tests of this folder, with every kind of change.
//!
//! Must not be part of the program.

use serde_json::{Value, json};

use crate::cli::{Breaking, Changes};
use crate::engine::plan::{Field, Plan, Planned};
use crate::report::event::Operation;

pub(crate) fn planned(step: &str, action: Operation, why: Option<&str>, fields: Vec<Field>) -> Planned {
    Planned {
        step: step.to_owned(),
        kind: "kind".to_owned(),
        action,
        why: why.map(str::to_owned),
        fields,
        not_compared: Vec::new(),
        protection: None,
        hint: None,
        declared: true,
    }
}

pub(crate) fn field(field: &str, before: Value, after: Value) -> Field {
    Field {
        field: field.to_owned(),
        before,
        after,
        known_after: Vec::new(),
        drifted: false,
    }
}

/// No option is typed.
pub(crate) fn no_changes() -> Changes {
    Changes {
        replace: Vec::new(),
        no_repair: false,
        unprotect: false,
        allow_foreign: false,
        breaking: Breaking {
            yes_break: Vec::new(),
            read_clients: false,
        },
    }
}

pub(crate) fn sample() -> Plan {
    let known_after = |mut field: Field, steps: &[&str]| {
        field.known_after = steps.iter().map(|&step| step.to_owned()).collect();
        field
    };
    let drifted = Field {
        drifted: true,
        ..field("memory_mb", json!(512), json!(128))
    };
    Plan {
        steps: vec![
            planned("role:orders", Operation::Unchanged, None, Vec::new()),
            planned(
                "function:orders",
                Operation::Update,
                None,
                vec![
                    field(
                        "environment",
                        json!({"A": "sha256:a", "B": "sha256:b", "C": "sha256:c"}),
                        json!({"A": "sha256:x", "C": "sha256:c", "D": "sha256:d"}),
                    ),
                    drifted,
                ],
            ),
            planned(
                "pool-domain",
                Operation::Replace,
                Some("AWS cannot change prefix in place"),
                vec![field("prefix", json!("a"), json!("b\u{1b}[2J"))],
            ),
            planned(
                "client:billing",
                Operation::Create,
                None,
                vec![
                    field("name", Value::Null, json!("billing")),
                    known_after(field("pool", Value::Null, Value::Null), &["user-pool"]),
                    field("scopes", Value::Null, json!(["orders/read", "orders/write"])),
                ],
            ),
            planned(
                "stage",
                Operation::Update,
                None,
                vec![known_after(
                    field("deployment", json!("d1"), Value::Null),
                    &["deployment", "route:GET /a"],
                )],
            ),
            planned("route:GET /old", Operation::Delete, None, Vec::new()),
        ],
    }
}
