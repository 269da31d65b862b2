//! What an experiment is, and its file.
//!
//! ```text
//! # Lines are NAME = VALUE; lists are separated by commas; # begins a comment.
//! title = Fork pause against data size
//! servers = tine, redis-server?          # ? : left out where it is not installed
//! saves = 3                              # in a row, under the same load
//! write-rate = 20000                     # before the first [chapter]: for all chapters
//!
//! [Fork pause against data size]         # a chapter of the report
//! about = One line below the heading.
//! size = 128mb, 256mb, 512mb             # a list: the chapter tries each, with each of the other lists
//! ```
//!
//! An **axis** is a setting that may be a list. A chapter is the product of its lists; each combination is a **cell**,
//! measured on a server of its own. Cells that several chapters share are measured once.

use crate::base::numbers::parse_memory_bytes;
use crate::tools::load::keys::Skew;
use crate::tools::load::options;
use std::time::Duration;

/// Most cells of an experiment: a slip in a list must not become a week.
const CELLS_MAX: usize = 500;
/// Most saves in a row.
const SAVES_MAX: u32 = 100;
/// Most fresh servers for one cell.
const REPEAT_MAX: u32 = 50;
/// Bytes of a key: `key:` and twelve digits.
pub const KEY_BYTES: u64 = 16;
/// Most bytes of data in one server.
const SIZE_BYTES_MAX: u64 = 4 << 40;
/// Longest value.
const VALUE_BYTES_MAX: u64 = 64 << 20;
/// Most writes a second.
const RATE_MAX: u64 = 5_000_000;
/// Longest of the times.
const TIME_MAX: Duration = Duration::from_secs(3600);

/// The axes and their values where nothing is said, in the order in which they are listed.
pub const AXES: [(&str, &str); 8] = [
    ("server", "tine"),
    ("size", "256mb"),
    ("value-size", "200"),
    ("skew", "uniform"),
    ("write-rate", "20000"),
    ("read-share", "0"),
    ("save", "rdb"),
    ("page-size", "default"),
];

/// How the data is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveKind {
    /// BGSAVE.
    Rdb,
    /// BGREWRITEAOF, the new base being commands.
    Rewrite,
    /// BGREWRITEAOF, the new base being an RDB.
    Hybrid,
}

/// Which pages the data lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSize {
    /// What the server does by itself.
    Default,
    /// What the kernel does by itself: the server neither refuses nor asks.
    Kernel,
    /// Huge pages are refused.
    Small,
    /// Huge pages are asked for.
    Huge,
}

/// One combination of settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The values as the file writes them, in the order of [`AXES`], then directives (`tine.NAME`, `redis.NAME`).
    pub settings: Vec<(String, String)>,
    pub server: String,
    pub size_bytes: u64,
    pub value_bytes: u64,
    pub skew: Skew,
    pub write_rate: u64,
    /// Share of reads among all requests, below 1.
    pub read_share: f64,
    pub save: SaveKind,
    pub page_size: PageSize,
    /// Configuration directives for the server.
    pub directives: Vec<(String, String)>,
}

/// What is the same for all cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Saves in a row on one server, under the same load.
    pub saves: u32,
    /// Fresh servers for each cell.
    pub repeat: u32,
    /// Load before the first save.
    pub before: Duration,
    /// Load between two saves and after the last.
    pub pause: Duration,
    /// A save that takes longer is given up.
    pub limit: Duration,
}

/// A chapter of the report.
#[derive(Clone, Debug, PartialEq)]
pub struct Chapter {
    pub title: String,
    pub about: String,
    /// Indexes of its cells.
    pub cells: Vec<usize>,
}

/// Everything a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    pub title: String,
    pub about: String,
    pub schedule: Schedule,
    pub chapters: Vec<Chapter>,
    pub cells: Vec<Cell>,
}

/// Settings as they are collected: those of the file, then those of the chapter.
#[derive(Clone, Debug, Default)]
struct Lists(Vec<(String, Vec<String>)>);

