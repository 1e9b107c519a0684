//! `plan`: what `up` would do, field by field.
//!
//! Must not change anything, neither in AWS nor on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value};

use super::backends;
use super::document::document;
use super::domains;
use super::follow_up::quoted;
use super::foreign::{self, Extent};
use super::holders;
use super::invocation::Invocation;
use super::open::{self, Declared};
use super::preflight;
use super::rights::changed;
use super::ui::{READING, Ui};
use crate::aws::Aws;
use crate::cli::{Changes, Plan as Args};
use crate::config::Config;
use crate::engine::options::Options;
use crate::engine::plan::{self, Field, Plan, Planned};
use crate::engine::status::survey;
use crate::error::{Failure, Kind};
use crate::foreign::Foreign;
use crate::graph::Stack;
use crate::report::event::Operation;
use crate::resource::Resource as _;
use crate::resources;
use crate::resources::Path;
use crate::rights::{self, Rights};
use crate::untrusted::{cell, message};

/// Stands for the owner in the names of a stack that has none yet: `up` draws it.
const OWNER: &str = "<owner>";

/// What to do about a user pool that is protected from deletion.
pub(super) const UNPROTECT: [&str; 2] = [
    "pass --unprotect to have it switched off right before the deletion",
    "or set `deletion_protection = false` in [user_pool] and run `provision up` first",
];

/// What to do about a resource that lost its tag.
pub(super) const NOT_OURS: &str =
    "if it is this stack's and lost its tag, tag it `provision:owner` with the `owner` of the state file";

#[derive(Serialize)]
struct Content<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    rights: &'a Rights,
    foreign: &'a [Foreign],
}

/// Runs it.
pub(super) async fn run(invocation: &Invocation, args: &Args, ui: &Ui) -> Result<(), Failure> {
    let declared = Declared::open(invocation, Some(OWNER), ui).await?;
    declared.refuse(invocation)?;
    let stack = declared.stack();
    let Declared {
        config,
        state,
        session,
        ..
    } = &declared;
    warn(&stack, config, ui);
    backends::warn(config, &session.identity, ui);
    let mut wish = wish(&args.changes, &stack)?;
    let aws = session.aws_for_a_survey();
    let reading = async {
        tokio::try_join!(
            survey(&aws, resources::KINDS, state),
            foreign::look(&aws, state, Extent::All)
        )
    };
    let (lives, foreign) = ui.show_wait(READING, reading).await?;
    domains::warn(&session.aws, ui);
    wish.occupied = foreign::occupied(state, &foreign)?;
    let plan = plan::plan(&stack, state, &lives, resources::KINDS, &wish).map_err(open::unusable)?;
    let rights = changed(&plan, state, &lives);
    if ui.is_json() {
        let content = Content {
            plan: &plan,
            rights: &rights,
            foreign: &foreign,
        };
        ui.data(&document(state, &content)?);
    } else {
        let text = text(&plan, true) + &rights.text(usize::MAX);
        ui.data(&(text.trim_end().to_owned() + &foreign::text(&foreign)));
    }
    refuse(&plan)?;
    foreign::refuse(&plan, &foreign, args.changes.allow_foreign)?;
    backends::refuse_absent(&aws, &declared.config, &plan).await?;
    holders::refuse(&aws, state, &plan, &args.changes.breaking).await?;
    preflight::check_log_role(session, config, &lives).await?;
    if args.check && !plan.is_empty() {
        return Err(Failure::silent(Kind::Differs));
    }
    Ok(())
}

/// What the command line asks for; a step that the stack does not have is an error.
pub(super) fn wish(changes: &Changes, stack: &Stack<Aws>) -> Result<Options, Failure> {
    for name in &changes.replace {
        if !stack.steps().iter().any(|step| step.name == *name) {
            let names: Vec<&str> = stack.steps().iter().map(|step| step.name.as_str()).collect();
            return Err(
                Failure::usage(format!("--replace {name}: the stack has no such step"))
                    .hinted(format!("it has {}", names.join(", "))),
            );
        }
    }
    Ok(Options {
        replace: changes.replace.iter().cloned().collect(),
        repair: !changes.no_repair,
        unprotect: changes.unprotect,
        occupied: BTreeMap::new(),
    })
}

/// The most paths that API Gateway's default quota of 300 resources an API surely has room for: whether the root counts
/// is not documented.
const PATHS: usize = 299;

