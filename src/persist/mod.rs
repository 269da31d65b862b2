//! Floor 5: what makes data outlive the process. RDB, AOF, the fork that writes them.
//!
//! Knows the keyspace and files; knows no commands and no clients. `Persistence` is the state the
//! server keeps; what to do when is decided by `cron` and by commands through its methods.

pub mod aof;
pub mod backup;
pub mod child;
pub mod data_pages;
pub mod fork;
pub mod key_delay;
pub mod rdb;
pub mod schedule;

use crate::keyspace::Keyspace;
use crate::persist::aof::Aof;
use crate::persist::backup::BackupState;
use crate::persist::child::{ChildLink, ChildSetup};
use crate::persist::data_pages::DataPages;
use crate::persist::fork::{ChildEnd, ChildKind, ChildProcess, ForkError, ForkLog};
use crate::persist::schedule::SnapshotState;
use crate::sys::io::{FaultPlan, FaultyStorage, OsStorage, Storage};
use std::sync::Arc;

/// State of persistence.
#[derive(Debug)]
pub struct Persistence {
    /// Changes since the last successful save (`rdb_changes_since_last_save`). Reads never count.
    pub dirty: u64,
    /// Where files live.
    pub storage: Arc<dyn Storage>,
    /// Faults that DEBUG DISK-FAULT asks for; passed by at the cost of one load while there are none.
    pub faults: FaultPlan,
    /// The one child, while it lives.
    pub child: Option<ChildProcess>,
    /// What children are given; filled by boot.
    pub child_setup: ChildSetup,
    /// Forks so far.
    pub forks: ForkLog,
    /// The pages that a fork shares.
    pub pages: DataPages,
    /// Snapshots: when, how, how it went.
    pub snapshot: SnapshotState,
    /// The append-only file.
    pub aof: Aof,
    /// Backups: the one that runs, the last ones.
    pub backup: BackupState,
}

impl Default for Persistence {
    fn default() -> Self {
        let faults = FaultPlan::dormant();
        let storage: Arc<dyn Storage> = Arc::new(FaultyStorage::new(OsStorage, faults.clone()));
        Persistence {
            dirty: 0,
            storage: Arc::clone(&storage),
            faults,
            child: None,
            child_setup: ChildSetup::default(),
            forks: ForkLog::default(),
            pages: DataPages::default(),
            snapshot: SnapshotState::default(),
            aof: Aof::new(storage),
            backup: BackupState::default(),
        }
    }
}

impl Persistence {
    /// Forks a child for `job`, which runs in it. One child at a time.
    ///
    /// # Errors
    /// Another child lives, or the system refuses the fork.
    pub fn fork(
        &mut self,
        kind: ChildKind,
        keyspace: &mut Keyspace,
        job: impl FnOnce(&Keyspace, &mut ChildLink) -> Result<(), String>,
    ) -> Result<&ChildProcess, ForkError> {
        if let Some(active) = self.child_kind() {
            return Err(ForkError::ChildActive(active));
        }
        self.pages.hold();
        let child = fork::fork_job(kind, keyspace, &mut self.child_setup, job)
            .inspect_err(|_| self.pages.release())?;
        self.forks.started(&child);
        Ok(self.child.insert(child))
    }

    /// What the living child does.
    pub fn child_kind(&self) -> Option<ChildKind> {
        self.child.as_ref().map(|child| child.kind)
    }

    /// Reads the child's reports and reaps it when it has ended. Whoever calls this hands the end
    /// on by its kind.
    pub fn poll_child(&mut self, keyspace: &mut Keyspace) -> Option<ChildEnd> {
        let end = self.child.as_mut()?.poll(keyspace)?;
        self.forget_child(&end);
        Some(end)
    }

    /// Cancels the child and waits until it has ended. `None`: there is none, or it hangs in the
    /// kernel and is reaped later.
    pub fn cancel_child(&mut self, keyspace: &mut Keyspace) -> Option<ChildEnd> {
        let end = self.child.as_mut()?.cancel_and_wait(keyspace)?;
        self.forget_child(&end);
        Some(end)
    }

    /// Cancels the child and gives it a moment to end. `None`: it has not, and is reaped later by
    /// [`Persistence::poll_child`], as cancelled whatever it does until then.
    pub fn ask_child_to_end(&mut self, keyspace: &mut Keyspace) -> Option<ChildEnd> {
        let end = self.child.as_mut()?.cancel_briefly(keyspace)?;
        self.forget_child(&end);
        Some(end)
    }

    fn forget_child(&mut self, end: &ChildEnd) {
        self.forks.ended(end, self.pages.figures().rebuilds);
        self.child = None;
        self.pages.release();
    }

    /// The AOF offset that replies made now must wait for; `None` while no write is pending.
    #[inline]
    pub fn pending_aof_offset(&self) -> Option<u64> {
        self.aof.pending_offset()
    }

    /// Hands what was appended in this turn on to the file.
    #[inline]
    pub fn flush_aof(&mut self) {
        self.aof.flush();
    }

    /// Replies that wait for an offset up to this one may leave.
    #[inline]
    pub fn released_aof_offset(&self) -> u64 {
        self.aof.released()
    }
}
