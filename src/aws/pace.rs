//! How calls take turns. Rates: once AWS has refused a call for its rate, all calls of that operation queue, and go one
//! after the other at the pace that AWS accepts. This pace is not known, and shared with other programs of the account.
//!
//! Must not know the published rates: they can be raised, and only refusals count.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, OwnedMutexGuard, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// The first pause between two calls of an operation, after a refusal: AWS's highest published rate here is 15 a
/// second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two calls: a longer one would cost more than refusals. The slowest rate is one
/// DeleteRestApi in 30 s.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest `Retry-After` that is obeyed: the slowest published rate is one call in 30 s.
const LONGEST_ASKED: Duration = Duration::from_mins(1);
/// How a refusal lengthens the pause until a call is accepted.
const SEARCHING: f64 = 1.5;
/// How the first accepted call shortens it: the right pause is somewhere in the last step.
const FOUND: f64 = 0.8;
/// How a refusal lengthens it after that.
const SLOWER: f64 = 1.1;
/// How an accepted call shortens it after that: five of them undo one refusal.
const FASTER: f64 = 0.98;

/// How the calls of a run take turns.
#[derive(Default)]
pub struct Paces {
    /// The pace of every operation that was ever refused for its rate.
    operations: RefCell<HashMap<String, Rc<Pace>>>,
    /// Whose turn it is to ask whether roles have spread.
    pub spreading: Spreading,
    /// How much code may be sent at once.
    pub uploads: Uploads,
    /// How long denied calls are repeated.
    pub rights: Rights,
}

/// For about a minute after a policy was attached, AWS allows and denies the same call in turn. So a run has one period
/// in which denied calls are repeated. The first denied call begins it, and all share it: a missing right delays a run
/// only by this period, however many calls need it.
#[derive(Default)]
pub struct Rights {
    /// Whether new rights take time to spread. They do in AWS; an emulator has them at once.
    spread: bool,
    /// When the period began.
    since: Cell<Option<Instant>>,
}

/// How long denied calls are repeated, in all of a run.
pub const RIGHTS_PATIENCE: Duration = Duration::from_mins(1);

impl Rights {
    /// Of AWS, or of an emulator.
    pub fn new(spread: bool) -> Self {
        let since = Cell::new(None);
        Self { spread, since }
    }

    /// What is left of the period for a call that was denied, and whether this call begins the period.
    pub fn left(&self) -> (Duration, bool) {
        if !self.spread {
            return (Duration::ZERO, false);
        }
        let is_first = self.since.get().is_none();
        let since = self.since.get().unwrap_or_else(Instant::now);
        self.since.set(Some(since));
        (RIGHTS_PATIENCE.saturating_sub(since.elapsed()), is_first)
    }
}

/// While IAM spreads roles, one call at a time asks whether Lambda accepts its role: all roles of a run have about the
/// same age, and every try sends the function's code.
#[derive(Default)]
pub struct Spreading {
    one: Arc<Mutex<()>>,
    accepted: Notify,
}

impl Spreading {
    /// Returns once it is the caller's turn to ask. `None`: the role of another call was accepted, and now all may try.
    pub async fn turn(&self) -> Option<OwnedMutexGuard<()>> {
        tokio::select! {
            biased;
            () = self.accepted.notified() => None,
            one = self.one.clone().lock_owned() => Some(one),
        }
    }

    /// Lambda accepted the role of the one that asked.
    pub fn has_spread(&self) {
        self.accepted.notify_waiters();
    }
}

/// Limits uploads to 8 MiB at once, or to one larger one: on a slow connection, more would all time out.
pub struct Uploads(Semaphore);

/// In KiB.
const UPLOADS_AT_ONCE: u32 = 8 * 1024;

impl Default for Uploads {
    fn default() -> Self {
        Self(Semaphore::new(UPLOADS_AT_ONCE as usize))
    }
}

