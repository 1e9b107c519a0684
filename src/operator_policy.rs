//! The smallest IAM policy that lets an operator do a command, made from one table of the AWS operations that are called.
//!
//! Must not do I/O or be async, and must not know what is configured or on record: it is told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::aws::tags::{OWNER, STACK};
use crate::stack::unique;

/// What the operator is to be able to do. `plan` reads as `status` does, and `call` fetches a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// `up`.
    Up,
    /// `status`, `plan`.
    Status,
    /// `down`.
    Down,
    /// `token`, `call`.
    Token,
    /// `logs`.
    Logs,
    /// `secret`.
    Secret,
}

/// Whose resources they are.
pub struct Scope {
    /// `aws`, `aws-cn`, ….
    pub partition: String,
    /// 12 digits.
    pub account: String,
    /// The region.
    pub region: String,
    /// The stack's name.
    pub stack: String,
    /// The stack's owner; `None` before the first `up` has drawn it.
    pub owner: Option<String>,
    /// What stands around the owner in names.
    pub separator: char,
    /// The ids of the user pools on record.
    pub pools: BTreeSet<String>,
    /// The ids of the REST APIs on record.
    pub apis: BTreeSet<String>,
    /// The names and ARNs of the secrets of Secrets Manager that the configuration reads clients' secrets from.
    pub secrets: BTreeSet<String>,
}

/// What an action is allowed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum On {
    /// The stack's roles, by name.
    Role,
    /// The stack's roles, by name, and only to give them to Lambda.
    RoleForLambda,
    /// The stack's functions, by name.
    Function,
    /// The stack's functions, by name, and only to let API Gateway invoke them.
    FunctionForApi,
    /// The stack's log groups, by name.
    LogGroup,
    /// A pool that has no ARN yet: only its tags can be told.
    NewPool,
    /// All of them: for calls that AWS knows no ARN of (`ListUserPools`; of `DescribeUserPoolDomain` it is unverified).
    Anything,
    /// Every pool of the account, to read: a lost pool is known by tags that a look at all of its name shows, and a tag
    /// condition would make AWS answer "denied" in place of "gone".
    AnyPool,
    /// The stack's pool, by id or tags, and with it its domain, resource servers and clients.
    Pool,
    /// The list of the REST APIs.
    Apis,
    /// An API that has no id yet: only its tags can be told.
    NewApi,
    /// Every REST API of the account, to read, for the reason of `AnyPool`.
    AnyApi,
    /// The stack's REST API, by id or tags, and all below it, which inherits them for this purpose.
    Api,
    /// Tags of REST APIs and stages. What is made with tags is checked under the id `*` before it has one.
    ApiTags,
    /// The secrets of Secrets Manager that the configuration names, if it names any.
    NamedSecret,
}

use On::{
    AnyApi, AnyPool, Anything, Api, ApiTags, Apis, Function, FunctionForApi, LogGroup, NamedSecret, NewApi,
    NewPool, Pool, Role, RoleForLambda,
};

const UP: &[Task] = &[Task::Up];
const DOWN: &[Task] = &[Task::Up, Task::Down];
const READ: &[Task] = &[Task::Up, Task::Status];
const SECRET: &[Task] = &[Task::Secret];
const READ_BY_ALL: &[Task] = &[Task::Up, Task::Status, Task::Down];

/// What is called beside the table. `sts:GetCallerIdentity` needs no permission. `--to secretsmanager:NAME` names a secret
/// that no configuration knows: who owns it grants these two on it.
const BESIDE: &[&str] = &[
    "sts:GetCallerIdentity",
    "secretsmanager:DescribeSecret",
    "secretsmanager:PutSecretValue",
];

