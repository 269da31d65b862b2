//! The kernel's out-of-memory score (`oom-score-adj`): a child should die before its parent.

use std::fs;
use std::io;
use std::path::Path;

/// Lowest and highest adjustment that the kernel takes.
pub const SCORE_RANGE: std::ops::RangeInclusive<i32> = -1000..=1000;

/// The adjustment of this process. `proc_root` is `/proc`.
pub fn read_score_adj(proc_root: &Path) -> io::Result<i32> {
    let text = fs::read_to_string(proc_root.join("self/oom_score_adj"))?;
    text.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Sets the adjustment of this process, cut to [`SCORE_RANGE`]. Lowering it below the value
/// at the start needs a privilege: `PermissionDenied`.
pub fn write_score_adj(proc_root: &Path, score: i32) -> io::Result<()> {
    let score = score.clamp(*SCORE_RANGE.start(), *SCORE_RANGE.end());
    fs::write(proc_root.join("self/oom_score_adj"), score.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{read_score_adj, write_score_adj};

    #[test]
    fn scores_are_written_and_cut() {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        std::fs::create_dir(folder.path().join("self")).expect("mkdir");
        assert!(read_score_adj(folder.path()).is_err());
        for (wanted, kept) in [(200, 200), (-5000, -1000), (5000, 1000)] {
            write_score_adj(folder.path(), wanted).expect("write");
            assert_eq!(read_score_adj(folder.path()).expect("read"), kept);
        }
        std::fs::write(folder.path().join("self/oom_score_adj"), "x").expect("write");
        assert!(read_score_adj(folder.path()).is_err());
    }

    #[test]
    fn the_real_score_can_be_read_and_written_back() {
        let score = read_score_adj(Path::new("/proc")).expect("Linux has it");
        write_score_adj(Path::new("/proc"), score).expect("the same value is always allowed");
    }
}
