//! INFO server, memory, cpu: the process and its machine.

use super::{InfoText, human_bytes};
use crate::command::memory::ratio;
use crate::server::Server;
use crate::server::config::Named;
use crate::server::run::{REDIS_VERSION, TINE_VERSION};
use crate::sys::general_alloc;
use crate::sys::info::{OsName, UsageOf, resource_usage, total_memory_bytes};
use crate::sys::notify::Supervisor;
use std::time::Duration;

const DAY_S: i64 = 24 * 3600;

pub(super) fn server(server: &Server, info: &mut InfoText) {
    let now_us = server.clock.now_us();
    let uptime_s = (now_us / 1000 - server.run.started_ms) / 1000;
    let config = &server.config;
    info.field("redis_version", REDIS_VERSION);
    info.field("redis_git_sha1", "00000000");
    info.field("redis_git_dirty", 0);
    info.field("redis_build_id", "0");
    info.field("redis_mode", if config.cluster_enabled { "cluster" } else { "standalone" });
    info.field("os", OsName::read());
    info.field("arch_bits", usize::BITS);
    info.field("monotonic_clock", "POSIX clock_gettime");
    info.field("multiplexing_api", "epoll");
    info.field("atomicvar_api", "c11-builtin");
    info.field("gcc_version", "0.0.0");
    info.field("process_id", server.run.pid);
    info.field("process_supervised", supervisor_name(server));
    info.field("run_id", &server.run.run_id);
    info.field("tcp_port", config.port);
    info.field("server_time_usec", now_us);
    info.field("uptime_in_seconds", uptime_s);
    info.field("uptime_in_days", uptime_s / DAY_S);
    info.field("hz", server.run.hz);
    info.field("configured_hz", config.hz);
    info.field("lru_clock", server.run.lru_clock);
    info.field("executable", &server.run.executable);
    let config_file = server.config_file.as_ref().map_or(String::new(), |path| path.display().to_string());
    info.field("config_file", config_file);
    info.field("io_threads_active", 0);
    listeners(server, info);
    info.field("server_name", "tine");
    info.field("tine_version", TINE_VERSION);
}

fn supervisor_name(server: &Server) -> &'static str {
    match server.host.supervisor {
        None => "no",
        Some(Supervisor::Systemd(_)) => "systemd",
        Some(Supervisor::Upstart) => "upstart",
    }
}

/// `listener0:name=tcp,bind=127.0.0.1,port=6379`, one line for each kind of socket.
fn listeners(server: &Server, info: &mut InfoText) {
    let config = &server.config;
    let mut next = 0;
    if config.port != 0 {
        let binds: String = config
            .bind
            .iter()
            .map(|address| format!("bind={},", String::from_utf8_lossy(address.host)))
            .collect();
        info.field("listener0", format_args!("name=tcp,{binds}port={}", config.port));
        next = 1;
    }
    if !config.unixsocket.is_empty() {
        info.field(
            &format!("listener{next}"),
            format_args!("name=unix,bind={}", config.unixsocket.to_text()),
        );
    }
    if let Some(pending) = server.run.pending_shutdown {
        let left_ms = pending.deadline_ms.saturating_sub(server.clock.monotonic_ms());
        info.field("shutdown_in_milliseconds", left_ms);
    }
}

pub(super) fn memory(server: &Server, info: &mut InfoText) {
    let report = server.memory_report();
    let memory = server.memory_sample();
    let (rss_bytes, allocator) = (memory.rss_bytes, memory.allocator);
    info.bytes("used_memory", report.total_bytes);
    info.bytes("used_memory_rss", rss_bytes);
    info.bytes("used_memory_peak", report.peak_bytes);
    info.field("used_memory_peak_perc", format_args!("{:.2}%", report.peak_percent()));
    info.field("used_memory_overhead", report.overhead_bytes);
    info.field("used_memory_startup", report.startup_bytes);
    info.field("used_memory_dataset", report.dataset_bytes);
    info.field("used_memory_dataset_perc", format_args!("{:.2}%", report.dataset_percent()));
    info.field("allocator_allocated", allocator.allocated_bytes);
    info.field("allocator_active", allocator.active_bytes);
    info.field("allocator_resident", allocator.resident_bytes);
    info.bytes("total_system_memory", total_memory_bytes() as usize);
    scripts(info);
    info.field("maxmemory", server.config.maxmemory.bytes);
    info.field("maxmemory_human", human_bytes(server.config.maxmemory.bytes));
    info.field("maxmemory_policy", server.config.maxmemory_policy.name());
    info.ratio("allocator_frag_ratio", ratio(allocator.active_bytes, allocator.allocated_bytes));
    info.field("allocator_frag_bytes", difference(allocator.active_bytes, allocator.allocated_bytes));
    info.ratio("allocator_rss_ratio", ratio(allocator.resident_bytes, allocator.active_bytes));
    info.field("allocator_rss_bytes", difference(allocator.resident_bytes, allocator.active_bytes));
    info.ratio("rss_overhead_ratio", ratio(rss_bytes, allocator.resident_bytes));
    info.field("rss_overhead_bytes", difference(rss_bytes, allocator.resident_bytes));
    info.ratio("mem_fragmentation_ratio", ratio(rss_bytes, report.total_bytes));
    info.field("mem_fragmentation_bytes", difference(rss_bytes, report.total_bytes));
    info.field("mem_not_counted_for_evict", server.bytes_not_counted());
    info.field("mem_replication_backlog", report.backlog_bytes);
    info.field("mem_total_replication_buffers", server.replication.buffer_bytes());
    info.field("mem_clients_slaves", report.replicas_bytes);
    info.field("mem_clients_normal", report.clients_bytes);
    info.field("mem_cluster_links", 0);
    info.field("mem_aof_buffer", report.aof_buffer_bytes);
    info.field("mem_allocator", general_alloc::name());
    info.field("active_defrag_running", server.defrag.percent);
    info.field("lazyfree_pending_objects", server.keyspace.lazy().pending());
    info.field("lazyfreed_objects", server.keyspace.lazy().freed());
}

fn scripts(info: &mut InfoText) {
    info.zeros(&["used_memory_lua", "used_memory_vm_eval"]);
    info.field("used_memory_lua_human", human_bytes(0));
    info.zeros(&[
        "used_memory_scripts_eval",
        "number_of_cached_scripts",
        "number_of_functions",
        "number_of_libraries",
        "used_memory_vm_functions",
        "used_memory_vm_total",
    ]);
    info.field("used_memory_vm_total_human", human_bytes(0));
    info.zeros(&["used_memory_functions", "used_memory_scripts"]);
    info.field("used_memory_scripts_human", human_bytes(0));
}

fn difference(whole: usize, part: usize) -> i64 {
    whole as i64 - part as i64
}

pub(super) fn cpu(_: &Server, info: &mut InfoText) {
    let [own, children, thread] = [UsageOf::Process, UsageOf::Children, UsageOf::Thread].map(resource_usage);
    let mut time = |name: &str, time: Duration| {
        info.field(name, format_args!("{}.{:06}", time.as_secs(), time.subsec_micros()));
    };
    time("used_cpu_sys", own.system_time);
    time("used_cpu_user", own.user_time);
    time("used_cpu_sys_children", children.system_time);
    time("used_cpu_user_children", children.user_time);
    time("used_cpu_sys_main_thread", thread.system_time);
    time("used_cpu_user_main_thread", thread.user_time);
}
