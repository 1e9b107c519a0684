//! Calls the API with an access token, and explains the answers that come from the gateway itself.
//!
//! Must not print or keep the token, and must not fetch one.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::error::Failure;
use crate::untrusted::printable;

/// A request to the API.
pub struct Request<'a> {
    /// Such as `GET`.
    pub method: Method,
    /// The whole URL, with stage and query.
    pub url: &'a str,
    /// Sent as `Authorization: Bearer …`; `None`: without that header.
    pub token: Option<&'a SecretString>,
    /// A name may be there more than once.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// Sent unchanged and without a content type, for which API Gateway then assumes `application/json`.
    pub body: Option<Vec<u8>>,
}

/// The longest answer that is read, in bytes. The gateway's own limit is 10 MB.
const LIMIT: usize = 64 * 1024 * 1024;
/// How many bytes of a body are searched for the gateway's own answer, which is shorter.
pub const BEGINNING: usize = 64 * 1024;

/// An answer of the API, with any status.
pub struct Response {
    pub status: u16,
    /// The text for the status; empty if there is none.
    pub reason: &'static str,
    /// Names and values, the values safe to print.
    pub headers: Vec<(String, String)>,
    body: reqwest::Response,
    /// How much of the body was read.
    length: usize,
    what: String,
}

impl Response {
    /// The next part of the body, unchanged, so not safe to print to a terminal; `None` at the end.
    ///
    /// # Errors
    /// The answer broke off, took longer than its deadline, or is longer than 64 MiB.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let chunk = self.body.chunk().await;
        let chunk = chunk.map_err(|error| broken(error, format!("the answer to {} broke off", self.what)))?;
        let Some(chunk) = chunk else { return Ok(None) };
        self.length += chunk.len();
        if self.length > LIMIT {
            let limit = LIMIT / 1024 / 1024;
            return Err(Failure::from(anyhow::anyhow!(
                "the answer to {} is larger than {limit} MiB",
                self.what
            )));
        }
        Ok(Some(chunk.into()))
    }

    /// The body, or its first [`BEGINNING`] bytes or a little more.
    ///
    /// # Errors
    /// As [`Response::chunk`].
    pub async fn beginning(&mut self) -> Result<Vec<u8>, Failure> {
        let mut beginning = Vec::new();
        while beginning.len() < BEGINNING
            && let Some(chunk) = self.chunk().await?
        {
            beginning.extend_from_slice(&chunk);
        }
        Ok(beginning)
    }
}

fn broken(error: reqwest::Error, what: String) -> anyhow::Error {
    anyhow::Error::new(error.without_url()).context(what)
}

/// Sends the request. An answer with any status is a success; its body is not read yet.
pub async fn call(client: &Client, request: Request<'_>) -> Result<Response, Failure> {
    let url = target(request.url)?;
    let mut what = url.clone();
    // A query may contain a key, and the path is enough to name the call.
    what.set_query(None);
    let what = format!("{} {what}", request.method);

    let mut headers: HeaderMap = request.headers.iter().cloned().collect();
    if let Some(token) = request.token {
        let bearer = SecretString::from(format!("Bearer {}", token.expose_secret()));
        let Ok(mut bearer) = HeaderValue::from_str(bearer.expose_secret()) else {
            return Err(Failure::usage(
                "the access token has a character that no header can carry",
            ));
        };
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }

    let mut call = client.request(request.method, url).headers(headers);
    if let Some(body) = request.body {
        call = call.body(body);
    }
    let answer = call
        .send()
        .await
        .map_err(|error| broken(error, format!("no answer to {what}")))?;
    let status = answer.status();
    let shown = |value: &HeaderValue| printable(&String::from_utf8_lossy(value.as_bytes()));
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), shown(value)))
        .collect();
    Ok(Response {
        status: status.as_u16(),
        reason: status.canonical_reason().unwrap_or_default(),
        headers,
        body: answer,
        length: 0,
        what,
    })
}

