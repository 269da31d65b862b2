//! COMMAND COUNT and LIST.

use crate::base::glob;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::category;
use crate::server::{Ctx, Found};

pub(super) fn count(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let count = ctx.server.commands.top_level().count();
    ctx.out.integer(count as i64);
    Ok(())
}

/// What LIST is to show.
enum Filter<'a> {
    All,
    /// Commands with one of these category bits.
    Categories(u32),
    Pattern(&'a [u8]),
    /// Commands of a module: there are none.
    Module,
}

impl Filter<'_> {
    fn parse<'a>(args: Args<'a>) -> Result<Filter<'a>, ReplyError> {
        if args.is_empty() {
            return Ok(Filter::All);
        }
        if args.len() != 3 || !args.at(0).eq_ignore_ascii_case(b"filterby") {
            return Err(error::SYNTAX);
        }
        let value = args.at(2);
        match args.at(1).to_ascii_lowercase().as_slice() {
            b"module" => Ok(Filter::Module),
            b"pattern" => Ok(Filter::Pattern(value)),
            b"aclcat" => Ok(Filter::Categories(category::by_name(value).unwrap_or(0))),
            _ => Err(error::SYNTAX),
        }
    }

    fn fits(&self, found: &Found) -> bool {
        match self {
            Filter::All => true,
            Filter::Categories(wanted) => found.spec.all_categories() & wanted != 0,
            Filter::Pattern(pattern) => {
                glob::matches(pattern, found.full_name().as_bytes(), glob::Case::Ignored)
            }
            Filter::Module => false,
        }
    }
}

pub(super) fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let filter = Filter::parse(args.tail(2))?;
    let commands = &ctx.server.commands;
    let with_parts = commands.top_level().flat_map(|found| {
        let parts = commands.children(found).iter().copied();
        std::iter::once(found).chain(parts)
    });
    let names: Vec<String> =
        with_parts.filter(|found| filter.fits(found)).map(|found| found.full_name()).collect();
    ctx.out.array(names.len());
    for name in names {
        ctx.out.bulk_str(&name);
    }
    Ok(())
}
