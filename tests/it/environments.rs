//! The environments of a file: what `[env.NAME]` changes, and for which account.

use provision::config::{Backend, Chosen, Complete, Config};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::World;
use crate::support::proxy::Request;
use crate::support::world::CODE;

/// A file with environments.
const FILE: &str = r#"[stack]
name = "orders"

[resource_servers.orders.scopes]
read = "Read orders"

[clients.app]
scopes = ["orders/read"]

[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
environment = { TABLE = "orders", LEVEL = "debug" }
layers = ["arn:aws:lambda:eu-west-1:123456789012:layer:otel:7"]

[backends.shop]
url = "https://shop.example.com"

[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }

[env.staging.functions.orders]
memory_mb = 256

[env.production]
account = "123456789012"

[env.production.stack]
name = "orders-live"
region = "eu-central-1"
state = "s3://live-state/provision"

[env.production.functions.orders]
environment = { LEVEL = "info" }
layers = []
memory_mb = 64

[env.production.routes]
"GET /shop" = { backend = "shop", scopes = ["orders/raed"] }

[env."pr-*".functions.orders.environment]
TABLE = { from_env = "PR_TABLE" }

[env.pr-7]
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir(folder.path().join("lambda")).unwrap();
    folder
}

fn read(text: &str, stack: Option<&str>, env: &str) -> Result<Config, Vec<String>> {
    let chosen = Chosen {
        stack,
        env: Some(env),
    };
    let config = Config::read_as(text, folder().path(), chosen);
    config.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn an_environment_changes_what_it_says_and_nothing_else() {
    let base = Config::read(FILE, folder().path()).unwrap();
    assert_eq!(
        (&*base.stack, base.functions["orders"].memory_mb),
        ("orders", 128)
    );

    let staging = read(FILE, None, "staging").unwrap();
    assert_eq!(
        (&*staging.stack, &*staging.api.name),
        ("orders-staging", "orders-staging")
    );
    assert_eq!(staging.functions["orders"].memory_mb, 256);
    assert_eq!(
        staging.functions["orders"].environment,
        base.functions["orders"].environment
    );
    assert_eq!(staging.routes, base.routes);

    let repaired = FILE.replace("64", "512").replace("raed", "read");
    let live = read(&repaired, None, "production").unwrap();
    assert_eq!(
        (&*live.stack, live.region.as_deref()),
        ("orders-live", Some("eu-central-1"))
    );
    let function = &live.functions["orders"];
    let names: Vec<_> = function.environment.values.keys().collect();
    assert_eq!(names, ["LEVEL", "TABLE"], "a table is merged");
    assert_eq!(
        (function.memory_mb, function.layers.len()),
        (512, 0),
        "a list replaces"
    );
    assert_eq!(live.routes.len(), 2);
    assert!(matches!(live.backends["shop"], Backend::Url(_)));

    let pr = read(FILE, None, "pr-42").unwrap();
    assert_eq!(
        (&*pr.stack, &*pr.functions["orders"].environment.from_env[0].name),
        ("orders-pr-42", "PR_TABLE")
    );
    let exact = read(FILE, None, "pr-7").unwrap();
    assert_eq!(exact.stack, "orders-pr-7");
    assert!(
        exact.functions["orders"].environment.from_env.is_empty(),
        "its own table goes before the pattern"
    );
    assert_eq!(read(FILE, Some("mine"), "pr-7").unwrap().stack, "mine");
}

#[test]
fn a_problem_is_told_with_its_place_in_the_environment() {
    assert_eq!(
        read(FILE, None, "production").unwrap_err(),
        [
            "37:13: function \"orders\": memory_mb: expected 128 to 10240 megabytes, got 64",
            "40:45: route \"GET /shop\": no resource server has the scope \"orders/raed\"; did you mean \"orders/read\"?",
        ]
    );
    assert_eq!(
        read(FILE, None, "live").unwrap_err(),
        ["1:1: environment \"live\" not found (available: \"pr-*\", \"pr-7\", \"production\", \"staging\")"]
    );
    assert_eq!(
        read(FILE, None, "producton").unwrap_err(),
        ["1:1: environment \"producton\" not found; did you mean \"production\"?"]
    );
    assert_eq!(
        read(FILE, None, "PR-1").unwrap_err(),
        ["1:1: environment \"PR-1\": expected 1 to 28 lower-case letters, digits and `-`"]
    );
    let none = FILE.split("[env.staging").next().unwrap();
    assert_eq!(
        read(none, None, "live").unwrap_err(),
        ["1:1: environment \"live\" not found: the file has no [env.live]"]
    );
    let two = format!("{FILE}[env.\"*-42\"]\n");
    assert_eq!(
        read(&two, None, "pr-42").unwrap_err(),
        [
            "42:6: environment \"pr-42\" matches \"*-42\" and \"pr-*\"; add [env.pr-42], or use a name that matches one of them"
        ]
    );
    assert_eq!(
        read(FILE, None, "pr-1234567890-1234567890-1").unwrap_err(),
        [
            "2:8: [stack]: name: expected 2 to 30 lower-case letters, digits and `-`, beginning with a letter, got \"orders-pr-1234567890-1234567890-1\""
        ]
    );
}

#[test]
fn where_the_states_are_and_the_account_come_from_the_environment() {
    let (state, account) = Config::places_of(FILE, Some("production")).unwrap();
    assert_eq!(state.location.unwrap().to_string(), "s3://live-state/provision");
    assert_eq!(account.as_deref(), Some("123456789012"));
    let (state, account) = Config::places_of(FILE, None).unwrap();
    assert_eq!((state.location, account), (None, None));
    assert_eq!(Config::places_of("[stack", Some("x")).unwrap_err().len(), 1);
}

#[test]
fn environments_are_stacks_of_their_own_and_their_account_is_kept() {
    let file = FILE.replace(
        "layers = [\"arn:aws:lambda:eu-west-1:123456789012:layer:otel:7\"]\n",
        "",
    );
    let world = World::of(
        &file
            .replace("64", "512")
            .replace("raed", "read")
            .replace("state = ", "# state = "),
        CODE,
    );
    let run = world.run(&["up", "--env", "staging"]).ok();
    assert!(
        run.stderr
            .contains("try: `provision call GET /orders --env staging`"),
        "{}",
        run.stderr
    );
    assert!(world.path("state/orders-staging.json").exists());
    let pr = || {
        let mut command = world.command(&["status"]);
        command.env("PROVISION_ENV", "pr-1").env("PR_TABLE", "t");
        command.output().unwrap()
    };
    assert!(
        String::from_utf8(pr().stderr)
            .unwrap()
            .contains("stack orders-pr-1 has no state")
    );

    world.proxy.take();
    for args in [
        &["plan"][..],
        &["up", "--yes"],
        &["down", "--yes", "--stack", "orders-staging"],
        &["state", "init", "s3://live-state/x"],
    ] {
        let run = world.run(&[args, &["--env", "production"]].concat()).code(2);
        assert!(
            run.stderr.contains("error: environment \"production\" belongs to account 123456789012, and these credentials are of account 000000000000\n"),
            "{args:?}: {}",
            run.stderr
        );
        let calls: Vec<_> = world.proxy.take().iter().map(Request::operation).collect();
        assert!(
            calls.iter().all(|call| call.ends_with("GetCallerIdentity")),
            "{args:?}: {calls:?}"
        );
    }
    // The sandbox is nobody's account.
    world
        .place
        .run(&["plan", "--sandbox", "--env", "production"])
        .ok();

    let other = world.run(&["status", "--env", "prodction"]).code(2);
    assert!(
        other.stderr.contains(
            "provision.toml:1:1: environment \"prodction\" not found; did you mean \"production\"?"
        )
    );
    world.run(&["down", "--yes", "--env", "staging"]).ok();
    assert!(!world.path("state/orders-staging.json").exists());
    fs_err::remove_file(world.path("provision.toml")).unwrap();
    let none = world.run(&["plan", "--env", "staging"]).code(2);
    assert!(
        none.stderr
            .contains("environment \"staging\" not found: there is no provision.toml in this folder"),
        "{}",
        none.stderr
    );
}

/// What was read, without the places and with the values of environment variables.
pub(crate) fn meaning(config: &Config) -> String {
    let values = config
        .functions
        .values()
        .flat_map(|function| &function.environment.values);
    let values: Vec<_> = values
        .map(|(name, value)| (name, value.expose_secret()))
        .collect();
    let places = regex::Regex::new("line: [0-9]+, *column: [0-9]+").unwrap();
    places
        .replace_all(&format!("{config:?} {values:?}"), "")
        .into_owned()
}

#[test]
fn the_complete_configuration_says_where_each_value_comes_from() {
    let world = World::of(&FILE.replace("64", "512").replace("raed", "read"), CODE);
    world.proxy.take();
    let printed = world.run(&["config", "--env", "production"]).ok().stdout;
    insta::assert_snapshot!("complete", printed);
    let document = world
        .run(&["config", "--env", "production", "--json"])
        .ok()
        .json();
    let configuration = &document["configuration"];
    assert_eq!(
        configuration["functions"]["orders"]["environment"]["LEVEL"],
        "info"
    );
    assert_eq!(configuration["stack"]["name"], "orders-live");
    assert_eq!(document["account"], "123456789012");
    let origins = document["origins"].as_array().unwrap();
    let of = |key: &[&str]| &origins.iter().find(|found| found["key"] == json!(key)).unwrap()["from"];
    assert_eq!(
        *of(&["functions", "orders", "memory_mb"]),
        json!([{ "source": "environment", "table": "production", "line": 37 }])
    );
    assert_eq!(
        *of(&["functions", "orders", "timeout"]),
        json!([{ "source": "default" }])
    );

    let pr = world
        .run(&["config", "--env", "pr-42", "--region", "eu-west-3"])
        .ok()
        .stdout;
    for line in [
        "name = \"orders-pr-42\"  # provision.toml:2 and the environment's name\n",
        "region = \"eu-west-3\"  # --region\n",
        "TABLE = { from_env = \"PR_TABLE\" }  # provision.toml:43 in [env.\"pr-*\"]\n",
    ] {
        assert!(pr.contains(line), "{pr}");
    }
    let named = world.run(&["config", "--stack", "mine"]).ok().stdout;
    assert!(named.contains("name = \"mine\"  # --stack\n"), "{named}");
    assert!(world.proxy.take().is_empty(), "it makes no call");
    let refused = world.run(&["config", "--env", "prodction"]).code(2);
    assert!(refused.stderr.contains("did you mean \"production\"?"));
    assert_eq!(refused.stdout, "");
}

#[test]
fn the_complete_configuration_means_the_same() {
    let file = FILE.replace("64", "512").replace("raed", "read");
    let folder = crate::config::folder();
    fs_err::create_dir(folder.path().join("lambda")).unwrap();
    for (text, env) in [
        (&*file, Some("production")),
        (&*file, Some("staging")),
        (&*file, Some("pr-42")),
        (&*file, None),
        (crate::config::FULL, None),
        (crate::config::SMALL, None),
        (include_str!("../../provision.toml"), None),
    ] {
        let chosen = Chosen { stack: None, env };
        let config = Config::read_as(text, folder.path(), chosen).unwrap();
        let printed = Complete::of(text, &config, chosen, None).toml("provision.toml");
        let again =
            Config::read(&printed, folder.path()).unwrap_or_else(|wrong| panic!("{wrong:?}\n{printed}"));
        assert_eq!(meaning(&config), meaning(&again), "{printed}");
    }
    // The plan as well.
    let world = World::of(
        &file.replace(
            "layers = [\"arn:aws:lambda:eu-west-1:123456789012:layer:otel:7\"]\n",
            "",
        ),
        CODE,
    );
    let planned = world.run(&["plan", "--json", "--env", "staging"]).ok().json();
    let printed = world.run(&["config", "--env", "staging"]).ok().stdout;
    fs_err::write(world.path("printed.toml"), printed).unwrap();
    let again = world
        .run(&["plan", "--json", "--config", "printed.toml"])
        .ok()
        .json();
    assert!(
        planned["steps"].as_array().is_some_and(|steps| !steps.is_empty()),
        "{planned}"
    );
    assert_eq!(planned["steps"], again["steps"]);
}
