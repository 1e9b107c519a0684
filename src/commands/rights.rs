//! Which rights a plan changes: taken from the steps that are about rights.
//!
//! Must not ask AWS.

use serde_json::{Value, json};

use crate::engine::live::{Live, Observed};
use crate::engine::plan::{Plan, Planned};
use crate::report::event::Operation;
use crate::resource::Resource as _;
use crate::resources::{BackendPermission, Function, Permission, Role, RoleAttachment, RolePolicy};
use crate::rights::{Rights, What};
use crate::state::State;

/// What `plan` grants and denies, in the order of its steps.
pub(super) fn changed(plan: &Plan, state: &State, observed: &Observed) -> Rights {
    let mut rights = Rights::default();
    for planned in &plan.steps {
        let (before, after) = around(planned, state, observed);
        let step = planned.step.as_str();
        let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
        match planned.kind.as_str() {
            RolePolicy::NAME => rights.change_document(step, &before["document"], &after["document"]),
            RoleAttachment::NAME => {
                let policy = |value: &Value| {
                    let policy = value["policy_arn"].as_str()?.to_owned();
                    Some(What::Policy { policy })
                };
                rights.change(step, policy(&before), policy(&after));
            }
            Role::NAME => {
                rights.change_document(step, &before["trust"], &after["trust"]);
                let field = "permissions_boundary";
                rights.change_boundary(step, &text(&before, field), &text(&after, field));
            }
            Permission::NAME | BackendPermission::NAME => {
                rights.change_document(step, &invocation(&before), &invocation(&after));
            }
            Function::NAME => rights.change(step, foreign_role(&before), foreign_role(&after)),
            _ => {}
        }
    }
    rights
}

/// The fields of a step before and after the plan; null where there is no such resource, or nothing changes.
fn around(planned: &Planned, state: &State, observed: &Observed) -> (Value, Value) {
    let live = match observed.get(&planned.step) {
        Some(Live::Present(live)) => live.clone(),
        // Whether it is there is not known.
        Some(Live::Unfinished) => {
            let record = state.record(&planned.step);
            record.map_or(Value::Null, |record| record.desired.clone())
        }
        _ => Value::Null,
    };
    let overlaid = |before: &Value| {
        let mut after = before.clone();
        for field in &planned.fields {
            after[&field.field] = match &field.known_after[..] {
                [] => field.after.clone(),
                [step, ..] => json!(format!("known after {step}")),
            };
        }
        after
    };
    match planned.action {
        Operation::Create | Operation::Resume => (Value::Null, overlaid(&Value::Null)),
        Operation::Update | Operation::Replace | Operation::Retire => {
            let after = overlaid(&live);
            (live, after)
        }
        Operation::Delete => (live, Value::Null),
        Operation::Leave | Operation::Unchanged | Operation::Refused | Operation::NotOurs => {
            (Value::Null, Value::Null)
        }
    }
}

/// A permission as the document that Lambda makes of it.
fn invocation(permission: &Value) -> Value {
    if permission.is_null() {
        return Value::Null;
    }
    json!({"Statement": {
        "Effect": "Allow",
        "Principal": "apigateway.amazonaws.com",
        "Action": "lambda:InvokeFunction",
        "Resource": permission["function"],
        "Condition": {"source": permission["source_arn"]},
    }})
}

/// The role of a function if it is not the stack's own, which has the function's name.
fn foreign_role(function: &Value) -> Option<What> {
    let role = function["role"].as_str()?;
    let is_own = role.rsplit('/').next() == function["name"].as_str();
    (!is_own).then(|| What::Role {
        role: role.to_owned(),
    })
}
