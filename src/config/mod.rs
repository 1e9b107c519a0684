//! What a stack consists of, as `provision.toml` says it, checked completely before any call to AWS.
//!
//! Must not know AWS, the engine or the state.

mod backends;
mod complete;
mod domains;
mod environment;
mod functions;
mod keys;
mod names;
mod overlay;
mod policy;
mod problems;
mod read;
mod reference;
mod routes;
mod rules;
mod schema;
mod scopes;
mod settings;
mod stage;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

pub(crate) use self::backends::checked_url;
pub use self::backends::{Backend, ExistingFunction, UrlBackend};
pub use self::complete::Complete;
pub(crate) use self::names::Names;
pub use self::reference::reference;
pub(crate) use self::routes::route_problem;
pub use self::routes::{parts, variables};
pub(crate) use self::rules::{DOMAIN_WORDS, IDENTIFIER, REGION, ROLE_ARN, SCOPE};
pub use self::schema::schema;
use crate::location::Location;
use crate::secret_place::SecretPlace;

/// The text of the sample.
pub(crate) const SAMPLE: &str = include_str!("../../provision.toml");

/// Everything that one stack consists of.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The stack's name: `[a-z][a-z0-9-]{1,29}`.
    pub stack: String,
    /// The AWS region; `None` if the environment or the profile says it.
    pub region: Option<String>,
    pub state: StateSettings,
    /// The user's own tags, for every resource that can have tags.
    pub tags: BTreeMap<String, String>,
    /// The ARN of the IAM policy that limits what every role of the stack may do, whatever its policies grant; `None`: no limit.
    pub permissions_boundary: Option<String>,
    /// The path of every role of the stack: `/`, or `/…/`.
    pub role_path: String,
    pub user_pool: UserPool,
    /// The scopes that are not of this file, and so of others in a shared pool.
    pub foreign_scopes: Vec<ForeignScope>,
    /// By identifier.
    pub resource_servers: BTreeMap<String, ResourceServer>,
    /// By name.
    pub clients: BTreeMap<String, Client>,
    /// By name.
    pub functions: BTreeMap<String, Function>,
    /// By name, which no function has.
    pub backends: BTreeMap<String, Backend>,
    pub api: Api,
    /// Sorted by their keys in the file; no verb and path twice. A stack without routes has no API.
    pub routes: Vec<Route>,
}

/// Where the states are kept, the one of this stack among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSettings {
    /// `None`: a folder of this machine.
    pub location: Option<Location>,
    /// The account of the bucket, 12 digits; `None`: that of the credentials.
    pub account: Option<String>,
    /// The ARN of the key that the bucket encrypts with; `None`: S3's own.
    pub kms_key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPool {
    /// The prefix of the token endpoint's host name; `None`: `<stack>-<owner>`.
    pub domain_prefix: Option<String>,
    /// Whether AWS refuses to delete the pool.
    pub deletion_protection: bool,
    /// `LITE`, `ESSENTIALS` or `PLUS`.
    pub tier: String,
    /// The domain name of the token endpoint, beside that with the prefix; `None`: there is none.
    pub domain: Option<PoolDomain>,
    /// The pool that is used in place of one of the stack's own; then nothing else of this is set.
    pub shared: Option<SharedPool>,
}

/// The domain name at which a pool issues tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolDomain {
    /// In lower case, such as `auth.example.com`.
    pub name: String,
    /// The ARN of a certificate of ACM where CloudFront looks for it.
    pub certificate: String,
}

/// A user pool that this stack did not make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedPool {
    /// Its id, which begins with its region.
    Id { id: String, regional: Regional },
    /// The one that is on record of another stack.
    Stack {
        name: String,
        /// Where that stack's state is; `None`: where this one's is.
        state: Option<Location>,
    },
}

/// A scope that somebody else's resource server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignScope {
    /// `<identifier>/<scope>`.
    pub scope: String,
    /// Its place in the file; the message names whose it is.
    pub problem: Problem,
}

/// A resource server: the scopes under one identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceServer {
    /// Scope name to description.
    pub scopes: BTreeMap<String, String>,
}

