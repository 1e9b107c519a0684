//! One line on stderr for everything worth a line. On a terminal `live.rs` shows what is under way instead.
//!
//! Must not know anything but events.

use std::collections::HashMap;

use super::event::{Ended, Event, Operation, Outcome};
use crate::untrusted::message;

/// The most rights that are told before a run.
const MOST_RIGHTS: usize = 20;

/// Turns events into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The last wait that was told of each step: a wait repeats itself every few seconds.
    waits: HashMap<String, String>,
    /// What unchanged steps there are; they share one line.
    unchanged: usize,
}

impl Lines {
    /// The line for this event, if it is worth one. Control characters are escaped: some text is a server's.
    pub(crate) fn line(&mut self, event: &Event) -> Option<String> {
        let line = match event {
            Event::Foreign(one) => return Some(format!("foreign   {}", one.line())),
            Event::Rights { rights } => return Some(rights.text(MOST_RIGHTS).trim_end().to_owned()),
            Event::Started {
                command,
                stack,
                steps,
            } => {
                // A watch has many runs.
                *self = Self::default();
                format!("{command} {stack}: {}", counted(steps.len(), "step"))
            }
            Event::StepStarted {
                step,
                action: Operation::Resume,
            } => {
                format!("resuming  {step}: looking for what an interrupted run may have made")
            }
            Event::StepStarted { .. } => return None,
            Event::Waiting { step, what } => {
                if self.waits.get(step) == Some(what) {
                    return None;
                }
                self.waits.insert(step.clone(), what.clone());
                format!("waiting   {step}: for {what}")
            }
            Event::StepFinished {
                outcome: Outcome::Unchanged,
                ..
            } => {
                self.unchanged += 1;
                return None;
            }
            Event::StepFinished {
                step,
                with: Some(parent),
                ..
            } => format!("deleted   {step} (with {parent})"),
            Event::StepFinished {
                step,
                outcome,
                id,
                millis,
                ..
            } => finished(step, *outcome, id.as_deref(), *millis),
            Event::StepFailed { step, error } => format!("failed    {step}: {}", error.join(": ")),
            Event::HeldBack { step, because } => format!("held back {step}: it needs {because}"),
            Event::Stopping { running } => format!(
                "stopping: {} still running; press Ctrl-C again to leave at once",
                counted(*running, "step")
            ),
            Event::Ended { result, changed, .. } => match result {
                Ended::Done if *changed == 0 => {
                    format!("nothing changed: {}", counted(self.unchanged, "step"))
                }
                Ended::Done if self.unchanged > 0 => {
                    format!("done: {changed} changed, {} unchanged", self.unchanged)
                }
                Ended::Done => format!("done: {}", counted(*changed, "step")),
                Ended::Failed | Ended::Interrupted => return None,
            },
        };
        Some(message(&line))
    }
}

fn finished(step: &str, outcome: Outcome, id: Option<&str>, millis: u64) -> String {
    let word = match outcome {
        Outcome::Created => "created",
        Outcome::Adopted => "adopted",
        Outcome::Updated => "updated",
        Outcome::Retired => "retired",
        Outcome::Kept => "kept",
        Outcome::Unchanged => "unchanged",
        Outcome::Left => "left",
        Outcome::Deleted => "deleted",
        Outcome::Gone => "gone",
    };
    let id = id.map(|id| format!("  {id}")).unwrap_or_default();
    format!(
        "{word:<9} {step}{id}  ({}.{} s)",
        millis / 1000,
        millis % 1000 / 100
    )
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(what: &str) -> Event {
        Event::Waiting {
            step: "domain".to_owned(),
            what: what.to_owned(),
        }
    }

    #[test]
    fn a_wait_that_repeats_itself_is_told_once() {
        let mut lines = Lines::default();
        assert_eq!(
            lines.line(&waiting("x")).as_deref(),
            Some("waiting   domain: for x")
        );
        assert_eq!(lines.line(&waiting("x")), None);
        assert!(lines.line(&waiting("y")).is_some());
    }

    #[test]
    fn a_servers_escape_sequence_does_not_reach_the_terminal() {
        let line = Lines::default().line(&waiting("\u{1b}[2Jx")).unwrap();
        assert_eq!(line, "waiting   domain: for \\u{1b}[2Jx");
    }

    #[test]
    fn a_run_without_changes_says_so() {
        let mut lines = Lines::default();
        let unchanged = Event::StepFinished {
            step: "domain".to_owned(),
            outcome: Outcome::Unchanged,
            with: None,
            id: None,
            millis: 0,
        };
        assert_eq!(lines.line(&unchanged), None);
        let end = Event::Ended {
            result: Ended::Done,
            changed: 0,
            outputs: serde_json::Value::Null,
        };
        assert_eq!(lines.line(&end).as_deref(), Some("nothing changed: 1 step"));
    }
}
