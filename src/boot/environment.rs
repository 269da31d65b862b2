//! What about the machine an operator should know.

use crate::server::config::Config;
use crate::sys;
use crate::sys::proc::{HugePageMode, ProcFs};

/// Settings of the kernel that hurt a forking server.
pub fn warn_about_kernel(config: &Config) {
    let proc = ProcFs::system();
    if let Some(granted) = sys::net::backlog_shortfall(&proc, config.tcp_backlog) {
        log::warn!(
            "WARNING: The TCP backlog setting of {} cannot be enforced because /proc/sys/net/core/somaxconn is set \
             to the lower value of {granted}.",
            config.tcp_backlog
        );
    }
    if proc.overcommit_memory().is_ok_and(|mode| mode == 0) {
        log::warn!(
            "WARNING Memory overcommit must be enabled! Without it, a background save may fail when memory is short, \
             since fork() reserves as much as the server uses. To fix this, add 'vm.overcommit_memory = 1' to \
             /etc/sysctl.conf and run 'sysctl vm.overcommit_memory=1'."
        );
    }
    if proc.huge_pages_enabled().is_ok_and(|mode| mode == HugePageMode::Always) {
        log::warn!(
            "WARNING Transparent Huge Pages are set to 'always': after a fork each first write copies 2 MB instead of \
             4 kB. To fix this, run 'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled' as root."
        );
    }
}
