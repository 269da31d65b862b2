//! The side that is copied from: who may continue, who begins anew, and when snapshots are made.
//!
//! ```text
//!  PSYNC ─► try_partial ── yes ─► online at its cursor
//!               └─ no ─► begin_full ─► attach to a running save, or wait for one
//!  end of turn, cron ─► start_due ─► fork ─► after_save ─► the file is sent, or was relayed ─► online
//! ```

mod cron;
mod save;
mod sync;

pub use cron::cron;
pub use save::{file_sent, relay_ended, start_due};
pub use sync::{begin_full, check_can_serve, note_ack, take_over, try_partial};

use crate::server::Server;

/// Called once a turn, before its stream is flushed.
pub fn end_turn(server: &mut Server) {
    if server.replication.stream_lost {
        server.replication.stream_lost = false;
        server.disconnect_replicas();
    }
    save::after_save(server);
    save::end_useless(server);
    if server.replication.save_wanted {
        server.replication.save_wanted = false;
        save::start_due(server);
    }
    // While clients are paused the stream stands still.
    let is_paused = server.run.pause_at(server.now_ms()).is_some();
    let asks = !is_paused && std::mem::take(&mut server.replication.acks_wanted);
    if asks && !server.replication.replicas.is_empty() {
        server.feed_replicas(&[b"REPLCONF", b"GETACK", b"*"]);
    }
}
