//! What others have put into the stack: listed by `plan`, `up`, `status`, `verify` and `down`, and what comes of it.
//!
//! Must not change anything.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::ui::Ui;
use crate::aws::Aws;
use crate::engine::plan::Plan;
use crate::error::Failure;
use crate::foreign::{Foreign, Item, Kind, Ours, foreign};
use crate::report::Event;
use crate::report::event::Operation;
use crate::resource::{Cx, Resource, Result};
use crate::resources::{
    Authorizer, Client, Function, Path, Permission, ResourceServer, RestApi, Role, RolePolicy, Route, Stage,
    UserPool, client, revive,
};
use crate::state::{Record, State};

/// Containers that are looked into at once.
const AT_ONCE: usize = 32;

/// How much is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    All,
    /// What a deletion of the stack takes along and somebody would miss: users, clients, methods, paths and stages.
    GoesAlong,
}

/// What others have in the stack, in the order of the state file. With `aws` for a survey it takes part in that one's reads.
///
/// # Errors
/// A record cannot be understood, or a read failed; the step is named.
pub async fn look(aws: &Rc<Aws>, state: &State, extent: Extent) -> Result<Vec<Foreign>> {
    let looks = state.steps.iter().map(|record| async move {
        let cx = Cx::new(aws.clone(), Rc::new(|_| ()));
        let found = look_into(&cx, state, record, extent).await;
        found.with_context(|| format!("cannot read what others have put into step {}", record.step))
    });
    let found: Vec<Vec<Foreign>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    Ok(found.concat())
}

async fn look_into(cx: &Cx<Aws>, state: &State, record: &Record, extent: Extent) -> Result<Vec<Foreign>> {
    let all = extent == Extent::All;
    let is_container = match record.kind.as_str() {
        RestApi::KIND | UserPool::KIND => true,
        Function::KIND | Role::KIND => all,
        _ => false,
    };
    let Some(output) = record.output.as_ref().filter(|_| is_container) else {
        return Ok(Vec::new());
    };
    let id = &revive(&record.kind, &record.desired)?.id(output)?;
    let mut live: Vec<Item> = Vec::new();
    match record.kind.as_str() {
        RestApi::KIND => {
            let ours = authorizers(state, id);
            let (methods, stages) = tokio::try_join!(cx.methods_in(id, &ours), cx.stages_in(id))?;
            live.extend(methods);
            live.extend(stages);
            if all {
                live.extend(cx.authorizers_in(id, &ours).await?);
            }
        }
        UserPool::KIND => {
            let (users, clients) = tokio::try_join!(cx.users_in(id), cx.clients_in(id))?;
            live.extend(users);
            live.extend(clients);
            if all {
                live.extend(cx.servers_in(id).await?);
            }
        }
        Function::KIND => live.extend(cx.statements_in(id).await?),
        _ => live.extend(cx.policies_in(id).await?),
    }
    Ok(foreign(&record.step, live, &ours(state, id)))
}

/// The ids of the stack's authorizers of this API.
fn authorizers(state: &State, api: &str) -> BTreeSet<String> {
    let records = state.steps.iter();
    let records = records.filter(|record| record.kind == Authorizer::KIND && record.desired["api"] == api);
    let ids = records.filter_map(|record| record.output.as_ref()?["id"].as_str());
    ids.map(str::to_owned).collect()
}

/// What is on record of this container.
fn ours(state: &State, container: &str) -> Ours {
    let mut ours = Ours::default();
    for record in &state.steps {
        let field = |name: &str| record.desired[name].as_str().unwrap_or_default();
        let output = |name: &str| {
            let output = record.output.as_ref();
            output.and_then(|output| output[name].as_str()).map(str::to_owned)
        };
        // Where the id is the name, an interrupted creation has it as well.
        let (within, kind, id, alias) = match record.kind.as_str() {
            Path::KIND => (field("api"), Kind::Path, output("id"), place(record)),
            Route::KIND => {
                let id = format!("{}/{}", field("path"), field("verb"));
                (field("api"), Kind::Method, Some(id), String::new())
            }
            Stage::KIND => (
                field("api"),
                Kind::Stage,
                Some(field("name").to_owned()),
                String::new(),
            ),
            Authorizer::KIND => {
                let arns = record.desired["pool_arns"].as_array().into_iter().flatten();
                if field("api") == container {
                    ours.ids.extend(
                        arns.filter_map(Value::as_str)
                            .map(|arn| (Kind::Pool, arn.to_owned())),
                    );
                }
                (
                    field("api"),
                    Kind::Authorizer,
                    output("id"),
                    field("name").to_owned(),
                )
            }
            Client::KIND => (
                field("pool"),
                Kind::Client,
                output("client_id"),
                field("name").to_owned(),
            ),
            ResourceServer::KIND => {
                let id = field("identifier").to_owned();
                (field("pool"), Kind::ResourceServer, Some(id), String::new())
            }
            Permission::KIND => {
                let id = field("statement").to_owned();
                (field("function"), Kind::Statement, Some(id), String::new())
            }
            RolePolicy::KIND => (
                field("role"),
                Kind::InlinePolicy,
                Some(field("name").to_owned()),
                String::new(),
            ),
            _ => continue,
        };
        if within == container {
            match id {
                Some(id) => ours.ids.insert((kind, id)),
                None => ours.aliases.insert((kind, alias)),
            };
        }
    }
    ours
}

