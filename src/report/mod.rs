//! What the engine says, and who listens.
//!
//! Must not know anything but events.

pub mod event;
pub mod json;
pub mod lines;
pub mod live;
pub mod terminal;
pub mod timeline;

pub use event::{Clock, Event, TimedEvent};
