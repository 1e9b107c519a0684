//! Stacks that stand in a user pool which another stack, or somebody else, made.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::proxy::{Act, Moment, Request};
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
    let mut all = listed(emulator, pool, ("ListResourceServers", "ResourceServers"), 50);
    all.extend(listed(
        emulator,
        pool,
        ("ListUserPoolClients", "UserPoolClients"),
        60,
    ));
    let is_of = |thing: &Value| {
        let name = thing["Name"].as_str().or(thing["ClientName"].as_str()).unwrap();
        owners.iter().any(|owner| name.ends_with(owner))
    };
    all.retain(|thing| !is_of(thing));
    all
}

/// All pages of a list.
fn listed(emulator: &Emulator, pool: &str, (operation, field): (&str, &str), most: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut request = json!({"UserPoolId": pool, "MaxResults": most});
    loop {
        let page = emulator.cognito(operation, &request);
        all.extend(page[field].as_array().unwrap().iter().cloned());
        if page["NextToken"].is_null() {
            return all;
        }
        request["NextToken"] = page["NextToken"].clone();
    }
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

    // A pool is not deleted with the clients of other stacks.
    let refused = world.run(&["down", "--yes"]).code(2);
    assert!(
        refused
            .stderr
            .contains("3 clients of other stacks would be deleted with the user pool")
            && refused.stderr.contains("client the app stack=billing owner="),
        "{}",
        refused.stderr
    );
    // Whether the others hold what goes is told only by their secrets.
    let refused = orders.run(&["down", "--yes"]).code(2);
    assert!(
        refused
            .stderr
            .contains("5 clients outside this stack may hold orders/admin, orders/read, orders/write"),
        "{}",
        refused.stderr
    );
    let file = crate::shared_pool::orders(&world);
    orders.file(&file);
    let last = |run: &Run| {
        run.stderr
            .lines()
            .filter(|line| line.starts_with("client "))
            .count()
    };
    for args in [&["plan"][..], &["up", "--yes"]] {
        let refused = orders.run(args).code(2);
        assert_eq!(last(&refused), 5, "{}", refused.stderr);
        let holder = orders.run(&[args, &["--read-clients"]].concat()).code(2);
        assert!(
            last(&holder) == 1 && holder.stderr.contains("client the app stack=billing owner="),
            "{}",
            holder.stderr
        );
        assert!(
            holder
                .stderr
                .contains("would lose orders/admin: nothing was changed"),
            "{}",
            holder.stderr
        );
    }
    let app = billing.state().output("client:the app", "client_id").to_owned();
    orders
        .run(&["up", "--yes", "--read-clients", "--yes-break", &app])
        .ok();
    let told = billing.run(&["plan"]).code(2);
    assert!(
        told.stderr.contains("no scope \"orders/admin\""),
        "{}",
        told.stderr
    );

    billing.run(&["down", "--yes", "--read-clients"]).ok();
    orders.run(&["down", "--yes", "--yes-break", "all"]).ok();
    assert_eq!(others(&world.emulator, &pool, &[]), before);
    world.assert_settled("identity after the others");
    world.run(&["down", "--yes", "--yes-break", "all"]).ok();
    world.emulator.assert_nothing("after down");
}

/// A pool that somebody else made, with a domain and 70 clients, some with names that are almost ours.
fn company(emulator: &Emulator) -> String {
    let pool = emulator.cognito("CreateUserPool", &json!({"PoolName": "company"}));
    let pool = pool["UserPool"]["Id"].as_str().unwrap().to_owned();
    let domain = json!({"UserPoolId": pool, "Domain": "company"});
    emulator.cognito("CreateUserPoolDomain", &domain);
    strangers(emulator, &pool);
    for number in 0..66 {
        let name = match number % 4 {
            0 => format!("batch stack=orders owner=A{number:07X}"),
            1 => format!("batch  stack=orders owner={number:07x}"),
            2 => format!("app stack=order owner={number:08x}"),
            _ => format!("app{number}"),
        };
        let client = json!({"UserPoolId": pool, "ClientName": name});
        emulator.cognito("CreateUserPoolClient", &client);
    }
    pool
}

/// Stops of a stack in a pool of others.
struct Killing {
    world: World,
    pool: String,
    before: Vec<Value>,
}

impl Killing {
    fn new() -> Self {
        let world = World::of("", CODE);
        let pool = company(&world.emulator);
        let file = ORDERS.replace(
            "stack = \"identity\"\nstate = \"STATE\"",
            &format!("id = \"{pool}\""),
        );
        world.file(&format!(
            "{file}\n[clients.app]\nscopes = [\"orders/read\", \"theirs/use\"]\n"
        ));
        let before = others(&world.emulator, &pool, &[]);
        assert_eq!(before.len(), 71);
        Self { world, pool, before }
    }

