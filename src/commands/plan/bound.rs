//! What a saved plan is bound to: digests of all that decides what `up` does.
//!
//! Must not ask AWS, and must not compare anything.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::configuration;
use super::super::foreign;
use super::super::invocation::Invocation;
use super::values::{self, Environment, Environments, Slow, names_only};
use crate::aws::{Aws, Identity};
use crate::cli::Changes;
use crate::config::Config;
use crate::engine::live::{Live, Observed};
use crate::engine::plan::Plan;
use crate::error::Failure;
use crate::foreign::Foreign;
use crate::graph::{Outputs, Stack};
use crate::location::Location;
use crate::state::{Phase, State};

/// The format of saved plans that this program writes, and the only one it reads.
pub(crate) const FORMAT: u32 = 1;

/// Stands beside the fields of a step for the steps that it waits for.
pub(crate) const EDGES: &str = "needs";

/// All that decides what `up` does. Digests stand for fields: none of them has the value of an environment variable in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bound {
    /// [`FORMAT`] at the time of writing.
    pub format: u32,
    pub place: Place,
    /// `None` of a stack that has no state.
    pub state: Option<Recorded>,
    pub changes: Changes,
    /// Every step as it is configured, with placeholders for what AWS answers and for the owner.
    pub declared: BTreeMap<String, Fields>,
    /// Every step on record as it is on AWS.
    pub live: BTreeMap<String, Seen>,
    /// What of others goes with what is deleted or replaced.
    pub goes_along: BTreeSet<String>,
    pub environments: Environments,
    /// Of the whole file. It is written last, and is the last text in the file.
    pub digest: String,
}

/// Digests by field.
pub(crate) type Fields = BTreeMap<String, String>;

/// Where a plan was made, and where it is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// The version of this program.
    pub provision: String,
    pub stack: String,
    pub environment: Option<String>,
    pub account: String,
    pub region: String,
    /// `None` on AWS.
    pub endpoint: Option<String>,
    /// Where the states are; `None`: in a folder of this machine.
    pub states: Option<String>,
}

/// What is on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recorded {
    pub owner: String,
    pub serial: u64,
    /// Whether a run has begun something that is not finished.
    pub unfinished: bool,
    pub digest: String,
}

/// What was read of a step on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Seen {
    Present(Fields),
    Missing,
    NotOurs,
    /// It was not read, as an interrupted run may have made or deleted it.
    Unfinished,
}

/// What a plan is made of.
pub(crate) struct Facts<'a> {
    pub invocation: &'a Invocation,
    pub config: &'a Config,
    pub identity: &'a Identity,
    /// With a placeholder for the owner.
    pub stack: &'a Stack<Aws>,
    pub state: &'a State,
    pub observed: &'a Observed,
    /// Of `stack` if nothing is on record.
    pub plan: &'a Plan,
    pub foreign: &'a [Foreign],
    pub changes: &'a Changes,
}

impl Place {
    /// Where this run is.
    ///
    /// # Errors
    /// The configuration says nothing that can be understood of where the states are.
    pub(crate) fn of(invocation: &Invocation, config: &Config, identity: &Identity) -> Result<Self, Failure> {
        let states = match configuration::place(invocation)?.location {
            Location::S3(prefix) => Some(Location::S3(prefix).to_string()),
            Location::Folder(_) => None,
        };
        Ok(Self {
            provision: env!("CARGO_PKG_VERSION").to_owned(),
            stack: config.stack.clone(),
            environment: invocation.env.clone(),
            account: identity.account.clone(),
            region: identity.region.clone(),
            endpoint: identity.endpoint.clone(),
            states,
        })
    }
}

