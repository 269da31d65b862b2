//! A fork that is tried before the server rests on it.

use crate::server::config::Config;
use crate::sys::fork_check::{CopyOnWrite, check_copy_on_write};

/// The word in `ignore-warnings` that starts the server on a kernel with broken copy-on-write. Redis's
/// name for the fault that it looks for on arm64.
const COW_WARNING: &str = "ARM64-COW-BUG";

/// Tries a fork, since every snapshot rests on it.
///
/// # Errors
/// Copy-on-write is broken: a snapshot would hold wrong data.
pub fn check_fork(config: &Config) -> Result<(), String> {
    judge_fork(check_copy_on_write(), &config.ignore_warnings.to_text())
}

fn judge_fork(found: CopyOnWrite, ignored: &str) -> Result<(), String> {
    match found {
        CopyOnWrite::Sound => Ok(()),
        CopyOnWrite::Untested(reason) => {
            log::warn!(
                "WARNING Failed to test whether fork() of this kernel keeps parent and child apart ({reason}). Your \
                 system could be affected by a bug that corrupts background saves."
            );
            Ok(())
        }
        CopyOnWrite::Broken(reason) => {
            log::warn!(
                "WARNING Your kernel has a bug that could lead to data corruption during background save ({reason}). \
                 Please upgrade to the latest stable kernel."
            );
            if ignored.split([' ', ',']).any(|word| word == COW_WARNING) {
                return Ok(());
            }
            Err(format!(
                "The server exits now to prevent data corruption. Note that it is possible to suppress this by setting \
                 the following config: ignore-warnings {COW_WARNING}"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::judge_fork;
    use crate::sys::fork_check::CopyOnWrite;

    #[test]
    fn a_broken_fork_stops_the_start_and_an_untested_one_does_not() {
        assert_eq!(judge_fork(CopyOnWrite::Sound, ""), Ok(()));
        assert_eq!(judge_fork(CopyOnWrite::Untested("no memory".into()), ""), Ok(()));
        let refusal = judge_fork(CopyOnWrite::Broken("on purpose"), "other").expect_err("it stops");
        assert!(refusal.contains("ignore-warnings ARM64-COW-BUG"), "{refusal}");
        assert_eq!(judge_fork(CopyOnWrite::Broken("on purpose"), "other ARM64-COW-BUG"), Ok(()));
    }
}
