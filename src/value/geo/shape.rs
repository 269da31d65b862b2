//! What is searched: a circle or a box around a centre, and the cells that cover it.

use super::cell::{Area, Cell, Span};
use super::{EARTH_RADIUS_M, LATITUDES, LONGITUDES, Position, STEP_MAX, degrees, radians};

/// Half the width of the Web Mercator map, metres.
const MERCATOR_MAX_M: f64 = 20_037_726.37;
/// What rounding can make of a distance, with much to spare: a point is turned down by a cheap
/// bound only when it is farther away than that.
const MARGIN: f64 = 1.000_001;

/// In the unit of the request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outline {
    Circle { radius: f64 },
    Rectangle { width: f64, height: f64 },
}

/// A search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    pub centre: Position,
    pub outline: Outline,
    /// Metres of the request's unit.
    pub unit_m: f64,
}

/// Distances of points from one centre, where they lie in the outline.
pub(super) struct Gauge {
    centre: Position,
    /// Half the height and width of a box, or the radius as both.
    height_m: f64,
    width_m: f64,
    is_circle: bool,
    /// A squared half chord above this is farther than the radius.
    square_max: f64,
}

impl Shape {
    /// Half the extent to the north and to the east, metres.
    fn half_extents_m(&self) -> (f64, f64) {
        match self.outline {
            Outline::Circle { radius } => (self.unit_m * radius, self.unit_m * radius),
            Outline::Rectangle { width, height } => {
                (self.unit_m * (height / 2.0), self.unit_m * (width / 2.0))
            }
        }
    }

    /// From the centre to the farthest point, metres.
    fn reach_m(&self) -> f64 {
        match self.outline {
            Outline::Circle { radius } => radius * self.unit_m,
            Outline::Rectangle { width, height } => {
                let (width, height) = (width / 2.0, height / 2.0);
                (width * width + height * height).sqrt() * self.unit_m
            }
        }
    }

    /// Degrees that enclose it, about: nearer to a pole its sides are longer in degrees.
    fn bounds(&self) -> Area {
        let Position { longitude, latitude } = self.centre;
        let (height_m, width_m) = self.half_extents_m();
        let north = degrees(height_m / EARTH_RADIUS_M);
        let widest_at = if latitude < 0.0 { latitude - north } else { latitude + north };
        let east = degrees(width_m / EARTH_RADIUS_M / radians(widest_at).cos());
        Area {
            longitude: Span { min: longitude - east, max: longitude + east },
            latitude: Span { min: latitude - north, max: latitude + north },
        }
    }

    /// The scores to look through: ranges of up to nine cells, the centre's first.
    ///
    /// With very large cells neighbours can be the same; one that follows itself is left out.
    pub(super) fn score_ranges(&self) -> Vec<(u64, u64)> {
        let cells = self.cells();
        let mut ranges = Vec::with_capacity(cells.len());
        let mut last = None;
        for (index, cell) in cells.into_iter().enumerate() {
            // The centre does not count as the one before: Redis takes its index 0 for "none".
            let repeats = last == Some(cell);
            if !repeats {
                ranges.push(cell.scores());
                last = (index > 0).then_some(cell);
            }
        }
        ranges
    }

    fn cells(&self) -> Vec<Cell> {
        /// East and north, in the order in which they are searched.
        const AROUND: [(i8, i8); 8] = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let bounds = self.bounds();
        let at_step = |step| Cell::around(self.centre, step, LONGITUDES, LATITUDES);
        let mut cell = at_step(step_for(self.reach_m(), self.centre.latitude));
        if cell.step > 1 && !neighbours_cover(&cell, &bounds) {
            cell = at_step(cell.step - 1);
        }
        let own = cell.area();
        // A side that the shape does not reach need not be looked at. Cells of the first step are
        // so large that this cannot be told.
        let needed = |(east, north): &(i8, i8)| {
            cell.step < 2
                || !(*north < 0 && own.latitude.min < bounds.latitude.min
                    || *north > 0 && own.latitude.max > bounds.latitude.max
                    || *east < 0 && own.longitude.min < bounds.longitude.min
                    || *east > 0 && own.longitude.max > bounds.longitude.max)
        };
        let around = AROUND.iter().filter(|place| needed(place));
        std::iter::once(cell).chain(around.map(|(east, north)| cell.neighbour(*east, *north))).collect()
    }

    pub(super) fn gauge(&self) -> Gauge {
        let (height_m, width_m) = match self.outline {
            Outline::Circle { radius } => (radius * self.unit_m, radius * self.unit_m),
            Outline::Rectangle { width, height } => (height * self.unit_m / 2.0, width * self.unit_m / 2.0),
        };
        let half_angle = height_m / (2.0 * EARTH_RADIUS_M);
        let chord = half_angle.min(std::f64::consts::FRAC_PI_2).sin();
        Gauge {
            centre: self.centre,
            height_m,
            width_m,
            is_circle: matches!(self.outline, Outline::Circle { .. }),
            square_max: chord * chord * MARGIN,
        }
    }
}

impl Gauge {
    /// The distance of a point in the outline, metres; `None` outside.
    #[inline]
    pub fn distance_m(&self, point: Position) -> Option<f64> {
        if self.is_circle { self.in_circle(point) } else { self.in_box(point) }
    }

    fn in_circle(&self, point: Position) -> Option<f64> {
        if self.centre.latitude_distance_m(point.latitude) > self.height_m * MARGIN {
            return None;
        }
        let half_longitude = ((radians(point.longitude) - radians(self.centre.longitude)) / 2.0).sin();
        if half_longitude == 0.0 {
            let distance = self.centre.latitude_distance_m(point.latitude);
            return (distance <= self.height_m).then_some(distance);
        }
        let (from, to) = (radians(self.centre.latitude), radians(point.latitude));
        let half_latitude = ((to - from) / 2.0).sin();
        let square = half_latitude * half_latitude + from.cos() * to.cos() * half_longitude * half_longitude;
        if square > self.square_max {
            return None;
        }
        let distance = 2.0 * EARTH_RADIUS_M * square.sqrt().asin();
        // Opposite ends of the earth may come out as NaN, which Redis takes for near enough.
        if distance > self.height_m { None } else { Some(distance) }
    }

    fn in_box(&self, point: Position) -> Option<f64> {
        let beyond = point.latitude_distance_m(self.centre.latitude) > self.height_m;
        let level = Position { longitude: self.centre.longitude, latitude: point.latitude };
        if beyond || point.distance_m(level) > self.width_m {
            return None;
        }
        Some(self.centre.distance_m(point))
    }
}

/// The step at which a shape of this reach lies in a cell and its neighbours, mostly.
fn step_for(mut reach_m: f64, latitude: f64) -> u32 {
    if reach_m == 0.0 {
        return STEP_MAX;
    }
    let mut step = 1i32;
    while reach_m < MERCATOR_MAX_M {
        reach_m *= 2.0;
        step += 1;
    }
    step -= 2;
    // Cells are narrower near the poles.
    step -= i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    step.clamp(1, STEP_MAX as i32) as u32
}

/// Whether the shape ends within the cells next to this one.
fn neighbours_cover(cell: &Cell, bounds: &Area) -> bool {
    let area = |east, north| cell.neighbour(east, north).area();
    // A bound that is no number (an infinite radius) ends nowhere.
    let ends_outside = area(0, 1).latitude.max < bounds.latitude.max
        || area(0, -1).latitude.min > bounds.latitude.min
        || area(1, 0).longitude.max < bounds.longitude.max
        || area(-1, 0).longitude.min > bounds.longitude.min;
    !ends_outside
}
