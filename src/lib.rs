//! `provision`: an OAuth 2.0 machine-to-machine API on AWS, up and down again.
//!
//! The code map; what each module must not do stands at its top, and `tests/it/layers.rs` holds them to it.
//!
//! - [`commands`] wires everything together, one file a command; [`cli`] is what can be typed.
//! - [`config`] is what a stack should consist of, read from `provision.toml`; [`stack`] is the screen that turns it into steps.
//! - [`graph`] declares steps and their edges; [`resource`] is the contract of one resource.
//! - [`engine`] decides and runs; [`state`] is what is on record; [`report`] is what is said.
//! - [`resources`] has one AWS resource a file; [`aws`] is the SDK as they use it.
//! - [`package`] zips code; [`oauth`] gets tokens; [`api`] calls the API; [`verify`] proves who gets in; [`sandbox`] is a
//!   local AWS.
//! - [`operator_policy`] is the IAM policy for who runs the commands, from one table of all AWS operations.
//! - [`files`] opens regular files and syncs folders; [`foreign`] tells what others have put into what is ours.
//! - [`untrusted`] makes a server's text fit for a terminal; [`error`] is the one failure that a command ends with.

pub mod api;
pub mod aws;
pub mod cli;
pub mod commands;
pub mod config;
pub mod engine;
pub mod error;
pub mod files;
pub mod foreign;
pub mod graph;
pub mod oauth;
pub mod operator_policy;
pub mod package;
pub mod report;
pub mod resource;
pub mod resources;
pub mod sandbox;
pub mod stack;
pub mod state;
pub mod untrusted;
pub mod verify;
