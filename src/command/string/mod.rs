//! Strings: GET, SET and their kin, counters, ranges, bits.
//!
//! | file | commands |
//! | --- | --- |
//! | `read` | GET MGET STRLEN GETRANGE SUBSTR |
//! | `set` | SET SETNX SETEX PSETEX GETSET GETEX GETDEL MSET MSETNX |
//! | `options` | the options of SET and GETEX, and expiry times |
//! | `number` | INCR DECR INCRBY DECRBY INCRBYFLOAT |
//! | `edit` | APPEND SETRANGE; growing a string in place |
//! | `bits` | SETBIT GETBIT BITCOUNT BITPOS BITOP |
//! | `bitfield` | BITFIELD BITFIELD_RO |
//! | `lcs` | LCS |

pub mod bitfield;
pub mod bits;
pub mod edit;
pub mod lcs;
pub mod number;
pub mod options;
pub mod read;
pub mod set;
