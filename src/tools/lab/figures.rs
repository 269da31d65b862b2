//! Which charts a chapter of the report has, and their data.
//!
//! | what the chapter varies | charts |
//! | --- | --- |
//! | a number (size, rate, value size, read share) | lines over it: fork pause, extra memory, memory for each write, latency |
//! | something else (pages, skew, kind of save) | bars for it: the same; fork pause at each save in a row |
//! | anything | extra memory against time; latency time lines |

use crate::tools::lab::chart::bars::{Bar, BarChart, Group};
use crate::tools::lab::chart::canvas::COLORS;
use crate::tools::lab::chart::line::{LineChart, Point, Series};
use crate::tools::lab::chart::scale::Unit;
use crate::tools::lab::chart::timeline::{Band, Span, Timeline};
use crate::tools::lab::chart::{Chart, Style};
use crate::tools::lab::experiment::{Cell, Chapter};
use crate::tools::lab::results::{Measured, Results, Run, Save};
use crate::tools::lab::sampler::Sample;
use crate::tools::lab::statistics::Spread;

/// Most lines in one chart, and time lines in one chapter.
const LINES_MAX: usize = 6;
const TIMELINES_MAX: usize = 4;
const SPREAD_NOTE: &str = "Median of the saves; the thin line spans all of them.";

/// A chart with the name of its file.
pub struct Figure {
    pub name: String,
    pub chart: Box<dyn Chart>,
    /// Over the whole width of the page.
    pub is_full: bool,
}

/// A figure of a save.
pub struct Quantity {
    pub title: &'static str,
    /// What it says, in a line.
    pub note: &'static str,
    pub slug: &'static str,
    pub unit: Unit,
    /// `None` where the save does not have it.
    pub of: fn(&Save) -> Option<f64>,
}

pub const FORK_PAUSE: Quantity = Quantity {
    title: "Fork pause",
    note: "How long nothing was served.",
    slug: "fork-pause",
    unit: Unit::Milliseconds,
    of: |save| Some(save.fork_us as f64 / 1000.0),
};
pub const FORK_PER_GIB: Quantity = Quantity {
    title: "Fork pause per GiB",
    note: "Of resident memory.",
    slug: "fork-per-gib",
    unit: Unit::Milliseconds,
    of: |save| Some(save.fork_ms_per_gib()),
};
pub const EXTRA: Quantity = Quantity {
    title: "Extra memory, peak",
    note: "What the child had for itself plus what the server grew.",
    slug: "extra-memory",
    unit: Unit::Bytes,
    of: |save| Some(save.extra_bytes as f64),
};
pub const EXTRA_PER_WRITE: Quantity = Quantity {
    title: "Extra memory for each write",
    note: "Peak, divided by the writes while the child lived.",
    slug: "extra-per-write",
    unit: Unit::Bytes,
    of: Save::extra_per_write_bytes,
};
pub const LATENCY: Quantity = Quantity {
    title: "Latency during the save, p99.9",
    note: "From the time a request was due, less stalls of the sender.",
    slug: "latency",
    unit: Unit::Microseconds,
    of: |save| (save.during.count > 0).then_some(save.during.p999_us),
};
pub const SECONDS: Quantity = Quantity {
    title: "Time of the save",
    note: "From the command to the end of the child.",
    slug: "save-time",
    unit: Unit::Seconds,
    of: |save| Some(save.seconds()),
};
pub const PAGE_TABLES: Quantity = Quantity {
    title: "Page tables",
    note: "Of the server before the fork: what the fork copies.",
    slug: "page-tables",
    unit: Unit::Bytes,
    of: |save| Some(save.page_tables_bytes as f64),
};

/// What a chapter varies.
struct Varied<'a> {
    cells: Vec<&'a Measured>,
    /// The number that goes to the right.
    number: Option<&'static str>,
    /// Everything else.
    others: Vec<String>,
    servers: Vec<String>,
}

