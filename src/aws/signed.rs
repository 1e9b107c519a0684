//! Calls of the services whose crates are not here, put together from the SDK's own parts: each crate takes minutes to
//! compile, for one or two calls.
//!
//! Must not know what an operation is for.

use std::fmt;

use aws_config::SdkConfig;
use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime::client::orchestrator::operation::{Operation, OperationBuilder};
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::ErrorMetadata;
use aws_types::SigningName;
use aws_types::region::{Region, SigningRegion};
use serde_json::Value;

use super::call_log::CallLog;
use super::fenced::Attempts;
use super::http::{ReadsGiveUp, ThrottlesArePaced};

/// How a call of a service ends, as with the SDK's own clients.
pub type Answer<T> = Result<T, SdkError<ErrorMetadata, HttpResponse>>;

/// What an answer is read as, or why it is refused.
pub(super) type Decoded<T> = Result<T, OrchestratorError<ErrorMetadata>>;

/// A service of AWS, by its names.
#[derive(Clone, Copy)]
pub(super) struct Service {
    /// In the log of calls: `EC2`.
    pub name: &'static str,
    /// In its host's name and in signatures: `ec2`.
    pub signing: &'static str,
    /// Before the operation's name in `X-Amz-Target`: `AmazonSSM`. Empty if the service does not take JSON.
    pub target: &'static str,
}

/// Systems Manager.
pub(super) const SSM: Service = Service {
    name: "SSM",
    signing: "ssm",
    target: "AmazonSSM",
};

/// AWS WAF.
pub(super) const WAFV2: Service = Service {
    name: "WAFV2",
    signing: "wafv2",
    target: "AWSWAF_20190729",
};

/// The way to one service. A call is signed, repeated, fenced and logged as those of the SDK's clients.
#[derive(Clone)]
pub struct Signed {
    service: Service,
    region: String,
    config: SdkConfig,
    http: Option<SharedHttpClient>,
    log: Option<CallLog>,
}

/// The body of a request, which may have a secret in it.
struct Body(String);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}

impl Signed {
    /// With the settings of all clients, except that calls go through `http`.
    pub(super) fn new(
        service: Service,
        config: &SdkConfig,
        http: Option<SharedHttpClient>,
        log: Option<&CallLog>,
    ) -> Self {
        let mut config = config.clone();
        if config.identity_cache().is_none() {
            // One for all calls, not one for each.
            let cache = IdentityCache::lazy().build();
            config = config.into_builder().identity_cache(cache).build();
        }
        Self {
            service,
            region: config.region().map(ToString::to_string).unwrap_or_default(),
            config,
            http,
            log: log.cloned(),
        }
    }

    /// A call in AWS's query protocol: `form` is the body, `read` reads the answer.
    pub(super) async fn query<T>(
        &self,
        operation: &'static str,
        form: String,
        read: fn(&HttpResponse) -> Decoded<T>,
    ) -> Answer<T>
    where
        T: fmt::Debug + Send + Sync + 'static,
    {
        let request = |Body(form)| post(form, "application/x-www-form-urlencoded");
        let operation = self.operation(operation);
        let operation = operation.serializer(request).deserializer(read);
        operation.build().invoke(Body(form)).await
    }

    /// A call in AWS's protocol JSON 1.1.
    ///
    /// # Errors
    /// The call failed.
    pub async fn json(&self, operation: &'static str, body: &Value) -> Answer<Value> {
        let target = format!("{}.{operation}", self.service.target);
        let request = move |Body(json)| {
            let mut request = post(json, "application/x-amz-json-1.1")?;
            request.headers_mut().insert("x-amz-target", target.clone());
            Ok(request)
        };
        let operation = self.operation(operation);
        let operation = operation.serializer(request).deserializer(json_answer);
        operation.build().invoke(Body(body.to_string())).await
    }

    /// All that a call has except its request and its answer.
    fn operation(&self, name: &'static str) -> OperationBuilder {
        let Self { service, config, .. } = self;
        let mut operation = Operation::builder()
            .service_name(service.name)
            .operation_name(name)
            .endpoint_url(config.endpoint_url().unwrap_or(&self.regional()))
            .retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .retry_classifier(AwsErrorCodeClassifier::<ErrorMetadata>::new())
            .retry_classifier(ThrottlesArePaced)
            .interceptor(ReadsGiveUp)
            .interceptor(Attempts)
            .runtime_plugin(self.signature());
        if let Some(version) = config.behavior_version() {
            operation = operation.behavior_version(version);
        }
        if let Some(retries) = config.retry_config() {
            operation = operation.standard_retry(retries);
        }
        if let Some(timeouts) = config.timeout_config() {
            operation = operation.timeout_config(timeouts.clone());
        }
        if let Some(http) = &self.http {
            operation = operation.http_client(http.clone());
        }
        if let Some(log) = &self.log {
            operation = operation.interceptor(log.clone());
        }
        operation
    }

    /// The service's own endpoint in the region.
    fn regional(&self) -> String {
        let fips = if self.config.use_fips() == Some(true) {
            "-fips"
        } else {
            ""
        };
        format!(
            "https://{}{fips}.{}.amazonaws.com",
            self.service.signing, self.region
        )
    }

    /// What signs each request.
    fn signature(&self) -> StaticRuntimePlugin {
        let config = &self.config;
        let mut settings = Layer::new("signed");
        settings.store_put(AuthSchemeOptionResolverParams::new(()));
        settings.store_put(SigV4OperationSigningConfig {
            region: Some(SigningRegion::from(Region::new(self.region.clone()))),
            name: Some(SigningName::from_static(self.service.signing)),
            ..SigV4OperationSigningConfig::default()
        });
        let mut components = RuntimeComponentsBuilder::new("signed")
            .with_auth_scheme(SigV4AuthScheme::new())
            .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])))
            .with_identity_cache(config.identity_cache());
        if let Some(credentials) = config.credentials_provider() {
            components.set_identity_resolver(SCHEME_ID, credentials);
        }
        StaticRuntimePlugin::new()
            .with_config(settings.freeze())
            .with_runtime_components(components)
    }
}

