//! What a check has found, and the table of all.
//!
//! Must not check anything.

use serde::Serialize;

use super::super::hints;
use super::super::ui::Ui;
use crate::error::{Failure, on_one_line};
use crate::report::terminal;
use crate::untrusted::printable;

/// The widest table; on a wider terminal long lines are hard to read.
const WIDEST: usize = 120;
/// The narrowest column for what was found.
const NARROWEST: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it has to be.
    Ok,
    /// Something to know, which keeps nothing from working or could not be found out.
    Note,
    /// Something that has to be mended.
    Mend,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Mend => "mend",
        }
    }
}

/// What one check has found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// What was checked.
    pub check: &'static str,
    pub status: Status,
    /// What was found.
    pub what: String,
    /// What to do; `None` if nothing.
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, what, None)
    }

    pub(super) fn note(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Status::Note, what, Some(remedy.into()))
    }

    pub(super) fn mend(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Status::Mend, what, Some(remedy.into()))
    }

    fn new(check: &'static str, status: Status, what: impl Into<String>, remedy: Option<String>) -> Self {
        Self {
            check,
            status,
            what: printable(&what.into()),
            remedy,
        }
    }

    /// What a command would have ended with.
    pub(super) fn failed(check: &'static str, mut failure: Failure) -> Self {
        hints::add(&mut failure);
        let error = failure.error.as_ref().map(on_one_line).unwrap_or_default();
        let what = match failure.details.first() {
            Some(first) => format!("{error}: {first}"),
            None => error,
        };
        let hints = (!failure.hints.is_empty()).then(|| failure.hints.join("; "));
        Self::new(check, Status::Mend, what, hints)
    }

    /// As [`Finding::failed`] of something without which a run works.
    pub(super) fn unknown(check: &'static str, error: anyhow::Error, remedy: &str) -> Self {
        let failed = Self::failed(check, Failure::from(error));
        let what = format!("not known: {}", failed.what);
        Self::note(check, what, remedy)
    }

    /// With this remedy if it has none.
    pub(super) fn or_remedy(self, remedy: &str) -> Self {
        let remedy = self.remedy.or_else(|| Some(remedy.to_owned()));
        Self { remedy, ..self }
    }

    /// With commands that work as printed.
    pub(super) fn completed(&self, ui: &Ui) -> Self {
        let remedy = self.remedy.as_ref().map(|remedy| ui.completed(remedy));
        Self {
            remedy,
            ..self.clone()
        }
    }
}

/// A line for each finding, and below it what to do.
pub(super) fn table(findings: &[Finding], ui: &Ui) -> String {
    let findings: Vec<Finding> = findings.iter().map(|finding| finding.completed(ui)).collect();
    lines(&findings, terminal::stdout_columns())
}

/// `columns`: `None` if lines may have any length.
fn lines(findings: &[Finding], columns: Option<usize>) -> String {
    let longest = findings.iter().map(|finding| finding.check.chars().count()).max();
    let indent = longest.unwrap_or_default() + 8;
    let width = columns.map(|columns| {
        let columns = columns.min(WIDEST).saturating_sub(1);
        columns.saturating_sub(indent).max(NARROWEST)
    });
    let mut text = String::new();
    for finding in findings {
        let Finding { check, status, .. } = finding;
        let remedy = finding.remedy.iter().map(|remedy| format!("→ {remedy}"));
        let texts = std::iter::once(finding.what.clone()).chain(remedy);
        let below = texts.flat_map(|text| wrapped(&text, width));
        for (number, line) in below.enumerate() {
            let head = if number == 0 {
                format!("{:<4}  {check}", status.word())
            } else {
                String::new()
            };
            text.push_str(format!("{head:<indent$}{line}").trim_end());
            text.push('\n');
        }
    }
    text.pop();
    text
}

/// `text` in lines of at most `width` characters, cut between words; a longer word stays whole.
fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else {
        return vec![text.to_owned()];
    };
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_not_wider_than_the_terminal_and_a_word_stays_whole() {
        let findings = [
            Finding::ok("python", "Python 3.11"),
            Finding::mend(
                "configuration",
                "one two three four five six seven eight nine ten",
                "do https://example.com/a-very-long-address that",
            ),
        ];
        assert_eq!(
            lines(&findings, Some(48)),
            "ok    python         Python 3.11\n\
             mend  configuration  one two three four five\n\
             \x20                    six seven eight nine ten\n\
             \x20                    → do\n\
             \x20                    https://example.com/a-very-long-address\n\
             \x20                    that"
        );
        let wide = lines(&findings, None);
        assert_eq!(wide.lines().count(), 3);
        assert!(wide.contains("nine ten\n"));
    }

    #[test]
    fn what_a_command_would_have_ended_with_is_told_on_one_line_with_its_remedy() {
        let mut failure = Failure::usage("it has 2 problems")
            .hinted("do this")
            .hinted("or that");
        failure.details = vec!["the first".to_owned(), "the second".to_owned()];
        let finding = Finding::failed("x", failure);
        assert_eq!(finding.what, "it has 2 problems: the first");
        assert_eq!(finding.remedy.as_deref(), Some("do this; or that"));
        assert_eq!(finding.status, Status::Mend);
        let other = Finding::ok("x", "a\n\u{1b}[2Jb");
        assert!(!other.what.contains(['\n', '\u{1b}']), "{}", other.what);
    }
}
