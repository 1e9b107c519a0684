//! What another team is given: the outputs, the clients, the sheet with its programs, and the OpenAPI document.

use std::process::{Command, Stdio};

use crate::support::proxy::{Act, Request};
use crate::support::{Place, Run, World};
use serde_json::{Value, json};

const CONFIG: &str = r#"
[stack]
name = "orders"
[resource_servers.orders.scopes]
read = "Read orders"
write = "Write orders"
[clients.batch]
scopes = ["orders/write"]
secret_from = "secretsmanager:orders/batch"
[clients."the app"]
scopes = ["orders/read"]
access_token = "30m"
[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
[routes]
"ANY /files/{rest+}" = { function = "orders", scopes = ["orders/read", "orders/write"] }
"GET /orders/{id}" = { function = "orders", scopes = ["orders/read"] }
"GET /orders" = { function = "orders", scopes = ["orders/read", "orders/write"] }
"POST /orders" = { function = "orders", scopes = ["orders/write"] }
"#;

const CODE: &str = "export const handler = async (event) => ({ statusCode: 200, body: `${event.httpMethod} ${event.path}` });";

fn orders() -> World {
    let world = World::of(CONFIG, CODE);
    world.run(&["up", "--no-verify"]).ok();
    world.proxy.take();
    world
}

/// A run in an empty folder, with the credentials of the world.
fn elsewhere(world: &World, place: &Place, args: &[&str]) -> Run {
    let mut command = world.command(args);
    command.current_dir(place.path());
    command.output().unwrap().into()
}

/// What this shell prints.
fn sh(script: &str) -> String {
    let run = Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(
        run.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn outputs_come_from_the_record_alone() {
    let world = orders();
    let all = world.run(&["outputs", "--json"]).ok().json();
    assert_eq!((&all["format"], &all["stack"]), (&json!(1), &json!("orders")));
    let state = world.state();
    assert_eq!(all["user_pool_id"], state.output("user-pool", "id"));
    assert_eq!(
        all["clients"]["the app"]["client_id"],
        state.output("client:the app", "client_id")
    );
    assert_eq!(world.run(&["outputs", "--format", "json"]).ok().json(), all);
    let lines = world.run(&["outputs"]).ok().stdout;
    assert!(
        lines.contains(&format!("api_url: {}\n", all["api_url"].as_str().unwrap()))
            && lines.contains("clients.the app.client_id: "),
        "{lines}"
    );
    world.run(&["outputs", "--json", "--format", "env"]).code(2);
    assert!(world.proxy.take().is_empty(), "AWS was asked");
    // Without the configuration, and without an AWS at all.
    fs_err::remove_file(world.path("provision.toml")).unwrap();
    let alone = world.place.run(&["outputs", "--stack", "orders", "--json"]).ok();
    assert_eq!(alone.json(), all);
    let none = world.run(&["outputs", "--stack", "other"]).code(2);
    assert!(none.stderr.contains("has no state"), "{}", none.stderr);

    // A shell reads what it is given.
    let env = world
        .run(&["outputs", "--stack", "orders", "--format", "env"])
        .ok();
    let script = format!(
        "{}\nprintf '%s|%s' \"$API_URL\" \"$CLIENT_ID_THE_APP\"",
        env.stdout
    );
    let read = sh(&script);
    let (url, id) = read.split_once('|').unwrap();
    assert_eq!(
        (json!(url), json!(id)),
        (
            all["api_url"].clone(),
            all["clients"]["the app"]["client_id"].clone()
        )
    );
}

#[test]
fn a_state_in_s3_has_them_for_a_machine_without_a_configuration() {
    let world = World::in_s3();
    world.run(&["up", "--no-verify"]).ok();
    let all = world.run(&["outputs", "--json"]).ok().json();
    let place = Place::new();
    let there = elsewhere(&world, &place, &["outputs", "--stack", "user-api", "--json"]).ok();
    assert_eq!(there.json(), all);
    let sheet = elsewhere(&world, &place, &["client", "sheet", "--stack", "user-api"]).ok();
    assert!(sheet.stdout.contains("`GET /user`"), "{}", sheet.stdout);
}

#[test]
fn a_stack_that_is_not_complete_has_nothing_to_hand_over() {
    let world = World::of(CONFIG, CODE);
    world.proxy.rule(|request, _| {
        if ["CreateUserPoolDomain", "UpdateUserPoolClient"].contains(&&*request.operation()) {
            let body = json!({"__type": "InvalidParameterException", "message": "no"});
            return Act::Answer(
                400,
                vec![("content-type", "application/x-amz-json-1.1")],
                body.to_string(),
            );
        }
        Act::Pass
    });
    world.run(&["up"]).code(1);
    for args in [&["outputs"][..], &["client", "sheet", "batch"], &["openapi"]] {
        let run = world.run(args).code(1);
        assert!(
            run.stdout.is_empty() && run.stderr.contains("is not complete yet"),
            "{args:?}: {}",
            run.stderr
        );
    }
    world.proxy.rule(|_, _| Act::Pass);
    world.run(&["up", "--no-verify"]).ok();
    let outputs = world.run(&["outputs"]).ok();
    assert!(outputs.stderr.is_empty(), "{}", outputs.stderr);
    // What is printed while a change is half done comes with a warning.
    world.proxy.rule(|request, _| {
        let is_update = request.operation() == "UpdateUserPoolClient";
        if is_update { refusal() } else { Act::Pass }
    });
    world.file(&CONFIG.replace("30m", "45m"));
    world.run(&["up", "--no-verify"]).code(1);
    let sheet = world.run(&["client", "sheet", "the app"]).ok();
    let warning = "warning: step client:the app is unfinished: not all of this may be live";
    assert!(sheet.stderr.contains(warning), "{}", sheet.stderr);
}

fn refusal() -> Act {
    let body = json!({"__type": "InvalidParameterException", "message": "no"});
    let headers = vec![("content-type", "application/x-amz-json-1.1")];
    Act::Answer(400, headers, body.to_string())
}

/// From now on every secret is this old, in days.
fn secrets_are_old(world: &World, days: i64) {
    let created = jiff::Timestamp::now().as_second() - days * 86_400;
    world.proxy.rule(move |request, _| {
        if request.operation() != "ListUserPoolClientSecrets" {
            return Act::Pass;
        }
        let body = json!({"ClientSecrets": [{"ClientSecretId": "c--1", "ClientSecretCreateDate": created}]});
        Act::Answer(
            200,
            vec![("content-type", "application/x-amz-json-1.1")],
            body.to_string(),
        )
    });
}

#[test]
fn the_list_says_what_each_client_may_call_and_how_old_its_secrets_are() {
    let world = orders();
    let list = world
        .run(&["client", "list", "--json", "--max-secret-age", "1d"])
        .ok()
        .json();
    let [batch, app] = &list["clients"].as_array().unwrap()[..] else {
        panic!("{list}")
    };
    assert_eq!(
        app["routes"],
        json!(["ANY /files/{rest+}", "GET /orders", "GET /orders/{id}"])
    );
    assert_eq!(
        batch["routes"],
        json!(["ANY /files/{rest+}", "GET /orders", "POST /orders"])
    );
    assert_eq!(
        (&app["scopes"], &app["access_token_seconds"]),
        (&json!(["orders/read"]), &json!(1800))
    );
    assert_eq!(
        (&app["rotation"], &app["name"]),
        (&json!("none"), &json!("the app"))
    );
    assert!(app["secrets"][0]["age_seconds"].as_u64().unwrap() < 3600);
    let calls: Vec<String> = world.proxy.take().iter().map(Request::operation).collect();
    assert_eq!(
        calls
            .iter()
            .filter(|call| *call == "ListUserPoolClientSecrets")
            .count(),
        2,
        "{calls:?}"
    );
    assert!(
        !calls.contains(&"DescribeUserPoolClient".to_owned()),
        "no secret is read: {calls:?}"
    );

    let secret = world.run(&["secret", "rotate", "begin", "batch"]).ok().stdout;
    let table = world.run(&["client", "list"]).ok();
    assert!(
        table.stdout.contains("under way") && table.stdout.contains("CLIENT ID"),
        "{}",
        table.stdout
    );
    assert!(!table.stdout.contains(secret.trim()));

    secrets_are_old(&world, 91);
    world.run(&["client", "list", "--max-secret-age", "92d"]).ok();
    world.run(&["client", "list"]).ok();
    let old = world
        .run(&["client", "list", "--json", "--max-secret-age", "90d"])
        .code(3);
    assert_eq!(
        old.json()["clients"].as_array().unwrap().len(),
        2,
        "the list is printed all the same"
    );
    assert!(
        old.stderr
            .contains("2 of 2 clients have a secret that is older than 90d: batch, the app")
            && old.stderr.contains("`provision secret rotate begin 'the app'`"),
        "{}",
        old.stderr
    );
    let wrong = world.run(&["client", "list", "--max-secret-age", "90"]).code(2);
    assert!(wrong.stderr.contains("expected a duration"), "{}", wrong.stderr);
}

/// The program in this language, as the sheet prints it.
fn program<'a>(sheet: &'a str, language: &str) -> &'a str {
    let start = format!("\n```{language}\n");
    let after = sheet.split_once(&start).expect("the sheet has the language").1;
    after.split_once("\n```").expect("it ends").0
}

/// What a program prints that has the client's secret in its environment.
fn printed(program: &str, args: &[&str], secret: &str) -> String {
    let run = Command::new(program)
        .args(args)
        .env("CLIENT_SECRET", secret)
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{program}: {out}{err}");
    assert!(
        !format!("{out}{err}").contains(secret),
        "{program} shows the secret"
    );
    out.trim().to_owned()
}

#[test]
fn the_programs_of_a_sheet_run_as_printed() {
    let world = orders();
    let run = world.run(&["client", "sheet", "the app"]).ok();
    let sheet = &run.stdout;
    assert!(world.proxy.take().is_empty(), "AWS was asked");
    let secret = world.run(&["secret", "show", "the app", "--yes"]).ok().stdout;
    let secret = secret.trim();
    assert!(!sheet.contains(secret), "the sheet has the secret");
    for (text, is_there) in [
        ("`GET /orders/{id}`", true),
        ("`ANY /files/{rest+}`", true),
        ("POST /orders", false),
        ("1800 seconds", true),
        ("the team that runs the stack `orders`", true),
    ] {
        assert_eq!(sheet.contains(text), is_there, "{text}: {sheet}");
    }
    let shell = program(sheet, "sh");
    assert_eq!(printed("sh", &["-c", shell], secret), "GET /orders");
    let file = world.path("call.py");
    fs_err::write(&file, program(sheet, "python")).unwrap();
    assert_eq!(
        printed("python3", &[file.to_str().unwrap()], secret),
        "GET /orders"
    );
    let file = world.path("call.mjs");
    fs_err::write(&file, program(sheet, "js")).unwrap();
    assert_eq!(printed("node", &[file.to_str().unwrap()], secret), "GET /orders");
    // Without the secret the first program says what it needs.
    let without = Command::new("sh")
        .args(["-c", shell])
        .env_remove("CLIENT_SECRET")
        .output()
        .unwrap();
    assert!(
        !without.status.success() && String::from_utf8_lossy(&without.stderr).contains("set CLIENT_SECRET"),
        "{without:?}"
    );
    // A wrong one is told by the token endpoint.
    let wrong = Command::new("sh")
        .args(["-c", shell])
        .env("CLIENT_SECRET", "wrong")
        .env("no_proxy", "127.0.0.1")
        .output()
        .unwrap();
    assert!(
        !wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("invalid_client"),
        "{wrong:?}"
    );
}

#[test]
fn a_sheet_says_where_the_secret_is_and_is_also_html_and_json() {
    let world = orders();
    let sheet = world.run(&["client", "sheet", "batch"]).ok().stdout;
    assert!(
        sheet.contains("aws secretsmanager get-secret-value --secret-id orders/batch "),
        "{sheet}"
    );
    let page = world
        .run(&["client", "sheet", "batch", "--format", "html"])
        .ok()
        .stdout;
    assert!(
        page.starts_with("<!doctype html>\n") && page.contains("<code>POST /orders</code>"),
        "{page}"
    );
    for outside in ["<script", "<link", "<img", "src=", "url("] {
        assert!(!page.contains(outside), "the page needs {outside}");
    }
    let json = world.run(&["client", "sheet", "batch", "--json"]).ok().json();
    assert_eq!(json["client"], "batch");
    assert_eq!(
        json["routes"][2],
        json!({"method": "POST", "path": "/orders", "scopes": ["orders/write"]})
    );
    world
        .run(&["client", "sheet", "batch", "--json", "--format", "html"])
        .code(2);
    let several = world.run(&["client", "sheet"]).code(2);
    assert!(
        several.stderr.contains("name one: batch, the app"),
        "{}",
        several.stderr
    );
}

#[test]
fn the_openapi_document_has_what_a_client_may_call_and_no_more() {
    let world = orders();
    let whole = world.run(&["openapi"]).ok().json();
    assert_eq!(whole["openapi"], "3.1.0");
    assert_eq!(
        whole["paths"]["/orders"]["get"]["security"],
        json!([{"oauth2": ["orders/read"]}, {"oauth2": ["orders/write"]}]),
        "any one of them is enough"
    );
    assert_eq!(whole["paths"]["/orders/{id}"]["parameters"][0]["name"], "id");
    assert_eq!(whole["paths"]["/files/{rest}"].as_object().unwrap().len(), 8);
    let flow = &whole["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"];
    assert_eq!(flow["scopes"]["orders/write"], "Write orders");
    let outputs = world.run(&["outputs", "--json"]).ok().json();
    assert_eq!(flow["tokenUrl"], outputs["token_url"]);
    assert_eq!(whole["servers"], json!([{"url": outputs["api_url"]}]));

    let batch = world.run(&["openapi", "--client", "batch"]).ok().json();
    let paths: Vec<&String> = batch["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/files/{rest}", "/orders"]);
    assert_eq!(
        batch["paths"]["/orders"]["get"]["security"],
        json!([{"oauth2": ["orders/write"]}])
    );
    assert!(!batch.to_string().contains("orders/read"), "{batch}");
    assert!(world.proxy.take().is_empty(), "AWS was asked");
    let none = world.run(&["openapi", "--client", "shop"]).code(2);
    assert!(
        none.stderr.contains("available clients: batch, the app"),
        "{}",
        none.stderr
    );
}

