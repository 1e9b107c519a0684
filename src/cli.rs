//! What can be typed.
//!
//! Must not know what it means: types for clap and nothing else.

mod arguments;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::location::Location;
use crate::pipeline::Pipeline;
use crate::secret_place::SecretPlace;
use crate::version;
use clap::{Args, Parser, Subcommand, ValueEnum};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// Stands up an OAuth 2.0 machine-to-machine API on AWS, and takes it down again.
#[derive(Debug, Parser)]
#[command(name = "provision", version, long_version = version::LONG.as_str(), arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
}

/// What holds for every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// The configuration file [default: provision.toml in this folder, else the sample]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The stack's name [default: the configuration's]
    #[arg(long, global = true, value_name = "NAME")]
    pub stack: Option<String>,
    /// The environment: what [env.NAME] of the configuration changes [default: none]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "PROVISION_ENV",
        hide_env_values = true
    )]
    pub env: Option<String>,
    /// Where the states are: a folder, or s3://BUCKET/PREFIX [default: state of the configuration, else the folder `state`]
    #[arg(
        long,
        global = true,
        value_name = "LOCATION",
        env = "PROVISION_STATE",
        hide_env_values = true
    )]
    pub state: Option<Location>,
    /// The AWS region [default: as recorded or configured, else as for the AWS CLI]
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<String>,
    /// The AWS profile [default: as for the AWS CLI]
    #[arg(long, global = true, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Send AWS calls to this URL instead of AWS
    #[arg(long, global = true, value_name = "URL", conflicts_with = "sandbox")]
    pub endpoint_url: Option<String>,
    /// Use a local AWS on this machine; start it if it is not running
    #[arg(long, global = true)]
    pub sandbox: bool,
    /// Print JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Show every AWS call
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a configuration and the code of a function to begin with, or make them from an OpenAPI document
    Init(Init),
    /// Show what `up` would do, and do nothing
    Plan(Plan),
    /// Make the stack match the configuration, or resume an interrupted run
    Up(Up),
    /// Show whether the stack is as recorded; exit 3 if it is not
    Status,
    /// Prove that the live API refuses unauthorized requests; exit 1 if it does not
    Verify(Verify),
    /// Print an access token from the client-credentials grant
    Token(Token),
    /// Call the API with a fresh access token
    Call(Call),
    /// Print a function's log events, or the requests to the API
    Logs(Logs),
    /// Print the URLs and ids of the stack, as they are on record
    Outputs(Outputs),
    /// Show the clients, or what another team needs to use one
    Client(Client),
    /// Print an OpenAPI document of the API
    Openapi(Openapi),
    /// Draw the configured stack: who may call what, and its steps
    Graph(Graph),
    /// Delete everything on record
    Down(Down),
    /// Show a client's secret, or replace it without an outage
    Secret(Secret),
    /// Print the IAM policy that an operator of this stack needs
    Policy(Policy),
    /// Print the complete configuration, and where each value comes from
    Config,
    /// Print a JSON Schema of the configuration, with which editors complete and check it
    Schema(Schema),
    /// Prepare a bucket for states, or show, move or unlock the state of the stack
    State(State),
    /// Put a stack on record again whose state is lost
    Recover(Recover),
    /// Show or set what all stacks of an account share
    Account(Account),
    /// Check machine, credentials, account and state; exit 3 if something has to be mended
    Doctor,
    /// Control the local AWS that `--sandbox` uses
    Sandbox(Sandbox),
    /// Print the completions of a shell: commands, options, and the names in the configuration and on record
    Completions(Completions),
    /// Write the man pages of all commands
    Man(Man),
}

/// `init`.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// The project's folder; it is created if it does not exist [default: this folder]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// The stack's name [default: like that of the folder]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What the function is written in; `none`: no function [default: node; none where the back end of --openapi answers]
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    pub language: Option<InitLanguage>,
    /// Take routes, scopes and back end from this OpenAPI 3 document, in JSON
    #[arg(long, value_name = "FILE")]
    pub openapi: Option<PathBuf>,
    /// Do not ask: take the defaults
    #[arg(long)]
    pub yes: bool,
}

