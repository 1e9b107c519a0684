//! Reports every attempt of an AWS call: service, operation, attempt, status, milliseconds, request id.
//!
//! Must not report what was sent or returned: bodies have secrets.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};

/// An interceptor that hands one line per attempt to a listener.
#[derive(Clone)]
pub struct CallLog(pub Arc<dyn Fn(&str) + Send + Sync>);

impl fmt::Debug for CallLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallLog")
    }
}

#[derive(Debug)]
struct Sent(Instant);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

impl Intercept for CallLog {
    fn name(&self) -> &'static str {
        "CallLog"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        cfg.interceptor_state().store_put(Sent(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (service, operation) = cfg
            .load::<Metadata>()
            .map_or(("?", "?"), |call| (call.service(), call.name()));
        let attempt = cfg.load::<RequestAttempts>().map_or(1, RequestAttempts::attempts);
        let millis = cfg.load::<Sent>().map_or(0, |sent| sent.0.elapsed().as_millis());
        let (status, request_id) = match context.response() {
            Some(response) => (
                response.status().as_u16().to_string(),
                ["x-amzn-requestid", "x-amz-request-id"]
                    .iter()
                    .find_map(|name| response.headers().get(*name)),
            ),
            None => ("no answer".to_owned(), None),
        };
        let request_id = request_id.unwrap_or("-");
        (self.0)(&format!(
            "{service} {operation} attempt {attempt}: {status}, {millis} ms, request id {request_id}"
        ));
        Ok(())
    }
}
