//! Who may do what because of a change, and no longer may: policies, action by action.
//!
//! Must not do I/O or be async, and must not know AWS, the state or the engine: the caller says what was and what will be.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::untrusted::printable;

/// The rights that a plan changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rights {
    /// What it newly allows, or no longer denies.
    pub granted: Vec<Right>,
    /// What it newly denies, or no longer allows.
    pub denied: Vec<Right>,
}

/// What one step changes about who may do what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Right {
    /// The step of the plan.
    pub step: String,
    #[serde(flatten)]
    pub what: What,
}

/// Actions, or something whose actions are not in the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum What {
    Access(Access),
    /// All that a managed policy allows.
    Policy {
        policy: String,
    },
    /// All that the policies of a role allow and a boundary does not.
    Boundary {
        boundary: String,
    },
    /// All that a role may do that somebody else made.
    Role {
        role: String,
    },
}

/// Actions that one statement allows or denies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Access {
    /// Who is meant; `None`: whoever has the role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    pub actions: Vec<String>,
    /// `None` in a trust policy: the role itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Value>,
}

/// One principal, action, resource and condition of a document.
#[derive(Clone, Debug, PartialEq)]
struct Grant {
    principal: Option<String>,
    action: String,
    resource: Option<String>,
    condition: Option<Value>,
}

impl Rights {
    pub fn is_empty(&self) -> bool {
        self.granted.is_empty() && self.denied.is_empty()
    }

    /// Adds what a step changes that turns one document into another; null stands for none.
    pub fn change_document(&mut self, step: &str, before: &Value, after: &Value) {
        let (earlier, later) = (Grants::of(before), Grants::of(after));
        let mut granted = uncovered(&later.allowed, &earlier.allowed);
        granted.extend(uncovered(&earlier.denied, &later.denied));
        let mut denied = uncovered(&earlier.allowed, &later.allowed);
        denied.extend(uncovered(&later.denied, &earlier.denied));
        self.granted.extend(joined(step, granted));
        self.denied.extend(joined(step, denied));
    }

    /// Adds what is granted as a whole, if it changes: `before` no longer is, `after` newly is.
    pub fn change(&mut self, step: &str, before: Option<What>, after: Option<What>) {
        if before == after {
            return;
        }
        let right = |what| Right {
            step: step.to_owned(),
            what,
        };
        self.denied.extend(before.map(right));
        self.granted.extend(after.map(right));
    }

    /// Adds the other boundary of a role; an empty text stands for none. What the earlier one held back is granted.
    pub fn change_boundary(&mut self, step: &str, before: &str, after: &str) {
        let boundary = |arn: &str| {
            (!arn.is_empty()).then(|| What::Boundary {
                boundary: arn.to_owned(),
            })
        };
        self.change(step, boundary(after), boundary(before));
    }

    /// For people: a line each, at most `most` of either kind.
    pub fn text(&self, most: usize) -> String {
        let mut lines = Vec::new();
        for (title, sign, rights) in [("grants", '+', &self.granted), ("denies", '-', &self.denied)] {
            if rights.is_empty() {
                continue;
            }
            lines.push(format!("rights that this plan {title}:\n"));
            let shown = rights.iter().take(most);
            lines.extend(shown.map(|right| format!("  {sign} {}\n", printable(&right.line()))));
            if rights.len() > most {
                let more = rights.len() - most;
                lines.push(format!(
                    "  {sign} {more} more: run `provision plan` to see every one\n"
                ));
            }
        }
        lines.concat()
    }
}

impl Right {
    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let what = match &self.what {
            What::Policy { policy } => format!("all that policy {policy} allows"),
            What::Boundary { boundary } => {
                format!("what the role's policies allow and boundary {boundary} does not")
            }
            What::Role { role } => format!("all that role {role} may do"),
            What::Access(access) => access.text(),
        };
        format!("{}: {what}", self.step)
    }
}

impl Access {
    fn text(&self) -> String {
        let principal = self.principal.iter().map(|principal| format!("{principal}: "));
        let resource = self.resource.iter().map(|resource| format!(" on {resource}"));
        let condition = self.condition.iter().map(|condition| format!(" if {condition}"));
        let parts = principal.chain([self.actions.join(", ")]).chain(resource);
        parts.chain(condition).collect()
    }
}

/// Whether a statement of the document allows every action on every resource.
pub(crate) fn allows_everything(document: &Value) -> bool {
    let allowed = Grants::of(document).allowed;
    (allowed.iter())
        .any(|grant| ["*", "*:*"].contains(&&*grant.action) && grant.resource.as_deref() == Some("*"))
}

/// What a document says, taken apart.
#[derive(Default)]
struct Grants {
    allowed: Vec<Grant>,
    denied: Vec<Grant>,
}

