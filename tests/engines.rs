//! Engines that drive a server as programs do: a market with many buyers, pools of connections,
//! redis-benchmark and redis-cli in all their modes.

mod common;

use common::{Server, redis_benchmark, redis_cli, require_tool, wait_until};
use redis::{Client, Connection, RedisResult, cmd};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn connect_with(server: &Server, user_info: &str, db: usize) -> Connection {
    let url = format!("redis://{user_info}127.0.0.1:{}/{db}", server.port());
    let client = Client::open(url).expect("the address is well-formed");
    let connection = client.get_connection().expect("the server accepts");
    connection.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
    connection
}

fn connect(server: &Server) -> Connection {
    connect_with(server, "", 0)
}

#[track_caller]
fn ask<T: redis::FromRedisValue>(connection: &mut Connection, words: &[&str]) -> T {
    try_ask(connection, words).unwrap_or_else(|failure| panic!("{words:?}: {failure}"))
}

fn try_ask<T: redis::FromRedisValue>(connection: &mut Connection, words: &[&str]) -> RedisResult<T> {
    let mut command = cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query(connection)
}

/// A field of INFO as a number.
#[track_caller]
fn info(connection: &mut Connection, field: &str) -> u64 {
    let text: String = ask(connection, &["INFO", "everything"]);
    let begin = format!("{field}:");
    let line = text.lines().find_map(|line| line.strip_prefix(begin.as_str()));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("INFO has the number {field}"))
}

/// The market: items are sold for money by players who act at once.
///
/// ```text
///  funds:<player>      what a player has              WATCHed by the buyer
///  inventory:<player>  the items of a player          WATCHed by the seller
///  market              "<item>.<seller>" by price     WATCHed by the buyer
/// ```
mod market {
    use super::{Connection, RedisResult, ask, cmd};

    pub const PLAYERS: usize = 8;
    pub const ITEMS: usize = 24;
    pub const FUNDS: i64 = 100;

    pub fn inventory(player: usize) -> String {
        format!("inventory:{player}")
    }

    pub fn funds(player: usize) -> String {
        format!("funds:{player}")
    }

    pub fn open(connection: &mut Connection) {
        for player in 0..PLAYERS {
            ask::<()>(connection, &["SET", &funds(player), &FUNDS.to_string()]);
        }
        for item in 0..ITEMS {
            ask::<i64>(connection, &["SADD", &inventory(item % PLAYERS), &format!("item{item}")]);
        }
    }

    /// Puts an item of the player's on the market, if it is still there. Returns whether it was.
    pub fn list_item(
        connection: &mut Connection,
        seller: usize,
        item: &str,
        price: i64,
    ) -> RedisResult<bool> {
        let own = inventory(seller);
        redis::transaction(connection, &[&own], |connection, pipeline| {
            let has_it: bool = cmd("SISMEMBER").arg(&own).arg(item).query(connection)?;
            if !has_it {
                return Ok(Some(false));
            }
            let done: Option<(i64, i64)> = pipeline
                .cmd("ZADD")
                .arg("market")
                .arg(price)
                .arg(format!("{item}.{seller}"))
                .cmd("SREM")
                .arg(&own)
                .arg(item)
                .query(connection)?;
            Ok(done.map(|_| true))
        })
    }

    /// Buys an offer at its price, if it is still there and the player can pay.
    pub fn buy(connection: &mut Connection, buyer: usize, offer: &str, price: i64) -> RedisResult<bool> {
        let (item, seller) = offer.split_once('.').expect("an offer is item.seller");
        let seller: usize = seller.parse().expect("a seller is a number");
        let purse = funds(buyer);
        redis::transaction(connection, &["market", purse.as_str()], |connection, pipeline| {
            let asked: Option<i64> = cmd("ZSCORE").arg("market").arg(offer).query(connection)?;
            let has: i64 = cmd("GET").arg(&purse).query(connection)?;
            if asked != Some(price) || has < price {
                return Ok(Some(false));
            }
            let done: Option<(i64, i64, i64, i64)> = pipeline
                .cmd("INCRBY")
                .arg(funds(seller))
                .arg(price)
                .cmd("DECRBY")
                .arg(&purse)
                .arg(price)
                .cmd("SADD")
                .arg(inventory(buyer))
                .arg(item)
                .cmd("ZREM")
                .arg("market")
                .arg(offer)
                .query(connection)?;
            Ok(done.map(|_| true))
        })
    }
}

