//! The domain that the configuration names for the API: whose it is, whether its path is free, and what API Gateway says of it.
//!
//! Must not change anything.

use std::rc::Rc;

use anyhow::anyhow;

use crate::aws::domains::mapping;
use crate::aws::{Aws, Identity};
use crate::config::Config;
use crate::error::Failure;
use crate::resource::{Cx, Result};
use crate::resources::{DomainName, RestApi, domain_name};
use crate::stack;
use crate::state::State;
use crate::untrusted::printable;

use super::outputs::Outputs;
use super::recorded::ByKind;
use super::ui::Ui;

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

/// Refuses to send a token to the API's own domain unless API Gateway says that its path leads to the stage on record: what is on
/// record may be what somebody wrote into the state, or another API's by now. Where the API is called at AWS's own host name, there
/// is nothing to ask.
///
/// # Errors
/// It leads elsewhere or nowhere, or the read failed.
pub(super) async fn check_called(cx: &Cx<Aws>, outputs: &Outputs) -> Result<(), Failure> {
    let Some(front) = outputs.front.as_ref().filter(|front| front.is_default_closed) else {
        return Ok(());
    };
    let live = mapping(cx, &front.domain, &front.base_path).await?;
    let expected = (Some(front.api.as_str()), Some(front.stage.as_str()));
    if live.is_some_and(|live| (live.rest_api_id(), live.stage()) == expected) {
        return Ok(());
    }
    Err(Failure::from(anyhow!(
        "{}/{} is on record as mapped to stage {} of API {}, and API Gateway does not say so: no token is sent there",
        front.domain,
        front.base_path,
        front.stage,
        front.api
    ))
    .hinted("run `provision plan` to see what others changed"))
}

/// Reads the domains that ask clients for a certificate, for [`warn`], where nothing else of them is read.
///
/// # Errors
/// A read failed.
pub(super) async fn look(cx: &Cx<Aws>, state: &State) -> Result<(), Failure> {
    for domain in state.all::<DomainName>()? {
        if !domain.desired.truststore.is_empty() {
            domain.desired.live(cx).await?;
        }
    }
    Ok(())
}

/// Tells once what API Gateway has said of the certificates in the truststores of domains. It takes those that it cannot use as well,
/// and then lets nobody in with them.
pub(super) fn warn(aws: &Aws, ui: &Ui) {
    for (domain, said) in aws.truststore_warnings.take() {
        ui.warn(&format!(
            "domain {domain}: API Gateway warns of the certificates in its truststore: {}",
            printable(&said)
        ));
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

#[cfg(test)]
mod tests {
    use aws_sdk_apigateway::Client as Sdk;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{apigateway, ok, on, refused};
    use crate::commands::outputs::complete;
    use crate::commands::outputs::tests::with_domain;

    fn mapped_to(api: &str, stage: &str) -> HttpResponse {
        ok(json!({"basePath": "v1", "restApiId": api, "stage": stage}))
    }

    #[tokio::test(start_paused = true)]
    async fn no_token_goes_to_a_domain_that_does_not_lead_to_the_stage_on_record() {
        let outputs = complete(&with_domain(None, true)).unwrap();
        let cases: [(fn() -> HttpResponse, bool); 4] = [
            (|| mapped_to("a1", "prod"), true),
            (|| mapped_to("zzz", "prod"), false),
            (|| mapped_to("a1", "other"), false),
            (
                || {
                    refused(
                        404,
                        "NotFoundException",
                        "Invalid base path mapping identifier specified",
                    )
                },
                false,
            ),
        ];
        for (answer, is_ours) in cases {
            let cx = apigateway([on!(
                Sdk::get_base_path_mapping,
                |i| {
                    assert_eq!(
                        (i.domain_name(), i.base_path()),
                        (Some("api.example.com"), Some("v1"))
                    );
                },
                answer()
            )]);
            let checked = check_called(&cx, &outputs).await;
            assert_eq!(checked.is_ok(), is_ours);
            if let Err(failure) = checked {
                let told = failure.error.unwrap().to_string();
                assert!(told.ends_with("no token is sent there"), "{told}");
            }
        }
        // Nothing is asked where tokens go to AWS's own host name, or to an emulator.
        for (endpoint, closed) in [(None, false), (Some("http://127.0.0.1:4566"), true)] {
            let outputs = complete(&with_domain(endpoint, closed)).unwrap();
            check_called(&apigateway([]), &outputs).await.unwrap();
        }
    }
}
