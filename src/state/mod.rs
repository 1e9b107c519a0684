//! What is known of a stack between runs, kept so that a kill at any instant loses nothing.
//!
//! Must not know what a resource is: desired states and outputs are JSON to it. Only `s3` knows AWS, and only S3.

pub mod bucket;
pub mod file;
pub mod folder;
pub mod lock;
pub mod records;
pub mod s3;
pub mod store;

pub use crate::lease::Holder;
pub use bucket::{Bucket, Safeguard};
pub use file::{StateError, StateFile, StateWriter};
pub use folder::FolderStore;
pub use lock::{Lock, LockError};
pub use records::{FORMAT, Phase, Record, State};
pub use s3::{Object, S3Store};
pub use store::Store;
