//! Tests of the load program (src/tools/load): its figures decide what this project claims, so it must be right.

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use common::Server;
use tine::tools::load::keys::{Keys, Skew};
use tine::tools::load::options::{Options, Request};
use tine::tools::load::record::{Bucket, Cpu};
use tine::tools::load::{engine, mix, options, record};

fn parse(line: &str) -> Result<Options, String> {
    // `_` stands for a blank inside an argument.
    let args = line.split(' ').map(|arg| arg.replace('_', " ").into());
    match options::parse(args)? {
        Request::Run(options) => Ok(*options),
        Request::Help => Err("help".to_owned()),
    }
}

#[test]
fn options_are_read_and_bounded() {
    let options =
        parse("--bench --rate 5000 --duration 1.5s --at 500ms:BGSAVE --skew zipf:0.8").expect("valid");
    assert_eq!((options.rate, options.duration), (5000, Duration::from_millis(1500)));
    assert_eq!(options.events[0].at, Duration::from_millis(500));
    assert_eq!(options.skew, Skew::Zipf(0.8));
    for wrong in [
        "--rate 0",
        "--rate x",
        "--rate 1 extra",
        "--duration 0s",
        "--duration 5h",
        "--skew zipf:0",
        "--skew gaussian:2",
        "--at 5s:",
        "--at 99s:PING",
        "--write-share 2",
        "--no-such 1",
        "--mix set=-1",
        "--mix lpush=1",
        "--keys 0",
        "--bucket 0s",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn keys_follow_their_distribution() {
    let count_of = |skew: Skew, keys: u64, draws: usize| {
        let (mut source, mut counts) = (Keys::new(keys, skew, 7), vec![0u32; keys as usize]);
        (0..draws).for_each(|_| counts[source.draw() as usize] += 1);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    };
    assert!(count_of(Skew::Sequential, 10, 100).iter().all(|&count| count == 10));
    let uniform = count_of(Skew::Uniform, 10, 100_000);
    assert!(uniform.iter().all(|count| (9_500..10_500).contains(count)), "{uniform:?}");
    // A tenth of the keys around the middle is two deviations wide: 68.3 % of the draws.
    let gaussian = count_of(Skew::Gaussian(0.05), 1000, 100_000);
    let near: u32 = gaussian[..100].iter().sum();
    assert!((67_000..70_500).contains(&near), "{near}");
    for exponent in [0.5, 0.99, 1.0, 2.0] {
        let zipf = count_of(Skew::Zipf(exponent), 20, 400_000);
        let total: f64 = (1..=20).map(|rank| f64::from(rank).powf(-exponent)).sum();
        for (rank, count) in (1..=20).zip(&zipf) {
            let expected = 400_000.0 * f64::from(rank).powf(-exponent) / total;
            let spread = 5.0 * expected.sqrt() + 0.02 * expected;
            assert!(
                (f64::from(*count) - expected).abs() < spread,
                "s {exponent} rank {rank}: {count}, {expected}"
            );
        }
    }
}

#[test]
fn requests_follow_the_mix() {
    let options =
        parse("--mix set=1,get=3 --template 4=HSET_{key}_f_{value} --value-size 5 --keys 1").expect("valid");
    let mut requests = mix::Requests::new(&options).expect("weights above 0");
    let mut counts = [0; 3];
    for _ in 0..8000 {
        let mut bytes = Vec::new();
        requests.next(&mut bytes);
        let kinds: [&[u8]; 3] = [
            b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$5\r\n",
            b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n",
            b"*4\r\n$4\r\nHSET\r\n$16\r\nkey:000000000000\r\n$1\r\nf\r\n$5\r\n",
        ];
        let kind = kinds.iter().position(|kind| bytes.starts_with(kind)).expect("a command of the mix");
        assert_eq!(bytes.len(), kinds[kind].len() + if kind == 1 { 0 } else { 7 });
        counts[kind] += 1;
    }
    let expected = [1000, 3000, 4000];
    assert!(
        counts.iter().zip(expected).all(|(&count, e): (&i32, i32)| (count - e).abs() < 250),
        "{counts:?}"
    );
}

#[test]
fn time_line_sorts_samples_by_due_time() {
    let samples = [(0, 5), (250_000, 7), (99_999, 3), (100_000, 9), (50_000, 4)];
    let expected = [(0, 3, 4, 4, 5), (100, 1, 9, 9, 9), (200, 1, 7, 7, 7)]
        .map(|(start_ms, count, p50_us, p99_us, max_us)| Bucket { start_ms, count, p50_us, p99_us, max_us });
    assert_eq!(record::buckets(&samples, 100_000), expected);
}

#[test]
fn cpu_time_is_read_behind_an_awkward_name() {
    let stat = "7 (a) b) R 1 7 7 0 -1 4194304 100 0 0 0 12 34 0 0 20 0 1 0 5 1 1";
    assert_eq!(Cpu::parse(stat), Some(Cpu { user_us: 120_000, system_us: 340_000 }));
    assert_eq!(Cpu::parse("7 (a) R 1"), None);
}

/// A server of one connection (plus the idle one for timed commands) that answers each request at once, but
/// stops for `stall` after `before` requests.
fn stalling_server(before: usize, stall: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback address has a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        let (mut load, _) = listener.accept().expect("the load connection");
        let _timed = listener.accept().expect("the connection of timed commands");
        let (mut bytes, mut requests, mut stalled) = ([0; 4096], 0, false);
        while let Ok(count @ 1..) = load.read(&mut bytes) {
            // Every request of this test is a GET, with one `*`.
            let arrived = bytes[..count].iter().filter(|&&byte| byte == b'*').count();
            requests += arrived;
            if requests > before && !stalled {
                std::thread::sleep(stall);
                stalled = true;
            }
            if load.write_all("$-1\r\n".repeat(arrived).as_bytes()).is_err() {
                return;
            }
        }
    });
    port
}

