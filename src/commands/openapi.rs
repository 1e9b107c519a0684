//! `openapi`: the API as an OpenAPI document, from what is on record.
//!
//! Must not ask AWS.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::configuration;
use super::invocation::Invocation;
use super::open::Loaded;
use super::operations::{methods, variable};
use super::outputs::for_others;
use super::recorded::ByKind;
use super::token::choose;
use super::ui::Ui;
use super::verify::routes;
use crate::cli;
use crate::config::parts;
use crate::error::Failure;
use crate::resources::{Client, ResourceServer, RestApi, Stage};
use crate::state::State;
use crate::verify::Route;

/// Runs it.
pub(super) async fn run(invocation: &Invocation, args: &cli::Openapi, ui: &Ui) -> Result<(), Failure> {
    let stack = configuration::stack_name(invocation)?;
    let Loaded { state, .. } = Loaded::load(invocation, &stack, ui).await?;
    let outputs = for_others(&state, ui)?;
    let client = match &args.client {
        Some(name) => Some(choose(&outputs, Some(name))?),
        None => None,
    };
    let api = Api::recorded(
        &state,
        outputs.api(&stack)?,
        &outputs.token_url,
        client.as_deref(),
    )?;
    ui.json_data(&serde_json::to_string_pretty(&api.document())?);
    Ok(())
}

/// What the document tells.
struct Api {
    title: String,
    description: String,
    /// Changes with every deployment, and only then.
    version: String,
    url: String,
    token_url: String,
    /// The description of every scope that is shown.
    scopes: BTreeMap<String, String>,
    routes: Vec<Route>,
}

/// In the order in which people read it.
#[derive(Serialize)]
struct Document {
    openapi: &'static str,
    info: Value,
    servers: Value,
    paths: BTreeMap<String, Map<String, Value>>,
    components: Value,
}

impl Api {
    /// As it is on record; of a client only what it may call.
    fn recorded(state: &State, url: &str, token_url: &str, client: Option<&str>) -> anyhow::Result<Self> {
        let api = state.one::<RestApi>()?.map(|api| api.desired);
        let (title, mut description) = api.map_or_else(
            || (state.stack.clone(), String::new()),
            |api| (api.name, api.description),
        );
        let stage = state.one::<Stage>()?;
        let version = stage.map_or_else(String::new, |stage| stage.desired.deployment.to_string());
        let mut scopes = BTreeMap::new();
        for server in state.all::<ResourceServer>()? {
            let identifier = server.desired.identifier;
            let named = server.desired.scopes.into_iter();
            scopes.extend(named.map(|(name, text)| (format!("{identifier}/{name}"), text)));
        }
        let routes = routes(state)?;
        if let Some(name) = client {
            let mut clients = state.all::<Client>()?.into_iter();
            let client = clients.find(|client| client.desired.name == name);
            let own: BTreeSet<String> = client.map(|client| client.desired.scopes).unwrap_or_default();
            scopes = (own.into_iter())
                .map(|scope| {
                    let text = scopes.remove(&scope).unwrap_or_default();
                    (scope, text)
                })
                .collect();
            description = format!("{description}\n\nThis is what the client \"{name}\" may call.");
        } else {
            let named = routes.iter().flat_map(|route| route.scopes.clone());
            for scope in named {
                scopes.entry(scope).or_default();
            }
        }
        Ok(Self {
            title,
            description,
            version,
            url: url.to_owned(),
            token_url: token_url.to_owned(),
            scopes,
            routes,
        })
    }

    fn document(&self) -> Document {
        Document {
            openapi: "3.1.0",
            info: json!({"title": self.title, "description": self.description, "version": self.version}),
            servers: json!([{"url": self.url}]),
            paths: self.paths(),
            components: json!({
                "securitySchemes": {"oauth2": {
                    "type": "oauth2",
                    "flows": {"clientCredentials": {"tokenUrl": self.token_url, "scopes": self.scopes}},
                }},
                "responses": {
                    "Unauthorized": refusal("The token is missing, has expired, or has none of the scopes."),
                    "TooManyRequests": refusal("There were too many requests; wait and try again."),
                },
                "schemas": {"Refusal": {
                    "type": "object",
                    "properties": {"message": {"type": "string"}},
                }},
            }),
        }
    }

    fn paths(&self) -> BTreeMap<String, Map<String, Value>> {
        let mut ids = BTreeSet::new();
        let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for route in &self.routes {
            let scopes: Vec<&String> = (route.scopes.iter())
                .filter(|scope| self.scopes.contains_key(*scope))
                .collect();
            if scopes.is_empty() {
                continue;
            }
            let item = paths.entry(template(&route.path)).or_default();
            let parameters = parameters(&route.path);
            if !parameters.is_empty() {
                item.insert("parameters".to_owned(), parameters.into());
            }
            for method in methods(route, &self.routes) {
                let id = id(method, &route.path, &mut ids);
                item.insert(method.to_lowercase(), operation(method, &id, &scopes));
            }
        }
        paths
    }
}

/// An answer of the gateway itself.
fn refusal(description: &str) -> Value {
    json!({
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
    })
}

