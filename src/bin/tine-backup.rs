//! Takes, checks and restores backups: `tine-backup take --dir /var/backups/tine`.
#![deny(unsafe_code)]

fn main() {
    std::process::exit(tine::tools::backup::run());
}
