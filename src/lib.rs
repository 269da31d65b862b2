//! Tine: a Redis-compatible in-memory server whose snapshots use a real `fork()`.
//!
//! The modules are floors of a house (ARCHITECTURE.md): a module may use what lies
//! below it, never what lies above. `tests/tidy.rs` enforces the order.
#![deny(unsafe_code)]

pub mod base;
pub mod ds;
pub mod server;
pub mod sys;
