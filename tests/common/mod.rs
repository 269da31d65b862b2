//! Support for the integration tests: servers in folders of their own, a client, the tools of Redis.
//!
//! | file | holds |
//! | --- | --- |
//! | `server.rs` | start, stop, kill and restart the built server or the distribution's redis-server |
//! | `in_process.rs` | a server without sockets, on a manual clock, for the semantics of commands |
//! | `client.rs` | a blocking RESP2/RESP3 client that shows replies as they came |
//! | `tools.rs` | redis-cli, redis-benchmark, the corpus of recorded files |
//!
//! A test that waits polls with a deadline ([`wait_until`]); a plain sleep is never the way to wait.
//! What is missing on the machine (redis-server, the corpus) skips a test with a message; under
//! `TINE_REQUIRE_INTEROP=1`, which `.ci/run` sets, it fails instead.
// Each test program compiles this module for itself and uses a part of it.
#![allow(dead_code, unused_imports)]

mod client;
mod in_process;
mod server;
mod tools;

pub use client::{Client, Decoder, Reply, encode_command};
pub use in_process::{InProcess, START_MS, split};
pub use server::{Program, Server, StartFailure, new_folder};
pub use tools::{Corpus, CorpusFile, corpus, find_program, redis_benchmark, redis_cli, require_tool};

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

/// First pause between two looks at a condition; half as long again each time, up to the longest.
const POLL_INTERVAL_FIRST: Duration = Duration::from_micros(200);
const POLL_INTERVAL_MAX: Duration = Duration::from_millis(5);

/// Polls `condition` until it holds; panics after `deadline`, naming `what` was awaited.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}

/// Polls `probe` until it gives a value; panics after `deadline`, naming `what` was awaited.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let (start, mut pause) = (Instant::now(), POLL_INTERVAL_FIRST);
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
        std::thread::sleep(pause);
        pause = POLL_INTERVAL_MAX.min(pause + pause / 2);
    }
}

/// A TCP port of the loopback address that nobody listens on at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback address has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// True if what is missing must fail a test instead of skipping it.
pub fn interop_required() -> bool {
    std::env::var("TINE_REQUIRE_INTEROP").is_ok_and(|value| value == "1")
}

/// Notes that a test cannot run here; panics where skipping is not allowed.
#[track_caller]
pub fn skip(reason: &str) {
    assert!(!interop_required(), "TINE_REQUIRE_INTEROP=1, but {reason}");
    eprintln!("SKIPPED: {reason}");
}
