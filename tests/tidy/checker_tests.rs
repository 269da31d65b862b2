//! Tests of the tidy checker itself: for every rule a text that breaks it and a near miss that does not.

use crate::layers::{self, Named};
use crate::lists::{self, Lists};
use crate::rules::{self, Finding};
use crate::scan::{self, Source};

fn source(path: &str, text: &str) -> Source {
    Source::new(path, text, false)
}

fn problems(findings: Vec<Finding>) -> Vec<String> {
    findings.into_iter().map(|finding| finding.problem).collect()
}

fn layer_problems(path: &str, text: &str) -> usize {
    layers::check(&source(path, text)).len()
}

#[test]
fn masking_removes_comments_and_literals_only() {
    let text = "a /* x /* y */ z */ b // c\n\"d\\\"e\" f 'g' '\\'' &'h i r#\"j\"k\"# l b\"m\" b'n' r#type";
    let words: Vec<String> = scan::tokenize(&scan::mask(text)).into_iter().map(|token| token.text).collect();
    let expected = ["a", "b", "\"", "f", "\"", "\"", "&", "'h", "i", "\"", "l", "\"", "\"", "r", "#", "type"];
    assert_eq!(words, expected);
}

#[test]
fn masking_keeps_the_line_numbers() {
    let tokens = scan::tokenize(&scan::mask("/* 1\n2 */ a\n\"3\n4\" b"));
    assert_eq!((tokens[0].line, tokens.last().map(|token| token.line)), (1, Some(3)));
    assert_eq!(scan::mask("\"open\n"), "\"    \n", "a literal that never ends");
}

#[test]
fn functions_are_measured_over_nested_braces() {
    let text =
        "fn a(x: [u8; 2]) -> u8\nwhere u8: Copy {\n  if x { \"}\" } // }\n  '}'\n}\nfn b();\nfn c() {}\n";
    let found = rules::functions(&source("src/base/x.rs", text));
    let sizes: Vec<(&str, usize)> = found.iter().map(|f| (f.name.as_str(), f.lines)).collect();
    assert_eq!(sizes, [("a", 5), ("c", 1)]);
}

#[test]
fn a_function_of_71_lines_is_too_long_and_70_is_not() {
    let body = |lines: usize| format!("fn long() {{\n{}}}\n", "    step();\n".repeat(lines - 2));
    assert_eq!(rules::check_lengths(&source("src/base/x.rs", &body(70)), &[]), []);
    let found = problems(rules::check_lengths(&source("src/base/x.rs", &body(71)), &[]));
    assert_eq!(found, ["fn long has 71 lines (> 70)"]);
    let in_test = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", body(71));
    assert_eq!(rules::check_lengths(&source("src/base/x.rs", &in_test), &[]), []);
    let as_table = format!("{}\n{}", scan::TABLE_MARKER, body(71));
    assert_eq!(rules::check_lengths(&source("src/base/x.rs", &as_table), &[]), []);
}

#[test]
fn a_file_of_801_lines_is_too_long_but_tests_and_tables_do_not_count() {
    let lines = |n: usize| "const A: u8 = 1;\n".repeat(n);
    let check = |text: &str| rules::check_lengths(&source("src/base/x.rs", text), &[]).len();
    assert_eq!(check(&lines(800)), 0);
    assert_eq!(check(&lines(801)), 1);
    assert_eq!(check(&format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(700), lines(300))), 0);
    let table = format!("{}\nconst T: &[u8] = &[\n{}];\n", scan::TABLE_MARKER, "    1,\n".repeat(300));
    assert_eq!(check(&format!("{}{table}", lines(700))), 0);
    assert_eq!(check(&format!("{}{table}{}", lines(700), lines(101))), 1);
}

#[test]
fn exceptions_may_only_shrink() {
    let text = format!("fn long() {{\n{}}}\n", "    step();\n".repeat(78));
    let check = |line: &str| {
        let entries = lists::parse("list", line, 4).expect("a well-formed list");
        problems(rules::check_lengths(&source("src/base/x.rs", &text), &entries))
    };
    assert_eq!(check("function src/base/x.rs long 80 why"), Vec::<String>::new());
    assert!(check("function src/base/x.rs long 90 why")[0].starts_with("lower the exception from 90 to 80"));
    assert!(check("function src/base/x.rs long 75 why")[0].starts_with("80 lines, over its exception"));
    let unused = check("function src/base/x.rs long 80 why\nfunction src/base/x.rs other 80 why");
    assert!(unused[0].starts_with("exception no longer needed"), "{unused:?}");
    assert_eq!(check("file src/base/x.rs - 900 why").len(), 2, "the function is long, the file is not");
    assert!(lists::parse("list", "function src/base/x.rs long 80", 4).is_err(), "a reason is required");
}

