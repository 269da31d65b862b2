//! Floor 5: what makes data outlive the process. RDB, AOF, the fork that writes them.
//!
//! Knows the keyspace and files; knows no commands and no clients. `Persistence` is the state the
//! server keeps; what to do when is decided by `cron` and by commands through its methods.

/// State of persistence.
#[derive(Debug, Default)]
pub struct Persistence {
    /// Changes since the last successful save (`rdb_changes_since_last_save`). Reads never count.
    pub dirty: u64,
}

impl Persistence {
    /// The AOF offset that replies made now must wait for; `None` while no write is pending.
    pub fn pending_aof_offset(&self) -> Option<u64> {
        None
    }

    /// Hands what was appended in this turn on to the file.
    pub fn flush_aof(&mut self) {}

    /// Replies that wait for an offset up to this one may leave.
    pub fn released_aof_offset(&self) -> u64 {
        u64::MAX
    }
}
