//! What the server hands to the observer of forks (`cow`): its counters, and the moments that matter.

use crate::cow::Counters;
use crate::server::Server;
use crate::server::spec::flag;
use crate::sys::info;
use std::time::Instant;

impl Server {
    /// O(commands in the table), below a microsecond.
    fn counters(&self) -> Counters {
        let writes = self.commands.all().iter().filter(|found| found.spec.flags & flag::WRITE != 0);
        Counters {
            commands: self.stats.commands_processed,
            writes: writes.map(|found| self.stats.commands[found.id as usize].calls).sum(),
            input_bytes: self.stats.net_input_bytes,
        }
    }

    /// Ten times a second.
    pub fn observe(&mut self) {
        let counters = self.counters();
        self.observer.sample(&self.persistence, counters, Instant::now());
    }

    /// A child was reaped, by whomever.
    pub(super) fn observe_end(&mut self) {
        let counters = self.counters();
        self.observer.note_end(&self.persistence, counters, Instant::now());
    }

    /// A child was forked.
    pub(super) fn observe_fork(&mut self) {
        let counters = self.counters();
        self.observer.began(&self.persistence, counters, Instant::now());
    }

    /// A fork is next: says so when memory may not last.
    pub(in crate::server) fn before_fork(&mut self) {
        self.persistence.child_setup.is_limited = self.config.fork_cow_limit.bytes > 0;
        if let Some(shortage) = self.observer.shortage(info::current_rss_bytes()) {
            log::warn!("Low memory for a fork: {shortage}");
        }
    }
}
