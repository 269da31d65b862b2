//! Glob patterns with Redis's meaning, quirks included (`stringmatchlen` of 7.2).
//!
//! | in a pattern | matches |
//! | --- | --- |
//! | `*` | any bytes, also none |
//! | `?` | one byte |
//! | `[abc]`, `[a-z]`, `[^a-z]` | one byte in (not in) the class; `\` quotes a byte in it |
//! | `\x` | the byte `x` itself |
//!
//! The quirks, each with a test: a class may be left open at the end of the pattern; a range may be
//! backwards; bounds of a range compare as signed bytes; a quoted byte in a class is compared
//! exactly even when case is ignored; a `*` matches an empty text only when another part
//! of the pattern consumed the text before it.
//!
//! Matching goes back to the last `*` only. An earlier `*` need never be tried again: what follows it
//! up to the last one matched as early as possible. So the time is at most
//! O(pattern * text) and no stack is used, where plain recursion is exponential.

/// Groups of `*` a pattern may need; beyond that nothing matches. Redis refuses deeper recursion
/// (CVE-2024-31228); here it keeps the answers equal and bounds nothing else.
const MAX_STAR_GROUPS: usize = 1001;

/// Whether ASCII case counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    /// `a` and `A` differ.
    Sensitive,
    /// `a` and `A` are equal; bytes from 128 up equal only themselves.
    Ignored,
}

/// Whether all of `text` matches `pattern`. O(pattern * text) at worst, O(text) without `*`.
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let mut matcher = Matcher { pattern, text, case, at: 0, text_at: 0 };
    // Where to go on after a mismatch: behind the last star, and the text it does not cover yet.
    let mut retry: Option<(usize, usize)> = None;
    let mut stars = 0;
    loop {
        if matcher.at < pattern.len() && matcher.text_at < text.len() {
            if pattern[matcher.at] == b'*' {
                matcher.skip_stars();
                if matcher.at == pattern.len() {
                    return true;
                }
                stars += 1;
                if stars >= MAX_STAR_GROUPS {
                    return false;
                }
                retry = Some((matcher.at, matcher.text_at));
                continue;
            }
            if matcher.step() {
                if matcher.text_at == text.len() {
                    matcher.skip_stars();
                }
                continue;
            }
        } else if matcher.at == pattern.len() && matcher.text_at == text.len() {
            return true;
        }
        let Some((after_star, start)) = retry else {
            return false;
        };
        if start + 1 >= text.len() {
            return false;
        }
        retry = Some((after_star, start + 1));
        (matcher.at, matcher.text_at) = (after_star, start + 1);
    }
}

struct Matcher<'a> {
    pattern: &'a [u8],
    text: &'a [u8],
    case: Case,
    at: usize,
    text_at: usize,
}

impl Matcher<'_> {
    fn skip_stars(&mut self) {
        while self.pattern.get(self.at) == Some(&b'*') {
            self.at += 1;
        }
    }

    /// Matches one element that is not `*` against one byte and moves behind both; false on a mismatch.
    fn step(&mut self) -> bool {
        let byte = self.text[self.text_at];
        let matched = match self.pattern[self.at] {
            b'?' => true,
            b'[' => self.class(byte),
            b'\\' if self.at + 1 < self.pattern.len() => {
                self.at += 1;
                self.same(self.pattern[self.at], byte)
            }
            literal => self.same(literal, byte),
        };
        self.at += 1;
        self.text_at += 1;
        matched
    }

    #[inline]
    fn same(&self, left: u8, right: u8) -> bool {
        match self.case {
            Case::Sensitive => left == right,
            Case::Ignored => left.eq_ignore_ascii_case(&right),
        }
    }

    /// Matches a class that begins at `at`; leaves `at` on its last byte.
    fn class(&mut self, byte: u8) -> bool {
        let mut at = self.at + 1;
        let negated = self.pattern.get(at) == Some(&b'^');
        at += usize::from(negated);
        let mut found = false;
        loop {
            match &self.pattern[at..] {
                [] => {
                    at -= 1;
                    break;
                }
                [b']', ..] => break,
                [b'\\', quoted, ..] => {
                    found |= *quoted == byte;
                    at += 2;
                }
                [first, b'-', last, ..] => {
                    found |= self.in_range(*first, *last, byte);
                    at += 3;
                }
                [single, ..] => {
                    found |= self.same(*single, byte);
                    at += 1;
                }
            }
        }
        self.at = at;
        found != negated
    }

    /// Whether `byte` lies between the bounds, which may be in either order and compare as C's
    /// signed characters do. Case is folded after the bounds are put in order, as Redis does; the C
    /// library's `tolower` also makes negative characters positive, all but -1 (it reads that as EOF).
    fn in_range(&self, first: u8, last: u8, byte: u8) -> bool {
        let (low, high) = if first as i8 > last as i8 { (last, first) } else { (first, last) };
        let fold = |byte: u8| match (self.case, byte) {
            (Case::Sensitive, _) | (Case::Ignored, 0xff) => i16::from(byte as i8),
            (Case::Ignored, _) => i16::from(byte.to_ascii_lowercase()),
        };
        (fold(low)..=fold(high)).contains(&fold(byte))
    }
}

/// Whether `pattern` contains none of the bytes with a meaning, so that it matches only itself.
/// (With `Case::Ignored` it still matches other spellings.)
pub fn is_literal(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

#[cfg(test)]
mod tests;
