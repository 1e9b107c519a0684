//! `policy`: an IAM user with exactly the policy that it prints can do everything, and every action in it is needed.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::enforced::{self, Enforced};
use crate::support::proxy::{Act, Moment, Proxy};
use crate::support::{Place, Run};
use aws_sdk_apigateway::types::{Op, PatchOperation};
use aws_sdk_cognitoidentityprovider::types::ResourceServerScopeType;
use aws_sdk_iam::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_lambda::types::FunctionCode;
use provision::operator_policy;
use provision::package::Package;
use serde_json::{Value, json};

/// The commands of the story.
const COMMANDS: [&str; 6] = ["up", "status", "down", "token", "logs", "secret"];

/// A run continues without these.
const QUOTAS: [&str; 2] = ["iam:GetAccountSummary", "lambda:GetAccountSettings"];

/// Calls that a run makes only if others have put something in its way.
const BEYOND_THE_STORY: [&str; 4] = [
    "iam:ListAttachedRolePolicies",
    "iam:ListRolePolicies",
    // Only if network interfaces stay for minutes.
    "lambda:ListFunctions",
    // The emulator does not encrypt.
    "kms:Decrypt",
];

const BEFORE: &str = r#"
[stack]
name = "orders"
tags = { team = "payments", stage = "test" }
permissions_boundary = "arn:aws:iam::aws:policy/PowerUserAccess"
role_path = "/service/"

[user_pool]
tier = "ESSENTIALS"
domain = { name = "auth.example.com", certificate = "arn:aws:acm:us-east-1:000000000000:certificate/1" }

[resource_servers.orders.scopes]
read = "Read orders"
write = "Write orders"

[resource_servers.old.scopes]
read = "Read what is old"

[clients.billing]
scopes = ["orders/read"]

[clients.old]
scopes = ["old/read"]

