//! `logs`: a function's log events, or the lines for requests, in order.
//!
//! Must not miss an event that arrives late, nor print one twice.

mod access;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use anyhow::Context;
use aws_sdk_cloudwatchlogs::operation::filter_log_events::FilterLogEventsOutput;
use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use self::access::Access;
use super::configuration;
use super::invocation::Invocation;
use super::open::{Loaded, Recorded};
use super::recorded::{self, ByKind, Entry};
use super::stop::stop_signal;
use super::token::pick;
use super::ui::Ui;
use crate::aws::Aws;
use crate::aws::pages::Pages;
use crate::cli;
use crate::error::Failure;
use crate::resource::Cx;
use crate::resources::LogGroup;
use crate::stack;
use crate::state::State;
use crate::untrusted::printable;

/// Between two looks with `--follow`.
pub(super) const FOLLOW_PAUSE: Duration = Duration::from_secs(2);
/// CloudWatch takes events in some seconds after they happened: so far back every look goes again.
const LATE: SignedDuration = SignedDuration::from_secs(60);

/// Of one look: each page may be 1 MB.
const PAGES: usize = 10_000;
/// How many events are remembered with `--follow`, so that none is printed twice.
const REMEMBERED: usize = 500_000;

/// Runs it.
pub(super) async fn run(
    invocation: &Invocation,
    args: &cli::Logs,
    ui: &std::rc::Rc<Ui>,
) -> Result<(), Failure> {
    let stack = configuration::stack_name(invocation)?;
    let loaded = Loaded::load(invocation, &stack, ui).await?;
    if args.access {
        let group = access_group(&loaded.state)?;
        let Recorded { session, state } = loaded.open(ui).await?;
        let access = Access::new(&state, args, ui)?;
        let each = |event: &FilteredLogEvent| access.take(event.message().unwrap_or_default());
        read(&session.cx(ui), &group, args, ui, each).await?;
        return access.end();
    }
    let groups = groups(&loaded.state)?;
    if groups.is_empty() {
        return Err(Failure::usage(format!(
            "stack {stack} has no function, so it has no logs"
        )));
    }
    let names: Vec<&str> = groups.keys().map(String::as_str).collect();
    let group = &groups[&pick("function", &names, args.function.as_deref())?];
    let Recorded { session, .. } = loaded.open(ui).await?;
    read(&session.cx(ui), group, args, ui, |event| print(event, ui)).await
}

/// Calls `each` with the events of a log group since the time that was asked for, and with `--follow` with those that come,
/// each once.
async fn read(
    cx: &Cx<Aws>,
    group: &str,
    args: &cli::Logs,
    ui: &Ui,
    each: impl Fn(&FilteredLogEvent),
) -> Result<(), Failure> {
    let from = Timestamp::now()
        .checked_sub(SignedDuration::try_from(args.since)?)
        .context("that is too long ago")?;
    let mut reading = Reading::new(group.to_owned(), from, args.follow);
    let mut stop = stop_signal()?;
    loop {
        reading.look(cx, ui, &each).await?;
        if !args.follow || ui.stdout_result().is_err() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_PAUSE) => {}
            _ = stop.changed() => return Ok(()),
        }
    }
}

/// The events of a log group, look by look.
pub(super) struct Reading {
    group: String,
    from: Timestamp,
    /// What earlier looks have shown; `None` if there is only one look.
    seen: Option<Seen>,
}

impl Reading {
    /// Of the events from then on; with `follows` for more than one look.
    pub(super) fn new(group: String, from: Timestamp, follows: bool) -> Self {
        Self {
            group,
            from,
            seen: follows.then(Seen::default),
        }
    }

    /// Calls `each` with every event that no look has shown yet.
    pub(super) async fn look(
        &mut self,
        cx: &Cx<Aws>,
        ui: &Ui,
        each: impl Fn(&FilteredLogEvent),
    ) -> Result<(), Failure> {
        let now = Timestamp::now();
        let mut pages = Pages::up_to(PAGES, "logs:FilterLogEvents");
        loop {
            let page = page(cx, &self.group, self.from, pages.token()).await?;
            let mut events = page.events.unwrap_or_default();
            events.sort_by_key(FilteredLogEvent::timestamp);
            for event in events {
                if self.seen.as_mut().is_none_or(|seen| seen.insert(&event)) {
                    each(&event);
                }
            }
            if ui.stdout_result().is_err() {
                return Ok(());
            }
            if !pages.turn(page.next_token)? {
                break;
            }
        }
        if let Some(seen) = &mut self.seen {
            let late = now.checked_sub(LATE);
            self.from = (self.from).max(late.context("the clock is at the beginning of time")?);
            seen.forget_before(self.from);
        }
        Ok(())
    }
}

/// The log group that the stage writes a line for every request to.
fn access_group(state: &State) -> Result<String, Failure> {
    let group = state.all::<LogGroup>()?.into_iter();
    let mut group = group.filter(|group| group.step == stack::ACCESS_LOG_GROUP);
    let none = || {
        Failure::usage(format!("stack {} does not log requests", state.stack))
            .hinted("set `access_logs` in [api] of the configuration, then run `provision up`")
    };
    group.next().map(|group| group.desired.name).ok_or_else(none)
}

/// The log groups on record, by the name of the function.
pub(super) fn groups(state: &State) -> anyhow::Result<BTreeMap<String, String>> {
    let prefix = stack::unique(&state.stack, recorded::separator(state), &state.owner, "");
    let prefix = stack::log_group(&prefix);
    let groups = state.all::<LogGroup>()?.into_iter();
    let named = groups.filter_map(|Entry { desired, .. }| {
        let function = desired.name.strip_prefix(&prefix)?;
        Some((function.to_owned(), desired.name))
    });
    Ok(named.collect())
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

fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// When it happened, and what was written.
pub(super) fn parts(event: &FilteredLogEvent) -> (String, &str) {
    let time = event
        .timestamp()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok());
    let time = time.map(shown).unwrap_or_default();
    (time, event.message().unwrap_or_default().trim_end())
}

fn print(event: &FilteredLogEvent, ui: &Ui) {
    let (time, message) = parts(event);
    if ui.is_json() {
        ui.data(&json!({"timestamp": time, "message": message}).to_string());
    } else {
        ui.data(&format!("{time} {}", printable(message)));
    }
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
}
