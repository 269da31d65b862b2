//! GEOSEARCH, GEOSEARCHSTORE, GEORADIUS, GEORADIUSBYMEMBER and their `_RO` forms.

use super::options::{Form, Request, parse};
use super::{reply_distance, reply_position};
use crate::command::reply::put_element;
use crate::keyspace::{ExpiryChange, NewValue};
use crate::resp::{Args, Reply};
use crate::server::Ctx;
use crate::server::config::NotifyFlags;
use crate::server::error::CommandResult;
use crate::value::geo::{self, Point, Position};
use crate::value::zset::ZsetLimits;
use crate::value::{TypeLimits, ZsetRef, ZsetValue};

pub(super) fn geosearch(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    search(ctx, args, Form::Search)
}

pub(super) fn geosearchstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    search(ctx, args, Form::SearchStore)
}

pub(super) fn georadius(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    search(ctx, args, Form::Radius { may_store: true })
}

pub(super) fn georadius_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    search(ctx, args, Form::Radius { may_store: false })
}

pub(super) fn georadiusbymember(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    search(ctx, args, Form::RadiusByMember { may_store: true })
}

pub(super) fn georadiusbymember_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    search(ctx, args, Form::RadiusByMember { may_store: false })
}

fn search(ctx: &mut Ctx<'_>, args: Args<'_>, form: Form) -> CommandResult {
    let limits = ctx.server.type_limits(false);
    let zset = ctx.server.read_as::<ZsetValue>(ctx.db, args.at(form.source_index()))?;
    let request = parse(form, args, zset)?;
    let points = zset.map_or_else(Vec::new, |zset| points_of(zset, &request));
    match request.target {
        None => reply(ctx.out, &request, &points),
        Some(target) => {
            let result = stored_value(&request, &points, &limits);
            store(ctx, target, result, form);
        }
    }
    Ok(())
}

fn points_of<'a>(zset: ZsetRef<'a>, request: &Request<'_>) -> Vec<Point<'a>> {
    let Some(shape) = request.shape() else { return Vec::new() };
    let limit = if request.any { request.count } else { 0 };
    let mut points = geo::collect(zset, &shape, limit);
    geo::pick(&mut points, request.sorting, request.count);
    points
}

fn reply(out: &mut Reply, request: &Request<'_>, points: &[Point<'_>]) {
    let options = [request.with_distance, request.with_hash, request.with_position];
    let options = options.into_iter().filter(|option| *option).count();
    out.array(points.len());
    for point in points {
        if options > 0 {
            out.array(options + 1);
        }
        put_element(out, point.member);
        if request.with_distance {
            reply_distance(out, point.distance_m / request.unit_m);
        }
        if request.with_hash {
            out.integer(point.score as i64);
        }
        if request.with_position {
            reply_position(out, Position::of_score(point.score));
        }
    }
}

/// The sorted set to store; `None` when there is nothing to store.
fn stored_value(request: &Request<'_>, points: &[Point<'_>], limits: &TypeLimits) -> Option<ZsetValue> {
    let score = |point: &Point<'_>| {
        if request.store_distance { point.distance_m / request.unit_m } else { point.score }
    };
    let members: Vec<(f64, Vec<u8>)> =
        points.iter().map(|point| (score(point), point.member.to_vec())).collect();
    let entries = members.iter().map(|(score, member)| (*score, member.as_slice())).collect();
    (!members.is_empty()).then(|| ZsetValue::from_unsorted(entries, &ZsetLimits::from(limits)))
}

fn store(ctx: &mut Ctx<'_>, target: &[u8], result: Option<ZsetValue>, form: Form) {
    let db = ctx.db;
    let stored = result.as_ref().map_or(0, ZsetValue::len);
    if let Some(result) = result {
        ctx.server.set_key(db, target, NewValue::Owned(result.into()), ExpiryChange::Clear);
        ctx.server.key_changed_by(db, target, stored);
        let event = if form == Form::SearchStore { "geosearchstore" } else { "georadiusstore" };
        ctx.server.notify(NotifyFlags::ZSET, event, db, target);
    } else if ctx.server.remove_key(db, target, ctx.server.config.lazyfree_lazy_server_del) {
        ctx.server.key_changed(db, target);
        ctx.server.notify(NotifyFlags::GENERIC, "del", db, target);
    }
    ctx.out.integer(stored as i64);
}
