//! The sink is tested as an object; only the fork test program installs it as the logger.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, SystemTime};

use log::Log;

use super::{LogLevel, LogRole, LogSink, LogTarget, RAW_TARGET, Stamp, SyslogOptions};

fn write(sink: &LogSink, level: log::Level, target: &str, text: &str) {
    log::set_max_level(LogLevel::Debug.filter());
    sink.log(&log::Record::builder().level(level).target(target).args(format_args!("{text}")).build());
}

fn sink_to(path: &Path) -> LogSink {
    let sink = LogSink::new();
    let target = LogTarget { file: Some(path.to_path_buf()), syslog: None };
    sink.set_target(target).expect("the folder is writable");
    sink
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("the log exists")
}

#[test]
fn stamps_look_like_those_of_redis() {
    let stamp = |seconds: u64, offset_s: i32| {
        let unix_time = Duration::from_secs(seconds) + Duration::from_millis(7);
        Stamp { pid: 42, role: 'M', unix_time, offset_s, level: '*' }.to_string()
    };
    assert_eq!(stamp(0, 0), "42:M 01 Jan 1970 00:00:00.007 *");
    assert_eq!(stamp(951_782_400, 0), "42:M 29 Feb 2000 00:00:00.007 *");
    assert_eq!(stamp(951_868_799, 3600), "42:M 01 Mar 2000 00:59:59.007 *");
    assert_eq!(stamp(0, -3600), "42:M 31 Dec 1969 23:00:00.007 *");
}

#[test]
fn lines_have_prefix_level_and_one_end() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let path = folder.path().join("log");
    let sink = sink_to(&path);
    write(&sink, log::Level::Warn, "x", "warn");
    sink.set_role(LogRole::Replica);
    write(&sink, log::Level::Debug, "x", "verbose");
    write(&sink, log::Level::Info, RAW_TARGET, "no prefix");
    sink.set_role_child();
    write(&sink, log::Level::Trace, "x", &"ä".repeat(5000));
    let text = read(&path);
    let lines: Vec<&str> = text.lines().collect();
    let pid = std::process::id();
    assert!(lines[0].starts_with(&format!("{pid}:M ")) && lines[0].ends_with(" # warn"));
    assert!(lines[1].contains(":S ") && lines[1].ends_with(" - verbose"));
    assert_eq!(lines[2], "no prefix");
    assert!(lines[3].contains(":C ") && lines[3].contains(" . ä"));
    assert!(lines[3].len() < super::LINE_MAX_BYTES && lines[3].len() > super::LINE_MAX_BYTES - 4);
    assert_eq!(lines.len(), 4);
}

#[test]
fn rotation_is_noticed_and_the_descriptor_stays() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
    let sink = sink_to(&path);
    let fd = sink.fd();
    assert!(!sink.check_moved().expect("stat"));
    write(&sink, log::Level::Info, "x", "before");
    std::fs::rename(&path, &old).expect("rename");
    write(&sink, log::Level::Info, "x", "still old");
    assert!(sink.check_moved().expect("stat"));
    write(&sink, log::Level::Info, "x", "after");
    sink.reopen().expect("reopen");
    assert_eq!(sink.fd(), fd);
    assert!(read(&old).contains("still old") && !read(&old).contains("after"));
    assert!(read(&path).ends_with("after\n") && !read(&path).contains("old"));
    std::fs::remove_file(&path).expect("remove");
    assert!(sink.check_moved().expect("stat"), "a removed file is made again");
}

#[test]
fn an_unwritable_target_is_an_error() {
    let sink = LogSink::new();
    let target = LogTarget { file: Some("/nonexistent/folder/log".into()), syslog: None };
    assert!(sink.set_target(target).is_err());
    assert_eq!(sink.fd(), libc::STDOUT_FILENO);
    sink.reopen().expect("standard output needs no reopening");
    assert!(!sink.check_moved().expect("nothing to check"));
}

#[test]
fn syslog_gets_datagrams() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let socket_path = folder.path().join("dev-log");
    let daemon = UnixDatagram::bind(&socket_path).expect("bind");
    let sink = LogSink::new();
    let syslog = SyslogOptions { ident: "tine".into(), facility: libc::LOG_LOCAL0, socket_path };
    let file = Some(folder.path().join("log"));
    sink.set_target(LogTarget { file, syslog: Some(syslog) }).expect("connect");
    write(&sink, log::Level::Warn, "x", "hello");
    let mut buffer = [0u8; 256];
    let count = daemon.recv(&mut buffer).expect("a datagram was sent before");
    let expected = format!("<{}>tine[{}]: hello", 16 * 8 + 4, std::process::id());
    assert_eq!(String::from_utf8_lossy(&buffer[..count]), expected);
}

#[test]
fn levels_map_both_ways() {
    assert!(LogLevel::Debug < LogLevel::Verbose && LogLevel::Warning < LogLevel::Nothing);
    let filters: Vec<log::LevelFilter> = LogLevel::NAMES.iter().map(|(_, level)| level.filter()).collect();
    assert!(filters.windows(2).all(|pair| pair[0] > pair[1]));
    assert_eq!(LogLevel::NAMES.len(), 5);
}

#[test]
fn the_offset_is_that_of_the_machine() {
    let offset = super::local_offset_s(SystemTime::now());
    assert!((-12 * 3600..=14 * 3600).contains(&offset) && offset % 60 == 0);
}
