//! Policy documents in a normal form, because AWS returns them in another form than they were sent, and what a statement
//! of a function's policy grants.
//!
//! Must not judge what a policy allows.

use anyhow::Context;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::resource::Result;

/// The name of the inline policy that lets a function write to its log group.
pub const LOGS: &str = "logs";
/// The name of the inline policy that a function has of its configuration.
pub const OWN: &str = "policy";
/// All inline policies that this program puts into a role.
pub const OURS: [&str; 2] = [LOGS, OWN];

/// Parses a document as IAM returns it (RFC 3986 percent-encoded) or as it was written; returns it in normal form.
pub fn parse(document: &str) -> Result<Value> {
    let text = percent_decode_str(document)
        .decode_utf8()
        .context("a policy document is not UTF-8")?;
    let document = serde_json::from_str(&text).context("a policy document is not JSON")?;
    Ok(normal(document))
}

/// Lists are sorted and have nothing twice, one with one element becomes the element, and what is no text becomes one: neither
/// changes what a policy says, and IAM may do some of it by itself.
pub fn normal(document: Value) -> Value {
    match document {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(normal).collect();
            items.sort_by_cached_key(ToString::to_string);
            items.dedup();
            match items.len() {
                1 => items.remove(0),
                _ => Value::Array(items),
            }
        }
        Value::Bool(_) | Value::Number(_) => Value::String(document.to_string()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name, normal(value)))
                .collect(),
        ),
        scalar => scalar,
    }
}

/// The statements of a document in normal form.
pub fn statements(document: &Value) -> &[Value] {
    match &document["Statement"] {
        Value::Array(statements) => statements,
        Value::Null => &[],
        statement => std::slice::from_ref(statement),
    }
}

/// Whether a trust policy lets a service assume the role. Conditions are not judged.
pub fn is_trusted(trust: &Value, service: &str) -> bool {
    let has = |value: &Value, wanted: &[&str]| {
        let texts = value
            .as_array()
            .map_or(std::slice::from_ref(value), Vec::as_slice);
        (texts.iter().filter_map(Value::as_str)).any(|text| wanted.contains(&text))
    };
    statements(trust).iter().any(|statement| {
        statement["Effect"] == "Allow"
            && has(&statement["Principal"]["Service"], &[service])
            && has(&statement["Action"], &["sts:AssumeRole", "sts:*", "*"])
    })
}

/// The document that allows what either of the two allows, and denies only what both deny: with it nothing is taken away from
/// whoever needs the one or the other. In normal form, as both are.
pub fn widened(before: &Value, after: &Value) -> Value {
    let (earlier, later) = (statements(before), statements(after));
    let is_denial = |statement: &&Value| statement["Effect"] == "Deny";
    let stays = |statement: &&Value| !is_denial(statement) || earlier.contains(statement);
    let mut all: Vec<Value> = later.iter().filter(stays).cloned().collect();
    let only_earlier = earlier
        .iter()
        .filter(|one| !is_denial(one) && !later.contains(one));
    all.extend(only_earlier.map(|statement| {
        let mut statement = statement.clone();
        // Two statements of one document cannot have one id.
        if let Some(fields) = statement.as_object_mut() {
            fields.remove("Sid");
        }
        statement
    }));
    let mut widened = after.clone();
    widened["Statement"] = Value::Array(all);
    normal(widened)
}

/// Whom a statement of a function's policy lets invoke the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The stage of a REST API. Empty if the statement is not a grant to API Gateway alone.
    pub source_arn: String,
    /// The account of the API; empty in the same case.
    pub source_account: String,
}

