//! The calls of one step. A lost answer or a kill leaks nothing and creates nothing twice.
//!
//! Must not touch the record.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::time::Instant;

use crate::report::event::Operation;
use crate::resource::{Class, Cx, Erased, Result, Updated, class, is_stranger};

/// How long after an interrupted call the last search for what it may have created is. Lists may lag behind a create.
pub(super) const SECOND_FIND: Duration = Duration::from_secs(3);
/// How often a run tries a create whose answers get lost.
const CREATE_ATTEMPTS: u32 = 3;
/// How often a run tries an update whose answers get lost.
const UPDATE_ATTEMPTS: u32 = 3;
/// How long a deleted resource may stay visible. Terraform allows a function 10 minutes and a domain one.
const GONE_DEADLINE: Duration = Duration::from_mins(10);
/// The pause between the first two reads of a resource that is being deleted. Each further pause is twice as long.
const GONE_PAUSE: Duration = Duration::from_millis(250);
/// The longest of those pauses.
const GONE_LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What one step asks of the cloud.
pub(super) struct Call<C> {
    /// [`Operation::Create`], `Resume`, `Update`, `Delete` or `Retire`.
    pub operation: Operation,
    pub resource: Rc<dyn Erased<C>>,
    /// The recorded output.
    pub output: Option<Value>,
    /// What an update starts from.
    pub before: Value,
    /// Of an update: whether an earlier one left something to retire. Of a create: whether a run with another copy of
    /// the state may have left something.
    pub may_retire: bool,
    /// Of a create: whether to look first for one that another copy of the state knows. Of a deletion: whether to check
    /// the owner.
    pub looks: bool,
}

/// The resource after a call.
pub(super) struct Found {
    pub output: Value,
    /// Its live fields, if it existed before the call.
    pub live: Option<Value>,
    /// Whether something of its earlier states has to be retired.
    pub retires: bool,
}

impl Found {
    fn new(output: Value) -> Self {
        Self {
            output,
            live: None,
            retires: false,
        }
    }
}

impl<C> Call<C> {
    pub(super) fn new(operation: Operation, resource: Rc<dyn Erased<C>>, output: Option<Value>) -> Self {
        Self {
            operation,
            resource,
            output,
            before: Value::Null,
            may_retire: false,
            looks: false,
        }
    }

    /// Makes the calls. `None`: the resource does not exist, or no longer. At `began` no call of an earlier run was
    /// under way. With `unprotect`, deletion protection is turned off before a deletion.
    pub(super) async fn run(&self, cx: &Cx<C>, began: Instant, unprotect: bool) -> Result<Option<Found>> {
        let resource = &*self.resource;
        match (self.operation, self.output.clone()) {
            (Operation::Create, _) => {
                let known = if self.looks {
                    find_known(resource, cx).await?
                } else {
                    None
                };
                let mut found = match known {
                    Some(found) => found,
                    None => create(resource, cx).await?,
                };
                if found.live.is_none() {
                    found.retires = self.may_retire && resource.kind().creates_another;
                }
                Ok(Some(found))
            }
            (Operation::Resume, _) => match find_after(resource, cx, began).await? {
                Some(output) => read_found(resource, cx, output).await.map(Some),
                None => Ok(None),
            },
            (Operation::Update, Some(output)) => {
                let updated = update(resource, cx, &self.before, &output).await?;
                Ok(Some(Found {
                    retires: self.may_retire || updated.retires,
                    ..Found::new(updated.output)
                }))
            }
            (Operation::Retire, Some(output)) => {
                resource.retire(cx, &output).await?;
                Ok(Some(Found::new(output)))
            }
            (Operation::Delete, output) => {
                if let Some(output) = output.as_ref().filter(|_| self.looks) {
                    resource.check_owner(cx, output).await?;
                }
                delete(resource, cx, output, began, unprotect).await?;
                Ok(None)
            }
            (operation, _) => {
                unreachable!("{operation:?} is not a call, or lacks the output that it was planned with")
            }
        }
    }
}

/// Looks for what a call that ended by `ended` may have created, for [`SECOND_FIND`] after it, because a list may lag
/// behind a create. All steps of a killed run share this one pause.
async fn find_after<C>(resource: &dyn Erased<C>, cx: &Cx<C>, ended: Instant) -> Result<Option<Value>> {
    let last = ended + SECOND_FIND;
    let is_last = Instant::now() >= last;
    let found = resource.find(cx).await?;
    if found.is_some() || is_last {
        return Ok(found);
    }
    cx.waiting("a second look at what the interrupted call may have created");
    tokio::time::sleep_until(last).await;
    resource.find(cx).await
}

