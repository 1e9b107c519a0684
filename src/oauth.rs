//! The client-credentials grant (RFC 6749, section 4.4) at Cognito's token endpoint.
//!
//! Must not store a secret or a token, nor put one into an error.

use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

/// A wrong id or secret is final, but a client that was made a moment ago may not be known everywhere yet.
const NEW_CLIENT_PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries, growing from one second by one second.
const LONGEST_PAUSE: u64 = 5;

/// What one token request says.
pub struct TokenRequest<'a> {
    /// The token endpoint.
    pub token_url: &'a str,
    /// The client's id.
    pub client_id: &'a str,
    /// The client's secret.
    pub client_secret: &'a SecretString,
    /// Full scopes; none asks for all that the client may have.
    pub scopes: &'a [String],
}

/// An access token. Neither printable nor serializable as a whole.
pub struct Token {
    /// The bearer token, a JWT.
    pub access_token: SecretString,
    /// Seconds.
    pub expires_in: u64,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The endpoint refused, in OAuth's words.
    #[error("the token endpoint answered {code}{}: {meaning}", .description.as_ref().map(|d| format!(" ({d})")).unwrap_or_default())]
    OAuth {
        /// RFC 6749's code.
        code: String,
        /// The endpoint's own words.
        description: Option<String>,
        /// What the code means here.
        meaning: &'static str,
    },
    /// Too many requests.
    #[error("the token endpoint answered that there are too many requests")]
    Throttled,
    /// The answer is not one of a token endpoint.
    #[error("{url} answered {status}, and not as a token endpoint does")]
    NotAnEndpoint {
        /// Where.
        url: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// No answer.
    #[error("cannot reach the token endpoint")]
    Unreachable(#[source] reqwest::Error),
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct Grant {
    access_token: String,
    expires_in: u64,
}

impl Token {
    /// What the token says of itself, decoded and not verified: API Gateway verifies it on every call.
    ///
    /// # Errors
    /// It is not a JWT.
    pub fn claims(&self) -> anyhow::Result<Map<String, Value>> {
        let payload = self.access_token.expose_secret().split('.').nth(1);
        let payload = payload.context("the access token is not a JWT")?;
        let payload = URL_SAFE_NO_PAD
            .decode(payload)
            .ok()
            .context("the access token is not a JWT")?;
        serde_json::from_slice(&payload)
            .ok()
            .context("the access token is not a JWT")
    }
}

/// The HTTP client for the token endpoint and the API. Follows no redirect: each request carries a credential.
///
/// # Errors
/// The TLS stack cannot be set up.
pub fn http_client() -> anyhow::Result<Client> {
    Client::builder()
        .connect_timeout(Duration::from_secs(5))
        // API Gateway itself gives a function 29 seconds.
        .timeout(Duration::from_secs(35))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("provision/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("cannot set up an HTTP client")
}

/// Asks for a token, once.
pub async fn token(http: &Client, request: &TokenRequest<'_>) -> Result<Token, TokenError> {
    let mut form = vec![("grant_type", "client_credentials".to_owned())];
    if !request.scopes.is_empty() {
        form.push(("scope", request.scopes.join(" ")));
    }
    let answer = http
        .post(request.token_url)
        .basic_auth(request.client_id, Some(request.client_secret.expose_secret()))
        .form(&form)
        .send()
        .await
        .map_err(TokenError::Unreachable)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(TokenError::Unreachable)?;
    if status.is_success()
        && let Ok(grant) = serde_json::from_slice::<Grant>(&body)
    {
        return Ok(Token {
            access_token: grant.access_token.into(),
            expires_in: grant.expires_in,
        });
    }
    if status == StatusCode::TOO_MANY_REQUESTS || body.windows(13).any(|text| text == b"Rate exceeded") {
        return Err(TokenError::Throttled);
    }
    // Cognito documents 400, and others have seen 401 for the same codes.
    match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) if status.is_client_error() => Err(TokenError::OAuth {
            meaning: meaning(&refusal.error),
            code: refusal.error,
            description: refusal.error_description,
        }),
        _ => Err(TokenError::NotAnEndpoint {
            url: request.token_url.to_owned(),
            status,
        }),
    }
}

fn meaning(code: &str) -> &'static str {
    match code {
        "invalid_client" => "the client is not known, or its secret is another one",
        "invalid_scope" => "a scope is not one of this client's, or is on no resource server",
        "unauthorized_client" => "the client may not use the client-credentials grant",
        "invalid_request" => "the endpoint does not understand the request",
        "invalid_grant" => "the client may not have this grant with these scopes",
        "unsupported_grant_type" => "the endpoint does not know the client-credentials grant",
        _ => "see RFC 6749, section 5.2",
    }
}

/// Asks until there is a token, or a refusal that will not change: right after its creation an endpoint, or a client, may
/// need a moment. `tell` gets a sentence for every wait.
pub async fn token_when_ready(
    http: &Client,
    request: &TokenRequest<'_>,
    deadline: Duration,
    tell: &dyn Fn(&str),
) -> Result<Token, TokenError> {
    let began = Instant::now();
    let mut pause = 1;
    loop {
        let error = match token(http, request).await {
            Ok(token) => return Ok(token),
            Err(error) => error,
        };
        let patience = match &error {
            TokenError::OAuth { code, .. } if code == "invalid_client" => NEW_CLIENT_PATIENCE.min(deadline),
            TokenError::OAuth { .. } => return Err(error),
            TokenError::Throttled | TokenError::NotAnEndpoint { .. } | TokenError::Unreachable(_) => deadline,
        };
        let pause_now = Duration::from_secs(pause);
        if began.elapsed() + pause_now > patience {
            return Err(error);
        }
        tell(&format!("waiting for the token endpoint: {error}"));
        sleep(pause_now).await;
        pause = (pause + 1).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::json;
    use wiremock::matchers::{basic_auth, body_string, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn ask(server: &MockServer, scopes: &[&str], deadline: u64) -> (Result<Token, TokenError>, usize) {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let request = TokenRequest {
            token_url: &format!("{}/oauth2/token", server.uri()),
            client_id: "id",
            client_secret: &"the secret".into(),
            scopes: &scopes,
        };
        let waits = RefCell::new(0);
        let http = http_client().unwrap();
        let answer = token_when_ready(&http, &request, Duration::from_secs(deadline), &|_| {
            *waits.borrow_mut() += 1;
        })
        .await;
        (answer, waits.into_inner())
    }

    fn refusal(status: u16, code: &str) -> ResponseTemplate {
        ResponseTemplate::new(status).set_body_json(json!({ "error": code }))
    }

    fn grant() -> ResponseTemplate {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"scope":"a/r","client_id":"id"}"#);
        ResponseTemplate::new(200).set_body_json(json!({
            "access_token": format!("h.{payload}.s"), "token_type": "Bearer", "expires_in": 3600,
        }))
    }

    #[tokio::test]
    async fn a_token_comes_for_id_secret_and_scopes() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/oauth2/token"))
            .and(basic_auth("id", "the secret"))
            .and(body_string("grant_type=client_credentials&scope=a%2Fr+a%2Fw"))
            .respond_with(grant())
            .expect(1)
            .mount(&server)
            .await;
        let token = ask(&server, &["a/r", "a/w"], 0).await.0.ok().unwrap();
        assert_eq!(token.expires_in, 3600);
        assert_eq!(token.claims().unwrap()["scope"], "a/r");
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_its_meaning_and_not_repeated() {
        for status in [400, 401] {
            let server = MockServer::start().await;
            Mock::given(method("POST"))
                .respond_with(refusal(status, "invalid_scope"))
                .expect(1)
                .mount(&server)
                .await;
            let (answer, waits) = ask(&server, &[], 30).await;
            let error = answer.err().unwrap().to_string();
            assert_eq!(waits, 0);
            assert!(
                error.contains("invalid_scope") && error.contains("not one of this client's"),
                "{error}"
            );
            assert!(!error.contains("the secret"));
        }
    }

    #[tokio::test]
    async fn what_may_pass_is_waited_out() {
        let html = ResponseTemplate::new(404).set_body_string("<html>no such domain</html>");
        let throttled = ResponseTemplate::new(400).set_body_string("{\"message\":\"Rate exceeded\"}");
        for answer in [
            html,
            throttled,
            ResponseTemplate::new(503),
            refusal(400, "invalid_client"),
        ] {
            let server = MockServer::start().await;
            Mock::given(method("POST"))
                .respond_with(answer)
                .up_to_n_times(1)
                .mount(&server)
                .await;
            Mock::given(method("POST"))
                .respond_with(grant())
                .mount(&server)
                .await;
            let (answer, waits) = ask(&server, &[], 10).await;
            assert!(answer.is_ok());
            assert_eq!(waits, 1);
        }
    }

    #[tokio::test]
    async fn what_does_not_pass_is_told_at_the_deadline() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(429))
            .mount(&server)
            .await;
        assert!(matches!(ask(&server, &[], 0).await.0, Err(TokenError::Throttled)));
        let closed = MockServer::start().await;
        let uri = closed.uri();
        drop(closed);
        let request = TokenRequest {
            token_url: &uri,
            client_id: "id",
            client_secret: &"s".into(),
            scopes: &[],
        };
        let answer = token(&http_client().unwrap(), &request).await;
        // The port may be in use again by another test's server, which knows no such path.
        assert!(matches!(
            answer,
            Err(TokenError::Unreachable(_) | TokenError::NotAnEndpoint { .. })
        ));
    }

    #[test]
    fn a_token_that_is_no_jwt_has_no_claims() {
        for text in ["", "opaque", "a.!.c", "a.e30x.c"] {
            let token = Token {
                access_token: text.into(),
                expires_in: 1,
            };
            assert!(token.claims().is_err(), "{text}");
        }
    }
}
