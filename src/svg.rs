//! Writes a picture: SVG that is complete in itself, with no script, no font and no colour from elsewhere.
//!
//! Must not know what it shows. Every text is escaped here and nowhere else.

use std::fmt::{Display, Write};

use crate::untrusted::message;

/// The size of text in pixels, as everything here, from which its width is estimated.
pub(crate) const FONT: f64 = 12.0;

/// How wide a letter is on average.
pub(crate) const LETTER: f64 = FONT * 0.56;

/// A picture that is being drawn.
pub(crate) struct Svg(String);

/// A rectangle.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Place {
    pub(crate) fn end(self) -> f64 {
        self.x + self.width
    }

    pub(crate) fn middle(self) -> f64 {
        self.y + self.height / 2.0
    }
}

impl Svg {
    /// An empty page. `style` is CSS; it has the classes `page` for the background and whatever else is drawn with.
    pub(crate) fn new(width: f64, height: f64, style: &str) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height:.0}\" width=\"{width}\" height=\"{height:.0}\" \
             font-family=\"ui-sans-serif, system-ui, sans-serif\" font-size=\"{FONT}\">\n<style>\n{style}</style>\n\
             <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n"
        ))
    }

    /// `attributes` are markup: nothing of a user's or a server's belongs there. So are those of the other elements.
    pub(crate) fn rect(&mut self, attributes: impl Display, place: Place) {
        let Place { x, y, width, height } = place;
        self.line(format_args!(
            r#"<rect {attributes} x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
        ));
    }

    /// A text whose baseline is at `y`.
    pub(crate) fn text(&mut self, attributes: &str, x: f64, y: f64, text: &str) {
        let (space, text) = (if attributes.is_empty() { "" } else { " " }, xml(text));
        self.line(format_args!(
            r#"<text{space}{attributes} x="{x:.1}" y="{y:.1}">{text}</text>"#
        ));
    }

    /// `d` is that of SVG: `M0 0H5`.
    pub(crate) fn path(&mut self, attributes: &str, d: &str) {
        self.line(format_args!(r#"<path {attributes} d="{d}"/>"#));
    }

    /// Groups what `draw` draws, with a text that shows where the pointer rests on it.
    pub(crate) fn group(&mut self, tip: &str, draw: impl FnOnce(&mut Self)) {
        self.line(format_args!("<g><title>{}</title>", xml(tip)));
        draw(self);
        self.line("</g>");
    }

    pub(crate) fn finish(self) -> String {
        self.0 + "</svg>\n"
    }

    fn line(&mut self, element: impl Display) {
        writeln!(self.0, "{element}").expect("a string takes all that is written to it");
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody draws 2^52 things")]
pub(crate) fn count(number: usize) -> f64 {
    number as f64
}

/// About how wide a text is: fonts differ.
pub(crate) fn wide(text: &str) -> f64 {
    count(text.chars().count()) * LETTER
}

/// As much of a text as fits.
pub(crate) fn cut(text: &str, width: f64) -> String {
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
