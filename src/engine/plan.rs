//! Plans what `up` does, step by step and field by field, from what is recorded, declared and live.
//!
//! Pure: no I/O, no async. A value that depends on a call that is not made yet is planned as known only after its step.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::decide::{Decision, Wanted, decide};
use super::live::{Live, Observed, changed_fields, drift};
use super::options::Options;
use super::{kept, kind, revived};
use crate::graph::{Outputs, Stack, Step};
use crate::report::event::Operation;
use crate::resource::{Erased, Kind, Kinds, Result};
use crate::state::{Phase, Record, State};

/// What `up` does with the whole stack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Every declared step in the order of declaration, then the steps that are deleted, in that order.
    pub steps: Vec<Planned>,
}

/// What `up` does with one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// The step.
    pub step: String,
    /// The kind of resource.
    pub kind: String,
    /// The operation that `up` runs, or why it runs none.
    pub action: Operation,
    /// The reason, if the fields do not show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The fields that change; all fields of a new resource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// The fields that AWS does not return, so they cannot be compared with the record.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<String>,
    /// The field that keeps AWS from deleting it, if the step is refused because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protection: Option<String>,
    /// What to do about a refusal, if nothing else says so.
    #[serde(skip)]
    pub hint: Option<String>,
    /// Whether the stack still has the step.
    #[serde(skip)]
    pub declared: bool,
}

/// How one field would change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    /// Its name.
    pub field: String,
    /// The live value; null for a new resource.
    pub before: Value,
    /// The planned value; null while it is not known.
    pub after: Value,
    /// The steps after which the value is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known_after: Vec<String>,
    /// Whether someone else changed it.
    pub drifted: bool,
}

impl Planned {
    /// Refuses a step that would put something into service that is open to everyone and is not repaired.
    fn refuse_open(&mut self, needs: &[String], open: &HashSet<String>) {
        let is_made = matches!(
            self.action,
            Operation::Create | Operation::Update | Operation::Replace
        );
        if let Some(need) = needs.iter().find(|need| open.contains(*need)).filter(|_| is_made) {
            self.why = Some(format!(
                "{need} was opened to everybody by somebody else, and --no-repair leaves it so"
            ));
            self.action = Operation::Refused;
            self.hint = Some("leave out --no-repair to have it closed and deployed so".to_owned());
        }
    }

    /// Refuses a deletion if the live resource has deletion protection, whatever is recorded or declared.
    fn refuse_protected<C>(
        &mut self,
        kind: &Kind,
        kinds: Kinds<C>,
        record: Option<&Record>,
        live: Option<&Live>,
    ) -> Result<()> {
        let (Operation::Replace | Operation::Delete, Some(field), Some(Live::Present(live))) =
            (self.action, kind.protection, live)
        else {
            return Ok(());
        };
        let output = record.and_then(|record| Some((record, record.output.as_ref()?)));
        if let Some((record, output)) = output
            && live[field] == true
        {
            let kept = kept(&*revived(kinds, record)?, output, field)?;
            self.why = Some(match &self.why {
                Some(why) => format!("{why}, and {kept}"),
                None => kept,
            });
            self.action = Operation::Refused;
            self.protection = Some(field.to_owned());
        }
        Ok(())
    }
}

impl Plan {
    /// Whether there is anything to do.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.action == Operation::Unchanged)
    }

    /// The steps with this operation.
    pub fn with(&self, action: Operation) -> impl Iterator<Item = &Planned> {
        self.steps.iter().filter(move |step| step.action == action)
    }
}

