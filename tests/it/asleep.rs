//! A run that stands still for longer than its lease, in a module of its own: tests begin in the order of their names, and the one
//! that waits longest must not be among the last.

use crate::team::stopped_past_its_lease;

#[test]
#[ignore = "waits until leases are over, and late requests with them: ten minutes"]
fn a_run_that_stood_still_past_its_lease_begins_nothing_more() {
    std::thread::scope(|scope| {
        // The pool is among the first four.
        for at in [3, 4, 9, 14] {
            scope.spawn(move || stopped_past_its_lease(at));
        }
    });
}