/// What the statement `sid` of a function's policy grants; `None` if there is no such statement.
///
/// # Errors
/// The policy is not JSON.
pub fn granted(policy: &str, sid: &str) -> Result<Option<Grant>> {
    let policy: Value = serde_json::from_str(policy).context("the policy is not JSON")?;
    let statements = policy["Statement"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(statement) = statements.iter().find(|statement| statement["Sid"] == sid) else {
        return Ok(None);
    };
    let as_ours = statement["Effect"] == "Allow"
        && statement["Action"] == "lambda:InvokeFunction"
        && statement["Principal"] == json!({"Service": "apigateway.amazonaws.com"});
    let text = |value: &Value| value.as_str().filter(|_| as_ours).unwrap_or_default().to_owned();
    let condition = &statement["Condition"];
    Ok(Some(Grant {
        source_arn: text(&condition["ArnLike"]["AWS:SourceArn"]),
        source_account: text(&condition["StringEquals"]["AWS:SourceAccount"]),
    }))
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn what_iam_makes_of_a_document_is_the_same_document() {
        let ours = json!({"Statement": [{"Action": ["logs:PutLogEvents", "logs:CreateLogStream"], "Effect": "Allow"}]});
        let iams = "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%5B%22logs%3ACreateLogStream\
                    %22%2C%22logs%3APutLogEvents%22%5D%7D%7D";
        assert_eq!(normal(ours), parse(iams).unwrap());
    }

    #[test]
    fn the_order_of_statements_and_how_a_flag_is_written_do_not_count() {
        let (one, other) = (
            json!({"Effect": "Allow", "Action": "a", "Resource": "*"}),
            json!({"Effect": "Deny", "Action": "b", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": false}}}),
        );
        let mut texts = other.clone();
        texts["Condition"]["Bool"]["aws:SecureTransport"] = json!(["false"]);
        assert_eq!(
            normal(json!({"Statement": [one, other]})),
            normal(json!({"Statement": [texts, one, one]}))
        );
    }

    #[test]
    fn on_the_way_from_one_document_to_another_nothing_is_taken_away() {
        let allow = |action: &str| json!({"Effect": "Allow", "Action": action, "Resource": "*"});
        let deny = |action: &str| json!({"Effect": "Deny", "Action": action, "Resource": "*"});
        let document =
            |statements: &[Value]| normal(json!({"Version": "2012-10-17", "Statement": statements}));
        let before = document(&[allow("a"), allow("b"), deny("c"), deny("d")]);
        let after = document(&[allow("b"), allow("e"), deny("d"), deny("f")]);
        let both = widened(&before, &after);
        assert_eq!(both, document(&[allow("a"), allow("b"), allow("e"), deny("d")]));
        // The next run after a kill.
        assert_eq!(widened(&both, &after), both);
        // What only grants is there at once.
        let more = document(&[allow("a"), allow("b")]);
        assert_eq!(widened(&document(&[allow("a")]), &more), more);
        assert_eq!(widened(&json!({}), &more), more);
    }

    #[test]
    fn a_trust_names_the_service_and_lets_it_assume_the_role() {
        let trust = |effect: &str, service: Value, action: &str| json!({"Statement": [{"Effect": effect, "Principal": {"Service": service}, "Action": action}]});
        let both = json!(["ec2.amazonaws.com", "lambda.amazonaws.com"]);
        for (trust, expected) in [
            (trust("Allow", both.clone(), "sts:AssumeRole"), true),
            (
                trust("Allow", json!("lambda.amazonaws.com"), "sts:AssumeRole"),
                true,
            ),
            (trust("Deny", both.clone(), "sts:AssumeRole"), false),
            (trust("Allow", both, "sts:TagSession"), false),
            (
                trust("Allow", json!("ec2.amazonaws.com"), "sts:AssumeRole"),
                false,
            ),
            (json!({}), false),
        ] {
            assert_eq!(
                is_trusted(&normal(trust.clone()), "lambda.amazonaws.com"),
                expected,
                "{trust}"
            );
        }
    }

    #[test]
    fn two_statements_never_have_one_id() {
        let statement =
            |action: &str| json!({"Sid": "One", "Effect": "Allow", "Action": action, "Resource": "*"});
        let document =
            |action: &str| normal(json!({"Version": "2012-10-17", "Statement": statement(action)}));
        let both = widened(&document("a"), &document("b"));
        let ids = statements(&both).iter().filter(|one| one["Sid"] == "One");
        assert_eq!((statements(&both).len(), ids.count()), (2, 1));
        assert_eq!(widened(&both, &document("b")), both);
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
