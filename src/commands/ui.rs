//! What a command prints, and where: data to stdout, everything else to stderr.
//!
//! Must not decide what is said.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::follow_up::FollowUp;
use crate::aws::call_log::CallLog;
use crate::cli::Global;
use crate::error::Failure;
use crate::report::lines::Lines;
use crate::report::live::{Display, Frame, PAUSE, SOON, Steps, seconds};
use crate::report::timeline::Timeline;
use crate::report::{Clock, Event, TimedEvent, json, terminal};
use crate::untrusted::{message, printable, printable_json, printable_lines};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const CAUSE: Style = AnsiColor::Yellow.on_default();
const HINT: Style = AnsiColor::Cyan.on_default();

/// What is painted while the stack is read.
pub(super) const READING: &str = "reading the stack";

/// Stdout did not take all that was printed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("stdout cannot be written: {why}")]
pub(super) struct StdoutError {
    /// Whether its reader went away, as `head` does: not an error of a command that succeeded.
    pub reader_left: bool,
    why: String,
}

/// The output of one command, and its questions.
pub(super) struct Ui {
    quiet: bool,
    verbose: bool,
    json: bool,
    follow_up: FollowUp,
    /// Whether stderr is a terminal on which progress can be painted.
    live: bool,
    lines: RefCell<Lines>,
    /// The steps of the run that is painted.
    steps: RefCell<Option<Steps>>,
    /// What is drawn of the run, if that is wanted.
    timeline: RefCell<Option<Timeline>>,
    /// The beginning of a character whose other bytes come with the next part of a body.
    cut_off: RefCell<Vec<u8>>,
    /// The first error of stdout: nothing more is printed then, and the command goes on.
    stdout_error: RefCell<Option<StdoutError>>,
}

impl Ui {
    /// As the command line wants it.
    pub(super) fn new(global: &Global) -> Self {
        Self {
            quiet: global.quiet,
            verbose: global.verbose,
            json: global.json,
            follow_up: FollowUp::of(global),
            live: !global.quiet && !global.json && is_paintable(),
            lines: RefCell::default(),
            steps: RefCell::default(),
            timeline: RefCell::default(),
            cut_off: RefCell::default(),
            stdout_error: RefCell::default(),
        }
    }

    /// Whether no progress is printed.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether stdout is to be JSON.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints data: lines for people, or JSON. Safe on a terminal, whoever chose the text. What stdout does not take is
    /// known from [`Ui::stdout_result`].
    pub(super) fn data(&self, text: &str) {
        let text = if self.json {
            printable_json(text)
        } else {
            printable_lines(text)
        };
        self.bytes(format!("{text}\n").as_bytes());
    }

    /// Prints data that is JSON, whether or not `--json` asks for it.
    pub(super) fn json_data(&self, text: &str) {
        self.bytes(format!("{}\n", printable_json(text)).as_bytes());
    }

    /// Prints the next part of an answer's body: as it is, but on a terminal only what does not steer it.
    pub(super) fn body(&self, part: &[u8]) {
        if !io::stdout().is_terminal() {
            self.bytes(part);
            return;
        }
        let mut text = self.cut_off.take();
        text.extend_from_slice(part);
        *self.cut_off.borrow_mut() = cut_off_character(&mut text);
        self.bytes(printable_lines(&String::from_utf8_lossy(&text)).as_bytes());
    }

    /// Prints what is left of a body that ends in the middle of a character.
    pub(super) fn end_body(&self) {
        let left = self.cut_off.take();
        self.bytes(String::from_utf8_lossy(&left).as_bytes());
    }

