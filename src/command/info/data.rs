//! INFO persistence, cluster, keyspace: the data set and its files.

use super::{InfoText, flag_of};
use crate::persist::aof::{Aof, AofState};
use crate::server::Server;

pub(super) fn persistence(server: &Server, info: &mut InfoText) {
    let loading = server.run.loading.as_ref();
    let asynchronous = loading.is_some_and(|loading| loading.asynchronous);
    info.field("loading", flag_of(loading.is_some() && !asynchronous));
    info.field("async_loading", flag_of(asynchronous));
    child(server, info);
    snapshots(server, info);
    append_only_file(server, info);
    backups(server, info);
    info.zeros(&["module_fork_in_progress", "module_fork_last_cow_size"]);
    if let Some(loading) = loading {
        progress(server, loading, info);
    }
}

/// The living child's progress; zeros without one.
fn child(server: &Server, info: &mut InfoText) {
    let child = server.persistence.child.as_ref();
    let progress = child.map(|child| child.progress.clone()).unwrap_or_default();
    let age_s = progress.cow_measured.map_or(0, |measured| measured.elapsed().as_secs());
    info.field("current_cow_peak", progress.cow_peak_bytes);
    info.field("current_cow_size", progress.cow_bytes);
    info.field("current_cow_size_age", age_s);
    info.ratio("current_fork_perc", progress.percent());
    info.field("current_save_keys_processed", progress.keys_done);
    info.field("current_save_keys_total", progress.keys_total);
}

fn snapshots(server: &Server, info: &mut InfoText) {
    let state = &server.persistence.snapshot;
    let running = server.persistence.child.as_ref().filter(|child| child.kind.writes_snapshot());
    info.field("rdb_changes_since_last_save", server.persistence.dirty);
    info.field("rdb_bgsave_in_progress", flag_of(running.is_some()));
    info.field("rdb_last_save_time", state.last_save_s);
    info.field("rdb_last_bgsave_status", if state.last_ok { "ok" } else { "err" });
    info.field("rdb_last_bgsave_time_sec", state.last_duration.map_or(-1, |time| time.as_secs() as i64));
    let current_s = running.map_or(-1, |child| child.started.elapsed().as_secs() as i64);
    info.field("rdb_current_bgsave_time_sec", current_s);
    info.field("rdb_saves", state.saves);
    info.field("rdb_last_cow_size", state.last_cow_bytes);
    info.field("rdb_last_load_keys_expired", state.last_load_keys_expired);
    info.field("rdb_last_load_keys_loaded", state.last_load_keys_loaded);
    if let Some(fault) = &state.last_fault {
        info.field("rdb_last_error", one_line(&fault.reason));
        info.field("rdb_last_error_age_sec", (server.now_ms() / 1000 - fault.at_s).max(0));
    }
}

/// A line of INFO has no line ends inside.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// Fields of Tine's own.
fn backups(server: &Server, info: &mut InfoText) {
    let state = &server.persistence.backup;
    let last = state.last.as_ref();
    let (done_bytes, total_bytes) = server.backup_progress();
    let percent =
        if state.in_progress() { done_bytes as f64 * 100.0 / total_bytes.max(1) as f64 } else { 0.0 };
    info.field("backup_in_progress", flag_of(state.in_progress()));
    info.field("backup_state", state.phase_name());
    info.ratio("backup_perc", percent);
    info.field("backup_last_status", if last.is_none_or(|last| last.error.is_none()) { "ok" } else { "err" });
    info.field("backup_last_time", state.last_success_s);
    info.field("backup_last_name", last.map_or("", |last| &last.name));
    info.field("backup_last_bytes", last.map_or(0, |last| last.bytes));
    info.field("backup_last_duration_ms", last.map_or(0, |last| last.duration.as_millis()));
    let error = last.and_then(|last| last.error.as_deref()).unwrap_or_default();
    info.field("backup_last_error", one_line(error));
    info.field("backups_taken", state.taken);
    info.field("backups_failed", state.failed);
}

