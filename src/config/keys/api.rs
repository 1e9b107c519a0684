//! The keys of the API.
//!
//! Must not read a file.

use super::super::{domains, rules};
use super::{REQUIRED, Section, Takes, key, text};

pub(in super::super) static API: Section = Section {
    heading: "[api]",
    about: "",
    keys: &[
        key(
            "name",
            "the API's name in the console",
            "the stack's name",
            "not empty",
            Takes::Text(text(&rules::TEXT, r"^[\s\S]+$")),
        ),
        key(
            "description",
            "the API's description",
            "`API of stack <name>`",
            "not empty",
            Takes::Text(text(&rules::TEXT, r"^[\s\S]+$")),
        ),
        key(
            "stage",
            "the last part of the API's URL",
            "`\"prod\"`",
            "1 to 128 letters, digits, `-`, `_`",
            Takes::Text(text(&rules::STAGE, "^[A-Za-z0-9_-]{1,128}$")),
        ),
        key(
            "throttle",
            "`{ rate, burst }`: the limit on requests per second, and on requests at once",
            "the account's limits",
            "`rate` above 0, `burst` 0 or more",
            Takes::Table(&THROTTLE),
        ),
        key(
            "access_logs",
            "`{ retention_days }`: a line for every request in a log group of its own, and how many days it is kept ([who called what](operating.md#who-called-what))",
            "none; `90` days",
            "1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653",
            Takes::Table(&ACCESS_LOGS),
        ),
        key(
            "tracing",
            "whether X-Ray traces requests",
            "`false`",
            "`true`, `false`",
            Takes::Flag,
        ),
        key(
            "metrics",
            "whether CloudWatch has count, errors and latency of each route besides those of the whole stage; AWS bills them as detailed metrics",
            "`false`",
            "`true`, `false`",
            Takes::Flag,
        ),
        key(
            "firewall",
            "the web ACL of AWS WAF that requests go through before they are authorized ([a firewall](operating.md#a-firewall))",
            "none is set",
            "the ARN of a regional web ACL, in the stack's account and region",
            Takes::Text(text(
                &rules::WEB_ACL,
                "^arn:aws[^:]*:wafv2:[a-z]+(-[a-z]+)+-[0-9]+:[0-9]{12}:regional/webacl/[A-Za-z0-9_-]{1,128}/[A-Za-z0-9_-]{1,128}$",
            )),
        ),
        key(
            "domain",
            "a domain of your own: the next section ([a domain of your own](production.md#a-domain-of-your-own))",
            "AWS's host name",
            "",
            Takes::Table(&API_DOMAIN),
        ),
    ],
    one_of: &[],
};

/// An ARN of ACM.
const CERTIFICATE: &str = "^arn:aws[^:]*:acm:[a-z]+(-[a-z]+)+-[0-9]+:[0-9]{12}:certificate/[A-Za-z0-9-]+$";

pub(in super::super) static API_DOMAIN: Section = Section {
    heading: "[api.domain]",
    about: "the domain that the API answers at",
    keys: &[
        key(
            "name",
            "the domain name; it may be there already, and several stacks can have paths of one domain",
            REQUIRED,
            "lower case, at least two labels, no `*`",
            Takes::Text(text(
                &domains::DOMAIN,
                r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$",
            )),
        ),
        key(
            "certificate",
            "the certificate that the stack makes the domain with; if the domain is there and is not the stack's, nothing of it is changed",
            "none: somebody else makes the domain",
            "the ARN of a certificate of ACM in the stack's account and region, which covers the name",
            Takes::Text(text(&domains::CERTIFICATE, CERTIFICATE)),
        ),
        key(
            "base_path",
            "the first part of the path: `https://<name>/<base_path>/orders` is the route `/orders`",
            "the root of the domain",
            "one part of a path: letters, digits, `-`, `_`, `.`",
            Takes::Text(text(&domains::BASE_PATH, "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")),
        ),
        key(
            "minimum_tls",
            "the oldest TLS version that clients may use",
            "`\"1.2\"`",
            "`\"1.0\"`, `\"1.2\"`, `\"1.3\"` or a security policy of API Gateway (`\"SecurityPolicy_TLS13_1_2_2021_06\"`), which the API gets as well; with a `truststore` only `\"1.2\"`",
            Takes::Text(text(
                &domains::MINIMUM_TLS,
                r"^(1\.0|1\.2|1\.3|SecurityPolicy_[A-Za-z0-9_]+)$",
            )),
        ),
        key(
            "truststore",
            "the certificates of authorities that a client needs a certificate of: mutual TLS",
            "clients need no certificate",
            "an object in S3 in PEM form, `\"s3://bucket/key\"`",
            Takes::Text(text(
                &domains::TRUSTSTORE,
                r"^s3://[a-z0-9.-]{3,63}/[!#-(+->@-\[\]-~)]{1,1024}$",
            )),
        ),
        key(
            "truststore_version",
            "the version of that object",
            "the newest when API Gateway reads it",
            "a version id of S3; only with `truststore`",
            Takes::Text(text(&domains::VERSION, "^[A-Za-z0-9_.-]{1,1024}$")),
        ),
        key(
            "ownership_certificate",
            "a public certificate that proves who owns the name, if `certificate` was imported or is of a private authority",
            "none",
            "as `certificate`; only with `truststore`",
            Takes::Text(text(&domains::CERTIFICATE, CERTIFICATE)),
        ),
        key(
            "close_default_endpoint",
            "whether the API no longer answers at AWS's own host name (`execute-api`)",
            "`false`",
            "`true`, `false`",
            Takes::Flag,
        ),
    ],
    one_of: &[],
};

pub(in super::super) static THROTTLE: Section = Section {
    heading: "",
    about: "",
    keys: &[
        key("rate", "requests a second", REQUIRED, "", Takes::AboveZero),
        key(
            "burst",
            "requests at once",
            REQUIRED,
            "",
            Takes::Integer(0, i32::MAX),
        ),
    ],
    one_of: &[],
};

pub(in super::super) static ACCESS_LOGS: Section = Section {
    heading: "",
    about: "",
    keys: &[key(
        "retention_days",
        "how many days the log is kept",
        "`90`",
        "",
        Takes::OneOf(&rules::RETENTION_DAYS),
    )],
    one_of: &[],
};