impl Lists {
    fn set(&mut self, name: &str, values: Vec<String>) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = values,
            None => self.0.push((name.to_owned(), values)),
        }
    }

    fn values(&self, name: &str, default: &str) -> Vec<String> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or_else(|| vec![default.to_owned()], |(_, values)| values.clone())
    }
}

impl Cell {
    /// A cell from its settings.
    ///
    /// # Errors
    /// Which setting cannot be used.
    pub fn new(settings: &[(String, String)]) -> Result<Cell, String> {
        let value = |name: &str| {
            let found = settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            found
                .or_else(|| AXES.iter().find(|(axis, _)| *axis == name).map(|(_, value)| *value))
                .unwrap_or("")
        };
        let server = value("server").to_owned();
        let prefix = if server_name(&server) == "tine" { "tine." } else { "redis." };
        let directive =
            |(name, value): &(String, String)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone()));
        let known = AXES.iter().map(|(axis, _)| ((*axis).to_owned(), value(axis).to_owned()));
        let extra = settings.iter().filter(|(name, _)| name.starts_with(prefix)).cloned();
        Ok(Cell {
            settings: known.chain(extra).collect(),
            size_bytes: bytes("size", value("size"), 1024, SIZE_BYTES_MAX)?,
            value_bytes: bytes("value-size", value("value-size"), 1, VALUE_BYTES_MAX)?,
            skew: options::skew(value("skew")).map_err(|problem| problem.replace("--skew", "skew ="))?,
            write_rate: bounded("write-rate", value("write-rate"), 0, RATE_MAX)?,
            read_share: share(value("read-share"))?,
            save: save_kind(value("save"))?,
            page_size: page_size(value("page-size"))?,
            directives: settings.iter().filter_map(directive).collect(),
            server,
        })
    }

    /// Keys that make up the data.
    pub fn keys(&self) -> u64 {
        (self.size_bytes / (KEY_BYTES + self.value_bytes)).max(1)
    }

    /// Requests a second, reads too.
    pub fn rate(&self) -> u64 {
        (self.write_rate as f64 / (1.0 - self.read_share)).round() as u64
    }

    /// The value of a setting as the file writes it; empty where it has none.
    pub fn value(&self, name: &str) -> &str {
        self.settings.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Server, size, and what is not as it is where nothing is said.
    pub fn words(&self) -> String {
        let others = self.settings.iter().skip(2);
        let others = others.filter(|(name, value)| !AXES.contains(&(name.as_str(), value.as_str())));
        let words = others.map(|(name, value)| format!(", {name} {value}"));
        format!("{} {}{}", self.server_name(), self.value("size"), words.collect::<String>())
    }

    /// The server's name in charts.
    pub fn server_name(&self) -> &str {
        server_name(&self.server)
    }
}

/// `name=/path` or a path or a name: what charts call it.
pub fn server_name(server: &str) -> &str {
    let server = server.trim_end_matches('?');
    server.split_once('=').map_or_else(|| server.rsplit('/').next().unwrap_or(server), |(name, _)| name)
}

/// The program of `name=/path`, a path or a name; `None` for Tine's own.
pub fn server_program(server: &str) -> Option<&str> {
    match server.trim_end_matches('?') {
        "tine" => None,
        other => Some(other.split_once('=').map_or(other, |(_, path)| path)),
    }
}

fn bytes(name: &str, text: &str, low: u64, high: u64) -> Result<u64, String> {
    let value = parse_memory_bytes(text.as_bytes()).ok_or_else(|| format!("{name}: {text:?} is no size"))?;
    in_range(name, text, value, low, high)
}

fn bounded(name: &str, text: &str, low: u64, high: u64) -> Result<u64, String> {
    let value = text.parse().map_err(|_| format!("{name}: {text:?} is no number"))?;
    in_range(name, text, value, low, high)
}

