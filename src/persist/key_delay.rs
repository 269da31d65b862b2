//! `rdb-key-save-delay` and `key-load-delay`: the pause after each key that a child writes or that is
//! loaded, so that tests can meet it at work. Snapshots and both forms of an AOF follow them, as in Redis.

use crate::persist::child::ChildLink;
use std::thread::sleep;
use std::time::Duration;

/// What the option asks for, and how far the count is.
#[derive(Debug)]
pub struct KeyDelay {
    /// Microseconds a key; -n: one microsecond every n keys; 0: none.
    setting: i32,
    /// Keys since the last pause (a negative setting).
    keys: u32,
}

impl KeyDelay {
    pub fn new(setting: i32) -> Self {
        KeyDelay { setting, keys: 0 }
    }

    /// False: nothing to do after a key.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.setting != 0
    }

    /// One more key is written: pauses when it is time, and lets the parent know how far the file is.
    #[cold]
    pub fn after_key(&mut self, link: &mut ChildLink, bytes_written: u64) {
        link.set_bytes_written(bytes_written);
        self.pause();
        if self.setting > 0 {
            link.report_if_due();
        }
    }

    /// One more key: pauses when it is time.
    #[cold]
    pub fn pause(&mut self) {
        if self.setting > 0 {
            sleep(Duration::from_micros(self.setting as u64));
            return;
        }
        self.keys += 1;
        if self.keys >= self.setting.unsigned_abs() {
            self.keys = 0;
            sleep(Duration::from_micros(1));
        }
    }
}
