//! `schema`: the keys of the configuration, for an editor or for people.
//!
//! Must not read a file.

use super::ui::Ui;
use crate::cli::{Schema, SchemaFormat};
use crate::config::{reference, schema};
use crate::error::Failure;

/// Runs it.
pub(super) fn run(args: &Schema, ui: &Ui) -> Result<(), Failure> {
    match args.format {
        SchemaFormat::Json => ui.json_data(&serde_json::to_string_pretty(&schema())?),
        SchemaFormat::Markdown => ui.data(reference().trim_end()),
    }
    Ok(())
}
