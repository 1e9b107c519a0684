//! The keys of routes and environments.
//!
//! Must not read a file.

use super::super::rules;
use super::{ANY, Key, REQUIRED, Section, Takes, key, matching, text};

pub(in super::super) static ROUTE: Section = Section {
    heading: "[routes]",
    about: "`\"VERB /path\" = { … }` is one method of the API; at least one. The verb is GET, PUT, POST, DELETE, PATCH, OPTIONS, HEAD or ANY; each part of the path is letters, digits, `_-.:` (not `.` or `..` alone; AWS may refuse `:`), or a variable `{name}`; the last part may be `{name+}`, which takes all the rest",
    keys: &[
        Key {
            label: "….function",
            ..key(
                "function",
                "the function that answers",
                "this or `backend` is required",
                "a function in this file",
                Takes::Text(matching("")),
            )
        },
        Key {
            label: "….backend",
            ..key(
                "backend",
                "the back end that answers",
                "this or `function` is required",
                "a back end in this file",
                Takes::Text(matching("")),
            )
        },
        Key {
            label: "….scopes",
            ..key(
                "scopes",
                "full scopes; a token needs one of them",
                REQUIRED,
                "1 or more, because without a scope API Gateway accepts ID tokens only",
                Takes::Texts(matching("/"), 1, ANY),
            )
        },
    ],
    one_of: &["function", "backend"],
};

/// What an environment has besides the tables of the file.
pub(in super::super) static ENVIRONMENT: Section = Section {
    heading: "[env.<name>]",
    about: "the tables above with the keys that are different in one environment, such as `[env.production.stack]` ([environments](#environments)); its name has 1 to 28 of `a-z`, `0-9`, `-`, and `*` for any text",
    keys: &[key(
        "account",
        "the account that the environment belongs to; with credentials of another account, every command refuses before any other call",
        "any account",
        "12 digits",
        Takes::Text(text(&rules::ACCOUNT, "^[0-9]{12}$")),
    )],
    one_of: &[],
};
