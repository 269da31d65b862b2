//! Tests of the whole module: the table, CONFIG GET and SET, files, rewriting, the shipped file.

mod files;
mod rewriting;
mod rows;

use super::{
    CommandLine, Config, ConfigFileError, ConfigFiles, LoadedConfig, StartAction, glob_matches, load,
};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Files that exist only here.
#[derive(Default)]
struct MemoryFiles(BTreeMap<PathBuf, Vec<u8>>);

impl MemoryFiles {
    fn with(files: &[(&str, &str)]) -> Self {
        let entry = |(path, text): &(&str, &str)| (PathBuf::from(path), text.as_bytes().to_vec());
        MemoryFiles(files.iter().map(entry).collect())
    }
}

impl ConfigFiles for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn expand(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = pattern.as_os_str().as_bytes();
        let matching = self.0.keys().filter(|path| glob_matches(pattern, path.as_os_str().as_bytes(), false));
        Ok(matching.cloned().collect())
    }
}

/// Loads `text` as if it were the options of a command line.
fn load_text(text: &[u8], files: &MemoryFiles) -> Result<LoadedConfig, ConfigFileError> {
    let command_line = CommandLine {
        action: StartAction::Serve,
        config_file: None,
        reads_stdin: false,
        options: text.to_vec(),
    };
    load(&command_line, files, &mut io::empty())
}

/// The values that a good text gives.
fn config_of(text: &[u8]) -> Config {
    match load_text(text, &MemoryFiles::default()) {
        Ok(loaded) => loaded.config,
        Err(error) => panic!("{error}\n{}", String::from_utf8_lossy(text)),
    }
}
