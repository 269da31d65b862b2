//! A connection's query buffer: received bytes that have not been run, and room for more.
//!
//! ```text
//!  bytes: |received, not run............|room to read into (zeroed once)........|
//!         0                             filled                          bytes.len()
//! ```
//! Made at the first read, given back when its client has been idle, so that idle connections own
//! none. It grows to the size of a big argument in one step (zero pages from the allocator, not
//! touched until they are read into), and to [`ROOM_MAX_BYTES`] when reads fill it.

/// Room of a fresh buffer.
const ROOM_BYTES: usize = 16 * 1024;
/// Room beyond which a buffer grows only for an argument that needs it.
const ROOM_MAX_BYTES: usize = 64 * 1024;
/// An argument from this size on is given its room at once.
const BIG_ARGUMENT_BYTES: usize = 32 * 1024;
/// Buffers up to this size are not made smaller while their client is active.
const SHRINK_MIN_BYTES: usize = 32 * 1024;
/// Seconds without a request after which the room is given back.
const IDLE_S: u64 = 2;

/// See the module.
#[derive(Default)]
pub struct QueryBuffer {
    bytes: Vec<u8>,
    filled: usize,
    /// Most bytes held since the last [`QueryBuffer::shrink`].
    peak: usize,
}

impl QueryBuffer {
    /// Received bytes that have not been run.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    pub fn len(&self) -> usize {
        self.filled
    }

    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub fn free_bytes(&self) -> usize {
        self.bytes.len() - self.filled
    }

    /// Where the next read goes; never empty.
    pub fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.resize(ROOM_BYTES);
        } else if self.filled == self.bytes.len() {
            self.resize(self.filled + ROOM_BYTES);
        }
        &mut self.bytes[self.filled..]
    }

    /// `count` bytes were read into the room.
    pub fn received(&mut self, count: usize) {
        self.filled += count;
        self.peak = self.peak.max(self.filled);
    }

    /// The first `count` bytes have been run. `missing` is what the request at the end still
    /// lacks, as far as that is known. `full`: the last read filled the room.
    pub fn consume(&mut self, count: usize, missing: usize, full: bool) {
        self.bytes.copy_within(count..self.filled, 0);
        self.filled -= count;
        if missing >= BIG_ARGUMENT_BYTES && missing > self.free_bytes() {
            self.resize(self.filled + missing);
        } else if full && self.bytes.len() < ROOM_MAX_BYTES {
            self.resize(ROOM_MAX_BYTES);
        }
    }

    /// Gives room back: all of it from an idle client, most of it from one whose requests have
    /// become small. Called now and then.
    pub fn shrink(&mut self, idle_s: u64, missing: usize) {
        if idle_s > IDLE_S {
            self.resize(self.filled);
        } else if self.bytes.len() > SHRINK_MIN_BYTES && self.peak.max(missing) < self.bytes.len() / 2 {
            self.resize(self.peak.max(self.filled + missing).max(ROOM_BYTES));
        }
        self.peak = self.filled;
    }

    /// Moves the content to a buffer of `size` bytes whose rest is zero and untouched.
    fn resize(&mut self, size: usize) {
        debug_assert!(size >= self.filled);
        if size == self.bytes.len() {
            return;
        }
        let mut fresh = vec![0; size];
        fresh[..self.filled].copy_from_slice(&self.bytes[..self.filled]);
        self.bytes = fresh;
    }
}

#[cfg(test)]
mod tests {
    use super::QueryBuffer;

    fn receive(buffer: &mut QueryBuffer, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = buffer.room();
            let count = room.len().min(rest.len());
            room[..count].copy_from_slice(&rest[..count]);
            buffer.received(count);
            rest = &rest[count..];
        }
    }

    #[test]
    fn bytes_stay_in_order_over_growth_and_consumption() {
        let data: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
        let mut buffer = QueryBuffer::default();
        receive(&mut buffer, &data);
        assert_eq!(buffer.filled(), data);
        buffer.consume(99_000, 0, true);
        assert_eq!(buffer.filled(), &data[99_000..]);
        receive(&mut buffer, b"tail");
        assert_eq!(buffer.filled(), [&data[99_000..], b"tail"].concat());
    }

    #[test]
    fn a_big_argument_gets_its_room_at_once() {
        let mut buffer = QueryBuffer::default();
        receive(&mut buffer, b"header");
        buffer.consume(0, 1_000_000, false);
        assert!(buffer.free_bytes() >= 1_000_000);
        buffer.shrink(3, 1_000_000);
        assert_eq!((buffer.filled(), buffer.free_bytes()), (&b"header"[..], 0));
    }

    #[test]
    fn idle_and_small_again_clients_give_room_back() {
        let mut buffer = QueryBuffer::default();
        receive(&mut buffer, &[7; 400_000]);
        buffer.consume(400_000, 0, false);
        let large = buffer.free_bytes();
        buffer.shrink(0, 0);
        assert_eq!(buffer.free_bytes(), large, "the peak of this round was high");
        receive(&mut buffer, b"small");
        buffer.consume(5, 0, false);
        buffer.shrink(0, 0);
        assert!(buffer.free_bytes() > 0 && buffer.free_bytes() < large);
        buffer.shrink(9, 0);
        assert_eq!(buffer.free_bytes(), 0);
    }
}
