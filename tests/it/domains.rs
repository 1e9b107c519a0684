//! Domains of the user's own: every key, what others change, and a domain that is not ours or that two stacks use.

use serde_json::{Value, json};

use crate::changes::plan;
use crate::support::proxy::{Act, Moment, Request};
use crate::support::world::CODE;
use crate::support::{Emulator, World};

const NAME: &str = "api.example.com";
const CERTIFICATE: &str = "arn:aws:acm:eu-west-1:000000000000:certificate/1";
const OTHER: &str = "arn:aws:acm:eu-west-1:000000000000:certificate/2";

const START: &str = r#"
[stack]
name = "orders"
tags = { team = "payments" }
[resource_servers.shop.scopes]
read = "Read"
[clients.app]
scopes = ["shop/read"]
[backends.shop]
url = "http://127.0.0.1:9999"
[routes]
"GET /shop" = { backend = "shop", scopes = ["shop/read"] }
"#;

/// A stack that makes the domain, with more keys of it.
fn own(more: &str) -> String {
    format!("{START}[api.domain]\nname = \"{NAME}\"\ncertificate = \"{CERTIFICATE}\"\n{more}\n")
}

/// A stack that has a path of a domain that is there.
fn mapped(path: &str) -> String {
    format!("{START}[api.domain]\nname = \"{NAME}\"\nbase_path = \"{path}\"\n")
}

fn up(world: &World) {
    world.run(&["up", "--no-verify", "--yes"]).ok();
}

/// The writing calls, without ids, sorted.
fn writes(world: &World) -> Vec<String> {
    let mut writes: Vec<String> = (world.writes().iter())
        .map(|write| {
            let words = write.split('/').enumerate();
            // The id of the API, and of what is in it.
            let is_id = |at: usize| write.contains(" /restapis/") && at >= 2 && at.is_multiple_of(2);
            let words = words.map(|(at, word)| if is_id(at) { "*" } else { word });
            words.collect::<Vec<_>>().join("/")
        })
        .collect();
    writes.sort();
    writes
}

/// The domain, as someone else makes it, with their API at the root.
fn theirs(emulator: &Emulator) -> Value {
    let domain = json!({
        "domainName": NAME, "regionalCertificateArn": OTHER, "securityPolicy": "TLS_1_0",
        "endpointConfiguration": {"types": ["REGIONAL"]}, "tags": {"team": "theirs"},
    });
    emulator.write("apigateway", "POST", "/domainnames", &domain);
    their_mapping(emulator, "(none)", "zzz");
    whole(emulator)
}

fn their_mapping(emulator: &Emulator, path: &str, api: &str) {
    let mapping = json!({"basePath": path, "restApiId": api, "stage": "prod"});
    let path = format!("/domainnames/{NAME}/basepathmappings");
    emulator.write("apigateway", "POST", &path, &mapping);
}

/// The domain with its mappings.
fn whole(emulator: &Emulator) -> Value {
    let domain = format!("/domainnames/{NAME}");
    let mappings = emulator.get("apigateway", &format!("{domain}/basepathmappings"));
    json!([emulator.get("apigateway", &domain), mappings["item"]])
}

/// The paths of the domain, sorted; `None`: there is no domain.
fn paths(emulator: &Emulator) -> Option<Vec<String>> {
    let whole = whole(emulator);
    whole[0]["domainName"].as_str()?;
    let mappings = whole[1].as_array().cloned().unwrap_or_default();
    let paths = mappings
        .iter()
        .map(|mapping| mapping["basePath"].as_str().unwrap().to_owned());
    let mut paths: Vec<String> = paths.collect();
    paths.sort();
    Some(paths)
}

const DOMAIN: &str = "domain-name:api.example.com";
const ROOT: &str = "base-path-mapping:api.example.com/";

/// A change of the file, what `plan` says, and the writing calls there and back.
struct Case {
    name: &'static str,
    to: String,
    plan: Vec<String>,
    there: Vec<&'static str>,
    back: Vec<&'static str>,
}

fn case(name: &'static str, to: String, plan: &[&str], writes: &[&'static str]) -> Case {
    Case {
        name,
        to,
        plan: plan.iter().map(|line| (*line).to_owned()).collect(),
        there: writes.to_vec(),
        back: writes.to_vec(),
    }
}