/// One player's moves: offers what it has, buys what it finds. Returns how many purchases it made.
fn play(server: &Server, player: usize, seed: u64) -> u64 {
    const MOVES: usize = 60;
    let mut connection = connect(server);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bought = 0;
    for _ in 0..MOVES {
        let own: Option<String> = ask(&mut connection, &["SRANDMEMBER", &market::inventory(player)]);
        if let Some(item) = own {
            let price = rng.i64(1..40);
            market::list_item(&mut connection, player, &item, price).expect("it comes through in the end");
        }
        let offers: Vec<(String, i64)> = ask(&mut connection, &["ZRANGE", "market", "0", "-1", "WITHSCORES"]);
        if let Some((offer, price)) = rng.choice(&offers) {
            let done = market::buy(&mut connection, player, offer, *price);
            bought += u64::from(done.expect("it comes through in the end"));
        }
    }
    bought
}

#[test]
fn the_market_loses_no_item_and_no_money() {
    /// Each player plays from two devices at once.
    const DEVICES: usize = 2;
    let server = Server::tine(&["appendonly yes", "appendfsync everysec"]);
    let mut connection = connect(&server);
    market::open(&mut connection);
    let bought: u64 = std::thread::scope(|scope| {
        let players: Vec<_> = (0..market::PLAYERS * DEVICES)
            .map(|thread| {
                let server = &server;
                scope.spawn(move || play(server, thread % market::PLAYERS, thread as u64))
            })
            .collect();
        players.into_iter().map(|player| player.join().expect("no player fails")).sum()
    });
    assert!(bought > 0, "somebody bought something");
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut money = 0;
    for player in 0..market::PLAYERS {
        let funds: i64 = ask(&mut connection, &["GET", &market::funds(player)]);
        assert!(funds >= 0, "player {player} spent what it had not");
        money += funds;
        for item in ask::<Vec<String>>(&mut connection, &["SMEMBERS", &market::inventory(player)]) {
            *places.entry(item).or_default() += 1;
        }
    }
    for offer in ask::<Vec<String>>(&mut connection, &["ZRANGE", "market", "0", "-1"]) {
        let item = offer.split_once('.').expect("an offer is item.seller").0;
        *places.entry(item.to_owned()).or_default() += 1;
    }
    assert_eq!(money, market::PLAYERS as i64 * market::FUNDS);
    assert_eq!(places.len(), market::ITEMS, "{places:?}");
    assert!(places.values().all(|count| *count == 1), "{places:?}");
}

/// Sends PING on a raw connection and waits for its answer.
#[track_caller]
fn ping(stream: &mut TcpStream) {
    stream.write_all(b"PING\r\n").expect("the server reads");
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).expect("the server answers");
    assert_eq!(&answer, b"+PONG\r\n");
}

