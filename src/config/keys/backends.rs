//! The keys of back ends.
//!
//! Must not read a file.

use super::super::rules;
use super::{Section, Takes, key, matching, text};

/// The keys that only a URL has.
pub(in super::super) const OF_A_URL: [&str; 5] = [
    "timeout",
    "client_id_header",
    "forward_authorization",
    "vpc_link",
    "target",
];

pub(in super::super) static BACKEND: Section = Section {
    heading: "[backends.<name>]",
    about: "what answers routes and runs already ([back ends](#back-ends)); its name has 1 to 60 letters, digits, `-`, `_`, and is not that of a function",
    keys: &[
        key(
            "lambda",
            "a function that someone else made, one of its versions or an alias; of any account",
            "this or `url` is required",
            "an ARN, in the stack's region; not `:$LATEST`",
            Takes::Text(matching(
                "^arn:aws(-[a-z-]*)?:lambda:[a-z]+(-[a-z]+)+-[0-9]+:[0-9]{12}:function:[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9_-]{1,128})?$",
            )),
        ),
        key(
            "url",
            "a service; the route's path, with its variables, is appended",
            "this or `lambda` is required",
            "`https://` or `http://`, a host name or IPv4 address, the port 80, 443 or 1024 to 65535, a path; no user name, query or fragment",
            Takes::Text(matching(
                "^https?://[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)*(:[0-9]+)?(/[A-Za-z0-9._~%:@+,=/-]*)?$",
            )),
        ),
        key(
            "timeout",
            "how long API Gateway waits for the answer of the `url`",
            "`\"29s\"`",
            "`\"50ms\"` to `\"29s\"`",
            Takes::Text(matching("^[0-9]+(ms|[smhd])$")),
        ),
        key(
            "client_id_header",
            "the header in which the `url` gets the caller's `client_id`, which no caller can forge",
            "none",
            "letters, digits and `-`; not a header that API Gateway uses itself, such as `Authorization`, `Host` or `Content-Length`",
            Takes::Text(text(&rules::CLIENT_ID_HEADER, "^[A-Za-z0-9-]{1,64}$")),
        ),
        key(
            "forward_authorization",
            "whether the `url` gets the caller's token; otherwise it gets `Authorization: none`",
            "`false`",
            "`true`, `false`",
            Takes::Flag,
        ),
        key(
            "vpc_link",
            "the id of the VPC link that leads to the `url`",
            "the internet",
            "lower-case letters and digits",
            Takes::Text(text(&rules::VPC_LINK, "^[a-z0-9]{1,64}$")),
        ),
        key(
            "target",
            "what a VPC link V2 leads to: a load balancer or its listener",
            "none, for a VPC link V1",
            "the ARN of an Application or Network Load Balancer or of its listener, in the stack's account and region",
            Takes::Text(text(
                &rules::LOAD_BALANCER,
                "^arn:aws[^:]*:elasticloadbalancing:[a-z]+(-[a-z]+)+-[0-9]+:[0-9]{12}:(loadbalancer|listener)/(app|net)/[A-Za-z0-9/-]+$",
            )),
        ),
    ],
    one_of: &["lambda", "url"],
};
