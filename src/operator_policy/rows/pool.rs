//! The user pool with its resource servers and clients, and a pool of others.

use super::super::Task;
use super::super::on::On::{AccountOfPools, AnyPool, CloudFront, NewPool, Pool, PoolWithDomain, SharedPool};
use super::{Also, DOWN, READ, READ_BY_ALL, Row, SECRET, UP};

/// Of a pool that the stack makes. `down` calls no operation for what AWS deletes with the pool.
pub(super) const POOL: &[Row] = &[
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
];

/// The operations that are called in a pool of others, where nothing is deleted together with the pool. They are in the table
/// above too.
pub(super) const IN_SHARED_POOL: &[Row] = &[
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

/// What they need besides.
pub(super) const ALSO: &[Also] = &[
    // Reports differ on whether it is checked on `*` or on a pool that already has the tags.
    ("cognito-idp:CreateUserPool", "cognito-idp:TagResource", NewPool),
    ("cognito-idp:CreateUserPool", "cognito-idp:TagResource", Pool),
    ("cognito-idp:UpdateUserPool", "cognito-idp:TagResource", Pool),
    ("cognito-idp:UpdateUserPool", "cognito-idp:UntagResource", Pool),
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
];