/// The number behind a setting, its unit and its name in words.
fn number_of(axis: &str, cell: &Cell) -> Option<(f64, Unit, &'static str)> {
    match axis {
        "size" => Some((cell.size_bytes as f64, Unit::Bytes, "data: keys and values")),
        "write-rate" => Some((cell.write_rate as f64, Unit::PerSecond, "writes a second")),
        "value-size" => Some((cell.value_bytes as f64, Unit::Bytes, "size of a value")),
        "read-share" => Some((cell.read_share, Unit::Number, "share of reads")),
        _ => None,
    }
}

/// Names of all servers, in their order.
pub fn servers(results: &Results) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for measured in &results.cells {
        let name = measured.cell.server_name();
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

impl<'a> Varied<'a> {
    fn new(results: &'a Results, chapter: &Chapter) -> Varied<'a> {
        let cells: Vec<&Measured> = chapter.cells.iter().map(|index| &results.cells[*index]).collect();
        let cells: Vec<&Measured> =
            cells.into_iter().filter(|measured| measured.saves().next().is_some()).collect();
        let mut others: Vec<String> = Vec::new();
        for (name, _) in cells.iter().flat_map(|measured| &measured.cell.settings) {
            let first = cells[0].cell.value(name);
            if cells.iter().any(|measured| measured.cell.value(name) != first) && !others.contains(name) {
                others.push(name.clone());
            }
        }
        let numbers = ["size", "write-rate", "value-size", "read-share"];
        let number = numbers.into_iter().find(|number| others.iter().any(|name| name == number));
        others.retain(|name| Some(name.as_str()) != number);
        Varied { cells, number, others, servers: servers(results) }
    }

    /// What tells a cell from its neighbours, but for the number and the server.
    fn category(&self, cell: &Cell) -> String {
        let names = self.others.iter().filter(|name| *name != "server");
        let words: Vec<String> = names.map(|name| words_of(name, cell.value(name))).collect();
        words.join(", ")
    }

    fn categories(&self) -> Vec<String> {
        let mut categories: Vec<String> = Vec::new();
        for category in self.cells.iter().map(|measured| self.category(&measured.cell)) {
            if !categories.contains(&category) {
                categories.push(category);
            }
        }
        categories
    }

    fn name(&self, cell: &Cell) -> String {
        let category = self.category(cell);
        if category.is_empty() {
            cell.server_name().to_owned()
        } else {
            format!("{}, {category}", cell.server_name())
        }
    }

    /// A colour for each server; where there is one server, for each category.
    fn style(&self, cell: &Cell) -> Style {
        let category = self.categories().iter().position(|known| *known == self.category(cell)).unwrap_or(0);
        let server = self.servers.iter().position(|known| known == cell.server_name()).unwrap_or(0);
        if self.servers.len() > 1 {
            Style { color: server % COLORS, form: category }
        } else {
            Style { color: category % COLORS, form: category / COLORS }
        }
    }

    /// Name with the number, for drawings that show a single cell.
    fn full_name(&self, cell: &Cell) -> String {
        match self.number.and_then(|axis| number_of(axis, cell)) {
            Some((value, unit, _)) => format!("{}, {}", self.name(cell), unit.text(value)),
            None => self.name(cell),
        }
    }

    /// The cells where the number is largest, or all.
    fn at_largest(&self) -> Vec<&'a Measured> {
        let Some(axis) = self.number else { return self.cells.clone() };
        let value = |measured: &Measured| number_of(axis, &measured.cell).map_or(0.0, |(value, ..)| value);
        let largest = self.cells.iter().map(|measured| value(measured)).fold(f64::MIN, f64::max);
        self.cells.iter().copied().filter(|measured| value(measured) == largest).collect()
    }
}

/// A setting in words: `4k pages`, `skew zipf`.
fn words_of(name: &str, value: &str) -> String {
    match name {
        "page-size" if value == "default" => "its default pages".to_owned(),
        "page-size" if value == "kernel" => "the kernel's choice".to_owned(),
        "page-size" => format!("{value} pages"),
        "skew" | "save" => value.to_owned(),
        "size" | "value-size" | "write-rate" | "read-share" => format!("{} {value}", name.replace('-', " ")),
        other => format!("{} {value}", other.trim_start_matches("tine.").trim_start_matches("redis.")),
    }
}

/// A name for a file: letters, digits and hyphens.
pub fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => out.push(c.to_ascii_lowercase()),
            _ if !out.ends_with('-') && !out.is_empty() => out.push('-'),
            _ => {}
        }
    }
    out.trim_end_matches('-').to_owned()
}

