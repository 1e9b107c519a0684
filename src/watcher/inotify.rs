//! The events of Linux.
//!
//! Must not tell one event from another.

use std::collections::HashSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::fs::statfs;
use rustix::io::Errno;
use tokio::sync::mpsc;

/// The file systems that another machine or the host changes without an event here: NFS, SMB (both versions), 9P, FUSE with
/// virtiofs, and VirtualBox's shared folders.
const WITHOUT_EVENTS: [u32; 6] = [
    0x6969,
    0xff53_4d42,
    0xfe53_4d42,
    0x0102_1997,
    0x6573_5546,
    0x786f_4256,
];

/// What happens in the folders that were added.
pub(super) struct Events {
    inotify: Arc<OwnedFd>,
    /// The descriptors of the folders that are watched. The system never gives one again.
    watched: HashSet<i32>,
    happened: mpsc::UnboundedReceiver<io::Result<Happened>>,
}

/// One or more events: the descriptors of the folders that are watched no longer.
type Happened = Vec<i32>;

impl Events {
    /// The events are read on a thread of its own, which ends with the process.
    pub(super) fn new() -> io::Result<Self> {
        let inotify = Arc::new(init(CreateFlags::CLOEXEC)?);
        let (sender, happened) = mpsc::unbounded_channel();
        let read_from = inotify.clone();
        thread::spawn(move || {
            loop {
                let read = read(&read_from);
                let is_last = read.is_err();
                if sender.send(read).is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Self {
            inotify,
            watched: HashSet::new(),
            happened,
        })
    }

    /// Whether the folder was not watched yet. One that cannot be reached is left out.
    ///
    /// # Errors
    /// There are no events of this folder.
    pub(super) fn add(&mut self, folder: &Path) -> io::Result<bool> {
        let changes = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let added = match add_watch(&self.inotify, folder, changes) {
            Ok(added) => added,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(false),
            Err(Errno::NOSPC) => {
                return Err(io::Error::other(
                    "the system watches no more folders for this user (fs.inotify.max_user_watches)",
                ));
            }
            Err(error) => return Err(error.into()),
        };
        let is_new = self.watched.insert(added);
        if is_new && statfs(folder).is_ok_and(|system| has_no_events(system.f_type)) {
            return Err(io::Error::other("its file system does not tell of all changes"));
        }
        Ok(is_new)
    }

    /// Waits for an event. May be dropped and called again.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        let happened = self.happened.recv().await;
        let ended = || io::Error::other("the system has stopped telling of changes");
        for gone in happened.ok_or_else(ended)?? {
            self.watched.remove(&gone);
        }
        Ok(())
    }
}

/// Waits for events, and reads all that there are at once.
fn read(inotify: &OwnedFd) -> io::Result<Happened> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(inotify, &mut buffer);
    let mut gone = Vec::new();
    loop {
        match events.next() {
            Ok(event) if event.events().contains(ReadFlags::IGNORED) => gone.push(event.wd()),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if events.is_buffer_empty() {
            return Ok(gone);
        }
    }
}

/// The type has another width and sign on every platform.
fn has_no_events(kind: impl TryInto<i64>) -> bool {
    let kind: i64 = kind.try_into().unwrap_or_default();
    WITHOUT_EVENTS
        .iter()
        .any(|known| kind.cast_unsigned() & 0xffff_ffff == u64::from(*known))
}
