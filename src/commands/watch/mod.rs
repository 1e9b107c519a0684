//! `up --watch`: an `up`, and then another one for each change of the code or the configuration.
//!
//! Must not hold the state's lock while nothing is to be done, nor change anything but code unasked.

mod answers;
mod code;
mod follow;
mod sources;

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::answers::Answers;
use self::code::Update;
use self::follow::{Followed, follow};
use self::sources::Sources;
use super::foreign::{self, Extent};
use super::hints;
use super::invocation::Invocation;
use super::logs;
use super::open::{self, Declared};
use super::plan;
use super::stop::stop_signal;
use super::ui::{READING, Ui, is_yes};
use super::up::up;
use crate::cli::Up;
use crate::engine;
use crate::engine::plan::Plan;
use crate::engine::status::survey;
use crate::error::{Failure, Kind};
use crate::resources;
use crate::state::State;
use crate::watcher::Watcher;

/// When a change is tried again that another run's lock has held up.
const LOCKED_PAUSE: Duration = Duration::from_secs(2);
/// How often a plan is made again that was not true any more once the lock was taken.
const AGREED_TRIES: usize = 3;

/// Runs it.
pub(super) async fn run(invocation: &Invocation, args: &Up, ui: &Rc<Ui>) -> Result<(), Failure> {
    // While there is a listener, the first Ctrl-C does not end the process.
    let stop = stop_signal()?;
    let mut watcher = Watcher::new();
    let mut sources = Sources::default();
    // What is saved during the run is a change.
    sources.file_changed(invocation, &mut watcher);
    let declared = up(invocation, args, None, ui).await?;
    let followed = Followed::default();
    let following = follow(declared.session.cx_of_reads(ui), followed.clone(), ui);
    let mut watch = Watch {
        invocation,
        args,
        ui,
        stop,
        known: Version::of(&declared.state, true),
        declared,
        watcher,
        sources,
        followed,
        answers: None,
        unhandled: None,
        again: None,
        is_held_up: false,
    };
    watch.has_applied()?;
    watch.tell_begin();
    tokio::select! {
        biased;
        done = watch.run() => done,
        never = Box::pin(following) => match never {},
    }
}

/// The version of the state that the watch's last run left.
struct Version {
    serial: u64,
    owner: String,
    /// Whether that run has done all that it was to do. If not, its last write may have failed.
    is_done: bool,
}

impl Version {
    fn of(state: &State, is_done: bool) -> Self {
        Self {
            serial: state.serial,
            owner: state.owner.clone(),
            is_done,
        }
    }

    /// Whether another run has written this state.
    fn is_before(&self, state: &State) -> bool {
        let is_later = state.serial > self.serial;
        is_later || self.owner != state.owner || self.is_done && state.serial != self.serial
    }
}

struct Watch<'a> {
    invocation: &'a Invocation,
    args: &'a Up,
    ui: &'a Rc<Ui>,
    stop: watch::Receiver<bool>,
    /// What was applied last, with the code that is to be live.
    declared: Declared,
    known: Version,
    watcher: Watcher,
    sources: Sources,
    followed: Followed,
    answers: Option<Answers>,
    /// When the change was noticed that has made a question void.
    unhandled: Option<Instant>,
    /// When a change that could not begin is tried again.
    again: Option<Instant>,
    /// Whether that was told.
    is_held_up: bool,
}

/// How a question ended.
enum Answer {
    Yes,
    No,
    /// Something was saved, or the watch is to end: the question is void.
    Void,
}

