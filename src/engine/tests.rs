//! The engine against a cloud that loses answers, lags, and is cut off at any instant: nothing leaks, nothing doubles.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::bail;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::calls::SECOND_FIND;
use super::options::Options;
use super::plan::{Plan, plan};
use super::status::survey;
use super::*;
use crate::graph::{Handle, Stack};
use crate::report::event::{Operation, Outcome};
use crate::resource::{
    CallError, Class, Cx, InTheWay, Kind, Kinds, Listed, Published, Resource, Stranger, Updated, in_the_way,
    is_stranger,
};
use crate::state::{FORMAT, Phase, StateError, Store};

/// How long a created thing stays out of the lists.
const LAG: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
struct Thing {
    kind: &'static str,
    name: String,
    owner: String,
    needs: Vec<u64>,
    parent: Option<u64>,
    desired: Value,
    made: Instant,
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It happens, its answer does not arrive.
    AnswerLost,
    /// It does not happen, and no answer arrives.
    RequestLost,
    /// It is refused.
    Refused,
}

#[derive(Default)]
struct Cloud {
    things: RefCell<BTreeMap<u64, Thing>>,
    ids: Cell<u64>,
    /// Effects of calls that were sent and have not happened yet.
    sent: RefCell<BTreeMap<u64, Effect>>,
    /// How many were under way at once.
    most_sent: Cell<usize>,
    calls: Cell<usize>,
    /// How often something was looked for.
    looks: Cell<usize>,
    /// Whether somebody else uses what an update leaves.
    in_use: Cell<bool>,
    /// By the number of the writing call.
    faults: RefCell<BTreeMap<usize, Fault>>,
}

#[derive(Clone, Debug)]
enum Effect {
    Create(u64, Thing),
    Update(u64, Value),
    Delete(u64),
}

impl Cloud {
    fn happen(&self, effect: Effect) {
        let mut things = self.things.borrow_mut();
        match effect {
            Effect::Create(id, thing) => {
                things.insert(id, thing);
            }
            Effect::Update(id, desired) => {
                if let Some(thing) = things.get_mut(&id) {
                    thing.needs = serde_json::from_value(desired["needs"].clone()).expect("ids");
                    thing.desired = desired;
                }
            }
            Effect::Delete(id) => {
                // What lives in it goes along.
                things.retain(|_, thing| {
                    !(["child", "snapshot"].contains(&thing.kind) && thing.parent == Some(id))
                });
                things.remove(&id);
            }
        }
    }

    /// One writing call: some time on its way there, some on its way back.
    async fn write(&self, effect: Effect) -> Result<()> {
        let number = self.calls.replace(self.calls.get() + 1);
        let fault = self.faults.borrow_mut().remove(&number);
        if fault == Some(Fault::Refused) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            return Err(failed("Refused", Class::Refused));
        }
        if fault != Some(Fault::RequestLost) {
            self.sent.borrow_mut().insert(number as u64, effect);
            self.most_sent
                .set(self.most_sent.get().max(self.sent.borrow().len()));
        }
        // Different for every call, so that calls overlap in every way.
        tokio::time::sleep(Duration::from_millis(20 + (number as u64 * 37) % 90)).await;
        if let Some(effect) = self.sent.borrow_mut().remove(&(number as u64)) {
            self.happen(effect);
        }
        tokio::time::sleep(Duration::from_millis(20 + (number as u64 * 53) % 90)).await;
        match fault {
            Some(_) => Err(failed("Timeout", Class::Ambiguous)),
            None => Ok(()),
        }
    }

    /// The process was killed: what it had sent may still arrive.
    fn land(&self, arrives: impl Fn(u64) -> bool) {
        for (number, effect) in std::mem::take(&mut *self.sent.borrow_mut()) {
            if arrives(number) {
                self.happen(effect);
            }
        }
    }

    /// Someone else turns on the protection of all that is `plain`.
    fn lock(&self) {
        let mut things = self.things.borrow_mut();
        for thing in things.values_mut().filter(|thing| thing.kind == "plain") {
            thing.desired["locked"] = true.into();
        }
    }

    /// Another owner's thing stands in place of this one.
    fn hand_over(&self, name: &str, owner: &str) {
        let mut things = self.things.borrow_mut();
        let thing = things.values_mut().find(|thing| thing.name == name);
        owner.clone_into(&mut thing.expect("it is there").owner);
    }

    fn is_locked(&self, id: u64) -> bool {
        let things = self.things.borrow();
        things
            .get(&id)
            .is_some_and(|thing| thing.desired["locked"] == true)
    }

    fn tags(&self, id: u64) -> BTreeMap<String, String> {
        let things = self.things.borrow();
        let tags = things.get(&id).map(|thing| thing.desired["tags"].clone());
        tags.map(|tags| serde_json::from_value(tags).expect("texts"))
            .unwrap_or_default()
    }

    /// What somebody else made: nothing of a stack hangs on it yet.
    fn plant(&self, kind: &'static str, name: &str, size: u32, color: u32) {
        let desired = serde_json::json!({
            "name": name, "owner": "1a2b3c4d", "needs": [], "parent": null, "size": size, "color": color,
            "locked": false, "tags": {},
        });
        let thing = Thing {
            kind,
            name: name.to_owned(),
            owner: "1a2b3c4d".to_owned(),
            needs: Vec::new(),
            parent: None,
            desired,
            made: Instant::now(),
        };
        self.things.borrow_mut().insert(1000, thing);
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .things
            .borrow()
            .values()
            .map(|thing| thing.name.clone())
            .collect();
        names.sort();
        names
    }
}

fn failed(code: &str, class: Class) -> anyhow::Error {
    refusal(code, class).into()
}

