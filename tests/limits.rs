//! Limits of memory: `maxmemory` with all its policies, `maxmemory-clients`, the buffers of clients.
//!
//! `used_memory` is of the whole process, so tests that compare it with a limit use a server of their
//! own; those in process set a limit of one byte, which no data set keeps.

mod common;

use common::{Client, InProcess, Server, wait_for, wait_until};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);

/// A field of an INFO section.
fn info(client: &mut Client, field: &str) -> i64 {
    let text = client.call(&["INFO", "everything"]).text();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("INFO has a number {field}"))
}

/// A field of the line of CLIENT LIST that describes the client of this name.
fn client_field(client: &mut Client, name: &str, field: &str) -> Option<i64> {
    let text = client.call(&["CLIENT", "LIST"]).text();
    let line = text.lines().find(|line| line.contains(&format!(" name={name} ")))?;
    let value = line.split(' ').find_map(|word| word.strip_prefix(field)?.strip_prefix('='))?;
    Some(value.parse().expect("the field is a number"))
}

fn named(server: &Server, name: &str) -> Client {
    let mut client = server.client();
    client.ok(&["CLIENT", "SETNAME", name]);
    client
}

#[test]
fn without_a_policy_commands_that_take_memory_are_refused() {
    const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.";
    let mut test = InProcess::new();
    test.script("SET a 1\nRPUSH l x");
    test.configure(&[("maxmemory", "1")]);
    for command in ["SET b 1", "RPUSH l y", "HSET h f v", "COPY a b", "SORT l STORE s", "APPEND a x"] {
        assert_eq!(test.call(command), OOM, "{command}");
    }
    test.transcript("GET a => $1 1\nLPOP l => $1 x\nEXPIRE a 100 => :1\nDEL a => :1\nPING => +PONG");
    test.transcript(&format!(
        "MULTI => +OK\nGET a => {OOM}\nEXEC => -EXECABORT Transaction discarded because of previous errors."
    ));
    test.transcript("MULTI => +OK\nDISCARD => +OK");
    assert!(test.call("INFO errorstats").contains("errorstat_OOM:count=7"));
    test.configure(&[("maxmemory", "0")]);
    test.transcript("SET b 1 => +OK\nDBSIZE => :1");
}

/// A request that its sender may not make, or that is wrong in itself, costs nobody a key.
#[test]
fn refused_requests_evict_nothing() {
    let mut test = InProcess::new();
    test.script(
        "SET a 1\nSET b 1\nACL SETUSER u on >p ~x +get +multi +discard +save\nACL SETUSER default >secret",
    );
    let stranger = test.client();
    test.server.reset_user(stranger);
    let guest = test.client();
    assert_eq!(test.call_as(guest, "AUTH u p"), "+OK");
    test.call_as(guest, "MULTI");
    test.configure(&[("maxmemory", "1"), ("maxmemory-policy", "allkeys-random")]);
    assert!(test.call_as(stranger, "SET c 1").starts_with("-NOAUTH"));
    assert!(test.call_as(guest, "SET c 1").starts_with("-NOPERM"));
    assert!(test.call_as(guest, "NOSUCH").starts_with("-ERR unknown command"));
    assert!(test.call_as(guest, "GET").starts_with("-ERR wrong number"));
    assert_eq!(test.call_as(guest, "SAVE"), "-ERR Command not allowed inside a transaction");
    assert_eq!(test.server.stats.evicted_keys, 0);
    test.call_as(guest, "DISCARD");
    assert_eq!(test.call_as(guest, "GET x"), "$-1");
    assert!(test.server.stats.evicted_keys > 0, "what may run makes room");
}

#[test]
fn a_queue_with_a_write_is_refused_at_exec() {
    let mut test = InProcess::new();
    test.script("SET k v\nMULTI\nSET a 1\nGET a");
    test.configure(&[("maxmemory", "1")]);
    let refused = test.call("EXEC");
    assert!(refused.starts_with("-EXECABORT") && refused.contains("OOM"), "{refused}");
    test.transcript("MULTI => +OK\nEXEC => *0");
}

/// Keys that are left of three with an expiry and three without.
fn left_after(policy: &str) -> Vec<String> {
    let mut test = InProcess::new();
    test.script("MSET a 1 b 2 c 3\nSETEX x 100 1\nSETEX y 200 2\nSETEX z 300 3");
    test.configure(&[("maxmemory", "1"), ("maxmemory-policy", policy)]);
    test.call("PING");
    let mut keys: Vec<String> = test.run(&[b"KEYS", b"*"]).items().iter().map(common::Reply::text).collect();
    keys.sort();
    assert!(test.call("INFO stats").contains(&format!("evicted_keys:{}", 6 - keys.len())));
    keys
}

