//! What `provision.toml` can contain, and every message about an invalid one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::support::Place;
use proptest::prelude::*;
use provision::config::{Answerer, Backend, Chosen, Config, Problem, Regional, SharedPool, Source};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What no message may ever contain.
const SECRET: &str = "hunter2-hunter2";

/// Uses every key.
pub(crate) const FULL: &str = r#"
[stack]
name = "orders"
region = "eu-west-1"
tags = { team = "payments", "cost-centre" = "42 / EU" }
permissions_boundary = "arn:aws:iam::123456789012:policy/limits/boundary"
role_path = "/service/"

[user_pool]
domain_prefix = "orders-auth"
deletion_protection = true
tier = "LITE"

[user_pool.domain]
name = "auth.example.com"
certificate = "arn:aws:acm:us-east-1:123456789012:certificate/9abc"

[resource_servers.orders.scopes]
read = "Read orders"
write = "Write orders"

[resource_servers."https://example.com/v1".scopes]
"a:b" = "An identifier may be a URL"

[clients.billing]
scopes = ["orders/read", "https://example.com/v1/a:b"]
access_token = "90m"
secret_from = "secretsmanager:orders/billing"

[functions.orders]
source = "code"
runtime = "python3.13"
handler = "app.main"
architecture = "arm64"
memory_mb = 256
timeout = "29s"
log_retention_days = 30
environment = { TABLE = "orders", PASSWORD = "hunter2-hunter2", DB_URL = { from_env = "ORDERS_DB" } }
policy = "orders.policy.json"
managed_policies = ["arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess"]
description = "Takes orders"
ephemeral_storage_mb = 1024
tracing = true
log_format = "json"
layers = ["arn:aws:lambda:eu-west-1:123456789012:layer:otel:7", "arn:aws:lambda:eu-west-1:210987654321:layer:a-b_c:12"]
kms_key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
reserved_concurrency = 20
vpc = { subnets = ["subnet-0b", "subnet-0a1b2c3d4e5f60718"], security_groups = ["sg-0a1b"] }

[functions.admin]
source = "admin.zip"
runtime = "provided.al2023"
role = "arn:aws:iam::123456789012:role/made-elsewhere"

[backends.legacy]
lambda = "arn:aws:lambda:eu-west-1:123456789012:function:legacy:live"

[backends.shop]
url = "https://shop.example.com/v2/"
timeout = "1500ms"
client_id_header = "X-Client-Id"
forward_authorization = true
vpc_link = "a1b2c3"
target = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/0123456789abcdef"

[api]
name = "Orders API"
description = "Orders, and who pays for them"
stage = "live"
throttle = { rate = 100, burst = 200 }
access_logs = { retention_days = 365 }
tracing = true
metrics = true
firewall = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/shop/1234abcd-12ab-34cd-56ef-1234567890ab"

[api.domain]
name = "api.example.com"
certificate = "arn:aws:acm:eu-west-1:123456789012:certificate/1234abcd-12ab"
base_path = "orders.v1"
minimum_tls = "1.2"
truststore = "s3://my-bucket/certificates/clients.pem"
truststore_version = "a1B2.c3"
ownership_certificate = "arn:aws:acm:eu-west-1:123456789012:certificate/5678"
close_default_endpoint = true

[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"GET /orders/{id}" = { function = "orders", scopes = ["orders/read", "orders/write"] }
"POST /orders/bulk" = { function = "orders", scopes = ["orders/write"] }
"ANY /admin/{proxy+}" = { function = "admin", scopes = ["orders/write"] }
"GET /" = { function = "orders", scopes = ["https://example.com/v1/a:b"] }
"GET /shop/{id}" = { backend = "shop", scopes = ["orders/read"] }
"ANY /legacy/{proxy+}" = { backend = "legacy", scopes = ["orders/read"] }
"#;

/// Only the required keys.
pub(crate) const SMALL: &str = r#"[stack]
name = "orders"
[resource_servers.orders.scopes]
read = "Read orders"
[functions.orders]
source = "code"
runtime = "nodejs22.x"
handler = "index.handler"
[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"#;

const CERTIFICATE: &str = "arn:aws:acm:eu-west-1:123456789012:certificate/1234abcd-12ab";

/// Policy documents, good and bad ones.
const POLICIES: [(&str, &str); 6] = [
    (
        "orders.policy.json",
        r#"{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "Read", "Effect": "Allow", "Action": ["dynamodb:GetItem", "dynamodb:Query"], "Resource": "arn:aws:dynamodb:*:*:table/orders"},
    {"Effect": "Deny", "NotAction": "dynamodb:*", "NotResource": "*", "Condition": {"Bool": {"aws:SecureTransport": false}}}
  ]
}
"#,
    ),
    (
        "cut.json",
        "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [,\n",
    ),
    ("list.json", "[1]"),
    (
        "wrong.json",
        r#"{
  "Version": "2008-10-17",
  "Statments": [],
  "Statement": [
    {"Effect": "allow", "Action": "GetItem", "Resource": "orders"},
    {"Effect": "Allow", "Action": [], "Resource": ["*", 7]},
    {"Effect": "Allow", "Effect": "Deny", "Action": "s3:*", "NotAction": "s3:*", "Resource": null},
    {"Principal": "*", "Effect": "Allow", "Action": "s3:*", "Resource": "*"},
    {"Sid": "a b", "Condition": {"StringEquals": "x"}},
    {"Sid": "One", "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"x": [[]]}}},
    {"Sid": "One", "Effect": "Allow", "Action": "*", "Resource": "*"},
    "everything"
  ]
}
"#,
    ),
    ("empty.json", r#"{"Statement": []}"#),
    ("bare.json", "{}"),
];
/// An alias of a function of someone else.
const ALIAS: &str = "arn:aws:lambda:eu-west-1:123456789012:function:legacy:live";
/// What a VPC link leads to.
const BALANCER: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/0123456789abcdef";
/// A back end.
const SHOP: &str = "[backends.shop]\nurl = \"https://shop.example.com\"\n";

/// A folder with the code that the files here refer to.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    put_code(folder.path());
    folder
}

fn put_code(folder: &Path) {
    fs_err::create_dir_all(folder.join("code")).unwrap();
    for file in ["code/index.mjs", "admin.zip", "notes.txt"] {
        fs_err::write(folder.join(file), "").unwrap();
    }
    for (file, text) in POLICIES {
        fs_err::write(folder.join(file), text).unwrap();
    }
}

