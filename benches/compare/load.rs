//! What drives a server: redis-benchmark for speed, a pipelined filler for known data sets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Outcome;
use crate::server::Server;

/// Commands in flight while filling.
const BATCH: u64 = 512;
/// The reply that every command of a fill must give.
const FILL_REPLY: &[u8] = b"+OK\r\n";

/// What one run of redis-benchmark showed.
#[derive(Debug, Clone, Copy)]
pub struct Speed {
    pub requests_per_s: f64,
    pub cpu_us_per_request: f64,
}

/// Runs redis-benchmark with 50 connections and measures rate and CPU of the server over it.
///
/// # Errors
/// When it fails or the server breaks.
pub fn benchmark(server: &Server, test: &str, requests: u64, pipeline: u64, keys: u64) -> Outcome<Speed> {
    let before = server.cpu_us()?;
    let start = Instant::now();
    let output = Command::new("redis-benchmark")
        .args(["-p", &server.port.to_string(), "-t", test, "-c", "50", "-d", "32", "--csv"])
        .args(["-n", &requests.to_string(), "-r", &keys.to_string(), "-P", &pipeline.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("redis-benchmark: {e}"))?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_us = server.cpu_us()? - before;
    if !output.status.success() {
        return Err(format!("redis-benchmark: {}", String::from_utf8_lossy(&output.stderr)));
    }
    // The rate over its own clock where the line is understood, else over ours.
    let reported = rate_of(&String::from_utf8_lossy(&output.stdout));
    Ok(Speed {
        requests_per_s: reported.unwrap_or(requests as f64 / seconds),
        cpu_us_per_request: cpu_us / requests as f64,
    })
}

/// The second column of the last line of the CSV output.
fn rate_of(csv: &str) -> Option<f64> {
    let line = csv.lines().rfind(|line| line.starts_with('"'))?;
    line.split(',').nth(1)?.trim_matches('"').parse().ok()
}

/// Values of a filled data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// 32 bytes.
    Text,
    /// 32 bytes, and a TTL far away.
    TextWithTtl,
    /// An integer that Redis does not share.
    Integer,
}

/// Sets the keys `prefix` + 12 digits (a 16-byte key for a prefix of 4) for the numbers given.
///
/// # Errors
/// When the connection breaks or a reply is not OK.
pub fn fill(server: &Server, prefix: &str, numbers: impl Iterator<Item = u64>, kind: Fill) -> Outcome<()> {
    let mut stream = server.connect()?;
    let mut request = Vec::new();
    let mut count = 0;
    for number in numbers {
        push_set(&mut request, prefix, number, kind);
        count += 1;
        if count == BATCH {
            exchange(&mut stream, &request, count)?;
            request.clear();
            count = 0;
        }
    }
    exchange(&mut stream, &request, count)
}

fn push_set(request: &mut Vec<u8>, prefix: &str, number: u64, kind: Fill) {
    let key = format!("{prefix}{number:012}");
    let value = match kind {
        Fill::Integer => format!("{}", 1_000_000 + number),
        Fill::Text | Fill::TextWithTtl => format!("value-of-{number:023}"),
    };
    let words = if kind == Fill::TextWithTtl { 5 } else { 3 };
    let text = format!("*{words}\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n", key.len(), value.len());
    request.extend_from_slice(text.as_bytes());
    if kind == Fill::TextWithTtl {
        request.extend_from_slice(b"$2\r\nEX\r\n$6\r\n500000\r\n");
    }
}

/// Sends commands and reads as many OKs.
fn exchange(stream: &mut TcpStream, request: &[u8], count: u64) -> Outcome<()> {
    stream.write_all(request).map_err(|e| format!("fill: {e}"))?;
    let mut replies = vec![0; FILL_REPLY.len() * count as usize];
    stream.read_exact(&mut replies).map_err(|e| format!("fill: {e}"))?;
    match replies.chunks(FILL_REPLY.len()).all(|reply| reply == FILL_REPLY) {
        true => Ok(()),
        false => Err(format!("fill: {}", String::from_utf8_lossy(&replies[..replies.len().min(80)]))),
    }
}

/// Deletes keys in one connection, a thousand in a command.
///
/// # Errors
/// When the connection breaks.
pub fn delete(server: &Server, prefix: &str, numbers: impl Iterator<Item = u64>) -> Outcome<()> {
    let numbers: Vec<u64> = numbers.collect();
    for chunk in numbers.chunks(1000) {
        let names: Vec<String> = chunk.iter().map(|number| format!("{prefix}{number:012}")).collect();
        let mut words = vec!["DEL"];
        words.extend(names.iter().map(String::as_str));
        server.call(&words)?;
    }
    Ok(())
}

/// Scrambles a number, to choose keys at random and the same for each server.
pub fn scramble(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
