//! A simulation: a few runs on machines that sleep, stop and change their clocks, over a network that delays and loses what is
//! sent. Each deliberate mistake must be found.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

/// What one call of a run may take, as its client bounds it.
const ATTEMPT: Duration = Duration::from_mins(1);
/// How long AWS accepts a signature.
const VALID: Duration = Duration::from_mins(5);
/// How long a run waits for S3's answer.
const PATIENCE: u64 = 10_000;
/// How long a request to S3 may be under way before S3 refuses its signature.
const OLDEST_PUT: u64 = 15 * 60_000;
const HOUR: u64 = 60 * 60_000;

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// The state is written without a condition.
    Unconditional,
    /// The same content has the same ETag.
    NoWriteId,
    /// The age of a lease is its holder's clock against the taker's.
    ClocksOfTwoMachines,
    /// A lease is taken a minute before it ends.
    TakenEarly,
    /// A holder counts from S3's answer.
    CountsFromTheAnswer,
    /// A holder counts with the clock that stands still while the machine sleeps.
    OnlyMonotonic,
    /// A call begins whatever is left of the lease.
    NoGate,
    /// A call begins while anything is left of the lease.
    GateWithoutAttempt,
    /// Whatever is not clearly written is lost.
    RefusedIsLost,
    /// What S3 holds after a refusal is taken for ours.
    RefusedIsOurs,
    /// A write without an answer renews the lease.
    UnknownIsDone,
    /// Whoever takes a lease does not wait for late requests of the last holder.
    NotLate,
    /// The object is deleted at the end.
    DeletedAtTheEnd,
}

/// xorshift: the seed is all there is to know of a schedule.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }
}

#[derive(Clone, Debug)]
struct Object {
    etag: String,
    write_id: String,
    run: usize,
    /// Counts the run's writes.
    number: u64,
    lease: Option<Lease>,
    /// Whether the run had no lease before.
    is_claim: bool,
    /// The writer's wall clock, for the mistake that trusts it.
    by_clock: u64,
    late_until: Option<S3Time>,
    modified: S3Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Claim,
    Look,
}

#[derive(Clone, Debug)]
enum What {
    Start,
    Wake,
    PutArrives {
        condition: Option<String>,
        object: Box<Object>,
        op: u64,
    },
    DeleteArrives {
        condition: Option<String>,
    },
    GetArrives {
        purpose: Purpose,
        op: u64,
    },
    PutAnswered {
        answer: Answer,
        op: u64,
    },
    GetAnswered {
        purpose: Purpose,
        object: Option<Box<Object>>,
        now: S3Time,
        op: u64,
    },
    TimedOut {
        op: u64,
    },
    Pause {
        sleeps: bool,
    },
    Jump,
    Kill,
}

#[derive(Debug)]
enum Phase {
    Waiting,
    Holding,
    Over,
}

struct Run {
    phase: Phase,
    held: Held,
    /// The request that is under way, counted; an answer to an earlier one is not listened to.
    op: Option<u64>,
    putting: Option<(Moment, bool)>,
    writes: u64,
    late_until: Option<S3Time>,
    next_write: Duration,
    paused_until: u64,
    /// Whether a pause is the whole machine's.
    sleeps: bool,
    slept: u64,
    offset: u64,
    ends: u64,
    /// Calls under way: when each began, and until when its request may have an effect.
    calls: Vec<(u64, u64)>,
    pauses: Vec<u64>,
}

struct World {
    mistake: Mistake,
    random: Random,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    what: Vec<What>,
    object: Option<Object>,
    runs: Vec<Run>,
    /// Of each run, the highest number of its writes that was accepted.
    accepted: Vec<u64>,
    ops: u64,
    wrong: Vec<String>,
    taken: usize,
}