const PATCH: &str = "PATCH /domainnames/api.example.com";
const DEPLOYS: [&str; 4] = [
    "DELETE /restapis/*/deployments/*",
    "PATCH /restapis/*",
    "PATCH /restapis/*/stages/*",
    "POST /restapis/*/deployments",
];

fn cases() -> Vec<Case> {
    let updated = |field: &str| format!("update {DOMAIN}: {field}");
    let in_place = |name, to, field: &str| case(name, to, &[&updated(field)], &[PATCH]);
    let create = "POST /domainnames/api.example.com/basepathmappings";
    let delete = "DELETE /domainnames/api.example.com/basepathmappings/%28none%29";
    let deployed = ["update deployment: description", "update stage: deployment"];
    let with_tls = [&DEPLOYS[..1], &[PATCH], &DEPLOYS[1..]].concat();
    let mutual = "truststore = \"s3://bucket/clients.pem\"";
    let closed = "update rest-api: default_endpoint_closed";
    vec![
        in_place("certificate", own("").replace(CERTIFICATE, OTHER), "certificate"),
        in_place("an older TLS", own("minimum_tls = \"1.0\""), "security_policy"),
        case(
            "a newer TLS",
            own("minimum_tls = \"1.3\""),
            &[
                "update rest-api: security_policy",
                deployed[0],
                deployed[1],
                &updated("security_policy"),
            ],
            &with_tls,
        ),
        in_place("mutual TLS", own(mutual), "truststore"),
        in_place(
            "mutual TLS with a version",
            own(&format!("{mutual}\ntruststore_version = \"v1\"")),
            "truststore, truststore_version",
        ),
        in_place(
            "mutual TLS with a proof of the name",
            own(&format!("{mutual}\nownership_certificate = \"{OTHER}\"")),
            "ownership_certificate, truststore",
        ),
        case(
            "no default endpoint",
            own("close_default_endpoint = true"),
            &[closed, deployed[0], deployed[1]],
            &DEPLOYS,
        ),
        Case {
            back: vec![
                "DELETE /domainnames/api.example.com/basepathmappings/orders",
                create,
            ],
            ..case(
                "another path",
                own("base_path = \"orders\""),
                &[
                    "create base-path-mapping:api.example.com/orders",
                    &format!("delete {ROOT}"),
                ],
                &[delete, create],
            )
        },
        case(
            "another stage",
            own("[api]\nstage = \"live\""),
            &["replace stage: name", &format!("replace {ROOT}: stage")],
            &[
                delete,
                "DELETE /restapis/*/stages/*",
                create,
                "POST /restapis/*/stages",
            ],
        ),
        Case {
            back: vec!["POST /domainnames", create],
            ..case(
                "no domain",
                START.to_owned(),
                &[&format!("delete {ROOT}"), &format!("delete {DOMAIN}")],
                &["DELETE /domainnames/api.example.com", delete],
            )
        },
    ]
}