/// Every AWS operation of this program but those of [`BESIDE`]: what it is allowed on, and which tasks call it. `down`
/// calls none for what goes with its pool, its API or its function.
const OPERATIONS: &[(&str, On, &[Task])] = &[
    ("iam:GetRole", Role, READ_BY_ALL),
    ("iam:CreateRole", Role, UP),
    ("iam:UpdateAssumeRolePolicy", Role, UP),
    ("iam:TagRole", Role, UP),
    ("iam:UntagRole", Role, UP),
    ("iam:DeleteRole", Role, DOWN),
    // What others gave the role keeps IAM from deleting it.
    ("iam:ListAttachedRolePolicies", Role, READ_BY_ALL),
    ("iam:ListRolePolicies", Role, READ_BY_ALL),
    ("iam:GetRolePolicy", Role, READ_BY_ALL),
    ("iam:PutRolePolicy", Role, UP),
    ("iam:DeleteRolePolicy", Role, DOWN),
    // AWS knows no ARN of it, whatever prefix is asked for.
    ("logs:DescribeLogGroups", Anything, READ_BY_ALL),
    ("logs:ListTagsForResource", LogGroup, READ_BY_ALL),
    ("logs:CreateLogGroup", LogGroup, UP),
    // `down` finishes an interrupted creation before it deletes the group.
    ("logs:PutRetentionPolicy", LogGroup, DOWN),
    ("logs:TagResource", LogGroup, UP),
    ("logs:UntagResource", LogGroup, UP),
    ("logs:DeleteLogGroup", LogGroup, DOWN),
    ("logs:FilterLogEvents", LogGroup, &[Task::Logs]),
    ("lambda:GetFunction", Function, READ_BY_ALL),
    ("lambda:CreateFunction", Function, UP),
    ("lambda:UpdateFunctionConfiguration", Function, UP),
    ("lambda:UpdateFunctionCode", Function, UP),
    ("lambda:TagResource", Function, UP),
    ("lambda:UntagResource", Function, UP),
    ("lambda:DeleteFunction", Function, DOWN),
    ("lambda:GetPolicy", Function, READ),
    // Quotas, which are looked at before a fresh stack is made: AWS knows no ARN of an account's.
    ("lambda:GetAccountSettings", Anything, UP),
    ("iam:GetAccountSummary", Anything, UP),
    ("lambda:AddPermission", FunctionForApi, UP),
    ("lambda:RemovePermission", Function, UP),
    ("cognito-idp:ListUserPools", Anything, DOWN),
    ("cognito-idp:CreateUserPool", NewPool, UP),
    ("cognito-idp:DescribeUserPool", AnyPool, READ_BY_ALL),
    ("cognito-idp:UpdateUserPool", Pool, UP),
    ("cognito-idp:TagResource", Pool, UP),
    ("cognito-idp:UntagResource", Pool, UP),
    ("cognito-idp:DeleteUserPool", Pool, DOWN),
    ("cognito-idp:DescribeUserPoolDomain", Anything, READ_BY_ALL),
    ("cognito-idp:CreateUserPoolDomain", Pool, UP),
    ("cognito-idp:DeleteUserPoolDomain", Pool, DOWN),
    ("cognito-idp:DescribeResourceServer", Pool, UP),
    ("cognito-idp:ListResourceServers", Pool, READ),
    ("cognito-idp:CreateResourceServer", Pool, UP),
    ("cognito-idp:UpdateResourceServer", Pool, UP),
    ("cognito-idp:DeleteResourceServer", Pool, UP),
    ("cognito-idp:ListUserPoolClients", Pool, READ_BY_ALL),
    // Answers the client's secret: never on another pool than the stack's.
    (
        "cognito-idp:DescribeUserPoolClient",
        Pool,
        &[Task::Up, Task::Status, Task::Token, Task::Secret],
    ),
    ("cognito-idp:CreateUserPoolClient", Pool, UP),
    ("cognito-idp:UpdateUserPoolClient", Pool, UP),
    ("cognito-idp:DeleteUserPoolClient", Pool, UP),
    ("cognito-idp:ListUserPoolClientSecrets", Pool, SECRET),
    // Answers the new secret.
    ("cognito-idp:AddUserPoolClientSecret", Pool, SECRET),
    ("cognito-idp:DeleteUserPoolClientSecret", Pool, SECRET),
    // Answers what a client's secret is, for a token.
    (
        "secretsmanager:GetSecretValue",
        NamedSecret,
        &[Task::Up, Task::Token],
    ),
    ("apigateway:GetRestApis", Apis, DOWN),
    ("apigateway:CreateRestApi", NewApi, UP),
    ("apigateway:GetRestApi", AnyApi, READ_BY_ALL),
    ("apigateway:UpdateRestApi", Api, UP),
    ("apigateway:DeleteRestApi", Api, DOWN),
    ("apigateway:TagResource", ApiTags, UP),
    ("apigateway:UntagResource", ApiTags, UP),
    ("apigateway:GetAuthorizers", AnyApi, READ),
    ("apigateway:GetAuthorizer", AnyApi, UP),
    ("apigateway:CreateAuthorizer", Api, UP),
    ("apigateway:UpdateAuthorizer", Api, UP),
    ("apigateway:DeleteAuthorizer", Api, UP),
    ("apigateway:GetResources", AnyApi, READ_BY_ALL),
    ("apigateway:GetResource", AnyApi, UP),
    ("apigateway:CreateResource", Api, UP),
    ("apigateway:DeleteResource", Api, UP),
    ("apigateway:GetMethod", AnyApi, UP),
    ("apigateway:PutMethod", Api, UP),
    ("apigateway:UpdateMethod", Api, UP),
    ("apigateway:DeleteMethod", Api, UP),
    ("apigateway:PutIntegration", Api, UP),
    ("apigateway:UpdateIntegration", Api, UP),
    ("apigateway:GetDeployments", AnyApi, UP),
    ("apigateway:GetDeployment", AnyApi, READ),
    ("apigateway:CreateDeployment", Api, UP),
    ("apigateway:UpdateDeployment", Api, UP),
    ("apigateway:DeleteDeployment", Api, UP),
    ("apigateway:GetStages", AnyApi, READ_BY_ALL),
    ("apigateway:GetStage", AnyApi, UP),
    ("apigateway:CreateStage", Api, UP),
    ("apigateway:UpdateStage", Api, UP),
    ("apigateway:DeleteStage", Api, UP),
];

