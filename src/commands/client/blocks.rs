//! A short text as Markdown or as an HTML page.
//!
//! Must not know what it says. What is in [`Inline::Code`] and [`Block::Code`] may be of anybody, and stays what it is.

use std::fmt::Write;

/// A part of a line.
pub(super) enum Inline {
    /// Words of this program, without a character that Markdown gives a meaning.
    Words(String),
    /// A name or a value.
    Code(String),
}

/// A part of a text.
pub(super) enum Block {
    /// The title of the text.
    Title(Vec<Inline>),
    /// The title of what follows.
    Heading(&'static str),
    Paragraph(Vec<Inline>),
    /// A line of titles, and the rows below them.
    Table([&'static str; 2], Vec<[Vec<Inline>; 2]>),
    /// A file in this language, as Markdown calls it.
    Code(&'static str, String),
}

pub(super) fn words(text: impl Into<String>) -> Inline {
    Inline::Words(text.into())
}

pub(super) fn code(text: impl Into<String>) -> Inline {
    Inline::Code(text.into())
}

/// The codes with a comma between them.
pub(super) fn codes<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<Inline> {
    let mut line = Vec::new();
    for text in texts {
        if !line.is_empty() {
            line.push(words(", "));
        }
        line.push(code(text));
    }
    line
}

/// As Markdown, with the tables of GitHub.
pub(super) fn markdown(blocks: &[Block]) -> String {
    let row = |cells: &[Vec<Inline>; 2]| {
        let cells = cells.each_ref().map(|cell| {
            // A table ends a cell at every `|`, also at one in code.
            markdown_line(cell).replace('|', "\\|")
        });
        format!("| {} |", cells.join(" | "))
    };
    let parts = blocks.iter().map(|block| match block {
        Block::Title(line) => format!("# {}", markdown_line(line)),
        Block::Heading(title) => format!("## {title}"),
        Block::Paragraph(line) => markdown_line(line),
        Block::Table(titles, rows) => {
            let mut lines = vec![format!("| {} |", titles.join(" | ")), "|---|---|".to_owned()];
            lines.extend(rows.iter().map(row));
            lines.join("\n")
        }
        Block::Code(language, text) => format!("```{language}\n{}\n```", text.trim_end()),
    });
    parts.collect::<Vec<_>>().join("\n\n")
}

fn markdown_line(line: &[Inline]) -> String {
    let parts = line.iter().map(|part| match part {
        Inline::Words(text) => text.clone(),
        Inline::Code(text) => span(text),
    });
    parts.collect()
}

/// Code in Markdown: between more backticks than are in it.
fn span(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    if text.starts_with('`') || text.ends_with('`') {
        format!("{fence} {text} {fence}")
    } else {
        format!("{fence}{text}{fence}")
    }
}

/// As one page that needs no other file and runs nothing.
pub(super) fn html(blocks: &[Block]) -> String {
    let mut title = String::new();
    let mut body = String::new();
    for block in blocks {
        let html = match block {
            Block::Title(line) => {
                title = plain(line);
                format!("<h1>{}</h1>", html_line(line))
            }
            Block::Heading(title) => format!("<h2>{}</h2>", escaped(title)),
            Block::Paragraph(line) => format!("<p>{}</p>", html_line(line)),
            Block::Table(titles, rows) => {
                let titles = titles.map(|title| format!("<th>{}</th>", escaped(title)));
                let mut table = format!("<table>\n<tr>{}</tr>\n", titles.concat());
                for row in rows {
                    let cells = row.each_ref().map(|cell| format!("<td>{}</td>", html_line(cell)));
                    writeln!(table, "<tr>{}</tr>", cells.concat())
                        .expect("a string takes all that is written to it");
                }
                table + "</table>"
            }
            Block::Code(_, text) => format!("<pre><code>{}</code></pre>", escaped(text.trim_end())),
        };
        body.push_str(&html);
        body.push('\n');
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>",
        escaped(&title)
    )
}

const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h1 code { font-size: inherit; }
h2 { font-size: 1.2rem; margin-top: 2rem; }
code { font: 0.9em ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: color-mix(in srgb, currentColor 7%, transparent); border-radius: 6px; padding: 0.8rem 1rem; white-space: pre-wrap; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); padding: 0.4rem 0.8rem 0.4rem 0; text-align: left; vertical-align: top; }
@media (max-width: 36rem) {
tr { display: block; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); padding: 0.4rem 0; }
td { display: block; border: 0; padding: 0; }
td:first-child { font-weight: 600; }
th { display: inline-block; border: 0; padding: 0 1rem 0 0; }
pre { padding: 0.8rem; font-size: 0.9rem; }
}
@media print { body { max-width: none; margin: 0; } h2 { break-after: avoid; } tr { break-inside: avoid; } }
";

fn html_line(line: &[Inline]) -> String {
    let parts = line.iter().map(|part| match part {
        Inline::Words(text) => escaped(text),
        Inline::Code(text) => format!("<code>{}</code>", escaped(text)),
    });
    parts.collect()
}

fn plain(line: &[Inline]) -> String {
    let parts = line.iter().map(|part| match part {
        Inline::Words(text) | Inline::Code(text) => text.as_str(),
    });
    parts.collect()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_markdown_a_name_stays_what_it_is() {
        for (text, expected) in [
            ("orders/read", "`orders/read`"),
            ("a`b", "``a`b``"),
            ("``a", "``` ``a ```"),
            ("a\nb\t c", "`a b c`"),
            ("*a* <b>", "`*a* <b>`"),
        ] {
            assert_eq!(span(text), expected);
        }
        let row = [vec![code("a|b")], vec![words("c")]];
        let table = Block::Table(["x", "y"], vec![row]);
        assert_eq!(markdown(&[table]), "| x | y |\n|---|---|\n| `a\\|b` | c |");
    }

    #[test]
    fn in_html_a_name_is_not_a_tag() {
        let name = "</code><script>alert('1')</script> & \"x\"";
        let page = html(&[
            Block::Title(vec![words("Client "), code(name)]),
            Block::Paragraph(vec![code(name)]),
            Block::Table(["x", "y"], vec![[vec![code(name)], vec![words("<b>")]]]),
            Block::Code("sh", name.to_owned()),
        ]);
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        let safe = "&lt;/code&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;";
        assert_eq!(page.matches(safe).count(), 5, "{page}");
    }
}
