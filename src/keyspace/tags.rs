//! Table tags: one byte in every entry that names the table it belongs to.
//!
//! The snapshot child walks the data region in address order and must know for each live entry
//! whether, and to which database, it belongs. A tag stays taken until the last entry of its
//! table is freed, which may be long after FLUSHALL ASYNC: entries with such a tag are skipped.
//! With more tables than tags, further tables share [`SHARED`] and the child walks tables instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The tag of tables that found no tag of their own.
pub const SHARED: u8 = 255;

/// Which tags are taken.
#[derive(Clone)]
pub struct TagPool {
    taken: Arc<[AtomicBool]>,
}

impl Default for TagPool {
    fn default() -> Self {
        TagPool { taken: (0..SHARED).map(|_| AtomicBool::new(false)).collect() }
    }
}

impl TagPool {
    /// A tag that no living table has, or [`SHARED`].
    pub fn take(&self) -> TableTag {
        let free = self.taken.iter().position(|taken| !taken.swap(true, Ordering::AcqRel));
        TableTag { number: free.map_or(SHARED, |number| number as u8), pool: self.clone() }
    }
}

/// A tag, given back when its table has been freed.
pub struct TableTag {
    number: u8,
    pool: TagPool,
}

impl TableTag {
    pub fn number(&self) -> u8 {
        self.number
    }
}

impl Drop for TableTag {
    fn drop(&mut self) {
        if let Some(taken) = self.pool.taken.get(self.number as usize) {
            taken.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SHARED, TagPool};

    #[test]
    fn tags_are_unique_until_given_back() {
        let pool = TagPool::default();
        let mut tags: Vec<_> = (0..300).map(|_| pool.take()).collect();
        assert_eq!(tags[254].number(), 254);
        assert!(tags[255..].iter().all(|tag| tag.number() == SHARED));
        tags.remove(7);
        assert_eq!(pool.take().number(), 7);
    }
}
