//! Resource limits: open files (`maxclients`) and core files.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Step of the search for the highest limit that the kernel grants. Small enough to find one
/// close to the wish, large enough for few calls (100 000 wished: at most 6 250 of 0.2 us).
const STEP_FILES: u64 = 16;

/// What became of the wish for open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFilesOutcome {
    /// Soft limit before.
    pub before: u64,
    /// Soft limit now.
    pub now: u64,
    /// What was asked for.
    pub wanted: u64,
    /// Why the wish was not granted in full.
    pub refusal: Option<Errno>,
}

impl OpenFilesOutcome {
    /// Whether there are as many as asked for.
    pub fn is_enough(&self) -> bool {
        self.now >= self.wanted
    }
}

/// Raises the limit of open files to `wanted` if it is lower, or as far up as the kernel
/// allows. Raises the hard limit too where privileges permit. Never lowers.
pub fn raise_open_files(wanted: u64) -> Result<OpenFilesOutcome, Errno> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let set = |soft, hard| setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
    Ok(raise(soft, hard, wanted, set))
}

fn raise(
    soft: u64,
    hard: u64,
    wanted: u64,
    mut set: impl FnMut(rlim_t, rlim_t) -> Result<(), Errno>,
) -> OpenFilesOutcome {
    let mut outcome = OpenFilesOutcome { before: soft, now: soft, wanted, refusal: None };
    let mut candidate = wanted;
    while candidate > soft {
        match set(candidate, hard.max(candidate)) {
            Ok(()) => {
                outcome.now = candidate;
                break;
            }
            Err(errno) => outcome.refusal = Some(errno),
        }
        // What the hard limit permits needs no search.
        candidate = if candidate > hard && hard > soft && set(hard, hard).is_ok() {
            outcome.now = hard;
            break;
        } else {
            candidate.saturating_sub(STEP_FILES)
        };
    }
    outcome
}

/// Lets the kernel write core files of any size, as far as the hard limit goes.
pub fn enable_core_files() -> Result<(), Errno> {
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    setrlimit(Resource::RLIMIT_CORE, hard, hard)
}

/// No core files: for test children that crash on purpose.
pub fn disable_core_files() -> Result<(), Errno> {
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    setrlimit(Resource::RLIMIT_CORE, 0, hard)
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::{raise, raise_open_files};

    #[test]
    fn the_wish_is_granted_where_allowed() {
        let outcome = raise(1024, 4096, 10_032, |_, _| Ok(()));
        assert_eq!((outcome.now, outcome.refusal), (10_032, None));
        assert!(outcome.is_enough());
    }

    #[test]
    fn without_privileges_the_hard_limit_is_reached() {
        let set = |_, hard| {
            if hard > 4096 { Err(Errno::EPERM) } else { Ok(()) }
        };
        let outcome = raise(1024, 4096, 10_032, set);
        assert_eq!((outcome.now, outcome.refusal), (4096, Some(Errno::EPERM)));
        assert!(!outcome.is_enough());
    }

    #[test]
    fn the_search_steps_down_and_ends() {
        let set = |soft, _| {
            if soft > 5000 { Err(Errno::EINVAL) } else { Ok(()) }
        };
        let outcome = raise(1024, 1024, 10_032, set);
        assert!(outcome.now <= 5000 && outcome.now > 4980, "{outcome:?}");
        let outcome = raise(1024, 1024, 10_032, |_, _| Err(Errno::EPERM));
        assert_eq!(outcome.now, 1024);
    }

    #[test]
    fn limits_never_go_down() {
        let outcome = raise(1024, 4096, 100, |_, _| panic!("no call is needed"));
        assert_eq!(outcome.now, 1024);
        let real = raise_open_files(1).expect("the kernel tells");
        assert!(real.is_enough() && real.now == real.before);
    }
}
