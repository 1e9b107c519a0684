//! The questions to Lambda, IAM and CloudWatch Logs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_sdk_apigateway::types::IntegrationType;
use aws_sdk_lambda::config::Credentials;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, Runtime};
use provision::aws::errors::call_error;
use provision::resource::Class;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::ask_gateway::{api, method, redeploy, status};
use super::hour::Hour;
use super::questions::{Answer, after_refusals, answer, code, shown, within};
use super::report::Verdict;
use super::story::operator;

const MINUTE: Duration = Duration::from_mins(1);

/// A role for functions: its ARN.
async fn role(hour: &Hour, name: &str) -> Result<String> {
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"},
    }]});
    let mut create = hour
        .iam
        .create_role()
        .role_name(name)
        .assume_role_policy_document(trust.to_string());
    for (key, value) in hour.tags() {
        create = create.tags(aws_sdk_iam::types::Tag::builder().key(key).value(value).build()?);
    }
    Ok(create.send().await?.role.context("IAM describes the role")?.arn)
}

/// A function of the questions'.
struct Function {
    name: String,
    arn: String,
    /// Seconds from the answer to CreateRole.
    seconds: f64,
    /// What it was refused with before.
    refused: Vec<(String, Class)>,
    /// The state in the answer.
    state: String,
}

/// A function whose role is new.
async fn function(hour: &Hour, name: &str, variables: &[(&str, &str)]) -> Result<Function> {
    let name = format!("{}-{name}", hour.stack);
    let role = role(hour, &name).await?;
    let code_of = b"export const handler = async () => ({ statusCode: 200, body: 'ok' });";
    let zip = provision::package::Package::from_files(&[("index.mjs", code_of)])?.zip;
    let variables: HashMap<_, _> = variables
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut refused = Vec::new();
    let create = async || {
        let create = hour
            .lambda
            .create_function()
            .function_name(&name)
            .role(&role)
            .handler("index.handler");
        let create = create.code(FunctionCode::builder().zip_file(Blob::new(zip.clone())).build());
        let environment = (!variables.is_empty()).then(|| {
            Environment::builder()
                .set_variables(Some(variables.clone()))
                .build()
        });
        let create = create
            .runtime(Runtime::from("nodejs22.x"))
            .set_environment(environment);
        match create
            .set_tags(Some(hour.tags().into_iter().collect()))
            .send()
            .await
        {
            Ok(made) => Ok(Some(made)),
            Err(error) => {
                refused.push((code(&error), call_error("lambda:CreateFunction", &error).class));
                Ok(None)
            }
        }
    };
    let made = hour.until(5 * MINUTE, create).await?;
    refused.dedup();
    let Some((made, seconds)) = made else {
        bail!("the function was refused for 5 minutes: {refused:?}");
    };
    let state = made
        .state()
        .map_or("none", aws_sdk_lambda::types::State::as_str)
        .to_owned();
    Ok(Function {
        name,
        arn: made.function_arn.context("it has an ARN")?,
        seconds,
        refused,
        state,
    })
}

async fn is_active(hour: &Hour, name: &str) -> Result<()> {
    let active = async || {
        let live = hour
            .lambda
            .get_function_configuration()
            .function_name(name)
            .send()
            .await;
        let active = live.is_ok_and(|live| {
            live.state().is_none_or(|state| state.as_str() == "Active")
                && live
                    .last_update_status()
                    .is_none_or(|status| status.as_str() == "Successful")
        });
        Ok(active.then_some(()))
    };
    hour.until(5 * MINUTE, active)
        .await?
        .context("the function was not active after 5 minutes")?;
    Ok(())
}

async fn permit(hour: &Hour, function: &str, source: &str) -> Result<(), String> {
    let add = hour
        .lambda
        .add_permission()
        .function_name(function)
        .statement_id("questions");
    let add = add
        .action("lambda:InvokeFunction")
        .principal("apigateway.amazonaws.com")
        .source_arn(source);
    add.send().await.map(drop).map_err(|error| code(&error))
}

