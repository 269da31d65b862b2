//! The points of a sorted set in a shape, and the nearest or farthest of them.

use super::{Position, Shape};
use crate::ds::element::Element;
use crate::value::zset::{ScoreRange, ZsetRef};
use std::cmp::Ordering;

/// A member that was found.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// From the shape's centre, metres.
    pub distance_m: f64,
    pub score: f64,
    pub member: Element<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sorting {
    None,
    Ascending,
    Descending,
}

/// The members in a shape, cell by cell, at most `limit` (0: all). O(members in up to nine cells).
pub fn collect<'a>(zset: ZsetRef<'a>, shape: &Shape, limit: usize) -> Vec<Point<'a>> {
    let gauge = shape.gauge();
    let mut points = Vec::new();
    for (min, max) in shape.score_ranges() {
        let ranks = zset.score_ranks(&ScoreRange::new(min as f64, false, max as f64, true));
        for (score, member) in zset.range(ranks.start, ranks.end, false) {
            if let Some(distance_m) = gauge.distance_m(Position::of_score(score)) {
                points.push(Point { distance_m, score, member });
                if points.len() == limit {
                    return points;
                }
            }
        }
    }
    points
}

/// Keeps `count` points (0: all), the first in the order asked for, in that order. O(n + count log
/// count). Equal distances stay as they were found when all are kept.
pub fn pick(points: &mut Vec<Point<'_>>, sorting: Sorting, count: usize) {
    let count = if count == 0 { points.len() } else { count.min(points.len()) };
    let compare: fn(&Point<'_>, &Point<'_>) -> Ordering = match sorting {
        Sorting::None => return points.truncate(count),
        Sorting::Ascending => |left, right| left.distance_m.total_cmp(&right.distance_m),
        Sorting::Descending => |left, right| right.distance_m.total_cmp(&left.distance_m),
    };
    if count < points.len() {
        let by_score = |left: &Point<'_>, right: &Point<'_>| left.score.total_cmp(&right.score);
        points.select_nth_unstable_by(count, |left, right| {
            compare(left, right).then_with(|| by_score(left, right))
        });
        points.truncate(count);
        points.sort_unstable_by(by_score);
    }
    points.sort_by(compare);
}