impl Watch<'_> {
    /// Handles one change after the other until Ctrl-C.
    async fn run(&mut self) -> Result<(), Failure> {
        let mut noticed = Instant::now();
        loop {
            self.look(noticed).await?;
            if self.ui.stdout_result().is_err() {
                return Ok(());
            }
            if let Some(earlier) = self.unhandled.take() {
                noticed = earlier;
                continue;
            }
            let again = self.again;
            noticed = tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => {
                    self.ui.progress("the watch has ended; the stack stays as it is");
                    return Ok(());
                }
                noticed = self.watcher.changed() => noticed,
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => Instant::now(),
            };
        }
    }

    /// Looks at all sources, and does what follows. Fails only where the watch cannot go on.
    async fn look(&mut self, noticed: Instant) -> Result<(), Failure> {
        let is_due = self.again.is_some_and(|again| again <= Instant::now());
        let changed = self
            .sources
            .changed(self.invocation, &self.declared.config, &mut self.watcher);
        let mut is_changed = is_due;
        if is_due {
            // What was to be applied may have been more than code.
            self.sources.forget_file();
            self.again = None;
        }
        for (name, package) in changed {
            match package {
                Ok(package) if package.sha256 == self.declared.packages[&name].sha256 => {}
                Ok(package) => {
                    self.declared.packages.insert(name, package);
                    is_changed = true;
                }
                Err(failure) => self.tell_not_applied(failure),
            }
        }
        let has_file_changed = self.sources.file_changed(self.invocation, &mut self.watcher);
        if is_changed {
            self.update_code(noticed).await?;
        }
        if has_file_changed && self.again.is_none() && !*self.stop.borrow() {
            self.apply_all().await?;
        }
        if self.again.is_none() {
            self.is_held_up = false;
        }
        Ok(())
    }

    /// Brings changed code to life; the fast path, if nothing else has changed.
    async fn update_code(&mut self, noticed: Instant) -> Result<(), Failure> {
        match Box::pin(code::update(self)).await {
            Ok(Update::Live(functions)) => self.tell_live(&functions, noticed),
            Ok(Update::Other) => return self.apply_all().await,
            Ok(Update::Gone) => {
                let stack = &self.declared.state.stack;
                return Err(Failure::new(
                    Kind::Failed,
                    anyhow::anyhow!("another run has deleted stack {stack}"),
                )
                .hinted("run `provision up --watch` to create it again"));
            }
            Err(failure) => self.go_on_after(failure)?,
        }
        Ok(())
    }

    /// Plans as `up` does, and applies that if it is only code, or agreed to.
    async fn apply_all(&mut self) -> Result<(), Failure> {
        for _ in 0..AGREED_TRIES {
            let (declared, plan) = match Box::pin(self.plan()).await {
                Ok(planned) => planned,
                Err(failure) => return self.go_on_after(failure),
            };
            if plan.is_empty() {
                self.declared = declared;
                self.has_applied()?;
                self.ui.progress("plan: nothing to do");
                return Ok(());
            }
            let is_foreign = self.known.is_before(&declared.state);
            if is_foreign {
                self.ui.warn("another run has changed the stack since");
            }
            if (is_foreign || !code::is_all_of(&plan)) && !self.is_agreed(&plan).await {
                return Ok(());
            }
            match Box::pin(up(self.invocation, self.args, Some(&plan), self.ui)).await {
                Ok(declared) => {
                    self.declared = declared;
                    return self.has_applied();
                }
                Err(failure) if failure.kind == Kind::Differs => {
                    self.ui.warn("something has changed since the plan was shown");
                }
                Err(failure) => {
                    // What the run has written is not another's, if it has begun.
                    if failure.kind == Kind::Failed
                        && let Ok(Some(state)) = self.declared.reload().await
                    {
                        self.known = Version::of(&state, false);
                    }
                    return self.go_on_after(failure);
                }
            }
        }
        self.tell_not_applied(Failure::usage(
            "the stack is changed by others all the time; nothing was changed",
        ));
        Ok(())
    }

    /// Shows a plan, and asks whether to apply it, unless that was said beforehand.
    async fn is_agreed(&mut self, plan: &Plan) -> bool {
        let text = if self.ui.is_live() {
            plan::text::summary(plan)
        } else {
            plan::text::text(plan, false)
        };
        self.ui.progress(text.trim_end());
        if self.args.yes {
            return true;
        }
        match self.ask().await {
            Some(Answer::Yes) => return true,
            Some(Answer::No) => self.ui.progress("cancelled; nothing was changed"),
            // The next look plans again.
            Some(Answer::Void) => self.sources.forget_file(),
            None => {
                let not_asked = Failure::usage(
                    "this changes more than code, and there is no terminal to ask on; nothing was changed",
                );
                self.tell_not_applied(not_asked.hinted("run `provision up`, or start the watch with --yes"));
            }
        }
        false
    }

    /// What `up` would do with what is in the files now, and for that all that it reads.
    async fn plan(&self) -> Result<(Declared, Plan), Failure> {
        // The stack has an owner, unless it was deleted.
        let declared = Declared::open(self.invocation, Some(""), self.ui).await?;
        if declared.state.steps.is_empty() {
            return Err(open::no_state(&declared.state.stack));
        }
        declared.refuse(self.invocation)?;
        sources::check_all(&declared.config, &declared.packages)?;
        let stack = declared.stack();
        let mut options = plan::wish(&self.args.changes, &stack)?;
        let aws = declared.session.aws_for_a_survey();
        let reading = async {
            tokio::try_join!(
                survey(&aws, resources::KINDS, &declared.state),
                foreign::look(&aws, &declared.state, Extent::All)
            )
        };
        let (observed, foreign) = self.ui.show_wait(READING, reading).await?;
        options.occupied = foreign::occupied(&declared.state, &foreign)?;
        let plan = engine::plan::plan(&stack, &declared.state, &observed, resources::KINDS, &options);
        let plan = plan.map_err(open::unusable)?;
        plan::refuse(&plan)?;
        drop(stack);
        Ok((declared, plan))
    }

    /// Asks whether to apply a plan, without a lock; `None` without a terminal.
    async fn ask(&mut self) -> Option<Answer> {
        if !Ui::can_confirm() {
            return None;
        }
        let State {
            stack,
            account,
            region,
            ..
        } = &self.declared.state;
        let question = format!("Apply this to stack {stack} in account {account}, region {region}?");
        let answers = self.answers.get_or_insert_with(Answers::new);
        answers.forget();
        self.followed.is_asking.set(true);
        self.ui.question(&question);
        let answer = loop {
            tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => break Answer::Void,
                line = answers.next() => break match line {
                    Some(line) if is_yes(&line) => Answer::Yes,
                    _ => Answer::No,
                },
                noticed = self.watcher.changed() => {
                    let config = &self.declared.config;
                    if self.sources.differ(self.invocation, config, &mut self.watcher) {
                        self.ui.progress("\nsomething was saved: the question is void");
                        self.unhandled = Some(noticed);
                        break Answer::Void;
                    }
                }
            }
        };
        self.followed.is_asking.set(false);
        Some(answer)
    }

    /// What is in `declared` is live now.
    fn has_applied(&mut self) -> Result<(), Failure> {
        self.known = Version::of(&self.declared.state, true);
        self.followed.groups.replace(logs::groups(&self.declared.state)?);
        // What was saved meanwhile is a change.
        self.sources.forget_functions();
        Ok(())
    }

    /// Tells what went wrong; fails if the watch is to end because of it.
    fn go_on_after(&mut self, failure: Failure) -> Result<(), Failure> {
        match failure.kind {
            Kind::Interrupted => return Err(failure),
            Kind::Locked => {
                self.again = Some(Instant::now() + LOCKED_PAUSE);
                if !std::mem::replace(&mut self.is_held_up, true) {
                    self.tell_not_applied(failure);
                    self.ui
                        .progress("this is tried again until the other run has ended");
                }
            }
            Kind::Failed | Kind::Usage | Kind::Differs => self.tell_not_applied(failure),
        }
        Ok(())
    }

    fn tell_begin(&self) {
        let functions: Vec<&String> = self.declared.config.functions.keys().collect();
        let file = self.invocation.config_path().display();
        let mut watched = vec![file.to_string()];
        watched.extend(functions.iter().map(|name| format!("function {name}")));
        self.ui
            .progress(&format!("watching  {}; press Ctrl-C to end", watched.join(", ")));
        if let Some(why) = self.watcher.lacks_events() {
            self.ui.warn(&format!(
                "changes are looked for every quarter of a second: {why}"
            ));
        }
        if self.ui.is_json() {
            self.ui
                .data(&json!({"event": "watching", "functions": functions}).to_string());
        }
    }

    fn tell_live(&self, functions: &[String], noticed: Instant) {
        if functions.is_empty() {
            return;
        }
        let millis = noticed.elapsed().as_millis();
        self.ui.progress(&format!(
            "live      {}: {millis} ms after the save",
            functions.join(", ")
        ));
        if self.ui.is_json() {
            let live = json!({"event": "live", "functions": functions, "millis": millis});
            self.ui.data(&live.to_string());
        }
    }

    fn tell_not_applied(&self, mut failure: Failure) {
        hints::add(&mut failure);
        self.ui.failure(&failure);
        if self.ui.is_json() {
            let causes = failure.error.iter().flat_map(engine::chain);
            let error: Vec<String> = causes.chain(failure.details.iter().cloned()).collect();
            self.ui
                .data(&json!({"event": "not_applied", "error": error}).to_string());
        }
    }
}
