//! Which steps can begin: what waits for what, whose intent is durable, and where there is room.
//!
//! Pure: no I/O, no async, and no knowledge of what a step does. A step has a place, counted from 0; it goes from
//! *open* (all that it waits for is done) to *planned* (decided on), *ready* (its intent is durable), *running* and
//! *ended*.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How many steps of a kind run at once.
pub const AT_ONCE: usize = 32;

/// Where a step runs: with fewer than [`AT_ONCE`] others of its kind, and alone in its lane. A thousand calls at once
/// would exceed AWS's rates, and steps that wait for the rate of one kind must not hold up another kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Room {
    /// The kind of resource.
    pub kind: &'static str,
    /// Steps of one lane run one at a time, whatever their kinds.
    pub lane: Option<String>,
}

/// The steps of one drive.
#[derive(Debug)]
pub struct Schedule {
    nodes: Vec<Node>,
    open: BTreeSet<usize>,
    rooms: BTreeMap<Room, Queue>,
    /// How many of each kind are running.
    kinds: HashMap<&'static str, usize>,
    /// The lanes in which something is running.
    lanes: HashSet<String>,
    not_ended: usize,
}

#[derive(Debug, Default)]
struct Node {
    /// How many steps it still waits for. One that it waits for twice counts twice.
    missing: usize,
    waiting: Vec<usize>,
    /// Its room, from planned to running.
    room: Option<Room>,
    is_running: bool,
    /// `None` until it ended; then whether it ended well.
    ended: Option<bool>,
}

/// What waits for one room.
#[derive(Debug, Default)]
struct Queue {
    planned: BTreeSet<usize>,
    /// How many have their intent in a write that is under way.
    intended: usize,
    ready: BTreeSet<usize>,
}

impl Schedule {
    /// One step for each list; it waits for the steps on the list.
    pub fn new(waits: &[Vec<usize>]) -> Self {
        let mut nodes: Vec<Node> = waits.iter().map(|_| Node::default()).collect();
        for (place, waits) in waits.iter().enumerate() {
            nodes[place].missing = waits.len();
            for need in waits {
                nodes[*need].waiting.push(place);
            }
        }
        Self {
            open: (0..nodes.len())
                .filter(|place| nodes[*place].missing == 0)
                .collect(),
            not_ended: nodes.len(),
            nodes,
            rooms: BTreeMap::new(),
            kinds: HashMap::new(),
            lanes: HashSet::new(),
        }
    }

    /// The next step to decide on. The caller then plans it, lets it wait for another one, or ends it.
    pub fn next_open(&mut self) -> Option<usize> {
        self.open.pop_first()
    }

    /// Plans this open step, which is to run in this room.
    pub fn plan(&mut self, place: usize, room: Room) {
        self.rooms.entry(room.clone()).or_default().planned.insert(place);
        self.nodes[place].room = Some(room);
    }

    /// Lets this open step wait for another one as well; `false` if that one failed.
    pub fn wait(&mut self, place: usize, other: usize) -> bool {
        match self.nodes[other].ended {
            Some(false) => return false,
            Some(true) => {
                self.open.insert(place);
            }
            None => {
                self.nodes[place].missing += 1;
                self.nodes[other].waiting.push(place);
            }
        }
        true
    }

    /// Opens a step again whose call ended.
    pub fn reopen(&mut self, place: usize) {
        self.open.insert(place);
    }

