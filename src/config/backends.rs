//! The back ends that already run: functions that someone else made, and URLs.
//!
//! Must not know whether they are there, and must not repeat what may be a password in a URL.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::Function;
use super::keys::{self, OF_A_URL};
use super::problems::{At, Problems, quoted};
use super::rules::{ACCOUNT, BACKEND, FUNCTION, GATEWAY_HEADERS, REGION, every, seconds};
use super::tree::Table;

/// How long API Gateway waits where nothing else is set; also the longest that it waits by default, in milliseconds.
const LONGEST_TIMEOUT: i32 = 29_000;
/// In milliseconds.
const SHORTEST_TIMEOUT: i32 = 50;

/// What answers a route and is not made by this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    Lambda(ExistingFunction),
    Url(UrlBackend),
}

/// A function that someone else made, or one of its versions or aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExistingFunction {
    /// `aws`, `aws-cn`, ….
    pub partition: String,
    pub region: String,
    /// 12 digits; any account.
    pub account: String,
    pub name: String,
    /// A version or an alias; `None`: the function itself.
    pub qualifier: Option<String>,
}

/// A service that is called by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlBackend {
    /// Without a `/` at its end; the route's path is appended.
    pub url: String,
    /// How long API Gateway waits for an answer, in milliseconds.
    pub timeout_millis: i32,
    /// The header that has the caller's `client_id`; `None`: there is no such header.
    pub client_id_header: Option<String>,
    /// Whether the back end gets the caller's token.
    pub forward_authorization: bool,
    /// `None`: API Gateway calls it over the internet.
    pub vpc_link: Option<VpcLink>,
}

/// How API Gateway reaches a back end inside a VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcLink {
    pub id: String,
    /// The ARN of the load balancer or listener, which a VPC link V2 needs; `None`: a VPC link V1, which has one itself.
    pub target: Option<String>,
}

impl ExistingFunction {
    /// The ARN without the qualifier.
    pub fn unqualified_arn(&self) -> String {
        let Self {
            partition,
            region,
            account,
            name,
            ..
        } = self;
        format!("arn:{partition}:lambda:{region}:{account}:function:{name}")
    }

    /// The ARN with the qualifier, if there is one.
    pub fn arn(&self) -> String {
        let qualifier = self.qualifier.iter().map(|qualifier| format!(":{qualifier}"));
        self.unqualified_arn() + &qualifier.collect::<String>()
    }
}

impl FromStr for ExistingFunction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "expected the ARN of a function, a version or an alias, such as \
                 \"arn:aws:lambda:eu-west-1:123456789012:function:NAME:ALIAS\", got {}",
                quoted(text)
            )
        };
        let mut parts = text.split(':');
        let mut next = || parts.next().unwrap_or_default();
        let (arn, partition, service) = (next(), next(), next());
        let (region, account, kind, name) = (next(), next(), next(), next());
        let qualifier = parts.next();
        let has_right_parts = [arn, service, kind] == ["arn", "lambda", "function"]
            && (partition == "aws" || partition.starts_with("aws-"))
            && every(partition, |c| c.is_ascii_lowercase() || c == '-')
            && (REGION.holds)(region)
            && (ACCOUNT.holds)(account)
            && (FUNCTION.holds)(name)
            && name.len() <= 64
            && parts.next().is_none();
        if !has_right_parts {
            return Err(wrong());
        }
        if qualifier == Some("$LATEST") {
            return Err(format!(
                "{}: Lambda gives $LATEST no policy of its own: leave out `:$LATEST`, or name a version or an alias",
                quoted(text)
            ));
        }
        if qualifier.is_some_and(|qualifier| !(FUNCTION.holds)(qualifier) || qualifier.len() > 128) {
            return Err(wrong());
        }
        Ok(Self {
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            name: name.to_owned(),
            qualifier: qualifier.map(str::to_owned),
        })
    }
}

