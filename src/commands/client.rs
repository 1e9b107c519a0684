//! `client`: which clients there are, and what another team needs to use one.
//!
//! Must not read a secret.

mod blocks;
mod list;
mod sheet;
mod snippets;

use std::rc::Rc;

use super::invocation::Invocation;
use super::ui::Ui;
use crate::cli::ClientAction;
use crate::error::Failure;

/// Runs it.
pub(super) async fn run(invocation: &Invocation, action: &ClientAction, ui: &Rc<Ui>) -> Result<(), Failure> {
    match action {
        ClientAction::List { max_secret_age } => list::run(invocation, *max_secret_age, ui).await,
        ClientAction::Sheet { client, format } => {
            sheet::run(invocation, client.as_deref(), *format, ui).await
        }
    }
}
