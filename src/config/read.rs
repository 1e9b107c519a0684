//! The text of `provision.toml` to a `Config`: every key, its default, and all problems at once.
//!
//! Must not put the value of an environment variable into a message.
//!
//! Every section is read to its end whatever is wrong with it; what stands in for a bad value never leaves this file,
//! because one problem is enough to return no `Config`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use secrecy::SecretString;
use toml::de::DeTable;

use super::routes::{check_variables, verb_and_path};
use super::rules::{
    ARCHITECTURE, CLIENT, DOMAIN_PREFIX, DOMAIN_WORDS, FUNCTION, HANDLER, IDENTIFIER, REGION, RESERVED_VARIABLES,
    RETENTION_DAYS, RUNTIME, SCOPE, SCOPE_DESCRIPTION, STACK, STAGE, TAG_KEY, TAG_VALUE, TEXT, TIER, VARIABLE,
};
use super::tree::{At, Problems, Table, meant, quoted};
use super::{Api, Client, Config, Environment, Function, Problem, ResourceServer, Route, Source, Throttle, UserPool};

/// What `source` refers to.
pub enum Sources<'a> {
    /// A path from this folder.
    From(&'a Path),
    /// The sample's code in this program.
    Sample,
}

/// The configuration in `text`, for the stack of this name rather than the file's if one is given.
pub fn read(text: &str, sources: &Sources<'_>, stack: Option<&str>) -> Result<Config, Vec<Problem>> {
    // Some editors begin a file with a byte order mark, which is no column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut problems = Problems::default();
    let (tree, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // Their `Display` shows the line, which may hold a secret; the message alone has nothing of the file.
        for error in errors {
            let at = error.span().map_or(text.len(), |span| span.start);
            problems.add(at, format!("not TOML: {}", error.message()));
        }
        let mut problems = problems.placed(text);
        // One slip is often several errors.
        problems.dedup_by_key(|problem| problem.line);
        return Err(problems);
    }
    let config = file(&Table::root(tree.get_ref()), sources, stack, &mut problems);
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems.placed(text))
    }
}

/// Why this name cannot begin a domain prefix.
pub fn domain_word(stack: &str) -> Option<String> {
    let word = DOMAIN_WORDS.into_iter().find(|word| stack.contains(word))?;
    Some(format!(
        "stack {}: a domain prefix begins with this name and must not contain {word:?}; use another name, or set \
         domain_prefix in [user_pool]",
        quoted(stack)
    ))
}

fn file(file: &Table<'_>, sources: &Sources<'_>, given: Option<&str>, problems: &mut Problems) -> Config {
    let p = problems;
    file.only(
        &["stack", "user_pool", "resource_servers", "clients", "functions", "api", "routes"],
        p,
    );
    file.require("stack", "[stack] with at least a name", p);
    file.require(
        "routes",
        "[routes] with at least one, such as \"GET /orders\" = { function = \"orders\", scopes = [\"orders/read\"] }",
        p,
    );

    let (mut name, mut region, mut tags) = (None, None, BTreeMap::new());
    if let Some(table) = file.table("stack", "[stack]", p) {
        table.only(&["name", "region", "tags"], p);
        table.require("name", "the stack's name, which everything in AWS begins with", p);
        name = table.ruled("name", &STACK, p);
        region = table.ruled("region", &REGION, p).map(|found| found.value.to_owned());
        if let Some(table) = table.table("tags", "[stack]: tags", p) {
            tags = read_tags(&table, p);
        }
    }
    let stack = given.or(name.map(|name| name.value));

    let user_pool = user_pool(file, p);
    if let (None, None, Some(name)) = (given, &user_pool.domain_prefix, name)
        && let Some(problem) = domain_word(name.value)
    {
        p.add(name.at, problem);
    }
    let resource_servers = resource_servers(file, p);
    let scopes: BTreeSet<String> = resource_servers
        .iter()
        .flat_map(|(identifier, server)| server.scopes.keys().map(move |scope| format!("{identifier}/{scope}")))
        .collect();
    let clients = clients(file, &scopes, p);
    let functions = functions(file, sources, stack, p);
    let stack = stack.unwrap_or_default();
    let api = api(file, stack, p);
    let routes = routes(file, &functions, &scopes, p);
    Config {
        stack: stack.to_owned(),
        region,
        tags,
        user_pool,
        resource_servers,
        clients,
        functions,
        api,
        routes,
    }
}

