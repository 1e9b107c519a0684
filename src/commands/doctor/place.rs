//! Where the state is, whether it can be used, and who holds it.
//!
//! Must not take the lock or the lease, not even for an instant: another run would be refused.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::Access;

use super::super::configuration;
use super::super::invocation::Invocation;
use super::super::open::{self, Connection, Reached};
use super::super::ui::Ui;
use super::report::Finding;
use super::{Known, limited};
use crate::error::Failure;
use crate::location::Location;
use crate::state::State;
use crate::state::lock::{self, Held};

const STATE: &str = "state";
const LOCK: &str = "lock";

/// The state, if it could be read, and what was found. Without a connection a state in S3 is not looked at.
pub(super) async fn check(
    invocation: &Invocation,
    known: &Known,
    connection: Option<&Connection>,
    ui: &Rc<Ui>,
) -> (Option<State>, Vec<Finding>) {
    let Some(stack) = &known.stack else {
        return (None, Vec::new());
    };
    let place = match configuration::place(invocation) {
        Ok(place) => place,
        Err(failure) => return (None, vec![Finding::failed(STATE, failure)]),
    };
    match &place.location {
        Location::Folder(folder) => {
            let folder = folder.clone();
            let (state, mut findings) = in_folder(invocation, stack, &folder, ui).await;
            findings.push(of_lock(&folder, stack));
            if let (Some(state), Some(connection)) = (&state, connection) {
                findings.extend(elsewhere(state, connection));
            }
            (state, findings)
        }
        Location::S3(_) => match connection {
            None => {
                let what = format!("{}: not known without credentials", place.location);
                let finding = Finding::note(STATE, what, "mend what is above first");
                (None, vec![finding])
            }
            Some(connection) => in_bucket(place, stack, connection, ui).await,
        },
    }
}

async fn in_folder(
    invocation: &Invocation,
    stack: &str,
    folder: &Path,
    ui: &Ui,
) -> (Option<State>, Vec<Finding>) {
    let reached = match open::reach(invocation, stack, ui).await {
        Ok(reached) => reached,
        Err(failure) => return (None, vec![Finding::failed(STATE, failure)]),
    };
    let (state, finding) = loaded(&reached, stack).await;
    let mut findings = vec![finding];
    if let Some(folder) = unwritable(folder) {
        findings.push(Finding::mend(
            "state folder",
            format!("{} cannot be written by this user", folder.display()),
            "change its owner or mode, or name another place with --state",
        ));
    }
    (state, findings)
}

async fn loaded(reached: &Reached, stack: &str) -> (Option<State>, Finding) {
    let address = reached.address();
    match reached.load().await {
        Ok(Some(state)) => {
            let what = format!(
                "{address}: owner {}, serial {}, {} steps, account {}, region {}",
                state.owner,
                state.serial,
                state.steps.len(),
                state.account,
                state.region
            );
            (Some(state), Finding::ok(STATE, what))
        }
        Ok(None) => (
            None,
            Finding::ok(STATE, format!("{address}: none yet of stack {stack}")),
        ),
        Err(failure) => (None, Finding::failed(STATE, failure)),
    }
}

/// What is on record in another account or at another endpoint than the credentials are for.
fn elsewhere(state: &State, connection: &Connection) -> Option<Finding> {
    let here = &connection.identity;
    let at = |endpoint: &Option<String>| endpoint.clone().unwrap_or_else(|| "AWS".to_owned());
    let places = [
        ("account", state.account.clone(), here.account.clone()),
        ("endpoint", at(&state.endpoint), at(&here.endpoint)),
    ];
    let (what, recorded, now) = places.into_iter().find(|(_, recorded, now)| recorded != now)?;
    Some(Finding::mend(
        "state account",
        format!("the stack is on record in {what} {recorded}, and the credentials are for {what} {now}"),
        format!("use the credentials and settings of {what} {recorded}"),
    ))
}

async fn in_bucket(
    place: configuration::Place,
    stack: &str,
    connection: &Connection,
    ui: &Ui,
) -> (Option<State>, Vec<Finding>) {
    let reached = open::reach_over(place, connection, stack, ui);
    let object = reached.object().expect("it is in S3");
    let mut state = None;
    let finding = limited(STATE, async {
        let (found, finding) = loaded(&reached, stack).await;
        state = found;
        finding
    });
    let lease = limited("lease", async {
        match object.holder().await {
            Ok(None) => Finding::ok("lease", "no run has it"),
            Ok(Some((holder, left))) => Finding::note(
                "lease",
                format!(
                    "{}, {} seconds left unless that run renews it",
                    lock::by(Some(&holder)),
                    left.as_secs()
                ),
                "wait until that run ends; if it is dead, `provision state unlock`",
            ),
            Err(error) => Finding::unknown("lease", error.into(), "mend the state first"),
        }
    });
    let (finding, lease) = tokio::join!(finding, lease);
    let mut findings = vec![finding, lease];
    findings.extend(state.as_ref().and_then(|state| elsewhere(state, connection)));
    (state, findings)
}

/// The folder that would have to be writable and is not; folders that are missing are made by a run.
fn unwritable(folder: &Path) -> Option<PathBuf> {
    let mut folder = match folder {
        folder if folder.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    while !folder.exists() {
        folder = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    let access = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK);
    access.is_err().then(|| folder.to_owned())
}

fn of_lock(folder: &Path, stack: &str) -> Finding {
    match lock::look(folder, stack) {
        Ok(Held::Free) => Finding::ok(LOCK, "no run of this machine holds it"),
        Ok(Held::Unknown) => Finding::ok(LOCK, "not known: this system does not list locks"),
        Ok(Held::By(holder)) => Finding::note(
            LOCK,
            format!("held by {}", lock::by(holder.as_ref())),
            "wait until that run ends; a killed run holds no lock",
        ),
        Err(error) => Finding::failed(LOCK, Failure::from(error)),
    }
}
