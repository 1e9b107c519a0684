//! A Lambda function whose code is a zip.
//!
//! Must not make its role or its log group, nor say who may invoke it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::operation::get_function::GetFunctionOutput;
use aws_sdk_lambda::operation::update_function_configuration::UpdateFunctionConfigurationInput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    Architecture, Environment, FunctionCode, LastUpdateStatus, LastUpdateStatusReasonCode, Runtime, State, StateReasonCode,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::aws::clients::CONNECT_TIMEOUT;
use crate::aws::errors::known_phrase;
use crate::aws::pace::Uploads;
use crate::aws::tags::{self, Tags};
use crate::aws::wait::{SLOW_VISIBILITY_PATIENCE, unless_gone};
use crate::aws::{Aws, ids};
use crate::resource::{CallError, Class, Cx, Resource, Result, Shape};

/// How long nobody asks for a new function, from the call that makes it.
const PENDING_AT_LEAST: Duration = Duration::from_millis(600);
/// Terraform waits as long for a function to become Active, and for an update of it.
const ACTIVE_DEADLINE: Duration = Duration::from_mins(10);

/// A Lambda function. Names are unique in the account and region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// 1 to 64 characters.
    pub name: String,
    /// The ARN of the role that it runs as.
    pub role: String,
    /// The id (`AROA…`) of the role that it was made with: Lambda's grant to decrypt the environment belongs to it, and not to
    /// the ARN. Which update of a function gives the grant to another role of the same ARN is not documented, so the
    /// function is made again. What is live is empty where another role has the name, and `None` where no role has.
    pub role_id: Option<String>,
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
    /// Its environment variables: name to [`fingerprint`] of the value. What is live is `None` where Lambda may not decrypt
    /// them for us.
    pub environment: Option<BTreeMap<String, String>>,
    /// Including the owner.
    pub tags: Tags,
    /// The code itself. Not recorded, so a resource that comes from the state file can be neither created nor given code.
    #[serde(skip)]
    pub code: Code,
    /// The values of `environment`. Not recorded, like the code.
    #[serde(skip)]
    pub variables: Variables,
}

/// The zip that `code_sha256` is the hash of; equal to any other, as the hash tells them apart.
#[derive(Clone, Default)]
pub struct Code(pub Rc<Vec<u8>>);

/// Whether the SDK of this version lists the runtime.
pub fn is_known_runtime(name: &str) -> bool {
    Runtime::values().contains(&name)
}

impl PartialEq for Code {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Code({} bytes)", self.0.len())
    }
}

/// The values that `environment` has the fingerprints of; equal to any other, as those tell them apart.
#[derive(Clone, Default)]
pub struct Variables(pub Rc<BTreeMap<String, SecretString>>);

impl PartialEq for Variables {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What stands for a variable's value wherever it is recorded or shown: a hash, which differs between functions.
pub fn fingerprint(function: &str, variable: &str, value: &str) -> String {
    let mut hash = Sha256::new();
    for part in [function, variable, value] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    format!("sha256:{}", &URL_SAFE_NO_PAD.encode(hash.finalize())[..16])
}

/// What Lambda answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The function's ARN.
    pub arn: String,
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

    /// Why Lambda could not do it. With an environment it may repeat one of its values, so only its code is told.
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

    /// How the code is sent: once, for as long as its size takes. The engine, which says so, repeats a lost upload.
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

    /// Lambda leaves the tags out where they may not be read: then nobody can tell whose the function is.
    fn check(&self, live: &GetFunctionOutput) -> Result<()> {
        if let Some(error) = live.tags_error() {
            let code = error.error_code();
            let refusal = CallError {
                operation: "lambda:ListTags".to_owned(),
                code: Some(code.to_owned()),
                message: error.message().to_owned(),
                request_id: None,
                class: if code.starts_with("AccessDenied") { Class::Denied } else { Class::Refused },
                retry_after: None,
            };
            let what = format!("cannot read the tags of function {}, which say whose it is", self.name);
            return Err(anyhow::Error::new(refusal).context(what));
        }
        let what = || format!("Lambda function {}", self.name);
        Ok(tags::check(&self.tags, tags::pairs(live.tags()), what)?)
    }

    /// Whether the role that it was made with is still there. Lambda does not answer its id; a survey reads the role anyway.
    async fn live_role_id(&self, cx: &Cx<Aws>) -> Result<Option<String>> {
        if cx.cloud().survey.is_none() {
            return Ok(self.role_id.clone());
        }
        let name = self.role.rsplit('/').next().unwrap_or_default();
        let answer = cx.role(name).await?;
        let live = answer.as_ref().as_ref().and_then(|answer| answer.role());
        // IAM may not show a role that was made a moment ago: whether it is another one is known once it is found.
        Ok(live.map(|role| match &self.role_id {
            Some(id) if id == role.role_id() => id.clone(),
            _ => String::new(),
        }))
    }