#[test]
fn test_regions_end_with_their_item() {
    let text = "#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;\nfn a() {}\n#[cfg(all(test, unix))]\nfn b() {\n}\nfn c() {}";
    let source = source("src/base/x.rs", text);
    assert_eq!(source.test_line, [true, true, true, false, true, true, true, false]);
    assert_eq!(scan::test_modules(&source), ["tests"]);
    assert!(!Source::new("p", "#[cfg(not(test))]\nfn a() {}", false).is_test(1));
}

#[test]
fn upward_paths_are_found() {
    assert_eq!(layer_problems("src/value/zset.rs", "use crate::command::zset;"), 1);
    assert_eq!(layer_problems("src/value/zset.rs", "use crate::{base::clock, keyspace::Entry};"), 1);
    assert_eq!(layer_problems("src/value/zset.rs", "fn f() { crate::server::stop() }"), 1);
    assert_eq!(layer_problems("src/value/zset.rs", "use super::super::keyspace::Entry;"), 1);
    assert_eq!(layer_problems("src/value/mod.rs", "use super::{ds::table, server};"), 1);
    assert_eq!(
        layer_problems("src/value/zset.rs", "mod a { mod b { use super::super::super::super::net; } }"),
        1
    );
    assert_eq!(layer_problems("src/value/zset.rs", "macro_rules! m { () => { $crate::net::x() } }"), 1);
    assert_eq!(layer_problems("src/value/zset.rs", "use crate as root;"), 1);
    assert_eq!(layer_problems("src/value/zset.rs", "use crate::{self as root};"), 1);
    assert_eq!(layer_problems("src/value/zset.rs", "use crate::Thing;"), 1, "the root has no items");
    assert_eq!(layer_problems("src/attic/x.rs", ""), 1, "a room without a floor");
}

#[test]
fn neighbours_are_kept_apart() {
    assert_eq!(layer_problems("src/ds/table.rs", "use crate::resp::parse;"), 1);
    assert_eq!(layer_problems("src/script/mod.rs", "use crate::replay::run;"), 1);
    assert_eq!(layer_problems("src/base/clock.rs", "use crate::sys::page_size;"), 1);
    assert_eq!(layer_problems("src/sys/fork.rs", "use crate::base::clock;"), 0);
    assert_eq!(layer_problems("src/bin/tine-server.rs", "use tine::boot::run;"), 0);
    assert_eq!(layer_problems("src/bin/tine-server.rs", "use tine::attic::run;"), 1);
}

#[test]
fn downward_paths_are_free() {
    assert_eq!(layer_problems("src/value/zset.rs", "use crate::{base::{clock, number}, ds, value::set};"), 0);
    assert_eq!(
        layer_problems("src/value/zset.rs", "use super::set::Set; use super::super::ds::listpack;"),
        0
    );
    assert_eq!(layer_problems("src/value/zset.rs", "// crate::net\nfn f() { g(\"crate::net\") }"), 0);
    assert_eq!(layer_problems("src/value/zset.rs", "mod tests { use super::{Zset, rank}; }"), 0);
    assert_eq!(layer_problems("src/value/zset.rs", "pub(crate) fn f() { crate::log_line!(1) }"), 0);
    assert_eq!(layer_problems("src/value/zset.rs", "impl A { fn f(&self) { self.net(); net::x(); } }"), 0);
    assert_eq!(layer_problems("src/lib.rs", "pub mod net; pub use crate::net::Loop;"), 0);
}

#[test]
fn a_group_is_followed_past_its_inner_groups() {
    let text = "use crate::{base::{a, b}, ds::{c::{d}, e}, net::{f}};";
    let rooms: Vec<Named> =
        layers::named_rooms(&source("src/value/x.rs", text)).into_iter().map(|(_, named)| named).collect();
    let expected = ["base", "ds", "net"].map(|room| Named::Room(room.to_owned()));
    assert_eq!(rooms, expected);
}

