//! The routes: the verb, the parts of a path, and which paths API Gateway allows together.
//!
//! Must not know what functions and scopes are beyond their names.

use std::collections::{BTreeMap, BTreeSet};

use super::keys;
use super::problems::{At, Problems, instead, meant, quoted};
use super::rules::every;
use super::scopes::{SCOPES, Scopes};
use super::tree::Table;
use super::{Answerer, Backend, Function, Route};

const VERBS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "ANY"];

/// The paths that API Gateway answers itself.
const RESERVED: [&str; 2] = ["/ping", "/sping"];

/// The parts of a path: `/a/{b}` has `a` and `{b}`, `/` has none.
pub fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/')
        .filter(|rest| !rest.is_empty())
        .into_iter()
        .flat_map(|rest| rest.split('/'))
}

/// The routes in the file, in the order of their names, so that moving a line of the file changes nothing in AWS.
pub(super) fn routes(
    file: &Table<'_>,
    functions: &BTreeMap<String, Function>,
    backends: &BTreeMap<String, Backend>,
    known: &mut Scopes,
    p: &mut Problems,
) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut good = Vec::new();
    let Some(table) = file.table("routes", "[routes]", p) else {
        return routes;
    };
    if table.is_empty() {
        p.add(
            table.at,
            "[routes]: at least one route is required: API Gateway does not deploy an API without routes",
        );
    }
    for (name, route) in table.tables(|name| format!("route {}", quoted(name)), p) {
        let place = verb_and_path(name, p);
        if place.is_some() {
            good.push(name);
        }
        let Some(route) = route else { continue };
        route.only(&keys::ROUTE.names(), p);
        let answerer = answerer(&route, functions, backends, p);
        if let (Some((_, path)), Some(Answerer::Backend(backend))) = (place, &answerer) {
            check_mapped(name, path, backends.get(backend), p);
        }
        let why = "at least one scope, such as [\"orders/read\"], because without a scope API Gateway accepts only \
                   ID tokens";
        route.require("scopes", why, p);
        let mut scopes = BTreeSet::new();
        if let Some(list) = route.list("scopes", SCOPES, p) {
            if list.value.is_empty() {
                p.add(list.at, format!("{}: expected {why}", route.key("scopes")));
            }
            scopes = known.named(&route, list.value, p);
        }
        if let (Some((verb, path)), Some(answerer)) = (place, answerer) {
            routes.push(Route {
                verb: verb.to_owned(),
                path: path.to_owned(),
                answerer,
                scopes,
            });
        }
    }
    check_variables(good, p);
    routes
}

/// The function or the back end that the route names; `None` unless it names exactly one.
fn answerer(
    route: &Table<'_>,
    functions: &BTreeMap<String, Function>,
    backends: &BTreeMap<String, Backend>,
    p: &mut Problems,
) -> Option<Answerer> {
    let (function, backend) = (route.text("function", p), route.text("backend", p));
    match (route.has("function"), route.has("backend")) {
        (false, false) => {
            route.require(
                "function or backend",
                "the name of the function or of the back end that answers",
                p,
            );
            return None;
        }
        (true, true) => {
            let at = backend.map_or(route.at, |backend| backend.at);
            p.add(
                at,
                format!("{}: expected function or backend, not both", route.name),
            );
            return None;
        }
        (true, false) | (false, true) => {}
    }
    let mut missing = |found: At<&str>, what: &str, instead: &str| {
        let name = quoted(found.value);
        p.add(
            found.at,
            format!("{}: {what} {name} not found{instead}", route.name),
        );
    };
    let is_other = |key: &str, name: &str| format!("; use {key} = {}", quoted(name));
    if let Some(found) = function {
        match (
            functions.contains_key(found.value),
            backends.contains_key(found.value),
        ) {
            (true, _) => {}
            (false, true) => missing(found, "function", &is_other("backend", found.value)),
            (false, false) => missing(found, "function", &instead(found.value, functions.keys())),
        }
        return Some(Answerer::Function(found.value.to_owned()));
    }
    let found = backend?;
    match (
        backends.contains_key(found.value),
        functions.contains_key(found.value),
    ) {
        (true, _) => {}
        (false, true) => missing(found, "back end", &is_other("function", found.value)),
        (false, false) => missing(found, "back end", &instead(found.value, backends.keys())),
    }
    Some(Answerer::Backend(found.value.to_owned()))
}

/// Adds a problem for each variable that cannot be put into the path of a URL: API Gateway allows `:` in its name, but not
/// where the variable is mapped.
fn check_mapped(name: At<&str>, path: &str, backend: Option<&Backend>, p: &mut Problems) {
    let Some(Backend::Url(_)) = backend else { return };
    for variable in variables(path).filter(|variable| !can_be_mapped(variable)) {
        p.add(
            name.at,
            format!("route {}: {}", quoted(name.value), not_mapped(variable)),
        );
    }
}

