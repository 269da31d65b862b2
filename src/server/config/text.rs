//! The small text rules of configuration: words of a line, quoting, units, numbers, patterns.
//!
//! Owns nothing and knows no directive. The rules are those of `redis.conf` as Redis 7.2 reads it,
//! so that a file written for one server means the same to the other.

use crate::base::glob::{self, Case};

/// Writes bytes between double quotes so that [`split_arguments`] gives them back.
pub use crate::base::bytes::repr as quote;
/// Parses a decimal integer strictly: no blanks, no `+`, no leading zero, no `-0`, at most 64 bits.
pub use crate::base::numbers::parse_i64 as parse_integer;

/// Longest pattern a glob match looks at, in bytes. Matching is quadratic in the worst case and
/// directive names are below 64 bytes, so nothing longer can be meant.
const MAX_PATTERN_BYTES: usize = 4096;

/// Cuts a line into its words, as `sdssplitargs` does: blanks separate, `"..."` takes the escapes
/// `\n \r \t \b \a \xHH`, `'...'` takes only `\'`, and a closing quote must end the word.
///
/// `None` when a quote stays open or text follows a closing one. O(length of the line).
pub fn split_arguments(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.iter().position(|&byte| !is_blank(byte)).unwrap_or(rest.len());
        rest = &rest[start..];
        if rest.is_empty() {
            return Some(words);
        }
        let (word, used) = take_word(rest)?;
        words.push(word);
        rest = &rest[used..];
    }
}

/// Reads one word at the start of `text`; returns it with the number of bytes used.
fn take_word(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut word = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' => return take_double_quoted(text, at + 1, word),
            b'\'' => return take_single_quoted(text, at + 1, word),
            _ => word.push(byte),
        }
        at += 1;
    }
    Some((word, at))
}

fn take_double_quoted(text: &[u8], mut at: usize, mut word: Vec<u8>) -> Option<(Vec<u8>, usize)> {
    loop {
        match *text.get(at)? {
            b'"' => return end_of_quotes(text, at, word),
            b'\\' => {
                let (byte, used) = unescape(&text[at..])?;
                word.push(byte);
                at += used;
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

/// Reads the escape that `text` begins with; `None` when the backslash is the last byte.
fn unescape(text: &[u8]) -> Option<(u8, usize)> {
    if let [_, b'x', high, low, ..] = *text
        && let (Some(high), Some(low)) = (hex_digit(high), hex_digit(low))
    {
        return Some((high * 16 + low, 4));
    }
    let byte = match *text.get(1)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    };
    Some((byte, 2))
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn take_single_quoted(text: &[u8], mut at: usize, mut word: Vec<u8>) -> Option<(Vec<u8>, usize)> {
    loop {
        match *text.get(at)? {
            b'\'' => return end_of_quotes(text, at, word),
            b'\\' if text.get(at + 1) == Some(&b'\'') => {
                word.push(b'\'');
                at += 2;
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

/// The closing quote at `at` must be followed by a blank or by nothing.
fn end_of_quotes(text: &[u8], at: usize, word: Vec<u8>) -> Option<(Vec<u8>, usize)> {
    match text.get(at + 1) {
        Some(&byte) if !is_blank(byte) => None,
        _ => Some((word, at + 1)),
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

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

/// Parses a number of bytes with its unit, whatever its case: none or `b`; `k`, `m`, `g` count in
/// 1000s; `kb`, `mb`, `gb` in 1024s. No digits are 0, as in Redis (`--maxmemory ""`). `None` also
/// when the product is above 64 bits, where Redis takes another number than the one written.
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let multiplier: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number = match digits {
        b"" => 0,
        _ => std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?,
    };
    number.checked_mul(multiplier)
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

    fn words(line: &str) -> Option<Vec<String>> {
        let split = split_arguments(line.as_bytes())?;
        Some(split.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect())
    }

    #[test]
    fn words_of_a_line() {
        let expect = |line: &str, wanted: &[&str]| {
            assert_eq!(words(line).as_deref(), Some(wanted.map_to_strings().as_slice()), "{line}");
        };
        expect("", &[]);
        expect("  save  900\t1 ", &["save", "900", "1"]);
        expect(r#"a "b c" 'd e' """#, &["a", "b c", "d e", ""]);
        expect(r#""\x41\n\"\q" '\'\n'"#, &["A\n\"q", "'\\n"]);
        expect(r#"a"b""#, &["ab"]);
        expect(r#""\xZZ""#, &["xZZ"]);
        for broken in ["\"", "'a", "\"a\"b", "'a'b", "\"a\\", "x \"abc"] {
            assert_eq!(words(broken), None, "{broken}");
        }
    }

    trait MapToStrings {
        fn map_to_strings(&self) -> Vec<String>;
    }

    impl MapToStrings for &[&str] {
        fn map_to_strings(&self) -> Vec<String> {
            self.iter().map(|word| word.to_string()).collect()
        }
    }

    #[test]
    fn units_of_memory() {
        let cases: [(&str, Option<u64>); 14] = [
            ("0", Some(0)),
            ("1024b", Some(1024)),
            ("1k", Some(1000)),
            ("1KB", Some(1024)),
            ("2m", Some(2_000_000)),
            ("2mb", Some(2 << 20)),
            ("3g", Some(3_000_000_000)),
            ("1Gb", Some(1 << 30)),
            ("", Some(0)),
            ("-1", None),
            ("1tb", None),
            ("mb", Some(0)),
            ("1 mb", None),
            ("18446744073709551615gb", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse_memory(text.as_bytes()), wanted, "{text}");
        }
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
