//! What was measured: limit, figure, ratio.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::{Life, mib, millis};

/// One thing that was measured.
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    /// `None` where the figure is only told.
    pub(crate) limit: Option<f64>,
    pub(crate) figure: f64,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        // A limit of none at all is kept or not; there is no ratio to it.
        self.limit
            .filter(|limit| *limit > 0.0)
            .map(|limit| self.figure / limit)
    }

    fn verdict(&self) -> &'static str {
        match self.limit {
            None => "",
            Some(limit) if self.figure <= limit => "kept",
            Some(_) => "**over**",
        }
    }
}

/// A size of stack, and what its commands took.
pub(crate) struct Size {
    pub(crate) stack: String,
    pub(crate) life: Life,
}

/// What the slopes in the first table are made of.
pub(crate) fn growth(sizes: &[Size]) -> String {
    let mut text = "| stack | command | calls | time | CPU | peak memory | written | state saved |\n\
                    | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for size in sizes {
        for (command, spent) in size.life.commands() {
            let cost = spent.cost;
            let saves = if command == "up" {
                size.life.saves.to_string()
            } else {
                String::new()
            };
            writeln!(
                text,
                "| {} | `{command}` | {} | {:.2} s | {:.0} ms | {:.1} MiB | {:.0} KiB | {saves} |",
                size.stack,
                spent.calls,
                cost.wall.as_secs_f64(),
                millis(cost.cpu),
                mib(cost.memory as f64),
                cost.written as f64 / 1024.0,
            )
            .unwrap();
        }
    }
    text
}

/// As a Markdown table.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let number = |value: f64, unit: &str| {
        let digits = match unit {
            "calls" | "steps" => 0,
            "s" | "round trips" | "calls each" => 2,
            _ => 1,
        };
        format!("{value:.digits$} {unit}")
    };
    let mut cells = vec![["what", "limit", "figure", "ratio", ""].map(str::to_owned)];
    cells.push(["---", "---:", "---:", "---:", "---"].map(str::to_owned));
    let mut group = "";
    for row in rows {
        if row.group != group {
            group = row.group;
            let empty = String::new;
            cells.push([format!("**{group}**"), empty(), empty(), empty(), empty()]);
        }
        cells.push([
            row.what.clone(),
            row.limit.map(|limit| number(limit, row.unit)).unwrap_or_default(),
            number(row.figure, row.unit),
            row.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            row.verdict().to_owned(),
        ]);
    }
    let widths: Vec<usize> = (0..5)
        .map(|column| {
            cells
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in cells {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let right = (1..4).contains(&column);
            if right {
                write!(text, "| {cell:>width$} ").unwrap();
            } else {
                write!(text, "| {cell:<width$} ").unwrap();
            }
        }
        text.push_str("|\n");
    }
    text
}

/// For a program to read.
pub(crate) fn json(machine: &str, rows: &[Row], sizes: &[Size]) -> Value {
    let sizes = sizes.iter().flat_map(|size| {
        size.life.commands().map(|(command, spent)| {
            json!({
                "stack": size.stack, "command": command, "calls": spent.calls,
                "wall_ms": millis(spent.cost.wall), "cpu_ms": millis(spent.cost.cpu),
                "memory_bytes": spent.cost.memory, "written_bytes": spent.cost.written,
            })
        })
    });
    let rows = rows.iter().map(|row| {
        json!({
            "group": row.group, "what": row.what, "unit": row.unit,
            "limit": row.limit, "figure": row.figure, "ratio": row.ratio(),
        })
    });
    json!({
        "machine": machine,
        "rows": rows.collect::<Vec<_>>(),
        "sizes": sizes.collect::<Vec<_>>(),
    })
}
