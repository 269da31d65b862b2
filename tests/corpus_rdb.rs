//! Recorded RDB and AOF files of real servers: what they load, we load, and hold the same; damaged files are
//! refused with a reason; the check tool reads all of them.

#[path = "corpus/canonical.rs"]
mod canonical;
mod common;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use canonical::StreamForm;
use common::{CorpusFile, InProcess, Program, Reply, Server, corpus, new_folder};
use tine::persist::rdb::check::check_file;
use tine::persist::rdb::{LoadOptions, RdbError, load_file};
use tine::server::config::ProtectedAction;
use tine::sys::io::{OsStorage, Storage};

/// Time at which the dumps were taken, Unix ms: keys that have expired since are in them.
const DUMP_TIME_MS: i64 = 1_000_000_000_000;
/// Snapshots that must be compared with a recorded dump, at least.
const COMPARED_MIN: usize = 70;
const DATABASES: usize = 16;

/// What becomes of a file that the recording server refuses, or that 7.2 treats otherwise.
enum Verdict {
    /// It loads and holds these keys, with these digests (`DEBUG DIGEST-VALUE` of Redis 7.2.4 where it
    /// loads the file; an empty digest where no Redis 7.2 does).
    Load(&'static [(&'static str, &'static str)]),
    /// It is refused; the reason contains this text.
    Refuse(&'static str),
}

use Verdict::{Load, Refuse};

/// Every such file, and why. Redis 7.0 (for some: 6.2) refuses all but those of its own release candidates.
const VERDICTS: &[(&str, Verdict, &str)] = &[
    ("hdt-zipmap_big_len.rdb", Refuse("Zipmap integrity check failed"), "damaged"),
    ("redis-corrupt_ziplist.rdb", Refuse("ziplist"), "damaged"),
    ("librdb-invalid_chksum_v8.rdb", Refuse("CRC"), "damaged"),
    ("rdbcli-34.rdb", Refuse("duplicated key"), "the same key twice: which one is meant is not known"),
    ("librdb-future_v19.rdb", Refuse("RDB format version"), "a version that does not exist"),
    (
        "librdb-redis_ent_opcode_ram_lru.rdb",
        Refuse("Unknown RDB encoding type 107"),
        "Redis Enterprise's own opcodes",
    ),
    ("replicator-module.rdb", Refuse("module"), "a value of a module that is not here"),
    ("keydb-redis-module-save.rdb", Refuse("module"), "a value of a module that is not here"),
    ("replicator-dump-module-2.rdb", Refuse("module"), "a value of a module that is not here"),
    ("rdbcli-89.rdb", Refuse("module"), "a value of a module that is not here"),
    ("librdb-misc_with_stream.rdb", Refuse("module"), "data of a module that is not here, as in 7.2"),
    ("librdb-module_aux.rdb", Refuse("module"), "data of a module that is not here, as in 7.2"),
    ("librdb-module_aux_empty.rdb", Refuse("module"), "data of a module that is not here, as in 7.2"),
    ("librdb-module_aux_v12.rdb", Refuse("module"), "data of a module that is not here, as in 7.2"),
    ("rdbcli-filter1.rdb", Refuse("Pre-release function format"), "7.0 loads it, 7.2 does not"),
    ("replicator-function.rdb", Refuse("Pre-release function format"), "7.0 loads it, 7.2 does not"),
    ("librdb-set_lp_v11.rdb", Load(&[("myset", "2eb8fbedc4c7e36da6e5f23b3160113fa992c662")]), "types of 7.2"),
    (
        "librdb-stream_v11.rdb",
        Load(&[("mystream", "6746c05345b1d1d39e6474341d304b4dd615e56e")]),
        "types of 7.2",
    ),
    (
        "replicator-dumpV11.rdb",
        Load(&[
            ("setlistpack", "f6b9de2a0ead4bc9fc5088c11df5e138f8be230a"),
            ("mystream", "b74877dab75d9447dd9ef11ed4c63fef58ea56d1"),
        ]),
        "types of 7.2",
    ),
    (
        "hdt-stream_listoacks_3.rdb",
        Load(&[("mystream", "a06d99f38a7edd21f213add4bf00cb6718db3ab7")]),
        "types of 7.2",
    ),
    ("librdb-hash_lp_with_hexpire_v12.rdb", Load(&[("myhash", "")]), "types of 7.4"),
    ("librdb-hash_with_expire_v12.rdb", Load(&[("myhash", "")]), "types of 7.4"),
    (
        "replicator-dump-ttlhash.rdb",
        Load(&[("iterttlhash", ""), ("ttlhash", ""), ("ttlhash1", "")]),
        "types of 7.4",
    ),
    ("hdt-valkey_hash2_with_hfe.rdb", Load(&[("hash2-hfe", "")]), "a type of Valkey 8"),
    (
        "replicator-dump-slot.rdb",
        Load(&[("a{slot}", ""), ("b{slot}", ""), ("c{slot2}", ""), ("d{slot3}", ""), ("f{slot6}", "")]),
        "sizes of slots, which only hint",
    ),
    ("gen62-log-bad-format-middle.aof", Refuse("Bad file format"), "damaged in the middle"),
    ("hdt-hash_as_listpack_with_hfe.aof", Load(&[("listpack-hfe", "")]), "commands of 7.4"),
    ("hdt-hash_with_hfe.aof", Load(&[("hash-hfe", "")]), "commands of 7.4"),
    ("hdt-valkey_hash2_with_hfe.aof", Load(&[("hash2-hfe", "")]), "commands of 7.4"),
];

fn verdict(file: &CorpusFile) -> Option<&'static (&'static str, Verdict, &'static str)> {
    VERDICTS.iter().find(|(name, _, _)| *name == file.name)
}

/// A server whose clock stands where the dumps were taken, with the file loaded.
fn load(path: &Path) -> (InProcess, Result<(), RdbError>) {
    let mut test = InProcess::new();
    test.server.config.enable_debug_command = ProtectedAction::Yes;
    test.clock_ms(DUMP_TIME_MS - test.now_ms());
    let options = LoadOptions::default();
    let loaded = load_file(&OsStorage, path, &mut test.server.keyspace, options, 1 << 20, &mut |_| {});
    let outcome = loaded.map(|report| assert!(report.is_some(), "the file is there"));
    (test, outcome)
}

fn form_of(file: &CorpusFile) -> StreamForm {
    StreamForm { counters: !file.loads_in.contains("6.2") }
}

/// The lines of a recorded dump, function libraries left out.
fn expected_lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("the dump is readable");
    let lines = text.lines().filter(|line| !line.contains("\"function\":"));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Says where two dumps differ, or nothing.
fn difference(ours: &[String], expected: &[String]) -> Option<String> {
    if ours == expected {
        return None;
    }
    let cut = |line: &String| line.chars().take(600).collect::<String>();
    let missing: Vec<String> = expected.iter().filter(|line| !ours.contains(line)).take(2).map(cut).collect();
    let surplus: Vec<String> = ours.iter().filter(|line| !expected.contains(line)).take(2).map(cut).collect();
    Some(format!("wanted {missing:#?}\ngot {surplus:#?}"))
}

/// The last words of a log or error: where the reason stands.
fn reason(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

/// Compares what became of a file with its verdict: its keys (sorted) with their digests, or the reason.
fn check_verdict(
    file: &CorpusFile,
    found: Result<Vec<(String, String)>, String>,
    problems: &mut Vec<String>,
) {
    let Some((_, verdict, why)) = verdict(file) else {
        problems.push(format!("{}: no verdict, got {:?}", file.name, found.map_err(|text| reason(&text))));
        return;
    };
    match (verdict, found) {
        (Load(wanted), Ok(keys)) => {
            let mut wanted: Vec<(&str, &str)> = wanted.to_vec();
            wanted.sort_unstable();
            let same = |((key, digest), (name, ours)): (&(&str, &str), &(String, String))| {
                key == name && (digest.is_empty() || digest == ours)
            };
            if wanted.len() != keys.len() || !wanted.iter().zip(&keys).all(same) {
                problems.push(format!("{}: wanted {wanted:?} ({why}), got {keys:?}", file.name));
            }
        }
        (Refuse(wanted), Err(text)) if text.contains(wanted) => {}
        (Load(_), Err(text)) => problems.push(format!("{}: refused: {} ({why})", file.name, reason(&text))),
        (Refuse(wanted), got) => {
            let got = got.map_err(|text| reason(&text));
            problems.push(format!("{}: wanted a refusal with {wanted:?} ({why}), got {got:?}", file.name));
        }
    }
}

/// Keys of all databases with their digests, sorted.
fn digests(ask: &mut canonical::Ask<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for db in 0..DATABASES {
        ask(&[b"SELECT", db.to_string().as_bytes()]);
        for key in ask(&[b"KEYS", b"*"]).items() {
            let Reply::Bulk(key) = key else { panic!("a key is text") };
            let digest = ask(&[b"DEBUG", b"DIGEST-VALUE", key]).items()[0].text();
            found.push((String::from_utf8_lossy(key).into_owned(), digest));
        }
    }
    found.sort();
    found
}

#[test]
fn snapshots_load_as_real_servers_load_them() {
    let Some(corpus) = corpus() else { return };
    let (mut compared, mut problems) = (0, Vec::new());
    // The base of an AOF is compared as a part of it.
    let snapshots = corpus.files.iter().filter(|file| file.kind == "rdb" && !file.name.contains(".base."));
    for file in snapshots {
        let (mut test, outcome) = load(&file.path);
        let dump = file.expected.as_ref().filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
        let refused = file.loads_in.starts_with("refused");
        match (outcome, dump) {
            (Ok(()), Some(dump)) if !refused && verdict(file).is_none() => {
                let ours = canonical::lines(&mut |args| test.run(args), DATABASES, form_of(file));
                problems.extend(
                    difference(&ours, &expected_lines(dump)).map(|text| format!("{}: {text}", file.name)),
                );
                compared += 1;
            }
            (Err(failure), _) if !refused && verdict(file).is_none() => {
                problems.push(format!("{}: {failure}", file.name))
            }
            (outcome, _) => {
                let keys = outcome.map(|()| digests(&mut |args| test.run(args)));
                check_verdict(file, keys.map_err(|failure| failure.to_string()), &mut problems);
            }
        }
    }
    println!("{compared} snapshots compared");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert!(compared >= COMPARED_MIN, "only {compared} files compared");
}

/// A log without SCRIPT and FUNCTION, which change no key and come with scripting.
fn without_scripts(log: &[u8]) -> Vec<u8> {
    let mut log = log.to_vec();
    for name in [b"\r\n$6\r\nscript\r\n".as_slice(), b"\r\n$8\r\nfunction\r\n"] {
        while let Some(at) = log.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name)) {
            let start =
                log[..at].iter().rposition(|&byte| byte == b'*').expect("a command begins with its count");
            let mut end = at + 2;
            for _ in 0..number(&log[start + 1..at]) {
                let line =
                    log[end..].iter().position(|&byte| byte == b'\r').expect("a length has its line") + end;
                end = line + 2 + number(&log[end + 1..line]) + 2;
            }
            log.drain(start..end);
        }
    }
    log
}

