//! The law of the house as a test: reads the sources as text and fails on what STYLE.md forbids.
//!
//! | rule | where | exceptions |
//! | --- | --- | --- |
//! | layer order | src | none: change the floor table in `tidy/layers.rs` and ARCHITECTURE.md together |
//! | function and file length | src, benches; not tests, not marked tables | `tidy_exceptions.txt`, may only shrink |
//! | unsafe with contract or proof, in listed files | src | `tidy_unsafe.txt` |
//! | no `static` but atomics and tables | src, not tests | `tidy_static_allow.txt` |
//! | no plain heap types in data | ds, value, keyspace, not tests | `tidy_heap_allow.txt` |
//! | no `todo!`, `unimplemented!`, `dbg!`, glob imports | src, tests, benches | none |
//! | no `.unwrap()`, no `Rc<RefCell>` | src, not tests | none |
//! | every file opens with a header | src | none |
//!
//! A table is exempt from the lengths when the line above it is the comment `// tidy: table`.
//! The rules themselves are tested on small strings in `tidy/checker_tests.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::lists::{Entry, Lists, covers};
use crate::rules::Finding;
use crate::scan::Source;

#[path = "tidy/checker_tests.rs"]
mod checker_tests;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/lists.rs"]
mod lists;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/scan.rs"]
mod scan;

/// Number of lines in tests/tidy_exceptions.txt. Only ever lower it.
const EXCEPTIONS_MAX: usize = 0;

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a folder of the repository can be listed").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Path from the top of the repository.
fn relative(path: &Path) -> String {
    let inner = path.strip_prefix(top()).expect("found below the top");
    inner.to_str().expect("paths of the repository are UTF-8").to_owned()
}

/// The files of one folder, scanned. Files declared as `#[cfg(test)] mod x;` count as test code throughout.
fn sources(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    rust_files(&top().join(folder), &mut paths);
    paths.sort();
    let read = |path: &PathBuf, all_test: bool| {
        let text = std::fs::read_to_string(path).expect("a source file is readable UTF-8");
        Source::new(&relative(path), &text, all_test)
    };
    let first: Vec<Source> = paths.iter().map(|path| read(path, false)).collect();
    let test_prefixes = test_prefixes(&first);
    let is_test = |path: &str| test_prefixes.iter().any(|prefix| covers(prefix, path));
    paths.iter().zip(first).map(|(path, s)| if is_test(&s.path) { read(path, true) } else { s }).collect()
}

/// Files and folders of the modules that are compiled for tests only.
fn test_prefixes(sources: &[Source]) -> BTreeSet<String> {
    let mut prefixes = BTreeSet::new();
    for source in sources {
        let (folder, file) = source.path.rsplit_once('/').expect("every source is in a folder");
        let base = match file {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
            _ => source.path.trim_end_matches(".rs").to_owned(),
        };
        for name in scan::test_modules(source) {
            prefixes.insert(format!("{base}/{name}.rs"));
            prefixes.insert(format!("{base}/{name}/"));
        }
    }
    prefixes
}

fn list(name: &str, columns: usize) -> Vec<Entry> {
    let path = format!("tests/{name}");
    let text = std::fs::read_to_string(top().join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    lists::parse(&path, &text, columns).unwrap_or_else(|finding| panic!("{finding}"))
}

fn lists() -> Lists {
    Lists {
        exceptions: list("tidy_exceptions.txt", 4),
        unsafe_files: list("tidy_unsafe.txt", 1),
        statics: list("tidy_static_allow.txt", 2),
        heap: list("tidy_heap_allow.txt", 2),
    }
}

fn report(rule: &str, findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(findings.is_empty(), "{rule}:\n{}\n(STYLE.md has the reasons)", lines.join("\n"));
}

#[test]
fn sources_are_found() {
    let paths: Vec<String> = sources("src").into_iter().map(|source| source.path).collect();
    assert!(paths.contains(&"src/lib.rs".to_owned()), "found only {paths:?}");
}

#[test]
fn imports_keep_the_layer_order() {
    let findings: Vec<Finding> = sources("src").iter().flat_map(layers::check).collect();
    report("layers", &findings);
}

#[test]
fn functions_and_files_keep_their_lengths() {
    let exceptions = lists().exceptions;
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for source in sources("src").iter().chain(&sources("benches")) {
        findings.extend(rules::check_lengths(source, &exceptions));
        seen.insert(source.path.clone());
    }
    for entry in exceptions.iter().filter(|entry| !seen.contains(&entry.words[1])) {
        findings.push(Finding::new(&entry.list, entry.line, "an exception for a file that does not exist"));
    }
    report("lengths", &findings);
    assert_eq!(
        exceptions.len(),
        EXCEPTIONS_MAX,
        "the list of exceptions may only shrink: set EXCEPTIONS_MAX"
    );
}

#[test]
fn unsafe_code_is_fenced() {
    let (lists, sources) = (lists(), sources("src"));
    let mut findings: Vec<Finding> = sources.iter().flat_map(|s| rules::check_unsafe(s, &lists)).collect();
    for entry in lists.unsafe_files.iter().filter(|entry| !entry.words[0].ends_with('/')) {
        let needed = sources.iter().any(|s| s.path == entry.words[0] && rules::has_unsafe(s));
        if !needed {
            findings.push(Finding::new(&entry.list, entry.line, "lists a file without unsafe code"));
        }
    }
    report("unsafe", &findings);
}

#[test]
fn nothing_banned_is_used() {
    let mut findings: Vec<Finding> = Vec::new();
    for folder in ["src", "tests", "benches"] {
        findings.extend(sources(folder).iter().flat_map(rules::check_everywhere));
    }
    findings.extend(sources("src").iter().flat_map(rules::check_source_bans));
    report("bans", &findings);
}

#[test]
fn files_open_with_a_header() {
    let findings: Vec<Finding> = sources("src").iter().flat_map(rules::check_header).collect();
    report("headers", &findings);
}

#[test]
fn statics_are_atomics_or_tables() {
    let lists = lists();
    let check = |lists: &Lists| -> Vec<Finding> {
        sources("src").iter().flat_map(|source| rules::check_statics(source, lists)).collect()
    };
    let mut findings = check(&lists);
    findings.extend(unneeded(&lists.statics, &check(&Lists::default())));
    report("statics", &findings);
}

#[test]
fn data_is_allocated_in_the_data_region() {
    let lists = lists();
    let check = |lists: &Lists| -> Vec<Finding> {
        sources("src").iter().flat_map(|source| rules::check_heap(source, lists)).collect()
    };
    let mut findings = check(&lists);
    findings.extend(unneeded(&lists.heap, &check(&Lists::default())));
    report("data region", &findings);
}

/// Lines of an allow list (`path name`) that excuse none of the findings made without the list.
fn unneeded(list: &[Entry], without_list: &[Finding]) -> Vec<Finding> {
    let excuses = |entry: &Entry, finding: &Finding| {
        finding.path == entry.words[0] && finding.problem.contains(&format!("{}`", entry.words[1]))
    };
    let idle = list.iter().filter(|entry| !without_list.iter().any(|finding| excuses(entry, finding)));
    idle.map(|entry| Finding::new(&entry.list, entry.line, "no longer needed: remove the line")).collect()
}
