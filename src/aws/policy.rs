//! IAM policy documents in a normal form, because AWS returns them in another form than they were sent.
//!
//! Must not judge what a policy allows.

use anyhow::Context;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::resource::Result;

/// The name of the one inline policy that this program puts into a role.
pub const LOGS: &str = "logs";

/// Parses a document as IAM returns it (RFC 3986 percent-encoded) or as it was written; returns it in normal form.
pub fn parse(document: &str) -> Result<Value> {
    let text = percent_decode_str(document)
        .decode_utf8()
        .context("a policy document is not UTF-8")?;
    let document = serde_json::from_str(&text).context("a policy document is not JSON")?;
    Ok(normal(document))
}

/// Lists with one element become the element, and lists of strings are sorted: IAM may do either by itself.
pub fn normal(document: Value) -> Value {
    match document {
        Value::Array(mut items) if items.len() == 1 => normal(items.remove(0)),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(normal).collect();
            if items.iter().all(Value::is_string) {
                items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            }
            Value::Array(items)
        }
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name, normal(value)))
                .collect(),
        ),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_iam_makes_of_a_document_is_the_same_document() {
        let ours = json!({"Statement": [{"Action": ["logs:PutLogEvents", "logs:CreateLogStream"], "Effect": "Allow"}]});
        let iams = "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%5B%22logs%3ACreateLogStream\
                    %22%2C%22logs%3APutLogEvents%22%5D%7D%7D";
        assert_eq!(normal(ours), parse(iams).unwrap());
    }

    #[test]
    fn another_action_is_another_document() {
        let ours = json!({"Statement": {"Action": ["a", "b"]}});
        assert_ne!(
            normal(ours),
            parse(r#"{"Statement":{"Action":["a","c"]}}"#).unwrap()
        );
    }
}
