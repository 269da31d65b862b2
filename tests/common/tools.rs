//! Programs and files of the outside: redis-cli, redis-benchmark, and the corpus of recorded data files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{interop_required, skip};

/// Where the corpus lies from the top of the repository unless `TINE_CORPUS` names another place.
const CORPUS_DEFAULT: &str = "../shared/corpus/rdb";

/// Finds a program on the PATH.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// True if the program is installed; else skips (or fails, where that is required).
#[track_caller]
pub fn require_tool(name: &str) -> bool {
    let found = find_program(name).is_some();
    if !found {
        skip(&format!("{name} is not installed"));
    }
    found
}

/// Runs redis-cli against a port of the loopback address; `None` where it is not installed.
#[track_caller]
pub fn redis_cli(port: u16, args: &[&str]) -> Option<Output> {
    run_tool("redis-cli", port, args)
}

/// Runs redis-benchmark against a port of the loopback address; `None` where it is not installed.
#[track_caller]
pub fn redis_benchmark(port: u16, args: &[&str]) -> Option<Output> {
    run_tool("redis-benchmark", port, args)
}

#[track_caller]
fn run_tool(name: &str, port: u16, args: &[&str]) -> Option<Output> {
    if !require_tool(name) {
        return None;
    }
    let mut command = Command::new(name);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(args).stdin(Stdio::null());
    Some(command.output().unwrap_or_else(|e| panic!("run {name}: {e}")))
}

/// Recorded files of real servers, with a manifest.
#[derive(Debug)]
pub struct Corpus {
    pub folder: PathBuf,
    pub files: Vec<CorpusFile>,
}

/// One line of the manifest.
#[derive(Debug, Clone)]
pub struct CorpusFile {
    /// Where the file lies.
    pub path: PathBuf,
    pub name: String,
    /// `rdb` or `aof`, or another kind that the manifest names.
    pub kind: String,
    /// Version digits of an RDB file (`0009`), its magic too where that is not REDIS (`valkey080`), or `-`.
    pub rdb_version: String,
    /// Which real server loads it, or why one refuses it.
    pub loads_in: String,
    /// The dump of what it holds, if there is one.
    pub expected: Option<PathBuf>,
    pub note: String,
}

/// The corpus, or `None` after a message where there is none.
#[track_caller]
pub fn corpus() -> Option<Corpus> {
    let named = std::env::var_os("TINE_CORPUS").map(PathBuf::from);
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join(CORPUS_DEFAULT);
    let folder = named.clone().unwrap_or(default);
    let manifest = folder.join("MANIFEST.tsv");
    match std::fs::read_to_string(&manifest) {
        Ok(text) => Some(Corpus { files: parse_manifest(&folder, &text), folder }),
        Err(e) if named.is_some() || interop_required() => panic!("the corpus: {}: {e}", manifest.display()),
        Err(_) => {
            skip("the corpus of recorded files is not here (TINE_CORPUS names its folder)");
            None
        }
    }
}

fn parse_manifest(folder: &Path, text: &str) -> Vec<CorpusFile> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or("").split('\t').collect();
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let field = |name: &str| -> String {
            let at = names.iter().position(|n| *n == name);
            let at = at.unwrap_or_else(|| panic!("the manifest has no column {name}"));
            fields.get(at).copied().unwrap_or("").to_owned()
        };
        // A path may be followed by `=` and its name at the origin.
        let expected = field("expected").split('=').next().unwrap_or("-").trim().to_owned();
        CorpusFile {
            path: folder.join("files").join(field("file")),
            name: field("file"),
            kind: field("kind"),
            rdb_version: field("rdb_version"),
            loads_in: field("loads_in"),
            expected: (expected != "-" && !expected.is_empty()).then(|| folder.join(expected)),
            note: field("note"),
        }
    };
    lines.filter(|line| !line.trim().is_empty()).map(parse).collect()
}