/// What the function of a new project is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InitLanguage {
    /// JavaScript on Node.js
    Node,
    /// Python
    Python,
    /// Rust, which has to be built before it answers
    Rust,
    /// No function
    None,
}

/// `state`.
#[derive(Args, Debug)]
pub(crate) struct State {
    /// What to do.
    #[command(subcommand)]
    pub action: StateAction,
}

/// What `state` does.
#[derive(Debug, Subcommand)]
pub(crate) enum StateAction {
    /// Create a bucket for states, or show what an existing one lacks
    Init {
        /// s3://BUCKET or s3://BUCKET/PREFIX
        #[arg(value_name = "LOCATION")]
        location: Location,
        /// Encrypt with this KMS key; without it, with the configured state_kms_key or else with S3's own
        #[arg(long, value_name = "ARN")]
        kms_key: Option<String>,
        /// Also change a bucket that exists
        #[arg(long)]
        yes: bool,
    },
    /// Show where the state is, what it has, and who holds it
    Show,
    /// Move the state to another location
    Move {
        /// A folder, or s3://BUCKET/PREFIX
        #[arg(value_name = "LOCATION")]
        to: Location,
    },
    /// End the lease of a run that cannot end it itself
    Unlock {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `recover`.
#[derive(Args, Debug)]
pub(crate) struct Recover {
    /// The owner whose resources are the stack's: 8 characters [default: the only one that the account has]
    #[arg(long, value_name = "OWNER")]
    pub owner: Option<String>,
    /// Which resource is a step's, where several could be; repeatable
    #[arg(long = "pick", value_name = "STEP=ID", value_parser = arguments::PICK)]
    pub picks: Vec<(String, String)>,
}

/// What `plan` shows and `up` does beyond what the configuration says. A saved plan has it.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Changes {
    /// Delete and recreate this step even if data is lost; repeatable
    #[arg(long, value_name = "STEP")]
    pub replace: Vec<String>,
    /// Do not change back what others changed
    #[arg(long)]
    pub no_repair: bool,
    /// Replace the user pool even if its deletion protection is on
    #[arg(long)]
    pub unprotect: bool,
    /// Deploy even methods of others that anyone can call
    #[arg(long)]
    pub allow_foreign: bool,
    /// What may break.
    #[command(flatten)]
    pub breaking: Breaking,
}

/// What clients outside the stack may lose.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Breaking {
    /// Delete scopes although this client of others, by name or id, may hold them; `all` for all; repeatable
    #[arg(long, value_name = "CLIENT")]
    pub yes_break: Vec<String>,
    /// Read the clients of others, whose secrets AWS answers as well, to see which hold a scope that goes
    #[arg(long)]
    pub read_clients: bool,
}

/// `plan`.
#[derive(Args, Debug)]
pub(crate) struct Plan {
    /// What to do.
    #[command(flatten)]
    pub changes: Changes,
    /// Exit 3 if there is anything to do
    #[arg(long)]
    pub check: bool,
    /// Also write the plan to this file, for `up --plan`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print Markdown, for a comment on a pull request
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

/// `up`.
#[derive(Args, Debug)]
pub(crate) struct Up {
    /// What to do.
    #[command(flatten)]
    pub changes: Changes,
    /// Do exactly what this file of `plan --out` shows, without a question, or nothing if something has changed since
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["replace", "no_repair", "unprotect", "allow_foreign", "yes_break", "read_clients"]
    )]
    pub plan: Option<PathBuf>,
    /// Do not ask before something is deleted or replaced
    #[arg(long)]
    pub yes: bool,
    /// Draw which step ran when, as an SVG, also if the run fails
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Skip the verification at the end
    #[arg(long)]
    pub no_verify: bool,
    /// Then watch the code and the configuration until Ctrl-C: update what changes, and show the functions' log events
    #[arg(long, conflicts_with_all = ["timeline", "replace", "plan"])]
    pub watch: bool,
}

