//! INFO fork: what a fork costs here, and why. A section of Tine's own.

use super::{InfoText, flag_of};
use crate::cow::record::Figure;
use crate::persist::data_pages::PageSize;
use crate::server::Server;
use crate::sys::info::current_rss_bytes;

pub(super) fn fork(server: &Server, info: &mut InfoText) {
    pages(server, info);
    headroom(server, info);
    info.field("fork_history_length", server.observer.records().len());
    let Some(latest) = server.observer.latest() else {
        info.field("fork_latest_state", "none");
        return;
    };
    for (name, figure) in latest.figures() {
        let name = format!("fork_latest_{name}");
        match figure {
            Figure::Count(count) => info.field(&name, count),
            Figure::Unknown => info.field(&name, -1),
            Figure::Ratio(ratio) => info.ratio(&name, ratio),
            Figure::Text(text) => info.field(&name, text.replace(['\r', '\n'], " ")),
        }
    }
}

fn pages(server: &Server, info: &mut InfoText) {
    let pages = &server.persistence.pages;
    let (huge, reason) = match pages.size() {
        PageSize::Base(reason) => (false, reason),
        PageSize::Huge(reason) => (true, reason),
    };
    info.field("fork_huge_pages_active", flag_of(huge));
    info.field("fork_huge_pages_reason", reason);
    let figures = pages.figures();
    info.field("fork_rebuild_in_progress", flag_of(figures.running));
    info.field("fork_rebuilds", figures.rebuilds);
    info.field("fork_last_rebuild_status", figures.last_end.name());
    info.field("fork_last_rebuild_blocks", figures.blocks);
    info.field("fork_last_rebuild_refused", figures.refused);
    info.field("fork_last_rebuild_usec", figures.duration_us);
    info.field("fork_last_rebuild_work_usec", figures.work_us);
    info.field("fork_last_rebuild_longest_usec", figures.longest_us);
}

/// What a child may need, and what there is.
fn headroom(server: &Server, info: &mut InfoText) {
    let (left, rss_bytes) = (server.observer.memory_left().unwrap_or_default(), current_rss_bytes());
    let is_low = server.observer.shortage(rss_bytes).is_some();
    info.field("fork_headroom_bytes", left.bytes);
    info.field("fork_headroom_of", if left.is_group { "cgroup" } else { "machine" });
    info.field("fork_headroom_wanted_bytes", server.observer.expected_bytes(rss_bytes));
    info.field("fork_headroom_status", if is_low { "low" } else { "ok" });
}
