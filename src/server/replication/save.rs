//! Snapshots for replicas: what they say of the history, and the child that writes one to sockets.

use crate::persist::fork::{ChildEnd, ChildKind, ChildResult};
use crate::persist::rdb::SaveOptions;
use crate::persist::rdb::pipe::{self, PIPE_BYTES};
use crate::persist::rdb::save::Walk;
use crate::server::replication::relay::Relay;
use crate::server::replication::replicas::SnapshotFilter;
use crate::server::replication::{ID_DIGITS, SaveTarget, SyncSave};
use crate::server::{ClientRef, Server};
use std::path::PathBuf;

/// Names of the fields by which a snapshot says where in a history it is.
pub const HISTORY_FIELDS: [&str; 3] = ["repl-stream-db", "repl-id", "repl-offset"];

/// How a child that wrote for replicas ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveEnd {
    pub target: SaveTarget,
    /// The file, when it is in place.
    pub result: Result<Option<PathBuf>, ()>,
}

impl Server {
    /// Fields of a snapshot by which whoever loads it can continue this history: the database selected
    /// in the stream, its id, its offset. None without a stream.
    pub fn history_fields(&self) -> Vec<(&'static str, String)> {
        let state = &self.replication;
        let selected = match (state.is_primary(), &state.backlog) {
            // When none is selected the next command selects one, so any number is true.
            (true, Some(_)) => Some(self.propagation.selected_db().unwrap_or(0)),
            (true, None) => None,
            (false, _) => state.stream_db,
        };
        selected.map_or(Vec::new(), |db| {
            let values = [db.to_string(), state.id.clone(), state.offset.to_string()];
            HISTORY_FIELDS.into_iter().zip(values).collect()
        })
    }

    /// Before a snapshot is taken: the stream has everything that the snapshot will have, and what
    /// follows it begins by selecting a database. False within a transaction (FLUSHALL): what it has
    /// done so far is in the data and stays out of the stream, so no offset is true of the snapshot.
    pub fn prepare_history_for_save(&mut self) -> bool {
        let open = self.propagation.take_open_unit();
        self.flush_stream();
        self.propagation.put_open_unit(&open);
        if open.is_empty() && self.replication.takes_commands() {
            self.propagation.forget_selected_db();
        }
        open.is_empty()
    }

    /// A child that writes a snapshot has been forked: replicas may begin with it.
    pub fn note_save_for_replicas(&mut self, target: SaveTarget) {
        let offset = self.replication.offset;
        self.replication.save =
            self.replication.backlog.as_ref().map(|_| SyncSave { target, offset, for_replicas: false });
    }

    /// That child has ended.
    pub fn note_save_ended(&mut self, result: Result<Option<PathBuf>, ()>) {
        if let Some(save) = self.replication.save.take() {
            self.replication.save_ended = Some(SaveEnd { target: save.target, result });
        }
    }

    /// The child of a snapshot for sockets has been reaped.
    pub fn socket_save_ended(&mut self, end: &ChildEnd) {
        self.observe_end();
        self.persistence.snapshot.last_cow_bytes = end.progress.cow_peak_bytes;
        match &end.result {
            ChildResult::Done => log::info!("Background RDB transfer terminated with success"),
            ChildResult::Cancelled => log::warn!("Background transfer terminated by signal 10"),
            ChildResult::Failed(reason) => log::warn!("Background transfer error: {reason}"),
        }
        let result = if end.result == ChildResult::Done { Ok(None) } else { Err(()) };
        self.note_save_ended(result);
    }

    /// Ends a child that writes for sockets; its replicas begin anew.
    pub fn cancel_socket_save(&mut self) {
        let child = self.persistence.child.as_mut();
        if let Some(child) = child.filter(|child| child.kind == ChildKind::Replication) {
            child.cancel();
        }
    }

    /// Forks a child that writes a snapshot for `members` into a pipe.
    ///
    /// # Errors
    /// Another child lives, or the system refuses; the reason is in the log.
    pub fn start_socket_save(
        &mut self,
        filter: SnapshotFilter,
        members: Vec<ClientRef>,
    ) -> Result<(), String> {
        self.prepare_history_for_save();
        let (reader, writer) = pipe::open(PIPE_BYTES).map_err(|failure| failure.to_string())?;
        let mark = self.rng.hex_id(ID_DIGITS);
        let mut options = SaveOptions { walk: Walk::Memory, ..self.save_options() };
        options.no_data = filter.no_data;
        if filter.no_functions {
            options.functions.clear();
        }
        let readers_number = pipe::number(&reader);
        self.before_fork();
        let forked = self.persistence.fork(ChildKind::Replication, &mut self.keyspace, |keyspace, link| {
            pipe::save(keyspace, &options, &writer, readers_number, &mark, link)
        });
        let pid = forked.map_err(|failure| failure.to_string())?.pid;
        drop(writer);
        log::info!("Background RDB transfer started by pid {pid}");
        self.note_save_for_replicas(SaveTarget::Sockets);
        self.replication.relay = Some(Relay::new(reader, members));
        self.note_fork();
        Ok(())
    }
}