fn refusal(code: &str, class: Class) -> CallError {
    CallError {
        operation: "fake:Write".to_owned(),
        code: Some(code.to_owned()),
        message: "as told".to_owned(),
        request_id: None,
        class,
        retry_after: None,
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Fake {
    name: String,
    owner: String,
    needs: Vec<u64>,
    /// The first need of kind `plain`: a child dies with it.
    parent: Option<u64>,
    size: u32,
    color: u32,
    /// While it is on, what is `plain` is not deleted.
    locked: bool,
    /// Of those that are live, only the keys that it has itself are read.
    tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Out {
    id: u64,
}

impl Published for Out {
    fn placeholder(mark: &str) -> Self {
        Self {
            id: u64::MAX - u64::from(mark.as_bytes()[0]),
        }
    }
}

/// The size of what lets in anybody.
const OPEN: u32 = 99;

/// Kinds of one shape that differ in what AWS makes of them.
macro_rules! kind {
    ($name:ident, $kind:literal, dies: $dies:expr, holds: $holds:expr, unique: $unique:literal, first: $first:literal, snapshot: $snapshot:literal) => {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        struct $name(Fake);

        impl Resource for $name {
            type Cloud = Cloud;
            type Output = Out;
            const KIND: &'static Kind = &Kind {
                fixed: &["color", "parent"],
                dies_with: $dies,
                holds: $holds,
                removed_first: $first,
                creates_another: $snapshot,
                shares_names: !$unique,
                protection: if $unique { None } else { Some("locked") },
                ..Kind::new($kind)
            };

            fn lane(&self) -> Option<String> {
                (self.0.size == 7).then(|| "sevens".to_owned())
            }

            fn id(&self, out: &Out) -> String {
                out.id.to_string()
            }

            async fn find(&self, cx: &Cx<Cloud>) -> Result<Option<Out>> {
                cx.cloud().looks.set(cx.cloud().looks.get() + 1);
                tokio::time::sleep(Duration::from_millis(10)).await;
                let things = cx.cloud().things.borrow();
                let found = things.iter().find(|(_, thing)| {
                    thing.kind == $kind
                        && thing.name == self.0.name
                        && (thing.owner == self.0.owner || $unique)
                });
                match found {
                    Some((_, thing)) if thing.owner != self.0.owner => Err(Stranger {
                        what: format!("fake {}", self.0.name),
                    }
                    .into()),
                    Some((id, thing)) if $unique || thing.made.elapsed() >= LAG => Ok(Some(Out { id: *id })),
                    _ => Ok(None),
                }
            }

            async fn create(&self, cx: &Cx<Cloud>) -> Result<Out> {
                let cloud = cx.cloud();
                {
                    let things = cloud.things.borrow();
                    if $unique
                        && things
                            .values()
                            .any(|thing| thing.kind == $kind && thing.name == self.0.name)
                    {
                        return Err(failed("Taken", Class::Taken));
                    }
                    for need in &self.0.needs {
                        assert!(
                            things.contains_key(need),
                            "{} needs {need}, which is not there",
                            self.0.name
                        );
                    }
                }
                let id = cloud.ids.replace(cloud.ids.get() + 1);
                let thing = Thing {
                    kind: $kind,
                    name: self.0.name.clone(),
                    owner: self.0.owner.clone(),
                    needs: self.0.needs.clone(),
                    parent: self.0.parent,
                    desired: serde_json::to_value(self)?,
                    made: Instant::now(),
                };
                cloud.write(Effect::Create(id, thing)).await?;
                Ok(Out { id })
            }

            async fn read(&self, cx: &Cx<Cloud>, out: &Out) -> Result<Option<Self>> {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let things = cx.cloud().things.borrow();
                let Some(thing) = things.get(&out.id) else {
                    return Ok(None);
                };
                // What lives in another has no tags.
                let has_tags = ["plain", "unique"].contains(&$kind);
                if has_tags && thing.owner != self.0.owner {
                    let what = format!("fake {}", self.0.name);
                    return Err(Stranger { what }.into());
                }
                let mut live: Self = serde_json::from_value(thing.desired.clone())?;
                live.0.tags.retain(|key, _| self.0.tags.contains_key(key));
                Ok(Some(live))
            }

            fn is_open(&self) -> bool {
                self.0.size == OPEN
            }

            fn output_after_update(&self, out: Out) -> Option<Out> {
                (!$snapshot).then_some(out)
            }

            async fn update(&self, cx: &Cx<Cloud>, before: &Self, out: Out) -> Result<Updated<Out>> {
                if $snapshot {
                    return Ok(Updated {
                        output: Resource::create(self, cx).await?,
                        retires: true,
                    });
                }
                let mut desired = serde_json::to_value(self)?;
                let live = cx.cloud().tags(out.id);
                let others = live
                    .into_iter()
                    .filter(|(key, _)| !before.0.tags.contains_key(key));
                let tags: BTreeMap<_, _> = others.chain(self.0.tags.clone()).collect();
                desired["tags"] = serde_json::to_value(tags)?;
                cx.cloud().write(Effect::Update(out.id, desired)).await?;
                Ok(out.into())
            }

            async fn retire(&self, cx: &Cx<Cloud>, out: &Out) -> Result<()> {
                let things = cx.cloud().things.borrow().clone();
                let earlier = things.iter().filter(|(id, thing)| {
                    **id != out.id && thing.name == self.0.name && thing.owner == self.0.owner
                });
                for (id, _) in earlier {
                    if cx.cloud().in_use.get() {
                        return Err(InTheWay {
                            what: format!("{} is in use", self.0.name),
                            command: "fake delete".to_owned(),
                            refusal: refusal("InUse", Class::Refused),
                        }
                        .into());
                    }
                    let used = |thing: &Thing| thing.needs.contains(id);
                    assert!(!things.values().any(used), "{} is still used", self.0.name);
                    cx.cloud().write(Effect::Delete(*id)).await?;
                }
                Ok(())
            }

            async fn unprotect(&self, cx: &Cx<Cloud>, out: &Out) -> Result<()> {
                let live = cx
                    .cloud()
                    .things
                    .borrow()
                    .get(&out.id)
                    .map(|thing| thing.desired.clone());
                match live {
                    Some(mut desired) if desired["locked"] == true => {
                        desired["locked"] = false.into();
                        cx.cloud().write(Effect::Update(out.id, desired)).await
                    }
                    _ => Ok(()),
                }
            }

            async fn check_owner(&self, cx: &Cx<Cloud>, out: &Out) -> Result<()> {
                Resource::read(self, cx, out).await.map(drop)
            }

            async fn delete(&self, cx: &Cx<Cloud>, out: &Out) -> Result<()> {
                if cx.cloud().is_locked(out.id) {
                    return Err(failed("InvalidParameterException", Class::Refused));
                }
                let guarded = cx
                    .cloud()
                    .things
                    .borrow()
                    .values()
                    .any(|thing| thing.kind == "unique" && thing.needs.contains(&out.id));
                // As Cognito refuses to delete a pool that has a domain.
                if guarded && $kind == "plain" {
                    bail!("{} still has something unique in it", self.0.name);
                }
                if $snapshot {
                    let things = cx.cloud().things.borrow().clone();
                    for (id, _) in things.iter().filter(|(_, thing)| thing.name == self.0.name) {
                        cx.cloud().write(Effect::Delete(*id)).await?;
                    }
                }
                cx.cloud().write(Effect::Delete(out.id)).await
            }
        }
    };
}
kind!(Plain, "plain", dies: None, holds: None, unique: false, first: false, snapshot: false);
kind!(Unique, "unique", dies: None, holds: Some("plain"), unique: true, first: false, snapshot: false);
kind!(Child, "child", dies: Some("plain"), holds: None, unique: false, first: true, snapshot: false);
// Dies with its parent, as a deployment does: what it has not retired goes then.
kind!(Snapshot, "snapshot", dies: Some("plain"), holds: None, unique: false, first: false, snapshot: true);

const KINDS: Kinds<Cloud> = Kinds(&[
    Listed::new::<Plain>(),
    Listed::new::<Unique>(),
    Listed::new::<Child>(),
    Listed::new::<Snapshot>(),
]);

/// One step of a random stack: its kind, its size, and which earlier steps it needs.
type Shape = Vec<(u8, u32, Vec<usize>)>;

/// The outputs of two kinds.
type Outs = (Vec<Out>, Vec<Out>);

enum AnyHandle {
    Plain(Handle<Plain>),
    Unique(Handle<Unique>),
    Child(Handle<Child>),
    Snapshot(Handle<Snapshot>),
}

/// A step is called by its kind and its place in the shape.
fn name(shape: &Shape, index: usize) -> String {
    format!(
        "{}{index}",
        ["plain", "unique", "child", "snapshot"][usize::from(shape[index].0 % 4)]
    )
}

fn names(shape: &Shape) -> Vec<String> {
    let mut names: Vec<String> = (0..shape.len()).map(|index| name(shape, index)).collect();
    names.sort();
    names
}

fn stack(shape: &Shape, owner: &str) -> Stack<Cloud> {
    let mut stack = Stack::default();
    let mut handles: Vec<AnyHandle> = Vec::new();
    for (index, (kind, size, needs)) in shape.iter().enumerate() {
        let (mut plains, mut uniques, mut children, mut snapshots) = Default::default();
        let _: (&mut Vec<_>, &mut Vec<_>, &mut Vec<_>, &mut Vec<_>) =
            (&mut plains, &mut uniques, &mut children, &mut snapshots);
        let mut needs = needs.clone();
        needs.sort_unstable();
        needs.dedup();
        for need in needs.into_iter().filter(|need| *need < index) {
            match &handles[need] {
                AnyHandle::Plain(handle) => plains.push(handle.clone()),
                AnyHandle::Unique(handle) => uniques.push(handle.clone()),
                AnyHandle::Child(handle) => children.push(handle.clone()),
                AnyHandle::Snapshot(handle) => snapshots.push(handle.clone()),
            }
        }
        // What is left of one does not use what is left of another.
        if kind % 4 == 3 {
            snapshots.clear();
        }
        // What dies with another has one parent.
        plains.truncate(if kind % 4 > 1 { 1 } else { usize::MAX });
        let name = name(shape, index);
        let (owner, size) = (owner.to_owned(), *size);
        let fake = {
            let name = name.clone();
            move |((plains, uniques), (children, snapshots)): (Outs, Outs)| Fake {
                name: name.clone(),
                owner: owner.clone(),
                parent: plains.first().map(|out| out.id),
                needs: [plains, uniques, children, snapshots]
                    .concat()
                    .iter()
                    .map(|out| out.id)
                    .collect(),
                size,
                color: size / 8,
                locked: false,
                tags: (size == 5)
                    .then(|| ("env".to_owned(), "live".to_owned()))
                    .into_iter()
                    .collect(),
            }
        };
        let needs = ((plains, uniques), (children, snapshots));
        handles.push(match kind % 4 {
            0 => AnyHandle::Plain(stack.add(name, needs, move |outs| Plain(fake(outs)))),
            1 => AnyHandle::Unique(stack.add(name, needs, move |outs| Unique(fake(outs)))),
            2 => AnyHandle::Child(stack.add(name, needs, move |outs| Child(fake(outs)))),
            _ => AnyHandle::Snapshot(stack.add(name, needs, move |outs| Snapshot(fake(outs)))),
        });
    }
    stack
}

/// The disk, and the end of the process at one of its writes.
#[derive(Clone)]
struct Disk {
    saved: Rc<RefCell<Option<State>>>,
    writes: Rc<Cell<usize>>,
    /// The number of the write at which the process dies, and whether that write still arrives.
    dies: Option<(usize, bool)>,
    dead: Rc<Notify>,
    /// How long a write takes.
    takes: Duration,
}

impl Disk {
    fn new() -> Self {
        Self {
            takes: Duration::ZERO,
            saved: Rc::default(),
            writes: Rc::default(),
            dies: None,
            dead: Rc::new(Notify::new()),
        }
    }
}

impl Store for Disk {
    fn commit<'a>(&'a self, state: &State) -> LocalBoxFuture<'a, Result<(), StateError>> {
        let state = state.clone();
        async move {
            if !self.takes.is_zero() {
                tokio::time::sleep(self.takes).await;
            }
            self.replace(state)
        }
        .boxed_local()
    }

    fn check(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
        unreachable!("the engine commits")
    }

    fn remove(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
        unreachable!("the engine removes nothing")
    }
}

