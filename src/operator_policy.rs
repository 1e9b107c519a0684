//! The smallest IAM policy that lets an operator run a command, from one table of the AWS operations that are called.
//!
//! Must not do I/O or be async, and must not read the configuration or the state: the caller passes what is in them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::aws::account_logs;
use crate::aws::tags::{OWNER, STACK};
use crate::secret_place::SecretPlace;
use crate::stack::{access_log_group, unique};

/// What the operator can do with the policy. `plan` reads what `status` reads, and `call` fetches a token.
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
    /// `client list`.
    Client,
    /// `recover`.
    Recover,
    /// `account logs`.
    AccountLogs,
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

/// The resources that an action is allowed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum On {
    /// The stack's roles, by name.
    Role,
    /// A role that is to be made: with the boundary, if there is one.
    NewRole,
    /// The stack's roles, by name, and only with the boundary, if there is one.
    BoundedRole,
    /// The stack's roles, by name, if they are to lose their boundary.
    UnboundedRole,
    /// The stack's roles, by name, and only for the managed policies of the configuration, if there are any.
    RoleWithPolicy,
    /// The stack's roles, by name, and only to pass them to Lambda.
    RoleForLambda,
    /// The roles that the configuration names, if it names any.
    ForeignRole,
    /// The roles that the configuration names, and only to pass them to Lambda.
    ForeignRoleForLambda,
    /// The stack's functions, by name.
    Function,
    /// The stack's functions, by name, and only to let API Gateway invoke them.
    FunctionForApi,
    /// The functions of back ends, which others made, by ARN.
    Backend,
    /// The same, and only to let API Gateway invoke them.
    BackendForApi,
    /// The stack's log groups, by name.
    LogGroup,
    /// API Gateway's settings of the account, if the stage logs requests.
    Settings,
    /// API Gateway's settings of the account.
    SharedSettings,
    /// The web ACLs that the stage has or is to have, if there are any, and the stage, by the id of its API: AWS checks both.
    Firewall,
    /// The stack's REST API, if its stage has a web ACL.
    FirewalledApi,
    /// The role that API Gateway writes access logs with.
    LogRole,
    /// The same, and only for the policy that lets it write.
    LogRoleWithPolicy,
    /// The same, and only to pass it to API Gateway.
    LogRoleForApi,
    /// A pool that has no ARN yet, by the tags in the request.
    NewPool,
    /// `*`, for calls that do not take an ARN.
    Anything,
    /// The same, for a stack that has functions.
    AccountOfFunctions,
    /// The same, for a stack that has log groups.
    AccountOfGroups,
    /// The same, for a stack that has a pool of its own (for `DescribeUserPoolDomain` this is not verified).
    AccountOfPools,
    /// Every pool of the account, for reads: a lost pool is found by its tags among all pools of its name, and with a
    /// condition on tags AWS would answer "denied" in place of "not found".
    AnyPool,
    /// The stack's pool, by id or tags, with its domain, resource servers and clients.
    Pool,
    /// The pools of others that the stack is in, by id, with their resource servers and clients: no ARN tells one of these
    /// from another.
    SharedPool,
    /// The list of the REST APIs.
    Apis,
    /// An API that has no id yet, by the tags in the request.
    NewApi,
    /// Every REST API of the account, for reads, for the reason of `AnyPool`.
    AnyApi,
    /// The stack's REST API, by id or tags, and everything in it, which inherits the tags for this purpose.
    Api,
    /// The tags of REST APIs and stages. A create with tags is checked with the id `*`.
    ApiTags,
    /// The stack's pool, if it has a domain of its own.
    PoolWithDomain,
    /// `*`, if the stack's pool has a domain of its own: the distribution is Cognito's.
    CloudFront,
    /// The domains of APIs, whoever made them, if there are any.
    Domain,
    /// A domain that is to be made, by the tags in the request.
    NewDomain,
    /// The domains that the stack makes.
    OwnDomain,
    /// The tags of those domains.
    DomainTags,
    /// The list of the mappings of a domain.
    Mappings,
    /// The mappings of a domain.
    Mapping,
    /// The domains that the stack makes, if clients need a certificate.
    MutualTls,
    /// The certificates that clients need one of.
    Truststore,
    /// The role with which API Gateway makes the first domain of an account.
    DomainRole,
    /// The secrets of Secrets Manager that the configuration names, if it names any.
    NamedSecret,
    /// The same of parameters of Systems Manager.
    NamedParameter,
    /// The secret of Secrets Manager that the operator writes to, if there is one.
    HandOutSecret,
    /// The same of a parameter of Systems Manager.
    HandOutParameter,
    /// The role that writes in place of the operator, if there is one.
    HandOutRole,
    /// The layer versions of the functions, if they have any.
    Layer,
    /// The keys of the functions' environments, if the stack names any.
    Key,
    /// `*`, if a function is in a private network: EC2's reads take no ARN.
    Network,
    /// The state, if it is in S3.
    State,
    /// The bucket of the state, and only to see whether the state is there: S3 answers "denied" for what is not, to whoever may
    /// not list.
    StateBucket,
    /// The KMS key of that bucket, and only through S3.
    StateKey,
}