impl Bound {
    /// To these facts. `slow` is of the plan that this is to be compared with; `None`: this is a new plan.
    ///
    /// # Errors
    /// A resource cannot be built, or `slow` is not what this program makes.
    pub(crate) fn to(facts: &Facts<'_>, slow: Option<&Slow>) -> Result<Self, Failure> {
        let mut all = declared(facts.stack)?;
        let environments = environments(facts, &all, slow)?;
        let mut digests: BTreeMap<String, Fields> = (all.iter_mut())
            .map(|(step, declared)| (step.clone(), fields(declared.kind, &declared.desired)))
            .collect();
        for step in facts.stack.steps() {
            let edges = json!([step.needs, step.follows]);
            let fields = digests.get_mut(&step.name).expect("it is declared");
            fields.insert(EDGES.to_owned(), digest(&edges));
        }
        for (name, client) in &facts.config.clients {
            let place = client.secret_from.as_ref().map(ToString::to_string);
            let fields = digests.get_mut(&format!("client:{name}"));
            fields.and_then(|fields| fields.insert("secret_from".to_owned(), digest(&json!(place))));
        }
        Ok(Self {
            format: FORMAT,
            place: Place::of(facts.invocation, facts.config, facts.identity)?,
            state: recorded(facts.state),
            changes: facts.changes.clone(),
            declared: digests,
            live: live(facts),
            goes_along: foreign::goes_along(facts.plan, facts.foreign)
                .into_iter()
                .map(|one| format!("{} {} in {}", one.kind, one.id, one.step))
                .collect(),
            environments,
            digest: String::new(),
        })
    }
}

struct Declared {
    kind: &'static str,
    desired: Value,
}

/// Every step as the configuration alone says it.
fn declared(stack: &Stack<Aws>) -> Result<BTreeMap<String, Declared>> {
    let steps = stack.steps();
    let outputs: Outputs = steps
        .iter()
        .map(|step| (step.name.clone(), step.placeholder("\u{1a}")))
        .collect();
    let declared = steps.iter().map(|step| {
        let resource = step.resource(&outputs);
        let resource = resource.with_context(|| format!("cannot plan step {}", step.name))?;
        let declared = Declared {
            kind: step.kind.name,
            desired: resource.desired(),
        };
        Ok((step.name.clone(), declared))
    });
    declared.collect()
}

fn environments(
    facts: &Facts<'_>,
    declared: &BTreeMap<String, Declared>,
    slow: Option<&Slow>,
) -> Result<Environments> {
    let mut wanted: BTreeMap<&str, (Option<&Value>, Option<&Value>)> = BTreeMap::new();
    for (step, declared) in declared {
        if let Some(variables) = values::variables(declared.kind, &declared.desired) {
            wanted.entry(step).or_default().0 = Some(variables);
        }
    }
    for record in &facts.state.steps {
        if let Some(Live::Present(live)) = facts.observed.get(&record.step)
            && let Some(variables) = values::variables(&record.kind, live)
            && *variables != record.desired[values::FIELD]
        {
            wanted.entry(&record.step).or_default().1 = Some(variables);
        }
    }
    let number = wanted
        .values()
        .flat_map(|(declared, live)| [declared, live])
        .flatten()
        .count();
    let slow = slow.map_or_else(|| Slow::new(number), |slow| Ok(slow.clone()))?;
    let mut functions = BTreeMap::new();
    for (step, (declared, live)) in wanted {
        let digest = |variables: Option<&Value>| variables.map(|it| slow.digest(it)).transpose();
        let environment = Environment {
            declared: digest(declared)?,
            live: digest(live)?,
        };
        functions.insert(step.to_owned(), environment);
    }
    Ok(Environments { slow, functions })
}

/// `None` of a state that was never written.
pub(crate) fn recorded(state: &State) -> Option<Recorded> {
    let is_begun = |phase: Phase| !matches!(phase, Phase::Ready | Phase::Retiring);
    let mut content = json!(state);
    for (place, record) in state.steps.iter().enumerate() {
        content["steps"][place]["desired"] = names_only(&record.kind, &record.desired);
    }
    let recorded = Recorded {
        owner: state.owner.clone(),
        serial: state.serial,
        unfinished: state.steps.iter().any(|record| is_begun(record.phase)),
        digest: digest(&content),
    };
    (state.serial > 0).then_some(recorded)
}

fn live(facts: &Facts<'_>) -> BTreeMap<String, Seen> {
    let records = facts.state.steps.iter().filter_map(|record| {
        let seen = match facts.observed.get(&record.step)? {
            Live::Present(live) => Seen::Present(fields(&record.kind, live)),
            Live::Missing => Seen::Missing,
            Live::NotOurs(_) => Seen::NotOurs,
            Live::Unfinished => Seen::Unfinished,
        };
        Some((record.step.clone(), seen))
    });
    records.collect()
}

fn fields(kind: &str, fields: &Value) -> Fields {
    let fields = names_only(kind, fields);
    let fields = fields.as_object().into_iter().flatten();
    fields
        .map(|(name, value)| (name.clone(), digest(value)))
        .collect()
}

/// A text that no other value has.
fn digest(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(value.to_string()))[..16].to_owned()
}
