//! The two servers: the reference and ours, and commands that go to both at once.

use std::io;
use std::time::Duration;

use crate::common::{Client, Program, Reply, Server, encode_command, new_folder};
use crate::families::Version;

/// How long a reply may take; a busy machine is slow, a hang is a difference.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A server with the connections of the comparison.
pub struct Side {
    pub server: Server,
    directives: Vec<String>,
    main: Client,
    /// Looks at the data without disturbing what the main client selected.
    pub observer: Client,
    /// Waits for keys.
    pub waiter: Client,
    /// Listens to keyspace events.
    listener: Client,
}

impl Side {
    pub fn start(program: Program, directives: &[String]) -> Side {
        let lines: Vec<&str> = directives.iter().map(String::as_str).collect();
        let server = Server::start(program, new_folder(), &lines);
        Side::over(server, directives.to_vec())
    }

    fn over(server: Server, directives: Vec<String>) -> Side {
        let client = || {
            let mut client = server.client();
            client.set_timeout(REPLY_TIMEOUT);
            client
        };
        let (main, observer, waiter, mut listener) = (client(), client(), client(), client());
        listener.call(&["PSUBSCRIBE", "__keyevent*", "sync"]);
        listener.read();
        Side { main, observer, waiter, listener, server, directives }
    }

    /// Starts it anew, without data, in a new folder.
    fn restart(&mut self, program: Program) {
        *self = Side::start(program, &self.directives.clone());
    }

    pub fn version(&mut self) -> Version {
        let text = self.observer.call(&["INFO", "server"]).text();
        let line = text.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("7.0");
        let mut parts = line.split('.').filter_map(|part| part.trim().parse().ok());
        (parts.next().unwrap_or(7), parts.next().unwrap_or(0))
    }

    fn send(&mut self, batch: &[&[Vec<u8>]]) -> io::Result<()> {
        let bytes: Vec<u8> = batch.iter().flat_map(|args| encode_command(args)).collect();
        self.main.try_send_raw(&bytes)
    }

    fn receive(&mut self, count: usize) -> io::Result<Vec<Reply>> {
        (0..count).map(|_| self.main.try_read()).collect()
    }

    /// Runs a command through the main connection.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        self.main.try_call(args)
    }

    /// Runs a command through the observing connection.
    pub fn look<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        self.observer.try_call(args)
    }

    /// The keyspace events since the last call.
    fn events(&mut self) -> io::Result<Vec<Reply>> {
        self.observer.try_call(&["PUBLISH", "sync", "now"])?;
        let mut events = Vec::new();
        loop {
            let event = self.listener.try_read()?;
            if matches!(&event, Reply::Array(parts) if parts.get(2) == Some(&Reply::bulk("sync"))) {
                return Ok(events);
            }
            events.push(event);
        }
    }
}

/// Which side broke, and how.
#[derive(Debug)]
pub struct Broken {
    pub side: &'static str,
    pub problem: String,
}

/// Both servers.
pub struct Pair {
    pub reference: Side,
    pub ours: Side,
    programs: (Program, Program),
}

impl Pair {
    pub fn start(reference: Program, ours: Program, directives: &[String]) -> Pair {
        Pair {
            reference: Side::start(reference.clone(), directives),
            ours: Side::start(ours.clone(), directives),
            programs: (reference, ours),
        }
    }

    /// Sends a batch to both in one write each and waits for all replies.
    pub fn batch(&mut self, batch: &[&[Vec<u8>]]) -> Result<Vec<(Reply, Reply)>, Broken> {
        self.reference.send(batch).map_err(|e| self.broken("reference", &e))?;
        self.ours.send(batch).map_err(|e| self.broken("ours", &e))?;
        let left = self.reference.receive(batch.len()).map_err(|e| self.broken("reference", &e))?;
        let right = self.ours.receive(batch.len()).map_err(|e| self.broken("ours", &e))?;
        Ok(left.into_iter().zip(right).collect())
    }

    /// One command through the main connections.
    pub fn both<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<(Reply, Reply), Broken> {
        let left = self.reference.call(args).map_err(|e| self.broken("reference", &e))?;
        let right = self.ours.call(args).map_err(|e| self.broken("ours", &e))?;
        Ok((left, right))
    }

    /// One command through the observing connections.
    pub fn look<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<(Reply, Reply), Broken> {
        let left = self.reference.look(args).map_err(|e| self.broken("reference", &e))?;
        let right = self.ours.look(args).map_err(|e| self.broken("ours", &e))?;
        Ok((left, right))
    }

    /// Several commands through the observing connections, in one write.
    pub fn look_all(&mut self, batch: &[Vec<Vec<u8>>]) -> Result<Vec<(Reply, Reply)>, Broken> {
        let bytes: Vec<u8> = batch.iter().flat_map(|args| encode_command(args)).collect();
        self.reference.observer.try_send_raw(&bytes).map_err(|e| self.broken("reference", &e))?;
        self.ours.observer.try_send_raw(&bytes).map_err(|e| self.broken("ours", &e))?;
        let mut replies = Vec::new();
        for _ in batch {
            let left = self.reference.observer.try_read().map_err(|e| self.broken("reference", &e))?;
            let right = self.ours.observer.try_read().map_err(|e| self.broken("ours", &e))?;
            replies.push((left, right));
        }
        Ok(replies)
    }

    /// Keyspace events of both since the last call.
    pub fn events(&mut self) -> Result<(Vec<Reply>, Vec<Reply>), Broken> {
        let left = self.reference.events().map_err(|e| self.broken("reference", &e))?;
        let right = self.ours.events().map_err(|e| self.broken("ours", &e))?;
        Ok((left, right))
    }

    /// A command through the waiting connections, not waited for.
    pub fn wait<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<(), Broken> {
        let bytes = encode_command(args);
        self.reference.waiter.try_send_raw(&bytes).map_err(|e| self.broken("reference", &e))?;
        self.ours.waiter.try_send_raw(&bytes).map_err(|e| self.broken("ours", &e))
    }

    /// The replies to [`Pair::wait`].
    pub fn waited(&mut self) -> Result<(Reply, Reply), Broken> {
        let left = self.reference.waiter.try_read().map_err(|e| self.broken("reference", &e))?;
        let right = self.ours.waiter.try_read().map_err(|e| self.broken("ours", &e))?;
        Ok((left, right))
    }

    pub fn broken(&mut self, side: &'static str, error: &io::Error) -> Broken {
        let which = if side == "ours" { &mut self.ours } else { &mut self.reference };
        // A dying server needs a moment to end.
        let alive = (0..50).all(|_| {
            std::thread::sleep(Duration::from_millis(2));
            which.server.is_running()
        });
        let log = which.server.log();
        let tail: Vec<&str> = log.lines().rev().take(25).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        let state = if alive { "still runs" } else { "ended" };
        Broken { side, problem: format!("{error}; the server {state}\n{}", tail.join("\n")) }
    }

    /// Empty servers with new connections after one of them broke.
    pub fn restart(&mut self) {
        self.reference.restart(self.programs.0.clone());
        self.ours.restart(self.programs.1.clone());
    }
}
