//! What a run found out, for people (`aws-report.md`) and programs (`aws-report.json`, `aws-calls.jsonl`).
//!
//! Must not write anything that the redactor has not been over.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::hour::Hour;

/// What an answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Agrees,
    Differs,
    NotDecided,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Differs => "DIFFERS",
            Self::NotDecided => "not decided",
        }
    }
}

/// How one part of the run ended.
pub(super) struct Part {
    pub name: &'static str,
    pub seconds: f64,
    /// `None` where it did what it should.
    pub failed: Option<String>,
}

/// A question and its answer.
pub(super) struct Asked {
    pub id: &'static str,
    pub question: &'static str,
    pub source: &'static str,
    pub assumes: &'static str,
    pub answer: String,
    /// Whether it could be asked; if not, the answer is why.
    pub answered: bool,
    /// How long AWS took, where the question is of time.
    pub seconds: Option<f64>,
    pub verdict: Verdict,
    /// Whether the emulator's answer would be AWS's as well: it depends on this program alone.
    pub holds_anywhere: bool,
}

/// What stands beside an answer of the emulator.
pub(super) const NO_PROOF: &str = "sandbox: proves nothing about AWS";

impl Asked {
    fn verdict(&self, sandbox: bool) -> String {
        if sandbox && !self.holds_anywhere {
            format!("not decided ({NO_PROOF})")
        } else {
            self.verdict.word().to_owned()
        }
    }
}

#[derive(Default)]
pub(super) struct Report {
    pub parts: Vec<Part>,
    pub asked: Vec<Asked>,
    /// What was there of runs that this folder does not know.
    pub others: Vec<String>,
    /// Why something is left, for each run that has something left.
    pub left: Vec<String>,
    pub interrupted: bool,
}

impl Report {
    pub(super) fn is_good(&self) -> bool {
        self.left.is_empty() && !self.interrupted && self.parts.iter().all(|part| part.failed.is_none())
    }

    /// Writes the files and says where they are.
    pub(super) fn write(&self, hour: &Hour) -> Result<Vec<PathBuf>> {
        let redactor = &hour.recorder.redactor;
        let mut calls = String::new();
        for call in hour.recorder.calls() {
            // Again: some of what is secret became known later.
            writeln!(calls, "{}", redactor.json(&call))?;
        }
        let files = [
            ("aws-report.md", redactor.text(&self.markdown(hour))),
            (
                "aws-report.json",
                format!("{:#}\n", redactor.json(&self.json(hour))),
            ),
            ("aws-calls.jsonl", calls),
        ];
        let mut paths = Vec::new();
        for (name, text) in files {
            let path = hour.folder.join(name);
            fs_err::write(&path, text)?;
            paths.push(path);
        }
        Ok(paths)
    }

    fn json(&self, hour: &Hour) -> Value {
        let sandbox = hour.is_sandbox();
        let parts = self.parts.iter().map(
            |part| json!({"part": part.name, "seconds": part.seconds, "done": part.failed.is_none(), "error": part.failed}),
        );
        let asked = self.asked.iter().map(|asked| {
            json!({
                "id": asked.id, "question": asked.question, "source": asked.source, "answered": asked.answered,
                "answer": asked.answer,
                "seconds": asked.seconds, "code_assumes": asked.assumes, "verdict": asked.verdict(sandbox),
            })
        });
        json!({
            "format": 1,
            "target": if sandbox { "sandbox" } else { "aws" },
            "proof": if sandbox { NO_PROOF } else { "AWS answered" },
            "region": hour.identity.region,
            "version": env!("CARGO_PKG_VERSION"),
            "seconds": hour.began.elapsed().as_secs(),
            "interrupted": self.interrupted,
            "tokens": hour.tokens.get(),
            "left": self.left,
            "of_other_runs": self.others,
            "parts": parts.collect::<Vec<_>>(),
            "questions": asked.collect::<Vec<_>>(),
            "latencies": hour.latencies(),
        })
    }

    fn markdown(&self, hour: &Hour) -> String {
        let sandbox = hour.is_sandbox();
        let mut text = String::new();
        let title = if sandbox { "the sandbox" } else { "AWS" };
        let minutes = hour.began.elapsed().as_secs().div_ceil(60);
        let mut line = |line: String| writeln!(text, "{line}").unwrap_or_default();
        line(format!("# The first hour on {title}\n"));
        if sandbox {
            line(format!(
                "**{NO_PROOF}.** The answers below are an emulator's; only what is marked as holding anywhere is decided.\n"
            ));
        }
        line(format!(
            "provision {}, region {}, {minutes} minutes, about {} tokens (0.00225 USD each on AWS).\n",
            env!("CARGO_PKG_VERSION"),
            hour.identity.region,
            hour.tokens.get()
        ));
        if self.interrupted {
            line("Interrupted: what is not below was not asked.\n".to_owned());
        }
        if self.left.is_empty() {
            line("Nothing of this run is left (lists of user pools, REST APIs, functions, roles and log groups, by name and tag).\n".to_owned());
        } else {
            line(format!("**Left in the account:** {}\n", self.left.join("; ")));
        }
        if !self.others.is_empty() {
            line(format!(
                "Of other runs, not touched: {}\n",
                self.others.join(", ")
            ));
        }
        line("## What was run\n\n| part | seconds | result |\n|---|---|---|".to_owned());
        for part in &self.parts {
            let result = part.failed.as_deref().map_or("done".to_owned(), cell);
            line(format!("| {} | {:.0} | {result} |", part.name, part.seconds));
        }
        line("\n## Questions\n\n| question | answer | seconds | the code assumes | result |\n|---|---|---|---|---|".to_owned());
        for asked in &self.asked {
            let seconds = asked
                .seconds
                .map_or(String::new(), |seconds| format!("{seconds:.1}"));
            line(format!(
                "| {} ({}) | {} | {seconds} | {} | {} |",
                asked.question,
                asked.source,
                cell(&asked.answer),
                asked.assumes,
                asked.verdict(sandbox)
            ));
        }
        line("\n## Latencies in milliseconds\n\n| operation | called by | calls | p50 | p95 | most |\n|---|---|---|---|---|---|".to_owned());
        for row in hour.latencies() {
            let name = |member: &str| row[member].as_str().unwrap_or_default().to_owned();
            line(format!(
                "| {} | {} | {} | {} | {} | {} |",
                name("operation"),
                name("by"),
                row["calls"],
                row["p50_ms"],
                row["p95_ms"],
                row["max_ms"]
            ));
        }
        line(
            "\n## What is recorded\n\n`aws-calls.jsonl` has every request and answer of the questions, without headers, \
             secrets and account numbers. Of the calls of the binary only the times above are known: they are encrypted on \
             their way. Requests to the token endpoint and to the API are not recorded."
                .to_owned(),
        );
        text
    }
}

/// On one line and without the table's own sign.
fn cell(text: &str) -> String {
    text.replace('|', "/")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
