//! `state`: a bucket for states, and where a stack's state is.
//!
//! Must not change what is on record.

use anyhow::Context;
use serde_json::json;

use super::configuration;
use super::confirm;
use super::document::document;
use super::invocation::Invocation;
use super::open::{self, Connection, Reached};
use super::ui::Ui;
use crate::cli::StateAction;
use crate::error::Failure;
use crate::lease::Fence;
use crate::location::{Location, Prefix};
use crate::state::{Bucket, S3Store, Safeguard, State, Store};

/// Runs it.
pub(super) async fn run(invocation: &Invocation, action: &StateAction, ui: &Ui) -> Result<(), Failure> {
    match action {
        StateAction::Init {
            location,
            kms_key,
            yes,
        } => match location {
            Location::S3(prefix) => {
                let configured = configuration::place_at(invocation, location)?.kms_key;
                init(invocation, prefix, kms_key.clone().or(configured), *yes, ui).await
            }
            Location::Folder(_) => Err(Failure::usage("a folder needs no preparation")
                .hinted("name a bucket: provision state init s3://BUCKET/PREFIX")),
        },
        StateAction::Show => show(invocation, ui).await,
        StateAction::Move { to } => Box::pin(move_to(invocation, to, ui)).await,
        StateAction::Unlock { yes } => unlock(invocation, *yes, ui).await,
    }
}

async fn init(
    invocation: &Invocation,
    prefix: &Prefix,
    kms_key: Option<String>,
    yes: bool,
    ui: &Ui,
) -> Result<(), Failure> {
    let connection = Connection::open(invocation, None, ui).await?;
    let here = &connection.identity;
    let place = (
        here.region.as_str(),
        here.partition.as_str(),
        here.account.as_str(),
    );
    let name = &prefix.bucket;
    let mut bucket = Bucket::new(connection.s3(ui), name, place, kms_key.as_deref());
    let exists = (bucket.exists().await)
        .with_context(|| format!("cannot look at bucket {name}, which may be another account's"))?;
    if !exists {
        bucket
            .create()
            .await
            .with_context(|| format!("cannot create bucket {name}"))?;
        ui.progress(&format!("created bucket {name} in {}", here.region));
    }
    let lacks = bucket
        .lacks()
        .await
        .with_context(|| format!("cannot read the settings of bucket {name}"))?;
    let sets = !exists || yes;
    if sets {
        for safeguard in &lacks {
            bucket
                .set(*safeguard)
                .await
                .with_context(|| format!("cannot set {} of bucket {name}", safeguard.name()))?;
            ui.progress(&format!("set: {}", safeguard.name()));
        }
    }
    let names = |all: &[Safeguard]| all.iter().map(|one| one.name()).collect::<Vec<_>>();
    let left: &[Safeguard] = if sets { &[] } else { &lacks };
    if ui.is_json() {
        let content = json!({
            "format": 1, "location": prefix.to_string(), "created": !exists,
            "set": names(if sets { &lacks } else { &[] }), "lacks": names(left),
        });
        ui.data(&serde_json::to_string_pretty(&content)?);
    } else {
        ui.data(&format!("location: {prefix}"));
        for lack in left {
            ui.data(&format!("lacks: {}", lack.name()));
        }
    }
    if left.is_empty() {
        if !exists || lacks.contains(&Safeguard::Versioning) {
            ui.progress("S3 advises to wait 15 minutes after versioning was enabled for the first time");
        }
        return Ok(());
    }
    Err(Failure::usage(format!(
        "bucket {name} exists and was not changed; it lacks what is listed above"
    ))
    .hinted(format!("run `provision state init {prefix} --yes` to set it")))
}

async fn show(invocation: &Invocation, ui: &Ui) -> Result<(), Failure> {
    let stack = configuration::stack_name(invocation)?;
    let reached = open::reach(invocation, &stack, ui).await?;
    let state = reached.load().await?.ok_or_else(|| open::no_state(&stack))?;
    let holder = match reached.object() {
        Some(object) => object.holder().await.map_err(open::state_failure)?,
        None => None,
    };
    let address = reached.address();
    if ui.is_json() {
        let steps: Vec<_> = (state.steps.iter())
            .map(|record| json!({"step": record.step, "kind": record.kind, "phase": record.phase}))
            .collect();
        let held = holder.as_ref().map(|(holder, left)| {
            json!({
                "command": holder.command, "host": holder.host, "process": holder.process, "since": holder.since,
                "seconds_left": left.as_secs(),
            })
        });
        let content = json!({
            "location": address, "owner": state.owner, "serial": state.serial, "lease": held, "steps": steps,
        });
        ui.data(&document(&state, &content)?);
        return Ok(());
    }
    ui.data(&format!("location: {address}"));
    for (name, value) in [
        ("stack", &state.stack),
        ("account", &state.account),
        ("region", &state.region),
        ("owner", &state.owner),
        ("serial", &state.serial.to_string()),
        ("steps", &state.steps.len().to_string()),
    ] {
        ui.data(&format!("{name}: {value}"));
    }
    if let Some((holder, left)) = holder {
        ui.data(&format!(
            "lease: `{}`, process {} on {}, since {}, {} seconds left",
            holder.command,
            holder.process,
            holder.host,
            holder.since,
            left.as_secs()
        ));
    }
    Ok(())
}

