//! Checks an RDB file: `tine-check-rdb dump.rdb`.
#![deny(unsafe_code)]

fn main() {
    std::process::exit(tine::tools::check_rdb::run());
}
