//! The one error of every decoder of this floor: the bytes are not what they claim to be.
//!
//! Owns only the reason, a sentence fit for the log; the loader adds where the bytes came from.

use std::fmt;

/// A serialised structure failed its validation; holds the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt(pub &'static str);

impl fmt::Display for Corrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for Corrupt {}
