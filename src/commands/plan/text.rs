//! A plan for people: a line a step, and a line a field.
//!
//! Must not decide what is in it.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use serde_json::{Map, Value};

use crate::engine::plan::{Field, Plan, Planned};
use crate::report::event::Operation;
use crate::untrusted::{cell, message};

/// The most steps that a terminal shows one by one before they begin.
const SHORT: usize = 20;

/// As [`text`], without the fields of what is new. A plan of more than [`SHORT`] steps has one line for all the steps of a kind
/// that have the same ahead of them, unless that can lose something.
pub(crate) fn summary(plan: &Plan) -> String {
    let is_change = |planned: &&Planned| planned.action != Operation::Unchanged;
    if plan.steps.iter().filter(is_change).count() <= SHORT {
        return text(plan, false);
    }
    let is_same = |one: &Planned, other: &Planned| {
        let can_shrink = matches!(one.action, Operation::Create | Operation::Update);
        can_shrink && one.action == other.action && one.kind == other.kind
    };
    let mut lines = String::new();
    for (index, planned) in plan.steps.iter().enumerate() {
        let (before, after) = plan.steps.split_at(index);
        if before.iter().any(|other| is_same(planned, other)) {
            continue;
        }
        let same = after.iter().filter(|other| is_same(planned, other)).count();
        let written = if same > 1 {
            let Planned { action, kind, .. } = planned;
            writeln!(lines, "{} {kind} × {same}", sign(*action))
        } else {
            step(&mut lines, planned, false)
        };
        written.expect("a string takes all that is written to it");
    }
    lines + &totals(plan) + "run `provision plan` to see every step\n"
}

/// The plan for people; the fields of new resources only where `all` are wanted.
pub(crate) fn text(plan: &Plan, all: bool) -> String {
    let mut text = String::new();
    for planned in &plan.steps {
        step(&mut text, planned, all).expect("a string takes all that is written to it");
    }
    text + &totals(plan)
}

/// How many steps have what ahead of them.
fn totals(plan: &Plan) -> String {
    let unchanged = match plan.with(Operation::Unchanged).count() {
        0 => String::new(),
        unchanged => format!("= {unchanged} unchanged\n"),
    };
    format!("{unchanged}plan: {}\n", counts(plan))
}

/// The same on one line, without those that stay as they are.
pub(crate) fn counts(plan: &Plan) -> String {
    let counts: Vec<String> = [
        (Operation::Create, "to create"),
        (Operation::Update, "to update"),
        (Operation::Replace, "to replace"),
        (Operation::Delete, "to delete"),
        (Operation::Leave, "to leave"),
        (Operation::Refused, "refused"),
        (Operation::NotOurs, "not ours"),
    ]
    .into_iter()
    .map(|(change, words)| (plan.with(change).count(), words))
    .filter(|(count, _)| *count > 0)
    .map(|(count, words)| format!("{count} {words}"))
    .collect();
    if counts.is_empty() {
        return "nothing to do".to_owned();
    }
    counts.join(", ")
}

fn sign(operation: Operation) -> &'static str {
    match operation {
        Operation::Unchanged => "= keep   ",
        Operation::Create | Operation::Resume => "+ create ",
        Operation::Update | Operation::Retire => "~ update ",
        Operation::Replace => "± replace",
        Operation::Delete => "- delete ",
        Operation::Leave => "- leave  ",
        Operation::Refused => "! refused",
        Operation::NotOurs => "! not ours",
    }
}

fn step(text: &mut String, planned: &Planned, all: bool) -> fmt::Result {
    if planned.action == Operation::Unchanged {
        return Ok(());
    }
    write!(text, "{} {}", sign(planned.action), cell(&planned.step))?;
    if let Some(why) = &planned.why {
        write!(text, "  ({})", message(why))?;
    }
    text.push('\n');
    if planned.action != Operation::Create || all {
        for field in &planned.fields {
            self::field(text, field, planned.action == Operation::Create)?;
        }
    }
    Ok(())
}

/// A line a field; of a map, a line a key that changes.
fn field(text: &mut String, field: &Field, is_new: bool) -> fmt::Result {
    let drifted = if field.drifted {
        "  (changed by somebody else)"
    } else {
        ""
    };
    let name = &field.field;
    if let (Value::Object(before), Value::Object(after)) = (&field.before, &field.after) {
        let value =
            |map: &Map<String, Value>, key: &str| map.get(key).map_or_else(|| "none".to_owned(), shown);
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys.into_iter().filter(|key| before.get(*key) != after.get(*key)) {
            let change = format!(
                "{name}.{}: {} → {}{drifted}",
                cell(key),
                value(before, key),
                value(after, key)
            );
            writeln!(text, "      {}", message(&change))?;
        }
        return Ok(());
    }
    let after = match &field.known_after[..] {
        [] => shown(&field.after),
        [one] => format!("known after {one}"),
        [one, rest @ ..] => format!("known after {one} and {} more", rest.len()),
    };
    let change = if is_new {
        format!("{name}: {after}")
    } else {
        format!("{name}: {} → {after}{drifted}", shown(&field.before))
    };
    writeln!(text, "      {}", message(&change))
}

/// A value, cut where it is long.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => cell(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => cell(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{planned, sample};
    use super::*;

    #[test]
    fn a_plan_says_what_changes_field_by_field() {
        insta::assert_snapshot!(text(&sample(), true), @r"
        ~ update  function:orders
              environment.A: sha256:a → sha256:x
              environment.B: sha256:b → none
              environment.D: none → sha256:d
              memory_mb: 512 → 128  (changed by somebody else)
        ± replace pool-domain  (AWS cannot change prefix in place)
              prefix: a → b\u{1b}[2J
        + create  client:billing
              name: billing
              pool: known after user-pool
              scopes: [orders/read, orders/write]
        ~ update  stage
              deployment: d1 → known after deployment and 1 more
        - delete  route:GET /old
        = 1 unchanged
        plan: 1 to create, 2 to update, 1 to replace, 1 to delete
        ");
    }

    #[test]
    fn a_long_plan_is_a_summary_that_names_whatever_can_be_lost() {
        assert_eq!(summary(&sample()), text(&sample(), false), "it is short");
        let mut long = sample();
        for number in 0..300 {
            let step = format!("route:GET /{number}");
            let mut route = planned(&step, Operation::Create, None, Vec::new());
            route.kind = "route".to_owned();
            long.steps.push(route);
            if number < 2 {
                let step = format!("client:old{number}");
                long.steps
                    .push(planned(&step, Operation::Delete, None, Vec::new()));
            }
        }
        insta::assert_snapshot!(summary(&long), @r"
        ~ update  kind × 2
        ± replace pool-domain  (AWS cannot change prefix in place)
              prefix: a → b\u{1b}[2J
        + create  client:billing
        - delete  route:GET /old
        + create  route × 300
        - delete  client:old0
        - delete  client:old1
        = 1 unchanged
        plan: 301 to create, 2 to update, 1 to replace, 3 to delete
        run `provision plan` to see every step
        ");
    }

    #[test]
    fn before_it_is_done_the_fields_of_what_is_new_are_left_out() {
        let text = text(&sample(), false);
        assert!(
            text.contains("+ create  client:billing\n~ update  stage"),
            "{text}"
        );
    }

    #[test]
    fn a_plan_without_changes_says_so() {
        let plan = Plan {
            steps: vec![planned("stage", Operation::Unchanged, None, Vec::new())],
        };
        insta::assert_snapshot!(text(&plan, true), @r"
        = 1 unchanged
        plan: nothing to do
        ");
    }
}
