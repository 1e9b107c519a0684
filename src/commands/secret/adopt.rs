//! `secret adopt`: gives a client a secret that its programs have already, so that it can move here from another pool.
//!
//! Must not print the secret, nor delete one.

use std::io::{self, IsTerminal};
use std::rc::Rc;

use secrecy::SecretString;

use super::super::rotation::{Secrets, since};
use super::super::secret_source;
use super::super::ui::Ui;
use super::{BILLED, Client};
use crate::aws::client_secrets;
use crate::cli::{GivenSecret, SecretSource};
use crate::error::Failure;
use crate::oauth;
use crate::resource::{Class, class};

/// A secret that was given, or where it is.
pub(super) enum Given<'a> {
    Value(SecretString),
    In(&'a SecretSource),
}

impl<'a> Given<'a> {
    /// Reads stdin if that is where the secret is.
    pub(super) fn of(from: &'a GivenSecret) -> Result<Self, Failure> {
        match from {
            GivenSecret::In(source) => Ok(Self::In(source)),
            GivenSecret::Stdin if io::stdin().is_terminal() => {
                Err(Failure::usage("stdin is a terminal, which would show the secret")
                    .hinted("pipe the secret into the command, or use --from file:PATH"))
            }
            GivenSecret::Stdin => Ok(Self::Value(secret_source::stdin()?)),
        }
    }
}

/// If the client has the secret already, nothing is changed: so a run after a lost answer ends well.
pub(super) async fn adopt(client: &Client, given: Given<'_>, ui: &Rc<Ui>) -> Result<(), Failure> {
    let cx = client.cx(ui);
    let value = match given {
        Given::Value(value) => value,
        Given::In(source) => secret_source::read(&cx, source).await?,
    };
    if !client_secrets::can_be_one(&value) {
        return Err(Failure::usage(
            "Cognito does not take this secret: expected 24 to 64 letters, digits, `_` and `+`",
        ));
    }
    let secrets = client.secrets(&cx).await?;
    client.check_unpublished(&cx).await?;
    let http = oauth::http_client(&client.token_url)?;
    match client.ask(&http, &value).await {
        Ok(_) => {
            ui.progress(&format!(
                "client {} has this secret already; nothing was changed{BILLED}",
                client.name
            ));
            return told(client, None, ui);
        }
        Err(error) if error.is_invalid_client() => {}
        Err(error) => return Err(error.into()),
    }
    match secrets {
        Secrets::One(_) => {}
        Secrets::Two { new, .. } => {
            return Err(Failure::usage(format!(
                "client {} has two secrets since {}, which is the most; nothing was changed",
                client.name,
                since(&new)
            ))
            .hinted("if the secret was added a moment ago, it works within 3 minutes: try again then")
            .hinted(format!(
                "if a rotation is under way: `provision secret rotate finish {}`",
                client.named
            )));
        }
        Secrets::Unclear(secrets) => return Err(client.unclear(&secrets)),
    }
    client.check_lock().await?;
    let again = "run the same command again: it first looks whether the client has the secret";
    let id = client_secrets::adopt(&cx, &client.pool, &client.id, &value)
        .await
        .map_err(|error| {
            let is_unclear = matches!(class(&error), Some(Class::Ambiguous) | None);
            let what = format!("cannot give client {} the secret", client.name);
            let failure = Failure::from(error.context(what));
            if is_unclear {
                failure.hinted(again)
            } else {
                failure
            }
        })?;
    client.accepted(&value, ui).await.map_err(|error| {
        let what = format!(
            "client {} has the secret, but the token endpoint has not accepted it yet",
            client.name
        );
        Failure::from(error.context(what)).hinted(again)
    })?;
    ui.progress(&format!(
        "client {} has two secrets, and both work{BILLED}",
        client.name
    ));
    ui.progress(&format!(
        "to delete the one that it had before: `provision secret rotate finish {}`",
        client.named
    ));
    told(client, Some(&id), ui)
}

/// With `--json` the document; `secret` is the id of the secret that was added, if one was.
fn told(client: &Client, secret: Option<&str>, ui: &Ui) -> Result<(), Failure> {
    if ui.is_json() {
        ui.data(&serde_json::to_string_pretty(&client.document(secret))?);
    }
    Ok(())
}
