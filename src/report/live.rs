//! What is shown on a terminal while a command is at work: its running steps, and a bar over all of them.
//!
//! Must not know anything but events and the terminal, nor read a clock: the caller says how long the command is at work.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::event::{Event, Operation, TimedEvent};
use super::terminal::{Screen, clear, cut, size};
use crate::untrusted::message;

/// From one paint to the next: 20 a second.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// How long the reads of a command last before they are shown.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// Rows that are left to what scrolls by, to the bar, and to the cursor.
const OTHER_ROWS: usize = 4;

/// The last lines of the terminal; dropping it takes them away.
pub(crate) struct Display {
    bar: ProgressBar,
    /// What is painted next, where indicatif finds it.
    frame: Arc<Mutex<Frame>>,
}

/// What is painted at once.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// Above the last line: one for each running step.
    pub lines: Vec<String>,
    /// Of how many things how many are done; `None` without a bar.
    pub done: Option<(usize, usize)>,
    /// In the last line, beside the bar.
    pub words: String,
}

impl Default for Display {
    fn default() -> Self {
        let target = ProgressDrawTarget::term_like(Box::new(Screen::default()));
        Self {
            bar: ProgressBar::with_draw_target(Some(1), target),
            frame: Arc::default(),
        }
    }
}

impl Display {
    /// Paints a frame over the last one, its lines cut to the terminal's width.
    pub(crate) fn paint(&self, mut frame: Frame) {
        let (_, columns) = size();
        let (template, beside) = match frame.done {
            // The bar, its brackets and a blank.
            Some(_) => ("{lines}[{bar:24}] {words}", 27),
            None => ("{lines}{spinner} {words}", 2),
        };
        for line in &mut frame.lines {
            *line = cut(line, columns);
        }
        frame.words = cut(&frame.words, columns.saturating_sub(beside));
        let (done, all) = frame.done.unwrap_or_default();
        *lock(&self.frame) = frame;
        self.bar.set_style(self.style(template));
        self.bar.update(|state| {
            state.set_len(u64::try_from(all).unwrap_or(u64::MAX));
            state.set_pos(u64::try_from(done).unwrap_or(u64::MAX));
        });
    }

    fn style(&self, template: &str) -> ProgressStyle {
        let [lines, words] = [self.frame.clone(), self.frame.clone()];
        ProgressStyle::with_template(template)
            .expect("the template is well-formed")
            .progress_chars("=> ")
            .tick_chars("-\\|/ ")
            .with_key("lines", move |_: &ProgressState, out: &mut dyn Write| {
                for line in &lock(&lines).lines {
                    writeln!(out, "{line}").expect("a string takes all that is written to it");
                }
            })
            .with_key("words", move |_: &ProgressState, out: &mut dyn Write| {
                let words = &lock(&words).words;
                out.write_str(words)
                    .expect("a string takes all that is written to it");
            })
    }
}

fn lock(frame: &Mutex<Frame>) -> MutexGuard<'_, Frame> {
    frame.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Display {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        clear();
    }
}

/// What is known of the steps of a run.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    all: usize,
    over: HashSet<String>,
    failed: usize,
    /// By their beginning.
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    step: String,
    operation: Operation,
    since: Duration,
    waits_for: Option<String>,
}

impl Steps {
    /// Takes in the next event.
    pub(crate) fn add(&mut self, told: &TimedEvent) {
        match &told.event {
            Event::Started { steps, .. } => self.all = steps.len(),
            Event::StepStarted { step, action } => {
                self.over.remove(step);
                self.running.push(Running {
                    step: step.clone(),
                    operation: *action,
                    since: told.at,
                    waits_for: None,
                });
            }
            Event::Waiting { step, what } => {
                if let Some(running) = self.running.iter_mut().find(|one| one.step == *step) {
                    running.waits_for = Some(what.clone());
                }
            }
            Event::StepFinished { step, .. } | Event::HeldBack { step, .. } => self.end(step),
            Event::StepFailed { step, .. } => {
                self.failed += 1;
                self.end(step);
            }
            Event::Foreign(_) | Event::Rights { .. } | Event::Stopping { .. } | Event::Ended { .. } => {}
        }
    }

    fn end(&mut self, step: &str) {
        self.running.retain(|running| running.step != step);
        self.over.insert(step.to_owned());
    }