impl UrlBackend {
    /// The URL's host name or IPv4 address.
    pub fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', ':']).next().unwrap_or_default()
    }

    /// Whether the host is one that API Gateway does not reach over the internet.
    pub fn is_private(&self) -> bool {
        let host = self.host().to_ascii_lowercase();
        match host.parse::<Ipv4Addr>() {
            Ok(address) => {
                address.is_loopback()
                    || address.is_private()
                    || address.is_link_local()
                    || address.is_unspecified()
            }
            Err(_) => {
                !host.contains('.')
                    || [".localhost", ".local", ".internal"]
                        .iter()
                        .any(|end| host.ends_with(end))
            }
        }
    }

    /// Whether what is sent to it can be read on its way.
    pub fn is_plain_http(&self) -> bool {
        self.url.starts_with("http://")
    }
}

/// The back ends in the file. Their names are not those of functions.
pub(super) fn backends(
    file: &Table<'_>,
    functions: &BTreeMap<String, Function>,
    p: &mut Problems,
) -> BTreeMap<String, Backend> {
    let mut backends = BTreeMap::new();
    let Some(table) = file.table("backends", "[backends]", p) else {
        return backends;
    };
    let mut found = table.tables(|name| format!("back end {}", quoted(name)), p);
    found.sort_by_key(|(name, _)| name.at);
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, backend) in found {
        p.check(&BACKEND, "the name of a back end", name);
        if functions.contains_key(name.value) {
            p.add(
                name.at,
                format!(
                    "back end {0}: there is a function {0} as well; use another name for one of them",
                    quoted(name.value)
                ),
            );
        }
        // Also if it is invalid: a route that names it is not another problem.
        let backend = backend.map_or_else(|| Backend::Url(defaults()), |backend| read(&backend, p));
        if let Backend::Lambda(function) = &backend
            && let Some(other) = seen.insert(function.arn(), name.value)
        {
            p.add(
                name.at,
                format!(
                    "back end {}: back end {} names the same function; let the routes name one of them",
                    quoted(name.value),
                    quoted(other)
                ),
            );
        }
        backends.insert(name.value.to_owned(), backend);
    }
    backends
}

fn defaults() -> UrlBackend {
    UrlBackend {
        url: String::new(),
        timeout_millis: LONGEST_TIMEOUT,
        client_id_header: None,
        forward_authorization: false,
        vpc_link: None,
    }
}

fn read(table: &Table<'_>, p: &mut Problems) -> Backend {
    table.only(&keys::BACKEND.names(), p);
    match (table.has("lambda"), table.has("url")) {
        (false, false) => table.require("lambda or url", "the ARN of a function, or a URL", p),
        (true, true) => {
            let at = table.text("url", p).map_or(table.at, |url| url.at);
            p.add(at, format!("{}: expected lambda or url, not both", table.name));
        }
        (true, false) => {
            for key in table.names().filter(|key| OF_A_URL.contains(&key.value)) {
                p.add(
                    key.at,
                    format!("{}: only for a back end with url", table.key(key.value)),
                );
            }
        }
        (false, true) => {}
    }
    let function = table.text("lambda", p).and_then(|arn| {
        let parsed = arn.value.parse::<ExistingFunction>();
        parsed
            .map_err(|problem| p.add(arn.at, format!("{}: {problem}", table.key("lambda"))))
            .ok()
    });
    match function {
        Some(function) => Backend::Lambda(function),
        None => Backend::Url(read_url(table, p)),
    }
}

