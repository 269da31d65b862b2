//! The list files beside the tidy test: what is excused, where, and why.
//!
//! A line is words separated by spaces; `#` starts a comment; the last column is the reason and may hold
//! spaces. A line without a reason is an error: an exception nobody can explain is a mistake.

use crate::rules::Finding;

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path of the list.
    pub list: String,
    /// Zero-based line in the list.
    pub line: usize,
    /// The columns before the reason.
    pub words: Vec<String>,
}

/// All lists.
#[derive(Debug, Default)]
pub struct Lists {
    /// `kind path name limit reason`
    pub exceptions: Vec<Entry>,
    /// `path reason`; a path that ends in `/` covers a folder.
    pub unsafe_files: Vec<Entry>,
    /// `path name reason`
    pub statics: Vec<Entry>,
    /// `path type reason`
    pub heap: Vec<Entry>,
}

impl Lists {
    /// True if `list` has a line for this path and name.
    pub fn allows(&self, list: &[Entry], path: &str, name: &str) -> bool {
        list.iter().any(|entry| entry.words[0] == path && entry.words[1] == name)
    }

    /// True if unsafe code may stand in this file.
    pub fn allows_unsafe(&self, path: &str) -> bool {
        self.unsafe_files.iter().any(|entry| covers(&entry.words[0], path))
    }
}

/// True if the listed path is the file or a folder above it.
pub fn covers(listed: &str, path: &str) -> bool {
    if listed.ends_with('/') { path.starts_with(listed) } else { path == listed }
}

/// Parses a list whose lines have `columns` words before the reason.
pub fn parse(list: &str, text: &str, columns: usize) -> Result<Vec<Entry>, Finding> {
    let mut entries = Vec::new();
    for (line, full) in text.lines().enumerate() {
        let content = full.split('#').next().unwrap_or("");
        let words: Vec<String> = content.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            continue;
        }
        if words.len() <= columns {
            return Err(Finding::new(list, line, format!("needs {columns} columns and a reason")));
        }
        entries.push(Entry { list: list.to_owned(), line, words: words[..columns].to_vec() });
    }
    Ok(entries)
}
