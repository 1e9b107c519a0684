//! The record, and the only place that writes it.
//!
//! A run notes here what it changes on record, with the events to report once the change is durable. One write at a
//! time is under way; all that is noted meanwhile goes into the next one. Must not decide when to write.

use std::future::pending;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use crate::report::Event;
use crate::resource::Result;
use crate::state::{State, Store};

/// By which part of a write's time the next one is put off.
const GATHERS: u32 = 8;

/// What follows once a change of the record is durable, or could not be written.
#[derive(Debug)]
pub struct Entry {
    /// The step.
    pub step: String,
    /// The events to report once it is durable. An intent has none.
    pub told: Vec<Event>,
    /// What the error says in addition if the change could not be written.
    pub unwritten: Option<String>,
}

/// The state of a stack, and which of its changes are not durable yet.
pub struct Ledger<'a> {
    /// Whoever changes it calls [`Ledger::note`] or [`Ledger::touch`], so that it is written.
    pub state: &'a mut State,
    store: &'a dyn Store,
    noted: Vec<Entry>,
    /// When the first change was noted that is not in a write yet.
    since: Option<Instant>,
    writing: Option<LocalBoxFuture<'a, Result<()>>>,
    began: Instant,
    /// How long the last write took.
    took: Duration,
    in_write: Vec<Entry>,
}

impl<'a> Ledger<'a> {
    /// Of a state that was read from the store, or of a new one.
    pub fn new(state: &'a mut State, store: &'a dyn Store) -> Self {
        Self {
            state,
            store,
            noted: Vec::new(),
            since: None,
            writing: None,
            began: Instant::now(),
            took: Duration::ZERO,
            in_write: Vec::new(),
        }
    }

    /// Notes a change of the state, with what follows from it.
    pub fn note(&mut self, entry: Entry) {
        self.noted.push(entry);
        self.touch();
    }

    /// Notes a change of the state that no one waits for.
    pub fn touch(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Since when there is a change that is not in a write yet.
    pub fn unwritten_since(&self) -> Option<Instant> {
        self.since
    }

    /// Until when the next write waits for results that come at almost the same time, such as those of calls that began
    /// together: an eighth of what a write takes, so that the wait costs less than the writes that it saves.
    pub fn gathers_until(&self) -> Option<Instant> {
        // The timer has no shorter times. A write to a disk takes less.
        let wait = Some(self.took / GATHERS).filter(|wait| *wait >= Duration::from_millis(1))?;
        Some(self.since? + wait)
    }

    /// Whether a write is under way.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Whether all changes are durable.
    pub fn is_durable(&self) -> bool {
        self.since.is_none() && !self.is_writing()
    }

    /// Begins to write the state as it is now. Must not be called while a write is under way.
    pub fn write(&mut self) {
        self.state.serial += 1;
        self.since = None;
        self.began = Instant::now();
        self.in_write = std::mem::take(&mut self.noted);
        let committed = self.store.commit(self.state);
        self.writing = Some(async { committed.await.context("the state cannot be recorded") }.boxed_local());
    }

    /// Waits for the write that is under way, and returns what was noted before it and whether that is durable. Waits
    /// for ever if there is none. The future may be dropped, and the method called again.
    pub async fn written(&mut self) -> (Vec<Entry>, Result<()>) {
        let Some(writing) = &mut self.writing else {
            return pending().await;
        };
        let written = writing.await;
        self.writing = None;
        self.took = self.began.elapsed();
        (std::mem::take(&mut self.in_write), written)
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tokio::time::sleep;

    use super::*;
    use crate::state::{FORMAT, StateError};

    /// A store whose writes take this long.
    struct Slow(Duration);

    impl Store for Slow {
        fn commit<'a>(&'a self, _: &State) -> LocalBoxFuture<'a, Result<(), StateError>> {
            sleep(self.0).map(Ok).boxed_local()
        }

        fn remove(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
            ready(Ok(())).boxed_local()
        }

        fn check(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
            ready(Ok(())).boxed_local()
        }
    }

    fn state() -> State {
        State {
            format: FORMAT,
            stack: "orders".to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            partition: "aws".to_owned(),
            endpoint: None,
            owner: "1a2b3c4d".to_owned(),
            serial: 0,
            moving_to: None,
            steps: Vec::new(),
        }
    }

    /// For how long the second write is put off after the first result that it has.
    async fn gathers(takes: Duration) -> Option<Duration> {
        let (store, mut state) = (Slow(takes), state());
        let mut ledger = Ledger::new(&mut state, &store);
        ledger.touch();
        assert_eq!(ledger.gathers_until(), None, "nothing is known yet");
        ledger.write();
        ledger.written().await.1.unwrap();
        assert_eq!(ledger.gathers_until(), None, "nothing is to be written");
        ledger.touch();
        let since = ledger.unwritten_since().unwrap();
        sleep(Duration::from_millis(3)).await;
        ledger.touch();
        ledger.gathers_until().map(|until| until - since)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_store_is_written_an_eighth_of_its_time_later_and_a_disk_at_once() {
        let millis = Duration::from_millis;
        assert_eq!(gathers(millis(80)).await, Some(millis(10)));
        assert_eq!(gathers(millis(8)).await, Some(millis(1)));
        assert_eq!(gathers(millis(5)).await, None);
        assert_eq!(gathers(Duration::ZERO).await, None);
    }
}
