//! INFO clients and stats: who is connected, and what was done since the start.

use super::InfoText;
use crate::server::Server;
use crate::server::client::Client;

pub(super) fn clients(server: &Server, info: &mut InfoText) {
    let largest = |size: fn(&Client) -> usize| server.clients.iter().map(size).max().unwrap_or(0);
    info.field("connected_clients", server.clients.connected);
    info.field("cluster_connections", 0);
    info.field("maxclients", server.config.maxclients);
    info.field(
        "client_recent_max_input_buffer",
        largest(|client| client.query_bytes + client.query_free_bytes),
    );
    info.field("client_recent_max_output_buffer", largest(|client| client.output.pending_bytes()));
    info.field("blocked_clients", server.blocked.count);
    info.field("tracking_clients", server.tracking.clients);
    info.field("clients_in_timeout_table", server.blocked.deadlines());
    info.field("total_blocking_keys", server.blocked.keys());
    info.field("total_blocking_keys_on_nokey", server.keys_waited_to_go());
}

pub(super) fn stats(server: &Server, info: &mut InfoText) {
    let stats = &server.stats;
    traffic(server, info);
    info.field("expired_keys", server.keyspace.expired_keys);
    info.ratio("expired_stale_perc", 0.0);
    info.field("expired_time_cap_reached_count", stats.expire_cycle_timeouts);
    info.field("expire_cycle_cpu_milliseconds", stats.expire_cycle_us / 1000);
    info.field("evicted_keys", stats.evicted_keys);
    info.field("evicted_clients", stats.evicted_clients);
    let exceeded_us = server.limit_exceeded_us();
    info.field("total_eviction_exceeded_time", (stats.eviction_exceeded_us + exceeded_us) / 1000);
    info.field("current_eviction_exceeded_time", exceeded_us / 1000);
    info.field("keyspace_hits", stats.keyspace_hits);
    info.field("keyspace_misses", stats.keyspace_misses);
    info.field("pubsub_channels", server.pubsub.channels.len());
    info.field("pubsub_patterns", server.pubsub.patterns.len());
    info.field("pubsubshard_channels", server.pubsub.shard_channels.len());
    forks(server, info);
    info.field("migrate_cached_sockets", server.migrate.len());
    info.field("slave_expires_tracked_keys", server.link.own_keys.len());
    info.field("active_defrag_hits", stats.defrag_hits);
    info.field("active_defrag_misses", stats.defrag_misses);
    info.field("active_defrag_key_hits", stats.defrag_key_hits);
    info.field("active_defrag_key_misses", stats.defrag_key_misses);
    let running_us = server.defrag_running_us();
    info.field("total_active_defrag_time", (stats.defrag_us + running_us) / 1000);
    info.field("current_active_defrag_time", running_us / 1000);
    info.field("tracking_total_keys", server.tracking.keys());
    info.field("tracking_total_items", server.tracking.items());
    info.field("tracking_total_prefixes", server.tracking.prefixes());
    info.field("unexpected_error_replies", stats.unexpected_error_replies);
    info.field("total_error_replies", stats.error_replies);
    info.field("dump_payload_sanitizations", stats.dump_payload_sanitizations);
    info.field("total_reads_processed", stats.reads_processed);
    info.field("total_writes_processed", stats.writes_processed);
    info.zeros(&[
        "io_threaded_reads_processed",
        "io_threaded_writes_processed",
        "reply_buffer_shrinks",
        "reply_buffer_expands",
    ]);
    info.field("client_query_buffer_limit_disconnections", stats.query_buffer_limit_disconnections);
    info.field("client_output_buffer_limit_disconnections", stats.output_buffer_limit_disconnections);
    event_loop(server, info);
    let denied = server.acl.log.counts;
    info.field("acl_access_denied_auth", denied.auth);
    info.field("acl_access_denied_cmd", denied.command);
    info.field("acl_access_denied_key", denied.key);
    info.field("acl_access_denied_channel", denied.channel);
}

fn traffic(server: &Server, info: &mut InfoText) {
    const KILO: f64 = 1024.0;
    let stats = &server.stats;
    info.field("total_connections_received", stats.connections_received);
    info.field("total_commands_processed", stats.commands_processed);
    info.field("instantaneous_ops_per_sec", stats.rate_commands.per_second());
    info.field("total_net_input_bytes", stats.net_input_bytes);
    info.field("total_net_output_bytes", stats.net_output_bytes);
    let counts = &server.replication.counts;
    info.field("total_net_repl_input_bytes", counts.input_bytes);
    info.field("total_net_repl_output_bytes", counts.output_bytes);
    info.ratio("instantaneous_input_kbps", stats.rate_input.per_second() as f64 / KILO);
    info.ratio("instantaneous_output_kbps", stats.rate_output.per_second() as f64 / KILO);
    info.ratio("instantaneous_input_repl_kbps", 0.0);
    info.ratio("instantaneous_output_repl_kbps", 0.0);
    info.field("rejected_connections", stats.connections_rejected);
    info.field("sync_full", counts.full);
    info.field("sync_partial_ok", counts.partial_ok);
    info.field("sync_partial_err", counts.partial_refused);
}

fn forks(server: &Server, info: &mut InfoText) {
    info.field("latest_fork_usec", server.persistence.forks.latest_us);
    info.field("total_forks", server.persistence.forks.total);
}

fn event_loop(server: &Server, info: &mut InfoText) {
    let stats = &server.stats;
    info.field("eventloop_cycles", stats.event_loop_cycles);
    info.field("eventloop_duration_sum", stats.event_loop_us);
    info.field("eventloop_duration_cmd_sum", stats.event_loop_commands_ns / 1000);
    info.field("instantaneous_eventloop_cycles_per_sec", stats.rate_cycles.per_second());
    let (cycles, busy_us) = (stats.rate_cycles.per_second(), stats.rate_busy_us.per_second());
    info.field("instantaneous_eventloop_duration_usec", busy_us.checked_div(cycles).unwrap_or(0));
}

/// Shown only when asked for by name.
pub(super) fn debug(server: &Server, info: &mut InfoText) {
    let stats = &server.stats;
    info.field("eventloop_duration_aof_sum", stats.aof_ns / 1000);
    info.field("eventloop_duration_cron_sum", stats.cron_ns / 1000);
    info.field("eventloop_duration_max", stats.turn_max_us);
    info.field("eventloop_cmd_per_cycle_max", stats.turn_commands_max);
}