use On::{
    AccountOfFunctions, AccountOfGroups, AccountOfPools, AnyApi, AnyPool, Anything, Api, ApiTags, Apis,
    Backend, BackendForApi, BoundedRole, CloudFront, Domain, DomainRole, DomainTags, Firewall, FirewalledApi,
    ForeignRole, ForeignRoleForLambda, Function, FunctionForApi, HandOutParameter, HandOutRole,
    HandOutSecret, Key, Layer, LogGroup, LogRole, LogRoleForApi, LogRoleWithPolicy, Mapping, Mappings,
    MutualTls, NamedParameter, NamedSecret, Network, NewApi, NewDomain, NewPool, NewRole, OwnDomain, Pool,
    PoolWithDomain, Role, RoleForLambda, RoleWithPolicy, Settings, SharedPool, SharedSettings, State,
    StateBucket, StateKey, Truststore, UnboundedRole,
};

const UP: &[Task] = &[Task::Up];
const DOWN: &[Task] = &[Task::Up, Task::Down];
const READ: &[Task] = &[Task::Up, Task::Status];
const SECRET: &[Task] = &[Task::Secret];
const RECOVER: &[Task] = &[Task::Recover];
const ACCOUNT_LOGS: &[Task] = &[Task::AccountLogs];
const ALL: &[Task] = &[
    Task::Up,
    Task::Status,
    Task::Down,
    Task::Token,
    Task::Logs,
    Task::Secret,
    Task::Client,
    Task::Recover,
];
/// Those that take the lock.
const LOCK: &[Task] = &[Task::Up, Task::Down, Task::Secret, Task::Recover];
const READ_BY_ALL: &[Task] = &[Task::Up, Task::Status, Task::Down];

/// Operations that are called and not in the table. `sts:GetCallerIdentity` needs no permission. `state init` makes a bucket
/// before there is a stack.
const BESIDE: &[&str] = &[
    "sts:GetCallerIdentity",
    "s3:HeadBucket",
    "s3:CreateBucket",
    "s3:GetBucketVersioning",
    "s3:PutBucketVersioning",
    "s3:GetPublicAccessBlock",
    "s3:PutPublicAccessBlock",
    "s3:GetBucketOwnershipControls",
    "s3:PutBucketOwnershipControls",
    "s3:GetBucketEncryption",
    "s3:PutBucketEncryption",
    "s3:GetBucketPolicy",
    "s3:PutBucketPolicy",
    "s3:GetLifecycleConfiguration",
    "s3:PutLifecycleConfiguration",
];

