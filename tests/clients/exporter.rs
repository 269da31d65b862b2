//! What the Prometheus exporter (redis_exporter 1.45, tried against Tine by hand: no metric of Redis 7.2 is missing)
//! asks a server, and the fields that it and other monitors look up.

use crate::common::{Client, Reply, Server};
use std::collections::BTreeSet;

/// Fields of INFO ALL of Redis 7.2.4 with the append-only file on; statistics by command and error apart.
const INFO_FIELDS: &str = "\
    acl_access_denied_auth acl_access_denied_channel acl_access_denied_cmd acl_access_denied_key \
    active_defrag_hits active_defrag_key_hits active_defrag_key_misses active_defrag_misses \
    active_defrag_running allocator_active allocator_allocated allocator_frag_bytes allocator_frag_ratio \
    allocator_resident allocator_rss_bytes allocator_rss_ratio aof_base_size aof_buffer_length \
    aof_current_rewrite_time_sec aof_current_size aof_delayed_fsync aof_enabled aof_last_bgrewrite_status \
    aof_last_cow_size aof_last_rewrite_time_sec aof_last_write_status aof_pending_bio_fsync aof_pending_rewrite \
    aof_rewrite_in_progress aof_rewrite_scheduled aof_rewrites aof_rewrites_consecutive_failures arch_bits \
    async_loading atomicvar_api blocked_clients client_recent_max_input_buffer client_recent_max_output_buffer \
    clients_in_timeout_table cluster_connections cluster_enabled config_file configured_hz connected_clients \
    connected_slaves current_active_defrag_time current_cow_peak current_cow_size current_cow_size_age \
    current_eviction_exceeded_time current_fork_perc current_save_keys_processed current_save_keys_total \
    dump_payload_sanitizations eventloop_cycles eventloop_duration_cmd_sum eventloop_duration_sum \
    evicted_clients evicted_keys executable expire_cycle_cpu_milliseconds expired_keys expired_stale_perc \
    expired_time_cap_reached_count gcc_version hz instantaneous_eventloop_cycles_per_sec \
    instantaneous_eventloop_duration_usec instantaneous_input_kbps instantaneous_input_repl_kbps \
    instantaneous_ops_per_sec instantaneous_output_kbps instantaneous_output_repl_kbps \
    io_threaded_reads_processed io_threaded_writes_processed io_threads_active keyspace_hits keyspace_misses \
    latest_fork_usec lazyfree_pending_objects lazyfreed_objects loading lru_clock master_failover_state \
    master_repl_offset master_replid master_replid2 maxclients maxmemory maxmemory_human maxmemory_policy \
    mem_allocator mem_aof_buffer mem_clients_normal mem_clients_slaves mem_cluster_links mem_fragmentation_bytes \
    mem_fragmentation_ratio mem_not_counted_for_evict mem_replication_backlog mem_total_replication_buffers \
    migrate_cached_sockets module_fork_in_progress module_fork_last_cow_size monotonic_clock multiplexing_api \
    number_of_cached_scripts number_of_functions number_of_libraries os process_id process_supervised \
    pubsub_channels pubsub_patterns pubsubshard_channels rdb_bgsave_in_progress rdb_changes_since_last_save \
    rdb_current_bgsave_time_sec rdb_last_bgsave_status rdb_last_bgsave_time_sec rdb_last_cow_size \
    rdb_last_load_keys_expired rdb_last_load_keys_loaded rdb_last_save_time rdb_saves redis_build_id \
    redis_git_dirty redis_git_sha1 redis_mode redis_version rejected_connections repl_backlog_active \
    repl_backlog_first_byte_offset repl_backlog_histlen repl_backlog_size reply_buffer_expands \
    reply_buffer_shrinks role rss_overhead_bytes rss_overhead_ratio run_id second_repl_offset server_time_usec \
    slave_expires_tracked_keys sync_full sync_partial_err sync_partial_ok tcp_port total_active_defrag_time \
    total_blocking_keys total_blocking_keys_on_nokey total_commands_processed total_connections_received \
    total_error_replies total_eviction_exceeded_time total_forks total_net_input_bytes total_net_output_bytes \
    total_net_repl_input_bytes total_net_repl_output_bytes total_reads_processed total_system_memory \
    total_system_memory_human total_writes_processed tracking_clients tracking_total_items tracking_total_keys \
    tracking_total_prefixes unexpected_error_replies uptime_in_days uptime_in_seconds used_cpu_sys \
    used_cpu_sys_children used_cpu_sys_main_thread used_cpu_user used_cpu_user_children \
    used_cpu_user_main_thread used_memory used_memory_dataset used_memory_dataset_perc used_memory_functions \
    used_memory_human used_memory_lua used_memory_lua_human used_memory_overhead used_memory_peak \
    used_memory_peak_human used_memory_peak_perc used_memory_rss used_memory_rss_human used_memory_scripts \
    used_memory_scripts_eval used_memory_scripts_human used_memory_startup used_memory_vm_eval \
    used_memory_vm_functions used_memory_vm_total used_memory_vm_total_human \
";

