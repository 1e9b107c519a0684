//! Every step of the stack and how they connect.
//!
//! Must not do I/O or be async: it declares.

mod domain;
mod integration;
mod role;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

pub use self::domain::{base_path_mapping, domain_name};
use self::integration::Integration;
use self::role::FunctionRole;
use crate::access_log;
use crate::aws::ids::{ApiId, PoolId};
use crate::aws::tags::{Tags, tags};
use crate::aws::{Aws, Identity};
use crate::config::{self, Answerer, Backend, Config, ExistingFunction, parts};
use crate::graph::{Handle, Stack};
use crate::mark::mark;
use crate::package::Package;
use crate::resources::firewall;
use crate::resources::function::{Code, Variables, Vpc, fingerprint};
use crate::resources::stage::Throttle;
use crate::resources::{
    Authorizer, BackendPermission, Client, Deployment, Firewall, Function, LogGroup, Path, Permission,
    PoolDomain, ResourceServer, RestApi, Route, SharedPool, Stage, UserPool, shared_pool, user_pool,
};

/// A character that the name of a stack cannot have, so that no name of one stack begins like the names of another.
pub const SEPARATOR: char = '_';

/// The longest name of a resource server that Cognito takes.
const SERVER_NAME: usize = 256;

/// A name that only this stack has; or, of a pattern for the owner or for `name`, the pattern of such names.
pub fn unique(stack: &str, separator: char, owner: &str, name: &str) -> String {
    format!("{stack}{separator}{owner}{separator}{name}")
}

/// The step of a route, which is named as in the configuration: `GET /user`.
pub fn route(name: &str) -> String {
    format!("route:{name}")
}

/// The step of the permission to invoke the function of a back end.
pub fn backend_permission(name: &str) -> String {
    format!("backend-permission:{name}")
}

/// The functions of the back ends that a route names and that are of this account, by the name of the back end. The
/// policy of a function of another account is its owner's to change.
pub fn backends_of_account<'a>(
    config: &'a Config,
    account: &str,
) -> impl Iterator<Item = (&'a String, &'a ExistingFunction)> {
    let used = |name: &String| {
        let mut routes = config.routes.iter();
        routes.any(|route| matches!(&route.answerer, Answerer::Backend(backend) if backend == name))
    };
    (config.backends.iter()).filter_map(move |(name, backend)| match backend {
        Backend::Lambda(function) if function.account == account && used(name) => Some((name, function)),
        Backend::Lambda(_) | Backend::Url(_) => None,
    })
}

/// The log group that Lambda writes a function's output to.
pub fn log_group(function: &str) -> String {
    format!("/aws/lambda/{function}")
}

/// The step of the log group that gets a line for every request.
pub const ACCESS_LOG_GROUP: &str = "access-log-group";

/// The name of that log group; `unique` is a name that only this stack has.
pub fn access_log_group(unique: &str) -> String {
    format!("/aws/apigateway/{unique}")
}

/// What AWS knows of what the configuration names and others may have made.
pub struct Named<'a> {
    /// The ids of the roles, by their ARNs, as far as they are there.
    pub roles: &'a BTreeMap<String, String>,
    /// The pool of others, if the configuration names one.
    pub shared_pool: Option<&'a SharedPool>,
    /// Whether the domain of the API is the stack's, and not one of somebody else.
    pub makes_domain: bool,
}

/// Every step of `config` in this account and region.
///
/// `owner` is the stack's 8 hex characters, and `separator` is around them in names: [`SEPARATOR`], except in an older
/// stack. `packages` has the code of every function, by the function's name.
///
/// An edge exists only where AWS demands one: an integration names its function by an ARN that follows from the
/// function's name, so the whole API is created while IAM still spreads the role.
pub fn stack(
    config: &Config,
    identity: &Identity,
    owner: &str,
    separator: char,
    packages: &BTreeMap<String, Package>,
    named: &Named<'_>,
) -> Stack<Aws> {
    let mut tags = tags(&config.stack, owner);
    tags.extend(config.tags.clone());
    let mut parts = Parts {
        stack: Stack::default(),
        config,
        identity,
        owner,
        separator,
        roles: named.roles,
        tags,
    };
    let functions = parts.functions(packages);
    let pool = match named.shared_pool {
        Some(pool) => parts.shared_pool(pool),
        None => parts.user_pool(),
    };
    let servers = parts.resource_servers(&pool);
    parts.clients(&pool, &servers);
    if config.routes.is_empty() {
        return parts.stack;
    }
    let api = parts.api();
    let authorizer = parts.authorizer(&api, pool);
    let routes = parts.routes(&api, &authorizer);
    parts.permissions(functions, &api);
    parts.backend_permissions(&api);
    let deployment = parts.deployment(&api, authorizer, routes);
    let stage = parts.stage(api.clone(), deployment);
    parts.firewall(&api, &stage);
    parts.domain(api, stage, named.makes_domain);
    parts.stack
}