/// `verify`.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Also call the GET routes with every token that they should admit, and the ANY routes of back ends with GET; this runs
    /// what answers them
    #[arg(long)]
    pub call: bool,
    /// Wait for the record in DNS of the API's own domain, for at most this time, such as 30m
    #[arg(long, value_name = "TIME", value_parser = arguments::DURATION)]
    pub wait_dns: Option<Duration>,
    /// Read a client's secret from file:PATH, env:NAME, secretsmanager:NAME or ssm:/PATH; repeatable [default: secret_from of the
    /// configuration, else Cognito]
    #[arg(long, value_name = "[CLIENT=]SOURCE")]
    pub secret_from: Vec<ClientSource>,
}

/// `token`.
#[derive(Args, Debug)]
pub(crate) struct Token {
    /// The client [default: the only one]
    pub client: Option<String>,
    /// A full scope, such as OauthResourceServer/user.read; repeatable [default: all of the client's]
    #[arg(long = "scope", value_name = "SCOPE", value_parser = arguments::SCOPE)]
    pub scopes: Vec<String>,
    /// Read the client's secret from file:PATH, env:NAME, secretsmanager:NAME or ssm:/PATH [default: secret_from of the
    /// configuration, else Cognito]
    #[arg(long, value_name = "SOURCE")]
    pub secret_from: Option<SecretSource>,
}

/// `call`.
#[derive(Args, Debug)]
pub(crate) struct Call {
    /// The HTTP method
    #[arg(value_parser = arguments::METHOD)]
    pub method: Method,
    /// The path below the stage, such as /user
    #[arg(value_parser = arguments::PATH)]
    pub path: String,
    /// The client [default: the only one]
    #[arg(long, value_name = "CLIENT")]
    pub client: Option<String>,
    /// A full scope; repeatable [default: all of the client's]
    #[arg(long = "scope", value_name = "SCOPE", value_parser = arguments::SCOPE)]
    pub scopes: Vec<String>,
    /// A header to send; repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = arguments::HEADER)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body to send, or @FILE
    #[arg(short = 'd', long = "data", value_name = "BODY|@FILE")]
    pub data: Option<String>,
    /// Print the status line and the headers before the body
    #[arg(short = 'i', long)]
    pub include: bool,
    /// Read the client's secret from file:PATH, env:NAME, secretsmanager:NAME or ssm:/PATH [default: secret_from of the
    /// configuration, else Cognito]
    #[arg(long, value_name = "SOURCE")]
    pub secret_from: Option<SecretSource>,
}

/// `logs`.
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// The function [default: the only one]
    pub function: Option<String>,
    /// How far back, such as 30s, 10m, 2h or 1d
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = arguments::DURATION)]
    pub since: Duration,
    /// Keep printing new events until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// The requests to the API, by client and route, instead of what a function wrote
    #[arg(long, conflicts_with = "function")]
    pub access: bool,
    /// Only the requests of this client
    #[arg(long, value_name = "CLIENT", requires = "access")]
    pub client: Option<String>,
    /// Only the requests with this status, such as 403 or 4xx
    #[arg(long, value_name = "STATUS", requires = "access", value_parser = arguments::STATUS)]
    pub status: Option<(u16, u16)>,
    /// Requests, errors and latencies in total, by client and route
    #[arg(long, requires = "access", conflicts_with = "follow")]
    pub stats: bool,
}

/// `account`.
#[derive(Args, Debug)]
pub(crate) struct Account {
    /// Of what.
    #[command(subcommand)]
    pub setting: AccountSetting,
}