fn problems(text: &str) -> Vec<String> {
    let folder = folder();
    match Config::read(text, folder.path()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_key_is_read() {
    let folder = folder();
    let config = Config::read(FULL, folder.path()).unwrap();
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let map = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        pairs.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(config.stack, "orders");
    assert_eq!(config.region.as_deref(), Some("eu-west-1"));
    assert_eq!(
        config.tags,
        map(&[("team", "payments"), ("cost-centre", "42 / EU")])
    );
    assert_eq!(config.user_pool.domain_prefix.as_deref(), Some("orders-auth"));
    assert!(config.user_pool.deletion_protection);
    assert_eq!(config.user_pool.tier, "LITE");
    let domain = config.user_pool.domain.as_ref().unwrap();
    assert_eq!(
        (&*domain.name, &*domain.certificate),
        (
            "auth.example.com",
            "arn:aws:acm:us-east-1:123456789012:certificate/9abc"
        )
    );
    assert_eq!(
        config.resource_servers["orders"].scopes,
        map(&[("read", "Read orders"), ("write", "Write orders")])
    );
    assert!(
        config.resource_servers["https://example.com/v1"]
            .scopes
            .contains_key("a:b")
    );
    let client = &config.clients["billing"];
    assert_eq!(client.scopes, set(&["orders/read", "https://example.com/v1/a:b"]));
    assert_eq!(
        (client.access_token_seconds, client.refresh_token_days),
        (5400, 1)
    );
    assert_eq!(client.secret_from, "secretsmanager:orders/billing".parse().ok());
    let function = &config.functions["orders"];
    assert_eq!(function.source, Source::Folder(folder.path().join("code")));
    assert_eq!(
        (&*function.runtime, &*function.handler),
        ("python3.13", "app.main")
    );
    assert_eq!(function.architecture, "arm64");
    assert_eq!(
        (
            function.memory_mb,
            function.timeout_seconds,
            function.log_retention_days
        ),
        (256, 29, 30)
    );
    let environment = &function.environment.values;
    assert_eq!(environment["PASSWORD"].expose_secret(), SECRET);
    assert_eq!(environment["TABLE"].expose_secret(), "orders");
    let statements = function.policy.as_ref().unwrap()["Statement"].as_array().unwrap();
    assert_eq!(
        statements[0]["Action"],
        json!(["dynamodb:GetItem", "dynamodb:Query"])
    );
    assert_eq!(statements[1]["Condition"]["Bool"]["aws:SecureTransport"], "false");
    assert_eq!(
        function.managed_policies,
        set(&["arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess"])
    );
    assert_eq!(function.role, None);
    assert_eq!(
        config.functions["admin"].role.as_deref(),
        Some("arn:aws:iam::123456789012:role/made-elsewhere")
    );
    assert_eq!(
        config.permissions_boundary.as_deref(),
        Some("arn:aws:iam::123456789012:policy/limits/boundary")
    );
    assert_eq!(config.role_path, "/service/");
    assert!(!environment.contains_key("DB_URL"), "it is not in the file");
    let from_env = &function.environment.from_env[0];
    assert_eq!((&*from_env.variable, &*from_env.name), ("DB_URL", "ORDERS_DB"));
    assert_eq!(function.description, "Takes orders");
    assert_eq!(
        (function.ephemeral_storage_mb, function.reserved_concurrency),
        (1024, Some(20))
    );
    assert_eq!((function.tracing, &*function.log_format), (true, "json"));
    assert_eq!(
        function.layers,
        [
            "arn:aws:lambda:eu-west-1:123456789012:layer:otel:7",
            "arn:aws:lambda:eu-west-1:210987654321:layer:a-b_c:12"
        ]
    );
    assert_eq!(
        function.kms_key.as_deref(),
        Some("arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab")
    );
    let vpc = function.vpc.as_ref().unwrap();
    assert_eq!(vpc.subnets, set(&["subnet-0a1b2c3d4e5f60718", "subnet-0b"]));
    assert_eq!(vpc.security_groups, set(&["sg-0a1b"]));
    assert_eq!(
        config.functions["admin"].source,
        Source::Zip(folder.path().join("admin.zip"))
    );
    assert_eq!(config.functions["admin"].handler, "bootstrap");
    let [Backend::Lambda(legacy), Backend::Url(shop)] = ["legacy", "shop"].map(|name| &config.backends[name])
    else {
        panic!("{:?}", config.backends);
    };
    assert_eq!(
        (
            &*legacy.region,
            &*legacy.account,
            &*legacy.name,
            legacy.qualifier.as_deref()
        ),
        ("eu-west-1", "123456789012", "legacy", Some("live"))
    );
    assert_eq!(
        (&*shop.url, shop.timeout_millis, shop.forward_authorization),
        ("https://shop.example.com/v2", 1500, true)
    );
    assert_eq!(shop.client_id_header.as_deref(), Some("X-Client-Id"));
    let link = shop.vpc_link.as_ref().unwrap();
    assert_eq!(&*link.id, "a1b2c3");
    assert!(
        link.target
            .as_ref()
            .unwrap()
            .ends_with("loadbalancer/app/shop/0123456789abcdef")
    );
    assert_eq!((&*config.api.name, &*config.api.stage), ("Orders API", "live"));
    assert_eq!(config.api.description, "Orders, and who pays for them");
    assert_eq!(
        (config.api.access_log_days, config.api.tracing, config.api.metrics),
        (Some(365), true, true)
    );
    assert_eq!(
        config.api.firewall.as_deref().unwrap(),
        "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/shop/1234abcd-12ab-34cd-56ef-1234567890ab"
    );
    let throttle = config.api.throttle.unwrap();
    assert!((throttle.rate - 100.0).abs() < f64::EPSILON && throttle.burst == 200);
    let domain = config.api.domain.as_ref().unwrap();
    assert_eq!(
        (&*domain.name, &*domain.base_path, domain.close_default_endpoint),
        ("api.example.com", "orders.v1", true)
    );
    let made = domain.made.as_ref().unwrap();
    assert_eq!(
        (&*made.certificate, &*made.security_policy),
        (CERTIFICATE, "TLS_1_2")
    );
    assert_eq!(
        (&*made.truststore, &*made.truststore_version),
        ("s3://my-bucket/certificates/clients.pem", "a1B2.c3")
    );
    assert_eq!(
        made.ownership_certificate,
        "arn:aws:acm:eu-west-1:123456789012:certificate/5678"
    );
    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|route| {
            let (Answerer::Function(name) | Answerer::Backend(name)) = &route.answerer;
            (&*route.verb, &*route.path, &**name, route.scopes.len())
        })
        .collect();
    assert_eq!(
        routes,
        [
            ("ANY", "/admin/{proxy+}", "admin", 1),
            ("ANY", "/legacy/{proxy+}", "legacy", 1),
            ("GET", "/", "orders", 1),
            ("GET", "/orders", "orders", 1),
            ("GET", "/orders/{id}", "orders", 2),
            ("GET", "/shop/{id}", "shop", 1),
            ("POST", "/orders/bulk", "orders", 1),
        ]
    );
}

#[test]
fn a_missing_key_has_its_default() {
    let folder = folder();
    let config = Config::read(SMALL, folder.path()).unwrap();
    assert_eq!(
        (config.region, config.tags.len(), config.clients.len()),
        (None, 0, 0)
    );
    assert_eq!(config.user_pool, Config::sample().user_pool);
    let (function, sample) = (&config.functions["orders"], &Config::sample().functions["user"]);
    assert_eq!(function.architecture, sample.architecture);
    assert_eq!(function.memory_mb, sample.memory_mb);
    assert_eq!(function.timeout_seconds, sample.timeout_seconds);
    assert_eq!(function.log_retention_days, sample.log_retention_days);
    assert_eq!(function.environment, sample.environment);
    assert_eq!(
        (&function.policy, &function.role, function.managed_policies.len()),
        (&None, &None, 0)
    );
    assert_eq!((&config.permissions_boundary, &*config.role_path), (&None, "/"));
    assert_eq!((&*function.description, function.ephemeral_storage_mb), ("", 512));
    assert_eq!((function.tracing, &*function.log_format), (false, "text"));
    assert_eq!((&function.layers[..], &function.kms_key), (&[][..], &None));
    assert_eq!((function.reserved_concurrency, &function.vpc), (None, &None));
    assert_eq!((&*config.api.name, &*config.api.stage), ("orders", "prod"));
    assert_eq!(
        (&*config.api.description, config.api.throttle),
        ("API of stack orders", None)
    );
    assert_eq!(config.api.domain, None);
    let with_domain =
        format!("{SMALL}[api.domain]\nname = \"api.example.com\"\ncertificate = \"{CERTIFICATE}\"\n");
    let domain = Config::read(&with_domain, folder.path())
        .unwrap()
        .api
        .domain
        .unwrap();
    assert_eq!((&*domain.base_path, domain.close_default_endpoint), ("", false));
    let made = domain.made.unwrap();
    assert_eq!(
        (&*made.certificate, &*made.security_policy),
        (CERTIFICATE, "TLS_1_2")
    );
    assert_eq!((&*made.truststore, &*made.ownership_certificate), ("", ""));
    let with_backend = format!("{SMALL}[backends.a]\nurl = \"https://a.example\"\n");
    let config = Config::read(&with_backend, folder.path()).unwrap();
    let Backend::Url(backend) = &config.backends["a"] else {
        panic!("{:?}", config.backends);
    };
    assert_eq!(
        (backend.timeout_millis, backend.forward_authorization),
        (29_000, false)
    );
    assert_eq!((&backend.client_id_header, &backend.vpc_link), (&None, &None));
    let with_client = format!("{SMALL}[clients.a]\nscopes = [\"orders/read\"]\n");
    let config = Config::read(&with_client, folder.path()).unwrap();
    assert_eq!(config.clients["a"].access_token_seconds, 3600);
}

#[test]
fn a_policy_is_the_same_in_a_file_and_however_it_is_written_in_this_one() {
    let folder = folder();
    let read = |policy: &str| {
        let text = SMALL.replace("handler =", &format!("{policy}\nhandler ="));
        let config =
            Config::read(&text, folder.path()).unwrap_or_else(|problems| panic!("{policy}: {problems:?}"));
        config.functions["orders"].policy.clone().unwrap()
    };
    let statement = r#"{ Effect = "Allow", Action = ["s3:Get*", "s3:?ut"], Resource = "arn:aws:s3:::${aws:username}/*" }"#;
    let document = |statements: Value| json!({"Version": "2012-10-17", "Statement": statements});
    let expected = json!({"Effect": "Allow", "Action": ["s3:Get*", "s3:?ut"], "Resource": "arn:aws:s3:::${aws:username}/*"});
    assert_eq!(read(&format!("policy = {statement}")), document(expected.clone()));
    assert_eq!(
        read(&format!("policy = [{statement}]")),
        document(json!([expected]))
    );
    assert_eq!(
        read(&format!(
            "policy = {{ Version = \"2012-10-17\", Statement = [{statement}] }}"
        )),
        document(json!([expected]))
    );
    let file = document(json!([expected])).to_string();
    fs_err::write(folder.path().join("p.json"), format!("\n  {file}\n")).unwrap();
    assert_eq!(read("policy = \"p.json\""), document(json!([expected])));
    // Deep, long and odd files end in a problem.
    let deep = format!("{}{}", "[".repeat(90_000), "]".repeat(9_000));
    for text in [
        deep,
        "[".repeat(50_000) + &"]".repeat(50_000),
        "x".repeat(100_001),
        "\"\\ud800\"".to_owned(),
    ] {
        fs_err::write(folder.path().join("p.json"), text).unwrap();
        let text = SMALL.replace("handler =", "policy = \"p.json\"\nhandler =");
        assert_eq!(Config::read(&text, folder.path()).unwrap_err().len(), 1);
    }
}

#[test]
fn what_is_in_another_region_than_the_stack_is_named_with_its_place() {
    let folder = folder();
    let config = Config::read(FULL, folder.path()).unwrap();
    assert_eq!(config.elsewhere("eu-west-1"), []);
    let said: Vec<String> = config
        .elsewhere("us-east-1")
        .iter()
        .map(ToString::to_string)
        .collect();
    let words = "expected region us-east-1, where the stack is, got eu-west-1";
    assert_eq!(
        said,
        [
            format!("45:11: function \"orders\": layers: {words}"),
            format!("45:65: function \"orders\": layers: {words}"),
            format!("46:11: function \"orders\": kms_key: {words}"),
            format!("74:12: [api]: firewall: {words}"),
            format!("78:15: [api.domain]: certificate: {words}"),
            format!("83:25: [api.domain]: ownership_certificate: {words}"),
        ]
    );
}

#[test]
fn a_value_from_the_environment_is_read_when_it_is_needed_and_its_lack_has_a_place() {
    let folder = folder();
    let config = || Config::read(FULL, folder.path()).unwrap();
    let filled = config().with_environment(|name| (name == "ORDERS_DB").then(|| "postgres://x".into()));
    let filled = filled.unwrap();
    let values = &filled.functions["orders"].environment.values;
    assert_eq!(values["DB_URL"].expose_secret(), "postgres://x");
    assert!(!format!("{filled:?}").contains("postgres"));
    let problem = |read: &dyn Fn(&str) -> Option<OsString>| {
        let problems = config().with_environment(read).unwrap_err();
        assert_eq!(problems.len(), 1);
        problems[0].to_string()
    };
    let place = "38:87: environment of function \"orders\": DB_URL: from_env: ";
    assert_eq!(
        problem(&|_| None),
        format!("{place}ORDERS_DB is not set in the environment of this command")
    );
    assert_eq!(
        problem(&|_| Some(OsString::from_vec(vec![0xff]))),
        format!("{place}the value of ORDERS_DB in the environment is not UTF-8")
    );
    let large = problem(&|_| Some("x".repeat(4096).into()));
    assert!(
        large.starts_with(&format!("{place}expected at most 4096 bytes as JSON, got ")),
        "{large}"
    );
}

/// Another name for the stack.
fn named(stack: &str) -> Chosen<'_> {
    Chosen {
        stack: Some(stack),
        env: None,
    }
}

