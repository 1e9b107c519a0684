//! Access tokens from a token endpoint with the client-credentials grant (RFC 6749 section 4.4).
//!
//! Must not keep, print or put into an error a client's secret or a token. Must not verify tokens.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::pause::Pauses;
use crate::untrusted::{excerpt, printable};

/// The longest answer that is read, in bytes; a token response has a few thousand.
const ANSWER_LIMIT: usize = 256 * 1024;

/// How long a client or its secret may be refused because it is new. Existing rotation tools retry for as long.
const NEW_CLIENT: Duration = Duration::from_secs(150);
/// How long the name of a new domain may not resolve: DNS servers remember for minutes that it did not exist.
const NEW_NAME: Duration = Duration::from_mins(5);

/// How long the endpoint may refuse a secret that was just added.
const NEW_SECRET: Duration = Duration::from_mins(3);

/// One request for an access token.
pub struct TokenRequest<'a> {
    /// The token endpoint, such as `https://<prefix>.auth.<region>.amazoncognito.com/oauth2/token`.
    pub token_url: &'a str,
    pub client_id: &'a str,
    pub client_secret: &'a SecretString,
    /// Full scopes such as `users/read`; without any, Cognito grants all scopes of the client.
    pub scopes: &'a [String],
}

/// An access token from the endpoint.
pub struct Token {
    /// It has only characters that are safe in an HTTP header and on a terminal.
    pub access_token: SecretString,
    /// How long it is valid from now, in seconds.
    pub expires_in: u64,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

impl Token {
    /// The claims in the token's payload, **not verified**: show them, but do not decide by them. API Gateway checks the
    /// signature, the issuer, the expiry and the scope of every call.
    pub fn claims(&self) -> anyhow::Result<Map<String, Value>> {
        // The causes are left out, because they quote a part of the token.
        let parts: Vec<&str> = self.access_token.expose_secret().split('.').collect();
        let [_, payload, _] = parts[..] else {
            anyhow::bail!(
                "the access token is not a JWT: it has {} parts instead of 3",
                parts.len()
            );
        };
        let Ok(payload) = BASE64_URL_SAFE_NO_PAD.decode(payload) else {
            anyhow::bail!("the access token is not a JWT: its payload is not base64url");
        };
        let Ok(claims) = serde_json::from_slice(&payload) else {
            anyhow::bail!("the access token is not a JWT: its payload is not a JSON object");
        };
        Ok(claims)
    }
}

/// The error codes of RFC 6749 section 5.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OAuthCode {
    /// `invalid_request`
    InvalidRequest,
    /// `invalid_client`
    InvalidClient,
    /// `invalid_grant`
    InvalidGrant,
    /// `unauthorized_client`
    UnauthorizedClient,
    /// `unsupported_grant_type`
    UnsupportedGrantType,
    /// `invalid_scope`
    InvalidScope,
    /// A code that is not in the RFC, safe to print.
    Other(String),
}

impl OAuthCode {
    fn parse(code: &str) -> Self {
        match code {
            "invalid_request" => Self::InvalidRequest,
            "invalid_client" => Self::InvalidClient,
            "invalid_grant" => Self::InvalidGrant,
            "unauthorized_client" => Self::UnauthorizedClient,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            "invalid_scope" => Self::InvalidScope,
            other => Self::Other(other.to_owned()),
        }
    }

    /// What the code means for a client-credentials request to Cognito.
    pub fn meaning(&self) -> &'static str {
        match self {
            Self::InvalidRequest => "a parameter is missing or not known",
            Self::InvalidClient => {
                "no app client has this id and secret: one of them is wrong, or the client was deleted"
            }
            Self::InvalidGrant => "the endpoint expected another grant",
            Self::UnauthorizedClient => {
                "the app client may not use the client-credentials grant: its flows were changed"
            }
            Self::UnsupportedGrantType => "the endpoint does not offer the client-credentials grant",
            Self::InvalidScope => "the app client is not allowed one of the scopes, or has no scope at all",
            Self::Other(_) => "this is not a code of RFC 6749",
        }
    }
}

impl std::fmt::Display for OAuthCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::Other(code) => code,
        })
    }
}

