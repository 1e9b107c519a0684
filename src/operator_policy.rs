//! The smallest IAM policy that lets an operator run a command, from one table of the AWS operations that are called.
//!
//! Must not do I/O or be async, and must not read the configuration or the state: the caller passes what is in them.

mod on;
mod reaches;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::on::On;
use self::on::On::{
    AccountOfFunctions, AccountOfGroups, AccountOfPools, Anything, BoundedRole, NewRole, Role,
};
use self::rows::{ALSO, ALSO_ON_ACCOUNT, Also, BESIDE, BY_DOCTOR, ON_ACCOUNT, TABLES};
use crate::aws::tags::{OWNER, STACK};
use crate::secret_place::SecretPlace;

/// What the operator can do with the policy. `plan` reads what `status` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// `up`.
    Up,
    /// `status`, `plan`.
    Status,
    /// `down`.
    Down,
    /// `token`.
    Token,
    /// `call`, beside what `token` needs.
    Call,
    /// `logs`.
    Logs,
    /// `secret`.
    Secret,
    /// `client list`.
    Client,
    /// `recover`.
    Recover,
    /// `account logs`.
    AccountLogs,
    /// `doctor`.
    Doctor,
}

/// The stack that the policy is for.
pub struct Scope {
    /// `aws`, `aws-cn`, ….
    pub partition: String,
    /// 12 digits.
    pub account: String,
    pub region: String,
    pub stack: String,
    /// The stack's owner; `None` before the first `up`.
    pub owner: Option<String>,
    /// The character on both sides of the owner in names.
    pub separator: char,
    /// Which parts the stack has, in the configuration or on record.
    pub parts: Parts,
    /// The ids of the user pools on record that the stack made.
    pub pools: BTreeSet<String>,
    /// The ids of the user pools of others that the stack is in.
    pub shared_pools: BTreeSet<String>,
    /// The ids of the REST APIs on record.
    pub apis: BTreeSet<String>,
    /// The places in the configuration's `secret_from`.
    pub secrets: BTreeSet<SecretPlace>,
    /// Where `secret` writes to.
    pub hand_out: Option<SecretPlace>,
    /// The ARN of the role that writes there; `None`: the operator does.
    pub hand_out_role: Option<String>,
    /// The ARNs of the layer versions of the functions.
    pub layers: BTreeSet<String>,
    /// The ARNs of the keys that encrypt the functions' environments.
    pub keys: BTreeSet<String>,
    /// Whether a function is in a private network.
    pub has_network: bool,
    /// Whether the stage logs requests, or is to.
    pub has_access_logs: bool,
    /// The ARNs of the web ACLs that the stage has, or is to.
    pub web_acls: BTreeSet<String>,
    /// The ARNs of the functions of back ends, in the configuration and on record, with their qualifiers.
    pub backends: BTreeSet<String>,
    pub domains: Domains,
    /// The bucket and the key of the state, if it is in S3.
    pub state: Option<(String, String)>,
    /// The ARN of the KMS key of that bucket; `None`: S3 encrypts with its own.
    pub state_key: Option<String>,
    pub roles: Roles,
}

/// What the configuration and the record say of the domains of APIs.
#[derive(Default)]
pub struct Domains {
    /// The names of all of them.
    pub named: BTreeSet<String>,
    /// The names of those on record that the stack has made.
    pub recorded: BTreeSet<String>,
    /// The names of those that the stack makes where nobody has made them.
    pub made: BTreeSet<String>,
    /// The ARNs of the objects of certificates that clients need one of.
    pub truststores: BTreeSet<String>,
    /// Whether the API answers only there, so that tokens are sent there.
    pub are_called: bool,
    /// Whether the pool has one as well.
    pub of_pool: bool,
}

/// The parts that a stack can be without.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// A user pool of its own.
    pub pool: bool,
    /// Functions with their roles and log groups.
    pub functions: bool,
    /// A REST API.
    pub api: bool,
}

impl Parts {
    /// All that there can be.
    pub const ALL: Self = Self {
        pool: true,
        functions: true,
        api: true,
    };
    /// Nothing but clients and resource servers in a pool of others.
    pub const NONE: Self = Self {
        pool: false,
        functions: false,
        api: false,
    };
}

