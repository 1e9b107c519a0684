//! A Lambda function whose code is a zip.
//!
//! Must not create its role or its log group, nor say who may invoke it.

mod settings;
mod values;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::operation::get_function::GetFunctionOutput;
use aws_sdk_lambda::operation::update_function_configuration::UpdateFunctionConfigurationInput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    Architecture, Environment, EphemeralStorage, FunctionCode, LastUpdateStatus, LastUpdateStatusReasonCode,
    LoggingConfig, Runtime, State, StateReasonCode,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use self::settings::{Reserved, STORAGE_MB, Unreserved, Vpc};
pub use self::values::{Code, Variables, fingerprint};
use crate::aws::clients::CONNECT_TIMEOUT;
use crate::aws::errors::known_phrase;
use crate::aws::pace::Uploads;
use crate::aws::tags::{self, Tags};
use crate::aws::wait::{SLOW_VISIBILITY_PATIENCE, unless_gone};
use crate::aws::{Aws, ids};
use crate::resource::{CallError, Class, Cx, Kind, Published, Resource, Result, Updated};

/// How long the state of a new function is not read, counted from the call that creates it.
const PENDING_AT_LEAST: Duration = Duration::from_millis(600);
/// The longest wait for a function to become Active, and for an update of it: the same as Terraform's.
const ACTIVE_DEADLINE: Duration = Duration::from_mins(10);

/// A Lambda function. Names are unique in the account and region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// 1 to 64 characters.
    pub name: String,
    /// The ARN of the role that it runs as.
    pub role: String,
    /// The id (`AROA…`) of the role that it was created with: Lambda's grant to decrypt the environment belongs to it,
    /// and not to the ARN. Which update of a function gives the grant to another role of the same ARN is not
    /// documented, so the function is replaced. The live value is empty if another role has the name, and `None` if no
    /// role has it.
    pub role_id: Option<String>,
    /// Stands for what its role's policies grant, as far as they are this stack's and not about its log; empty if there are none.
    /// Environments that run already may not notice new rights: an update of the function ends them. AWS does not return it.
    pub rights: String,
    /// Such as `nodejs22.x`.
    pub runtime: String,
    /// Such as `index.handler`.
    pub handler: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// 128 to 10,240.
    pub memory_mb: i32,
    /// 1 to 900.
    pub timeout_seconds: i32,
    /// The zip's SHA-256 in base64, as Lambda reports it.
    pub code_sha256: String,
    /// The zip's size in bytes.
    pub code_size: i64,
    /// Its environment variables: name to [`fingerprint`] of the value. The live value is `None` if Lambda may not
    /// decrypt them for us.
    pub environment: Option<BTreeMap<String, String>>,
    /// At most 256 characters.
    pub description: String,
    /// The size of `/tmp`: 512 to 10,240.
    pub ephemeral_storage_mb: i32,
    /// Whether X-Ray traces its invocations, not only those that the caller traces.
    pub tracing: bool,
    /// `text` or `json`.
    pub log_format: String,
    /// The ARNs of layer versions, in the order in which Lambda lays them over each other. A version that was deleted
    /// stays attached.
    pub layers: Vec<String>,
    /// The ARN of the key that encrypts the environment; empty: Lambda's own key.
    pub kms_key: String,
    /// How many invocations at once are reserved for it.
    pub reserved_concurrency: Reserved,
    /// The private network that it is in.
    pub vpc: Vpc,
    /// The stack's tags, including the owner.
    pub tags: Tags,
    /// The code itself. It is not recorded, so a resource from the state file cannot be created, nor its code updated.
    #[serde(skip)]
    pub code: Code,
    /// The values of `environment`; not recorded either.
    #[serde(skip)]
    pub variables: Variables,
}

/// Whether the SDK of this version lists the runtime.
pub fn is_known_runtime(name: &str) -> bool {
    Runtime::values().contains(&name)
}

/// What dependents and calls need of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The function's ARN.
    pub arn: String,
}

impl Published for Output {
    fn placeholder(mark: &str) -> Self {
        Self { arn: mark.to_owned() }
    }
}

