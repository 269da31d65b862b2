//! One database: a table of entries and the operations on single keys.
//!
//! Every method takes the key's hash with the key, so that a request hashes each key once. A view
//! returned by a look-up is valid until the next call that takes `&mut self`.
//!
//! This file owns the entries: a handle in the table is freed here and nowhere else. It knows
//! nothing of time; expiry is judged by [`crate::keyspace::Keyspace`].
#![allow(unsafe_code)]

use crate::base::hash::HashSeed;
use crate::ds::field_table::{FieldExpiry, FieldTable};
use crate::ds::table::{ResizePolicy, Resolver, Table};
use crate::keyspace::entry::{EntryHandle, EntryView, NewValue};
use crate::keyspace::tags::TableTag;
use crate::sys::data_alloc::{DataBytes, LINE_BYTES, Mover};
use crate::value::string::StrRef;
use crate::value::{Collection, Value, ValueRef};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut, Range};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a write does to a key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryChange {
    Keep,
    Clear,
    /// Absolute Unix time, ms.
    At(i64),
}

/// What a key was before [`Db::set`].
#[derive(Debug, Default)]
pub struct Before {
    pub existed: bool,
    pub expiry_ms: Option<i64>,
    /// What it held out of line.
    pub dropped: Option<Value>,
}

/// Names an entry of one database, as its look-ups give it. Good until an entry of that database
/// is added, moved or removed: the database counts such changes and panics when asked about an
/// older word, so that a word kept too long never reads freed memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryWord {
    word: u64,
    epoch: u64,
}

impl EntryWord {
    /// Starts loading the entry's first two cache lines.
    #[inline]
    pub fn prefetch(self) {
        prefetch_line(self.word);
        prefetch_line(self.word + LINE_BYTES as u64);
    }
}

/// Where the counts of databases begin, so that a word of one is foreign to all others: they are
/// this far apart, and all of them come round again after 2^24 databases.
const EPOCHS_OF_DB: u64 = 1 << 40;

static NEXT_EPOCH: AtomicU64 = AtomicU64::new(0);

/// Answers the table's questions about its handles.
pub struct EntryResolver {
    seed: HashSeed,
    resize: ResizePolicy,
}

impl EntryResolver {
    #[inline(always)]
    pub(super) fn view(&self, word: u64) -> EntryView<'_> {
        // SAFETY: the table holds only words of live entries, and asks only about those it holds.
        unsafe { EntryHandle::from_word(word).view() }
    }
}

impl Resolver<u64> for EntryResolver {
    #[inline(always)]
    fn hash(&self, word: u64) -> u64 {
        self.seed.hash(self.view(word).key())
    }

    #[inline(always)]
    fn expiry_ms(&self, word: u64) -> Option<u64> {
        self.view(word).expiry_ms().map(|expiry| expiry.max(0) as u64)
    }

    #[inline(always)]
    fn prefetch(&self, word: u64) {
        prefetch_line(word);
    }

    #[inline(always)]
    fn resize_policy(&self) -> ResizePolicy {
        self.resize
    }
}

/// Hints that the cache line at `address` will be read.
#[inline]
fn prefetch_line(address: u64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is harmless; SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address as *const i8);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// A database's keys.
pub struct Db {
    table: Table<u64>,
    resolver: EntryResolver,
    tag: TableTag,
    /// Sum over the keys with an expiry of their expiry times, for `avg_ttl`.
    expiry_sum_ms: i128,
    /// Hashes whose fields expire, each with a time not later than its first field's.
    field_due: FieldTable,
    /// Changes after which an address of an entry may be stale.
    epoch: u64,
}

impl Db {
    pub fn new(seed: HashSeed, tag: TableTag, resize: ResizePolicy) -> Self {
        Db {
            table: Table::new(),
            resolver: EntryResolver { seed, resize },
            tag,
            expiry_sum_ms: 0,
            field_due: FieldTable::new(seed),
            epoch: NEXT_EPOCH.fetch_add(EPOCHS_OF_DB, Ordering::Relaxed),
        }
    }

