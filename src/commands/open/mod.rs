//! What a command may begin with: a state and a session, each checked. Commands get them nowhere else, so that none can
//! forget a check: an unchecked session would change another account.
//!
//! Must not change anything in AWS, nor write a state.

mod session;
mod store;

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};

pub(super) use self::session::{Connection, Session};
pub(super) use self::store::{Reached, holder, kept, state_failure, unusable};
use super::backends;
use super::configuration;
use super::domains::Domain;
use super::invocation::Invocation;
use super::recorded;
use super::roles::Roles;
use super::shared_pool::Found;
use super::ui::Ui;
use crate::aws::clients::{Access, load};
use crate::aws::{Aws, Identity, hosts};
use crate::config::Config;
use crate::error::Failure;
use crate::graph::Stack;
use crate::lease::Fence;
use crate::location::Location;
use crate::package::Package;
use crate::stack;
use crate::state::{State, Store};

/// A state that was checked as far as it can be without AWS: what was typed is compared with it before a call is made.
pub(super) struct Loaded<'a> {
    /// What is on record.
    pub state: State,
    reached: Reached,
    fence: Fence,
    invocation: &'a Invocation,
}

impl<'a> Loaded<'a> {
    /// What is on record of this stack; `None` if nothing is.
    pub(super) async fn find(
        invocation: &'a Invocation,
        stack: &str,
        ui: &Ui,
    ) -> Result<Option<Self>, Failure> {
        let reached = store::reach(invocation, stack, None, ui).await?;
        let state = reached.load().await?;
        Ok(state.map(|state| Self {
            state,
            reached,
            fence: Fence::open(),
            invocation,
        }))
    }

    /// What is on record of this stack.
    ///
    /// # Errors
    /// Nothing is, or it cannot be used.
    pub(super) async fn load(invocation: &'a Invocation, stack: &str, ui: &Ui) -> Result<Self, Failure> {
        Self::find(invocation, stack, ui)
            .await?
            .ok_or_else(|| no_state(stack))
    }

    /// Where the state is, for people.
    pub(super) fn address(&self) -> String {
        self.reached.address()
    }

    /// The state as it is under its lock, and the right to change it; `None` if another run has removed it.
    ///
    /// # Errors
    /// Another run holds the lock, or the state cannot be used.
    pub(super) async fn lock(
        self,
        command: &str,
        ui: &Ui,
    ) -> Result<(Option<Self>, Box<dyn Store>), Failure> {
        let (store, state) = self.reached.lock(command, &self.fence, ui).await?;
        Ok((state.map(|state| Self { state, ..self }), store))
    }

    /// The stack with a session for its account, region and endpoint.
    ///
    /// # Errors
    /// There are no credentials, or they are for another place.
    pub(super) async fn open(self, ui: &Ui) -> Result<Recorded, Failure> {
        let region = &self.state.region;
        let connection = match self.reached.connection {
            Some(connection) => connection.in_region(self.invocation.region.as_ref().unwrap_or(region)),
            None => Connection::open(self.invocation, Some(region), ui).await?,
        };
        let session = Session::new(connection, &self.fence, ui);
        session.check(&self.state)?;
        Ok(Recorded {
            state: self.state,
            session,
        })
    }
}

/// A stack that is on record, for commands that need no configuration.
pub(super) struct Recorded {
    /// What is on record.
    pub state: State,
    /// Of the state's account, region and endpoint.
    pub session: Session,
}

/// A stack that is configured, for commands that compare what is configured with what is on record.
pub(super) struct Declared {
    /// What is configured.
    pub config: Config,
    /// The code of every function, by the function's name.
    pub packages: BTreeMap<String, Package>,
    /// What IAM knows of the roles that the configuration names.
    pub roles: Roles,
    /// What Cognito knows of the pool that the configuration names.
    pub shared_pool: Found,
    /// What API Gateway knows of the domain that the configuration names.
    pub domain: Domain,
    /// What is on record; without a step if nothing is.
    pub state: State,
    /// Of the state's account, region and endpoint.
    pub session: Session,
    reached: Reached,
}