/// What AWS asks for beside the operation's own action. What is made with tags needs the right to tag.
const ALSO: &[(&str, &str, On)] = &[
    ("iam:CreateRole", "iam:TagRole", Role),
    ("logs:CreateLogGroup", "logs:TagResource", LogGroup),
    // Without it Lambda leaves out the tags that say whose a function is.
    ("lambda:GetFunction", "lambda:ListTags", Function),
    ("lambda:CreateFunction", "lambda:TagResource", Function),
    ("lambda:CreateFunction", "iam:PassRole", RoleForLambda),
    (
        "lambda:UpdateFunctionConfiguration",
        "iam:PassRole",
        RoleForLambda,
    ),
    // Reports differ on whether it is checked on `*` or on a pool that has the tags already.
    ("cognito-idp:CreateUserPool", "cognito-idp:TagResource", NewPool),
    ("cognito-idp:CreateUserPool", "cognito-idp:TagResource", Pool),
    ("cognito-idp:UpdateUserPool", "cognito-idp:TagResource", Pool),
    ("cognito-idp:UpdateUserPool", "cognito-idp:UntagResource", Pool),
    ("apigateway:CreateRestApi", "apigateway:PUT", ApiTags),
    ("apigateway:CreateStage", "apigateway:PUT", ApiTags),
    ("apigateway:TagResource", "apigateway:PATCH", Api),
    ("apigateway:UntagResource", "apigateway:PATCH", Api),
];

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

/// Whether this operation, `service:Operation`, is in the table or known to be beside it.
pub fn knows(operation: &str) -> bool {
    BESIDE.contains(&operation) || OPERATIONS.iter().any(|(known, ..)| *known == operation)
}

/// The operations of the table.
pub fn operations() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|(operation, ..)| *operation)
}

