//! Streams: bytes of the real server, the log against a naive model, groups, hostile blocks.

use super::block::{self, Block};
use super::{AppendError, BlockLimits, Counters, Group, IdChoice, Pending, Stream, StreamId, Trim, TrimTo};
use crate::ds::listpack::ListpackView;
use crate::sys::data_alloc::{Cursor, Mover};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use std::collections::BTreeMap;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

const LIMITS: BlockLimits = BlockLimits { bytes: 4096, entries: 5 };

fn pairs(fields: &Fields) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
    fields.iter().map(|(field, value)| (field.as_slice(), value.as_slice()))
}

fn add(stream: &mut Stream, id: StreamId, text: &str) {
    let words: Vec<&str> = text.split(' ').collect();
    let fields: Fields = words.chunks(2).map(|pair| (pair[0].into(), pair[1].into())).collect();
    stream.log_mut().append(IdChoice::Given(id), pairs(&fields), LIMITS).expect("ids rise");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first block of what a real 7.0 server dumped after the same commands.
const REAL_BLOCK_HEX: &str = "680000002500040101010201816102816202000102010001000101018568656c6c6f\
060501030100010101020185776f726c6406050100010101dfff02010181630281780206010201020104010301f287d612\
0405010201f2b7820104dfff028001dff9020501ff";

#[test]
fn blocks_are_those_of_the_real_server() {
    let mut stream = Stream::default();
    add(&mut stream, StreamId::new(1000, 1), "a 1 b hello");
    add(&mut stream, StreamId::new(1000, 2), "a 2 b world");
    add(&mut stream, StreamId::new(1001, 0), "c x");
    add(&mut stream, StreamId::new(1002, 5), "a 3 b 1234567");
    assert_eq!(stream.log_mut().delete(&[StreamId::new(1000, 2), StreamId::new(1000, 2)]), 1);
    add(&mut stream, StreamId::new(99_999, 0), "a  b -7");
    add(&mut stream, StreamId::new(100_000, 0), "z z");
    let blocks: Vec<_> = stream.log().blocks().iter().collect();
    assert_eq!(blocks.len(), 2);
    assert_eq!(*blocks[0].0, StreamId::new(1000, 1));
    assert_eq!(hex(blocks[0].1.as_bytes()), REAL_BLOCK_HEX);
    for (_, listpack) in blocks {
        assert_eq!(block::validate(listpack.as_bytes(), true), Ok(()));
    }
}

/// What a stream is to hold.
#[derive(Clone, Debug, Default)]
struct Model {
    entries: BTreeMap<StreamId, Fields>,
    last_id: StreamId,
    max_deleted_id: StreamId,
    added: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8, Fields),
    Delete(Vec<u8>),
    MaxLen(u8),
    MinId(u8),
    MaxLenAbout(u8, u8),
}

fn fields() -> impl Strategy<Value = Fields> {
    let name = "[ab]{1,2}".prop_map(String::into_bytes);
    let value =
        prop_oneof![vec(any::<u8>(), 0..90), any::<i32>().prop_map(|value| value.to_string().into_bytes())];
    vec((name, value), 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..3, fields()).prop_map(|(ms, fields)| Step::Add(ms, fields)),
        2 => vec(any::<u8>(), 0..6).prop_map(Step::Delete),
        1 => any::<u8>().prop_map(Step::MaxLen),
        1 => any::<u8>().prop_map(Step::MinId),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(most, limit)| Step::MaxLenAbout(most, limit)),
    ]
}

/// An id near the entries of the model, present or not.
fn probe(model: &Model, pick: u8) -> StreamId {
    let index = usize::from(pick / 2) % (model.entries.len() + 1);
    let id = model.entries.keys().nth(index).copied().unwrap_or(model.last_id);
    if pick.is_multiple_of(2) { id } else { id.next().unwrap_or(id) }
}

