//! The resources that an action can be allowed on.

/// The resources that an action is allowed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum On {
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
    /// The users and roles of the account: whose policies count is only known once the operator has credentials.
    Principals,
    /// The list of the REST APIs, whatever the stack has.
    AccountApis,
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
    /// The same, if the API answers only there.
    CalledMapping,
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
