//! The table of all directives, and [`Config`], the struct of their values: one line each.
//!
//! To add a directive: one line here, its paragraph in `redis.conf` (a test compares both), and the
//! code that reads the field. A line is
//!
//! ```text
//!   /// unit or meaning, where the name does not say it
//!   "name" ("alias"): field: type = built-in value; kind(bounds); MARK | MARK,
//! ```
//! Names, aliases, bounds and built-in values are those of Redis 7.2, except the section of the
//! fork and the directives of our own that the shipped file marks as such.

use super::checks;
use super::directive::{ConfigRow, Directive, Kind, Marks};
use super::enums::{
    AclPubsubDefault, AppendFsync, ClusterEndpointType, ForkHugePages, LogLevel, MaxmemoryPolicy, Named,
    OomScoreAdj, PropagationErrorBehavior, ProtectedAction, ReplDisklessLoad, SanitizeDumpPayload,
    Supervised, SyslogFacility, TlsAuthClients,
};
use super::values::{
    BindAddresses, ClientOutputBufferLimits, ConfigText, LatencyPercentiles, MemoryLimit, NotifyFlags,
    OomScoreAdjValues, ReplicaOf, SavePoints, ShutdownOnSignal,
};

const ACTIVE: u16 = Marks::ACTIVE;
const START_ONLY: u16 = Marks::START_ONLY;
const HIDDEN: u16 = Marks::HIDDEN;
const PROTECTED: u16 = Marks::PROTECTED;
const SENSITIVE: u16 = Marks::SENSITIVE;
const DENY_LOADING: u16 = Marks::DENY_LOADING;
const DEBUG: u16 = Marks::DEBUG;
const VOLATILE: u16 = Marks::VOLATILE;
const WORDS: u16 = Marks::WORDS;

const INT_MAX: i128 = i32::MAX as i128;
const INT_MIN: i128 = i32::MIN as i128;
const UINT_MAX: i128 = u32::MAX as i128;
const LONG_MAX: i128 = i64::MAX as i128;
const ULONG_MAX: i128 = u64::MAX as i128;

const YES_NO: Kind = Kind::YesNo { never: None };
const TEXT: Kind = text(checks::any);
const OPTIONAL_TEXT: Kind = optional_text(checks::any);
const SECRET: Kind = Kind::Text { check: checks::any, empty_is_unset: true, binary: true };
const SPECIAL: Kind = Kind::Special;

const fn integer(min: i128, max: i128) -> Kind {
    Kind::Integer { min, max }
}

const fn memory(min: i128, max: i128) -> Kind {
    Kind::Memory { min, max }
}

const fn memory_or_percent(max: i128) -> Kind {
    Kind::MemoryOrPercent { max }
}

const fn octal(min: i128, max: i128) -> Kind {
    Kind::Octal { min, max }
}

const fn names<E: Named>() -> Kind {
    Kind::Enumeration(E::NAMES)
}

const fn text(check: fn(&[u8]) -> Result<(), &'static str>) -> Kind {
    Kind::Text { check, empty_is_unset: false, binary: false }
}

const fn optional_text(check: fn(&[u8]) -> Result<(), &'static str>) -> Kind {
    Kind::Text { check, empty_is_unset: true, binary: false }
}

