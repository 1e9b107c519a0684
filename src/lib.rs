//! x

pub mod aws;
pub mod cli;
pub mod config;
pub mod engine;
pub mod error;
pub mod graph;
pub mod report;
pub mod resource;
pub mod resources;
pub mod state;
