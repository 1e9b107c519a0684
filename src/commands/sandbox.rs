//! `sandbox start|stop|status`: the local AWS that `--sandbox` uses.
//!
//! Must not touch a stack.

use secrecy::ExposeSecret;
use serde_json::{Map, json};

use super::invocation::Invocation;
use super::ui::Ui;
use crate::aws::clients::{SANDBOX_REGION, SANDBOX_SECRET};
use crate::cli::SandboxAction;
use crate::error::{Failure, Kind};
use crate::sandbox::{self, Sandbox, Settings};

/// Runs it.
pub(super) async fn run(invocation: &Invocation, action: &SandboxAction, ui: &Ui) -> Result<(), Failure> {
    let folder = invocation.sandbox_folder();
    let settings = |port| Settings {
        folder: folder.clone(),
        port,
    };
    match action {
        SandboxAction::Start { port } => {
            let running = sandbox::start(&settings(*port), &|line| ui.progress(line)).await?;
            print(ui, Some(&running), &[]);
            Ok(())
        }
        SandboxAction::Stop => {
            let stopped = sandbox::stop(&settings(None)).await?;
            ui.progress(if stopped {
                "the sandbox is stopped"
            } else {
                "the sandbox was not running"
            });
            if ui.is_json() {
                print(ui, None, &[]);
            }
            Ok(())
        }
        SandboxAction::Status => {
            let running = sandbox::status(&settings(None)).await?;
            let environment = running
                .as_ref()
                .map(|sandbox| environment(sandbox, invocation.region.as_deref()));
            print(ui, running.as_ref(), environment.as_ref().map_or(&[], |it| it));
            match running {
                Some(_) => Ok(()),
                None => Err(Failure::silent(Kind::Differs).hinted("run `provision sandbox start`")),
            }
        }
    }
}

/// What every AWS tool needs to be let in.
fn environment<'a>(sandbox: &'a Sandbox, region: Option<&'a str>) -> [(&'static str, &'a str); 4] {
    [
        ("AWS_ENDPOINT_URL", &sandbox.endpoint),
        ("AWS_ACCESS_KEY_ID", sandbox.token.expose_secret()),
        ("AWS_SECRET_ACCESS_KEY", SANDBOX_SECRET),
        ("AWS_REGION", region.unwrap_or(SANDBOX_REGION)),
    ]
}

fn print(ui: &Ui, running: Option<&Sandbox>, environment: &[(&str, &str)]) {
    if ui.is_json() {
        let mut document = json!({
            "format": 1,
            "running": running.is_some(),
            "endpoint": running.map(|sandbox| &sandbox.endpoint),
        });
        if !environment.is_empty() {
            let variables = environment
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.into()));
            document["environment"] = variables.collect::<Map<_, _>>().into();
        }
        ui.data(&document.to_string());
    } else {
        match running {
            Some(sandbox) => ui.data(&format!("endpoint: {}", sandbox.endpoint)),
            None => ui.progress("the sandbox is not running"),
        }
        for (name, value) in environment {
            ui.data(&format!("{name}={value}"));
        }
    }
}
