//! The server program.
#![deny(unsafe_code)]

#[global_allocator]
static ALLOCATOR: tine::sys::general_alloc::Counting = tine::sys::general_alloc::Counting;

fn main() {
    std::process::exit(tine::boot::run());
}
