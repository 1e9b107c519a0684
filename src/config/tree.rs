//! The file as a tree, with a function for each type of value that a key can have.
//!
//! Must not know what a stack consists of. Must not put a text of the file into a message unless the caller passes it:
//! the value of an environment variable may be a secret.

use std::ops::RangeInclusive;

use toml::de::{DeArray, DeTable, DeValue};

use super::problems::{At, Problems, meant, quoted};
use super::rules::{Rule, seconds};

pub(super) struct Table<'t> {
    /// How messages name it, such as `client "billing"`.
    pub name: String,
    /// The place of its name, in bytes from the beginning of the file.
    pub at: usize,
    entries: &'t DeTable<'t>,
}

impl<'t> Table<'t> {
    pub(super) fn root(entries: &'t DeTable<'t>) -> Self {
        Self {
            name: "the file".to_owned(),
            at: 0,
            entries,
        }
    }

    /// The names in it, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = At<&'t str>> {
        self.entries.keys().map(|key| At {
            at: key.span().start,
            value: key.get_ref().as_ref(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a problem if there are more than `most` entries; `what` says what they are.
    pub(super) fn at_most(&self, most: usize, what: &str, problems: &mut Problems) {
        let number = self.entries.len();
        if number > most {
            problems.add(
                self.at,
                format!("{}: expected at most {most} {what}, got {number}", self.name),
            );
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Adds a problem for each key that is not in `allowed`.
    pub(super) fn only(&self, allowed: &[&str], problems: &mut Problems) {
        for key in self.names().filter(|key| !allowed.contains(&key.value)) {
            let meant = meant(key.value, allowed.iter().copied());
            problems.add(
                key.at,
                format!(
                    "{}: unknown key {}{meant} (allowed: {})",
                    self.name,
                    quoted(key.value),
                    allowed.join(", ")
                ),
            );
        }
    }

    /// Adds a problem if the key is not there; `needed` says what its value is.
    pub(super) fn require(&self, key: &str, needed: &str, problems: &mut Problems) {
        if !self.has(key) {
            problems.add(self.at, format!("{}: {key} is required: {needed}", self.name));
        }
    }

    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> Option<At<&'t str>> {
        self.value(key, "a string", problems, DeValue::as_str)
    }

    /// The text of this key if it keeps to `rule`.
    pub(super) fn ruled(&self, key: &str, rule: &Rule, problems: &mut Problems) -> Option<At<&'t str>> {
        self.text(key, problems)
            .filter(|found| problems.check(rule, self.key(key), *found))
    }

    pub(super) fn flag(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        self.value(key, "true or false", problems, DeValue::as_bool)
            .map(|found| found.value)
    }

    /// The integer of this key if it is in `allowed`.
    pub(super) fn integer(
        &self,
        key: &str,
        allowed: &RangeInclusive<i32>,
        unit: &str,
        problems: &mut Problems,
    ) -> Option<At<i32>> {
        let found = self.value(key, "an integer", problems, DeValue::as_integer)?;
        let value = i32::from_str_radix(found.value.as_str(), found.value.radix()).ok();
        let value = value.filter(|value| allowed.contains(value));
        if value.is_none() {
            problems.add(
                found.at,
                format!(
                    "{}: expected {} to {}{unit}, got {}",
                    self.key(key),
                    allowed.start(),
                    allowed.end(),
                    found.value
                ),
            );
        }
        value.map(|value| At { at: found.at, value })
    }

    /// The integer of this key if it is one of `allowed`.
    pub(super) fn one_of(
        &self,
        key: &str,
        allowed: &[i32],
        unit: &str,
        problems: &mut Problems,
    ) -> Option<i32> {
        let (first, last) = (*allowed.first()?, *allowed.last()?);
        let found = self.integer(key, &(first..=last), unit, problems)?;
        if allowed.contains(&found.value) {
            return Some(found.value);
        }
        let all: Vec<String> = allowed.iter().map(i32::to_string).collect();
        problems.add(
            found.at,
            format!(
                "{}: expected one of {}, got {}",
                self.key(key),
                all.join(", "),
                found.value
            ),
        );
        None
    }

    /// The number of this key, with or without a fraction.
    pub(super) fn number(&self, key: &str, problems: &mut Problems) -> Option<At<f64>> {
        self.value(key, "a number", problems, |value| match value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .and_then(|number| number.to_string().parse().ok()),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        })
    }

    /// The duration of this key, in seconds, if it is in `allowed`; `words` says the same range as the file does.
    pub(super) fn duration(
        &self,
        key: &str,
        allowed: &RangeInclusive<i32>,
        words: &str,
        problems: &mut Problems,
    ) -> Option<i32> {
        let expected = format!("a duration from {words}, in s, m, h or d");
        let found = self.value(key, &expected, problems, DeValue::as_str)?;
        let value = seconds(found.value).filter(|seconds| allowed.contains(seconds));
        if value.is_none() {
            problems.add(
                found.at,
                format!(
                    "{}: expected {expected}, got {}",
                    self.key(key),
                    quoted(found.value)
                ),
            );
        }
        value
    }

    /// The table of this key; messages call it `name`.
    pub(super) fn table(
        &self,
        key: &str,
        name: impl Into<String>,
        problems: &mut Problems,
    ) -> Option<Table<'t>> {
        let (name, value) = self.entries.get_key_value(key).map(|(at, value)| {
            let name = name.into();
            (
                At {
                    at: at.span().start,
                    value: name,
                },
                value,
            )
        })?;
        as_table(name, value.get_ref(), problems)
    }

    /// Every entry as a table; `name` makes its name for messages from its key.
    pub(super) fn tables(
        &self,
        name: impl Fn(&str) -> String,
        problems: &mut Problems,
    ) -> Vec<(At<&'t str>, Option<Table<'t>>)> {
        self.names()
            .zip(self.entries.values())
            .map(|(key, value)| {
                let at = At {
                    at: key.at,
                    value: name(key.value),
                };
                (key, as_table(at, value.get_ref(), problems))
            })
            .collect()
    }

    pub(super) fn is_table(&self, key: &str) -> bool {
        self.entries
            .get(key)
            .is_some_and(|value| value.get_ref().is_table())
    }

    /// The text of this key, which a message puts in quotes, as it is a name of the user's.
    pub(super) fn quoted_text(&self, key: &str, problems: &mut Problems) -> Option<At<&'t str>> {
        self.named(key, &quoted(key), "a string", problems, DeValue::as_str)
    }

