//! What is known of a request before it runs: its command and the hash of its first key.
//!
//! ```text
//!  up to 32 requests of a stream:  find and hash ─► prefetch buckets ─► prefetch entries ─► run each
//! ```
//! Logs and the primary's stream are read so; connections have their own loop, which knows pipelines.

use crate::resp::Args;
use crate::server::spec::Found;
use crate::server::{KeyHint, Server};

/// See the module.
#[derive(Clone, Copy, Default)]
pub struct Ahead {
    /// The command or subcommand; `None`: unknown.
    pub found: Option<Found>,
    /// Empty when the first key is not at a fixed place.
    pub hint: KeyHint,
}

/// Finds what is to be known of each request and starts loading what they will touch in `db`. A hint
/// holds for the very bytes that were given.
pub fn look_ahead<'a>(
    server: &Server,
    db: usize,
    requests: impl Iterator<Item = Args<'a>>,
    ahead: &mut Vec<Ahead>,
) {
    let db = server.keyspace.db(db);
    ahead.clear();
    ahead.extend(requests.map(|args| {
        let found = super::resolve(server, args);
        let key = found.and_then(|found| found.first_key(args));
        let hint = key.map(|key| {
            let hash = server.keyspace.hash(key);
            db.prefetch_bucket(hash);
            KeyHint::new(key, hash)
        });
        Ahead { found, hint: hint.unwrap_or_default() }
    }));
    for known in ahead.iter().filter(|known| known.hint.len > 0) {
        db.prefetch_entry(known.hint.hash);
    }
}