    const UP: [&str; 2] = ["up", "--no-verify"];
    const DOWN: [&str; 4] = ["down", "--yes", "--yes-break", "all"];

    /// How many writing calls a run makes.
    fn writes(&self, args: &[&str]) -> usize {
        self.world.proxy.take();
        self.world.run(args).ok();
        self.world.writes().len()
    }

    /// With every writing call whose number is chosen, before and after it: the run is killed, or goes on without the answer.
    fn all(&self, choose: impl Fn(usize) -> bool) {
        let world = &self.world;
        let up = self.writes(&Self::UP);
        world.assert_settled("in the pool of others");
        let down = self.writes(&Self::DOWN);
        assert!(up > 15 && down > 5, "{up} {down}");
        for at in (0..up).filter(|at| choose(*at)) {
            for moment in [Moment::Before, Moment::After] {
                let story = format!("up killed {moment:?} its write {at}");
                assert!(world.kill_at(&Self::UP, at, moment, Request::is_write), "{story}");
                self.ended(&story, at % 2 == 0);
            }
            let story = format!("up without the answer to its write {at}");
            self.lose_answer(at);
            drop(world.run(&Self::UP));
            self.world.proxy.rule(|_, _| Act::Pass);
            self.ended(&story, true);
        }
        for at in (0..down).filter(|at| choose(*at)) {
            for moment in [Moment::Before, Moment::After] {
                let story = format!("down killed {moment:?} its write {at}");
                world.run(&Self::UP).ok();
                assert!(
                    world.kill_at(&Self::DOWN, at, moment, Request::is_write),
                    "{story}"
                );
                self.ended(&story, at % 2 == 0);
            }
        }
    }

    /// Cuts the connection when the answer to this writing call is there.
    fn lose_answer(&self, at: usize) {
        let calls = AtomicUsize::new(0);
        self.world.proxy.rule(move |request, moment| {
            let is_it =
                moment == Moment::After && request.is_write() && calls.fetch_add(1, Ordering::SeqCst) == at;
            if is_it { Act::Cut } else { Act::Pass }
        });
    }

    /// The next run ends what a stopped one began: nothing is there twice, nothing is left, and nothing of others changed.
    fn ended(&self, story: &str, up_next: bool) {
        let world = &self.world;
        if up_next {
            let up = world.run(&Self::UP);
            assert_eq!(up.code, 0, "{story}: {}", up.stderr);
            world.assert_settled(story);
            let all = others(&world.emulator, &self.pool, &[]).len();
            assert_eq!(all, self.before.len() + 3, "{story}");
        }
        if world.has_state() {
            let down = world.run(&Self::DOWN);
            assert_eq!(down.code, 0, "{story}: {}", down.stderr);
        }
        assert!(!world.has_state(), "{story}");
        assert_eq!(others(&world.emulator, &self.pool, &[]), self.before, "{story}");
        let census = world.emulator.census();
        let left: Vec<&str> = census.keys().copied().collect();
        assert_eq!(
            left,
            ["clients", "domains", "resource servers", "user pools"],
            "{story}"
        );
    }
}

#[test]
fn stopped_at_a_sample_of_its_calls_a_stack_leaves_a_full_pool_as_it_was() {
    Killing::new().all(|at| at % 7 == 2);
}

#[test]
#[ignore = "every call: some minutes"]
fn stopped_at_every_call_a_stack_leaves_a_full_pool_as_it_was() {
    Killing::new().all(|_| true);
}