/// An app client with the client-credentials grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Full scopes, `<identifier>/<scope>`.
    pub scopes: BTreeSet<String>,
    /// How long an access token is valid, in seconds.
    pub access_token_seconds: i32,
    /// How long a refresh token is valid, in days.
    pub refresh_token_days: i32,
    /// Where commands read its secret from; `None`: from Cognito.
    pub secret_from: Option<SecretPlace>,
}

/// A function that answers routes.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    pub source: Source,
    /// Such as `nodejs22.x`.
    pub runtime: String,
    /// Such as `index.handler`.
    pub handler: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// In megabytes.
    pub memory_mb: i32,
    /// In seconds.
    pub timeout_seconds: i32,
    /// How many days its log events are kept.
    pub log_retention_days: i32,
    pub environment: Environment,
    /// What its role allows besides its log group: an IAM policy document, as it was written.
    pub policy: Option<Value>,
    /// The ARNs of the managed policies of its role; at most 10.
    pub managed_policies: BTreeSet<String>,
    /// The ARN of a role that somebody else made, which it then runs as; `None`: a role of its own.
    pub role: Option<String>,
    /// At most 256 characters.
    pub description: String,
    /// The size of `/tmp`, in megabytes.
    pub ephemeral_storage_mb: i32,
    /// Whether X-Ray traces every invocation.
    pub tracing: bool,
    /// `text` or `json`.
    pub log_format: String,
    /// The ARNs of layer versions, in the order of the file.
    pub layers: Vec<String>,
    /// The ARN of the key that encrypts the environment; `None`: Lambda's own key.
    pub kms_key: Option<String>,
    /// How many invocations at once are reserved; `None`: the function shares what no function has reserved.
    pub reserved_concurrency: Option<i32>,
    pub vpc: Option<Vpc>,
    /// What of this must be in the stack's region.
    pub regional: Vec<Regional>,
}

/// The private network of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vpc {
    /// Their ids.
    pub subnets: BTreeSet<String>,
    /// Their ids.
    pub security_groups: BTreeSet<String>,
}

/// Something that AWS takes in the stack's region only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regional {
    /// Where it is.
    pub region: String,
    /// Its place in the file; the message names the key.
    pub problem: Problem,
}

/// Environment variables. A value may be a secret: values are not printed and not recorded.
#[derive(Clone, Default)]
pub struct Environment {
    /// By name. Those of `from_env` are in it after [`Config::with_environment`].
    pub values: BTreeMap<String, SecretString>,
    /// What is not in the file.
    pub from_env: Vec<FromEnv>,
}

/// A variable whose value is read from the environment in which the program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromEnv {
    /// The function's variable.
    pub variable: String,
    /// The variable that has the value.
    pub name: String,
    /// Its place in the file; the message names the key.
    pub problem: Problem,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from_env = self.from_env.iter().map(|from| &from.variable);
        f.debug_set()
            .entries(self.values.keys())
            .entries(from_env)
            .finish()
    }
}

impl PartialEq for Environment {
    fn eq(&self, other: &Self) -> bool {
        let plain =
            |(name, value): (&String, &SecretString)| (name.clone(), value.expose_secret().to_owned());
        let is_same = self.values.iter().map(plain).eq(other.values.iter().map(plain));
        is_same && self.from_env == other.from_env
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The sample that is part of this program.
    Sample,
    /// A folder, which is zipped.
    Folder(PathBuf),
    /// A zip file, which is uploaded unchanged.
    Zip(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Api {
    pub name: String,
    pub description: String,
    /// The stage's name, the last part of the API's URL.
    pub stage: String,
    /// `None`: the account's limits.
    pub throttle: Option<Throttle>,
    /// How many days a line for every request is kept; `None`: requests are not logged.
    pub access_log_days: Option<i32>,
    /// Whether X-Ray traces requests.
    pub tracing: bool,
    /// Whether CloudWatch has the metrics of each route.
    pub metrics: bool,
    /// The ARN of the web ACL of AWS WAF that requests go through.
    pub firewall: Option<String>,
    /// `None`: the API has AWS's own host name only.
    pub domain: Option<ApiDomain>,
    /// What of the domain and the firewall must be in the stack's region.
    pub regional: Vec<Regional>,
}

/// The domain name that the API answers at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiDomain {
    /// In lower case, such as `api.example.com`.
    pub name: String,
    /// The first part of the path; empty: the API is at the root of the domain.
    pub base_path: String,
    /// Whether the API no longer answers at AWS's own host name.
    pub close_default_endpoint: bool,
    /// How the stack makes the domain where nobody has made it. `None`: somebody else makes it.
    pub made: Option<DomainSettings>,
}

/// How a domain of API Gateway is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainSettings {
    /// The ARN of a certificate of ACM in the stack's region.
    pub certificate: String,
    /// The ARN of a public certificate that proves who owns the name. Empty: the other certificate proves it.
    pub ownership_certificate: String,
    /// API Gateway's name of it, such as `TLS_1_2`.
    pub security_policy: String,
    /// The S3 URL of the certificates that clients need one of. Empty: clients need no certificate.
    pub truststore: String,
    /// The version of that object; empty: the one that is there when API Gateway reads it.
    pub truststore_version: String,
}

/// The most requests that the stage accepts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttle {
    /// Requests per second.
    pub rate: f64,
    /// Requests at once.
    pub burst: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Such as `GET`, or `ANY`.
    pub verb: String,
    /// Such as `/user`.
    pub path: String,
    pub answerer: Answerer,
    /// Full scopes; a token needs one of them.
    pub scopes: BTreeSet<String>,
}

