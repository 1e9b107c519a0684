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
    path: PathBuf,
}

impl StateFile {
    /// The file of `stack` in `folder`. Touches nothing.
    pub fn new(folder: &Path, stack: &str) -> Self {
        Self {
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
    /// The file cannot be read, does not parse, or is of a newer format. It is never changed here.
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
        serde_json::from_slice(&text).map(Some).map_err(parse)
    }

    /// Replaces the file. When this returns, the new state survives a crash of the machine; until then the old one does.
    pub fn save(&self, state: &State) -> Result<(), StateError> {
        self.replace(state).map_err(|source| StateError::Io {
            what: "write",
            source,
        })
    }

    fn replace(&self, state: &State) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        // `tempfile` creates it with mode 0600.
        let mut temp = tempfile::Builder::new()
            .prefix(".state-")
            .suffix(".tmp")
            .tempfile_in(folder)?;
        serde_json::to_writer_pretty(&mut temp, state)?;
        temp.write_all(b"\n")?;
        temp.as_file().sync_all()?;
        temp.persist(&self.path).map_err(|error| error.error)?;
        // The rename itself is durable only once the folder is.
        fs_err::File::open(folder)?.sync_all()
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

#[derive(serde::Deserialize)]
struct Format {
    format: u64,
}
