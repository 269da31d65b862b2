//! RDB files both ways between this server and the distribution's redis-server, and what the
//! server does with files at its start.

mod common;

use common::{Client, Program, Reply, Server, new_folder};

/// Far away, Unix ms.
const EXPIRY_MS: u64 = 4_102_444_800_000;

/// Values of every string encoding, in all 16 databases.
fn fill(client: &mut Client) {
    for db in 0..16 {
        client.ok(&["SELECT", &db.to_string()]);
        for (index, value) in values().into_iter().enumerate() {
            client.ok(&[b"SET", format!("key:{db}:{index}").as_bytes(), &value]);
        }
        client.ok(&["SET", "volatile", "v", "PXAT", &(EXPIRY_MS + db).to_string()]);
        client.ok(&["SET", "123456", "an integer key"]);
        client.ok(&["SET", &"long key ".repeat(40), "x"]);
    }
    client.ok(&["SELECT", "0"]);
}

fn values() -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = Vec::new();
    for number in
        [0i64, 1, -1, 127, 128, -128, -129, 32767, 32768, -32769, i64::from(i32::MAX), i64::from(i32::MIN)]
    {
        values.push(number.to_string().into_bytes());
    }
    for number in [1i64 << 31, -(1i64 << 31) - 1, i64::MAX, i64::MIN] {
        values.push(number.to_string().into_bytes());
    }
    values.push(Vec::new());
    values.push(b"007".to_vec());
    values.push((0..=255).collect());
    for len in [1usize, 20, 21, 63, 64, 168, 169, 16383, 16384, 100_000] {
        values.push(vec![b'a'; len]);
        values.push((0..len).map(|index| (index * 7919 % 251) as u8).collect());
    }
    values
}

fn check(client: &mut Client) {
    for db in 0..16 {
        client.ok(&["SELECT", &db.to_string()]);
        for (index, value) in values().into_iter().enumerate() {
            let found = client.call(&["GET".to_owned(), format!("key:{db}:{index}")]);
            assert_eq!(found, Reply::Bulk(value), "database {db}, value {index}");
        }
        let expiry = client.call(&["PEXPIRETIME", "volatile"]);
        assert_eq!(expiry, Reply::Int((EXPIRY_MS + db) as i64));
        assert_eq!(client.call(&["GET", "123456"]), Reply::bulk("an integer key"));
        assert_eq!(client.call(&["DBSIZE"]), Reply::Int(values().len() as i64 + 3));
    }
}

/// Moves the snapshot of a stopped server to a new one of another program.
fn carry_over(from: &Server, program: Program, directives: &[&str]) -> Server {
    let folder = new_folder();
    std::fs::copy(from.dir().join("dump.rdb"), folder.path().join("dump.rdb")).expect("copy");
    Server::start(program, folder, directives)
}

#[test]
fn redis_loads_what_we_save_and_we_load_what_redis_saves() {
    let Some(redis) = Program::redis() else { return common::skip("redis-server is not installed") };
    for compression in ["yes", "no"] {
        let rdb_compression = format!("rdbcompression {compression}");
        let directives = ["save \"\"", rdb_compression.as_str()];
        let ours = Server::tine(&directives);
        fill(&mut ours.client());
        ours.client().ok(&["SAVE"]);
        let theirs = carry_over(&ours, redis.clone(), &directives);
        check(&mut theirs.client());
        theirs.client().ok(&["SAVE"]);
        let again = carry_over(&theirs, Program::Tine, &directives);
        check(&mut again.client());
        // And what a child of ours writes, in address order.
        let reply = again.client().call(&["BGSAVE"]);
        assert_eq!(reply, Reply::Simple("Background saving started".to_owned()));
        again.wait_for_save();
        let last = carry_over(&again, redis.clone(), &directives);
        check(&mut last.client());
    }
}

#[test]
fn dump_payloads_are_exchanged() {
    let Some(theirs) = Server::redis(&["save \"\""]) else { return };
    let ours = Server::tine(&["save \"\""]);
    for (index, value) in values().into_iter().enumerate() {
        let key = format!("k{index}");
        for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
            from.client().ok(&[b"SET", key.as_bytes(), &value]);
            let Reply::Bulk(payload) = from.client().call(&["DUMP", &key]) else { panic!("no payload") };
            to.client().call(&["DEL", &key]);
            to.client().ok(&[b"RESTORE", key.as_bytes(), b"0", &payload]);
            assert_eq!(to.client().call(&["GET", &key]), Reply::Bulk(value.clone()));
        }
        assert_eq!(ours.client().call(&["DUMP", &key]), theirs.client().call(&["DUMP", &key]), "{index}");
    }
}
