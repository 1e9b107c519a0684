//! Text that a server chose, made safe to show to a person.
//!
//! Must not judge what the text means.

use std::fmt::Write;

/// How much of a server's answer an error quotes, in characters.
const EXCERPT: usize = 200;

/// The most characters of a table's cell, and of a name or value where several share a line.
const CELL: usize = 300;
/// The most characters of a message.
const MESSAGE: usize = 4000;

/// The text with everything escaped that a terminal would act on: control characters, and the invisible ones that
/// reorder or hide what follows.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // `escape_debug` would escape these as well, and they are harmless.
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
}

/// A cell of a table, a name or a value among others: printable, and cut with an ellipsis where it is long.
pub(crate) fn cell(text: &str) -> String {
    shortened(text, CELL)
}

/// A message: printable, and cut with an ellipsis where it is long.
pub(crate) fn message(text: &str) -> String {
    shortened(text, MESSAGE)
}

fn shortened(text: &str, limit: usize) -> String {
    // No character is shown as less than one, so the rest need not be looked at.
    let start = text
        .char_indices()
        .nth(limit + 1)
        .map_or(text, |(end, _)| &text[..end]);
    let mut shown = printable(start);
    if let Some((end, _)) = shown.char_indices().nth(limit) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// As [`printable`], but lines stay lines and tabs tabs.
pub(crate) fn printable_lines(text: &str) -> String {
    let parts: Vec<String> = (text.split_inclusive(['\n', '\t']))
        .map(|part| match part.strip_suffix(['\n', '\t']) {
            Some(start) => format!("{}{}", printable(start), &part[start.len()..]),
            None => printable(part),
        })
        .collect();
    parts.concat()
}

/// JSON that says the same, with everything escaped that a terminal would act on; its writers escape only the control
/// characters of ASCII.
pub(crate) fn printable_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        // Such a character is always inside a string: between its tokens JSON has ASCII.
        if c == '\n' || c.escape_debug().len() == 1 || "\"'\\".contains(c) {
            shown.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(shown, "\\u{unit:04x}").expect("a string takes all that is written to it");
            }
        }
    }
    shown
}

/// The beginning of an answer on one line, safe to print; bytes that are not UTF-8 are replaced.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut start: String = line.chars().take(EXCERPT).collect();
    if start.len() < line.len() {
        start.push('…');
    }
    printable(&start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_passes() {
        for (text, shown) in [
            ("plain \"quoted\" C:\\ 'x'", "plain \"quoted\" C:\\ 'x'"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\r\nb\0", "a\\r\\nb\\0"),
            // The one-byte form of `ESC [`, and the override that turns text around.
            ("\u{9b}2J", "\\u{9b}2J"),
            ("\u{202e}txt", "\\u{202e}txt"),
            ("grün 鍵", "grün 鍵"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn what_is_long_is_cut_with_an_ellipsis() {
        assert_eq!(cell(&"ä".repeat(CELL)), "ä".repeat(CELL));
        assert_eq!(cell(&"ä".repeat(CELL + 1)), format!("{}…", "ä".repeat(CELL)));
        assert_eq!(cell(&"\u{1b}".repeat(70_000)).chars().count(), CELL + 1);
        assert_eq!(message(&"x".repeat(1 << 20)).chars().count(), MESSAGE + 1);
        assert_eq!(message("\u{1b}[2J"), "\\u{1b}[2J");
    }

    #[test]
    fn lines_and_tabs_stay() {
        assert_eq!(
            printable_lines("a\u{1b}\tb\r\n\n\u{9b}"),
            "a\\u{1b}\tb\\r\n\n\\u{9b}"
        );
        assert_eq!(printable_lines(""), "");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"a\u{9b}": ["\u{202e}\u{7f}\u{e0001}", "\u{1b}\n\"\\'grün 鍵"]});
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let shown = printable_json(&text);
            assert_eq!(
                shown.replace('\n', ""),
                printable(&shown.replace('\n', "")),
                "nothing is left to escape"
            );
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(
            excerpt(b" <html>\n\n  <b>\x1b</b>\xff "),
            "<html> <b>\\u{1b}</b>\u{fffd}"
        );
        let long = excerpt("ä".repeat(500).as_bytes());
        assert_eq!(long.chars().count(), EXCERPT + 1);
        assert!(long.ends_with('…'));
    }
}
