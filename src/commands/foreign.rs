//! What others have put into the stack: listed by `plan`, `up`, `status`, `verify` and `down`, and what comes of it.
//!
//! Must not change anything.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::recorded::{ByKind, Entry};
use super::ui::Ui;
use crate::aws::Aws;
use crate::engine::down::NotOurs;
use crate::engine::plan::Plan;
use crate::error::Failure;
use crate::foreign::{Foreign, Item, Kind, Ours, foreign};
use crate::report::event::Operation;
use crate::report::{Event, TimedEvent};
use crate::resource::{Cx, Resource, Result};
use crate::resources::{
    Authorizer, BasePathMapping, Client, DomainName, Function, KINDS, Path, Permission, ResourceServer,
    RestApi, Role, RoleAttachment, RolePolicy, Route, Stage, UserPool, client,
};
use crate::stack;
use crate::state::{Record, State};

/// Containers that are looked into at once.
const AT_ONCE: usize = 32;

/// How much is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    All,
    /// What a deletion of the stack takes along and somebody would miss: users, clients, methods, paths and stages. And the
    /// policies of roles and the mappings of domains, which keep them from being deleted.
    GoesAlong,
}

/// Whether what this is in is not deleted while it is there: IAM refuses that, and a domain would take it along.
pub(super) fn blocks(one: &Foreign) -> bool {
    matches!(one.kind, Kind::InlinePolicy | Kind::ManagedPolicy | Kind::Mapping)
}

/// What others have in the stack, in the order of the state file. With `aws` for a survey it takes part in that one's reads.
///
/// # Errors
/// A record cannot be understood, or a read failed; the step is named.
pub(super) async fn look(aws: &Rc<Aws>, state: &State, extent: Extent) -> Result<Vec<Foreign>> {
    let ours = &on_record(state)?;
    let looks = state.steps.iter().map(|record| async move {
        let cx = Cx::new(aws.clone(), Rc::new(|_| ()));
        let found = look_into(&cx, ours, record, extent).await;
        found.with_context(|| format!("cannot read what others have put into step {}", record.step))
    });
    let found: Vec<Vec<Foreign>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    Ok(found.concat())
}

async fn look_into(
    cx: &Cx<Aws>,
    ours: &BTreeMap<String, Ours>,
    record: &Record,
    extent: Extent,
) -> Result<Vec<Foreign>> {
    let all = extent == Extent::All;
    let is_container = match record.kind.as_str() {
        RestApi::NAME | UserPool::NAME | Role::NAME | DomainName::NAME => true,
        Function::NAME => all,
        _ => false,
    };
    let Some(output) = record.output.as_ref().filter(|_| is_container) else {
        return Ok(Vec::new());
    };
    let id = &KINDS.revive(&record.kind, &record.desired)?.id(output)?;
    let nothing = Ours::default();
    let ours = ours.get(id).unwrap_or(&nothing);
    let mut live: Vec<Item> = Vec::new();
    match record.kind.as_str() {
        RestApi::NAME => {
            let authorizers = authorizers(ours);
            let (methods, stages) = tokio::try_join!(cx.methods_in(id, &authorizers), cx.stages_in(id))?;
            live.extend(methods);
            live.extend(stages);
            if all {
                live.extend(cx.authorizers_in(id, &authorizers).await?);
            }
        }
        UserPool::NAME => {
            let (users, clients) = tokio::try_join!(cx.users_in(id), cx.clients_in(id))?;
            live.extend(users);
            live.extend(clients);
            if all {
                live.extend(cx.servers_in(id).await?);
            }
        }
        Function::NAME => live.extend(cx.statements_in(id).await?),
        DomainName::NAME => live.extend(cx.mappings_in(id).await?),
        _ => live.extend(cx.policies_in(id).await?),
    }
    Ok(foreign(&record.step, live, ours))
}

/// The ids of the stack's authorizers.
fn authorizers(ours: &Ours) -> BTreeSet<String> {
    let authorizers = (ours.ids.iter()).filter(|(kind, _)| *kind == Kind::Authorizer);
    authorizers.map(|(_, id)| id.clone()).collect()
}