    /// Every entry as a text; `None` for a value that is not a text, which is a problem.
    pub(super) fn texts(&self, problems: &mut Problems) -> Vec<(At<&'t str>, Option<At<&'t str>>)> {
        self.names()
            .map(|key| (key, self.quoted_text(key.value, problems)))
            .collect()
    }

    /// The value of this key, whatever it is.
    pub(super) fn any(&self, key: &str) -> Option<At<&'t DeValue<'t>>> {
        let found = self.entries.get(key)?;
        Some(At {
            at: found.span().start,
            value: found.get_ref(),
        })
    }

    /// The texts in the array of this key.
    pub(super) fn list(
        &self,
        key: &str,
        expected: &str,
        problems: &mut Problems,
    ) -> Option<At<Vec<At<&'t str>>>> {
        let list = self.value(key, expected, problems, DeValue::as_array)?;
        let value = self.items(list.value, key, problems);
        Some(At { at: list.at, value })
    }

    fn items(&self, list: &'t DeArray<'t>, key: &str, problems: &mut Problems) -> Vec<At<&'t str>> {
        let mut texts = Vec::new();
        for item in list {
            let at = item.span().start;
            match item.get_ref().as_str() {
                Some(value) => texts.push(At { at, value }),
                None => problems.add(
                    at,
                    format!(
                        "{}: expected only strings, got {}",
                        self.key(key),
                        kind(item.get_ref())
                    ),
                ),
            }
        }
        texts
    }

    /// How a message names a key of this table.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}: {key}", self.name)
    }

    fn value<T>(
        &self,
        key: &str,
        expected: &str,
        problems: &mut Problems,
        read: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<At<T>> {
        self.named(key, key, expected, problems, read)
    }

    fn named<T>(
        &self,
        key: &str,
        name: &str,
        expected: &str,
        problems: &mut Problems,
        read: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<At<T>> {
        let found = self.entries.get(key)?;
        let at = found.span().start;
        let value = read(found.get_ref());
        if value.is_none() {
            problems.add(
                at,
                format!(
                    "{}: expected {expected}, got {}",
                    self.key(name),
                    kind(found.get_ref())
                ),
            );
        }
        value.map(|value| At { at, value })
    }
}

fn as_table<'t>(name: At<String>, value: &'t DeValue<'t>, problems: &mut Problems) -> Option<Table<'t>> {
    if let Some(entries) = value.as_table() {
        let At { at, value: name } = name;
        return Some(Table { name, at, entries });
    }
    problems.add(
        name.at,
        format!("{}: expected a table, got {}", name.value, kind(value)),
    );
    None
}

/// The type of a value, with its article.
fn kind(value: &DeValue<'_>) -> String {
    let kind = value.type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}