/// All charts of a chapter.
pub fn figures(results: &Results, chapter: &Chapter) -> Vec<Figure> {
    let varied = Varied::new(results, chapter);
    if varied.cells.is_empty() {
        return Vec::new();
    }
    let prefix = slug(&chapter.title);
    let mut figures = Vec::new();
    let mut add = |name: &str, chart: Box<dyn Chart>, is_full: bool| {
        figures.push(Figure { name: format!("{prefix}-{name}"), chart, is_full });
    };
    match varied.number {
        Some(axis) => {
            let order = if axis == "size" {
                [&FORK_PAUSE, &EXTRA, &SECONDS, &LATENCY]
            } else {
                [&EXTRA, &EXTRA_PER_WRITE, &FORK_PER_GIB, &LATENCY]
            };
            for quantity in order {
                add(quantity.slug, Box::new(over_number(&varied, axis, quantity)), false);
            }
        }
        None => {
            if varied.cells.iter().any(|measured| measured.runs.iter().any(|run| run.saves.len() > 1)) {
                add("each-save", Box::new(each_save(&varied)), false);
            }
            let pages = varied.others.iter().any(|name| name == "page-size");
            let third = if pages { &PAGE_TABLES } else { &SECONDS };
            for quantity in [&EXTRA_PER_WRITE, third, &LATENCY] {
                add(quantity.slug, Box::new(bars(&varied, quantity)), false);
            }
        }
    }
    if let Some(chart) = memory_over_time(&varied) {
        add("memory-over-time", Box::new(chart), true);
    }
    for (number, timeline) in timelines(&varied).into_iter().enumerate() {
        add(&format!("latency-{}", number + 1), Box::new(timeline), true);
    }
    figures
}

fn spread(measured: &Measured, quantity: &Quantity) -> Option<Spread> {
    Spread::of(measured.saves().filter_map(quantity.of))
}

fn over_number(varied: &Varied, axis: &str, quantity: &Quantity) -> LineChart {
    let mut series: Vec<Series> = Vec::new();
    let mut x = (Unit::Number, "");
    for measured in &varied.cells {
        let (Some((value, unit, name)), Some(spread)) =
            (number_of(axis, &measured.cell), spread(measured, quantity))
        else {
            continue;
        };
        x = (unit, name);
        let point = Point { x: value, y: spread.median, low: spread.low, high: spread.high };
        let name = varied.name(&measured.cell);
        match series.iter_mut().find(|known| known.name == name) {
            Some(known) => known.points.push(point),
            None => series.push(Series { name, style: varied.style(&measured.cell), points: vec![point] }),
        }
    }
    series.iter_mut().for_each(|series| series.points.sort_by(|a, b| a.x.total_cmp(&b.x)));
    LineChart {
        title: quantity.title.to_owned(),
        note: format!("{} {SPREAD_NOTE}", quantity.note),
        x_name: x.1.to_owned(),
        x_unit: x.0,
        y_unit: quantity.unit,
        is_measured: true,
        series,
    }
}

fn bars(varied: &Varied, quantity: &Quantity) -> BarChart {
    let mut groups: Vec<Group> = Vec::new();
    for measured in &varied.cells {
        let Some(spread) = spread(measured, quantity) else { continue };
        let style = Style { form: 0, ..varied.style(&measured.cell) };
        let bar = Bar {
            name: measured.cell.server_name().to_owned(),
            style,
            value: spread.median,
            low: spread.low,
            high: spread.high,
        };
        let name = varied.category(&measured.cell);
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.bars.push(bar),
            None => groups.push(Group { name, bars: vec![bar] }),
        }
    }
    let note = format!("{} {SPREAD_NOTE}", quantity.note);
    BarChart { title: quantity.title.to_owned(), note, unit: quantity.unit, groups }
}

