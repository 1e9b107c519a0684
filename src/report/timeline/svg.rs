//! Draws a timeline.
//!
//! Must not know events: it draws bars.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

use super::{Bar, Timeline};
use crate::untrusted::message;

/// In pixels, as everything here.
const WIDTH: f64 = 1200.0;
/// The size of text, from which its width is estimated.
const FONT: f64 = 12.0;
/// Up to so many bars have a row and a name each; of more, those of a kind share a name.
const ROOMY: usize = 40;
/// How high the rows of bars that share names may be together.
const CROWD: f64 = 900.0;
/// The widest label of a row.
const LABEL: f64 = 300.0;
/// Distinct from each other, and from black and white.
const COLOURS: [&str; 15] = [
    "#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#edc948", "#9c755f", "#ff9da7", "#8cd17d",
    "#a0a0a0", "#d37295", "#499894", "#b6992d", "#86bcb6", "#79706e",
];
/// Between two lines of the axis, in milliseconds: the first with which a dozen lines are enough.
const GRID: [u64; 16] = [
    50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000,
    1_800_000, 7_200_000,
];
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

/// Appends text. In braces, so that rustfmt leaves an element on its line.
macro_rules! add {
    ($svg:expr, $($arguments:tt)*) => {
        write!($svg, $($arguments)*).expect("a string takes all that is written to it")
    };
}

