//! The stage under which a deployment is served.
//!
//! Must not decide when a new deployment is due.

use aws_sdk_apigateway::operation::get_stage::GetStageOutput;
use aws_sdk_apigateway::types::{AccessLogSettings, MethodSetting, PatchOperation};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::ids::{self, ApiId, DeploymentId};
use crate::aws::patches::{remove, replace};
use crate::aws::tags::{self, Tags};
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Kind, NoOutput, Resource, Result, Stranger, Updated};

/// A stage. Names are unique in the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The REST API's id.
    pub api: ApiId,
    /// 1 to 128 characters; the last part of the API's URL.
    pub name: String,
    /// The id of the deployment that it serves.
    pub deployment: DeploymentId,
    /// The limits of all its methods together.
    pub throttle: Throttle,
    /// The ARN of the log group that gets a line for every request, without the `:*` of some answers; empty: none does.
    pub access_log_destination: String,
    /// The line, with API Gateway's variables; empty without a destination.
    pub access_log_format: String,
    /// Whether CloudWatch has the metrics of each method.
    pub metrics: bool,
    /// Whether X-Ray traces requests.
    pub tracing: bool,
    /// The stack's tags, including the owner.
    pub tags: Tags,
}

/// Limits on requests. `None`: the account's limit applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// Requests a second, over time.
    pub rate: Option<f64>,
    /// Requests at once.
    pub burst: Option<i32>,
}

/// What AWS returns for a limit that is not set, once any other setting for all methods is.
const UNSET: Throttle = Throttle {
    rate: Some(10_000.0),
    burst: Some(5_000),
};

impl Throttle {
    /// A limit that AWS filled in, or that is turned off, is read as none, unless it is the declared one.
    fn live(self, settings: Option<&MethodSetting>) -> Self {
        let live = Self {
            rate: settings
                .map(MethodSetting::throttling_rate_limit)
                .filter(|rate| *rate >= 0.0),
            burst: settings
                .map(MethodSetting::throttling_burst_limit)
                .filter(|burst| *burst >= 0),
        };
        Self {
            rate: live
                .rate
                .filter(|_| self.rate.is_some() || live.rate != UNSET.rate),
            burst: live
                .burst
                .filter(|_| self.burst.is_some() || live.burst != UNSET.burst),
        }
    }

    fn patches(self, before: Self) -> Vec<PatchOperation> {
        // Turns the limit off (unverified: it is Terraform's default). Removing the whole block would also remove what
        // others set in it, such as logging.
        const OFF: &str = "-1";
        let mut patches = Vec::new();
        if self.rate != before.rate {
            let rate = self.rate.map_or_else(|| OFF.to_owned(), |rate| rate.to_string());
            patches.push(replace("/*/*/throttling/rateLimit", &rate));
        }
        if self.burst != before.burst {
            let burst = self
                .burst
                .map_or_else(|| OFF.to_owned(), |burst| burst.to_string());
            patches.push(replace("/*/*/throttling/burstLimit", &burst));
        }
        patches
    }
}

impl Stage {
    /// What gets this stage from `before` to `self`, but for its tags. One call makes all of it.
    fn patches(&self, before: &Self) -> Vec<PatchOperation> {
        let mut patches = self.throttle.patches(before.throttle);
        let logs = |stage: &Self| {
            (
                !stage.access_log_destination.is_empty(),
                !stage.access_log_format.is_empty(),
            )
        };
        if logs(self) == (false, false) && logs(before) != (false, false) {
            // AWS takes neither an empty destination nor an empty format.
            patches.push(remove("/accessLogSettings"));
        }
        for (path, ours, theirs) in [
            (
                "/accessLogSettings/destinationArn",
                &self.access_log_destination,
                &before.access_log_destination,
            ),
            (
                "/accessLogSettings/format",
                &self.access_log_format,
                &before.access_log_format,
            ),
        ] {
            if ours != theirs && !ours.is_empty() {
                patches.push(replace(path, ours));
            }
        }
        if self.metrics != before.metrics {
            patches.push(replace("/*/*/metrics/enabled", &self.metrics.to_string()));
        }
        if self.tracing != before.tracing {
            patches.push(replace("/tracingEnabled", &self.tracing.to_string()));
        }
        if self.deployment != before.deployment {
            patches.push(replace("/deploymentId", self.deployment.as_str()));
        }
        patches
    }

