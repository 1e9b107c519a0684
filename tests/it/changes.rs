//! Every key of provision.toml, changed: `plan` names exactly that, `up` does exactly that, and the live API follows.

use crate::support::proxy::{Act, Moment, Request};
use crate::support::{Run, World, get};
use serde_json::{Value, json};

const BASE: &str = r#"
[stack]
name = "orders"
tags = { team = "payments", stage = "test" }

[user_pool]
tier = "ESSENTIALS"
deletion_protection = false

[resource_servers.orders.scopes]
read = "Read orders"
write = "Write orders"

[clients.billing]
scopes = ["orders/read"]
access_token = "60m"

[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
architecture = "x86_64"
memory_mb = 128
timeout = "10s"
log_retention_days = 14
environment = { TABLE = "orders-table" }

[api]
name = "Orders API"
description = "Orders"
stage = "prod"

[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"#;

const CODE: &str = r"
const answer = (more) => ({ statusCode: 200, body: JSON.stringify({ table: process.env.TABLE, ...more }) });
export const handler = async (event) => answer({ version: 1, resource: event.resource });
export const other = async () => answer({ version: 'other' });
";

/// One change of the file.
struct Case {
    name: &'static str,
    /// In the file: the old text, and the new text.
    edits: &'static [(&'static str, &'static str)],
    /// `action step: fields` of every step of the plan that is not unchanged.
    plan: &'static [&'static str],
    /// The writing calls, sorted.
    writes: &'static [&'static str],
    /// Checks the effect.
    seen: fn(&World),
}

/// The stack of [`BASE`], up.
fn base() -> World {
    let world = World::of(BASE, CODE);
    // Without it nothing can log requests.
    world.emulator.let_apis_log();
    world.run(&["up"]).ok();
    world.proxy.take();
    world
}

/// The shapes of the writing calls since the last time, sorted.
pub(crate) fn writes(world: &World) -> Vec<String> {
    let requests = world.proxy.take();
    let writes = requests.iter().filter(|request| request.is_write());
    let mut writes: Vec<String> = writes.map(shape).collect();
    writes.sort();
    writes
}

/// The steps that `plan` does not leave unchanged: `action step: fields`.
pub(crate) fn plan(world: &World) -> Vec<String> {
    let plan = world.run(&["plan", "--json"]).ok().json();
    let steps = plan["steps"].as_array().unwrap().iter();
    steps
        .filter(|step| step["action"] != "unchanged")
        .map(|step| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let fields = step["fields"].as_array().map_or(&[][..], Vec::as_slice);
            let fields: Vec<String> = fields.iter().map(|field| text(&field["field"])).collect();
            // A create has all fields.
            let fields = if step["action"] == "create" {
                String::new()
            } else {
                fields.join(", ")
            };
            format!("{} {}: {fields}", text(&step["action"]), text(&step["step"]))
                .trim_end_matches([':', ' '])
                .to_owned()
        })
        .collect()
}

/// Nothing is left to do, and everything is as recorded.
fn is_settled(world: &World, case: &str) {
    world.assert_settled(case);
    let census = world.emulator.census();
    assert_eq!(
        census["deployments"], census["REST APIs"],
        "{case}: one for each API"
    );
    assert_eq!(world.writes(), Vec::<String>::new(), "{case}");
}

fn apply_one(world: &World, case: &Case) {
    let mut text = BASE.to_owned();
    for (from, to) in case.edits {
        assert!(text.contains(from), "{}: {from}", case.name);
        text = text.replace(from, to);
    }
    world.file(&text);
    assert_eq!(plan(world), case.plan, "{}", case.name);
    assert_eq!(world.writes(), Vec::<String>::new(), "{}: plan", case.name);
    world.run(&["up", "--json"]).ok();
    assert_eq!(writes(world), case.writes, "{}", case.name);
    is_settled(world, case.name);
    (case.seen)(world);
    world.file(BASE);
    world.run(&["up"]).ok();
    world.proxy.take();
    is_settled(world, case.name);
}

fn output(world: &World, name: &str) -> String {
    let status = world.run(&["status", "--json"]).json();
    status["outputs"][name].as_str().unwrap().to_owned()
}

fn token(world: &World, args: &[&str]) -> String {
    let run = world.run(&[&["token"], args].concat()).ok();
    run.stdout.trim().to_owned()
}