/// Every AWS operation of this program except [`BESIDE`]: what it is allowed on, and which tasks call it. `down` calls no
/// operation for what AWS deletes with the pool, the API or the function.
const OPERATIONS: &[(&str, On, &[Task])] = &[
    ("s3:GetObject", State, ALL),
    ("s3:PutObject", State, LOCK),
    // What a lost record had, by name.
    ("lambda:ListFunctions", Anything, RECOVER),
    ("iam:ListRoles", Anything, RECOVER),
    ("iam:GetRole", Role, READ_BY_ALL),
    ("iam:CreateRole", NewRole, UP),
    ("iam:PutRolePermissionsBoundary", BoundedRole, UP),
    ("iam:DeleteRolePermissionsBoundary", UnboundedRole, UP),
    ("iam:AttachRolePolicy", RoleWithPolicy, UP),
    ("iam:DetachRolePolicy", RoleWithPolicy, DOWN),
    ("iam:UpdateAssumeRolePolicy", Role, UP),
    ("iam:TagRole", Role, UP),
    ("iam:UntagRole", Role, UP),
    ("iam:DeleteRole", Role, DOWN),
    // IAM does not delete a role that has policies of others.
    ("iam:ListAttachedRolePolicies", Role, READ_BY_ALL),
    ("iam:ListRolePolicies", Role, READ_BY_ALL),
    ("iam:GetRolePolicy", Role, READ_BY_ALL),
    ("iam:PutRolePolicy", Role, UP),
    ("iam:DeleteRolePolicy", Role, DOWN),
    // It takes no ARN, whatever the prefix is.
    ("logs:DescribeLogGroups", AccountOfGroups, READ_BY_ALL),
    ("logs:ListTagsForResource", LogGroup, READ_BY_ALL),
    ("logs:CreateLogGroup", LogGroup, UP),
    // `down` finishes an interrupted creation before it deletes the group.
    ("logs:PutRetentionPolicy", LogGroup, DOWN),
    ("logs:TagResource", LogGroup, UP),
    ("logs:UntagResource", LogGroup, UP),
    ("logs:DeleteLogGroup", LogGroup, DOWN),
    ("logs:FilterLogEvents", LogGroup, &[Task::Logs]),
    // Lambda deletes them with the rights of the function's role, which is deleted after them.
    ("ec2:DescribeNetworkInterfaces", Network, DOWN),
    ("lambda:GetFunction", Function, READ_BY_ALL),
    ("lambda:CreateFunction", Function, UP),
    ("lambda:UpdateFunctionConfiguration", Function, UP),
    ("lambda:UpdateFunctionCode", Function, UP),
    ("lambda:PutFunctionConcurrency", Function, UP),
    ("lambda:DeleteFunctionConcurrency", Function, UP),
    ("lambda:TagResource", Function, UP),
    ("lambda:UntagResource", Function, UP),
    ("lambda:DeleteFunction", Function, DOWN),
    ("lambda:GetPolicy", Function, READ),
    // The account's quotas, which are read before a new stack is created; they have no ARN.
    ("lambda:GetAccountSettings", AccountOfFunctions, UP),
    ("iam:GetAccountSummary", AccountOfFunctions, UP),
    ("lambda:AddPermission", FunctionForApi, UP),
    ("lambda:RemovePermission", Function, UP),
    ("cognito-idp:ListUserPools", AccountOfPools, DOWN),
    ("cognito-idp:CreateUserPool", NewPool, UP),
    ("cognito-idp:DescribeUserPool", AnyPool, READ_BY_ALL),
    ("cognito-idp:UpdateUserPool", Pool, UP),
    ("cognito-idp:TagResource", Pool, UP),
    ("cognito-idp:UntagResource", Pool, UP),
    ("cognito-idp:DeleteUserPool", Pool, DOWN),
    ("cognito-idp:DescribeUserPoolDomain", AccountOfPools, READ_BY_ALL),
    ("cognito-idp:CreateUserPoolDomain", Pool, UP),
    ("cognito-idp:DeleteUserPoolDomain", Pool, DOWN),
    ("cognito-idp:UpdateUserPoolDomain", PoolWithDomain, UP),
    ("cognito-idp:DescribeResourceServer", Pool, UP),
    ("cognito-idp:ListResourceServers", Pool, READ),
    ("cognito-idp:CreateResourceServer", Pool, UP),
    ("cognito-idp:UpdateResourceServer", Pool, UP),
    ("cognito-idp:DeleteResourceServer", Pool, UP),
    ("cognito-idp:ListUserPoolClients", Pool, READ_BY_ALL),
    // It answers the client's secret, so it is allowed only on the stack's pool.
    (
        "cognito-idp:DescribeUserPoolClient",
        Pool,
        &[Task::Up, Task::Status, Task::Token, Task::Secret],
    ),
    ("cognito-idp:CreateUserPoolClient", Pool, UP),
    ("cognito-idp:UpdateUserPoolClient", Pool, UP),
    ("cognito-idp:DeleteUserPoolClient", Pool, UP),
    (
        "cognito-idp:ListUserPoolClientSecrets",
        Pool,
        &[Task::Secret, Task::Client],
    ),
    // It answers the new secret.
    ("cognito-idp:AddUserPoolClientSecret", Pool, SECRET),
    ("cognito-idp:DeleteUserPoolClientSecret", Pool, SECRET),
    // It answers a client's secret, for a token.
    (
        "secretsmanager:GetSecretValue",
        NamedSecret,
        &[Task::Up, Task::Token],
    ),
    ("apigateway:GetAccount", Settings, UP),
    ("ssm:GetParameter", NamedParameter, &[Task::Up, Task::Token]),
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
    ("wafv2:GetWebACLForResource", Firewall, READ_BY_ALL),
    ("wafv2:AssociateWebACL", Firewall, UP),
    ("wafv2:DisassociateWebACL", Firewall, DOWN),
    ("apigateway:GetStages", AnyApi, READ_BY_ALL),
    ("apigateway:GetStage", AnyApi, UP),
    ("apigateway:CreateStage", Api, UP),
    ("apigateway:UpdateStage", Api, UP),
    ("apigateway:DeleteStage", Api, UP),
    ("apigateway:GetDomainName", Domain, READ_BY_ALL),
    ("apigateway:CreateDomainName", NewDomain, UP),
    ("apigateway:UpdateDomainName", OwnDomain, UP),
    ("apigateway:DeleteDomainName", OwnDomain, DOWN),
    ("apigateway:GetBasePathMappings", Mappings, READ_BY_ALL),
    ("apigateway:CreateBasePathMapping", Mappings, UP),
    ("apigateway:GetBasePathMapping", Mapping, READ_BY_ALL),
    ("apigateway:UpdateBasePathMapping", Mapping, UP),
    ("apigateway:DeleteBasePathMapping", Mapping, DOWN),
];