fn refused(why: &str) -> StateError {
    StateError::Io {
        what: "write",
        source: std::io::Error::other(why),
    }
}

impl Disk {
    fn replace(&self, state: State) -> Result<(), StateError> {
        let number = self.writes.replace(self.writes.get() + 1);
        if let Some((at, arrives)) = self.dies {
            if number == at {
                self.dead.notify_one();
            }
            // The rest of this poll still runs; with a failing disk it begins nothing that a dead process would not have.
            if number > at || number == at && !arrives {
                return Err(refused("the process is dead"));
            }
        }
        self.saved.replace(Some(state));
        Ok(())
    }
}

fn empty_state() -> State {
    State {
        format: FORMAT,
        stack: "test".to_owned(),
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        partition: "aws".to_owned(),
        endpoint: None,
        owner: "1a2b3c4d".to_owned(),
        serial: 0,
        moving_to: None,
        steps: Vec::new(),
    }
}

struct World {
    options: Options,
    late_until: Option<Instant>,
    cloud: Rc<Cloud>,
    disk: Disk,
    events: Rc<RefCell<Vec<Event>>>,
    /// When each of the events happened.
    times: Rc<RefCell<Vec<Duration>>>,
}

async fn up_as_planned(
    engine: &mut Engine<'_, Cloud>,
    stack: &Stack<Cloud>,
    options: &Options,
) -> Result<RunResult> {
    let observed = survey(&engine.cloud, KINDS, engine.ledger.state).await?;
    let plan = plan(stack, engine.ledger.state, &observed, KINDS, options)?;
    up::up(engine, stack, observed, &plan, options).await
}

/// What one run is to do.
enum Verb<'a> {
    Up(&'a Stack<Cloud>),
    Down,
}

impl World {
    fn new() -> Self {
        Self {
            options: Options {
                occupied: BTreeMap::new(),
                replace: [].into(),
                repair: true,
                unprotect: false,
            },
            late_until: None,
            cloud: Rc::default(),
            disk: Disk::new(),
            events: Rc::default(),
            times: Rc::default(),
        }
    }

    /// Runs a process; `None` if it died at the write that `dies` names.
    async fn run(&mut self, verb: Verb<'_>, dies: Option<(usize, bool)>) -> Option<RunResult> {
        self.run_until(verb, dies, watch::channel(false).1).await
    }

    async fn run_until(
        &mut self,
        verb: Verb<'_>,
        dies: Option<(usize, bool)>,
        stop: watch::Receiver<bool>,
    ) -> Option<RunResult> {
        self.events.borrow_mut().clear();
        self.times.borrow_mut().clear();
        let mut state = self.disk.saved.borrow().clone().unwrap_or_else(empty_state);
        let mut disk = self.disk.clone();
        disk.writes.set(0);
        disk.dies = dies;
        disk.dead = Rc::new(Notify::new());
        let dead = disk.dead.clone();
        let (events, times) = (self.events.clone(), self.times.clone());
        let mut report = move |told: TimedEvent| {
            times.borrow_mut().push(told.at);
            events.borrow_mut().push(told.event);
        };
        let mut engine = Engine {
            cloud: self.cloud.clone(),
            kinds: KINDS,
            ledger: Ledger::new(&mut state, &disk),
            report: &mut report,
            clock: Clock::start(),
            stop,
            lost: false,
            late_until: self.late_until,
        };
        let run = async {
            match verb {
                Verb::Up(stack) => up_as_planned(&mut engine, stack, &self.options).await,
                Verb::Down => {
                    let not_ours = down::not_ours(&engine.cloud, KINDS, engine.ledger.state).await?;
                    down::down(&mut engine, not_ours, self.options.unprotect).await
                }
            }
        };
        let result = tokio::select! {
            biased;
            () = dead.notified() => None,
            result = run => Some(result.expect("the record can be understood")),
        };
        result.filter(|_| dies.is_none_or(|(at, _)| self.disk.writes.get() <= at))
    }

    async fn up(&mut self, stack: &Stack<Cloud>) -> RunResult {
        self.run(Verb::Up(stack), None)
            .await
            .expect("this process does not die")
    }

    async fn plan(&self, declared: &Stack<Cloud>) -> Plan {
        let state = self.disk.saved.borrow().clone().unwrap_or_else(empty_state);
        let observed = survey(&self.cloud, KINDS, &state).await.unwrap();
        plan(declared, &state, &observed, KINDS, &self.options).unwrap()
    }

    async fn down(&mut self) -> RunResult {
        self.run(Verb::Down, None)
            .await
            .expect("this process does not die")
    }

    /// The steps that `down` refuses.
    async fn protected(&self) -> Vec<String> {
        let state = self.disk.saved.borrow().clone().unwrap_or_else(empty_state);
        let protected = down::protected(&self.cloud, KINDS, &state).await.unwrap();
        protected.into_iter().map(|(step, _)| step).collect()
    }

    fn recorded(&self) -> usize {
        self.disk
            .saved
            .borrow()
            .as_ref()
            .map_or(0, |state| state.steps.len())
    }

    fn assert_whole(&self, shape: &Shape) {
        assert_eq!(self.cloud.names(), names(shape), "exactly one of everything");
        assert_eq!(self.recorded(), shape.len());
        for thing in self.cloud.things.borrow().values() {
            let index: usize = thing.name.trim_matches(char::is_alphabetic).parse().unwrap();
            assert_eq!(
                thing.desired["size"], shape[index].1,
                "{} is as it should be",
                thing.name
            );
            for need in &thing.needs {
                assert!(
                    self.cloud.things.borrow().contains_key(need),
                    "{} needs what is gone",
                    thing.name
                );
            }
        }
    }

