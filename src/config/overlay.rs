//! The environments: what the file changes for one of them, put over the rest of the file.
//!
//! Must not know what a key of the file means, apart from the stack's name.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys;
use super::problems::{At, Problems, meant, quoted};
use super::rules::{ENVIRONMENT, ENVIRONMENT_PATTERN};
use super::tree::Table;

/// Where the environments are in the file.
const ENV: &str = "env";

/// A key and its value.
type Entry<'t> = (Spanned<DeString<'t>>, Spanned<DeValue<'t>>);

/// The environment that was put over the file.
pub(super) struct Applied {
    /// The name of its table, which may be a pattern.
    pub table: String,
    /// The account that it belongs to; `None`: any.
    pub account: Option<String>,
}

/// Puts what the environment changes over `tree`, from which all environments are taken out. Values keep their places, so a
/// problem of a changed value is told with its line in the environment.
pub(super) fn apply(tree: &mut DeTable<'_>, env: Option<&str>, p: &mut Problems) -> Option<Applied> {
    let file = Table::root(tree);
    let mut chosen = None;
    if let Some(envs) = file.table(ENV, "[env]", p) {
        let tables = envs.tables(|name| format!("environment {}", quoted(name)), p);
        let accounts: Vec<_> = (tables.into_iter())
            .map(|(name, table)| (name, table.and_then(|table| check(name, &table, p))))
            .collect();
        chosen = env.and_then(|env| choose(env, &accounts, p));
    } else if let Some(env) = env.filter(|_| !file.has(ENV)) {
        p.add(
            0,
            format!(
                "environment {} not found: the file has no [env.{env}]",
                quoted(env)
            ),
        );
    }
    let envs = tree.remove(ENV)?;
    if let (Some(env), Some(chosen), DeValue::Table(mut envs)) = (env, &chosen, envs.into_inner())
        && let Some(overlay) = envs.remove(chosen.table.as_str())
        && let DeValue::Table(overlay) = overlay.into_inner()
    {
        let is_named = overlay
            .get("stack")
            .and_then(|stack| stack.get_ref().as_table())
            .is_some_and(|stack| stack.contains_key("name"));
        // What the file does not have is a problem already.
        let changeable = keys::FILE.changeable();
        merge(
            tree,
            overlay
                .into_iter()
                .filter(|(key, _)| changeable.contains(&key.get_ref().as_ref())),
        );
        if !is_named {
            extend_name(tree, env);
        }
    }
    chosen
}

/// Checks an environment as far as that is possible without the rest of the file. Returns its account.
fn check(name: At<&str>, table: &Table<'_>, p: &mut Problems) -> Option<String> {
    p.check(&ENVIRONMENT_PATTERN, "the name of an environment", name);
    table.only(&[keys::ENVIRONMENT.names(), keys::FILE.changeable()].concat(), p);
    let account = table.ruled("account", keys::ENVIRONMENT.rule("account"), p);
    let stack = table
        .is_table("stack")
        .then(|| table.table("stack", table.key("stack"), p));
    let mut keys = stack.iter().flatten().flat_map(Table::names);
    let named = keys.find(|key| key.value == "name" && name.value.contains('*'));
    if let Some(named) = named {
        p.add(
            named.at,
            format!(
                "{}: every environment that the pattern matches would be the same stack; leave out name: the stack is \
                 called <name>-<environment>",
                table.key("stack.name")
            ),
        );
    }
    account.map(|account| account.value.to_owned())
}

/// Which of `tables` is for this environment: the one of exactly this name, or else the one of the pattern that matches.
fn choose(env: &str, tables: &[(At<&str>, Option<String>)], p: &mut Problems) -> Option<Applied> {
    if !(ENVIRONMENT.holds)(env) {
        p.add(
            0,
            format!("environment {}: expected {}", quoted(env), ENVIRONMENT.allowed),
        );
        return None;
    }
    let exact: Vec<_> = tables.iter().filter(|(name, _)| name.value == env).collect();
    let found = match exact.len() {
        0 => (tables.iter())
            .filter(|(name, _)| name.value.contains('*') && matches(name.value, env))
            .collect(),
        _ => exact,
    };
    match found[..] {
        [(name, account)] => Some(Applied {
            table: name.value.to_owned(),
            account: account.clone(),
        }),
        [] => {
            let names = tables.iter().map(|(name, _)| name.value);
            let all: Vec<String> = names.clone().map(quoted).collect();
            let meant = meant(env, names);
            let instead = if meant.is_empty() {
                format!(" (available: {})", all.join(", "))
            } else {
                meant
            };
            p.add(0, format!("environment {} not found{instead}", quoted(env)));
            None
        }
        [(first, _), (second, _), ..] => {
            p.add(
                second.at,
                format!(
                    "environment {} matches {} and {}; add [env.{env}], or use a name that matches one of them",
                    quoted(env),
                    quoted(first.value),
                    quoted(second.value)
                ),
            );
            None
        }
    }
}

/// Whether `name` is what `pattern` says, in which `*` stands for any text.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.into_iter().any(|at| matches(rest, &name[at..]))
        }),
    }
}

/// Puts `over` over `tree`: table by table, and every other value as a whole.
fn merge<'t>(tree: &mut DeTable<'t>, over: impl Iterator<Item = Entry<'t>>) {
    for (key, value) in over {
        let name = key.get_ref().clone();
        match (tree.get_mut(name.as_ref()).map(Spanned::get_mut), value.get_ref()) {
            (Some(DeValue::Table(below)), DeValue::Table(_)) => {
                let DeValue::Table(value) = value.into_inner() else {
                    unreachable!("the match says that it is a table");
                };
                merge(below, value.into_iter());
            }
            (Some(_), _) => {
                // With the key, whose place an insertion alone would keep.
                tree.remove(name.as_ref());
                tree.insert(key, value);
            }
            (None, _) => drop(tree.insert(key, value)),
        }
    }
}

/// Lets the stack's name end with the environment's.
fn extend_name(tree: &mut DeTable<'_>, env: &str) {
    let stack = tree.get_mut("stack").map(Spanned::get_mut);
    if let Some(DeValue::Table(stack)) = stack
        && let Some(DeValue::String(name)) = stack.get_mut("name").map(Spanned::get_mut)
    {
        *name = format!("{name}-{env}").into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("pr-*", "pr-42", true),
            ("pr-*", "pr-", true),
            ("pr-*", "pr", false),
            ("*", "anything", true),
            ("*-eu", "pr-42-eu", true),
            ("*-eu", "pr-42-eu-1", false),
            ("a*b*c", "abxbc", true),
            ("a*b*c", "acb", false),
            ("a", "a", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
