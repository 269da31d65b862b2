//! Latency through the saves, on a logarithmic scale: for each short span the range from the median to the
//! longest, and the 99th percentile as a line; the life of each child as a band, each fork as a mark.

use crate::tools::lab::chart::canvas::{Canvas, Plot};
use crate::tools::lab::chart::scale::{Scale, Unit};
use crate::tools::lab::chart::{Chart, Style, Width};

/// Height of the plot.
const PLOT_PX: f64 = 170.0;
const LEFT_PX: f64 = 54.0;
/// Pixels for one span at least; closer ones are drawn as one.
const SPAN_PX: f64 = 2.0;
/// Length of a span.
const SPAN_S: f64 = 0.05;
/// Ticks of the time.
const TICKS: usize = 10;
/// Room of the text beside the mark of a fork.
const FORK_TEXT_PX: f64 = 66.0;

/// A short span; microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub at_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
}

/// A save.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    pub from_s: f64,
    pub to_s: f64,
    pub fork_us: f64,
}

/// The time line of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    pub title: String,
    pub note: String,
    pub style: Style,
    pub spans: Vec<Span>,
    pub bands: Vec<Band>,
    /// Ends of the scales, so that several time lines can be compared.
    pub end_s: f64,
    pub low_us: f64,
    pub high_us: f64,
}

/// Joins spans until each is wide enough to be seen: the worst of each figure.
fn join(spans: &[Span], x: &Scale) -> Vec<Span> {
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if x.px(span.at_s) - x.px(last.at_s) < SPAN_PX => {
                last.p50_us = last.p50_us.max(span.p50_us);
                last.p99_us = last.p99_us.max(span.p99_us);
                last.max_us = last.max_us.max(span.max_us);
            }
            _ => joined.push(*span),
        }
    }
    joined
}

impl Timeline {
    fn draw_bands(&self, canvas: &mut Canvas, plot: Plot, x: &Scale) {
        for band in &self.bands {
            let (from, to) = (x.px(band.from_s), x.px(band.to_s));
            canvas.rectangle((from, plot.top), (to - from, plot.bottom - plot.top), "band", "a child lives");
        }
    }

    fn draw_forks(&self, canvas: &mut Canvas, plot: Plot, x: &Scale) {
        let mut free_from = f64::MIN;
        for band in &self.bands {
            let at = x.px(band.from_s);
            canvas.line((at, plot.top - 4.0), (at, plot.bottom), "fork");
            let text = format!("fork {}", Unit::Microseconds.text(band.fork_us));
            let start = at.min(plot.right - FORK_TEXT_PX);
            if start >= free_from {
                canvas.text(start, plot.top - 8.0, "t tick", "start", &text);
                free_from = start + text.chars().count() as f64 * 6.5 + 6.0;
            }
        }
    }
}

impl Chart for Timeline {
    fn draw(&self, width: Width) -> String {
        let mut canvas = Canvas::new(width, &self.title, &self.note);
        let top = canvas.top + 12.0;
        let plot = Plot { left: LEFT_PX, right: canvas.width() - 8.0, top, bottom: top + PLOT_PX };
        let x = Scale::exact(0.0, self.end_s, plot.left, plot.right);
        let y = Scale::log(self.low_us, self.high_us, plot.bottom, plot.top);
        self.draw_bands(&mut canvas, plot, &x);
        canvas.value_axis(plot, &y, Unit::Microseconds, 5);
        let joined = join(&self.spans, &x);
        let color = self.style.color;
        for span in &joined {
            let (at, high, low) = (x.px(span.at_s), y.px(span.max_us), y.px(span.p50_us));
            let wide = (x.px(span.at_s + SPAN_S) - at).max(SPAN_PX);
            canvas.rectangle((at, high), (wide, low - high), &format!("soft f{color}"), "");
        }
        let line: Vec<(f64, f64)> =
            joined.iter().map(|span| (x.px(span.at_s) + SPAN_PX / 2.0, y.px(span.p99_us))).collect();
        canvas.polyline(&line, self.style, "thin");
        self.draw_forks(&mut canvas, plot, &x);
        let ticks = x.ticks(Unit::Seconds, if width == Width::Narrow { TICKS / 2 } else { TICKS });
        let ticks: Vec<(f64, String)> =
            ticks.into_iter().map(|tick| (x.px(tick), Unit::Seconds.text(tick))).collect();
        canvas.bottom_axis(plot, &ticks, "time since the load began");
        canvas.finish(plot.bottom + 44.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Band, Scale, Span, Timeline, join};
    use crate::tools::lab::chart::canvas::tests::assert_well_formed;
    use crate::tools::lab::chart::{Chart, Style, Width};

    #[test]
    fn the_worst_of_joined_spans_is_kept() {
        let span = |n: u32| Span {
            at_s: f64::from(n) / 100.0,
            p50_us: 10.0,
            p99_us: 20.0,
            max_us: f64::from(n % 7),
        };
        let spans: Vec<Span> = (0..1000).map(span).collect();
        let joined = join(&spans, &Scale::exact(0.0, 10.0, 0.0, 200.0));
        assert!((90..=110).contains(&joined.len()), "{}", joined.len());
        assert!(joined.iter().all(|span| span.max_us == 6.0 || span.at_s > 9.8));
        let bands = vec![
            Band { from_s: 1.0, to_s: 2.0, fork_us: 900.0 },
            Band { from_s: 1.1, to_s: 9.9, fork_us: 1.0 },
        ];
        let (title, note) = ("a".to_owned(), "b".to_owned());
        let style = Style::default();
        let timeline = Timeline { title, note, style, spans, bands, end_s: 10.0, low_us: 1.0, high_us: 30.0 };
        for width in [Width::Half, Width::Full, Width::Narrow] {
            assert_well_formed(&timeline.draw(width));
        }
        assert_well_formed(&Timeline { spans: Vec::new(), end_s: 0.0, ..timeline }.draw(Width::Full));
    }
}