    /// Prints data as it is.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        let mut stdout_error = self.stdout_error.borrow_mut();
        if stdout_error.is_some() {
            return;
        }
        if self.live {
            // Stdout may be the same terminal.
            terminal::clear();
        }
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
            *stdout_error = Some(StdoutError {
                reader_left: error.kind() == io::ErrorKind::BrokenPipe,
                why: error.to_string(),
            });
        }
    }

    /// Prints progress; with `-q` nothing.
    pub(super) fn progress(&self, line: &str) {
        if !self.quiet {
            terminal::print(&self.follow_up.complete(&printable_lines(line)));
        }
    }

    /// Prints what is not a failure and has to be known, also with `-q`.
    #[expect(clippy::unused_self, reason = "all output goes through the Ui")]
    pub(super) fn warn(&self, warning: &str) {
        terminal::print(&format!("{CAUSE}warning:{CAUSE:#} {}", message(warning)));
    }

    /// `text` with commands in backticks that work as printed.
    pub(super) fn completed(&self, text: &str) -> String {
        self.follow_up.complete(text)
    }

    /// Prints what to do about a warning, also with `-q`.
    pub(super) fn hint(&self, hint: &str) {
        let hint = self.follow_up.complete(&message(hint));
        terminal::print(&format!("{HINT}hint:{HINT:#} {hint}"));
    }

    /// Shows an event, draws it into the timeline, and prints it as JSON where that is wanted.
    pub(super) fn event(&self, told: &TimedEvent) {
        if let Some(timeline) = &mut *self.timeline.borrow_mut() {
            timeline.add(told);
        }
        let mut is_painted = false;
        if let Some(steps) = &mut *self.steps.borrow_mut() {
            steps.add(told);
            is_painted = matches!(told.event, Event::StepStarted { .. } | Event::Waiting { .. });
        }
        if !is_painted && let Some(line) = self.lines.borrow_mut().line(&told.event) {
            self.progress(&line);
        }
        if self.json {
            self.data(&json::line(told));
        }
    }

    /// Whether progress is painted, and not printed line by line.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// Does the work of a run; on a terminal its steps are painted meanwhile.
    pub(super) async fn show_run<T>(&self, clock: Clock, work: impl Future<Output = T>) -> T {
        if !self.live {
            return work.await;
        }
        self.steps.replace(Some(Steps::default()));
        let frame = || {
            let steps = self.steps.borrow();
            let steps = steps.as_ref().expect("they are there until the work is done");
            steps.frame(clock.elapsed(), terminal::size().0)
        };
        let done = painted(Duration::ZERO, work, frame).await;
        self.steps.replace(None);
        done
    }

    /// Does work that is not a run; if it takes long, `what` it does is painted on a terminal, and of how many things `count` says
    /// that how many are done.
    pub(super) async fn show<T>(
        &self,
        what: &str,
        count: impl Fn() -> Option<(usize, usize)>,
        work: impl Future<Output = T>,
    ) -> T {
        if !self.live {
            return work.await;
        }
        let clock = Clock::start();
        let frame = || {
            let done = count();
            let counted = done.map_or(String::new(), |(done, all)| format!("  {done} of {all}"));
            Frame {
                lines: Vec::new(),
                done,
                words: format!("{what}{counted}  {}", seconds(clock.elapsed())),
            }
        };
        painted(SOON, work, frame).await
    }

    /// As [`Ui::show`], without a count.
    pub(super) async fn show_wait<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        self.show(what, || None, work).await
    }

    /// Records the run that is about to begin, for [`Ui::timeline_svg`].
    pub(super) fn record_timeline(&self) {
        *self.timeline.borrow_mut() = Some(Timeline::default());
    }

    /// The picture of the run; `None` if it was not to be drawn or did not begin.
    pub(super) fn timeline_svg(&self) -> Option<String> {
        let timeline = self.timeline.borrow();
        timeline
            .as_ref()
            .filter(|timeline| !timeline.is_empty())
            .map(Timeline::svg)
    }

    /// Whether stdout took all that was printed.
    pub(super) fn stdout_result(&self) -> Result<(), StdoutError> {
        self.stdout_error.borrow().clone().map_or(Ok(()), Err)
    }

    /// Prints what went wrong and what to do.
    pub(super) fn failure(&self, failure: &Failure) {
        if let Some(error) = &failure.error {
            for (index, cause) in error.chain().enumerate() {
                let (word, style) = if index == 0 {
                    ("error", ERROR)
                } else {
                    ("caused by", CAUSE)
                };
                let cause = message(&cause.to_string());
                terminal::print(&format!("{style}{word}:{style:#} {cause}"));
            }
        }
        for line in &failure.details {
            terminal::print(&self.follow_up.complete(&message(line)));
        }
        for hint in &failure.hints {
            self.hint(hint);
        }
    }

    /// The listener for what AWS calls wait for that belong to no step: each is told once.
    pub(super) fn wait_listener(&self) -> Rc<dyn Fn(&str)> {
        let quiet = self.quiet;
        let told = RefCell::new(HashSet::new());
        Rc::new(move |what| {
            if !quiet && told.borrow_mut().insert(what.to_owned()) {
                terminal::print(&printable(&format!("waiting for {what}")));
            }
        })
    }

    /// The listener for AWS calls, if they are to be told.
    pub(super) fn call_log(&self) -> Option<CallLog> {
        self.verbose.then(|| {
            CallLog(Arc::new(|line| {
                terminal::print(&message(&format!("aws       {line}")));
            }))
        })
    }

    /// Whether there is a terminal to ask on.
    pub(super) fn can_confirm() -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks on the terminal; `None` without a terminal.
    pub(super) fn confirm(&self, question: &str) -> Option<bool> {
        if !Self::can_confirm() {
            return None;
        }
        self.question(question);
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        Some(read.is_ok() && is_yes(&answer))
    }

    /// Asks on the terminal, and leaves it to the caller to read the answer.
    #[expect(clippy::unused_self, reason = "all output goes through the Ui")]
    pub(super) fn question(&self, question: &str) {
        terminal::clear();
        drop(write!(io::stderr(), "{question} [y/N] "));
    }
}

