//! Where a client's secret goes: to stdout, into a file for its owner alone, into a secret of Secrets Manager, or into a
//! parameter of Systems Manager.
//!
//! Must not write over a file or what others made, and must not let a secret be anywhere else.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::Context;
use fs_err::os::unix::fs::OpenOptionsExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::follow_up::quoted;
use super::open::Session;
use super::ui::Ui;
use crate::aws::ssm::{Found, Parameter};
use crate::aws::tags::{STACK, Tags};
use crate::aws::{Aws, secrets_manager};
use crate::cli::{Destination, To};
use crate::error::{Failure, Kind};
use crate::files;
use crate::resource::{Class, Cx, class, is_stranger};
use crate::secret_place::SecretPlace;

/// Refuses a role for a place that no role is needed for, before any call.
pub(super) fn check(to: &To) -> Result<(), Failure> {
    match (&to.role, &to.destination) {
        (Some(_), Some(Destination::File(_))) => Err(Failure::usage(
            "--to-role cannot be used with --to file:PATH: expected secretsmanager:NAME or ssm:/PATH",
        )),
        _ => Ok(()),
    }
}

/// Whose secret it is.
pub(super) struct Of<'a> {
    pub session: &'a Session,
    /// Those of the stack.
    pub tags: &'a Tags,
    /// The client's name.
    pub client: &'a str,
}

/// A place that was seen to be usable, before there is a secret to put there.
pub(super) enum HandOut {
    /// For people the bare secret, with `--json` in a document.
    Stdout,
    /// An empty file of ours.
    File(NewFile),
    Place {
        place: SecretPlace,
        /// The ARN of the role that writes there, if it is not the credentials' own.
        role: Option<String>,
        /// With the rights of that role.
        cx: Cx<Aws>,
        how: How,
    },
}

/// How a place is filled.
pub(super) enum How {
    /// A secret of Secrets Manager that is there.
    Secret {
        /// Its name or ARN.
        name: String,
        /// Marks all attempts of this hand-out as one.
        token: String,
    },
    /// A parameter of Systems Manager.
    Parameter(Parameter, Found),
}

impl HandOut {
    /// Makes the file, or looks for the secret or the parameter, that the user named.
    ///
    /// # Errors
    /// The file is there already or cannot be made; the secret is not there, the parameter is of someone else, or they may
    /// not be looked at.
    pub(super) async fn open(to: &To, of: &Of<'_>, ui: &Rc<Ui>) -> Result<Self, Failure> {
        let place = match &to.destination {
            None => return Ok(Self::Stdout),
            Some(Destination::File(path)) => return NewFile::make(path).map(Self::File),
            Some(Destination::Place(place)) => place.clone(),
        };
        let stack = of.tags.get(STACK).map(String::as_str).unwrap_or_default();
        let cx = match &to.role {
            None => of.session.cx(ui),
            Some(role) => of.session.cx_as(role, stack, ui).await?,
        };
        let how = match &place {
            SecretPlace::SecretsManager(name) => {
                let looked = secrets_manager::check(&cx, name).await;
                looked.map_err(|error| unusable(error, &place))?;
                let mut token = [0; 16];
                getrandom::fill(&mut token)?;
                How::Secret {
                    name: name.clone(),
                    token: format!("{:032x}", u128::from_ne_bytes(token)),
                }
            }
            SecretPlace::Parameter(name) => {
                let parameter = Parameter {
                    name: name.clone(),
                    tags: of.tags.clone(),
                    description: format!("The secret of client {} of stack {stack}", of.client),
                };
                let found = parameter.look(&cx).await;
                let found = found.map_err(|error| unusable(error, &place))?;
                How::Parameter(parameter, found)
            }
        };
        Ok(Self::Place {
            place,
            role: to.role.clone(),
            cx,
            how,
        })
    }

