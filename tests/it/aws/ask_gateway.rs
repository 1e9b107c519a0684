//! The questions to API Gateway.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_sdk_apigateway::types::{
    AuthorizerType, EndpointConfiguration, EndpointType, IntegrationType, Op, PatchOperation,
};
use aws_smithy_types::retry::RetryConfig;
use secrecy::SecretString;

use super::ask_cognito::{client, pool, token};
use super::hour::Hour;
use super::questions::{Answer, answer, code, shown, within};

const MINUTE: Duration = Duration::from_mins(1);
const STAGE: &str = "q";

/// A REST API of the questions', on a stage, with an authorizer whose time to live is AWS's default.
pub(super) struct Api {
    pub id: String,
    root: String,
    authorizer: String,
    /// Seconds from the answer to CreateStage until the stage first answered as deployed.
    answered: f64,
    /// Tokens with one scope each.
    a: SecretString,
    b: SecretString,
}

/// The API that most questions use, made for the first of them: `GET /a` and `GET /b`, with the scope of that name.
pub(super) async fn api(hour: &Hour) -> Result<&Api> {
    hour.api.get_or_try_init(|| Box::pin(new_api(hour))).await
}

async fn bare_api(hour: &Hour, name: &str) -> Result<(String, String)> {
    let endpoint = EndpointConfiguration::builder()
        .types(EndpointType::Regional)
        .build();
    let create = hour
        .apigateway
        .create_rest_api()
        .name(format!("{}-{name}", hour.stack));
    let create = create
        .endpoint_configuration(endpoint)
        .set_tags(Some(hour.tags().into_iter().collect()));
    let made = create.send().await?;
    Ok((
        made.id.context("it has an id")?,
        made.root_resource_id.context("it has a root")?,
    ))
}

async fn authorizer(hour: &Hour, api: &str, name: &str, ttl: Option<i32>) -> Result<String> {
    let create = hour.apigateway.create_authorizer().rest_api_id(api).name(name);
    let create = create
        .r#type(AuthorizerType::CognitoUserPools)
        .provider_arns(&pool(hour).await?.arn);
    let create = create.identity_source("method.request.header.Authorization");
    let made = create.set_authorizer_result_ttl_in_seconds(ttl).send().await?;
    made.id.context("it has an id")
}

async fn new_api(hour: &Hour) -> Result<Api> {
    let pool = pool(hour).await?;
    let made = client(hour, &pool.id, &["q/a", "q/b"]).await?;
    let (a, b) = (
        token(hour, &pool.prefix, &made, &["q/a"]).await?,
        token(hour, &pool.prefix, &made, &["q/b"]).await?,
    );
    let (id, root) = bare_api(hour, "q").await?;
    let authorizer = authorizer(hour, &id, "q", None).await?;
    let mut api = Api {
        id,
        root,
        authorizer,
        answered: 0.0,
        a,
        b,
    };
    for path in ["a", "b"] {
        let (resource, verb) = method(hour, &api, path, path).await?;
        mock(hour, &api.id, &resource, &verb).await?;
    }
    let deployment = deploy(hour, &api.id).await?;
    let stage = hour
        .apigateway
        .create_stage()
        .rest_api_id(&api.id)
        .stage_name(STAGE);
    stage.deployment_id(deployment).send().await?;
    let url = hour.api_url(&api.id, STAGE);
    let ask = async || {
        // The host may not be known at once.
        let answer = hour.get(&format!("{url}/a"), Some(&api.a)).await;
        Ok(answer.is_ok_and(|(status, _)| status == 200).then_some(()))
    };
    let answered = hour.until(5 * MINUTE, ask).await?;
    let (_, answered) = answered.context("the new stage did not answer within 5 minutes")?;
    api.answered = answered;
    Ok(api)
}

/// `GET /<path>` for tokens with the scope `q/<scope>`: the path's id and the verb.
pub(super) async fn method(hour: &Hour, api: &Api, path: &str, scope: &str) -> Result<(String, String)> {
    let resource = hour
        .apigateway
        .create_resource()
        .rest_api_id(&api.id)
        .parent_id(&api.root);
    let resource = resource
        .path_part(path)
        .send()
        .await?
        .id
        .context("a path has an id")?;
    let put = hour
        .apigateway
        .put_method()
        .rest_api_id(&api.id)
        .resource_id(&resource)
        .http_method("GET");
    let put = put
        .authorization_type("COGNITO_USER_POOLS")
        .authorizer_id(&api.authorizer);
    put.authorization_scopes(format!("q/{scope}")).send().await?;
    Ok((resource, "GET".to_owned()))
}