/// The policy document for these tasks.
pub fn document(scope: &Scope, tasks: &BTreeSet<Task>) -> Value {
    let mut allowed: BTreeMap<On, BTreeSet<String>> = BTreeMap::new();
    for (operation, on, by) in OPERATIONS {
        if by.iter().any(|task| tasks.contains(task)) {
            allowed.entry(*on).or_default().insert(action(operation));
            for (_, action, on) in ALSO.iter().filter(|(with, ..)| with == operation) {
                allowed.entry(*on).or_default().insert((*action).to_owned());
            }
        }
    }
    let statements: Vec<Value> = allowed
        .into_iter()
        .flat_map(|(on, actions)| {
            let reaches = scope.reaches(on, tasks.contains(&Task::Up)).into_iter();
            reaches.map(move |reach| reach.statement(&actions))
        })
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// The half of a statement that says on what.
struct Reach {
    sid: String,
    resources: Vec<String>,
    condition: Option<Value>,
}

impl Reach {
    fn statement(self, actions: &BTreeSet<String>) -> Value {
        let mut statement = json!({
            "Sid": self.sid, "Effect": "Allow", "Action": actions, "Resource": self.resources,
        });
        if let Some(condition) = self.condition {
            statement["Condition"] = json!({ "StringEquals": condition });
        }
        statement
    }
}

impl Scope {
    /// What `on` comes down to here. With `makes`, what is on record may yet be replaced by another of ours.
    fn reaches(&self, on: On, makes: bool) -> Vec<Reach> {
        let Self {
            partition,
            account,
            region,
            ..
        } = self;
        let arn = |service: &str, region: &str, account: &str, name: &str| {
            format!("arn:{partition}:{service}:{region}:{account}:{name}")
        };
        // `?` stands for one character, and an owner has 8.
        let owner = self.owner.as_deref().unwrap_or("????????");
        let names = unique(&self.stack, self.separator, owner, "*");
        let role = arn("iam", "", account, &format!("role/{names}"));
        let function = arn("lambda", region, account, &format!("function:{names}"));
        let group = arn("logs", region, account, &format!("log-group:/aws/lambda/{names}"));
        let pool = |id: &str| arn("cognito-idp", region, account, &format!("userpool/{id}"));
        // Without an account, unlike other ARNs.
        let api = |path: &str| arn("apigateway", region, "", &format!("/restapis{path}"));
        let tags = api("/").replace(':', "%3A").replace('/', "%2F");
        let one = |resource: String, condition: Option<Value>| {
            vec![Reach {
                sid: format!("{on:?}"),
                resources: vec![resource],
                condition,
            }]
        };
        // By id where there is one, as a condition on tags fails for what is gone already.
        let ours = |ids: &BTreeSet<String>, arns: &dyn Fn(&str) -> Vec<String>| {
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
        };
        match on {
            Role => one(role, None),
            RoleForLambda => one(role, Some(json!({"iam:PassedToService": "lambda.amazonaws.com"}))),
            Function => one(function, None),
            FunctionForApi => one(
                function,
                Some(json!({"lambda:Principal": "apigateway.amazonaws.com"})),
            ),
            LogGroup => one(group, None),
            NewPool => one("*".to_owned(), Some(self.tags("RequestTag"))),
            Anything => one("*".to_owned(), None),
            AnyPool => one(pool("*"), None),
            Pool => ours(&self.pools, &|id| vec![pool(id)]),
            Apis => one(api(""), None),
            NewApi => one(api(""), Some(self.tags("RequestTag"))),
            AnyApi => one(api("/*"), None),
            Api => ours(&self.apis, &|id| match id {
                "*" => vec![api("/*")],
                id => vec![api(&format!("/{id}")), api(&format!("/{id}/*"))],
            }),
            NamedSecret if self.secrets.is_empty() => Vec::new(),
            NamedSecret => vec![Reach {
                sid: format!("{on:?}"),
                resources: (self.secrets.iter())
                    .map(|name| {
                        if name.starts_with("arn:") {
                            return name.clone();
                        }
                        // AWS adds a `-` and six characters to the name.
                        arn(
                            "secretsmanager",
                            region,
                            account,
                            &format!("secret:{name}-??????"),
                        )
                    })
                    .collect(),
                condition: None,
            }],
            ApiTags => one(arn("apigateway", region, "", &format!("/tags/{tags}*")), None),
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