impl Function {
    /// All variables; sending none clears them.
    fn environment(&self) -> Result<Environment> {
        ensure!(
            self.environment
                .iter()
                .flatten()
                .map(|(name, _)| name)
                .eq(self.variables.0.keys()),
            "the values of the environment of function {} are not at hand: they are never recorded",
            self.name
        );
        let plain = self
            .variables
            .0
            .iter()
            .map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
        Ok(Environment::builder()
            .set_variables(Some(plain.collect()))
            .build())
    }

    /// Why Lambda could not do it. If there is an environment, the message may repeat a value, so only its code is
    /// shown.
    fn reason(&self, code: Option<&str>, reason: Option<&str>) -> String {
        let has_values = self.environment.as_ref().is_some_and(|values| !values.is_empty());
        match reason {
            Some(reason) if has_values => {
                format!("{}: {}", code.unwrap_or("no code"), known_phrase(reason))
            }
            Some(reason) => reason.to_owned(),
            None => "it gave no reason".to_owned(),
        }
    }

    fn zip(&self) -> Result<Blob> {
        ensure!(
            !self.code.0.is_empty(),
            "the code of function {} is not at hand: it is never recorded",
            self.name
        );
        Ok(Blob::new(self.code.0.as_slice()))
    }

    /// The timeouts for sending the code: one attempt, with a time that depends on the size. The engine repeats a lost
    /// upload, and reports it.
    fn upload(&self) -> aws_sdk_lambda::config::Builder {
        let attempt = Uploads::attempt_timeout(self.code.0.len());
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(attempt)
            .operation_timeout(attempt)
            .build();
        aws_sdk_lambda::config::Builder::new()
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
    }

    async fn get(&self, cx: &Cx<Aws>) -> Result<Option<GetFunctionOutput>> {
        let get = || cx.cloud().lambda.get_function().function_name(&self.name).send();
        Ok(unless_gone(cx.call("lambda:GetFunction", get).await)?)
    }

    /// Lambda leaves out the tags if we may not read them. Then the owner of the function is not known.
    fn check(&self, live: &GetFunctionOutput) -> Result<()> {
        if let Some(error) = live.tags_error() {
            let code = error.error_code();
            let refusal = CallError {
                operation: "lambda:ListTags".to_owned(),
                code: Some(code.to_owned()),
                message: error.message().to_owned(),
                request_id: None,
                class: if code.starts_with("AccessDenied") {
                    Class::Denied
                } else {
                    Class::Refused
                },
                retry_after: None,
            };
            let what = format!(
                "cannot read the tags of function {}, which say whose it is",
                self.name
            );
            return Err(anyhow::Error::new(refusal).context(what));
        }
        let what = || format!("Lambda function {}", self.name);
        Ok(tags::check(&self.tags, tags::pairs(live.tags()), what)?)
    }

    /// Whether the role that it was created with still exists. Lambda does not return the role's id; a survey reads the
    /// role anyway.
    async fn live_role_id(&self, cx: &Cx<Aws>) -> Result<Option<String>> {
        if cx.cloud().survey.is_none() {
            return Ok(self.role_id.clone());
        }
        let name = self.role.rsplit('/').next().unwrap_or_default();
        let answer = cx.role(name).await?;
        let live = answer.as_ref().as_ref().and_then(|answer| answer.role());
        // IAM may not show a role that was created a moment ago. Whether it is another role is known once IAM finds it.
        Ok(live.map(|role| match &self.role_id {
            Some(id) if id == role.role_id() => id.clone(),
            _ => String::new(),
        }))
    }

    /// Waits for a new function: while it is Pending it cannot be invoked or changed.
    async fn wait_until_active(&self, cx: &Cx<Aws>) -> Result<Output> {
        let began = Instant::now();
        cx.wait_for("the function to become Active", ACTIVE_DEADLINE, || async {
            let Some(configuration) = self.get(cx).await?.and_then(|answer| answer.configuration) else {
                ensure!(
                    began.elapsed() < SLOW_VISIBILITY_PATIENCE,
                    "Lambda accepted function {} but does not show it {} seconds later",
                    self.name,
                    SLOW_VISIBILITY_PATIENCE.as_secs()
                );
                return Ok(None);
            };
            match configuration.state() {
                Some(State::Failed) => bail!(
                    "Lambda could not set the function up: {}",
                    self.reason(
                        configuration.state_reason_code().map(StateReasonCode::as_str),
                        configuration.state_reason()
                    )
                ),
                Some(State::Pending) => Ok(None),
                _ => {
                    let arn = configuration
                        .function_arn
                        .context("lambda:GetFunction answered no ARN")?;
                    Ok(Some(Output { arn }))
                }
            }
        })
        .await
    }

