//! Checks what every module uses.

use std::path::{Path, PathBuf};

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
    (
        "state",
        &[
            "crate::resource",
            "crate::aws",
            "aws_sdk_",
            "crate::engine",
            "crate::graph",
        ],
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