impl Uploads {
    /// Returns when `bytes` may be sent. They count until the permit is dropped.
    pub async fn room(&self, bytes: usize) -> SemaphorePermit<'_> {
        let kib = u32::try_from(bytes / 1024).map_or(UPLOADS_AT_ONCE, |kib| kib.clamp(1, UPLOADS_AT_ONCE));
        let permit = self.0.acquire_many(kib).await;
        permit.expect("the semaphore is never closed")
    }

    /// How long one attempt to send `bytes` may take: a minute, and the time that they, or all that may be under way beside
    /// them, take at 1 Mbit/s (base64 makes four bytes of three).
    pub fn attempt_timeout(bytes: usize) -> Duration {
        let kib = u64::try_from(bytes / 1024)
            .unwrap_or(u64::MAX)
            .max(UPLOADS_AT_ONCE.into());
        let bits = kib.saturating_mul(1024 * 8 * 4 / 3);
        Duration::from_mins(1) + Duration::from_secs(bits / 1_000_000)
    }
}

impl Paces {
    /// Of a run that has made no call yet.
    pub fn new(rights: Rights) -> Self {
        Self {
            rights,
            ..Self::default()
        }
    }

    /// The pace of an operation, `service:Operation`.
    pub fn of(&self, operation: &str) -> Rc<Pace> {
        if let Some(pace) = self.operations.borrow().get(operation) {
            return pace.clone();
        }
        self.operations
            .borrow_mut()
            .entry(operation.to_owned())
            .or_default()
            .clone()
    }
}

/// The pace of one operation.
#[derive(Default)]
pub struct Pace {
    /// Calls go in the order in which they arrive.
    queue: Mutex<()>,
    /// `None` until the first refusal.
    beat: Cell<Option<Beat>>,
    accepted: Cell<Option<Instant>>,
}

#[derive(Clone, Copy)]
struct Beat {
    pause: Duration,
    /// No call before then.
    next: Instant,
    /// When the pause was last lengthened. A call that was sent before says nothing about the present pace.
    since: Instant,
    /// Whether a call was accepted since the first refusal. Until then the pace is not known.
    found: bool,
}

impl Pace {
    /// Returns when the next call may be sent.
    pub async fn turn(&self) {
        if self.beat.get().is_none() {
            return;
        }
        let _first = self.queue.lock().await;
        // A refusal may have moved it meanwhile.
        while let Some(beat) = self.beat.get() {
            if beat.next <= Instant::now() {
                self.beat.set(Some(Beat {
                    next: Instant::now() + beat.pause,
                    ..beat
                }));
                return;
            }
            sleep_until(beat.next).await;
        }
    }

    /// AWS refused a call for its rate that was sent at `sent`, and asked to wait for `retry_after`.
    pub fn refused(&self, sent: Instant, retry_after: Option<Duration>) {
        let now = Instant::now();
        let asked = now + retry_after.unwrap_or_default().min(LONGEST_ASKED);
        let (pause, found) = match self.beat.get() {
            None => (FIRST_PAUSE, false),
            Some(beat) if sent < beat.since => {
                let next = beat.next.max(asked);
                self.beat.set(Some(Beat { next, ..beat }));
                return;
            }
            Some(beat) => {
                let factor = if beat.found { SLOWER } else { SEARCHING };
                (LONGEST_PAUSE.min(beat.pause.mul_f64(factor)), beat.found)
            }
        };
        self.beat.set(Some(Beat {
            pause,
            next: asked.max(now + pause),
            since: now,
            found,
        }));
    }

    /// AWS did not refuse a call for its rate that was sent at `sent`.
    pub fn accepted(&self, sent: Instant) {
        self.accepted.set(Some(Instant::now()));
        if let Some(beat) = self.beat.get()
            && sent >= beat.since
        {
            let factor = if beat.found { FASTER } else { FOUND };
            self.beat.set(Some(Beat {
                pause: beat.pause.mul_f64(factor),
                found: true,
                ..beat
            }));
        }
    }

