//! The AWS SDK as the resources use it: one set of clients, what their errors mean, and how long to wait.
//!
//! Must not know which resources there are, nor the engine.

mod access;
pub mod account_logs;
pub mod assumed;
pub mod call_log;
pub mod client_secrets;
pub mod clients;
pub mod clock;
pub mod domains;
pub mod ec2;
pub mod errors;
mod fenced;
pub mod hosts;
pub mod http;
pub mod ids;
pub mod owned;
pub mod pace;
pub mod pages;
pub mod patches;
pub mod policy;
pub mod quotas;
pub mod secrets_manager;
mod shared;
pub mod signed;
pub mod simulated;
pub mod ssm;
pub mod survey;
pub mod tags;
#[cfg(test)]
pub mod test_support;
pub mod wait;

pub use clients::{Aws, Identity};