    /// What is painted at this time of the run, on a terminal with so many rows. Control characters are escaped: some text is a
    /// server's.
    pub(crate) fn frame(&self, now: Duration, rows: usize) -> Frame {
        let room = rows.saturating_sub(OTHER_ROWS).max(1);
        let shown = if self.running.len() > room {
            // The last row says how many more there are.
            room - 1
        } else {
            self.running.len()
        };
        let mut lines: Vec<String> = (self.running[..shown].iter()).map(|one| one.line(now)).collect();
        let more = self.running.len() - shown;
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        let (over, all) = (self.over.len().min(self.all), self.all);
        Frame {
            lines,
            done: Some((over, all)),
            words: format!("{over} of {all} steps{failed}  {}", seconds(now)),
        }
    }
}

impl Running {
    fn line(&self, now: Duration) -> String {
        let doing = match self.operation {
            Operation::Create => "creating",
            Operation::Resume => "resuming",
            Operation::Update => "updating",
            Operation::Delete | Operation::Replace => "deleting",
            Operation::Retire => "retiring",
            Operation::Leave | Operation::Unchanged | Operation::Refused | Operation::NotOurs => "checking",
        };
        let lasts = seconds(now.saturating_sub(self.since));
        let waits = match &self.waits_for {
            Some(what) => format!("  waiting for {what}"),
            None => String::new(),
        };
        message(&format!("{doing:<9} {}  {lasts}{waits}", self.step))
    }
}

/// Whole seconds, and minutes where there are any.
pub(crate) fn seconds(time: Duration) -> String {
    match (time.as_secs() / 60, time.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds:02} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::event::{Outcome, StepName};

    /// A run of so many steps, all of them running since the time that is their number, in seconds.
    fn running(count: u64) -> Steps {
        let mut steps = Steps::default();
        let name = |number: u64| format!("route:GET /{number}");
        let started = Event::Started {
            command: "up",
            stack: "user-api".to_owned(),
            steps: (0..count)
                .map(|number| StepName {
                    step: name(number),
                    kind: "route".to_owned(),
                    needs: Vec::new(),
                })
                .collect(),
        };
        add(&mut steps, 0, started);
        for number in 0..count {
            let (step, action) = (name(number), Operation::Create);
            add(&mut steps, number, Event::StepStarted { step, action });
        }
        steps
    }

    fn add(steps: &mut Steps, seconds: u64, event: Event) {
        let at = Duration::from_secs(seconds);
        steps.add(&TimedEvent { at, event });
    }

    fn finished(step: &str, outcome: Outcome) -> Event {
        Event::StepFinished {
            step: step.to_owned(),
            outcome,
            with: None,
            id: None,
            millis: 0,
        }
    }

    fn frame(steps: &Steps, seconds: u64, rows: usize) -> (Vec<String>, String) {
        let frame = steps.frame(Duration::from_secs(seconds), rows);
        (frame.lines, frame.words)
    }

    #[test]
    fn every_running_step_has_a_line_with_what_it_waits_for() {
        let mut steps = running(3);
        let waiting = Event::Waiting {
            step: "route:GET /1".to_owned(),
            what: "the role\u{1b}[2J".to_owned(),
        };
        add(&mut steps, 3, waiting);
        add(&mut steps, 4, finished("route:GET /0", Outcome::Created));
        let (lines, words) = frame(&steps, 65, 24);
        assert_eq!(
            lines,
            [
                "creating  route:GET /1  1 min 04 s  waiting for the role\\u{1b}[2J",
                "creating  route:GET /2  1 min 03 s",
            ]
        );
        assert_eq!(words, "1 of 3 steps  1 min 05 s");
    }

    #[test]
    fn a_step_that_is_replaced_is_over_once_it_is_created() {
        let mut steps = running(2);
        add(&mut steps, 1, finished("route:GET /0", Outcome::Deleted));
        assert_eq!(frame(&steps, 2, 24).1, "1 of 2 steps  2 s");
        let (step, action) = ("route:GET /0".to_owned(), Operation::Create);
        add(&mut steps, 2, Event::StepStarted { step, action });
        assert_eq!(frame(&steps, 2, 24).1, "0 of 2 steps  2 s");
        let error = vec!["no".to_owned()];
        let step = "route:GET /0".to_owned();
        add(&mut steps, 3, Event::StepFailed { step, error });
        assert_eq!(frame(&steps, 3, 24).1, "1 of 2 steps, 1 failed  3 s");
    }

    #[test]
    fn as_many_running_steps_are_shown_as_the_terminal_has_rows() {
        let steps = running(300);
        let (lines, _) = frame(&steps, 300, 24);
        assert_eq!(lines.len(), 24 - OTHER_ROWS);
        assert_eq!(lines.last().map(String::as_str), Some("and 281 more"));
        let (all, _) = frame(&steps, 300, 300 + OTHER_ROWS);
        assert_eq!(all.len(), 300);
        assert!(!all.last().unwrap().contains("more"));
        assert_eq!(frame(&steps, 300, 1).0, ["and 300 more"]);
    }
}
