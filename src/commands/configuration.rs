//! The stack's configuration and its code, read from where the command line says.
//!
//! Must not ask AWS.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::invocation::{Invocation, Target};
use super::ui::Ui;
use crate::config::{self, Chosen, Complete, Config, Problem, SAMPLE, Source, StateSettings};
use crate::error::{Failure, Hint, Kind};
use crate::files::{self, Links};
use crate::location::Location;
use crate::package::Package;

/// How many names of files that are left out of a zip are shown.
const SHOWN: usize = 5;

/// The stack's configuration, checked: the file's, or the sample's where there is none.
pub(super) fn read(invocation: &Invocation) -> Result<Config, Failure> {
    of_text(invocation, text(invocation)?.as_deref())
}

/// The same with where its values come from, and what they are read from.
pub(super) fn complete(invocation: &Invocation) -> Result<(Complete, String), Failure> {
    let text = text(invocation)?;
    let config = of_text(invocation, text.as_deref())?;
    let (text, from) = match &text {
        Some(text) => (text.as_str(), invocation.config_path().display().to_string()),
        None => (SAMPLE, "the sample".to_owned()),
    };
    let complete = Complete::of(text, &config, chosen(invocation), invocation.region.as_deref());
    Ok((complete, from))
}

fn chosen(invocation: &Invocation) -> Chosen<'_> {
    Chosen {
        stack: invocation.stack.as_deref(),
        env: invocation.env.as_deref(),
    }
}

/// The configuration of a file with this text, or the sample.
fn of_text(invocation: &Invocation, text: Option<&str>) -> Result<Config, Failure> {
    let path = invocation.config_path();
    let config = match text {
        Some(text) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            let config = Config::read_as(text, folder, chosen(invocation));
            config.map_err(|problems| invalid(path, &problems))?
        }
        None => Config::sample(),
    };
    match &invocation.stack {
        Some(stack) => config.renamed(stack).map_err(Failure::usage),
        None => Ok(config),
    }
}

/// The same with the values of environment variables that the file takes from this process's environment: for commands that
/// compare functions with what is configured.
pub(super) fn read_with_values(invocation: &Invocation) -> Result<Config, Failure> {
    let config = read(invocation)?;
    // Where only the environment or the profile says the region, it is checked once it is known.
    if let Some(region) = invocation.region.as_ref().or(config.region.as_ref()) {
        check_region(invocation, &config, region)?;
    }
    let config = config.with_environment(|name| std::env::var_os(name));
    config.map_err(|problems| invalid(invocation.config_path(), &problems))
}

/// Whether there is a file to read, or one was named.
pub(super) fn is_there(invocation: &Invocation) -> bool {
    invocation.wants_config() || invocation.config_path().exists()
}

/// Refuses what is in another region than the stack.
pub(super) fn check_region(invocation: &Invocation, config: &Config, region: &str) -> Result<(), Failure> {
    let problems = config.elsewhere(region);
    if problems.is_empty() {
        return Ok(());
    }
    Err(invalid(invocation.config_path(), &problems))
}

/// Refuses scopes that no resource server of others has; `live` are all that they have.
pub(super) fn check_scopes(
    invocation: &Invocation,
    config: &Config,
    live: &BTreeSet<String>,
) -> Result<(), Failure> {
    let problems = config.unknown_scopes(live);
    if problems.is_empty() {
        return Ok(());
    }
    Err(invalid(invocation.config_path(), &problems))
}

/// `location` of the file; a relative folder starts where the file is, as every path of it.
pub(super) fn from_file(invocation: &Invocation, location: &Location) -> Location {
    match location {
        Location::Folder(path) => {
            let parent = invocation.config_path().parent().unwrap_or(Path::new(""));
            Location::Folder(parent.join(path))
        }
        Location::S3(_) => location.clone(),
    }
}

/// The stack's name, for commands that need nothing else of the configuration: with `--stack` no file is read, unless for the
/// account of an environment.
pub(super) fn stack_name(invocation: &Invocation) -> Result<String, Failure> {
    match (&invocation.stack, &invocation.env) {
        (Some(stack), None) => Ok(stack.clone()),
        _ => Ok(read(invocation)
            .hint("name the stack with --stack, without --env: this command then needs no configuration")?
            .stack),
    }
}

/// The stack's name, and its configuration where one is read: with `--stack` only the one that `--config` names, as
/// another in this folder may be another stack's.
pub(super) fn stack_and_config(invocation: &Invocation) -> Result<(String, Option<Config>), Failure> {
    match &invocation.stack {
        Some(stack) if !invocation.wants_config() => Ok((stack.clone(), None)),
        _ => {
            let config = read(invocation).hint(
                "name the stack with --stack: without --config and --env this command then needs no configuration",
            )?;
            Ok((config.stack.clone(), Some(config)))
        }
    }
}

/// Where a run's states are.
pub(super) struct Place {
    pub location: Location,
    /// The account of the bucket, if it was configured for this location.
    pub account: Option<String>,
    /// The key of the bucket, if it was configured for this location.
    pub kms_key: Option<String>,
}

