//! The rules for names and values, one value at a time: the patterns and lengths that AWS allows.
//!
//! Must not know the file, and must not relate one value to another.

use crate::secret_place::SecretPlace;

/// A rule for a text.
pub(crate) struct Rule {
    /// What a message says after "expected".
    pub allowed: &'static str,
    /// Whether a text keeps to the rule.
    pub holds: fn(&str) -> bool,
}

/// The stack's name, which also names the state file.
pub(super) const STACK: Rule = Rule {
    allowed: "2 to 30 lower-case letters, digits and `-`, beginning with a letter",
    holds: |text| {
        (2..=30).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && every(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    },
};

/// Of an environment; it ends the stack's name.
pub(super) const ENVIRONMENT: Rule = Rule {
    allowed: "1 to 28 lower-case letters, digits and `-`",
    holds: |text| {
        at_most(text, 28) && every(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    },
};

/// As the file names environments: one, or all that match.
pub(super) const ENVIRONMENT_PATTERN: Rule = Rule {
    allowed: "1 to 28 lower-case letters, digits and `-`, and `*` for any text",
    holds: |text| (ENVIRONMENT.holds)(&text.replace('*', "-")),
};

/// Of an AWS account.
pub(super) const ACCOUNT: Rule = Rule {
    allowed: "an account's 12 digits",
    holds: |text| text.len() == 12 && every(text, |c| c.is_ascii_digit()),
};

/// Of a KMS key. S3 and Lambda also take an alias, but AWS's policies do not.
pub(super) const KMS_KEY: Rule = Rule {
    allowed: "the ARN of a KMS key, such as \"arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab\"",
    holds: |text| {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [arn, partition, service, region, account, key] = parts[..] else {
            return false;
        };
        let id = key.strip_prefix("key/").unwrap_or_default();
        (arn, service) == ("arn", "kms")
            && partition.starts_with("aws")
            && (REGION.holds)(region)
            && (ACCOUNT.holds)(account)
            && every(id, |c| c.is_ascii_alphanumeric() || c == '-')
    },
};

/// Of a web ACL that can be on a stage.
pub(super) const WEB_ACL: Rule = Rule {
    allowed: "the ARN of a regional web ACL such as \
              \"arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/shop/1234abcd-12ab-34cd-56ef-1234567890ab\"",
    holds: |text| {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "wafv2", region, account, acl] = parts[..] else {
            return false;
        };
        let names = acl
            .strip_prefix("regional/webacl/")
            .and_then(|names| names.split_once('/'));
        let is_name =
            |name: &str| at_most(name, 128) && every(name, |c| c.is_ascii_alphanumeric() || "-_".contains(c));
        is_in_aws(partition, region, account) && names.is_some_and(|(name, id)| is_name(name) && is_name(id))
    },
};

/// The ARN of a policy of IAM, an account's or one of AWS's own.
pub(super) const POLICY_ARN: Rule = Rule {
    allowed: "the ARN of an IAM policy such as \"arn:aws:iam::123456789012:policy/name\"",
    holds: |text| {
        is_of_iam(text, "policy/", |account| {
            account == "aws" || (ACCOUNT.holds)(account)
        })
    },
};

/// The ARN of a role of IAM.
pub(crate) const ROLE_ARN: Rule = Rule {
    allowed: "the ARN of an IAM role such as \"arn:aws:iam::123456789012:role/name\"",
    holds: |text| is_of_iam(text, "role/", ACCOUNT.holds),
};

/// What Lambda takes of the paths that IAM allows: the path is in the role's ARN.
pub(super) const ROLE_PATH: Rule = Rule {
    allowed: "at most 512 letters, digits and `+=,.@_-/`, with a `/` at both ends",
    holds: |text| {
        at_most(text, 512) && every(text, is_in_iam_names) && text.starts_with('/') && text.ends_with('/')
    },
};

/// The characters of names and paths of IAM that Lambda takes in the ARN of a role.
fn is_in_iam_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c)
}

