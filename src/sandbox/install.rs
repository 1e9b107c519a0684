//! Installs the emulator into a virtual environment of its own, once.
//!
//! Must not install anything whose hash is not in `requirements.txt`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::process;
use crate::error::{Failure, Hint};

/// Every package with the hashes of all its files. Made by:
/// `uv pip compile --universal --python-version 3.10 --generate-hashes` of ministack and cryptography (without which the
/// emulator's tokens have no signature that could be verified).
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// The variables of pip that say where packages come from and how to reach them. Others do not reach pip, because some name
/// a folder to install into, a file to write or a program to run. The hash of every package is checked.
const PIP_SOURCES: [&str; 11] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_PROXY",
    "PIP_TIMEOUT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
];
/// The oldest Python that the emulator runs on.
const OLDEST: (u32, u32) = (3, 10);

/// The Python of the virtual environment that has the emulator; it is installed if it is missing.
pub(super) async fn python(tell: &dyn Fn(&str)) -> Result<PathBuf, Failure> {
    let cache = cache()?;
    fs_err::create_dir_all(&cache)?;
    let cache = fs_err::canonicalize(&cache)?;
    let name = name();
    let venv = cache.join(&name);
    let lock = cache.join(format!("{name}.lock"));
    let lock = process::lock(&lock, tell, "another run to install the sandbox").await?;
    let python = venv.join("bin/python");
    let complete = venv.join("complete");
    if complete.exists() && python.exists() {
        return Ok(python);
    }
    let system = system_python().await?;
    if venv.exists() {
        // An installation that did not complete.
        fs_err::remove_dir_all(&venv)?;
    }
    tell("installing the sandbox (once; it takes a minute)");
    run(
        isolated(&system)
            .args(["-m", "venv"])
            .arg(&venv)
            .stdin(holding(&lock)?),
        "create a virtual environment",
    )
    .await
    .hint("on Debian and Ubuntu: apt-get install python3-venv")?;
    let list = venv.join("requirements.txt");
    fs_err::write(&list, REQUIREMENTS)?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        // A source package needs build tools, which are not in the list and would come without a hash.
        "--only-binary",
        ":all:",
        "-r",
    ];
    run(
        isolated(&python)
            .args(pip)
            .arg(&list)
            .current_dir(&venv)
            .stdin(holding(&lock)?),
        "install the emulator",
    )
    .await
    .hint("pip must reach a package index, as its own configuration says (`pip config list`)")?;
    // pip may have succeeded but installed everything elsewhere.
    let mut import = Command::from(process::isolated(&python));
    run(
        import
            .args(["-c", "import cryptography, ministack.app"])
            .current_dir(&venv)
            .stdin(holding(&lock)?)
            .kill_on_drop(true),
        "import the emulator that pip has installed",
    )
    .await
    .hint("pip's configuration must not name another folder to install into (`pip config list`)")?;
    fs_err::write(&complete, "")?;
    Ok(python)
}

/// The name of the environment. Each list has its own, so an update of this program does not change a running one.
fn name() -> String {
    let hash = URL_SAFE_NO_PAD.encode(&Sha256::digest(REQUIREMENTS)[..9]);
    format!("sandbox-{hash}")
}

/// Whether the emulator is installed already.
pub(crate) fn is_installed() -> Result<bool, Failure> {
    let venv = cache()?.join(name());
    Ok(venv.join("complete").exists() && venv.join("bin/python").exists())
}

/// The emulator and its version, as the list says it.
pub(crate) fn emulator_version() -> String {
    let mut words = REQUIREMENTS.split_whitespace();
    let version = words.find_map(|word| word.strip_prefix("ministack=="));
    format!("MiniStack {}", version.unwrap_or_default())
}

fn cache() -> Result<PathBuf, Failure> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("PROVISION_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("provision")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/provision")))
        .context(
            "no folder to install the sandbox into: PROVISION_CACHE_DIR, XDG_CACHE_HOME and HOME are not set",
        )
        .hint("set PROVISION_CACHE_DIR")
}

/// `PROVISION_PYTHON`, or the first Python on the PATH that is new enough.
pub(super) async fn system_python() -> Result<PathBuf, Failure> {
    let hint = "install Python 3.10 or newer, or set PROVISION_PYTHON to one";
    if let Some(python) = std::env::var_os("PROVISION_PYTHON") {
        let python = PathBuf::from(python);
        version(&python).await.hint(hint)?;
        return Ok(python);
    }
    let mut problem = anyhow!("python3 not found on the PATH; the sandbox needs it");
    for name in ["python3", "python"] {
        let Ok(python) = process::find(name) else {
            continue;
        };
        match version(&python).await {
            Ok(()) => return Ok(python),
            Err(error) => problem = error,
        }
    }
    Err(Failure::from(problem).hinted(hint))
}

/// A Python that imports only what is in its own environment: nothing from the working folder, and no modules of the user.
pub(super) fn isolated(python: &Path) -> Command {
    let mut command = Command::new(python);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PYTHON") || text.starts_with("PIP_") && !PIP_SOURCES.contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command
        .arg("-I")
        // The user may have `user = true` in pip's configuration, which does not work in a virtual environment.
        .env("PIP_USER", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// An empty input that keeps the lock: if this run is killed, its child may still write, and the next run must wait for
/// it.
fn holding(lock: &fs_err::File) -> std::io::Result<Stdio> {
    Ok(lock.try_clone()?.into_parts().0.into())
}

async fn version(python: &Path) -> anyhow::Result<()> {
    let code = "import sys; print(sys.version_info[0], sys.version_info[1])";
    let output = isolated(python).args(["-c", code]).output().await;
    let output = output.with_context(|| format!("cannot run {}", python.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text
        .split_whitespace()
        .map_while(|number| number.parse::<u32>().ok());
    let found = numbers.next().zip(numbers.next());
    let found = found.with_context(|| format!("{} is not a Python", python.display()))?;
    anyhow::ensure!(
        found >= OLDEST,
        "{}: expected Python {}.{} or newer, got {}.{}",
        python.display(),
        OLDEST.0,
        OLDEST.1,
        found.0,
        found.1
    );
    Ok(())
}

async fn run(command: &mut Command, what: &str) -> anyhow::Result<()> {
    let output = command.output().await;
    let output = output.with_context(|| format!("cannot {what}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(anyhow!("{}", String::from_utf8_lossy(&text).trim().to_owned()).context(format!("cannot {what}")))
}