#[test]
fn every_key_of_a_domain_is_planned_updated_in_place_and_put_back() {
    let world = World::of(&own(""), CODE);
    world.run(&["up", "--no-verify"]).ok();
    assert_eq!(paths(&world.emulator).unwrap(), ["(none)"]);
    world.assert_settled("a domain");
    let target = whole(&world.emulator)[0]["regionalDomainName"].clone();
    let batch = world.run(&["outputs", "--format", "route53"]).ok().json();
    let set = &batch["Changes"][0]["ResourceRecordSet"];
    assert_eq!(
        (&set["Name"], &set["AliasTarget"]["DNSName"]),
        (&json!(NAME), &target)
    );
    let outputs = world.run(&["outputs", "--json"]).ok().json();
    assert_eq!(outputs["dns"][0]["target"], target);
    world.proxy.take();
    for case in cases() {
        world.file(&case.to);
        let mut planned = plan(&world);
        let mut expected = case.plan.clone();
        planned.sort();
        expected.sort();
        assert_eq!(planned, expected, "{}", case.name);
        world.proxy.take();
        up(&world);
        assert_eq!(writes(&world), case.there, "{}", case.name);
        world.assert_settled(case.name);
        world.file(&own(""));
        world.proxy.take();
        up(&world);
        assert_eq!(writes(&world), case.back, "{} back", case.name);
        world.assert_settled(case.name);
    }

    // Another name is made before the one of before is deleted.
    world.file(&own("").replace(NAME, "shop.example.com"));
    world.proxy.take();
    up(&world);
    assert_eq!(
        world.writes(),
        [
            "POST /domainnames",
            "POST /domainnames/shop.example.com/basepathmappings",
            "DELETE /domainnames/api.example.com/basepathmappings/%28none%29",
            "DELETE /domainnames/api.example.com",
        ]
    );
    world.assert_settled("another name");
    let left = world.run(&["down", "--yes"]).ok();
    drop(left);
    let order = world.writes();
    let place = |call: &str| order.iter().position(|write| write.starts_with(call)).unwrap();
    let mapping = place("DELETE /domainnames/shop.example.com/basepathmappings");
    assert!(mapping < place("DELETE /restapis/"), "{order:?}");
    assert!(
        order
            .iter()
            .any(|write| write == "DELETE /domainnames/shop.example.com"),
        "{order:?}"
    );
    world.emulator.assert_nothing("after down");
    assert_eq!(paths(&world.emulator), None);
}

/// The domain of the pool, as Cognito describes it.
fn pool_domain(emulator: &Emulator) -> Value {
    emulator.cognito("DescribeUserPoolDomain", &json!({"Domain": "auth.example.com"}))["DomainDescription"]
        .clone()
}

const AUTH: &str = "custom-domain:auth.example.com";

#[test]
fn a_domain_for_tokens_is_made_beside_the_prefix_changed_in_place_and_taken_away() {
    let with = |certificate: &str| {
        format!("{START}[user_pool.domain]\nname = \"auth.example.com\"\ncertificate = \"{certificate}\"\n")
    };
    let [first, second] = ["1", "2"].map(|id| format!("arn:aws:acm:us-east-1:000000000000:certificate/{id}"));
    let world = World::of(START, CODE);
    world.run(&["up", "--no-verify"]).ok();
    for (file, planned, write, certificate) in [
        (
            with(&first),
            format!("create {AUTH}"),
            "CreateUserPoolDomain",
            Some(&first),
        ),
        (
            with(&second),
            format!("update {AUTH}: certificate"),
            "UpdateUserPoolDomain",
            Some(&second),
        ),
        (
            START.to_owned(),
            format!("delete {AUTH}"),
            "DeleteUserPoolDomain",
            None,
        ),
        (
            with(&second),
            format!("create {AUTH}"),
            "CreateUserPoolDomain",
            Some(&second),
        ),
    ] {
        world.file(&file);
        assert_eq!(plan(&world), [planned]);
        world.proxy.take();
        up(&world);
        assert_eq!(world.writes(), [write]);
        world.assert_settled(write);
        let live = pool_domain(&world.emulator);
        assert_eq!(
            live["CustomDomainConfig"]["CertificateArn"].as_str(),
            certificate.map(String::as_str)
        );
        // The name with the prefix stays, and has the tokens that this program gets.
        world.run(&["token"]).ok();
    }
    let dns = world.run(&["outputs", "--json"]).ok().json()["dns"][0].clone();
    let target = pool_domain(&world.emulator)["CloudFrontDistribution"].clone();
    let expected = json!({
        "name": "auth.example.com", "type": "CNAME", "target": target, "hosted_zone_id": "Z2FDTNDATAQYW2",
    });
    assert_eq!(dns, expected);

    // Somebody else's certificate is drift.
    let mut change = world.state().pool();
    change["Domain"] = "auth.example.com".into();
    change["CustomDomainConfig"] = json!({ "CertificateArn": first });
    world.emulator.cognito("UpdateUserPoolDomain", &change);
    assert_eq!(differing(&world), [format!("{AUTH}: certificate")]);
    up(&world);
    world.assert_settled("changed back");

    // Killed at every call of its own.
    world.run(&["down", "--yes"]).ok();
    for (args, operation) in [
        (&["up", "--no-verify"][..], "CreateUserPoolDomain"),
        (&["down", "--yes"], "DeleteUserPoolDomain"),
    ] {
        for moment in [Moment::Before, Moment::After] {
            for at in 0..2 {
                if operation.starts_with("Delete") {
                    world.run(&["up", "--no-verify"]).ok();
                }
                let is_it = move |request: &Request| request.operation() == operation;
                assert!(world.kill_at(args, at, moment, is_it), "{operation} {at}");
                if at == 0 {
                    up(&world);
                    world.assert_settled(operation);
                }
                world.run(&["down", "--yes"]).ok();
                world.emulator.assert_nothing(operation);
                assert_eq!(pool_domain(&world.emulator), json!({}));
            }
        }
    }
}

