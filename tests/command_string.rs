//! String commands against an in-process server: replies, errors, notifications, propagation.

mod common;

use common::{InProcess, Reply};

#[test]
fn get_and_set() {
    let mut t = InProcess::new();
    assert_eq!(t.call("GET k"), "$-1");
    assert_eq!(t.call("SET k \"a b\""), "+OK");
    assert_eq!(t.call("GET k"), "$3 a b");
    assert_eq!(t.run(&[b"GET", b"k"]), Reply::bulk("a b"));
    assert_eq!(t.call("SET k"), "-ERR wrong number of arguments for 'set' command");
    t.record_propagation();
    t.call("SET k 1");
    assert_eq!(t.propagated(), ["SELECT 0", "SET k 1"]);
}
