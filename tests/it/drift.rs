//! Every managed field, changed by another hand: `status` names exactly that field, and `up` changes it back.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::proxy::{Act, Moment, Proxy, Request};
use crate::support::{Hand, Place};
use serde_json::{Value, json};

/// What is on record of a stack, to find what is to be changed.
struct Recorded(Value);

impl Recorded {
    fn step(&self, step: &str) -> &Value {
        let steps = self.0["steps"].as_array().unwrap();
        steps.iter().find(|record| record["step"] == step).unwrap()
    }

    fn output(&self, step: &str, field: &str) -> &str {
        self.step(step)["output"][field].as_str().unwrap()
    }

    fn desired(&self, step: &str, field: &str) -> &str {
        self.step(step)["desired"][field].as_str().unwrap()
    }

    fn pool(&self) -> Value {
        json!({"UserPoolId": self.output("user-pool", "id")})
    }

    fn api(&self) -> String {
        format!("/restapis/{}", self.output("rest-api", "id"))
    }

    fn function(&self) -> String {
        format!("/2015-03-31/functions/{}", self.desired("function:user", "name"))
    }

    fn method(&self) -> String {
        format!(
            "{}/resources/{}/methods/GET",
            self.api(),
            self.output("path:/user", "id")
        )
    }
}

