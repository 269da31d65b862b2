//! Keys of any type: existence, expiry, names, walks, whole databases.
//!
//! | file | commands |
//! | --- | --- |
//! | `basic` | DEL UNLINK EXISTS TOUCH TYPE RANDOMKEY DBSIZE |
//! | `expire` | EXPIRE PEXPIRE EXPIREAT PEXPIREAT TTL PTTL EXPIRETIME PEXPIRETIME PERSIST |
//! | `transfer` | RENAME RENAMENX COPY MOVE |
//! | `scan` | KEYS SCAN; cursors and options for the other SCANs |
//! | `object` | OBJECT |
//! | `flush` | FLUSHDB FLUSHALL SWAPDB |
//!
//! Nothing here names a type: values are moved as entries and copied as values.

pub mod basic;
pub mod expire;
pub mod flush;
pub mod object;
pub mod scan;
pub mod transfer;
