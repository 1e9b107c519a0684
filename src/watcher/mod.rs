//! Tells that something may have changed in folders, by the system's events where it has them.
//!
//! Must not know what the folders are for, nor what has changed: whoever asks looks.

#[cfg(target_os = "linux")]
mod inotify;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

#[cfg(target_os = "linux")]
use self::inotify::Events;

/// How long nothing may happen before a change counts as complete: an editor saves in several steps, and a build writes many
/// files.
const QUIET: Duration = Duration::from_millis(50);
/// How long a change may go on before it counts as complete all the same: something may always be written.
const LONGEST: Duration = Duration::from_secs(1);
/// Between two looks where there are no events.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// A set of folders, each watched without the folders in it.
pub(crate) struct Watcher {
    /// `None`: there are none.
    events: Option<Events>,
    /// Why there are none.
    lacks_events: Option<String>,
    /// When the change began that is not complete yet.
    noticed: Option<Instant>,
}

impl Watcher {
    /// Of no folder yet.
    pub(crate) fn new() -> Self {
        let mut watcher = Self {
            events: None,
            lacks_events: None,
            noticed: None,
        };
        match Events::new() {
            Ok(events) => watcher.events = Some(events),
            Err(error) => watcher.lacks_events = Some(error.to_string()),
        }
        watcher
    }

    /// Also watches these folders, as far as they exist. Whether one of them was not watched yet: then the caller looks again,
    /// because something may have changed in it before.
    pub(crate) fn add(&mut self, folders: impl IntoIterator<Item = PathBuf>) -> bool {
        let mut is_new = false;
        for folder in folders {
            let Some(events) = &mut self.events else {
                return false;
            };
            match events.add(&folder) {
                Ok(added) => is_new |= added,
                Err(error) => self.do_without(format!("{}: {error}", folder.display())),
            }
        }
        is_new
    }

    /// Why there are no events, so that this only asks its caller to look every quarter of a second; `None` if there are.
    pub(crate) fn lacks_events(&self) -> Option<&str> {
        self.lacks_events.as_deref()
    }

    /// Waits until something has happened in one of the folders, and nothing more happens; returns when it began. May be
    /// dropped and called again.
    pub(crate) async fn changed(&mut self) -> Instant {
        let Some(events) = &mut self.events else {
            sleep(BETWEEN_LOOKS).await;
            return Instant::now();
        };
        match quiet(events, &mut self.noticed).await {
            Ok(began) => began,
            Err(error) => {
                self.do_without(error.to_string());
                Instant::now()
            }
        }
    }

    fn do_without(&mut self, why: String) {
        self.events = None;
        self.lacks_events = Some(why);
    }
}

async fn quiet(events: &mut Events, noticed: &mut Option<Instant>) -> io::Result<Instant> {
    let began = if let Some(began) = *noticed {
        began
    } else {
        events.next().await?;
        *noticed.insert(Instant::now())
    };
    let latest = began + LONGEST;
    loop {
        let until = latest.min(Instant::now() + QUIET);
        match timeout_at(until, events.next()).await {
            Ok(happened) => happened?,
            Err(_) => break,
        }
        if Instant::now() >= latest {
            break;
        }
    }
    *noticed = None;
    Ok(began)
}

/// Where the system's events are of a form that this program does not use.
#[cfg(not(target_os = "linux"))]
struct Events;

#[cfg(not(target_os = "linux"))]
impl Events {
    fn new() -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this program does not use the events of this system",
        ))
    }

    fn add(&mut self, _: &Path) -> io::Result<bool> {
        Ok(false)
    }

    async fn next(&mut self) -> io::Result<()> {
        std::future::pending().await
    }
}

/// The nearest folder above `path` that exists: it tells when the path comes.
pub(crate) fn above(path: &Path) -> Option<PathBuf> {
    let folders = path.ancestors().skip(1);
    // Above a path of one name is the folder that the process is in.
    let named = |folder| Path::new(".").join(folder);
    folders.map(named).find(|folder| folder.is_dir())
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;

    use super::*;

    fn write(folder: &Path, name: &str) {
        fs_err::write(folder.join(name), "text").unwrap();
    }

    /// Whether it is ready within a time in which it would be.
    async fn soon<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(400), pin!(future))
            .await
            .ok()
    }

    #[tokio::test]
    async fn a_burst_is_one_change_and_reading_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new();
        assert!(watcher.add([folder.path().to_owned()]));
        assert!(!watcher.add([folder.path().to_owned()]), "it is watched already");
        for name in ["a", "b", "c"] {
            write(folder.path(), name);
        }
        assert!(soon(watcher.changed()).await.is_some());
        fs_err::read(folder.path().join("a")).unwrap();
        assert!(soon(watcher.changed()).await.is_none());
    }

    #[tokio::test]
    async fn what_replaces_a_watched_folder_is_new() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("code");
        fs_err::create_dir(&folder).unwrap();
        let mut watcher = Watcher::new();
        watcher.add([parent.path().to_owned(), folder.clone()]);
        fs_err::remove_dir(&folder).unwrap();
        assert!(soon(watcher.changed()).await.is_some());
        assert!(!watcher.add([folder.clone()]), "it does not exist");
        fs_err::create_dir(&folder).unwrap();
        assert!(soon(watcher.changed()).await.is_some());
        assert!(watcher.add([folder.clone()]));
        write(&folder, "a");
        assert!(soon(watcher.changed()).await.is_some());
    }

    #[tokio::test]
    async fn what_always_changes_does_not_hide_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new();
        watcher.add([folder.path().to_owned()]);
        let writes = async {
            loop {
                write(folder.path(), "log");
                sleep(QUIET / 5).await;
            }
        };
        tokio::select! {
            began = watcher.changed() => assert!(began.elapsed() < 3 * LONGEST),
            () = writes => unreachable!("it never ends"),
        }
    }

    #[test]
    fn the_nearest_folder_above_a_path_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let here = Some(folder.path().to_owned());
        assert_eq!(above(&folder.path().join("a")), here);
        assert_eq!(above(&folder.path().join("a/b/c")), here);
        assert_eq!(above(Path::new("provision.toml")), Some(PathBuf::from("./")));
    }
}