/// The same object with more in it.
fn with(mut object: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

/// Changes one thing of the pool as a careful hand does: all else as it is.
fn pool(hand: &Hand, recorded: &Recorded, change: &Value) {
    let live = &hand.cognito("DescribeUserPool", &recorded.pool())["UserPool"];
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
    hand.cognito("UpdateUserPool", &with(whole, change));
}

/// The same for the client.
fn client(hand: &Hand, recorded: &Recorded, change: &Value) {
    let id = with(
        recorded.pool(),
        &json!({"ClientId": recorded.output("client:app", "client_id")}),
    );
    let mut whole = hand.cognito("DescribeUserPoolClient", &id)["UserPoolClient"].clone();
    for key in ["ClientSecret", "CreationDate", "LastModifiedDate"] {
        whole.as_object_mut().unwrap().remove(key);
    }
    hand.cognito("UpdateUserPoolClient", &with(whole, change));
}

fn configuration(hand: &Hand, recorded: &Recorded, change: &Value) {
    hand.write(
        "lambda",
        "PUT",
        &format!("{}/configuration", recorded.function()),
        change,
    );
}

fn permission(hand: &Hand, recorded: &Recorded, source_arn: &str, source_account: &str) {
    let statement = recorded.desired("permission:user", "statement");
    let policy = format!("{}/policy", recorded.function());
    hand.delete("lambda", &format!("{policy}/{statement}"));
    let grant = json!({
        "StatementId": statement, "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com",
        "SourceArn": source_arn, "SourceAccount": source_account,
    });
    hand.write("lambda", "POST", &policy, &grant);
}

fn iam(hand: &Hand, recorded: &Recorded, action: &str, more: &str) {
    let role = recorded.desired("role:user", "name");
    hand.iam(&format!("Action={action}&RoleName={role}&{more}"));
}

type Edit = fn(&Hand, &Recorded);

/// The step, the field, and the edit.
const EDITS: &[(&str, &str, Edit)] = &[
    ("role:user", "trust", |hand, recorded| {
        let document = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D";
        iam(
            hand,
            recorded,
            "UpdateAssumeRolePolicy",
            &format!("PolicyDocument={document}"),
        );
    }),
    ("role:user", "tags", |hand, recorded| {
        iam(
            hand,
            recorded,
            "TagRole",
            "Tags.member.1.Key=provision%3Astack&Tags.member.1.Value=other",
        );
    }),
    ("role-policy:user", "document", |hand, recorded| {
        let document = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22logs%3APutLogEvents%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
        iam(
            hand,
            recorded,
            "PutRolePolicy",
            &format!("PolicyName=logs&PolicyDocument={document}"),
        );
    }),
    ("log-group:user", "retention_days", |hand, recorded| {
        let name = recorded.desired("log-group:user", "name");
        let target = "Logs_20140328.PutRetentionPolicy";
        hand.json(target, &json!({"logGroupName": name, "retentionInDays": 30}));
    }),
    ("function:user", "role", |hand, recorded| {
        let role = recorded
            .output("role:user", "arn")
            .replace(":role/", ":role/other-");
        configuration(hand, recorded, &json!({ "Role": role }));
    }),
    ("function:user", "runtime", |hand, recorded| {
        configuration(hand, recorded, &json!({"Runtime": "nodejs20.x"}));
    }),
    ("function:user", "handler", |hand, recorded| {
        configuration(hand, recorded, &json!({"Handler": "index.other"}));
    }),
    ("function:user", "memory_mb", |hand, recorded| {
        configuration(hand, recorded, &json!({"MemorySize": 256}));
    }),
    ("function:user", "timeout_seconds", |hand, recorded| {
        configuration(hand, recorded, &json!({"Timeout": 3}));
    }),
    ("function:user", "environment", |hand, recorded| {
        configuration(hand, recorded, &json!({"Environment": {"Variables": {"A": "b"}}}));
    }),
    ("function:user", "tags", |hand, recorded| {
        let path = format!("/2017-03-31/tags/{}", recorded.output("function:user", "arn"));
        hand.write(
            "lambda",
            "POST",
            &path,
            &json!({"Tags": {"provision:stack": "other"}}),
        );
    }),
    ("permission:user", "source_arn", |hand, recorded| {
        let arn = recorded
            .desired("permission:user", "source_arn")
            .replace("/prod/", "/other/");
        permission(
            hand,
            recorded,
            &arn,
            recorded.desired("permission:user", "source_account"),
        );
    }),
    ("permission:user", "source_account", |hand, recorded| {
        permission(
            hand,
            recorded,
            recorded.desired("permission:user", "source_arn"),
            "111111111111",
        );
    }),
    ("user-pool", "admin_create_user_only", |hand, recorded| {
        pool(
            hand,
            recorded,
            &json!({"AdminCreateUserConfig": {"AllowAdminCreateUserOnly": false}}),
        );
    }),
    ("user-pool", "tier", |hand, recorded| {
        pool(hand, recorded, &json!({"UserPoolTier": "PLUS"}));
    }),
    ("user-pool", "deletion_protection", |hand, recorded| {
        pool(hand, recorded, &json!({"DeletionProtection": "ACTIVE"}));
    }),
    ("user-pool", "tags", |hand, recorded| {
        let arn = recorded.output("user-pool", "arn");
        let tags = json!({"ResourceArn": arn, "Tags": {"provision:stack": "other"}});
        hand.cognito("TagResource", &tags);
    }),
    ("resource-server:OauthResourceServer", "name", |hand, recorded| {
        let scopes = json!([
            {"ScopeName": "user.read", "ScopeDescription": "user read scope"},
            {"ScopeName": "user.write", "ScopeDescription": "user write scope"},
        ]);
        let server = json!({"Identifier": "OauthResourceServer", "Name": "other", "Scopes": scopes});
        hand.cognito("UpdateResourceServer", &with(recorded.pool(), &server));
    }),
    (
        "resource-server:OauthResourceServer",
        "scopes",
        |hand, recorded| {
            let scopes = json!([{"ScopeName": "user.read", "ScopeDescription": "other"}]);
            let server =
                json!({"Identifier": "OauthResourceServer", "Name": "OauthResourceServer", "Scopes": scopes});
            hand.cognito("UpdateResourceServer", &with(recorded.pool(), &server));
        },
    ),
    ("client:app", "name", |hand, recorded| {
        client(hand, recorded, &json!({"ClientName": "other"}));
    }),
    ("client:app", "scopes", |hand, recorded| {
        client(
            hand,
            recorded,
            &json!({"AllowedOAuthScopes": ["OauthResourceServer/user.read"]}),
        );
    }),
    ("client:app", "flows", |hand, recorded| {
        client(hand, recorded, &json!({"AllowedOAuthFlows": ["implicit"]}));
    }),
    ("client:app", "explicit_auth_flows", |hand, recorded| {
        client(
            hand,
            recorded,
            &json!({"ExplicitAuthFlows": ["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"]}),
        );
    }),
    ("client:app", "access_token_seconds", |hand, recorded| {
        client(hand, recorded, &json!({"AccessTokenValidity": 600}));
    }),
    ("client:app", "refresh_token_days", |hand, recorded| {
        client(hand, recorded, &json!({"RefreshTokenValidity": 30}));
    }),
    ("client:app", "token_revocation", |hand, recorded| {
        client(hand, recorded, &json!({"EnableTokenRevocation": false}));
    }),
    ("client:app", "prevent_user_existence_errors", |hand, recorded| {
        client(hand, recorded, &json!({"PreventUserExistenceErrors": "LEGACY"}));
    }),
    ("rest-api", "name", |hand, recorded| {
        hand.patch(&recorded.api(), &[("replace", "/name", "other")]);
    }),
    ("rest-api", "description", |hand, recorded| {
        hand.patch(&recorded.api(), &[("replace", "/description", "other")]);
    }),
    ("rest-api", "tags", |hand, recorded| {
        let path = format!("/tags/arn:aws:apigateway:eu-west-1::{}", recorded.api());
        hand.write(
            "apigateway",
            "PUT",
            &path,
            &json!({"tags": {"provision:stack": "other"}}),
        );
    }),
    ("authorizer", "name", |hand, recorded| {
        let path = format!(
            "{}/authorizers/{}",
            recorded.api(),
            recorded.output("authorizer", "id")
        );
        hand.patch(&path, &[("replace", "/name", "other")]);
    }),
    ("authorizer", "pool_arns", |hand, recorded| {
        let path = format!(
            "{}/authorizers/{}",
            recorded.api(),
            recorded.output("authorizer", "id")
        );
        let other = format!("{}other", recorded.output("user-pool", "arn"));
        hand.patch(&path, &[("add", "/providerARNs", &other)]);
    }),
    ("authorizer", "identity_source", |hand, recorded| {
        let path = format!(
            "{}/authorizers/{}",
            recorded.api(),
            recorded.output("authorizer", "id")
        );
        hand.patch(
            &path,
            &[("replace", "/identitySource", "method.request.header.Token")],
        );
    }),
    ("authorizer", "result_ttl_seconds", |hand, recorded| {
        let path = format!(
            "{}/authorizers/{}",
            recorded.api(),
            recorded.output("authorizer", "id")
        );
        hand.patch(&path, &[("replace", "/authorizerResultTtlInSeconds", "300")]);
    }),
    ("path:/user", "part", |hand, recorded| {
        let path = format!(
            "{}/resources/{}",
            recorded.api(),
            recorded.output("path:/user", "id")
        );
        hand.patch(&path, &[("replace", "/pathPart", "other")]);
    }),
    ("route:GET /user", "scopes", |hand, recorded| {
        let other = "OauthResourceServer/user.write";
        hand.patch(&recorded.method(), &[("add", "/authorizationScopes", other)]);
    }),
    ("route:GET /user", "authorizer", |hand, recorded| {
        hand.patch(&recorded.method(), &[("replace", "/authorizationType", "NONE")]);
    }),
    ("route:GET /user", "uri", |hand, recorded| {
        let path = format!("{}/integration", recorded.method());
        let other = recorded
            .desired("route:GET /user", "uri")
            .replace(":function:", ":function:other-");
        hand.patch(&path, &[("replace", "/uri", &other)]);
    }),
    ("deployment", "description", |hand, recorded| {
        let path = format!(
            "{}/deployments/{}",
            recorded.api(),
            recorded.output("deployment", "id")
        );
        hand.patch(&path, &[("replace", "/description", "other")]);
    }),
    ("stage", "deployment", |hand, recorded| {
        let path = format!("{}/deployments", recorded.api());
        let other = hand.write("apigateway", "POST", &path, &json!({"description": "by hand"}));
        let stage = format!("{}/stages/prod", recorded.api());
        hand.patch(
            &stage,
            &[("replace", "/deploymentId", other["id"].as_str().unwrap())],
        );
    }),
    ("stage", "throttle", |hand, recorded| {
        let stage = format!("{}/stages/prod", recorded.api());
        hand.patch(&stage, &[("replace", "/*/*/throttling/rateLimit", "7")]);
    }),
    ("stage", "tags", |hand, recorded| {
        let path = format!(
            "/tags/arn:aws:apigateway:eu-west-1::{}/stages/prod",
            recorded.api()
        );
        hand.write(
            "apigateway",
            "PUT",
            &path,
            &json!({"tags": {"provision:stack": "other"}}),
        );
    }),
];

/// Fields that another hand cannot change: they are how the resource is found, or AWS keeps them for ever.
const FOUND_BY: &[&str] = &[
    "role:user/name",
    "role-policy:user/role",
    "role-policy:user/name",
    "log-group:user/name",
    "function:user/name",
    // With its role: see `a_role_that_was_made_again_is_told_and_its_function_made_again`.
    "function:user/role_id",
    "permission:user/function",
    "permission:user/statement",
    "pool-domain/pool",
    "pool-domain/prefix",
    "resource-server:OauthResourceServer/pool",
    "resource-server:OauthResourceServer/identifier",
    "client:app/pool",
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

/// Fields that the emulator cannot change or does not answer; mocks in src/resources hold them.
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
fn every_field_that_another_hand_changed_is_named_and_changed_back() {
    let place = Place::new();
    let hand = Hand {
        endpoint: place.emulator(),
        region: "eu-west-1",
    };
    let run = |args: &[&str]| place.run_at(&hand.endpoint, args);
    run(&["up"]).ok();
    let state = fs_err::read_to_string(place.path().join("state/user-api.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    let owner = state["owner"].as_str().unwrap().to_owned();
    let whole = hand.portrait(&owner);

    for (step, field, edit) in EDITS {
        let place_of_it = format!("{step}, {field}");
        let state = fs_err::read_to_string(place.path().join("state/user-api.json")).unwrap();
        edit(&hand, &Recorded(serde_json::from_str(&state).unwrap()));

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
        let mended = hand.portrait(&owner);
        if *place_of_it == *"stage, deployment" {
            // The other hand's deployment is not ours to delete.
            assert_ne!(mended, whole);
        } else {
            assert_eq!(mended, whole, "{place_of_it}");
        }
        if place_of_it == "stage, deployment" {
            remove_foreign_deployment(&hand, &state);
        }
    }

    let state: Value = serde_json::from_str(&state_of(&place)).unwrap();
    let edited: Vec<String> = EDITS
        .iter()
        .map(|(step, field, _)| format!("{step}/{field}"))
        .collect();
    for record in state["steps"].as_array().unwrap() {
        for field in record["desired"].as_object().unwrap().keys() {
            let field = format!("{}/{field}", record["step"].as_str().unwrap());
            assert!(
                edited.contains(&field) || FOUND_BY.contains(&&*field) || NOT_HERE.contains(&&*field),
                "no edit of {field}"
            );
        }
    }
    run(&["down", "--yes"]).ok();
    hand.assert_nothing("after down");
}

fn state_of(place: &Place) -> String {
    fs_err::read_to_string(place.path().join("state/user-api.json")).unwrap()
}

fn remove_foreign_deployment(hand: &Hand, state: &str) {
    let recorded = Recorded(serde_json::from_str(state).unwrap());
    let deployments = hand.get("apigateway", &format!("{}/deployments", recorded.api()));
    for deployment in deployments["item"].as_array().unwrap() {
        if deployment["description"] == "by hand" {
            let id = deployment["id"].as_str().unwrap();
            hand.delete("apigateway", &format!("{}/deployments/{id}", recorded.api()));
        }
    }
}

#[test]
fn a_field_that_aws_does_not_answer_is_told_as_not_compared() {
    let place = Place::new();
    let endpoint = place.emulator();
    place.run_at(&endpoint, &["up"]).ok();
    let status = place.run_at(&endpoint, &["status", "--json"]).ok().json();
    let lines = status["resources"].as_array().unwrap();
    let group = lines
        .iter()
        .find(|line| line["step"] == "log-group:user")
        .unwrap();
    assert_eq!(group["not_compared"], json!(["tags"]));
    let table = place.run_at(&endpoint, &["status"]).ok().stdout;
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
fn what_somebody_else_made_is_brought_to_what_the_file_says_or_refused_by_its_name() {
    let place = Place::new();
    let hand = Hand {
        endpoint: place.emulator(),
        region: "eu-west-1",
    };
    let proxy = Proxy::start(&hand.endpoint);
    // As AWS answers, where the emulator overwrites.
    proxy.rule(|request, now| {
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
    fs_err::create_dir(place.path().join("lambda")).unwrap();
    let code = "export const handler = async () => ({ statusCode: 200 });";
    fs_err::write(place.path().join("lambda/index.mjs"), code).unwrap();
    let file = |text: &str| fs_err::write(place.path().join("provision.toml"), text).unwrap();
    let recorded = || {
        let state = fs_err::read_to_string(place.path().join("state/orders.json")).unwrap();
        Recorded(serde_json::from_str(&state).unwrap())
    };
    file(BEFORE);
    place.run_at(&proxy.endpoint, &["up"]).ok();

    let first = recorded();
    let pool = first.pool();
    let orders = first.output("path:/orders", "id");
    let method = format!("{}/resources/{orders}/methods/POST", first.api());
    let open = json!({"authorizationType": "NONE"});
    hand.write("apigateway", "PUT", &method, &open);
    let admin = json!([{"ScopeName": "admin", "ScopeDescription": "All"}]);
    let server = json!({"Identifier": "stock", "Name": "Stock", "Scopes": admin});
    hand.cognito("CreateResourceServer", &with(pool.clone(), &server));

    file(&format!("{BEFORE}{MORE}"));
    let events = place
        .run_at(&proxy.endpoint, &["up", "--no-verify", "--json"])
        .ok()
        .events();
    let mut adopted: Vec<&str> = (events.iter())
        .filter(|event| event["outcome"] == "adopted")
        .map(|event| event["step"].as_str().unwrap())
        .collect();
    adopted.sort_unstable();
    assert_eq!(adopted, ["resource-server:stock", "route:POST /orders"]);
    let requests = proxy.take();
    let position = |verb: &str, end: &str| {
        let is_it = |operation: String| operation.starts_with(verb) && operation.ends_with(end);
        requests.iter().position(|request| is_it(request.operation()))
    };
    let guarded = position("PATCH ", "/methods/POST").unwrap();
    assert!(position("PUT ", "/methods/POST/integration").unwrap() > guarded);
    place.run_at(&proxy.endpoint, &["status"]).ok();
    place.run_at(&proxy.endpoint, &["plan", "--check"]).ok();
    let live = hand.get("apigateway", &method);
    let guard = (&live["authorizationType"], &live["authorizationScopes"]);
    assert_eq!(guard, (&json!("COGNITO_USER_POOLS"), &json!(["stock/write"])));
    let server = json!({"Identifier": "stock"});
    let server = &hand.cognito("DescribeResourceServer", &with(pool, &server))["ResourceServer"];
    let write = json!([{"ScopeName": "write", "ScopeDescription": "Write stock"}]);
    assert_eq!(server["Scopes"], write);

    let deployment = recorded().output("deployment", "id").to_owned();
    let stages = format!("{}/stages", first.api());
    let theirs = json!({"stageName": "beta", "deploymentId": deployment, "description": "theirs"});
    hand.write("apigateway", "POST", &stages, &theirs);
    file(&BEFORE.replace("prod", "beta"));
    let refused = place
        .run_at(&proxy.endpoint, &["up", "--no-verify"])
        .code(1)
        .stderr;
    let words = format!("stage beta of REST API {}", first.output("rest-api", "id"));
    assert!(refused.contains(&words), "{refused}");
    let live = hand.get("apigateway", &format!("{stages}/beta"));
    assert_eq!(live["description"], "theirs");
    assert_eq!(live["tags"].get("provision:owner"), None);
    place.run_at(&proxy.endpoint, &["down", "--yes"]).ok();
    hand.assert_nothing("after down");
}

#[test]
fn a_role_that_was_made_again_is_told_and_its_function_made_again() {
    let place = Place::new();
    let hand = Hand {
        endpoint: place.emulator(),
        region: "eu-west-1",
    };
    let proxy = Proxy::start(&hand.endpoint);
    let run = |args: &[&str]| place.run_at(&proxy.endpoint, args);
    fs_err::create_dir(place.path().join("lambda")).unwrap();
    let code = "export const handler = async () => ({ statusCode: 200 });";
    fs_err::write(place.path().join("lambda/index.mjs"), code).unwrap();
    let variables = "environment = { TABLE = \"orders\" }\nhandler = ";
    let file = BEFORE.replace("handler = ", variables);
    fs_err::write(place.path().join("provision.toml"), file).unwrap();
    run(&["up"]).ok();
    proxy.take();

    let recorded = || {
        let state = fs_err::read_to_string(place.path().join("state/orders.json")).unwrap();
        Recorded(serde_json::from_str(&state).unwrap())
    };
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
    let name = recorded().desired("role:orders", "name").to_owned();
    let function = format!("/2015-03-31/functions/{name}");
    let delete_role = || {
        hand.iam(&format!(
            "Action=DeleteRolePolicy&RoleName={name}&PolicyName=logs"
        ));
        hand.iam(&format!("Action=DeleteRole&RoleName={name}"));
    };
    let is_mended = |before: &str| {
        let operations: Vec<String> = proxy.take().iter().map(Request::operation).collect();
        let position = |operation: &str| operations.iter().position(|one| one == operation);
        let deleted = position(&format!("DELETE {function}"));
        let created = position("POST /2015-03-31/functions");
        assert!(deleted.is_some() && deleted < created, "{operations:?}");
        let after = recorded();
        let role = after.output("role:orders", "id");
        assert_ne!(role, before);
        assert_eq!(after.desired("function:orders", "role_id"), role);
        run(&["status"]).ok();
        run(&["plan", "--check"]).ok();
        let live = hand.get("lambda", &function);
        assert_eq!(
            live["Configuration"]["Environment"]["Variables"]["TABLE"],
            "orders"
        );
        proxy.take();
    };

    let before = recorded().output("role:orders", "id").to_owned();
    delete_role();
    let missing = ["role:orders missing ", "role-policy:orders missing "];
    assert_eq!(not_ok(), missing);
    run(&["plan", "--check", "--no-repair"]).code(3);
    run(&["up", "--no-verify"]).ok();
    is_mended(&before);

    // One that IAM does not show for a moment is no other role.
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
    let state = recorded();
    let before = state.output("role:orders", "id").to_owned();
    let trust = state.step("role:orders")["desired"]["trust"].to_string();
    let trust = percent_encoding::utf8_percent_encode(&trust, percent_encoding::NON_ALPHANUMERIC);
    let owner = state.0["owner"].as_str().unwrap();
    delete_role();
    hand.iam(&format!(
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
    assert_ne!(recorded().output("role:orders", "id"), before);
    run(&["up", "--no-verify"]).ok();
    is_mended(&before);

    let before = recorded().output("role:orders", "id").to_owned();
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
    run(&["down", "--yes"]).ok();
    hand.assert_nothing("after down");
}