/// Plans every step; makes no call.
///
/// # Errors
/// A record cannot be used. The error names the step.
pub fn plan<C: 'static>(
    stack: &Stack<C>,
    state: &State,
    observed: &Observed,
    kinds: Kinds<C>,
    options: &Options,
) -> Result<Plan> {
    let mut planning = Planning {
        records: state
            .steps
            .iter()
            .map(|record| (record.step.as_str(), record))
            .collect(),
        observed,
        options,
        known: Outputs::new(),
        other: Outputs::new(),
        unknown: HashSet::new(),
        replaced: HashSet::new(),
        open: HashSet::new(),
    };
    let mut steps = Vec::new();
    for step in stack.steps() {
        steps.push(
            planning
                .step(step, kinds)
                .with_context(|| format!("cannot plan step {}", step.name))?,
        );
    }
    let declared: HashSet<&str> = stack.steps().iter().map(|step| step.name.as_str()).collect();
    for record in state
        .steps
        .iter()
        .rev()
        .filter(|record| !declared.contains(record.step.as_str()))
    {
        let kind = kind(kinds, record)?;
        let mut planned = Planned {
            step: record.step.clone(),
            kind: record.kind.clone(),
            action: Operation::Delete,
            why: None,
            fields: Vec::new(),
            not_compared: Vec::new(),
            protection: None,
            hint: None,
            declared: false,
        };
        if let Some(Live::NotOurs(stranger)) = observed.get(&record.step) {
            (planned.action, planned.why) = (Operation::NotOurs, Some(stranger.to_string()));
        }
        if !options.unprotect {
            planned.refuse_protected(kind, kinds, Some(record), observed.get(&record.step))?;
        }
        if let Some(what) = options.occupied.get(&record.step) {
            planned.action = Operation::Leave;
            planned.why = Some(format!("it stays, as others have put there: {what}"));
        }
        steps.push(planned);
    }
    Ok(Plan { steps })
}

struct Planning<'a> {
    records: HashMap<&'a str, &'a Record>,
    observed: &'a Observed,
    options: &'a Options,
    /// The outputs by step. A placeholder stands in for an output that is not known yet.
    known: Outputs,
    /// The same with other placeholders. A field that differs between a resource built from the one and from the other
    /// is not known yet.
    other: Outputs,
    unknown: HashSet<String>,
    replaced: HashSet<String>,
    /// The steps that are open to everyone and are not repaired.
    open: HashSet<String>,
}

impl Planning<'_> {
    fn step<C: 'static>(&mut self, step: &Step<C>, kinds: Kinds<C>) -> Result<Planned> {
        let resource = step.resource(&self.known)?;
        let desired = resource.desired();
        let after: Vec<String> = step
            .needs
            .iter()
            .filter(|need| self.unknown.contains(*need))
            .cloned()
            .collect();
        let unknown = if after.is_empty() {
            Vec::new()
        } else {
            changed_fields(&desired, &step.resource(&self.other)?.desired())
        };
        let record = self.records.get(step.name.as_str()).copied();
        let live = self.observed.get(&step.name);
        let wanted = Wanted::new(&desired, step, self.options);
        let mut decision = decide(record, live, wanted);
        // It is replaced with its parent whatever is lost: the user asked for the parent's replacement.
        let with = record.and_then(|record| self.replaced_parent(step.kind, record));
        if with.is_some() && decision.operation == Operation::Refused {
            decision.operation = Operation::Replace;
        }
        if let Some(Live::Present(live)) = live
            && let Some(left) = left(&decision, live, &desired)
            && resource.is_open(&left)?
        {
            self.open.insert(step.name.clone());
        }
        let (mut action, mut why) = match decision.operation {
            Operation::Resume => (Operation::Create, None),
            operation => (operation, decision.why.clone()),
        };
        if let Some(parent) = with
            && action != Operation::NotOurs
        {
            (action, why) = (Operation::Replace, Some(format!("it goes with {parent}")));
        } else if let (Operation::Replace, Some(what)) = (action, self.options.occupied.get(&step.name)) {
            let lost = format!("replacing it would delete what others have put there: {what}");
            (action, why) = (Operation::Refused, Some(lost));
        }
        let present = match live {
            Some(Live::Present(live)) => Some(live),
            _ => None,
        };
        // A step that only has to be retired keeps its output.
        self.publish(step, &*resource, record, action)?;
        match (action, record) {
            (Operation::Create, Some(record)) if record.phase == Phase::Creating => {
                why = Some("an interrupted run may have made it".to_owned());
            }
            (Operation::Create, Some(_)) => why = Some("somebody else deleted it".to_owned()),
            (Operation::Unchanged, Some(record)) if record.phase == Phase::Retiring => {
                (action, why) = (
                    Operation::Update,
                    Some("an earlier update left something behind".to_owned()),
                );
            }
            _ => {}
        }
        let fields = fields(&decision, action, record, present, &desired, &unknown, &after);
        let drift = record
            .zip(present)
            .map(|(record, live)| drift(&record.desired, live));
        let mut planned = Planned {
            step: step.name.clone(),
            kind: step.kind.name.to_owned(),
            action,
            why,
            fields,
            not_compared: drift.unwrap_or_default().not_compared,
            protection: None,
            hint: None,
            declared: true,
        };
        if !self.options.unprotect {
            planned.refuse_protected(step.kind, kinds, record, live)?;
        }
        planned.refuse_open(&step.needs, &self.open);
        if let Some(other) = self.going_namesake(step) {
            planned.action = Operation::Refused;
            planned.why = Some(format!(
                "its name differs from the name of {} only in case, and AWS takes the two for one",
                other.step
            ));
            planned.hint = Some(format!(
                "take {} out of the configuration, run `provision up`, then add {} and run `provision up` again; or give \
                 it a name that differs in more than case",
                other.step, step.name
            ));
        }
        Ok(planned)
    }

    /// The recorded step of this kind that is deleted and whose name differs from this new one only in case, so that
    /// AWS would find the one under the name of the other.
    fn going_namesake<C: 'static>(&self, step: &Step<C>) -> Option<&Record> {
        if !step.kind.ignores_case || self.records.contains_key(step.name.as_str()) {
            return None;
        }
        let name = step.name.to_lowercase();
        let mut records = self.records.values();
        records
            .find(|record| record.kind == step.kind.name && record.step.to_lowercase() == name)
            .copied()
    }

    /// The replaced step that this one is inside: it deletes this one as well, or cannot be deleted while this one
    /// exists.
    fn replaced_parent(&self, kind: &Kind, record: &Record) -> Option<String> {
        let parent = |need: &&String| {
            self.records
                .get(need.as_str())
                .is_some_and(|need| kind.lives_in(&need.kind))
        };
        record
            .needs
            .iter()
            .filter(parent)
            .find(|need| self.replaced.contains(*need))
            .cloned()
    }

    /// Keeps the step's output, or placeholders, for the steps that are built from it.
    fn publish<C: 'static>(
        &mut self,
        step: &Step<C>,
        resource: &dyn Erased<C>,
        record: Option<&Record>,
        action: Operation,
    ) -> Result<()> {
        let recorded = record.and_then(|record| record.output.clone());
        let output = match (action, recorded) {
            (Operation::Update, Some(output)) => resource.output_after_update(&output)?,
            (Operation::Unchanged | Operation::Refused | Operation::NotOurs, output) => output,
            (Operation::Create | Operation::Replace, _) => resource.known_output(),
            _ => None,
        };
        if action == Operation::Replace {
            self.replaced.insert(step.name.clone());
        }
        if output.is_none() {
            self.unknown.insert(step.name.clone());
        }
        let (known, other) = match output {
            Some(output) => (output.clone(), output),
            None => (step.placeholder("\u{1a}"), step.placeholder("\u{1b}")),
        };
        self.known.insert(step.name.clone(), known);
        self.other.insert(step.name.clone(), other);
        Ok(())
    }
}