#[test]
fn another_name_brings_its_defaults_and_its_limits() {
    let folder = folder();
    let config = Config::read_as(SMALL, folder.path(), named("orders-2")).unwrap();
    assert_eq!((&*config.stack, &*config.api.name), ("orders-2", "orders-2"));
    let long = SMALL.replace("functions.orders", &format!("functions.{}", "f".repeat(40)));
    let long = long.replace(
        "function = \"orders\"",
        &format!("function = \"{}\"", "f".repeat(40)),
    );
    assert!(Config::read(&long, folder.path()).is_ok());
    let problems = Config::read_as(&long, folder.path(), named(&"s".repeat(30))).unwrap_err();
    assert!(
        problems[0]
            .message
            .contains("expected a name of at most 24 characters in stack "),
        "{problems:?}"
    );
    assert!(
        Config::sample()
            .renamed("my-cognito-api")
            .unwrap_err()
            .contains("\"cognito\"")
    );
    assert_eq!(Config::sample().renamed("other").unwrap().stack, "other");
    let prefix = format!("{SMALL}[user_pool]\ndomain_prefix = \"mine\"\n");
    let config = Config::read(&prefix, folder.path()).unwrap();
    assert!(
        config.renamed("my-cognito-api").is_ok(),
        "the name is in no domain"
    );
}

#[test]
fn the_order_of_routes_in_the_file_changes_nothing() {
    let folder = folder();
    let mut lines: Vec<&str> = FULL.lines().collect();
    let routes = lines.iter().position(|line| *line == "[routes]").unwrap() + 1;
    lines[routes..].reverse();
    let backward = Config::read(&lines.join("\n"), folder.path()).unwrap();
    assert_eq!(backward, Config::read(FULL, folder.path()).unwrap());
}