pub(super) async fn new_role(hour: &Hour) -> Result<Answer> {
    let made = function(hour, "role", &[]).await?;
    let agrees = made.refused.iter().all(|(_, class)| *class == Class::NotReady);
    let refused: Vec<String> = made.refused.iter().map(|(refused, _)| refused.clone()).collect();
    let mut said = within(after_refusals(&refused), made.seconds, 600.0);
    if !agrees {
        said.verdict = Verdict::Differs;
    }
    Ok(said)
}

pub(super) async fn pending(hour: &Hour) -> Result<Answer> {
    let made = function(hour, "pending", &[]).await?;
    let source = format!("{}/*", made.arn.replace(":lambda:", ":execute-api:"));
    let permitted = permit(hour, &made.name, &source).await;
    let found = hour
        .lambda
        .get_function()
        .function_name(&made.name)
        .send()
        .await
        .map_err(|error| code(&error));
    let answered = |result: Result<(), String>| result.err().unwrap_or_else(|| "accepted".to_owned());
    let agrees = permitted.is_ok() && found.is_ok();
    Ok(answer(
        format!(
            "state {} in the answer; AddPermission at once: {}; GetFunction at once: {}",
            made.state,
            answered(permitted),
            answered(found.map(drop))
        ),
        // Both are repeated for 2 minutes where they are refused as not there.
        agrees
            || hour
                .until(2 * MINUTE, async || {
                    Ok(hour
                        .lambda
                        .get_function()
                        .function_name(&made.name)
                        .send()
                        .await
                        .ok()
                        .map(drop))
                })
                .await?
                .is_some(),
    ))
}

pub(super) async fn same_function(hour: &Hour) -> Result<Answer> {
    let made = function(hour, "same", &[]).await?;
    let live = hour
        .lambda
        .get_function_configuration()
        .function_name(&made.name)
        .send()
        .await?;
    let zip = provision::package::Package::from_files(&[("index.mjs", b"")])?.zip;
    let create = hour
        .lambda
        .create_function()
        .function_name(&made.name)
        .role(live.role().unwrap_or_default());
    let create = create
        .handler("index.handler")
        .runtime(Runtime::from("nodejs22.x"));
    Ok(
        match create
            .code(FunctionCode::builder().zip_file(Blob::new(zip)).build())
            .send()
            .await
        {
            Ok(_) => answer("accepted", false),
            Err(error) => {
                let class = call_error("lambda:CreateFunction", &error).class;
                answer(
                    format!("{}; in class {class:?}", code(&error)),
                    class == Class::Taken,
                )
            }
        },
    )
}

pub(super) async fn new_permission(hour: &Hour) -> Result<Answer> {
    let api = api(hour).await?;
    let made = function(hour, "permission", &[]).await?;
    is_active(hour, &made.name).await?;
    let (resource, verb) = method(hour, api, "function", "a").await?;
    let uri = format!(
        "arn:{}:apigateway:{}:lambda:path/2015-03-31/functions/{}/invocations",
        hour.identity.partition, hour.identity.region, made.arn
    );
    let put = hour
        .apigateway
        .put_integration()
        .rest_api_id(&api.id)
        .resource_id(resource)
        .http_method(verb);
    let put = put
        .r#type(IntegrationType::AwsProxy)
        .integration_http_method("POST")
        .uri(uri);
    put.send().await?;
    redeploy(hour, &api.id).await?;
    let deployed = async || Ok(Some(status(hour, api, "function").await?).filter(|status| *status != 403));
    let (before, _) = hour
        .until(5 * MINUTE, deployed)
        .await?
        .context("the route was not served")?;
    let source = format!(
        "arn:{}:execute-api:{}:{}:{}/q/*",
        hour.identity.partition, hour.identity.region, hour.identity.account, api.id
    );
    if let Err(refused) = permit(hour, &made.name, &source).await {
        bail!("{refused}");
    }
    let ask = async || Ok((status(hour, api, "function").await? == 200).then_some(()));
    Ok(match hour.until(5 * MINUTE, ask).await? {
        Some((_, seconds)) => within(
            format!("{before} without the permission; then 200"),
            seconds,
            60.0,
        ),
        None => answer("not within 5 minutes", false),
    })
}

