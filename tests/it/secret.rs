//! `secret`: shown, and replaced without an outage, in the real emulator; killed at every call, and its answers lost.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::proxy::{Act, Moment, Request};
use crate::support::{self, Emulator, Run, World};
use serde_json::{Value, json};

const SHOW: &[&str] = &["secret", "show", "--yes"];
const BEGIN: &[&str] = &["secret", "rotate", "begin"];
const AGAIN: &[&str] = &["secret", "rotate", "begin", "--again"];
const FINISH: &[&str] = &["secret", "rotate", "finish", "--yes"];
const STATUS: &[&str] = &["secret", "rotate", "status", "--json"];

const LIST: &str = "ListUserPoolClientSecrets";
const ADD: &str = "AddUserPoolClientSecret";
const DELETE: &str = "DeleteUserPoolClientSecret";
const DESCRIBE: &str = "DescribeUserPoolClient";
const TOKEN: &str = "POST /oauth2/token";
const PUT: &str = "PutParameter";

/// A role of another account.
const ROLE: &str = "arn:aws:iam::444455556666:role/secrets";

/// An answer of Cognito or Secrets Manager.
fn answer(status: u16, body: &Value) -> Act {
    let headers = vec![("content-type", "application/x-amz-json-1.1")];
    Act::Answer(status, headers, body.to_string())
}

/// The sample stack, up.
fn sample() -> World {
    let world = World::new();
    world.run(&["up", "--no-verify"]).ok();
    world.proxy.take();
    world
}

impl World {
    /// The ids with which Cognito finds the client.
    fn client(&self) -> Value {
        self.state().client("client:app")
    }

