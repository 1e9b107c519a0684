//! A local AWS for a first try and for the tests: starts, finds and stops MiniStack, an emulator in a process of its own.
//!
//! Must not listen or connect anywhere but on 127.0.0.1, and must not send the token to a server that has not proved that it
//! has the token.
//!
//! `main.py` patches answers of MiniStack that differ from AWS's, and emulates a client's second secret, which MiniStack does
//! not have. `front.py` decides which requests reach MiniStack.
//!
//! On SIGTERM, which [`stop`] sends, the emulator writes its content to its folder, and reads it at the next start. If it is
//! killed, or the machine crashes, everything since its start is lost.

mod examine;
mod install;
mod process;
mod token;

use std::fs::Permissions;
use std::io::BufReader;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::error::{Failure, Hint};
use crate::files::{self, Links, Replacement};
pub(crate) use examine::{node_version, python_version};
pub(crate) use install::{emulator_version, is_installed};
use process::Server;

/// The emulator imports a hundred modules, which takes long on a slow machine.
const START_DEADLINE: Duration = Duration::from_mins(2);
/// The emulator writes its content on SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
/// How many ports are tried.
const PORTS: u32 = 3;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The folder with the content, the log and the record of the running process.
    pub folder: PathBuf,
    /// The port on 127.0.0.1; `None`: the port that it had before, or a free one.
    pub port: Option<u16>,
}

/// A running sandbox, which has proved that it has the token of its folder.
pub(crate) struct Sandbox {
    /// Where AWS calls go, without a slash at the end.
    pub endpoint: String,
    /// The access key id that it accepts.
    pub token: SecretString,
}

/// `server.json`. The next start takes the same port, which is part of every recorded endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    port: u16,
    process: Option<u32>,
}

/// Starts the sandbox unless it runs; `tell` gets a line for each step that takes long.
///
/// # Errors
/// Python or Node.js is missing, the installation failed, the port is in use, or the emulator did not start.
pub(crate) async fn start(settings: &Settings, tell: &dyn Fn(&str)) -> Result<Sandbox, Failure> {
    let folder = private_folder(&settings.folder)?;
    let _lock = process::lock(
        &folder.join("server.lock"),
        tell,
        "another run to start the sandbox",
    )
    .await?;
    let recorded = read(&folder)?;
    let mut token = token::read(&folder)?;
    if token.is_none() {
        // An emulator that an earlier version started accepts everybody.
        stop(settings).await?;
    }
    if let Some(record) = &recorded
        && let Some(token) = &token
        && let Some(server) = running(&folder, record)
    {
        if settings.port.is_some_and(|port| port != record.port) {
            return Err(
                Failure::usage(format!("the sandbox already runs on port {}", record.port))
                    .hinted("run `provision sandbox stop` first"),
            );
        }
        return wait_until_healthy(&folder, record.port, token, server).await;
    }
    let token = match token.take() {
        Some(token) => token,
        None => token::make(&folder)?,
    };
    let node = process::node()
        .await
        .hint("install Node.js 18 or newer: the emulator runs the function with it")?;
    let python = install::python(tell).await?;
    let fixed = settings.port.or(recorded.map(|record| record.port));
    let mut tries = 1;
    loop {
        let port = fixed.map_or_else(free_port, Ok)?;
        if is_taken(port) {
            return Err(
                Failure::from(anyhow!("port {port} of 127.0.0.1 is in use by another program"))
                    .hinted("stop that program, as the stacks in this sandbox are on record under that port")
                    .hinted("or, if there are none: provision sandbox start --port PORT"),
            );
        }
        tell(&format!("starting the sandbox on 127.0.0.1:{port}"));
        write(&folder, &Record { port, process: None })?;
        let server = process::spawn(&python, &node, &folder, port).context("cannot start the emulator")?;
        let record = Record {
            port,
            process: Some(server.id()),
        };
        write(&folder, &record)?;
        match wait_until_healthy(&folder, port, &token, server).await {
            // Another program took the free port before the emulator did.
            Err(_) if fixed.is_none() && tries < PORTS && is_taken(port) => tries += 1,
            started => return started,
        }
    }
}

fn is_taken(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_err()
}

