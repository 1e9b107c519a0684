//! The picture of a run: which step ran when, and which chain of them took longest.
//!
//! Must not read a clock or write a file: events and their times in, the text of an SVG out.

use std::collections::HashMap;
use std::time::Duration;

use super::event::{Event, Operation, Outcome};
use crate::untrusted::message;

/// In pixels, as everything here.
const WIDTH: f64 = 1200.0;
/// Of text; what it is as wide as is guessed from that.
const FONT: f64 = 12.0;
/// Up to so many bars have a row and a name each; beyond that, the steps of a kind share one name.
const ROOMY: usize = 40;
/// The rows of steps that share a name are together as high as this, if there are enough.
const CROWD: f64 = 900.0;
/// Distinct from each other, and from black and white.
const COLOURS: [&str; 15] = [
    "#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#edc948", "#9c755f", "#ff9da7", "#8cd17d",
    "#a0a0a0", "#d37295", "#499894", "#b6992d", "#86bcb6", "#79706e",
];

/// Listens to a run and draws it.
#[derive(Debug, Default)]
pub struct Timeline {
    title: String,
    /// By name: the kind, and the steps it needs.
    steps: HashMap<String, (String, Vec<String>)>,
    bars: Vec<Bar>,
    /// The bars that have not ended, by step.
    open: HashMap<String, usize>,
    /// Which step's deletion took a step along.
    gone_with: HashMap<String, String>,
    unchanged: usize,
    held_back: usize,
    /// When the last event came.
    end: Duration,
}

/// One step at work, once.
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

/// Bars under one name.
struct Band {
    label: String,
    bars: Vec<usize>,
    y: f64,
    height: f64,
    /// From one bar to the next.
    pitch: f64,
}

impl Timeline {
    /// Takes in an event that came `at` this time after the run's beginning.
    pub fn add(&mut self, at: Duration, event: &Event) {
        self.end = at;
        match event {
            Event::Started {
                command,
                stack,
                steps,
            } => {
                self.title = format!("{command} {stack}");
                self.steps = steps
                    .iter()
                    .map(|step| (step.step.clone(), (step.kind.clone(), step.needs.clone())))
                    .collect();
            }
            Event::StepStarted { step, action } => {
                self.open.insert(step.clone(), self.bars.len());
                self.bars.push(Bar {
                    step: step.clone(),
                    deletes: *action == Operation::Delete,
                    start: at,
                    end: None,
                    waits: Vec::new(),
                    failed: false,
                });
            }
            Event::Waiting { step, what } => {
                if let Some(bar) = self.open.get(step) {
                    self.bars[*bar].waits.push((at, what.clone()));
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
                // It is told once it is on record, which may be later.
                let took = Duration::from_millis(*millis);
                let start = self.open.get(step).map(|bar| self.bars[*bar].start);
                self.close(start.map_or(at, |start| start + took), step, false);
            }
            Event::StepFailed { step, .. } => self.close(at, step, true),
            Event::HeldBack { .. } => self.held_back += 1,
            Event::Foreign(_) | Event::Stopping { .. } | Event::Ended { .. } => {}
        }
    }

    fn close(&mut self, at: Duration, step: &str, failed: bool) {
        if let Some(bar) = self.open.remove(step) {
            let bar = &mut self.bars[bar];
            bar.end = Some(at);
            bar.failed = failed;
        }
    }

    /// Whether nothing was heard of any run.
    pub fn is_empty(&self) -> bool {
        self.title.is_empty()
    }

    fn kind(&self, bar: &Bar) -> &str {
        self.steps.get(&bar.step).map_or("", |(kind, _)| kind)
    }

    /// The chain of bars, each of which had to end before the next could begin, that took longest: indexes, in order of
    /// time.
    fn critical(&self) -> Vec<usize> {
        let mut of_step: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, bar) in self.bars.iter().enumerate() {
            of_step.entry(&bar.step).or_default().push(index);
        }
        let mut users: HashMap<&str, Vec<&str>> = HashMap::new();
        for (step, (_, needs)) in &self.steps {
            // What goes along with another step is deleted by that one's call.
            let own_call = self.gone_with.get(step).unwrap_or(step);
            for need in needs {
                users.entry(need).or_default().push(own_call);
            }
        }
        let mut order: Vec<usize> = (0..self.bars.len()).collect();
        order.sort_by_key(|index| self.bars[*index].start);
        // The longest chain to the end of each bar, and the bar before it there.
        let mut best: Vec<(Duration, Option<usize>)> = vec![(Duration::ZERO, None); self.bars.len()];
        for index in &order {
            let bar = &self.bars[*index];
            let needs = self.steps.get(&bar.step).map(|(_, needs)| needs.as_slice());
            let mut earlier: Vec<&str> = vec![&bar.step];
            if bar.deletes {
                earlier.extend(users.get(bar.step.as_str()).into_iter().flatten());
            } else {
                earlier.extend(needs.into_iter().flatten().map(String::as_str));
            }
            let before = (earlier.into_iter())
                .flat_map(|step| of_step.get(step).into_iter().flatten())
                .filter(|other| *other != index && self.end_of(&self.bars[**other]) <= bar.start)
                .max_by_key(|other| (best[**other].0, **other));
            let length = self.lasted(bar) + before.map_or(Duration::ZERO, |other| best[*other].0);
            best[*index] = (length, before.copied());
        }
        let mut chain = Vec::new();
        let mut next = order.into_iter().max_by_key(|index| best[*index].0);
        while let Some(index) = next {
            chain.push(index);
            next = best[index].1;
        }
        chain.reverse();
        chain
    }

