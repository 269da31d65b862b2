//! Checks and repairs append-only files; works under the name `redis-check-aof` too.
#![deny(unsafe_code)]

fn main() {
    std::process::exit(tine::tools::check_aof::main());
}
