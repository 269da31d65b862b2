//! What a command handler gets: the server, its client, its reply, and how it was called.
//!
//! The reply sink and the database are fields of their own, so that a handler can hold a view of
//! a value (a borrow of `ctx.server`) while it writes to `ctx.out`.

use crate::resp::{Args, Reply};
use crate::server::Server;
use crate::server::client::{Client, ClientRef};
use crate::server::spec::Found;

/// Who runs a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client's own request.
    Client,
    /// EXEC runs a queued command.
    Exec,
    /// A script's `redis.call`.
    Script,
    /// The AOF is being loaded.
    Replay,
    /// The primary's stream is being applied.
    Primary,
    /// A blocked client's command is run again because its key became ready.
    Unblocked,
}

impl Caller {
    /// Whether a command may block: not in a transaction, a script or a replay.
    pub fn may_block(self) -> bool {
        matches!(self, Caller::Client | Caller::Unblocked)
    }

    /// Whether the command comes from a log that is already true: no checks of limits or rights.
    pub fn is_replicated(self) -> bool {
        matches!(self, Caller::Replay | Caller::Primary)
    }
}

/// The context of one call.
pub struct Ctx<'a> {
    pub server: &'a mut Server,
    pub client: ClientRef,
    /// The client's selected database; see [`Ctx::select`].
    pub db: usize,
    pub out: &'a mut Reply,
    pub caller: Caller,
    pub command: Found,
}

impl Ctx<'_> {
    /// The calling client.
    pub fn client(&self) -> &Client {
        self.server.clients.get(self.client).expect("the caller of a running command is in the table")
    }

    pub fn client_mut(&mut self) -> &mut Client {
        self.server.clients.get_mut(self.client).expect("the caller of a running command is in the table")
    }

    /// Selects another database for this client.
    pub fn select(&mut self, db: usize) {
        self.db = db;
        self.client_mut().db = db;
    }

    /// The command's name as error texts show it (`set`, `config|get`).
    pub fn command_name(&self) -> String {
        self.command.full_name()
    }

    /// Now, Unix ms: one reading for the whole command.
    #[inline]
    pub fn now_ms(&self) -> i64 {
        self.server.now_ms()
    }

    /// This command is to be logged and replicated in another form. May be called several times:
    /// each adds a command.
    pub fn propagate_instead(&mut self, args: &[&[u8]]) {
        let db = self.db;
        self.server.propagate_instead(db, args);
    }

    /// As [`Ctx::propagate_instead`], with arguments as they stand in a request.
    pub fn propagate_args_instead(&mut self, args: Args<'_>) {
        let slices: Vec<&[u8]> = args.iter().collect();
        self.propagate_instead(&slices);
    }

    /// This command is not to be logged or replicated although it counts as a change.
    pub fn propagate_nothing(&mut self) {
        self.server.call.propagated = true;
    }
}
