//! The resources that a right is for, in one stack, and on which condition.

mod api;
mod domains;
mod functions;
mod places;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::on::On::{
    self, AccountApis, AccountOfFunctions, AccountOfGroups, AccountOfPools, AnyApi, AnyPool, Anything, Api,
    ApiTags, Apis, Backend, BackendForApi, BoundedRole, CalledMapping, CloudFront, Domain, DomainRole,
    DomainTags, Firewall, FirewalledApi, ForeignRole, ForeignRoleForLambda, Function, FunctionForApi,
    HandOutParameter, HandOutRole, HandOutSecret, Key, Layer, LogGroup, LogRole, LogRoleForApi,
    LogRoleWithPolicy, Mapping, Mappings, MutualTls, NamedParameter, NamedSecret, Network, NewApi, NewDomain,
    NewPool, NewRole, OwnDomain, Pool, PoolWithDomain, Principals, Role, RoleForLambda, RoleWithPolicy,
    Settings, SharedPool, SharedSettings, State, StateBucket, StateKey, Truststore, UnboundedRole,
};
use super::{Parts, Scope, Task};
use crate::aws::account_logs;
use crate::stack::unique;

/// The part of a statement that says what it is allowed on.
pub(super) struct Reach {
    sid: String,
    resources: Vec<String>,
    condition: Option<Value>,
}

impl Reach {
    pub(super) fn statement(self, actions: &BTreeSet<String>) -> Value {
        let mut statement = json!({
            "Sid": self.sid, "Effect": "Allow", "Action": actions, "Resource": self.resources,
        });
        if let Some(condition) = self.condition {
            statement["Condition"] = json!({ "StringEquals": condition });
        }
        statement
    }
}

/// All of these resources, on a condition; nothing if there are none.
fn all(on: On, resources: Vec<String>, condition: Option<Value>) -> Vec<Reach> {
    let reach = (!resources.is_empty()).then(|| Reach {
        sid: format!("{on:?}"),
        resources,
        condition,
    });
    reach.into_iter().collect()
}

fn one(on: On, resource: String, condition: Option<Value>) -> Vec<Reach> {
    all(on, vec![resource], condition)
}

/// The condition that a key has one of these values; none if there are no values.
fn is(key: &str, values: &[String]) -> Option<Value> {
    match values {
        [] => None,
        [one] => Some(json!({ key: one })),
        all => Some(json!({ key: all })),
    }
}

fn passed_to(service: &str) -> Option<Value> {
    is("iam:PassedToService", &[format!("{service}.amazonaws.com")])
}

impl Scope {
    /// The resources of `on` in this stack. Where something is made, a resource on record may be replaced, so that tags count
    /// as well.
    pub(super) fn reaches(&self, on: On, tasks: &BTreeSet<Task>) -> Vec<Reach> {
        let (makes, recovers) = (tasks.contains(&Task::Up), tasks.contains(&Task::Recover));
        if self.lacks(on, recovers) {
            return Vec::new();
        }
        match on {
            Role | NewRole | BoundedRole | UnboundedRole | RoleWithPolicy | RoleForLambda | ForeignRole
            | ForeignRoleForLambda | Function | FunctionForApi | Backend | BackendForApi | LogGroup
            | Layer | Key => self.reaches_of_functions(on),
            Anything | AccountOfFunctions | AccountOfGroups | AccountOfPools | CloudFront | Network => {
                one(on, "*".to_owned(), None)
            }
            NewPool => one(on, "*".to_owned(), Some(self.tags("RequestTag"))),
            AnyPool => one(on, self.pool("*"), None),
            Pool | PoolWithDomain => self.ours(on, &self.pools, makes, &|id| vec![self.pool(id)]),
            SharedPool => all(
                on,
                self.shared_pools.iter().map(|id| self.pool(id)).collect(),
                None,
            ),
            Apis | NewApi | AnyApi | Api | FirewalledApi | ApiTags | Firewall | Settings => {
                self.reaches_of_api(on, makes)
            }
            AccountApis => one(on, self.in_api_gateway("/restapis"), None),
            Principals => {
                let names = ["role/*", "user/*"];
                let arn = |name| format!("arn:{}:iam::{}:{name}", self.partition, self.account);
                all(on, names.map(arn).to_vec(), None)
            }
            SharedSettings => one(on, self.in_api_gateway("/account"), None),
            LogRole => one(on, self.log_role(), None),
            LogRoleWithPolicy => {
                let policy = account_logs::policy(&self.partition);
                one(on, self.log_role(), is("iam:PolicyARN", &[policy]))
            }
            LogRoleForApi => one(on, self.log_role(), passed_to("apigateway")),
            Domain | NewDomain | OwnDomain | DomainTags | Mappings | Mapping | CalledMapping | MutualTls
            | Truststore | DomainRole => self.reaches_of_domains(on),
            NamedSecret | NamedParameter | HandOutSecret | HandOutParameter | HandOutRole | State
            | StateBucket | StateKey => self.reaches_of_places(on),
        }
    }

