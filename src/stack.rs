//! Every step of the stack and how they connect.
//!
//! Must not do I/O or be async: it declares.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::aws::tags::tags;
use crate::aws::{Aws, Identity, policy};
use crate::config::{Config, parts};
use crate::graph::{Handle, Stack};
use crate::package::Package;
use crate::resources::function::{Code, Variables, fingerprint};
use crate::resources::stage::Throttle;
use crate::resources::{
    Authorizer, Client, Deployment, Function, LogGroup, Path, Permission, PoolDomain, ResourceServer,
    RestApi, Role, RolePolicy, Route, Stage, UserPool,
};

/// What the name of a stack cannot have: no name of one stack's begins as another's.
pub const SEPARATOR: char = '_';

/// A name that only this stack has; or, of a pattern for the owner or for `name`, the pattern of such names.
pub fn unique(stack: &str, separator: char, owner: &str, name: &str) -> String {
    format!("{stack}{separator}{owner}{separator}{name}")
}

/// The step of a route, which is named as in the configuration: `GET /user`.
pub fn route(name: &str) -> String {
    format!("route:{name}")
}

/// The log group that Lambda writes a function's output to.
pub fn log_group(function: &str) -> String {
    format!("/aws/lambda/{function}")
}

/// Every step of `config` in this account and region.
///
/// `owner` is the stack's 8 hex characters, and `separator` what stands around them in names, [`SEPARATOR`] but in an older
/// stack; `packages` has the code of every function, by the function's name.
///
/// An edge exists only where AWS demands one: an integration names its function by an ARN that follows from the
/// function's name, so the whole API is made while IAM still spreads the role.
pub fn stack(
    config: &Config,
    identity: &Identity,
    owner: &str,
    separator: char,
    packages: &BTreeMap<String, Package>,
) -> Stack<Aws> {
    let mut s = Stack::default();
    let Identity {
        account,
        partition,
        region,
        ..
    } = identity.clone();
    let mut tags = tags(&config.stack, owner);
    tags.extend(config.tags.clone());
    let unique = |name: &str| unique(&config.stack, separator, owner, name);
    let function_arn = |name: &str| {
        format!(
            "arn:{partition}:lambda:{region}:{account}:function:{}",
            unique(name)
        )
    };

    let mut functions = BTreeMap::new();
    for (name, function) in &config.functions {
        let full = unique(name);
        let group_name = log_group(&full);

        let role = s.add(format!("role:{name}"), (), {
            let (name, tags) = (full.clone(), tags.clone());
            let trust = policy::normal(json!({
                "Version": "2012-10-17",
                "Statement": [{
                    "Effect": "Allow",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }],
            }));
            move |()| Role {
                name: name.clone(),
                trust: trust.clone(),
                tags: tags.clone(),
            }
        });

        s.add(format!("role-policy:{name}"), role.clone(), {
            let role = full.clone();
            // No CreateLogGroup: a late invocation must not bring back the group that `down` deleted.
            let document = policy::normal(json!({
                "Version": "2012-10-17",
                "Statement": [{
                    "Effect": "Allow",
                    "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                    "Resource": format!("arn:{partition}:logs:{region}:{account}:log-group:{group_name}:*"),
                }],
            }));
            move |_| RolePolicy {
                role: role.clone(),
                name: policy::LOGS.to_owned(),
                document: document.clone(),
            }
        });

        let group = s.add(format!("log-group:{name}"), (), {
            let (tags, retention_days) = (Some(tags.clone()), Some(function.log_retention_days));
            move |()| LogGroup {
                name: group_name.clone(),
                retention_days,
                tags: tags.clone(),
            }
        });

        // The group is made before the first invocation and outlives the last.
        let made = s.add(format!("function:{name}"), (role, group), {
            let (function, tags, package) = (function.clone(), tags.clone(), &packages[name]);
            let code_sha256 = package.sha256.clone();
            let code_size = i64::try_from(package.zip.len()).expect("a zip that Lambda takes is small");
            let code = Code(Rc::new(package.zip.clone()));
            let environment: BTreeMap<_, _> = (function.environment.0.iter())
                .map(|(variable, value)| {
                    (
                        variable.clone(),
                        fingerprint(&full, variable, value.expose_secret()),
                    )
                })
                .collect();
            let variables = Variables(Rc::new(function.environment.0.clone()));
            move |(role, _)| Function {
                name: full.clone(),
                role: role.arn,
                role_id: Some(role.id),
                runtime: function.runtime.clone(),
                handler: function.handler.clone(),
                architecture: function.architecture.clone(),
                memory_mb: function.memory_mb,
                timeout_seconds: function.timeout_seconds,
                code_sha256: code_sha256.clone(),
                code_size,
                environment: Some(environment.clone()),
                tags: tags.clone(),
                code: code.clone(),
                variables: variables.clone(),
            }
        });
        functions.insert(name.clone(), made);
    }

    let pool = s.add("user-pool", (), {
        let (name, pool, tags) = (config.stack.clone(), config.user_pool.clone(), tags.clone());
        move |()| UserPool {
            name: name.clone(),
            admin_create_user_only: true,
            issuer: Some("ORIGINAL".to_owned()),
            tier: pool.tier.clone(),
            deletion_protection: pool.deletion_protection,
            tags: tags.clone(),
        }
    });

    s.add("pool-domain", pool.clone(), {
        let given = config.user_pool.domain_prefix.clone();
        let prefix = given.unwrap_or_else(|| format!("{}-{owner}", config.stack));
        move |pool| PoolDomain {
            pool: pool.id,
            prefix: prefix.clone(),
        }
    });

    let mut servers = Vec::new();
    for (identifier, server) in &config.resource_servers {
        servers.push(s.add(format!("resource-server:{identifier}"), pool.clone(), {
            let (identifier, scopes) = (identifier.clone(), server.scopes.clone());
            move |pool| ResourceServer {
                pool: pool.id,
                identifier: identifier.clone(),
                // A name may not have all the characters that an identifier may.
                name: identifier.replace(|c: char| !c.is_alphanumeric() && !"_+=,.@-".contains(c), "-"),
                scopes: scopes.clone(),
            }
        }));
    }

    // What has to have moved before changed routes go live, or callers would be locked out meanwhile.
    let mut before_live: Vec<String> = Vec::new();
    for (name, client) in &config.clients {
        before_live.push(format!("client:{name}"));
        // Cognito refuses a client that names a scope which is not there yet.
        s.add(format!("client:{name}"), (pool.clone(), servers.clone()), {
            let (name, client) = (name.clone(), client.clone());
            move |(pool, _)| Client {
                pool: pool.id,
                name: name.clone(),
                scopes: client.scopes.clone(),
                flows: ["client_credentials".to_owned()].into(),
                explicit_auth_flows: ["ALLOW_REFRESH_TOKEN_AUTH".to_owned()].into(),
                access_token_seconds: client.access_token_seconds,
                refresh_token_days: client.refresh_token_days,
                token_revocation: true,
                prevent_user_existence_errors: "ENABLED".to_owned(),
            }
        });
    }

    let api = s.add("rest-api", (), {
        let (api, tags) = (config.api.clone(), tags.clone());
        move |()| RestApi {
            name: api.name.clone(),
            description: api.description.clone(),
            endpoint: "REGIONAL".to_owned(),
            tags: tags.clone(),
        }
    });

    let authorizer = s.add("authorizer", (api.clone(), pool), |(api, pool)| Authorizer {
        api: api.id,
        name: "cognito".to_owned(),
        pool_arns: [pool.arn].into(),
        identity_source: "method.request.header.Authorization".to_owned(),
        result_ttl_seconds: 0,
        other_type: None,
        validation: None,
    });

    let mut paths: BTreeMap<String, Handle<Path>> = BTreeMap::new();
    let mut routes = Vec::new();
    for route in &config.routes {
        let mut full = String::new();
        for part in parts(&route.path) {
            let parent = paths.get(&full).cloned();
            full = format!("{full}/{part}");
            if !paths.contains_key(&full) {
                let part = part.to_owned();
                let path = s.add(
                    format!("path:{full}"),
                    (api.clone(), parent),
                    move |(api, parent)| Path {
                        api: api.id,
                        parent: parent.map_or(api.root, |parent| parent.id),
                        part: part.clone(),
                    },
                );
                paths.insert(full.clone(), path);
            }
        }
        let path = paths.get(&full).cloned();
        let name = self::route(&format!("{} {}", route.verb, route.path));
        routes.push(s.add(name, (api.clone(), path, authorizer.clone()), {
            let (verb, scopes) = (route.verb.clone(), route.scopes.clone());
            let uri = format!(
                "arn:{partition}:apigateway:{region}:lambda:path/2015-03-31/functions/{}/invocations",
                function_arn(&route.function)
            );
            move |(api, path, authorizer)| Route {
                api: api.id,
                path: path.map_or(api.root, |path| path.id),
                verb: verb.clone(),
                authorizer: authorizer.id,
                scopes: scopes.clone(),
                uri: uri.clone(),
                api_key_required: false,
            }
        }));
    }

    for (name, function) in functions {
        before_live.push(format!("permission:{name}"));
        // One statement a function, whatever its routes: the policy's limit is 20 KB.
        s.add(format!("permission:{name}"), (function, api.clone()), {
            let (function, statement) = (unique(&name), unique("api"));
            let (partition, region, account) = (partition.clone(), region.clone(), account.clone());
            let stage = config.api.stage.clone();
            move |(_, api)| Permission {
                function: function.clone(),
                statement: statement.clone(),
                source_arn: format!(
                    "arn:{partition}:execute-api:{region}:{account}:{}/{stage}/*",
                    api.id
                ),
                source_account: account.clone(),
            }
        });
    }

    let deployment = s.add(
        "deployment",
        (api.clone(), authorizer, routes),
        |(api, authorizer, routes)| {
            let mut hash = Sha256::new_with_prefix(authorizer.digest);
            for route in routes {
                hash.update(route.digest);
            }
            let hash = URL_SAFE_NO_PAD.encode(hash.finalize());
            Deployment {
                api: api.id,
                description: format!("provision {hash}"),
                open_methods: BTreeSet::new(),
            }
        },
    );

    let stage = s.add("stage", (api, deployment), {
        let name = config.api.stage.clone();
        let throttle = config
            .api
            .throttle
            .map_or_else(Throttle::default, |limit| Throttle {
                rate: Some(limit.rate),
                burst: Some(limit.burst),
            });
        move |(api, deployment)| Stage {
            api: api.id,
            name: name.clone(),
            deployment: deployment.id,
            throttle,
            tags: tags.clone(),
        }
    });
    s.follow(&stage, before_live);
    s
}
