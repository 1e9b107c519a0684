//! The functions: their code, their settings and their environment.
//!
//! Must not put the value of an environment variable into a message, and must not read the code.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::environment::environment;
use super::keys;
use super::policy::policy;
use super::problems::{At, Problems, quoted};
use super::rules::{FUNCTION, RETENTION_DAYS};
use super::settings::settings;
use super::tree::Table;
use super::{Environment, Function, Source, Sources};

/// The functions in the file; their names in AWS begin with `stack`.
pub(super) fn functions(
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
                    "function {}: its name differs from function {} only in case, and IAM ignores the case of their roles' names",
                    quoted(name.value),
                    quoted(other)
                ),
            );
        }
        let function = function.map_or_else(defaults, |function| read_function(&function, sources, p));
        functions.insert(name.value.to_owned(), function);
    }
    functions
}

/// `<stack>_<owner>_<function>` is the name of a role and of a function, and both have at most 64 characters.
fn check_full_name(name: At<&str>, stack: Option<&str>, p: &mut Problems) {
    let Some(stack) = stack else { return };
    let longest = 64 - 2 - 8 - stack.len().min(30);
    let length = name.value.chars().count();
    if length > longest {
        p.add(
            name.at,
            format!(
                "function {}: expected a name of at most {longest} characters in stack {}, got {length}: AWS allows 64 for \
                 <stack>_<owner>_<function>, and the owner has 8",
                quoted(name.value),
                quoted(stack)
            ),
        );
    }
}

/// The defaults; an empty one belongs to a required key.
fn defaults() -> Function {
    Function {
        source: Source::Sample,
        runtime: String::new(),
        handler: String::new(),
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
    }
}

fn read_function(table: &Table<'_>, sources: &Sources<'_>, p: &mut Problems) -> Function {
    let mut function = defaults();
    table.only(&keys::FUNCTION.names(), p);
    table.require("source", "the folder of its code, or a .zip", p);
    table.require("runtime", "a Lambda runtime such as \"nodejs22.x\"", p);
    if let Some(found) = table.text("source", p) {
        match source(found.value, sources) {
            Ok(source) => function.source = source,
            Err(problem) => p.add(found.at, format!("{}: {problem}", table.key("source"))),
        }
    }
    if let Some(runtime) = table.ruled("runtime", keys::FUNCTION.rule("runtime"), p) {
        runtime.value.clone_into(&mut function.runtime);
    }
    if let Some(handler) = table.ruled("handler", keys::FUNCTION.rule("handler"), p) {
        handler.value.clone_into(&mut function.handler);
    } else if function.runtime.starts_with("provided.") {
        // The executable always has this name, and Lambda requires a handler.
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
    if let Some(architecture) = table.ruled("architecture", keys::FUNCTION.rule("architecture"), p) {
        architecture.value.clone_into(&mut function.architecture);
    }
    if let Some(memory) = table.integer("memory_mb", &keys::FUNCTION.range("memory_mb"), " megabytes", p) {
        function.memory_mb = memory.value;
    }
    if let Some(timeout) = table.duration("timeout", &(1..=900), "\"1s\" to \"15m\"", p) {
        function.timeout_seconds = timeout;
    }
    if let Some(days) = table.one_of("log_retention_days", &RETENTION_DAYS, " days", p) {
        function.log_retention_days = days;
    }
    if let Some(table) = table.table("environment", format!("environment of {}", table.name), p) {
        function.environment = environment(&table, p);
    }
    rights(&mut function, table, sources, p);
    settings(table, &mut function, p);
    function
}

/// What it may do: its own policies, or a role that somebody else made.
fn rights(function: &mut Function, table: &Table<'_>, sources: &Sources<'_>, p: &mut Problems) {
    function.policy = policy(table, "policy", sources, p);
    let managed = "a list of ARNs of IAM policies";
    if let Some(list) = table.list("managed_policies", managed, p) {
        let number = list.value.len();
        if number > 10 {
            let key = table.key("managed_policies");
            p.add(
                list.at,
                format!("{key}: expected at most 10 policies, got {number}"),
            );
        }
        for arn in list.value {
            p.check(
                keys::FUNCTION.rule("managed_policies"),
                table.key("managed_policies"),
                arn,
            );
            function.managed_policies.insert(arn.value.to_owned());
        }
    }
    if let Some(role) = table.ruled("role", keys::FUNCTION.rule("role"), p) {
        function.role = Some(role.value.to_owned());
        for other in ["policy", "managed_policies"]
            .into_iter()
            .filter(|key| table.has(key))
        {
            p.add(
                role.at,
                format!(
                    "{} and {other} exclude each other: this stack does not change a role that it did not make",
                    table.key("role")
                ),
            );
        }
    }
}

fn source(text: &str, sources: &Sources<'_>) -> Result<Source, String> {
    let folder = match sources {
        Sources::From(folder) => folder,
        Sources::Sample => return Ok(Source::Sample),
    };
    if text.is_empty() {
        return Err("expected a folder or a .zip, got \"\"".to_owned());
    }
    let path = folder.join(text);
    match path.metadata() {
        Ok(about) if about.is_dir() => Ok(Source::Folder(path)),
        Ok(about) if about.is_file() && is_zip(&path) => Ok(Source::Zip(path)),
        Ok(_) => Err(format!("expected a folder or a .zip, got {}", quoted(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
            "{} not found; a relative path starts at the folder of this file",
            quoted(text)
        )),
        Err(error) => Err(format!("cannot read {}: {}", quoted(text), error.kind())),
    }
}

fn is_zip(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("zip"))
}
