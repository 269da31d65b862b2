//! Floor 10: periodic work, `hz` times a second, and what signals ask for.
//!
//! Nothing here runs per iteration of the loop but [`run_due`]'s look at the clock.

use crate::keyspace::ExpireRule;
use crate::persist::fork::ChildKind;
use crate::server::{Action, Server};
use crate::sys::signals::SignalEvents;
use std::time::Duration;

/// Clients looked at per round for idle time-outs and buffers, at least.
const CLIENTS_PER_ROUND_MIN: usize = 5;
/// Share of a round that active expiry may take, percent (Redis's default effort).
const EXPIRE_SHARE_PERCENT: u64 = 25;

/// How long the loop may sleep.
pub fn time_to_next(server: &Server) -> Duration {
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

/// Runs a round when it is due.
pub fn run_due(server: &mut Server) {
    let now_us = server.clock.now_monotonic_us();
    if now_us < server.run.next_cron_us {
        return;
    }
    server.run.hz = rounds_per_second(server);
    server.run.next_cron_us = now_us + 1_000_000 / server.run.hz as u64;
    if !server.run.cron_paused {
        round(server);
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
    sample_rates(server);
    expire_keys(server);
    close_idle_clients(server);
    serve_children(server);
    server.snapshot_cron();
    server.aof_cron();
    server.stats.used_memory_peak = server.stats.used_memory_peak.max(server.used_memory());
}

fn sample_rates(server: &mut Server) {
    let now_ms = server.clock.monotonic_us() / 1000;
    let stats = &mut server.stats;
    stats.rate_commands.sample(stats.commands_processed, now_ms);
    stats.rate_input.sample(stats.net_input_bytes, now_ms);
    stats.rate_output.sample(stats.net_output_bytes, now_ms);
}

fn expire_keys(server: &mut Server) {
    if !server.run.active_expire || server.keyspace.expire_rule != ExpireRule::Remove || server.run.loading.is_some() {
        return;
    }
    if server.run.pause_at(server.now_ms()).is_some() {
        return;
    }
    let budget_us = 1_000_000 * EXPIRE_SHARE_PERCENT / 100 / server.run.hz as u64;
    let start_us = server.clock.now_monotonic_us();
    let timed_out = server.keyspace.active_expire(server.now_ms(), budget_us, &mut server.effects);
    server.drain_effects();
    server.stats.expire_cycle_us += server.clock.now_monotonic_us() - start_us;
    server.stats.expire_cycle_timeouts += timed_out as u64;
}

fn close_idle_clients(server: &mut Server) {
    let timeout_ms = server.config.timeout as u64 * 1000;
    let now_ms = server.clock.monotonic_us() / 1000;
    if timeout_ms == 0 {
        return;
    }
    let _ = CLIENTS_PER_ROUND_MIN;
    let idle: Vec<_> = server
        .clients
        .iter()
        .filter(|client| client.kind == crate::server::ClientKind::Normal)
        .filter(|client| !client.is_blocked() && client.subscriptions() == 0)
        .filter(|client| now_ms.saturating_sub(client.last_interaction_ms) > timeout_ms)
        .map(|client| client.reference)
        .collect();
    for client in idle {
        log::debug!("Closing idle client");
        server.actions.push(Action::Close(client));
    }
}

/// Reaps a child that has ended and hands its end on. Signals of children coalesce, so this is
/// called by the clock too.
fn serve_children(server: &mut Server) {
    let Some(end) = server.persistence.poll_child(&mut server.keyspace) else { return };
    match end.kind {
        ChildKind::AofRewrite => server.rewrite_child_ended(&end),
        ChildKind::Snapshot => server.snapshot_child_ended(&end),
        ChildKind::Replication => {}
    }
}

/// What the signals that arrived ask for.
pub fn take_signals(server: &mut Server, events: SignalEvents) {
    if events.child > 0 {
        serve_children(server);
    }
    if events.shutdown_requested() {
        log::warn!("Received shutdown signal, scheduling shutdown...");
        server.run.exit = Some(crate::server::run::Exit { code: 0 });
    }
}
