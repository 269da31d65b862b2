//! Members looked up together, so that their cache misses overlap.
//!
//! ```text
//!   up to 32 members: hash all -> load their buckets -> load what is in them -> compare
//! ```
//! Only big sets are looked ahead into; a small set is one block that is hot after the first
//! member. The hash of a member is computed once for all sets with the same seed.

use super::{SetLimits, SetRef, SetValue, with_text};
use crate::base::hash::HashSeed;
use crate::ds::element::Element;
use crate::ds::member_table::MemberTable;

/// Members looked up together: enough to keep a core's 10 to 16 line-fill buffers busy, few
/// enough that what was loaded is still in the first-level cache at its turn.
const BATCH_MEMBERS: usize = 32;

/// Some members on their way through one or more sets.
pub(super) struct Batch<'a> {
    members: [Element<'a>; BATCH_MEMBERS],
    hashes: [u64; BATCH_MEMBERS],
    len: usize,
    /// What the hashes were made with; `None` while there are none.
    seed: Option<HashSeed>,
}

impl<'a> Batch<'a> {
    pub fn new() -> Self {
        Batch { members: [Element::Int(0); BATCH_MEMBERS], hashes: [0; BATCH_MEMBERS], len: 0, seed: None }
    }

    /// Takes the next members in place of those it had; false when there are none left.
    pub fn refill(&mut self, source: &mut impl Iterator<Item = Element<'a>>) -> bool {
        self.len = 0;
        self.seed = None;
        for (place, member) in self.members.iter_mut().zip(source) {
            *place = member;
            self.len += 1;
        }
        self.len > 0
    }

    /// The members still in the batch.
    pub fn members(&self) -> &[Element<'a>] {
        &self.members[..self.len]
    }

    /// Hashes the members and starts loading what their look-ups in `table` read.
    fn look_ahead(&mut self, table: &MemberTable) {
        if self.seed != Some(table.seed()) {
            for (hash, member) in self.hashes.iter_mut().zip(&self.members[..self.len]) {
                *hash = with_text(*member, |text| table.hash(text));
            }
            self.seed = Some(table.seed());
        }
        let hashes = &self.hashes[..self.len];
        hashes.iter().for_each(|hash| table.prefetch_bucket(*hash));
        hashes.iter().for_each(|hash| table.prefetch_members(*hash));
    }

    /// Looks every member up in `set`; `visit` gets its place in the batch and the answer.
    pub fn look_up(&mut self, set: SetRef<'_>, mut visit: impl FnMut(usize, bool)) {
        let SetRef::Big(table) = set else {
            let found = |member: &Element<'_>| set.contains_element(*member);
            return self.members().iter().map(found).enumerate().for_each(|(at, found)| visit(at, found));
        };
        self.look_ahead(table);
        for (at, (member, hash)) in self.members().iter().zip(&self.hashes).enumerate() {
            visit(at, with_text(*member, |text| table.contains_hashed(*hash, text)));
        }
    }

    /// Keeps the members that are in `set` (or not in it, if `wanted` is false), in their order.
    pub fn retain(&mut self, set: SetRef<'_>, wanted: bool) {
        let mut keep = 0u32;
        self.look_up(set, |at, found| keep |= u32::from(found == wanted) << at);
        let mut kept = 0;
        for at in 0..self.len {
            if keep >> at & 1 == 1 {
                self.members[kept] = self.members[at];
                self.hashes[kept] = self.hashes[at];
                kept += 1;
            }
        }
        self.len = kept;
    }

    /// Adds all members to `set`; returns how many were new.
    pub fn add_to(&mut self, set: &mut SetValue, limits: &SetLimits) -> usize {
        let SetValue::Big(table) = set else {
            let members = self.members().iter();
            return members.map(|member| usize::from(set.add_element(*member, limits))).sum();
        };
        self.look_ahead(table);
        let members = self.members().iter().zip(&self.hashes);
        let mut added = 0;
        for (member, hash) in members {
            added += usize::from(with_text(*member, |text| table.insert_hashed(*hash, text)));
        }
        added
    }

    /// Removes all members from `set`, until it is empty; returns how many were there.
    pub fn remove_from(&mut self, set: &mut SetValue) -> usize {
        let mut removed = 0;
        let SetValue::Big(table) = set else {
            for member in self.members() {
                removed += usize::from(with_text(*member, |text| set.remove(text)));
            }
            return removed;
        };
        self.look_ahead(table);
        for (member, hash) in self.members().iter().zip(&self.hashes) {
            removed += usize::from(with_text(*member, |text| table.remove_hashed(*hash, text)));
        }
        removed
    }
}

const _: () = assert!(BATCH_MEMBERS <= u32::BITS as usize, "`retain` keeps a bit a member");

impl SetRef<'_> {
    /// Looks many members up, loading ahead; `visit` gets the answers in order.
    pub fn contains_each<'m>(&self, members: impl Iterator<Item = &'m [u8]>, mut visit: impl FnMut(bool)) {
        let mut batch = Batch::new();
        let mut elements = members.map(Element::Bytes);
        while batch.refill(&mut elements) {
            batch.look_up(*self, |_, found| visit(found));
        }
    }
}
