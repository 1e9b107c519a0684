//! A domain name of API Gateway that this stack made: its certificate, and which clients it lets in.
//!
//! Must not change a domain that somebody else made, nor delete one while others have mappings in it: AWS deletes those with
//! the domain.

use std::time::Duration;

use anyhow::{Context, bail};
use aws_sdk_apigateway::operation::get_domain_name::GetDomainNameOutput;
use aws_sdk_apigateway::types::{
    DomainNameStatus, EndpointAccessMode, EndpointConfiguration, EndpointType, MutualTlsAuthentication,
    MutualTlsAuthenticationInput, PatchOperation, SecurityPolicy,
};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::domains::{Mapping, mappings, quoted_base_path};
use crate::aws::ids;
use crate::aws::patches::{is_enhanced, replace, security_policy};
use crate::aws::tags::{self, Tags};
use crate::aws::wait::{once, unless_gone};
use crate::resource::{CallError, Class, Cx, InTheWay, Kind, Published, Resource, Result, Updated};

/// The longest wait for a change to be everywhere. AWS says that it takes about 15 minutes; Terraform waits 60.
const AVAILABLE_DEADLINE: Duration = Duration::from_hours(1);

/// A Regional domain. Names are unique in all of AWS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainName {
    /// In lower case.
    pub name: String,
    /// The ARN of a certificate of ACM in the same region.
    pub certificate: String,
    /// The ARN of a public certificate that proves who owns the name; empty: none is needed.
    pub ownership_certificate: String,
    /// The oldest TLS version and the ciphers, by API Gateway's name, such as `TLS_1_2`.
    pub security_policy: String,
    /// The S3 URL of the certificates that clients need one of. Empty: clients need none.
    pub truststore: String,
    /// The version of that object. Empty: the one that API Gateway found.
    pub truststore_version: String,
    /// The stack's tags, including the owner.
    pub tags: Tags,
    /// The state that it is stuck in, and what AWS says of it: a certificate may have lapsed. `None` if it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Where the record in DNS has to point.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// AWS's host name for the domain.
    pub target: String,
    /// The id of the hosted zone of that name, for an alias record of Route 53.
    pub zone: String,
}

impl Published for Output {
    fn placeholder(mark: &str) -> Self {
        Self {
            target: mark.to_owned(),
            zone: mark.to_owned(),
        }
    }
}

/// The owner in the tags of this domain, which is empty if no stack made it. `None`: it is not in this account and region;
/// another account may have it.
///
/// # Errors
/// The call failed.
pub async fn owner(cx: &Cx<Aws>, name: &str) -> Result<Option<String>> {
    let live = get(cx, name).await?;
    Ok(live.map(|live| {
        let mut tags = tags::pairs(live.tags());
        let owner = tags.find(|(key, _)| *key == tags::OWNER);
        owner.map(|(_, owner)| owner.to_owned()).unwrap_or_default()
    }))
}

async fn get(cx: &Cx<Aws>, name: &str) -> Result<Option<GetDomainNameOutput>> {
    let get = || cx.cloud().apigateway.get_domain_name().domain_name(name).send();
    Ok(unless_gone(cx.call("apigateway:GetDomainName", get).await)?)
}

fn output(live: &GetDomainNameOutput) -> Result<Output> {
    let target = live.regional_domain_name();
    let zone = live.regional_hosted_zone_id();
    Ok(Output {
        target: target
            .context("API Gateway answered no host name for the domain")?
            .to_owned(),
        zone: zone
            .context("API Gateway answered no hosted zone for the domain")?
            .to_owned(),
    })
}

fn trouble(live: &GetDomainNameOutput) -> Option<String> {
    use DomainNameStatus::{Available, Pending, Updating};
    let status = live.domain_name_status()?;
    if matches!(status, Available | Pending | Updating) {
        return None;
    }
    let message = live.domain_name_status_message();
    Some(format!(
        "{}{}",
        status.as_str(),
        message.map(|message| format!(": {message}")).unwrap_or_default()
    ))
}

impl DomainName {
    fn what(&self) -> String {
        format!("domain {}", self.name)
    }

