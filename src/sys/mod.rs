//! Floor 1: thin safe wrappers of the operating system.

pub mod affinity;
pub mod crash;
pub mod daemon;
pub mod data_alloc;
pub mod durable;
pub mod fork;
pub mod fork_check;
pub mod general_alloc;
pub mod huge_pages;
pub mod info;
pub mod io;
pub mod limits;
pub mod log_sink;
pub mod net;
pub mod notify;
pub mod oom;
pub mod proc;
mod raw_write;
pub mod signals;
pub mod stream_block;
pub mod title;
pub mod watchdog;
