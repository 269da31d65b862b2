//! tine-check-rdb: reads an RDB file and says whether it is whole, in redis-check-rdb's words.
//!
//! Exit status 0: the file looks right; 1: it does not, or the arguments do not.

use crate::persist::rdb::check::{CheckFailure, CheckReport, check_file};
use crate::persist::rdb::values;
use crate::server::run::REDIS_VERSION;
use crate::sys::io::{OsStorage, Storage};
use std::io::Write;
use std::path::Path;

/// Runs the tool on the process's arguments.
pub fn run() -> i32 {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let mut out = std::io::stdout().lock();
    let [_, name] = arguments.as_slice() else {
        eprintln!("Usage: tine-check-rdb <rdb-file-name>");
        return 1;
    };
    let code = match name.to_str() {
        Some("-v" | "--version") => writeln!(out, "redis-check-rdb {REDIS_VERSION}").map(|()| 0),
        _ => check(Path::new(name), &mut out),
    };
    // Nobody reads our output any more: that is no success.
    code.unwrap_or(1)
}

/// Checks one file, writing what is found. Returns the exit status.
///
/// # Errors
/// `out`'s.
pub fn check(path: &Path, out: &mut dyn Write) -> std::io::Result<i32> {
    writeln!(out, "[offset 0] Checking RDB file {}", path.display())?;
    let file = match OsStorage.open_read(path) {
        Ok(file) => file,
        Err(fault) => {
            writeln!(out, "Cannot open file {}: {}", path.display(), fault.source)?;
            return Ok(1);
        }
    };
    let mut written = Ok(());
    let outcome = check_file(file, &mut |line| {
        if written.is_ok() {
            written = writeln!(out, "[offset {}] {}", line.offset, line.text);
        }
    });
    written?;
    match outcome {
        Ok(report) => {
            writeln!(out, "[offset {}] \\o/ RDB looks OK! \\o/", report.bytes)?;
            figures(&report, out)?;
            Ok(0)
        }
        Err(failure) => {
            explain(&failure, out)?;
            Ok(1)
        }
    }
}

fn figures(report: &CheckReport, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "[info] {} keys read", report.keys)?;
    writeln!(out, "[info] {} expires", report.expires)?;
    writeln!(out, "[info] {} already expired", report.already_expired)
}

fn explain(failure: &CheckFailure, out: &mut dyn Write) -> std::io::Result<()> {
    let error = &failure.error;
    writeln!(out, "--- RDB ERROR DETECTED ---")?;
    writeln!(out, "[offset {}] {}", error.offset, error.kind)?;
    writeln!(out, "[additional info] While doing: {}", error.step.name())?;
    if let Some(key) = &error.key {
        writeln!(out, "[additional info] Reading key '{}'", String::from_utf8_lossy(key))?;
    }
    if let Some(number) = error.type_number {
        writeln!(out, "[additional info] Reading type {number} ({})", values::type_name(number))?;
    }
    figures(&failure.report, out)
}

#[cfg(test)]
mod tests {
    use super::check;

    fn output_of(bytes: &[u8]) -> (i32, String) {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let path = folder.path().join("dump.rdb");
        std::fs::write(&path, bytes).expect("write");
        let mut out = Vec::new();
        let code = check(&path, &mut out).expect("a vector takes all");
        (code, String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn whole_and_damaged_files_are_told_apart() {
        let (code, text) = output_of(b"REDIS0003\xfe\x00\x00\x01k\x01v\xff");
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("Selecting DB ID 0") && text.contains("[info] 1 keys read"), "{text}");
        assert!(text.contains("\\o/ RDB looks OK! \\o/"), "{text}");
        let (code, text) = output_of(b"REDIS0003\xfe\x00\x00\x01k\x05v\xff");
        assert_eq!(code, 1);
        assert!(text.contains("--- RDB ERROR DETECTED ---") && text.contains("Reading key 'k'"), "{text}");
        let (code, text) = output_of(b"hello");
        assert_eq!(code, 1, "{text}");
    }
}
