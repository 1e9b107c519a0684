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

/// Whether a security policy is one of the newer ones, which need an endpoint access mode beside them.
pub fn is_enhanced(security_policy: &str) -> bool {
    security_policy.starts_with("SecurityPolicy_")
}

/// What leads from one security policy to another, of an API or of a domain. The endpoint access mode `BASIC` checks nothing
/// more than the policy; one that others made stricter stays as it is.
pub fn security_policy(before: &str, after: &str) -> Vec<PatchOperation> {
    let mut patches = Vec::new();
    if before == after {
        return patches;
    }
    patches.push(replace("/securityPolicy", after));
    match (is_enhanced(before), is_enhanced(after)) {
        (false, true) => patches.push(replace("/endpointAccessMode", "BASIC")),
        (true, false) => patches.push(replace("/endpointAccessMode", "")),
        _ => {}
    }
    patches
}