impl Grants {
    fn of(document: &Value) -> Self {
        let mut grants = Self::default();
        for statement in list(&document["Statement"]) {
            let all = match statement["Effect"].as_str() {
                Some("Allow") => &mut grants.allowed,
                Some("Deny") => &mut grants.denied,
                _ => continue,
            };
            let condition = Some(&statement["Condition"]).filter(|condition| !condition.is_null());
            for principal in principals(statement) {
                for action in texts(statement, "Action", "NotAction") {
                    for resource in texts(statement, "Resource", "NotResource") {
                        all.push(Grant {
                            principal: principal.clone(),
                            action: action.clone().unwrap_or_default(),
                            resource: resource.clone(),
                            condition: condition.cloned(),
                        });
                    }
                }
            }
        }
        grants
    }
}

fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

/// The texts of a field, or the one thing that its opposite says; `None` once where there is neither.
fn texts(statement: &Value, field: &str, opposite: &str) -> Vec<Option<String>> {
    let plain = list(&statement[field]).iter().filter_map(Value::as_str);
    let mut texts: Vec<Option<String>> = plain.map(|text| Some(text.to_owned())).collect();
    let others: Vec<&str> = list(&statement[opposite])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if !others.is_empty() {
        texts.push(Some(format!("all but {}", others.join(", "))));
    }
    if texts.is_empty() {
        texts.push(None);
    }
    texts
}

fn principals(statement: &Value) -> Vec<Option<String>> {
    let mut principals = Vec::new();
    for (field, prefix) in [("Principal", ""), ("NotPrincipal", "all but ")] {
        match &statement[field] {
            Value::Object(kinds) => {
                let all = kinds.values().flat_map(list).filter_map(Value::as_str);
                principals.extend(all.map(|one| Some(format!("{prefix}{one}"))));
            }
            Value::String(one) => principals.push(Some(format!("{prefix}{one}"))),
            _ => {}
        }
    }
    if principals.is_empty() {
        principals.push(None);
    }
    principals
}

/// Those of `all` that none of `by` is as wide as.
fn uncovered(all: &[Grant], by: &[Grant]) -> Vec<Grant> {
    let is_covered = |one: &&Grant| by.iter().any(|other| other.covers(one));
    all.iter().filter(|one| !is_covered(one)).cloned().collect()
}

impl Grant {
    fn covers(&self, other: &Self) -> bool {
        let wide = |wide: &Option<String>, narrow: &Option<String>| match (wide, narrow) {
            (Some(wide), Some(narrow)) => matches(wide, narrow),
            (wide, narrow) => wide == narrow,
        };
        let (action, other_action) = (self.action.to_lowercase(), other.action.to_lowercase());
        matches(&action, &other_action)
            && wide(&self.principal, &other.principal)
            && wide(&self.resource, &other.resource)
            && (self.condition.is_none() || self.condition == other.condition)
    }
}

