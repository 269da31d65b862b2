//! Putting changed directives into effect.
//!
//! A directive that the server reads where it needs it has no line here. The others have a
//! function; when it fails, everything goes back to what it was.

use crate::server::config::{Config, ConfigRow, ConfigText, MaxmemoryPolicy, OomScoreAdj};
use crate::server::{Action, Server, machine};
use crate::sys;
use crate::sys::watchdog::Watchdog;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Puts a directive into effect; the error is the reason shown to the client.
type Applier = fn(&mut Server, &Config) -> Result<(), String>;

/// By directive. Functions that stand several times run once for each.
const APPLIERS: &[(&str, Applier)] = &[
    ("port", listen_on_port),
    ("bind", listen_on_addresses),
    ("maxclients", set_maxclients),
    ("dir", change_directory),
    ("loglevel", set_log_level),
    ("requirepass", set_default_password),
    ("proc-title-template", set_title),
    ("maxmemory", set_memory_limit),
    ("maxmemory-clients", set_clients_limit),
    ("fork-cow-limit", resolve_memory),
    ("fork-huge-pages", set_page_size),
    ("min-replicas-to-write", count_replicas),
    ("min-replicas-max-lag", count_replicas),
    ("maxmemory-policy", set_access_policy),
    ("lfu-log-factor", set_access_policy),
    ("lfu-decay-time", set_access_policy),
    ("watchdog-period", set_watchdog),
    ("oom-score-adj", set_oom_score),
    ("oom-score-adj-values", set_oom_score),
    ("appendonly", set_append_only),
    ("appendfsync", set_append_policy),
    ("no-appendfsync-on-rewrite", set_append_policy),
    ("aof-rewrite-buffer-limit", set_append_policy),
    ("aof-rewrite-buffer-spill-limit", set_append_policy),
    ("aof-max-sync-lag", set_append_policy),
    ("aof-timestamp-enabled", set_append_policy),
    ("aof-checksum", set_append_policy),
];

