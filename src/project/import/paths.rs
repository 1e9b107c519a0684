//! The routes, from `paths`.
//!
//! Must not know what scopes mean.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::security::Security;
use super::{Document, Notes, cut, shown};
use crate::config::{parts, route_problem, variables};

/// The methods that API Gateway takes, as documents write them.
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "options", "head"];
/// What else a path has that needs no route.
const ABOUT: [&str; 4] = ["summary", "description", "parameters", "$ref"];

/// The full scopes of every route. `calls_url`: whether a URL answers.
pub(super) fn routes(
    document: &Document,
    security: &mut Security,
    calls_url: bool,
    notes: &mut Notes,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut variables = Variables::default();
    let mut routes = BTreeMap::new();
    for (template, item) in document.entries(&["paths"]) {
        if template.starts_with("x-") {
            continue;
        }
        let name = cut(&template.escape_debug().to_string());
        let item = match document.resolved(item) {
            Ok(item) => item,
            Err(problem) => {
                notes.add(format!("{name}: not carried over: {problem}"));
                continue;
            }
        };
        let path = greedy(document, template, item);
        let path = match route_problem(&path, calls_url).map_or_else(|| variables.placed(&path), Err) {
            Ok(path) => path,
            Err(problem) => {
                notes.add(format!("{name}: not carried over: {problem}"));
                continue;
            }
        };
        // For a back end whose path has other variables it is another path.
        if path.replace("+}", "}") != *template {
            notes.add(format!(
                "{name}: called {path} here, because API Gateway allows one variable below a path"
            ));
        }
        for (verb, scopes) in of_item(&name, &path, item, security, notes) {
            if routes.insert(format!("{verb} {path}"), scopes).is_some() {
                notes.add(format!(
                    "{verb} {name}: another path of the document is {path} here as well"
                ));
            }
        }
    }
    routes
}

/// The scopes of every verb of a path; all seven verbs with the same scopes are one, `ANY`.
fn of_item(
    name: &str,
    path: &str,
    item: &Map<String, Value>,
    security: &mut Security,
    notes: &mut Notes,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut verbs = BTreeMap::new();
    for (key, value) in item {
        let verb = key.to_ascii_uppercase();
        if ABOUT.contains(&key.as_str()) || key.starts_with("x-") {
            continue;
        }
        let operation = value.as_object().filter(|_| METHODS.contains(&key.as_str()));
        let Some(operation) = operation else {
            let what = if key == "servers" { key } else { &verb };
            notes.add(format!("{} {name}: not carried over", cut(what)));
            continue;
        };
        for key in ["servers", "callbacks"] {
            if operation.contains_key(key) {
                notes.add(format!("{verb} {name}: its {key} are not carried over"));
            }
        }
        let scopes = security.scopes(&format!("{verb} {path}"), operation, notes);
        verbs.insert(verb, scopes);
    }
    let mut all = verbs.values();
    let first = all.next().cloned();
    match first {
        Some(scopes) if verbs.len() == METHODS.len() && all.all(|other| *other == scopes) => {
            [("ANY".to_owned(), scopes)].into()
        }
        _ => verbs,
    }
}

/// The path, in which the last variable takes the rest if the document says so as `provision openapi` does: OpenAPI itself has no
/// such variable.
fn greedy(document: &Document, template: &str, item: &Map<String, Value>) -> String {
    let Some(start) = template.strip_suffix('}') else {
        return template.to_owned();
    };
    let name = start.rsplit_once('{').map_or("", |(_, name)| name);
    let parameters = item.get("parameters").and_then(Value::as_array);
    let takes_rest = parameters.into_iter().flatten().any(|parameter| {
        let Ok(parameter) = document.resolved(parameter) else {
            return false;
        };
        let text = |key: &str| parameter.get(key).and_then(Value::as_str).unwrap_or_default();
        text("in") == "path"
            && text("name") == name
            && text("description").contains(&format!("{{{name}+}} of API Gateway"))
    });
    if takes_rest {
        format!("{start}+}}")
    } else {
        template.to_owned()
    }
}

/// The one variable that API Gateway allows below a path.
#[derive(Default)]
struct Variables(BTreeMap<String, String>);

impl Variables {
    /// The path with the variables of the paths before it.
    fn placed(&mut self, path: &str) -> Result<String, String> {
        let mut placed = String::new();
        let mut new = Vec::new();
        for part in parts(path) {
            let mut part = part.to_owned();
            if part.starts_with('{') {
                match self.0.get(&placed) {
                    Some(first) if first.ends_with("+}") != part.ends_with("+}") => {
                        return Err(format!(
                            "API Gateway allows one variable below {}, and another path has {first} there",
                            shown(if placed.is_empty() { "/" } else { &placed })
                        ));
                    }
                    Some(first) => part.clone_from(first),
                    None => new.push((placed.clone(), part.clone())),
                }
            }
            placed = format!("{placed}/{part}");
        }
        if placed.is_empty() {
            "/".clone_into(&mut placed);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = variables(&placed).find(|name| !names.insert(name.to_owned())) {
            return Err(format!(
                "as API Gateway allows one variable below a path, two of it would be called {}",
                shown(twice)
            ));
        }
        self.0.extend(new);
        Ok(placed)
    }
}