    fn end_of(&self, bar: &Bar) -> Duration {
        bar.end.unwrap_or(self.end)
    }

    fn lasted(&self, bar: &Bar) -> Duration {
        self.end_of(bar).saturating_sub(bar.start)
    }

    /// Each bar under its step's name, or, where there are too many, all of one kind under one name; by their beginning.
    fn bands(&self, top: f64) -> Vec<Band> {
        let mut order: Vec<usize> = (0..self.bars.len()).collect();
        order.sort_by_key(|index| self.bars[*index].start);
        let crowded = order.len() > ROOMY;
        let mut bands: Vec<Band> = Vec::new();
        let mut of_kind: HashMap<&str, usize> = HashMap::new();
        for index in order {
            let kind = self.kind(&self.bars[index]);
            if crowded && let Some(band) = of_kind.get(kind) {
                bands[*band].bars.push(index);
                continue;
            }
            of_kind.insert(kind, bands.len());
            bands.push(Band {
                label: self.bars[index].step.clone(),
                bars: vec![index],
                y: 0.0,
                height: 0.0,
                pitch: 0.0,
            });
        }
        let pitch = (CROWD / count(self.bars.len())).clamp(1.0, 6.0);
        let mut y = top;
        for band in &mut bands {
            if band.bars.len() > 1 {
                let kind = self.kind(&self.bars[band.bars[0]]);
                band.label = format!("{kind} × {}", band.bars.len());
            }
            band.pitch = if band.bars.len() > 1 { pitch } else { 20.0 };
            band.y = y;
            band.height = (band.pitch * count(band.bars.len())).max(20.0);
            y += band.height + if crowded { 6.0 } else { 0.0 };
        }
        bands
    }

