use std::cell::Cell;

use wiremock::matchers::{header_exists, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::oauth::http_client;

fn planned_probe(check: Check, verb: &str) -> Planned<'_> {
    Planned {
        check,
        route: format!("{verb} /user"),
        verb,
        path: "/user".to_owned(),
        client: None,
        token: None,
    }
}

#[test]
fn only_the_gateways_own_words_are_a_refusal() {
    let unauthorized = r#"{"message":"Unauthorized"}"#;
    let missing = r#"{"message":"Missing Authentication Token"}"#;
    let right = |got: &str| Answer::Right(got.to_owned());
    let wrong = |got: &str| Answer::Wrong(got.to_owned());
    let admitted = |got: &str| Answer::Admitted(got.to_owned());
    for (check, verb, status, body, expected) in [
        (
            Check::NoToken,
            "GET",
            401,
            unauthorized,
            right("401 Unauthorized"),
        ),
        (
            Check::ForeignToken,
            "POST",
            401,
            unauthorized,
            right("401 Unauthorized"),
        ),
        (
            Check::NoRoute,
            "GET",
            403,
            missing,
            right("403 Missing Authentication Token"),
        ),
        (Check::RightToken, "GET", 404, "{}", right("404")),
        // The function's own words.
        (Check::RightToken, "GET", 500, "{}", right("500")),
        (
            Check::RightToken,
            "GET",
            503,
            r#"{"message":"busy","code":1}"#,
            right("503"),
        ),
        (
            Check::RightToken,
            "GET",
            404,
            r#"{"message":"none"}"#,
            right("404 none"),
        ),
        // The gateway's.
        (
            Check::RightToken,
            "GET",
            500,
            r#"{"message": "Internal server error"}"#,
            wrong("500 Internal server error"),
        ),
        (
            Check::RightToken,
            "GET",
            502,
            r#"{"message": "Internal server error"}"#,
            wrong("502 Internal server error"),
        ),
        (
            Check::RightToken,
            "GET",
            504,
            r#"{"message": "Endpoint request timed out"}"#,
            wrong("504 Endpoint request timed out"),
        ),
        (
            Check::RightToken,
            "GET",
            429,
            r#"{"message":"Too Many Requests"}"#,
            wrong("429 Too Many Requests"),
        ),
        (
            Check::RightToken,
            "GET",
            403,
            r#"{"message":"Forbidden"}"#,
            wrong("403 Forbidden"),
        ),
        (
            Check::RightToken,
            "GET",
            401,
            unauthorized,
            wrong("401 Unauthorized"),
        ),
        (
            Check::RightToken,
            "GET",
            403,
            missing,
            wrong("403 Missing Authentication Token"),
        ),
        // The function's own 401, which says that it was asked.
        (Check::NoToken, "GET", 401, "no", admitted("401")),
        (
            Check::NoToken,
            "GET",
            401,
            r#"{"message":"Unauthorized","code":1}"#,
            admitted("401"),
        ),
        (Check::NoToken, "GET", 200, "{}", admitted("200")),
        (
            Check::NoToken,
            "GET",
            502,
            r#"{"message":"Internal server error"}"#,
            admitted("502 Internal server error"),
        ),
        (Check::NoRoute, "GET", 200, "{}", admitted("200")),
        (
            Check::NoRoute,
            "GET",
            401,
            unauthorized,
            wrong("401 Unauthorized"),
        ),
        // Not deployed yet, throttled, an expired token.
        (
            Check::NoToken,
            "GET",
            403,
            missing,
            wrong("403 Missing Authentication Token"),
        ),
        (
            Check::NoToken,
            "GET",
            429,
            r#"{"message":"Too Many Requests"}"#,
            wrong("429 Too Many Requests"),
        ),
        (
            Check::ForeignToken,
            "GET",
            401,
            r#"{"message":"The incoming token has expired"}"#,
            wrong("401 The incoming token has expired"),
        ),
        (Check::NoToken, "HEAD", 401, "", right("401")),
        (Check::NoToken, "HEAD", 200, "", admitted("200")),
    ] {
        let judged = planned_probe(check, verb).judge(status, body.as_bytes());
        assert_eq!(judged, expected, "{check:?} {verb} {status} {body}");
    }
}

