use roxmltree::{Document, Node};

use super::*;
use crate::report::event::StepName;

/// A run on a clock of its own, in milliseconds.
struct Told(Timeline);

impl Told {
    fn new(command: &'static str, steps: &[(&str, &str, &[&str])]) -> Self {
        let mut told = Self(Timeline::default());
        let steps = steps.iter().map(|(step, kind, needs)| StepName {
            step: (*step).to_owned(),
            kind: (*kind).to_owned(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        });
        let started = Event::Started {
            command,
            stack: "user-api".to_owned(),
            steps: steps.collect(),
        };
        told.add(100, &started);
        told
    }

    fn begins(&mut self, at: u64, step: &str, action: Operation) -> &mut Self {
        let step = step.to_owned();
        self.add(at, &Event::StepStarted { step, action })
    }

    fn waits(&mut self, at: u64, step: &str, what: &str) -> &mut Self {
        let (step, what) = (step.to_owned(), what.to_owned());
        self.add(at, &Event::Waiting { step, what })
    }

    fn ends(&mut self, at: u64, step: &str, outcome: Outcome, with: Option<&str>) -> &mut Self {
        let start = self.0.running(step).map(|bar| bar.start.as_millis());
        let finished = Event::StepFinished {
            step: step.to_owned(),
            outcome,
            with: with.map(str::to_owned),
            id: None,
            millis: start.map_or(0, |start| at - u64::try_from(start).unwrap()),
        };
        self.add(at, &finished)
    }

    fn add(&mut self, at: u64, event: &Event) -> &mut Self {
        let (at, event) = (Duration::from_millis(at), event.clone());
        self.0.add(&TimedEvent { at, event });
        self
    }

    fn critical(&self) -> Vec<&str> {
        let chain = self.0.critical();
        chain
            .iter()
            .map(|index| self.0.bars[*index].step.as_str())
            .collect()
    }
}

fn small() -> Told {
    let mut run = Told::new(
        "up",
        &[
            ("role", "role", &[]),
            ("function", "function", &["role"]),
            ("rest-api", "rest-api", &[]),
            ("permission", "permission", &["function", "rest-api"]),
            ("domain", "pool-domain", &[]),
        ],
    );
    run.begins(100, "role", Operation::Create)
        .begins(100, "rest-api", Operation::Create)
        .ends(100, "domain", Outcome::Unchanged, None)
        .ends(250, "role", Outcome::Created, None)
        .begins(260, "function", Operation::Create)
        .waits(400, "function", "the role to be usable")
        .ends(1900, "rest-api", Outcome::Created, None)
        .waits(1500, "function", "the role to be usable")
        .ends(7000, "function", Outcome::Created, None)
        .begins(7010, "permission", Operation::Create)
        .ends(7160, "permission", Outcome::Created, None);
    run
}

#[test]
fn a_small_run_looks_like_this() {
    insta::assert_snapshot!(small().0.svg());
}

#[test]
fn the_critical_path_is_the_longest_chain_of_needs() {
    assert_eq!(small().critical(), ["role", "function", "permission"]);
}

#[test]
fn on_the_way_down_the_critical_path_goes_from_the_user_to_what_it_needs() {
    let mut run = Told::new(
        "down",
        &[
            ("rest-api", "rest-api", &[]),
            ("authorizer", "authorizer", &["rest-api", "user-pool"]),
            ("domain", "pool-domain", &["user-pool"]),
            ("user-pool", "user-pool", &[]),
        ],
    );
    run.begins(0, "rest-api", Operation::Delete)
        .begins(0, "domain", Operation::Delete)
        .ends(300, "domain", Outcome::Deleted, None)
        .ends(500, "rest-api", Outcome::Deleted, None)
        .ends(500, "authorizer", Outcome::Gone, Some("rest-api"))
        .begins(500, "user-pool", Operation::Delete)
        .ends(800, "user-pool", Outcome::Deleted, None);
    // Not the domain: the authorizer, which goes along with the API, holds the pool longer.
    assert_eq!(run.critical(), ["rest-api", "user-pool"]);
}

#[test]
fn a_step_that_is_made_anew_has_two_bars_that_follow_each_other() {
    let mut run = Told::new("up", &[("client:app", "client", &[])]);
    run.begins(0, "client:app", Operation::Delete)
        .ends(300, "client:app", Outcome::Deleted, None)
        .begins(300, "client:app", Operation::Create)
        .ends(500, "client:app", Outcome::Created, None);
    assert_eq!(run.critical(), ["client:app", "client:app"]);
}

#[test]
fn a_bar_ends_with_its_calls_and_not_when_that_is_on_record() {
    let mut run = Told::new("up", &[("a", "role", &[])]);
    let finished = Event::StepFinished {
        step: "a".to_owned(),
        outcome: Outcome::Created,
        with: None,
        id: None,
        millis: 150,
    };
    run.begins(100, "a", Operation::Create).add(1100, &finished);
    let svg = run.0.svg();
    assert!(svg.contains("<title>a: 0.10 s to 0.25 s, 0.15 s"), "{svg}");
}

#[test]
fn what_failed_and_what_never_ended_is_drawn() {
    let mut run = Told::new("up", &[("a", "role", &[]), ("b", "client", &[])]);
    let failed = Event::StepFailed {
        step: "a".to_owned(),
        error: vec!["no".to_owned()],
    };
    run.begins(0, "a", Operation::Create)
        .begins(0, "b", Operation::Create)
        .add(500, &failed);
    let svg = run.0.svg();
    assert!(svg.contains("0.50 s, failed"), "{svg}");
    assert!(svg.contains("<title>b: 0.00 s to 0.50 s, 0.50 s"), "{svg}");
}

#[test]
fn a_run_without_work_is_a_picture_too() {
    let mut run = Told::new("up", &[("a", "role", &[])]);
    run.ends(200, "a", Outcome::Unchanged, None);
    let svg = run.0.svg();
    Document::parse(&svg).unwrap();
    assert!(svg.contains("nothing had to be done"), "{svg}");
}

#[test]
fn whatever_names_and_servers_say_it_is_xml() {
    let name = "route:GET /<a>&\"'\u{1b}[2J\u{0}";
    let mut run = Told::new("up", &[(name, "route", &[])]);
    run.begins(0, name, Operation::Create)
        .waits(10, name, "]]> <script>\u{7}")
        .ends(2000, name, Outcome::Created, None);
    let svg = run.0.svg();
    let document = Document::parse(&svg).unwrap();
    assert!(document.descendants().all(|node| !node.has_tag_name("script")));
    let title = document
        .descendants()
        .find(|node| node.has_tag_name("title"))
        .unwrap();
    assert!(
        title.text().unwrap().starts_with("route:GET /<a>&\"'"),
        "{title:?}"
    );
}

#[test]
fn three_hundred_routes_fit() {
    let names: Vec<String> = (0..300)
        .map(|number| format!("route:GET /p{number:03}"))
        .collect();
    let mut steps: Vec<(&str, &str, &[&str])> = vec![("rest-api", "rest-api", &[])];
    steps.extend(
        names
            .iter()
            .map(|name| (name.as_str(), "route", &["rest-api"] as &[&str])),
    );
    let mut run = Told::new("up", &steps);
    run.begins(0, "rest-api", Operation::Create)
        .ends(200, "rest-api", Outcome::Created, None);
    let mut at = 200;
    for name in &names {
        run.begins(at, name, Operation::Create)
            .ends(at + 300, name, Outcome::Created, None);
        at += 300;
    }
    let svg = run.0.svg();
    let document = Document::parse(&svg).unwrap();
    let number = |node: &Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
    let (width, height) = (
        number(&document.root_element(), "width"),
        number(&document.root_element(), "height"),
    );
    assert!(height < 1500.0, "{height}");
    let bars = document
        .descendants()
        .filter(|node| node.parent_element().is_some_and(|up| up.has_tag_name("g")));
    let bars: Vec<_> = bars.filter(|node| node.has_tag_name("rect")).collect();
    assert_eq!(bars.len(), 301);
    for bar in bars {
        assert!(number(&bar, "x") + number(&bar, "width") <= width, "{bar:?}");
        assert!(number(&bar, "y") + number(&bar, "height") <= height, "{bar:?}");
        assert!(number(&bar, "height") > 1.0, "{bar:?}");
    }
    let labels = document
        .descendants()
        .filter(|node| node.text() == Some("route × 300"));
    assert_eq!(labels.filter(Node::is_element).count(), 1);
}
