//! What a stack should consist of, checked completely before anything is asked of AWS.
//!
//! Must not know AWS, the engine or the state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

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

impl Config {
    /// The stack of `provision up` in an empty folder.
    pub fn sample() -> Self {
        let read = "OauthResourceServer/user.read".to_owned();
        let write = "OauthResourceServer/user.write".to_owned();
        let scope = |name: &str, description: &str| (name.to_owned(), description.to_owned());
        Self {
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
        }
    }

    /// All that AWS would refuse, or that could never work; empty if nothing. Each is a sentence that names the place.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.check_stack(&mut problems);
        self.check_scopes(&mut problems);
        for name in self.functions.keys() {
            // `<stack>-<owner>-<name>` is the role's and the function's name, of at most 64 characters.
            let longest = 64 - 2 - 8 - self.stack.len().min(30);
            if !all(name, |c| c.is_ascii_alphanumeric() || c == '-' || c == '_') || name.len() > longest {
                problems.push(format!(
                    "function {name:?}: a name is 1 to {longest} letters, digits, `-` and `_` in a stack called {}",
                    self.stack
                ));
            }
        }
        if !all(&self.api.stage, |c| {
            c.is_ascii_alphanumeric() || c == '-' || c == '_'
        }) || self.api.stage.len() > 128
        {
            problems.push(format!(
                "stage {:?}: a name is 1 to 128 letters, digits, `-` and `_`",
                self.api.stage
            ));
        }
        self.check_routes(&mut problems);
        problems
    }

    fn check_stack(&self, problems: &mut Vec<String>) {
        let name = &self.stack;
        let pattern = (2..=30).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && all(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !pattern {
            problems.push(format!(
                "stack {name:?}: a name is 2 to 30 lower-case letters, digits and `-`, and begins with a letter"
            ));
        }
        // It begins the domain prefix, where Cognito refuses these.
        for word in ["aws", "amazon", "cognito"] {
            if name.contains(word) {
                problems.push(format!(
                    "stack {name:?}: a domain prefix must not contain {word:?}"
                ));
            }
        }
    }

    fn check_scopes(&self, problems: &mut Vec<String>) {
        // Cognito's patterns: printable ASCII without `"` and `\`; in a scope also without `/`.
        let printable = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
        for (identifier, server) in &self.resource_servers {
            if !all(identifier, printable) || identifier.len() > 256 {
                problems.push(format!(
                    "resource server {identifier:?}: an identifier is 1 to 256 printable ASCII characters without \
                     spaces, `\"` and `\\`"
                ));
            }
            if server.scopes.len() > 100 {
                problems.push(format!(
                    "resource server {identifier:?}: it has {} scopes and AWS allows 100",
                    server.scopes.len()
                ));
            }
            for (scope, description) in &server.scopes {
                if !all(scope, |c| printable(c) && c != '/') || identifier.len() + 1 + scope.len() > 256 {
                    problems.push(format!(
                        "scope {scope:?} of resource server {identifier:?}: a scope is printable ASCII without spaces, \
                         `\"`, `\\` and `/`, at most 256 characters together with its identifier"
                    ));
                }
                if description.is_empty() || description.chars().count() > 256 {
                    problems.push(format!(
                        "scope {scope:?} of resource server {identifier:?}: a description is 1 to 256 characters"
                    ));
                }
            }
        }
        for (name, client) in &self.clients {
            let pattern = |c: char| c.is_alphanumeric() || c.is_ascii_whitespace() || "_+=,.@-".contains(c);
            if !all(name, pattern) || name.chars().count() > 128 {
                problems.push(format!(
                    "client {name:?}: a name is 1 to 128 letters, digits, spaces and `_+=,.@-`"
                ));
            }
            self.check_scope_names(&format!("client {name:?}"), &client.scopes, problems);
        }
    }

    fn check_scope_names(&self, place: &str, scopes: &BTreeSet<String>, problems: &mut Vec<String>) {
        if scopes.is_empty() {
            problems.push(format!("{place}: it needs at least one scope"));
        }
        for scope in scopes {
            let known = scope.rsplit_once('/').is_some_and(|(identifier, scope)| {
                self.resource_servers
                    .get(identifier)
                    .is_some_and(|server| server.scopes.contains_key(scope))
            });
            if !known {
                problems.push(format!("{place}: no resource server has the scope {scope:?}"));
            }
        }
    }

    fn check_routes(&self, problems: &mut Vec<String>) {
        const VERBS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "ANY"];
        let mut seen = BTreeSet::new();
        for route in &self.routes {
            let place = format!("route \"{} {}\"", route.verb, route.path);
            if !VERBS.contains(&route.verb.as_str()) {
                problems.push(format!("{place}: a verb is one of {}", VERBS.join(", ")));
            }
            if !seen.insert((&route.verb, &route.path)) {
                problems.push(format!("{place}: it is there twice"));
            }
            if !route.path.starts_with('/') || route.path.len() > 1 && route.path.ends_with('/') {
                problems.push(format!(
                    "{place}: a path begins with `/` and does not end with one"
                ));
            } else if let Some(part) = parts(&route.path).find(|part| !is_part(part)) {
                problems.push(format!(
                    "{place}: the path part {part:?} is not letters, digits and `_-.,:`, nor {{name}} or {{name+}}"
                ));
            }
            if !self.functions.contains_key(&route.function) {
                problems.push(format!("{place}: there is no function {:?}", route.function));
            }
            if route.scopes.is_empty() {
                problems.push(format!(
                    "{place}: without a scope API Gateway wants an ID token, so that every client would get 401"
                ));
            } else {
                self.check_scope_names(&place, &route.scopes, problems);
            }
        }
        if self.routes.is_empty() {
            problems.push("an API needs at least one route: AWS deploys none without a method".to_owned());
        }
    }
}

