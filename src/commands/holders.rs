//! The clients outside the stack that hold scopes which are about to go: Cognito deletes a scope that is in use without a word, and
//! then leaves it out of the tokens.
//!
//! Must not read the clients of others unless that was asked for: AWS's answer has their secrets.

use std::collections::BTreeSet;
use std::rc::Rc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::recorded::{ByKind, Entry};
use crate::aws::Aws;
use crate::aws::ids::PoolId;
use crate::cli::Breaking;
use crate::engine::plan::Plan;
use crate::error::Failure;
use crate::foreign::Item;
use crate::mark;
use crate::report::event::Operation;
use crate::resource::{Cx, Result};
use crate::resources::{Client, ResourceServer, SharedPool, UserPool, client};
use crate::state::{Phase, State};
use crate::untrusted::printable;

/// How many clients are read at once. Cognito answers five such calls a second of a pool.
const AT_ONCE: usize = 5;
/// How many clients are named one by one.
const SHOWN: usize = 20;

/// Refuses a plan that takes scopes from clients outside the stack.
///
/// # Errors
/// There are such clients, and it was not said that they may break; or they cannot be read.
pub(super) async fn refuse(
    aws: &Rc<Aws>,
    state: &State,
    plan: &Plan,
    breaking: &Breaking,
) -> Result<(), Failure> {
    check(
        aws,
        state,
        &going(plan, state)?,
        |_| true,
        breaking,
        "nothing was changed",
    )
    .await
}

/// Refuses a deletion of the stack that takes scopes from clients outside, or a pool from other stacks.
///
/// # Errors
/// As [`refuse`].
pub(super) async fn refuse_down(aws: &Rc<Aws>, state: &State, breaking: &Breaking) -> Result<(), Failure> {
    let mut scopes = BTreeSet::new();
    for server in servers(state)? {
        scopes.extend(full(&server.desired));
    }
    // What somebody put into the stack's own pool by hand is listed, and goes with the pool.
    let is_own = state.one::<UserPool>()?.is_some();
    let counts = |client: &Item| !is_own || mark::read(&client.name).is_some();
    let going = if is_own {
        Going::Pool
    } else {
        Going::Scopes(scopes)
    };
    check(aws, state, &going, counts, breaking, "nothing was deleted").await
}

/// What clients outside would lose.
enum Going {
    /// These scopes.
    Scopes(BTreeSet<String>),
    /// Themselves.
    Pool,
}

/// The resource servers on record but those that an earlier run has begun to delete: their scopes may be gone.
fn servers(state: &State) -> Result<Vec<Entry<ResourceServer>>> {
    let mut servers = state.all::<ResourceServer>()?;
    servers.retain(|server| {
        let record = state.record(&server.step);
        record.is_none_or(|record| record.phase != Phase::Deleting)
    });
    Ok(servers)
}

/// The full scopes of a resource server.
fn full(server: &ResourceServer) -> impl Iterator<Item = String> {
    let scopes = server.scopes.keys();
    scopes.map(|scope| format!("{}/{scope}", server.identifier))
}

/// The scopes that a plan takes away.
fn going(plan: &Plan, state: &State) -> Result<Going> {
    let mut going = BTreeSet::new();
    for server in servers(state)? {
        let planned = plan.steps.iter().find(|planned| planned.step == server.step);
        let Some(planned) = planned else { continue };
        match planned.action {
            Operation::Delete | Operation::Replace => going.extend(full(&server.desired)),
            Operation::Update => {
                let fields = planned.fields.iter().filter(|field| field.field == "scopes");
                for field in fields {
                    let names = |value: &Value| -> BTreeSet<String> {
                        value
                            .as_object()
                            .into_iter()
                            .flat_map(|map| map.keys().cloned())
                            .collect()
                    };
                    let gone = &names(&field.before) - &names(&field.after);
                    going.extend(
                        gone.iter()
                            .map(|scope| format!("{}/{scope}", server.desired.identifier)),
                    );
                }
            }
            _ => {}
        }
    }
    Ok(Going::Scopes(going))
}