    fn assert_nothing(&self) {
        assert_eq!(self.cloud.names(), Vec::<String>::new(), "nothing is left");
        assert_eq!(self.recorded(), 0);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

/// A pool with a domain, a server and a client; an API with a path and a route; and something on its own.
fn sample() -> Shape {
    vec![
        (0, 1, vec![]),
        (1, 1, vec![0]),
        (2, 1, vec![0]),
        (2, 1, vec![0, 2]),
        (0, 7, vec![]),
        (2, 7, vec![4]),
        (2, 7, vec![4, 5]),
        (1, 7, vec![4]),
        (0, 1, vec![3, 6]),
        (3, 7, vec![4, 6]),
    ]
}

#[test]
fn up_makes_everything_once_and_down_leaves_nothing() {
    block_on(async {
        let mut world = World::new();
        let stack = stack(&sample(), "1a2b3c4d");
        assert!(world.up(&stack).await.is_done());
        world.assert_whole(&sample());

        let calls = world.cloud.calls.get();
        let again = world.up(&stack).await;
        assert!(again.is_done());
        assert_eq!(again.changed, 0);
        assert_eq!(
            world.cloud.calls.get(),
            calls,
            "an unchanged stack is not written to"
        );

        assert!(world.down().await.is_done());
        world.assert_nothing();
        let own_calls = sample().iter().filter(|(kind, ..)| kind % 4 < 2).count();
        assert_eq!(
            world.cloud.calls.get() - calls,
            own_calls,
            "what dies with its parent is not deleted by itself"
        );
    });
}

/// How long a write takes: on a disk, and where it goes over a network while calls go on.
const WRITES_TAKE: [Duration; 2] = [Duration::ZERO, Duration::from_millis(50)];

/// How often a run writes the state that makes the sample and is not killed.
fn writes_of_up(takes: Duration) -> usize {
    block_on(async {
        let mut world = World::new();
        world.disk.takes = takes;
        assert!(world.up(&stack(&sample(), "1a2b3c4d")).await.is_done());
        let writes = world.disk.writes.get();
        assert!(writes > 5, "{writes}");
        writes
    })
}

#[test]
fn killed_at_every_write_up_ends_with_one_of_everything() {
    for takes in WRITES_TAKE {
        let mut kills = 0;
        for write in 0.. {
            let mut died = false;
            for (arrives, lands) in [(false, false), (false, true), (true, false), (true, true)] {
                block_on(async {
                    let mut world = World::new();
                    world.disk.takes = takes;
                    let stack = stack(&sample(), "1a2b3c4d");
                    if world
                        .run(Verb::Up(&stack), Some((write, arrives)))
                        .await
                        .is_none()
                    {
                        died = true;
                        kills += 1;
                    }
                    world.cloud.land(|_| lands);
                    assert!(world.up(&stack).await.is_done());
                    world.assert_whole(&sample());
                    assert!(world.down().await.is_done());
                    world.assert_nothing();
                });
            }
            if !died {
                break;
            }
        }
        // Every write lost or not, with what was in flight landing or not.
        assert_eq!(kills, writes_of_up(takes) * 4);
    }
}

#[test]
fn killed_at_every_instant_up_ends_with_one_of_everything_and_down_leaves_nothing() {
    for takes in WRITES_TAKE {
        let mut instants = 0;
        for at in (1..).step_by(7).map(Duration::from_millis) {
            let mut died = false;
            for (lands, up_next) in [(false, false), (false, true), (true, false), (true, true)] {
                block_on(async {
                    let mut world = World::new();
                    world.disk.takes = takes;
                    let stack = stack(&sample(), "1a2b3c4d");
                    let run = world.run(Verb::Up(&stack), None);
                    died = tokio::time::timeout(at, run).await.is_err();
                    world.cloud.land(|_| lands);
                    if up_next {
                        assert!(world.up(&stack).await.is_done());
                        world.assert_whole(&sample());
                    }
                    assert!(world.down().await.is_done());
                    world.assert_nothing();
                });
            }
            if !died {
                break;
            }
            instants += 1;
        }
        assert!(instants > 80, "{instants}");
    }
}

#[test]
fn killed_at_every_write_down_alone_leaves_nothing() {
    for takes in WRITES_TAKE {
        for write in 0..writes_of_up(takes) {
            for (arrives, lands) in [(false, false), (false, true), (true, false), (true, true)] {
                block_on(async {
                    let mut world = World::new();
                    world.disk.takes = takes;
                    let stack = stack(&sample(), "1a2b3c4d");
                    assert!(
                        world
                            .run(Verb::Up(&stack), Some((write, arrives)))
                            .await
                            .is_none()
                    );
                    world.cloud.land(|_| lands);
                    assert!(world.down().await.is_done());
                    world.assert_nothing();
                });
            }
        }
    }
}

#[test]
fn down_killed_at_every_write_is_finished_by_down_and_undone_by_up() {
    for write in 0.. {
        let mut died = false;
        for (arrives, lands) in [(false, false), (false, true), (true, false), (true, true)] {
            for up_next in [false, true] {
                block_on(async {
                    let mut world = World::new();
                    let stack = stack(&sample(), "1a2b3c4d");
                    assert!(world.up(&stack).await.is_done());
                    died |= world.run(Verb::Down, Some((write, arrives))).await.is_none();
                    world.cloud.land(|_| lands);
                    if up_next {
                        let result = world.up(&stack).await;
                        assert!(result.is_done(), "{result:?}");
                        world.assert_whole(&sample());
                    }
                    assert!(world.down().await.is_done());
                    world.assert_nothing();
                });
            }
        }
        if !died {
            break;
        }
    }
}

#[test]
fn what_is_protected_now_is_known_before_anything_is_deleted_and_deleted_only_when_asked_for() {
    block_on(async {
        let mut world = World::new();
        let stack = stack(&sample(), "1a2b3c4d");
        assert!(world.up(&stack).await.is_done());
        assert_eq!(world.protected().await, Vec::<String>::new());
        world.cloud.lock();
        assert_eq!(world.protected().await, ["plain0", "plain4", "plain8"]);
        let calls = world.cloud.calls.get();
        let result = world.down().await;
        assert!(!result.is_done());
        assert!(world.cloud.names().contains(&"plain0".to_owned()));

        // Whatever else has gone meanwhile.
        world.options.unprotect = true;
        let result = world.down().await;
        assert!(result.is_done(), "{result:?}");
        assert!(world.cloud.calls.get() > calls);
        world.assert_nothing();
    });
}

#[test]
fn a_replacement_or_removal_of_what_is_protected_is_refused_with_the_whole_plan() {
    block_on(async {
        let mut world = World::new();
        let declared = stack(&sample(), "1a2b3c4d");
        let mut smaller = sample();
        smaller.remove(8);
        smaller.pop();
        assert!(world.up(&declared).await.is_done());
        let refused = |plan: &Plan| -> Vec<(String, Option<String>)> {
            let refused = plan.with(Operation::Refused);
            refused
                .map(|planned| (planned.step.clone(), planned.protection.clone()))
                .collect()
        };
        world.options.replace = ["plain0".to_owned()].into();
        assert_eq!(refused(&world.plan(&declared).await), []);
        world.cloud.lock();
        let field = || Some("locked".to_owned());
        let plan = world.plan(&declared).await;
        assert_eq!(refused(&plan), [("plain0".to_owned(), field())]);
        assert_eq!(
            plan.steps[0].why.as_deref(),
            Some("--replace names it, and AWS does not delete 0 while its locked is on")
        );
        world.options.replace.clear();
        let plan = world.plan(&stack(&smaller, "1a2b3c4d")).await;
        assert_eq!(refused(&plan), [("plain8".to_owned(), field())]);

        world.options.replace = ["plain0".to_owned()].into();
        world.options.unprotect = true;
        assert_eq!(refused(&world.plan(&declared).await), []);
        let result = world.up(&declared).await;
        assert!(result.is_done(), "{result:?}");
        world.assert_whole(&sample());
    });
}

#[test]
fn killed_anywhere_a_deletion_of_what_was_protected_is_finished_by_the_same_command_and_undone_by_up() {
    let mut unprotected = 0;
    for write in 0.. {
        let mut died = false;
        for (arrives, lands) in [(false, false), (false, true), (true, false), (true, true)] {
            for up_next in [false, true] {
                block_on(async {
                    let mut world = World::new();
                    let stack = stack(&sample(), "1a2b3c4d");
                    assert!(world.up(&stack).await.is_done());
                    world.cloud.lock();
                    world.options.unprotect = true;
                    died |= world.run(Verb::Down, Some((write, arrives))).await.is_none();
                    world.cloud.land(|_| lands);
                    // Killed between the two, it is still there and may be deleted without being asked twice.
                    let ids: Vec<u64> = world.cloud.things.borrow().keys().copied().collect();
                    let plain = |id: &u64| world.cloud.things.borrow()[id].kind == "plain";
                    unprotected += ids
                        .iter()
                        .filter(|id| plain(id) && !world.cloud.is_locked(**id))
                        .count();
                    if up_next {
                        world.options.unprotect = false;
                        let plan = world.plan(&stack).await;
                        world.options.unprotect = plan.with(Operation::Refused).next().is_some();
                        let result = world.up(&stack).await;
                        assert!(result.is_done(), "{result:?}");
                        world.assert_whole(&sample());
                    }
                    world.options.unprotect = !world.protected().await.is_empty();
                    let result = world.down().await;
                    assert!(result.is_done(), "{result:?}");
                    world.assert_nothing();
                });
            }
        }
        if !died {
            break;
        }
    }
    assert!(unprotected > 0);
}

#[test]
fn every_lost_answer_is_settled_in_the_same_run() {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        for call in 0..sample().len() {
            block_on(async {
                let mut world = World::new();
                world.cloud.faults.borrow_mut().insert(call, fault);
                let stack = stack(&sample(), "1a2b3c4d");
                let result = world.up(&stack).await;
                assert!(result.is_done(), "{fault:?} at call {call}: {result:?}");
                world.assert_whole(&sample());
                let adopted = world
                    .events
                    .borrow()
                    .iter()
                    .filter(|event| {
                        matches!(
                            event,
                            Event::StepFinished {
                                outcome: Outcome::Adopted,
                                ..
                            }
                        )
                    })
                    .count();
                assert_eq!(adopted, usize::from(fault == Fault::AnswerLost));
            });
        }
    }
}

#[test]
fn every_lost_answer_of_a_change_is_settled_in_the_same_run() {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        for call in 0..sample().len() {
            block_on(async {
                let mut world = World::new();
                assert!(world.up(&stack(&sample(), "1a2b3c4d")).await.is_done());
                let grown: Shape = (sample().into_iter())
                    .map(|(kind, size, needs)| (kind, if size == 1 { 2 } else { size }, needs))
                    .collect();
                let number = world.cloud.calls.get() + call;
                world.cloud.faults.borrow_mut().insert(number, fault);
                let result = world.up(&stack(&grown, "1a2b3c4d")).await;
                assert!(result.is_done(), "{fault:?} at call {call}: {result:?}");
                world.assert_whole(&grown);
            });
        }
    }
}

#[test]
fn a_failed_step_stops_its_dependents_only_and_up_goes_on_from_there() {
    for call in 0..sample().len() {
        block_on(async {
            let mut world = World::new();
            world.cloud.faults.borrow_mut().insert(call, Fault::Refused);
            let stack = stack(&sample(), "1a2b3c4d");
            let result = world.up(&stack).await;
            assert_eq!(result.failed.len(), 1);
            assert!(!result.is_done());
            let failed = result.failed[0].0.clone();
            for (step, because) in &result.held_back {
                let needs = &stack
                    .steps()
                    .iter()
                    .find(|declared| declared.name == *step)
                    .unwrap()
                    .needs;
                assert!(needs.contains(because));
            }
            let made = sample().len() - 1 - result.held_back.len();
            assert_eq!(
                world.cloud.names().len(),
                made,
                "siblings of {failed} were finished"
            );
            assert!(world.up(&stack).await.is_done());
            world.assert_whole(&sample());
        });
    }
}