[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
policy = { Effect = "Allow", Action = "sqs:SendMessage", Resource = "*" }
managed_policies = ["arn:aws:iam::aws:policy/AmazonSNSFullAccess"]
reserved_concurrency = 5

# Of two functions the quotas are looked at.
[functions.old]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
reserved_concurrency = 5
kms_key = "arn:aws:kms:eu-west-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"
vpc = { subnets = ["subnet-0a1b2c3d"], security_groups = ["sg-0a1b2c3d"] }

[functions.foreign]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
role = "arn:aws:iam::000000000000:role/made-elsewhere"

[backends.legacy]
lambda = "arn:aws:lambda:eu-west-1:000000000000:function:legacy:live"

[api]
description = "Orders"
access_logs = { retention_days = 14 }
tracing = true
firewall = "arn:aws:wafv2:eu-west-1:000000000000:regional/webacl/shop/1234abcd"

[api.domain]
name = "api.example.com"
certificate = "arn:aws:acm:eu-west-1:000000000000:certificate/1"
truststore = "s3://bucket/clients.pem"
truststore_version = "v1"

[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"GET /old" = { function = "old", scopes = ["old/read"] }
"GET /legacy" = { backend = "legacy", scopes = ["orders/read"] }
"#;

const AFTER: &str = r#"
[stack]
name = "orders"
tags = { team = "sales" }
permissions_boundary = "arn:aws:iam::aws:policy/PowerUserAccess"
role_path = "/service/"

[user_pool]
tier = "PLUS"
domain = { name = "auth.example.com", certificate = "arn:aws:acm:us-east-1:000000000000:certificate/2" }

[resource_servers.orders.scopes]
read = "Read all orders"
write = "Write orders"

[clients.billing]
scopes = ["orders/read", "orders/write"]

[functions.orders]
source = "lambda2"
runtime = "nodejs22.x"
handler = "index.handler"
memory_mb = 256
log_retention_days = 30

[backends.legacy]
lambda = "arn:aws:lambda:eu-west-1:000000000000:function:legacy:live"

[api]
description = "All orders"
stage = "live"
access_logs = { retention_days = 30 }
metrics = true
firewall = "arn:aws:wafv2:eu-west-1:000000000000:regional/webacl/shop/1234abcd"

[api.domain]
name = "api.example.com"
certificate = "arn:aws:acm:eu-west-1:000000000000:certificate/2"

[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read", "orders/write"] }
"POST /orders" = { function = "orders", scopes = ["orders/write"] }
"GET /legacy" = { backend = "legacy", scopes = ["orders/read"] }
"#;

/// Clients and nothing else, which only a pool of others can have.
const CONSUMER: &str = r#"
[stack]
name = "orders"
[user_pool]
id = "POOL"
[resource_servers.orders.scopes]
read = "Read orders"
[resource_servers.old.scopes]
read = "Read what is old"
[clients.billing]
scopes = ["orders/read", "theirs/use"]
[clients.old]
scopes = ["old/read"]
"#;

const CONSUMER_AFTER: &str = r#"
[stack]
name = "orders"
[user_pool]
id = "POOL"
[resource_servers.orders.scopes]
read = "Read all orders"
[clients.billing]
scopes = ["theirs/use"]
"#;

/// What the story is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// A stack with all that there can be.
    All,
    /// The same in a pool of others.
    Api,
    /// Clients in a pool of others.
    Consumer,
}

impl Of {
    /// The configuration before and after the change, in this pool.
    fn files(self, pool: &str) -> [String; 2] {
        let files = match self {
            Self::All => [BEFORE.to_owned(), AFTER.to_owned()],
            Self::Api => [BEFORE, AFTER].map(|file| {
                let line = |key: &str| file.lines().find(|line| line.starts_with(key)).unwrap();
                let file = file.replace(line("tier = "), "id = \"POOL\"");
                file.replace(line("domain = "), "")
            }),
            Self::Consumer => [CONSUMER.to_owned(), CONSUMER_AFTER.to_owned()],
        };
        files.map(|file| file.replace("POOL", pool))
    }

    /// The commands of the story.
    fn commands(self) -> Vec<&'static str> {
        let has_logs = self != Self::Consumer;
        let commands = COMMANDS.into_iter();
        commands
            .filter(|command| has_logs || *command != "logs")
            .collect()
    }
}

/// An emulator that enforces IAM, with a folder to run the binary in.
struct Account {
    of: Of,
    /// The configuration before and after the change.
    files: [String; 2],
    place: Place,
    emulator: Enforced,
    proxy: Proxy,
    operator: (String, String),
}

fn wait<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(what)
}

impl Account {
    fn new() -> Self {
        Self::with(Of::All)
    }

    fn with(of: Of) -> Self {
        let place = Place::new();
        let emulator = Enforced::start(&place);
        let proxy = Proxy::start_signed(&emulator.endpoint);
        for (name, code) in [("lambda", 1), ("lambda2", 2)] {
            let folder = place.path().join(name);
            fs_err::create_dir(&folder).unwrap();
            let code = format!("export const handler = async () => ({{ statusCode: 200, body: '{code}' }});");
            fs_err::write(folder.join("index.mjs"), code).unwrap();
        }
        let mut account = Self {
            of,
            files: [String::new(), String::new()],
            place,
            emulator,
            proxy,
            operator: (String::new(), String::new()),
        };
        account.clear();
        account
    }

