//! Floor 1: what needs nothing of ours. Clock, numbers, glob, checksums, compression, byte helpers.
//!
//! | file | holds |
//! | --- | --- |
//! | `bytes` | readers that cannot run past the end, ASCII case, the printable form of binary text |
//! | `numbers` | text to integers, doubles, yes/no, memory sizes; integers to text |

pub mod bytes;
pub mod numbers;