/// Whether this is the ARN of something of IAM, such as `policy/`, in an account that is allowed.
fn is_of_iam(text: &str, kind: &str, account_is_allowed: fn(&str) -> bool) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, what] = parts[..] else {
        return false;
    };
    at_most(text, 2048)
        && partition.starts_with("aws")
        && every(partition, |c| c.is_ascii_lowercase() || c == '-')
        && account_is_allowed(account)
        && (what.strip_prefix(kind)).is_some_and(|name| every(name, is_in_iam_names) && !name.ends_with('/'))
}

/// A region of any partition: `eu-west-1`, `us-gov-west-1`.
pub(crate) const REGION: Rule = Rule {
    allowed: "a region such as \"eu-west-1\"",
    holds: |text| {
        let mut parts = text.rsplit('-');
        let number = parts.next().unwrap_or_default();
        let words: Vec<&str> = parts.collect();
        every(number, |c| c.is_ascii_digit())
            && words.len() >= 2
            && words.iter().all(|word| every(word, |c| c.is_ascii_lowercase()))
    },
};

/// What IAM, Lambda, Cognito, CloudWatch Logs and API Gateway all allow; API Gateway allows the least.
pub(super) const TAG_KEY: Rule = Rule {
    allowed: "1 to 128 letters of a to z, digits and `+-=._:/`",
    holds: |text| at_most(text, 128) && every(text, |c| c.is_ascii_alphanumeric() || "+-=._:/".contains(c)),
};

/// IAM's pattern.
pub(super) const TAG_VALUE: Rule = Rule {
    allowed: "at most 256 letters, digits, spaces and `_.:/=+-@`",
    holds: |text| {
        at_most(text, 256)
            && text
                .chars()
                .all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c))
    },
};

/// Cognito's pattern.
pub(super) const DOMAIN_PREFIX: Rule = Rule {
    allowed: "1 to 63 lower-case letters, digits and `-`, without a `-` at either end",
    holds: |text| {
        at_most(text, 63)
            && every(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !text.starts_with('-')
            && !text.ends_with('-')
    },
};

/// The words that Cognito refuses anywhere in a domain prefix.
pub(crate) const DOMAIN_WORDS: [&str; 3] = ["aws", "amazon", "cognito"];

/// Of a user pool.
pub(super) const POOL_ID: Rule = Rule {
    allowed: "the id of a user pool such as \"eu-west-1_a1B2c3D4e\"",
    holds: |text| {
        let is_id = |(region, id): (&str, &str)| {
            (REGION.holds)(region) && at_most(id, 40) && every(id, |c| c.is_ascii_alphanumeric())
        };
        text.split_once('_').is_some_and(is_id)
    },
};

/// Cognito's tiers.
pub(super) const TIER: Rule = Rule {
    allowed: "\"LITE\", \"ESSENTIALS\" or \"PLUS\"",
    holds: |text| ["LITE", "ESSENTIALS", "PLUS"].contains(&text),
};

/// Cognito's pattern.
pub(crate) const IDENTIFIER: Rule = Rule {
    allowed: "1 to 256 printable ASCII characters without spaces, `\"` and `\\`",
    holds: |text| at_most(text, 256) && every(text, printable),
};

/// Cognito's pattern; the length is limited together with the identifier's.
pub(crate) const SCOPE: Rule = Rule {
    allowed: "printable ASCII characters without spaces, `\"`, `\\` and `/`",
    holds: |text| every(text, |c| printable(c) && c != '/'),
};

/// Cognito's pattern.
pub(super) const CLIENT: Rule = Rule {
    allowed: "1 to 128 letters, digits, spaces and `_+=,.@-`",
    holds: |text| {
        at_most(text, 128)
            && every(text, |c| {
                c.is_alphanumeric() || c.is_ascii_whitespace() || "_+=,.@-".contains(c)
            })
    },
};

/// Where a client's secret is kept.
pub(super) const SECRET_FROM: Rule = Rule {
    allowed: "\"secretsmanager:NAME\" with the name or the ARN of a secret of Secrets Manager, or \"ssm:/PATH\" with the name \
              of a parameter of Systems Manager",
    holds: |text| text.parse::<SecretPlace>().is_ok(),
};

/// The last part of the names of the function and its role.
pub(super) const FUNCTION: Rule = Rule {
    allowed: "letters, digits, `-` and `_`",
    holds: |text| every(text, |c| c.is_ascii_alphanumeric() || c == '-' || c == '_'),
};

/// The last part of the id of the statement in a function's policy: Lambda allows 100 characters, and `<stack>_<owner>_`
/// takes 40.
pub(super) const BACKEND: Rule = Rule {
    allowed: "1 to 60 letters, digits, `-` and `_`",
    holds: |text| at_most(text, 60) && (FUNCTION.holds)(text),
};

/// What API Gateway allows in the name of a header that it sets.
pub(super) const CLIENT_ID_HEADER: Rule = Rule {
    allowed: "the name of a header, 1 to 64 letters, digits and `-`",
    holds: |text| at_most(text, 64) && every(text, |c| c.is_ascii_alphanumeric() || c == '-'),
};

/// The headers that API Gateway sets or changes itself, or fails on if they are mapped, in lower case.
pub(super) const GATEWAY_HEADERS: [&str; 32] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "age",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-md5",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "warn",
    "warning",
    "www-authenticate",
];