    /// Starts again: no stack, no state, a user without rights.
    fn clear(&mut self) {
        assert!(self.emulator.is_reset().unwrap());
        drop(fs_err::remove_file(self.place.path().join("state/orders.json")));
        let pool = if self.of == Of::All {
            String::new()
        } else {
            self.make_pool()
        };
        self.files = self.of.files(&pool);
        self.configure(&self.files[0]);
        self.proxy.rule(|_, _| Act::Pass);
        self.operator = wait(async {
            let iam = self.iam();
            let role = iam.create_role().role_name("made-elsewhere");
            let trust = json!({"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}},
            ]});
            role.assume_role_policy_document(trust.to_string())
                .send()
                .await
                .unwrap();
            iam.create_user().user_name("operator").send().await.unwrap();
            let key = iam
                .create_access_key()
                .user_name("operator")
                .send()
                .await
                .unwrap();
            let key = key.access_key().unwrap().clone();
            (key.access_key_id, key.secret_access_key)
        });
        self.make_legacy();
        self.set_log_role(Some("arn:aws:iam::000000000000:role/made-elsewhere"));
    }

    /// The administrator's API Gateway.
    fn gateway(&self) -> aws_sdk_apigateway::Client {
        let administrator = Credentials::new(enforced::KEY, enforced::SECRET, None, None, "test");
        let config = aws_sdk_apigateway::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(administrator)
            .region(Region::new("eu-west-1"))
            .endpoint_url(&self.emulator.endpoint)
            .build();
        aws_sdk_apigateway::Client::from_conf(config)
    }

    /// The role that API Gateway writes access logs with; `None`: there is none.
    fn set_log_role(&self, role: Option<&str>) {
        let patch = PatchOperation::builder()
            .op(if role.is_some() { Op::Replace } else { Op::Remove })
            .path("/cloudwatchRoleArn")
            .value(role.unwrap_or_default());
        let update = self.gateway().update_account().patch_operations(patch.build());
        wait(update.send()).unwrap();
    }

    /// A pool that someone else made, with a domain, a resource server and clients of others.
    fn make_pool(&self) -> String {
        let config = aws_sdk_cognitoidentityprovider::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(Credentials::new(
                enforced::KEY,
                enforced::SECRET,
                None,
                None,
                "test",
            ))
            .region(Region::new("eu-west-1"))
            .endpoint_url(&self.emulator.endpoint)
            .build();
        let cognito = aws_sdk_cognitoidentityprovider::Client::from_conf(config);
        wait(async {
            let pool = cognito
                .create_user_pool()
                .pool_name("theirs")
                .send()
                .await
                .unwrap();
            let pool = pool.user_pool().unwrap().id().unwrap().to_owned();
            let domain = cognito.create_user_pool_domain().user_pool_id(&pool);
            domain.domain("theirs").send().await.unwrap();
            let scope = ResourceServerScopeType::builder()
                .scope_name("use")
                .scope_description("Use");
            let server = cognito.create_resource_server().user_pool_id(&pool);
            let server = server
                .identifier("theirs")
                .name("theirs")
                .scopes(scope.build().unwrap());
            server.send().await.unwrap();
            for name in ["billing", "theirs"] {
                let client = cognito.create_user_pool_client().user_pool_id(&pool);
                client.client_name(name).send().await.unwrap();
            }
            pool
        })
    }

    /// The function of a back end, which someone else made.
    fn make_legacy(&self) {
        let package = Package::from_files(&[(
            "index.mjs",
            b"export const handler = async () => ({});".as_slice(),
        )]);
        let code = FunctionCode::builder()
            .zip_file(package.unwrap().zip.into())
            .build();
        wait(async {
            let administrator = Credentials::new(enforced::KEY, enforced::SECRET, None, None, "test");
            let config = aws_sdk_lambda::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .credentials_provider(administrator)
                .region(Region::new("eu-west-1"))
                .endpoint_url(&self.emulator.endpoint)
                .build();
            let lambda = aws_sdk_lambda::Client::from_conf(config);
            let function = lambda.create_function().function_name("legacy").code(code);
            let function = function.runtime("nodejs22.x".into()).handler("index.handler");
            let role = "arn:aws:iam::000000000000:role/made-elsewhere";
            function.role(role).send().await.unwrap();
            lambda
                .publish_version()
                .function_name("legacy")
                .send()
                .await
                .unwrap();
            let alias = lambda.create_alias().function_name("legacy").name("live");
            alias.function_version("1").send().await.unwrap();
        });
    }

    fn configure(&self, text: &str) {
        fs_err::write(self.place.path().join("provision.toml"), text).unwrap();
    }

    /// The administrator's IAM.
    fn iam(&self) -> aws_sdk_iam::Client {
        let config = aws_sdk_iam::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(Credentials::new(
                enforced::KEY,
                enforced::SECRET,
                None,
                None,
                "test",
            ))
            .region(Region::new("eu-west-1"))
            .endpoint_url(&self.emulator.endpoint)
            .build();
        aws_sdk_iam::Client::from_conf(config)
    }

    /// The administrator's Secrets Manager.
    fn secrets(&self) -> aws_sdk_secretsmanager::Client {
        let config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(Credentials::new(
                enforced::KEY,
                enforced::SECRET,
                None,
                None,
                "test",
            ))
            .region(Region::new("eu-west-1"))
            .endpoint_url(&self.emulator.endpoint)
            .build();
        aws_sdk_secretsmanager::Client::from_conf(config)
    }

    fn allow(&self, document: &Value) {
        wait(async {
            let put = self
                .iam()
                .put_user_policy()
                .user_name("operator")
                .policy_name("p");
            put.policy_document(document.to_string()).send().await.unwrap();
        });
    }

    fn administrator(&self, args: &[&str]) -> Run {
        let mut command = self.place.at(&self.emulator.endpoint, args);
        command
            .env("AWS_ACCESS_KEY_ID", enforced::KEY)
            .env("AWS_SECRET_ACCESS_KEY", enforced::SECRET);
        command.output().unwrap().into()
    }

    fn operator(&self, args: &[&str]) -> Run {
        let mut command = self.place.at(&self.proxy.endpoint, args);
        command
            .env("AWS_ACCESS_KEY_ID", &self.operator.0)
            .env("AWS_SECRET_ACCESS_KEY", &self.operator.1);
        command.output().unwrap().into()
    }

    /// What `policy` prints for the whole story.
    fn policy(&self) -> Value {
        let mut args = vec!["policy"];
        args.extend(self.of.commands());
        self.administrator(&args).ok().json()
    }

    /// All commands until one fails; what they printed on stderr.
    fn story(&self) -> Result<String, Run> {
        let mut said = String::new();
        let mut done = |run: Run| {
            said.push_str(&run.stderr);
            if run.code == 0 { Ok(()) } else { Err(run) }
        };
        // Creations without an answer: what they made is looked for.
        let lost = std::sync::Mutex::new(BTreeSet::from([
            "CreateLogGroup",
            "CreateUserPool",
            "CreateUserPoolClient",
            "POST /restapis",
        ]));
        self.proxy.rule(move |request, moment| {
            let lose = moment == Moment::After
                && request.status < 300
                && lost.lock().unwrap().remove(&*request.operation());
            if lose { Act::Cut } else { Act::Pass }
        });
        done(self.operator(&["up"]))?;
        done(self.operator(&["status"]))?;
        done(self.operator(&["token", "billing"]))?;
        if self.of != Of::Consumer {
            done(self.operator(&["logs", "orders"]))?;
        }
        done(self.operator(&["secret", "show", "billing", "--yes"]))?;
        done(self.operator(&["secret", "rotate", "begin", "billing"]))?;
        done(self.operator(&["secret", "rotate", "finish", "billing", "--yes"]))?;
        self.drift();
        self.configure(&self.files[1]);
        done(self.operator(&["up", "--yes", "--yes-break", "all"]))?;
        if self.of != Of::Consumer {
            self.map_elsewhere();
        }
        // A pool's tags go with its other changes, where there are any.
        self.configure(&self.files[1].replace("sales", "support"));
        done(self.operator(&["up", "--yes"]))?;
        done(self.operator(&["plan", "--check"]))?;
        done(self.operator(&["down", "--yes", "--yes-break", "all"]))?;
        Ok(said)
    }

    /// The domain leads to a stage that someone else has chosen.
    fn map_elsewhere(&self) {
        let patch = PatchOperation::builder()
            .op(Op::Replace)
            .path("/stage")
            .value("theirs");
        let update = self
            .gateway()
            .update_base_path_mapping()
            .domain_name("api.example.com");
        let update = update.base_path("(none)").patch_operations(patch.build());
        wait(update.send()).unwrap();
    }

    /// Changes that only someone else makes: another trust policy, and no boundary.
    fn drift(&self) {
        let trust = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}},
        ]});
        wait(async {
            let iam = self.iam();
            let roles = iam.list_roles().path_prefix("/service/").send().await.unwrap();
            for role in roles.roles() {
                let name = role.role_name();
                let unbounded = iam.delete_role_permissions_boundary().role_name(name);
                unbounded.send().await.unwrap();
                let update = iam.update_assume_role_policy().role_name(role.role_name());
                update.policy_document(trust.to_string()).send().await.unwrap();
            }
        });
    }

    /// An error unless a command fails and names this action when the statement lacks it. For a quota, the command only
    /// names it.
    fn without(&mut self, statement: usize, action: &str) -> Result<(), String> {
        self.clear();
        let policy = self.policy();
        self.allow(&without(&policy, statement, action));
        let sid = &policy["Statement"][statement]["Sid"];
        match self.story() {
            Ok(said) if QUOTAS.contains(&action) && said.contains(&format!("perform: {action} ")) => Ok(()),
            Ok(_) => Err(format!("{action} on {sid}: nothing failed")),
            Err(run) if QUOTAS.contains(&action) => {
                Err(format!("{action}: exit {}\n{}", run.code, run.stderr))
            }
            Err(run) if run.code == 1 && run.stderr.contains(&format!("perform: {action} ")) => {
                let hint = "`provision policy` prints all that an operator needs";
                assert!(run.stderr.contains(hint), "{}", run.stderr);
                Ok(())
            }
            Err(run) => Err(format!("{action} on {sid}: exit {}\n{}", run.code, run.stderr)),
        }
    }
}

