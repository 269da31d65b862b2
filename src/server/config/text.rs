//! The small text rules of configuration: words of a line, quoting, units, numbers, patterns.
//!
//! Owns nothing and knows no directive. The rules are those of `redis.conf` as Redis 7.2 reads it,
//! so that a file written for one server means the same to the other.

use crate::base::glob::{self, Case};

/// Writes bytes between double quotes so that [`split_arguments`] gives them back.
pub use crate::base::bytes::repr as quote;
/// Parses a decimal integer strictly: no blanks, no `+`, no leading zero, no `-0`, at most 64 bits.
pub use crate::base::numbers::parse_i64 as parse_integer;
/// Parses a number of bytes with its unit.
pub use crate::base::numbers::parse_memory_bytes as parse_memory;
/// Cuts a line into its words.
pub use crate::base::words::split as split_arguments;

/// Longest pattern a glob match looks at, in bytes. Matching is quadratic in the worst case and
/// directive names are below 64 bytes, so nothing longer can be meant.
const MAX_PATTERN_BYTES: usize = 4096;

/// Quotes only what would not survive as a bare word.
pub fn quote_if_needed(word: &[u8]) -> Vec<u8> {
    let bare = |&byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\' | b'#');
    if !word.is_empty() && word.iter().all(bare) {
        return word.to_vec();
    }
    quote(word)
}

/// Parses a decimal integer as `strtoll` would, whole word: sign and leading zeros are fine.
pub fn parse_lenient_integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Parses an octal number (a file mode such as `700` or `0770`); a sign is fine.
pub fn parse_octal(text: &[u8]) -> Option<i64> {
    i64::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok()
}

/// Writes a number of bytes in the largest of `gb`, `mb`, `kb` that divides it.
pub fn format_memory(bytes: u64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Whether `name` matches the glob `pattern` (`* ? [a-z] [^x] \c`), ignoring ASCII case if asked.
///
/// O(pattern x name): only the last `*` is ever retried. Longer patterns than 4 KiB never match.
pub fn glob_matches(pattern: &[u8], name: &[u8], ignore_case: bool) -> bool {
    let case = if ignore_case { Case::Ignored } else { Case::Sensitive };
    pattern.len() <= MAX_PATTERN_BYTES && glob::matches(pattern, name, case)
}

#[cfg(test)]
mod tests {
    use super::{
        format_memory, glob_matches, parse_integer, parse_memory, quote, quote_if_needed, split_arguments,
    };
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn amounts_of_memory_are_written_short() {
        assert_eq!(format_memory(64 << 20), "64mb");
        assert_eq!(format_memory(1500), "1500");
        assert_eq!(format_memory(0), "0");
    }

    #[test]
    fn integers_are_strict() {
        assert_eq!(parse_integer(b"-2"), Some(-2));
        assert_eq!(parse_integer(b"0"), Some(0));
        for refused in ["", "-", "-0", "01", "+1", " 1", "1 ", "9223372036854775808", "1x"] {
            assert_eq!(parse_integer(refused.as_bytes()), None, "{refused}");
        }
    }

    #[test]
    fn globs() {
        let cases = [
            ("*", "save", true),
            ("max*", "maxmemory", true),
            ("MAX*y", "maxmemory", true),
            ("*of", "replicaof", true),
            ("[a-c]*", "bind", true),
            ("[^a-c]*", "bind", false),
            ("b?nd", "bind", true),
            ("bin", "bind", false),
            ("bind?", "bind", false),
            ("\\*", "*", true),
            ("[", "a", false),
            ("*a*b*c", "xaxbxc", true),
        ];
        for (pattern, name, wanted) in cases {
            assert_eq!(glob_matches(pattern.as_bytes(), name.as_bytes(), true), wanted, "{pattern} {name}");
        }
        assert!(!glob_matches(b"A", b"a", false));
    }

    proptest! {
        #[test]
        fn quoting_round_trips(bytes in any::<Vec<u8>>()) {
            prop_assert_eq!(split_arguments(&quote(&bytes)), Some(vec![bytes.clone()]));
            prop_assert_eq!(split_arguments(&quote_if_needed(&bytes)), Some(vec![bytes]));
        }

        #[test]
        fn memory_round_trips(bytes in any::<u64>()) {
            prop_assert_eq!(parse_memory(format_memory(bytes).as_bytes()), Some(bytes));
        }
    }
}
