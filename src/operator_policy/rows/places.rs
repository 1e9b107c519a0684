//! The state in S3, and the places where secrets are.

use super::super::Task;
use super::super::on::On::{
    HandOutParameter, HandOutRole, HandOutSecret, NamedParameter, NamedSecret, State, StateBucket, StateKey,
};
use super::{ALL, Also, LOCK, Row, SECRET};

/// The state, and secrets that are read.
pub(super) const PLACES: &[Row] = &[
    ("s3:GetObject", State, ALL),
    ("s3:PutObject", State, LOCK),
    // It answers a client's secret, for a token.
    (
        "secretsmanager:GetSecretValue",
        NamedSecret,
        &[Task::Up, Task::Token],
    ),
    ("ssm:GetParameter", NamedParameter, &[Task::Up, Task::Token]),
];

/// Of the places that secrets are written to.
pub(super) const HAND_OUT: &[Row] = &[
    ("secretsmanager:DescribeSecret", HandOutSecret, SECRET),
    ("secretsmanager:PutSecretValue", HandOutSecret, SECRET),
    ("ssm:GetParameter", HandOutParameter, SECRET),
    ("ssm:ListTagsForResource", HandOutParameter, SECRET),
    ("ssm:PutParameter", HandOutParameter, SECRET),
    ("sts:AssumeRole", HandOutRole, SECRET),
];

/// What they need besides.
pub(super) const ALSO: &[Also] = &[
    ("s3:GetObject", "s3:ListBucket", StateBucket),
    ("s3:GetObject", "kms:Decrypt", StateKey),
    ("s3:PutObject", "kms:GenerateDataKey", StateKey),
    ("ssm:PutParameter", "ssm:AddTagsToResource", HandOutParameter),
];