#[test]
fn every_floor_holds_rooms_that_cannot_reach_up() {
    for (from, from_floor) in layers::FLOORS {
        for (to, to_floor) in layers::FLOORS {
            if to_floor > from_floor {
                assert!(!layers::may_use(from, to), "{from} uses {to}");
            }
        }
    }
}

#[test]
fn unfinished_work_and_globs_are_found_everywhere() {
    let check = |text: &str| rules::check_everywhere(&source("tests/x.rs", text)).len();
    assert_eq!(check("fn f() { todo!() }"), 1);
    assert_eq!(check("fn f() { unimplemented!(\"x\") }"), 1);
    assert_eq!(check("fn f() { dbg!(1); }"), 1);
    assert_eq!(check("#[cfg(test)]\nmod tests { use super::*; }"), 1);
    assert_eq!(check("use std::{fmt::{self, *}, io};"), 1);
    assert_eq!(check("lazy_static! { }"), 1);
    assert_eq!(
        check("// todo!()\nuse a::b; fn f() { 2 * 3; todo(1) } fn g() -> impl A + use<'_> { x * y }"),
        0
    );
}

#[test]
fn unwrap_and_shared_cells_are_found_outside_tests() {
    let check = |text: &str| rules::check_source_bans(&source("src/base/x.rs", text)).len();
    assert_eq!(check("fn f() { a.unwrap() }"), 1);
    assert_eq!(check("fn f() { a\n  .unwrap () }"), 1);
    assert_eq!(check("struct A { b: Rc<RefCell<u8>> }"), 1);
    assert_eq!(check("struct A { b: Rc<std::cell::RefCell<u8>> }"), 1);
    assert_eq!(
        check("fn f() { a.unwrap_or(1); a.expect(\"reason\"); }\n#[cfg(test)]\nfn t() { a.unwrap() }"),
        0
    );
}

#[test]
fn headers_are_required() {
    let check = |path: &str, text: &str| rules::check_header(&source(path, text)).len();
    assert_eq!(check("src/base/x.rs", "// not a header\n"), 1);
    assert_eq!(check("src/base/x.rs", ""), 1);
    assert_eq!(check("src/base/x.rs", "//! What it is for.\n"), 0);
    assert_eq!(check("src/lib.rs", "//! Root.\n"), 1);
    assert_eq!(check("src/bin/a.rs", "//! Root.\n#![deny(unsafe_code)]\n"), 0);
}

#[test]
fn statics_with_state_are_found() {
    let check = |text: &str| rules::check_statics(&source("src/base/x.rs", text), &Lists::default()).len();
    assert_eq!(check("static A: Mutex<u8> = Mutex::new(1);"), 1);
    assert_eq!(check("static mut A: u8 = 1;"), 1);
    assert_eq!(check("static A: Server = Server::new();"), 1);
    assert_eq!(check("static A: &[Mutex<u8>] = &[];"), 1);
    assert_eq!(check("thread_local! { static A: Cell<u8> = Cell::new(1); }"), 1);
    assert_eq!(check("pub static A: AtomicU64 = AtomicU64::new(0);\nstatic B: [AtomicBool; 2] = x;"), 0);
    assert_eq!(
        check("static A: &[Row] = &[];\nstatic B: [u64; 256] = table();\nfn f(x: &'static str) {}"),
        0
    );
    assert_eq!(check("static A: [[Mutex<u8>; 2]; 3] = x;"), 1);
    assert_eq!(check("static A: [([u8; 2], Mutex<u8>); 3] = x;"), 1);
    assert_eq!(check("unsafe extern \"C\" { static environ: *const u8; }"), 0);
    let listed = Lists { statics: entries("src/base/x.rs A why", 2), ..Lists::default() };
    let text = "static A: Server = x; static B: Server = x;";
    assert_eq!(rules::check_statics(&source("src/base/x.rs", text), &listed).len(), 1);
}

fn entries(text: &str, columns: usize) -> Vec<lists::Entry> {
    lists::parse("list", text, columns).expect("a well-formed list")
}