#[test]
fn the_gateways_own_errors_have_a_likely_cause() {
    for (got, cause) in [
        ("500 Internal server error", Some("permission to invoke it")),
        ("502 Internal server error", Some("the function fails")),
        (
            "504 Endpoint request timed out",
            Some("longer than API Gateway waits"),
        ),
        ("429 Limit Exceeded", Some("throttle")),
        ("403 Forbidden", Some("an API key")),
        ("403 Missing Authentication Token", Some("not deployed")),
        ("401 Unauthorized", None),
        ("500", None),
        ("200", None),
    ] {
        let found = likely(got);
        assert_eq!(found.is_some(), cause.is_some(), "{got}");
        assert!(
            found.unwrap_or_default().contains(cause.unwrap_or_default()),
            "{got}"
        );
    }
}

/// The attempts until the last answer, and the seconds that they took.
async fn asked(answers: &[Answer]) -> (Answer, usize, u64) {
    let start = Instant::now();
    let attempts = Cell::new(0);
    let patience = Patience {
        refused: Duration::from_mins(1),
        admitted: Duration::from_secs(10),
    };
    let attempt = async || {
        let attempt = attempts.replace(attempts.get() + 1);
        answers[attempt.min(answers.len() - 1)].clone()
    };
    let last = planned_probe(Check::NoToken, "GET")
        .until_right(patience, start, &|_| {}, attempt)
        .await;
    (last, attempts.get(), start.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_wrong_answer_is_asked_for_again_for_as_long_as_its_kind_may_last() {
    let right = Answer::Right("401 Unauthorized".to_owned());
    let wrong = Answer::Wrong("403 Forbidden".to_owned());
    let open = Answer::Admitted("200".to_owned());
    assert_eq!(asked(std::slice::from_ref(&right)).await, (right.clone(), 1, 0));
    assert_eq!(
        asked(&[wrong.clone(), wrong.clone(), right.clone()]).await,
        (right.clone(), 3, 3)
    );
    assert_eq!(asked(&[open.clone(), right.clone()]).await, (right, 2, 1));
    // 1 + 2 + 3 + 4 + 5 × 10 s, and 1 + 2 + 3 + 4 s: the last attempt is at the deadline.
    assert_eq!(asked(std::slice::from_ref(&wrong)).await, (wrong, 15, 60));
    assert_eq!(asked(std::slice::from_ref(&open)).await, (open, 5, 10));
}

/// A method that was open is closed, and AWS still serves the earlier deployment.
#[tokio::test(start_paused = true)]
async fn a_route_that_the_earlier_deployment_leaves_open_is_asked_again_and_one_that_stays_open_is_told() {
    for (closes, expected, seconds) in [(115, "401 Unauthorized", 115), (u64::MAX, "200", 180)] {
        let patience = Patience {
            refused: MOVED_DEADLINE,
            admitted: MOVED_DEADLINE,
        };
        let start = Instant::now();
        let attempt = async || {
            if start.elapsed().as_secs() < closes {
                Answer::Admitted("200".to_owned())
            } else {
                Answer::Right("401 Unauthorized".to_owned())
            }
        };
        let last = planned_probe(Check::NoToken, "GET")
            .until_right(patience, start, &|_| {}, attempt)
            .await;
        let (Answer::Right(got) | Answer::Admitted(got) | Answer::Wrong(got)) = last;
        assert_eq!((got.as_str(), start.elapsed().as_secs()), (expected, seconds));
    }
}

/// 12 routes, 5 clients and the stage gone: 60 probes with a token, in rounds of 32.
#[tokio::test(start_paused = true)]
async fn the_deadline_is_one_for_all_probes() {
    let patience = Patience {
        refused: Duration::from_mins(1),
        admitted: Duration::from_secs(10),
    };
    // As `verify` does it; answers that are wrong at once, and ones that never come.
    for (answers, asked, seconds) in [(true, 60, 60), (false, 32, 70)] {
        let start = Instant::now();
        let attempts = Cell::new(0);
        let running = (0..60).map(async |_| {
            let begun = Cell::new(false);
            let attempt = async || {
                attempts.set(attempts.get() + usize::from(!begun.replace(true)));
                if !answers {
                    std::future::pending::<()>().await;
                }
                Answer::Wrong("403 Forbidden".to_owned())
            };
            planned_probe(Check::RightToken, "GET")
                .until_right(patience, start, &|_| {}, attempt)
                .await
        });
        let answers: Vec<Answer> = futures_util::stream::iter(running)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Wrong(_))));
        assert_eq!((attempts.get(), start.elapsed().as_secs()), (asked, seconds));
    }
}

