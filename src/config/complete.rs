//! The complete configuration: every value and where it comes from, also those that the file leaves to their defaults.
//!
//! Must not check anything, as the reader has done that. Must not print: values of environment variables are among the values.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Map, Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Key, Section, Takes};
use super::overlay;
use super::problems::Problems;
use super::schema::default;
use super::{Chosen, Config};
use crate::untrusted::printable;

/// Every value of a configuration. It has no `Debug`, because some are values of environment variables.
pub struct Complete {
    entries: Vec<Entry>,
    env: Option<String>,
    account: Option<String>,
}

/// One value and its place.
struct Entry {
    /// The tables that it is in.
    table: Vec<String>,
    key: String,
    value: Value,
    origins: Vec<Origin>,
}

/// Where a value, or a part of it, comes from. Lines are counted from 1.
#[derive(Clone, PartialEq, Eq)]
enum Origin {
    /// A line outside of all environments.
    File(usize),
    /// The file, and the name of the environment that was appended.
    Extended(usize),
    /// A line of the table `[env.<name>]`.
    Environment(String, usize),
    /// An option of the command line.
    Option(&'static str),
    Default,
}

/// What is needed to say where a value comes from.
struct Places<'a> {
    text: &'a str,
    /// Where the values of all environments begin.
    in_environments: BTreeSet<usize>,
    /// The table of the chosen environment.
    environment: Option<String>,
}

impl Complete {
    /// All values of `config`, which was read from `text` as `chosen` says. `region` is the one of the command line.
    pub fn of(text: &str, config: &Config, chosen: Chosen<'_>, region: Option<&str>) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (mut tree, _) = DeTable::parse_recoverable(text);
        let mut in_environments = BTreeSet::new();
        if let Some(environments) = tree.get_ref().get("env") {
            starts(environments, &mut in_environments);
        }
        let applied = overlay::apply(tree.get_mut(), chosen.env, &mut Problems::of(text));
        let (environment, account) =
            applied.map_or((None, None), |chosen| (Some(chosen.table), chosen.account));
        let places = Places {
            text,
            in_environments,
            environment,
        };
        let mut complete = Self {
            entries: Vec::new(),
            env: chosen.env.map(str::to_owned),
            account,
        };
        complete.file(tree.get_ref(), &places);
        complete.derive(config);
        if let Some(stack) = chosen.stack {
            complete.put(["stack", "name"], json!(stack), Origin::Option("--stack"));
        }
        if let Some(region) = region {
            complete.put(["stack", "region"], json!(region), Origin::Option("--region"));
        }
        complete
    }

    /// A file that says the same without environments; `file` is what it is made of.
    pub fn toml(&self, file: &str) -> String {
        // A name may have a line end.
        let file = &*printable(file);
        let mut lines = vec![format!("# Made of {file}{}.", self.of_environment())];
        if let Some(account) = &self.account {
            lines.push(format!("# The environment belongs to account {account}."));
        }
        let mut table = None;
        for entry in &self.entries {
            if table != Some(&entry.table) {
                lines.push(format!("\n[{}]", path(&entry.table)));
                table = Some(&entry.table);
            }
            let origins: Vec<String> = entry.origins.iter().map(|origin| origin.words(file)).collect();
            lines.push(format!(
                "{} = {}  # {}",
                name(&entry.key),
                inline(&entry.value),
                origins.join(", ")
            ));
        }
        lines.join("\n")
    }

    fn of_environment(&self) -> String {
        (self.env.as_ref()).map_or_else(String::new, |env| format!(" for environment {env}"))
    }

    /// The same as a document.
    pub fn json(&self, file: &str) -> Value {
        let mut configuration = json!({});
        for entry in &self.entries {
            let table = (entry.table.iter()).fold(&mut configuration, |table, name| &mut table[name]);
            table[&entry.key] = entry.value.clone();
        }
        let origins = self.entries.iter().map(|entry| {
            let from: Vec<Value> = entry.origins.iter().map(Origin::json).collect();
            let key = [&entry.table[..], std::slice::from_ref(&entry.key)].concat();
            json!({ "key": key, "from": from })
        });
        json!({
            "file": file,
            "environment": self.env,
            "account": self.account,
            "configuration": configuration,
            "origins": origins.collect::<Vec<_>>(),
        })
    }

