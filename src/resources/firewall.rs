//! The association of the stage with a web ACL of AWS WAF, which others made.
//!
//! Must not change the web ACL, nor take off one that this stack did not put on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::aws::ids::{self, ApiId};
use crate::aws::wait::unless_gone;
use crate::aws::{Aws, tags};
use crate::resource::{Cx, Kind, NoOutput, Resource, Result, Stranger, Updated};

/// An association. A stage has at most one, and another one replaces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// The REST API's id.
    pub api: ApiId,
    /// The stage's name.
    pub stage: String,
    /// The ARN of the web ACL, which is of the stage's account and region, and `on`. It is a map, because the record of an
    /// interrupted update then has the earlier web ACL and the later one: this stack may have put on either.
    pub acl: BTreeMap<String, String>,
}

/// The field of one web ACL.
pub fn acl(arn: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(arn.to_owned(), "on".to_owned())])
}

impl Firewall {
    fn stage_arn(&self, cx: &Cx<Aws>) -> String {
        tags::arn_in_apigateway(cx, &format!("/restapis/{}/stages/{}", self.api, self.stage))
    }

    /// The ARN of the web ACL that is on the stage now, as AWS WAF says it.
    async fn current(&self, cx: &Cx<Aws>) -> Result<Option<String>> {
        let body = json!({"ResourceArn": self.stage_arn(cx)});
        let get = || cx.cloud().wafv2.json("GetWebACLForResource", &body);
        // AWS answers no web ACL where there is none, and the emulator that there is no such item.
        let answer = unless_gone(cx.call("wafv2:GetWebACLForResource", get).await)?;
        let arn = answer
            .as_ref()
            .and_then(|answer| answer["WebACL"]["ARN"].as_str());
        Ok(arn.map(str::to_owned))
    }

    async fn associate(&self, cx: &Cx<Aws>) -> Result<()> {
        let acl = self.acl.keys().next();
        let body = json!({"WebACLArn": acl, "ResourceArn": self.stage_arn(cx)});
        let associate = || cx.cloud().wafv2.json("AssociateWebACL", &body);
        cx.call("wafv2:AssociateWebACL", associate).await?;
        Ok(())
    }

    fn stranger(&self, acl: &str) -> Stranger {
        Stranger {
            what: format!("web ACL {acl} on stage {} of REST API {}", self.stage, self.api),
        }
    }
}

impl Resource for Firewall {
    type Cloud = Aws;
    type Output = NoOutput;
    const KIND: &'static Kind = &Kind {
        shapes: &[("desired.api", ids::API), ("desired.stage", ids::NAME)],
        fixed: &["api", "stage"],
        // AWS deletes a stage that has one; but then nothing says that the association is gone as well.
        holds: Some("stage"),
        gone_at_once: true,
        ..Kind::new("firewall")
    };

    fn lane(&self) -> Option<String> {
        Some(format!("rest-api {}", self.api))
    }

    fn id(&self, _: &NoOutput) -> String {
        self.acl.keys().next().cloned().unwrap_or_default()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<NoOutput>> {
        match self.current(cx).await? {
            None => Ok(None),
            Some(acl) if self.acl.contains_key(&acl) => Ok(Some(NoOutput {})),
            Some(other) => Err(self.stranger(&other).into()),
        }
    }

    /// AWS replaces what is there, so a web ACL that someone else has put on the stage is looked for first.
    async fn create(&self, cx: &Cx<Aws>) -> Result<NoOutput> {
        if self.find(cx).await?.is_none() {
            self.associate(cx).await?;
        }
        Ok(NoOutput {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<Option<Self>> {
        // The stage has been read anyway. It may not say it yet, and an emulator never says it.
        let stage = cx.surveyed_stage(&self.api, &self.stage).await;
        let stage = stage.transpose()?.flatten();
        let said = stage.and_then(|stage| stage.web_acl_arn);
        let current = match said.filter(|arn| self.acl.contains_key(arn)) {
            Some(arn) => Some(arn),
            None => self.current(cx).await?,
        };
        Ok(current.map(|arn| Self {
            acl: acl(&arn),
            ..self.clone()
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: NoOutput) -> Result<Updated<NoOutput>> {
        if self.acl != before.acl {
            self.associate(cx).await?;
        }
        Ok(out.into())
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        let is_ours = |arn: String| self.acl.contains_key(&arn);
        if !self.current(cx).await?.is_some_and(is_ours) {
            return Ok(());
        }
        let body = json!({"ResourceArn": self.stage_arn(cx)});
        let disassociate = || cx.cloud().wafv2.json("DisassociateWebACL", &body);
        unless_gone(cx.call("wafv2:DisassociateWebACL", disassociate).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
