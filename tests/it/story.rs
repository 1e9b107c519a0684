//! The real binary against the real emulator: up, use the stack, up again, down, and nothing is left.

use std::collections::HashSet;
use std::process::Command;

use crate::support::proxy::{Request, dump};
use crate::support::{Emulator, Place, World, get};
use serde_json::{Value, json};

const WRITE: &str = "OauthResourceServer/user.write";

fn writes(requests: &[Request]) -> Vec<String> {
    requests
        .iter()
        .filter(|request| request.is_write())
        .map(Request::operation)
        .collect()
}

/// The calls of AWS. How often a run asks whether a function or a domain is ready depends on how busy the machine is: that
/// counts once.
fn aws_calls(requests: &[Request]) -> usize {
    let mut asked = HashSet::new();
    let is_poll = |call: &Request| {
        call.method == "GET" && call.path.contains("/functions/")
            || call.operation() == "DescribeUserPoolDomain"
    };
    let mut counts = |call: &&Request| {
        !is_poll(call) || asked.insert((call.operation(), call.path.clone(), call.body.clone()))
    };
    requests
        .iter()
        .filter(|call| call.is_aws())
        .filter(|call| counts(call))
        .count()
}

#[test]
fn the_whole_story_in_the_sandbox() {
    let place = Place::new();
    let up = place.run(&["up", "--sandbox", "-v"]).ok();
    for output in [
        "api_url: ",
        "token_url: ",
        "issuer: ",
        "user_pool_id: ",
        "region: ",
        "clients.app.client_id: ",
    ] {
        assert!(
            up.stdout.lines().any(|line| line.starts_with(output)),
            "{output} is in {}",
            up.stdout
        );
    }
    let mut said = vec![up.stdout, up.stderr];

    let status = place.run(&["status", "--sandbox", "--json", "-v"]).ok();
    let document = status.json();
    assert_eq!(document["resources"].as_array().unwrap().len(), 15);
    assert!(
        document["resources"]
            .as_array()
            .unwrap()
            .iter()
            .all(|resource| resource["state"] == "ok")
    );
    let url = format!("{}/user", document["outputs"]["api_url"].as_str().unwrap());
    said.extend([status.stdout, status.stderr]);

    let token = place.run(&["token", "--sandbox"]).ok();
    assert_eq!(token.stderr, "");
    let token = token.stdout.trim().to_owned();
    assert_eq!(token.split('.').count(), 3, "a JWT and nothing else");
    let claims = place
        .run(&["token", "app", "--sandbox", "--json", "--scope", WRITE])
        .ok()
        .json();
    assert_eq!(claims["scope"], WRITE);
    assert_eq!(claims["claims"]["token_use"], "access");
    assert_eq!(
        claims["claims"]["client_id"],
        document["outputs"]["clients"]["app"]["client_id"]
    );
    assert_eq!(claims["claims"]["iss"], document["outputs"]["issuer"]);

    let call = place.run(&["call", "GET", "/user", "--sandbox"]).ok();
    assert_eq!(
        call.stdout.trim(),
        r#"{"message":"Permission granted you can access this resource"}"#
    );
    assert!(call.stderr.contains("200 OK"));
    assert_eq!(get(&url, None).0, 401, "without a token");
    assert_eq!(
        get(&url, claims["access_token"].as_str()).0,
        401,
        "with the other scope only"
    );
    assert_eq!(get(&url, Some(&token)).0, 200);
    let refused = place
        .run(&["call", "GET", "/user", "--sandbox", "--scope", WRITE])
        .code(1);
    assert!(
        refused
            .stderr
            .contains("has none of the scopes that this route asks for"),
        "{}",
        refused.stderr
    );
    let nowhere = place.run(&["call", "POST", "/user", "-i", "--sandbox"]).code(1);
    assert!(
        nowhere.stdout.starts_with("403 Forbidden\n"),
        "{}",
        nowhere.stdout
    );

    let logs = place.run(&["logs", "--sandbox", "--json"]).ok();
    let lines: Vec<Value> = logs
        .events()
        .iter()
        .filter_map(|event| serde_json::from_str(event["message"].as_str().unwrap()).ok())
        .collect();
    assert_eq!(lines.len(), 2, "one line for each call that was let in");
    assert_eq!(lines[0]["path"], "/user");
    assert_eq!(
        lines[0]["client_id"],
        document["outputs"]["clients"]["app"]["client_id"]
    );
    said.extend([logs.stdout, logs.stderr]);

    let down = place.run(&["down", "--sandbox"]).code(2);
    assert!(down.stderr.contains("hint: pass --yes"), "{}", down.stderr);
    said.push(down.stderr);

    // Neither the secret nor a token was said or kept. The secret comes from the emulator, behind the binary's back.
    let emulator = Emulator::of_the_sandbox(place.emulator());
    let secret = secret(&emulator, &document);
    assert!(secret.len() > 20);
    for text in &said {
        assert!(!text.contains(&secret) && !text.contains(&token), "{text}");
    }
    for (path, text) in place.texts("state") {
        assert!(
            !text.contains(&secret) && !text.contains(&token),
            "{}",
            path.display()
        );
    }

    emulator.assert_whole("after up");
    let down = place.run(&["down", "--sandbox", "--yes", "--json"]).ok();
    let events = down.events();
    assert_eq!(events[0]["event"], "started");
    let times = events.iter().map(|event| event["at_millis"].as_u64());
    let times: Vec<u64> = times.map(|at| at.expect("every event has its time")).collect();
    assert!(
        times.is_sorted() && times[0] < *times.last().unwrap(),
        "{times:?}"
    );
    assert_eq!(events[0]["steps"].as_array().unwrap().len(), 15);
    assert_eq!(events.iter().filter(|event| event["event"] == "ended").count(), 1);
    assert_eq!(events.last().unwrap()["result"], "done");
    assert!(!place.path().join("state/sandbox/user-api.json").exists());
    assert!(
        place
            .run(&["down", "--sandbox", "--yes"])
            .ok()
            .stderr
            .contains("nothing to delete")
    );
    emulator.assert_nothing("after down");
}