/// Reads what was found. It may differ from what we would have created: someone else may have created or changed it.
async fn read_found<C>(resource: &dyn Erased<C>, cx: &Cx<C>, output: Value) -> Result<Found> {
    let mut live = resource.read(cx, &output).await?;
    if live.is_none() {
        cx.waiting("a second look at what was found");
        tokio::time::sleep(SECOND_FIND).await;
        live = resource.read(cx, &output).await?;
    }
    let live = live.with_context(|| {
        let id = resource.id(&output).unwrap_or_default();
        format!("{} {id} was found, but cannot be read", resource.kind().name)
    })?;
    Ok(Found {
        live: Some(live),
        ..Found::new(output)
    })
}

/// Looks for one that another copy of the state knows, whatever its fields are.
async fn find_known<C>(resource: &dyn Erased<C>, cx: &Cx<C>) -> Result<Option<Found>> {
    let Some(output) = resource.find(cx).await? else {
        return Ok(None);
    };
    // A list may still show one that is gone.
    let live = resource.read(cx, &output).await?;
    Ok(live.map(|live| Found {
        live: Some(live),
        ..Found::new(output)
    }))
}

/// Creates it, exactly once, whatever happens to the answers.
async fn create<C>(resource: &dyn Erased<C>, cx: &Cx<C>) -> Result<Found> {
    let mut attempt = 1;
    loop {
        let error = match resource.create(cx).await {
            Ok(output) => return Ok(Found::new(output)),
            Err(error) => error,
        };
        let found = match class(&error) {
            // The answer was lost, not necessarily the request.
            Some(Class::Ambiguous) => find_after(resource, cx, Instant::now()).await,
            // It is ours if an attempt whose answer was lost created it, or a run with another copy of the state.
            Some(Class::Taken) => resource.find(cx).await,
            _ => return Err(error),
        };
        match found {
            Ok(Some(output)) => return read_found(resource, cx, output).await,
            Ok(None) if class(&error) == Some(Class::Ambiguous) && attempt < CREATE_ATTEMPTS => attempt += 1,
            Ok(None) => return Err(error),
            Err(found) if is_stranger(&found) => return Err(found.context(error.to_string())),
            Err(found) => return Err(found.context(format!("{error}; and looking for what it made failed"))),
        }
    }
}

/// Changes it in place. If the answer is lost, the update is repeated.
async fn update<C>(
    resource: &dyn Erased<C>,
    cx: &Cx<C>,
    before: &Value,
    output: &Value,
) -> Result<Updated<Value>> {
    for _ in 1..UPDATE_ATTEMPTS {
        match resource.update(cx, before, output).await {
            Err(error) if class(&error) == Some(Class::Ambiguous) => {
                cx.waiting("a second look at what the interrupted call may have changed");
                tokio::time::sleep(SECOND_FIND).await;
            }
            settled => return settled,
        }
    }
    resource.update(cx, before, output).await
}

/// Deletes it and waits until a read shows that it is gone. Without an output it first looks whether a run that ended
/// by `ended` created it; with an output, the owner has been checked. With `unprotect`, deletion protection is turned
/// off right before the deletion, so that nothing else can fail in between.
async fn delete<C>(
    resource: &dyn Erased<C>,
    cx: &Cx<C>,
    output: Option<Value>,
    ended: Instant,
    unprotect: bool,
) -> Result<()> {
    let output = match output {
        Some(output) => output,
        None => match find_after(resource, cx, ended).await {
            Ok(Some(output)) => output,
            Ok(None) => return Ok(()),
            // A resource of someone else has the name, so ours was never created.
            Err(error) if is_stranger(&error) => return Ok(()),
            Err(error) => return Err(error),
        },
    };
    if unprotect {
        resource.unprotect(cx, &output).await?;
    }
    resource.delete(cx, &output).await?;
    if resource.kind().gone_at_once {
        return Ok(());
    }
    let deadline = Instant::now() + GONE_DEADLINE;
    let mut pause = GONE_PAUSE;
    loop {
        match resource.read(cx, &output).await {
            Ok(None) => return Ok(()),
            // Ours is gone, and someone else has created another one.
            Err(error) if is_stranger(&error) => return Ok(()),
            Ok(Some(_)) => {}
            Err(error) => return Err(error),
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "it was deleted but is still there after {} seconds",
            GONE_DEADLINE.as_secs()
        );
        cx.waiting("AWS to finish the deletion");
        tokio::time::sleep(pause).await;
        pause = GONE_LONGEST_PAUSE.min(2 * pause);
    }
}
