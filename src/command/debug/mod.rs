//! DEBUG.
use crate::server::CommandSpec;
pub const ROWS: &[CommandSpec] = &[];
