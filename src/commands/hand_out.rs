//! Where a client's secret goes: to stdout, into a file for its owner alone, or into a secret of Secrets Manager.
//!
//! Must not write over a file, and must not let a secret be anywhere else.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use fs_err::os::unix::fs::OpenOptionsExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::ui::Ui;
use crate::aws::{Aws, secrets_manager};
use crate::cli::Destination;
use crate::error::{Failure, Kind};
use crate::files;
use crate::resource::{Class, Cx, class};

/// A place that was seen to be usable, before there is a secret to put there.
pub(super) enum HandOut {
    /// For people the bare secret, with `--json` in a document.
    Stdout,
    /// An empty file of ours.
    File(NewFile),
    /// A secret that is there.
    SecretsManager {
        /// Its name or ARN.
        name: String,
        /// Marks all attempts of this hand-out as one.
        token: String,
    },
}

impl HandOut {
    /// Makes the file, or looks for the secret, that the user named.
    ///
    /// # Errors
    /// The file is there already or cannot be made; the secret is not there, or may not be looked at.
    pub(super) async fn open(to: Option<&Destination>, cx: &Cx<Aws>) -> Result<Self, Failure> {
        match to {
            None => Ok(Self::Stdout),
            Some(Destination::File(path)) => NewFile::make(path).map(Self::File),
            Some(Destination::SecretsManager(name)) => {
                secrets_manager::check(cx, name)
                    .await
                    .map_err(|error| unusable(error, name))?;
                let mut token = [0; 16];
                getrandom::fill(&mut token)?;
                Ok(Self::SecretsManager {
                    name: name.clone(),
                    token: format!("{:032x}", u128::from_ne_bytes(token)),
                })
            }
        }
    }

    /// Hands the secret out; with `--json`, `document` says whose it is and where it went, or has it in it.
    ///
    /// # Errors
    /// It could not be written, or is not known to be.
    pub(super) async fn hand(
        self,
        cx: &Cx<Aws>,
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
            Self::SecretsManager { name, token } => {
                secrets_manager::put(cx, &name, &token, secret)
                    .await
                    .map_err(|error| unusable(error.into(), &name))?;
                format!("secretsmanager:{name}")
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

/// What keeps a secret of Secrets Manager from being filled, and what helps.
fn unusable(error: anyhow::Error, name: &str) -> Failure {
    match class(&error) {
        // It is not there, or not for long.
        None => Failure::new(Kind::Usage, error).hinted(format!(
            "create the secret first: aws secretsmanager create-secret --name {name}"
        )),
        Some(Class::Ambiguous) => Failure::from(error).hinted(format!(
            "the secret may have been stored anyway: check whether {name} has a new version"
        )),
        _ => error
            .context(format!("cannot fill secret {name} of secrets manager"))
            .into(),
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
