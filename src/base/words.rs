//! Lines of words with quotes, as configuration files, inline requests and manifests write them.
//!
//! The rules are those of Redis's `sdssplitargs`: blanks separate, `"..."` takes the escapes
//! `\n \r \t \b \a \xHH`, `'...'` takes only `\'`, a closing quote must end the word, and a zero byte
//! ends the line.

/// Cuts a line into its words.
///
/// `None` when a quote stays open or text follows a closing one. O(length of the line).
pub fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let end = line.iter().position(|&byte| byte == 0).unwrap_or(line.len());
    let (mut words, mut rest) = (Vec::new(), &line[..end]);
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

/// What stands between words. Within a bare word a vertical tab and a form feed are text.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::split;
    use proptest::prelude::{any, proptest};

    #[test]
    fn words_of_a_line() {
        let cases: [(&[u8], &[&[u8]]); 9] = [
            (b"", &[]),
            (b"   ", &[]),
            (b"  save  900\t1 ", &[b"save", b"900", b"1"]),
            (br#"a "b c" 'd e' """#, &[b"a", b"b c", b"d e", b""]),
            (br#""\x41\n\"\q" '\'\n'"#, &[b"A\n\"q", b"'\\n"]),
            (br#"a"b""#, &[b"ab"]),
            (br#""\xZZ""#, &[b"xZZ"]),
            (b"a\x0bb \x0cc", &[b"a\x0bb", b"c"]),
            (b"SET key\0 value", &[b"SET", b"key"]),
        ];
        for (line, wanted) in cases {
            let wanted: Vec<Vec<u8>> = wanted.iter().map(|word| word.to_vec()).collect();
            assert_eq!(split(line), Some(wanted), "{}", line.escape_ascii());
        }
        for broken in ["\"", "'a", "\"a\"b", "'a'b", "\"a\\", "x \"abc", "\"a\0\""] {
            assert_eq!(split(broken.as_bytes()), None, "{}", broken.escape_debug());
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in any::<Vec<u8>>()) {
            let _ = split(&line);
        }
    }
}
