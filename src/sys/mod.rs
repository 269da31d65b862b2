//! Floor 1: thin safe wrappers of the operating system.

pub mod data_alloc;