#[test]
fn what_is_wrong_with_a_pool_is_told_before_anything_is_made() {
    let world = World::of("", CODE);
    let pool = company(&world.emulator);
    let in_pool = |id: &str| {
        ORDERS.replace(
            "stack = \"identity\"\nstate = \"STATE\"",
            &format!("id = \"{id}\""),
        )
    };
    let refused = |file: &str, parts: &[&str]| {
        world.file(file);
        for args in [&["plan"][..], &["up"]] {
            let run = world.run(args).code(2);
            for part in parts {
                assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
            }
        }
        assert!(world.writes().is_empty());
        assert!(!world.has_state());
    };
    refused(
        &in_pool("eu-west-1_nobody"),
        &[
            "user pool eu-west-1_nobody is not there in account 000000000000, region eu-west-1",
            "list-user-pools",
        ],
    );
    refused(
        &in_pool("us-east-1_other"),
        &["[user_pool]: id: expected region eu-west-1"],
    );
    refused(
        &orders(&world),
        &["[user_pool] names stack identity, which has no state at"],
    );
    let bare = world
        .emulator
        .cognito("CreateUserPool", &json!({"PoolName": "bare"}));
    refused(
        &in_pool(bare["UserPool"]["Id"].as_str().unwrap()),
        &[
            "has no domain, and so no token endpoint",
            "create-user-pool-domain",
        ],
    );
    let file = in_pool(&pool);
    refused(
        &file.replace(
            "scopes = [\"orders/write\"]\n[func",
            "scopes = [\"thiers/use\"]\n[func",
        ),
        &[
            "no resource server \"thiers\" of others; did you mean \"theirs/use\"?",
            "provision.toml:10:11",
        ],
    );
    refused(
        &file
            .replace(
                "[resource_servers.orders.scopes]",
                "[resource_servers.theirs.scopes]",
            )
            .replace("orders/", "theirs/"),
        &[
            "resource server theirs is in the shared user pool already, made by somebody else: it is left as it is",
        ],
    );
    // The stack of this name has a client whose record is somewhere else.
    let client = json!({"UserPoolId": pool, "ClientName": "batch stack=orders owner=0a1b2c3d"});
    world.emulator.cognito("CreateUserPoolClient", &client);
    world.file(&file);
    let run = world.run(&["up"]).code(2);
    assert!(
        run.stderr
            .contains("a stack orders without a state here has client"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_lost_its_mark_is_somebody_elses_and_what_lost_its_record_is_found_by_it() {
    let killing = Killing::new();
    let world = &killing.world;
    world.run(&Killing::UP).ok();
    let state = world.state();
    let mut client = state.client("client:app");
    client["ClientName"] = json!("app");
    client["AllowedOAuthFlows"] = json!(["client_credentials"]);
    client["AllowedOAuthFlowsUserPoolClient"] = json!(true);
    client["AllowedOAuthScopes"] = json!(["orders/read", "theirs/use"]);
    world.emulator.cognito("UpdateUserPoolClient", &client);
    let status = world.run(&["status", "--json"]).code(3).json();
    let line = |step: &str| {
        let lines = status["resources"].as_array().unwrap().clone();
        lines.into_iter().find(|line| line["step"] == step).unwrap()
    };
    assert_eq!(line("client:app")["state"], "not_ours");
    assert_eq!(line("client:batch")["state"], "ok");
    let down = world.run(&Killing::DOWN).code(1);
    assert!(
        down.stderr.contains("exists and is not of this stack"),
        "{}",
        down.stderr
    );
    client["ClientName"] = json!(format!("app stack=orders owner={}", state.owner()));
    world.emulator.cognito("UpdateUserPoolClient", &client);
    world.run(&["up", "--no-verify", "--yes"]).ok();
    world.assert_settled("with its mark again");

    world.lose_state();
    let recovered = world.run(&["recover", "--json"]).ok().json();
    assert_eq!(recovered["owner"], state.owner());
    for step in [
        "shared-user-pool",
        "client:app",
        "client:batch",
        "resource-server:orders",
    ] {
        let on_record = recovered["on_record"].as_array().unwrap();
        assert!(on_record.contains(&json!(step)), "{step}: {recovered}");
    }
    world.run(&["up", "--no-verify", "--yes"]).ok();
    killing.ended("after the recovery", true);
}

#[test]
fn a_reviewed_plan_of_a_stack_in_a_shared_pool_is_done_and_what_moved_in_the_pool_is_named() {
    let world = World::of(IDENTITY, CODE);
    world.run(&["up"]).ok();
    let team = Team::new(&world, "orders", &orders(&world));
    for said in ["to create", "nothing to do"] {
        let plan = team.run(&["plan", "--out", "plan.json"]).ok();
        assert!(plan.stdout.contains(said), "{}", plan.stdout);
        team.run(&["up", "--plan", "plan.json", "--no-verify"]).ok();
    }
    team.file(&orders(&world).replace("Write orders", "Place orders"));
    team.run(&["plan", "--out", "plan.json"]).ok();
    let state = team.state();
    let server = json!({
        "UserPoolId": pool(&world), "Identifier": "orders",
        "Name": state.desired("resource-server:orders", "name").to_owned() + state.desired("resource-server:orders", "mark"),
        "Scopes": [{"ScopeName": "read", "ScopeDescription": "Read orders"}],
    });
    world.emulator.cognito("UpdateResourceServer", &server);
    world.proxy.take();
    let refused = team.run(&["up", "--plan", "plan.json"]).code(3);
    assert!(
        refused
            .stderr
            .contains("resource-server orders was changed on AWS since the plan: scopes"),
        "{}",
        refused.stderr
    );
    assert_eq!(world.writes(), [""; 0]);
    team.run(&["down", "--yes"]).ok();
    world.down();
}
