//! Defragmentation: moving the table's blocks, and what its handles stand for, one bucket a step.
//!
//! ```text
//!  position ─► bucket 0 of a segment: directories that begin here, then the segment's block
//!              every bucket: its overflow buckets, then each handle's entry (the caller's)
//! ```
#![allow(unsafe_code)]

use super::bucket::Handle;
use super::node::Directory;
use super::segment::SegmentPtr;
use super::{Resolver, Table};
use crate::sys::data_alloc::Mover;

impl<H: Handle> Table<H> {
    /// Moves what lies in slabs that are to be emptied, of the bucket at `position` in hash order;
    /// `entry` gets each handle and answers with the new one if the entry moved (its hash and
    /// expiry are as before). Returns the next position, 0 at the end.
    pub fn relocate(
        &mut self,
        position: u64,
        mover: &mut Mover,
        resolver: &impl Resolver<H>,
        mut entry: impl FnMut(H, &mut Mover) -> Option<H>,
    ) -> u64 {
        let Some(mut segment) = self.segment(position) else { return 0 };
        let index = segment.index_of(position);
        if index == 0 {
            segment = self.relocate_segment(segment, mover);
        }
        let mut next = Some(segment.bucket(index));
        while let Some(bucket) = next {
            bucket.relocate_next(mover);
            next = bucket.next();
        }
        segment.bucket(index).for_each(|slot| resolver.prefetch(slot.handle()));
        segment.bucket(index).for_each(|slot| {
            if let Some(moved) = entry(slot.handle(), mover) {
                // SAFETY: the slot lies in a live line, under the table's exclusive borrow.
                unsafe { slot.address().write(moved) };
            }
        });
        segment.bucket_start(index + 1)
    }

    /// Moves a segment, and before it each directory of which it is the first segment.
    fn relocate_segment(&mut self, segment: SegmentPtr<H>, mover: &mut Mover) -> SegmentPtr<H> {
        let prefix = segment.header().prefix;
        for level in 0..self.path(prefix).levels {
            let path = self.path(prefix);
            let step = path.steps[level].expect("the path has as many levels as before");
            let is_first = step.rest >> (u64::BITS - step.directory.bits) == 0;
            let moved: Option<Directory> = if is_first { step.directory.relocate(mover) } else { None };
            if let Some(directory) = moved {
                self.set_node(&path, level, directory.node(step.local_depth));
            }
        }
        let Some(moved) = segment.relocate(mover) else { return segment };
        let path = self.path(prefix);
        self.set_node(&path, path.levels, moved.node(path.leaf_depth));
        moved
    }
}
