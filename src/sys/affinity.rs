//! Processor lists (`server-cpulist`, `bio-cpulist` ...) and pinning of threads.
//!
//! A list is ranges with optional steps: `0,2,4-7,8-15:2`.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// A list that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuListError {
    /// Not of the form `number`, `low-high` or `low-high:step`.
    Syntax,
    /// `high` below `low`, or a step of zero.
    EmptyRange,
    /// A number above what the kernel's set can hold.
    TooLarge,
}

impl std::fmt::Display for CpuListError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Syntax => "invalid processor list",
            Self::EmptyRange => "empty range in processor list",
            Self::TooLarge => "processor number too large",
        })
    }
}

impl std::error::Error for CpuListError {}

/// Numbers in the list, ascending, each once.
pub fn parse_cpulist(list: &str) -> Result<Vec<usize>, CpuListError> {
    let mut processors = Vec::new();
    for part in list.split(',') {
        let (range, step) = match part.split_once(':') {
            Some((range, step)) => (range, number(step)?),
            None => (part, 1),
        };
        let (low, high) = match range.split_once('-') {
            Some((low, high)) => (number(low)?, number(high)?),
            None if part.contains(':') => return Err(CpuListError::Syntax),
            None => (number(range)?, number(range)?),
        };
        if high < low || step == 0 {
            return Err(CpuListError::EmptyRange);
        }
        if high >= CpuSet::count() {
            return Err(CpuListError::TooLarge);
        }
        processors.extend((low..=high).step_by(step));
    }
    processors.sort_unstable();
    processors.dedup();
    Ok(processors)
}

fn number(text: &str) -> Result<usize, CpuListError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CpuListError::Syntax);
    }
    text.parse().map_err(|_| CpuListError::TooLarge)
}

/// Pins the calling thread. `EINVAL`: none of the processors is there.
pub fn pin_current_thread(processors: &[usize]) -> Result<(), nix::errno::Errno> {
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(*processor)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// Processors that the calling thread may use.
pub fn current_processors() -> Result<Vec<usize>, nix::errno::Errno> {
    let set = nix::sched::sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|number| set.is_set(*number) == Ok(true)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::prop;
    use proptest::{prop_assert_eq, proptest};

    use super::{CpuListError, current_processors, parse_cpulist, pin_current_thread};

    #[test]
    fn lists_parse() {
        assert_eq!(parse_cpulist("0"), Ok(vec![0]));
        assert_eq!(parse_cpulist("3,1,1"), Ok(vec![1, 3]));
        assert_eq!(parse_cpulist("0-7:2,9"), Ok(vec![0, 2, 4, 6, 9]));
        assert_eq!(parse_cpulist("4-4"), Ok(vec![4]));
    }

    #[test]
    fn bad_lists_do_not() {
        for list in ["", ",", "1,", "a", "1-", "-1", "1:2", "1-2-3", "1-3:", " 1", "+1"] {
            assert_eq!(parse_cpulist(list), Err(CpuListError::Syntax), "{list}");
        }
        assert_eq!(parse_cpulist("3-2"), Err(CpuListError::EmptyRange));
        assert_eq!(parse_cpulist("1-2:0"), Err(CpuListError::EmptyRange));
        for list in ["99999", "0-99999", "99999999999999999999999"] {
            assert_eq!(parse_cpulist(list), Err(CpuListError::TooLarge));
        }
    }

    proptest! {
        #[test]
        fn any_set_survives_its_list(set in prop::collection::btree_set(0usize..1000, 1..30)) {
            let list: Vec<String> = set.iter().map(usize::to_string).collect();
            let expected: Vec<usize> = set.into_iter().collect();
            prop_assert_eq!(parse_cpulist(&list.join(",")), Ok(expected));
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = parse_cpulist(&text);
        }
    }

    #[test]
    fn a_thread_can_be_pinned() {
        let pinned = std::thread::spawn(|| {
            let allowed = current_processors().expect("the kernel tells");
            pin_current_thread(&allowed[..1]).expect("an allowed processor");
            (allowed[..1].to_vec(), current_processors().expect("the kernel tells"))
        });
        let (wanted, got) = pinned.join().expect("no panic");
        assert_eq!(wanted, got);
    }
}
