//! Random fields (HRANDFIELD, and SORT-like needs): with and without repetition.

use super::{HashField, HashRef};
use std::collections::HashSet;

/// A big hash asked for less than this share of its fields is sampled, else all fields are listed.
const SAMPLE_SHARE: usize = 3;
/// Tries for each distinct field wanted from a sample before all fields are listed after all.
const TRIES_PER_FIELD: usize = 16;

impl<'a> HashRef<'a> {
    /// A field chosen with equal chances among those alive at `now_ms`.
    pub fn random_field(&self, now_ms: i64, rng: &mut fastrand::Rng) -> Option<HashField<'a>> {
        if self.may_have_expired(now_ms) {
            let alive: Vec<HashField<'a>> = self.live_fields(now_ms).collect();
            return (!alive.is_empty()).then(|| alive[rng.usize(..alive.len())]);
        }
        match self.packed() {
            Ok(packed) if packed.len() == 0 => None,
            Ok(packed) => packed.seek(rng.usize(..packed.len())).and_then(|at| packed.field_at(at)),
            Err(table) => table.random(rng).map(HashField::from),
        }
    }

    /// Calls `visit` with `count` fields, each chosen anew, until it says false: fields may repeat.
    pub fn random_repeated(
        &self,
        count: usize,
        now_ms: i64,
        rng: &mut fastrand::Rng,
        mut visit: impl FnMut(HashField<'a>) -> bool,
    ) {
        if let HashRef::Big(table) = self
            && !self.may_have_expired(now_ms)
        {
            for _ in 0..count {
                let Some(field) = table.random(rng) else { return };
                if !visit(field.into()) {
                    return;
                }
            }
            return;
        }
        let alive: Vec<HashField<'a>> = self.live_fields(now_ms).collect();
        if alive.is_empty() {
            return;
        }
        for _ in 0..count {
            if !visit(alive[rng.usize(..alive.len())]) {
                return;
            }
        }
    }

    /// `count` different fields, or all when there are fewer.
    pub fn random_distinct(&self, count: usize, now_ms: i64, rng: &mut fastrand::Rng) -> Vec<HashField<'a>> {
        if let HashRef::Big(table) = self
            && !self.may_have_expired(now_ms)
            && count.saturating_mul(SAMPLE_SHARE) <= table.len()
            && let Some(sample) = self.sample(count, rng)
        {
            return sample;
        }
        let mut alive: Vec<HashField<'a>> = self.live_fields(now_ms).collect();
        if count >= alive.len() {
            return alive;
        }
        for index in 0..count {
            let chosen = rng.usize(index..alive.len());
            alive.swap(index, chosen);
        }
        alive.truncate(count);
        alive
    }

    /// Different fields, drawn one by one; `None` when too many draws brought nothing new.
    fn sample(&self, count: usize, rng: &mut fastrand::Rng) -> Option<Vec<HashField<'a>>> {
        let HashRef::Big(table) = self else { return None };
        let mut seen = HashSet::with_capacity(count);
        let mut fields = Vec::with_capacity(count);
        for _ in 0..count.saturating_mul(TRIES_PER_FIELD) {
            if fields.len() == count {
                break;
            }
            let field = table.random(rng)?;
            if seen.insert(field.value.as_ptr() as usize) {
                fields.push(field.into());
            }
        }
        (fields.len() == count).then_some(fields)
    }
}