/// The answer of the live stage.
fn answer(world: &World, path: &str, token: &str) -> (u16, Value) {
    let (status, body) = get(&format!("{}{path}", output(world, "api_url")), Some(token));
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

/// The operation without the ids in it: `PATCH restapis/stages`.
fn shape(request: &Request) -> String {
    let operation = request.operation();
    let Some((method, path)) = operation.split_once(" /") else {
        return operation;
    };
    let words = [
        "restapis",
        "resources",
        "methods",
        "integration",
        "authorizers",
        "deployments",
        "stages",
        "tags",
        "functions",
        "code",
        "configuration",
        "concurrency",
        "policy",
    ];
    let path = path.replace("%2F", "/");
    let path: Vec<&str> = path.split('/').filter(|part| words.contains(part)).collect();
    format!("{method} {}", path.join("/"))
}

fn nothing(_: &World) {}

fn apply(cases: &[Case]) {
    let world = base();
    for case in cases {
        apply_one(&world, case);
    }
    world.down();
}

#[test]
fn the_stack_and_its_pool() {
    apply(&[
        Case {
            name: "a tag's value",
            edits: &[("payments", "sales")],
            plan: &[
                "update role:orders: tags",
                "update log-group:orders: tags",
                "update function:orders: tags",
                "update user-pool: tags",
                "update rest-api: tags",
                "update stage: tags",
            ],
            writes: &[
                "POST tags",
                "PUT tags/restapis",
                "PUT tags/restapis/stages",
                "TagResource",
                "TagResource",
                "TagRole",
            ],
            seen: |world| {
                let apis = world.emulator.get("apigateway", "/restapis");
                assert_eq!(apis["item"][0]["tags"]["team"], "sales");
            },
        },
        Case {
            name: "a tag less",
            edits: &[(r#", stage = "test""#, "")],
            plan: &[
                "update role:orders: tags",
                "update log-group:orders: tags",
                "update function:orders: tags",
                "update user-pool: tags",
                "update rest-api: tags",
                "update stage: tags",
            ],
            writes: &[
                "DELETE tags",
                "DELETE tags/restapis",
                "DELETE tags/restapis/stages",
                "UntagResource",
                "UntagResource",
                "UntagRole",
            ],
            seen: |world| {
                let apis = world.emulator.get("apigateway", "/restapis");
                assert_eq!(apis["item"][0]["tags"]["stage"], Value::Null);
            },
        },
        Case {
            name: "domain_prefix",
            edits: &[("tier = ", "domain_prefix = \"orders-auth\"\ntier = ")],
            plan: &["replace pool-domain: prefix"],
            writes: &["CreateUserPoolDomain", "DeleteUserPoolDomain"],
            seen: |world| {
                let pool = serde_json::json!({"UserPoolId": output(world, "user_pool_id")});
                let pool = world.emulator.cognito("DescribeUserPool", &pool);
                assert_eq!(pool["UserPool"]["Domain"], "orders-auth");
            },
        },
        Case {
            name: "deletion_protection",
            edits: &[("deletion_protection = false", "deletion_protection = true")],
            plan: &["update user-pool: deletion_protection"],
            writes: &["UpdateUserPool"],
            seen: |world| {
                let pool = serde_json::json!({"UserPoolId": output(world, "user_pool_id")});
                let pool = world.emulator.cognito("DescribeUserPool", &pool);
                assert_eq!(pool["UserPool"]["DeletionProtection"], "ACTIVE");
            },
        },
        Case {
            name: "permissions_boundary",
            edits: &[(
                "name = \"orders\"",
                "name = \"orders\"\npermissions_boundary = \"arn:aws:iam::aws:policy/PowerUserAccess\"",
            )],
            plan: &["update role:orders: permissions_boundary"],
            writes: &["PutRolePermissionsBoundary"],
            seen: |world| {
                let role = world.state().desired("role:orders", "name").to_owned();
                let role = world.emulator.iam(&format!("Action=GetRole&RoleName={role}"));
                assert!(
                    role.contains(":policy/PowerUserAccess</PermissionsBoundaryArn>"),
                    "{role}"
                );
            },
        },
        Case {
            name: "role_path",
            edits: &[(
                "name = \"orders\"",
                "name = \"orders\"\nrole_path = \"/service/\"",
            )],
            plan: &[
                "replace role:orders: path",
                "replace role-policy:orders",
                "update function:orders: role, role_id",
            ],
            writes: &[
                "CreateRole",
                "DeleteRole",
                "DeleteRolePolicy",
                "PUT functions/configuration",
                "PutRolePolicy",
            ],
            seen: |world| {
                let state = world.state();
                let role = state.desired("function:orders", "role").to_owned();
                assert!(role.contains(":role/service/orders_"), "{role}");
                assert_eq!(role, state.output("role:orders", "arn"));
                assert_eq!(answer(world, "/orders", &token(world, &[])).0, 200);
            },
        },
        Case {
            name: "tier",
            edits: &[("ESSENTIALS", "PLUS")],
            plan: &["update user-pool: tier"],
            writes: &["UpdateUserPool"],
            seen: nothing,
        },
    ]);
}

#[test]
fn scopes_and_clients() {
    apply(&[
        Case {
            name: "a scope more",
            edits: &[("write = ", "delete = \"Delete orders\"\nwrite = ")],
            plan: &["update resource-server:orders: scopes"],
            writes: &["UpdateResourceServer"],
            seen: nothing,
        },
        Case {
            name: "a scope less",
            edits: &[("write = \"Write orders\"\n", "")],
            plan: &["update resource-server:orders: scopes"],
            writes: &["UpdateResourceServer"],
            seen: nothing,
        },
        Case {
            name: "a scope's description",
            edits: &[("Write orders", "Change orders")],
            plan: &["update resource-server:orders: scopes"],
            writes: &["UpdateResourceServer"],
            seen: nothing,
        },
        Case {
            name: "a scope in place of another, wherever it is used",
            edits: &[("read = ", "view = "), ("orders/read", "orders/view")],
            plan: &[
                "update resource-server:orders: scopes",
                "update client:billing: scopes",
                "update route:GET /orders: scopes",
                "update deployment: description",
                "update stage: deployment",
            ],
            writes: &[
                "DELETE restapis/deployments",
                "PATCH restapis/resources/methods",
                "PATCH restapis/stages",
                "POST restapis/deployments",
                "UpdateResourceServer",
                "UpdateResourceServer",
                "UpdateUserPoolClient",
                "UpdateUserPoolClient",
            ],
            seen: |world| {
                let token = token(world, &["--scope", "orders/view"]);
                assert_eq!(answer(world, "/orders", &token).0, 200);
            },
        },
        Case {
            name: "a client's scopes",
            edits: &[(
                r#"scopes = ["orders/read"]
access"#,
                r#"scopes = ["orders/read", "orders/write"]
access"#,
            )],
            plan: &["update client:billing: scopes"],
            writes: &["UpdateUserPoolClient"],
            seen: |world| {
                let token = token(world, &["--scope", "orders/write"]);
                assert_eq!(
                    answer(world, "/orders", &token).0,
                    401,
                    "it has none of the route's scopes"
                );
            },
        },
        Case {
            name: "access_token",
            edits: &[("60m", "30m")],
            plan: &["update client:billing: access_token_seconds"],
            writes: &["UpdateUserPoolClient"],
            seen: |world| {
                let token = world.run(&["token", "--json"]).ok().json();
                assert_eq!(token["expires_in"], 1800);
            },
        },
        // It is where commands read the secret from, and in AWS nothing.
        Case {
            name: "secret_from",
            edits: &[(
                "\naccess_token",
                "\nsecret_from = \"secretsmanager:billing\"\naccess_token",
            )],
            plan: &[],
            writes: &[],
            seen: |world| {
                let run = world.place.run_at(&world.proxy.endpoint, &["token"]).code(1);
                assert!(
                    run.stderr.contains("secrets manager has no secret billing"),
                    "{}",
                    run.stderr
                );
                // With `--stack` alone no file is read.
                world.run(&["token", "--stack", "orders"]).ok();
                let both = ["token", "--stack", "orders", "--config", "provision.toml"];
                world.place.run_at(&world.proxy.endpoint, &both).code(1);
                let policy = world.run(&["policy", "token"]).ok().stdout;
                assert!(policy.contains(":secret:billing-??????"), "{policy}");
                world
                    .emulator
                    .json("secretsmanager.CreateSecret", &json!({"Name": "billing"}));
                world
                    .run(&["secret", "show", "billing", "--to", "secretsmanager:billing"])
                    .ok();
                world.run(&["token"]).ok();
            },
        },
        Case {
            name: "a client more",
            edits: &[(
                "[functions.orders]",
                "[clients.shipping]\nscopes = [\"orders/write\"]\n[functions.orders]",
            )],
            plan: &["create client:shipping"],
            writes: &["CreateUserPoolClient"],
            seen: |world| {
                assert_eq!(answer(world, "/orders", &token(world, &["shipping"])).0, 401);
                assert_eq!(answer(world, "/orders", &token(world, &["billing"])).0, 200);
            },
        },
        Case {
            name: "a resource server more, and a client that has its scope",
            edits: &[(
                "[functions.orders]",
                "[resource_servers.stock.scopes]\nread = \"Read stock\"\n[clients.shipping]\nscopes = [\"stock/read\"]\n\
                 [functions.orders]",
            )],
            plan: &["create resource-server:stock", "create client:shipping"],
            writes: &["CreateResourceServer", "CreateUserPoolClient"],
            seen: |world| assert_eq!(answer(world, "/orders", &token(world, &["shipping"])).0, 401),
        },
    ]);
}

#[test]
fn functions() {
    let world = base();
    let version = |world: &World| answer(world, "/orders", &token(world, &[])).1["version"].clone();
    assert_eq!(version(&world), 1);
    world.code(&CODE.replace("version: 1", "version: 2"));
    assert_eq!(plan(&world), ["update function:orders: code_sha256"]);
    world.run(&["up"]).ok();
    assert_eq!(writes(&world), ["PUT functions/code"]);
    is_settled(&world, "code");
    assert_eq!(version(&world), 2);
    world.code(CODE);
    world.run(&["up"]).ok();
    world.proxy.take();
    for layer in ["otel", "more"] {
        world.emulator.layer(layer);
    }
    let configuration = |name, edits, plan| Case {
        name,
        edits,
        plan,
        writes: &["PUT functions/configuration"],
        seen: nothing,
    };
    for case in [
        configuration(
            "runtime",
            &[("nodejs22.x", "nodejs20.x")],
            &["update function:orders: runtime"],
        ),
        configuration(
            "memory_mb",
            &[("memory_mb = 128", "memory_mb = 256")],
            &["update function:orders: memory_mb"],
        ),
        configuration(
            "timeout",
            &[("\"10s\"", "\"20s\"")],
            &["update function:orders: timeout_seconds"],
        ),
        Case {
            name: "handler",
            edits: &[("index.handler", "index.other")],
            plan: &["update function:orders: handler"],
            writes: &["PUT functions/configuration"],
            seen: |world| assert_eq!(answer(world, "/orders", &token(world, &[])).1["version"], "other"),
        },
        Case {
            name: "environment",
            edits: &[("orders-table", "another-table")],
            plan: &["update function:orders: environment"],
            writes: &["PUT functions/configuration"],
            seen: |world| {
                assert_eq!(
                    answer(world, "/orders", &token(world, &[])).1["table"],
                    "another-table"
                );
                for (path, text) in world.place.texts("state") {
                    assert!(!text.contains("another-table"), "{}", path.display());
                }
            },
        },
        Case {
            name: "no environment",
            edits: &[("environment = { TABLE = \"orders-table\" }", "")],
            plan: &["update function:orders: environment"],
            writes: &["PUT functions/configuration"],
            seen: |world| {
                let (_, body) = answer(world, "/orders", &token(world, &[]));
                assert_eq!(body["table"], Value::Null);
            },
        },
        Case {
            name: "architecture",
            edits: &[("x86_64", "arm64")],
            plan: &["update function:orders: architecture"],
            writes: &["PUT functions/code"],
            seen: nothing,
        },
        configuration(
            "description",
            &[("\"10s\"", "\"10s\"\ndescription = \"Takes orders\"")],
            &["update function:orders: description"],
        ),
        configuration(
            "ephemeral_storage_mb",
            &[("\"10s\"", "\"10s\"\nephemeral_storage_mb = 1024")],
            &["update function:orders: ephemeral_storage_mb"],
        ),
        configuration(
            "log_format",
            &[("\"10s\"", "\"10s\"\nlog_format = \"json\"")],
            &["update function:orders: log_format"],
        ),
        configuration(
            "layers",
            &[(
                "\"10s\"",
                "\"10s\"\nlayers = [\"arn:aws:lambda:eu-west-1:000000000000:layer:otel:1\", \
                 \"arn:aws:lambda:eu-west-1:000000000000:layer:more:1\"]",
            )],
            &["update function:orders: layers"],
        ),
        configuration(
            "kms_key",
            &[(
                "\"10s\"",
                "\"10s\"\nkms_key = \"arn:aws:kms:eu-west-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab\"",
            )],
            &["update function:orders: kms_key"],
        ),
        Case {
            name: "reserved_concurrency",
            edits: &[("\"10s\"", "\"10s\"\nreserved_concurrency = 20")],
            plan: &["update function:orders: reserved_concurrency"],
            writes: &["PUT functions/concurrency"],
            seen: |world| {
                let live = world
                    .emulator
                    .get("lambda", &world.state().function("function:orders"));
                assert_eq!(live["Concurrency"]["ReservedConcurrentExecutions"], 20);
            },
        },
        Case {
            name: "tracing",
            edits: &[("\"10s\"", "\"10s\"\ntracing = true")],
            plan: &[
                "update role-policy:orders: document",
                "update function:orders: tracing",
            ],
            writes: &["PUT functions/configuration", "PutRolePolicy"],
            seen: nothing,
        },
        Case {
            name: "vpc",
            edits: &[(
                "\"10s\"",
                "\"10s\"\nvpc = { subnets = [\"subnet-0a1b2c3d\"], security_groups = [\"sg-0a1b2c3d\"] }",
            )],
            plan: &[
                "update role-policy:orders: document",
                "create network-interfaces:orders",
                "update function:orders: vpc",
            ],
            writes: &["PUT functions/configuration", "PutRolePolicy"],
            seen: nothing,
        },
        Case {
            name: "policy",
            edits: &[(
                "timeout = ",
                "policy = { Effect = \"Allow\", Action = \"dynamodb:Get*\", Resource = \"*\" }\ntimeout = ",
            )],
            plan: &["create function-policy:orders", "update function:orders: rights"],
            writes: &["PUT functions/configuration", "PutRolePolicy"],
            seen: nothing,
        },
        Case {
            name: "managed_policies",
            edits: &[(
                "timeout = ",
                "managed_policies = [\"arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess\"]\ntimeout = ",
            )],
            plan: &[
                "create role-attachment:orders:aws:policy/AmazonDynamoDBReadOnlyAccess",
                "update function:orders: rights",
            ],
            writes: &["AttachRolePolicy", "PUT functions/configuration"],
            seen: nothing,
        },
        Case {
            name: "log_retention_days",
            edits: &[("log_retention_days = 14", "log_retention_days = 30")],
            plan: &["update log-group:orders: retention_days"],
            writes: &["PutRetentionPolicy"],
            seen: nothing,
        },
    ] {
        apply_one(&world, &case);
    }
    world.down();
}

#[test]
fn a_value_that_is_not_in_the_file_is_read_where_up_and_plan_run_and_nowhere_else() {
    const VALUE: &str = "postgres://orders:hunter2@db/orders";
    let file = BASE.replace(
        "TABLE = \"orders-table\"",
        "TABLE = { from_env = \"ORDERS_TABLE\" }",
    );
    let world = World::of(&file, CODE);
    let run = |args: &[&str], value: &str| -> Run {
        let mut command = world.command(args);
        command.env("ORDERS_TABLE", value).output().unwrap().into()
    };
    for args in [&["up"][..], &["plan"]] {
        let refused = world.run(args).code(2).stderr;
        let words = "provision.toml:26:38: environment of function \"orders\": TABLE: from_env: ORDERS_TABLE is not set in the \
                     environment of this command";
        assert!(refused.contains(words), "{refused}");
    }
    assert!(world.proxy.take().is_empty(), "not even a call that only reads");

    run(&["up"], VALUE).ok();
    let answered = || answer(&world, "/orders", &token(&world, &[])).1["table"].clone();
    assert_eq!(answered(), VALUE);
    world.run(&["status"]).ok();
    run(&["plan", "--check"], VALUE).ok();
    let plan = run(&["plan", "--json"], "other-orders-table").ok();
    let changed = plan.json()["steps"].as_array().unwrap().clone();
    let changed = changed.iter().filter(|step| step["action"] == "update");
    let changed: Vec<&Value> = changed.map(|step| &step["fields"][0]["field"]).collect();
    assert_eq!(changed, ["environment"]);
    let up = run(&["up", "-v"], "other-orders-table").ok();
    assert_eq!(answered(), "other-orders-table");
    let mut said: Vec<String> = world
        .place
        .texts("state")
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    said.extend([plan.stdout, plan.stderr, up.stdout, up.stderr]);
    for text in said {
        assert!(
            !text.contains("hunter2") && !text.contains("other-orders-table"),
            "{text}"
        );
    }
    world.down();
}

#[test]
fn what_is_not_in_the_stacks_region_is_refused_with_its_place_before_anything_is_made() {
    let layer = "\"10s\"\nlayers = [\"arn:aws:lambda:us-east-1:000000000000:layer:otel:1\"]";
    let world = World::of(&BASE.replace("\"10s\"", layer), CODE);
    let refused = world.run(&["up"]).code(2).stderr;
    let words = "provision.toml:25:11: function \"orders\": layers: expected region eu-west-1, where the stack is, got us-east-1";
    assert!(refused.contains(words), "{refused}");
    assert_eq!(world.writes(), Vec::<String>::new());
    // Where the region was named there is no call at all.
    let refused = world.run(&["up", "--region", "eu-west-2"]).code(2).stderr;
    assert!(refused.contains("expected region eu-west-2"), "{refused}");
    assert!(world.proxy.take().is_empty());
    world.run(&["plan", "--region", "us-east-1"]).ok();
}

#[test]
fn a_deleted_layer_version_stays_attached_and_disturbs_no_other_change() {
    let layer = "\"10s\"\nlayers = [\"arn:aws:lambda:eu-west-1:000000000000:layer:otel:1\"]";
    let world = World::of(&BASE.replace("\"10s\"", layer), CODE);
    world.emulator.layer("otel");
    world.run(&["up"]).ok();
    world
        .emulator
        .delete("lambda", "/2018-10-31/layers/otel/versions/1");
    world.proxy.take();
    is_settled(&world, "the version is deleted");
    world.file(&BASE.replace("\"10s\"", &layer.replace("10s", "20s")));
    world.run(&["up"]).ok();
    assert_eq!(writes(&world), ["PUT functions/configuration"]);
    is_settled(&world, "after an unrelated change");
    world.down();
}

#[test]
fn more_concurrency_than_the_account_has_is_refused_before_anything_is_made() {
    let world = World::of(
        &BASE.replace("\"10s\"", "\"10s\"\nreserved_concurrency = 100000"),
        CODE,
    );
    let refused = world.run(&["up"]).code(2).stderr;
    let words = " invocations at once are not reserved in eu-west-1, of which Lambda keeps at least 10";
    assert!(refused.contains(words), "{refused}");
    assert_eq!(world.writes(), Vec::<String>::new());
    world.file(&BASE.replace("\"10s\"", "\"10s\"\nreserved_concurrency = 100"));
    world.run(&["up"]).ok();
    world.down();
}

#[test]
fn the_api_and_its_routes() {
    apply(&[
        Case {
            name: "api.name",
            edits: &[("Orders API", "Our API")],
            plan: &["update rest-api: name"],
            writes: &["PATCH restapis"],
            seen: |world| {
                assert_eq!(
                    world.emulator.get("apigateway", "/restapis")["item"][0]["name"],
                    "Our API"
                );
            },
        },
        Case {
            name: "api.description",
            edits: &[("description = \"Orders\"", "description = \"Ours\"")],
            plan: &["update rest-api: description"],
            writes: &["PATCH restapis"],
            seen: nothing,
        },
        Case {
            name: "api.stage",
            edits: &[("stage = \"prod\"", "stage = \"live\"")],
            plan: &["replace permission:orders: source_arn", "replace stage: name"],
            writes: &[
                "DELETE functions/policy",
                "DELETE restapis/stages",
                "POST functions/policy",
                "POST restapis/stages",
            ],
            seen: |world| {
                let (token, url) = (token(world, &[]), output(world, "api_url"));
                assert!(url.contains("/live"), "{url}");
                assert_eq!(answer(world, "/orders", &token).0, 200);
                let old = get(&format!("{}/orders", url.replace("/live", "/prod")), Some(&token));
                assert!(old.0 == 403 || old.0 == 404, "{old:?}");
            },
        },
        Case {
            name: "api.throttle",
            edits: &[(
                "stage = \"prod\"",
                "stage = \"prod\"\nthrottle = { rate = 100, burst = 200 }",
            )],
            plan: &["update stage: throttle"],
            writes: &["PATCH restapis/stages"],
            seen: nothing,
        },
        Case {
            name: "api.access_logs",
            edits: &[(
                "stage = \"prod\"",
                "stage = \"prod\"\naccess_logs = { retention_days = 90 }",
            )],
            plan: &[
                "create access-log-group",
                "update stage: access_log_destination, access_log_format",
            ],
            writes: &["CreateLogGroup", "PATCH restapis/stages", "PutRetentionPolicy"],
            seen: |world| {
                let state = world.state();
                let group = state.desired("access-log-group", "name").to_owned();
                assert_eq!(group, format!("/aws/apigateway/orders_{}_access", state.owner()));
                let stage = world
                    .emulator
                    .get("apigateway", &format!("{}/stages/prod", state.api()));
                assert_eq!(
                    stage["accessLogSettings"]["destinationArn"],
                    format!("arn:aws:logs:eu-west-1:000000000000:log-group:{group}")
                );
                // In place, and only the group.
                let text = BASE.replace(
                    "stage = \"prod\"",
                    "stage = \"prod\"\naccess_logs = { retention_days = 30 }",
                );
                world.file(&text);
                assert_eq!(plan(world), ["update access-log-group: retention_days"]);
                world.run(&["up"]).ok();
            },
        },
        Case {
            name: "api.tracing, api.metrics",
            edits: &[(
                "stage = \"prod\"",
                "stage = \"prod\"\ntracing = true\nmetrics = true",
            )],
            plan: &["update stage: metrics, tracing"],
            writes: &["PATCH restapis/stages"],
            seen: |world| {
                let stage = format!("{}/stages/prod", world.state().api());
                let stage = world.emulator.get("apigateway", &stage);
                assert_eq!(stage["tracingEnabled"], true);
                assert_eq!(stage["methodSettings"]["*/*"]["metricsEnabled"], true);
            },
        },
        Case {
            name: "a route more",
            edits: &[(
                "[routes]",
                "[routes]\n\"GET /orders/{id}\" = { function = \"orders\", scopes = [\"orders/read\", \"orders/write\"] }",
            )],
            plan: &[
                "create path:/orders/{id}",
                "create route:GET /orders/{id}",
                "update deployment: description",
                "update stage: deployment",
            ],
            writes: &[
                "DELETE restapis/deployments",
                "PATCH restapis/stages",
                "POST restapis/deployments",
                "POST restapis/resources",
                "PUT restapis/resources/methods",
                "PUT restapis/resources/methods/integration",
            ],
            seen: |world| {
                let (status, body) = answer(world, "/orders/7", &token(world, &[]));
                assert_eq!((status, &body["resource"]), (200, &Value::from("/orders/{id}")));
            },
        },
        Case {
            name: "another verb",
            edits: &[("\"GET /orders\"", "\"ANY /orders\"")],
            plan: &[
                "create route:ANY /orders",
                "update deployment: description",
                "update stage: deployment",
                "delete route:GET /orders",
            ],
            writes: &[
                "DELETE restapis/deployments",
                "DELETE restapis/resources/methods",
                "PATCH restapis/stages",
                "POST restapis/deployments",
                "PUT restapis/resources/methods",
                "PUT restapis/resources/methods/integration",
            ],
            seen: |world| assert_eq!(answer(world, "/orders", &token(world, &[])).0, 200),
        },
        Case {
            name: "another path",
            edits: &[("\"GET /orders\"", "\"GET /all/{proxy+}\"")],
            plan: &[
                "create path:/all",
                "create path:/all/{proxy+}",
                "create route:GET /all/{proxy+}",
                "update deployment: description",
                "update stage: deployment",
                "delete route:GET /orders",
                "delete path:/orders",
            ],
            writes: &[
                "DELETE restapis/deployments",
                "DELETE restapis/resources",
                "DELETE restapis/resources/methods",
                "PATCH restapis/stages",
                "POST restapis/deployments",
                "POST restapis/resources",
                "POST restapis/resources",
                "PUT restapis/resources/methods",
                "PUT restapis/resources/methods/integration",
            ],
            seen: |world| {
                let token = token(world, &[]);
                assert_eq!(answer(world, "/all/of/them", &token).0, 200);
                assert_eq!(
                    answer(world, "/orders", &token).0,
                    403,
                    "it is not there any more"
                );
            },
        },
        Case {
            name: "a route's scopes",
            edits: &[("scopes = [\"orders/read\"] }", "scopes = [\"orders/write\"] }")],
            plan: &[
                "update route:GET /orders: scopes",
                "update deployment: description",
                "update stage: deployment",
            ],
            writes: &[
                "DELETE restapis/deployments",
                "PATCH restapis/resources/methods",
                "PATCH restapis/stages",
                "POST restapis/deployments",
            ],
            seen: |world| {
                let token = token(world, &["--scope", "orders/read"]);
                assert_eq!(
                    answer(world, "/orders", &token).0,
                    401,
                    "it has the removed scope only"
                );
            },
        },
        Case {
            name: "another function behind a route",
            edits: &[
                (
                    "[api]",
                    "[functions.more]\nsource = \"lambda\"\nruntime = \"nodejs22.x\"\nhandler = \"index.other\"\n\n[api]",
                ),
                ("{ function = \"orders\"", "{ function = \"more\""),
            ],
            plan: &[
                "create role:more",
                "create role-policy:more",
                "create log-group:more",
                "create function:more",
                "update route:GET /orders: uri",
                "create permission:more",
                "update deployment: description",
                "update stage: deployment",
            ],
            writes: &[
                "CreateLogGroup",
                "CreateRole",
                "DELETE restapis/deployments",
                "PATCH restapis/resources/methods/integration",
                "PATCH restapis/stages",
                "POST functions",
                "POST functions/policy",
                "POST restapis/deployments",
                "PutRetentionPolicy",
                "PutRolePolicy",
            ],
            seen: |world| assert_eq!(answer(world, "/orders", &token(world, &[])).1["version"], "other"),
        },
    ]);
}

#[test]
fn a_zip_in_place_of_a_folder_and_another_stack_beside_it() {
    let world = base();
    let code = CODE.replace("version: 1", "version: 'zipped'");
    let package = provision::package::Package::from_files(&[("index.mjs", code.as_bytes())]).unwrap();
    fs_err::write(world.path("code.zip"), &package.zip).unwrap();
    let zipped = BASE.replace("source = \"lambda\"", "source = \"code.zip\"");
    world.file(&zipped);
    world.run(&["up"]).ok();
    assert_eq!(writes(&world), ["PUT functions/code"]);
    is_settled(&world, "source");
    assert_eq!(
        answer(&world, "/orders", &token(&world, &[])).1["version"],
        "zipped"
    );

    let other = zipped.replace("name = \"orders\"", "name = \"stock\"");
    fs_err::write(world.path("stock.toml"), other).unwrap();
    let stock = |args: &[&str]| world.run(&[args, &["--config", "stock.toml"]].concat()).ok();
    let planned = stock(&["plan", "--json"]).json();
    let steps = planned["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["action"] == "create"), "{planned}");
    stock(&["up"]);
    world.proxy.take();
    // Neither sees the other.
    stock(&["plan", "--check"]);
    is_settled(&world, "the first beside the second");
    let elsewhere = zipped.replace(
        "name = \"orders\"",
        "name = \"orders\"\nregion = \"eu-central-1\"",
    );
    world.file(&elsewhere);
    let refused = world.run(&["up"]).code(2);
    assert!(
        refused.stderr.contains("is on record in region eu-west-1"),
        "{}",
        refused.stderr
    );
    assert_eq!(writes(&world), Vec::<String>::new());
    stock(&["down", "--yes"]);
    world.down();
}

/// The code in those records.
const RECORDED_CODE: &str = "export const handler = async () => ({ statusCode: 200, body: \"orders\" });\n";

/// What the last version of an earlier format recorded of a stack, with the names and ids of this run in place of its own.
fn of_earlier_format(recorded: &str, run: &str) -> String {
    let mut text = recorded.to_owned();
    let state = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let (first, run) = (state(&text), state(run));
    let mut exchanged = vec![
        (&first["owner"], &run["owner"]),
        (&first["endpoint"], &run["endpoint"]),
    ];
    let steps = |state: &Value| state["steps"].as_array().unwrap().clone();
    let (old, new) = (steps(&first), steps(&run));
    assert_eq!(old.len(), new.len());
    for (old, new) in old.iter().zip(&new) {
        assert_eq!(old["step"], new["step"]);
        // Fingerprints and the hash in a deployment's description are made of names and ids.
        for place in ["/output", "/desired/environment"] {
            let fields = old.pointer(place).and_then(Value::as_object);
            for (field, value) in fields.into_iter().flatten() {
                exchanged.push((value, &new.pointer(place).unwrap()[field]));
            }
        }
        if old["kind"] == "deployment" {
            exchanged.push((&old["desired"]["description"], &new["desired"]["description"]));
        }
    }
    for (old, new) in exchanged {
        text = text.replace(old.as_str().unwrap(), new.as_str().unwrap());
    }
    text
}

#[test]
fn a_state_of_format_1_is_read_planned_brought_up_to_date_and_deleted() {
    let world = World::of(include_str!("support/format-1.toml"), RECORDED_CODE);
    world.run(&["up"]).ok();
    world.proxy.take();
    let file = world.path("state/orders.json");
    let read = || fs_err::read_to_string(&file).unwrap();
    // As that version left it.
    let state = world.state();
    let authorizer = format!("{}/authorizers/{}", state.api(), state.output("authorizer", "id"));
    world.emulator.patch(
        &authorizer,
        &[("replace", "/authorizerResultTtlInSeconds", "300")],
    );
    let recorded = include_str!("support/format-1.json");
    let first = of_earlier_format(recorded, &read());
    fs_err::write(&file, &first).unwrap();

    world.run(&["status"]).ok();
    assert_eq!(
        plan(&world),
        [
            "update authorizer: result_ttl_seconds",
            "update deployment: description",
            "update stage: deployment"
        ]
    );
    assert_eq!(read(), first, "what only reads leaves it as it is");
    assert_eq!(writes(&world), Vec::<String>::new());

    world.run(&["up"]).ok();
    assert_eq!(
        writes(&world),
        [
            "DELETE restapis/deployments",
            "PATCH restapis/authorizers",
            "PATCH restapis/stages",
            "POST restapis/deployments"
        ]
    );
    is_settled(&world, "brought up to date");
    let live = world.emulator.get("apigateway", &authorizer);
    assert_eq!(live["authorizerResultTtlInSeconds"], 0);
    assert_eq!(world.state().0["format"], provision::state::FORMAT);

    fs_err::write(&file, of_earlier_format(recorded, &read())).unwrap();
    world.down();
}

#[test]
fn a_state_of_format_2_is_read_planned_brought_up_to_date_and_deleted() {
    let world = World::of(include_str!("support/format-2.toml"), RECORDED_CODE);
    world.run(&["up"]).ok();
    let file = world.path("state/orders.json");
    let read = || fs_err::read_to_string(&file).unwrap();
    let second = of_earlier_format(include_str!("support/format-2.json"), &read());
    fs_err::write(&file, &second).unwrap();
    world.proxy.take();

    // Whatever was added since is as AWS has it by default.
    world.run(&["status"]).ok();
    assert_eq!(plan(&world), [""; 0]);
    assert_eq!(read(), second, "what only reads leaves it as it is");
    world.run(&["up"]).ok();
    assert_eq!(writes(&world), Vec::<String>::new());

    fs_err::write(&file, &second).unwrap();
    world.file(&include_str!("support/format-2.toml").replace("payments", "sales"));
    world.run(&["up"]).ok();
    world.proxy.take();
    assert_eq!(world.state().0["format"], provision::state::FORMAT);
    world.proxy.take();
    is_settled(&world, "brought up to date");

    fs_err::write(
        &file,
        of_earlier_format(include_str!("support/format-2.json"), &read()),
    )
    .unwrap();
    world.down();
}

#[test]
fn a_stage_of_others_keeps_its_deployment_and_fails_nothing() {
    let world = base();
    let state = world.state();
    let (api, old) = (state.api(), state.output("deployment", "id"));
    let beta = serde_json::json!({"stageName": "beta", "deploymentId": old});
    world
        .emulator
        .write("apigateway", "POST", &format!("{api}/stages"), &beta);
    // As AWS answers, where the emulator deletes.
    let deployment = format!("DELETE {api}/deployments/{old}");
    let refused = deployment.clone();
    world.proxy.rule(move |request, now| {
        if now == Moment::Before && request.operation() == refused {
            let text = r#"{"message":"Active stages pointing to this deployment must be moved or deleted"}"#;
            return Act::Answer(
                400,
                vec![("x-amzn-errortype", "BadRequestException")],
                text.to_owned(),
            );
        }
        Act::Pass
    });
    world.file(&BASE.replace("[\"orders/read\"] }", "[\"orders/write\"] }"));

    for (made, last) in [(1, "done: "), (0, "nothing changed: ")] {
        let up = world.run(&["up", "--no-verify"]).ok();
        for words in [
            "kept      deployment  ",
            "warning: step deployment is done, and what is out of use stays: ",
            &format!("does not delete deployment {old} of REST API "),
            "while stage beta, which this stack did not make, serves it",
            "hint: if it may go, run `aws apigateway delete-stage --rest-api-id ",
            "--stage-name beta`, then `provision up` again",
            last,
        ] {
            assert!(up.stderr.contains(words), "{words:?} is not in {}", up.stderr);
        }
        let operations: Vec<String> = world.proxy.take().iter().map(Request::operation).collect();
        let count = |operation: &str| operations.iter().filter(|one| *one == operation).count();
        assert_eq!(count(&deployment), 1, "{operations:?}");
        assert_eq!(count(&format!("POST {api}/deployments")), made, "{operations:?}");
        assert_eq!(world.state().step("deployment")["phase"], "retiring");
    }
    let quiet = world.run(&["up", "-q"]).ok().stderr;
    assert!(quiet.starts_with("warning: step deployment"), "{quiet}");
    let status = world.run(&["status"]).code(3).stdout;
    assert!(
        status.contains("unfinished") && status.contains("foreign: stage beta in rest-api"),
        "{status}"
    );
    assert_eq!(plan(&world), ["update deployment"]);

    world.proxy.rule(|_, _| Act::Pass);
    world.emulator.delete("apigateway", &format!("{api}/stages/beta"));
    world.proxy.take();
    world.run(&["up"]).ok();
    assert_eq!(writes(&world), ["DELETE restapis/deployments"]);
    is_settled(&world, "the stage of others is gone");

    world
        .emulator
        .write("apigateway", "POST", &format!("{api}/stages"), &beta);
    let down = world.run(&["down", "--yes"]).ok().stderr;
    assert!(down.contains("foreign   stage beta in rest-api"), "{down}");
    world.emulator.assert_nothing("after down");
}
