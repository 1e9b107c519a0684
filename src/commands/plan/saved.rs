//! A plan in a file: what `plan --json` prints and what it is bound to. `up --plan` does it, or says what has moved.
//!
//! Must not write over anything but such a file.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::document::document;
use super::super::follow_up::quoted;
use super::super::invocation::Invocation;
use super::super::open::unusable;
use super::super::rights::changed;
use super::bound::{Bound, FORMAT, Facts, Place, recorded};
use super::moved::{different_steps, misplaced, moved, not_configured, state};
use super::values::without_fingerprints;
use crate::aws::{Aws, Identity};
use crate::cli::Changes;
use crate::config::Config;
use crate::engine::options::Options;
use crate::engine::plan::plan;
use crate::error::{Failure, Kind};
use crate::files::{self, Links, Replacement};
use crate::graph::Stack;
use crate::resources::KINDS;
use crate::rights::Rights;
use crate::state::State;
use crate::untrusted::printable_json;

/// The most bytes of a file that is read.
const LARGEST: u64 = 256 << 20;
/// How many things that have moved are told.
const SHOWN: usize = 20;
/// What comes after the digest, which is the last text in the file.
const END: &str = "\"\n  }\n}\n";

/// What is in the file after the lines that every document begins with.
#[derive(Serialize, Deserialize)]
struct Content {
    steps: Value,
    rights: Value,
    foreign: Value,
    bound: Bound,
}

/// A plan that was saved.
pub(crate) struct Saved {
    path: PathBuf,
    content: Content,
}

impl Content {
    /// `like`: the plan that it is to be compared with.
    fn of(facts: &Facts<'_>, rights: &Rights, like: Option<&Self>) -> Result<Self, Failure> {
        let slow = like.map(|like| &like.bound.environments.slow);
        Ok(Self {
            steps: serde_json::to_value(without_fingerprints(facts.plan).steps)?,
            rights: json!(rights),
            foreign: json!(facts.foreign),
            bound: Bound::to(facts, slow)?,
        })
    }
}

/// Refuses a file that cannot be what is meant, before anything is read from AWS.
///
/// # Errors
/// There is a file of this name and it is not a saved plan, or its folder is not there.
pub(crate) fn check(file: &Path) -> Result<(), Failure> {
    let folder = files::folder_of(file);
    if !folder.is_dir() {
        return Err(Failure::usage(format!(
            "folder {} of the plan not found",
            folder.display()
        )));
    }
    let text = match read(file, Links::Refused) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let error = anyhow::Error::new(error).context("the plan cannot be written");
            return Err(Failure::new(Kind::Usage, error));
        }
    };
    if text.is_empty() || format_of(&text).is_ok() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} exists and is not a saved plan; not overwritten",
        file.display()
    ))
    .hinted("name a new file or an earlier plan with --out"))
}

/// Writes the plan in one piece. Only this user may read the file.
///
/// # Errors
/// A resource cannot be built, or the file system says no.
pub(crate) fn write(file: &Path, facts: &Facts<'_>, rights: &Rights) -> Result<(), Failure> {
    let content = Content::of(facts, rights, None)?;
    let mut text = printable_json(&document(facts.state, &content)?) + "\n";
    let begin = text.len() - END.len();
    debug_assert_eq!(&text[begin..], END, "the digest is last");
    text.insert_str(begin, &digest(&text[..begin]));
    Replacement::write(file, text.as_bytes(), 0o600)?.persist(file)?;
    Ok(())
}

