//! Functions in a private network: their role keeps its rights until Lambda has deleted the network interfaces.
//!
//! The emulator makes no network interfaces, so the proxy answers in its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::World;
use crate::support::proxy::{Act, Moment, Request};
use crate::support::world::CODE;
use serde_json::Value;

/// Two functions, of which one is in a network.
const FILE: &str = r#"
[stack]
name = "orders"
[resource_servers.orders.scopes]
read = "Read orders"
[functions.inside]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
vpc = { subnets = ["subnet-0a1b2c3d"], security_groups = ["sg-0a1b2c3d"] }
[functions.outside]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
[routes]
"GET /inside" = { function = "inside", scopes = ["orders/read"] }
"GET /outside" = { function = "outside", scopes = ["orders/read"] }
"#;

const VPC: &str = "vpc = { subnets = [\"subnet-0a1b2c3d\"], security_groups = [\"sg-0a1b2c3d\"] }\n";

fn up() -> World {
    let world = World::of(FILE, CODE);
    world.run(&["up", "--no-verify"]).ok();
    world.proxy.take();
    world
}

/// So many looks find a network interface of the function, and all others none. Returns how many looks there were.
fn interfaces(world: &World, looks: usize) -> Arc<AtomicUsize> {
    let function = world.state().desired("function:inside", "name").to_owned();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    world.proxy.rule(move |request, now| {
        if request.operation() != "DescribeNetworkInterfaces"
            || now == Moment::After
            || counter.fetch_add(1, Ordering::SeqCst) >= looks
        {
            return Act::Pass;
        }
        let body = format!(
            "<DescribeNetworkInterfacesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><networkInterfaceSet><item>\
             <networkInterfaceId>eni-0a1b2c3d</networkInterfaceId><subnetId>subnet-0a1b2c3d</subnetId>\
             <description>AWS Lambda VPC ENI-{function}-1234abcd-12ab-34cd-56ef-1234567890ab</description>\
             <groupSet><item><groupId>sg-0a1b2c3d</groupId></item></groupSet></item></networkInterfaceSet>\
             </DescribeNetworkInterfacesResponse>"
        );
        Act::Answer(200, vec![("content-type", "text/xml")], body)
    });
    asked
}

/// The looks at network interfaces and the writes of IAM and Lambda for the function in the network, in their order.
fn sequence(world: &World, function: &str) -> Vec<String> {
    let of_it = |request: &&Request| {
        let is_about = request.path.contains(function)
            || String::from_utf8_lossy(&request.body).contains(&format!("RoleName={function}"));
        request.operation() == "DescribeNetworkInterfaces" || request.is_write() && is_about
    };
    let all = world.proxy.take();
    let mut names: Vec<String> = (all.iter().filter(of_it))
        .map(|request| {
            let operation = request.operation();
            let name = operation.replace(&format!("/{function}"), "");
            name.replace("/2015-03-31", "")
        })
        .collect();
    names.dedup();
    names
}

/// The steps on record, with their phases.
fn on_record(world: &World) -> Vec<String> {
    let state = world.state();
    let word = |record: &Value, field: &str| record[field].as_str().unwrap().to_owned();
    let steps = state.steps().iter();
    steps
        .map(|record| format!("{} {}", word(record, "step"), word(record, "phase")))
        .collect()
}

const REST: [&str; 3] = [
    "role:inside ready",
    "role-policy:inside ready",
    "network-interfaces:inside deleting",
];

#[test]
fn down_deletes_the_rights_after_the_network_interfaces_and_tells_what_it_waits_for() {
    let world = up();
    world.assert_settled("in a network");
    world.proxy.take();
    let function = world.state().desired("function:inside", "name").to_owned();
    let asked = interfaces(&world, 2);
    let down = world.run(&["down", "--yes"]).ok();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let words = format!(
        "waiting   network-interfaces:inside: for Lambda to delete the network interfaces of function {function} (eni-0a1b2c3d), \
         which takes up to 35 minutes; its role keeps its rights until then"
    );
    assert!(down.stderr.contains(&words), "{}", down.stderr);
    assert_eq!(
        sequence(&world, &function),
        [
            "DELETE /functions",
            "DescribeNetworkInterfaces",
            "DeleteRolePolicy",
            "DeleteRole"
        ]
    );
    world.emulator.assert_nothing("after down");
}