    /// The ids of the secrets that the emulator lists, oldest first.
    fn ids(&self) -> Vec<String> {
        let listed = self.emulator.cognito(LIST, &self.client());
        let ids = listed["ClientSecrets"].as_array().unwrap().iter();
        ids.map(|secret| secret["ClientSecretId"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Whether the token endpoint accepts this secret.
    fn accepts(&self, secret: &str) -> bool {
        let url = format!("{}/oauth2/token", self.emulator.endpoint);
        let client = self.client();
        let credentials = (client["ClientId"].as_str().unwrap(), secret);
        let text = support::post_form(&url, credentials, "grant_type=client_credentials");
        let is_accepted = text.contains("\"access_token\"");
        assert!(is_accepted || text.contains("invalid_client"), "{text}");
        is_accepted
    }

    /// The secret that the command prints on stdout.
    fn secret(&self, args: &[&str]) -> String {
        let run = self.run(args).ok();
        let secret = run.stdout.strip_suffix('\n').unwrap();
        assert!(!secret.contains(['\n', ' ']), "the bare secret");
        assert!(
            secret.len() >= 24 && !run.stderr.contains(secret),
            "{}",
            run.stderr
        );
        secret.to_owned()
    }

    /// Kills the process at its first call of `operation`.
    fn kill_at_first(&self, args: &[&str], operation: &'static str, moment: Moment) {
        let is_killed = self.kill_at(args, 0, moment, move |request| request.operation() == operation);
        assert!(is_killed, "{args:?} {operation} {moment:?}");
    }

    /// Fails unless, after a kill, there are one or two secrets, and the one that was valid all the time still is.
    fn assert_usable(&self, good: &str, story: &str) {
        let ids = self.ids();
        assert!([1, 2].contains(&ids.len()), "{story}: {ids:?}");
        assert!(self.accepts(good), "{story}");
        self.run(&["token"]).ok();
    }

    /// From now on Cognito answers this in place of the client's secret.
    fn describes(&self, members: &Value) {
        let describe = self.describing(members);
        self.proxy.rule(move |request, _| {
            if request.operation() == DESCRIBE {
                describe.clone()
            } else {
                Act::Pass
            }
        });
    }

    /// Cognito's answer with this in place of the client's secret.
    fn describing(&self, members: &Value) -> Act {
        let mut live = self.emulator.cognito(DESCRIBE, &self.client());
        let client = live["UserPoolClient"].as_object_mut().unwrap();
        client.remove("ClientSecret").unwrap();
        client.extend(members.as_object().unwrap().clone());
        answer(200, &live)
    }

    /// The secret that Secrets Manager has under this name.
    fn stored(&self, name: &str) -> Value {
        let get = json!({ "SecretId": name });
        self.emulator.json("secretsmanager.GetSecretValue", &get)["SecretString"].take()
    }

    /// Someone else creates a parameter of Systems Manager.
    fn put(&self, parameter: &Value) {
        let made = self.emulator.json("AmazonSSM.PutParameter", parameter);
        assert_eq!(made["Version"], 1, "{made}");
    }

    /// The parameter of Systems Manager, decrypted; null if it is not there.
    fn parameter(&self, name: &str) -> Value {
        parameter(&self.emulator, name)
    }

    /// Begins a rotation to this place; an unfinished one is begun again.
    fn begin(&self, to: &[&str]) -> Run {
        self.run(&[AGAIN, to].concat())
    }
}

fn parameter(emulator: &Emulator, name: &str) -> Value {
    let get = json!({"Name": name, "WithDecryption": true});
    emulator.json("AmazonSSM.GetParameter", &get)["Parameter"].take()
}

#[test]
fn the_whole_story() {
    let world = sample();
    let path = |name: &str| world.path(name);
    let mut said = String::new();

    // Off a terminal a secret is not shown unasked, and nothing was asked of AWS.
    let refused = world.run(&["secret", "show"]).code(2);
    assert!(
        refused.stdout.is_empty() && refused.stderr.contains("hint: pass --yes"),
        "{}",
        refused.stderr
    );
    assert!(world.proxy.take().is_empty());
    let first = world.secret(SHOW);
    assert!(world.accepts(&first));
    let shown = world
        .run(&["secret", "show", "app", "--yes", "--json", "-v"])
        .ok();
    let [first_id] = &world.ids()[..] else {
        panic!("there is one")
    };
    assert_eq!(
        shown.json(),
        json!({
            "client": "app", "client_id": world.client()["ClientId"], "secret_id": first_id, "client_secret": first,
        })
    );
    said += &shown.stderr;
    let status = world.run(STATUS).ok().json();
    assert_eq!(
        (&status["format"], &status["rotation"]),
        (&json!(1), &json!("none"))
    );
    assert_eq!(status["secrets"][0]["which"], "only");

    let run = world.run(&["secret", "rotate", "begin", "-v"]).ok();
    let second = run.stdout.trim_end().to_owned();
    said += &run.stderr;
    assert!(
        run.stderr.contains("provision secret rotate finish app"),
        "{}",
        run.stderr
    );
    assert!(first != second && world.accepts(&first) && world.accepts(&second));
    world.run(&["token"]).ok();
    world.run(&["call", "GET", "/user"]).ok();
    world.run(&["verify"]).ok();
    world.run(&["status"]).ok();
    world.run(&["plan", "--check"]).ok();

    let status = world.run(STATUS).ok().json();
    assert_eq!(status["rotation"], "under_way");
    let ids = world.ids();
    for (index, which) in ["old", "new"].into_iter().enumerate() {
        assert_eq!(status["secrets"][index]["which"], which);
        assert_eq!(status["secrets"][index]["secret_id"], ids[index]);
    }
    let shown = world.run(&["secret", "show", "--yes", "--json"]).ok();
    assert_eq!(
        shown.json()["secret_id"],
        Value::Null,
        "which one it is, is not known"
    );
    assert!(
        shown.stderr.contains("has more than one secret"),
        "{}",
        shown.stderr
    );

    // A third is not made, and a lost second is replaced.
    let refused = world.run(BEGIN).code(2);
    assert!(
        refused.stdout.is_empty() && refused.stderr.contains("is under way since 20"),
        "{}",
        refused.stderr
    );
    assert_eq!(world.ids(), ids);
    let begun = world
        .run(&["secret", "rotate", "begin", "--again", "--json", "-v"])
        .ok();
    said += &begun.stderr;
    let third = begun.json()["client_secret"].as_str().unwrap().to_owned();
    assert_eq!(begun.json()["secret_id"], world.ids()[1]);
    assert_eq!((&world.ids()[0], world.ids().len()), (&ids[0], 2));
    assert!(world.accepts(&first) && !world.accepts(&second) && world.accepts(&third));

    let refused = world.run(&["secret", "rotate", "finish"]).code(2);
    assert!(
        refused.stderr.contains("nothing was deleted"),
        "{}",
        refused.stderr
    );
    assert_eq!(world.ids().len(), 2);
    let run = world
        .run(&["secret", "rotate", "finish", "--yes", "--json", "-v"])
        .ok();
    said += &run.stderr;
    assert_eq!(
        (&run.json()["deleted"], &run.json()["secret_id"]),
        (&json!(ids[0]), &json!(world.ids()[0]))
    );
    assert!(!world.accepts(&first) && world.accepts(&third));
    assert_eq!(world.secret(SHOW), third);
    world.run(&["token"]).ok();
    world.run(&["verify"]).ok();
    world.run(&["plan", "--check"]).ok();
    // Twice is once.
    let run = world.run(FINISH).ok();
    assert!(
        run.stdout.is_empty() && run.stderr.contains("nothing to do"),
        "{}",
        run.stderr
    );

    // Into a file, for its owner alone.
    let run = world
        .run(&["secret", "rotate", "begin", "--to", "file:new.secret", "-v"])
        .ok();
    assert!(run.stdout.is_empty());
    said += &run.stderr;
    let text = fs_err::read_to_string(path("new.secret")).unwrap();
    let fourth = text.strip_suffix('\n').unwrap();
    assert!(world.accepts(fourth) && world.accepts(&third));
    let mode = fs_err::metadata(path("new.secret")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let run = world
        .run(&["secret", "show", "--to", "file:shown.secret", "--json"])
        .ok();
    assert_eq!(
        (&run.json()["to"], &run.json()["client_secret"]),
        (&json!("file:shown.secret"), &Value::Null)
    );
    assert_eq!(
        fs_err::read_to_string(path("shown.secret")).unwrap(),
        format!("{third}\n")
    );
    world.run(FINISH).ok();

    // Into Secrets Manager.
    let made = world
        .emulator
        .json("secretsmanager.CreateSecret", &json!({"Name": "orders/app"}));
    assert_eq!(made["Name"], "orders/app");
    let run = world
        .run(&[
            "secret",
            "rotate",
            "begin",
            "--to",
            "secretsmanager:orders/app",
            "-v",
        ])
        .ok();
    assert!(run.stdout.is_empty());
    said += &run.stderr;
    let fifth = world.stored("orders/app").as_str().unwrap().to_owned();
    assert!(world.accepts(&fifth) && world.accepts(fourth) && fifth != fourth);
    world.run(FINISH).ok();
    world.run(&["token"]).ok();

    for operation in [LIST, ADD, DELETE, "PutSecretValue"] {
        assert!(said.contains(operation), "-v tells of {operation}");
    }
    for secret in [first.as_str(), &second, &third, fourth, &fifth] {
        assert!(!said.contains(secret));
        for (path, text) in world.place.texts("state") {
            assert!(!text.contains(secret), "{}", path.display());
        }
    }
    world.down();
}

#[test]
fn a_place_that_cannot_be_used_is_refused_before_there_is_a_secret() {
    let world = sample();
    fs_err::write(world.path("there"), "mine").unwrap();
    fs_err::write(world.path("empty"), "").unwrap();
    let before = world.ids();
    let state = world.state();
    let ours = json!([{"Key": "provision:owner", "Value": state.owner()}]);
    world.put(&json!({"Name": "/taken", "Type": "SecureString", "Value": "mine"}));
    world.put(&json!({"Name": "/open", "Type": "String", "Value": "x", "Tags": ours}));
    let file_as_role = world
        .run(&["secret", "show", "--to", "file:new", "--to-role", ROLE])
        .code(2);
    assert!(
        file_as_role
            .stderr
            .contains("--to-role cannot be used with --to file:PATH"),
        "{}",
        file_as_role.stderr
    );
    for (to, said) in [
        ("there", "expected file:PATH, secretsmanager:NAME or ssm:/PATH"),
        ("file:", "expected file:PATH, secretsmanager:NAME or ssm:/PATH"),
        (
            "s3:bucket",
            "expected file:PATH, secretsmanager:NAME or ssm:/PATH",
        ),
        (
            "ssm:orders",
            "expected file:PATH, secretsmanager:NAME or ssm:/PATH",
        ),
        (
            "ssm:/taken",
            "parameter /taken of Systems Manager exists and is not of this stack: it is left as it is",
        ),
        (
            "ssm:/taken",
            "hint: name another parameter, or, if nobody uses this one: aws ssm delete-parameter",
        ),
        ("ssm:/open", "has type \"String\", expected SecureString"),
        ("file:there", "hint: name a new file with --to"),
        ("file:empty", "hint: it is empty, as a killed run leaves it"),
        ("file:no/folder", "no/folder"),
        ("file:.", "already exists"),
        (
            "secretsmanager:missing",
            "aws secretsmanager create-secret --name missing",
        ),
    ] {
        for command in [
            &["secret", "rotate", "begin", "--to", to][..],
            &["secret", "show", "--to", to],
        ] {
            let run = world.run(command).code(2);
            assert!(
                run.stdout.is_empty() && run.stderr.contains(said),
                "{to}: {}",
                run.stderr
            );
        }
    }
    // Not even with --again is anything deleted for it.
    world.run(BEGIN).ok();
    let two = world.ids();
    world
        .run(&["secret", "rotate", "begin", "--again", "--to", "file:there"])
        .code(2);
    assert_eq!(world.ids(), two);
    assert_eq!((&two[0], before.len()), (&before[0], 1));
    assert_eq!(fs_err::read_to_string(world.path("there")).unwrap(), "mine");
    assert_eq!(world.parameter("/taken")["Value"], "mine");

    // Another run is in the way.
    let lock = fs_err::File::open(world.path("state/user-api.lock")).unwrap();
    lock.file().lock().unwrap();
    for command in [AGAIN, FINISH] {
        world.run(command).code(4);
    }
    assert_eq!(world.ids(), two);
    world.run(STATUS).ok();
    world.run(SHOW).ok();
}

#[test]
fn a_secret_is_put_into_a_parameter_of_systems_manager_and_read_there() {
    let world = sample();
    let to = ["--to", "ssm:/orders/app"];
    world.begin(&[&to[..], &["-v"]].concat()).ok();
    let made = world.parameter("/orders/app");
    let first = made["Value"].as_str().unwrap().to_owned();
    assert!(world.accepts(&first));
    assert_eq!(
        (&made["Type"], &made["Version"]),
        (&json!("SecureString"), &json!(1))
    );
    let filter = json!({"ParameterFilters": [{"Key": "Name", "Values": ["/orders/app"]}]});
    let described = world.emulator.json("AmazonSSM.DescribeParameters", &filter)["Parameters"][0].take();
    assert_eq!(described["Tier"], "Standard");
    assert_eq!(
        described["Description"],
        "The secret of client app of stack user-api"
    );
    let about = json!({"ResourceType": "Parameter", "ResourceId": "/orders/app"});
    let tags = world.emulator.json("AmazonSSM.ListTagsForResource", &about);
    let owner = json!({"Key": "provision:owner", "Value": world.state().owner()});
    assert!(tags["TagList"].as_array().unwrap().contains(&owner), "{tags}");
    world.run(FINISH).ok();

    // The next rotation writes over it; so does what is shown.
    let run = world.begin(&[&to[..], &["--json"]].concat()).ok();
    assert_eq!(run.json()["to"], "ssm:/orders/app");
    let second = world.parameter("/orders/app");
    assert_eq!(second["Version"], 2);
    let second = second["Value"].as_str().unwrap();
    assert!(world.accepts(&first) && world.accepts(second) && second != first);
    assert!(!run.stdout.contains(second));
    world.run(FINISH).ok();
    world.run(&["secret", "show", to[0], to[1]]).ok();
    assert_eq!(world.parameter("/orders/app")["Value"], second);

    // It is read there, also where the configuration says so.
    world.run(&["token", "--secret-from", "ssm:/orders/app"]).ok();
    let missing = world.run(&["token", "--secret-from", "ssm:/orders/none"]).code(1);
    for said in [
        "there is no parameter /orders/none in region eu-west-1",
        "run `provision secret show app --to ssm:/orders/none`",
    ] {
        assert!(missing.stderr.contains(said), "{}", missing.stderr);
    }
    // What is there stays when the stack is gone; one of another stack is not written over.
    world.down();
    assert_eq!(world.parameter("/orders/app")["Value"], second);
    world.run(&["up", "--no-verify"]).ok();
    let refused = world.begin(&to).code(2);
    assert!(
        refused.stderr.contains("is not of this stack"),
        "{}",
        refused.stderr
    );
    assert_eq!(world.ids().len(), 1);
    world.down();
}

#[test]
fn a_parameter_whose_answer_is_lost_is_compared_and_one_that_is_refused_is_told() {
    let world = sample();
    let good = world.secret(SHOW);
    let to = ["--to", "ssm:/orders/app"];
    let puts = |world: &World| {
        let sent = world.proxy.take();
        sent.iter().filter(|request| request.operation() == PUT).count()
    };
    // The first answer of each is lost: a create is refused when it is repeated, a change is made twice.
    for versions in [1, 3] {
        puts(&world);
        let lost = AtomicUsize::new(0);
        world.proxy.rule(move |request, moment| {
            let put = request.operation() == PUT && moment == Moment::After;
            let first = put && lost.fetch_add(1, Ordering::SeqCst) == 0;
            if first { Act::Cut } else { Act::Pass }
        });
        world.begin(&to).ok();
        assert_eq!(puts(&world), 2);
        let there = world.parameter("/orders/app");
        assert_eq!(there["Version"], versions);
        assert!(world.accepts(there["Value"].as_str().unwrap()));
    }
    let before = world.parameter("/orders/app");
    for (status, code, said) in [
        (
            400,
            "AccessDeniedException",
            "ssm:AddTagsToResource on that parameter",
        ),
        (
            400,
            "ParameterMaxVersionLimitExceeded",
            "ParameterMaxVersionLimitExceeded: as told",
        ),
        (400, "InvalidKeyId", "InvalidKeyId: as told"),
    ] {
        let body = json!({"__type": code, "message": "as told"});
        world.proxy.rule(move |request, _| {
            if request.operation() == PUT {
                answer(status, &body)
            } else {
                Act::Pass
            }
        });
        let run = world.begin(&to).code(1);
        for said in [
            said,
            "cannot write to ssm:/orders/app",
            "was created but not handed out",
            "the same command with --again replaces it",
        ] {
            assert!(run.stderr.contains(said), "{}", run.stderr);
        }
        assert_eq!(world.parameter("/orders/app"), before);
        world.assert_usable(&good, code);
    }
    // Someone else creates it after the look.
    let value = json!({"Name": "/late", "Type": "SecureString", "Value": "mine"});
    let emulator = Emulator::new(world.emulator.endpoint.clone());
    world.proxy.rule(move |request, moment| {
        if request.operation() == PUT && moment == Moment::Before {
            emulator.json("AmazonSSM.PutParameter", &value);
        }
        Act::Pass
    });
    let run = world.begin(&["--to", "ssm:/late"]).code(1);
    assert!(run.stderr.contains("ParameterAlreadyExists"), "{}", run.stderr);
    assert_eq!(world.parameter("/late")["Value"], "mine");
    world.assert_usable(&good, "someone else's");
}

#[test]
fn a_role_of_another_account_writes_the_secret_there() {
    let world = sample();
    let there = world.emulator.as_role(ROLE);
    there.json("secretsmanager.CreateSecret", &json!({"Name": "orders/app"}));
    let stored = || {
        let get = json!({"SecretId": "orders/app"});
        there.json("secretsmanager.GetSecretValue", &get)["SecretString"].take()
    };
    for place in ["ssm:/orders/app", "secretsmanager:orders/app"] {
        world.proxy.take();
        let run = world
            .begin(&["--to", place, "--to-role", ROLE, "-v", "--json"])
            .ok();
        assert_eq!(
            (&run.json()["to"], &run.json()["role"]),
            (&json!(place), &json!(ROLE))
        );
        let value = if place.starts_with("ssm") {
            parameter(&there, "/orders/app")["Value"].take()
        } else {
            stored()
        };
        let value = value.as_str().unwrap();
        assert!(world.accepts(value) && !run.stderr.contains(value));
        // Nothing of it is in the stack's own account, and nothing of the role's credentials is told or kept.
        assert_eq!(
            (world.parameter("/orders/app"), world.stored("orders/app")),
            (Value::Null, Value::Null)
        );
        let sent = world.proxy.take();
        let assumed: Vec<_> = sent
            .iter()
            .filter(|request| request.operation() == "AssumeRole")
            .collect();
        assert_eq!(assumed.len(), 1);
        let body = String::from_utf8_lossy(&assumed[0].body).into_owned();
        assert!(body.contains("RoleSessionName=provision-user-api"), "{body}");
        let tokens: BTreeSet<String> = (sent.iter())
            .filter(|request| ["ssm", "secretsmanager"].contains(&request.service()))
            .map(|request| {
                request
                    .header("x-amz-security-token")
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        let [key] = &tokens.into_iter().collect::<Vec<_>>()[..] else {
            panic!("one token for all calls")
        };
        assert!(!key.is_empty() && !run.stderr.contains(&**key) && !run.stdout.contains(&**key));
        for (path, text) in world.place.texts("state") {
            assert!(!text.contains(&**key), "{}", path.display());
        }
    }
    // A role that does not let these credentials in is told before there is a secret.
    world.run(FINISH).ok();
    let refused =
        "<ErrorResponse><Error><Code>AccessDenied</Code><Message>as told</Message></Error></ErrorResponse>";
    world.proxy.rule(move |request, _| {
        if request.operation() == "AssumeRole" {
            Act::Answer(403, vec![("content-type", "text/xml")], refused.to_owned())
        } else {
            Act::Pass
        }
    });
    let run = world
        .run(&[BEGIN, &["--to", "ssm:/orders/app", "--to-role", ROLE]].concat())
        .code(1);
    for said in [
        "cannot use role arn:aws:iam::444455556666:role/secrets",
        "its trust policy must name these credentials",
    ] {
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
    assert_eq!(world.ids().len(), 1);
}

#[test]
fn which_is_the_older_is_not_guessed() {
    let world = sample();
    let secret = |id: &str, date: Value| json!({"ClientSecretId": id, "ClientSecretCreateDate": date});
    for (secrets, named, which) in [
        (
            json!([secret("c--1", json!(1.5)), secret("c--2", json!(1.5))]),
            "has the secrets c--1 and c--2",
            json!("unclear"),
        ),
        (
            json!([secret("c--1", json!(1.5)), {"ClientSecretId": "c--2"}]),
            "has the secrets c--1 and c--2",
            json!("unclear"),
        ),
        (json!([]), "Cognito lists no secret of client app", Value::Null),
    ] {
        let body = json!({ "ClientSecrets": secrets }).to_string();
        let list = Act::Answer(200, vec![("content-type", "application/x-amz-json-1.1")], body);
        world.proxy.rule(move |request, _| {
            if request.operation() == LIST {
                list.clone()
            } else {
                Act::Pass
            }
        });
        for command in [BEGIN, AGAIN, FINISH] {
            let run = world.run(command).code(2);
            assert!(
                run.stdout.is_empty() && run.stderr.contains(named),
                "{}",
                run.stderr
            );
        }
        let status = world.run(STATUS).ok().json();
        assert_eq!(status["rotation"], "unclear");
        assert_eq!(status["secrets"][0]["which"], which);
        // Which one it is does not matter here: it is good.
        assert!(world.accepts(&world.secret(SHOW)));
    }
    let written = (world.proxy.take().iter()).any(|request| [ADD, DELETE].contains(&&*request.operation()));
    assert!(!written);
    assert_eq!(world.ids().len(), 1);
}

#[test]
fn what_was_made_and_not_handed_out_is_told_and_replaced() {
    let world = sample();
    let good = world.secret(SHOW);
    let to = ["secret", "rotate", "begin", "--again", "--to", "file:new.secret"];
    let file = world.path("new.secret");

    // A quota is told at once; the file that was made for the secret goes again.
    world.proxy.take();
    let body = r#"{"__type": "LimitExceededException", "message": "Too many."}"#;
    let limit = Act::Answer(
        400,
        vec![("content-type", "application/x-amz-json-1.1")],
        body.to_owned(),
    );
    world.proxy.rule(move |request, _| {
        if request.operation() == ADD {
            limit.clone()
        } else {
            Act::Pass
        }
    });
    let run = world.run(&to).code(1);
    assert!(
        run.stderr.contains("LimitExceededException: Too many."),
        "{}",
        run.stderr
    );
    let adds = |world: &World| {
        world
            .proxy
            .take()
            .iter()
            .filter(|request| request.operation() == ADD)
            .count()
    };
    assert_eq!(adds(&world), 1);
    assert!(!file.exists());

    // An answer that is lost: not asked for again, and it is said what may be there.
    world.proxy.rule(|request, moment| {
        let lost = request.operation() == ADD && moment == Moment::After;
        if lost { Act::Cut } else { Act::Pass }
    });
    let run = world.run(&to).code(1);
    assert!(
        run.stderr
            .contains("there may be a second secret that nobody knows"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("the same command with --again replaces it"),
        "{}",
        run.stderr
    );
    assert_eq!(adds(&world), 1);
    assert!(!file.exists());
    assert_eq!(world.ids().len(), 2);
    world.assert_usable(&good, "an answer lost");

    // A reader that went away has not got it.
    world.proxy.rule(|_, _| Act::Pass);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = world.command(AGAIN).stdout(writer).output().unwrap();
    let run = Run::from(output).code(1);
    assert!(
        run.stderr.contains("was created but not handed out"),
        "{}",
        run.stderr
    );
    assert_eq!(world.ids().len(), 2);
    world.assert_usable(&good, "nobody reads");

    // Nor has Secrets Manager, where its answer is lost, or it refuses.
    world
        .emulator
        .json("secretsmanager.CreateSecret", &json!({"Name": "app"}));
    let to = [
        "secret",
        "rotate",
        "begin",
        "--again",
        "--to",
        "secretsmanager:app",
    ];
    let denied = r#"{"__type": "AccessDeniedException", "message": "not authorized to perform"}"#;
    let json_type = || vec![("content-type", "application/x-amz-json-1.1")];
    for (answer, said) in [
        (
            Act::Answer(400, json_type(), denied.to_owned()),
            "secretsmanager:PutSecretValue on that secret",
        ),
        (
            Act::Answer(400, json_type(), r#"{"__type": "DecryptionFailure"}"#.to_owned()),
            "DecryptionFailure",
        ),
    ] {
        let told = answer.clone();
        world.proxy.rule(move |request, _| {
            if request.operation() == "PutSecretValue" {
                told.clone()
            } else {
                Act::Pass
            }
        });
        let run = world.run(&to).code(1);
        assert!(run.stderr.contains(said), "{}", run.stderr);
        assert!(
            run.stderr.contains("cannot write to secretsmanager:app"),
            "{}",
            run.stderr
        );
        assert!(
            run.stderr.contains("the same command with --again replaces it"),
            "{}",
            run.stderr
        );
        assert_eq!(world.stored("app"), Value::Null);
        assert_eq!(world.ids().len(), 2);
        world.assert_usable(&good, said);
    }
    // One lost answer is asked for again, and makes no second version.
    world.proxy.take();
    let lost = AtomicUsize::new(0);
    world.proxy.rule(move |request, moment| {
        let put = request.operation() == "PutSecretValue" && moment == Moment::After;
        if put && lost.fetch_add(1, Ordering::SeqCst) == 0 {
            Act::Cut
        } else {
            Act::Pass
        }
    });
    world.run(&to).ok();
    let put: Vec<Value> = (world.proxy.take().iter())
        .filter(|request| request.operation() == "PutSecretValue")
        .map(|request| serde_json::from_slice::<Value>(&request.body).unwrap()["ClientRequestToken"].take())
        .collect();
    assert_eq!((put.len(), &put[0]), (2, &put[1]));
    let versions = world
        .emulator
        .json("secretsmanager.ListSecretVersionIds", &json!({"SecretId": "app"}));
    assert_eq!(versions["Versions"].as_array().unwrap().len(), 1, "{versions}");
    assert!(world.accepts(world.stored("app").as_str().unwrap()));
}

#[test]
fn whichever_secret_cognito_answers_another_source_can_be_named() {
    let world = sample();
    let first = world.secret(SHOW);
    let path = world.path("new.secret");
    let begin = ["secret", "rotate", "begin", "--to", "file:new.secret"];
    world.run(&begin).ok();
    let second = fs_err::read_to_string(&path).unwrap().trim_end().to_owned();
    let made = json!({"Name": "orders/app", "SecretString": second});
    world.emulator.json("secretsmanager.CreateSecret", &made);
    let from = |command: &'static [&'static str], source: &str| {
        let mut command = world.command(&[command, &["--secret-from", source]].concat());
        Run::from(command.env("APP_SECRET", &second).output().unwrap())
    };
    let commands: [&'static [&'static str]; 3] = [&["token"], &["call", "GET", "/user"], &["verify"]];
    let everything = |story: &str| {
        for command in commands {
            for source in ["file:new.secret", "env:APP_SECRET", "secretsmanager:orders/app"] {
                let run = from(command, source).ok();
                assert!(
                    !format!("{}{}", run.stdout, run.stderr).contains(&second),
                    "{story}"
                );
            }
        }
    };

    // While there are two, and when the new one is left: it is answered, or the old one, or none.
    for both in [true, false] {
        for (members, name) in [
            (json!({"ClientSecret": first}), "old"),
            (json!({"ClientSecret": second}), "new"),
            (json!({}), "none"),
        ] {
            let story = format!("{name}, both: {both}");
            world.describes(&members);
            everything(&story);
            // Without a source.
            if name == "new" || (name == "old" && both) {
                for command in commands {
                    world.run(command).ok();
                }
                assert_eq!(world.secret(SHOW), members["ClientSecret"], "{story}");
                continue;
            }
            let show = world.run(SHOW).code(1);
            assert!(show.stdout.is_empty(), "{story}");
            let said = if name == "old" {
                "Cognito shows a secret of client app that gets no token; nothing was shown"
            } else {
                "has no secret that cognito tells"
            };
            for said in [said, "use the one that `secret rotate begin` handed out"] {
                assert!(show.stderr.contains(said), "{story}: {}", show.stderr);
            }
            if name == "none" {
                for command in &commands[..2] {
                    let run = world.run(command).code(1);
                    for said in ["has no secret that cognito tells", "--secret-from file:PATH"] {
                        assert!(run.stderr.contains(said), "{story}: {}", run.stderr);
                    }
                }
            }
        }
        if both {
            world.proxy.rule(|_, _| Act::Pass);
            world.run(FINISH).ok();
        }
    }
    assert!(!world.accepts(&first) && world.accepts(&second));

    // What Cognito answers may yet become the right one: it is asked again.
    let old = world.describing(&json!({"ClientSecret": first}));
    let times = AtomicUsize::new(0);
    world.proxy.rule(move |request, _| {
        if request.operation() == DESCRIBE && times.fetch_add(1, Ordering::SeqCst) == 0 {
            old.clone()
        } else {
            Act::Pass
        }
    });
    let run = world.run(&["token"]).ok();
    assert!(
        run.stderr.contains("no token yet: ") && run.stderr.contains("invalid_client"),
        "{}",
        run.stderr
    );

    // What is named and is not there, or is not a secret.
    for (source, said) in [
        ("file:missing", "missing"),
        ("file:.", "is a folder"),
        ("file:provision.toml.no", "provision.toml.no"),
        (
            "env:NO_SUCH_SECRET",
            "environment variable NO_SUCH_SECRET is not set",
        ),
        (
            "env:PATH_WITH_BLANKS",
            "env:PATH_WITH_BLANKS has no client's secret in it",
        ),
        (
            "secretsmanager:missing",
            "hint: to put it there, run `provision secret show app --to secretsmanager:missing`",
        ),
    ] {
        let mut command = world.command(&["token", "--secret-from", source]);
        let run = Run::from(command.env("PATH_WITH_BLANKS", "a b").output().unwrap()).code(1);
        assert!(
            run.stderr.contains("cannot read the secret of client app") && run.stderr.contains(said),
            "{source}: {}",
            run.stderr
        );
    }
    for (command, said) in [
        (
            &["token", "--secret-from", "new.secret"][..],
            "expected file:PATH, env:NAME, secretsmanager:NAME or ssm:/PATH",
        ),
        (
            &["verify", "--secret-from", "other=env:X"],
            "client other not found",
        ),
    ] {
        let run = world.run(command).code(2);
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
    world
        .run(&["verify", "--secret-from", "app=file:new.secret"])
        .ok();
}

#[test]
fn without_a_readable_secret_what_can_be_proved_is_and_the_rest_is_told() {
    let world = sample();
    world.describes(&json!({}));
    let verify = world.run(&["verify"]).code(1);
    for said in [
        "error: not everything was proved: 3 of 3 probes passed",
        "not proved: no token of client app was checked or tried: cannot read the secret of client app: client ",
        "--secret-from file:PATH",
    ] {
        assert!(verify.stderr.contains(said), "{}", verify.stderr);
    }
    let document = world.run(&["verify", "--json"]).code(1).json();
    assert_eq!(document["ok"], false);
    assert!(document["not_proved"]["app"].is_string(), "{document}");
    let probes: Vec<_> = (document["probes"].as_array().unwrap().iter())
        .map(|probe| {
            (
                probe["check"].as_str().unwrap(),
                probe["got"].as_str().unwrap(),
                probe["ok"] == true,
            )
        })
        .collect();
    assert_eq!(
        probes,
        [
            ("no_token", "401 Unauthorized", true),
            ("wrong_token", "401 Unauthorized", true),
            ("no_route", "403 Missing Authentication Token", true),
        ]
    );

    // The end of an `up` that changes something: someone has taken the client's scopes away.
    let mut live = world.emulator.cognito(DESCRIBE, &world.client())["UserPoolClient"].take();
    for key in ["ClientSecret", "CreationDate", "LastModifiedDate"] {
        live.as_object_mut().unwrap().remove(key);
    }
    live["AllowedOAuthScopes"] = json!([]);
    world.emulator.cognito("UpdateUserPoolClient", &live);
    let drifted = world.describing(&json!({}));
    let updated = Arc::new(AtomicUsize::new(0));
    let whole = {
        live["AllowedOAuthScopes"] = json!(["OauthResourceServer/user.read"]);
        answer(200, &json!({ "UserPoolClient": live }))
    };
    world
        .proxy
        .rule(move |request, moment| match (&*request.operation(), moment) {
            ("UpdateUserPoolClient", Moment::After) => {
                updated.store(1, Ordering::SeqCst);
                Act::Pass
            }
            (DESCRIBE, _) if updated.load(Ordering::SeqCst) == 0 => drifted.clone(),
            (DESCRIBE, _) => whole.clone(),
            _ => Act::Pass,
        });
    let up = world.run(&["up", "--yes"]).ok();
    for said in [
        "verified  3 of 3 probes",
        "warning: not proved: no token of client app was checked or tried",
        "hint: to prove the rest, run `provision verify` with --secret-from",
    ] {
        assert!(up.stderr.contains(said), "{}", up.stderr);
    }
}

#[test]
fn a_secret_that_cognito_keeps_in_secrets_manager_is_read_there_and_not_rotated_here() {
    let world = sample();
    let secret = world.secret(SHOW);
    let published = json!({
        "userPoolId": world.client()["UserPoolId"], "userPoolClientId": world.client()["ClientId"],
        "clientSecretValue": secret,
    });
    let made = json!({"Name": "cognito/app", "SecretString": published.to_string()});
    let made = world.emulator.json("secretsmanager.CreateSecret", &made);
    let arn = made["ARN"].as_str().unwrap().to_owned();
    world.describes(&json!({ "ClientSecretArn": arn }));
    world.run(&["token"]).ok();
    world.run(&["call", "GET", "/user"]).ok();
    world.run(&["verify"]).ok();
    world.run(&["status"]).ok();
    world.run(&["plan", "--check"]).ok();
    assert_eq!(world.secret(SHOW), secret);
    world.proxy.take();
    for command in [BEGIN, AGAIN, FINISH] {
        let run = world.run(command).code(2);
        let hint = format!("hint: to rotate it now: aws secretsmanager rotate-secret --secret-id {arn}");
        assert!(
            run.stdout.is_empty() && run.stderr.contains(&hint),
            "{}",
            run.stderr
        );
    }
    assert!(!world.proxy.take().iter().any(Request::is_write));
    let status = world.run(&["secret", "rotate", "status"]).ok();
    assert!(
        status.stderr.contains("rotates it there itself"),
        "{}",
        status.stderr
    );

    // Without the right to read it.
    let describe = world.describing(&json!({ "ClientSecretArn": arn }));
    let denied = answer(
        400,
        &json!({"__type": "AccessDeniedException", "message": "not authorized"}),
    );
    world.proxy.rule(move |request, _| match &*request.operation() {
        DESCRIBE => describe.clone(),
        "GetSecretValue" => denied.clone(),
        _ => Act::Pass,
    });
    for command in [&["token"][..], SHOW] {
        let run = world.run(command).code(1);
        for said in [
            "the credentials need secretsmanager:GetSecretValue on that secret",
            &arn,
        ] {
            assert!(run.stderr.contains(said), "{}", run.stderr);
        }
    }
}

#[test]
fn both_secrets_work_once_begin_says_so() {
    let world = sample();
    let good = world.secret(SHOW);
    // It takes a while until the endpoint knows the new one.
    let refused = AtomicUsize::new(0);
    world.proxy.rule(move |request, moment| {
        let early = request.operation() == TOKEN
            && moment == Moment::Before
            && refused.fetch_add(1, Ordering::SeqCst) < 2;
        if early {
            answer(400, &json!({"error": "invalid_client"}))
        } else {
            Act::Pass
        }
    });
    world.proxy.take();
    let run = world.run(BEGIN).ok();
    let asked = world.proxy.take();
    let asked = asked
        .iter()
        .filter(|request| request.operation() == TOKEN)
        .count();
    assert_eq!(asked, 3);
    let waits = "waiting for the new secret: no token yet: the token endpoint refused with invalid_client";
    assert_eq!(run.stderr.matches(waits).count(), 2, "{}", run.stderr);
    let (waited, done) = (
        run.stderr.rfind(waits).unwrap(),
        run.stderr.find("both work").unwrap(),
    );
    assert!(waited < done, "{}", run.stderr);
    assert!(world.accepts(run.stdout.trim_end()) && world.accepts(&good));

    // A refusal that no waiting changes: it was handed out all the same, and nothing says that it works.
    world.proxy.rule(|request, _| {
        if request.operation() == TOKEN {
            answer(400, &json!({"error": "unauthorized_client"}))
        } else {
            Act::Pass
        }
    });
    let run = world.run(AGAIN).code(1);
    for said in [
        "was created and handed out, but the token endpoint has not accepted it yet",
        "hint: the older secret keeps working",
    ] {
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
    assert!(!run.stderr.contains("both work"), "{}", run.stderr);
    assert!(world.accepts(run.stdout.trim_end()) && world.accepts(&good));
}

/// A secret of another pool.
const MOVED: &str = "1moved2moved3moved4moved5moved6moved";

/// `secret adopt` with this on stdin.
fn adopt(world: &World, secret: &str) -> Run {
    let mut command = world.command(&["secret", "adopt", "--from", "stdin"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{secret}").unwrap();
    drop(stdin);
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_secret_from_elsewhere_is_adopted_and_the_programs_that_have_it_stay_in() {
    let world = sample();
    let first = world.secret(SHOW);
    for wrong in ["short", "a secret with spaces in it, and long enough", ""] {
        let run = adopt(&world, wrong).code(if wrong == "short" { 2 } else { 1 });
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    }
    assert_eq!(world.ids().len(), 1);
    let run = adopt(&world, MOVED).ok();
    assert!(
        run.stdout.is_empty() && !run.stderr.contains(MOVED),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains(
            "client app has two secrets, and both work (proved with one token, which Cognito bills)"
        ),
        "{}",
        run.stderr
    );
    assert!(world.accepts(MOVED) && world.accepts(&first));
    // Twice is once, and another one has no room.
    let again = adopt(&world, MOVED).ok();
    assert!(
        again.stderr.contains("has this secret already"),
        "{}",
        again.stderr
    );
    let full = adopt(&world, &MOVED.replace('m', "n")).code(2);
    assert!(
        full.stderr.contains("has two secrets since 20"),
        "{}",
        full.stderr
    );
    world.run(FINISH).ok();
    assert!(world.accepts(MOVED) && !world.accepts(&first));
    world.run(&["token"]).ok();
    world.run(&["plan", "--check"]).ok();
    for (path, text) in world.place.texts("state") {
        assert!(!text.contains(MOVED), "{}", path.display());
    }
}

#[test]
fn an_adoption_that_is_killed_or_not_answered_is_repeated_with_the_same_command() {
    for moment in [Moment::Before, Moment::After] {
        let world = sample();
        let good = world.secret(SHOW);
        fs_err::write(world.path("old.secret"), format!("{MOVED}\n")).unwrap();
        let args = ["secret", "adopt", "app", "--from", "file:old.secret"];
        world.kill_at_first(&args, ADD, moment);
        world.assert_usable(&good, "killed");
        world.run(&args).ok();
        assert!(world.accepts(MOVED) && world.accepts(&good), "{moment:?}");
        world.run(FINISH).ok();

        let other = MOVED.replace('m', "n");
        fs_err::write(world.path("old.secret"), &other).unwrap();
        let lost = AtomicUsize::new(0);
        world.proxy.rule(move |request, now| {
            let is_lost =
                request.operation() == ADD && now == moment && lost.fetch_add(1, Ordering::SeqCst) == 0;
            if is_lost { Act::Cut } else { Act::Pass }
        });
        let run = world.run(&args).code(1);
        assert!(
            run.stderr.contains("hint: run the same command again") && !run.stderr.contains(&other),
            "{}",
            run.stderr
        );
        world.run(&args).ok();
        assert!(world.accepts(&other) && world.accepts(MOVED), "{moment:?}");
        assert_eq!(world.ids().len(), 2);
    }
}

#[test]
fn a_deletion_whose_answer_is_lost_is_looked_up() {
    let world = sample();
    let good = world.secret(BEGIN);
    // AWS does not say what it answers to the repeated call: by then the client has one secret only.
    let times = AtomicUsize::new(0);
    world
        .proxy
        .rule(move |request, moment| match (&*request.operation(), moment) {
            (DELETE, Moment::After) => Act::Cut,
            (DELETE, Moment::Before) if times.fetch_add(1, Ordering::SeqCst) > 0 => answer(
                400,
                &json!({"__type": "InvalidParameterException", "message": "The last one cannot be deleted."}),
            ),
            _ => Act::Pass,
        });
    let run = world.run(FINISH).ok();
    assert!(run.stderr.contains("deleted secret "), "{}", run.stderr);
    assert_eq!(world.ids().len(), 1);
    assert!(world.accepts(&good));
}

#[test]
fn a_kill_anywhere_leaves_a_usable_client_and_no_third_secret() {
    let world = sample();
    let mut kills = 0;
    let both = [Moment::Before, Moment::After];
    world
        .emulator
        .json("secretsmanager.CreateSecret", &json!({"Name": "app"}));
    let vault = ["secret", "rotate", "begin", "--to", "secretsmanager:app"];
    let vault_again = [
        "secret",
        "rotate",
        "begin",
        "--again",
        "--to",
        "secretsmanager:app",
    ];

    // `begin`, then the same again: it makes the second, or says that there is one and how to replace it.
    let parameter = [BEGIN, &["--to", "ssm:/app", "--to-role", ROLE]].concat();
    let parameter_again = [AGAIN, &["--to", "ssm:/app", "--to-role", ROLE]].concat();
    let there = world.emulator.as_role(ROLE);
    for (args, again, operations) in [
        (BEGIN, AGAIN, &[DESCRIBE, LIST, ADD, TOKEN][..]),
        (
            &parameter,
            &parameter_again,
            &[
                "AssumeRole",
                "GetParameter",
                ADD,
                PUT,
                TOKEN,
                "ListTagsForResource",
            ],
        ),
        (
            &vault,
            &vault_again,
            &[LIST, "DescribeSecret", ADD, "PutSecretValue", TOKEN],
        ),
    ] {
        for operation in operations {
            for moment in both {
                let story = format!("{args:?} killed {moment:?} {operation}");
                let old = world.secret(SHOW);
                world.kill_at_first(args, operation, moment);
                kills += 1;
                world.assert_usable(&old, &story);
                let mut next = world.run(args);
                if world.ids().len() == 2 && next.code == 2 {
                    assert!(
                        next.stderr.contains("the same command with --again"),
                        "{story}: {}",
                        next.stderr
                    );
                    next = world.run(again);
                }
                let next = next.ok();
                let stored = if args == parameter {
                    self::parameter(&there, "/app")["Value"].take()
                } else {
                    world.stored("app")
                };
                let new = stored
                    .as_str()
                    .filter(|_| args != BEGIN)
                    .unwrap_or(next.stdout.trim_end());
                assert_eq!(world.ids().len(), 2, "{story}");
                assert!(world.accepts(&old) && world.accepts(new), "{story}");
                world.run(FINISH).ok();
                assert!(!world.accepts(&old) && world.accepts(new), "{story}");
            }
        }
    }

    // `begin --again`, then the same again.
    for operation in [DESCRIBE, LIST, DELETE, ADD, TOKEN] {
        for moment in both {
            let story = format!("begin --again killed {moment:?} {operation}");
            let old = world.secret(SHOW);
            world.run(BEGIN).ok();
            world.kill_at_first(AGAIN, operation, moment);
            kills += 1;
            world.assert_usable(&old, &story);
            let new = world.secret(AGAIN);
            assert_eq!(world.ids().len(), 2, "{story}");
            assert!(world.accepts(&old) && world.accepts(&new), "{story}");
            world.run(FINISH).ok();
        }
    }

    // `finish`, then the same again.
    for operation in [DESCRIBE, LIST, DELETE] {
        for moment in both {
            let story = format!("finish killed {moment:?} {operation}");
            let old = world.secret(SHOW);
            let new = world.secret(BEGIN);
            world.kill_at_first(FINISH, operation, moment);
            kills += 1;
            world.assert_usable(&new, &story);
            world.run(FINISH).ok();
            assert_eq!(world.ids().len(), 1, "{story}");
            assert!(!world.accepts(&old) && world.accepts(&new), "{story}");
        }
    }

    // What a kill leaves of a file is empty and for its owner alone; it is not taken for anything else.
    let to = ["secret", "rotate", "begin", "--again", "--to", "file:new.secret"];
    let file = world.path("new.secret");
    for moment in both {
        world.kill_at_first(&to, ADD, moment);
        kills += 1;
        let left = fs_err::metadata(&file).unwrap();
        assert_eq!((left.len(), left.permissions().mode() & 0o777), (0, 0o600));
        let run = world.run(&to).code(2);
        assert!(run.stderr.contains("if so, delete it"), "{}", run.stderr);
        fs_err::remove_file(&file).unwrap();
        world.run(&to).ok();
        assert!(world.accepts(fs_err::read_to_string(&file).unwrap().trim_end()));
        fs_err::remove_file(&file).unwrap();
    }
    // It is handed out before anything is waited for.
    for moment in both {
        world.kill_at_first(&to, TOKEN, moment);
        kills += 1;
        assert!(world.accepts(fs_err::read_to_string(&file).unwrap().trim_end()));
        fs_err::remove_file(&file).unwrap();
    }
    assert_eq!(kills, 50);
    world.down();
}