    /// The picture, complete in itself: no script, no font and no colour from elsewhere.
    pub fn svg(&self) -> String {
        let critical = self.critical();
        let legend = self.legend();
        let mut legend_rows = 1.0;
        let mut x = 20.0;
        let mut keys = String::new();
        for (kind, colour) in &legend {
            let width = wide(kind) + 30.0;
            if x + width > WIDTH - 20.0 {
                x = 20.0;
                legend_rows += 1.0;
            }
            let y = 70.0 + 20.0 * legend_rows;
            push(
                &mut keys,
                &format!(
                    "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>\n<text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
                    y - 10.5,
                    x + 18.0,
                    xml(kind)
                ),
            );
            x += width;
        }
        let top = 110.0 + 20.0 * legend_rows;
        let bands = self.bands(top);
        let bottom = bands.last().map_or(top, |band| band.y + band.height) + 6.0;
        let left = bands
            .iter()
            .map(|band| wide(&band.label))
            .fold(60.0, f64::max)
            .min(300.0)
            + 40.0;
        let scale = Scale {
            left,
            pixels: (WIDTH - 90.0 - left) / self.end.as_secs_f64().max(0.001),
        };
        let height = bottom + 30.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" \
             font-family=\"ui-sans-serif, system-ui, sans-serif\" font-size=\"{FONT}\">\n{STYLE}\n\
             <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n"
        );
        push(&mut svg, &self.heading(&critical));
        svg.push_str(&keys);
        push(&mut svg, &scale.axis(self.end, top, bottom));
        let mut places: HashMap<usize, (f64, f64)> = HashMap::new();
        for (number, band) in bands.iter().enumerate() {
            if number % 2 == 1 {
                push(
                    &mut svg,
                    &format!(
                        "<rect class=\"stripe\" x=\"8\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                        band.y,
                        WIDTH - 16.0,
                        band.height
                    ),
                );
            }
            let is_critical = band.bars.iter().any(|bar| critical.contains(bar));
            push(
                &mut svg,
                &format!(
                    "<text{} x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    if is_critical { " class=\"critical\"" } else { "" },
                    left - 12.0,
                    band.y + band.height / 2.0 + 4.0,
                    xml(&cut(&band.label, 300.0))
                ),
            );
            for (row, index) in band.bars.iter().enumerate() {
                let gap = if band.pitch > 10.0 { 3.0 } else { 0.15 * band.pitch };
                let y = band.y + count(row) * band.pitch;
                places.insert(*index, (y + gap, band.pitch - 2.0 * gap));
            }
        }
        for (index, bar) in self.bars.iter().enumerate() {
            let (y, height) = places[&index];
            let colour = legend
                .iter()
                .find(|(kind, _)| *kind == self.kind(bar))
                .map_or("", |(_, colour)| colour);
            push(&mut svg, &self.draw(bar, y, height, colour, &scale));
        }
        push(&mut svg, &self.chain(&critical, &places, &scale));
        svg.push_str("</svg>\n");
        svg
    }

    /// The kinds that were at work, in the order of their beginning, with their colours.
    fn legend(&self) -> Vec<(&str, &'static str)> {
        let mut legend: Vec<(&str, &str)> = Vec::new();
        for bar in &self.bars {
            let kind = self.kind(bar);
            if legend.iter().all(|(known, _)| *known != kind) {
                legend.push((kind, COLOURS[legend.len() % COLOURS.len()]));
            }
        }
        legend
    }

    fn heading(&self, critical: &[usize]) -> String {
        let mut facts = vec![
            format!("{} s", seconds(self.end)),
            format!("{} at work", self.bars.len()),
        ];
        let failed = self.bars.iter().filter(|bar| bar.failed).count();
        for (number, what) in [
            (failed, "failed"),
            (self.held_back, "held back"),
            (self.unchanged, "unchanged"),
            (self.gone_with.len(), "gone with another"),
        ] {
            if number > 0 {
                facts.push(format!("{number} {what}"));
            }
        }
        let length: Duration = critical.iter().map(|index| self.lasted(&self.bars[*index])).sum();
        let names: Vec<&str> = critical
            .iter()
            .map(|index| self.bars[*index].step.as_str())
            .collect();
        let chain = if names.is_empty() {
            "nothing had to be done".to_owned()
        } else {
            format!("critical path, {} s: {}", seconds(length), names.join(" → "))
        };
        format!(
            "<text class=\"title\" x=\"20\" y=\"28\">{}</text>\n<text x=\"20\" y=\"48\">{}</text>\n\
             <text class=\"critical\" x=\"20\" y=\"66\">{}</text>",
            xml(&self.title),
            xml(&facts.join(" · ")),
            xml(&cut(&chain, WIDTH - 40.0))
        )
    }

    /// A bar: pale from its first wait on, with a tick at each, and as much text beside it as there is room for.
    fn draw(&self, bar: &Bar, y: f64, height: f64, colour: &str, scale: &Scale) -> String {
        let end = self.end_of(bar);
        let (from, to) = (scale.x(bar.start), scale.x(end).max(scale.x(bar.start) + 1.0));
        let lasted = format!("{} s", seconds(self.lasted(bar)));
        let mut tip = vec![format!(
            "{}: {} s to {} s, {lasted}",
            bar.step,
            seconds(bar.start),
            seconds(end)
        )];
        let waits = (bar.waits.iter()).map(|(at, what)| format!("{} s: waiting for {what}", seconds(*at)));
        tip.extend(waits);
        let mut svg = format!("<g><title>{}</title>", xml(&tip.join("\n")));
        let waits = bar.waits.first().map_or(to, |(at, _)| scale.x(*at));
        let mut part = |from: f64, to: f64, opacity: &str| {
            let width = to - from;
            if width > 0.0 {
                push(
                    &mut svg,
                    &format!(
                        "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"{opacity}/>"
                    ),
                );
            }
        };
        part(from, waits, "");
        part(waits, to, " fill-opacity=\"0.4\"");
        for (at, _) in &bar.waits {
            push(
                &mut svg,
                &format!(
                    "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"2\" height=\"{height:.1}\" fill=\"{colour}\"/>",
                    scale.x(*at)
                ),
            );
        }
        if bar.failed {
            push(
                &mut svg,
                &format!(
                    "<rect class=\"failed\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                    to - from
                ),
            );
        }
        // Thin rows have no text.
        if height > 10.0 {
            let baseline = y + height / 2.0 + 4.0;
            let beside = if bar.failed {
                format!("{lasted}, failed")
            } else {
                lasted
            };
            push(
                &mut svg,
                &format!("<text x=\"{:.1}\" y=\"{baseline:.1}\">{beside}</text>", to + 6.0),
            );
            if let Some((_, what)) = bar.waits.last() {
                let what = cut(&format!("waits for {what}"), to - waits - 8.0);
                // A few letters say nothing.
                if what.chars().count() > 9 {
                    push(
                        &mut svg,
                        &format!(
                            "<text x=\"{:.1}\" y=\"{baseline:.1}\">{}</text>",
                            waits + 6.0,
                            xml(&what)
                        ),
                    );
                }
            }
        }
        svg.push_str("</g>");
        svg
    }

    /// The critical path: its bars framed, and a line from each one's end to the next one's beginning.
    fn chain(&self, critical: &[usize], places: &HashMap<usize, (f64, f64)>, scale: &Scale) -> String {
        let mut frames = String::new();
        let mut line: Vec<String> = Vec::new();
        let mut before: Option<(f64, f64)> = None;
        for index in critical {
            let (y, height) = places[index];
            let bar = &self.bars[*index];
            let (from, to) = (
                scale.x(bar.start),
                scale.x(self.end_of(bar)).max(scale.x(bar.start) + 1.0),
            );
            push(
                &mut frames,
                &format!(
                    "<rect class=\"frame\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                    to - from
                ),
            );
            let middle = y + height / 2.0;
            if let Some((to, middle_before)) = before {
                line.push(format!("M{to:.1} {middle_before:.1}V{middle:.1}H{from:.1}"));
            }
            before = Some((to, middle));
        }
        if !line.is_empty() {
            push(
                &mut frames,
                &format!("<path class=\"frame\" d=\"{}\"/>", line.concat()),
            );
        }
        frames
    }
}

