//! `up`: creates the stack, or goes on where an interrupted run stopped.
//!
//! Must not begin before everything that can be checked without AWS is checked.

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::outputs::{Outputs, complete};
use super::session::{self, Session};
use super::talk::Talk;
use crate::cli::Global;
use crate::engine::{Engine, RunResult, Store};
use crate::error::{Failure, Kind};
use crate::report::Event;
use crate::report::event::Ended;
use crate::resource::Result;
use crate::resources;
use crate::state::{FORMAT, State, StateFile};
use crate::{engine, stack};

/// Runs it.
pub async fn run(global: &Global, talk: &Talk) -> Result<(), Failure> {
    let config = session::config(global)?;
    let packages = session::packages(&config)?;
    let mut file = session::state_file(global, &config.stack);
    // Before anything else, so that a state that cannot be used is refused without a call.
    session::load_state(&file)?;
    let session = Session::open(global, config.region.as_deref(), talk).await?;
    let _lock = session::lock(global, &config.stack, "up")?;
    let mut state = match session::load_state(&file)? {
        Some(state) => {
            session.check(&state)?;
            state
        }
        None => fresh(&config.stack, &session)?,
    };
    let stack = stack::stack(&config, &session.identity, &state.owner, &packages);
    let stop = session::stop_signal()?;
    let mut told = Ok(());
    let mut report = |event: Event| {
        if told.is_ok() {
            told = talk.event(&event);
        }
    };
    let mut engine = Engine {
        cloud: session.aws.clone(),
        revive: resources::revive,
        state: &mut state,
        store: &mut file,
        report: &mut report,
        stop,
    };
    let result = engine::up::up(&mut engine, &stack)
        .await
        .map_err(session::unusable)?;
    let outputs = if result.is_done() {
        Some(complete(&state)?)
    } else {
        None
    };
    report(ended(&result, outputs.as_ref()));
    told?;
    if let Some(outputs) = outputs {
        if !talk.is_json() {
            print(talk, &outputs)?;
        }
        let sandbox = if global.sandbox { " --sandbox" } else { "" };
        let named = global
            .stack
            .as_ref()
            .map(|name| format!(" --stack {name}"))
            .unwrap_or_default();
        if let Some(route) = config.routes.first() {
            talk.say(&format!(
                "try: provision call {} {}{sandbox}{named}",
                route.verb, route.path
            ));
        }
        return Ok(());
    }
    Err(failure(result, "up"))
}

fn fresh(stack: &str, session: &Session) -> Result<State, Failure> {
    let mut owner = [0; 4];
    getrandom::fill(&mut owner).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    let identity = session.identity.clone();
    Ok(State {
        format: FORMAT,
        stack: stack.to_owned(),
        account: identity.account,
        region: identity.region,
        partition: identity.partition,
        endpoint: identity.endpoint,
        owner: format!("{:08x}", u32::from_be_bytes(owner)),
        serial: 0,
        steps: Vec::new(),
    })
}

fn print(talk: &Talk, outputs: &Outputs) -> std::io::Result<()> {
    for (name, value) in [
        ("api_url", &outputs.api_url),
        ("token_url", &outputs.token_url),
        ("issuer", &outputs.issuer),
        ("user_pool_id", &outputs.user_pool_id),
        ("region", &outputs.region),
    ] {
        talk.data(&format!("{name}: {value}"))?;
    }
    for (name, client) in &outputs.clients {
        talk.data(&format!("clients.{name}.client_id: {}", client.client_id))?;
    }
    Ok(())
}

/// The last event of a run.
pub(super) fn ended(result: &RunResult, outputs: Option<&Outputs>) -> Event {
    Event::Ended {
        result: if result.is_done() {
            Ended::Done
        } else if result.interrupted && result.failed.is_empty() {
            Ended::Interrupted
        } else {
            Ended::Failed
        },
        changed: result.changed,
        outputs: serde_json::to_value(outputs).unwrap_or(Value::Null),
    }
}

/// Why a run is not done, and how to go on.
pub(super) fn failure(result: RunResult, command: &str) -> Failure {
    let held: Vec<&str> = result.held_back.iter().map(|(step, _)| step.as_str()).collect();
    let resume = format!("run `provision {command}` again: it goes on where this run stopped");
    let others: Vec<&str> = result
        .failed
        .iter()
        .skip(1)
        .map(|(step, _)| step.as_str())
        .collect();
    let mut also = String::new();
    if !others.is_empty() {
        also = format!("; also failed: {}", others.join(", "));
    }
    if !held.is_empty() {
        also = format!("{also}; held back: {}", held.join(", "));
    }
    let Some((step, error)) = result.failed.into_iter().next() else {
        let message = if result.interrupted {
            anyhow!("interrupted; what was running is done and on record")
        } else {
            anyhow!("not everything could begin{also}")
        };
        let kind = if result.interrupted {
            Kind::Interrupted
        } else {
            Kind::Failed
        };
        return Failure::new(kind, message).hinted(resume);
    };
    let error = error.context(format!("step {step} failed{also}"));
    session::hinted(Failure::from(error)).hinted(resume)
}

impl Store for StateFile {
    fn save(&mut self, state: &State) -> Result<()> {
        StateFile::save(self, state).context("the state cannot be recorded")
    }
}
