//! `init`: the files of a new project.
//!
//! Must not ask AWS, and must not change a file that exists.

use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

use super::follow_up::quoted;
use super::invocation::Invocation;
use super::try_call;
use super::ui::{Ui, ask};
use crate::cli::{self, InitLanguage};
use crate::config::{Config, REGION};
use crate::error::{Failure, Hint, Kind};
use crate::files::{self, Links};
use crate::project::{self, Answerer, File, Imported, Language, Project};

/// The most of an OpenAPI document that is read, in bytes.
const MOST: u64 = 16 * 1024 * 1024;
/// What is asked for if nothing like the folder's name is allowed.
const NAME: &str = "my-api";
/// The answer that leaves the region to the environment.
const NO_REGION: &str = "as for the AWS CLI";

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    stack: &'a str,
    /// As it was typed.
    folder: &'a Path,
    /// From the folder.
    files: Vec<&'a Path>,
    not_carried_over: &'a [String],
    next: &'a [String],
}

/// Runs it.
pub(super) fn run(invocation: &Invocation, args: &cli::Init, ui: &Ui) -> Result<(), Failure> {
    if invocation.wants_config() {
        return Err(Failure::usage(
            "init writes the provision.toml of a new project, which has no environments: expected neither --config nor --env",
        ));
    }
    let folder = args.folder.as_deref().unwrap_or(Path::new("."));
    if folder.exists() && !folder.is_dir() {
        let shown = folder.display();
        return Err(Failure::usage(format!("{shown} exists and is not a folder")));
    }
    let asks = !args.yes && Ui::can_confirm();
    let document = args.openapi.as_deref().map(read).transpose()?;
    let stack = name(invocation, args, folder, asks)?;
    let imported = document.map(|text| {
        let wants_url = args
            .language
            .is_none_or(|language| language == InitLanguage::None);
        let file = args.openapi.as_deref().unwrap_or(Path::new("")).display();
        project::import(&text, &stack, wants_url).map_err(|problems| {
            let mut problems = problems.into_iter();
            let first = problems.next().unwrap_or_default();
            let mut failure = Failure::usage(format!("{file} cannot be made a stack: {first}"));
            failure.details = problems.collect();
            failure
        })
    });
    let imported = imported.transpose()?;
    for note in imported.iter().flat_map(|imported| &imported.notes) {
        ui.warn(note);
    }
    let has_url = imported.as_ref().is_some_and(|imported| imported.url.is_some());
    let language = if has_url {
        None
    } else {
        let language = args.language.or_else(|| (!asks).then_some(InitLanguage::Node));
        language.map_or_else(ask_language, Ok).map(code)?
    };
    let region = match &invocation.region {
        None if asks => ask_region()?,
        typed => typed.clone(),
    };
    let (project, notes) = match imported {
        Some(imported) => from_document(stack, region, language, imported)?,
        None => (Project::hello(stack, region, language), Vec::new()),
    };
    let files = project.files();
    let config = checked(&project, &files)?;
    refuse_conflicts(folder, &project, &files)?;
    project::write(folder, &files)
        .context("the project could not be written whole; run the same command again")?;
    show(invocation, folder, &project, &config, &notes, ui)
}

/// The text of an OpenAPI document.
fn read(path: &Path) -> Result<String, Failure> {
    let text = files::open(path, Links::Followed).and_then(|file| {
        let mut text = String::new();
        file.take(MOST + 1).read_to_string(&mut text)?;
        Ok(text)
    });
    let text = text.map_err(|error| {
        let error = anyhow::Error::new(error).context("the OpenAPI document cannot be read");
        Failure::new(Kind::Usage, error)
    })?;
    if text.len() as u64 > MOST {
        return Err(Failure::usage(format!(
            "{}: expected at most {} MB",
            path.display(),
            MOST / 1024 / 1024
        )));
    }
    Ok(text)
}

/// The stack's name: as typed, as answered, or like that of the folder.
fn name(invocation: &Invocation, args: &cli::Init, folder: &Path, asks: bool) -> Result<String, Failure> {
    if let Some(name) = args.name.as_ref().or(invocation.stack.as_ref()) {
        project::check_name(name).map_err(Failure::usage)?;
        return Ok(name.clone());
    }
    let path = env::current_dir()
        .context("this folder is not there any more")?
        .join(folder);
    // `..` has no name of its own.
    let path = fs_err::canonicalize(&path).unwrap_or(path);
    let like = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let like = project::name_of_folder(&like);
    if asks {
        let default = like.as_deref().unwrap_or(NAME);
        return ask_until("name of the stack?", default, |answer| {
            project::check_name(&answer).map(|()| answer)
        });
    }
    like.ok_or_else(|| {
        Failure::usage("no stack can be called like the folder").hinted("name the stack with --name NAME")
    })
}

fn code(language: InitLanguage) -> Option<Language> {
    match language {
        InitLanguage::Node => Some(Language::Node),
        InitLanguage::Python => Some(Language::Python),
        InitLanguage::Rust => Some(Language::Rust),
        InitLanguage::None => None,
    }
}

