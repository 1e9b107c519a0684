//! Access tokens from a token endpoint with the client-credentials grant (RFC 6749 section 4.4).
//!
//! Must not keep, print or put into an error a client's secret or a token, and must not verify tokens.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::untrusted::{excerpt, printable};

/// As much of an answer as is read, in bytes; a token response has a few thousand.
const ANSWER_LIMIT: usize = 256 * 1024;

/// How long a refused client, or its secret, may be one that is not known everywhere yet: rotations that work retry for
/// as long.
const NEW_CLIENT: Duration = Duration::from_secs(150);
/// How long the name of a new domain may take to be known: DNS servers remember for minutes that there was none.
const NEW_NAME: Duration = Duration::from_mins(5);

/// How long the endpoint may refuse a secret that was just added.
const NEW_SECRET: Duration = Duration::from_mins(3);

/// The longest pause between two attempts, in seconds.
const LONGEST_PAUSE: u64 = 5;

/// One request for an access token.
pub struct TokenRequest<'a> {
    /// The token endpoint, such as `https://<prefix>.auth.<region>.amazoncognito.com/oauth2/token`.
    pub token_url: &'a str,
    /// The app client's id.
    pub client_id: &'a str,
    /// The app client's secret.
    pub client_secret: &'a SecretString,
    /// Full names such as `users/read`; with none, Cognito grants all that the client is allowed.
    pub scopes: &'a [String],
}

/// An access token and what the endpoint said about it.
pub struct Token {
    /// The token; it has only characters that an HTTP header and a terminal can take.
    pub access_token: SecretString,
    /// How long it is valid from now, in seconds.
    pub expires_in: u64,
    /// How the token is presented; `Bearer` from Cognito.
    pub token_type: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

impl Token {
    /// What the token says, decoded from its payload but **not verified**: good for showing, not for deciding. API
    /// Gateway checks the signature, the issuer, the expiry and the scope of every call.
    pub fn claims(&self) -> anyhow::Result<Map<String, Value>> {
        // The causes are left out: they quote what they could not read, which is part of the token.
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
    /// A code that the RFC does not know, safe to print.
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
            Self::InvalidRequest => "the endpoint misses a parameter or does not know one",
            Self::InvalidClient => {
                "there is no app client with this id and secret: one of them is wrong, or the client was deleted"
            }
            Self::InvalidGrant => "the endpoint took the request for another grant",
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

/// Why there is no token. What the server said in it is safe to print and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The endpoint refused, in the words of OAuth.
    #[error("the token endpoint refused with {code}{}: {}", said(.description.as_deref()), code.meaning())]
    OAuth {
        /// The reason.
        code: OAuthCode,
        /// What the endpoint added; Cognito adds nothing.
        description: Option<String>,
    },
    /// An answer that is neither a token nor an OAuth error. An unknown Cognito domain answers with HTML.
    #[error("the token endpoint answered {status} without a token or an OAuth error: {excerpt}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer; of a successful one only a remark, as it may hold a token.
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
    /// The host's name does not resolve. AWS makes the name of a new domain within minutes, and resolvers remember that
    /// there was none.
    #[error(
        "cannot reach the token endpoint {url}: DNS does not know its host (the name of a new domain takes minutes)"
    )]
    NoSuchHost {
        /// The endpoint.
        url: String,
        /// What happened, without the URL.
        source: reqwest::Error,
    },
    /// Too many requests; this one was not looked at.
    #[error("the token endpoint has too many requests (status {status})")]
    Throttled {
        /// The HTTP status: 429, or 400.
        status: u16,
    },
    /// The endpoint's address cannot be used.
    #[error("{url:?} is not the URL of a token endpoint")]
    BadUrl {
        /// What was given.
        url: String,
    },
    /// There is no secret to ask with.
    #[error("cannot read the client's secret")]
    NoSecret(#[source] anyhow::Error),
}

fn said(description: Option<&str>) -> String {
    description.map_or_else(String::new, |text| format!(" ({text})"))
}

/// How long it makes sense to ask again after an error.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// As long as the endpoint may be new or busy, from the first request.
    endpoint: Duration,
    /// As long as DNS may not know the endpoint's name yet, from the first request.
    name: Duration,
    /// As long as the client, or its secret, may be new, from the first such refusal.
    client: Duration,
}