    /// When AWS last accepted a call; `began` if it accepted none since.
    pub fn last_accepted(&self, began: Instant) -> Instant {
        self.accepted.get().map_or(began, |at| at.max(began))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use futures_util::future::join_all;

    use super::*;

    /// A bucket as AWS describes its own.
    struct Bucket {
        a_second: f64,
        burst: f64,
        tokens: f64,
        at: Instant,
        refused: u32,
    }

    impl Bucket {
        fn admits(&mut self) -> bool {
            let now = Instant::now();
            self.tokens = self
                .burst
                .min((now - self.at).as_secs_f64().mul_add(self.a_second, self.tokens));
            self.at = now;
            let admits = self.tokens >= 1.0;
            if admits {
                self.tokens -= 1.0;
            } else {
                self.refused += 1;
            }
            admits
        }
    }

    /// `count` calls, 32 at once, of 150 ms each, at a rate: how long they take, and how many are refused.
    async fn run(count: usize, a_second: f64, burst: f64) -> (f64, u32) {
        let began = Instant::now();
        let bucket = Rc::new(RefCell::new(Bucket {
            a_second,
            burst,
            tokens: burst,
            at: began,
            refused: 0,
        }));
        let pace = Pace::default();
        let left = Cell::new(count);
        let worker = || async {
            while left.get() > 0 {
                left.set(left.get() - 1);
                loop {
                    pace.turn().await;
                    let sent = Instant::now();
                    tokio::time::sleep(Duration::from_millis(75)).await;
                    let admitted = bucket.borrow_mut().admits();
                    tokio::time::sleep(Duration::from_millis(75)).await;
                    if admitted {
                        pace.accepted(sent);
                        break;
                    }
                    pace.refused(sent, None);
                }
            }
        };
        join_all((0..32).map(|_| worker())).await;
        let refused = bucket.borrow().refused;
        (began.elapsed().as_secs_f64(), refused)
    }

    #[tokio::test(start_paused = true)]
    async fn calls_go_as_fast_as_they_are_taken_and_few_are_refused() {
        for (count, a_second, burst) in [
            (1000, 5.0, 5.0),
            (300, 15.0, 15.0),
            (600, 10.0, 40.0),
            // DeleteRestApi.
            (3, 1.0 / 30.0, 1.0),
        ] {
            let (took, refused) = run(count, a_second, burst).await;
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let least = (count as f64 - burst) / a_second;
            let what = format!("{count} calls at {a_second}/s: {took} s of {least} s, {refused} refused");
            // Two of the longest pauses more.
            assert!(took < 1.05 * least + 10.0, "{what}");
            // The first 32 come at once, and the pace has to be found.
            assert!((refused as usize) < 50 + count / 4, "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_refusal_nothing_waits() {
        let (took, refused) = run(320, 1000.0, 1000.0).await;
        assert_eq!(refused, 0);
        assert!((took - 1.5).abs() < 0.01, "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_refusals_counts_once() {
        let pace = Pace::default();
        let sent = Instant::now();
        tokio::time::sleep(Duration::from_millis(1)).await;
        for _ in 0..20 {
            pace.refused(sent, None);
        }
        let began = Instant::now();
        pace.turn().await;
        assert_eq!(began.elapsed(), FIRST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_service_asks_for_is_kept_up_to_a_minute() {
        for (asked, kept) in [(7, 7), (1, 1), (3600, 60)] {
            let pace = Pace::default();
            let began = Instant::now();
            pace.refused(began, Some(Duration::from_secs(asked)));
            pace.turn().await;
            assert_eq!(began.elapsed(), Duration::from_secs(kept));
        }
        // Also where the refusal is of a burst that was counted already.
        let pace = Pace::default();
        let sent = Instant::now();
        tokio::time::sleep(Duration::from_millis(1)).await;
        pace.refused(sent, None);
        pace.refused(sent, Some(Duration::from_secs(7)));
        let began = Instant::now();
        pace.turn().await;
        assert_eq!(began.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn operations_do_not_wait_for_each_other() {
        let paces = Paces::default();
        paces.of("a:One").refused(Instant::now(), None);
        let began = Instant::now();
        paces.of("a:Other").turn().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        paces.of("a:One").turn().await;
        assert_eq!(began.elapsed(), FIRST_PAUSE);
    }
}
