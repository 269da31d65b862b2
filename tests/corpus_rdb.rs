//! Recorded RDB files of real servers: files of strings load; files with other types are refused by
//! type, cleanly; the check tool reads all of them; damaged ones are refused by both.

mod common;

use common::{CorpusFile, corpus};
use std::collections::BTreeMap;
use std::path::Path;
use tine::base::hash::HashSeed;
use tine::keyspace::Keyspace;
use tine::persist::rdb::check::check_file;
use tine::persist::rdb::{LoadOptions, RdbError, RdbErrorKind, load_file};
use tine::sys::io::{OsStorage, Storage};
use tine::value::ValueRef;

/// The corpus has more files with strings only than this.
const STRING_FILES_MIN: usize = 15;

fn load(path: &Path) -> (Keyspace, Result<(), RdbError>) {
    let mut keyspace = Keyspace::new(16, HashSeed::from_os().expect("random numbers")).expect("a thread");
    let options = LoadOptions::default();
    let loaded = load_file(&OsStorage, path, &mut keyspace, options, 1 << 20, &mut |_| {});
    let outcome = loaded.map(|report| assert!(report.is_some(), "the file is there"));
    (keyspace, outcome)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines of a dump as far as strings go: database, key, expiry, value.
fn lines_of(keyspace: &Keyspace) -> Vec<String> {
    let mut lines = Vec::new();
    for db in 0..keyspace.databases() {
        for view in keyspace.db(db).iter() {
            let ValueRef::String(value) = view.value() else { panic!("only strings are loaded") };
            let expiry = view.expiry_ms().map_or("null".to_owned(), |expiry| expiry.to_string());
            lines.push(format!("{db} {} {expiry} {}", hex(view.key()), hex(&value.to_vec())));
        }
    }
    lines.sort();
    lines
}

/// The value of a field in one line of the dump, without quotes.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let start = line.find(&format!("\"{name}\":")).map(|at| at + name.len() + 3).expect("the field is there");
    let rest = line[start..].trim_start();
    let quoted = rest.strip_prefix('"');
    match quoted {
        Some(text) => text.split('"').next().unwrap_or(""),
        None => rest.split([',', '}']).next().unwrap_or("").trim(),
    }
}

/// The same lines from a recorded dump; `None` when it holds something else than short strings.
fn expected_lines(path: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.contains("\"function\":") {
            continue;
        }
        if field(line, "type") != "string" || line.contains("value_sha256") {
            return None;
        }
        let (db, key) = (field(line, "db"), field(line, "key"));
        lines.push(format!("{db} {key} {} {}", field(line, "expire_ms"), field(line, "value")));
    }
    lines.sort();
    Some(lines)
}

fn damaged(file: &CorpusFile) -> bool {
    let names = ["redis-corrupt", "librdb-invalid_chksum", "librdb-future", "keydb-corrupt"];
    names.iter().any(|name| file.name.starts_with(name))
}

#[test]
fn files_of_strings_load_as_real_servers_load_them() {
    let Some(corpus) = corpus() else { return };
    let (mut compared, mut refused) = (0, BTreeMap::<u8, usize>::new());
    for file in corpus.files.iter().filter(|file| file.kind == "rdb" && !damaged(file)) {
        let (keyspace, outcome) = load(&file.path);
        match outcome {
            Ok(()) => {
                if let Some(expected) = file.expected.as_deref().and_then(expected_lines) {
                    assert_eq!(lines_of(&keyspace), expected, "{}", file.name);
                    compared += 1;
                }
            }
            Err(RdbError { kind: RdbErrorKind::TypeNotSupported(number), .. }) => {
                *refused.entry(number).or_default() += 1;
            }
            Err(failure) => {
                // Redis 7.2 refuses libraries of 7.0's release candidates as well.
                let foreign = matches!(failure.kind, RdbErrorKind::Module(_) | RdbErrorKind::OldFunctions);
                let known = file.loads_in.starts_with("refused") || foreign;
                assert!(known, "{}: {failure}", file.name);
            }
        }
    }
    println!("{compared} files compared, refused by type: {refused:?}");
    assert!(compared >= STRING_FILES_MIN, "only {compared} files compared");
}

#[test]
fn the_check_tool_reads_every_type() {
    let Some(corpus) = corpus() else { return };
    let mut checked = 0;
    for file in corpus.files.iter().filter(|file| file.kind == "rdb") {
        let opened = OsStorage.open_read(&file.path).expect("the file is there");
        match check_file(opened, &mut |_| {}) {
            Ok(_) => checked += 1,
            Err(failure) => {
                let newer = matches!(
                    failure.error.kind,
                    RdbErrorKind::TypeNotSupported(22..) | RdbErrorKind::OldFunctions
                );
                let refused = file.loads_in.starts_with("refused") || damaged(file);
                assert!(newer || refused, "{}: {failure}", file.name);
            }
        }
    }
    assert!(checked > 40, "only {checked} files were read to the end");
}