/// Applies `changed`, in order. On a failure the server has its old configuration again.
///
/// # Errors
/// The directive that failed and why.
pub(super) fn apply_all(
    server: &mut Server,
    before: &Config,
    changed: &[&'static ConfigRow],
) -> Result<(), (&'static str, String)> {
    for (index, row) in changed.iter().enumerate() {
        let Some(applier) = applier_of(row.name) else { continue };
        if let Err(reason) = applier(server, before) {
            roll_back(server, before, &changed[..index]);
            return Err((row.name, reason));
        }
    }
    Ok(())
}

/// Puts the old values back and applies those that had been applied.
fn roll_back(server: &mut Server, before: &Config, applied: &[&'static ConfigRow]) {
    let refused = std::mem::replace(&mut server.config, before.clone());
    for row in applied {
        if let Some(applier) = applier_of(row.name)
            && let Err(reason) = applier(server, &refused)
        {
            log::warn!("Can't put directive '{}' back: {reason}", row.name);
        }
    }
}

fn applier_of(name: &str) -> Option<Applier> {
    APPLIERS.iter().find(|(row, _)| *row == name).map(|(_, applier)| *applier)
}

/// What boot must apply of a configuration that came from a file.
pub fn apply_at_start(server: &mut Server) {
    let unchanged = server.config.clone();
    let appliers: [Applier; 4] = [set_access_policy, set_oom_score, set_page_size, set_watchdog];
    for applier in appliers {
        if let Err(reason) = applier(server, &unchanged) {
            log::warn!("{reason}");
        }
    }
}

/// Starts or stops the watchdog. A period is at least two rounds of cron, since an idle loop comes
/// round once in each.
fn set_watchdog(server: &mut Server, _: &Config) -> Result<(), String> {
    server.host.watchdog = None;
    let wanted_ms = u64::from(server.config.watchdog_period);
    if wanted_ms == 0 {
        return Ok(());
    }
    let least_ms = 2 * 1000 / u64::from(server.config.hz.max(1));
    let names = server.commands.all().iter().map(|found| found.full_name()).collect();
    let started = Watchdog::start(Duration::from_millis(wanted_ms.max(least_ms)), names);
    server.host.watchdog = Some(started.map_err(|failure| format!("the watchdog cannot start: {failure}"))?);
    Ok(())
}

/// Switches the AOF on (the first rewrite makes it) or off.
fn set_append_only(server: &mut Server, _: &Config) -> Result<(), String> {
    if server.config.appendonly {
        let may_fork = !server.propagation.in_transaction();
        let started = server.turn_aof_on(may_fork);
        return started.map_err(|_| "Unable to turn on AOF. Check server logs.".to_owned());
    }
    server.turn_aof_off();
    Ok(())
}

fn set_append_policy(server: &mut Server, _: &Config) -> Result<(), String> {
    server.apply_aof_settings();
    Ok(())
}

fn listen_on_port(server: &mut Server, before: &Config) -> Result<(), String> {
    let port = server.config.port;
    if port != 0 && port != before.port && !addresses_are_free(server, port) {
        log::warn!("Failed listening on port {port} (tcp), the old one stays");
        return Err("Unable to listen on this port. Check server logs.".to_owned());
    }
    server.actions.push(Action::Listen);
    server.refresh_title();
    Ok(())
}

/// Whether `net` will be able to bind this port, tried by binding it.
fn addresses_are_free(server: &Server, port: u16) -> bool {
    server.config.bind.iter().all(|address| {
        let bound = ip_of(address.host).map(|ip| sys::net::listen_tcp(ip, port, 1));
        address.optional || matches!(bound, Some(Ok(_)))
    })
}

fn listen_on_addresses(server: &mut Server, before: &Config) -> Result<(), String> {
    let fresh =
        server.config.bind.iter().filter(|address| !before.bind.iter().any(|old| old.host == address.host));
    for address in fresh {
        // Port 0: whether the address is ours; the real port may be ours already.
        let bound = ip_of(address.host).map(|ip| sys::net::listen_tcp(ip, 0, 1));
        if !address.optional && !matches!(bound, Some(Ok(_))) {
            return Err("Failed to bind to specified addresses.".to_owned());
        }
    }
    server.actions.push(Action::Listen);
    server.refresh_title();
    Ok(())
}

/// The address that a word of `bind` means.
fn ip_of(host: &[u8]) -> Option<IpAddr> {
    match host {
        b"*" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        b"::*" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        b"localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        other => std::str::from_utf8(other).ok()?.parse().ok(),
    }
}

fn set_maxclients(server: &mut Server, before: &Config) -> Result<(), String> {
    let asked = server.config.maxclients;
    if asked <= before.maxclients {
        return Ok(());
    }
    machine::raise_open_files(&mut server.config)?;
    let possible = server.config.maxclients;
    if possible == asked {
        return Ok(());
    }
    Err(format!(
        "The operating system is not able to handle the specified number of clients, try with {possible}"
    ))
}

fn change_directory(server: &mut Server, _: &Config) -> Result<(), String> {
    let directory = server.config.dir.as_path();
    let entered = std::env::set_current_dir(directory).and_then(|()| std::env::current_dir());
    let entered = entered.map_err(|failure| plain_reason(&failure))?;
    // A relative one means something else to the next CONFIG SET, and to a rewritten file.
    if !directory.is_absolute() {
        server.config.dir = ConfigText::from(entered.as_os_str().as_bytes());
    }
    Ok(())
}

/// The system's words for a failure, without the number that Rust adds.
fn plain_reason(failure: &std::io::Error) -> String {
    let number = failure.raw_os_error().unwrap_or(0);
    nix::errno::Errno::from_raw(number).desc().to_owned()
}

/// The password of the user `default`; its other passwords go.
fn set_default_password(server: &mut Server, _: &Config) -> Result<(), String> {
    server.acl.set_default_password(server.config.requirepass.as_bytes());
    Ok(())
}

fn set_log_level(server: &mut Server, _: &Config) -> Result<(), String> {
    server.apply_log_level();
    Ok(())
}

fn set_title(server: &mut Server, _: &Config) -> Result<(), String> {
    server.refresh_title();
    Ok(())
}

fn resolve_memory(server: &mut Server, _: &Config) -> Result<(), String> {
    machine::resolve_memory_limits(&mut server.config);
    Ok(())
}

/// A lower limit evicts from the next turn on, whether requests come or not.
fn set_memory_limit(server: &mut Server, old: &Config) -> Result<(), String> {
    machine::resolve_memory_limits(&mut server.config);
    set_access_policy(server, old)?;
    server.memory_limit_changed();
    // A share of it may be what clients may have.
    server.client_memory_limit_changed();
    Ok(())
}

fn set_clients_limit(server: &mut Server, _: &Config) -> Result<(), String> {
    machine::resolve_memory_limits(&mut server.config);
    server.client_memory_limit_changed();
    Ok(())
}

/// `fork-huge-pages`.
fn set_page_size(server: &mut Server, _: &Config) -> Result<(), String> {
    server.set_page_size()
}

/// Who is a good replica is another question now.
fn count_replicas(server: &mut Server, _: &Config) -> Result<(), String> {
    server.count_good_replicas();
    Ok(())
}

/// LRU or LFU bits, as the policy says.
fn set_access_policy(server: &mut Server, _: &Config) -> Result<(), String> {
    let config = &server.config;
    let access = &mut server.keyspace.access;
    access.lfu =
        matches!(config.maxmemory_policy, MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu);
    let is_lru =
        matches!(config.maxmemory_policy, MaxmemoryPolicy::AllkeysLru | MaxmemoryPolicy::VolatileLru);
    access.decides_evictions = config.maxmemory.bytes > 0 && (access.lfu || is_lru);
    access.lfu_log_factor = config.lfu_log_factor;
    access.lfu_decay_min = config.lfu_decay_time;
    Ok(())
}

fn set_oom_score(server: &mut Server, old: &Config) -> Result<(), String> {
    let was_off = old.oom_score_adj == OomScoreAdj::No;
    server.apply_oom_score(was_off)
}