/// Warns of a quota that this stack may exceed, which a service tells only once it is met, and of names that it may refuse.
pub(super) fn warn(stack: &Stack<Aws>, config: &Config, ui: &Ui) {
    for (name, function) in &config.functions {
        let allows_all = function.policy.iter().any(rights::allows_everything);
        let is_admin = |arn: &String| arn.ends_with(":aws:policy/AdministratorAccess");
        if allows_all || function.managed_policies.iter().any(is_admin) {
            ui.warn(&format!("function {name}: its policy allows every action on every resource of the account: name what the function uses"));
        }
    }
    if let Some(domain) = &config.api.domain
        && domain
            .made
            .as_ref()
            .is_some_and(|made| !made.truststore.is_empty())
        && !domain.close_default_endpoint
    {
        ui.warn(
            "[api.domain]: clients without a certificate can use AWS's own host name: set close_default_endpoint = true",
        );
    }
    let paths = || stack.steps().iter().filter(|step| step.kind.name == Path::NAME);
    let doubtful = |part: &&str| part.contains(':');
    for part in paths()
        .filter_map(|step| step.name.rsplit('/').next())
        .filter(doubtful)
    {
        ui.warn(&format!("AWS's documents do not agree whether API Gateway accepts `:` in a path part: rename {part:?} if `up` \
             fails with BadRequestException"
        ));
    }
    let paths = paths().count();
    if paths > PATHS {
        ui.warn(&format!("the API has {paths} paths; API Gateway's default quota is 300 resources an API, and may count the root: \
             have it raised (AWS Service Quotas) if `up` fails with LimitExceededException"
        ));
    }
}

/// An error if anything in the plan cannot be done.
pub(super) fn refuse(plan: &Plan) -> Result<(), Failure> {
    let theirs = |planned: &&Planned| planned.action == Operation::NotOurs && planned.declared;
    let refused: Vec<&Planned> = plan
        .steps
        .iter()
        .filter(|planned| planned.action == Operation::Refused || theirs(planned))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = (refused.iter())
        .map(|planned| format!("{}: {}", planned.step, planned.why.as_deref().unwrap_or_default()))
        .collect();
    let mut failure = Failure::all_of(reasons);
    // A path loses nothing of ours: it is refused only for what others have put there.
    let occupied = |planned: &&Planned| planned.action == Operation::Refused && planned.kind == Path::NAME;
    if refused.iter().any(occupied) {
        failure = failure.hinted("delete by hand what others have put there, then run the same command");
    }
    if refused.iter().any(theirs) {
        failure = failure
            .hinted(NOT_OURS)
            .hinted("otherwise rename the step, or run `provision down`, which deletes all but what is not of this stack");
    }
    for hint in refused.iter().filter_map(|planned| planned.hint.clone()) {
        failure = failure.hinted(hint);
    }
    let loses = |planned: &&&Planned| {
        let loses = planned.action == Operation::Refused && planned.kind != Path::NAME;
        loses && planned.protection.is_none() && planned.hint.is_none()
    };
    if let Some(first) = refused.iter().find(loses) {
        failure = failure
            .hinted("set it back to what it was, or add another one beside it under another name")
            .hinted(format!(
                "or accept the loss with --replace {}",
                quoted(first.step.as_ref())
            ));
    }
    if refused.iter().any(|planned| planned.protection.is_some()) {
        failure = UNPROTECT.into_iter().fold(failure, Failure::hinted);
    }
    Err(failure)
}

/// The most steps that a terminal shows one by one before they begin.
const SHORT: usize = 20;

/// As [`text`], without the fields of what is new. A plan of more than [`SHORT`] steps has one line for all the steps of a kind
/// that have the same ahead of them, unless that can lose something.
pub(super) fn summary(plan: &Plan) -> String {
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
pub(super) fn text(plan: &Plan, all: bool) -> String {
    let mut text = String::new();
    for planned in &plan.steps {
        step(&mut text, planned, all).expect("a string takes all that is written to it");
    }
    text + &totals(plan)
}

/// How many steps have what ahead of them.
fn totals(plan: &Plan) -> String {
    let mut text = String::new();
    let unchanged = plan.with(Operation::Unchanged).count();
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
    if unchanged > 0 {
        text.push_str("= ");
        text.push_str(&unchanged.to_string());
        text.push_str(" unchanged\n");
    }
    text.push_str("plan: ");
    text.push_str(&counts.join(", "));
    text.push_str(if counts.is_empty() {
        "nothing to do\n"
    } else {
        "\n"
    });
    text
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
    use serde_json::json;

    use super::*;

    fn planned(step: &str, action: Operation, why: Option<&str>, fields: Vec<Field>) -> Planned {
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

    fn field(field: &str, before: Value, after: Value) -> Field {
        Field {
            field: field.to_owned(),
            before,
            after,
            known_after: Vec::new(),
            drifted: false,
        }
    }

    fn sample() -> Plan {
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

    #[test]
    fn what_is_refused_is_an_error_that_says_what_to_do() {
        let why = Some("AWS cannot change pool in place, and a new client loses its client_id and secret");
        let plan = Plan {
            steps: vec![planned("client:app", Operation::Refused, why, Vec::new())],
        };
        let failure = refuse(&plan).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        assert!(
            failure.hints[1].contains("--replace client:app"),
            "{:?}",
            failure.hints
        );
        assert!(refuse(&sample()).is_ok());
    }
}