/// What a Python with tests/it/support/readers.txt says.
fn reader(script: &str, text: &str) -> Value {
    let python = std::env::var("PROVISION_READERS").expect("PROVISION_READERS: the path of a python");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), text).unwrap();
    let run = Command::new(python)
        .args(["-c", script])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}\n{text}",
        String::from_utf8_lossy(&run.stderr)
    );
    serde_json::from_slice(&run.stdout).unwrap()
}

#[test]
#[ignore = "needs PROVISION_READERS, a python with tests/it/support/readers.txt: .ci/run has it"]
fn others_read_what_is_handed_over() {
    let world = orders();
    let validate = "import json, sys; from openapi_spec_validator import OpenAPIV31SpecValidator as V
document = json.load(open(sys.argv[1]))
print(json.dumps([str(error) for error in V(document).iter_errors()]))";
    for args in [
        &["openapi"][..],
        &["openapi", "--client", "batch"],
        &["openapi", "--client", "the app"],
    ] {
        let document = world.run(args).ok().stdout;
        assert_eq!(reader(validate, &document), json!([]), "{args:?}");
    }
    // It finds what is wrong.
    let broken = world
        .run(&["openapi"])
        .ok()
        .stdout
        .replace("\"parameters\"", "\"x-parameters\"");
    assert_ne!(reader(validate, &broken), json!([]));
    let hcl = "import json, sys, hcl2
print(json.dumps(hcl2.load(open(sys.argv[1]))))";
    let vars = world.run(&["outputs", "--format", "tfvars"]).ok().stdout;
    let read = reader(hcl, &vars).to_string().replace(r#"\""#, "");
    let outputs = world.run(&["outputs", "--json"]).ok().json();
    for value in [
        &outputs["api_url"],
        &outputs["token_url"],
        &outputs["clients"]["the app"]["client_id"],
    ] {
        assert!(read.contains(value.as_str().unwrap()), "{value}: {read}");
    }
}