#[test]
fn policies_take_all_keys_or_those_with_an_expiry() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
        assert_eq!(left_after(policy), [""; 0], "{policy}");
    }
    for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        assert_eq!(left_after(policy), ["a", "b", "c"], "{policy}");
    }
    assert_eq!(left_after("noeviction").len(), 6);
}

#[test]
fn an_evicted_key_is_propagated_announced_and_breaks_watches() {
    for (lazily, verb) in [("no", "DEL"), ("yes", "UNLINK")] {
        let mut test = InProcess::with(&[
            ("maxmemory-policy", "allkeys-lru"),
            ("lazyfree-lazy-eviction", lazily),
            ("notify-keyspace-events", "Ee"),
        ]);
        let listener = test.client();
        test.call_as(listener, "SUBSCRIBE __keyevent@3__:evicted");
        test.received(listener);
        let watcher = test.client();
        test.script("SELECT 3\nSET key value");
        for command in ["SELECT 3", "WATCH key", "MULTI", "PING"] {
            test.call_as(watcher, command);
        }
        test.record_propagation();
        test.configure(&[("maxmemory", "1")]);
        test.transcript("PING => +PONG\nDBSIZE => :0");
        assert_eq!(test.propagated(), ["SELECT 3", &format!("{verb} key")]);
        assert_eq!(test.received(listener), "*3 $7 message $22 __keyevent@3__:evicted $3 key");
        test.configure(&[("maxmemory", "0")]);
        assert_eq!(test.call_as(watcher, "EXEC"), "*-1");
    }
}

#[test]
fn nothing_is_evicted_within_a_transaction() {
    let mut test = InProcess::with(&[("maxmemory-policy", "allkeys-lru")]);
    test.record_propagation();
    test.transcript("MULTI => +OK\nINCR x => +QUEUED\nCONFIG SET maxmemory 1 => +QUEUED\nINCR x => +QUEUED");
    test.transcript("EXEC => *3 :1 +OK :2");
    test.transcript("DBSIZE => :0");
    assert_eq!(test.propagated(), ["MULTI", "SELECT 0", "INCR x", "INCR x", "EXEC", "DEL x"]);
}

#[test]
fn a_lower_limit_evicts_without_requests_and_a_pause_holds_it() {
    let mut test = InProcess::with(&[("maxmemory-policy", "allkeys-random")]);
    test.script("MSET a 1 b 2\nCLIENT PAUSE 1000 WRITE\nCONFIG SET maxmemory 1");
    test.server.go_on_evicting();
    test.transcript("DBSIZE => :2");
    test.clock_ms(1500);
    test.transcript("CONFIG SET maxmemory 1 => +OK");
    test.server.go_on_evicting();
    assert_eq!(test.server.keyspace.total_keys(), 0);
    assert_eq!(test.server.stats.evicted_keys, 2);
}

#[test]
fn time_above_the_limit_is_counted() {
    let mut test = InProcess::new();
    test.call("SET key value");
    test.configure(&[("maxmemory", "1")]);
    test.call("PING");
    test.clock_ms(250);
    let stats = test.call("INFO stats");
    assert!(stats.contains("total_eviction_exceeded_time:250 current_eviction_exceeded_time:250"), "{stats}");
    test.configure(&[("maxmemory", "0")]);
    test.clock_ms(50);
    test.call("PING");
    let stats = test.call("INFO stats");
    assert!(stats.contains("total_eviction_exceeded_time:300 current_eviction_exceeded_time:0"), "{stats}");
}

