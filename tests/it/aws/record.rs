//! Writes down the calls that this program makes itself, with secrets and account numbers taken out.
//!
//! Must not keep anything that [`Redactor`] has not been over.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use serde_json::{Value, json};

use super::hour::NAMES;

/// What stands for the account in all that is written: the account of the unit tests.
pub(super) const ACCOUNT: &str = "111122223333";
/// What stands for any other account.
const OTHER_ACCOUNT: &str = "999999999999";
const TAKEN_OUT: &str = "TAKEN-OUT";

/// Members whose value is a secret, a link that lets in whoever has it, or code; of an object, each value.
const SECRET: [&str; 17] = [
    "ClientSecret",
    "ClientSecretValue",
    "SecretString",
    "AccessKeyId",
    "SecretAccessKey",
    "SessionToken",
    "AccessToken",
    "access_token",
    "Location",
    "ZipFile",
    "Variables",
    "NextToken",
    "nextToken",
    "Marker",
    "NextMarker",
    "PaginationToken",
    "position",
];

/// What answers with all that there is in the account: of that only what the run has made is written down.
const OF_ALL: [&str; 5] = [
    "ListFunctions",
    "GetRestApis",
    "ListUserPools",
    "ListRoles",
    "DescribeLogGroups",
];

/// Without the items of any list that are not of the run.
fn own(answer: Value, mark: &str) -> Value {
    match answer {
        Value::Array(items) => items
            .into_iter()
            .filter(|item| item.to_string().contains(mark))
            .collect(),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| (name, own(value, mark)))
                .collect(),
        ),
        // XML, which cannot be taken apart here.
        Value::String(_) => TAKEN_OUT.into(),
        other => other,
    }
}

/// Takes out of a text what nobody is to see.
#[derive(Default)]
pub(super) struct Redactor {
    /// Each value that is known, and what stands in its place.
    known: Mutex<BTreeMap<String, String>>,
}

impl Redactor {
    /// From now on `by` stands for this value.
    pub(super) fn hide(&self, value: &str, by: &str) {
        if value.len() < 8 {
            return;
        }
        let encoded = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
        let mut known = self.known.lock().unwrap();
        known.insert(encoded.to_string(), by.to_owned());
        known.insert(value.to_owned(), by.to_owned());
    }

    pub(super) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let known = self.known.lock().unwrap().clone();
        let mut known: Vec<_> = known.iter().collect();
        // One may be part of another.
        known.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        for (value, by) in known {
            text = text.replace(value, by);
        }
        for name in SECRET {
            text = element(&text, name);
        }
        let is_of_token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        text = runs(&text, is_of_token, |run| {
            (run.starts_with("eyJ") && run.len() > 40).then_some(TAKEN_OUT)
        });
        text = runs(
            &text,
            |c| c.is_ascii_alphanumeric(),
            |run| {
                let is_key = run.len() == 20 && ["AKIA", "ASIA"].iter().any(|kind| run.starts_with(kind));
                is_key.then_some(TAKEN_OUT)
            },
        );
        runs(
            &text,
            |c| c.is_ascii_digit(),
            |run| (run.len() == 12 && run != ACCOUNT).then_some(OTHER_ACCOUNT),
        )
    }

    pub(super) fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(values) => values.iter().map(|value| self.json(value)).collect(),
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| {
                    let value = match value {
                        Value::Object(members) if SECRET.contains(&name.as_str()) => members
                            .keys()
                            .map(|name| (name.clone(), Value::from(TAKEN_OUT)))
                            .collect(),
                        Value::String(_) if SECRET.contains(&name.as_str()) => TAKEN_OUT.into(),
                        other => self.json(other),
                    };
                    (self.text(name), value)
                });
                Value::Object(members.collect())
            }
            other => other.clone(),
        }
    }

    /// A body: JSON as JSON, all else as text.
    fn body(&self, body: &[u8]) -> Value {
        if body.is_empty() {
            return Value::Null;
        }
        match serde_json::from_slice(body) {
            Ok(value) => self.json(&value),
            Err(_) => Value::String(self.text(&String::from_utf8_lossy(body))),
        }
    }
}

/// With nothing secret in the XML elements of this name.
fn element(text: &str, name: &str) -> String {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let mut pieces = text.split(&*begin);
    let mut clean = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.split_once(&*end).map_or("", |(_, rest)| rest);
        clean.extend([&*begin, TAKEN_OUT, &*end, rest]);
    }
    clean
}

/// The text with every run of such characters replaced for which there is something else.
fn runs(text: &str, is_in: impl Fn(char) -> bool, other: impl Fn(&str) -> Option<&'static str>) -> String {
    let mut clean = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside = is_in(first);
        let end = rest.find(|c| is_in(c) != inside).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        clean.push_str(if inside { other(run).unwrap_or(run) } else { run });
        rest = after;
    }
    clean
}

