//! The URL of the back end, from `servers`.
//!
//! Must not know routes.

use serde_json::{Map, Value};

use super::{Document, Notes};
use crate::config::checked_url;

/// The first server that can be a back end; `None` if there is none, or if it is not wanted.
pub(super) fn url(document: &Document, is_wanted: bool, notes: &mut Notes) -> Option<String> {
    let servers = document.0.get("servers").and_then(Value::as_array);
    let mut found = None;
    for (index, server) in servers.into_iter().flatten().enumerate() {
        let name = format!("servers[{index}]");
        if !is_wanted {
            notes.add(format!("{name}: not carried over; a function answers"));
            continue;
        }
        if found.is_some() {
            notes.add(format!(
                "{name}: not carried over; the back end is a server before it"
            ));
            continue;
        }
        let template = server.get("url").and_then(Value::as_str).unwrap_or_default();
        let filled = filled(template, server.get("variables").and_then(Value::as_object));
        match checked_url(&filled) {
            Ok(url) => {
                if filled != template {
                    notes.add(format!(
                        "{name}: its variables have their defaults in the back end's URL"
                    ));
                }
                found = Some(url);
            }
            // Not repeated: it may have a password.
            Err(problem) => notes.add(format!("{name}: not carried over: {problem}")),
        }
    }
    found
}

/// The URL with the defaults of its variables.
fn filled(template: &str, variables: Option<&Map<String, Value>>) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        let variable = variables.and_then(|variables| variables.get(name));
        let default = variable.and_then(|variable| variable.get("default"));
        let Some(default) = default.and_then(Value::as_str) else {
            break;
        };
        filled.push_str(before);
        filled.push_str(default);
        rest = after;
    }
    filled + rest
}
