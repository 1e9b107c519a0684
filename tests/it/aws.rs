//! The first hour on a real account: the whole job, and the questions that AWS's documents leave open. docs/first-hour.md
//! says how to run it; without an account it runs against the sandbox.

#![allow(
    clippy::ignored_unit_patterns,
    reason = "of what was waited for often only the time counts"
)]

mod ask_cognito;
mod ask_gateway;
mod ask_lambda;
mod clear;
mod hour;
mod questions;
mod record;
mod replay;
mod report;
mod story;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::CommandExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Instant;

use crate::support::{Emulator, Place};
use anyhow::{Result, anyhow};
use futures_util::FutureExt;
use hour::{Hour, Target};
use questions::Question;
use report::{Part, Report};
use serde_json::{Value, json};

/// Runs `parts` and deletes what they made, however they end; the report is in `folder`.
async fn first_hour(
    target: Target,
    folder: &Path,
    aloud: bool,
    parts: impl AsyncFnOnce(&Hour, &mut Report) -> Result<()>,
) -> Result<Report> {
    let hour = Hour::open(target, folder, aloud).await?;
    let mut report = Report::default();
    for run in hour.runs()? {
        hour.tell(&format!(
            "the run {run} did not end: what it left is deleted first"
        ));
        clear::clear(&hour, &run).await?;
    }
    report.others = clear::others(&hour)
        .await?
        .iter()
        .map(ToString::to_string)
        .collect();
    hour.tell(&format!("first-hour run {}", hour.stack));
    hour.begin()?;
    part(&hour, &mut report, "all of it", async |hour, report| {
        parts(hour, report).await
    })
    .await;
    report.interrupted = hour::check().is_err();
    hour.tell("== deleting everything");
    for run in hour.runs()? {
        let left = clear::clear(&hour, &run).await.err();
        report.left.extend(left.map(|error| format!("{error:#}")));
    }
    for path in report.write(&hour)? {
        hour.tell(&format!("written: {}", path.display()));
    }
    hour.tell(if report.left.is_empty() {
        "nothing is left"
    } else {
        "NOT everything is deleted"
    });
    Ok(report)
}

/// Runs one part and notes how it ended.
async fn part(
    hour: &Hour,
    report: &mut Report,
    name: &'static str,
    run: impl AsyncFnOnce(&Hour, &mut Report) -> Result<()>,
) {
    if hour::check().is_err() {
        return;
    }
    hour.tell(&format!("== {name}"));
    let began = Instant::now();
    // What panics is a failure as well: it must not keep anything from being deleted.
    let done = AssertUnwindSafe(run(hour, report)).catch_unwind().await;
    let done = done.unwrap_or_else(|_| Err(anyhow!("it panicked; see above")));
    let failed = done
        .err()
        .map(|error| hour.recorder.redactor.text(&format!("{error:#}")));
    if let Some(error) = &failed {
        hour.tell(&format!("FAILED: {error}"));
    }
    let seconds = began.elapsed().as_secs_f64();
    report.parts.push(Part {
        name,
        seconds,
        failed,
    });
}

/// All parts, or a sample of them for `cargo test`.
async fn parts(hour: &Hour, report: &mut Report, whole: bool) -> Result<()> {
    part(hour, report, "the story", async |hour, _| {
        story::story(hour).await
    })
    .await;
    part(hour, report, "a change of every key", async |hour, _| {
        let sampled = story::EDITS
            .iter()
            .enumerate()
            .filter(|(index, _)| whole || index % 8 == 4);
        story::changes(hour, sampled.map(|(_, edit)| edit))
    })
    .await;
    part(hour, report, "down", async |hour, _| story::down(hour).await).await;
    let kills: &[usize] = if whole { &[1, 4, 2, 6, 3] } else { &[3, 2] };
    part(hour, report, "killed and resumed", async |hour, _| {
        story::killed(hour, kills).await
    })
    .await;
    part(
        hour,
        report,
        "the operator's policy with an assumed role",
        async |hour, _| story::policy(hour).await,
    )
    .await;
    part(hour, report, "the questions", async |hour, report| {
        let all = questions::OF_AWS.iter().chain(questions::OF_ITSELF);
        ask(
            hour,
            all.filter(|question| whole || question.quick),
            &mut report.asked,
        )
        .await
    })
    .await;
    part(hour, report, "nothing of the stack came back", async |hour, _| {
        story::gone(hour).await
    })
    .await;
    Ok(())
}

