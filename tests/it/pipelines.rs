//! A pipeline that plans and deploys: the role that it may use, the action, the comment, and the examples.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use crate::support::{Place, Run};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wiremock::matchers::{any, body_string_contains, header, method, path, query_param};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// No server listens here: a call to it is a call too early.
const NOWHERE: &str = "http://127.0.0.1:1";

const TRUST: [&str; 4] = ["policy", "--region", "eu-west-1", "--account=123456789012"];

fn refused(run: Run, words: &str) {
    let run = run.code(2);
    assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    assert_eq!(run.stdout, "", "{}", run.stderr);
}

#[test]
fn the_trust_policy_of_a_pipeline_is_printed_beside_its_rights_without_a_call() {
    let place = Place::new();
    let run = |more: &[&str]| place.run_at(NOWHERE, &[&TRUST, more].concat());
    let alone: Value = serde_json::from_str(&run(&[]).ok().stdout).unwrap();
    for (more, provider, subject, is_warned) in [
        (
            &["--trust", "github:acme/shop:production"][..],
            "token.actions.githubusercontent.com",
            "repo:acme/shop:environment:production",
            true,
        ),
        (
            &["--trust", "github:acme@12/shop@34"],
            "token.actions.githubusercontent.com",
            "repo:acme@12/shop@34:ref:refs/heads/main",
            false,
        ),
        (
            &["--trust", "gitlab:acme/shop"],
            "gitlab.com",
            "project_path:acme/shop:ref_type:branch:ref:main",
            false,
        ),
        (
            &["--trust=gitlab:a/b/c:live", "--gitlab-host", "git.example.org"],
            "git.example.org",
            "project_path:a/b/c:ref_type:branch:ref:live",
            false,
        ),
    ] {
        let said = run(more).ok();
        let both: Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(both["rights"], alone, "{more:?}");
        let statement = &both["trust"]["Statement"][0];
        assert_eq!(both["trust"]["Statement"].as_array().unwrap().len(), 1);
        assert_eq!(
            statement["Principal"],
            json!({"Federated": format!("arn:aws:iam::123456789012:oidc-provider/{provider}")})
        );
        assert_eq!(
            statement["Condition"],
            json!({"StringEquals": {
                format!("{provider}:aud"): "sts.amazonaws.com", format!("{provider}:sub"): subject,
            }})
        );
        assert!(!both["trust"].to_string().contains('*'), "{more:?}");
        assert_eq!(
            said.stderr.contains("github:ORG@ID/REPO@ID"),
            is_warned,
            "{more:?}: {}",
            said.stderr
        );
    }
}

#[test]
fn a_pipeline_or_an_account_that_is_not_one_is_refused() {
    let place = Place::new();
    let run = |more: &[&str]| place.run_at(NOWHERE, &[&TRUST, more].concat());
    for pipeline in [
        "github:acme/*",
        "github:acme/shop:*",
        "gitlab:acme",
        "acme/shop",
        "github:acme@1/shop",
    ] {
        refused(run(&["--trust", pipeline]), "for '--trust <PIPELINE>': expected ");
    }
    refused(run(&["--gitlab-host", "git.example.org"]), "--trust <PIPELINE>");
    let host = ["--trust", "gitlab:acme/shop", "--gitlab-host", "a b"];
    refused(run(&host), "expected the name of a host");
    for account in ["1234", "12345678901x", "1234567890123"] {
        let run = place.run_at(NOWHERE, &["policy", "--account", account]);
        refused(run, "expected an account's 12 digits");
    }
    // The environment says whose it is.
    let file = format!(
        "{}\n[env.live]\naccount = \"111122223333\"\n",
        include_str!("../../provision.toml")
    );
    fs_err::write(place.path().join("provision.toml"), file).unwrap();
    fs_err::create_dir(place.path().join("lambda")).unwrap();
    let run = run(&["--env", "live"]);
    refused(
        run,
        "belongs to account 111122223333, and --account says 123456789012",
    );
}

