//! A policy document as a tree in which every part has its place, whether it is JSON or TOML.
//!
//! Must not know what a policy consists of.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use toml::de::DeValue;

use super::super::problems::{At, meant, quoted};

/// No document of IAM is nested as deep.
const DEEPEST: usize = 16;

/// A part of a document and its place, whether it is JSON or TOML.
pub(super) struct Node {
    /// In bytes from the beginning of the file that it is in.
    pub(super) at: usize,
    pub(super) part: Part,
}

pub(super) enum Part {
    Text(String),
    /// A number or a flag, as IAM keeps it.
    Scalar(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// What cannot be in a policy.
    Other(&'static str),
}

/// A JSON text may name characters that do not exist.
const NOT_UNICODE: Part = Part::Other("a text that is not Unicode");

/// What is wrong at a place of the file that the document is in.
pub(super) type Wrong = Vec<At<String>>;

/// The line and the column of this byte, counted from 1.
pub(super) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

pub(super) fn parsed(text: &str, wrong: &mut Wrong) -> Option<Node> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => Some(of_json(text, raw, 0)),
        Err(error) => {
            let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
            let at = lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
            let message = error.to_string();
            // The place is told before it.
            let message = message
                .rsplit_once(" at line ")
                .map_or(&*message, |(message, _)| message);
            wrong.push(At {
                at: at.min(text.len()),
                value: format!("not JSON: {message}"),
            });
            None
        }
    }
}

/// The fields of a JSON object in their order; one that is there twice is kept twice.
struct Fields<'t>(Vec<(String, &'t RawValue)>);

impl<'de> serde::Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// `raw` is a part of `text`, which is valid JSON.
fn of_json(text: &str, raw: &RawValue, depth: usize) -> Node {
    let json = raw.get();
    let part = match json.as_bytes().first() {
        _ if depth > DEEPEST => Part::Other("a value that is nested too deep"),
        Some(b'{') => {
            let fields: Option<Fields<'_>> = serde_json::from_str(json).ok();
            fields.map_or(NOT_UNICODE, |Fields(fields)| {
                let fields = fields.into_iter();
                Part::Table(
                    fields
                        .map(|(key, raw)| (key, of_json(text, raw, depth + 1)))
                        .collect(),
                )
            })
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
            Part::List(
                items
                    .into_iter()
                    .map(|raw| of_json(text, raw, depth + 1))
                    .collect(),
            )
        }
        Some(b'"') => serde_json::from_str(json).map_or(NOT_UNICODE, Part::Text),
        Some(b'n') => Part::Other("null"),
        _ => Part::Scalar(json.to_owned()),
    };
    Node {
        at: json.as_ptr().addr() - text.as_ptr().addr(),
        part,
    }
}

pub(super) fn of_toml(at: usize, value: &DeValue<'_>, depth: usize) -> Node {
    let part = match value {
        _ if depth > DEEPEST => Part::Other("a value that is nested too deep"),
        DeValue::String(text) => Part::Text(text.to_string()),
        DeValue::Integer(number) => Part::Scalar(number.as_str().to_owned()),
        DeValue::Float(number) => Part::Scalar(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Part::Scalar(flag.to_string()),
        DeValue::Datetime(_) => Part::Other("a date, which must be in quotes"),
        DeValue::Array(items) => Part::List(
            (items.iter())
                .map(|item| of_toml(item.span().start, item.get_ref(), depth + 1))
                .collect(),
        ),
        DeValue::Table(fields) => Part::Table(
            (fields.iter())
                .map(|(key, value)| {
                    let node = of_toml(value.span().start, value.get_ref(), depth + 1);
                    (key.get_ref().to_string(), node)
                })
                .collect(),
        ),
    };
    Node { at, part }
}

impl Node {
    pub(super) fn value(&self) -> Value {
        match &self.part {
            Part::Text(text) | Part::Scalar(text) => json!(text),
            Part::List(items) => items.iter().map(Node::value).collect(),
            Part::Table(fields) => {
                let fields = fields.iter().map(|(key, node)| (key.clone(), node.value()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Part::Other(_) => Value::Null,
        }
    }

    /// What it is, for a message.
    fn kind(&self) -> String {
        match &self.part {
            Part::Text(text) => quoted(text),
            Part::Scalar(text) => text.clone(),
            Part::List(items) if items.is_empty() => "an empty list".to_owned(),
            Part::List(_) => "a list".to_owned(),
            Part::Table(_) => "a table".to_owned(),
            Part::Other(what) => (*what).to_owned(),
        }
    }

    pub(super) fn expected(&self, what: &str, wrong: &mut Wrong) {
        wrong.push(At {
            at: self.at,
            value: format!("expected {what}, got {}", self.kind()),
        });
    }

    /// The same of the value of a key.
    pub(super) fn expected_of(&self, key: &str, what: &str, wrong: &mut Wrong) {
        wrong.push(At {
            at: self.at,
            value: format!("{key}: expected {what}, got {}", self.kind()),
        });
    }

    /// The fields of a table, each key once and all of them allowed.
    pub(super) fn fields(
        &self,
        what: &str,
        allowed: &[&str],
        wrong: &mut Wrong,
    ) -> Option<&[(String, Node)]> {
        let Part::Table(fields) = &self.part else {
            self.expected(what, wrong);
            return None;
        };
        let mut seen = BTreeSet::new();
        for (key, node) in fields {
            let problem = if !allowed.contains(&key.as_str()) {
                let meant = meant(key, allowed.iter().copied());
                format!(
                    "unknown key {}{meant} (allowed: {})",
                    quoted(key),
                    allowed.join(", ")
                )
            } else if !seen.insert(key) {
                format!("{key} is there twice")
            } else {
                continue;
            };
            wrong.push(At {
                at: node.at,
                value: problem,
            });
        }
        Some(fields)
    }

    pub(super) fn lacks(&self, what: &str, wrong: &mut Wrong) {
        wrong.push(At {
            at: self.at,
            value: format!("{what} is required"),
        });
    }

    /// One text that `holds`.
    pub(super) fn one(&self, name: &str, expected: &str, holds: fn(&str) -> bool, wrong: &mut Wrong) {
        if !matches!(&self.part, Part::Text(text) if holds(text)) {
            self.expected_of(name, expected, wrong);
        }
    }

    /// One text or a list of texts, each of which `holds`.
    pub(super) fn texts(&self, name: &str, expected: &str, holds: fn(&str) -> bool, wrong: &mut Wrong) {
        let items = match &self.part {
            Part::List(items) if !items.is_empty() => items.as_slice(),
            _ => std::slice::from_ref(self),
        };
        for item in items {
            match &item.part {
                Part::Text(text) if holds(text) => {}
                _ => item.expected_of(name, expected, wrong),
            }
        }
    }
}

pub(super) fn field<'n>(fields: &'n [(String, Node)], key: &str) -> Option<&'n Node> {
    fields.iter().find(|(name, _)| name == key).map(|(_, node)| node)
}