/// What answers a route, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answerer {
    Function(String),
    Backend(String),
}

/// What is wrong at one place of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong and what is allowed; it never contains the value of an environment variable.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Which of the configurations in a file is meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chosen<'a> {
    /// In place of the name in the file; lengths and defaults depend on it.
    pub stack: Option<&'a str>,
    /// The environment; `None`: the file without what its environments change.
    pub env: Option<&'a str>,
}

/// What `source` refers to.
enum Sources<'a> {
    /// A path from this folder.
    From(&'a Path),
    /// The sample's code in this program.
    Sample,
}

impl Config {
    /// The configuration in the text of a file; a relative `source` starts at `folder`.
    ///
    /// # Errors
    /// Everything that AWS would refuse, or that could never work, in the order of the file.
    pub fn read(text: &str, folder: &Path) -> Result<Self, Vec<Problem>> {
        Self::read_as(text, folder, Chosen::default())
    }

    /// The same for what was chosen.
    pub fn read_as(text: &str, folder: &Path, chosen: Chosen<'_>) -> Result<Self, Vec<Problem>> {
        read::read(text, &Sources::From(folder), chosen)
    }

    /// The same with the values of environment variables that are not in the file: `read` returns what a variable of this
    /// process's environment has. Only what creates or changes a function needs it.
    ///
    /// # Errors
    /// Every variable that has no value, or one that is not UTF-8; values that are too large together.
    pub fn with_environment(mut self, read: impl Fn(&str) -> Option<OsString>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        for function in self.functions.values_mut() {
            environment::fill(&mut function.environment, &read, &mut problems);
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        if problems.is_empty() {
            Ok(self)
        } else {
            Err(problems)
        }
    }

    /// What has to be in `region`, where the stack is, and is in another one.
    pub fn elsewhere(&self, region: &str) -> Vec<Problem> {
        let pool = match &self.user_pool.shared {
            Some(SharedPool::Id { regional, .. }) => Some(regional),
            Some(SharedPool::Stack { .. }) | None => None,
        };
        let functions = self.functions.values().flat_map(|function| &function.regional);
        let regional = functions.chain(&self.api.regional).chain(pool);
        let mut problems: Vec<Problem> = regional
            .filter(|regional| regional.region != region)
            .map(|regional| Problem {
                message: format!(
                    "{}: expected region {region}, where the stack is, got {}",
                    regional.problem.message, regional.region
                ),
                ..regional.problem.clone()
            })
            .collect();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }

    /// The scopes of others that are not among `live`, all that they have.
    pub fn unknown_scopes(&self, live: &BTreeSet<String>) -> Vec<Problem> {
        let unknown = (self.foreign_scopes.iter()).filter(|named| !live.contains(&named.scope));
        unknown.map(|named| scopes::unknown(named, live)).collect()
    }

    /// Where the states are according to `text`, and the account that the environment belongs to. Nothing else is looked at,
    /// for commands that need nothing else of a configuration.
    ///
    /// # Errors
    /// What is wrong with these keys.
    pub fn places_of(text: &str, env: Option<&str>) -> Result<(StateSettings, Option<String>), Vec<Problem>> {
        read::places_of(text, env)
    }

    /// The stack of `provision up` in a folder without a `provision.toml`: the one at the root of this repository.
    pub fn sample() -> Self {
        read::read(SAMPLE, &Sources::Sample, Chosen::default())
            .expect("the tests read the sample, which is part of this program")
    }

    /// The same with another name, which [`check_stack`] has accepted.
    ///
    /// # Errors
    /// A domain prefix cannot begin with the name, and no other prefix is configured.
    pub fn renamed(mut self, stack: &str) -> Result<Self, String> {
        stack.clone_into(&mut self.stack);
        match read::domain_word(stack) {
            Some(problem) if self.user_pool.domain_prefix.is_none() && self.user_pool.shared.is_none() => {
                Err(problem)
            }
            _ => Ok(self),
        }
    }
}

/// An error with what is wrong, unless this can be a stack's name.
pub fn check_stack(name: &str) -> Result<(), String> {
    let rule = rules::STACK;
    if (rule.holds)(name) {
        Ok(())
    } else {
        Err(format!(
            "stack {}: invalid name: expected {}",
            problems::quoted(name),
            rule.allowed
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_stays_the_same() {
        let read = "OauthResourceServer/user.read".to_owned();
        let write = "OauthResourceServer/user.write".to_owned();
        let scope = |name: &str, description: &str| (name.to_owned(), description.to_owned());
        let sample = Config {
            stack: "user-api".to_owned(),
            region: None,
            state: StateSettings::default(),
            tags: BTreeMap::new(),
            permissions_boundary: None,
            role_path: "/".to_owned(),
            user_pool: UserPool {
                domain_prefix: None,
                deletion_protection: false,
                tier: "ESSENTIALS".to_owned(),
                domain: None,
                shared: None,
            },
            foreign_scopes: Vec::new(),
            resource_servers: BTreeMap::from([(
                "OauthResourceServer".to_owned(),
                ResourceServer {
                    scopes: BTreeMap::from([
                        scope("user.read", "user read scope"),
                        scope("user.write", "user write scope"),
                    ]),
                },
            )]),
            clients: BTreeMap::from([(
                "app".to_owned(),
                Client {
                    scopes: BTreeSet::from([read.clone(), write]),
                    access_token_seconds: 60 * 60,
                    refresh_token_days: 1,
                    secret_from: None,
                },
            )]),
            functions: BTreeMap::from([(
                "user".to_owned(),
                Function {
                    source: Source::Sample,
                    runtime: "nodejs22.x".to_owned(),
                    handler: "index.handler".to_owned(),
                    architecture: "x86_64".to_owned(),
                    memory_mb: 128,
                    timeout_seconds: 10,
                    log_retention_days: 14,
                    environment: Environment::default(),
                    policy: None,
                    managed_policies: BTreeSet::new(),
                    role: None,
                    description: String::new(),
                    ephemeral_storage_mb: 512,
                    tracing: false,
                    log_format: "text".to_owned(),
                    layers: Vec::new(),
                    kms_key: None,
                    reserved_concurrency: None,
                    vpc: None,
                    regional: Vec::new(),
                },
            )]),
            backends: BTreeMap::new(),
            api: Api {
                name: "UserAPI".to_owned(),
                description: "This is the User API".to_owned(),
                stage: "prod".to_owned(),
                throttle: None,
                access_log_days: None,
                tracing: false,
                metrics: false,
                domain: None,
                regional: Vec::new(),
                firewall: None,
            },
            routes: vec![Route {
                verb: "GET".to_owned(),
                path: "/user".to_owned(),
                answerer: Answerer::Function("user".to_owned()),
                scopes: BTreeSet::from([read]),
            }],
        };
        assert_eq!(Config::sample(), sample);
    }

    /// The sample in a checkout is the sample in the program, so `up` here and elsewhere changes nothing.
    #[test]
    fn a_checkout_is_the_sample() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = fs_err::read_to_string(checkout.join("provision.toml")).unwrap();
        let mut config = Config::read(&text, checkout).unwrap();
        let function = config.functions.get_mut("user").unwrap();
        assert_eq!(function.source, Source::Folder(checkout.join("lambda")));
        function.source = Source::Sample;
        assert_eq!(config, Config::sample());
    }
}