#[test]
fn without_credentials_the_account_has_to_be_named() {
    let place = Place::new();
    let run = place
        .run_at(NOWHERE, &["policy", "--trust", "github:acme/shop"])
        .code(1);
    assert!(
        run.stderr.contains("name the account with --account"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stdout, "");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A script of the action as a runner runs it, on a thread of its own since the servers need this one.
struct Step {
    command: Command,
    temp: tempfile::TempDir,
}

impl Step {
    fn new(script: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut command = Command::new(root().join("action").join(script));
        command.current_dir(temp.path()).env("RUNNER_TEMP", temp.path());
        // The tests themselves may run on a runner.
        command.env_remove("ACTIONS_ID_TOKEN_REQUEST_URL");
        for file in [
            "GITHUB_PATH",
            "GITHUB_ENV",
            "GITHUB_OUTPUT",
            "GITHUB_STEP_SUMMARY",
        ] {
            command.env(file, temp.path().join(file));
        }
        Self { command, temp }
    }

    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    async fn run(&mut self) -> Output {
        let mut command = std::mem::replace(&mut self.command, Command::new("true"));
        let run = tokio::task::spawn_blocking(move || (command.output(), command)).await;
        let (output, command) = run.unwrap();
        self.command = command;
        output.unwrap()
    }

    /// What it wrote into a file of the runner's.
    fn file(&self, name: &str) -> String {
        fs_err::read_to_string(self.temp.path().join(name)).unwrap_or_default()
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The comments of one pull request, as GitHub keeps them.
#[derive(Clone, Default)]
struct Comments {
    all: Arc<Mutex<Vec<Value>>>,
    /// How many reads fail before one is answered.
    failures: Arc<Mutex<usize>>,
}

const OURS: &str = "github-actions[bot]";
const MARKER: &str = "<!-- provision plan: orders -->";
const JOB_TOKEN: &str = "ghs_a-token-of-the-job";

impl Comments {
    fn add(&self, author: &str, body: &str) {
        let mut all = self.all.lock().unwrap();
        let id = all.len() + 1;
        all.push(json!({"id": id, "body": body, "user": {"login": author}}));
    }

    /// Author and body of each.
    fn list(&self) -> Vec<(String, String)> {
        let all = self.all.lock().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let pair = |comment: &Value| (text(&comment["user"]["login"]), text(&comment["body"]));
        all.iter().map(pair).collect()
    }
}

impl Respond for Comments {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let path = request.url.path();
        let query = |name: &str| {
            let mut pairs = request.url.query_pairs();
            let value = pairs.find_map(|(key, value)| (key == name).then(|| value.parse::<usize>().unwrap()));
            value.unwrap()
        };
        let body = || -> String {
            let content: Value = serde_json::from_slice(&request.body).unwrap();
            content["body"].as_str().unwrap().to_owned()
        };
        match request.method.as_str() {
            "GET" => {
                let mut failures = self.failures.lock().unwrap();
                if *failures > 0 {
                    *failures -= 1;
                    return ResponseTemplate::new(502);
                }
                assert_eq!(path, "/repos/acme/shop/issues/7/comments");
                let all = self.all.lock().unwrap();
                let pages: Vec<_> = all.chunks(query("per_page")).collect();
                let page = pages.get(query("page") - 1).copied().unwrap_or_default();
                ResponseTemplate::new(200).set_body_json(page)
            }
            "POST" => {
                assert_eq!(path, "/repos/acme/shop/issues/7/comments");
                self.add(OURS, &body());
                ResponseTemplate::new(201).set_body_json(json!({}))
            }
            "PATCH" => {
                let id = path.strip_prefix("/repos/acme/shop/issues/comments/").unwrap();
                let id: usize = id.parse().unwrap();
                self.all.lock().unwrap()[id - 1]["body"] = body().into();
                ResponseTemplate::new(200).set_body_json(json!({}))
            }
            other => panic!("{other} is not asked for"),
        }
    }
}

async fn comment(server: &MockServer, plan: &str) -> Output {
    let mut step = Step::new("comment.py");
    let file = step.temp.path().join("plan.md");
    fs_err::write(&file, plan).unwrap();
    step.command = Command::new("python3");
    step.command.arg(root().join("action/comment.py")).arg(file);
    let step = step
        .env("GITHUB_API_URL", server.uri())
        .env("GITHUB_TOKEN", JOB_TOKEN);
    let step = step
        .env("GITHUB_REPOSITORY", "acme/shop")
        .env("PULL_REQUEST", "7");
    let output = step.env("AUTHOR", OURS).run().await;
    assert!(!said(&output).contains(JOB_TOKEN), "{}", said(&output));
    output
}

#[tokio::test]
async fn one_comment_is_made_and_then_changed_and_those_of_others_are_left_alone() {
    let comments = Comments::default();
    let server = MockServer::start().await;
    Mock::given(header("authorization", format!("Bearer {JOB_TOKEN}").as_str()))
        .respond_with(comments.clone())
        .mount(&server)
        .await;
    let plan = |text: &str| format!("{MARKER}\n{text}\n");
    let theirs = [
        ("mallory", plan("I am the plan")),
        (OURS, "<!-- provision plan: other -->\nanother stack".to_owned()),
        (OURS, format!("something else\n{MARKER}\n")),
    ];
    for (author, body) in &theirs {
        comments.add(author, body);
    }
    // What follows is on the second page.
    for number in 0..120 {
        comments.add("dev", &format!("looks good {number}"));
    }
    let before = comments.list();

    for text in ["1 to create", "2 to create", &"é".repeat(65_000)] {
        let output = comment(&server, &plan(text)).await;
        assert!(output.status.success(), "{}", said(&output));
        let list = comments.list();
        assert_eq!(list[..before.len()], before);
        assert_eq!(list[before.len()..], [(OURS.to_owned(), plan(text))]);
    }

    // A read is repeated, and what is too long or is not a plan is not sent.
    *comments.failures.lock().unwrap() = 2;
    assert!(comment(&server, &plan("3 to create")).await.status.success());
    for (text, words) in [
        (plan(&"x".repeat(65_537)), "GitHub takes 65536"),
        ("no marker\n".to_owned(), "does not mark a plan"),
    ] {
        let output = comment(&server, &text).await;
        assert!(
            !output.status.success() && said(&output).contains(words),
            "{}",
            said(&output)
        );
    }
    assert_eq!(comments.list().len(), before.len() + 1);
}

#[tokio::test]
async fn a_refused_comment_says_what_the_job_lacks_and_the_token_goes_nowhere_else() {
    let elsewhere = MockServer::start().await;
    let server = MockServer::start().await;
    let plan = format!("{MARKER}\n1 to create\n");
    for (status, words) in [
        (403, "permissions: pull-requests: write"),
        (302, "answered 302 to GET"),
    ] {
        server.reset().await;
        let answer = ResponseTemplate::new(status).insert_header("location", elsewhere.uri().as_str());
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let output = comment(&server, &plan).await;
        assert!(
            !output.status.success() && said(&output).contains(words),
            "{}",
            said(&output)
        );
    }
    // A write that may have happened is not repeated.
    server.reset().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .mount(&server)
        .await;
    let refusal = Mock::given(method("POST")).respond_with(ResponseTemplate::new(502));
    refusal.expect(1).mount(&server).await;
    assert!(!comment(&server, &plan).await.status.success());
    server.verify().await;
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_action_installs_what_the_checksum_names_and_nothing_else() {
    let script = "mkdir -p \"$PROVISION_INSTALL_DIR\" && echo \"$PROVISION_DOWNLOAD_URL\" >\"$PROVISION_INSTALL_DIR/provision\"\n";
    let server = MockServer::start().await;
    Mock::given(path("/acme/provision/releases/download/v1.2.3/install.sh"))
        .respond_with(ResponseTemplate::new(200).set_body_string(script))
        .mount(&server)
        .await;
    let mut sum = String::new();
    for byte in Sha256::digest(script) {
        write!(sum, "{byte:02x}").unwrap();
    }
    let install = |version: &str, sum: &str, repository: &str| {
        Step::new("install.sh")
            .env("GITHUB_SERVER_URL", server.uri())
            .env("VERSION", version)
            .env("SHA256", sum)
            .env("REPOSITORY", repository)
    };
    let mut step = install("1.2.3", &sum, "acme/provision");
    let output = step.run().await;
    assert!(output.status.success(), "{}", said(&output));
    let folder = step.file("GITHUB_PATH").trim().to_owned();
    assert_eq!(
        fs_err::read_to_string(Path::new(&folder).join("provision"))
            .unwrap()
            .trim(),
        format!("{}/acme/provision/releases/download/v1.2.3", server.uri())
    );
    let other = "0".repeat(64);
    for (version, sum, repository, words) in [
        ("1.2.3", &*other, "acme/provision", "nothing was installed"),
        ("1.2.4", &sum, "acme/provision", "could not be downloaded"),
        ("../x", &sum, "acme/provision", "input `version`"),
        ("1.2.3", "x", "acme/provision", "input `sha256`"),
        ("1.2.3", &sum, "acme", "input `repository`"),
    ] {
        let mut step = install(version, sum, repository);
        let output = step.run().await;
        assert!(
            !output.status.success() && said(&output).contains(words),
            "{}",
            said(&output)
        );
        assert_eq!(step.file("GITHUB_PATH"), "");
    }
}

const WEB_TOKEN: &str = "header.of-the-job.signature";
const DEPLOYER: &str = "arn:aws:iam::123456789012:role/path/orders-deploy";

#[tokio::test]
async fn the_token_of_a_job_becomes_the_credentials_of_its_role() {
    let github = MockServer::start().await;
    Mock::given(path("/token"))
        .and(query_param("audience", "sts.amazonaws.com"))
        .and(header("authorization", "Bearer of-the-runner"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"value": WEB_TOKEN})))
        .mount(&github)
        .await;
    let credentials = |role: &str, region: &str| {
        Step::new("credentials.sh")
            .env("ROLE", role)
            .env("REGION", region)
            .env("GITHUB_RUN_ID", "42")
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-runner")
    };
    let url = format!("{}/token?v=1", github.uri());
    let mut step = credentials(DEPLOYER, "eu-west-1").env("ACTIONS_ID_TOKEN_REQUEST_URL", &url);
    let output = step.run().await;
    assert!(output.status.success(), "{}", said(&output));
    assert!(!said(&output).contains("signature") && !said(&output).contains("of-the-runner"));
    let set = step.file("GITHUB_ENV");
    let names: Vec<&str> = set
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    assert_eq!(
        names,
        [
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_ROLE_ARN",
            "AWS_ROLE_SESSION_NAME",
            "AWS_REGION"
        ]
    );

    // What the runner does with that file, and a loopback STS.
    let sts = MockServer::start().await;
    let xml = |action: &str, result: &str| {
        ResponseTemplate::new(200).set_body_raw(
            format!("<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"),
            "text/xml",
        )
    };
    let role = "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fpath%2Forders-deploy";
    Mock::given(body_string_contains("Action=AssumeRoleWithWebIdentity"))
        .and(body_string_contains(role))
        .and(body_string_contains("RoleSessionName=provision-42"))
        .and(body_string_contains(WEB_TOKEN))
        .respond_with(xml(
            "AssumeRoleWithWebIdentity",
            "<Credentials><AccessKeyId>ASIAOFTHEROLE</AccessKeyId><SecretAccessKey>x</SecretAccessKey>\
             <SessionToken>y</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>",
        ))
        .expect(1)
        .mount(&sts)
        .await;
    Mock::given(body_string_contains("Action=GetCallerIdentity"))
        .respond_with(xml(
            "GetCallerIdentity",
            "<Arn>arn:aws:sts::123456789012:assumed-role/orders-deploy/provision-42</Arn><Account>123456789012</Account>",
        ))
        .mount(&sts)
        .await;
    let place = Place::new();
    let mut command = place.command(&["policy", "plan"]);
    command.envs(set.lines().filter_map(|line| line.split_once('=')));
    command.env("AWS_ENDPOINT_URL", sts.uri());
    // Whatever would go elsewhere goes nowhere.
    command.env("HTTPS_PROXY", NOWHERE).env("NO_PROXY", "");
    let run = tokio::task::spawn_blocking(move || Run::from(command.output().unwrap()));
    let policy = run.await.unwrap().ok().stdout;
    assert!(policy.contains(":123456789012:"), "{policy}");
    sts.verify().await;
    let asked = sts.received_requests().await.unwrap();
    let signed = asked[1].headers["authorization"].to_str().unwrap();
    assert!(signed.contains("Credential=ASIAOFTHEROLE/"), "{signed}");

    for (role, region, url, words) in [
        ("orders", "eu-west-1", Some(&url), "input `role`"),
        (
            "arn:aws:iam::123456789012:role/a\nX=y",
            "",
            Some(&url),
            "input `role`",
        ),
        (DEPLOYER, "eu-west-1\nX=y", Some(&url), "input `region`"),
        (DEPLOYER, "", None, "permissions: id-token: write"),
        (
            DEPLOYER,
            "",
            Some(&format!("{}/x?v=1", github.uri())),
            "gave this job no token",
        ),
    ] {
        let step = credentials(role, region);
        let mut step = match url {
            Some(url) => step.env("ACTIONS_ID_TOKEN_REQUEST_URL", url),
            None => step,
        };
        let output = step.run().await;
        assert!(
            !output.status.success() && said(&output).contains(words),
            "{}",
            said(&output)
        );
        assert_eq!(step.file("GITHUB_ENV"), "");
    }
}

#[tokio::test]
async fn the_exit_code_of_the_plan_becomes_an_output() {
    let folder = tempfile::tempdir().unwrap();
    let fake = folder.path().join("provision");
    let script = "#!/bin/sh\nprintf '%s|' \"$@\" >\"$ARGUMENTS\"\nprintf '# plan\\n'\necho '::error::from the plan' >&2\nexit \"$CODE\"\n";
    fs_err::write(&fake, script).unwrap();
    Command::new("chmod").arg("+x").arg(&fake).status().unwrap();
    let search = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    for (more, out, arguments, code, changes) in [
        ("", "", "plan|--check|--markdown|", 0, Some("false")),
        (
            "--env  live --stack=a;touch${IFS}x",
            "plan.json",
            "plan|--check|--markdown|--out|plan.json|--env|live|--stack=a;touch${IFS}x|",
            3,
            Some("true"),
        ),
        ("*", "", "plan|--check|--markdown|*|", 2, None),
    ] {
        let step = Step::new("plan.sh")
            .env("PATH", &search)
            .env("CODE", code.to_string());
        let step = step.env("PLAN_ARGUMENTS", more).env("PLAN_OUT", out);
        let kept = step.temp.path().join("arguments");
        let mut step = step.env("ARGUMENTS", &kept);
        let output = step.run().await;
        assert_eq!(fs_err::read_to_string(kept).unwrap(), arguments);
        assert_eq!(
            output.status.code(),
            Some(if changes.is_some() { 0 } else { code })
        );
        let written = step.file("GITHUB_OUTPUT");
        let value = written.lines().find_map(|line| line.strip_prefix("has-changes="));
        assert_eq!(value, changes);
        if let Some(file) = written.lines().find_map(|line| line.strip_prefix("markdown=")) {
            assert_eq!(fs_err::read_to_string(file).unwrap(), "# plan\n");
            assert_eq!(step.file("GITHUB_STEP_SUMMARY"), "# plan\n");
        }
        // What the plan says is between these, so it is not a command to the runner.
        let log = String::from_utf8(output.stdout).unwrap();
        let (stop, end) = log.trim().split_once('\n').unwrap();
        let word = stop.strip_prefix("::stop-commands::").unwrap();
        assert_eq!((end, word.len()), (format!("::{word}::").as_str(), 32));
    }
}

/// The workflows and the action: their paths and texts.
fn workflows() -> Vec<(String, String)> {
    let mut files = vec!["action.yml".to_owned()];
    for folder in [".github/workflows", "examples/github"] {
        for entry in fs_err::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_workflow = Path::new(&name)
                .extension()
                .is_some_and(|extension| extension == "yml");
            files.extend(is_workflow.then(|| format!("{folder}/{name}")));
        }
    }
    assert!(files.len() >= 6, "{files:?}");
    let text = |file: String| (file.clone(), fs_err::read_to_string(root().join(file)).unwrap());
    files.into_iter().map(text).collect()
}

/// What the shell gets: the text of every `run`, and the lines of GitLab's `script` and `before_script`.
fn scripts(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let key = line.trim_start().trim_start_matches("- ");
        let Some((name, value)) = key.split_once(':') else {
            continue;
        };
        let below = || {
            let depth = line.len() - key.len();
            let rest = lines[at + 1..].iter();
            rest.take_while(move |next| next.trim().is_empty() || indent(next) > depth)
        };
        match (name, value.trim()) {
            ("run", "|" | ">" | "|-" | ">-") => found.push(below().copied().collect::<Vec<_>>().join("\n")),
            ("run", value) => found.push(value.to_owned()),
            ("script" | "before_script", "") => {
                found.extend(below().map(|line| line.trim_start().trim_start_matches("- ").to_owned()));
            }
            _ => {}
        }
    }
    found
}

