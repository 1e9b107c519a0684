//! What the tests of the real binary share: a place of their own, an emulator of their own, and a proxy that listens in.

// Not every test uses all of it.
#![allow(dead_code)]

pub mod enforced;
pub mod proxy;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};

/// A folder to run the binary in; what was started there is stopped at the end, however the test ends.
pub struct Place {
    path: PathBuf,
    /// Deletes the folder at the end; `None` where it stays.
    temporary: Option<tempfile::TempDir>,
    /// Stops the emulator once its input is closed: at the end of the test, or when the test's process was killed.
    guard: Child,
}

/// What a run of the binary printed, and how it ended.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// A temporary folder.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut place = Self::in_folder(folder.path());
        place.temporary = Some(folder);
        place
    }

    /// A folder that stays, with all that is in it.
    pub fn in_folder(path: &Path) -> Self {
        let guard = Command::new("sh")
            .args([
                "-c",
                r#"read -r end; "$0" sandbox stop"#,
                env!("CARGO_BIN_EXE_provision"),
            ])
            .current_dir(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C ends the tests and not this.
            .process_group(0)
            .spawn()
            .unwrap();
        Self {
            path: path.to_owned(),
            temporary: None,
            guard,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The binary in this folder, without anything of AWS that the tester may have set.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(&name);
            }
        }
        command
            .args(args)
            .current_dir(self.path())
            // No instance metadata, no profile of the tester's.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", self.path().join("no-config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", self.path().join("no-credentials"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// The binary with everything set to reach `endpoint` as if it were AWS; this place's emulator lets it in.
    pub fn at(&self, endpoint: &str, args: &[&str]) -> Command {
        let token = fs_err::read_to_string(self.path().join("state/sandbox/token"));
        let mut command = self.command(args);
        command
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", token.unwrap_or_else(|_| "nobody".to_owned()))
            .env("AWS_SECRET_ACCESS_KEY", "nothing");
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.command(args).output().unwrap().into()
    }

    pub fn run_at(&self, endpoint: &str, args: &[&str]) -> Run {
        self.at(endpoint, args).output().unwrap().into()
    }

    /// Starts this place's emulator and says where it is.
    pub fn emulator(&self) -> String {
        let run = self.run(&["sandbox", "start"]).ok();
        let endpoint = run.stdout.trim().strip_prefix("endpoint: ");
        let endpoint = endpoint.expect("the endpoint is what is printed").to_owned();
        let token = fs_err::read_to_string(self.path().join("state/sandbox/token")).unwrap();
        TOKENS.lock().unwrap().insert(endpoint.clone(), token);
        endpoint
    }

    /// The text of every file of ours below `folder`; what the emulator keeps for itself is AWS's, not ours.
    pub fn texts(&self, folder: &str) -> Vec<(PathBuf, String)> {
        let mut texts = Vec::new();
        collect(&self.path().join(folder), &mut texts);
        texts
    }
}

/// The tokens of the emulators that this test has started, by endpoint.
static TOKENS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// The access key id that the emulator at `endpoint` lets in.
pub fn token(endpoint: &str) -> String {
    TOKENS.lock().unwrap()[endpoint].clone()
}

