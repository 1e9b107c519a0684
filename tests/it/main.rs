//! The integration tests: one binary, one module for each subject. `cargo test --test it config::` runs one module.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod asleep;
mod aws;
mod backends;
mod becomes;
mod beginning;
mod changes;
mod cli;
mod completions;
mod config;
mod crash;
mod doctor;
mod domains;
mod drift;
mod environments;
mod firewall;
mod hand_over;
mod hostile;
mod init;
mod layers;
mod network;
mod pipelines;
mod policy;
mod protection;
mod recover;
mod release;
mod reviewed;
mod rights;
mod sandbox;
mod schema;
mod secret;
mod shared_pool;
mod story;
mod suggestions;
mod support;
mod team;
mod terminal;
mod verify;
mod watch;