    /// Sets how the table may change its size from now on.
    pub fn set_resize_policy(&mut self, resize: ResizePolicy) {
        self.resolver.resize = resize;
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Keys with an expiry.
    pub fn volatile_len(&self) -> usize {
        self.table.volatile_len()
    }

    /// Average time to live of the keys with an expiry, ms.
    pub fn average_ttl_ms(&self, now_ms: i64) -> i64 {
        if self.volatile_len() == 0 {
            return 0;
        }
        ((self.expiry_sum_ms / self.volatile_len() as i128) as i64).saturating_sub(now_ms).max(0)
    }

    pub fn tag(&self) -> u8 {
        self.tag.number()
    }

    pub fn table(&self) -> &Table<u64> {
        &self.table
    }

    /// Makes room for `keys` keys in an empty database.
    pub fn reserve(&mut self, keys: usize) {
        self.table.reserve(keys);
    }

    /// The table and what answers for its handles, for maintenance and for walks.
    pub fn table_and_resolver(&mut self) -> (&mut Table<u64>, &EntryResolver) {
        self.epoch += 1;
        (&mut self.table, &self.resolver)
    }

    /// The handle behind a word of this database, which it has given since its last change.
    #[inline]
    fn handle(&self, word: EntryWord) -> EntryHandle {
        assert!(self.is_current(word), "an entry word was kept over a change of its database");
        // SAFETY: a word of this epoch was in the table, and no entry was removed or moved since.
        unsafe { EntryHandle::from_word(word.word) }
    }

    #[inline]
    fn word(&self, hash: u64, key: &[u8]) -> Option<u64> {
        self.table.find(hash, |word| self.resolver.view(word).key() == key)
    }

    /// Looks a key up. O(1).
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<EntryView<'_>> {
        self.word(hash, key).map(|word| self.resolver.view(word))
    }

    /// Whether a word of this database is still good.
    #[inline]
    pub fn is_current(&self, word: EntryWord) -> bool {
        word.epoch == self.epoch
    }

