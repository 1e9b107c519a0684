//! `doctor`: whether the machine, the credentials, the account and the state are as a run needs them, and what to do where
//! they are not.
//!
//! Must not change anything, in AWS or on disk. Each check is independent: what one finds does not keep another from being made.

mod account;
mod machine;
mod place;
mod quotas;
mod report;
mod rights;

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use self::report::{Finding, Status};
use super::configuration;
use super::invocation::{Invocation, Target};
use super::ui::Ui;
use crate::config::Config;
use crate::error::{Failure, Kind};

/// How long one check may take.
const LIMIT: Duration = Duration::from_secs(15);

/// What is known of the stack before anything is asked.
struct Known {
    /// `None`: there is no file, or it is invalid.
    config: Option<Config>,
    /// `None`: no stack is meant.
    stack: Option<String>,
    /// The account that the environment belongs to.
    account: Option<String>,
}

/// Runs it.
pub(super) async fn run(invocation: &Invocation, ui: &Rc<Ui>) -> Result<(), Failure> {
    let is_sandbox = matches!(invocation.target, Target::Sandbox { .. });
    let work = async {
        if is_sandbox {
            return machine::check(invocation, true).await;
        }
        let (known, configured) = configured(invocation);
        let (machine, account) = tokio::join!(
            machine::check(invocation, false),
            account::check(invocation, &known, ui)
        );
        [machine, vec![configured], account].concat()
    };
    let findings = ui.show_wait("checking", Box::pin(work)).await;
    if ui.is_json() {
        let checks: Vec<_> = findings.iter().map(|finding| finding.completed(ui)).collect();
        ui.data(&serde_json::to_string_pretty(
            &json!({ "format": 1, "checks": checks }),
        )?);
    } else {
        ui.data(&report::table(&findings, ui));
    }
    let to_mend = findings.iter().filter(|finding| finding.status == Status::Mend);
    match to_mend.count() {
        0 => Ok(()),
        number => {
            ui.progress(&format!("to mend: {number}"));
            Err(Failure::silent(Kind::Differs))
        }
    }
}

/// The configuration, if it can be used.
fn configured(invocation: &Invocation) -> (Known, Finding) {
    const CHECK: &str = "configuration";
    let path = invocation.config_path().display();
    let mut known = Known {
        config: None,
        stack: invocation.stack.clone(),
        account: None,
    };
    if !configuration::is_there(invocation) {
        let what = match &known.stack {
            Some(stack) => format!("there is no {path}; the stack is {stack}"),
            None => {
                format!("there is no {path} in this folder: only the machine and the account are checked")
            }
        };
        return (known, Finding::ok(CHECK, what));
    }
    let read = configuration::stack_and_config(invocation);
    let read = read.and_then(|read| Ok((read, configuration::account(invocation)?)));
    match read {
        Ok(((stack, config), account)) => {
            let what = match config {
                Some(_) => format!("{path}, stack {stack}"),
                None => format!("stack {stack}; with --stack, {path} is read only if --config names it"),
            };
            known = Known {
                config,
                stack: Some(stack),
                account,
            };
            (known, Finding::ok(CHECK, what))
        }
        Err(mut failure) => {
            failure.hints =
                vec!["correct the file; `provision plan` lists all that is wrong with it".to_owned()];
            (known, Finding::failed(CHECK, failure))
        }
    }
}

/// `check`, or after [`LIMIT`] that it is not known.
async fn limited(check: &'static str, work: impl Future<Output = Finding>) -> Finding {
    let done = tokio::time::timeout(LIMIT, Box::pin(work)).await;
    done.unwrap_or_else(|_| late(check))
}

fn late(check: &'static str) -> Finding {
    Finding::note(
        check,
        format!("not known: no answer in {} seconds", LIMIT.as_secs()),
        "check the network, and the proxy if there is one",
    )
}
