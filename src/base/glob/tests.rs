//! Glob patterns: a table of odd cases, and a recursive model.

use super::{Case, MAX_STAR_GROUPS, is_literal, matches};
use proptest::prelude::{any, prop_assert_eq, proptest};

#[test]
fn plain_patterns() {
    let cases: [(&str, &str, bool); 30] = [
        ("", "", true),
        ("a", "", false),
        ("", "a", false),
        ("hello", "hello", true),
        ("h?llo", "hallo", true),
        ("h?llo", "hllo", false),
        ("h*llo", "hllo", true),
        ("h*llo", "heeeello", true),
        ("h[ae]llo", "hallo", true),
        ("h[ae]llo", "hillo", false),
        ("h[^e]llo", "hallo", true),
        ("h[^e]llo", "hello", false),
        ("h[a-b]llo", "hbllo", true),
        ("h[a-b]llo", "hcllo", false),
        ("*", "anything", true),
        ("**", "x", true),
        ("a*", "a", true),
        ("a**", "a", true),
        ("*a*b*c", "xxaxxbxxc", true),
        ("*a*b*c", "xxaxxbxxcx", false),
        ("a*b", "acb", true),
        ("a*b?", "aab", false),
        ("a*b?", "aabbc", true),
        ("\\*", "*", true),
        ("\\*", "a", false),
        ("a\\?c", "a?c", true),
        ("a\\?c", "abc", false),
        ("[\\]]", "]", true),
        ("[a\\-z]", "-", true),
        ("[a\\-z]", "m", false),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(
            matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive),
            expected,
            "{pattern} {text}"
        );
    }
}

#[test]
fn odd_patterns() {
    let cases: [(&[u8], &[u8], bool); 22] = [
        // A star alone does not match an empty text.
        (b"*", b"", false),
        (b"**", b"", false),
        // A class left open ends with the pattern.
        (b"[abc", b"b", true),
        (b"[abc", b"d", false),
        (b"[", b"[", false),
        (b"[^", b"x", true),
        (b"x[a-", b"xa", true),
        (b"x[a-", b"x-", true),
        (b"[a-]", b"-", false),
        // In "[a-]" the bracket is the bound of a range: ']' (93) to 'a' (97).
        (b"[a-]", b"^", true),
        (b"[a-]]", b"^]", false),
        (b"[]a]", b"a", false),
        (b"[^]", b"x", true),
        (b"[]", b"x", false),
        // Backwards range; bytes above 127 are negative.
        (b"[z-a]", b"m", true),
        (b"[a-\xff]", b"\xff", true),
        (b"[a-\xff]", b"b", false),
        (b"[\x80-\xff]", b"\xc3", true),
        // A last backslash stands for itself.
        (b"a\\", b"a\\", true),
        (b"\\", b"a", false),
        (b"[\\", b"\\", true),
        (b"a\0b", b"a\0b", true),
    ];
    for (pattern, text, expected) in cases {
        let name = (String::from_utf8_lossy(pattern), String::from_utf8_lossy(text));
        assert_eq!(matches(pattern, text, Case::Sensitive), expected, "{name:?}");
    }
}

#[test]
fn case_folding() {
    assert!(matches(b"HeLL*", b"hello", Case::Ignored));
    assert!(!matches(b"HeLL*", b"hello", Case::Sensitive));
    assert!(matches(b"[A-C]x", b"bX", Case::Ignored));
    assert!(matches(b"\\A", b"a", Case::Ignored));
    // A quoted byte in a class is compared exactly.
    assert!(!matches(b"[\\A]", b"a", Case::Ignored));
    // High bytes are below the letters when case counts and above them when not; 255 stays below.
    assert!(matches(b"[\x80-b]", b"A", Case::Sensitive));
    assert!(!matches(b"[\x80-b]", b"A", Case::Ignored));
    assert!(matches(b"[\xff-b]", b"A", Case::Ignored));
    // 'Z'..'a' holds nothing after folding to 'z'..'a'.
    assert!(!matches(b"[Z-a]", b"z", Case::Ignored));
}

#[test]
fn many_stars_are_fast_and_limited() {
    let text = "a".repeat(30_000);
    let pattern = "a*".repeat(500) + "b";
    assert!(!matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive));
    let allowed = "*a".repeat(MAX_STAR_GROUPS - 1);
    assert!(matches(allowed.as_bytes(), text.as_bytes(), Case::Sensitive));
    assert!(matches((allowed.clone() + "*").as_bytes(), text.as_bytes(), Case::Sensitive));
    let refused = "*a".repeat(MAX_STAR_GROUPS);
    assert!(!matches(refused.as_bytes(), text.as_bytes(), Case::Sensitive));
}

#[test]
fn literals() {
    assert!(is_literal(b"user:1]^-"));
    for pattern in ["a*", "?", "[a", "a\\b"] {
        assert!(!is_literal(pattern.as_bytes()));
    }
}

/// Full backtracking over patterns of letters, `?` and `*`.
fn model(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| model(rest, &text[skip..])),
        ([b'?', rest @ ..], [_, after @ ..]) => model(rest, after),
        ([letter, rest @ ..], [byte, after @ ..]) => letter == byte && model(rest, after),
        _ => false,
    }
}

proptest! {
    #[test]
    fn equals_full_backtracking(pattern in "[ab?*]{0,9}", text in "[ab]{1,12}") {
        let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
        prop_assert_eq!(matches(pattern, text, Case::Sensitive), model(pattern, text));
    }

    #[test]
    fn a_quoted_text_matches_itself_only(text in any::<Vec<u8>>(), other in any::<Vec<u8>>()) {
        let pattern: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
        prop_assert_eq!(matches(&pattern, &text, Case::Sensitive), true);
        prop_assert_eq!(matches(&pattern, &other, Case::Sensitive), text == other);
    }

    #[test]
    fn arbitrary_bytes_never_panic(pattern in any::<Vec<u8>>(), text in any::<Vec<u8>>()) {
        let sensitive = matches(&pattern, &text, Case::Sensitive);
        if is_literal(&pattern) {
            prop_assert_eq!(sensitive, pattern == text);
        }
        matches(&pattern, &text, Case::Ignored);
    }

    #[test]
    fn odd_syntax_never_panics(pattern in r"[\[\]\\^*?a\-]{0,12}", text in r"[\[\]\\^a\-]{0,8}") {
        matches(pattern.as_bytes(), text.as_bytes(), Case::Ignored);
    }
}
