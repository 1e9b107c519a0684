//! Holds back every request, each attempt of a repeated call included, for which too little is left of the lease of the state.
//!
//! Must not look into what is sent or answered.

use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::timeout::TimeoutConfig;

use crate::lease::Fence;

/// How long one attempt of a call may take that sends no code.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_mins(1);

/// `client`, which sends nothing that the lease of `fence` could not outlast. Its requests pass [`Attempts`] before.
pub(super) fn fenced(client: SharedHttpClient, fence: Fence) -> SharedHttpClient {
    http_client_fn(move |settings, components| {
        SharedHttpConnector::new(Fenced {
            connector: client.http_connector(settings, components),
            fence: fence.clone(),
        })
    })
}

/// Writes on each request how long its attempt may take: the HTTP client is not told.
#[derive(Debug)]
pub(super) struct Attempts;

#[derive(Clone, Debug)]
struct AttemptTimeout(Duration);

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let timeouts = cfg.load::<TimeoutConfig>();
        if let Some(time) = timeouts.and_then(TimeoutConfig::operation_attempt_timeout) {
            context.request_mut().add_extension(AttemptTimeout(time));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Fenced {
    connector: SharedHttpConnector,
    fence: Fence,
}

impl HttpConnector for Fenced {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (connector, fence) = (self.connector.clone(), self.fence.clone());
        HttpConnectorFuture::new(async move {
            // Nothing was sent: a user error is not repeated.
            let user = |error: BoxError| ConnectorError::user(error);
            let request = request.try_into_http1x().map_err(|error| user(error.into()))?;
            let time = request.extensions().get().map(|AttemptTimeout(time)| *time);
            fence
                .admit(time.unwrap_or(ATTEMPT_TIMEOUT))
                .await
                .map_err(|closed| user(closed.into()))?;
            let request = HttpRequest::try_from(request).map_err(|error| user(error.into()))?;
            connector.call(request).await
        })
    }
}
