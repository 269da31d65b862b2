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
        let config = &self.config;
        if config.stop_writes_on_bgsave_error
            && !config.save.0.is_empty()
            && !self.persistence.snapshot.last_ok
        {
            return Err(error::MISCONF_RDB);
        }
        match self.persistence.aof.refusal() {
            None => Ok(()),
            Some(reason) => {
                Err(ReplyError::coded(format!("MISCONF Errors writing to the AOF file: {reason}")))
            }
        }
    }
}
