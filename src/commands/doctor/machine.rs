//! What the sandbox needs of this machine.
//!
//! Must not start or install anything.

use super::super::invocation::Invocation;
use super::limited;
use super::report::{Finding, Status};
use crate::error::Failure;
use crate::sandbox;

/// `is_needed`: whether the sandbox is what the user wants to run; otherwise what it lacks is only to be known.
pub(super) async fn check(invocation: &Invocation, is_needed: bool) -> Vec<Finding> {
    let folder = invocation.sandbox_folder();
    let (python, node, installed, running) = tokio::join!(
        limited("python", async {
            told("python", sandbox::python_version().await)
        }),
        limited("node", async { told("node", sandbox::node_version().await) }),
        limited("emulator", async { emulator() }),
        limited("sandbox", running(&folder)),
    );
    let mut findings = vec![python, node, installed, running];
    for finding in &mut findings {
        if !is_needed && finding.status == Status::Mend {
            finding.status = Status::Note;
            finding.what.push_str(" (only for --sandbox)");
        }
    }
    findings
}

fn told(check: &'static str, found: Result<String, Failure>) -> Finding {
    match found {
        Ok(what) => Finding::ok(check, what),
        Err(failure) => Finding::failed(check, failure),
    }
}

fn emulator() -> Finding {
    const CHECK: &str = "emulator";
    let wanted = sandbox::emulator_version();
    match sandbox::is_installed() {
        Ok(true) => Finding::ok(CHECK, format!("{wanted} is installed")),
        Ok(false) => Finding::ok(
            CHECK,
            format!("{wanted} will be installed by the first command with --sandbox"),
        ),
        Err(failure) => Finding::failed(CHECK, failure),
    }
}

async fn running(folder: &std::path::Path) -> Finding {
    const CHECK: &str = "sandbox";
    let settings = sandbox::Settings {
        folder: folder.to_owned(),
        port: None,
    };
    match sandbox::status(&settings).await {
        Ok(Some(sandbox)) => Finding::ok(CHECK, format!("runs at {}", sandbox.endpoint)),
        Ok(None) => Finding::ok(CHECK, "is not running; a command with --sandbox starts it"),
        Err(failure) => Finding::failed(CHECK, failure),
    }
}