/// API Gateway answers by itself.
async fn mock(hour: &Hour, api: &str, resource: &str, verb: &str) -> Result<()> {
    let gateway = &hour.apigateway;
    let put = gateway
        .put_integration()
        .rest_api_id(api)
        .resource_id(resource)
        .http_method(verb);
    let put = put.r#type(IntegrationType::Mock);
    put.request_templates("application/json", "{\"statusCode\": 200}")
        .send()
        .await?;
    let put = gateway
        .put_method_response()
        .rest_api_id(api)
        .resource_id(resource)
        .http_method(verb);
    put.status_code("200").send().await?;
    let put = gateway
        .put_integration_response()
        .rest_api_id(api)
        .resource_id(resource)
        .http_method(verb);
    put.status_code("200")
        .response_templates("application/json", "{\"ok\": true}")
        .send()
        .await?;
    Ok(())
}

pub(super) async fn deploy(hour: &Hour, api: &str) -> Result<String> {
    let made = hour
        .apigateway
        .create_deployment()
        .rest_api_id(api)
        .description("questions")
        .send()
        .await?;
    made.id.context("a deployment has an id")
}

/// Puts a new deployment on the stage.
pub(super) async fn redeploy(hour: &Hour, api: &str) -> Result<()> {
    let deployment = deploy(hour, api).await?;
    let patch = PatchOperation::builder()
        .op(Op::Replace)
        .path("/deploymentId")
        .value(deployment)
        .build();
    let update = hour.apigateway.update_stage().rest_api_id(api).stage_name(STAGE);
    update.patch_operations(patch).send().await?;
    Ok(())
}

/// The status of a GET of the shared API with the token that has the scope `q/a`.
pub(super) async fn status(hour: &Hour, api: &Api, path: &str) -> Result<u16> {
    Ok(hour
        .get(&format!("{}/{path}", hour.api_url(&api.id, STAGE)), Some(&api.a))
        .await?
        .0)
}

pub(super) async fn new_stage(hour: &Hour) -> Result<Answer> {
    let api = api(hour).await?;
    let most = provision::verify::DEADLINE.as_secs_f64();
    Ok(within("200 from the new stage".to_owned(), api.answered, most))
}

pub(super) async fn redeployed(hour: &Hour) -> Result<Answer> {
    let api = api(hour).await?;
    let (resource, verb) = method(hour, api, "c", "a").await?;
    mock(hour, &api.id, &resource, &verb).await?;
    redeploy(hour, &api.id).await?;
    let began = Instant::now();
    let (mut first, mut last_old) = (None, 0.0);
    // Long enough after the last old answer that no more of them are to be expected.
    let (quiet, most) = if hour.is_sandbox() {
        (0.2, 2.0)
    } else {
        (45.0, 300.0)
    };
    while began.elapsed().as_secs_f64() < most {
        super::hour::check()?;
        let now = began.elapsed().as_secs_f64();
        if status(hour, api, "c").await? == 200 {
            first = first.or(Some(now));
        } else {
            last_old = now;
        }
        if first.is_some_and(|first| now - f64::max(first, last_old) > quiet) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(if hour.is_sandbox() { 20 } else { 500 })).await;
    }
    let Some(first) = first else {
        return Ok(answer("the old deployment still answers", false));
    };
    let most = provision::verify::DEADLINE.as_secs_f64();
    Ok(within(
        format!("the new one first answered after {first:.1} s; the old one last"),
        last_old,
        most,
    ))
}

