use std::fmt::Write as _;

use roxmltree::{Document, Node};

use super::*;
use crate::config::Chosen;
use crate::svg::wide;

fn graph(text: &str) -> Graph {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir(folder.path().join("lambda")).unwrap();
    fs_err::write(folder.path().join("lambda/index.mjs"), "").unwrap();
    let chosen = Chosen {
        stack: None,
        env: None,
    };
    Graph::of(&Config::read_as(text, folder.path(), chosen).unwrap()).unwrap()
}

const EVERYTHING: &str = r#"
[stack]
name = "orders"
region = "eu-west-1"

[user_pool.domain]
name = "auth.example.com"
certificate = "arn:aws:acm:us-east-1:123456789012:certificate/a"

[resource_servers.orders.scopes]
read = "Read"
write = "Write"

[clients.billing]
scopes = ["orders/read"]

[clients.shop]
scopes = ["orders/read", "orders/write"]

[clients.idle]
scopes = ["orders/write"]

[functions.orders]
source = "lambda"
runtime = "nodejs22.x"
handler = "index.handler"
managed_policies = ["arn:aws:iam::aws:policy/AWSXRayDaemonWriteAccess"]

[backends.stock]
url = "https://stock.example.com"

[backends.prices]
lambda = "arn:aws:lambda:eu-west-1:123456789012:function:prices"

[api]
firewall = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/a/b"

[api.access_logs]
retention_days = 90

[api.domain]
name = "api.example.com"
certificate = "arn:aws:acm:eu-west-1:123456789012:certificate/a"

[routes]
"GET /orders" = { function = "orders", scopes = ["orders/read"] }
"GET /stock" = { backend = "stock", scopes = ["orders/read"] }
"GET /prices" = { backend = "prices", scopes = ["orders/write"] }
"#;

/// As many clients and routes as asked for, on one path each, with scopes in between.
fn large(clients: usize, routes: usize) -> String {
    let mut text = "[stack]\nname = \"large\"\n[resource_servers.things.scopes]\n".to_owned();
    for scope in 0..10 {
        writeln!(text, "s{scope} = \"S\"").unwrap();
    }
    for client in 0..clients {
        writeln!(
            text,
            "[clients.a-client-with-a-rather-long-name-{client}]\nscopes = [\"things/s{}\", \"things/s{}\"]",
            client % 10,
            client * 7 % 10
        )
        .unwrap();
    }
    for function in 0..4 {
        writeln!(text, "[functions.f{function}]\nsource = \"lambda\"\nruntime = \"nodejs22.x\"\nhandler = \"index.handler\"").unwrap();
    }
    text.push_str("[routes]\n");
    for route in 0..routes {
        writeln!(
            text,
            "\"GET /a/path/with/a/rather/long/name/{route}\" = {{ function = \"f{}\", scopes = [\"things/s{}\"] }}",
            route % 4,
            route % 10
        )
        .unwrap();
    }
    text
}

fn number(node: &Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).unwrap().parse().unwrap()
}

