//! The call that `up` suggests at its end: one that works as printed.
//!
//! Must not call anything.

use super::follow_up::quoted;
use super::invocation::Invocation;
use crate::config::{Client, Config, Route, parts};
use crate::secret_place::SecretPlace;

/// A call of a route that GET reaches, by a client that it lets in; `None` if there is none. Other methods may change
/// something, and mostly need a body.
pub(super) fn suggestion(config: &Config, invocation: &Invocation) -> Option<String> {
    let mut routes: Vec<&Route> = (config.routes.iter())
        .filter(|route| takes_get(route, &config.routes))
        .collect();
    // What stands for a variable is made up.
    routes.sort_by_key(|route| route.path.contains('{'));
    let (route, name, client) = routes.into_iter().find_map(|route| {
        let mut clients = config.clients.iter();
        let (name, client) = clients.find(|(_, client)| !client.scopes.is_disjoint(&route.scopes))?;
        Some((route, name, client))
    })?;
    let mut call = format!("provision call GET {}", quoted(filled(&route.path).as_ref()));
    if config.clients.len() > 1 {
        call = format!("{call} --client {}", quoted(name.as_ref()));
    }
    if let Some(place) = place_to_name(client, invocation) {
        call = format!("{call} --secret-from {}", quoted(place.to_string().as_ref()));
    }
    Some(call)
}

/// Where the client's secret is, if `call` would not know: with `--stack` and no `--config` it reads no configuration.
fn place_to_name<'a>(client: &'a Client, invocation: &Invocation) -> Option<&'a SecretPlace> {
    let reads_none = invocation.stack.is_some() && !invocation.names_config();
    client.secret_from.as_ref().filter(|_| reads_none)
}

/// Whether GET on the route's path is answered by this route.
fn takes_get(route: &Route, routes: &[Route]) -> bool {
    let has_own = |other: &Route| other.verb == "GET" && other.path == route.path;
    route.verb == "GET" || (route.verb == "ANY" && !routes.iter().any(has_own))
}

/// The path with something in place of every variable.
fn filled(path: &str) -> String {
    let parts = parts(path).map(|part| if part.starts_with('{') { "1" } else { part });
    format!("/{}", parts.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    /// What is suggested for these routes, each with the scope that lets it in.
    fn suggested(routes: &[(&str, &str)], options: &[&str]) -> Option<String> {
        let mut lines = vec![
            "[stack]\nname = \"a-stack\"".to_owned(),
            "[resource_servers.o.scopes]\nread = \"r\"\nwrite = \"w\"\nnone = \"n\"".to_owned(),
            "[clients.\"the app\"]\nscopes = [\"o/read\"]".to_owned(),
            "[clients.batch]\nscopes = [\"o/write\"]\nsecret_from = \"secretsmanager:orders/batch\""
                .to_owned(),
            "[functions.f]\nsource = \".\"\nruntime = \"nodejs22.x\"\nhandler = \"index.handler\"\n[routes]"
                .to_owned(),
        ];
        let routes = routes.iter();
        lines.extend(
            routes.map(|(route, scope)| {
                format!("\"{route}\" = {{ function = \"f\", scopes = [\"o/{scope}\"] }}")
            }),
        );
        let text = lines.join("\n");
        let config = Config::read(&text, Path::new("lambda")).unwrap();
        let words = [&["provision", "up"], options].concat();
        let typed = Cli::try_parse_from(words).unwrap().global;
        suggestion(&config, &Invocation::resolve(&typed).unwrap())
    }

    #[test]
    fn a_call_is_suggested_that_works_or_none() {
        let app = |path: &str| Some(format!("provision call GET {path} --client 'the app'"));
        for (routes, expected) in [
            (&[("POST /a", "read"), ("GET /b", "read")][..], app("/b")),
            (&[("GET /a/{id}/c", "read"), ("GET /b", "read")], app("/b")),
            (&[("ANY /billing/{proxy+}", "read")], app("/billing/1")),
            (&[("GET /", "read")], app("/")),
            // GET on this path is for another client than ANY.
            (&[("ANY /a", "read"), ("GET /a", "none")], None),
            (&[("GET /a", "none"), ("ANY /b", "read")], app("/b")),
            (&[("POST /a", "read"), ("DELETE /b/{id}", "read")], None),
        ] {
            assert_eq!(suggested(routes, &[]), expected, "{routes:?}");
        }
    }

    #[test]
    fn where_no_configuration_is_read_the_place_of_the_secret_is_named() {
        let routes = [("GET /a", "write")];
        let call = "provision call GET /a --client batch";
        assert_eq!(suggested(&routes, &[]).unwrap(), call);
        assert_eq!(
            suggested(&routes, &["--stack", "bb", "--config", "c"]).unwrap(),
            call
        );
        assert_eq!(
            suggested(&routes, &["--stack", "bb"]).unwrap(),
            format!("{call} --secret-from secretsmanager:orders/batch")
        );
    }
}
