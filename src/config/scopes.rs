//! The resource servers with their scopes, and the clients that can have these scopes.
//!
//! Must not know functions and routes.

use std::collections::{BTreeMap, BTreeSet};

use super::problems::{At, Problems, instead, quoted};
use super::rules::{CLIENT, IDENTIFIER, SCOPE, SCOPE_DESCRIPTION, SECRET_FROM, SECRETS_MANAGER};
use super::tree::Table;
use super::{Client, ResourceServer};

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
            server.only(&["scopes"], p);
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
    known: &BTreeSet<String>,
    p: &mut Problems,
) -> BTreeMap<String, Client> {
    let mut clients = BTreeMap::new();
    let Some(table) = file.table("clients", "[clients]", p) else {
        return clients;
    };
    table.at_most(10_000, "clients", p);
    for (name, client) in table.tables(|name| format!("client {}", quoted(name)), p) {
        p.check(&CLIENT, "the name of a client", name);
        let Some(client) = client else { continue };
        client.only(&["scopes", "access_token", "secret_from"], p);
        let needed = "at least one scope, such as [\"orders/read\"]";
        client.require("scopes", needed, p);
        let mut scopes = BTreeSet::new();
        if let Some(list) = client.list("scopes", SCOPES, p) {
            if list.value.is_empty() {
                p.add(list.at, format!("{}: expected {needed}", client.key("scopes")));
            }
            scopes = known_scopes(&client, list.value, known, p);
            if scopes.len() > 50 {
                p.add(
                    list.at,
                    format!(
                        "{}: expected at most 50, got {}",
                        client.key("scopes"),
                        scopes.len()
                    ),
                );
            }
        }
        let (shortest, longest) = (5 * 60, 24 * 60 * 60);
        let lifetime = client.duration("access_token", &(shortest..=longest), "\"5m\" to \"24h\"", p);
        let secret_from = client.ruled("secret_from", &SECRET_FROM, p);
        let secret_from = secret_from.and_then(|found| found.value.strip_prefix(SECRETS_MANAGER));
        let client = Client {
            scopes,
            access_token_seconds: lifetime.unwrap_or(60 * 60),
            // The grant gives no refresh token, but Cognito requires a lifetime.
            refresh_token_days: 1,
            secret_from: secret_from.map(str::to_owned),
        };
        clients.insert(name.value.to_owned(), client);
    }
    clients
}

/// The full scopes in a list; adds a problem for each scope that no resource server has.
pub(super) fn known_scopes(
    table: &Table<'_>,
    list: Vec<At<&str>>,
    known: &BTreeSet<String>,
    p: &mut Problems,
) -> BTreeSet<String> {
    for scope in &list {
        if !known.contains(scope.value) {
            let instead = instead(scope.value, known.iter());
            p.add(
                scope.at,
                format!(
                    "{}: no resource server has the scope {}{instead}",
                    table.name,
                    quoted(scope.value)
                ),
            );
        }
    }
    list.into_iter().map(|scope| scope.value.to_owned()).collect()
}