/// Where this run's states are. What was typed goes before what is configured; the sandbox has a folder of its own, whatever is
/// configured for AWS.
pub(super) fn place(invocation: &Invocation) -> Result<Place, Failure> {
    let folder = |path| Place {
        location: Location::Folder(path),
        account: None,
        kms_key: None,
    };
    match (&invocation.location, &invocation.target) {
        (Some(location @ Location::S3(_)), _) => return place_at(invocation, location),
        (Some(Location::Folder(_)), _) | (None, Target::Sandbox { .. }) => {
            return Ok(folder(invocation.folder()));
        }
        (None, Target::Aws { .. }) => {}
    }
    match settings(invocation)?.location {
        // As every path of the file.
        Some(Location::Folder(path)) => {
            let parent = invocation.config_path().parent().unwrap_or(Path::new(""));
            Ok(folder(parent.join(path)))
        }
        Some(location) => place_at(invocation, &location),
        None => Ok(folder(invocation.folder())),
    }
}

/// `location`, with what is configured for it.
pub(super) fn place_at(invocation: &Invocation, location: &Location) -> Result<Place, Failure> {
    let settings = Some(settings(invocation)?);
    let settings = settings.filter(|settings| settings.location.as_ref() == Some(location));
    let settings = settings.unwrap_or_default();
    Ok(Place {
        location: location.clone(),
        account: settings.account,
        kms_key: settings.kms_key,
    })
}

fn settings(invocation: &Invocation) -> Result<StateSettings, Failure> {
    Ok(places(invocation)?.0)
}

/// The account that the environment belongs to; `None` if it may be any.
pub(super) fn account(invocation: &Invocation) -> Result<Option<String>, Failure> {
    match invocation.env {
        Some(_) => Ok(places(invocation)?.1),
        None => Ok(None),
    }
}

fn places(invocation: &Invocation) -> Result<(StateSettings, Option<String>), Failure> {
    let Some(text) = text(invocation)? else {
        return Ok(<_>::default());
    };
    let places = Config::places_of(&text, invocation.env.as_deref());
    places.map_err(|problems| invalid(invocation.config_path(), &problems))
}

/// The text of the configuration file; `None` where the sample is meant.
pub(super) fn text(invocation: &Invocation) -> Result<Option<String>, Failure> {
    match files::open(invocation.config_path(), Links::Followed).and_then(io::read_to_string) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !invocation.names_config() => {
            match &invocation.env {
                Some(env) => Err(Failure::usage(format!(
                    "environment {env:?} not found: there is no {} in this folder",
                    invocation.config_path().display()
                ))),
                None => Ok(None),
            }
        }
        Err(error) => Err(Failure::new(
            Kind::Usage,
            anyhow::Error::new(error).context("the configuration cannot be read"),
        )),
    }
}

/// All problems of the file, a line each.
fn invalid(path: &Path, problems: &[Problem]) -> Failure {
    let path = path.display();
    let mut failure = Failure::usage(match problems.len() {
        1 => format!("{path} has a problem"),
        number => format!("{path} has {number} problems"),
    });
    failure.details = problems
        .iter()
        .map(|problem| format!("{path}:{problem}"))
        .collect();
    failure
}

/// The code of every function of `config`, by the function's name; tells which files of a folder are left out.
pub(super) fn packages(
    invocation: &Invocation,
    config: &Config,
    ui: &Ui,
) -> Result<BTreeMap<String, Package>, Failure> {
    let apart = apart_from_code(invocation, config);
    let package = |(name, function): (&String, &config::Function)| {
        let package = package(name, function, &apart)?;
        tell_left_out(name, &package.left_out, ui);
        Ok((name.clone(), package))
    };
    config.functions.iter().map(package).collect()
}

/// The files and folders that are not the code of any function, without symbolic links.
pub(super) fn apart_from_code(invocation: &Invocation, config: &Config) -> Vec<PathBuf> {
    let configured = match &config.state.location {
        Some(Location::Folder(folder)) => {
            let parent = invocation.config_path().parent().unwrap_or(Path::new(""));
            Some(parent.join(folder))
        }
        Some(Location::S3(_)) | None => None,
    };
    // What does not exist cannot be packed.
    (invocation.apart_from_code())
        .chain(configured)
        .flat_map(fs_err::canonicalize)
        .collect()
}

/// The code of one function; `apart` is what [`apart_from_code`] names.
pub(super) fn package(
    name: &str,
    function: &config::Function,
    apart: &[PathBuf],
) -> Result<Package, Failure> {
    let package = match &function.source {
        Source::Sample => {
            Package::from_files(&[("index.mjs", include_bytes!("../../lambda/index.mjs").as_slice())])
        }
        Source::Folder(folder) => Package::from_folder(folder, apart),
        Source::Zip(file) => Package::from_zip(file),
    };
    let package = package.with_context(|| format!("the code of function {name} cannot be used"));
    package.map_err(|error| Failure::new(Kind::Usage, error))
}

fn tell_left_out(function: &str, names: &[String], ui: &Ui) {
    if names.is_empty() {
        return;
    }
    let shown = names[..names.len().min(SHOWN)].join(", ");
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    ui.progress(&format!("function {function}: not in its zip: {shown}{more}"));
}
