//! The load program: sends requests at a fixed rate to any RESP server and measures each latency from the
//! moment the request was *due*, so that a stalled server cannot hide its stall by slowing the sender down.
//! `benches/load` is its command line, `tine-lab` uses it as a part.
//!
//! | file | holds |
//! | --- | --- |
//! | `options.rs` | the command line |
//! | `scenario.rs` | sets of options with a name |
//! | `keys.rs` | which key comes next: uniform, zipf, gaussian, sequential |
//! | `mix.rs` | which command comes next, and its bytes |
//! | `wire.rs` | connections: non-blocking sockets, output that could not leave yet, replies counted |
//! | `engine.rs` | the schedule: one thread, open loop, warm-up, commands fired at a time |
//! | `record.rs` | histogram, time line, CPU of the server, the report |
//!
//! It spins between sends and so takes one core of its own; give the server another one. It reports its own
//! lateness: a figure is only worth something when that is far below the latency it claims.

pub mod engine;
pub mod keys;
pub mod mix;
pub mod options;
pub mod record;
pub mod scenario;
pub mod wire;
