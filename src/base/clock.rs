//! The clock part: wall time and monotonic time, cached, and ticks for timing single commands.
//!
//! Commands read the *cached* time, so that all of one command (and of one EXEC) sees the same
//! moment and no key expires in its middle; the event loop refreshes it. Tests use the manual clock, whose time
//! moves only when they say so, and so need no sleep.
//!
//! | call | unit | source | cost |
//! | --- | --- | --- | --- |
//! | [`Clock::cached_ms`], `cached_us`, `monotonic_us`, `monotonic_ms` | ms, us | last `refresh` | a load |
//! | [`Clock::now_ms`], `now_us` | ms, us | the system, now | 20-30 ns |
//! | [`Clock::ticks`], `elapsed_ns` | ticks, ns | time stamp counter | 10 ns |
//!
//! Wall time may jump, also backwards (NTP, an administrator); what must not is measured monotonically.

use crate::base::tsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the first calibration of the counter looks. It delays the start by as much, and bounds the
/// first error: two readings of at most about 100 ns uncertainty in 2 ms are below 0.02 %.
const FIRST_CALIBRATION: Duration = Duration::from_millis(2);
/// Readings of which the tightest is taken for a calibration point.
const READINGS_PER_POINT: u32 = 8;
/// `refresh` calibrates again after 64 ms, then each time that the age has doubled, up to this age.
const LAST_CALIBRATION_US: u64 = 600 * 1_000_000;
const FIRST_REFINEMENT_US: u64 = 64_000;
/// Fraction bits of nanoseconds per tick.
const RATE_BITS: u32 = 32;

/// Time as the server sees it.
#[derive(Debug)]
pub struct Clock {
    source: Source,
    cached_us: i64,
    monotonic_us: u64,
}

#[derive(Debug)]
enum Source {
    System {
        start: Instant,
        ticks: TickSource,
    },
    /// What `refresh` will read.
    Manual {
        wall_us: i64,
        monotonic_us: u64,
    },
}

/// The system's time, Unix microseconds. Before 1970 it is negative.
fn unix_us_now() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_micros() as i64,
        Err(before) => -(before.duration().as_micros() as i64),
    }
}

/// The system's time, Unix milliseconds: for programs that have no [`Clock`].
pub fn unix_ms_now() -> i64 {
    unix_us_now().div_euclid(1000)
}

impl Clock {
    /// The system's clock. Takes about 2 ms (calibration of the tick source).
    pub fn system() -> Clock {
        let ticks = TickSource::calibrated();
        let mut clock =
            Clock { source: Source::System { start: Instant::now(), ticks }, cached_us: 0, monotonic_us: 0 };
        clock.refresh();
        clock
    }

    /// A clock that stands at `start_ms` (unix time) until told otherwise.
    pub fn manual(start_ms: i64) -> Clock {
        let wall_us = start_ms.saturating_mul(1000);
        Clock { source: Source::Manual { wall_us, monotonic_us: 0 }, cached_us: wall_us, monotonic_us: 0 }
    }

    /// Reads the time into the cache; once per turn of the event loop and before each command that needs it.
    pub fn refresh(&mut self) {
        self.cached_us = self.now_us();
        self.monotonic_us = self.now_monotonic_us();
        if let Source::System { ticks: TickSource::Counter(counter), .. } = &mut self.source
            && self.monotonic_us >= counter.next_refinement_us
        {
            counter.refine(self.monotonic_us);
        }
    }

    /// Unix time of the last refresh in milliseconds.
    #[inline]
    pub fn cached_ms(&self) -> i64 {
        self.cached_us.div_euclid(1000)
    }

    /// Unix time of the last refresh in microseconds.
    #[inline]
    pub fn cached_us(&self) -> i64 {
        self.cached_us
    }

    /// Time since this clock was made, at the last refresh, in microseconds. Never goes back.
    #[inline]
    pub fn monotonic_us(&self) -> u64 {
        self.monotonic_us
    }

    /// [`Clock::monotonic_us`] in milliseconds.
    #[inline]
    pub fn monotonic_ms(&self) -> u64 {
        self.monotonic_us / 1000
    }

    /// The monotonic millisecond that begins when `wait_ms` have passed from now on: rounded up, so that
    /// nobody is sent away before the time that was asked for.
    pub fn deadline_ms(&self, wait_ms: u64) -> u64 {
        self.now_monotonic_us().div_ceil(1000).saturating_add(wait_ms)
    }

