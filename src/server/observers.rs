//! Who wants to know of each command that ran: monitors, clients that cache, the sketch of hot keys.
//! Together they cost a command one branch when there is nobody.

use crate::resp::Args;
use crate::server::spec::Found;
use crate::server::{Caller, ClientRef, Server};

impl Server {
    #[inline]
    pub fn is_observed(&self) -> bool {
        !self.monitors.is_empty() | self.tracking.is_active() | self.hot_keys.is_on()
    }

    /// A command has run in `db`. O(arguments).
    #[cold]
    pub fn tell_of_call(
        &mut self,
        client: ClientRef,
        caller: Caller,
        db: usize,
        found: Found,
        args: Args<'_>,
    ) {
        if !self.monitors.is_empty() {
            self.feed_monitors(client, caller, db, found, args);
        }
        if self.tracking.is_active() {
            self.remember_read_keys(found, args);
        }
        if self.hot_keys.is_on() && caller != Caller::Unblocked {
            self.note_hot_keys(db, found, args);
        }
    }
}