/// An interceptor that writes down every attempt: one object each, which `aws::test_support::recorded` turns into the
/// answer again.
#[derive(Clone)]
pub(super) struct Recorder {
    pub redactor: Arc<Redactor>,
    calls: Arc<Mutex<Vec<Value>>>,
}

impl Recorder {
    pub(super) fn new(redactor: Arc<Redactor>) -> Self {
        Self {
            redactor,
            calls: Arc::default(),
        }
    }

    pub(super) fn calls(&self) -> Vec<Value> {
        self.calls.lock().unwrap().clone()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

/// The request of an attempt, clean.
#[derive(Debug)]
struct Sent {
    at: Instant,
    request: Value,
}

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Recorder {
    fn name(&self) -> &'static str {
        "Recorder"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        // Without headers: what is signed is not written down.
        let path = reqwest::Url::parse(request.uri()).map_or_else(
            |_| request.uri().to_owned(),
            |url| match url.query() {
                Some(query) => format!("{}?{query}", url.path()),
                None => url.path().to_owned(),
            },
        );
        let body = self.redactor.body(request.body().bytes().unwrap_or_default());
        let request = json!({"method": request.method(), "path": self.redactor.text(&path), "body": body});
        let at = Instant::now();
        cfg.interceptor_state().store_put(Sent { at, request });
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (Some(call), Some(sent)) = (cfg.load::<Metadata>(), cfg.load::<Sent>()) else {
            return Ok(());
        };
        let of_all = OF_ALL.contains(&call.name());
        let answer = context.response().map(|response| {
            let body = self.redactor.body(response.body().bytes().unwrap_or_default());
            let header = |name: &str| {
                response
                    .headers()
                    .get(name)
                    .map(|value| self.redactor.text(value))
            };
            json!({
                "status": response.status().as_u16(),
                "x-amzn-errortype": header("x-amzn-errortype"),
                "retry-after": header("retry-after"),
                "body": if of_all { own(body, NAMES) } else { body },
            })
        });
        self.calls.lock().unwrap().push(json!({
            "service": call.service(),
            "operation": call.name(),
            "millis": u64::try_from(sent.at.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request": sent.request,
            "answer": answer,
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = concat!("ASIA", "ABCDEFGHIJKLMNOP");
    const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzb21lYm9keSBoZXJlIn0.c2lnbmF0dXJlIG9mIGl0";

    #[test]
    fn no_secret_token_key_or_account_is_left() {
        let redactor = Redactor::default();
        redactor.hide("123456789012", ACCOUNT);
        redactor.hide("a-known/secret+value", "SECRET");
        let clean = redactor.json(&json!({
            "Arn": "arn:aws:iam::123456789012:role/x", "Other": "arn:aws:iam::210987654321:role/x",
            "ClientSecret": "hush-hush", "ClientSecretDescriptor": {"ClientSecretValue": "hush-hush"},
            "Environment": {"Variables": {"TABLE": "hush-hush"}},
            "Code": {"Location": "https://bucket/x?X-Amz-Security-Token=hush-hush"},
            "Message": format!("key {KEY} with a-known/secret+value and Bearer {TOKEN}"),
            "At": 1_760_000_000_123_u64,
        }));
        assert_eq!(
            clean,
            json!({
                "Arn": "arn:aws:iam::111122223333:role/x", "Other": "arn:aws:iam::999999999999:role/x",
                "ClientSecret": TAKEN_OUT, "ClientSecretDescriptor": {"ClientSecretValue": TAKEN_OUT},
                "Environment": {"Variables": {"TABLE": TAKEN_OUT}},
                "Code": {"Location": TAKEN_OUT},
                "Message": "key TAKEN-OUT with SECRET and Bearer TAKEN-OUT",
                "At": 1_760_000_000_123_u64,
            })
        );
        let xml = format!(
            "<Credentials><AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>hush</SecretAccessKey>\
             <SessionToken>hush</SessionToken></Credentials><Account>123456789012</Account>"
        );
        let clean = redactor.body(xml.as_bytes()).to_string();
        for hidden in [KEY, "hush", "123456789012"] {
            assert!(!clean.contains(hidden), "{hidden} in {clean}");
        }
        let form =
            redactor.text("Arn=arn%3Aaws%3Aiam%3A%3A123456789012%3Ax&Secret=a%2Dknown%2Fsecret%2Bvalue");
        assert_eq!(form, "Arn=arn%3Aaws%3Aiam%3A%3A111122223333%3Ax&Secret=SECRET");
    }
}