    /// Unix time now in milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_us().div_euclid(1000)
    }

    /// Unix time now in microseconds. Before 1970 it is negative.
    pub fn now_us(&self) -> i64 {
        let Source::Manual { wall_us, .. } = &self.source else {
            return unix_us_now();
        };
        *wall_us
    }

    /// Time since this clock was made, now, in microseconds.
    pub fn now_monotonic_us(&self) -> u64 {
        match &self.source {
            Source::System { start, .. } => start.elapsed().as_micros() as u64,
            Source::Manual { monotonic_us, .. } => *monotonic_us,
        }
    }

    /// A reading for [`Clock::elapsed_ns`]; in ticks, whose rate is this clock's own affair.
    #[inline]
    pub fn ticks(&self) -> u64 {
        match &self.source {
            Source::System { ticks, .. } => ticks.read(),
            Source::Manual { monotonic_us, .. } => monotonic_us.saturating_mul(1000),
        }
    }

    /// Nanoseconds between two readings of [`Clock::ticks`]; 0 when `end` is before `start`.
    ///
    /// Bound: 0.1 % of the stretch plus 100 ns. Later refreshes calibrate over the clock's whole life and
    /// so only make it better. A test holds it to the bound.
    #[inline]
    pub fn ticks_to_ns(&self, start: u64, end: u64) -> u64 {
        let ticks = end.saturating_sub(start);
        match &self.source {
            Source::System { ticks: source, .. } => source.to_ns(ticks),
            Source::Manual { .. } => ticks,
        }
    }

    /// Nanoseconds since a reading of [`Clock::ticks`].
    #[inline]
    pub fn elapsed_ns(&self, start: u64) -> u64 {
        self.ticks_to_ns(start, self.ticks())
    }

    /// Sets a manual clock to this unix time in milliseconds; it is seen after the next `refresh`. Monotonic time
    /// follows forwards and never goes back.
    ///
    /// Gives false, and does nothing, on a system clock.
    pub fn set_ms(&mut self, time_ms: i64) -> bool {
        let Source::Manual { wall_us, monotonic_us } = &mut self.source else {
            return false;
        };
        let new_us = time_ms.saturating_mul(1000);
        let step_us = new_us.saturating_sub(*wall_us);
        *monotonic_us = monotonic_us.saturating_add(u64::try_from(step_us).unwrap_or(0));
        *wall_us = new_us;
        true
    }

    /// Moves a manual clock by `step_us` microseconds; see [`Clock::set_ms`].
    pub fn advance_us(&mut self, step_us: u64) -> bool {
        let Source::Manual { wall_us, monotonic_us } = &mut self.source else {
            return false;
        };
        *wall_us = wall_us.saturating_add_unsigned(step_us);
        *monotonic_us = monotonic_us.saturating_add(step_us);
        true
    }
}

/// Where ticks come from.
#[derive(Debug)]
enum TickSource {
    /// An invariant time stamp counter.
    Counter(Counter),
    /// Nanoseconds since then.
    Instant(Instant),
}

/// The counter with its rate.
#[derive(Debug)]
struct Counter {
    origin: Point,
    /// Nanoseconds per tick, times 2^32.
    rate: u64,
    next_refinement_us: u64,
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
struct Point {
    ticks: u64,
    instant: Instant,
}

impl Point {
    /// Reads both clocks several times and keeps the reading with the least time in between.
    fn now() -> Point {
        let mut best = (u64::MAX, Point { ticks: 0, instant: Instant::now() });
        for _ in 0..READINGS_PER_POINT {
            let before = tsc::read();
            let instant = Instant::now();
            let gap = tsc::read().saturating_sub(before);
            if gap < best.0 {
                best = (gap, Point { ticks: before + gap / 2, instant });
            }
        }
        best.1
    }
}

impl TickSource {
    fn calibrated() -> TickSource {
        if !tsc::is_invariant() {
            return TickSource::Instant(Instant::now());
        }
        let origin = Point::now();
        std::thread::sleep(FIRST_CALIBRATION);
        match rate_between(origin, Point::now()) {
            Some(rate) => {
                TickSource::Counter(Counter { origin, rate, next_refinement_us: FIRST_REFINEMENT_US })
            }
            None => TickSource::Instant(Instant::now()),
        }
    }

    #[inline]
    fn read(&self) -> u64 {
        match self {
            TickSource::Counter(_) => tsc::read(),
            TickSource::Instant(start) => start.elapsed().as_nanos() as u64,
        }
    }

