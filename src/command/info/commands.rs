//! INFO commandstats, errorstats, latencystats.

use super::InfoText;
use crate::server::Server;

pub(super) fn calls(server: &Server, info: &mut InfoText) {
    for found in server.commands.all() {
        let stats = &server.stats.commands[found.id as usize];
        if stats.calls == 0 && stats.failed == 0 && stats.rejected == 0 {
            continue;
        }
        let time_us = stats.time_ns / 1000;
        let per_call_us = if stats.calls == 0 { 0.0 } else { time_us as f64 / stats.calls as f64 };
        info.field(
            &format!("cmdstat_{}", safe_name(&found.full_name())),
            format_args!(
                "calls={},usec={time_us},usec_per_call={per_call_us:.2},rejected_calls={},failed_calls={}",
                stats.calls, stats.rejected, stats.failed
            ),
        );
    }
}

/// Names may come from `rename-command` or a script: nothing that ends a field or a line.
fn safe_name(name: &str) -> String {
    name.replace(['#', ':', '\n', '\r'], "_")
}

pub(super) fn errors(server: &Server, info: &mut InfoText) {
    for (code, count) in &server.stats.errors {
        let code = safe_name(&String::from_utf8_lossy(code));
        info.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn latencies(server: &Server, info: &mut InfoText) {
    for found in server.commands.all() {
        let Some(histogram) = &server.stats.commands[found.id as usize].latency_ns else { continue };
        let percentiles: Vec<String> = server
            .config
            .latency_tracking_info_percentiles
            .0
            .iter()
            .map(|percentile| {
                format!("p{percentile}={:.3}", histogram.value_at_percentile(*percentile) as f64 / 1000.0)
            })
            .collect();
        let name = format!("latency_percentiles_usec_{}", safe_name(&found.full_name()));
        info.field(&name, percentiles.join(","));
    }
}