/// Files with something wrong, each under a name.
pub(crate) fn bad_files() -> Vec<(&'static str, String)> {
    // Name, what of the small file is replaced, and by what; or what is added at its end.
    let many = |number: usize, line: &dyn Fn(usize) -> String| (0..number).map(line).collect::<String>();
    let route =
        |route: &str| format!("\"{route}\" = {{ function = \"orders\", scopes = [\"orders/read\"] }}\n");
    let routes = |list: &[&str]| list.iter().map(|&name| route(name)).collect::<String>();
    let function = |line: &str| {
        (
            "handler = \"index.handler\"\n",
            format!("handler = \"index.handler\"\n{line}\n"),
        )
    };
    let layer = |version: usize| format!("\"arn:aws:lambda:eu-west-1:123456789012:layer:otel:{version}\"");
    let shop = |line: &str| ("", format!("{SHOP}{line}\n"));
    let to = |key: &str, name: &str| {
        format!("\"GET /x\" = {{ {key} = \"{name}\", scopes = [\"orders/read\"] }}\n")
    };
    let stack = |line: &str| ("name = \"orders\"\n", format!("name = \"orders\"\n{line}\n"));
    let end = |text: &str| ("", text.to_owned());
    let domain = |lines: &str| ("", format!("[api.domain]\n{lines}\n"));
    let of_pool = |lines: &str| ("", format!("[user_pool.domain]\n{lines}\n"));
    let made = |lines: &str| {
        let named = "[api.domain]\nname = \"a.example.com\"";
        ("", format!("{named}\ncertificate = \"{CERTIFICATE}\"\n{lines}\n"))
    };
    let cases: Vec<(&'static str, (&str, String))> = vec![
        // The whole file.
        ("empty file", (SMALL, String::new())),
        ("only comments", (SMALL, "# nothing\n".into())),
        ("unknown table", end("[fonctions.x]\n")),
        ("unknown top-level key", ("[stack]\n", "version = 1\n[stack]\n".into())),
        // Syntax.
        ("no quotes", ("runtime = \"nodejs22.x\"", "runtime = nodejs22.x".into())),
        ("no quotes around a word", ("\"index.handler\"", "index.handler".into())),
        ("no quotes around true", ("\"nodejs22.x\"", "truely".into())),
        ("no quotes around a number", ("\"nodejs22.x\"", "22.x".into())),
        ("open string", ("\"nodejs22.x\"", "\"nodejs22.x".into())),
        ("no value", ("\"nodejs22.x\"", String::new())),
        ("open header", ("[routes]", "[routes".into())),
        ("same key twice", ("runtime =", "source = \"code\"\nruntime =".into())),
        ("same table twice", end("[routes]\n")),
        ("same route twice", end(&route("GET /orders"))),
        ("two keys twice", end(&format!("{}[stack]\n", route("GET /orders")))),
        ("two slips", ("[stack]\nname = \"orders\"", "[stack\nname = orders".into())),
        // [api.domain].
        ("domain without a name", end("[api.domain]\nbase_path = \"a\"\n")),
        ("domain in capitals", domain("name = \"API.example.com\"")),
        ("domain of one label", domain("name = \"localhost\"")),
        ("domain with a star", domain("name = \"*.example.com\"")),
        ("domain with a long label", domain(&format!("name = \"{}.example.com\"", "a".repeat(64)))),
        ("base path of two parts", domain("name = \"a.example.com\"\nbase_path = \"a/b\"")),
        ("base path is the root", domain("name = \"a.example.com\"\nbase_path = \"\"")),
        ("keys of a domain that is not made", domain("name = \"a.example.com\"\nminimum_tls = \"1.2\"\ntruststore = \"s3://bucket/a\"")),
        ("certificate of IAM", domain("name = \"a.example.com\"\ncertificate = \"arn:aws:iam::123456789012:server-certificate/a\"")),
        ("TLS 1.1", made("minimum_tls = \"1.1\"")),
        ("TLS of CloudFront", made("minimum_tls = \"SecurityPolicy_TLS13_2025_EDGE\"")),
        ("TLS as a number", made("minimum_tls = 1.2")),
        ("mutual TLS with TLS 1.3", made("truststore = \"s3://bucket/a.pem\"\nminimum_tls = \"1.3\"")),
        ("truststore in a file", made("truststore = \"clients.pem\"")),
        ("truststore without a key", made("truststore = \"s3://bucket\"")),
        ("version of no truststore", made("truststore_version = \"v1\"")),
        ("proof without a truststore", made(&format!("ownership_certificate = \"{CERTIFICATE}\""))),
        ("pool domain without anything", end("[user_pool.domain]\n")),
        ("pool domain of two labels", of_pool(&format!("name = \"example.com\"\ncertificate = \"{CERTIFICATE}\""))),
        ("domain of a shared pool", end("[user_pool]\nstack = \"users\"\n[user_pool.domain]\nname = \"a.example.com\"\ncertificate = \"arn:aws:acm:us-east-1:123456789012:certificate/1\"\n")),
        ("closed is a text", made("close_default_endpoint = \"yes\"")),
        // [stack].
        ("stack is no table", ("[stack]\nname = \"orders\"\n", "stack = \"orders\"\n".into())),
        ("no stack", ("[stack]\nname = \"orders\"\n", String::new())),
        ("no stack name", ("name = \"orders\"\n", String::new())),
        ("stack name in capitals", ("name = \"orders\"", "name = \"Orders\"".into())),
        ("stack name too short", ("name = \"orders\"", "name = \"o\"".into())),
        ("stack name too long", ("name = \"orders\"", format!("name = \"{}\"", "o".repeat(31)))),
        ("stack name is a number", ("name = \"orders\"", "name = 7".into())),
        ("stack name in a domain", ("name = \"orders\"", "name = \"laws\"".into())),
        ("stack key misspelt", ("name = \"orders\"", "nmae = \"orders\"".into())),
        ("region", stack("region = \"Ireland\"")),
        ("state", stack("state = \"https://team-state/x\"")),
        ("state_account", stack("state_account = \"12\"")),
        ("state_kms_key", stack("state_kms_key = \"alias/state\"")),
        ("tags are no table", stack("tags = [\"team\"]")),
        ("tag value is a number", stack("tags = { team = 7 }")),
        ("tag of AWS", stack("tags = { \"AWS:team\" = \"x\" }")),
        ("tag of ours", stack("tags = { \"provision:owner\" = \"x\" }")),
        ("tag key", stack("tags = { \"the team\" = \"x\" }")),
        ("tag value", stack("tags = { team = \"a;b\" }")),
        ("tags that differ in case", stack("tags = { team = \"a\", Team = \"b\" }")),
        (
            "too many tags",
            end(&format!("[stack.tags]\n{}", many(49, &|n| format!("t{n} = \"\"\n")))),
        ),
        ("boundary is a name", stack("permissions_boundary = \"boundary\"")),
        ("boundary is a role", stack("permissions_boundary = \"arn:aws:iam::123456789012:role/a\"")),
        ("boundary of no account", stack("permissions_boundary = \"arn:aws:iam::12:policy/a\"")),
        ("role path without ends", stack("role_path = \"service\"")),
        ("role path with a blank", stack("role_path = \"/a b/\"")),
        ("role path too long", stack(&format!("role_path = \"/{}/\"", "p".repeat(511)))),
        // [user_pool].
        ("user pool key", end("[user_pool]\nprefix = \"x\"\n")),
        ("domain prefix", end("[user_pool]\ndomain_prefix = \"-Orders\"\n")),
        ("domain prefix with a word", end("[user_pool]\ndomain_prefix = \"my-aws\"\n")),
        ("protection", end("[user_pool]\ndeletion_protection = \"yes\"\n")),
        ("tier", end("[user_pool]\ntier = \"Plus\"\n")),
        ("pool id", end("[user_pool]\nid = \"orders\"\n")),
        ("pool of a stack", end("[user_pool]\nstack = \"The orders\"\n")),
        ("pool by id and stack", end("[user_pool]\nid = \"eu-west-1_a\"\nstack = \"other\"\n")),
        ("state without a stack", end("[user_pool]\nstate = \"../other/state\"\n")),
        ("state of a scheme", end("[user_pool]\nstack = \"other\"\nstate = \"gs://a\"\n")),
        ("settings of a shared pool", end("[user_pool]\nid = \"eu-west-1_a\"\ntier = \"PLUS\"\ndomain_prefix = \"a\"\ndeletion_protection = true\n")),
        ("scope of ours in a shared pool", (r#"scopes = ["orders/read"] }"#, r#"scopes = ["orders/raed"] }
[user_pool]
id = "eu-west-1_a""#.to_owned())),
        ("no full scope in a shared pool", (r#"scopes = ["orders/read"] }"#, r#"scopes = ["openid"] }
[user_pool]
id = "eu-west-1_a""#.to_owned())),
        ("client name in a shared pool", end(&format!("[user_pool]\nid = \"eu-west-1_a\"\n[clients.{}]\nscopes = [\"orders/read\"]\n", "c".repeat(101)))),
        // [resource_servers].
        ("resource server identifier", end("[resource_servers.\"a b\".scopes]\nx = \"X\"\n")),
        ("resource server without scopes", end("[resource_servers.empty]\n")),
        ("resource server with no scope", end("[resource_servers.empty.scopes]\n")),
        ("resource server key", end("[resource_servers.more]\nscope = { x = \"X\" }\n")),
        ("scope with a slash", ("read = \"Read", "\"a/b\" = \"x\"\nread = \"Read".into())),
        ("scope without description", ("read = \"Read orders\"", "read = \"\"".into())),
        ("scope description is a flag", ("read = \"Read orders\"", "read = true".into())),
        ("long scope", ("read = \"Read", format!("{} = \"x\"\nread = \"Read", "s".repeat(250)))),
        (
            "too many scopes",
            ("read = \"Read", many(100, &|n| format!("s{n} = \"x\"\n")) + "read = \"Read"),
        ),
        // [clients].
        ("client without scopes", end("[clients.app]\n")),
        ("client with no scope", end("[clients.app]\nscopes = []\n")),
        ("client scopes as a string", end("[clients.app]\nscopes = \"orders/read\"\n")),
        ("client scope is a number", end("[clients.app]\nscopes = [\"orders/read\", 7]\n")),
        ("client scope misspelt", end("[clients.app]\nscopes = [\"orders/raed\"]\n")),
        ("client scope without identifier", end("[clients.app]\nscopes = [\"read\"]\n")),
        ("client name", end("[clients.\"a/b\"]\nscopes = [\"orders/read\"]\n")),
        ("token of 4 minutes", end("[clients.app]\nscopes = [\"orders/read\"]\naccess_token = \"4m\"\n")),
        ("secret from a file", end("[clients.app]\nscopes = [\"orders/read\"]\nsecret_from = \"file:app.secret\"\n")),
        ("secret from nowhere", end("[clients.app]\nscopes = [\"orders/read\"]\nsecret_from = \"secretsmanager:\"\n")),
        ("secret from a name with a blank", end("[clients.app]\nscopes = [\"orders/read\"]\nsecret_from = \"secretsmanager:a b\"\n")),
        ("secret from a parameter without a path", end("[clients.app]\nscopes = [\"orders/read\"]\nsecret_from = \"ssm:orders\"\n")),
        ("secret from a parameter of AWS", end("[clients.app]\nscopes = [\"orders/read\"]\nsecret_from = \"ssm:/aws/orders\"\n")),
        ("secret from a list", end("[clients.app]\nscopes = [\"orders/read\"]\nsecret_from = [\"secretsmanager:a\"]\n")),
        ("token of 25 hours", end("[clients.app]\nscopes = [\"orders/read\"]\naccess_token = \"25h\"\n")),
        ("token without unit", end("[clients.app]\nscopes = [\"orders/read\"]\naccess_token = 3600\n")),
        ("token in words", end("[clients.app]\nscopes = [\"orders/read\"]\naccess_token = \"1h30m\"\n")),
        // [functions].
        ("function name", end("[functions.\"a b\"]\nsource = \"code\"\nruntime = \"provided.al2023\"\n")),
        (
            "function name too long",
            end(&format!("[functions.{}]\nsource = \"code\"\nruntime = \"provided.al2\"\n", "f".repeat(49))),
        ),
        (
            "functions that differ in case",
            end("[functions.Orders]\nsource = \"code\"\nruntime = \"provided.al2023\"\n"),
        ),
        ("function with nothing", end("[functions.more]\n")),
        ("function is a string", end("[functions]\nmore = \"code\"\n")),
        ("functions as an array", (SMALL, "[[functions]]\nname = \"x\"\n".into())),
        ("no source", ("source = \"code\"\n", String::new())),
        ("source is not there", ("\"code\"", "\"kode\"".into())),
        ("source is a text file", ("\"code\"", "\"notes.txt\"".into())),
        ("source is empty", ("\"code\"", "\"\"".into())),
        ("runtime of a container", ("nodejs22.x", "go1.x".into())),
        ("runtime without version", ("nodejs22.x", "nodejs".into())),
        ("no handler", ("handler = \"index.handler\"\n", String::new())),
        ("handler with a blank", ("index.handler", "index handler".into())),
        ("architecture", function("architecture = \"amd64\"")),
        ("too little memory", function("memory_mb = 64")),
        ("too much memory", function("memory_mb = 10_241")),
        ("memory as a string", function("memory_mb = \"128 MB\"")),
        ("memory misspelt", function("memory = 128")),
        ("memory beyond numbers", function("memory_mb = 99999999999999999999")),
        ("timeout too long", function("timeout = \"16m\"")),
        ("timeout of nothing", function("timeout = \"0s\"")),
        ("retention", function("log_retention_days = 10")),
        ("environment name", function("environment = { \"1A\" = \"x\", B = \"x\" }")),
        ("environment of Lambda", function("environment = { AWS_REGION = \"x\", _HANDLER = \"x\" }")),
        ("environment value", function("environment = { LIMIT = 7 }")),
        ("environment value in a list", function(&format!("environment = {{ PASSWORD = [\"{SECRET}\"] }}"))),
        ("environment is a secret", function(&format!("environment = \"{SECRET}\""))),
        ("environment in the wrong place", function(&format!("PASSWORD = \"{SECRET}\""))),
        ("secret without its end", function(&format!("environment = {{ PASSWORD = \"{SECRET} }}"))),
        ("secret without quotes", function(&format!("environment = {{ PASSWORD = {SECRET} }}"))),
        ("environment is a list", function("environment = [\"A=b\"]")),
        ("policy is a number", function("policy = 7")),
        ("policy file is not there", function("policy = \"orders.json\"")),
        ("policy file is a folder", function("policy = \"code\"")),
        ("policy file is empty", function("policy = \"notes.txt\"")),
        ("policy file is cut", function("policy = \"cut.json\"")),
        ("policy file is a list", function("policy = \"list.json\"")),
        ("policy file with everything wrong", function("policy = \"wrong.json\"")),
        ("policy file without statements", function("policy = \"empty.json\"")),
        ("policy file without anything", function("policy = \"bare.json\"")),
        ("policy without statements", function("policy = []")),
        ("policy of a text", function("policy = [\"s3:*\"]")),
        ("policy statement without a resource", function("policy = { Effect = \"Allow\", Action = \"s3:*\" }")),
        (
            "policy statements in small letters",
            function(
                "policy = [\n  { Effect = \"Allow\", Action = \"s3:*\", Resource = \"*\" },\n  \
                 { effect = \"Allow\", Action = \"s3:*\", Resource = 1979-05-27 },\n]",
            ),
        ),
        (
            "policy too long",
            function(&format!(
                "policy = {{ Effect = \"Allow\", Action = \"s3:*\", Resource = \"arn:{}\" }}",
                "x".repeat(9500)
            )),
        ),
        ("managed policy is a name", function("managed_policies = [\"AdministratorAccess\"]")),
        ("managed policies as a text", function("managed_policies = \"arn:aws:iam::aws:policy/a\"")),
        (
            "too many managed policies",
            function(&format!(
                "managed_policies = [{}]",
                many(11, &|n| format!("\"arn:aws:iam::aws:policy/p{n}\", "))
            )),
        ),
        ("role is a name", function("role = \"made-elsewhere\"")),
        (
            "role and policies",
            function(
                "role = \"arn:aws:iam::123456789012:role/a\"\nmanaged_policies = []\n\
                 policy = { Effect = \"Allow\", Action = \"s3:*\", Resource = \"*\" }",
            ),
        ),
        (
            "environment too large",
            function(&format!("environment = {{ TABLE = \"{}\" }}", "x".repeat(4085))),
        ),
        ("environment value from elsewhere", function("environment = { DB_URL = { from_file = \"db\" }, TZ = { from_env = 7 } }")),
        (
            "environment value in a table",
            function(&format!("environment = {{ PASSWORD = {{ from_env = \"{SECRET}\", value = \"{SECRET}\" }} }}")),
        ),
        ("description too long", function(&format!("description = \"{}\"", "d".repeat(257)))),
        ("too little storage", function("ephemeral_storage_mb = 511")),
        ("too much storage", function("ephemeral_storage_mb = 10_241")),
        ("tracing in words", function("tracing = \"Active\"")),
        ("log format", function("log_format = \"JSON\"")),
        ("layers as a string", function("layers = \"arn:aws:lambda:eu-west-1:123456789012:layer:otel:7\"")),
        (
            "layers that are none",
            function(
                "layers = [\"otel\", \"arn:aws:lambda:eu-west-1:123456789012:layer:otel\", \
                 \"arn:aws:lambda:eu-west-1:123456789012:function:otel:7\", 7]",
            ),
        ),
        (
            "a layer twice, and two versions of one",
            function(&format!("layers = [{}]", [7, 8, 8].map(layer).join(", "))),
        ),
        (
            "too many layers",
            function(&format!(
                "layers = [{}]",
                many(6, &|number| format!("{}, ", layer(number).replace("otel", &format!("l{number}"))))
            )),
        ),
        ("key by its alias", function("kms_key = \"arn:aws:kms:eu-west-1:123456789012:alias/orders\"")),
        ("key by its id", function("kms_key = \"1234abcd-12ab-34cd-56ef-1234567890ab\"")),
        ("less than no concurrency", function("reserved_concurrency = -1")),
        ("vpc as a string", function("vpc = \"vpc-0a1b\"")),
        ("vpc of nothing", function("vpc = {}")),
        ("vpc without ids", function("vpc = { subnets = [], security_groups = [] }")),
        (
            "vpc of other things",
            function("vpc = { id = \"vpc-0a\", subnets = [\"sg-0a\", \"subnet-x\"], security_groups = [\"subnet-0a\"] }"),
        ),
        (
            "too much of a vpc, and twice",
            function(&format!(
                "vpc = {{ subnets = [{}], security_groups = [\"sg-0a\", \"sg-0a\", {}] }}",
                many(17, &|number| format!("\"subnet-{number:02x}\", ")),
                many(4, &|number| format!("\"sg-{number}b\", "))
            )),
        ),
        // [backends].
        ("back end with nothing", end("[backends.shop]\n")),
        ("back end is a string", end("[backends]\nshop = \"https://shop.example.com\"\n")),
        ("back end name", end("[backends.\"a b\"]\nurl = \"https://shop.example.com\"\n")),
        ("back end named as a function", end("[backends.orders]\nurl = \"https://shop.example.com\"\n")),
        (
            "back end of both",
            end(&format!("[backends.shop]\nlambda = \"{ALIAS}\"\nurl = \"https://shop.example.com\"\n")),
        ),
        ("back end key", end("[backends.shop]\nurl = \"https://shop.example.com\"\nheader = \"X\"\n")),
        ("function of a back end by name", end("[backends.shop]\nlambda = \"legacy\"\n")),
        ("function of a back end without version", end(&format!("[backends.shop]\nlambda = \"{}\"\n", ALIAS.replace("live", "$LATEST")))),
        (
            "keys of a URL for a function",
            end(&format!("[backends.shop]\nlambda = \"{ALIAS}\"\ntimeout = \"5s\"\nclient_id_header = \"X\"\n")),
        ),
        (
            "two back ends of one function",
            end(&format!("[backends.a]\nlambda = \"{ALIAS}\"\n[backends.b]\nlambda = \"{ALIAS}\"\n")),
        ),
        ("url without scheme", end("[backends.shop]\nurl = \"shop.example.com\"\n")),
        ("url of another scheme", end("[backends.shop]\nurl = \"ftp://shop.example.com\"\n")),
        ("url with a password", end(&format!("[backends.shop]\nurl = \"https://a:{SECRET}@shop.example.com\"\n"))),
        ("url with a query", end(&format!("[backends.shop]\nurl = \"https://shop.example.com?key={SECRET}\"\n"))),
        ("url with a fragment", end("[backends.shop]\nurl = \"https://shop.example.com/#a\"\n")),
        ("url with another port", end("[backends.shop]\nurl = \"https://shop.example.com:22\"\n")),
        ("url with a variable", end("[backends.shop]\nurl = \"https://shop.example.com/{id}\"\n")),
        ("url without a host", end("[backends.shop]\nurl = \"https:///v2\"\n")),
        ("back end too slow", shop("timeout = \"30s\"")),
        ("back end too fast", shop("timeout = \"49ms\"")),
        ("timeout of a back end as a number", shop("timeout = 5")),
        ("header with a blank", shop("client_id_header = \"X Client\"")),
        ("header of API Gateway", shop("client_id_header = \"Transfer-Encoding\"")),
        ("header of AWS", shop("client_id_header = \"x-amzn-oidc-data\"")),
        ("authorization as a header", shop("client_id_header = \"authorization\"")),
        ("forward_authorization", shop("forward_authorization = \"no\"")),
        ("vpc link", shop("vpc_link = \"A/B\"")),
        ("target without a link", shop(&format!("target = \"{BALANCER}\""))),
        ("target of another kind", shop("vpc_link = \"a1\"\ntarget = \"arn:aws:s3:::bucket\"")),
        ("target that routes nothing", shop(&format!("vpc_link = \"a1\"\ntarget = \"{}\"", BALANCER.replace("app/", "gwy/")))),
        (
            "route of both",
            end("\"GET /x\" = { function = \"orders\", backend = \"shop\", scopes = [\"orders/read\"] }\n"),
        ),
        ("route of no back end", end(&format!("{}{SHOP}", to("backend", "shpo")))),
        ("route of a back end as a function", end(&format!("{}{SHOP}", to("function", "shop")))),
        ("route of a function as a back end", end(&to("backend", "orders"))),
        (
            "route with a variable that no URL can have",
            end(&format!("\"GET /x/{{a:b}}\" = {{ backend = \"shop\", scopes = [\"orders/read\"] }}\n{SHOP}")),
        ),
        // [api].
        ("api key", end("[api]\nstages = \"prod\"\n")),
        ("api name", end("[api]\nname = \"\"\n")),
        ("api description", end("[api]\ndescription = \"\"\n")),
        ("api stage", end("[api]\nstage = \"a/b\"\n")),
        ("throttle is a number", end("[api]\nthrottle = 100\n")),
        ("throttle without burst", end("[api]\nthrottle = { rate = 100 }\n")),
        ("throttle of zero", end("[api]\nthrottle = { rate = 0, burst = -1 }\n")),
        ("throttle without end", end("[api]\nthrottle = { rate = inf, burst = 1 }\n")),
        ("throttle of no number", end("[api]\nthrottle = { rate = nan, burst = 1.5 }\n")),
        ("access logs are a table", end("[api]\naccess_logs = true\n")),
        ("access logs key", end("[api.access_logs]\nretention = 30\n")),
        (
            "access logs retention",
            end("[api]\naccess_logs = { retention_days = 10 }\n"),
        ),
        (
            "access logs retention of too many days",
            end("[api]\naccess_logs = { retention_days = 4000 }\n"),
        ),
        (
            "a web ACL of CloudFront",
            end("[api]\nfirewall = \"arn:aws:wafv2:us-east-1:123456789012:global/webacl/shop/1234abcd\"\n"),
        ),
        (
            "a web ACL without its id",
            end("[api]\nfirewall = \"arn:aws:wafv2:us-east-1:123456789012:regional/webacl/shop\"\n"),
        ),
        ("a firewall by name", end("[api]\nfirewall = \"shop\"\n")),
        (
            "tracing and metrics",
            end("[api]\ntracing = \"on\"\nmetrics = 1\n"),
        ),
        // [routes].
        ("no routes", (&SMALL[SMALL.find("[routes]").unwrap()..], String::new())),
        ("no route", (&SMALL[SMALL.find("\"GET").unwrap()..], String::new())),
        ("route is a string", end("\"GET /x\" = \"orders\"\n")),
        ("route without a verb", end(&route("/x"))),
        ("route in small letters", end(&route("get /x"))),
        ("route of an unknown verb", end(&route("FETCH /x"))),
        ("route with two spaces", end(&route("GET  /x"))),
        ("route without a slash", end(&route("GET x"))),
        ("route that ends with a slash", end(&route("GET /x/"))),
        ("route with two slashes", end(&route("GET /x//y"))),
        ("route with dots", end(&routes(&["GET /./x", "GET /x/.."]))),
        ("route with a bad part", end(&route("GET /x y"))),
        ("route with a comma", end(&routes(&["GET /x,y", "GET /{x,y}"]))),
        ("route with half a variable", end(&route("GET /x{id}"))),
        ("route with a greedy part first", end(&route("GET /{all+}/x"))),
        ("route with a variable twice", end(&route("GET /{id}/x/{id}"))),
        ("route of API Gateway", end(&routes(&["GET /ping", "GET /sping"]))),
        ("two variables", end(&routes(&["GET /a/{x}", "POST /a/{x}", "GET /a/{y}/b"]))),
        ("two variables at the root", end(&routes(&["GET /{p+}", "GET /{id}"]))),
        ("route without a function", end("\"GET /x\" = { scopes = [\"orders/read\"] }\n")),
        ("route of no function", end("\"GET /x\" = { function = \"order\", scopes = [\"orders/read\"] }\n")),
        ("route without scopes", end("\"GET /x\" = { function = \"orders\" }\n")),
        ("route with no scope", end("\"GET /x\" = { function = \"orders\", scopes = [] }\n")),
        ("route of no scope", end("\"GET /x\" = { function = \"orders\", scopes = [\"orders/write\"] }\n")),
        ("route with a method", end("\"GET /x\" = { lambda = \"orders\", scopes = [\"orders/read\"] }\n")),
        // [env].
        ("environments are no table", ("[stack]\n", "env = \"production\"\n[stack]\n".into())),
        ("environment is no table", end("[env]\nproduction = \"x\"\n")),
        ("environment in capitals", end("[env.Production]\n")),
        ("environment without a name", end("[env.\"\"]\n")),
        ("environment with the name of an account", end("[env.production]\naccount = \"prod\"\n")),
        ("environment key misspelt", end("[env.production]\nacount = \"123456789012\"\n")),
        ("environment table misspelt", end("[env.production.fonctions.orders]\nmemory_mb = 256\n")),
        ("pattern with a name", end("[env.\"pr-*\".stack]\nregion = \"eu-west-1\"\nname = \"orders-pr\"\n")),
        // Several at once, and where they are.
        (
            "many",
            (
                SMALL,
                "[routes]\n\"GET /a/{x}\" = { function = \"f\", scopes = [\"s/x\"] }\n\"GET /a/{y}\" = {}\n\
                 [functions.f]\nsource = \"code\"\nruntme = \"nodejs22.x\"\nmemory_mb = 1\n\
                 [clients.c]\nscopes = [\"s/r\"]\naccess_token = \"1s\"\n[resource_servers.s.scopes]\nr = \"\"\n\
                 [stack]\nname = \"S\"\nregion = \"eu\"\n"
                    .into(),
            ),
        ),
        ("columns are characters", ("scopes = [\"orders/read\"] }", "scopes = [\"größe/é\", \"日本\"] }".into())),
        ("after a byte order mark", ("[stack]\nname", "\u{feff}stak = 1\n[stack]\nname".into())),
        ("windows line ends", (SMALL, SMALL.replace('\n', "\r\n").replace("22.x", ""))),
        ("control characters", end(&route("GET /\\u001b[31m\\u202e"))),
    ];
    let of = |(name, (from, to)): (&'static str, (&str, String))| {
        if from.is_empty() {
            return (name, format!("{SMALL}{to}"));
        }
        assert!(SMALL.contains(from), "{name}: {from:?} is not in the file");
        (name, SMALL.replacen(from, &to, 1))
    };
    cases.into_iter().map(of).collect()
}

#[test]
fn a_message_has_a_place_and_says_what_is_allowed() {
    let mut said = String::new();
    let mut names = BTreeSet::new();
    for (name, text) in bad_files() {
        assert!(names.insert(name), "{name} is there twice");
        let problems = problems(&text);
        assert!(!problems.is_empty(), "{name} is no problem");
        for problem in problems {
            writeln!(said, "{name}: provision.toml:{problem}").unwrap();
        }
    }
    assert!(!said.contains(SECRET), "{said}");
    insta::assert_snapshot!("problems", said);
}

#[test]
fn what_looks_like_a_problem_and_is_not() {
    let route =
        |route: &str| format!("\"{route}\" = {{ function = \"orders\", scopes = [\"orders/read\"] }}\n");
    for added in [
        &[route("GET /orders/{id}"), route("GET /orders/bulk")][..],
        &[
            route("GET /a/{x}"),
            route("POST /a/{x}/b/{y}"),
            route("GET /b/{y}"),
        ],
        &[route("ANY /orders"), route("ANY /{all+}"), route("GET /")],
        &[
            route("GET /ping/x"),
            route("GET /a/ping"),
            route("GET /a_b-c.d:e"),
        ],
        &["[user_pool]\ndomain_prefix = \"a\"\n".to_owned()],
        &["[api]\nthrottle = { rate = 0.5, burst = 0 }\n".to_owned()],
        &["[clients.a]\nscopes = [\"orders/read\"]\naccess_token = \"1d\"\n".to_owned()],
        &["[clients.a]\nscopes = [\"orders/read\"]\naccess_token = \"300s\"\n".to_owned()],
        &["[clients.a]\nscopes = [\"orders/read\"]\nsecret_from = \"secretsmanager:prod/orders_a+b=c.d@e-f\"\n".to_owned()],
        &["[clients.a]\nscopes = [\"orders/read\"]\nsecret_from = \"ssm:/orders/a_b.c-d\"\n".to_owned()],
        &["[clients.a]\nscopes = [\"orders/read\"]\nsecret_from = \"secretsmanager:arn:aws:secretsmanager:eu-west-1:111122223333:secret:rds!a-AbCdEf\"\n".to_owned()],
    ] {
        let text = format!("{SMALL}{}", added.concat());
        assert_eq!(problems(&text), Vec::<String>::new(), "{text}");
    }
    // The limits themselves.
    let many = |number: usize, line: &dyn Fn(usize) -> String| (0..number).map(line).collect::<String>();
    let scopes = many(50, &|n| format!("s{n} = \"x\"\n"));
    let list = many(50, &|n| format!("\"orders/s{n}\", "));
    let long = format!("{} = \"{}\"\n", "s".repeat(249), "d".repeat(256));
    for (from, to) in [
        ("\"orders\"\n", "\"o1\"\n".to_owned()),
        ("\"orders\"\n", format!("\"o{}\"\n", "-".repeat(29))),
        (
            "[routes]",
            format!(
                "[functions.{}]\nsource = \"code\"\nruntime = \"provided.al2\"\n[routes]",
                "f".repeat(48)
            ),
        ),
        (
            "[functions",
            format!(
                "[stack.tags]\n{}[functions",
                many(48, &|n| format!("t{n} = \"\"\n"))
            ),
        ),
        ("read =", many(99, &|n| format!("s{n} = \"x\"\n")) + "read ="),
        ("read =", long + "read ="),
        ("read =", format!("{scopes}read =")),
        (
            "[routes]",
            "memory_mb = 128\ntimeout = \"1s\"\nlog_retention_days = 1\n[routes]".to_owned(),
        ),
        (
            "[routes]",
            "memory_mb = 10_240\ntimeout = \"900s\"\nlog_retention_days = 3653\n[routes]".to_owned(),
        ),
        (
            "[routes]",
            format!("[user_pool]\ndomain_prefix = \"{}\"\n[routes]", "p".repeat(63)),
        ),
        (
            "[routes]",
            format!("[api]\nstage = \"{}\"\n[routes]", "s".repeat(128)),
        ),
        ("index.handler", "h".repeat(128)),
    ] {
        let text = SMALL.replacen(from, &to, 1);
        assert_ne!(text, SMALL);
        assert_eq!(problems(&text), Vec::<String>::new(), "{text}");
    }
    let fifty = SMALL.replace("read =", &format!("{scopes}read ="));
    let fifty = format!("{fifty}[clients.a]\nscopes = [{list}]\n");
    assert_eq!(problems(&fifty), Vec::<String>::new());
    let more = fifty.replace("scopes = [\"orders/s0", "scopes = [\"orders/read\", \"orders/s0");
    assert_eq!(
        problems(&more),
        ["62:10: client \"a\": scopes: expected at most 50, got 51"]
    );
    let largest = format!("environment = {{ TABLE = \"{}\" }}\n[routes]", "x".repeat(4084));
    assert_eq!(
        problems(&SMALL.replace("[routes]", &largest)),
        Vec::<String>::new()
    );
    for region in ["us-gov-west-1", "ap-southeast-7", "eusc-de-east-1"] {
        let text = SMALL.replace("[resource", &format!("region = \"{region}\"\n[resource"));
        assert_eq!(problems(&text), Vec::<String>::new());
    }
    for runtime in [
        "nodejs26.x",
        "python3.15",
        "java8.al2",
        "dotnet10",
        "ruby4.0",
        "provided.al2023",
    ] {
        assert_eq!(
            problems(&SMALL.replace("nodejs22.x", runtime)),
            Vec::<String>::new()
        );
    }
}

/// No server listens here: a call to it is a call too early.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A place with this text as its `provision.toml`.
fn place_of(text: &str) -> Place {
    let place = Place::new();
    put_code(place.path());
    fs_err::write(place.path().join("provision.toml"), text).unwrap();
    place
}

#[test]
fn names_that_aws_may_refuse_and_quotas_that_may_be_exceeded_are_warned_of() {
    let place = place_of(SMALL);
    let endpoint = place.emulator();
    let warnings = |paths: &[String]| {
        let route =
            |path| format!("\"GET {path}\" = {{ function = \"orders\", scopes = [\"orders/read\"] }}\n");
        let text = SMALL.to_owned() + &paths.iter().map(route).collect::<String>();
        fs_err::write(place.path().join("provision.toml"), text).unwrap();
        let warnings = |arguments: &[&str]| {
            let stderr = place.run_at(&endpoint, arguments).ok().stderr;
            let lines = stderr.lines().filter(|line| line.starts_with("warning"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let all = warnings(&["plan"]);
        assert_eq!(warnings(&["plan", "-q"]), all, "-q hides progress only");
        all
    };
    // With /orders there are 299.
    let mut paths: Vec<String> = (0..298).map(|n| format!("/p{n}")).collect();
    assert_eq!(warnings(&paths), Vec::<String>::new());
    paths.push("/p0/a:b/c".to_owned());
    let [colon, quota] = &warnings(&paths)[..] else {
        panic!("expected two warnings");
    };
    assert!(
        colon.ends_with("rename \"a:b\" if `up` fails with BadRequestException"),
        "{colon}"
    );
    assert!(quota.contains("the API has 301 paths"), "{quota}");
}

#[test]
fn a_bad_file_ends_before_any_call_with_every_place() {
    let bad = SMALL
        .replace("code", "kode")
        .replace("22.x", "")
        .replace("orders/read", "orders/raed")
        .replace(
            "[routes]",
            &format!("environment = {{ PASSWORD = \"{SECRET}\", TZ = 1 }}\n[routes]"),
        );
    let place = place_of(&bad);
    for command in ["up", "status"] {
        let run = place.run_at(NOWHERE, &[command]).code(2);
        insta::assert_snapshot!("bad_file", run.stderr);
    }
    let run = place.run_at(NOWHERE, &["up", "--json"]).code(2);
    insta::assert_snapshot!("bad_file", run.stderr);
    assert_eq!(run.stdout, "");
    assert!(!place.path().join("state").exists());
    let one = place_of(&SMALL.replace("code", "kode"));
    let run = one.run_at(NOWHERE, &["up"]).code(2);
    assert!(
        run.stderr.starts_with("error: provision.toml has a problem\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_broken_file_leaves_what_is_on_record_within_reach() {
    let place = place_of("[stack");
    for args in [
        &["down", "--yes"][..],
        &["token"],
        &["logs"],
        &["call", "GET", "/orders"],
    ] {
        let run = place.run_at(NOWHERE, args).code(2);
        assert!(
            run.stderr.contains("\nprovision.toml:1:7: invalid TOML: "),
            "{}",
            run.stderr
        );
        assert!(
            run.stderr.contains("\nhint: name the stack with --stack"),
            "{}",
            run.stderr
        );
        let run = place.run_at(NOWHERE, &[args, &["--stack", "orders"]].concat());
        assert!(run.stderr.contains("stack orders has no state"), "{}", run.stderr);
    }
}

#[test]
fn a_file_may_have_any_name_and_be_in_any_folder() {
    let place = Place::new();
    fs_err::create_dir_all(place.path().join("conf")).unwrap();
    // Here the file's folder has the code, and not the folder of the run.
    put_code(&place.path().join("conf"));
    fs_err::write(place.path().join("conf/orders.toml"), SMALL).unwrap();
    let status = |args: &[&str]| {
        let run = place.run_at(NOWHERE, &[&["status"], args].concat()).code(2);
        run.stderr.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(status(&[]), "error: stack user-api has no state");
    let file = ["--config", "conf/orders.toml"];
    assert_eq!(status(&file), "error: stack orders has no state");
    let named = [&file[..], &["--stack", "other"]].concat();
    assert_eq!(status(&named), "error: stack other has no state");
    fs_err::copy(
        place.path().join("conf/orders.toml"),
        place.path().join("provision.toml"),
    )
    .unwrap();
    assert_eq!(
        status(&[]),
        "error: provision.toml has a problem",
        "no code is beside it"
    );
    fs_err::write(place.path().join("conf/orders.toml"), SMALL.replace("22.x", "")).unwrap();
    assert_eq!(status(&file), "error: conf/orders.toml has a problem");

    let run = place.run_at(NOWHERE, &["up", "--config", "gone.toml"]).code(2);
    assert!(
        run.stderr
            .starts_with("error: the configuration cannot be read\ncaused by: ")
            && run.stderr.contains("gone.toml"),
        "{}",
        run.stderr
    );
    fs_err::write(place.path().join("provision.toml"), b"name = \"\xff\"").unwrap();
    assert_eq!(status(&[]), "error: the configuration cannot be read");
    assert!(!place.path().join("state").exists());
}

#[test]
fn the_file_makes_the_stack_and_says_in_which_region() {
    let place = place_of(&SMALL.replace("[resource", "region = \"eu-central-1\"\n[resource"));
    fs_err::write(
        place.path().join("code/index.mjs"),
        include_str!("../../lambda/index.mjs"),
    )
    .unwrap();
    let endpoint = place.emulator();
    // AWS_REGION says eu-west-1; --region says more than the file.
    let region = |args: &[&str]| {
        let run = place.run_at(&endpoint, &[&["up", "--json"], args].concat()).ok();
        run.events().last().unwrap()["outputs"]["region"].clone()
    };
    assert_eq!(region(&[]), "eu-central-1");
    assert_eq!(
        region(&["--stack", "second", "--region", "us-west-2"]),
        "us-west-2"
    );
    let first = place.run_at(&endpoint, &["status", "--json"]).json();
    assert_eq!(first["stack"], "orders");
    let routes: Vec<_> = first["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["step"].clone())
        .collect();
    assert!(routes.contains(&"route:GET /orders".into()), "{routes:?}");
    // The file is for one region, and the record of the second stack for another.
    let run = place.run_at(&endpoint, &["status", "--stack", "second"]).code(2);
    assert!(
        run.stderr.contains(
            "stack second is on record in region us-west-2, and this run is in region eu-central-1"
        ),
        "{}",
        run.stderr
    );
    fs_err::write(place.path().join("provision.toml"), "broken").unwrap();
    for stack in ["orders", "second"] {
        place.run_at(&endpoint, &["down", "--yes", "--stack", stack]).ok();
        assert!(!place.path().join(format!("state/{stack}.json")).exists());
    }
}

/// A typing error.
#[derive(Clone, Debug)]
enum Slip {
    Remove(usize, usize),
    Insert(usize, String),
    RemoveLine(usize),
    RepeatLine(usize),
    SwapLines(usize, usize),
}

fn slip() -> impl Strategy<Value = Slip> {
    prop_oneof![
        (any::<usize>(), 1..4_usize).prop_map(|(at, length)| Slip::Remove(at, length)),
        (any::<usize>(), "[\\[\\]{}\"'=.,#\n a-z0-9é]{1,3}").prop_map(|(at, text)| Slip::Insert(at, text)),
        any::<usize>().prop_map(Slip::RemoveLine),
        any::<usize>().prop_map(Slip::RepeatLine),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Slip::SwapLines(a, b)),
    ]
}

fn slipped(text: &str, slip: &Slip) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let mut lines: Vec<&str> = text.lines().collect();
    let number = lines.len();
    match slip {
        Slip::Remove(at, length) => {
            let at = at % letters.len();
            letters.drain(at..(at + length).min(letters.len()));
            return letters.into_iter().collect();
        }
        Slip::Insert(at, new) => {
            let at = at % letters.len();
            letters.splice(at..at, new.chars());
            return letters.into_iter().collect();
        }
        Slip::RemoveLine(at) => drop(lines.remove(at % number)),
        Slip::RepeatLine(at) => lines.insert(at % number, lines[at % number]),
        Slip::SwapLines(a, b) => lines.swap(a % number, b % number),
    }
    lines.join("\n")
}

/// Fails unless every problem is at a line and column that the text has.
fn places_are_real(text: &str, problems: &[Problem]) -> Result<(), TestCaseError> {
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in problems {
        prop_assert!(problem.line >= 1 && problem.line <= lines.len(), "{problem}");
        let columns = lines[problem.line - 1].chars().count() + 1;
        prop_assert!(problem.column >= 1 && problem.column <= columns, "{problem}");
    }
    prop_assert!(problems.is_sorted_by_key(|problem| (problem.line, problem.column)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        if let Err(problems) = Config::read(&text, Path::new("nowhere")) {
            prop_assert!(!problems.is_empty());
            places_are_real(text.strip_prefix('\u{feff}').unwrap_or(&text), &problems)?;
        }
    }

    #[test]
    fn no_slip_panics_or_tells_an_environment_value(slips in proptest::collection::vec(slip(), 1..6)) {
        // In both notations, each with the slips where they may.
        let table = FULL.replace(
            "environment = { TABLE = \"orders\", PASSWORD = \"hunter2-hunter2\", DB_URL",
            "environment.TABLE = \"orders\"\nenvironment.PASSWORD = \"hunter2-hunter2\"\nmore = { DB_URL",
        );
        for mut text in [FULL.to_owned(), table] {
            for slip in &slips {
                if !text.is_empty() {
                    text = slipped(&text, slip);
                }
            }
            if let Err(problems) = Config::read(&text, Path::new("nowhere")) {
                places_are_real(&text, &problems)?;
                for problem in problems {
                    // Parts of it as well: a slip may have cut it.
                    prop_assert!(!problem.message.contains("hunter"), "{problem}");
                }
            }
        }
    }
}

/// A stack may have a part of what there can be.
#[test]
fn a_stack_may_have_only_a_pool_or_only_clients() {
    let folder = folder();
    let read = |text: &str| Config::read(text, folder.path());
    let identity = read("[stack]\nname = \"identity\"\n[user_pool]\n").unwrap();
    assert!(identity.routes.is_empty() && identity.user_pool.shared.is_none());
    let consumer = "[stack]\nname = \"billing\"\n[user_pool]\nid = \"eu-west-1_a\"\n\
                    [clients.app]\nscopes = [\"orders/read\", \"https://example.com/v1/a:b\", \"shop/pay\"]\n";
    let consumer = read(consumer).unwrap();
    assert_eq!(
        consumer.user_pool.shared,
        Some(SharedPool::Id {
            id: "eu-west-1_a".to_owned(),
            regional: Regional {
                region: "eu-west-1".to_owned(),
                problem: Problem {
                    line: 4,
                    column: 6,
                    message: "[user_pool]: id".to_owned()
                },
            },
        })
    );
    // Another region than the pool's.
    assert_eq!(consumer.elsewhere("eu-west-1"), []);
    assert_eq!(
        consumer.elsewhere("us-east-1")[0].to_string(),
        "4:6: [user_pool]: id: expected region us-east-1, where the stack is, got eu-west-1"
    );
    // What is known of others only once they are asked.
    let live = ["orders/read", "orders/write", "shops/pay"]
        .map(str::to_owned)
        .into();
    let unknown = |live| -> Vec<String> {
        let problems = consumer.unknown_scopes(live).into_iter();
        problems.map(|problem| problem.to_string()).collect()
    };
    assert_eq!(
        unknown(&live),
        [
            "6:26: client \"app\": the pool has no resource server \"https://example.com/v1\" of others (available: \
             \"orders/read\", \"orders/write\", \"shops/pay\")",
            "6:56: client \"app\": the pool has no resource server \"shop\" of others; did you mean \"shops/pay\"?",
        ]
    );
    let live = ["orders/reads", "https://example.com/v1/a:b", "shop/pay"]
        .map(str::to_owned)
        .into();
    assert_eq!(
        unknown(&live),
        [
            "6:11: client \"app\": resource server \"orders\" has no scope \"orders/read\"; did you mean \"orders/reads\"?"
        ]
    );
}