#[test]
fn a_strangers_thing_is_neither_adopted_nor_deleted() {
    block_on(async {
        let mut world = World::new();
        let shape = vec![(1, 1, vec![])];
        assert!(world.up(&stack(&shape, "stranger")).await.is_done());
        world.disk = Disk::new();
        let result = world.up(&stack(&shape, "1a2b3c4d")).await;
        assert!(is_stranger(&result.failed[0].1));
        assert!(world.down().await.is_done());
        assert_eq!(world.cloud.names(), ["unique0"], "it is still there");
        assert_eq!(world.recorded(), 0);
    });
}

#[test]
fn down_deletes_all_but_a_strangers_and_what_lives_in_it() {
    block_on(async {
        for phase in [Phase::Ready, Phase::Deleting] {
            let mut world = World::new();
            assert!(world.up(&stack(&sample(), "1a2b3c4d")).await.is_done());
            world.cloud.hand_over("plain0", "stranger");
            let mut state = world.disk.saved.borrow().clone().unwrap();
            state.record_mut("plain0").unwrap().phase = phase;
            world.disk.saved.replace(Some(state));
            assert_eq!(world.protected().await, Vec::<String>::new());

            let result = world.down().await;
            assert!(
                is_stranger(&result.failed[0].1) && result.failed.len() == 1,
                "{result:?}"
            );
            let in_it = ["child2", "child3", "plain0", "unique1"];
            assert_eq!(world.cloud.names(), in_it, "all the rest is gone, {phase:?}");
            assert_eq!(world.recorded(), in_it.len(), "and all of that stays on record");
            let mut held: Vec<&str> = result.held_back.iter().map(|(step, _)| step.as_str()).collect();
            held.sort_unstable();
            assert_eq!(held, ["child2", "child3", "unique1"]);

            // Its tag had only been lost.
            world.cloud.hand_over("plain0", "1a2b3c4d");
            assert!(world.down().await.is_done());
            world.assert_nothing();
        }
    });
}

#[test]
fn a_strangers_thing_in_place_of_ours_is_no_drift_and_is_not_written_to() {
    let changed: Shape = sample()
        .into_iter()
        .map(|(kind, size, needs)| (kind, size + 8, needs))
        .collect();
    for victim in ["plain0", "unique1", "plain4", "unique7", "plain8"] {
        for (declared, change) in [
            (sample(), Operation::NotOurs),
            (changed.clone(), Operation::NotOurs),
            (vec![], Operation::NotOurs),
        ] {
            block_on(async {
                let mut world = World::new();
                assert!(world.up(&stack(&sample(), "1a2b3c4d")).await.is_done());
                world.cloud.hand_over(victim, "stranger");
                let declared = stack(&declared, "1a2b3c4d");
                let plan = world.plan(&declared).await;
                let planned = plan.steps.iter().find(|planned| planned.step == victim).unwrap();
                assert_eq!(planned.action, change);
                assert!(planned.why.as_ref().unwrap().contains(victim), "{planned:?}");
                let state = world.disk.saved.borrow().clone().unwrap();
                let lines = status::status(&world.cloud, KINDS, &state).await.unwrap();
                let line = lines.iter().find(|line| line.step == victim).unwrap();
                assert_eq!(
                    (line.state, &line.drifted[..]),
                    (status::StepState::NotOurs, &[][..])
                );

                let of = |cloud: &Cloud| {
                    let things = cloud.things.borrow();
                    let thing = things.values().find(|thing| thing.name == victim);
                    thing.map(|thing| (thing.made, thing.desired.clone()))
                };
                let before = of(&world.cloud);
                world.up(&declared).await;
                assert_eq!(of(&world.cloud), before, "{victim}");
            });
        }
    }
}

#[test]
fn an_older_copy_of_the_state_doubles_nothing() {
    let changed: Shape = sample()
        .into_iter()
        .map(|(kind, size, needs)| (kind, size ^ 2, needs))
        .collect();
    for known in 0..sample().len() {
        for shape in [sample(), changed.clone()] {
            block_on(async {
                let mut world = World::new();
                assert!(world.up(&stack(&sample(), "1a2b3c4d")).await.is_done());
                assert_eq!(
                    world.cloud.looks.get(),
                    0,
                    "the owner is new: nothing can be there"
                );
                tokio::time::sleep(LAG).await;
                let mut older = world.disk.saved.borrow().clone().unwrap();
                older.steps.truncate(known);
                world.disk.saved.replace(Some(older));
                let result = world.up(&stack(&shape, "1a2b3c4d")).await;
                assert!(result.is_done(), "{result:?}");
                world.assert_whole(&shape);
                assert!(world.down().await.is_done());
                world.assert_nothing();
            });
        }
    }
}

#[test]
fn what_others_keep_from_retiring_stays_on_record_is_told_every_time_and_fails_nothing() {
    block_on(async {
        let mut world = World::new();
        let mut shape: Shape = vec![(0, 1, vec![]), (3, 1, vec![0])];
        assert!(world.up(&stack(&shape, "1a2b3c4d")).await.is_done());
        world.cloud.in_use.set(true);
        shape[1].1 = 2;
        for changed in [1, 0] {
            let result = world.up(&stack(&shape, "1a2b3c4d")).await;
            assert!(result.is_done() && result.failed.is_empty(), "{result:?}");
            assert_eq!(result.changed, changed);
            let [(step, error)] = &result.left[..] else {
                panic!("{result:?}")
            };
            assert_eq!(step, "snapshot1");
            assert_eq!(in_the_way(error).unwrap().command, "fake delete");
            assert_eq!(world.cloud.names(), ["plain0", "snapshot1", "snapshot1"]);
            let state = world.disk.saved.borrow().clone().unwrap();
            assert_eq!(state.record("snapshot1").unwrap().phase, Phase::Retiring);
        }
        world.cloud.in_use.set(false);
        let result = world.up(&stack(&shape, "1a2b3c4d")).await;
        assert!(result.is_done() && result.left.is_empty(), "{result:?}");
        world.assert_whole(&shape);
    });
}

#[test]
fn all_that_a_killed_run_intended_has_one_pause_in_common() {
    let mut shape = vec![(0, 7, vec![])];
    shape.extend((0..20).map(|_| (2, 7, vec![0])));
    let stack = stack(&shape, "1a2b3c4d");
    let killed_at = |write| {
        let (shape, stack) = (&shape, &stack);
        block_on(async move {
            let mut world = World::new();
            let died = match write {
                Some(write) => world.run(Verb::Up(stack), Some((write, true))).await.is_none(),
                None => false,
            };
            world.cloud.land(|_| false);
            let began = Instant::now();
            assert!(world.up(stack).await.is_done());
            world.assert_whole(shape);
            let took = began.elapsed();
            let creating = died.then_some(());
            (took, creating)
        })
    };
    let (fresh, _) = killed_at(None);
    for write in 0..4 {
        let (took, died) = killed_at(Some(write));
        died.expect("it is killed");
        let most = fresh + SECOND_FIND + Duration::from_secs(2);
        assert!(took < most, "killed at write {write}: {took:?}, at most {most:?}");
    }
}

#[test]
fn what_a_run_that_lost_its_lease_makes_late_is_waited_for_and_not_made_twice() {
    let shape: Shape = vec![(0, 1, vec![]), (1, 1, vec![])];
    block_on(async {
        let mut world = World::new();
        let stack = stack(&shape, "1a2b3c4d");
        assert!(
            world.run(Verb::Up(&stack), Some((0, true))).await.is_none(),
            "both are intended"
        );
        let began = Instant::now();
        world.late_until = Some(began + Duration::from_secs(350));
        let cloud = world.cloud.clone();
        let late = async {
            tokio::time::sleep(Duration::from_mins(5)).await;
            // What has a unique name does not wait.
            assert_eq!(cloud.names(), ["unique1"]);
            cloud.plant("plain", "plain0", 1, 0);
        };
        let (result, ()) = tokio::join!(world.up(&stack), late);
        assert!(result.is_done(), "{result:?}");
        world.assert_whole(&shape);
        assert!(began.elapsed() >= Duration::from_secs(350));
    });
}