fn in_range(name: &str, text: &str, value: u64, low: u64, high: u64) -> Result<u64, String> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{name}: {text} is not from {low} to {high}"))
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("read-share: {text:?} is no number"))?;
    if (0.0..=0.99).contains(&share) {
        Ok(share)
    } else {
        Err("read-share must be from 0 to 0.99".to_owned())
    }
}

fn save_kind(text: &str) -> Result<SaveKind, String> {
    match text {
        "rdb" => Ok(SaveKind::Rdb),
        "rewrite" => Ok(SaveKind::Rewrite),
        "hybrid" => Ok(SaveKind::Hybrid),
        _ => Err(format!("save: {text:?} is none of rdb, rewrite, hybrid")),
    }
}

fn page_size(text: &str) -> Result<PageSize, String> {
    match text {
        "default" => Ok(PageSize::Default),
        "kernel" => Ok(PageSize::Kernel),
        "4k" => Ok(PageSize::Small),
        "2m" => Ok(PageSize::Huge),
        _ => Err(format!("page-size: {text:?} is none of default, kernel, 4k, 2m")),
    }
}

/// Reads an experiment. `overrides` (from the command line) stand above everything in the text; `is_there` tells
/// whether a server that may be missing is installed.
///
/// # Errors
/// The line and what is wrong with it.
pub fn parse(
    text: &str,
    overrides: &[(String, String)],
    is_there: &dyn Fn(&str) -> bool,
) -> Result<Experiment, String> {
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        reader.line(line).map_err(|problem| format!("line {}: {problem}", index + 1))?;
    }
    reader.finish(overrides, is_there)
}

/// A chapter as it is read.
struct Draft {
    title: String,
    about: String,
    lists: Lists,
}

#[derive(Default)]
struct Reader {
    title: String,
    about: String,
    common: Lists,
    /// `saves`, `pause` and so on.
    schedule: Vec<(String, String)>,
    chapters: Vec<Draft>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
        if line.is_empty() {
            return Ok(());
        }
        if let Some(title) = line.strip_prefix('[') {
            let title = title.strip_suffix(']').ok_or("a chapter is [title]")?.trim().to_owned();
            self.chapters.push(Draft { title, about: String::new(), lists: Lists::default() });
            return Ok(());
        }
        let (name, value) = line.split_once('=').ok_or("expected NAME = VALUE or [chapter]")?;
        self.set(name.trim(), value.trim())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if value.is_empty() {
            return Err(format!("{name} has no value"));
        }
        let last = self.chapters.last_mut();
        match name {
            "title" if last.is_none() => self.title = value.to_owned(),
            "about" => *last.map_or(&mut self.about, |chapter| &mut chapter.about) = value.to_owned(),
            "saves" | "repeat" | "before" | "pause" | "limit" if last.is_none() => {
                self.schedule.retain(|(known, _)| known != name);
                self.schedule.push((name.to_owned(), value.to_owned()));
            }
            _ => {
                let name = axis_name(name)?;
                let values = value.split(',').map(|part| part.trim().to_owned()).collect();
                last.map_or(&mut self.common, |chapter| &mut chapter.lists).set(&name, values);
            }
        }
        Ok(())
    }

    fn finish(
        mut self,
        overrides: &[(String, String)],
        is_there: &dyn Fn(&str) -> bool,
    ) -> Result<Experiment, String> {
        if self.chapters.is_empty() {
            self.chapters.push(Draft { title: String::new(), about: String::new(), lists: Lists::default() });
        }
        let mut chapters = std::mem::take(&mut self.chapters);
        for (name, value) in overrides {
            self.set(name, value)?;
            if let Ok(axis) = axis_name(name) {
                chapters.iter_mut().for_each(|chapter| chapter.lists.0.retain(|(known, _)| *known != axis));
            }
        }
        let mut experiment = Experiment {
            title: if self.title.is_empty() { "Fork and copy-on-write".to_owned() } else { self.title },
            about: self.about,
            schedule: schedule(&self.schedule)?,
            chapters: Vec::new(),
            cells: Vec::new(),
        };
        for mut draft in chapters {
            if draft.title.is_empty() {
                draft.title = experiment.title.clone();
            }
            let combinations = product(&self.common, &draft.lists, is_there)?;
            let cells =
                experiment.place(&combinations).map_err(|problem| format!("[{}] {problem}", draft.title))?;
            experiment.chapters.push(Chapter { title: draft.title, about: draft.about, cells });
        }
        Ok(experiment)
    }
}

