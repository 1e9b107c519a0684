//! `provision`: an OAuth 2.0 machine-to-machine API on AWS, up and down again. The code map is completed below.

pub mod error;
