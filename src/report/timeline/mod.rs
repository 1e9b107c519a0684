//! A run as a picture: which step ran when, and which chain of steps took longest.
//!
//! Must not read a clock or write a file: events go in, the text of an SVG comes out.

mod draw;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use super::TimedEvent;
use super::event::{Event, Operation, Outcome};

/// What was heard of a run.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    title: String,
    /// By name: the kind, and the steps that it needs.
    steps: HashMap<String, (String, Vec<String>)>,
    bars: Vec<Bar>,
    /// Which step's deletion also deleted a step.
    gone_with: HashMap<String, String>,
    unchanged: usize,
    held_back: usize,
    /// When the last event came.
    end: Duration,
}

/// One operation on a step; a step that is replaced has two.
#[derive(Debug)]
struct Bar {
    step: String,
    deletes: bool,
    start: Duration,
    /// `None` while it runs.
    end: Option<Duration>,
    /// When it said that it waits, and for what.
    waits: Vec<(Duration, String)>,
    failed: bool,
}

impl Timeline {
    /// Takes in the next event.
    pub(crate) fn add(&mut self, told: &TimedEvent) {
        let at = told.at;
        self.end = at;
        match &told.event {
            Event::Started {
                command,
                stack,
                steps,
            } => {
                self.title = format!("{command} {stack}");
                let steps = steps.iter().cloned();
                self.steps = steps.map(|step| (step.step, (step.kind, step.needs))).collect();
            }
            Event::StepStarted { step, action } => self.bars.push(Bar {
                step: step.clone(),
                deletes: *action == Operation::Delete,
                start: at,
                end: None,
                waits: Vec::new(),
                failed: false,
            }),
            Event::Waiting { step, what } => {
                if let Some(bar) = self.running(step) {
                    bar.waits.push((at, what.clone()));
                }
            }
            Event::StepFinished {
                outcome: Outcome::Unchanged,
                ..
            } => self.unchanged += 1,
            Event::StepFinished {
                step,
                with: Some(parent),
                ..
            } => {
                self.gone_with.insert(step.clone(), parent.clone());
            }
            Event::StepFinished { step, millis, .. } => {
                if let Some(bar) = self.running(step) {
                    // The event comes once the result is on record, which may be later.
                    bar.end = Some(bar.start + Duration::from_millis(*millis));
                }
            }
            Event::StepFailed { step, .. } => {
                if let Some(bar) = self.running(step) {
                    bar.end = Some(at);
                    bar.failed = true;
                }
            }
            Event::HeldBack { .. } => self.held_back += 1,
            Event::Foreign(_) | Event::Rights { .. } | Event::Stopping { .. } | Event::Ended { .. } => {}
        }
    }

    /// Whether no run began.
    pub(crate) fn is_empty(&self) -> bool {
        self.title.is_empty()
    }

    /// The picture, complete in itself: no script, no font and no colour from elsewhere.
    pub(crate) fn svg(&self) -> String {
        draw::draw(self)
    }

    fn running(&mut self, step: &str) -> Option<&mut Bar> {
        let mut latest_first = self.bars.iter_mut().rev();
        latest_first.find(|bar| bar.step == step && bar.end.is_none())
    }

    fn kind(&self, bar: &Bar) -> &str {
        self.steps.get(&bar.step).map_or("", |(kind, _)| kind)
    }

    /// In the order in which they began.
    fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = Vec::new();
        for bar in &self.bars {
            if !kinds.contains(&self.kind(bar)) {
                kinds.push(self.kind(bar));
            }
        }
        kinds
    }

    fn end_of(&self, bar: &Bar) -> Duration {
        bar.end.unwrap_or(self.end)
    }

    fn lasted(&self, bar: &Bar) -> Duration {
        self.end_of(bar).saturating_sub(bar.start)
    }

    /// The bars by their beginning.
    fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.bars.len()).collect();
        order.sort_by_key(|index| self.bars[*index].start);
        order
    }

    /// The chain of bars, each of which had to end before the next could begin, that took longest; in order of time.
    fn critical(&self) -> Vec<usize> {
        let mut of_step: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, bar) in self.bars.iter().enumerate() {
            of_step.entry(&bar.step).or_default().push(index);
        }
        let mut users: HashMap<&str, Vec<&str>> = HashMap::new();
        for (step, (_, needs)) in &self.steps {
            // A step that is deleted with another one ends with that one's call.
            let own_call = self.gone_with.get(step).unwrap_or(step);
            for need in needs {
                users.entry(need).or_default().push(own_call);
            }
        }
        // Of each bar: how long the longest chain to its end is, and the bar before it in that chain.
        let mut best: Vec<(Duration, Option<usize>)> = vec![(Duration::ZERO, None); self.bars.len()];
        let order = self.in_order();
        for index in &order {
            let bar = &self.bars[*index];
            let mut earlier = vec![bar.step.as_str()];
            if bar.deletes {
                earlier.extend(users.get(bar.step.as_str()).into_iter().flatten());
            } else if let Some((_, needs)) = self.steps.get(&bar.step) {
                earlier.extend(needs.iter().map(String::as_str));
            }
            let before = (earlier.into_iter())
                .flat_map(|step| of_step.get(step).into_iter().flatten())
                .filter(|other| *other != index && self.end_of(&self.bars[**other]) <= bar.start)
                .max_by_key(|other| (best[**other].0, **other));
            let length = self.lasted(bar) + before.map_or(Duration::ZERO, |other| best[*other].0);
            best[*index] = (length, before.copied());
        }
        let last = order.into_iter().max_by_key(|index| best[*index].0);
        let mut chain: Vec<usize> = std::iter::successors(last, |index| best[*index].1).collect();
        chain.reverse();
        chain
    }
}
