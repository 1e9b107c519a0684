//! The tags that tell our resources from those of others.
//!
//! Must not be the only way to find a resource whose id is on record.

use std::collections::{BTreeMap, HashMap};

use super::clients::Aws;
use crate::resource::{CallError, Cx, Stranger};

/// A resource's tags, as AWS keeps them.
pub type Tags = BTreeMap<String, String>;

/// The tag that holds the stack's name.
pub const STACK: &str = "provision:stack";
/// The tag that holds the stack's owner.
pub const OWNER: &str = "provision:owner";

/// The tags of everything in this stack.
pub fn tags(stack: &str, owner: &str) -> Tags {
    Tags::from([
        (STACK.to_owned(), stack.to_owned()),
        (OWNER.to_owned(), owner.to_owned()),
    ])
}

/// Whether live tags have the same owner as ours.
pub fn are_ours<'a>(ours: &Tags, live: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
    let owner = ours.get(OWNER).map(String::as_str);
    live.into_iter()
        .any(|(key, value)| key == OWNER && Some(value) == owner)
}

/// Succeeds if live tags have the same owner as ours.
///
/// # Errors
/// The resource belongs to someone else; `what` returns what it is and its name.
pub fn check<'a>(
    ours: &Tags,
    live: impl IntoIterator<Item = (&'a str, &'a str)>,
    what: impl FnOnce() -> String,
) -> Result<(), Stranger> {
    if are_ours(ours, live) {
        Ok(())
    } else {
        Err(Stranger { what: what() })
    }
}

/// The live tags whose keys we manage, without those that others added.
pub fn managed<'a>(ours: &Tags, live: impl IntoIterator<Item = (&'a str, &'a str)>) -> Tags {
    live.into_iter()
        .filter(|(key, _)| ours.contains_key(*key))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// As [`managed`], for IAM, which ignores the case of keys.
pub fn managed_in_any_case<'a>(ours: &Tags, live: impl IntoIterator<Item = (&'a str, &'a str)>) -> Tags {
    live.into_iter()
        .filter(|(key, _)| ours.keys().any(|ours| ours.eq_ignore_ascii_case(key)))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The tags that have to be set to get from `before` to `now`.
pub fn changed(before: &Tags, now: &Tags) -> Tags {
    let mut changed = now.clone();
    changed.retain(|key, value| before.get(key) != Some(value));
    changed
}

/// The keys that have to be removed to get from `before` to `now`.
pub fn removed(before: &Tags, now: &Tags) -> Vec<String> {
    before
        .keys()
        .filter(|key| !now.contains_key(*key))
        .cloned()
        .collect()
}

/// The ARN of what is at this path of API Gateway. It has no account, unlike others.
pub fn arn_in_apigateway(cx: &Cx<Aws>, path: &str) -> String {
    let Aws {
        partition, region, ..
    } = cx.cloud();
    format!("arn:{partition}:apigateway:{region}::{path}")
}

/// Changes the tags `before` to `after` on what is at this path of API Gateway, such as `/restapis/a1b2c3/stages/dev`.
/// The tags of others stay.
///
/// # Errors
/// A call failed; in class `Gone`, nothing is at this path.
pub async fn change_in_apigateway(
    cx: &Cx<Aws>,
    path: &str,
    before: &Tags,
    after: &Tags,
) -> Result<(), CallError> {
    let (set, removed) = (changed(before, after), removed(before, after));
    let apigateway = &cx.cloud().apigateway;
    let arn = arn_in_apigateway(cx, path);
    if !set.is_empty() {
        let tag = || {
            apigateway
                .tag_resource()
                .resource_arn(&arn)
                .set_tags(Some(map(&set)))
                .send()
        };
        cx.call("apigateway:TagResource", tag).await?;
    }
    if !removed.is_empty() {
        let untag = || {
            apigateway
                .untag_resource()
                .resource_arn(&arn)
                .set_tag_keys(Some(removed.clone()))
                .send()
        };
        cx.call("apigateway:UntagResource", untag).await?;
    }
    Ok(())
}

/// As the SDK takes them.
pub fn map(tags: &Tags) -> HashMap<String, String> {
    tags.clone().into_iter().collect()
}

/// As `are_ours` and `managed` take the SDK's.
pub fn pairs(live: Option<&HashMap<String, String>>) -> impl Iterator<Item = (&str, &str)> {
    live.into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str()))
}
