//! `sandbox start|stop|status`: the local AWS that `--sandbox` uses.
//!
//! Must not touch a stack.

use serde_json::json;

use super::talk::Talk;
use crate::cli::{Global, SandboxAction};
use crate::error::{Failure, Kind};
use crate::sandbox::{self, Sandbox, Settings};

/// Runs it.
pub async fn run(global: &Global, action: &SandboxAction, talk: &Talk) -> Result<(), Failure> {
    let folder = global.state_dir.join("sandbox");
    let settings = |port| Settings {
        folder: folder.clone(),
        port,
    };
    match action {
        SandboxAction::Start { port } => {
            let running = sandbox::start(&settings(*port), &|line| talk.say(line)).await?;
            print(talk, Some(&running));
            Ok(())
        }
        SandboxAction::Stop => {
            let stopped = sandbox::stop(&settings(None)).await?;
            talk.say(if stopped {
                "the sandbox is stopped"
            } else {
                "the sandbox was not running"
            });
            if talk.is_json() {
                print(talk, None);
            }
            Ok(())
        }
        SandboxAction::Status => {
            let running = sandbox::status(&settings(None)).await?;
            print(talk, running.as_ref());
            match running {
                Some(_) => Ok(()),
                None => Err(Failure::silent(Kind::Differs).hinted("run `provision sandbox start`")),
            }
        }
    }
}

fn print(talk: &Talk, running: Option<&Sandbox>) {
    if talk.is_json() {
        let document = json!({
            "format": 1,
            "running": running.is_some(),
            "endpoint": running.map(|sandbox| &sandbox.endpoint),
        });
        talk.data(&document.to_string());
    } else {
        match running {
            Some(sandbox) => talk.data(&format!("endpoint: {}", sandbox.endpoint)),
            None => talk.say("the sandbox is not running"),
        }
    }
}
