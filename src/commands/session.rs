//! What most commands begin with: the stack's name, its state, and AWS.
//!
//! Must not change anything in AWS, nor write a state.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::recorded;
use super::ui::Ui;
use super::upgrade::upgrade;
use crate::aws::clients::{Access, identify, load};
use crate::aws::errors::is_signature_refusal;
use crate::aws::wait::told_if_slow;
use crate::aws::{Aws, Identity};
use crate::cli::Global;
use crate::config::{Config, Problem, Source, check_stack};
use crate::error::{Failure, Hint, Kind};
use crate::files::Links;
use crate::package::Package;
use crate::resource::{CallError, Class, Cx, Result, class};
use crate::state::{FORMAT, Holder, Lock, LockError, State, StateError, StateFile, StateWriter};
use crate::{files, sandbox};

/// What is looked for where no `--config` is given.
const FILE: &str = "provision.toml";

/// The stack's configuration, checked: the file's, or the sample's where there is none.
pub fn config(global: &Global) -> Result<Config, Failure> {
    let stack = given_name(global)?;
    let config = match file(global)? {
        Some((path, text)) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            let config = match stack {
                Some(stack) => Config::read_as(&text, folder, stack),
                None => Config::read(&text, folder),
            };
            config.map_err(|problems| broken(&path, &problems))?
        }
        None => Config::sample(),
    };
    match stack {
        Some(stack) => config.renamed(stack).map_err(Failure::usage),
        None => Ok(config),
    }
}

/// The stack's name, for what needs nothing else of the configuration: with `--stack` no file is read.
pub fn stack_name(global: &Global) -> Result<String, Failure> {
    match given_name(global)? {
        Some(stack) => Ok(stack.to_owned()),
        None => Ok(config(global)
            .hint("name the stack with --stack: this command then needs no configuration")?
            .stack),
    }
}

/// The stack's name, and its configuration where one is read: with `--stack` only the one that `--config` names, as
/// another in this folder may be another stack's.
pub fn stack_and_config(global: &Global) -> Result<(String, Option<Config>), Failure> {
    match given_name(global)? {
        Some(stack) if global.config.is_none() => Ok((stack.to_owned(), None)),
        _ => {
            let config = config(global).hint(
                "name the stack with --stack: without --config this command then needs no configuration",
            )?;
            Ok((config.stack.clone(), Some(config)))
        }
    }
}

/// The name of `--stack`; it becomes a part of file names.
fn given_name(global: &Global) -> Result<Option<&str>, Failure> {
    let stack = global.stack.as_deref();
    stack.map_or(Ok(()), check_stack).map_err(Failure::usage)?;
    Ok(stack)
}

fn config_path(global: &Global) -> PathBuf {
    global.config.clone().unwrap_or_else(|| PathBuf::from(FILE))
}

/// The configuration file and its text; `None` where the sample is meant.
fn file(global: &Global) -> Result<Option<(PathBuf, String)>, Failure> {
    let path = config_path(global);
    match files::open(&path, Links::Followed).and_then(io::read_to_string) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && global.config.is_none() => Ok(None),
        Err(error) => Err(Failure::new(
            Kind::Usage,
            anyhow::Error::new(error).context("the configuration cannot be read"),
        )),
    }
}

/// All that is wrong with the file, a line each.
fn broken(path: &Path, problems: &[Problem]) -> Failure {
    let path = path.display();
    let mut failure = Failure::usage(match problems.len() {
        1 => format!("{path} has a problem"),
        number => format!("{path} has {number} problems"),
    });
    failure.details = problems
        .iter()
        .map(|problem| format!("{path}:{problem}"))
        .collect();
    failure
}

/// The folder of this run's state files.
pub fn state_folder(global: &Global) -> PathBuf {
    if global.sandbox {
        global.state_dir.join("sandbox")
    } else {
        global.state_dir.clone()
    }
}

/// The stack's state file; touches nothing.
pub fn state_file(global: &Global, stack: &str) -> StateFile {
    StateFile::new(&state_folder(global), stack)
}

/// What is on record, if anything, checked.
pub fn load_state(file: &StateFile) -> Result<Option<State>, Failure> {
    let state = file.load().map_err(state_failure)?;
    usable(state)
}

/// What is on record, if anything, and the right to change it.
pub fn open_state(file: StateFile, lock: Lock) -> Result<(StateWriter, Option<State>), Failure> {
    let (writer, state) = StateWriter::open(file, lock).map_err(state_failure)?;
    Ok((writer, usable(state)?))
}

/// In today's shape, and checked.
fn usable(mut state: Option<State>) -> Result<Option<State>, Failure> {
    if let Some(state) = &mut state {
        upgrade(state);
        recorded::check(state).map_err(unusable)?;
    }
    Ok(state)
}

