//! Floor 1: what needs nothing of ours. Clock, numbers, glob, checksums, compression, byte helpers.
//!
//! | file | holds |
//! | --- | --- |
//! | `bytes` | readers that cannot run past the end, ASCII case, the printable form of binary text |
//! | `calendar` | days to dates, the time in names of backups |
//! | `clock` | cached wall time, monotonic time, cheap ticks; a manual twin for tests |
//! | `crc64` | the checksum of RDB files and DUMP payloads |
//! | `float` | doubles to text: replies (7.2), `%.17g`, fixed point |
//! | `glob` | patterns of KEYS, SCAN, PSUBSCRIBE, ACL, CONFIG GET |
//! | `hash` | the keyed hash of keys and members |
//! | `long_double` | 80-bit numbers of INCRBYFLOAT and HINCRBYFLOAT |
//! | `lzf` | compression of strings in RDB files |
//! | `numbers` | text to integers, doubles, yes/no, memory sizes; integers to text |
//! | `rng` | sampling, and random bytes of the system |
//! | `timestamp` | Unix seconds or RFC 3339 dates, read and shown |
//! | `tsc` | the processor's time stamp counter (the only unsafe code here beside `crc64`) |
//! | `words` | lines of words with quotes |

pub mod bytes;
pub mod calendar;
pub mod clock;
pub mod crc64;
pub mod float;
pub mod glob;
pub mod hash;
pub mod long_double;
pub mod lzf;
pub mod numbers;
pub mod rng;
pub mod sampled;
pub mod timestamp;
mod tsc;
pub mod words;