fn post(body: String, content_type: &'static str) -> Result<HttpRequest, BoxError> {
    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method("POST")?;
    request.set_uri("/")?;
    request.headers_mut().insert("content-type", content_type);
    Ok(request)
}

fn json_answer(answer: &HttpResponse) -> Decoded<Value> {
    let body = answer.body().bytes().unwrap_or_default();
    if !answer.status().is_success() {
        return Err(OrchestratorError::operation(json_refusal(answer, body)));
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(OrchestratorError::other)
}

/// The code and the message; none of what cannot be read. The code stands in a header or in the body, and may have a
/// namespace before it and a URL behind it.
fn json_refusal(answer: &HttpResponse, body: &[u8]) -> ErrorMetadata {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |names: [&str; 2]| names.into_iter().find_map(|name| body[name].as_str());
    let code = answer.headers().get("x-amzn-errortype");
    let code = code.or_else(|| text(["__type", "code"])).map(|code| {
        let code = code.split_once(':').map_or(code, |(code, _)| code);
        code.rsplit_once('#').map_or(code, |(_, code)| code)
    });
    let mut error = ErrorMetadata::builder();
    if let Some(code) = code {
        error = error.code(code);
    }
    if let Some(message) = text(["message", "Message"]) {
        error = error.message(message);
    }
    if let Some(id) = answer.headers().get("x-amzn-requestid") {
        error = error.custom("aws_request_id", id);
    }
    error.build()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{SignedWire, refused, response};
    use crate::aws::wait::once;
    use crate::resource::{CallError, Class};

    /// What a call with these answers comes to, and what was sent.
    async fn call(answers: impl IntoIterator<Item = HttpResponse>) -> (Result<Value, CallError>, SignedWire) {
        let wire = SignedWire::new(answers);
        let (config, http) = wire.settings();
        let service = Signed::new(SSM, &config, Some(http), None);
        let body = json!({"Name": "/a", "Value": "hidden"});
        let answer = once("ssm:PutParameter", service.json("PutParameter", &body)).await;
        (answer, wire)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_in_json_is_signed_and_its_answer_is_read() {
        let (answer, wire) = call([response(200, json!({"Version": 1}).to_string())]).await;
        assert_eq!(answer.unwrap(), json!({"Version": 1}));
        let sent = wire.sent().remove(0);
        assert_eq!(sent.url, "https://ssm.eu-central-1.amazonaws.com/");
        assert_eq!(sent.target, "AmazonSSM.PutParameter");
        assert_eq!(sent.content_type, "application/x-amz-json-1.1");
        assert_eq!(sent.body, r#"{"Name":"/a","Value":"hidden"}"#);
        assert!(
            sent.authorization.contains("/eu-central-1/ssm/aws4_request"),
            "{}",
            sent.authorization
        );
        assert_eq!(call([response(200, String::new())]).await.0.unwrap(), Value::Null);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_in_json_has_the_code_wherever_it_stands() {
        let unnamed = |body: Value| response(400, body.to_string());
        let mut with_url = refused(400, "ParameterAlreadyExists", "it is there");
        let named = "ParameterAlreadyExists:http://internal.amazon.com/coral/com.amazonaws.ssm/";
        with_url.headers_mut().insert("x-amzn-errortype", named);
        with_url.headers_mut().insert("x-amzn-requestid", "r-1");
        for answer in [
            with_url,
            unnamed(json!({"__type": "ParameterAlreadyExists", "message": "it is there"})),
            unnamed(json!({"__type": "com.amazonaws.ssm#ParameterAlreadyExists", "Message": "it is there"})),
            unnamed(json!({"code": "ParameterAlreadyExists", "message": "it is there"})),
        ] {
            let has_id = answer.headers().get("x-amzn-requestid").is_some();
            let error = call([answer]).await.0.unwrap_err();
            assert_eq!(error.code.as_deref(), Some("ParameterAlreadyExists"));
            assert_eq!(error.message, "it is there");
            assert_eq!(error.request_id.is_some(), has_id);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_repeated_is_repeated_and_what_was_throttled_is_not() {
        let failed = || refused(500, "InternalServerError", "try again");
        let (answer, wire) = call([failed(), failed(), response(200, "{}".to_owned())]).await;
        assert_eq!((answer.unwrap(), wire.sent().len()), (json!({}), 3));
        let (answer, wire) = call([refused(400, "ThrottlingException", "Rate exceeded")]).await;
        assert_eq!(
            (answer.unwrap_err().class, wire.sent().len()),
            (Class::Throttle, 1)
        );
        let (answer, _) = call((0..10).map(|_| response(502, "<html>".to_owned()))).await;
        assert_eq!(answer.unwrap_err().class, Class::Ambiguous);
    }

    #[test]
    fn the_host_is_the_services_in_its_region_and_of_fips_if_that_is_wanted() {
        let (config, _) = SignedWire::new([]).settings();
        let at = |config: &SdkConfig| Signed::new(SSM, config, None, None).regional();
        assert_eq!(at(&config), "https://ssm.eu-central-1.amazonaws.com");
        let config = config.into_builder().use_fips(true).build();
        assert_eq!(at(&config), "https://ssm-fips.eu-central-1.amazonaws.com");
    }

    #[test]
    fn a_body_is_not_shown() {
        assert_eq!(format!("{:?}", Body("hidden".to_owned())), "Body");
    }
}
