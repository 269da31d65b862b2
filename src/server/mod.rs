//! Floor 6: the server's parts. Knows no concrete command.

pub mod config;
