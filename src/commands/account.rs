//! `account`: what all stacks of an account share in a region.
//!
//! Must not change anything that is set already.

use std::rc::Rc;

use serde_json::json;

use super::configuration;
use super::confirm;
use super::invocation::Invocation;
use super::open::{self, Session};
use super::ui::Ui;
use crate::aws::account_logs::{self, ROLE};
use crate::cli::{AccountLogsAction, AccountSetting};
use crate::error::{Failure, Kind};
use crate::untrusted::printable;

/// Runs it.
pub(super) async fn run(
    invocation: &Invocation,
    setting: &AccountSetting,
    ui: &Rc<Ui>,
) -> Result<(), Failure> {
    let (_, config) = configuration::stack_and_config(invocation)?;
    let region = config.and_then(|config| config.region);
    let session = open::account(invocation, region.as_deref(), ui).await?;
    match setting {
        AccountSetting::Logs { action: None } => show(&session, ui).await,
        AccountSetting::Logs {
            action: Some(AccountLogsAction::Enable { yes }),
        } => enable(&session, *yes, ui).await,
    }
}

async fn show(session: &Session, ui: &Rc<Ui>) -> Result<(), Failure> {
    let role = account_logs::current(&session.cx(ui)).await?;
    tell(session, role.as_deref(), ui)?;
    if role.is_some() {
        return Ok(());
    }
    ui.hint("no API can write access logs: run `provision account logs enable`");
    Err(Failure::silent(Kind::Differs))
}

async fn enable(session: &Session, yes: bool, ui: &Rc<Ui>) -> Result<(), Failure> {
    let cx = session.cx(ui);
    let here = format!(
        "account {}, region {}",
        session.identity.account, session.identity.region
    );
    if let Some(role) = account_logs::current(&cx).await? {
        ui.progress("a role is set already; nothing was changed");
        return tell(session, Some(&role), ui);
    }
    if !yes {
        confirm::confirm(
            ui,
            &format!(
                "Let API Gateway write access logs with role {ROLE}, for all APIs of {here}? The role and the setting stay \
                 when stacks are deleted."
            ),
            "nothing was changed",
            "pass --yes to set it without a question",
        )?;
    }
    let role = account_logs::role(&cx).await?;
    // AWS has no way to set it only if there is none: what somebody else set meanwhile counts.
    let set = match account_logs::current(&cx).await? {
        Some(set) => set,
        None => account_logs::set(&cx, &role).await?.unwrap_or_default(),
    };
    if set == role {
        ui.progress(&format!(
            "enabled for all APIs of {here}; the role and the setting stay when stacks are deleted"
        ));
    } else {
        ui.warn(&format!(
            "someone else has set {} meanwhile, and that one counts; role {ROLE} is not in use here",
            printable(&set)
        ));
    }
    tell(session, Some(&set), ui)
}

fn tell(session: &Session, role: Option<&str>, ui: &Ui) -> Result<(), Failure> {
    if ui.is_json() {
        let content = json!({
            "format": 1, "account": session.identity.account, "region": session.identity.region, "log_role": role,
        });
        ui.data(&serde_json::to_string_pretty(&content)?);
    } else {
        ui.data(&format!("role: {}", role.unwrap_or("none")));
    }
    Ok(())
}