/// Of V1 and V2.
pub(super) const VPC_LINK: Rule = Rule {
    allowed: "the id of a VPC link, such as \"a1b2c3\"",
    holds: |text| at_most(text, 64) && every(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit()),
};

/// What a VPC link V2 leads to.
pub(super) const LOAD_BALANCER: Rule = Rule {
    allowed: "the ARN of an Application or Network Load Balancer or of its listener, such as \
              \"arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/NAME/0123456789abcdef\"",
    holds: |text| {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "elasticloadbalancing", region, account, name] = parts[..] else {
            return false;
        };
        partition.starts_with("aws")
            && (REGION.holds)(region)
            && (ACCOUNT.holds)(account)
            && [
                "loadbalancer/app/",
                "loadbalancer/net/",
                "listener/app/",
                "listener/net/",
            ]
            .into_iter()
            .any(|start| name.strip_prefix(start).is_some_and(|rest| !rest.is_empty()))
            && at_most(text, 512)
            && every(name, |c| c.is_ascii_alphanumeric() || "/-".contains(c))
    },
};

/// The family and the version; AWS adds versions.
pub(super) const RUNTIME: Rule = Rule {
    allowed: "a Lambda runtime such as \"nodejs22.x\", \"python3.13\", \"java21\", \"dotnet8\", \"ruby3.3\" or \
              \"provided.al2023\"",
    holds: |text| {
        let version = |family: &str| {
            text.strip_prefix(family)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        every(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.')
            && (["nodejs", "python", "java", "dotnet", "ruby"]
                .into_iter()
                .any(version)
                || text.starts_with("provided.al"))
    },
};

/// Lambda's pattern.
pub(super) const HANDLER: Rule = Rule {
    allowed: "1 to 128 characters without spaces",
    holds: |text| at_most(text, 128) && every(text, |c| !c.is_whitespace()),
};

/// The architectures of Lambda.
pub(super) const ARCHITECTURE: Rule = Rule {
    allowed: "\"x86_64\" or \"arm64\"",
    holds: |text| ["x86_64", "arm64"].contains(&text),
};

/// Lambda's pattern.
pub(super) const VARIABLE: Rule = Rule {
    allowed: "2 or more letters, digits and `_`, beginning with a letter",
    holds: |text| {
        text.len() >= 2
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && every(text, |c| c.is_ascii_alphanumeric() || c == '_')
    },
};

/// A variable of the environment in which the program runs.
pub(super) const LOCAL_VARIABLE: Rule = Rule {
    allowed: "the name of an environment variable: letters, digits and `_`",
    holds: |text| every(text, |c| c.is_ascii_alphanumeric() || c == '_'),
};

/// Lambda's length.
pub(super) const DESCRIPTION: Rule = Rule {
    allowed: "at most 256 characters",
    holds: |text| at_most(text, 256),
};

/// The formats of Lambda's log.
pub(super) const LOG_FORMAT: Rule = Rule {
    allowed: "\"text\" or \"json\"",
    holds: |text| ["text", "json"].contains(&text),
};

/// A version of a layer, and not the layer.
pub(super) const LAYER: Rule = Rule {
    allowed: "the ARN of a layer version such as \"arn:aws:lambda:eu-west-1:123456789012:layer:otel:7\"",
    holds: |text| {
        let parts: Vec<&str> = text.split(':').collect();
        let [arn, partition, service, region, account, kind, name, version] = parts[..] else {
            return false;
        };
        (arn, service, kind) == ("arn", "lambda", "layer")
            && is_in_aws(partition, region, account)
            && (FUNCTION.holds)(name)
            && every(version, |c| c.is_ascii_digit())
    },
};

pub(super) fn is_in_aws(partition: &str, region: &str, account: &str) -> bool {
    partition.starts_with("aws") && (REGION.holds)(region) && (ACCOUNT.holds)(account)
}

/// The region of an ARN that has one.
pub(super) fn arn_region(arn: &str) -> &str {
    arn.split(':').nth(3).unwrap_or_default()
}

/// The layer of a [`LAYER`].
pub(super) fn layer_of_version(arn: &str) -> &str {
    arn.rsplit_once(':').map_or(arn, |(layer, _)| layer)
}

/// EC2's pattern.
pub(super) const SUBNET: Rule = Rule {
    allowed: "the id of a subnet such as \"subnet-0a1b2c3d\"",
    holds: |text| is_ec2_id(text, "subnet-"),
};

/// EC2's pattern.
pub(super) const SECURITY_GROUP: Rule = Rule {
    allowed: "the id of a security group such as \"sg-0a1b2c3d\"",
    holds: |text| is_ec2_id(text, "sg-"),
};

fn is_ec2_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|id| at_most(id, 17) && every(id, |c| c.is_ascii_digit() || ('a'..='f').contains(&c)))
}