    /// The domain, whoever has it; `None` if there is none. Keeps what API Gateway says of the certificates in the truststore: it takes
    /// those that it cannot use, and only warns.
    ///
    /// # Errors
    /// The call failed.
    pub async fn live(&self, cx: &Cx<Aws>) -> Result<Option<GetDomainNameOutput>> {
        let live = get(cx, &self.name).await?;
        let mutual = live
            .as_ref()
            .and_then(GetDomainNameOutput::mutual_tls_authentication);
        let said = mutual
            .map(MutualTlsAuthentication::truststore_warnings)
            .unwrap_or_default();
        let said = said.iter().map(|said| (self.name.clone(), said.clone()));
        cx.cloud().truststore_warnings.borrow_mut().extend(said);
        Ok(live)
    }

    /// Returns once no change is under way; `None` if there is no such domain. API Gateway refuses the next change before.
    async fn settled(&self, cx: &Cx<Aws>) -> Result<Option<GetDomainNameOutput>> {
        let what = format!("API Gateway to set up the domain {}", self.name);
        cx.wait_for(&what, AVAILABLE_DEADLINE, || async {
            let live = self.live(cx).await?;
            let status = live.as_ref().and_then(GetDomainNameOutput::domain_name_status);
            let moves = matches!(
                status,
                Some(DomainNameStatus::Updating | DomainNameStatus::Pending)
            );
            Ok((!moves).then_some(live))
        })
        .await
    }

    async fn available(&self, cx: &Cx<Aws>) -> Result<Output> {
        let live = self.settled(cx).await?;
        let live = live.with_context(|| format!("{} is not there any more", self.what()))?;
        if let Some(trouble) = trouble(&live) {
            bail!("{} does not work: {trouble}", self.what());
        }
        output(&live)
    }

    fn mutual_tls(&self) -> Option<MutualTlsAuthenticationInput> {
        let version = Some(self.truststore_version.clone()).filter(|version| !version.is_empty());
        (!self.truststore.is_empty()).then(|| {
            MutualTlsAuthenticationInput::builder()
                .truststore_uri(&self.truststore)
                .set_truststore_version(version)
                .build()
        })
    }

    /// Why the domain stays: AWS would delete these mappings with it.
    fn in_use(&self, left: &[Mapping]) -> InTheWay {
        let base_path = left.first().map_or("", |mapping| &mapping.base_path);
        InTheWay {
            what: format!(
                "domain {} is not deleted while it has mappings that this stack did not make, which AWS would delete with it: {}",
                self.name,
                left.iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            command: format!(
                "aws apigateway delete-base-path-mapping --domain-name {} --base-path {}",
                self.name,
                quoted_base_path(base_path)
            ),
            refusal: CallError {
                operation: "apigateway:DeleteDomainName".to_owned(),
                code: None,
                message: "not called".to_owned(),
                request_id: None,
                class: Class::Refused,
                retry_after: None,
            },
        }
    }

    /// All in one call, as API Gateway takes one in 30 seconds, and takes some of them only together.
    fn patches(&self, before: &Self) -> Vec<PatchOperation> {
        let mut patches: Vec<PatchOperation> = [
            ("/regionalCertificateArn", &self.certificate, &before.certificate),
            (
                "/ownershipVerificationCertificateArn",
                &self.ownership_certificate,
                &before.ownership_certificate,
            ),
            // An empty URL turns mutual TLS off.
            (
                "/mutualTlsAuthentication/truststoreUri",
                &self.truststore,
                &before.truststore,
            ),
        ]
        .into_iter()
        .filter(|(_, after, before)| after != before)
        .map(|(path, after, _)| replace(path, after))
        .collect();
        // With a new URL the version is sent as well: the one of before is of another object.
        let is_new = self.truststore != before.truststore && !self.truststore_version.is_empty();
        if !self.truststore.is_empty() && (is_new || self.truststore_version != before.truststore_version) {
            let path = "/mutualTlsAuthentication/truststoreVersion";
            patches.push(replace(path, &self.truststore_version));
        }
        patches.extend(security_policy(&before.security_policy, &self.security_policy));
        patches
    }
}

impl Resource for DomainName {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static Kind = &Kind {
        shapes: &[("desired.name", ids::DOMAIN), ("output.target", ids::DOMAIN)],
        fixed: &["name"],
        ..Kind::new("domain-name")
    };