#[test]
fn plain_heap_fields_in_data_are_found() {
    let check = |path: &str, text: &str| rules::check_heap(&source(path, text), &Lists::default()).len();
    assert_eq!(check("src/value/x.rs", "struct A { b: Vec<u8> }"), 1);
    assert_eq!(check("src/ds/x.rs", "#[derive(Debug)] pub struct A<T>(Box<T>);"), 1);
    assert_eq!(check("src/keyspace/x.rs", "enum A { B, C(std::string::String) }"), 1);
    assert_eq!(check("src/server/x.rs", "struct A { b: Vec<u8> }"), 0, "not a data room");
    assert_eq!(check("src/value/x.rs", "struct A { b: u8 }\nfn f() -> Vec<u8> { a.union(Vec::new()) }"), 0);
    assert_eq!(check("src/value/x.rs", "#[cfg(test)]\nstruct Model { b: Vec<u8> }"), 0);
    let listed = Lists { heap: entries("src/value/x.rs A why", 2), ..Lists::default() };
    let text = "struct A { b: Vec<u8> } struct B { b: Vec<u8> }";
    assert_eq!(problems(rules::check_heap(&source("src/value/x.rs", text), &listed)).len(), 1);
}

fn unsafe_problems(path: &str, text: &str) -> usize {
    let lists = Lists { unsafe_files: entries("src/sys/ why\nsrc/base/crc.rs why", 1), ..Lists::default() };
    rules::check_unsafe(&source(path, text), &lists).len()
}

#[test]
fn unsafe_outside_of_the_list_is_found() {
    let proven = "// SAFETY: proof.\nlet a = unsafe { b() };";
    assert_eq!(unsafe_problems("src/value/x.rs", proven), 1);
    assert_eq!(unsafe_problems("src/base/crc_other.rs", proven), 1);
    assert_eq!(unsafe_problems("src/base/crc.rs", proven), 0);
    assert_eq!(unsafe_problems("src/sys/deep/x.rs", proven), 0);
    assert_eq!(unsafe_problems("src/value/x.rs", "// unsafe\nlet unsafe_name = \"unsafe\";"), 0);
}

#[test]
fn unsafe_without_proof_is_found() {
    assert_eq!(unsafe_problems("src/sys/x.rs", "let a = unsafe { b() };"), 1);
    assert_eq!(unsafe_problems("src/sys/x.rs", "unsafe impl Send for A {}"), 1);
    assert_eq!(unsafe_problems("src/sys/x.rs", "unsafe extern \"C\" { fn f(); }"), 1);
    assert_eq!(unsafe_problems("src/sys/x.rs", "// SAFETY: proof.\n\n\n\nlet a = unsafe { b() };"), 1);
    assert_eq!(unsafe_problems("src/sys/x.rs", "// SAFETY: proof.\n\n\nlet a = unsafe { b() };"), 0);
    let long = "// SAFETY: a proof\n// of\n// five\n// whole\n// lines\nlet a = unsafe { b() };";
    assert_eq!(unsafe_problems("src/sys/x.rs", long), 0);
    assert_eq!(unsafe_problems("src/sys/x.rs", "// Fast.\nlet a = unsafe { b() };"), 1);
}

#[test]
fn unsafe_without_contract_is_found() {
    assert_eq!(unsafe_problems("src/sys/x.rs", "/// Reads.\npub unsafe fn read() {}"), 1);
    assert_eq!(
        unsafe_problems("src/sys/x.rs", "// SAFETY: a proof is no contract.\npub unsafe fn read() {}"),
        1
    );
    let documented = "/// Reads.\n///\n/// # Safety\n/// `a` is valid.\n#[inline]\npub unsafe fn read() {}";
    assert_eq!(unsafe_problems("src/sys/x.rs", documented), 0);
    assert_eq!(unsafe_problems("src/sys/x.rs", "struct A { f: unsafe fn(u8) }"), 0);
    let inherited = "// SAFETY: proof.\nunsafe impl GlobalAlloc for A {\n\n\n\nunsafe fn alloc(&self) {}\n}";
    assert_eq!(unsafe_problems("src/sys/x.rs", inherited), 0);
    let own = "impl A {\n\n\n\nunsafe fn alloc(&self) {}\n}";
    assert_eq!(unsafe_problems("src/sys/x.rs", own), 1);
    let higher_ranked = "impl<F: for<'a> Fn(&'a u8)> A<F> {\n\n\n\nunsafe fn alloc(&self) {}\n}";
    assert_eq!(unsafe_problems("src/sys/x.rs", higher_ranked), 1);
}