    /// The planned steps whose intents go into the next write: those for which there is room, and if there are any, up
    /// to `ahead` of those that come next, so that these do not each wait for a write. Without room, only steps that
    /// `may_be_early` allows are taken.
    pub fn intend(&mut self, ahead: usize, may_be_early: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut taken = BTreeSet::new();
        for (room, queue) in &self.rooms {
            let space = self.space(room).saturating_sub(self.claimed(room));
            taken.extend(queue.planned.iter().take(space));
        }
        if taken.is_empty() {
            return Vec::new();
        }
        let mut next: Vec<usize> = (self.rooms.values())
            .flat_map(|queue| {
                let early = queue.planned.iter().copied().filter(|place| may_be_early(*place));
                early.take(ahead)
            })
            .collect();
        next.sort_unstable();
        next.truncate(ahead);
        taken.extend(next);
        for place in &taken {
            let queue = self.queue(*place);
            queue.planned.remove(place);
            queue.intended += 1;
        }
        taken.into_iter().collect()
    }

    /// The intent of this step is durable. A step that ended during the write stays ended.
    pub fn ready(&mut self, place: usize) {
        if self.nodes[place].ended.is_none() {
            let queue = self.queue(place);
            queue.intended -= 1;
            queue.ready.insert(place);
        }
    }

    /// Begins the first step that is ready and for which there is room.
    pub fn begin(&mut self) -> Option<usize> {
        let firsts = self.rooms.iter().filter_map(|(room, queue)| {
            let first = queue.ready.first().filter(|_| self.space(room) > 0)?;
            Some((*first, room.clone()))
        });
        let (place, room) = firsts.min()?;
        self.queue(place).ready.remove(&place);
        self.nodes[place].is_running = true;
        *self.kinds.entry(room.kind).or_default() += 1;
        self.lanes.extend(room.lane);
        Some(place)
    }

    /// The call of this step ended, and its room is free. The caller ends the step or opens it again.
    pub fn free(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        node.is_running = false;
        let room = node.room.take().expect("what runs has room");
        *self
            .kinds
            .get_mut(room.kind)
            .expect("it was counted when it began") -= 1;
        if let Some(lane) = &room.lane {
            self.lanes.remove(lane);
        }
    }

    /// This step ended well. Steps that wait for nothing else are open now.
    pub fn done(&mut self, place: usize) {
        self.end(place, true);
        for waiting in std::mem::take(&mut self.nodes[place].waiting) {
            let node = &mut self.nodes[waiting];
            node.missing -= 1;
            if node.missing == 0 && node.ended.is_none() {
                self.open.insert(waiting);
            }
            // Kept in case its result turns out not to be durable.
            self.nodes[place].waiting.push(waiting);
        }
    }

    /// This step failed, or its result is not durable. All steps that wait for it and have not begun end as well.
    /// Returns them, each with the step that holds it back.
    pub fn fail(&mut self, place: usize) -> Vec<(usize, usize)> {
        self.end(place, false);
        let mut held_back = Vec::new();
        let mut failed = vec![place];
        while let Some(because) = failed.pop() {
            for waiting in self.nodes[because].waiting.clone() {
                if self.nodes[waiting].ended.is_none() && !self.nodes[waiting].is_running {
                    self.end(waiting, false);
                    held_back.push((waiting, because));
                    failed.push(waiting);
                }
            }
        }
        held_back
    }

    /// Whether this step ended, and not well.
    pub fn has_failed(&self, place: usize) -> bool {
        self.nodes[place].ended == Some(false)
    }

    /// Whether every step ended.
    pub fn is_over(&self) -> bool {
        self.not_ended == 0
    }

    fn end(&mut self, place: usize, well: bool) {
        if self.nodes[place].ended.replace(well).is_none() {
            self.not_ended -= 1;
        }
        self.open.remove(&place);
        if let Some(room) = self.nodes[place].room.take() {
            let queue = self.rooms.get_mut(&room).expect("what has a room has a queue");
            if !queue.planned.remove(&place) && !queue.ready.remove(&place) {
                queue.intended -= 1;
            }
        }
    }

    fn queue(&mut self, place: usize) -> &mut Queue {
        let room = self.nodes[place].room.as_ref().expect("it was planned");
        self.rooms.get_mut(room).expect("what has a room has a queue")
    }

