//! What the engine says, and who listens.
//!
//! Must not know anything but events.

pub(crate) mod event;
pub(crate) mod json;
pub(crate) mod lines;
pub(crate) mod live;
pub(crate) mod terminal;
pub(crate) mod timeline;

pub(crate) use event::{Clock, Event, TimedEvent};
