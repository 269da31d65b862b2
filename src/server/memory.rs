//! Memory figures that are O(1): counters of the allocators, never a walk.

use crate::server::Server;
use crate::sys::data_alloc;

impl Server {
    /// `used_memory`: bytes of the data region in use plus what the general allocator gave out.
    pub fn used_memory(&self) -> usize {
        data_alloc::used_bytes() + crate::sys::general_alloc::allocated_bytes()
    }
}
