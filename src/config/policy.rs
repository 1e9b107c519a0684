//! A function's own rights: an IAM policy document in a file beside this one, or its statements in this file.
//!
//! Must not judge what a policy grants: only whether IAM would take it.

mod node;

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Value, json};
use toml::de::DeValue;

use self::node::{Node, Part, Wrong, field, of_toml, parsed, place};
use super::Sources;
use super::problems::{At, Problems, quoted};
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
