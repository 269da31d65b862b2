//! A block of a stream: many entries in one listpack, laid out exactly as Redis 7.2 does, so that
//! an RDB holds the listpack itself.
//!
//! Owns the layout. The key of a block is the id of the first entry that was put into it.
//!
//! ```text
//! | live | deleted | n | field 1 | .. | field n | 0 |         the master entry
//! | flags | ms delta | seq delta | value 1 | .. | value n | 3 + n |
//! | flags | ms delta | seq delta | m | field 1 | value 1 | .. | value m | 4 + 2m |
//! ```
//!
//! Flag 2 (SAMEFIELDS): the fields are those of the master entry, so only values follow. Flag 1:
//! deleted, to be passed over. Ids are differences to the block's key. The last number of an entry
//! counts the elements before it in the entry, for walks from the end.
//!
//! Readers are total: whatever the bytes are, a walk ends, at the latest where an entry does not
//! fit the layout.

use crate::ds::corrupt::Corrupt;
use crate::ds::element::Element;
use crate::ds::listpack::{Listpack, ListpackView, Position, TooLarge};
use crate::value::stream::StreamId;

const FLAG_DELETED: i64 = 1;
const FLAG_SAME_FIELDS: i64 = 2;

/// Bytes that are no block, in the words of Redis's log.
const DAMAGED: Corrupt = Corrupt("Stream listpack integrity check failed");

/// The master entry.
#[derive(Clone, Copy)]
struct Master {
    /// Entries that are not deleted.
    live: i64,
    deleted: i64,
    fields: usize,
    first_field: Option<Position>,
    /// The zero that ends it: in front of the first entry.
    terminator: Position,
}

/// A reader of one block.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    key: StreamId,
    listpack: ListpackView<'a>,
}

/// An entry of a block, deleted or not.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub id: StreamId,
    listpack: ListpackView<'a>,
    flags: i64,
    flags_at: Position,
    /// The number that ends the entry.
    count_at: Position,
    pairs: usize,
    /// In the master entry when the fields are shared.
    fields_at: Option<Position>,
    /// The first value, or the first field when the entry has its own.
    body_at: Option<Position>,
}

/// The fields and values of an entry.
#[derive(Clone)]
pub struct Pairs<'a> {
    listpack: ListpackView<'a>,
    left: usize,
    shared_field: Option<Position>,
    at: Option<Position>,
}

impl<'a> Block<'a> {
    /// Reads the block with this key.
    pub fn new(key: StreamId, listpack: ListpackView<'a>) -> Self {
        Self { key, listpack }
    }

    /// Entries that are not deleted, as the block says.
    pub fn live(&self) -> u64 {
        let number = self.listpack.first().and_then(|at| self.integer(at));
        number.map_or(0, |live| live.max(0).unsigned_abs())
    }

    /// Entries, deleted ones too, as the block says.
    pub fn total(&self) -> u64 {
        let master = self.master();
        master.map_or(0, |master| {
            (master.live.max(0).unsigned_abs()).saturating_add(master.deleted.max(0).unsigned_abs())
        })
    }

