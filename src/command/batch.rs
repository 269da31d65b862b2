//! Commands of many keys (MGET, MSET, DEL, EXISTS, TOUCH): hash ahead, load ahead, then work.
//!
//! ```text
//!  up to 32 keys:  hash all ─► prefetch their buckets ─► prefetch their entries ─► visit each
//! ```
//! The cache misses of a batch overlap instead of following each other: two rounds of misses for
//! 32 keys, not 64. No allocation; the hash of each key is computed once.

use crate::resp::Args;
use crate::server::{Ctx, KeyHint, Server};

/// Keys looked ahead at a time: enough to keep the processor's 10 to 16 line-fill buffers busy,
/// few enough that what was loaded is still in the first-level cache when its turn comes.
const BATCH_KEYS: usize = 32;
/// Fewer keys than this are not worth looking ahead.
const LOOK_AHEAD_MIN: usize = 4;

/// A reply of repeated random draws that reaches this is not finished, and its client closed: a
/// count is only a number, and without a bound one request could ask for all memory.
const DRAWN_BYTES_MAX: usize = 1 << 30;

/// Where a reply of repeated draws ends, bytes of the client's whole output: what
/// `client-output-buffer-limit` lets no client have, or [`DRAWN_BYTES_MAX`].
pub fn drawn_bytes_max(ctx: &Ctx<'_>) -> usize {
    ctx.server.reply_bytes_max(ctx.client).min(DRAWN_BYTES_MAX)
}

/// Closes the client whose reply of repeated draws was given up, where no limit of its own does so.
pub fn close_if_too_long(ctx: &mut Ctx<'_>) {
    if ctx.out.len() >= DRAWN_BYTES_MAX {
        ctx.server.close_soon(ctx.client);
    }
}

/// Calls `visit` for every `step`-th argument of `keys`, in order, with the argument's index.
pub fn each_key<'a>(
    server: &mut Server,
    db: usize,
    keys: Args<'a>,
    step: usize,
    mut visit: impl FnMut(&mut Server, usize, &'a [u8]),
) {
    let count = keys.len().div_ceil(step);
    let mut first = 0;
    while first < count {
        let len = (count - first).min(BATCH_KEYS);
        let indexes = (first..first + len).map(|number| number * step);
        if len < LOOK_AHEAD_MIN {
            for index in indexes {
                visit(server, index, keys.at(index));
            }
        } else {
            let hashes = look_ahead(server, db, indexes.clone().map(|index| keys.at(index)));
            for (index, hash) in indexes.zip(hashes) {
                let key = keys.at(index);
                server.call.hint = KeyHint::new(key, hash);
                visit(server, index, key);
            }
            // A hint must not outlive the arguments: other text may come to stand at its address.
            server.call.hint = KeyHint::default();
        }
        first += len;
    }
}

/// Hashes up to [`BATCH_KEYS`] keys and starts loading what their look-ups read.
fn look_ahead<'a>(server: &Server, db: usize, keys: impl Iterator<Item = &'a [u8]>) -> [u64; BATCH_KEYS] {
    let mut hashes = [0; BATCH_KEYS];
    let db = server.keyspace.db(db);
    let mut count = 0;
    for key in keys {
        hashes[count] = server.hash(key);
        db.prefetch_bucket(hashes[count]);
        count += 1;
    }
    for hash in &hashes[..count] {
        db.prefetch_entry(*hash);
    }
    hashes
}
