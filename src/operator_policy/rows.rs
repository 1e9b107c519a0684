//! The table of the AWS operations that are called: a row for each, by what it is called for.

mod account;
mod api;
mod domains;
mod functions;
mod places;
mod pool;

use super::Task;
use super::on::On;

/// An operation, what it is allowed on, and which tasks call it.
pub(super) type Row = (&'static str, On, &'static [Task]);

/// An action that an operation needs besides its own: the operation, the action, and what it is allowed on.
pub(super) type Also = (&'static str, &'static str, On);

const UP: &[Task] = &[Task::Up];
const DOWN: &[Task] = &[Task::Up, Task::Down];
const READ: &[Task] = &[Task::Up, Task::Status];
const SECRET: &[Task] = &[Task::Secret];
const RECOVER: &[Task] = &[Task::Recover];
const ACCOUNT_LOGS: &[Task] = &[Task::AccountLogs];
const DOCTOR: &[Task] = &[Task::Doctor];
const ALL: &[Task] = &[
    Task::Up,
    Task::Status,
    Task::Down,
    Task::Token,
    Task::Call,
    Task::Logs,
    Task::Secret,
    Task::Client,
    Task::Recover,
    Task::Doctor,
];
/// Those that take the lock.
const LOCK: &[Task] = &[Task::Up, Task::Down, Task::Secret, Task::Recover];
const READ_BY_ALL: &[Task] = &[Task::Up, Task::Status, Task::Down];

/// Operations that are called and not in the table. `sts:GetCallerIdentity` needs no permission. `state init` makes a bucket
/// before there is a stack.
pub(super) const BESIDE: &[&str] = &[
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

/// Every AWS operation of this program, except [`BESIDE`] and those on an account. An operation that is called on what is not the
/// stack's as well is in more than one.
pub(super) const TABLES: [&[Row]; 9] = [
    places::PLACES,
    places::HAND_OUT,
    functions::FUNCTIONS,
    functions::BACKENDS,
    pool::POOL,
    pool::IN_SHARED_POOL,
    api::API,
    domains::DOMAINS,
    domains::CALLED,
];

/// What they need besides.
pub(super) const ALSO: [&[Also]; 5] = [
    places::ALSO,
    functions::ALSO,
    pool::ALSO,
    api::ALSO,
    domains::ALSO,
];

/// The operations that let the APIs of an account write access logs.
pub(super) const ON_ACCOUNT: &[Row] = account::ACCOUNT;

/// What they need besides.
pub(super) const ALSO_ON_ACCOUNT: [&[Also]; 1] = [account::ALSO];

/// The operations with which `doctor` looks at an account; they need nothing besides.
pub(super) const BY_DOCTOR: &[Row] = account::LOOKED_AT;