fn secret(emulator: &Emulator, status: &Value) -> String {
    let client = json!({
        "UserPoolId": status["outputs"]["user_pool_id"],
        "ClientId": status["outputs"]["clients"]["app"]["client_id"],
    });
    let answer = emulator.cognito("DescribeUserPoolClient", &client);
    answer["UserPoolClient"]["ClientSecret"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn the_same_through_aws_endpoint_url_with_few_and_valid_calls() {
    let world = World::new();
    let emulator = &world.emulator;
    let proxy = &world.proxy;
    let run = |args: &[&str]| world.run(args);
    let mut all = Vec::new();

    run(&["up"]).ok();
    let up = proxy.take();
    emulator.assert_whole("after up");
    // One of them looks for a stack of this name whose state is lost.
    assert!(aws_calls(&up) <= 21, "{} calls", aws_calls(&up));
    all.extend(up.clone());

    let again = run(&["up"]).ok();
    assert!(
        again.stderr.contains("nothing changed: 15 steps"),
        "{}",
        again.stderr
    );
    let unchanged = proxy.take();
    assert_eq!(writes(&unchanged), Vec::<String>::new());
    assert!(aws_calls(&unchanged) <= 18, "{} calls", aws_calls(&unchanged));
    all.extend(unchanged.clone());

    run(&["status"]).ok();
    run(&["token"]).ok();
    run(&["call", "GET", "/user"]).ok();
    run(&["logs"]).ok();
    let made = emulator.json("secretsmanager.CreateSecret", &json!({"Name": "app"}));
    assert_eq!(made["Name"], "app");
    run(&["secret", "rotate", "begin", "--to", "secretsmanager:app"]).ok();
    run(&["secret", "rotate", "finish", "--yes"]).ok();
    all.extend(proxy.take());

    run(&["down", "--yes"]).ok();
    let down = proxy.take();
    let deletes = writes(&down);
    assert!(deletes.len() <= 7, "{deletes:?}");
    // Whose each is that has tags is read before the first of them goes, and what of others goes along: clients, methods,
    // stages.
    assert!(aws_calls(&down) <= 22, "{} calls", aws_calls(&down));
    all.extend(down.clone());
    emulator.assert_nothing("after down");

    let file = world.path("requests.json");
    fs_err::write(&file, dump(&all).to_string()).unwrap();
    let validated = validate(&world.place, &file);
    assert!(validated.0, "{}", validated.1);
    eprintln!(
        "up: {} calls; up again: {} calls; down: {} deletes, {} calls; {}",
        aws_calls(&up),
        aws_calls(&unchanged),
        deletes.len(),
        aws_calls(&down),
        validated.1.trim()
    );
}

fn validate(place: &Place, file: &std::path::Path) -> (bool, String) {
    let script =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/validate_requests.py");
    let output = Command::new(place.python())
        .arg(script)
        .arg(file)
        .output()
        .unwrap();
    (
        output.status.success(),
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
    )
}

#[test]
fn a_request_that_aws_would_refuse_is_found() {
    let place = Place::new();
    place.emulator();
    let cognito = |operation: &str, body: Value| {
        let target = format!("AWSCognitoIdentityProviderService.{operation}");
        (
            "POST",
            "/".to_owned(),
            json!({ "x-amz-target": target }),
            body.to_string(),
        )
    };
    let form = |body: &str| {
        (
            "POST",
            "/".to_owned(),
            json!({"content-type": "application/x-www-form-urlencoded"}),
            body.to_owned(),
        )
    };
    let rest = |method, path: &str, body: Value| (method, path.to_owned(), json!({}), body.to_string());
    for ((method, path, headers, body), expected) in [
        (
            cognito("CreateUserPool", json!({})),
            "PoolName: required and not there",
        ),
        (
            cognito("CreateUserPool", json!({"PoolName": "a", "Nmae": 1})),
            "Nmae: not known",
        ),
        (
            cognito("CreateUserPool", json!({"PoolName": "a".repeat(129)})),
            "129 characters is not within 1 and 128",
        ),
        (
            cognito("CreateUserPool", json!({"PoolName": "a/b"})),
            "does not match",
        ),
        (
            cognito(
                "CreateUserPool",
                json!({"PoolName": "a", "MfaConfiguration": "MAYBE"}),
            ),
            "is not one of",
        ),
        (
            cognito("ListUserPools", json!({"MaxResults": 61})),
            "61 is not within",
        ),
        (
            form("Action=CreateRole&Version=2010-05-08&RoleName=a"),
            "AssumeRolePolicyDocument: required",
        ),
        (
            form("Action=CreateRole&Version=2010-05-08&RoleName=a%20b&AssumeRolePolicyDocument=x"),
            "'a b' does not match",
        ),
        (
            rest(
                "POST",
                "/2015-03-31/functions",
                json!({"FunctionName": "f", "Code": {}}),
            ),
            "Role: required",
        ),
        (
            rest("POST", "/restapis/a/deploymentz", json!({})),
            "is no operation",
        ),
        (
            rest("PUT", "/restapis/a/resources/b/methods/GET", json!({})),
            "authorizationType: required",
        ),
    ] {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(body);
        let requests = json!([{"method": method, "path": path, "headers": headers, "body": body}]);
        let file = place.path().join("request.json");
        fs_err::write(&file, requests.to_string()).unwrap();
        let (valid, printed) = validate(&place, &file);
        assert!(
            !valid && printed.contains(expected),
            "{expected:?} is not in {printed:?}"
        );
    }
}
