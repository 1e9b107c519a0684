//! Stacks that stand in a user pool which another stack, or somebody else, made.

use serde_json::{Value, json};

use crate::support::world::{CODE, Recorded};
use crate::support::{Emulator, Place, Run, World};

const IDENTITY: &str = "[stack]\nname = \"identity\"\n[user_pool]\n";

const ORDERS: &str = r#"
[stack]
name = "orders"
[user_pool]
stack = "identity"
state = "STATE"
[resource_servers.orders.scopes]
read = "Read orders"
write = "Write orders"
[clients.batch]
scopes = ["orders/write"]
[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"POST /orders" = { function = "orders", scopes = ["orders/write"] }
"#;

const BILLING: &str = r#"
[stack]
name = "billing"
[user_pool]
id = "POOL"
[resource_servers.billing.scopes]
pay = "Pay"
[clients."the app"]
scopes = ["billing/pay", "orders/read"]
"#;

/// Another folder with a stack of its own, at the AWS of a world.
struct Team<'a> {
    world: &'a World,
    place: Place,
    stack: &'static str,
}

impl<'a> Team<'a> {
    fn new(world: &'a World, stack: &'static str, file: &str) -> Self {
        let place = Place::new();
        let team = Self { world, place, stack };
        fs_err::create_dir(team.place.path().join("lambda")).unwrap();
        fs_err::write(team.place.path().join("lambda/index.mjs"), CODE).unwrap();
        team.file(file);
        team
    }

    fn file(&self, text: &str) {
        fs_err::write(self.place.path().join("provision.toml"), text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Run {
        let mut command = self.world.command(args);
        command.current_dir(self.place.path());
        command.output().unwrap().into()
    }

    fn state(&self) -> Recorded {
        let file = self.place.path().join(format!("state/{}.json", self.stack));
        Recorded(serde_json::from_str(&fs_err::read_to_string(file).unwrap()).unwrap())
    }

    fn assert_settled(&self, story: &str) {
        for args in [&["plan", "--check"][..], &["status"]] {
            let run = self.run(args);
            assert_eq!(run.code, 0, "{story}: {args:?}: {}{}", run.stdout, run.stderr);
        }
    }
}

/// The id of the pool of the stack `identity` in the folder of a world.
fn pool(world: &World) -> String {
    let text = fs_err::read_to_string(world.path("state/identity.json")).unwrap();
    Recorded(serde_json::from_str(&text).unwrap())
        .output("user-pool", "id")
        .to_owned()
}

fn orders(world: &World) -> String {
    ORDERS.replace("STATE", world.path("state").to_str().unwrap())
}

/// A client and a resource server of somebody else in this pool.
fn strangers(emulator: &Emulator, pool: &str) {
    let server = json!({
        "UserPoolId": pool, "Identifier": "theirs", "Name": "theirs",
        "Scopes": [{"ScopeName": "use", "ScopeDescription": "Use"}],
    });
    emulator.cognito("CreateResourceServer", &server);
    for name in [
        "theirs",
        "batch",
        "batch stack=orders owner=nobody",
        "batch stack=orders2 owner=00000000",
    ] {
        let client = json!({"UserPoolId": pool, "ClientName": name, "GenerateSecret": true});
        emulator.cognito("CreateUserPoolClient", &client);
    }
}

/// All that is in a pool and is not of a stack of these owners.
fn others(emulator: &Emulator, pool: &str, owners: &[String]) -> Vec<Value> {
    let servers = emulator.cognito(
        "ListResourceServers",
        &json!({"UserPoolId": pool, "MaxResults": 50}),
    );
    let clients = emulator.cognito(
        "ListUserPoolClients",
        &json!({"UserPoolId": pool, "MaxResults": 60}),
    );
    let is_of = |thing: &Value| {
        let name = thing["Name"].as_str().or(thing["ClientName"].as_str()).unwrap();
        owners.iter().any(|owner| name.ends_with(owner))
    };
    let all = servers["ResourceServers"].as_array().unwrap().iter();
    let all = all.chain(clients["UserPoolClients"].as_array().unwrap());
    all.filter(|thing| !is_of(thing)).cloned().collect()
}

#[test]
fn three_stacks_stand_in_one_pool_and_a_strangers_things_beside_them() {
    let world = World::new();
    world.file(IDENTITY);
    let up = world.run(&["up"]).ok();
    assert!(!up.stdout.contains("api_url"), "{}", up.stdout);
    world.assert_settled("identity");
    let pool = pool(&world);
    strangers(&world.emulator, &pool);
    let before = others(&world.emulator, &pool, &[]);

    let orders = Team::new(&world, "orders", &orders(&world));
    orders.run(&["up"]).ok();
    orders.assert_settled("orders");
    let billing = Team::new(&world, "billing", &BILLING.replace("POOL", &pool));
    billing.run(&["up"]).ok();
    billing.assert_settled("billing");
    let owners = [
        orders.state().owner().to_owned(),
        billing.state().owner().to_owned(),
    ];
    assert_eq!(others(&world.emulator, &pool, &owners), before);

    // A token of the consumer has the scopes of two servers, and the other stack's API takes it.
    let token = billing.run(&["token", "--json"]).ok().json();
    assert_eq!(token["scope"], "billing/pay orders/read");
    let outputs = billing.run(&["outputs", "--json"]).ok().json();
    assert_eq!(
        (&outputs["user_pool_id"], outputs.get("api_url")),
        (&json!(pool), None)
    );
    let api = orders.run(&["outputs", "--json"]).ok().json();
    let (status, _) = crate::support::get(
        &format!("{}/orders", api["api_url"].as_str().unwrap()),
        token["access_token"].as_str(),
    );
    assert_eq!(status, 200);
    orders.run(&["call", "POST", "/orders"]).ok();
    billing.run(&["call", "GET", "/orders"]).code(2);
    for args in [&["verify"][..], &["client", "list"], &["client", "sheet"]] {
        orders.run(args).ok();
        billing.run(args).ok();
    }
    world.run(&["verify"]).ok();
    billing.run(&["openapi"]).code(2);

    // Each changes what is its own.
    orders.file(
        &crate::shared_pool::orders(&world)
            .replace("write = \"Write orders\"", "write = \"Write\"\nadmin = \"All\""),
    );
    orders.run(&["up"]).ok();
    orders.assert_settled("orders with another scope");
    billing.file(
        &BILLING
            .replace("POOL", &pool)
            .replace("\"orders/read\"", "\"orders/admin\""),
    );
    billing.run(&["up"]).ok();
    billing.assert_settled("billing with the other scope");
    assert_eq!(others(&world.emulator, &pool, &owners), before);

    billing.run(&["down", "--yes"]).ok();
    orders.run(&["down", "--yes"]).ok();
    assert_eq!(others(&world.emulator, &pool, &[]), before);
    world.assert_settled("identity after the others");
    world.run(&["down", "--yes"]).ok();
    world.emulator.assert_nothing("after down");
}
