//! The last lines of the terminal: a block that is painted again and again, and the lines that are printed above it.
//!
//! Must not decide what is shown.
//!
//! There is one terminal, so there is one block. The cursor is never hidden and stays on the line below the block, so a kill at
//! any instant leaves whole lines and the cursor where the shell expects it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::mem::take;
use std::sync::{Mutex, TryLockError};
use std::thread::sleep;
use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use console::{Term, measure_text_width, truncate_str};
use indicatif::TermLike;

static BLOCK: Mutex<Block> = Mutex::new(Block {
    lines: Vec::new(),
    above: String::new(),
    is_closed: false,
});

struct Block {
    /// As they are painted.
    lines: Vec<String>,
    /// What is printed above the block with the next paint.
    above: String,
    /// Nothing is painted any more.
    is_closed: bool,
}

/// Prints a line on stderr: at once, or above the block with its next paint.
pub(crate) fn print(line: &str) {
    with_block(|block| {
        if block.lines.is_empty() {
            // A line that stderr does not take must not fail the run.
            drop(writeln!(anstream::stderr(), "{line}"));
        } else {
            block.above.push_str(line);
            block.above.push('\n');
        }
    });
}

/// Takes the block away, and prints what waits.
pub(crate) fn clear() {
    with_block(|block| block.paint(&[]));
}

/// The same, for good: the process ends, or a panic is about to be printed.
pub(crate) fn close() {
    with_block(|block| {
        block.is_closed = true;
        block.paint(&[]);
    });
}

fn with_block(act: impl FnOnce(&mut Block)) {
    // Another thread may be painting. A terminal that takes no output must not keep the process from ending.
    for _ in 0..20 {
        match BLOCK.try_lock() {
            Ok(mut block) => return act(&mut block),
            Err(TryLockError::Poisoned(block)) => return act(&mut block.into_inner()),
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(5)),
        }
    }
}

impl Block {
    fn paint(&mut self, lines: &[String]) {
        let lines = if self.is_closed { &[] } else { lines };
        if self.lines == lines && self.above.is_empty() {
            return;
        }
        let widths: Vec<usize> = self.lines.iter().map(|line| measure_text_width(line)).collect();
        let mut out = erase(&widths, size().1);
        let above = take(&mut self.above);
        if AutoStream::choice(&io::stderr()) == ColorChoice::Never {
            write!(out, "{}", strip_str(&above)).expect("a string takes all that is written to it");
        } else {
            out.push_str(&above);
        }
        for line in lines {
            out.push_str(line);
            out.push('\n');
        }
        self.lines = lines.to_vec();
        let mut stderr = io::stderr().lock();
        drop(stderr.write_all(out.as_bytes()).and_then(|()| stderr.flush()));
    }
}

/// What takes lines of these widths away that are right above the cursor. On a terminal that was made narrower since, a line has
/// more rows than when it was painted.
fn erase(widths: &[usize], columns: usize) -> String {
    let rows: usize = widths.iter().map(|width| width.div_ceil(columns).max(1)).sum();
    match rows {
        0 => String::new(),
        rows => format!("\r\x1b[{rows}A\x1b[J"),
    }
}

/// Rows and columns of the terminal.
pub(crate) fn size() -> (usize, usize) {
    let (rows, columns) = Term::stderr().size();
    (usize::from(rows.max(1)), usize::from(columns.max(1)))
}

/// Columns of the terminal that stdout is; `None` if it is not one.
pub(crate) fn stdout_columns() -> Option<usize> {
    let term = Term::stdout();
    term.is_term().then(|| usize::from(term.size().1.max(1)))
}

/// As much of a line as fits; it leaves the last column free, where some terminals begin a new row.
pub(crate) fn cut(line: &str, columns: usize) -> String {
    match columns.saturating_sub(1) {
        0 => String::new(),
        columns => truncate_str(line, columns, "…").into_owned(),
    }
}

/// What indicatif draws on.
///
/// Its own target fills every line with blanks up to the edge, and a terminal that is resized then wraps all of them again. This
/// one ends each line, and takes it away by its true width.
#[derive(Debug)]
pub(crate) struct Screen(Mutex<Vec<String>>);

impl Default for Screen {
    fn default() -> Self {
        Self(Mutex::new(vec![String::new()]))
    }
}

impl Screen {
    fn lines<T>(&self, act: impl FnOnce(&mut Vec<String>) -> T) -> T {
        act(&mut self.0.lock().expect("nothing panics while it holds a line"))
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        u16::try_from(size().1).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(size().0).unwrap_or(u16::MAX)
    }

    /// A frame is painted as a whole, so its caller need not move.
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.write_str("")
    }

    /// After the text of each line come the blanks that would fill it, which may be none.
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.lines(|lines| match (lines.last_mut(), text.trim_matches(' ')) {
            (Some(last), text) if !text.is_empty() => last.push_str(text),
            _ => lines.push(String::new()),
        });
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut lines = self.lines(|lines| std::mem::replace(lines, vec![String::new()]));
        lines.retain(|line| !line.is_empty());
        with_block(|block| block.paint(&lines));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_were_wrapped_by_a_narrower_terminal_are_taken_away_whole() {
        assert_eq!(erase(&[], 80), "");
        assert_eq!(erase(&[79, 3], 80), "\r\x1b[2A\x1b[J");
        assert_eq!(erase(&[79, 3], 40), "\r\x1b[3A\x1b[J");
        assert_eq!(erase(&[79, 0], 20), "\r\x1b[5A\x1b[J");
    }

    #[test]
    fn a_line_is_cut_by_what_is_seen_of_it() {
        assert_eq!(cut("abcdef", 6), "abcd…");
        assert_eq!(cut("abcde", 6), "abcde");
        // Each of them is two columns wide.
        assert_eq!(cut("鍵鍵鍵鍵", 8), "鍵鍵鍵…");
        assert_eq!(cut("abc", 1), "");
    }

    #[test]
    fn indicatif_draws_whole_lines() {
        let screen = Screen::default();
        for text in ["[==>  ] 2 of 5", "      ", "full", "", "last", " "] {
            screen.write_str(text).unwrap();
        }
        assert_eq!(screen.lines(take), ["[==>  ] 2 of 5", "full", "last", ""]);
    }
}
