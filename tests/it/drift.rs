//! Every managed field, changed by someone else: `status` names exactly that field, and `up` changes it back.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::proxy::{Act, Moment, Request};
use crate::support::world::CODE;
use crate::support::{Emulator, Recorded, World};
use serde_json::{Value, json};

/// The object with more members.
fn with(mut object: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

/// Changes some fields of the pool and leaves the others.
fn pool(emulator: &Emulator, recorded: &Recorded, change: &Value) {
    let live = &emulator.cognito("DescribeUserPool", &recorded.pool())["UserPool"];
    let mut whole = recorded.pool();
    for key in [
        "AdminCreateUserConfig",
        "UserPoolTags",
        "UserPoolTier",
        "DeletionProtection",
        "MfaConfiguration",
    ] {
        whole[key] = live[key].clone();
    }
    emulator.cognito("UpdateUserPool", &with(whole, change));
}

/// The same for the client.
fn client(emulator: &Emulator, recorded: &Recorded, change: &Value) {
    let id = recorded.client("client:app");
    let mut whole = emulator.cognito("DescribeUserPoolClient", &id)["UserPoolClient"].clone();
    for key in ["ClientSecret", "CreationDate", "LastModifiedDate"] {
        whole.as_object_mut().unwrap().remove(key);
    }
    emulator.cognito("UpdateUserPoolClient", &with(whole, change));
}

fn configuration(emulator: &Emulator, recorded: &Recorded, change: &Value) {
    emulator.write(
        "lambda",
        "PUT",
        &format!("{}/configuration", recorded.function("function:user")),
        change,
    );
}

fn permission(emulator: &Emulator, recorded: &Recorded, source_arn: &str, source_account: &str) {
    let statement = recorded.desired("permission:user", "statement");
    let policy = format!("{}/policy", recorded.function("function:user"));
    emulator.delete("lambda", &format!("{policy}/{statement}"));
    let grant = json!({
        "StatementId": statement, "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com",
        "SourceArn": source_arn, "SourceAccount": source_account,
    });
    emulator.write("lambda", "POST", &policy, &grant);
}

fn iam(emulator: &Emulator, recorded: &Recorded, action: &str, more: &str) {
    let role = recorded.desired("role:user", "name");
    emulator.iam(&format!("Action={action}&RoleName={role}&{more}"));
}

fn integration(emulator: &Emulator, recorded: &Recorded, patches: &[(&str, &str, &str)]) {
    let path = format!("{}/integration", recorded.method("route:GET /user"));
    emulator.patch(&path, patches);
}

type Edit = fn(&Emulator, &Recorded);

/// The step, the field, and the edit.
const EDITS: &[(&str, &str, Edit)] = &[
    ("role:user", "trust", |emulator, recorded| {
        let document = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D";
        iam(
            emulator,
            recorded,
            "UpdateAssumeRolePolicy",
            &format!("PolicyDocument={document}"),
        );
    }),
    ("role:user", "tags", |emulator, recorded| {
        iam(
            emulator,
            recorded,
            "TagRole",
            "Tags.member.1.Key=provision%3Astack&Tags.member.1.Value=other",
        );
    }),
    ("role:user", "permissions_boundary", |emulator, recorded| {
        let arn = "arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FPowerUserAccess";
        iam(
            emulator,
            recorded,
            "PutRolePermissionsBoundary",
            &format!("PermissionsBoundary={arn}"),
        );
    }),
    ("role-policy:user", "document", |emulator, recorded| {
        let document = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22logs%3APutLogEvents%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
        iam(
            emulator,
            recorded,
            "PutRolePolicy",
            &format!("PolicyName=logs&PolicyDocument={document}"),
        );
    }),
    ("log-group:user", "retention_days", |emulator, recorded| {
        let name = recorded.desired("log-group:user", "name");
        let target = "Logs_20140328.PutRetentionPolicy";
        emulator.json(target, &json!({"logGroupName": name, "retentionInDays": 30}));
    }),
    ("function:user", "role", |emulator, recorded| {
        let role = recorded
            .output("role:user", "arn")
            .replace(":role/", ":role/other-");
        configuration(emulator, recorded, &json!({ "Role": role }));
    }),
    ("function:user", "runtime", |emulator, recorded| {
        configuration(emulator, recorded, &json!({"Runtime": "nodejs20.x"}));
    }),
    ("function:user", "handler", |emulator, recorded| {
        configuration(emulator, recorded, &json!({"Handler": "index.other"}));
    }),
    ("function:user", "memory_mb", |emulator, recorded| {
        configuration(emulator, recorded, &json!({"MemorySize": 256}));
    }),
    ("function:user", "timeout_seconds", |emulator, recorded| {
        configuration(emulator, recorded, &json!({"Timeout": 3}));
    }),
    ("function:user", "environment", |emulator, recorded| {
        configuration(
            emulator,
            recorded,
            &json!({"Environment": {"Variables": {"A": "b"}}}),
        );
    }),
    ("function:user", "description", |emulator, recorded| {
        configuration(emulator, recorded, &json!({"Description": "Theirs"}));
    }),
    ("function:user", "ephemeral_storage_mb", |emulator, recorded| {
        configuration(emulator, recorded, &json!({"EphemeralStorage": {"Size": 600}}));
    }),
    ("function:user", "tracing", |emulator, recorded| {
        configuration(emulator, recorded, &json!({"TracingConfig": {"Mode": "Active"}}));
    }),
    ("function:user", "log_format", |emulator, recorded| {
        let group = recorded.desired("log-group:user", "name");
        let logging = json!({"LogFormat": "JSON", "LogGroup": group});
        configuration(emulator, recorded, &json!({"LoggingConfig": logging}));
    }),
    ("function:user", "layers", |emulator, recorded| {
        let layer = emulator.layer("theirs");
        configuration(emulator, recorded, &json!({"Layers": [layer]}));
    }),
    ("function:user", "kms_key", |emulator, recorded| {
        let key = "arn:aws:kms:eu-west-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        configuration(emulator, recorded, &json!({"KMSKeyArn": key}));
    }),
    ("function:user", "vpc", |emulator, recorded| {
        let network = json!({"SubnetIds": ["subnet-0a1b2c3d"], "SecurityGroupIds": ["sg-0a1b2c3d"]});
        configuration(emulator, recorded, &json!({"VpcConfig": network}));
    }),
    ("function:user", "reserved_concurrency", |emulator, recorded| {
        let path = format!(
            "/2017-10-31/functions/{}/concurrency",
            recorded.desired("function:user", "name")
        );
        emulator.write(
            "lambda",
            "PUT",
            &path,
            &json!({"ReservedConcurrentExecutions": 7}),
        );
    }),
    ("function:user", "tags", |emulator, recorded| {
        let path = format!("/2017-03-31/tags/{}", recorded.output("function:user", "arn"));
        emulator.write(
            "lambda",
            "POST",
            &path,
            &json!({"Tags": {"provision:stack": "other"}}),
        );
    }),
    ("permission:user", "source_arn", |emulator, recorded| {
        let arn = recorded
            .desired("permission:user", "source_arn")
            .replace("/prod/", "/other/");
        permission(
            emulator,
            recorded,
            &arn,
            recorded.desired("permission:user", "source_account"),
        );
    }),
    ("permission:user", "source_account", |emulator, recorded| {
        permission(
            emulator,
            recorded,
            recorded.desired("permission:user", "source_arn"),
            "111111111111",
        );
    }),
    ("user-pool", "admin_create_user_only", |emulator, recorded| {
        pool(
            emulator,
            recorded,
            &json!({"AdminCreateUserConfig": {"AllowAdminCreateUserOnly": false}}),
        );
    }),
    ("user-pool", "tier", |emulator, recorded| {
        pool(emulator, recorded, &json!({"UserPoolTier": "PLUS"}));
    }),
    ("user-pool", "deletion_protection", |emulator, recorded| {
        pool(emulator, recorded, &json!({"DeletionProtection": "ACTIVE"}));
    }),
    ("user-pool", "tags", |emulator, recorded| {
        let arn = recorded.output("user-pool", "arn");
        let tags = json!({"ResourceArn": arn, "Tags": {"provision:stack": "other"}});
        emulator.cognito("TagResource", &tags);
    }),
    (
        "resource-server:OauthResourceServer",
        "name",
        |emulator, recorded| {
            let scopes = json!([
                {"ScopeName": "user.read", "ScopeDescription": "user read scope"},
                {"ScopeName": "user.write", "ScopeDescription": "user write scope"},
            ]);
            let server = json!({"Identifier": "OauthResourceServer", "Name": "other", "Scopes": scopes});
            emulator.cognito("UpdateResourceServer", &with(recorded.pool(), &server));
        },
    ),
    (
        "resource-server:OauthResourceServer",
        "scopes",
        |emulator, recorded| {
            let scopes = json!([{"ScopeName": "user.read", "ScopeDescription": "other"}]);
            let server =
                json!({"Identifier": "OauthResourceServer", "Name": "OauthResourceServer", "Scopes": scopes});
            emulator.cognito("UpdateResourceServer", &with(recorded.pool(), &server));
        },
    ),
    ("client:app", "name", |emulator, recorded| {
        client(emulator, recorded, &json!({"ClientName": "other"}));
    }),
    ("client:app", "scopes", |emulator, recorded| {
        client(
            emulator,
            recorded,
            &json!({"AllowedOAuthScopes": ["OauthResourceServer/user.read"]}),
        );
    }),
    ("client:app", "flows", |emulator, recorded| {
        client(emulator, recorded, &json!({"AllowedOAuthFlows": ["implicit"]}));
    }),
    ("client:app", "explicit_auth_flows", |emulator, recorded| {
        client(
            emulator,
            recorded,
            &json!({"ExplicitAuthFlows": ["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"]}),
        );
    }),
    ("client:app", "access_token_seconds", |emulator, recorded| {
        client(emulator, recorded, &json!({"AccessTokenValidity": 600}));
    }),
    ("client:app", "refresh_token_days", |emulator, recorded| {
        client(emulator, recorded, &json!({"RefreshTokenValidity": 30}));
    }),
    ("client:app", "token_revocation", |emulator, recorded| {
        client(emulator, recorded, &json!({"EnableTokenRevocation": false}));
    }),
    (
        "client:app",
        "prevent_user_existence_errors",
        |emulator, recorded| {
            client(
                emulator,
                recorded,
                &json!({"PreventUserExistenceErrors": "LEGACY"}),
            );
        },
    ),
    ("rest-api", "name", |emulator, recorded| {
        emulator.patch(&recorded.api(), &[("replace", "/name", "other")]);
    }),
    ("rest-api", "description", |emulator, recorded| {
        emulator.patch(&recorded.api(), &[("replace", "/description", "other")]);
    }),
    ("rest-api", "default_endpoint_closed", |emulator, recorded| {
        let closed = [("replace", "/disableExecuteApiEndpoint", "true")];
        emulator.patch(&recorded.api(), &closed);
    }),
    ("rest-api", "security_policy", |emulator, recorded| {
        let policy = [("replace", "/securityPolicy", "SecurityPolicy_TLS13_1_3_2025_09")];
        emulator.patch(&recorded.api(), &policy);
    }),
    ("rest-api", "tags", |emulator, recorded| {
        let path = format!("/tags/arn:aws:apigateway:eu-west-1::{}", recorded.api());
        emulator.write(
            "apigateway",
            "PUT",
            &path,
            &json!({"tags": {"provision:stack": "other"}}),
        );
    }),
    ("authorizer", "name", |emulator, recorded| {
        let path = format!(
            "{}/authorizers/{}",
            recorded.api(),
            recorded.output("authorizer", "id")
        );
        emulator.patch(&path, &[("replace", "/name", "other")]);
    }),
    ("authorizer", "pool_arns", |emulator, recorded| {
        let path = format!(
            "{}/authorizers/{}",
            recorded.api(),
            recorded.output("authorizer", "id")
        );
        let other = format!("{}other", recorded.output("user-pool", "arn"));
        emulator.patch(&path, &[("add", "/providerARNs", &other)]);
    }),
    ("authorizer", "identity_source", |emulator, recorded| {
        let path = format!(
            "{}/authorizers/{}",
            recorded.api(),
            recorded.output("authorizer", "id")
        );
        emulator.patch(
            &path,
            &[("replace", "/identitySource", "method.request.header.Token")],
        );
    }),
    ("authorizer", "result_ttl_seconds", |emulator, recorded| {
        let path = format!(
            "{}/authorizers/{}",
            recorded.api(),
            recorded.output("authorizer", "id")
        );
        emulator.patch(&path, &[("replace", "/authorizerResultTtlInSeconds", "300")]);
    }),
    ("path:/user", "part", |emulator, recorded| {
        let path = format!(
            "{}/resources/{}",
            recorded.api(),
            recorded.output("path:/user", "id")
        );
        emulator.patch(&path, &[("replace", "/pathPart", "other")]);
    }),
    ("route:GET /user", "scopes", |emulator, recorded| {
        let other = "OauthResourceServer/user.write";
        emulator.patch(
            &recorded.method("route:GET /user"),
            &[("add", "/authorizationScopes", other)],
        );
    }),
    ("route:GET /user", "authorizer", |emulator, recorded| {
        emulator.patch(
            &recorded.method("route:GET /user"),
            &[("replace", "/authorizationType", "NONE")],
        );
    }),
    ("route:GET /user", "uri", |emulator, recorded| {
        let path = format!("{}/integration", recorded.method("route:GET /user"));
        let other = recorded
            .desired("route:GET /user", "uri")
            .replace(":function:", ":function:other-");
        emulator.patch(&path, &[("replace", "/uri", &other)]);
    }),
    ("route:GET /user", "integration", |emulator, recorded| {
        integration(emulator, recorded, &[("replace", "/type", "MOCK")]);
    }),
    ("route:GET /user", "integration_verb", |emulator, recorded| {
        integration(emulator, recorded, &[("replace", "/httpMethod", "GET")]);
    }),
    ("route:GET /user", "request_parameters", |emulator, recorded| {
        let parameter = "/requestParameters/method.request.header.X-Other";
        emulator.patch(&recorded.method("route:GET /user"), &[("add", parameter, "true")]);
    }),
    ("route:GET /user", "mappings", |emulator, recorded| {
        let mapping = "/requestParameters/integration.request.header.X-Other";
        integration(emulator, recorded, &[("add", mapping, "'other'")]);
    }),
    ("route:GET /user", "timeout_millis", |emulator, recorded| {
        integration(emulator, recorded, &[("replace", "/timeoutInMillis", "50")]);
    }),
    ("route:GET /user", "vpc_link", |emulator, recorded| {
        let link = [
            ("replace", "/connectionType", "VPC_LINK"),
            ("replace", "/connectionId", "other"),
        ];
        integration(emulator, recorded, &link);
    }),
    ("route:GET /user", "target", |emulator, recorded| {
        integration(
            emulator,
            recorded,
            &[("replace", "/integrationTarget", "arn:aws:other")],
        );
    }),
    ("deployment", "description", |emulator, recorded| {
        let path = format!(
            "{}/deployments/{}",
            recorded.api(),
            recorded.output("deployment", "id")
        );
        emulator.patch(&path, &[("replace", "/description", "other")]);
    }),
    ("stage", "deployment", |emulator, recorded| {
        let path = format!("{}/deployments", recorded.api());
        let other = emulator.write("apigateway", "POST", &path, &json!({"description": "by hand"}));
        let stage = format!("{}/stages/prod", recorded.api());
        emulator.patch(
            &stage,
            &[("replace", "/deploymentId", other["id"].as_str().unwrap())],
        );
    }),
    ("stage", "throttle", |emulator, recorded| {
        let stage = format!("{}/stages/prod", recorded.api());
        emulator.patch(&stage, &[("replace", "/*/*/throttling/rateLimit", "7")]);
    }),
    ("stage", "access_log_destination", |emulator, recorded| {
        let stage = format!("{}/stages/prod", recorded.api());
        let theirs = "arn:aws:logs:eu-west-1:000000000000:log-group:theirs";
        emulator.patch(
            &stage,
            &[("replace", "/accessLogSettings/destinationArn", theirs)],
        );
    }),
    ("stage", "access_log_format", |emulator, recorded| {
        let stage = format!("{}/stages/prod", recorded.api());
        let theirs = "$context.requestId";
        emulator.patch(&stage, &[("replace", "/accessLogSettings/format", theirs)]);
    }),
    ("stage", "metrics", |emulator, recorded| {
        let stage = format!("{}/stages/prod", recorded.api());
        emulator.patch(&stage, &[("replace", "/*/*/metrics/enabled", "true")]);
    }),
    ("stage", "tracing", |emulator, recorded| {
        let stage = format!("{}/stages/prod", recorded.api());
        emulator.patch(&stage, &[("replace", "/tracingEnabled", "true")]);
    }),
    ("stage", "tags", |emulator, recorded| {
        let path = format!(
            "/tags/arn:aws:apigateway:eu-west-1::{}/stages/prod",
            recorded.api()
        );
        emulator.write(
            "apigateway",
            "PUT",
            &path,
            &json!({"tags": {"provision:stack": "other"}}),
        );
    }),
];

/// Fields that nobody else can change: they are how the resource is found, or AWS does not change them.
const FOUND_BY: &[&str] = &[
    "role:user/name",
    "role:user/path",
    "role-policy:user/role",
    "role-policy:user/name",
    "log-group:user/name",
    "function:user/name",
    // With its role: see `a_role_that_was_made_again_is_told_and_its_function_made_again`.
    "function:user/role_id",
    // AWS does not return it.
    "function:user/rights",
    "permission:user/function",
    "permission:user/statement",
    "pool-domain/pool",
    "pool-domain/prefix",
    "resource-server:OauthResourceServer/pool",
    "resource-server:OauthResourceServer/identifier",
    "resource-server:OauthResourceServer/mark",
    "client:app/pool",
    "client:app/mark",
    "authorizer/api",
    "path:/user/api",
    "path:/user/parent",
    "route:GET /user/api",
    "route:GET /user/path",
    "route:GET /user/verb",
    "deployment/api",
    "stage/api",
    "stage/name",
];

/// Fields that the emulator cannot change or does not answer; the mocks in src/resources test them.
const NOT_HERE: &[&str] = &[
    "log-group:user/tags",
    "function:user/architecture",
    "function:user/code_sha256",
    "function:user/code_size",
    "user-pool/name",
    "user-pool/issuer",
    "rest-api/endpoint",
];

#[test]
fn every_field_that_someone_else_changed_is_named_and_changed_back() {
    let world = World::new();
    let run = |args: &[&str]| world.run(args);
    run(&["up"]).ok();
    let whole = world.portrait();

    for (step, field, edit) in EDITS {
        let place_of_it = format!("{step}, {field}");
        let state = world.state();
        edit(&world.emulator, &state);

        // Seen only where the test fails.
        eprintln!("{place_of_it}");
        let status = run(&["status", "--json"]).code(3).json();
        let drifted: Vec<String> = (status["resources"].as_array().unwrap().iter())
            .filter(|line| line["state"] != "ok")
            .map(|line| {
                let fields = line["drifted"].as_array().map_or(&[][..], Vec::as_slice);
                let fields: Vec<&str> = fields
                    .iter()
                    .map(|field| field["field"].as_str().unwrap())
                    .collect();
                format!("{}, {}", line["step"].as_str().unwrap(), fields.join(", "))
            })
            .collect();
        assert_eq!(drifted, std::slice::from_ref(&place_of_it));

        let planned = run(&["plan", "--check", "--json"]).code(3).json();
        let steps = planned["steps"].as_array().unwrap();
        let planned = steps.iter().find(|planned| planned["step"] == *step).unwrap();
        let fields = planned["fields"].as_array().unwrap();
        assert!(
            fields
                .iter()
                .any(|planned| planned["field"] == *field && planned["drifted"] == true),
            "{place_of_it}: {planned}"
        );
        run(&["plan", "--check", "--no-repair"]).ok();

        run(&["up", "--no-verify"]).ok();
        run(&["status"]).ok();
        run(&["plan", "--check"]).ok();
        let mended = world.portrait();
        if *place_of_it == *"stage, deployment" {
            // Someone else's deployment is not ours to delete.
            assert_ne!(mended, whole);
        } else {
            assert_eq!(mended, whole, "{place_of_it}");
        }
        if place_of_it == "stage, deployment" {
            remove_foreign_deployment(&world.emulator, &state);
        }
    }

    let edited: Vec<String> = EDITS
        .iter()
        .map(|(step, field, _)| format!("{step}/{field}"))
        .collect();
    for record in world.state().steps() {
        for field in record["desired"].as_object().unwrap().keys() {
            let field = format!("{}/{field}", record["step"].as_str().unwrap());
            assert!(
                edited.contains(&field) || FOUND_BY.contains(&&*field) || NOT_HERE.contains(&&*field),
                "no edit of {field}"
            );
        }
    }
    world.down();
}

fn remove_foreign_deployment(emulator: &Emulator, recorded: &Recorded) {
    let deployments = emulator.get("apigateway", &format!("{}/deployments", recorded.api()));
    for deployment in deployments["item"].as_array().unwrap() {
        if deployment["description"] == "by hand" {
            let id = deployment["id"].as_str().unwrap();
            emulator.delete("apigateway", &format!("{}/deployments/{id}", recorded.api()));
        }
    }
}

#[test]
fn a_field_that_aws_does_not_answer_is_told_as_not_compared() {
    let world = World::new();
    world.run(&["up"]).ok();
    let status = world.run(&["status", "--json"]).ok().json();
    let lines = status["resources"].as_array().unwrap();
    let group = lines
        .iter()
        .find(|line| line["step"] == "log-group:user")
        .unwrap();
    assert_eq!(group["not_compared"], json!(["tags"]));
    let table = world.run(&["status"]).ok().stdout;
    assert!(table.contains("ok  (not compared: tags)"), "{table}");
}

const BEFORE: &str = r#"
[stack]
name = "orders"
[resource_servers.orders.scopes]
read = "Read orders"
[clients.billing]
scopes = ["orders/read"]
[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
[api]
stage = "prod"
[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"#;
const MORE: &str = r#"
"POST /orders" = { function = "orders", scopes = ["stock/write"] }
[resource_servers.stock.scopes]
write = "Write stock"
"#;

#[test]
fn what_someone_else_made_is_brought_to_what_the_file_says_or_refused_by_its_name() {
    let world = World::of(BEFORE, CODE);
    let emulator = &world.emulator;
    // As AWS answers, where the emulator overwrites.
    world.proxy.rule(|request, now| {
        let operation = request.operation();
        let is_put = operation.starts_with("PUT ") && operation.ends_with("/methods/POST");
        let is_taken =
            is_put || operation.ends_with("/stages") && request.body.windows(4).any(|part| part == b"beta");
        if now == Moment::Before && request.is_write() && is_taken {
            let kind = vec![("x-amzn-errortype", "ConflictException")];
            return Act::Answer(409, kind, r#"{"message":"it exists already"}"#.to_owned());
        }
        Act::Pass
    });
    world.run(&["up"]).ok();

    let first = world.state();
    let pool = first.pool();
    let orders = first.output("path:/orders", "id");
    let method = format!("{}/resources/{orders}/methods/POST", first.api());
    let open = json!({"authorizationType": "NONE"});
    emulator.write("apigateway", "PUT", &method, &open);
    let admin = json!([{"ScopeName": "admin", "ScopeDescription": "All"}]);
    let server = json!({"Identifier": "stock", "Name": "Stock", "Scopes": admin});
    emulator.cognito("CreateResourceServer", &with(pool.clone(), &server));

    world.file(&format!("{BEFORE}{MORE}"));
    let events = world.run(&["up", "--no-verify", "--json"]).ok().events();
    let mut adopted: Vec<&str> = (events.iter())
        .filter(|event| event["outcome"] == "adopted")
        .map(|event| event["step"].as_str().unwrap())
        .collect();
    adopted.sort_unstable();
    assert_eq!(adopted, ["resource-server:stock", "route:POST /orders"]);
    let requests = world.proxy.take();
    let position = |verb: &str, end: &str| {
        let is_it = |operation: String| operation.starts_with(verb) && operation.ends_with(end);
        requests.iter().position(|request| is_it(request.operation()))
    };
    let guarded = position("PATCH ", "/methods/POST").unwrap();
    assert!(position("PUT ", "/methods/POST/integration").unwrap() > guarded);
    world.assert_settled("after the adoption");
    let live = emulator.get("apigateway", &method);
    let guard = (&live["authorizationType"], &live["authorizationScopes"]);
    assert_eq!(guard, (&json!("COGNITO_USER_POOLS"), &json!(["stock/write"])));
    let server = json!({"Identifier": "stock"});
    let server = &emulator.cognito("DescribeResourceServer", &with(pool, &server))["ResourceServer"];
    let write = json!([{"ScopeName": "write", "ScopeDescription": "Write stock"}]);
    assert_eq!(server["Scopes"], write);

    let deployment = world.state().output("deployment", "id").to_owned();
    let stages = format!("{}/stages", first.api());
    let theirs = json!({"stageName": "beta", "deploymentId": deployment, "description": "theirs"});
    emulator.write("apigateway", "POST", &stages, &theirs);
    world.file(&BEFORE.replace("prod", "beta"));
    let refused = world.run(&["up", "--no-verify"]).code(1).stderr;
    let words = format!("stage beta of REST API {}", first.output("rest-api", "id"));
    assert!(refused.contains(&words), "{refused}");
    let live = emulator.get("apigateway", &format!("{stages}/beta"));
    assert_eq!(live["description"], "theirs");
    assert_eq!(live["tags"].get("provision:owner"), None);
    world.down();
}

#[test]
fn a_role_that_was_made_again_is_told_and_its_function_made_again() {
    let variables = "environment = { TABLE = \"orders\" }\nhandler = ";
    let file = BEFORE.replace("handler = ", variables);
    let world = World::of(&file, CODE);
    let (emulator, proxy) = (&world.emulator, &world.proxy);
    let run = |args: &[&str]| world.run(args);
    run(&["up"]).ok();
    proxy.take();

    let not_ok = || {
        let status = run(&["status", "--json"]).code(3).json();
        let lines = status["resources"].as_array().unwrap().clone();
        let lines = lines.iter().filter(|line| line["state"] != "ok");
        let told = lines.map(|line| {
            let field = line["drifted"][0]["field"].as_str().unwrap_or_default();
            format!(
                "{} {} {field}",
                line["step"].as_str().unwrap(),
                line["state"].as_str().unwrap()
            )
        });
        told.collect::<Vec<_>>()
    };
    let name = world.state().desired("role:orders", "name").to_owned();
    let function = format!("/2015-03-31/functions/{name}");
    let delete_role = || {
        emulator.iam(&format!(
            "Action=DeleteRolePolicy&RoleName={name}&PolicyName=logs"
        ));
        emulator.iam(&format!("Action=DeleteRole&RoleName={name}"));
    };
    let is_mended = |before: &str| {
        let operations: Vec<String> = proxy.take().iter().map(Request::operation).collect();
        let position = |operation: &str| operations.iter().position(|one| one == operation);
        let deleted = position(&format!("DELETE {function}"));
        let created = position("POST /2015-03-31/functions");
        assert!(deleted.is_some() && deleted < created, "{operations:?}");
        let after = world.state();
        let role = after.output("role:orders", "id");
        assert_ne!(role, before);
        assert_eq!(after.desired("function:orders", "role_id"), role);
        world.assert_settled("after the replacement");
        let live = emulator.get("lambda", &function);
        assert_eq!(
            live["Configuration"]["Environment"]["Variables"]["TABLE"],
            "orders"
        );
        proxy.take();
    };

    let before = world.state().output("role:orders", "id").to_owned();
    delete_role();
    let missing = ["role:orders missing ", "role-policy:orders missing "];
    assert_eq!(not_ok(), missing);
    run(&["plan", "--check", "--no-repair"]).code(3);
    run(&["up", "--no-verify"]).ok();
    is_mended(&before);

    // One that IAM does not show for a moment is not another role.
    let is_hidden = AtomicBool::new(true);
    proxy.rule(move |request, now| {
        let hides = now == Moment::Before && request.operation() == "GetRole";
        if hides && is_hidden.swap(false, Ordering::SeqCst) {
            let text = "<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>not found</Message></Error></ErrorResponse>";
            return Act::Answer(404, vec![("content-type", "text/xml")], text.to_owned());
        }
        Act::Pass
    });
    let up = run(&["up", "--no-verify"]).ok();
    assert!(up.stderr.contains("adopted   role:orders"), "{}", up.stderr);
    let writes = proxy.take().into_iter().filter(Request::is_write);
    assert_eq!(
        writes.map(|request| request.operation()).collect::<Vec<_>>(),
        ["CreateRole"]
    );

    // By somebody who gave it our tags; and a run that comes no further than the role.
    let state = world.state();
    let before = state.output("role:orders", "id").to_owned();
    let trust = state.step("role:orders")["desired"]["trust"].to_string();
    let trust = percent_encoding::utf8_percent_encode(&trust, percent_encoding::NON_ALPHANUMERIC);
    let owner = state.owner();
    delete_role();
    emulator.iam(&format!(
        "Action=CreateRole&RoleName={name}&AssumeRolePolicyDocument={trust}&Tags.member.1.Key=provision%3Aowner\
         &Tags.member.1.Value={owner}&Tags.member.2.Key=provision%3Astack&Tags.member.2.Value=orders"
    ));
    assert_eq!(
        not_ok(),
        [&missing[..], &["function:orders drifted role_id"]].concat()
    );
    let refused = format!("DELETE {function}");
    proxy.rule(move |request, now| {
        if now == Moment::Before && request.operation() == refused {
            let kind = vec![("x-amzn-errortype", "AccessDeniedException")];
            return Act::Answer(403, kind, r#"{"message":"not now"}"#.to_owned());
        }
        Act::Pass
    });
    run(&["up", "--no-verify"]).code(1);
    proxy.rule(|_, _| Act::Pass);
    assert_ne!(world.state().output("role:orders", "id"), before);
    run(&["up", "--no-verify"]).ok();
    is_mended(&before);

    let before = world.state().output("role:orders", "id").to_owned();
    let plan = run(&["plan", "--json", "--replace", "role:orders"]).ok().json();
    let replaced = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["action"] == "replace");
    let replaced: Vec<&str> = replaced.map(|step| step["step"].as_str().unwrap()).collect();
    let with_it = [
        "role:orders",
        "role-policy:orders",
        "function:orders",
        "permission:orders",
    ];
    assert_eq!(replaced, with_it);
    run(&["up", "--no-verify", "--replace", "role:orders"]).ok();
    is_mended(&before);
    world.down();
}