    /// API Gateway takes one change of a domain in 30 seconds, in the whole account.
    fn lane(&self) -> Option<String> {
        Some("domain names".to_owned())
    }

    fn id(&self, _: &Output) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let Some(live) = self.settled(cx).await? else {
            return Ok(None);
        };
        tags::check(&self.tags, tags::pairs(live.tags()), || self.what())?;
        output(&live).map(Some)
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let endpoint = EndpointConfiguration::builder()
            .types(EndpointType::Regional)
            .build();
        let ownership = Some(self.ownership_certificate.clone()).filter(|arn| !arn.is_empty());
        let mode = is_enhanced(&self.security_policy).then_some(EndpointAccessMode::Basic);
        let create = || {
            cx.cloud()
                .apigateway
                .create_domain_name()
                .domain_name(&self.name)
                .regional_certificate_arn(&self.certificate)
                .set_ownership_verification_certificate_arn(ownership.clone())
                .endpoint_configuration(endpoint.clone())
                .security_policy(SecurityPolicy::from(self.security_policy.as_str()))
                .set_endpoint_access_mode(mode.clone())
                .set_mutual_tls_authentication(self.mutual_tls())
                .set_tags(Some(tags::map(&self.tags)))
                .send()
        };
        cx.call("apigateway:CreateDomainName", create).await?;
        self.available(cx).await
    }

    async fn read(&self, cx: &Cx<Aws>, _: &Output) -> Result<Option<Self>> {
        let Some(live) = self.live(cx).await? else {
            return Ok(None);
        };
        tags::check(&self.tags, tags::pairs(live.tags()), || self.what())?;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let mutual = live.mutual_tls_authentication();
        Ok(Some(Self {
            name: self.name.clone(),
            certificate: text(live.regional_certificate_arn()),
            ownership_certificate: text(live.ownership_verification_certificate_arn()),
            security_policy: text(live.security_policy().map(SecurityPolicy::as_str)),
            truststore: text(mutual.and_then(|mutual| mutual.truststore_uri())),
            // AWS may answer the version that it found where none was asked for.
            truststore_version: text(
                mutual
                    .and_then(|mutual| mutual.truststore_version())
                    .filter(|_| !self.truststore_version.is_empty()),
            ),
            tags: tags::managed(&self.tags, tags::pairs(live.tags())),
            trouble: trouble(&live),
        }))
    }

    /// Waits also if nothing differs: an interrupted update may have begun what is still under way.
    async fn update(&self, cx: &Cx<Aws>, before: &Self, _: Output) -> Result<Updated<Output>> {
        let patches = self.patches(before);
        if !patches.is_empty() {
            let update = || {
                cx.cloud()
                    .apigateway
                    .update_domain_name()
                    .domain_name(&self.name)
                    .set_patch_operations(Some(patches.clone()))
                    .send()
            };
            cx.call("apigateway:UpdateDomainName", update).await?;
        }
        let path = format!("/domainnames/{}", self.name);
        tags::change_in_apigateway(cx, &path, &before.tags, &self.tags).await?;
        Ok(self.available(cx).await?.into())
    }

    async fn check_owner(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        self.read(cx, out).await.map(drop)
    }

    /// Looks for mappings of others right before every attempt: AWS may refuse one for its rate for minutes. One that comes after
    /// that look is lost, as AWS has no way to delete a domain only if it has none.
    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        let unused = || async {
            let left = mappings(cx, &self.name).await?;
            if !left.is_empty() {
                return Err(self.in_use(&left).into());
            }
            let delete = cx.cloud().apigateway.delete_domain_name();
            let delete = delete.domain_name(&self.name).send();
            unless_gone(once("apigateway:DeleteDomainName", delete).await)?;
            Ok(())
        };
        cx.repeat("apigateway:DeleteDomainName", unused).await
    }
}

#[cfg(test)]
mod tests;
