//! A parameter of AWS Systems Manager that the user names: a client's secret is written to it, or read from it.
//!
//! Must not write over a parameter of someone else, delete one, or keep its value.

use anyhow::{Context, ensure};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::tags::{self, Tags};
use super::wait::unless_gone;
use super::{Aws, client_secrets};
use crate::resource::{CallError, Class, Cx, Result};

/// The type of a parameter that is kept encrypted.
const SECURE: &str = "SecureString";

/// A parameter that a client's secret is to be in.
pub struct Parameter {
    /// Begins with `/`.
    pub name: String,
    /// Those of the stack: by its owner the parameter is known as ours.
    pub tags: Tags,
    /// For people who look at it.
    pub description: String,
}

/// What is at the name of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// A parameter of this stack.
    Ours,
}

impl Parameter {
    /// What is there now; changes nothing.
    ///
    /// # Errors
    /// The parameter is of someone else or not encrypted, or a call is refused.
    pub async fn look(&self, cx: &Cx<Aws>) -> Result<Found> {
        let Some(there) = read(cx, &self.name, false).await? else {
            return Ok(Found::Nothing);
        };
        let what = || format!("parameter {} of Systems Manager", self.name);
        let body = json!({"ResourceType": "Parameter", "ResourceId": self.name});
        let list = || cx.cloud().ssm.json("ListTagsForResource", &body);
        let answer = cx.call("ssm:ListTagsForResource", list).await?;
        let live = answer["TagList"].as_array();
        let live = live.into_iter().flatten();
        let live = live.filter_map(|tag| Some((tag["Key"].as_str()?, tag["Value"].as_str()?)));
        tags::check(&self.tags, live, what)?;
        let kind = there["Type"].as_str().unwrap_or_default();
        ensure!(
            kind == SECURE,
            "{} has type {kind:?}, expected {SECURE}, and AWS does not change it",
            what()
        );
        Ok(Found::Ours)
    }

    /// Puts `value`, as it is, into the parameter. `found` is what was there: if nothing was, the parameter is created,
    /// and one that somebody else has created meanwhile is left as it is.
    ///
    /// # Errors
    /// The call is refused, or its answer is lost and the value cannot be seen to be there.
    pub async fn put(&self, cx: &Cx<Aws>, found: Found, value: &SecretString) -> Result<(), CallError> {
        let mut body = json!({
            "Name": self.name, "Value": value.expose_secret(), "Type": SECURE, "Description": self.description,
            // The account's default may be the tier that is billed, and there is no way back from it.
            "Tier": "Standard",
        });
        match found {
            Found::Nothing => {
                let tags = self.tags.iter();
                body["Tags"] = tags
                    .map(|(key, value)| json!({"Key": key, "Value": value}))
                    .collect();
            }
            // AWS does not take tags with it.
            Found::Ours => body["Overwrite"] = json!(true),
        }
        let put = || cx.cloud().ssm.json("PutParameter", &body);
        let Err(mut error) = cx.call("ssm:PutParameter", put).await else {
            return Ok(());
        };
        // A service that refuses a value may repeat it.
        error.message = error.message.replace(value.expose_secret(), "[the secret]");
        // The SDK repeats a call without an answer, and a repeated create finds the parameter that the first has made.
        let may_be_there = matches!(error.class, Class::Taken | Class::Ambiguous);
        if may_be_there && self.has(cx, value).await {
            return Ok(());
        }
        Err(error)
    }

    async fn has(&self, cx: &Cx<Aws>, value: &SecretString) -> bool {
        let there = read(cx, &self.name, true).await;
        there.is_ok_and(|there| there.is_some_and(|there| there["Value"] == value.expose_secret()))
    }
}

/// The client's secret in the parameter of this name.
///
/// # Errors
/// It does not exist, has no client's secret in it, or the call is refused.
pub async fn get(cx: &Cx<Aws>, name: &str) -> Result<SecretString> {
    let there = read(cx, name, true).await?;
    let mut there =
        there.with_context(|| format!("there is no parameter {name} in region {}", cx.cloud().region))?;
    let Value::String(text) = there["Value"].take() else {
        anyhow::bail!("parameter {name} has no value");
    };
    let text = SecretString::from(text);
    client_secrets::in_text(text.expose_secret()).with_context(|| {
        format!(
            "parameter {name} has no client's secret in it: expected one line of printable characters, or a JSON object \
             with clientSecretValue"
        )
    })
}

