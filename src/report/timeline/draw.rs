//! Draws a timeline.
//!
//! Must not know events: it draws bars.

use std::time::Duration;

use super::{Bar, Timeline};
use crate::svg::{Place, Svg, count, cut, wide};

/// In pixels, as everything here.
const WIDTH: f64 = 1200.0;
/// How high all rows may be together, if no row needs more than its share.
const ROWS: f64 = 900.0;
/// The height of a row that has a name and texts of its own, and of all rows of a kind that have to share a name.
const NAMED: f64 = 20.0;
/// The widest name.
const NAME: f64 = 300.0;
/// How many kinds are named in a row.
const LEGEND: usize = 8;
/// Distinct from each other, and from black and white.
const COLOURS: [&str; 15] = [
    "#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#edc948", "#9c755f", "#ff9da7", "#8cd17d",
    "#a0a0a0", "#d37295", "#499894", "#b6992d", "#86bcb6", "#79706e",
];
const STYLE: &str = ".page{fill:#ffffff}
.stripe{fill:#818b98;fill-opacity:.1}
.grid{stroke:#818b98;stroke-opacity:.35}
text{fill:#1f2328}
.title{font-size:16px;font-weight:600}
.critical{fill:#c01020;font-weight:600}
.frame{fill:none;stroke:#c01020;stroke-width:1.5}
.failed{fill:none;stroke:#1f2328;stroke-width:2;stroke-dasharray:4 2}
@media (prefers-color-scheme:dark){.page{fill:#0d1117}text{fill:#e6edf3}.critical{fill:#ff7b72}.frame{stroke:#ff7b72}.failed{stroke:#e6edf3}}
";

/// Rows under one name: those of one bar or, where there are too many, of one kind.
struct Band {
    name: String,
    y: f64,
    bars: Vec<usize>,
}

/// From time to pixels.
struct Scale {
    left: f64,
    /// Of a second.
    pixels: f64,
}

impl Scale {
    fn x(&self, at: Duration) -> f64 {
        self.pixels.mul_add(at.as_secs_f64(), self.left)
    }
}

pub(super) fn draw(run: &Timeline) -> String {
    let critical = run.critical();
    let kinds = run.kinds();
    let top = 130.0 + 20.0 * count(kinds.len().saturating_sub(1) / LEGEND);
    let pitch = (ROWS / count(run.bars.len())).clamp(1.0, NAMED);
    let (bands, bottom) = bands(run, top, pitch);
    let names = bands.iter().map(|band| wide(&band.name));
    let left = names.fold(60.0, f64::max).min(NAME) + 40.0;
    let pixels = (WIDTH - 90.0 - left) / run.end.as_secs_f64().max(0.001);
    let scale = Scale { left, pixels };

    let mut svg = Svg::new(WIDTH, bottom + 30.0, STYLE);
    heading(&mut svg, run, &critical);
    for (index, kind) in kinds.iter().enumerate() {
        let (x, y) = (
            20.0 + 145.0 * count(index % LEGEND),
            90.0 + 20.0 * count(index / LEGEND),
        );
        let (width, height) = (12.0, 12.0);
        let colour = format!(r#"fill="{}""#, colour(index));
        svg.rect(
            colour,
            Place {
                x,
                y: y - 10.5,
                width,
                height,
            },
        );
        svg.text("", x + 16.0, y, &cut(kind, 120.0));
    }
    axis(&mut svg, &scale, run.end, top, bottom);
    let mut places = vec![Place::default(); run.bars.len()];
    let ends = bands.iter().skip(1).map(|band| band.y).chain([bottom - 6.0]);
    for (number, (band, end)) in bands.iter().zip(ends).enumerate() {
        let height = end - band.y;
        if number % 2 == 1 {
            svg.rect(
                r#"class="stripe""#,
                Place {
                    x: 8.0,
                    y: band.y,
                    width: WIDTH - 16.0,
                    height,
                },
            );
        }
        let is_critical = band.bars.iter().any(|bar| critical.contains(bar));
        let class = if is_critical { r#"class="critical" "# } else { "" };
        let name = cut(&band.name, NAME);
        svg.text(
            &format!(r#"{class}text-anchor="end""#),
            left - 12.0,
            band.y + height / 2.0 + 4.0,
            &name,
        );
        for (row, index) in band.bars.iter().enumerate() {
            let (x, gap) = (scale.x(run.bars[*index].start), 0.15 * pitch);
            places[*index] = Place {
                x,
                y: band.y + count(row) * pitch + gap,
                width: (scale.x(run.end_of(&run.bars[*index])) - x).max(1.0),
                height: pitch - 2.0 * gap,
            };
        }
    }
    for (bar, place) in run.bars.iter().zip(&places) {
        let kind = kinds.iter().position(|kind| *kind == run.kind(bar));
        self::bar(
            &mut svg,
            run,
            bar,
            *place,
            colour(kind.unwrap_or_default()),
            &scale,
        );
    }
    let critical: Vec<Place> = critical.iter().map(|index| places[*index]).collect();
    chain(&mut svg, &critical);
    svg.finish()
}

fn colour(kind: usize) -> &'static str {
    COLOURS[kind % COLOURS.len()]
}

/// Where each bar's row is, and where the rows end.
fn bands(run: &Timeline, top: f64, pitch: f64) -> (Vec<Band>, f64) {
    let mut bands: Vec<Band> = Vec::new();
    for index in run.in_order() {
        let kind = run.kind(&run.bars[index]);
        let of_kind = |band: &&mut Band| pitch < NAMED && run.kind(&run.bars[band.bars[0]]) == kind;
        if let Some(band) = bands.iter_mut().find(of_kind) {
            band.bars.push(index);
            band.name = format!("{kind} × {}", band.bars.len());
        } else {
            let (name, bars) = (run.bars[index].step.clone(), vec![index]);
            bands.push(Band { name, y: 0.0, bars });
        }
    }
    let mut y = top;
    for band in &mut bands {
        band.y = y;
        y += (pitch * count(band.bars.len())).max(NAMED);
    }
    (bands, y + 6.0)
}

fn heading(svg: &mut Svg, run: &Timeline, critical: &[usize]) {
    let failed = run.bars.iter().filter(|bar| bar.failed).count();
    let counts = [
        (run.bars.len(), "at work"),
        (failed, "failed"),
        (run.held_back, "held back"),
        (run.unchanged, "unchanged"),
        (run.gone_with.len(), "gone with another"),
    ];
    let counts = counts.iter().filter(|(number, _)| *number > 0);
    let facts: Vec<String> = std::iter::once(format!("{} s", seconds(run.end)))
        .chain(counts.map(|(number, what)| format!("{number} {what}")))
        .collect();
    let bars = || critical.iter().map(|index| &run.bars[*index]);
    let length: Duration = bars().map(|bar| run.lasted(bar)).sum();
    let names: Vec<&str> = bars().map(|bar| bar.step.as_str()).collect();
    let chain = match names.join(" → ") {
        none if none.is_empty() => "nothing had to be done".to_owned(),
        names => format!("critical path, {} s: {names}", seconds(length)),
    };
    svg.text(r#"class="title""#, 20.0, 28.0, &run.title);
    svg.text("", 20.0, 48.0, &facts.join(" · "));
    svg.text(r#"class="critical""#, 20.0, 66.0, &cut(&chain, WIDTH - 40.0));
}

/// A line at the first of 50 ms, 100 ms, 200 ms, 500 ms, … with which a dozen lines are enough.
fn axis(svg: &mut Svg, scale: &Scale, end: Duration, top: f64, bottom: f64) {
    let steps = (0..).map(|power| Duration::from_millis(50) * 10_u32.pow(power));
    let mut steps = steps.flat_map(|step| [step, step * 2, step * 4, step * 10]);
    let step = steps
        .find(|step| end <= *step * 12)
        .expect("the steps have no end");
    let mut at = Duration::ZERO;
    while at <= end {
        let (x, label) = (scale.x(at), format!("{} s", at.as_secs_f64()));
        svg.path(r#"class="grid""#, &format!("M{x:.1} {top:.1}V{bottom:.1}"));
        for y in [top - 8.0, bottom + 16.0] {
            svg.text(r#"text-anchor="middle""#, x, y, &label);
        }
        at += step;
    }
}

/// A bar: pale from its first wait on, with a tick at each wait, and as much text beside it as there is room for.
fn bar(svg: &mut Svg, run: &Timeline, bar: &Bar, place: Place, colour: &str, scale: &Scale) {
    let lasted = format!("{} s", seconds(run.lasted(bar)));
    let (start, end) = (seconds(bar.start), seconds(run.end_of(bar)));
    let waited = bar.waits.iter();
    let tip: Vec<String> = std::iter::once(format!("{}: {start} s to {end} s, {lasted}", bar.step))
        .chain(waited.map(|(at, what)| format!("{} s: waiting for {what}", seconds(*at))))
        .collect();
    let waits = bar.waits.first().map_or(place.end(), |(at, _)| scale.x(*at));
    svg.group(&tip.join("\n"), |svg| {
        let mut fill = |opacity: &str, x: f64, to: f64| {
            if to > x {
                svg.rect(
                    format_args!(r#"fill="{colour}"{opacity}"#),
                    Place {
                        x,
                        width: to - x,
                        ..place
                    },
                );
            }
        };
        fill("", place.x, waits);
        fill(r#" fill-opacity="0.4""#, waits, place.end());
        for (at, _) in &bar.waits {
            fill("", scale.x(*at), scale.x(*at) + 2.0);
        }
        if bar.failed {
            svg.rect(r#"class="failed""#, place);
        }
        // Thin rows have no text.
        if place.height > 10.0 {
            let failed = if bar.failed { ", failed" } else { "" };
            let baseline = place.middle() + 4.0;
            svg.text("", place.end() + 6.0, baseline, &format!("{lasted}{failed}"));
            let what = bar.waits.last().map(|(_, what)| format!("waits for {what}"));
            let what = cut(&what.unwrap_or_default(), place.end() - waits - 8.0);
            // A few letters say nothing.
            if what.chars().count() > 9 {
                svg.text("", waits + 6.0, baseline, &what);
            }
        }
    });
}

/// The critical path: its bars framed, and a line from each one's end to the next one's beginning.
fn chain(svg: &mut Svg, places: &[Place]) {
    for place in places {
        svg.rect(r#"class="frame""#, *place);
    }
    let lines = places.windows(2).map(|pair| {
        let (x, y, to) = (pair[0].end(), pair[0].middle(), pair[1].middle());
        format!("M{x:.1} {y:.1}V{to:.1}H{:.1}", pair[1].x)
    });
    let lines: Vec<String> = lines.collect();
    if !lines.is_empty() {
        svg.path(r#"class="frame""#, &lines.concat());
    }
}

/// Hundredths only where there is not much else.
fn seconds(time: Duration) -> String {
    let digits = if time < Duration::from_secs(10) { 2 } else { 1 };
    format!("{:.digits$}", time.as_secs_f64())
}
