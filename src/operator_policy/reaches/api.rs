//! The REST API with all that is in it, and the web ACL on its stage.

use super::super::Scope;
use super::super::on::On::{self, AnyApi, Api, ApiTags, Apis, Firewall, FirewalledApi, NewApi, Settings};
use super::{Reach, all, encoded, one};

impl Scope {
    pub(super) fn reaches_of_api(&self, on: On, makes: bool) -> Vec<Reach> {
        let api = |path: &str| self.in_api_gateway(&format!("/restapis{path}"));
        match on {
            Apis => one(on, api(""), None),
            NewApi => one(on, api(""), Some(self.tags("RequestTag"))),
            AnyApi => one(on, api("/*"), None),
            Api | FirewalledApi => self.ours(on, &self.apis, makes, &|id| match id {
                "*" => vec![api("/*")],
                id => vec![api(&format!("/{id}")), api(&format!("/{id}/*"))],
            }),
            ApiTags => {
                let tags = format!("/tags/{}*", encoded(&api("/")));
                one(on, self.in_api_gateway(&tags), None)
            }
            Firewall => {
                let mut arns: Vec<String> = self.web_acls.iter().cloned().collect();
                if makes || self.apis.is_empty() {
                    arns.push(api("/*/stages/*"));
                } else {
                    arns.extend(self.apis.iter().map(|id| api(&format!("/{id}/stages/*"))));
                }
                all(on, arns, None)
            }
            Settings => one(on, self.in_api_gateway("/account"), None),
            _ => unreachable!("{on:?} is not of an API"),
        }
    }
}
