//! Commands that messages suggest: they work as printed.
//!
//! Must not decide what is suggested.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::cli::Global;
use crate::untrusted::printable;

/// Begins a command in a message; a backtick ends it.
const BEGIN: &str = "`provision ";

/// The options of this run without which a suggested command would mean another stack, or would not find this one.
pub(super) struct FollowUp(Vec<(&'static str, String)>);

impl FollowUp {
    /// Those that were typed.
    pub(super) fn of(typed: &Global) -> Self {
        let text = |value: &Option<String>| value.as_deref().map(|value| quoted(value.as_ref()));
        let mut options = Vec::new();
        if typed.sandbox {
            options.push(("--sandbox", String::new()));
        }
        let state = typed
            .state
            .as_ref()
            .map(|location| quoted(location.to_string().as_ref()));
        for (name, value) in [
            ("--stack", text(&typed.stack)),
            (
                "--config",
                typed.config.as_ref().map(|path| quoted(path.as_os_str())),
            ),
            ("--env", text(&typed.env)),
            ("--state", state),
            ("--region", text(&typed.region)),
            ("--profile", text(&typed.profile)),
            ("--endpoint-url", text(&typed.endpoint_url)),
        ] {
            options.extend(value.map(|value| (name, value)));
        }
        Self(options)
    }

    /// `text` with these options in every command in backticks that begins with `provision`. An option that a command has
    /// already is not added.
    pub(super) fn complete(&self, text: &str) -> String {
        let mut completed = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(BEGIN) {
            let command = &rest[start + 1..];
            let Some(length) = end(command) else { break };
            let (before, command) = (&rest[..=start], &command[..length]);
            completed.push_str(before);
            completed.push_str(command);
            completed.push_str(&self.suffix(command));
            rest = &rest[before.len() + length..];
            // The backtick that ends it does not begin another one.
            completed.push('`');
            rest = &rest[1..];
        }
        completed + rest
    }

    fn suffix(&self, command: &str) -> String {
        let has = |option: &str| command.split(' ').any(|word| word == option);
        let is_wanted = |option: &str| match option {
            "--state" => true,
            _ if command.starts_with("provision sandbox ") => false,
            "--region" | "--profile" | "--endpoint-url" => !has("--sandbox"),
            _ => true,
        };
        let options = self.0.iter().filter(|(name, _)| is_wanted(name) && !has(name));
        let options = options.map(|(name, value)| match value.as_str() {
            "" => format!(" {name}"),
            // It would be taken for an option.
            value if value.starts_with('-') => format!(" {name}={value}"),
            value => format!(" {name} {value}"),
        });
        options.collect()
    }
}

/// Where the command ends: at the first backtick that is not in quotes.
fn end(command: &str) -> Option<usize> {
    let mut quoted = false;
    let mut characters = command.char_indices();
    characters
        .find(|(_, character)| {
            quoted ^= *character == '\'';
            *character == '`' && !quoted
        })
        .map(|(place, _)| place)
}

/// One word for a shell, and safe on a terminal.
pub(super) fn quoted(word: &OsStr) -> String {
    let text = word.to_str().filter(|text| printable(text) == *text);
    match text {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Some(text) => format!("'{}'", text.replace('\'', r"'\''")),
        None => {
            let byte = |byte: &u8| match byte {
                b' '..=b'~' if !br"'\`".contains(byte) => char::from(*byte).to_string(),
                _ => format!(r"\x{byte:02x}"),
            };
            format!("$'{}'", word.as_bytes().iter().map(byte).collect::<String>())
        }
    }
}

/// Whether no shell gives this character a meaning, wherever it is in a word.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_@%+=:,./-".contains(character)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn complete(options: &[&str], text: &str) -> String {
        let words = [&["provision", "status"], options].concat();
        FollowUp::of(&Cli::try_parse_from(words).unwrap().global).complete(text)
    }

    #[test]
    fn a_command_in_a_message_gets_the_options_of_this_run() {
        let all = [
            "--sandbox",
            "--stack",
            "a",
            "--config",
            "b c.toml",
            "--state",
            "d",
            "--region",
            "e-1",
            "--profile",
            "f",
        ];
        let suffix = "--sandbox --stack a --config 'b c.toml' --state d --region e-1 --profile f";
        for (text, expected) in [
            (
                "run `provision up` first",
                format!("run `provision up {suffix}` first"),
            ),
            (
                "`provision plan`, then `provision up`",
                format!("`provision plan {suffix}`, then `provision up {suffix}`"),
            ),
            (
                "run `provision up --stack other --sandbox`",
                "run `provision up --stack other --sandbox --config 'b c.toml' --state d`".to_owned(),
            ),
            (
                "run `provision sandbox stop` first",
                "run `provision sandbox stop --state d` first".to_owned(),
            ),
            (
                "run `provision token 'a`b'` again",
                format!("run `provision token 'a`b' {suffix}` again"),
            ),
        ] {
            assert_eq!(complete(&all, text), expected);
        }
        for text in [
            "`up` and provision up",
            "an open `provision up",
            "`aws sso login`",
            "",
        ] {
            assert_eq!(complete(&all, text), text);
        }
        assert_eq!(
            complete(&["--state", "state"], "`provision up`"),
            "`provision up --state state`"
        );
        assert_eq!(
            complete(
                &["--config=-a", "--endpoint-url", "http://127.0.0.1:1"],
                "`provision up`"
            ),
            "`provision up --config=-a --endpoint-url http://127.0.0.1:1`"
        );
    }

    #[test]
    fn a_shell_takes_a_quoted_word_for_what_it_was() {
        for word in [
            "a", "a b", "", "it's", "$HOME", "`id`", "a\\b", "~", "a\"b", "*", "é", "!!", "#a", "a;b",
        ] {
            let script = format!("printf %s {}", quoted(word.as_ref()));
            let printed = Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
            assert_eq!(String::from_utf8(printed).unwrap(), word, "{script}");
        }
        // Not every `sh` has this form.
        for word in [&b"a\nb"[..], b"\x1b[2J", b"\xff'\\`", "\u{202e}".as_bytes()] {
            let quoted = quoted(OsStr::from_bytes(word));
            assert!(
                quoted.starts_with("$'") && printable(&quoted) == quoted,
                "{quoted}"
            );
            if let Ok(run) = Command::new("bash")
                .args(["-c", &format!("printf %s {quoted}")])
                .output()
            {
                assert_eq!(run.stdout, word, "{quoted}");
            }
        }
    }
}
