//! Three servers, links with faults, kills, restarts and changing roles, all at random: after healing all
//! have the same data, and no acknowledged write is lost where none may be.
//!
//! `TINE_SEED` repeats a run; `TINE_REPLICATION_SEEDS` asks for more than one.

use crate::common::{Client, Reply, Server, wait_until};
use crate::proxy::Proxy;
use crate::{DEBUG, digest, info};
use fastrand::Rng;
use nix::sys::signal::Signal;
use std::fmt::Write;
use std::time::Duration;

/// Longest wait for equal data after everything has been healed.
const PATIENCE: Duration = Duration::from_secs(60);
const SERVERS: usize = 3;
/// Rounds of faults of one run, each with steps of its own.
const ROUNDS: usize = 4;
const STEPS: usize = 12;
const DATABASES: u32 = 3;

/// What one run has.
struct Group {
    servers: Vec<Server>,
    /// Configuration of each.
    lines: Vec<Vec<String>>,
    /// Before each server: the others reach it through this.
    proxies: Vec<Proxy>,
    primary: usize,
    /// INCR that were acknowledged.
    counted: i64,
    rng: Rng,
    /// What was done, for a run that fails.
    story: String,
}

fn random_lines(rng: &mut Rng) -> Vec<String> {
    let mut one_of = |values: &[&'static str]| values[rng.usize(0..values.len())];
    vec![
        DEBUG.to_owned(),
        format!("appendonly {}", one_of(&["yes", "no"])),
        format!("repl-diskless-load {}", one_of(&["disabled", "on-empty-db", "swapdb"])),
        format!("repl-diskless-sync {}", one_of(&["yes", "no"])),
        format!("repl-backlog-size {}", one_of(&["16kb", "1mb"])),
        "repl-diskless-sync-delay 0".to_owned(),
        "repl-timeout 3".to_owned(),
        "repl-ping-replica-period 1".to_owned(),
        "shutdown-timeout 2".to_owned(),
    ]
}

fn words(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

impl Group {
    fn new(seed: u64) -> Group {
        let mut rng = Rng::with_seed(seed);
        let lines: Vec<Vec<String>> = (0..SERVERS).map(|_| random_lines(&mut rng)).collect();
        let servers: Vec<Server> = lines.iter().map(|lines| Server::tine(&words(lines))).collect();
        let proxies = servers.iter().map(|server| Proxy::to(server.port())).collect();
        Group { servers, lines, proxies, primary: 0, counted: 0, rng, story: String::new() }
    }

    fn tell(&mut self, what: &str) {
        let _ = write!(self.story, "{what}; ");
    }

    fn client(&self, index: usize) -> Client {
        let mut client = self.servers[index].client();
        client.set_timeout(Duration::from_secs(20));
        client
    }

    fn replica(&mut self) -> usize {
        (self.primary + 1 + self.rng.usize(0..SERVERS - 1)) % SERVERS
    }

    /// Each replica follows the primary, or the other replica that does.
    fn arrange(&mut self) {
        let chained = self.rng.u8(0..3) == 0;
        let first = self.replica();
        let second = (0..SERVERS).find(|index| *index != self.primary && *index != first).expect("of three");
        let above = if chained { first } else { self.primary };
        self.tell(&format!("primary {}, {first} follows it, {second} follows {above}", self.primary));
        for (index, above) in [(first, self.primary), (second, above)] {
            let port = self.proxies[above].port().to_string();
            let reply = self.client(index).call(&["REPLICAOF", "127.0.0.1", &port]);
            assert!(!reply.is_error(), "{reply:?}");
        }
    }

    /// A clean end. A server that is writing its first log refuses, then it is asked again.
    fn stop(&mut self, index: usize) {
        let server = &mut self.servers[index];
        wait_until("a clean end", PATIENCE, || {
            server.signal(Signal::SIGTERM);
            std::thread::sleep(Duration::from_millis(200));
            !server.is_running()
        });
    }

    /// A replica that stands still starts again with the primary in its file.
    fn start_replica(&mut self, index: usize) {
        let follows = format!("replicaof 127.0.0.1 {}", self.proxies[self.primary].port());
        let lines = [&self.lines[index][..], &[follows]].concat();
        self.servers[index].set_directives(&words(&lines));
        self.servers[index].start_again();
        self.servers[index].set_directives(&words(&self.lines[index]));
    }

    fn write_some(&mut self) {
        let mut client = self.client(self.primary);
        client.ok(&["SELECT", &self.rng.u32(0..DATABASES).to_string()]);
        for _ in 0..self.rng.u32(1..60) {
            self.write_one(&mut client);
        }
    }

    fn write_one(&mut self, client: &mut Client) {
        let key = format!("k{}", self.rng.u32(0..50));
        let value = self.rng.u32(..).to_string();
        match self.rng.u8(0..10) {
            0 => drop(client.call(&["SET", &key, &value.repeat(self.rng.usize(1..200))])),
            1 => drop(client.call(&["DEL", &key])),
            2 => drop(client.call(&["SADD", &format!("s{key}"), &value])),
            3 => drop(client.call(&["RPUSH", &format!("l{key}"), &value])),
            4 => drop(client.call(&["ZADD", &format!("z{key}"), &value, &key])),
            5 => drop(client.call(&["XADD", &format!("x{key}"), "*", "f", &value])),
            6 => drop(client.call(&[
                "SET",
                &format!("e{key}"),
                &value,
                "PX",
                &self.rng.u32(1..3000).to_string(),
            ])),
            7 => drop(client.call(&["SPOP", &format!("s{key}")])),
            8 => drop(client.pipeline(&[
                vec!["MULTI"],
                vec!["INCR", "n"],
                vec!["SELECT", "1"],
                vec!["HINCRBY", "h", "m", "1"],
                vec!["EXEC"],
            ])),
            _ => {
                client.ok(&["SELECT", "0"]);
                assert!(matches!(client.call(&["INCR", "counter"]), Reply::Int(_)));
                self.counted += 1;
            }
        }
    }

    fn one_fault(&mut self) {
        let (server, replica) = (self.rng.usize(0..SERVERS), self.replica());
        match self.rng.u8(0..13) {
            0 | 1 => self.proxies[server].cut(),
            2 | 3 => self.proxies[server].cut_after(self.rng.i64(0..20_000)),
            4 => self.proxies[server].close(true),
            5 => self.proxies[server].close(false),
            6 => self.proxies[server].one_way(true),
            7 => self.proxies[server].one_way(false),
            8 => {
                self.tell(&format!("kill {replica}"));
                self.servers[replica].kill();
                self.start_replica(replica);
            }
            9 => {
                self.tell(&format!("restart {replica}"));
                let saves = self.rng.bool();
                self.client(replica).call(&["CONFIG", "SET", "save", if saves { "3600 1" } else { "" }]);
                self.stop(replica);
                self.start_replica(replica);
            }
            10 => drop(self.client(server).call(&["BGSAVE"])),
            11 => drop(self.client(server).call(&["BGREWRITEAOF"])),
            _ => drop(self.client(self.primary).call(&["CLIENT", "KILL", "TYPE", "replica"])),
        }
    }

    fn heal(&self) {
        for proxy in &self.proxies {
            proxy.cut_after(-1);
            proxy.close(false);
            proxy.one_way(false);
        }
    }

    /// Everything is healed: all have the same, and every acknowledged INCR.
    fn compare(&mut self, seed: u64) {
        self.heal();
        // Keys with an expiry end at once everywhere.
        let mut primary = self.client(self.primary);
        for index in (0..SERVERS).filter(|index| *index != self.primary) {
            let mut replica = self.client(index);
            let mut state = String::new();
            let equal = || {
                let offsets =
                    (info(&mut primary, "master_repl_offset"), info(&mut replica, "slave_repl_offset"));
                let link = info(&mut replica, "master_link_status");
                let digests = (digest(&mut primary), digest(&mut replica));
                state = format!("link {link}, offsets {offsets:?}, digests {digests:?}");
                link == "up" && offsets.0 == offsets.1 && digests.0 == digests.1
            };
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                wait_until("equal data", PATIENCE, equal);
            }));
            assert!(outcome.is_ok(), "TINE_SEED={seed}, server {index}: {state}\n{}", self.story);
        }
        primary.ok(&["SELECT", "0"]);
        let counter = primary.call(&["GET", "counter"]);
        let counter = if counter.is_null() { 0 } else { counter.text().parse().expect("a number") };
        assert_eq!(counter, self.counted, "TINE_SEED={seed}: acknowledged writes\n{}", self.story);
        for server in &self.servers {
            assert!(!server.log().contains("panicked"), "TINE_SEED={seed}\n{}", server.log());
        }
    }

    /// Another primary: handed over, or promoted by hand when nothing is missing.
    fn change_roles(&mut self) {
        let next = self.replica();
        self.tell(&format!("promote {next}"));
        self.client(next).ok(&["REPLICAOF", "NO", "ONE"]);
        if self.rng.bool() {
            // The old one was there no longer.
            let old = self.primary;
            self.tell(&format!("kill {old}"));
            self.servers[old].kill();
            self.servers[old].start_again();
        }
        self.primary = next;
    }
}

fn run(seed: u64) {
    eprintln!("TINE_SEED={seed}");
    let mut group = Group::new(seed);
    for _ in 0..ROUNDS {
        group.arrange();
        for _ in 0..STEPS {
            group.write_some();
            group.one_fault();
        }
        group.compare(seed);
        group.change_roles();
    }
}

#[test]
fn random_faults_and_promotions_end_in_equal_data() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("TINE_SEED") {
        return run(seed);
    }
    (0..number("TINE_REPLICATION_SEEDS").unwrap_or(1)).for_each(|_| run(Rng::new().u64(..)));
}