async fn ask(
    hour: &Hour,
    chosen: impl Iterator<Item = &Question>,
    asked: &mut Vec<report::Asked>,
) -> Result<()> {
    for question in chosen {
        hour::check()?;
        hour.tell(question.text);
        asked.push(question.ask(hour).await);
    }
    Ok(())
}

/// Where reports are, and the folders of runs that have not ended.
fn folder(variables: &BTreeMap<String, String>) -> PathBuf {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("first-hour");
    variables.get("PROVISION_AWS_FOLDER").map_or(own, PathBuf::from)
}

#[tokio::test]
#[ignore = "it needs an AWS account, or PROVISION_AWS_TEST=sandbox: docs/first-hour.md"]
async fn the_first_hour() {
    let variables: BTreeMap<String, String> = std::env::vars().collect();
    let target = hour::target(&variables).unwrap();
    hour::catch_signals();
    // On AWS and in the sandbox are different runs.
    let kind = if matches!(target, Target::Aws { .. }) {
        "aws"
    } else {
        "sandbox"
    };
    let folder = folder(&variables).join(kind);
    let all = async |hour: &Hour, report: &mut Report| parts(hour, report, true).await;
    let report = first_hour(target, &folder, true, all).await.unwrap();
    assert!(report.is_good(), "see the report");
}

#[tokio::test]
async fn a_sample_of_it_in_the_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::Sandbox { checks_rights: true };
    let sample = async |hour: &Hour, report: &mut Report| parts(hour, report, false).await;
    let report = first_hour(target, folder.path(), false, sample).await.unwrap();
    let read = |name: &str| fs_err::read_to_string(folder.path().join(name)).unwrap();
    let text = read("aws-report.md");
    assert!(report.is_good(), "{text}");
    let written: Value = serde_json::from_str(&read("aws-report.json")).unwrap();
    let asked = written["questions"].as_array().unwrap();
    let own = questions::OF_ITSELF.len();
    assert!(asked.len() > own && own > 0);
    for (index, question) in asked.iter().enumerate() {
        let proves = index >= asked.len() - own;
        let verdict = question["verdict"].as_str().unwrap();
        assert_eq!(verdict == "agrees", proves, "{question}");
        assert_eq!(verdict.contains(report::NO_PROOF), !proves, "{question}");
    }
    // Nobody else has anything here.
    let unanswered = asked.iter().filter(|question| question["answered"] == false);
    let unanswered: Vec<&Value> = unanswered.map(|question| &question["id"]).collect();
    assert_eq!(unanswered, ["foreign-prefix"], "{text}");

    let calls: Vec<Value> = read("aws-calls.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // Neither an account, nor the sandbox's key, nor a secret that the emulator made.
    let token = read("state/sandbox/token");
    for text in [text, read("aws-report.json"), read("aws-calls.jsonl")] {
        assert!(!text.contains("000000000000") && !text.contains(&token));
        assert!(
            !text.contains("eyJ") && !text.contains("ASIA") && !text.contains("AKIA"),
            "{text}"
        );
    }
    let made = calls
        .iter()
        .filter(|call| call["operation"] == "CreateUserPoolClient");
    let secrets = made.map(|call| &call["answer"]["body"]["UserPoolClient"]["ClientSecret"]);
    let secrets: Vec<&Value> = secrets.filter(|secret| !secret.is_null()).collect();
    assert!(!secrets.is_empty() && secrets.iter().all(|secret| **secret == "TAKEN-OUT"));
    // The real client understands it again.
    let call = calls
        .iter()
        .find(|call| call["operation"] == "CreateUserPool")
        .unwrap();
    let id = call["answer"]["body"]["UserPool"]["Id"].as_str().unwrap();
    let replayed = call.clone();
    let rule = aws_smithy_mocks::mock!(aws_sdk_cognitoidentityprovider::Client::create_user_pool)
        .then_http_response(move || replay::answer(&replayed).unwrap());
    let cognito = aws_smithy_mocks::mock_client!(aws_sdk_cognitoidentityprovider, [&rule]);
    let pool = cognito.create_user_pool().pool_name("x").send().await.unwrap();
    assert_eq!(pool.user_pool.unwrap().id(), Some(id));
}