fn axis_name(name: &str) -> Result<String, String> {
    let singular = match name {
        "servers" => "server",
        "sizes" => "size",
        "rate" | "write-rates" => "write-rate",
        "pages" | "page-sizes" => "page-size",
        other => other,
    };
    let is_directive = ["tine.", "redis."]
        .iter()
        .any(|prefix| singular.len() > prefix.len() && singular.starts_with(prefix));
    if is_directive || AXES.iter().any(|(axis, _)| *axis == singular) {
        return Ok(singular.to_owned());
    }
    Err(format!("{name:?} is no setting here (tine-lab run --help lists them)"))
}

fn schedule(settings: &[(String, String)]) -> Result<Schedule, String> {
    let value = |name: &str, default: &'static str| {
        settings
            .iter()
            .find(|(known, _)| known == name)
            .map_or(default.to_owned(), |(_, value)| value.clone())
    };
    let span = |name: &str, default: &'static str| {
        let span = options::time(&value(name, default)).map_err(|problem| format!("{name}: {problem}"))?;
        if span <= TIME_MAX { Ok(span) } else { Err(format!("{name}: at most {} s", TIME_MAX.as_secs())) }
    };
    Ok(Schedule {
        saves: bounded("saves", &value("saves", "3"), 1, u64::from(SAVES_MAX))? as u32,
        repeat: bounded("repeat", &value("repeat", "1"), 1, u64::from(REPEAT_MAX))? as u32,
        before: span("before", "2s")?,
        pause: span("pause", "2s")?,
        limit: span("limit", "10m")?,
    })
}

/// All combinations of a chapter's lists over the common ones.
fn product(
    common: &Lists,
    own: &Lists,
    is_there: &dyn Fn(&str) -> bool,
) -> Result<Vec<Vec<(String, String)>>, String> {
    let mut lists = common.clone();
    own.0.iter().for_each(|(name, values)| lists.set(name, values.clone()));
    let mut names: Vec<(String, &str)> =
        AXES.iter().map(|(axis, default)| ((*axis).to_owned(), *default)).collect();
    names.extend(lists.0.iter().filter(|(name, _)| name.contains('.')).map(|(name, _)| (name.clone(), "")));
    let mut rows: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for (name, default) in names {
        let mut values = lists.values(&name, default);
        if name == "server" {
            values.retain(|server| !server.ends_with('?') || is_there(server));
            values.iter_mut().for_each(|server| *server = server.trim_end_matches('?').to_owned());
        }
        let grown = rows.iter().flat_map(|row| {
            let with = |value: &String| row.iter().cloned().chain([(name.clone(), value.clone())]).collect();
            values.iter().map(with).collect::<Vec<_>>()
        });
        rows = grown.collect();
        if rows.len() > CELLS_MAX {
            return Err(format!("more than {CELLS_MAX} combinations"));
        }
    }
    Ok(rows)
}

impl Experiment {
    /// Adds the cells that are new; indexes of all of them.
    fn place(&mut self, combinations: &[Vec<(String, String)>]) -> Result<Vec<usize>, String> {
        let mut indexes = Vec::new();
        for settings in combinations {
            let cell = Cell::new(settings)?;
            let found = self.cells.iter().position(|known| *known == cell);
            let index = found.unwrap_or_else(|| {
                self.cells.push(cell);
                self.cells.len() - 1
            });
            if !indexes.contains(&index) {
                indexes.push(index);
            }
        }
        if self.cells.len() > CELLS_MAX {
            return Err(format!("more than {CELLS_MAX} combinations"));
        }
        if indexes.is_empty() { Err("no server of it is installed".to_owned()) } else { Ok(indexes) }
    }
}