/// The folder of the sandbox, which is created if it is missing. Only its owner can enter it, because it contains the token
/// and the secrets of the clients.
fn private_folder(path: &Path) -> Result<PathBuf, Failure> {
    fs_err::create_dir_all(path)?;
    let folder = fs_err::canonicalize(path)?;
    let others = fs_err::metadata(&folder)?.permissions().mode() & 0o077;
    if others == 0 {
        return Ok(folder);
    }
    if fs_err::symlink_metadata(path)?.is_symlink() {
        // The folder may have another purpose.
        return Err(Failure::usage(format!(
            "cannot keep the sandbox in {}: it is a symbolic link to {}, which other users can enter",
            path.display(),
            folder.display()
        ))
        .hinted(format!(
            "run `chmod 700 {}` if that folder is for the sandbox alone",
            folder.display()
        ))
        .hinted("or delete the link"));
    }
    fs_err::set_permissions(&folder, Permissions::from_mode(0o700))?;
    Ok(folder)
}

/// Stops the sandbox; `false` if it was not running.
pub(crate) async fn stop(settings: &Settings) -> Result<bool, Failure> {
    let Ok(folder) = fs_err::canonicalize(&settings.folder) else {
        return Ok(false);
    };
    let Some(record) = read(&folder)? else {
        return Ok(false);
    };
    let Some(mut server) = running(&folder, &record) else {
        return Ok(false);
    };
    for kill in [false, true] {
        server.signal(kill)?;
        let deadline = Instant::now() + STOP_DEADLINE;
        while Instant::now() < deadline {
            // The record stays: it has the port, and each run checks its process again. A write here could overwrite the
            // record of another run that is just starting the sandbox.
            if !server.is_running() {
                return Ok(true);
            }
            sleep(PAUSE).await;
        }
    }
    Err(anyhow!("the emulator, process {}, does not stop", server.id()).into())
}

/// The sandbox, if it runs and answers.
pub(crate) async fn status(settings: &Settings) -> Result<Option<Sandbox>, Failure> {
    let Ok(folder) = fs_err::canonicalize(&settings.folder) else {
        return Ok(None);
    };
    let Some(record) = read(&folder)? else {
        return Ok(None);
    };
    if running(&folder, &record).is_none() {
        return Ok(None);
    }
    let Some(token) = token::read(&folder)? else {
        return Ok(None);
    };
    let proved = token::is_proved(record.port, &token).await?;
    Ok(proved.then(|| sandbox(record.port, &token)))
}

fn sandbox(port: u16, token: &SecretString) -> Sandbox {
    Sandbox {
        endpoint: format!("http://127.0.0.1:{port}"),
        token: token.clone(),
    }
}

fn running(folder: &Path, record: &Record) -> Option<Server> {
    // A run that was killed right after it started the emulator did not record the process.
    let processes = [record.process, process::own_record(folder, record.port)];
    processes
        .into_iter()
        .flatten()
        .map(|process| Server::recorded(process, folder))
        .find_map(|mut server| server.is_running().then_some(server))
}

async fn wait_until_healthy(
    folder: &Path,
    port: u16,
    token: &SecretString,
    mut server: Server,
) -> Result<Sandbox, Failure> {
    let deadline = Instant::now() + START_DEADLINE;
    while !token::is_proved(port, token).await? {
        let log = folder.join("emulator.log");
        let problem = if !server.is_running() {
            "ended at once"
        } else if Instant::now() > deadline {
            server.signal(false)?;
            "does not answer"
        } else {
            sleep(PAUSE).await;
            continue;
        };
        let text = fs_err::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(8)..].join("\n");
        return Err(
            Failure::from(anyhow!("{last}").context(format!("the emulator {problem}")))
                .hinted(format!("read the whole log: {}", log.display())),
        );
    }
    Ok(sandbox(port, token))
}

/// A free port below the ones that systems assign, because an assigned port could belong to another program at the next
/// start.
fn free_port() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let random = u16::try_from(getrandom::u32()? % 10_000).expect("it is below 10,000");
        let port = 20_000 + random;
        if !is_taken(port) {
            return Ok(port);
        }
    }
    Err(anyhow!("no port of 127.0.0.1 between 20000 and 29999 is free"))
}

fn read(folder: &Path) -> Result<Option<Record>, Failure> {
    let path = folder.join("server.json");
    match files::open(&path, Links::Refused) {
        Ok(file) => {
            let record = serde_json::from_reader(BufReader::new(file))
                .with_context(|| format!("{} does not parse", path.display()));
            Ok(Some(
                record.hint("stop the emulator if it runs, and delete that file")?,
            ))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write(folder: &Path, record: &Record) -> Result<(), Failure> {
    let path = folder.join("server.json");
    Replacement::write(&path, &serde_json::to_vec(record)?, 0o600)?.persist(&path)?;
    Ok(())
}
