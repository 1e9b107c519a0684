//! The domains of APIs with their mappings.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::on::On::{
    self, CalledMapping, Domain, DomainRole, DomainTags, Mapping, Mappings, MutualTls, NewDomain, OwnDomain,
    Truststore,
};
use super::super::{Domains, Scope};
use super::{Reach, all, encoded, one};

impl Scope {
    /// Nothing if there is no domain.
    pub(super) fn reaches_of_domains(&self, on: On) -> Vec<Reach> {
        let Domains {
            named,
            recorded,
            made,
            truststores,
            are_called,
            of_pool: _,
        } = &self.domains;
        let own: BTreeSet<String> = recorded.union(made).cloned().collect();
        let of = |names: &BTreeSet<String>, below: &str| -> Vec<String> {
            let arns = names.iter().map(|name| self.domain(name, below));
            arns.collect()
        };
        match on {
            Domain => all(on, of(named, ""), None),
            Mappings => all(on, of(named, "/basepathmappings"), None),
            CalledMapping if !are_called => Vec::new(),
            Mapping | CalledMapping => all(on, of(named, "/basepathmappings/*"), None),
            NewDomain | DomainRole if own.is_empty() => Vec::new(),
            NewDomain => one(
                on,
                self.in_api_gateway("/domainnames"),
                Some(self.tags("RequestTag")),
            ),
            // As long as none is on record, the name may be one of somebody else.
            OwnDomain => {
                let mut reaches = all(on, of(recorded, ""), None);
                for reach in &mut reaches {
                    reach.sid.push_str("OnRecord");
                }
                let others: BTreeSet<String> = made.difference(recorded).cloned().collect();
                reaches.extend(all(on, of(&others, ""), Some(self.tags("ResourceTag"))));
                reaches
            }
            MutualTls if truststores.is_empty() => Vec::new(),
            MutualTls => all(on, of(&own, ""), None),
            DomainTags => {
                let tags = |name: &String| {
                    let path = format!("/tags/{}", encoded(&self.domain(name, "")));
                    self.in_api_gateway(&path)
                };
                let mut arns: Vec<String> = own.iter().map(tags).collect();
                // A create with tags may be checked with `*` for the name, as it is for a REST API: `?` is that and no name.
                arns.extend((!own.is_empty()).then(|| tags(&"?".to_owned())));
                all(on, arns, None)
            }
            Truststore => {
                let objects = truststores.iter().filter_map(|url| url.strip_prefix("s3://"));
                let arns = objects.map(|object| self.arn("s3", "", "", object));
                all(on, arns.collect(), None)
            }
            DomainRole => {
                let role = "role/aws-service-role/ops.apigateway.amazonaws.com/*";
                let service = json!({"iam:AWSServiceName": "ops.apigateway.amazonaws.com"});
                one(on, self.arn("iam", "", &self.account, role), Some(service))
            }
            _ => unreachable!("{on:?} is not of a domain"),
        }
    }

    fn domain(&self, name: &str, below: &str) -> String {
        self.in_api_gateway(&format!("/domainnames/{name}{below}"))
    }
}