pub(super) async fn refusals(hour: &Hour) -> Result<Answer> {
    let api = api(hour).await?;
    let url = hour.api_url(&api.id, STAGE);
    let none = hour.get(&format!("{url}/a"), None).await?;
    let other = hour.get(&format!("{url}/a"), Some(&api.b)).await?;
    let nowhere = hour.get(&format!("{url}/nowhere"), Some(&api.a)).await?;
    let unauthorized = (401, r#"{"message":"Unauthorized"}"#.to_owned());
    let missing = (403, r#"{"message":"Missing Authentication Token"}"#.to_owned());
    let agrees = none == unauthorized && other == unauthorized && nowhere == missing;
    Ok(answer(
        format!(
            "no token: {} {}; another scope: {} {}; no such path: {} {}",
            none.0, none.1, other.0, other.1, nowhere.0, nowhere.1
        ),
        agrees,
    ))
}

pub(super) async fn authorizer_ttl(hour: &Hour) -> Result<Answer> {
    let api = api(hour).await?;
    let get = |id: String| {
        hour.apigateway
            .get_authorizer()
            .rest_api_id(&api.id)
            .authorizer_id(id)
            .send()
    };
    let unset = get(api.authorizer.clone())
        .await?
        .authorizer_result_ttl_in_seconds;
    let zero = authorizer(hour, &api.id, "zero", Some(0)).await?;
    let zero = get(zero).await?.authorizer_result_ttl_in_seconds;
    let agrees = zero == Some(0) && [None, Some(300)].contains(&unset);
    Ok(answer(
        format!(
            "sent 0: {}; sent none: {}",
            shown(zero, "time"),
            shown(unset, "time")
        ),
        agrees,
    ))
}

pub(super) async fn authorizer_cache(hour: &Hour) -> Result<Answer> {
    let api = api(hour).await?;
    let mut answers = Vec::new();
    // The second time the first answer may come from a cache.
    for path in ["a", "a", "b", "b", "b"] {
        answers.push(status(hour, api, path).await?);
    }
    Ok(answer(
        format!("/a, /a, /b, /b, /b with the scope of /a alone: {answers:?}"),
        answers == [200, 200, 401, 401, 401],
    ))
}

pub(super) async fn root_counts(hour: &Hour) -> Result<Answer> {
    let (api, root) = bare_api(hour, "many").await?;
    let (mut made, mut refused) = (0, None);
    while made < 310 && refused.is_none() {
        super::hour::check()?;
        let create = hour
            .apigateway
            .create_resource()
            .rest_api_id(&api)
            .parent_id(&root);
        let own_retries = aws_sdk_apigateway::config::Builder::new().retry_config(RetryConfig::disabled());
        let create = create
            .path_part(format!("r{made}"))
            .customize()
            .config_override(own_retries);
        match create.send().await {
            Ok(_) => made += 1,
            Err(error) => {
                let call = provision::aws::errors::call_error("apigateway:CreateResource", &error);
                if call.code.as_deref() == Some("TooManyRequestsException") {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                } else {
                    refused = Some(code(&error));
                }
            }
        }
    }
    Ok(match refused {
        // The preflight warns above 299.
        Some(refused) => {
            let counts = made == 299;
            answer(
                format!("{made} below the root, then {refused}; the root counts: {counts}"),
                made >= 299,
            )
        }
        None => bail!("no limit was met at {made}"),
    })
}

pub(super) async fn path_characters(hour: &Hour) -> Result<Answer> {
    let (api, root) = bare_api(hour, "paths").await?;
    let mut told = Vec::new();
    for part in ["a-b_c.d", "a,b", "a:b"] {
        let create = hour
            .apigateway
            .create_resource()
            .rest_api_id(&api)
            .parent_id(&root)
            .path_part(part);
        let result = create
            .send()
            .await
            .map_or_else(|error| code(&error), |_| "accepted".to_owned());
        told.push(format!("{part}: {result}"));
    }
    let agrees = told.iter().all(|part| part.ends_with("accepted"));
    Ok(answer(told.join("; "), agrees))
}

pub(super) async fn delete_rate(hour: &Hour) -> Result<Answer> {
    let (one, _) = bare_api(hour, "one").await?;
    let (two, _) = bare_api(hour, "two").await?;
    let delete = async |api: &str| {
        let own_retries = aws_sdk_apigateway::config::Builder::new().retry_config(RetryConfig::disabled());
        let delete = hour.apigateway.delete_rest_api().rest_api_id(api);
        delete.customize().config_override(own_retries).send().await
    };
    for api in [&one, &two] {
        if let Err(error) = delete(api).await {
            let call = provision::aws::errors::call_error("apigateway:DeleteRestApi", &error);
            let agrees = call.class == provision::resource::Class::Throttle;
            return Ok(answer(
                format!(
                    "{}, {}",
                    code(&error),
                    shown(call.retry_after.map(|time| time.as_secs()), "Retry-After")
                ),
                agrees,
            ));
        }
    }
    Ok(answer("two deletions at once are accepted", true))
}

pub(super) async fn lists(hour: &Hour) -> Result<Answer> {
    let (api, root) = bare_api(hour, "lag").await?;
    let listed = async || {
        let mut apis = hour
            .apigateway
            .get_rest_apis()
            .limit(500)
            .into_paginator()
            .items()
            .send();
        while let Some(found) = apis.try_next().await? {
            if found.id() == Some(&api) {
                return Ok(found.tags().is_some_and(|tags| tags.len() == 2).then_some(()));
            }
        }
        Ok(None)
    };
    let apis = hour.until(MINUTE, listed).await?;
    let put = hour
        .apigateway
        .put_method()
        .rest_api_id(&api)
        .resource_id(&root)
        .http_method("GET");
    put.authorization_type("AWS_IAM").send().await?;
    mock(hour, &api, &root, "GET").await?;
    deploy(hour, &api).await?;
    let listed = async || {
        let found = hour.apigateway.get_deployments().rest_api_id(&api).send().await?;
        Ok((!found.items().is_empty()).then_some(()))
    };
    let deployments = hour.until(MINUTE, listed).await?;
    let (Some((_, apis)), Some((_, deployments))) = (apis, deployments) else {
        return Ok(answer("not within a minute", false));
    };
    Ok(within(
        format!("APIs with their tags {apis:.1} s, deployments {deployments:.1} s"),
        apis.max(deployments),
        3.0,
    ))
}