    /// All entries in order, deleted ones too.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let block = *self;
        let master = self.master();
        let mut before = master.map(|master| master.terminator);
        std::iter::from_fn(move || {
            let at = block.listpack.next(before?)?;
            let entry = block.entry(&master?, at);
            before = entry.map(|entry| entry.count_at);
            entry
        })
    }

    /// All entries from the last to the first, deleted ones too.
    pub fn entries_back(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let block = *self;
        let master = self.master();
        let mut end = block.listpack.last();
        std::iter::from_fn(move || {
            let count_at = end?;
            end = None;
            let master = master?;
            let count = block.integer(count_at).filter(|count| *count > 0)?;
            let mut at = count_at;
            for _ in 0..count {
                at = block.listpack.previous(at)?;
            }
            let entry = block.entry(&master, at).filter(|entry| entry.count_at == count_at)?;
            end = block.listpack.previous(at).filter(|before| *before >= master.terminator);
            Some(entry)
        })
    }

    fn master(&self) -> Option<Master> {
        let live_at = self.listpack.first()?;
        let deleted_at = self.listpack.next(live_at)?;
        let fields_at = self.listpack.next(deleted_at)?;
        let fields = usize::try_from(self.integer(fields_at)?).ok()?;
        let mut at = self.listpack.next(fields_at)?;
        let first_field = at;
        for _ in 0..fields {
            at = self.listpack.next(at)?;
        }
        Some(Master {
            live: self.integer(live_at)?,
            deleted: self.integer(deleted_at)?,
            fields,
            first_field: Some(first_field).filter(|_| fields > 0),
            terminator: at,
        })
    }

    /// The entry whose flags are at `at`, if it lies in the block as a whole.
    fn entry(&self, master: &Master, at: Position) -> Option<Entry<'a>> {
        let listpack = self.listpack;
        let flags = self.integer(at)?;
        let ms_at = listpack.next(at)?;
        let seq_at = listpack.next(ms_at)?;
        let id = StreamId {
            ms: self.key.ms.wrapping_add(self.integer(ms_at)?.cast_unsigned()),
            seq: self.key.seq.wrapping_add(self.integer(seq_at)?.cast_unsigned()),
        };
        let mut end = listpack.next(seq_at)?;
        let (pairs, elements, fields_at) = if flags & FLAG_SAME_FIELDS != 0 {
            (master.fields, master.fields, master.first_field)
        } else {
            let pairs = usize::try_from(self.integer(end)?).ok()?;
            end = listpack.next(end)?;
            (pairs, pairs.checked_mul(2)?, None)
        };
        let body_at = Some(end);
        for _ in 0..elements {
            end = listpack.next(end)?;
        }
        Some(Entry { id, listpack, flags, flags_at: at, count_at: end, pairs, fields_at, body_at })
    }

    fn integer(&self, at: Position) -> Option<i64> {
        self.listpack.element(at)?.as_integer()
    }
}

impl<'a> Entry<'a> {
    pub fn is_deleted(&self) -> bool {
        self.flags & FLAG_DELETED != 0
    }

    /// Number of field-value pairs.
    pub fn len(&self) -> usize {
        self.pairs
    }

    /// Whether there is no pair (only hostile blocks have such entries).
    pub fn is_empty(&self) -> bool {
        self.pairs == 0
    }

    /// Fields and values.
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs { listpack: self.listpack, left: self.pairs, shared_field: self.fields_at, at: self.body_at }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Element<'a>, Element<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let field_at = match self.shared_field {
            Some(at) => {
                self.shared_field = self.listpack.next(at);
                at
            }
            None => {
                let at = self.at?;
                self.at = self.listpack.next(at);
                at
            }
        };
        let value_at = self.at?;
        self.at = self.listpack.next(value_at);
        Some((self.listpack.element(field_at)?, self.listpack.element(value_at)?))
    }
}

/// Starts a block with the fields of its first entry; the entry itself is still to be appended.
pub fn begin<'f>(fields: impl ExactSizeIterator<Item = &'f [u8]>) -> Result<Listpack, TooLarge> {
    let mut listpack = Listpack::new();
    listpack.push_back(0)?;
    listpack.push_back(0)?;
    listpack.push_back(fields.len() as i64)?;
    for field in fields {
        listpack.push_back(field)?;
    }
    listpack.push_back(0)?;
    Ok(listpack)
}

