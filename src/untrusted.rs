//! Text that a server chose, made safe to show to a person.
//!
//! Must not judge what the text means.

/// How much of a server's answer an error quotes, in characters.
const EXCERPT: usize = 200;

/// The text with everything escaped that a terminal would act on: control characters, and the invisible ones that
/// reorder or hide what follows.
pub fn printable(text: &str) -> String {
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

/// The beginning of an answer on one line, safe to print; bytes that are not UTF-8 are replaced.
pub fn excerpt(body: &[u8]) -> String {
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
