//! `plan`: what `up` would do, field by field.
//!
//! Must not change anything, neither in AWS nor on disk, but the file of `--out`.

mod bound;
mod markdown;
mod moved;
#[cfg(test)]
mod sample;
pub(super) mod saved;
pub(super) mod text;
mod values;

use std::collections::BTreeMap;

use serde::Serialize;

pub(super) use self::bound::Facts;
use self::saved::command;
use self::text::text;

use super::backends;
use super::document::document;
use super::domains;
use super::follow_up::quoted;
use super::foreign::{self, Extent};
use super::holders;
use super::invocation::Invocation;
use super::open::{self, Declared};
use super::preflight;
use super::rights::changed;
use super::ui::{READING, Ui};
use crate::aws::Aws;
use crate::cli::{Changes, Plan as Args};
use crate::config::Config;
use crate::engine::options::Options;
use crate::engine::plan::{self, Plan, Planned};
use crate::engine::status::survey;
use crate::error::{Failure, Kind};
use crate::foreign::Foreign;
use crate::graph::Stack;
use crate::report::event::Operation;
use crate::resource::Resource as _;
use crate::resources;
use crate::resources::Path;
use crate::rights::{self, Rights};

/// Stands for the owner in the names of a stack that has none yet: `up` draws it.
pub(super) const OWNER: &str = "<owner>";

/// What to do about a user pool that is protected from deletion.
pub(super) const UNPROTECT: [&str; 2] = [
    "pass --unprotect to have it switched off right before the deletion",
    "or set `deletion_protection = false` in [user_pool] and run `provision up` first",
];

/// What to do about a resource that lost its tag.
pub(super) const NOT_OURS: &str =
    "if it is this stack's and lost its tag, tag it `provision:owner` with the `owner` of the state file";

#[derive(Serialize)]
struct Content<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    rights: &'a Rights,
    foreign: &'a [Foreign],
}

/// Runs it.
pub(super) async fn run(invocation: &Invocation, args: &Args, ui: &Ui) -> Result<(), Failure> {
    if let Some(file) = &args.out {
        saved::check(file)?;
    }
    let declared = Declared::open(invocation, Some(OWNER), ui).await?;
    declared.refuse(invocation)?;
    let stack = declared.stack();
    let Declared {
        config,
        state,
        session,
        ..
    } = &declared;
    warn(&stack, config, ui);
    backends::warn(config, &session.identity, ui);
    let mut wish = wish(&args.changes, &stack)?;
    let aws = session.aws_for_a_survey();
    let reading = async {
        tokio::try_join!(
            survey(&aws, resources::KINDS, state),
            foreign::look(&aws, state, Extent::All)
        )
    };
    let (lives, foreign) = ui.show_wait(READING, reading).await?;
    domains::warn(&session.aws, ui);
    wish.occupied = foreign::occupied(state, &foreign)?;
    let plan = plan::plan(&stack, state, &lives, resources::KINDS, &wish).map_err(open::unusable)?;
    let rights = changed(&plan, state, &lives);
    if ui.is_json() {
        let content = Content {
            plan: &plan,
            rights: &rights,
            foreign: &foreign,
        };
        ui.data(&document(state, &content)?);
    } else if args.markdown {
        ui.data(markdown::markdown(&state.stack, &args.changes, &plan, &rights, &foreign).trim_end());
    } else {
        let text = text(&plan, true) + &rights.text(usize::MAX);
        ui.data(&(text.trim_end().to_owned() + &foreign::text(&foreign)));
    }
    refuse(&plan)?;
    foreign::refuse(&plan, &foreign, args.changes.allow_foreign)?;
    backends::refuse_absent(&aws, &declared.config, &plan).await?;
    holders::refuse(&aws, state, &plan, &args.changes.breaking).await?;
    preflight::check_log_role(session, config, &lives).await?;
    if let Some(file) = &args.out {
        let facts = Facts {
            invocation,
            config,
            identity: &session.identity,
            stack: &declared.stack_of(OWNER),
            state,
            observed: &lives,
            plan: &plan,
            foreign: &foreign,
            changes: &args.changes,
        };
        saved::write(file, &facts, &rights)?;
        ui.progress(&format!("saved; to do it, run `{}`", command("up --plan", file)));
    }
    if args.check && !plan.is_empty() {
        return Err(Failure::silent(Kind::Differs));
    }
    Ok(())
}