/// Appends an entry to the block with this key. The caller has checked that it fits.
///
/// # Errors
/// `TooLarge` when it does not; the block is then as it was before.
pub fn append<'f, P>(listpack: &mut Listpack, key: StreamId, id: StreamId, pairs: P) -> Result<(), TooLarge>
where
    P: ExactSizeIterator<Item = (&'f [u8], &'f [u8])> + Clone,
{
    let same = has_fields(listpack.view(), pairs.clone().map(|(field, _)| field));
    let count = pairs.len() as i64;
    let ms = id.ms.wrapping_sub(key.ms).cast_signed();
    let seq = id.seq.wrapping_sub(key.seq).cast_signed();
    listpack.push_back(if same { FLAG_SAME_FIELDS } else { 0 })?;
    listpack.push_back(ms)?;
    listpack.push_back(seq)?;
    if !same {
        listpack.push_back(count)?;
    }
    for (field, value) in pairs {
        if !same {
            listpack.push_back(field)?;
        }
        listpack.push_back(value)?;
    }
    listpack.push_back(if same { 3 + count } else { 4 + 2 * count })?;
    add_to_counters(listpack, 1, 0)
}

/// Whether the fields are those of the master entry.
fn has_fields<'f>(listpack: ListpackView<'_>, mut fields: impl ExactSizeIterator<Item = &'f [u8]>) -> bool {
    let mut master = listpack.iter().skip(2);
    let count = master.next().and_then(|count| count.as_integer());
    count == Some(fields.len() as i64)
        && fields.all(|field| master.next().is_some_and(|own| own.reads_as(field)))
}

/// Marks entries as deleted, given in rising order, and counts them. Returns how many entries are
/// left in the block.
pub fn mark_deleted(listpack: &mut Listpack, entries: &[(Position, i64)]) -> Result<i64, TooLarge> {
    // From the last one on: a change of length moves nothing that is still to come.
    for (at, flags) in entries.iter().rev() {
        listpack.replace(*at, flags | FLAG_DELETED)?;
    }
    let count = entries.len() as i64;
    add_to_counters(listpack, -count, count)?;
    Ok(listpack.get(0).and_then(|live| live.as_integer()).unwrap_or(0))
}

impl Entry<'_> {
    /// What [`mark_deleted`] needs to know of an entry.
    pub fn mark(&self) -> (Position, i64) {
        (self.flags_at, self.flags)
    }
}

fn add_to_counters(listpack: &mut Listpack, live: i64, deleted: i64) -> Result<(), TooLarge> {
    for (index, change) in [(0, live), (1, deleted)] {
        if change == 0 {
            continue;
        }
        let Some(at) = listpack.seek(index) else { continue };
        let old = listpack.get(index).and_then(|count| count.as_integer()).unwrap_or(0);
        listpack.replace(at, old.saturating_add(change))?;
    }
    Ok(())
}

/// Checks the bytes of a block. Shallow: the listpack's header. Deep: every element, and that
/// the elements form entries as laid out above, as many as the master entry says.
///
/// # Errors
/// What does not fit.
pub fn validate(bytes: &[u8], deep: bool) -> Result<(), Corrupt> {
    let listpack = ListpackView::from_bytes(bytes, deep).map_err(|_| DAMAGED)?;
    if listpack.first().is_none() {
        return Err(Corrupt("Empty listpack inside stream"));
    }
    if !deep {
        return Ok(());
    }
    let block = Block::new(StreamId::MIN, listpack);
    let master = block.master().ok_or(DAMAGED)?;
    if block.integer(master.terminator) != Some(0) {
        return Err(DAMAGED);
    }
    let total = master.live.checked_add(master.deleted).filter(|_| master.live >= 0 && master.deleted >= 0);
    let mut seen = 0i64;
    let mut end = master.terminator;
    for entry in block.entries() {
        let wanted = if entry.fields_at.is_some() || entry.flags & FLAG_SAME_FIELDS != 0 {
            entry.pairs.checked_add(3)
        } else {
            entry.pairs.checked_mul(2).and_then(|elements| elements.checked_add(4))
        };
        if block.integer(entry.count_at).and_then(|count| usize::try_from(count).ok()) != wanted {
            return Err(DAMAGED);
        }
        end = entry.count_at;
        seen += 1;
    }
    if total != Some(seen) || Some(end) != listpack.last() {
        return Err(DAMAGED);
    }
    Ok(())
}