/// What is on record of each container, by the container's id. A function and its role have one name, and content of other
/// kinds. Where the id of the content is its name, an interrupted creation has it as well.
fn on_record(state: &State) -> Result<BTreeMap<String, Ours>> {
    let mut containers: BTreeMap<String, Ours> = BTreeMap::new();
    let mut add = |container: &str, kind: Kind, id: Option<String>, alias: String| {
        let ours = containers.entry(container.to_owned()).or_default();
        match id {
            Some(id) => ours.ids.insert((kind, id)),
            None => ours.aliases.insert((kind, alias)),
        };
    };
    let none = String::new;
    for Entry {
        desired: path,
        output,
        ..
    } in state.all::<Path>()?
    {
        let alias = place(&path);
        let id = output.map(|output| output.id.to_string());
        add(path.api.as_str(), Kind::Path, id, alias);
    }
    for Entry { desired: route, .. } in state.all::<Route>()? {
        let id = format!("{}/{}", route.path, route.verb);
        add(route.api.as_str(), Kind::Method, Some(id), none());
    }
    for Entry { desired: stage, .. } in state.all::<Stage>()? {
        add(stage.api.as_str(), Kind::Stage, Some(stage.name), none());
    }
    for Entry {
        desired: authorizer,
        output,
        ..
    } in state.all::<Authorizer>()?
    {
        for arn in authorizer.pool_arns {
            add(authorizer.api.as_str(), Kind::Pool, Some(arn), none());
        }
        let id = output.map(|output| output.id.to_string());
        add(authorizer.api.as_str(), Kind::Authorizer, id, authorizer.name);
    }
    for Entry {
        desired: client,
        output,
        ..
    } in state.all::<Client>()?
    {
        let id = output.map(|output| output.client_id.to_string());
        add(client.pool.as_str(), Kind::Client, id, client.name);
    }
    for Entry { desired: server, .. } in state.all::<ResourceServer>()? {
        add(
            server.pool.as_str(),
            Kind::ResourceServer,
            Some(server.identifier),
            none(),
        );
    }
    for Entry {
        desired: permission, ..
    } in state.all::<Permission>()?
    {
        add(
            &permission.function,
            Kind::Statement,
            Some(permission.statement),
            none(),
        );
    }
    for Entry { desired: mapping, .. } in state.all::<BasePathMapping>()? {
        add(&mapping.domain, Kind::Mapping, Some(mapping.base_path), none());
    }
    for Entry { desired: policy, .. } in state.all::<RolePolicy>()? {
        add(&policy.role, Kind::InlinePolicy, Some(policy.name), none());
    }
    for Entry {
        desired: attachment, ..
    } in state.all::<RoleAttachment>()?
    {
        add(
            &attachment.role,
            Kind::ManagedPolicy,
            Some(attachment.policy_arn),
            none(),
        );
    }
    Ok(containers)
}

/// What tells a path from others before it has an id.
fn place(path: &Path) -> String {
    format!("{}/{}", path.parent, path.part)
}

