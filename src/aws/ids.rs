//! The shapes of AWS's ids, names and ARNs, from the patterns of its API models. A recorded one of another shape does
//! not come from AWS, and could lead a request elsewhere.
//!
//! Must not compare one value with another, nor know the state.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::resource::Shape;

/// A type for each kind of id, so that one is not passed in place of another. In JSON each is the plain text.
macro_rules! ids {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {$(
        $(#[$doc])+
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id as AWS writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }

        // What the SDK's builders take.
        impl From<&$name> for String {
            fn from(id: &$name) -> Self {
                id.0.clone()
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

ids! {
    /// Of a user pool, `<region>_<random>`.
    PoolId,
    /// Of an app client: the `client_id` of OAuth.
    ClientId,
    /// Of a REST API: the first label of its host name.
    ApiId,
    /// Of a path of a REST API, which API Gateway calls a resource.
    PathId,
    /// Of an authorizer of a REST API.
    AuthorizerId,
    /// Of a deployment of a REST API.
    DeploymentId,
}

/// Of every partition: `eu-west-1`, `us-gov-west-1`.
pub const REGION: Shape = Shape {
    what: "a region such as eu-west-1",
    holds: |text| {
        let parts: Vec<&str> = text.split('-').collect();
        let (number, words) = parts.split_last().unwrap_or((&"", &[]));
        all(number, 2, |c| c.is_ascii_digit())
            && words.len() >= 2
            && words.iter().all(|word| all(word, 20, |c| c.is_ascii_lowercase()))
    },
};

/// Of a user pool. Such an id begins with the region.
pub const POOL: Shape = Shape {
    what: "the id of a user pool",
    holds: |text| {
        text.split_once('_').is_some_and(|(region, id)| {
            all(region, 55, |c| c.is_ascii_alphanumeric() || c == '-')
                && all(id, 55, |c| c.is_ascii_alphanumeric())
        })
    },
};

/// Of an app client.
pub const CLIENT: Shape = Shape {
    what: "the id of an app client",
    holds: |text| all(text, 128, |c| is_word(c) || c == '+'),
};

/// Of a REST API and of all that is in one.
pub const API: Shape = Shape {
    what: "an id of API Gateway",
    holds: |text| all(text, 64, |c| c.is_ascii_lowercase() || c.is_ascii_digit()),
};

/// Of a role: what IAM calls a unique id.
pub const UNIQUE: Shape = Shape {
    what: "a unique id of IAM",
    holds: |text| all(text, 128, is_word),
};

/// The first label of the token endpoint's host name.
pub const PREFIX: Shape = Shape {
    what: "the prefix of a user pool's domain",
    holds: |text| {
        all(text, 63, |c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
        }) && !text.starts_with('-')
            && !text.ends_with('-')
    },
};

/// Of a role and of its policies.
pub const ROLE: Shape = Shape {
    what: "a name of IAM",
    holds: |text| all(text, 128, |c| is_word(c) || "+=,.@-".contains(c)),
};

/// Of a role: `/`, or `/…/`.
pub const ROLE_PATH: Shape = Shape {
    what: "a path of IAM",
    holds: |text| {
        all(text, 512, |c| is_word(c) || "+=,.@-/".contains(c))
            && text.starts_with('/')
            && text.ends_with('/')
    },
};

/// Of a function, of a statement of its policy, and of a stage. Not an ARN, which Lambda takes as well.
pub const NAME: Shape = Shape {
    what: "a name of letters, digits, `-` and `_`",
    holds: |text| all(text, 128, |c| is_word(c) || c == '-'),
};

/// Of a log group.
pub const LOG_GROUP: Shape = Shape {
    what: "the name of a log group",
    holds: |text| all(text, 512, |c| is_word(c) || "-/.#".contains(c)),
};

/// Of an account.
pub const ACCOUNT: Shape = Shape {
    what: "an account of 12 digits",
    holds: |text| text.len() == 12 && all(text, 12, |c| c.is_ascii_digit()),
};

/// An ARN, in whatever account.
pub const ARN: Shape = Shape {
    what: "an ARN",
    holds: |text| text.starts_with("arn:") && all(text, 2048, |c| c.is_ascii_graphic()),
};

/// An ARN, or an empty text where there may be none.
pub const ARN_OR_NONE: Shape = Shape {
    what: "an ARN or an empty text",
    holds: |text| text.is_empty() || (ARN.holds)(text),
};

/// Of an integration: an ARN that names a function, or the URL of a back end.
pub const INTEGRATION_URI: Shape = Shape {
    what: "an ARN or a URL",
    holds: |text| {
        ["arn:", "https://", "http://"]
            .iter()
            .any(|start| text.starts_with(start))
            && all(text, 2048, |c| c.is_ascii_graphic())
    },
};

/// Of a domain, or of the host that one leads to.
pub const DOMAIN: Shape = Shape {
    what: "a domain name",
    holds: |text| {
        text.contains('.')
            && all(text, 253, |c| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c)
            })
    },
};

/// The first part of the path of a mapping, or an empty text for the root.
pub const BASE_PATH: Shape = Shape {
    what: "one part of a path or an empty text",
    holds: |text| text.is_empty() || all(text, 128, |c| is_word(c) || "-.".contains(c)),
};

/// Of a resource server.
pub const IDENTIFIER: Shape = Shape {
    what: "the identifier of a resource server",
    holds: |text| all(text, 256, |c| c.is_ascii_graphic()),
};

/// A part of a path.
pub const PATH_PART: Shape = Shape {
    what: "a part of a path",
    holds: |text| all(text, 1024, |c| c.is_ascii_graphic() && c != '/'),
};

/// Of HTTP, or `ANY`.
pub const VERB: Shape = Shape {
    what: "an HTTP method",
    holds: |text| all(text, 16, |c| c.is_ascii_uppercase()),
};

fn all(text: &str, longest: usize, allowed: fn(char) -> bool) -> bool {
    !text.is_empty() && text.len() <= longest && text.chars().all(allowed)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_aws_and_the_emulator_give_has_its_shape_and_what_leads_elsewhere_has_not() {
        for (shape, good) in [
            (POOL, &["eu-west-1_a1B2c3D4e", "us-gov-west-1_PWD9LVKm9"][..]),
            (
                CLIENT,
                &["3n4b5urk1ft4fl3mg5e62d9ado", "CEGjODU33iM5vbexwSZ2jMQQMl"],
            ),
            (API, &["a1b2c3d4e5", "6fb8b4c8", "0"]),
            (UNIQUE, &["AROA5758116EC7E548638"]),
            (PREFIX, &["user-api-1a2b3c4d", "a"]),
            (ROLE, &["user-api-1a2b3c4d-user", "logs"]),
            (NAME, &["user-api-1a2b3c4d-user_2", "prod"]),
            (LOG_GROUP, &["/aws/lambda/user-api-1a2b3c4d-user"]),
            (ACCOUNT, &["000000000000"]),
            (ARN, &["arn:aws:iam::000000000000:role/a"]),
            (
                DOMAIN,
                &["api.example.com", "d-a1b2.execute-api.eu-west-1.amazonaws.com"],
            ),
            (IDENTIFIER, &["https://api.example.com/orders"]),
            (PATH_PART, &["user", "{id}", "{proxy+}", "a:b"]),
            (VERB, &["ANY"]),
        ] {
            for text in good {
                assert!((shape.holds)(text), "{text} is {}", shape.what);
            }
            let elsewhere = [
                "",
                "127.0.0.1:80/evil",
                "a?b c",
                "a\nb",
                "é",
                "a@b/../c d",
                "ARN:a",
                "\u{1b}[2J",
            ];
            for text in elsewhere {
                // An identifier is a URL itself; it goes into no host name.
                if ["127.0.0.1:80/evil", "ARN:a"].contains(&text)
                    && [IDENTIFIER.what, PATH_PART.what].contains(&shape.what)
                {
                    continue;
                }
                assert!(!(shape.holds)(text), "{text:?} is not {}", shape.what);
            }
        }
    }
}