/// One entry for each scope, because any one of them is enough; several in one entry would all be needed.
fn operation(method: &str, id: &str, scopes: &[&String]) -> Value {
    let security: Vec<Value> = scopes.iter().map(|scope| json!({"oauth2": [scope]})).collect();
    let mut operation = json!({
        "operationId": id,
        "security": security,
        "responses": {
            "401": {"$ref": "#/components/responses/Unauthorized"},
            "429": {"$ref": "#/components/responses/TooManyRequests"},
            "default": {"description": "What the API answers."},
        },
    });
    if ["PUT", "POST", "PATCH"].contains(&method) {
        operation["requestBody"] = json!({"content": {"*/*": {}}});
    }
    operation
}

/// The path with the variables of OpenAPI, which has none that takes the rest of a path.
fn template(path: &str) -> String {
    let parts = parts(path).map(|part| match variable(part) {
        Some((name, _)) => format!("/{{{name}}}"),
        None => format!("/{part}"),
    });
    Some(parts.collect::<String>())
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| "/".to_owned())
}

fn parameters(path: &str) -> Vec<Value> {
    let variables = parts(path).filter_map(variable);
    let parameters = variables.map(|(name, is_greedy)| {
        let mut parameter =
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
        if is_greedy {
            parameter["description"] = format!(
                "The rest of the path: {{{name}+}} of API Gateway, which also takes `/`. OpenAPI cannot express that: do not \
                 encode a `/` of the value."
            )
            .into();
        }
        parameter
    });
    parameters.collect()
}

/// `getOrdersById` of `GET /orders/{id}`, with a number where another operation has that id.
fn id(method: &str, path: &str, ids: &mut BTreeSet<String>) -> String {
    let mut words = Vec::new();
    for part in parts(path) {
        let (name, by) = variable(part).map_or((part, ""), |(name, _)| (name, "By"));
        words.push(by.to_owned());
        words.extend(name.split(|c: char| !c.is_ascii_alphanumeric()).map(capitalized));
    }
    let words = words.concat();
    let words = if words.is_empty() { "Root" } else { &words };
    let first = format!("{}{words}", method.to_lowercase());
    let mut id = first.clone();
    let mut number = 1;
    while !ids.insert(id.clone()) {
        number += 1;
        id = format!("{first}{number}");
    }
    id
}

fn capitalized(word: &str) -> String {
    let mut rest = word.chars();
    let first = rest.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(routes: &[(&str, &[&str])], scopes: &[&str]) -> Api {
        let route = |(name, scopes): &(&str, &[&str])| {
            let (verb, path) = name.split_once(' ').unwrap();
            Route {
                verb: verb.to_owned(),
                path: path.to_owned(),
                scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
                is_backend: false,
            }
        };
        Api {
            title: "Orders".to_owned(),
            description: "All orders".to_owned(),
            version: "d1".to_owned(),
            url: "https://a1.execute-api.eu-west-1.amazonaws.com/prod".to_owned(),
            token_url: "https://orders.auth.eu-west-1.amazoncognito.com/oauth2/token".to_owned(),
            scopes: scopes
                .iter()
                .map(|&scope| (scope.to_owned(), scope.to_uppercase()))
                .collect(),
            routes: routes.iter().map(route).collect(),
        }
    }

    #[test]
    fn the_document_has_everything_that_a_client_needs() {
        let api = api(
            &[
                ("GET /orders/{id}", &["orders/read", "orders/write"]),
                ("POST /orders", &["orders/write"]),
            ],
            &["orders/read", "orders/write"],
        );
        insta::assert_snapshot!(serde_json::to_string_pretty(&api.document()).unwrap());
    }

    #[test]
    fn any_is_every_method_and_the_rest_of_a_path_is_told() {
        let api = api(
            &[
                ("ANY /files/{rest+}", &["f/all"]),
                ("GET /files/{rest+}", &["f/read"]),
                ("ANY /", &["f/all"]),
            ],
            &["f/all"],
        );
        let paths = api.paths();
        assert_eq!(paths.keys().collect::<Vec<_>>(), ["/", "/files/{rest}"]);
        let files = &paths["/files/{rest}"];
        // The scope that GET needs is not shown, as for a client that does not have it.
        assert_eq!(
            files.keys().collect::<Vec<_>>(),
            ["parameters", "put", "post", "delete", "patch", "options", "head"]
        );
        assert_eq!(files["parameters"][0]["name"], "rest");
        assert!(
            files["parameters"][0]["description"]
                .as_str()
                .unwrap()
                .contains("{rest+}")
        );
        assert!(files["put"]["requestBody"].is_object() && files["delete"]["requestBody"].is_null());
        assert_eq!(paths["/"]["get"]["operationId"], "getRoot");
        assert_eq!(paths["/"].len(), 7);
    }

    #[test]
    fn no_two_operations_have_one_id() {
        let mut ids = BTreeSet::new();
        let mut id = |path| id("GET", path, &mut ids);
        assert_eq!(id("/a-b/{the.id}"), "getABByTheId");
        assert_eq!(id("/a_b/{the.id}"), "getABByTheId2");
        assert_eq!(id("/"), "getRoot");
    }
}