/// The policy without this action in this statement.
fn without(policy: &Value, statement: usize, action: &str) -> Value {
    let mut less = policy.clone();
    let actions = less["Statement"][statement]["Action"].as_array_mut().unwrap();
    actions.retain(|other| other != action);
    if actions.is_empty() {
        less["Statement"].as_array_mut().unwrap().remove(statement);
    }
    less
}

/// Every action of every statement.
fn actions(policy: &Value) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    for (index, statement) in policy["Statement"].as_array().unwrap().iter().enumerate() {
        for action in statement["Action"].as_array().unwrap() {
            all.push((index, action.as_str().unwrap().to_owned()));
        }
    }
    all
}

#[test]
fn a_user_with_exactly_this_policy_does_the_whole_job() {
    let mut account = Account::new();
    // Without it nothing can be done.
    let run = account.operator(&["up"]).code(1);
    assert!(run.stderr.contains("AccessDenied"), "{}", run.stderr);
    account.clear();
    account.allow(&account.policy());
    account
        .story()
        .unwrap_or_else(|run| panic!("{}\n{}", run.stdout, run.stderr));
    let roles = wait(async { account.iam().list_roles().send().await.unwrap() });
    let names: Vec<&str> = roles
        .roles()
        .iter()
        .map(aws_sdk_iam::types::Role::role_name)
        .collect();
    assert_eq!(names, ["made-elsewhere"]);
}

