//! One run at a time on a stack: an OS lock that a killed process cannot leave behind.
//!
//! Must not delete the lock file: a file that is locked while another run replaces it would be two locks.

use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files;
use crate::lease::Holder;

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
    /// Another run has the lease of a state in S3.
    #[error("{}", leased(.at, .holder.as_ref(), *.left))]
    Leased {
        /// The object's address.
        at: String,
        /// Who.
        holder: Option<Holder>,
        /// How long from now nobody else can take it, if its holder does not renew it.
        left: Duration,
    },
    /// Whoever opens the path gets another file than the one that is locked.
    #[error("the lock file {} was deleted or replaced", .path.display())]
    Replaced {
        /// The lock file.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("cannot lock the state")]
    Io(#[from] std::io::Error),
}

fn held(path: &Path, holder: Option<&Holder>) -> String {
    format!("the state is locked by {} ({})", by(holder), path.display())
}

fn leased(at: &str, holder: Option<&Holder>, left: Duration) -> String {
    let seconds = left.as_secs() + 1;
    format!(
        "the state is locked by {}, for at most {seconds} more seconds unless that run renews it ({at})",
        by(holder)
    )
}

/// Who it is, for people.
pub(crate) fn by(holder: Option<&Holder>) -> String {
    match holder {
        Some(holder) => format!(
            "`{}`, process {} on {}, since {}",
            holder.command, holder.process, holder.host, holder.since
        ),
        None => "another run".to_owned(),
    }
}

/// Whether a run holds a lock, as far as this machine tells without taking it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// None of this machine does.
    Free,
    /// This one, if it has written who it is.
    By(Option<Holder>),
    /// The system does not list locks.
    Unknown,
}

/// Whether a run holds the lock of `stack` in `folder`. It is not taken, not even for an instant.
pub(crate) fn look(folder: &Path, stack: &str) -> std::io::Result<Held> {
    let path = folder.join(format!("{stack}.lock"));
    let mut file = match files::open(&path, files::Links::Refused) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Held::Free),
        Err(error) => return Err(error),
    };
    let Ok(locks) = fs_err::read_to_string("/proc/locks") else {
        return Ok(Held::Unknown);
    };
    let mut text = String::new();
    let read = file.read_to_string(&mut text).ok();
    let holder: Option<Holder> = read.and_then(|_| serde_json::from_str(&text).ok());
    let inode = file.metadata()?.ino();
    let process = holder.as_ref().map(|holder| holder.process);
    Ok(if is_listed(&locks, inode, process) {
        Held::By(holder)
    } else {
        Held::Free
    })
}

/// Whether proc(5) lists a lock on this inode, by this process if it is known. The devices of some file systems are not those that
/// a file tells.
fn is_listed(locks: &str, inode: u64, process: Option<u32>) -> bool {
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", by, place, ..] = words[..] else {
            return false;
        };
        let is_there = place.rsplit(':').next() == Some(inode.to_string().as_str());
        is_there && process.is_none_or(|process| by == process.to_string())
    })
}

/// The stack's lock, held until dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: fs_err::File,
}

impl Lock {
    /// Takes the lock of `stack` in `folder`, at once or not at all.
    pub fn take(folder: &Path, stack: &str, holder: &Holder) -> Result<Self, LockError> {
        let path = folder.join(format!("{stack}.lock"));
        let (mut file, is_ours) = files::lock(&path)?;
        if !is_ours {
            let mut text = String::new();
            let read = file.read_to_string(&mut text).ok();
            let holder = read.and_then(|_| serde_json::from_str(&text).ok());
            return Err(LockError::Held { path, holder });
        }
        let mut lock = Self { path, file };
        lock.check()?;
        lock.file.set_len(0)?;
        lock.file.rewind()?;
        lock.file
            .write_all(&serde_json::to_vec(holder).expect("a holder is plain JSON"))?;
        Ok(lock)
    }

    /// Makes sure that no other run can have taken the lock since.
    ///
    /// # Errors
    /// The path does not lead to the locked file any more.
    pub fn check(&self) -> Result<(), LockError> {
        let ours = self.file.metadata()?;
        let there = fs_err::symlink_metadata(&self.path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok(());
        }
        Err(LockError::Replaced {
            path: self.path.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn take(folder: &Path) -> Result<Lock, LockError> {
        let holder = Holder {
            command: "up".to_owned(),
            host: "here".to_owned(),
            process: 1,
            since: "2026-11-23T00:00:00Z".to_owned(),
        };
        Lock::take(folder, "a", &holder)
    }

    #[test]
    fn nobody_else_can_open_the_lock_and_an_older_one_is_closed_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let mode = || fs_err::metadata(&path).unwrap().mode() & 0o777;
        drop(take(folder.path()).unwrap());
        assert_eq!(mode(), 0o600);
        fs_err::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(take(folder.path()).unwrap());
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn who_holds_a_lock_is_seen_without_taking_it() {
        let list = "1: POSIX  ADVISORY  READ 5 08:01:128 128 128\n\
                    2: FLOCK  ADVISORY  WRITE 4711 00:2a:1234 0 EOF\n";
        assert!(is_listed(list, 1234, Some(4711)) && is_listed(list, 1234, None));
        assert!(!is_listed(list, 1234, Some(4712)) && !is_listed(list, 123, None));
        assert!(!is_listed(list, 128, None) && !is_listed("", 1234, None));

        let folder = tempfile::tempdir().unwrap();
        assert_eq!(look(folder.path(), "a").unwrap(), Held::Free);
        assert!(!folder.path().join("a.lock").exists());
        // That of a run of this machine: its process is this one.
        let holder = Holder {
            command: "up".to_owned(),
            host: "here".to_owned(),
            process: std::process::id(),
            since: "2026-11-23T00:00:00Z".to_owned(),
        };
        let lock = Lock::take(folder.path(), "a", &holder).unwrap();
        let held = look(folder.path(), "a").unwrap();
        assert!(
            [Held::By(Some(holder)), Held::Unknown].contains(&held),
            "{held:?}"
        );
        drop(lock);
        let free = look(folder.path(), "a").unwrap();
        assert!([Held::Free, Held::Unknown].contains(&free), "{free:?}");
    }

    #[test]
    fn a_lock_that_was_deleted_or_replaced_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let lock = take(folder.path()).unwrap();
        lock.check().unwrap();
        fs_err::rename(&path, folder.path().join("elsewhere")).unwrap();
        let replaced = |lock: &Lock| matches!(lock.check(), Err(LockError::Replaced { .. }));
        assert!(replaced(&lock), "deleted");
        // The next run's, which does not know of the first.
        let next = take(folder.path()).unwrap();
        assert!(replaced(&lock), "replaced");
        next.check().unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.path().join("link")).unwrap();
        fs_err::rename(folder.path().join("link"), &path).unwrap();
        assert!(
            replaced(&lock),
            "a link to the locked file is not the locked file"
        );
    }

    #[test]
    fn a_link_is_not_locked_and_its_target_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("target"), "kept").unwrap();
        std::os::unix::fs::symlink("target", folder.path().join("a.lock")).unwrap();
        assert!(matches!(take(folder.path()), Err(LockError::Io(_))));
        assert_eq!(fs_err::read(folder.path().join("target")).unwrap(), b"kept");
    }
}
