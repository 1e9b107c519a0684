//! From the text of `provision.toml` to a `Config`: every key, its default, and all problems at once.
//!
//! Must not put the value of an environment variable into a message.
//!
//! Every section is read to its end, whatever is wrong in it. A value that stands in for an invalid one is never
//! returned, because there is no `Config` if there is a problem.

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::backends::backends;
use super::domains::{api_domain, pool_domain};
use super::functions::functions;
use super::keys;
use super::overlay;
use super::problems::{Problems, quoted};
use super::routes::routes;
use super::rules::{DOMAIN_WORDS, TAG_KEY, TAG_VALUE};
use super::scopes::{Scopes, clients, resource_servers};
use super::stage::stage;
use super::tree::Table;
use super::{Api, Chosen, Config, Problem, Regional, SharedPool, Sources, StateSettings, Throttle, UserPool};
use crate::location::Location;

/// The configuration that is chosen of those in `text`.
pub(super) fn read(text: &str, sources: &Sources<'_>, chosen: Chosen<'_>) -> Result<Config, Vec<Problem>> {
    // Some editors begin a file with a byte order mark, which does not count as a column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut problems = Problems::of(text);
    let (mut tree, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax_problems(text, errors));
    }
    overlay::apply(tree.get_mut(), chosen.env, &mut problems);
    let config = file(&Table::root(tree.get_ref()), sources, chosen.stack, &mut problems);
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems.placed())
    }
}

/// Where the states are according to `text`, and the account of the environment; nothing else is looked at.
pub(super) fn places_of(
    text: &str,
    env: Option<&str>,
) -> Result<(StateSettings, Option<String>), Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut problems = Problems::of(text);
    let (mut tree, errors) = DeTable::parse_recoverable(text);
    // Otherwise the environment may be missing for that reason alone.
    if env.is_some() && !errors.is_empty() {
        return Err(syntax_problems(text, errors));
    }
    let applied = overlay::apply(tree.get_mut(), env, &mut problems);
    let found = match Table::root(tree.get_ref()).table("stack", "[stack]", &mut problems) {
        Some(stack) => state(&stack, &mut problems),
        None => StateSettings::default(),
    };
    if problems.is_empty() {
        Ok((found, applied.and_then(|applied| applied.account)))
    } else {
        Err(problems.placed())
    }
}

/// Duplicate keys, up to the first place where the text is not TOML: errors after that place often follow from it.
fn syntax_problems(text: &str, mut errors: Vec<toml::de::Error>) -> Vec<Problem> {
    let at = |error: &toml::de::Error| error.span().map_or(text.len(), |span| span.start);
    errors.sort_by_key(at);
    let slip = errors.iter().position(|error| error.message() != DUPLICATE);
    errors.truncate(slip.map_or(errors.len(), |slip| slip + 1));
    let mut problems = Problems::of(text);
    for error in &errors {
        // Its `Display` would show the line, which may contain a secret; the message contains nothing of the file.
        problems.add(at(error), format!("invalid TOML: {}", syntax(error.message())));
    }
    problems.placed()
}

/// The parser's message for a key that is already in its table.
const DUPLICATE: &str = "duplicate key";

/// The parser's message, with a hint where the message alone helps little.
fn syntax(message: &str) -> String {
    let number = ["invalid float", "invalid integer", "invalid boolean"];
    if number.into_iter().any(|start| message.starts_with(start)) {
        format!("{message}; a string must be in quotes")
    } else if message == DUPLICATE {
        "duplicate key; it is already in this table, further up".to_owned()
    } else {
        message.to_owned()
    }
}

/// Why this name cannot begin a domain prefix.
pub(super) fn domain_word(stack: &str) -> Option<String> {
    let word = DOMAIN_WORDS.into_iter().find(|word| stack.contains(word))?;
    Some(format!(
        "stack {}: a domain prefix begins with this name and must not contain {word:?}; use another name, or set \
         domain_prefix in [user_pool]",
        quoted(stack)
    ))
}

