//! The server program: hands over to `boot`.
#![deny(unsafe_code)]

fn main() {}
