//! What a route calls: a function of the stack, a function that someone else made, or a URL, and with which request.
//!
//! Must not do I/O or be async: it declares.

use std::collections::BTreeMap;

use crate::aws::Identity;
use crate::config::{Route, UrlBackend, variables};

/// What the back end gets as the header `Authorization` in place of the caller's token. API Gateway passes on a header that
/// is not mapped, and its documents name no mapping that removes one.
const NO_TOKEN: &str = "'none'";

/// The part of a [`crate::resources::Route`] that says what the route calls.
#[derive(Clone)]
pub(super) struct Integration {
    pub kind: &'static str,
    pub uri: String,
    pub verb: String,
    pub request_parameters: BTreeMap<String, bool>,
    pub mappings: BTreeMap<String, String>,
    pub timeout_millis: i32,
    pub vpc_link: String,
    pub target: String,
}

impl Integration {
    /// A function by its ARN, which may have a qualifier.
    pub(super) fn of_function(identity: &Identity, arn: &str) -> Self {
        let Identity {
            partition, region, ..
        } = identity;
        Self {
            kind: "AWS_PROXY",
            uri: format!(
                "arn:{partition}:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations"
            ),
            // API Gateway always calls Lambda with POST.
            verb: "POST".to_owned(),
            request_parameters: BTreeMap::new(),
            mappings: BTreeMap::new(),
            timeout_millis: 29_000,
            vpc_link: String::new(),
            target: String::new(),
        }
    }

    /// A URL with the route's path, whose variables have the values of the request's.
    pub(super) fn of_url(route: &Route, backend: &UrlBackend) -> Self {
        let in_path = |name: &str| format!("method.request.path.{name}");
        let mut mappings: BTreeMap<String, String> = variables(&route.path)
            .map(|name| (format!("integration.request.path.{name}"), in_path(name)))
            .collect();
        let mut map_header = |name: &str, from: &str| {
            mappings.insert(format!("integration.request.header.{name}"), from.to_owned())
        };
        if let Some(header) = &backend.client_id_header {
            // A mapped header replaces the caller's. Every access token has this claim, and a route takes no others.
            map_header(header, "context.authorizer.claims.client_id");
        }
        if !backend.forward_authorization {
            map_header("Authorization", NO_TOKEN);
        }
        // `{rest+}` is the parameter `rest`. The path `/` is that of the URL.
        let path = route.path.replace("+}", "}");
        let link = backend.vpc_link.as_ref();
        Self {
            kind: "HTTP_PROXY",
            uri: format!("{}{}", backend.url, if path == "/" { "" } else { &path }),
            verb: route.verb.clone(),
            request_parameters: variables(&route.path).map(|name| (in_path(name), true)).collect(),
            mappings,
            timeout_millis: backend.timeout_millis,
            vpc_link: link.map(|link| link.id.clone()).unwrap_or_default(),
            target: link.and_then(|link| link.target.clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Answerer;

    fn of_url(verb: &str, path: &str) -> Integration {
        let route = Route {
            verb: verb.to_owned(),
            path: path.to_owned(),
            answerer: Answerer::Backend("shop".to_owned()),
            scopes: ["shop/read".to_owned()].into(),
        };
        let backend = UrlBackend {
            url: "https://shop.example.com/v2".to_owned(),
            timeout_millis: 5_000,
            client_id_header: Some("X-Client-Id".to_owned()),
            forward_authorization: false,
            vpc_link: None,
        };
        Integration::of_url(&route, &backend)
    }

    #[test]
    fn the_path_with_its_variables_is_appended_and_the_verb_is_kept() {
        for (verb, path, uri, names) in [
            ("GET", "/", "https://shop.example.com/v2", &[][..]),
            (
                "GET",
                "/shop/{id}",
                "https://shop.example.com/v2/shop/{id}",
                &["id"],
            ),
            (
                "ANY",
                "/shop/{id}/{rest+}",
                "https://shop.example.com/v2/shop/{id}/{rest}",
                &["id", "rest"],
            ),
        ] {
            let integration = of_url(verb, path);
            assert_eq!((integration.uri.as_str(), integration.verb.as_str()), (uri, verb));
            for name in names {
                let from = &integration.mappings[&format!("integration.request.path.{name}")];
                assert_eq!(*from, format!("method.request.path.{name}"));
                assert!(integration.request_parameters[from]);
            }
            assert_eq!(integration.request_parameters.len(), names.len());
        }
    }

    #[test]
    fn the_client_is_the_authorizers_and_the_token_stays_at_the_gateway() {
        let mappings = of_url("GET", "/").mappings;
        assert_eq!(
            mappings["integration.request.header.X-Client-Id"],
            "context.authorizer.claims.client_id"
        );
        assert_eq!(mappings["integration.request.header.Authorization"], "'none'");
    }
}