    fn file(&mut self, file: &DeTable<'_>, places: &Places<'_>) {
        let none = DeTable::new();
        for key in keys::FILE.keys {
            let table = file.get(key.name).and_then(|found| found.get_ref().as_table());
            // Without routes there is no API, and `[api]` is refused.
            let is_there = table.is_some() || file.contains_key("routes");
            let at = vec![key.name.to_owned()];
            match &key.takes {
                Takes::Table(section) if is_there => {
                    self.section(section, table.unwrap_or(&none), &at, places);
                }
                Takes::Tables(_, _, _, section) => {
                    self.sections(section, table.unwrap_or(&none), &at, places);
                }
                _ => {}
            }
        }
    }

    fn sections(&mut self, section: &Section, tables: &DeTable<'_>, at: &[String], places: &Places<'_>) {
        for (name, table) in tables {
            if let Some(table) = table.get_ref().as_table() {
                let at = [at, &[name.get_ref().to_string()]].concat();
                self.section(section, table, &at, places);
            }
        }
    }

    /// The values of a table, and then the tables in it: what follows the head of a table is in that table.
    fn section(&mut self, section: &Section, table: &DeTable<'_>, at: &[String], places: &Places<'_>) {
        let mut below = Vec::new();
        for key in section.keys {
            match (table.get(key.name), &key.takes) {
                (Some(found), Takes::Table(_) | Takes::Map(..) | Takes::Environment) => {
                    below.push((key, found));
                }
                (Some(found), _) => self.add(at, key.name, found, places),
                (None, _) => {
                    if let Some(value) = default(key).filter(|_| is_used(section, key, table)) {
                        self.entries.push(Entry {
                            table: at.to_vec(),
                            key: key.name.to_owned(),
                            value,
                            origins: vec![Origin::Default],
                        });
                    }
                }
            }
        }
        for (key, found) in below {
            let Some(table) = found.get_ref().as_table() else {
                continue;
            };
            let at = [at, &[key.name.to_owned()]].concat();
            if let Takes::Table(section) = &key.takes {
                self.section(section, table, &at, places);
            } else {
                for (name, value) in table {
                    self.add(&at, name.get_ref(), value, places);
                }
            }
        }
    }

    fn add(&mut self, table: &[String], key: &str, value: &Spanned<DeValue<'_>>, places: &Places<'_>) {
        let mut origins = Vec::new();
        places.origins(value, &mut origins);
        let is_extended = table == ["stack"] && key == "name" && self.env.is_some();
        if let (true, [Origin::File(line)]) = (is_extended, &origins[..]) {
            origins = vec![Origin::Extended(*line)];
        }
        self.entries.push(Entry {
            table: table.to_vec(),
            key: key.to_owned(),
            value: in_json(value.get_ref()),
            origins,
        });
    }

    /// The defaults that are made of other values.
    fn derive(&mut self, config: &Config) {
        if !config.routes.is_empty() {
            for (key, value) in [
                ("name", &config.api.name),
                ("description", &config.api.description),
            ] {
                self.put_default(&["api".to_owned()], key, value);
            }
        }
        for (name, function) in &config.functions {
            let table = ["functions".to_owned(), name.clone()];
            self.put_default(&table, "handler", &function.handler);
        }
    }

    fn put_default(&mut self, table: &[String], key: &str, value: &str) {
        let is_there = |entry: &Entry| entry.table == table && entry.key == key;
        if !self.entries.iter().any(is_there) {
            self.insert(table, key, json!(value), Origin::Default);
        }
    }

    fn put(&mut self, [table, key]: [&str; 2], value: Value, origin: Origin) {
        let table = [table.to_owned()];
        self.entries
            .retain(|entry| entry.table != table || entry.key != key);
        self.insert(&table, key, value, origin);
    }

