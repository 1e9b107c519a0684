//! What `up` would do, step by step and field by field, from what is on record, what is declared and what is live.
//!
//! Pure: no I/O, no async. What depends on a call that is not made yet is told as known only after its step.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::Revive;
use super::decide::{Decision, Wanted, decide};
use super::down::kept;
use super::live::{Live, Lives, changed_fields, drift};
use crate::graph::{Outputs, Stack, Step};
use crate::report::event::Operation;
use crate::resource::{Erased, Result};
use crate::state::{Phase, Record, State};

/// What a run is asked for beyond what is declared.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The steps to make anew, whatever is lost.
    pub replace: BTreeSet<String>,
    /// Whether what others changed is changed back.
    pub repair: bool,
    /// Whether what is protected from deletion is deleted all the same.
    pub unprotect: bool,
    /// The steps whose deletion would take along what others have put there, and what that is.
    pub occupied: BTreeMap<String, String>,
}

/// All that `up` would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Every declared step in the order of declaration, then those that go, in the order of going.
    pub steps: Vec<Planned>,
}

/// What `up` would do with one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// The step.
    pub step: String,
    /// The kind of resource.
    pub kind: String,
    /// What would be done.
    pub action: Operation,
    /// Why, where that is not seen from the fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The fields that would change; of a new resource, all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// The fields that AWS does not answer, so that nobody knows whether they are as recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<String>,
    /// The field that keeps AWS from deleting it, where it is refused for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protection: Option<String>,
    /// What to do about it, where it is refused and nothing else says so.
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
    /// What is live; null for a new resource.
    pub before: Value,
    /// What it would be; null while that is not known.
    pub after: Value,
    /// The steps that tell what it would be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known_after: Vec<String>,
    /// Whether somebody else changed it.
    pub drifted: bool,
}

impl Planned {
    /// Refuses it where it would put into service what lets in anybody and is left so.
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

    /// Refuses it where it would be deleted and is protected from that now, whatever is on record or wanted.
    fn refuse_protected<C>(
        &mut self,
        resource: &dyn Erased<C>,
        record: Option<&Record>,
        live: Option<&Live>,
    ) -> Result<()> {
        let (Operation::Replace | Operation::Delete, Some(field), Some(Live::Present(live))) =
            (self.action, resource.protection(), live)
        else {
            return Ok(());
        };
        let output = record.and_then(|record| record.output.as_ref());
        if let Some(output) = output
            && live[field] == true
        {
            let kept = kept(resource, output, field)?;
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

    /// The steps of this action.
    pub fn with(&self, action: Operation) -> impl Iterator<Item = &Planned> {
        self.steps.iter().filter(move |step| step.action == action)
    }
}

/// Plans.
///
/// # Errors
/// The record cannot be understood.
pub fn plan<C: 'static>(
    stack: &Stack<C>,
    state: &State,
    lives: &Lives,
    revive: Revive<C>,
    wish: &Wish,
) -> Result<Plan> {
    let mut planning = Planning {
        records: state
            .steps
            .iter()
            .map(|record| (record.step.as_str(), record))
            .collect(),
        lives,
        wish,
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
                .step(step)
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
        let resource = revive(&record.kind, &record.desired)
            .with_context(|| format!("the record of step {} cannot be used", record.step))?;
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
        if let Some(Live::NotOurs(stranger)) = lives.get(&record.step) {
            (planned.action, planned.why) = (Operation::NotOurs, Some(stranger.to_string()));
        }
        if !wish.unprotect {
            planned.refuse_protected(&*resource, Some(record), lives.get(&record.step))?;
        }
        if let Some(what) = wish.occupied.get(&record.step) {
            planned.action = Operation::Leave;
            planned.why = Some(format!("it stays, as others have put there: {what}"));
        }
        steps.push(planned);
    }
    Ok(Plan { steps })
}

struct Planning<'a> {
    records: HashMap<&'a str, &'a Record>,
    lives: &'a Lives,
    wish: &'a Wish,
    /// The outputs, as far as they are known; a placeholder where they are not.
    known: Outputs,
    /// The same with other placeholders: what is built of both and differs is not known.
    other: Outputs,
    unknown: HashSet<String>,
    replaced: HashSet<String>,
    /// The steps that let in anybody and are left so.
    open: HashSet<String>,
}

impl Planning<'_> {
    fn step<C: 'static>(&mut self, step: &Step<C>) -> Result<Planned> {
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
        let live = self.lives.get(&step.name);
        let wanted = Wanted::new(&*resource, &desired, step, self.wish);
        let mut decision = decide(record, live, wanted);
        // It goes with its parent, whatever that costs: the parent's replacement was asked for.
        let with = record.and_then(|record| self.replaced_parent(&*resource, record));
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
        } else if let (Operation::Replace, Some(what)) = (action, self.wish.occupied.get(&step.name)) {
            let lost = format!("replacing it would delete what others have put there: {what}");
            (action, why) = (Operation::Refused, Some(lost));
        }
        let present = match live {
            Some(Live::Present(live)) => Some(live),
            _ => None,
        };
        // What only has to be retired has its output already.
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
            kind: step.kind.to_owned(),
            action,
            why,
            fields,
            not_compared: drift.unwrap_or_default().not_compared,
            protection: None,
            hint: None,
            declared: true,
        };
        if !self.wish.unprotect {
            planned.refuse_protected(&*resource, record, live)?;
        }
        planned.refuse_open(&step.needs, &self.open);
        if let Some(other) = self.going_namesake(step, &*resource) {
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

    /// The recorded step of this kind that is to go and differs from this new one in case alone, where AWS would find the
    /// one under the name of the other.
    fn going_namesake<C: 'static>(&self, step: &Step<C>, resource: &dyn Erased<C>) -> Option<&Record> {
        if !resource.ignores_case() || self.records.contains_key(step.name.as_str()) {
            return None;
        }
        let name = step.name.to_lowercase();
        let mut records = self.records.values();
        records
            .find(|record| record.kind == step.kind && record.step.to_lowercase() == name)
            .copied()
    }

    /// What is replaced and takes it along, or cannot be deleted while it is there.
    fn replaced_parent<C>(&self, resource: &dyn Erased<C>, record: &Record) -> Option<String> {
        let kinds = [resource.dies_with(), resource.holds()];
        let parent = |need: &&String| {
            self.records
                .get(need.as_str())
                .is_some_and(|need| kinds.contains(&Some(need.kind.as_str())))
        };
        record
            .needs
            .iter()
            .filter(parent)
            .find(|need| self.replaced.contains(*need))
            .cloned()
    }

    /// Makes known what later steps are built of.
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

/// What of a live step is there after a decision that leaves it in its place.
fn left(decision: &Decision, live: &Value, desired: &Value) -> Option<Value> {
    let is_left = matches!(decision.operation, Operation::Unchanged | Operation::Update);
    let mut left = live.clone();
    for field in &decision.fields {
        let left = left.as_object_mut()?;
        // A field may be left out where there is nothing in it.
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
