//! One run: which AWS it is against, its clients and the binary, its folder, and what it has found out so far.
//!
//! Must not make anything before the account is the expected one, nor call anything but loopback in the sandbox.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use provision::aws::clients::{Access, SANDBOX_SECRET, identify, load};
use provision::aws::http::is_read;
use provision::aws::{Identity, hosts};
use provision::oauth::{self, Token, TokenError, TokenRequest, is_loopback};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::OnceCell;

use super::ask_cognito::Pool;
use super::ask_gateway::Api;
use super::record::{ACCOUNT, Recorder, Redactor};
use crate::support::enforced::{self, Enforced};
use crate::support::{self, Place, Run};

/// With what every name begins.
pub(super) const NAMES: &str = "provision-it-";

/// How many tokens a run may get: Cognito takes 0.00225 USD for one.
const MOST_TOKENS: u32 = 300;

/// Set by Ctrl-C: nothing is begun any more, and what was made is deleted.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The configuration of the stack; `<stack>` is its name.
pub(super) const BASE: &str = r#"
[stack]
name = "<stack>"
tags = { team = "payments", stage = "test" }

[user_pool]
tier = "ESSENTIALS"
deletion_protection = false

[resource_servers.orders.scopes]
read = "Read orders"
write = "Write orders"

[clients.billing]
scopes = ["orders/read"]
access_token = "60m"

