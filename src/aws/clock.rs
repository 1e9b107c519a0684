//! How far the clock of this machine is from that of a server, by the dates of its answers.
//!
//! Must not set a clock, nor look into an answer but for its date.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

/// An interceptor that keeps how far this machine was ahead at the last answer.
#[derive(Clone, Debug, Default)]
pub struct ServerClock(Arc<Mutex<Option<SignedDuration>>>);

impl ServerClock {
    /// How far this machine is ahead; negative if it is behind, `None` without an answer with a date. Servers tell whole seconds.
    pub fn ahead(&self) -> Option<SignedDuration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, date: &str, now: Timestamp) {
        if let Ok(date) = rfc2822::parse(date) {
            let mut ahead = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *ahead = Some(now.duration_since(date.timestamp()));
        }
    }
}

impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "ServerClock"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context
            .response()
            .and_then(|response| response.headers().get("date"));
        if let Some(date) = date {
            self.tell(date, Timestamp::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_tells_how_far_this_machine_is_ahead() {
        let clock = ServerClock::default();
        assert_eq!(clock.ahead(), None);
        let now: Timestamp = "2026-11-28T10:00:30Z".parse().unwrap();
        clock.tell("not a date", now);
        assert_eq!(clock.ahead(), None);
        for (date, seconds) in [
            ("Sat, 28 Nov 2026 10:00:30 GMT", 0),
            ("Sat, 28 Nov 2026 09:58:30 GMT", 120),
            ("Sat, 28 Nov 2026 10:10:30 GMT", -600),
        ] {
            clock.tell(date, now);
            assert_eq!(clock.ahead(), Some(SignedDuration::from_secs(seconds)), "{date}");
        }
    }
}