/// What `account` shows or sets.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountSetting {
    /// Show whether APIs can write access logs; exit 3 if they cannot
    Logs {
        /// What to do instead of showing it.
        #[command(subcommand)]
        action: Option<AccountLogsAction>,
    },
}

/// What `account logs` does.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountLogsAction {
    /// Let all APIs of the region write access logs, unless they can already; it stays when stacks are deleted
    Enable {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `outputs`.
#[derive(Args, Debug)]
pub(crate) struct Outputs {
    /// For a program, a shell or Terraform [default: a line for each output]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<OutputsFormat>,
}

/// How the outputs are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputsFormat {
    /// A JSON document, as with --json
    Json,
    /// Variables of a shell
    Env,
    /// Variables of Terraform
    Tfvars,
    /// A change of Route 53 that makes an alias of each domain of the stack
    Route53,
}

/// `client`.
#[derive(Args, Debug)]
pub(crate) struct Client {
    /// What to do.
    #[command(subcommand)]
    pub action: ClientAction,
}

/// `client list|sheet`.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientAction {
    /// List the clients with what each may call and how old its secrets are
    List {
        /// Exit 3 if a secret is older, such as 90d
        #[arg(long, value_name = "AGE", value_parser = arguments::DURATION)]
        max_secret_age: Option<Duration>,
    },
    /// Print what another team needs to call the API as a client; never its secret
    Sheet {
        /// The client [default: the only one]
        client: Option<String>,
        /// How to print it [default: markdown]
        #[arg(long, value_enum, value_name = "FORMAT")]
        format: Option<SheetFormat>,
    },
}

/// How the sheet of a client is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SheetFormat {
    /// Markdown
    Markdown,
    /// One HTML page that needs no other file
    Html,
}

/// `openapi`.
#[derive(Args, Debug)]
pub(crate) struct Openapi {
    /// Only what this client may call [default: all routes]
    #[arg(long, value_name = "CLIENT")]
    pub client: Option<String>,
}

/// `graph`.
#[derive(Args, Debug)]
pub(crate) struct Graph {
    /// Which language the picture is in
    #[arg(long, value_enum, default_value_t = GraphFormat::Svg)]
    pub format: GraphFormat,
}

/// In which language a graph is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A picture that every browser shows
    Svg,
    /// For Graphviz
    Dot,
    /// For Markdown on GitHub and GitLab
    Mermaid,
}

/// `down`.
#[derive(Args, Debug)]
pub(crate) struct Down {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Delete the user pool even if its deletion protection is on
    #[arg(long)]
    pub unprotect: bool,
    /// Do not wait until Lambda has deleted network interfaces: leave the roles that it needs for that to the next `down`
    #[arg(long)]
    pub no_wait: bool,
    /// What may break.
    #[command(flatten)]
    pub breaking: Breaking,
}

/// `secret`.
#[derive(Args, Debug)]
pub(crate) struct Secret {
    /// What to do with it.
    #[command(subcommand)]
    pub action: SecretAction,
}

/// `secret show|rotate|adopt`.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretAction {
    /// Print a client's secret, or write it to --to
    Show {
        /// The client [default: the only one]
        client: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Where it goes instead of to stdout
        #[command(flatten)]
        to: To,
    },
    /// Replace a client's secret; both work between `begin` and `finish`
    #[command(subcommand)]
    Rotate(RotateAction),
    /// Give a client a second secret, one that its programs have already, so that it can move here
    Adopt {
        /// The client [default: the only one]
        client: Option<String>,
        /// Read the secret from stdin, file:PATH, env:NAME, secretsmanager:NAME or ssm:/PATH
        #[arg(long, value_name = "SOURCE")]
        from: GivenSecret,
    },
}

/// Where a secret is read from that a client has elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GivenSecret {
    /// The first and only line of stdin.
    Stdin,
    /// A place that keeps secrets.
    In(SecretSource),
}

