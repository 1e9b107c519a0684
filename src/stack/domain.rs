//! The domains of the API and of the pool, and what of the API depends on its own.
//!
//! Must not decide whose the domain is.

use super::Parts;
use crate::aws::patches::is_enhanced;
use crate::config::{ApiDomain, DomainSettings};
use crate::graph::Handle;
use crate::resources::{BasePathMapping, CustomDomain, DomainName, PoolDomain, RestApi, Stage, UserPool};

/// The step of a domain.
pub fn domain_name(name: &str) -> String {
    format!("domain-name:{name}")
}

/// The step of the mapping of a domain's path.
pub fn base_path_mapping(domain: &ApiDomain) -> String {
    format!("base-path-mapping:{}/{}", domain.name, domain.base_path)
}

impl Parts<'_> {
    pub(super) fn closes_default_endpoint(&self) -> bool {
        (self.config.api.domain.as_ref()).is_some_and(|domain| domain.close_default_endpoint)
    }

    /// API Gateway makes the handshake of a domain with the policy of the API, so the newer policies are set on both.
    pub(super) fn api_policy(&self) -> String {
        let domain = self.config.api.domain.as_ref();
        let made = domain.and_then(|domain| domain.made.as_ref());
        let policy = made.map(|made| made.security_policy.clone());
        policy.filter(|policy| is_enhanced(policy)).unwrap_or_default()
    }

    /// What of the API takes effect only with the next deployment; empty if nothing does.
    pub(super) fn front(&self) -> String {
        let closed = if self.closes_default_endpoint() {
            "closed "
        } else {
            ""
        };
        format!("{closed}{}", self.api_policy())
    }

    /// The domain, if the stack makes it, and the path of it that the stage answers at.
    pub(super) fn domain(&mut self, api: Handle<RestApi>, stage: Handle<Stage>, makes_domain: bool) {
        let Some(domain) = self.config.api.domain.clone() else {
            return;
        };
        let made = domain.made.as_ref().filter(|_| makes_domain);
        let own = made.map(|settings| self.own_domain(&domain.name, settings.clone()));
        let name = base_path_mapping(&domain);
        let stage_name = self.config.api.stage.clone();
        self.stack
            .add(name, (api, stage, own), move |(api, ..)| BasePathMapping {
                domain: domain.name.clone(),
                base_path: domain.base_path.clone(),
                api: api.id,
                stage: stage_name.clone(),
            });
    }

    /// The domain of the pool, if there is one. Cognito sets up one domain of a pool after the other.
    pub(super) fn custom_domain(&mut self, pool: &Handle<UserPool>, prefix: Handle<PoolDomain>) {
        let Some(domain) = self.config.user_pool.domain.clone() else {
            return;
        };
        let name = format!("custom-domain:{}", domain.name);
        self.stack
            .add(name, (pool.clone(), prefix), move |(pool, _)| CustomDomain {
                pool: pool.id,
                name: domain.name.clone(),
                certificate: domain.certificate.clone(),
            });
    }

    fn own_domain(&mut self, name: &str, settings: DomainSettings) -> Handle<DomainName> {
        let (step, name, tags) = (domain_name(name), name.to_owned(), self.tags.clone());
        self.stack.add(step, (), move |()| DomainName {
            name: name.clone(),
            certificate: settings.certificate.clone(),
            ownership_certificate: settings.ownership_certificate.clone(),
            security_policy: settings.security_policy.clone(),
            truststore: settings.truststore.clone(),
            truststore_version: settings.truststore_version.clone(),
            tags: tags.clone(),
            trouble: None,
        })
    }
}