#[test]
fn what_a_part_that_panics_has_made_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let panics = async |hour: &Hour, report: &mut Report| {
        part(hour, report, "one that panics", async |hour, _| {
            hour.ok(&["up", "--no-verify"])?;
            questions::OF_AWS[0].ask(hour).await;
            panic!("in the middle");
        })
        .await;
        part(hour, report, "the next", async |_, _| Ok(())).await;
        Ok(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let target = Target::Sandbox { checks_rights: false };
    let run = first_hour(target, folder.path(), false, panics);
    let report = runtime.block_on(run).unwrap();
    assert!(!report.is_good() && report.left.is_empty());
    let failed: Vec<bool> = report.parts.iter().map(|part| part.failed.is_some()).collect();
    assert_eq!(failed, [true, false, false], "each of them, and all of it");
    let left = Place::in_folder(folder.path());
    let emulator = Emulator::new(left.emulator());
    emulator.assert_nothing("after the panic");
}

#[test]
fn every_key_of_the_configuration_is_changed() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let reference = fs_err::read_to_string(reference).unwrap();
    let table = reference
        .split("| key | means |")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    // Another stack, another place, what changes nothing in AWS, and what the stack does not make itself.
    let (mut section, mut is_domain, mut missing, mut keys) = ("", false, Vec::new(), 0);
    for row in table.lines() {
        if let Some(name) = row.strip_prefix("| **`[") {
            // A domain needs a name that somebody has, and a certificate.
            is_domain = name.contains(".domain]");
            section = name.split(['.', ']']).next().unwrap();
        } else if let Some(key) = row.strip_prefix("| `").and_then(|row| row.split('`').next())
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            keys += 1;
            let key = format!("{section}.{key}");
            let is_changed = story::EDITS
                .iter()
                .any(|(name, _)| name.split(", ").any(|name| name == key));
            if !is_changed
                && !is_domain
                && !key.ends_with(".domain")
                && ![
                    "stack.name",
                    "stack.region",
                    "stack.state",
                    "stack.state_account",
                    "stack.state_kms_key",
                    "env.account",
                    // A pool that somebody else made.
                    "user_pool.id",
                    "user_pool.stack",
                    "user_pool.state",
                    "clients.secret_from",
                    // It needs a role that somebody else made.
                    "functions.role",
                    "functions.layers",
                    "functions.kms_key",
                    "functions.vpc",
                    // A role for the whole account and region, which stays.
                    "api.access_logs",
                    // A web ACL that someone else made, which costs by the month.
                    "api.firewall",
                    // A function, a VPC link and a load balancer that someone else made.
                    "backends.lambda",
                    "backends.vpc_link",
                    "backends.target",
                ]
                .contains(&&*key)
            {
                missing.push(key);
            }
        }
    }
    assert!(
        keys > 18 && missing.is_empty(),
        "of {keys} keys, tests/it/aws/story.rs changes all but {missing:?}"
    );
}