fn collect(folder: &Path, texts: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("emulator") {
                collect(&path, texts);
            }
        } else {
            let text = String::from_utf8_lossy(&fs_err::read(&path).unwrap()).into_owned();
            texts.push((path, text));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // A place that cannot be cleared must not hide why its test failed.
        drop(self.guard.wait());
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// Fails the test unless the binary ended with this code.
    pub fn code(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    pub fn ok(self) -> Self {
        self.code(0)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {}", self.stdout))
    }

    /// One JSON document a line.
    pub fn events(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// The same command, run by a shell after `script`, which sets limits for it.
pub fn after(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{script}; exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// A GET without credentials of ours: the status and the body.
pub fn get(url: &str, token: Option<&str>) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut call = reqwest::Client::builder().no_proxy().build().unwrap().get(url);
        if let Some(token) = token {
            call = call.bearer_auth(token);
        }
        let answer = call.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}

/// A POST of a form with a name and a password: the body of the answer.
pub fn post_form(url: &str, (name, password): (&str, &str), form: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let call = reqwest::Client::builder().no_proxy().build().unwrap().post(url);
        let call = call
            .basic_auth(name, Some(password))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        call.send().await.unwrap().text().await.unwrap()
    })
}

/// A hand of the test's own in the emulator: what it does there, the binary does not know.
pub struct Hand {
    pub endpoint: String,
    pub region: &'static str,
}

impl Hand {
    fn send(&self, service: &str, call: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder) -> String {
        // The emulator takes the region out of this and leaves the signature unchecked.
        let key = token(&self.endpoint);
        let scope = format!("{key}/20260101/{}/{service}/aws4_request", self.region);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let signed = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
            let answer = call(&http).header("authorization", signed).send().await.unwrap();
            answer.text().await.unwrap()
        })
    }

    /// A call of a service that takes JSON, such as `AWSCognitoIdentityProviderService.ListUserPools`.
    pub fn json(&self, target: &str, body: &Value) -> Value {
        let service = match target.split('.').next() {
            Some("secretsmanager") => "secretsmanager",
            Some("Logs_20140328") => "logs",
            _ => "cognito-idp",
        };
        let answer = self.send(service, |http| {
            http.post(&self.endpoint)
                .header("x-amz-target", target)
                .header("content-type", "application/x-amz-json-1.1")
                .body(body.to_string())
        });
        serde_json::from_str(&answer).unwrap_or(Value::Null)
    }

    /// A call of Cognito.
    pub fn cognito(&self, operation: &str, body: &Value) -> Value {
        self.json(&format!("AWSCognitoIdentityProviderService.{operation}"), body)
    }

    /// A GET of a service that has paths.
    pub fn get(&self, service: &str, path: &str) -> Value {
        serde_json::from_str(&self.send(service, |http| http.get(format!("{}{path}", self.endpoint))))
            .unwrap()
    }

    /// A DELETE of a service that has paths.
    pub fn delete(&self, service: &str, path: &str) {
        self.send(service, |http| http.delete(format!("{}{path}", self.endpoint)));
    }

    /// A PUT, POST or PATCH of a service that has paths.
    pub fn write(&self, service: &str, method: &str, path: &str, body: &Value) -> Value {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let answer = self.send(service, |http| {
            http.request(method, format!("{}{path}", self.endpoint))
                .body(body.to_string())
        });
        serde_json::from_str(&answer).unwrap_or(Value::Null)
    }

    /// Patches something of API Gateway: operation, path, value.
    pub fn patch(&self, path: &str, operations: &[(&str, &str, &str)]) -> Value {
        let operations: Vec<Value> = (operations.iter())
            .map(|(op, path, value)| json!({"op": op, "path": path, "value": value}))
            .collect();
        self.write(
            "apigateway",
            "PATCH",
            path,
            &json!({"patchOperations": operations}),
        )
    }

    /// Everything that a stack is made of, without ids, dates and what AWS adds by itself, sorted: two stacks of one
    /// configuration have the same portrait.
    pub fn portrait(&self, owner: &str) -> Value {
        // Whatever the order of its keys.
        let document = |encoded: &str| -> Value {
            let text = percent_encoding::percent_decode_str(encoded)
                .decode_utf8()
                .unwrap();
            serde_json::from_str(&text).unwrap()
        };
        let mut parts = Vec::new();
        let mut add = |kind: &str, part: Value| parts.push(json!({ kind: part }));
        for name in self.iam("Action=ListRoles").split("<RoleName>").skip(1) {
            let name = name.split('<').next().unwrap();
            let role = self.iam(&format!("Action=GetRole&RoleName={name}"));
            let between = |from: &str, to: &str| -> String {
                let rest = role.split(from).nth(1).unwrap_or_default();
                rest.split(to).next().unwrap_or_default().to_owned()
            };
            let policy = self.iam(&format!("Action=GetRolePolicy&RoleName={name}&PolicyName=logs"));
            let policy = policy.split("<PolicyDocument>").nth(1).unwrap_or_default();
            add(
                "role",
                json!([
                    name,
                    document(&between("<AssumeRolePolicyDocument>", "<")),
                    between("<Tags>", "</Tags>")
                        .split_whitespace()
                        .collect::<String>(),
                    document(policy.split('<').next().unwrap_or_default()),
                ]),
            );
        }
        let functions = self.get("lambda", "/2015-03-31/functions");
        for function in functions["Functions"].as_array().unwrap() {
            let path = format!(
                "/2015-03-31/functions/{}",
                function["FunctionName"].as_str().unwrap()
            );
            let answer = self.get("lambda", &path);
            let live = &answer["Configuration"];
            let policy = self.get("lambda", &format!("{path}/policy"));
            let keys = [
                "FunctionName",
                "Role",
                "Runtime",
                "Handler",
                "Architectures",
                "MemorySize",
                "Timeout",
                "CodeSha256",
            ];
            let fields: Vec<&Value> = keys.iter().map(|key| &live[*key]).collect();
            let variables = &live["Environment"]["Variables"];
            let variables = if variables.is_null() {
                json!({})
            } else {
                variables.clone()
            };
            let policy: Value = serde_json::from_str(policy["Policy"].as_str().unwrap_or("{}")).unwrap();
            let allowed: Vec<&str> = (policy["Statement"].as_array().into_iter().flatten())
                .map(|statement| {
                    statement["Condition"]["ArnLike"]["AWS:SourceArn"]
                        .as_str()
                        .unwrap_or_default()
                })
                .map(|arn| arn.split_once('/').unwrap_or_default().1)
                .collect();
            add("function", json!([fields, variables, answer["Tags"], allowed]));
        }
        let groups = self.json("Logs_20140328.DescribeLogGroups", &json!({}));
        for group in groups["logGroups"].as_array().unwrap() {
            let arn = group["arn"].as_str().unwrap().trim_end_matches(":*");
            let tags = self.json(
                "Logs_20140328.ListTagsForResource",
                &json!({ "resourceArn": arn }),
            );
            add(
                "log group",
                json!([group["logGroupName"], group["retentionInDays"], tags["tags"]]),
            );
        }
        let pools = self.cognito("ListUserPools", &json!({"MaxResults": 60}));
        for pool in pools["UserPools"].as_array().unwrap() {
            let id = json!({"UserPoolId": pool["Id"], "MaxResults": 50});
            let live = &self.cognito("DescribeUserPool", &id)["UserPool"];
            let keys = [
                "Name",
                "Domain",
                "UserPoolTier",
                "DeletionProtection",
                "UserPoolTags",
                "AdminCreateUserConfig",
            ];
            let fields: Vec<&Value> = keys.iter().map(|key| &live[*key]).collect();
            add("pool", json!(fields));
            let servers = self.cognito("ListResourceServers", &id);
            for server in servers["ResourceServers"].as_array().unwrap() {
                let mut scopes = server["Scopes"].as_array().unwrap().clone();
                scopes.sort_by_key(Value::to_string);
                add(
                    "resource server",
                    json!([server["Identifier"], server["Name"], scopes]),
                );
            }
            let clients = self.cognito("ListUserPoolClients", &id);
            for client in clients["UserPoolClients"].as_array().unwrap() {
                let id = json!({"UserPoolId": pool["Id"], "ClientId": client["ClientId"]});
                let mut live = self.cognito("DescribeUserPoolClient", &id)["UserPoolClient"].clone();
                for key in [
                    "ClientId",
                    "ClientSecret",
                    "UserPoolId",
                    "CreationDate",
                    "LastModifiedDate",
                ] {
                    live.as_object_mut().unwrap().remove(key);
                }
                if let Some(scopes) = live["AllowedOAuthScopes"].as_array_mut() {
                    scopes.sort_by_key(Value::to_string);
                }
                add("client", live);
            }
        }
        for api in self.get("apigateway", "/restapis")["item"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let path = format!("/restapis/{}", api["id"].as_str().unwrap());
            let types = &api["endpointConfiguration"]["types"];
            add(
                "REST API",
                json!([api["name"], api["description"], types, api["tags"]]),
            );
            for authorizer in self.get("apigateway", &format!("{path}/authorizers"))["item"]
                .as_array()
                .unwrap()
            {
                let pools = authorizer["providerARNs"].as_array().unwrap().len();
                add(
                    "authorizer",
                    json!([
                        authorizer["name"],
                        pools,
                        authorizer["identitySource"],
                        authorizer["authorizerResultTtlInSeconds"]
                    ]),
                );
            }
            let paths = self.get("apigateway", &format!("{path}/resources?embed=methods"));
            for path in paths["item"].as_array().unwrap() {
                add("path", path["path"].clone());
                for (verb, method) in path["resourceMethods"].as_object().into_iter().flatten() {
                    let mut scopes = method["authorizationScopes"].as_array().unwrap().clone();
                    scopes.sort_by_key(Value::to_string);
                    let uri = &method["methodIntegration"]["uri"];
                    add(
                        "method",
                        json!([verb, path["path"], method["authorizationType"], scopes, uri]),
                    );
                }
            }
            let deployments = self.get("apigateway", &format!("{path}/deployments"));
            add(
                "deployments",
                json!(deployments["item"].as_array().unwrap().len()),
            );
            for stage in self.get("apigateway", &format!("{path}/stages"))["item"]
                .as_array()
                .unwrap()
            {
                let limits = &stage["methodSettings"]["*/*"];
                // Below zero there is none, and the account's are what AWS puts beside the other one.
                let limit = |name: &str, account: f64| {
                    limits[name]
                        .as_f64()
                        .filter(|limit| (0.0..account).contains(limit))
                };
                let limits = json!([
                    limit("throttlingRateLimit", 10000.0),
                    limit("throttlingBurstLimit", 5000.0)
                ]);
                add("stage", json!([stage["stageName"], stage["tags"], limits]));
            }
        }
        parts.sort_by_key(Value::to_string);
        let text = Value::from(parts).to_string();
        serde_json::from_str(&text.replace(owner, "<owner>")).unwrap()
    }

    /// A call of IAM, as a query string.
    pub fn iam(&self, query: &str) -> String {
        let url = format!("{}/?Version=2010-05-08&{query}", self.endpoint);
        self.send("iam", |http| http.get(url))
    }

    /// How many there are of everything that a stack is made of, by kind.
    pub fn census(&self) -> BTreeMap<&'static str, usize> {
        let count = |list: &Value| list.as_array().map_or(0, Vec::len);
        let mut census = BTreeMap::new();
        let mut add = |kind, more| *census.entry(kind).or_insert(0) += more;
        add(
            "roles",
            self.iam("Action=ListRoles").matches("<RoleName>").count(),
        );
        let functions = self.get("lambda", "/2015-03-31/functions");
        for function in functions["Functions"].as_array().unwrap() {
            let name = function["FunctionName"].as_str().unwrap();
            add("functions", 1);
            let policy = self.get("lambda", &format!("/2015-03-31/functions/{name}/policy"));
            let policy: Value = serde_json::from_str(policy["Policy"].as_str().unwrap_or("{}")).unwrap();
            add("permissions", count(&policy["Statement"]));
        }
        let groups = self.json("Logs_20140328.DescribeLogGroups", &json!({}));
        for group in groups["logGroups"].as_array().unwrap() {
            add("log groups", 1);
            add("retentions", usize::from(group["retentionInDays"] == 14));
        }
        let pools = self.cognito("ListUserPools", &json!({"MaxResults": 60}));
        for pool in pools["UserPools"].as_array().unwrap() {
            let id = json!({"UserPoolId": pool["Id"], "MaxResults": 50});
            add("user pools", 1);
            add(
                "clients",
                count(&self.cognito("ListUserPoolClients", &id)["UserPoolClients"]),
            );
            add(
                "resource servers",
                count(&self.cognito("ListResourceServers", &id)["ResourceServers"]),
            );
            let pool = self.cognito("DescribeUserPool", &id);
            add("domains", usize::from(pool["UserPool"]["Domain"].is_string()));
        }
        let apis = self.get("apigateway", "/restapis");
        for api in apis["item"].as_array().into_iter().flatten() {
            let path = format!("/restapis/{}", api["id"].as_str().unwrap());
            add("REST APIs", 1);
            add(
                "authorizers",
                count(&self.get("apigateway", &format!("{path}/authorizers"))["item"]),
            );
            add(
                "deployments",
                count(&self.get("apigateway", &format!("{path}/deployments"))["item"]),
            );
            add(
                "stages",
                count(&self.get("apigateway", &format!("{path}/stages"))["item"]),
            );
            let paths = self.get("apigateway", &format!("{path}/resources?embed=methods"));
            for path in paths["item"].as_array().unwrap() {
                add("paths", 1);
                let methods = path["resourceMethods"].as_object();
                add("methods", methods.map_or(0, serde_json::Map::len));
                let whole = methods
                    .into_iter()
                    .flatten()
                    .filter(|(_, method)| method["methodIntegration"].is_object());
                add("integrations", whole.count());
            }
        }
        census.retain(|_, count| *count > 0);
        census
    }

    /// Fails unless there is exactly one of everything.
    pub fn assert_whole(&self, story: &str) {
        let one = [
            "roles",
            "functions",
            "permissions",
            "log groups",
            "retentions",
            "user pools",
            "clients",
            "resource servers",
            "domains",
            "REST APIs",
            "authorizers",
            "deployments",
            "stages",
            "methods",
            "integrations",
        ];
        let mut expected: BTreeMap<&str, usize> = one.into_iter().map(|kind| (kind, 1)).collect();
        // The root, and `/user`.
        expected.insert("paths", 2);
        assert_eq!(self.census(), expected, "{story}");
    }

    /// Fails unless there is nothing.
    pub fn assert_nothing(&self, story: &str) {
        assert_eq!(self.census(), BTreeMap::new(), "{story}");
    }
}
