//! An OpenAPI document as the routes, the scopes and the back end of a new stack.
//!
//! Must not leave anything out silently: what is not carried over is in the notes, a line each. Must not open a route that the
//! document closes: a route without a scope gets one.

mod paths;
mod security;
mod servers;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// How many `$ref` one value may take to resolve.
const MOST_REFS: usize = 16;
/// The most characters of a title and a description that are carried over.
const TITLE: usize = 100;
const DESCRIPTION: usize = 500;

/// What a document says of a stack.
#[derive(Debug)]
pub(crate) struct Imported {
    pub title: Option<String>,
    pub description: Option<String>,
    /// The description of every full scope.
    pub scopes: BTreeMap<String, String>,
    /// The full scopes of every route, such as `GET /orders`; there is at least one route.
    pub routes: BTreeMap<String, BTreeSet<String>>,
    /// Where the API is now, if API Gateway can call it there.
    pub url: Option<String>,
    /// What is not carried over, or not as it is.
    pub notes: Vec<String>,
}

/// The stack `stack` as this document describes it. `wants_url`: whether the routes are answered by the URL of the document, if it
/// has one.
///
/// # Errors
/// It is not an OpenAPI document, or none of its routes can be carried over; the further lines say why.
pub(crate) fn import(text: &str, stack: &str, wants_url: bool) -> Result<Imported, Vec<String>> {
    let document = parse(text).map_err(|problem| vec![problem])?;
    let mut notes = Notes::default();
    let url = servers::url(&document, wants_url, &mut notes);
    let mut security = security::Security::of(&document, stack, &mut notes);
    let routes = paths::routes(&document, &mut security, url.is_some(), &mut notes);
    if document.0.get("webhooks").is_some_and(|hooks| !is_empty(hooks)) {
        notes.add("webhooks: not carried over");
    }
    let schemas = document.0.get("components").and_then(|all| all.get("schemas"));
    if schemas.is_some_and(|schemas| !is_empty(schemas)) {
        notes.add("components.schemas: not carried over; API Gateway does not check requests against them");
    }
    if routes.is_empty() {
        let mut problems = vec!["no operation of it can be carried over".to_owned()];
        problems.extend(notes.0);
        return Err(problems);
    }
    let scopes = security.used(&routes);
    let info = document.0.get("info");
    let about = |key: &str, most: usize| {
        let text = info.and_then(|info| info.get(key)).and_then(Value::as_str)?;
        // A paragraph, on one line.
        let first = text.trim().split("\n\n").next().unwrap_or_default();
        let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(line.chars().take(most).collect::<String>()).filter(|line| !line.is_empty())
    };
    Ok(Imported {
        title: about("title", TITLE),
        description: about("description", DESCRIPTION),
        scopes,
        routes,
        url,
        notes: notes.0,
    })
}

/// A document of a version that is known.
struct Document(Map<String, Value>);

fn parse(text: &str) -> Result<Document, String> {
    let text = text.trim_start_matches('\u{feff}');
    let value: Value = serde_json::from_str(text).map_err(|error| {
        if text.trim_start().starts_with('{') {
            // The message has the place and no part of the text.
            format!("invalid JSON: {error}")
        } else {
            "expected JSON; convert a document in YAML first, such as with `yq -o json`".to_owned()
        }
    })?;
    let Value::Object(document) = value else {
        return Err("expected an OpenAPI document, which is a JSON object".to_owned());
    };
    match document.get("openapi").and_then(Value::as_str) {
        Some(version) if version.starts_with("3.") => Ok(Document(document)),
        Some(version) => Err(format!("expected OpenAPI 3, got version \"{}\"", cut(version))),
        None if document.contains_key("swagger") => {
            Err("expected OpenAPI 3, got Swagger; convert it first".to_owned())
        }
        None => Err("expected OpenAPI 3: the document has no text `openapi`".to_owned()),
    }
}

impl Document {
    /// The object that `value` is, or that its `$ref` leads to.
    ///
    /// # Errors
    /// It is in another document, missing, a circle, or not an object.
    fn resolved<'a>(&'a self, value: &'a Value) -> Result<&'a Map<String, Value>, String> {
        let mut value = value;
        for _ in 0..MOST_REFS {
            let object = value.as_object().ok_or("expected an object")?;
            let Some(reference) = object.get("$ref") else {
                return Ok(object);
            };
            let reference = reference.as_str().unwrap_or_default();
            let pointer = reference
                .strip_prefix("#/")
                .ok_or_else(|| format!("{} is not in this document", shown(reference)))?;
            let mut keys = pointer.split('/').map(|key| {
                let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy();
                key.replace("~1", "/").replace("~0", "~")
            });
            let first = keys.next().unwrap_or_default();
            let found = keys.try_fold(self.0.get(&first), |value, key| {
                value.map(|value: &Value| value.get(&key))
            });
            value = found
                .flatten()
                .ok_or_else(|| format!("{} not found", shown(reference)))?;
        }
        Err("its $ref leads in a circle".to_owned())
    }

    /// The entries of the object that is found under these keys.
    fn entries(&self, keys: &[&str]) -> impl Iterator<Item = (&String, &Value)> {
        let (first, rest) = keys.split_first().expect("there is a key");
        let found = rest
            .iter()
            .try_fold(self.0.get(*first), |value, key| {
                value.map(|value| value.get(*key))
            })
            .flatten();
        found.and_then(Value::as_object).into_iter().flatten()
    }
}

/// What is not carried over, in the order of the document.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn add(&mut self, note: impl Into<String>) {
        self.0.push(note.into());
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.is_empty(),
        Value::Array(array) => array.is_empty(),
        _ => true,
    }
}

/// As much of a text as a line needs.
fn cut(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The same in quotes.
fn shown(text: &str) -> String {
    format!("\"{}\"", cut(text).escape_debug())
}