fn number(digits: &[u8]) -> usize {
    let text = std::str::from_utf8(digits).expect("digits are ASCII");
    text.parse().unwrap_or_else(|_| panic!("{text:?} is a number"))
}

/// The folder of a server that has this AOF: a single file, or the parts of a folder.
fn folder_with(file: &CorpusFile, all: &[CorpusFile]) -> tempfile::TempDir {
    let folder = new_folder();
    let copy = |from: &Path, to: &Path| {
        std::fs::copy(from, to).expect("the temporary folder is writable");
    };
    let Some((origin, _)) = file.name.split_once("appendonly.aof.") else {
        let log = std::fs::read(&file.path).expect("the file is there");
        let log = without_scripts(&log);
        std::fs::write(folder.path().join("appendonly.aof"), log).expect("the temporary folder is writable");
        return folder;
    };
    let parts = folder.path().join("appendonlydir");
    std::fs::create_dir(&parts).expect("the temporary folder is writable");
    for part in all.iter().filter(|part| part.name.starts_with(&format!("{origin}appendonly.aof."))) {
        copy(&part.path, &parts.join(part.name.trim_start_matches(origin)));
    }
    folder
}

/// A line without what an AOF does not hold: times of consumers, and so the hash of a big stream, and the
/// sign of zero in a packed set, which 6.2 keeps and 7.2 does not.
fn comparable(line: &str) -> String {
    let line = canonical::without_times(line).replace("\"-0\"", "\"0\"");
    match (line.contains("\"type\":\"stream\""), line.split_once("\"value_sha256\":")) {
        (true, Some((head, tail))) => format!("{head}{}", tail.split_once(',').map_or("", |(_, rest)| rest)),
        _ => line,
    }
}

