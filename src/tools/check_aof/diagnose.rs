//! What Redis's own tool says about bytes that are no command.
//!
//! Its reader takes a line of at most 127 bytes, then the bytes that the line announces, and names
//! the place where the read that failed had begun. Facts: `redis-check-aof.c` of Redis 7.2.

/// Longest line that it takes.
const LINE_MAX_BYTES: usize = 127;

/// The first thing that it finds wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// The first byte begins no command.
    Format,
    /// It stops without a word: the file ends where a line should begin.
    Silent { lines: u64 },
    /// A message, where it points to (relative to the command), and the lines read before.
    Found { at: usize, lines: u64, message: String },
    /// It would find nothing wrong.
    Nothing,
}

/// Reads the command at the head of `bytes`, behind which the file ends.
pub fn diagnose(bytes: &[u8]) -> Diagnosis {
    if bytes.first() != Some(&b'*') {
        return Diagnosis::Format;
    }
    let mut reader = Reader { bytes, position: 0, at: 0, lines: 0 };
    match reader.command() {
        Ok(()) => Diagnosis::Nothing,
        Err(None) => Diagnosis::Silent { lines: reader.lines },
        Err(Some(message)) => Diagnosis::Found { at: reader.at, lines: reader.lines, message },
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Where the last read began.
    at: usize,
    lines: u64,
}

/// `None`: the file ends, without a message.
type Failure = Option<String>;

impl Reader<'_> {
    fn command(&mut self) -> Result<(), Failure> {
        for _ in 0..self.number(b'*')? {
            let len = self.number(b'$')?;
            let whole = len.checked_add(2).and_then(|whole| usize::try_from(whole).ok());
            let Some(whole) = whole.filter(|_| len >= 0) else {
                return Err(Some(format!(
                    "Expected to read string of {len} bytes, which is not in the suitable range"
                )));
            };
            self.string(whole)?;
        }
        Ok(())
    }

    fn number(&mut self, prefix: u8) -> Result<i64, Failure> {
        self.at = self.position;
        let rest = &self.bytes[self.position..];
        let window = &rest[..rest.len().min(LINE_MAX_BYTES)];
        let line = &window[..memchr::memchr(b'\n', window).map_or(window.len(), |end| end + 1)];
        let first = *line.first().ok_or(None)?;
        self.position += line.len();
        if first != prefix {
            return Err(Some(format!(
                "Expected prefix '{}', got: '{}'",
                char::from(prefix),
                char::from(first)
            )));
        }
        let (value, digits) = leading_number(&line[1..]);
        self.line_end(&line[1 + digits..])?;
        Ok(value)
    }

    fn string(&mut self, len: usize) -> Result<(), Failure> {
        self.at = self.position;
        let rest = &self.bytes[self.position..];
        let Some(text) = rest.get(..len) else {
            return Err(Some(format!("Expected to read {len} bytes, got {} bytes", rest.len())));
        };
        self.position += len;
        self.line_end(&text[len - 2..])
    }

    fn line_end(&mut self, found: &[u8]) -> Result<(), Failure> {
        if found.starts_with(b"\r\n") {
            self.lines += 1;
            return Ok(());
        }
        let byte = |index: usize| found.get(index).copied().unwrap_or(0);
        Err(Some(format!("Expected \\r\\n, got: {}{}", signed_hex(byte(0)), signed_hex(byte(1)))))
    }
}

/// As C prints a signed character with `%02x`.
fn signed_hex(byte: u8) -> String {
    format!("{:02x}", i32::from(byte.cast_signed()).cast_unsigned())
}

/// As `strtol` reads: sign and digits; the value is clamped. Gives the characters used too.
fn leading_number(text: &[u8]) -> (i64, usize) {
    let signs = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let digits = text[signs..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return (0, 0);
    }
    let negative = text[0] == b'-';
    let value = text[signs..signs + digits]
        .iter()
        .try_fold(0i64, |value, digit| value.checked_mul(10)?.checked_add(i64::from(digit - b'0')));
    let value = value
        .map_or(if negative { i64::MIN } else { i64::MAX }, |value| if negative { -value } else { value });
    (value, signs + digits)
}

#[cfg(test)]
mod tests {
    use super::{Diagnosis, diagnose};

    fn found(at: usize, lines: u64, message: &str) -> Diagnosis {
        Diagnosis::Found { at, lines, message: message.to_owned() }
    }

    #[test]
    fn the_words_are_those_of_the_tool_of_redis() {
        assert_eq!(diagnose(b"x"), Diagnosis::Format);
        assert_eq!(diagnose(b"*1\r\n"), Diagnosis::Silent { lines: 1 });
        assert_eq!(diagnose(b"*1\r\n:1\r\n"), found(4, 1, "Expected prefix '$', got: ':'"));
        assert_eq!(diagnose(b"*1\r\n$4\r\nPI"), found(8, 2, "Expected to read 6 bytes, got 2 bytes"));
        assert_eq!(diagnose(b"*1\r\n$1\r\nPING\r\n"), found(8, 2, "Expected \\r\\n, got: 494e"));
        assert_eq!(diagnose(b"*1\r\n$1\r\nP\xff\xff"), found(8, 2, "Expected \\r\\n, got: ffffffffffffffff"));
        let huge = diagnose(b"*1\r\n$99999999999999999999\r\n");
        assert!(matches!(huge, Diagnosis::Found { at: 4, .. }), "{huge:?}");
        assert_eq!(diagnose(b"*1\r\n$4\r\nPING\r\n"), Diagnosis::Nothing);
    }
}
