//! One JSON object a line on stdout for every event.
//!
//! Must not leave any event out.

use super::TimedEvent;

/// The event as one line of JSON.
pub(crate) fn line(event: &TimedEvent) -> String {
    serde_json::to_string(event).expect("an event is plain JSON")
}
