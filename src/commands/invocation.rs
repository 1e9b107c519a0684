//! What the options mean that every command takes, resolved once.
//!
//! Must not read a file or ask AWS.

use std::path::{Path, PathBuf};

use crate::cli::Global;
use crate::config::check_stack;
use crate::error::Failure;
use crate::location::Location;

/// What is read where no `--config` is given.
const CONFIG: &str = "provision.toml";

/// Where the states are if nothing else is typed or configured.
const FOLDER: &str = "state";

/// Where the calls of a command go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// AWS, or what answers in its place at this URL.
    Aws { endpoint_url: Option<String> },
    /// The sandbox of this folder.
    Sandbox { folder: PathBuf },
}

/// One run of the program, without what its command alone takes.
#[derive(Debug)]
pub(super) struct Invocation {
    /// Where the calls go.
    pub target: Target,
    /// Goes before the region on record and the one of the configuration.
    pub region: Option<String>,
    /// The AWS profile.
    pub profile: Option<String>,
    /// The name of `--stack`, checked: it becomes a part of file names.
    pub stack: Option<String>,
    /// The environment that was chosen; a problem of its name is told with those of the file.
    pub env: Option<String>,
    /// Where the states are, if it was typed or is in the environment.
    pub location: Option<Location>,
    /// The saved plan that this run writes or does.
    pub plan: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl Invocation {
    /// What was typed means this.
    ///
    /// # Errors
    /// The name of the stack is not one.
    pub(super) fn resolve(typed: &Global) -> Result<Self, Failure> {
        if let Some(stack) = &typed.stack {
            check_stack(stack).map_err(Failure::usage)?;
        }
        let mut invocation = Self {
            target: Target::Aws {
                endpoint_url: typed.endpoint_url.clone(),
            },
            region: typed.region.clone(),
            profile: typed.profile.clone(),
            stack: typed.stack.clone(),
            env: typed.env.clone(),
            location: typed.state.clone(),
            plan: None,
            config: typed.config.clone(),
        };
        if typed.sandbox {
            let folder = invocation.sandbox_folder();
            invocation.target = Target::Sandbox { folder };
        }
        Ok(invocation)
    }

    /// The folder on this machine for what a run keeps: the states, unless they are elsewhere, and what could not be written
    /// there.
    pub(super) fn folder(&self) -> PathBuf {
        match &self.target {
            Target::Aws { .. } => self.parent_folder(),
            Target::Sandbox { folder } => folder.clone(),
        }
    }

    /// The folder of the sandbox, whether or not this run uses it.
    pub(super) fn sandbox_folder(&self) -> PathBuf {
        self.parent_folder().join("sandbox")
    }

    fn parent_folder(&self) -> PathBuf {
        match &self.location {
            Some(Location::Folder(folder)) => folder.clone(),
            Some(Location::S3(_)) | None => PathBuf::from(FOLDER),
        }
    }

    /// Whether the configuration file was named.
    pub(super) fn names_config(&self) -> bool {
        self.config.is_some()
    }

    /// Whether a configuration is needed wherever one can be used: its file or its environment was named.
    pub(super) fn wants_config(&self) -> bool {
        self.names_config() || self.env.is_some()
    }

    /// The configuration file, which is there if it was named.
    pub(super) fn config_path(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(CONFIG))
    }

    /// What is not the code of a function, wherever it is: the state, the emulator's content, which has secrets,
    /// configurations, which have environment values, and the plan of this code. What changes with every run would also be
    /// deployed by every run.
    pub(super) fn apart_from_code(&self) -> impl Iterator<Item = PathBuf> {
        let fixed = [
            self.parent_folder(),
            self.sandbox_folder(),
            self.config_path().to_owned(),
            // Also where another file is used.
            PathBuf::from(CONFIG),
        ];
        fixed.into_iter().chain(self.plan.clone())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn resolve(options: &[&str]) -> Result<Invocation, Failure> {
        let words = [&["provision", "status"], options].concat();
        Invocation::resolve(&Cli::try_parse_from(words).unwrap().global)
    }

    #[test]
    fn the_sandbox_has_a_folder_of_its_own_below_that_of_the_states() {
        let aws = resolve(&["--endpoint-url", "http://127.0.0.1:1", "--state", "a"]).unwrap();
        let endpoint_url = Some("http://127.0.0.1:1".to_owned());
        assert_eq!(aws.target, Target::Aws { endpoint_url });
        assert_eq!(aws.folder(), Path::new("a"));
        let sandbox = resolve(&["--sandbox", "--state", "a"]).unwrap();
        assert_eq!(sandbox.folder(), Path::new("a/sandbox"));
        for invocation in [aws, sandbox] {
            assert_eq!(invocation.sandbox_folder(), Path::new("a/sandbox"));
        }
    }

    #[test]
    fn a_name_that_is_not_one_is_refused() {
        for name in ["../a", "A", ""] {
            assert_eq!(resolve(&["--stack", name]).unwrap_err().kind.exit_code(), 2);
        }
    }
}