fn read_tags(table: &Table<'_>, p: &mut Problems) -> BTreeMap<String, String> {
    // AWS allows 50 of a resource, and two are ours.
    count(table, 48, "tags", p);
    let mut tags = BTreeMap::new();
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut found = table.texts(p);
    found.sort_by_key(|(key, _)| key.at);
    for (key, value) in found {
        p.check(&TAG_KEY, format!("{}: a key", table.name), key);
        for prefix in ["aws:", "provision:"] {
            if key.value.to_ascii_lowercase().starts_with(prefix) {
                p.add(
                    key.at,
                    format!("{}: {} must not begin with {prefix:?}", table.name, quoted(key.value)),
                );
            }
        }
        // IAM takes keys that differ in case for one key.
        if let Some(other) = seen.insert(key.value.to_lowercase(), key.value) {
            p.add(
                key.at,
                format!(
                    "{}: {} and {} differ only in case, and IAM takes both for one",
                    table.name,
                    quoted(key.value),
                    quoted(other)
                ),
            );
        }
        if let Some(value) = value {
            p.check(&TAG_VALUE, table.key(&quoted(key.value)), value);
            tags.insert(key.value.to_owned(), value.value.to_owned());
        }
    }
    tags
}

fn user_pool(file: &Table<'_>, p: &mut Problems) -> UserPool {
    let mut pool = UserPool {
        domain_prefix: None,
        deletion_protection: false,
        tier: "ESSENTIALS".to_owned(),
    };
    let Some(table) = file.table("user_pool", "[user_pool]", p) else {
        return pool;
    };
    table.only(&["domain_prefix", "deletion_protection", "tier"], p);
    // Also where it is wrong: a prefix is given, so that none is made of the stack's name.
    pool.domain_prefix = table.has("domain_prefix").then(String::new);
    if let Some(prefix) = table.ruled("domain_prefix", &DOMAIN_PREFIX, p) {
        if let Some(word) = DOMAIN_WORDS.into_iter().find(|word| prefix.value.contains(word)) {
            p.add(
                prefix.at,
                format!(
                    "{} must not contain {word:?}, which Cognito keeps for itself, and is {}",
                    table.key("domain_prefix"),
                    quoted(prefix.value)
                ),
            );
        }
        pool.domain_prefix = Some(prefix.value.to_owned());
    }
    if let Some(protected) = table.flag("deletion_protection", p) {
        pool.deletion_protection = protected;
    }
    if let Some(tier) = table.ruled("tier", &TIER, p) {
        tier.value.clone_into(&mut pool.tier);
    }
    pool
}

fn resource_servers(file: &Table<'_>, p: &mut Problems) -> BTreeMap<String, ResourceServer> {
    let mut servers = BTreeMap::new();
    let Some(table) = file.table("resource_servers", "[resource_servers]", p) else {
        return servers;
    };
    count(&table, 300, "resource servers", p);
    for (identifier, server) in table.tables(|name| format!("resource server {}", quoted(name)), p) {
        p.check(&IDENTIFIER, "the identifier of a resource server", identifier);
        let mut scopes = BTreeMap::new();
        if let Some(server) = server {
            server.only(&["scopes"], p);
            let needed = "at least one, such as read = \"Read orders\"";
            server.require("scopes", needed, p);
            if let Some(table) = server.table("scopes", format!("scopes of {}", server.name), p) {
                if table.len() == 0 {
                    p.add(table.at, format!("{}: there must be {needed}", table.name));
                }
                scopes = read_scopes(&table, identifier.value, p);
            }
        }
        servers.insert(identifier.value.to_owned(), ResourceServer { scopes });
    }
    servers
}

fn read_scopes(table: &Table<'_>, identifier: &str, p: &mut Problems) -> BTreeMap<String, String> {
    count(table, 100, "scopes of one resource server", p);
    let mut scopes = BTreeMap::new();
    for (scope, description) in table.texts(p) {
        p.check(&SCOPE, format!("{}: a scope", table.name), scope);
        let length = identifier.chars().count() + 1 + scope.value.chars().count();
        if length > 256 {
            p.add(
                scope.at,
                format!(
                    "{}: {} has {length} characters together with its identifier and the `/` between, and Cognito \
                     takes at most 256",
                    table.name,
                    quoted(scope.value)
                ),
            );
        }
        if let Some(description) = description
            && !(SCOPE_DESCRIPTION.holds)(description.value)
        {
            p.add(
                description.at,
                format!(
                    "{}: the description of {} must be {}",
                    table.name,
                    quoted(scope.value),
                    SCOPE_DESCRIPTION.allowed
                ),
            );
        }
        // Also where it is wrong: who refers to it has made no mistake.
        let description = description.map(|found| found.value.to_owned());
        scopes.insert(scope.value.to_owned(), description.unwrap_or_default());
    }
    scopes
}