/// What the command line asks for; a step that the stack does not have is an error.
pub(super) fn wish(changes: &Changes, stack: &Stack<Aws>) -> Result<Options, Failure> {
    for name in &changes.replace {
        if !stack.steps().iter().any(|step| step.name == *name) {
            let names: Vec<&str> = stack.steps().iter().map(|step| step.name.as_str()).collect();
            return Err(
                Failure::usage(format!("--replace {name}: the stack has no such step"))
                    .hinted(format!("it has {}", names.join(", "))),
            );
        }
    }
    Ok(Options {
        replace: changes.replace.iter().cloned().collect(),
        repair: !changes.no_repair,
        unprotect: changes.unprotect,
        occupied: BTreeMap::new(),
    })
}

/// The most paths that API Gateway's default quota of 300 resources an API surely has room for: whether the root counts
/// is not documented.
const PATHS: usize = 299;

/// Warns of a quota that this stack may exceed, which a service tells only once it is met, and of names that it may refuse.
pub(super) fn warn(stack: &Stack<Aws>, config: &Config, ui: &Ui) {
    for (name, function) in &config.functions {
        let allows_all = function.policy.iter().any(rights::allows_everything);
        let is_admin = |arn: &String| arn.ends_with(":aws:policy/AdministratorAccess");
        if allows_all || function.managed_policies.iter().any(is_admin) {
            ui.warn(&format!("function {name}: its policy allows every action on every resource of the account: name what the function uses"));
        }
    }
    if let Some(domain) = &config.api.domain
        && domain
            .made
            .as_ref()
            .is_some_and(|made| !made.truststore.is_empty())
        && !domain.close_default_endpoint
    {
        ui.warn(
            "[api.domain]: clients without a certificate can use AWS's own host name: set close_default_endpoint = true",
        );
    }
    let paths = || stack.steps().iter().filter(|step| step.kind.name == Path::NAME);
    let doubtful = |part: &&str| part.contains(':');
    for part in paths()
        .filter_map(|step| step.name.rsplit('/').next())
        .filter(doubtful)
    {
        ui.warn(&format!("AWS's documents do not agree whether API Gateway accepts `:` in a path part: rename {part:?} if `up` \
             fails with BadRequestException"
        ));
    }
    let paths = paths().count();
    if paths > PATHS {
        ui.warn(&format!("the API has {paths} paths; API Gateway's default quota is 300 resources an API, and may count the root: \
             have it raised (AWS Service Quotas) if `up` fails with LimitExceededException"
        ));
    }
}

/// An error if anything in the plan cannot be done.
pub(super) fn refuse(plan: &Plan) -> Result<(), Failure> {
    let theirs = |planned: &&Planned| planned.action == Operation::NotOurs && planned.declared;
    let refused: Vec<&Planned> = plan
        .steps
        .iter()
        .filter(|planned| planned.action == Operation::Refused || theirs(planned))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = (refused.iter())
        .map(|planned| format!("{}: {}", planned.step, planned.why.as_deref().unwrap_or_default()))
        .collect();
    let mut failure = Failure::all_of(reasons);
    // A path loses nothing of ours: it is refused only for what others have put there.
    let occupied = |planned: &&Planned| planned.action == Operation::Refused && planned.kind == Path::NAME;
    if refused.iter().any(occupied) {
        failure = failure.hinted("delete by hand what others have put there, then run the same command");
    }
    if refused.iter().any(theirs) {
        failure = failure
            .hinted(NOT_OURS)
            .hinted("otherwise rename the step, or run `provision down`, which deletes all but what is not of this stack");
    }
    for hint in refused.iter().filter_map(|planned| planned.hint.clone()) {
        failure = failure.hinted(hint);
    }
    let loses = |planned: &&&Planned| {
        let loses = planned.action == Operation::Refused && planned.kind != Path::NAME;
        loses && planned.protection.is_none() && planned.hint.is_none()
    };
    if let Some(first) = refused.iter().find(loses) {
        failure = failure
            .hinted("set it back to what it was, or add another one beside it under another name")
            .hinted(format!(
                "or accept the loss with --replace {}",
                quoted(first.step.as_ref())
            ));
    }
    if refused.iter().any(|planned| planned.protection.is_some()) {
        failure = UNPROTECT.into_iter().fold(failure, Failure::hinted);
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::sample::{planned, sample};
    use super::*;

    #[test]
    fn what_is_refused_is_an_error_that_says_what_to_do() {
        let why = Some("AWS cannot change pool in place, and a new client loses its client_id and secret");
        let plan = Plan {
            steps: vec![planned("client:app", Operation::Refused, why, Vec::new())],
        };
        let failure = refuse(&plan).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        assert!(
            failure.hints[1].contains("--replace client:app"),
            "{:?}",
            failure.hints
        );
        assert!(refuse(&sample()).is_ok());
    }
}
