//! What redis-cli learns from the server itself: syntax for its help, a snapshot over the wire. Its other modes are
//! in `engines.rs` and `socket_client_crate.rs`.

use crate::common::{Server, redis_cli};

/// What redis-cli prints; `None` where it is missing.
#[track_caller]
fn printed(server: &Server, args: &[&str]) -> Option<String> {
    let output = redis_cli(server.port(), args)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

/// The syntax comes from COMMAND DOCS: of commands too that redis-cli does not know.
#[test]
fn help_and_formats() {
    let server = Server::tine(&[]);
    let mut client = server.client();
    client.call(&["RPUSH", "list", "a", "b", "c"]);
    let Some(text) = printed(&server, &["help", "hexpire"]) else { return };
    let syntax = "key seconds [NX|XX|GT|LT] FIELDS numfields field [field ...]";
    assert!(text.contains(syntax), "{text}");
    let text = printed(&server, &["help", "set"]).expect("it ran before");
    assert!(text.contains("key value [NX|XX] [GET] [EX seconds|PX milliseconds|"), "{text}");
    let text = printed(&server, &["--csv", "LRANGE", "list", "0", "-1"]).expect("it ran before");
    assert_eq!(text.trim(), "\"a\",\"b\",\"c\"");
    let text = printed(&server, &["-r", "3", "-i", "0.01", "INCR", "n"]).expect("it ran before");
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["1", "2", "3"]);
}

/// `--rdb` takes a full synchronisation and keeps the file.
#[test]
fn a_snapshot_over_the_wire() {
    let server = Server::tine(&["repl-diskless-sync-delay 0", "enable-debug-command yes"]);
    let mut client = server.client();
    client.ok(&["DEBUG", "POPULATE", "500", "k", "50"]);
    let digest = client.call(&["DEBUG", "DIGEST"]);
    let target = server.dir().join("taken.rdb");
    let path = target.to_str().expect("folders of tests have plain names");
    if printed(&server, &["--rdb", path]).is_none() {
        return;
    }
    let other = Server::tine(&["enable-debug-command yes"]);
    let place = other.dir().join("dump.rdb");
    std::fs::copy(&target, place).expect("it was written");
    let mut client = other.client();
    client.ok(&["DEBUG", "RELOAD", "NOSAVE"]);
    assert_eq!(client.call(&["DEBUG", "DIGEST"]), digest);
}
