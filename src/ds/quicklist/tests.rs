//! Quicklist: edits against a vector under many settings, node placement, the RDB's view.

use super::{Codec, Container, Direction, Options, Quicklist, Side, Stored};
use crate::ds::listpack::{Listpack, ListpackView};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;

type Model = Vec<Vec<u8>>;

const LZF: Codec = Codec::LZF;

fn list_of(options: Options, model: &[Vec<u8>]) -> Quicklist {
    let mut list = Quicklist::new(options, &LZF);
    model.iter().for_each(|text| list.push_back(text));
    list
}

fn texts(list: &Quicklist) -> Model {
    collect(list, 0, Direction::Forward)
}

fn collect(list: &Quicklist, index: usize, direction: Direction) -> Model {
    let mut out = Model::new();
    let mut iter = list.iter_from(index, direction);
    while let Some(element) = iter.next_element() {
        out.push(element.to_vec());
    }
    assert!(iter.next_element().is_none());
    out
}

fn numbers(count: usize) -> Model {
    (0..count).map(|value| format!("value-{value:06}-value-value").into_bytes()).collect()
}

fn counts(list: &Quicklist) -> Vec<usize> {
    list.nodes().map(|node| node.count).collect()
}

#[derive(Clone, Debug)]
enum Edit {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    PushMany(bool, u8),
    PopFront,
    PopBack,
    Insert(u16, bool, Vec<u8>),
    Replace(u16, Vec<u8>),
    DeleteRange(u16, u8),
    RemoveMatching(u16, u8, bool),
    AppendPacked(Vec<Vec<u8>>),
    AppendPlain(Vec<u8>),
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0u8..12).prop_map(|value| value.to_string().into_bytes()),
        2 => (0u8..4, 0usize..120).prop_map(|(byte, len)| vec![b'a' + byte; len]),
        1 => vec(any::<u8>(), 0..80),
        1 => (1000usize..5000).prop_map(|len| vec![b'z'; len]),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        2 => text().prop_map(Edit::PushBack),
        2 => text().prop_map(Edit::PushFront),
        2 => (any::<bool>(), 1u8..40).prop_map(|(front, count)| Edit::PushMany(front, count)),
        1 => proptest::prelude::Just(Edit::PopFront),
        1 => proptest::prelude::Just(Edit::PopBack),
        6 => (any::<u16>(), any::<bool>(), text()).prop_map(|(at, after, text)| Edit::Insert(at, after, text)),
        3 => (any::<u16>(), text()).prop_map(|(at, text)| Edit::Replace(at, text)),
        2 => (any::<u16>(), 0u8..30).prop_map(|(at, count)| Edit::DeleteRange(at, count)),
        2 => (any::<u16>(), 1u8..5, any::<bool>()).prop_map(|(at, limit, back)| Edit::RemoveMatching(at, limit, back)),
        1 => vec(text(), 0..6).prop_map(Edit::AppendPacked),
        1 => text().prop_map(Edit::AppendPlain),
    ]
}

fn apply(edit: Edit, list: &mut Quicklist, model: &mut Model) {
    match edit {
        Edit::PushBack(text) => {
            list.push_back(&text);
            model.push(text);
        }
        Edit::PushFront(text) => {
            list.push_front(&text);
            model.insert(0, text);
        }
        Edit::PushMany(front, count) => push_many(front, count, list, model),
        Edit::PopFront => {
            let expected = (!model.is_empty()).then(|| model.remove(0));
            assert_eq!(list.pop_front().map(|picked| picked.into_vec()), expected);
        }
        Edit::PopBack => {
            assert_eq!(list.pop_back().map(|picked| picked.into_vec()), model.pop());
        }
        Edit::AppendPacked(texts) => {
            let mut listpack = Listpack::new();
            texts.iter().for_each(|text| listpack.push_back(text).expect("small"));
            list.append_packed(listpack);
            model.extend(texts);
        }
        Edit::AppendPlain(text) => {
            list.append_plain(&text);
            model.push(text);
        }
        other => apply_inside(other, list, model),
    }
}

fn push_many(front: bool, count: u8, list: &mut Quicklist, model: &mut Model) {
    for value in 0..i64::from(count) {
        if front {
            list.push_front(value);
            model.insert(0, value.to_string().into_bytes());
        } else {
            list.push_back(value);
            model.push(value.to_string().into_bytes());
        }
    }
}