impl FromStr for GivenSecret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "stdin" {
            return Ok(Self::Stdin);
        }
        let source = text.parse().map(Self::In);
        source.map_err(|_| "expected stdin, file:PATH, env:NAME, secretsmanager:NAME or ssm:/PATH")
    }
}

/// `secret rotate begin|finish|status`.
#[derive(Debug, Subcommand)]
pub(crate) enum RotateAction {
    /// Create a second secret, and print it or write it to --to; it may not be readable again
    Begin {
        /// The client [default: the only one]
        client: Option<String>,
        /// If there are two secrets, delete the newer one first; for a secret that never arrived
        #[arg(long)]
        again: bool,
        /// Where it goes instead of to stdout
        #[command(flatten)]
        to: To,
    },
    /// Delete the older of two secrets
    Finish {
        /// The client [default: the only one]
        client: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show which secrets there are, and what to do next
    Status {
        /// The client [default: the only one]
        client: Option<String>,
    },
}

/// Where a secret goes.
#[derive(Args, Debug)]
pub(crate) struct To {
    /// file:PATH creates a file that only its owner can read, secretsmanager:NAME fills an existing secret, ssm:/PATH creates
    /// or changes an encrypted parameter of this stack
    #[arg(long = "to", value_name = "DEST")]
    pub destination: Option<Destination>,
    /// Write to secretsmanager:NAME or ssm:/PATH as this IAM role, which may be of another account
    #[arg(long = "to-role", value_name = "ARN", requires = "destination", value_parser = arguments::ROLE)]
    pub role: Option<String>,
}

/// Where a secret goes instead of to stdout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A file that is not there yet.
    File(PathBuf),
    /// A secret of Secrets Manager that is there, or a parameter of Systems Manager.
    Place(SecretPlace),
}

impl FromStr for Destination {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match place(text) {
            Some(("file", path)) => Ok(Self::File(path.into())),
            _ => (text.parse().map(Self::Place))
                .map_err(|()| "expected file:PATH, secretsmanager:NAME or ssm:/PATH"),
        }
    }
}

/// What kind of place a text names, and which one.
fn place(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').filter(|(_, which)| !which.is_empty())
}

/// Where a client's secret is read from instead of from Cognito.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A secret of Secrets Manager, or a parameter of Systems Manager.
    Place(SecretPlace),
}

impl FromStr for SecretSource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match place(text) {
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("env", name)) => Ok(Self::Env(name.to_owned())),
            _ => (text.parse().map(Self::Place))
                .map_err(|()| "expected file:PATH, env:NAME, secretsmanager:NAME or ssm:/PATH"),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::Place(place) => place.fmt(f),
        }
    }
}

/// Where the secret of one of several clients is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientSource {
    /// The client's name; `None`: the only client.
    pub client: Option<String>,
    /// Where its secret is.
    pub source: SecretSource,
}

impl FromStr for ClientSource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A client's name may have `=` and has no `:`.
        let kind = text.split(':').next().unwrap_or_default();
        let (client, source) = match kind.rfind('=') {
            Some(end) => (Some(text[..end].to_owned()), &text[end + 1..]),
            None => (None, text),
        };
        Ok(Self {
            client,
            source: source.parse()?,
        })
    }
}

/// `policy`.
#[derive(Args, Debug)]
pub(crate) struct Policy {
    /// The commands that the operator runs [default: up status down]
    #[arg(value_enum)]
    pub commands: Vec<PolicyTask>,
    /// Also print who may use the role: github:ORG/REPO[:ENVIRONMENT] or gitlab:GROUP/PROJECT[:BRANCH], by default the branch
    /// main
    #[arg(long, value_name = "PIPELINE")]
    pub trust: Option<Pipeline>,
    /// Where GitLab is [default: gitlab.com]
    #[arg(long, value_name = "HOST", requires = "trust", value_parser = arguments::HOST)]
    pub gitlab_host: Option<String>,
    /// For this account, without a call to AWS and without what is on record
    #[arg(long, value_name = "ACCOUNT", value_parser = arguments::ACCOUNT)]
    pub account: Option<String>,
    /// Where the operator's `secret` writes secrets to
    #[command(flatten)]
    pub to: To,
}