async fn check(
    aws: &Rc<Aws>,
    state: &State,
    going: &Going,
    counts: impl Fn(&Item) -> bool,
    breaking: &Breaking,
    nothing: &str,
) -> Result<(), Failure> {
    let is_harmless = matches!(going, Going::Scopes(scopes) if scopes.is_empty());
    let Some(pool) = pool(state)?.filter(|_| !is_harmless) else {
        return Ok(());
    };
    let cx = Cx::new(aws.clone(), Rc::new(|_| ()));
    let mut ours = BTreeSet::new();
    // One that an interrupted run has made has no id on record yet.
    let mut begun = BTreeSet::new();
    for client in state.all::<Client>()? {
        match client.output {
            Some(output) => ours.insert(output.client_id.to_string()),
            None => begun.insert(client.desired.full_name()),
        };
    }
    let mut outside = cx.clients_in(pool.as_str()).await.map_err(anyhow::Error::from)?;
    outside.retain(|client| !ours.contains(&client.id) && !begun.contains(&client.name) && counts(client));
    let may_break = |client: &Item| {
        let named = breaking.yes_break.iter();
        let mut named = named.map(String::as_str);
        named.any(|name| name == "all" || name == client.id || name == client.name)
    };
    outside.retain(|client| !may_break(client));
    let (scopes, is_read) = match going {
        Going::Scopes(scopes) if breaking.read_clients => {
            outside = holders(&cx, &pool, scopes, outside).await?;
            (Some(scopes), true)
        }
        Going::Scopes(scopes) => (Some(scopes), false),
        Going::Pool => (None, false),
    };
    if outside.is_empty() {
        return Ok(());
    }
    Err(refusal(&outside, scopes, is_read, nothing))
}

/// The pool that the stack is in, as it is on record.
fn pool(state: &State) -> Result<Option<PoolId>> {
    let own = state.one::<UserPool>()?.and_then(|pool| Some(pool.output?.id));
    let shared = state.one::<SharedPool>()?.and_then(|pool| Some(pool.output?.id));
    Ok(own.or(shared))
}

/// Those of `outside` that hold one of these scopes, with one read of each.
async fn holders(
    cx: &Cx<Aws>,
    pool: &PoolId,
    going: &BTreeSet<String>,
    outside: Vec<Item>,
) -> Result<Vec<Item>> {
    let reads = stream::iter(outside).map(async |one| {
        let has = client::scopes(cx, pool, &one.id.as_str().into()).await?;
        anyhow::Ok((!has.is_disjoint(going)).then_some(one))
    });
    let found: Vec<Option<Item>> = reads.buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

fn refusal(outside: &[Item], going: Option<&BTreeSet<String>>, is_read: bool, nothing: &str) -> Failure {
    let number = match outside.len() {
        1 => "1 client".to_owned(),
        number => format!("{number} clients"),
    };
    let why = match (going, is_read) {
        (None, _) => format!("{number} of other stacks would be deleted with the user pool"),
        (Some(scopes), true) => format!("{number} outside this stack would lose {}", names(scopes)),
        (Some(scopes), false) => format!(
            "{number} outside this stack may hold {}, which would be deleted: AWS tells only together with their secrets",
            names(scopes)
        ),
    };
    let mut failure = Failure::usage(format!("{why}: {nothing}"));
    let shown = outside.iter().take(SHOWN);
    failure.details = shown
        .map(|client| printable(&format!("client {} ({})", client.name, client.id)))
        .collect();
    if let Some(more) = outside.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        failure.details.push(format!("and {more} more"));
    }
    if going.is_some() && !is_read {
        failure = failure.hinted(
            "pass --read-clients to have each of them read, and its secret dropped, to see which hold what goes",
        );
    }
    failure.hinted("ask who runs them; then pass --yes-break with the name or id of each, or with `all`")
}

fn names(scopes: &BTreeSet<String>) -> String {
    let all: Vec<&str> = scopes.iter().map(String::as_str).collect();
    match all.len() {
        0..=5 => all.join(", "),
        number => format!("{} and {} other scopes", all[..4].join(", "), number - 4),
    }
}
