//! Reads the state file and replaces it in one piece: either the old or the new one is there, whole, at any instant.
//!
//! Must not decide what goes into it, and must not replace what another run wrote.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::lock::{Lock, LockError};
use super::records::{FORMAT, State};
use crate::files::{self, Links, Replacement};

/// Why the state file cannot be used as it is. None of these leaves it changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system said no.
    #[error("cannot {what} the state file")]
    Io {
        /// `read`, `write` or `remove`.
        what: &'static str,
        /// The file system's own words, with the path.
        #[source]
        source: std::io::Error,
    },
    /// A symbolic link, a folder, a pipe: replacing it would not replace what it stands for.
    #[error("the state file cannot be used")]
    NotAFile(#[source] std::io::Error),
    /// Not JSON, or not a state file's JSON.
    #[error("the state file {path} does not parse at line {line}, column {column}")]
    Parse {
        /// The file.
        path: String,
        /// Counted from 1; 0 where the JSON is well-formed but not a state.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is wrong there.
        #[source]
        source: serde_json::Error,
    },
    /// A state file's JSON, and not what this program writes for this stack.
    #[error("the state file {path} {problem}")]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Written by a later version of this program.
    #[error("the state file {path} has format {format}; this version of provision reads up to {FORMAT}")]
    Newer {
        /// The file.
        path: String,
        /// Its format number.
        format: u64,
    },
    /// Another run has the right to write.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// S3 did not do what was asked of it.
    #[error("cannot {what} the state {at}")]
    Service {
        /// `read` or `write`.
        what: &'static str,
        /// The object's address.
        at: String,
        /// The failed call.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The location names a bucket that does not exist.
    #[error("the bucket of {location} does not exist")]
    NoBucket {
        /// The location.
        location: String,
    },
    /// Another run may be writing: this one must not begin anything any more.
    #[error("this run has lost its lock: {why}")]
    Lost {
        /// What was seen.
        why: String,
    },
}

/// The state file of one stack.
#[derive(Clone)]
pub struct StateFile {
    stack: String,
    path: PathBuf,
}

impl StateFile {
    /// The file of `stack` in `folder`. Touches nothing.
    pub fn new(folder: &Path, stack: &str) -> Self {
        Self {
            stack: stack.to_owned(),
            path: folder.join(format!("{stack}.json")),
        }
    }

    /// The stack's name.
    pub fn stack(&self) -> &str {
        &self.stack
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The recorded state; `None` if nothing is recorded.
    ///
    /// # Errors
    /// The file cannot be read, does not parse, is of a newer format or of another stack, or contradicts itself. It is never
    /// changed here.
    pub fn load(&self) -> Result<Option<State>, StateError> {
        let text = match self.read() {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                return Err(StateError::NotAFile(error));
            }
            Err(source) => return Err(StateError::Io { what: "read", source }),
        };
        parse(&text, &self.path.display().to_string(), &self.stack).map(Some)
    }

    /// The file's text; `None` if it is absent.
    fn read(&self) -> std::io::Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        match files::open(&self.path, Links::Refused) {
            Ok(mut file) => file.read_to_end(&mut text).map(|_| Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The state of `stack` in the text that was read from `path`.
pub(super) fn parse(text: &[u8], path: &str, stack: &str) -> Result<State, StateError> {
    check_format(text, path)?;
    let state: State = serde_json::from_slice(text).map_err(|source| unparsed(path, source))?;
    match state.problem(stack) {
        None => Ok(state),
        Some(problem) => Err(StateError::Unusable {
            path: path.to_owned(),
            problem,
        }),
    }
}

/// Refuses what a later version has written: it may well be of a shape that this program cannot name.
pub(super) fn check_format(text: &[u8], path: &str) -> Result<(), StateError> {
    let Format { format } = serde_json::from_slice(text).map_err(|source| unparsed(path, source))?;
    if format > u64::from(FORMAT) {
        return Err(StateError::Newer {
            path: path.to_owned(),
            format,
        });
    }
    Ok(())
}

pub(super) fn unparsed(path: &str, source: serde_json::Error) -> StateError {
    StateError::Parse {
        path: path.to_owned(),
        line: source.line(),
        column: source.column(),
        source,
    }
}

/// A state file that this run alone may replace, for as long as it holds the lock.
pub struct StateWriter {
    file: StateFile,
    lock: Lock,
    /// What the file's serial was when this run last read or wrote the file; `None` if there was no file.
    serial: Option<u64>,
    /// What was seen when the lock was lost. It is not found again: the other run's results are not in this run's state.
    lost: Option<String>,
}

impl StateWriter {
    /// Reads the file under its lock.
    ///
    /// # Errors
    /// As [`StateFile::load`].
    pub fn open(file: StateFile, lock: Lock) -> Result<(Self, Option<State>), StateError> {
        let state = file.load()?;
        let writer = Self {
            serial: state.as_ref().map(|state| state.serial),
            file,
            lock,
            lost: None,
        };
        files::remove_leftovers(&writer.file.path);
        Ok((writer, state))
    }

    /// Makes sure that this run may still change what the state is about.
    ///
    /// # Errors
    /// [`StateError::Lost`].
    pub fn check(&self) -> Result<(), StateError> {
        match self.lost.clone().or_else(|| self.lock_lost()) {
            Some(why) => Err(StateError::Lost { why }),
            None => Ok(()),
        }
    }

    /// Replaces the file. When this returns, the new state survives a crash of the machine, as far as the file system
    /// can be asked for that; until then the old one does.
    ///
    /// # Errors
    /// [`StateError::Lost`], from then on every time, or [`StateError::Io`]. The file is as it was.
    pub fn save(&mut self, state: &State) -> Result<(), StateError> {
        // Before a new file is begun, which fails as a file system does where the folder was deleted with the lock.
        self.keep(Self::lock_lost)?;
        let write = |source| StateError::Io {
            what: "write",
            source,
        };
        let text = serde_json::to_vec_pretty(state).map_err(|error| write(error.into()))?;
        let text = [&text, &b"\n"[..]].concat();
        let replacement = Replacement::write(&self.file.path, &text, 0o600).map_err(write)?;
        self.keep(Self::lock_lost)?;
        self.keep(Self::file_changed)?;
        replacement.persist(&self.file.path).map_err(write)?;
        self.serial = Some(state.serial);
        Ok(())
    }

    /// Removes the file after the stack's last resource is gone.
    ///
    /// # Errors
    /// As [`StateWriter::save`].
    pub fn remove(&mut self) -> Result<(), StateError> {
        self.keep(Self::lock_lost)?;
        self.keep(Self::file_changed)?;
        match fs_err::remove_file(&self.file.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StateError::Io {
                what: "remove",
                source: error,
            }),
            Ok(()) | Err(_) => {
                self.serial = None;
                Ok(())
            }
        }
    }

    fn keep(&mut self, seen: impl FnOnce(&Self) -> Option<String>) -> Result<(), StateError> {
        if self.lost.is_none() {
            self.lost = seen(self);
        }
        match &self.lost {
            Some(why) => Err(StateError::Lost { why: why.clone() }),
            None => Ok(()),
        }
    }

    fn lock_lost(&self) -> Option<String> {
        self.lock.check().err().map(|error| error.to_string())
    }

    /// Why the file is not the one that this run last read or wrote.
    fn file_changed(&self) -> Option<String> {
        let path = self.file.path.display();
        let serial = match self.file.read() {
            Ok(None) => None,
            Ok(Some(text)) => match serde_json::from_slice::<Serial>(&text) {
                Ok(found) => Some(found.serial),
                Err(error) => return Some(format!("the state file {path} does not parse any more: {error}")),
            },
            Err(error) => return Some(format!("the state file cannot be read any more: {error}")),
        };
        let named = |serial: Option<u64>| serial.map_or("no file".to_owned(), |serial| serial.to_string());
        (serial != self.serial).then(|| {
            format!(
                "the state file {path} was changed by something else: expected serial {}, got {}",
                named(self.serial),
                named(serial)
            )
        })
    }
}

#[derive(Deserialize)]
struct Format {
    format: u64,
}

#[derive(Deserialize)]
struct Serial {
    serial: u64,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use serde_json::json;

    use super::*;
    use crate::state::Holder;

    fn state(serial: u64) -> State {
        let state = json!({
            "format": 1, "stack": "a", "account": "123456789012", "region": "eu-west-1", "partition": "aws",
            "endpoint": null, "owner": "1a2b3c4d", "serial": serial,
            "steps": [{
                "step": "user-pool", "phase": "updating", "kind": "user-pool", "needs": ["x"],
                "desired": {"name": "a"}, "output": null,
            }],
        });
        serde_json::from_value(state).unwrap()
    }

    fn lock(folder: &Path) -> Lock {
        let holder = Holder {
            command: "up".to_owned(),
            host: "here".to_owned(),
            process: 1,
            since: "2026-11-23T00:00:00Z".to_owned(),
        };
        Lock::take(folder, "a", &holder).unwrap()
    }

    fn open(folder: &Path) -> (StateWriter, Option<State>) {
        StateWriter::open(StateFile::new(folder, "a"), lock(folder)).unwrap()
    }

    fn load(folder: &Path) -> Option<State> {
        StateFile::new(folder, "a").load().unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = (fs_err::read_dir(folder).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_saved_is_what_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let (mut writer, found) = open(path);
        assert_eq!(found, None);
        for serial in [1, 2] {
            writer.save(&state(serial)).unwrap();
            assert_eq!(load(path), Some(state(serial)));
            assert_eq!(names(path), ["a.json", "a.lock"]);
            let mode = fs_err::metadata(path.join("a.json")).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        drop(writer);
        let (mut writer, found) = open(path);
        assert_eq!(found, Some(state(2)));
        writer.save(&state(3)).unwrap();
        writer.remove().unwrap();
        assert_eq!(names(path), ["a.lock"]);
        writer.remove().unwrap();
    }

    #[test]
    fn a_save_that_is_cut_off_leaves_the_one_before_and_its_remains_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        open(path).0.save(&state(1)).unwrap();
        // What a crash before the rename leaves, another stack's, and what is nobody's.
        for name in [
            ".a.json.Ab3dEf.tmp",
            ".a.json.x.y.tmp",
            ".ab.json.Ab3dEf.tmp",
            "a.json.tmp",
        ] {
            fs_err::write(path.join(name), "{\"format\": 1, \"sta").unwrap();
        }
        symlink("a.json.tmp", path.join(".a.json.L1nk00.tmp")).unwrap();
        let (_writer, found) = open(path);
        assert_eq!(found, Some(state(1)));
        let kept = [
            ".a.json.x.y.tmp",
            ".ab.json.Ab3dEf.tmp",
            "a.json",
            "a.json.tmp",
            "a.lock",
        ];
        assert_eq!(names(path), kept);
    }

    #[test]
    fn a_save_that_fails_leaves_the_one_before_and_a_later_one_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let (mut writer, _) = open(path);
        writer.save(&state(1)).unwrap();
        // No file of this name can be made, as on a full disk.
        let too_long = path.join("x".repeat(300));
        let right = std::mem::replace(&mut writer.file.path, too_long);
        assert!(matches!(
            writer.save(&state(2)),
            Err(StateError::Io { what: "write", .. })
        ));
        assert_eq!(load(path), Some(state(1)));
        writer.file.path = right;
        writer.save(&state(3)).unwrap();
        assert_eq!(load(path), Some(state(3)));
    }

    #[test]
    fn nothing_that_another_hand_put_in_the_way_is_followed_or_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs_err::create_dir(path.join("outside")).unwrap();
        let outside = path.join("outside/file");
        fs_err::write(&outside, serde_json::to_vec(&state(1)).unwrap()).unwrap();
        symlink(&outside, path.join("a.json.tmp")).unwrap();
        let (mut writer, _) = open(path);
        writer.save(&state(7)).unwrap();
        drop(writer);
        fs_err::remove_file(path.join("a.json")).unwrap();
        symlink(&outside, path.join("a.json")).unwrap();
        let file = StateFile::new(path, "a");
        let refused = file.load().unwrap_err();
        assert!(matches!(&refused, StateError::NotAFile(_)), "{refused}");
        assert!(StateWriter::open(file, lock(path)).is_err());
        assert!(path.join("a.json").is_symlink());
        assert_eq!(
            fs_err::read(&outside).unwrap(),
            serde_json::to_vec(&state(1)).unwrap()
        );
    }

    #[test]
    fn a_run_that_has_lost_its_lock_never_writes_again() {
        let lost = |saved: Result<(), StateError>| match saved {
            Err(StateError::Lost { why }) => why,
            other => panic!("{other:?}"),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let (mut first, _) = open(path);
        first.save(&state(1)).unwrap();
        fs_err::remove_file(path.join("a.lock")).unwrap();
        let (mut second, found) = open(path);
        assert_eq!(found, Some(state(1)));
        let why = format!(
            "the lock file {} was deleted or replaced",
            path.join("a.lock").display()
        );
        assert_eq!(lost(first.save(&state(2))), why);
        assert_eq!(lost(first.remove()), why);
        second.save(&state(2)).unwrap();
        assert_eq!(load(path), Some(state(2)));
        // Also when the other run is over and its lock is free.
        drop(second);
        assert_eq!(lost(first.save(&state(3))), why);
        assert_eq!(load(path), Some(state(2)));
        assert_eq!(names(path), ["a.json", "a.lock"]);
    }

    #[test]
    fn a_file_that_something_else_changed_is_not_replaced() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 5] = [
            ("expected serial 1, got 9", |file| {
                fs_err::write(file, serde_json::to_vec(&state(9)).unwrap()).unwrap();
            }),
            ("expected serial 1, got no file", |file| {
                fs_err::remove_file(file).unwrap();
            }),
            ("does not parse any more", |file| {
                fs_err::write(file, "{").unwrap();
            }),
            ("is a folder", |file| {
                fs_err::remove_file(file).unwrap();
                fs_err::create_dir(file).unwrap();
            }),
            ("is a symbolic link", |file| {
                fs_err::rename(file, file.with_extension("moved")).unwrap();
                symlink("a.moved", file).unwrap();
            }),
        ];
        for (expected, change) in changes {
            let folder = tempfile::tempdir().unwrap();
            let (mut writer, _) = open(folder.path());
            writer.save(&state(1)).unwrap();
            change(&folder.path().join("a.json"));
            let before = names(folder.path());
            let saved = writer.save(&state(2));
            assert!(
                matches!(&saved, Err(StateError::Lost { why }) if why.contains(expected)),
                "{expected}: {saved:?}"
            );
            assert_eq!(names(folder.path()), before, "{expected}");
        }
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, _) = open(folder.path());
        // It came after this run had found none.
        fs_err::write(
            folder.path().join("a.json"),
            serde_json::to_vec(&state(4)).unwrap(),
        )
        .unwrap();
        let saved = writer.save(&state(1));
        assert!(
            matches!(&saved, Err(StateError::Lost { why }) if why.ends_with("expected serial no file, got 4")),
            "{saved:?}"
        );
        assert_eq!(load(folder.path()), Some(state(4)));
    }
}