/// Appends a line.
macro_rules! draw {
    ($svg:expr, $($arguments:tt)*) => {
        { add!($svg, $($arguments)*); $svg.push('\n') }
    };
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

/// Where something is.
#[derive(Clone, Copy, Default)]
struct Place {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Place {
    fn end(self) -> f64 {
        self.x + self.width
    }

    fn middle(self) -> f64 {
        self.y + self.height / 2.0
    }

    fn framed(self, svg: &mut String, class: &str) {
        let Self { x, y, width, height } = self;
        draw! { svg, r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"# }
    }
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
    let mut legend: Vec<&str> = Vec::new();
    for bar in &run.bars {
        if !legend.contains(&run.kind(bar)) {
            legend.push(run.kind(bar));
        }
    }
    let (keys, top) = keys(&legend);
    let (bands, bottom) = bands(run, top);
    let labels = bands.iter().map(|band| wide(&band.label));
    let left = labels.fold(60.0, f64::max).min(LABEL) + 40.0;
    let pixels = (WIDTH - 90.0 - left) / run.end.as_secs_f64().max(0.001);
    let scale = Scale { left, pixels };
    let height = bottom + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" \
         font-family=\"ui-sans-serif, system-ui, sans-serif\" font-size=\"{FONT}\">\n{STYLE}\n\
         <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n"
    );
    heading(&mut svg, run, &critical);
    svg.push_str(&keys);
    axis(&mut svg, &scale, run.end, top, bottom);
    let mut places = vec![Place::default(); run.bars.len()];
    for (number, band) in bands.iter().enumerate() {
        let (y, height) = (band.y, band.height);
        if number % 2 == 1 {
            let width = WIDTH - 16.0;
            draw! { svg, r#"<rect class="stripe" x="8" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"# }
        }
        let is_critical = band.bars.iter().any(|bar| critical.contains(bar));
        let class = if is_critical { r#" class="critical""# } else { "" };
        let (x, middle, label) = (left - 12.0, y + height / 2.0 + 4.0, xml(&cut(&band.label, LABEL)));
        draw! { svg, r#"<text{class} x="{x:.1}" y="{middle:.1}" text-anchor="end">{label}</text>"# }
        let gap = if band.pitch > 10.0 { 3.0 } else { 0.15 * band.pitch };
        for (row, index) in band.bars.iter().enumerate() {
            let bar = &run.bars[*index];
            let x = scale.x(bar.start);
            places[*index] = Place {
                x,
                width: (scale.x(run.end_of(bar)) - x).max(1.0),
                y: y + count(row) * band.pitch + gap,
                height: band.pitch - 2.0 * gap,
            };
        }
    }
    for (bar, place) in run.bars.iter().zip(&places) {
        let kind = legend
            .iter()
            .position(|kind| *kind == run.kind(bar))
            .unwrap_or_default();
        self::bar(&mut svg, run, bar, *place, COLOURS[kind % COLOURS.len()], &scale);
    }
    chain(&mut svg, critical.iter().map(|index| places[*index]));
    svg.push_str("</svg>\n");
    svg
}

/// The colours of the kinds, and where they end.
fn keys(legend: &[&str]) -> (String, f64) {
    let (mut svg, mut x, mut y) = (String::new(), 20.0, 90.0);
    for (kind, colour) in legend.iter().zip(COLOURS.iter().cycle()) {
        let width = wide(kind) + 30.0;
        if x + width > WIDTH - 20.0 {
            (x, y) = (20.0, y + 20.0);
        }
        let (top, beside, kind) = (y - 10.5, x + 18.0, xml(kind));
        draw! { svg, r#"<rect x="{x:.1}" y="{top:.1}" width="12" height="12" rx="2" fill="{colour}"/>"# }
        draw! { svg, r#"<text x="{beside:.1}" y="{y:.1}">{kind}</text>"# }
        x += width;
    }
    (svg, y + 40.0)
}

/// Each bar under its step's name or, where there are too many, all of one kind under one name; and where they end.
fn bands(run: &Timeline, top: f64) -> (Vec<Band>, f64) {
    let is_crowded = run.bars.len() > ROOMY;
    let mut bands: Vec<Band> = Vec::new();
    let mut of_kind: HashMap<&str, usize> = HashMap::new();
    for index in run.in_order() {
        let bar = &run.bars[index];
        if is_crowded && let Some(band) = of_kind.get(run.kind(bar)) {
            bands[*band].bars.push(index);
            continue;
        }
        of_kind.insert(run.kind(bar), bands.len());
        bands.push(Band {
            label: bar.step.clone(),
            bars: vec![index],
            y: 0.0,
            height: 0.0,
            pitch: 20.0,
        });
    }
    let mut y = top;
    for band in &mut bands {
        if band.bars.len() > 1 {
            band.label = format!("{} × {}", run.kind(&run.bars[band.bars[0]]), band.bars.len());
            band.pitch = (CROWD / count(run.bars.len())).clamp(1.0, 6.0);
        }
        band.y = y;
        band.height = (band.pitch * count(band.bars.len())).max(20.0);
        y += band.height + if is_crowded { 6.0 } else { 0.0 };
    }
    (bands, y + 6.0)
}

fn heading(svg: &mut String, run: &Timeline, critical: &[usize]) {
    let mut facts = format!("{} s · {} at work", seconds(run.end), run.bars.len());
    let failed = run.bars.iter().filter(|bar| bar.failed).count();
    for (number, what) in [
        (failed, "failed"),
        (run.held_back, "held back"),
        (run.unchanged, "unchanged"),
        (run.gone_with.len(), "gone with another"),
    ] {
        if number > 0 {
            add! { facts, " · {number} {what}" }
        }
    }
    let bars = || critical.iter().map(|index| &run.bars[*index]);
    let length: Duration = bars().map(|bar| run.lasted(bar)).sum();
    let names: Vec<&str> = bars().map(|bar| bar.step.as_str()).collect();
    let chain = if names.is_empty() {
        "nothing had to be done".to_owned()
    } else {
        format!("critical path, {} s: {}", seconds(length), names.join(" → "))
    };
    draw! { svg, r#"<text class="title" x="20" y="28">{}</text>"#, xml(&run.title) }
    draw! { svg, r#"<text x="20" y="48">{}</text>"#, xml(&facts) }
    draw! { svg, r#"<text class="critical" x="20" y="66">{}</text>"#, xml(&cut(&chain, WIDTH - 40.0)) }
}

fn axis(svg: &mut String, scale: &Scale, end: Duration, top: f64, bottom: f64) {
    let grid = GRID.map(Duration::from_millis);
    let step = grid
        .into_iter()
        .find(|step| end <= *step * 12)
        .unwrap_or(grid[15]);
    let mut at = Duration::ZERO;
    while at <= end {
        let (x, label) = (scale.x(at), at.as_secs_f64());
        draw! { svg, r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{top:.1}" y2="{bottom:.1}"/>"# }
        for y in [top - 8.0, bottom + 16.0] {
            draw! { svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle">{label} s</text>"# }
        }
        at += step;
    }
    svg.push('\n');
}

/// A bar: pale from its first wait on, with a tick at each wait, and as much text beside it as there is room for.
fn bar(svg: &mut String, run: &Timeline, bar: &Bar, place: Place, colour: &str, scale: &Scale) {
    let (to, y, height) = (place.end(), place.y, place.height);
    let lasted = format!("{} s", seconds(run.lasted(bar)));
    let (start, end) = (seconds(bar.start), seconds(run.end_of(bar)));
    let mut tip = format!("{}: {start} s to {end} s, {lasted}", bar.step);
    for (at, what) in &bar.waits {
        add! { tip, "\n{} s: waiting for {what}", seconds(*at) }
    }
    add! { svg, "<g><title>{}</title>", xml(&tip) }
    let waits = bar.waits.first().map_or(to, |(at, _)| scale.x(*at));
    for (x, to, opacity) in [(place.x, waits, ""), (waits, to, r#" fill-opacity="0.4""#)] {
        if to > x {
            let width = to - x;
            draw! { svg, r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"{opacity}/>"# }
        }
    }
    for (at, _) in &bar.waits {
        let x = scale.x(*at);
        draw! { svg, r#"<rect x="{x:.1}" y="{y:.1}" width="2" height="{height:.1}" fill="{colour}"/>"# }
    }
    if bar.failed {
        place.framed(svg, "failed");
    }
    // Thin rows have no text.
    if height > 10.0 {
        let (x, baseline) = (to + 6.0, place.middle() + 4.0);
        let failed = if bar.failed { ", failed" } else { "" };
        draw! { svg, r#"<text x="{x:.1}" y="{baseline:.1}">{lasted}{failed}</text>"# }
        let what = bar.waits.last().map_or("", |(_, what)| what);
        let what = cut(&format!("waits for {what}"), to - waits - 8.0);
        // A few letters say nothing.
        if !bar.waits.is_empty() && what.chars().count() > 9 {
            let x = waits + 6.0;
            draw! { svg, r#"<text x="{x:.1}" y="{baseline:.1}">{}</text>"#, xml(&what) }
        }
    }
    draw! { svg, "</g>" }
}

/// The critical path: its bars framed, and a line from each one's end to the next one's beginning.
fn chain(svg: &mut String, places: impl Iterator<Item = Place>) {
    let mut line = String::new();
    let mut before: Option<Place> = None;
    for place in places {
        place.framed(svg, "frame");
        if let Some(before) = before {
            let (x, y) = (before.end(), before.middle());
            add! { line, "M{x:.1} {y:.1}V{:.1}H{:.1}", place.middle(), place.x }
        }
        before = Some(place);
    }
    if !line.is_empty() {
        draw! { svg, r#"<path class="frame" d="{line}"/>"# }
    }
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
    let mut kept = text.to_owned();
    if wide(text) > width {
        while !kept.is_empty() && wide(&kept) + FONT > width {
            kept.pop();
        }
        kept.push('…');
    }
    kept
}

/// Fit for XML: escaped, and without the control characters that XML cannot have.
fn xml(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(message).collect();
    let text = lines.join("\n").replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
