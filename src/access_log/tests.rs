use serde_json::{Value, json};

use super::*;

/// The line of a request, with these values in place of those of a success.
fn line(other: &Value) -> String {
    let mut line = json!({
        "id": "fKVfGHXMoAMFz6w=", "time": "1795426898456", "ip": "192.0.2.7", "client": "3n4b5urk1ft4fl3mg5e62d9ado",
        "method": "GET", "route": "/orders/{id}", "status": "200", "latency": "31", "backend_status": "200",
        "backend_latency": "28", "auth_error": "-", "error": "-", "waf": "-",
    });
    for (name, value) in other.as_object().unwrap() {
        line[name] = value.clone();
    }
    line.to_string()
}

fn request(other: &Value) -> Request {
    Request::read(&line(other)).unwrap()
}

#[test]
fn the_form_is_one_line_that_has_the_id_which_api_gateway_asks_for_and_nothing_that_callers_choose_freely() {
    assert!(!FORMAT.contains(['\n', '\r']) && FORMAT.len() < 3000);
    assert!(FORMAT.contains("$context.extendedRequestId"));
    for free in [
        "requestId",
        "userAgent",
        "$context.path",
        "header",
        "messageString",
        "claims.sub",
    ] {
        assert!(!FORMAT.contains(free), "{free}");
    }
    // Every variable is a string, so that an absent value is valid JSON.
    let form: Value = serde_json::from_str(FORMAT).unwrap();
    let fields = form.as_object().unwrap();
    assert!(
        fields
            .values()
            .all(|value| value.as_str().unwrap().starts_with("$context."))
    );
    let absent = FORMAT
        .split('"')
        .map(|part| if part.starts_with('$') { "-" } else { part });
    let absent: Vec<&str> = absent.collect();
    assert!(Request::read(&absent.join("\"")).is_some());
}

#[test]
fn a_line_says_who_called_what_and_why_it_was_refused() {
    assert_eq!(
        request(&json!({})),
        Request {
            id: "fKVfGHXMoAMFz6w=".to_owned(),
            time: Some(1_795_426_898_456),
            ip: "192.0.2.7".to_owned(),
            client_id: Some("3n4b5urk1ft4fl3mg5e62d9ado".to_owned()),
            method: "GET".to_owned(),
            route: Some("/orders/{id}".to_owned()),
            status: Some(200),
            latency_ms: Some(31),
            backend_status: Some(200),
            backend_latency_ms: Some(28),
            reason: None,
            firewall: None,
        }
    );
    let refused = request(&json!({
        "client": "-", "status": "401", "latency": "3", "backend_status": "-", "backend_latency": "-",
        "error": "UNAUTHORIZED", "auth_error": "The incoming token has expired", "waf": "WAF_ALLOW",
    }));
    assert_eq!((refused.client_id, refused.backend_status), (None, None));
    assert_eq!(
        refused.reason.unwrap(),
        "UNAUTHORIZED: The incoming token has expired"
    );
    assert_eq!(refused.firewall.unwrap(), "WAF_ALLOW");
    for (error, why, reason) in [
        ("-", "-", None),
        ("THROTTLED", "-", Some("THROTTLED")),
        ("-", "x", Some("x")),
    ] {
        let request = request(&json!({"error": error, "auth_error": why}));
        assert_eq!(request.reason.as_deref(), reason);
    }
}

#[test]
fn what_is_not_such_a_line_is_not_read_as_one() {
    let twice = line(&json!({})).replacen('{', r#"{"client":"forged","#, 1);
    for text in ["", "{}", "null", "[]", "plain text", r#"{"id":"a"}"#, &twice] {
        assert_eq!(Request::read(text), None, "{text}");
    }
    let numbers = request(&json!({"status": "x", "latency": "-1", "time": "now"}));
    assert_eq!(
        (numbers.status, numbers.latency_ms, numbers.time),
        (None, None, None)
    );
}

#[test]
fn a_filter_takes_what_has_all_that_it_asks_for() {
    let of = |status: &str, client: &str| request(&json!({"status": status, "client": client}));
    let filter = Filter {
        client_id: Some("a".to_owned()),
        status: Some((400, 499)),
    };
    for (status, client, takes) in [
        ("400", "a", true),
        ("499", "a", true),
        ("399", "a", false),
        ("500", "a", false),
        ("401", "b", false),
        ("401", "-", false),
        ("-", "a", false),
    ] {
        assert_eq!(filter.takes(&of(status, client)), takes, "{status} {client}");
        assert!(Filter::default().takes(&of(status, client)));
    }
}

#[test]
fn sums_have_the_names_of_clients_and_the_latencies_of_each_route() {
    let clients = Clients([("a".to_owned(), "app".to_owned())].into());
    let mut stats = Stats::default();
    for latency in 1..=100 {
        let status = match latency {
            1..=3 => "403",
            4 => "502",
            _ => "200",
        };
        stats.add(
            &request(&json!({"client": "a", "latency": latency.to_string(), "status": status})),
            &clients,
        );
    }
    stats.add(&request(&json!({"client": "b", "method": "POST"})), &clients);
    stats.add(
        &request(&json!({"client": "-", "route": "-", "status": "403", "latency": "-"})),
        &clients,
    );
    let row = |client: &str, route: &str, figures: [u64; 3], latencies: Option<(u32, u32)>| Row {
        client: client.to_owned(),
        route: route.to_owned(),
        requests: figures[0],
        refused: figures[1],
        failed: figures[2],
        p50_ms: latencies.map(|(half, _)| half),
        p95_ms: latencies.map(|(_, most)| most),
    };
    assert_eq!(
        stats.rows(),
        [
            row("-", "GET -", [1, 1, 0], None),
            row("app", "GET /orders/{id}", [100, 3, 1], Some((50, 95))),
            row("b", "POST /orders/{id}", [1, 0, 0], Some((31, 31))),
        ]
    );
}

#[test]
fn a_percentile_is_one_of_the_values() {
    for (values, half, most) in [
        (&[][..], None, None),
        (&[7], Some(7), Some(7)),
        (&[1, 2], Some(1), Some(2)),
        (&[1, 2, 3], Some(2), Some(3)),
    ] {
        assert_eq!(
            (percentile(values, 50), percentile(values, 95)),
            (half, most),
            "{values:?}"
        );
    }
    let many: Vec<u32> = (1..=1000).collect();
    assert_eq!(
        (percentile(&many, 50), percentile(&many, 95)),
        (Some(500), Some(950))
    );
}