/// What tells a path from others before it has an id.
fn place(record: &Record) -> String {
    let field = |name: &str| record.desired[name].as_str().unwrap_or_default();
    format!("{}/{}", field("parent"), field("part"))
}

/// Marks the clients of others whose tokens a route of ours lets in, with one read of each.
///
/// # Errors
/// A read failed.
pub async fn judge_clients(aws: &Rc<Aws>, state: &State, found: &mut [Foreign]) -> Result<()> {
    let cx = &Cx::new(aws.clone(), Rc::new(|_| ()));
    let routes = state.steps.iter().filter(|record| record.kind == Route::KIND);
    let scopes = routes.flat_map(|record| record.desired["scopes"].as_array().into_iter().flatten());
    let scopes: &BTreeSet<&str> = &scopes.filter_map(Value::as_str).collect();
    let judging = found
        .iter_mut()
        .filter(|one| one.kind == Kind::Client)
        .map(|one| async move {
            let pool = state
                .record(&one.step)
                .and_then(|record| record.output.as_ref()?["id"].as_str());
            let has = client::scopes(cx, pool.unwrap_or_default(), &one.id).await?;
            let shared: Vec<&str> = has
                .iter()
                .map(String::as_str)
                .filter(|scope| scopes.contains(scope))
                .collect();
            if !shared.is_empty() {
                one.finding = Some(format!(
                    "its tokens are let in: it has the scopes {}",
                    shared.join(", ")
                ));
            }
            anyhow::Ok(())
        });
    let mut judging = stream::iter(judging).buffer_unordered(AT_ONCE);
    while let Some(judged) = judging.next().await {
        judged?;
    }
    Ok(())
}

/// What of others is on or below each of our paths, by the path's step: AWS would delete it with the path.
pub fn occupied(state: &State, found: &[Foreign]) -> BTreeMap<String, String> {
    let paths = state.steps.iter().filter(|record| record.kind == Path::KIND);
    let occupied = paths.filter_map(|record| {
        let id = match &record.output {
            Some(output) => output["id"].as_str()?.to_owned(),
            None => place(record),
        };
        let below = found.iter().filter(|one| one.paths.contains(&id));
        let names: Vec<String> = below.map(|one| format!("{} {}", one.kind, one.name)).collect();
        (!names.is_empty()).then(|| (record.step.clone(), names.join(", ")))
    });
    occupied.collect()
}

/// Tells it, a line each: on stderr, and with `--json` as events.
pub fn tell(found: &[Foreign], ui: &Ui) {
    for one in found {
        ui.event(&Event::Foreign(one.clone()));
    }
}

/// For people, after a table: a line each.
pub fn text(found: &[Foreign]) -> String {
    let lines: Vec<String> = (found.iter())
        .map(|one| format!("\nforeign: {}", one.line()))
        .collect();
    lines.concat()
}

/// An error where the plan would deploy a method of others that anyone but the stack's clients can call.
pub fn refuse(plan: &Plan, found: &[Foreign], allow: bool) -> Result<(), Failure> {
    let deploys = plan.steps.iter().any(|step| {
        let acts = [Operation::Create, Operation::Update, Operation::Replace].contains(&step.action);
        step.kind == crate::resources::Deployment::KIND && acts
    });
    // One in place of a route that is to be made is guarded before it is deployed.
    let made: BTreeSet<&str> = plan
        .with(Operation::Create)
        .filter(|step| step.kind == Route::KIND)
        .filter_map(|step| step.step.strip_prefix("route:"))
        .collect();
    let open: Vec<&Foreign> = (found.iter())
        .filter(|one| one.kind == Kind::Method && one.finding.is_some() && !made.contains(one.name.as_str()))
        .collect();
    if allow || !deploys || open.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::usage(
        "`up` would deploy methods that are not the stack's and that its authorizer does not guard: nothing was changed",
    );
    failure.details = open.iter().map(|one| one.line()).collect();
    Err(failure
        .hinted(
            "delete them (`aws apigateway delete-method`), or give them the stack's authorizer and scopes",
        )
        .hinted("or pass --allow-foreign to deploy them as they are"))
}

/// What of others goes with the containers that the plan replaces or deletes.
pub fn goes_along<'a>(plan: &Plan, found: &'a [Foreign]) -> Vec<&'a Foreign> {
    let gone: BTreeSet<&str> = [Operation::Replace, Operation::Delete]
        .into_iter()
        .flat_map(|change| plan.with(change).map(|step| step.step.as_str()))
        .collect();
    found
        .iter()
        .filter(|one| gone.contains(one.step.as_str()))
        .collect()
}

/// For the question before a deletion.
pub fn and_with_them(number: usize) -> String {
    match number {
        0 => String::new(),
        1 => ", and with them 1 thing of others that is listed above".to_owned(),
        _ => format!(", and with them {number} things of others that are listed above"),
    }
}
