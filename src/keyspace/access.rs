//! The 24 access bits of an entry: LRU seconds or LFU minutes and counter, as in Redis.
//!
//! While a child lives reads write nothing (`frozen`): they must not copy a page. Writes do, where an eviction
//! goes by these bits.

use crate::keyspace::entry::ACCESS_MAX;

/// Counter of a fresh key: high enough not to be evicted at once.
const LFU_INIT: u32 = 5;

/// How access bits are read and written at the moment.
#[derive(Debug, Clone)]
pub struct AccessPolicy {
    /// `maxmemory-policy` is one of the LFU kinds.
    pub lfu: bool,
    /// A snapshot child is alive, so entries must not be written for reads.
    pub frozen: bool,
    /// Keys are evicted by these bits: `maxmemory` is set and its policy looks at them.
    pub decides_evictions: bool,
    /// Unix time, seconds: refreshed by cron.
    pub now_s: u64,
    /// `lfu-log-factor`.
    pub lfu_log_factor: u32,
    /// `lfu-decay-time`, minutes.
    pub lfu_decay_min: u32,
    /// State of a xorshift generator for the logarithmic counter.
    pub random: u64,
}

impl Default for AccessPolicy {
    fn default() -> Self {
        AccessPolicy {
            lfu: false,
            frozen: false,
            decides_evictions: false,
            now_s: 0,
            lfu_log_factor: 10,
            lfu_decay_min: 1,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }
}

impl AccessPolicy {
    fn minutes(&self) -> u32 {
        (self.now_s / 60) as u32 & 0xffff
    }

    /// The bits of a key made or loaded now.
    #[inline]
    pub fn fresh(&self) -> u32 {
        if self.lfu { self.minutes() << 8 | LFU_INIT } else { self.now_s as u32 & ACCESS_MAX }
    }

    /// The bits after an access, or `None` when nothing should be written.
    #[inline]
    pub fn touched(&mut self, bits: u32) -> Option<u32> {
        if self.frozen {
            return None;
        }
        let new = self.written(bits);
        (new != bits).then_some(new)
    }

    /// The bits of a key that is overwritten.
    #[inline]
    pub fn written(&mut self, bits: u32) -> u32 {
        if self.lfu { self.lfu_touched(bits) } else { self.fresh() }
    }

    /// Whether a string that is replaced where it lies leaves the page of its bits alone.
    #[inline]
    pub fn spares_overwritten(&self) -> bool {
        self.frozen && !self.decides_evictions
    }

    fn lfu_touched(&mut self, bits: u32) -> u32 {
        let counter = self.lfu_counter(bits);
        self.minutes() << 8 | self.log_increment(counter)
    }

    /// Logarithmic increment: the higher the counter, the rarer it grows; saturates at 255.
    fn log_increment(&mut self, counter: u32) -> u32 {
        if counter >= 255 {
            return 255;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let chance = (self.random >> 11) as f64 / (1u64 << 53) as f64;
        let base = counter.saturating_sub(LFU_INIT) as f64;
        if chance < 1.0 / (base * self.lfu_log_factor as f64 + 1.0) { counter + 1 } else { counter }
    }

    /// LFU counter after the decay that is due (`OBJECT FREQ`).
    pub fn lfu_counter(&self, bits: u32) -> u32 {
        let last = bits >> 8;
        let elapsed = self.minutes().wrapping_sub(last) & 0xffff;
        let periods = elapsed.checked_div(self.lfu_decay_min).unwrap_or(0);
        (bits & 255).saturating_sub(periods)
    }

    /// Seconds since the last access (`OBJECT IDLETIME`), with the clock's wrap taken into account.
    pub fn idle_s(&self, bits: u32) -> u64 {
        (self.now_s as u32).wrapping_sub(bits) as u64 & ACCESS_MAX as u64
    }

    /// The bits of a key restored with an idle time (seconds).
    pub fn bits_of_idle(&self, idle_s: u64) -> u32 {
        (self.now_s as u32).wrapping_sub(idle_s.min(ACCESS_MAX as u64) as u32) & ACCESS_MAX
    }

    /// The bits of a key restored with an LFU counter.
    pub fn bits_of_frequency(&self, frequency: u8) -> u32 {
        self.minutes() << 8 | frequency as u32
    }
}

#[cfg(test)]
mod tests {
    use super::AccessPolicy;
    use crate::base::hash::HashSeed;
    use crate::keyspace::{ExpiryChange, Keyspace, NewValue};

    #[test]
    fn idle_time_wraps() {
        let policy = AccessPolicy { now_s: (1 << 24) + 5, ..AccessPolicy::default() };
        assert_eq!(policy.idle_s((1 << 24) - 5), 10);
        assert_eq!(policy.idle_s(policy.bits_of_idle(77)), 77);
    }

    #[test]
    fn the_counter_grows_slowly_and_decays() {
        let mut policy = AccessPolicy { lfu: true, now_s: 6_000_000, ..AccessPolicy::default() };
        let mut bits = policy.fresh();
        for _ in 0..10_000 {
            bits = policy.touched(bits).unwrap_or(bits);
        }
        let counter = policy.lfu_counter(bits);
        assert!((20..120).contains(&counter), "10,000 hits give about 40 to 60, not {counter}");
        policy.now_s += 60 * 10;
        assert_eq!(policy.lfu_counter(bits), counter - 10);
    }

    #[test]
    fn nothing_is_written_while_a_child_lives() {
        let mut policy = AccessPolicy { frozen: true, now_s: 99, ..AccessPolicy::default() };
        assert_eq!(policy.touched(1), None);
    }

    #[test]
    fn a_string_replaced_in_its_place_is_as_old_as_evictions_need_it() {
        let seed = HashSeed::from_os().expect("random numbers");
        let mut keyspace = Keyspace::new(1, seed).expect("a thread");
        let (hash, long) = (keyspace.hash(b"key"), [b'x'; 20_000]);
        for (decides, is_child_there, idle_s) in [(false, true, 100), (true, true, 0), (false, false, 0)] {
            keyspace.access.now_s = 1_000;
            let set = |keyspace: &mut Keyspace| {
                keyspace.set(0, hash, b"key", NewValue::Encoded(&long), ExpiryChange::Clear)
            };
            set(&mut keyspace);
            keyspace.access.frozen = is_child_there;
            keyspace.access.decides_evictions = decides;
            keyspace.access.now_s = 1_100;
            set(&mut keyspace);
            let bits = keyspace.db(0).find(hash, b"key").expect("it was set").access();
            assert_eq!(keyspace.access.idle_s(bits), idle_s, "{decides} {is_child_there}");
            keyspace.access.frozen = false;
            keyspace.remove(0, hash, b"key", false);
        }
    }
}