fn apply(step: Step, stream: &mut Stream, model: &mut Model) {
    let log = stream.log_mut();
    match step {
        Step::Add(ms, fields) => {
            let choice = IdChoice::AutoSequence { ms: model.last_id.ms + u64::from(ms) };
            let id = log.append(choice, pairs(&fields), LIMITS).expect("the id rises");
            assert!(id > model.last_id);
            model.last_id = id;
            model.added += 1;
            model.entries.insert(id, fields);
        }
        Step::Delete(picks) => {
            let ids: Vec<StreamId> = picks.iter().map(|pick| probe(model, *pick)).collect();
            let mut expected = 0;
            for id in &ids {
                if model.entries.remove(id).is_some() {
                    model.max_deleted_id = model.max_deleted_id.max(*id);
                    expected += 1;
                }
            }
            assert_eq!(log.delete(&ids), expected);
        }
        Step::MaxLen(most) => {
            let gone = model.entries.len().saturating_sub(most.into());
            let trim = Trim { to: TrimTo::MaxLen(most.into()), approximately: false, limit: 0 };
            assert_eq!(log.trim(&trim), gone as u64);
            (0..gone).for_each(|_| drop(model.entries.pop_first()));
        }
        Step::MinId(pick) => {
            let id = probe(model, pick);
            let kept = model.entries.split_off(&id);
            let trim = Trim { to: TrimTo::MinId(id), approximately: false, limit: 0 };
            assert_eq!(log.trim(&trim), model.entries.len() as u64);
            model.entries = kept;
        }
        Step::MaxLenAbout(most, limit) => {
            let trim = Trim { to: TrimTo::MaxLen(most.into()), approximately: true, limit: limit.into() };
            let gone = log.trim(&trim);
            assert!(limit == 0 || gone <= limit.into());
            (0..gone).for_each(|_| drop(model.entries.pop_first()));
            assert!(gone == 0 || model.entries.len() >= most.into());
        }
    }
}

fn texts(entry: &super::Entry<'_>) -> (StreamId, Fields) {
    let fields: Fields = entry.pairs().map(|(field, value)| (field.to_vec(), value.to_vec())).collect();
    assert_eq!(fields.len(), entry.len());
    (entry.id, fields)
}

