//! Groups of horizontal bars: one group for a value of a setting, one bar for each server.

use crate::tools::lab::chart::canvas::Canvas;
use crate::tools::lab::chart::scale::{Scale, Unit};
use crate::tools::lab::chart::{Chart, Style, Width};

const BAR_PX: f64 = 15.0;
const ROW_PX: f64 = 20.0;
const GROUP_GAP_PX: f64 = 12.0;
/// Room right of the bars for their values: a column, so that none is taken for the end of a spread.
const VALUE_PX: f64 = 66.0;
/// Room of a group's name, where it stands left of its bars.
const NAME_PX: f64 = 118.0;
/// Longest name that has room there, characters.
const NAME_CHARS: usize = 15;

/// A bar with its spread.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    pub name: String,
    pub style: Style,
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// Bars that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub name: String,
    pub bars: Vec<Bar>,
}

/// Groups of bars on one scale.
#[derive(Clone, Debug, PartialEq)]
pub struct BarChart {
    pub title: String,
    pub note: String,
    pub unit: Unit,
    pub groups: Vec<Group>,
}

impl BarChart {
    fn legend(&self) -> Vec<(String, Style)> {
        let mut entries: Vec<(String, Style)> = Vec::new();
        for bar in self.groups.iter().flat_map(|group| &group.bars) {
            if !entries.iter().any(|(name, _)| *name == bar.name) {
                entries.push((bar.name.clone(), bar.style));
            }
        }
        entries
    }

    fn draw_bar(&self, canvas: &mut Canvas, bar: &Bar, y: f64, scale: &Scale) {
        let (zero, end) = (scale.px(0.0), scale.px(bar.value));
        let color = bar.style.color;
        let text = self.unit.text(bar.value);
        let tip =
            format!("{}: {text} ({} to {})", bar.name, self.unit.text(bar.low), self.unit.text(bar.high));
        let class = if bar.style.form == 0 { format!("f{color}") } else { format!("f{color} whisker") };
        canvas.rectangle((zero, y), (end - zero, BAR_PX), &class, &tip);
        let middle = y + BAR_PX / 2.0;
        canvas.line((scale.px(bar.low), middle), (scale.px(bar.high), middle), "axis");
        canvas.text(canvas.width() - 2.0, y + BAR_PX - 3.5, "t", "end", &text);
    }
}

impl Chart for BarChart {
    fn draw(&self, width: Width) -> String {
        let mut canvas = Canvas::new(width, &self.title, &self.note);
        let legend = self.legend();
        if legend.len() > 1 {
            canvas.legend(&legend, true);
        }
        let names_fit = self.groups.iter().all(|group| group.name.chars().count() <= NAME_CHARS);
        let is_beside = width != Width::Narrow && names_fit;
        let left = if is_beside { NAME_PX } else { 0.0 };
        let bars = || self.groups.iter().flat_map(|group| &group.bars);
        let high =
            bars().map(|bar| bar.value.max(bar.high)).filter(|value| value.is_finite()).fold(0.0, f64::max);
        let scale = Scale::exact(0.0, high, left, canvas.width() - VALUE_PX);
        let mut y = canvas.top + 2.0;
        for group in &self.groups {
            if is_beside {
                canvas.text(left - 10.0, y + BAR_PX - 3.5, "t strong", "end", &group.name);
            } else {
                canvas.text(0.0, y + 11.0, "t strong", "start", &group.name);
                y += 18.0;
            }
            for bar in &group.bars {
                self.draw_bar(&mut canvas, bar, y, &scale);
                y += ROW_PX;
            }
            y += GROUP_GAP_PX;
        }
        canvas.line((left, canvas.top), (left, y - GROUP_GAP_PX), "axis");
        canvas.finish(y)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bar, BarChart, Group};
    use crate::tools::lab::chart::canvas::tests::assert_well_formed;
    use crate::tools::lab::chart::scale::Unit;
    use crate::tools::lab::chart::{Chart, Style, Width};

    #[test]
    fn a_long_name_stands_above_its_bars() {
        let chart = |name: &str| {
            let bar = Bar { name: "x".to_owned(), style: Style::default(), value: 1.0, low: 1.0, high: 1.0 };
            let group = Group { name: name.to_owned(), bars: vec![bar] };
            let text = "t".to_owned();
            BarChart { title: text.clone(), note: text, unit: Unit::Bytes, groups: vec![group] }
        };
        let is_above = |name: &str| chart(name).draw(Width::Half).contains(&format!("\"start\">{name}<"));
        assert!(!is_above("4k pages") && is_above("fork-huge-pages no, hz 10"));
        assert_eq!(chart("4k").draw(Width::Half).matches("<circle").count(), 0, "one server needs no legend");
    }

    #[test]
    fn bars_are_well_formed_with_and_without_values() {
        for value in [0.0, 12.5, f64::NAN] {
            let bar = |name: &str| Bar {
                name: name.to_owned(),
                style: Style::default(),
                value,
                low: 0.0,
                high: value,
            };
            let group = Group { name: "4k".to_owned(), bars: vec![bar("tine"), bar("redis & others")] };
            let text = "t".to_owned();
            let chart = BarChart { title: text.clone(), note: text, unit: Unit::Bytes, groups: vec![group] };
            for width in [Width::Half, Width::Narrow] {
                assert_well_formed(&chart.draw(width));
            }
        }
    }
}
