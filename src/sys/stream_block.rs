//! Blocks of memory for the replication stream: one mapping each, outside of every heap.
//!
//! The stream changes all the time and no child needs it, so its pages are kept out of children
//! (`MADV_DONTFORK`): a write to it after a fork copies nothing. A block has a fixed size and is only
//! appended to; what stands in it never moves.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of all blocks that are mapped now.
static MAPPED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes of all blocks of this process: they are in no allocator's count.
pub fn mapped_bytes() -> usize {
    MAPPED_BYTES.load(Ordering::Relaxed)
}

/// A block: `len` bytes of it are written, the rest is room.
#[derive(Debug)]
pub struct StreamBlock {
    start: NonNull<u8>,
    capacity: usize,
    len: usize,
}

// SAFETY: the block owns its mapping alone; nothing in it depends on the thread.
unsafe impl Send for StreamBlock {}

impl StreamBlock {
    /// Maps an empty block of `capacity` bytes (whole pages).
    ///
    /// # Errors
    /// The system has no memory or no mappings left.
    pub fn new(capacity: usize) -> io::Result<Self> {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other memory.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                capacity,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(mapped.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the range is the mapping just made. A kernel that refuses the advice only makes forks
        // copy these pages.
        let _ = unsafe { libc::madvise(mapped, capacity, libc::MADV_DONTFORK) };
        MAPPED_BYTES.fetch_add(capacity, Ordering::Relaxed);
        Ok(StreamBlock { start, capacity, len: 0 })
    }

    /// What was appended.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the first `len` bytes of the mapping are written and live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// Bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Appends as much of `bytes` as fits; returns how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.capacity - self.len);
        // SAFETY: `count` bytes of room follow the first `len`, and `bytes` is other memory, since
        // the room is reachable through `self` alone, which is borrowed mutably.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(self.len), count);
        }
        self.len += count;
        count
    }

    /// Empties the block for its next use.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl Drop for StreamBlock {
    fn drop(&mut self) {
        MAPPED_BYTES.fetch_sub(self.capacity, Ordering::Relaxed);
        // SAFETY: the mapping is whole and ours, and no borrow of it outlives `self`.
        let _ = unsafe { libc::munmap(self.start.as_ptr().cast(), self.capacity) };
    }
}

#[cfg(test)]
mod tests {
    use super::StreamBlock;

    #[test]
    fn a_block_takes_what_fits() {
        let mut block = StreamBlock::new(4096).expect("a page can be mapped");
        assert_eq!(block.append(b"abc"), 3);
        assert_eq!(block.append(&[7; 5000]), 4093);
        assert_eq!(block.append(b"x"), 0);
        assert_eq!((&block.bytes()[..4], block.bytes().len()), (&b"abc\x07"[..], 4096));
        block.clear();
        assert!(block.bytes().is_empty());
    }
}
