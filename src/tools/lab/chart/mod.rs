//! Charts as SVG, drawn for two widths: text keeps its size on a telephone, where a drawing that is merely scaled
//! down could not be read.
//!
//! | file | holds |
//! | --- | --- |
//! | `scale` | values to pixels, ticks, texts of values |
//! | `canvas` | elements, escaping, legend; the frame that all charts share |
//! | `line` | lines over a number: fork pause against size, memory against time |
//! | `timeline` | latency through the saves, on a logarithmic scale |
//! | `bars` | groups of horizontal bars |
//!
//! Colours are CSS variables, so that one drawing is good in light and in dark.

pub mod bars;
pub mod canvas;
pub mod line;
pub mod scale;
pub mod timeline;

/// For whom a chart is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Half of a desktop page.
    Half,
    /// All of it.
    Full,
    /// A telephone.
    Narrow,
}

impl Width {
    pub fn pixels(self) -> f64 {
        match self {
            Width::Half => 548.0,
            Width::Full => 1140.0,
            Width::Narrow => 342.0,
        }
    }
}

/// Colour and form of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Below [`canvas::COLORS`].
    pub color: usize,
    /// Solid, dashed, dotted; with it the form of the markers.
    pub form: usize,
}

/// Anything that can be drawn.
pub trait Chart {
    /// The drawing for a width, without its style sheet.
    fn draw(&self, width: Width) -> String;
}
