//! What is looked at before the first write of a fresh stack, in one round of parallel reads.
//!
//! Must not change anything. It looks at what somebody else can have taken, and at the quotas that one read tells. It spares
//! the names of roles, functions and log groups, which are free: each has the stack's owner in it, which is drawn at random
//! for a fresh stack (see `stack.rs`). Other quotas fail at the step that meets them, after which `up` goes on; so does a
//! stack of one function, whose role is what an `up` begins with: two more calls would tell nothing sooner.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::anyhow;

use super::hints::ENABLE_LOGS;
use super::open::Session;
use super::ui::Ui;
use crate::aws::Aws;
use crate::aws::account_logs;
use crate::aws::owned::{self, Owned};
use crate::aws::quotas::{self, Quota};
use crate::config::Config;
use crate::engine::live::{Live, Observed};
use crate::error::{Failure, on_one_line};
use crate::package::Package;
use crate::resource::{Cx, Result};
use crate::resources::pool_domain::Prefix;
use crate::resources::{SharedPool, function, pool_domain};
use crate::untrusted::printable;

/// What Lambda keeps unreserved at least, in any account.
const LEAST_UNRESERVED: i64 = 10;

/// How long a quota is waited for: nothing hangs on it.
const QUOTA_DEADLINE: Duration = Duration::from_secs(5);

/// Refuses what this account or region cannot take, with all that is in the way.
pub(super) async fn check(
    session: &Session,
    config: &Config,
    packages: &BTreeMap<String, Package>,
    shared_pool: Option<&SharedPool>,
    is_new: bool,
    ui: &Rc<Ui>,
) -> Result<(), Failure> {
    for (name, function) in &config.functions {
        if !function::is_known_runtime(&function.runtime) {
            // AWS adds runtimes, so an unknown one is not refused.
            ui.warn(&format!(
                "function {name}: this version of provision does not know the runtime {}; Lambda may",
                function.runtime
            ));
        }
    }
    let cx = session.cx(ui);
    let (taken, logs, full, unreserved, made) = tokio::join!(
        taken_prefix(session, config, &cx, ui),
        no_log_role(session, config, &cx),
        full_quotas(session, config, packages, &cx, ui),
        too_little_unreserved(session, config, &cx, ui),
        async {
            // A stack with a state looks for what it may have made itself.
            if is_new {
                made(config, shared_pool, &cx).await
            } else {
                Ok(Vec::new())
            }
        },
    );
    let mut problems = Vec::new();
    let mut hints = Vec::new();
    for one in made? {
        let what = match one.kind {
            "rest-api" => "REST API",
            "client" => "client",
            _ => "resource server",
        };
        let since = (one.created).map_or(String::new(), |since| format!(", made {since}"));
        problems.push(format!(
            "a stack {} without a state here has {what} {} (owner {}{since})",
            config.stack,
            printable(&one.id),
            one.owner
        ));
    }
    if !problems.is_empty() {
        hints.push("if that is this stack, run `provision recover`, or name where its state is with --state");
        hints.push("otherwise give this one another name with --stack");
    }
    if let Some(taken) = taken? {
        problems.push(taken);
        hints.push(
            "choose another `domain_prefix` in [user_pool], or remove it to get one with random characters",
        );
    }
    if let Some(logs) = logs? {
        problems.push(logs);
        hints.push(ENABLE_LOGS);
    }
    let full: Vec<String> = full.into_iter().chain(unreserved).collect();
    if !full.is_empty() {
        problems.extend(full);
        hints.push("raise the quota (AWS Service Quotas), or delete what you no longer need");
    }
    let Some(last) = problems.last_mut() else {
        return Ok(());
    };
    last.push_str("; nothing was created");
    let failure = Failure::all_of(problems);
    Err(hints.into_iter().fold(failure, Failure::hinted))
}

/// What a stack of this name has made whose state is elsewhere, or lost: of what there is one of, or what only names tell.
async fn made(config: &Config, shared_pool: Option<&SharedPool>, cx: &Cx<Aws>) -> Result<Vec<Owned>> {
    let (apis, shared) = tokio::try_join!(
        async {
            if config.routes.is_empty() {
                return Ok(Vec::new());
            }
            owned::apis(cx, &config.stack).await
        },
        async {
            match shared_pool {
                Some(pool) => owned::in_pool(cx, &config.stack, pool.pool.as_str()).await,
                None => Ok(Vec::new()),
            }
        }
    )?;
    Ok([apis, shared].concat())
}

/// Refuses access logs of a stage that does not log yet, where API Gateway has no role to write them with.
pub(super) async fn check_log_role(
    session: &Session,
    config: &Config,
    lives: &Observed,
) -> Result<(), Failure> {
    let logs = |live: &Live| matches!(live, Live::Present(live) if live["access_log_destination"] != "");
    if lives.get("stage").is_some_and(logs) {
        return Ok(());
    }
    let cx = Cx::new(session.aws.clone(), Rc::new(|_| ()));
    match no_log_role(session, config, &cx).await? {
        Some(problem) => Err(Failure::usage(format!("{problem}; nothing was changed")).hinted(ENABLE_LOGS)),
        None => Ok(()),
    }
}

