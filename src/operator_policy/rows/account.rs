//! The role that all APIs of an account write access logs with, and what `doctor` reads of an account.

use super::super::on::On::{
    AccountApis, Anything, LogRole, LogRoleForApi, LogRoleWithPolicy, Principals, SharedSettings,
};
use super::{ACCOUNT_LOGS, Also, DOCTOR, Row};

/// Every one.
pub(super) const ACCOUNT: &[Row] = &[
    ("apigateway:GetAccount", SharedSettings, ACCOUNT_LOGS),
    ("apigateway:UpdateAccount", SharedSettings, ACCOUNT_LOGS),
    ("iam:GetRole", LogRole, ACCOUNT_LOGS),
    ("iam:CreateRole", LogRole, ACCOUNT_LOGS),
    ("iam:AttachRolePolicy", LogRoleWithPolicy, ACCOUNT_LOGS),
];

/// What they need besides.
pub(super) const ALSO: &[Also] = &[
    ("iam:CreateRole", "iam:TagRole", LogRole),
    ("apigateway:UpdateAccount", "iam:PassRole", LogRoleForApi),
];

/// What `doctor` reads of an account, whatever the stack has.
pub(super) const LOOKED_AT: &[Row] = &[
    ("iam:SimulatePrincipalPolicy", Principals, DOCTOR),
    // The ARN of a session lacks the path of its role.
    ("iam:GetRole", Principals, DOCTOR),
    ("iam:GetAccountSummary", Anything, DOCTOR),
    ("lambda:GetAccountSettings", Anything, DOCTOR),
    ("apigateway:GetRestApis", AccountApis, DOCTOR),
    ("apigateway:GetAccount", SharedSettings, DOCTOR),
    ("cognito-idp:ListUserPools", Anything, DOCTOR),
];
