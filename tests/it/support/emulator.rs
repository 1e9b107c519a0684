//! Calls of the emulator that do not come from the binary, and what a stack is made of there.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::token;

/// The emulator's API, called without the binary: to check what is there, and to change it as someone else would.
pub(crate) struct Emulator {
    pub endpoint: String,
    region: &'static str,
    /// Whose access key the calls are signed with; `None`: the sandbox's own.
    key: Option<String>,
}

impl Emulator {
    /// In the region of [`Place::at`].
    pub(crate) fn new(endpoint: String) -> Self {
        Self {
            endpoint,
            region: "eu-west-1",
            key: None,
        }
    }

    /// In the region of `--sandbox`.
    pub(crate) fn of_the_sandbox(endpoint: String) -> Self {
        Self {
            endpoint,
            region: "us-east-1",
            key: None,
        }
    }

    fn send(&self, service: &str, call: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder) -> String {
        // The emulator takes the region out of this and leaves the signature unchecked.
        let key = self.key.clone().unwrap_or_else(|| token(&self.endpoint));
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
    pub(crate) fn json(&self, target: &str, body: &Value) -> Value {
        let service = match target.split('.').next() {
            Some("secretsmanager") => "secretsmanager",
            Some("Logs_20140328") => "logs",
            Some("AmazonSSM") => "ssm",
            Some("AWSWAF_20190729") => "wafv2",
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

    /// The same as this role, in the role's account.
    pub(crate) fn as_role(&self, arn: &str) -> Self {
        let form = format!("Action=AssumeRole&Version=2011-06-15&RoleSessionName=test&RoleArn={arn}");
        let answer = self.send("sts", |http| {
            http.post(&self.endpoint)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form)
        });
        let (_, key) = answer.split_once("<AccessKeyId>").unwrap();
        Self {
            endpoint: self.endpoint.clone(),
            region: self.region,
            key: Some(key.split('<').next().unwrap().to_owned()),
        }
    }

    /// A call of Cognito.
    pub(crate) fn cognito(&self, operation: &str, body: &Value) -> Value {
        self.json(&format!("AWSCognitoIdentityProviderService.{operation}"), body)
    }

    /// A call of AWS WAF.
    pub(crate) fn waf(&self, operation: &str, body: &Value) -> Value {
        self.json(&format!("AWSWAF_20190729.{operation}"), body)
    }

    /// The ARN of a new web ACL of this name.
    pub(crate) fn web_acl(&self, name: &str) -> String {
        let visibility =
            json!({"SampledRequestsEnabled": false, "CloudWatchMetricsEnabled": false, "MetricName": name});
        let acl = json!({
            "Name": name, "Scope": "REGIONAL", "DefaultAction": {"Allow": {}}, "VisibilityConfig": visibility,
        });
        let made = self.waf("CreateWebACL", &acl);
        made["Summary"]["ARN"].as_str().unwrap().to_owned()
    }

    /// A GET of a service that has paths.
    pub(crate) fn get(&self, service: &str, path: &str) -> Value {
        serde_json::from_str(&self.send(service, |http| http.get(format!("{}{path}", self.endpoint))))
            .unwrap()
    }

    /// A DELETE of a service that has paths.
    pub(crate) fn delete(&self, service: &str, path: &str) {
        self.send(service, |http| http.delete(format!("{}{path}", self.endpoint)));
    }

    /// A PUT, POST or PATCH of a service that has paths.
    pub(crate) fn write(&self, service: &str, method: &str, path: &str, body: &Value) -> Value {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let answer = self.send(service, |http| {
            http.request(method, format!("{}{path}", self.endpoint))
                .body(body.to_string())
        });
        serde_json::from_str(&answer).unwrap_or(Value::Null)
    }

    /// Patches something of API Gateway: operation, path, value.
    pub(crate) fn patch(&self, path: &str, operations: &[(&str, &str, &str)]) -> Value {
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

    /// Sets the role that access logs are written with, as an administrator would have.
    pub(crate) fn let_apis_log(&self) {
        let role = "arn:aws:iam::000000000000:role/made-elsewhere";
        self.patch("/account", &[("replace", "/cloudwatchRoleArn", role)]);
    }

    /// Everything that a stack is made of, without ids, dates and what AWS adds by itself, sorted: two stacks of one
    /// configuration have the same portrait.
    pub(crate) fn portrait(&self, owner: &str) -> Value {
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
            let list = |answer: &str, element: &str| -> Vec<String> {
                let parts = answer.split(element).skip(1);
                let mut texts: Vec<String> = parts
                    .map(|part| part.split('<').next().unwrap_or_default().to_owned())
                    .collect();
                texts.sort();
                texts
            };
            let inline = self.iam(&format!("Action=ListRolePolicies&RoleName={name}"));
            let policies: Vec<Value> = (list(&inline, "<member>").iter())
                .map(|policy| {
                    let asked = format!("Action=GetRolePolicy&RoleName={name}&PolicyName={policy}");
                    let answer = self.iam(&asked);
                    let text = answer.split("<PolicyDocument>").nth(1).unwrap_or_default();
                    json!([policy, document(text.split('<').next().unwrap_or_default())])
                })
                .collect();
            let attached = self.iam(&format!("Action=ListAttachedRolePolicies&RoleName={name}"));
            add(
                "role",
                json!([
                    name,
                    document(&between("<AssumeRolePolicyDocument>", "<")),
                    between("<Tags>", "</Tags>")
                        .split_whitespace()
                        .collect::<String>(),
                    policies,
                    list(&attached, "<PolicyArn>"),
                    between("<PermissionsBoundaryArn>", "<"),
                    between("<Path>", "<"),
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
                "Description",
                "EphemeralStorage",
                "TracingConfig",
                "Layers",
                "KMSKeyArn",
                "VpcConfig",
            ];
            let mut fields: Vec<&Value> = keys.iter().map(|key| &live[*key]).collect();
            // Without the log group, which AWS fills in where none is sent, and the emulator does not.
            fields.push(&live["LoggingConfig"]["LogFormat"]);
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
            let reserved = &answer["Concurrency"]["ReservedConcurrentExecutions"];
            add(
                "function",
                json!([fields, variables, reserved, answer["Tags"], allowed]),
            );
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
            let mut fields: Vec<&Value> = keys.iter().map(|key| &live[*key]).collect();
            // Without the log group, which AWS fills in where none is sent, and the emulator does not.
            fields.push(&live["LoggingConfig"]["LogFormat"]);
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
                    let integration = &method["methodIntegration"];
                    let keys = [
                        "type",
                        "httpMethod",
                        "uri",
                        "requestParameters",
                        "timeoutInMillis",
                        "connectionId",
                        "integrationTarget",
                    ];
                    let integration: Vec<&Value> = keys.iter().map(|key| &integration[*key]).collect();
                    add(
                        "method",
                        json!([
                            verb,
                            path["path"],
                            method["authorizationType"],
                            scopes,
                            method["requestParameters"],
                            integration
                        ]),
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
                let limits_of = &stage["methodSettings"]["*/*"];
                // Below zero there is none, and the account's are what AWS puts beside the other one.
                let limit = |name: &str, account: f64| {
                    limits_of[name]
                        .as_f64()
                        .filter(|limit| (0.0..account).contains(limit))
                };
                let limits = json!([
                    limit("throttlingRateLimit", 10000.0),
                    limit("throttlingBurstLimit", 5000.0)
                ]);
                let watched = json!([
                    stage["accessLogSettings"]["destinationArn"],
                    stage["accessLogSettings"]["format"],
                    limits_of["metricsEnabled"].as_bool().unwrap_or_default(),
                    stage["tracingEnabled"],
                ]);
                add(
                    "stage",
                    json!([stage["stageName"], stage["tags"], limits, watched]),
                );
            }
        }
        parts.sort_by_key(Value::to_string);
        let text = Value::from(parts).to_string();
        serde_json::from_str(&text.replace(owner, "<owner>")).unwrap()
    }

    /// A call of IAM, as a query string.
    pub(crate) fn iam(&self, query: &str) -> String {
        let url = format!("{}/?Version=2010-05-08&{query}", self.endpoint);
        self.send("iam", |http| http.get(url))
    }

    /// The ARN of a new version of this layer.
    pub(crate) fn layer(&self, name: &str) -> String {
        let package = provision::package::Package::from_files(&[("layer.txt", b"layer".as_slice())]).unwrap();
        let content = json!({"Content": {"ZipFile": STANDARD.encode(package.zip)}});
        let path = format!("/2018-10-31/layers/{name}/versions");
        let made = self.write("lambda", "POST", &path, &content);
        made["LayerVersionArn"].as_str().unwrap().to_owned()
    }

    /// How many resources of each kind there are.
    pub(crate) fn census(&self) -> BTreeMap<&'static str, usize> {
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
        let acls = self.waf("ListWebACLs", &json!({"Scope": "REGIONAL"}));
        for acl in acls["WebACLs"].as_array().into_iter().flatten() {
            let on = self.waf("ListResourcesForWebACL", &json!({"WebACLArn": acl["ARN"]}));
            *census.entry("firewalls").or_insert(0) += count(&on["ResourceArns"]);
        }
        census.retain(|_, count| *count > 0);
        census
    }

    /// Fails unless there is exactly one resource of each kind, as in the sample.
    pub(crate) fn assert_whole(&self, story: &str) {
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

    /// Fails unless there is no resource.
    pub(crate) fn assert_nothing(&self, story: &str) {
        assert_eq!(self.census(), BTreeMap::new(), "{story}");
    }
}
