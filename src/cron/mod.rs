//! Floor 10: periodic work, `hz` times a second, and what signals ask for.
//!
//! Nothing here runs per iteration of the loop but [`run_due`]'s look at the clock, and what a round
//! has left to do: expiry works in slices, so that requests are served between them.
//!
//! | how often | what |
//! | --- | --- |
//! | every round | rates, active expiry, defragmentation, a share of the clients, the memory peak |
//! | ten times a second | the observer of forks, free pages of the general allocator |
//! | once a second | the log file and its time zone |

mod clients;

use crate::command::hash::expire::expire_due;
use crate::command::server_admin::{go_on_with_shutdown, prepare_shutdown};
use crate::keyspace::ExpireRule;
use crate::persist::fork::ChildKind;
use crate::replication::primary;
use crate::replication::replica;
use crate::server::Server;
use crate::server::run::{Exit, ShutdownRequest};
use crate::sys::general_alloc;
use crate::sys::signals::SignalEvents;
use crate::sys::watchdog;
use std::time::{Duration, Instant};

/// Time that table maintenance may take in a round, microseconds: requests wait behind it (Redis: 1,000).
const MAINTAIN_US: u64 = 500;
/// Hashes with due fields looked at between two looks at the clock.
const DUE_HASHES_STEP: usize = 16;
/// Fields removed from one hash at a time: one HDEL of this length in the log.
const DUE_FIELDS_STEP: usize = 64;
/// Share of a round that active expiry may take, percent (Redis's default effort).
const EXPIRE_SHARE_PERCENT: u64 = 25;
/// Longest time of it in one turn of the loop, microseconds: a request waits for no more than that.
/// Redis spends the whole share of a round at once, 25 ms with the default `hz`.
const EXPIRE_SLICE_US: u64 = 250;
/// The LRU clock of Redis has 24 bits.
const LRU_CLOCK_MASK: i64 = (1 << 24) - 1;

/// How long the loop may sleep.
pub fn time_to_next(server: &Server) -> Duration {
    let has_work = server.run.expire_left_us > 0 || server.is_defrag_due();
    let goes_on = server.eviction.unfinished || has_work && !server.run.cron_paused;
    if goes_on || server.run.turn_again {
        return Duration::ZERO;
    }
    let now_us = server.clock.now_monotonic_us();
    let mut due_us = server.run.next_cron_us;
    if let Some(deadline_ms) = server.blocked.next_deadline_ms() {
        due_us = due_us.min(deadline_ms * 1000);
    }
    if let Some(pause) = server.run.pause.filter(|_| !server.blocked.paused.is_empty()) {
        let left_ms = (pause.end_ms - server.clock.now_ms()).max(0) as u64;
        due_us = due_us.min(now_us + left_ms * 1000);
    }
    Duration::from_micros(due_us.saturating_sub(now_us))
}

/// Runs a round when it is due. Returns whether it did.
pub fn run_due(server: &mut Server) -> bool {
    watchdog::beat();
    let now_us = server.clock.now_monotonic_us();
    if now_us < server.run.next_cron_us {
        return false;
    }
    server.run.hz = rounds_per_second(server);
    server.run.next_cron_us = now_us + 1_000_000 / server.run.hz as u64;
    // Once the exit is decided nothing may begin any more, least of all a save.
    if server.run.cron_paused || server.run.exit.is_some() {
        return false;
    }
    let start = server.clock.ticks();
    round(server);
    server.stats.cron_ns += server.clock.elapsed_ns(start);
    true
}

/// After a turn's replies have left: a slice of what the last round has not finished.
pub fn use_spare_time(server: &mut Server) {
    if server.run.cron_paused || server.run.exit.is_some() {
        return;
    }
    if server.run.expire_left_us > 0 {
        expire_slice(server);
        server.run.turn_again = true;
    }
    if server.is_defrag_due() {
        server.defrag_slice();
    }
}

