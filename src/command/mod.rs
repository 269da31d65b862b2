//! Floor 9: the command families. A family parses arguments, calls its type or the server's
//! parts, and replies; its rows stand beside its handlers.

pub mod string;

use crate::server::CommandSpec;

/// The rows of all families, for the command table.
pub const FAMILIES: &[&[CommandSpec]] = &[string::ROWS];
