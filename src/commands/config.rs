//! `config`: the complete configuration, and where each value comes from.
//!
//! Must not ask AWS.

use super::configuration;
use super::invocation::Invocation;
use super::ui::Ui;
use crate::error::Failure;

/// Runs it.
pub(super) fn run(invocation: &Invocation, ui: &Ui) -> Result<(), Failure> {
    let (complete, from) = configuration::complete(invocation)?;
    if ui.is_json() {
        ui.json_data(&serde_json::to_string_pretty(&complete.json(&from))?);
    } else {
        ui.data(&complete.toml(&from));
    }
    Ok(())
}