#[test]
fn what_is_found_in_place_is_brought_to_what_is_declared_before_anything_uses_it() {
    let shape: Shape = vec![(1, 1, vec![]), (0, 1, vec![0])];
    // As it is to be; of another size; of another color, which cannot be changed in place.
    for (size, color, outcome) in [
        (1, 0, Outcome::Adopted),
        (3, 0, Outcome::Adopted),
        (1, 2, Outcome::Created),
    ] {
        let assert_brought = |world: &World| {
            world.assert_whole(&shape);
            let things = world.cloud.things.borrow();
            assert!(things.values().all(|thing| thing.desired["color"] == 0));
        };
        block_on(async {
            let mut world = World::new();
            world.cloud.plant("unique", "unique0", size, color);
            let stack = stack(&shape, "1a2b3c4d");
            let result = world.up(&stack).await;
            assert!(result.is_done(), "{result:?}");
            assert_brought(&world);
            assert_eq!(result.changed, 2, "each step counts once");
            let events = world.events.borrow();
            let is_told = |event: &Event| match event {
                Event::StepFinished {
                    step, outcome: told, ..
                } => step == "unique0" && *told == outcome,
                _ => false,
            };
            let told = events.iter().position(is_told).expect("it is told");
            let is_used =
                |event: &Event| matches!(event, Event::StepStarted { step, .. } if step == "plain1");
            assert!(events.iter().position(is_used).unwrap() > told, "{events:?}");
        });
        let mut kills = 0;
        for (write, arrives, lands) in (0..12).flat_map(|write| {
            [
                (write, false, false),
                (write, false, true),
                (write, true, false),
                (write, true, true),
            ]
        }) {
            block_on(async {
                let mut world = World::new();
                world.cloud.plant("unique", "unique0", size, color);
                let stack = stack(&shape, "1a2b3c4d");
                let died = world
                    .run(Verb::Up(&stack), Some((write, arrives)))
                    .await
                    .is_none();
                kills += u32::from(died);
                world.cloud.land(|_| lands);
                for record in world.disk.saved.borrow().iter().flat_map(|state| &state.steps) {
                    let things = world.cloud.things.borrow();
                    let is_right = things.values().any(|thing| {
                        thing.name == record.step && thing.desired["size"] == 1 && thing.desired["color"] == 0
                    });
                    assert!(record.phase != Phase::Ready || is_right, "{record:?}");
                }
                assert!(world.up(&stack).await.is_done());
                assert_brought(&world);
            });
        }
        assert!(kills >= 8, "{kills}");
    }
}

#[test]
fn what_a_killed_change_may_have_set_is_taken_away_on_the_way_back() {
    let (plain, tagged): (Shape, Shape) = (vec![(0, 1, vec![])], vec![(0, 5, vec![])]);
    let other: Shape = vec![(0, 2, vec![])];
    let mut set = 0;
    for back in [&plain, &other] {
        for (write, arrives, lands) in [
            (0, true, false),
            (0, true, true),
            (1, false, true),
            (1, true, true),
        ] {
            block_on(async {
                let mut world = World::new();
                assert!(world.up(&stack(&plain, "1a2b3c4d")).await.is_done());
                let forth = stack(&tagged, "1a2b3c4d");
                world.run(Verb::Up(&forth), Some((write, arrives))).await;
                world.cloud.land(|_| lands);
                set += world.cloud.tags(0).len();
                let result = world.up(&stack(back, "1a2b3c4d")).await;
                assert!(result.is_done(), "{result:?}");
                assert_eq!(world.cloud.tags(0), BTreeMap::new(), "{write} {arrives} {lands}");
                let saved = world.disk.saved.borrow();
                assert_eq!(
                    saved.as_ref().unwrap().steps[0].desired["tags"],
                    serde_json::json!({})
                );
            });
        }
    }
    assert!(set >= 4, "{set}");
}

#[test]
fn what_somebody_else_deleted_is_made_again_with_what_hangs_on_it() {
    for victim in 0..sample().len() {
        block_on(async {
            let mut world = World::new();
            let stack = stack(&sample(), "1a2b3c4d");
            assert!(world.up(&stack).await.is_done());
            let id = world
                .disk
                .saved
                .borrow()
                .as_ref()
                .unwrap()
                .record(&name(&sample(), victim))
                .unwrap()
                .output
                .as_ref()
                .unwrap()["id"]
                .as_u64()
                .unwrap();
            world.cloud.happen(Effect::Delete(id));
            let result = world.up(&stack).await;
            assert!(result.is_done(), "{result:?}");
            world.assert_whole(&sample());
            world.cloud.happen(Effect::Delete(id));
            assert!(world.down().await.is_done());
            world.assert_nothing();
        });
    }
}

#[test]
fn a_field_is_changed_in_place_or_by_replacement() {
    block_on(async {
        let mut world = World::new();
        assert!(
            world
                .up(&stack(&vec![(0, 1, vec![])], "1a2b3c4d"))
                .await
                .is_done()
        );
        let result = world.up(&stack(&vec![(0, 2, vec![])], "1a2b3c4d")).await;
        assert_eq!((result.is_done(), result.changed), (true, 1));
        assert_eq!(world.cloud.things.borrow()[&0].desired["size"], 2);

        // From 8 on it has another color, which is fixed.
        let result = world.up(&stack(&vec![(0, 8, vec![])], "1a2b3c4d")).await;
        assert_eq!((result.is_done(), result.changed), (true, 1));
        let things = world.cloud.things.borrow();
        assert_eq!(things.len(), 1);
        assert_eq!(things[&1].desired["color"], 1);
    });
}

#[test]
fn what_is_held_waits_until_its_holder_is_gone_and_both_are_made_anew() {
    block_on(async {
        let mut world = World::new();
        assert!(world.up(&stack(&sample(), "1a2b3c4d")).await.is_done());
        world.options.replace = ["plain0".to_owned()].into();
        let shape = sample();
        let planned = world.plan(&stack(&shape, "1a2b3c4d")).await;
        let replaced: Vec<&str> = planned
            .with(Operation::Replace)
            .map(|planned| planned.step.as_str())
            .collect();
        assert_eq!(replaced, ["plain0", "unique1", "child2", "child3"]);
        let result = world.up(&stack(&shape, "1a2b3c4d")).await;
        assert!(result.is_done(), "{result:?}");
        world.assert_whole(&shape);
    });
}

#[test]
fn every_event_has_the_time_at_which_it_happened() {
    let told = || {
        block_on(async {
            let mut world = World::new();
            assert!(world.up(&stack(&sample(), "1a2b3c4d")).await.is_done());
            let (times, events) = (world.times.borrow().clone(), world.events.borrow().clone());
            times.into_iter().zip(events).collect::<Vec<_>>()
        })
    };
    let first = told();
    assert_eq!(first, told(), "the clock is the engine's own");
    assert_eq!(first[0].0, Duration::ZERO);
    assert!(first.is_sorted_by_key(|(at, _)| *at), "{first:?}");
    let began = |name: &str| {
        let is_begin = |event: &Event| matches!(event, Event::StepStarted { step, .. } if step == name);
        first.iter().find(|(_, event)| is_begin(event)).map(|(at, _)| *at)
    };
    let mut took = Vec::new();
    for (at, event) in &first {
        if let Event::StepFinished { step, millis, .. } = event {
            let began = began(step).expect("what was finished had begun");
            assert!(*at >= began + Duration::from_millis(*millis), "{step}");
            took.push(*millis);
        }
    }
    assert!(took.iter().any(|millis| *millis > 0), "{first:?}");
}

#[test]
fn what_an_update_left_is_retired_after_all_that_used_it_has_moved() {
    block_on(async {
        let mut world = World::new();
        let shape = |size| vec![(0, 1, vec![]), (3, size, vec![0]), (0, 1, vec![1])];
        assert!(world.up(&stack(&shape(1), "1a2b3c4d")).await.is_done());
        let result = world.up(&stack(&shape(2), "1a2b3c4d")).await;
        assert!(result.is_done(), "{result:?}");
        let outcomes: Vec<(String, Outcome)> = (world.events.borrow().iter())
            .filter_map(|event| match event {
                Event::StepFinished { step, outcome, .. } => Some((step.clone(), *outcome)),
                _ => None,
            })
            .collect();
        let expected = [
            ("plain0", Outcome::Unchanged),
            ("snapshot1", Outcome::Updated),
            ("plain2", Outcome::Updated),
            ("snapshot1", Outcome::Retired),
        ];
        assert_eq!(
            outcomes,
            expected.map(|(step, outcome)| (step.to_owned(), outcome))
        );
        world.assert_whole(&shape(2));
    });
}

