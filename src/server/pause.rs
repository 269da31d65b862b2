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
        if self.run.pause.is_some() && self.keyspace.expire_rule == ExpireRule::Remove {
            self.keyspace.expire_rule = ExpireRule::Hide;
        }
    }

    /// Ends the pause; clients that wait are served at the end of the turn.
    pub fn unpause_clients(&mut self) {
        if self.run.pause.take().is_some() && self.keyspace.expire_rule == ExpireRule::Hide {
            self.keyspace.expire_rule = ExpireRule::Remove;
        }
    }

    /// Ends a pause whose time is over. Returns whether clients are free to go.
    pub fn end_pause_when_due(&mut self) -> bool {
        let now_ms = self.now_ms();
        if self.run.pause.is_some_and(|pause| now_ms >= pause.end_ms) {
            self.unpause_clients();
        }
        self.run.pause_at(now_ms).is_none()
    }
}
