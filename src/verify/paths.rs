//! Which paths are requested: one that a route answers, and one that no route answers.
//!
//! Must not send anything.

use super::Route;

/// The value of every path variable. It means nothing to the function, which should not get the request anyway.
const PLACEHOLDER: &str = "provision-verify";

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

fn is_variable(part: &str) -> bool {
    part.starts_with('{')
}

fn is_greedy(part: &str) -> bool {
    part.ends_with("+}")
}

/// The verbs that `ANY` is requested with, in this order: first the ones that change nothing. HEAD is last, because its answer
/// has no body.
const ANY: [&str; 7] = ["GET", "OPTIONS", "POST", "PATCH", "PUT", "DELETE", "HEAD"];

/// The verb that a route is requested with. For `ANY`, one that no other route of its path has; `None` if they have all.
pub(super) fn verb<'a>(route: &'a Route, routes: &[Route]) -> Option<&'a str> {
    if route.verb != "ANY" {
        return Some(&route.verb);
    }
    let taken = |verb: &str| {
        routes
            .iter()
            .any(|other| other.path == route.path && other.verb == verb)
    };
    ANY.into_iter().find(|verb| !taken(verb))
}

pub(super) fn filled(path: &str) -> String {
    let parts = parts(path).map(|part| if is_variable(part) { PLACEHOLDER } else { part });
    format!("/{}", parts.collect::<Vec<_>>().join("/"))
}

/// A verb and a path that no route answers; `None` if there is none, such as for `ANY /` and `ANY /{rest+}`.
pub(super) fn nowhere(routes: &[Route]) -> Option<(&'static str, String)> {
    let deepest = routes.iter().map(|route| parts(&route.path).count()).max()?;
    // Only routes that consist of variables answer a path of placeholders.
    let answers = |route: &Route, verb: &str, depth: usize| {
        let length = parts(&route.path).count();
        let fits = length == depth || (length < depth && parts(&route.path).any(is_greedy));
        fits && parts(&route.path).all(is_variable) && ["ANY", verb].contains(&route.verb.as_str())
    };
    for verb in ["GET", "DELETE", "PATCH", "POST", "PUT", "OPTIONS"] {
        for depth in (1..=deepest + 1).chain([0]) {
            if !routes.iter().any(|route| answers(route, verb, depth)) {
                return Some((verb, format!("/{}", vec![PLACEHOLDER; depth].join("/"))));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(names: &[&str]) -> Vec<Route> {
        (names.iter())
            .map(|name| {
                let (verb, path) = name.split_once(' ').unwrap();
                Route {
                    verb: verb.to_owned(),
                    path: path.to_owned(),
                    scopes: ["a/b".to_owned()].into(),
                    is_backend: false,
                }
            })
            .collect()
    }

    #[test]
    fn variables_are_filled_in() {
        assert_eq!(filled("/"), "/");
        assert_eq!(filled("/orders"), "/orders");
        assert_eq!(filled("/orders/{id}/items"), "/orders/provision-verify/items");
        assert_eq!(filled("/files/{rest+}"), "/files/provision-verify");
    }

    #[test]
    fn any_is_probed_as_what_no_other_route_of_its_path_takes() {
        let one = |names: &[&str]| {
            let routes = routes(names);
            verb(&routes[0], &routes).map(str::to_owned)
        };
        assert_eq!(one(&["PUT /a", "ANY /a"]).as_deref(), Some("PUT"));
        assert_eq!(one(&["ANY /a", "GET /b"]).as_deref(), Some("GET"));
        assert_eq!(one(&["ANY /a", "GET /a", "POST /a"]).as_deref(), Some("OPTIONS"));
        let all = ANY.map(|verb| format!("{verb} /a"));
        let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
        all.insert(0, "ANY /a");
        assert_eq!(one(&all), None);
    }

    #[test]
    fn a_path_that_no_route_answers_is_found_where_there_is_one() {
        for (names, expected) in [
            (&["GET /user"][..], Some(("GET", "/provision-verify"))),
            (
                &["GET /{id}"],
                Some(("GET", "/provision-verify/provision-verify")),
            ),
            (&["POST /{id}"], Some(("GET", "/provision-verify"))),
            (&["GET /{rest+}"], Some(("GET", "/"))),
            (&["ANY /{a}/{rest+}"], Some(("GET", "/provision-verify"))),
            (&["GET /", "GET /{rest+}"], Some(("DELETE", "/provision-verify"))),
            (&["ANY /", "ANY /{rest+}"], None),
            (&["ANY /files/{rest+}"], Some(("GET", "/provision-verify"))),
        ] {
            let expected = expected.map(|(verb, path)| (verb, path.to_owned()));
            assert_eq!(nowhere(&routes(names)), expected, "{names:?}");
        }
    }
}
