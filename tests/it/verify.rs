//! `verify` against the real emulator: it passes where the API is as it should be, and names what others opened.

use std::collections::BTreeSet;

use crate::support::proxy::{Act, Moment, Request};
use crate::support::{Place, Recorded, Run, World, get};
use serde_json::{Value, json};

const CONFIG: &str = r#"
[stack]
name = "orders"

[resource_servers.orders.scopes]
read = "Read orders"
write = "Write orders"

[clients.reader]
scopes = ["orders/read"]
access_token = "10m"

[clients.writer]
scopes = ["orders/write"]

[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"

[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"POST /orders" = { function = "orders", scopes = ["orders/write"] }
"ANY /orders/{id}/{rest+}" = { function = "orders", scopes = ["orders/read", "orders/write"] }
"#;

const CODE: &str = "export const handler = async (event) => {
  console.log(event.httpMethod + ' ' + event.path);
  return { statusCode: 200, body: '{}' };
};";

/// Two tokens, a path that is not a route, three routes without a token, and a client without the scope at two of them.
const PROBES: usize = 8;

/// The stack of this file, not up yet.
fn of(config: &str) -> World {
    World::of(config, CODE)
}

impl World {
    /// Deploys the API as it is now to the stage, as someone else would.
    fn deploy(&self) {
        let state = self.state();
        let path = format!("{}/deployments", state.api());
        let stage = json!({"stageName": state.desired("stage", "name")});
        self.emulator.write("apigateway", "POST", &path, &stage);
    }

    /// The status of a route of the stage without a token.
    fn anonymous(&self, path: &str) -> u16 {
        let stage = self.state().stage_url(&self.emulator);
        get(&format!("{stage}{path}"), None).0
    }

    /// The lines that the function logged, one for each invocation.
    fn invocations(&self) -> Vec<String> {
        let logs = self.run(&["logs", "--json"]).ok();
        (logs.events().iter())
            .map(|event| event["message"].as_str().unwrap().trim().to_owned())
            .filter(|line| line.contains(" /orders"))
            .collect()
    }
}

fn tokens(requests: &[Request]) -> usize {
    requests
        .iter()
        .filter(|request| request.path.starts_with("/oauth2/"))
        .count()
}

/// Route, client and what it got, of every probe that failed.
fn wrong(document: &Value) -> Vec<[String; 3]> {
    assert_eq!(document["ok"], false);
    (document["probes"].as_array().unwrap().iter())
        .filter(|probe| probe["ok"] == false)
        .map(|probe| ["route", "client", "got"].map(|key| probe[key].as_str().unwrap_or("-").to_owned()))
        .collect()
}

#[test]
fn a_good_stack_passes_and_the_function_is_not_asked() {
    let world = of(CONFIG);
    let up = world.run(&["up"]).ok();
    assert!(
        up.stderr
            .contains(&format!("verified  {PROBES} of {PROBES} probes")),
        "{}",
        up.stderr
    );
    let requests = world.proxy.take();
    assert_eq!(tokens(&requests), 2, "one for each client");
    let data = requests.iter().filter(|request| !request.is_aws()).count();
    assert_eq!(data, 2 + 1 + 6, "tokens, the issuer's keys, routes");

    // Nothing changed, nothing to prove.
    world.run(&["up"]).ok();
    assert!(world.proxy.take().iter().all(Request::is_aws));

    let verify = world.run(&["verify"]).ok();
    assert_eq!(verify.stdout.lines().count(), 1 + PROBES, "{}", verify.stdout);
    assert!(verify.stdout.starts_with("ROUTE "), "{}", verify.stdout);
    assert!(!verify.stdout.contains("WRONG"));
    assert_eq!(tokens(&world.proxy.take()), 2);

    let verify = world.run(&["verify", "--json"]).ok();
    let document = verify.json();
    assert_eq!(document["format"], 1);
    assert_eq!(document["stack"], "orders");
    assert_eq!(document["ok"], true);
    let probes: Vec<[&str; 4]> = (document["probes"].as_array().unwrap().iter())
        .map(|probe| ["check", "route", "client", "got"].map(|key| probe[key].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(
        probes,
        [
            ["token", "-", "reader", "a valid token"],
            ["token", "-", "writer", "a valid token"],
            ["no_token", "ANY /orders/{id}/{rest+}", "-", "401 Unauthorized"],
            ["no_token", "GET /orders", "-", "401 Unauthorized"],
            ["foreign_token", "GET /orders", "writer", "401 Unauthorized"],
            ["no_token", "POST /orders", "-", "401 Unauthorized"],
            ["foreign_token", "POST /orders", "reader", "401 Unauthorized"],
            [
                "no_route",
                "GET /provision-verify",
                "-",
                "403 Missing Authentication Token"
            ],
        ]
    );
    assert_eq!(world.invocations(), Vec::<String>::new());

    world.proxy.take();
    let call = world.run(&["verify", "--call", "--json"]).ok().json();
    let right: Vec<&Value> = (call["probes"].as_array().unwrap().iter())
        .filter(|probe| probe["check"] == "right_token")
        .collect();
    assert_eq!(right.len(), 1);
    assert_eq!(
        [&right[0]["route"], &right[0]["client"], &right[0]["got"]],
        ["GET /orders", "reader", "200"]
    );
    let requests = world.proxy.take();
    assert_eq!(tokens(&requests), 2);
    assert_eq!(
        world.invocations(),
        ["GET /orders"],
        "POST and ANY are not called"
    );

    // No secret and no token is told: neither of those that went over the wire.
    let said = format!("{}{}{}{}", up.stdout, up.stderr, verify.stdout, verify.stderr);
    let state = world.state();
    for name in ["reader", "writer"] {
        let id = state.client(&format!("client:{name}"));
        let live = world.emulator.cognito("DescribeUserPoolClient", &id);
        assert!(!said.contains(live["UserPoolClient"]["ClientSecret"].as_str().unwrap()));
    }
    assert!(!said.contains("eyJ"), "how every JWT begins");
}

#[test]
fn what_someone_else_opened_is_named() {
    let world = of(CONFIG);
    world.run(&["up", "--no-verify"]).ok();
    assert!(
        world.proxy.take().iter().all(Request::is_aws),
        "--no-verify fetches no token and requests no route"
    );

    world.emulator.patch(
        &world.state().method("route:GET /orders"),
        &[("add", "/authorizationScopes", "orders/write")],
    );
    world.deploy();
    let verify = world.run(&["verify", "--json"]).code(1);
    assert_eq!(
        wrong(&verify.json()),
        [["GET /orders", "writer", "200"].map(str::to_owned)]
    );
    assert!(
        verify.stderr.contains(
            "route GET /orders with the token of client writer, which has no scope of it: expected 401 Unauthorized, got 200"
        ),
        "{}",
        verify.stderr
    );

    world.emulator.patch(
        &world.state().method("route:POST /orders"),
        &[("replace", "/authorizationType", "NONE")],
    );
    world.deploy();
    let verify = world.run(&["verify"]).code(1);
    assert!(
        verify
            .stderr
            .contains("route POST /orders without a token: expected 401 Unauthorized, got 200"),
        "{}",
        verify.stderr
    );
    assert!(
        verify.stderr.contains("3 of 8 probes failed")
            && verify.stderr.contains("hint: run `provision plan`"),
        "{}",
        verify.stderr
    );
    assert_eq!(verify.stdout.matches("WRONG").count(), 3, "{}", verify.stdout);

    // `up` mends it, and proves that.
    let up = world.run(&["up"]).ok();
    assert!(up.stderr.contains("verified  8 of 8 probes"), "{}", up.stderr);
}

/// The same file with one route changed.
fn with_another_scope() -> String {
    let other = r#""POST /orders" = { function = "orders", scopes = ["orders/read", "orders/write"] }"#;
    let route = r#""POST /orders" = { function = "orders", scopes = ["orders/write"] }"#;
    assert!(CONFIG.contains(route));
    CONFIG.replace(route, other)
}

#[test]
fn a_repair_is_deployed_also_if_the_deployment_failed_at_first() {
    let world = of(CONFIG);
    world.run(&["up", "--no-verify"]).ok();
    world.emulator.patch(
        &world.state().method("route:GET /orders"),
        &[("add", "/authorizationScopes", "orders/write")],
    );
    // What others widened is deployed along with a change.
    world.file(&with_another_scope());
    world.run(&["up", "--no-repair", "--no-verify"]).ok();
    world.run(&["verify"]).code(1);
    world.proxy.rule(|request, now| {
        if now == Moment::Before && request.operation().starts_with("POST /restapis/") {
            return Act::Answer(400, Vec::new(), r#"{"message":"not today"}"#.to_owned());
        }
        Act::Pass
    });
    world.run(&["up", "--no-verify"]).code(1);
    world.proxy.rule(|_, _| Act::Pass);
    // The method is as it should be; what is deployed is not.
    world.run(&["up", "--no-verify"]).ok();
    world.run(&["verify"]).ok();
    world.assert_settled("after the repair");
}

#[test]
fn an_open_snapshot_that_is_live_is_drift_and_replaced() {
    let world = of(CONFIG);
    world.run(&["up", "--no-verify"]).ok();
    let Recorded(mut state) = world.state();
    let steps = state["steps"].as_array_mut().unwrap();
    let place = |step: &str| {
        let mut steps = steps.iter();
        steps.position(|record| record["step"] == step).unwrap()
    };
    let (deployment, stage) = (place("deployment"), place("stage"));
    let api = steps[stage]["desired"]["api"].as_str().unwrap().to_owned();
    // As an earlier version left it: ours, taken while a method was open, and the method closed since.
    let method = world.state().method("route:GET /orders");
    let authorization = |kind| {
        world
            .emulator
            .patch(&method, &[("replace", "/authorizationType", kind)])
    };
    authorization("NONE");
    let request = json!({
        "description": steps[deployment]["desired"]["description"], "stageName": steps[stage]["desired"]["name"],
    });
    let made = world.emulator.write(
        "apigateway",
        "POST",
        &format!("/restapis/{api}/deployments"),
        &request,
    );
    authorization("COGNITO_USER_POOLS");
    steps[deployment]["output"]["id"] = made["id"].clone();
    steps[stage]["desired"]["deployment"] = made["id"].clone();
    fs_err::write(world.path("state/orders.json"), state.to_string()).unwrap();
    assert_eq!(world.anonymous("/orders"), 200);

    let status = world.run(&["status", "--json"]).code(3).json();
    let drifted: Vec<&Value> = (status["resources"].as_array().unwrap().iter())
        .filter(|step| step["state"] == "drifted")
        .collect();
    assert_eq!(drifted.len(), 1, "{status}");
    assert_eq!(
        (
            &drifted[0]["step"],
            &drifted[0]["drifted"][0]["field"],
            &drifted[0]["drifted"][0]["live"]
        ),
        (
            &json!("deployment"),
            &json!("open_methods"),
            &json!(["GET /orders"])
        )
    );
    world.run(&["plan", "--check"]).code(3);
    world.run(&["verify"]).code(1);
    world.run(&["up"]).ok();
    assert_eq!(world.anonymous("/orders"), 401);
    world.run(&["status"]).ok();
}

#[test]
fn a_deployment_of_others_is_taken_off_the_stage_and_an_open_method_in_it_is_told() {
    let world = of(CONFIG);
    world.run(&["up", "--no-verify"]).ok();
    let state = world.state();
    let root = state.output("rest-api", "root");
    let method = format!("{}/resources/{root}/methods/GET", state.api());
    let open = json!({"authorizationType": "NONE"});
    world.emulator.write("apigateway", "PUT", &method, &open);
    let mock = json!({"type": "MOCK"});
    world
        .emulator
        .write("apigateway", "PUT", &format!("{method}/integration"), &mock);
    world.deploy();
    world.emulator.delete("apigateway", &method);

    let verify = world.run(&["verify", "--json"]).code(1);
    assert_eq!(
        wrong(&verify.json()),
        [["GET /", "-", "a method that is open to everybody"].map(str::to_owned)]
    );
    assert!(
        verify
            .stderr
            .contains("GET /, which the stage serves and is not a route of the stack: expected no such method, got a method that is open to everybody"),
        "{}",
        verify.stderr
    );
    world.run(&["status"]).code(3);
    world.run(&["up"]).ok();
    world.run(&["verify"]).ok();
    world.run(&["status"]).ok();
}

#[test]
fn what_others_opened_is_not_deployed_by_an_up_that_leaves_it() {
    let world = of(CONFIG);
    world.run(&["up", "--no-verify"]).ok();
    world.emulator.patch(
        &world.state().method("route:GET /orders"),
        &[("replace", "/authorizationType", "NONE")],
    );
    // Nothing is to be deployed.
    world.run(&["up", "--no-repair"]).ok();
    world.file(&with_another_scope());
    world.proxy.take();
    for command in ["plan", "up"] {
        let run = world.run(&[command, "--no-repair"]).code(2);
        assert!(
            run.stderr.contains(
                "deployment: route:GET /orders was opened to everybody by somebody else, and --no-repair leaves it so"
            ) && run.stderr.contains("hint: leave out --no-repair"),
            "{}",
            run.stderr
        );
    }
    assert!(
        !world
            .proxy
            .take()
            .iter()
            .any(|request| request.is_write() && request.service() != "sts")
    );
    assert_eq!(world.anonymous("/orders"), 401);
    world.run(&["up"]).ok();
}

#[test]
fn a_client_with_more_scopes_or_a_longer_token_than_recorded_is_named() {
    let world = of(CONFIG);
    world.run(&["up", "--no-verify"]).ok();
    let state = world.state();
    let id = state.client("client:reader");
    let mut live = world.emulator.cognito("DescribeUserPoolClient", &id)["UserPoolClient"].clone();
    for key in ["ClientSecret", "CreationDate", "LastModifiedDate"] {
        live.as_object_mut().unwrap().remove(key);
    }
    live["AllowedOAuthScopes"] = json!(["orders/read", "orders/write"]);
    live["AccessTokenValidity"] = json!(7200);
    world.emulator.cognito("UpdateUserPoolClient", &live);
    let verify = world.run(&["verify", "--json"]).code(1);
    let wrong = wrong(&verify.json());
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    let [_, client, got] = &wrong[0];
    assert_eq!(client, "reader");
    assert!(
        got.contains("orders/write")
            && got.contains("`scope`: expected orders/read, got ")
            && got.contains("it is valid for 7200 s, expected 600 s"),
        "{got}"
    );
    // And with them it gets in where it should not.
    assert_eq!(wrong[1], ["POST /orders", "reader", "200"].map(str::to_owned));
}

#[test]
fn an_up_whose_api_does_not_open_is_not_done() {
    let world = of(CONFIG);
    // The stage is behind for as long as it is asked; the deadline is not waited for: Ctrl-C ends it.
    let refused = |request: &Request, now: Moment| {
        if now == Moment::Before && request.path.contains("/_user_request_") {
            return Act::Answer(403, Vec::new(), r#"{"message":"Forbidden"}"#.to_owned());
        }
        Act::Pass
    };
    world.proxy.rule(refused);
    let mut command = world.command(&["up", "--json"]);
    let mut up = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(up.stderr.take().unwrap()));
    while !said.contains("waiting for the stage: expected 401 Unauthorized, got 403 Forbidden") {
        said.push_str(&lines.next().expect("it waits before it ends").unwrap());
    }
    let process = up.id().to_string();
    std::process::Command::new("kill")
        .args(["-INT", &process])
        .status()
        .unwrap();
    let output = up.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!([&last["event"], &last["result"]], ["ended", "interrupted"]);
    // All that is there is on record.
    world.proxy.rule(|_, _| Act::Pass);
    world.run(&["status"]).ok();
}

#[test]
fn a_failed_proof_fails_up_with_the_state_complete() {
    let world = of(CONFIG);
    // A refusal of the token endpoint that no waiting mends.
    world.proxy.rule(|request, now| {
        if now == Moment::Before && request.path.starts_with("/oauth2/") {
            return Act::Answer(400, Vec::new(), r#"{"error":"unauthorized_client"}"#.to_owned());
        }
        Act::Pass
    });
    let up = world.run(&["up", "--json"]).code(1);
    let last = up.events().last().unwrap().clone();
    assert_eq!(
        [&last["event"], &last["result"], &last["outputs"]],
        [&json!("ended"), &json!("failed"), &Value::Null]
    );
    assert!(
        up.stderr.contains(
            "the token of client reader: expected a valid token, got no token: the token endpoint refused with unauthorized_client"
        ) && up.stderr.contains("run `provision verify`"),
        "{}",
        up.stderr
    );
    world.proxy.rule(|_, _| Act::Pass);
    world.run(&["status"]).ok();
    world.run(&["verify"]).ok();
}

#[test]
fn without_a_stack_there_is_nothing_to_verify() {
    let place = Place::new();
    let run = place.run_at("http://127.0.0.1:9", &["verify"]).code(2);
    assert!(run.stderr.contains("has no state"), "{}", run.stderr);
}

#[test]
fn a_domain_prefix_that_is_taken_is_told_before_anything_is_made() {
    let config = format!("{CONFIG}\n[user_pool]\ndomain_prefix = \"orders-of-all\"\n");
    let world = of(&config);
    let pool = world
        .emulator
        .cognito("CreateUserPool", &json!({"PoolName": "somebody's"}));
    let pool = &pool["UserPool"]["Id"];
    let domain = json!({"UserPoolId": pool, "Domain": "orders-of-all"});
    world.emulator.cognito("CreateUserPoolDomain", &domain);
    let up = world.run(&["up", "--no-verify"]).code(2);
    assert!(
        up.stderr.contains(&format!(
            "the domain prefix orders-of-all is taken in eu-west-1, by user pool {} of this account; nothing was created",
            pool.as_str().unwrap()
        )) && up.stderr.contains("hint: choose another `domain_prefix`"),
        "{}",
        up.stderr
    );
    assert_eq!(world.state_file(), None);
    let requests = world.proxy.take();
    assert!(
        !requests
            .iter()
            .any(|request| request.is_write() && request.service() != "sts")
    );

    world.emulator.cognito("DeleteUserPoolDomain", &domain);
    world.run(&["up", "--no-verify"]).ok();
    let describes = |requests: &[Request]| {
        let operations = requests.iter().map(Request::operation);
        operations
            .filter(|operation| operation == "DescribeUserPoolDomain")
            .count()
    };
    let fresh = describes(&world.proxy.take());
    world.run(&["up", "--no-verify"]).ok();
    let unchanged = describes(&world.proxy.take());
    assert_eq!(
        [fresh, unchanged],
        [2, 1],
        "the preflight's is the fresh stack's only"
    );
}

/// A stack of two functions, for which `up` reads the quotas.
fn of_two_functions() -> String {
    format!(
        "{CONFIG}\n[functions.refunds]\nsource = \"lambda\"\nruntime = \"nodejs22.x\"\nhandler = \"index.handler\"\n"
    )
}

/// Answers the two reads of quotas: the summary of IAM, the settings of Lambda.
fn quotas(world: &World, iam: (u16, &'static str), lambda: (u16, &'static str)) {
    world.proxy.rule(move |request, _| {
        let (status, body) = match &*request.operation() {
            "GetAccountSummary" => iam,
            "GET /2016-08-19/account-settings" => lambda,
            _ => return Act::Pass,
        };
        Act::Answer(status, Vec::new(), body.to_owned())
    });
}

/// How often the two quotas were read.
fn looks(requests: &[Request]) -> usize {
    let reads = ["GetAccountSummary", "GET /2016-08-19/account-settings"];
    let operations = requests.iter().map(Request::operation);
    operations
        .filter(|operation| reads.contains(&&**operation))
        .count()
}

#[test]
fn all_that_is_in_the_way_of_a_fresh_stack_is_told_at_once() {
    let functions = of_two_functions();
    let world = of(&format!(
        "{functions}\n[user_pool]\ndomain_prefix = \"orders-of-all\"\n"
    ));
    let pool = world
        .emulator
        .cognito("CreateUserPool", &json!({"PoolName": "somebody's"}));
    let domain = json!({"UserPoolId": pool["UserPool"]["Id"], "Domain": "orders-of-all"});
    world.emulator.cognito("CreateUserPoolDomain", &domain);
    quotas(
        &world,
        (
            200,
            "<GetAccountSummaryResponse><GetAccountSummaryResult><SummaryMap>\
             <entry><key>Roles</key><value>1000</value></entry>\
             <entry><key>RolesQuota</key><value>1000</value></entry>\
             </SummaryMap></GetAccountSummaryResult></GetAccountSummaryResponse>",
        ),
        (
            200,
            r#"{"AccountLimit": {"TotalCodeSize": 80530636800}, "AccountUsage": {"TotalCodeSize": 80530636799}}"#,
        ),
    );
    let up = world.run(&["up", "--no-verify"]).code(2);
    for said in [
        "the domain prefix orders-of-all is taken in eu-west-1",
        "1000 of 1000 IAM roles of the account are in use, and this stack takes 2 more",
        "80530636799 of 80530636800 bytes of Lambda code in eu-west-1 are in use, and this stack takes ",
        "nothing was created",
        "hint: choose another `domain_prefix`",
        "hint: raise the quota",
    ] {
        assert!(up.stderr.contains(said), "{said}: {}", up.stderr);
    }
    assert_eq!(world.state_file(), None);
    let requests = world.proxy.take();
    let writes = requests.iter().filter(|request| request.is_write());
    assert_eq!(writes.filter(|request| request.service() != "sts").count(), 0);
    assert_eq!(looks(&requests), 2);
}

#[test]
fn a_quota_that_cannot_be_read_is_told_and_no_reason_to_refuse() {
    for (iam, lambda) in [
        (
            (
                403,
                "<ErrorResponse><Error><Code>AccessDenied</Code><Message>u is not authorized to perform: iam:GetAccountSummary</Message></Error></ErrorResponse>",
            ),
            (
                403,
                r#"{"__type": "AccessDeniedException", "message": "u is not authorized to perform: lambda:GetAccountSettings"}"#,
            ),
        ),
        ((200, "<GetAccountSummaryResponse/>"), (200, "{}")),
        ((400, "?"), (404, "no such thing")),
    ] {
        let world = of(&of_two_functions());
        quotas(&world, iam, lambda);
        let up = world.run(&["up", "--no-verify"]).ok();
        for action in ["iam:GetAccountSummary", "lambda:GetAccountSettings"] {
            let lines = up.stderr.lines();
            let told = lines.filter(|line| {
                line.starts_with("warning: cannot read the quota of ") && line.contains(action)
            });
            assert_eq!(told.count(), 1, "{action}: {}", up.stderr);
        }
        assert_eq!(looks(&world.proxy.take()), 2);
        let again = world.run(&["up"]).ok();
        assert!(!again.stderr.contains("warning"), "{}", again.stderr);
        assert_eq!(looks(&world.proxy.take()), 0, "nothing is looked at twice");
    }
}

#[test]
fn a_secret_that_may_not_be_read_is_told_with_the_policy_that_lets_read_it() {
    let world = of(CONFIG);
    world.run(&["up", "--no-verify"]).ok();
    let message = "User: u is not authorized to perform: cognito-idp:DescribeUserPoolClient";
    world.proxy.rule(move |request, _| {
        if request.operation() == "DescribeUserPoolClient" {
            let body = json!({"__type": "AccessDeniedException", "message": message});
            let headers = vec![("content-type", "application/x-amz-json-1.1")];
            Act::Answer(400, headers, body.to_string())
        } else {
            Act::Pass
        }
    });
    let verify = world.run(&["verify"]).code(1);
    assert!(verify.stderr.contains(message), "{}", verify.stderr);
    // Once for both clients.
    let hint = "`provision policy` prints all that an operator needs";
    assert_eq!(verify.stderr.matches(hint).count(), 1, "{}", verify.stderr);
}

/// What `foreign` lists: step, kind, name, and whether it is a finding.
fn foreign(document: &Value) -> Vec<(String, String, String, bool)> {
    let field = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
    (document["foreign"].as_array().unwrap().iter())
        .map(|one| {
            let finding = one["finding"].is_string();
            (
                field(one, "step"),
                field(one, "kind"),
                field(one, "name"),
                finding,
            )
        })
        .collect()
}

impl World {
    /// Someone else makes a path with a method; answers the path's id.
    fn add_method(&self, parent: &Value, part: &str, method: &Value) -> String {
        let resources = format!("{}/resources", self.state().api());
        let parent = parent.as_str().unwrap();
        let part = json!({ "pathPart": part });
        let made = self
            .emulator
            .write("apigateway", "POST", &format!("{resources}/{parent}"), &part);
        let id = made["id"].as_str().unwrap().to_owned();
        self.emulator.write(
            "apigateway",
            "PUT",
            &format!("{resources}/{id}/methods/GET"),
            method,
        );
        id
    }
}

#[test]
fn what_others_put_into_the_stack_is_listed_and_what_breaks_its_promises_fails() {
    let world = of(CONFIG);
    world.run(&["up", "--no-verify"]).ok();
    for command in ["status", "plan", "verify"] {
        assert_eq!(
            foreign(&world.run(&[command, "--json"]).ok().json()),
            [],
            "{command}"
        );
    }

    let api = world.state().api();
    let root = world.state().step("rest-api")["output"]["root"].clone();
    world.add_method(&root, "admin", &json!({"authorizationType": "NONE"}));
    let guarded = json!({
        "authorizationType": "COGNITO_USER_POOLS", "authorizationScopes": ["orders/read"],
        "authorizerId": world.state().step("authorizer")["output"]["id"],
    });
    world.add_method(&root, "guarded", &guarded);
    let pool = world.state().step("user-pool")["output"].clone();
    let authorizer = json!({
        "name": "other", "type": "COGNITO_USER_POOLS", "providerARNs": [pool["arn"]],
        "identitySource": "method.request.header.Authorization",
    });
    world
        .emulator
        .write("apigateway", "POST", &format!("{api}/authorizers"), &authorizer);
    let deployment = world.state().step("deployment")["output"]["id"].clone();
    let stage = json!({"stageName": "other", "deploymentId": deployment});
    world
        .emulator
        .write("apigateway", "POST", &format!("{api}/stages"), &stage);
    let client = json!({
        "UserPoolId": pool["id"], "ClientName": "other", "GenerateSecret": true,
        "AllowedOAuthFlowsUserPoolClient": true, "AllowedOAuthFlows": ["client_credentials"],
        "AllowedOAuthScopes": ["orders/write"],
    });
    world.emulator.cognito("CreateUserPoolClient", &client);
    let harmless = json!({"UserPoolId": pool["id"], "ClientName": "harmless"});
    world.emulator.cognito("CreateUserPoolClient", &harmless);
    let user = json!({"UserPoolId": pool["id"], "Username": "ann"});
    world.emulator.cognito("AdminCreateUser", &user);
    let function = world.state().desired("function:orders", "name").to_owned();
    let policy = format!("/2015-03-31/functions/{function}/policy");
    let anyone = json!({"StatementId": "all", "Action": "lambda:InvokeFunction", "Principal": "*"});
    world.emulator.write("lambda", "POST", &policy, &anyone);
    let role = world.state().desired("role:orders", "name").to_owned();
    let attach = "PolicyArn=arn:aws:iam::aws:policy/AdministratorAccess";
    world
        .emulator
        .iam(&format!("Action=AttachRolePolicy&RoleName={role}&{attach}"));
    let document = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
    let put = format!("Action=PutRolePolicy&RoleName={role}&PolicyName=more&PolicyDocument={document}");
    world.emulator.iam(&put);

    let expected = |judged: bool| -> BTreeSet<_> {
        [
            ("rest-api", "path", "/admin", false),
            ("rest-api", "path", "/guarded", false),
            ("rest-api", "method", "GET /admin", true),
            ("rest-api", "method", "GET /guarded", false),
            ("rest-api", "stage", "other", false),
            ("rest-api", "authorizer", "other", false),
            ("user-pool", "users", "about 1", false),
            // Only `verify` reads which scopes it has.
            ("user-pool", "client", "other", judged),
            ("user-pool", "client", "harmless", false),
            ("function:orders", "statement", "all", true),
            ("role:orders", "inline-policy", "more", true),
            (
                "role:orders",
                "managed-policy",
                "arn:aws:iam::aws:policy/AdministratorAccess",
                true,
            ),
        ]
        .map(|(step, kind, name, finding)| (step.to_owned(), kind.to_owned(), name.to_owned(), finding))
        .into()
    };
    let listed = |run: Run| BTreeSet::from_iter(foreign(&run.json()));
    assert_eq!(listed(world.run(&["status", "--json"]).code(3)), expected(false));
    assert_eq!(
        listed(world.run(&["plan", "--json", "--check"]).ok()),
        expected(false)
    );
    let verify = world.run(&["verify", "--json"]).code(1);
    assert_eq!(verify.json()["ok"], false);
    for part in [
        "foreign: method GET /admin in rest-api: it has no authorization",
        "foreign: client other in user-pool: its tokens are let in: it has the scopes orders/write",
        "foreign: statement all in function:orders: it lets anyone invoke the function",
        "0 of 8 probes failed",
    ] {
        assert!(verify.stderr.contains(part), "{part} is not in {}", verify.stderr);
    }
    assert_eq!(listed(verify), expected(true));
    let status = world.run(&["status"]).code(3);
    let line = "foreign: method GET /admin in rest-api: it has no authorization: anyone can call it";
    assert!(
        status.stdout.lines().any(|shown| shown == line),
        "{}",
        status.stdout
    );

    // What deploys nothing goes on, and tells.
    let up = world.run(&["up"]).ok();
    assert!(
        up.stderr.contains("foreign   method GET /admin in rest-api"),
        "{}",
        up.stderr
    );
    let quiet = world.run(&["up", "-q"]).ok();
    assert!(
        quiet
            .stderr
            .contains("warning: foreign: method GET /admin in rest-api"),
        "{}",
        quiet.stderr
    );
    assert!(
        quiet.stderr.lines().all(|line| line.starts_with("warning: ")),
        "{}",
        quiet.stderr
    );
    let more = CONFIG.replace("\"POST /orders\"", "\"PUT /orders\"");
    world.file(&more);
    world.proxy.take();
    let plan = world.run(&["plan"]).code(2);
    assert!(
        plan.stdout.contains("foreign: method GET /admin"),
        "{}",
        plan.stdout
    );
    let up = world.run(&["up", "--no-verify"]).code(2);
    assert!(
        up.stderr.contains("GET /admin") && up.stderr.contains("--allow-foreign"),
        "{}",
        up.stderr
    );
    assert!(!up.stderr.contains("GET /guarded"), "{}", up.stderr);
    assert!(world.proxy.take().iter().all(|request| !request.is_write()));
    world.run(&["plan", "--allow-foreign"]).ok();
    world.run(&["up", "--no-verify", "--allow-foreign"]).ok();

    // AWS deletes no role that has others' policies.
    world
        .emulator
        .iam(&format!("Action=DetachRolePolicy&RoleName={role}&{attach}"));
    world.emulator.iam(&format!(
        "Action=DeleteRolePolicy&RoleName={role}&PolicyName=more"
    ));
    world
        .emulator
        .delete("apigateway", &format!("{api}/stages/other"));
    let down = world.run(&["down", "--yes", "--json"]).ok();
    assert!(
        down.stderr.contains("foreign   users: about 1 in user-pool"),
        "{}",
        down.stderr
    );
    let events = down.events();
    let told = events.iter().take_while(|event| event["event"] == "foreign");
    let told: BTreeSet<(&str, &str)> = told
        .map(|event| (event["kind"].as_str().unwrap(), event["name"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("path", "/admin"),
            ("path", "/guarded"),
            ("method", "GET /admin"),
            ("method", "GET /guarded"),
            ("users", "about 1"),
            ("client", "other"),
            ("client", "harmless"),
        ]
        .into()
    );
    assert_eq!(events[told.len()]["event"], "started");
}

#[test]
fn another_pool_in_our_authorizer_is_told_by_all_three() {
    let world = of(CONFIG);
    world.run(&["up", "--no-verify"]).ok();
    let id = world.state().output("authorizer", "id").to_owned();
    let arn = "arn:aws:cognito-idp:eu-west-1:000000000000:userpool/eu-west-1_Theirs000";
    world.emulator.patch(
        &format!("{}/authorizers/{id}", world.state().api()),
        &[("add", "/providerARNs", arn)],
    );
    for (command, code) in [("status", 3), ("plan", 0), ("verify", 1)] {
        let run = world.run(&[command, "--json"]).code(code);
        let pool = ("rest-api".to_owned(), "pool".to_owned(), arn.to_owned(), true);
        assert_eq!(foreign(&run.json()), [pool], "{command}");
    }
    world.run(&["up", "--no-verify"]).ok();
    world.run(&["verify"]).ok();
}

#[test]
fn a_path_that_others_have_routes_below_stays_when_ours_leave_it() {
    let config = CONFIG.replace("{id}/{rest+}", "{id}");
    let world = of(&config);
    world.run(&["up", "--no-verify"]).ok();
    let theirs = json!({
        "authorizationType": "COGNITO_USER_POOLS", "authorizationScopes": ["orders/read"],
        "authorizerId": world.state().step("authorizer")["output"]["id"],
    });
    let path = world.state().step("path:/orders/{id}")["output"]["id"].clone();
    let id = world.add_method(&path, "theirs", &theirs);
    let renamed = config
        .replace("/orders\" ", "/things\" ")
        .replace("/orders/{id}", "/things/{id}");
    world.file(&renamed);

    let plan = world.run(&["plan"]).ok();
    let line = "- leave   path:/orders/{id}  (it stays, as others have put there: path /orders/{id}/theirs, \
                method GET /orders/{id}/theirs)";
    assert!(plan.stdout.lines().any(|shown| shown == line), "{}", plan.stdout);
    let up = world.run(&["up", "--yes"]).ok();
    assert!(up.stderr.contains("left      path:/orders/{id}"), "{}", up.stderr);
    let method = format!("{}/resources/{id}/methods/GET", world.state().api());
    assert_eq!(world.emulator.get("apigateway", &method)["httpMethod"], "GET");
    let names: Vec<String> = (foreign(&world.run(&["status", "--json"]).ok().json()).into_iter())
        .map(|(_, kind, name, _)| format!("{kind} {name}"))
        .collect();
    assert_eq!(
        names,
        [
            "path /orders",
            "path /orders/{id}",
            "path /orders/{id}/theirs",
            "method GET /orders/{id}/theirs"
        ]
    );

    // Back again: the paths are taken up as they are.
    world.file(&config);
    world.run(&["up", "--yes"]).ok();
    assert_eq!(foreign(&world.run(&["status", "--json"]).ok().json()).len(), 2);
    let plan = world.run(&["plan", "--replace", "path:/orders/{id}"]).code(2);
    assert!(
        plan.stderr.contains("method GET /orders/{id}/theirs"),
        "{}",
        plan.stderr
    );
    assert_eq!(world.emulator.get("apigateway", &method)["httpMethod"], "GET");
}