/// Whether IAM takes all that `text` stands for as one of `pattern`, in which `*` is any text and `?` any character.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    // Where the last `*` was, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(b'?') if text[seen] != b'*' => (at, seen) = (at + 1, seen + 1),
            Some(same) if *same == text[seen] && *same != b'?' => (at, seen) = (at + 1, seen + 1),
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    (at, seen) = (place + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// One right for all actions that one step changes for the same principal, resource and condition, in their order.
fn joined(step: &str, grants: Vec<Grant>) -> Vec<Right> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut rights: Vec<Access> = Vec::new();
    for grant in grants {
        let Grant {
            principal,
            action,
            resource,
            condition,
        } = grant;
        let key = format!("{principal:?} {resource:?} {condition:?}");
        let place = *places.entry(key).or_insert(rights.len());
        if place == rights.len() {
            rights.push(Access {
                principal,
                actions: Vec::new(),
                resource,
                condition,
            });
        }
        let actions = &mut rights[place].actions;
        if !actions.contains(&action) {
            actions.push(action);
        }
    }
    let rights = rights.into_iter().map(|access| Right {
        step: step.to_owned(),
        what: What::Access(access),
    });
    rights.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const TABLE: &str = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders";

    fn allow(actions: &[&str], resource: &str) -> Value {
        json!({"Effect": "Allow", "Action": actions, "Resource": resource})
    }

    fn document(statements: &[Value]) -> Value {
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    /// The lines of a change, without the titles.
    fn lines(before: &Value, after: &Value) -> Vec<String> {
        let mut rights = Rights::default();
        rights.change_document("p", before, after);
        let text = rights.text(usize::MAX);
        let lines = text.lines().filter(|line| line.starts_with("  "));
        lines.map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn a_new_document_grants_all_of_it_and_a_deleted_one_denies_it() {
        let one = document(&[allow(&["dynamodb:GetItem", "dynamodb:Query"], TABLE)]);
        let line = format!("p: dynamodb:GetItem, dynamodb:Query on {TABLE}");
        assert_eq!(lines(&Value::Null, &one), [format!("+ {line}")]);
        assert_eq!(lines(&one, &Value::Null), [format!("- {line}")]);
        assert_eq!(lines(&one, &one), [""; 0]);
    }

    #[test]
    fn only_what_is_not_covered_by_a_wider_one_is_told() {
        let wide = document(&[allow(&["dynamodb:*"], "arn:aws:dynamodb:*:*:table/orders*")]);
        let narrow = document(&[allow(&["DynamoDB:GetItem"], TABLE)]);
        assert_eq!(
            lines(&wide, &narrow),
            ["- p: dynamodb:* on arn:aws:dynamodb:*:*:table/orders*"]
        );
        assert_eq!(
            lines(&narrow, &wide),
            ["+ p: dynamodb:* on arn:aws:dynamodb:*:*:table/orders*"]
        );
    }

    #[test]
    fn a_condition_narrows_and_a_denial_takes_away() {
        let plain = allow(&["s3:GetObject"], "*");
        let mut narrowed = plain.clone();
        narrowed["Condition"] = json!({"Bool": {"aws:SecureTransport": "true"}});
        let (plain, narrowed) = (document(&[plain]), document(&[narrowed]));
        assert_eq!(lines(&plain, &narrowed), ["- p: s3:GetObject on *"]);
        assert_eq!(
            lines(&narrowed, &plain),
            ["+ p: s3:GetObject on *"],
            "without the condition"
        );
        let deny = json!({"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"});
        let denied = document(&[deny]);
        assert_eq!(lines(&Value::Null, &denied), ["- p: s3:DeleteObject on *"]);
        assert_eq!(lines(&denied, &Value::Null), ["+ p: s3:DeleteObject on *"]);
    }

    #[test]
    fn what_is_meant_by_its_opposite_is_told_in_these_words() {
        let not = json!({"Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "NotResource": TABLE});
        assert_eq!(
            lines(&Value::Null, &document(&[not])),
            [format!("+ p: all but iam:*, sts:* on all but {TABLE}")]
        );
    }

    #[test]
    fn a_principal_more_is_told() {
        let trust = |services: Value| {
            document(&[json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": services})])
        };
        let one = trust(json!({"Service": "lambda.amazonaws.com"}));
        let two = trust(json!({"Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]}));
        let all = trust(json!("*"));
        assert_eq!(lines(&one, &two), ["+ p: ec2.amazonaws.com: sts:AssumeRole"]);
        assert_eq!(lines(&one, &all), ["+ p: *: sts:AssumeRole"]);
        assert_eq!(lines(&all, &one), ["- p: *: sts:AssumeRole"]);
    }

    #[test]
    fn policies_roles_and_boundaries_are_told_as_a_whole() {
        let mut rights = Rights::default();
        let policy = |name: &str| {
            Some(What::Policy {
                policy: name.to_owned(),
            })
        };
        rights.change("a", None, policy("one"));
        rights.change("b", policy("two"), None);
        rights.change("c", policy("same"), policy("same"));
        rights.change_boundary("r", "", "new");
        rights.change_boundary("s", "old", "");
        insta::assert_snapshot!(rights.text(10), @r"
        rights that this plan grants:
          + a: all that policy one allows
          + s: what the role's policies allow and boundary old does not
        rights that this plan denies:
          - b: all that policy two allows
          - r: what the role's policies allow and boundary new does not
        ");
        assert!(
            rights.text(1).contains("  + 1 more: run `provision plan`"),
            "{}",
            rights.text(1)
        );
        assert_eq!(
            serde_json::to_value(&rights).unwrap()["granted"][0],
            json!({"step": "a", "policy": "one"})
        );
    }

    #[test]
    fn every_action_on_everything_is_seen_however_it_is_written() {
        for (document, expected) in [
            (document(&[allow(&["*"], "*")]), true),
            (
                json!({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}),
                true,
            ),
            (document(&[allow(&["s3:*"], "*")]), false),
            (document(&[allow(&["*"], TABLE)]), false),
            (
                document(&[json!({"Effect": "Deny", "Action": "*", "Resource": "*"})]),
                false,
            ),
        ] {
            assert_eq!(allows_everything(&document), expected, "{document}");
        }
    }

    #[test]
    fn a_wildcard_is_covered_only_by_one_that_is_as_wide() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "a?*", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "a?c", true),
            ("a?c", "a*c", false),
            ("a*b*c", "a*b*c", true),
            ("abc", "a*", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_without_wildcards_takes_itself_and_every_pattern_is_as_wide_as_itself(text in "[ab*?]{0,12}", plain in "[ab]{0,12}") {
            prop_assert!(matches(&text, &text));
            prop_assert!(matches(&plain, &plain));
            let wide = format!("{text}*");
            prop_assert!(matches(&wide, &text));
        }
    }
}
