//! The optional settings of a function: their normal forms, and what Lambda is sent for each.
//!
//! Must not make calls.

use std::collections::BTreeSet;

use aws_sdk_lambda::types::{
    Concurrency, EphemeralStorage, Layer, LogFormat, LoggingConfig, TracingConfig, TracingConfigResponse,
    TracingMode, VpcConfig, VpcConfigResponse,
};
use serde::{Deserialize, Serialize};

/// The size of `/tmp` where none is sent, in megabytes.
pub const STORAGE_MB: i32 = 512;

/// The private network of a function. Without one, both sets are empty: Lambda answers that for a function that has left
/// its network, and nothing for one that never had any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vpc {
    /// Their ids.
    pub subnets: BTreeSet<String>,
    /// Their ids.
    pub security_groups: BTreeSet<String>,
}

impl Vpc {
    pub(super) fn live(live: Option<&VpcConfigResponse>) -> Self {
        let ids = |ids: &[String]| ids.iter().cloned().collect();
        live.map_or_else(Self::default, |live| Self {
            subnets: ids(live.subnet_ids()),
            security_groups: ids(live.security_group_ids()),
        })
    }

    /// Without a network both lists are empty, which takes the function out of the one that it has.
    pub(super) fn sent(&self) -> VpcConfig {
        let ids = |ids: &BTreeSet<String>| Some(ids.iter().cloned().collect());
        VpcConfig::builder()
            .set_subnet_ids(ids(&self.subnets))
            .set_security_group_ids(ids(&self.security_groups))
            .build()
    }
}

/// How many invocations at once are reserved for a function, and are the most that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reserved {
    /// So many; 0 turns the function off.
    Some(i32),
    /// It shares what no function has reserved.
    None(Unreserved),
}

/// Not null, which stands for a value that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unreserved {
    #[serde(rename = "none")]
    None,
}

impl From<Option<i32>> for Reserved {
    fn from(number: Option<i32>) -> Self {
        number.map_or(Self::None(Unreserved::None), Self::Some)
    }
}

impl Reserved {
    pub(super) fn live(live: Option<&Concurrency>) -> Self {
        live.and_then(Concurrency::reserved_concurrent_executions).into()
    }
}

pub(super) fn layers(live: &[Layer]) -> Vec<String> {
    live.iter().filter_map(Layer::arn).map(str::to_owned).collect()
}

pub(super) fn is_traced(live: Option<&TracingConfigResponse>) -> bool {
    live.and_then(TracingConfigResponse::mode) == Some(&TracingMode::Active)
}

pub(super) fn tracing(is_traced: bool) -> TracingConfig {
    let mode = if is_traced {
        TracingMode::Active
    } else {
        TracingMode::PassThrough
    };
    TracingConfig::builder().mode(mode).build()
}

pub(super) fn storage(megabytes: i32) -> EphemeralStorage {
    let storage = EphemeralStorage::builder().size(megabytes).build();
    storage.expect("all that is required is given")
}

/// `text` or `json`. The levels that Lambda adds to JSON, and takes away with it, are not managed.
pub(super) fn log_format(live: Option<&LoggingConfig>) -> String {
    let format = live.and_then(LoggingConfig::log_format);
    format.map_or("text", LogFormat::as_str).to_lowercase()
}

/// Lambda replaces the settings of logging as a whole, so the log group has to be sent along.
pub(super) fn logging(format: &str, group: Option<&str>) -> LoggingConfig {
    let format = if format == "json" {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    LoggingConfig::builder()
        .log_format(format)
        .set_log_group(group.map(str::to_owned))
        .build()
}