impl Saved {
    /// The plan in this file.
    ///
    /// # Errors
    /// It is not a plan, or not as it was written.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let unusable = |why: String| {
            Failure::usage(format!("the plan {} cannot be used: {why}", file.display()))
                .hinted(format!("make a plan with `{}`", command("plan --out", file)))
        };
        let text = read(file, Links::Followed).map_err(|error| unusable(error.to_string()))?;
        let format = format_of(&text).map_err(unusable)?;
        if format != FORMAT {
            return Err(unusable(format!(
                "it has format {format}; this version of provision reads {FORMAT}"
            )));
        }
        let cut = text.strip_suffix(END).and_then(|text| text.rsplit_once('"'));
        let is_whole = |(before, written): (&str, &str)| digest(&format!("{before}\"")) == written;
        if !cut.is_some_and(is_whole) {
            return Err(unusable("it was changed after `plan --out` wrote it".to_owned()));
        }
        let content = serde_json::from_str(&text)
            .map_err(|error| unusable(format!("it has another shape at line {}", error.line())))?;
        let path = file.to_owned();
        Ok(Self { path, content })
    }

    /// What `up` is asked for beyond what is configured.
    pub(crate) fn changes(&self) -> &Changes {
        &self.content.bound.changes
    }

    /// Refuses a run in another place than the plan is for.
    ///
    /// # Errors
    /// It is in another one.
    pub(crate) fn refuse_elsewhere(
        &self,
        invocation: &Invocation,
        config: &Config,
        identity: &Identity,
    ) -> Result<(), Failure> {
        let here = Place::of(invocation, config, identity)?;
        self.refuse(misplaced(&self.content.bound.place, &here))
    }

    /// Refuses a configuration without a step that the plan is asked to replace.
    ///
    /// # Errors
    /// There is such a step.
    pub(crate) fn refuse_gone(&self, stack: &Stack<Aws>) -> Result<(), Failure> {
        let is_there = |name: &&String| stack.steps().iter().any(|step| step.name == **name);
        let gone = self.changes().replace.iter().filter(|name| !is_there(name));
        self.refuse(gone.map(|name| not_configured(name)).collect())
    }

    /// Refuses a state that is not the one of the plan.
    ///
    /// # Errors
    /// It has moved.
    pub(crate) fn refuse_state(&self, now: &State) -> Result<(), Failure> {
        let then = self.content.bound.state.as_ref();
        self.refuse(state(then, recorded(now).as_ref()).into_iter().collect())
    }

    /// Refuses a run that would not do exactly what was planned.
    ///
    /// # Errors
    /// Something has moved.
    pub(crate) fn refuse_moved(
        &self,
        facts: &Facts<'_>,
        options: &Options,
        rights: &Rights,
    ) -> Result<(), Failure> {
        if facts.state.serial > 0 {
            return self.refuse_other(facts, rights);
        }
        // The plan of a stack that is not there yet has no owner in the names.
        let Facts { stack, observed, .. } = facts;
        let plan = plan(stack, facts.state, observed, KINDS, options).map_err(unusable)?;
        let rights = changed(&plan, facts.state, observed);
        let facts = Facts {
            plan: &plan,
            ..*facts
        };
        self.refuse_other(&facts, &rights)
    }

    fn refuse_other(&self, facts: &Facts<'_>, rights: &Rights) -> Result<(), Failure> {
        let planned = &self.content;
        let now = Content::of(facts, rights, Some(planned))?;
        let mut all = moved(&planned.bound, &now.bound);
        // As it was read from a file as well.
        let now: Content = serde_json::from_str(&serde_json::to_string(&now)?)?;
        if all.is_empty() {
            let steps = |content: &Content| content.steps.as_array().cloned().unwrap_or_default();
            all = different_steps(&steps(planned), &steps(&now));
        }
        if all.is_empty() && planned.rights != now.rights {
            all.push("the rights that are granted and denied are not those of the plan".to_owned());
        }
        self.refuse(all)
    }

    fn refuse(&self, mut moved: Vec<String>) -> Result<(), Failure> {
        if moved.is_empty() {
            return Ok(());
        }
        let more = moved.len().saturating_sub(SHOWN);
        moved.truncate(SHOWN);
        if more > 0 {
            moved.push(format!("and {more} more"));
        }
        let file = self.path.display();
        let mut failure = Failure::new(
            Kind::Differs,
            anyhow!("the plan {file} does not fit any more; nothing was changed"),
        );
        failure.details = moved;
        Err(failure.hinted(format!(
            "run `{}` again, look at it, then run `{}`",
            command("plan --out", &self.path),
            command("up --plan", &self.path)
        )))
    }
}

/// `provision plan --out FILE`.
pub(crate) fn command(words: &str, file: &Path) -> String {
    format!("provision {words} {}", quoted(file.as_os_str()))
}

fn read(file: &Path, links: Links) -> std::io::Result<String> {
    let mut text = String::new();
    files::open(file, links)?
        .take(LARGEST)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The format of a saved plan; why it is none.
fn format_of(text: &str) -> Result<u32, String> {
    #[derive(Deserialize)]
    struct Document {
        bound: Option<Format>,
    }
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    match serde_json::from_str(text) {
        Ok(Document { bound: Some(bound) }) => Ok(bound.format),
        Ok(Document { bound: None }) => Err("it is not a plan that `plan --out` wrote".to_owned()),
        // The rest of the message may repeat what is in the file.
        Err(error) => Err(format!(
            "it is not a plan, or not a whole one: it does not parse at line {}",
            error.line()
        )),
    }
}

/// Of all that is in the file before it.
fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}
