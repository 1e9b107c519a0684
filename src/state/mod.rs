//! What is known of a stack between runs, kept so that a kill at any instant loses nothing.
//!
//! Must not know what a resource is, nor AWS: desired states and outputs are JSON to it.

pub mod file;
pub mod lock;
pub mod records;

pub use file::{StateError, StateFile, StateWriter};
pub use lock::{Holder, Lock, LockError};
pub use records::{FORMAT, Phase, Record, State};
