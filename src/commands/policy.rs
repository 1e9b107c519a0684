//! `policy`: the IAM policy that an operator of this stack needs, and the trust policy of the pipeline that is one.
//!
//! Must not make any call but the one that tells the account.

use std::collections::BTreeSet;

use serde_json::json;

use super::backends;
use super::configuration;
use super::hand_out;
use super::invocation::Invocation;
use super::open::{self, Loaded};
use super::recorded::{ByKind, separator};
use super::shared_pool;
use super::ui::Ui;
use crate::aws::Identity;
use crate::cli::{self, Destination, PolicyTask};
use crate::config::Config;
use crate::error::{Failure, Hint};
use crate::location::Location;
use crate::operator_policy::{Domains, Parts, Roles, Scope, Task, document};
use crate::pipeline::Pipeline;
use crate::resources::function::Vpc;
use crate::resources::{
    BackendPermission, BasePathMapping, CustomDomain, DomainName, Firewall, Function, RestApi, Role,
    RoleAttachment, SharedPool, UserPool,
};
use crate::stack::{ACCESS_LOG_GROUP, SEPARATOR, backends_of_account};
use crate::state::State;

/// Runs it.
pub(super) async fn run(invocation: &Invocation, args: &cli::Policy, ui: &Ui) -> Result<(), Failure> {
    hand_out::check(&args.to)?;
    let writes = args.commands.contains(&PolicyTask::Secret);
    if args.to.destination.is_some() && !writes {
        return Err(
            Failure::usage("--to is for `secret`, which is not among these commands")
                .hinted("name the command: `provision policy secret` with --to"),
        );
    }
    let (stack, config) = configuration::stack_and_config(invocation)?;
    let state = match args.account {
        Some(_) => None,
        None => (Loaded::find(invocation, &stack, ui).await?).map(|loaded| loaded.state),
    };
    let base = if let Some(state) = state {
        recorded(&state, invocation.region.as_deref())?
    } else {
        let here = identity(invocation, args.account.as_deref(), ui).await?;
        fresh(here, stack, config.is_some())
    };
    let mut scope = configured(base, invocation, config.as_ref(), ui).await?;
    if let Some(Destination::Place(place)) = &args.to.destination {
        scope.hand_out = Some(place.clone());
        scope.hand_out_role.clone_from(&args.to.role);
    }
    let rights = document(&scope, &tasks(&args.commands));
    let document = match &args.trust {
        None => rights,
        Some(pipeline) => {
            let host = args.gitlab_host.as_deref().unwrap_or(GITLAB);
            let trust = pipeline.trust(&scope.partition, &scope.account, host);
            warn(pipeline, ui);
            json!({ "trust": trust, "rights": rights })
        }
    };
    ui.data(&serde_json::to_string_pretty(&document)?);
    Ok(())
}

/// Where the projects of GitLab are that name no host.
const GITLAB: &str = "gitlab.com";

/// Says what a trust policy does not say by itself.
fn warn(pipeline: &Pipeline, ui: &Ui) {
    if pipeline.lacks_ids() {
        ui.warn(
            "GitHub puts the numbers of owner and repository into the claim of a repository that was created, renamed or moved \
             since 15 July 2026, or that asked for it; such a repository does not get this role",
        );
        ui.hint(
            "for such a one pass --trust github:ORG@ID/REPO@ID; `gh api repos/ORG/REPO --jq '.owner.id, .id'` prints the numbers",
        );
    }
}

/// Whose policy it is, where nothing is on record.
async fn identity(invocation: &Invocation, account: Option<&str>, ui: &Ui) -> Result<Identity, Failure> {
    let region = configuration::read(invocation)?.region;
    let Some(account) = account else {
        let here = open::identity(invocation, region.as_deref(), ui).await;
        return here.hint("or name the account with --account: then no credentials are needed");
    };
    if let Some(bound) = configuration::account(invocation)?.filter(|bound| bound != account) {
        return Err(Failure::usage(format!(
            "the environment belongs to account {bound}, and --account says {account}"
        ))
        .hinted("leave out --account, or choose another environment with --env"));
    }
    open::unasked(invocation, region.as_deref(), account).await
}

