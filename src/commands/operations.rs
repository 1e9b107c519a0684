//! What a client may call, and which methods a route answers.
//!
//! Must not ask AWS.

use std::collections::BTreeSet;

use crate::verify::Route;

/// What `ANY` stands for: all methods that API Gateway takes.
pub(super) const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD"];

/// The methods that this one of the routes answers: of `ANY` those that are not another route of the path.
pub(super) fn methods<'a>(route: &'a Route, routes: &[Route]) -> Vec<&'a str> {
    if route.verb != "ANY" {
        return vec![&route.verb];
    }
    let is_own = |verb: &str| {
        routes
            .iter()
            .any(|other| other.path == route.path && other.verb == verb)
    };
    METHODS.into_iter().filter(|verb| !is_own(verb)).collect()
}

/// The routes that accept a token with these scopes: any one of a route's is enough.
pub(super) fn open_to<'a>(routes: &'a [Route], scopes: &BTreeSet<String>) -> Vec<&'a Route> {
    let mut open: Vec<&Route> = (routes.iter())
        .filter(|route| !route.scopes.is_disjoint(scopes))
        .collect();
    open.sort_by(|one, other| (&one.path, &one.verb).cmp(&(&other.path, &other.verb)));
    open
}

/// The variable of a part of a path, and whether it takes all that follows: `{id}`, `{rest+}`.
pub(super) fn variable(part: &str) -> Option<(&str, bool)> {
    let name = part.strip_prefix('{')?.strip_suffix('}')?;
    Some(match name.strip_suffix('+') {
        Some(name) => (name, true),
        None => (name, false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, scope: &str) -> Route {
        let (verb, path) = name.split_once(' ').unwrap();
        Route {
            verb: verb.to_owned(),
            path: path.to_owned(),
            scopes: [scope.to_owned()].into(),
            is_backend: false,
        }
    }

    #[test]
    fn any_leaves_out_what_is_another_route_of_its_path() {
        let routes = [
            route("ANY /a", "x/a"),
            route("GET /a", "x/b"),
            route("PUT /b", "x/a"),
        ];
        assert_eq!(
            methods(&routes[0], &routes),
            ["PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD"]
        );
        assert_eq!(methods(&routes[1], &routes), ["GET"]);
        let names = |scopes: &[&str]| {
            let open = open_to(&routes, &scopes.iter().map(|&scope| scope.to_owned()).collect());
            let names = open.iter().map(|route| format!("{} {}", route.verb, route.path));
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(&["x/a"]), ["ANY /a", "PUT /b"]);
        assert_eq!(names(&["x/b", "x/c"]), ["GET /a"]);
        assert!(names(&[]).is_empty());
    }
}
