//! Functions, their roles and log groups, and the functions of back ends.

use super::super::Task;
use super::super::on::On::{
    AccountOfFunctions, AccountOfGroups, Anything, Backend, BackendForApi, BoundedRole, ForeignRole,
    ForeignRoleForLambda, Function, FunctionForApi, Key, Layer, LogGroup, Network, NewRole, Role,
    RoleForLambda, RoleWithPolicy, UnboundedRole,
};
use super::{Also, DOWN, READ, READ_BY_ALL, RECOVER, Row, UP};

/// Of what the stack makes. `down` calls no operation for what AWS deletes with the function.
pub(super) const FUNCTIONS: &[Row] = &[
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
];

/// Of the functions of back ends, which others made.
pub(super) const BACKENDS: &[Row] = &[
    ("lambda:GetFunctionConfiguration", Backend, READ),
    ("lambda:GetPolicy", Backend, READ_BY_ALL),
    ("lambda:AddPermission", BackendForApi, UP),
    ("lambda:RemovePermission", Backend, DOWN),
];

/// What they need besides.
pub(super) const ALSO: &[Also] = &[
    ("iam:CreateRole", "iam:TagRole", Role),
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
];
