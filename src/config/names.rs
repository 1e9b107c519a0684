//! The names in a configuration, also in one that is not valid or not finished: what a shell completes words with.
//!
//! Must not report a problem, nor read the value of an environment variable.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeTable;

use super::overlay;
use super::problems::Problems;
use super::tree::Table;

/// What the tables of a file are called. Nothing of it is checked.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The stack of the chosen environment.
    pub stack: Option<String>,
    pub clients: BTreeSet<String>,
    pub functions: BTreeSet<String>,
    /// As in the file: `GET /user`.
    pub routes: BTreeSet<String>,
    /// Full scopes, with what each is described as.
    pub scopes: BTreeMap<String, String>,
    /// The stack without an environment.
    base: Option<String>,
    /// The names of the environments, and the patterns of names.
    environments: BTreeSet<String>,
}

impl Names {
    /// The names in `text`, with what `env` changes if the file has such an environment.
    pub(crate) fn of(text: &str, env: Option<&str>) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // It collects what nobody reads.
        let p = &mut Problems::of("");
        // What comes after a syntax error may be missing.
        let (mut tree, _) = DeTable::parse_recoverable(text);
        let file = Table::root(tree.get_ref());
        let (base, environments) = (stack(&file, p), keys(&file, "env", p));
        overlay::apply(tree.get_mut(), env, p);
        let file = Table::root(tree.get_ref());
        Self {
            stack: stack(&file, p),
            clients: keys(&file, "clients", p),
            functions: keys(&file, "functions", p),
            routes: keys(&file, "routes", p),
            scopes: scopes(&file, p),
            base,
            environments,
        }
    }

    /// The environments: those that the file names, and those of its patterns that one of `stacks` is of.
    pub(crate) fn environments<'a>(&'a self, stacks: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let (patterns, exact): (Vec<_>, Vec<_>) =
            (self.environments.iter().map(String::as_str)).partition(|name| name.contains('*'));
        let of_base = |stack: &'a str| stack.strip_prefix(self.base.as_deref()?)?.strip_prefix('-');
        let used = stacks.filter_map(of_base);
        let used = used.filter(|name| patterns.iter().any(|pattern| overlay::matches(pattern, name)));
        used.chain(exact).collect()
    }
}

fn stack(file: &Table<'_>, p: &mut Problems) -> Option<String> {
    let name = file.table("stack", "", p)?.text("name", p)?;
    Some(name.value.to_owned())
}

fn keys(file: &Table<'_>, section: &str, p: &mut Problems) -> BTreeSet<String> {
    let table = file.table(section, "", p);
    let names = table.iter().flat_map(Table::names);
    names.map(|name| name.value.to_owned()).collect()
}

fn scopes(file: &Table<'_>, p: &mut Problems) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let Some(servers) = file.table("resource_servers", "", p) else {
        return all;
    };
    for (identifier, server) in servers.tables(|_| String::new(), p) {
        let Some(scopes) = server.and_then(|server| server.table("scopes", "", p)) else {
            continue;
        };
        for (scope, description) in scopes.texts(p) {
            let description = description.map(|text| text.value.to_owned());
            all.insert(
                format!("{}/{}", identifier.value, scope.value),
                description.unwrap_or_default(),
            );
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[stack]
name = "shop"
[resource_servers.orders.scopes]
read = "Read orders"
write = 7
[clients.app]
[clients."b c"]
[functions.orders]
runtime = "no such runtime"
[routes]
"GET /orders" = { function = "gone" }
[env.production.clients.batch]
[env."pr-*"]
"#;

    fn list(names: &BTreeSet<String>) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }

    #[test]
    fn the_names_of_a_file_that_is_not_valid_are_known() {
        let names = Names::of(FILE, None);
        assert_eq!(names.stack.as_deref(), Some("shop"));
        assert_eq!(list(&names.clients), ["app", "b c"]);
        assert_eq!(list(&names.functions), ["orders"]);
        assert_eq!(list(&names.routes), ["GET /orders"]);
        let scopes: Vec<_> = (names.scopes.iter())
            .map(|(name, text)| (&**name, &**text))
            .collect();
        assert_eq!(scopes, [("orders/read", "Read orders"), ("orders/write", "")]);
    }

    #[test]
    fn an_environment_adds_its_names() {
        let names = Names::of(FILE, Some("production"));
        assert_eq!(names.stack.as_deref(), Some("shop-production"));
        assert_eq!(list(&names.clients), ["app", "b c", "batch"]);
        let unknown = Names::of(FILE, Some("gone"));
        assert_eq!(list(&unknown.clients), ["app", "b c"]);
    }

    #[test]
    fn the_environments_of_a_pattern_are_those_that_have_a_stack() {
        let names = Names::of(FILE, Some("production"));
        let stacks = [
            "shop",
            "shop-pr-42",
            "shop-other",
            "other-pr-1",
            "shop-production",
        ];
        let environments: Vec<_> = names.environments(stacks.into_iter()).into_iter().collect();
        assert_eq!(environments, ["pr-42", "production"]);
    }

    #[test]
    fn what_comes_before_a_syntax_error_is_known() {
        let names = Names::of("[clients.app]\n[functions.a]\nruntime = \n[stack", None);
        assert_eq!(list(&names.clients), ["app"]);
        assert_eq!(list(&names.functions), ["a"]);
        for text in ["", "clients = 7", "[[clients]]", "env = [1]", "\u{feff}[", "= ="] {
            assert!(Names::of(text, Some("x")).clients.is_empty(), "{text}");
        }
    }
}