    /// Before what the table has already.
    fn insert(&mut self, table: &[String], key: &str, value: Value, origin: Origin) {
        let at = self.entries.iter().position(|entry| entry.table == table);
        let entry = Entry {
            table: table.to_vec(),
            key: key.to_owned(),
            value,
            origins: vec![origin],
        };
        self.entries.insert(at.unwrap_or_default(), entry);
    }
}

/// Whether a default counts: the reader refuses some keys beside others.
fn is_used(section: &Section, key: &Key, table: &DeTable<'_>) -> bool {
    let has = |key: &str| table.contains_key(key);
    match section.heading {
        "[user_pool]" => !has("id") && !has("stack"),
        "[backends.<name>]" => has("url"),
        "[api.domain]" => key.name != "minimum_tls" || has("certificate"),
        _ => true,
    }
}

/// Where the values in `value` begin.
fn starts(value: &Spanned<DeValue<'_>>, found: &mut BTreeSet<usize>) {
    match value.get_ref() {
        DeValue::Table(table) => table.values().for_each(|value| starts(value, found)),
        _ => drop(found.insert(value.span().start)),
    }
}

impl Places<'_> {
    fn origins(&self, value: &Spanned<DeValue<'_>>, found: &mut Vec<Origin>) {
        if let DeValue::Table(table) = value.get_ref() {
            return table.values().for_each(|value| self.origins(value, found));
        }
        let start = value.span().start;
        let line = self.text[..start].matches('\n').count() + 1;
        let origin = match &self.environment {
            Some(name) if self.in_environments.contains(&start) => Origin::Environment(name.clone(), line),
            _ => Origin::File(line),
        };
        if !found.contains(&origin) {
            found.push(origin);
        }
    }
}

impl Origin {
    fn words(&self, file: &str) -> String {
        match self {
            Self::File(line) => format!("{file}:{line}"),
            Self::Extended(line) => format!("{file}:{line} and the environment's name"),
            Self::Environment(table, line) => {
                format!("{file}:{line} in [{}]", path(&["env".to_owned(), table.clone()]))
            }
            Self::Option(option) => (*option).to_owned(),
            Self::Default => "default".to_owned(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::File(line) => json!({ "source": "file", "line": line }),
            Self::Extended(line) => json!({ "source": "file and environment", "line": line }),
            Self::Environment(table, line) => {
                json!({ "source": "environment", "table": table, "line": line })
            }
            Self::Option(option) => json!({ "source": "option", "option": option }),
            Self::Default => json!({ "source": "default" }),
        }
    }
}

fn in_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => json!(i64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(number) => json!(number.as_str().parse::<f64>().ok()),
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Datetime(time) => json!(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| in_json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let entries = table.iter();
            let entries = entries.map(|(key, value)| (key.get_ref().to_string(), in_json(value.get_ref())));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

/// The value in one line of TOML.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries = entries.iter();
            let entries: Vec<String> = entries
                .map(|(key, value)| format!("{} = {}", name(key), inline(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        plain => plain.to_string(),
    }
}

fn path(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|part| name(part)).collect();
    names.join(".")
}

/// A key, in quotes where TOML needs them.
fn name(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !key.is_empty() && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        quoted(key)
    }
}

/// A string of TOML. What a terminal would act on is escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\'' => quoted.push(c),
            _ if c.escape_debug().len() == 1 => quoted.push(c),
            _ => write!(quoted, "\\U{:08X}", u32::from(c)).expect("a string takes all that is written to it"),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_what_it_was_and_steers_no_terminal() {
        for text in [
            "",
            "a \"b\" \\ 'c'",
            "a\nb\tc\r\u{1b}[31m\u{7f}",
            "\u{202e}ä日本\u{feff}🎈\u{301}",
        ] {
            let made = format!("{} = {}", quoted(text), quoted(text));
            let tree = DeTable::parse(&made).unwrap();
            let (key, value) = tree.get_ref().iter().next().unwrap();
            assert_eq!(
                (key.get_ref().as_ref(), value.get_ref().as_str()),
                (text, Some(text))
            );
            assert_eq!(crate::untrusted::printable_lines(&made), made);
        }
    }
}
