//! The arguments that clap cannot read by itself.
//!
//! Must not know what an argument is for.

use std::ffi::OsStr;
use std::time::{Duration, SystemTime};

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};

use crate::config::ROLE_ARN;
use crate::pipeline::is_host;
use crate::untrusted::printable;

/// The methods that an API Gateway REST API takes; `ANY` is a route's word for all of them.
const METHODS: [Method; 7] = [
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
];

/// Reads one argument; clap tells what is wrong, with the argument's name.
#[derive(Clone)]
pub(super) struct Argument<T> {
    parse: fn(&str) -> Result<T, String>,
    /// Whether the argument may be quoted in an error; one that may hold a key is not.
    is_quoted: bool,
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Argument<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let text = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
        text.and_then(self.parse).map_err(|why| {
            let quoted = if self.is_quoted {
                format!(" '{}'", printable(&value.to_string_lossy()))
            } else {
                String::new()
            };
            let arg = arg.map(ToString::to_string).unwrap_or_default();
            let message = format!("invalid value{quoted} for '{arg}': {why}");
            command.clone().error(ErrorKind::ValueValidation, message)
        })
    }
}

/// A step and the id of the resource that it is.
pub(super) const PICK: Argument<(String, String)> = Argument {
    parse: |text| match text.split_once('=') {
        Some((step, id)) if !step.is_empty() && !id.is_empty() => Ok((step.to_owned(), id.to_owned())),
        _ => Err("expected STEP=ID, such as client-app=1a2b3c".to_owned()),
    },
    is_quoted: true,
};

/// An IAM role.
pub(super) const ROLE: Argument<String> = Argument {
    parse: |text| {
        let role = Some(text.to_owned()).filter(|text| (ROLE_ARN.holds)(text));
        role.ok_or_else(|| format!("expected {}", ROLE_ARN.allowed))
    },
    is_quoted: true,
};

/// A host, by its name.
pub(super) const HOST: Argument<String> = Argument {
    parse: |text| {
        let host = Some(text.to_owned()).filter(|text| is_host(text));
        host.ok_or_else(|| "expected the name of a host, such as gitlab.example.com".to_owned())
    },
    is_quoted: true,
};

/// An account.
pub(super) const ACCOUNT: Argument<String> = Argument {
    parse: |text| {
        let is_account = |text: &String| text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
        let account = Some(text.to_owned()).filter(is_account);
        account.ok_or_else(|| "expected an account's 12 digits".to_owned())
    },
    is_quoted: true,
};

/// A method, in either case.
pub(super) const METHOD: Argument<Method> = Argument {
    parse: |text| {
        let mut known = METHODS.into_iter();
        let known = known.find(|method| method.as_str().eq_ignore_ascii_case(text));
        let names = METHODS.map(|method| method.to_string()).join(", ");
        known.ok_or_else(|| format!("expected one of {names}"))
    },
    is_quoted: true,
};

/// A path below the stage.
pub(super) const PATH: Argument<String> = Argument {
    parse: |text| {
        let path = Some(text.to_owned()).filter(|path| path.starts_with('/'));
        path.ok_or_else(|| "expected a path that begins with `/`, such as /user".to_owned())
    },
    is_quoted: true,
};

/// A scope as OAuth has them: a space would make two of it, and an empty one would ask for all.
pub(super) const SCOPE: Argument<String> = Argument {
    parse: |text| {
        let is_scope = |text: &String| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        let scope = Some(text.to_owned()).filter(is_scope);
        scope.ok_or_else(|| "expected a scope such as OauthResourceServer/user.read".to_owned())
    },
    is_quoted: true,
};

/// A whole number of seconds, minutes, hours or days: at least a second, and no longer than since 1970, from when
/// CloudWatch counts.
pub(super) const DURATION: Argument<Duration> = Argument {
    parse: |text| duration(text).ok_or_else(|| "expected a duration such as 30s, 10m, 2h or 1d".to_owned()),
    is_quoted: true,
};

fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let count: u64 = text[..text.len() - 1].parse().ok()?;
    let duration = Duration::from_secs(count.checked_mul(factor)?);
    let longest = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (Duration::from_secs(1)..=longest)
        .contains(&duration)
        .then_some(duration)
}

/// A status of HTTP, or a hundred of them: from the first to the last.
pub(super) const STATUS: Argument<(u16, u16)> = Argument {
    parse: |text| status(text).ok_or_else(|| "expected a status such as 403, or 4xx".to_owned()),
    is_quoted: true,
};

fn status(text: &str) -> Option<(u16, u16)> {
    if text.len() != 3 || text.starts_with('+') {
        return None;
    }
    let (first, last) = match text.strip_suffix("xx") {
        Some(hundred) => {
            let hundred: u16 = hundred.parse().ok()?;
            (hundred * 100, hundred * 100 + 99)
        }
        None => (text.parse().ok()?, text.parse().ok()?),
    };
    (100..=599).contains(&first).then_some((first, last))
}

