//! The keys of functions.
//!
//! Must not read a file.

use super::super::rules;
use super::{DURATION, Key, REQUIRED, Section, Takes, Text, key, matching, text};

pub(in super::super) static FUNCTION: Section = Section {
    heading: "[functions.<name>]",
    about: "a Lambda function; its name has letters, digits, `-`, `_`, and `<stack>_<owner>_<name>` has at most 64 characters",
    keys: &KEYS,
    one_of: &[],
};

static KEYS: [Key; 19] = [
    key(
        "source",
        "the code: a folder, which `provision` zips ([without some files](#what-is-not-packed)), or a zip, which it uploads unchanged; relative to the configuration file",
        REQUIRED,
        "a folder, a `.zip`; 50 MB zipped, 250 MB unzipped",
        Takes::Text(matching(r"^[\s\S]+$")),
    ),
    key(
        "runtime",
        "the Lambda runtime; for a Rust function, use a zip that contains `bootstrap`, and `\"provided.al2023\"`",
        REQUIRED,
        "`nodejs…`, `python…`, `java…`, `dotnet…`, `ruby…`, `provided.al…`",
        Takes::Text(text(
            &rules::RUNTIME,
            r"^((nodejs|python|java|dotnet|ruby)[0-9][a-z0-9.]*|provided\.al[a-z0-9.]*)$",
        )),
    ),
    key(
        "handler",
        "the handler that the runtime calls",
        "required; `\"bootstrap\"` for `provided.…`",
        "at most 128 characters, no spaces",
        Takes::Text(text(&rules::HANDLER, r"^\S{1,128}$")),
    ),
    key(
        "architecture",
        "the processor architecture of the code",
        "`\"x86_64\"`",
        "`\"x86_64\"`, `\"arm64\"`",
        Takes::Text(text(&rules::ARCHITECTURE, "^(x86_64|arm64)$")),
    ),
    key(
        "memory_mb",
        "memory in megabytes",
        "`128`",
        "128 to 10240",
        Takes::Integer(128, 10_240),
    ),
    key(
        "timeout",
        "the time limit of one invocation; API Gateway waits at most 29 s",
        "`\"10s\"`",
        "`\"1s\"` to `\"15m\"`",
        Takes::Text(matching(DURATION)),
    ),
    key(
        "log_retention_days",
        "how many days log events are kept",
        "`14`",
        "1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653",
        Takes::OneOf(&rules::RETENTION_DAYS),
    ),
    key(
        "environment",
        "environment variables; no message, plan or state file contains a value. `DB_URL = { from_env = \"NAME\" }` takes the value from the environment of `up` and `plan` ([values that are not in the file](#values-that-are-not-in-the-file))",
        "none",
        "at most 4096 bytes as JSON; names of letters, digits, `_`, the first a letter; not a name that Lambda sets itself",
        Takes::Environment,
    ),
    key(
        "policy",
        "what the function may do besides writing its log: an IAM policy document in a JSON file, relative to the configuration file, or statements in this file ([rights of a function](#rights-of-a-function))",
        "none",
        "at most 9500 characters without white space",
        Takes::Policy,
    ),
    key(
        "managed_policies",
        "managed policies that its role gets",
        "none",
        "at most 10 ARNs of IAM policies of the same account or of AWS",
        Takes::Texts(
            text(
                &rules::POLICY_ARN,
                "^arn:aws[a-z-]*:iam::(aws|[0-9]{12}):policy/[A-Za-z0-9+=,.@_/-]*[A-Za-z0-9+=,.@_-]$",
            ),
            0,
            10,
        ),
    ),
    key(
        "role",
        "a role that somebody else made, which the function runs as instead of a role of its own; `provision` reads it and does not change it",
        "a role of its own",
        "the ARN of an IAM role of the same account that lets `lambda.amazonaws.com` assume it; not with `policy` or `managed_policies`",
        Takes::Text(text(
            &rules::ROLE_ARN,
            "^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]*[A-Za-z0-9+=,.@_-]$",
        )),
    ),
    key(
        "description",
        "the description in the console",
        "empty",
        "at most 256 characters",
        Takes::Text(text(&rules::DESCRIPTION, r"^[\s\S]{0,256}$")),
    ),
    key(
        "ephemeral_storage_mb",
        "the size of `/tmp` in megabytes",
        "`512`",
        "512 to 10240",
        Takes::Integer(512, 10_240),
    ),
    key(
        "tracing",
        "whether X-Ray traces every invocation; the role gets the two rights that this takes",
        "`false`: only what the caller traces",
        "`true`, `false`",
        Takes::Flag,
    ),
    key(
        "log_format",
        "the format of Lambda's log events",
        "`\"text\"`",
        "`\"text\"`, `\"json\"`",
        Takes::Text(text(&rules::LOG_FORMAT, "^(text|json)$")),
    ),
    key(
        "layers",
        "the ARNs of layer versions; of the same file in two layers, the later layer's counts",
        "none",
        "at most 5, in the stack's region, one version of each layer",
        Takes::DifferentTexts(
            text(
                &rules::LAYER,
                "^arn:aws[^:]*:lambda:[a-z]+(-[a-z]+)+-[0-9]+:[0-9]{12}:layer:[A-Za-z0-9_-]+:[0-9]+$",
            ),
            0,
            5,
        ),
    ),
    key(
        "kms_key",
        "the ARN of the KMS key that encrypts the environment",
        "Lambda's own key",
        "the ARN of a key, not of an alias, in the stack's region",
        Takes::Text(text(
            &rules::KMS_KEY,
            "^arn:aws[^:]*:kms:[a-z]+(-[a-z]+)+-[0-9]+:[0-9]{12}:key/[A-Za-z0-9-]+$",
        )),
    ),
    key(
        "reserved_concurrency",
        "how many invocations at once are reserved for this function; it never gets more, and `0` turns it off",
        "none is reserved",
        "0 or more; AWS keeps at least 100 of the account's (10 in a new account) for functions without it",
        Takes::Integer(0, i32::MAX),
    ),
    key(
        "vpc",
        "`{ subnets, security_groups }`: the private network that it is in; the role gets the six rights on network interfaces that this takes ([functions in a private network](operating.md#functions-in-a-private-network))",
        "none",
        "1 to 16 ids of subnets, 1 to 5 ids of security groups",
        Takes::Table(&VPC),
    ),
];

pub(in super::super) static VPC: Section = Section {
    heading: "",
    about: "",
    keys: &[
        key(
            "subnets",
            "the ids of the subnets",
            REQUIRED,
            "",
            Takes::DifferentTexts(text(&rules::SUBNET, "^subnet-[0-9a-f]{1,17}$"), 1, 16),
        ),
        key(
            "security_groups",
            "the ids of the security groups",
            REQUIRED,
            "",
            Takes::DifferentTexts(text(&rules::SECURITY_GROUP, "^sg-[0-9a-f]{1,17}$"), 1, 5),
        ),
    ],
    one_of: &[],
};

/// The names of a function's environment variables.
pub(in super::super) static VARIABLE: Text = text(&rules::VARIABLE, "^[A-Za-z][A-Za-z0-9_]+$");

pub(in super::super) static FROM_ENV: Section = Section {
    heading: "",
    about: "",
    keys: &[key(
        "from_env",
        "the environment variable of `up` and `plan` that has the value",
        REQUIRED,
        "",
        Takes::Text(text(&rules::LOCAL_VARIABLE, "^[A-Za-z0-9_]+$")),
    )],
    one_of: &[],
};
