//! What programs of the field see of Tine: redis-py, redis-cli's modes, the Prometheus exporter; and what an
//! operator finds out with the latency monitor and the watchdog.
//!
//! | file | holds |
//! | --- | --- |
//! | `clients/python.rs`, `scenarios.py` | redis-py: transactions, pipelines, locks, pub/sub, pools, RESP3 |
//! | `recipes.py` | redis-py: waiting for a replica, replacing a dead primary |
//! | `clients/cli.rs` | redis-cli: help from COMMAND DOCS, --rdb (its other modes: `engines.rs`) |
//! | `clients/exporter.rs` | the commands and fields that the Prometheus exporter reads |
//! | `clients/stalls.rs` | latency events, the watchdog |

mod common;

#[path = "clients/cli.rs"]
mod cli;
#[path = "clients/exporter.rs"]
mod exporter;
#[path = "clients/python.rs"]
mod python;
#[path = "clients/stalls.rs"]
mod stalls;

use std::time::Duration;

/// How long anything here may take.
const DEADLINE: Duration = Duration::from_secs(30);
