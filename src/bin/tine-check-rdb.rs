//! Checks an RDB file: `tine-check-rdb dump.rdb`.

fn main() {
    std::process::exit(tine::tools::check_rdb::run());
}