/// The operations that are called on what is not the stack's: the functions of back ends, and the places that secrets are
/// written to. Those that are called on the stack's resources as well are in the table above too.
const ON_OTHERS: &[(&str, On, &[Task])] = &[
    ("lambda:GetFunctionConfiguration", Backend, READ),
    ("lambda:GetPolicy", Backend, READ_BY_ALL),
    ("lambda:AddPermission", BackendForApi, UP),
    ("lambda:RemovePermission", Backend, DOWN),
    ("secretsmanager:DescribeSecret", HandOutSecret, SECRET),
    ("secretsmanager:PutSecretValue", HandOutSecret, SECRET),
    ("ssm:GetParameter", HandOutParameter, SECRET),
    ("ssm:ListTagsForResource", HandOutParameter, SECRET),
    ("ssm:PutParameter", HandOutParameter, SECRET),
    ("sts:AssumeRole", HandOutRole, SECRET),
];

/// The operations that let the APIs of an account write access logs.
const ON_ACCOUNT: &[(&str, On, &[Task])] = &[
    ("apigateway:GetAccount", SharedSettings, ACCOUNT_LOGS),
    ("apigateway:UpdateAccount", SharedSettings, ACCOUNT_LOGS),
    ("iam:GetRole", LogRole, ACCOUNT_LOGS),
    ("iam:CreateRole", LogRole, ACCOUNT_LOGS),
    ("iam:AttachRolePolicy", LogRoleWithPolicy, ACCOUNT_LOGS),
];

/// As [`ALSO`], for [`ON_ACCOUNT`].
const ALSO_ON_ACCOUNT: &[(&str, &str, On)] = &[
    ("iam:CreateRole", "iam:TagRole", LogRole),
    ("apigateway:UpdateAccount", "iam:PassRole", LogRoleForApi),
];

/// The operations that are called in a pool of others, where nothing is deleted together with the pool. They are in the table
/// above too.
const IN_SHARED_POOL: &[(&str, On, &[Task])] = &[
    // Also before a secret goes to a domain of the pool's owner.
    (
        "cognito-idp:DescribeUserPool",
        SharedPool,
        &[Task::Up, Task::Status, Task::Token],
    ),
    ("cognito-idp:ListResourceServers", SharedPool, READ),
    ("cognito-idp:DescribeResourceServer", SharedPool, READ_BY_ALL),
    ("cognito-idp:CreateResourceServer", SharedPool, UP),
    ("cognito-idp:UpdateResourceServer", SharedPool, UP),
    ("cognito-idp:DeleteResourceServer", SharedPool, DOWN),
    ("cognito-idp:ListUserPoolClients", SharedPool, DOWN),
    (
        "cognito-idp:DescribeUserPoolClient",
        SharedPool,
        &[Task::Up, Task::Status, Task::Down, Task::Token, Task::Secret],
    ),
    ("cognito-idp:CreateUserPoolClient", SharedPool, UP),
    ("cognito-idp:UpdateUserPoolClient", SharedPool, UP),
    ("cognito-idp:DeleteUserPoolClient", SharedPool, DOWN),
    (
        "cognito-idp:ListUserPoolClientSecrets",
        SharedPool,
        &[Task::Secret, Task::Client],
    ),
    ("cognito-idp:AddUserPoolClientSecret", SharedPool, SECRET),
    ("cognito-idp:DeleteUserPoolClientSecret", SharedPool, SECRET),
];

/// The tables, which a task takes its operations from.
const TABLES: [&[(&str, On, &[Task])]; 3] = [OPERATIONS, ON_OTHERS, IN_SHARED_POOL];