fn check(stream: &Stream, model: &Model) {
    let log = stream.log();
    assert_eq!(
        (log.len(), log.last_id(), log.entries_added()),
        (model.entries.len() as u64, model.last_id, model.added)
    );
    assert_eq!(log.first_id(), model.entries.keys().next().copied().unwrap_or(StreamId::MIN));
    assert_eq!(log.max_deleted_id(), model.max_deleted_id);
    assert_eq!(log.last_live_id(), model.entries.keys().next_back().copied());
    let (mut live, mut before) = (0, None);
    for (key, listpack) in log.blocks().iter() {
        assert_eq!(block::validate(listpack.as_bytes(), true), Ok(()));
        let block = Block::new(*key, listpack.view());
        assert!(block.total() > 0 && block.total() <= LIMITS.entries as u64);
        live += block.live();
        assert_eq!(block.entries().next().map(|entry| entry.id), Some(*key));
        assert!(before < Some(*key));
        before = block.entries_back().next().map(|entry| entry.id);
        assert!(before.is_some_and(|last| last >= *key));
    }
    assert_eq!(live, log.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn log_agrees_with_a_map(steps in vec(step(), 0..80), from in any::<u8>(), to in any::<u8>()) {
        let (mut stream, mut model) = (Stream::default(), Model::default());
        for step in steps {
            apply(step, &mut stream, &mut model);
            check(&stream, &model);
        }
        let (from, to) = (probe(&model, from), probe(&model, to));
        let expected: Vec<_> = if from <= to {
            model.entries.range(from..=to).map(|(id, fields)| (*id, fields.clone())).collect()
        } else {
            Vec::new()
        };
        let log = stream.log();
        let up: Vec<_> = log.range(from, to).map(|entry| texts(&entry)).collect();
        prop_assert_eq!(&up, &expected);
        let mut down: Vec<_> = log.range_back(from, to).map(|entry| texts(&entry)).collect();
        down.reverse();
        prop_assert_eq!(&down, &expected);
        prop_assert_eq!(log.entry(from).map(|entry| texts(&entry).1), model.entries.get(&from).cloned());
        let copy = stream.clone();
        check(&copy, &model);
    }

    #[test]
    fn any_block_is_survived(bytes in vec(any::<u8>(), 0..120)) {
        use_block(&bytes);
    }

    #[test]
    fn pending_lists_agree(steps in vec((0u8..6, 0u64..30, 0u8..4), 0..120)) {
        let mut group = Group::new(StreamId::MIN, 0);
        let mut model: BTreeMap<u64, (String, u64)> = BTreeMap::new();
        for (what, seq, who) in steps {
            let (id, name) = (StreamId::new(0, seq), format!("c{who}"));
            match what {
                0..=2 => {
                    let consumer = group.find_consumer(name.as_bytes());
                    let consumer = consumer.or_else(|| group.create_consumer(name.as_bytes(), 7)).expect("made");
                    group.deliver(id, Pending { consumer, delivered_ms: 5, deliveries: 1 });
                    model.insert(seq, (name, 1));
                }
                3 => prop_assert_eq!(group.acknowledge(id), model.remove(&seq).is_some()),
                4 => {
                    group.redeliver(id, 9);
                    model.entry(seq).and_modify(|pending| pending.1 += 1);
                }
                _ => {
                    let expected = model.values().filter(|pending| pending.0 == name).count();
                    let deleted = group.delete_consumer(name.as_bytes());
                    prop_assert_eq!(deleted.unwrap_or(0), expected);
                    model.retain(|_, pending| pending.0 != name);
                }
            }
            group.check_invariants();
        }
        let got: Vec<_> = (group.pending().iter())
            .map(|(id, pending)| {
                let name = String::from_utf8_lossy(group.consumer_name(pending.consumer)).into_owned();
                (id.seq, (name, pending.deliveries))
            })
            .collect();
        prop_assert_eq!(got, model.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(group.finish_loading(), Ok(()));
    }
}

/// Reads and edits a block in every way; only a panic or an endless loop fails.
fn use_block(bytes: &[u8]) -> bool {
    let key = StreamId::new(u64::MAX - 2, 3);
    let block = Block::new(key, ListpackView::over(bytes));
    let _ = (block.live(), block.total());
    let forward: usize = block.entries().map(|entry| 1 + entry.pairs().count()).sum();
    let backward: usize = block.entries_back().map(|entry| 1 + entry.pairs().count()).sum();
    let valid = block::validate(bytes, true).is_ok();
    if valid {
        assert_eq!(forward, backward);
    }
    let mut stream = Stream::default();
    if stream.load_block(key, bytes, false).is_err() {
        return false;
    }
    let counters = Counters {
        length: 3,
        last_id: key,
        first_id: StreamId::new(1, 1),
        max_deleted_id: StreamId::new(2, 2),
        entries_added: u64::MAX,
    };
    assert_eq!(stream.load_counters(counters), Ok(()));
    let group = Group::new(key, i64::MIN);
    let _ = (
        stream.lag(&group),
        stream.estimated_entries_read(key),
        stream.memory_bytes(usize::MAX),
        stream.free_effort(),
    );
    let mut copy = stream.clone();
    let ids: Vec<StreamId> = copy.log().range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id).collect();
    copy.log_mut().delete(&ids);
    for to in [TrimTo::MaxLen(1), TrimTo::MinId(StreamId::MAX), TrimTo::MaxLen(0)] {
        let mut copy = stream.clone();
        copy.log_mut().trim(&Trim { to, approximately: false, limit: 0 });
    }
    let fields: Fields = vec![(b"a".to_vec(), b"b".to_vec())];
    let limits = BlockLimits { bytes: 0, entries: 0 };
    let _ = stream.log_mut().append(IdChoice::Auto { now_ms: u64::MAX }, pairs(&fields), limits);
    valid
}

/// Bytes of a good block are changed, the listpack's header repaired half of the time.
#[test]
fn mutated_blocks_are_survived() {
    let good: Vec<u8> = (0..REAL_BLOCK_HEX.len() / 2)
        .map(|at| u8::from_str_radix(&REAL_BLOCK_HEX[2 * at..2 * at + 2], 16).expect("hex"))
        .collect();
    assert!(use_block(&good));
    let mut random = fastrand::Rng::with_seed(0x57_12_EA_11);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(6..bytes.len() - 1);
            match random.u8(..4) {
                0 => bytes[at] = random.u8(..),
                1 => bytes[at] ^= 1 << random.u8(..8),
                2 => drop(bytes.drain(at..(at + random.usize(1..5)).min(bytes.len() - 1))),
                _ => bytes.insert(at, random.choice([0x01, 0x02, 0x81, 0xF4, 0x7F]).expect("not empty")),
            }
        }
        let total = bytes.len() as u32;
        bytes[..4].copy_from_slice(&total.to_le_bytes());
        if random.bool() {
            bytes[4..6].copy_from_slice(&u16::MAX.to_le_bytes());
        }
        if use_block(&bytes) { accepted += 1 } else { refused += 1 }
    }
    assert!(accepted > 500 && refused > 5_000, "{accepted} accepted, {refused} refused");
}