fn target(text: &str) -> Result<Url, Failure> {
    let refused = |why: &str| Failure::usage(format!("{} cannot be called: {why}", printable(text)));
    let url = Url::parse(text).map_err(|error| refused(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("it is not an http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // They would be sent in `Authorization`. They are not quoted.
        return Err(Failure::usage(
            "the URL has a user name or a password; the access token is what is sent",
        ));
    }
    Ok(url)
}

/// What an answer of the gateway itself means, if its own message does not say it.
///
/// `None` for all other answers: most come from the function, which may use the same status.
pub fn explain(status: u16, body: &[u8]) -> Option<&'static str> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    // The gateway's own answers are `{"message": …}` and nothing else; those of resource policies have a capital M.
    let message = match body.as_object() {
        Some(fields) if fields.len() == 1 => fields.get("message").or_else(|| fields.get("Message")),
        _ => None,
    };
    let says = |text: &str| {
        message
            .and_then(Value::as_str)
            .is_some_and(|message| message.contains(text))
    };
    match status {
        401 if says("expired") => Some("the access token has expired: get a new one with `provision token`"),
        401 if says("Unauthorized") => Some(
            "the gateway refused the token: it is of another user pool, or has none of the scopes that this route asks for",
        ),
        403 if says("Missing Authentication Token") || says("Authorization header requires") => Some(
            "the path and method are not deployed, which has nothing to do with the token: compare them with the routes in provision.toml, then run `provision up`",
        ),
        403 if says("not authorized to access") || says("Forbidden") => {
            Some("a resource policy or a firewall refused the call; the token was not the reason")
        }
        413 => Some("API Gateway takes at most 10 MB, and Lambda 6 MB of them"),
        429 => Some("too many requests: wait a little, or raise the limits of the stage or the account"),
        500 if message.is_some_and(Value::is_null) => Some(
            "the authorizer could not check the token: `provision status` shows whether the user pool is still there",
        ),
        500 if says("Internal server error") => Some(
            "the gateway could not invoke the function: it is gone, or the permission to invoke it is; `provision status` shows which",
        ),
        502 => Some(
            "the function failed, or answered something else than `{\"statusCode\": …, \"body\": \"…\"}`: `provision logs` shows what it wrote",
        ),
        504 => Some(
            "the function took longer than the 29 s that the gateway waits: `provision logs` shows how far it came",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{any, body_bytes, header, method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::oauth::http_client;

    const TOKEN: &str = "aa.bb.cc";

    async fn send(
        url: &str,
        token: &str,
        headers: &[&str],
        body: Option<&[u8]>,
    ) -> Result<Response, Failure> {
        let header = |text: &&str| {
            let (name, value) = text.split_once(':').unwrap();
            let value = value.trim().parse::<HeaderValue>().unwrap();
            (name.parse::<HeaderName>().unwrap(), value)
        };
        let headers: Vec<_> = headers.iter().map(header).collect();
        let request = Request {
            method: if body.is_some() { Method::POST } else { Method::GET },
            url,
            token: Some(&SecretString::from(token)),
            headers: &headers,
            body: body.map(<[u8]>::to_vec),
        };
        call(&http_client(url).unwrap(), request).await
    }

    /// The failure's exit code and its whole chain.
    fn failure<T>(result: Result<T, Failure>) -> (u8, String) {
        let failure = result.err().expect("a failure");
        (
            failure.kind.exit_code(),
            format!("{:#}", failure.error.expect("a message")),
        )
    }

    #[tokio::test]
    async fn the_call_carries_the_token_the_headers_and_the_body() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/v1/user"))
            .and(query_param("q", "a b"))
            .and(header("authorization", "Bearer aa.bb.cc"))
            .and(header("content-type", "text/plain"))
            .and(|request: &wiremock::Request| {
                request.headers.get_all("x-many").iter().eq(["1", "2: 3"])
                    && request.headers.get_all("authorization").iter().count() == 1
            })
            .and(body_bytes(b"\0body"))
            .respond_with(
                ResponseTemplate::new(201)
                    .insert_header("x-shown", b"a\xc2\x9bb".as_slice())
                    .set_body_bytes(b"\xffdone".as_slice()),
            )
            .mount(&server)
            .await;
        let url = format!("{}/v1/user?q=a%20b", server.uri());
        let headers = ["Content-Type: text/plain", "X-Many:1", "x-many: 2: 3 "];
        let mut response = send(&url, TOKEN, &headers, Some(b"\0body")).await.unwrap();
        assert_eq!((response.status, response.reason), (201, "Created"));
        assert_eq!(response.beginning().await.unwrap(), b"\xffdone");
        assert!(
            response
                .headers
                .contains(&("x-shown".to_owned(), "a\\u{9b}b".to_owned())),
            "{:?}",
            response.headers
        );
    }

    #[tokio::test]
    async fn an_error_and_a_redirect_are_answers() {
        for status in [307, 403, 502] {
            let server = MockServer::start().await;
            let answer = ResponseTemplate::new(status).insert_header("location", "/again");
            Mock::given(any())
                .respond_with(answer)
                .expect(1)
                .mount(&server)
                .await;
            assert_eq!(
                send(&server.uri(), TOKEN, &[], None).await.unwrap().status,
                status
            );
        }
    }

    #[tokio::test]
    async fn no_answer_is_a_failure_that_names_the_call_only() {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let url = format!("http://127.0.0.1:{port}/v1/user");
        let (code, message) =
            failure(send(&format!("{url}?key=hidden"), TOKEN, &["x-key: hidden"], None).await);
        assert_eq!(code, 1);
        assert!(
            message.starts_with(&format!("no answer to GET {url}: ")),
            "{message}"
        );
        assert!(
            !message.contains("hidden") && !message.contains(TOKEN),
            "{message}"
        );
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_called_is_a_usage_error() {
        for (url, message) in [
            ("/user", "/user cannot be called: relative URL without a base"),
            (
                "ftp://example.test/",
                "ftp://example.test/ cannot be called: it is not an http or https URL",
            ),
            (
                "http://me:hidden@127.0.0.1/",
                "the URL has a user name or a password; the access token is what is sent",
            ),
        ] {
            assert_eq!(
                failure(send(url, TOKEN, &[], None).await),
                (2, message.to_owned())
            );
        }
    }

    #[tokio::test]
    async fn a_token_that_is_none_is_refused_without_quoting_it() {
        let (code, message) = failure(send("http://127.0.0.1:1/", "zzz\nX-Injected: zzz", &[], None).await);
        assert_eq!(code, 2);
        assert!(!message.contains("zzz"), "{message}");
    }

    #[test]
    fn the_gateways_own_answers_are_explained() {
        for (status, body, word) in [
            (401, r#"{"message":"Unauthorized"}"#, "scopes"),
            (401, r#"{"message":"The incoming token has expired"}"#, "expired"),
            (403, r#"{"message":"Missing Authentication Token"}"#, "deployed"),
            (
                403,
                r#"{"message":"Authorization header requires 'Credential' parameter."}"#,
                "deployed",
            ),
            (
                403,
                r#"{"Message":"User: anonymous is not authorized to access this resource"}"#,
                "policy",
            ),
            (403, r#"{"message":"Forbidden"}"#, "firewall"),
            (413, "", "10 MB"),
            (429, r#"{"message":"Too Many Requests"}"#, "too many"),
            (500, r#"{"message":null}"#, "authorizer"),
            (500, r#"{"message":"Internal server error"}"#, "permission"),
            (502, r#"{"message":"Internal server error"}"#, "statusCode"),
            (504, r#"{"message":"Endpoint request timed out"}"#, "29 s"),
        ] {
            let hint = explain(status, body.as_bytes());
            assert!(
                hint.is_some_and(|hint| hint.contains(word)),
                "{status} {body}: {hint:?}"
            );
        }
    }

    #[test]
    fn the_functions_own_answers_are_not() {
        for (status, body) in [
            (200, r#"{"message":"Unauthorized"}"#),
            (400, r#"{"message":"Unauthorized"}"#),
            (401, "no"),
            (403, r#"{"message":"only for admins"}"#),
            (403, r#"{"message":"Forbidden","code":7}"#),
            (404, ""),
            (500, r#"{"error":"database"}"#),
            (500, "\u{fffd}"),
        ] {
            assert_eq!(explain(status, body.as_bytes()), None, "{status} {body}");
        }
    }
}