/// A stack that nothing is on record of.
pub(super) fn fresh(here: Identity, stack: String, has_configuration: bool) -> Scope {
    Scope {
        partition: here.partition,
        account: here.account,
        region: here.region,
        stack,
        owner: None,
        separator: SEPARATOR,
        // Where no configuration is read, it may be any stack.
        parts: if has_configuration {
            Parts::NONE
        } else {
            Parts::ALL
        },
        shared_pools: BTreeSet::new(),
        pools: BTreeSet::new(),
        apis: BTreeSet::new(),
        secrets: BTreeSet::new(),
        hand_out: None,
        hand_out_role: None,
        layers: BTreeSet::new(),
        keys: BTreeSet::new(),
        has_network: false,
        has_access_logs: false,
        web_acls: BTreeSet::new(),
        backends: BTreeSet::new(),
        domains: Domains::default(),
        state: None,
        state_key: None,
        roles: Roles::default(),
    }
}

/// `scope` with what the configuration adds to it.
pub(super) async fn configured(
    mut scope: Scope,
    invocation: &Invocation,
    config: Option<&Config>,
    ui: &Ui,
) -> Result<Scope, Failure> {
    let functions = config.into_iter().flat_map(|config| config.functions.values());
    for function in functions {
        scope.layers.extend(function.layers.iter().cloned());
        scope.keys.extend(function.kms_key.clone());
        scope.has_network |= function.vpc.is_some();
    }
    if let Some(config) = config {
        scope.web_acls.extend(config.api.firewall.clone());
        scope.has_access_logs |= config.api.access_log_days.is_some();
        scope.parts.pool |= config.user_pool.shared.is_none();
        scope.parts.functions |= !config.functions.is_empty();
        scope.parts.api |= !config.routes.is_empty();
        if let Some(named) = &config.user_pool.shared {
            let id = shared_pool::id(invocation, named, ui).await?.0;
            scope.shared_pools.insert(id.to_string());
        }
        let backends = backends_of_account(config, &scope.account);
        let arns: Vec<String> = backends.map(|(_, function)| function.arn()).collect();
        scope.backends.extend(arns);
    }
    if let Some(domain) = config.and_then(|config| config.api.domain.as_ref()) {
        scope.domains.named.insert(domain.name.clone());
        scope.domains.are_called |= domain.close_default_endpoint;
        if let Some(made) = &domain.made {
            scope.domains.made.insert(domain.name.clone());
            let truststore = Some(made.truststore.clone()).filter(|url| !url.is_empty());
            scope.domains.truststores.extend(truststore);
        }
    }
    scope.domains.of_pool |= config.is_some_and(|config| config.user_pool.domain.is_some());
    let clients = config.into_iter().flat_map(|config| config.clients.values());
    scope.secrets = clients.filter_map(|client| client.secret_from.clone()).collect();
    if let Some(config) = config {
        add_configured(&mut scope.roles, config);
    }
    let place = configuration::place(invocation)?;
    if let Location::S3(prefix) = place.location {
        let key = prefix.key(&scope.stack);
        scope.state = Some((prefix.bucket, key));
        scope.state_key = place.kms_key;
    }
    Ok(scope)
}

/// What the commands come down to; all that change or show the stack where none is named.
fn tasks(commands: &[PolicyTask]) -> BTreeSet<Task> {
    if commands.is_empty() {
        return [Task::Up, Task::Status, Task::Down].into();
    }
    let tasks = |command: &PolicyTask| match command {
        PolicyTask::Up => &[Task::Up][..],
        PolicyTask::Plan | PolicyTask::Status => &[Task::Status],
        PolicyTask::Down => &[Task::Down],
        PolicyTask::Token => &[Task::Token],
        PolicyTask::Call => &[Task::Token, Task::Call],
        PolicyTask::Logs => &[Task::Logs],
        PolicyTask::Secret => &[Task::Secret],
        PolicyTask::Client => &[Task::Client],
        PolicyTask::Recover => &[Task::Recover],
        PolicyTask::AccountLogs => &[Task::AccountLogs],
        PolicyTask::Doctor => &[Task::Doctor],
    };
    commands.iter().flat_map(tasks).copied().collect()
}

