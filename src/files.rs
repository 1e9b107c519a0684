//! Opens regular files and nothing else, and makes new file names durable.
//!
//! Must not wait for the other end of a pipe, and must not know what is in a file.

use std::ffi::OsStr;
use std::fs::{Metadata, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;
use fs_err::{File, OpenOptions};
use rustix::fs::OFlags;
use tempfile::NamedTempFile;

/// Whether a path may be a symbolic link to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// For a user's file.
    Followed,
    /// For provision's own file, which is never a link.
    Refused,
}

/// Opens a regular file for reading.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if it is a folder, a pipe, a socket, a device, or a link that is refused.
pub(crate) fn open(path: &Path, links: Links) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), path, links)
}

/// Opens a regular file with these options, or creates it if they say so.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_with(options: &mut OpenOptions, path: &Path, links: Links) -> io::Result<File> {
    let (about, flag) = match links {
        Links::Followed => (fs_err::metadata(path), OFlags::empty()),
        Links::Refused => (fs_err::symlink_metadata(path), OFlags::NOFOLLOW),
    };
    // Checked before it is opened, because opening a device may have an effect. A missing file may be created.
    if let Ok(about) = about {
        check(&about, path)?;
    }
    let flags = flag | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path)?;
    // The file may have been replaced in the meantime.
    check(&file.metadata()?, path)?;
    Ok(file)
}

fn check(about: &Metadata, path: &Path) -> io::Result<()> {
    let problem = if about.is_symlink() {
        "is a symbolic link"
    } else if about.is_dir() {
        "is a folder"
    } else if !about.is_file() {
        "is a pipe, a socket or a device"
    } else {
        return Ok(());
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{} {problem}; expected a regular file", path.display()),
    ))
}

/// The folder that contains what `path` names.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Makes new, renamed and removed names in `folder` survive a crash of the machine; `false` if the file system does not
/// support it.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<bool> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Ok(()) => Ok(true),
        // EINVAL and ENOTSUP of the kernel. PermissionDenied: a folder can be writable without being readable.
        Err(error) if matches!(error.kind(), InvalidInput | Unsupported | PermissionDenied) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates `folder` and its missing parents, so that they survive a crash of the machine if the file system supports it.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    let changing = changed_by_making(folder);
    fs_err::create_dir_all(folder)?;
    changing
        .into_iter()
        .try_for_each(|parent| sync_folder(parent).map(drop))
}

/// The folders that get a new entry when `folder` is created, the lowest first.
fn changed_by_making(folder: &Path) -> Vec<&Path> {
    folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(folder_of)
        .collect()
}

/// What ends the name of a file that is being written.
const SUFFIX: &str = ".tmp";

/// New content of a file, which replaces it in one piece: either the old or the new content is there, whole, at any instant.
pub(crate) struct Replacement(NamedTempFile);

impl Replacement {
    /// Writes `text` to the disk, beside `path` and under a name that nobody can know before. `mode` is what others may do
    /// with the file, less what the process's umask forbids.
    ///
    /// # Errors
    /// The file system refuses it; nothing is left.
    pub(crate) fn write(path: &Path, text: &[u8], mode: u32) -> io::Result<Self> {
        let mut file = tempfile::Builder::new()
            .prefix(&prefix(path))
            .suffix(SUFFIX)
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder_of(path))?;
        file.write_all(text)?;
        file.as_file().sync_all()?;
        Ok(Self(file))
    }

    /// Puts it in the place of `path`. When this returns, it outlasts a crash of the machine where the file system can be
    /// asked for that.
    ///
    /// # Errors
    /// The file system refuses it.
    pub(crate) fn persist(self, path: &Path) -> io::Result<()> {
        self.0.persist(path).map_err(|error| error.error)?;
        // The rename itself is durable only once the folder is.
        sync_folder(folder_of(path)).map(drop)
    }

    /// The same where nothing has the name `path`.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if something has, which stays as it is; or the file system refuses it.
    pub(crate) fn persist_new(self, path: &Path) -> io::Result<()> {
        let done = self.0.persist_noclobber(path).map_err(|error| error.error);
        done.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        sync_folder(folder_of(path)).map(drop)
    }
}

fn prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    format!(".{}.", name.to_string_lossy())
}

/// Removes what killed runs left of replacements of `path`. What cannot be removed does no harm.
pub(crate) fn remove_leftovers(path: &Path) {
    for entry in folder_of(path).read_dir().into_iter().flatten().flatten() {
        if is_leftover(&entry.file_name(), path) {
            drop(fs_err::remove_file(entry.path()));
        }
    }
}

/// Whether a killed run left the file `name`, in the folder of `path`, of a replacement of `path`.
pub(crate) fn is_leftover(name: &OsStr, path: &Path) -> bool {
    let prefix = prefix(path);
    let random = name
        .to_str()
        .and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(SUFFIX));
    random.is_some_and(|random| random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Opens a lock file, which is created if it is missing and never deleted, and locks it until it is dropped; `false` if
/// another process holds the lock.
///
/// # Errors
/// As [`open`].
pub(crate) fn lock(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let file = open_with(&mut options, path, Links::Refused)?;
    // Who may only read the file could still hold a lock on it.
    if file.metadata()?.mode() & 0o777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    match file.file().try_lock() {
        Ok(()) => Ok((file, true)),
        Err(TryLockError::WouldBlock) => Ok((file, false)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs_err::write(path("file"), "text").unwrap();
        symlink("file", path("link")).unwrap();
        symlink("pipe", path("link-to-pipe")).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(path("pipe"))
                .status()
                .unwrap()
                .success()
        );
        let _socket = UnixListener::bind(path("socket")).unwrap();
        let mut text = String::new();
        let mut opened = open(&path("link"), Links::Followed).unwrap();
        opened.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        for (name, links, problem) in [
            ("link", Links::Refused, "is a symbolic link"),
            (".", Links::Followed, "is a folder"),
            ("pipe", Links::Followed, "is a pipe, a socket or a device"),
            ("pipe", Links::Refused, "is a pipe, a socket or a device"),
            ("link-to-pipe", Links::Followed, "is a pipe, a socket or a device"),
            ("socket", Links::Followed, "is a pipe, a socket or a device"),
        ] {
            let error = open(&path(name), links).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
            let path = path(name);
            assert_eq!(
                error.to_string(),
                format!("{} {problem}; expected a regular file", path.display())
            );
        }
        let gone = open(&path("gone"), Links::Refused).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_folder_of_every_new_folder_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("a/b");
        assert_eq!(
            changed_by_making(&new),
            [folder.path().join("a"), folder.path().to_owned()]
        );
        make_folder(&new).unwrap();
        assert!(new.is_dir());
        assert_eq!(changed_by_making(&new), [] as [&Path; 0]);
        assert_eq!(changed_by_making(Path::new("not-there")), [Path::new(".")]);
    }

    #[test]
    fn a_file_system_that_cannot_sync_a_folder_is_not_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        assert!(sync_folder(folder.path()).unwrap());
        assert!(sync_folder(&folder.path().join("gone")).is_err());
        // The kernel answers EINVAL.
        #[cfg(target_os = "linux")]
        assert!(!sync_folder(Path::new("/proc")).unwrap());
    }
}