/// Every policy keeps the limit while a multiple of it is written, and nothing else is lost.
#[test]
fn the_limit_is_kept_under_every_policy() {
    const ROOM_BYTES: i64 = 2 << 20;
    let server = Server::tine(&["save ''", "appendonly no"]);
    let mut client = server.client();
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        client.ok(&["CONFIG", "SET", "maxmemory", "0"]);
        client.ok(&["FLUSHALL"]);
        let stay: Vec<_> =
            (0..500).map(|number| vec!["SET".into(), format!("stays:{number}"), "v".into()]).collect();
        client.pipeline(&stay);
        let limit_bytes = info(&mut client, "used_memory") + ROOM_BYTES;
        client.ok(&["CONFIG", "SET", "maxmemory", &limit_bytes.to_string(), "maxmemory-policy", policy]);
        for round in 0..80 {
            let batch: Vec<_> = (0..500)
                .map(|number| {
                    vec!["SETEX".into(), format!("key:{round}:{number}"), "10000".into(), "x".repeat(100)]
                })
                .collect();
            let replies = client.pipeline(&batch);
            assert!(replies.iter().all(|reply| !reply.is_error()), "{policy}: {:?}", replies.last());
        }
        let used_bytes = info(&mut client, "used_memory");
        assert!(
            used_bytes < limit_bytes + 256 * 1024,
            "{policy}: {used_bytes} with a limit of {limit_bytes}"
        );
        let keys = client.call(&["DBSIZE"]).int();
        assert!((5_000..30_000).contains(&keys), "{policy}: {keys} keys fit");
        if policy.starts_with("volatile") {
            assert!(
                (0..500).all(|number| client.call(&["EXISTS", &format!("stays:{number}")]).int() == 1),
                "{policy}"
            );
        }
    }
    assert!(info(&mut client, "evicted_keys") > 100_000);
}

