//! What keeps a run from calling AWS without the right to: the lease of its state, as the run's own clocks show it.
//!
//! Must not renew anything: who holds the lease is asked to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
#[cfg(not(target_os = "linux"))]
use std::time::Instant;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};

use super::{LENGTH, MARGIN, Moment};

/// Shared by a store, which renews, and the AWS calls of its run, which ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fence(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    standing: watch::Sender<Standing>,
    /// How long the longest takes that has waited for more of the lease than was left.
    wanted: Mutex<Duration>,
    renew: Notify,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    /// An operating system's lock needs no renewal.
    Open,
    /// When the last write that renewed it was sent, and how long it lasts from then.
    Leased(Option<(Moment, Duration)>),
    Lost,
}

/// The run has lost its lease, and must not call AWS any more.
#[derive(Debug, thiserror::Error)]
#[error("this run has lost the lease of its state; nothing was sent")]
pub struct Closed;

impl Fence {
    /// Without a lease, until one is taken: nothing is held back.
    pub fn open() -> Self {
        Self::new(Standing::Open)
    }

    fn new(standing: Standing) -> Self {
        Self(Arc::new(Shared {
            standing: watch::Sender::new(standing),
            wanted: Mutex::default(),
            renew: Notify::new(),
        }))
    }

    /// Whether something that takes up to `time` may begin now.
    pub fn may_begin(&self, time: Duration) -> bool {
        match *self.0.standing.borrow() {
            Standing::Open => true,
            Standing::Leased(confirmed) => super::may_begin(confirmed, now(), time),
            Standing::Lost => false,
        }
    }

    /// Waits until something that takes up to `time` may begin, for which the lease may have to be renewed.
    ///
    /// # Errors
    /// The lease is lost.
    pub async fn admit(&self, time: Duration) -> Result<(), Closed> {
        let mut standing = self.0.standing.subscribe();
        loop {
            if self.may_begin(time) {
                return Ok(());
            }
            if matches!(*standing.borrow_and_update(), Standing::Lost) {
                return Err(Closed);
            }
            {
                let mut wanted = self.wanted();
                *wanted = time.max(*wanted);
            }
            self.0.renew.notify_one();
            standing
                .changed()
                .await
                .expect("the fence that waits has the sender");
        }
    }

    /// The lease was renewed.
    pub fn confirm(&self, confirmed: Option<(Moment, Duration)>) {
        self.0.standing.send_replace(Standing::Leased(confirmed));
    }

    /// What wanted more of the lease may be over: what still waits says so again.
    pub fn forget_wanted(&self) {
        *self.wanted() = Duration::ZERO;
    }

    /// The lease is another run's, or cannot be renewed.
    pub fn lose(&self) {
        self.0.standing.send_replace(Standing::Lost);
    }

    /// How long the next lease has to last for what waits.
    pub fn length(&self) -> Duration {
        LENGTH.max(*self.wanted() + 2 * MARGIN)
    }

    /// Waits until somebody wants more of the lease than is left.
    pub async fn wanted_more(&self) {
        self.0.renew.notified().await;
    }

    fn wanted(&self) -> MutexGuard<'_, Duration> {
        self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this machine's clocks show.
pub(crate) fn now() -> Moment {
    Moment {
        monotonic: monotonic(),
        wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    }
}

/// Goes on while the machine sleeps, which `Instant` does not.
#[cfg(target_os = "linux")]
fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn monotonic() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leased(left: Duration) -> (Moment, Duration) {
        (now(), left)
    }

    #[tokio::test]
    async fn a_call_begins_only_while_its_attempt_fits_into_the_lease() {
        let fence = Fence::open();
        assert!(fence.may_begin(Duration::MAX), "there is no lease");
        fence.confirm(Some(leased(Duration::from_mins(1))));
        assert!(fence.may_begin(Duration::from_secs(54)));
        assert!(
            !fence.may_begin(Duration::from_secs(56)),
            "the margin is the lease's last 5 seconds"
        );
    }

    #[tokio::test]
    async fn what_does_not_fit_waits_for_a_longer_lease() {
        let fence = Fence::open();
        fence.confirm(Some(leased(Duration::from_mins(1))));
        let long = Duration::from_mins(10);
        let (admitted, ()) = tokio::join!(fence.admit(long), async {
            fence.wanted_more().await;
            assert_eq!(fence.length(), long + 2 * MARGIN);
            fence.confirm(Some(leased(fence.length())));
        });
        admitted.unwrap();
        assert_eq!(fence.length(), long + 2 * MARGIN, "the next try wants the same");
        fence.forget_wanted();
        assert_eq!(fence.length(), LENGTH);
    }

    #[tokio::test]
    async fn a_lost_lease_admits_nothing_and_nobody_waits_for_it() {
        let fence = Fence::open();
        fence.confirm(Some(leased(Duration::ZERO)));
        let (admitted, ()) = tokio::join!(fence.admit(Duration::from_secs(1)), async {
            fence.wanted_more().await;
            fence.lose();
        });
        admitted.unwrap_err();
        fence.admit(Duration::ZERO).await.unwrap_err();
    }
}
