//! The whole job with the real binary: each part is a function that begins with whatever stack there is.
//!
//! Must not make anything outside of the run's stack.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::clear::{self, Thing};
use super::hour::Hour;

/// The whole policy of the stack: for all that the operator is to do.
pub(super) const POLICY: [&str; 9] = [
    "policy", "up", "plan", "status", "down", "token", "call", "logs", "secret",
];

/// Every command but `down`.
pub(super) async fn story(hour: &Hour) -> Result<()> {
    hour.configure(&[])?;
    hour.ok(&["up"])?;
    let again = hour.ok(&["up"])?;
    ensure!(
        again.stderr.contains("nothing changed"),
        "a second `up` changed something"
    );
    settled(hour)?;
    let token = hour.json(&["token", "--json"])?;
    ensure!(
        token["claims"]["token_use"] == "access",
        "expected an access token"
    );
    hour.ok(&["call", "GET", "/orders"])?;
    hour.ok(&["verify", "--call"])?;
    // An event takes seconds to be in the log.
    let logged = async || Ok(hour.ok(&["logs"])?.stdout.contains("handled").then_some(()));
    hour.until(Duration::from_mins(2), logged)
        .await?
        .context("expected the call in `logs`, got nothing")?;
    rotate(hour, None)?;
    hour.json(&POLICY)?;
    Ok(())
}

/// Exchanges the client's secret.
fn rotate(hour: &Hour, credentials: Option<&[SecretString; 3]>) -> Result<()> {
    let name = if credentials.is_some() {
        "operator.secret"
    } else {
        "new.secret"
    };
    let run = |args: &[&str]| hour.ended_well(args, hour.run_as(args, credentials)?);
    run(&["secret", "rotate", "begin", "--to", &format!("file:{name}")])?;
    let secret = fs_err::read_to_string(hour.run_folder(&hour.stack).join(name))?;
    hour.hide(secret.trim(), "SECRET");
    run(&["secret", "rotate", "status"])?;
    run(&["token"])?;
    let from = format!("file:{name}");
    run(&["token", "--secret-from", &from])?;
    run(&["secret", "rotate", "finish", "--yes"])?;
    run(&["token", "--secret-from", &from])?;
    run(&["token"])?;
    Ok(())
}

/// Nothing is left to do, and everything is as recorded.
fn settled(hour: &Hour) -> Result<()> {
    hour.ok(&["plan", "--check"])?;
    hour.ok(&["status"])?;
    Ok(())
}

/// A name, and what is replaced by what in the file.
type Edit = (&'static str, &'static [(&'static str, &'static str)]);

