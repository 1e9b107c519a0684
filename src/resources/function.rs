//! A Lambda function whose code is a zip.
//!
//! Must not make its role or its log group, nor say who may invoke it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use aws_sdk_lambda::operation::get_function::GetFunctionOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Architecture, Environment, FunctionCode, Runtime, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::aws::Aws;
use crate::aws::tags::{self, Tags};
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Resource, Result, Stranger};

/// Terraform waits as long for a function to become Active.
const ACTIVE_DEADLINE: Duration = Duration::from_mins(10);

/// A Lambda function. Names are unique in the account and region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// 1 to 64 characters.
    pub name: String,
    /// The ARN of the role that it runs as.
    pub role: String,
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
    /// Its environment variables: name to [`fingerprint`] of the value.
    pub environment: BTreeMap<String, String>,
    /// Including the owner.
    pub tags: Tags,
    /// The code itself. Not recorded, so a resource that comes from the state file cannot be created.
    #[serde(skip)]
    pub code: Code,
    /// The values of `environment`. Not recorded, like the code.
    #[serde(skip)]
    pub variables: Variables,
}

/// The zip that `code_sha256` is the hash of; equal to any other, as the hash tells them apart.
#[derive(Clone, Default)]
pub struct Code(pub Rc<Vec<u8>>);

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
pub struct Output {
    /// The function's ARN.
    pub arn: String,
}

impl Function {
    fn environment(&self) -> Environment {
        let plain =
            self.variables.0.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
        Environment::builder().set_variables(Some(plain.collect())).build()
    }

    async fn get(&self, cx: &Cx<Aws>) -> Result<Option<GetFunctionOutput>> {
        let get = || cx.cloud().lambda.get_function().function_name(&self.name).send();
        Ok(unless_gone(cx.call("lambda:GetFunction", get).await)?)
    }

    /// A function cannot be invoked, nor changed, while it is Pending.
    async fn wait_until_active(&self, cx: &Cx<Aws>) -> Result<Output> {
        cx.wait_for("the function to become Active", ACTIVE_DEADLINE, || async {
            let Some(configuration) = self.get(cx).await?.and_then(|answer| answer.configuration) else {
                return Ok(None);
            };
            match configuration.state() {
                Some(State::Failed) => bail!(
                    "Lambda could not set the function up: {}",
                    configuration.state_reason().unwrap_or("it gave no reason")
                ),
                Some(State::Pending) => Ok(None),
                _ => {
                    let arn = configuration.function_arn.context("lambda:GetFunction answered no ARN")?;
                    Ok(Some(Output { arn }))
                }
            }
        })
        .await
    }
}


