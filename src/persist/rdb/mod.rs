//! RDB: the snapshot format, written and read.
//!
//! ```text
//!  "REDIS0010"  AUX*  FUNCTION2*  [SELECTDB RESIZEDB]*  entry*  EOF  crc64 (8 bytes, little endian)
//!  entry:  [EXPIRETIME_MS] [IDLE | FREQ] type key value
//! ```
//! | file | what |
//! | --- | --- |
//! | `save` | a whole file: header, walk over the data, footer; durable replace |
//! | `writer` | blocks, checksum, lengths |
//! | `parse` | a pull parser: one event per opcode or key |
//! | `input` | where bytes come from: a file in blocks, or a slice |
//! | `load` | events into a keyspace, in steps |
//! | `batch` | loading's fast way: plain strings, many at a time |
//! | `scan` | what arrives in pieces: is it an RDB, up to where is it whole |
//! | `layout`, `skip` | what values are made of; reading over them |
//! | `check` | events into a report (check-rdb) |
//! | `string` | the string type; every type has a file of its own |
//! | `values` | the type numbers: which file saves, loads or skips which |
//! | `dump` | DUMP and RESTORE payloads |
//! | `error` | why a file was refused, and where |
//!
//! Format facts: rdb.h, rdb.c of Redis 7.2 and their predecessors' file versions 1 to 12.

mod batch;
pub mod check;
pub mod dump;
pub mod error;
mod hash;
pub mod input;
mod layout;
mod list;
pub mod load;
pub mod parse;
pub mod pipe;
pub mod save;
pub mod scan;
mod set;
pub mod skip;
mod stream;
pub mod string;
pub mod values;
pub mod writer;
mod zset;

pub use error::{RdbError, RdbErrorKind};
pub use load::{LoadOptions, LoadReport, Loader, Progress, load_file};
pub use save::{AccessRecord, FIELD_EXPIRY_VERSION_MIN, SaveOptions, save_file, save_to};

/// Newest version of files that begin with `REDIS` which is read.
pub const REDIS_VERSION_MAX: u32 = 12;
/// Version of Valkey's own files which is read (magic `VALKEY`).
pub const VALKEY_VERSION: u32 = 80;
/// First version with a checksum at the end.
pub const CHECKSUM_VERSION_MIN: u32 = 5;

/// Bytes that are no value type: what follows is not a key.
pub mod opcode {
    /// Slot information of cluster mode: three lengths.
    pub const SLOT_INFO: u8 = 244;
    /// A function library: its code as a string.
    pub const FUNCTION2: u8 = 245;
    /// The same as Redis 7.0's release candidates wrote it.
    pub const FUNCTION_PRE_GA: u8 = 246;
    /// A module's own data.
    pub const MODULE_AUX: u8 = 247;
    /// Seconds since the last access, for the next key.
    pub const IDLE: u8 = 248;
    /// LFU counter of the next key.
    pub const FREQ: u8 = 249;
    /// Name and value about the file.
    pub const AUX: u8 = 250;
    /// Keys, and keys with an expiry, of the selected database.
    pub const RESIZEDB: u8 = 251;
    /// Expiry of the next key, Unix ms, 8 bytes little endian.
    pub const EXPIRETIME_MS: u8 = 252;
    /// Expiry of the next key, Unix seconds, 4 bytes little endian.
    pub const EXPIRETIME: u8 = 253;
    pub const SELECTDB: u8 = 254;
    pub const EOF: u8 = 255;
}

#[cfg(test)]
mod tests;