    #[inline]
    fn to_ns(&self, ticks: u64) -> u64 {
        match self {
            TickSource::Counter(counter) => {
                ((u128::from(ticks) * u128::from(counter.rate)) >> RATE_BITS) as u64
            }
            TickSource::Instant(_) => ticks,
        }
    }
}

/// Nanoseconds per tick between two points; `None` when the counter stood still or ran off.
fn rate_between(start: Point, end: Point) -> Option<u64> {
    let ticks = end.ticks.checked_sub(start.ticks).filter(|ticks| *ticks > 0)?;
    let ns = end.instant.duration_since(start.instant).as_nanos();
    // Between 1/256 and 16 ns a tick: 62 MHz to 256 GHz. Anything else is no time stamp counter.
    let rate = u64::try_from((ns << RATE_BITS) / u128::from(ticks)).ok()?;
    (1 << (RATE_BITS - 8)..1 << (RATE_BITS + 4)).contains(&rate).then_some(rate)
}

impl Counter {
    /// Computes the rate anew over the whole life of the clock.
    fn refine(&mut self, age_us: u64) {
        if let Some(rate) = rate_between(self.origin, Point::now()) {
            self.rate = rate;
        }
        self.next_refinement_us = if age_us < LAST_CALIBRATION_US { age_us * 2 } else { u64::MAX };
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, Point, TickSource, rate_between};
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    #[test]
    fn a_manual_clock_stands_until_moved() {
        let mut clock = Clock::manual(1_000);
        assert_eq!((clock.cached_ms(), clock.now_ms(), clock.monotonic_us()), (1_000, 1_000, 0));
        assert!(clock.advance_us(1_500));
        assert_eq!((clock.cached_ms(), clock.now_us()), (1_000, 1_001_500));
        clock.refresh();
        assert_eq!((clock.cached_us(), clock.cached_ms(), clock.monotonic_us()), (1_001_500, 1_001, 1_500));
        assert!(clock.set_ms(500));
        clock.refresh();
        assert_eq!((clock.cached_ms(), clock.monotonic_us()), (500, 1_500));
        assert!(clock.set_ms(i64::MAX));
        clock.refresh();
        assert!(clock.cached_us() == i64::MAX);
        assert_eq!(Clock::manual(-1).cached_ms(), -1);
    }

    #[test]
    fn a_deadline_is_never_early() {
        let mut clock = Clock::manual(0);
        assert_eq!(clock.deadline_ms(50), 50);
        clock.advance_us(999);
        assert_eq!(clock.deadline_ms(50), 51);
        assert_eq!(clock.deadline_ms(u64::MAX), u64::MAX);
    }

    #[test]
    fn manual_ticks_are_monotonic_time() {
        let mut clock = Clock::manual(0);
        let start = clock.ticks();
        clock.advance_us(3);
        assert_eq!(clock.elapsed_ns(start), 3_000);
        assert_eq!(clock.ticks_to_ns(clock.ticks(), start), 0);
    }

    #[test]
    fn the_system_clock_is_the_systems() {
        let mut clock = Clock::system();
        assert!(!clock.set_ms(0));
        assert!(!clock.advance_us(1));
        let unix_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64;
        assert!((clock.now_ms() - unix_ms).abs() < 5_000);
        let before = clock.monotonic_us();
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(clock.monotonic_us(), before);
        clock.refresh();
        assert!(clock.monotonic_us() >= before + 1_000);
    }

    #[test]
    fn ticks_keep_their_bound() {
        let mut clock = Clock::system();
        for round in 0..2 {
            // Outer and inner readings, so that a pause of this thread cannot break the comparison.
            let outer = Instant::now();
            let start = clock.ticks();
            let inner = Instant::now();
            std::thread::sleep(Duration::from_millis(70));
            let least = inner.elapsed().as_nanos() as f64;
            let measured = clock.elapsed_ns(start) as f64;
            let most = outer.elapsed().as_nanos() as f64;
            assert!(measured >= least * 0.999 - 100.0, "round {round}: {measured} below {least}");
            assert!(measured <= most * 1.001 + 100.0, "round {round}: {measured} above {most}");
            // The second round runs with the refined rate.
            clock.refresh();
        }
    }

    #[test]
    fn nonsense_rates_are_refused() {
        let instant = Instant::now();
        let point = |ticks, after_ms| Point { ticks, instant: instant + Duration::from_millis(after_ms) };
        assert_eq!(rate_between(point(1_000_000, 0), point(2_000_000, 1)), Some(1 << 32));
        assert_eq!(rate_between(point(5, 0), point(5, 1)), None);
        assert_eq!(rate_between(point(5, 0), point(4, 1)), None);
        assert_eq!(rate_between(point(5, 0), point(6, 1)), None);
        assert_eq!(rate_between(point(0, 0), point(u64::MAX, 1)), None);
    }

    #[test]
    fn without_a_counter_ticks_are_nanoseconds() {
        let source = TickSource::Instant(Instant::now());
        assert_eq!(source.to_ns(17), 17);
        let start = source.read();
        std::thread::sleep(Duration::from_millis(1));
        assert!(source.read() - start >= 1_000_000);
    }
}
