//! Back ends that already run: what a URL gets, and what is changed of a function that someone else made.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::changes::{plan, writes};
use crate::support::proxy::{Moment, Request};
use crate::support::service::Arrived;
use crate::support::world::CODE;
use crate::support::{Emulator, Service, World};

const START: &str = r#"
[stack]
name = "orders"
[resource_servers.shop.scopes]
read = "Read"
write = "Write"
[clients.app]
scopes = ["shop/read", "shop/write"]
[clients.other]
scopes = ["shop/write"]
"#;

/// A stack that has no function of its own, in front of this service.
fn in_front_of(service: &Service, more: &str) -> String {
    format!(
        r#"{START}
[backends.shop]
url = "{}/v2"
{more}
[routes]
"GET /" = {{ backend = "shop", scopes = ["shop/read"] }}
"GET /shop/{{id}}" = {{ backend = "shop", scopes = ["shop/read"] }}
"POST /shop" = {{ backend = "shop", scopes = ["shop/read"] }}
"ANY /any/{{proxy+}}" = {{ backend = "shop", scopes = ["shop/read"] }}
"#,
        service.url
    )
}

const IDENTITY: &str = "client_id_header = \"X-Client-Id\"";

/// A function of someone else with an alias, which lets someone else's API invoke it.
fn legacy(emulator: &Emulator) {
    let code = "export const handler = async (event) => ({ statusCode: 200, body: 'legacy ' + event.path });";
    let package = provision::package::Package::from_files(&[("index.mjs", code.as_bytes())]).unwrap();
    let function = json!({
        "FunctionName": "legacy", "Runtime": "nodejs22.x", "Handler": "index.handler",
        "Role": "arn:aws:iam::000000000000:role/theirs", "Code": {"ZipFile": STANDARD.encode(package.zip)},
        "Tags": {"team": "theirs"},
    });
    emulator.write("lambda", "POST", "/2015-03-31/functions", &function);
    emulator.write(
        "lambda",
        "POST",
        "/2015-03-31/functions/legacy/versions",
        &json!({}),
    );
    let alias = json!({"Name": "live", "FunctionVersion": "1"});
    emulator.write("lambda", "POST", "/2015-03-31/functions/legacy/aliases", &alias);
    let theirs = json!({
        "StatementId": "theirs", "Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com",
        "SourceArn": "arn:aws:events:eu-west-1:000000000000:rule/theirs",
    });
    emulator.write("lambda", "POST", &format!("{POLICY}?Qualifier=live"), &theirs);
    // The emulator makes a new function active a moment later: what is compared must stand still.
    let deadline = Instant::now() + Duration::from_mins(1);
    while emulator.get("lambda", "/2015-03-31/functions/legacy")["Configuration"]["State"] != "Active" {
        assert!(Instant::now() < deadline, "the function does not become active");
        thread::sleep(Duration::from_millis(20));
    }
}

const POLICY: &str = "/2015-03-31/functions/legacy/policy";

/// Who may invoke the alias: the ids of the statements, sorted.
fn allowed(emulator: &Emulator) -> Vec<String> {
    let policy = emulator.get("lambda", &format!("{POLICY}?Qualifier=live"));
    let policy: Value = serde_json::from_str(policy["Policy"].as_str().unwrap_or("{}")).unwrap();
    let statements = policy["Statement"].as_array().cloned().unwrap_or_default();
    let sids = statements
        .iter()
        .map(|statement| statement["Sid"].as_str().unwrap().to_owned());
    let mut sids: Vec<String> = sids.collect();
    sids.sort();
    sids
}

/// All of the function that is not ours.
fn theirs(emulator: &Emulator) -> Value {
    let function = emulator.get("lambda", "/2015-03-31/functions/legacy");
    let alias = emulator.get("lambda", "/2015-03-31/functions/legacy/aliases/live");
    json!([function["Configuration"], function["Tags"], alias])
}

