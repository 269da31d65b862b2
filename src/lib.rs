//! Tine: a Redis-compatible in-memory server whose snapshots use a real `fork()`.
//!
//! The modules are floors of a house (ARCHITECTURE.md): a module may use what lies
//! below it, never what lies above. `tests/tidy.rs` enforces the order.
#![deny(unsafe_code)]

pub mod base;
pub mod blocking;
pub mod boot;
pub mod command;
pub mod cow;
pub mod cron;
pub mod dispatch;
pub mod ds;
pub mod keyspace;
pub mod net;
pub mod persist;
pub mod replay;
pub mod replication;
pub mod resp;
pub mod server;
pub mod sys;
pub mod tools;
pub mod value;