/// The actions that an operation needs besides its own: the operation, the action, and what it is allowed on.
const ALSO: &[(&str, &str, On)] = &[
    ("s3:GetObject", "s3:ListBucket", StateBucket),
    ("s3:GetObject", "kms:Decrypt", StateKey),
    ("s3:PutObject", "kms:GenerateDataKey", StateKey),
    ("iam:CreateRole", "iam:TagRole", Role),
    ("ssm:PutParameter", "ssm:AddTagsToResource", HandOutParameter),
    ("logs:CreateLogGroup", "logs:TagResource", LogGroup),
    // Without it Lambda leaves out the tags, which name the function's owner.
    ("lambda:GetFunction", "lambda:ListTags", Function),
    ("lambda:CreateFunction", "lambda:TagResource", Function),
    // Who reads a function reads the role that it runs as.
    ("lambda:GetPolicy", "iam:GetRole", ForeignRole),
    ("lambda:CreateFunction", "iam:PassRole", RoleForLambda),
    ("lambda:CreateFunction", "iam:PassRole", ForeignRoleForLambda),
    (
        "lambda:UpdateFunctionConfiguration",
        "iam:PassRole",
        ForeignRoleForLambda,
    ),
    (
        "lambda:UpdateFunctionConfiguration",
        "iam:PassRole",
        RoleForLambda,
    ),
    ("lambda:CreateFunction", "lambda:GetLayerVersion", Layer),
    (
        "lambda:UpdateFunctionConfiguration",
        "lambda:GetLayerVersion",
        Layer,
    ),
    ("lambda:CreateFunction", "kms:CreateGrant", Key),
    ("lambda:UpdateFunctionConfiguration", "kms:CreateGrant", Key),
    ("lambda:CreateFunction", "kms:Encrypt", Key),
    ("lambda:UpdateFunctionConfiguration", "kms:Encrypt", Key),
    // What reads a function's policy compares its environment as well, which Lambda then decrypts.
    ("lambda:GetPolicy", "kms:Decrypt", Key),
    // Which other functions use the same network interfaces.
    ("ec2:DescribeNetworkInterfaces", "lambda:ListFunctions", Network),
    ("lambda:CreateFunction", "ec2:DescribeSubnets", Network),
    (
        "lambda:UpdateFunctionConfiguration",
        "ec2:DescribeSubnets",
        Network,
    ),
    ("lambda:CreateFunction", "ec2:DescribeSecurityGroups", Network),
    (
        "lambda:UpdateFunctionConfiguration",
        "ec2:DescribeSecurityGroups",
        Network,
    ),
    ("lambda:CreateFunction", "ec2:DescribeVpcs", Network),
    ("lambda:UpdateFunctionConfiguration", "ec2:DescribeVpcs", Network),
    // Reports differ on whether it is checked on `*` or on a pool that already has the tags.
    ("cognito-idp:CreateUserPool", "cognito-idp:TagResource", NewPool),
    ("cognito-idp:CreateUserPool", "cognito-idp:TagResource", Pool),
    ("cognito-idp:UpdateUserPool", "cognito-idp:TagResource", Pool),
    ("cognito-idp:UpdateUserPool", "cognito-idp:UntagResource", Pool),
    ("wafv2:AssociateWebACL", "apigateway:SetWebACL", FirewalledApi),
    ("wafv2:DisassociateWebACL", "apigateway:SetWebACL", FirewalledApi),
    ("apigateway:CreateRestApi", "apigateway:PUT", ApiTags),
    ("apigateway:CreateStage", "apigateway:PUT", ApiTags),
    ("apigateway:TagResource", "apigateway:PATCH", Api),
    ("apigateway:UntagResource", "apigateway:PATCH", Api),
    // With the rights of the caller Cognito makes CloudFront serve the domain.
    (
        "cognito-idp:CreateUserPoolDomain",
        "cloudfront:UpdateDistribution",
        CloudFront,
    ),
    (
        "cognito-idp:UpdateUserPoolDomain",
        "cloudfront:UpdateDistribution",
        CloudFront,
    ),
    ("apigateway:CreateDomainName", "apigateway:PUT", DomainTags),
    ("apigateway:UpdateDomainName", "apigateway:PUT", DomainTags),
    ("apigateway:UpdateDomainName", "apigateway:DELETE", DomainTags),
    // Of mutual TLS: with the rights of the caller API Gateway reads the certificates.
    (
        "apigateway:CreateDomainName",
        "apigateway:AddCertificateToDomain",
        MutualTls,
    ),
    (
        "apigateway:UpdateDomainName",
        "apigateway:AddCertificateToDomain",
        MutualTls,
    ),
    (
        "apigateway:UpdateDomainName",
        "apigateway:RemoveCertificateFromDomain",
        MutualTls,
    ),
    ("apigateway:CreateDomainName", "s3:GetObject", Truststore),
    ("apigateway:CreateDomainName", "s3:GetObjectVersion", Truststore),
    (
        "apigateway:CreateDomainName",
        "iam:CreateServiceLinkedRole",
        DomainRole,
    ),
];

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
    (TABLES.into_iter().flatten().chain(ON_ACCOUNT)).map(|(operation, ..)| *operation)
}

