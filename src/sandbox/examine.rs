//! What the sandbox needs of this machine, for a report.
//!
//! Must not install or start anything.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::{install, process};
use crate::error::{Failure, Hint};

/// The oldest Node.js that the functions of a stack are run with.
const OLDEST_NODE: u32 = 18;

/// The Python that the emulator would be installed with, if it is new enough and can make virtual environments.
pub(crate) async fn python_version() -> Result<String, Failure> {
    let python = install::system_python().await?;
    let code = "import sys, ensurepip, venv; print('Python', sys.version.split()[0])";
    let version = output(install::isolated(&python).args(["-c", code])).await;
    let version = version
        .with_context(|| format!("{} cannot make a virtual environment", python.display()))
        .hint("on Debian and Ubuntu: apt-get install python3-venv")?;
    Ok(format!("{version}, {}", python.display()))
}

/// The Node.js that functions would be run with, if it is new enough.
pub(crate) async fn node_version() -> Result<String, Failure> {
    let hint = "install Node.js 18 or newer: the emulator runs the function with it";
    let folder = process::node().await.hint(hint)?;
    let node = folder.join("node");
    let version = checked_node(&node).await.hint(hint)?;
    Ok(format!("Node.js {version}, {}", node.display()))
}

async fn checked_node(node: &Path) -> anyhow::Result<String> {
    let version = output(Command::new(node).arg("--version")).await?;
    let version = version.trim_start_matches('v').to_owned();
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    let major = major.with_context(|| format!("{} is not a Node.js", node.display()))?;
    ensure!(
        major >= OLDEST_NODE,
        "{}: expected Node.js {OLDEST_NODE} or newer, got {version}",
        node.display()
    );
    Ok(version)
}

/// The trimmed stdout of a program that has to succeed.
async fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    ensure!(output.status.success(), "{}", text(&output.stderr));
    Ok(text(&output.stdout))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_node_that_is_too_old_or_is_not_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("node");
        for (says, words) in [
            ("v22.11.0", Ok("22.11.0")),
            ("v18.0.0", Ok("18.0.0")),
            ("v16.20.2", Err("expected Node.js 18 or newer, got 16.20.2")),
            ("hello", Err("is not a Node.js")),
        ] {
            fs_err::write(&node, format!("#!/bin/sh\necho {says}\n")).unwrap();
            fs_err::set_permissions(&node, Permissions::from_mode(0o700)).unwrap();
            let found = checked_node(&node).await.map_err(|error| error.to_string());
            match words {
                Ok(version) => assert_eq!(found.as_deref(), Ok(version)),
                Err(words) => assert!(found.unwrap_err().contains(words), "{says}"),
            }
        }
    }
}