#[test]
fn a_user_with_the_policy_of_client_lists_the_clients_and_reads_no_secret() {
    let account = Account::new();
    account.allow(&account.policy());
    account.operator(&["up", "--no-verify"]).ok();
    let client = account.administrator(&["policy", "client"]).ok().json();
    assert_eq!(
        actions(&client),
        [(0, "cognito-idp:ListUserPoolClientSecrets".to_owned())]
    );
    account.allow(&client);
    account.operator(&["client", "list"]).ok();
    account.operator(&["secret", "show", "billing", "--yes"]).code(1);
    let other = json!([{"Effect": "Allow", "Action": ["iam:ListUsers"], "Resource": ["*"]}]);
    account.allow(&json!({"Version": "2012-10-17", "Statement": other}));
    let denied = account.operator(&["client", "list"]).code(1);
    let told = "perform: cognito-idp:ListUserPoolClientSecrets ";
    assert!(denied.stderr.contains(told), "{}", denied.stderr);
}

#[test]
fn who_lets_apis_log_needs_exactly_what_the_policy_has() {
    let mut account = Account::new();
    let policy = account.administrator(&["policy", "account-logs"]).ok().json();
    let enable = ["account", "logs", "enable", "--yes"];
    account.set_log_role(None);
    account.allow(&policy);
    account.operator(&enable).ok();
    let made = account.administrator(&["account", "logs"]).ok().stdout;
    assert!(made.contains("role/provision-api-gateway-logs"), "{made}");
    for (statement, action) in actions(&policy) {
        account.clear();
        account.set_log_role(None);
        account.allow(&without(&policy, statement, &action));
        let refused = account.operator(&enable).code(1).stderr;
        assert!(
            refused.contains(&format!("perform: {action} ")),
            "{action}: {refused}"
        );
    }
}

