//! A function's own rights: an IAM policy document in a file beside this one, or its statements in this file.
//!
//! Must not judge what a policy grants: only whether IAM would take it.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use toml::de::DeValue;

use super::Sources;
use super::problems::{At, Problems, meant, quoted};
use super::rules::every;
use super::tree::Table;
use crate::files::{self, Links};

/// The only version of IAM's language that knows policy variables.
const VERSION: &str = "2012-10-17";
/// The longest document, in characters that are not white space. IAM allows 10,240 for all inline policies of a role, and the
/// rest has room for those that are ours.
const MOST: usize = 9500;
/// The longest file, in bytes: a document of [`MOST`] characters, however it is laid out.
const LONGEST_FILE: usize = 100_000;
/// No document of IAM is nested as deep.
const DEEPEST: usize = 16;

/// A part of a document and its place, whether it is JSON or TOML.
struct Node {
    /// In bytes from the beginning of the file that it is in.
    at: usize,
    part: Part,
}

enum Part {
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
type Wrong = Vec<At<String>>;

/// The document of this key, as it was written; `None` if there is none, or it has a problem.
pub(super) fn policy(table: &Table<'_>, key: &str, sources: &Sources<'_>, p: &mut Problems) -> Option<Value> {
    let found = table.any(key)?;
    let name = table.key(key);
    let mut wrong = Wrong::new();
    let document = match found.value {
        DeValue::String(file) => {
            let text = match read(file, sources) {
                Ok(text) => text,
                Err(problem) => {
                    p.add(found.at, format!("{name}: {problem}"));
                    return None;
                }
            };
            let document = parsed(&text, &mut wrong).and_then(|node| document(&node, true, &mut wrong));
            for problem in wrong {
                let (line, column) = place(&text, problem.at);
                let file = file.escape_debug();
                p.add(
                    found.at,
                    format!("{name}: {file}:{line}:{column}: {}", problem.value),
                );
            }
            document?
        }
        value => {
            let node = of_toml(found.at, value, 0);
            let is_document =
                matches!(&node.part, Part::Table(fields) if fields.iter().any(|(key, _)| key == "Statement"));
            let document = if is_document {
                document(&node, false, &mut wrong)
            } else {
                statements(&node, &mut wrong)
                    .map(|statements| json!({"Version": VERSION, "Statement": statements}))
            };
            for problem in wrong {
                p.add(problem.at, format!("{name}: {}", problem.value));
            }
            document?
        }
    };
    let size = document
        .to_string()
        .chars()
        .filter(|c| !c.is_whitespace())
        .count();
    if size > MOST {
        p.add(
            found.at,
            format!("{name}: expected at most {MOST} characters without white space, got {size}: IAM allows 10240 for all inline policies of a role together"),
        );
    }
    Some(document)
}

fn read(file: &str, sources: &Sources<'_>) -> Result<String, String> {
    let folder = match sources {
        Sources::From(folder) => folder,
        Sources::Sample => Path::new(""),
    };
    let opened = files::open(&folder.join(file), Links::Followed);
    let mut text = String::new();
    match opened.and_then(|opened| opened.take(LONGEST_FILE as u64 + 1).read_to_string(&mut text)) {
        Ok(length) if length > LONGEST_FILE => {
            Err(format!("{} has more than {LONGEST_FILE} bytes", quoted(file)))
        }
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
            "{} not found; a relative path starts at the folder of this file",
            quoted(file)
        )),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(format!("{} is not UTF-8", quoted(file)))
        }
        Err(error) => Err(format!("cannot read {}: {}", quoted(file), error.kind())),
    }
}

/// The line and the column of this byte, counted from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