impl Patience {
    /// For a token of a stack that is up, or was made a moment ago.
    pub const READY: Self = Self {
        endpoint: Duration::from_mins(1),
        name: NEW_NAME,
        client: NEW_CLIENT,
    };
    /// For the first token with a secret that was added to a client a moment ago.
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

/// A client for requests to the host of `url`: 5 s to connect, 30 s for a request, no redirects (they would carry
/// the credentials elsewhere), the proxy of the environment except to this machine.
pub fn http_client(url: &str) -> anyhow::Result<Client> {
    let mut builder = Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("provision/", env!("CARGO_PKG_VERSION")));
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    Ok(builder.build()?)
}

/// Whether this URL's host is this machine, by its name or address.
pub fn is_loopback(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Whether no address was found for the host. The resolver's error has no type of its own.
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

/// Asks once for a token.
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
        // RFC 6749 section 2.3.1 wants both form-encoded first; Cognito documents base64(id:secret) as it is. They
        // differ for a `+` only, which a secret chosen by its owner may have.
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

/// Asks until there is a token, as right after its creation the endpoint may not answer yet, or not as itself, and as a
/// client's secret that was just made is not known everywhere.
///
/// Pauses 1, 2, 3 … s, at most 5 s, and calls `tell` with the reason before each. Begins no attempt after `patience`
/// for the last error is over; the last one may take as long as the client allows.
///
/// # Errors
/// The last attempt's.
pub async fn until_ready(
    patience: Patience,
    tell: &dyn Fn(&str),
    mut attempt: impl AsyncFnMut() -> Result<Token, TokenError>,
) -> Result<Token, TokenError> {
    let start = Instant::now();
    let mut unknown_since = None;
    let mut pause = 1;
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
        tokio::time::sleep(left.min(Duration::from_secs(pause))).await;
        pause = LONGEST_PAUSE.min(pause + 1);
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

/// What an answer of the endpoint comes down to.
///
/// # Errors
/// It is no token; nothing of it that is quoted is a secret or steers a terminal.
pub fn understand(status: StatusCode, body: &[u8], request: &TokenRequest<'_>) -> Result<Token, TokenError> {
    let shown = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        // Whatever the status says; every JWT begins like this.
        if text.contains("access_token") || text.contains("eyJ") {
            return "not shown, as it could hold a token".to_owned();
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
        // Neither the body nor the parser's error is quoted: both could hold the token.
        let Ok(granted) = serde_json::from_slice::<Granted>(body) else {
            return Err(unexpected(
                "it is not a token response (not shown, as it could hold a token)".to_owned(),
            ));
        };
        if !is_bearer_token(granted.access_token.expose_secret()) {
            return Err(unexpected(
                "the access token has characters that no token has".to_owned(),
            ));
        }
        return Ok(Token {
            access_token: granted.access_token,
            expires_in: granted.expires_in,
            token_type: excerpt(granted.token_type.as_bytes()),
        });
    }
    // The documents say 400, practice also 401: the code decides. A 5xx is never about the request.
    match serde_json::from_slice::<Refused>(body) {
        Ok(refused) if status.is_client_error() => Err(TokenError::OAuth {
            code: OAuthCode::parse(&shown(refused.error.as_bytes())),
            description: refused.error_description.map(|text| shown(text.as_bytes())),
        }),
        _ => Err(unexpected(shown(body))),
    }
}

/// The text without the credentials of the request, should a server have sent them back.
fn without_secret(text: &str, request: &TokenRequest<'_>) -> String {
    let secret = request.client_secret.expose_secret();
    if secret.is_empty() {
        return text.to_owned();
    }
    let basic = SecretString::from(BASE64_STANDARD.encode(format!("{}:{secret}", request.client_id)));
    text.replace(secret, "[secret]")
        .replace(basic.expose_secret(), "[secret]")
}

/// RFC 6750 section 2.1: what may follow `Bearer `.
fn is_bearer_token(token: &str) -> bool {
    let plain = token.trim_end_matches('=');
    !plain.is_empty()
        && plain
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use serde_json::json;
    use wiremock::matchers::{any, body_string, header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    const SECRET: &str = "s3cretS3cretS3cret+s3cret";

    /// One request to a server that answers like this.
    async fn ask(answer: ResponseTemplate, scopes: &[&str]) -> Result<Token, TokenError> {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(answer).mount(&server).await;
        ask_at(&format!("{}/oauth2/token", server.uri()), scopes).await
    }

    async fn ask_at(token_url: &str, scopes: &[&str]) -> Result<Token, TokenError> {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let request = TokenRequest {
            token_url,
            client_id: "app1",
            client_secret: &SecretString::from(SECRET),
            scopes: &scopes,
        };
        token(&http_client(token_url).unwrap(), &request).await
    }

    fn refusal(status: u16, code: &str) -> ResponseTemplate {
        ResponseTemplate::new(status).set_body_json(json!({ "error": code }))
    }

    fn granted() -> ResponseTemplate {
        ResponseTemplate::new(200)
            .set_body_json(json!({ "access_token": "aa.bb.cc", "token_type": "Bearer", "expires_in": 3600 }))
    }

    /// Everything that could be printed of an error.
    fn all(error: TokenError) -> String {
        let debug = format!("{error:?}");
        format!("{debug} {:?}", anyhow::Error::new(error))
    }

    #[tokio::test]
    async fn the_request_is_the_one_cognito_documents() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/oauth2/token"))
            .and(header(
                "authorization",
                format!("Basic {}", BASE64_STANDARD.encode(format!("app1:{SECRET}"))),
            ))
            .and(header("content-type", "application/x-www-form-urlencoded"))
            .and(header(
                "user-agent",
                concat!("provision/", env!("CARGO_PKG_VERSION")),
            ))
            .and(body_string(
                "grant_type=client_credentials&scope=users%2Fread+users%2Fwrite",
            ))
            .respond_with(granted())
            .mount(&server)
            .await;
        let url = format!("{}/oauth2/token", server.uri());
        let token = ask_at(&url, &["users/read", "users/write"]).await.unwrap();
        assert_eq!(token.access_token.expose_secret(), "aa.bb.cc");
        assert_eq!((token.expires_in, token.token_type.as_str()), (3600, "Bearer"));
    }

    #[tokio::test]
    async fn without_scopes_there_is_no_scope_parameter() {
        let server = MockServer::start().await;
        Mock::given(body_string("grant_type=client_credentials"))
            .respond_with(granted())
            .mount(&server)
            .await;
        ask_at(&server.uri(), &[]).await.unwrap();
    }

    #[tokio::test]
    async fn each_code_is_known_with_either_status() {
        for (text, code) in [
            ("invalid_request", OAuthCode::InvalidRequest),
            ("invalid_client", OAuthCode::InvalidClient),
            ("invalid_grant", OAuthCode::InvalidGrant),
            ("unauthorized_client", OAuthCode::UnauthorizedClient),
            ("unsupported_grant_type", OAuthCode::UnsupportedGrantType),
            ("invalid_scope", OAuthCode::InvalidScope),
            ("surprise", OAuthCode::Other("surprise".to_owned())),
        ] {
            for status in [400, 401] {
                let error = ask(refusal(status, text), &[]).await.unwrap_err();
                assert_eq!(
                    error.to_string(),
                    format!("the token endpoint refused with {text}: {}", code.meaning())
                );
                assert!(
                    matches!(error, TokenError::OAuth { code: ref got, .. } if *got == code),
                    "{error:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn what_the_endpoint_adds_is_shown_without_escapes() {
        let answer = ResponseTemplate::new(400)
            .set_body_json(json!({ "error": "bad\u{1b}[2J", "error_description": "look\u{7}" }));
        assert_eq!(
            ask(answer, &[]).await.unwrap_err().to_string(),
            "the token endpoint refused with bad\\u{1b}[2J (look\\u{7}): this is not a code of RFC 6749"
        );
    }

    #[tokio::test]
    async fn throttling_is_told_from_a_refusal() {
        for answer in [
            ResponseTemplate::new(429),
            refusal(429, "invalid_client"),
            ResponseTemplate::new(400).set_body_string("Rate exceeded"),
            ResponseTemplate::new(400)
                .set_body_json(json!({ "error": "x", "error_description": "Rate exceeded" })),
        ] {
            let error = ask(answer, &[]).await.unwrap_err();
            assert!(matches!(error, TokenError::Throttled { .. }), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_no_token_endpoint_is_quoted() {
        for (status, body, quoted) in [
            (
                404,
                "<html>\n\x1b no such domain",
                "<html> \\u{1b} no such domain",
            ),
            (400, "{}", "{}"),
            (403, r#"{"message":"Forbidden"}"#, r#"{"message":"Forbidden"}"#),
            (
                503,
                r#"{"error":"invalid_client"}"#,
                r#"{"error":"invalid_client"}"#,
            ),
            (302, "", ""),
        ] {
            let error = ask(ResponseTemplate::new(status).set_body_string(body), &[])
                .await
                .unwrap_err();
            assert!(
                matches!(&error, TokenError::Unexpected { status: got, excerpt } if *got == status && excerpt == quoted),
                "{error:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_token_never_gets_into_an_error() {
        for body in [
            json!({ "access_token": "aa.bb.cc" }),
            json!({ "access_token": ["aa.bb.cc"], "token_type": "Bearer", "expires_in": 1 }),
            json!({ "access_token": "aa.bb.cc", "token_type": "Bearer", "expires_in": "aa.bb.cc" }),
            json!({ "access_token": "aa.bb.cc\u{1b}", "token_type": "Bearer", "expires_in": 1 }),
            json!({ "access_token": "aa.bb.cc \n", "token_type": "Bearer", "expires_in": 1 }),
            json!({ "access_token": "", "token_type": "Bearer", "expires_in": 1 }),
            json!("aa.bb.cc"),
        ] {
            let error = ask(ResponseTemplate::new(200).set_body_json(&body), &[])
                .await
                .unwrap_err();
            assert!(
                matches!(error, TokenError::Unexpected { status: 200, .. }),
                "{body}: {error:?}"
            );
            assert!(!all(error).contains("bb"), "{body}");
        }
        assert!(!format!("{:?}", ask(granted(), &[]).await.unwrap()).contains("bb"));
    }

    #[tokio::test]
    async fn a_secret_that_is_sent_back_never_gets_into_an_error() {
        let basic = BASE64_STANDARD.encode(format!("app1:{SECRET}"));
        for answer in [
            // The excerpt ends within the secret.
            ResponseTemplate::new(500).set_body_string(format!("{}{SECRET}", "x".repeat(190))),
            ResponseTemplate::new(404).set_body_string(format!("you sent {basic}")),
            refusal(400, SECRET),
            ResponseTemplate::new(400).set_body_json(json!({ "error": "e", "error_description": SECRET })),
        ] {
            let shown = all(ask(answer, &[]).await.unwrap_err());
            assert!(
                !shown.contains(&SECRET[..6]) && !shown.contains(&basic[..6]),
                "{shown}"
            );
            assert!(shown.contains("[secret"), "{shown}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let server = MockServer::start().await;
        Mock::given(path("/elsewhere"))
            .respond_with(granted())
            .expect(0)
            .mount(&server)
            .await;
        let there = format!("{}/elsewhere", server.uri());
        Mock::given(path("/"))
            .respond_with(ResponseTemplate::new(307).insert_header("location", there))
            .mount(&server)
            .await;
        let error = ask_at(&server.uri(), &[]).await.unwrap_err();
        assert!(
            matches!(error, TokenError::Unexpected { status: 307, .. }),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn nobody_listening_is_unreachable() {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let url = format!("http://127.0.0.1:{port}/oauth2/token");
        let error = ask_at(&url, &[]).await.unwrap_err();
        assert!(matches!(error, TokenError::Unreachable { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("cannot reach the token endpoint {url}")
        );
        let chain = format!("{:#}", anyhow::Error::new(error));
        assert_eq!(chain.matches(&url).count(), 1, "{chain}");
    }

    #[tokio::test]
    async fn a_timeout_is_unreachable() {
        let server = MockServer::start().await;
        let slow = granted().set_delay(Duration::from_mins(1));
        Mock::given(any()).respond_with(slow).mount(&server).await;
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_millis(50))
            .build()
            .unwrap();
        let request = TokenRequest {
            token_url: &server.uri(),
            client_id: "app1",
            client_secret: &SecretString::from(SECRET),
            scopes: &[],
        };
        let error = token(&client, &request).await.unwrap_err();
        assert!(
            matches!(&error, TokenError::Unreachable { source, .. } if source.is_timeout()),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn an_endpoint_is_a_url() {
        for url in ["", "example.test/oauth2/token", "file:///oauth2/token"] {
            let error = ask_at(url, &[]).await.unwrap_err();
            assert!(matches!(error, TokenError::BadUrl { .. }), "{error:?}");
        }
    }

    #[test]
    fn no_proxy_is_asked_for_this_machine() {
        for url in [
            "http://127.0.0.1:4566/x",
            "http://[::1]/",
            "https://localhost",
            "http://api.localhost:1/",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "https://localhost.example.test/",
            "http://10.0.0.1/",
            "https://example.test/?127.0.0.1",
            "x",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    /// Runs the loop on a paused clock with these answers, the last one for ever; gives the seconds at which
    /// attempts began.
    async fn attempts(
        deadline: u64,
        answers: &[fn() -> Result<Token, TokenError>],
    ) -> (Vec<u64>, bool, Vec<String>) {
        let start = Instant::now();
        let times = RefCell::new(Vec::new());
        let told = RefCell::new(Vec::new());
        let tell = |line: &str| told.borrow_mut().push(line.to_owned());
        let patience = Patience {
            endpoint: Duration::from_secs(deadline),
            ..Patience::READY
        };
        let result = until_ready(patience, &tell, async || {
            times.borrow_mut().push(start.elapsed().as_secs());
            answers[(times.borrow().len() - 1).min(answers.len() - 1)]()
        })
        .await;
        (times.take(), result.is_ok(), told.take())
    }

    fn good() -> Token {
        Token {
            access_token: SecretString::from("aa.bb.cc"),
            expires_in: 1,
            token_type: "Bearer".to_owned(),
        }
    }

    fn html() -> Result<Token, TokenError> {
        Err(TokenError::Unexpected {
            status: 404,
            excerpt: "<html>".to_owned(),
        })
    }

    fn throttled() -> Result<Token, TokenError> {
        Err(TokenError::Throttled { status: 429 })
    }

    fn unknown() -> Result<Token, TokenError> {
        Err(TokenError::OAuth {
            code: OAuthCode::InvalidClient,
            description: None,
        })
    }

    fn no_scope() -> Result<Token, TokenError> {
        Err(TokenError::OAuth {
            code: OAuthCode::InvalidScope,
            description: None,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_five_seconds() {
        let (times, ok, told) = attempts(
            600,
            &[html, throttled, unknown, html, html, html, html, || Ok(good())],
        )
        .await;
        assert_eq!(times, [0, 1, 3, 6, 10, 15, 20, 25]);
        assert!(ok);
        assert_eq!(told.len(), 7);
        assert_eq!(
            told[0],
            "no token yet: the token endpoint answered 404 without a token or an OAuth error: <html>"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_attempt_is_at_the_deadline() {
        assert_eq!(attempts(12, &[html]).await.0, [0, 1, 3, 6, 10, 12]);
        assert_eq!(attempts(0, &[html]).await.0, [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_client_is_asked_again_for_150_seconds() {
        let (times, ok, told) = attempts(600, &[unknown]).await;
        assert_eq!((times.last(), ok), (Some(&150), false));
        assert!(told[0].contains("invalid_client"), "{told:?}");
        // They begin when the endpoint first answers as itself.
        let (times, ..) = attempts(600, &[html, html, html, unknown]).await;
        assert_eq!(times.last(), Some(&156));
        // However soon the endpoint has to answer.
        let (times, ..) = attempts(8, &[unknown]).await;
        assert_eq!(times.last(), Some(&150));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_secret_has_three_minutes_whatever_the_answer() {
        for answer in [unknown, html, throttled] {
            let start = Instant::now();
            until_ready(Patience::NEW_SECRET, &|_| {}, async || answer())
                .await
                .unwrap_err();
            assert_eq!(start.elapsed(), Duration::from_mins(3));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_secret_nothing_is_asked_again() {
        let start = Instant::now();
        let error = until_ready(Patience::READY, &|_| {}, async || {
            Err(TokenError::NoSecret(anyhow::anyhow!("denied")))
        })
        .await
        .unwrap_err();
        assert!(matches!(error, TokenError::NoSecret(_)), "{error:?}");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waiting_cannot_change_is_final() {
        let (times, ok, told) = attempts(600, &[no_scope]).await;
        assert_eq!((times.as_slice(), ok, told.len()), ([0].as_slice(), false, 0));
        let calls = Cell::new(0);
        let bad = async || {
            calls.set(calls.get() + 1);
            Err(TokenError::BadUrl { url: String::new() })
        };
        until_ready(Patience::READY, &|_| {}, bad).await.unwrap_err();
        assert_eq!(calls.get(), 1);
    }

    /// A resolver that knows no name, and how often it was asked.
    #[derive(Default)]
    struct NoNames(std::sync::atomic::AtomicUsize);

    impl reqwest::dns::Resolve for NoNames {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Box::pin(async { Err("failed to lookup address information".into()) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_does_not_resolve_is_waited_for_five_minutes_and_dns_is_named() {
        let asked = std::sync::Arc::new(NoNames::default());
        let client = Client::builder()
            .no_proxy()
            .dns_resolver(asked.clone())
            .build()
            .unwrap();
        let request = TokenRequest {
            token_url: "http://new.auth.eu-west-1.amazoncognito.com/oauth2/token",
            client_id: "app1",
            client_secret: &SecretString::from(SECRET),
            scopes: &[],
        };
        let began = Instant::now();
        let told = RefCell::new(Vec::new());
        let tell = |line: &str| told.borrow_mut().push(line.to_owned());
        let error = until_ready(Patience::READY, &tell, async || token(&client, &request).await)
            .await
            .unwrap_err();
        assert!(matches!(error, TokenError::NoSuchHost { .. }), "{error:?}");
        assert_eq!(began.elapsed(), NEW_NAME);
        assert!(asked.0.load(std::sync::atomic::Ordering::SeqCst) > 50);
        assert!(
            told.borrow()[0].contains("DNS does not know its host"),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn an_endpoint_that_is_not_ready_is_asked_again() {
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(503))
            .up_to_n_times(1)
            .mount(&server)
            .await;
        Mock::given(any()).respond_with(granted()).mount(&server).await;
        let request = TokenRequest {
            token_url: &server.uri(),
            client_id: "app1",
            client_secret: &SecretString::from(SECRET),
            scopes: &[],
        };
        let client = http_client(&server.uri()).unwrap();
        until_ready(Patience::READY, &|_| {}, async || token(&client, &request).await)
            .await
            .unwrap();
    }

    fn token_of(text: &str) -> Token {
        Token {
            access_token: SecretString::from(text),
            ..good()
        }
    }

    #[test]
    fn claims_are_the_payload() {
        // The payload's base64url has both `-` and `_`.
        let payload =
            BASE64_URL_SAFE_NO_PAD.encode(r#"{"client_id":"app1","scope":"users/read","x":"~~~???>>>"}"#);
        assert!(payload.contains('_') || payload.contains('-'), "{payload}");
        let claims = token_of(&format!("eyJh.{payload}.c2ln")).claims().unwrap();
        assert_eq!(claims["scope"], "users/read");
        assert_eq!(claims["client_id"], "app1");
    }

    #[test]
    fn what_is_no_jwt_is_refused_without_quoting_it() {
        let string = BASE64_URL_SAFE_NO_PAD.encode(r#""zzz""#);
        for (text, reason) in [
            ("zzz".to_owned(), "it has 1 parts instead of 3"),
            ("zzz.zzz.zzz.zzz.zzz".to_owned(), "it has 5 parts instead of 3"),
            ("zzz.zz+z.zzz".to_owned(), "its payload is not base64url"),
            (format!("zzz.{string}.zzz"), "its payload is not a JSON object"),
        ] {
            let error = format!("{:?}", token_of(&text).claims().unwrap_err());
            assert!(
                error.starts_with(&format!("the access token is not a JWT: {reason}")),
                "{error}"
            );
            assert!(!error.contains("zz"), "{error}");
        }
    }
}