fn append_only_file(server: &Server, info: &mut InfoText) {
    let aof = &server.persistence.aof;
    let rewrite = &aof.rewrite;
    let status = |ok: bool| if ok { "ok" } else { "err" };
    info.field("aof_enabled", flag_of(aof.state != AofState::Off));
    info.field("aof_rewrite_in_progress", flag_of(rewrite.in_progress()));
    info.field("aof_rewrite_scheduled", flag_of(rewrite.scheduled));
    info.field("aof_last_rewrite_time_sec", rewrite.last_duration_s);
    info.field("aof_current_rewrite_time_sec", rewrite.current_duration_s());
    info.field("aof_last_bgrewrite_status", status(rewrite.last_ok));
    info.field("aof_rewrites", rewrite.count);
    info.field("aof_rewrites_consecutive_failures", rewrite.failures);
    info.field("aof_last_write_status", status(aof.last_write_ok()));
    info.field("aof_last_cow_size", rewrite.last_cow_bytes);
    info.field("aof_rewrite_final_step_us", rewrite.final_step_us.last());
    info.field("aof_rewrite_final_step_us_history", &rewrite.final_step_us);
    info.field("aof_rewrite_switch_us", rewrite.switch_us.last());
    info.field("aof_rewrite_switch_us_history", &rewrite.switch_us);
    aof_faults(aof, info);
    info.field("aof_sync_lag_ms", aof.sync_lag_ms());
    info.field("aof_unwritten_bytes", aof.unwritten_bytes());
    if aof.state == AofState::Off {
        return;
    }
    info.field("aof_current_size", aof.current_size());
    info.field("aof_base_size", rewrite.base_bytes);
    info.field("aof_pending_rewrite", 0);
    info.field("aof_buffer_length", aof.buffer_length());
    info.field("aof_rewrite_buffer_length", aof.rewrite_buffer_length());
    info.field("aof_rewrite_buffer_spilled_bytes", aof.rewrite_buffer_spilled_bytes());
    info.field("aof_pending_bio_fsync", aof.pending_fsyncs());
    info.field("aof_delayed_fsync", aof.delayed_fsyncs());
}

/// What is wrong with the log now, and why the last rewrite failed: gone when healed.
fn aof_faults(aof: &Aof, info: &mut InfoText) {
    if let Some(fault) = aof.fault() {
        info.field("aof_last_error_kind", fault.kind.name());
        info.field("aof_last_error", one_line(&fault.text));
        info.field("aof_last_error_age_sec", fault.since.elapsed().as_secs());
    }
    if let Some((reason, time)) = &aof.rewrite.last_error {
        info.field("aof_rewrite_last_error", one_line(reason));
        info.field("aof_rewrite_last_error_age_sec", time.elapsed().as_secs());
    }
}

fn progress(server: &Server, loading: &crate::server::run::LoadingState, info: &mut InfoText) {
    let total = loading.total_bytes.max(1);
    let elapsed_s = (server.clock.now_ms() / 1000 - loading.start_s).max(0) as u64;
    let left = loading.total_bytes.saturating_sub(loading.loaded_bytes);
    let eta_s = (left * (elapsed_s + 1)).checked_div(loading.loaded_bytes).unwrap_or(1);
    info.field("loading_start_time", loading.start_s);
    info.field("loading_total_bytes", loading.total_bytes);
    info.field("loading_rdb_used_mem", 0);
    info.field("loading_loaded_bytes", loading.loaded_bytes);
    info.ratio("loading_loaded_perc", loading.loaded_bytes as f64 * 100.0 / total as f64);
    info.field("loading_eta_seconds", eta_s);
}

pub(super) fn cluster(server: &Server, info: &mut InfoText) {
    info.field("cluster_enabled", flag_of(server.config.cluster_enabled));
}

pub(super) fn keyspace(server: &Server, info: &mut InfoText) {
    for index in 0..server.keyspace.databases() {
        let db = server.keyspace.db(index);
        if db.is_empty() {
            continue;
        }
        info.field(
            &format!("db{index}"),
            format_args!(
                "keys={},expires={},avg_ttl={}",
                db.len(),
                db.volatile_len(),
                db.average_ttl_ms(server.now_ms())
            ),
        );
    }
}