/// The steps that are not as recorded: `step: fields`.
fn differing(world: &World) -> Vec<String> {
    let status = world.run(&["status", "--json"]).code(3).json();
    let lines = status["resources"].as_array().unwrap().clone();
    let lines = lines.iter().filter(|line| line["state"] != "ok");
    lines
        .map(|line| {
            let fields = line["drifted"].as_array().cloned().unwrap_or_default();
            let fields: Vec<&str> = fields.iter().map(|one| one["field"].as_str().unwrap()).collect();
            format!("{}: {}", line["step"].as_str().unwrap(), fields.join(", "))
        })
        .collect()
}

#[test]
fn every_field_of_a_domain_that_someone_else_changed_is_named_and_changed_back() {
    let more = format!(
        "truststore = \"s3://bucket/clients.pem\"\ntruststore_version = \"v1\"\nownership_certificate = \"{OTHER}\"\n\
         close_default_endpoint = true"
    );
    let world = World::of(&own(&more), CODE);
    let open = more.replace("close_default_endpoint = true", "");
    world.file(&own(&open));
    let warned = world.run(&["plan"]).ok().stderr;
    assert!(
        warned.contains("clients without a certificate can use AWS's own host name"),
        "{warned}"
    );
    world.file(&own(&more));
    let up = world.run(&["up", "--no-verify"]).ok();
    assert!(!up.stderr.contains("warning"), "{}", up.stderr);
    let emulator = &world.emulator;
    let before = whole(emulator);
    let domain = format!("/domainnames/{NAME}");
    let mapping = format!("{domain}/basepathmappings/(none)");
    let api = world.state().api();
    for (step, field, path, patch, value) in [
        (DOMAIN, "certificate", &domain, "/regionalCertificateArn", OTHER),
        (DOMAIN, "security_policy", &domain, "/securityPolicy", "TLS_1_0"),
        (
            DOMAIN,
            "ownership_certificate",
            &domain,
            "/ownershipVerificationCertificateArn",
            "",
        ),
        (
            DOMAIN,
            "truststore",
            &domain,
            "/mutualTlsAuthentication/truststoreUri",
            "",
        ),
        (
            DOMAIN,
            "truststore_version",
            &domain,
            "/mutualTlsAuthentication/truststoreVersion",
            "v0",
        ),
        (DOMAIN, "tags", &domain, "/tags/team", "theirs"),
        (DOMAIN, "trouble", &domain, "/domainNameStatus", "FAILED"),
        (ROOT, "stage", &mapping, "/stage", "theirs"),
        (
            "rest-api",
            "default_endpoint_closed",
            &api,
            "/disableExecuteApiEndpoint",
            "false",
        ),
    ] {
        emulator.patch(path, &[("replace", patch, value)]);
        assert_eq!(differing(&world), [format!("{step}: {field}")]);
        if field == "trouble" {
            let failed = world.run(&["up", "--no-verify"]).code(1).stderr;
            assert!(
                failed.contains("domain api.example.com does not work: FAILED"),
                "{failed}"
            );
            emulator.patch(path, &[("replace", patch, "AVAILABLE")]);
        }
        let deployment = world.state().output("deployment", "id").to_owned();
        world.run(&["up", "--no-verify"]).ok();
        world.assert_settled(field);
        let is_deployed = world.state().output("deployment", "id") != deployment;
        assert_eq!(
            is_deployed,
            step == "rest-api",
            "{field}: what a deployment has to follow is deployed"
        );
        emulator.patch(&domain, &[("remove", "/domainNameStatus", "")]);
        assert_eq!(whole(emulator), before, "{field}");
    }

    // What is gone is made again.
    emulator.delete("apigateway", &domain);
    assert_eq!(differing(&world), [format!("{DOMAIN}: "), format!("{ROOT}: ")]);
    world.run(&["up", "--no-verify"]).ok();
    world.assert_settled("made again");
    assert_eq!(whole(emulator), before);
    world.down();
}

