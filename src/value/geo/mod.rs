//! Places on the earth as scores of sorted sets.
//!
//! ```text
//!  longitude -180 .. 180      ─► 26 bits ─┐ interleaved, longitude first
//!  latitude  -85.05 .. 85.05  ─► 26 bits ─┴► 52 bits: a geohash, exact in the double of a score
//! ```
//! Members that are near each other have mostly near scores, so that what lies in a cell of the
//! grid is one range of scores (`cell`). A search looks at the cell of its centre and those around
//! it, as large as needed, and then at each distance (`shape`, `search`).
//!
//! Scores, cells and distances are those of Redis bit for bit: the order of every floating-point
//! operation is part of it. Distances are great circles on a sphere of 6,372.8 km: up to 0.5 % off.

mod cell;
mod search;
mod shape;
#[cfg(test)]
mod tests;

pub use search::{Point, Sorting, collect, pick};
pub use shape::{Outline, Shape};

use cell::{Area, Cell, Span};

/// Bits of each coordinate in a score.
const STEP_MAX: u32 = 26;
/// What Web Mercator (EPSG:3857) shows; the poles cannot be placed.
pub const LATITUDE_MAX: f64 = 85.051_128_78;
pub const LONGITUDE_MAX: f64 = 180.0;
const LONGITUDES: Span = Span { min: -LONGITUDE_MAX, max: LONGITUDE_MAX };
const LATITUDES: Span = Span { min: -LATITUDE_MAX, max: LATITUDE_MAX };

/// Quadratic mean radius of the earth (WGS-84), metres.
const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    pub longitude: f64,
    pub latitude: f64,
}

impl Position {
    /// Whether it can be placed.
    pub fn is_valid(&self) -> bool {
        (-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&self.longitude)
            && (-LATITUDE_MAX..=LATITUDE_MAX).contains(&self.latitude)
    }

    /// The score of a valid position: an integer of 52 bits (53 at the upper limits).
    pub fn score(&self) -> u64 {
        Cell::around(*self, STEP_MAX, LONGITUDES, LATITUDES).bits
    }

    /// The middle of the smallest cell that a score names. Any score names one.
    pub fn of_score(score: f64) -> Position {
        let cell = Cell { bits: score_bits(score), step: STEP_MAX };
        let Area { longitude, latitude } = cell.area();
        Position {
            longitude: longitude.middle().clamp(-LONGITUDE_MAX, LONGITUDE_MAX),
            latitude: latitude.middle().clamp(-LATITUDE_MAX, LATITUDE_MAX),
        }
    }

    /// The standard geohash of eleven characters. The last one is always `0`, since scores have
    /// only 52 bits.
    pub fn geohash(&self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        // The standard goes to the poles.
        let whole = Span { min: -90.0, max: 90.0 };
        let bits = Cell::around(*self, STEP_MAX, LONGITUDES, whole).bits;
        std::array::from_fn(|index| match index {
            10 => ALPHABET[0],
            index => ALPHABET[(bits >> (52 - 5 * (index + 1)) & 31) as usize],
        })
    }

    /// Metres on the great circle (haversine).
    pub fn distance_m(&self, other: Position) -> f64 {
        let half_longitude = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if half_longitude == 0.0 {
            return self.latitude_distance_m(other.latitude);
        }
        let (from, to) = (radians(self.latitude), radians(other.latitude));
        let half_latitude = ((to - from) / 2.0).sin();
        let square = half_latitude * half_latitude + from.cos() * to.cos() * half_longitude * half_longitude;
        2.0 * EARTH_RADIUS_M * square.sqrt().asin()
    }

    /// Metres along the meridian.
    fn latitude_distance_m(&self, latitude: f64) -> f64 {
        EARTH_RADIUS_M * (radians(latitude) - radians(self.latitude)).abs()
    }
}

fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_PER_DEGREE
}

fn degrees(radians: f64) -> f64 {
    radians / RADIANS_PER_DEGREE
}

/// A score as the 64 bits that a C compiler for x86 makes of it: scores that ZADD stored may be
/// anything.
fn score_bits(score: f64) -> u64 {
    const HALF: f64 = (1u64 << 63) as f64;
    let signed = |value: f64| if (-HALF..HALF).contains(&value) { value as i64 } else { i64::MIN };
    if score < HALF { signed(score) as u64 } else { signed(score - HALF) as u64 ^ 1 << 63 }
}