/// The parameter; `None` if there is none.
async fn read(cx: &Cx<Aws>, name: &str, decrypt: bool) -> Result<Option<Value>, CallError> {
    let body = json!({"Name": name, "WithDecryption": decrypt});
    let get = || cx.cloud().ssm.json("GetParameter", &body);
    let answer = unless_gone(cx.call("ssm:GetParameter", get).await)?;
    Ok(answer.map(|mut answer| answer["Parameter"].take()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::test_support::{failed, ok, our_tags, refused, ssm, strangers_tags};
    use crate::resource::is_stranger;

    const VALUE: &str = "1example2example3example4example5example6example";

    fn parameter() -> Parameter {
        Parameter {
            name: "/orders/app".to_owned(),
            tags: our_tags(),
            description: "Secret of app".to_owned(),
        }
    }

    fn there(kind: &str, value: &str) -> Value {
        json!({"Parameter": {"Name": "/orders/app", "Type": kind, "Value": value, "Version": 3}})
    }

    fn listed(tags: &Tags) -> Value {
        let tags: Vec<Value> = (tags.iter())
            .map(|(key, value)| json!({"Key": key, "Value": value}))
            .collect();
        json!({ "TagList": tags })
    }

    fn not_there() -> aws_smithy_runtime_api::client::orchestrator::HttpResponse {
        refused(400, "ParameterNotFound", "")
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_is_told_from_what_others_made() {
        let (cx, wire) = ssm([not_there()]);
        assert_eq!(parameter().look(&cx).await.unwrap(), Found::Nothing);
        assert_eq!(
            wire.sent()[0].body,
            r#"{"Name":"/orders/app","WithDecryption":false}"#
        );
        let (cx, wire) = ssm([ok(there(SECURE, "AQICA")), ok(listed(&our_tags()))]);
        assert_eq!(parameter().look(&cx).await.unwrap(), Found::Ours);
        let sent = wire.sent();
        assert_eq!(sent[1].target, "AmazonSSM.ListTagsForResource");
        assert_eq!(
            sent[1].body,
            r#"{"ResourceType":"Parameter","ResourceId":"/orders/app"}"#
        );
        for tags in [strangers_tags(), Tags::new()] {
            let (cx, _) = ssm([ok(there(SECURE, "AQICA")), ok(listed(&tags))]);
            let error = parameter().look(&cx).await.unwrap_err();
            assert!(is_stranger(&error));
            assert_eq!(
                error.to_string(),
                "parameter /orders/app of Systems Manager exists and is not of this stack: it is left as it is"
            );
        }
        let (cx, _) = ssm([ok(there("String", "x")), ok(listed(&our_tags()))]);
        assert_eq!(
            failed(parameter().look(&cx).await).1,
            "parameter /orders/app of Systems Manager has type \"String\", expected SecureString, and AWS does not change it"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_put_where_it_may_not_be_looked() {
        let denied = || refused(400, "AccessDeniedException", "User: u is not authorized");
        let (cx, _) = ssm([denied()]);
        assert_eq!(failed(parameter().look(&cx).await).0, Some(Class::Denied));
        let (cx, _) = ssm([ok(there(SECURE, "AQICA")), denied()]);
        assert_eq!(failed(parameter().look(&cx).await).0, Some(Class::Denied));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_parameter_has_the_tags_and_one_of_ours_is_written_over() {
        let (cx, wire) = ssm([ok(json!({"Version": 1}))]);
        parameter().put(&cx, Found::Nothing, &VALUE.into()).await.unwrap();
        let sent: Value = serde_json::from_str(&wire.sent()[0].body).unwrap();
        let common = json!({
            "Name": "/orders/app", "Value": VALUE, "Type": "SecureString", "Tier": "Standard",
            "Description": "Secret of app",
        });
        let mut created = common.clone();
        created["Tags"] = json!([
            {"Key": "provision:owner", "Value": "1a2b3c4d"},
            {"Key": "provision:stack", "Value": "user-api"},
        ]);
        assert_eq!(sent, created);
        let (cx, wire) = ssm([ok(json!({"Version": 2}))]);
        parameter().put(&cx, Found::Ours, &VALUE.into()).await.unwrap();
        let sent: Value = serde_json::from_str(&wire.sent()[0].body).unwrap();
        let mut changed = common;
        changed["Overwrite"] = json!(true);
        assert_eq!(sent, changed);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_lost_answer_the_value_is_compared() {
        let lost = || refused(500, "InternalServerError", "try again");
        let taken = || refused(400, "ParameterAlreadyExists", "The parameter already exists.");
        let (cx, wire) = ssm([lost(), taken(), ok(there(SECURE, VALUE))]);
        parameter().put(&cx, Found::Nothing, &VALUE.into()).await.unwrap();
        assert_eq!(
            wire.sent()[2].body,
            r#"{"Name":"/orders/app","WithDecryption":true}"#
        );
        for other in [
            ok(there(SECURE, "another")),
            not_there(),
            refused(400, "AccessDeniedException", "not authorized to use the key"),
        ] {
            let (cx, _) = ssm([taken(), other]);
            let error = parameter()
                .put(&cx, Found::Nothing, &VALUE.into())
                .await
                .unwrap_err();
            assert_eq!(error.class, Class::Taken);
        }
        // As often as the SDK tries.
        let (cx, _) = ssm((0..10).map(|_| lost()).chain([ok(there(SECURE, VALUE))]));
        parameter().put(&cx, Found::Ours, &VALUE.into()).await.unwrap();
        let (cx, _) = ssm((0..10)
            .map(|_| lost())
            .chain([ok(there(SECURE, "the one before"))]));
        let error = parameter()
            .put(&cx, Found::Ours, &VALUE.into())
            .await
            .unwrap_err();
        assert_eq!(error.class, Class::Ambiguous);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_has_its_class_and_does_not_repeat_the_value() {
        for (code, class) in [
            ("AccessDeniedException", Class::Denied),
            ("InvalidKeyId", Class::Refused),
            ("ParameterLimitExceeded", Class::Refused),
            ("ParameterMaxVersionLimitExceeded", Class::Refused),
            ("HierarchyLevelLimitExceededException", Class::Refused),
            ("ValidationException", Class::Refused),
        ] {
            let message = format!("Value '{VALUE}' at 'value' failed");
            let (cx, _) = ssm([refused(400, code, &message)]);
            let error = parameter()
                .put(&cx, Found::Ours, &VALUE.into())
                .await
                .unwrap_err();
            assert_eq!(error.class, class, "{code}");
            assert_eq!(error.message, "Value '[the secret]' at 'value' failed");
        }
        let at_once = || refused(400, "TooManyUpdates", "There are concurrent updates");
        let throttled = || refused(400, "ThrottlingException", "Rate exceeded");
        let (cx, _) = ssm([at_once(), throttled(), ok(json!({"Version": 2}))]);
        parameter().put(&cx, Found::Ours, &VALUE.into()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_it_is_read() {
        let (cx, wire) = ssm([ok(there(SECURE, VALUE))]);
        assert_eq!(get(&cx, "/orders/app").await.unwrap().expose_secret(), VALUE);
        assert_eq!(
            wire.sent()[0].body,
            r#"{"Name":"/orders/app","WithDecryption":true}"#
        );
        for (answer, told) in [
            (
                not_there(),
                "there is no parameter /orders/app in region eu-central-1",
            ),
            (
                ok(there(SECURE, "a b")),
                "parameter /orders/app has no client's secret in it: expected one line",
            ),
            (ok(json!({})), "parameter /orders/app has no value"),
        ] {
            let (cx, _) = ssm([answer]);
            let (_, text) = failed(get(&cx, "/orders/app").await);
            assert!(text.starts_with(told), "{text}");
        }
    }
}