fn read_url(table: &Table<'_>, p: &mut Problems) -> UrlBackend {
    let mut backend = defaults();
    if let Some(url) = table.text("url", p) {
        match checked_url(url.value) {
            Ok(url) => backend.url = url,
            Err(problem) => p.add(url.at, format!("{}: {problem}", table.key("url"))),
        }
    }
    if let Some(timeout) = table.text("timeout", p) {
        let allowed = SHORTEST_TIMEOUT..=LONGEST_TIMEOUT;
        match millis(timeout.value).filter(|millis| allowed.contains(millis)) {
            Some(millis) => backend.timeout_millis = millis,
            None => p.add(
                timeout.at,
                format!(
                    "{}: expected a duration from \"50ms\" to \"29s\", in ms or s, got {}",
                    table.key("timeout"),
                    quoted(timeout.value)
                ),
            ),
        }
    }
    if let Some(header) = table.ruled("client_id_header", keys::BACKEND.rule("client_id_header"), p) {
        check_header(table, header, p);
        backend.client_id_header = Some(header.value.to_owned());
    }
    if let Some(forwarded) = table.flag("forward_authorization", p) {
        backend.forward_authorization = forwarded;
    }
    let target = table.ruled("target", keys::BACKEND.rule("target"), p);
    let link = table.ruled("vpc_link", keys::BACKEND.rule("vpc_link"), p);
    if table.has("target") && !table.has("vpc_link") {
        table.require("vpc_link", "the id of the VPC link that leads to the target", p);
    }
    backend.vpc_link = link.map(|link| VpcLink {
        id: link.value.to_owned(),
        target: target.map(|target| target.value.to_owned()),
    });
    backend
}

/// API Gateway sets these headers itself, changes them on the way, or fails if they are mapped.
fn check_header(table: &Table<'_>, header: At<&str>, p: &mut Problems) {
    let name = header.value.to_ascii_lowercase();
    let is_gateways = GATEWAY_HEADERS.contains(&name.as_str())
        || ["x-amz", "x-forwarded-"]
            .iter()
            .any(|start| name.starts_with(start));
    if is_gateways {
        p.add(
            header.at,
            format!(
                "{}: API Gateway uses the header {} itself; use another one, such as \"X-Client-Id\"",
                table.key("client_id_header"),
                quoted(header.value)
            ),
        );
    }
}

