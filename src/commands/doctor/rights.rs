//! Whether the credentials may do what `up`, `status` and `down` of this stack do, as IAM simulates it.
//!
//! Must not try an action out.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::super::invocation::Invocation;
use super::super::open::Session;
use super::super::policy;
use super::super::ui::Ui;
use super::Known;
use super::report::Finding;
use crate::aws::clients::Caller;
use crate::aws::simulated::{self, Need, Principal};
use crate::error::Failure;
use crate::operator_policy::{Task, document};
use crate::resource::{Class, class};
use crate::state::State;

const CHECK: &str = "rights";
/// How long all simulations may take: about twenty calls, one after the other, as IAM allows few at once.
const LIMIT: Duration = Duration::from_secs(30);
/// How many denied actions are named.
const SHOWN: usize = 6;
/// What helps where they cannot be checked.
const BY_HAND: &str = "`provision policy doctor` prints the rights that doctor needs, and `provision policy` those of an operator";

pub(super) async fn check(
    session: &Session,
    caller: &Caller,
    known: &Known,
    invocation: &Invocation,
    state: Option<State>,
    ui: &Rc<Ui>,
) -> Finding {
    let work = async {
        match needs(session, known, invocation, state, ui).await {
            Ok(needs) => simulate(session, caller, &needs, ui).await,
            Err(failure) => Finding::failed(CHECK, failure),
        }
    };
    match tokio::time::timeout(LIMIT, Box::pin(work)).await {
        Ok(finding) => finding,
        Err(_) => Finding::note(
            CHECK,
            format!("not known: IAM did not answer all in {} seconds", LIMIT.as_secs()),
            BY_HAND,
        ),
    }
}

/// The statements of the operator's policy.
async fn needs(
    session: &Session,
    known: &Known,
    invocation: &Invocation,
    state: Option<State>,
    ui: &Ui,
) -> Result<Vec<Need>, Failure> {
    let stack = known.stack.clone().unwrap_or_default();
    let base = match &state {
        Some(state) => policy::recorded(state, invocation.region.as_deref())?,
        None => policy::fresh(session.identity.clone(), stack, known.config.is_some()),
    };
    let scope = Box::pin(policy::configured(base, invocation, known.config.as_ref(), ui)).await?;
    let document = document(&scope, &[Task::Up, Task::Status, Task::Down].into());
    let statements = document["Statement"].as_array().into_iter().flatten();
    Ok(statements.map(need).collect())
}

/// A statement as a question: on resources that its patterns fit.
fn need(statement: &Value) -> Need {
    let texts = |value: &Value| -> Vec<String> {
        match value {
            Value::String(one) => vec![one.clone()],
            Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    let resources = texts(&statement["Resource"]);
    let conditions = statement["Condition"].as_object().into_iter().flatten();
    let conditions = conditions.filter_map(|(_, keys)| keys.as_object()).flatten();
    let context: BTreeMap<String, Vec<String>> = conditions
        .map(|(key, values)| (key.clone(), texts(values)))
        .collect();
    Need {
        actions: texts(&statement["Action"]),
        resources: resources
            .into_iter()
            .filter(|resource| resource != "*")
            .map(|resource| resource.replace('?', "0").replace('*', "x"))
            .collect(),
        // One of several values is in a request.
        context: context
            .into_iter()
            .map(|(key, values)| (key, values.into_iter().take(1).collect()))
            .collect(),
    }
}

async fn simulate(session: &Session, caller: &Caller, needs: &[Need], ui: &Rc<Ui>) -> Finding {
    let cx = session.cx(ui);
    let principal = match simulated::principal(&cx, &caller.arn).await {
        Ok(Principal::Named(arn)) => arn,
        Ok(Principal::Root) => {
            return Finding::ok(
                CHECK,
                "those of the root user, which is all; a role of its own is safer",
            );
        }
        Ok(Principal::Other) => {
            return Finding::note(
                CHECK,
                format!("not known: IAM cannot simulate {}", caller.arn),
                BY_HAND,
            );
        }
        Err(error) => return Finding::unknown(CHECK, error, BY_HAND),
    };
    let mut denied = BTreeSet::new();
    for need in needs {
        match simulated::denied(&cx, &principal, need).await {
            Ok(more) => denied.extend(more),
            Err(error) if class(&error) == Some(Class::Denied) => {
                return Finding::note(
                    CHECK,
                    "not known: the credentials may not simulate (iam:SimulatePrincipalPolicy)",
                    BY_HAND,
                );
            }
            Err(error) => return Finding::unknown(CHECK, error, BY_HAND),
        }
    }
    told(&denied, needs)
}

fn told(denied: &BTreeSet<String>, needs: &[Need]) -> Finding {
    let all: BTreeSet<&String> = needs.iter().flat_map(|need| &need.actions).collect();
    if denied.is_empty() {
        return Finding::ok(
            CHECK,
            format!(
                "all {} actions of up, status and down, as IAM simulates them",
                all.len()
            ),
        );
    }
    let shown: Vec<&str> = denied.iter().take(SHOWN).map(String::as_str).collect();
    let more = match denied.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Finding::mend(
        CHECK,
        format!(
            "{} of {} actions are not allowed: {}{more}",
            denied.len(),
            all.len(),
            shown.join(", ")
        ),
        "`provision policy` prints all that an operator needs",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::Status;
    use super::*;

    #[test]
    fn a_statement_becomes_a_question_about_resources_that_its_patterns_fit() {
        let asked = need(&json!({
            "Sid": "Role", "Effect": "Allow", "Action": ["iam:CreateRole", "iam:GetRole"],
            "Resource": ["arn:aws:iam::111122223333:role/orders_????????_*"],
            "Condition": {"StringEquals": {"iam:PolicyARN": ["arn:a", "arn:b"], "aws:ResourceTag/x": "y"}},
        }));
        assert_eq!(asked.actions, ["iam:CreateRole", "iam:GetRole"]);
        assert_eq!(
            asked.resources,
            ["arn:aws:iam::111122223333:role/orders_00000000_x"]
        );
        assert_eq!(asked.context["iam:PolicyARN"], ["arn:a"]);
        assert_eq!(asked.context["aws:ResourceTag/x"], ["y"]);
        let any = need(&json!({"Action": ["iam:ListRoles"], "Resource": ["*"]}));
        assert!(any.resources.is_empty() && any.context.is_empty());
    }

    #[test]
    fn what_is_denied_is_named_and_counted() {
        let needs = [Need {
            actions: (0..9).map(|number| format!("iam:A{number}")).collect(),
            ..Need::default()
        }];
        let finding = told(&BTreeSet::new(), &needs);
        assert_eq!(
            (finding.status, finding.what.contains("all 9 actions")),
            (Status::Ok, true)
        );
        let finding = told(&needs[0].actions.iter().cloned().collect(), &needs);
        assert_eq!(finding.status, Status::Mend);
        assert!(
            finding
                .what
                .starts_with("9 of 9 actions are not allowed: iam:A0, ")
                && finding.what.ends_with(" and 3 more"),
            "{}",
            finding.what
        );
    }
}
