//! A whole server without sockets, on a clock that the test moves: for the semantics of commands.
//!
//! ```text
//!  call("SET k v") ─► dispatch::execute ─► blocked clients that became ready ─► RESP text
//! ```
//! What commands hand on can be looked at: pushes and messages of each client, and, after
//! [`InProcess::record_propagation`], the stream of effects.

use super::{Decoder, Reply};
use std::time::{SystemTime, UNIX_EPOCH};
use tine::base::clock::Clock;
use tine::base::rng::Rng;
use tine::blocking;
use tine::dispatch::{self, Outcome};
use tine::resp::{OwnedArgs, Protocol, Reply as Sink};
use tine::server::config::{Config, SetContext};
use tine::server::spec::BeginSearch;
use tine::server::{ClientKind, ClientRef, CommandTable, Found, KeyHint, Server};

/// Where the clock stands when a server is made, Unix ms: a fixed day, 2023-11-14.
pub const START_MS: i64 = 1_700_000_000_000;

/// A server with one client, and more when asked for.
pub struct InProcess {
    pub server: Server,
    /// The client that [`InProcess::call`] and [`InProcess::run`] speak for.
    pub main: ClientRef,
    now_ms: i64,
}

impl Default for InProcess {
    fn default() -> Self {
        InProcess::new()
    }
}

impl InProcess {
    /// An empty server with the default configuration but for the save points: FLUSHALL would
    /// write a snapshot into the folder that the tests run in.
    pub fn new() -> InProcess {
        let mut test = InProcess::with_config(Config::default());
        test.configure(&[("save", "")]);
        test
    }

    /// As [`InProcess::new`] with directives set, as CONFIG SET would set them.
    #[track_caller]
    pub fn with(directives: &[(&str, &str)]) -> InProcess {
        let mut test = InProcess::new();
        test.configure(directives);
        test
    }

    pub fn with_config(config: Config) -> InProcess {
        let commands = CommandTable::new(tine::command::FAMILIES);
        let mut server = Server::new(config, Clock::manual(START_MS), Rng::with_seed(1), commands)
            .expect("the lazy-free thread starts");
        let main = server.clients.add(ClientKind::Normal, 0);
        InProcess { server, main, now_ms: START_MS }
    }

    /// Sets directives without what CONFIG SET does besides.
    #[track_caller]
    pub fn configure(&mut self, directives: &[(&str, &str)]) {
        let set = self.server.config.set_many(directives, SetContext::default());
        assert!(set.is_ok(), "{directives:?} can be set");
    }

    /// Another connected client.
    pub fn client(&mut self) -> ClientRef {
        self.server.clients.add(ClientKind::Normal, 0)
    }

    /// The client speaks RESP3 from now on.
    pub fn resp3(&mut self, client: ClientRef) {
        self.server.clients.get_mut(client).expect("the client is connected").protocol = Protocol::Resp3;
    }

    /// Runs a command written as text (see [`split`]) for the main client. Returns the reply's
    /// RESP text with line ends turned into single blanks and none at the end: `$1 v`, `*2 :1 :2`.
    #[track_caller]
    pub fn call(&mut self, line: &str) -> String {
        self.call_as(self.main, line)
    }

    /// As [`InProcess::call`] for another client; empty when it blocks.
    #[track_caller]
    pub fn call_as(&mut self, client: ClientRef, line: &str) -> String {
        let words = split(line);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        plain(&self.raw(client, &words).0)
    }

    /// Runs a command for the main client; panics when it gives no reply.
    #[track_caller]
    pub fn run(&mut self, args: &[&[u8]]) -> Reply {
        self.run_as(self.main, args)
    }

    #[track_caller]
    pub fn run_as(&mut self, client: ClientRef, args: &[&[u8]]) -> Reply {
        let mut decoder = Decoder::default();
        decoder.push(&self.raw(client, args).0);
        decoder.take().expect("the command answers")
    }

    /// Runs a command: the bytes of its reply, pushes behind it included, and what became of it.
    pub fn raw(&mut self, client: ClientRef, args: &[&[u8]]) -> (Vec<u8>, Outcome) {
        let owned: OwnedArgs = args.iter().copied().collect();
        let owned = owned.as_args();
        let protocol = self.server.clients.get(client).expect("the client is connected").protocol;
        let mut out = Sink::new(protocol);
        self.server.refresh_time();
        let found = self.server.commands.find(&owned[0]);
        self.server.call.hint = first_key(found, owned).map_or_else(KeyHint::default, |key| KeyHint {
            address: key.as_ptr() as usize,
            len: key.len(),
            hash: self.server.keyspace.hash(key),
        });
        let outcome = dispatch::execute(&mut self.server, client, owned, found, &mut out);
        self.server.call.hint = KeyHint::default();
        if self.server.blocked.has_ready() {
            blocking::serve_ready(&mut self.server);
        }
        (out.buffer, outcome)
    }