    /// Waits for an update: Lambda refuses another one meanwhile, and this one may still fail.
    async fn wait_until_updated(&self, cx: &Cx<Aws>) -> Result<()> {
        cx.wait_briefly_for(
            "the function's update to be Successful",
            ACTIVE_DEADLINE,
            || async {
                let configuration = self.get(cx).await?.and_then(|answer| answer.configuration);
                let configuration =
                    configuration.with_context(|| format!("function {} is not there any more", self.name))?;
                match configuration.last_update_status() {
                    Some(LastUpdateStatus::InProgress) => Ok(None),
                    Some(LastUpdateStatus::Failed) => bail!(
                        "Lambda could not update the function: {}",
                        self.reason(
                            (configuration.last_update_status_reason_code())
                                .map(LastUpdateStatusReasonCode::as_str),
                            configuration.last_update_status_reason()
                        )
                    ),
                    _ => Ok(Some(())),
                }
            },
        )
        .await
    }

    /// What is sent for another format of the log: with the log group that is set, whoever set it.
    async fn new_logging(&self, cx: &Cx<Aws>, before: &Self) -> Result<Option<LoggingConfig>> {
        if self.log_format == before.log_format {
            return Ok(None);
        }
        let configuration = self.get(cx).await?.and_then(|answer| answer.configuration);
        let configuration =
            configuration.with_context(|| format!("function {} is not there any more", self.name))?;
        let group = configuration.logging_config().and_then(LoggingConfig::log_group);
        Ok(Some(settings::logging(&self.log_format, group)))
    }

    /// After configuration and code: Lambda refuses it while either is still being updated.
    async fn update_concurrency(&self, cx: &Cx<Aws>, before: Reserved) -> Result<()> {
        if self.reserved_concurrency == before {
            return Ok(());
        }
        let lambda = &cx.cloud().lambda;
        if let Reserved::Some(number) = self.reserved_concurrency {
            let put = || {
                lambda
                    .put_function_concurrency()
                    .function_name(&self.name)
                    .reserved_concurrent_executions(number)
                    .send()
            };
            cx.call("lambda:PutFunctionConcurrency", put).await?;
        } else {
            let delete = || {
                lambda
                    .delete_function_concurrency()
                    .function_name(&self.name)
                    .send()
            };
            cx.call("lambda:DeleteFunctionConcurrency", delete).await?;
        }
        Ok(())
    }

    async fn update_configuration(&self, cx: &Cx<Aws>, before: &Self) -> Result<()> {
        let text = |differs: bool, value: &str| differs.then(|| value.to_owned());
        // Lambda replaces the variables as a whole, and encrypts with a new key what it is sent.
        let has_new_key = self.kms_key != before.kms_key && !self.variables.0.is_empty();
        let has_changed = self.environment.is_some() && self.environment != before.environment;
        let environment = if has_changed || has_new_key {
            Some(self.environment()?)
        } else {
            None
        };
        let has_values = environment.is_some() && !self.variables.0.is_empty();
        let changes = UpdateFunctionConfigurationInput::builder()
            .set_role(text(self.role != before.role, &self.role))
            .set_runtime((self.runtime != before.runtime).then(|| Runtime::from(self.runtime.as_str())))
            .set_handler(text(self.handler != before.handler, &self.handler))
            .set_memory_size((self.memory_mb != before.memory_mb).then_some(self.memory_mb))
            .set_timeout((self.timeout_seconds != before.timeout_seconds).then_some(self.timeout_seconds))
            .set_environment(environment)
            .set_description(text(self.description != before.description, &self.description))
            .set_ephemeral_storage(
                (self.ephemeral_storage_mb != before.ephemeral_storage_mb)
                    .then(|| settings::storage(self.ephemeral_storage_mb)),
            )
            .set_tracing_config((self.tracing != before.tracing).then(|| settings::tracing(self.tracing)))
            .set_logging_config(self.new_logging(cx, before).await?)
            .set_layers((self.layers != before.layers).then(|| self.layers.clone()))
            .set_kms_key_arn(text(self.kms_key != before.kms_key, &self.kms_key))
            .set_vpc_config((self.vpc != before.vpc).then(|| self.vpc.sent()));
        let is_empty = changes == UpdateFunctionConfigurationInput::builder();
        if is_empty && self.rights == before.rights {
            return Ok(());
        }
        // Lambda starts new environments also after an update that changes nothing.
        let changes = if is_empty {
            changes.timeout(self.timeout_seconds)
        } else {
            changes
        };
        let update = || {
            changes
                .clone()
                .function_name(&self.name)
                .send_with(&cx.cloud().lambda)
        };
        if has_values {
            cx.call_with_values("lambda:UpdateFunctionConfiguration", update)
                .await?;
        } else {
            cx.call("lambda:UpdateFunctionConfiguration", update).await?;
        }
        self.wait_until_updated(cx).await
    }