fn can_be_mapped(variable: &str) -> bool {
    !variable.contains(':')
}

fn not_mapped(variable: &str) -> String {
    format!(
        "API Gateway cannot put the variable {} into a URL; use letters, digits and `_-.`",
        quoted(variable)
    )
}

/// Why no route can have this path, looked at alone; `None` if one can. `calls_url`: whether a URL answers it.
pub(crate) fn route_problem(path: &str, calls_url: bool) -> Option<String> {
    path_problem(path).or_else(|| {
        let mut variables = variables(path).filter(|_| calls_url);
        variables
            .find(|variable| !can_be_mapped(variable))
            .map(not_mapped)
    })
}

/// The names of the variables in a path.
pub fn variables(path: &str) -> impl Iterator<Item = &str> {
    parts(path).filter_map(variable)
}

/// The verb and the path of `"GET /orders"`; `None` if one of them is invalid.
fn verb_and_path<'t>(route: At<&'t str>, problems: &mut Problems) -> Option<(&'t str, &'t str)> {
    let mut wrong =
        |message: String| problems.add(route.at, format!("route {}: {message}", quoted(route.value)));
    let Some((verb, path)) = route.value.split_once(' ') else {
        wrong("expected a verb, one space and a path, such as \"GET /orders\"".to_owned());
        return None;
    };
    let mut good = true;
    if !VERBS.contains(&verb) {
        good = false;
        wrong(format!(
            "unknown verb {}{} (allowed: {})",
            quoted(verb),
            meant(&verb.to_ascii_uppercase(), VERBS),
            VERBS.join(", ")
        ));
    }
    if let Some(message) = path_problem(path) {
        good = false;
        wrong(message);
    }
    good.then_some((verb, path))
}

fn path_problem(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some("a path must begin with one `/`, after one space".to_owned());
    }
    if path.len() > 1 && path.ends_with('/') {
        return Some("a path must not end with `/`".to_owned());
    }
    if RESERVED.contains(&path) {
        return Some(format!("API Gateway reserves {path}; use another path"));
    }
    let mut variables = Vec::new();
    let mut above = parts(path).peekable();
    while let Some(part) = above.next() {
        if part.is_empty() {
            return Some("a path must not have two `/` in a row".to_owned());
        }
        if [".", ".."].contains(&part) {
            return Some(format!(
                "HTTP clients resolve the path part {} before they send a request, so nobody could call this route",
                quoted(part)
            ));
        }
        if !is_part(part) {
            return Some(format!(
                "path part {}: expected letters, digits and `_-.:`, or as a whole {{name}} or {{name+}}",
                quoted(part)
            ));
        }
        if let Some(name) = variable(part) {
            if part.ends_with("+}") && above.peek().is_some() {
                return Some(format!(
                    "{} takes the rest of a path, so it must be the last part",
                    quoted(part)
                ));
            }
            if variables.contains(&name) {
                return Some(format!("duplicate variable {}", quoted(name)));
            }
            variables.push(name);
        }
    }
    None
}

/// Adds a problem for each route that has another variable below a path than a route before it.
fn check_variables(mut routes: Vec<At<&str>>, problems: &mut Problems) {
    routes.sort_by_key(|route| route.at);
    let mut taken: BTreeMap<String, (&str, &str)> = BTreeMap::new();
    for route in routes {
        let Some((_, path)) = route.value.split_once(' ') else {
            continue;
        };
        let mut parent = String::new();
        for part in parts(path) {
            if variable(part).is_some() {
                let (first, of) = *taken.entry(parent.clone()).or_insert((part, route.value));
                if first != part {
                    problems.add(
                        route.at,
                        format!(
                            "route {}: API Gateway allows one variable below {}, and route {} has {first} there; use \
                             the same name, or another path",
                            quoted(route.value),
                            quoted(if parent.is_empty() { "/" } else { &parent }),
                            quoted(of),
                        ),
                    );
                    // The parts below belong to another path.
                    break;
                }
            }
            parent = format!("{parent}/{part}");
        }
    }
}

/// Whether API Gateway allows it as a path part.
fn is_part(part: &str) -> bool {
    every(variable(part).unwrap_or(part), |c| {
        c.is_ascii_alphanumeric() || "_-.:".contains(c)
    })
}

/// The name in `{name}` or `{name+}`.
fn variable(part: &str) -> Option<&str> {
    let name = part.strip_prefix('{')?.strip_suffix('}')?;
    Some(name.strip_suffix('+').unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_parts() {
        assert_eq!(parts("/").count(), 0);
        assert_eq!(parts("/a/{b}").collect::<Vec<_>>(), ["a", "{b}"]);
        assert_eq!(parts("/a//b").collect::<Vec<_>>(), ["a", "", "b"]);
    }
}