fn clients(file: &Table<'_>, known: &BTreeSet<String>, p: &mut Problems) -> BTreeMap<String, Client> {
    let mut clients = BTreeMap::new();
    let Some(table) = file.table("clients", "[clients]", p) else {
        return clients;
    };
    count(&table, 10_000, "clients", p);
    for (name, client) in table.tables(|name| format!("client {}", quoted(name)), p) {
        p.check(&CLIENT, "the name of a client", name);
        let Some(client) = client else { continue };
        client.only(&["scopes", "access_token"], p);
        let needed = "at least one, such as [\"orders/read\"]";
        client.require("scopes", needed, p);
        let mut scopes = BTreeSet::new();
        if let Some(list) = client.list("scopes", &format!("an array of {needed}"), p) {
            if list.value.is_empty() {
                p.add(list.at, format!("{}: there must be {needed}", client.key("scopes")));
            }
            scopes = known_scopes(&client, list.value, known, p);
            if scopes.len() > 50 {
                p.add(
                    list.at,
                    format!("{} has {}, and Cognito allows 50", client.key("scopes"), scopes.len()),
                );
            }
        }
        let (shortest, longest) = (5 * 60, 24 * 60 * 60);
        let lifetime = client.duration("access_token", &(shortest..=longest), "\"5m\" to \"24h\"", p);
        let client = Client {
            scopes,
            access_token_seconds: lifetime.unwrap_or(60 * 60),
            // The grant gives none; Cognito wants a lifetime all the same.
            refresh_token_days: 1,
        };
        clients.insert(name.value.to_owned(), client);
    }
    clients
}

/// The full scopes in a list; a problem for each that no resource server has.
fn known_scopes(
    table: &Table<'_>,
    list: Vec<At<&str>>,
    known: &BTreeSet<String>,
    p: &mut Problems,
) -> BTreeSet<String> {
    for scope in &list {
        if !known.contains(scope.value) {
            let meant = meant(scope.value, known.iter().map(String::as_str));
            let there = there_is(known.iter());
            p.add(
                scope.at,
                format!(
                    "{}: no resource server has the scope {}{meant}{there}",
                    table.name,
                    quoted(scope.value)
                ),
            );
        }
    }
    list.into_iter().map(|scope| scope.value.to_owned()).collect()
}

fn functions(
    file: &Table<'_>,
    sources: &Sources<'_>,
    stack: Option<&str>,
    p: &mut Problems,
) -> BTreeMap<String, Function> {
    let mut functions = BTreeMap::new();
    let Some(table) = file.table("functions", "[functions]", p) else {
        return functions;
    };
    let mut found = table.tables(|name| format!("function {}", quoted(name)), p);
    found.sort_by_key(|(name, _)| name.at);
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, function) in found {
        p.check(&FUNCTION, "the name of a function", name);
        check_full_name(name, stack, p);
        if let Some(other) = seen.insert(name.value.to_ascii_lowercase(), name.value) {
            p.add(
                name.at,
                format!(
                    "function {}: its name differs from function {} only in case, and IAM takes their roles for one",
                    quoted(name.value),
                    quoted(other)
                ),
            );
        }
        let function = function.map_or_else(nothing, |function| read_function(&function, sources, p));
        functions.insert(name.value.to_owned(), function);
    }
    functions
}

/// `<stack>-<owner>-<function>` is the name of a role and of a function, and both have at most 64 characters.
fn check_full_name(name: At<&str>, stack: Option<&str>, p: &mut Problems) {
    let Some(stack) = stack else { return };
    let longest = 64 - 2 - 8 - stack.len().min(30);
    let length = name.value.chars().count();
    if length > longest {
        p.add(
            name.at,
            format!(
                "function {}: its name has {length} characters, and may have {longest} in a stack called {}: AWS takes \
                 64 for <stack>-<8 characters>-<function>",
                quoted(name.value),
                quoted(stack)
            ),
        );
    }
}