/// The variables that Lambda sets itself, from its developer guide; it refuses them in a function's configuration.
pub(super) const RESERVED_VARIABLES: [&str; 22] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_LAMBDA_METADATA_API",
    "AWS_LAMBDA_METADATA_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    // Only in older lists.
    "AWS_SECRET_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// API Gateway's pattern.
pub(super) const STAGE: Rule = Rule {
    allowed: "1 to 128 letters, digits, `-` and `_`",
    holds: |text| at_most(text, 128) && (FUNCTION.holds)(text),
};

/// API Gateway refuses a name or description without text.
pub(super) const TEXT: Rule = Rule {
    allowed: "at least one character",
    holds: |text| !text.is_empty(),
};

/// Cognito's length.
pub(super) const SCOPE_DESCRIPTION: Rule = Rule {
    allowed: "1 to 256 characters",
    holds: |text| !text.is_empty() && at_most(text, 256),
};

/// The days that CloudWatch Logs can keep events for.
pub(super) const RETENTION_DAYS: [i32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

/// `90s`, `60m`, `24h` or `1d`.
pub(super) fn seconds(text: &str) -> Option<i32> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    // A sign would parse as well.
    every(number, |c| c.is_ascii_digit())
        .then(|| number.parse::<i32>().ok()?.checked_mul(unit))
        .flatten()
}

/// Whether there is a character and each is allowed.
pub(super) fn every(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(allowed)
}

fn at_most(text: &str, characters: usize) -> bool {
    text.chars().nth(characters).is_none()
}

fn printable(c: char) -> bool {
    c.is_ascii_graphic() && c != '"' && c != '\\'
}
