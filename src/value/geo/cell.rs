//! The grid: cells of 2^step by 2^step over the world, named by interleaved bits.
//!
//! ```text
//!   bits ... y1 x1 y0 x0     x: latitude, y: longitude      | 01 11 |  north
//!   step s: the upper s pairs of a score                    | 00 10 |  south
//! ```

use super::{LATITUDES, LONGITUDES, Position, STEP_MAX};

const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
const LONGITUDE_BITS: u64 = !LATITUDE_BITS;

/// A range of degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub min: f64,
    pub max: f64,
}

impl Span {
    pub fn middle(&self) -> f64 {
        (self.min + self.max) / 2.0
    }

    /// Where a value lies in it: 0 to `2^step`.
    fn offset(&self, value: f64, step: u32) -> u32 {
        ((value - self.min) / (self.max - self.min) * (1u64 << step) as f64) as u32
    }

    /// The part of it with this number among `2^step`.
    fn part(&self, number: u32, step: u32) -> Span {
        let scale = self.max - self.min;
        let at = |number: u32| self.min + f64::from(number) / (1u64 << step) as f64 * scale;
        Span { min: at(number), max: at(number.wrapping_add(1)) }
    }
}

/// What a cell covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub longitude: Span,
    pub latitude: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub bits: u64,
    /// 1 to 26.
    pub step: u32,
}

impl Cell {
    /// The cell of this size that a position lies in.
    pub fn around(position: Position, step: u32, longitudes: Span, latitudes: Span) -> Cell {
        let latitude = latitudes.offset(position.latitude, step);
        let longitude = longitudes.offset(position.longitude, step);
        Cell { bits: spread(latitude) | spread(longitude) << 1, step }
    }

    pub fn area(&self) -> Area {
        let (latitude, longitude) = (gather(self.bits), gather(self.bits >> 1));
        Area {
            longitude: LONGITUDES.part(longitude, self.step),
            latitude: LATITUDES.part(latitude, self.step),
        }
    }

    /// The cell so many steps east and north (-1, 0 or 1 each), round the world at its edges.
    pub fn neighbour(&self, east: i8, north: i8) -> Cell {
        let unused = 64 - 2 * self.step;
        let longitude =
            stepped(self.bits & LONGITUDE_BITS, LONGITUDE_BITS >> unused, LATITUDE_BITS >> unused, east);
        let latitude =
            stepped(self.bits & LATITUDE_BITS, LATITUDE_BITS >> unused, LONGITUDE_BITS >> unused, north);
        Cell { bits: longitude | latitude, step: self.step }
    }

    /// The scores in it: from the first up to, without, the second.
    pub fn scores(&self) -> (u64, u64) {
        let shift = 2 * (STEP_MAX - self.step);
        (self.bits << shift, (self.bits + 1) << shift)
    }
}

/// Adds one to (or takes one from) bits that stand at the places `own`, every other one; those
/// `between` are filled so that a carry passes them.
fn stepped(bits: u64, own: u64, between: u64, direction: i8) -> u64 {
    match direction {
        0 => bits,
        1.. => bits.wrapping_add(between + 1) & own,
        _ => (bits | between).wrapping_sub(between + 1) & own,
    }
}

/// Bit n of a number to place 2n.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & LATITUDE_BITS
}

/// Place 2n to bit n.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & LATITUDE_BITS;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) as u32
}
