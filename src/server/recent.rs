//! A list of the latest entries, newest first, each with a number: the form of the command logs and of
//! the ACL log. Owns the numbers, which go on when the list is emptied.

use std::collections::VecDeque;

/// See the module header.
#[derive(Debug)]
pub struct Recent<T> {
    entries: VecDeque<T>,
    next_id: u64,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Recent { entries: VecDeque::new(), next_id: 0 }
    }
}

impl<T> Recent<T> {
    /// Newest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets all entries; numbers go on.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds the entry that `make` gives for its number; beyond `max_len` the oldest go.
    pub(super) fn push(&mut self, max_len: usize, make: impl FnOnce(u64) -> T) {
        self.entries.push_front(make(self.next_id));
        self.next_id += 1;
        self.entries.truncate(max_len);
    }

    /// Takes the first of the `newest` entries that `is_wanted` accepts.
    pub(super) fn take(&mut self, newest: usize, is_wanted: impl Fn(&T) -> bool) -> Option<T> {
        let index = self.entries.iter().take(newest).position(is_wanted)?;
        self.entries.remove(index)
    }

    /// Puts an entry that was taken to the front, with the number that it has.
    pub(super) fn put_back(&mut self, entry: T) {
        self.entries.push_front(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn the_newest_stay_and_numbers_go_on() {
        let mut recent = Recent::default();
        (0..5).for_each(|_| recent.push(3, |id| id));
        assert_eq!(recent.iter().copied().collect::<Vec<u64>>(), [4, 3, 2]);
        assert_eq!(recent.take(2, |id| *id == 2), None, "not among the two newest");
        assert_eq!(recent.take(3, |id| *id == 2), Some(2));
        recent.put_back(2);
        assert_eq!(recent.iter().copied().collect::<Vec<u64>>(), [2, 4, 3]);
        recent.clear();
        recent.push(3, |id| id);
        assert_eq!((recent.len(), recent.iter().next()), (1, Some(&5)));
        recent.push(0, |id| id);
        assert!(recent.is_empty());
    }
}