#[test]
fn what_was_evicted_stays_gone_after_a_restart() {
    let mut server = Server::tine(&["appendonly yes", "appendfsync always", "save ''"]);
    let mut client = server.client();
    for number in 0..200 {
        client.ok(&["SET", &format!("key:{number}"), &"v".repeat(10_000)]);
    }
    let limit_bytes = (info(&mut client, "used_memory") - 1_000_000).to_string();
    client.ok(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    client.ok(&["CONFIG", "SET", "maxmemory", &limit_bytes]);
    let mut client = server.client();
    wait_until("eviction", DEADLINE, || info(&mut client, "evicted_keys") > 0);
    client.ok(&["CONFIG", "SET", "maxmemory", "0"]);
    let keys = client.call(&["DBSIZE"]).int();
    assert!((20..180).contains(&keys), "about half goes: {keys}");
    server.kill();
    server.restart();
    assert_eq!(server.client().call(&["DBSIZE"]).int(), keys);
}

#[test]
fn the_largest_clients_go_first_and_protected_ones_stay() {
    let server = Server::tine(&["save ''"]);
    let mut control = named(&server, "control");
    control.ok(&["CLIENT", "NO-EVICT", "on"]);
    // Requests that are never complete hold their buffers.
    let hold = |name: &str, bytes: usize| {
        let mut client = named(&server, name);
        client.send_raw(format!("*1\r\n${bytes}\r\n{}", "x".repeat(bytes - 1)).as_bytes());
        client
    };
    let _small = hold("small", 200_000);
    let mut big = hold("big", 1_000_000);
    let mut kept = named(&server, "kept");
    kept.ok(&["CLIENT", "NO-EVICT", "on"]);
    kept.send_raw(format!("*1\r\n$2000000\r\n{}", "x".repeat(1_999_999)).as_bytes());
    wait_until("full buffers", DEADLINE, || {
        client_field(&mut control, "kept", "qbuf") == Some(1_999_999)
            && client_field(&mut control, "big", "qbuf") == Some(999_999)
            && client_field(&mut control, "small", "qbuf") == Some(199_999)
    });
    assert!(client_field(&mut control, "big", "tot-mem").is_some_and(|bytes| bytes > 1_000_000));
    control.ok(&["CONFIG", "SET", "maxmemory-clients", "2500000"]);
    assert_eq!(client_field(&mut control, "big", "qbuf"), None);
    assert!(client_field(&mut control, "kept", "qbuf").is_some());
    assert!(client_field(&mut control, "small", "qbuf").is_some());
    assert_eq!(info(&mut control, "evicted_clients"), 1);
    assert_eq!(big.read_to_close(), b"");
    // As a share of maxmemory; a client that is protected no more goes with its next command.
    control.ok(&["CONFIG", "SET", "maxmemory", "100mb", "maxmemory-clients", "1%"]);
    assert_eq!(client_field(&mut control, "small", "qbuf"), None);
    control.ok(&["CONFIG", "SET", "maxmemory-clients", "0"]);
    kept.send_raw(b"x\r\n*3\r\n$6\r\nCLIENT\r\n$8\r\nNO-EVICT\r\n$3\r\noff\r\n");
    wait_until("the end of the protection", DEADLINE, || {
        client_field(&mut control, "kept", "qbuf") != Some(1_999_999)
    });
    assert!(client_field(&mut control, "kept", "qbuf").is_some(), "no limit, no eviction");
}

#[test]
fn queued_watched_and_subscribed_names_count() {
    let server = Server::tine(&["save ''", "maxmemory-clients 200000"]);
    for command in ["WATCH", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
        let mut client = server.client();
        let asked = (0..100_000).map_while(|number| {
            client.try_send_raw(format!("{command} {number}\r\n").as_bytes()).ok()?;
            if number % 100 == 99 { client.try_read().ok().map(|_| ()) } else { Some(()) }
        });
        assert!(asked.count() < 100_000, "{command}");
    }
    let mut client = server.client();
    client.ok(&["MULTI"]);
    let value = "v".repeat(10_000);
    let queued = (0..100).map_while(|_| client.try_call(&["SET", "k", &value]).ok());
    assert!(queued.count() < 100);
    assert_eq!(info(&mut server.client(), "evicted_clients"), 5);
}

#[test]
fn output_limits_close_by_class_and_send_nothing_more() {
    let server = Server::tine(&["save ''", "client-output-buffer-limit normal 100000 0 0 pubsub 300000 0 0"]);
    let mut control = server.client();
    control.call(&["SET", "big", &"x".repeat(20_000)]);
    let mut greedy = named(&server, "greedy");
    let pipeline: Vec<u8> = (0..10).flat_map(|n| format!("SET k {n}\r\nGET big\r\n").into_bytes()).collect();
    greedy.send_raw(&pipeline);
    assert_eq!(greedy.read_to_close(), b"", "not even the first replies");
    let last: i64 = control.call(&["GET", "k"]).text().parse().expect("a number");
    assert!((3..9).contains(&last), "what follows in the pipeline is not run: {last}");
    // A transaction runs to its end.
    let mut greedy = server.client();
    greedy.send_raw(b"MULTI\r\n");
    (0..8).for_each(|_| greedy.send_raw(b"GET big\r\n"));
    greedy.send_raw(b"SET done 1\r\nEXEC\r\n");
    greedy.read_to_close();
    assert_eq!(control.call(&["GET", "done"]).text(), "1");
    // Draws stop at the limit, not at the count.
    control.call(&["HSET", "h", "f", "v"]);
    let mut greedy = server.client();
    greedy.send(&["HRANDFIELD", "h", "-999999999"]);
    assert_eq!(greedy.read_to_close(), b"");
    // A subscriber that does not read; the class of its own has a higher limit.
    let mut sleeper = named(&server, "sleeper");
    sleeper.call(&["SUBSCRIBE", "news"]);
    let mut most_bytes = 0;
    let message = "m".repeat(10_000);
    while let Some(bytes) = client_field(&mut control, "sleeper", "omem") {
        most_bytes = most_bytes.max(bytes);
        control.call(&["PUBLISH", "news", &message]);
    }
    assert!((200_000..300_000).contains(&most_bytes), "{most_bytes}");
    assert_eq!(info(&mut control, "client_output_buffer_limit_disconnections"), 4);
}

#[test]
fn a_soft_limit_closes_without_traffic() {
    let server = Server::tine(&["save ''", "hz 100", "client-output-buffer-limit pubsub 0 100000 1"]);
    let mut control = server.client();
    let mut sleeper = named(&server, "sleeper");
    sleeper.call(&["SUBSCRIBE", "news"]);
    let message = "m".repeat(20_000);
    wait_until("a full output", DEADLINE, || {
        control.call(&["PUBLISH", "news", &message]);
        client_field(&mut control, "sleeper", "omem").is_some_and(|bytes| bytes > 100_000)
    });
    assert!(client_field(&mut control, "sleeper", "omem").is_some(), "not at once");
    wait_until("the soft limit", DEADLINE, || client_field(&mut control, "sleeper", "omem").is_none());
}

#[test]
fn a_request_beyond_the_query_buffer_limit_closes() {
    let server = Server::tine(&["save ''", "client-query-buffer-limit 1mb", "proto-max-bulk-len 4mb"]);
    let mut control = server.client();
    let mut client = named(&server, "greedy");
    client.send_raw(b"*2\r\n$4\r\nECHO\r\n$3000000\r\n");
    for _ in 0..3000 {
        if client.try_send_raw(&[b'x'; 1000]).is_err() {
            break;
        }
    }
    wait_until("the end of the client", DEADLINE, || client_field(&mut control, "greedy", "qbuf").is_none());
    assert_eq!(info(&mut control, "client_query_buffer_limit_disconnections"), 1);
    let mut client = server.client();
    client.send_raw(b"*2\r\n$4\r\nECHO\r\n$5000000\r\n");
    let refused = String::from_utf8_lossy(&client.read_to_close()).into_owned();
    assert!(refused.contains("invalid bulk length"), "{refused}");
}

#[test]
fn idle_clients_give_their_reply_buffers_back() {
    let server = Server::tine(&["save ''", "hz 50"]);
    let mut control = server.client();
    control.call(&["SET", "big", &"x".repeat(15_000)]);
    let mut client = named(&server, "reader");
    client.call(&["GET", "big"]);
    assert!(client_field(&mut control, "reader", "rbs").is_some_and(|bytes| bytes >= 15_000));
    let idle = wait_for("an idle reply buffer", DEADLINE, || {
        client_field(&mut control, "reader", "rbs").filter(|bytes| *bytes < 2048)
    });
    assert!(idle >= 1024);
}

/// What trackers are told about an evicted key takes more memory than the key: that must not evict on.
#[test]
fn messages_about_evicted_keys_do_not_evict_more() {
    let server = Server::tine(&["save ''", "maxmemory-eviction-tenacity 100"]);
    let mut control = server.client();
    let keys: Vec<String> = (0..300).map(|number| format!("{number}{}", "x".repeat(1000))).collect();
    for key in &keys {
        control.ok(&["SET", key, "v"]);
    }
    let mut trackers: Vec<Client> = (0..10).map(|_| server.client()).collect();
    for tracker in &mut trackers {
        tracker.call(&["HELLO", "3"]);
        tracker.ok(&["CLIENT", "TRACKING", "on"]);
        tracker.pipeline(&keys.iter().map(|key| vec!["GET", key]).collect::<Vec<_>>());
    }
    let limit_bytes = (info(&mut control, "used_memory") - 40_000).to_string();
    control.ok(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    control.ok(&["CONFIG", "SET", "maxmemory", &limit_bytes]);
    let evicted = info(&mut control, "evicted_keys");
    assert!((5..150).contains(&evicted), "{evicted} of 300");
}

/// A walk over this many keys takes a few milliseconds, and still shows to who looks now and then. While
/// a log is loaded, which takes DEBUG LOADAOF a while here, it goes on.
#[test]
fn defragmentation_is_seen_and_goes_on_while_a_log_is_loaded() {
    const KEYS: usize = 100_000;
    const KEYS_PER_COMMAND: usize = 250;
    const DELETED_PER_COMMAND: usize = 20;
    let server = Server::tine(&[
        "save ''",
        "appendonly yes",
        "auto-aof-rewrite-percentage 0",
        "enable-debug-command yes",
        "hz 100",
        "active-defrag-ignore-bytes 1mb",
        "active-defrag-threshold-lower 5",
        "active-defrag-cycle-min 75",
    ]);
    let mut client = server.client();
    let value = "v".repeat(150);
    let name = |number: usize| format!("key:{number}");
    for first in (0..KEYS).step_by(KEYS_PER_COMMAND) {
        let mut command = vec!["MSET".to_owned()];
        (first..first + KEYS_PER_COMMAND).for_each(|number| command.extend([name(number), value.clone()]));
        client.ok(&command);
    }
    for first in (0..KEYS).step_by(2 * DELETED_PER_COMMAND) {
        let mut command = vec!["DEL".to_owned()];
        command.extend((first..first + 2 * DELETED_PER_COMMAND).step_by(2).map(name));
        client.call(&command);
    }
    let ratio = |client: &mut Client| {
        let text = client.call(&["INFO", "memory"]).text();
        let line = text.lines().find_map(|line| line.strip_prefix("allocator_frag_ratio:"));
        line.and_then(|value| value.trim().parse::<f64>().ok()).expect("INFO has it")
    };
    wait_until("the figures", DEADLINE, || ratio(&mut client) > 1.4);
    client.ok(&["CONFIG", "SET", "activedefrag", "yes"]);
    wait_until("defragmentation to be seen by one who looks three times a second", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(300));
        info(&mut client, "active_defrag_running") > 0
    });
    wait_until("defragmentation to end", DEADLINE, || info(&mut client, "active_defrag_running") == 0);
    assert!(ratio(&mut client) < 1.15, "{}", ratio(&mut client));
    client.ok(&["CONFIG", "RESETSTAT"]);
    // 400 and 2,500 commands: the second decision comes when most of those keys have gone.
    client.ok(&["CONFIG", "SET", "key-load-delay", "500"]);
    let start = Instant::now();
    client.ok(&["DEBUG", "LOADAOF"]);
    assert!(start.elapsed() > Duration::from_millis(1450), "{:?}", start.elapsed());
    assert!(info(&mut client, "active_defrag_hits") > 1000, "{}", info(&mut client, "active_defrag_hits"));
    assert_eq!(client.call(&["DBSIZE"]).int(), KEYS as i64 / 2);
}
