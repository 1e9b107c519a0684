//! The keys of resource servers and clients.
//!
//! Must not read a file.

use super::super::rules;
use super::{DURATION, Key, REQUIRED, Section, Takes, key, matching, text};

pub(in super::super) static RESOURCE_SERVER: Section = Section {
    heading: "[resource_servers.<identifier>.scopes]",
    about: "at most 300; the identifier is printable ASCII without spaces, `\"` and `\\`, such as a URL",
    keys: &[Key {
        label: "<scope> = \"description\"",
        ..key(
            "scopes",
            "a scope; its full name is `<identifier>/<scope>`",
            REQUIRED,
            "1 to 100; printable ASCII without spaces, `\"`, `\\` and `/`; the full name has at most 256 characters, the description 1 to 256",
            Takes::Map(
                text(&rules::SCOPE, r"^[!#-.0-\[\]-~]+$"),
                1,
                100,
                text(&rules::SCOPE_DESCRIPTION, r"^[\s\S]{1,256}$"),
            ),
        )
    }],
    one_of: &[],
};

pub(in super::super) static CLIENT: Section = Section {
    heading: "[clients.<name>]",
    about: "a program that gets tokens; at most 10,000, names of 1 to 128 letters, digits, spaces, `_+=,.@-`",
    keys: &[
        key(
            "scopes",
            "the full scopes that its tokens can have",
            REQUIRED,
            "1 to 50",
            Takes::Texts(matching("/"), 1, super::ANY),
        ),
        key(
            "access_token",
            "how long a token is valid",
            "`\"60m\"`",
            "`\"5m\"` to `\"24h\"`",
            Takes::Text(matching(DURATION)),
        ),
        key(
            "secret_from",
            "where `token`, `call`, `verify` and the verification at the end of `up` read its secret; it changes no AWS resource ([where a secret is read from](operating.md#where-a-secret-is-read-from))",
            "Cognito",
            "`\"secretsmanager:NAME\"` with the name or ARN of a Secrets Manager secret, or `\"ssm:/PATH\"` with the name of a Systems Manager parameter",
            Takes::Text(text(
                &rules::SECRET_FROM,
                "^(secretsmanager:[A-Za-z0-9/_+=.@,:!-]{1,2048}|ssm:(/[A-Za-z0-9_.-]+){1,15})$",
            )),
        ),
    ],
    one_of: &[],
};
