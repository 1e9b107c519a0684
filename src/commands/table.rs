//! A table for people.
//!
//! Must not know what is in it.

use crate::untrusted::cell;

/// The rows below their titles, in columns that line up. Text from servers is safe to show.
pub(super) fn table<const COLUMNS: usize>(titles: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let rows = rows.iter().map(|row| row.each_ref().map(|text| cell(text)));
    let rows: Vec<[String; COLUMNS]> = std::iter::once(titles.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or_default()
    });
    let line = |row: &[String; COLUMNS]| {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(text, width)| format!("{text:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
