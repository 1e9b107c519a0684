//! What a watch looks at: the configuration file, and the code of every function.
//!
//! Must not ask AWS, nor decide what follows from a change.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{anyhow, bail};
use sha2::{Digest, Sha256};

use super::super::configuration;
use super::super::invocation::Invocation;
use crate::config::{Config, Function, Source};
use crate::error::{Failure, Kind};
use crate::files::{self, Links};
use crate::package::{Glance, Package};
use crate::watcher::{Watcher, above};

/// One state of the code of a function: a mark of its files, or why they cannot be looked at.
type Seen = Result<[u8; 32], String>;

/// What was looked at last.
#[derive(Default)]
pub(super) struct Sources {
    functions: BTreeMap<String, Seen>,
    /// The hash of the configuration file; `None` if it is to be read again, whatever is in it.
    file: Option<[u8; 32]>,
}

impl Sources {
    /// The code of every function of `config` that may have changed since the last look.
    pub(super) fn changed(
        &mut self,
        invocation: &Invocation,
        config: &Config,
        watcher: &mut Watcher,
    ) -> Vec<(String, Result<Package, Failure>)> {
        let apart = configuration::apart_from_code(invocation, config);
        let mut changed = Vec::new();
        for (name, function) in &config.functions {
            let seen = look(function, &apart, watcher);
            if self.functions.get(name) == Some(&seen) {
                continue;
            }
            self.functions.insert(name.clone(), seen);
            let package = configuration::package(name, function, &apart);
            let package = package.and_then(|package| {
                check(name, function, &package)?;
                Ok(package)
            });
            changed.push((name.clone(), package));
        }
        changed
    }

    /// Whether the configuration file is another one than at the last call.
    pub(super) fn file_changed(&mut self, invocation: &Invocation, watcher: &mut Watcher) -> bool {
        let file = mark_of_file(invocation, watcher);
        self.file.replace(file) != Some(file)
    }

    /// Whether any of it is not as it was looked at last.
    pub(super) fn differ(&self, invocation: &Invocation, config: &Config, watcher: &mut Watcher) -> bool {
        let apart = configuration::apart_from_code(invocation, config);
        let mut functions = config.functions.iter();
        self.file != Some(mark_of_file(invocation, watcher))
            || functions
                .any(|(name, function)| self.functions.get(name) != Some(&look(function, &apart, watcher)))
    }

    /// The configuration file counts as changed at the next look.
    pub(super) fn forget_file(&mut self) {
        self.file = None;
    }

    /// The code of every function counts as changed at the next look.
    pub(super) fn forget_functions(&mut self) {
        self.functions.clear();
    }
}

/// Refuses code that the runtime could not begin to run.
pub(super) fn check_all(config: &Config, packages: &BTreeMap<String, Package>) -> Result<(), Failure> {
    let mut functions = config.functions.iter();
    functions.try_for_each(|(name, function)| check(name, function, &packages[name]))
}

fn check(name: &str, function: &Function, package: &Package) -> Result<(), Failure> {
    check_handler(function, package).map_err(|error| {
        let what = format!("the code of function {name} cannot be used");
        Failure::new(Kind::Usage, error.context(what))
    })
}

/// The file with the handler must be there and not empty, where the runtime finds it by its name. With a layer it may be
/// elsewhere.
fn check_handler(function: &Function, package: &Package) -> anyhow::Result<()> {
    let handler = &function.handler;
    let Some((module, _)) = handler.rsplit_once('.') else {
        return Ok(());
    };
    let files: Vec<String> = if function.runtime.starts_with("nodejs") {
        ["mjs", "js", "cjs"].map(|end| format!("{module}.{end}")).into()
    } else if function.runtime.starts_with("python") {
        let module = module.replace('.', "/");
        vec![format!("{module}.py"), format!("{module}/__init__.py")]
    } else {
        return Ok(());
    };
    let mut found = files
        .iter()
        .filter_map(|file| Some((file, package.size_of(file)?)));
    match found.next() {
        Some((file, 0)) => bail!("{file}, which has handler {handler}, is empty"),
        None if function.layers.is_empty() => {
            let expected = files.join(" or ");
            Err(anyhow!("handler {handler} not found: expected {expected}"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Looks at the files of a function, once all folders that tell of a change are watched.
fn look(function: &Function, apart: &[PathBuf], watcher: &mut Watcher) -> Seen {
    let path = match &function.source {
        Source::Sample => return Ok([0; 32]),
        Source::Folder(path) | Source::Zip(path) => path,
    };
    let real = path.canonicalize().ok();
    watcher.add(above(path).into_iter().chain(real.and_then(|real| above(&real))));
    loop {
        let glance = match &function.source {
            Source::Zip(file) => Glance::at_zip(file),
            _ => Glance::at_folder(path, apart),
        };
        let glance = match glance {
            Ok(glance) => glance,
            Err(error) => return Err(format!("{error:#}")),
        };
        if !watcher.add(glance.folders) {
            return Ok(glance.mark);
        }
    }
}

fn mark_of_file(invocation: &Invocation, watcher: &mut Watcher) -> [u8; 32] {
    let path = invocation.config_path();
    let real = path.canonicalize().ok();
    watcher.add(above(path).into_iter().chain(real.and_then(|real| above(&real))));
    let text = files::open(path, Links::Followed).and_then(std::io::read_to_string);
    // What cannot be read is told when it is read in earnest.
    let text = text.unwrap_or_else(|error| format!("\0{error}"));
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(runtime: &str, handler: &str) -> Function {
        let mut function = Config::sample().functions["user"].clone();
        (function.runtime, function.handler) = (runtime.to_owned(), handler.to_owned());
        function
    }

    fn checked(function: &Function, files: &[(&str, &[u8])]) -> Result<(), String> {
        let package = Package::from_files(files).unwrap();
        check_handler(function, &package).map_err(|error| error.to_string())
    }

    #[test]
    fn a_handler_needs_a_file_that_is_not_empty() {
        let ok: [(&str, &str, &str); 9] = [
            ("nodejs22.x", "index.handler", "index.mjs"),
            ("nodejs22.x", "index.handler", "index.js"),
            ("nodejs22.x", "src/app.handler", "src/app.cjs"),
            ("python3.13", "app.handler", "app.py"),
            ("python3.13", "src.app.handler", "src/app.py"),
            ("python3.13", "src/app.handler", "src/app/__init__.py"),
            ("provided.al2023", "bootstrap", "bootstrap"),
            ("java21", "example.Handler::handle", "example/Handler.class"),
            ("ruby3.4", "app.handler", "app.rb"),
        ];
        for (runtime, handler, file) in ok {
            assert_eq!(
                checked(&function(runtime, handler), &[(file, b"x")]),
                Ok(()),
                "{handler} in {file}"
            );
        }
        let app = function("nodejs22.x", "app.handler");
        assert_eq!(
            checked(&app, &[("index.mjs", b"x")]).unwrap_err(),
            "handler app.handler not found: expected app.mjs or app.js or app.cjs"
        );
        assert_eq!(
            checked(&app, &[("app.mjs", b"")]).unwrap_err(),
            "app.mjs, which has handler app.handler, is empty"
        );
        let mut layered = app;
        layered.layers = vec!["arn:aws:lambda:eu-west-1:123456789012:layer:a:1".to_owned()];
        assert_eq!(checked(&layered, &[("index.mjs", b"x")]), Ok(()));
    }
}
