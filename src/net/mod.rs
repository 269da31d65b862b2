//! Floor 10: the event loop and its sockets.
//!
//! ```text
//!  one turn:  epoll ─► accept ─► read + run requests (each ready client once)
//!                  ─► time-outs, cron ─► propagation to the AOF ─► one write per client ─► close
//! ```
//! mio is edge-triggered: a socket is read until a read is short, listeners until `WouldBlock`;
//! a client that has more is put on the ready list for the next turn, so none starves the others.
//! Both interests are registered once per socket, so a turn makes no epoll_ctl calls.
//!
//! A forked child shares the epoll set and the sockets: it must never touch them. Closing here
//! deregisters and shuts the socket down explicitly, so that a child's copies do not keep the
//! connection alive.

mod accept;
mod connection;
mod feed;
mod link;
mod listen;
mod lookup;
mod query_buffer;
mod relay;

pub use listen::ListenError;

use crate::blocking;
use crate::cron;
use crate::dispatch;
use crate::net::connection::{Connection, Received, Scratch, Stream};
use crate::net::link::LinkSocket;
use crate::net::listen::Listener;
use crate::net::lookup::Lookup;
use crate::replication::primary;
use crate::server::{Action, ClientRef, Server};
use crate::sys::signals::Signals;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// Query buffers looked at in a cron round, at least.
const SHRINKS_PER_ROUND_MIN: usize = 5;
/// Events taken from the kernel in one turn.
const EVENTS_MAX: usize = 1024;

const TOKEN_WAKER: Token = Token(usize::MAX);
const TOKEN_SIGNALS: Token = Token(usize::MAX - 1);
/// The pipe of a snapshot for replicas.
const TOKEN_RELAY: Token = Token(usize::MAX - 3);
/// The socket to our primary.
const TOKEN_LINK: Token = Token(usize::MAX - 2);
/// Listeners have the tokens from here up; clients theirs from 0 (their slots).
const TOKEN_LISTENERS: usize = usize::MAX / 2;

/// The loop: poll, listeners, connections by client slot.
pub struct Net {
    poll: Poll,
    events: Events,
    signals: Option<Signals>,
    listeners: Vec<Listener>,
    connections: Vec<Option<Connection>>,
    /// Slots with something to read or run.
    ready: Vec<u32>,
    spare_ready: Vec<u32>,
    /// Clients whose output waits for the AOF.
    gated: Vec<ClientRef>,
    /// A replica got its share of this turn and would take more: the loop does not sleep.
    more_to_feed: bool,
    scratch: Scratch,
    /// The connection whose query buffer was looked at last.
    shrink_position: usize,
    waker: Arc<Waker>,
    /// To our primary.
    link: Option<LinkSocket>,
    /// The name of our primary's host on its way to be an address.
    lookup: Lookup,
}

