//! The record, and the only place that writes it.
//!
//! A run notes here what it changes on record, with the events to report once the change is durable. One write at a
//! time is under way; all that is noted meanwhile goes into the next one. Must not decide when to write.

use std::future::pending;

use anyhow::Context;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use crate::report::Event;
use crate::resource::Result;
use crate::state::{State, Store};

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
        (std::mem::take(&mut self.in_write), written)
    }
}