impl World {
    fn new(seed: u64, mistake: Mistake) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let runs = 3;
        let mut world = Self {
            mistake,
            now: 0,
            queue: BinaryHeap::new(),
            what: Vec::new(),
            object: None,
            runs: (0..runs)
                .map(|_| Run {
                    phase: Phase::Waiting,
                    held: Held::new(None),
                    op: None,
                    putting: None,
                    writes: 0,
                    late_until: None,
                    next_write: Duration::ZERO,
                    paused_until: 0,
                    sleeps: random.one_in(2),
                    slept: 0,
                    offset: 1_000_000_000 + random.below(600_000),
                    ends: 0,
                    calls: Vec::new(),
                    pauses: Vec::new(),
                })
                .collect(),
            accepted: vec![0; runs],
            ops: 0,
            wrong: Vec::new(),
            taken: 0,
            random,
        };
        for run in 0..runs {
            let at = world.random.below(60_000);
            world.at(at, run, What::Start);
            for _ in 0..2 {
                let at = world.random.below(HOUR / 2);
                let sleeps = world.random.one_in(2);
                world.at(at, run, What::Pause { sleeps });
            }
            let at = world.random.below(HOUR / 2);
            world.at(at, run, What::Jump);
            if world.random.one_in(3) {
                let at = world.random.below(HOUR / 2);
                world.at(at, run, What::Kill);
            }
        }
        world
    }

    fn at(&mut self, at: u64, run: usize, what: What) {
        self.what.push(what);
        self.queue.push(Reverse((at, self.what.len() as u64 - 1, run)));
    }

    fn soon(&mut self, run: usize, what: What) {
        // Most of what is sent arrives at once, and a little of it very late.
        let delay = if self.random.one_in(30) {
            self.random.below(OLDEST_PUT)
        } else {
            self.random.between(10, 300)
        };
        self.at(self.now + delay, run, what);
    }

    fn moment(&self, run: usize) -> Moment {
        let run = &self.runs[run];
        let mut monotonic = Duration::from_millis(self.now - run.slept);
        let wall = Duration::from_millis(self.now + run.offset);
        if self.mistake == Mistake::OnlyMonotonic {
            return Moment {
                monotonic,
                wall: Duration::ZERO,
            };
        }
        monotonic += Duration::from_secs(5);
        Moment { monotonic, wall }
    }

    /// The clock of one of S3's hosts.
    fn s3(&mut self) -> S3Time {
        S3Time((self.now + 10_000 + self.random.below(2_000)) / 1_000)
    }

    fn wrong(&mut self, what: &str, run: usize) {
        self.wrong.push(format!("{} ms, run {run}: {what}", self.now));
    }

    fn go(mut self) -> Self {
        while let Some(Reverse((at, number, run))) = self.queue.pop() {
            if at > HOUR || !self.wrong.is_empty() {
                break;
            }
            self.now = at;
            let what = self.what[usize::try_from(number).unwrap()].clone();
            let is_network = matches!(
                what,
                What::PutArrives { .. } | What::GetArrives { .. } | What::DeleteArrives { .. } | What::Jump
            );
            let paused_until = self.runs[run].paused_until;
            if !is_network && at < paused_until {
                self.at(paused_until, run, what);
                continue;
            }
            self.happen(run, what);
        }
        self
    }

    fn happen(&mut self, run: usize, what: What) {
        match what {
            What::Start => {
                self.get(run, Purpose::Claim);
                self.runs[run].ends = self.now + self.random.between(60_000, HOUR / 2);
            }
            What::Wake => self.wake(run),
            What::PutArrives {
                condition,
                object,
                op,
            } => self.put_arrives(run, condition.as_ref(), *object, op),
            What::DeleteArrives { condition } => {
                if self.object.as_ref().map(|object| &object.etag) == condition.as_ref() {
                    self.object = None;
                }
            }
            What::GetArrives { purpose, op } => {
                let object = self.object.clone().map(Box::new);
                let now = self.s3();
                if !self.random.one_in(20) {
                    let answered = What::GetAnswered {
                        purpose,
                        object,
                        now,
                        op,
                    };
                    let at = self.now + self.random.between(5, 100);
                    self.at(at, run, answered);
                }
            }
            What::PutAnswered { answer, op } if self.runs[run].op == Some(op) => {
                self.put_answered(run, answer);
            }
            What::GetAnswered {
                purpose,
                object,
                now,
                op,
            } if self.runs[run].op == Some(op) => {
                self.runs[run].op = None;
                match purpose {
                    Purpose::Claim => self.claim(run, object.map(|object| *object), now),
                    Purpose::Look => self.looked(run, object.map(|object| *object)),
                }
            }
            What::TimedOut { op } if self.runs[run].op == Some(op) => {
                self.runs[run].op = None;
                if self.runs[run].putting.is_some() {
                    self.put_answered(run, Answer::Unknown);
                } else if matches!(self.runs[run].phase, Phase::Waiting) {
                    self.get(run, Purpose::Claim);
                } else {
                    self.get(run, Purpose::Look);
                }
            }
            What::PutAnswered { .. } | What::GetAnswered { .. } | What::TimedOut { .. } => {}
            What::Pause { sleeps } => {
                let time = self.random.between(1_000, 10 * 60_000);
                let run = &mut self.runs[run];
                run.paused_until = run.paused_until.max(self.now + time);
                run.pauses.push(self.now);
                if sleeps && run.sleeps {
                    run.slept += time;
                }
            }
            // Forward, or back; not back on a machine that sleeps: `Moment::since`.
            What::Jump => {
                let (by, is_back) = (self.random.below(600_000), self.random.one_in(2));
                let run = &mut self.runs[run];
                if !is_back {
                    run.offset += by;
                } else if !run.sleeps {
                    run.offset -= by;
                }
            }
            What::Kill => {
                self.runs[run].phase = Phase::Over;
                self.runs[run].op = None;
                self.runs[run].putting = None;
                self.ended(run);
            }
        }
    }

    /// Another run on the same stack follows, sooner or later.
    fn ended(&mut self, run: usize) {
        let at = self.now + self.random.between(1_000, 120_000);
        self.at(at, run, What::Start);
        let run = &mut self.runs[run];
        run.phase = Phase::Waiting;
        run.held = Held::new(None);
    }

    fn op(&mut self, run: usize) -> u64 {
        self.ops += 1;
        self.runs[run].op = Some(self.ops);
        let op = self.ops;
        self.at(self.now + PATIENCE, run, What::TimedOut { op });
        op
    }

    fn get(&mut self, run: usize, purpose: Purpose) {
        let op = self.op(run);
        self.soon(run, What::GetArrives { purpose, op });
    }

    fn put(&mut self, run: usize, keeps: bool) {
        let sent = self.moment(run);
        let op = self.op(run);
        let me = &mut self.runs[run];
        me.writes += 1;
        let write_id = match self.mistake {
            Mistake::NoWriteId => "same".to_owned(),
            _ => format!("{run}-{}", me.writes),
        };
        me.held.put(Put {
            write_id: write_id.clone(),
            sent,
            length: LENGTH,
        });
        me.putting = Some((sent, keeps));
        let object = Object {
            etag: match self.mistake {
                Mistake::NoWriteId => format!("etag-of-{keeps}"),
                _ => format!("etag-{run}-{}", me.writes),
            },
            write_id,
            run,
            number: me.writes,
            lease: keeps.then(|| Lease {
                holder: Holder {
                    command: "up".to_owned(),
                    host: run.to_string(),
                    process: 1,
                    since: String::new(),
                },
                process: None,
                seconds: LENGTH.as_secs(),
            }),
            is_claim: me.held.confirmed().is_none(),
            by_clock: sent.wall.as_secs(),
            late_until: me.late_until,
            modified: S3Time(0),
        };
        let condition = me.held.etag().map(str::to_owned);
        self.soon(
            run,
            What::PutArrives {
                condition,
                object: Box::new(object),
                op,
            },
        );
    }

    fn put_arrives(&mut self, run: usize, condition: Option<&String>, mut object: Object, op: u64) {
        let there = self.object.as_ref().map(|object| &object.etag);
        let holds = there == condition || self.mistake == Mistake::Unconditional;
        let collides = self.random.one_in(40);
        let answer = if self.random.one_in(40) {
            Answer::Unknown
        } else if collides || !holds {
            Answer::Refused
        } else {
            if self.accepted[run] > object.number {
                self.wrong("an earlier write replaced a later one", run);
            }
            let there = self
                .object
                .as_ref()
                .filter(|there| there.run != run && there.lease.is_some());
            if let Some(holder) = there.map(|there| there.run) {
                if object.is_claim {
                    self.overlaps(holder, run, object.late_until);
                } else {
                    self.wrong("a holder wrote over another run's lease", run);
                }
            }
            self.accepted[run] = object.number;
            object.modified = self.s3();
            let etag = object.etag.clone();
            self.object = Some(object);
            Answer::Written(etag)
        };
        // Some answers are lost.
        if !self.random.one_in(15) {
            let at = self.now + self.random.between(5, 5_000);
            self.at(at, run, What::PutAnswered { answer, op });
        }
    }

    fn put_answered(&mut self, run: usize, answer: Answer) {
        self.runs[run].op = None;
        let Some((sent, keeps)) = self.runs[run].putting else {
            return;
        };
        if self.mistake == Mistake::RefusedIsOurs && answer == Answer::Refused {
            self.runs[run].held.confirmed = Some((sent, LENGTH));
            self.settled(run, keeps);
            return;
        }
        if self.mistake == Mistake::UnknownIsDone && answer == Answer::Unknown {
            self.runs[run].held.confirmed = Some((sent, LENGTH));
        }
        let next = self.runs[run].held.answered(answer);
        if self.mistake == Mistake::CountsFromTheAnswer && next == Next::Done {
            let now = self.moment(run);
            self.runs[run].held.confirmed = Some((now, LENGTH));
        }
        self.follow(run, &next);
    }

    fn looked(&mut self, run: usize, object: Option<Object>) {
        let found = object.map_or(Found::Nothing, |object| Found::Object {
            etag: object.etag,
            write_id: object.write_id,
            holder: object.lease.map(|lease| lease.holder),
        });
        let next = self.runs[run].held.looked(found);
        self.follow(run, &next);
    }

    fn follow(&mut self, run: usize, next: &Next) {
        let keeps = self.runs[run].putting.is_none_or(|(_, keeps)| keeps);
        match next {
            Next::Done => self.settled(run, keeps),
            Next::Look if self.mistake == Mistake::RefusedIsLost => self.lost(run),
            Next::Look => self.get(run, Purpose::Look),
            Next::Again => self.put(run, keeps),
            Next::Lost(_) => self.lost(run),
        }
    }

    fn lost(&mut self, run: usize) {
        let is_ours = self
            .object
            .as_ref()
            .is_some_and(|object| object.run == run && object.lease.is_some());
        let was_holder = self.runs[run].held.confirmed().is_some();
        if is_ours && was_holder {
            self.wrong("a run gave up a lease that nobody had taken", run);
        }
        self.runs[run].putting = None;
        self.ended(run);
    }

    /// A write is done.
    fn settled(&mut self, run: usize, keeps: bool) {
        let now = self.moment(run);
        let me = &mut self.runs[run];
        me.putting = None;
        if keeps {
            if !matches!(me.phase, Phase::Holding) {
                self.taken += 1;
            }
            me.phase = Phase::Holding;
            me.next_write = now.monotonic + LENGTH / 3;
            let at = self.now + self.random.between(100, 3_000);
            self.at(at, run, What::Wake);
        } else {
            // It has waited for the answers to all its calls.
            me.calls.clear();
            self.ended(run);
        }
    }

    fn claim(&mut self, run: usize, object: Option<Object>, now: S3Time) {
        let Some(object) = object else {
            self.runs[run].held = Held::new(None);
            self.runs[run].late_until = None;
            self.put(run, true);
            return;
        };
        let mut seen = Seen {
            lease: object.lease.clone(),
            late_until: object.late_until,
            modified: object.modified,
            now,
        };
        match self.mistake {
            Mistake::ClocksOfTwoMachines => {
                seen.modified = S3Time(object.by_clock);
                seen.now = S3Time(self.moment(run).wall.as_secs());
            }
            Mistake::TakenEarly => seen.now = now.after(Duration::from_mins(1)),
            _ => {}
        }
        match claim(&seen, false) {
            Claim::Free { late_until, .. } => {
                self.runs[run].held = Held::new(Some(object.etag));
                self.runs[run].late_until = match self.mistake {
                    Mistake::NotLate => None,
                    _ => late_until,
                };
                self.put(run, true);
            }
            Claim::Held { left } => {
                let at = self.now + u64::try_from(left.as_millis()).unwrap().min(20_000) + 1;
                self.at(at, run, What::Start);
            }
        }
    }

    /// Nothing that the last holder began may be under way, unless its machine stood still; and all that may still arrive
    /// does so before `late_until`.
    fn overlaps(&mut self, holder: usize, taker: usize, late_until: Option<S3Time>) {
        let now = self.now;
        let pauses = &self.runs[holder].pauses;
        let is_under_way = |(began, _): &(u64, u64)| {
            let ends = began + u64::try_from(ATTEMPT.as_millis()).unwrap();
            let stood_still = pauses.iter().any(|pause| (*began..=ends).contains(pause));
            now < ends && !stood_still
        };
        if self.runs[holder].calls.iter().any(is_under_way) {
            self.wrong("the last holder's call is under way", taker);
        }
        // This world's S3 clock is ten seconds ahead, up to two more.
        let end = late_until.map_or(0, |S3Time(seconds)| (seconds - 10) * 1_000);
        if self.runs[holder]
            .calls
            .iter()
            .any(|(_, effect)| *effect > end.max(now))
        {
            self.wrong("a request of the last holder arrives after all waits", taker);
        }
    }

    fn wake(&mut self, run: usize) {
        if !matches!(self.runs[run].phase, Phase::Holding) || self.runs[run].op.is_some() {
            return;
        }
        let now = self.moment(run);
        if self.now > self.runs[run].ends {
            if self.mistake == Mistake::DeletedAtTheEnd {
                let condition = self.runs[run].held.etag().map(str::to_owned);
                self.soon(run, What::DeleteArrives { condition });
                self.ended(run);
            } else {
                self.put(run, false);
            }
            return;
        }
        if now.monotonic >= self.runs[run].next_write || self.random.one_in(10) {
            self.put(run, true);
            return;
        }
        let confirmed = self.runs[run].held.confirmed();
        let begins = match self.mistake {
            Mistake::NoGate => true,
            Mistake::GateWithoutAttempt => left(confirmed, now) > Duration::ZERO,
            _ => may_begin(confirmed, now, ATTEMPT),
        };
        if begins {
            if let Some(object) = &self.object
                && object.run != run
            {
                self.wrong("a run began a call that has lost its lease", run);
            }
            // The request may have been delayed until its signature ends, and then take as long as an attempt.
            let late = u64::try_from((VALID + ATTEMPT).as_millis()).unwrap();
            let effect = self.now + self.random.below(late);
            self.runs[run].calls.push((self.now, effect));
        }
        let at = self.now + self.random.between(500, 5_000);
        self.at(at, run, What::Wake);
    }
}