    /// Moves the clock on by `step_ms` and answers clients whose time-out has passed.
    pub fn clock_ms(&mut self, step_ms: i64) {
        self.now_ms += step_ms;
        self.set_clock_ms(self.now_ms);
        blocking::serve_timeouts(&mut self.server);
    }

    /// Unix time of the server, ms.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Sets the server's clock to the system's time, for comparisons with another server.
    pub fn set_clock_to_system(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the epoch is past");
        self.set_clock_ms(now.as_millis() as i64);
    }

    fn set_clock_ms(&mut self, unix_ms: i64) {
        self.now_ms = unix_ms;
        self.server.clock.set_ms(unix_ms);
        self.server.refresh_time();
    }

    /// Takes what was sent to a client besides the replies of its own commands (messages, replies
    /// of commands that had blocked), in the form of [`InProcess::call`].
    pub fn received(&mut self, client: ClientRef) -> String {
        let state = self.server.clients.get_mut(client).expect("the client is connected");
        let bytes = std::mem::take(&mut state.output.buffer);
        state.output.reset();
        plain(&bytes)
    }

    /// Collects the stream of effects from now on.
    pub fn record_propagation(&mut self) {
        self.server.propagation.wanted = true;
        self.server.propagation.stream.clear();
    }

    /// Takes the stream of effects: one line a command, words joined by blanks; SELECT is shown.
    #[track_caller]
    pub fn propagated(&mut self) -> Vec<String> {
        let mut decoder = Decoder::default();
        decoder.push(&std::mem::take(&mut self.server.propagation.stream));
        let mut commands = Vec::new();
        while let Some(command) = decoder.take() {
            let words: Vec<String> = command.items().iter().map(Reply::text).collect();
            commands.push(words.join(" "));
        }
        commands
    }

    /// What one command adds to the stream of effects, SELECT of database 0 left out.
    #[track_caller]
    pub fn logged(&mut self, command: &str) -> Vec<String> {
        self.record_propagation();
        self.call(command);
        let mut commands = self.propagated();
        commands.retain(|command| command != "SELECT 0");
        commands
    }

    /// Runs lines `command => reply` and compares each reply; a line without `=>` only runs.
    #[track_caller]
    pub fn script(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.split_once(" => ") {
                Some((command, reply)) => assert_eq!(self.call(command), reply, "{command}"),
                None => {
                    self.call(line);
                }
            }
        }
    }

    /// As [`InProcess::script`]; every line must name its reply.
    #[track_caller]
    pub fn transcript(&mut self, lines: &str) {
        let silent = lines.lines().map(str::trim).find(|line| !line.is_empty() && !line.contains(" => "));
        assert_eq!(silent, None, "a line is `command => reply`");
        self.script(lines);
    }

    /// Changes counted since the start (`rdb_changes_since_last_save`).
    pub fn dirty(&self) -> u64 {
        self.server.persistence.dirty
    }
}

fn first_key<'a>(found: Option<Found>, args: tine::resp::Args<'a>) -> Option<&'a [u8]> {
    match found?.spec.keys.first()?.begin {
        BeginSearch::Index(index) => args.get(index),
        _ => None,
    }
}

/// RESP text with blanks for line ends.
fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches("\r\n").replace("\r\n", " ")
}

/// Cuts a line at blanks. `"..."` keeps blanks together and knows `\n`, `\r`, `\"`, `\\`, `\xHH`;
/// `""` is an empty argument.
#[track_caller]
pub fn split(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = line.bytes().peekable();
    while let Some(first) = bytes.next() {
        if first == b' ' {
            continue;
        }
        let mut word = Vec::new();
        if first == b'"' {
            quoted(&mut bytes, &mut word);
        } else {
            word.push(first);
            while let Some(byte) = bytes.next_if(|byte| *byte != b' ') {
                word.push(byte);
            }
        }
        words.push(word);
    }
    words
}

#[track_caller]
fn quoted(bytes: &mut impl Iterator<Item = u8>, word: &mut Vec<u8>) {
    loop {
        match bytes.next().expect("a quoted word ends with a quote") {
            b'"' => return,
            b'\\' => word.push(escaped(bytes)),
            byte => word.push(byte),
        }
    }
}

#[track_caller]
fn escaped(bytes: &mut impl Iterator<Item = u8>) -> u8 {
    let mut next = || bytes.next().expect("an escape is complete");
    match next() {
        b'n' => b'\n',
        b'r' => b'\r',
        b'x' => {
            let digits = [next(), next()];
            let digits = std::str::from_utf8(&digits).expect("hex digits are ASCII");
            u8::from_str_radix(digits, 16).expect("\\x has two hex digits")
        }
        other => other,
    }
}