const LEGACY: &str = r#"
[backends.legacy]
lambda = "arn:aws:lambda:eu-west-1:000000000000:function:legacy:live"
[routes]
"ANY /legacy/{proxy+}" = { backend = "legacy", scopes = ["shop/read"] }
"#;

fn before_legacy() -> String {
    format!("{START}{LEGACY}")
}

fn status(world: &World) -> Value {
    world.run(&["status", "--json"]).json()
}

fn token(world: &World) -> String {
    world.run(&["token", "app"]).ok().stdout.trim().to_owned()
}

/// Sends exactly these headers to the live stage; the status of the answer.
fn send(world: &World, verb: &str, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    let status = status(world);
    let url = format!("{}{path}", status["outputs"]["api_url"].as_str().unwrap());
    let (host, target) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let mut request = format!("{verb} /{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    write!(stream, "{request}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The only request that arrived.
fn only(service: &Service) -> Arrived {
    let mut arrived = service.take();
    assert_eq!(arrived.len(), 1, "{arrived:?}");
    arrived.remove(0)
}

#[test]
fn a_url_gets_the_request_with_the_proven_client_and_without_the_token() {
    let service = Service::start();
    let world = World::of(&in_front_of(&service, IDENTITY), CODE);
    let up = world.run(&["up"]).ok();
    assert!(up.stderr.contains("verified  "), "{}", up.stderr);
    assert!(service.take().is_empty(), "the proof reaches no back end");
    world.assert_settled("a URL");
    let census = world.emulator.census();
    for none in ["roles", "functions", "log groups", "permissions"] {
        assert_eq!(census.get(none), None, "{none}");
    }

    let client = status(&world)["outputs"]["clients"]["app"]["client_id"].clone();
    let client = client.as_str().unwrap();
    let token = token(&world);
    let bearer = format!("Bearer {token}");
    for (verb, path, target, body) in [
        ("GET", "/", "/v2", ""),
        ("GET", "/shop/7?a=1&b=x%20y", "/v2/shop/7?a=1&b=x+y", ""),
        ("POST", "/shop", "/v2/shop", r#"{"order":7}"#),
        ("DELETE", "/any/a/b/c", "/v2/any/a/b/c", ""),
        ("PATCH", "/any/a?x=y", "/v2/any/a?x=y", "patch"),
    ] {
        for forged in ["X-Client-Id", "x-client-id", "X-CLIENT-ID"] {
            let headers = [
                ("Authorization", bearer.as_str()),
                (forged, "admin"),
                ("X-Trace", "kept"),
            ];
            assert_eq!(send(&world, verb, path, &headers, body), 200, "{verb} {path}");
            let arrived = only(&service);
            assert_eq!((arrived.verb.as_str(), arrived.target.as_str()), (verb, target));
            assert_eq!(arrived.body, body);
            assert_eq!(arrived.all("X-Client-Id"), [client]);
            assert_eq!(arrived.all("X-Trace"), ["kept"]);
            assert_eq!(arrived.all("Authorization"), ["none"]);
            assert!(
                !format!("{arrived:?}").contains(&token),
                "the token stays at the gateway"
            );
        }
    }
    for headers in [
        &[][..],
        &[("Authorization", "Bearer made-up"), ("X-Client-Id", "admin")],
    ] {
        assert_eq!(send(&world, "GET", "/shop/7", headers, ""), 401);
    }
    assert!(
        service.take().is_empty(),
        "who is refused does not reach the back end"
    );

    let logs = world.run(&["logs"]).code(2).stderr;
    assert!(
        logs.contains("stack orders has no function, so it has no logs"),
        "{logs}"
    );
    let call = world.run(&["verify", "--call"]).ok().stdout;
    assert!(call.contains("ANY /any/{proxy+}"), "{call}");
    let verbs: Vec<String> = service.take().into_iter().map(|arrived| arrived.verb).collect();
    assert_eq!(verbs, ["GET"; 3], "POST is not called");
    world.down();
}

#[test]
fn the_token_and_the_callers_own_header_arrive_where_that_is_asked_for() {
    let service = Service::start();
    let world = World::of(&in_front_of(&service, "forward_authorization = true"), CODE);
    world.run(&["up", "--no-verify"]).ok();
    let bearer = format!("Bearer {}", token(&world));
    let headers = [("Authorization", bearer.as_str()), ("X-Client-Id", "admin")];
    assert_eq!(send(&world, "GET", "/shop/7", &headers, ""), 200);
    let arrived = only(&service);
    assert_eq!(arrived.all("Authorization"), [bearer.as_str()]);
    assert_eq!(arrived.all("X-Client-Id"), ["admin"], "nothing is mapped");
    world.down();
}

#[test]
fn every_key_of_a_back_end_is_planned_updated_in_place_and_put_back() {
    let service = Service::start();
    let file = in_front_of(&service, IDENTITY);
    let world = World::of(&file, CODE);
    world.run(&["up"]).ok();
    world.proxy.take();
    let other = Service::start();
    let target = "arn:aws:elasticloadbalancing:eu-west-1:000000000000:loadbalancer/app/shop/0123456789abcdef";
    let routes = ["ANY /any/{proxy+}", "GET /", "GET /shop/{id}", "POST /shop"];
    let deploys = [
        "DELETE restapis/deployments",
        "PATCH restapis/stages",
        "POST restapis/deployments",
    ];
    let sorted = |mut writes: Vec<&'static str>| {
        writes.extend(deploys);
        writes.sort_unstable();
        writes
    };
    let put = "PUT restapis/resources/methods/integration";
    let patch = "PATCH restapis/resources/methods/integration";
    for (name, from, to, field, write) in [
        ("url", service.url.clone(), other.url.clone(), "uri", patch),
        (
            "timeout",
            IDENTITY.to_owned(),
            format!("{IDENTITY}\ntimeout = \"1500ms\""),
            "timeout_millis",
            put,
        ),
        (
            "another client_id_header",
            "X-Client-Id".to_owned(),
            "X-Caller".to_owned(),
            "mappings",
            put,
        ),
        (
            "no client_id_header",
            IDENTITY.to_owned(),
            String::new(),
            "mappings",
            put,
        ),
        (
            "forward_authorization",
            IDENTITY.to_owned(),
            format!("{IDENTITY}\nforward_authorization = true"),
            "mappings",
            put,
        ),
        (
            "vpc_link",
            IDENTITY.to_owned(),
            format!("{IDENTITY}\nvpc_link = \"a1b2c3\""),
            "vpc_link",
            put,
        ),
        (
            "vpc_link with target",
            IDENTITY.to_owned(),
            format!("{IDENTITY}\nvpc_link = \"a1b2c3\"\ntarget = \"{target}\""),
            "target, vpc_link",
            put,
        ),
    ] {
        world.file(&file.replace(&from, &to));
        let changed = routes.map(|route| format!("update route:{route}: {field}"));
        let deployed = ["update deployment: description", "update stage: deployment"];
        let expected: Vec<&str> = (changed.iter().map(String::as_str)).chain(deployed).collect();
        assert_eq!(plan(&world), expected, "{name}");
        for text in [None, Some(&file)] {
            if let Some(text) = text {
                world.file(text);
            }
            world.run(&["up", "--no-verify"]).ok();
            assert_eq!(writes(&world), sorted(vec![write; 4]), "{name}: {text:?}");
            world.assert_settled(name);
            world.proxy.take();
        }
    }
    world.down();
}

#[test]
fn a_route_moves_from_a_function_to_a_url_and_to_a_function_of_others_and_back() {
    let service = Service::start();
    let backends = format!(
        "[backends.shop]\nurl = \"{}\"\n[backends.legacy]\n\
         lambda = \"arn:aws:lambda:eu-west-1:000000000000:function:legacy:live\"\n",
        service.url
    );
    let file = |route: &str| {
        format!(
            "{START}[functions.orders]\nsource = \"lambda\"\nruntime = \"nodejs22.x\"\nhandler = \"index.handler\"\n\
             {backends}[routes]\n\"GET /a/{{id}}\" = {{ {route}, scopes = [\"shop/read\"] }}\n"
        )
    };
    let world = World::of(&file("function = \"orders\""), CODE);
    legacy(&world.emulator);
    let up = world.run(&["up"]).ok();
    for name in ["shop", "legacy"] {
        let warning = format!("warning: back end {name}: no route names it, so it is not used");
        assert!(up.stderr.contains(&warning), "{}", up.stderr);
    }
    assert_eq!(
        allowed(&world.emulator),
        ["theirs"],
        "what no route calls is not asked for"
    );
    world.proxy.take();

    world.file(&file("backend = \"shop\""));
    let fields = "integration, integration_verb, mappings, request_parameters, uri";
    let route = format!("update route:GET /a/{{id}}: {fields}");
    let deployed = ["update deployment: description", "update stage: deployment"];
    assert_eq!(plan(&world), [&[route.as_str()][..], &deployed].concat());
    world.run(&["up"]).ok();
    let bearer = format!("Bearer {}", token(&world));
    assert_eq!(
        send(&world, "GET", "/a/7", &[("Authorization", &bearer)], ""),
        200
    );
    assert_eq!(only(&service).target, "/a/7");
    world.assert_settled("at the URL");

    world.file(&file("backend = \"legacy\""));
    let permission = "create backend-permission:legacy";
    assert_eq!(
        plan(&world),
        [&[route.as_str(), permission][..], &deployed].concat()
    );
    world.run(&["up"]).ok();
    world.assert_settled("at the function of others");
    assert_eq!(
        send(&world, "GET", "/a/7", &[("Authorization", &bearer)], ""),
        200
    );
    assert_eq!(allowed(&world.emulator).len(), 2);

    world.file(&file("function = \"orders\""));
    world.run(&["up", "--yes"]).ok();
    world.assert_settled("back at the function");
    assert_eq!(allowed(&world.emulator), ["theirs"]);
    world.run(&["down", "--yes"]).ok();
    assert_eq!(world.emulator.census()["functions"], 1);
}

#[test]
fn of_a_function_of_others_one_statement_is_added_and_taken_away() {
    let world = World::of(&before_legacy(), CODE);
    legacy(&world.emulator);
    let before = theirs(&world.emulator);
    world.run(&["up"]).ok();
    world.assert_settled("an alias");
    let sid = world
        .state()
        .desired("backend-permission:legacy", "statement")
        .to_owned();
    assert_eq!(sid, format!("orders_{}_legacy", world.state().owner()));
    assert_eq!(allowed(&world.emulator), [sid.as_str(), "theirs"]);
    let bearer = format!("Bearer {}", token(&world));
    assert_eq!(
        send(&world, "PUT", "/legacy/a/b", &[("Authorization", &bearer)], ""),
        200
    );
    let call = world.run(&["verify", "--call", "--json"]).ok().json();
    assert!(
        (call["probes"].as_array().unwrap().iter()).any(|probe| probe["check"] == "right_token"),
        "ANY is called with GET: {call}"
    );
    assert_eq!(theirs(&world.emulator), before);

    // What others do to the statement is drift of it.
    let statement = format!("{POLICY}/{sid}?Qualifier=live");
    world.emulator.delete("lambda", &statement);
    let line = |world: &World| {
        let status = status(world);
        let lines = status["resources"].as_array().unwrap().clone();
        let is_it = |line: &&Value| line["step"] == "backend-permission:legacy";
        lines.iter().find(is_it).unwrap().clone()
    };
    assert_eq!(line(&world)["state"], "missing");
    let loose = json!({
        "StatementId": sid, "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com",
        "SourceArn": "arn:aws:execute-api:eu-west-1:000000000000:*", "SourceAccount": "999999999999",
    });
    world
        .emulator
        .write("lambda", "POST", &format!("{POLICY}?Qualifier=live"), &loose);
    let drifted: Vec<Value> = line(&world)["drifted"].as_array().unwrap().clone();
    let fields: Vec<&str> = drifted.iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["source_account", "source_arn"]);
    world.run(&["up", "--yes"]).ok();
    world.assert_settled("another grant");

    // The stage's name is in the statement.
    world.file(&format!("{}\n[api]\nstage = \"live\"\n", before_legacy()));
    world.run(&["up", "--yes"]).ok();
    world.assert_settled("another stage");
    assert_eq!(allowed(&world.emulator), [sid.as_str(), "theirs"]);

    world.run(&["down", "--yes"]).ok();
    assert_eq!(allowed(&world.emulator), ["theirs"]);
    assert_eq!(theirs(&world.emulator), before);
    let census = world.emulator.census();
    // Lambda made the log group when the function was called.
    assert_eq!(
        census.keys().copied().collect::<Vec<_>>(),
        ["functions", "log groups", "permissions"]
    );
}

#[test]
fn a_function_that_is_not_there_is_refused_before_anything_is_made_and_told_once_it_is_gone() {
    let world = World::of(&before_legacy(), CODE);
    for args in [&["plan"][..], &["up"]] {
        let refused = world.run(args).code(2).stderr;
        assert!(
            refused.contains("function:legacy:live not found: Function not found"),
            "{refused}"
        );
    }
    world.emulator.assert_nothing("refused");
    legacy(&world.emulator);
    world.file(&before_legacy().replace(":live", ":other"));
    let refused = world.run(&["up"]).code(2).stderr;
    assert!(
        refused.contains("function:legacy:other not found: ") && refused.contains("nothing was changed"),
        "{refused}"
    );
    assert_eq!(world.emulator.census().get("REST APIs"), None);

    world.file(&before_legacy());
    world.run(&["up"]).ok();
    world.emulator.delete("lambda", "/2015-03-31/functions/legacy");
    let told = world.run(&["status"]).code(3);
    assert!(told.stdout.contains("missing"), "{}", told.stdout);
    let words = "warning: backend-permission:legacy: the function that it is for is gone: Function not found";
    assert!(told.stderr.contains(words), "{}", told.stderr);
    let refused = world.run(&["up"]).code(2).stderr;
    assert!(
        refused.contains("function:legacy:live not found: Function not found"),
        "{refused}"
    );
    world.down();
}

#[test]
fn of_a_function_of_another_account_the_command_of_its_owner_is_told_and_works_as_printed() {
    let file = before_legacy().replace("000000000000", "111122223333");
    let world = World::of(&file, CODE);
    let up = world.run(&["up"]).ok();
    world.assert_settled("another account");
    assert!(
        world
            .state()
            .steps()
            .iter()
            .all(|step| step["kind"] != "backend-permission")
    );
    let (_, command) = up.stderr.split_once("has to run `").expect(&up.stderr);
    let (command, _) = command.split_once('`').unwrap();

    // In place of the AWS CLI: it prints its arguments.
    let aws = world.path("aws");
    fs_err::write(&aws, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
    Command::new("chmod").arg("+x").arg(&aws).status().unwrap();
    let said = Command::new("/bin/sh")
        .args(["-c", command])
        .env("PATH", world.place.path())
        .output();
    let said = String::from_utf8(said.unwrap().stdout).unwrap();
    let api = world.state().output("rest-api", "id").to_owned();
    let source = format!("arn:aws:execute-api:eu-west-1:000000000000:{api}/prod/*");
    let sid = format!("orders_{}_api", world.state().owner());
    let expected = [
        "lambda",
        "add-permission",
        "--region",
        "eu-west-1",
        "--function-name",
        "arn:aws:lambda:eu-west-1:111122223333:function:legacy",
        "--qualifier",
        "live",
        "--statement-id",
        &sid,
        "--action",
        "lambda:InvokeFunction",
        "--principal",
        "apigateway.amazonaws.com",
        "--source-arn",
        &source,
        "--source-account",
        "000000000000",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    assert_eq!(status(&world)["outputs"]["to_be_run"], json!([command]));

    // Without the permission API Gateway answers 500, as it does in the emulator without the function.
    world.run(&["verify"]).ok();
    let told = world.run(&["verify", "--call"]).code(1).stderr;
    assert!(
        told.contains(&format!("ask its owner to run `{command}`")),
        "{told}"
    );
    world.down();
}

#[test]
fn a_function_of_another_region_is_refused() {
    let world = World::of(&before_legacy().replace("eu-west-1", "eu-central-1"), CODE);
    for args in [&["plan"][..], &["up"]] {
        let refused = world.run(args).code(2).stderr;
        assert!(
            refused.contains("back end legacy: expected a function in region eu-west-1 of partition aws"),
            "{refused}"
        );
    }
    world.emulator.assert_nothing("refused");
}

/// What somebody does to the integration of `GET /shop/{id}`, and the field.
const BENT: [(&str, &str, &str, &str); 5] = [
    ("uri", "replace", "/uri", "http://127.0.0.1:9/evil"),
    (
        "mappings",
        "replace",
        "/requestParameters/integration.request.header.X-Client-Id",
        "'admin'",
    ),
    (
        "mappings",
        "remove",
        "/requestParameters/integration.request.header.Authorization",
        "",
    ),
    ("timeout_millis", "replace", "/timeoutInMillis", "50"),
    ("integration_verb", "replace", "/httpMethod", "DELETE"),
];

#[test]
fn every_field_of_a_url_that_someone_else_changed_is_named_and_changed_back() {
    let service = Service::start();
    let link = "vpc_link = \"a1b2c3\"";
    let world = World::of(&in_front_of(&service, &format!("{IDENTITY}\n{link}")), CODE);
    world.run(&["up", "--no-verify"]).ok();
    let whole = world.portrait();
    let method = world.state().method("route:GET /shop/{id}");
    let integration = format!("{method}/integration");
    let more = [
        ("vpc_link", "replace", "/connectionId", "other"),
        ("vpc_link", "replace", "/connectionType", "INTERNET"),
        ("target", "replace", "/integrationTarget", "arn:aws:x"),
        ("integration", "replace", "/type", "HTTP"),
    ];
    for (field, op, path, value) in BENT.into_iter().chain(more) {
        world.emulator.patch(&integration, &[(op, path, value)]);
        is_named_and_mended(&world, field, &whole);
    }
    let parameter = "/requestParameters/method.request.path.id";
    for (op, value) in [("replace", "false"), ("remove", "")] {
        world.emulator.patch(&method, &[(op, parameter, value)]);
        is_named_and_mended(&world, "request_parameters", &whole);
    }
    world
        .emulator
        .patch(&integration, &[("remove", "/tlsConfig", "")]);
    world.down();
}

fn is_named_and_mended(world: &World, field: &str, whole: &Value) {
    let status = world.run(&["status", "--json"]).code(3).json();
    let lines = status["resources"].as_array().unwrap();
    let lines: Vec<&Value> = lines.iter().filter(|line| line["state"] != "ok").collect();
    assert_eq!(lines.len(), 1, "{field}: {lines:?}");
    assert_eq!(lines[0]["step"], "route:GET /shop/{id}");
    let drifted = lines[0]["drifted"].as_array().unwrap();
    let fields: Vec<&str> = drifted.iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!(fields, [field]);
    world.run(&["plan", "--check", "--no-repair"]).ok();
    world.run(&["up", "--no-verify"]).ok();
    world.assert_settled(field);
    assert_eq!(&world.portrait(), whole, "{field}");
}

/// A stack with both kinds of back ends, and its number of writing calls on the way up and down.
fn both(service: &Service) -> String {
    let backends = LEGACY.replace(
        "[routes]",
        &format!("[backends.shop]\nurl = \"{}\"\n{IDENTITY}\n[routes]", service.url),
    );
    format!("{START}{backends}\"GET /shop/{{id}}\" = {{ backend = \"shop\", scopes = [\"shop/read\"] }}\n")
}

struct Killing {
    world: World,
    before: Value,
}

impl Killing {
    fn new(service: &Service) -> Self {
        let world = World::of(&both(service), CODE);
        legacy(&world.emulator);
        let before = theirs(&world.emulator);
        Self { world, before }
    }

    /// How many writing calls a run makes.
    fn writes(&self, args: &[&str]) -> usize {
        self.world.proxy.take();
        self.world.run(args).ok();
        self.world.writes().len()
    }

    /// A run is killed, and `next` ends it: then nothing of ours is left, and all of theirs is.
    fn killed(&self, args: &[&str], at: usize, moment: Moment, up_next: bool) {
        let story = format!("{args:?} killed {moment:?} its write {at}, then up: {up_next}");
        let world = &self.world;
        assert!(world.kill_at(args, at, moment, Request::is_write), "{story}");
        if up_next {
            let up = world.run(&["up", "--no-verify", "--yes"]);
            assert_eq!(up.code, 0, "{story}: {}", up.stderr);
            world.assert_settled(&story);
            assert_eq!(allowed(&world.emulator).len(), 2, "{story}");
        }
        let down = world.run(&["down", "--yes"]);
        assert_eq!(down.code, 0, "{story}: {}", down.stderr);
        assert_eq!(allowed(&world.emulator), ["theirs"], "{story}");
        assert_eq!(theirs(&world.emulator), self.before, "{story}");
        let census = world.emulator.census();
        let left: Vec<&str> = census.keys().copied().collect();
        assert_eq!(left, ["functions", "permissions"], "{story}");
        assert!(!world.has_state(), "{story}");
    }

    fn all(&self, choose: impl Fn(usize) -> bool) {
        let up = self.writes(&["up", "--no-verify"]);
        let down = self.writes(&["down", "--yes"]);
        assert!(up > 15 && down > 3, "{up} {down}");
        for at in (0..up).filter(|at| choose(*at)) {
            for moment in [Moment::Before, Moment::After] {
                self.killed(&["up", "--no-verify"], at, moment, at % 2 == 0);
            }
        }
        for at in (0..down).filter(|at| choose(*at)) {
            for moment in [Moment::Before, Moment::After] {
                self.world.run(&["up", "--no-verify"]).ok();
                self.killed(&["down", "--yes"], at, moment, at % 2 == 0);
            }
        }
    }
}

#[test]
fn killed_at_a_sample_of_its_calls_nothing_of_ours_is_left_and_all_of_theirs() {
    Killing::new(&Service::start()).all(|at| at % 6 == 1);
}

#[test]
#[ignore = "every call: some minutes"]
fn killed_at_every_call_nothing_of_ours_is_left_and_all_of_theirs() {
    Killing::new(&Service::start()).all(|_| true);
}

#[test]
fn the_example_is_oauth_in_front_of_an_existing_service() {
    let service = Service::start();
    let file = include_str!("../../examples/existing-service/provision.toml");
    let file = file.replace("https://shop.example.com", &service.url);
    assert!(file.contains(&service.url));
    let world = World::of(&file, CODE);
    world.run(&["up"]).ok();
    let called = world
        .run(&["call", "GET", "/products/7", "--client", "partner"])
        .ok();
    assert!(called.stdout.contains("the service"), "{}", called.stdout);
    let arrived = only(&service);
    assert_eq!(
        (arrived.verb.as_str(), arrived.target.as_str()),
        ("GET", "/v2/products/7")
    );
    assert_eq!(arrived.all("X-Client-Id").len(), 1);
    // The partner may not change the stock.
    world
        .run(&["call", "POST", "/stock/7", "--client", "partner"])
        .code(1);
    assert!(service.take().is_empty());
    world
        .run(&["call", "POST", "/stock/7", "--client", "warehouse"])
        .ok();
    assert_eq!(only(&service).target, "/v2/stock/7");
    world.run(&["verify", "--call"]).ok();
    world.down();
}
