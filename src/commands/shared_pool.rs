//! The user pool that the configuration names: somebody else made it, and others may be in it as well.
//!
//! Must not change anything.

use std::collections::BTreeSet;
use std::rc::Rc;

use aws_sdk_cognitoidentityprovider::types::ResourceServerType;

use super::configuration;
use super::invocation::Invocation;
use super::open::{self, Session};
use super::recorded::ByKind;
use super::ui::Ui;
use crate::aws::Identity;
use crate::aws::ids::PoolId;
use crate::config::{self, Config};
use crate::error::Failure;
use crate::mark;
use crate::resource::Cx;
use crate::resources::{SharedPool, UserPool, shared_pool};
use crate::state::State;
use crate::untrusted::printable;

/// What Cognito knows of it. Without a pool if the configuration names none.
#[derive(Default)]
pub(super) struct Found {
    /// Only its id is set if there is no such pool.
    pub pool: Option<SharedPool>,
    /// Why the stack cannot use it, a line each.
    pub problems: Vec<String>,
    /// What to do about that.
    hints: Vec<String>,
    servers: Rc<Vec<ResourceServerType>>,
}

impl Found {
    /// Two reads, more where it has more than fifty resource servers.
    ///
    /// # Errors
    /// The configuration names another stack, and that one's record has no pool or is of another place; or a read failed.
    pub(super) async fn read(
        invocation: &Invocation,
        config: &Config,
        session: &Session,
        ui: &Ui,
    ) -> Result<Self, Failure> {
        let Some(named) = &config.user_pool.shared else {
            return Ok(Self::default());
        };
        let (id, of) = id(invocation, named, ui).await?;
        if let Some(state) = of {
            session.check(&state)?;
        }
        let cx = Cx::new(session.aws_for_a_survey(), Rc::new(|_| ()));
        let (pool, servers) = tokio::try_join!(shared_pool::look_up(&cx, &id), async {
            Ok(cx.resource_servers(id.as_str()).await?)
        })?;
        let mut found = Self {
            servers,
            ..Self::default()
        };
        match &pool {
            Some(pool) => found.judge(pool),
            None => found.is_not_there(&id, &session.identity),
        }
        found.pool = Some(pool.unwrap_or_else(|| SharedPool {
            pool: id,
            arn: String::new(),
            prefix: String::new(),
            domain: String::new(),
            issuer: None,
            tier: String::new(),
        }));
        Ok(found)
    }

    fn is_not_there(&mut self, id: &PoolId, here: &Identity) {
        self.problems.push(format!(
            "user pool {id} is not there in account {}, region {}",
            here.account, here.region
        ));
        self.hints
            .push("see which there are with `aws cognito-idp list-user-pools --max-results 60`".to_owned());
    }

    fn judge(&mut self, pool: &SharedPool) {
        let id = &pool.pool;
        if pool.prefix.is_empty() && pool.domain.is_empty() {
            self.problems.push(format!(
                "user pool {id} has no domain, and so no token endpoint: its clients cannot get tokens"
            ));
            self.hints.push(format!(
                "have whoever made it give it one: with `provision up`, or with `aws cognito-idp create-user-pool-domain \
                 --user-pool-id {id} --domain PREFIX`"
            ));
        }
        if let Some(issuer) = pool.issuer.as_ref().filter(|issuer| *issuer != "ORIGINAL") {
            self.problems.push(format!(
                "the issuer of user pool {id} is of the type {}: it is not documented that the authorizer of a REST API \
                 accepts its tokens",
                printable(issuer)
            ));
            self.hints
                .push("use a pool whose issuer is of the type ORIGINAL".to_owned());
        }
    }

    /// An error if the stack cannot use the pool, or if the configuration names scopes that nobody there has, or
    /// identifiers that are taken.
    pub(super) fn refuse(
        &self,
        invocation: &Invocation,
        config: &Config,
        owner: &str,
    ) -> Result<(), Failure> {
        if !self.problems.is_empty() {
            let failure = Failure::all_of(self.problems.iter().cloned());
            return Err(self.hints.iter().cloned().fold(failure, Failure::hinted));
        }
        let mark = mark::mark(&config.stack, owner);
        let (ours, theirs): (Vec<_>, Vec<_>) =
            (self.servers.iter()).partition(|server| server.name().unwrap_or_default().ends_with(&mark));
        drop(ours);
        let is_wanted = |server: &&&ResourceServerType| {
            let identifier = server.identifier().unwrap_or_default();
            config.resource_servers.contains_key(identifier)
        };
        let taken: Vec<String> = theirs
            .iter()
            .filter(is_wanted)
            .map(|server| taken(server))
            .collect();
        if !taken.is_empty() {
            return Err(Failure::all_of(taken)
                .hinted("choose another identifier in [resource_servers]")
                .hinted("or take it out of [resource_servers]: clients and routes can name its scopes as they are"));
        }
        let live: BTreeSet<String> = theirs.into_iter().flat_map(scopes).collect();
        configuration::check_scopes(invocation, config, &live)
    }
}

fn taken(server: &ResourceServerType) -> String {
    let whose = match server.name().and_then(mark::read) {
        Some((stack, owner)) => format!("stack {stack} with owner {owner}"),
        None => "somebody else".to_owned(),
    };
    format!(
        "resource server {} is in the shared user pool already, made by {whose}: it is left as it is",
        printable(server.identifier().unwrap_or_default())
    )
}

/// The full scopes of a resource server.
fn scopes(server: &ResourceServerType) -> impl Iterator<Item = String> {
    let identifier = server.identifier().unwrap_or_default();
    (server.scopes().iter()).map(move |scope| format!("{identifier}/{}", scope.scope_name()))
}

/// The id of the pool that is meant, and the state of the stack that has it on record where the configuration names a stack: its
/// own pool, or one that it shares as well. Asks AWS for nothing but a state in S3.
///
/// # Errors
/// That stack has no state, or no pool.
pub(super) async fn id(
    invocation: &Invocation,
    named: &config::SharedPool,
    ui: &Ui,
) -> Result<(PoolId, Option<State>), Failure> {
    let (name, location) = match named {
        config::SharedPool::Id { id, .. } => return Ok((id.as_str().into(), None)),
        config::SharedPool::Stack { name, state } => (name, state),
    };
    let reached = match location {
        Some(location) => {
            let location = configuration::from_file(invocation, location);
            open::reach_at(invocation, &location, name, ui).await?
        }
        None => open::reach(invocation, name, ui).await?,
    };
    let Some(state) = reached.load().await? else {
        return Err(Failure::usage(format!(
            "[user_pool] names stack {name}, which has no state at {}",
            reached.address()
        ))
        .hinted("run `provision up` of that stack first")
        .hinted("or say where its state is with `state` in [user_pool], or name the pool itself with `id`"));
    };
    let own = state.one::<UserPool>()?.and_then(|pool| Some(pool.output?.id));
    let shared = state.one::<SharedPool>()?.and_then(|pool| Some(pool.output?.id));
    match own.or(shared) {
        Some(id) => Ok((id, Some(state))),
        None => Err(Failure::usage(format!(
            "[user_pool] names stack {name}, which has no user pool on record"
        ))
        .hinted("run `provision up` of that stack first")),
    }
}
