//! The report: one HTML file that needs nothing else, and each chart as a file of its own.

use crate::tools::lab::chart::Width;
use crate::tools::lab::chart::canvas::{STYLE, escape, standalone};
use crate::tools::lab::chart::scale::Unit;
use crate::tools::lab::experiment::Chapter;
use crate::tools::lab::figures::{
    EXTRA, EXTRA_PER_WRITE, FORK_PAUSE, FORK_PER_GIB, Figure, LATENCY, Quantity, SECONDS, figures, servers,
};
use crate::tools::lab::results::{Measured, Results};
use crate::tools::lab::statistics::Spread;
use std::fs;
use std::path::Path;

const PAGE_STYLE: &str = include_str!("page.css");
/// What the overview compares.
const OVERVIEW: [&Quantity; 4] = [&FORK_PER_GIB, &EXTRA_PER_WRITE, &SECONDS, &LATENCY];

/// Writes `report.html`, `charts/*.svg`, `saves.csv`, `latency.csv` into the folder.
///
/// # Errors
/// The file and the system's reason.
pub fn write(results: &Results, folder: &Path) -> Result<(), String> {
    let charts = folder.join("charts");
    fs::create_dir_all(&charts).map_err(|e| format!("mkdir({}): {e}", charts.display()))?;
    let put = |path: &Path, text: &str| fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()));
    let drawn: Vec<(&Chapter, Vec<Figure>)> =
        results.chapters.iter().map(|chapter| (chapter, figures(results, chapter))).collect();
    for figure in drawn.iter().flat_map(|(_, figures)| figures) {
        let drawing = standalone(&figure.chart.draw(wide(figure)));
        put(&charts.join(format!("{}.svg", figure.name)), &drawing)?;
    }
    put(&folder.join("saves.csv"), &results.saves_csv())?;
    put(&folder.join("latency.csv"), &results.latency_csv())?;
    put(&folder.join("report.html"), &page(results, &drawn))
}

fn wide(figure: &Figure) -> Width {
    if figure.is_full { Width::Full } else { Width::Half }
}

fn page(results: &Results, drawn: &[(&Chapter, Vec<Figure>)]) -> String {
    let title = escape(&results.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>{STYLE}{PAGE_STYLE}</style></head>\n<body><main>\n<h1>{title}</h1>\n"
    );
    if !results.about.is_empty() {
        out += &format!("<p class=\"lead\">{}</p>\n", escape(&results.about));
    }
    let machine =
        |name: &str| results.machine.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
    let facts = [results.made.as_str(), machine("kernel"), machine("processors"), machine("memory")];
    let facts: Vec<String> = facts.iter().filter(|fact| !fact.is_empty()).map(|fact| escape(fact)).collect();
    out += &format!("<p class=\"facts\">{}</p>\n", facts.join(" · "));
    out += &overview(results);
    for (chapter, figures) in drawn {
        out += &chapter_html(results, chapter, figures);
    }
    out += &all_cells(results);
    out += &repeat_html(results);
    out += &machine_html(results);
    out + "</main></body></html>\n"
}

/// One row for each figure, one column for each server: medians over all cells.
fn overview(results: &Results) -> String {
    let servers = servers(results);
    let mut out =
        "<section class=\"card\"><h2>Overview</h2><div class=\"scroll\"><table><thead><tr><th></th>"
            .to_owned();
    for server in &servers {
        let of_server = results.cells.iter().find(|measured| measured.cell.server_name() == server);
        let version =
            of_server.and_then(|measured| measured.runs.first()).map_or("", |run| run.version.as_str());
        out += &format!("<th>{}<br><small>{}</small></th>", escape(server), escape(version));
    }
    out += if servers.len() == 2 { "<th>ratio</th></tr></thead><tbody>\n" } else { "</tr></thead><tbody>\n" };
    for quantity in OVERVIEW {
        let medians: Vec<Option<f64>> =
            servers.iter().map(|server| median_of(results, server, quantity)).collect();
        let cells = medians
            .iter()
            .map(|m| format!("<td>{}</td>", m.map_or("-".to_owned(), |m| quantity.unit.text(m))));
        let ratio = match medians.as_slice() {
            [Some(first), Some(second)] if *first > 0.0 => format!("<td>{:.1}</td>", second / first),
            [_, _] => "<td>-</td>".to_owned(),
            _ => String::new(),
        };
        let cells: String = cells.collect();
        out += &format!("<tr><th>{}</th>{cells}{ratio}</tr>\n", escape(quantity.title));
    }
    let ratio = if servers.len() == 2 { "Ratio: the second by the first. " } else { "" };
    out + "</tbody></table></div><p class=\"note\">Medians over all saves of all settings below, which differ; \
           the chapters tell more. "
        + ratio
        + &lateness(results)
        + "</p></section>\n"
}