#[test]
fn down_without_waiting_leaves_the_role_with_its_rights_to_the_next_one() {
    let world = up();
    interfaces(&world, 2);
    for _ in 0..2 {
        let down = world.run(&["down", "--yes", "--no-wait"]).code(1);
        for words in [
            "error: step network-interfaces:inside failed; held back: role-policy:inside, role:inside",
            "(eni-0a1b2c3d), and --no-wait says not to wait for that: the function's role stays",
            "hint: run `provision down --yes` again: it goes on where this run stopped",
        ] {
            assert!(down.stderr.contains(words), "{words:?} is not in {}", down.stderr);
        }
        assert_eq!(on_record(&world), REST);
        let census = world.emulator.census();
        assert_eq!(census.into_iter().collect::<Vec<_>>(), [("roles", 1)]);
    }
    world.run(&["down", "--yes", "--no-wait"]).ok();
    world.emulator.assert_nothing("once they are gone");
    assert!(!world.has_state());
}

#[test]
fn a_down_that_is_killed_while_it_waits_goes_on_and_up_does_not_wait() {
    let world = up();
    let kill = || {
        // The first look of a killed run finds none: what counts is that the step is on record.
        let is_look = |request: &Request| request.operation() == "DescribeNetworkInterfaces";
        assert!(world.kill_at(&["down", "--yes"], 0, Moment::Before, is_look));
        assert!(
            on_record(&world).contains(&REST[2].to_owned()),
            "{:?}",
            on_record(&world)
        );
        assert!(
            on_record(&world).contains(&REST[1].to_owned()),
            "{:?}",
            on_record(&world)
        );
    };
    kill();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    world.proxy.rule(move |request, _| {
        if request.operation() == "DescribeNetworkInterfaces" {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        Act::Pass
    });
    world.run(&["up", "--no-verify"]).ok();
    assert_eq!(
        asked.load(Ordering::SeqCst),
        0,
        "what is wanted again is not waited for"
    );
    world.proxy.take();
    world.assert_settled("wanted again");
    kill();
    world.run(&["down", "--yes"]).ok();
    world.emulator.assert_nothing("after the second down");
}

#[test]
fn up_takes_the_rights_away_after_the_network_interfaces_of_what_leaves_the_network() {
    let world = up();
    let function = world.state().desired("function:inside", "name").to_owned();
    world.file(&FILE.replace(VPC, ""));
    interfaces(&world, 2);
    let up = world.run(&["up", "--no-verify"]).ok();
    assert!(
        up.stderr.contains("for Lambda to delete the network interfaces"),
        "{}",
        up.stderr
    );
    assert_eq!(
        sequence(&world, &function),
        [
            "PUT /functions/configuration",
            "DescribeNetworkInterfaces",
            "PutRolePolicy"
        ]
    );
    world.assert_settled("outside");
    world.down();
}

#[test]
fn up_waits_as_well_where_the_function_goes() {
    let world = up();
    let function = world.state().desired("function:inside", "name").to_owned();
    let (start, rest) = FILE.split_once("[functions.inside]").unwrap();
    let (_, end) = rest.split_once("[functions.outside]").unwrap();
    let end = end.replace(
        "\"GET /inside\" = { function = \"inside\", scopes = [\"orders/read\"] }\n",
        "",
    );
    world.file(&format!("{start}[functions.outside]{end}"));
    interfaces(&world, 1);
    world.run(&["up", "--no-verify", "--yes"]).ok();
    assert_eq!(
        sequence(&world, &function),
        [
            "DELETE /functions",
            "DescribeNetworkInterfaces",
            "DeleteRolePolicy",
            "DeleteRole"
        ]
    );
    world.assert_settled("without it");
    world.down();
}
