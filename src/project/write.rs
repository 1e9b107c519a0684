//! Puts the files of a new project where none are.
//!
//! Must not replace or delete a file, and must not know what is in them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{CONFIG, File};
use crate::files::{self, Replacement};

/// What is in the way of these files in `folder`: every file that exists, and whatever else is in the function's folder. A file
/// that a killed run has written, which has exactly what it is to have, is not in the way until the configuration exists.
///
/// # Errors
/// A folder cannot be read.
pub(crate) fn conflicts(
    folder: &Path,
    files: &[File],
    function: Option<&str>,
) -> io::Result<BTreeSet<PathBuf>> {
    let mut conflicts = BTreeSet::new();
    let is_complete = exists(&folder.join(CONFIG));
    for file in files {
        let path = folder.join(&file.path);
        if exists(&path) && (is_complete || !is_written(&path, file)) {
            conflicts.insert(path);
        }
    }
    let Some(function) = function.map(|function| folder.join(function)) else {
        return Ok(conflicts);
    };
    if !exists(&function) {
        return Ok(conflicts);
    }
    // A link may lead to a folder of something else.
    if !function.symlink_metadata()?.is_dir() {
        conflicts.insert(function);
        return Ok(conflicts);
    }
    for entry in WalkDir::new(&function).min_depth(1) {
        let entry = entry.map_err(io::Error::from)?;
        let is_ours = files.iter().any(|file| {
            let path = folder.join(&file.path);
            let is_beside = entry.path().parent() == path.parent();
            path.starts_with(entry.path()) || (is_beside && files::is_leftover(entry.file_name(), &path))
        });
        if !is_ours {
            // The folder says it all, however much is in it.
            conflicts.insert(function);
            break;
        }
    }
    Ok(conflicts)
}

/// Whether something has this name, also a link that leads nowhere.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn is_written(path: &Path, file: &File) -> bool {
    let about = path.symlink_metadata();
    let is_same = |about: &std::fs::Metadata| about.is_file() && about.len() == file.text.len() as u64;
    about.as_ref().is_ok_and(is_same)
        && fs_err::read(path).is_ok_and(|content| content == file.text.as_bytes())
}

/// Writes the files in their order, each in one piece. After a kill, the same command goes on.
///
/// # Errors
/// A file that has appeared since is in the way, or the file system refuses it.
pub(crate) fn write(folder: &Path, files: &[File]) -> io::Result<()> {
    for file in files {
        let path = folder.join(&file.path);
        files::make_folder(files::folder_of(&path))?;
        files::remove_leftovers(&path);
        if is_written(&path, file) {
            continue;
        }
        let mode = if file.is_program { 0o755 } else { 0o644 };
        Replacement::write(&path, file.text.as_bytes(), mode)?.persist_new(&path)?;
    }
    Ok(())
}
