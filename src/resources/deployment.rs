//! A deployment: the snapshot of a REST API that a stage serves.
//!
//! Must not name a stage: that would create or change it as a side effect.

use std::collections::BTreeSet;

use anyhow::Context;
use aws_sdk_apigateway::config::Config;
use aws_sdk_apigateway::config::retry::RetryConfig;
use aws_sdk_apigateway::operation::get_deployment::GetDeploymentOutput;
use aws_sdk_apigateway::types::{Deployment as Live, Stage};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::ids::{self, ApiId, DeploymentId};
use crate::aws::pages::Pages;
use crate::aws::patches::replace;
use crate::aws::wait::unless_gone;
use crate::resource::{CallError, Class, Cx, InTheWay, Kind, Published, Resource, Result, Updated};

/// The start of the description of every deployment of ours: others may create deployments in our API.
const OURS: &str = "provision ";
/// The description that one of ours gets if it was found with someone else's.
const OUT_OF_USE: &str = "provision out of use";
/// The authorization of a method that asks for a token of a user pool.
const GUARDED: &str = "COGNITO_USER_POOLS";

/// A snapshot of the API at the time of the deployment. Only its id is unique.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The REST API's id.
    pub api: ApiId,
    /// `provision ` and a hash of all that the snapshot holds: it tells this deployment from others, and whether a new
    /// one is due.
    pub description: String,
    /// The methods in the snapshot that need no token of a user pool, as `GET /user`, including those of others. We
    /// want none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub open_methods: BTreeSet<String>,
}

/// What dependents and calls need of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The deployment's id.
    pub id: DeploymentId,
}

impl Published for Output {
    fn placeholder(mark: &str) -> Self {
        Self { id: mark.into() }
    }
}

/// Only what AWS returns: the rest of a snapshot cannot be read.
fn open_methods(live: &GetDeploymentOutput) -> BTreeSet<String> {
    let methods = live
        .api_summary()
        .into_iter()
        .flatten()
        .flat_map(|(path, verbs)| {
            verbs
                .iter()
                .map(move |(verb, method)| (format!("{verb} {path}"), method.authorization_type()))
        });
    methods
        .filter(|(_, kind)| kind.is_some_and(|kind| kind != GUARDED))
        .map(|(name, _)| name)
        .collect()
}

impl Deployment {
    /// All deployments of the API, including those of others; none if the API is gone.
    async fn list(&self, cx: &Cx<Aws>) -> Result<Vec<Live>> {
        let mut all = Vec::new();
        let mut pages = Pages::of("apigateway:GetDeployments");
        loop {
            let list = || {
                cx.cloud()
                    .apigateway
                    .get_deployments()
                    .rest_api_id(&self.api)
                    .limit(500)
                    .set_position(pages.token())
                    .send()
            };
            let Some(page) = unless_gone(cx.call("apigateway:GetDeployments", list).await)? else {
                return Ok(all);
            };
            all.extend(page.items.unwrap_or_default());
            if !pages.turn(page.position)? {
                return Ok(all);
            }
        }
    }

    /// The stages that keep API Gateway from deleting a deployment that our stage no longer serves.
    async fn foreign_stages(&self, cx: &Cx<Aws>, old: &Output, refusal: &CallError) -> Result<Vec<InTheWay>> {
        let list = || {
            cx.cloud()
                .apigateway
                .get_stages()
                .rest_api_id(&self.api)
                .deployment_id(&old.id)
                .send()
        };
        let stages = unless_gone(cx.call("apigateway:GetStages", list).await)?;
        let stages = stages.and_then(|answer| answer.item).unwrap_or_default();
        let serves = |stage: &&Stage| stage.deployment_id() == Some(old.id.as_str());
        let names = stages.iter().filter(serves).filter_map(Stage::stage_name);
        let in_the_way = names.map(|stage| InTheWay {
            what: format!(
                "API Gateway does not delete deployment {} of REST API {}, which is out of use, while stage {stage}, which this \
                 stack did not make, serves it",
                old.id, self.api
            ),
            command: format!("aws apigateway delete-stage --rest-api-id {} --stage-name {stage}", self.api),
            refusal: refusal.clone(),
        });
        Ok(in_the_way.collect())
    }

    /// Marks one of ours as ours again after someone else changed its description, so that it is retired.
    async fn mark(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let update = || {
            cx.cloud()
                .apigateway
                .update_deployment()
                .rest_api_id(&self.api)
                .deployment_id(&out.id)
                .patch_operations(replace("/description", OUT_OF_USE))
                .send()
        };
        unless_gone(cx.call("apigateway:UpdateDeployment", update).await)?;
        Ok(())
    }
}