    /// The entry behind a word of this database.
    #[inline]
    pub fn view_of(&self, word: EntryWord) -> EntryView<'_> {
        // SAFETY: the entry lives, and changes of it need `&mut self`.
        unsafe { self.handle(word).view() }
    }

    /// The words of all entries, in table order.
    pub fn words(&self) -> impl Iterator<Item = EntryWord> {
        self.table.iter().map(|word| EntryWord { word, epoch: self.epoch })
    }

    /// Starts loading the bucket, and later the entries, that a look-up of `hash` will read.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.table.prefetch_bucket(hash);
    }

    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        self.table.prefetch_matches(hash, &self.resolver);
    }

    /// Writes the access bits of an entry that was just looked up.
    #[inline]
    pub fn set_access(&mut self, hash: u64, key: &[u8], bits: u32) {
        if let Some(word) = self.word(hash, key) {
            // SAFETY: the word is live and `&mut self` keeps others away.
            unsafe { EntryHandle::from_word(word).set_access(bits) };
        }
    }

    /// As [`Db::set_access`] for an entry whose word is known.
    #[inline]
    pub fn set_access_of(&mut self, word: EntryWord, bits: u32) {
        // SAFETY: the entry lives, and `&mut self` keeps others away.
        unsafe { self.handle(word).set_access(bits) };
    }

    /// Changes the integer of an entry that holds one, in place; false when it holds anything else.
    #[inline]
    pub fn set_integer_of(&mut self, word: EntryWord, value: i64) -> bool {
        // SAFETY: as in `set_access_of`.
        unsafe { self.handle(word).set_integer(value) }
    }

    /// Takes the collection of an entry for a change; `None` for another type.
    #[inline]
    pub fn edit_of<T: Collection>(&mut self, word: EntryWord) -> Option<Edit<'_, T>> {
        let handle = self.handle(word);
        // SAFETY: the entry lives, and `&mut self` keeps everyone else away until the guard has put
        // the value back.
        let value = unsafe { handle.take_collection::<T>()? };
        Some(Edit { handle, value: ManuallyDrop::new(value), db: PhantomData })
    }

    /// Looks a key up and tells its word.
    #[inline]
    pub fn find_word(&self, hash: u64, key: &[u8]) -> Option<EntryWord> {
        self.word(hash, key).map(|word| EntryWord { word, epoch: self.epoch })
    }

    /// Adds a key that is not there.
    pub fn insert(
        &mut self,
        hash: u64,
        key: &[u8],
        value: NewValue<'_>,
        expiry_ms: Option<i64>,
        access: u32,
    ) -> EntryWord {
        debug_assert!(self.word(hash, key).is_none());
        self.track_fields(key, &value);
        self.epoch += 1;
        let handle = EntryHandle::create(key, value, expiry_ms, self.tag.number(), access);
        self.table.insert(hash, handle.to_word(), &self.resolver);
        self.expiry_sum_ms += expiry_ms.unwrap_or(0) as i128;
        EntryWord { word: handle.to_word(), epoch: self.epoch }
    }

    /// Adds or overwrites a key (`SET`). Returns what was there. With `spare` (a child lives) the
    /// access bits of an entry that need not be written otherwise stay.
    #[inline]
    pub fn set(
        &mut self,
        hash: u64,
        key: &[u8],
        value: NewValue<'_>,
        expiry: ExpiryChange,
        access: u32,
        spare: bool,
    ) -> Before {
        self.epoch += 1;
        let resolver = &self.resolver;
        let Some(slot) = self.table.find_mut(hash, |word| resolver.view(word).key() == key) else {
            let expiry = if let ExpiryChange::At(at) = expiry { Some(at) } else { None };
            self.insert(hash, key, value, expiry, access);
            return Before::default();
        };
        track_fields(&mut self.field_due, key, &value);
        // SAFETY: the slot's word is live; its handle is replaced by what overwrite returns.
        let (old_expiry, new_expiry, dropped) = unsafe {
            let handle = EntryHandle::from_word(*slot);
            let old_expiry = handle.view().expiry_ms();
            let new_expiry = match expiry {
                ExpiryChange::Keep => old_expiry,
                ExpiryChange::Clear => None,
                ExpiryChange::At(at) => Some(at),
            };
            if handle.overwrite_string(&value, new_expiry) {
                if !spare {
                    handle.set_access(access);
                }
                return Before { existed: true, expiry_ms: old_expiry, dropped: None };
            }
            let (handle, dropped) = handle.overwrite(value, new_expiry);
            handle.set_access(access);
            *slot = handle.to_word();
            (old_expiry, new_expiry, dropped)
        };
        self.recount_expiry(hash, old_expiry, new_expiry);
        Before { existed: true, expiry_ms: old_expiry, dropped }
    }

    /// Sets or clears a key's expiry. Returns whether the key is there.
    pub fn set_expiry(&mut self, hash: u64, key: &[u8], expiry: Option<i64>) -> bool {
        self.epoch += 1;
        let resolver = &self.resolver;
        let Some(slot) = self.table.find_mut(hash, |word| resolver.view(word).key() == key) else {
            return false;
        };
        // SAFETY: the slot's word is live; its handle is replaced by what set_expiry returns.
        let old = unsafe {
            let handle = EntryHandle::from_word(*slot);
            let old = handle.view().expiry_ms();
            *slot = handle.set_expiry(expiry).to_word();
            old
        };
        self.recount_expiry(hash, old, expiry);
        true
    }

    /// Removes a key; `None` when it is not there. The value is handed out only when it lives
    /// outside of the entry's block.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Option<Value>> {
        let handle = self.unlink(hash, key)?;
        // SAFETY: the entry has left the table, so this is its only owner.
        unsafe {
            if handle.has_pointer() {
                return Some(Some(handle.into_value()));
            }
            handle.free();
        }
        Some(None)
    }

    /// Takes a key's entry out of the table, with its value and expiry.
    pub fn take(&mut self, hash: u64, key: &[u8]) -> Option<DetachedEntry> {
        self.unlink(hash, key).map(|handle| DetachedEntry { handle })
    }

    fn unlink(&mut self, hash: u64, key: &[u8]) -> Option<EntryHandle> {
        self.epoch += 1;
        let resolver = &self.resolver;
        let word = self.table.remove(hash, |word| resolver.view(word).key() == key, resolver)?;
        if !self.field_due.is_empty() {
            self.field_due.remove(key);
        }
        // SAFETY: the word was live in the table until now.
        let (handle, expiry) = unsafe {
            let handle = EntryHandle::from_word(word);
            (handle, handle.view().expiry_ms())
        };
        self.expiry_sum_ms -= expiry.unwrap_or(0) as i128;
        Some(handle)
    }

    /// Puts a detached entry in under `key`, which is not there. `hash` belongs to `key`.
    pub fn put(&mut self, hash: u64, key: &[u8], entry: DetachedEntry) {
        debug_assert!(self.word(hash, key).is_none());
        self.epoch += 1;
        let mut handle = entry.into_handle();
        // SAFETY: the handle was taken out of its owner, and goes to the table below.
        let (handle, expiry) = unsafe {
            if handle.view().key() != key {
                handle = handle.rename(key);
            }
            handle.set_table_tag(self.tag.number());
            if let Some(due_ms) = first_field_expiry(handle.view().value()) {
                note_fields(&mut self.field_due, key, due_ms);
            }
            (handle, handle.view().expiry_ms())
        };
        self.table.insert(hash, handle.to_word(), &self.resolver);
        self.expiry_sum_ms += expiry.unwrap_or(0) as i128;
    }

    /// Changes a string in place through `change`, which works on bytes. The caller has checked
    /// that the key holds a string. The result counts as modified: its encoding is `raw`.
    ///
    /// Short strings are copied once into `change`'s buffer and stored again, long ones are
    /// changed where they are.
    pub fn modify_string<R>(
        &mut self,
        hash: u64,
        key: &[u8],
        change: impl FnOnce(StringEdit<'_>) -> R,
    ) -> Option<R> {
        self.epoch += 1;
        let resolver = &self.resolver;
        let slot = self.table.find_mut(hash, |word| resolver.view(word).key() == key)?;
        // SAFETY: the word is live; `&mut self` makes this its only user, and the slot follows a move.
        unsafe {
            let handle = EntryHandle::from_word(*slot);
            let mut change = Some(change);
            let in_place = handle.with_large_string(|string| {
                let change = change.take().expect("the closure runs once");
                change(StringEdit::Large(string))
            });
            if in_place.is_some() {
                return in_place;
            }
            let view = handle.view();
            let string = string_of(view)?;
            let expiry = view.expiry_ms();
            let mut bytes = string.to_vec();
            let result =
                change.take().expect("with_large_string did not run it")(StringEdit::Short(&mut bytes));
            let (handle, dropped) = handle.overwrite(NewValue::Bytes { bytes: &bytes, raw: true }, expiry);
            debug_assert!(dropped.is_none(), "a short string has no pointer");
            *slot = handle.to_word();
            Some(result)
        }
    }

    /// A uniformly random key's entry (see `ds::table` for how uniform).
    pub fn random(&self, rng: &mut crate::base::rng::Rng) -> Option<EntryView<'_>> {
        self.table.random(rng.generator()).map(|word| self.resolver.view(word))
    }

    /// As [`Db::random`], the hash of the key.
    pub fn random_hash(&self, rng: &mut crate::base::rng::Rng) -> Option<u64> {
        self.table.random(rng.generator()).map(|word| self.resolver.hash(word))
    }

    /// Visits `count` entries or more with the hashes of their keys, those of whole buckets from
    /// a random one on; `volatile_only`: those with an expiry. Returns how many there were.
    pub fn sample(
        &self,
        count: usize,
        volatile_only: bool,
        rng: &mut crate::base::rng::Rng,
        mut visit: impl FnMut(u64, EntryView<'_>),
    ) -> usize {
        let visit = |word| visit(self.resolver.hash(word), self.resolver.view(word));
        if volatile_only {
            self.table.sample_volatile(count, rng.generator(), &self.resolver, visit)
        } else {
            self.table.sample(count, rng.generator(), &self.resolver, visit)
        }
    }

    /// An entry whose key has this hash.
    pub fn find_by_hash(&self, hash: u64) -> Option<EntryView<'_>> {
        let word = self.table.find(hash, |word| self.resolver.hash(word) == hash)?;
        Some(self.resolver.view(word))
    }

    /// Visits the entries of one bucket chain; the cursor protocol of `SCAN`.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(EntryView<'_>)) -> u64 {
        self.table.scan(cursor, |word| visit(self.resolver.view(word)))
    }

    /// All entries, in table order.
    pub fn iter(&self) -> impl Iterator<Item = EntryView<'_>> {
        self.table.iter().map(|word| self.resolver.view(word))
    }

    #[inline]
    fn recount_expiry(&mut self, hash: u64, old: Option<i64>, new: Option<i64>) {
        if old.is_none() && new.is_none() {
            return;
        }
        self.expiry_sum_ms += new.unwrap_or(0) as i128 - old.unwrap_or(0) as i128;
        let unsigned = |expiry: i64| expiry.max(0) as u64;
        self.table.expiry_changed(hash, old.map(unsigned), new.map(unsigned));
    }

    /// Changes the stored string to `value` without touching the expiry (INCR and its kin), and
    /// keeps the access bits.
    pub fn overwrite_value(&mut self, hash: u64, key: &[u8], value: NewValue<'_>) -> bool {
        self.epoch += 1;
        let resolver = &self.resolver;
        let Some(slot) = self.table.find_mut(hash, |word| resolver.view(word).key() == key) else {
            return false;
        };
        // SAFETY: the slot's word is live; its handle is replaced by what overwrite returns.
        unsafe {
            let handle = EntryHandle::from_word(*slot);
            let expiry = handle.view().expiry_ms();
            let (handle, dropped) = handle.overwrite(value, expiry);
            drop(dropped);
            *slot = handle.to_word();
        }
        true
    }

    fn track_fields(&mut self, key: &[u8], value: &NewValue<'_>) {
        track_fields(&mut self.field_due, key, value);
    }

    /// Fields of the hash at `key` expire, the first at `due_ms` (Unix ms) or later.
    pub fn note_field_expiry(&mut self, key: &[u8], due_ms: i64) {
        note_fields(&mut self.field_due, key, due_ms);
    }

    /// Whether hashes here may have fields that expire. O(1).
    pub fn may_have_field_expiry(&self) -> bool {
        !self.field_due.is_empty()
    }

    /// Hashes here that may have fields that expire: an upper bound. O(1).
    pub fn field_expiry_len(&self) -> usize {
        self.field_due.len()
    }

    /// When the first field of a hash here may expire, Unix ms: a lower bound.
    pub fn next_field_expiry_ms(&self) -> i64 {
        self.field_due.earliest_expiry_ms().unwrap_or(i64::MAX)
    }

    /// Takes up to `max` hashes with fields that may have expired off the list and calls `visit`
    /// with the key of each. What still has such fields must be noted again.
    pub fn take_due_fields(&mut self, now_ms: i64, max: usize, visit: impl FnMut(&[u8])) -> usize {
        self.field_due.take_due(now_ms, max, visit)
    }

    /// A key with a hash whose fields expire. O(hashes noted).
    pub fn key_with_field_expiry(&self) -> Option<&[u8]> {
        let mut noted = self.field_due.iter().map(|noted| noted.name);
        noted.find(|key| self.has_field_expiry(key))
    }

    fn has_field_expiry(&self, key: &[u8]) -> bool {
        let view = self.find(self.resolver.seed.hash(key), key);
        view.is_some_and(|view| first_field_expiry(view.value()).is_some())
    }

    /// One step of defragmentation of the list of hashes with expiring fields.
    pub(super) fn relocate_field_due(&mut self, position: u64, mover: &mut Mover) -> u64 {
        self.field_due.relocate(position, mover)
    }

    /// Memory of the table itself, bytes.
    pub fn table_memory_bytes(&self) -> usize {
        self.table.memory_bytes()
    }
}