    /// A function cannot be invoked, nor changed, while it is Pending.
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

    /// Lambda refuses an update while another one is under way, and may still find this one wrong.
    async fn wait_until_updated(&self, cx: &Cx<Aws>) -> Result<()> {
        cx.wait_for(
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

    async fn update_configuration(&self, cx: &Cx<Aws>, before: &Self) -> Result<()> {
        let text = |differs: bool, value: &str| differs.then(|| value.to_owned());
        // Lambda replaces the variables as a whole.
        let environment = if self.environment.is_some() && self.environment != before.environment {
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
            .set_environment(environment);
        if changes == UpdateFunctionConfigurationInput::builder() {
            return Ok(());
        }
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

    /// The architecture goes with the code, also where the code is the same; whether AWS keeps one that is left out is not
    /// documented.
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
    const KIND: &'static str = "function";
    const SHAPES: &'static [(&'static str, Shape)] = &[
        ("desired.name", ids::NAME),
        ("desired.role", ids::ARN),
        ("output.arn", ids::ARN),
    ];
    const FIXED: &'static [&'static str] = &["name", "role_id"];

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
        if made.state() == Some(&State::Active) {
            let arn = made.function_arn.context("lambda:CreateFunction answered no ARN")?;
            return Ok(Output { arn });
        }
        // It was said to be Pending when it was made.
        tokio::time::sleep_until(sent.get() + PENDING_AT_LEAST).await;
        self.wait_until_active(cx).await
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
            tags: tags::managed(&self.tags, tags::pairs(answer.tags())),
            code: self.code.clone(),
            variables: self.variables.clone(),
        }))
    }

    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: Output) -> Result<Output> {
        self.update_configuration(cx, before).await?;
        self.update_code(cx, before).await?;
        self.update_tags(cx, before, &out.arn).await?;
        Ok(out)
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
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::Ordering;

    use aws_sdk_lambda::Client as Sdk;
    use aws_sdk_lambda::operation::update_function_code::UpdateFunctionCodeInput;
    use aws_sdk_lambda::operation::update_function_configuration::builders::UpdateFunctionConfigurationInputBuilder;
    use aws_smithy_mocks::Rule;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::test_support::{
        always, differing, failed, iam, iam_ok, iam_refused, lambda, ok, on, our_tags, our_tags_and_more, refused,
        slow_lambda, strangers_tags,
    };
    use crate::resource::{class, is_stranger};

    const ARN: &str = "arn:aws:lambda:eu-central-1:111122223333:function:user-api-1a2b3c4d-user";
    const UNASSUMABLE: &str = "The role defined for the function cannot be assumed by Lambda.";

    fn desired() -> Function {
        Function {
            name: "user-api-1a2b3c4d-user".to_owned(),
            role: "arn:aws:iam::111122223333:role/r".to_owned(),
            role_id: Some("AROA1".to_owned()),
            runtime: "nodejs22.x".to_owned(),
            handler: "index.handler".to_owned(),
            architecture: "arm64".to_owned(),
            memory_mb: 128,
            timeout_seconds: 3,
            code_sha256: "aGFzaA==".to_owned(),
            code_size: 2,
            environment: Some(BTreeMap::new()),
            tags: our_tags(),
            code: Code(Rc::new(b"PK".to_vec())),
            variables: Variables::default(),
        }
    }

    fn with_environment(variables: &[(&str, &str)]) -> Function {
        let function = desired();
        let fingerprints = variables
            .iter()
            .map(|&(name, value)| (name.to_owned(), fingerprint(&function.name, name, value)));
        let values = variables
            .iter()
            .map(|&(name, value)| (name.to_owned(), SecretString::from(value)));
        Function {
            environment: Some(fingerprints.collect()),
            variables: Variables(Rc::new(values.collect())),
            ..function
        }
    }

    fn out() -> Output {
        Output { arn: ARN.to_owned() }
    }

    fn live(state: &str, tags: &Tags) -> Value {
        json!({
            "Configuration": {
                "FunctionName": "user-api-1a2b3c4d-user", "FunctionArn": ARN, "Runtime": "nodejs22.x",
                "Role": "arn:aws:iam::111122223333:role/r", "Handler": "index.handler", "CodeSize": 2,
                "Description": "", "Timeout": 3, "MemorySize": 128, "CodeSha256": "aGFzaA==", "Version": "$LATEST",
                "TracingConfig": {"Mode": "PassThrough"}, "RevisionId": "r", "State": state,
                "StateReason": "the reason of AWS", "PackageType": "Zip", "Architectures": ["arm64"],
                "EphemeralStorage": {"Size": 512}, "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            },
            "Code": {"RepositoryType": "S3", "Location": "https://example.com"},
            "Tags": tags,
        })
    }

    fn get(state: &str) -> Rule {
        let answer = live(state, &our_tags());
        on!(Sdk::get_function, ok(answer.clone()))
    }

    fn refuse_create(message: &'static str) -> Rule {
        on!(
            Sdk::create_function,
            refused(400, "InvalidParameterValueException", message)
        )
    }

    fn gone() -> HttpResponse {
        refused(
            404,
            "ResourceNotFoundException",
            "Function not found: user-api-1a2b3c4d-user",
        )
    }

    #[test]
    fn the_runtimes_that_the_sdk_lists_are_known() {
        assert!(is_known_runtime("nodejs22.x") && is_known_runtime("provided.al2023"));
        assert!(!is_known_runtime("nodejs99.x") && !is_known_runtime("nodejs22"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
        let cx = lambda([
            on!(Sdk::get_function, gone()),
            on!(Sdk::get_function, gone()),
            on!(
                Sdk::delete_function,
                |i| { assert_eq!(i.function_name(), Some("user-api-1a2b3c4d-user")) },
                gone()
            ),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert_eq!(desired().read(&cx, &out()).await.unwrap(), None);
        desired().delete(&cx, &out()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_of_another_owner_is_a_strangers() {
        let strangers = live("Active", &strangers_tags());
        let cx = lambda([on!(Sdk::get_function, ok(strangers.clone()))]);
        let error = desired().find(&cx).await.unwrap_err();
        assert!(
            is_stranger(&error) && error.to_string().contains("user-api-1a2b3c4d-user"),
            "{error:#}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_that_a_stranger_made_again_is_neither_read_as_drift_nor_deleted() {
        for tags in [strangers_tags(), Tags::new()] {
            let answer = live("Active", &tags);
            let get = |answer: Value| on!(Sdk::get_function, ok(answer.clone()));
            let cx = lambda([get(answer.clone()), get(answer)]);
            let read = desired().read(&cx, &out()).await.unwrap_err();
            let deleted = desired().check_owner(&cx, &out()).await.unwrap_err();
            assert!(is_stranger(&read) && is_stranger(&deleted), "{read:#} {deleted:#}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tags_that_may_not_be_read_make_nobody_a_stranger() {
        let mut answer = live("Active", &Tags::new());
        answer.as_object_mut().unwrap().remove("Tags");
        answer["TagsError"] = json!({"ErrorCode": "AccessDeniedException", "Message": "not authorized"});
        let get = |answer: Value| on!(Sdk::get_function, ok(answer.clone()));
        let cx = lambda([get(answer.clone()), get(answer.clone()), get(answer)]);
        for error in [
            desired().find(&cx).await.unwrap_err(),
            desired().read(&cx, &out()).await.unwrap_err(),
            desired().check_owner(&cx, &out()).await.unwrap_err(),
        ] {
            assert!(!is_stranger(&error), "{error:#}");
            assert_eq!(class(&error), Some(Class::Denied), "{error:#}");
            assert!(format!("{error:#}").contains("lambda:ListTags"), "{error:#}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_interrupted_run_left_pending_is_waited_for_when_it_is_found() {
        let cx = lambda([get("Pending"), get("Pending"), get("Active")]);
        assert_eq!(desired().find(&cx).await.unwrap().unwrap().arn, ARN);
        assert_eq!(cx.waits(), ["the function to become Active"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_is_not_assumable_yet_is_waited_for_and_told() {
        let cx = lambda([
            refuse_create(UNASSUMABLE),
            refuse_create(UNASSUMABLE),
            refuse_create(UNASSUMABLE),
            on!(
                Sdk::create_function,
                |i| {
                    assert_eq!(i.function_name(), Some("user-api-1a2b3c4d-user"));
                    assert_eq!(i.role(), Some("arn:aws:iam::111122223333:role/r"));
                    assert_eq!(i.runtime().unwrap().as_str(), "nodejs22.x");
                    assert_eq!(i.handler(), Some("index.handler"));
                    assert_eq!(i.architectures(), [Architecture::Arm64]);
                    assert_eq!((i.memory_size(), i.timeout()), (Some(128), Some(3)));
                    assert_eq!(i.code().unwrap().zip_file().unwrap().as_ref(), b"PK");
                    let variables = HashMap::from([("A".to_owned(), "1".to_owned())]);
                    assert_eq!(i.environment().unwrap().variables(), Some(&variables));
                    assert_eq!(i.tags(), Some(&tags::map(&our_tags())));
                },
                ok(live("Pending", &our_tags())["Configuration"].clone())
            ),
            get("Pending"),
            get("Active"),
        ]);
        assert_eq!(
            with_environment(&[("A", "1")]).create(&cx).await.unwrap().arn,
            ARN
        );
        let waits = cx.waits();
        assert_eq!(waits.len(), 4, "{waits:?}");
        assert!(
            waits[0].contains("lambda:CreateFunction") && waits[0].contains(UNASSUMABLE),
            "{waits:?}"
        );
        assert_eq!(waits[3], "the function to become Active");
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_never_becomes_assumable_ends_with_lambdas_reason() {
        let began = Instant::now();
        let cx = lambda([always!(
            Sdk::create_function,
            refused(400, "InvalidParameterValueException", UNASSUMABLE)
        )]);
        let (_, text) = failed(desired().create(&cx).await);
        assert!(text.contains(UNASSUMABLE), "{text}");
        assert!(began.elapsed() <= Duration::from_mins(11));
    }

    #[tokio::test(start_paused = true)]
    async fn while_roles_spread_one_function_asks_for_all() {
        let began = Instant::now();
        let create = always!(
            Sdk::create_function,
            if began.elapsed() < Duration::from_secs(4) {
                refused(400, "InvalidParameterValueException", UNASSUMABLE)
            } else {
                ok(live("Active", &our_tags())["Configuration"].clone())
            }
        );
        let cx = lambda([create.clone()]);
        let functions: Vec<Function> = (0..32).map(|_| desired()).collect();
        let made = futures_util::future::join_all(functions.iter().map(|function| function.create(&cx))).await;
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        // The one that asks needs 100 tries; all others one before and one after.
        assert!(create.num_calls() < 100 + 3 * 32, "{} requests", create.num_calls());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    fn of_size(bytes: usize) -> Function {
        Function {
            code: Code(Rc::new(vec![0; bytes])),
            ..desired()
        }
    }

    fn active() -> HttpResponse {
        ok(live("Active", &our_tags())["Configuration"].clone())
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_may_take_as_long_as_2_mbit_a_second_need() {
        // 50 MiB, a third more in base64.
        let needs = Duration::from_secs(50 * 1024 * 1024 * 8 * 4 / 3 / 2_000_000);
        let (cx, requests) = slow_lambda(needs, active);
        assert_eq!(of_size(50 * 1024 * 1024).create(&cx).await.unwrap().arn, ARN);
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn uploads_that_do_not_fit_the_line_go_one_after_the_other() {
        let began = Instant::now();
        let (cx, requests) = slow_lambda(Duration::from_secs(30), active);
        let functions = [of_size(6 << 20), of_size(6 << 20), of_size(1 << 20), of_size(1 << 20)];
        let made = futures_util::future::join_all(functions.iter().map(|function| function.create(&cx))).await;
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        assert_eq!(requests.load(Ordering::SeqCst), 4);
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_upload_is_not_repeated_without_a_word() {
        for size in [2, 9 << 20] {
            let began = Instant::now();
            let (cx, requests) = slow_lambda(Duration::from_hours(10), active);
            let (class, text) = failed(of_size(size).create(&cx).await);
            assert_eq!(class, Some(Class::Ambiguous), "{text}");
            assert_eq!(requests.load(Ordering::SeqCst), 1);
            assert_eq!(began.elapsed().as_secs(), Uploads::attempt_timeout(size).as_secs());
            let before = Function {
                code_sha256: "b2xk".to_owned(),
                ..desired()
            };
            let (class, text) = failed(of_size(size).update(&cx, &before, out()).await);
            assert_eq!((class, requests.load(Ordering::SeqCst)), (Some(Class::Ambiguous), 2), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_function_that_lambda_does_not_show_is_waited_for_two_minutes() {
        let began = Instant::now();
        let cx = lambda([
            on!(Sdk::create_function, ok(live("Pending", &our_tags())["Configuration"].clone())),
            always!(Sdk::get_function, gone()),
        ]);
        let text = format!("{:#}", desired().create(&cx).await.unwrap_err());
        assert!(text.contains("does not show it 120 seconds later"), "{text}");
        assert_eq!(began.elapsed().as_secs() / 60, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn another_wrong_parameter_fails_at_once() {
        let cx = lambda([refuse_create(
            "Could not unzip uploaded file. Please check your file, then try again.",
        )]);
        assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Refused));
        assert!(cx.waits().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn no_value_of_the_environment_is_told_whatever_lambda_repeats() {
        let function = with_environment(&[("A", "hunter2-\"quoted\"\nline"), ("B", "1"), ("C", "hunter2")]);
        let messages = [
            "Lambda was unable to configure your environment variables because the environment variables you have provided \
             exceeded the 4KB limit. String measured: {\"A\":\"hunter2-\\\"quoted\\\"\\nline\",\"B\":\"1\",\"C\":\"hunter2\"}",
            "1 validation error detected: Value '{A=hunter2-\"quoted\"\nline, B=1, C=hunter2}' at 'environment.variables' \
             failed to satisfy constraint",
            "the handler xhunter2y is not known; at most 128 MB, not 1",
            // Escaped for HTML, a URL and JSON, and cut.
            "hunter2-&quot;quoted&quot; hunter2-%22quoted%22 \\u0068unter2 hunte...",
        ];
        let tells = |text: &str| ["hunte", "unter2", "quoted"].iter().any(|part| text.contains(part));
        for message in messages {
            let cx = lambda([refuse_create(message)]);
            let (class, text) = failed(function.create(&cx).await);
            assert_eq!(class, Some(Class::Refused));
            assert!(!tells(&text), "{text}");
            assert!(text.contains("InvalidParameterValueException"), "{text}");
            assert!(cx.waits().is_empty());
            let cx = lambda([on!(
                Sdk::update_function_configuration,
                refused(400, "InvalidParameterValueException", message)
            )]);
            let update = function.update(&cx, &desired(), Output { arn: ARN.to_owned() }).await;
            let (_, text) = failed(update);
            assert!(!tells(&text), "{text}");

            // While it waits, for a role or for another call to end.
            let role: &str = format!("{UNASSUMABLE} {message}").leak();
            let busy: &str = format!("An update is in progress for resource: a. {message}").leak();
            for (code, waits_for) in [
                ("InvalidParameterValueException", role),
                ("ResourceConflictException", busy),
                ("TooManyRequestsException", busy),
            ] {
                let cx = lambda([
                    on!(Sdk::create_function, refused(400, code, waits_for)),
                    refuse_create(message),
                ]);
                let (_, text) = failed(function.create(&cx).await);
                assert_eq!(cx.waits().len(), 1, "{text}");
                assert!(!tells(&cx.waits()[0]), "{:?}", cx.waits());
                assert!(cx.waits()[0].contains(code), "{:?}", cx.waits());
            }

            // In what it says of the function later.
            let mut answer = live("Failed", &our_tags());
            answer["Configuration"]["StateReason"] = json!(message);
            answer["Configuration"]["StateReasonCode"] = json!("InternalError");
            let cx = lambda([on!(Sdk::create_function, ok(json!({}))), on!(Sdk::get_function, ok(answer.clone()))]);
            let (_, text) = failed(function.create(&cx).await);
            assert!(!tells(&text) && text.contains("InternalError"), "{text}");
            let mut answer = live("Active", &our_tags());
            answer["Configuration"]["LastUpdateStatus"] = json!("Failed");
            answer["Configuration"]["LastUpdateStatusReason"] = json!(message);
            answer["Configuration"]["LastUpdateStatusReasonCode"] = json!("InvalidZipFileException");
            let cx = lambda([
                on!(Sdk::update_function_configuration, ok(json!({}))),
                on!(Sdk::get_function, ok(answer.clone())),
            ]);
            let update = function.update(&cx, &desired(), Output { arn: ARN.to_owned() }).await;
            let (_, text) = failed(update);
            assert!(!tells(&text) && text.contains("InvalidZipFileException"), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_taken_name_is_told_as_taken() {
        let cx = lambda([on!(
            Sdk::create_function,
            refused(
                409,
                "ResourceConflictException",
                "Function already exist: user-api-1a2b3c4d-user"
            )
        )]);
        let (class, text) = failed(desired().create(&cx).await);
        assert_eq!(class, Some(Class::Taken));
        assert!(text.contains("user-api-1a2b3c4d-user"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_function_is_an_error_with_the_reason() {
        let cx = lambda([
            on!(Sdk::create_function, ok(json!({}))),
            get("Pending"),
            get("Failed"),
        ]);
        let (_, text) = failed(desired().create(&cx).await);
        assert!(text.contains("the reason of AWS"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_aws_answers_is_no_drift() {
        let answer = live("Active", &our_tags_and_more());
        let cx = lambda([on!(Sdk::get_function, ok(answer.clone()))]);
        assert_eq!(desired().read(&cx, &out()).await.unwrap(), Some(desired()));
    }

    /// What `read` makes of AWS's answer with this value at this place.
    async fn read_with(pointer: &str, value: Value) -> Function {
        let mut answer = live("Active", &our_tags());
        answer["Configuration"]["Environment"] = json!({"Variables": {}});
        *answer.pointer_mut(pointer).unwrap() = value;
        let cx = lambda([on!(Sdk::get_function, ok(answer.clone()))]);
        desired().read(&cx, &out()).await.unwrap().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_changed_is_drift_of_that_field_alone() {
        let admin = "arn:aws:iam::111122223333:role/admin";
        let with = |change: fn(&mut Function)| {
            let mut function = desired();
            change(&mut function);
            function
        };
        let debug = with_environment(&[("DEBUG", "1")]).environment;
        for (pointer, other, expected) in [
            (
                "/Configuration/Role",
                json!(admin),
                Function {
                    role: admin.to_owned(),
                    ..desired()
                },
            ),
            (
                "/Configuration/Runtime",
                json!("nodejs20.x"),
                with(|f| f.runtime = "nodejs20.x".to_owned()),
            ),
            (
                "/Configuration/Handler",
                json!("other.handler"),
                with(|f| f.handler = "other.handler".to_owned()),
            ),
            (
                "/Configuration/Architectures",
                json!(["x86_64"]),
                with(|f| f.architecture = "x86_64".to_owned()),
            ),
            (
                "/Configuration/MemorySize",
                json!(256),
                with(|f| f.memory_mb = 256),
            ),
            (
                "/Configuration/Timeout",
                json!(900),
                with(|f| f.timeout_seconds = 900),
            ),
            (
                "/Configuration/CodeSha256",
                json!("b3RoZXI="),
                with(|f| f.code_sha256 = "b3RoZXI=".to_owned()),
            ),
            ("/Configuration/CodeSize", json!(3), with(|f| f.code_size = 3)),
            (
                "/Configuration/Environment/Variables",
                json!({"DEBUG": "1"}),
                Function {
                    environment: debug,
                    ..desired()
                },
            ),
            (
                "/Tags/provision:stack",
                json!("x"),
                with(|f| drop(f.tags.insert(tags::STACK.to_owned(), "x".to_owned()))),
            ),
        ] {
            assert_eq!(read_with(pointer, other).await, expected, "{pointer}");
            assert_ne!(expected, desired(), "{pointer}");
        }
    }

    /// What a survey reads of a function whose role IAM answers so.
    async fn surveyed(role: fn() -> HttpResponse) -> Function {
        let answer = live("Active", &our_tags());
        let lambda = lambda([on!(Sdk::get_function, ok(answer.clone()))]);
        let iam = iam([on!(
            aws_sdk_iam::Client::get_role,
            |i| { assert_eq!(i.role_name(), Some("r")) },
            role()
        )]);
        let mut aws = lambda.cloud().for_a_survey();
        aws.iam = iam.cloud().iam.clone();
        let cx = Cx::new(Rc::new(aws), Rc::new(|_| ()));
        desired().read(&cx, &out()).await.unwrap().unwrap()
    }

    fn role(id: &str) -> HttpResponse {
        iam_ok(
            "GetRole",
            &format!(
                "<Role><Path>/</Path><RoleName>r</RoleName><RoleId>{id}</RoleId><Arn>arn:aws:iam::111122223333:role/r</Arn>\
                 <CreateDate>2026-11-22T10:00:00Z</CreateDate></Role>"
            ),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn another_role_under_the_name_of_its_own_is_drift_and_the_function_is_made_again() {
        assert_eq!(surveyed(|| role("AROA1")).await, desired());
        let other: fn() -> HttpResponse = || role("AROA2");
        let gone: fn() -> HttpResponse =
            || iam_refused(404, "NoSuchEntity", "The role with name r cannot be found.");
        for (answer, told) in [(other, Some("")), (gone, None)] {
            let live = surveyed(answer).await;
            assert_eq!(live.role_id.as_deref(), told);
            assert_eq!(differing(&live, &desired()), ["role_id"]);
        }
        assert!(Function::FIXED.contains(&"role_id"));
    }

    #[tokio::test(start_paused = true)]
    async fn variables_that_lambda_may_not_decrypt_are_not_compared() {
        let denied = json!({"Error": {"ErrorCode": "AccessDeniedException", "Message": "kms:Decrypt"}});
        let expected = Function {
            environment: None,
            ..desired()
        };
        assert_eq!(read_with("/Configuration/Environment", denied).await, expected);
    }

    #[test]
    fn no_value_of_the_environment_is_recorded_or_printed() {
        let function = with_environment(&[("DATABASE_URL", "a-value-that-nobody-sees")]);
        for text in [serde_json::to_string(&function).unwrap(), format!("{function:?}")] {
            assert!(text.contains("DATABASE_URL"), "{text}");
            assert!(!text.contains("nobody-sees"), "{text}");
        }
        assert_ne!(
            function.environment,
            with_environment(&[("DATABASE_URL", "another")]).environment
        );
    }

    /// The whole request, so that a member too many is seen as well.
    fn configured(
        changes: fn(UpdateFunctionConfigurationInputBuilder) -> UpdateFunctionConfigurationInputBuilder,
    ) -> Rule {
        on!(
            Sdk::update_function_configuration,
            |i| {
                let expected =
                    UpdateFunctionConfigurationInput::builder().function_name("user-api-1a2b3c4d-user");
                assert_eq!(*i, changes(expected).build().unwrap());
            },
            ok(json!({"LastUpdateStatus": "InProgress"}))
        )
    }

    fn uploaded(architecture: &'static str) -> Rule {
        on!(
            Sdk::update_function_code,
            |i| {
                let expected = UpdateFunctionCodeInput::builder()
                    .function_name("user-api-1a2b3c4d-user")
                    .zip_file(Blob::new("PK"))
                    .architectures(Architecture::from(architecture));
                assert_eq!(*i, expected.build().unwrap());
            },
            ok(json!({"LastUpdateStatus": "InProgress"}))
        )
    }

    fn updated(status: &'static str) -> Rule {
        let mut answer = live("Active", &our_tags());
        answer["Configuration"]["LastUpdateStatus"] = json!(status);
        answer["Configuration"]["LastUpdateStatusReason"] = json!("the reason of AWS");
        on!(Sdk::get_function, ok(answer.clone()))
    }

    #[tokio::test(start_paused = true)]
    async fn each_field_of_the_configuration_changes_alone() {
        for (before, expected) in [
            (
                Function {
                    role: "arn:old".to_owned(),
                    ..desired()
                },
                configured(|b| b.role("arn:aws:iam::111122223333:role/r")),
            ),
            (
                Function {
                    runtime: "nodejs20.x".to_owned(),
                    ..desired()
                },
                configured(|b| b.runtime(Runtime::from("nodejs22.x"))),
            ),
            (
                Function {
                    handler: "old".to_owned(),
                    ..desired()
                },
                configured(|b| b.handler("index.handler")),
            ),
            (
                Function {
                    memory_mb: 256,
                    ..desired()
                },
                configured(|b| b.memory_size(128)),
            ),
            (
                Function {
                    timeout_seconds: 900,
                    ..desired()
                },
                configured(|b| b.timeout(3)),
            ),
            (
                with_environment(&[("OLD", "1")]),
                configured(|b| {
                    b.environment(Environment::builder().set_variables(Some(HashMap::new())).build())
                }),
            ),
        ] {
            let cx = lambda([expected, updated("Successful")]);
            desired().update(&cx, &before, out()).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn variables_are_replaced_as_a_whole_also_where_the_live_ones_are_unknown() {
        let desired = with_environment(&[("A", "1"), ("B", "2")]);
        let unknown = Function {
            environment: None,
            ..desired.clone()
        };
        for before in [with_environment(&[("A", "1")]), unknown] {
            let cx = lambda([
                configured(|b| {
                    let variables =
                        [("A", "1"), ("B", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
                    b.environment(
                        Environment::builder()
                            .set_variables(Some(variables.into()))
                            .build(),
                    )
                }),
                updated("Successful"),
            ]);
            desired.update(&cx, &before, out()).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn code_is_uploaded_with_its_architecture_when_either_differs() {
        for before in [
            Function {
                code_sha256: "b2xk".to_owned(),
                ..desired()
            },
            Function {
                code_size: 3,
                ..desired()
            },
            Function {
                architecture: "x86_64".to_owned(),
                ..desired()
            },
        ] {
            let cx = lambda([uploaded("arm64"), updated("InProgress"), updated("Successful")]);
            desired().update(&cx, &before, out()).await.unwrap();
            assert_eq!(cx.waits(), ["the function's update to be Successful"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_code_waits_until_the_configuration_is_updated() {
        let before = Function {
            memory_mb: 256,
            code_sha256: "b2xk".to_owned(),
            ..desired()
        };
        let cx = lambda([
            configured(|b| b.memory_size(128)),
            updated("InProgress"),
            updated("Successful"),
            uploaded("arm64"),
            updated("Successful"),
        ]);
        assert_eq!(desired().update(&cx, &before, out()).await.unwrap().arn, ARN);
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_that_lambda_takes_back_is_an_error_with_the_reason() {
        let before = Function {
            memory_mb: 256,
            code_sha256: "b2xk".to_owned(),
            ..desired()
        };
        let cx = lambda([configured(|b| b.memory_size(128)), updated("Failed")]);
        let (_, text) = failed(desired().update(&cx, &before, out()).await);
        assert!(text.contains("the reason of AWS"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_waits_for_another_one_and_for_its_role() {
        let refuse = |status: u16, code: &'static str, message: &'static str| {
            on!(Sdk::update_function_configuration, refused(status, code, message))
        };
        let before = Function {
            memory_mb: 256,
            ..desired()
        };
        let busy = "The operation cannot be performed at this time. An update is in progress for resource: f";
        let cx = lambda([
            refuse(409, "ResourceConflictException", busy),
            refuse(400, "InvalidParameterValueException", UNASSUMABLE),
            configured(|b| b.memory_size(128)),
            updated("Successful"),
        ]);
        desired().update(&cx, &before, out()).await.unwrap();
        let waits = cx.waits();
        assert!(
            waits[0].contains(busy) && waits[1].contains(UNASSUMABLE),
            "{waits:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_that_is_gone_is_told_wherever_the_update_notices() {
        let memory = Function {
            memory_mb: 256,
            ..desired()
        };
        let code = Function {
            code_size: 3,
            ..desired()
        };
        let tags = Function {
            tags: Tags::new(),
            ..desired()
        };
        for (before, call) in [
            (memory.clone(), on!(Sdk::update_function_configuration, gone())),
            (code, on!(Sdk::update_function_code, gone())),
            (tags, on!(Sdk::tag_resource, gone())),
        ] {
            let (class, text) = failed(desired().update(&lambda([call]), &before, out()).await);
            assert_eq!(class, Some(Class::Gone));
            assert!(
                text.contains("Function not found: user-api-1a2b3c4d-user"),
                "{text}"
            );
        }
        let cx = lambda([configured(|b| b.memory_size(128)), on!(Sdk::get_function, gone())]);
        let (_, text) = failed(desired().update(&cx, &memory, out()).await);
        assert_eq!(text, "function user-api-1a2b3c4d-user is not there any more");
    }

    #[tokio::test(start_paused = true)]
    async fn only_our_tags_change() {
        let mut before = our_tags();
        before.insert(tags::STACK.to_owned(), "renamed".to_owned());
        before.insert("team".to_owned(), "a".to_owned());
        let cx = lambda([
            on!(
                Sdk::tag_resource,
                |i| {
                    let stack = HashMap::from([(tags::STACK.to_owned(), "user-api".to_owned())]);
                    assert_eq!((i.resource(), i.tags()), (Some(ARN), Some(&stack)));
                },
                ok(json!({}))
            ),
            on!(
                Sdk::untag_resource,
                |i| {
                    assert_eq!(
                        (i.resource(), i.tag_keys()),
                        (Some(ARN), &["team".to_owned()][..])
                    );
                },
                ok(json!({}))
            ),
        ]);
        let before = Function {
            tags: before,
            ..desired()
        };
        desired().update(&cx, &before, out()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_that_changes_nothing_calls_nobody() {
        desired().update(&lambda([]), &desired(), out()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_state_file_does_not_hold_is_never_sent_as_empty() {
        let record = serde_json::to_value(with_environment(&[("A", "1")])).unwrap();
        let revived: Function = serde_json::from_value(record).unwrap();
        let code = Function {
            code_size: 3,
            ..revived.clone()
        };
        let environment = Function {
            environment: Some(BTreeMap::new()),
            ..revived.clone()
        };
        for (before, words) in [
            (code, "the code of function"),
            (environment, "the values of the environment"),
        ] {
            let (_, text) = failed(revived.update(&lambda([]), &before, out()).await);
            assert!(
                text.contains(words) && text.contains("user-api-1a2b3c4d-user"),
                "{text}"
            );
        }
        let (_, text) = failed(revived.create(&lambda([])).await);
        assert!(text.contains("not at hand"), "{text}");
    }
}
