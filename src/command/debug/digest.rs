//! DEBUG DIGEST: a checksum of the data set that does not depend on the order of keys
//! (`value::digest`).

use crate::resp::Args;
use crate::server::Ctx;
use crate::server::error::CommandResult;
use crate::value::digest::DataDigest;

/// O(keys): the whole data set.
pub(super) fn of_everything(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let keyspace = &ctx.server.keyspace;
    let mut total = DataDigest::default();
    for index in 0..keyspace.databases() {
        let db = keyspace.db(index);
        if db.is_empty() {
            continue;
        }
        total.mix_number(index as u32);
        for view in db.iter() {
            total.add_key(view.key(), &view.value(), view.expiry_ms().is_some());
        }
    }
    ctx.out.simple(&total.hex());
    Ok(())
}

/// Keys that have expired but are still there count.
pub(super) fn of_keys(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let keys = args.tail(2);
    ctx.out.array(keys.len());
    for key in keys.iter() {
        let hash = ctx.server.hash(key);
        let mut digest = DataDigest::default();
        if let Some(view) = ctx.server.keyspace.db(ctx.db).find(hash, key) {
            digest.add_value(&view.value(), view.expiry_ms().is_some());
        }
        ctx.out.simple(&digest.hex());
    }
    Ok(())
}
