//! A Lambda function whose code is a zip.
//!
//! Must not make its role or its log group, nor say who may invoke it.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use aws_sdk_lambda::operation::get_function::GetFunctionOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Architecture, FunctionCode, Runtime, State};
use serde::{Deserialize, Serialize};

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
    /// Including the owner.
    pub tags: Tags,
    /// The code itself. Not recorded, so a resource that comes from the state file cannot be created.
    #[serde(skip)]
    pub code: Code,
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

/// What Lambda answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {
    /// The function's ARN.
    pub arn: String,
}

impl Function {
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
            tags: tags::managed(&self.tags, tags::pairs(answer.tags())),
            code: self.code.clone(),
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &Output) -> Result<()> {
        let delete = || cx.cloud().lambda.delete_function().function_name(&self.name).send();
        unless_gone(cx.call("lambda:DeleteFunction", delete).await)?;
        Ok(())
    }
}