pub(super) async fn function_gone(hour: &Hour) -> Result<Answer> {
    let made = function(hour, "gone", &[]).await?;
    is_active(hour, &made.name).await?;
    hour.lambda
        .delete_function()
        .function_name(&made.name)
        .send()
        .await?;
    let gone = async || {
        let found = hour.lambda.get_function().function_name(&made.name).send().await;
        Ok(found.err().map(|error| code(&error)))
    };
    Ok(match hour.until(10 * MINUTE, gone).await? {
        Some((said, seconds)) => within(said, seconds, 600.0),
        None => answer("still there", false),
    })
}

pub(super) async fn log_group(hour: &Hour) -> Result<Answer> {
    let name = format!("/aws/lambda/{}-lag", hour.stack);
    let create = || {
        let tags = hour.tags().into_iter().collect();
        hour.logs
            .create_log_group()
            .log_group_name(&name)
            .set_tags(Some(tags))
            .send()
    };
    create().await?;
    let listed = async || {
        let found = hour
            .logs
            .describe_log_groups()
            .log_group_name_prefix(&name)
            .send()
            .await?;
        Ok((!found.log_groups().is_empty()).then_some(()))
    };
    let listed = hour.until(MINUTE, listed).await?;
    let again = create()
        .await
        .err()
        .map_or("accepted".to_owned(), |error| code(&error));
    Ok(match listed {
        Some((_, seconds)) => within(format!("made again: {again}"), seconds, 3.0),
        None => answer("not within a minute", false),
    })
}

/// Whether the function runs; else what Lambda says.
async fn invoked(hour: &Hour, name: &str) -> Result<Option<String>> {
    Ok(match hour.lambda.invoke().function_name(name).send().await {
        Ok(answer) => answer.function_error,
        Err(error) => Some(code(&error)),
    })
}

pub(super) async fn role_again(hour: &Hour) -> Result<Answer> {
    let made = function(hour, "again", &[("TABLE", "orders")]).await?;
    is_active(hour, &made.name).await?;
    if let Some(said) = invoked(hour, &made.name).await? {
        bail!("the function does not run: {said}");
    }
    hour.iam.delete_role().role_name(&made.name).send().await?;
    let arn = role(hour, &made.name).await?;
    let broken = hour
        .until(3 * MINUTE, async || invoked(hour, &made.name).await)
        .await?;
    let Some((said, seconds)) = broken else {
        bail!("the function still runs after 3 minutes");
    };
    // `up` makes the function again; this would be less.
    let update = hour
        .lambda
        .update_function_configuration()
        .function_name(&made.name)
        .role(&arn);
    let environment = Environment::builder().variables("TABLE", "orders").build();
    update.environment(environment).send().await?;
    let cured = async || Ok(invoked(hour, &made.name).await?.is_none().then_some(()));
    let cured = hour.until(5 * MINUTE, cured).await?.is_some();
    let text = format!("breaks with {said}; the same configuration sent again would do as well: {cured}");
    Ok(Answer {
        seconds: Some(seconds),
        ..answer(text, true)
    })
}