#[test]
fn what_follows_is_changed_after_and_made_before() {
    block_on(async {
        let declared = |size| {
            let mut stack = stack(&vec![(0, size, vec![]), (0, size, vec![])], "1a2b3c4d");
            let fake = move |name: &str| Fake {
                name: name.to_owned(),
                owner: "1a2b3c4d".to_owned(),
                needs: Vec::new(),
                parent: None,
                size,
                color: 0,
                locked: false,
                tags: BTreeMap::new(),
            };
            let last = stack.add("last", (), move |()| Unique(fake("unique2")));
            stack.follow(&last, ["plain0".to_owned(), "plain1".to_owned()]);
            stack
        };
        let mut world = World::new();
        assert!(world.up(&declared(1)).await.is_done());
        let began = |world: &World| -> Vec<bool> {
            let is_of_last = |event: &Event| match event {
                Event::StepStarted { step, .. } => Some(step == "last"),
                Event::StepFinished { step, .. } => (step != "last").then_some(false),
                _ => None,
            };
            world.events.borrow().iter().filter_map(is_of_last).collect()
        };
        assert_eq!(
            began(&world).iter().position(|last| *last),
            Some(2),
            "made at once"
        );
        assert!(world.up(&declared(2)).await.is_done());
        assert_eq!(
            began(&world).iter().position(|last| *last),
            Some(4),
            "changed last"
        );
        let calls = world.cloud.calls.get();
        world.cloud.faults.borrow_mut().insert(calls, Fault::Refused);
        let result = world.up(&declared(3)).await;
        assert_eq!(
            result.held_back,
            [("last".to_owned(), result.failed[0].0.clone())]
        );
    });
}

#[test]
fn what_others_changed_is_changed_back_unless_it_is_to_be_left() {
    block_on(async {
        let mut world = World::new();
        let shape = vec![(0, 3, vec![])];
        let declared = stack(&shape, "1a2b3c4d");
        assert!(world.up(&declared).await.is_done());
        let mut drifted = world.cloud.things.borrow()[&0].desired.clone();
        drifted["size"] = 4.into();
        world.cloud.happen(Effect::Update(0, drifted));
        world.options.repair = false;
        assert!(world.plan(&declared).await.is_empty());
        assert_eq!(world.up(&declared).await.changed, 0);
        world.options.repair = true;
        let planned = world.plan(&declared).await;
        let field = &planned.steps[0].fields[0];
        assert_eq!((field.field.as_str(), field.drifted), ("size", true));
        assert_eq!((&field.before, &field.after), (&Value::from(4), &Value::from(3)));
        assert_eq!(world.up(&declared).await.changed, 1);
        world.assert_whole(&shape);
    });
}

#[test]
fn what_others_opened_and_is_left_so_is_not_put_into_service() {
    block_on(async {
        let mut world = World::new();
        let declared = |size| stack(&vec![(0, 3, vec![]), (3, size, vec![0])], "1a2b3c4d");
        let refused = |plan: &Plan| -> Vec<(String, Option<String>)> {
            let refused = plan.with(Operation::Refused);
            refused
                .map(|planned| (planned.step.clone(), planned.why.clone()))
                .collect()
        };
        assert!(world.up(&declared(1)).await.is_done());
        let mut open = world.cloud.things.borrow()[&0].desired.clone();
        open["size"] = OPEN.into();
        world.cloud.happen(Effect::Update(0, open));
        world.options.repair = false;
        assert!(
            world.plan(&declared(1)).await.is_empty(),
            "nothing is put into service"
        );
        let plan = world.plan(&declared(2)).await;
        let why = "plain0 was opened to everybody by somebody else, and --no-repair leaves it so";
        assert_eq!(refused(&plan), [("snapshot1".to_owned(), Some(why.to_owned()))]);
        world.options.repair = true;
        assert_eq!(refused(&world.plan(&declared(2)).await), []);
        assert!(world.up(&declared(2)).await.is_done());
    });
}

#[test]
fn a_plan_says_what_is_known_only_later_and_after_which_step() {
    block_on(async {
        let mut world = World::new();
        let shape = |size| {
            vec![
                (0, 1, vec![]),
                (3, size, vec![0]),
                (0, 1, vec![1]),
                (0, 1, vec![0]),
            ]
        };
        let planned = world.plan(&stack(&shape(1), "1a2b3c4d")).await;
        assert_eq!(planned.with(Operation::Create).count(), 4);
        let needs = planned.steps[1]
            .fields
            .iter()
            .find(|field| field.field == "needs")
            .unwrap();
        assert_eq!(
            (&needs.after, &needs.known_after[..]),
            (&Value::Null, &["plain0".to_owned()][..])
        );
        let size = planned.steps[1]
            .fields
            .iter()
            .find(|field| field.field == "size")
            .unwrap();
        assert_eq!((&size.after, size.known_after.len()), (&Value::from(1), 0));

        assert!(world.up(&stack(&shape(1), "1a2b3c4d")).await.is_done());
        assert!(world.plan(&stack(&shape(1), "1a2b3c4d")).await.is_empty());
        let planned = world.plan(&stack(&shape(2), "1a2b3c4d")).await;
        let actions: Vec<Operation> = planned.steps.iter().map(|planned| planned.action).collect();
        assert_eq!(
            actions,
            [
                Operation::Unchanged,
                Operation::Update,
                Operation::Update,
                Operation::Unchanged
            ]
        );
        assert_eq!(planned.steps[2].fields[0].known_after, ["snapshot1"]);
    });
}

#[test]
fn what_others_have_put_something_into_stays_and_goes_off_the_record() {
    block_on(async {
        let mut world = World::new();
        let shape = vec![(0, 1, vec![]), (0, 1, vec![0])];
        assert!(world.up(&stack(&shape, "1a2b3c4d")).await.is_done());
        world.options.occupied = [("plain1".to_owned(), "method GET /theirs".to_owned())].into();
        let less = stack(&vec![shape[0].clone()], "1a2b3c4d");
        let plan = world.plan(&less).await;
        let planned = plan.with(Operation::Leave).next().unwrap();
        assert_eq!(planned.step, "plain1");
        assert!(planned.why.as_ref().unwrap().contains("method GET /theirs"));
        let result = world.up(&less).await;
        assert!(result.is_done() && result.changed == 0, "{result:?}");
        assert_eq!((world.cloud.names(), world.recorded()), (names(&shape), 1));
        let left = |event: &Event| matches!(event, Event::StepFinished { step, outcome: Outcome::Left, .. } if step == "plain1");
        assert!(world.events.borrow().iter().any(left));
    });
}

#[test]
fn what_others_have_put_something_into_is_not_replaced() {
    block_on(async {
        let mut world = World::new();
        let shape = vec![(0, 1, vec![]), (0, 1, vec![0])];
        let declared = stack(&shape, "1a2b3c4d");
        assert!(world.up(&declared).await.is_done());
        world.options.occupied = [("plain1".to_owned(), "method GET /theirs".to_owned())].into();
        world.options.replace = ["plain1".to_owned()].into();
        let plan = world.plan(&declared).await;
        let refused: Vec<_> = plan
            .with(Operation::Refused)
            .map(|planned| planned.step.as_str())
            .collect();
        assert_eq!(refused, ["plain1"]);
    });
}

#[test]
fn what_the_stack_no_longer_has_is_removed() {
    block_on(async {
        let mut world = World::new();
        assert!(world.up(&stack(&sample(), "1a2b3c4d")).await.is_done());
        let smaller: Shape = sample()[..4].to_vec();
        assert!(world.up(&stack(&smaller, "1a2b3c4d")).await.is_done());
        world.assert_whole(&smaller);
    });
}

#[test]
fn stopped_it_finishes_what_runs_begins_nothing_new_and_goes_on_later() {
    block_on(async {
        let mut world = World::new();
        let stack = stack(&sample(), "1a2b3c4d");
        let (stop, stopped) = watch::channel(false);
        let run = world.run_until(Verb::Up(&stack), None, stopped);
        let (result, ()) = futures_util::future::join(run, async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            stop.send(true).unwrap();
        })
        .await;
        let result = result.unwrap();
        assert!(result.interrupted && result.failed.is_empty());
        let roots = sample().iter().filter(|(.., needs)| needs.is_empty()).count();
        assert_eq!(world.cloud.names().len(), roots);
        assert_eq!(world.recorded(), roots);
        assert!(world.up(&stack).await.is_done());
        world.assert_whole(&sample());
    });
}

#[test]
fn a_stop_is_told_once_also_when_it_comes_while_a_step_is_settled() {
    block_on(async {
        let (stop, stopped) = watch::channel(false);
        let mut told = 0;
        let mut report = |timed: TimedEvent| match timed.event {
            Event::StepFinished { .. } => drop(stop.send_replace(true)),
            Event::Stopping { running } => {
                assert!(running > 0);
                told += 1;
            }
            _ => {}
        };
        let (mut state, disk) = (empty_state(), Disk::new());
        let mut engine = Engine {
            cloud: Rc::default(),
            kinds: KINDS,
            ledger: Ledger::new(&mut state, &disk),
            report: &mut report,
            clock: Clock::start(),
            stop: stopped,
            lost: false,
            late_until: None,
        };
        let result = {
            let options = World::new().options;
            up_as_planned(&mut engine, &stack(&sample(), "1a2b3c4d"), &options)
                .await
                .unwrap()
        };
        drop(engine);
        assert!(result.interrupted);
        assert_eq!(told, 1);
    });
}