/// A header, `Name: value`. The headers that belong to the call itself are refused.
pub(super) const HEADER: Argument<(HeaderName, HeaderValue)> = Argument {
    parse: header,
    is_quoted: false,
};

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let Some((name, value)) = text.split_once(':') else {
        return Err("it has no colon; expected `Name: value`".to_owned());
    };
    let shown = printable(name);
    let Ok(name) = HeaderName::from_bytes(name.trim().as_bytes()) else {
        return Err(format!("`{shown}` cannot be the name of a header"));
    };
    if name == AUTHORIZATION {
        return Err("the header `Authorization` carries the access token and cannot be given".to_owned());
    }
    if [CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) {
        return Err(format!(
            "the header `{shown}` follows from the body and cannot be given"
        ));
    }
    let Ok(mut value) = HeaderValue::from_str(value.trim()) else {
        return Err(format!(
            "the value of the header `{shown}` has a control character"
        ));
    };
    // What shows this header for debugging does not show its value.
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    /// What clap says about the arguments, without the usage.
    fn refused(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from([&["provision"], arguments].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        text.split("\n\nUsage").next().unwrap().to_owned()
    }

    #[test]
    fn methods_are_those_of_api_gateway() {
        for (text, method) in [
            ("get", Method::GET),
            ("PATCH", Method::PATCH),
            ("Options", Method::OPTIONS),
        ] {
            assert_eq!((METHOD.parse)(text).unwrap(), method);
        }
        for text in ["", "ANY", "CONNECT", "G ET", "GET\u{1b}"] {
            assert_eq!(
                refused(&["call", text, "/user"]),
                format!(
                    "error: invalid value '{}' for '<METHOD>': expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
                    printable(text)
                )
            );
        }
    }

    #[test]
    fn a_role_is_named_by_its_arn() {
        let role = "arn:aws:iam::444455556666:role/secrets/orders";
        assert_eq!((ROLE.parse)(role).unwrap(), role);
        for text in ["", "secrets", "arn:aws:iam::444455556666:user/u"] {
            assert_eq!(
                refused(&["secret", "show", "--to=ssm:/a", &format!("--to-role={text}")]),
                format!(
                    "error: invalid value '{text}' for '--to-role <ARN>': expected the ARN of an IAM role such as \
                     \"arn:aws:iam::123456789012:role/name\""
                )
            );
        }
        let alone = refused(&["secret", "show", "--to-role", role]);
        assert!(alone.contains("--to <DEST>"), "{alone}");
    }

    #[test]
    fn a_path_begins_with_a_slash() {
        assert_eq!((PATH.parse)("/user?a=b").unwrap(), "/user?a=b");
        assert_eq!(
            refused(&["call", "GET", "user"]),
            "error: invalid value 'user' for '<PATH>': expected a path that begins with `/`, such as /user"
        );
    }

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86400)] {
            assert_eq!((DURATION.parse)(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in [
            "",
            "10",
            "m",
            "-5m",
            "0s",
            "1w",
            "10é",
            "9999999999999999d",
            "99999999999999d",
            "40000d",
        ] {
            assert_eq!(
                refused(&["logs", &format!("--since={text}")]),
                format!(
                    "error: invalid value '{text}' for '--since <TIME>': expected a duration such as 30s, 10m, 2h or 1d"
                )
            );
        }
    }

    #[test]
    fn a_status_is_one_or_a_hundred() {
        for (text, range) in [
            ("403", (403, 403)),
            ("4xx", (400, 499)),
            ("100", (100, 100)),
            ("5xx", (500, 599)),
        ] {
            assert_eq!((STATUS.parse)(text).unwrap(), range, "{text}");
        }
        for text in [
            "", "x", "xx", "4x", "40", "099", "600", "6xx", "0xx", "4XX", "+40", "4030", "99999xx", "é",
        ] {
            assert_eq!(
                refused(&["logs", "--access", &format!("--status={text}")]),
                format!(
                    "error: invalid value '{text}' for '--status <STATUS>': expected a status such as 403, or 4xx"
                )
            );
        }
    }

    #[test]
    fn a_header_is_a_name_and_a_value() {
        for (text, name, value) in [
            ("K: V", "k", "V"),
            ("X-Time:12:30", "x-time", "12:30"),
            (" Accept :\ttext/html ", "accept", "text/html"),
            ("X-Empty:", "x-empty", ""),
        ] {
            let (got_name, got_value) = header(text).unwrap();
            assert_eq!(
                (got_name.as_str(), got_value.to_str().unwrap()),
                (name, value),
                "{text:?}"
            );
        }
        let shown = format!("{:?}", header("X-Key: hidden").unwrap());
        assert!(!shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn a_bad_header_is_named_and_its_value_is_not() {
        for (text, message) in [
            ("hidden", "it has no colon; expected `Name: value`"),
            (": hidden", "`` cannot be the name of a header"),
            ("X Key: hidden", "`X Key` cannot be the name of a header"),
            ("X\u{1b}: hidden", "`X\\u{1b}` cannot be the name of a header"),
            (
                "X-Key: hid\nden",
                "the value of the header `X-Key` has a control character",
            ),
            (
                "authorization: hidden",
                "the header `Authorization` carries the access token and cannot be given",
            ),
            (
                "Content-Length: 3",
                "the header `Content-Length` follows from the body and cannot be given",
            ),
            (
                "Transfer-Encoding: x",
                "the header `Transfer-Encoding` follows from the body and cannot be given",
            ),
        ] {
            let said = refused(&["call", "GET", "/", "-H", text]);
            assert_eq!(
                said,
                format!("error: invalid value for '--header <NAME: VALUE>': {message}")
            );
        }
    }
}
