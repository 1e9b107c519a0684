//! The environment of a function: values in the file, and values that are read where the program runs.
//!
//! Must not put a value into a message.

use std::collections::BTreeMap;
use std::ffi::OsString;

use secrecy::{ExposeSecret, SecretString};

use super::keys;
use super::problems::Problems;
use super::rules::{LOCAL_VARIABLE, RESERVED_VARIABLES, VARIABLE};
use super::tree::Table;
use super::{Environment, FromEnv, Problem};

/// Lambda's limit.
const BYTES: usize = 4096;

pub(super) fn environment(table: &Table<'_>, p: &mut Problems) -> Environment {
    let mut environment = Environment::default();
    for name in table.names() {
        if RESERVED_VARIABLES.contains(&name.value) {
            p.add(
                name.at,
                format!(
                    "{}: Lambda sets {} itself; use another name",
                    table.name, name.value
                ),
            );
        } else {
            p.check(&VARIABLE, format!("{}: a name", table.name), name);
        }
        if table.is_table(name.value) {
            environment.from_env.extend(from_env(table, name.value, p));
        } else if let Some(value) = table.quoted_text(name.value, p) {
            let value = SecretString::from(value.value);
            environment.values.insert(name.value.to_owned(), value);
        }
    }
    // Lambda's own error would repeat all names and values.
    let size = size(&environment);
    if size > BYTES {
        p.add(table.at, format!("{}: {}", table.name, too_large(size)));
    }
    environment
}

fn from_env(table: &Table<'_>, variable: &str, p: &mut Problems) -> Option<FromEnv> {
    let from = table.table(variable, table.key(variable), p)?;
    from.only(&keys::FROM_ENV.names(), p);
    from.require("from_env", "the environment variable that has the value", p);
    let name = from.text("from_env", p)?;
    if !(LOCAL_VARIABLE.holds)(name.value) {
        // It may be the value itself.
        p.add(
            name.at,
            format!("{}: expected {}", from.key("from_env"), LOCAL_VARIABLE.allowed),
        );
        return None;
    }
    Some(FromEnv {
        variable: variable.to_owned(),
        name: name.value.to_owned(),
        problem: p.later(name.at, from.key("from_env")),
    })
}

/// Lambda counts the bytes as JSON.
fn size(environment: &Environment) -> usize {
    let values = environment.values.iter();
    let plain: BTreeMap<&str, &str> = values
        .map(|(name, value)| (name.as_str(), value.expose_secret()))
        .collect();
    serde_json::to_string(&plain).map_or(0, |json| json.len())
}

fn too_large(size: usize) -> String {
    format!("expected at most {BYTES} bytes as JSON, got {size}")
}

/// Reads the values that are not in the file.
pub(super) fn fill(
    environment: &mut Environment,
    read: impl Fn(&str) -> Option<OsString>,
    problems: &mut Vec<Problem>,
) {
    let problem = |from: &FromEnv, what: String| Problem {
        message: format!("{}: {what}", from.problem.message),
        ..from.problem.clone()
    };
    for from in &environment.from_env {
        match read(&from.name).map(OsString::into_string) {
            Some(Ok(value)) => {
                environment
                    .values
                    .insert(from.variable.clone(), SecretString::from(value));
            }
            Some(Err(_)) => {
                let what = format!("the value of {} in the environment is not UTF-8", from.name);
                problems.push(problem(from, what));
            }
            None => {
                let what = format!("{} is not set in the environment of this command", from.name);
                problems.push(problem(from, what));
            }
        }
    }
    let size = size(environment);
    if let Some(last) = environment.from_env.last().filter(|_| size > BYTES) {
        problems.push(problem(last, too_large(size)));
    }
}
