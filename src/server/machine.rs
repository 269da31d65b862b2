//! What the machine allows: open files, memory.

use crate::persist::data_pages::PageSize;
use crate::server::Server;
use crate::server::config::{Config, ForkHugePages};
use crate::sys;
use crate::sys::huge_pages::{self, HugePageProbe};
use crate::sys::proc::ProcFs;

/// Descriptors kept for everything but clients: files, sockets of the loop, libraries.
pub const RESERVED_DESCRIPTORS: u64 = 32;

/// Raises the limit of open files to what `maxclients` needs, or lowers `maxclients`.
///
/// # Errors
/// When not even one client fits.
pub fn raise_open_files(config: &mut Config) -> Result<(), String> {
    let wanted = u64::from(config.maxclients) + RESERVED_DESCRIPTORS;
    let outcome = match sys::limits::raise_open_files(wanted) {
        Ok(outcome) => outcome,
        Err(failure) => {
            log::warn!("Unable to obtain the current NOFILE limit ({failure}), assuming it suffices");
            return Ok(());
        }
    };
    if outcome.is_enough() {
        if outcome.now > outcome.before {
            let (now, before) = (outcome.now, outcome.before);
            log::info!(
                "Increased maximum number of open files to {now} (it was originally set to {before})."
            );
        }
        return Ok(());
    }
    if outcome.now <= RESERVED_DESCRIPTORS {
        return Err(format!(
            "Your current 'ulimit -n' of {} is not enough for the server to start. Please increase your open file \
             limit to at least {wanted}. Exiting.",
            outcome.now
        ));
    }
    let asked = config.maxclients;
    config.maxclients = u32::try_from(outcome.now - RESERVED_DESCRIPTORS).unwrap_or(asked);
    log::warn!("You requested maxclients of {asked} requiring at least {wanted} max file descriptors.");
    if let Some(refusal) = outcome.refusal {
        log::warn!(
            "Server can't set maximum open files to {wanted} because of OS error: {}.",
            refusal.desc()
        );
    }
    log::warn!(
        "Current maximum open files is {}. maxclients has been reduced to {} to compensate for low ulimit. If you \
         need higher maxclients increase 'ulimit -n'.",
        outcome.now,
        config.maxclients
    );
    Ok(())
}

/// Turns shares of the machine's memory into bytes.
pub fn resolve_memory_limits(config: &mut Config) {
    let whole_bytes = machine_memory_bytes();
    config.maxmemory.resolve(whole_bytes);
    config.fork_cow_limit.resolve(whole_bytes);
    let clients_whole = config.maxmemory.bytes;
    config.maxmemory_clients.resolve(clients_whole);
}

/// Memory that this process may have: the machine's, or less in a container.
pub fn machine_memory_bytes() -> u64 {
    let machine = sys::info::total_memory_bytes();
    ProcFs::system().cgroup_memory_limit().map_or(machine, |limit| limit.min(machine))
}

impl Server {
    /// `fork-huge-pages`: puts the data into pages of the size that it asks for; `auto` goes by
    /// what a probe of the kernel shows (about 2 ms). A kernel that gave no huge pages is tried again each
    /// time, since its settings may have changed; what a write copies does not change.
    ///
    /// # Errors
    /// The kernel refuses huge pages.
    pub fn set_page_size(&mut self) -> Result<(), String> {
        let child_lives = self.persistence.child.is_some();
        let pages = &mut self.persistence.pages;
        let is_known =
            matches!(pages.probe, Some(HugePageProbe::CopiesSmallPage | HugePageProbe::CopiesHugePage));
        let is_settled = child_lives || is_known;
        let probed = match pages.probe.take() {
            Some(known) if is_settled => known,
            _ if pages.probes_apart => huge_pages::probe_apart(),
            _ => huge_pages::probe(&ProcFs::system()),
        };
        let probed = &*pages.probe.insert(probed);
        let size = match (self.config.fork_huge_pages, probed) {
            (ForkHugePages::No, _) => PageSize::Base("fork-huge-pages no".to_owned()),
            (ForkHugePages::Yes, outcome)
            | (ForkHugePages::Auto, outcome @ HugePageProbe::CopiesSmallPage) => {
                PageSize::Huge(outcome.to_string())
            }
            (ForkHugePages::Auto, outcome) => PageSize::Base(outcome.to_string()),
        };
        match &size {
            PageSize::Huge(reason) => log::info!("The data lies in huge pages: {reason}"),
            PageSize::Base(reason) => log::info!("The data lies in pages of 4 kB: {reason}"),
        }
        let refused = |failure: std::io::Error| format!("the kernel refuses huge pages: {failure}");
        self.persistence.pages.set_size(size).map_err(refused)
    }
}