/// Why there is no token. It is safe to print and contains no secret.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The endpoint refused with an OAuth error.
    #[error("the token endpoint refused with {code}{}: {}", said(.description.as_deref()), code.meaning())]
    OAuth {
        code: OAuthCode,
        /// The endpoint's own text; Cognito sends none.
        description: Option<String>,
    },
    /// An answer that is neither a token nor an OAuth error, such as the HTML of an unknown Cognito domain.
    #[error("the token endpoint answered {status} without a token or an OAuth error: {excerpt}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer; for a successful one only a remark, because it may contain a token.
        excerpt: String,
    },
    /// No complete answer: no such host, no connection, a timeout, an answer that was cut off.
    #[error("cannot reach the token endpoint {url}")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// What happened, without the URL.
        source: reqwest::Error,
    },
    /// The host's name does not resolve. AWS creates the name of a new domain within minutes, and resolvers remember that
    /// it did not exist.
    #[error(
        "cannot reach the token endpoint {url}: its host name does not resolve (a new domain takes minutes)"
    )]
    NoSuchHost {
        /// The endpoint.
        url: String,
        /// What happened, without the URL.
        source: reqwest::Error,
    },
    /// Too many requests; this one was not processed.
    #[error("the token endpoint has too many requests (status {status})")]
    Throttled {
        /// The HTTP status: 429, or 400.
        status: u16,
    },
    /// Not an http or https URL.
    #[error("{url:?} is not the URL of a token endpoint")]
    BadUrl { url: String },
    /// The secret could not be read, so nothing was sent.
    #[error("cannot read the client's secret")]
    NoSecret(#[source] anyhow::Error),
}

fn said(description: Option<&str>) -> String {
    description.map_or_else(String::new, |text| format!(" ({text})"))
}

/// How long to ask again after an error.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// While the endpoint may be new or busy, from the first request.
    endpoint: Duration,
    /// While the endpoint's name may not resolve yet, from the first request.
    name: Duration,
    /// While the client or its secret may be new, from the first refusal of them.
    client: Duration,
}

impl Patience {
    /// For a stack that is up, also if it was created a moment ago.
    pub const READY: Self = Self {
        endpoint: Duration::from_mins(1),
        name: NEW_NAME,
        client: NEW_CLIENT,
    };
    /// For the first token with a secret that was added a moment ago.
    pub const NEW_SECRET: Self = Self {
        endpoint: NEW_SECRET,
        name: NEW_SECRET,
        client: NEW_SECRET,
    };
}

impl TokenError {
    /// Whether the endpoint refuses the client's id or its secret.
    pub fn is_invalid_client(&self) -> bool {
        matches!(
            self,
            Self::OAuth {
                code: OAuthCode::InvalidClient,
                ..
            }
        )
    }
}

/// Why no client can be made: everything else that a client needs is in the program.
pub const NO_CERTIFICATES: &str =
    "cannot load the certificates of this machine, with which servers are authenticated";

/// An HTTP client for the host of `url`: 5 s to connect, 30 s for a request. It follows no redirects, because they would
/// send the credentials elsewhere. It uses the proxy of the environment, but not for this machine.
pub fn http_client(url: &str) -> anyhow::Result<Client> {
    http_client_to(url, None)
}

/// As [`http_client`], for a host name that is at these addresses, whatever DNS says of it.
pub fn http_client_to(url: &str, known: Option<(&str, &[SocketAddr])>) -> anyhow::Result<Client> {
    let mut builder = Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("provision/", env!("CARGO_PKG_VERSION")));
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    // An emulator is reached from a machine without certificates, too. Without redirects no TLS can come of it.
    if url.starts_with("http://") {
        builder = builder.tls_certs_only([]);
    }
    if let Some((name, addresses)) = known {
        builder = builder.resolve_to_addrs(name, addresses);
    }
    builder.build().context(NO_CERTIFICATES)
}

