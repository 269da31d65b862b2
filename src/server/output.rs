//! A client's output: bytes to send, and which AOF offset each part waits for.
//!
//! A reply may reveal a write, so it leaves only when that write is as safe as `appendfsync`
//! promises (decision 2). At the end of a turn the bytes made since the last seal are sealed with
//! the AOF offset reached; they leave when the released offset has come that far.
//!
//! ```text
//!  buffer: |sent......|ready............|waits for 900....|waits for 950..|unsealed|
//!          0          sent              gate[0].start     gate[1].start
//! ```

use std::collections::VecDeque;

/// Buffers that have grown beyond this are given back when they are empty, bytes.
const KEEP_CAPACITY_MAX: usize = 64 * 1024;
/// Size of Redis's first, fixed reply buffer, bytes: what `obl` of CLIENT LIST counts. The rest is
/// `oll`, `omem`, and is what the output-buffer limits are compared with.
pub const FIRST_REPLY_BUFFER_BYTES: usize = 16 * 1024;
/// The least that CLIENT LIST shows as size of a reply buffer, as Redis's is never smaller.
const REPLY_BUFFER_BYTES_MIN: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Gate {
    /// Where in `buffer` the gated bytes begin.
    start: usize,
    /// AOF offset they wait for.
    offset: u64,
}

/// Bytes on their way to a client.
#[derive(Debug, Default)]
pub struct Output {
    pub buffer: Vec<u8>,
    sent: usize,
    sealed: usize,
    gates: VecDeque<Gate>,
    /// Room of the buffer while a command of this client has it.
    lent_bytes: usize,
    /// Most bytes held since the last [`Output::give_back`].
    peak: usize,
    /// Since when the soft limit has been exceeded, monotonic ms.
    pub soft_limit_since_ms: Option<u64>,
}

impl Output {
    /// Bytes not sent yet; 0 while a command of this client runs, which has the buffer then.
    #[inline]
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len().saturating_sub(self.sent)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pending_bytes() == 0
    }

    /// Hands the buffer to a command of this client, which appends to it.
    pub fn lend(&mut self) -> Vec<u8> {
        self.lent_bytes = self.buffer.capacity();
        std::mem::take(&mut self.buffer)
    }

    /// Takes the buffer back; what others have pushed meanwhile follows.
    pub fn take_back(&mut self, buffer: Vec<u8>) {
        self.lent_bytes = 0;
        let pushed = std::mem::replace(&mut self.buffer, buffer);
        self.buffer.extend_from_slice(&pushed);
    }

    /// Bytes at the buffer's start that have been sent.
    pub fn sent_bytes(&self) -> usize {
        self.sent
    }

    /// Bytes not sent yet beyond the first reply buffer (`omem`).
    pub fn queued_bytes(&self) -> usize {
        self.pending_bytes().saturating_sub(FIRST_REPLY_BUFFER_BYTES)
    }

    /// Size of the first reply buffer as CLIENT LIST shows it (`rbs`).
    pub fn reply_buffer_bytes(&self) -> usize {
        self.room_bytes().clamp(REPLY_BUFFER_BYTES_MIN, FIRST_REPLY_BUFFER_BYTES)
    }

    fn room_bytes(&self) -> usize {
        self.buffer.capacity().max(self.lent_bytes)
    }

    /// Gives all room back but a little, when nothing is left to send: memory is limited, and room
    /// that is only kept for the next reply would cost keys.
    pub fn keep_little(&mut self) {
        if self.is_empty() && self.buffer.capacity() > REPLY_BUFFER_BYTES_MIN {
            self.buffer = Vec::new();
            self.reset();
        }
    }

    /// Gives back room that has not been used since the last call; called now and then.
    pub fn give_back(&mut self) {
        if self.is_empty() && self.buffer.capacity() > 2 * self.peak.max(REPLY_BUFFER_BYTES_MIN / 2) {
            self.buffer = Vec::with_capacity(self.peak);
            self.reset();
        }
        self.peak = self.pending_bytes();
    }

    /// Marks everything made so far as waiting for the AOF to reach `offset`; `None` when no
    /// write is pending.
    pub fn seal(&mut self, offset: Option<u64>) {
        if let Some(offset) = offset
            && self.sealed < self.buffer.len()
        {
            self.gates.push_back(Gate { start: self.sealed, offset });
        }
        self.sealed = self.buffer.len();
        self.peak = self.peak.max(self.sealed);
    }

    /// The bytes that may be sent when the AOF has been released up to `released`.
    pub fn sendable(&mut self, released: u64) -> &[u8] {
        while self.gates.front().is_some_and(|gate| gate.offset <= released) {
            self.gates.pop_front();
        }
        let end = self.gates.front().map_or(self.buffer.len(), |gate| gate.start);
        &self.buffer[self.sent..end.max(self.sent)]
    }

    /// Whether bytes wait for the AOF rather than for the socket.
    pub fn is_gated(&self) -> bool {
        !self.gates.is_empty()
    }

    /// `count` bytes of [`Output::sendable`] have been sent.
    pub fn advance(&mut self, count: usize) {
        self.sent += count;
        debug_assert!(self.sent <= self.buffer.len());
        if self.sent == self.buffer.len() {
            self.reset();
        }
    }

    /// Forgets everything unsent.
    pub fn reset(&mut self) {
        self.gates.clear();
        self.sent = 0;
        self.sealed = 0;
        if self.buffer.capacity() > KEEP_CAPACITY_MAX {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
    }

    /// Heap bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.room_bytes() + self.gates.capacity() * size_of::<Gate>()
    }
}

#[cfg(test)]
mod tests {
    use super::Output;

    #[test]
    fn gated_bytes_wait_for_their_offset() {
        let mut output = Output::default();
        output.buffer.extend_from_slice(b"free");
        output.seal(None);
        output.buffer.extend_from_slice(b"one");
        output.seal(Some(10));
        output.buffer.extend_from_slice(b"two");
        output.seal(Some(20));
        assert_eq!(output.sendable(0), b"free");
        output.advance(4);
        assert_eq!(output.sendable(9), b"");
        assert!(output.is_gated());
        assert_eq!(output.sendable(10), b"one");
        output.advance(2);
        assert_eq!(output.sendable(25), b"etwo");
        output.advance(4);
        assert!(output.is_empty() && !output.is_gated());
    }

    #[test]
    fn later_free_bytes_do_not_overtake_gated_ones() {
        let mut output = Output::default();
        output.buffer.extend_from_slice(b"gated");
        output.seal(Some(5));
        output.buffer.extend_from_slice(b"free");
        output.seal(None);
        assert_eq!(output.sendable(4), b"");
        assert_eq!(output.sendable(5), b"gatedfree");
    }
}