/// The URL without a `/` at its end, or what is wrong with it.
pub(crate) fn checked_url(text: &str) -> Result<String, String> {
    let example = "such as \"https://shop.example.com/v2\"";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("expected a URL {example}"));
    };
    if !["https", "http"].contains(&scheme) {
        return Err("expected a URL that begins with \"https://\" or \"http://\"".to_owned());
    }
    // Such texts may be secrets, so they are not repeated.
    if rest.contains(['?', '#']) {
        return Err(format!(
            "expected a URL without a query and a fragment, {example}: the caller's query is passed on"
        ));
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(format!(
            "expected a URL without a user name and a password, {example}"
        ));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_label = |label: &str| {
        every(label, |c| c.is_ascii_alphanumeric() || c == '-')
            && label.len() <= 63
            && !label.starts_with('-')
    };
    if host.len() > 253 || !host.split('.').all(is_label) {
        return Err(format!(
            "expected a host name of letters, digits, `-` and `.`, or an IPv4 address, got {}",
            quoted(host)
        ));
    }
    if let Some(port) = port
        && !is_port(port)
    {
        return Err(format!(
            "expected the port 80, 443 or one from 1024 to 65535, which are those that API Gateway calls, got {}",
            quoted(port)
        ));
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let is_part = |part: &str| {
        every(part, |c| c.is_ascii_alphanumeric() || "-._~%:@+,=".contains(c)) && ![".", ".."].contains(&part)
    };
    if !path.is_empty() && !path[1..].split('/').all(is_part) {
        return Err(format!(
            "expected a path of letters, digits and `-._~%:@+,=` between single `/`, got {}",
            quoted(path)
        ));
    }
    Ok(format!("{scheme}://{authority}{path}"))
}

fn is_port(text: &str) -> bool {
    let port = text
        .parse::<u16>()
        .ok()
        .filter(|_| every(text, |c| c.is_ascii_digit()));
    port.is_some_and(|port| [80, 443].contains(&port) || port >= 1024)
}

/// `29s` or `500ms`, in milliseconds.
fn millis(text: &str) -> Option<i32> {
    match text.strip_suffix("ms") {
        Some(number) => every(number, |c| c.is_ascii_digit())
            .then(|| number.parse().ok())
            .flatten(),
        None => seconds(text)?.checked_mul(1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> UrlBackend {
        UrlBackend {
            url: checked_url(text).unwrap(),
            ..defaults()
        }
    }

    #[test]
    fn a_url_is_one_that_api_gateway_can_call() {
        for (text, read) in [
            ("https://shop.example.com/v2", "https://shop.example.com/v2"),
            ("https://shop.example.com/", "https://shop.example.com"),
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
            ("https://a.example:443/a%20b/c/", "https://a.example:443/a%20b/c"),
        ] {
            assert_eq!(checked_url(text).as_deref(), Ok(read));
        }
        for text in [
            "",
            "shop.example.com",
            "ftp://shop.example.com",
            "HTTPS://shop.example.com",
            "https://",
            "https:///path",
            "https://user:pass@shop.example.com",
            "https://shop.example.com?a=b",
            "https://shop.example.com#a",
            "https://shop.example.com:22",
            "https://shop.example.com:1023",
            "https://shop.example.com:65536",
            "https://shop.example.com:+443",
            "https://shop.example.com:",
            "https://[::1]/",
            "https://shöp.example.com",
            "https://shop..com",
            "https://shop.example.com//a",
            "https://shop.example.com/../a",
            "https://shop.example.com/{id}",
            "https://shop.example.com/${stageVariables.x}",
            "https://shop.example.com/a b",
        ] {
            checked_url(text).unwrap_err();
        }
    }

    #[test]
    fn what_may_be_a_password_is_not_repeated() {
        for text in [
            "https://user:hunter2@shop.example.com",
            "https://a.example?key=hunter2",
        ] {
            assert!(!checked_url(text).unwrap_err().contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn hosts_that_the_internet_does_not_have_are_private() {
        for (text, private) in [
            ("http://127.0.0.1:8080", true),
            ("http://localhost", true),
            ("http://10.1.2.3/a", true),
            ("http://172.16.0.1", true),
            ("http://192.168.0.1", true),
            ("http://169.254.169.254", true),
            ("http://ip-10-0-0-1.eu-west-1.compute.internal", true),
            ("http://shop.local", true),
            ("http://8.8.8.8", false),
            ("https://shop.example.com", false),
        ] {
            assert_eq!(url(text).is_private(), private, "{text}");
        }
    }

    #[test]
    fn a_timeout_is_in_seconds_or_milliseconds() {
        for (text, read) in [
            ("29s", Some(29_000)),
            ("50ms", Some(50)),
            ("ms", None),
            ("-5ms", None),
            ("5", None),
            ("1m", Some(60_000)),
        ] {
            assert_eq!(millis(text), read, "{text}");
        }
    }

    #[test]
    fn an_arn_is_of_a_function_a_version_or_an_alias() {
        let plain = "arn:aws:lambda:eu-west-1:123456789012:function:legacy";
        for (qualifier, text) in [
            (None, plain.to_owned()),
            (Some("live"), format!("{plain}:live")),
            (Some("7"), format!("{plain}:7")),
        ] {
            let function: ExistingFunction = text.parse().unwrap();
            assert_eq!(function.qualifier.as_deref(), qualifier);
            assert_eq!(function.arn(), text);
            assert_eq!(function.unqualified_arn(), plain);
        }
        for text in [
            "legacy",
            "arn:aws:lambda:eu-west-1:123456789012:legacy",
            "arn:aws:lambda:eu-west-1:12345678901:function:legacy",
            "arn:aws:lambda:europe:123456789012:function:legacy",
            "arn:aws:s3:eu-west-1:123456789012:function:legacy",
            "arn:aws:lambda:eu-west-1:123456789012:function:a b",
            "arn:aws:lambda:eu-west-1:123456789012:function:legacy:",
            "arn:aws:lambda:eu-west-1:123456789012:function:legacy:live:more",
            "arn:aws:lambda:eu-west-1:123456789012:function:legacy:$LATEST",
        ] {
            text.parse::<ExistingFunction>().unwrap_err();
        }
    }
}