/// The edits at an index; one past the end is tried too.
fn apply_inside(edit: Edit, list: &mut Quicklist, model: &mut Model) {
    let wrap = |at: u16| usize::from(at) % (model.len() + 1);
    match edit {
        Edit::Insert(at, after, text) => {
            let index = wrap(at);
            let side = if after { Side::After } else { Side::Before };
            assert_eq!(list.insert(index, side, &text), index < model.len());
            if index < model.len() {
                model.insert(index + usize::from(after), text);
            }
        }
        Edit::Replace(at, text) => {
            let index = wrap(at);
            assert_eq!(list.replace(index, &text), index < model.len());
            if let Some(old) = model.get_mut(index) {
                *old = text;
            }
        }
        Edit::DeleteRange(at, count) => {
            let start = wrap(at);
            let end = (start + usize::from(count)).min(model.len());
            let removed = model.drain(start..end).count();
            assert_eq!(list.delete_range(start, usize::from(count)), removed);
        }
        Edit::RemoveMatching(at, limit, back) => {
            let Some(needle) = model.get(wrap(at)).cloned() else {
                return;
            };
            let direction = if back { Direction::Backward } else { Direction::Forward };
            let removed = remove_from_model(model, &needle, usize::from(limit), back);
            assert_eq!(list.remove_matching(&needle, usize::from(limit), direction), removed);
        }
        _ => unreachable!("handled by apply"),
    }
}

fn remove_from_model(model: &mut Model, needle: &[u8], limit: usize, back: bool) -> usize {
    let mut hits: Vec<usize> = (0..model.len()).filter(|&at| model[at] == needle).collect();
    if back {
        hits.reverse();
    }
    hits.truncate(limit);
    hits.sort_unstable();
    hits.iter().rev().for_each(|&at| drop(model.remove(at)));
    hits.len()
}

