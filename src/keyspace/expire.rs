//! Active expiry: visits the table segments that have something due.
//!
//! Each table segment knows how many of its keys have an expiry and a lower bound of the earliest
//! (`ds::table`). A cycle goes round the databases and, within each, through its due segments in
//! hash order; it stops when everything has been seen once or when its time is up, and resumes
//! there. So no second index of keys with an expiry exists, and a key goes within one round.

use crate::keyspace::Keyspace;
use crate::keyspace::effects::Effects;
use std::time::{Duration, Instant};

/// Buckets visited between two looks at the clock.
const STEPS_PER_CLOCK_CHECK: usize = 32;

/// Where the last cycle stopped.
#[derive(Debug, Default)]
pub struct ExpireCycle {
    db: usize,
    position: u64,
    /// Keys to remove, kept between cycles so that no allocation is made per cycle.
    due: Vec<Box<[u8]>>,
}

impl ExpireCycle {
    /// One cycle; true when the time ran out before everything due was visited.
    pub(super) fn run(
        &mut self,
        keyspace: &mut Keyspace,
        now_ms: i64,
        budget_us: u64,
        effects: &mut Effects,
    ) -> bool {
        let end = Instant::now() + Duration::from_micros(budget_us);
        for _ in 0..keyspace.databases() {
            if self.db >= keyspace.databases() {
                self.db = 0;
                self.position = 0;
            }
            if keyspace.db(self.db).volatile_len() > 0 && self.run_db(keyspace, now_ms, end, effects) {
                return true;
            }
            self.db += 1;
            self.position = 0;
        }
        false
    }

    /// Visits one database; true when the time ran out.
    fn run_db(&mut self, keyspace: &mut Keyspace, now_ms: i64, end: Instant, effects: &mut Effects) -> bool {
        loop {
            let mut finished = false;
            for _ in 0..STEPS_PER_CLOCK_CHECK {
                self.position = self.step(keyspace, now_ms, effects);
                if self.position == 0 {
                    finished = true;
                    break;
                }
            }
            if finished {
                return false;
            }
            if Instant::now() >= end {
                return true;
            }
        }
    }

    /// Looks at one bucket of a due segment; returns the next position, 0 at the table's end.
    fn step(&mut self, keyspace: &mut Keyspace, now_ms: i64, effects: &mut Effects) -> u64 {
        let due = &mut self.due;
        let (table, resolver) = keyspace.db_mut(self.db).table_and_resolver();
        let visit = table.visit_due(now_ms.max(0) as u64, self.position, resolver, |word| {
            let view = resolver.view(word);
            let passed = view.expiry_ms().is_some_and(|expiry| now_ms > expiry);
            if passed {
                due.push(view.key().into());
            }
            passed
        });
        for key in self.due.drain(..) {
            let hash = keyspace.hash(&key);
            keyspace.expire(self.db, hash, &key, effects);
        }
        visit.next_position
    }
}
