//! Any stack becomes any other: `up A`, `up B` leaves what `up B` alone makes, and `down` leaves nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::support::World;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

const SCOPES: [&str; 4] = ["orders/read", "orders/write", "stock/read", "stock/write"];
const ROUTES: [&str; 8] = [
    "GET /",
    "GET /orders",
    "POST /orders",
    "GET /orders/{id}",
    "DELETE /orders/{id}",
    "ANY /admin/{proxy+}",
    "GET /orders/{id}/lines",
    "GET /stock",
];

/// What a function may have, each for a bit.
const SETTINGS: [&str; 8] = [
    "description = \"Ours\"",
    "ephemeral_storage_mb = 600",
    "tracing = true",
    "log_format = \"json\"",
    "layers = [\"arn:aws:lambda:eu-west-1:000000000000:layer:otel:1\"]",
    "kms_key = \"arn:aws:kms:eu-west-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab\"",
    "reserved_concurrency = 5",
    "vpc = { subnets = [\"subnet-0a1b2c3d\"], security_groups = [\"sg-0a1b2c3d\"] }",
];

/// A valid provision.toml: a server has every scope, and every function exists.
fn files() -> impl Strategy<Value = String> {
    let scopes = subsequence(&SCOPES[..], 1..=4);
    let pool = (
        prop::option::of("[a-z]{8}"),
        prop_oneof![Just("ESSENTIALS"), Just("PLUS"), Just("LITE")],
    );
    let function = (
        128..256i32,
        1..20i32,
        prop::option::of("[a-z]{1,9}"),
        prop_oneof![Just(7), Just(30)],
        prop::option::of(prop_oneof![Just("Get*"), Just("Query")]),
        subsequence(&["AmazonSNSFullAccess", "AmazonSQSFullAccess"][..], 0..=2),
        any::<u8>(),
    );
    let api = (
        prop_oneof![Just("prod"), Just("live")],
        prop::option::of((1..100i32, 1..100i32)),
        "[A-Z][a-z]{1,9}",
    );
    let parts = (
        scopes,
        (prop::option::of("[a-z]{1,9}"), any::<bool>(), any::<bool>()),
        pool,
        prop::collection::btree_map(
            prop_oneof![Just("billing"), Just("shipping")],
            (any::<u8>(), 5..60u8),
            0..3,
        ),
        prop::collection::btree_map(prop_oneof![Just("first"), Just("second")], function, 1..3),
        api,
        subsequence(&ROUTES[..], 1..=5),
        prop::collection::vec(any::<(u8, u8)>(), 8),
    );
    parts.prop_map(|(scopes, (tag, bounded, pathed), (prefix, tier), clients, functions, (stage, throttle, name), routes, picks)| {
        // A bit for each scope, and always at least one.
        let some = |bits: u8| -> Vec<&str> {
            let chosen = scopes.iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1);
            let chosen: Vec<&str> = chosen.map(|(_, scope)| *scope).collect();
            if chosen.is_empty() { vec![scopes[0]] } else { chosen }
        };
        let mut text = "[stack]\nname = \"orders\"\n".to_owned();
        let mut line = |line: String| writeln!(text, "{line}").unwrap();
        if let Some(tag) = tag {
            line(format!("tags = {{ team = \"{tag}\" }}"));
        }
        if bounded {
            line("permissions_boundary = \"arn:aws:iam::aws:policy/PowerUserAccess\"".to_owned());
        }
        if pathed {
            line("role_path = \"/service/\"".to_owned());
        }
        line(format!("[user_pool]\ntier = \"{tier}\""));
        if let Some(prefix) = prefix {
            line(format!("domain_prefix = \"{prefix}\""));
        }
        let mut servers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for scope in &scopes {
            let (server, scope) = scope.split_once('/').unwrap();
            servers.entry(server).or_default().push(scope);
        }
        for (server, scopes) in servers {
            line(format!("[resource_servers.{server}.scopes]"));
            for scope in scopes {
                line(format!("{scope} = \"{scope} it\""));
            }
        }
        for (name, (bits, minutes)) in clients {
            line(format!("[clients.{name}]\nscopes = {:?}\naccess_token = \"{minutes}m\"", some(bits)));
        }
        let names: Vec<&str> = functions.keys().copied().collect();
        for (name, (memory, timeout, variable, days, action, managed, settings)) in &functions {
            line(format!(
                "[functions.{name}]\nsource = \"lambda\"\nruntime = \"nodejs22.x\"\nhandler = \"index.handler\"\n\
                 memory_mb = {memory}\ntimeout = \"{timeout}s\"\nlog_retention_days = {days}"
            ));
            if let Some(variable) = variable {
                line(format!("environment = {{ WHAT = \"{variable}\" }}"));
            }
            if let Some(action) = action {
                let action = format!("Effect = \"Allow\", Action = \"dynamodb:{action}\"");
                line(format!("policy = {{ {action}, Resource = \"*\" }}"));
            }
            let managed: Vec<String> = managed.iter().map(|name| format!("arn:aws:iam::aws:policy/{name}")).collect();
            line(format!("managed_policies = {managed:?}"));
            for (bit, setting) in SETTINGS.iter().enumerate() {
                if settings >> bit & 1 == 1 {
                    line((*setting).to_owned());
                }
            }
        }
        line(format!("[api]\nname = \"{name}\"\nstage = \"{stage}\""));
        if let Some((rate, burst)) = throttle {
            line(format!("throttle = {{ rate = {rate}, burst = {burst} }}"));
        }
        line("[routes]".to_owned());
        for (route, (bits, pick)) in routes.iter().zip(picks) {
            let function = names[usize::from(pick) % names.len()];
            line(format!("\"{route}\" = {{ function = {function:?}, scopes = {:?} }}", some(bits)));
        }
        text
    })
}

/// The live resources after `up` of each of these files.
fn ups(world: &World, files: &[&String]) -> Value {
    for file in files {
        world.file(file);
        world.run(&["up", "--quiet", "--yes"]).ok();
        world.run(&["plan", "--check"]).ok();
    }
    world.portrait()
}

#[test]
fn any_stack_becomes_any_other() {
    let world = World::of("", "export const handler = async () => ({});");
    world.emulator.layer("otel");
    let mut runner = TestRunner::new(Config {
        cases: 12,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&(files(), files()), |(first, then)| {
        let both = ups(&world, &[&first, &then]);
        world.down();
        let alone = ups(&world, &[&then]);
        world.down();
        prop_assert_eq!(both, alone, "{}\n\nthen\n\n{}", first, then);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