/// A command that an operator may be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyTask {
    /// Create and change the stack
    Up,
    /// See what `up` would do
    Plan,
    /// See whether the stack is as recorded
    Status,
    /// Delete the stack
    Down,
    /// Get access tokens, which needs the client's secret
    Token,
    /// Call the API, which needs a token
    Call,
    /// Read the functions' log events, and the requests
    Logs,
    /// Show and replace the clients' secrets
    Secret,
    /// List the clients
    Client,
    /// Put a stack on record again whose state is lost
    Recover,
    /// Let the APIs of the region write access logs
    AccountLogs,
    /// Check the account, and what the operator may do
    Doctor,
}

/// `schema`.
#[derive(Args, Debug)]
pub(crate) struct Schema {
    /// For an editor, or for people
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = SchemaFormat::Json)]
    pub format: SchemaFormat,
}

/// How the keys of the configuration are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaFormat {
    /// A JSON Schema
    Json,
    /// The reference as a table in Markdown
    Markdown,
}

/// `sandbox`.
#[derive(Args, Debug)]
pub(crate) struct Sandbox {
    /// What to do with it.
    #[command(subcommand)]
    pub action: SandboxAction,
}

/// `sandbox start|stop|status`.
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxAction {
    /// Start it, unless it is running
    Start {
        /// The port on 127.0.0.1 [default: the previous one, else a free one]
        #[arg(long)]
        port: Option<u16>,
    },
    /// Stop it; its content stays
    Stop,
    /// Show whether it is running, where, and with which credentials; exit 3 if it is not
    ///
    /// Prints the environment variables with which other AWS tools reach it. AWS_ACCESS_KEY_ID is a secret: whoever has
    /// it can run code as you.
    Status,
}

/// `completions`.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell that can complete what is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// Bash 3.2 or newer
    Bash,
    /// Z shell
    Zsh,
    /// fish 3.1 or newer
    Fish,
    /// PowerShell 7 or newer
    Powershell,
}

/// `man`.
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// The folder for them; pages of this name that are there are replaced
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_may_be_of_a_client_of_any_name() {
        let file = || SecretSource::File("a=b:c".into());
        for (text, client, source) in [
            ("file:a=b:c", None, file()),
            ("app=file:a=b:c", Some("app"), file()),
            ("a=b, c@d=file:a=b:c", Some("a=b, c@d"), file()),
            ("file=env:X", Some("file"), SecretSource::Env("X".to_owned())),
            (
                "secretsmanager:arn:aws:secretsmanager:eu-west-1:111122223333:secret:app-AbCdEf",
                None,
                SecretSource::Place(SecretPlace::SecretsManager(
                    "arn:aws:secretsmanager:eu-west-1:111122223333:secret:app-AbCdEf".to_owned(),
                )),
            ),
            (
                "app=ssm:/orders/app",
                Some("app"),
                SecretSource::Place(SecretPlace::Parameter("/orders/app".to_owned())),
            ),
        ] {
            let client = client.map(str::to_owned);
            let parsed: ClientSource = text.parse().unwrap();
            assert_eq!(parsed, ClientSource { client, source }, "{text}");
            assert!(text.ends_with(&parsed.source.to_string()), "{text}");
        }
        for text in [
            "",
            "app",
            "file:",
            "app=file:",
            "env:",
            "secretsmanager:",
            "s3:b",
            "File:a",
            "=:",
        ] {
            assert!(text.parse::<ClientSource>().is_err(), "{text}");
            assert!(text.parse::<SecretSource>().is_err(), "{text}");
        }
    }
}