/// The live fields after an operation that does not replace the resource.
fn left(decision: &Decision, live: &Value, desired: &Value) -> Option<Value> {
    let is_left = matches!(decision.operation, Operation::Unchanged | Operation::Update);
    let mut left = live.clone();
    for field in &decision.fields {
        let left = left.as_object_mut()?;
        // An empty field may be left out.
        match desired.get(field) {
            Some(value) => left.insert(field.clone(), value.clone()),
            None => left.remove(field),
        };
    }
    is_left.then_some(left)
}

fn fields(
    decision: &Decision,
    action: Operation,
    record: Option<&Record>,
    live: Option<&Value>,
    desired: &Value,
    unknown: &[String],
    after: &[String],
) -> Vec<Field> {
    let before = match (decision.operation, action) {
        (_, Operation::Unchanged | Operation::Delete | Operation::Leave | Operation::NotOurs)
        | (Operation::Unchanged, Operation::Update) => return Vec::new(),
        (Operation::Update, Operation::Update) => decision.before.clone(),
        (_, Operation::Replace | Operation::Refused) => live.cloned().unwrap_or_default(),
        _ => Value::Null,
    };
    let none = serde_json::Map::new();
    let names = match &before {
        Value::Object(_) => changed_fields(&before, desired),
        _ => desired.as_object().unwrap_or(&none).keys().cloned().collect(),
    };
    let names = names.into_iter();
    names
        .map(|name| {
            let is_known = !unknown.contains(&name);
            let drifted = record.zip(live).is_some_and(|(record, live)| {
                record.phase == Phase::Ready && record.desired[&name] != live[&name]
            });
            Field {
                before: before[&name].clone(),
                after: if is_known {
                    desired[&name].clone()
                } else {
                    Value::Null
                },
                known_after: if is_known { Vec::new() } else { after.to_vec() },
                drifted,
                field: name,
            }
        })
        .collect()
}