#[test]
fn five_thousand_connections_are_opened_and_reused() {
    const CONNECTIONS: usize = 5_000;
    const ROUNDS: usize = 2;
    let granted = tine::sys::limits::raise_open_files(CONNECTIONS as u64 + 500).expect("the kernel tells");
    if !granted.is_enough() {
        common::skip(&format!("this machine allows {} open files only", granted.now));
        return;
    }
    let server = Server::tine(&["maxclients 6000"]);
    let mut streams: Vec<TcpStream> = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
        streams.push(stream);
    }
    for _ in 0..ROUNDS {
        streams.iter_mut().for_each(ping);
    }
    let mut connection = connect(&server);
    assert_eq!(info(&mut connection, "connected_clients"), CONNECTIONS as u64 + 1);
    // A pool gives half of them back and asks for as many anew.
    streams.truncate(CONNECTIONS / 2);
    wait_until("half of them to be forgotten", PATIENCE, || {
        info(&mut connection, "connected_clients") == CONNECTIONS as u64 / 2 + 1
    });
    for _ in 0..CONNECTIONS / 2 {
        streams.push(TcpStream::connect(("127.0.0.1", server.port())).expect("the server accepts"));
    }
    streams.iter_mut().for_each(ping);
    drop(streams);
    wait_until("all to be forgotten", PATIENCE, || info(&mut connection, "connected_clients") == 1);
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    let server = Server::tine(&["timeout 1"]);
    let open = || {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
        stream
    };
    let [mut idle, mut busy, mut waiting, mut subscriber] = [open(), open(), open(), open()];
    [&mut idle, &mut busy, &mut waiting].into_iter().for_each(ping);
    waiting.write_all(b"BLPOP list 0\r\n").expect("the server reads");
    subscriber.write_all(b"SUBSCRIBE news\r\n").expect("the server reads");
    let mut confirmed = [0; 33];
    subscriber.read_exact(&mut confirmed).expect("the server confirms");
    idle.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out above zero");
    wait_until("the idle one to be closed", PATIENCE, || {
        ping(&mut busy);
        matches!(idle.read(&mut [0; 8]), Ok(0))
    });
    busy.write_all(b"LPUSH list x\r\nPUBLISH news y\r\n").expect("the server reads");
    let mut served = [0; 8];
    waiting.read_exact(&mut served).expect("who waits is not idle");
    assert_eq!(&served, b"*2\r\n$4\r\n");
    subscriber.read_exact(&mut served).expect("who listens is not idle");
    assert_eq!(&served, b"*3\r\n$7\r\n");
}

#[test]
fn pools_log_in_and_choose_their_database() {
    let server = Server::tine(&["requirepass secret"]);
    for db in 0..16 {
        let mut connection = connect_with(&server, ":secret@", db);
        ask::<()>(&mut connection, &["SET", "db", &db.to_string()]);
    }
    for db in 0..16 {
        let mut connection = connect_with(&server, ":secret@", db);
        assert_eq!(ask::<usize>(&mut connection, &["GET", "db"]), db);
        assert_eq!(ask::<usize>(&mut connection, &["DBSIZE"]), 1);
    }
    let url = format!("redis://:wrong@127.0.0.1:{}/", server.port());
    let refused = Client::open(url).expect("the address is well-formed").get_connection();
    assert!(refused.is_err(), "a wrong password is refused");
}

/// The tests of redis-benchmark by the words that its lines begin with.
const BENCHMARKS: &[&str] = &[
    "PING_INLINE:",
    "PING_MBULK:",
    "SET:",
    "GET:",
    "INCR:",
    "LPUSH:",
    "RPUSH:",
    "LPOP:",
    "RPOP:",
    "SADD:",
    "HSET:",
    "SPOP:",
    "ZADD:",
    "ZPOPMIN:",
    "LPUSH (needed to benchmark LRANGE):",
    "LRANGE_100 (first 100 elements):",
    "LRANGE_300 (first 300 elements):",
    "LRANGE_500 (first 500 elements):",
    "LRANGE_600 (first 600 elements):",
    "MSET (10 keys):",
];