/// `hz`, raised with the number of clients when `dynamic-hz` is on.
fn rounds_per_second(server: &Server) -> u32 {
    const CLIENTS_PER_ROUND: usize = 200;
    const HZ_MAX: u32 = 500;
    let mut hz = server.config.hz.clamp(1, HZ_MAX);
    if server.config.dynamic_hz {
        while server.clients.connected / hz as usize > CLIENTS_PER_ROUND && hz < HZ_MAX {
            hz = (hz * 2).min(HZ_MAX);
        }
    }
    hz
}

fn round(server: &mut Server) {
    server.run.cron_rounds += 1;
    if let Some(request) = server.run.shutdown_asked.take() {
        // What goes wrong is in the log, and the server goes on.
        let _ = prepare_shutdown(server, request);
    }
    go_on_with_shutdown(server);
    if server.run.exit.is_some() {
        return;
    }
    server.run.lru_clock = ((server.now_ms() / 1000) & LRU_CLOCK_MASK) as u32;
    sample_rates(server);
    server.keyspace.measures_removals = server.config.latency_monitor_threshold > 0;
    expire_keys(server);
    server.expire_own_keys();
    maintain_tables(server);
    server.defrag_round();
    clients::look_at_some(server);
    if server.tracking.is_active() {
        server.limit_tracking_table();
    }
    server.tracking.free_some();
    serve_children(server);
    primary::cron(server);
    server.snapshot_cron();
    server.aof_cron();
    server.backup_cron();
    server.stats.used_memory_peak = server.stats.used_memory_peak.max(server.used_memory());
    if is_time_for(server, 100) {
        server.persistence.pages.fetch_ahead();
        server.observe();
        general_alloc::decay();
        replica::watch_failover(server);
    }
    if is_time_for(server, 1000) {
        server.migrate.close_idle(server.call.now_ms);
        look_at_log(server);
        replica::cron(server);
    }
}

/// Whether this round is the one in `period_ms` that does a slower task.
fn is_time_for(server: &Server, period_ms: u64) -> bool {
    let rounds = (period_ms * u64::from(server.run.hz) / 1000).max(1);
    server.run.cron_rounds.is_multiple_of(rounds)
}

/// Summer time may have begun; a rotation program may have taken the file away.
fn look_at_log(server: &Server) {
    let Some(log) = server.host.log else { return };
    log.refresh_timezone();
    if let Err(failure) = log.check_moved() {
        log::warn!("Can't open the log file again: {failure}");
    }
}

fn sample_rates(server: &mut Server) {
    let now_ms = server.clock.monotonic_ms();
    let stats = &mut server.stats;
    stats.rate_commands.sample(stats.commands_processed, now_ms);
    stats.rate_input.sample(stats.net_input_bytes, now_ms);
    stats.rate_output.sample(stats.net_output_bytes, now_ms);
    stats.rate_cycles.sample(stats.event_loop_cycles, now_ms);
    stats.rate_busy_us.sample(stats.event_loop_us, now_ms);
}

/// Begins a round's expiry with its first slice; the turns that follow go on.
fn expire_keys(server: &mut Server) {
    // What the last round had no turn for, because the loop was busy elsewhere, ran out of time too.
    server.stats.expire_cycle_timeouts += u64::from(server.run.expire_left_us > 0);
    server.run.expire_left_us = 1_000_000 * EXPIRE_SHARE_PERCENT / 100 / server.run.hz as u64;
    expire_slice(server);
}

