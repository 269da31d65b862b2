//! Commands of replication: what a server is, how replicas are fed, who waits for them.

pub mod role;
pub mod sync;
pub mod wait;