impl Resource for Deployment {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static Kind = &Kind {
        shapes: &[("desired.api", ids::API), ("output.id", ids::API)],
        fixed: &["api"],
        dies_with: Some("rest-api"),
        shares_names: true,
        creates_another: true,
        ..Kind::new("deployment")
    };

    fn lane(&self) -> Option<String> {
        Some(format!("rest-api {}", self.api))
    }

    fn id(&self, out: &Output) -> String {
        out.id.to_string()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let all = self.list(cx).await?;
        let ours = all
            .into_iter()
            .find(|live| live.description() == Some(&self.description));
        Ok(ours.and_then(|live| live.id).map(|id| Output { id: id.into() }))
    }

    /// The last one of ours: the description names what was deployed, which a lost record alone could compute. That it differs
    /// makes the next `up` deploy once more, as nobody knows whether the API is what was deployed.
    async fn find_lost(&self, cx: &Cx<Aws>) -> Result<Vec<Output>> {
        let all = self.list(cx).await?;
        let ours = all
            .into_iter()
            .filter(|live| live.description().is_some_and(|text| text.starts_with(OURS)));
        let last = ours.max_by_key(|live| live.created_date().map(|date| (date.secs(), date.subsec_nanos())));
        Ok(last
            .and_then(|live| live.id)
            .map(|id| Output { id: id.into() })
            .into_iter()
            .collect())
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let create = || {
            cx.cloud()
                .apigateway
                .create_deployment()
                .rest_api_id(&self.api)
                .description(&self.description)
                .customize()
                .config_override(Config::builder().retry_config(RetryConfig::disabled()))
                .send()
        };
        let deployment = cx.call("apigateway:CreateDeployment", create).await?;
        Ok(Output {
            id: deployment
                .id
                .context("apigateway:CreateDeployment answered no id")?
                .into(),
        })
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let get = || {
            cx.cloud()
                .apigateway
                .get_deployment()
                .rest_api_id(&self.api)
                .deployment_id(&out.id)
                .embed("apisummary")
                .send()
        };
        let Some(live) = unless_gone(cx.call("apigateway:GetDeployment", get).await)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            api: self.api.clone(),
            description: live.description().unwrap_or_default().to_owned(),
            open_methods: open_methods(&live),
        }))
    }

    /// The id of the new deployment is not known.
    fn output_after_update(&self, _: Output) -> Option<Output> {
        None
    }

    /// A snapshot cannot change: a new one is created, and this one is retired once the stage has moved.
    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Updated<Output>> {
        if !before.description.starts_with(OURS) {
            self.mark(cx, &out).await?;
        }
        // If it has open methods, a search could find the open one itself. What a killed run created beside it is
        // deleted when this step retires.
        let found = if before.open_methods.is_empty() {
            self.find(cx).await?
        } else {
            None
        };
        let output = match found {
            Some(out) => out,
            None => self.create(cx).await?,
        };
        Ok(Updated {
            output,
            retires: true,
        })
    }

    /// Deletes all of ours except this one, including those that killed runs left.
    async fn retire(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let mut in_the_way = Vec::new();
        for live in self.list(cx).await? {
            let ours = live
                .description()
                .is_some_and(|description| description.starts_with(OURS));
            if let Some(id) = live.id.map(DeploymentId::from).filter(|id| ours && *id != out.id) {
                let old = Output { id };
                let Err(error) = self.delete(cx, &old).await else {
                    continue;
                };
                let refusal = error
                    .downcast_ref()
                    .filter(|error: &&CallError| error.class == Class::Refused);
                let foreign = match refusal {
                    Some(refusal) => self.foreign_stages(cx, &old, refusal).await?,
                    None => Vec::new(),
                };
                if foreign.is_empty() {
                    return Err(error.context(format!(
                        "deployment {} of REST API {}, which is out of use, stays",
                        old.id, self.api
                    )));
                }
                // The others are deleted all the same.
                in_the_way.extend(foreign);
            }
        }
        let all = in_the_way.into_iter().reduce(|one, other| InTheWay {
            what: format!("{}; {}", one.what, other.what),
            command: format!("{} && {}", one.command, other.command),
            ..one
        });
        all.map_or(Ok(()), |foreign| Err(foreign.into()))
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete = || {
            cx.cloud()
                .apigateway
                .delete_deployment()
                .rest_api_id(&self.api)
                .deployment_id(&out.id)
                .send()
        };
        unless_gone(cx.call("apigateway:DeleteDeployment", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
