//! Scores and cells against recorded values and against plain arithmetic.

use super::cell::Cell;
use super::{
    LATITUDE_MAX, LATITUDES, LONGITUDE_MAX, LONGITUDES, Outline, Position, STEP_MAX, Shape, score_bits,
};
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

fn at(longitude: f64, latitude: f64) -> Position {
    Position { longitude, latitude }
}

fn positions() -> impl Strategy<Value = Position> {
    let longitude =
        prop_oneof![8 => -LONGITUDE_MAX..=LONGITUDE_MAX, 1 => 179.9..=180.0, 1 => -180.0..=-179.9];
    let latitude = prop_oneof![8 => -LATITUDE_MAX..=LATITUDE_MAX, 1 => 80.0..=LATITUDE_MAX];
    (longitude, latitude).prop_map(|(longitude, latitude)| at(longitude, latitude))
}

fn shapes() -> impl Strategy<Value = Shape> {
    let extent = || prop_oneof![1.0..100.0f64, 100.0..100_000.0, 100_000.0..3_000_000.0];
    let circle = extent().prop_map(|radius| Outline::Circle { radius });
    let rectangle = (extent(), extent()).prop_map(|(width, height)| Outline::Rectangle { width, height });
    (positions(), prop_oneof![circle, rectangle]).prop_map(|(centre, outline)| Shape {
        centre,
        outline,
        unit_m: 1.0,
    })
}

/// Whether a point is in a shape, without any short cut.
fn is_inside(shape: &Shape, point: Position) -> Option<f64> {
    let distance = shape.centre.distance_m(point);
    let inside = match shape.outline {
        Outline::Circle { radius } => distance <= radius * shape.unit_m,
        Outline::Rectangle { width, height } => {
            let level = at(shape.centre.longitude, point.latitude);
            point.latitude_distance_m(shape.centre.latitude) <= height * shape.unit_m / 2.0
                && point.distance_m(level) <= width * shape.unit_m / 2.0
        }
    };
    inside.then_some(distance)
}

proptest! {
    #[test]
    fn a_score_names_a_place_next_to_the_position(position in positions()) {
        let place = Position::of_score(position.score() as f64);
        prop_assert!((place.longitude - position.longitude).abs() <= 360.0 / f64::from(1 << STEP_MAX));
        prop_assert!((place.latitude - position.latitude).abs() <= 171.0 / f64::from(1 << STEP_MAX));
        // Once on the grid it stays, but at the upper limits, which have a cell of their own.
        if position.longitude < 179.9 && position.latitude < 85.0 {
            prop_assert_eq!(place.score(), position.score());
        }
    }

    #[test]
    fn neighbours_touch(position in positions(), step in 2u32..=26) {
        let cell = Cell::around(position, step, LONGITUDES, LATITUDES);
        let area = cell.area();
        let last = (1u64 << step) - 1;
        let edge = |bits: u64| (0..step).fold(0, |number, bit| number | (bits >> (2 * bit) & 1) << bit);
        if edge(cell.bits >> 1) < last {
            prop_assert_eq!(cell.neighbour(1, 0).area().longitude.min, area.longitude.max);
            prop_assert_eq!(cell.neighbour(1, 0).neighbour(-1, 0), cell);
        }
        if edge(cell.bits) < last {
            prop_assert_eq!(cell.neighbour(0, 1).area().latitude.min, area.latitude.max);
            prop_assert_eq!(cell.neighbour(0, 1).neighbour(0, -1), cell);
        }
        prop_assert_eq!(cell.neighbour(1, 1), cell.neighbour(1, 0).neighbour(0, 1));
    }

    #[test]
    fn the_gauge_agrees_with_plain_distances(shape in shapes(), points in proptest::collection::vec(positions(), 20)) {
        let gauge = shape.gauge();
        for point in points {
            prop_assert_eq!(gauge.distance_m(point), is_inside(&shape, point));
        }
        prop_assert_eq!(gauge.distance_m(shape.centre), Some(0.0));
    }

    #[test]
    fn points_just_at_the_edge_are_judged_alike(centre in positions(), point in positions()) {
        let distance = centre.distance_m(point);
        for radius in [distance, distance * (1.0 + 1e-15), distance * (1.0 - 1e-15), distance * 1.000_000_5] {
            let shape = Shape { centre, outline: Outline::Circle { radius }, unit_m: 1.0 };
            prop_assert_eq!(shape.gauge().distance_m(point), is_inside(&shape, point));
        }
    }

    /// Away from the map's edges and the poles, where Redis's nine cells do not reach everything.
    #[test]
    fn the_cells_cover_the_shape(
        centre in (-120.0..120.0f64, -60.0..60.0f64),
        radius in 1.0..500_000.0f64,
        turn in 0.0..std::f64::consts::TAU,
        part in 0.0..1.0f64,
    ) {
        let centre = at(centre.0, centre.1);
        let shape = Shape { centre, outline: Outline::Circle { radius }, unit_m: 1.0 };
        let reach = radius * part / 111_400.0;
        let point = at(
            centre.longitude + reach * turn.cos() / centre.latitude.to_radians().cos(),
            centre.latitude + reach * turn.sin(),
        );
        let score = point.score();
        let place = Position::of_score(score as f64);
        if shape.gauge().distance_m(place).is_some() {
            prop_assert!(shape.score_ranges().iter().any(|(min, max)| (*min..*max).contains(&score)));
        }
    }
}

/// What Redis 7.0.15 answers for these places.
#[test]
fn recorded_places() {
    let palermo = at(13.361_389, 38.115_556);
    let catania = at(15.087_269, 37.502_669);
    assert_eq!((palermo.score(), catania.score()), (3_479_099_956_230_698, 3_479_447_370_796_909));
    let (palermo, catania) =
        (Position::of_score(palermo.score() as f64), Position::of_score(catania.score() as f64));
    assert_eq!(palermo.distance_m(catania), 166_274.151_569_600_33);
    assert_eq!(&palermo.geohash(), b"sqc8b49rny0");
    assert_eq!(&catania.geohash(), b"sqdtr74hyu0");
}

#[test]
fn any_score_names_a_place() {
    let odd = [0.0, -1.0, 0.5, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY, 9.3e18, 1.8e19];
    for score in odd {
        assert!(Position::of_score(score).is_valid(), "{score}");
    }
    assert_eq!(
        [score_bits(-1.0), score_bits(-1e300), score_bits(9.3e18)],
        [u64::MAX, 1 << 63, 9_300_000_000_000_000_000]
    );
}

#[test]
fn extreme_shapes() {
    let circle = |radius| Outline::Circle { radius };
    let outlines = [circle(0.0), circle(f64::INFINITY), circle(1e300), circle(2.1e7)];
    let boxes = [(0.0, 0.0), (f64::INFINITY, 1.0), (1e9, 1e-9)]
        .map(|(width, height)| Outline::Rectangle { width, height });
    for outline in outlines.into_iter().chain(boxes) {
        for centre in [at(180.0, LATITUDE_MAX), at(-180.0, -LATITUDE_MAX), at(0.0, 0.0)] {
            let shape = Shape { centre, outline, unit_m: 1609.34 };
            let ranges = shape.score_ranges();
            assert!(
                (1..=9).contains(&ranges.len()) && ranges.iter().all(|(min, max)| min < max),
                "{shape:?}"
            );
        }
    }
}
