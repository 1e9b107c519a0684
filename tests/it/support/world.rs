//! A stack of a test's own: a folder, an emulator, and a proxy between the binary and the emulator.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::moto::Moto;
use super::proxy::{Act, Moment, Proxy, Request};
use super::{Emulator, Place, Run};

/// The code of the functions of [`World::of`], where the test does not care.
pub(crate) const CODE: &str = "export const handler = async () => ({ statusCode: 200 });";

/// Where the state is of [`World::in_s3`].
const LOCATION: &str = "s3://team-state/provision";

/// What most tests of the binary run in.
pub(crate) struct World {
    pub place: Place,
    /// What [`World::run`] calls.
    pub proxy: Proxy,
    pub emulator: Emulator,
    /// Where the state is, if not in the folder.
    pub location: Option<&'static str>,
    /// The S3 that has the state, if it is not the emulator's.
    pub s3: Option<Moto>,
}

impl World {
    /// Without a `provision.toml`, so its stack is the sample.
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let emulator = Emulator::new(place.emulator());
        let proxy = Proxy::start(&emulator.endpoint);
        Self {
            place,
            proxy,
            emulator,
            location: None,
            s3: None,
        }
    }

    /// The sample with its state in a bucket of the emulator.
    pub(crate) fn in_s3() -> Self {
        let mut world = Self::new();
        world.run(&["state", "init", LOCATION]).ok();
        world.location = Some(LOCATION);
        world.proxy.take();
        world
    }

    /// The sample with its state in a bucket of another S3 than the emulator's.
    pub(crate) fn in_other_s3() -> Self {
        let mut world = Self::new();
        let other = Moto::start();
        world.proxy.send_s3_to(&other.endpoint);
        other.make_bucket("team-state");
        world.s3 = Some(other);
        world.location = Some(LOCATION);
        world
    }

    /// With this `provision.toml`, and this code in the folder `lambda`.
    pub(crate) fn of(file: &str, code: &str) -> Self {
        let world = Self::new();
        fs_err::create_dir(world.path("lambda")).unwrap();
        world.code(code);
        world.file(file);
        world
    }

    /// The path of something in the world's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(crate) fn file(&self, text: &str) {
        fs_err::write(self.path("provision.toml"), text).unwrap();
    }

    pub(crate) fn code(&self, text: &str) {
        fs_err::write(self.path("lambda/index.mjs"), text).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.at(&self.proxy.endpoint, args);
        command.envs(self.location.map(|location| ("PROVISION_STATE", location)));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.command(args).output().unwrap().into()
    }

    /// Whether anything is on record.
    pub(crate) fn has_state(&self) -> bool {
        match self.location {
            None => self.state_file().is_some(),
            Some(_) => self.run(&["state", "show"]).code == 0,
        }
    }

    /// The state file of the stack; `None` before the first `up` and after `down`.
    pub(crate) fn state_file(&self) -> Option<PathBuf> {
        let files = ["orders", "user-api"].map(|stack| self.path(&format!("state/{stack}.json")));
        files.into_iter().find(|file| file.exists())
    }

    /// Deletes the state, as an accident would.
    pub(crate) fn lose_state(&self) {
        match self.location {
            None => drop(self.state_file().map(fs_err::remove_file)),
            Some(location) => {
                let path = location.strip_prefix("s3:/").expect("it is in S3");
                self.emulator.delete("s3", &format!("{path}/user-api.json"));
            }
        }
    }

    /// Of a state in S3 the owner, and of every step the name, the kind and the phase.
    pub(crate) fn state(&self) -> Recorded {
        if self.location.is_some() {
            return Recorded(self.run(&["state", "show", "--json"]).ok().json());
        }
        let text = fs_err::read_to_string(self.state_file().expect("a stack is up")).unwrap();
        Recorded(serde_json::from_str(&text).unwrap())
    }

    /// [`Emulator::portrait`] of this stack.
    pub(crate) fn portrait(&self) -> Value {
        self.emulator.portrait(self.state().owner())
    }

    /// The writing calls since the last time that this or [`Proxy::take`] was called, in their order.
    pub(crate) fn writes(&self) -> Vec<String> {
        let requests = self.proxy.take();
        let writes = requests.iter().filter(|request| request.is_write());
        writes.map(Request::operation).collect()
    }

    /// Fails unless `status` and `plan` find nothing to change.
    pub(crate) fn assert_settled(&self, story: &str) {
        for args in [&["plan", "--check"][..], &["status"]] {
            let run = self.run(args);
            assert_eq!(run.code, 0, "{story}: {args:?}: {}{}", run.stdout, run.stderr);
        }
    }

    /// `down`, after which nothing is left.
    pub(crate) fn down(&self) {
        self.run(&["down", "--yes"]).ok();
        self.emulator.assert_nothing("after down");
    }

    /// Runs `args` and kills the process with SIGKILL at call number `at` of those that `is_meant` chooses, counted from
    /// 0: before the call goes to the emulator, or when its answer is there. Whether the process got that far.
    pub(crate) fn kill_at(
        &self,
        args: &[&str],
        at: usize,
        moment: Moment,
        is_meant: impl Fn(&Request) -> bool + Send + Sync + 'static,
    ) -> bool {
        let victim: Arc<Mutex<Option<Child>>> = Arc::default();
        let calls = AtomicUsize::new(0);
        let killed = Arc::new(AtomicUsize::new(0));
        let (target, done) = (victim.clone(), killed.clone());
        self.proxy.rule(move |request, now| {
            if now != moment || !is_meant(request) || calls.fetch_add(1, Ordering::SeqCst) != at {
                return Act::Pass;
            }
            let mut child = target.lock().unwrap();
            let child = child.as_mut().expect("it sends, so it was started");
            child.kill().unwrap();
            done.fetch_add(1, Ordering::SeqCst);
            Act::Cut
        });
        let mut child = victim.lock().unwrap();
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        *child = Some(command.spawn().unwrap());
        drop(child);
        let has_ended = || {
            victim
                .lock()
                .unwrap()
                .as_mut()
                .unwrap()
                .try_wait()
                .unwrap()
                .is_some()
        };
        while !has_ended() {
            std::thread::yield_now();
        }
        self.proxy.rule(|_, _| Act::Pass);
        self.proxy.take();
        killed.load(Ordering::SeqCst) == 1
    }
}

