//! Emptying and exchanging whole databases, with what follows for watchers and waiting clients.

use crate::keyspace::Db;
use crate::server::Server;

impl Server {
    /// Empties one database; watchers of its keys and clients that wait there are told. Returns how
    /// many keys went. `lazily` leaves the freeing to the lazy-free thread.
    pub fn flush_db(&mut self, db: usize, lazily: bool) -> usize {
        self.invalidate_everything();
        self.empty_db(db, lazily)
    }

    fn empty_db(&mut self, db: usize, lazily: bool) -> usize {
        self.touch_all_watched(db, None);
        let count = self.keyspace.flush(db, lazily);
        if count > 0 {
            self.blocked.db_ready(db);
        }
        count
    }

    /// Empties all databases. Returns how many keys went.
    pub fn flush_all(&mut self, lazily: bool) -> usize {
        self.invalidate_everything();
        (0..self.keyspace.databases()).map(|db| self.empty_db(db, lazily)).sum()
    }

    /// Puts other databases in the place of all, as after a load beside them; `dbs` holds the old ones
    /// then. Who watches or waits is told.
    pub fn replace_all(&mut self, dbs: &mut Vec<Db>) {
        self.invalidate_everything();
        for db in 0..self.keyspace.databases() {
            self.touch_all_watched(db, None);
        }
        self.keyspace.exchange(dbs);
        for db in 0..self.keyspace.databases() {
            self.blocked.db_ready(db);
        }
    }

    /// The whole data set went on a client's word (FLUSHALL): a snapshot being written describes
    /// what is no more, so it is given up, and the save points promise that the file follows.
    pub fn data_set_flushed(&mut self) {
        self.cancel_background_save();
        self.cancel_socket_save();
        if !self.config.save.0.is_empty() && self.run.loading.is_none() && !self.call.replaying {
            // A failure is in the log; the changes stay counted, so cron tries again.
            let _ = self.save_now();
        }
    }

    /// Exchanges the contents of two databases; clients stay where they are. O(1) but for watched
    /// and waited-for keys.
    pub fn swap_dbs(&mut self, first: usize, second: usize) {
        if first == second {
            return;
        }
        self.touch_all_watched(first, Some(second));
        self.touch_all_watched(second, Some(first));
        self.keyspace.swap(first, second);
        self.blocked.db_ready(first);
        self.blocked.db_ready(second);
    }
}
