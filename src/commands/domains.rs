//! The domain that the configuration names for the API: whose it is, and whether its path is free.
//!
//! Must not change anything.

use std::rc::Rc;

use crate::aws::domains::mapping;
use crate::aws::{Aws, Identity};
use crate::config::Config;
use crate::error::Failure;
use crate::resource::{Cx, Result};
use crate::resources::{RestApi, domain_name};
use crate::stack;
use crate::state::State;
use crate::untrusted::printable;

use super::recorded::ByKind;

/// What API Gateway knows of the domain that the configuration names.
#[derive(Default)]
pub(super) struct Domain {
    /// The owner in its tags, which is empty if no stack made it. `None`: it is not in this account and region.
    owner: Option<String>,
    /// The id of the API that has the path; `None`: the path is free.
    mapped_to: Option<String>,
}

impl Domain {
    /// One or two reads if a domain is named.
    ///
    /// # Errors
    /// A certificate is of another account or partition, which is found before a call; or a read failed.
    pub(super) async fn read(aws: &Rc<Aws>, config: &Config, here: &Identity) -> Result<Self, Failure> {
        check_place(config, here)?;
        let Some(domain) = &config.api.domain else {
            return Ok(Self::default());
        };
        let cx = Cx::new(aws.clone(), Rc::new(|_| ()));
        let Some(owner) = domain_name::owner(&cx, &domain.name).await? else {
            return Ok(Self::default());
        };
        let mapping = mapping(&cx, &domain.name, &domain.base_path).await?;
        Ok(Self {
            owner: Some(owner),
            mapped_to: mapping.and_then(|mapping| mapping.rest_api_id),
        })
    }

    /// Whether the domain is this stack's: it has made it, or makes it because nobody has.
    pub(super) fn is_ours(&self, config: &Config, state: &State) -> bool {
        let Some(domain) = &config.api.domain else {
            return false;
        };
        domain.made.is_some()
            && (state.record(&stack::domain_name(&domain.name)).is_some()
                || self.owner.as_ref().is_none_or(|owner| *owner == state.owner))
    }

    /// An error if the domain cannot be what the configuration says. Nothing was changed yet.
    pub(super) fn refuse(&self, config: &Config, state: &State) -> Result<(), Failure> {
        let Some(domain) = &config.api.domain else {
            return Ok(());
        };
        let name = &domain.name;
        let is_on_record = state.record(&stack::domain_name(name)).is_some();
        if domain.made.is_none() && is_on_record {
            return Err(Failure::usage(format!(
                "[api.domain]: certificate is required: this stack has made the domain {name}"
            )));
        }
        if domain.made.is_none() && self.owner.is_none() {
            return Err(Failure::usage(format!(
                "[api.domain]: domain {name} not found in this account and region"
            ))
            .hinted("add `certificate` to [api.domain], and this stack makes the domain"));
        }
        let Some(api) = &self.mapped_to else {
            return Ok(());
        };
        let is_on_record = state.record(&stack::base_path_mapping(domain)).is_some();
        let apis = state.all::<RestApi>()?.into_iter();
        let mut ids = apis.filter_map(|api| Some(api.output?.id));
        if is_on_record || ids.any(|id| id.as_str() == api) {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "[api.domain]: {name}/{} is mapped to API {}, which is not of this stack; nothing was changed",
            domain.base_path,
            printable(api)
        ))
        .hinted("choose another `base_path` in [api.domain]"))
    }
}

/// Refuses certificates of another partition or account, which API Gateway does not take.
fn check_place(config: &Config, here: &Identity) -> Result<(), Failure> {
    let made = config.api.domain.iter().filter_map(|domain| domain.made.as_ref());
    let of_api = made.flat_map(|made| {
        [
            ("[api.domain]: certificate", &made.certificate),
            ("[api.domain]: ownership_certificate", &made.ownership_certificate),
        ]
    });
    let of_pool = config.user_pool.domain.iter();
    let of_pool = of_pool.map(|domain| ("[user_pool.domain]: certificate", &domain.certificate));
    let arns = of_api.chain(of_pool);
    let elsewhere = arns.filter(|(_, arn)| !arn.is_empty()).filter_map(|(key, arn)| {
        let parts: Vec<&str> = arn.split(':').collect();
        let Identity {
            partition, account, ..
        } = here;
        (parts[1] != partition || parts[4] != account).then(|| {
            format!("{key}: expected a certificate of account {account} in partition {partition}, got {arn}")
        })
    });
    let problems: Vec<String> = elsewhere.collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::all_of(problems))
}
