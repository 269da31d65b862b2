//! COMMAND GETKEYS and GETKEYSANDFLAGS.

use super::write_names;
use crate::dispatch;
use crate::resp::Args;
use crate::server::Ctx;
use crate::server::error::{CommandResult, ReplyError};
use crate::server::key_extraction::{KeyAt, has_keys, keys_of};
use crate::server::spec::{FindKeys, key_flag};

pub(super) fn get_keys(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let keys = keys_of_request(ctx, args.tail(2))?;
    ctx.out.array(keys.len());
    for key in keys {
        ctx.out.bulk(args.at(key.index + 2));
    }
    Ok(())
}

pub(super) fn get_keys_and_flags(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let keys = keys_of_request(ctx, args.tail(2))?;
    ctx.out.array(keys.len());
    for key in keys {
        ctx.out.array(2);
        ctx.out.bulk(args.at(key.index + 2));
        write_names(ctx.out, key.flags, key_flag::NAMES, "");
    }
    Ok(())
}

fn keys_of_request(ctx: &Ctx<'_>, request: Args<'_>) -> Result<Vec<KeyAt>, ReplyError> {
    let found = dispatch::resolve(ctx.server, request);
    let spec = found.ok_or_else(|| ReplyError::err("Invalid command specified"))?.spec;
    if !has_keys(spec) {
        return Err(ReplyError::err("The command has no key arguments"));
    }
    if !spec.arity_fits(request.len()) {
        return Err(ReplyError::err("Invalid number of arguments specified for command"));
    }
    let counted = |find: &FindKeys| matches!(find, FindKeys::Count { .. });
    match keys_of(spec, request) {
        Ok(keys) if !keys.is_empty() => Ok(keys),
        // A count of zero keys is allowed where the count is all there is (EVAL).
        _ if spec.keys.len() == 1 && counted(&spec.keys[0].find) => Ok(Vec::new()),
        _ => Err(ReplyError::err("Invalid arguments specified for command")),
    }
}
