//! What others have put into the stack's resources: everything live in them that is not on record.
//!
//! Must not do I/O or be async, and must not know AWS, the state or the engine: the caller says what is live.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::untrusted::printable;

/// The kinds of content that are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// In a REST API.
    Path,
    /// In a REST API.
    Method,
    /// In a REST API.
    Stage,
    /// In a REST API.
    Authorizer,
    /// A user pool whose tokens our authorizer accepts.
    Pool,
    /// All users of a user pool, as one item.
    Users,
    /// In a user pool.
    Client,
    /// In a user pool.
    ResourceServer,
    /// In a function's resource policy.
    Statement,
    /// In a role.
    InlinePolicy,
    /// Attached to a role.
    ManagedPolicy,
    /// In a domain.
    Mapping,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::Method => "method",
            Self::Stage => "stage",
            Self::Authorizer => "authorizer",
            Self::Pool => "pool",
            Self::Users => "users:",
            Self::Client => "client",
            Self::ResourceServer => "resource server",
            Self::Statement => "statement",
            Self::InlinePolicy => "inline policy",
            Self::ManagedPolicy => "managed policy",
            Self::Mapping => "mapping",
        })
    }
}

/// Something live in one of the stack's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub kind: Kind,
    /// Its id in AWS, as it would be on record.
    pub id: String,
    /// Its name for people, which others may have chosen. For users: about how many there are.
    pub name: String,
    /// What a record has before AWS has answered an id: the name, or the place.
    pub alias: String,
    /// The ids of the paths that it is on or below, and their places.
    pub paths: Vec<String>,
    /// Why it breaks a promise of the stack; `None`: it is only listed.
    pub finding: Option<String>,
}

impl Item {
    /// An item without the fields that only some kinds have.
    pub fn new(kind: Kind, id: &str, name: &str) -> Self {
        Self {
            kind,
            id: id.to_owned(),
            name: name.to_owned(),
            alias: String::new(),
            paths: Vec::new(),
            finding: None,
        }
    }

    /// The same item with the reason why it breaks a promise of the stack.
    #[must_use]
    pub fn breaking(mut self, finding: &str) -> Self {
        self.finding = Some(finding.to_owned());
        self
    }
}

/// What is on record in one of the stack's resources.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ours {
    /// By id.
    pub ids: BTreeSet<(Kind, String)>,
    /// The name or the place of what an interrupted run may have created.
    pub aliases: BTreeSet<(Kind, String)>,
}

impl Ours {
    fn has(&self, item: &Item) -> bool {
        self.ids.contains(&(item.kind, item.id.clone()))
            || self.aliases.contains(&(item.kind, item.alias.clone()))
    }
}

/// Something in one of the stack's resources that is not on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Foreign {
    /// The step of the resource that it is in.
    pub step: String,
    pub kind: Kind,
    /// Its id in AWS.
    pub id: String,
    /// Its name for people. For users: about how many there are.
    pub name: String,
    /// Why it breaks a promise of the stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
    /// The ids of the paths that it is on or below, and their places.
    #[serde(skip)]
    pub paths: Vec<String>,
}

impl Foreign {
    /// One line for people, safe to print.
    pub fn line(&self) -> String {
        let finding = match &self.finding {
            Some(finding) => format!(": {finding}"),
            None => String::new(),
        };
        printable(&format!("{} {} in {}{finding}", self.kind, self.name, self.step))
    }
}

/// What is foreign in `live`, the content of the resource of `step`. A statement of ours that others opened to everybody is
/// foreign as well, because the record does not say whom it allows.
pub(crate) fn foreign(step: &str, live: Vec<Item>, ours: &Ours) -> Vec<Foreign> {
    live.into_iter()
        .filter(|item| !ours.has(item) || (item.kind == Kind::Statement && item.finding.is_some()))
        .map(|item| Foreign {
            step: step.to_owned(),
            kind: item.kind,
            id: item.id,
            name: item.name,
            finding: item.finding,
            paths: item.paths,
        })
        .collect()
}

/// Why a method's authorization breaks a promise. `ours` are the ids of the stack's authorizers.
pub(crate) fn method_finding(
    authorization: Option<&str>,
    authorizer: Option<&str>,
    ours: &BTreeSet<String>,
) -> Option<String> {
    match (authorization, authorizer) {
        (Some("COGNITO_USER_POOLS"), Some(id)) if ours.contains(id) => None,
        (None | Some("NONE"), _) => Some("it has no authorization: anyone can call it".to_owned()),
        (Some(other), None) => Some(format!(
            "its authorization is {other}, not the stack's authorizer"
        )),
        (Some(_), Some(id)) => Some(format!("it has another authorizer than the stack's: {id}")),
    }
}

/// The condition keys that do not narrow who may call: statements of a function's URL have them.
const ANYBODY: [&str; 2] = ["lambda:FunctionUrlAuthType", "lambda:InvokedViaFunctionUrl"];