/// The parts of a path: `/a/{b}` has `a` and `{b}`, `/` has none.
pub fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/')
        .filter(|rest| !rest.is_empty())
        .into_iter()
        .flat_map(|rest| rest.split('/'))
}

/// Whether API Gateway takes it as a path part.
fn is_part(part: &str) -> bool {
    let variable = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
    let name = variable.map_or(part, |name| name.strip_suffix('+').unwrap_or(name));
    all(name, |c| c.is_ascii_alphanumeric() || "_-.,:".contains(c))
}

fn all(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_no_problems() {
        assert_eq!(Config::sample().problems(), Vec::<String>::new());
    }

    /// Each edit of the sample has exactly the problem that contains these words.
    #[test]
    fn what_aws_would_refuse_is_a_problem() {
        type Edit = fn(&mut Config);
        let cases: &[(Edit, &str)] = &[
            (|c| c.stack = "User".into(), "2 to 30 lower-case"),
            (|c| c.stack = "u".into(), "2 to 30 lower-case"),
            (|c| c.stack = "1user".into(), "begins with a letter"),
            (|c| c.stack = "a".repeat(31), "2 to 30 lower-case"),
            (|c| c.stack = "my-cognito".into(), "must not contain \"cognito\""),
            (|c| c.stack = "laws".into(), "must not contain \"aws\""),
            (|c| c.api.stage = "a/b".into(), "stage \"a/b\""),
            (|c| c.routes[0].path = "user".into(), "begins with `/`"),
            (|c| c.routes[0].path = "/user/".into(), "does not end with one"),
            (|c| c.routes[0].path = "/us er".into(), "path part \"us er\""),
            (|c| c.routes[0].path = "/a{id}".into(), "path part \"a{id}\""),
            (|c| c.routes[0].verb = "FETCH".into(), "a verb is one of"),
            (|c| c.routes[0].function = "other".into(), "no function \"other\""),
            (|c| c.routes[0].scopes.clear(), "every client would get 401"),
            (
                |c| c.routes[0].scopes = ["x/y".into()].into(),
                "no resource server has the scope \"x/y\"",
            ),
            (|c| c.routes.clear(), "at least one route"),
            (|c| c.routes.push(c.routes[0].clone()), "there twice"),
            (
                |c| c.clients.get_mut("app").unwrap().scopes.clear(),
                "client \"app\": it needs at least one scope",
            ),
            (
                |c| {
                    let scopes = &mut c.resource_servers.get_mut("OauthResourceServer").unwrap().scopes;
                    scopes.insert("a b".into(), "d".into());
                },
                "scope \"a b\"",
            ),
            (
                |c| {
                    let scopes = &mut c.resource_servers.get_mut("OauthResourceServer").unwrap().scopes;
                    scopes.insert("a".into(), String::new());
                },
                "a description is 1 to 256",
            ),
            (
                |c| {
                    let function = c.functions["user"].clone();
                    c.functions.insert("f".repeat(60), function);
                },
                "a name is 1 to 46 letters",
            ),
        ];
        for (edit, words) in cases {
            let mut config = Config::sample();
            edit(&mut config);
            let problems = config.problems();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(
                problems[0].contains(words),
                "{words:?} is not in {:?}",
                problems[0]
            );
        }
    }

    #[test]
    fn a_path_has_parts() {
        assert_eq!(parts("/").count(), 0);
        assert_eq!(parts("/a/{b}").collect::<Vec<_>>(), ["a", "{b}"]);
        assert_eq!(parts("/a//b").collect::<Vec<_>>(), ["a", "", "b"]);
    }
}
