//! What is wrong with the file and where, and the words for it.
//!
//! Must not repeat a text of the file unless the caller asks for it: an environment variable's value may be a secret.

use std::fmt::Display;

use super::Problem;
use super::rules::Rule;

/// The longest part of a text that a message repeats, in characters.
const QUOTED: usize = 60;

/// A text in quotes as a message repeats it: without control characters and not without end.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("\"{}…\"", text[..end].escape_debug()),
        None => format!("\"{}\"", text.escape_debug()),
    }
}

/// A question after the one of `known` that is most like `name`, or nothing where none is.
pub fn meant<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    // What is longer is no slip of the finger, and comparing it would take long.
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

/// The nearest of what there is, or else all of it as long as that fits a line.
pub fn instead<'k>(name: &str, known: impl ExactSizeIterator<Item = &'k String> + Clone) -> String {
    let meant = meant(name, known.clone().map(String::as_str));
    match known.len() {
        _ if !meant.is_empty() => meant,
        0 => " (there is none)".to_owned(),
        1..=6 => format!(
            " (there is {})",
            known.map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
        ),
        number => format!(" (there are {number} others)"),
    }
}

/// Something of the file and where it begins.
#[derive(Clone, Copy, Debug)]
pub struct At<T> {
    /// Bytes from the beginning of the file.
    pub at: usize,
    /// What is there.
    pub value: T,
}

/// All that is wrong, in any order.
#[derive(Default)]
pub struct Problems(Vec<At<String>>);

impl Problems {
    /// One more.
    pub fn add(&mut self, at: usize, message: impl Into<String>) {
        let value = message.into();
        self.0.push(At { at, value });
    }

    /// `what` must be as `rule` says; whether it is.
    pub fn check(&mut self, rule: &Rule, what: impl Display, found: At<&str>) -> bool {
        let holds = (rule.holds)(found.value);
        if !holds {
            self.add(
                found.at,
                format!("{what} must be {}; it is {}", rule.allowed, quoted(found.value)),
            );
        }
        holds
    }

    /// In the order of the file, each with its line and column in `text`.
    pub fn placed(self, text: &str) -> Vec<Problem> {
        let mut found = self.0;
        found.sort_by_key(|problem| problem.at);
        found
            .into_iter()
            .map(|problem| {
                let before = text.get(..problem.at).unwrap_or(text);
                let line = before.rsplit('\n').next().unwrap_or_default();
                Problem {
                    line: before.matches('\n').count() + 1,
                    column: line.chars().count() + 1,
                    message: problem.value,
                }
            })
            .collect()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