/// The pool that the clients and resource servers are in: the stack's own, or one of others.
#[derive(Clone)]
struct Pool {
    step: (Option<Handle<UserPool>>, Option<Handle<SharedPool>>),
    /// What tells the stack's clients and resource servers in it from those of others.
    mark: String,
}

/// Whichever of them the stack has.
fn the_pool((own, shared): (Option<user_pool::Output>, Option<shared_pool::Output>)) -> (PoolId, String) {
    let own = own.map(|pool| (pool.id, pool.arn));
    let shared = shared.map(|pool| (pool.id, pool.arn));
    own.or(shared).expect("a stack has one of them")
}

/// The stack as far as it is declared, and what all of its parts are made of.
struct Parts<'a> {
    stack: Stack<Aws>,
    config: &'a Config,
    identity: &'a Identity,
    owner: &'a str,
    separator: char,
    roles: &'a BTreeMap<String, String>,
    tags: Tags,
}

impl Parts<'_> {
    fn unique(&self, name: &str) -> String {
        unique(&self.config.stack, self.separator, self.owner, name)
    }

    fn function_arn(&self, name: &str) -> String {
        let Identity {
            account,
            partition,
            region,
            ..
        } = self.identity;
        format!(
            "arn:{partition}:lambda:{region}:{account}:function:{}",
            self.unique(name)
        )
    }

    fn functions(&mut self, packages: &BTreeMap<String, Package>) -> BTreeMap<String, Handle<Function>> {
        let functions = &self.config.functions;
        (functions.iter())
            .map(|(name, function)| {
                let full = self.unique(name);
                let group_name = log_group(&full);
                let role = self.role_of(name, &full, &group_name);
                let step = format!("log-group:{name}");
                let group = self.log_group(step, group_name, function.log_retention_days);
                (
                    name.clone(),
                    self.function(name, full, role, group, &packages[name]),
                )
            })
            .collect()
    }

    fn log_group(&mut self, step: String, name: String, retention_days: i32) -> Handle<LogGroup> {
        let tags = Some(self.tags.clone());
        self.stack.add(step, (), move |()| LogGroup {
            name: name.clone(),
            retention_days: Some(retention_days),
            tags: tags.clone(),
        })
    }

    /// The group is created before the first invocation and outlives the last.
    fn function(
        &mut self,
        name: &str,
        full: String,
        role: FunctionRole,
        group: Handle<LogGroup>,
        package: &Package,
    ) -> Handle<Function> {
        let FunctionRole {
            arn: role_arn,
            foreign_id,
            rights,
            ..
        } = role;
        let needs = (
            role.step,
            group,
            (role.policies, role.attachments, role.interfaces),
        );
        let (function, tags) = (self.config.functions[name].clone(), self.tags.clone());
        let code_sha256 = package.sha256.clone();
        let code_size = i64::try_from(package.zip.len()).expect("a zip that Lambda takes is small");
        let code = Code(Rc::new(package.zip.clone()));
        let environment: BTreeMap<_, _> = (function.environment.values.iter())
            .map(|(variable, value)| {
                let fingerprint = fingerprint(&full, variable, value.expose_secret());
                (variable.clone(), fingerprint)
            })
            .collect();
        let vpc = (function.vpc.as_ref()).map_or_else(Vpc::default, |vpc| Vpc {
            subnets: vpc.subnets.clone(),
            security_groups: vpc.security_groups.clone(),
        });
        let variables = Variables(Rc::new(function.environment.values.clone()));
        self.stack
            .add(format!("function:{name}"), needs, move |(role, ..)| Function {
                name: full.clone(),
                // As it follows from the name, so that a plan knows whether it changes.
                role: role_arn.clone(),
                role_id: Some(role.map_or_else(|| foreign_id.clone(), |role| role.id)),
                rights: rights.clone(),
                runtime: function.runtime.clone(),
                handler: function.handler.clone(),
                architecture: function.architecture.clone(),
                memory_mb: function.memory_mb,
                timeout_seconds: function.timeout_seconds,
                code_sha256: code_sha256.clone(),
                code_size,
                environment: Some(environment.clone()),
                description: function.description.clone(),
                ephemeral_storage_mb: function.ephemeral_storage_mb,
                tracing: function.tracing,
                log_format: function.log_format.clone(),
                layers: function.layers.clone(),
                kms_key: function.kms_key.clone().unwrap_or_default(),
                reserved_concurrency: function.reserved_concurrency.into(),
                vpc: vpc.clone(),
                tags: tags.clone(),
                code: code.clone(),
                variables: variables.clone(),
            })
    }

    /// The pool and its domain, which has the token endpoint.
    fn user_pool(&mut self) -> Pool {
        let settings = &self.config.user_pool;
        let pool = self.stack.add("user-pool", (), {
            let (name, tags) = (self.config.stack.clone(), self.tags.clone());
            let (tier, deletion_protection) = (settings.tier.clone(), settings.deletion_protection);
            move |()| UserPool {
                name: name.clone(),
                admin_create_user_only: true,
                issuer: Some("ORIGINAL".to_owned()),
                tier: tier.clone(),
                deletion_protection,
                tags: tags.clone(),
            }
        });

        let prefix = self.stack.add("pool-domain", pool.clone(), {
            let given = settings.domain_prefix.clone();
            let prefix = given.unwrap_or_else(|| format!("{}-{}", self.config.stack, self.owner));
            move |pool| PoolDomain {
                pool: pool.id,
                prefix: prefix.clone(),
            }
        });
        self.custom_domain(&pool, prefix);
        Pool {
            step: (Some(pool), None),
            mark: String::new(),
        }
    }

    fn shared_pool(&mut self, pool: &SharedPool) -> Pool {
        let pool = pool.clone();
        let step = self.stack.add("shared-user-pool", (), move |()| pool.clone());
        Pool {
            step: (None, Some(step)),
            mark: mark(&self.config.stack, self.owner),
        }
    }

    fn resource_servers(&mut self, pool: &Pool) -> Vec<Handle<ResourceServer>> {
        let servers = &self.config.resource_servers;
        (servers.iter())
            .map(|(identifier, server)| {
                let name = format!("resource-server:{identifier}");
                let (identifier, scopes) = (identifier.clone(), server.scopes.clone());
                let mark = pool.mark.clone();
                self.stack
                    .add(name, pool.step.clone(), move |pool| ResourceServer {
                        pool: the_pool(pool).0,
                        identifier: identifier.clone(),
                        // A name may not have all the characters that an identifier may.
                        name: (identifier.chars())
                            .map(|c| {
                                if c.is_alphanumeric() || "_+=,.@-".contains(c) {
                                    c
                                } else {
                                    '-'
                                }
                            })
                            .take(SERVER_NAME - mark.len())
                            .collect(),
                        mark: mark.clone(),
                        scopes: scopes.clone(),
                    })
            })
            .collect()
    }

    /// Cognito refuses a client that names a scope which does not exist yet.
    fn clients(&mut self, pool: &Pool, servers: &[Handle<ResourceServer>]) {
        for (name, client) in &self.config.clients {
            let needs = (pool.step.clone(), servers.to_vec());
            self.stack.add(client_step(name), needs, {
                let (name, mark, client) = (name.clone(), pool.mark.clone(), client.clone());
                move |(pool, _)| Client {
                    pool: the_pool(pool).0,
                    name: name.clone(),
                    mark: mark.clone(),
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
    }

    fn api(&mut self) -> Handle<RestApi> {
        let (api, tags) = (self.config.api.clone(), self.tags.clone());
        let (default_endpoint_closed, security_policy) = (self.closes_default_endpoint(), self.api_policy());
        self.stack.add("rest-api", (), move |()| RestApi {
            name: api.name.clone(),
            description: api.description.clone(),
            endpoint: "REGIONAL".to_owned(),
            default_endpoint_closed,
            security_policy: security_policy.clone(),
            tags: tags.clone(),
        })
    }

    fn authorizer(&mut self, api: &Handle<RestApi>, pool: Pool) -> Handle<Authorizer> {
        self.stack
            .add("authorizer", (api.clone(), pool.step), |(api, pool)| Authorizer {
                api: api.id,
                name: "cognito".to_owned(),
                pool_arns: [the_pool(pool).1].into(),
                identity_source: "method.request.header.Authorization".to_owned(),
                result_ttl_seconds: 0,
                other_type: None,
                validation: None,
            })
    }

    /// Every route, and before it the paths that lead to it and are not declared yet.
    fn routes(&mut self, api: &Handle<RestApi>, authorizer: &Handle<Authorizer>) -> Vec<Handle<Route>> {
        let mut paths = BTreeMap::new();
        let mut routes = Vec::new();
        for route in &self.config.routes {
            let path = self.path(&mut paths, &route.path, api);
            let name = self::route(&format!("{} {}", route.verb, route.path));
            let needs = (api.clone(), path, authorizer.clone());
            let (verb, scopes) = (route.verb.clone(), route.scopes.clone());
            let integration = self.integration(route);
            let route = self.stack.add(name, needs, move |(api, path, authorizer)| Route {
                api: api.id,
                path: path.map_or(api.root, |path| path.id),
                verb: verb.clone(),
                authorizer: authorizer.id,
                scopes: scopes.clone(),
                integration: integration.kind.to_owned(),
                uri: integration.uri.clone(),
                integration_verb: integration.verb.clone(),
                request_parameters: integration.request_parameters.clone(),
                mappings: integration.mappings.clone(),
                timeout_millis: integration.timeout_millis,
                vpc_link: integration.vpc_link.clone(),
                target: integration.target.clone(),
                insecure_tls: false,
                api_key_required: false,
            });
            routes.push(route);
        }
        routes
    }

    fn integration(&self, route: &config::Route) -> Integration {
        match &route.answerer {
            Answerer::Function(name) => Integration::of_function(self.identity, &self.function_arn(name)),
            Answerer::Backend(name) => match &self.config.backends[name] {
                Backend::Lambda(function) => Integration::of_function(self.identity, &function.arn()),
                Backend::Url(backend) => Integration::of_url(route, backend),
            },
        }
    }

    /// The last part of this path; `None` of `/`, which every API has.
    fn path(
        &mut self,
        paths: &mut BTreeMap<String, Handle<Path>>,
        path: &str,
        api: &Handle<RestApi>,
    ) -> Option<Handle<Path>> {
        let mut full = String::new();
        let mut last: Option<Handle<Path>> = None;
        for part in parts(path) {
            full = format!("{full}/{part}");
            let handle = paths.entry(full.clone()).or_insert_with(|| {
                let part = part.to_owned();
                let needs = (api.clone(), last.take());
                self.stack
                    .add(format!("path:{full}"), needs, move |(api, parent)| Path {
                        api: api.id,
                        parent: parent.map_or(api.root, |parent| parent.id),
                        part: part.clone(),
                    })
            });
            last = Some(handle.clone());
        }
        last
    }

    /// One statement a function, whatever its routes: the limit of a policy is 20 KB.
    fn permissions(&mut self, functions: BTreeMap<String, Handle<Function>>, api: &Handle<RestApi>) {
        for (name, function) in functions {
            let needs = (function, api.clone());
            let (function, statement) = (self.unique(&name), self.unique("api"));
            let (stage, source_account) = (self.stage_arn(), self.identity.account.clone());
            self.stack
                .add(permission_step(&name), needs, move |(_, api)| Permission {
                    function: function.clone(),
                    statement: statement.clone(),
                    source_arn: stage(&api.id),
                    source_account: source_account.clone(),
                });
        }
    }

    /// One statement a function of a back end. It is deleted by a call of its own, because the function stays.
    fn backend_permissions(&mut self, api: &Handle<RestApi>) {
        for (name, function) in backends_of_account(self.config, &self.identity.account) {
            let (statement, source_account) = (self.unique(name), self.identity.account.clone());
            let (stage, function) = (self.stage_arn(), function.clone());
            self.stack.add(backend_permission(name), api.clone(), move |api| {
                BackendPermission {
                    function: function.name.clone(),
                    qualifier: function.qualifier.clone().unwrap_or_default(),
                    statement: statement.clone(),
                    source_arn: stage(&api.id),
                    source_account: source_account.clone(),
                }
            });
        }
    }

    /// From the id of the API to what names all methods of its stage.
    fn stage_arn(&self) -> impl Fn(&ApiId) -> String + use<> {
        let Identity {
            account,
            partition,
            region,
            ..
        } = self.identity.clone();
        let stage = self.config.api.stage.clone();
        move |api| format!("arn:{partition}:execute-api:{region}:{account}:{api}/{stage}/*")
    }

    /// A change of the authorizer or of any route is another description, and so another deployment. So is what takes effect only
    /// with the next deployment.
    fn deployment(
        &mut self,
        api: &Handle<RestApi>,
        authorizer: Handle<Authorizer>,
        routes: Vec<Handle<Route>>,
    ) -> Handle<Deployment> {
        let needs = (api.clone(), authorizer, routes);
        let front = self.front();
        self.stack
            .add("deployment", needs, move |(api, authorizer, routes)| {
                let mut hash = Sha256::new_with_prefix(authorizer.digest);
                for route in routes {
                    hash.update(route.digest);
                }
                hash.update(&front);
                hash.update(&api.revision);
                let hash = URL_SAFE_NO_PAD.encode(hash.finalize());
                Deployment {
                    api: api.id,
                    description: format!("provision {hash}"),
                    open_methods: BTreeSet::new(),
                }
            })
    }

    /// The log group that gets a line for every request, and its ARN.
    fn access_logs(&mut self) -> Option<(Handle<LogGroup>, String)> {
        let days = self.config.api.access_log_days?;
        let Identity {
            account,
            partition,
            region,
            ..
        } = self.identity;
        let name = access_log_group(&self.unique("access"));
        let arn = format!("arn:{partition}:logs:{region}:{account}:log-group:{name}");
        Some((self.log_group(ACCESS_LOG_GROUP.to_owned(), name, days), arn))
    }

    /// Changed routes go live only once clients and permissions are changed, or callers would be locked out meanwhile.
    fn stage(&mut self, api: Handle<RestApi>, deployment: Handle<Deployment>) -> Handle<Stage> {
        let limit = self.config.api.throttle;
        let throttle = limit.map_or_else(Throttle::default, |limit| Throttle {
            rate: Some(limit.rate),
            burst: Some(limit.burst),
        });
        let (name, tags) = (self.config.api.stage.clone(), self.tags.clone());
        let (metrics, tracing) = (self.config.api.metrics, self.config.api.tracing);
        let logs = self.access_logs();
        // As it follows from the name, so that a plan knows whether it changes.
        let (group, destination) = logs.unzip();
        let destination = destination.unwrap_or_default();
        let format = group.as_ref().map_or("", |_| access_log::FORMAT);
        let needs = (api, deployment, group);
        let stage = self.stack.add("stage", needs, move |(api, deployment, _)| Stage {
            api: api.id,
            name: name.clone(),
            deployment: deployment.id,
            throttle,
            access_log_destination: destination.clone(),
            access_log_format: format.to_owned(),
            metrics,
            tracing,
            tags: tags.clone(),
        });
        let clients = self.config.clients.keys().map(|name| client_step(name));
        let permissions = self.config.functions.keys().map(|name| permission_step(name));
        let backends = backends_of_account(self.config, &self.identity.account);
        let backends = backends.map(|(name, _)| backend_permission(name));
        self.stack
            .follow(&stage, clients.chain(permissions).chain(backends));
        stage
    }

    /// The web ACL of others that the stage is to have.
    fn firewall(&mut self, api: &Handle<RestApi>, stage: &Handle<Stage>) {
        let Some(acl) = &self.config.api.firewall else {
            return;
        };
        let (acl, name) = (firewall::acl(acl), self.config.api.stage.clone());
        let needs = (api.clone(), stage.clone());
        self.stack.add("firewall", needs, move |(api, _)| Firewall {
            api: api.id,
            stage: name.clone(),
            acl: acl.clone(),
        });
    }
}

fn client_step(name: &str) -> String {
    format!("client:{name}")
}

fn permission_step(name: &str) -> String {
    format!("permission:{name}")
}
