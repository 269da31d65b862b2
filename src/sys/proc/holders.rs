//! Who works with a folder: looked up before its files are replaced.

use super::{ProcFs, read_text};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How the names of servers end (tine-server, redis-server); they work in the folder of their data.
const SERVER_SUFFIX: &str = "-server";
/// The bits of open(2)'s flags that say read, write or both.
const ACCESS_MODE: u32 = 0o3;

/// A process that a folder belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub pid: i32,
    /// The name of its program, up to 15 bytes.
    pub name: String,
}

impl ProcFs {
    /// A server that works in `folder`, or any process that has one of `files` open for writing.
    /// Processes of other users are seen by root only. O(processes and their descriptors).
    pub fn holder_of(&self, folder: &Path, files: &[PathBuf]) -> Option<Holder> {
        let folder = std::fs::metadata(folder).ok()?;
        let files: Vec<Metadata> = files.iter().filter_map(|path| std::fs::metadata(path).ok()).collect();
        let own = std::process::id() as i32;
        let processes = std::fs::read_dir(&self.proc_root).ok()?.flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let mut pids: Vec<i32> = pids.filter(|pid| *pid != own).collect();
        pids.sort_unstable();
        pids.into_iter().find_map(|pid| {
            let process = self.proc_root.join(pid.to_string());
            // A process that has ended meanwhile holds nothing.
            let name = read_text(&process.join("comm")).ok()?.trim().to_owned();
            let works_there = name.ends_with(SERVER_SUFFIX) && is_same(&process.join("cwd"), &folder);
            (works_there || writes_one_of(&process, &files)).then_some(Holder { pid, name })
        })
    }
}

fn writes_one_of(process: &Path, files: &[Metadata]) -> bool {
    let Ok(descriptors) = std::fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|descriptor| {
        files.iter().any(|file| is_same(&descriptor.path(), file))
            && is_for_writing(&process.join("fdinfo").join(descriptor.file_name()))
    })
}

/// Whether the link leads to that file; its path may be another one, as in a container.
fn is_same(link: &Path, file: &Metadata) -> bool {
    std::fs::metadata(link).is_ok_and(|found| (found.dev(), found.ino()) == (file.dev(), file.ino()))
}

fn is_for_writing(info: &Path) -> bool {
    let text = read_text(info).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & ACCESS_MODE != 0)
}