/// True if the key of this line has not expired by now.
fn lives(line: &str) -> bool {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("the epoch is past").as_millis();
    let expiry = line.split("\"expire_ms\":").nth(1).and_then(|rest| rest.split(',').next());
    expiry.and_then(|text| text.parse::<u128>().ok()).is_none_or(|at| at > now_ms)
}

#[test]
fn append_only_files_load_as_real_servers_load_them() {
    let Some(corpus) = corpus() else { return };
    let mut problems = Vec::new();
    // The manifest's own line repeats what the line of the last part says.
    let logs =
        corpus.files.iter().filter(|file| file.kind.starts_with("aof") && !file.name.ends_with("manifest"));
    for file in logs {
        let directives = ["appendonly yes", "enable-debug-command yes"];
        let server = Server::try_start(Program::Tine, folder_with(file, &corpus.files), &directives);
        let server = server.map_err(|failure| failure.log);
        let dump = file.expected.as_ref().filter(|_| verdict(file).is_none());
        match (server, dump) {
            (Ok(server), Some(dump)) => {
                let mut client = server.client();
                let ours = canonical::lines(&mut |args| client.call(args), DATABASES, form_of(file));
                let timeless = |lines: Vec<String>| -> Vec<String> {
                    lines.iter().filter(|line| lives(line)).map(|line| comparable(line)).collect()
                };
                let found = difference(&timeless(ours), &timeless(expected_lines(dump)));
                problems.extend(found.map(|text| format!("{}: {text}", file.name)));
            }
            (Err(log), Some(_)) => problems.push(format!("{}: {}", file.name, reason(&log))),
            (server, None) => {
                let found = server.map(|server| {
                    let mut client = server.client();
                    digests(&mut |args| client.call(args))
                });
                check_verdict(file, found, &mut problems);
            }
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// File, key, and the fields with their expiry.
type FieldExpiries = (&'static str, &'static str, &'static [(&'static str, i64)]);

/// Expiry of the fields of each hash, Unix ms, as the origin of the files has it; -1: none.
const FIELD_EXPIRIES: &[FieldExpiries] = &[
    (
        "hdt-hash_as_listpack_with_hfe.aof",
        "listpack-hfe",
        &[("F1", 2755482478325), ("F2", -1), ("F3", 2755484483878)],
    ),
    (
        "hdt-hash_with_hfe.aof",
        "hash-hfe",
        &[("F1", 2755482424661), ("F2", 2755483429282), ("F3", 2755484433842), ("F4", -1), ("F8", -1)],
    ),
    (
        "hdt-valkey_hash2_with_hfe.aof",
        "hash2-hfe",
        &[("F1", 2715785640000), ("F2", 2400425640000), ("F3", -1)],
    ),
    (
        "hdt-valkey_hash2_with_hfe.rdb",
        "hash2-hfe",
        &[("F1", 2715785640000), ("F2", 2400425640000), ("F3", -1)],
    ),
];

#[test]
fn fields_keep_their_expiry() {
    let Some(corpus) = corpus() else { return };
    for (name, key, fields) in FIELD_EXPIRIES {
        let file = corpus.files.iter().find(|file| file.name == *name).expect("the file is listed");
        let folder = new_folder();
        let (target, directive) = if file.kind == "rdb" {
            ("dump.rdb", "appendonly no")
        } else {
            ("appendonly.aof", "appendonly yes")
        };
        std::fs::copy(&file.path, folder.path().join(target)).expect("the temporary folder is writable");
        let server = Server::start(Program::Tine, folder, &[directive]);
        for (field, expiry) in *fields {
            let reply = server.client().call(&["HPEXPIRETIME", key, "FIELDS", "1", field]);
            assert_eq!(reply.items()[0].int(), *expiry, "{name} {field}");
            let value = server.client().call(&["HGET", key, field]);
            assert_eq!(value, Reply::bulk(&field.replace('F', "V")), "{name} {field}");
        }
    }
}

#[test]
fn the_check_tool_reads_every_type() {
    let Some(corpus) = corpus() else { return };
    let mut problems = Vec::new();
    for file in corpus.files.iter().filter(|file| file.kind == "rdb") {
        let opened = OsStorage.open_read(&file.path).expect("the file is there");
        let outcome = check_file(opened, &mut |_| {});
        let may_fail = matches!(verdict(file), Some((_, Refuse(_), _)));
        if let Err(failure) = outcome {
            let reason = failure.to_string();
            if !may_fail || reason.is_empty() {
                problems.push(format!("{}: {reason}", file.name));
            }
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn scores_are_printed_as_the_dumps_have_them() {
    let cases = [
        (0.1, "0.10000000000000001"),
        (1e300, "1.0000000000000001e+300"),
        (17179869184.5, "17179869184.5"),
        (3479099956230698.0, "3479099956230698"),
        (-0.0, "-0"),
        (f64::NEG_INFINITY, "-inf"),
        (1e-5, "1.0000000000000001e-05"),
        (1e17, "1e+17"),
        (0.0001, "0.0001"),
    ];
    for (value, text) in cases {
        assert_eq!(canonical::seventeen_digits(value), text);
    }
}
