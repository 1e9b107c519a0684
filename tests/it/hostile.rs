//! Documents that someone broke on purpose, and servers that answer wrongly: no panic, no secret in the output, nothing that
//! controls the terminal.

mod matrix;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

use crate::support::proxy::{Act, Moment};
use crate::support::{Place, Run, World};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use matrix::{At, Case, End, Kind, run_all};
use proptest::prelude::*;
use proptest::sample::Index;
use provision::aws::Identity;
use provision::commands::upgrade::upgrade;
use provision::config::{Config, Problem};
use provision::engine::live::{Live, Observed};
use provision::engine::options::Options;
use provision::engine::plan::plan;
use provision::oauth::{TokenRequest, understand};
use provision::package::Package;
use provision::resources::KINDS;
use provision::state::{State, StateFile};
use provision::{api, stack};
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

/// The cases of every property here.
const CASES: u32 = 10_000;

/// A client's secret, as Cognito draws them.
const SECRET: &str = "s3cretS3cretS3cret+s3cret/s3cret";
/// A part of a token.
const TOKEN: &str = "eyJ0b2tlblRva2VuVG9rZW4";

/// One way to break a document.
#[derive(Clone, Debug)]
enum Blow {
    /// Replaces a value.
    Replace(Index, &'static str),
    /// Removes a member or an item.
    Remove(Index),
    /// Replaces a value by a copy of another.
    Copy(Index, Index),
    /// Renames a member.
    Rename(Index, String),
    /// Cuts off the end.
    Truncate(Index),
    /// Inserts characters.
    Insert(Index, String),
}

/// Values that a reader may not expect, as JSON.
const VALUES: &[&str] = &[
    "null",
    "true",
    "-1",
    "0",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "1e999",
    "1e-999",
    "3.5",
    "[]",
    "{}",
    "[[]]",
    "\"\"",
    "\"\\u0000\"",
    "\"\\u001b]0;owned\\u0007\\u001b[2J\"",
    "\"\\u009b31m\\u202e\\u2028\"",
    "\"\\ud800\"",
    "\"../../etc/passwd\"",
    "\"user-pool\"",
    "\"creating\"",
    "\"deleting\"",
    "\"retiring\"",
    "[\"stage\", \"stage\", \"nobody\"]",
    "{\"kind\": \"role\", \"step\": \"role:orders\"}",
    "NaN",
    "@deep@",
    "@long@",
];

fn blow() -> impl Strategy<Value = Blow> {
    prop_oneof![
        4 => (any::<Index>(), proptest::sample::select(VALUES)).prop_map(|(at, value)| Blow::Replace(at, value)),
        2 => any::<Index>().prop_map(Blow::Remove),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Blow::Copy(from, to)),
        1 => (any::<Index>(), "[a-z_\u{1b}\u{9b}]{0,6}").prop_map(|(at, name)| Blow::Rename(at, name)),
        1 => any::<Index>().prop_map(Blow::Truncate),
        1 => (any::<Index>(), "[\\[\\]{}\",:0-9e\\\\\u{0}\u{1b}\u{9b}\u{202e}é]{1,4}").prop_map(|(at, text)| Blow::Insert(at, text)),
    ]
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// The value at this place of the document, counted from its root.
fn nth<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Value::Object(members) => members.values_mut().find_map(|member| nth(member, left)),
        _ => None,
    }
}

fn at(document: &mut Value, index: Index) -> &mut Value {
    let mut left = index.index(count(document));
    nth(document, &mut left).expect("it is one of them")
}