macro_rules! config_rows {
    ($(
        $(#[$about:meta])*
        $name:literal $(($alias:literal))? : $field:ident : $type:ty = $default:expr ; $kind:expr ; $marks:expr
    ),* $(,)?) => {
        /// The value of every directive. Fields are the directive's names with `_`; hot ones are
        /// read directly (`config.maxmemory.bytes`, `config.hz`).
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $( #[doc = concat!("`", $name, "`.")] $(#[$about])* pub $field: $type, )*
        }

        impl Default for Config {
            /// The built-in values: a server started without a file.
            fn default() -> Self {
                Config { $( $field: $default, )* }
            }
        }

        /// All directives, in the order of the shipped file.
        pub const ROWS: &[ConfigRow] = &[ $( ConfigRow {
            name: $name,
            alias: config_rows!(@alias $($alias)?),
            kind: $kind,
            marks: Marks($marks),
            show: |config, row| Directive::show(&config.$field, row),
            assign: |config, words, row, origin| config.$field.assign(words, row, origin),
            rewrite: |config, default, row| config.$field.rewrite(&default.$field, row),
        } ),* ];
    };
    (@alias) => { None };
    (@alias $alias:literal) => { Some($alias) };
}

config_rows! {
    // Network
    "bind": bind: BindAddresses = BindAddresses::default(); SPECIAL; ACTIVE | WORDS,
    "bind-source-addr": bind_source_addr: ConfigText = "".into(); OPTIONAL_TEXT; ACTIVE,
    "protected-mode": protected_mode: bool = true; YES_NO; ACTIVE,
    "port": port: u16 = 6379; integer(0, 65535); ACTIVE,
    "tcp-backlog": tcp_backlog: u32 = 511; integer(0, INT_MAX); ACTIVE | START_ONLY,
    "unixsocket": unixsocket: ConfigText = "".into(); OPTIONAL_TEXT; ACTIVE | START_ONLY,
    /// File mode; 0 = as the umask says.
    "unixsocketperm": unixsocketperm: u32 = 0; octal(0, 0o777); ACTIVE | START_ONLY,
    "socket-mark-id": socket_mark_id: u32 = 0; integer(0, UINT_MAX); START_ONLY,
    /// Seconds; 0 = never.
    "timeout": timeout: u32 = 0; integer(0, INT_MAX); ACTIVE,
    /// Seconds; 0 = off.
    "tcp-keepalive": tcp_keepalive: u32 = 300; integer(0, INT_MAX); ACTIVE,
    "maxclients": maxclients: u32 = 10000; integer(1, UINT_MAX); ACTIVE,
    /// Of those, only for clients of this machine.
    "maxclients-reserved": maxclients_reserved: u32 = 0; integer(0, UINT_MAX); ACTIVE,

    // TLS
    "tls-port": tls_port: u16 = 0; integer(0, 65535); 0,
    "tls-cert-file": tls_cert_file: ConfigText = "".into(); OPTIONAL_TEXT; VOLATILE,
    "tls-key-file": tls_key_file: ConfigText = "".into(); OPTIONAL_TEXT; VOLATILE,
    "tls-key-file-pass": tls_key_file_pass: ConfigText = "".into(); OPTIONAL_TEXT; SENSITIVE,
    "tls-client-cert-file": tls_client_cert_file: ConfigText = "".into(); OPTIONAL_TEXT; VOLATILE,
    "tls-client-key-file": tls_client_key_file: ConfigText = "".into(); OPTIONAL_TEXT; VOLATILE,
    "tls-client-key-file-pass": tls_client_key_file_pass: ConfigText = "".into(); OPTIONAL_TEXT; SENSITIVE,
    "tls-dh-params-file": tls_dh_params_file: ConfigText = "".into(); OPTIONAL_TEXT; VOLATILE,
    "tls-ca-cert-file": tls_ca_cert_file: ConfigText = "".into(); OPTIONAL_TEXT; VOLATILE,
    "tls-ca-cert-dir": tls_ca_cert_dir: ConfigText = "".into(); OPTIONAL_TEXT; VOLATILE,
    "tls-auth-clients": tls_auth_clients: TlsAuthClients = TlsAuthClients::Yes; names::<TlsAuthClients>(); 0,
    "tls-replication": tls_replication: bool = false; YES_NO; 0,
    "tls-cluster": tls_cluster: bool = false; YES_NO; 0,
    "tls-protocols": tls_protocols: ConfigText = "".into(); OPTIONAL_TEXT; 0,
    "tls-ciphers": tls_ciphers: ConfigText = "".into(); OPTIONAL_TEXT; 0,
    "tls-ciphersuites": tls_ciphersuites: ConfigText = "".into(); OPTIONAL_TEXT; 0,
    "tls-prefer-server-ciphers": tls_prefer_server_ciphers: bool = false; YES_NO; 0,
    "tls-session-caching": tls_session_caching: bool = true; YES_NO; 0,
    "tls-session-cache-size": tls_session_cache_size: u32 = 20 << 10; integer(0, INT_MAX); 0,
    /// Seconds.
    "tls-session-cache-timeout": tls_session_cache_timeout: u32 = 300; integer(0, INT_MAX); 0,

    // Process and log
    "daemonize": daemonize: bool = false; YES_NO; ACTIVE | START_ONLY,
    "supervised": supervised: Supervised = Supervised::No; names::<Supervised>(); ACTIVE | START_ONLY,
    "pidfile": pidfile: ConfigText = "".into(); OPTIONAL_TEXT; ACTIVE | START_ONLY,
    "loglevel": loglevel: LogLevel = LogLevel::Notice; names::<LogLevel>(); ACTIVE,
    "logfile": logfile: ConfigText = "".into(); TEXT; ACTIVE | START_ONLY,
    "syslog-enabled": syslog_enabled: bool = false; YES_NO; ACTIVE | START_ONLY,
    "syslog-ident": syslog_ident: ConfigText = "redis".into(); TEXT; ACTIVE | START_ONLY,
    "syslog-facility": syslog_facility: SyslogFacility = SyslogFacility::Local0; names::<SyslogFacility>(); ACTIVE | START_ONLY,
    "crash-log-enabled": crash_log_enabled: bool = true; YES_NO; 0,
    "crash-memcheck-enabled": crash_memcheck_enabled: bool = true; YES_NO; 0,
    "use-exit-on-panic": use_exit_on_panic: bool = false; YES_NO; HIDDEN,
    "always-show-logo": always_show_logo: bool = false; YES_NO; ACTIVE | START_ONLY,
    "set-proc-title": set_proc_title: bool = true; YES_NO; ACTIVE | START_ONLY,
    "proc-title-template": proc_title_template: ConfigText = "{title} {listen-addr} {server-mode}".into(); text(checks::title_template); ACTIVE,
    "locale-collate": locale_collate: ConfigText = "".into(); TEXT; 0,
    "ignore-warnings": ignore_warnings: ConfigText = "".into(); TEXT; ACTIVE,
    "databases": databases: u32 = 16; integer(1, INT_MAX); ACTIVE | START_ONLY,
    /// Seconds.
    "shutdown-timeout": shutdown_timeout: u32 = 10; integer(0, INT_MAX); ACTIVE,
    "shutdown-on-sigint": shutdown_on_sigint: ShutdownOnSignal = ShutdownOnSignal::default(); Kind::Enumeration(ShutdownOnSignal::NAMES); ACTIVE | WORDS,
    "shutdown-on-sigterm": shutdown_on_sigterm: ShutdownOnSignal = ShutdownOnSignal::default(); Kind::Enumeration(ShutdownOnSignal::NAMES); ACTIVE | WORDS,
    "oom-score-adj": oom_score_adj: OomScoreAdj = OomScoreAdj::No; names::<OomScoreAdj>(); ACTIVE,
    "oom-score-adj-values": oom_score_adj_values: OomScoreAdjValues = OomScoreAdjValues::default(); SPECIAL; ACTIVE | WORDS,
    "disable-thp": disable_thp: bool = true; YES_NO; START_ONLY,
    "server_cpulist": server_cpulist: ConfigText = "".into(); OPTIONAL_TEXT; START_ONLY,
    "bio_cpulist": bio_cpulist: ConfigText = "".into(); OPTIONAL_TEXT; START_ONLY,
    "aof_rewrite_cpulist": aof_rewrite_cpulist: ConfigText = "".into(); OPTIONAL_TEXT; START_ONLY,
    "bgsave_cpulist": bgsave_cpulist: ConfigText = "".into(); OPTIONAL_TEXT; START_ONLY,
    /// Milliseconds; 0 = off.
    "watchdog-period": watchdog_period: u32 = 0; integer(0, INT_MAX); ACTIVE | HIDDEN,

    // Snapshots (RDB)
    "save": save: SavePoints = SavePoints::default(); SPECIAL; ACTIVE | WORDS,
    "dir": dir: ConfigText = "./".into(); TEXT; ACTIVE | PROTECTED | DENY_LOADING,
    "dbfilename": dbfilename: ConfigText = "dump.rdb".into(); text(checks::rdb_file_name); ACTIVE | PROTECTED,
    "rdbcompression": rdbcompression: bool = true; YES_NO; ACTIVE,
    "rdbchecksum": rdbchecksum: bool = true; YES_NO; ACTIVE | START_ONLY,
    "stop-writes-on-bgsave-error": stop_writes_on_bgsave_error: bool = true; YES_NO; ACTIVE,
    "rdb-del-sync-files": rdb_del_sync_files: bool = false; YES_NO; ACTIVE,
    "rdb-save-incremental-fsync": rdb_save_incremental_fsync: bool = true; YES_NO; ACTIVE,
    /// Microseconds a key; -n sleeps 1 microsecond every n keys.
    "rdb-key-save-delay": rdb_key_save_delay: i32 = 0; integer(INT_MIN, INT_MAX); ACTIVE | HIDDEN,
    /// As `rdb-key-save-delay`, when loading.
    "key-load-delay": key_load_delay: i32 = 0; integer(INT_MIN, INT_MAX); ACTIVE | HIDDEN,
    "sanitize-dump-payload": sanitize_dump_payload: SanitizeDumpPayload = SanitizeDumpPayload::No; names::<SanitizeDumpPayload>(); ACTIVE | DEBUG,
    "loading-process-events-interval-bytes": loading_process_events_interval_bytes: u64 = 2 << 20; integer(1024, INT_MAX); ACTIVE | HIDDEN,
    "rdb-version": rdb_version: u8 = 10; integer(9, 12); ACTIVE,
    "rdb-verify": rdb_verify: bool = false; YES_NO; ACTIVE,

    // Append-only file
    "appendonly": appendonly: bool = false; YES_NO; ACTIVE | DENY_LOADING,
    "appendfilename": appendfilename: ConfigText = "appendonly.aof".into(); text(checks::aof_file_name); ACTIVE | START_ONLY,
    "appenddirname": appenddirname: ConfigText = "appendonlydir".into(); text(checks::aof_directory_name); ACTIVE | START_ONLY,
    "appendfsync": appendfsync: AppendFsync = AppendFsync::Everysec; names::<AppendFsync>(); ACTIVE,
    "no-appendfsync-on-rewrite": no_appendfsync_on_rewrite: bool = false; YES_NO; ACTIVE,
    /// Percent of growth; 0 = never.
    "auto-aof-rewrite-percentage": auto_aof_rewrite_percentage: u32 = 100; integer(0, INT_MAX); ACTIVE,
    "auto-aof-rewrite-min-size": auto_aof_rewrite_min_size: u64 = 64 << 20; memory(0, LONG_MAX); ACTIVE,
    "aof-load-truncated": aof_load_truncated: bool = true; YES_NO; ACTIVE,
    "aof-load-corrupt-tail-max-size": aof_load_corrupt_tail_max_size: u64 = 0; memory(0, LONG_MAX); ACTIVE,
    "aof-use-rdb-preamble": aof_use_rdb_preamble: bool = true; YES_NO; ACTIVE,
    "aof-timestamp-enabled": aof_timestamp_enabled: bool = false; YES_NO; ACTIVE,
    /// Unix seconds or a date; empty = none.
    "aof-restore-to-timestamp": aof_restore_to_timestamp: ConfigText = "".into(); text(checks::timestamp); ACTIVE | START_ONLY | HIDDEN,
    "aof-checksum": aof_checksum: bool = false; YES_NO; ACTIVE,
    "aof-rewrite-incremental-fsync": aof_rewrite_incremental_fsync: bool = true; YES_NO; ACTIVE,
    "aof-rewrite-buffer-limit": aof_rewrite_buffer_limit: u64 = 1 << 30; memory(0, LONG_MAX); ACTIVE,
    "aof-rewrite-buffer-spill-limit": aof_rewrite_buffer_spill_limit: u64 = 8 << 30; memory(0, LONG_MAX); ACTIVE,
    /// Milliseconds.
    "aof-max-sync-lag": aof_max_sync_lag: u64 = 60_000; integer(0, LONG_MAX); ACTIVE,
    "aof-disable-auto-gc": aof_disable_auto_gc: bool = false; YES_NO; HIDDEN,

    // Fork
    "fork-huge-pages": fork_huge_pages: ForkHugePages = ForkHugePages::Auto; names::<ForkHugePages>(); ACTIVE,
    /// Seconds without progress.
    "fork-child-timeout": fork_child_timeout: u32 = 600; integer(0, INT_MAX); ACTIVE,
    "fork-cow-limit": fork_cow_limit: MemoryLimit = MemoryLimit::default(); memory_or_percent(LONG_MAX); ACTIVE,

    // Replication
    "replicaof" ("slaveof"): replicaof: ReplicaOf = None; SPECIAL; ACTIVE | START_ONLY | WORDS,
    "masteruser": masteruser: ConfigText = "".into(); OPTIONAL_TEXT; ACTIVE | SENSITIVE,
    "masterauth": masterauth: ConfigText = "".into(); SECRET; ACTIVE | SENSITIVE,
    "replica-serve-stale-data" ("slave-serve-stale-data"): replica_serve_stale_data: bool = true; YES_NO; ACTIVE,
    "replica-read-only" ("slave-read-only"): replica_read_only: bool = true; YES_NO; ACTIVE | DEBUG,
    "repl-diskless-sync": repl_diskless_sync: bool = true; YES_NO; ACTIVE | DEBUG,
    /// Seconds.
    "repl-diskless-sync-delay": repl_diskless_sync_delay: u32 = 5; integer(0, INT_MAX); ACTIVE,
    "repl-diskless-sync-max-replicas": repl_diskless_sync_max_replicas: u32 = 0; integer(0, INT_MAX); ACTIVE,
    "repl-diskless-load": repl_diskless_load: ReplDisklessLoad = ReplDisklessLoad::Disabled; names::<ReplDisklessLoad>(); ACTIVE | DEBUG | DENY_LOADING,
    /// Seconds.
    "repl-ping-replica-period" ("repl-ping-slave-period"): repl_ping_replica_period: u32 = 10; integer(1, INT_MAX); ACTIVE,
    /// Seconds.
    "repl-timeout": repl_timeout: u32 = 60; integer(1, INT_MAX); ACTIVE,
    "repl-disable-tcp-nodelay": repl_disable_tcp_nodelay: bool = false; YES_NO; ACTIVE,
    "repl-backlog-size": repl_backlog_size: usize = 1 << 20; memory(1, LONG_MAX); ACTIVE,
    /// Seconds; 0 = for ever.
    "repl-backlog-ttl": repl_backlog_ttl: u64 = 3600; integer(0, LONG_MAX); ACTIVE,
    "replica-priority" ("slave-priority"): replica_priority: u32 = 100; integer(0, INT_MAX); ACTIVE,
    "replica-announced": replica_announced: bool = true; YES_NO; ACTIVE,
    "replica-announce-ip" ("slave-announce-ip"): replica_announce_ip: ConfigText = "".into(); OPTIONAL_TEXT; ACTIVE,
    "replica-announce-port" ("slave-announce-port"): replica_announce_port: u16 = 0; integer(0, 65535); ACTIVE,
    "replica-ignore-maxmemory" ("slave-ignore-maxmemory"): replica_ignore_maxmemory: bool = true; YES_NO; ACTIVE,
    "replica-ignore-disk-write-errors": replica_ignore_disk_write_errors: bool = false; YES_NO; ACTIVE,
    "replica-lazy-flush" ("slave-lazy-flush"): replica_lazy_flush: bool = false; YES_NO; ACTIVE,
    "min-replicas-to-write" ("min-slaves-to-write"): min_replicas_to_write: u32 = 0; integer(0, INT_MAX); ACTIVE,
    /// Seconds.
    "min-replicas-max-lag" ("min-slaves-max-lag"): min_replicas_max_lag: u32 = 10; integer(0, INT_MAX); ACTIVE,
    "propagation-error-behavior": propagation_error_behavior: PropagationErrorBehavior = PropagationErrorBehavior::Ignore; names::<PropagationErrorBehavior>(); ACTIVE,
    "replica-refuse-empty-sync": replica_refuse_empty_sync: bool = false; YES_NO; ACTIVE,

    // Security
    "requirepass": requirepass: ConfigText = "".into(); SECRET; ACTIVE | SENSITIVE,
    "aclfile": aclfile: ConfigText = "".into(); TEXT; ACTIVE | START_ONLY,
    "acllog-max-len": acllog_max_len: usize = 128; integer(0, LONG_MAX); ACTIVE,
    "acl-pubsub-default": acl_pubsub_default: AclPubsubDefault = AclPubsubDefault::ResetChannels; names::<AclPubsubDefault>(); ACTIVE,
    "enable-protected-configs": enable_protected_configs: ProtectedAction = ProtectedAction::No; names::<ProtectedAction>(); ACTIVE | START_ONLY,
    "enable-debug-command": enable_debug_command: ProtectedAction = ProtectedAction::No; names::<ProtectedAction>(); ACTIVE | START_ONLY,
    "enable-module-command": enable_module_command: ProtectedAction = ProtectedAction::No; names::<ProtectedAction>(); ACTIVE | START_ONLY,

    // Memory
    /// `.bytes` is 0 while there is no limit.
    "maxmemory": maxmemory: MemoryLimit = MemoryLimit::default(); memory_or_percent(ULONG_MAX); ACTIVE,
    "maxmemory-policy": maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::NoEviction; names::<MaxmemoryPolicy>(); ACTIVE,
    "maxmemory-samples": maxmemory_samples: u32 = 5; integer(1, INT_MAX); ACTIVE,
    "maxmemory-eviction-tenacity": maxmemory_eviction_tenacity: u8 = 10; integer(0, 100); ACTIVE,
    "maxmemory-clients": maxmemory_clients: MemoryLimit = MemoryLimit::default(); memory_or_percent(LONG_MAX); ACTIVE,
    "lfu-log-factor": lfu_log_factor: u32 = 10; integer(0, INT_MAX); ACTIVE,
    /// Minutes.
    "lfu-decay-time": lfu_decay_time: u32 = 1; integer(0, INT_MAX); ACTIVE,
    /// 1 to 10.
    "active-expire-effort": active_expire_effort: u8 = 1; integer(1, 10); 0,
    "lazyfree-lazy-eviction": lazyfree_lazy_eviction: bool = false; YES_NO; ACTIVE | DEBUG,
    "lazyfree-lazy-expire": lazyfree_lazy_expire: bool = false; YES_NO; ACTIVE | DEBUG,
    "lazyfree-lazy-server-del": lazyfree_lazy_server_del: bool = false; YES_NO; ACTIVE | DEBUG,
    "lazyfree-lazy-user-del": lazyfree_lazy_user_del: bool = false; YES_NO; ACTIVE | DEBUG,
    "lazyfree-lazy-user-flush": lazyfree_lazy_user_flush: bool = false; YES_NO; ACTIVE | DEBUG,
    "jemalloc-bg-thread": jemalloc_bg_thread: bool = true; YES_NO; 0,
    "activedefrag": activedefrag: bool = false; YES_NO; ACTIVE | DEBUG,
    "active-defrag-ignore-bytes": active_defrag_ignore_bytes: usize = 100 << 20; memory(1, LONG_MAX); ACTIVE,
    "active-defrag-threshold-lower": active_defrag_threshold_lower: u32 = 10; integer(0, 1000); ACTIVE,
    "active-defrag-threshold-upper": active_defrag_threshold_upper: u32 = 100; integer(0, 1000); ACTIVE,
    "active-defrag-cycle-min": active_defrag_cycle_min: u8 = 1; integer(1, 99); ACTIVE,
    "active-defrag-cycle-max": active_defrag_cycle_max: u8 = 25; integer(1, 99); ACTIVE,
    "active-defrag-max-scan-fields": active_defrag_max_scan_fields: usize = 1000; integer(1, LONG_MAX); ACTIVE,

    // Clients
    "client-output-buffer-limit": client_output_buffer_limit: ClientOutputBufferLimits = ClientOutputBufferLimits::default(); SPECIAL; ACTIVE | WORDS,
    "client-query-buffer-limit": client_query_buffer_limit: usize = 1 << 30; memory(1 << 20, LONG_MAX); ACTIVE | DEBUG,
    "proto-max-bulk-len": proto_max_bulk_len: usize = 512 << 20; memory(1 << 20, LONG_MAX); ACTIVE | DEBUG,
    "tracking-table-max-keys": tracking_table_max_keys: usize = 1000000; integer(0, LONG_MAX); ACTIVE,
    "io-threads": io_threads: u8 = 1; integer(1, 128); DEBUG | START_ONLY,
    "io-threads-do-reads": io_threads_do_reads: bool = false; YES_NO; DEBUG | START_ONLY,

    // Encodings of small values
    "hash-max-listpack-entries" ("hash-max-ziplist-entries"): hash_max_listpack_entries: usize = 512; integer(0, LONG_MAX); ACTIVE,
    "hash-max-listpack-value" ("hash-max-ziplist-value"): hash_max_listpack_value: usize = 64; memory(0, LONG_MAX); ACTIVE,
    /// Entries, or -1 to -5 for 4 to 64 kb.
    "list-max-listpack-size" ("list-max-ziplist-size"): list_max_listpack_size: i32 = -2; integer(INT_MIN, INT_MAX); ACTIVE,
    "list-compress-depth": list_compress_depth: u32 = 0; integer(0, INT_MAX); ACTIVE | DEBUG,
    "set-max-intset-entries": set_max_intset_entries: usize = 512; integer(0, LONG_MAX); ACTIVE,
    "set-max-listpack-entries": set_max_listpack_entries: usize = 128; integer(0, LONG_MAX); ACTIVE,
    "set-max-listpack-value": set_max_listpack_value: usize = 64; integer(0, LONG_MAX); ACTIVE,
    "zset-max-listpack-entries" ("zset-max-ziplist-entries"): zset_max_listpack_entries: usize = 128; integer(0, LONG_MAX); ACTIVE,
    "zset-max-listpack-value" ("zset-max-ziplist-value"): zset_max_listpack_value: usize = 64; memory(0, LONG_MAX); ACTIVE,
    "hll-sparse-max-bytes": hll_sparse_max_bytes: usize = 3000; memory(0, LONG_MAX); ACTIVE,
    "stream-node-max-bytes": stream_node_max_bytes: usize = 4096; memory(0, LONG_MAX); ACTIVE,
    "stream-node-max-entries": stream_node_max_entries: usize = 100; integer(0, LONG_MAX); ACTIVE,

    // Work in the background
    /// Cron rounds a second, 1 to 500.
    "hz": hz: u32 = 10; integer(0, INT_MAX); ACTIVE,
    "dynamic-hz": dynamic_hz: bool = true; YES_NO; ACTIVE,
    "activerehashing": activerehashing: bool = true; YES_NO; ACTIVE,

    // Watching the server
    /// Microseconds; -1 = off, 0 = every command.
    "slowlog-log-slower-than": slowlog_log_slower_than: i64 = 10000; integer(-1, LONG_MAX); ACTIVE,
    "slowlog-max-len": slowlog_max_len: usize = 128; integer(0, LONG_MAX); ACTIVE,
    /// Bytes; -1 = off.
    "commandlog-request-larger-than": commandlog_request_larger_than: i64 = 1 << 20; integer(-1, LONG_MAX); ACTIVE,
    "commandlog-large-request-max-len": commandlog_large_request_max_len: usize = 128; integer(0, LONG_MAX); ACTIVE,
    /// Bytes; -1 = off.
    "commandlog-reply-larger-than": commandlog_reply_larger_than: i64 = 1 << 20; integer(-1, LONG_MAX); ACTIVE,
    "commandlog-large-reply-max-len": commandlog_large_reply_max_len: usize = 128; integer(0, LONG_MAX); ACTIVE,
    /// Milliseconds; 0 = off.
    "latency-monitor-threshold": latency_monitor_threshold: u64 = 0; integer(0, LONG_MAX); ACTIVE,
    "latency-tracking": latency_tracking: bool = true; YES_NO; ACTIVE,
    "latency-tracking-info-percentiles": latency_tracking_info_percentiles: LatencyPercentiles = LatencyPercentiles::default(); SPECIAL; ACTIVE | WORDS,
    "notify-keyspace-events": notify_keyspace_events: NotifyFlags = NotifyFlags::default(); SPECIAL; ACTIVE,

    // Scripts
    /// Milliseconds; 0 = never.
    "busy-reply-threshold" ("lua-time-limit"): busy_reply_threshold: u64 = 5000; integer(0, LONG_MAX); 0,

    // Cluster
    "cluster-enabled": cluster_enabled: bool = false; YES_NO; START_ONLY,
    "cluster-config-file": cluster_config_file: ConfigText = "nodes.conf".into(); TEXT; START_ONLY,
    /// Milliseconds.
    "cluster-node-timeout": cluster_node_timeout: u64 = 15000; integer(0, LONG_MAX); 0,
    "cluster-port": cluster_port: u16 = 0; integer(0, 65535); START_ONLY,
    "cluster-replica-validity-factor" ("cluster-slave-validity-factor"): cluster_replica_validity_factor: u32 = 10; integer(0, INT_MAX); 0,
    "cluster-replica-no-failover" ("cluster-slave-no-failover"): cluster_replica_no_failover: bool = false; YES_NO; 0,
    "cluster-migration-barrier": cluster_migration_barrier: u32 = 1; integer(0, INT_MAX); 0,
    "cluster-allow-replica-migration": cluster_allow_replica_migration: bool = true; YES_NO; 0,
    "cluster-require-full-coverage": cluster_require_full_coverage: bool = true; YES_NO; 0,
    "cluster-allow-reads-when-down": cluster_allow_reads_when_down: bool = false; YES_NO; 0,
    "cluster-allow-pubsubshard-when-down": cluster_allow_pubsubshard_when_down: bool = true; YES_NO; 0,
    "cluster-link-sendbuf-limit": cluster_link_sendbuf_limit: u64 = 0; memory(0, ULONG_MAX); 0,
    /// Milliseconds.
    "cluster-ping-interval": cluster_ping_interval: u64 = 0; integer(0, LONG_MAX); HIDDEN,
    "cluster-announce-ip": cluster_announce_ip: ConfigText = "".into(); OPTIONAL_TEXT; 0,
    "cluster-announce-port": cluster_announce_port: u16 = 0; integer(0, 65535); 0,
    "cluster-announce-tls-port": cluster_announce_tls_port: u16 = 0; integer(0, 65535); 0,
    "cluster-announce-bus-port": cluster_announce_bus_port: u16 = 0; integer(0, 65535); 0,
    "cluster-announce-hostname": cluster_announce_hostname: ConfigText = "".into(); optional_text(checks::host_name); 0,
    "cluster-announce-human-nodename": cluster_announce_human_nodename: ConfigText = "".into(); optional_text(checks::node_name); 0,
    "cluster-preferred-endpoint-type": cluster_preferred_endpoint_type: ClusterEndpointType = ClusterEndpointType::Ip; names::<ClusterEndpointType>(); 0,
}
