//! `maxmemory`: keys go until the data fits, or writes are refused.
//!
//! ```text
//!  before each command ──► over the limit? ──no──► run it
//!                               │ yes
//!                               ▼
//!            evict by maxmemory-policy ──► fits ──► run it
//!                               ├──► nothing may go ──► OOM for commands that need memory
//!                               └──► time is up ──► run it; the loop's next turn evicts on
//! ```
//! A turn of the loop evicts for as long as `maxmemory-eviction-tenacity` says; when that is spent,
//! each further command of the turn still evicts [`KEYS_PER_LOOK`] keys, so that a pipeline neither
//! waits for the whole backlog with every request nor outgrows the eviction.
//!
//! What is compared with the limit is `used_memory` without the buffers of the AOF (an evicted key
//! makes them grow) and without values that the lazy-free thread is about to free.

use crate::keyspace::{Effect, EvictionOrder, EvictionRule};
use crate::server::Server;
use crate::server::config::MaxmemoryPolicy;

/// Keys that go between two looks at the clock.
const KEYS_PER_LOOK: usize = 16;
/// Tenacity up to which time grows evenly, by so many microseconds a step.
const EVEN_TENACITY_MAX: u8 = 10;
const EVEN_STEP_US: u64 = 50;
/// Each step above makes the time so much longer.
const TENACITY_GROWTH: f64 = 1.15;
/// From this tenacity on time has no end.
const ENDLESS_TENACITY: u8 = 100;

/// State of eviction.
#[derive(Debug, Default)]
pub struct Eviction {
    /// The last look found the limit exceeded and nothing that may go.
    pub out_of_memory: bool,
    /// Time was up before the data fitted: the loop's next turn goes on.
    pub unfinished: bool,
    /// Since when the limit has been exceeded, monotonic microseconds.
    over_since_us: Option<u64>,
    /// Microseconds spent evicting in this turn of the loop.
    spent_us: u64,
    /// Memory that messages about keys evicted in this turn take: most of it leaves at the turn's end.
    told_bytes: usize,
}

/// How an attempt to make room ended.
enum Attempt {
    Fits,
    TimeUp,
    NothingToEvict,
}

/// Microseconds that a turn may spend evicting; `None`: any.
fn budget_us(tenacity: u8) -> Option<u64> {
    if tenacity >= ENDLESS_TENACITY {
        return None;
    }
    let even = u64::from(tenacity.min(EVEN_TENACITY_MAX)) * EVEN_STEP_US;
    let steps = tenacity.saturating_sub(EVEN_TENACITY_MAX);
    Some((even as f64 * TENACITY_GROWTH.powi(i32::from(steps))) as u64)
}

/// The rule of a policy; `None`: nothing may go.
fn rule_of(policy: MaxmemoryPolicy, samples: u32) -> Option<EvictionRule> {
    use MaxmemoryPolicy as Policy;
    let (order, volatile_only) = match policy {
        Policy::NoEviction => return None,
        Policy::AllkeysLru => (EvictionOrder::LeastRecent, false),
        Policy::VolatileLru => (EvictionOrder::LeastRecent, true),
        Policy::AllkeysLfu => (EvictionOrder::LeastFrequent, false),
        Policy::VolatileLfu => (EvictionOrder::LeastFrequent, true),
        Policy::AllkeysRandom => (EvictionOrder::Random, false),
        Policy::VolatileRandom => (EvictionOrder::Random, true),
        Policy::VolatileTtl => (EvictionOrder::SoonestExpiry, true),
    };
    Some(EvictionRule { order, volatile_only, samples: samples as usize })
}

impl Server {
    /// Memory that does not count against `maxmemory`: bytes on their way to the AOF, those that a
    /// rewrite keeps back, and the stream that is kept for replicas which lag behind the backlog.
    pub fn bytes_not_counted(&self) -> usize {
        let aof = &self.persistence.aof;
        self.propagation.stream.capacity()
            + aof.unwritten_bytes() as usize
            + aof.rewrite_buffer_length() as usize
            + self.replication.bytes_beyond_backlog(self.config.repl_backlog_size)
    }

