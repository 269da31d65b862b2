//! Memory figures. `used_memory` is O(1): counters of the allocators, never a walk. What costs
//! more (the resident set, jemalloc's own statistics) is read when somebody asks.

use crate::server::{ClientKind, Server, replication};
use crate::sys::general_alloc::AllocatorStats;
use crate::sys::{data_alloc, general_alloc, info};

/// What the kernel and the allocators say at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemorySample {
    pub rss_bytes: usize,
    /// Of both allocators together.
    pub allocator: AllocatorStats,
}

/// Where memory goes, for INFO memory and MEMORY STATS.
#[derive(Clone, Debug, Default)]
pub struct MemoryReport {
    pub total_bytes: usize,
    pub peak_bytes: usize,
    pub startup_bytes: usize,
    pub clients_bytes: usize,
    /// Their buffers, and what of the stream is kept for those that lag behind the backlog.
    pub replicas_bytes: usize,
    pub backlog_bytes: usize,
    pub aof_buffer_bytes: usize,
    /// Hash tables by database, empty ones left out.
    pub tables: Vec<(usize, usize)>,
    /// Everything that is not values and keys.
    pub overhead_bytes: usize,
    pub dataset_bytes: usize,
    pub keys: usize,
}

impl MemoryReport {
    /// Share of what was allocated since the start that holds data, percent.
    pub fn dataset_percent(&self) -> f64 {
        percent(self.dataset_bytes, self.total_bytes.saturating_sub(self.startup_bytes))
    }

    pub fn peak_percent(&self) -> f64 {
        percent(self.total_bytes, self.peak_bytes)
    }

    pub fn bytes_per_key(&self) -> usize {
        self.total_bytes.saturating_sub(self.startup_bytes) / self.keys.max(1)
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

impl Server {
    /// `used_memory`: bytes of the data region in use plus what the general allocator gave out.
    pub fn used_memory(&self) -> usize {
        data_alloc::used_bytes() + general_alloc::allocated_bytes() + replication::mapped_bytes()
    }

    /// Reads the resident set and the allocators' statistics: about 30 us.
    pub fn memory_sample(&self) -> MemorySample {
        let data = data_alloc::stats();
        let mut allocator = general_alloc::stats();
        let mapped_bytes = data.committed_bytes + data.mapped_large_bytes;
        allocator.allocated_bytes += data.live_bytes;
        // What is free in a block serves any size of its kind: resident, not active, as jemalloc counts.
        allocator.active_bytes += data.slab_bytes + data.mapped_large_bytes;
        allocator.resident_bytes += mapped_bytes;
        MemorySample { rss_bytes: info::current_rss_bytes() as usize, allocator }
    }

    /// Bytes of clients' buffers, of those `count` accepts. O(clients).
    fn client_bytes(&self, count: impl Fn(ClientKind) -> bool) -> usize {
        self.clients.iter().filter(|client| count(client.kind)).map(|client| client.memory_bytes()).sum()
    }

    /// O(clients + databases).
    pub fn memory_report(&self) -> MemoryReport {
        let databases = 0..self.keyspace.databases();
        let tables: Vec<(usize, usize)> = databases
            .filter(|db| !self.keyspace.db(*db).is_empty())
            .map(|db| (db, self.keyspace.db(db).table().memory_bytes()))
            .collect();
        // What the last replica leaves behind goes block by block: it is the backlog's till then.
        let has_replicas = !self.replication.replicas.is_empty();
        let beyond_bytes = match has_replicas {
            true => self.replication.bytes_beyond_backlog(self.config.repl_backlog_size),
            false => 0,
        };
        let mut report = MemoryReport {
            total_bytes: self.used_memory(),
            startup_bytes: self.memory_at_start_bytes,
            clients_bytes: self.client_bytes(|kind| matches!(kind, ClientKind::Normal)),
            replicas_bytes: self.client_bytes(|kind| matches!(kind, ClientKind::Replica)) + beyond_bytes,
            backlog_bytes: self.replication.buffer_bytes() - beyond_bytes,
            aof_buffer_bytes: self.propagation.stream.capacity(),
            tables,
            keys: self.keyspace.total_keys(),
            ..MemoryReport::default()
        };
        report.peak_bytes = self.stats.used_memory_peak.max(report.total_bytes);
        let tables_bytes: usize = report.tables.iter().map(|(_, bytes)| bytes).sum();
        report.overhead_bytes = report.startup_bytes
            + report.clients_bytes
            + report.replicas_bytes
            + report.backlog_bytes
            + report.aof_buffer_bytes
            + tables_bytes;
        report.dataset_bytes = report.total_bytes.saturating_sub(report.overhead_bytes);
        report
    }
}
