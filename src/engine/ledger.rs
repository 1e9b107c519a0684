//! The record, and the only place that writes it.
//!
//! What a run changes on record it notes here, with what is to be told once that is durable. One write at a time is under
//! way; all that is noted meanwhile goes into the next one together.

use std::future::pending;

use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use crate::report::Event;
use crate::resource::Result;
use crate::state::State;

/// Where the state is kept.
pub trait Store {
    /// Replaces what is kept by the state as it is at the call. Is done only once that would survive a crash. Is not called
    /// again before.
    fn save<'a>(&'a self, state: &State) -> LocalBoxFuture<'a, Result<()>>;
}

/// What comes of a change of the record when it is written.
#[derive(Debug)]
pub struct Entry {
    /// The step.
    pub step: String,
    /// What is told once it is durable; nothing of an intent.
    pub told: Vec<Event>,
    /// What is true where it could not be written, beyond that.
    pub unwritten: Option<String>,
}

/// The state of a stack, with what is not durable yet.
pub struct Ledger<'a> {
    /// Always what was last written, or is about to be: who changes it calls [`Ledger::note`] or [`Ledger::touch`].
    pub state: &'a mut State,
    store: &'a dyn Store,
    noted: Vec<Entry>,
    /// When the first thing was noted that no write has taken up.
    since: Option<Instant>,
    writing: Option<LocalBoxFuture<'a, Result<()>>>,
    in_write: Vec<Entry>,
}

impl<'a> Ledger<'a> {
    /// Of a state as it was read from the store, or of a new one.
    pub fn new(state: &'a mut State, store: &'a dyn Store) -> Self {
        Self {
            state,
            store,
            noted: Vec::new(),
            since: None,
            writing: None,
            in_write: Vec::new(),
        }
    }

    /// The state was changed, and this comes of it.
    pub fn note(&mut self, entry: Entry) {
        self.noted.push(entry);
        self.touch();
    }

    /// The state was changed, and nobody waits for it to be durable.
    pub fn touch(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Since when there is something that no write has taken up.
    pub fn unwritten_since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether a write is under way.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Whether all that is on record is durable.
    pub fn is_durable(&self) -> bool {
        self.since.is_none() && !self.is_writing()
    }

    /// Begins to write the state as it is now. Must not be called while a write is under way.
    pub fn write(&mut self) {
        self.state.serial += 1;
        self.since = None;
        self.in_write = std::mem::take(&mut self.noted);
        self.writing = Some(self.store.save(self.state));
    }

    /// Waits for the write that is under way, for ever if there is none: what it took up, and whether that is durable. May be
    /// dropped and called again.
    pub async fn written(&mut self) -> (Vec<Entry>, Result<()>) {
        let Some(writing) = &mut self.writing else {
            return pending().await;
        };
        let written = writing.await;
        self.writing = None;
        (std::mem::take(&mut self.in_write), written)
    }
}
