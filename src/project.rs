//! A new project: the configuration of a stack and the code of its function, as files.
//!
//! Must not ask anyone, and must not know AWS.

mod file;
mod import;
mod language;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::config::{DOMAIN_WORDS, check_stack};

pub(crate) use self::file::{CONFIG, configuration};
pub(crate) use self::import::{Imported, import};
pub(crate) use self::language::Language;
pub(crate) use self::write::{conflicts, write};

/// The most scopes that one client can have.
const CLIENT_SCOPES: usize = 50;

/// What a new stack consists of. Nothing of it is checked but the names that [`check_name`] checks.
#[derive(Debug)]
pub(crate) struct Project {
    /// The stack's name.
    pub stack: String,
    /// `None`: the environment or the profile says it.
    pub region: Option<String>,
    /// `None`: the stack's name.
    pub title: Option<String>,
    /// `None`: the default.
    pub description: Option<String>,
    /// The description of every full scope, `<identifier>/<scope>`.
    pub scopes: BTreeMap<String, String>,
    pub answerer: Answerer,
    /// The scopes of every route, such as `GET /hello`. Empty: the stack has no API.
    pub routes: BTreeMap<String, BTreeSet<String>>,
}

/// What answers the routes of a new stack.
#[derive(Debug)]
pub(crate) enum Answerer {
    /// A function of this name, with its code in a folder of this name.
    Function(&'static str, Language),
    /// A back end of this name at a URL.
    Url(&'static str, String),
    /// Nothing: the stack has no API.
    Nothing,
}

/// A file of a new project.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// From the project's folder.
    pub path: PathBuf,
    pub text: String,
    /// Whether it can be run.
    pub is_program: bool,
}

impl Project {
    /// One route, `GET /hello`, and a client that may call it.
    pub(crate) fn hello(stack: String, region: Option<String>, language: Option<Language>) -> Self {
        let scope = format!("{stack}/read");
        let routes = language.map(|_| ("GET /hello".to_owned(), [scope.clone()].into()));
        Self {
            region,
            title: None,
            description: None,
            scopes: [(scope, format!("Read what {stack} has"))].into(),
            answerer: language.map_or(Answerer::Nothing, |language| {
                Answerer::Function("hello", language)
            }),
            routes: routes.into_iter().collect(),
            stack,
        }
    }

    /// The files in the order in which they are written: with the last one, the configuration, the project is complete.
    pub(crate) fn files(&self) -> Vec<File> {
        let mut files = match &self.answerer {
            Answerer::Function(name, language) => language.files(name),
            Answerer::Url(..) | Answerer::Nothing => Vec::new(),
        };
        files.push(File {
            path: CONFIG.into(),
            text: configuration(self),
            is_program: false,
        });
        files
    }

    /// The folder of the function, from the project's folder; `None` without a function.
    pub(crate) fn function_folder(&self) -> Option<&'static str> {
        match self.answerer {
            Answerer::Function(name, _) => Some(name),
            Answerer::Url(..) | Answerer::Nothing => None,
        }
    }

    /// What has to be run in the project's folder before the function works; `None` if it works as it is.
    pub(crate) fn build_command(&self) -> Option<String> {
        match self.answerer {
            Answerer::Function(name, language) => language.build_command(name),
            Answerer::Url(..) | Answerer::Nothing => None,
        }
    }

    /// The clients with their scopes: `app`, and more where it cannot have all scopes.
    fn clients(&self) -> Vec<(String, Vec<&String>)> {
        let scopes: Vec<&String> = self.scopes.keys().collect();
        let parts = scopes.chunks(CLIENT_SCOPES).enumerate();
        let named = parts.map(|(index, scopes)| {
            let name = match index {
                0 => "app".to_owned(),
                _ => format!("app-{}", index + 1),
            };
            (name, scopes.to_vec())
        });
        named.collect()
    }
}

/// Whether a new stack can have this name: it becomes the domain prefix as well.
///
/// # Errors
/// It cannot, and why.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    check_stack(name)?;
    match DOMAIN_WORDS.into_iter().find(|word| name.contains(word)) {
        Some(word) => Err(format!(
            "stack \"{name}\": must not contain \"{word}\", which Cognito refuses in a domain"
        )),
        None => Ok(()),
    }
}

/// The name of a stack that is most like the name of its folder; `None` if none is like it.
pub(crate) fn name_of_folder(folder: &str) -> Option<String> {
    let words = folder.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let name = words.join("-");
    let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let name = name[..name.len().min(30)].trim_end_matches('-');
    check_name(name).is_ok().then(|| name.to_owned())
}

#[cfg(test)]
mod tests;