/// Stands in for a function that is no table.
fn nothing() -> Function {
    Function {
        source: Source::Sample,
        runtime: String::new(),
        handler: String::new(),
        architecture: "x86_64".to_owned(),
        memory_mb: 128,
        timeout_seconds: 10,
        log_retention_days: 14,
        environment: Environment::default(),
    }
}

fn read_function(table: &Table<'_>, sources: &Sources<'_>, p: &mut Problems) -> Function {
    let mut function = nothing();
    table.only(
        &[
            "source",
            "runtime",
            "handler",
            "architecture",
            "memory_mb",
            "timeout",
            "log_retention_days",
            "environment",
        ],
        p,
    );
    table.require("source", "the folder of its code, or a .zip", p);
    table.require("runtime", "a Lambda runtime such as \"nodejs22.x\"", p);
    if let Some(found) = table.text("source", p) {
        match source(found.value, sources) {
            Ok(source) => function.source = source,
            Err(problem) => p.add(found.at, format!("{}: {problem}", table.key("source"))),
        }
    }
    if let Some(runtime) = table.ruled("runtime", &RUNTIME, p) {
        runtime.value.clone_into(&mut function.runtime);
    }
    if let Some(handler) = table.ruled("handler", &HANDLER, p) {
        handler.value.clone_into(&mut function.handler);
    } else if function.runtime.starts_with("provided.") {
        // Its one executable has this name; Lambda wants a handler all the same.
        "bootstrap".clone_into(&mut function.handler);
    } else if !function.runtime.is_empty() {
        table.require(
            "handler",
            &format!(
                "what {} calls, such as \"index.handler\"",
                quoted(&function.runtime)
            ),
            p,
        );
    }
    if let Some(architecture) = table.ruled("architecture", &ARCHITECTURE, p) {
        architecture.value.clone_into(&mut function.architecture);
    }
    if let Some(memory) = table.integer("memory_mb", &(128..=10_240), " megabytes", p) {
        function.memory_mb = memory.value;
    }
    if let Some(timeout) = table.duration("timeout", &(1..=900), "\"1s\" to \"15m\"", p) {
        function.timeout_seconds = timeout;
    }
    if let Some(days) = table.integer("log_retention_days", &(1..=3653), " days", p) {
        if !RETENTION_DAYS.contains(&days.value) {
            p.add(
                days.at,
                format!(
                    "{} must be one of {}, and is {}",
                    table.key("log_retention_days"),
                    RETENTION_DAYS.map(|days| days.to_string()).join(", "),
                    days.value
                ),
            );
        }
        function.log_retention_days = days.value;
    }
    if let Some(table) = table.table("environment", format!("environment of {}", table.name), p) {
        function.environment = environment(&table, p);
    }
    function
}

fn source(text: &str, sources: &Sources<'_>) -> Result<Source, String> {
    let folder = match sources {
        Sources::From(folder) => folder,
        Sources::Sample => return Ok(Source::Sample),
    };
    if text.is_empty() {
        return Err("it must be a folder or a .zip, and is empty".to_owned());
    }
    let path = folder.join(text);
    match path.metadata() {
        Ok(about) if about.is_dir() => Ok(Source::Folder(path)),
        Ok(about) if about.is_file() && is_zip(&path) => Ok(Source::Zip(path)),
        Ok(_) => Err(format!("{} is neither a folder nor a .zip", quoted(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
            "there is no {} in the folder of this file; it must be a folder or a .zip",
            quoted(text)
        )),
        Err(error) => Err(format!("{} cannot be read: {}", quoted(text), error.kind())),
    }
}

fn is_zip(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("zip"))
}

fn environment(table: &Table<'_>, p: &mut Problems) -> Environment {
    let mut plain = BTreeMap::new();
    for (name, value) in table.texts(p) {
        if RESERVED_VARIABLES.contains(&name.value) {
            p.add(
                name.at,
                format!("{}: Lambda sets {} itself; use another name", table.name, name.value),
            );
        } else {
            p.check(&VARIABLE, format!("{}: a name", table.name), name);
        }
        if let Some(value) = value {
            plain.insert(name.value, value.value);
        }
    }
    // Lambda measures them as JSON, and its own error repeats them all, values included: better never to see it.
    let size = serde_json::to_string(&plain).map_or(0, |json| json.len());
    if size > 4096 {
        p.add(
            table.at,
            format!("{}: it has {size} bytes as JSON, and Lambda takes at most 4096", table.name),
        );
    }
    Environment(
        plain
            .into_iter()
            .map(|(name, value)| (name.to_owned(), SecretString::from(value)))
            .collect(),
    )
}