impl Declared {
    /// The stack as it is on record. If nothing is, its owner is `new_owner`. With `None` that is an error, and values of
    /// environment variables that are not in the file are not needed.
    pub(super) async fn open(
        invocation: &Invocation,
        new_owner: Option<&str>,
        ui: &Ui,
    ) -> Result<Self, Failure> {
        let config = match new_owner {
            Some(_) => configuration::read_with_values(invocation)?,
            None => configuration::read(invocation)?,
        };
        let mut reached = store::reach(invocation, &config.stack, config.region.as_deref(), ui).await?;
        let state = reached.load().await?;
        if state.is_none() && new_owner.is_none() {
            return Err(no_state(&config.stack));
        }
        let packages = configuration::packages(invocation, &config, ui)?;
        let connection = reached.connection.take();
        let session = session(invocation, &config, connection, &Fence::open(), ui).await?;
        let named = Box::pin(named(invocation, &config, &session, ui)).await?;
        let owner = new_owner.unwrap_or_default().to_owned();
        Self::of(config, packages, named, (session, reached), state, owner)
    }

    /// The same and the right to change it. A stack of which nothing is on record gets an owner that is drawn at random.
    /// Nothing is locked where `check` refuses the configuration or whose credentials these are.
    pub(super) async fn open_locked(
        invocation: &Invocation,
        command: &str,
        check: impl FnOnce(&Config, &Identity) -> Result<(), Failure>,
        ui: &Ui,
    ) -> Result<(Self, Box<dyn Store>), Failure> {
        let config = configuration::read_with_values(invocation)?;
        let packages = configuration::packages(invocation, &config, ui)?;
        let mut reached = store::reach(invocation, &config.stack, config.region.as_deref(), ui).await?;
        // A state on this machine that cannot be used is refused without a lock and without a call. One in S3 is read when its
        // lease is taken.
        if reached.object().is_none() {
            reached.load().await?;
        }
        let fence = Fence::open();
        // Where there are no credentials, not even a lock is left behind.
        let session = session(invocation, &config, reached.connection.take(), &fence, ui).await?;
        check(&config, &session.identity)?;
        let named = Box::pin(named(invocation, &config, &session, ui)).await?;
        let (store, state) = reached.lock(command, &fence, ui).await?;
        let of = |owner| Self::of(config, packages, named, (session, reached), state, owner);
        match owner().and_then(of) {
            Ok(declared) => Ok((declared, store)),
            Err(failure) => kept(&*store, ui, async { Err(failure) }).await,
        }
    }

    /// The right to change the stack again, once it was released, and what is on record by then; `None` if nothing is.
    pub(super) async fn lock_again(
        &self,
        command: &str,
        ui: &Ui,
    ) -> Result<(Box<dyn Store>, Option<State>), Failure> {
        self.reached.lock(command, self.session.fence(), ui).await
    }

    /// What is on record by now, if anything.
    pub(super) async fn reload(&self) -> Result<Option<State>, Failure> {
        self.reached.load().await
    }

    fn of(
        config: Config,
        packages: BTreeMap<String, Package>,
        (roles, shared_pool, domain): (Roles, Found, Domain),
        (session, reached): (Session, Reached),
        state: Option<State>,
        new_owner: String,
    ) -> Result<Self, Failure> {
        let state = match state {
            Some(state) => {
                session.check(&state)?;
                state
            }
            None => session.new_state(&config.stack, new_owner),
        };
        Ok(Self {
            config,
            packages,
            roles,
            shared_pool,
            domain,
            state,
            session,
            reached,
        })
    }

    /// Refuses a configuration that names what others made and what is not as it is needed.
    pub(super) fn refuse(&self, invocation: &Invocation) -> Result<(), Failure> {
        self.roles.refuse()?;
        self.shared_pool
            .refuse(invocation, &self.config, &self.state.owner)?;
        self.domain.refuse(&self.config, &self.state)
    }

    /// The steps that the configuration declares.
    pub(super) fn stack(&self) -> Stack<Aws> {
        self.stack_of(&self.state.owner)
    }