    /// Bytes by which memory exceeds `maxmemory`; 0 without a limit.
    fn bytes_over_limit(&self) -> usize {
        let limit_bytes = self.config.maxmemory.bytes as usize;
        if limit_bytes == 0 {
            return 0;
        }
        let used_bytes = self.used_memory();
        if used_bytes <= limit_bytes {
            return 0;
        }
        let spared_bytes =
            self.bytes_not_counted() + self.keyspace.bytes_being_freed() + self.eviction.told_bytes;
        used_bytes.saturating_sub(spared_bytes).saturating_sub(limit_bytes)
    }

    /// Whether memory of keys or of clients exceeds its limit, or has done so at the last look: then
    /// room is to be made, and that there is enough again to be noted.
    #[inline]
    pub fn is_short_of_memory(&self) -> bool {
        let limits = self.config.maxmemory.bytes | self.config.maxmemory_clients.bytes;
        let exceeded = || self.bytes_over_limit() > 0 || self.clients_exceed_limit();
        self.eviction.over_since_us.is_some() || limits != 0 && exceeded()
    }

    /// Evicts before a command runs. [`Eviction::out_of_memory`] tells the result.
    #[inline]
    pub fn make_room(&mut self) {
        if self.config.maxmemory.bytes != 0 {
            self.enforce_limit();
        } else if self.eviction.over_since_us.is_some() {
            self.note_fits();
        }
    }

    /// Once a turn, before its requests: goes on with what the last turn left.
    pub fn go_on_evicting(&mut self) {
        self.eviction.spent_us = 0;
        self.eviction.told_bytes = 0;
        if std::mem::take(&mut self.eviction.unfinished) {
            self.make_room();
        }
    }

    /// The limit or the policy is another now: the next turn acts upon it, requests or not.
    pub fn memory_limit_changed(&mut self) {
        self.eviction.unfinished = true;
        let over_bytes = self.bytes_over_limit();
        if over_bytes > 0 {
            log::warn!(
                "maxmemory is now {} bytes and memory in use exceeds that by {over_bytes}: keys will be evicted or \
                 writes refused, as maxmemory-policy says",
                self.config.maxmemory.bytes
            );
        }
    }

    fn enforce_limit(&mut self) {
        if self.bytes_over_limit() == 0 {
            self.note_fits();
            return;
        }
        if self.is_eviction_held() {
            self.eviction.out_of_memory = false;
            return;
        }
        let start_us = self.clock.now_monotonic_us();
        self.eviction.over_since_us.get_or_insert(start_us);
        let attempt = match rule_of(self.config.maxmemory_policy, self.config.maxmemory_samples) {
            Some(rule) => self.evict(rule, start_us),
            None => Attempt::NothingToEvict,
        };
        let spent_us = self.clock.now_monotonic_us().saturating_sub(start_us);
        self.eviction.spent_us += spent_us;
        self.note_latency("eviction-cycle", spent_us / 1000);
        self.eviction.out_of_memory = matches!(attempt, Attempt::NothingToEvict);
        self.eviction.unfinished = matches!(attempt, Attempt::TimeUp);
        if matches!(attempt, Attempt::Fits) {
            self.note_fits();
        }
    }

    /// While a data set is loaded or clients are paused the data stays as it is; a replica's are those of
    /// its primary (`replica-ignore-maxmemory`).
    fn is_eviction_held(&self) -> bool {
        let follows = !self.replication.is_primary() && self.config.replica_ignore_maxmemory;
        follows
            || self.run.loading.is_some()
            || self.call.replaying
            || self.run.pause_at(self.call.now_ms).is_some()
    }