#[test]
fn a_stall_is_charged_to_every_request_that_was_due_in_it() {
    // 1000/s for 1 s with a stall of 300 ms: 30 % of the requests wait, evenly from 300 ms down to 0. A program
    // that waits for replies before it sends would see a single slow request.
    let port = stalling_server(400, Duration::from_millis(300));
    let line = format!("--port {port} --rate 1000 --duration 1s --warmup 0s --connections 1 --write-share 0");
    let outcome = engine::run(&parse(&line).expect("valid")).expect("the run ends");
    let recorder = outcome.recorder;
    assert_eq!((recorder.answers(), recorder.sent, recorder.errors, outcome.unanswered), (1000, 1000, 0, 0));
    let at = |percentile: f64| recorder.latency_ns.value_at_percentile(percentile) / 1000;
    let (p50, p85, p99) = (at(50.0), at(85.0), at(99.0));
    assert!(p50 < 50_000, "{p50}");
    assert!((100_000..220_000).contains(&p85), "half of the stall: {p85}");
    assert!((270_000..400_000).contains(&p99), "nearly the whole stall: {p99}");
}

#[test]
fn the_time_in_which_the_sender_stalled_is_taken_off() {
    let options = parse("--rate 1000 --duration 1s").expect("valid");
    let mut recorder = record::Recorder::new(&options).expect("no time line");
    // The second waited for the sender only, the third for the server too.
    for (due_ns, latency_ms, stalled_ms) in [(0, 1, 0), (1, 9, 9), (2, 50, 10)] {
        recorder.answered(due_ns, latency_ms * 1_000_000, stalled_ms * 1_000_000, None);
    }
    assert_eq!((recorder.answers(), recorder.awake_ns.len()), (3, 3));
    let ms = |ns: u64| (ns + 500_000) / 1_000_000;
    assert_eq!((ms(recorder.latency_ns.max()), ms(recorder.awake_ns.max())), (50, 40));
    assert_eq!((ms(recorder.latency_ns.min()), ms(recorder.awake_ns.min())), (1, 0));
}

#[test]
fn a_server_that_falls_behind_ends_the_run() {
    let port = stalling_server(10, Duration::from_secs(3));
    // Reads only: a value written could hold the byte by which the server counts requests.
    let line = format!(
        "--port {port} --rate 2000 --duration 2s --warmup 0s --connections 1 --write-share 0 \
         --outstanding-max 500"
    );
    let problem = engine::run(&parse(&line).expect("valid")).err().expect("too slow");
    assert!(problem.contains("too slow for this rate"), "{problem}");
}

#[test]
fn the_real_server_is_loaded_and_events_fire() {
    let Some(server) = Server::redis(&[]) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let timeline = folder.path().join("t.json");
    let line = format!(
        "--port {} --rate 4000 --duration 500ms --warmup 100ms --connections 8 --pipeline 4 --keys 100 --fill \
         --setup SELECT_3 --mix set=1,get=1,incr=1 --at 200ms:BGSAVE --at 300ms:NO-SUCH --pid {} --timeline {}",
        server.port(),
        server.pid(),
        timeline.display()
    );
    let options = parse(&line.replace("  ", " ")).expect("valid");
    let outcome = engine::run(&options).expect("the run ends");
    assert_eq!((outcome.recorder.answers(), outcome.recorder.errors, outcome.unanswered), (2000, 0, 0));
    assert!(outcome.cpu.is_some());
    let refused: Vec<bool> =
        outcome.fired.iter().map(|f| f.answer.as_ref().is_some_and(|a| a.1.is_some())).collect();
    assert_eq!(refused, [false, true]);
    record::report(&options, &outcome).expect("the time line can be written");
    let text = std::fs::read_to_string(timeline).expect("written");
    assert!(text.contains("\"command\":\"BGSAVE\"") && text.contains("\"rows\":[[0,"), "{text}");
    let mut client = server.client();
    client.ok(&["SELECT", "3"]);
    assert!(client.call(&["DBSIZE"]).int() > 100);
    assert!(client.call(&["LASTSAVE"]).int() > 0);
}