fn api(file: &Table<'_>, stack: &str, p: &mut Problems) -> Api {
    let mut api = Api {
        name: stack.to_owned(),
        description: format!("API of stack {stack}"),
        stage: "prod".to_owned(),
        throttle: None,
    };
    let Some(table) = file.table("api", "[api]", p) else {
        return api;
    };
    table.only(&["name", "description", "stage", "throttle"], p);
    if let Some(name) = table.ruled("name", &TEXT, p) {
        name.value.clone_into(&mut api.name);
    }
    if let Some(description) = table.ruled("description", &TEXT, p) {
        description.value.clone_into(&mut api.description);
    }
    if let Some(stage) = table.ruled("stage", &STAGE, p) {
        stage.value.clone_into(&mut api.stage);
    }
    if let Some(table) = table.table("throttle", "[api]: throttle", p) {
        table.only(&["rate", "burst"], p);
        table.require("rate", "requests a second, such as 100", p);
        table.require("burst", "requests at once, such as 200", p);
        let rate = table.number("rate", p);
        let burst = table.integer("burst", &(0..=i32::MAX), " requests", p);
        if let Some(rate) = rate.filter(|rate| !(rate.value > 0.0 && rate.value.is_finite())) {
            p.add(
                rate.at,
                format!("{} must be more than 0, and is {}", table.key("rate"), rate.value),
            );
        }
        if let (Some(rate), Some(burst)) = (rate, burst) {
            api.throttle = Some(Throttle {
                rate: rate.value,
                burst: burst.value,
            });
        }
    }
    api
}

/// In the order of their names, so that moving a line of the file changes nothing in AWS.
fn routes(
    file: &Table<'_>,
    functions: &BTreeMap<String, Function>,
    known: &BTreeSet<String>,
    p: &mut Problems,
) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut good = Vec::new();
    let Some(table) = file.table("routes", "[routes]", p) else {
        return routes;
    };
    if table.len() == 0 {
        p.add(table.at, "[routes]: there must be at least one: API Gateway deploys no API without");
    }
    for (name, route) in table.tables(|name| format!("route {}", quoted(name)), p) {
        let place = verb_and_path(name, p);
        if place.is_some() {
            good.push(name);
        }
        let Some(route) = route else { continue };
        route.only(&["function", "scopes"], p);
        route.require("function", "the name of the function that answers", p);
        let function = route.text("function", p);
        if let Some(function) = function.filter(|function| !functions.contains_key(function.value)) {
            let meant = meant(function.value, functions.keys().map(String::as_str));
            let there = there_is(functions.keys());
            p.add(
                function.at,
                format!("{}: there is no function {}{meant}{there}", route.name, quoted(function.value)),
            );
        }
        let why = "at least one, such as [\"orders/read\"]: without, API Gateway takes ID tokens only, and every \
                   client gets 401";
        route.require("scopes", why, p);
        let mut scopes = BTreeSet::new();
        if let Some(list) = route.list("scopes", "an array of scopes such as [\"orders/read\"]", p) {
            if list.value.is_empty() {
                p.add(list.at, format!("{}: there must be {why}", route.key("scopes")));
            }
            scopes = known_scopes(&route, list.value, known, p);
        }
        if let (Some((verb, path)), Some(function)) = (place, function) {
            routes.push(Route {
                verb: verb.to_owned(),
                path: path.to_owned(),
                function: function.value.to_owned(),
                scopes,
            });
        }
    }
    check_variables(good, p);
    routes
}

/// What there is to choose from, as long as it fits a line.
fn there_is<'k>(known: impl ExactSizeIterator<Item = &'k String>) -> String {
    match known.len() {
        0 => " (there is none)".to_owned(),
        1..=6 => format!(" (there is {})", known.map(|name| quoted(name)).collect::<Vec<_>>().join(", ")),
        number => format!(" (there are {number})"),
    }
}

fn count(table: &Table<'_>, most: usize, what: &str, p: &mut Problems) {
    if table.len() > most {
        p.add(
            table.at,
            format!("{}: it has {} entries, and {most} {what} are allowed", table.name, table.len()),
        );
    }
}