    /// How many steps that are ready, or are about to be, have the space of this room: no write is needed to fill it. A lane
    /// is the space of all its rooms.
    fn claimed(&self, room: &Room) -> usize {
        let shares = |other: &Room| room == other || (room.lane.is_some() && room.lane == other.lane);
        (self.rooms.iter())
            .filter(|(other, _)| shares(other))
            .map(|(_, queue)| queue.intended + queue.ready.len())
            .sum()
    }

    /// How many more steps may begin in this room.
    fn space(&self, room: &Room) -> usize {
        let of_kind = AT_ONCE.saturating_sub(self.kinds.get(room.kind).copied().unwrap_or_default());
        match &room.lane {
            None => of_kind,
            Some(lane) if self.lanes.contains(lane) => 0,
            Some(_) => of_kind.min(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One random step: what it waits for, its kind, its lane, and whether it fails.
    type Shape = Vec<(Vec<usize>, u8, Option<u8>, bool)>;

    fn shapes() -> impl Strategy<Value = Shape> {
        let waits = prop::collection::vec(0..40usize, 0..4);
        let step = (waits, 0..3u8, prop::option::of(0..2u8), prop::bool::weighted(0.1));
        prop::collection::vec(step, 0..40)
    }

    fn waits(shape: &Shape) -> Vec<Vec<usize>> {
        let earlier = |place: usize| {
            let waits = shape[place].0.iter().copied();
            waits.filter(|need| *need < place).collect()
        };
        (0..shape.len()).map(earlier).collect()
    }

    fn room(shape: &Shape, place: usize) -> Room {
        Room {
            kind: ["a", "b", "c"][usize::from(shape[place].1)],
            lane: shape[place].2.map(|lane| lane.to_string()),
        }
    }

    proptest! {
        /// Whatever ends in whatever order: each step begins once, after all that it waits for and alone in its lane, or it is
        /// held back by one that it waits for.
        #[test]
        fn every_step_begins_once_in_its_turn_or_is_held_back(
            shape in shapes(),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 200),
            ahead in 0..5usize,
        ) {
            let waits = waits(&shape);
            let mut schedule = Schedule::new(&waits);
            let (mut done, mut failed, mut begun) = (HashSet::new(), HashSet::new(), HashSet::new());
            let mut running: Vec<usize> = Vec::new();
            let mut written: Vec<usize> = Vec::new();
            for pick in picks.iter().cycle().take(10_000) {
                while let Some(place) = schedule.next_open() {
                    prop_assert!(waits[place].iter().all(|need| done.contains(need)));
                    schedule.plan(place, room(&shape, place));
                }
                while let Some(place) = schedule.begin() {
                    prop_assert!(begun.insert(place), "{place} begins once");
                    running.push(place);
                }
                for place in &running {
                    let of_kind = running.iter().filter(|other| shape[**other].1 == shape[*place].1);
                    prop_assert!(of_kind.count() <= AT_ONCE);
                    let lane = shape[*place].2;
                    let in_lane = running.iter().filter(|other| shape[**other].2 == lane);
                    prop_assert!(lane.is_none() || in_lane.count() == 1);
                }
                if written.is_empty() {
                    written = schedule.intend(ahead, |place| place % 2 == 0);
                }
                // Something ends: the write, or one of the running steps.
                if running.is_empty() || pick.index(3) == 0 && !written.is_empty() {
                    if written.is_empty() {
                        break;
                    }
                    for place in written.drain(..) {
                        schedule.ready(place);
                    }
                } else {
                    let place = running.swap_remove(pick.index(running.len()));
                    schedule.free(place);
                    if shape[place].3 {
                        failed.insert(place);
                        for (step, because) in schedule.fail(place) {
                            prop_assert!(waits[step].contains(&because) && failed.contains(&because));
                            prop_assert!(!begun.contains(&step) && failed.insert(step));
                        }
                    } else {
                        done.insert(place);
                        schedule.done(place);
                    }
                }
            }
            prop_assert!(schedule.is_over(), "{schedule:?}");
            prop_assert_eq!(done.len() + failed.len(), shape.len());
            for (place, waits) in waits.iter().enumerate() {
                let is_held_back = waits.iter().any(|need| failed.contains(need));
                prop_assert_eq!(begun.contains(&place), !is_held_back);
            }
        }
    }

    #[test]
    fn what_comes_next_is_intended_along_with_what_there_is_room_for_and_no_sooner() {
        let lane = || Room {
            kind: "a",
            lane: Some("x".to_owned()),
        };
        let mut schedule = Schedule::new(&vec![Vec::new(); 5]);
        while let Some(place) = schedule.next_open() {
            schedule.plan(place, lane());
        }
        assert_eq!(schedule.intend(3, |place| place != 1), [0, 2, 3]);
        let more = schedule.intend(3, |_| true);
        assert!(more.is_empty(), "one is on its way for the only room");
        for place in [0, 2, 3] {
            schedule.ready(place);
        }
        assert_eq!(schedule.begin(), Some(0));
        assert_eq!(schedule.begin(), None);
        schedule.free(0);
        schedule.done(0);
        assert!(schedule.intend(3, |_| true).is_empty(), "two are ready");
        assert_eq!(schedule.begin(), Some(2));
    }

    #[test]
    fn a_lane_with_something_ready_needs_no_write_whatever_its_kind() {
        let room = |kind| Room {
            kind,
            lane: Some("x".to_owned()),
        };
        // Two paths, and a route in each.
        let mut schedule = Schedule::new(&[vec![], vec![], vec![0], vec![1]]);
        for place in [0, 1] {
            assert_eq!(schedule.next_open(), Some(place));
            schedule.plan(place, room("path"));
        }
        assert_eq!(schedule.intend(3, |_| true), [0, 1]);
        for place in [0, 1] {
            schedule.ready(place);
        }
        for (path, route) in [(0, 2), (1, 3)] {
            assert!(schedule.intend(3, |_| true).is_empty(), "path {path} is ready");
            assert_eq!(schedule.begin(), Some(path));
            schedule.free(path);
            schedule.done(path);
            assert_eq!(schedule.next_open(), Some(route));
            schedule.plan(route, room("route"));
        }
        assert_eq!(schedule.intend(3, |_| true), [2, 3], "both with one write");
    }

    #[test]
    fn what_turns_out_not_to_be_durable_holds_back_what_was_planned_on_it() {
        let mut schedule = Schedule::new(&[vec![], vec![0], vec![1]]);
        let room = || Room {
            kind: "a",
            lane: None,
        };
        assert_eq!(schedule.next_open(), Some(0));
        schedule.plan(0, room());
        assert_eq!(schedule.intend(0, |_| true), [0]);
        schedule.ready(0);
        assert_eq!(schedule.begin(), Some(0));
        schedule.free(0);
        schedule.done(0);
        assert_eq!(schedule.next_open(), Some(1));
        schedule.plan(1, room());
        assert_eq!(schedule.intend(0, |_| true), [1]);
        assert_eq!(schedule.fail(0), [(1, 0), (2, 1)]);
        schedule.ready(1);
        assert_eq!(schedule.begin(), None);
        assert!(schedule.is_over());
    }

    #[test]
    fn what_follows_waits_for_more_than_it_was_declared_to_need() {
        let mut schedule = Schedule::new(&[vec![], vec![]]);
        assert_eq!(schedule.next_open(), Some(0));
        assert_eq!(schedule.next_open(), Some(1));
        assert!(schedule.wait(1, 0));
        assert_eq!(schedule.next_open(), None);
        schedule.done(0);
        assert_eq!(schedule.next_open(), Some(1));
        assert!(schedule.wait(1, 0), "it is done already");
        assert_eq!(schedule.next_open(), Some(1));
    }
}
