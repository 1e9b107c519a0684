//! One run at a time on a stack: an OS lock that a killed process cannot leave behind.
//!
//! Must not delete the lock file: a file that is locked while another run replaces it would be two locks.

use std::fs::TryLockError;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Who holds a lock. What the next run is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The command: `up` or `down`.
    pub command: String,
    /// The host's name.
    pub host: String,
    /// The process id.
    pub process: u32,
    /// When it took the lock, RFC 3339 in UTC.
    pub since: String,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run has it.
    #[error("{}", held(.path, .holder.as_ref()))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who; `None` if the holder has not written it yet.
        holder: Option<Holder>,
    },
    /// The file system said no.
    #[error("cannot lock the state")]
    Io(#[from] std::io::Error),
}

fn held(path: &Path, holder: Option<&Holder>) -> String {
    match holder {
        Some(holder) => format!(
            "the state is locked by `{}`, process {} on {}, since {} ({})",
            holder.command,
            holder.process,
            holder.host,
            holder.since,
            path.display()
        ),
        None => format!("the state is locked by another run ({})", path.display()),
    }
}

/// The stack's lock, held until dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: fs_err::File,
}

impl Lock {
    /// Takes the lock of `stack` in `folder`, at once or not at all.
    pub fn take(folder: &Path, stack: &str, holder: &Holder) -> Result<Self, LockError> {
        let path = folder.join(format!("{stack}.lock"));
        let mut file = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        match file.file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let holder = file
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| serde_json::from_str(&text).ok());
                return Err(LockError::Held { path, holder });
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&serde_json::to_vec(holder).expect("a holder is plain JSON"))?;
        Ok(Self { _file: file })
    }
}