fn ask_language() -> Result<InitLanguage, Failure> {
    ask_until(
        "language of its function (node, python, rust, none)?",
        "node",
        |answer| {
            InitLanguage::from_str(&answer, true)
                .map_err(|_| format!("expected node, python, rust or none, got \"{answer}\""))
        },
    )
}

fn ask_region() -> Result<Option<String>, Failure> {
    ask_until("AWS region?", NO_REGION, |answer| {
        if answer == NO_REGION {
            Ok(None)
        } else if (REGION.holds)(&answer) {
            Ok(Some(answer))
        } else {
            Err(format!("expected {}, got \"{answer}\"", REGION.allowed))
        }
    })
}

/// Asks until the answer can be used.
fn ask_until<T>(
    question: &str,
    default: &str,
    used: impl Fn(String) -> Result<T, String>,
) -> Result<T, Failure> {
    let mut asked = question.to_owned();
    loop {
        let Some(answer) = ask(&asked, default) else {
            return Err(Failure::usage("cancelled; nothing was written"));
        };
        match used(answer) {
            Ok(used) => return Ok(used),
            Err(problem) => asked = format!("{problem}; {question}"),
        }
    }
}

/// The project that a document describes, and what of the document it does not have.
fn from_document(
    stack: String,
    region: Option<String>,
    language: Option<Language>,
    imported: Imported,
) -> Result<(Project, Vec<String>), Failure> {
    let answerer = match (imported.url, language) {
        (Some(url), _) => Answerer::Url("api", url),
        (None, Some(language)) => Answerer::Function("api", language),
        (None, None) => {
            let failure = Failure::usage("the document has no server that can answer the routes");
            return Err(failure.hinted("name a language for a function that answers them with --language"));
        }
    };
    let project = Project {
        stack,
        region,
        title: imported.title,
        description: imported.description,
        scopes: imported.scopes,
        answerer,
        routes: imported.routes,
    };
    Ok((project, imported.notes))
}

/// The configuration as every command will read it.
///
/// # Errors
/// It cannot be used, such as for its region: nothing is written then.
fn checked(project: &Project, files: &[File]) -> Result<Config, Failure> {
    // The code must be there when the configuration is read.
    let scratch = tempfile::tempdir()?;
    for file in files {
        fs_err::create_dir_all(files::folder_of(&scratch.path().join(&file.path)))?;
    }
    let config = Config::read(&project::configuration(project), scratch.path());
    config.map_err(|problems| {
        let mut failure = Failure::usage("the new provision.toml cannot be used; nothing was written");
        failure.details = problems.iter().map(ToString::to_string).collect();
        failure
    })
}

fn refuse_conflicts(folder: &Path, project: &Project, files: &[File]) -> Result<(), Failure> {
    let conflicts = project::conflicts(folder, files, project.function_folder());
    let conflicts = conflicts.context("what is in the folder cannot be read")?;
    if conflicts.is_empty() {
        return Ok(());
    }
    let exists = |path: &PathBuf| format!("{} exists already; not overwritten", path.display());
    Err(Failure::all_of(conflicts.iter().map(exists)))
        .hint("nothing was written: choose another folder, or move these away")
}

fn show(
    invocation: &Invocation,
    folder: &Path,
    project: &Project,
    config: &Config,
    notes: &[String],
    ui: &Ui,
) -> Result<(), Failure> {
    let next = next(invocation, folder, project, config);
    let files = project.files();
    if ui.is_json() {
        let document = Document {
            format: 1,
            stack: &project.stack,
            folder,
            files: files.iter().map(|file| file.path.as_path()).collect(),
            not_carried_over: notes,
            next: &next,
        };
        ui.data(&serde_json::to_string_pretty(&document)?);
        return Ok(());
    }
    for file in &files {
        ui.data(&folder.join(&file.path).display().to_string());
    }
    ui.progress(&format!(
        "stack {}: {} files written; next:",
        project.stack,
        files.len()
    ));
    for command in next {
        ui.progress(&format!("  `{command}`"));
    }
    Ok(())
}

/// The commands that try the stack in the sandbox, delete it there, and create it on AWS.
fn next(invocation: &Invocation, folder: &Path, project: &Project, config: &Config) -> Vec<String> {
    let mut next = Vec::new();
    if folder != Path::new(".") {
        next.push(format!("cd {}", quoted(folder.as_os_str())));
    }
    next.extend(project.build_command());
    next.push("provision up --sandbox".to_owned());
    let call = try_call::suggestion(config, invocation);
    let call = call.or_else(|| {
        config
            .clients
            .keys()
            .next()
            .map(|client| format!("provision token {client}"))
    });
    next.extend(call.map(|call| format!("{call} --sandbox")));
    next.push("provision down --sandbox --yes".to_owned());
    next.push("provision up".to_owned());
    next
}