/// The text of the document after all these edits.
fn broken(mut document: Value, blows: &[Blow]) -> Vec<u8> {
    let mut raw = Vec::new();
    for blow in blows {
        match blow {
            Blow::Replace(index, text) => {
                *at(&mut document, *index) = json!(format!("@raw{}@", raw.len()));
                raw.push(*text);
            }
            Blow::Remove(index) => match at(&mut document, *index) {
                Value::Array(items) => drop(items.pop()),
                Value::Object(members) => {
                    let name = members.keys().nth(index.index(members.len().max(1))).cloned();
                    name.map(|name| members.remove(&name));
                }
                other => *other = Value::Null,
            },
            Blow::Copy(from, to) => {
                let copy = at(&mut document, *from).clone();
                *at(&mut document, *to) = copy;
            }
            Blow::Rename(index, name) => {
                if let Value::Object(members) = at(&mut document, *index)
                    && let Some(first) = members.keys().next().cloned()
                {
                    let value = members.remove(&first).unwrap_or_default();
                    members.insert(name.clone(), value);
                }
            }
            Blow::Truncate(_) | Blow::Insert(..) => {}
        }
    }
    let mut text = document.to_string();
    for (number, value) in raw.into_iter().enumerate() {
        let value = match value {
            "@deep@" => format!("{}1{}", "[".repeat(5000), "]".repeat(5000)),
            "@long@" => format!("\"{}\"", "x".repeat(20_000)),
            other => other.to_owned(),
        };
        text = text.replace(&format!("\"@raw{number}@\""), &value);
    }
    let mut bytes = text.into_bytes();
    for blow in blows {
        match blow {
            Blow::Truncate(index) => bytes.truncate(index.index(bytes.len().max(1))),
            Blow::Insert(index, text) => {
                let at = index.index(bytes.len().max(1)).min(bytes.len());
                bytes.splice(at..at, text.bytes());
            }
            _ => {}
        }
    }
    bytes
}

fn blows() -> impl Strategy<Value = Vec<Blow>> {
    proptest::collection::vec(blow(), 1..5)
}

/// Whether the text contains nothing that controls a terminal.
fn is_plain(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c))
}

fn recorded() -> Value {
    serde_json::from_str(include_str!("support/state.json")).unwrap()
}

/// The configuration that the record is of.
const CONFIG: &str = r#"
[stack]
name = "orders"
tags = { team = "sales" }

[resource_servers.orders.scopes]
read = "Read orders"

[clients.billing]
scopes = ["orders/read"]