impl Net {
    /// A loop without listeners. `signals` become events of the loop.
    ///
    /// # Errors
    /// When epoll or the waker cannot be made.
    pub fn new(signals: Option<Signals>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), TOKEN_WAKER)?);
        if let Some(signals) = &signals {
            poll.registry().register(
                &mut SourceFd(&signals.as_raw_fd()),
                TOKEN_SIGNALS,
                Interest::READABLE,
            )?;
        }
        Ok(Net {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            signals,
            listeners: Vec::new(),
            connections: Vec::new(),
            ready: Vec::new(),
            spare_ready: Vec::new(),
            gated: Vec::new(),
            more_to_feed: false,
            scratch: Scratch::default(),
            shrink_position: 0,
            waker,
            link: None,
            lookup: Lookup::default(),
        })
    }

    /// Wakes the loop from another thread (the AOF writer has come further).
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Runs turns until the server has decided to exit.
    pub fn run(&mut self, server: &mut Server) {
        while server.run.exit.is_none() {
            let wait = cron::time_to_next(server);
            self.turn(server, wait);
        }
    }

    /// One turn; waits at most `wait` for something to happen.
    pub fn turn(&mut self, server: &mut Server, wait: Duration) {
        let has_more = std::mem::take(&mut self.more_to_feed) || self.link_is_busy(server);
        let is_idle = self.ready.is_empty() && !has_more;
        let wait = if is_idle { wait } else { Duration::ZERO };
        if let Err(failure) = self.poll.poll(&mut self.events, Some(wait))
            && failure.kind() != io::ErrorKind::Interrupted
        {
            log::error!("epoll failed: {failure}");
        }
        server.run.turn_again = false;
        server.refresh_time();
        let start_us = server.clock.monotonic_us();
        server.stats.event_loop_cycles += 1;
        let commands_before = server.stats.commands_processed;
        server.go_on_evicting();
        self.take_events(server);
        // Before requests: who asks is not told that a link is up whose end has come.
        self.serve_link(server);
        self.serve_ready(server);
        blocking::serve_timeouts(server);
        if cron::run_due(server) {
            self.forget_interrupts(server);
            self.shrink_query_buffers(server);
        }
        self.end_turn(server);
        cron::use_spare_time(server);
        let end_us = server.clock.now_monotonic_us();
        server.stats.note_turn(end_us.saturating_sub(start_us), commands_before);
        let commands = server.stats.commands_processed.saturating_sub(commands_before);
        server.observer.delays.note_turn(start_us, end_us, commands);
    }

    fn take_events(&mut self, server: &mut Server) {
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                TOKEN_WAKER | TOKEN_RELAY => {}
                TOKEN_SIGNALS => self.take_signals(server),
                TOKEN_LINK => self.take_link_event(server, event),
                Token(token) if token >= TOKEN_LISTENERS => self.accept(server, token - TOKEN_LISTENERS),
                Token(slot) => self.take_client_event(server, slot, event),
            }
        }
        self.events = events;
    }

    fn take_signals(&mut self, server: &mut Server) {
        if let Some(signals) = &mut self.signals {
            let events = signals.take();
            cron::take_signals(server, events);
        }
    }

    /// A shutdown that was asked for and failed is over: the next SIGINT asks anew and does not insist.
    fn forget_interrupts(&self, server: &Server) {
        if let Some(signals) = self.signals.as_ref().filter(|_| server.run.shutdown_asked.is_none()) {
            signals.forget_interrupts();
        }
    }

    fn take_client_event(&mut self, server: &mut Server, slot: usize, event: &mio::event::Event) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return };
        let client = connection.client;
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.readable = true;
            connection.peer_closed |= event.is_read_closed();
            if event.is_read_closed() && server.clients.get(client).is_some_and(|state| state.is_blocked()) {
                // Nobody would read a blocked client's end of stream.
                self.close(server, client);
                return;
            }
            self.mark_ready(slot as u32);
        }
        if event.is_writable() && server.clients.get(client).is_some_and(|state| !state.output.is_empty()) {
            server.schedule_write(client);
        }
        if event.is_writable() {
            self.replica_is_writable(server, client);
        }
    }

    fn mark_ready(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot as usize).and_then(Option::as_mut)
            && !connection.in_ready_list
        {
            connection.in_ready_list = true;
            self.ready.push(slot);
        }
    }

    /// Each client that has something gets one read, and runs what is complete.
    fn serve_ready(&mut self, server: &mut Server) {
        // Two lists take turns, so that neither is grown anew each turn.
        let mut serving = std::mem::replace(&mut self.ready, std::mem::take(&mut self.spare_ready));
        for slot in serving.drain(..) {
            // The last snapshot has been written: a write that came now would be answered and lost.
            if server.run.exit.is_some() {
                break;
            }
            let Some(connection) = self.connections.get_mut(slot as usize).and_then(Option::as_mut) else {
                continue;
            };
            connection.in_ready_list = false;
            let client = connection.client;
            let blocked = server.clients.get(client).is_some_and(|state| state.is_blocked());
            if blocked || !connection.readable {
                if !blocked {
                    connection.run_buffered(server, &mut self.scratch);
                }
                continue;
            }
            match connection.receive(server, &mut self.scratch) {
                // The end of the stream came with the last bytes: no event will tell it again.
                Received::Drained if connection.peer_closed => {
                    if server.clients.get(client).is_some_and(|state| state.is_blocked()) {
                        self.close(server, client);
                    } else {
                        self.mark_ready(slot);
                    }
                }
                Received::Drained => connection.readable = false,
                Received::More => self.mark_ready(slot),
                Received::Closed => self.close(server, client),
            }
            self.feed_within_turn(server);
        }
        self.spare_ready = serving;
    }

    /// Looks at a share of the connections, so that each is seen about once a second.
    fn shrink_query_buffers(&mut self, server: &mut Server) {
        let share = (self.connections.len() / server.run.hz as usize).max(SHRINKS_PER_ROUND_MIN);
        for _ in 0..share.min(self.connections.len()) {
            self.shrink_position = (self.shrink_position + 1) % self.connections.len();
            if let Some(connection) = &mut self.connections[self.shrink_position] {
                connection.shrink(server);
            }
        }
    }

    /// What follows the commands of a turn: unblocked clients' buffered requests, the AOF, writes.
    fn end_turn(&mut self, server: &mut Server) {
        for client in std::mem::take(&mut server.resumed) {
            if let Some(Some(connection)) = self.connections.get(client.slot as usize)
                && connection.client == client
                && (connection.readable || connection.has_buffered())
            {
                self.mark_ready(client.slot);
            }
        }
        server.broadcast_invalidations();
        primary::end_turn(server);
        blocking::acks::serve(server);
        let start = server.clock.ticks();
        dispatch::flush_propagation(server);
        let aof_ns = server.clock.elapsed_ns(start);
        server.stats.aof_ns += aof_ns;
        // A full queue to the writer, or a sync that every reply waits for.
        server.note_latency("aof-write", aof_ns / 1_000_000);
        self.write_pending(server);
        self.pump_relay(server);
        self.feed_replicas(server);
        server.evict_clients();
        for action in std::mem::take(&mut server.actions) {
            self.carry_out(server, action);
        }
    }

    /// Seals this turn's output with the AOF offset it must wait for, and sends what may go.
    fn write_pending(&mut self, server: &mut Server) {
        let seal = server.persistence.pending_aof_offset();
        server.persistence.flush_aof();
        let released = server.persistence.released_aof_offset();
        let pending = std::mem::take(&mut server.pending_writes);
        for client in &pending {
            if let Some(state) = server.clients.get_mut(*client) {
                state.write_pending = false;
                state.output.seal(seal);
            }
            self.send(server, *client, released);
        }
        for client in std::mem::take(&mut self.gated) {
            self.send(server, client, released);
        }
        // Keep the allocation for the next turn.
        if server.pending_writes.is_empty() {
            let mut pending = pending;
            pending.clear();
            server.pending_writes = pending;
        }
    }

    fn send(&mut self, server: &mut Server, client: ClientRef, released: u64) {
        let Some(connection) = self.connections.get_mut(client.slot as usize).and_then(Option::as_mut) else {
            return;
        };
        if connection.client != client || server.clients.get(client).is_none_or(|state| state.close_now) {
            // Whoever closed it has left an action.
            return;
        }
        let sent = connection.send(server, released);
        let Some(state) = server.clients.get_mut(client) else { return };
        match sent {
            Err(failure) => {
                log::debug!("Error writing to client: {failure}");
                self.close(server, client);
            }
            Ok(true) if state.close_after_reply => self.close(server, client),
            Ok(true) if server.config.maxmemory.bytes != 0 => state.output.keep_little(),
            Ok(true) => {}
            Ok(false) => {
                if state.output.is_gated() {
                    self.gated.push(client);
                }
                server.enforce_output_limit(client);
            }
        }
        server.account_client(client);
    }

    fn carry_out(&mut self, server: &mut Server, action: Action) {
        match action {
            Action::Listen => {
                if let Err(failure) = self.listen(server) {
                    log::warn!("{failure}");
                }
            }
            Action::Close(client) => self.close(server, client),
            Action::AllowDelay(client) => self.allow_delay(client),
        }
    }

    fn allow_delay(&self, client: ClientRef) {
        if let Some(Some(connection)) = self.connections.get(client.slot as usize)
            && connection.client == client
            && let Stream::Tcp(stream) = &connection.stream
        {
            // Not critical: a socket that refuses is only more talkative.
            let _ = stream.set_nodelay(false);
        }
    }

    /// Closes a connection and forgets its client.
    pub fn close(&mut self, server: &mut Server, client: ClientRef) {
        server.remove_client(client);
        let Some(slot) = self.connections.get_mut(client.slot as usize) else { return };
        if slot.as_ref().is_none_or(|connection| connection.client != client) {
            return;
        }
        if let Some(mut connection) = slot.take() {
            // It may have been closed by the kernel already; then there is nothing to take out.
            let _ = self.poll.registry().deregister(connection.stream.source());
            connection.stream.shutdown();
        }
    }

    /// Sends what is left to every client without waiting: the last act before the exit.
    pub fn flush_all(&mut self, server: &mut Server) {
        server.pending_writes = server.clients.references();
        server.flush_stream();
        self.write_pending(server);
        self.feed_replicas(server);
    }
}
