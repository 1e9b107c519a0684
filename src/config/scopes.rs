//! The resource servers with their scopes, and the clients that can have these scopes.
//!
//! Must not know functions and routes.

use std::collections::{BTreeMap, BTreeSet};

use super::keys;
use super::problems::{At, Problems, instead, quoted};
use super::rules::{CLIENT, IDENTIFIER, SCOPE, SCOPE_DESCRIPTION};
use super::tree::Table;
use super::{Client, ForeignScope, Problem, ResourceServer};
use crate::mark::mark;

/// The longest name of a client that Cognito takes.
const CLIENT_NAME: usize = 128;
/// The length of a stack's owner.
const OWNER: usize = 8;

/// What the value of `scopes` must be.
pub(super) const SCOPES: &str = "an array of scopes such as [\"orders/read\"]";

/// The resource servers in the file.
pub(super) fn resource_servers(file: &Table<'_>, p: &mut Problems) -> BTreeMap<String, ResourceServer> {
    let mut servers = BTreeMap::new();
    let Some(table) = file.table("resource_servers", "[resource_servers]", p) else {
        return servers;
    };
    table.at_most(300, "resource servers", p);
    for (identifier, server) in table.tables(|name| format!("resource server {}", quoted(name)), p) {
        p.check(&IDENTIFIER, "the identifier of a resource server", identifier);
        let mut scopes = BTreeMap::new();
        if let Some(server) = server {
            server.only(&keys::RESOURCE_SERVER.names(), p);
            let needed = "at least one scope, such as read = \"Read orders\"";
            server.require("scopes", needed, p);
            if let Some(table) = server.table("scopes", format!("scopes of {}", server.name), p) {
                if table.is_empty() {
                    p.add(table.at, format!("{}: expected {needed}", table.name));
                }
                scopes = read_scopes(&table, identifier.value, p);
            }
        }
        servers.insert(identifier.value.to_owned(), ResourceServer { scopes });
    }
    servers
}

fn read_scopes(table: &Table<'_>, identifier: &str, p: &mut Problems) -> BTreeMap<String, String> {
    table.at_most(100, "scopes of one resource server", p);
    let mut scopes = BTreeMap::new();
    for (scope, description) in table.texts(p) {
        p.check(&SCOPE, format!("{}: a scope", table.name), scope);
        let length = identifier.chars().count() + 1 + scope.value.chars().count();
        if length > 256 {
            p.add(
                scope.at,
                format!(
                    "{}: {}: expected a full name <identifier>/<scope> of at most 256 characters, got {length}",
                    table.name,
                    quoted(scope.value)
                ),
            );
        }
        if let Some(description) = description
            && !(SCOPE_DESCRIPTION.holds)(description.value)
        {
            p.add(
                description.at,
                format!(
                    "{}: the description of {}: expected {}",
                    table.name,
                    quoted(scope.value),
                    SCOPE_DESCRIPTION.allowed
                ),
            );
        }
        // Also if it is invalid: a reference to it is not another problem.
        let description = description.map(|found| found.value.to_owned());
        scopes.insert(scope.value.to_owned(), description.unwrap_or_default());
    }
    scopes
}