#[test]
fn nothing_is_run_that_was_not_asked_for() {
    let target = |set: &[(&str, &str)]| {
        let owned = set
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        hour::target(&owned.collect()).map_err(|error| error.to_string())
    };
    let account = ("PROVISION_AWS_ACCOUNT", "123456789012");
    let real = ("PROVISION_AWS_TEST", "1");
    for (set, said) in [
        (&[][..], "expected PROVISION_AWS_TEST=1"),
        (&[account], "expected PROVISION_AWS_TEST=1"),
        (
            &[("PROVISION_AWS_TEST", "yes"), account],
            "expected PROVISION_AWS_TEST=1",
        ),
        (&[real], "expected PROVISION_AWS_ACCOUNT"),
        (
            &[real, ("PROVISION_AWS_ACCOUNT", "123")],
            "expected PROVISION_AWS_ACCOUNT",
        ),
        (
            &[real, account, ("AWS_ENDPOINT_URL_IAM", "http://x")],
            "AWS_ENDPOINT_URL_IAM is set",
        ),
    ] {
        let error = target(set).unwrap_err();
        assert!(error.contains(said), "{set:?}: {error}");
    }
    assert_eq!(
        target(&[("PROVISION_AWS_TEST", "sandbox")]),
        Ok(Target::Sandbox { checks_rights: true })
    );
    let of_account = Target::Aws {
        account: "123456789012".to_owned(),
    };
    assert_eq!(target(&[real, account]), Ok(of_account));
}

/// The whole run as a process of its own, against the sandbox in `folder`, up to the line that begins like this.
fn run_until(folder: &Path, line: &str) -> (Child, Vec<String>, Lines<BufReader<ChildStderr>>) {
    let mut run = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "aws::the_first_hour"])
        .env("PROVISION_AWS_TEST", "sandbox-that-stays")
        .env("PROVISION_AWS_FOLDER", folder)
        // What the tester may have set does not lead anything out of the sandbox.
        .env("AWS_ENDPOINT_URL_IAM", "http://127.0.0.1:1")
        .env("AWS_ACCESS_KEY_ID", "somebody")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(run.stderr.take().unwrap()).lines();
    let mut before = Vec::new();
    while let Some(told) = said.next() {
        let told = told.unwrap();
        let is_it = told
            .split_once(" s  ")
            .is_some_and(|(_, told)| told.starts_with(line));
        before.push(told);
        if is_it {
            return (run, before, said);
        }
    }
    run.wait().unwrap();
    panic!("{line:?} was not told: {before:?}");
}

#[test]
fn a_killed_run_is_deleted_by_the_next_and_an_interrupted_one_by_itself() {
    let place = Place::new();
    let folder = place.path().join("sandbox");
    // Killed while there is a stack.
    let (mut run, before, _) = run_until(place.path(), "provision plan");
    run.kill().unwrap();
    run.wait().unwrap();
    let killed = before
        .iter()
        .find_map(|line| line.split_once("first-hour run "))
        .map(|(_, stack)| stack.to_owned());
    let killed = killed.unwrap();
    // Its emulator ends with it.
    while Place::in_folder(&folder).run(&["sandbox", "status"]).code != 3 {
        std::thread::yield_now();
    }
    let left = Place::in_folder(&folder);
    let emulator = Emulator::new(left.emulator());
    emulator.assert_whole("after the kill");
    drop(left);

    let (mut run, before, said) = run_until(place.path(), "provision plan");
    assert!(
        before
            .iter()
            .any(|line| line.contains(&format!("{killed} did not end"))),
        "{before:?}"
    );
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let after: Vec<String> = said.map(Result::unwrap).collect();
    assert!(!run.wait().unwrap().success());
    assert!(
        after.iter().any(|line| line.starts_with("interrupted: ")),
        "{after:?}"
    );
    assert!(
        after.iter().any(|line| line.ends_with("nothing is left")),
        "{after:?}"
    );
    let report = fs_err::read_to_string(folder.join("aws-report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (&report["interrupted"], &report["left"]),
        (&json!(true), &json!([]))
    );
    let left = Place::in_folder(&folder);
    let emulator = Emulator::new(left.emulator());
    emulator.assert_nothing("after both");
}
