//! What SORT was asked for.

use super::pattern::Pattern;
use crate::command::arg;
use crate::ds::quicklist::Direction;
use crate::resp::Args;
use crate::server::error::{self, ReplyError};
use std::ops::Range;

const BY_DENIED: ReplyError =
    ReplyError::fixed("ERR BY option of SORT denied due to insufficient ACL permissions.");
const GET_DENIED: ReplyError =
    ReplyError::fixed("ERR GET option of SORT denied due to insufficient ACL permissions.");

/// What the command and the user allow.
#[derive(Clone, Copy)]
pub(super) struct Allowed<'f> {
    pub store: bool,
    /// Patterns name keys that the request does not show.
    pub read_every_key: &'f dyn Fn() -> bool,
}

/// The options of one SORT.
#[derive(Debug, Default)]
pub(super) struct Options<'a> {
    pub descending: bool,
    pub alpha: bool,
    /// BY a pattern without a star: the elements keep their order.
    pub unsorted: bool,
    pub by: Option<Pattern<'a>>,
    pub get: Vec<Pattern<'a>>,
    pub store: Option<&'a [u8]>,
    /// LIMIT: elements passed over, and elements taken (all when negative).
    limit: Option<(i64, i64)>,
}

impl<'a> Options<'a> {
    /// Reads everything behind the key; the last of several equal options counts.
    ///
    /// # Errors
    /// A word that is no option, a missing value, a LIMIT that is no number; a pattern whose keys the
    /// user may not read.
    pub fn parse(args: Args<'a>, may: Allowed<'_>) -> Result<Self, ReplyError> {
        let mut options = Options::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let left = words.len();
            if arg::is(word, "asc") {
                options.descending = false;
            } else if arg::is(word, "desc") {
                options.descending = true;
            } else if arg::is(word, "alpha") {
                options.alpha = true;
            } else if arg::is(word, "limit") && left >= 2 {
                let mut number = || arg::integer(words.next().unwrap_or_default());
                options.limit = Some((number()?, number()?));
            } else if may.store && arg::is(word, "store") && left >= 1 {
                options.store = words.next();
            } else if arg::is(word, "by") && left >= 1 {
                let pattern = words.next().unwrap_or_default();
                if pattern.contains(&b'*') && !(may.read_every_key)() {
                    return Err(BY_DENIED);
                }
                options.set_by(pattern);
            } else if arg::is(word, "get") && left >= 1 {
                if !(may.read_every_key)() {
                    return Err(GET_DENIED);
                }
                options.get.push(Pattern::parse(words.next().unwrap_or_default()));
            } else {
                return Err(error::SYNTAX);
            }
        }
        Ok(options)
    }

    /// A pattern without a star turns sorting off, for good, as in Redis.
    fn set_by(&mut self, text: &'a [u8]) {
        self.by = Some(Pattern::parse(text));
        self.unsorted |= !text.contains(&b'*');
    }

    /// Sorts by the elements' own texts after all.
    pub fn sort_by_text(&mut self) {
        self.unsorted = false;
        self.alpha = true;
        self.by = None;
    }

    /// The way through a list.
    pub fn direction(&self) -> Direction {
        if self.unsorted && self.descending { Direction::Backward } else { Direction::Forward }
    }

    /// The places in the order of `len` elements that LIMIT asks for.
    pub fn range(&self, len: usize) -> Range<usize> {
        let Some((skipped, taken)) = self.limit else {
            return 0..len;
        };
        let start = usize::try_from(skipped.max(0)).unwrap_or(usize::MAX).min(len);
        let taken = usize::try_from(taken).unwrap_or(usize::MAX);
        start..start.saturating_add(taken).min(len)
    }
}

#[cfg(test)]
mod tests {
    use super::{Allowed, Options};
    use crate::resp::OwnedArgs;

    #[test]
    fn a_limit_is_cut_to_what_exists() {
        let range = |skipped: &str, taken: &str| {
            let words = [b"LIMIT", skipped.as_bytes(), taken.as_bytes()];
            let args: OwnedArgs = words.into_iter().collect();
            let may = Allowed { store: true, read_every_key: &|| true };
            let options = Options::parse(args.as_args(), may).expect("a limit of two numbers");
            options.range(10)
        };
        assert_eq!(range("2", "3"), 2..5);
        assert_eq!(range("-5", "3"), 0..3);
        assert_eq!(range("2", "-1"), 2..10);
        assert_eq!(range("2", "0"), 2..2);
        assert!(range("10", "5").is_empty() && range("99", "5").is_empty());
        assert_eq!(range("8", "9223372036854775807"), 8..10);
    }
}
