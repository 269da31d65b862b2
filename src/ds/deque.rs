//! A double-ended queue of owned values in the data region: the node order of long lists.
//!
//! ```text
//!   [ ptr | head | len | capacity ] ->  [ 4th | 5th | free ... | 1st | 2nd | 3rd ]
//!                                                              head
//! ```
//!
//! Trade-off: `DataVec` holds plain values and moves all of them for one at its front. Here both
//! ends are O(1), an edit in the middle moves the shorter side, and the values are dropped with
//! the queue; an access costs one comparison more for the wrap.
//!
//! Invariants: `head < capacity` (or both 0), `len <= capacity`; exactly the `len` slots from
//! `head` on, around the end, hold values.
#![allow(unsafe_code)]

use crate::sys::data_alloc::{ALIGN_BYTES, Kind, Mover, Relocate, alloc, free, usable_size};
use std::fmt;
use std::ops::Range;
use std::ptr::{self, NonNull};

/// Values there is room for at first.
const MIN_CAPACITY: usize = 4;

/// A queue that owns its values.
pub struct DataDeque<T> {
    ptr: NonNull<T>,
    head: u32,
    len: u32,
    capacity: u32,
}

// SAFETY: it owns its values alone, so it may go where they may.
unsafe impl<T: Send> Send for DataDeque<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for DataDeque<T> {}

impl<T> Relocate for DataDeque<T> {
    /// Moves the slots, not what the values own.
    fn relocate(&mut self, mover: &mut Mover) {
        if self.capacity == 0 {
            return;
        }
        let bytes = self.capacity as usize * size_of::<T>();
        // SAFETY: our own block, allocated with this size, and we are borrowed mutably.
        if let Some(moved) = unsafe { mover.relocate(self.ptr.cast(), bytes) } {
            self.ptr = moved.cast();
        }
    }
}

impl<T> DataDeque<T> {
    const FITS: () = assert!(
        align_of::<T>() <= ALIGN_BYTES && size_of::<T>() > 0,
        "the data region aligns to 8 bytes and stores no empty types"
    );

    /// An empty queue without memory.
    pub const fn new() -> Self {
        const { Self::FITS };
        DataDeque { ptr: NonNull::dangling(), head: 0, len: 0, capacity: 0 }
    }

    /// Number of values.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the data region that the slots occupy.
    pub fn memory_bytes(&self) -> usize {
        if self.capacity == 0 { 0 } else { usable_size(self.capacity as usize * size_of::<T>()) }
    }

    /// The slot number of the value at `at`, which is at most the length.
    #[inline]
    fn slot(&self, at: usize) -> usize {
        let slot = self.head as usize + at;
        if slot >= self.capacity as usize { slot - self.capacity as usize } else { slot }
    }

    /// Where the value at `at` lies or would lie; `at` is at most the length and below the capacity.
    #[inline]
    fn place(&self, at: usize) -> *mut T {
        debug_assert!(at <= self.len() && at < self.capacity as usize);
        // SAFETY: `slot` stays below the capacity.
        unsafe { self.ptr.as_ptr().add(self.slot(at)) }
    }

    /// The value at `at`.
    #[inline]
    pub fn get(&self, at: usize) -> Option<&T> {
        // SAFETY: the first `len` places hold values.
        (at < self.len()).then(|| unsafe { &*self.place(at) })
    }

