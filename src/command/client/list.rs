//! CLIENT ID, INFO, LIST.

use super::ClientType;
use crate::base::numbers::parse_i64;
use crate::resp::Args;
use crate::server::client::{ClientKind, ClientRef};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::{Ctx, Server};

pub(super) fn id(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.out.integer(ctx.client.id as i64);
    Ok(())
}

pub(super) fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut text = Vec::new();
    ctx.server.describe_client(ctx.client, Some(args), &mut text);
    text.push(b'\n');
    ctx.out.verbatim("txt", &text);
    Ok(())
}

pub(super) fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let option = args.get(2).unwrap_or_default();
    let wanted = if args.len() == 4 && option.eq_ignore_ascii_case(b"type") {
        of_type(ctx.server, Some(ClientType::parse(args.at(3))?))
    } else if args.len() > 3 && option.eq_ignore_ascii_case(b"id") {
        with_ids(ctx.server, args.tail(3))?
    } else if args.len() == 2 {
        of_type(ctx.server, None)
    } else {
        return Err(error::SYNTAX);
    };
    let mut text = Vec::new();
    for client in wanted {
        let running = (client == ctx.client).then_some(args);
        ctx.server.describe_client(client, running, &mut text);
        text.push(b'\n');
    }
    ctx.out.verbatim("txt", &text);
    Ok(())
}

fn of_type(server: &Server, kind: Option<ClientType>) -> Vec<ClientRef> {
    let fits = |reference: &ClientRef| {
        let client = server.clients.get(*reference).filter(|client| client.kind != ClientKind::Fake);
        client.is_some_and(|client| kind.is_none_or(|kind| ClientType::of(client) == kind))
    };
    server.clients.references().into_iter().filter(fits).collect()
}

fn with_ids(server: &Server, ids: Args<'_>) -> Result<Vec<ClientRef>, ReplyError> {
    let mut wanted = Vec::new();
    for id in ids.iter() {
        let id = parse_i64(id).ok_or_else(|| ReplyError::err("Invalid client ID"))?;
        wanted.extend(u64::try_from(id).ok().and_then(|id| server.clients.by_id(id)));
    }
    Ok(wanted)
}