/// Marks the clients of others whose tokens a route of ours lets in, with one read of each.
///
/// # Errors
/// A read failed.
pub(super) async fn judge_clients(aws: &Rc<Aws>, state: &State, found: &mut [Foreign]) -> Result<()> {
    let cx = &Cx::new(aws.clone(), Rc::new(|_| ()));
    let routes = state.all::<Route>()?.into_iter();
    let scopes: &BTreeSet<String> = &routes.flat_map(|route| route.desired.scopes).collect();
    let Some(pool) = state.one::<UserPool>()?.and_then(|pool| pool.output) else {
        return Ok(());
    };
    if scopes.is_empty() {
        return Ok(());
    }
    let pool = &pool.id;
    let judging = found
        .iter_mut()
        .filter(|one| one.kind == Kind::Client)
        .map(|one| async move {
            let has = client::scopes(cx, pool, &one.id.as_str().into()).await?;
            let shared: Vec<&str> = has
                .iter()
                .map(String::as_str)
                .filter(|scope| scopes.contains(*scope))
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
pub(super) fn occupied(state: &State, found: &[Foreign]) -> Result<BTreeMap<String, String>> {
    let paths = state.all::<Path>()?.into_iter();
    let occupied = paths.filter_map(|path| {
        let id = path
            .output
            .map_or_else(|| place(&path.desired), |output| output.id.to_string());
        let below = found.iter().filter(|one| one.paths.contains(&id));
        let names: Vec<String> = below.map(|one| format!("{} {}", one.kind, one.name)).collect();
        (!names.is_empty()).then(|| (path.step, names.join(", ")))
    });
    Ok(occupied.collect())
}

/// Tells it, a line each: on stderr, and with `--json` as events. What breaks a promise of the stack is told with `-q` as well.
pub(super) fn tell(found: &[Foreign], ui: &Ui) {
    for one in found {
        ui.event(&TimedEvent {
            at: Duration::ZERO,
            event: Event::Foreign(one.clone()),
        });
        if ui.is_quiet() && one.finding.is_some() {
            ui.warn(&format!("foreign: {}", one.line()));
        }
    }
}

/// For people, after a table: a line each.
pub(super) fn text(found: &[Foreign]) -> String {
    let lines: Vec<String> = (found.iter())
        .map(|one| format!("\nforeign: {}", one.line()))
        .collect();
    lines.concat()
}

/// An error where the plan would deploy a method of others that anyone but the stack's clients can call.
pub(super) fn refuse(plan: &Plan, found: &[Foreign], allow: bool) -> Result<(), Failure> {
    refuse_blocked(plan, found)?;
    refuse_shared(plan, found)?;
    let deploys = plan.steps.iter().any(|step| {
        let acts = [Operation::Create, Operation::Update, Operation::Replace].contains(&step.action);
        step.kind == crate::resources::Deployment::NAME && acts
    });
    // One in place of a route that is to be made is guarded before it is deployed.
    let made: BTreeSet<&str> = plan
        .with(Operation::Create)
        .map(|step| step.step.as_str())
        .collect();
    let open: Vec<&Foreign> = (found.iter())
        .filter(|one| {
            one.kind == Kind::Method
                && one.finding.is_some()
                && !made.contains(stack::route(&one.name).as_str())
        })
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

/// An error where the plan would replace a role that has policies of others: its own would be gone before IAM refuses that.
fn refuse_blocked(plan: &Plan, found: &[Foreign]) -> Result<(), Failure> {
    let replaced: BTreeSet<&str> = plan
        .with(Operation::Replace)
        .map(|step| step.step.as_str())
        .collect();
    let blocked: Vec<&Foreign> = (found.iter())
        .filter(|one| blocks(one) && replaced.contains(one.step.as_str()))
        .collect();
    if blocked.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::usage(
        "`up` would replace a role, and IAM does not delete a role that has policies of others: nothing was changed",
    );
    failure.details = blocked.iter().map(|one| one.line()).collect();
    Err(failure
        .hinted("detach them (`aws iam detach-role-policy`) or delete them (`aws iam delete-role-policy`)"))
}

/// An error where the plan would delete a domain that others use as well.
fn refuse_shared(plan: &Plan, found: &[Foreign]) -> Result<(), Failure> {
    let goes = |one: &Foreign| plan.with(Operation::Delete).any(|step| step.step == one.step);
    let shared = shared(found, goes);
    if shared.is_empty() {
        return Ok(());
    }
    let failure = Failure::usage(
        "`up` would delete a domain that others use, and AWS deletes their mappings with it: nothing was changed",
    );
    Err(with_shared(failure, &shared).hinted("or leave the domain in [api.domain]"))
}

/// An error where a deletion of the stack would delete a domain that others use as well. A domain that is not the stack's any
/// more is not deleted.
pub(super) fn refuse_shared_domain(found: &[Foreign], not_ours: &NotOurs) -> Result<(), Failure> {
    let shared = shared(found, |one| !not_ours.contains_key(&one.step));
    if shared.is_empty() {
        return Ok(());
    }
    let failure = Failure::usage(
        "`down` would delete a domain that others use, and AWS deletes their mappings with it: nothing was deleted",
    );
    Err(with_shared(failure, &shared))
}

fn shared(found: &[Foreign], goes: impl Fn(&Foreign) -> bool) -> Vec<&Foreign> {
    let mappings = found.iter().filter(|one| one.kind == Kind::Mapping);
    mappings.filter(|one| goes(one)).collect()
}

fn with_shared(mut failure: Failure, shared: &[&Foreign]) -> Failure {
    failure.details = shared.iter().map(|one| one.line()).collect();
    failure.hinted(
        "delete the stacks that made the mappings first, or the mappings (`aws apigateway delete-base-path-mapping`)",
    )
}

/// What of others goes with the containers that the plan replaces or deletes.
pub(super) fn goes_along<'a>(plan: &Plan, found: &'a [Foreign]) -> Vec<&'a Foreign> {
    let gone: BTreeSet<&str> = [Operation::Replace, Operation::Delete]
        .into_iter()
        .flat_map(|change| plan.with(change).map(|step| step.step.as_str()))
        .collect();
    found
        .iter()
        .filter(|one| gone.contains(one.step.as_str()) && !blocks(one))
        .collect()
}

/// For the question before a deletion.
pub(super) fn and_with_them(number: usize) -> String {
    match number {
        0 => String::new(),
        1 => ", and with them 1 thing of others that is listed above".to_owned(),
        _ => format!(", and with them {number} things of others that are listed above"),
    }
}
