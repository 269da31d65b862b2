//! CLIENT PAUSE: while it lasts, requests (writes only, or all) wait and keys do not expire.
//!
//! Keys whose time passes meanwhile are hidden, not removed: a pause promises that the data set
//! stays as it is.

use crate::keyspace::ExpireRule;
use crate::server::Server;
use crate::server::run::{Pause, PauseKind};

impl Server {
    /// Begins a pause until `end_ms` (Unix), or makes the one in force stricter or longer.
    pub fn pause_clients(&mut self, kind: PauseKind, end_ms: i64) {
        let now_ms = self.now_ms();
        let before = self.run.pause.filter(|pause| now_ms < pause.end_ms);
        let all = kind == PauseKind::All || before.is_some_and(|pause| pause.kind == PauseKind::All);
        let end_ms = before.map_or(end_ms, |pause| pause.end_ms.max(end_ms));
        self.run.pause = Some(Pause { kind: if all { PauseKind::All } else { PauseKind::Writes }, end_ms });
        self.end_pause_when_due();
        self.apply_expire_rule();
    }

    /// Ends the pause; clients that wait are served at the end of the turn.
    pub fn unpause_clients(&mut self) {
        self.run.pause = None;
        self.apply_expire_rule();
    }

    /// Ends a pause whose time is over. Returns whether clients are free to go.
    pub fn end_pause_when_due(&mut self) -> bool {
        let now_ms = self.now_ms();
        if self.run.pause.is_some_and(|pause| now_ms >= pause.end_ms) {
            self.unpause_clients();
        }
        self.run.pause_at(now_ms).is_none()
    }

    /// FAILOVER: writes wait until it has ended.
    pub fn hold_writes_for_failover(&mut self) {
        self.run.failover_holds_writes = true;
        self.apply_expire_rule();
    }

    /// FAILOVER has ended.
    pub fn release_writes_of_failover(&mut self) {
        self.run.failover_holds_writes = false;
        self.apply_expire_rule();
    }

    /// What look-ups do with keys whose time has passed: a primary that is not paused removes them.
    pub fn apply_expire_rule(&mut self) {
        let now_ms = self.now_ms();
        let removes = self.replication.is_primary() && self.run.pause_at(now_ms).is_none();
        self.keyspace.expire_rule = if removes { ExpireRule::Remove } else { ExpireRule::Hide };
    }
}