/// Whether a statement of a policy allows everybody.
pub(crate) fn is_open(statement: &Value) -> bool {
    let names_all = |value: &Value| match value {
        Value::String(one) => one == "*",
        Value::Array(all) => all.iter().any(|one| one == "*"),
        _ => false,
    };
    let principal = &statement["Principal"];
    let conditions = (statement["Condition"].as_object().into_iter())
        .flat_map(|operators| operators.values())
        .filter_map(Value::as_object)
        .flat_map(|keys| keys.keys());
    let mut narrowing = conditions.filter(|key| !ANYBODY.iter().any(|any| any.eq_ignore_ascii_case(key)));
    statement["Effect"] == "Allow"
        && (names_all(principal) || names_all(&principal["AWS"]) || statement.get("NotPrincipal").is_some())
        && narrowing.next().is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client(id: &str, name: &str) -> Item {
        Item {
            alias: name.to_owned(),
            ..Item::new(Kind::Client, id, name)
        }
    }

    #[test]
    fn what_is_on_record_is_ours_by_its_id_and_what_was_interrupted_by_its_name() {
        let ours = Ours {
            ids: [(Kind::Client, "c1".to_owned())].into(),
            aliases: [(Kind::Client, "begun".to_owned())].into(),
        };
        let live = vec![
            client("c1", "app"),
            client("c2", "app"),
            client("c3", "begun"),
            Item::new(Kind::Stage, "c1", "c1"),
        ];
        let found = foreign("user-pool", live, &ours);
        let ids: Vec<(Kind, &str)> = (found.iter()).map(|one| (one.kind, one.id.as_str())).collect();
        assert_eq!(ids, [(Kind::Client, "c2"), (Kind::Stage, "c1")]);
    }

    #[test]
    fn a_statement_of_ours_that_is_open_is_told() {
        let ours = Ours {
            ids: [(Kind::Statement, "api".to_owned())].into(),
            ..Ours::default()
        };
        let one = Item::new(Kind::Statement, "api", "api");
        assert_eq!(foreign("function:a", vec![one.clone()], &ours), []);
        assert_eq!(foreign("function:a", vec![one.breaking("open")], &ours).len(), 1);
    }

    #[test]
    fn only_our_authorizer_guards_a_method() {
        let ours = BTreeSet::from(["z1".to_owned()]);
        for (authorization, authorizer, open) in [
            (Some("COGNITO_USER_POOLS"), Some("z1"), false),
            (Some("COGNITO_USER_POOLS"), Some("z2"), true),
            (Some("COGNITO_USER_POOLS"), None, true),
            (Some("CUSTOM"), Some("z1"), true),
            (Some("AWS_IAM"), None, true),
            (Some("NONE"), None, true),
            (Some("NONE"), Some("z1"), true),
            (None, None, true),
        ] {
            let finding = method_finding(authorization, authorizer, &ours);
            assert_eq!(finding.is_some(), open, "{authorization:?} {authorizer:?}");
        }
    }

    #[test]
    fn a_statement_is_open_where_nothing_says_who() {
        let url = json!({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}});
        let via = json!({"Bool": {"lambda:invokedViaFunctionUrl": "true"}});
        let account = json!({"StringEquals": {"AWS:SourceAccount": "1"}});
        for (statement, open) in [
            (json!({"Effect": "Allow", "Principal": "*"}), true),
            (json!({"Effect": "Allow", "Principal": {"AWS": "*"}}), true),
            (json!({"Effect": "Allow", "Principal": {"AWS": ["1", "*"]}}), true),
            (json!({"Effect": "Allow", "NotPrincipal": {"AWS": "1"}}), true),
            (
                json!({"Effect": "Allow", "Principal": "*", "Condition": {}}),
                true,
            ),
            (
                json!({"Effect": "Allow", "Principal": "*", "Condition": url}),
                true,
            ),
            (
                json!({"Effect": "Allow", "Principal": "*", "Condition": via}),
                true,
            ),
            (
                json!({"Effect": "Allow", "Principal": "*", "Condition": account}),
                false,
            ),
            (json!({"Effect": "Deny", "Principal": "*"}), false),
            (
                json!({"Effect": "Allow", "Principal": {"AWS": "111122223333"}}),
                false,
            ),
            (
                json!({"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}}),
                false,
            ),
            (json!("*"), false),
        ] {
            assert_eq!(is_open(&statement), open, "{statement}");
        }
    }

    #[test]
    fn a_line_is_safe_to_print() {
        let one = client("c1", "a\u{1b}[2J\nb").breaking("why");
        let found = foreign("user-pool", vec![one], &Ours::default());
        assert_eq!(found[0].line(), "client a\\u{1b}[2J\\nb in user-pool: why");
    }
}
