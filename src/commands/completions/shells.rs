//! What the shells differ in: the script, how a line is written, and how an answer is read.
//!
//! Must not know what is completed.

use clap_complete::CompletionCandidate;

use super::line::{Line, Syntax};
use crate::cli::Shell;
use crate::untrusted::printable;

/// What a user's shell reads when it starts.
pub(super) fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("provision.bash"),
        Shell::Zsh => include_str!("provision.zsh"),
        Shell::Fish => include_str!("provision.fish"),
        Shell::Powershell => include_str!("provision.ps1"),
    }
}

/// How a line of this shell is written; `breaks` are those of bash.
pub(super) fn syntax(shell: Shell, breaks: &str) -> Syntax<'_> {
    Syntax {
        escape: if shell == Shell::Powershell { '`' } else { '\\' },
        breaks: if shell == Shell::Bash { breaks } else { "" },
    }
}

/// The candidates as the script of the shell reads them, one a line.
pub(super) fn shown(shell: Shell, line: &Line, candidates: &[CompletionCandidate]) -> String {
    let mut shown = String::new();
    for candidate in candidates {
        let value = candidate.get_value().to_string_lossy();
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = printable(help.lines().next().unwrap_or_default());
        let one = match shell {
            Shell::Bash => line.replacement(&value),
            // First what it is, then what `_describe` reads.
            Shell::Zsh if help.is_empty() => Some(format!("{value}\t{}", escaped(&value))),
            Shell::Zsh => Some(format!("{value}\t{}:{help}", escaped(&value))),
            Shell::Fish if help.is_empty() => Some(value.into_owned()),
            Shell::Fish => Some(format!("{value}\t{help}")),
            Shell::Powershell => {
                let help = if help.is_empty() { &value } else { help.as_str() };
                Some(format!("{}\t{value}\t{help}", quoted(&value)))
            }
        };
        if let Some(one) = one {
            shown.push_str(&one);
            shown.push('\n');
        }
    }
    shown
}

/// For zsh, where a colon ends the value.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(':', "\\:")
}

/// For PowerShell, in quotes where it would not be one word otherwise.
fn quoted(value: &str) -> String {
    if value
        .chars()
        .all(|c| c.is_alphanumeric() || "_-./:=\\".contains(c))
    {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_gets_what_its_script_reads() {
        let candidates = [
            CompletionCandidate::new("a:b"),
            CompletionCandidate::new("it's c").help(Some("Two\nlines".into())),
        ];
        for (shell, line, expected) in [
            (Shell::Bash, "p a:", "b\n"),
            (Shell::Bash, "p ", "a:b\nit\\'s\\ c\n"),
            (Shell::Bash, "p '", "a:b\n"),
            (Shell::Zsh, "p ", "a:b\ta\\:b\nit's c\tit's c:Two\n"),
            (Shell::Fish, "p ", "a:b\nit's c\tTwo\n"),
            (Shell::Powershell, "p ", "a:b\ta:b\ta:b\n'it''s c'\tit's c\tTwo\n"),
        ] {
            let line = Line::read(line, syntax(shell, " :"));
            let shown = shown(shell, &line, &candidates);
            assert_eq!(shown, expected, "{shell:?}");
        }
    }
}