/// The stack as it is on record: its owner and ids narrow the policy.
pub(super) fn recorded(state: &State, region: Option<&str>) -> Result<Scope, Failure> {
    if let Some(region) = region.filter(|region| *region != state.region) {
        return Err(Failure::usage(format!(
            "stack {} is on record in region {}, and --region says {region}",
            state.stack, state.region
        ))
        .hinted("leave out --region, or give this stack another name with --stack"));
    }
    let pools = state.all::<UserPool>()?.into_iter();
    let apis = state.all::<RestApi>()?.into_iter();
    let functions = state.all::<Function>()?;
    let keys = functions.iter().map(|function| &function.desired.kms_key);
    Ok(Scope {
        partition: state.partition.clone(),
        account: state.account.clone(),
        region: state.region.clone(),
        stack: state.stack.clone(),
        owner: Some(state.owner.clone()),
        separator: separator(state),
        parts: Parts {
            pool: state.one::<UserPool>()?.is_some(),
            functions: !functions.is_empty(),
            api: state.one::<RestApi>()?.is_some(),
        },
        shared_pools: (state.all::<SharedPool>()?.into_iter())
            .map(|pool| pool.desired.pool.to_string())
            .collect(),
        pools: pools
            .filter_map(|pool| Some(pool.output?.id.to_string()))
            .collect(),
        apis: apis.filter_map(|api| Some(api.output?.id.to_string())).collect(),
        secrets: BTreeSet::new(),
        hand_out: None,
        hand_out_role: None,
        layers: BTreeSet::new(),
        keys: keys.filter(|key| !key.is_empty()).cloned().collect(),
        has_network: functions
            .iter()
            .any(|function| function.desired.vpc != Vpc::default()),
        web_acls: (state.all::<Firewall>()?.into_iter())
            .flat_map(|firewall| firewall.desired.acl.into_keys())
            .collect(),
        has_access_logs: state.record(ACCESS_LOG_GROUP).is_some(),
        backends: (state.all::<BackendPermission>()?.into_iter())
            .map(|permission| backends::arn(state, &permission.desired))
            .collect(),
        domains: domains(state)?,
        state: None,
        state_key: None,
        roles: roles(state)?,
    })
}

/// What is on record of the domains of APIs.
fn domains(state: &State) -> Result<Domains, Failure> {
    let mut domains = Domains {
        of_pool: state.one::<CustomDomain>()?.is_some(),
        are_called: (state.one::<RestApi>()?).is_some_and(|api| api.desired.default_endpoint_closed),
        ..Domains::default()
    };
    for mapping in state.all::<BasePathMapping>()? {
        domains.named.insert(mapping.desired.domain);
    }
    for domain in state.all::<DomainName>()? {
        domains.named.insert(domain.desired.name.clone());
        domains.recorded.insert(domain.desired.name);
        let truststore = Some(domain.desired.truststore).filter(|url| !url.is_empty());
        domains.truststores.extend(truststore);
    }
    Ok(domains)
}

/// What is on record of the roles of functions.
fn roles(state: &State) -> Result<Roles, Failure> {
    let mut roles = Roles::default();
    for role in state.all::<Role>()? {
        roles.paths.insert(role.desired.path);
        let boundary = Some(role.desired.permissions_boundary).filter(|arn| !arn.is_empty());
        roles.boundary = roles.boundary.or(boundary);
    }
    let attachments = state.all::<RoleAttachment>()?.into_iter();
    roles.policies = attachments
        .map(|attachment| attachment.desired.policy_arn)
        .collect();
    for function in state.all::<Function>()? {
        let Function { name, role, .. } = function.desired;
        // A role of the stack has the name of its function.
        if role.rsplit('/').next() != Some(&name) {
            roles.foreign.insert(role);
        }
    }
    Ok(roles)
}

/// Adds what the configuration is about to change.
fn add_configured(roles: &mut Roles, config: &Config) {
    roles.paths.insert(config.role_path.clone());
    roles.lose_boundary = roles.boundary.is_some() && config.permissions_boundary.is_none();
    roles.boundary.clone_from(&config.permissions_boundary);
    for function in config.functions.values() {
        roles.policies.extend(function.managed_policies.clone());
        roles.foreign.extend(function.role.clone());
    }
}