#[test]
fn ids_are_chosen_above_the_last() {
    let mut stream = Stream::default();
    add(&mut stream, StreamId::new(10, u64::MAX), "a 1");
    let log = stream.log();
    assert_eq!(log.next_id(IdChoice::Auto { now_ms: 12 }), Ok(StreamId::new(12, 0)));
    assert_eq!(log.next_id(IdChoice::Auto { now_ms: 9 }), Ok(StreamId::new(11, 0)));
    assert_eq!(log.next_id(IdChoice::AutoSequence { ms: 10 }), Err(AppendError::IdTooSmall));
    assert_eq!(log.next_id(IdChoice::AutoSequence { ms: 11 }), Ok(StreamId::new(11, 0)));
    assert_eq!(log.next_id(IdChoice::AutoSequence { ms: 9 }), Err(AppendError::IdTooSmall));
    assert_eq!(log.next_id(IdChoice::Given(StreamId::new(10, u64::MAX))), Err(AppendError::IdTooSmall));
    stream.set_id(StreamId::MAX, None, None);
    assert_eq!(stream.log().next_id(IdChoice::Auto { now_ms: 12 }), Err(AppendError::IdTooSmall));
}

/// The figures of `XINFO GROUPS`; the cases of the comment in Redis's estimate of a counter.
#[test]
fn lag_is_known_where_counters_tell() {
    let mut stream = Stream::default();
    let group = |ms, read| Group::new(StreamId::new(ms, 0), read);
    assert_eq!(stream.lag(&group(0, -1)), Some(0));
    (1..=5).for_each(|ms| add(&mut stream, StreamId::new(ms, 0), "a 1"));
    assert_eq!(stream.lag(&group(3, 3)), Some(2));
    assert_eq!(stream.lag(&group(3, -1)), None);
    assert_eq!((stream.lag(&group(0, -1)), stream.lag(&group(1, -1))), (Some(5), Some(4)));
    assert_eq!(stream.lag(&group(5, -1)), Some(0));
    assert_eq!(stream.log_mut().delete(&[StreamId::new(4, 0)]), 1);
    assert_eq!(stream.lag(&group(3, 3)), None);
    assert_eq!(stream.lag(&group(4, 4)), None);
    assert_eq!(stream.lag(&Group::new(StreamId::new(4, 1), 4)), Some(1));
    stream.log_mut().trim(&Trim { to: TrimTo::MinId(StreamId::new(5, 0)), approximately: false, limit: 0 });
    assert_eq!(stream.lag(&group(3, -1)), Some(1));
    assert_eq!(stream.log().first_id(), StreamId::new(5, 0));
}

/// The goal of the type: no more than the 50 bytes of Redis 7.2 for an entry of two fields and one
/// value of 32 bytes.
#[test]
fn an_entry_takes_few_bytes() {
    const ENTRIES: u64 = 100_000;
    let mut stream = Stream::default();
    let limits = BlockLimits { bytes: 4096, entries: 100 };
    for index in 0..ENTRIES {
        let number = index.to_string().into_bytes();
        let fields: Fields = vec![(b"f1".to_vec(), number), (b"f2".to_vec(), vec![b'v'; 32])];
        let choice = IdChoice::Given(StreamId::new(index + 1, 0));
        stream.log_mut().append(choice, pairs(&fields), limits).expect("the id rises");
    }
    let bytes = stream.memory_bytes(usize::MAX) as u64 * 100 / ENTRIES;
    eprintln!("{bytes} hundredths of a byte an entry, {} blocks", stream.log().blocks().len());
    assert!(bytes <= 5000, "{bytes} hundredths of a byte an entry");
}

#[test]
fn consumers_with_gaps_in_their_numbers_are_walked_and_dropped() {
    let mut group = Group::new(StreamId::MIN, 0);
    let name = |number: u64| format!("consumer {number}").into_bytes();
    for number in 0..200 {
        let consumer = group.create_consumer(&name(number), 0).expect("it is new");
        group.deliver(StreamId::new(number, 1), Pending { consumer, delivered_ms: 0, deliveries: 1 });
    }
    for number in (0..200).step_by(3) {
        assert_eq!(group.delete_consumer(&name(number)), Some(1));
    }
    let (mut cursor, mut mover, mut steps) = (Cursor::default(), Mover::default(), 0);
    while let Some(next) = group.relocate(cursor, &mut mover) {
        assert_ne!(next, cursor);
        (cursor, steps) = (next, steps + 1);
        assert!(steps < 1000, "the walk ends");
    }
    assert!(steps >= group.consumer_count(), "{steps}");
    group.check_invariants();
    let (exact, sampled) = (group.memory_bytes(usize::MAX), group.memory_bytes(20));
    assert!(exact.abs_diff(sampled) < exact / 10, "{exact} {sampled}");
    let mut pauses = 0;
    group.clear_pausing(&mut || pauses += 1);
    assert!(pauses >= 133 && group.consumer_count() == 0 && group.pending().is_empty());
}
