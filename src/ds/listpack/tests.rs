//! Listpack: bytes as the real server writes them, edits against a naive model, hostile bytes.

use super::{COUNT_UNKNOWN, EMPTY_BYTES, HEADER_BYTES, Listpack, ListpackView, Position};
use crate::ds::element::Element;
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use sha1::{Digest, Sha1};

/// Elements as clients see them.
type Model = Vec<Vec<u8>>;

fn listpack_of(model: &[Vec<u8>]) -> Listpack {
    let mut listpack = Listpack::new();
    listpack.extend(model.iter().map(Element::from)).expect("small");
    listpack
}

fn texts(listpack: &Listpack) -> Model {
    listpack.iter().map(|element| element.to_vec()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The edge values of every integer encoding and strings that only look like integers.
const EDGES: [&str; 27] = [
    "0",
    "127",
    "128",
    "-1",
    "4095",
    "4096",
    "-4096",
    "-4097",
    "32767",
    "32768",
    "-32768",
    "-32769",
    "8388607",
    "8388608",
    "-8388608",
    "-8388609",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "007",
    "-0",
    "",
    "hello",
];

/// What DUMP of a real 7.0 server holds after `RPUSH list` of `EDGES`.
const EDGES_HEX: &str = "a20000001b0000017f01c08002dfff02cfff02f1001003d00002f1ffef03f1ff7f03\
f200800004f1008003f2ff7fff04f2ffff7f04f30000800005f200008004f3ffff7fff05f3ffffff7f05f400000080000\
0000009f30000008005f4ffffff7fffffffff09f4ffffffffffffff7f09f40000000000000080099339323233333732303\
336383534373735383038148330303704822d300380018568656c6c6f06ff";

#[test]
fn bytes_of_integers_are_those_of_the_real_server() {
    let model: Model = EDGES.iter().map(|text| text.as_bytes().to_vec()).collect();
    let listpack = listpack_of(&model);
    assert_eq!(hex(listpack.as_bytes()), EDGES_HEX);
    assert_eq!(texts(&listpack), model);
    let integers = listpack.iter().filter(|element| matches!(element, Element::Int(_))).count();
    assert_eq!(integers, 22);
}

/// String lengths around every change of encoding and of backlen width, hashed after `HSET` on a
/// real 7.0 server with the fields f0, f1, ...
#[test]
fn bytes_of_long_strings_are_those_of_the_real_server() {
    let lengths = [63, 64, 124, 125, 126, 127, 4095, 4096, 16376, 16377, 16378, 16379];
    let model: Model = (lengths.iter().enumerate())
        .flat_map(|(index, &len)| [format!("f{index}").into_bytes(), vec![b'a'; len]])
        .collect();
    let listpack = listpack_of(&model);
    assert_eq!(listpack.byte_len(), 74_447);
    assert_eq!(hex(&Sha1::digest(listpack.as_bytes())), "8f39bdd0399a762a684884c2a382f30dbe570bf0");
    assert_eq!(texts(&listpack), model);
    let back: Model = listpack.iter().rev().map(|element| element.to_vec()).collect();
    assert!(back.iter().eq(model.iter().rev()));
}

#[test]
fn backlen_of_three_and_four_bytes_round_trips() {
    for len in [16_383, 2_097_140, 2_097_142, 2_097_143, 2_097_151, 3_000_000] {
        let model = vec![vec![b'x'; len], b"tail".to_vec()];
        let listpack = listpack_of(&model);
        listpack.check_invariants().expect("valid");
        assert!(listpack.iter().rev().map(|element| element.to_vec()).eq(model.into_iter().rev()));
    }
}

#[test]
fn count_is_unknown_from_65535_entries_on() {
    let mut listpack = Listpack::new();
    for value in 0..65_534i64 {
        listpack.push_back(value).expect("small");
    }
    assert_eq!(listpack.view().header_count(), 65_534);
    listpack.push_back(65_534).expect("small");
    listpack.push_back(65_535).expect("small");
    assert_eq!(listpack.view().header_count(), COUNT_UNKNOWN);
    assert_eq!(listpack.len(), 65_536);
    assert_eq!(listpack.get(-65_536), Some(Element::Int(0)));
    assert_eq!(listpack.get(-65_537), None);
    assert_eq!(listpack.get(65_535), Some(Element::Int(65_535)));
    assert_eq!(listpack.get(65_536), None);
    let other = listpack.split_off(60_000);
    assert_eq!((listpack.view().header_count(), other.len()), (60_000, 5_536));
    listpack.append(other.view()).expect("small");
    assert_eq!(listpack.len(), 65_536);
    assert_eq!(listpack.delete_range(-10, 100), 10);
    assert_eq!(listpack.len(), 65_526);
    listpack.check_invariants().expect("valid");
}

#[test]
fn find_skips_values() {
    let pairs: Model = [&b"a"[..], b"b", b"b", b"12", b"12", b"a"].map(<[u8]>::to_vec).to_vec();
    let listpack = listpack_of(&pairs);
    let view = listpack.view();
    let first = view.first().expect("not empty");
    let index_of = |needle: &[u8], skip| {
        let found = view.find(first, needle, skip)?;
        view.positions().position(|position| position == found)
    };
    assert_eq!(index_of(b"b", 0), Some(1));
    assert_eq!(index_of(b"b", 1), Some(2));
    assert_eq!(index_of(b"12", 1), Some(4));
    assert_eq!(index_of(b"12", 0), Some(3));
    assert_eq!(index_of(b"012", 0), None);
    assert_eq!(index_of(b"", 0), None);
    assert_eq!(index_of(b"b", usize::MAX), None);
}

#[derive(Clone, Debug)]
enum Edit {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    PushInteger(i64),
    Before(u16, Vec<u8>),
    After(u16, Vec<u8>),
    Replace(u16, Vec<u8>),
    Delete(u16),
    DeleteRange(i8, u8),
    SplitAndMerge(u16),
}

fn element_text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => vec(any::<u8>(), 0..20),
        3 => any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        3 => (0u32..64, any::<i64>()).prop_map(|(shift, value)| (value >> shift).to_string().into_bytes()),
        1 => "[-+0-9]{1,21}".prop_map(String::into_bytes),
        1 => (0usize..5000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        1 => Just(vec![b'y'; 16_380]),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        element_text().prop_map(Edit::PushBack),
        element_text().prop_map(Edit::PushFront),
        any::<i64>().prop_map(Edit::PushInteger),
        (any::<u16>(), element_text()).prop_map(|(at, text)| Edit::Before(at, text)),
        (any::<u16>(), element_text()).prop_map(|(at, text)| Edit::After(at, text)),
        (any::<u16>(), element_text()).prop_map(|(at, text)| Edit::Replace(at, text)),
        any::<u16>().prop_map(Edit::Delete),
        (any::<i8>(), 0..4u8).prop_map(|(at, count)| Edit::DeleteRange(at, count)),
        any::<u16>().prop_map(Edit::SplitAndMerge),
    ]
}

/// The index an edit means, with the position of its entry.
fn place(listpack: &Listpack, model: &Model, at: u16) -> Option<(usize, Position)> {
    let index = usize::from(at) % model.len().max(1);
    listpack.seek(index as i64).map(|position| (index, position))
}

fn apply(edit: Edit, listpack: &mut Listpack, model: &mut Model) {
    match edit {
        Edit::PushBack(text) => {
            listpack.push_back(&text).expect("small");
            model.push(text);
        }
        Edit::PushFront(text) => {
            listpack.push_front(&text).expect("small");
            model.insert(0, text);
        }
        Edit::PushInteger(value) => {
            listpack.push_back(value).expect("small");
            model.push(value.to_string().into_bytes());
        }
        Edit::DeleteRange(at, count) => apply_delete_range(at, count, listpack, model),
        Edit::Before(at, _) | Edit::After(at, _) | Edit::Replace(at, _) | Edit::Delete(at) => {
            if let Some((index, position)) = place(listpack, model, at) {
                apply_at(edit, index, position, listpack, model);
            }
        }
        Edit::SplitAndMerge(at) => {
            let index = usize::from(at) % (model.len() + 1);
            let tail = listpack.split_off(index);
            assert_eq!(texts(listpack), model[..index]);
            assert_eq!(texts(&tail), model[index..]);
            tail.check_invariants().expect("valid");
            listpack.append(tail.view()).expect("small");
        }
    }
}

fn apply_at(edit: Edit, index: usize, at: Position, listpack: &mut Listpack, model: &mut Model) {
    match edit {
        Edit::Before(_, text) => {
            listpack.insert_before(at, &text).expect("small");
            model.insert(index, text);
        }
        Edit::After(_, text) => {
            let new = listpack.insert_after(at, &text).expect("small");
            assert_eq!(listpack.view().element(new), Some(Element::from(&text)));
            model.insert(index + 1, text);
        }
        Edit::Replace(_, text) => {
            listpack.replace(at, &text).expect("small");
            model[index] = text;
        }
        _ => {
            let next = listpack.delete(at).and_then(|next| listpack.view().element(next));
            model.remove(index);
            assert_eq!(next, model.get(index).map(Element::from));
        }
    }
}

fn apply_delete_range(at: i8, count: u8, listpack: &mut Listpack, model: &mut Model) {
    let len = model.len() as i64;
    let start = if at < 0 { i64::from(at) + len } else { i64::from(at) };
    let expected = if (0..len).contains(&start) {
        let start = start as usize;
        let end = (start + usize::from(count)).min(model.len());
        model.drain(start..end).count()
    } else {
        0
    };
    assert_eq!(listpack.delete_range(i64::from(at), usize::from(count)), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn edits_agree_with_a_vector(edits in vec(edit(), 0..40), probe in any::<i8>()) {
        let mut listpack = Listpack::new();
        let mut model = Model::new();
        for edit in edits {
            apply(edit, &mut listpack, &mut model);
            prop_assert_eq!(listpack.check_invariants(), Ok(()));
            prop_assert_eq!(listpack.len(), model.len());
        }
        prop_assert_eq!(&texts(&listpack), &model);
        // The bytes do not depend on the way they came about.
        let rebuilt = listpack_of(&model);
        prop_assert_eq!(rebuilt.as_bytes(), listpack.as_bytes());
        prop_assert_eq!(listpack.is_empty(), model.is_empty());
        let index = if probe < 0 { i64::from(probe) + model.len() as i64 } else { i64::from(probe) };
        let expected = usize::try_from(index).ok().and_then(|index| model.get(index));
        prop_assert_eq!(listpack.get(i64::from(probe)), expected.map(Element::from));
        let parsed = Listpack::from_bytes(listpack.as_bytes(), true);
        prop_assert_eq!(parsed, Ok(listpack));
    }

    #[test]
    fn iterating_from_both_ends_meets(model in vec(element_text(), 0..12), turns in any::<u16>()) {
        let listpack = listpack_of(&model);
        let mut both = listpack.iter();
        let mut expected = model.iter();
        for turn in 0..16 {
            let (got, want) = if turns >> turn & 1 == 0 {
                (both.next(), expected.next())
            } else {
                (both.next_back(), expected.next_back())
            };
            prop_assert_eq!(got, want.map(Element::from));
        }
    }

    #[test]
    fn find_agrees_with_a_scan(model in vec("[a-c0-2]{0,2}", 0..20), needle in "[a-c0-2]{0,2}", skip in 0usize..3) {
        let model: Model = model.into_iter().map(String::into_bytes).collect();
        let listpack = listpack_of(&model);
        let view = listpack.view();
        let found = view.first().and_then(|first| view.find(first, needle.as_bytes(), skip));
        let index = found.and_then(|found| view.positions().position(|position| position == found));
        let expected = (0..model.len()).step_by(skip + 1).find(|&at| model[at] == needle.as_bytes());
        prop_assert_eq!(index, expected);
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..200)) {
        use_everything(bytes);
    }
}

/// Reads and edits `bytes` in every way; only a panic or an endless loop fails.
fn use_everything(bytes: Vec<u8>) {
    let view = ListpackView::over(&bytes);
    let deep = ListpackView::validate(&bytes, true).is_ok();
    let seen = view.iter().count();
    let seen_back = view.iter().rev().count();
    let _ = (view.len(), view.is_empty(), view.get(3), view.get(-3), view.seek(i64::MIN));
    if let Some(first) = view.first() {
        let _ = (view.find(first, b"needle", 1), view.find(first, b"17", 0));
    }
    for at in 0..bytes.len() + 3 {
        let _ = (view.element(Position(at)), view.next(Position(at)), view.previous(Position(at)));
    }
    if deep {
        assert_eq!((seen, seen_back), (view.len(), view.len()));
    }
    let Ok(listpack) = Listpack::from_bytes(&bytes, false) else {
        return;
    };
    for at in [0, HEADER_BYTES, HEADER_BYTES + 1, listpack.byte_len(), usize::MAX] {
        let mut edited = listpack.clone();
        let _ = edited.insert_after(Position(at), b"new");
        let _ = edited.replace(Position(at), 123_456);
        let _ = edited.insert_before(Position(at), 1);
        let _ = (edited.delete(Position(at)), edited.delete_range(-2, 5));
        let tail = edited.split_off(2);
        let _ = edited.append(tail.view());
        assert!(ListpackView::validate(edited.as_bytes(), false).is_ok());
        if deep && at == HEADER_BYTES {
            assert_eq!(edited.check_invariants(), Ok(()));
        }
    }
}

/// Flips, overwrites, inserts and cuts bytes of good listpacks, repairing the header half of the
/// time so that the entries are reached.
#[test]
fn mutated_listpacks_are_survived() {
    let mut random = fastrand::Rng::with_seed(0x11_57_9A_C4);
    let (mut accepted, mut refused) = (0u32, 0u32);
    for _ in 0..20_000 {
        let mut bytes = random_listpack(&mut random).as_bytes().to_vec();
        for _ in 0..random.usize(1..4) {
            mutate(&mut random, &mut bytes);
        }
        if random.bool() && bytes.len() >= EMPTY_BYTES {
            let total = (bytes.len() as u32).to_le_bytes();
            bytes[..4].copy_from_slice(&total);
            *bytes.last_mut().expect("not empty") = 0xFF;
        }
        match ListpackView::validate(&bytes, true) {
            Ok(()) => accepted += 1,
            Err(_) => refused += 1,
        }
        use_everything(bytes);
    }
    // Both outcomes must be common, or the mutator has gone blind.
    assert!(accepted > 1_000 && refused > 5_000, "{accepted} accepted, {refused} refused");
}

fn random_listpack(random: &mut fastrand::Rng) -> Listpack {
    let mut listpack = Listpack::new();
    for _ in 0..random.usize(0..6) {
        if random.bool() {
            listpack.push_back(random.i64(..) >> random.u32(0..64)).expect("small");
        } else {
            let longest = if random.u8(..) < 8 { 5000 } else { 70 };
            let text = vec![b'v'; random.usize(0..longest)];
            listpack.push_back(&text).expect("small");
        }
    }
    listpack
}

fn mutate(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = random.usize(..bytes.len());
    match random.u8(..6) {
        0 => bytes[at] ^= 1 << random.u8(..8),
        1 => bytes[at] = random.u8(..),
        2 => bytes.insert(at, random.u8(0xE0..)),
        3 => {
            bytes.remove(at);
        }
        4 => bytes.truncate(at),
        _ => {
            let low = at.min(HEADER_BYTES);
            bytes[low] = [0x00, 0x7F, 0xF0, 0xF4, 0xFE, 0xFF][random.usize(..6)];
        }
    }
}