[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
architecture = "x86_64"
memory_mb = 128
timeout = "10s"
log_retention_days = 14
environment = { TABLE = "orders-table" }

[api]
name = "<stack>"
description = "Orders"
stage = "prod"

[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"#;

const CODE: &str = r"
const answer = (version) => ({ statusCode: 200, body: JSON.stringify({ version, table: process.env.TABLE }) });
export const handler = async () => { console.log('handled'); return answer(1); };
export const other = async () => answer('other');
";

/// Against what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// AWS, and only this account.
    Aws { account: String },
    /// An emulator, whose answers prove nothing about AWS. One that checks rights keeps nothing when it ends.
    Sandbox { checks_rights: bool },
}

/// What the environment asks for.
///
/// # Errors
/// Why nothing is run.
pub(super) fn target(variables: &BTreeMap<String, String>) -> Result<Target> {
    let asked = variables.get("PROVISION_AWS_TEST").map(String::as_str);
    match asked {
        Some("sandbox") => Ok(Target::Sandbox { checks_rights: true }),
        // For the test that kills a run.
        Some("sandbox-that-stays") => Ok(Target::Sandbox { checks_rights: false }),
        Some("1") => {
            let account = variables
                .get("PROVISION_AWS_ACCOUNT")
                .filter(|account| account.len() == 12 && account.chars().all(|c| c.is_ascii_digit()))
                .context("expected PROVISION_AWS_ACCOUNT to be the 12 digits of the account to test in")?;
            if let Some(name) = variables.keys().find(|name| name.starts_with("AWS_ENDPOINT_URL")) {
                bail!("{name} is set: unset it, or the answers are not AWS's");
            }
            Ok(Target::Aws {
                account: account.clone(),
            })
        }
        _ => bail!(
            "expected PROVISION_AWS_TEST=1, which makes resources in an AWS account and deletes them (below 1 USD), or \
             PROVISION_AWS_TEST=sandbox; docs/first-hour.md says how"
        ),
    }
}

/// An emulator of the run's own.
struct Sandbox {
    place: Place,
    endpoint: String,
    /// The access key id that it lets in.
    key: String,
    enforced: Option<Enforced>,
}

impl Sandbox {
    fn start(folder: &Path, checks_rights: bool) -> Self {
        let place = Place::in_folder(folder);
        if checks_rights {
            let enforced = Enforced::start(&place);
            return Self {
                place,
                endpoint: enforced.endpoint.clone(),
                key: enforced::KEY.to_owned(),
                enforced: Some(enforced),
            };
        }
        let endpoint = place.emulator();
        let key = support::token(&endpoint);
        Self {
            place,
            endpoint,
            key,
            enforced: None,
        }
    }
}

pub(super) struct Hour {
    /// `None` on AWS.
    sandbox: Option<Sandbox>,
    aloud: bool,
    /// What stays between runs: reports, and the folders of runs that have not ended.
    pub folder: PathBuf,
    pub stack: String,
    pub identity: Identity,
    pub apigateway: aws_sdk_apigateway::Client,
    pub cognito: aws_sdk_cognitoidentityprovider::Client,
    pub iam: aws_sdk_iam::Client,
    pub lambda: aws_sdk_lambda::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub sts: aws_sdk_sts::Client,
    pub recorder: Recorder,
    /// Milliseconds of each attempt of the binary's, by operation.
    pub times: RefCell<BTreeMap<String, Vec<u64>>>,
    pub tokens: Cell<u32>,
    /// What most questions use, once the first of them has made it.
    pub pool: OnceCell<Pool>,
    pub api: OnceCell<Api>,
    pub began: Instant,
}

impl Hour {
    /// Makes nothing in AWS.
    ///
    /// # Errors
    /// The account is not the expected one, or cannot be asked.
    pub(super) async fn open(target: Target, folder: &Path, aloud: bool) -> Result<Self> {
        fs_err::create_dir_all(folder)?;
        let sandbox = match target {
            Target::Aws { .. } => None,
            Target::Sandbox { checks_rights } => Some(Sandbox::start(folder, checks_rights)),
        };
        let access = match &sandbox {
            None => Access::default(),
            Some(Sandbox { endpoint, key, .. }) => {
                assert!(is_loopback(endpoint), "the sandbox is on this machine");
                Access {
                    sandbox: Some(key.clone().into()),
                    endpoint: Some(endpoint.clone()),
                    region: Some("eu-west-1".to_owned()),
                    ..Access::default()
                }
            }
        };
        let failed = |failure: provision::error::Failure| {
            failure
                .error
                .unwrap_or_else(|| anyhow::anyhow!("AWS cannot be reached"))
        };
        let config = load(&access).await.map_err(failed)?;
        let identity = identify(&config, None).await.map_err(failed)?;
        if let Target::Aws { account } = &target {
            if identity.account != *account {
                bail!("the credentials are of another account than PROVISION_AWS_ACCOUNT; nothing was made");
            }
            if identity.endpoint.is_some() {
                bail!("the profile has an endpoint_url, so the answers are not AWS's; nothing was made");
            }
        }
        let redactor = Arc::new(Redactor::default());
        redactor.hide(&identity.account, ACCOUNT);
        let recorder = Recorder::new(redactor);
        macro_rules! client {
            ($sdk:ident) => {
                $sdk::Client::from_conf(
                    $sdk::config::Builder::from(&config)
                        .interceptor(recorder.clone())
                        .build(),
                )
            };
        }
        let mut id = [0; 4];
        getrandom::fill(&mut id)?;
        let id = u32::from_le_bytes(id);
        let hour = Self {
            sandbox,
            aloud,
            folder: folder.to_owned(),
            stack: format!("{NAMES}{id:08x}"),
            identity,
            apigateway: client!(aws_sdk_apigateway),
            cognito: client!(aws_sdk_cognitoidentityprovider),
            iam: client!(aws_sdk_iam),
            lambda: client!(aws_sdk_lambda),
            logs: client!(aws_sdk_cloudwatchlogs),
            // Its answers are the caller's name, and credentials.
            sts: aws_sdk_sts::Client::new(&config),
            recorder,
            times: RefCell::default(),
            tokens: Cell::default(),
            pool: OnceCell::default(),
            api: OnceCell::default(),
            began: Instant::now(),
        };
        let caller = hour.sts.get_caller_identity().send().await?;
        for part in [caller.arn(), caller.user_id()].into_iter().flatten() {
            // The root user's id is the account.
            if part != hour.identity.account {
                hour.hide(part, "CALLER");
                hour.hide(part.rsplit(':').next().unwrap_or_default(), "CALLER");
            }
        }
        Ok(hour)
    }

    /// The folders of the runs in this account and region.
    fn runs_folder(&self) -> PathBuf {
        let Identity { account, region, .. } = &self.identity;
        self.folder.join("runs").join(format!("{account}-{region}"))
    }

    /// The folder of the run of this stack.
    pub(super) fn run_folder(&self, stack: &str) -> PathBuf {
        self.runs_folder().join(stack)
    }

    /// From now on the folder of this run says that there may be something in AWS.
    pub(super) fn begin(&self) -> Result<()> {
        let folder = self.run_folder(&self.stack);
        fs_err::create_dir_all(folder.join("lambda"))?;
        fs_err::write(folder.join("lambda/index.mjs"), CODE)?;
        self.configure(&[])
    }

    /// Writes the configuration with these replacements.
    pub(super) fn configure(&self, edits: &[(&str, &str)]) -> Result<()> {
        let mut text = BASE.to_owned();
        for (from, to) in edits {
            if !text.contains(from) {
                bail!("the configuration does not have {from:?}");
            }
            text = text.replace(from, to);
        }
        let file = self.run_folder(&self.stack).join("provision.toml");
        Ok(fs_err::write(file, text.replace("<stack>", &self.stack))?)
    }

    pub(super) fn is_sandbox(&self) -> bool {
        self.sandbox.is_some()
    }

    /// Where it does not, one key opens everything.
    pub(super) fn checks_rights(&self) -> bool {
        self.sandbox
            .as_ref()
            .is_none_or(|sandbox| sandbox.enforced.is_some())
    }

    pub(super) fn hide(&self, value: &str, by: &str) {
        self.recorder.redactor.hide(value, by);
    }

    /// Tells it to whoever sits before the terminal; the test harness keeps what is printed.
    pub(super) fn tell(&self, line: &str) {
        if !self.aloud {
            return;
        }
        let seconds = self.began.elapsed().as_secs();
        let line = self.recorder.redactor.text(line);
        drop(writeln!(std::io::stderr(), "{seconds:>5} s  {line}"));
    }

    /// The binary in the folder of this run.
    pub(super) fn command(&self, stack: &str, args: &[&str]) -> Command {
        let mut command = match &self.sandbox {
            Some(Sandbox {
                place, endpoint, key, ..
            }) => {
                let mut command = place.at(endpoint, args);
                command
                    .env("AWS_ACCESS_KEY_ID", key)
                    .env("AWS_SECRET_ACCESS_KEY", SANDBOX_SECRET);
                command
            }
            None => Command::new(env!("CARGO_BIN_EXE_provision")),
        };
        if self.sandbox.is_none() {
            command.args(args).env("NO_COLOR", "1").stdin(Stdio::null());
        }
        command
            .arg("-v")
            .env("AWS_REGION", &self.identity.region)
            .current_dir(self.run_folder(stack));
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Result<Run> {
        self.run_as(args, None)
    }

    /// With other credentials: access key id, secret access key and session token.
    pub(super) fn run_as(&self, args: &[&str], credentials: Option<&[SecretString; 3]>) -> Result<Run> {
        check()?;
        self.tell(&format!("provision {}", args.join(" ")));
        let mut command = self.command(&self.stack, args);
        if let (Some(credentials), true) = (credentials, self.checks_rights()) {
            let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
            for (name, value) in names.into_iter().zip(credentials) {
                command.env(name, value.expose_secret());
            }
            command.env_remove("AWS_PROFILE");
        }
        let run: Run = command.output()?.into();
        self.note(&run.stderr);
        if matches!(args, ["up" | "verify" | "token" | "call", ..]) {
            self.tokens.set(self.tokens.get() + 1);
        }
        check()?;
        Ok(run)
    }

    /// A run that has to end with 0. What it printed on stdout may be a secret: it is in no error.
    pub(super) fn ok(&self, args: &[&str]) -> Result<Run> {
        let run = self.run(args)?;
        self.ended_well(args, run)
    }

    pub(super) fn ended_well(&self, args: &[&str], run: Run) -> Result<Run> {
        if run.code != 0 {
            let said: Vec<&str> = (run.stderr.lines())
                .filter(|line| !line.contains(" attempt "))
                .collect();
            let said = self.recorder.redactor.text(&said.join("\n"));
            bail!(
                "provision {} ended with {}, expected 0:\n{said}",
                args.join(" "),
                run.code
            );
        }
        Ok(run)
    }

    pub(super) fn json(&self, args: &[&str]) -> Result<Value> {
        let run = self.ok(args)?;
        serde_json::from_str(&run.stdout)
            .ok()
            .context("the answer is not JSON")
    }

    /// Runs and kills the process after this many writing calls. Whether it lived so long.
    pub(super) fn kill_after(&self, writes: usize, args: &[&str]) -> Result<bool> {
        check()?;
        self.tell(&format!(
            "provision {}, killed after {writes} writes",
            args.join(" ")
        ));
        let mut child = self.command(&self.stack, args);
        let mut child: Child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(child.stderr.take().context("it is piped")?);
        let (mut all, mut seen, mut line) = (String::new(), 0, Vec::new());
        while seen < writes && said.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line).into_owned();
            seen += usize::from(attempt(&text).is_some_and(|(_, operation, _)| !is_read(operation)));
            all.push_str(&text);
            line.clear();
        }
        drop(child.kill());
        child.wait()?;
        self.note(&all);
        Ok(seen == writes)
    }

    /// Keeps how long each attempt took.
    fn note(&self, said: &str) {
        let mut times = self.times.borrow_mut();
        for (service, operation, millis) in said.lines().filter_map(attempt) {
            times
                .entry(format!("{service} {operation}"))
                .or_default()
                .push(millis);
        }
    }

    /// The tags of what the questions make.
    pub(super) fn tags(&self) -> BTreeMap<String, String> {
        provision::aws::tags::tags(&self.stack, "questions")
    }

    pub(super) fn token_url(&self, prefix: &str) -> String {
        match &self.sandbox {
            Some(Sandbox { endpoint, .. }) => format!("{endpoint}/oauth2/token"),
            None => hosts::token_url(prefix, &self.identity.region),
        }
    }

    pub(super) fn api_url(&self, api: &str, stage: &str) -> String {
        match &self.sandbox {
            Some(Sandbox { endpoint, .. }) => format!("{endpoint}/restapis/{api}/{stage}/_user_request_"),
            None => hosts::api_url(api, &self.identity.region, stage),
        }
    }

    /// Asks once for a token.
    pub(super) async fn token(
        &self,
        prefix: &str,
        (id, secret): (&str, &SecretString),
        scopes: &[&str],
    ) -> Result<Result<Token, TokenError>> {
        if self.tokens.get() >= MOST_TOKENS {
            bail!("{MOST_TOKENS} tokens were fetched, which is all that a run may cost");
        }
        let url = &self.token_url(prefix);
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let token = oauth::token(
            &oauth::http_client(url)?,
            &TokenRequest {
                token_url: url,
                client_id: id,
                client_secret: secret,
                scopes: &scopes,
            },
        )
        .await;
        if let Ok(token) = &token {
            self.tokens.set(self.tokens.get() + 1);
            self.hide(token.access_token.expose_secret(), "TOKEN");
        }
        Ok(token)
    }

    /// The status and the body of a GET.
    pub(super) async fn get(&self, url: &str, token: Option<&SecretString>) -> Result<(u16, String)> {
        let mut call = oauth::http_client(url)?.get(url);
        if let Some(token) = token {
            call = call.bearer_auth(token.expose_secret());
        }
        let answer = call.send().await?;
        let status = answer.status().as_u16();
        Ok((status, self.recorder.redactor.text(&answer.text().await?)))
    }

    /// Asks until there is something, and says after how many seconds that was; `None` after the time that makes no
    /// difference any more.
    pub(super) async fn until<T>(
        &self,
        most: Duration,
        mut ask: impl AsyncFnMut() -> Result<Option<T>>,
    ) -> Result<Option<(T, f64)>> {
        let (most, pause) = if self.is_sandbox() {
            (Duration::from_secs(2), Duration::from_millis(50))
        } else {
            (most, Duration::from_millis(500))
        };
        let began = Instant::now();
        loop {
            check()?;
            if let Some(found) = ask().await? {
                return Ok(Some((found, began.elapsed().as_secs_f64())));
            }
            if began.elapsed() > most {
                return Ok(None);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Ends the run of a stack of which nothing is left.
    pub(super) fn forget(&self, stack: &str) -> Result<()> {
        Ok(fs_err::remove_dir_all(self.run_folder(stack))?)
    }

    /// The runs that have not ended here: this one, and those that were killed.
    pub(super) fn runs(&self) -> Result<Vec<String>> {
        let mut runs = Vec::new();
        let folder = self.runs_folder();
        if folder.exists() {
            for entry in fs_err::read_dir(folder)? {
                runs.push(entry?.file_name().to_string_lossy().into_owned());
            }
        }
        runs.retain(|run| run.starts_with(NAMES));
        runs.sort();
        Ok(runs)
    }

    /// `down` of a stack, which Ctrl-C does not reach.
    pub(super) fn down(&self, stack: &str) -> Result<Run> {
        self.tell(&format!("provision down --stack {stack}"));
        let args = ["down", "--yes", "--unprotect", "--stack", stack];
        let run: Run = self.command(stack, &args).process_group(0).output()?.into();
        self.note(&run.stderr);
        Ok(run)
    }

    /// What each operation took, of the binary and of the questions.
    pub(super) fn latencies(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut add = |by: &str, times: &BTreeMap<String, Vec<u64>>| {
            for (operation, times) in times {
                let mut times = times.clone();
                times.sort_unstable();
                let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
                rows.push(json!({
                    "operation": operation, "by": by, "calls": times.len(),
                    "p50_ms": at(50), "p95_ms": at(95), "max_ms": at(100),
                }));
            }
        };
        add("provision", &self.times.borrow());
        let mut own: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for call in self.recorder.calls() {
            let name = |member: &str| call[member].as_str().unwrap_or_default().to_owned();
            let times = own
                .entry(format!("{} {}", name("service"), name("operation")))
                .or_default();
            times.extend(call["millis"].as_u64());
        }
        add("questions", &own);
        rows
    }
}

/// # Errors
/// Ctrl-C was pressed.
pub(super) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::SeqCst) {
        bail!("interrupted");
    }
    Ok(())
}

/// The service, the operation and the milliseconds of a line of the call log.
fn attempt(line: &str) -> Option<(&str, &str, u64)> {
    let (call, rest) = line.strip_prefix("aws ")?.split_once(" attempt ")?;
    let millis = rest.split(", ").nth(1)?.strip_suffix(" ms")?.parse().ok()?;
    let (service, operation) = call.trim().rsplit_once(' ')?;
    Some((service, operation, millis))
}

/// From now on Ctrl-C, the end of the terminal and SIGTERM end the run in good order.
pub(super) fn catch_signals() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let mut hangup = signal(SignalKind::hangup()).unwrap();
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            loop {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = hangup.recv() => {}
                    _ = terminate.recv() => {}
                }
                INTERRUPTED.store(true, Ordering::SeqCst);
                drop(writeln!(
                    std::io::stderr(),
                    "interrupted: what was made is being deleted; wait for the last line"
                ));
            }
        });
    });
}
