//! The scopes of the document's OAuth schemes, and which of them an operation needs.
//!
//! Must not know paths.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Document, Notes, cut, shown};
use crate::config::{IDENTIFIER, SCOPE};

/// Cognito's limits.
const SCOPES_OF_A_SERVER: usize = 100;
const SERVERS: usize = 300;
const FULL_SCOPE: usize = 256;
const SCOPE_DESCRIPTION: usize = 256;

/// What an operation that needs no scope in the document needs here.
const CALL: &str = "call";

pub(super) struct Security {
    stack: String,
    /// The scopes of the schemes of type oauth2, as the document calls them.
    oauth: BTreeMap<String, BTreeSet<String>>,
    /// The names of all other schemes.
    others: BTreeSet<String>,
    /// The full name of a scope of the document; `None` if it cannot be carried over, which is in the notes.
    full: BTreeMap<String, Option<String>>,
    /// The description of every full scope.
    descriptions: BTreeMap<String, String>,
    /// How many scopes each identifier has.
    servers: BTreeMap<String, usize>,
    /// What an operation needs that says nothing.
    default: Option<Value>,
    call: String,
}

impl Security {
    pub(super) fn of(document: &Document, stack: &str, notes: &mut Notes) -> Self {
        let mut security = Self {
            stack: stack.to_owned(),
            oauth: BTreeMap::new(),
            others: BTreeSet::new(),
            full: BTreeMap::new(),
            descriptions: BTreeMap::new(),
            servers: BTreeMap::new(),
            default: document.0.get("security").cloned(),
            call: String::new(),
        };
        for (name, scheme) in document.entries(&["components", "securitySchemes"]) {
            match document.resolved(scheme) {
                Ok(scheme) => security.add_scheme(name, scheme, notes),
                Err(problem) => {
                    notes.add(format!(
                        "security scheme {}: not carried over: {problem}",
                        shown(name)
                    ));
                    security.others.insert(name.clone());
                }
            }
        }
        security.call = format!("{stack}/{CALL}");
        let mut number = 1;
        while security.descriptions.contains_key(&security.call) {
            number += 1;
            security.call = format!("{stack}/{CALL}{number}");
        }
        security
    }

    fn add_scheme(&mut self, name: &str, scheme: &Map<String, Value>, notes: &mut Notes) {
        let kind = scheme.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind != "oauth2" {
            notes.add(format!(
                "security scheme {} ({}): not carried over; a token of the client-credentials grant is needed instead",
                shown(name),
                cut(kind)
            ));
            self.others.insert(name.to_owned());
            return;
        }
        let mut scopes = BTreeSet::new();
        let flows = scheme.get("flows").and_then(Value::as_object);
        for (flow, about) in flows.into_iter().flatten() {
            if flow != "clientCredentials" && !flow.starts_with("x-") {
                notes.add(format!(
                    "security scheme {}: the flow {} is not carried over; its scopes are, for the client-credentials grant",
                    shown(name),
                    cut(flow)
                ));
            }
            let declared = about.get("scopes").and_then(Value::as_object);
            for (scope, description) in declared.into_iter().flatten() {
                self.carry(scope, description.as_str().unwrap_or_default(), notes);
                scopes.insert(scope.clone());
            }
        }
        self.oauth.insert(name.to_owned(), scopes);
    }

    /// The full name of this scope of the document, which is new or known.
    fn carry(&mut self, scope: &str, description: &str, notes: &mut Notes) -> Option<String> {
        if let Some(full) = self.full.get(scope) {
            return full.clone();
        }
        let carried = self.full_name(scope);
        let full = match carried {
            Ok(full) => {
                if full != scope {
                    notes.add(format!(
                        "scope {}: called {} here, because Cognito puts an identifier before it",
                        shown(scope),
                        shown(&full)
                    ));
                }
                let words = description.split_whitespace().collect::<Vec<_>>().join(" ");
                let text = if words.is_empty() { scope } else { &words };
                let text = text.chars().take(SCOPE_DESCRIPTION).collect();
                self.descriptions.insert(full.clone(), text);
                Some(full)
            }
            Err(problem) => {
                notes.add(format!("scope {}: not carried over: {problem}", shown(scope)));
                None
            }
        };
        self.full.insert(scope.to_owned(), full.clone());
        full
    }

