//! Reading `redis.conf`: lines, `include`, the directives that only a file can have, errors with
//! their place.
//!
//! One line is one directive: blank lines and `#` lines are skipped, words are cut as in
//! `text.rs`, the name's case does not matter. Later lines win, except those that add up (`save`,
//! `user`, `rename-command`, `loadmodule`, classes of `client-output-buffer-limit`). The order of
//! sources is file, standard input, command line. `include` is read where it stands, relative to
//! the directory that the server was started in; a pattern that matches nothing is no error.

use super::argv::CommandLine;
use super::directive::{ConfigRow, Marks, Origin};
use super::error::ValueError;
use super::find_row;
use super::rows::Config;
use super::text::{glob_matches, split_arguments};
use crate::server::acl::UserLine;
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Deepest `include` in an `include`; a file that includes itself stops here.
const MAX_INCLUDE_DEPTH: usize = 16;
/// Most files of one start; a pattern that doubles at each level stops here.
const MAX_FILES: usize = 1024;
/// Largest single file, in bytes; a log or a dump named by mistake stops here.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Directives of old that mean nothing any more and are skipped when they have one value.
const RETIRED: [&[u8]; 3] =
    [b"list-max-ziplist-entries", b"list-max-ziplist-value", b"lua-replicate-commands"];

/// The directives that only a file can have, for those who understand them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileDirectives {
    /// The `user` lines, in order.
    pub users: Vec<UserLine>,
    /// `rename-command from to`; an empty `to` takes the command away.
    pub renamed_commands: Vec<(Vec<u8>, Vec<u8>)>,
    /// Path and arguments of each `loadmodule`.
    pub modules: Vec<Vec<Vec<u8>>>,
    /// `module.option value`: name and value.
    pub module_options: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A configuration as read at the start.
#[derive(Debug, Clone)]
pub struct LoadedConfig {
    /// The values.
    pub config: Config,
    /// What is not a value.
    pub directives: FileDirectives,
    /// The main file, made absolute; CONFIG REWRITE writes it.
    pub config_file: Option<PathBuf>,
    /// Directives that were set but have no effect yet, to be logged.
    pub inactive: Vec<&'static ConfigRow>,
}

/// What stops the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFileError {
    /// Where the line stands: a path, or what stands for it.
    pub source: Option<String>,
    /// Its number, from 1, and its text.
    pub line: Option<(usize, String)>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for ConfigFileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***")?;
        if let Some((number, text)) = &self.line {
            write!(out, "Reading the configuration file, at line {number}")?;
            match &self.source {
                Some(source) => writeln!(out, " of {source}")?,
                None => writeln!(out)?,
            }
            writeln!(out, ">>> '{text}'")?;
        }
        writeln!(out, "{}", self.reason)
    }
}

impl std::error::Error for ConfigFileError {}

/// Where files come from, so that tests need none.
pub trait ConfigFiles {
    /// The whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The paths that match a pattern, sorted.
    fn expand(&self, pattern: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The files of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFiles;

impl ConfigFiles for DiskFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        read_bounded(std::fs::File::open(path)?)
    }

    fn expand(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = vec![PathBuf::new()];
        for part in pattern.components() {
            let mut next = Vec::new();
            for base in &paths {
                expand_component(base, part.as_os_str(), &mut next)?;
            }
            paths = next;
        }
        paths.sort();
        Ok(paths)
    }
}

/// Appends to `found` what `part`, possibly a pattern, names inside `base`.
fn expand_component(base: &Path, part: &std::ffi::OsStr, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let pattern = part.as_bytes();
    if !is_pattern(pattern) {
        let path = base.join(part);
        if path.exists() {
            found.push(path);
        }
        return Ok(());
    }
    let directory = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries {
        let name = entry?.file_name();
        let is_hidden = name.as_bytes().starts_with(b".") && !pattern.starts_with(b".");
        if !is_hidden && glob_matches(pattern, name.as_bytes(), false) {
            found.push(base.join(name));
        }
        if found.len() > MAX_FILES {
            return Err(io::Error::other("too many files match"));
        }
    }
    Ok(())
}

fn is_pattern(path: &[u8]) -> bool {
    path.iter().any(|byte| b"*?[".contains(byte))
}

fn read_bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    source.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("larger than 16 megabytes"));
    }
    Ok(content)
}

/// Reads the configuration that a command line asks for: its file, standard input, its options.
pub fn load(
    command_line: &CommandLine,
    files: &dyn ConfigFiles,
    stdin: &mut dyn Read,
) -> Result<LoadedConfig, ConfigFileError> {
    let mut loader = Loader::new(files);
    if let Some(path) = &command_line.config_file {
        let absolute = std::path::absolute(path).map_err(|error| unreadable(path, &error))?;
        loader.load_file(&absolute)?;
        loader.loaded.config_file = Some(absolute);
    }
    if command_line.reads_stdin {
        let content = read_bounded(stdin).map_err(|error| unreadable(Path::new("-"), &error))?;
        loader.load_text(&content, "the standard input")?;
    }
    loader.load_text(&command_line.options, "the command line's options")?;
    loader.finish()
}

fn unreadable(path: &Path, error: &io::Error) -> ConfigFileError {
    ConfigFileError {
        source: None,
        line: None,
        reason: format!("Fatal error, can't open config file '{}': {error}", path.display()),
    }
}