    fn evict(&mut self, rule: EvictionRule, start_us: u64) -> Attempt {
        let mut wanted_bytes = self.bytes_over_limit();
        let budget = budget_us(self.config.maxmemory_eviction_tenacity);
        loop {
            for _ in 0..KEYS_PER_LOOK {
                let Some(freed_bytes) = self.evict_key(rule) else { return Attempt::NothingToEvict };
                wanted_bytes = wanted_bytes.saturating_sub(freed_bytes);
                if wanted_bytes == 0 {
                    return Attempt::Fits;
                }
            }
            let spent_us = self.clock.now_monotonic_us().saturating_sub(start_us);
            if budget.is_some_and(|budget_us| self.eviction.spent_us + spent_us >= budget_us) {
                return Attempt::TimeUp;
            }
        }
    }

    /// Evicts one key and says how much that alone has freed. Who is told of it (trackers, the AOF,
    /// subscribers) takes memory in turn, which must not evict the next key: messages about a key may
    /// be larger than the key, and one after the other would empty the data set.
    fn evict_key(&mut self, rule: EvictionRule) -> Option<usize> {
        let lazily = self.config.lazyfree_lazy_eviction;
        let before_bytes = self.bytes_held();
        let start = self.keyspace.measures_removals.then(|| self.clock.ticks());
        if !self.keyspace.evict_one(rule, lazily, &mut self.rng, &mut self.effects) {
            return None;
        }
        if let Some(start) = start {
            let spent_ns = self.clock.elapsed_ns(start);
            self.note_latency("eviction-del", spent_ns / 1_000_000);
        }
        let report_bytes = match self.effects.list.last() {
            Some(Effect::Evicted { key, .. }) => key.len(),
            _ => 0,
        };
        let left_bytes = self.bytes_held().saturating_sub(report_bytes);
        self.drain_effects();
        self.eviction.told_bytes += self.bytes_held().saturating_sub(left_bytes);
        Some(before_bytes.saturating_sub(left_bytes))
    }

    /// Memory in use without what the lazy-free thread is going to free.
    fn bytes_held(&self) -> usize {
        self.used_memory().saturating_sub(self.keyspace.bytes_being_freed())
    }

    fn note_fits(&mut self) {
        self.eviction.out_of_memory = false;
        self.eviction.unfinished = false;
        if let Some(since_us) = self.eviction.over_since_us.take() {
            self.stats.eviction_exceeded_us += self.clock.now_monotonic_us().saturating_sub(since_us);
        }
    }

    /// Microseconds since the limit has been exceeded, 0 while it is kept
    /// (`current_eviction_exceeded_time`).
    pub fn limit_exceeded_us(&self) -> u64 {
        let since_us = self.eviction.over_since_us;
        since_us.map_or(0, |since_us| self.clock.now_monotonic_us().saturating_sub(since_us))
    }
}

#[cfg(test)]
mod tests {
    use super::{budget_us, rule_of};
    use crate::server::config::MaxmemoryPolicy;

    #[test]
    fn tenacity_gives_time_as_in_redis() {
        assert_eq!((budget_us(0), budget_us(1), budget_us(10)), (Some(0), Some(50), Some(500)));
        assert_eq!(budget_us(11), Some(575));
        assert!(budget_us(99).is_some_and(|us| (120_000_000..140_000_000).contains(&us)));
        assert_eq!(budget_us(100), None);
    }

    #[test]
    fn every_policy_but_one_has_a_rule() {
        assert!(rule_of(MaxmemoryPolicy::NoEviction, 5).is_none());
        for policy in [MaxmemoryPolicy::VolatileTtl, MaxmemoryPolicy::VolatileRandom] {
            assert!(rule_of(policy, 5).is_some_and(|rule| rule.volatile_only && rule.samples == 5));
        }
        assert!(rule_of(MaxmemoryPolicy::AllkeysLfu, 5).is_some_and(|rule| !rule.volatile_only));
    }
}