#[test]
fn what_a_shell_gets_has_no_expression_in_it() {
    let text = "a:\n  - run: echo ${{ x }}\n  - run: |\n      echo 1\n\n      echo ${{ y }}\n    env: ${{ z }}\nscript:\n  - one\n  - two\nb: c\n";
    assert_eq!(
        scripts(text),
        [
            "echo ${{ x }}",
            "      echo 1\n\n      echo ${{ y }}",
            "one",
            "two"
        ]
    );
    for (file, text) in workflows() {
        let scripts = scripts(&text);
        assert_eq!(scripts.len(), text.matches("run:").count(), "{file}");
        for script in scripts {
            assert!(!script.contains("${{"), "{file}: {script}");
        }
        assert!(!text.contains("pull_request_target"), "{file}");
        if file != "action.yml" {
            assert!(text.contains("\npermissions:\n  contents: read\n"), "{file}");
        }
    }
}

#[test]
fn every_action_is_pinned_to_a_commit() {
    let mut pinned = 0;
    for (file, text) in workflows() {
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let Some((_, uses)) = line.split_once("uses: ") else {
                continue;
            };
            let (action, version) = uses
                .split_once(" # v")
                .unwrap_or_else(|| panic!("{file}: {line}"));
            let (name, commit) = action.split_once('@').unwrap();
            assert!(
                version.starts_with(|c: char| c.is_ascii_digit()),
                "{file}: {line}"
            );
            assert!(
                commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()),
                "{file}: {line}"
            );
            // Its own commit is known once it is released.
            assert_eq!(
                name == "OWNER/provision",
                commit == "0".repeat(40),
                "{file}: {line}"
            );
            pinned += 1;
        }
    }
    assert!(pinned >= 10, "{pinned}");
}

