//! BGREWRITEAOF.

use crate::resp::Args;
use crate::server::aof::RewriteStart;
use crate::server::error::CommandResult;
use crate::server::spec::{Group, category, flag};
use crate::server::{Caller, CommandSpec, Ctx};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "bgrewriteaof",
    arity: 1,
    flags: flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT,
    categories: category::ADMIN | category::DANGEROUS | category::SLOW,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1), the child's work aside",
    summary: "Rewrites the append-only file from memory, in a forked child.",
    handler: bgrewriteaof,
    ..CommandSpec::DEFAULT
}];

fn bgrewriteaof(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let may_fork = ctx.caller == Caller::Client;
    match ctx.server.request_rewrite(may_fork)? {
        RewriteStart::Started => ctx.out.simple("Background append only file rewriting started"),
        RewriteStart::Scheduled => ctx.out.simple("Background append only file rewriting scheduled"),
    }
    Ok(())
}
