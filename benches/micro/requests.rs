//! From bytes to a reply, without a socket.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use tine::base::clock::Clock;
use tine::base::rng::Rng;
use tine::dispatch;
use tine::resp::request::{Limits, Parsed, RequestParser};
use tine::resp::{OwnedArgs, Protocol, Reply};
use tine::server::config::Config;
use tine::server::{ClientKind, ClientRef, CommandTable, KeyHint, Server};

/// Requests of one pipeline.
const PIPELINE: usize = 32;
/// Keys of the data set: more than the caches hold.
const KEYS: usize = 1_000_000;

pub fn run(criterion: &mut Criterion) {
    parse(criterion);
    find_commands(criterion);
    execute(criterion);
}

fn encode(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn key(number: usize) -> [u8; 16] {
    let text = format!("key:{number:012}");
    text.as_bytes().try_into().expect("4 and 12 bytes")
}

fn parse(criterion: &mut Criterion) {
    let limits = Limits { bulk_max_bytes: 512 << 20, authenticated: true };
    let mut group = criterion.benchmark_group("parse a pipeline of 32");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    let set: &[&[u8]] = &[b"SET", b"key:000000000001", &[b'v'; 32]];
    let get: &[&[u8]] = &[b"GET", b"key:000000000001"];
    for (name, words) in [("SET", set), ("GET", get)] {
        let buffer = encode(words).repeat(PIPELINE);
        group.bench_with_input(BenchmarkId::from_parameter(name), &buffer, |bench, buffer| {
            let mut spans = Vec::new();
            bench.iter(|| {
                let mut parser = RequestParser::default();
                spans.clear();
                let mut count = 0;
                while parser.parse(black_box(buffer), &mut spans, limits) == Parsed::Request {
                    count += 1;
                }
                assert_eq!(count, PIPELINE);
            });
        });
    }
    group.finish();
}

fn find_commands(criterion: &mut Criterion) {
    let table = CommandTable::new(tine::command::FAMILIES);
    let mut group = criterion.benchmark_group("find a command");
    for name in ["GET", "set", "IncrByFloat"] {
        group.bench_with_input(BenchmarkId::from_parameter(name), name.as_bytes(), |bench, name| {
            bench.iter(|| table.find(black_box(name)).map(|found| found.id));
        });
    }
    group.finish();
}

/// A server in this process with a client and `KEYS` keys.
struct InProcess {
    server: Server,
    client: ClientRef,
    out: Reply,
}

impl InProcess {
    fn new() -> InProcess {
        let commands = CommandTable::new(tine::command::FAMILIES);
        let mut server = Server::new(Config::default(), Clock::system(), Rng::with_seed(1), commands)
            .expect("the lazy-free thread starts");
        let client = server.clients.add(ClientKind::Normal, 0);
        let mut this = InProcess { server, client, out: Reply::new(Protocol::Resp2) };
        for number in 0..KEYS {
            this.run(&[b"SET", &key(number), &[b'v'; 32]]);
        }
        this
    }

    fn run(&mut self, words: &[&[u8]]) {
        let args = OwnedArgs::from_slices(words.iter().copied());
        self.run_args(&args);
    }

    #[inline]
    fn run_args(&mut self, args: &OwnedArgs) {
        let args = args.as_args();
        let found = self.server.commands.find(args.at(0));
        let key = args.at(1);
        let hash = self.server.keyspace.hash(key);
        self.server.call.hint = KeyHint { address: key.as_ptr() as usize, len: key.len(), hash };
        self.out.buffer.clear();
        dispatch::execute(&mut self.server, self.client, args, found, &mut self.out);
        assert_ne!(self.out.buffer.first(), Some(&b'-'), "no error is measured");
    }
}

/// Name, command, and what follows the key.
type Form<'a> = (&'a str, &'a [u8], &'a [&'a [u8]]);

fn execute(criterion: &mut Criterion) {
    let mut server = InProcess::new();
    let mut rng = Rng::with_seed(2);
    let mut order: Vec<usize> = (0..KEYS).collect();
    rng.shuffle(&mut order);
    let mut group = criterion.benchmark_group("execute in process, 1 M keys in random order");
    group.throughput(Throughput::Elements(1));
    let value: &[u8] = &[b'w'; 32];
    let forms: [Form<'_>; 3] = [
        ("GET", b"GET", &[]),
        ("SET, same length", b"SET", &[value]),
        ("SET, shorter", b"SET", &[b"short value"]),
    ];
    for (name, command, rest) in forms {
        let requests: Vec<OwnedArgs> = order
            .iter()
            .take(200_000)
            .map(|number| {
                OwnedArgs::from_slices([command, &key(*number)].into_iter().chain(rest.iter().copied()))
            })
            .collect();
        let mut next = requests.iter().cycle();
        group.bench_function(name, |bench| {
            bench.iter(|| server.run_args(next.next().expect("a cycle has no end")));
        });
    }
    group.finish();
}
