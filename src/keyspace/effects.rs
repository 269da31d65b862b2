//! What the keyspace did on its own while it served someone, for dispatch to carry on.
//!
//! Data goes up, never a call: the keyspace knows neither the AOF nor clients nor notifications,
//! so it leaves a record in the list its caller gave it.

/// One thing that happened to a key without a command asking for it.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// The key's time had passed and it was removed.
    Expired { db: usize, key: Box<[u8]> },
    /// The key was removed to make room.
    Evicted { db: usize, key: Box<[u8]> },
}

/// Records in the order in which they happened.
#[derive(Debug, Default)]
pub struct Effects {
    pub list: Vec<Effect>,
}

impl Effects {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }
}
