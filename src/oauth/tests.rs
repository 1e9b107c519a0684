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
    assert_eq!(token.expires_in, 3600);
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
        json!({ "access_token": "aa.bb.cc", "token_type": "mac", "expires_in": 1 }),
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
        told.borrow()[0].contains("its host name does not resolve"),
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

/// Set in the process that has no certificates.
const BARE: &str = "PROVISION_TEST_BARE";

#[test]
fn without_certificates_there_is_a_client_for_what_needs_none_and_no_other() {
    if std::env::var_os(BARE).is_some() {
        http_client("http://127.0.0.1:1").unwrap();
        let error = http_client("https://127.0.0.1:1").unwrap_err();
        assert_eq!(error.to_string(), NO_CERTIFICATES);
        return;
    }
    let this = "oauth::tests::without_certificates_there_is_a_client_for_what_needs_none_and_no_other";
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args([this, "--exact"])
        .env(BARE, "yes")
        .envs([
            ("SSL_CERT_FILE", "/nonexistent"),
            ("SSL_CERT_DIR", "/nonexistent"),
        ])
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
}