    /// The value at `at`, to be changed.
    #[inline]
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        // SAFETY: the first `len` places hold values, and we are borrowed mutably.
        (at < self.len()).then(|| unsafe { &mut *self.place(at) })
    }

    /// The last value.
    pub fn back(&self) -> Option<&T> {
        self.get(self.len().checked_sub(1)?)
    }

    /// The values in order, from either end.
    pub fn iter(&self) -> Iter<'_, T> {
        self.range(0..self.len())
    }

    /// The values of a range, cut to what there is.
    pub fn range(&self, range: Range<usize>) -> Iter<'_, T> {
        let end = range.end.min(self.len());
        Iter { queue: self, front: range.start.min(end), back: end }
    }

    /// Appends a value; O(1), amortised.
    pub fn push_back(&mut self, value: T) {
        self.insert(self.len(), value);
    }

    /// Inserts before the value at `at`, or at the end when there is none. O(the shorter side).
    pub fn insert(&mut self, at: usize, value: T) {
        let at = at.min(self.len());
        if self.len == self.capacity {
            self.set_capacity((self.len() * 2).max(MIN_CAPACITY));
        }
        let len = self.len();
        if at < len / 2 {
            self.head = if self.head == 0 { self.capacity - 1 } else { self.head - 1 };
            (0..at).for_each(|to| self.move_value(to + 1, to));
        } else {
            (at..len).rev().for_each(|from| self.move_value(from, from + 1));
        }
        self.len += 1;
        // SAFETY: the place was moved out of above, or was free; there is room for one more.
        unsafe { self.place(at).write(value) };
    }

    /// Takes the value at `at` out. O(the shorter side).
    pub fn remove(&mut self, at: usize) -> Option<T> {
        if at >= self.len() {
            return None;
        }
        // SAFETY: the place holds a value, which nobody reads again.
        let value = unsafe { self.place(at).read() };
        let len = self.len();
        if at < len / 2 {
            (0..at).rev().for_each(|from| self.move_value(from, from + 1));
            self.head = self.slot(1) as u32;
        } else {
            (at + 1..len).for_each(|from| self.move_value(from, from - 1));
        }
        self.len -= 1;
        if self.len() * 4 <= self.capacity as usize && self.capacity as usize > MIN_CAPACITY {
            self.set_capacity((self.len() * 2).max(MIN_CAPACITY));
        }
        Some(value)
    }

    /// Moves the values from `at` on into a queue of their own. O(their number).
    pub fn split_off(&mut self, at: usize) -> Self {
        let mut tail = DataDeque::new();
        let at = at.min(self.len());
        if at < self.len() {
            tail.set_capacity(self.len() - at);
        }
        for from in at..self.len() {
            // SAFETY: each value is read once, and the length is cut below.
            tail.push_back(unsafe { self.place(from).read() });
        }
        self.len = at as u32;
        tail
    }

    /// Moves all values of `other` behind ours. O(their number).
    pub fn append(&mut self, mut other: Self) {
        for from in 0..other.len() {
            // SAFETY: each value is read once, and the length is cut below.
            self.push_back(unsafe { other.place(from).read() });
        }
        other.len = 0;
    }

    /// Moves a value to a place that holds none, both at most the length.
    fn move_value(&mut self, from: usize, to: usize) {
        let (from, to) = (self.slot(from), self.slot(to));
        let block = self.ptr.as_ptr();
        // SAFETY: both slots are below the capacity; the value moved is not used where it was.
        unsafe { ptr::copy_nonoverlapping(block.add(from), block.add(to), 1) };
    }

    /// Moves to a block of `capacity` slots, at least the length and at least one.
    fn set_capacity(&mut self, capacity: usize) {
        assert!(capacity >= self.len() && capacity <= u32::MAX as usize, "a queue of at most 2^32 values");
        let block = alloc(Kind::Value, capacity * size_of::<T>()).cast::<T>();
        for (to, value) in self.iter().enumerate() {
            // SAFETY: `to` is below the length, so below the new capacity; the old block is freed
            // without dropping what was copied out of it.
            unsafe { ptr::copy_nonoverlapping(value, block.as_ptr().add(to), 1) };
        }
        self.free_block();
        self.ptr = block;
        (self.head, self.capacity) = (0, capacity as u32);
    }

    fn free_block(&mut self) {
        if self.capacity > 0 {
            // SAFETY: our own block, allocated with this size; the caller sets another or is done.
            unsafe { free(self.ptr.cast(), self.capacity as usize * size_of::<T>()) };
        }
    }
}

/// The values of a range in order, from either end.
#[derive(Clone)]
pub struct Iter<'a, T> {
    queue: &'a DataDeque<T>,
    front: usize,
    back: usize,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        if self.front >= self.back {
            return None;
        }
        self.front += 1;
        self.queue.get(self.front - 1)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.back - self.front;
        (left, Some(left))
    }
}

impl<T> DoubleEndedIterator for Iter<'_, T> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back -= 1;
        self.queue.get(self.back)
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}

impl<T> Drop for DataDeque<T> {
    fn drop(&mut self) {
        for at in 0..self.len() {
            // SAFETY: each value is dropped once, and the queue is not used afterwards.
            unsafe { self.place(at).drop_in_place() };
        }
        self.free_block();
    }
}

impl<T> Default for DataDeque<T> {
    fn default() -> Self {
        DataDeque::new()
    }
}

impl<T: Clone> Clone for DataDeque<T> {
    fn clone(&self) -> Self {
        let mut copy = DataDeque::new();
        if !self.is_empty() {
            copy.set_capacity(self.len());
        }
        self.iter().for_each(|value| copy.push_back(value.clone()));
        copy
    }
}

impl<T: fmt::Debug> fmt::Debug for DataDeque<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::DataDeque;
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
    use std::rc::Rc;

    /// Counts its copies, so that a value dropped twice or never is seen.
    type Counted = (usize, Rc<()>);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn agrees_with_a_vector(edits in vec((0u8..10, any::<u16>()), 0..200)) {
            let alive = Rc::new(());
            let mut queue: DataDeque<Counted> = DataDeque::new();
            let mut model: Vec<usize> = Vec::new();
            for (id, (edit, at)) in edits.into_iter().enumerate() {
                let at = usize::from(at) % (model.len() + 1);
                match edit {
                    0..=2 => {
                        queue.push_back((id, alive.clone()));
                        model.push(id);
                    }
                    3..=5 => {
                        queue.insert(at, (id, alive.clone()));
                        model.insert(at, id);
                    }
                    6 | 7 => {
                        let expected = (at < model.len()).then(|| model.remove(at));
                        prop_assert_eq!(queue.remove(at).map(|value| value.0), expected);
                    }
                    8 => {
                        let tail = queue.split_off(at);
                        prop_assert_eq!(tail.len(), model.len() - at);
                        let mut front = std::mem::replace(&mut queue, tail);
                        front.append(std::mem::take(&mut queue));
                        queue = front;
                    }
                    _ => queue = queue.clone(),
                }
                prop_assert_eq!(queue.iter().map(|value| value.0).collect::<Vec<_>>(), model.clone());
                prop_assert!(queue.iter().rev().map(|value| value.0).eq(model.iter().rev().copied()));
                prop_assert_eq!(queue.get(at).map(|value| value.0), model.get(at).copied());
                prop_assert_eq!(queue.back().map(|value| value.0), model.last().copied());
                prop_assert_eq!(Rc::strong_count(&alive), model.len() + 1);
            }
            drop(queue);
            prop_assert_eq!(Rc::strong_count(&alive), 1);
        }
    }
}