/// Fork pause per GiB at the first, second, third save in a row.
fn each_save(varied: &Varied) -> LineChart {
    let series = varied.cells.iter().take(LINES_MAX).map(|measured| {
        let count = measured.runs.iter().map(|run| run.saves.len()).max().unwrap_or(0);
        let at = |number: usize| {
            let saves = measured.runs.iter().filter_map(|run| run.saves.get(number));
            let spread = Spread::of(saves.map(Save::fork_ms_per_gib))?;
            Some(Point { x: (number + 1) as f64, y: spread.median, low: spread.low, high: spread.high })
        };
        let points = (0..count).filter_map(at).collect();
        Series { name: varied.name(&measured.cell), style: varied.style(&measured.cell), points }
    });
    LineChart {
        title: "Fork pause per GiB, save after save".to_owned(),
        note: "On one server, under the same load: what a save leaves behind meets the next fork.".to_owned(),
        x_name: "which save".to_owned(),
        x_unit: Unit::Number,
        y_unit: Unit::Milliseconds,
        is_measured: true,
        series: series.collect(),
    }
}

/// Extra memory from a fork to the child's end: the last save of each cell.
fn memory_over_time(varied: &Varied) -> Option<LineChart> {
    let all = if varied.cells.len() <= LINES_MAX { varied.cells.clone() } else { varied.at_largest() };
    let number_told = all.len() == varied.cells.len();
    let mut series: Vec<Series> = Vec::new();
    for measured in all.into_iter().take(LINES_MAX) {
        let Some((run, save)) = measured.runs.first().and_then(|run| Some((run, run.saves.last()?))) else {
            continue;
        };
        let mut style = varied.style(&measured.cell);
        let name = if number_told { varied.full_name(&measured.cell) } else { varied.name(&measured.cell) };
        if number_told && varied.number.is_some() {
            // Lines of one server are told apart by their form.
            style.form = series.iter().filter(|known| known.style.color == style.color).count();
        }
        series.push(Series { name, style, points: memory_points(run, save) });
    }
    let is_worth_it = series.iter().any(|series| series.points.len() > 3);
    is_worth_it.then(|| LineChart {
        title: "Extra memory against time".to_owned(),
        note: "From the fork to the end of the child, the last save of each.".to_owned(),
        x_name: "time since the fork".to_owned(),
        x_unit: Unit::Seconds,
        y_unit: Unit::Bytes,
        is_measured: false,
        series,
    })
}

/// Readings of the child are rarer than samples: between two of them the line is straight.
fn memory_points(run: &Run, save: &Save) -> Vec<Point> {
    let inside = run.memory.iter().filter(|sample| (save.reply_ms..=save.end_ms).contains(&sample.at_ms));
    let mut points = vec![Point { x: 0.0, y: 0.0, low: 0.0, high: 0.0 }];
    let mut samples: Vec<&Sample> = inside.filter(|sample| sample.child != 0).collect();
    // Where the kernel tells nothing of the child it is 0 all the time: then what the server grew by remains.
    samples.dedup_by(|later, sample| {
        later.child_private_bytes == sample.child_private_bytes && sample.child_private_bytes != 0
    });
    points.extend(samples.into_iter().map(|sample| {
        let extra = sample.child_private_bytes + sample.rss_bytes.saturating_sub(save.rss_bytes);
        let (x, y) = ((sample.at_ms - save.start_ms) as f64 / 1000.0, extra as f64);
        Point { x, y, low: y, high: y }
    }));
    let (x, y) = ((save.end_ms - save.start_ms) as f64 / 1000.0, save.extra_bytes as f64);
    let high = points.iter().map(|point| point.y).fold(0.0, f64::max);
    // The end was mostly not seen; but a child that has given memory back does not get it again.
    if points.last().is_none_or(|last| last.y >= high) {
        points.push(Point { x, y, low: y, high: y });
    }
    points
}

