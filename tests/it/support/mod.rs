//! What the tests of the real binary share. Most begin with a [`World`]; [`Place`] is its folder.

// The benchmark uses only a part.
#![allow(dead_code, unused_imports)]

pub(crate) mod emulator;
pub(crate) mod enforced;
pub(crate) mod moto;
pub(crate) mod proxy;
pub(crate) mod service;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use serde_json::Value;

pub(crate) use emulator::Emulator;
pub(crate) use service::Service;
pub(crate) use world::{Recorded, World};

/// A folder to run the binary in. Its emulator is stopped at the end, however the test ends.
pub(crate) struct Place {
    path: PathBuf,
    /// Deletes the folder at the end; `None` if the folder stays.
    temporary: Option<tempfile::TempDir>,
    /// Stops the emulator once its input is closed: at the end of the test, or when the test's process was killed.
    guard: Child,
}

/// What a run of the binary printed, and how it ended.
pub(crate) struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// A temporary folder.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut place = Self::in_folder(folder.path());
        place.temporary = Some(folder);
        place
    }

    /// A folder that stays, with all that is in it.
    pub(crate) fn in_folder(path: &Path) -> Self {
        let guard = Command::new("sh")
            .args([
                "-c",
                r#"read -r end; "$0" sandbox stop"#,
                env!("CARGO_BIN_EXE_provision"),
            ])
            .current_dir(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C ends the tests and not this.
            .process_group(0)
            .spawn()
            .unwrap();
        Self {
            path: path.to_owned(),
            temporary: None,
            guard,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The binary in this folder, without the AWS settings of whoever runs the tests.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(&name);
            }
        }
        command
            .args(args)
            .current_dir(self.path())
            // No instance metadata, no profile of the tester's.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", self.path().join("no-config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", self.path().join("no-credentials"))
            // A test says itself where its state is and whether it is in CI.
            .env_remove("PROVISION_STATE")
            .env_remove("PROVISION_ENV")
            .env_remove("CI")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// The binary with the settings to reach `endpoint` as if it were AWS; this place's emulator accepts it.
    pub(crate) fn at(&self, endpoint: &str, args: &[&str]) -> Command {
        let token = fs_err::read_to_string(self.path().join("state/sandbox/token"));
        let mut command = self.command(args);
        command
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", token.unwrap_or_else(|_| "nobody".to_owned()))
            .env("AWS_SECRET_ACCESS_KEY", "nothing");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.command(args).output().unwrap().into()
    }

    pub(crate) fn run_at(&self, endpoint: &str, args: &[&str]) -> Run {
        self.at(endpoint, args).output().unwrap().into()
    }

    /// Starts this place's emulator and says where it is.
    pub(crate) fn emulator(&self) -> String {
        let run = self.run(&["sandbox", "start"]).ok();
        let endpoint = run.stdout.trim().strip_prefix("endpoint: ");
        let endpoint = endpoint.expect("the endpoint is what is printed").to_owned();
        let token = fs_err::read_to_string(self.path().join("state/sandbox/token")).unwrap();
        TOKENS.lock().unwrap().insert(endpoint.clone(), token);
        endpoint
    }

    /// The Python that this place's emulator runs in, which has botocore with AWS's models.
    pub(crate) fn python(&self) -> String {
        let record = fs_err::read_to_string(self.path().join("state/sandbox/server.json")).unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        let ps = Command::new("ps")
            .args(["-ww", "-o", "args=", "-p", &record["process"].to_string()])
            .output()
            .unwrap();
        let command = String::from_utf8(ps.stdout).unwrap();
        command.split(' ').next().unwrap().to_owned()
    }

    /// The path and text of every file below `folder`, without the files of the emulator.
    pub(crate) fn texts(&self, folder: &str) -> Vec<(PathBuf, String)> {
        let mut texts = Vec::new();
        collect(&self.path().join(folder), &mut texts);
        texts
    }
}

/// The tokens of the emulators that this test has started, by endpoint.
static TOKENS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// The access key id that the emulator at `endpoint` accepts.
pub(crate) fn token(endpoint: &str) -> String {
    TOKENS.lock().unwrap()[endpoint].clone()
}

fn collect(folder: &Path, texts: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("emulator") {
                collect(&path, texts);
            }
        } else {
            let text = String::from_utf8_lossy(&fs_err::read(&path).unwrap()).into_owned();
            texts.push((path, text));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // A place that cannot be cleared must not hide why its test failed.
        drop(self.guard.wait());
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// Fails the test unless the binary ended with this code.
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {}", self.stdout))
    }

    /// One JSON document a line.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// The same command, run by a shell after `script`, which sets limits for it.
pub(crate) fn after(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{script}; exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// The status and the body of a GET.
pub(crate) fn get(url: &str, token: Option<&str>) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut call = reqwest::Client::builder().no_proxy().build().unwrap().get(url);
        if let Some(token) = token {
            call = call.bearer_auth(token);
        }
        let answer = call.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}

/// The body of the answer to a POST of a form with a name and a password.
pub(crate) fn post_form(url: &str, (name, password): (&str, &str), form: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let call = reqwest::Client::builder().no_proxy().build().unwrap().post(url);
        let call = call
            .basic_auth(name, Some(password))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        call.send().await.unwrap().text().await.unwrap()
    })
}
