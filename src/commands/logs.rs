//! `logs`: a function's log events, in order.
//!
//! Must not miss an event that arrives late, nor print one twice.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use anyhow::Context;
use aws_sdk_cloudwatchlogs::operation::filter_log_events::FilterLogEventsOutput;
use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::configuration;
use super::invocation::Invocation;
use super::open::{Loaded, Recorded};
use super::stop::stop_signal;
use super::token::pick;
use super::ui::Ui;
use crate::aws::Aws;
use crate::aws::pages::Pages;
use crate::cli;
use crate::error::Failure;
use crate::resource::Cx;
use crate::untrusted::printable;

/// Between two looks with `--follow`.
const FOLLOW_PAUSE: Duration = Duration::from_secs(2);
/// CloudWatch takes events in some seconds after they happened: so far back every look goes again.
const LATE: SignedDuration = SignedDuration::from_secs(60);

/// Of one look: each page may be 1 MB.
const PAGES: usize = 10_000;
/// How many events are remembered with `--follow`, so that none is printed twice.
const REMEMBERED: usize = 500_000;

/// Runs it.
pub async fn run(invocation: &Invocation, args: &cli::Logs, ui: &std::rc::Rc<Ui>) -> Result<(), Failure> {
    let since = parse_since(&args.since)?;
    let stack = configuration::stack_name(invocation)?;
    let loaded = Loaded::load(invocation, &stack).await?;
    let state = &loaded.state;
    let names: Vec<&str> = state
        .steps
        .iter()
        .filter_map(|record| record.step.strip_prefix("log-group:"))
        .collect();
    let name = pick("function", &names, args.function.as_deref())?;
    let record = state.record(&format!("log-group:{name}")).context("just seen")?;
    let group = record.desired["name"]
        .as_str()
        .context("the recorded log group has no name")?
        .to_owned();
    let Recorded { session, .. } = loaded.open(ui).await?;
    let cx = session.cx(ui);
    let mut from = Timestamp::now()
        .checked_sub(since)
        .context("that is too long ago")?;
    let mut seen = Seen::default();
    let mut stop = stop_signal()?;
    loop {
        let now = Timestamp::now();
        let mut pages = Pages::up_to(PAGES, "logs:FilterLogEvents");
        loop {
            let page = page(&cx, &group, from, pages.token()).await?;
            let mut events = page.events.unwrap_or_default();
            events.sort_by_key(FilteredLogEvent::timestamp);
            for event in events {
                if !args.follow || seen.insert(&event) {
                    print(&event, ui);
                }
            }
            if ui.stdout_result().is_err() {
                return Ok(());
            }
            if !pages.turn(page.next_token)? {
                break;
            }
        }
        if !args.follow {
            return Ok(());
        }
        from = from.max(
            now.checked_sub(LATE)
                .context("the clock is at the beginning of time")?,
        );
        seen.forget_before(from);
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_PAUSE) => {}
            _ = stop.changed() => return Ok(()),
        }
    }
}

async fn page(
    cx: &Cx<Aws>,
    group: &str,
    from: Timestamp,
    token: Option<String>,
) -> Result<FilterLogEventsOutput, Failure> {
    let filter = || {
        cx.cloud()
            .logs
            .filter_log_events()
            .log_group_name(group)
            .start_time(from.as_millisecond())
            .set_next_token(token.clone())
            .send()
    };
    let page = cx.call("logs:FilterLogEvents", filter).await;
    Ok(page.with_context(|| format!("cannot read log group {group}"))?)
}

/// The events that were printed and may be answered again: time and hash, the oldest first.
#[derive(Default)]
struct Seen(BTreeSet<(i64, u64)>);

impl Seen {
    /// Whether this event is new.
    fn insert(&mut self, event: &FilteredLogEvent) -> bool {
        let mut hash = DefaultHasher::new();
        match event.event_id() {
            Some(id) => id.hash(&mut hash),
            None => (event.log_stream_name(), event.message()).hash(&mut hash),
        }
        let is_new = self
            .0
            .insert((event.timestamp().unwrap_or(i64::MAX), hash.finish()));
        if self.0.len() > REMEMBERED {
            self.0.pop_first();
        }
        is_new
    }

    /// Forgets what the next look does not ask for.
    fn forget_before(&mut self, from: Timestamp) {
        self.0 = self.0.split_off(&(from.as_millisecond(), 0));
    }
}

fn print(event: &FilteredLogEvent, ui: &Ui) {
    let time = event
        .timestamp()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok());
    let time = time
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
        .unwrap_or_default();
    let message = event.message().unwrap_or_default().trim_end();
    if ui.is_json() {
        ui.data(&json!({"timestamp": time, "message": message}).to_string());
    } else {
        ui.data(&format!("{time} {}", printable(message)));
    }
}

/// `30s`, `10m`, `2h`, `1d`.
fn parse_since(text: &str) -> Result<SignedDuration, Failure> {
    let refused = || {
        Failure::usage(format!(
            "invalid value {text:?} for --since: expected a duration such as 30s, 10m, 2h or 1d"
        ))
    };
    let unit = text.chars().last().ok_or_else(refused)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(refused()),
    };
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| refused())?;
    let seconds = count
        .checked_mul(factor)
        // CloudWatch counts from 1970.
        .filter(|seconds| (1..=Timestamp::now().as_second()).contains(seconds))
        .ok_or_else(refused)?;
    Ok(SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_new_once_and_what_is_remembered_has_a_bound() {
        let event = |id: Option<&str>, time: i64| {
            let event = FilteredLogEvent::builder().timestamp(time).message("m");
            event.set_event_id(id.map(str::to_owned)).build()
        };
        let mut seen = Seen::default();
        for (id, time) in [(Some("a"), 1), (Some("b"), 1), (None, 2), (None, 3)] {
            assert!(seen.insert(&event(id, time)), "{id:?}");
            assert!(!seen.insert(&event(id, time)), "{id:?}");
        }
        seen.forget_before(Timestamp::from_millisecond(2).unwrap());
        assert_eq!(seen.0.len(), 2);
        for time in 0..i64::try_from(REMEMBERED).unwrap() + 10 {
            seen.insert(&event(None, time));
        }
        assert_eq!(seen.0.len(), REMEMBERED);
    }

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86400)] {
            assert_eq!(parse_since(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in [
            "",
            "10",
            "m",
            "-5m",
            "0s",
            "1w",
            "10é",
            "9999999999999999d",
            "99999999999999d",
            "40000d",
        ] {
            assert_eq!(parse_since(text).unwrap_err().kind.exit_code(), 2, "{text}");
        }
    }
}
