//! ACL CAT, DRYRUN, GENPASS.

use crate::base::rng;
use crate::command::arg;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::category;
use crate::server::{Ctx, Found, Server};

/// Most bits of a generated password (as Redis).
const PASSWORD_BITS_MAX: i64 = 4096;
/// Bits when none are asked for.
const PASSWORD_BITS: i64 = 256;
/// Bytes of an unknown category that the error shows (as Redis).
const SHOWN_BYTES_MAX: usize = 128;

pub(super) fn categories(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let names: Vec<String> = match args.get(2) {
        _ if args.len() > 3 => return Err(error::wrong_subcommand_syntax(args.at(1), "acl")),
        None => category::NAMES.iter().map(|(_, name)| name.to_string()).collect(),
        Some(name) => {
            let wanted = category::by_name(name).ok_or_else(|| {
                let shown = &name[..name.len().min(SHOWN_BYTES_MAX)];
                ReplyError::err([b"Unknown category '", shown, b"'"].concat())
            })?;
            let all = ctx.server.commands.all().iter();
            all.filter(|found| found.spec.all_categories() & wanted != 0).map(Found::full_name).collect()
        }
    };
    ctx.out.array(names.len());
    names.iter().for_each(|name| ctx.out.bulk_str(name));
    Ok(())
}

pub(super) fn dry_run(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (name, request) = (args.at(2), args.tail(3));
    let Some(user) = ctx.server.acl.by_name(name) else {
        return Err(ReplyError::err([b"User '", name, b"' not found"].concat()));
    };
    let found = find_command(ctx.server, request)
        .ok_or_else(|| ReplyError::err([b"Command '", request.at(0), b"' not found"].concat()))?;
    if !found.spec.arity_fits(request.len()) {
        return Err(error::wrong_arity(&found.full_name()));
    }
    match user.check(found, request) {
        Ok(()) => ctx.out.ok(),
        Err(denial) => {
            let text = user.refusal(denial, found, request, true);
            ctx.out.bulk(&text);
        }
    }
    Ok(())
}

/// The command, its subcommand when a second word is given.
fn find_command(server: &Server, request: Args<'_>) -> Option<Found> {
    let found = server.commands.find(request.at(0))?;
    match request.get(1) {
        Some(word) if !found.spec.subcommands.is_empty() => server.commands.find_subcommand(found, word),
        _ => Some(found),
    }
}

pub(super) fn generate_password(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 3 {
        return Err(error::wrong_subcommand_syntax(args.at(1), "acl"));
    }
    let bits = args.get(2).map_or(Ok(PASSWORD_BITS), arg::integer)?;
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(ReplyError::err(format!(
            "ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {PASSWORD_BITS_MAX}"
        )));
    }
    let digits = (bits as usize).div_ceil(4);
    let password = rng::hex_id_from_os(digits)
        .map_err(|failure| ReplyError::err(format!("no password can be made: {failure}")))?;
    ctx.out.bulk_str(&password);
    Ok(())
}
