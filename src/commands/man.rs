//! `man`: the texts of the help as man pages.
//!
//! Must not have a text of its own.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::ui::Ui;
use crate::cli::Cli;
use crate::error::Failure;
use crate::files::{self, Replacement};

/// Writes a page for each command.
pub(super) fn run(folder: &Path, ui: &Ui) -> Result<(), Failure> {
    files::make_folder(folder)?;
    let pages = pages();
    for (name, text) in &pages {
        let path = folder.join(name);
        Replacement::write(&path, text, 0o666)?.persist(&path)?;
    }
    ui.progress(&format!("{} man pages: {}", pages.len(), folder.display()));
    Ok(())
}

/// The file names and the texts.
fn pages() -> Vec<(String, Vec<u8>)> {
    // Without the commit and the build.
    let mut command = Cli::command()
        .disable_help_subcommand(true)
        .long_version(None::<&str>);
    command.build();
    let mut pages = Vec::new();
    add(&command, &mut pages);
    pages
}

fn add(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) {
    // In the place of a date, so that every build of a version makes the same pages.
    let version = concat!("provision ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).date(version).source("provision");
    let mut text = Vec::new();
    man.render(&mut text).expect("a Vec takes every byte");
    pages.push((man.get_filename(), text));
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        add(command, pages);
    }
}
