//! A command line up to the cursor, as a shell would read it.
//!
//! Must not know what the words mean, and never expands anything.

/// How a shell writes a word.
#[derive(Clone, Copy)]
pub(super) struct Syntax<'a> {
    /// Makes the next character an ordinary one.
    pub escape: char,
    /// Where the shell begins a new word to be completed although no space is there. Of bash; empty for others.
    pub breaks: &'a str,
}

/// A line whose last word is to be completed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Without quotes and escapes. The last one is empty after a space.
    pub words: Vec<String>,
    /// The quote that the last word is in.
    pub quote: Option<char>,
    /// How many bytes of the last word come before what the shell replaces.
    pub kept: usize,
}

impl Line {
    pub(super) fn read(line: &str, syntax: Syntax<'_>) -> Self {
        let mut words = Vec::new();
        let mut word = String::new();
        let mut is_begun = false;
        let mut quote = None;
        let (mut broken, mut opened) = (0, 0);
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match quote {
                Some(open) if c == open => quote = None,
                Some('"')
                    if c == syntax.escape && chars.peek().is_some_and(|next| "\"\\$`".contains(*next)) =>
                {
                    word.extend(chars.next());
                }
                Some(_) => word.push(c),
                None if c == syntax.escape => {
                    is_begun = true;
                    word.extend(chars.next());
                }
                None if c == '"' || c == '\'' => {
                    (quote, is_begun, opened) = (Some(c), true, word.len());
                }
                None if c.is_whitespace() => {
                    if is_begun {
                        words.push(std::mem::take(&mut word));
                    }
                    (is_begun, broken) = (false, 0);
                }
                None => {
                    is_begun = true;
                    word.push(c);
                    if syntax.breaks.contains(c) {
                        broken = word.len();
                    }
                }
            }
        }
        words.push(word);
        let kept = if quote.is_some() { opened } else { broken };
        Self { words, quote, kept }
    }

    /// The word to be completed.
    pub(super) fn last(&self) -> &str {
        self.words.last().map(String::as_str).unwrap_or_default()
    }

    /// What bash puts in place of the part of the last word that it replaces; `None` if the open quote does not allow it.
    pub(super) fn replacement(&self, value: &str) -> Option<String> {
        let rest = value.strip_prefix(&self.last()[..self.kept])?;
        match self.quote {
            Some('\'') if rest.contains('\'') => None,
            Some('\'') => Some(rest.to_owned()),
            Some(_) => Some(escaped(rest, |c| !"\"\\$`".contains(c))),
            None => Some(escaped(rest, |c| c.is_alphanumeric() || "_-./+:=,@%".contains(c))),
        }
    }
}

fn escaped(text: &str, is_plain: impl Fn(char) -> bool) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if !is_plain(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASH: Syntax<'_> = Syntax {
        escape: '\\',
        breaks: " \t\n\"'@><=;|&(:",
    };

    #[test]
    fn a_line_is_read_as_a_shell_reads_it() {
        for (line, words, quote, kept) in [
            ("provision ", &["provision", ""][..], None, 0),
            ("provision  to", &["provision", "to"], None, 0),
            ("p --config=a b", &["p", "--config=a", "b"], None, 0),
            ("p --config=a", &["p", "--config=a"], None, 9),
            (r"p route:GET\ /u", &["p", "route:GET /u"], None, 6),
            ("p 'route:GET /u", &["p", "route:GET /u"], Some('\''), 0),
            ("p route:\"GET /u", &["p", "route:GET /u"], Some('"'), 6),
            ("p \"a b\" ''  c", &["p", "a b", "", "c"], None, 0),
            (r#"p "a\"b\c"#, &["p", r#"a"b\c"#], Some('"'), 0),
            (r"p a\", &["p", "a"], None, 0),
            ("p \"", &["p", ""], Some('"'), 0),
        ] {
            let read = Line::read(line, BASH);
            assert_eq!(read.words, words, "{line}");
            assert_eq!((read.quote, read.kept), (quote, kept), "{line}");
        }
        let backtick = Syntax {
            escape: '`',
            breaks: "",
        };
        assert_eq!(Line::read(r"p a` b\c", backtick).words, ["p", r"a b\c"]);
    }

    #[test]
    fn what_replaces_a_word_is_read_as_the_value() {
        for line in [
            "p ",
            "p route:",
            "p route:G",
            "p 'route:",
            "p \"route:G",
            "p route:\"GET",
        ] {
            for value in [
                "route:GET /a$b/{c}",
                "route:GET /\"x`y\\z",
                "route:GET !*~#&;(|<>[?é",
            ] {
                let read = Line::read(line, BASH);
                let replaced = read.replacement(value).unwrap();
                let start = match read.quote {
                    Some(quote) => line.rfind(quote).unwrap() + 1,
                    None => line.rfind(|c| BASH.breaks.contains(c)).unwrap() + 1,
                };
                let completed = format!("{}{replaced}", &line[..start]);
                assert_eq!(Line::read(&completed, BASH).last(), value, "{completed}");
            }
        }
        assert_eq!(Line::read("p 'a", BASH).replacement("a'b"), None);
    }
}
