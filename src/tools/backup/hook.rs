//! The hook: a command of the user's that takes a backup to another place.

use crate::base::clock::unix_ms_now;
use crate::tools::backup::arguments::{HookWhen, Options};
use crate::tools::backup::store::{self, Stored, manifest_of};
use crate::tools::backup::{Failure, Outcome};
use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const DAY_MS: i64 = 86_400_000;

/// `tine-backup offsite`: the hook for the newest good backup.
///
/// # Errors
/// [`Failure::Hook`]; there is no backup.
pub fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let mut newest = store::find(&options.dir, None)?;
    run_if_due(options, &mut newest, out)
}

/// Runs the hook for a good backup, unless one of its day has been taken away already.
///
/// # Errors
/// [`Failure::Hook`]; the backup stays.
pub fn run_if_due(options: &Options, stored: &mut Stored, out: &mut dyn Write) -> Outcome {
    let Some(command) = &options.hook else { return Ok(()) };
    if options.hook_when == HookWhen::Daily && done_today(&options.dir, stored)? {
        writeln!(out, "a backup of this day is off site already")?;
        return Ok(());
    }
    call(command, &options.dir, stored)?;
    let marked = store::mark_offsite(stored, unix_ms_now() / 1000);
    marked.map_err(|fault| Failure::Hook(format!("the hook succeeded, which cannot be noted: {fault}")))?;
    Ok(writeln!(out, "{} is off site", stored.name)?)
}

fn done_today(dir: &Path, stored: &Stored) -> Result<bool, Failure> {
    let day = |backup: &Stored| backup.unix_ms.div_euclid(DAY_MS);
    let all = store::read_all(dir)?;
    Ok(all.iter().any(|other| other.offsite_s.is_some() && day(other) == day(stored)))
}

fn call(command: &OsStr, dir: &Path, stored: &Stored) -> Outcome {
    let manifest = manifest_of(stored)?;
    let path = std::path::absolute(&stored.path).unwrap_or_else(|_| stored.path.clone());
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .env("TINE_BACKUP_PATH", path)
        .env("TINE_BACKUP_DIR", dir)
        .env("TINE_BACKUP_NAME", &stored.name)
        .env("TINE_BACKUP_KIND", manifest.kind.name())
        .env("TINE_BACKUP_BYTES", manifest.bytes().to_string())
        .env("TINE_BACKUP_UNIX_MS", manifest.unix_ms.to_string())
        .env_remove("REDISCLI_AUTH")
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::Hook(format!("the hook failed ({status}); {} stays", stored.name))),
        Err(failure) => {
            Err(Failure::Hook(format!("the hook cannot be run: {failure}; {} stays", stored.name)))
        }
    }
}
