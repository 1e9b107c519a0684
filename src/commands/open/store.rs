//! Loads the state of a stack, and takes the lock that goes with the right to change it.
//!
//! Must not ask AWS for anything but a state, nor decide what goes into one.

use std::io;

use super::super::configuration;
use super::super::invocation::{Invocation, Target};
use super::super::recorded;
use super::super::ui::Ui;
use super::super::upgrade::upgrade;
use super::session::Connection;
use crate::error::{Failure, Kind};
use crate::files;
use crate::lease::Fence;
use crate::location::Location;
use crate::state::{
    FolderStore, Holder, Lock, LockError, Object, S3Store, State, StateError, StateFile, StateWriter, Store,
};

/// Where the state of one stack is, and how that is reached.
pub(crate) struct Reached {
    place: Place,
    /// What S3 is reached with, and AWS after it.
    pub connection: Option<Connection>,
    /// Whether somebody said where the states are.
    is_named: bool,
}

enum Place {
    File(StateFile),
    Object(Box<Object>),
}

/// Finds out where the state of `stack` is. A state in S3 needs credentials before anything else.
pub(super) async fn reach(
    invocation: &Invocation,
    stack: &str,
    region: Option<&str>,
    ui: &Ui,
) -> Result<Reached, Failure> {
    let place = configuration::place(invocation)?;
    // The sandbox goes with its machine as well.
    let is_sandbox = matches!(invocation.target, Target::Sandbox { .. });
    let is_named = is_sandbox
        || invocation.location.is_some()
        || place.location != Location::Folder(invocation.folder());
    reach_at(invocation, (place, is_named), stack, region, ui).await
}

/// As [`reach`], for a location that was named.
pub(super) async fn reach_at(
    invocation: &Invocation,
    (place, is_named): (configuration::Place, bool),
    stack: &str,
    region: Option<&str>,
    ui: &Ui,
) -> Result<Reached, Failure> {
    Ok(match place.location {
        Location::Folder(folder) => Reached {
            place: Place::File(StateFile::new(&folder, stack)),
            connection: None,
            is_named,
        },
        Location::S3(prefix) => {
            let connection = Connection::open(invocation, region, ui).await?;
            let owner = place
                .account
                .unwrap_or_else(|| connection.identity.account.clone());
            Reached {
                place: Place::Object(Box::new(Object::new(connection.s3(ui), &prefix, stack, &owner))),
                connection: Some(connection),
                is_named,
            }
        }
    })
}

/// As [`reach_at`], by a connection that is there already, for a place in S3.
pub(super) fn reach_over(
    place: configuration::Place,
    connection: &Connection,
    stack: &str,
    ui: &Ui,
) -> Reached {
    let place = match place.location {
        Location::Folder(folder) => Place::File(StateFile::new(&folder, stack)),
        Location::S3(prefix) => {
            let owner = place
                .account
                .unwrap_or_else(|| connection.identity.account.clone());
            Place::Object(Box::new(Object::new(connection.s3(ui), &prefix, stack, &owner)))
        }
    };
    Reached {
        place,
        connection: None,
        is_named: true,
    }
}

impl Reached {
    /// Where the state is, for people.
    pub(crate) fn address(&self) -> String {
        match &self.place {
            Place::File(file) => file.path().display().to_string(),
            Place::Object(object) => object.address(),
        }
    }

    /// The object, if it is in S3.
    pub(crate) fn object(&self) -> Option<&Object> {
        match &self.place {
            Place::File(_) => None,
            Place::Object(object) => Some(object),
        }
    }

    /// What is on record, if anything, checked.
    pub(crate) async fn load(&self) -> Result<Option<State>, Failure> {
        let loaded = match &self.place {
            Place::File(file) => file.load(),
            Place::Object(object) => object.load().await,
        };
        usable(loaded.map_err(state_failure)?).and_then(in_place)
    }

    /// What is on record, if anything, checked, and the right to change it. `fence` then holds back what the right does not
    /// outlast.
    pub(crate) async fn lock(
        &self,
        command: &str,
        fence: &Fence,
        ui: &Ui,
    ) -> Result<(Box<dyn Store>, Option<State>), Failure> {
        let (store, state) = self.lock_to_move(command, fence, ui).await?;
        match in_place(state) {
            Ok(state) => Ok((store, state)),
            Err(failure) => {
                release(&*store, ui).await;
                Err(failure)
            }
        }
    }

