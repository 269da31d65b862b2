//! Floor 2: the protocol. Bytes in, requests out; values in, reply bytes out. No I/O.
//!
//! * [`request`] parses inline and multibulk requests in place, resumably.
//! * [`args`] is the one argument type: slices of a query buffer or of an owned copy;
//!   [`args_queue`] keeps whole requests.
//! * [`reply`] writes RESP2 and RESP3; [`bulks`] many strings in a row, faster.

pub mod args;
pub mod args_queue;
pub mod bulks;
pub mod reply;
pub mod request;

pub use args::{Args, OwnedArgs, Span};
pub use args_queue::ArgsQueue;
pub use bulks::BulkWriter;
pub use reply::{Protocol, Reply};
