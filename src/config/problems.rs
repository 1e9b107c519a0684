//! The problems of the file: their places and their messages.
//!
//! Must not repeat a text of the file unless the caller passes it: the value of an environment variable may be a secret.

use std::fmt::Display;

use super::Problem;
use super::rules::Rule;

/// The longest part of a text that a message repeats, in characters.
const QUOTED: usize = 60;

/// A text in quotes as a message repeats it: control characters are escaped, and a long text is cut.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("\"{}…\"", text[..end].escape_debug()),
        None => format!("\"{}\"", text.escape_debug()),
    }
}

/// `; did you mean "x"?` with the name of `known` that is most like `name`; empty if none is like it.
pub(super) fn meant<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    // A longer name is not a typing error, and comparing it takes long.
    if name.len() > 100 {
        return String::new();
    }
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= (known.chars().count() / 3).max(1))
        .map(|(_, known)| format!("; did you mean {}?", quoted(known)))
        .unwrap_or_default()
}

/// The name of `known` that is most like `name`, or else all of them if they fit in a line.
pub(super) fn instead<'k>(name: &str, known: impl Iterator<Item = &'k String> + Clone) -> String {
    let meant = meant(name, known.clone().map(String::as_str));
    match known.clone().count() {
        _ if !meant.is_empty() => meant,
        0 => " (none is defined)".to_owned(),
        1..=6 => format!(
            " (available: {})",
            known.map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
        ),
        number => format!(" ({number} others are defined)"),
    }
}

/// A part of the file and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    /// Where it begins, in bytes from the beginning of the file.
    pub at: usize,
    pub value: T,
}

/// The problems of a text that were found so far, in any order.
pub(super) struct Problems {
    text: String,
    found: Vec<At<String>>,
}

impl Problems {
    pub(super) fn of(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            found: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, at: usize, message: impl Into<String>) {
        let value = message.into();
        self.found.push(At { at, value });
    }

    /// A problem at this place, for what can be checked only later.
    pub(super) fn later(&self, at: usize, message: impl Into<String>) -> Problem {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Problem {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            message: message.into(),
        }
    }

    /// Adds a problem unless the text keeps to `rule`; `what` names it in the message. Whether it keeps to the rule.
    pub(super) fn check(&mut self, rule: &Rule, what: impl Display, found: At<&str>) -> bool {
        let holds = (rule.holds)(found.value);
        if !holds {
            self.add(
                found.at,
                format!("{what}: expected {}, got {}", rule.allowed, quoted(found.value)),
            );
        }
        holds
    }

    /// In the order of the file.
    pub(super) fn placed(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| problem.at);
        let found = std::mem::take(&mut self.found).into_iter();
        found
            .map(|problem| self.later(problem.at, problem.value))
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}