impl Db {
    /// Drops the database and calls `pause` now and then.
    pub fn drop_pausing(mut self, pause: &mut dyn FnMut()) {
        let pauses = std::cell::RefCell::new(pause);
        let free = |word| {
            // SAFETY: each word comes once and is in no table any more.
            let value = unsafe {
                let handle = EntryHandle::from_word(word);
                if handle.has_pointer() {
                    Some(handle.into_value())
                } else {
                    handle.free();
                    None
                }
            };
            if let Some(value) = value {
                value.drop_pausing(*pauses.borrow_mut());
            }
        };
        self.table.drain_pausing(free, &mut || (pauses.borrow_mut())());
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        for word in self.table.iter() {
            // SAFETY: the table is going away with its words; each live entry is freed once.
            unsafe { EntryHandle::from_word(word).free() };
        }
    }
}

/// When the first field of a hash expires, Unix ms, or before; `None` for anything else.
fn first_field_expiry(value: ValueRef<'_>) -> Option<i64> {
    if let ValueRef::Hash(hash) = value { hash.earliest_expiry_ms() } else { None }
}

/// Keeps the list of hashes with expiring fields right for a key that gets a value.
#[inline]
fn track_fields(field_due: &mut FieldTable, key: &[u8], value: &NewValue<'_>) {
    if !field_due.is_empty() {
        field_due.remove(key);
    }
    if let NewValue::Owned(value) = value
        && let Some(due_ms) = first_field_expiry(value.as_ref())
    {
        note_fields(field_due, key, due_ms);
    }
}