/// One change of every key; the sample takes each eighth.
pub(super) const EDITS: [Edit; 36] = [
    (
        "stack.tags",
        &[("payments", "sales"), (r#", stage = "test""#, "")],
    ),
    (
        "stack.permissions_boundary",
        &[(
            "[user_pool]",
            "permissions_boundary = \"arn:aws:iam::aws:policy/PowerUserAccess\"\n[user_pool]",
        )],
    ),
    (
        "stack.role_path",
        &[("[user_pool]", "role_path = \"/service/\"\n[user_pool]")],
    ),
    ("user_pool.tier", &[("ESSENTIALS", "PLUS")]),
    ("user_pool.tier, the smallest", &[("ESSENTIALS", "LITE")]),
    (
        "user_pool.domain_prefix",
        &[("tier = ", "domain_prefix = \"<stack>-other\"\ntier = ")],
    ),
    (
        "user_pool.deletion_protection",
        &[("deletion_protection = false", "deletion_protection = true")],
    ),
    (
        "resource_servers: a scope more",
        &[("write = ", "delete = \"Delete orders\"\nwrite = ")],
    ),
    (
        "resource_servers: a description",
        &[("Write orders", "Change orders")],
    ),
    (
        "resource_servers: another scope",
        &[("read = ", "view = "), ("orders/read", "orders/view")],
    ),
    (
        "clients.scopes",
        &[(
            "[\"orders/read\"]\naccess",
            "[\"orders/read\", \"orders/write\"]\naccess",
        )],
    ),
    ("clients.access_token", &[("60m", "30m")]),
    (
        "clients: one more",
        &[(
            "[functions.orders]",
            "[clients.shipping]\nscopes = [\"orders/write\"]\n[functions.orders]",
        )],
    ),
    (
        "functions.source",
        &[("source = \"lambda\"", "source = \"code.zip\"")],
    ),
    ("functions.runtime", &[("nodejs22.x", "nodejs24.x")]),
    ("functions.handler", &[("index.handler", "index.other")]),
    ("functions.architecture", &[("x86_64", "arm64")]),
    ("functions.memory_mb", &[("memory_mb = 128", "memory_mb = 256")]),
    ("functions.timeout", &[("\"10s\"", "\"20s\"")]),
    (
        "functions.log_retention_days",
        &[("log_retention_days = 14", "log_retention_days = 30")],
    ),
    ("functions.environment", &[("orders-table", "another-table")]),
    (
        "functions.policy",
        &[(
            "timeout = ",
            "policy = { Effect = \"Allow\", Action = \"dynamodb:ListTables\", Resource = \"*\" }\ntimeout = ",
        )],
    ),
    (
        "functions.managed_policies",
        &[(
            "timeout = ",
            "managed_policies = [\"arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess\"]\ntimeout = ",
        )],
    ),
    (
        "functions.environment, none",
        &[("environment = { TABLE = \"orders-table\" }", "")],
    ),
    (
        "functions.description",
        &[("\"10s\"", "\"10s\"\ndescription = \"Takes orders\"")],
    ),
    (
        "functions.ephemeral_storage_mb",
        &[("\"10s\"", "\"10s\"\nephemeral_storage_mb = 1024")],
    ),
    ("functions.tracing", &[("\"10s\"", "\"10s\"\ntracing = true")]),
    (
        "functions.log_format",
        &[("\"10s\"", "\"10s\"\nlog_format = \"json\"")],
    ),
    // No more: a new account may not reserve anything.
    (
        "functions.reserved_concurrency",
        &[("\"10s\"", "\"10s\"\nreserved_concurrency = 0")],
    ),
    (
        "backends.url, backends.timeout, backends.client_id_header",
        &[
            (
                "[functions.orders]",
                "[backends.shop]\nurl = \"https://shop.example.com/v2\"\ntimeout = \"5s\"\nclient_id_header = \"X-Client-Id\"\n[functions.orders]",
            ),
            (
                "\"GET /orders\" = { function = \"orders\"",
                "\"GET /orders/{id}\" = { backend = \"shop\"",
            ),
        ],
    ),
    (
        "backends.forward_authorization",
        &[
            (
                "[functions.orders]",
                "[backends.shop]\nurl = \"https://shop.example.com\"\nforward_authorization = true\n[functions.orders]",
            ),
            (
                "\"GET /orders\" = { function = \"orders\"",
                "\"ANY /orders/{proxy+}\" = { backend = \"shop\"",
            ),
        ],
    ),
    (
        "api.name, api.description",
        &[(
            "name = \"<stack>\"\ndescription = \"Orders\"",
            "name = \"<stack> again\"\ndescription = \"Ours\"",
        )],
    ),
    ("api.stage", &[("stage = \"prod\"", "stage = \"live\"")]),
    (
        "api.throttle",
        &[(
            "stage = \"prod\"",
            "stage = \"prod\"\nthrottle = { rate = 100, burst = 200 }",
        )],
    ),
    (
        "api.tracing, api.metrics",
        &[(
            "stage = \"prod\"",
            "stage = \"prod\"\ntracing = true\nmetrics = true",
        )],
    ),
    (
        "routes: another path, verb and scopes",
        &[(
            "\"GET /orders\" = { function = \"orders\", scopes = [\"orders/read\"] }",
            "\"ANY /orders/{id}\" = { function = \"orders\", scopes = [\"orders/read\", \"orders/write\"] }",
        )],
    ),
];

/// Each of these changes, from the same beginning; all that fail are told.
pub(super) fn changes(hour: &Hour, edits: impl Iterator<Item = &'static Edit>) -> Result<()> {
    let code = b"export const handler = async () => ({ statusCode: 200, body: 'zipped' });";
    let package = provision::package::Package::from_files(&[("index.mjs", code)])?;
    fs_err::write(hour.run_folder(&hour.stack).join("code.zip"), package.zip)?;
    hour.configure(&[])?;
    hour.ok(&["up", "--yes"])?;
    let mut wrong = Vec::new();
    for (name, edit) in edits {
        super::hour::check()?;
        hour.tell(&format!("change: {name}"));
        hour.configure(edit)?;
        let changed = hour.run(&["plan", "--check"])?.code;
        let done = hour.ok(&["up", "--yes"]).and_then(|_| settled(hour));
        if changed != 3 {
            wrong.push(format!("{name}: `plan --check` ended with {changed}, expected 3"));
        }
        wrong.extend(done.err().map(|error| format!("{name}: {error:#}")));
    }
    hour.configure(&[])?;
    hour.ok(&["up", "--yes"])?;
    settled(hour)?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// How many there are of each kind, of this run alone; a list may be late.
async fn count(hour: &Hour, expected: &[(&str, usize)]) -> Result<()> {
    let mut wrong = String::new();
    let counted = async || {
        let things = clear::left(hour, &hour.stack).await?;
        let differs = expected.iter().find_map(|&(kind, expected)| {
            let found: Vec<&Thing> = things.iter().filter(|thing| thing.kind() == kind).collect();
            (found.len() != expected).then(|| format!("expected {expected} {kind}, got {found:?}"))
        });
        wrong = differs.unwrap_or_default();
        Ok(wrong.is_empty().then_some(()))
    };
    let counted = hour.until(Duration::from_mins(1), counted).await?;
    ensure!(counted.is_some(), "{wrong}");
    Ok(())
}

/// Of the stack itself; the operator's role is not of it.
const NOTHING: [(&str, usize); 4] = [
    ("functions", 0),
    ("REST APIs", 0),
    ("user pools", 0),
    ("log groups", 0),
];

/// Deletes the stack, and counts.
pub(super) async fn down(hour: &Hour) -> Result<()> {
    hour.ok(&["down", "--yes", "--unprotect"])?;
    count(hour, &NOTHING).await?;
    count(hour, &[("roles", 0)]).await
}

/// Long after the last `down` nothing of the stack is there again: no log group that a late call of a function made.
pub(super) async fn gone(hour: &Hour) -> Result<()> {
    // What the questions make begins with the stack's name and a hyphen.
    let (name, group) = (format!("{}_", hour.stack), format!("/aws/lambda/{}_", hour.stack));
    let things = clear::left(hour, &hour.stack).await?;
    let back: Vec<&Thing> = things
        .iter()
        .filter(|thing| match thing {
            Thing::Function(found) | Thing::Role(found) => found.starts_with(&name),
            Thing::LogGroup(found) => found.starts_with(&group),
            Thing::Api { .. } => false,
            Thing::Pool { name, .. } => *name == hour.stack,
        })
        .collect();
    ensure!(back.is_empty(), "expected nothing, got {back:?}");
    Ok(())
}

/// `up` is killed again and again after its answers, and goes on each time; so is `down`.
pub(super) async fn killed(hour: &Hour, up: &[usize]) -> Result<()> {
    hour.configure(&[])?;
    for (round, &writes) in up.iter().enumerate() {
        let is_killed = hour.kill_after(writes, &["up", "--yes"])?;
        ensure!(is_killed || round > 0, "`up` ended before it was killed");
    }
    hour.ok(&["up", "--yes"])?;
    settled(hour)?;
    count(
        hour,
        &[
            ("functions", 1),
            ("REST APIs", 1),
            ("user pools", 1),
            ("log groups", 1),
        ],
    )
    .await?;
    children(hour).await?;
    ensure!(
        hour.kill_after(2, &["down", "--yes"])?,
        "`down` ended before it was killed"
    );
    down(hour).await
}

/// One of everything that has no unique name below the pool and the API.
async fn children(hour: &Hour) -> Result<()> {
    let (mut pools, mut apis) = (Vec::new(), Vec::new());
    for thing in clear::left(hour, &hour.stack).await? {
        match thing {
            Thing::Pool { id, .. } => pools.push(id),
            Thing::Api { id, .. } => apis.push(id),
            Thing::Function(_) | Thing::Role(_) | Thing::LogGroup(_) => {}
        }
    }
    let ([pool], [api]) = (&pools[..], &apis[..]) else {
        bail!("expected one pool and one API, got {pools:?} and {apis:?}");
    };
    let clients = hour
        .cognito
        .list_user_pool_clients()
        .user_pool_id(pool)
        .max_results(60)
        .send()
        .await?;
    let deployments = hour.apigateway.get_deployments().rest_api_id(api).send().await?;
    let authorizers = hour.apigateway.get_authorizers().rest_api_id(api).send().await?;
    let found = [
        clients.user_pool_clients().len(),
        deployments.items().len(),
        authorizers.items().len(),
    ];
    ensure!(
        found == [1, 1, 1],
        "expected one client, deployment and authorizer, got {found:?}"
    );
    Ok(())
}

/// A role with this policy that whoever runs this may assume, and its credentials.
pub(super) async fn operator(hour: &Hour, name: &str, policy: &Value) -> Result<[SecretString; 3]> {
    let account = &hour.identity.account;
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": format!("arn:{}:iam::{account}:root", hour.identity.partition)},
    }]});
    let mut role = hour
        .iam
        .create_role()
        .role_name(name)
        .assume_role_policy_document(trust.to_string());
    for (key, value) in hour.tags() {
        role = role.tags(aws_sdk_iam::types::Tag::builder().key(key).value(value).build()?);
    }
    let arn = role.send().await?.role.context("IAM describes the role")?.arn;
    let put = hour.iam.put_role_policy().role_name(name).policy_name("operator");
    put.policy_document(policy.to_string()).send().await?;
    // A new role is not known everywhere at once.
    let assume = async || {
        let assumed = hour
            .sts
            .assume_role()
            .role_arn(&arn)
            .role_session_name("first-hour")
            .send()
            .await;
        Ok(assumed.ok().and_then(|answer| answer.credentials))
    };
    let assumed = hour.until(Duration::from_mins(2), assume).await?;
    let (credentials, _) =
        assumed.context("expected to assume the operator's role, was refused for 2 minutes")?;
    let secrets = [
        (credentials.access_key_id, "ACCESS-KEY"),
        (credentials.secret_access_key, "SECRET-KEY"),
        (credentials.session_token, "SESSION-TOKEN"),
    ];
    Ok(secrets.map(|(value, by)| {
        hour.hide(&value, by);
        value.into()
    }))
}

/// The whole job with an assumed role that has exactly what `policy` prints.
pub(super) async fn policy(hour: &Hour) -> Result<()> {
    hour.configure(&[])?;
    let policy = hour.json(&POLICY)?;
    let role = format!("{}-operator", hour.stack);
    let credentials = operator(hour, &role, &policy).await?;
    let run = |args: &[&str]| hour.ended_well(args, hour.run_as(args, Some(&credentials))?);
    run(&["up"])?;
    run(&["status"])?;
    run(&["plan", "--check"])?;
    run(&["token"])?;
    run(&["call", "GET", "/orders"])?;
    run(&["logs"])?;
    rotate(hour, Some(&credentials))?;
    hour.configure(&[
        ("payments", "sales"),
        ("memory_mb = 128", "memory_mb = 256"),
        ("Write orders", "Change orders"),
    ])?;
    run(&["up", "--yes"])?;
    run(&["status"])?;
    run(&["down", "--yes"])?;
    count(hour, &NOTHING).await?;
    hour.iam
        .delete_role_policy()
        .role_name(&role)
        .policy_name("operator")
        .send()
        .await?;
    hour.iam.delete_role().role_name(&role).send().await?;
    Ok(())
}
