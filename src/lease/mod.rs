//! The lease that a state object in S3 carries: who may write, for how long, and what S3's answers mean for that.
//!
//! Must not do I/O, read a clock, or name AWS, except in `fence` and `process`: the simulation in the tests runs the same code on
//! simulated clocks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

mod fence;
mod process;

pub(crate) use fence::{Fence, now};
pub(crate) use process::{is_gone, this};

/// Who may write a state: what the next run is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The command: `up` or `down`.
    pub command: String,
    /// The host's name.
    pub host: String,
    /// The process id.
    pub process: u32,
    /// When it began, RFC 3339 in UTC.
    pub since: String,
}

/// How long a lease lasts from its last write.
pub(crate) const LENGTH: Duration = Duration::from_mins(2);
/// A holder begins nothing that could take longer than what is left of its lease without this.
pub(crate) const MARGIN: Duration = Duration::from_secs(5);
/// How much longer than a lease lasts others wait before they take it: S3 answers whole seconds, from the clocks of many hosts.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// How long after the end of a lease a request of its holder may still have an effect: AWS accepts a signature for five
/// minutes, and an accepted request takes up to a minute.
pub(crate) const LATE: Duration = Duration::from_mins(6);

/// A reading of this machine's clocks, each since some fixed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Never goes back, and stands still while the machine sleeps.
    pub monotonic: Duration,
    /// Goes on while the machine sleeps, and can be set.
    pub wall: Duration,
}

impl Moment {
    /// The time since `earlier`; never less than what really passed, unless the machine slept in between and its wall clock
    /// was set back as well.
    pub fn since(self, earlier: Self) -> Duration {
        let monotonic = self.monotonic.saturating_sub(earlier.monotonic);
        monotonic.max(self.wall.saturating_sub(earlier.wall))
    }
}

/// A point on S3's clock, in seconds since 1970. Only compared with others of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct S3Time(pub u64);

impl S3Time {
    fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time.as_secs()))
    }

    /// The time from `earlier` to this, zero if that is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

/// What tells whether the process of a holder still runs, for a run on the same machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Differs for every start of every machine.
    pub boot: String,
    /// In which a process id means this process: containers on one machine have the same boot.
    pub namespace: String,
    /// Another user's processes may be hidden.
    pub user: u32,
    /// When it started, in the kernel's ticks since the boot: process ids are used again.
    pub started: u64,
}

/// Who may write a state, as the state object says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// The run that has the lease, and what others are told of it.
    pub holder: Holder,
    /// `None` where the system does not tell.
    pub process: Option<Process>,
    /// How long it lasts from the write of the object.
    pub seconds: u64,
}

/// What one read of the object showed of its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `None` once its run has ended.
    pub lease: Option<Lease>,
    /// Until when requests of earlier holders may have an effect.
    pub late_until: Option<S3Time>,
    /// When the object was written.
    pub modified: S3Time,
    /// When it was read.
    pub now: S3Time,
}

/// Whether another run may take the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It may, under the condition that the object is still the one that was read.
    Free {
        /// Until when requests of earlier holders may have an effect.
        late_until: Option<S3Time>,
    },
    /// It may not.
    Held {
        /// How long from now the lease lasts if nobody renews it.
        left: Duration,
    },
}

/// Whether the lease may be taken. `is_gone`: its process ran on this machine and does not any more, and so sends nothing.
pub(crate) fn claim(seen: &Seen, is_gone: bool) -> Claim {
    let Some(lease) = &seen.lease else {
        return Claim::Free {
            late_until: seen.late_until,
        };
    };
    let length = Duration::from_secs(lease.seconds);
    let age = seen.now.since(seen.modified);
    if is_gone {
        Claim::Free {
            late_until: seen.late_until,
        }
    } else if age >= length + GRACE {
        Claim::Free {
            late_until: late_until(seen),
        }
    } else {
        Claim::Held {
            left: (length + GRACE).saturating_sub(age),
        }
    }
}

/// Until when requests of this or an earlier holder may have an effect, if nobody renews the lease any more.
pub(crate) fn late_until(seen: &Seen) -> Option<S3Time> {
    let ends = |lease: &Lease| seen.modified.after(Duration::from_secs(lease.seconds) + LATE);
    seen.late_until.max(seen.lease.as_ref().map(ends))
}