/// The command lines of `provision` in a script, without what the shell makes of them.
fn commands(script: &str) -> Vec<Vec<String>> {
    let parts = script.split(['\n', '|', ';', '&', '>', '(', ')']);
    let commands = parts.filter_map(|part| part.trim().strip_prefix("provision "));
    let word = |word: &str| word.trim_matches(['"', '\'']).to_owned();
    commands
        .map(|line| line.split_whitespace().map(word).collect())
        .collect()
}

/// The blocks of a page that are for a shell.
fn blocks(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in page.split("```sh\n").skip(1) {
        found.push(block.split("```").next().unwrap().to_owned());
    }
    found
}

#[test]
fn every_command_of_the_examples_is_one() {
    assert_eq!(
        commands("x=1; provision up --env \"pr-$N\" | cat\n  provision down --yes >a && provisioned x"),
        [vec!["up", "--env", "pr-$N"], vec!["down", "--yes"]]
    );
    let place = Place::new();
    // With `--help` the words are read and nothing is done.
    let is_one = |words: &[String]| {
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        place.run(&words).code == 0
    };
    for wrong in ["plan --nonsense", "policy --trust github:acme/*", "nonsense"] {
        assert!(!is_one(&commands(&format!("provision {wrong}"))[0]), "{wrong}");
    }
    let of_the_action = ["plan", "--check", "--markdown", "--out", "plan.json"];
    let mut all: Vec<Vec<String>> = vec![of_the_action.map(str::to_owned).to_vec()];
    for (file, text) in workflows() {
        if file.starts_with("examples") {
            all.extend(scripts(&text).iter().flat_map(|script| commands(script)));
        }
    }
    let gitlab = fs_err::read_to_string(root().join("examples/gitlab/.gitlab-ci.yml")).unwrap();
    all.extend(scripts(&gitlab).iter().flat_map(|script| commands(script)));
    for page in ["examples/github/README.md", "examples/gitlab/README.md"] {
        let page = fs_err::read_to_string(root().join(page)).unwrap();
        all.extend(blocks(&page).iter().flat_map(|block| commands(block)));
    }
    assert!(all.len() >= 12, "{all:?}");
    for words in all {
        assert!(is_one(&words), "{words:?}");
    }
}