/// Whether the host of this URL is this machine, by name or address.
pub fn is_loopback(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Whether the host did not resolve. The resolver's error has no type of its own.
fn is_dns_failure(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.to_string().starts_with("dns error") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Requests a token, once.
pub async fn token(client: &Client, request: &TokenRequest<'_>) -> Result<Token, TokenError> {
    let url = Url::parse(request.token_url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = url else {
        return Err(TokenError::BadUrl {
            url: request.token_url.to_owned(),
        });
    };
    let unreachable = |error: reqwest::Error| {
        let url = printable(request.token_url);
        let source = error.without_url();
        if is_dns_failure(&source) {
            TokenError::NoSuchHost { url, source }
        } else {
            TokenError::Unreachable { url, source }
        }
    };
    let scope = request.scopes.join(" ");
    let mut form = vec![("grant_type", "client_credentials")];
    if !scope.is_empty() {
        form.push(("scope", &scope));
    }
    let mut response = client
        .post(url)
        .header(ACCEPT, "application/json")
        // RFC 6749 section 2.3.1 demands that both are form-encoded first; Cognito documents base64(id:secret). These
        // differ only for a `+`, which a secret that its owner chose may have.
        .basic_auth(request.client_id, Some(request.client_secret.expose_secret()))
        .form(&form)
        .send()
        .await
        .map_err(unreachable)?;
    let mut body = Vec::new();
    while body.len() < ANSWER_LIMIT
        && let Some(chunk) = response.chunk().await.map_err(unreachable)?
    {
        body.extend_from_slice(&chunk);
    }
    understand(response.status(), &body, request)
}

/// Asks until there is a token: right after its creation an endpoint may not answer, or answer with errors, and a new
/// secret may be refused.
///
/// Pauses 1, 2, 3 … s, at most 5 s, and calls `tell` with the reason before each pause. Begins no attempt after the time of
/// `patience` for the last error; the last attempt may take as long as the client allows.
///
/// # Errors
/// The error of the last attempt.
pub async fn until_ready(
    patience: Patience,
    tell: &dyn Fn(&str),
    mut attempt: impl AsyncFnMut() -> Result<Token, TokenError>,
) -> Result<Token, TokenError> {
    let start = Instant::now();
    let mut unknown_since = None;
    let mut pauses = Pauses::growing();
    loop {
        let error = match attempt().await {
            Ok(token) => return Ok(token),
            Err(error) => error,
        };
        let left = match &error {
            TokenError::OAuth {
                code: OAuthCode::InvalidClient,
                ..
            } => {
                let since: &mut Instant = unknown_since.get_or_insert_with(Instant::now);
                patience.client.saturating_sub(since.elapsed())
            }
            TokenError::OAuth { .. } | TokenError::BadUrl { .. } | TokenError::NoSecret(_) => {
                return Err(error);
            }
            TokenError::NoSuchHost { .. } => patience.name.saturating_sub(start.elapsed()),
            TokenError::Unexpected { .. } | TokenError::Unreachable { .. } | TokenError::Throttled { .. } => {
                patience.endpoint.saturating_sub(start.elapsed())
            }
        };
        if left.is_zero() {
            return Err(error);
        }
        tell(&format!("no token yet: {error}"));
        pauses.wait(left).await;
    }
}

/// The body of a successful answer.
#[derive(Deserialize)]
struct Granted {
    #[serde(deserialize_with = "secret")]
    access_token: SecretString,
    token_type: String,
    expires_in: u64,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// The body of a refusal.
#[derive(Deserialize)]
struct Refused {
    error: String,
    error_description: Option<String>,
}

/// The token in an answer of the endpoint.
///
/// # Errors
/// The answer is not a token. What the error quotes of it contains no secret and is safe to print.
pub fn understand(status: StatusCode, body: &[u8], request: &TokenRequest<'_>) -> Result<Token, TokenError> {
    let shown = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        // Whatever the status is: every JWT begins with this.
        if text.contains("access_token") || text.contains("eyJ") {
            return "not shown, because it could contain a token".to_owned();
        }
        excerpt(without_secret(&text, request).as_bytes())
    };
    let unexpected = |excerpt: String| TokenError::Unexpected {
        status: status.as_u16(),
        excerpt,
    };
    let rate_exceeded = || String::from_utf8_lossy(body).contains("Rate exceeded");
    if status == StatusCode::TOO_MANY_REQUESTS || (status == StatusCode::BAD_REQUEST && rate_exceeded()) {
        return Err(TokenError::Throttled {
            status: status.as_u16(),
        });
    }
    if status.is_success() {
        // Neither the body nor the parser's error is quoted: both could contain the token.
        let Ok(granted) = serde_json::from_slice::<Granted>(body) else {
            return Err(unexpected(
                "not a token response (not shown, because it could contain a token)".to_owned(),
            ));
        };
        // RFC 6749 section 7.1: a client must not use a token of a type that it does not know.
        if !granted.token_type.eq_ignore_ascii_case("Bearer") {
            return Err(unexpected("the token is not of type Bearer".to_owned()));
        }
        if !is_bearer_token(granted.access_token.expose_secret()) {
            return Err(unexpected("the access token has invalid characters".to_owned()));
        }
        return Ok(Token {
            access_token: granted.access_token,
            expires_in: granted.expires_in,
        });
    }
    // Documented is 400, but 401 occurs as well, so the code decides. A 5xx is not about the request.
    match serde_json::from_slice::<Refused>(body) {
        Ok(refused) if status.is_client_error() => Err(TokenError::OAuth {
            code: OAuthCode::parse(&shown(refused.error.as_bytes())),
            description: refused.error_description.map(|text| shown(text.as_bytes())),
        }),
        _ => Err(unexpected(shown(body))),
    }
}

/// The text without the credentials of the request, which a server may have sent back.
fn without_secret(text: &str, request: &TokenRequest<'_>) -> String {
    let secret = request.client_secret.expose_secret();
    if secret.is_empty() {
        return text.to_owned();
    }
    let basic = SecretString::from(BASE64_STANDARD.encode(format!("{}:{secret}", request.client_id)));
    text.replace(secret, "[secret]")
        .replace(basic.expose_secret(), "[secret]")
}

/// Whether it may follow `Bearer `, by RFC 6750 section 2.1.
fn is_bearer_token(token: &str) -> bool {
    let plain = token.trim_end_matches('=');
    !plain.is_empty()
        && plain
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests;