    /// Sends the architecture with the code, even if the code is the same: whether AWS keeps an architecture that is
    /// left out is not documented.
    async fn update_code(&self, cx: &Cx<Aws>, before: &Self) -> Result<()> {
        if (&self.code_sha256, self.code_size, &self.architecture)
            == (&before.code_sha256, before.code_size, &before.architecture)
        {
            return Ok(());
        }
        let zip = self.zip()?;
        let update = || async {
            let _room = cx.cloud().paces.uploads.room(self.code.0.len()).await;
            let update = (cx.cloud().lambda.update_function_code())
                .function_name(&self.name)
                .zip_file(zip.clone())
                .architectures(Architecture::from(self.architecture.as_str()));
            update.customize().config_override(self.upload()).send().await
        };
        cx.call("lambda:UpdateFunctionCode", update).await?;
        self.wait_until_updated(cx).await
    }

    async fn update_tags(&self, cx: &Cx<Aws>, before: &Self, arn: &str) -> Result<()> {
        let (set, removed) = (
            tags::changed(&before.tags, &self.tags),
            tags::removed(&before.tags, &self.tags),
        );
        if !set.is_empty() {
            let tag = || {
                cx.cloud()
                    .lambda
                    .tag_resource()
                    .resource(arn)
                    .set_tags(Some(tags::map(&set)))
                    .send()
            };
            cx.call("lambda:TagResource", tag).await?;
        }
        if !removed.is_empty() {
            let untag = || {
                cx.cloud()
                    .lambda
                    .untag_resource()
                    .resource(arn)
                    .set_tag_keys(Some(removed.clone()))
                    .send()
            };
            cx.call("lambda:UntagResource", untag).await?;
        }
        Ok(())
    }
}

impl Resource for Function {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static Kind = &Kind {
        shapes: &[
            ("desired.name", ids::NAME),
            ("desired.role", ids::ARN),
            ("output.arn", ids::ARN),
        ],
        fixed: &["name", "role_id"],
        // For a role of another ARN Lambda makes another grant.
        changed_with: &[("role_id", "role")],
        ..Kind::new("function")
    };

