//! A turn's commands on their way to the AOF and into the replication stream.
//!
//! ```text
//!  propagation.stream ──flush──┬─► AOF batch (swapped in, not copied)
//!                              └─► backlog (one copy, into the blocks that replicas are sent from)
//! ```
//! What goes to replicas waits for the AOF as every output does (decision 2): a replica never has what
//! its primary could lose. Each flush notes at which position of the stream which offset of the AOF was
//! reached; `net` sends up to the first position that still waits.

use crate::persist::aof::AofState;
use crate::server::Server;
use crate::server::propagation::push_command;
use std::collections::VecDeque;

/// From so many bytes on a turn's commands are flushed and sent before the turn is over, so that
/// replicas are not idle during a long one.
pub const FLUSH_WITHIN_TURN_BYTES: usize = 64 << 10;
/// Gates kept apart; later ones are joined with the last, which only makes bytes wait longer.
const GATES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Gate {
    /// Position from which on bytes wait.
    start: u64,
    /// AOF offset that they wait for.
    log_offset: u64,
}

/// Which parts of the stream wait for the AOF.
#[derive(Debug, Default)]
pub struct Gates {
    waiting: VecDeque<Gate>,
    /// Everything before this position has been through [`Gates::seal`].
    sealed: u64,
}

impl Gates {
    /// Nothing before this position waits.
    pub fn begun_at(position: u64) -> Self {
        Gates { sealed: position, ..Gates::default() }
    }

    /// What was added up to position `end` waits for the AOF to come to `log_offset`; `None`: for nothing.
    pub fn seal(&mut self, end: u64, log_offset: Option<u64>) {
        let start = std::mem::replace(&mut self.sealed, end);
        let Some(log_offset) = log_offset.filter(|_| end > start) else { return };
        let is_full = self.waiting.len() >= GATES_MAX;
        match self.waiting.back_mut() {
            Some(last) if last.log_offset == log_offset => {}
            Some(last) if is_full => last.log_offset = log_offset,
            _ => self.waiting.push_back(Gate { start, log_offset }),
        }
    }

    /// The position up to which bytes may be sent when the AOF has been released up to `released`.
    pub fn sendable_end(&mut self, released: u64) -> u64 {
        while self.waiting.front().is_some_and(|gate| gate.log_offset <= released) {
            self.waiting.pop_front();
        }
        self.waiting.front().map_or(self.sealed, |gate| gate.start)
    }

    /// Whether something waits for the AOF.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Server {
    /// Whether changes are to be collected for anybody.
    pub fn refresh_stream_wanted(&mut self) {
        self.propagation.wanted = self.persistence.aof.wants_stream() || self.replication.takes_commands();
    }

    /// Gives what was propagated so far to the AOF and to the replicas' stream; called at the end of a
    /// turn, in the middle of a long one, and before a fork.
    #[inline]
    pub fn flush_stream(&mut self) {
        if !self.propagation.stream.is_empty() {
            self.hand_stream_on();
        }
        if self.replication.backlog.is_some() {
            self.seal_stream();
        }
        if let Some(text) = self.persistence.aof.fatal() {
            end_process(text);
        }
    }

    /// As [`Server::flush_stream`], possibly in the middle of a transaction, whose commands so far stay:
    /// before a change of role, since the same commands go elsewhere behind it. Returns whether there
    /// are such: what they did is then no part of the stream that ends here.
    pub fn flush_finished_units(&mut self) -> bool {
        let open = self.propagation.take_open_unit();
        self.flush_stream();
        self.propagation.put_open_unit(&open);
        !open.is_empty()
    }

    fn hand_stream_on(&mut self) {
        if self.replication.takes_commands() {
            self.replication.append(&self.propagation.stream);
        } else if self.replication.is_primary() && self.replication.backlog.is_none() {
            // As in Redis: nobody gets it, but WAITAOF must tell it from what a later replica has.
            self.replication.offset += 1;
        }
        if !self.persistence.aof.wants_stream() {
            return self.propagation.clear();
        }
        self.propagation.keep_for_log();
        if !self.propagation.stream.is_empty() {
            let now_s = self.call.now_ms / 1000;
            self.persistence.aof.append(&mut self.propagation.stream, now_s);
        }
    }