/// A state file that cannot be used, and what helps.
pub fn state_failure(error: StateError) -> Failure {
    let (kind, hint) = match &error {
        StateError::Unusable { path, .. } => (
            Kind::Usage,
            format!("restore {path} from a copy of this stack's; it was not changed"),
        ),
        StateError::Parse { path, .. } => (
            Kind::Usage,
            format!(
                "restore {path} from a copy; it is the only record of what is in AWS, so it was not changed"
            ),
        ),
        StateError::Newer { .. } => (
            Kind::Usage,
            "use the newer version of provision that wrote it".to_owned(),
        ),
        StateError::Io { .. } => (
            Kind::Usage,
            "make it readable and writable for this user".to_owned(),
        ),
        StateError::NotAFile(_) => (
            Kind::Usage,
            "put the file itself there, or name its folder with --state-dir".to_owned(),
        ),
        StateError::Lost { .. } => (
            Kind::Locked,
            "once no other run is under way, run the same command again".to_owned(),
        ),
    };
    Failure::new(kind, error).hinted(hint)
}

/// What is on record; an error where nothing is.
pub fn existing_state(global: &Global, stack: &str) -> Result<State, Failure> {
    load_state(&state_file(global, stack))?.ok_or_else(|| {
        Failure::usage(format!("stack {stack} has no state")).hinted(format!(
            "run `provision up{}` first",
            if global.sandbox { " --sandbox" } else { "" }
        ))
    })
}

/// The lock of this stack, for as long as it is held.
pub fn lock(global: &Global, stack: &str, command: &str, ui: &Ui) -> Result<Lock, Failure> {
    let folder = state_folder(global);
    files::make_folder(&folder)?;
    if !files::sync_folder(&folder)? {
        ui.warn(&format!("the folder {} cannot be synced to its disk: if the machine crashes, the last change to the state may \
             be lost",
            folder.display()
        ));
    }
    let host = fs_err::read_to_string("/proc/sys/kernel/hostname").or_else(|_| {
        let name = std::process::Command::new("hostname").output()?.stdout;
        Ok::<_, io::Error>(String::from_utf8_lossy(&name).into_owned())
    });
    let holder = Holder {
        command: command.to_owned(),
        host: host.map_or_else(|_| "an unknown host".to_owned(), |name| name.trim().to_owned()),
        process: std::process::id(),
        since: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    };
    Lock::take(&folder, stack, &holder).map_err(|error| match error {
        LockError::Held { .. } => {
            Failure::new(Kind::Locked, error).hinted("wait until that run ends; a killed run holds no lock")
        }
        LockError::Replaced { .. } => lock_lost(error),
        LockError::Io(_) => error.into(),
    })
}

/// Another run may be at work by now.
pub fn lock_lost(error: LockError) -> Failure {
    Failure::new(Kind::Locked, error).hinted("once no other run is under way, run the same command again")
}

/// AWS, and whose credentials reach it.
pub struct Session {
    /// The clients.
    pub aws: Rc<Aws>,
    /// Who and where.
    pub identity: Identity,
}

impl Session {
    /// Starts the sandbox if it is wanted, finds region and credentials, and asks whose they are.
    ///
    /// `region` is the configuration's or the record's; `--region` goes before it, and where there is neither the
    /// usual AWS sources say.
    pub async fn open(global: &Global, region: Option<&str>, ui: &Ui) -> Result<Self, Failure> {
        let mut access = Access {
            region: global.region.clone().or(region.map(str::to_owned)),
            profile: global.profile.clone(),
            endpoint: global.endpoint_url.clone(),
            sandbox: None,
        };
        if global.sandbox {
            let settings = sandbox::Settings {
                folder: state_folder(global),
                port: None,
            };
            let running = sandbox::start(&settings, &|line| ui.progress(line)).await?;
            access.endpoint = Some(running.endpoint);
            access.sandbox = Some(running.token);
        }
        let config = load(&access).await?;
        let log = ui.call_log();
        let waits = ui.wait_listener();
        let identified = identify(&config, log.as_ref());
        let identity = told_if_slow(identified, || waits("the answer to sts:GetCallerIdentity")).await?;
        let mut aws = Aws::new(&config, &identity, log.as_ref());
        aws.waits = waits;
        Ok(Self {
            aws: Rc::new(aws),
            identity,
        })
    }

    /// The state of a stack that nothing is on record of.
    pub fn new_state(&self, stack: &str, owner: &str) -> State {
        let identity = self.identity.clone();
        State {
            format: FORMAT,
            stack: stack.to_owned(),
            account: identity.account,
            region: identity.region,
            partition: identity.partition,
            endpoint: identity.endpoint,
            owner: owner.to_owned(),
            serial: 0,
            steps: Vec::new(),
        }
    }

