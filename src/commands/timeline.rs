//! `--timeline`: the picture of a run, in the file that was typed.
//!
//! Must not write over anything but a picture.

use std::io::{ErrorKind, Read};
use std::path::Path;

use super::ui::Ui;
use crate::error::{Failure, Kind};
use crate::files::{self, Links, Replacement};

/// Refuses a file that cannot be what is meant, before the run begins.
///
/// # Errors
/// There is a file of this name and it is no SVG, or its folder is not there.
pub(super) fn check(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder
        && !folder.is_dir()
    {
        return Err(Failure::usage(format!(
            "folder {} of the timeline not found",
            folder.display()
        )));
    }
    let mut begin = Vec::new();
    match files::open(file, Links::Refused) {
        Ok(open) => open.take(1024).read_to_end(&mut begin)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let error = anyhow::Error::new(error).context("the timeline cannot be written");
            return Err(Failure::new(Kind::Usage, error));
        }
    };
    if begin.is_empty() || String::from_utf8_lossy(&begin).contains("<svg") {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} exists and is not an SVG; not overwritten",
        file.display()
    ))
    .hinted("name a new file or an earlier timeline with --timeline"))
}

/// Writes what is to be seen of the run, if it began.
///
/// # Errors
/// The file system says no.
pub(super) fn write(file: &Path, ui: &Ui) -> Result<(), Failure> {
    if let Some(svg) = ui.timeline_svg() {
        // In one piece, as what is there since it was looked at is replaced and not written into.
        Replacement::write(file, svg.as_bytes(), 0o666)?.persist(file)?;
        ui.progress(&format!("timeline: {}", file.display()));
    }
    Ok(())
}
