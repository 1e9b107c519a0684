//! What of the outputs follows from the domains of the user's own: the URLs, and the records to be made in DNS.
//!
//! Must not ask AWS nor DNS.

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::super::recorded::ByKind;
use crate::aws::ids::ApiId;
use crate::resources::{BasePathMapping, CustomDomain, DomainName, RestApi};
use crate::state::State;

/// A record in DNS that makes a name lead to AWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DnsRecord {
    /// The name of the user's own.
    pub name: String,
    /// `CNAME`; Route 53 also takes an alias, of type `A`, which a name without a label before its zone needs.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// AWS's host name.
    pub target: String,
    /// The id of the hosted zone of `target`, for an alias.
    pub hosted_zone_id: String,
}

/// The domain that the API answers at, as it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Front {
    pub domain: String,
    /// The path of the domain that is mapped; empty: its root.
    pub base_path: String,
    /// The API that it is mapped to.
    pub api: ApiId,
    /// The stage that it is mapped to.
    pub stage: String,
    /// `https://<domain>` or `https://<domain>/<path>`.
    pub url: String,
    /// AWS's host name for the domain; `None` if somebody else made the domain.
    pub target: Option<String>,
    /// Whether the API does not answer at AWS's own host name.
    pub is_default_closed: bool,
    /// Whether clients need a certificate.
    pub is_mutual: bool,
    /// API Gateway's name of the policy; `None` if somebody else made the domain.
    pub security_policy: Option<String>,
}

/// `None` while the API has no domain.
///
/// # Errors
/// A record is of another shape.
pub(super) fn front(state: &State) -> Result<Option<Front>> {
    // While a path is replaced by another one, the later one counts.
    let mut mappings = state.all::<BasePathMapping>()?.into_iter();
    let Some(mapping) = mappings.rfind(|mapping| mapping.output.is_some()) else {
        return Ok(None);
    };
    let BasePathMapping {
        domain,
        base_path,
        api: mapped_to,
        stage,
    } = mapping.desired;
    let made = (state.all::<DomainName>()?.into_iter()).find(|made| made.desired.name == domain);
    let api = state.one::<RestApi>()?;
    let path = if base_path.is_empty() {
        String::new()
    } else {
        format!("/{base_path}")
    };
    Ok(Some(Front {
        url: format!("https://{domain}{path}"),
        domain,
        base_path,
        api: mapped_to,
        stage,
        target: made
            .as_ref()
            .and_then(|made| Some(made.output.as_ref()?.target.clone())),
        is_default_closed: api.is_some_and(|api| api.desired.default_endpoint_closed),
        is_mutual: made
            .as_ref()
            .is_some_and(|made| !made.desired.truststore.is_empty()),
        security_policy: made.map(|made| made.desired.security_policy),
    }))
}

/// The zone that all host names of CloudFront are in, the same for everybody.
const CLOUDFRONT_ZONE: &str = "Z2FDTNDATAQYW2";

/// The domain of the pool, once Cognito has set it up.
///
/// # Errors
/// A record is of another shape.
pub(super) fn custom_domain(state: &State) -> Result<Option<String>> {
    // While a name is replaced by another one, the later one counts.
    let mut domains = state.all::<CustomDomain>()?.into_iter();
    let live = domains.rfind(|domain| domain.output.is_some());
    Ok(live.map(|domain| domain.desired.name))
}

/// The records of the domains that the stack has made. Those of others are their owners' to make.
///
/// # Errors
/// A record of the state is of another shape.
pub(super) fn dns(state: &State) -> Result<Vec<DnsRecord>> {
    let made = state.all::<DomainName>()?.into_iter();
    let records = made.filter_map(|domain| {
        let output = domain.output?;
        Some(DnsRecord {
            name: domain.desired.name,
            kind: "CNAME",
            target: output.target,
            hosted_zone_id: output.zone,
        })
    });
    let of_pool = state.all::<CustomDomain>()?.into_iter();
    let of_pool = of_pool.filter_map(|domain| {
        Some(DnsRecord {
            name: domain.desired.name,
            kind: "CNAME",
            target: domain.output?.target,
            hosted_zone_id: CLOUDFRONT_ZONE.to_owned(),
        })
    });
    Ok(records.chain(of_pool).collect())
}

/// A change of a hosted zone of Route 53 that makes an alias of each record.
pub(super) fn route53(records: &[DnsRecord]) -> String {
    let changes = records.iter().map(|record| {
        json!({"Action": "UPSERT", "ResourceRecordSet": {
            "Name": record.name, "Type": "A",
            "AliasTarget": {
                "HostedZoneId": record.hosted_zone_id, "DNSName": record.target, "EvaluateTargetHealth": false,
            },
        }})
    });
    let batch = json!({"Changes": changes.collect::<Vec<_>>()});
    serde_json::to_string_pretty(&batch).expect("it is plain JSON")
}
