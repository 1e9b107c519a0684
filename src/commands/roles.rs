//! The roles that the configuration names: somebody else made them, and functions run as them.
//!
//! Must not change anything.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use anyhow::Context;
use futures_util::future::try_join_all;

use crate::aws::{Aws, Identity, policy};
use crate::config::Config;
use crate::error::Failure;
use crate::resource::{Cx, Result};

/// What IAM knows of the roles that the configuration names.
#[derive(Default)]
pub(super) struct Roles {
    /// Their ids, by their ARNs.
    pub ids: BTreeMap<String, String>,
    /// Why a function cannot run as its role, a line each.
    pub problems: Vec<String>,
}

impl Roles {
    /// One read for each role that is named.
    ///
    /// # Errors
    /// An ARN is of another account or partition, which is found before a call; or a read failed.
    pub(super) async fn read(aws: &Rc<Aws>, config: &Config, here: &Identity) -> Result<Self, Failure> {
        check_place(config, here)?;
        let named: BTreeSet<&String> = (config.functions.values())
            .filter_map(|function| function.role.as_ref())
            .collect();
        let reads = named.into_iter().map(|arn| read_one(aws, arn));
        let mut roles = Self::default();
        for (arn, found) in try_join_all(reads).await? {
            let users = (config.functions.iter()).filter(|(_, function)| function.role.as_ref() == Some(arn));
            match found {
                Ok(id) => {
                    roles.ids.insert(arn.clone(), id);
                }
                Err(problem) => roles
                    .problems
                    .extend(users.map(|(name, _)| format!("function {name}: {problem}"))),
            }
        }
        Ok(roles)
    }

    /// An error if a function cannot run as its role.
    pub(super) fn refuse(&self) -> Result<(), Failure> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Failure::all_of(self.problems.iter().cloned()).hinted(
            "have the role mended by whoever made it, or take `role` out of the configuration to get a role of the stack's own",
        ))
    }
}

/// The role's id, or why Lambda cannot run a function as it.
async fn read_one<'a>(aws: &Rc<Aws>, arn: &'a String) -> Result<(&'a String, Result<String, String>)> {
    let cx = Cx::new(aws.clone(), Rc::new(|_| ()));
    let name = arn.rsplit('/').next().unwrap_or_default();
    let answer = (cx.role(name).await).with_context(|| format!("cannot read the role {arn}"))?;
    let Some(role) = answer.as_ref().as_ref().and_then(|answer| answer.role()) else {
        return Ok((arn, Err(format!("role {arn} not found"))));
    };
    if role.arn() != arn {
        let problem = format!("role {arn} not found; the role of this name is {}", role.arn());
        return Ok((arn, Err(problem)));
    }
    let trust = policy::parse(role.assume_role_policy_document().unwrap_or_default())?;
    if !policy::is_trusted(&trust, "lambda.amazonaws.com") {
        let problem =
            format!("the trust policy of role {arn} does not allow lambda.amazonaws.com to assume it");
        return Ok((arn, Err(problem)));
    }
    Ok((arn, Ok(role.role_id().to_owned())))
}

/// Refuses ARNs of another partition or account; AWS's own policies are of the account `aws`.
fn check_place(config: &Config, here: &Identity) -> Result<(), Failure> {
    let boundary =
        (config.permissions_boundary.iter()).map(|arn| ("[stack]: permissions_boundary".to_owned(), arn));
    let functions = config.functions.iter().flat_map(|(name, function)| {
        let managed = (function.managed_policies.iter())
            .map(move |arn| (format!("function {name}: managed_policies"), arn));
        let role = (function.role.iter()).map(move |arn| (format!("function {name}: role"), arn));
        managed.chain(role)
    });
    let elsewhere = boundary.chain(functions).filter_map(|(key, arn)| {
        let parts: Vec<&str> = arn.split(':').collect();
        let is_here = parts[1] == here.partition && ["aws", &here.account].contains(&parts[4]);
        let Identity {
            partition, account, ..
        } = here;
        (!is_here).then(|| {
            format!("{key}: expected an ARN of account {account} in partition {partition}, got {arn}")
        })
    });
    let problems: Vec<String> = elsewhere.collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::all_of(problems))
}
