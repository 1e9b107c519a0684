use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{self, Backend, Config};

/// The configuration of this project, read as every command reads it.
fn read(project: &Project) -> Config {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &project.files()).unwrap();
    let text = fs_err::read_to_string(folder.path().join(CONFIG)).unwrap();
    Config::read(&text, folder.path()).unwrap_or_else(|problems| panic!("{problems:?} in {text}"))
}

fn imported(document: &Value) -> Imported {
    import(&document.to_string(), "shop", true).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn refused(text: &str) -> Vec<String> {
    import(text, "shop", true).unwrap_err()
}

fn project(imported: Imported) -> Project {
    Project {
        stack: "shop".to_owned(),
        region: None,
        title: imported.title,
        description: imported.description,
        scopes: imported.scopes,
        answerer: match imported.url {
            Some(url) => Answerer::Url("api", url),
            None => Answerer::Function("api", Language::Python),
        },
        routes: imported.routes,
    }
}

/// A document with these paths, and one scheme that has the scope `orders/read` and `orders/write`.
fn document(paths: &Value) -> Value {
    json!({
        "openapi": "3.0.3",
        "info": {"title": "Shop", "version": "1"},
        "security": [{"oauth": ["orders/read"]}],
        "components": {"securitySchemes": {"oauth": {"type": "oauth2", "flows": {"clientCredentials": {
            "tokenUrl": "https://auth.example.com/token",
            "scopes": {"orders/read": "Read orders", "orders/write": "Write orders"},
        }}}}},
        "paths": paths,
    })
}

fn routes(imported: &Imported) -> Vec<&str> {
    imported.routes.keys().map(String::as_str).collect()
}

#[test]
fn the_name_of_a_folder_becomes_a_name_of_a_stack() {
    for (folder, name) in [
        ("orders", Some("orders")),
        ("Order Service_2", Some("order-service-2")),
        ("2024-orders", Some("orders")),
        ("  --orders--  ", Some("orders")),
        (
            "a-very-long-name-of-a-folder-which-is-cut",
            Some("a-very-long-name-of-a-folder-w"),
        ),
        (
            "a-name-that-is-cut-at-a-hyphen-x",
            Some("a-name-that-is-cut-at-a-hyphen"),
        ),
        ("größe", Some("gr-e")),
        ("x", None),
        ("42", None),
        ("", None),
        ("/", None),
        ("my-aws-thing", None),
        ("日本", None),
    ] {
        assert_eq!(name_of_folder(folder).as_deref(), name, "{folder}");
    }
    assert!(check_name("my-cognito-api").unwrap_err().contains("\"cognito\""));
}

#[test]
fn every_project_can_be_read_and_says_what_it_does() {
    for language in [
        Some(Language::Node),
        Some(Language::Python),
        Some(Language::Rust),
        None,
    ] {
        let project = Project::hello("orders".to_owned(), Some("eu-west-1".to_owned()), language);
        let config = read(&project);
        assert_eq!(config.stack, "orders");
        assert_eq!(config.region.as_deref(), Some("eu-west-1"));
        assert_eq!(config.clients.keys().collect::<Vec<_>>(), ["app"]);
        assert_eq!(config.routes.len(), usize::from(language.is_some()));
        assert_eq!(config.functions.len(), usize::from(language.is_some()));
        assert_eq!(
            project.build_command().is_some(),
            language == Some(Language::Rust)
        );
        assert_eq!(project.files().last().unwrap().path, Path::new(CONFIG));
    }
    insta::assert_snapshot!(configuration(&Project::hello(
        "orders".to_owned(),
        None,
        Some(Language::Node)
    )));
}

#[test]
fn a_document_of_a_service_becomes_its_routes_scopes_and_back_end() {
    let mut document = document(&json!({
        "/orders": {
            "get": {},
            "post": {"security": [{"oauth": ["orders/write"]}, {"oauth": ["orders/read"]}]},
        },
        "/orders/{id}": {"$ref": "#/components/pathItems/an~1order%20item"},
        "/": {"head": {}},
    }));
    document["info"]["description"] = "All\norders.\n\nAnd more.".into();
    document["components"]["pathItems"] =
        json!({"an/order item": {"parameters": [], "delete": {"security": [{"oauth": []}]}}});
    document["servers"] =
        json!([{"url": "https://{host}/v2/", "variables": {"host": {"default": "shop.example.com"}}}]);
    let imported = imported(&document);
    assert_eq!(
        imported.notes,
        ["servers[0]: its variables have their defaults in the back end's URL"]
    );
    let config = read(&project(imported));
    assert_eq!(config.api.name, "Shop");
    assert_eq!(config.api.description, "All orders.");
    let found: Vec<String> = config
        .routes
        .iter()
        .map(|route| format!("{} {} {:?}", route.verb, route.path, route.scopes))
        .collect();
    assert_eq!(
        found,
        [
            r#"DELETE /orders/{id} {"orders/read", "orders/write"}"#,
            r#"GET /orders {"orders/read"}"#,
            r#"HEAD / {"orders/read"}"#,
            r#"POST /orders {"orders/read", "orders/write"}"#,
        ]
    );
    assert_eq!(config.resource_servers["orders"].scopes["write"], "Write orders");
    let Backend::Url(backend) = &config.backends["api"] else {
        panic!("it is a URL")
    };
    assert_eq!(backend.url, "https://shop.example.com/v2");
}

/// As the petstore of the OpenAPI Initiative is.
#[test]
fn a_petstore_loses_nothing_silently() {
    let both = json!([{"petstore_auth": ["write:pets", "read:pets"]}]);
    let imported = imported(&json!({
        "openapi": "3.0.4",
        "info": {"title": "Swagger Petstore", "description": "A *pet* store", "version": "1.0.27"},
        "servers": [{"url": "/api/v3"}],
        "paths": {
            "/pet": {
                "put": {"security": both, "requestBody": {"$ref": "#/components/requestBodies/Pet"}},
                "trace": {"security": both},
            },
            "/pet/{petId}": {"get": {"security": [{"api_key": []}, both[0]]}},
            "/pet/{id}/photo": {"post": {"security": both, "callbacks": {"done": {}}}},
            "/store/order": {"post": {"tags": ["store"]}},
            "/store/order/": {"get": {}},
            "/store/{a}-{b}": {"get": {}},
        },
        "components": {
            "schemas": {"Pet": {"type": "object"}},
            "securitySchemes": {
                "petstore_auth": {"type": "oauth2", "flows": {"implicit": {
                    "authorizationUrl": "https://petstore3.swagger.io/oauth/authorize",
                    "scopes": {"write:pets": "modify pets", "read:pets": ""},
                }}},
                "api_key": {"type": "apiKey", "name": "api_key", "in": "header"},
            },
        },
    }));
    insta::assert_snapshot!(imported.notes.join("\n"));
    let config = read(&project(imported));
    assert_eq!(config.routes.len(), 4);
    assert!(config.routes.iter().all(|route| !route.scopes.is_empty()));
    assert_eq!(config.resource_servers["shop"].scopes["read:pets"], "read:pets");
}

#[test]
fn what_is_no_document_is_refused_with_its_reason() {
    for (text, reason) in [
        ("", "expected JSON; convert a document in YAML first"),
        (
            "openapi: 3.0.0\npaths: {}",
            "expected JSON; convert a document in YAML first",
        ),
        ("{\"openapi\": ", "invalid JSON: EOF"),
        ("[]", "a JSON object"),
        ("{}", "no text `openapi`"),
        ("{\"swagger\": \"2.0\"}", "got Swagger"),
        ("{\"openapi\": \"4.0\"}", "got version \"4.0\""),
        (
            "{\"openapi\": \"3.1.0\"}",
            "no operation of it can be carried over",
        ),
        ("{\"openapi\": \"3.1.0\", \"paths\": 7}", "no operation"),
        (
            "{\"openapi\": \"3.1.0\", \"paths\": {\"/a\": {}, \"b\": {\"get\": {}}}}",
            "no operation",
        ),
    ] {
        let problems = refused(text);
        assert!(problems[0].contains(reason), "{text}: {problems:?}");
    }
    let deep = format!("{{\"openapi\": {}", "[".repeat(1_000_000));
    assert!(
        refused(&deep)[0].contains("recursion limit"),
        "{:?}",
        refused(&deep)
    );
}

#[test]
fn a_hostile_document_is_read_to_its_end_and_every_loss_is_told() {
    let mut hostile = document(&json!({
        "/ok": {"get": {}},
        "/circle": {"$ref": "#/components/pathItems/one"},
        "/itself": {"$ref": "#/paths/~1itself"},
        "/elsewhere": {"$ref": "https://example.com/other.json#/paths/~1a"},
        "/nowhere": {"$ref": "#/components/pathItems/none"},
        "/number": 7,
        "/\u{1b}[2J\n": {"get": {}},
        "/\u{202e}": {"get": {}},
        "/{}": {"get": {}},
        "/a/{x}/b/{x}": {"get": {}},
        "/c/{rest+}/d": {"get": {}},
        "/d//e": {"get": {}},
        "/../f": {"get": {}},
        "/ping": {"get": {}},
        "ok": {"get": {}},
        "": {"get": {}},
        "/g": {"get": 7, "GET": {}, "x-get": {}, "query": {}},
    }));
    hostile["components"]["pathItems"] = json!({
        "one": {"$ref": "#/components/pathItems/two"}, "two": {"$ref": "#/components/pathItems/one"},
    });
    hostile["servers"] = json!([{"url": "https://me:secret@example.com"}, {"url": "{a}{a"}, 7]);
    let imported = imported(&hostile);
    let told = imported.notes.join("\n");
    assert!(!told.contains("secret"), "{told}");
    assert_eq!(routes(&imported), ["GET /ok"]);
    for path in [
        "/circle",
        "/itself",
        "/elsewhere",
        "/nowhere",
        "/number",
        "/{}",
        "/a/{x}/b/{x}",
        "/c/{rest+}/d",
        "/d//e",
        "/../f",
        "/ping",
        "ok",
        "",
        "/\\u{1b}[2J\\n",
        "/\\u{202e}",
    ] {
        assert!(
            imported
                .notes
                .iter()
                .any(|note| note.starts_with(&format!("{path}: not carried over"))),
            "{path}: {told}"
        );
    }
    for note in [
        "GET /g: not carried over",
        "QUERY /g: not carried over",
        "servers[2]: not carried over",
    ] {
        assert!(
            imported.notes.iter().any(|line| line.starts_with(note)),
            "{note}: {told}"
        );
    }
    read(&project(imported));
}

#[test]
fn a_thousand_paths_and_scopes_are_carried_over_as_far_as_cognito_goes() {
    let paths: serde_json::Map<String, Value> = (0..1000)
        .map(|number| {
            let operation = json!({"security": [{"oauth": [format!("s{number}")]}]});
            (format!("/p{number}/{{id}}"), json!({"get": operation}))
        })
        .collect();
    let imported = imported(&document(&paths.into()));
    assert_eq!(imported.routes.len(), 1000);
    assert!(imported.routes.values().all(|scopes| scopes.len() == 1));
    let config = read(&project(imported));
    assert_eq!(config.resource_servers["shop"].scopes.len(), 100);
    assert_eq!(config.clients.len(), 3, "a client has at most 50 scopes");
}

#[test]
fn paths_that_differ_in_a_variable_share_it_or_are_told() {
    let imported = imported(&document(&json!({
        "/a/{x}": {"get": {}},
        "/a/{y}": {"get": {}, "put": {}},
        "/a/{y}/b/{x}": {"get": {}},
        "/a/{y}/c/{z}": {"get": {}},
    })));
    assert_eq!(
        routes(&imported),
        ["GET /a/{x}", "GET /a/{x}/c/{z}", "PUT /a/{x}"]
    );
    let told = imported.notes.join("\n");
    assert!(
        told.contains("GET /a/{y}: another path of the document is /a/{x}"),
        "{told}"
    );
    assert!(told.contains("/a/{y}/b/{x}: not carried over"), "{told}");
    read(&project(imported));
}

#[test]
fn no_route_needs_less_than_its_document_says_without_a_word() {
    for (security, told) in [
        (
            json!([{"oauth": ["orders/read", "orders/write"]}]),
            "needs all of several scopes",
        ),
        (
            json!([{"oauth": ["orders/read"], "key": []}]),
            "does not need \"key\" here as well",
        ),
        (
            json!([{"oauth": ["orders/read"]}, {}]),
            "also open without a token",
        ),
        (
            json!([]),
            "open to everyone in the document; here it needs the scope \"shop/call\"",
        ),
        (
            json!([{"key": []}]),
            "has no scope that can be carried over; here it needs the scope",
        ),
        (json!([{"oauth": ["a b"]}]), "scope \"a b\": not carried over"),
        (json!({"oauth": ["orders/read"]}), "here it needs the scope"),
        (json!(null), "here it needs the scope"),
    ] {
        let mut document = document(&json!({"/a": {"get": {"security": security}}}));
        document["components"]["securitySchemes"]["key"] = json!({"type": "apiKey"});
        let imported = imported(&document);
        assert!(
            imported.notes.iter().any(|note| note.contains(told)),
            "{security}: {:?}",
            imported.notes
        );
        assert!(!imported.routes["GET /a"].is_empty());
        read(&project(imported));
    }
}

proptest! {
    #[test]
    fn whatever_a_document_says_can_be_read_afterwards(
        title in ".*", description in ".*", scope in ".{0,20}", text in ".*", url in "(https?://)?[ -~]{0,20}",
        paths in prop::collection::vec("(/[a-z{}+.: \u{1b}é]{0,6}){0,4}/?", 1..12),
    ) {
        let mut document = document(&json!({"/ok": {"get": {}}}));
        document["info"] = json!({"title": title, "description": description});
        document["servers"] = json!([{"url": url}]);
        document["components"]["securitySchemes"]["oauth"]["flows"]["clientCredentials"]["scopes"][&scope] = text.into();
        for path in paths {
            document["paths"][path] = json!({"get": {"security": [{"oauth": [scope]}]}});
        }
        let imported = imported(&document);
        for route in imported.routes.keys() {
            let (_, path) = route.split_once(' ').unwrap();
            prop_assert!(config::parts(path).count() < 6);
        }
        read(&project(imported));
    }
}
