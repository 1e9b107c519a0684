//! Starts, recognizes and ends the emulator's process, and has the locks between runs.
//!
//! Must not end a process that is not the emulator of this folder.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, anyhow, bail};

use crate::error::Failure;
use crate::files;

/// Accepts requests with the token, and runs MiniStack.
const MAIN: &str = concat!(include_str!("front.py"), include_str!("main.py"));
/// The services that a stack and its secrets need, by the emulator's names.
const SERVICES: &str = "cognito-idp,apigateway,lambda,iam,logs,sts,secretsmanager,ssm,s3,ec2,wafv2";
/// A Python that is not the system's may find its libraries only through these.
const LINKER: [&str; 2] = ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// An emulator that this run or an earlier run started.
pub(super) struct Server {
    process: u32,
    folder: PathBuf,
    /// `Some` if this run started it; only this run can reap it then.
    child: Option<Child>,
}

impl Server {
    /// The emulator on record in `folder`. It may have ended, and its id may belong to another process now.
    pub(super) fn recorded(process: u32, folder: &Path) -> Self {
        Self {
            process,
            folder: folder.to_owned(),
            child: None,
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.process
    }

    /// Whether this process runs and is the emulator of this folder.
    pub(super) fn is_running(&mut self) -> bool {
        if let Some(child) = &mut self.child {
            return matches!(child.try_wait(), Ok(None));
        }
        let command = fs_err::read(format!("/proc/{}/cmdline", self.process)).or_else(|_| {
            let ps = Command::new("ps")
                .args(["-ww", "-o", "command=", "-p", &self.process.to_string()])
                .output()?;
            Ok::<_, std::io::Error>(ps.stdout)
        });
        let command = command
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        // The folder is the last argument: `ps` ends it with a newline, Linux with a zero.
        command.contains("ministack.app")
            && command
                .trim_end_matches(['\0', '\n'])
                .strip_suffix(&*self.folder.to_string_lossy())
                .is_some_and(|rest| rest.ends_with(['\0', ' ']))
    }

    /// Sends SIGTERM, or SIGKILL if `kill`.
    pub(super) fn signal(&mut self, kill: bool) -> Result<(), Failure> {
        if self.is_running() {
            let signal = if kill { "-KILL" } else { "-TERM" };
            Command::new("kill")
                .args([signal, &self.process.to_string()])
                .status()
                .context("cannot run `kill`")?;
        }
        Ok(())
    }
}

/// Python for what was installed, and nothing else: neither the working folder, which is that of the stacks' states, nor
/// anything that the user has set may reach it. The emulator hands all that it has to the functions, credentials too, and
/// obeys what was meant for Python, for another emulator or for the way to a proxy, through which it would not find itself.
pub(super) fn isolated(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-I", "-B", "-X", "utf8"]).env_clear();
    for name in LINKER {
        if let Some(folders) = std::env::var_os(name) {
            command.env(name, folders);
        }
    }
    command
}

/// Starts the emulator so that it outlives this run; `node` is the folder of the Node.js that runs the functions.
pub(super) fn spawn(python: &Path, node: &Path, folder: &Path, port: u16) -> anyhow::Result<Server> {
    let temp = folder.join("tmp");
    fs_err::create_dir_all(&temp)?;
    let log = fs_err::File::create(folder.join("emulator.log"))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(node.to_owned()).chain(std::env::split_paths(&path));
    let child = isolated(python)
        .args(["-c", MAIN])
        .arg(folder)
        .env("PATH", std::env::join_paths(path)?)
        // A function that looks for AWS credentials must not find the user's.
        .env("HOME", &temp)
        .env("BIND_HOST", "127.0.0.1")
        // Where it fetches its own keys: on the other address of `localhost` another user's server may listen.
        .env("MINISTACK_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", port.to_string())
        // It would listen on every interface.
        .env("IOT_MTLS_ENABLED", "0")
        .env("SFTP_ENABLED", "0")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("SERVICES", SERVICES)
        .env("LAMBDA_EXECUTOR", "local")
        .env("PERSIST_STATE", "1")
        .env("STATE_DIR", folder.join("emulator"))
        .env("TMPDIR", temp)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?.into_parts().0)
        .stderr(log.into_parts().0)
        // So that Ctrl-C does not reach it.
        .process_group(0)
        .spawn()?;
    Ok(Server {
        process: child.id(),
        folder: folder.to_owned(),
        child: Some(child),
    })
}

/// The process id that the emulator itself wrote into `folder`, before it listens.
pub(super) fn own_record(folder: &Path, port: u16) -> Option<u32> {
    let text = fs_err::read_to_string(folder.join(format!("tmp/ministack-{port}.pid")));
    text.ok()?.trim().parse().ok()
}

/// The folder of the Node.js that `node` on the PATH runs. If `node` is a script of a version manager, it needs the user's
/// home and environment, which the emulator does not get.
pub(super) async fn node() -> anyhow::Result<PathBuf> {
    let found = find("node")?;
    let mut command = tokio::process::Command::new(&found);
    let output = command.args(["-p", "process.execPath"]).stdin(Stdio::null());
    let output = output.output().await;
    let output = output.with_context(|| format!("cannot run {}", found.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(folder) = Path::new(text.trim())
        .parent()
        .filter(|_| output.status.success())
    else {
        let problem = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(anyhow!(problem).context(format!("cannot run {}", found.display())));
    };
    Ok(folder.to_owned())
}

/// The program of this name on the PATH.
pub(super) fn find(program: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
    {
        Some(file) => Ok(file),
        None => bail!("{program} not found on the PATH; the sandbox needs it"),
    }
}

/// Waits for a lock file, which is never deleted. The lock is held until the result is dropped.
pub(super) async fn lock(path: &Path, tell: &dyn Fn(&str), what: &str) -> anyhow::Result<fs_err::File> {
    let mut told = false;
    loop {
        let (file, is_ours) = files::lock(path)?;
        if is_ours {
            return Ok(file);
        }
        if !told {
            tell(&format!("waiting for {what}"));
            told = true;
        }
        tokio::time::sleep(super::PAUSE).await;
    }
}
