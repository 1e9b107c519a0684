//! `provision`: an OAuth 2.0 machine-to-machine API on AWS, up and down again.
//!
//! The code map. Each module says at its top what it must not do, and `tests/it/layers.rs` checks it.
//!
//! - [`commands`] wires everything together, one file for each command; [`cli`] is the command line.
//! - [`config`] is what a stack consists of, read from `provision.toml`; [`stack`] turns it into steps.
//! - [`graph`] declares steps and their edges; [`resource`] is the contract of one resource.
//! - [`engine`] decides and runs; [`state`] is the record; [`report`] is the output of a run.
//! - [`resources`] has one AWS resource in each file; [`aws`] is the SDK as the resources use it.
//! - [`package`] zips code; [`oauth`] gets tokens; [`api`] calls the API; [`verify`] proves who gets in; [`sandbox`] is a
//!   local AWS.
//! - [`operator_policy`] is the IAM policy for the operator, from one table of all AWS operations.
//! - [`pause`] waits between attempts; [`files`] opens, replaces and locks regular files; [`foreign`] finds what others have put into the stack.
//! - [`mark`] is in the names of what stands in a shared user pool.
//! - [`access_log`] is the line that the stage writes for every request.
//! - [`pipeline`] is a pipeline of GitHub or GitLab that may use a role.
//! - [`project`] is what `init` writes: a configuration and the code of a function, also from an OpenAPI document.
//! - [`location`] is where states are kept; [`lease`] says who may write one that a team shares, and until when.
//! - [`watcher`] tells that something may have changed in folders.
//! - [`untrusted`] makes a server's text safe for a terminal; [`error`] is the failure that a command ends with.
//!
//! What is `pub` here is for the binary, the integration tests and the benchmark.

mod access_log;
pub mod api;
pub mod aws;
mod cli;
pub mod commands;
pub mod config;
pub mod engine;
pub mod error;
mod files;
mod foreign;
mod graph;
mod lease;
mod location;
mod mark;
pub mod oauth;
pub mod operator_policy;
pub mod package;
mod pause;
mod pipeline;
mod project;
mod report;
pub mod resource;
pub mod resources;
mod rights;
mod sandbox;
pub mod secret_place;
pub mod stack;
pub mod state;
mod svg;
mod untrusted;
pub mod verify;
mod version;
mod watcher;
