//! Checks what every module uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What in `state` is not S3's.
const NO_AWS: &[&str] = &["crate::resource", "crate::aws", "aws_sdk_", "aws_smithy"];

/// A module, and what it must not name. `crate::x` is the module `x` of this crate.
const RULES: &[(&str, &[&str])] = &[
    (
        "resources",
        &[
            "crate::engine",
            "crate::state",
            "crate::report",
            "crate::cli",
            "crate::config",
            "crate::graph",
            "crate::resources",
            "super::",
        ],
    ),
    (
        "engine",
        &[
            "aws_sdk_",
            "aws_config",
            "aws_smithy",
            "clap",
            "crate::aws",
            "crate::resources",
            "println",
            "print!",
        ],
    ),
    (
        "graph",
        &[
            "std::fs",
            "fs_err",
            "tokio",
            "async fn",
            ".await",
            "crate::aws",
            "crate::engine",
        ],
    ),
    (
        "foreign",
        &[
            "std::fs",
            "fs_err",
            "tokio",
            "async fn",
            ".await",
            "aws_sdk_",
            "crate::aws",
            "crate::engine",
            "crate::resource",
            "crate::resources",
            "crate::state",
        ],
    ),
    (
        "access_log",
        &[
            "std::fs", "fs_err", "tokio", "async fn", ".await", "aws_sdk_", "crate::",
        ],
    ),
    (
        "rights",
        &[
            "std::fs",
            "fs_err",
            "tokio",
            "async fn",
            ".await",
            "aws_sdk_",
            "crate::aws",
            "crate::engine",
            "crate::resource",
            "crate::resources",
            "crate::state",
        ],
    ),
    (
        "engine/decide",
        &["std::fs", "fs_err", "tokio", "async fn", ".await"],
    ),
    (
        "engine/live",
        &["std::fs", "fs_err", "tokio", "async fn", ".await", "super::"],
    ),
    (
        "engine/schedule",
        &[
            "std::fs", "fs_err", "tokio", "async fn", ".await", "super::", "crate::",
        ],
    ),
    ("engine/ledger", &["std::fs", "fs_err", "super::"]),
    ("state", &["crate::resources", "crate::engine", "crate::graph"]),
    ("state/file", NO_AWS),
    ("state/folder", NO_AWS),
    ("state/lock", NO_AWS),
    ("state/records", NO_AWS),
    ("state/store", NO_AWS),
    (
        "lease",
        &[
            "crate::aws",
            "crate::engine",
            "crate::resource",
            "crate::state",
            "aws_sdk_",
            "aws_smithy",
        ],
    ),
    (
        "location",
        &["std::fs", "fs_err", "tokio", "async fn", ".await", "crate::"],
    ),
    (
        "report",
        &[
            "crate::engine",
            "crate::state",
            "crate::resource",
            "crate::aws",
            "crate::cli",
            "crate::config",
        ],
    ),
    (
        "cli",
        &["crate::aws", "crate::engine", "crate::state", "aws_sdk_"],
    ),
    (
        "config",
        &[
            "crate::aws",
            "crate::engine",
            "crate::state",
            "crate::commands",
            "crate::package",
            "crate::stack",
            "aws_sdk_",
        ],
    ),
    (
        "resource",
        &[
            "crate::aws",
            "crate::engine",
            "crate::state",
            "crate::resources",
            "aws_sdk_",
            "aws_smithy",
        ],
    ),
    (
        "aws",
        &[
            "crate::resources",
            "crate::engine",
            "crate::graph",
            "crate::state",
            "crate::config",
        ],
    ),
    ("aws/clients", &["super::survey", "super::wait"]),
    ("aws/wait", &["super::survey"]),
    ("config/functions", &["super::read"]),
    (
        "operator_policy",
        &[
            "std::fs",
            "fs_err",
            "tokio",
            "async fn",
            ".await",
            "crate::config",
            "crate::engine",
            "crate::state",
            "crate::resources",
            "aws_sdk_",
        ],
    ),
    (
        "verify",
        &[
            "aws_sdk_",
            "crate::aws",
            "crate::cli",
            "crate::config",
            "crate::engine",
            "crate::graph",
            "crate::report",
            "crate::resource",
            "crate::resources",
            "crate::stack",
            "crate::state",
        ],
    ),
    (
        "pipeline",
        &[
            "std::fs", "fs_err", "tokio", "async fn", ".await", "aws_sdk_", "crate::",
        ],
    ),
    (
        "project",
        &[
            "tokio",
            "async fn",
            ".await",
            "aws_sdk_",
            "crate::aws",
            "crate::cli",
            "crate::engine",
            "crate::package",
            "crate::resources",
            "crate::stack",
            "crate::state",
        ],
    ),
    ("project/import", &["std::fs", "fs_err", "crate::files"]),
    ("watcher", &["crate::", "aws_sdk_"]),
    ("", &["crate::commands"]),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// `engine/up.rs` is in `engine/up`, in `engine`, and in the root, ``.
fn is_of(file: &str, module: &str) -> bool {
    let file = file.trim_end_matches(".rs");
    module.is_empty()
        || file == module
        || file
            .strip_prefix(module)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// The lines of code that name something that they must not.
fn violations(file: &str, text: &str) -> Vec<String> {
    // A module's own tests come last in its file, or in `tests.rs`, and may use what they test with.
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut found = Vec::new();
    for (module, forbidden) in RULES.iter().filter(|(module, _)| is_of(file, module)) {
        for (number, line) in code.lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with("//") {
                continue;
            }
            for word in *forbidden {
                // `crate::resource` must not fit `crate::resources`.
                let named = line.match_indices(word).any(|(at, _)| {
                    let next = line[at + word.len()..].chars().next();
                    word.ends_with('_') || !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
                });
                if named {
                    found.push(format!("{file}:{}: {module} must not name {word}", number + 1));
                }
            }
        }
    }
    found
}

#[test]
fn every_module_keeps_to_its_layer() {
    let mut found = Vec::new();
    files(&source(), &mut found);
    assert!(found.len() > 40, "the source is where it was");
    let mut wrong = Vec::new();
    for path in found {
        let file = path.strip_prefix(source()).unwrap().to_str().unwrap().to_owned();
        wrong.extend(violations(&file, &fs_err::read_to_string(&path).unwrap()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The modules beside it that the code of a module names, as `super::name` or `super::{name, …}`.
fn siblings<'a>(text: &str, modules: &'a BTreeSet<String>) -> BTreeSet<&'a str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.collect::<Vec<_>>().join("\n");
    let mut named = BTreeSet::new();
    for (at, word) in code.match_indices("super::") {
        let rest = &code[at + word.len()..];
        let list = rest.strip_prefix('{').and_then(|list| list.split_once('}'));
        let names = list.map_or(rest, |(list, _)| list).split(',');
        for name in names.take(if list.is_some() { usize::MAX } else { 1 }) {
            let name = name.trim_start();
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
            named.extend(modules.get(&name[..end.unwrap_or(name.len())]));
        }
    }
    named.into_iter().map(String::as_str).collect()
}

/// Modules that name each other, over however many others: what is left once all are taken away that name no other.
fn circles(uses: &BTreeMap<String, BTreeSet<&str>>) -> Vec<String> {
    let mut left = uses.clone();
    loop {
        let names: BTreeSet<String> = left.keys().cloned().collect();
        let before = left.len();
        left.retain(|_, uses| uses.iter().any(|name| names.contains(*name)));
        if left.len() == before {
            return left.into_keys().collect();
        }
    }
}

#[test]
fn no_modules_of_one_folder_name_each_other_in_a_circle() {
    let mut folders: BTreeMap<PathBuf, BTreeMap<String, String>> = BTreeMap::new();
    let mut found = Vec::new();
    files(&source(), &mut found);
    for path in found {
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs_err::read_to_string(&path).unwrap();
        if module != "mod" {
            let folder = path.parent().unwrap().to_owned();
            folders.entry(folder).or_default().insert(module, text);
        }
    }
    assert!(folders.len() > 5, "the source is where it was");
    for (folder, texts) in folders {
        let modules: BTreeSet<String> = texts.keys().cloned().collect();
        let uses = texts.iter().map(|(module, text)| {
            let mut uses = siblings(text, &modules);
            uses.remove(module.as_str());
            (module.clone(), uses)
        });
        let circles = circles(&uses.collect());
        assert!(circles.is_empty(), "{}: {}", folder.display(), circles.join(", "));
    }
}

#[test]
fn a_circle_is_found_and_a_line_is_not() {
    let modules = BTreeSet::from(["a", "b", "c"].map(str::to_owned));
    let named = |text| siblings(text, &modules).into_iter().collect::<Vec<_>>();
    assert_eq!(named("use super::a;\nsuper::b::x();\n"), ["a", "b"]);
    assert_eq!(named("use super::{a, b::{x, y}};\n"), ["a", "b"]);
    assert!(named("// super::a\nuse super::A;\nuse super::{call, d};\n").is_empty());
    let line = |c: &[&'static str]| {
        BTreeMap::from([
            ("a".to_owned(), BTreeSet::from(["b"])),
            ("b".to_owned(), BTreeSet::from(["c"])),
            ("c".to_owned(), c.iter().copied().collect()),
        ])
    };
    assert!(circles(&line(&[])).is_empty());
    assert_eq!(circles(&line(&["a"])), ["a", "b", "c"]);
}

#[test]
fn a_forbidden_name_is_found_and_an_allowed_one_is_not() {
    assert_eq!(violations("engine/up.rs", "use crate::aws::Aws;\n").len(), 1);
    assert_eq!(
        violations("engine/up.rs", "let x = aws_sdk_iam::Client::new();\n").len(),
        1
    );
    assert_eq!(
        violations("resources/role.rs", "use crate::resources::Function;\n").len(),
        1
    );
    assert_eq!(violations("state/file.rs", "use crate::resource::Cx;\n").len(), 1);
    assert_eq!(violations("graph.rs", "async fn run() {}\n").len(), 1);
    assert_eq!(violations("oauth.rs", "use crate::commands::main;\n").len(), 1);
    assert_eq!(
        violations("verify/token.rs", "use crate::state::State;\n").len(),
        1
    );
    assert!(violations("resources/role.rs", "use crate::resource::Cx;\n").is_empty());
    assert!(violations("engine/up.rs", "// not crate::aws\n").is_empty());
    assert!(violations("engine/up.rs", "use crate::state::State;\n").is_empty());
}