/// The state file of a stack, to find the resources in it.
pub(crate) struct Recorded(pub Value);

impl Recorded {
    pub(crate) fn owner(&self) -> &str {
        self.0["owner"].as_str().unwrap()
    }

    pub(crate) fn steps(&self) -> &[Value] {
        self.0["steps"].as_array().unwrap()
    }

    pub(crate) fn step(&self, step: &str) -> &Value {
        self.steps().iter().find(|record| record["step"] == step).unwrap()
    }

    pub(crate) fn output(&self, step: &str, field: &str) -> &str {
        self.step(step)["output"][field].as_str().unwrap()
    }

    pub(crate) fn desired(&self, step: &str, field: &str) -> &str {
        self.step(step)["desired"][field].as_str().unwrap()
    }

    /// What names the pool to Cognito.
    pub(crate) fn pool(&self) -> Value {
        json!({"UserPoolId": self.output("user-pool", "id")})
    }

    /// What names the client of a step, such as `client:app`, to Cognito.
    pub(crate) fn client(&self, step: &str) -> Value {
        json!({"UserPoolId": self.desired(step, "pool"), "ClientId": self.output(step, "client_id")})
    }

    /// Lambda's path of the function of a step, such as `function:user`.
    pub(crate) fn function(&self, step: &str) -> String {
        format!("/2015-03-31/functions/{}", self.desired(step, "name"))
    }

    /// API Gateway's path of the API.
    pub(crate) fn api(&self) -> String {
        format!("/restapis/{}", self.output("rest-api", "id"))
    }

    /// API Gateway's path of the method of a route, such as `route:GET /user`.
    pub(crate) fn method(&self, step: &str) -> String {
        let [path, verb] = ["path", "verb"].map(|field| self.desired(step, field));
        format!("{}/resources/{path}/methods/{verb}", self.api())
    }

    /// Where the emulator serves the stage.
    pub(crate) fn stage_url(&self, emulator: &Emulator) -> String {
        let stage = self.desired("stage", "name");
        format!("{}{}/{stage}/_user_request_", emulator.endpoint, self.api())
    }
}
