use serde_json::json;

use super::super::sample::no_changes;
use super::super::values::{Environment, Environments, Slow};
use super::*;

fn fields(fields: &[(&str, &str)]) -> Fields {
    let pairs = fields
        .iter()
        .map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned()));
    pairs.collect()
}

fn bound() -> Bound {
    let function = fields(&[
        ("code_sha256", "c"),
        ("code_size", "s"),
        ("environment", "e"),
        ("memory_mb", "m"),
    ]);
    let environment = Environment {
        declared: Some("values".to_owned()),
        live: None,
    };
    Bound {
        format: 1,
        place: Place {
            provision: "1.0.0".to_owned(),
            stack: "orders".to_owned(),
            environment: Some("production".to_owned()),
            account: "111111111111".to_owned(),
            region: "eu-west-1".to_owned(),
            endpoint: None,
            states: None,
        },
        state: Some(Recorded {
            owner: "1a2b3c4d".to_owned(),
            serial: 12,
            unfinished: false,
            digest: "d".to_owned(),
        }),
        changes: no_changes(),
        declared: [
            ("function:orders".to_owned(), function.clone()),
            ("stage".to_owned(), fields(&[("name", "n")])),
        ]
        .into(),
        live: [
            ("function:orders".to_owned(), Seen::Present(function)),
            ("stage".to_owned(), Seen::Missing),
        ]
        .into(),
        goes_along: BTreeSet::new(),
        environments: Environments {
            slow: Slow::new(1).unwrap(),
            functions: [("function:orders".to_owned(), environment)].into(),
        },
        digest: String::new(),
    }
}

type Change = fn(&mut Bound);

const CHANGES: &[(Change, &str)] = &[
    (
        |now| now.place.provision = "1.0.1".to_owned(),
        "the plan was made by version 1.0.0; this run has 1.0.1",
    ),
    (
        |now| now.place.stack = "shop".to_owned(),
        "the plan is of stack orders; this run has shop",
    ),
    (
        |now| now.place.environment = None,
        "the plan is of environment production; this run has none",
    ),
    (
        |now| now.place.account = "222222222222".to_owned(),
        "the plan is of account 111111111111; this run has 222222222222",
    ),
    (
        |now| now.place.region = "eu-west-2".to_owned(),
        "the plan is of region eu-west-1; this run has eu-west-2",
    ),
    (
        |now| now.place.endpoint = Some("http://127.0.0.1:1".to_owned()),
        "the plan is of endpoint AWS; this run has http://127.0.0.1:1",
    ),
    (
        |now| now.place.states = Some("s3://a/b".to_owned()),
        "the plan is of a state in a folder; this run has s3://a/b",
    ),
    (
        |now| now.state = None,
        "the stack has no state any more: it was deleted since the plan, or its state is elsewhere",
    ),
    (
        |now| now.state.as_mut().unwrap().owner = "99999999".to_owned(),
        "the state is of owner 99999999 and was of owner 1a2b3c4d: the stack was deleted and made again since the plan",
    ),
    (
        |now| now.state.as_mut().unwrap().serial = 13,
        "the state went from serial 12 to 13: a run has changed the stack since the plan",
    ),
    (
        |now| {
            let state = now.state.as_mut().unwrap();
            (state.serial, state.unfinished) = (13, true);
        },
        "the state went from serial 12 to 13: a run has begun since the plan and has not finished",
    ),
    (
        |now| now.state.as_mut().unwrap().digest = "other".to_owned(),
        "the state has another content and still serial 12: it was edited or restored since the plan",
    ),
    (
        |now| drop(now.declared.remove("stage")),
        "stage is not configured any more",
    ),
    (
        |now| drop(now.declared.insert("client:billing".to_owned(), Fields::new())),
        "client billing is configured now and was not when the plan was made",
    ),
    (
        |now| set(now, "code_size"),
        "function orders: its code has changed since the plan",
    ),
    (
        |now| set(now, "environment"),
        "function orders: its environment has other variables than when the plan was made",
    ),
    (
        |now| set(now, "memory_mb"),
        "function orders is configured otherwise than when the plan was made: memory_mb",
    ),
    (
        |now| set(now, "needs"),
        "function orders waits for other steps than when the plan was made",
    ),
    (
        |now| {
            set(now, "needs");
            now.declared
                .insert("stage".to_owned(), fields(&[("name", "other")]));
        },
        "stage is configured otherwise than when the plan was made: name",
    ),
    (
        |now| values(now).declared = Some("other".to_owned()),
        "function orders: the value of an environment variable has changed since the plan",
    ),
    (
        |now| values(now).live = Some("other".to_owned()),
        "function orders was changed on AWS since the plan: environment",
    ),
    (
        |now| drop(now.live.insert("function:orders".to_owned(), Seen::Missing)),
        "function orders was deleted on AWS since the plan",
    ),
    (
        |now| drop(now.live.insert("function:orders".to_owned(), Seen::NotOurs)),
        "function orders is not this stack's on AWS any more since the plan",
    ),
    (
        |now| drop(now.live.insert("stage".to_owned(), Seen::Present(Fields::new()))),
        "stage is on AWS and was not when the plan was made",
    ),
    (
        |now| {
            let Some(Seen::Present(fields)) = now.live.get_mut("function:orders") else {
                panic!()
            };
            fields.insert("memory_mb".to_owned(), "other".to_owned());
        },
        "function orders was changed on AWS since the plan: memory_mb",
    ),
    (
        |now| now.goes_along = ["client 1 in user-pool".to_owned()].into(),
        "client 1 in user-pool is of others and would go as well, and was not there when the plan was made",
    ),
];

fn set(bound: &mut Bound, field: &str) {
    let fields = bound.declared.get_mut("function:orders").unwrap();
    fields.insert(field.to_owned(), "other".to_owned());
}

fn values(bound: &mut Bound) -> &mut Environment {
    bound.environments.functions.get_mut("function:orders").unwrap()
}

#[test]
fn whatever_moves_is_named_and_nothing_else() {
    let then = bound();
    assert_eq!(moved(&then, &then), [""; 0]);
    for (change, said) in CHANGES {
        let mut now = then.clone();
        change(&mut now);
        assert_eq!(moved(&then, &now), [*said]);
    }
}

#[test]
fn a_new_stack_that_was_begun_since_says_so_and_not_what_follows_from_it() {
    let now = bound();
    let then = Bound {
        state: None,
        live: BTreeMap::new(),
        ..bound()
    };
    assert_eq!(
        moved(&then, &now),
        ["the stack had no state and has one with serial 12: a run has made the stack since the plan"]
    );
}

#[test]
fn a_step_that_is_planned_otherwise_is_named() {
    let step = |step: &str, action: &str| json!({"step": step, "action": action});
    let then = [step("stage", "update"), step("route:GET /", "create")];
    assert_eq!(different_steps(&then, &then), [""; 0]);
    assert_eq!(
        different_steps(&then, &[step("stage", "replace")]),
        [
            "route GET / is planned otherwise: create in the plan, absent now",
            "stage is planned otherwise: update in the plan, replace now"
        ]
    );
}
