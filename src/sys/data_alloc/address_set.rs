//! Sets of small integers (slab units, blocks) that answer "the lowest member" in four
//! loads. Owns the "which slabs have room" and "which blocks have room" indexes.
//!
//! ```text
//! level 3        1 word per set     bit i: word i of level 2 is not zero
//! level 2       64 words per set    ...
//! level 1     4096 words per set
//! level 0   262144 words per set    bit i: member
//! word w of set s lies at w * sets + s
//! ```
//!
//! Trade-off: allocation from the lowest slab with room lets high blocks empty out, which
//! lists by recency do not. Words of all sets interleave, so a small heap touches a few
//! pages, not three a set: 254 slab sets cost 0.05 % of the data they index.

use std::io;

use super::region::MetaArray;

const LEVELS: usize = 4;
const WORD_BITS: usize = 64;

/// Largest universe: 64^4 members.
pub const MAX_UNIVERSE: usize = WORD_BITS.pow(LEVELS as u32);

/// A family of sets over the same universe `0..universe`.
pub struct SetFamily {
    sets: usize,
    levels: [MetaArray<u64>; LEVELS],
}

impl SetFamily {
    /// A family without sets.
    pub const fn empty() -> Self {
        SetFamily { sets: 0, levels: [const { MetaArray::empty() }; LEVELS] }
    }

    /// Reserves `sets` empty sets; members must stay below `grow_to`'s limit.
    ///
    /// # Errors
    /// The kernel's refusal of memory.
    pub fn reserve(sets: usize, universe: usize) -> io::Result<Self> {
        assert!(universe <= MAX_UNIVERSE, "universe above four levels");
        let mut family = SetFamily { sets, ..SetFamily::empty() };
        let mut members = universe;
        for (level, array) in family.levels.iter_mut().enumerate() {
            let words = members.div_ceil(WORD_BITS);
            *array = MetaArray::reserve(words * sets)?;
            if level > 0 {
                array.grow_to(words * sets)?;
            }
            members = words;
        }
        Ok(family)
    }

    /// Allows members below `universe`.
    ///
    /// # Errors
    /// The kernel's refusal of memory.
    pub fn grow_to(&mut self, universe: usize) -> io::Result<()> {
        self.levels[0].grow_to(universe.div_ceil(WORD_BITS) * self.sets)
    }

    /// Adds `member` to `set`. Four stores at worst.
    pub fn insert(&mut self, set: usize, member: usize) {
        let mut index = member;
        for level in &mut self.levels {
            let word = level.at_mut(index / WORD_BITS * self.sets + set);
            let before = *word;
            *word |= 1 << (index % WORD_BITS);
            if before != 0 {
                return;
            }
            index /= WORD_BITS;
        }
    }

    /// Takes `member` out of `set`. Four stores at worst.
    pub fn remove(&mut self, set: usize, member: usize) {
        let mut index = member;
        for level in &mut self.levels {
            let word = level.at_mut(index / WORD_BITS * self.sets + set);
            *word &= !(1 << (index % WORD_BITS));
            if *word != 0 {
                return;
            }
            index /= WORD_BITS;
        }
    }

    /// True if `member` is in `set`.
    pub fn contains(&self, set: usize, member: usize) -> bool {
        self.word(0, member / WORD_BITS, set) >> (member % WORD_BITS) & 1 == 1
    }

    /// Lowest member of `set`.
    pub fn lowest(&self, set: usize) -> Option<usize> {
        self.lowest_from(set, 0)
    }

    /// Lowest member of `set` that is not below `start`.
    pub fn lowest_from(&self, set: usize, start: usize) -> Option<usize> {
        let mut index = start;
        let mut level = 0;
        loop {
            if level == LEVELS {
                return None;
            }
            let word = index / WORD_BITS;
            let bits = self.word(level, word, set) & (u64::MAX << (index % WORD_BITS));
            if bits != 0 {
                index = word * WORD_BITS + bits.trailing_zeros() as usize;
                break;
            }
            level += 1;
            index = word + 1;
        }
        while level > 0 {
            level -= 1;
            index = index * WORD_BITS + self.word(level, index, set).trailing_zeros() as usize;
        }
        Some(index)
    }

    /// Word `word` of `set`; zero beyond what is committed, where no member can be.
    fn word(&self, level: usize, word: usize, set: usize) -> u64 {
        let index = word * self.sets + set;
        let array = &self.levels[level];
        if index < array.len() { *array.at(index) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{any, prop, proptest};

    use super::SetFamily;

    const UNIVERSE: usize = 300_000;

    proptest! {
        #[test]
        fn agrees_with_a_tree_set(
            steps in prop::collection::vec((any::<bool>(), 0..2usize, 0..UNIVERSE), 1..200),
        ) {
            let mut family = SetFamily::reserve(2, UNIVERSE).expect("address space for a test");
            family.grow_to(UNIVERSE).expect("memory for a test");
            let mut model = [BTreeSet::new(), BTreeSet::new()];
            for (add, set, member) in steps {
                if add {
                    family.insert(set, member);
                    model[set].insert(member);
                } else {
                    let victim = model[set].range(member..).next().copied();
                    assert_eq!(family.lowest_from(set, member), victim);
                    if let Some(victim) = victim {
                        family.remove(set, victim);
                        model[set].remove(&victim);
                    }
                }
                assert_eq!(family.lowest(set), model[set].first().copied());
                assert_eq!(family.contains(set, member), model[set].contains(&member));
            }
        }
    }
}