/// Whether the operator hands a secret out with this policy; the first answer of each write of a parameter is lost.
fn hands_out(account: &Account, policy: &Value, to: &[&str]) -> Run {
    account.allow(policy);
    let lost = std::sync::atomic::AtomicBool::new(false);
    account.proxy.rule(move |request, moment| {
        let put = moment == Moment::After && request.operation() == "PutParameter" && request.status == 200;
        let lose = put && !lost.swap(true, std::sync::atomic::Ordering::SeqCst);
        if lose { Act::Cut } else { Act::Pass }
    });
    account.operator(&[&["secret", "show", "billing"], to].concat())
}

#[test]
fn a_user_with_the_policy_of_secret_writes_to_the_place_and_nowhere_else() {
    let account = Account::new();
    account.allow(&account.policy());
    account.operator(&["up", "--no-verify"]).ok();
    let keeper = wait(async {
        let iam = account.iam();
        let user = iam.get_user().user_name("operator").send().await.unwrap();
        let user = user.user().unwrap().arn().to_owned();
        let trust = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": user}},
        ]});
        let role = iam.create_role().role_name("keeper");
        let role = role.assume_role_policy_document(trust.to_string());
        role.send().await.unwrap().role().unwrap().arn().to_owned()
    });
    let created = wait(account.secrets().create_secret().name("orders/app").send());
    created.unwrap();
    let printed = |to: &[&str]| -> Value {
        let run = account.administrator(&[&["policy", "secret"], to].concat());
        run.ok().json()
    };
    let parameter = |name: &str| format!("ssm:/orders/{name}");
    for (to, other) in [
        (
            vec!["--to", "secretsmanager:orders/app"],
            "secretsmanager:orders/ap",
        ),
        (vec!["--to", "ssm:/orders/app"], "ssm:/orders/ap"),
    ] {
        let policy = printed(&to);
        hands_out(&account, &policy, &to).ok();
        let refused = hands_out(&account, &policy, &["--to", other]).code(1);
        assert!(refused.stderr.contains("perform: "), "{}", refused.stderr);
        let written: Vec<(usize, String)> = (actions(&policy).into_iter())
            .filter(|(_, action)| !action.starts_with("cognito-idp:"))
            .collect();
        assert_eq!(
            written.len(),
            if to[1].starts_with("ssm") { 4 } else { 2 },
            "{written:?}"
        );
        for (statement, action) in written {
            let mut less = policy.clone();
            let allowed = less["Statement"][statement]["Action"].as_array_mut().unwrap();
            allowed.retain(|other| *other != action);
            let mut to = to.clone();
            let new = parameter(action.trim_start_matches("ssm:"));
            if ["ssm:AddTagsToResource", "ssm:GetParameter"].contains(&&*action) {
                // Of a parameter that is to be made.
                to[1] = &new;
                less = serde_json::from_str(&less.to_string().replace("/orders/app", "/orders/*")).unwrap();
            }
            let run = hands_out(&account, &less, &to).code(1);
            assert!(
                run.stderr.contains(&format!("perform: {action} ")),
                "{action}: {}",
                run.stderr
            );
        }
    }
    // A role in the operator's place.
    let to = ["--to", "ssm:/orders/role", "--to-role", &keeper];
    let policy = printed(&to);
    assert!(!policy.to_string().contains("ssm:"), "{policy}");
    let rights = printed(&to[..2]);
    let rights: Vec<Value> = (rights["Statement"].as_array().unwrap().iter())
        .filter(|statement| statement["Sid"] == "HandOutParameter")
        .cloned()
        .collect();
    wait(async {
        let iam = account.iam();
        let put = iam.put_role_policy().role_name("keeper").policy_name("p");
        let document = json!({"Version": "2012-10-17", "Statement": rights});
        put.policy_document(document.to_string()).send().await.unwrap();
    });
    hands_out(&account, &policy, &to).ok();
    let run = hands_out(&account, &printed(&[]), &to).code(1);
    assert!(run.stderr.contains("perform: sts:AssumeRole "), "{}", run.stderr);
    // Where nothing is named, nothing can be written.
    let run = account
        .administrator(&["policy", "up", "--to", "ssm:/orders/app"])
        .code(2);
    assert!(run.stderr.contains("`provision policy secret"), "{}", run.stderr);
}