/// The first thing that goes wrong in many schedules, and how often a lease was taken until then.
fn explore(mistake: Mistake, schedules: u64) -> (Option<String>, usize) {
    let mut taken = 0;
    for seed in 1..=schedules {
        let world = World::new(seed, mistake).go();
        taken += world.taken;
        if let Some(wrong) = world.wrong.first() {
            return (Some(format!("seed {seed}: {wrong}")), taken);
        }
    }
    (None, taken)
}

#[test]
fn no_schedule_has_two_writers_or_loses_a_lease_that_nobody_took() {
    let (wrong, taken) = explore(Mistake::None, 2_000);
    assert_eq!(wrong, None);
    assert!(taken > 8_000, "the schedules are full of takers: {taken}");
}

#[test]
fn every_broken_rule_is_found() {
    for (mistake, expected) in [
        (Mistake::Unconditional, "wrote over another run's lease"),
        (Mistake::NoWriteId, ""),
        (Mistake::ClocksOfTwoMachines, ""),
        (Mistake::CountsFromTheAnswer, ""),
        (Mistake::OnlyMonotonic, "has lost its lease"),
        (Mistake::NoGate, ""),
        (Mistake::GateWithoutAttempt, "is under way"),
        (Mistake::RefusedIsLost, "gave up a lease"),
        (Mistake::RefusedIsOurs, ""),
        (Mistake::NotLate, "arrives after all waits"),
        (Mistake::DeletedAtTheEnd, "an earlier write replaced"),
        (Mistake::TakenEarly, ""),
        (Mistake::UnknownIsDone, ""),
    ] {
        let (wrong, _) = explore(mistake, 5_000);
        let wrong = wrong.unwrap_or_else(|| panic!("{mistake:?} was not found"));
        assert!(wrong.contains(expected), "{mistake:?}: {wrong}");
    }
}
