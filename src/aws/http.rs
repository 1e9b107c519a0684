//! The SDK's HTTP client, with a limit on every answer; when a read gives up, and what the SDK does not repeat.
//!
//! Must not look into requests or answers.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, InterceptorContext,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, Metadata};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::retries::classifiers::{
    ClassifyRetry, RetryAction, RetryClassifierPriority, RetryReason,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::retry::{ErrorKind, RetryConfig};
use aws_smithy_types::timeout::TimeoutConfig;
use tokio::sync::Semaphore;

/// The most bytes that are read of one answer. The largest that AWS documents is a page of 1 MB of log events, and each
/// byte may take six in JSON.
const LIMIT: usize = 8 * 1024 * 1024;
/// Answers that are larger than this are read one at a time, so that they do not fill the memory.
const USUAL: usize = 256 * 1024;

/// How long a read may take, with all its attempts.
pub const READ_DEADLINE: Duration = Duration::from_mins(1);
/// How long one attempt of a read may take.
const READ_ATTEMPT: Duration = Duration::from_secs(20);
/// The longest pause between two attempts of a read.
const READ_PAUSE: Duration = Duration::from_secs(10);

/// Whether an operation, such as `GetRole`, changes nothing.
pub fn is_read(name: &str) -> bool {
    ["Get", "List", "Describe", "Filter"]
        .iter()
        .any(|verb| name.starts_with(verb))
}

/// The SDK's HTTP client, through `proxy`. It refuses answers that exceed the limit.
pub fn client(proxy: ProxyConfig) -> SharedHttpClient {
    bounded(
        Builder::new().build_with_connector_fn(move |settings, components| {
            let mut connector = Connector::builder()
                .proxy_config(proxy.clone())
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc));
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
            connector.build()
        }),
    )
}

fn bounded(client: SharedHttpClient) -> SharedHttpClient {
    let large = Arc::new(Semaphore::new(1));
    http_client_fn(move |settings, components| {
        SharedHttpConnector::new(Bounded {
            connector: client.http_connector(settings, components),
            large: large.clone(),
        })
    })
}

#[derive(Debug)]
struct Bounded {
    connector: SharedHttpConnector,
    large: Arc<Semaphore>,
}

impl HttpConnector for Bounded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.connector.call(request);
        let large = self.large.clone();
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            let body = read(answer.take_body(), &large).await?;
            *answer.body_mut() = SdkBody::from(body);
            Ok(answer)
        })
    }
}

async fn read(body: SdkBody, large: &Semaphore) -> Result<Vec<u8>, ConnectorError> {
    let mut stream = ByteStream::new(body);
    let mut read = Vec::new();
    let mut turn = None;
    while let Some(chunk) = stream
        .try_next()
        .await
        .map_err(|error| ConnectorError::io(error.into()))?
    {
        let length = read.len() + chunk.len();
        if length > LIMIT {
            let error = format!("the answer is larger than {} MiB", LIMIT / 1024 / 1024);
            return Err(ConnectorError::other(error.into(), None));
        }
        if length > USUAL && turn.is_none() {
            turn = Some(large.acquire().await.expect("nobody closes it"));
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read)
}

/// Makes reads give up sooner than writes: the answer of a write decides what exists.
#[derive(Debug)]
pub struct ReadsGiveUp;

impl Intercept for ReadsGiveUp {
    fn name(&self) -> &'static str {
        "ReadsGiveUp"
    }

    fn read_before_serialization(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if cfg.load::<Metadata>().is_some_and(|call| is_read(call.name())) {
            let timeouts = cfg.load::<TimeoutConfig>().map(TimeoutConfig::to_builder);
            let timeouts = timeouts
                .unwrap_or_default()
                .operation_attempt_timeout(READ_ATTEMPT);
            let retries = cfg.load::<RetryConfig>().cloned();
            let retries = retries.map(|retries| retries.with_max_backoff(READ_PAUSE));
            let state = cfg.interceptor_state();
            state.store_put(timeouts.build());
            if let Some(retries) = retries {
                state.store_put(retries);
            }
        }
        Ok(())
    }
}

/// Keeps the SDK from repeating a throttled call: if 32 calls repeat independently, a limit of 5 a second refuses 79
/// calls for each that it accepts. `Cx::call` repeats them, at one pace for each operation.
#[derive(Debug)]
pub(super) struct ThrottlesArePaced;

impl ClassifyRetry for ThrottlesArePaced {
    fn classify_retry(&self, _: &InterceptorContext) -> RetryAction {
        RetryAction::NoActionIndicated
    }

    fn classify_retry_v2(&self, _: &InterceptorContext, previous: &RetryAction) -> RetryAction {
        match previous {
            RetryAction::RetryIndicated(RetryReason::RetryableError {
                kind: ErrorKind::ThrottlingError,
                ..
            }) => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "ThrottlesArePaced"
    }

    fn priority(&self) -> RetryClassifierPriority {
        // The last of the SDK's own.
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn length(size: usize) -> Result<usize, String> {
        let read = read(SdkBody::from(vec![b'x'; size]), &Semaphore::new(1)).await;
        read.map(|body| body.len()).map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn an_answer_of_the_limit_is_read_and_a_larger_one_is_refused() {
        assert_eq!(length(0).await, Ok(0));
        assert_eq!(length(LIMIT).await, Ok(LIMIT));
        let error = length(LIMIT + 1).await.unwrap_err();
        assert!(error.contains("the answer is larger than 8 MiB"), "{error}");
    }

    #[test]
    fn what_changes_nothing_is_a_read() {
        for name in ["GetRole", "ListUserPools", "DescribeLogGroups", "FilterLogEvents"] {
            assert!(is_read(name), "{name}");
        }
        for name in [
            "CreateFunction",
            "UpdateFunctionCode",
            "PutMethod",
            "TagResource",
            "DeleteRole",
        ] {
            assert!(!is_read(name), "{name}");
        }
    }
}