const STYLE: &str = "<style>
.page{fill:#ffffff}
.stripe{fill:#818b98;fill-opacity:.1}
.grid{stroke:#818b98;stroke-opacity:.35}
text{fill:#1f2328}
.title{font-size:16px;font-weight:600}
.critical{fill:#c01020;font-weight:600}
.frame{fill:none;stroke:#c01020;stroke-width:1.5}
.failed{fill:none;stroke:#1f2328;stroke-width:2;stroke-dasharray:4 2}
@media (prefers-color-scheme:dark){.page{fill:#0d1117}text{fill:#e6edf3}.critical{fill:#ff7b72}.frame{stroke:#ff7b72}.failed{stroke:#e6edf3}}
</style>";

/// From time to pixels.
struct Scale {
    left: f64,
    /// A second.
    pixels: f64,
}

impl Scale {
    fn x(&self, at: Duration) -> f64 {
        self.pixels.mul_add(at.as_secs_f64(), self.left)
    }

    /// Lines at round seconds, no more than a dozen.
    fn axis(&self, end: Duration, top: f64, bottom: f64) -> String {
        let steps: [u64; 15] = [
            50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000,
            1_800_000,
        ];
        let step = steps
            .into_iter()
            .find(|step| end <= Duration::from_millis(step * 12));
        let step = Duration::from_millis(step.unwrap_or(7_200_000));
        let mut svg = String::new();
        let mut at = Duration::ZERO;
        while at <= end {
            let x = self.x(at);
            push(
                &mut svg,
                &format!(
                    "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>"
                ),
            );
            let label = format!("{} s", at.as_secs_f64());
            for y in [top - 8.0, bottom + 16.0] {
                push(
                    &mut svg,
                    &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{label}</text>"),
                );
            }
            at += step;
        }
        svg
    }
}

/// As its own line.
fn push(svg: &mut String, element: &str) {
    svg.push_str(element);
    svg.push('\n');
}

/// Hundredths only where there is not much else.
fn seconds(time: Duration) -> String {
    let digits = if time < Duration::from_secs(10) { 2 } else { 1 };
    format!("{:.digits$}", time.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "nobody draws 2^52 steps")]
fn count(number: usize) -> f64 {
    number as f64
}

/// About how wide a text is: fonts differ.
fn wide(text: &str) -> f64 {
    count(text.chars().count()) * FONT * 0.56
}

/// As much of a text as fits.
fn cut(text: &str, width: f64) -> String {
    if wide(text) <= width {
        return text.to_owned();
    }
    let mut kept = text.to_owned();
    while !kept.is_empty() && wide(&kept) + FONT > width {
        kept.pop();
    }
    kept.push('…');
    kept
}

/// Fit for XML: escaped, and without the control characters that XML cannot have.
fn xml(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(message).collect();
    lines
        .join("\n")
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::event::StepName;

    /// A run on a clock of its own, in milliseconds.
    struct Told(Timeline);

    impl Told {
        fn new(command: &'static str, steps: &[(&str, &str, &[&str])]) -> Self {
            let mut timeline = Timeline::default();
            let steps = steps.iter().map(|(step, kind, needs)| StepName {
                step: (*step).to_owned(),
                kind: (*kind).to_owned(),
                needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            });
            timeline.add(
                Duration::from_millis(100),
                &Event::Started {
                    command,
                    stack: "user-api".to_owned(),
                    steps: steps.collect(),
                },
            );
            Self(timeline)
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
            let start = self
                .0
                .open
                .get(step)
                .map(|bar| self.0.bars[*bar].start.as_millis());
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
            self.0.add(Duration::from_millis(at), event);
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
        roxmltree::Document::parse(&svg).unwrap();
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
        let document = roxmltree::Document::parse(&svg).unwrap();
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
        let document = roxmltree::Document::parse(&svg).unwrap();
        let number =
            |node: &roxmltree::Node, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
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
        assert_eq!(labels.filter(roxmltree::Node::is_element).count(), 1);
    }
}