/// From this lateness of the sender on the machine had other work, which the servers felt as well, microseconds.
const BUSY_US: f64 = 20_000.0;

/// How late the load program was: what the figures are worth.
fn lateness(results: &Results) -> String {
    let late = results.cells.iter().flat_map(|measured| &measured.runs).map(|run| run.lateness_p999_us);
    match Spread::of(late) {
        Some(spread) if spread.high > 0.0 => format!(
            "The load program itself was late by {} (p99.9, median of the cells; {} in the worst); that time is taken \
             off the latencies.{}",
            Unit::Microseconds.text(spread.median),
            Unit::Microseconds.text(spread.high),
            if spread.high < BUSY_US {
                ""
            } else {
                " <strong>The machine had other work meanwhile, for which the servers waited as well: take the shapes from \
                 here, not the figures.</strong>"
            }
        ),
        _ => String::new(),
    }
}

fn median_of(results: &Results, server: &str, quantity: &Quantity) -> Option<f64> {
    let cells = results.cells.iter().filter(|measured| measured.cell.server_name() == server);
    Spread::of(cells.flat_map(Measured::saves).filter_map(quantity.of)).map(|spread| spread.median)
}

fn chapter_html(results: &Results, chapter: &Chapter, figures: &[Figure]) -> String {
    let mut out = format!("<section><h2>{}</h2>\n", escape(&chapter.title));
    if !chapter.about.is_empty() {
        out += &format!("<p>{}</p>\n", escape(&chapter.about));
    }
    out += &format!(
        "<p class=\"note\">{}</p>\n<div class=\"grid\">\n",
        escape(&common_settings(results, chapter))
    );
    for figure in figures {
        let (class, chart) = (if figure.is_full { "card full" } else { "card" }, &figure.chart);
        out += &format!(
            "<figure class=\"{class}\"><div class=\"wide\">{}</div><div class=\"narrow\">{}</div></figure>\n",
            chart.draw(wide(figure)),
            chart.draw(Width::Narrow)
        );
    }
    out += "</div></section>\n";
    if figures.is_empty() {
        out.replace("<div class=\"grid\">\n</div>", "<p>Nothing could be measured.</p>")
    } else {
        out
    }
}

/// What all cells of a chapter have in common, in words.
fn common_settings(results: &Results, chapter: &Chapter) -> String {
    let cells: Vec<&Measured> = chapter.cells.iter().map(|index| &results.cells[*index]).collect();
    let Some(first) = cells.first() else { return String::new() };
    let same = first.cell.settings.iter().filter(|(name, value)| {
        name != "server" && cells.iter().all(|measured| measured.cell.value(name) == value)
    });
    let same: Vec<String> = same.map(|(name, value)| format!("{name} {value}")).collect();
    if same.is_empty() { String::new() } else { format!("Everywhere: {}.", same.join(", ")) }
}

fn all_cells(results: &Results) -> String {
    let columns: [&Quantity; 6] = [&FORK_PAUSE, &FORK_PER_GIB, &SECONDS, &EXTRA, &EXTRA_PER_WRITE, &LATENCY];
    let mut out = "<section class=\"card\"><h2>All figures</h2><p class=\"note\">Median, and below it the range over the saves \
                   of a row.</p><div class=\"scroll\"><table><thead><tr><th>server</th><th class=\"text\">settings</th>\
                   <th>resident</th><th>page tables</th>"
        .to_owned();
    columns.iter().for_each(|quantity| out += &format!("<th>{}</th>", escape(quantity.title)));
    out += "<th>p99.9 before</th><th>p99.9 of the sender's lateness</th></tr></thead><tbody>\n";
    for measured in &results.cells {
        out += &cell_row(measured, &columns);
    }
    out + "</tbody></table></div></section>\n"
}

