//! The reference of the keys in Markdown, made of the table of keys. docs/configuration.md has it.
//!
//! Must not know what a key is for.

use super::keys::{self, Section, Takes};

/// A table with a row for each key.
pub fn reference() -> String {
    let mut text = row(["key", "means", "default", "allowed"]) + "|---|---|---|---|\n";
    for top in keys::FILE.keys {
        match &top.takes {
            Takes::Table(section) | Takes::Tables(_, _, _, section) => text.push_str(&rows(section)),
            _ => text.push_str(&rows(&keys::ENVIRONMENT)),
        }
    }
    text
}

/// The rows of a table, and then those of the tables in it that have a heading of their own.
fn rows(section: &Section) -> String {
    let mut text = row([&format!("**`{}`**", section.heading), section.about, "", ""]);
    let mut below = String::new();
    for key in section.keys {
        match &key.takes {
            Takes::Table(section) if !section.heading.is_empty() => below.push_str(&rows(section)),
            _ => {}
        }
        let name = if key.label.is_empty() { key.name } else { key.label };
        text.push_str(&row([&format!("`{name}`"), key.means, key.default, key.allowed]));
    }
    text + &below
}

fn row(cells: [&str; 4]) -> String {
    let cell = |cell: &str| match cell {
        "" => " ".to_owned(),
        text => format!(" {text} "),
    };
    format!("|{}|\n", cells.map(cell).join("|"))
}
