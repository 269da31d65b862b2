//! Changes, and the conversions that they bring about.

use super::packed::{self, Packed};
use super::{BATCH_FIELDS, FieldExpiry, HashField, HashRef, HashValue, is_past, look_ahead};
use crate::base::hash::HashSeed;
use crate::ds::element::Element;
use crate::ds::field_table::FieldTable;
use crate::ds::listpack::Listpack;
use crate::sys::data_alloc::DataBox;
use crate::value::limits::PackedLimits;

/// A listpack that reaches this size becomes a table, whatever the limits say (as in Redis), bytes.
const PACKED_MAX_BYTES: usize = 1 << 30;

/// What [`HashValue::set`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOutcome {
    Added,
    Replaced,
}

impl HashValue {
    /// Makes the conversion that writing these arguments would lead to, once and in advance:
    /// `fields` new fields at most, the longest argument, the sum of all.
    pub fn prepare<'n>(
        &mut self,
        fields: usize,
        args: impl Iterator<Item = &'n [u8]>,
        limits: PackedLimits,
        seed: HashSeed,
    ) {
        let (HashValue::Packed(listpack) | HashValue::PackedExpiry(listpack)) = self else {
            return;
        };
        let mut sum = listpack.byte_len();
        let mut too_long = fields > limits.entries;
        for argument in args {
            too_long |= argument.len() > limits.value_bytes;
            sum = sum.saturating_add(argument.len());
        }
        if too_long || sum > PACKED_MAX_BYTES {
            self.make_big(seed, fields);
        }
    }

    /// Adds or overwrites a field. `name` and `value` are not of this hash.
    #[inline]
    pub fn set(
        &mut self,
        name: &[u8],
        value: &[u8],
        expiry: FieldExpiry,
        limits: PackedLimits,
        seed: HashSeed,
    ) -> SetOutcome {
        if let HashValue::Big(table) = self {
            return outcome(table.set(name, value, expiry));
        }
        if name.len() > limits.value_bytes || value.len() > limits.value_bytes {
            return self.set_big(name, value, expiry, seed);
        }
        self.set_packed(name, value, expiry, limits, seed)
    }

    fn set_big(&mut self, name: &[u8], value: &[u8], expiry: FieldExpiry, seed: HashSeed) -> SetOutcome {
        outcome(self.make_big(seed, 0).set(name, value, expiry))
    }

    fn set_packed(
        &mut self,
        name: &[u8],
        value: &[u8],
        expiry: FieldExpiry,
        limits: PackedLimits,
        seed: HashSeed,
    ) -> SetOutcome {
        if let FieldExpiry::At(_) = expiry {
            self.make_room_for_expiry();
        }
        let (listpack, with_expiry) = match self {
            HashValue::Packed(listpack) => (listpack, false),
            HashValue::PackedExpiry(listpack) => (listpack, true),
            HashValue::Big(table) => return outcome(table.set(name, value, expiry)),
        };
        let packed = Packed::new(listpack.view(), with_expiry);
        let found = packed.find(name);
        let written = match found {
            Some(position) => {
                let change = with_expiry.then(|| {
                    let before = packed.field_at(position).and_then(|field| field.expiry_ms);
                    (before, expiry.after(before))
                });
                packed::replace(listpack, position, Element::Bytes(value), change)
            }
            None => {
                let expiry_ms = expiry.after(None);
                let field = HashField { name: Element::Bytes(name), value: Element::Bytes(value), expiry_ms };
                packed::append(listpack, with_expiry, field)
            }
        };
        if written.is_err() {
            return self.set_big(name, value, expiry, seed);
        }
        // After a replacement too: the limit may have been lowered meanwhile.
        if self.as_ref().len() > limits.entries {
            self.make_big(seed, 0);
        }
        if found.is_some() { SetOutcome::Replaced } else { SetOutcome::Added }
    }

    /// Adds or overwrites fields, given as names and values in turn; returns how many were added.
    /// In a big hash the cache misses of [`BATCH_FIELDS`] fields overlap.
    pub fn set_many<'n>(
        &mut self,
        pairs: impl Iterator<Item = (&'n [u8], &'n [u8])> + Clone,
        expiry: FieldExpiry,
        limits: PackedLimits,
        seed: HashSeed,
    ) -> usize {
        let mut added = 0;
        let mut rest = pairs;
        loop {
            let HashValue::Big(table) = self else {
                let Some((name, value)) = rest.next() else { return added };
                let outcome = self.set(name, value, expiry, limits, seed);
                added += usize::from(outcome == SetOutcome::Added);
                continue;
            };
            let batch = rest.clone().take(BATCH_FIELDS);
            let (hashes, count) = look_ahead(table, batch.clone().map(|(name, _)| name));
            for ((name, value), hash) in batch.zip(hashes) {
                added += usize::from(table.set_hashed(hash, name, value, expiry));
            }
            if count < BATCH_FIELDS {
                return added;
            }
            rest.nth(BATCH_FIELDS - 1);
        }
    }

    /// Removes a field; false: there is none.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let (listpack, with_expiry) = match self {
            HashValue::Packed(listpack) => (listpack, false),
            HashValue::PackedExpiry(listpack) => (listpack, true),
            HashValue::Big(table) => return table.remove(name),
        };
        let found = Packed::new(listpack.view(), with_expiry).find(name);
        found.map(|position| packed::remove(listpack, position, with_expiry)).is_some()
    }

    /// Sets or drops the expiry of a field. Returns the old one; `None`: there is no such field.
    pub fn set_expiry(&mut self, name: &[u8], expiry_ms: Option<i64>) -> Option<Option<i64>> {
        let before = match self {
            HashValue::Big(table) => return table.set_expiry(name, expiry_ms),
            _ => self.as_ref().find(name)?.expiry_ms,
        };
        if expiry_ms.is_some() {
            self.make_room_for_expiry();
        }
        if before != expiry_ms
            && let HashValue::PackedExpiry(listpack) = self
            && let Some(position) = Packed::new(listpack.view(), true).find(name)
        {
            // A listpack too large for nine bytes more keeps the old time; it is far above the
            // size at which hashes become tables.
            packed::replace_expiry(listpack, position, expiry_ms).ok()?;
        }
        Some(before)
    }

    /// Removes up to `max` fields whose time has passed and calls `visit` with the name of each.
    /// Returns how many there were: fewer than `max` mean that none is left.
    pub fn take_due(&mut self, now_ms: i64, max: usize, mut visit: impl FnMut(&[u8])) -> usize {
        let listpack = match self {
            HashValue::Packed(_) => return 0,
            HashValue::PackedExpiry(listpack) => listpack,
            HashValue::Big(table) => return table.take_due(now_ms, max, visit),
        };
        let mut taken = 0;
        let mut next = listpack.view().first();
        while let Some(position) = next.filter(|_| taken < max) {
            let packed = Packed::new(listpack.view(), true);
            let Some((field, following)) = packed.step(position) else { break };
            if !is_past(field.expiry_ms, now_ms) {
                next = following;
                continue;
            }
            visit(&field.name.to_vec());
            taken += 1;
            next = packed::remove(listpack, position, true);
        }
        taken
    }

    /// Makes the hash a table, with room for `fields` more, and gives it.
    fn make_big(&mut self, seed: HashSeed, fields: usize) -> &mut FieldTable {
        if !matches!(self, HashValue::Big(_)) {
            let mut table = FieldTable::new(seed);
            table.reserve(self.as_ref().len() + fields);
            let mut digits = [itoa::Buffer::new(), itoa::Buffer::new()];
            let [name_digits, value_digits] = &mut digits;
            for field in self.as_ref().fields() {
                let expiry = field.expiry_ms.map_or(FieldExpiry::Clear, FieldExpiry::At);
                table.set(text(field.name, name_digits), text(field.value, value_digits), expiry);
            }
            *self = HashValue::Big(DataBox::new(table));
        }
        match self {
            HashValue::Big(table) => table,
            _ => unreachable!("it was just made a table"),
        }
    }

    /// Makes a packed hash one with expiry; others stay as they are.
    fn make_room_for_expiry(&mut self) {
        let HashValue::Packed(listpack) = self else { return };
        let mut triples = Listpack::with_capacity(listpack.byte_len() + 2 * listpack.len());
        for field in HashRef::Packed(listpack.view()).fields() {
            if packed::append(&mut triples, true, field).is_err() {
                // Two bytes more a field do not fit 4 GiB; hashes are tables long before.
                return;
            }
        }
        *self = HashValue::PackedExpiry(triples);
    }

    /// Makes the hash a table when it has more fields than a listpack may (after a load).
    /// False: it held a field twice.
    pub fn fit(&mut self, limits: PackedLimits, seed: HashSeed) -> bool {
        let len = self.as_ref().len();
        if len > limits.entries {
            self.make_big(seed, 0);
        }
        self.as_ref().len() == len
    }

    /// A hash over a listpack of fields and values, with an expiry each when `with_expiry`.
    pub fn from_listpack(listpack: Listpack, with_expiry: bool) -> Self {
        if with_expiry { HashValue::PackedExpiry(listpack) } else { HashValue::Packed(listpack) }
    }

    /// A big hash with room for `fields`.
    pub fn big(seed: HashSeed, fields: usize) -> Self {
        let mut table = FieldTable::new(seed);
        table.reserve(fields);
        HashValue::Big(DataBox::new(table))
    }

    /// Checks what must always hold.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check_invariants(&self) {
        match self {
            HashValue::Packed(listpack) => {
                listpack.check_invariants().expect("a hash's listpack is valid");
                assert!(listpack.len().is_multiple_of(2), "pairs");
            }
            HashValue::PackedExpiry(listpack) => {
                listpack.check_invariants().expect("a hash's listpack is valid");
                assert!(listpack.len().is_multiple_of(3), "triples");
            }
            HashValue::Big(table) => table.check_invariants(),
        }
    }
}

#[inline]
fn outcome(added: bool) -> SetOutcome {
    if added { SetOutcome::Added } else { SetOutcome::Replaced }
}

/// The element as a client sees it; an integer's digits are written into `digits`.
fn text<'b>(element: Element<'b>, digits: &'b mut itoa::Buffer) -> &'b [u8] {
    match element {
        Element::Int(value) => digits.format(value).as_bytes(),
        Element::Bytes(bytes) => bytes,
    }
}
