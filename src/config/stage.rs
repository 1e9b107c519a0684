//! What the stage logs, traces and measures, and what protects it.
//!
//! Must not know how AWS is told.

use super::Api;
use super::keys;
use super::problems::Problems;
use super::rules::RETENTION_DAYS;
use super::settings::regional;
use super::tree::Table;

/// How many days the lines are kept if the file does not say it.
const ACCESS_LOG_DAYS: i32 = 90;

/// Reads them into `api`; `table` is `[api]`.
pub(super) fn stage(table: &Table<'_>, api: &mut Api, p: &mut Problems) {
    if let Some(tracing) = table.flag("tracing", p) {
        api.tracing = tracing;
    }
    if let Some(metrics) = table.flag("metrics", p) {
        api.metrics = metrics;
    }
    if let Some(acl) = table.ruled("firewall", keys::API.rule("firewall"), p) {
        api.regional.push(regional(table, "firewall", acl, p));
        api.firewall = Some(acl.value.to_owned());
    }
    if let Some(logs) = table.table("access_logs", "[api]: access_logs", p) {
        logs.only(&keys::ACCESS_LOGS.names(), p);
        let days = logs.one_of("retention_days", &RETENTION_DAYS, " days", p);
        api.access_log_days = Some(days.unwrap_or(ACCESS_LOG_DAYS));
    }
}