    /// The same, also while the state is being moved.
    pub(crate) async fn lock_to_move(
        &self,
        command: &str,
        fence: &Fence,
        ui: &Ui,
    ) -> Result<(Box<dyn Store>, Option<State>), Failure> {
        let (store, state): (Box<dyn Store>, _) = match &self.place {
            Place::File(file) => {
                if !self.is_named && std::env::var_os("CI").is_some_and(|ci| !ci.is_empty()) {
                    ui.warn(LOST_WITH_CI);
                }
                let (writer, state) = lock_file(file, command, ui)?;
                (Box::new(FolderStore::new(writer)), state)
            }
            Place::Object(object) => {
                let taken = S3Store::take(Object::clone(object), holder(command), fence.clone()).await;
                let (store, state) = taken.map_err(state_failure)?;
                (Box::new(store), state)
            }
        };
        match usable(state) {
            Ok(state) => Ok((store, state)),
            Err(failure) => {
                release(&*store, ui).await;
                Err(failure)
            }
        }
    }
}

const LOST_WITH_CI: &str = "the state is kept in a folder of this machine, and CI is set: if the machine goes, the only record of \
                            what is in AWS goes with it. Name a bucket that outlives it: `[stack] state = \"s3://BUCKET/PREFIX\"`, \
                            made by `provision state init`";

/// Does `work` while the right of `store` is renewed, and ends the right after it.
pub(crate) async fn kept<T>(
    store: &dyn Store,
    ui: &Ui,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let done = tokio::select! {
        biased;
        done = work => done,
        () = store.keep() => unreachable!("it never ends"),
    };
    release(store, ui).await;
    done
}

/// What a run that has lost its right does not change any more: the next one has to wait for nothing then.
async fn release(store: &dyn Store, ui: &Ui) {
    match store.release().await {
        Ok(()) | Err(StateError::Lost { .. }) => {}
        Err(error) => ui.warn(&format!(
            "the lease of the state could not be ended, so the next run has to wait until it ends by itself: {error}"
        )),
    }
}

/// Who this run is.
pub(crate) fn holder(command: &str) -> Holder {
    let host = fs_err::read_to_string("/proc/sys/kernel/hostname").or_else(|_| {
        let name = std::process::Command::new("hostname").output()?.stdout;
        Ok::<_, io::Error>(String::from_utf8_lossy(&name).into_owned())
    });
    Holder {
        command: command.to_owned(),
        host: host.map_or_else(|_| "an unknown host".to_owned(), |name| name.trim().to_owned()),
        process: std::process::id(),
        since: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}

fn lock_file(file: &StateFile, command: &str, ui: &Ui) -> Result<(StateWriter, Option<State>), Failure> {
    let folder = files::folder_of(file.path());
    files::make_folder(folder)?;
    if !files::sync_folder(folder)? {
        ui.warn(&format!(
            "the folder {} cannot be synced to its disk: if the machine crashes, the last change to the state may be lost",
            folder.display()
        ));
    }
    let lock = Lock::take(folder, file.stack(), &holder(command)).map_err(|error| match error {
        LockError::Held { .. } | LockError::Leased { .. } => {
            Failure::new(Kind::Locked, error).hinted("wait until that run ends; a killed run holds no lock")
        }
        LockError::Replaced { .. } => Failure::new(Kind::Locked, error).hinted(AGAIN),
        LockError::Io(_) => error.into(),
    })?;
    StateWriter::open(file.clone(), lock).map_err(state_failure)
}

/// In today's shape, and checked.
fn usable(mut state: Option<State>) -> Result<Option<State>, Failure> {
    if let Some(state) = &mut state {
        upgrade(state);
        recorded::check(state).map_err(unusable)?;
    }
    Ok(state)
}

/// Refuses a state that is being moved: it, or what became of it, may be used elsewhere by now.
fn in_place(state: Option<State>) -> Result<Option<State>, Failure> {
    match state.as_ref().and_then(|state| state.moving_to.as_ref()) {
        Some(to) => Err(
            Failure::usage(format!("the state is being moved to {to}")).hinted(format!(
                "run `provision state move {to}` again: it goes on where it stopped"
            )),
        ),
        None => Ok(state),
    }
}

/// What to do once this run may not change the state any more.
const AGAIN: &str = "once no other run is under way, run the same command again";

/// A state file that cannot be used, and what helps.
pub(crate) fn state_failure(error: StateError) -> Failure {
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
            "put the file itself there, or name its folder with --state".to_owned(),
        ),
        StateError::Locked(_) => (
            Kind::Locked,
            "wait until that run ends; the lease of a killed run ends by itself".to_owned(),
        ),
        StateError::Service { .. } => (
            Kind::Failed,
            "check the bucket, its policy and the network, then run the same command again".to_owned(),
        ),
        StateError::NoBucket { location } => (
            Kind::Usage,
            format!("make it with `provision state init {location}`, or correct the name"),
        ),
        StateError::Lost { .. } => (Kind::Locked, AGAIN.to_owned()),
    };
    Failure::new(kind, error).hinted(hint)
}

/// A record that the engine does not understand: somebody edited the file.
pub(crate) fn unusable(error: anyhow::Error) -> Failure {
    Failure::new(Kind::Usage, error).hinted(
        "restore the state file from a copy; it was not changed, and nothing was asked of AWS to change",
    )
}
