//! Lines over a number: measured points with their spread, or dense lines over time.

use crate::tools::lab::chart::canvas::{Canvas, Plot};
use crate::tools::lab::chart::scale::{Scale, Unit};
use crate::tools::lab::chart::{Chart, Style, Width};

/// Height of the plot.
const PLOT_PX: f64 = 210.0;
/// Room left of the plot for texts of values.
const LEFT_PX: f64 = 62.0;
/// Ticks of the values, about.
const TICKS: usize = 5;
/// Between the signs of two series at one place.
const ASIDE_PX: f64 = 3.0;
/// From this ratio on, points of an axis are spread by their logarithm.
const LOG_RATIO: f64 = 40.0;

/// A point, with the lowest and highest value measured there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
    pub low: f64,
    pub high: f64,
}

/// A line of points.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: String,
    pub style: Style,
    pub points: Vec<Point>,
}

/// Lines in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    pub title: String,
    pub note: String,
    pub x_name: String,
    pub x_unit: Unit,
    pub y_unit: Unit,
    /// Few measured points, with signs, and ticks where they are; otherwise a dense line.
    pub is_measured: bool,
    pub series: Vec<Series>,
}

impl LineChart {
    fn points(&self) -> impl Iterator<Item = &Point> {
        self.series.iter().flat_map(|series| &series.points)
    }

    /// The places of measured points, each once.
    fn places(&self) -> Vec<f64> {
        let mut places: Vec<f64> = self.points().map(|point| point.x).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        places
    }

    fn x_scale(&self, places: &[f64], plot: Plot) -> Scale {
        let (low, high) = (places.first().copied().unwrap_or(0.0), places.last().copied().unwrap_or(1.0));
        if !self.is_measured {
            return Scale::exact(0.0, high, plot.left, plot.right);
        }
        // Signs and their texts do not touch the frame.
        let (from, to) = (plot.left + 24.0, plot.right - 24.0);
        if self.x_unit == Unit::Number && high > low {
            // Numbers of saves and shares begin where they begin; amounts begin at 0.
            Scale::exact(low, high, from, to)
        } else if low > 0.0 && high / low >= LOG_RATIO {
            log_between(low, high, from, to)
        } else {
            Scale::exact(0.0, high, plot.left, to)
        }
    }

    fn draw_series(&self, canvas: &mut Canvas, series: &Series, x: &Scale, y: &Scale) {
        let at = |point: &Point| (x.px(point.x), y.px(point.y));
        let points: Vec<(f64, f64)> = series.points.iter().map(at).collect();
        canvas.polyline(&points, series.style, if self.is_measured { "" } else { "thin" });
        if !self.is_measured {
            return;
        }
        for point in &series.points {
            let (at, class) = (x.px(point.x), format!("whisker s{}", series.style.color));
            canvas.line((at, y.px(point.low)), (at, y.px(point.high)), &class);
        }
        for point in &series.points {
            let tip = format!(
                "{}: {} at {} ({} to {})",
                series.name,
                self.y_unit.text(point.y),
                self.x_unit.text(point.x),
                self.y_unit.text(point.low),
                self.y_unit.text(point.high)
            );
            canvas.marker(x.px(point.x), y.px(point.y), series.style, &tip);
        }
    }
}

/// A logarithmic scale whose ends are the values themselves.
fn log_between(low: f64, high: f64, from_px: f64, to_px: f64) -> Scale {
    let whole = Scale::log(low, high, 0.0, 1.0);
    let (low, high) = (whole.px(low), whole.px(high));
    let per_share = (to_px - from_px) / (high - low);
    whole.onto(from_px - low * per_share, to_px + (1.0 - high) * per_share)
}

impl Chart for LineChart {
    fn draw(&self, width: Width) -> String {
        let mut canvas = Canvas::new(width, &self.title, &self.note);
        let entries: Vec<_> = self.series.iter().map(|series| (series.name.clone(), series.style)).collect();
        canvas.legend(&entries, self.is_measured);
        let plot = Plot {
            left: LEFT_PX,
            right: canvas.width() - 8.0,
            top: canvas.top,
            bottom: canvas.top + PLOT_PX,
        };
        let high = self.points().map(|point| point.y.max(point.high)).fold(0.0, f64::max);
        let y = Scale::linear(high, self.y_unit, TICKS, plot.bottom, plot.top + 8.0);
        canvas.value_axis(plot, &y, self.y_unit, TICKS);
        let places = self.places();
        let x = self.x_scale(&places, plot);
        let ticks = if self.is_measured { places } else { x.ticks(self.x_unit, TICKS + 1) };
        let ticks: Vec<(f64, String)> =
            ticks.into_iter().map(|tick| (x.px(tick), self.x_unit.text(tick))).collect();
        canvas.bottom_axis(plot, &ticks, &self.x_name);
        let middle = (self.series.len() as f64 - 1.0) / 2.0;
        for (number, series) in self.series.iter().enumerate() {
            // Side by side, so that no spread hides another.
            let aside = if self.is_measured { (number as f64 - middle) * ASIDE_PX } else { 0.0 };
            self.draw_series(&mut canvas, series, &x.moved(aside), &y);
        }
        canvas.finish(plot.bottom + 44.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{LineChart, Point, Series, log_between};
    use crate::tools::lab::chart::canvas::tests::assert_well_formed;
    use crate::tools::lab::chart::scale::Unit;
    use crate::tools::lab::chart::{Chart, Style, Width};

    fn chart(is_measured: bool, points: Vec<Point>) -> LineChart {
        let series = vec![Series { name: "tine <1>".to_owned(), style: Style::default(), points }];
        let text = "text".to_owned();
        LineChart {
            title: text.clone(),
            note: text.clone(),
            x_name: text,
            x_unit: Unit::Bytes,
            y_unit: Unit::Milliseconds,
            is_measured,
            series,
        }
    }

    #[test]
    fn any_points_give_a_well_formed_drawing() {
        let point = |x: f64, y: f64| Point { x, y, low: y, high: y };
        let cases = [
            vec![],
            vec![point(0.0, 0.0)],
            vec![point(1.0, 5.0), point(1e9, 0.0)],
            vec![point(1e6, f64::NAN), point(2e6, 3.0)],
        ];
        for points in cases {
            for width in [Width::Half, Width::Full, Width::Narrow] {
                assert_well_formed(&chart(true, points.clone()).draw(width));
                assert_well_formed(&chart(false, points.clone()).draw(width));
            }
        }
    }

    #[test]
    fn ends_of_a_logarithmic_axis_are_at_its_ends() {
        let scale = log_between(2000.0, 80_000.0, 10.0, 110.0);
        assert!((scale.px(2000.0) - 10.0).abs() < 1e-6 && (scale.px(80_000.0) - 110.0).abs() < 1e-6);
    }
}
