//! One call of the API with a bearer token.
//!
//! Must not print the token, nor put it into an error.

use anyhow::Context;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Failure, Hint};

/// What to send.
pub struct Request<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// Where to.
    pub url: &'a str,
    /// The access token.
    pub token: &'a SecretString,
    /// More headers.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// The body.
    pub body: Option<Vec<u8>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The status in words.
    pub reason: &'static str,
    /// In the order in which they came; what is not text is shown as far as it is.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: Vec<u8>,
}

/// `Name: value`, as it is typed.
///
/// # Errors
/// It has no colon, or is no header, or is `Authorization`, which the access token goes into.
pub fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let (name, value) = text.split_once(':').ok_or_else(|| {
        Failure::usage(format!("{text:?} is no header")).hinted("such as -H 'Accept: text/plain'")
    })?;
    let refused = || Failure::usage(format!("{:?} is no header", name.trim()));
    let name: HeaderName = name.trim().parse().map_err(|_| refused())?;
    let value: HeaderValue = value.trim().parse().map_err(|_| refused())?;
    if name == AUTHORIZATION {
        return Err(Failure::usage(
            "the header Authorization carries the access token",
        ))
        .hint("choose a token with --client and --scope");
    }
    Ok((name, value))
}

/// Calls. Any status is an answer.
///
/// # Errors
/// The method or URL is none, or no answer came.
pub async fn call(http: &Client, request: Request<'_>) -> Result<Response, Failure> {
    let method: Method = request
        .method
        .to_uppercase()
        .parse()
        .map_err(|_| Failure::usage(format!("{:?} is no HTTP method", request.method)))?;
    let mut headers: HeaderMap = request.headers.iter().cloned().collect();
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", request.token.expose_secret()))
        .ok()
        .context("the access token does not fit into a header")?;
    bearer.set_sensitive(true);
    headers.insert(AUTHORIZATION, bearer);
    let mut call = http.request(method, request.url).headers(headers);
    if let Some(body) = request.body {
        call = call.body(body);
    }
    let answer = call.send().await.context("the API did not answer")?;
    let status = answer.status();
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    let body = answer
        .bytes()
        .await
        .context("the API's answer was cut off")?
        .to_vec();
    Ok(Response {
        status: status.as_u16(),
        reason: status.canonical_reason().unwrap_or_default(),
        headers,
        body,
    })
}

/// What an API Gateway's answer means that its words do not say.
pub fn explain(status: u16, body: &[u8]) -> Option<&'static str> {
    let says = |text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
    match status {
        401 if says("expired") => Some("the token has expired"),
        401 => Some("the token has none of the route's scopes, or is of another pool: try another --scope"),
        403 if says("Missing Authentication Token") => Some(
            "there is no such method and path on the stage, or a stage made a moment ago is not everywhere yet",
        ),
        403 => Some("a resource policy or a web ACL denies it"),
        429 => Some("the API is throttled: try again later"),
        500 => {
            Some("API Gateway may not invoke the function, or the authorizer failed: see `provision status`")
        }
        502 => Some(
            "the function failed or answered in a shape that API Gateway does not know: see `provision logs`",
        ),
        504 => Some("the function took longer than API Gateway waits: see `provision logs`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{body_string, header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::oauth::http_client;

    #[tokio::test]
    async fn token_headers_and_body_arrive_and_the_answer_comes_back_as_it_is() {
        let server = MockServer::start().await;
        Mock::given(method("PUT"))
            .and(path("/user"))
            .and(header("authorization", "Bearer t0ken"))
            .and(header("x-a", "b: c"))
            .and(body_string("data"))
            .respond_with(
                ResponseTemplate::new(418)
                    .insert_header("x-z", "1")
                    .set_body_bytes([0xff, 0]),
            )
            .expect(1)
            .mount(&server)
            .await;
        let request = Request {
            method: "put",
            url: &format!("{}/user", server.uri()),
            token: &"t0ken".into(),
            headers: &[parse_header("X-A: b: c").unwrap()],
            body: Some(b"data".to_vec()),
        };
        let response = call(&http_client().unwrap(), request).await.unwrap();
        assert_eq!((response.status, response.reason), (418, "I'm a teapot"));
        assert_eq!(response.body, [0xff, 0]);
        assert!(response.headers.contains(&("x-z".to_owned(), "1".to_owned())));
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_not_followed_with_the_token() {
        let server = MockServer::start().await;
        let elsewhere = ResponseTemplate::new(302).insert_header("location", "/elsewhere");
        Mock::given(path("/user"))
            .respond_with(elsewhere)
            .mount(&server)
            .await;
        Mock::given(path("/elsewhere"))
            .respond_with(ResponseTemplate::new(200))
            .expect(0)
            .mount(&server)
            .await;
        let request = Request {
            method: "GET",
            url: &format!("{}/user", server.uri()),
            token: &"t0ken".into(),
            headers: &[],
            body: None,
        };
        assert_eq!(call(&http_client().unwrap(), request).await.unwrap().status, 302);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for text in ["none", "a b: c", ": x", "x: a\nb", "authorization: Bearer x"] {
            assert_eq!(parse_header(text).unwrap_err().kind.exit_code(), 2, "{text}");
        }
    }

    #[test]
    fn an_answer_that_misleads_is_explained() {
        assert!(
            explain(403, br#"{"message":"Missing Authentication Token"}"#)
                .unwrap()
                .contains("no such method")
        );
        assert!(
            explain(403, br#"{"message":"Forbidden"}"#)
                .unwrap()
                .contains("policy")
        );
        assert!(
            explain(401, br#"{"message":"The incoming token has expired"}"#)
                .unwrap()
                .contains("expired")
        );
        assert!(
            explain(401, br#"{"message":"Unauthorized"}"#)
                .unwrap()
                .contains("scope")
        );
        assert_eq!(explain(404, b""), None);
    }
}