fn parsed(text: &str, wrong: &mut Wrong) -> Option<Node> {
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

fn of_toml(at: usize, value: &DeValue<'_>, depth: usize) -> Node {
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
    fn value(&self) -> Value {
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

    fn expected(&self, what: &str, wrong: &mut Wrong) {
        wrong.push(At {
            at: self.at,
            value: format!("expected {what}, got {}", self.kind()),
        });
    }

    /// The same of the value of a key.
    fn expected_of(&self, key: &str, what: &str, wrong: &mut Wrong) {
        wrong.push(At {
            at: self.at,
            value: format!("{key}: expected {what}, got {}", self.kind()),
        });
    }

    /// The fields of a table, each key once and all of them allowed.
    fn fields(&self, what: &str, allowed: &[&str], wrong: &mut Wrong) -> Option<&[(String, Node)]> {
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

    fn lacks(&self, what: &str, wrong: &mut Wrong) {
        wrong.push(At {
            at: self.at,
            value: format!("{what} is required"),
        });
    }

    /// One text that `holds`.
    fn one(&self, name: &str, expected: &str, holds: fn(&str) -> bool, wrong: &mut Wrong) {
        if !matches!(&self.part, Part::Text(text) if holds(text)) {
            self.expected_of(name, expected, wrong);
        }
    }

    /// One text or a list of texts, each of which `holds`.
    fn texts(&self, name: &str, expected: &str, holds: fn(&str) -> bool, wrong: &mut Wrong) {
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

fn field<'n>(fields: &'n [(String, Node)], key: &str) -> Option<&'n Node> {
    fields.iter().find(|(name, _)| name == key).map(|(_, node)| node)
}

/// A whole document; in JSON it says its version.
fn document(node: &Node, needs_version: bool, wrong: &mut Wrong) -> Option<Value> {
    let before = wrong.len();
    let what = "a policy document, which is an object with Version and Statement";
    let fields = node.fields(what, &["Version", "Id", "Statement"], wrong)?;
    match field(fields, "Version") {
        Some(version) => version.one(
            "Version",
            &format!("\"{VERSION}\""),
            |text| text == VERSION,
            wrong,
        ),
        None if needs_version => node.lacks(&format!("\"Version\": \"{VERSION}\""), wrong),
        None => {}
    }
    match field(fields, "Statement") {
        Some(all) => drop(statements(all, wrong)),
        None => node.lacks("Statement", wrong),
    }
    let mut document = node.value();
    document["Version"] = json!(VERSION);
    (wrong.len() == before).then_some(document)
}

/// One statement or a list of them.
fn statements(node: &Node, wrong: &mut Wrong) -> Option<Value> {
    let before = wrong.len();
    let items = match &node.part {
        Part::List(items) if !items.is_empty() => items.as_slice(),
        Part::Table(_) => std::slice::from_ref(node),
        _ => {
            node.expected("a statement or a list of statements", wrong);
            return None;
        }
    };
    let mut sids = BTreeSet::new();
    for item in items {
        statement(item, wrong);
        if let Part::Table(fields) = &item.part
            && let Some(sid) = field(fields, "Sid")
            && let Part::Text(text) = &sid.part
            && !sids.insert(text)
        {
            wrong.push(At {
                at: sid.at,
                value: format!("two statements have the Sid {}", quoted(text)),
            });
        }
    }
    (wrong.len() == before).then(|| node.value())
}

const KEYS: [&str; 7] = [
    "Sid",
    "Effect",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
];

fn statement(node: &Node, wrong: &mut Wrong) {
    if let Part::Table(fields) = &node.part
        && let Some((key, principal)) =
            (fields.iter()).find(|(key, _)| ["Principal", "NotPrincipal"].contains(&&**key))
    {
        wrong.push(At {
            at: principal.at,
            value: format!("{key} cannot be in the policy of a role: whoever has the role is meant"),
        });
        return;
    }
    let Some(fields) = node.fields(
        "a statement, which is an object with Effect, Action and Resource",
        &KEYS,
        wrong,
    ) else {
        return;
    };
    match field(fields, "Effect") {
        Some(effect) => effect.one(
            "Effect",
            "\"Allow\" or \"Deny\"",
            |text| ["Allow", "Deny"].contains(&text),
            wrong,
        ),
        None => node.lacks("Effect (\"Allow\" or \"Deny\")", wrong),
    }
    if let Some(sid) = field(fields, "Sid") {
        sid.one(
            "Sid",
            "letters and digits",
            |text| every(text, |c| c.is_ascii_alphanumeric()),
            wrong,
        );
    }
    for (name, other, expected, holds) in [
        (
            "Action",
            "NotAction",
            "an action such as \"dynamodb:GetItem\", or \"*\"",
            is_action as fn(&str) -> bool,
        ),
        ("Resource", "NotResource", "an ARN, or \"*\"", is_resource),
    ] {
        match (field(fields, name), field(fields, other)) {
            (Some(one), None) => one.texts(name, expected, holds, wrong),
            (None, Some(one)) => one.texts(other, expected, holds, wrong),
            (Some(_), Some(one)) => wrong.push(At {
                at: one.at,
                value: format!("{name} and {other} exclude each other"),
            }),
            (None, None) => node.lacks(name, wrong),
        }
    }
    if let Some(condition) = field(fields, "Condition") {
        conditions(condition, wrong);
    }
}

/// `{ operator: { key: value or values } }`; which operators and keys there are, IAM knows.
fn conditions(node: &Node, wrong: &mut Wrong) {
    const WHAT: &str =
        "a table of operators, such as { StringEquals = { \"aws:RequestedRegion\" = \"eu-west-1\" } }";
    let Part::Table(operators) = &node.part else {
        node.expected_of("Condition", WHAT, wrong);
        return;
    };
    for (operator, keys) in operators {
        let Part::Table(keys) = &keys.part else {
            keys.expected_of("Condition", WHAT, wrong);
            continue;
        };
        for (key, values) in keys {
            let values = match &values.part {
                Part::List(items) => items.as_slice(),
                _ => std::slice::from_ref(values),
            };
            for value in values {
                if !matches!(value.part, Part::Text(_) | Part::Scalar(_)) {
                    value.expected_of(&format!("{operator}: {}", quoted(key)), "texts", wrong);
                }
            }
        }
    }
}

fn is_action(text: &str) -> bool {
    let word = |text: &str, more: &str| every(text, |c| c.is_ascii_alphanumeric() || more.contains(c));
    text == "*"
        || text
            .split_once(':')
            .is_some_and(|(service, action)| word(service, "-*") && word(action, "-_*?"))
}

fn is_resource(text: &str) -> bool {
    text == "*" || text.starts_with("arn:") && every(text, |c| !c.is_control())
}
