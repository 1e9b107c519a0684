//! The keys of `[stack]` and `[user_pool]`.
//!
//! Must not read a file.

use super::super::{domains, rules};
use super::{Key, REQUIRED, Section, Takes, key, text};

pub(in super::super) static STACK: Section = Section {
    heading: "[stack]",
    about: "",
    keys: &STACK_KEYS,
    one_of: &[],
};

static STACK_KEYS: [Key; 8] = [
    key(
        "name",
        "the names of everything in AWS begin with it; it also names the state file",
        REQUIRED,
        "2 to 30 of `a-z`, `0-9`, `-`, the first a letter; must not contain `aws`, `amazon` or `cognito` unless `domain_prefix` is set",
        Takes::Text(text(&rules::STACK, "^[a-z][a-z0-9-]{1,29}$")),
    ),
    key(
        "region",
        "the AWS region",
        "as for the AWS CLI (`AWS_REGION`, the profile)",
        "a region's name; not in China or in the EU sovereign cloud, because AWS does not document the token host there",
        Takes::Text(text(&rules::REGION, "^[a-z]+(-[a-z]+)+-[0-9]+$")),
    ),
    key(
        "state",
        "where the states are, this stack's among them ([Working in a team](team.md))",
        "the folder `state`",
        "a folder, from the file's folder, or `s3://BUCKET/PREFIX`",
        Takes::Text(super::matching("^[\\s\\S]+$")),
    ),
    key(
        "state_account",
        "the account that the bucket of `state` must belong to",
        "the account of the credentials",
        "12 digits",
        Takes::Text(text(&rules::ACCOUNT, "^[0-9]{12}$")),
    ),
    key(
        "state_kms_key",
        "the KMS key that `state init` encrypts the bucket of `state` with, and that `policy` then allows the use of",
        "a key of S3's own",
        "the ARN of a key",
        Takes::Text(text(
            &rules::KMS_KEY,
            "^arn:aws[^:]*:kms:[a-z]+(-[a-z]+)+-[0-9]+:[0-9]{12}:key/[A-Za-z0-9-]+$",
        )),
    ),
    key(
        "tags",
        "tags of every resource that can have tags",
        "none",
        "at most 48; keys of 1 to 128 letters, digits, `+-=._:/`, which must not begin with `aws:` or `provision:`; values of at most 256 letters, digits, spaces, `_.:/=+-@`",
        Takes::Map(
            text(&rules::TAG_KEY, "^[A-Za-z0-9+=._:/-]{1,128}$"),
            0,
            48,
            text(&rules::TAG_VALUE, r"^[^\x00-\x1f!-*,;<>?\[-^`{-\x7f]{0,256}$"),
        ),
    ),
    key(
        "permissions_boundary",
        "the permissions boundary of every role that is made ([roles](operating.md#the-roles-of-functions))",
        "none",
        "the ARN of an IAM policy of the same account or of AWS",
        Takes::Text(text(
            &rules::POLICY_ARN,
            "^arn:aws[a-z-]*:iam::(aws|[0-9]{12}):policy/[A-Za-z0-9+=,.@_/-]*[A-Za-z0-9+=,.@_-]$",
        )),
    ),
    key(
        "role_path",
        "the IAM path of every role that is made; another path is another role",
        "`\"/\"`",
        "at most 512 letters, digits, `+=,.@_-/`, with a `/` at both ends",
        Takes::Text(text(&rules::ROLE_PATH, "^/([A-Za-z0-9+=,.@_/-]{0,510}/)?$")),
    ),
];

pub(in super::super) static USER_POOL: Section = Section {
    heading: "[user_pool]",
    about: "the stack's own pool, or one that it shares ([A pool for several stacks](shared-pool.md)); required where there is no `[routes]`",
    keys: &[
        key(
            "id",
            "a user pool that somebody else made; nothing of it is changed or deleted, and no other key of this table is allowed",
            "none",
            "the id of a pool of the same account and region",
            Takes::Text(text(
                &rules::POOL_ID,
                "^[a-z]+(-[a-z]+)+-[0-9]+_[A-Za-z0-9]{1,40}$",
            )),
        ),
        key(
            "stack",
            "the pool that is on record of another stack, in place of `id`",
            "none",
            "a stack's name",
            Takes::Text(text(&rules::STACK, "^[a-z][a-z0-9-]{1,29}$")),
        ),
        key(
            "state",
            "where the state of `stack` is",
            "where this stack's is",
            "a folder, from the file's folder, or `s3://BUCKET/PREFIX`",
            Takes::Text(super::matching(r"^[\s\S]+$")),
        ),
        key(
            "domain_prefix",
            "the first part of the token endpoint's host name; it must be free in the region",
            "`<stack>-<owner>`",
            "1 to 63 of `a-z`, `0-9`, `-`, no `-` at either end; must not contain `aws`, `amazon` or `cognito`",
            Takes::Text(text(
                &rules::DOMAIN_PREFIX,
                "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
            )),
        ),
        key(
            "deletion_protection",
            "whether AWS refuses to delete the pool; then `down` refuses as well, and `up` refuses to replace the pool ([deletion protection](operating.md#deletion-protection))",
            "`false`",
            "`true`, `false`",
            Takes::Flag,
        ),
        key(
            "tier",
            "Cognito's feature plan",
            "`\"ESSENTIALS\"`",
            "`\"LITE\"`, `\"ESSENTIALS\"`, `\"PLUS\"`",
            Takes::Text(text(&rules::TIER, "^(LITE|ESSENTIALS|PLUS)$")),
        ),
        key(
            "domain",
            "a domain of your own for the token endpoint: the next section; the name with the prefix stays beside it",
            "AWS's host name alone",
            "not with `id` or `stack`",
            Takes::Table(&POOL_DOMAIN),
        ),
    ],
    one_of: &[],
};

pub(in super::super) static POOL_DOMAIN: Section = Section {
    heading: "[user_pool.domain]",
    about: "the domain of the token endpoint ([a domain for tokens](production.md#a-domain-for-tokens))",
    keys: &[
        key(
            "name",
            "the domain name; the name above it needs a record of type A in DNS",
            REQUIRED,
            "lower case, at least three labels",
            Takes::Text(text(
                &domains::POOL_DOMAIN,
                r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$",
            )),
        ),
        key(
            "certificate",
            "the certificate that CloudFront serves the domain with",
            REQUIRED,
            "the ARN of a certificate of ACM in the stack's account, in `us-east-1`, which covers the name",
            Takes::Text(text(
                &domains::CLOUDFRONT_CERTIFICATE,
                "^arn:(aws:acm:us-east-1|aws[^:]+:acm:[a-z]+(-[a-z]+)+-[0-9]+):[0-9]{12}:certificate/[A-Za-z0-9-]+$",
            )),
        ),
    ],
    one_of: &[],
};