/// Notes a hash, unless it is noted with a time that is not later.
fn note_fields(field_due: &mut FieldTable, key: &[u8], due_ms: i64) {
    let noted = field_due.get(key).and_then(|noted| noted.expiry_ms);
    if noted.is_none_or(|noted_ms| due_ms < noted_ms) {
        field_due.set(key, b"", FieldExpiry::At(due_ms));
    }
}

/// A collection being changed. It is out of its entry as long as this lives, and back when this
/// is dropped, in whatever encoding it then has.
pub struct Edit<'a, T: Collection> {
    handle: EntryHandle,
    value: ManuallyDrop<T>,
    db: PhantomData<&'a mut Db>,
}

impl<T: Collection> Deref for Edit<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Collection> DerefMut for Edit<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Collection> Drop for Edit<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the value was taken out of this live entry by `edit_of` and is given back once;
        // the guard is not used afterwards.
        unsafe { self.handle.put_collection(ManuallyDrop::take(&mut self.value)) };
    }
}

/// A string being changed: in its own block, or a copy of a short one.
pub enum StringEdit<'a> {
    Short(&'a mut Vec<u8>),
    Large(&'a mut DataBytes),
}

impl StringEdit<'_> {
    pub fn len(&self) -> usize {
        match self {
            StringEdit::Short(bytes) => bytes.len(),
            StringEdit::Large(string) => string.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn append(&mut self, more: &[u8]) {
        match self {
            StringEdit::Short(bytes) => bytes.extend_from_slice(more),
            StringEdit::Large(string) => string.extend_from_slice(more),
        }
    }

    /// Makes the string at least `len` bytes long, filling with zeros.
    pub fn grow(&mut self, len: usize) {
        if self.len() < len {
            match self {
                StringEdit::Short(bytes) => bytes.resize(len, 0),
                StringEdit::Large(string) => string.resize(len, 0),
            }
        }
    }

    pub fn as_slice(&self) -> &[u8] {
        match self {
            StringEdit::Short(bytes) => bytes,
            StringEdit::Large(string) => string,
        }
    }

    /// Replaces the bytes of a range, which lies within the string. O(bytes behind it).
    pub fn splice(&mut self, range: Range<usize>, source: &[u8]) {
        match self {
            StringEdit::Short(bytes) => drop(bytes.splice(range, source.iter().copied())),
            StringEdit::Large(string) => string.splice(range, source),
        }
    }

    /// Gives back room for growth when it is more than the string itself.
    pub fn give_back_slack(&mut self) {
        if let StringEdit::Large(string) = self
            && string.capacity() > 2 * string.len()
        {
            string.shrink_to_fit();
        }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            StringEdit::Short(bytes) => bytes,
            StringEdit::Large(string) => string.as_mut_slice(),
        }
    }
}

/// An entry outside of any table, owned.
pub struct DetachedEntry {
    handle: EntryHandle,
}

impl DetachedEntry {
    pub fn view(&self) -> EntryView<'_> {
        // SAFETY: the entry is owned by this value.
        unsafe { self.handle.view() }
    }

    /// Takes the ownership out, so that dropping frees nothing.
    fn into_handle(self) -> EntryHandle {
        std::mem::ManuallyDrop::new(self).handle
    }

    /// The value; the key is dropped.
    pub fn into_value(self) -> Value {
        let handle = self.into_handle();
        // SAFETY: ownership has just been taken out of `self`.
        unsafe { handle.into_value() }
    }
}

impl Drop for DetachedEntry {
    fn drop(&mut self) {
        // SAFETY: the entry is owned by this value and not used afterwards.
        unsafe { self.handle.free() };
    }
}

/// The string of a view, or `None` for another type.
pub fn string_of(view: EntryView<'_>) -> Option<StrRef<'_>> {
    if let ValueRef::String(string) = view.value() { Some(string) } else { None }
}