/// Why the stage cannot log requests, if it is to.
async fn no_log_role(session: &Session, config: &Config, cx: &Cx<Aws>) -> Result<Option<String>> {
    if config.api.access_log_days.is_none() || account_logs::current(cx).await?.is_some() {
        return Ok(None);
    }
    Ok(Some(format!(
        "[api] has access_logs, and API Gateway has no role to write logs with in account {}, region {}",
        session.identity.account, session.identity.region
    )))
}

/// Who has the configured prefix, if anybody.
async fn taken_prefix(session: &Session, config: &Config, cx: &Cx<Aws>, ui: &Ui) -> Result<Option<String>> {
    // Without a fixed prefix the domain has the owner in its name.
    let Some(prefix) = &config.user_pool.domain_prefix else {
        return Ok(None);
    };
    let holder = match pool_domain::look_up(cx, prefix).await? {
        Prefix::Free => return Ok(None),
        Prefix::Taken(holder) => holder,
        Prefix::Hidden => {
            ui.warn(&format!(
                "Cognito does not show the domain prefix {prefix}: another account probably has it, and step \
                 pool-domain will fail then"
            ));
            return Ok(None);
        }
    };
    let whose = if holder.account.as_deref() == Some(&session.identity.account) {
        format!("user pool {} of this account", holder.pool)
    } else {
        "another account".to_owned()
    };
    let region = &session.identity.region;
    Ok(Some(format!(
        "the domain prefix {prefix} is taken in {region}, by {whose}"
    )))
}

async fn in_time<T>(operation: &str, read: impl Future<Output = Result<T>>) -> Result<T> {
    let seconds = QUOTA_DEADLINE.as_secs();
    let read = tokio::time::timeout(QUOTA_DEADLINE, read).await;
    read.unwrap_or_else(|_| Err(anyhow!("{operation}: no answer in {seconds} seconds")))
}

/// Whether the functions reserve more than Lambda lets them. How much has to stay unreserved depends on the account: 100, or
/// 10 in a new one. Only what no account takes is refused here.
async fn too_little_unreserved(session: &Session, config: &Config, cx: &Cx<Aws>, ui: &Ui) -> Option<String> {
    let reserved = config.functions.values();
    let reserved = reserved.filter_map(|function| function.reserved_concurrency);
    let reserved: i64 = reserved.map(i64::from).sum();
    if reserved == 0 {
        return None;
    }
    let operation = "lambda:GetAccountSettings";
    match in_time(operation, quotas::unreserved_concurrency(cx)).await {
        Ok(unreserved) if reserved > unreserved - LEAST_UNRESERVED => Some(format!(
            "{unreserved} invocations at once are not reserved in {}, of which Lambda keeps at least {LEAST_UNRESERVED} \
             for functions without `reserved_concurrency`, and this stack reserves {reserved}",
            session.identity.region
        )),
        Ok(_) => None,
        Err(error) => {
            ui.warn(&format!(
                "cannot read the quota of Lambda's concurrency, so it is not checked: {}",
                on_one_line(&error)
            ));
            None
        }
    }
}

/// The quotas that have no room for this stack; one that could not be read is told, and not refused.
async fn full_quotas(
    session: &Session,
    config: &Config,
    packages: &BTreeMap<String, Package>,
    cx: &Cx<Aws>,
    ui: &Ui,
) -> Vec<String> {
    if config.functions.len() < 2 {
        return Vec::new();
    }
    let (roles, code) = tokio::join!(
        in_time("iam:GetAccountSummary", quotas::roles(cx)),
        in_time("lambda:GetAccountSettings", quotas::code_storage(cx)),
    );
    let zips: usize = packages.values().map(|package| package.zip.len()).sum();
    let region = &session.identity.region;
    let looks = [
        (
            "IAM roles of the account".to_owned(),
            config.functions.len(),
            roles,
        ),
        (format!("bytes of Lambda code in {region}"), zips, code),
    ];
    let mut full = Vec::new();
    for (what, more, quota) in looks {
        let more = i64::try_from(more).expect("a stack is smaller than 8 exabytes");
        match quota {
            Ok(quota) if quota.is_exceeded_by(more) => {
                let Quota { used, limit } = quota;
                full.push(format!(
                    "{used} of {limit} {what} are in use, and this stack takes {more} more"
                ));
            }
            Ok(_) => {}
            Err(error) => ui.warn(&format!(
                "cannot read the quota of {what}, so it is not checked: {}",
                on_one_line(&error)
            )),
        }
    }
    full
}