    fn id(&self, _: &Output) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let Some(answer) = self.get(cx).await? else {
            return Ok(None);
        };
        self.check(&answer)?;
        self.wait_until_active(cx).await.map(Some)
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let code = FunctionCode::builder().zip_file(self.zip()?).build();
        let environment = self.environment()?;
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let sent = Cell::new(Instant::now());
        let create = || async {
            let _room = cx.cloud().paces.uploads.room(self.code.0.len()).await;
            sent.set(Instant::now());
            cx.cloud()
                .lambda
                .create_function()
                .function_name(&self.name)
                .role(&self.role)
                .runtime(Runtime::from(self.runtime.as_str()))
                .handler(&self.handler)
                .architectures(Architecture::from(self.architecture.as_str()))
                .memory_size(self.memory_mb)
                .timeout(self.timeout_seconds)
                .code(code.clone())
                .environment(environment.clone())
                .set_description(given(&self.description))
                .set_ephemeral_storage(
                    (self.ephemeral_storage_mb != STORAGE_MB)
                        .then(|| settings::storage(self.ephemeral_storage_mb)),
                )
                .set_tracing_config(self.tracing.then(|| settings::tracing(true)))
                .set_logging_config(
                    (self.log_format != "text").then(|| settings::logging(&self.log_format, None)),
                )
                .set_layers((!self.layers.is_empty()).then(|| self.layers.clone()))
                .set_kms_key_arn(given(&self.kms_key))
                .set_vpc_config((self.vpc != Vpc::default()).then(|| self.vpc.sent()))
                .set_tags(Some(tags::map(&self.tags)))
                .customize()
                .config_override(self.upload())
                .send()
                .await
        };
        let made = if self.variables.0.is_empty() {
            cx.call("lambda:CreateFunction", create).await?
        } else {
            cx.call_with_values("lambda:CreateFunction", create).await?
        };
        let out = if made.state() == Some(&State::Active) {
            let arn = made
                .function_arn
                .context("lambda:CreateFunction answered no ARN")?;
            Output { arn }
        } else {
            // It was Pending when it was created.
            tokio::time::sleep_until(sent.get() + PENDING_AT_LEAST).await;
            self.wait_until_active(cx).await?
        };
        self.update_concurrency(cx, None.into()).await?;
        Ok(out)
    }

    async fn read(&self, cx: &Cx<Aws>, _: &Output) -> Result<Option<Self>> {
        let Some(answer) = self.get(cx).await? else {
            return Ok(None);
        };
        self.check(&answer)?;
        let live = answer
            .configuration()
            .context("lambda:GetFunction answered no configuration")?;
        let environment = live.environment();
        let variables = environment
            .and_then(|environment| environment.variables())
            .into_iter()
            .flatten();
        let variables = match environment.and_then(|environment| environment.error()) {
            Some(_) => None,
            None => Some(
                variables
                    .map(|(name, value)| (name.clone(), fingerprint(&self.name, name, value)))
                    .collect(),
            ),
        };
        Ok(Some(Self {
            name: self.name.clone(),
            role: live.role().unwrap_or_default().to_owned(),
            role_id: self.live_role_id(cx).await?,
            rights: self.rights.clone(),
            runtime: live.runtime().map_or("", Runtime::as_str).to_owned(),
            handler: live.handler().unwrap_or_default().to_owned(),
            architecture: live
                .architectures()
                .first()
                .map_or("x86_64", Architecture::as_str)
                .to_owned(),
            memory_mb: live.memory_size().unwrap_or_default(),
            timeout_seconds: live.timeout().unwrap_or_default(),
            code_sha256: live.code_sha256().unwrap_or_default().to_owned(),
            code_size: live.code_size(),
            environment: variables,
            description: live.description().unwrap_or_default().to_owned(),
            ephemeral_storage_mb: live
                .ephemeral_storage()
                .map_or(STORAGE_MB, EphemeralStorage::size),
            tracing: settings::is_traced(live.tracing_config()),
            log_format: settings::log_format(live.logging_config()),
            layers: settings::layers(live.layers()),
            kms_key: live.kms_key_arn().unwrap_or_default().to_owned(),
            reserved_concurrency: Reserved::live(answer.concurrency()),
            vpc: Vpc::live(live.vpc_config()),
            tags: tags::managed(&self.tags, tags::pairs(answer.tags())),
            code: self.code.clone(),
            variables: self.variables.clone(),
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Updated<Output>> {
        self.update_configuration(cx, before).await?;
        self.update_code(cx, before).await?;
        self.update_concurrency(cx, before.reserved_concurrency).await?;
        self.update_tags(cx, before, &out.arn).await?;
        Ok(out.into())
    }

    async fn check_owner(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        match self.get(cx).await? {
            Some(answer) => self.check(&answer),
            None => Ok(()),
        }
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        let delete = || {
            cx.cloud()
                .lambda
                .delete_function()
                .function_name(&self.name)
                .send()
        };
        unless_gone(cx.call("lambda:DeleteFunction", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
