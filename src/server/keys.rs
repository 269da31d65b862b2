//! Key access for commands: look-ups with the current command's time and hash, and what follows a
//! change (watchers, notifications, waiting clients, the stream of effects).
//!
//! Views returned here borrow the server; a handler writes them to `ctx.out`, which it does not.

use crate::keyspace::{Edit, Effect, EntryView, EntryWord, ExpiryChange, NewValue, Touch};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, ReplyError};
use crate::server::{ClientRef, Server};
use crate::value::string::StrRef;
use crate::value::{Collection, TypeLimits, ValueRef};

impl Server {
    /// The hash of a key; the one computed ahead for this request if it is this very argument.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let hint = self.call.hint;
        if hint.is_of(key) {
            return hint.hash;
        }
        self.keyspace.hash(key)
    }

    /// Looks a key up to read it: counts a hit or a miss, moves the access bits.
    #[inline]
    pub fn read(&mut self, db: usize, key: &[u8]) -> Option<EntryView<'_>> {
        let hash = self.hash(key);
        let touch = self.call.touch;
        self.read_hashed(db, hash, key, touch)
    }

    /// As [`Server::read`], without moving the access bits.
    pub fn read_untouched(&mut self, db: usize, key: &[u8]) -> Option<EntryView<'_>> {
        let hash = self.hash(key);
        self.read_hashed(db, hash, key, Touch::No)
    }

    /// As [`Server::read_untouched`], counted but not announced when missing (`OBJECT`).
    pub fn peek(&mut self, db: usize, key: &[u8]) -> Option<EntryView<'_>> {
        let hash = self.hash(key);
        let Some(word) = self.locate_hashed(db, hash, key, Touch::No) else {
            self.stats.keyspace_misses += 1;
            return None;
        };
        self.stats.keyspace_hits += 1;
        Some(self.keyspace.db(db).view_of(word))
    }

    /// As [`Server::read`], giving the entry's word: for commands that look at several keys
    /// together, which renew the words behind the last look-up ([`Server::renew_words`]).
    #[inline]
    pub fn read_word(&mut self, db: usize, key: &[u8]) -> Option<EntryWord> {
        let hash = self.hash(key);
        let touch = self.call.touch;
        self.read_word_hashed(db, hash, key, touch)
    }

    #[inline]
    fn read_hashed(&mut self, db: usize, hash: u64, key: &[u8], touch: Touch) -> Option<EntryView<'_>> {
        let word = self.read_word_hashed(db, hash, key, touch)?;
        Some(self.keyspace.db(db).view_of(word))
    }

    #[inline]
    fn read_word_hashed(&mut self, db: usize, hash: u64, key: &[u8], touch: Touch) -> Option<EntryWord> {
        let Some(word) = self.locate_hashed(db, hash, key, touch) else {
            self.stats.keyspace_misses += 1;
            if self.config.notify_keyspace_events.contains(NotifyFlags::KEY_MISS) {
                self.notify(NotifyFlags::KEY_MISS, "keymiss", db, key);
            }
            return None;
        };
        self.stats.keyspace_hits += 1;
        Some(word)
    }

    /// Makes words of several look-ups good again, `words[i]` being that of `keys[i]`: a look-up
    /// that removes an expired key makes the words before it stale. Costs nothing without one.
    pub fn renew_words(&self, db: usize, keys: Args<'_>, words: &mut [Option<EntryWord>]) {
        let table = self.keyspace.db(db);
        if words.iter().flatten().all(|word| table.is_current(*word)) {
            return;
        }
        for (word, key) in words.iter_mut().zip(keys.iter()) {
            if word.is_some() {
                *word = table.find_word(self.hash(key), key);
            }
        }
    }

    /// The word of a living key. An expired one is removed and reported on the way, so that
    /// its removal stands in the stream before whatever the command does.
    #[inline]
    fn locate_hashed(&mut self, db: usize, hash: u64, key: &[u8], touch: Touch) -> Option<EntryWord> {
        let found = self.keyspace.locate(db, hash, key, self.call.now_ms, touch, &mut self.effects);
        if !self.effects.is_empty() {
            self.drain_effects();
        }
        found
    }

    /// As [`Server::find`], giving the entry's word (see [`crate::keyspace::Keyspace::locate`]).
    #[inline]
    pub fn locate(&mut self, db: usize, key: &[u8]) -> Option<EntryWord> {
        let hash = self.hash(key);
        let touch = self.call.touch;
        self.locate_hashed(db, hash, key, touch)
    }

    /// Looks a key up to change it, or to report on it without counting a hit.
    #[inline]
    pub fn find(&mut self, db: usize, key: &[u8]) -> Option<EntryView<'_>> {
        let word = self.locate(db, key)?;
        Some(self.keyspace.db(db).view_of(word))
    }

    /// As [`Server::find`]; a value that is not a string is an error.
    pub fn find_string(&mut self, db: usize, key: &[u8]) -> Result<Option<StrRef<'_>>, ReplyError> {
        let found = self.find(db, key);
        found.map(string_or_wrong_type).transpose()
    }

    /// As [`Server::read`]; a value that is not a string is an error.
    #[inline]
    pub fn read_string(&mut self, db: usize, key: &[u8]) -> Result<Option<StrRef<'_>>, ReplyError> {
        let found = self.read(db, key);
        found.map(string_or_wrong_type).transpose()
    }

    /// As [`Server::read`] for a collection; a value of another type is an error.
    #[inline]
    pub fn read_as<T: Collection>(
        &mut self,
        db: usize,
        key: &[u8],
    ) -> Result<Option<T::Ref<'_>>, ReplyError> {
        let found = self.read(db, key);
        found.map(|view| T::of_ref(view.value()).ok_or(error::WRONG_TYPE)).transpose()
    }

    /// As [`Server::find`] for a collection; a value of another type is an error.
    #[inline]
    pub fn find_as<T: Collection>(
        &mut self,
        db: usize,
        key: &[u8],
    ) -> Result<Option<T::Ref<'_>>, ReplyError> {
        let found = self.find(db, key);
        found.map(|view| T::of_ref(view.value()).ok_or(error::WRONG_TYPE)).transpose()
    }

    /// Takes a collection for a change; a value of another type is an error. The caller removes
    /// the key if it leaves the collection empty, and reports the change.
    #[inline]
    pub fn edit<T: Collection>(&mut self, db: usize, key: &[u8]) -> Result<Option<Edit<'_, T>>, ReplyError> {
        let Some(word) = self.locate(db, key) else { return Ok(None) };
        self.keyspace.db_mut(db).edit_of(word).map(Some).ok_or(error::WRONG_TYPE)
    }

    /// As [`Server::edit`]; a missing key is added with what `make` gives.
    #[inline]
    pub fn edit_or_create<T: Collection>(
        &mut self,
        db: usize,
        key: &[u8],
        make: impl FnOnce() -> T,
    ) -> Result<Edit<'_, T>, ReplyError> {
        let word = match self.locate(db, key) {
            Some(word) => word,
            None => {
                let hash = self.hash(key);
                let word = self.keyspace.add(db, hash, key, NewValue::Owned(make().into()));
                self.key_added(db, key);
                word
            }
        };
        self.keyspace.db_mut(db).edit_of(word).ok_or(error::WRONG_TYPE)
    }

    /// When values change their encoding, from the directives. `deep`: see [`TypeLimits::deep`].
    pub fn type_limits(&self, deep: bool) -> TypeLimits {
        let config = &self.config;
        TypeLimits {
            seed: self.keyspace.seed(),
            hash: config.hash_limits(),
            set: config.set_limits(),
            intset_entries: config.set_max_intset_entries,
            zset: config.zset_limits(),
            list_fill: config.list_max_listpack_size,
            list_compress_depth: config.list_compress_depth as i32,
            list_packed_threshold_bytes: self.run.debug.packed_threshold_bytes,
            stream_node_bytes: config.stream_node_max_bytes,
            stream_node_entries: config.stream_node_max_entries,
            deep,
        }
    }

    /// Whether a live key is there (an expired one is removed on the way).
    pub fn exists(&mut self, db: usize, key: &[u8]) -> bool {
        self.locate(db, key).is_some()
    }

    /// Adds or overwrites a key. Returns whether it was there. The caller reports the change by
    /// [`Server::key_changed`].
    #[inline]
    pub fn set_key(&mut self, db: usize, key: &[u8], value: NewValue<'_>, expiry: ExpiryChange) -> bool {
        let hash = self.hash(key);
        let existed = self.keyspace.set_at(db, hash, key, value, expiry, self.call.now_ms, &mut self.effects);
        if !self.effects.is_empty() {
            self.drain_effects();
        }
        if !existed {
            self.key_added(db, key);
        } else if self.blocked.any_on_keys() {
            // It may be of another type now, for which somebody waits or does not wait any more.
            self.blocked.key_ready(db, key);
        }
        existed
    }

    /// A key came into being: notification `new`, and whoever waits for it.
    #[inline]
    pub fn key_added(&mut self, db: usize, key: &[u8]) {
        if self.config.notify_keyspace_events.contains(NotifyFlags::NEW) {
            self.notify(NotifyFlags::NEW, "new", db, key);
        }
        if self.blocked.any_on_keys() {
            self.blocked.key_ready(db, key);
        }
    }

    /// Removes a key. Returns whether it was there.
    pub fn remove_key(&mut self, db: usize, key: &[u8], lazily: bool) -> bool {
        let hash = self.hash(key);
        let removed = self.keyspace.remove(db, hash, key, lazily);
        if removed && self.blocked.any_on_keys() {
            // Some commands wait for a key to go (XREADGROUP on a deleted group's key).
            self.blocked.key_ready(db, key);
        }
        removed
    }

    /// A key was modified: watchers are told, and the change is counted.
    #[inline]
    pub fn key_changed(&mut self, db: usize, key: &[u8]) {
        self.key_changed_by(db, key, 1);
    }

    /// As [`Server::key_changed`], counted as `changes` changes (of elements).
    #[inline]
    pub fn key_changed_by(&mut self, db: usize, key: &[u8], changes: usize) {
        self.persistence.dirty += changes as u64;
        self.touch_watchers(db, key);
    }

    /// Removes a collection that has lost its last element, and says so.
    pub fn remove_emptied(&mut self, db: usize, key: &[u8]) {
        self.remove_key(db, key, true);
        self.notify(NotifyFlags::GENERIC, "del", db, key);
    }

    /// Tells whoever watches or caches this key; does not count a change.
    #[inline]
    pub fn touch_watchers(&mut self, db: usize, key: &[u8]) {
        if !self.watches.is_empty() | self.tracking.is_active() {
            self.tell_observers(db, key, self.call.client);
        }
    }

    /// `by`: who changed the key; none when its time or the memory did.
    #[cold]
    fn tell_observers(&mut self, db: usize, key: &[u8], by: Option<ClientRef>) {
        if !self.watches.is_empty() {
            self.mark_watchers(db, key);
        }
        if self.tracking.is_active() {
            self.invalidate_key(key, by);
        }
    }

    /// Reports what the keyspace did on its own: deletes are propagated, events published.
    #[cold]
    pub fn drain_effects(&mut self) {
        let list = std::mem::take(&mut self.effects.list);
        if self.keyspace.measures_removals {
            let removal = self.keyspace.take_longest_removal();
            self.note_latency("expire-del", removal.as_millis() as u64);
        }
        for effect in &list {
            match effect {
                Effect::Expired { db, key } => {
                    let lazily = self.config.lazyfree_lazy_expire;
                    self.report_removed(*db, key, lazily, NotifyFlags::EXPIRED, "expired");
                }
                Effect::Evicted { db, key } => {
                    self.stats.evicted_keys += 1;
                    let lazily = self.config.lazyfree_lazy_eviction;
                    self.report_removed(*db, key, lazily, NotifyFlags::EVICTED, "evicted");
                }
            }
        }
    }

    /// `lazily`: the stream says UNLINK.
    fn report_removed(&mut self, db: usize, key: &[u8], lazily: bool, class: NotifyFlags, event: &str) {
        if self.propagation.wanted {
            let verb: &[u8] = if lazily { b"UNLINK" } else { b"DEL" };
            self.propagate_aside(db, &[verb, key]);
        }
        self.tell_observers(db, key, None);
        self.notify(class, event, db, key);
        if self.blocked.any_on_keys() {
            self.blocked.key_ready(db, key);
        }
    }

    /// Adds a command to the stream for something that happened besides what was asked for: before
    /// the running command where there is one.
    pub fn propagate_aside(&mut self, db: usize, args: &[&[u8]]) {
        if !self.propagation.wanted {
            return;
        }
        if self.propagation.in_unit() {
            self.propagation.add_slices(db, args);
        } else {
            self.propagation.begin_unit();
            self.propagation.add_slices(db, args);
            self.propagation.end_unit();
        }
    }

    /// Adds a command to the stream in place of the one that runs.
    pub fn propagate_instead(&mut self, db: usize, args: &[&[u8]]) {
        self.call.propagated = true;
        if self.propagation.wanted && !self.call.replaying {
            self.propagation.add_slices(db, args);
        }
    }

    /// Passes the running command on to replicas, though it changes no data and the AOF has no use for it.
    pub fn propagate_to_replicas(&mut self, db: usize, args: Args<'_>) {
        if self.replication.takes_commands() && !self.call.replaying {
            self.propagation.add_for_replicas(db, args);
        }
    }
}

#[inline]
fn string_or_wrong_type(view: EntryView<'_>) -> Result<StrRef<'_>, ReplyError> {
    match view.value() {
        ValueRef::String(string) => Ok(string),
        _ => Err(error::WRONG_TYPE),
    }
}