/// Removes each chosen action, one at a time.
fn take_out(of: Of, choose: impl Fn(usize) -> bool) {
    let mut account = Account::with(of);
    let policy = account.policy();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (index, (statement, action)) in actions(&policy).into_iter().enumerate() {
        if choose(index) && !BEYOND_THE_STORY.contains(&&*action) {
            count += 1;
            wrong.extend(account.without(statement, &action).err());
        }
    }
    assert!(count > 0);
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn without_one_of_some_actions_a_command_fails_and_names_it() {
    take_out(Of::All, |index| index % 10 == 3);
}

#[test]
#[ignore = "three minutes: .ci/run does it"]
fn without_any_one_action_a_command_fails_and_names_it() {
    take_out(Of::All, |_| true);
}

#[test]
#[ignore = "three minutes: .ci/run does it"]
fn without_any_one_action_an_api_in_a_shared_pool_fails_and_names_it() {
    take_out(Of::Api, |_| true);
}

#[test]
fn without_any_one_action_a_consumer_in_a_shared_pool_fails_and_names_it() {
    take_out(Of::Consumer, |_| true);
}

#[test]
fn in_a_shared_pool_the_policy_has_no_right_to_the_pool_itself() {
    for of in [Of::Api, Of::Consumer] {
        let mut account = Account::with(of);
        let policy = account.policy();
        account.allow(&policy);
        account
            .story()
            .unwrap_or_else(|run| panic!("{}\n{}", run.stdout, run.stderr));
        let all: BTreeSet<String> = actions(&policy).into_iter().map(|(_, action)| action).collect();
        for action in [
            "CreateUserPool",
            "UpdateUserPool",
            "DeleteUserPool",
            "CreateUserPoolDomain",
            "TagResource",
        ] {
            assert!(!all.contains(&format!("cognito-idp:{action}")), "{action}");
        }
        if of == Of::Consumer {
            let others = all.iter().find(|action| !action.starts_with("cognito-idp:"));
            assert_eq!(others, None);
        }
        account.clear();
    }
}

/// `service:Operation`.
fn is_operation(text: &&str) -> bool {
    text.split_once(':').is_some_and(|(service, name)| {
        service
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && name.starts_with(|c: char| c.is_ascii_uppercase())
    })
}

/// Every `service:Operation` in the program's source that is passed to a function that makes calls. `cx` may be on the line
/// above `.call(`.
fn called(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            called(&path, found);
            continue;
        }
        if path.ends_with("tests.rs") {
            continue;
        }
        let text = fs_err::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for way in [".call(", "once(", "call_error(", "read!(", "put!("] {
            for rest in code.split(way).skip(1) {
                let operation = rest
                    .trim_start()
                    .strip_prefix('"')
                    .and_then(|text| text.split('"').next());
                found.extend(operation.filter(is_operation).map(str::to_owned));
            }
        }
    }
}

#[test]
fn the_table_has_every_operation_that_is_called_and_no_other() {
    let mut called_operations = BTreeSet::new();
    called(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut called_operations,
    );
    let missing: Vec<&String> = (called_operations.iter())
        .filter(|operation| !operator_policy::knows(operation))
        .collect();
    assert!(
        missing.is_empty(),
        "no row in src/operator_policy/rows: {missing:?}"
    );
    let idle: Vec<&str> = operator_policy::operations()
        .filter(|operation| !called_operations.contains(*operation))
        .collect();
    assert!(idle.is_empty(), "rows of calls that nothing makes: {idle:?}");
}