#[tokio::test]
async fn every_route_is_requested_by_all_who_must_not_get_in() {
    let server = MockServer::start().await;
    let answer = |status, message: &str| {
        ResponseTemplate::new(status).set_body_json(serde_json::json!({ "message": message }))
    };
    // Open to whoever has any token at all.
    Mock::given(method("POST"))
        .and(path("/orders"))
        .and(header_exists("authorization"))
        .respond_with(ResponseTemplate::new(201))
        .mount(&server)
        .await;
    for route in ["/orders", "/orders/provision-verify"] {
        Mock::given(path(route))
            .respond_with(answer(401, "Unauthorized"))
            .mount(&server)
            .await;
    }
    Mock::given(path("/provision-verify"))
        .respond_with(answer(403, "Missing Authentication Token"))
        .mount(&server)
        .await;
    // Its function is gone.
    Mock::given(path("/gone"))
        .and(header_exists("authorization"))
        .respond_with(answer(500, "Internal server error"))
        .mount(&server)
        .await;
    Mock::given(path("/gone"))
        .respond_with(answer(401, "Unauthorized"))
        .mount(&server)
        .await;
    let scopes = |scopes: &[&str]| scopes.iter().map(|&scope| scope.to_owned()).collect();
    let route = |verb: &str, path: &str, needs: &[&str]| Route {
        verb: verb.to_owned(),
        path: path.to_owned(),
        scopes: scopes(needs),
        is_backend: false,
    };
    let client = |has: &[&str]| Client {
        client_id: "c".to_owned(),
        scopes: scopes(has),
        access_token_seconds: 3600,
    };
    let stage = Stage {
        api_url: server.uri(),
        issuer: "https://issuer".to_owned(),
        jwks_url: format!("{}/jwks", server.uri()),
        routes: vec![
            route("POST", "/orders", &["o/write"]),
            route("ANY", "/orders/{id}", &["o/read", "o/write"]),
            route("GET", "/gone", &["o/read", "p/read"]),
        ],
        clients: [
            ("reader".to_owned(), client(&["o/read"])),
            ("stranger".to_owned(), client(&["p/read"])),
        ]
        .into(),
    };
    let tokens: Tokens = [
        ("reader".to_owned(), Ok("aa.bb.cc".to_owned().into())),
        ("stranger".to_owned(), Err("refused".to_owned())),
    ]
    .into();
    let none = Patience {
        refused: Duration::ZERO,
        admitted: Duration::ZERO,
    };
    let http = http_client(&server.uri()).unwrap();
    let probes = verify(&http, &stage, async { tokens }, true, none, &|_| {}, &|_, _| {}).await;
    let lines: Vec<String> = probes
        .iter()
        .map(|probe| {
            let who = probe.client.as_deref().unwrap_or("-");
            let route = probe.route.as_deref().unwrap_or("-");
            format!("{:?} {route} {who} {} {}", probe.check, probe.got, probe.ok)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "Token - reader a token that cannot be checked: the issuer's keys at URL/jwks: status 404 false"
                .replace("URL", &server.uri()),
            "Token - stranger no token: refused false".to_owned(),
            "NoToken POST /orders - 401 Unauthorized true".to_owned(),
            "ForeignToken POST /orders reader 201 false".to_owned(),
            "ForeignToken POST /orders stranger nothing, because there is no token false".to_owned(),
            "NoToken ANY /orders/{id} - 401 Unauthorized true".to_owned(),
            "ForeignToken ANY /orders/{id} stranger nothing, because there is no token false".to_owned(),
            "NoToken GET /gone - 401 Unauthorized true".to_owned(),
            "RightToken GET /gone reader 500 Internal server error false".to_owned(),
            "RightToken GET /gone stranger nothing, because there is no token false".to_owned(),
            "NoRoute GET /provision-verify - 403 Missing Authentication Token true".to_owned(),
        ]
    );
    let likely: Vec<_> = probes.iter().filter_map(|probe| probe.likely).collect();
    assert_eq!(
        likely,
        ["the function, or the API's permission to invoke it, is gone"]
    );
    let printed = format!("{probes:?}{}", serde_json::to_string(&probes).unwrap());
    assert!(!printed.contains("aa.bb.cc"));
}

