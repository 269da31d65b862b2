//! SVG elements, and what all charts share: style sheet, title, legend, axes.
//!
//! ```text
//!  Title
//!  note, in words
//!  o tine   o redis-server            legend
//!  40 ms |------------------------
//!        |                             plot
//!      0 |________________________
//!          64 MiB     256 MiB          ticks
//!               data                   name of the axis
//! ```

use crate::tools::lab::chart::scale::{Scale, Unit};
use crate::tools::lab::chart::{Style, Width};
use std::fmt::Write;

/// Colours of the style sheet: `c0` to `c5`.
pub const COLORS: usize = 6;
/// The style sheet of drawings, in a page and alone.
pub const STYLE: &str = include_str!("chart.css");
/// Pixels of a character, about, at the size of notes and of titles.
const NOTE_CHARACTER_PX: f64 = 6.3;
const TITLE_CHARACTER_PX: f64 = 8.6;
const LINE_PX: f64 = 17.0;
/// Room of a legend's sign.
const SIGN_PX: f64 = 28.0;
const DASHES: [&str; 3] = ["", "7 4", "2 4"];

/// A drawing in the making.
pub struct Canvas {
    body: String,
    width: f64,
    /// Below what has been written so far.
    pub top: f64,
    label: String,
}

/// Where the plot is.
#[derive(Clone, Copy, Debug)]
pub struct Plot {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

/// Text inside an element or an attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Lines of at most so many characters, broken at blanks.
fn wrap(text: &str, characters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= characters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl Canvas {
    /// A canvas with a title and a note in words.
    pub fn new(width: Width, title: &str, note: &str) -> Canvas {
        let pixels = width.pixels();
        let mut canvas = Canvas { body: String::new(), width: pixels, top: 18.0, label: title.to_owned() };
        for line in wrap(title, (pixels / TITLE_CHARACTER_PX) as usize) {
            canvas.text(0.0, canvas.top, "t title", "start", &line);
            canvas.top += LINE_PX + 2.0;
        }
        for line in wrap(note, (pixels / NOTE_CHARACTER_PX) as usize) {
            canvas.text(0.0, canvas.top, "t note", "start", &line);
            canvas.top += LINE_PX - 1.0;
        }
        canvas
    }

    pub fn width(&self) -> f64 {
        self.width
    }

    /// One line of text; `y` is its base line.
    pub fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        self.raw(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        ));
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.raw(&format!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" class=\"{class}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A rectangle with a text that shows when it is pointed at.
    pub fn rectangle(&mut self, corner: (f64, f64), size: (f64, f64), class: &str, tip: &str) {
        self.raw(&format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" class=\"{class}\">{}</rect>",
            corner.0,
            corner.1,
            size.0.max(0.5),
            size.1.max(0.5),
            tip_of(tip)
        ));
    }

    /// A line through points.
    pub fn polyline(&mut self, points: &[(f64, f64)], style: Style, class: &str) {
        let dash = match DASHES[style.form % DASHES.len()] {
            "" => String::new(),
            dash => format!(" stroke-dasharray=\"{dash}\""),
        };
        let path = points.iter().fold(String::new(), |path, (x, y)| path + &format!("{x:.1},{y:.1} "));
        let color = style.color % COLORS;
        self.raw(&format!(
            "<polyline points=\"{}\" class=\"line s{color} {class}\"{dash}/>",
            path.trim_end()
        ));
    }

    /// The sign of a measured point.
    pub fn marker(&mut self, x: f64, y: f64, style: Style, tip: &str) {
        let (color, tip) = (style.color % COLORS, tip_of(tip));
        let element = match style.form % DASHES.len() {
            0 => {
                format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" class=\"dot f{color}\">{tip}</circle>")
            }
            1 => format!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\" class=\"hollow s{color}\">{tip}</rect>",
                x - 4.0,
                y - 4.0
            ),
            _ => format!(
                "<path d=\"M{x:.1} {:.1} l5.5 9 h-11 z\" class=\"hollow s{color}\">{tip}</path>",
                y - 6.0
            ),
        };
        self.raw(&element);
    }

    /// One entry for each series, in as many rows as it takes; with the signs of measured points or just
    /// with its line.
    pub fn legend(&mut self, entries: &[(String, Style)], with_signs: bool) {
        self.top += 4.0;
        let mut x = 0.0;
        let y = |canvas: &Canvas| canvas.top + 3.0;
        for (name, style) in entries {
            let needed = SIGN_PX + name.chars().count() as f64 * NOTE_CHARACTER_PX + 16.0;
            if x > 0.0 && x + needed > self.width {
                x = 0.0;
                self.top += LINE_PX + 1.0;
            }
            let middle = y(self) - 4.0;
            self.polyline(&[(x, middle), (x + SIGN_PX - 7.0, middle)], *style, "");
            if with_signs {
                self.marker(x + (SIGN_PX - 7.0) / 2.0, middle, *style, name);
            }
            self.text(x + SIGN_PX, y(self), "t", "start", name);
            x += needed;
        }
        self.top += LINE_PX;
    }

    /// Grid lines and texts of the values, left of the plot.
    pub fn value_axis(&mut self, plot: Plot, scale: &Scale, unit: Unit, wanted: usize) {
        for tick in scale.ticks(unit, wanted) {
            let y = scale.px(tick);
            self.line((plot.left, y), (plot.right, y), "grid");
            self.text(plot.left - 7.0, y + 4.0, "t tick", "end", &unit.text(tick));
        }
    }

    /// Ticks below the plot, those left out that would touch the one before; and the axis's name.
    pub fn bottom_axis(&mut self, plot: Plot, ticks: &[(f64, String)], name: &str) {
        self.line((plot.left, plot.bottom), (plot.right, plot.bottom), "axis");
        let mut free_from = f64::MIN;
        for (x, text) in ticks {
            let half = text.chars().count() as f64 * NOTE_CHARACTER_PX / 2.0;
            let middle = x.clamp(plot.left, self.width - half);
            if middle - half < free_from {
                continue;
            }
            self.line((*x, plot.bottom), (*x, plot.bottom + 5.0), "axis");
            self.text(middle, plot.bottom + 19.0, "t tick", "middle", text);
            free_from = middle + half + 8.0;
        }
        self.text((plot.left + plot.right) / 2.0, plot.bottom + 37.0, "t note", "middle", name);
    }

    pub fn raw(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    /// The drawing, down to `bottom`.
    pub fn finish(self, bottom: f64) -> String {
        let mut out = String::new();
        let (width, label) = (self.width, escape(&self.label));
        write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {bottom:.0}\" class=\"chart\" \
             role=\"img\" aria-label=\"{label}\">\n{}</svg>\n",
            self.body
        )
        .expect("writing to memory cannot fail");
        out
    }
}