/// Whether an answer to a question agrees.
pub(super) fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// Asks on the terminal for a text; an empty answer is `default`. `None` at the end of the input.
pub(super) fn ask(question: &str, default: &str) -> Option<String> {
    terminal::clear();
    drop(write!(
        io::stderr(),
        "{} [{}] ",
        printable(question),
        printable(default)
    ));
    let mut answer = String::new();
    let length = io::stdin().read_line(&mut answer).ok()?;
    let answer = answer.trim();
    match (length, answer) {
        (0, _) => None,
        (_, "") => Some(default.to_owned()),
        _ => Some(answer.to_owned()),
    }
}

/// Takes off the bytes at the end of `text` that may be the beginning of a character.
fn cut_off_character(text: &mut Vec<u8>) -> Vec<u8> {
    for length in 1..=3.min(text.len()) {
        let start = text.len() - length;
        if std::str::from_utf8(&text[start..]).is_err_and(|error| error.error_len().is_none()) {
            return text.split_off(start);
        }
    }
    Vec::new()
}

/// Whether stderr is a terminal that understands where to move the cursor, with somebody before it.
fn is_paintable() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stderr().is_terminal() && !is_dumb && !is_set("CI")
}

/// Does `work`, and paints a frame again and again from `soon` on until it is done.
async fn painted<T>(soon: Duration, work: impl Future<Output = T>, frame: impl Fn() -> Frame) -> T {
    let mut work = pin!(work);
    let mut ticks = interval_at(Instant::now() + soon, PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut display = None;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = ticks.tick() => display.get_or_insert_with(Display::default).paint(frame()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_is_cut_in_two_waits_for_its_end() {
        for (text, left) in [
            ("a".as_bytes(), 0),
            ("é".as_bytes(), 0),
            (&"é".as_bytes()[..1], 1),
            (&"a€".as_bytes()[..2], 1),
            (&"a€".as_bytes()[..3], 2),
            (&"a😀".as_bytes()[..4], 3),
            (b"a\xff", 0),
            (b"", 0),
        ] {
            let mut start = text.to_vec();
            assert_eq!(
                cut_off_character(&mut start),
                text[text.len() - left..],
                "{text:?}"
            );
            assert_eq!(start, text[..text.len() - left], "{text:?}");
        }
    }
}