#[test]
fn a_lane_has_one_call_at_a_time() {
    block_on(async {
        let mut world = World::new();
        let shape = vec![(0, 7, vec![]), (0, 7, vec![]), (0, 7, vec![])];
        assert!(world.up(&stack(&shape, "1a2b3c4d")).await.is_done());
        assert_eq!(world.cloud.most_sent.get(), 1);
        world.assert_whole(&shape);
    });
}

#[test]
fn nothing_is_asked_of_the_cloud_that_is_not_on_record() {
    struct Full;
    impl Store for Full {
        fn commit<'a>(&'a self, _: &State) -> LocalBoxFuture<'a, Result<(), StateError>> {
            async { Err(refused("the disk is full")) }.boxed_local()
        }

        fn check(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
            unreachable!("the engine commits")
        }

        fn remove(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
            unreachable!("the engine removes nothing")
        }
    }
    block_on(async {
        let cloud: Rc<Cloud> = Rc::default();
        let result = up_as_planned(
            &mut Engine {
                cloud: cloud.clone(),
                kinds: KINDS,
                ledger: Ledger::new(&mut empty_state(), &Full),
                report: &mut |_| (),
                clock: Clock::start(),
                stop: watch::channel(false).1,
                lost: false,
                late_until: None,
            },
            &stack(&sample(), "1a2b3c4d"),
            &World::new().options,
        )
        .await
        .unwrap();
        assert!(!result.is_done());
        assert_eq!(cloud.calls.get(), 0);
    });
}

/// Saves so often, until another run has taken over.
struct Taken(Cell<usize>);
impl Store for Taken {
    fn commit<'a>(&'a self, _: &State) -> LocalBoxFuture<'a, Result<(), StateError>> {
        let why = "taken".to_owned();
        let left = self.0.get().checked_sub(1);
        self.0.set(left.unwrap_or_default());
        let saved = left.map(|_| ()).ok_or(StateError::Lost { why });
        async { saved }.boxed_local()
    }

    fn check(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
        unreachable!("the engine commits")
    }

    fn remove(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
        unreachable!("the engine removes nothing")
    }
}

#[test]
fn a_run_that_lost_its_lock_begins_nothing_more_and_names_what_it_made() {
    block_on(async {
        let mut saves = 1;
        loop {
            let cloud: Rc<Cloud> = Rc::default();
            let mut events = Vec::new();
            // With intents that are durable already, and something in every lane.
            let (mut state, taken) = (empty_state(), Taken(Cell::new(saves)));
            let mut engine = Engine {
                cloud: cloud.clone(),
                kinds: KINDS,
                ledger: Ledger::new(&mut state, &taken),
                report: &mut |told| events.push(told.event),
                clock: Clock::start(),
                stop: watch::channel(false).1,
                lost: false,
                late_until: None,
            };
            let shape = vec![
                (0, 7, vec![]),
                (0, 7, vec![]),
                (0, 7, vec![]),
                (1, 1, vec![]),
                (0, 2, vec![3]),
                (0, 2, vec![4]),
                (0, 2, vec![5]),
            ];
            let result = up_as_planned(&mut engine, &stack(&shape, "1a2b3c4d"), &World::new().options)
                .await
                .unwrap();
            let lost = engine.lost;
            drop(engine);
            if result.is_done() {
                assert!(!lost);
                break;
            }
            assert!(lost && !result.failed.is_empty(), "after {saves} saves");
            let is_failed = |event: &Event| matches!(event, Event::StepFailed { .. });
            let (before, after) = events.split_at(events.iter().position(is_failed).unwrap());
            let is_started = |event: &&Event| matches!(event, Event::StepStarted { .. });
            assert_eq!(after.iter().filter(is_started).count(), 0, "after {saves} saves");
            let begun = before.iter().filter(is_started).count();
            assert_eq!(cloud.calls.get(), begun, "what was begun was finished");
            // Everything that is in the cloud was told to be on record, or told with its id not to be.
            for id in cloud.things.borrow().keys() {
                let not_on_record = format!("{id} was created, which is not on record");
                let told = events.iter().any(|event| match event {
                    Event::StepFinished { id: Some(told), .. } => *told == id.to_string(),
                    Event::StepFailed { error, .. } => error.contains(&not_on_record),
                    _ => false,
                });
                assert!(told, "after {saves} saves: {id}: {events:?}");
            }
            saves += 1;
        }
        assert!(saves > 3, "it was lost at some of the writes");
    });
}

#[test]
fn a_down_that_lost_its_lock_begins_nothing_more() {
    block_on(async {
        let mut world = World::new();
        let shape = vec![(0, 1, vec![]), (1, 1, vec![]), (0, 1, vec![]), (1, 2, vec![0])];
        assert!(world.up(&stack(&shape, "1a2b3c4d")).await.is_done());
        let made = world.cloud.calls.get();
        let mut state = world.disk.saved.borrow().clone().unwrap();
        let taken = Taken(Cell::new(1));
        let mut engine = Engine {
            cloud: world.cloud.clone(),
            kinds: KINDS,
            ledger: Ledger::new(&mut state, &taken),
            report: &mut |_| (),
            clock: Clock::start(),
            stop: watch::channel(false).1,
            lost: false,
            late_until: None,
        };
        let not_ours = down::not_ours(&engine.cloud, KINDS, engine.ledger.state)
            .await
            .unwrap();
        let result = down::down(&mut engine, not_ours, false).await.unwrap();
        assert!(engine.lost && !result.is_done());
        // Three were intended together; the second save was refused, and nothing came after it.
        assert_eq!(world.cloud.calls.get() - made, 3);
    });
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop::collection::vec((0..4u8, 1..8u32, prop::collection::vec(0..10usize, 0..4)), 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Random stacks, killed at random writes on the way up and on the way down, with random calls landing.
    #[test]
    fn random_stacks_survive_random_kills(
        shape in shapes(),
        ups in prop::collection::vec((0..20usize, any::<bool>(), any::<u64>()), 0..4),
        downs in prop::collection::vec((0..20usize, any::<bool>(), any::<u64>()), 0..4),
        finish in any::<bool>(),
        takes in prop::sample::select(&WRITES_TAKE[..]),
        fault in prop::option::of((0..10usize, prop::bool::ANY)),
    ) {
        block_on(async {
            let mut world = World::new();
            world.disk.takes = takes;
            let stack = stack(&shape, "1a2b3c4d");
            if let Some((call, lost)) = fault {
                let fault = if lost { Fault::AnswerLost } else { Fault::RequestLost };
                world.cloud.faults.borrow_mut().insert(call, fault);
            }
            for (write, arrives, landing) in ups {
                world.run(Verb::Up(&stack), Some((write, arrives))).await;
                world.cloud.land(|number| landing >> (number % 64) & 1 == 1);
            }
            if finish {
                let result = world.up(&stack).await;
                assert!(result.is_done(), "{result:?}");
                world.assert_whole(&shape);
            }
            world.cloud.faults.borrow_mut().clear();
            for (write, arrives, landing) in downs {
                world.run(Verb::Down, Some((write, arrives))).await;
                world.cloud.land(|number| landing >> (number % 64) & 1 == 1);
            }
            let result = world.down().await;
            assert!(result.is_done(), "{result:?}");
            world.assert_nothing();
        });
    }

    /// One random stack turned into another, with kills, edits by someone else, and steps to replace on the way.
    #[test]
    fn a_stack_becomes_any_other_stack(
        before in shapes(),
        after in shapes(),
        ups in prop::collection::vec((0..20usize, any::<bool>(), any::<u64>(), any::<bool>()), 0..4),
        edits in any::<u16>(),
        replaced in prop::option::of(0..10usize),
        takes in prop::sample::select(&WRITES_TAKE[..]),
    ) {
        block_on(async {
            let mut world = World::new();
            world.disk.takes = takes;
            let (first, then) = (stack(&before, "1a2b3c4d"), stack(&after, "1a2b3c4d"));
            assert!(world.up(&first).await.is_done());
            let things: Vec<(u64, Value)> =
                world.cloud.things.borrow().iter().map(|(id, thing)| (*id, thing.desired.clone())).collect();
            for (id, mut desired) in things {
                if edits >> (id % 16) & 1 == 1 {
                    desired["size"] = 99.into();
                    world.cloud.happen(Effect::Update(id, desired));
                }
            }
            for (write, arrives, landing, forward) in ups {
                let stack = if forward { &then } else { &first };
                world.run(Verb::Up(stack), Some((write, arrives))).await;
                world.cloud.land(|number| landing >> (number % 64) & 1 == 1);
            }
            let step = replaced.filter(|index| *index < after.len()).map(|index| name(&after, index));
            world.options.replace = step.into_iter().collect();
            let result = world.up(&then).await;
            assert!(result.is_done(), "{result:?}");
            world.assert_whole(&after);
            world.options.replace.clear();
            assert!(world.plan(&then).await.is_empty());
            let result = world.down().await;
            assert!(result.is_done(), "{result:?}");
            world.assert_nothing();
        });
    }
}
