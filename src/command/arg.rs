//! Reading single arguments, with the errors Redis answers for bad ones.

use crate::base::numbers;
use crate::server::Server;
use crate::server::error::{self, ReplyError};

/// A signed 64-bit integer.
#[inline]
pub fn integer(text: &[u8]) -> Result<i64, ReplyError> {
    numbers::parse_i64(text).ok_or(error::NOT_INTEGER)
}

/// A signed 64-bit integer, or this error.
pub fn integer_or(text: &[u8], failure: ReplyError) -> Result<i64, ReplyError> {
    numbers::parse_i64(text).ok_or(failure)
}

/// An integer between bounds, both included.
pub fn integer_in(text: &[u8], min: i64, max: i64) -> Result<i64, ReplyError> {
    let value = integer(text)?;
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(ReplyError::err(format!("value is out of range, value must between {min} and {max}")))
}

/// An integer from 0 up.
pub fn positive(text: &[u8]) -> Result<i64, ReplyError> {
    integer(text).ok().filter(|value| *value >= 0).ok_or(error::MUST_BE_POSITIVE)
}

/// The index of a database (`MOVE`, `COPY`).
pub fn database(server: &Server, text: &[u8]) -> Result<usize, ReplyError> {
    let index = integer_in(text, i32::MIN as i64, i32::MAX as i64)?;
    match usize::try_from(index) {
        Ok(index) if index < server.keyspace.databases() => Ok(index),
        _ => Err(error::DB_OUT_OF_RANGE),
    }
}

/// Whether an argument is this word, in any case. `word` is lower case.
#[inline]
pub fn is(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{integer, integer_in, is, positive};
    use crate::server::error;

    #[test]
    fn numbers_and_their_errors() {
        assert_eq!(integer(b"-5"), Ok(-5));
        assert_eq!(integer(b"5 "), Err(error::NOT_INTEGER));
        assert_eq!(positive(b"-1"), Err(error::MUST_BE_POSITIVE));
        assert_eq!(integer_in(b"3", 0, 3), Ok(3));
        let failure = integer_in(b"4", 0, 3).expect_err("4 is above the bound");
        assert_eq!(failure.text(), "ERR value is out of range, value must between 0 and 3");
        assert!(is(b"kEEPttl", "keepttl") && !is(b"keep", "keepttl"));
    }
}
