//! Measures and draws what forks cost, and watches them: `tine-lab run`, `tine-lab watch`.
#![deny(unsafe_code)]

fn main() {
    std::process::exit(tine::tools::lab::run());
}