#[test]
fn what_api_gateway_warns_of_a_truststore_is_shown_by_every_command_that_looks_at_the_domain() {
    let world = World::of(&own("truststore = \"s3://bucket/clients.pem\""), CODE);
    let endpoint = world.emulator.endpoint.clone();
    world.proxy.rule(move |request, now| {
        if now == Moment::Before && request.operation() == format!("GET /domainnames/{NAME}") {
            let mut domain = whole(&Emulator::new(endpoint.clone()))[0].clone();
            if domain["domainName"] == NAME {
                let said = json!(["Certificate 2 has\u{1b}[2J expired."]);
                domain["mutualTlsAuthentication"]["truststoreWarnings"] = said;
                return Act::Answer(200, Vec::new(), domain.to_string());
            }
        }
        Act::Pass
    });
    let words = "warning: domain api.example.com: API Gateway warns of the certificates in its truststore: Certificate 2 has";
    for args in [&["up"][..], &["plan"], &["up"], &["status"], &["verify"]] {
        let told = world.run(args).ok().stderr;
        assert_eq!(told.matches(words).count(), 1, "{args:?}: {told}");
        assert!(!told.contains('\u{1b}'), "{args:?}: {told}");
    }
    world.down();
}

#[test]
fn of_a_strangers_domain_only_our_own_path_is_taken_and_given_back() {
    let world = World::of(&mapped("orders"), CODE);
    let missing = world.run(&["up"]).code(2).stderr;
    assert!(
        missing.contains("[api.domain]: domain api.example.com not found in this account and region"),
        "{missing}"
    );
    world.emulator.assert_nothing("refused");

    let before = theirs(&world.emulator);
    world.run(&["up", "--no-verify"]).ok();
    world.assert_settled("a stranger's domain");
    assert_eq!(paths(&world.emulator).unwrap(), ["(none)", "orders"]);
    assert_eq!(whole(&world.emulator)[0], before[0]);
    let kinds = world.state();
    assert!(kinds.steps().iter().all(|step| step["kind"] != "domain-name"));

    // What the stack would make it with changes nothing of theirs.
    world.file(&own("base_path = \"orders\"\nminimum_tls = \"1.2\""));
    world.run(&["plan", "--check"]).ok();
    up(&world);
    assert_eq!(whole(&world.emulator)[0], before[0]);

    // A path of others is never taken, also if they come later.
    world.file(&own(""));
    for args in [&["plan"][..], &["up"]] {
        let refused = world.run(args).code(2).stderr;
        let words = "[api.domain]: api.example.com/ is mapped to API zzz, which is not of this stack";
        assert!(refused.contains(words), "{refused}");
    }
    world.file(&mapped("orders"));
    let ours = format!("/domainnames/{NAME}/basepathmappings/orders");
    world.emulator.delete("apigateway", &ours);
    their_mapping(&world.emulator, "orders", "yyy");
    let taken = world.run(&["up", "--no-verify"]).code(2).stderr;
    assert!(
        taken.contains("the mapping of api.example.com/orders to API yyy"),
        "{taken}"
    );
    let down = world.run(&["down", "--yes"]);
    assert_ne!(down.code, 0, "{}", down.stdout);
    assert_eq!(paths(&world.emulator).unwrap(), ["(none)", "orders"]);
    world.emulator.delete("apigateway", &ours);
    world.run(&["down", "--yes"]).ok();
    world.emulator.assert_nothing("after down");
    assert_eq!(whole(&world.emulator), before);
}

