//! The log events of every function of a stack, as they come.
//!
//! Must not end the watch that it is a part of: what cannot be read is told, and tried again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::logs::{FOLLOW_PAUSE, Reading, parts};
use super::super::ui::Ui;
use crate::aws::Aws;
use crate::error::on_one_line;
use crate::resource::Cx;
use crate::untrusted::printable;

/// The least time of a look a function. CloudWatch answers five such calls a second in an account, for all that asks.
const A_FUNCTION: Duration = Duration::from_millis(400);
/// The pause after a look that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// Between two looks whether a question is answered.
const WHILE_ASKING: Duration = Duration::from_millis(100);

/// What a watch tells those who follow it.
#[derive(Clone, Default)]
pub(super) struct Followed {
    /// The log groups, by the name of the function.
    pub groups: Rc<RefCell<BTreeMap<String, String>>>,
    /// Whether a question is on the terminal, which nothing must cover.
    pub is_asking: Rc<Cell<bool>>,
}

/// Prints the events that come from now on, each with its function's name before it.
pub(super) async fn follow(cx: Cx<Aws>, followed: Followed, ui: &Ui) -> Infallible {
    let began = Timestamp::now();
    let mut readings: BTreeMap<String, Reading> = BTreeMap::new();
    let mut is_failing = false;
    loop {
        let looked = Instant::now();
        let groups = followed.groups.borrow().clone();
        readings.retain(|function, _| groups.contains_key(function));
        let mut next =
            looked + FOLLOW_PAUSE.max(A_FUNCTION * u32::try_from(groups.len()).unwrap_or(u32::MAX));
        for (function, group) in groups {
            while followed.is_asking.get() {
                sleep(WHILE_ASKING).await;
            }
            let reading = readings
                .entry(function.clone())
                .or_insert_with(|| Reading::new(group, began, true));
            match reading.look(&cx, ui, |event| print(&function, event, ui)).await {
                Ok(()) => is_failing = false,
                Err(failure) => {
                    if !is_failing && let Some(error) = &failure.error {
                        ui.warn(&format!(
                            "the log events of function {function} are not shown: {}",
                            on_one_line(error)
                        ));
                    }
                    is_failing = true;
                    next = Instant::now() + AFTER_FAILURE;
                    break;
                }
            }
        }
        sleep_until(next).await;
    }
}

fn print(function: &str, event: &FilteredLogEvent, ui: &Ui) {
    let (time, message) = parts(event);
    if ui.is_json() {
        let line = json!({"event": "log", "function": function, "timestamp": time, "message": message});
        ui.data(&line.to_string());
    } else {
        ui.data(&format!("{function} {time} {}", printable(message)));
    }
}