fn timelines(varied: &Varied) -> Vec<Timeline> {
    let mut cells: Vec<&Measured> = varied
        .at_largest()
        .into_iter()
        .filter(|m| m.runs.iter().any(|run| !run.latency.is_empty()))
        .collect();
    // What is to be compared stands together: all servers of one setting.
    let categories = varied.categories();
    cells.sort_by_key(|m| categories.iter().position(|known| *known == varied.category(&m.cell)));
    let runs: Vec<(&Cell, &Run)> =
        cells.iter().filter_map(|m| Some((&m.cell, m.runs.first()?))).take(TIMELINES_MAX).collect();
    let spans = || runs.iter().flat_map(|(_, run)| &run.latency);
    let end_s = spans().map(|b| b.start_ms as f64 / 1000.0 + 0.05).fold(0.0, f64::max);
    let high_us = spans().map(|b| f64::from(b.max_us)).fold(1.0, f64::max);
    let low_us = spans().map(|b| f64::from(b.p50_us.max(1))).fold(high_us, f64::min);
    let timeline = |(cell, run): &(&Cell, &Run)| Timeline {
        title: format!("Latency through the saves: {}", varied.full_name(cell)),
        note: "Line: p99 of each 50 ms. Shade: from the median to the longest. Band: a child lives."
            .to_owned(),
        style: Style { form: 0, ..varied.style(cell) },
        spans: run
            .latency
            .iter()
            .map(|b| Span {
                at_s: b.start_ms as f64 / 1000.0,
                p50_us: f64::from(b.p50_us.max(1)),
                p99_us: f64::from(b.p99_us.max(1)),
                max_us: f64::from(b.max_us.max(1)),
            })
            .collect(),
        bands: run
            .saves
            .iter()
            .map(|save| Band {
                from_s: save.start_ms as f64 / 1000.0,
                to_s: save.end_ms as f64 / 1000.0,
                fork_us: save.fork_us as f64,
            })
            .collect(),
        end_s,
        low_us,
        high_us,
    };
    runs.iter().map(timeline).collect()
}

#[cfg(test)]
mod tests {
    use super::{figures, slug};
    use crate::tools::lab::chart::Width;
    use crate::tools::lab::chart::canvas::tests::assert_well_formed;
    use crate::tools::lab::results::tests::example;

    #[test]
    fn each_chapter_has_the_charts_of_what_it_varies() {
        let text = "servers = tine, x=/y/redis-server\n[Sizes]\nsize = 1mb, 2mb\n[Pages & skew]\npage-size = 4k, 2m\nskew = zipf, uniform";
        let results = example(text);
        let names = |chapter: usize| -> Vec<String> {
            let figures = figures(&results, &results.chapters[chapter]);
            for figure in &figures {
                for width in [Width::Half, Width::Narrow] {
                    assert_well_formed(&figure.chart.draw(width));
                }
            }
            figures.into_iter().map(|figure| figure.name).collect()
        };
        let sizes = names(0);
        for name in ["sizes-fork-pause", "sizes-extra-memory", "sizes-memory-over-time", "sizes-latency-2"] {
            assert!(sizes.iter().any(|known| known == name), "{name}: {sizes:?}");
        }
        let pages = names(1);
        for name in ["pages-skew-each-save", "pages-skew-page-tables", "pages-skew-extra-per-write"] {
            assert!(pages.iter().any(|known| known == name), "{name}: {pages:?}");
        }
        assert_eq!(slug(" A/b  (c)"), "a-b-c");
    }

    #[test]
    fn a_chapter_without_results_has_no_charts() {
        let mut results = example("size = 1mb, 2mb");
        results.cells.iter_mut().for_each(|measured| measured.runs.clear());
        assert!(figures(&results, &results.chapters[0]).is_empty());
    }
}