    fn seal_stream(&mut self) {
        let log_offset = self.persistence.pending_aof_offset();
        let end = self.replication.offset;
        self.replication.gates.seal(end, log_offset);
        if self.persistence.aof.state == AofState::On {
            self.replication.unsynced.seal(end, Some(self.persistence.aof.appended_offset()));
        }
        let slowest = self.slowest_cursor();
        self.replication.trim(self.config.repl_backlog_size, slowest);
    }

    /// The offset of the stream up to which our own AOF is synced; `None` without an AOF.
    pub fn synced_stream_offset(&mut self) -> Option<u64> {
        let aof = &self.persistence.aof;
        (aof.state == AofState::On).then(|| self.replication.unsynced.sendable_end(aof.synced_offset()))
    }

    /// The offset of the stream when everything propagated so far will be in it.
    #[inline]
    pub fn stream_offset(&self) -> u64 {
        let pending = self.propagation.stream.len() as u64;
        match (self.replication.is_primary(), &self.replication.backlog) {
            (false, _) => self.replication.offset,
            (true, Some(_)) => self.replication.offset + pending,
            (true, None) => self.replication.offset + pending.min(1),
        }
    }

    /// The offset of the AOF when everything propagated so far will be in it, or a little less: it lies
    /// behind what was appended before.
    #[inline]
    pub fn log_offset(&self) -> u64 {
        let aof = &self.persistence.aof;
        let pending = if aof.state == AofState::On { self.propagation.log_bytes() as u64 } else { 0 };
        aof.appended_offset() + pending
    }

    /// Adds a command for replicas alone (PING, REPLCONF GETACK). It selects no database.
    pub fn feed_replicas(&mut self, command: &[&[u8]]) {
        if !self.replication.takes_commands() {
            return;
        }
        self.flush_stream();
        let mut bytes = Vec::new();
        push_command(&mut bytes, command);
        self.replication.append(&bytes);
        self.seal_stream();
    }

    /// Whether a long turn has collected enough to be flushed and sent now.
    #[inline]
    pub fn should_feed_within_turn(&self) -> bool {
        self.propagation.stream.len() >= FLUSH_WITHIN_TURN_BYTES
            && !self.replication.replicas.is_empty()
            && !self.propagation.in_unit()
    }
}

/// With `always` a write or sync has failed: its replies were promised to mean durable, so the
/// process ends instead of lying.
#[cold]
fn end_process(text: &str) -> ! {
    log::error!("{text}");
    std::process::exit(1)
}

#[cfg(test)]
mod tests {
    use super::{GATES_MAX, Gates};

    #[test]
    fn bytes_wait_for_their_offset() {
        let mut gates = Gates::default();
        gates.seal(10, None);
        gates.seal(20, Some(100));
        gates.seal(30, Some(200));
        gates.seal(30, Some(300));
        assert_eq!(gates.sendable_end(99), 10);
        assert_eq!(gates.sendable_end(100), 20);
        assert!(gates.is_waiting());
        assert_eq!(gates.sendable_end(200), 30);
        gates.seal(40, None);
        assert_eq!(gates.sendable_end(200), 40);
    }

    #[test]
    fn too_many_gates_wait_together() {
        let mut gates = Gates::default();
        for turn in 0..2 * GATES_MAX as u64 {
            gates.seal(turn + 1, Some(turn));
        }
        assert_eq!(gates.sendable_end(2 * GATES_MAX as u64 - 2), GATES_MAX as u64 - 1);
        assert_eq!(gates.sendable_end(2 * GATES_MAX as u64 - 1), 2 * GATES_MAX as u64);
    }
}