fn info_fields(client: &mut Client) -> BTreeSet<String> {
    let text = client.call(&["INFO", "ALL"]).text();
    text.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
}

#[test]
fn info_has_the_fields_that_monitors_know() {
    let server = Server::tine(&["appendonly yes"]);
    let mut client = server.client();
    client.ok(&["SET", "k", "v"]);
    client.call(&["LPUSH", "k", "v"]);
    let fields = info_fields(&mut client);
    let missing: Vec<&str> = INFO_FIELDS.split_whitespace().filter(|name| !fields.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for name in ["db0", "cmdstat_set", "errorstat_WRONGTYPE", "latency_percentiles_usec_set"] {
        assert!(fields.contains(name), "{name}");
    }
    let text = client.call(&["INFO", "ALL"]).text();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).expect("it is there").to_owned();
    assert_eq!(line("db0:"), "db0:keys=1,expires=0,avg_ttl=0");
    let statistics = line("cmdstat_lpush:");
    for part in ["calls=1,usec=", ",usec_per_call=", ",rejected_calls=0,failed_calls=1"] {
        assert!(statistics.contains(part), "{statistics}");
    }
}

/// The commands in the order in which the exporter sends them.
#[test]
fn the_exporters_commands() {
    let server = Server::tine(&[
        "latency-monitor-threshold 200",
        "enable-debug-command yes",
        "slowlog-log-slower-than 200000",
    ]);
    let mut client = server.client();
    client.ok(&["CLIENT", "SETNAME", "redis_exporter"]);
    client.ok(&["DEBUG", "SLEEP", "0.25"]);
    client.ok(&["DEBUG", "POPULATE", "100", "key", "10"]);
    let config = client.call(&["CONFIG", "GET", "*"]);
    assert!(config.items().len() > 300 && config.items().len().is_multiple_of(2));
    assert!(config.items().iter().step_by(2).any(|name| name.text() == "maxmemory"));
    assert_eq!(client.call(&["SLOWLOG", "LEN"]).int(), 1);
    let slowest = client.call(&["SLOWLOG", "GET", "1"]);
    let entry = slowest.items()[0].items();
    assert!(entry.len() == 6 && entry[2].int() >= 250_000, "{entry:?}");
    let latest = client.call(&["LATENCY", "LATEST"]);
    let event = latest.items()[0].items();
    assert!(event.len() == 4 && event[0].text() == "command" && event[3].int() >= 250, "{event:?}");
    let histogram = client.call(&["LATENCY", "HISTOGRAM"]);
    assert!(histogram.items().iter().step_by(2).any(|name| name.text() == "config|get"), "{histogram:?}");
    let clients = client.call(&["CLIENT", "LIST"]).text();
    assert!(clients.contains(" name=redis_exporter ") && clients.contains(" resp=2 "), "{clients}");
    assert_eq!(client.call(&["ACL", "WHOAMI"]).text(), "default");
    let found = client.call(&["SCAN", "0", "MATCH", "key:1*", "COUNT", "1000"]);
    assert_eq!(found.items()[1].items().len(), 11);
    assert_eq!(client.call(&["STRLEN", "key:1"]).int(), 10);
    assert_eq!(client.call(&["TYPE", "key:1"]).text(), "string");
    assert!(client.call(&["MEMORY", "USAGE", "key:1"]).int() > 16);
    // Programs that are not there: the exporter goes on without them.
    for refused in [vec!["CLUSTER", "INFO"], vec!["SENTINEL", "MASTERS"], vec!["MODULE", "LIST"]] {
        assert!(matches!(client.call(&refused), Reply::Error(_) | Reply::Array(_)), "{refused:?}");
    }
}