#[test]
fn certificates_of_another_account_or_region_are_refused_before_anything_is_made() {
    for (from, to, words) in [
        (
            "000000000000",
            "111122223333",
            "[api.domain]: certificate: expected a certificate of account 000000000000",
        ),
        (
            "eu-west-1",
            "us-east-1",
            "[api.domain]: certificate: expected region eu-west-1, where the stack is, got us-east-1",
        ),
    ] {
        let world = World::of(&own("").replace(from, to), CODE);
        let refused = world.run(&["up"]).code(2).stderr;
        assert!(refused.contains(words), "{refused}");
        world.emulator.assert_nothing("refused");
    }
}

/// A run for the stack of another name.
fn run_as(world: &World, stack: &str, args: &[&str]) -> crate::support::Run {
    world.run(&[args, &["--stack", stack]].concat())
}

#[test]
fn two_stacks_share_a_domain_and_neither_takes_anything_of_the_other_along() {
    for owner_goes_first in [true, false] {
        let world = World::of(&own("base_path = \"orders\""), CODE);
        world.run(&["up", "--no-verify"]).ok();
        let at_first = whole(&world.emulator);
        world.file(&own("base_path = \"shop\""));
        run_as(&world, "shop", &["up", "--no-verify"]).ok();
        assert_eq!(paths(&world.emulator).unwrap(), ["orders", "shop"]);
        assert_eq!(whole(&world.emulator)[0], at_first[0], "the first made it");
        let both = whole(&world.emulator);

        let foreign = world.run(&["status", "--json", "--stack", "shop"]).ok().json();
        assert_eq!(foreign["foreign"], json!([]));
        if owner_goes_first {
            // Its domain has the other's path: nothing is deleted.
            world.file(START);
            let refused = [
                (&["down", "--yes"][..], "nothing was deleted"),
                (&["up", "--yes"], "nothing was changed"),
            ];
            for (args, end) in refused {
                let refused = world.run(args).code(2).stderr;
                assert!(refused.contains("a domain that others use"), "{refused}");
                assert!(
                    refused.contains(end) && refused.contains("/shop (API "),
                    "{refused}"
                );
            }
            assert_eq!(whole(&world.emulator), both);
            world.file(&own("base_path = \"shop\""));
            run_as(&world, "shop", &["down", "--yes"]).ok();
            assert_eq!(whole(&world.emulator), at_first);
            world.run(&["down", "--yes"]).ok();
        } else {
            run_as(&world, "shop", &["down", "--yes"]).ok();
            assert_eq!(whole(&world.emulator), at_first);
            run_as(&world, "shop", &["up", "--no-verify"]).ok();
            assert_eq!(paths(&world.emulator).unwrap(), ["orders", "shop"]);
            run_as(&world, "shop", &["down", "--yes"]).ok();
            world.file(&own("base_path = \"orders\""));
            world.assert_settled("the first");
            world.run(&["down", "--yes"]).ok();
        }
        world.emulator.assert_nothing("after both");
        assert_eq!(paths(&world.emulator), None);
    }
}

#[test]
fn a_mapping_that_comes_while_down_runs_keeps_the_domain() {
    let world = World::of(&own(""), CODE);
    world.run(&["up", "--no-verify"]).ok();
    let endpoint = world.emulator.endpoint.clone();
    // When our own mapping goes, somebody else's comes.
    world.proxy.rule(move |request, now| {
        if now == Moment::After && request.operation().starts_with("DELETE /domainnames/") {
            their_mapping(&Emulator::new(endpoint.clone()), "late", "zzz");
        }
        Act::Pass
    });
    let stopped = world.run(&["down", "--yes"]).code(1).stderr;
    assert!(
        stopped.contains("mappings that this stack did not make") && stopped.contains("/late (API zzz)"),
        "{stopped}"
    );
    assert!(
        stopped.contains(
            "aws apigateway delete-base-path-mapping --domain-name api.example.com --base-path late"
        ),
        "{stopped}"
    );
    assert_eq!(paths(&world.emulator).unwrap(), ["late"]);
    world.proxy.rule(|_, _| Act::Pass);
    world.emulator.delete(
        "apigateway",
        &format!("/domainnames/{NAME}/basepathmappings/late"),
    );
    world.run(&["down", "--yes"]).ok();
    world.emulator.assert_nothing("after down");
    assert_eq!(paths(&world.emulator), None);
}