fn tip_of(tip: &str) -> String {
    if tip.is_empty() { String::new() } else { format!("<title>{}</title>", escape(tip)) }
}

/// A drawing as a file of its own: with style sheet, background and a margin.
pub fn standalone(drawing: &str) -> String {
    let size = drawing.split_once("viewBox=\"0 0 ").and_then(|(_, rest)| rest.split_once('"'));
    let size = size.and_then(|(size, _)| size.split_once(' '));
    let (width, height): (f64, f64) = size
        .map_or((0.0, 0.0), |(width, height)| (width.parse().unwrap_or(0.0), height.parse().unwrap_or(0.0)));
    let (width, height) = (width + 24.0, height + 24.0);
    let old = drawing.split_once(" class=\"chart\"").map_or(drawing, |(head, _)| head);
    let new = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"-12 -12 {width:.0} {height:.0}\""
    );
    let background =
        format!("<rect x=\"-12\" y=\"-12\" width=\"{width:.0}\" height=\"{height:.0}\" class=\"back\"/>");
    let drawing = drawing.replacen(old, &new, 1);
    drawing.replacen(">\n", &format!(">\n<style>{STYLE}</style>\n{background}\n"), 1)
}

#[cfg(test)]
pub mod tests {
    use super::{Canvas, escape, standalone, wrap};
    use crate::tools::lab::chart::{Style, Width};

    /// Panics unless `text` is one well-formed element: tags match, attributes are quoted, no number is missing.
    pub fn assert_well_formed(text: &str) {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            assert!(!before.contains('>') || before.contains("--"), "a stray > in {before:?}");
            let (tag, after) = after.split_once('>').expect("a tag is closed");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            rest = after;
            if tag == "style" {
                rest = after.split_once("</style>").expect("the style sheet ends").1;
            } else if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "in {text}");
            } else if !tag.ends_with('/') {
                open.push(tag.split_whitespace().next().expect("a tag has a name"));
            }
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(!text.contains("NaN") && !text.contains("inf\""), "{text}");
    }

    #[test]
    fn texts_are_escaped_and_wrapped() {
        assert_eq!(escape("a<b & \"c\"\u{1}"), "a&lt;b &amp; &quot;c&quot; ");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    }

    #[test]
    fn a_drawing_is_well_formed_alone_and_in_a_page() {
        let mut canvas = Canvas::new(Width::Narrow, "Title with <angle> & quotes\"", "a note");
        let entries: Vec<(String, Style)> =
            (0..7).map(|n| (format!("series number {n}"), Style { color: n, form: n })).collect();
        canvas.legend(&entries, true);
        let bottom = canvas.top;
        assert!(bottom > 100.0, "the legend takes several rows: {bottom}");
        let drawing = canvas.finish(bottom);
        assert_well_formed(&drawing);
        let alone = standalone(&drawing);
        assert_well_formed(&alone);
        assert!(alone.contains("<style>") && alone.contains("viewBox=\"-12 -12 366"), "{alone}");
    }
}