/// Removes keys and hash fields whose time has passed until none is left or the slice is over.
fn expire_slice(server: &mut Server) {
    let left_us = std::mem::take(&mut server.run.expire_left_us);
    let held = !server.run.active_expire
        || server.keyspace.expire_rule != ExpireRule::Remove
        || server.run.loading.is_some()
        || server.run.pause_at(server.now_ms()).is_some();
    if held {
        return;
    }
    let slice_us = left_us.min(EXPIRE_SLICE_US);
    let start_us = server.clock.now_monotonic_us();
    let more_keys = server.keyspace.active_expire(server.now_ms(), slice_us, &mut server.effects);
    server.drain_effects();
    let more_fields = expire_fields(server, start_us + slice_us);
    let spent_us = server.clock.now_monotonic_us().saturating_sub(start_us);
    server.note_latency("expire-cycle", spent_us / 1000);
    server.stats.expire_cycle_us += spent_us;
    if more_keys || more_fields {
        // A slice counts whole, so that a round ends even by a clock that stands still.
        server.run.expire_left_us = left_us.saturating_sub(spent_us.max(slice_us));
        server.stats.expire_cycle_timeouts += u64::from(server.run.expire_left_us == 0);
    }
}

/// Removes hash fields whose time has passed until none is left or the time is up, but at least
/// one step of them in each slice: keys that expire all the time must not keep fields alive. True
/// when the time was up first.
fn expire_fields(server: &mut Server, end_us: u64) -> bool {
    let mut due: Vec<Vec<u8>> = Vec::new();
    for db in 0..server.keyspace.databases() {
        while server.keyspace.db(db).may_have_field_expiry() {
            let now_ms = server.now_ms();
            due.clear();
            let hashes = server.keyspace.db_mut(db);
            let found = hashes.take_due_fields(now_ms, DUE_HASHES_STEP, |key| due.push(key.to_vec()));
            for key in &due {
                expire_due(server, db, key, DUE_FIELDS_STEP);
            }
            let next_ms = server.keyspace.db(db).next_field_expiry_ms();
            if found == 0 || found < DUE_HASHES_STEP && next_ms >= now_ms {
                break;
            }
            if server.clock.now_monotonic_us() >= end_us {
                return true;
            }
        }
    }
    false
}

/// `activerehashing`: gives table maintenance at most [`MAINTAIN_US`] of a round.
fn maintain_tables(server: &mut Server) {
    if !server.config.activerehashing || server.persistence.child_kind().is_some() {
        return;
    }
    let end_us = server.clock.now_monotonic_us() + MAINTAIN_US;
    while server.keyspace.maintain() && server.clock.now_monotonic_us() < end_us {}
}

/// Reaps a child that has ended and hands its end on. Signals of children coalesce, so this is
/// called by the clock too.
fn serve_children(server: &mut Server) {
    let start = Instant::now();
    let Some(end) = server.persistence.poll_child(&mut server.keyspace) else { return };
    match end.kind {
        ChildKind::AofRewrite => server.rewrite_child_ended(&end, start),
        ChildKind::Snapshot => server.snapshot_child_ended(&end),
        ChildKind::Replication => server.socket_save_ended(&end),
    }
}

/// What the signals that arrived ask for.
pub fn take_signals(server: &mut Server, events: SignalEvents) {
    if events.child > 0 {
        serve_children(server);
    }
    if events.hangup > 0 {
        reopen_log(server);
    }
    if !events.shutdown_requested() {
        return;
    }
    let (name, options) = match events.interrupt {
        0 => ("SIGTERM", server.config.shutdown_on_sigterm),
        _ => ("SIGINT", server.config.shutdown_on_sigint),
    };
    if server.run.is_blocking_load() {
        log::warn!("Received shutdown signal during loading, scheduling shutdown.");
        server.run.exit = Some(Exit { code: 0 });
        return;
    }
    log::warn!("Received {name} scheduling shutdown...");
    server.run.shutdown_asked = Some(ShutdownRequest::from(options));
    server.run.next_cron_us = 0;
}

fn reopen_log(server: &Server) {
    let Some(log) = server.host.log else { return };
    match log.reopen() {
        Ok(()) => log::info!("Received SIGHUP, the log file was opened again"),
        Err(failure) => log::warn!("Can't open the log file again: {failure}"),
    }
}
