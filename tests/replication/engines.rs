//! Programs of the field around servers and their replicas: `redis-cli --replica`, twemproxy, the
//! Prometheus exporter. Each is started as it is installed (`tests/install-engines.sh`), else the test
//! skips. (redis-py: `clients/python.rs`. Sentinel: `sentinel.rs`.)

use crate::common::{Client, Program, Reply, Server, find_program, free_port, new_folder, skip, wait_until};
use crate::{DEADLINE, follow};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

/// A program that ends with the test.
struct Engine(Child);

impl Engine {
    /// Starts it; `None` after a message where it is not installed.
    fn start(name: &str, args: &[&str]) -> Option<Engine> {
        let Some(program) = find_program(name).or_else(|| find_program(&format!("../sbin/{name}"))) else {
            skip(&format!("{name} is not installed (tests/install-engines.sh)"));
            return None;
        };
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Some(Engine(command.spawn().expect("an installed program can be started")))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn redis_cli_shows_the_stream_as_a_replica_would_get_it() {
    let server = Server::tine(&["repl-diskless-sync-delay 0"]);
    let mut client = server.client();
    client.ok(&["SET", "before", "1"]);
    let args = ["-h", "127.0.0.1", "-p", &server.port().to_string(), "--replica"];
    let Some(mut cli) = Engine::start("redis-cli", &args) else { return };
    let out = cli.0.stdout.take().expect("it is a pipe");
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    wait_until("the replica", DEADLINE, || server.info("connected_slaves") == "1");
    wait_until("the stream", DEADLINE, || {
        client.ok(&["SET", "seen", "1"]);
        lines.try_iter().any(|line| line == "\"SET\",\"seen\",\"1\"")
    });
}

/// What a program does through a proxy; the replies.
fn session(proxy: &mut Client) -> Vec<Reply> {
    let mut replies = Vec::new();
    for number in 0..200 {
        let key = format!("key:{number}");
        replies.push(proxy.call(&["SET", &key, &number.to_string()]));
        replies.push(proxy.call(&["INCRBY", &key, "5"]));
    }
    let keys: Vec<String> = (0..200).map(|number| format!("key:{number}")).collect();
    let with = |name: &str| [&[name.to_owned()], &keys[..]].concat();
    replies.push(proxy.call(&with("MGET")));
    replies.extend(proxy.pipeline(&[
        vec!["RPUSH", "list", "a", "b", "c"],
        vec!["LRANGE", "list", "0", "-1"],
        vec!["HSET", "hash", "f", "v"],
        vec!["HGETALL", "hash"],
        vec!["ZADD", "zset", "1.5", "m"],
        vec!["ZRANGE", "zset", "0", "-1", "WITHSCORES"],
        vec!["INCR", "list"],
        vec!["SETEX", "short", "100", &"x".repeat(100_000)],
        vec!["STRLEN", "short"],
        vec!["TTL", "nothing"],
    ]));
    replies.push(proxy.call(&with("DEL")));
    replies
}

/// twemproxy before two servers.
fn twemproxy(folder: &Path, servers: &[Server]) -> Option<(Engine, u16)> {
    let (port, statistics) = (free_port(), free_port());
    let mut text = format!(
        "pool:\n  listen: 127.0.0.1:{port}\n  hash: fnv1a_64\n  distribution: ketama\n  redis: true\n  \
         auto_eject_hosts: false\n  server_retry_timeout: 100\n  timeout: 5000\n  servers:\n"
    );
    for (number, server) in servers.iter().enumerate() {
        // The name decides which keys a server gets, so that both kinds get the same.
        text += &format!("   - 127.0.0.1:{}:1 server{number}\n", server.port());
    }
    let [config, log, pid] = ["pool.yml", "log", "pid"].map(|name| folder.join(name).display().to_string());
    std::fs::write(&config, text).expect("the temporary folder is writable");
    let statistics = statistics.to_string();
    let args = ["-c", &config, "-o", &log, "-p", &pid, "-a", "127.0.0.1", "-s", &statistics];
    let engine = Engine::start("nutcracker", &args)?;
    wait_until("the proxy", DEADLINE, || Client::try_connect(port).is_ok());
    Some((engine, port))
}

#[test]
fn twemproxy_spreads_keys_over_servers() {
    let mut servers: Vec<Server> = (0..2).map(|_| Server::tine(&["appendonly yes"])).collect();
    let folder = new_folder();
    let Some((_engine, port)) = twemproxy(folder.path(), &servers) else { return };
    let mut proxy = Client::connect(port);
    let replies = session(&mut proxy);
    assert_eq!(replies.last(), Some(&Reply::Int(200)), "all keys were there");
    if Program::redis().is_some() {
        let folder = new_folder();
        let others: Vec<Server> = (0..2).filter_map(|_| Server::redis(&[])).collect();
        let (_engine, port) = twemproxy(folder.path(), &others).expect("it was there");
        assert_eq!(session(&mut Client::connect(port)), replies);
    }
    for number in 0..200 {
        proxy.ok(&["SET", &format!("key:{number}"), "1"]);
    }
    for server in &servers {
        assert!(server.client().call(&["DBSIZE"]).int() > 5, "each has its share");
    }
    // A server that comes back is used again.
    servers[1].kill();
    let gone = (0..200).filter(|number| proxy.call(&["GET", &format!("key:{number}")]).is_error()).count();
    assert!(gone > 5, "the keys of a dead server: {gone}");
    servers[1].start_again();
    wait_until("all keys", DEADLINE, || {
        (0..200).all(|number| proxy.call(&["GET", &format!("key:{number}")]) == Reply::bulk("1"))
    });
}

fn page(port: u16) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
        let asked = stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n");
        let _ = asked.and_then(|()| stream.read_to_string(&mut text));
    }
    text
}

/// The value of a metric, whatever its labels.
fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn the_exporter_shows_a_primary_and_its_replica() {
    let (primary, replica) = (Server::tine(&["repl-diskless-sync-delay 0"]), Server::tine(&[]));
    follow(&mut replica.client(), primary.port());
    let (mut one, mut two) = (primary.client(), replica.client());
    one.ok(&["SET", "a", "1"]);
    assert_eq!(one.call(&["WAIT", "1", "10000"]), Reply::Int(1));
    assert_eq!(two.call(&["GET", "a"]), Reply::bulk("1"));
    let mut pages = Vec::new();
    for server in [&primary, &replica] {
        let port = free_port();
        let (address, listen) = (format!("redis://127.0.0.1:{}", server.port()), format!("127.0.0.1:{port}"));
        let args = ["-redis.addr", &address, "-web.listen-address", &listen];
        let Some(_engine) = Engine::start("prometheus-redis-exporter", &args) else { return };
        wait_until("the exporter", DEADLINE, || metric(&page(port), "redis_up") == Some(1.0));
        pages.push(page(port));
    }
    let wanted = [
        (0, "redis_connected_slaves", 1.0),
        (0, "redis_repl_backlog_is_active", 1.0),
        (0, "redis_db_keys", 1.0),
        (0, "redis_exporter_last_scrape_error", 0.0),
        (1, "redis_master_link_up", 1.0),
        (1, "redis_slave_info", 1.0),
        (1, "redis_exporter_last_scrape_error", 0.0),
    ];
    for (index, name, value) in wanted {
        assert_eq!(metric(&pages[index], name), Some(value), "{name}\n{}", pages[index]);
    }
    let offset = metric(&pages[0], "redis_connected_slave_offset_bytes");
    assert!(offset.is_some_and(|offset| offset > 0.0), "{}", pages[0]);
}