fn options() -> impl Strategy<Value = Options> {
    let fills = select(vec![-5i64, -1, 0, 1, 2, 3, 5, 100]);
    (fills, 0i64..4, select(vec![0u64, 1, 3, 60])).prop_map(|(fill, depth, threshold)| {
        Options::new(fill, depth).with_packed_threshold(threshold).expect("low")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn edits_agree_with_a_vector(options in options(), edits in vec(edit(), 0..60), probe in any::<u16>()) {
        let mut list = Quicklist::new(options, &LZF);
        let mut model = Model::new();
        for edit in edits {
            let shown = format!("{edit:?}");
            apply(edit, &mut list, &mut model);
            prop_assert_eq!(list.check_invariants(), Ok(()), "after {}", shown);
            prop_assert_eq!(list.len(), model.len(), "after {}", shown);
        }
        prop_assert_eq!(&texts(&list), &model);
        let index = usize::from(probe) % (model.len() + 1);
        prop_assert_eq!(list.get(index).map(|picked| picked.into_vec()), model.get(index).cloned());
        prop_assert_eq!(&collect(&list, index, Direction::Forward), &model[index..]);
        let back = collect(&list, index, Direction::Backward);
        let expected: Model = model.iter().take(index + 1).rev().cloned().collect();
        prop_assert_eq!(back, if index < model.len() { expected } else { Model::new() });
    }

    #[test]
    fn nodes_rebuild_the_list(options in options(), model in vec(text(), 0..40)) {
        let list = list_of(options, &model);
        let mut rebuilt = Quicklist::new(options, &LZF);
        for node in list.nodes() {
            let raw = match node.stored {
                Stored::Raw(raw) => raw.to_vec(),
                Stored::Compressed(bytes) => lzf::decompress(bytes, node.raw_len).expect("own"),
            };
            prop_assert_eq!(raw.len(), node.raw_len);
            match node.container {
                Container::Plain => rebuilt.append_plain(&raw),
                Container::Packed => {
                    let listpack = Listpack::from_bytes(&raw, true).expect("valid");
                    prop_assert_eq!(listpack.len(), node.count);
                    rebuilt.append_packed(listpack);
                }
            }
        }
        prop_assert_eq!(rebuilt.check_invariants(), Ok(()));
        prop_assert_eq!(texts(&rebuilt), model);
        prop_assert_eq!(counts(&rebuilt), counts(&list));
    }

    /// No node outgrows the settings, except by an element that is alone.
    #[test]
    fn nodes_respect_the_fill(options in options(), inserts in vec((any::<u16>(), any::<bool>(), text()), 1..60)) {
        let mut list = Quicklist::new(options, &LZF);
        list.push_back(0);
        for (at, after, text) in inserts {
            let side = if after { Side::After } else { Side::Before };
            list.insert(usize::from(at) % list.len(), side, &text);
        }
        for node in list.nodes() {
            prop_assert!(node.count == 1 || !options.exceeds(node.raw_len, node.count));
        }
    }
}

#[test]
fn pushes_fill_nodes_to_the_limit() {
    let list = list_of(Options::new(128, 0), &numbers(300));
    assert_eq!(counts(&list), [128, 128, 44]);
    // As a real 7.0 server does with the same elements.
    let list = list_of(Options::new(-1, 0), &numbers(400));
    assert_eq!(counts(&list), [157, 157, 86]);
}

/// LINSERTs (index of the reference, after) and the nodes a real 7.0 server then had, with
/// `list-max-listpack-size 4` and 20 elements pushed before.
#[test]
fn insertions_place_elements_as_the_real_server_does() {
    const INSERTS: [(usize, bool); 60] = [
        (4, false),
        (8, false),
        (15, true),
        (15, true),
        (6, false),
        (15, false),
        (12, true),
        (19, false),
        (22, true),
        (8, false),
        (18, false),
        (28, true),
        (1, false),
        (1, false),
        (24, false),
        (27, false),
        (33, false),
        (28, true),
        (35, false),
        (22, false),
        (14, true),
        (18, false),
        (26, false),
        (11, true),
        (7, true),
        (32, true),
        (32, false),
        (19, true),
        (37, true),
        (32, true),
        (37, false),
        (30, false),
        (47, true),
        (26, false),
        (23, true),
        (5, true),
        (42, false),
        (49, false),
        (33, true),
        (23, true),
        (46, false),
        (30, false),
        (19, true),
        (41, false),
        (21, false),
        (1, false),
        (29, true),
        (65, true),
        (45, true),
        (34, false),
        (49, false),
        (66, false),
        (54, false),
        (61, true),
        (72, false),
        (64, true),
        (62, true),
        (53, true),
        (0, true),
        (58, false),
    ];
    let model: Model = (0..20).map(|value| format!("e{value}").into_bytes()).collect();
    let mut list = list_of(Options::new(4, 0), &model);
    for (value, (index, after)) in INSERTS.into_iter().enumerate() {
        let side = if after { Side::After } else { Side::Before };
        assert!(list.insert(index, side, format!("n{value}").as_bytes()));
    }
    let expected = [1, 4, 4, 4, 2, 4, 3, 3, 3, 3, 4, 2, 4, 1, 4, 4, 1, 4, 4, 4, 3, 2, 3, 4, 3, 2];
    assert_eq!(counts(&list), expected);
}

#[test]
fn insertion_in_a_full_node_splits_it() {
    let model: Model = ["a", "b", "c", "d"].map(|text| text.as_bytes().to_vec()).to_vec();
    let mut list = list_of(Options::new(4, 0), &model);
    assert!(list.insert(1, Side::Before, b"new"));
    assert_eq!(counts(&list), [2, 3]);
    assert!(list.insert(1, Side::After, b"newer"));
    assert_eq!(counts(&list), [3, 3]);
    assert_eq!(texts(&list).concat(), b"anewnewerbcd");
}

#[test]
fn halves_of_a_split_join_their_neighbours() {
    let mut list = Quicklist::new(Options::new(4, 0), &LZF);
    let packed = |texts: &[&str]| {
        let mut listpack = Listpack::new();
        texts.iter().for_each(|text| listpack.push_back(text.as_bytes()).expect("small"));
        listpack
    };
    list.append_packed(packed(&["a"]));
    list.append_packed(packed(&["b", "c", "d", "e"]));
    list.append_packed(packed(&["f"]));
    assert!(list.insert(2, Side::After, b"x"));
    assert_eq!(texts(&list).concat(), b"abcxdef");
    assert_eq!(counts(&list), [3, 4]);
}

#[test]
fn large_elements_get_plain_nodes() {
    let options = Options::new(-2, 0).with_packed_threshold(5).expect("low");
    let mut list = list_of(options, &[b"1".to_vec(), b"2".to_vec(), b"3".to_vec()]);
    list.insert(1, Side::After, b"large");
    list.push_back(1_234_567);
    let shape: Vec<_> = list.nodes().map(|node| (node.container, node.count)).collect();
    let (plain, packed) = (Container::Plain, Container::Packed);
    assert_eq!(shape, [(packed, 2), (plain, 1), (packed, 1), (plain, 1)]);
    assert!(list.replace(2, b"tiny") && list.replace(0, b"enormous"));
    assert_eq!(texts(&list), [&b"enormous"[..], b"2", b"tiny", b"3", b"1234567"]);
    assert_eq!(list.nodes().filter(|node| node.container == plain).count(), 2);
    assert_eq!(list.remove_matching(b"1234567", 9, Direction::Backward), 1);
    assert_eq!(list.pop_front().map(|picked| picked.into_vec()), Some(b"enormous".to_vec()));
    list.check_invariants().expect("valid");
}

#[test]
fn nodes_away_from_the_ends_are_compressed() {
    let model = numbers(2000);
    let mut list = list_of(Options::new(-1, 2), &model);
    let compressed = |list: &Quicklist| -> Vec<bool> {
        list.nodes().map(|node| matches!(node.stored, Stored::Compressed(_))).collect()
    };
    let nodes = list.node_count();
    assert!(nodes > 8);
    let expected: Vec<bool> = (0..nodes).map(|at| at >= 2 && at < nodes - 2).collect();
    assert_eq!(compressed(&list), expected);
    let plain = list_of(Options::new(-1, 0), &model);
    assert!(list.memory_bytes(usize::MAX) < plain.memory_bytes(usize::MAX) / 2);
    assert_eq!(list.get(1000).map(|picked| picked.into_vec()), Some(model[1000].clone()));
    assert_eq!(compressed(&list), expected, "a read changed a node");
    list.delete_range(0, 1200);
    list.check_invariants().expect("valid");
    assert_eq!(texts(&list), model[1200..]);
    let untouched = Quicklist::new(Options::new(-1, 2), &Codec::NONE);
    assert!(untouched.is_empty() && untouched.get(0).is_none());
}

#[test]
fn a_single_node_gives_its_listpack_away() {
    let mut list = list_of(Options::default(), &numbers(3));
    assert_eq!(list.single_listpack().map(|listpack| listpack.len()), Some(3));
    assert_eq!(list.take_single_listpack().map(|listpack| listpack.len()), Some(3));
    assert!(list.is_empty());
    let mut two = list_of(Options::new(2, 0), &numbers(3));
    assert!(two.take_single_listpack().is_none());
    assert_eq!(two.len(), 3);
    let mut plain = Quicklist::new(Options::default(), &LZF);
    plain.append_plain(b"x");
    assert!(plain.take_single_listpack().is_none());
}

#[test]
fn trimming_and_indexing_a_long_list() {
    let model = numbers(3000);
    let mut list = list_of(Options::new(3, 1), &model);
    for index in (0..3000).step_by(7) {
        assert_eq!(list.get(index).map(|picked| picked.into_vec()), Some(model[index].clone()));
    }
    assert!(list.get(3000).is_none());
    assert_eq!(list.delete_range(2500, usize::MAX), 500);
    assert_eq!(list.delete_range(0, 400), 400);
    assert_eq!(list.delete_range(1000, 100), 100);
    assert_eq!(list.delete_range(2000, 1), 0);
    list.check_invariants().expect("valid");
    assert_eq!(texts(&list), [&model[400..1400], &model[1500..2500]].concat());
    let copy = list.clone();
    assert_eq!(list.delete_range(0, 5000), 2000);
    assert_eq!((list.node_count(), list.len(), copy.len()), (0, 0, 2000));
}

#[test]
fn stored_listpacks_are_valid_for_an_rdb() {
    let list = list_of(Options::new(-1, 0), &numbers(500));
    let total: usize = (list.nodes())
        .map(|node| match node.stored {
            Stored::Raw(raw) => ListpackView::from_bytes(raw, true).expect("valid").len(),
            Stored::Compressed(_) => 0,
        })
        .sum();
    assert_eq!(total, 500);
}

#[test]
fn a_node_has_the_documented_size() {
    assert_eq!(size_of::<super::node::Node>(), 24);
}