fn cell_row(measured: &Measured, columns: &[&Quantity]) -> String {
    let cell = &measured.cell;
    let words = cell.words();
    let settings = words.strip_prefix(cell.server_name()).unwrap_or(&words).trim();
    let mut out =
        format!("<tr><th>{}</th><td class=\"text\">{}", escape(cell.server_name()), escape(settings));
    if let Some(failure) = &measured.failure {
        out += &format!("<br><strong>{}</strong>", escape(failure));
    }
    out += "</td>";
    let median = |values: Vec<f64>| Spread::of(values).map(|spread| spread.median);
    let plain = |value: Option<f64>, unit: Unit| {
        format!("<td>{}</td>", value.map_or("-".to_owned(), |v| unit.text(v)))
    };
    out += &plain(median(measured.saves().map(|save| save.rss_bytes as f64).collect()), Unit::Bytes);
    out += &plain(median(measured.saves().map(|save| save.page_tables_bytes as f64).collect()), Unit::Bytes);
    for quantity in columns {
        out += &match Spread::of(measured.saves().filter_map(quantity.of)) {
            Some(spread) => format!(
                "<td>{}<br><small>{} to {}</small></td>",
                quantity.unit.text(spread.median),
                quantity.unit.text(spread.low),
                quantity.unit.text(spread.high)
            ),
            None => "<td>-</td>".to_owned(),
        };
    }
    let before =
        measured.saves().filter(|save| save.before.count > 0).map(|save| save.before.p999_us).collect();
    out += &plain(median(before), Unit::Microseconds);
    let late = measured.runs.iter().map(|run| run.lateness_p999_us).collect();
    out + &plain(median(late), Unit::Microseconds) + "</tr>\n"
}

fn repeat_html(results: &Results) -> String {
    let mut out = format!(
        "<section class=\"card\"><h2>How to repeat it</h2><pre>{}</pre><p>The experiment (as \
         <code>experiment.lab</code> beside this page); it took {} s:</p><pre>{}</pre>\n",
        escape(&results.command),
        results.seconds,
        escape(results.experiment.trim())
    );
    out += "<details><summary>Command lines of the servers</summary><pre>";
    for measured in &results.cells {
        for run in &measured.runs {
            out += &escape(&run.command_line);
            out.push('\n');
        }
    }
    out + "</pre></details><p class=\"note\">Requests are due at fixed times, whatever the server does; latency counts from \
           then, less the time in which the load program itself got no processor. Extra memory: private pages of the child (smaps_rollup, or what the server reports of it) plus the growth \
           of the server since the fork. All figures: <code>saves.csv</code>, <code>latency.csv</code>, \
           <code>results.json</code>.</p></section>\n"
}

fn machine_html(results: &Results) -> String {
    let rows: String = results
        .machine
        .iter()
        .map(|(name, value)| {
            format!("<tr><th>{}</th><td class=\"text\">{}</td></tr>\n", escape(name), escape(value))
        })
        .collect();
    format!(
        "<section class=\"card\"><h2>The machine</h2><div class=\"scroll\"><table><tbody>{rows}</tbody></table></div></section>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::{figures, page, write};
    use crate::tools::lab::results::tests::example;

    #[test]
    fn the_page_is_whole_and_needs_nothing_else() {
        let mut results = example(
            "title = a <b> & c\nservers = tine, x=/y/redis-server\n[One]\nsize = 1mb, 2mb\n[Two]\nskew = zipf, uniform",
        );
        results.cells[1].failure = Some("it <failed>".to_owned());
        let drawn: Vec<_> =
            results.chapters.iter().map(|chapter| (chapter, figures(&results, chapter))).collect();
        let page = page(&results, &drawn);
        for part in [
            "a &lt;b&gt; &amp; c",
            "it &lt;failed&gt;",
            "prefers-color-scheme: dark",
            "class=\"narrow\"",
            "6.18",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for outside in ["<script", "http://", "https://", "<link", "<img"] {
            let used = page.replace("http://www.w3.org/2000/svg", "").contains(outside);
            assert!(!used, "the page asks for something: {outside}");
        }
        for tag in ["section", "figure", "table", "div", "svg", "details"] {
            let opened =
                page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn all_files_are_written() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        write(&example("[S]\nsize = 1mb, 2mb"), folder.path()).expect("it can be written");
        for name in
            ["report.html", "saves.csv", "latency.csv", "charts/s-fork-pause.svg", "charts/s-latency-1.svg"]
        {
            assert!(folder.path().join(name).metadata().expect(name).len() > 100, "{name}");
        }
    }
}