#[cfg(test)]
mod tests {
    use super::{PageSize, SaveKind, parse, server_name, server_program};
    use crate::tools::load::keys::Skew;
    use std::time::Duration;

    const TEXT: &str = "
        title = T   # a comment
        servers = tine, redis-server?
        saves = 2
        before = 500ms
        [sizes]
        about = more data
        size = 1mb, 2mb
        [pages]
        page-size = default, 2m
        size = 1mb
        save = hybrid, rdb
        skew = zipf:0.8
    ";

    #[test]
    fn a_chapter_is_the_product_of_its_lists() {
        let read = parse(TEXT, &[], &|_| false).expect("it is good");
        assert_eq!((read.title.as_str(), read.schedule.saves), ("T", 2));
        assert_eq!(read.schedule.before, Duration::from_millis(500));
        assert_eq!(read.cells.len(), 2 + 4);
        assert_eq!(read.chapters[1].cells, [2, 3, 4, 5]);
        let cell = &read.cells[2];
        assert_eq!(
            (cell.save, cell.page_size, cell.skew),
            (SaveKind::Hybrid, PageSize::Default, Skew::Zipf(0.8))
        );
        assert_eq!((cell.size_bytes, cell.keys()), (1 << 20, (1 << 20) / 216));
        assert_eq!(parse(TEXT, &[], &|_| true).expect("good").cells.len(), 12, "with the second server");
    }

    #[test]
    fn equal_cells_are_measured_once_and_flags_stand_above_the_file() {
        let shared = "[a]\nsize = 1mb, 2mb\n[b]\nsize = 2mb\nwrite-rate = 20000, 5";
        let read = parse(shared, &[], &|_| true).expect("good");
        assert_eq!((read.cells.len(), read.chapters[1].cells.clone()), (3, vec![1, 2]));
        let flags = [("size".to_owned(), "3mb".to_owned()), ("saves".to_owned(), "1".to_owned())];
        let read = parse(shared, &flags, &|_| true).expect("good");
        assert_eq!((read.cells.len(), read.cells[0].size_bytes, read.schedule.saves), (2, 3 << 20, 1));
    }

    #[test]
    fn directives_go_to_their_own_server() {
        let text = "server = tine, r=/x/redis-server\ntine.fork-cow-limit = 0, 1mb";
        let read = parse(text, &[], &|_| true).expect("good");
        let given: Vec<(&str, usize)> =
            read.cells.iter().map(|c| (c.server_name(), c.directives.len())).collect();
        assert_eq!(given, [("tine", 1), ("tine", 1), ("r", 0)]);
        assert_eq!(
            (server_name("/usr/bin/valkey-server?"), server_program("r=/x/y")),
            ("valkey-server", Some("/x/y"))
        );
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, part) in [
            ("size", "line 1"),
            ("\nsize = ", "line 2"),
            ("colour = red", "no setting"),
            ("size = 1q", "no size"),
            ("[a", "chapter"),
            ("[a]\nsaves = 3", "no setting"),
            ("write-rate = -1", "no number"),
            ("read-share = 1", "read-share"),
            ("page-size = 1g", "page-size"),
            ("save = all", "save"),
            ("skew = cubic", "skew"),
            ("saves = 0", "saves"),
            ("pause = 9h", "unit"),
            ("server = x?", "installed"),
        ] {
            let problem = parse(text, &[], &|_| false).expect_err(text);
            assert!(problem.contains(part), "{text}: {problem}");
        }
        let many: Vec<String> = (1..40).map(|n| n.to_string()).collect();
        let text = format!(
            "size = 1mb,2mb,3mb,4mb,5mb,6mb,7mb,8mb,9mb,10mb,11mb,12mb,13mb\nwrite-rate = {}",
            many.join(",")
        );
        assert!(parse(&text, &[], &|_| true).expect_err("too many").contains("500"));
    }
}