/// What the configuration and the record say of the roles of functions.
#[derive(Default)]
pub struct Roles {
    /// The paths of the stack's roles; `/` if there are none.
    pub paths: BTreeSet<String>,
    /// The ARN of the boundary that every role must have.
    pub boundary: Option<String>,
    /// Whether roles on record have a boundary, and are to have none.
    pub lose_boundary: bool,
    /// The ARNs of the managed policies that are attached or are to be.
    pub policies: BTreeSet<String>,
    /// The ARNs of the roles that somebody else made and functions run as.
    pub foreign: BTreeSet<String>,
}

fn is_read(operation: &str) -> bool {
    operation
        .split_once(':')
        .is_some_and(|(_, name)| crate::aws::http::is_read(name))
}

/// The IAM action of an operation: API Gateway has the verbs of HTTP for actions.
fn action(operation: &str) -> String {
    let Some(name) = operation.strip_prefix("apigateway:") else {
        return operation.to_owned();
    };
    let verbs = [
        ("Get", "GET"),
        ("Create", "POST"),
        ("Update", "PATCH"),
        ("Delete", "DELETE"),
        ("Put", "PUT"),
        ("Tag", "PUT"),
        ("Untag", "DELETE"),
    ];
    let verb = verbs.iter().find(|(word, _)| name.starts_with(word));
    format!(
        "apigateway:{}",
        verb.expect("every row begins with one of them").1
    )
}

/// Whether this `service:Operation` is in the table or in [`BESIDE`].
pub fn knows(operation: &str) -> bool {
    BESIDE.contains(&operation) || operations().any(|known| known == operation)
}

pub fn operations() -> impl Iterator<Item = &'static str> {
    let beside = ON_ACCOUNT.iter().chain(BY_DOCTOR);
    (TABLES.into_iter().flatten().chain(beside)).map(|(operation, ..)| *operation)
}

/// The policy document for these tasks.
pub fn document(scope: &Scope, tasks: &BTreeSet<Task>) -> Value {
    let mut allowed: BTreeMap<On, BTreeSet<String>> = BTreeMap::new();
    let of_stack = TABLES.into_iter().flatten().map(|row| (row, &ALSO[..]));
    let of_account = ON_ACCOUNT.iter().map(|row| (row, &ALSO_ON_ACCOUNT[..]));
    let of_doctor = BY_DOCTOR.iter().map(|row| (row, &[][..]));
    for ((operation, on, by), also) in of_stack.chain(of_account).chain(of_doctor) {
        // What `up` reads before it makes anything is what a recovery looks for.
        let looks_for = tasks.contains(&Task::Recover) && by.contains(&Task::Up) && is_read(operation);
        if looks_for || by.iter().any(|task| tasks.contains(task)) {
            allowed
                .entry(scope.narrowed(*on, looks_for))
                .or_default()
                .insert(action(operation));
            let also = also.iter().copied().flatten();
            for (_, action, on) in also.filter(|(with, ..): &&Also| *with == *operation) {
                allowed.entry(*on).or_default().insert((*action).to_owned());
            }
        }
    }
    let statements: Vec<Value> = allowed
        .into_iter()
        .flat_map(|(on, actions)| {
            let reaches = scope.reaches(on, tasks).into_iter();
            reaches.map(move |reach| reach.statement(&actions))
        })
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

impl Scope {
    /// Where a role is made without a boundary, that is one right among those on the stack's roles. A recovery looks for all
    /// that a stack of the name may ever have had.
    fn narrowed(&self, on: On, looks_for: bool) -> On {
        match on {
            AccountOfFunctions | AccountOfGroups | AccountOfPools if looks_for => Anything,
            AccountOfGroups if self.parts.functions || self.has_access_logs => Anything,
            AccountOfFunctions if self.parts.functions => Anything,
            AccountOfPools if self.parts.pool => Anything,
            NewRole if self.roles.boundary.is_some() => BoundedRole,
            NewRole => Role,
            on => on,
        }
    }

    /// The stack's tags, on a resource or in a request.
    fn tags(&self, key: &str) -> Value {
        let mut tags = json!({ format!("aws:{key}/{STACK}"): self.stack });
        if let Some(owner) = &self.owner {
            tags[format!("aws:{key}/{OWNER}")] = json!(owner);
        }
        tags
    }
}

#[cfg(test)]
mod tests;