/// Why a line stops the start.
enum LineError {
    Reason(String),
    /// Found in an included file: has its own place.
    Nested(ConfigFileError),
}

impl From<&str> for LineError {
    fn from(reason: &str) -> Self {
        LineError::Reason(reason.to_owned())
    }
}

impl From<ValueError> for LineError {
    fn from(error: ValueError) -> Self {
        LineError::Reason(error.to_string())
    }
}

struct Loader<'f> {
    files: &'f dyn ConfigFiles,
    loaded: LoadedConfig,
    /// Directives seen so far, by their main name.
    seen: HashSet<&'static str>,
    files_read: usize,
    depth: usize,
    /// The line that is read: its source, its number, its text.
    place: (String, usize, String),
}

impl<'f> Loader<'f> {
    fn new(files: &'f dyn ConfigFiles) -> Self {
        let loaded = LoadedConfig {
            config: Config::default(),
            directives: FileDirectives::default(),
            config_file: None,
            inactive: Vec::new(),
        };
        Loader { files, loaded, seen: HashSet::new(), files_read: 0, depth: 0, place: Default::default() }
    }

    fn load_file(&mut self, path: &Path) -> Result<(), ConfigFileError> {
        self.files_read += 1;
        if self.files_read > MAX_FILES {
            return Err(unreadable(path, &io::Error::other("too many included files")));
        }
        let content = self.files.read(path).map_err(|error| unreadable(path, &error))?;
        self.load_text(&content, &path.display().to_string())
    }

    fn load_text(&mut self, content: &[u8], source: &str) -> Result<(), ConfigFileError> {
        for (index, line) in content.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            self.place = (source.to_owned(), index + 1, String::from_utf8_lossy(line).into_owned());
            self.load_line(line).map_err(|error| match error {
                LineError::Nested(error) => error,
                LineError::Reason(reason) => {
                    let (source, number, text) = std::mem::take(&mut self.place);
                    ConfigFileError { source: Some(source), line: Some((number, text)), reason }
                }
            })?;
        }
        Ok(())
    }

    fn load_line(&mut self, line: &[u8]) -> Result<(), LineError> {
        let words = split_arguments(line).ok_or("Unbalanced quotes in configuration line")?;
        let Some((name, arguments)) = words.split_first() else {
            return Ok(());
        };
        match find_row(name) {
            Some(found) => self.set(found.row, arguments),
            None => self.file_directive(&name.to_ascii_lowercase(), arguments),
        }
    }

    fn set(&mut self, row: &'static ConfigRow, arguments: &[Vec<u8>]) -> Result<(), LineError> {
        let repeated = !self.seen.insert(row.name);
        let origin = Origin::File { repeated };
        match arguments {
            [several] if row.has(Marks::WORDS) && !several.is_empty() => {
                let words = split_arguments(several).ok_or("Unbalanced quotes in configuration line")?;
                row.set(&mut self.loaded.config, &words, origin)?;
            }
            _ => row.set(&mut self.loaded.config, arguments, origin)?,
        }
        if !row.is_active() && !repeated {
            self.loaded.inactive.push(row);
        }
        Ok(())
    }

    fn file_directive(&mut self, name: &[u8], arguments: &[Vec<u8>]) -> Result<(), LineError> {
        let directives = &mut self.loaded.directives;
        match (name, arguments) {
            (b"include", [path]) => self.include(path)?,
            (b"rename-command", [from, to]) => directives.renamed_commands.push((from.clone(), to.clone())),
            (b"user", [_, ..]) => {
                let (source, number, text) = self.place.clone();
                directives.users.push(UserLine { words: arguments.to_vec(), source, number, text });
            }
            (b"loadmodule", [_, ..]) => directives.modules.push(arguments.to_vec()),
            (b"sentinel", _) => return Err("sentinel directive while not in sentinel mode".into()),
            (retired, [_]) if RETIRED.contains(&retired) => {}
            (option, []) if option.contains(&b'.') => {
                return Err("Module config specified without value".into());
            }
            (option, values) if option.contains(&b'.') => {
                directives.module_options.push((option.to_vec(), values.join(&b' ')));
            }
            _ => return Err("Bad directive or wrong number of arguments".into()),
        }
        Ok(())
    }

    fn include(&mut self, path: &[u8]) -> Result<(), LineError> {
        if self.depth == MAX_INCLUDE_DEPTH {
            return Err(LineError::Reason(format!("include is nested more than {MAX_INCLUDE_DEPTH} deep")));
        }
        let written = Path::new(std::ffi::OsStr::from_bytes(path));
        let paths = if is_pattern(path) {
            self.files.expand(written).map_err(|error| LineError::Nested(unreadable(written, &error)))?
        } else {
            vec![written.to_owned()]
        };
        self.depth += 1;
        for path in paths {
            self.load_file(&path).map_err(LineError::Nested)?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Checks what only the whole can tell.
    fn finish(mut self) -> Result<LoadedConfig, ConfigFileError> {
        let config = &mut self.loaded.config;
        if config.cluster_enabled {
            // Clients would ask for slots and send keys of others.
            let reason = ">>> 'cluster-enabled yes'\nTine has no Cluster mode".to_owned();
            return Err(ConfigFileError { source: None, line: None, reason });
        }
        config.normalize();
        Ok(self.loaded)
    }
}
