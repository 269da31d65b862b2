//! Sentinel, the engine that people run for failover: real ones watch servers of this kind.

use crate::common::{Client, Program, Reply, Server, free_port, new_folder, skip, wait_until};
use crate::{DEBUG, info};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// From the death of the primary to a new one.
const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "mymaster";

/// One sentinel.
struct Sentinel {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Sentinel {
    fn watch(program: &PathBuf, primary: u16, quorum: usize) -> Sentinel {
        let (folder, port) = (new_folder(), free_port());
        let config = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {NAME} 127.0.0.1 {primary} {quorum}\n\
             sentinel down-after-milliseconds {NAME} 2000\nsentinel failover-timeout {NAME} 4000\n",
            folder.path().display()
        );
        std::fs::write(&config, text).expect("the temporary folder is writable");
        let log = std::fs::File::create(folder.path().join("log")).expect("the temporary folder is writable");
        let child = Command::new(program)
            .arg(&config)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .expect("redis-server can be started");
        Sentinel { child, port, folder }
    }

    fn client(&self) -> Option<Client> {
        Client::try_connect(self.port).ok()
    }

    /// One field of SENTINEL MASTER.
    fn field(&self, name: &str) -> String {
        let Some(mut client) = self.client() else { return String::new() };
        let Reply::Array(items) = client.call(&["SENTINEL", "MASTER", NAME]) else { return String::new() };
        let at = items.iter().position(|item| *item == Reply::bulk(name));
        at.map_or(String::new(), |at| items[at + 1].text())
    }

    fn primary_port(&self) -> u16 {
        let Some(mut client) = self.client() else { return 0 };
        let reply = client.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        reply.items()[1].text().parse().unwrap_or(0)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("--- log of a sentinel ---\n{log}");
        }
    }
}

#[test]
fn sentinels_promote_a_replica_and_take_the_old_primary_back() {
    let Some(Program::Other(program)) = Program::redis() else {
        skip("redis-server is not installed");
        return;
    };
    // As the shipped redis.conf has it.
    let lines = [DEBUG, "repl-diskless-sync-delay 0", "replica-refuse-empty-sync yes"];
    let mut servers: Vec<Server> = (0..3).map(|_| Server::tine(&lines)).collect();
    let first = servers[0].port();
    for server in &servers[1..] {
        server.client().ok(&["REPLICAOF", "127.0.0.1", &first.to_string()]);
    }
    servers[0].client().ok(&["SET", "a", "1"]);
    let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::watch(&program, first, 2)).collect();
    wait_until("the sentinels know all", PATIENCE, || {
        sentinels.iter().all(|sentinel| {
            sentinel.field("num-slaves") == "2" && sentinel.field("num-other-sentinels") == "2"
        })
    });
    wait_until("good replicas", PATIENCE, || info(&mut servers[0].client(), "connected_slaves") == "2");
    servers[0].kill();
    wait_until("a new primary", PATIENCE, || {
        sentinels.iter().all(|sentinel| ![0, first].contains(&sentinel.primary_port()))
    });
    let promoted = sentinels[0].primary_port();
    let (new, other) = if servers[1].port() == promoted { (1, 2) } else { (2, 1) };
    // Sentinel closes the connections of clients when it changes a role: then one asks again.
    wait_until("the new primary serves", PATIENCE, || {
        let mut client = servers[new].client();
        client.try_call(&["INCR", "b"]).is_ok()
    });
    let follows = |server: &Server| {
        let reply = server.client().try_call(&["ROLE"]);
        reply.is_ok_and(|reply| {
            reply.items().get(2) == Some(&Reply::Int(i64::from(promoted)))
                && reply.items().get(3) == Some(&Reply::bulk("connected"))
        })
    };
    wait_until("the other follows", PATIENCE, || follows(&servers[other]));
    servers[0].start_again();
    wait_until("the old one follows", PATIENCE, || follows(&servers[0]));
    let has_write = |server: &Server| {
        server.client().try_call(&["EXISTS", "b"]).is_ok_and(|reply| reply == Reply::Int(1))
    };
    wait_until("equal data", PATIENCE, || has_write(&servers[0]) && has_write(&servers[other]));
    // CONFIG REWRITE has told the files.
    wait_until("the files", PATIENCE, || {
        let lines = |index: usize| {
            let text = std::fs::read_to_string(servers[index].dir().join("test.conf")).unwrap_or_default();
            text.contains(&format!("replicaof 127.0.0.1 {promoted}"))
        };
        lines(0) && lines(other) && !lines(new)
    });
}