#[test]
fn redis_benchmark_runs_all_its_tests_in_every_mode() {
    let modes: &[&[&str]] = &[
        &["-n", "200", "-c", "1"],
        &["-n", "1000", "-P", "16"],
        &["-n", "1000", "-r", "1000", "-d", "100"],
        &["-n", "1000", "--threads", "2"],
        &["-n", "200", "-3", "--dbnum", "3"],
        &["-n", "100", "-k", "0", "-c", "10"],
        &["-n", "500", "-P", "4", "--enable-tracking", "-3"],
    ];
    let server = Server::tine(&[]);
    for mode in modes {
        let mut arguments = mode.to_vec();
        arguments.push("-q");
        let Some(output) = redis_benchmark(server.port(), &arguments) else { return };
        let (text, errors) = (text_of(&output.stdout), text_of(&output.stderr));
        assert!(output.status.success(), "{mode:?}: {text}{errors}");
        // The speed so far is written over itself with carriage returns.
        let lines: Vec<&str> = text.split(['\r', '\n']).collect();
        for name in BENCHMARKS {
            let done =
                lines.iter().any(|line| line.starts_with(name) && line.contains("requests per second"));
            assert!(done, "{mode:?} did not finish {name}: {text}{errors}");
        }
        assert!(!text.contains("Error from server") && !errors.contains("Error"), "{mode:?}: {text}{errors}");
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A tool that never ends by itself; it is ended when this goes.
struct Endless(Child);

impl Endless {
    fn start(program: &str, server: &Server, arguments: &[&str]) -> Endless {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &server.port().to_string()]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Endless(command.spawn().expect("the tool starts"))
    }

    /// Waits for a line that the tool writes.
    #[track_caller]
    fn await_line(mut self, wanted: &str) {
        let output = BufReader::new(self.0.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // Nobody listens any more once the line has come.
                let _ = sender.send(line);
            }
        });
        wait_until(wanted, PATIENCE, || lines.try_iter().any(|line| line.contains(wanted)));
        // The pipe ends with the tool, and the thread with the pipe.
        drop(self);
        reader.join().expect("the thread only reads");
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn redis_benchmark_loops_and_idles() {
    if !require_tool("redis-benchmark") {
        return;
    }
    let server = Server::tine(&[]);
    let mut connection = connect(&server);
    let looping = Endless::start("redis-benchmark", &server, &["-l", "-t", "set", "-n", "500", "-q"]);
    wait_until("three rounds", PATIENCE, || info(&mut connection, "total_commands_processed") > 1500);
    drop(looping);
    let idling = Endless::start("redis-benchmark", &server, &["-I", "-c", "40"]);
    wait_until("idle clients", PATIENCE, || info(&mut connection, "connected_clients") == 41);
    drop(idling);
    wait_until("their end", PATIENCE, || info(&mut connection, "connected_clients") == 1);
}

/// A server with something for each of redis-cli's searches.
fn filled() -> Server {
    let server = Server::tine(&["maxmemory-policy allkeys-lfu"]);
    let mut connection = connect(&server);
    for number in 0..50 {
        ask::<()>(&mut connection, &["SET", &format!("string:{number}"), "v"]);
    }
    ask::<()>(&mut connection, &["SET", "string:long", &"x".repeat(5000)]);
    for number in 0..30 {
        let member = number.to_string();
        ask::<i64>(&mut connection, &["RPUSH", "list", &member]);
        ask::<i64>(&mut connection, &["SADD", "set", &member]);
        ask::<i64>(&mut connection, &["HSET", "hash", &member, "v"]);
        ask::<i64>(&mut connection, &["ZADD", "zset", &member, &member]);
        ask::<String>(&mut connection, &["XADD", "stream", "*", "n", &member]);
    }
    for _ in 0..200 {
        ask::<String>(&mut connection, &["GET", "string:7"]);
    }
    server
}

#[test]
fn redis_cli_finds_big_and_hot_keys() {
    let server = filled();
    let run = |arguments: &[&str]| {
        redis_cli(server.port(), arguments).map(|output: Output| text_of(&output.stdout))
    };
    let Some(big) = run(&["--bigkeys"]) else { return };
    for line in [
        "Sampled 56 keys in the keyspace!",
        "Biggest string found \"string:long\" has 5000 bytes",
        "Biggest   list found \"list\" has 30 items",
        "Biggest    set found \"set\" has 30 members",
        "Biggest   hash found \"hash\" has 30 fields",
        "Biggest   zset found \"zset\" has 30 members",
        "Biggest stream found \"stream\" has 30 entries",
    ] {
        assert!(big.replace('\'', "").contains(line), "{line} in {big}");
    }
    let memory = run(&["--memkeys"]).expect("it ran before");
    assert!(memory.replace('\'', "").contains("Biggest string found \"string:long\" has 5"), "{memory}");
    let hot = run(&["--hotkeys"]).expect("it ran before");
    assert!(hot.contains("hot key found with counter") && hot.contains("string:7"), "{hot}");
    let scanned = run(&["--scan", "--pattern", "string:1?"]).expect("it ran before");
    assert_eq!(scanned.lines().count(), 10, "{scanned}");
}

#[test]
fn redis_cli_watches_the_server() {
    if !require_tool("redis-cli") {
        return;
    }
    let server = filled();
    let run = |arguments: &[&str]| {
        redis_cli(server.port(), arguments).map(|output| text_of(&output.stdout)).expect("it is installed")
    };
    // Smallest, largest, mean in milliseconds; count of samples.
    let latency = run(&["--latency", "-i", "0.2", "--raw"]);
    assert_eq!(latency.split_ascii_whitespace().count(), 4, "{latency}");
    let intrinsic = run(&["--intrinsic-latency", "1"]);
    assert!(intrinsic.contains("total runs"), "{intrinsic}");
    let mut connection = connect(&server);
    let calls = |connection: &mut Connection| info(connection, "total_commands_processed");
    for mode in [&["--stat", "-i", "0.05"][..], &["--latency-history", "-i", "0.05"]] {
        let before = calls(&mut connection);
        let watching = Endless::start("redis-cli", &server, mode);
        // Each of our own looks counts too.
        let mut looks = 0;
        wait_until("some samples", PATIENCE, || {
            looks += 1;
            calls(&mut connection) > before + looks + 5
        });
        drop(watching);
    }
    let monitor = Endless::start("redis-cli", &server, &["MONITOR"]);
    wait_until("the monitor", PATIENCE, || {
        ask::<String>(&mut connection, &["CLIENT", "LIST"]).contains("flags=O")
    });
    ask::<()>(&mut connection, &["SET", "seen", "by the monitor"]);
    monitor.await_line("\"SET\" \"seen\" \"by the monitor\"");
}

#[test]
fn client_side_caching_over_a_socket() {
    let server = Server::tine(&[]);
    let mut reader = server.client();
    let mut writer = server.client();
    reader.call(&["HELLO", "3"]);
    reader.call(&["CLIENT", "TRACKING", "on"]);
    for round in 0..3 {
        reader.call(&["GET", "k"]);
        writer.call(&["SET", "k", &round.to_string()]);
        let push = reader.next_push(PATIENCE).expect("the reader is told");
        let common::Reply::Push(parts) = &push else { panic!("a push is awaited, not {push:?}") };
        assert_eq!(parts[0].text(), "invalidate");
        assert_eq!(parts[1].items().iter().map(common::Reply::text).collect::<Vec<_>>(), ["k"]);
    }
    reader.call(&["CLIENT", "TRACKING", "off"]);
    reader.call(&["CLIENT", "TRACKING", "on", "BCAST", "PREFIX", "user:"]);
    writer.call(&["MSET", "user:1", "a", "user:2", "b", "other", "c"]);
    let push = reader.next_push(PATIENCE).expect("the reader is told");
    let common::Reply::Push(parts) = &push else { panic!("a push is awaited, not {push:?}") };
    assert_eq!(parts[1].items().iter().map(common::Reply::text).collect::<Vec<_>>(), ["user:1", "user:2"]);
}

/// What a command of another client changes is told between the replies where it happened.
#[test]
fn invalidations_keep_their_place_in_a_pipeline() {
    let server = Server::tine(&[]);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
    let mut exchange = |request: &[u8], end: &[u8]| {
        stream.write_all(request).expect("the server reads");
        let mut answer = Vec::new();
        while !answer.ends_with(end) {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the server answers");
            answer.extend_from_slice(&byte);
        }
        text_of(&answer)
    };
    exchange(b"HELLO 3\r\nCLIENT TRACKING on\r\nLRANGE to 0 -1\r\nPING\r\n", b"+PONG\r\n");
    let mut waiting = server.client();
    waiting.send(&["BLMOVE", "from", "to", "LEFT", "LEFT", "0"]);
    let mut looker = connect(&server);
    wait_until("the other to wait", PATIENCE, || info(&mut looker, "blocked_clients") == 1);
    let answer = exchange(b"RPUSH from x\r\nECHO a\r\nPING\r\n", b"+PONG\r\n");
    assert_eq!(answer, ":1\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$2\r\nto\r\n$1\r\na\r\n+PONG\r\n");
}
