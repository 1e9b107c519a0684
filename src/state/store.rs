//! The contract of what keeps a state: the engine sees versions, not files.
//!
//! Must not know how it is kept.

use std::future::{pending, ready};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use super::{State, StateError};

/// Keeps the state of one stack for one run, which alone may change it until it releases it.
pub trait Store {
    /// Replaces what is kept by the state as it is at the call. Is done only once that would survive a crash. Is not called
    /// again before.
    ///
    /// # Errors
    /// [`StateError::Lost`], from then on every time: the run must not begin anything any more. After any other error the
    /// earlier version is kept.
    fn commit<'a>(&'a self, state: &State) -> LocalBoxFuture<'a, Result<(), StateError>>;

    /// The stack has nothing left: the next run finds no state, and may begin at once. Is the last write of a run.
    ///
    /// # Errors
    /// As [`Store::commit`].
    fn remove(&self) -> LocalBoxFuture<'_, Result<(), StateError>>;

    /// Makes sure that no other run can have the right by now.
    ///
    /// # Errors
    /// As [`Store::commit`].
    fn check(&self) -> LocalBoxFuture<'_, Result<(), StateError>>;

    /// Lets the next run begin at once. An operating system's lock ends with the store.
    ///
    /// # Errors
    /// As [`Store::commit`]; the next run then has to wait until the right of this one has ended by itself.
    fn release(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
        ready(Ok(())).boxed_local()
    }

    /// Renews the right to write for as long as it is polled. Never ends.
    fn keep(&self) -> LocalBoxFuture<'_, ()> {
        pending().boxed_local()
    }

    /// Until when requests of an earlier run may still have an effect, which ended without releasing.
    fn late_until(&self) -> Option<Instant> {
        None
    }
}
