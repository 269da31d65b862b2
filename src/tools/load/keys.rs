//! Which key comes next. All generators are seeded: the same options touch the same keys in the same order.

use fastrand::Rng;

/// How often each key is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Skew {
    Uniform,
    /// The k-th most popular key is chosen in proportion to 1 / k^s.
    Zipf(f64),
    /// Around the middle of the key space, with this standard deviation as a share of all keys. Neighbours by number
    /// stay neighbours: they were written one after the other and share pages.
    Gaussian(f64),
    /// One key after the other, from the first again after the last.
    Sequential,
}

/// A stream of key numbers below a count.
pub struct Keys {
    count: u64,
    next: u64,
    rng: Rng,
    zipf: Option<Zipf>,
    skew: Skew,
}

/// A prime above every count: times it, modulo the count, puts popular keys all over the key space instead of
/// side by side, where they would share pages.
const SCATTER: u64 = 4_294_967_311;

impl Keys {
    pub fn new(count: u64, skew: Skew, seed: u64) -> Keys {
        let zipf = match skew {
            Skew::Zipf(exponent) => Some(Zipf::new(count, exponent)),
            Skew::Uniform | Skew::Gaussian(_) | Skew::Sequential => None,
        };
        Keys { count, next: 0, rng: Rng::with_seed(seed), zipf, skew }
    }

    /// The next key number.
    pub fn draw(&mut self) -> u64 {
        match (self.skew, &self.zipf) {
            (Skew::Sequential, _) => {
                let key = self.next;
                self.next = (key + 1) % self.count;
                key
            }
            (_, Some(zipf)) => {
                let rank = zipf.sample(&mut self.rng) - 1;
                (u128::from(rank) * u128::from(SCATTER) % u128::from(self.count)) as u64
            }
            (Skew::Gaussian(deviation), None) => self.around_the_middle(deviation),
            (Skew::Uniform | Skew::Zipf(_), None) => self.rng.u64(..self.count),
        }
    }

    /// A normally distributed key (Box and Muller, "A note on the generation of random normal deviates", 1958);
    /// what falls outside of the keys is drawn again.
    fn around_the_middle(&mut self, deviation: f64) -> u64 {
        let count = self.count as f64;
        loop {
            let (radius, angle) = ((1.0 - self.rng.f64()).ln(), self.rng.f64() * std::f64::consts::TAU);
            let key = count * (0.5 + deviation * (-2.0 * radius).sqrt() * angle.cos());
            if (0.0..count).contains(&key) {
                return key as u64;
            }
        }
    }
}

/// Zipf-distributed ranks in constant time and memory: rejection-inversion, after W. Hörmann and G. Derflinger,
/// "Rejection-inversion to generate variates from monotone discrete distributions" (ACM TOMACS 6, 1996).
struct Zipf {
    count: f64,
    exponent: f64,
    area_first: f64,
    area_last: f64,
    /// Below this distance from a rank a point is accepted without looking closer.
    squeeze: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Zipf {
        let count = count as f64;
        let mut zipf = Zipf { count, exponent, area_first: 0.0, area_last: 0.0, squeeze: 0.0 };
        zipf.area_first = zipf.area(1.5) - 1.0;
        zipf.area_last = zipf.area(count + 0.5);
        zipf.squeeze = 2.0 - zipf.area_inverse(zipf.area(2.5) - zipf.density(2.0));
        zipf
    }

    fn density(&self, x: f64) -> f64 {
        x.powf(-self.exponent)
    }

    /// Integral of the density from 1 to x.
    fn area(&self, x: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power.abs() < 1e-9 { x.ln() } else { (power * x.ln()).exp_m1() / power }
    }

    fn area_inverse(&self, area: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power.abs() < 1e-9 { area.exp() } else { ((power * area).max(-1.0).ln_1p() / power).exp() }
    }

    /// A rank from 1 to the count.
    fn sample(&self, rng: &mut Rng) -> u64 {
        loop {
            let area = self.area_last + rng.f64() * (self.area_first - self.area_last);
            let x = self.area_inverse(area);
            let rank = x.round().clamp(1.0, self.count);
            if rank - x <= self.squeeze || area >= self.area(rank + 0.5) - self.density(rank) {
                return rank as u64;
            }
        }
    }
}
