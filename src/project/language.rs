//! The code of a function that answers every route, in the languages that a project can begin with.
//!
//! Must not know the project around it.

use std::path::Path;

use super::File;

/// What a function is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// JavaScript on Node.js.
    Node,
    Python,
    /// It has to be built before it answers.
    Rust,
}

impl Language {
    /// The runtime in the configuration.
    pub(super) fn runtime(self) -> &'static str {
        match self {
            Self::Node => "nodejs22.x",
            Self::Python => "python3.13",
            Self::Rust => "provided.al2023",
        }
    }

    /// The handler in the configuration; `None`: it needs none.
    pub(super) fn handler(self) -> Option<&'static str> {
        match self {
            Self::Node => Some("index.handler"),
            Self::Python => Some("main.handler"),
            Self::Rust => None,
        }
    }

    /// The folder that is zipped.
    pub(super) fn source(self, name: &str) -> String {
        match self {
            Self::Node | Self::Python => name.to_owned(),
            Self::Rust => format!("{name}/build"),
        }
    }

    pub(super) fn files(self, name: &str) -> Vec<File> {
        let file = |path: &str, text: &str| File {
            path: Path::new(name).join(path),
            text: text.to_owned(),
            is_program: false,
        };
        match self {
            Self::Node => vec![file("index.mjs", include_str!("templates/node.mjs"))],
            Self::Python => vec![file("main.py", include_str!("templates/python.py"))],
            Self::Rust => vec![
                file("Cargo.toml", include_str!("templates/rust.cargo.txt")),
                file("src/main.rs", include_str!("templates/rust.main.txt")),
                file(".cargo/config.toml", include_str!("templates/rust.config.txt")),
                File {
                    is_program: true,
                    ..file("build/bootstrap", include_str!("templates/rust.bootstrap.txt"))
                },
            ],
        }
    }

    pub(super) fn build_command(self, name: &str) -> Option<String> {
        match self {
            Self::Node | Self::Python => None,
            Self::Rust => Some(format!(
                "(cd {name} && rustup target add x86_64-unknown-linux-musl && cargo build --release && cp \
                 target/x86_64-unknown-linux-musl/release/bootstrap build/)"
            )),
        }
    }
}