#[tokio::test]
async fn where_a_secret_cannot_be_read_a_token_that_nobody_signed_is_tried_instead() {
    let server = MockServer::start().await;
    let answer = |status: u16, message: &str| {
        ResponseTemplate::new(status).set_body_json(serde_json::json!({ "message": message }))
    };
    // Lets in whoever has any token.
    Mock::given(path("/open"))
        .and(header_exists("authorization"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    Mock::given(path("/provision-verify"))
        .respond_with(answer(403, "Missing Authentication Token"))
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .respond_with(answer(401, "Unauthorized"))
        .mount(&server)
        .await;
    let route = |path: &str| Route {
        verb: "GET".to_owned(),
        path: path.to_owned(),
        scopes: ["o/read".to_owned()].into(),
        is_backend: false,
    };
    let client = || Client {
        client_id: "c".to_owned(),
        scopes: ["p/read".to_owned()].into(),
        access_token_seconds: 3600,
    };
    let stage = Stage {
        api_url: server.uri(),
        issuer: "https://issuer".to_owned(),
        jwks_url: format!("{}/jwks", server.uri()),
        routes: vec![route("/orders"), route("/open")],
        clients: [("known".to_owned(), client()), ("untold".to_owned(), client())].into(),
    };
    let tokens: Tokens = [("known".to_owned(), Err("refused".to_owned()))].into();
    let none = Patience {
        refused: Duration::ZERO,
        admitted: Duration::ZERO,
    };
    let http = http_client(&server.uri()).unwrap();
    let probes = verify(&http, &stage, async { tokens }, true, none, &|_| {}, &|_, _| {}).await;
    let lines: Vec<String> = (probes.iter())
        .map(|probe| {
            let who = probe.client.as_deref().unwrap_or("-");
            let route = probe.route.as_deref().unwrap_or("-");
            format!("{:?} {route} {who} {} {}", probe.check, probe.got, probe.ok)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "Token - known no token: refused false",
            "NoToken GET /orders - 401 Unauthorized true",
            "WrongToken GET /orders - 401 Unauthorized true",
            "ForeignToken GET /orders known nothing, because there is no token false",
            "NoToken GET /open - 401 Unauthorized true",
            "WrongToken GET /open - 200 false",
            "ForeignToken GET /open known nothing, because there is no token false",
            "NoRoute GET /provision-verify - 403 Missing Authentication Token true",
        ]
    );
}