/// The points of a path of `M`, `C` and `H`.
fn points(path: &str) -> Vec<(f64, f64)> {
    let numbers = |text: &str| -> Vec<f64> {
        text.split([' ', 'M', 'C', 'H'])
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    let steps = (0..=50).map(|step| f64::from(step) / 50.0);
    match numbers(path)[..] {
        [x, y, to] => steps.map(|t| (x + (to - x) * t, y)).collect(),
        [x, y, bend, _, _, _, end, across] => steps
            .map(|t| {
                let at = |of: [f64; 4]| {
                    let parts = [
                        (1.0 - t).powi(3),
                        3.0 * t * (1.0 - t).powi(2),
                        3.0 * t * t * (1.0 - t),
                        t.powi(3),
                    ];
                    of.iter().zip(parts).map(|(of, part)| of * part).sum()
                };
                (at([x, bend, bend, end]), at([y, y, across, across]))
            })
            .collect(),
        _ => panic!("{path}"),
    }
}

#[test]
fn who_may_call_what_follows_from_shared_scopes() {
    let graph = graph(EVERYTHING);
    let route = graph
        .routes
        .iter()
        .find(|route| route.name == "GET /orders")
        .unwrap();
    let names: Vec<_> = route
        .clients
        .iter()
        .map(|(name, scopes)| (name.as_str(), scopes.len()))
        .collect();
    assert_eq!(names, [("billing", 1), ("shop", 1)]);
    assert_eq!(route.answered_by, "orders");
    let prices = graph
        .routes
        .iter()
        .find(|route| route.name == "GET /prices")
        .unwrap();
    assert_eq!(prices.clients.keys().collect::<Vec<_>>(), ["idle", "shop"]);
}

#[test]
fn a_picture_shows_every_name_and_its_lines_run_through_no_box() {
    for text in [EVERYTHING.to_owned(), large(2, 3), large(20, 60)] {
        let graph = graph(&text);
        let svg = svg::draw(&graph);
        let document = Document::parse(&svg).unwrap();
        let root = document.root_element();
        let titles: Vec<&str> = document
            .descendants()
            .filter(|node| node.has_tag_name("title"))
            .filter_map(|node| node.text())
            .collect();
        let shown = |name: &str| titles.iter().any(|title| title.lines().any(|line| line == name));
        for client in &graph.clients {
            assert!(shown(&client.name), "{svg}");
        }
        for step in &graph.steps {
            let rest = step
                .step
                .strip_prefix(&step.kind)
                .unwrap_or(&step.step)
                .trim_start_matches(':');
            assert!(shown(&step.step) || shown(rest), "{}: {svg}", step.step);
        }
        let boxes: Vec<_> = document
            .descendants()
            .filter(|node| node.attribute("class") == Some("box"))
            .map(|node| {
                (
                    number(&node, "x"),
                    number(&node, "y"),
                    number(&node, "width"),
                    number(&node, "height"),
                )
            })
            .collect();
        for (x, y, width, height) in &boxes {
            assert!(*x >= 0.0 && x + width <= number(&root, "width"));
            assert!(*y >= 0.0 && y + height <= number(&root, "height"));
        }
        let inside = |(px, py): &(f64, f64)| {
            boxes.iter().find(|(x, y, width, height)| {
                *px > x + 0.2 && *px < x + width - 0.2 && *py > y + 0.2 && *py < y + height - 0.2
            })
        };
        let paths: Vec<_> = document
            .descendants()
            .filter(|node| node.has_tag_name("path"))
            .collect();
        assert!(!paths.is_empty());
        for path in paths {
            let d = path.attribute("d").unwrap();
            let crossed = points(d).iter().find_map(inside);
            assert!(crossed.is_none(), "{d} runs through {crossed:?}");
        }
        for text in document.descendants().filter(|node| {
            node.parent_element().is_some_and(|up| up.has_tag_name("g")) && node.has_tag_name("text")
        }) {
            let start = number(&text, "x");
            let of = boxes
                .iter()
                .find(|(x, ..)| (x + 8.0 - start).abs() < 0.2)
                .unwrap();
            assert!(start + wide(text.text().unwrap()) <= of.0 + of.2, "{text:?}");
        }
    }
}

#[test]
fn no_name_is_more_than_a_label() {
    let name = "a\"]; x --> y <script>&\\\u{1b}[2J\nend";
    let graph = Graph {
        format: 1,
        stack: name.to_owned(),
        steps: vec![StepName {
            step: name.to_owned(),
            kind: "route".to_owned(),
            needs: Vec::new(),
        }],
        clients: vec![Client {
            name: name.to_owned(),
            scopes: BTreeSet::from([name.to_owned()]),
        }],
        routes: Vec::new(),
    };
    let svg = svg::draw(&graph);
    assert!(
        Document::parse(&svg)
            .unwrap()
            .descendants()
            .all(|node| !node.has_tag_name("script"))
    );
    let mermaid = text::mermaid(&graph);
    assert_eq!(mermaid.matches("-->").count(), 1, "{mermaid}");
    assert_eq!(
        mermaid.lines().filter(|line| line.trim() == "end").count(),
        5,
        "{mermaid}"
    );
    assert!(
        mermaid
            .lines()
            .all(|line| [0, 2].contains(&line.matches('"').count())),
        "{mermaid}"
    );
    let dot = text::dot(&graph);
    for line in dot.lines() {
        let unescaped = line.replace("\\\\", "").replace("\\\"", "");
        assert!(
            unescaped.matches('"').count() % 2 == 0 && !unescaped.contains('\u{1b}'),
            "{line}"
        );
    }
}

#[test]
fn the_sample_looks_like_this() {
    let graph = Graph::of(&Config::sample()).unwrap();
    insta::assert_snapshot!("dot", text::dot(&graph));
    insta::assert_snapshot!("mermaid", text::mermaid(&graph));
}
