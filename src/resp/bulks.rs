//! Many bulk strings in a row, written without a check of the buffer for each part of each.
//!
//! ```text
//!   buffer: | written ... | $3\r\n | abc | \r\n | ... room for one more at least ... |
//!                         ^ at                                          capacity ^
//! ```
//!
//! Trade-off: `Reply::bulk` costs three appends, each with its own check and call: some 15 ns.
//! Here it is one check, a header from a table and a copy in words: some 4 ns for short strings.
//! For replies of many elements (ranges of lists, whole hashes and sets).
#![allow(unsafe_code)]

use crate::resp::Reply;
use std::ptr;

/// The most bytes around a string: `$`, 20 digits and two line ends.
const FRAME_BYTES_MAX: usize = 25;
/// Room asked for at least, bytes: a few dozen short elements.
const GROWTH_BYTES_MIN: usize = 1024;
/// Lengths whose header stands in the table.
const TABLE_LENGTHS: usize = 100;

/// Headers of short strings as they are written, eight bytes at once.
const HEADERS: [[u8; 8]; TABLE_LENGTHS] = headers();

const fn headers() -> [[u8; 8]; TABLE_LENGTHS] {
    let mut all = [[0; 8]; TABLE_LENGTHS];
    let mut len = 0;
    while len < TABLE_LENGTHS {
        let (tens, ones) = (b'0' + (len / 10) as u8, b'0' + (len % 10) as u8);
        all[len] = if len < 10 {
            [b'$', ones, b'\r', b'\n', 0, 0, 0, 0]
        } else {
            [b'$', tens, ones, b'\r', b'\n', 0, 0, 0]
        };
        len += 1;
    }
    all
}

/// Appends bulk strings to a reply; what is written counts when this is dropped.
pub struct BulkWriter<'a> {
    buffer: &'a mut Vec<u8>,
    /// Bytes written; at most the capacity.
    at: usize,
}

impl<'a> BulkWriter<'a> {
    /// A writer of about `bytes` bytes, which are reserved at once.
    pub fn new(reply: &'a mut Reply, bytes: usize) -> Self {
        let buffer = &mut reply.buffer;
        buffer.reserve(bytes);
        let at = buffer.len();
        BulkWriter { buffer, at }
    }

    /// A place with room for a string of `len` bytes and its frame.
    #[inline]
    fn place_for(&mut self, len: usize) -> *mut u8 {
        let room = len + FRAME_BYTES_MAX;
        if self.buffer.capacity() - self.at < room {
            self.grow(room);
        }
        // SAFETY: `at` is at most the capacity.
        unsafe { self.buffer.as_mut_ptr().add(self.at) }
    }

    #[cold]
    fn grow(&mut self, room: usize) {
        // SAFETY: everything below `at` has been written.
        unsafe { self.buffer.set_len(self.at) };
        self.buffer.reserve(room.max(GROWTH_BYTES_MIN));
    }

    /// Writes one bulk string.
    #[inline]
    pub fn string(&mut self, bytes: &[u8]) {
        let len = bytes.len();
        let place = self.place_for(len);
        let header = if let Some(header) = HEADERS.get(len) {
            // SAFETY: the place has room for eight bytes: a frame has more.
            unsafe { place.cast::<[u8; 8]>().write(*header) };
            if len < 10 { 4 } else { 5 }
        } else {
            long_header(place, len)
        };
        // SAFETY: the place has room for header, string and line end; `bytes` lies
        // elsewhere, since the buffer is borrowed mutably.
        unsafe {
            let text = place.add(header);
            copy_short(bytes, text);
            text.add(len).cast::<[u8; 2]>().write(*b"\r\n");
        }
        self.at += header + len + 2;
    }

    /// Writes an integer as a bulk string.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.string(itoa::Buffer::new().format(value).as_bytes());
    }
}

impl Drop for BulkWriter<'_> {
    fn drop(&mut self) {
        // SAFETY: everything below `at` has been written, and `at` is at most the capacity.
        unsafe { self.buffer.set_len(self.at) };
    }
}

/// Writes the header of a string of `len` bytes to a place with room for it; gives its length.
fn long_header(place: *mut u8, len: usize) -> usize {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(len).as_bytes();
    // SAFETY: `place_for` made room for the sign, 20 digits and the line end.
    unsafe {
        place.write(b'$');
        ptr::copy_nonoverlapping(digits.as_ptr(), place.add(1), digits.len());
        place.add(1 + digits.len()).cast::<[u8; 2]>().write(*b"\r\n");
    }
    digits.len() + 3
}

/// Copies `bytes` to `to`; strings up to 32 bytes in two overlapping words, not by a call.
///
/// # Safety
/// `to` has room for the bytes, which lie elsewhere.
#[inline]
unsafe fn copy_short(bytes: &[u8], to: *mut u8) {
    let (from, len) = (bytes.as_ptr(), bytes.len());
    // SAFETY: each pair of words covers exactly `len` bytes, from the start and to the end.
    unsafe {
        match len {
            0 => {}
            1..=3 => {
                // First, middle and last byte: all there are.
                to.write(*from);
                to.add(len / 2).write(*from.add(len / 2));
                to.add(len - 1).write(*from.add(len - 1));
            }
            4..=7 => copy_ends::<4>(from, to, len),
            8..=15 => copy_ends::<8>(from, to, len),
            16..=32 => copy_ends::<16>(from, to, len),
            _ => ptr::copy_nonoverlapping(from, to, len),
        }
    }
}

/// Copies the first and the last `N` bytes of `len`.
///
/// # Safety
/// `len` is from `N` to `2 * N`; both sides have that many bytes and do not overlap.
#[inline]
unsafe fn copy_ends<const N: usize>(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: `len` is at least `N`.
    unsafe {
        let first = from.cast::<[u8; N]>().read();
        let last = from.add(len - N).cast::<[u8; N]>().read();
        to.cast::<[u8; N]>().write(first);
        to.add(len - N).cast::<[u8; N]>().write(last);
    }
}

#[cfg(test)]
mod tests {
    use super::BulkWriter;
    use crate::resp::{Protocol, Reply};
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn agrees_with_bulk(
            items in vec((any::<bool>(), any::<i64>(), 0usize..300), 0..60),
            before in 0usize..40,
            reserved in 0usize..3000,
        ) {
            let (mut plain, mut quick) = (Reply::new(Protocol::Resp2), Reply::new(Protocol::Resp2));
            for reply in [&mut plain, &mut quick] {
                reply.raw(&vec![b'x'; before]);
            }
            let mut writer = BulkWriter::new(&mut quick, reserved);
            for (integer, value, len) in items {
                if integer {
                    plain.bulk_integer(value);
                    writer.integer(value);
                } else {
                    let text: Vec<u8> = (0..len).map(|at| (at as i64 ^ value) as u8).collect();
                    plain.bulk(&text);
                    writer.string(&text);
                }
            }
            drop(writer);
            prop_assert_eq!(plain.buffer, quick.buffer);
        }
    }

    #[test]
    fn every_short_length() {
        for len in 0..=120 {
            let text: Vec<u8> = (0..len).collect();
            let (mut plain, mut quick) = (Reply::default(), Reply::default());
            plain.bulk(&text);
            BulkWriter::new(&mut quick, 0).string(&text);
            assert_eq!(plain.buffer, quick.buffer, "{len} bytes");
        }
    }
}
