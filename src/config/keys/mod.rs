//! The table of keys: every key of the file with what it means, its default and what it takes. The reader takes the names of
//! keys from here, `schema` makes a JSON Schema of it, and the reference in docs/configuration.md is made of it.
//!
//! Must not read a file.

mod api;
mod backends;
mod clients;
mod functions;
mod routes;
mod stack;

use std::ops::RangeInclusive;

pub(super) use self::api::{ACCESS_LOGS, API, API_DOMAIN, THROTTLE};
pub(super) use self::backends::{BACKEND, OF_A_URL};
pub(super) use self::clients::{CLIENT, RESOURCE_SERVER};
pub(super) use self::functions::{FROM_ENV, FUNCTION, VARIABLE, VPC};
pub(super) use self::routes::{ENVIRONMENT, ROUTE};
pub(super) use self::stack::{POOL_DOMAIN, STACK, USER_POOL};
use super::rules::{self, Rule};

/// A table of the file.
pub(super) struct Section {
    /// How the reference calls it; empty: it is described where its key is.
    pub heading: &'static str,
    /// What it is for, in Markdown.
    pub about: &'static str,
    pub keys: &'static [Key],
    /// Exactly one of these keys is there; empty: there is no such rule.
    pub one_of: &'static [&'static str],
}

/// A key of a table. All texts are Markdown.
pub(super) struct Key {
    pub name: &'static str,
    /// How the reference calls it; empty: by its name.
    pub label: &'static str,
    pub means: &'static str,
    /// The default in backticks, or what is done without the key; [`REQUIRED`] if it must be there.
    pub default: &'static str,
    /// What is allowed, for people.
    pub allowed: &'static str,
    /// What is allowed, for programs.
    pub takes: Takes,
}

/// The default of a key that must be there.
pub(super) const REQUIRED: &str = "required";

/// The texts that a key takes.
pub(super) struct Text {
    /// The reader's rule; `None` if it has no rule of one text alone.
    pub rule: Option<&'static Rule>,
    /// A regular expression that every text of the rule matches, and as few others as possible. In the part of the language
    /// that ECMAScript, Python and Rust share.
    pub pattern: &'static str,
}

/// What a key takes.
pub(super) enum Takes {
    Text(Text),
    /// `true` or `false`.
    Flag,
    /// A whole number, and the range that it is in.
    Integer(i32, i32),
    /// One of these numbers.
    OneOf(&'static [i32]),
    /// A number above 0, with or without a fraction.
    AboveZero,
    /// A list, and how many texts it has.
    Texts(Text, usize, usize),
    /// The same, without a text twice.
    DifferentTexts(Text, usize, usize),
    /// A table of these keys.
    Table(&'static Section),
    /// A table of tables: what their names are, how many there are, and what each has.
    Tables(Text, usize, usize, &'static Section),
    /// A table of texts: what their names are, how many there are, and what each is.
    Map(Text, usize, usize, Text),
    /// The environment of a function.
    Environment,
    /// A policy document: a file, a statement, or a list of statements.
    Policy,
    /// A table of environments: what their names are. Each has what the file has, and the keys of [`ENVIRONMENT`].
    Environments(Text),
}

/// There is no limit.
const ANY: usize = usize::MAX;

/// A text of this rule.
const fn text(rule: &'static Rule, pattern: &'static str) -> Text {
    Text {
        rule: Some(rule),
        pattern,
    }
}

/// A text that the reader judges by more than a rule.
const fn matching(pattern: &'static str) -> Text {
    Text { rule: None, pattern }
}

/// A key with its own name.
const fn key(
    name: &'static str,
    means: &'static str,
    default: &'static str,
    allowed: &'static str,
    takes: Takes,
) -> Key {
    Key {
        name,
        label: "",
        means,
        default,
        allowed,
        takes,
    }
}

/// A table at the top of the file; the section says what it is for.
const fn top(name: &'static str, default: &'static str, takes: Takes) -> Key {
    key(name, "", default, "", takes)
}

/// `29s`, in any unit.
const DURATION: &str = "^[0-9]+[smhd]$";

/// The whole file.
pub(super) static FILE: Section = Section {
    heading: "",
    about: "",
    keys: &[
        top("stack", REQUIRED, Takes::Table(&STACK)),
        top("user_pool", "", Takes::Table(&USER_POOL)),
        top(
            "resource_servers",
            "",
            Takes::Tables(
                text(&rules::IDENTIFIER, r"^[!#-\[\]-~]{1,256}$"),
                0,
                300,
                &RESOURCE_SERVER,
            ),
        ),
        top(
            "clients",
            "",
            Takes::Tables(
                text(
                    &rules::CLIENT,
                    r"^[^\x00-\x08\x0b\x0e-\x1f!-*/:;<>?\[-^`{-\x7f]{1,128}$",
                ),
                0,
                10_000,
                &CLIENT,
            ),
        ),
        top(
            "functions",
            "",
            Takes::Tables(text(&rules::FUNCTION, "^[A-Za-z0-9_-]+$"), 0, ANY, &FUNCTION),
        ),
        top(
            "backends",
            "",
            Takes::Tables(text(&rules::BACKEND, "^[A-Za-z0-9_-]{1,60}$"), 0, ANY, &BACKEND),
        ),
        top("api", "", Takes::Table(&API)),
        top(
            "routes",
            "",
            Takes::Tables(
                matching(
                    r"^(GET|PUT|POST|DELETE|PATCH|OPTIONS|HEAD|ANY) (/|(/([A-Za-z0-9_.:-]+|\{[A-Za-z0-9_.:-]+\+?\}))+)$",
                ),
                1,
                ANY,
                &ROUTE,
            ),
        ),
        top(
            "env",
            "",
            Takes::Environments(text(&rules::ENVIRONMENT_PATTERN, "^[a-z0-9*-]{1,28}$")),
        ),
    ],
    one_of: &[],
};

impl Section {
    /// The names of its keys.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|key| key.name).collect()
    }

    /// The rule of this key, which takes texts.
    pub(super) fn rule(&self, key: &str) -> &'static Rule {
        let rule = match &self.key(key).takes {
            Takes::Text(text) | Takes::Texts(text, ..) | Takes::DifferentTexts(text, ..) => text.rule,
            _ => None,
        };
        rule.expect("the table has a rule for this key")
    }

    /// The range of this key, which takes whole numbers.
    pub(super) fn range(&self, key: &str) -> RangeInclusive<i32> {
        match self.key(key).takes {
            Takes::Integer(least, most) => least..=most,
            _ => unreachable!("the table has a range for this key"),
        }
    }

    fn key(&self, name: &str) -> &Key {
        let key = self.keys.iter().find(|key| key.name == name);
        key.expect("the reader reads what is in the table")
    }

    /// The names of the tables at the top of the file that an environment can change.
    pub(super) fn changeable(&self) -> Vec<&'static str> {
        let is_changeable = |key: &&Key| !matches!(key.takes, Takes::Environments(_));
        self.keys
            .iter()
            .filter(is_changeable)
            .map(|key| key.name)
            .collect()
    }
}

#[cfg(test)]
mod tests;