#[test]
fn a_lost_record_of_a_domain_is_recovered_and_a_strangers_is_not() {
    let world = World::of(&own("close_default_endpoint = true"), CODE);
    world.run(&["up", "--no-verify"]).ok();
    world.lose_state();
    world.run(&["recover"]).ok();
    assert_eq!(world.state().desired(DOMAIN, "name"), NAME);
    world.run(&["up", "--no-verify"]).ok();
    world.assert_settled("recovered");
    world.down();
    assert_eq!(paths(&world.emulator), None);

    let before = theirs(&world.emulator);
    world.file(&own("base_path = \"orders\""));
    world.run(&["up", "--no-verify"]).ok();
    world.lose_state();
    world.run(&["recover"]).ok();
    let kinds: Vec<String> = (world.state().steps().iter())
        .map(|step| step["kind"].as_str().unwrap().to_owned())
        .collect();
    assert!(kinds.contains(&"base-path-mapping".to_owned()));
    assert!(!kinds.contains(&"domain-name".to_owned()));
    world.down();
    assert_eq!(whole(&world.emulator), before);
}

/// Runs that are killed, with a domain of ours or with a stranger's.
struct Killing {
    world: World,
    before: Option<Value>,
}

impl Killing {
    fn new(is_ours: bool) -> Self {
        let file = if is_ours {
            own("close_default_endpoint = true\nbase_path = \"orders\"")
        } else {
            mapped("orders")
        };
        let world = World::of(&file, CODE);
        let before = (!is_ours).then(|| theirs(&world.emulator));
        Self { world, before }
    }

    /// How many writing calls a run makes.
    fn writes(&self, args: &[&str]) -> usize {
        self.world.proxy.take();
        self.world.run(args).ok();
        self.world.writes().len()
    }

    /// A run is killed, and another one ends it: then nothing of ours is left, and all of theirs is.
    fn killed(&self, args: &[&str], at: usize, moment: Moment) {
        let up_next = at.is_multiple_of(2);
        let story = format!("{args:?} killed {moment:?} its write {at}, then up: {up_next}");
        let world = &self.world;
        assert!(world.kill_at(args, at, moment, Request::is_write), "{story}");
        if up_next {
            let up = world.run(&["up", "--no-verify", "--yes"]);
            assert_eq!(up.code, 0, "{story}: {}", up.stderr);
            world.assert_settled(&story);
            assert!(
                paths(&world.emulator).unwrap().contains(&"orders".to_owned()),
                "{story}"
            );
        }
        let down = world.run(&["down", "--yes"]);
        assert_eq!(down.code, 0, "{story}: {}", down.stderr);
        world.emulator.assert_nothing(&story);
        match &self.before {
            Some(before) => assert_eq!(&whole(&world.emulator), before, "{story}"),
            None => assert_eq!(paths(&world.emulator), None, "{story}"),
        }
        assert!(!world.has_state(), "{story}");
    }

    fn all(&self, choose: impl Fn(usize) -> bool) {
        let up = self.writes(&["up", "--no-verify"]);
        let down = self.writes(&["down", "--yes"]);
        assert!(up > 10 && down > 3, "{up} {down}");
        for at in (0..up).filter(|at| choose(*at)) {
            for moment in [Moment::Before, Moment::After] {
                self.killed(&["up", "--no-verify"], at, moment);
            }
        }
        for at in (0..down).filter(|at| choose(*at)) {
            for moment in [Moment::Before, Moment::After] {
                self.world.run(&["up", "--no-verify"]).ok();
                self.killed(&["down", "--yes"], at, moment);
            }
        }
    }
}

#[test]
fn killed_at_a_sample_of_its_calls_nothing_of_ours_is_left_and_all_of_theirs() {
    Killing::new(true).all(|at| at % 5 == 2);
    Killing::new(false).all(|at| at % 7 == 3);
}

#[test]
#[ignore = "every call: some minutes"]
fn killed_at_every_call_nothing_of_ours_is_left_and_all_of_theirs() {
    Killing::new(true).all(|_| true);
    Killing::new(false).all(|_| true);
}