/// The clients in the file.
pub(super) fn clients(
    file: &Table<'_>,
    stack: &str,
    scopes: &mut Scopes,
    p: &mut Problems,
) -> BTreeMap<String, Client> {
    let mut clients = BTreeMap::new();
    let Some(table) = file.table("clients", "[clients]", p) else {
        return clients;
    };
    table.at_most(10_000, "clients", p);
    for (name, client) in table.tables(|name| format!("client {}", quoted(name)), p) {
        if p.check(&CLIENT, "the name of a client", name) && scopes.shared {
            let most = CLIENT_NAME - mark(stack, "").len() - OWNER;
            let length = name.value.chars().count();
            if length > most {
                p.add(
                    name.at,
                    format!(
                        "the name of a client in a shared pool: expected at most {most} characters, because the stack and \
                         its owner stand behind it, got {length}"
                    ),
                );
            }
        }
        let Some(client) = client else { continue };
        client.only(&keys::CLIENT.names(), p);
        let needed = "at least one scope, such as [\"orders/read\"]";
        client.require("scopes", needed, p);
        let mut named = BTreeSet::new();
        if let Some(list) = client.list("scopes", SCOPES, p) {
            if list.value.is_empty() {
                p.add(list.at, format!("{}: expected {needed}", client.key("scopes")));
            }
            named = scopes.named(&client, list.value, p);
            if named.len() > 50 {
                p.add(
                    list.at,
                    format!(
                        "{}: expected at most 50, got {}",
                        client.key("scopes"),
                        named.len()
                    ),
                );
            }
        }
        let (shortest, longest) = (5 * 60, 24 * 60 * 60);
        let lifetime = client.duration("access_token", &(shortest..=longest), "\"5m\" to \"24h\"", p);
        let secret_from = client.ruled("secret_from", keys::CLIENT.rule("secret_from"), p);
        let client = Client {
            scopes: named,
            access_token_seconds: lifetime.unwrap_or(60 * 60),
            // The grant gives no refresh token, but Cognito requires a lifetime.
            refresh_token_days: 1,
            secret_from: secret_from.and_then(|place| place.value.parse().ok()),
        };
        clients.insert(name.value.to_owned(), client);
    }
    clients
}

/// What a list of scopes can name.
pub(super) struct Scopes {
    /// The full scopes of the file's resource servers.
    known: BTreeSet<String>,
    /// The identifiers of these.
    identifiers: BTreeSet<String>,
    /// Whether the pool may have resource servers of others.
    shared: bool,
    /// Those that were named and are of others.
    pub foreign: Vec<ForeignScope>,
}

impl Scopes {
    pub(super) fn of(servers: &BTreeMap<String, ResourceServer>, shared: bool) -> Self {
        let full = servers.iter().flat_map(|(identifier, server)| {
            let scopes = server.scopes.keys();
            scopes.map(move |scope| format!("{identifier}/{scope}"))
        });
        Self {
            known: full.collect(),
            identifiers: servers.keys().cloned().collect(),
            shared,
            foreign: Vec::new(),
        }
    }

    /// Whether this may be a scope of a resource server of others.
    fn may_be_foreign(&self, scope: &str) -> bool {
        self.shared
            && scope.rsplit_once('/').is_some_and(|(identifier, name)| {
                !self.identifiers.contains(identifier)
                    && (IDENTIFIER.holds)(identifier)
                    && (SCOPE.holds)(name)
            })
    }

    /// The full scopes in a list. Adds a problem for each that no resource server can have.
    pub(super) fn named(
        &mut self,
        table: &Table<'_>,
        list: Vec<At<&str>>,
        p: &mut Problems,
    ) -> BTreeSet<String> {
        for scope in &list {
            if self.known.contains(scope.value) {
                continue;
            }
            if self.may_be_foreign(scope.value) {
                self.foreign.push(ForeignScope {
                    scope: scope.value.to_owned(),
                    problem: p.later(scope.at, table.name.clone()),
                });
                continue;
            }
            let instead = instead(scope.value, self.known.iter());
            p.add(
                scope.at,
                format!(
                    "{}: no resource server has the scope {}{instead}",
                    table.name,
                    quoted(scope.value)
                ),
            );
        }
        list.into_iter().map(|scope| scope.value.to_owned()).collect()
    }
}

/// What is wrong with a scope that no resource server of the pool has; `live` are all scopes of others.
pub(super) fn unknown(named: &ForeignScope, live: &BTreeSet<String>) -> Problem {
    let scope = &named.scope;
    let identifier = scope.rsplit_once('/').map_or("", |(identifier, _)| identifier);
    let of_server: BTreeSet<&String> = (live.iter())
        .filter(|other| other.rsplit_once('/').is_some_and(|(of, _)| of == identifier))
        .collect();
    let why = if of_server.is_empty() {
        format!("the pool has no resource server {} of others", quoted(identifier))
    } else {
        format!(
            "resource server {} has no scope {}",
            quoted(identifier),
            quoted(scope)
        )
    };
    let known: BTreeSet<&String> = if of_server.is_empty() {
        live.iter().collect()
    } else {
        of_server
    };
    let instead = instead(scope, known.iter().copied());
    Problem {
        message: format!("{}: {why}{instead}", named.problem.message),
        ..named.problem.clone()
    }
}