pub(super) async fn role_read(hour: &Hour) -> Result<Answer> {
    let name = format!("{}-read", hour.stack);
    role(hour, &name).await?;
    let mut said = Vec::new();
    let read = async || {
        let found = hour.iam.get_role().role_name(&name).send().await;
        let told = match found {
            Ok(found) => found.role.map_or("no role".to_owned(), |role| {
                let is_arn = role.arn.starts_with("arn:");
                let tags = role.tags().len();
                if is_arn && tags == 2 {
                    String::new()
                } else {
                    format!("an ARN: {is_arn}, tags: {tags}")
                }
            }),
            Err(error) => code(&error),
        };
        if told.is_empty() {
            return Ok(Some(()));
        }
        said.push(told);
        Ok(None)
    };
    let read = hour.until(3 * MINUTE, read).await?;
    said.dedup();
    Ok(match read {
        Some((_, seconds)) if said.is_empty() => within("at once".to_owned(), seconds, 120.0),
        Some((_, seconds)) => within(format!("before that: {}", said.join("; ")), seconds, 120.0),
        None => answer(format!("not within 3 minutes: {}", said.join("; ")), false),
    })
}

/// Lambda as whoever has assumed a role sees it.
fn lambda_of(hour: &Hour, credentials: &[SecretString; 3]) -> aws_sdk_lambda::Client {
    let [key, secret, token] = credentials.each_ref().map(ExposeSecret::expose_secret);
    let credentials = Credentials::new(key, secret, Some(token.to_owned()), None, "assumed");
    let config = hour
        .lambda
        .config()
        .to_builder()
        .credentials_provider(credentials);
    aws_sdk_lambda::Client::from_conf(config.build())
}

fn may(actions: &[&str]) -> serde_json::Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]})
}

pub(super) async fn hidden_tags(hour: &Hour) -> Result<Answer> {
    if !hour.checks_rights() {
        bail!("not asked: this sandbox does not check rights");
    }
    let made = function(hour, "tags", &[]).await?;
    let role = format!("{}-no-tags", hour.stack);
    let lambda = lambda_of(hour, &operator(hour, &role, &may(&["lambda:GetFunction"])).await?);
    let get = async || Ok(lambda.get_function().function_name(&made.name).send().await.ok());
    let (found, _) = hour
        .until(3 * MINUTE, get)
        .await?
        .context("GetFunction was refused for 3 minutes")?;
    let (tags, error) = (found.tags().map(HashMap::len), found.tags_error().is_some());
    Ok(answer(
        format!("{}, TagsError: {error}", shown(tags, "number of tags")),
        tags.is_none(),
    ))
}

pub(super) async fn policy_flaps(hour: &Hour) -> Result<Answer> {
    if !hour.checks_rights() {
        bail!("not asked: this sandbox does not check rights");
    }
    let made = function(hour, "flaps", &[]).await?;
    let role = format!("{}-flapping", hour.stack);
    let lambda = lambda_of(
        hour,
        &operator(hour, &role, &may(&["lambda:GetAccountSettings"])).await?,
    );
    let put = hour
        .iam
        .put_role_policy()
        .role_name(&role)
        .policy_name("operator");
    put.policy_document(may(&["lambda:GetFunction"]).to_string())
        .send()
        .await?;
    let began = Instant::now();
    let mut changes: Vec<(bool, u64)> = Vec::new();
    let most = if hour.is_sandbox() {
        Duration::from_secs(1)
    } else {
        2 * MINUTE
    };
    while began.elapsed() < most {
        super::hour::check()?;
        let allowed = lambda
            .get_function()
            .function_name(&made.name)
            .send()
            .await
            .is_ok();
        if changes.last().is_none_or(|(last, _)| *last != allowed) {
            changes.push((allowed, began.elapsed().as_secs()));
        }
        tokio::time::sleep(most / 120).await;
    }
    let last = changes.last().copied().context("it was asked")?;
    let told: Vec<String> = (changes.iter())
        .map(|(allowed, second)| {
            format!(
                "{} from second {second}",
                if *allowed { "allowed" } else { "denied" }
            )
        })
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "seconds of two minutes")]
    let seconds = last.1 as f64;
    let mut said = within(told.join(", "), seconds, 60.0);
    if !last.0 {
        said.verdict = Verdict::Differs;
    }
    Ok(said)
}
