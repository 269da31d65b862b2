//! When writes must be refused because they could not be made safe.

use crate::server::Server;
use crate::server::error::{self, ReplyError};

impl Server {
    /// MISCONF while persistence has failed and the configuration asks to refuse writes then.
    ///
    /// # Errors
    /// The refusal to send.
    #[inline]
    pub fn refuse_unsafe_write(&self) -> Result<(), ReplyError> {
        if self.snapshots_fail() {
            return Err(error::MISCONF_RDB);
        }
        match self.persistence.aof.refusal() {
            None => Ok(()),
            Some(reason) => {
                Err(ReplyError::coded(format!("MISCONF Errors writing to the AOF file: {reason}")))
            }
        }
    }

    /// Why what is written now would not be on this server's disk, if so: the last snapshot or the AOF
    /// has failed. A disk that is late is not one that fails, nor is a save whose child was ended.
    #[inline]
    pub fn disk_fault(&self) -> Option<String> {
        let snapshot = &self.persistence.snapshot;
        if snapshot.disk_failed && self.snapshots_fail() {
            let reason =
                snapshot.last_fault.as_ref().map_or("no reason is known", |fault| fault.reason.as_str());
            return Some(format!("the last background save failed: {reason}"));
        }
        self.persistence.aof.failure()
    }

    /// `stop-writes-on-bgsave-error`, and the last snapshot of the save points has failed.
    #[inline]
    fn snapshots_fail(&self) -> bool {
        let config = &self.config;
        config.stop_writes_on_bgsave_error && !config.save.0.is_empty() && !self.persistence.snapshot.last_ok
    }
}