/// One write: how it can be told from all others, and what it grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Put {
    /// Random, and in the object: two writes of the same content would have the same ETag.
    pub write_id: String,
    /// Read before the request was sent.
    pub sent: Moment,
    /// How long the lease lasts that it writes.
    pub length: Duration,
}

/// What came of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It was done; the object has this ETag.
    Written(String),
    /// S3 says that the condition does not hold (412), that there is no object (404), or that writes collided (409). If an
    /// earlier attempt of the same write had no answer, that attempt may have been the cause.
    Refused,
    /// None came, or an error that says nothing of the write.
    Unknown,
}

/// What is there, when the holder looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No object.
    Nothing,
    /// The object.
    Object {
        /// Its ETag, with the quotes.
        etag: String,
        /// The write that made it.
        write_id: String,
        /// Who holds it.
        holder: Option<Holder>,
    },
}

/// What a holder does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The last write is what is there.
    Done,
    /// Read the object: what came of the write is not known.
    Look,
    /// Write it again, with the condition as it is now.
    Again,
    /// Begin nothing any more: the object is another run's, or was deleted (`None`).
    Lost(Option<Holder>),
}

/// A run's side of the lease.
#[derive(Debug)]
pub(crate) struct Held {
    etag: Option<String>,
    confirmed: Option<(Moment, Duration)>,
    /// Writes whose fate is not known, all under the present condition: at most one of them can be done.
    pending: Vec<Put>,
}

impl Held {
    /// Before the first write. `etag`: of the object that was read, `None` where there was none.
    pub(crate) fn new(etag: Option<String>) -> Self {
        Self {
            etag,
            confirmed: None,
            pending: Vec::new(),
        }
    }

    /// The condition of the next write: the ETag that must be there, or `None` for no object.
    pub(crate) fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// A write is about to be sent.
    pub(crate) fn put(&mut self, put: Put) {
        self.pending.push(put);
    }

    /// The last write has this answer.
    pub(crate) fn answered(&mut self, answer: Answer) -> Next {
        match answer {
            Answer::Written(etag) => {
                let put = self.pending.pop().expect("an answer is to a write");
                self.is_there(etag, &put);
                Next::Done
            }
            Answer::Refused | Answer::Unknown => Next::Look,
        }
    }

    /// The object was read after a write without a clear answer.
    pub(crate) fn looked(&mut self, found: Found) -> Next {
        match found {
            Found::Nothing if self.etag.is_none() => Next::Again,
            Found::Nothing => Next::Lost(None),
            Found::Object {
                etag,
                write_id,
                holder,
            } => {
                let last = self.pending.len().checked_sub(1);
                let ours = (self.pending.iter()).position(|put| put.write_id == write_id);
                if let Some(place) = ours {
                    let put = self.pending[place].clone();
                    self.is_there(etag, &put);
                    return if Some(place) == last {
                        Next::Done
                    } else {
                        Next::Again
                    };
                }
                if self.etag.as_ref() == Some(&etag) {
                    return Next::Again;
                }
                Next::Lost(holder)
            }
        }
    }

    /// `put` made the object that is there, so that none of the others can be done any more.
    fn is_there(&mut self, etag: String, put: &Put) {
        self.etag = Some(etag);
        self.confirmed = Some((put.sent, put.length));
        self.pending.clear();
    }

    /// When the last write that is known to be done was sent, and how long the lease lasts from then.
    pub(crate) fn confirmed(&self) -> Option<(Moment, Duration)> {
        self.confirmed
    }
}

/// How much is left at `now` of a lease that was `confirmed`.
pub(crate) fn left(confirmed: Option<(Moment, Duration)>, now: Moment) -> Duration {
    confirmed.map_or(Duration::ZERO, |(sent, length)| {
        length.saturating_sub(now.since(sent))
    })
}

/// Whether something that takes up to `time` may begin at `now`.
pub(crate) fn may_begin(confirmed: Option<(Moment, Duration)>, now: Moment, time: Duration) -> bool {
    left(confirmed, now) >= time + MARGIN
}

#[cfg(test)]
mod tests;