    async fn get(&self, cx: &Cx<Aws>) -> Result<Option<GetStageOutput>> {
        let get = || {
            cx.cloud()
                .apigateway
                .get_stage()
                .rest_api_id(&self.api)
                .stage_name(&self.name)
                .send()
        };
        Ok(unless_gone(cx.call("apigateway:GetStage", get).await)?)
    }

    async fn patch(&self, cx: &Cx<Aws>, patches: Vec<PatchOperation>) -> Result<()> {
        if patches.is_empty() {
            return Ok(());
        }
        let update = || {
            cx.cloud()
                .apigateway
                .update_stage()
                .rest_api_id(&self.api)
                .stage_name(&self.name)
                .set_patch_operations(Some(patches.clone()))
                .send()
        };
        cx.call("apigateway:UpdateStage", update).await?;
        Ok(())
    }
}

impl Resource for Stage {
    type Cloud = Aws;
    type Output = NoOutput;
    const KIND: &'static Kind = &Kind {
        shapes: &[
            ("desired.api", ids::API),
            ("desired.name", ids::NAME),
            ("desired.deployment", ids::API),
            ("desired.access_log_destination", ids::ARN_OR_NONE),
        ],
        fixed: &["api", "name"],
        holds: Some("deployment"),
        dies_with: Some("rest-api"),
        ..Kind::new("stage")
    };

    fn lane(&self) -> Option<String> {
        Some(format!("rest-api {}", self.api))
    }

    fn id(&self, _: &NoOutput) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<NoOutput>> {
        let Some(live) = self.get(cx).await? else {
            return Ok(None);
        };
        if !tags::are_ours(&self.tags, tags::pairs(live.tags())) {
            return Err(Stranger {
                what: format!("stage {} of REST API {}", self.name, self.api),
            }
            .into());
        }
        Ok(Some(NoOutput {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<NoOutput> {
        let create = || {
            cx.cloud()
                .apigateway
                .create_stage()
                .rest_api_id(&self.api)
                .stage_name(&self.name)
                .deployment_id(&self.deployment)
                .tracing_enabled(self.tracing)
                .set_tags(Some(tags::map(&self.tags)))
                .send()
        };
        cx.call("apigateway:CreateStage", create).await?;
        // CreateStage has no parameters for limits, access logs and metrics.
        let bare = Self {
            throttle: Throttle::default(),
            access_log_destination: String::new(),
            access_log_format: String::new(),
            metrics: false,
            ..self.clone()
        };
        self.patch(cx, self.patches(&bare)).await?;
        Ok(NoOutput {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<Option<Self>> {
        let live = match cx.surveyed_stage(&self.api, &self.name).await {
            Some(surveyed) => surveyed?,
            None => self.get(cx).await?,
        };
        let Some(live) = live else {
            return Ok(None);
        };
        tags::check(&self.tags, tags::pairs(live.tags()), || {
            format!("stage {} of REST API {}", self.name, self.api)
        })?;
        let settings = live.method_settings().and_then(|all| all.get("*/*"));
        let logs = live.access_log_settings();
        let destination = logs
            .and_then(AccessLogSettings::destination_arn)
            .unwrap_or_default();
        let format = logs.and_then(AccessLogSettings::format).unwrap_or_default();
        Ok(Some(Self {
            api: self.api.clone(),
            name: self.name.clone(),
            deployment: live.deployment_id().unwrap_or_default().into(),
            throttle: self.throttle.live(settings),
            access_log_destination: destination.trim_end_matches(":*").to_owned(),
            access_log_format: format.to_owned(),
            metrics: settings.is_some_and(MethodSetting::metrics_enabled),
            tracing: live.tracing_enabled(),
            tags: tags::managed(&self.tags, tags::pairs(live.tags())),
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: NoOutput) -> Result<Updated<NoOutput>> {
        self.patch(cx, self.patches(before)).await?;
        let path = format!("/restapis/{}/stages/{}", self.api, self.name);
        tags::change_in_apigateway(cx, &path, &before.tags, &self.tags).await?;
        Ok(out.into())
    }

    async fn check_owner(&self, cx: &Cx<Aws>, out: &NoOutput) -> Result<()> {
        self.read(cx, out).await.map(drop)
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        let delete = || {
            cx.cloud()
                .apigateway
                .delete_stage()
                .rest_api_id(&self.api)
                .stage_name(&self.name)
                .send()
        };
        unless_gone(cx.call("apigateway:DeleteStage", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