    /// The same with this owner in the names.
    pub(super) fn stack_of(&self, owner: &str) -> Stack<Aws> {
        stack::stack(
            &self.config,
            &self.session.identity,
            owner,
            recorded::separator(&self.state),
            &self.packages,
            &stack::Named {
                roles: &self.roles.ids,
                shared_pool: self.shared_pool.pool.as_ref(),
                makes_domain: self.domain.is_ours(&self.config, &self.state),
            },
        )
    }
}

/// What others may have made and the configuration names.
async fn named(
    invocation: &Invocation,
    config: &Config,
    session: &Session,
    ui: &Ui,
) -> Result<(Roles, Found, Domain), Failure> {
    tokio::try_join!(
        Roles::read(&session.aws, config, &session.identity),
        Found::read(invocation, config, session, ui),
        Domain::read(&session.aws, config, &session.identity),
    )
}

/// `connection` if there is one, and a session on it.
async fn session(
    invocation: &Invocation,
    config: &Config,
    connection: Option<Connection>,
    fence: &Fence,
    ui: &Ui,
) -> Result<Session, Failure> {
    let connection = match connection {
        Some(connection) => connection,
        None => Connection::open(invocation, config.region.as_deref(), ui).await?,
    };
    configuration::check_region(invocation, config, &connection.identity.region)?;
    let session = Session::new(connection, fence, ui);
    backends::check_place(config, &session.identity)?;
    Ok(session)
}

/// Whose credentials these are, for a stack of which nothing is on record: there is nothing to compare them with.
pub(super) async fn identity(
    invocation: &Invocation,
    region: Option<&str>,
    ui: &Ui,
) -> Result<Identity, Failure> {
    Ok(Connection::open(invocation, region, ui).await?.identity)
}

/// An account as it was named, in the region of the configuration or of the usual AWS sources, without a call.
pub(super) async fn unasked(
    invocation: &Invocation,
    region: Option<&str>,
    account: &str,
) -> Result<Identity, Failure> {
    let access = Access {
        region: invocation.region.clone().or(region.map(str::to_owned)),
        profile: invocation.profile.clone(),
        endpoint: None,
        sandbox: None,
    };
    let region = load(&access).await?.region().map(ToString::to_string);
    let region = region.context("no AWS region is configured")?;
    Ok(Identity {
        account: account.to_owned(),
        partition: hosts::partition(&region).to_owned(),
        region,
        endpoint: None,
    })
}

/// AWS without a stack, for what all stacks of an account share.
pub(super) async fn account(
    invocation: &Invocation,
    region: Option<&str>,
    ui: &Ui,
) -> Result<Session, Failure> {
    let connection = Connection::open(invocation, region, ui).await?;
    Ok(Session::new(connection, &Fence::open(), ui))
}

/// Where the state of this stack is.
pub(super) async fn reach(invocation: &Invocation, stack: &str, ui: &Ui) -> Result<Reached, Failure> {
    store::reach(invocation, stack, None, ui).await
}

/// Where the state of this stack is, by a connection that is there already, for a place in S3.
pub(super) fn reach_over(
    place: configuration::Place,
    connection: &Connection,
    stack: &str,
    ui: &Ui,
) -> Reached {
    store::reach_over(place, connection, stack, ui)
}

/// A session that is told at once what it may not do, while a run waits for rights to spread. Only for `doctor`: it is of the
/// account of the credentials, whatever is on record.
pub(super) fn impatient(connection: Connection, ui: &Ui) -> Session {
    Session::impatient(connection, ui)
}

/// Where the state of this stack would be at another location.
pub(super) async fn reach_at(
    invocation: &Invocation,
    location: &Location,
    stack: &str,
    ui: &Ui,
) -> Result<Reached, Failure> {
    let place = configuration::place_at(invocation, location)?;
    store::reach_at(invocation, (place, true), stack, None, ui).await
}

/// Nothing is on record of this stack.
pub(super) fn no_state(stack: &str) -> Failure {
    Failure::usage(format!("stack {stack} has no state"))
        .hinted("run `provision up` first")
        .hinted("or name where its state is with --state")
}

/// 8 random hex characters.
fn owner() -> Result<String, Failure> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    Ok(format!("{:08x}", u32::from_be_bytes(bytes)))
}