async fn move_to(invocation: &Invocation, location: &Location, ui: &Ui) -> Result<(), Failure> {
    let stack = configuration::stack_name(invocation)?;
    let from = open::reach(invocation, &stack, ui).await?;
    let to = open::reach_at(invocation, location, &stack, ui).await?;
    if from.address() == to.address() {
        return Err(Failure::usage(format!(
            "the state is at {} already",
            to.address()
        )));
    }
    let (source, state) = from.lock_to_move("state move", &Fence::open(), ui).await?;
    open::kept(&*source, ui, async {
        let (target, there) = to.lock("state move", &Fence::open(), ui).await?;
        open::kept(
            &*target,
            ui,
            carry((&*source, state), (&*target, there), (location, &to), &stack, ui),
        )
        .await
    })
    .await?;
    ui.progress(&format!(
        "moved: set `state` in [stack], or pass --state, so that commands find it at {}",
        to.address()
    ));
    Ok(())
}

/// At any instant at most one of the two states may be used: the source says where it is going before the target has
/// anything, and goes only once the target has all.
async fn carry(
    (source, state): (&dyn Store, Option<State>),
    (target, there): (&dyn Store, Option<State>),
    (location, to): (&Location, &Reached),
    stack: &str,
    ui: &Ui,
) -> Result<(), Failure> {
    let Some(mut state) = state else {
        return match there {
            Some(_) => {
                ui.progress("the state was moved there before");
                Ok(())
            }
            None => Err(open::no_state(stack)),
        };
    };
    let location = location.to_string();
    if let Some(elsewhere) = state
        .moving_to
        .as_ref()
        .filter(|elsewhere| **elsewhere != location)
    {
        return Err(
            Failure::usage(format!("the state is being moved to {elsewhere}")).hinted(format!(
                "run `provision state move {elsewhere}` first, which finishes that"
            )),
        );
    }
    match there {
        // An interrupted move had come so far.
        Some(there) if state.moving_to.is_some() && there.owner == state.owner => {}
        Some(_) => {
            return Err(Failure::usage(format!(
                "{} has a state of stack {stack} already; nothing was moved",
                to.address()
            )));
        }
        None => {
            if state.moving_to.is_none() {
                state.moving_to = Some(location);
                state.serial += 1;
                source.commit(&state).await.map_err(open::state_failure)?;
            }
            state.moving_to = None;
            state.serial += 1;
            target.commit(&state).await.map_err(open::state_failure)?;
        }
    }
    source.remove().await.map_err(open::state_failure)
}

async fn unlock(invocation: &Invocation, yes: bool, ui: &Ui) -> Result<(), Failure> {
    let stack = configuration::stack_name(invocation)?;
    let reached = open::reach(invocation, &stack, ui).await?;
    let Some(object) = reached.object() else {
        return Err(
            Failure::usage("the lock of a state in a folder cannot be ended by another process")
                .hinted("end the process that holds it: the lock ends with it"),
        );
    };
    let Some((holder, left)) = object.holder().await.map_err(open::state_failure)? else {
        ui.progress("no run has the lease");
        return Ok(());
    };
    if !yes {
        let question = format!(
            "End the lease of `{}`, process {} on {}, which has {} seconds left unless that run renews it?",
            holder.command,
            holder.process,
            holder.host,
            left.as_secs()
        );
        confirm::confirm(
            ui,
            &question,
            "nothing was changed",
            "pass --yes to end it without a question",
        )?;
    }
    let store = S3Store::take_from(object.clone(), open::holder("state unlock"))
        .await
        .map_err(open::state_failure)?;
    store.release().await.map_err(open::state_failure)?;
    ui.progress("ended the lease; if that run still runs, it ends with exit code 4 at its next write");
    Ok(())
}
