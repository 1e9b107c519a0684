//! A state in a file, kept under the lock of its folder.
//!
//! Must not decide what goes into it.

use std::cell::RefCell;
use std::future::ready;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::{State, StateError, StateWriter, Store};

/// A state file, and its lock until this is dropped. A disk needs no waiting for: each write is done at the call.
pub struct FolderStore(RefCell<StateWriter>);

impl FolderStore {
    /// Of a file that was opened under its lock.
    pub fn new(writer: StateWriter) -> Self {
        Self(RefCell::new(writer))
    }
}

impl Store for FolderStore {
    fn commit<'a>(&'a self, state: &State) -> LocalBoxFuture<'a, Result<(), StateError>> {
        ready(self.0.borrow_mut().save(state)).boxed_local()
    }

    fn check(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
        ready(self.0.borrow_mut().check()).boxed_local()
    }

    fn remove(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
        ready(self.0.borrow_mut().remove()).boxed_local()
    }
}