[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
environment = { TABLE = "hunter2-hunter2" }

[api]
throttle = { rate = 10, burst = 20 }

[routes]
"GET /orders/{id}" = { function = "orders", scopes = ["orders/read"] }
"#;

thread_local! {
    /// One folder for each thread, because creating one is slow.
    static FOLDER: tempfile::TempDir = tempfile::tempdir().unwrap();
    // The folder that has `lambda`.
    static DESIRED: Config = Config::read(CONFIG, Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    static PACKAGES: BTreeMap<String, Package> = BTreeMap::from([(
        "orders".to_owned(),
        Package::from_files(&[("index.mjs", b"".as_slice())]).unwrap(),
    )]);
    static RECORDED: Value = recorded();
}

/// Does with a state what `plan` and `down` do before any call.
fn use_state(mut state: State, seen: usize) {
    upgrade(&mut state);
    let state = &state;
    let identity = Identity {
        account: state.account.clone(),
        partition: state.partition.clone(),
        region: state.region.clone(),
        endpoint: None,
    };
    let stack = DESIRED.with(|config| {
        PACKAGES.with(|packages| {
            stack::stack(
                config,
                &identity,
                &state.owner,
                '-',
                packages,
                &stack::Named {
                    roles: &BTreeMap::new(),
                    shared_pool: None,
                    makes_domain: false,
                },
            )
        })
    });
    for record in &state.steps {
        if let Ok(resource) = KINDS.revive(&record.kind, &record.desired) {
            drop(resource.lane());
            if let Some(output) = &record.output {
                drop(resource.id(output));
                drop(resource.output_after_update(output));
            }
        }
    }
    let lives: [fn(&Value) -> Live; 4] = [
        |desired| Live::Present(desired.clone()),
        |_| Live::Present(json!({"name": "\u{1b}"})),
        |_| Live::Missing,
        |_| Live::Unfinished,
    ];
    let live = lives[seen % lives.len()];
    let lives: Observed = (state.steps.iter())
        .map(|record| (record.step.clone(), live(&record.desired)))
        .collect();
    let wish = Options {
        occupied: BTreeMap::new(),
        replace: BTreeSet::new(),
        repair: true,
        unprotect: false,
    };
    drop(plan(&stack, state, &lives, KINDS, &wish));
}

#[test]
fn the_record_is_one_that_can_be_used() {
    let mut state: State = serde_json::from_value(recorded()).unwrap();
    upgrade(&mut state);
    assert_eq!(state.steps.len(), 16);
    for record in &state.steps {
        let resource = KINDS.revive(&record.kind, &record.desired).unwrap();
        resource.id(record.output.as_ref().unwrap()).unwrap();
    }
    for seen in 0..4 {
        use_state(state.clone(), seen);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_broken_state_is_refused_or_used_and_never_changed(blows in blows(), seen in 0..4_usize) {
        let text = broken(RECORDED.with(Clone::clone), &blows);
        let state = FOLDER.with(|folder| {
            let path = folder.path().join("orders.json");
            fs_err::write(&path, &text).unwrap();
            let state = StateFile::new(folder.path(), "orders").load();
            assert_eq!(fs_err::read(&path).unwrap(), text, "it is left as it is");
            state
        });
        match state {
            Ok(Some(state)) => use_state(state, seen),
            Ok(None) => prop_assert!(false, "the file is there"),
            Err(error) => prop_assert!(error.to_string().contains("orders.json")),
        }
    }

    #[test]
    fn a_broken_configuration_is_told_by_place_and_never_by_a_value(
        line in any::<Index>(),
        value in proptest::sample::select(VALUES),
        more in "[\\[\\]{}\"'=.,\u{0}\u{1b}\u{9b}\u{202e} a-z0-9]{0,4}",
        twice in any::<bool>(),
    ) {
        let mut lines: Vec<String> = CONFIG.lines().map(str::to_owned).collect();
        let line = line.index(lines.len());
        let value = match value {
            "@deep@" => "[".repeat(2000),
            "@long@" => format!("\"{}\"", "x".repeat(20_000)),
            other => other.to_owned(),
        };
        let key = lines[line].split('=').next().unwrap_or_default().to_owned();
        let changed = format!("{key} = {value}{more}");
        if twice {
            lines.insert(line, changed);
        } else {
            lines[line] = changed;
        }
        let text = lines.join("\n");
        if let Err(problems) = Config::read(&text, Path::new("nowhere")) {
            prop_assert!(!problems.is_empty());
            for Problem { message, .. } in &problems {
                prop_assert!(!message.contains("hunter"), "{message}");
            }
        }
    }

    #[test]
    fn no_answer_of_the_token_endpoint_gets_a_secret_or_an_escape_into_an_error(
        blows in blows(),
        which in 0..6_usize,
        status in proptest::sample::select(vec![200_u16, 201, 204, 301, 400, 401, 403, 404, 429, 500, 503, 599]),
    ) {
        let basic = BASE64_STANDARD.encode(format!("app1:{SECRET}"));
        let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({"scope": "a", "sub": TOKEN}).to_string());
        let document = match which {
            0 => json!({"access_token": format!("{TOKEN}.{claims}.{TOKEN}"), "token_type": "Bearer", "expires_in": 3600}),
            1 => json!({"error": "invalid_client", "error_description": format!("no {SECRET}\u{1b}[31m")}),
            2 => json!({"error": SECRET, "error_description": {"authorization": format!("Basic {basic}")}}),
            3 => json!({"message": format!("<html>{SECRET} {basic}\u{9b}2J\u{202e}"), "x": [1, 2, {"y": basic}]}),
            4 => json!({"error": "\u{7}", "access_token": TOKEN, "token_type": SECRET, "expires_in": "soon"}),
            _ => json!([SECRET, basic, {"access_token": TOKEN}]),
        };
        let body = broken(document, &blows);
        let secret = SecretString::from(SECRET);
        let request = TokenRequest {
            token_url: "https://a/oauth2/token",
            client_id: "app1",
            client_secret: &secret,
            scopes: &[],
        };
        match understand(StatusCode::from_u16(status).unwrap(), &body, &request) {
            Ok(token) => {
                prop_assert!(is_plain(token.access_token.expose_secret()));
                let debug = format!("{token:?}");
                prop_assert!(!debug.contains(TOKEN));
                if let Err(error) = token.claims() {
                    let debug = format!("{error:?}");
                    prop_assert!(!debug.contains(TOKEN));
                }
            }
            Err(error) => {
                let shown = error.to_string();
                prop_assert!(is_plain(&shown), "{shown:?}");
                for text in [shown, format!("{error:?}"), format!("{:?}", anyhow::Error::new(error))] {
                    for hidden in [SECRET, &basic, TOKEN] {
                        prop_assert!(!text.contains(hidden), "{hidden} is in {text}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_answer_of_the_api_panics(blows in blows(), status in 100..600_u16) {
        let document = json!({"message": "Unauthorized", "a": [{"Message": "Missing Authentication Token"}]});
        prop_assert!(api::explain(status, &broken(document.clone(), &blows)).is_none_or(is_plain));
        let message = json!({"message": document["message"]});
        prop_assert!(api::explain(status, &broken(message, &blows)).is_none_or(is_plain));
    }
}

/// An edit of `support/state.json`.
type Edit = fn(&mut Value);

/// Edits of a state that someone could make, and what the error says.
const EDITS: &[(Edit, &str)] = &[
    // Where secrets, tokens and code would go.
    (
        |s| s["steps"][5]["desired"]["prefix"] = json!("127.0.0.1:1/evil"),
        "step pool-domain cannot be used",
    ),
    (
        |s| s["steps"][5]["desired"]["prefix"] = json!("evil.example#"),
        "expected the prefix of a user pool's domain",
    ),
    (
        |s| s["steps"][8]["output"]["id"] = json!("127.0.0.1:1/evil"),
        "output.id: expected an id of API Gateway",
    ),
    (
        |s| s["steps"][8]["output"]["root"] = json!("A"),
        "step rest-api cannot be used",
    ),
    (
        |s| s["steps"][4]["output"]["id"] = json!("us-east-1_a/../b"),
        "expected the id of a user pool",
    ),
    (
        |s| s["steps"][7]["output"]["client_id"] = json!("a:b"),
        "expected the id of an app client",
    ),
    (
        |s| s["steps"][15]["desired"]["name"] = json!("../prod"),
        "step stage cannot be used",
    ),
    (
        |s| s["steps"][3]["desired"]["name"] = json!("arn:aws:lambda:us-east-1:999999999999:function:a"),
        "step function:orders cannot be used",
    ),
    (
        |s| s["steps"][2]["desired"]["name"] = json!("a\u{1b}[2J"),
        "expected the name of a log group",
    ),
    (
        |s| s["steps"][0]["output"]["arn"] = json!("arn:aws:iam::999999999999:role/admin"),
        "is not in account 000000000000",
    ),
    (
        |s| {
            s["steps"][9]["desired"]["pool_arns"][0] =
                json!("arn:aws:cognito-idp:eu-west-1:000000000000:userpool/a");
        },
        "is not in account 000000000000, region us-east-1",
    ),
    (
        |s| {
            s["steps"][12]["desired"]["uri"] = json!(
                "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:000000000000:function:a/invocations"
            );
        },
        "route:GET /orders/{id} cannot be used",
    ),
    (
        |s| s["region"] = json!("us-east-1.evil.example/"),
        "has an invalid region",
    ),
    (
        |s| s["account"] = json!("../12345678901"),
        "has an invalid account",
    ),
    (|s| s["partition"] = json!("aws/"), "has an invalid partition"),
    (|s| s["owner"] = json!("*"), "has an invalid owner"),
    // A record that is not of this stack.
    (
        |s| s["stack"] = json!("billing"),
        "is of stack \"billing\", expected \"orders\"",
    ),
    (
        |s| s["steps"][4]["desired"]["tags"]["provision:owner"] = json!("00000000"),
        "it is of provision:owner \"00000000\"",
    ),
    (
        |s| s["steps"][8]["desired"]["tags"]["provision:stack"] = json!("billing"),
        "it is of provision:stack \"billing\"",
    ),
    // One that contradicts itself.
    (
        |s| {
            let copy = s["steps"][7].clone();
            push(s, copy);
        },
        "has step \"client:billing\" twice",
    ),
    (
        |s| {
            let mut copy = s["steps"][7].clone();
            copy["step"] = json!("client:other");
            push(s, copy);
        },
        "step client:billing is of the same client",
    ),
    (
        |s| {
            let mut copy = s["steps"][7].clone();
            copy["step"] = json!("client:other");
            copy["desired"]["name"] = json!("other");
            push(s, copy);
        },
        "step client:billing is of the same client",
    ),
    (
        |s| {
            let mut copy = s["steps"][0].clone();
            copy["step"] = json!("role:other");
            copy["output"] = Value::Null;
            push(s, copy);
        },
        "step role:orders is of the same role",
    ),
    (|s| s["steps"][4]["needs"] = json!(["user-pool"]), "needs itself"),
    (|s| s["steps"][8]["needs"] = json!(["stage"]), "needs itself"),
    (
        |s| s["steps"][4]["kind"] = json!("volcano"),
        "no kind of resource is called volcano",
    ),
    (
        |s| s["steps"][4]["desired"]["mfa"] = json!(true),
        "step user-pool cannot be used",
    ),
    (
        |s| s["steps"][15]["desired"]["throttle"]["more"] = json!(1),
        "step stage cannot be used",
    ),
    (
        |s| s["steps"][4]["output"]["secret"] = json!("x"),
        "step user-pool cannot be used",
    ),
    (
        |s| s["steps"][5]["output"]["id"] = json!("x"),
        "step pool-domain cannot be used",
    ),
    (|s| s["steps"][4]["more"] = json!(1), "does not parse"),
];

fn push(state: &mut Value, record: Value) {
    state["steps"].as_array_mut().unwrap().push(record);
}

#[test]
fn a_state_that_someone_edited_is_refused_before_any_call() {
    let place = Place::new();
    fs_err::create_dir(place.path().join("state")).unwrap();
    let path = place.path().join("state/orders.json");
    // The port of no server: whatever is asked there ends with 1.
    let endpoint = "http://127.0.0.1:1";
    let mut state = recorded();
    state["endpoint"] = json!(endpoint);
    let run = |args: &[&str]| place.run_at(endpoint, &[args, &["--stack", "orders"]].concat());
    fs_err::write(&path, state.to_string()).unwrap();
    run(&["policy"]).ok();
    for (number, (edit, words)) in EDITS.iter().enumerate() {
        let mut edited = state.clone();
        edit(&mut edited);
        let text = edited.to_string();
        fs_err::write(&path, &text).unwrap();
        let commands: [&[&str]; 12] = [
            &["down", "--yes"],
            &["token"],
            &["call", "GET", "/orders/1"],
            &["verify"],
            &["secret", "show", "--yes"],
            &["secret", "rotate", "begin"],
            &["logs"],
            &["policy"],
            &["plan"],
            &["outputs"],
            &["client", "sheet"],
            &["openapi"],
        ];
        // All of them load it in one place: one after another is enough.
        for args in [commands[number % commands.len()], &["down", "--yes"]] {
            let run = run(args).code(2);
            assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
            assert!(run.stderr.contains(words), "{words:?} is not in {}", run.stderr);
            assert!(run.stderr.contains("hint: restore"), "{}", run.stderr);
            assert_eq!(
                fs_err::read_to_string(&path).unwrap(),
                text,
                "it is left as it is"
            );
        }
    }
    assert_eq!(fs_err::read_dir(place.path().join("state")).unwrap().count(), 1);
}

/// Control characters, the escape of a terminal's title, and something that looks like a secret.
const ESCAPES: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}client_secret=";

fn no_escape(run: &Run, of_stdout: bool) {
    let stdout = if of_stdout { run.stdout.as_str() } else { "" };
    for (name, text) in [("stderr", run.stderr.as_str()), ("stdout", stdout)] {
        let steers = text
            .chars()
            .find(|c| !is_plain(&c.to_string()) && !"\n\t".contains(*c));
        assert_eq!(steers, None, "{name}: {text:?}");
    }
}

#[test]
fn what_a_server_sends_does_not_control_the_terminal() {
    let world = World::new();
    let proxy = &world.proxy;
    let at = |args: &[&str]| world.run(args);
    at(&["up"]).ok();

    // The token endpoint.
    proxy.rule(|request, _| {
        if request.path.starts_with("/oauth2/") {
            let body = json!({"error": ESCAPES, "error_description": ESCAPES});
            return Act::Answer(400, vec![("x-shout", "\u{9b}")], body.to_string());
        }
        Act::Pass
    });
    for args in [&["token"][..], &["call", "GET", "/user"], &["token", "--json"]] {
        let run = at(args).code(1);
        assert!(
            run.stderr.contains("the token endpoint refused with \\u{1b}"),
            "{}",
            run.stderr
        );
        no_escape(&run, true);
    }

    // The API: what it answers is data, and goes to a pipe as it is.
    proxy.rule(|request, _| {
        if request.path.contains("/_user_request_") {
            return Act::Answer(418, vec![("x-shout", "\u{9b}31mloud")], ESCAPES.to_owned());
        }
        Act::Pass
    });
    let run = at(&["call", "GET", "/user"]).code(1);
    assert_eq!(run.stdout, format!("{ESCAPES}\n"));
    no_escape(&run, false);
    let run = at(&["call", "GET", "/user", "-i"]).code(1);
    assert!(run.stdout.contains("x-shout: \\u{9b}31mloud"), "{:?}", run.stdout);
    no_escape(&run, false);

    // AWS, in an error and in what is read.
    proxy.rule(|request, moment| {
        let reads = request.operation() == "DescribeUserPool";
        if moment == Moment::Before && reads {
            let body = json!({"__type": "InvalidParameterException", "message": ESCAPES});
            return Act::Answer(400, vec![("x-amzn-requestid", "r\u{9b}")], body.to_string());
        }
        Act::Pass
    });
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["plan", "-v"],
        &["up", "--json"],
        &["up", "-v"],
    ] {
        let run = at(args).code(1);
        assert!(
            run.stderr.contains("client_secret="),
            "it is an error's text: {}",
            run.stderr
        );
        no_escape(&run, true);
    }
    proxy.rule(|_, _| Act::Pass);
    at(&["down", "--yes"]).ok();
}

/// Every command that calls AWS.
const COMMANDS: [&[&str]; 12] = [
    &["status"],
    &["plan"],
    &["up", "--yes", "--no-verify"],
    &["down", "--yes"],
    &["logs"],
    &["verify"],
    &["token"],
    &["call", "GET", "/orders/1"],
    &["secret", "show", "--yes"],
    &["secret", "rotate", "begin"],
    &["secret", "rotate", "status"],
    &["client", "list"],
];

/// A place with the configuration of the record.
fn of_the_record() -> Place {
    let place = Place::new();
    fs_err::write(place.path().join("provision.toml"), CONFIG).unwrap();
    fs_err::create_dir(place.path().join("lambda")).unwrap();
    fs_err::write(place.path().join("lambda/index.mjs"), "").unwrap();
    place
}

/// A state with one step, so that the error and the deletion are of this step.
fn of_one_log_group() -> Value {
    let mut state = recorded();
    let steps = state["steps"].as_array_mut().unwrap();
    steps.retain(|record| record["kind"] == "log-group");
    state
}

/// What is wrong with how the run ended; `None` if nothing is.
fn wrong(end: &End) -> Option<&'static str> {
    let Case { at, args, kind } = end.case;
    let says = |words: &str| end.stderr.contains(words);
    let is_list = at == At::Aws
        && ["logs", "rotate"].iter().any(|list| args.contains(list))
        && !args.contains(&"begin");
    let steers = end
        .stderr
        .chars()
        .any(|c| c != '\n' && c != '\t' && !is_plain(&c.to_string()));
    [
        (end.hung, "it hung"),
        (
            !end.hung && !matches!(end.code, Some(0..=3)),
            "it did not end with one of its codes",
        ),
        (says("panicked"), "it panicked"),
        (end.memory > 100_000_000, "it took more than 100 MB"),
        (!end.hung && end.memory < 1_000_000, "its memory was not measured"),
        (
            matches!(end.code, Some(1 | 2)) && !end.stderr.lines().any(|line| line.starts_with("error: ")),
            "it told no error",
        ),
        (steers, "it steers the terminal"),
        (
            kind == Kind::Silence && !says("waiting for "),
            "it does not say what it waits for",
        ),
        (
            at == At::Sts
                && kind == Kind::Silence
                && !says("waiting for the answer to sts:GetCallerIdentity"),
            "it does not say what it waits for",
        ),
        (
            at == At::Sts && end.code != Some(1),
            "it went on without knowing whose credentials it has",
        ),
        (
            is_list && kind == Kind::SamePage && !says("the same paging token"),
            "it does not say that pages repeat",
        ),
        (
            at == At::Aws && kind == Kind::EndlessBody && !says("larger than 8 MiB"),
            "it does not say that the answer is too large",
        ),
        (
            at == At::Api && kind == Kind::EndlessBody && args[0] == "call" && !says("larger than 64 MiB"),
            "it does not say that the answer is too large",
        ),
        (
            matches!(at, At::Token | At::Keys) && end.code != Some(1),
            "it took a broken answer for a good one",
        ),
    ]
    .into_iter()
    .find_map(|(is_wrong, what)| is_wrong.then_some(what))
}

/// Runs the cases and fails with all that are wrong.
fn hold_out(state: &Value, cases: Vec<Case>, together: usize) -> Vec<End> {
    let ends = run_all(&of_the_record(), cases, state, together);
    let count = |is: fn(&End) -> bool| ends.iter().filter(|end| is(end)).count();
    let summary = format!(
        "{} cases, {} hung, {} panics, at most {} MB and {} s",
        ends.len(),
        count(|end| end.hung),
        count(|end| end.stderr.contains("panicked") || (!end.hung && !matches!(end.code, Some(0..=3)))),
        ends.iter().map(|end| end.memory).max().unwrap_or_default() / 1_000_000,
        ends.iter().map(|end| end.seconds).max().unwrap_or_default(),
    );
    drop(writeln!(std::io::stderr(), "{summary}"));
    let wrong: Vec<String> = (ends.iter())
        .filter_map(|end| {
            let what = wrong(end)?;
            let End {
                case,
                code,
                seconds,
                memory,
                stderr,
                ..
            } = end;
            Some(format!(
                "{what}: {case:?}, code {code:?}, {seconds} s, {memory} bytes\n{stderr}"
            ))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{summary}; {} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    ends
}

#[test]
fn broken_answers_end_in_an_error() {
    let kinds = [
        Kind::CutHead,
        Kind::Html,
        Kind::EndlessBody,
        Kind::Deep,
        Kind::LengthTooSmall,
        Kind::Escapes,
    ];
    let mut cases = Vec::new();
    for args in [COMMANDS[0], COMMANDS[3], COMMANDS[7]] {
        cases.extend(kinds.map(|kind| Case {
            at: At::Sts,
            args,
            kind,
        }));
    }
    for (args, kind) in [
        (COMMANDS[0], Kind::EndlessBody),
        (COMMANDS[4], Kind::SamePage),
        (COMMANDS[10], Kind::SamePage),
        (COMMANDS[11], Kind::SamePage),
    ] {
        cases.push(Case {
            at: At::Aws,
            args,
            kind,
        });
    }
    hold_out(&recorded(), cases, 8);
    let ends = hold_out(
        &of_one_log_group(),
        vec![Case {
            at: At::Aws,
            args: COMMANDS[0],
            kind: Kind::SamePage,
        }],
        1,
    );
    assert!(
        ends[0]
            .stderr
            .contains("logs:DescribeLogGroups: the answer has the same paging token"),
        "{}",
        ends[0].stderr
    );
}

#[test]
#[ignore = "most of its runs wait for a minute"]
fn no_broken_answer_hangs_any_command() {
    let api: [&[&str]; 3] = [COMMANDS[5], COMMANDS[6], COMMANDS[7]];
    let places: [(At, &[&[&str]]); 5] = [
        (At::Sts, &COMMANDS),
        (At::Aws, &COMMANDS),
        (At::Token, &api),
        (At::Api, &[api[0], api[2]]),
        (At::Keys, &[api[0]]),
    ];
    let mut cases = Vec::new();
    for (at, commands) in places {
        for args in commands {
            cases.extend(Kind::ALL.iter().map(|&kind| Case { at, args, kind }));
        }
    }
    hold_out(&recorded(), cases, 130);
}

#[test]
#[ignore = "most of its runs wait for five minutes"]
fn no_broken_answer_hangs_a_deletion() {
    let cases = Kind::ALL.iter().map(|&kind| Case {
        at: At::Deletes,
        args: COMMANDS[3],
        kind,
    });
    hold_out(&of_one_log_group(), cases.collect(), 24);
}
