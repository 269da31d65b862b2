//! Floor 1: what needs nothing of ours. Clock, numbers, glob, checksums, compression, byte helpers.
//!
//! | file | holds |
//! | --- | --- |
//! | `bytes` | readers that cannot run past the end, ASCII case, the printable form of binary text |
//! | `crc64` | the checksum of RDB files and DUMP payloads |
//! | `float` | doubles to text: replies (7.2), `%.17g`, fixed point |
//! | `glob` | patterns of KEYS, SCAN, PSUBSCRIBE, ACL, CONFIG GET |
//! | `long_double` | 80-bit numbers of INCRBYFLOAT and HINCRBYFLOAT |
//! | `lzf` | compression of strings in RDB files |
//! | `numbers` | text to integers, doubles, yes/no, memory sizes; integers to text |

pub mod bytes;
pub mod crc64;
pub mod float;
pub mod glob;
pub mod long_double;
pub mod lzf;
pub mod numbers;
