//! The role that all APIs of an account write access logs with.

use super::super::on::On::{LogRole, LogRoleForApi, LogRoleWithPolicy, SharedSettings};
use super::{ACCOUNT_LOGS, Also, Row};

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
