//! A snapshot on its way from a child to replicas without a file between.
//!
//! ```text
//!  child ─pipe─► chunk ─► socket of replica 1   (each has got the first so many bytes of it)
//!                     └─► socket of replica 2
//! ```
//! The next chunk is read when everybody has the last one: the slowest replica sets the pace, and one
//! that takes nothing for `repl-timeout` is dropped. `net` reads and writes; here is what both need.

use crate::server::ClientRef;
use std::os::fd::OwnedFd;

/// Bytes read at once from the pipe: as much as it holds.
pub const CHUNK_BYTES: usize = 1 << 20;

/// A transfer that is under way.
#[derive(Debug)]
pub struct Relay {
    /// Our end of the child's pipe, non-blocking.
    pub pipe: OwnedFd,
    pub members: Vec<ClientRef>,
    pub chunk: Vec<u8>,
    /// Bytes of the chunk that are valid.
    pub filled: usize,
    /// The child has closed its end and everything was read.
    pub at_end: bool,
    /// The child has ended; whether well.
    pub child_succeeded: Option<bool>,
    /// `net` watches the pipe.
    pub watched: bool,
}

impl Relay {
    pub fn new(pipe: OwnedFd, members: Vec<ClientRef>) -> Self {
        Relay {
            pipe,
            members,
            chunk: vec![0; CHUNK_BYTES],
            filled: 0,
            at_end: false,
            child_succeeded: None,
            watched: false,
        }
    }
}
