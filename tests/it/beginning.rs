//! From an empty folder to a stack that is changed and gone again, with nothing but the binary.

use crate::support::emulator::Emulator;
use crate::support::{Place, Run};
use crate::watch::Watching;

#[test]
fn init_a_reviewed_plan_a_watched_edit_and_down() {
    let place = Place::new();
    let run = |args: &[&str]| -> Run { place.run(&[args, &["--sandbox"]].concat()).ok() };
    let emulator = Emulator::of_the_sandbox(place.emulator());

    place
        .run(&["init", "--name", "orders", "--language", "node", "--yes"])
        .ok();
    run(&["plan", "--out", "reviewed.json"]);
    run(&["up", "--plan", "reviewed.json"]);
    let answer = run(&["call", "GET", "/hello"]).stdout;
    assert!(answer.contains("GET /hello works"), "{answer}");

    let watching = Watching::spawn(place.command(&["up", "--watch", "--sandbox"]));
    watching.err.wait("press Ctrl-C to end", 1);
    let code = place.path().join("hello/index.mjs");
    let edited = fs_err::read_to_string(&code)
        .unwrap()
        .replace(" works", " is edited");
    fs_err::write(&code, edited).unwrap();
    watching.err.wait("live      hello: ", 1);
    let answer = run(&["call", "GET", "/hello"]).stdout;
    assert!(answer.contains("GET /hello is edited"), "{answer}");
    // What the function logs of the call.
    watching.out.wait("\"route\":\"GET /hello\"", 1);
    watching.end();

    // What was reviewed is not what there is now.
    place.run(&["up", "--plan", "reviewed.json", "--sandbox"]).code(3);
    run(&["down", "--yes"]);
    emulator.assert_nothing("after down");
}