    /// Whether the stack is without the part that this is of.
    fn lacks(&self, on: On, recovers: bool) -> bool {
        let Parts { pool, functions, api } = self.parts;
        match on {
            Role | NewRole | BoundedRole | UnboundedRole | RoleWithPolicy | RoleForLambda | Function => {
                !functions
            }
            FunctionForApi => !functions || !api,
            LogGroup => !functions && !self.has_access_logs,
            NewApi | AnyApi | Api | ApiTags => !api,
            Apis => !api && !recovers,
            NewPool | AnyPool | Pool => !pool,
            PoolWithDomain | CloudFront => !self.domains.of_pool,
            Firewall | FirewalledApi => self.web_acls.is_empty(),
            Settings => !self.has_access_logs,
            Network => !self.has_network,
            // They are `Anything` where the stack has what they are of.
            AccountOfFunctions | AccountOfGroups | AccountOfPools => true,
            _ => false,
        }
    }

    /// By id if there is one, because a condition on tags fails if the resource is gone.
    fn ours(
        &self,
        on: On,
        ids: &BTreeSet<String>,
        makes: bool,
        arns: &dyn Fn(&str) -> Vec<String>,
    ) -> Vec<Reach> {
        let recorded = (!ids.is_empty()).then(|| Reach {
            sid: format!("{on:?}OnRecord"),
            resources: ids.iter().flat_map(|id| arns(id)).collect(),
            condition: None,
        });
        let tagged = (ids.is_empty() || makes).then(|| Reach {
            sid: format!("{on:?}"),
            resources: vec![arns("*").pop().expect("there is an ARN for every id")],
            condition: Some(self.tags("ResourceTag")),
        });
        recorded.into_iter().chain(tagged).collect()
    }

    fn arn(&self, service: &str, region: &str, account: &str, name: &str) -> String {
        format!("arn:{}:{service}:{region}:{account}:{name}", self.partition)
    }

    /// The ARN of what is in the account and region.
    fn here(&self, service: &str, name: &str) -> String {
        self.arn(service, &self.region, &self.account, name)
    }

    /// API Gateway's ARNs have no account.
    fn in_api_gateway(&self, path: &str) -> String {
        self.arn("apigateway", &self.region, "", path)
    }

    fn pool(&self, id: &str) -> String {
        self.here("cognito-idp", &format!("userpool/{id}"))
    }

    fn log_role(&self) -> String {
        self.arn("iam", "", &self.account, &format!("role/{}", account_logs::ROLE))
    }

    /// The name of the stack's role, function or log group for this.
    fn name(&self, what: &str) -> String {
        // `?` stands for one character, and an owner has 8.
        let owner = self.owner.as_deref().unwrap_or("????????");
        unique(&self.stack, self.separator, owner, what)
    }
}

/// As a part of a path.
fn encoded(arn: &str) -> String {
    arn.replace(':', "%3A").replace('/', "%2F")
}