/// The policy document for these tasks.
pub fn document(scope: &Scope, tasks: &BTreeSet<Task>) -> Value {
    let mut allowed: BTreeMap<On, BTreeSet<String>> = BTreeMap::new();
    let of_stack = TABLES.into_iter().flatten().map(|row| (row, ALSO));
    let of_account = ON_ACCOUNT.iter().map(|row| (row, ALSO_ON_ACCOUNT));
    for ((operation, on, by), also) in of_stack.chain(of_account) {
        // What `up` reads before it makes anything is what a recovery looks for.
        let looks_for = tasks.contains(&Task::Recover) && by.contains(&Task::Up) && is_read(operation);
        if looks_for || by.iter().any(|task| tasks.contains(task)) {
            allowed
                .entry(scope.narrowed(*on, looks_for))
                .or_default()
                .insert(action(operation));
            for (_, action, on) in also.iter().filter(|(with, ..)| with == operation) {
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

/// The part of a statement that says what it is allowed on.
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

    /// The resources of `on` in this stack. Where something is made, a resource on record may be replaced, so that tags count
    /// as well.
    fn reaches(&self, on: On, tasks: &BTreeSet<Task>) -> Vec<Reach> {
        let (makes, recovers) = (tasks.contains(&Task::Up), tasks.contains(&Task::Recover));
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
        let paths = self.roles.paths.iter().map(String::as_str);
        let paths = std::iter::once("/")
            .filter(|_| self.roles.paths.is_empty())
            .chain(paths);
        let roles: Vec<String> = paths
            .map(|path| arn("iam", "", account, &format!("role{path}{names}")))
            .collect();
        let function = arn("lambda", region, account, &format!("function:{names}"));
        let group = |name: &str| arn("logs", region, account, &format!("log-group:{name}"));
        let access = access_log_group(&unique(&self.stack, self.separator, owner, "access"));
        let mut groups = vec![group(&format!("/aws/lambda/{names}"))];
        groups.extend(self.has_access_logs.then(|| group(&access)));
        let log_role = [arn("iam", "", account, &format!("role/{}", account_logs::ROLE))];
        let pool = |id: &str| arn("cognito-idp", region, account, &format!("userpool/{id}"));
        // These ARNs have no account.
        let api = |path: &str| arn("apigateway", region, "", &format!("/restapis{path}"));
        let tags = api("/").replace(':', "%3A").replace('/', "%2F");
        let one = |resource: String, condition: Option<Value>| {
            vec![Reach {
                sid: format!("{on:?}"),
                resources: vec![resource],
                condition,
            }]
        };
        // Of resources that the stack may not have, with the values of a condition key.
        let some = |resources: &[String], key: &str, values: &[String]| {
            let reach = (!resources.is_empty()).then(|| Reach {
                sid: format!("{on:?}"),
                resources: resources.to_vec(),
                condition: match values {
                    [] => None,
                    [one] => Some(json!({ key: one })),
                    all => Some(json!({ key: all })),
                },
            });
            reach.into_iter().collect::<Vec<_>>()
        };
        // The ARNs of secrets, and those of parameters.
        let places = |places: &BTreeSet<SecretPlace>| {
            let (mut secrets, mut parameters) = (Vec::new(), Vec::new());
            for place in places {
                match place {
                    SecretPlace::SecretsManager(name) if name.starts_with("arn:") => {
                        secrets.push(name.clone());
                    }
                    SecretPlace::SecretsManager(name) => {
                        // AWS adds a `-` and six characters to the name.
                        let secret = format!("secret:{name}-??????");
                        secrets.push(arn("secretsmanager", region, account, &secret));
                    }
                    SecretPlace::Parameter(name) => {
                        parameters.push(arn("ssm", region, account, &format!("parameter{name}")));
                    }
                }
            }
            (secrets, parameters)
        };
        let role: Vec<String> = self.hand_out_role.iter().cloned().collect();
        // What a role writes to, the role needs the rights for.
        let own = self
            .hand_out
            .iter()
            .filter(|_| role.is_empty())
            .cloned()
            .collect();
        let to_lambda = ["lambda.amazonaws.com".to_owned()];
        let to_api = ["apigateway.amazonaws.com".to_owned()];
        let foreign: Vec<String> = self.roles.foreign.iter().cloned().collect();
        let policies: Vec<String> = self.roles.policies.iter().cloned().collect();
        let boundary: Vec<String> = self.roles.boundary.iter().cloned().collect();
        // By id if there is one, because a condition on tags fails if the resource is gone.
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
        let Parts {
            pool: has_pool,
            functions: has_functions,
            api: has_api,
        } = self.parts;
        let is_of_functions = matches!(
            on,
            Role | NewRole | BoundedRole | UnboundedRole | RoleWithPolicy | RoleForLambda | Function
        );
        let is_of_api = matches!(on, FunctionForApi | NewApi | AnyApi | Api | ApiTags);
        let is_of_pool = matches!(on, NewPool | AnyPool | Pool);
        let is_absent = is_of_functions && !has_functions
            || is_of_api && !has_api
            || is_of_pool && !has_pool
            || on == FunctionForApi && !has_functions
            || on == LogGroup && !has_functions && !self.has_access_logs
            || on == Apis && !has_api && !recovers
            || matches!(on, AccountOfFunctions | AccountOfGroups | AccountOfPools);
        if is_absent {
            return Vec::new();
        }
        match on {
            SharedPool => some(
                &self.shared_pools.iter().map(|id| pool(id)).collect::<Vec<_>>(),
                "",
                &[],
            ),
            Role | NewRole => some(&roles, "", &[]),
            BoundedRole if boundary.is_empty() => Vec::new(),
            BoundedRole => some(&roles, "iam:PermissionsBoundary", &boundary),
            UnboundedRole if self.roles.lose_boundary => some(&roles, "", &[]),
            UnboundedRole => Vec::new(),
            RoleWithPolicy if policies.is_empty() => Vec::new(),
            RoleWithPolicy => some(&roles, "iam:PolicyARN", &policies),
            RoleForLambda => some(&roles, "iam:PassedToService", &to_lambda),
            ForeignRole => some(&foreign, "", &[]),
            ForeignRoleForLambda => some(&foreign, "iam:PassedToService", &to_lambda),
            Function => one(function, None),
            FunctionForApi => one(
                function,
                Some(json!({"lambda:Principal": "apigateway.amazonaws.com"})),
            ),
            Backend | BackendForApi => (!self.backends.is_empty())
                .then(|| Reach {
                    sid: format!("{on:?}"),
                    resources: self.backends.iter().cloned().collect(),
                    condition: (on == BackendForApi)
                        .then(|| json!({"lambda:Principal": "apigateway.amazonaws.com"})),
                })
                .into_iter()
                .collect(),
            LogGroup => some(&groups, "", &[]),
            Firewall | FirewalledApi if self.web_acls.is_empty() => Vec::new(),
            Firewall => {
                let mut all: Vec<String> = self.web_acls.iter().cloned().collect();
                if makes || self.apis.is_empty() {
                    all.push(api("/*/stages/*"));
                } else {
                    all.extend(self.apis.iter().map(|id| api(&format!("/{id}/stages/*"))));
                }
                some(&all, "", &[])
            }
            Settings if !self.has_access_logs => Vec::new(),
            Settings | SharedSettings => one(arn("apigateway", region, "", "/account"), None),
            LogRole => some(&log_role, "", &[]),
            LogRoleWithPolicy => some(&log_role, "iam:PolicyARN", &[account_logs::policy(partition)]),
            LogRoleForApi => some(&log_role, "iam:PassedToService", &to_api),
            NewPool => one("*".to_owned(), Some(self.tags("RequestTag"))),
            Network if !self.has_network => Vec::new(),
            PoolWithDomain | CloudFront if !self.domains.of_pool => Vec::new(),
            Anything | AccountOfFunctions | AccountOfGroups | AccountOfPools | CloudFront | Network => {
                one("*".to_owned(), None)
            }
            AnyPool => one(pool("*"), None),
            Pool | PoolWithDomain => ours(&self.pools, &|id| vec![pool(id)]),
            Apis => one(api(""), None),
            NewApi => one(api(""), Some(self.tags("RequestTag"))),
            AnyApi => one(api("/*"), None),
            Api | FirewalledApi => ours(&self.apis, &|id| match id {
                "*" => vec![api("/*")],
                id => vec![api(&format!("/{id}")), api(&format!("/{id}/*"))],
            }),
            NamedSecret => some(&places(&self.secrets).0, "", &[]),
            NamedParameter => some(&places(&self.secrets).1, "", &[]),
            HandOutSecret => some(&places(&own).0, "", &[]),
            HandOutParameter => some(&places(&own).1, "", &[]),
            HandOutRole => some(&role, "", &[]),
            Layer | Key => {
                let arns = if on == Layer { &self.layers } else { &self.keys };
                (!arns.is_empty())
                    .then(|| Reach {
                        sid: format!("{on:?}"),
                        resources: arns.iter().cloned().collect(),
                        condition: None,
                    })
                    .into_iter()
                    .collect()
            }
            State => (self.state.iter())
                .map(|(bucket, key)| Reach {
                    sid: format!("{on:?}"),
                    resources: vec![format!("arn:{partition}:s3:::{bucket}/{key}")],
                    condition: None,
                })
                .collect(),
            StateBucket => (self.state.iter())
                .map(|(bucket, key)| Reach {
                    sid: format!("{on:?}"),
                    resources: vec![format!("arn:{partition}:s3:::{bucket}")],
                    condition: Some(json!({"s3:prefix": key})),
                })
                .collect(),
            StateKey => (self.state_key.iter())
                .map(|key| {
                    // The fourth part of an ARN is the region, which is the bucket's too.
                    let region = key.split(':').nth(3).unwrap_or_default();
                    Reach {
                        sid: format!("{on:?}"),
                        resources: vec![key.clone()],
                        condition: Some(json!({"kms:ViaService": format!("s3.{region}.amazonaws.com")})),
                    }
                })
                .collect(),
            ApiTags => one(arn("apigateway", region, "", &format!("/tags/{tags}*")), None),
            Domain | NewDomain | OwnDomain | DomainTags | Mappings | Mapping | MutualTls | Truststore
            | DomainRole => self.reaches_of_domains(on),
        }
    }

    /// The same for what a domain needs; nothing if there is none.
    fn reaches_of_domains(&self, on: On) -> Vec<Reach> {
        let Domains {
            named,
            recorded,
            made,
            truststores,
            of_pool: _,
        } = &self.domains;
        let Self {
            partition, region, ..
        } = self;
        let arn = |path: &str| format!("arn:{partition}:apigateway:{region}::{path}");
        let all = |names: &BTreeSet<String>, below: &str| -> Vec<String> {
            let arns = names
                .iter()
                .map(|name| arn(&format!("/domainnames/{name}{below}")));
            arns.collect()
        };
        let reach = |sid: &str, resources: Vec<String>, condition: Option<Value>| {
            let sid = format!("{on:?}{sid}");
            (!resources.is_empty()).then_some(Reach {
                sid,
                resources,
                condition,
            })
        };
        let own: BTreeSet<String> = recorded.union(made).cloned().collect();
        let one = |resource: String| {
            if own.is_empty() {
                Vec::new()
            } else {
                vec![resource]
            }
        };
        let reaches = match on {
            Domain => [reach("", all(named, ""), None), None],
            Mappings => [reach("", all(named, "/basepathmappings"), None), None],
            Mapping => [reach("", all(named, "/basepathmappings/*"), None), None],
            NewDomain => [
                reach("", one(arn("/domainnames")), Some(self.tags("RequestTag"))),
                None,
            ],
            // As long as none is on record, the name may be one of somebody else.
            OwnDomain => [
                reach("OnRecord", all(recorded, ""), None),
                reach(
                    "",
                    all(&made.difference(recorded).cloned().collect(), ""),
                    Some(self.tags("ResourceTag")),
                ),
            ],
            MutualTls if truststores.is_empty() => [None, None],
            MutualTls => [reach("", all(&own, ""), None), None],
            DomainTags => {
                let tags = |name: &String| {
                    let tagged = arn(&format!("/domainnames/{name}"));
                    arn(&format!(
                        "/tags/{}",
                        tagged.replace(':', "%3A").replace('/', "%2F")
                    ))
                };
                [reach("", own.iter().map(tags).collect(), None), None]
            }
            Truststore => {
                let objects = truststores.iter().filter_map(|url| url.strip_prefix("s3://"));
                let objects = objects.map(|object| format!("arn:{partition}:s3:::{object}"));
                [reach("", objects.collect(), None), None]
            }
            DomainRole => {
                let role = format!(
                    "arn:{partition}:iam::{}:role/aws-service-role/ops.apigateway.amazonaws.com/*",
                    self.account
                );
                let service = json!({"iam:AWSServiceName": "ops.apigateway.amazonaws.com"});
                [reach("", one(role), Some(service)), None]
            }
            _ => unreachable!("{on:?} is not of a domain"),
        };
        reaches.into_iter().flatten().collect()
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
