//! Every byte of small files: cut there, and spoilt there in several ways. The start finds a prefix of
//! the history or is refused with the place; then it goes on, and finds that again.

use super::{FILE, digest, everything, put, run, run_all, start, start_on};
use std::path::Path;
use std::sync::Arc;
use tine::persist::aof::base;
use tine::persist::child::ChildLink;
use tine::persist::rdb::save::Walk;
use tine::server::Server;
use tine::sys::io::{MemoryStorage, Storage};

/// A file and what it should give.
struct Sample {
    name: &'static str,
    content: Vec<u8>,
    /// Where each command (a transaction counts as one) ends, and the data then.
    history: Vec<(usize, String)>,
    /// Length of the RDB part.
    preamble: usize,
    /// Whether each command is covered by a checksum.
    checked: bool,
}

const COMMANDS: &[&[&[&str]]] = &[
    &[&["SET", "a", "1"]],
    &[&["MULTI"], &["SET", "b", "2"], &["RPUSH", "list", "x", "y"], &["EXEC"]],
    &[&["SELECT", "3"], &["HSET", "hash", "field", "value"]],
    &[&["PEXPIREAT", "a", "4000000000000"]],
    &[&["DEL", "b"]],
];

fn length(disk: &MemoryStorage) -> usize {
    disk.metadata(&Path::new("/").join(FILE)).expect("it is there").len as usize
}

fn sample(name: &'static str, with_preamble: bool, checked: bool) -> Sample {
    let disk = MemoryStorage::new();
    let mut server = start_on(Arc::new(disk.clone()), |config| {
        config.aof_timestamp_enabled = checked;
        config.aof_checksum = checked;
    })
    .expect("an empty disk");
    if with_preamble {
        run_all(&mut server, &[&["SET", "old", "value"], &["SADD", "set", "one", "two", "three"]]);
        server = rewritten(server, &disk, checked);
    }
    let preamble = length(&disk);
    let mut history = vec![(preamble, digest(&mut server))];
    for commands in COMMANDS {
        run_all(&mut server, commands);
        let state = digest(&mut server);
        history.push((length(&disk), state));
    }
    let content = disk.read_whole(&Path::new("/").join(FILE), 1 << 20).expect("it is there");
    Sample { name, content, history, preamble, checked }
}

/// The AOF replaced by a base of the data, and a server that goes on with it.
fn rewritten(server: Server, disk: &MemoryStorage, checked: bool) -> Server {
    let path = Path::new("/").join(FILE);
    let options = server.aof_base_options(path.clone(), Walk::Tables);
    base::write(Arc::new(disk.clone()), &server.keyspace, &mut ChildLink::disconnected(), &options, &path)
        .expect("memory");
    drop(server);
    start_on(Arc::new(disk.clone()), |config| config.aof_checksum = checked).expect("its own base")
}

fn samples() -> Vec<Sample> {
    vec![
        sample("commands", false, false),
        sample("notes and checksums", false, true),
        sample("preamble", true, false),
        sample("preamble, notes and checksums", true, true),
    ]
}

fn disk_with(content: &[u8]) -> MemoryStorage {
    let disk = MemoryStorage::new();
    put(&disk, &format!("/{FILE}"), content);
    disk
}

/// Writes, starts again, and finds what was there and what was written.
fn goes_on(mut server: Server, disk: &MemoryStorage, place: &str) {
    run_all(&mut server, &[&["SELECT", "0"], &["SET", "new", "5"]]);
    let before = digest(&mut server);
    drop(server);
    let mut again = start(disk).unwrap_or_else(|text| panic!("{place}: second start: {text}"));
    assert_eq!(digest(&mut again), before, "{place}: second start");
    assert_eq!(run(&mut again, &["GET", "new"]), "$1\r\n5\r\n", "{place}");
}

#[test]
fn a_file_cut_at_any_byte_gives_the_longest_prefix_or_is_refused() {
    for sample in samples() {
        for cut in 0..=sample.content.len() {
            let place = format!("{}, cut at {cut} of {}", sample.name, sample.content.len());
            let disk = disk_with(&sample.content[..cut]);
            match start(&disk) {
                Ok(mut server) => {
                    assert!(cut >= sample.preamble || cut == 0, "{place}: half a preamble was loaded");
                    let kept = sample.history.iter().rev().find(|(end, _)| *end <= cut.max(sample.preamble));
                    let expected = if cut == 0 { None } else { kept.map(|(_, state)| state.clone()) };
                    let found = digest(&mut server);
                    assert_eq!(
                        Some(found),
                        expected.or_else(|| Some(format!("+{}\r\n", "0".repeat(40)))),
                        "{place}"
                    );
                    goes_on(server, &disk, &place);
                }
                Err(_) => assert!(0 < cut && cut < sample.preamble, "{place}: a torn end was refused"),
            }
        }
    }
}

#[test]
fn a_byte_spoilt_anywhere_is_never_taken_for_other_data_where_the_format_can_tell() {
    let mut random = fastrand::Rng::with_seed(5);
    for sample in samples() {
        let mut accepted = 0;
        for at in 0..sample.content.len() {
            let good = sample.content[at];
            for bad in [good ^ 1, good ^ 0x80, 0, 0xFF, random.u8(..)].into_iter().filter(|bad| *bad != good)
            {
                let place = format!("{}: byte {at} is {bad:#x} instead of {good:#x}", sample.name);
                let mut content = sample.content.clone();
                content[at] = bad;
                accepted += usize::from(spoilt(&sample, at, &content, &place));
            }
        }
        // Values of plain commands have no checksum: there some damage cannot be seen.
        assert!(accepted > 0 || sample.checked, "{}", sample.name);
    }
}

/// Starts on a file with one wrong byte at `at`; true when it is accepted.
fn spoilt(sample: &Sample, at: usize, content: &[u8], place: &str) -> bool {
    let disk = disk_with(content);
    let before = everything(&disk);
    let mut server = match start(&disk) {
        Ok(server) => server,
        Err(text) => {
            assert!(text.contains("offset") || at < sample.preamble, "{place}: no place in: {text}");
            assert_eq!(everything(&disk), before, "{place}: a refused start changes nothing");
            return false;
        }
    };
    assert!(at >= sample.preamble, "{place}: a spoilt preamble was loaded");
    let found = digest(&mut server);
    let whole = sample.history.iter().any(|(_, state)| *state == found);
    assert!(whole || !sample.checked, "{place}: checksums let wrong data pass");
    let intact = sample.history.iter().filter(|(end, _)| *end <= at).count();
    if intact > 1 {
        let first = run(&mut server, &["EXISTS", "a"]);
        assert_eq!(first, ":1\r\n", "{place}: a command before the damage is missing");
    }
    goes_on(server, &disk, place);
    true
}
