//! Reads the state file and replaces it in one piece: either the old or the new one is there, whole, at any instant.
//!
//! Must not decide what goes into it.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::records::{FORMAT, State};

/// Why the state file cannot be used as it is. None of these leaves it changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system said no.
    #[error("cannot {what} the state file")]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// The file system's own words, with the path.
        #[source]
        source: std::io::Error,
    },
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
}

/// The state file of one stack.
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
        let text = match fs_err::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Io { what: "read", source }),
        };
        let parse = |source: serde_json::Error| StateError::Parse {
            path: self.path.display().to_string(),
            line: source.line(),
            column: source.column(),
            source,
        };
        // The format number first: a newer file may well be of a shape that this program cannot name.
        let format: Format = serde_json::from_slice(&text).map_err(parse)?;
        if format.format > u64::from(FORMAT) {
            return Err(StateError::Newer {
                path: self.path.display().to_string(),
                format: format.format,
            });
        }
        let state: State = serde_json::from_slice(&text).map_err(parse)?;
        match state.problem(&self.stack) {
            None => Ok(Some(state)),
            Some(problem) => Err(StateError::Unusable {
                path: self.path.display().to_string(),
                problem,
            }),
        }
    }

    /// Replaces the file. When this returns, the new state survives a crash of the machine; until then the old one does.
    pub fn save(&self, state: &State) -> Result<(), StateError> {
        self.replace(state).map_err(|source| StateError::Io {
            what: "write",
            source,
        })
    }

    fn replace(&self, state: &State) -> std::io::Result<()> {
        // Always the same name: the stack's lock keeps others away, and a crash leaves nothing that piles up.
        let temp = self.path.with_extension("json.tmp");
        let mut file = open_private(&temp)?;
        let mut text = serde_json::to_vec_pretty(state)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.sync_all()?;
        fs_err::rename(&temp, &self.path)?;
        // The rename itself is durable only once the folder is.
        fs_err::File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Removes the file after the stack's last resource is gone.
    pub fn remove(&self) -> Result<(), StateError> {
        match fs_err::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StateError::Io {
                what: "remove",
                source: error,
            }),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// An empty file that only its owner may read or write.
fn open_private(path: &Path) -> std::io::Result<fs_err::File> {
    use fs_err::os::unix::fs::OpenOptionsExt;
    let mut options = fs_err::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

#[derive(serde::Deserialize)]
struct Format {
    format: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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

    #[test]
    fn what_was_saved_is_what_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path(), "a");
        assert_eq!(file.load().unwrap(), None);
        for serial in [1, 2] {
            file.save(&state(serial)).unwrap();
            assert_eq!(file.load().unwrap(), Some(state(serial)));
        }
        file.remove().unwrap();
        assert_eq!(file.load().unwrap(), None);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
        file.remove().unwrap();
    }

    #[test]
    fn a_save_that_fails_or_is_cut_off_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path(), "a");
        file.save(&state(1)).unwrap();
        // What a crash before the rename leaves.
        fs_err::write(folder.path().join("a.json.tmp"), "{\"format\": 1, \"sta").unwrap();
        assert_eq!(file.load().unwrap(), Some(state(1)));
        file.save(&state(2)).unwrap();
        assert_eq!(file.load().unwrap(), Some(state(2)));
        // Something in the way of the temporary file, as a full disk or a read-only folder would be.
        fs_err::create_dir(folder.path().join("a.json.tmp")).unwrap();
        assert!(matches!(
            file.save(&state(3)),
            Err(StateError::Io { what: "write", .. })
        ));
        assert_eq!(file.load().unwrap(), Some(state(2)));
    }
}
