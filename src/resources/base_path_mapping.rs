//! The mapping that makes a stage answer at a path of a domain, which may be a domain of somebody else.
//!
//! Must not take a path that another API has, nor change one: a mapping has no tags, and is ours if it leads to our API.

use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::domains::{base_path, mapping};
use crate::aws::ids::{self, ApiId};
use crate::aws::patches::replace;
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Kind, NoOutput, Resource, Result, Stranger, Updated};

/// A mapping. A path is unique in its domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasePathMapping {
    /// In lower case.
    pub domain: String,
    /// The first part of the path; empty: the root of the domain.
    pub base_path: String,
    /// The REST API's id.
    pub api: ApiId,
    /// The stage's name.
    pub stage: String,
}

impl Resource for BasePathMapping {
    type Cloud = Aws;
    type Output = NoOutput;
    const KIND: &'static Kind = &Kind {
        shapes: &[
            ("desired.domain", ids::DOMAIN),
            ("desired.base_path", ids::BASE_PATH),
            ("desired.api", ids::API),
            ("desired.stage", ids::NAME),
        ],
        fixed: &["domain", "base_path", "api"],
        holds: Some("stage"),
        ..Kind::new("base-path-mapping")
    };

    /// API Gateway allows one mapping, or several with paths: what is in parallel may be refused.
    fn lane(&self) -> Option<String> {
        Some(format!("domain {}", self.domain))
    }

    fn id(&self, _: &NoOutput) -> String {
        format!("{}/{}", self.domain, self.base_path)
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<NoOutput>> {
        Ok(self.read(cx, &NoOutput {}).await?.map(|_| NoOutput {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<NoOutput> {
        let path = Some(self.base_path.clone()).filter(|path| !path.is_empty());
        let create = || {
            cx.cloud()
                .apigateway
                .create_base_path_mapping()
                .domain_name(&self.domain)
                .set_base_path(path.clone())
                .rest_api_id(&self.api)
                .stage(&self.stage)
                .send()
        };
        cx.call("apigateway:CreateBasePathMapping", create).await?;
        Ok(NoOutput {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<Option<Self>> {
        let Some(live) = mapping(cx, &self.domain, &self.base_path).await? else {
            return Ok(None);
        };
        let api = live.rest_api_id().unwrap_or_default();
        if api != self.api.as_str() {
            return Err(Stranger {
                what: format!("the mapping of {}/{} to API {api}", self.domain, self.base_path),
            }
            .into());
        }
        Ok(Some(Self {
            stage: live.stage().unwrap_or_default().to_owned(),
            ..self.clone()
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: NoOutput) -> Result<Updated<NoOutput>> {
        if self.stage != before.stage {
            let update = || {
                cx.cloud()
                    .apigateway
                    .update_base_path_mapping()
                    .domain_name(&self.domain)
                    .base_path(base_path(&self.base_path))
                    .patch_operations(replace("/stage", &self.stage))
                    .send()
            };
            cx.call("apigateway:UpdateBasePathMapping", update).await?;
        }
        Ok(out.into())
    }

    async fn check_owner(&self, cx: &Cx<Aws>, out: &NoOutput) -> Result<()> {
        self.read(cx, out).await.map(drop)
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        let delete = || {
            cx.cloud()
                .apigateway
                .delete_base_path_mapping()
                .domain_name(&self.domain)
                .base_path(base_path(&self.base_path))
                .send()
        };
        unless_gone(cx.call("apigateway:DeleteBasePathMapping", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
