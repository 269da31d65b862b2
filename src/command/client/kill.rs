//! CLIENT KILL, in the old form (an address) and the new one (filters).

use super::ClientType;
use crate::base::numbers::parse_i64;
use crate::resp::Args;
use crate::server::acl::UserId;
use crate::server::client::{Client, ClientKind, ClientRef};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::{Ctx, Server};

/// All that is given must fit.
#[derive(Default)]
struct Filter<'a> {
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    kind: Option<ClientType>,
    user: Option<UserId>,
    id: Option<u64>,
    /// Connected for at least so many seconds (an addition of 7.4).
    min_age_s: Option<u64>,
    skip_caller: bool,
}

impl Filter<'_> {
    fn fits(&self, client: &Client, caller: ClientRef, now_ms: u64) -> bool {
        let age_s = now_ms.saturating_sub(client.created_ms) / 1000;
        client.kind != ClientKind::Fake
            && self.address.is_none_or(|address| client.address.as_bytes() == address)
            && self.local_address.is_none_or(|address| client.local_address.as_bytes() == address)
            && self.kind.is_none_or(|kind| ClientType::of(client) == kind)
            && self.user.is_none_or(|user| client.user == Some(user))
            && self.id.is_none_or(|id| client.reference.id == id)
            && self.min_age_s.is_none_or(|least_s| age_s >= least_s)
            && !(self.skip_caller && client.reference == caller)
    }
}

fn parse_filter<'a>(server: &Server, args: Args<'a>) -> Result<Filter<'a>, ReplyError> {
    let mut filter = Filter { skip_caller: true, ..Filter::default() };
    let mut index = 2;
    while index < args.len() {
        let Some(value) = args.get(index + 1) else { return Err(error::SYNTAX) };
        match args.at(index).to_ascii_lowercase().as_slice() {
            b"id" => {
                let id = parse_i64(value).filter(|id| *id >= 1);
                filter.id =
                    Some(id.ok_or_else(|| ReplyError::err("client-id should be greater than 0"))? as u64);
            }
            b"maxage" => {
                let age_s = parse_i64(value).filter(|age_s| *age_s >= 1);
                filter.min_age_s = Some(age_s.ok_or(error::NOT_INTEGER)? as u64);
            }
            b"type" => filter.kind = Some(ClientType::parse(value)?),
            b"addr" => filter.address = Some(value),
            b"laddr" => filter.local_address = Some(value),
            b"user" => {
                let unknown = || ReplyError::err([b"No such user '", value, b"'"].concat());
                filter.user = Some(server.acl.find(value).ok_or_else(unknown)?);
            }
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.skip_caller = true,
            b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.skip_caller = false,
            _ => return Err(error::SYNTAX),
        }
        index += 2;
    }
    Ok(filter)
}

pub(super) fn kill(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let old_form = args.len() == 3;
    let filter = if old_form {
        Filter { address: Some(args.at(2)), ..Filter::default() }
    } else {
        parse_filter(ctx.server, args)?
    };
    let now_ms = ctx.server.clock.monotonic_ms();
    let fits = |client: &&Client| filter.fits(client, ctx.client, now_ms);
    let doomed: Vec<ClientRef> =
        ctx.server.clients.iter().filter(fits).map(|client| client.reference).collect();
    for client in &doomed {
        ctx.server.disconnect(*client);
    }
    match (old_form, doomed.len()) {
        (true, 0) => return Err(ReplyError::err("No such client")),
        (true, _) => ctx.out.ok(),
        (false, count) => ctx.out.integer(count as i64),
    }
    Ok(())
}
