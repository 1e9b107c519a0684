//! Loads the state of a stack, and takes the lock that goes with the right to change it.
//!
//! Must not ask AWS, nor write a state. The functions are async because a state may be somewhere slow.

use std::io;

use super::super::invocation::Invocation;
use super::super::recorded;
use super::super::ui::Ui;
use super::super::upgrade::upgrade;
use crate::error::{Failure, Kind};
use crate::files;
use crate::state::{Holder, Lock, LockError, State, StateError, StateFile, StateWriter};

fn file(invocation: &Invocation, stack: &str) -> StateFile {
    StateFile::new(invocation.state_folder(), stack)
}

/// Where the state is, for people.
pub fn place(invocation: &Invocation, stack: &str) -> String {
    file(invocation, stack).path().display().to_string()
}

/// What is on record, if anything, checked.
#[expect(
    clippy::unused_async,
    reason = "the callers are ready for a state that is somewhere slow"
)]
pub async fn load(invocation: &Invocation, stack: &str) -> Result<Option<State>, Failure> {
    usable(file(invocation, stack).load().map_err(state_failure)?)
}

/// What is on record, if anything, checked, and the right to change it. It ends with the writer.
#[expect(
    clippy::unused_async,
    reason = "the callers are ready for a state that is somewhere slow"
)]
pub async fn lock(
    invocation: &Invocation,
    stack: &str,
    command: &str,
    ui: &Ui,
) -> Result<(StateWriter, Option<State>), Failure> {
    let folder = invocation.state_folder();
    files::make_folder(folder)?;
    if !files::sync_folder(folder)? {
        ui.warn(&format!(
            "the folder {} cannot be synced to its disk: if the machine crashes, the last change to the state may be lost",
            folder.display()
        ));
    }
    let host = fs_err::read_to_string("/proc/sys/kernel/hostname").or_else(|_| {
        let name = std::process::Command::new("hostname").output()?.stdout;
        Ok::<_, io::Error>(String::from_utf8_lossy(&name).into_owned())
    });
    let holder = Holder {
        command: command.to_owned(),
        host: host.map_or_else(|_| "an unknown host".to_owned(), |name| name.trim().to_owned()),
        process: std::process::id(),
        since: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    };
    let lock = Lock::take(folder, stack, &holder).map_err(|error| match error {
        LockError::Held { .. } => {
            Failure::new(Kind::Locked, error).hinted("wait until that run ends; a killed run holds no lock")
        }
        LockError::Replaced { .. } => Failure::new(Kind::Locked, error).hinted(AGAIN),
        LockError::Io(_) => error.into(),
    })?;
    let (writer, state) = StateWriter::open(file(invocation, stack), lock).map_err(state_failure)?;
    Ok((writer, usable(state)?))
}

/// In today's shape, and checked.
fn usable(mut state: Option<State>) -> Result<Option<State>, Failure> {
    if let Some(state) = &mut state {
        upgrade(state);
        recorded::check(state).map_err(unusable)?;
    }
    Ok(state)
}

/// What to do once this run may not change the state any more.
const AGAIN: &str = "once no other run is under way, run the same command again";

/// A state file that cannot be used, and what helps.
pub fn state_failure(error: StateError) -> Failure {
    let (kind, hint) = match &error {
        StateError::Unusable { path, .. } => (
            Kind::Usage,
            format!("restore {path} from a copy of this stack's; it was not changed"),
        ),
        StateError::Parse { path, .. } => (
            Kind::Usage,
            format!(
                "restore {path} from a copy; it is the only record of what is in AWS, so it was not changed"
            ),
        ),
        StateError::Newer { .. } => (
            Kind::Usage,
            "use the newer version of provision that wrote it".to_owned(),
        ),
        StateError::Io { .. } => (
            Kind::Usage,
            "make it readable and writable for this user".to_owned(),
        ),
        StateError::NotAFile(_) => (
            Kind::Usage,
            "put the file itself there, or name its folder with --state-dir".to_owned(),
        ),
        StateError::Lost { .. } => (Kind::Locked, AGAIN.to_owned()),
    };
    Failure::new(kind, error).hinted(hint)
}

/// A record that the engine does not understand: somebody edited the file.
pub fn unusable(error: anyhow::Error) -> Failure {
    Failure::new(Kind::Usage, error).hinted(
        "restore the state file from a copy; it was not changed, and nothing was asked of AWS to change",
    )
}
