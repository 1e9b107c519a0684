//! A recorded answer as the SDK gets it: for the unit tests' mocks and for the recorder's own test.
//!
//! Must not know how it was recorded.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::Value;

/// The answer in one line of `aws-calls.jsonl`, parsed; `None` where there was none.
pub(super) fn answer(call: &Value) -> Option<HttpResponse> {
    let answer = call["answer"].as_object()?;
    let status = u16::try_from(answer["status"].as_u64()?).ok()?;
    let body = match &answer["body"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        json => json.to_string(),
    };
    let mut response = HttpResponse::new(StatusCode::try_from(status).ok()?, SdkBody::from(body));
    for name in ["x-amzn-errortype", "retry-after"] {
        if let Some(value) = answer[name].as_str() {
            response.headers_mut().insert(name, value.to_owned());
        }
    }
    Some(response)
}