fn file(file: &Table<'_>, sources: &Sources<'_>, given: Option<&str>, problems: &mut Problems) -> Config {
    let p = problems;
    file.only(&keys::FILE.names(), p);
    if !file.has("stack") {
        p.add(0, "[stack] is required, with at least the stack's name");
    }
    if !file.has("routes") {
        without_routes(file, p);
    }

    let (mut name, mut region, mut tags) = (None, None, BTreeMap::new());
    let mut state = StateSettings::default();
    let (mut permissions_boundary, mut role_path) = (None, "/");
    if let Some(table) = file.table("stack", "[stack]", p) {
        table.only(&keys::STACK.names(), p);
        table.require("name", "the stack's name, which everything in AWS begins with", p);
        name = table.ruled("name", keys::STACK.rule("name"), p);
        region = table
            .ruled("region", keys::STACK.rule("region"), p)
            .map(|found| found.value.to_owned());
        state = self::state(&table, p);
        if let Some(table) = table.table("tags", "[stack]: tags", p) {
            tags = read_tags(&table, p);
        }
        permissions_boundary = table
            .ruled(
                "permissions_boundary",
                keys::STACK.rule("permissions_boundary"),
                p,
            )
            .map(|found| found.value.to_owned());
        if let Some(path) = table.ruled("role_path", keys::STACK.rule("role_path"), p) {
            role_path = path.value;
        }
    }
    let stack = given.or(name.map(|name| name.value));

    let user_pool = user_pool(file, p);
    if let (None, None, None, Some(name)) = (given, &user_pool.domain_prefix, &user_pool.shared, name)
        && let Some(problem) = domain_word(name.value)
    {
        p.add(name.at, problem);
    }
    let resource_servers = resource_servers(file, p);
    let mut scopes = Scopes::of(&resource_servers, user_pool.shared.is_some());
    let clients = clients(file, stack.unwrap_or_default(), &mut scopes, p);
    let functions = functions(file, sources, stack, p);
    let backends = backends(file, &functions, p);
    let stack = stack.unwrap_or_default();
    let api = api(file, stack, p);
    let routes = routes(file, &functions, &backends, &mut scopes, p);
    Config {
        stack: stack.to_owned(),
        region,
        state,
        tags,
        permissions_boundary,
        role_path: role_path.to_owned(),
        user_pool,
        foreign_scopes: scopes.foreign,
        resource_servers,
        clients,
        functions,
        backends,
        api,
        routes,
    }
}

/// A stack may have only a part of what there can be, but what answers routes is of no use without one.
fn without_routes(file: &Table<'_>, p: &mut Problems) {
    let example = "\"GET /orders\" = { function = \"orders\", scopes = [\"orders/read\"] }";
    let needed = format!("[routes] is required, with at least one route, such as {example}");
    let answering = ["functions", "backends", "api"]
        .into_iter()
        .find(|key| file.has(key));
    match answering {
        Some(key) => {
            let at = file.any(key).map_or(0, |found| found.at);
            p.add(at, format!("[{key}] is for routes: {needed}"));
        }
        None if file.has("user_pool") => {}
        None => p.add(
            0,
            format!("{needed}; a stack without an API needs [user_pool], its own or a shared one"),
        ),
    }
}

fn location(table: &Table<'_>, p: &mut Problems) -> Option<Location> {
    let found = table.text("state", p)?;
    match found.value.parse() {
        Ok(parsed) => Some(parsed),
        Err(problem) => {
            p.add(found.at, format!("{}: {problem}", table.key("state")));
            None
        }
    }
}

fn state(table: &Table<'_>, p: &mut Problems) -> StateSettings {
    let location = location(table, p);
    let mut text = |key| {
        let found = table.ruled(key, keys::STACK.rule(key), p);
        found.map(|found| found.value.to_owned())
    };
    StateSettings {
        location,
        account: text("state_account"),
        kms_key: text("state_kms_key"),
    }
}