    fn full_name(&mut self, scope: &str) -> Result<String, String> {
        let (identifier, name) = scope.rsplit_once('/').unwrap_or((&self.stack, scope));
        if !(IDENTIFIER.holds)(identifier) || !(SCOPE.holds)(name) {
            return Err(format!("Cognito takes {}", SCOPE.allowed));
        }
        let full = format!("{identifier}/{name}");
        if full.chars().count() > FULL_SCOPE {
            return Err(format!("Cognito takes at most {FULL_SCOPE} characters"));
        }
        if self.descriptions.contains_key(&full) {
            return Err(format!("another scope is called {}", shown(&full)));
        }
        if !self.servers.contains_key(identifier) && self.servers.len() == SERVERS - 1 {
            return Err(format!("Cognito takes at most {SERVERS} resource servers"));
        }
        let number = self.servers.entry(identifier.to_owned()).or_default();
        // One is left for the operations that need none.
        if *number == SCOPES_OF_A_SERVER - 1 {
            return Err(format!(
                "a resource server has at most {SCOPES_OF_A_SERVER} scopes"
            ));
        }
        *number += 1;
        Ok(full)
    }

    /// The full scopes any one of which an operation needs; at least one.
    pub(super) fn scopes(
        &mut self,
        route: &str,
        operation: &Map<String, Value>,
        notes: &mut Notes,
    ) -> BTreeSet<String> {
        let security = operation.get("security").or(self.default.as_ref()).cloned();
        let alternatives = security.as_ref().and_then(Value::as_array);
        let mut scopes = BTreeSet::new();
        let mut is_open = alternatives.is_none_or(Vec::is_empty);
        for alternative in alternatives.into_iter().flatten() {
            let schemes = alternative.as_object();
            is_open |= schemes.is_some_and(Map::is_empty);
            scopes.extend(self.alternative(route, schemes, notes));
        }
        if is_open && !scopes.is_empty() {
            notes.add(format!(
                "{route}: also open without a token in the document; not here"
            ));
        }
        if scopes.is_empty() {
            let why = if is_open {
                "open to everyone in the document"
            } else {
                "has no scope that can be carried over"
            };
            notes.add(format!(
                "{route}: {why}; here it needs the scope {}",
                shown(&self.call)
            ));
            scopes.insert(self.call.clone());
        }
        scopes
    }

    /// The scopes of one alternative, all of which the document wants.
    fn alternative(
        &mut self,
        route: &str,
        schemes: Option<&Map<String, Value>>,
        notes: &mut Notes,
    ) -> BTreeSet<String> {
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        let (mut oauth, mut other) = (0, None);
        for (scheme, scopes) in schemes.into_iter().flatten() {
            let Some(declared) = self.oauth.get(scheme) else {
                if !self.others.contains(scheme) {
                    notes.add(format!("{route}: security scheme {} not found", shown(scheme)));
                }
                other = Some(scheme);
                continue;
            };
            oauth += 1;
            let named: Vec<&str> = (scopes.as_array().into_iter().flatten())
                .filter_map(Value::as_str)
                .collect();
            if named.is_empty() {
                // Any token, whatever it may do.
                wanted.extend(declared.iter().cloned());
                continue;
            }
            if named.len() > 1 {
                oauth += 1;
            }
            wanted.extend(named.into_iter().map(str::to_owned));
        }
        if let Some(other) = other.filter(|_| oauth > 0) {
            notes.add(format!("{route}: does not need {} here as well", shown(other)));
        }
        if oauth > 1 {
            notes.add(format!(
                "{route}: needs all of several scopes in the document; API Gateway lets in a token with any one of them: leave \
                 only those in the file that are enough alone"
            ));
        }
        let full = wanted.iter().filter_map(|scope| self.carry(scope, "", notes));
        full.collect()
    }

    /// The description of every scope that is of use.
    pub(super) fn used(mut self, routes: &BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, String> {
        if routes.values().any(|scopes| scopes.contains(&self.call)) {
            self.descriptions
                .insert(self.call, format!("Call {}", self.stack));
        }
        self.descriptions
    }
}
