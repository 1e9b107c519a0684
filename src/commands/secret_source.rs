//! Where the clients' secrets are read from: the place that was named for a client, or else Cognito.
//!
//! Must not keep a secret, nor quote what is in a place.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Read;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};

use super::configuration;
use super::invocation::Invocation;
use crate::aws::{Aws, client_secrets, secrets_manager, ssm};
use crate::cli::SecretSource;
use crate::config::Config;
use crate::error::Failure;
use crate::files::{self, Links};
use crate::resource::{Cx, Result};
use crate::secret_place::SecretPlace;

/// As much of a file as is read, in bytes: what is longer is not a client's secret.
const LIMIT: u64 = 16 * 1024;

/// The places that were named, by the client's name. Nothing of it is in AWS or on record.
#[derive(Default)]
pub(super) struct Sources(BTreeMap<String, SecretSource>);

impl Sources {
    /// The stack's name, and what its configuration names, where one is read: with `--stack` and no `--config` none is.
    pub(super) fn read(invocation: &Invocation) -> Result<(String, Self), Failure> {
        let (stack, config) = configuration::stack_and_config(invocation)?;
        Ok((stack, config.as_ref().map(Self::configured).unwrap_or_default()))
    }

    /// What the configuration names.
    pub(super) fn configured(config: &Config) -> Self {
        let named = config.clients.iter().filter_map(|(client, about)| {
            let place = about.secret_from.clone()?;
            Some((client.clone(), SecretSource::Place(place)))
        });
        Self(named.collect())
    }

    /// Names a place for a client; it goes before what the configuration names.
    pub(super) fn name(&mut self, client: &str, source: SecretSource) {
        self.0.insert(client.to_owned(), source);
    }

    /// The place that was named for this client.
    pub(super) fn of(&self, client: &str) -> Option<&SecretSource> {
        self.0.get(client)
    }
}

/// The client's secret in this place.
///
/// # Errors
/// The place cannot be read, or has no client's secret in it.
pub(super) async fn read(cx: &Cx<Aws>, source: &SecretSource) -> Result<SecretString> {
    let text = match source {
        SecretSource::Place(SecretPlace::SecretsManager(name)) => {
            return secrets_manager::get(cx, name).await;
        }
        SecretSource::Place(SecretPlace::Parameter(name)) => return ssm::get(cx, name).await,
        SecretSource::File(path) => text(files::open(path, Links::Followed)?)?,
        // The error would repeat a value that is not Unicode.
        SecretSource::Env(name) => SecretString::from(
            std::env::var_os(name)
                .with_context(|| format!("environment variable {name} is not set"))?
                .into_string()
                .unwrap_or_default(),
        ),
    };
    in_text(&text, source)
}

/// The client's secret on stdin.
///
/// # Errors
/// There is none.
pub(super) fn stdin() -> Result<SecretString> {
    in_text(&text(std::io::stdin())?, &"stdin")
}

fn text(from: impl Read) -> Result<SecretString> {
    let mut text = String::new();
    from.take(LIMIT).read_to_string(&mut text)?;
    Ok(SecretString::from(text))
}

fn in_text(text: &SecretString, source: &dyn Display) -> Result<SecretString> {
    client_secrets::in_text(text.expose_secret()).with_context(|| {
        format!(
            "{source} has no client's secret in it: expected one line of printable characters, or a JSON object with \
             clientSecretValue"
        )
    })
}