fn read_tags(table: &Table<'_>, p: &mut Problems) -> BTreeMap<String, String> {
    // AWS allows 50 tags on a resource, and two are provision's.
    table.at_most(48, "tags", p);
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
                    format!(
                        "{}: {} must not begin with {prefix:?}",
                        table.name,
                        quoted(key.value)
                    ),
                );
            }
        }
        // IAM ignores the case of keys.
        if let Some(other) = seen.insert(key.value.to_lowercase(), key.value) {
            p.add(
                key.at,
                format!(
                    "{}: {} and {} differ only in case, and IAM ignores the case of keys",
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
        domain: None,
        shared: None,
    };
    let Some(table) = file.table("user_pool", "[user_pool]", p) else {
        return pool;
    };
    table.only(&keys::USER_POOL.names(), p);
    pool.shared = shared_pool(&table, p);
    // Also if it is invalid: then there is no second problem because of the stack's name.
    pool.domain_prefix = table.has("domain_prefix").then(String::new);
    if let Some(prefix) = table.ruled("domain_prefix", keys::USER_POOL.rule("domain_prefix"), p) {
        if let Some(word) = DOMAIN_WORDS.into_iter().find(|word| prefix.value.contains(word)) {
            p.add(
                prefix.at,
                format!(
                    "{}: expected a prefix without {word:?}, which Cognito reserves, got {}",
                    table.key("domain_prefix"),
                    quoted(prefix.value)
                ),
            );
        }
        pool.domain_prefix = Some(prefix.value.to_owned());
    }
    if let Some(table) = table.table("domain", "[user_pool.domain]", p) {
        pool.domain = pool_domain(&table, p);
    }
    if let Some(protected) = table.flag("deletion_protection", p) {
        pool.deletion_protection = protected;
    }
    if let Some(tier) = table.ruled("tier", keys::USER_POOL.rule("tier"), p) {
        tier.value.clone_into(&mut pool.tier);
    }
    pool
}

/// The pool that somebody else made. Also if what is said of it is invalid: then scopes of others are no second problem.
fn shared_pool(table: &Table<'_>, p: &mut Problems) -> Option<SharedPool> {
    let id = table.ruled("id", keys::USER_POOL.rule("id"), p);
    let stack = table.ruled("stack", keys::USER_POOL.rule("stack"), p);
    let state = location(table, p);
    let is_shared = table.has("id") || table.has("stack");
    if let (true, Some(second)) = (table.has("id"), table.any("stack")) {
        p.add(
            second.at,
            format!("{}: expected id or stack, not both", table.name),
        );
    }
    if let (false, Some(found)) = (table.has("stack"), table.any("state")) {
        let key = table.key("state");
        p.add(
            found.at,
            format!("{key} says where the state of `stack` is, which is not there"),
        );
    }
    for key in ["domain_prefix", "deletion_protection", "tier", "domain"] {
        if let (true, Some(found)) = (is_shared, table.any(key)) {
            let key = table.key(key);
            p.add(
                found.at,
                format!("{key} is for a pool of this stack's own: whoever made the shared one sets it"),
            );
        }
    }
    match (id, stack) {
        (Some(id), _) => Some(SharedPool::Id {
            id: id.value.to_owned(),
            regional: Regional {
                region: id.value.split('_').next().unwrap_or_default().to_owned(),
                problem: p.later(id.at, table.key("id")),
            },
        }),
        (None, stack) => is_shared.then(|| SharedPool::Stack {
            name: stack.map_or_else(String::new, |stack| stack.value.to_owned()),
            state,
        }),
    }
}

fn api(file: &Table<'_>, stack: &str, p: &mut Problems) -> Api {
    let mut api = Api {
        name: stack.to_owned(),
        description: format!("API of stack {stack}"),
        stage: "prod".to_owned(),
        throttle: None,
        access_log_days: None,
        tracing: false,
        metrics: false,
        domain: None,
        regional: Vec::new(),
        firewall: None,
    };
    let Some(table) = file.table("api", "[api]", p) else {
        return api;
    };
    table.only(&keys::API.names(), p);
    stage(&table, &mut api, p);
    if let Some(name) = table.ruled("name", keys::API.rule("name"), p) {
        name.value.clone_into(&mut api.name);
    }
    if let Some(description) = table.ruled("description", keys::API.rule("description"), p) {
        description.value.clone_into(&mut api.description);
    }
    if let Some(stage) = table.ruled("stage", keys::API.rule("stage"), p) {
        stage.value.clone_into(&mut api.stage);
    }
    if let Some(table) = table.table("domain", "[api.domain]", p) {
        api.domain = api_domain(&table, &mut api.regional, p);
    }
    if let Some(table) = table.table("throttle", "[api]: throttle", p) {
        table.only(&keys::THROTTLE.names(), p);
        table.require("rate", "requests a second, such as 100", p);
        table.require("burst", "requests at once, such as 200", p);
        let rate = table.number("rate", p);
        let burst = table.integer("burst", &keys::THROTTLE.range("burst"), " requests", p);
        if let Some(rate) = rate.filter(|rate| !(rate.value > 0.0 && rate.value.is_finite())) {
            p.add(
                rate.at,
                format!(
                    "{}: expected a finite number above 0, got {}",
                    table.key("rate"),
                    rate.value
                ),
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