impl Resource for Function {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static str = "function";
    const FIXED: &'static [&'static str] = &[
        "name",
        "role",
        "runtime",
        "handler",
        "architecture",
        "memory_mb",
        "timeout_seconds",
        "code_sha256",
        "tags",
    ];

    fn id(&self, _: &Output) -> String {
        self.name.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let Some(answer) = self.get(cx).await? else {
            return Ok(None);
        };
        if !tags::are_ours(&self.tags, tags::pairs(answer.tags())) {
            return Err(Stranger { what: format!("Lambda function {}", self.name) }.into());
        }
        self.wait_until_active(cx).await.map(Some)
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let code = FunctionCode::builder().zip_file(Blob::new(self.code.0.as_slice())).build();
        let create = || {
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
                .environment(self.environment())
                .set_tags(Some(tags::map(&self.tags)))
                .send()
        };
        cx.call("lambda:CreateFunction", create).await?;
        self.wait_until_active(cx).await
    }

    async fn read(&self, cx: &Cx<Aws>, _: &Output) -> Result<Option<Self>> {
        let Some(answer) = self.get(cx).await? else {
            return Ok(None);
        };
        let live = answer.configuration().context("lambda:GetFunction answered no configuration")?;
        Ok(Some(Self {
            name: self.name.clone(),
            role: live.role().unwrap_or_default().to_owned(),
            runtime: live.runtime().map_or("", Runtime::as_str).to_owned(),
            handler: live.handler().unwrap_or_default().to_owned(),
            architecture: live.architectures().first().map_or("x86_64", Architecture::as_str).to_owned(),
            memory_mb: live.memory_size().unwrap_or_default(),
            timeout_seconds: live.timeout().unwrap_or_default(),
            code_sha256: live.code_sha256().unwrap_or_default().to_owned(),
            code_size: live.code_size(),
            environment: live
                .environment()
                .and_then(|environment| environment.variables())
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), fingerprint(&self.name, name, value)))
                .collect(),
            tags: tags::managed(&self.tags, tags::pairs(answer.tags())),
            code: self.code.clone(),
            variables: self.variables.clone(),
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        let delete = || cx.cloud().lambda.delete_function().function_name(&self.name).send();
        unless_gone(cx.call("lambda:DeleteFunction", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_lambda::Client as Sdk;
    use aws_smithy_mocks::Rule;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;
    use crate::aws::test_support::{
        always, failed, lambda, ok, on, our_tags, our_tags_and_more, refused, strangers_tags,
    };
    use crate::resource::{Class, is_stranger};

    const ARN: &str = "arn:aws:lambda:eu-central-1:111122223333:function:user-api-1a2b3c4d-user";
    const UNASSUMABLE: &str = "The role defined for the function cannot be assumed by Lambda.";

    fn desired() -> Function {
        Function {
            name: "user-api-1a2b3c4d-user".to_owned(),
            role: "arn:aws:iam::111122223333:role/r".to_owned(),
            runtime: "nodejs22.x".to_owned(),
            handler: "index.handler".to_owned(),
            architecture: "arm64".to_owned(),
            memory_mb: 128,
            timeout_seconds: 3,
            code_sha256: "aGFzaA==".to_owned(),
            tags: our_tags(),
            code: Code(Rc::new(b"PK".to_vec())),
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
        refused(404, "ResourceNotFoundException", "Function not found: user-api-1a2b3c4d-user")
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
        let cx = lambda([
            on!(Sdk::get_function, gone()),
            on!(Sdk::get_function, gone()),
            on!(Sdk::delete_function, |i| { assert_eq!(i.function_name(), Some("user-api-1a2b3c4d-user")) }, gone()),
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
        assert!(is_stranger(&error) && error.to_string().contains("user-api-1a2b3c4d-user"), "{error:#}");
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
                    assert_eq!(i.tags(), Some(&tags::map(&our_tags())));
                },
                ok(live("Pending", &our_tags())["Configuration"].clone())
            ),
            get("Pending"),
            get("Active"),
        ]);
        assert_eq!(desired().create(&cx).await.unwrap().arn, ARN);
        let waits = cx.waits();
        assert_eq!(waits.len(), 4, "{waits:?}");
        assert!(waits[0].contains("lambda:CreateFunction") && waits[0].contains(UNASSUMABLE), "{waits:?}");
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
    async fn another_wrong_parameter_fails_at_once() {
        let cx = lambda([refuse_create("Could not unzip uploaded file. Please check your file, then try again.")]);
        assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Refused));
        assert!(cx.waits().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_taken_name_is_told_as_taken() {
        let cx = lambda([on!(
            Sdk::create_function,
            refused(409, "ResourceConflictException", "Function already exist: user-api-1a2b3c4d-user")
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

    #[tokio::test(start_paused = true)]
    async fn what_somebody_changed_is_drift() {
        for (field, other) in [
            ("CodeSha256", json!("b3RoZXI=")),
            ("Role", json!("arn:aws:iam::111122223333:role/admin")),
            ("MemorySize", json!(256)),
            ("Timeout", json!(900)),
            ("Handler", json!("other.handler")),
        ] {
            let mut answer = live("Active", &our_tags());
            answer["Configuration"][field] = other;
            let cx = lambda([on!(Sdk::get_function, ok(answer.clone()))]);
            assert_ne!(desired().read(&cx, &out()).await.unwrap(), Some(desired()), "{field}");
        }
    }
}