    /// Refuses a state of another account, region or endpoint.
    pub fn check(&self, state: &State) -> Result<(), Failure> {
        let place = |endpoint: &Option<String>| endpoint.clone().unwrap_or_else(|| "AWS".to_owned());
        let here = &self.identity;
        for (what, recorded, now) in [
            ("account", state.account.clone(), here.account.clone()),
            ("region", state.region.clone(), here.region.clone()),
            ("endpoint", place(&state.endpoint), place(&here.endpoint)),
        ] {
            if recorded != now {
                return Err(Failure::usage(format!(
                    "stack {} is on record in {what} {recorded}, and this run is in {what} {now}",
                    state.stack
                ))
                .hinted(format!("use the credentials and settings of {what} {recorded}"))
                .hinted("or give this stack another name with --stack"));
            }
        }
        Ok(())
    }

    /// For one survey of everything on record.
    pub fn aws_for_a_survey(&self) -> Rc<Aws> {
        Rc::new(self.aws.for_a_survey())
    }

    /// For calls outside the engine.
    pub fn cx(&self, ui: &Rc<Ui>) -> Cx<Aws> {
        let ui = ui.clone();
        Cx::new(
            self.aws.clone(),
            Rc::new(move |what| ui.progress(&format!("waiting for {what}"))),
        )
    }
}

/// The code of every function of `config`, by the function's name; tells what of a folder is not in it.
pub fn packages(
    global: &Global,
    config: &Config,
    ui: &Ui,
) -> Result<std::collections::BTreeMap<String, Package>, Failure> {
    // With the emulator's content, secrets included; and what changes with every run would never be deployed.
    let apart = [
        global.state_dir.clone(),
        global.state_dir.join("sandbox"),
        config_path(global),
        // Also where another file is used: it may have another stack's environment values.
        PathBuf::from(FILE),
    ];
    // What is not there cannot be packed.
    let apart: Vec<PathBuf> = apart.iter().flat_map(fs_err::canonicalize).collect();
    config
        .functions
        .iter()
        .map(|(name, function)| {
            let package = match &function.source {
                Source::Sample => {
                    Package::from_files(&[("index.mjs", include_bytes!("../../lambda/index.mjs").as_slice())])
                }
                Source::Folder(folder) => Package::from_folder(folder, &apart),
                Source::Zip(file) => Package::from_zip(file),
            };
            let package = package.with_context(|| format!("the code of function {name} cannot be used"));
            let package = package.map_err(|error| Failure::new(Kind::Usage, error))?;
            tell_left_out(name, &package.left_out, ui);
            Ok((name.clone(), package))
        })
        .collect()
}

fn tell_left_out(function: &str, names: &[String], ui: &Ui) {
    const SHOWN: usize = 5;
    if names.is_empty() {
        return;
    }
    let shown = names[..names.len().min(SHOWN)].join(", ");
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    ui.progress(&format!("function {function}: not in its zip: {shown}{more}"));
}

/// Becomes true at the first Ctrl-C or SIGTERM; the second leaves at once, which is safe: intents are on disk.
pub fn stop_signal() -> Result<watch::Receiver<bool>, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                // Nobody listens any more where nothing is left to stop.
                stop.send_replace(true);
            }
        }
        #[expect(
            clippy::exit,
            reason = "the user wants out now, and a kill at any instant is safe"
        )]
        std::process::exit(i32::from(Kind::Interrupted.exit_code()));
    });
    Ok(stopped)
}

/// A record that the engine does not understand: somebody edited the file.
pub fn unusable(error: anyhow::Error) -> Failure {
    Failure::new(Kind::Usage, error).hinted(
        "restore the state file from a copy; it was not changed, and nothing was asked of AWS to change",
    )
}

/// What to do about credentials that AWS does not accept.
fn credentials_hint(failure: Failure) -> Failure {
    let call = (failure.error.iter().flat_map(anyhow::Error::chain))
        .find_map(|cause| cause.downcast_ref::<CallError>());
    let code = call.and_then(|call| call.code.clone());
    if is_signature_refusal(code.as_deref()) {
        return failure.hinted("set the clock of this machine; AWS allows 5 minutes of difference");
    }
    let failure = failure.hinted("sign in again (`aws sso login`), then run the same command");
    match code.as_deref() {
        Some("InvalidClientTokenId" | "UnrecognizedClientException") => failure.hinted(
            "or enable the region for the account, if it is one of those that are disabled by default",
        ),
        _ => failure,
    }
}

/// Hints for a failed AWS call.
pub fn hinted(failure: Failure) -> Failure {
    match failure.error.as_ref().and_then(class) {
        Some(Class::Credentials) => credentials_hint(failure),
        Some(Class::Denied) => failure
            .hinted(
                "the credentials lack the permission that AWS names above: `provision policy` prints all that an operator needs",
            )
            .hinted("if a policy was attached in the last minutes, run the same command again: AWS needs time to apply it"),
        _ => failure,
    }
}
