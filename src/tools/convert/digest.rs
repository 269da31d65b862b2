//! The digest of a data set whose keys come in any order: that of DEBUG DIGEST.

use crate::value::ValueRef;
use crate::value::digest::DataDigest;
use std::collections::BTreeMap;

/// The digest of a data set whose keys come in any order, databases too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataSetDigest {
    /// Of each database: its keys' digests, and how many they are.
    databases: BTreeMap<u64, (DataDigest, u64)>,
}

impl DataSetDigest {
    /// Adds a key of a database.
    pub fn add(&mut self, db: u64, key: &[u8], value: &ValueRef<'_>, expires: bool) {
        let (digest, keys) = self.databases.entry(db).or_default();
        digest.add_key(key, value, expires);
        *keys += 1;
    }

    pub fn keys(&self) -> u64 {
        self.databases.values().map(|(_, keys)| keys).sum()
    }

    /// Databases that hold keys.
    pub fn databases(&self) -> usize {
        self.databases.len()
    }

    /// The digest of everything.
    pub fn total(&self) -> DataDigest {
        let mut total = DataDigest::default();
        for (db, (keys, _)) in &self.databases {
            // As Redis counts them: in 32 bits.
            total.mix_number(*db as u32);
            total.merge(keys);
        }
        total
    }
}
