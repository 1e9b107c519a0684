//! What a stack should consist of, checked completely before anything is asked of AWS.
//!
//! Must not know AWS, the engine or the state.

mod functions;
mod problems;
mod read;
mod routes;
mod rules;
mod scopes;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use self::read::Sources;
pub use self::routes::parts;

/// Everything that one stack consists of.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The stack's name: `[a-z][a-z0-9-]{1,29}`.
    pub stack: String,
    /// The AWS region; `None`: the usual AWS sources say.
    pub region: Option<String>,
    /// The user's own tags of everything that AWS lets be tagged.
    pub tags: BTreeMap<String, String>,
    /// The user pool.
    pub user_pool: UserPool,
    /// By identifier.
    pub resource_servers: BTreeMap<String, ResourceServer>,
    /// By name.
    pub clients: BTreeMap<String, Client>,
    /// By name.
    pub functions: BTreeMap<String, Function>,
    /// The API that the routes are of.
    pub api: Api,
    /// Each verb once a path.
    pub routes: Vec<Route>,
}

/// The user pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPool {
    /// The prefix of the token endpoint's host name; `None`: `<stack>-<owner>`.
    pub domain_prefix: Option<String>,
    /// Whether AWS refuses to delete it.
    pub deletion_protection: bool,
    /// `LITE`, `ESSENTIALS` or `PLUS`.
    pub tier: String,
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
    /// How long an access token is good for, in seconds.
    pub access_token_seconds: i32,
    /// How long a refresh token is good for, in days.
    pub refresh_token_days: i32,
    /// The name or ARN of the secret of Secrets Manager that commands read its secret from; `None`: Cognito answers it.
    pub secret_from: Option<String>,
}

/// A function that answers routes.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its code.
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
    /// Its environment variables.
    pub environment: Environment,
}

/// Environment variables by name. Their values may be secrets: they are neither printed nor recorded.
#[derive(Clone, Default)]
pub struct Environment(pub BTreeMap<String, SecretString>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl PartialEq for Environment {
    fn eq(&self, other: &Self) -> bool {
        let plain =
            |(name, value): (&String, &SecretString)| (name.clone(), value.expose_secret().to_owned());
        self.0.iter().map(plain).eq(other.0.iter().map(plain))
    }
}

/// Where a function's code is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The sample that is part of this program.
    Sample,
    /// A folder, which is zipped.
    Folder(PathBuf),
    /// A zip as it is.
    Zip(PathBuf),
}

/// The REST API.
#[derive(Clone, Debug, PartialEq)]
pub struct Api {
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// The stage's name, the last part of the API's URL.
    pub stage: String,
    /// The most requests that the stage lets through; `None`: the account's limits.
    pub throttle: Option<Throttle>,
}

/// A limit on requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttle {
    /// Requests a second, over time.
    pub rate: f64,
    /// Requests at once.
    pub burst: i32,
}

/// A verb of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Such as `GET`, or `ANY`.
    pub verb: String,
    /// Such as `/user`.
    pub path: String,
    /// The name of the function that answers.
    pub function: String,
    /// Full scopes, any one of which admits.
    pub scopes: BTreeSet<String>,
}

/// Something in the file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong and what is allowed; never the value of an environment variable.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl Config {
    /// The configuration in the text of a file; a relative `source` is looked for in `folder`.
    ///
    /// # Errors
    /// All that AWS would refuse, or that could never work, in the order of the file.
    pub fn read(text: &str, folder: &Path) -> Result<Self, Vec<Problem>> {
        read::read(text, &Sources::From(folder), None)
    }

    /// The same for a stack of another name than the file's, on which lengths and defaults depend.
    pub fn read_as(text: &str, folder: &Path, stack: &str) -> Result<Self, Vec<Problem>> {
        read::read(text, &Sources::From(folder), Some(stack))
    }

    /// The stack of `provision up` in a folder without a `provision.toml`: the one at the root of this repository.
    pub fn sample() -> Self {
        read::read(include_str!("../../provision.toml"), &Sources::Sample, None)
            .expect("the tests read the sample, which is part of this program")
    }

    /// The same under another name, which [`check_stack`] has found nothing wrong with.
    ///
    /// # Errors
    /// The name cannot begin a domain prefix, and no other prefix is configured.
    pub fn renamed(mut self, stack: &str) -> Result<Self, String> {
        stack.clone_into(&mut self.stack);
        match read::domain_word(stack) {
            Some(problem) if self.user_pool.domain_prefix.is_none() => Err(problem),
            _ => Ok(self),
        }
    }
}

/// What is wrong with a stack's name, if anything.
pub fn check_stack(name: &str) -> Result<(), String> {
    let rule = rules::STACK;
    if (rule.holds)(name) {
        Ok(())
    } else {
        Err(format!(
            "stack {}: a name must be {}",
            problems::quoted(name),
            rule.allowed
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_what_it_always_was() {
        let read = "OauthResourceServer/user.read".to_owned();
        let write = "OauthResourceServer/user.write".to_owned();
        let scope = |name: &str, description: &str| (name.to_owned(), description.to_owned());
        let sample = Config {
            stack: "user-api".to_owned(),
            region: None,
            tags: BTreeMap::new(),
            user_pool: UserPool {
                domain_prefix: None,
                deletion_protection: false,
                tier: "ESSENTIALS".to_owned(),
            },
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
                },
            )]),
            api: Api {
                name: "UserAPI".to_owned(),
                description: "This is the User API".to_owned(),
                stage: "prod".to_owned(),
                throttle: None,
            },
            routes: vec![Route {
                verb: "GET".to_owned(),
                path: "/user".to_owned(),
                function: "user".to_owned(),
                scopes: BTreeSet::from([read]),
            }],
        };
        assert_eq!(Config::sample(), sample);
    }

    /// What is in a checkout is what is in the program, so that `up` here and elsewhere changes nothing.
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
