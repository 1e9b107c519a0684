//! The changes that API Gateway's Update calls take.
//!
//! Must not know which paths a resource has.

use aws_sdk_apigateway::types::{Op, PatchOperation};

/// One change: API Gateway replaces, adds to or removes from what is at `path`.
pub fn patch(op: Op, path: &str, value: &str) -> PatchOperation {
    PatchOperation::builder().op(op).path(path).value(value).build()
}

/// Removes what is at `path`.
pub fn remove(path: &str) -> PatchOperation {
    PatchOperation::builder().op(Op::Remove).path(path).build()
}

/// Replaces what is at `path`.
pub fn replace(path: &str, value: &str) -> PatchOperation {
    patch(Op::Replace, path, value)
}
