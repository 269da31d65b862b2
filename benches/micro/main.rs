//! The hot paths one by one, in process, with criterion: `cargo bench --bench micro [-- FILTER]`.
//!
//! | file | holds |
//! | --- | --- |
//! | `requests.rs` | parsing requests, finding commands, whole commands through dispatch without a socket |
//! | `tables.rs` | look-ups and inserts of the hash table, the longest insert while it grows |
//! | `files.rs` | RDB written and read, LZF |
//!
//! They tell which part became slower; how fast the server is, `make bench` tells.
#![deny(unsafe_code)]

mod files;
mod requests;
mod tables;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    requests::run(&mut criterion);
    tables::run(&mut criterion);
    files::run(&mut criterion);
    criterion.final_summary();
}