    /// Hands the secret out; with `--json`, `document` says whose it is and where it went, or has it in it.
    ///
    /// # Errors
    /// It could not be written, or is not known to be.
    pub(super) async fn hand(
        self,
        ui: &Ui,
        secret: &SecretString,
        mut document: Value,
    ) -> Result<(), Failure> {
        let to = match self {
            Self::Stdout => {
                if ui.is_json() {
                    document["client_secret"] = secret.expose_secret().into();
                    ui.data(&serde_json::to_string_pretty(&document)?);
                } else {
                    ui.data(secret.expose_secret());
                }
                // A reader that went away has not got it, which is not a success here.
                return ui.stdout_result().map_err(Failure::from);
            }
            Self::File(file) => {
                let to = format!("file:{}", file.path.display());
                file.fill(secret)?;
                to
            }
            Self::Place { place, role, cx, how } => {
                let filled = match &how {
                    How::Secret { name, token } => secrets_manager::put(&cx, name, token, secret).await,
                    How::Parameter(parameter, found) => parameter.put(&cx, *found, secret).await,
                };
                filled.map_err(|error| unusable(error.into(), &place))?;
                if let Some(role) = role {
                    document["role"] = role.into();
                }
                place.to_string()
            }
        };
        ui.progress(&format!("the secret is in {to}"));
        if ui.is_json() {
            document["to"] = to.into();
            ui.data(&serde_json::to_string_pretty(&document)?);
        }
        Ok(())
    }
}

/// What keeps a place from being filled, and what helps.
fn unusable(error: anyhow::Error, place: &SecretPlace) -> Failure {
    let cannot = format!("cannot write to {place}");
    match (class(&error), place) {
        // It is not there, or not for long.
        (None, SecretPlace::SecretsManager(name)) => Failure::new(Kind::Usage, error).hinted(format!(
            "create the secret first: aws secretsmanager create-secret --name {name}"
        )),
        (None, SecretPlace::Parameter(name)) => {
            let name = quoted(name.as_ref());
            let hint = if is_stranger(&error) {
                format!(
                    "name another parameter, or, if nobody uses this one: aws ssm delete-parameter --name {name}"
                )
            } else {
                format!(
                    "delete the parameter, which then is created again: aws ssm delete-parameter --name {name}"
                )
            };
            Failure::new(Kind::Usage, error).hinted(hint)
        }
        (Some(Class::Ambiguous), _) => Failure::from(error.context(cannot)).hinted(format!(
            "the secret may have been stored anyway: check whether {place} has a new version"
        )),
        _ => error.context(cannot).into(),
    }
}

/// A file that was not there before, for its owner alone; removed again unless it gets its secret.
pub(super) struct NewFile {
    path: PathBuf,
    file: fs_err::File,
    filled: bool,
}

impl NewFile {
    fn make(path: &Path) -> Result<Self, Failure> {
        let made = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match made {
            Ok(file) => Ok(Self {
                path: path.to_owned(),
                file,
                filled: false,
            }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let failure = Failure::usage(format!("{} already exists; not overwritten", path.display()));
                let empty = fs_err::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0);
                Err(if empty {
                    failure.hinted("it is empty, as a killed run leaves it; if so, delete it")
                } else {
                    failure.hinted("name a new file with --to")
                })
            }
            Err(error) => Err(Failure::new(Kind::Usage, error)),
        }
    }

    /// Writes the secret and one newline, to the disk.
    fn fill(mut self, secret: &SecretString) -> anyhow::Result<()> {
        let text = SecretString::from(format!("{}\n", secret.expose_secret()));
        self.file.write_all(text.expose_secret().as_bytes())?;
        self.file.sync_all()?;
        files::sync_folder(files::folder_of(&self.path))
            .context("the file may not outlast a power failure")?;
        self.filled = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.filled {
            // What cannot be removed has no secret that anybody was told of.
            drop(fs_err::remove_file(&self.path));
        }
    }
}
